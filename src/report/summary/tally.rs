//! Counts the requests of a period and of the time that it is compared with, while they stream past.
//!
//! Promises: no row is kept. Memory grows with the columns of the chart for each product, with 32
//! bytes for each distinct key and machine (their hashes), and with the keys that were refused a
//! seat. Rows come in the order of their ids, and nearly in that of their times.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _};

use foldhash::fast::FixedState;
use ring::digest::{Context, SHA256};

use super::day_scan::{DayScan, ScannedDays};
use crate::cryptolens::{Outcome, state_code};
use crate::report::count::Counts;
use crate::report::detector::{FailureSource, RefusalTracker, SeatDenial};
use crate::report::record::SeenRequest;
use crate::report::request_chart::TimeColumns;
use crate::report::window::{Window, local};
use crate::usage::{license_key, machine_code};

/// States of an activation that got a seat.
const SEATED: [i64; 2] = [2014, 2015];
/// Waiting machines are looked through for those who gave up when there are this many more.
const MANY_WAITING: usize = 10_000;
const HOUR: i64 = 3600;
/// The same in every process. With 10,000 sources of a day, two share a hash with a chance of 1 in 86,
/// and both of them would have to fail at once to matter.
const SHORT_HASHES: FixedState = FixedState::with_seed(0);

/// A time that requests are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedTime {
    Now,
    Before,
}

/// The counts of one time.
#[derive(Debug, Clone, Default)]
pub(super) struct TimeTally {
    pub(super) counts: Counts,
    pub(super) active_keys: u64,
    pub(super) active_machines: u64,
    /// Machines that were refused a seat, each once as long as it waits.
    pub(super) refusals: u64,
    /// Requests that found no free seat.
    pub(super) refused_requests: u64,
}

/// The counts of one product.
#[derive(Debug, Clone)]
pub(super) struct ProductTally {
    pub(super) now: Counts,
    pub(super) before: Counts,
    pub(super) active_keys: u64,
    /// Requests and failures by column of the chart.
    pub(super) trend: (Vec<u64>, Vec<u64>),
}

/// A key that was refused a seat.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusedKey {
    /// How often a machine was refused, each once as long as it waits.
    pub(super) times: u64,
    pub(super) machines: HashSet<u64, FixedState>,
    /// Days on which a refusal began.
    pub(super) days: BTreeSet<i32>,
}

/// The requests of the columns of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ColumnCount {
    pub(super) failed: u64,
    pub(super) succeeded: u64,
    pub(super) other: u64,
}

/// In which of the two times something was active, as bits.
const ACTIVE_NOW: u8 = 1;
const ACTIVE_BEFORE: u8 = 2;

type ActiveSet = HashMap<u64, u8, FixedState>;

/// Everything that is counted.
pub(super) struct SummaryTally {
    pub(super) window: Window,
    compared: Option<Window>,
    chart: TimeColumns,
    pub(super) columns: Vec<ColumnCount>,
    pub(super) now: TimeTally,
    pub(super) before: TimeTally,
    pub(super) products: BTreeMap<i64, ProductTally>,
    keys: ActiveSet,
    machines: ActiveSet,
    waiting: RefusalTracker<u64>,
    /// How many waited when those who gave up were taken away last.
    waited: usize,
    /// By product and key.
    pub(super) refused: BTreeMap<(i64, Box<str>), RefusedKey>,
    scan: DayScan,
    /// The lowest id of each hour in which there are rows, to find a moment again.
    marks: BTreeMap<i64, i64>,
    digest: Context,
    pub(super) rows: u64,
    pub(super) ids: Option<(i64, i64)>,
    /// The oldest time in the period.
    pub(super) oldest: Option<i64>,
    pub(super) without_time: u64,
}

/// A tally once all rows were seen.
pub(super) struct SummaryCount {
    pub(super) tally: SummaryTally,
    pub(super) scanned: ScannedDays,
    pub(super) sha256: Option<String>,
}

impl SummaryTally {
    pub(super) fn new(window: Window, compared: Option<Window>) -> SummaryTally {
        let chart = TimeColumns::new(window);
        let columns = vec![ColumnCount::default(); chart.len()];
        SummaryTally {
            window,
            compared,
            chart,
            columns,
            now: TimeTally::default(),
            before: TimeTally::default(),
            products: BTreeMap::new(),
            keys: ActiveSet::default(),
            machines: ActiveSet::default(),
            waiting: RefusalTracker::new(),
            waited: 0,
            refused: BTreeMap::new(),
            scan: DayScan::new(window),
            marks: BTreeMap::new(),
            digest: Context::new(&SHA256),
            rows: 0,
            ids: None,
            oldest: None,
            without_time: 0,
        }
    }

    /// Forgets who waits for a seat: the rows that follow are of another time.
    pub(super) fn begin_reading(&mut self) {
        self.waiting = RefusalTracker::new();
        self.waited = 0;
    }

    /// Takes a page of rows, of which those of the given times count.
    pub(super) fn add_page(&mut self, rows: &[SeenRequest], times: &[CountedTime]) {
        let oldest = rows.iter().filter_map(|row| row.time).min();
        if let Some(oldest) = oldest.filter(|_| times.contains(&CountedTime::Now)) {
            self.scan.page_begins_at(oldest);
        }
        if self.waiting.len() > self.waited + MANY_WAITING {
            self.waiting.given_up(oldest.unwrap_or(i64::MIN));
            self.waited = self.waiting.len();
        }
        for row in rows {
            self.add(row, times);
        }
    }

    fn add(&mut self, row: &SeenRequest, times: &[CountedTime]) {
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        let is_now = times.contains(&CountedTime::Now) && self.window.contains(time);
        let is_before = times.contains(&CountedTime::Before)
            && self.compared.is_some_and(|compared| compared.contains(time));
        // Who waits is followed from before the time on: it was refused before.
        let is_refused = self.refusal_begins(row, time);
        if is_now {
            self.count_now(row, time);
        }
        if is_before {
            let (_, outcome) = state_code::classify(row.state);
            self.before.counts.add(outcome, 1);
            self.product(row.product_id).before.add(outcome, 1);
        }
        for (is_in, time_of) in [(is_now, CountedTime::Now), (is_before, CountedTime::Before)] {
            if !is_in {
                continue;
            }
            self.note_use(row, time_of);
            let tally = match time_of {
                CountedTime::Now => &mut self.now,
                CountedTime::Before => &mut self.before,
            };
            tally.refused_requests += u64::from(row.state == Some(state_code::NO_FREE_SEAT));
            tally.refusals += u64::from(is_refused);
        }
        if is_now && is_refused {
            self.note_refused(row, time);
        }
    }

    fn count_now(&mut self, row: &SeenRequest, time: i64) {
        let (_, outcome) = state_code::classify(row.state);
        self.now.counts.add(outcome, 1);
        self.rows += 1;
        self.ids =
            Some(self.ids.map_or((row.id, row.id), |(first, last)| (first.min(row.id), last.max(row.id))));
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        let mark = self.marks.entry(time.div_euclid(HOUR)).or_insert(row.id);
        *mark = (*mark).min(row.id);
        let state = row.state.map(|state| state.to_string()).unwrap_or_default();
        self.digest.update(format!("{}:{state}\n", row.id).as_bytes());
        let column = self.chart.column(time);
        if let Some(count) = column.and_then(|column| self.columns.get_mut(column)) {
            match outcome {
                Outcome::Failure => count.failed += 1,
                Outcome::Success => count.succeeded += 1,
                Outcome::Unknown => count.other += 1,
            }
        }
        let product = self.product(row.product_id);
        product.now.add(outcome, 1);
        let (all, bad) = &mut product.trend;
        if let Some((all, bad)) = column.and_then(|column| all.get_mut(column).zip(bad.get_mut(column))) {
            *all += 1;
            *bad += u64::from(outcome == Outcome::Failure);
        }
        // A refused seat is no sign of an incident: it has a report of its own.
        if outcome != Outcome::Unknown && row.state != Some(state_code::NO_FREE_SEAT) {
            self.scan.add(row.product_id, time, (outcome == Outcome::Failure).then(|| source(row)));
        }
    }

    fn product(&mut self, product: i64) -> &mut ProductTally {
        let columns = self.columns.len();
        self.products.entry(product).or_insert_with(|| ProductTally {
            now: Counts::default(),
            before: Counts::default(),
            active_keys: 0,
            trend: (vec![0; columns], vec![0; columns]),
        })
    }

    /// Keys and machines that are in use, by the one definition of [`state_code::shows_use`].
    fn note_use(&mut self, row: &SeenRequest, time: CountedTime) {
        if !state_code::shows_use(row.state) {
            return;
        }
        let bit = match time {
            CountedTime::Now => ACTIVE_NOW,
            CountedTime::Before => ACTIVE_BEFORE,
        };
        let key = row.key.as_deref().map(license_key).filter(|key| !key.is_empty());
        let is_new_key = key.is_some_and(|key| is_new(&mut self.keys, hash(row.product_id, &key), bit));
        let machine = row.machine_code.as_deref().map(machine_code).filter(|code| !code.is_empty());
        // A machine that uses two products is counted once.
        let is_new_machine = machine.is_some_and(|code| is_new(&mut self.machines, hash(0, &code), bit));
        let tally = match time {
            CountedTime::Now => &mut self.now,
            CountedTime::Before => &mut self.before,
        };
        tally.active_keys += u64::from(is_new_key);
        tally.active_machines += u64::from(is_new_machine);
        if is_new_key && time == CountedTime::Now {
            self.product(row.product_id).active_keys += 1;
        }
    }

    /// True if a row is a machine that is refused a seat, and did not wait for one before.
    fn refusal_begins(&mut self, row: &SeenRequest, time: i64) -> bool {
        let Some(state) = row.state else { return false };
        let is_refused = state == state_code::NO_FREE_SEAT;
        if !is_refused && !SEATED.contains(&state) {
            return false;
        }
        let who = waiting(row);
        if is_refused {
            return self.waiting.refused(&who, time) != SeatDenial::Again;
        }
        self.waiting.seated(&who, time);
        false
    }

    fn note_refused(&mut self, row: &SeenRequest, time: i64) {
        let key = row.key.as_deref().unwrap_or_default();
        let named = (row.product_id, Box::from(key));
        let refused = self.refused.entry(named).or_default();
        refused.times += 1;
        refused.machines.insert(waiting(row));
        refused.days.insert(chrono::Datelike::num_days_from_ce(&local(time, self.window.zone).date()));
    }

    /// An id that no row of this time or later is below.
    pub(super) fn id_before(&self, time: i64) -> Option<i64> {
        let hours = self.marks.range(..=time.div_euclid(HOUR) - 1);
        let earlier = hours.map(|(_, id)| *id).next_back();
        let id = earlier.or_else(|| self.ids.map(|(first, _)| first))?;
        Some(id.saturating_sub(1))
    }

    /// Keys that were active in the one time and not in the other: those that are new, and those that
    /// have gone quiet.
    pub(super) fn come_and_gone(&self) -> (u64, u64) {
        let of = |bits: u8| {
            let keys = self.keys.values().filter(|active| **active == bits).count();
            crate::report::count::of_length(keys)
        };
        (of(ACTIVE_NOW), of(ACTIVE_BEFORE))
    }

    pub(super) fn finish(mut self) -> SummaryCount {
        let scan = std::mem::replace(&mut self.scan, DayScan::new(self.window));
        let digest = self.digest.clone().finish();
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let sha256 = (self.rows > 0).then_some(digest);
        SummaryCount { tally: self, scanned: scan.finish(), sha256 }
    }

    pub(super) const fn chart(&self) -> &TimeColumns {
        &self.chart
    }
}

/// A machine that asks for a seat of a key; who names none is one machine of the key.
fn waiting(row: &SeenRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.product_id.hash(&mut hasher);
    row.key.as_deref().map(license_key).hash(&mut hasher);
    row.machine_code.as_deref().map(machine_code).filter(|code| !code.is_empty()).hash(&mut hasher);
    hasher.finish()
}

/// The source of a request as short hashes.
fn source(row: &SeenRequest) -> FailureSource {
    let hash = |product: i64, name: Option<&str>| {
        let number = |name| SHORT_HASHES.hash_one((product, name)) % u64::from(u32::MAX);
        name.filter(|name| !name.is_empty()).map_or(0, |name| u32::try_from(number(name)).unwrap_or(0) + 1)
    };
    let key = row.key.as_deref().map(license_key);
    let machine = row.machine_code.as_deref().map(machine_code);
    FailureSource {
        key: hash(row.product_id, key.as_deref()),
        machine: hash(0, machine.as_deref()),
        address: hash(0, row.ip.as_deref().map(str::trim)),
    }
}

/// With a million members, two of them share a hash of 64 bits with a chance of 1 in 37 million.
fn hash(product: i64, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (product, text).hash(&mut hasher);
    hasher.finish()
}

fn is_new(set: &mut ActiveSet, member: u64, bit: u8) -> bool {
    let active = set.entry(member).or_default();
    let is_new = *active & bit == 0;
    *active |= bit;
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::zone::Zone;

    /// 5 January 2026, 00:00 UTC.
    const MONDAY: i64 = 1_767_571_200;
    const DAY: i64 = 86_400;

    fn row(id: i64, time: i64, key: &str, machine: &str, state: i64) -> SeenRequest {
        SeenRequest {
            id,
            product_id: 3349,
            key: Some(key.to_owned()),
            time: Some(time),
            state: Some(state),
            machine_code: Some(machine.to_owned()),
            ip: None,
        }
    }

    fn tally(rows: &[SeenRequest]) -> SummaryCount {
        let window = Window { from: MONDAY, to: MONDAY + DAY, zone: Zone::UTC };
        let mut tally = SummaryTally::new(window, Some(window.before()));
        for page in rows.chunks(3) {
            tally.add_page(page, &[CountedTime::Now, CountedTime::Before]);
        }
        tally.finish()
    }

    #[test]
    fn active_is_what_shows_use_however_it_is_spelled() {
        let found = tally(&[
            row(1, MONDAY - 50, "A", "m1", 2014),
            row(2, MONDAY - 40, "GONE", "m2", 2010),
            row(3, MONDAY + 10, "A", "floating:M1", 2014),
            row(4, MONDAY + 20, " A\n", "m1", 1010),
            row(5, MONDAY + 30, "B", "m3", 2020),
            row(6, MONDAY + 40, "C", "m4", 3010),
            row(7, MONDAY + 50, "NEW", "M1", 8011),
        ]);
        let (now, before) = (&found.tally.now, &found.tally.before);
        assert_eq!((now.active_keys, now.active_machines), (2, 1), "failures and administration are no use");
        assert_eq!((before.active_keys, before.active_machines), (2, 2));
        assert_eq!(found.tally.come_and_gone(), (1, 1));
        assert_eq!(found.tally.products[&3349].active_keys, 2);
    }

    #[test]
    fn a_machine_that_waits_over_midnight_was_refused_the_day_before() {
        let found = tally(&[
            row(1, MONDAY - 600, "A", "m1", 2024),
            row(2, MONDAY + 10, "A", "m1", 2024),
            row(3, MONDAY + 20, "A", "m2", 2024),
            row(4, MONDAY + 30, "A", "m2", 2024),
            row(5, MONDAY + 40, "A", "m2", 2014),
            row(6, MONDAY + 50, "A", "m2", 2024),
        ]);
        let (now, before) = (&found.tally.now, &found.tally.before);
        assert_eq!((now.refusals, now.refused_requests), (2, 4));
        assert_eq!((before.refusals, before.refused_requests), (1, 1));
        let refused = found.tally.refused.values().next().unwrap();
        assert_eq!((refused.times, refused.machines.len(), refused.days.len()), (2, 1, 1));
    }

    #[test]
    fn a_moment_is_found_again_by_the_ids_of_the_hour_before() {
        let found = tally(&[
            row(10, MONDAY + 10, "A", "m", 2014),
            row(20, MONDAY + 3700, "A", "m", 2014),
            row(30, MONDAY + 9000, "A", "m", 2014),
        ]);
        let id = |time: i64| found.tally.id_before(MONDAY + time);
        assert_eq!((id(20), id(3800), id(9000), id(80_000)), (Some(9), Some(9), Some(19), Some(29)));
        assert_eq!(tally(&[]).tally.id_before(MONDAY), None);
    }

    #[test]
    fn the_digest_is_that_of_the_documented_lines() {
        let found = tally(&[
            row(1, MONDAY - 10, "A", "m", 2014),
            row(2, MONDAY, "A", "m", 2014),
            SeenRequest { state: None, ..row(3, MONDAY + 1, "A", "m", 0) },
        ]);
        let digest = ring::digest::digest(&SHA256, b"2:2014\n3:\n");
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((found.sha256, found.tally.rows, found.tally.ids), (Some(digest), 2, Some((2, 3))));
    }
}
