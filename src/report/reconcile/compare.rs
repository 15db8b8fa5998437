//! Compares the counts of the log with the vendor's own and with those of the ledger, day by day, and
//! says why they differ.
//!
//! Pure: counts in, verdicts out. Promises: counts that agree are `equal` whatever else could be said of
//! their day; the vendor's aggregates leave out keys that are marked as test, so a vendor's count above
//! that of the log is never explained by them; the ledger counts what the log holds, so nothing
//! explains another count there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use chrono::{DateTime, NaiveDate};
use serde::Serialize;

use super::ledger::LedgerSide;
use crate::cryptolens::{DailyAggregate, Outcome, state_code};
use crate::ledger::DayOutcomes;
use crate::report::options::ExcludedKeys;
use crate::report::record::CountedRequest;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const DAY_HOURS: i64 = 24;
/// The time zones of the world are within so many hours of UTC.
const MOST_OFFSET: i64 = 14;

/// One of the counts of a product and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CountField {
    Total,
    Successful,
    Failed,
    ActiveKeys,
    ActiveDevices,
}

impl CountField {
    /// The fields that both sides define in the same way.
    const JUDGED: [CountField; 3] = [CountField::Total, CountField::Successful, CountField::Failed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            CountField::Total => "total",
            CountField::Successful => "successful",
            CountField::Failed => "failed",
            CountField::ActiveKeys => "active_keys",
            CountField::ActiveDevices => "active_devices",
        }
    }
}

/// The verdict on the counts of all sides, the least remarkable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum CountVerdict {
    #[serde(rename = "not_judged")]
    NotJudged,
    #[serde(rename = "equal")]
    Equal,
    #[serde(rename = "excluded_keys")]
    ExcludedKeys,
    #[serde(rename = "no_aggregate")]
    NoAggregate,
    #[serde(rename = "not_covered")]
    NotCovered,
    #[serde(rename = "pending")]
    Pending,
    #[serde(rename = "excluded_keys?")]
    MaybeExcludedKeys,
    #[serde(rename = "day_boundary?")]
    MaybeDayBoundary,
    #[serde(rename = "missing_in_log")]
    MissingInLog,
    #[serde(rename = "missing_in_ledger")]
    MissingInLedger,
}

impl CountVerdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            CountVerdict::Equal => "equal",
            CountVerdict::Pending => "pending",
            CountVerdict::NotCovered => "not_covered",
            CountVerdict::NoAggregate => "no_aggregate",
            CountVerdict::ExcludedKeys => "excluded_keys",
            CountVerdict::MaybeExcludedKeys => "excluded_keys?",
            CountVerdict::MaybeDayBoundary => "day_boundary?",
            CountVerdict::MissingInLog => "missing_in_log",
            CountVerdict::MissingInLedger => "missing_in_ledger",
            CountVerdict::NotJudged => "not_judged",
        }
    }

    /// True if the text shows each such count. Those that wait or cannot be compared are summed up.
    pub(super) const fn is_listed(self) -> bool {
        match self {
            CountVerdict::Equal
            | CountVerdict::NotJudged
            | CountVerdict::Pending
            | CountVerdict::NotCovered
            | CountVerdict::NoAggregate => false,
            CountVerdict::ExcludedKeys
            | CountVerdict::MaybeExcludedKeys
            | CountVerdict::MaybeDayBoundary
            | CountVerdict::MissingInLog
            | CountVerdict::MissingInLedger => true,
        }
    }

    /// True if the text says what it means.
    pub(super) const fn needs_words(self) -> bool {
        !matches!(self, CountVerdict::Equal | CountVerdict::NotJudged)
    }

    /// A sentence for people.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            CountVerdict::Equal => "all sides count the same",
            CountVerdict::Pending => "the day is younger than --settle: the others may still be counting",
            CountVerdict::NotCovered => {
                "the log does not reach back to the beginning of the day, or the ledger has not all of it"
            }
            CountVerdict::NoAggregate => "the vendor has no counts of this product and day",
            CountVerdict::ExcludedKeys => "the difference is that of the keys in --exclude-keys-file",
            CountVerdict::MaybeExcludedKeys => {
                "the vendor leaves out keys that are marked as test; --exclude-keys-file makes the comparison exact"
            }
            CountVerdict::MaybeDayBoundary => {
                "the counts are equal if the vendor's day begins at another hour than UTC's"
            }
            CountVerdict::MissingInLog => "the vendor or the ledger counts rows that the log does not show",
            CountVerdict::MissingInLedger => "the log shows rows that the ledger has not counted",
            CountVerdict::NotJudged => "the vendor defines active keys and devices in another way",
        }
    }
}

/// A count of all sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ComparedCount {
    pub(super) product: i64,
    pub(super) day: NaiveDate,
    pub(super) field: CountField,
    /// None where the ledger has no such count, or is not compared.
    pub(super) ledger: Option<u64>,
    pub(super) log: u64,
    /// The same without the rows of excluded keys.
    #[serde(skip)]
    pub(super) included: u64,
    pub(super) vendor: Option<u64>,
    /// The vendor's count less that of the log.
    pub(super) difference: Option<i64>,
    pub(super) verdict: CountVerdict,
    /// True if the difference has no explanation.
    pub(super) unexplained: bool,
    /// The verdict on the ledger's count alone.
    #[serde(skip)]
    pub(super) of_ledger: Option<CountVerdict>,
    /// The verdict on the vendor's count alone.
    #[serde(skip)]
    pub(super) of_vendor: Option<CountVerdict>,
}

impl ComparedCount {
    /// The vendor's count less that of the log, where rows of excluded keys are in both or in neither.
    pub(super) fn difference_of_vendor(&self) -> Option<i64> {
        let ours = if self.vendor == Some(self.log) { self.log } else { self.included };
        difference(self.vendor.filter(|_| self.of_vendor != Some(CountVerdict::NotCovered))?, ours)
    }

    /// The ledger's count less that of the log.
    pub(super) fn difference_of_ledger(&self) -> Option<i64> {
        difference(self.ledger.filter(|_| self.of_ledger != Some(CountVerdict::NotCovered))?, self.log)
    }
}

fn difference(vendor: u64, log: u64) -> Option<i64> {
    i64::try_from(i128::from(vendor) - i128::from(log)).ok()
}

/// The counts that both sides define in the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct JudgedCounts {
    total: u64,
    successful: u64,
    failed: u64,
}

impl JudgedCounts {
    fn add(&mut self, other: JudgedCounts) {
        self.total += other.total;
        self.successful += other.successful;
        self.failed += other.failed;
    }

    fn of(aggregate: &DailyAggregate) -> JudgedCounts {
        JudgedCounts { total: aggregate.total, successful: aggregate.successful, failed: aggregate.failed }
    }

    const fn of_ledger(counts: DayOutcomes) -> JudgedCounts {
        let total = counts.success + counts.failure + counts.unknown;
        JudgedCounts { total, successful: counts.success, failed: counts.failure }
    }

    const fn get(self, field: CountField) -> u64 {
        match field {
            CountField::Successful => self.successful,
            CountField::Failed => self.failed,
            _ => self.total,
        }
    }
}

/// The rows of one product in one hour: all of them, and those whose key is not excluded.
#[derive(Debug, Clone, Copy, Default)]
struct HourCounts {
    all: JudgedCounts,
    included: JudgedCounts,
}

/// Distinct keys and machines of a product and day, as hashes.
#[derive(Debug, Default)]
struct ActiveOnDay {
    keys: HashSet<u64>,
    devices: HashSet<u64>,
}

/// The counts of the log, by product and hour.
#[derive(Debug, Default)]
pub(super) struct LogCounts {
    excluded_keys: ExcludedKeys,
    hours: BTreeMap<(i64, i64), HourCounts>,
    active: BTreeMap<(i64, i64), ActiveOnDay>,
    /// The highest id of each day.
    newest_ids: BTreeMap<i64, i64>,
    hasher: RandomState,
}

impl LogCounts {
    pub(super) fn new(excluded_keys: ExcludedKeys) -> LogCounts {
        LogCounts { excluded_keys, ..LogCounts::default() }
    }

    /// Counts a row; one without a time or product is in no aggregate.
    pub(super) fn add(&mut self, row: &CountedRequest) {
        let Some(time) = row.time.filter(|_| row.product_id > 0) else { return };
        let outcome = state_code::classify(row.state).1;
        let counts = JudgedCounts {
            total: 1,
            successful: u64::from(outcome == Outcome::Success),
            failed: u64::from(outcome == Outcome::Failure),
        };
        let hour = self.hours.entry((row.product_id, time.div_euclid(HOUR))).or_default();
        hour.all.add(counts);
        if !row.key.as_ref().is_some_and(|key| self.excluded_keys.contains(key)) {
            hour.included.add(counts);
        }
        let newest = self.newest_ids.entry(time.div_euclid(DAY)).or_default();
        *newest = row.id.max(*newest);
        let active = self.active.entry((row.product_id, time.div_euclid(DAY))).or_default();
        active.keys.extend(row.key.as_ref().map(|key| self.hasher.hash_one(key)));
        active.devices.extend(row.machine_code.as_ref().map(|code| self.hasher.hash_one(code)));
    }

    /// The counts of a day of 24 hours that begins `offset` hours before the day in UTC.
    fn on_day(&self, product: i64, day: i64, offset: i64) -> HourCounts {
        let first = day * DAY_HOURS - offset;
        let mut sum = HourCounts::default();
        for (_, hour) in self.hours.range((product, first)..(product, first + DAY_HOURS)) {
            sum.all.add(hour.all);
            sum.included.add(hour.included);
        }
        sum
    }
}

/// The circumstances that decide verdicts beside the counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The first day, in days since 1970.
    pub(super) first_day: i64,
    /// The day after the last.
    pub(super) end_day: i64,
    /// Days that ended after this time, in Unix seconds, may still change.
    pub(super) settled_until: i64,
    /// The oldest time of the log, where it was read from its beginning.
    pub(super) log_begins: Option<i64>,
    /// By how many percent of the vendor's count that of the log may be above it.
    pub(super) tolerance: f64,
}

impl Circumstances {
    /// True if the log holds every row from this time on.
    fn covers(&self, time: i64) -> bool {
        self.log_begins.is_none_or(|begins| begins < time)
    }

    fn is_settled(&self, day: i64) -> bool {
        (day + 1) * DAY <= self.settled_until
    }
}

/// The sides that the log is compared with; a side that is not asked is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OtherSides<'a> {
    pub(super) vendor: Option<&'a [DailyAggregate]>,
    pub(super) ledger: Option<&'a LedgerSide>,
    /// The products that are compared; all if none.
    pub(super) product: Option<i64>,
}

/// Compares all counts of all days, in the order of products and days.
pub(super) fn compare(
    log: &LogCounts,
    sides: OtherSides<'_>,
    circumstances: &Circumstances,
) -> Vec<ComparedCount> {
    let days = circumstances.first_day..circumstances.end_day;
    let mut vendor: BTreeMap<(i64, i64), &DailyAggregate> = BTreeMap::new();
    for aggregate in sides.vendor.unwrap_or_default() {
        vendor.insert((aggregate.product_id, days_since_1970(aggregate.date)), aggregate);
    }
    let in_log = log.hours.keys().map(|(product, hour)| (*product, hour.div_euclid(DAY_HOURS)));
    let in_ledger = sides.ledger.into_iter().flat_map(LedgerSide::pairs);
    let pairs: BTreeSet<(i64, i64)> = in_log
        .chain(vendor.keys().copied())
        .chain(in_ledger)
        .filter(|(product, day)| days.contains(day) && sides.product.is_none_or(|wanted| wanted == *product))
        .collect();
    let products: BTreeSet<i64> = pairs.iter().map(|(product, _)| *product).collect();
    let offsets: BTreeMap<i64, Option<i64>> = products
        .into_iter()
        .map(|product| (product, fitting_offset(log, &vendor, product, circumstances)))
        .collect();
    let mut compared = Vec::new();
    for (product, day) in pairs {
        let Some(date) = DateTime::from_timestamp(day * DAY, 0).map(|time| time.date_naive()) else {
            continue;
        };
        let counts = log.on_day(product, day, 0);
        let aggregate = vendor.get(&(product, day)).copied();
        let in_ledger = sides.ledger.and_then(|ledger| ledger.counts(product, day));
        let is_shifted = offsets.get(&product).is_some_and(Option::is_some);
        for field in CountField::JUDGED {
            let (all, included) = (counts.all.get(field), counts.included.get(field));
            let theirs = aggregate.map(|aggregate| JudgedCounts::of(aggregate).get(field));
            let counted = in_ledger.map(|counts| JudgedCounts::of_ledger(counts).get(field));
            let of_vendor =
                sides.vendor.map(|_| vendor_verdict(all, included, theirs, day, is_shifted, circumstances));
            let of_ledger = sides.ledger.map(|ledger| {
                let covered = ledger.covers(day, log.newest_ids.get(&day).copied());
                ledger_verdict(all, counted.filter(|_| covered), day, circumstances)
            });
            compared.push(ComparedCount {
                product,
                day: date,
                field,
                ledger: counted,
                log: all,
                included,
                vendor: theirs,
                difference: theirs.and_then(|theirs| difference(theirs, all)),
                // The most remarkable one.
                verdict: of_vendor.max(of_ledger).unwrap_or(CountVerdict::NotJudged),
                unexplained: is_unexplained(of_vendor, all, included, theirs, circumstances)
                    || is_unexplained(of_ledger, all, included, theirs, circumstances),
                of_ledger,
                of_vendor,
            });
        }
        if sides.vendor.is_none() {
            continue;
        }
        let active = log.active.get(&(product, day));
        let keys = active.map_or(0, |active| count(active.keys.len()));
        let devices = active.map_or(0, |active| count(active.devices.len()));
        for (field, ours, theirs) in [
            (CountField::ActiveKeys, keys, aggregate.map(|aggregate| aggregate.active_keys)),
            (CountField::ActiveDevices, devices, aggregate.map(|aggregate| aggregate.active_devices)),
        ] {
            compared.push(ComparedCount {
                product,
                day: date,
                field,
                ledger: None,
                log: ours,
                included: ours,
                vendor: theirs,
                difference: theirs.and_then(|theirs| difference(theirs, ours)),
                verdict: CountVerdict::NotJudged,
                unexplained: false,
                of_ledger: None,
                of_vendor: None,
            });
        }
    }
    compared
}

fn is_unexplained(
    verdict: Option<CountVerdict>,
    all: u64,
    included: u64,
    vendor: Option<u64>,
    circumstances: &Circumstances,
) -> bool {
    match (verdict, vendor) {
        (
            Some(CountVerdict::MissingInLog | CountVerdict::MissingInLedger | CountVerdict::MaybeDayBoundary),
            _,
        ) => true,
        (Some(CountVerdict::MaybeExcludedKeys), Some(theirs)) => {
            // Between the two, some of the keys that are named were counted after all.
            let ours = if included > theirs { included } else { all };
            exceeds(ours, theirs, circumstances.tolerance)
        }
        _ => false,
    }
}

/// `all` is the count of the log, `ledger` that of the ledger if it has every row of the day.
fn ledger_verdict(all: u64, ledger: Option<u64>, day: i64, circumstances: &Circumstances) -> CountVerdict {
    match ledger {
        Some(ledger) if ledger == all => CountVerdict::Equal,
        _ if !circumstances.is_settled(day) => CountVerdict::Pending,
        Some(ledger) if ledger < all => CountVerdict::MissingInLedger,
        Some(_) if circumstances.covers(day * DAY) => CountVerdict::MissingInLog,
        _ => CountVerdict::NotCovered,
    }
}

/// `all` and `included` are counts of the log, with and without the keys that are excluded.
fn vendor_verdict(
    all: u64,
    included: u64,
    vendor: Option<u64>,
    day: i64,
    is_shifted: bool,
    circumstances: &Circumstances,
) -> CountVerdict {
    let is_settled = circumstances.is_settled(day);
    let Some(vendor) = vendor else {
        return if is_settled { CountVerdict::NoAggregate } else { CountVerdict::Pending };
    };
    if vendor == all {
        CountVerdict::Equal
    } else if vendor == included {
        CountVerdict::ExcludedKeys
    } else if !is_settled {
        CountVerdict::Pending
    } else if !circumstances.covers(day * DAY) {
        CountVerdict::NotCovered
    } else if is_shifted {
        CountVerdict::MaybeDayBoundary
    } else if vendor > all {
        CountVerdict::MissingInLog
    } else {
        CountVerdict::MaybeExcludedKeys
    }
}

/// True if the log's count is above the vendor's by more than so many percent of it.
#[allow(clippy::cast_precision_loss, reason = "counts of a day are far below 2^53")]
fn exceeds(log: u64, vendor: u64, tolerance: f64) -> bool {
    log.saturating_sub(vendor) as f64 > vendor as f64 * tolerance / 100.0
}

/// The offset of the vendor's day from that of UTC in hours that makes all counts of a product
/// equal, if there is one. A single day is fitted by chance too easily.
fn fitting_offset(
    log: &LogCounts,
    vendor: &BTreeMap<(i64, i64), &DailyAggregate>,
    product: i64,
    circumstances: &Circumstances,
) -> Option<i64> {
    let earliest = |day: i64| day * DAY - MOST_OFFSET * HOUR;
    let days: Vec<(i64, JudgedCounts)> = vendor
        .range((product, circumstances.first_day)..(product, circumstances.end_day))
        .filter(|((_, day), _)| circumstances.is_settled(*day) && circumstances.covers(earliest(*day)))
        .map(|((_, day), aggregate)| (*day, JudgedCounts::of(aggregate)))
        .collect();
    let with_rows = days.iter().filter(|(_, counts)| counts.total > 0).count();
    let fits =
        |offset: i64| days.iter().all(|(day, counts)| log.on_day(product, *day, offset).included == *counts);
    if with_rows < 2 || fits(0) {
        return None;
    }
    (1..=MOST_OFFSET).flat_map(|hours| [hours, -hours]).find(|offset| fits(*offset))
}

fn days_since_1970(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerDays;

    /// The first day of the tests.
    const FIRST: i64 = 20_000;

    fn row(id: i64, time: i64, state: i64, key: &str) -> CountedRequest {
        CountedRequest {
            id,
            product_id: 3349,
            key: Some(key.to_owned()),
            time: Some(time),
            state: Some(state),
            machine_code: Some(format!("m{}", id % 3)),
            friendly_name: None,
        }
    }

    /// Five days with one to five rows in each hour, in no order that repeats, so that no shift of the
    /// day fits by chance; every fifth fails, every seventh is of a key for tests.
    fn rows() -> Vec<CountedRequest> {
        let mut rows = Vec::new();
        for day in -1..4 {
            let mut id = day * 1000 + 5000;
            for hour in 0..DAY_HOURS {
                let number_of_rows = 1 + ((day + 3) * (hour + 5) * (hour + 2) / 3 + hour / 5 * day) % 5;
                for number in 0..number_of_rows {
                    let state = if id % 5 == 0 { 2020 } else { 2014 };
                    let key = if id % 7 == 0 { "TEST" } else { "KEY" };
                    rows.push(row(id, (FIRST + day) * DAY + hour * HOUR + number * 600, state, key));
                    id += 1;
                }
            }
        }
        rows
    }

    fn tally(rows: &[CountedRequest], excluded: &[&str]) -> LogCounts {
        let mut counts = LogCounts::new(ExcludedKeys::from_text(&excluded.join("\n")));
        rows.iter().for_each(|row| counts.add(row));
        counts
    }

    /// The vendor's counts, independently: by time, offset and without some keys.
    fn aggregates(rows: &[CountedRequest], offset: i64, excluded: &[&str]) -> Vec<DailyAggregate> {
        let date = |day: i64| DateTime::from_timestamp(day * DAY, 0).unwrap().date_naive();
        (0..3)
            .map(|day| {
                let of_day: Vec<&CountedRequest> = rows
                    .iter()
                    .filter(|row| (row.time.unwrap() + offset * HOUR).div_euclid(DAY) == FIRST + day)
                    .filter(|row| !excluded.contains(&row.key.as_deref().unwrap()))
                    .collect();
                let failed = of_day.iter().filter(|row| row.state == Some(2020)).count();
                DailyAggregate {
                    id: day + 1,
                    product_id: 3349,
                    date: date(FIRST + day),
                    total: count(of_day.len()),
                    successful: count(of_day.len() - failed),
                    failed: count(failed),
                    active_keys: 9,
                    active_devices: 9,
                }
            })
            .collect()
    }

    const USUAL: Circumstances = Circumstances {
        first_day: FIRST,
        end_day: FIRST + 3,
        settled_until: i64::MAX,
        log_begins: None,
        tolerance: 0.0,
    };

    fn of_vendor(aggregates: &[DailyAggregate]) -> OtherSides<'_> {
        OtherSides { vendor: Some(aggregates), ledger: None, product: None }
    }

    /// A ledger that has counted these rows, days and ids.
    fn ledger(rows: &[CountedRequest], complete_from: i64, cursor: i64) -> LedgerSide {
        let mut counts: BTreeMap<(i64, i64), DayOutcomes> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.id <= cursor) {
            let counted = counts.entry((row.time.unwrap().div_euclid(DAY), row.product_id)).or_default();
            match row.state {
                Some(2014) => counted.success += 1,
                _ => counted.failure += 1,
            }
        }
        LedgerSide { days: LedgerDays { complete_from, counts }, cursor, today: FIRST + 3 }
    }

    fn of_ledger(
        rows: &[CountedRequest],
        ledger: &LedgerSide,
        circumstances: &Circumstances,
    ) -> BTreeMap<&'static str, Vec<i64>> {
        let sides = OtherSides { vendor: None, ledger: Some(ledger), product: None };
        let mut days: BTreeMap<&'static str, Vec<i64>> = BTreeMap::new();
        for count in compare(&tally(rows, &[]), sides, circumstances) {
            assert_eq!(count.unexplained, count.verdict >= CountVerdict::MissingInLog);
            let days = days.entry(count.verdict.name()).or_default();
            days.push(days_since_1970(count.day) - FIRST);
            days.dedup();
        }
        days
    }

    /// The verdicts of the judged counts that are not equal, and the number of unexplained ones.
    fn verdicts(
        log: &LogCounts,
        vendor: &[DailyAggregate],
        circumstances: &Circumstances,
    ) -> (BTreeSet<&'static str>, usize) {
        let compared = compare(log, of_vendor(vendor), circumstances);
        let judged = compared
            .iter()
            .filter(|count| !matches!(count.verdict, CountVerdict::NotJudged | CountVerdict::Equal));
        let unexplained = compared.iter().filter(|count| count.unexplained).count();
        (judged.map(|count| count.verdict.name()).collect(), unexplained)
    }

    #[test]
    fn equal_counts_are_equal_and_active_ones_are_shown_only() {
        let rows = rows();
        let compared = compare(&tally(&rows, &[]), of_vendor(&aggregates(&rows, 0, &[])), &USUAL);
        assert_eq!(compared.len(), 3 * 5);
        for count in &compared {
            let is_active = matches!(count.field, CountField::ActiveKeys | CountField::ActiveDevices);
            assert_eq!(count.verdict, if is_active { CountVerdict::NotJudged } else { CountVerdict::Equal });
            assert!(!count.unexplained);
        }
        let of_first: Vec<u64> = compared.iter().take(5).map(|count| count.log).collect();
        assert_eq!(of_first, [70, 56, 14, 2, 3]);
        assert_eq!(compared[3].difference, Some(7));
    }

    #[test]
    fn a_row_that_the_log_lacks_is_missing_whatever_is_excluded_or_tolerated() {
        let rows = rows();
        let vendor = aggregates(&rows, 0, &[]);
        let lost: Vec<CountedRequest> = rows.iter().filter(|row| row.id != 5003).cloned().collect();
        let circumstances = Circumstances { tolerance: 50.0, ..USUAL };
        for excluded in [&[][..], &["NONE"]] {
            let (verdicts, unexplained) = verdicts(&tally(&lost, excluded), &vendor, &circumstances);
            assert_eq!((verdicts, unexplained), (BTreeSet::from(["missing_in_log"]), 2));
        }
    }

    #[test]
    fn keys_for_tests_explain_what_the_vendor_lacks_and_nothing_else() {
        let rows = rows();
        let vendor = aggregates(&rows, 0, &["TEST"]);
        let (names, unexplained) = verdicts(&tally(&rows, &[]), &vendor, &USUAL);
        assert_eq!(names, BTreeSet::from(["excluded_keys?"]));
        assert!(unexplained > 0);
        let tolerant = Circumstances { tolerance: 60.0, ..USUAL };
        assert_eq!(verdicts(&tally(&rows, &[]), &vendor, &tolerant).1, 0);
        let exact = verdicts(&tally(&rows, &["TEST"]), &vendor, &USUAL);
        assert_eq!(exact, (BTreeSet::from(["excluded_keys"]), 0));
        // The file names the key, and one row more is missing in the vendor's counts.
        let mut fewer = vendor.clone();
        fewer[1].total -= 1;
        let (names, unexplained) = verdicts(&tally(&rows, &["TEST"]), &fewer, &USUAL);
        assert_eq!((names, unexplained), (BTreeSet::from(["excluded_keys", "excluded_keys?"]), 1));
        // A count between those with and without the keys fits neither.
        let mut between = vendor.clone();
        between[1].total += 1;
        let (names, unexplained) = verdicts(&tally(&rows, &["TEST"]), &between, &USUAL);
        assert_eq!((names, unexplained), (BTreeSet::from(["excluded_keys", "excluded_keys?"]), 1));
    }

    #[test]
    fn a_day_that_begins_at_another_hour_is_recognised() {
        let rows = rows();
        for offset in [-8, 1, 2, 14] {
            let (names, unexplained) = verdicts(&tally(&rows, &[]), &aggregates(&rows, offset, &[]), &USUAL);
            assert_eq!(names, BTreeSet::from(["day_boundary?"]), "{offset}");
            assert!(unexplained > 0);
        }
        // A loss is no shift.
        let mut vendor = aggregates(&rows, 2, &[]);
        vendor[0].total += 1;
        let (names, _) = verdicts(&tally(&rows, &[]), &vendor, &USUAL);
        assert!(!names.contains("day_boundary?"), "{names:?}");
    }

    #[test]
    fn what_cannot_be_known_yet_or_any_more_is_no_fault() {
        let rows = rows();
        let mut vendor = aggregates(&rows, 0, &[]);
        vendor[2].total -= 3;
        let unsettled = Circumstances { settled_until: (FIRST + 2) * DAY, ..USUAL };
        assert_eq!(verdicts(&tally(&rows, &[]), &vendor, &unsettled), (BTreeSet::from(["pending"]), 0));
        let settled = Circumstances { settled_until: (FIRST + 3) * DAY, ..USUAL };
        assert_eq!(verdicts(&tally(&rows, &[]), &vendor, &settled).1, 1);
        vendor.pop();
        let none = verdicts(&tally(&rows, &[]), &vendor, &USUAL);
        assert_eq!(none, (BTreeSet::from(["no_aggregate"]), 0));
        // The log keeps 30 days, and the vendor's counts are older.
        let late: Vec<CountedRequest> =
            rows.iter().filter(|row| row.time > Some(FIRST * DAY + 40_000)).cloned().collect();
        let begins = late.iter().filter_map(|row| row.time).min();
        let circumstances = Circumstances { log_begins: begins, ..USUAL };
        let vendor = aggregates(&rows, 0, &[]);
        assert_eq!(
            verdicts(&tally(&late, &[]), &vendor, &circumstances),
            (BTreeSet::from(["not_covered"]), 0)
        );
    }

    #[test]
    fn the_ledger_has_every_row_of_the_days_that_it_covers() {
        let rows = rows();
        let newest = rows.iter().map(|row| row.id).max().unwrap();
        let whole = ledger(&rows, FIRST, newest);
        assert_eq!(of_ledger(&rows, &whole, &USUAL), BTreeMap::from([("equal", vec![0, 1, 2])]));
        // A row of the second day was not counted, or the log does not show it.
        let fewer: Vec<CountedRequest> = rows.iter().filter(|row| row.id != 6003).cloned().collect();
        let lost = of_ledger(&rows, &ledger(&fewer, FIRST, newest), &USUAL);
        assert_eq!(lost, BTreeMap::from([("equal", vec![0, 1, 2]), ("missing_in_ledger", vec![1])]));
        let gone = of_ledger(&fewer, &whole, &USUAL);
        assert_eq!(gone, BTreeMap::from([("equal", vec![0, 1, 2]), ("missing_in_log", vec![1])]));
        // Counting began in the middle of the second day, or is as far as that.
        let late: Vec<CountedRequest> = rows.iter().filter(|row| row.id > 6030).cloned().collect();
        let began = of_ledger(&rows, &ledger(&late, FIRST + 2, newest), &USUAL);
        assert_eq!(began, BTreeMap::from([("equal", vec![2]), ("not_covered", vec![0, 1])]));
        let behind = of_ledger(&rows, &ledger(&rows, FIRST, 6030), &USUAL);
        assert_eq!(behind, BTreeMap::from([("equal", vec![0]), ("not_covered", vec![1, 2])]));
        // A day that is not over waits.
        let unsettled = Circumstances { settled_until: (FIRST + 1) * DAY, ..USUAL };
        let pending = of_ledger(&rows, &ledger(&fewer, FIRST, newest), &unsettled);
        assert_eq!(pending, BTreeMap::from([("equal", vec![0, 1, 2]), ("pending", vec![1])]));
    }

    #[test]
    fn days_that_the_ledger_keeps_no_more_and_products_past_the_limit_are_not_covered() {
        let rows = rows();
        let old = LedgerSide { today: FIRST + 42, ..ledger(&[], FIRST, i64::MAX) };
        let verdicts = of_ledger(&rows, &old, &USUAL);
        assert_eq!(verdicts, BTreeMap::from([("missing_in_ledger", vec![2]), ("not_covered", vec![0, 1])]));
        let mut limited = ledger(&[], FIRST, i64::MAX);
        for day in FIRST..FIRST + 3 {
            limited.days.counts.insert((day, -1), DayOutcomes::default());
        }
        assert_eq!(of_ledger(&rows, &limited, &USUAL), BTreeMap::from([("not_covered", vec![0, 1, 2])]));
    }

    #[test]
    fn the_most_remarkable_verdict_of_both_sides_is_shown() {
        let rows = rows();
        let newest = rows.iter().map(|row| row.id).max().unwrap();
        let fewer: Vec<CountedRequest> = rows.iter().filter(|row| row.id != 6003).cloned().collect();
        let ledger = ledger(&fewer, FIRST, newest);
        let vendor = aggregates(&rows, 0, &["TEST"]);
        let sides = OtherSides { vendor: Some(&vendor), ledger: Some(&ledger), product: Some(3349) };
        let compared = compare(&tally(&rows, &["TEST"]), sides, &USUAL);
        let totals: Vec<_> = compared.iter().filter(|count| count.field == CountField::Total).collect();
        let verdicts: Vec<_> = totals.iter().map(|count| count.verdict.name()).collect();
        assert_eq!(verdicts, ["excluded_keys", "missing_in_ledger", "excluded_keys"]);
        assert_eq!((totals[1].ledger, totals[1].log), (Some(75), 76));
        let other = OtherSides { product: Some(1), ..sides };
        assert!(compare(&tally(&rows, &[]), other, &USUAL).is_empty());
    }

    #[test]
    fn a_product_that_one_side_lacks_is_shown() {
        let rows = rows();
        let mut vendor = aggregates(&rows, 0, &[]);
        vendor.push(DailyAggregate { id: 9, product_id: 1, ..vendor[0].clone() });
        let compared = compare(&tally(&rows, &[]), of_vendor(&vendor), &USUAL);
        let other: Vec<_> = compared.iter().filter(|count| count.product == 1).take(1).collect();
        assert_eq!((other[0].log, other[0].verdict), (0, CountVerdict::MissingInLog));
    }
}
