//! Samples as the ledger keeps them: packed by series, as a protobuf message, a few bytes each.
//!
//! 1,000,000 rows make about as many samples: a row of a table for each would cost half as much as
//! counting them. The form is kept on disk, so it may be added to and never changed.

use std::sync::Arc;

use prost::Message;

use super::series::{HistoryFamily, HistorySample, HistorySeries};

/// One series with its samples.
#[derive(Clone, PartialEq, Message)]
struct PackedSeries {
    /// The number of the family.
    #[prost(uint32, tag = "1")]
    family: u32,
    /// Label values without the account.
    #[prost(string, repeated, tag = "2")]
    values: Vec<String>,
    /// Unix milliseconds: the first one, then the distance from the one before.
    #[prost(sint64, repeated, tag = "3")]
    stamps: Vec<i64>,
    /// The value at each stamp.
    #[prost(sint64, repeated, tag = "4")]
    samples: Vec<i64>,
}

/// Samples of one account.
#[derive(Clone, PartialEq, Message)]
struct PackedMessage {
    #[prost(message, repeated, tag = "1")]
    series: Vec<PackedSeries>,
}

/// The bytes are not what this module wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("packed samples cannot be read")]
pub struct UnreadableSamples;

/// A sample that is to be packed.
#[derive(Debug, Clone, Copy)]
pub struct SampleToPack<'a> {
    /// The number of the series among those that are packed together, from 0 on and without large
    /// gaps.
    pub number: usize,
    /// The series.
    pub series: &'a Arc<HistorySeries>,
    /// Unix milliseconds.
    pub stamp: i64,
    /// The value.
    pub value: i64,
}

/// Samples of one account in their packed form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackedSamples {
    /// How many there are.
    pub count: u64,
    /// The bytes; empty for no samples.
    pub bytes: Vec<u8>,
}

impl PackedSamples {
    /// Packs samples: those of each series in the order in which they come.
    pub fn pack<'a>(samples: impl IntoIterator<Item = SampleToPack<'a>>) -> PackedSamples {
        // Where a series is in `all`, plus one, by its number: 0 if it is not there.
        let mut places: Vec<usize> = Vec::new();
        let mut all: Vec<(PackedSeries, i64)> = Vec::new();
        let mut count = 0;
        for SampleToPack { number, series, stamp, value } in samples {
            if number >= places.len() {
                places.resize(number + 1, 0);
            }
            let Some(place) = places.get_mut(number) else { continue };
            if *place == 0 {
                let values = series.values.iter().map(|value| (**value).to_owned()).collect();
                let family = series.family.number();
                all.push((PackedSeries { family, values, ..PackedSeries::default() }, 0));
                *place = all.len();
            }
            let Some((packed, last)) = all.get_mut(*place - 1) else { continue };
            packed.stamps.push(stamp.wrapping_sub(*last));
            packed.samples.push(value);
            *last = stamp;
            count += 1;
        }
        let series = all.into_iter().map(|(packed, _)| packed).collect();
        PackedSamples { count, bytes: PackedMessage { series }.encode_to_vec() }
    }

    /// The samples of an account, sorted by stamp: the same list each time, so that a
    /// position in it means the same.
    ///
    /// # Errors
    /// [`UnreadableSamples`] for bytes that another program wrote.
    pub fn unpack(account: &Arc<str>, bytes: &[u8]) -> Result<Vec<HistorySample>, UnreadableSamples> {
        let message = PackedMessage::decode(bytes).map_err(|_| UnreadableSamples)?;
        let mut samples = Vec::new();
        for packed in message.series {
            let family = HistoryFamily::of_number(packed.family).ok_or(UnreadableSamples)?;
            let expected = family.family().labels.len().saturating_sub(1);
            if packed.values.len() != expected || packed.stamps.len() != packed.samples.len() {
                return Err(UnreadableSamples);
            }
            let values = packed.values.into_iter().map(Arc::from).collect();
            let series = Arc::new(HistorySeries { family, account: Arc::clone(account), values });
            let mut stamp = 0_i64;
            for (distance, value) in packed.stamps.into_iter().zip(packed.samples) {
                stamp = stamp.wrapping_add(distance);
                samples.push(HistorySample { series: Arc::clone(&series), stamp, value });
            }
        }
        // Of the same stamp they stay in the order of the series.
        samples.sort_by_key(|sample| sample.stamp);
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(family: HistoryFamily, values: &[&str]) -> Arc<HistorySeries> {
        let values = values.iter().map(|value| Arc::from(*value)).collect();
        Arc::new(HistorySeries { family, account: "default".into(), values })
    }

    #[test]
    fn samples_survive_packing_and_come_back_sorted() {
        let covered = series(HistoryFamily::Covered, &["events"]);
        let value = series(HistoryFamily::EventValue, &["7", "bought \"all\"", "EUR"]);
        let samples =
            [(&value, 60_001, i64::MAX), (&covered, 60_001, 60), (&covered, 120_001, 60), (&value, 2, -4)];
        let packed = PackedSamples::pack(samples.map(|(series, stamp, value)| SampleToPack {
            number: usize::from(series.family == HistoryFamily::Covered) * 7,
            series,
            stamp,
            value,
        }));
        assert_eq!(packed.count, 4);
        let unpacked = PackedSamples::unpack(&"default".into(), &packed.bytes).unwrap();
        let expected =
            [(&value, 2, -4), (&value, 60_001, i64::MAX), (&covered, 60_001, 60), (&covered, 120_001, 60)];
        let unpacked: Vec<_> =
            unpacked.iter().map(|sample| (&sample.series, sample.stamp, sample.value)).collect();
        assert_eq!(unpacked, expected);
        assert_eq!(PackedSamples::pack([]), PackedSamples::default());
        assert_eq!(PackedSamples::unpack(&"default".into(), &[]), Ok(Vec::new()));
    }

    #[test]
    fn the_packed_form_never_changes() {
        let covered = series(HistoryFamily::Covered, &["events"]);
        let packed = PackedSamples::pack([60_001, 120_001].map(|stamp| SampleToPack {
            number: 0,
            series: &covered,
            stamp,
            value: 60,
        }));
        // By hand, after the specification of protobuf.
        let expected =
            b"\x0a\x16\x08\x06\x12\x06events\x1a\x06\xc2\xa9\x07\xc0\xa9\x07\x22\x02\x78\x78".to_vec();
        assert_eq!(packed.bytes, expected, "an outbox that was written before would be unreadable");
    }

    #[test]
    fn other_bytes_are_no_samples() {
        for bytes in [&b"\xff"[..], b"\x0a\x02\x08\x63", b"\x0a\x02\x08\x06"] {
            assert_eq!(PackedSamples::unpack(&"default".into(), bytes), Err(UnreadableSamples), "{bytes:?}");
        }
    }
}
