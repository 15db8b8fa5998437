//! The messages of Prometheus remote write 1.0, as `prometheus/prompb/remote.proto` and
//! `types.proto` define them, as far as they are written here.

use std::collections::HashMap;

use prost::Message;

use crate::history::{HistorySample, HistorySeries};

/// `WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    /// The series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<WrittenSeries>,
}

/// `TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WrittenSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<WrittenLabel>,
    /// Sorted by time.
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<WrittenSample>,
}

/// `Label`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub(super) struct WrittenLabel {
    /// The name.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `Sample`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WrittenSample {
    /// The value.
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    /// Unix milliseconds.
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

impl WriteRequest {
    /// A request with these samples: the same samples and labels make the same bytes. Every series
    /// gets the labels in `common`, too, whose names no family has.
    pub(super) fn of(samples: &[HistorySample], common: &[(String, String)]) -> WriteRequest {
        let mut numbers: HashMap<&HistorySeries, usize> = HashMap::new();
        let mut timeseries: Vec<WrittenSeries> = Vec::new();
        for HistorySample { series, stamp, value } in samples {
            let number = *numbers.entry(series).or_insert_with(|| {
                timeseries.push(WrittenSeries { labels: labels(series, common), samples: Vec::new() });
                timeseries.len() - 1
            });
            // Counts stay below 2^53; a sum of values beyond it loses its last digits.
            #[allow(clippy::cast_precision_loss)]
            let sample = WrittenSample { value: *value as f64, timestamp: *stamp };
            if let Some(written) = timeseries.get_mut(number) {
                written.samples.push(sample);
            }
        }
        for written in &mut timeseries {
            written.samples.sort_by_key(|sample| sample.timestamp);
        }
        WriteRequest { timeseries }
    }
}

fn labels(series: &HistorySeries, common: &[(String, String)]) -> Vec<WrittenLabel> {
    let label = |name: &str, value: &str| WrittenLabel { name: name.to_owned(), value: value.to_owned() };
    let mut labels = vec![label("__name__", series.name())];
    labels.extend(series.labels().map(|(name, value)| label(name, value)));
    labels.extend(common.iter().map(|(name, value)| label(name, value)));
    labels.retain(|label| !label.value.is_empty());
    labels.sort();
    labels
}

/// At most how many bytes a sample adds to a request.
pub(super) fn weight(sample: &HistorySample, common: usize) -> usize {
    // Each label has two fields and its own head, each message a head; a sample has up to 20 bytes.
    let own: usize = sample.series.labels().map(|(name, value)| name.len() + value.len() + 12).sum();
    own + common + sample.series.name().len() + 48
}

/// The same for the labels that all series share.
pub(super) fn common_weight(common: &[(String, String)]) -> usize {
    common.iter().map(|(name, value)| name.len() + value.len() + 12).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::HistoryFamily;

    fn samples() -> Vec<HistorySample> {
        let series = |log: &str| {
            Arc::new(HistorySeries {
                family: HistoryFamily::Covered,
                account: "default".into(),
                values: Arc::from([Arc::from(log)]),
            })
        };
        let (events, objects) = (series("events"), series("objects"));
        [(&events, 60_001, 60), (&objects, 60_001, 60), (&events, 120_001, 60), (&events, 2, 1)]
            .map(|(series, stamp, value)| HistorySample { series: Arc::clone(series), stamp, value })
            .to_vec()
    }

    fn common() -> Vec<(String, String)> {
        [("instance", "pod-0"), ("job", "exporter")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn labels_and_samples_are_sorted_and_each_series_is_written_once() {
        let request = WriteRequest::of(&samples(), &common());
        assert_eq!(request.timeseries.len(), 2);
        let names: Vec<_> = request.timeseries[0].labels.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, ["__name__", "account", "instance", "job", "log"]);
        let stamps: Vec<_> = request.timeseries[0].samples.iter().map(|sample| sample.timestamp).collect();
        assert_eq!(stamps, [2, 60_001, 120_001]);
    }

    #[test]
    fn a_request_has_the_bytes_of_the_protocol() {
        let request = WriteRequest {
            timeseries: vec![WrittenSeries {
                labels: vec![WrittenLabel { name: "a".to_owned(), value: "b".to_owned() }],
                samples: vec![WrittenSample { value: 1.0, timestamp: 3 }],
            }],
        };
        let sample = [&b"\x12\x0b\x09"[..], &1.0_f64.to_le_bytes(), b"\x10\x03"].concat();
        let expected = [&b"\x0a\x15\x0a\x06\x0a\x01a\x12\x01b"[..], &sample].concat();
        assert_eq!(request.encode_to_vec(), expected);
        let again = WriteRequest::of(&samples(), &common());
        assert_eq!(again.encode_to_vec(), WriteRequest::of(&samples(), &common()).encode_to_vec());
    }

    #[test]
    fn no_sample_weighs_more_than_was_thought() {
        let common = common();
        for sample in samples() {
            let bytes = WriteRequest::of(std::slice::from_ref(&sample), &common).encoded_len();
            let most = weight(&sample, common_weight(&common));
            assert!(bytes <= most && most < 2 * bytes, "{bytes} {most}");
        }
    }
}
