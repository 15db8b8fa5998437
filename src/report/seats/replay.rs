//! Who held and who was refused the seats of a whole product, while its rows stream past.
//!
//! The same rules as in [`super::history`], for all keys together. Promises: no row is kept longer than
//! the disorder of times asks for, an hour of the log; memory grows with keys, machines and the
//! columns of the period. A limit is not known here: what depends on it is kept by the number of
//! seats used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ring::digest::{Context, SHA256};

use crate::cryptolens::state_code::NO_FREE_SEAT;
use crate::report::detector::{RefusalTracker, SeatDenial, SeatRefusal};
use crate::report::record::SeatRequest;
use crate::report::request_chart::TimeColumns;
use crate::report::source::SLACK;
use crate::report::window::Window;
use crate::usage::machine_code;

/// State of a release.
const RELEASE: i64 = 6011;
/// Stands for the machine of a row that names none.
const NO_MACHINE: u32 = u32::MAX;

/// The seats in use, of a key or of all of them.
#[derive(Debug, Clone, Copy)]
struct SeatCurve {
    used: u64,
    since: i64,
    most: u64,
    most_since: i64,
}

impl SeatCurve {
    const NOBODY: SeatCurve = SeatCurve { used: 0, since: i64::MIN, most: 0, most_since: i64::MIN };

    /// The time for which the seats were used as they are until now, as far as it is in the period.
    fn advance(&mut self, time: i64, window: Window) -> Option<(i64, i64)> {
        let (from, to) = (self.since.max(window.from), time.min(window.to));
        self.since = time;
        if from >= to {
            return None;
        }
        if self.used > self.most {
            (self.most, self.most_since) = (self.used, from);
        }
        Some((from, to))
    }
}

/// The seats of one key.
#[derive(Debug, Clone)]
pub(super) struct KeySeats {
    pub(super) key: Box<str>,
    curve: SeatCurve,
    /// How long each number of seats was used, in seconds.
    seconds: BTreeMap<u64, i64>,
    /// The most seats used in each column of the period, and whether a refusal began in it.
    pub(super) columns: Vec<(u32, bool)>,
    /// Machines that were refused, each once as long as it waits.
    pub(super) refusals: u64,
    /// Requests that were refused.
    pub(super) requests: u64,
    pub(super) machines: BTreeSet<u32>,
    /// How long those waited who got a seat.
    pub(super) waits: Vec<i64>,
    pub(super) gave_up: u64,
    /// Refusals by the seats used when they began.
    refused_at: BTreeMap<u64, u64>,
    /// Refusals that would not have begun with one more seat.
    pub(super) saved_by_one: u64,
    /// Who would hold that seat.
    extra: Option<u32>,
}

impl KeySeats {
    fn new(key: &str, columns: usize) -> KeySeats {
        KeySeats {
            key: key.into(),
            curve: SeatCurve::NOBODY,
            seconds: BTreeMap::new(),
            columns: vec![(0, false); columns],
            refusals: 0,
            requests: 0,
            machines: BTreeSet::new(),
            waits: Vec::new(),
            gave_up: 0,
            refused_at: BTreeMap::new(),
            saved_by_one: 0,
            extra: None,
        }
    }

    /// The most seats in use at a time.
    pub(super) const fn most(&self) -> u64 {
        self.curve.most
    }

    /// Seconds in which as many seats were used, or more.
    pub(super) fn seconds_at(&self, limit: u64) -> i64 {
        self.seconds.range(limit..).map(|(_, seconds)| seconds).sum()
    }

    /// Refusals that began while seats were free, by this limit.
    pub(super) fn refused_below(&self, limit: u64) -> u64 {
        self.refused_at.range(..limit).map(|(_, refusals)| refusals).sum()
    }

    /// Columns of the period in which a refusal began.
    pub(super) fn refused_columns(&self) -> usize {
        self.columns.iter().filter(|(_, refused)| *refused).count()
    }

    fn advance(&mut self, time: i64, window: Window, columns: &TimeColumns) {
        let Some((from, to)) = self.curve.advance(time, window) else { return };
        let used = self.curve.used;
        *self.seconds.entry(used).or_default() += to - from;
        let (first, last) = (columns.column(from).unwrap_or(0), columns.column(to - 1).unwrap_or(0));
        let level = u32::try_from(used).unwrap_or(u32::MAX);
        for (most, _) in self.columns.iter_mut().take(last + 1).skip(first) {
            *most = (*most).max(level);
        }
    }

    fn wait_ended(&mut self, machine: u32, refusal: SeatRefusal, (seated, window): (Option<i64>, Window)) {
        if self.extra == Some(machine) {
            self.extra = None;
        }
        if window.contains(refusal.begin) {
            match seated {
                Some(time) => self.waits.push(time - refusal.begin),
                None => self.gave_up += 1,
            }
        }
    }
}

/// A row whose turn has not come.
#[derive(Debug, Clone)]
struct PendingRow {
    key: u32,
    machine: Option<u32>,
    state: i64,
    expires: Option<i64>,
}

/// The state of all seats of a product.
pub(super) struct ProductReplay {
    window: Window,
    columns: TimeColumns,
    /// Rows by time and id.
    pending: BTreeMap<(i64, i64), PendingRow>,
    /// None for a key that is not wanted.
    key_numbers: HashMap<Box<str>, Option<u32>>,
    pub(super) keys: Vec<KeySeats>,
    machine_numbers: HashMap<Box<str>, u32>,
    /// When each lease ends, by key and machine.
    held: HashMap<(u32, u32), i64>,
    by_end: BTreeSet<(i64, u32, u32)>,
    waiting: RefusalTracker<(u32, u32)>,
    total: SeatCurve,
    digest: Context,
    /// Rows in the period.
    pub(super) rows: u64,
    pub(super) ids: Option<(i64, i64)>,
    pub(super) oldest: Option<i64>,
    pub(super) longest_lease: i64,
    pub(super) without_time: u64,
    pub(super) without_machine: u64,
    pub(super) leases_without_end: u64,
}

impl ProductReplay {
    pub(super) fn new(window: Window) -> ProductReplay {
        ProductReplay {
            window,
            columns: TimeColumns::new(window),
            pending: BTreeMap::new(),
            key_numbers: HashMap::new(),
            keys: Vec::new(),
            machine_numbers: HashMap::new(),
            held: HashMap::new(),
            by_end: BTreeSet::new(),
            waiting: RefusalTracker::new(),
            total: SeatCurve::NOBODY,
            digest: Context::new(&SHA256),
            rows: 0,
            ids: None,
            oldest: None,
            longest_lease: 0,
            without_time: 0,
            without_machine: 0,
            leases_without_end: 0,
        }
    }

    pub(super) const fn columns(&self) -> &TimeColumns {
        &self.columns
    }

    /// The most seats of all keys together in use at a time, and since when.
    pub(super) const fn most(&self) -> (u64, i64) {
        (self.total.most, self.total.most_since)
    }

    /// Takes a page of rows, of the keys that are wanted.
    pub(super) fn add_page(&mut self, rows: Vec<SeatRequest>, is_wanted: impl Fn(&str) -> bool) {
        let oldest = rows.iter().filter_map(|row| row.time).min();
        for row in rows {
            self.add(&row, &is_wanted);
        }
        if let Some(oldest) = oldest {
            self.replay_until(oldest.saturating_sub(SLACK));
        }
    }

    fn add(&mut self, row: &SeatRequest, is_wanted: impl Fn(&str) -> bool) {
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        let (Some(key), Some(state)) = (row.key.as_deref(), row.state) else { return };
        let Some(key) = self.number_of_key(key, is_wanted) else { return };
        if time >= self.window.to {
            return;
        }
        if self.window.contains(time) {
            self.rows += 1;
            self.ids = Some(
                self.ids.map_or((row.id, row.id), |(first, last)| (first.min(row.id), last.max(row.id))),
            );
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            self.digest.update(format!("{}:{state}\n", row.id).as_bytes());
        }
        let machine = row.machine_code.as_deref().map(machine_code).filter(|code| !code.is_empty());
        let machine = machine.map(|code| {
            let next = u32::try_from(self.machine_numbers.len()).unwrap_or(NO_MACHINE);
            match self.machine_numbers.get(&*code) {
                Some(number) => *number,
                None => *self.machine_numbers.entry(code.into()).or_insert(next),
            }
        });
        let expires = row.floating_expires;
        let lease = expires.map_or(0, |expires| expires.saturating_sub(time));
        self.longest_lease = self.longest_lease.max(lease);
        self.pending.insert((time, row.id), PendingRow { key, machine, state, expires });
    }

    fn number_of_key(&mut self, key: &str, is_wanted: impl Fn(&str) -> bool) -> Option<u32> {
        if let Some(number) = self.key_numbers.get(key) {
            return *number;
        }
        let number = is_wanted(key).then(|| self.add_key(key));
        self.key_numbers.insert(key.into(), number);
        number
    }

    /// Takes up a key, which may have no row at all.
    pub(super) fn add_key(&mut self, key: &str) -> u32 {
        self.keys.push(KeySeats::new(key, self.columns.len()));
        u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
    }

    /// How many keys were seen, wanted or not.
    pub(super) fn keys_seen(&self) -> usize {
        self.key_numbers.len()
    }

    /// Replays the rows before a time.
    fn replay_until(&mut self, end: i64) {
        while let Some(entry) = self.pending.first_entry() {
            let (time, _) = *entry.key();
            if time >= end {
                return;
            }
            let row = entry.remove();
            self.expire(time);
            self.apply(time, &row);
        }
    }

    /// Replays what is left, and gives the digest of the rows of the period.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.replay_until(i64::MAX);
        let end = self.window.to;
        self.expire(end - 1);
        for ((key, machine), refusal) in self.waiting.given_up(end) {
            self.wait_ended((key, machine), refusal, None);
        }
        self.total.advance(end, self.window);
        for key in &mut self.keys {
            key.advance(end, self.window, &self.columns);
        }
        let digest = self.digest.clone().finish();
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        (self.rows > 0).then_some(digest)
    }

    /// Frees the seats whose leases end at `time` or before.
    fn expire(&mut self, time: i64) {
        while let Some((end, key, machine)) = self.by_end.first().copied() {
            if end > time {
                break;
            }
            self.release(end, key, machine);
        }
    }

    fn apply(&mut self, time: i64, row: &PendingRow) {
        let in_window = u64::from(self.window.contains(time));
        match (row.state, row.machine) {
            (NO_FREE_SEAT, machine) => self.refuse(time, row.key, machine.unwrap_or(NO_MACHINE)),
            (_, None) => self.without_machine += in_window,
            (RELEASE, Some(machine)) => self.release(time, row.key, machine),
            (_, Some(machine)) => match row.expires.filter(|expires| *expires > time) {
                Some(expires) => self.hold((time, expires), row.key, machine),
                None => self.leases_without_end += in_window,
            },
        }
    }

    fn hold(&mut self, (time, expires): (i64, i64), key: u32, machine: u32) {
        match self.held.insert((key, machine), expires) {
            Some(before) => {
                self.by_end.remove(&(before, key, machine));
            }
            None => self.change(time, key, |used| used + 1),
        }
        self.by_end.insert((expires, key, machine));
        if let Some(refusal) = self.waiting.seated(&(key, machine), time) {
            self.wait_ended((key, machine), refusal, Some(time));
        }
    }

    fn release(&mut self, time: i64, key: u32, machine: u32) {
        if let Some(expires) = self.held.remove(&(key, machine)) {
            self.by_end.remove(&(expires, key, machine));
            self.change(time, key, |used| used.saturating_sub(1));
        }
    }

    fn change(&mut self, time: i64, key: u32, changed: impl Fn(u64) -> u64) {
        self.total.advance(time, self.window);
        self.total.used = changed(self.total.used);
        let place = usize::try_from(key).unwrap_or(usize::MAX);
        if let Some(seats) = self.keys.get_mut(place) {
            seats.advance(time, self.window, &self.columns);
            seats.curve.used = changed(seats.curve.used);
        }
    }

    fn refuse(&mut self, time: i64, key: u32, machine: u32) {
        let begins = match self.waiting.refused(&(key, machine), time) {
            SeatDenial::Again => false,
            SeatDenial::Begins { gave_up } => {
                if let Some(refusal) = gave_up {
                    self.wait_ended((key, machine), refusal, None);
                }
                true
            }
        };
        let (is_in, column) = (self.window.contains(time), self.columns.column(time));
        if begins {
            // Who gave up would hold no seat any more.
            for ((key, machine), refusal) in self.waiting.given_up(time) {
                self.wait_ended((key, machine), refusal, None);
            }
        }
        let place = usize::try_from(key).unwrap_or(usize::MAX);
        let Some(seats) = self.keys.get_mut(place).filter(|_| is_in) else { return };
        seats.requests += 1;
        if !begins {
            return;
        }
        seats.refusals += 1;
        seats.machines.insert(machine);
        *seats.refused_at.entry(seats.curve.used).or_default() += 1;
        if let Some((_, refused)) = column.and_then(|column| seats.columns.get_mut(column)) {
            *refused = true;
        }
        if seats.extra.is_none() {
            seats.saved_by_one += 1;
            seats.extra = Some(machine);
        }
    }

    fn wait_ended(&mut self, (key, machine): (u32, u32), refusal: SeatRefusal, seated: Option<i64>) {
        let window = self.window;
        let place = usize::try_from(key).unwrap_or(usize::MAX);
        if let Some(seats) = self.keys.get_mut(place) {
            seats.wait_ended(machine, refusal, (seated, window));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::history::{History, SeatRow};
    use super::*;
    use crate::report::record::RequestRecord;
    use crate::report::zone::Zone;

    /// 5 January 2026, 00:00 UTC.
    const MONDAY: i64 = 1_767_571_200;
    const HOUR: i64 = 3600;

    fn row(id: i64, time: i64, state: i64, machine: &str, lease: i64) -> SeatRequest {
        SeatRequest {
            id,
            key: Some("KEY".to_owned()),
            time: Some(MONDAY + time),
            state: Some(state),
            machine_code: Some(machine.to_owned()).filter(|machine| !machine.is_empty()),
            floating_expires: Some(MONDAY + time + lease).filter(|_| lease > 0),
        }
    }

    fn replayed(rows: &[SeatRequest]) -> ProductReplay {
        let window = Window { from: MONDAY, to: MONDAY + 24 * HOUR, zone: Zone::UTC };
        let mut replay = ProductReplay::new(window);
        for page in rows.chunks(4) {
            replay.add_page(page.to_vec(), |_| true);
        }
        replay.finish();
        replay
    }

    #[test]
    fn waits_and_refusals_are_those_of_machines_and_not_of_retries() {
        let replay = replayed(&[
            row(1, -60, 2014, "desk", 2 * HOUR),
            row(2, 10, 2024, "phone", 0),
            row(3, 40, 2024, "phone", 0),
            row(4, 50, 2024, "tablet", 0),
            row(5, 100, 6011, "desk", 0),
            row(6, 110, 2014, "phone", HOUR),
            row(7, 3 * HOUR, 2024, "tablet", 0),
            row(8, 3 * HOUR + 10, 2014, "floating:TABLET", HOUR),
        ]);
        let key = &replay.keys[0];
        assert_eq!((key.refusals, key.requests, key.machines.len()), (3, 4, 2));
        assert_eq!((key.waits.as_slice(), key.gave_up), (&[100, 10][..], 1));
        // The tablet waits while the phone would hold one more seat, and asks again much later.
        assert_eq!(key.saved_by_one, 2);
        assert_eq!((key.most(), key.seconds_at(1)), (1, 100 + HOUR + HOUR));
        assert_eq!((key.refused_below(1), key.refused_below(2)), (1, 3), "nobody had a seat at three");
        assert_eq!(replay.columns().len(), 24);
        assert_eq!((key.columns[0], key.columns[3], key.columns[5]), ((1, true), (1, true), (0, false)));
    }

    proptest! {
        /// One key of a product is replayed as the audit of that key alone is.
        #[test]
        fn a_product_of_one_key_is_the_history_of_that_key(
            steps in proptest::collection::vec((0_i64..3000, 0_usize..4, 0_u8..5, 0_i64..20_000), 0..80),
        ) {
            let states = [2014, 2015, 2024, 6011];
            let (mut time, mut rows) = (-6 * HOUR, Vec::new());
            for (id, (wait, state, machine, lease)) in (1..).zip(steps) {
                time += wait;
                let machine = if machine == 0 { String::new() } else { format!("M{machine}") };
                let lease = if states[state] < 2020 { lease } else { 0 };
                rows.push(row(id, time, states[state], &machine, lease));
            }
            let replay = replayed(&rows);
            let record = |row: &SeatRequest| RequestRecord {
                id: row.id,
                time: row.time,
                state: row.state,
                machine_code: row.machine_code.clone(),
                floating_expires: row.floating_expires,
                ..RequestRecord::default()
            };
            let rows: Vec<SeatRow> = rows.iter().map(record).filter_map(|row| SeatRow::new(&row)).collect();
            let history = History::new(rows, Some(2), replay.window);
            if let Some(key) = replay.keys.first() {
                prop_assert_eq!(key.most(), history.most().0);
                prop_assert_eq!(key.seconds_at(2), history.seconds(|used| used >= 2));
                prop_assert_eq!(replay.most(), history.most().0.checked_sub(1).map_or(replay.most(), |_| history.most()));
                prop_assert_eq!(key.requests, history.count(super::super::history::Action::Refusal));
            }
        }
    }
}
