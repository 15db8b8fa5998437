//! The differences of one settled day, for the metric of `serve`.
//!
//! A day that is settled ended so long ago that no side still changes. Promises: a product has a
//! difference exactly if both sides have a count of its whole day.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::compare::{Circumstances, ComparedCount, CountField, LogCounts, OtherSides, compare};
use super::ledger::LedgerSide;
use super::{DAY, count_log, midnight};
use crate::cryptolens::AggregateQuery;
use crate::report::error::ReportError;
use crate::report::options::ExcludedKeys;
use crate::report::source::WindowReader;
use crate::report::window::Window;
use crate::report::zone::Zone;

/// The counts of one product and day by the vendor or the ledger, less those of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DayDifference {
    /// The product.
    pub(crate) product: i64,
    /// Of requests that succeeded.
    pub(crate) success: i64,
    /// Of requests that failed.
    pub(crate) failure: i64,
    /// Of all others.
    pub(crate) unknown: i64,
}

impl DayDifference {
    /// True if both sides count the same.
    pub(crate) const fn is_none(&self) -> bool {
        self.success == 0 && self.failure == 0 && self.unknown == 0
    }
}

/// The differences of a day, against each other side.
#[derive(Debug)]
pub(crate) struct SettledDay {
    /// Against the vendor's own counts, or why there is none.
    pub(crate) vendor: Result<Vec<DayDifference>, ReportError>,
    /// Against the ledger; empty without one, or where it does not cover the day.
    pub(crate) ledger: Vec<DayDifference>,
}

/// Asks the vendor for the counts of a day in UTC, counts the log again, and compares, also with what
/// the ledger has counted. If the vendor does not answer, the ledger is compared all the same.
pub(crate) async fn settled_day(
    source: &WindowReader,
    day: NaiveDate,
    excluded_keys: &ExcludedKeys,
    ledger: Option<&LedgerSide>,
) -> Result<SettledDay, ReportError> {
    let end = day.checked_add_days(Days::new(1)).unwrap_or(day);
    let aggregates = source.daily_aggregates(AggregateQuery { start: day, end, product_id: None }).await;
    let aggregates = match aggregates {
        Err(ReportError::Interrupted) => return Err(ReportError::Interrupted),
        // Nobody reads the log for nothing.
        Err(error) if ledger.is_none() => return Ok(SettledDay { vendor: Err(error), ledger: Vec::new() }),
        aggregates => aggregates,
    };
    let window = Window { from: midnight(day), to: midnight(end), zone: Zone::UTC };
    let counts = LogCounts::new(excluded_keys.clone());
    let (counts, reading) = count_log(source, window, None, counts).await?;
    let circumstances = Circumstances {
        first_day: midnight(day) / DAY,
        end_day: midnight(end) / DAY,
        settled_until: i64::MAX,
        log_begins: reading.oldest.filter(|_| reading.reaches_beginning),
        tolerance: 0.0,
    };
    let sides = OtherSides { vendor: aggregates.as_deref().ok(), ledger, product: None };
    let compared = compare(&counts, sides, &circumstances);
    Ok(SettledDay {
        vendor: aggregates.map(|_| differences(&compared, ComparedCount::difference_of_vendor)),
        ledger: differences(&compared, ComparedCount::difference_of_ledger),
    })
}

/// The differences by product, of all that can be compared.
fn differences(
    compared: &[ComparedCount],
    difference: impl Fn(&ComparedCount) -> Option<i64>,
) -> Vec<DayDifference> {
    let mut by_product: BTreeMap<i64, BTreeMap<CountField, i64>> = BTreeMap::new();
    for count in compared {
        if let Some(difference) = difference(count) {
            by_product.entry(count.product).or_default().insert(count.field, difference);
        }
    }
    let difference = |(product, fields): (i64, BTreeMap<CountField, i64>)| {
        let of = |field: CountField| fields.get(&field).copied();
        let success = of(CountField::Successful)?;
        let failure = of(CountField::Failed)?;
        let unknown = of(CountField::Total)? - success - failure;
        Some(DayDifference { product, success, failure, unknown })
    };
    by_product.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compare::CountVerdict;
    use super::*;

    fn count(product: i64, field: CountField, log: u64, included: u64, vendor: Option<u64>) -> ComparedCount {
        ComparedCount {
            product,
            day: NaiveDate::default(),
            field,
            ledger: None,
            log,
            included,
            vendor,
            difference: None,
            verdict: CountVerdict::Equal,
            unexplained: false,
            of_ledger: None,
            of_vendor: Some(CountVerdict::Equal),
        }
    }

    #[test]
    fn outcomes_add_up_to_the_total_and_excluded_keys_are_no_difference() {
        use CountField::{Failed, Successful, Total};
        let compared = [
            count(1, Total, 10, 10, Some(13)),
            count(1, Successful, 6, 6, Some(7)),
            count(1, Failed, 3, 3, Some(3)),
            // The vendor leaves out two rows of keys that are named, or does not.
            count(2, Total, 10, 8, Some(8)),
            count(2, Successful, 10, 8, Some(8)),
            count(2, Failed, 0, 0, Some(0)),
            count(3, Total, 10, 8, Some(10)),
            count(3, Successful, 10, 8, Some(10)),
            count(3, Failed, 0, 0, Some(0)),
            // Nothing to compare with.
            count(4, Total, 10, 10, None),
            count(4, Successful, 10, 10, None),
            count(4, Failed, 0, 0, None),
        ];
        let found = differences(&compared, ComparedCount::difference_of_vendor);
        let difference =
            |product, success, failure, unknown| DayDifference { product, success, failure, unknown };
        assert_eq!(found, [difference(1, 1, 0, 2), difference(2, 0, 0, 0), difference(3, 0, 0, 0)]);
        let equal: Vec<bool> = found.iter().map(DayDifference::is_none).collect();
        assert_eq!(equal, [false, true, true]);
    }

    #[test]
    fn a_side_that_does_not_cover_a_product_has_no_difference_of_it() {
        let counted = |product, field, of_ledger| ComparedCount {
            ledger: Some(8),
            of_ledger: Some(of_ledger),
            of_vendor: Some(CountVerdict::NotCovered),
            ..count(product, field, 9, 9, Some(7))
        };
        let fields = [CountField::Total, CountField::Successful, CountField::Failed];
        let mut compared = fields.map(|field| counted(1, field, CountVerdict::MissingInLedger)).to_vec();
        compared.extend(fields.map(|field| counted(2, field, CountVerdict::NotCovered)));
        let found = differences(&compared, ComparedCount::difference_of_ledger);
        assert_eq!(found, [DayDifference { product: 1, success: -1, failure: -1, unknown: 1 }]);
        assert!(differences(&compared, ComparedCount::difference_of_vendor).is_empty());
    }
}
