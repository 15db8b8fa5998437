//! Who held the seats of a floating license, and when, from the rows of its key: pure counting, no
//! clock and no API.
//!
//! A seat is held from an activation to its release or to the end of its lease, which each
//! heartbeat moves; at the second in which a lease ends the seat is free. Rows count in the order
//! of their times, and of their ids within a second. Promises, each where the vendor's tool goes
//! wrong:
//! - What expired is taken away before the row is looked at, so a machine that comes back later is
//!   an activation.
//! - The seats used are never more or less than the leases in force, and free seats are never below
//!   zero: what is over the limit is counted apart.
//! - Overdraft is counted in machines and in heartbeats, refusals in machines and in rows.
//! - A row that names no machine, or a lease that has no end, is counted as such and holds no seat.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::report::count::of_length;
use crate::report::record::RequestRecord;
use crate::report::window::Window;

/// The states that concern floating seats, with what they mean.
pub(in crate::report) const STATES: [u16; 4] = [2014, 2015, 6011, 2024];

/// One row, as far as it concerns seats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct SeatRow {
    pub(super) id: i64,
    pub(super) time: i64,
    pub(super) what: What,
    pub(super) machine: Option<Rc<str>>,
    pub(super) name: Option<Rc<str>>,
}

/// The meaning of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An activation or a heartbeat.
    Lease {
        expires: Option<i64>,
        overdraft: bool,
    },
    Release,
    Refusal,
}

impl SeatRow {
    /// None for a state that does not concern seats, or without a time.
    pub(in crate::report) fn new(row: &RequestRecord) -> Option<SeatRow> {
        let what = match row.state? {
            2014 => What::Lease { expires: row.floating_expires, overdraft: false },
            2015 => What::Lease { expires: row.floating_expires, overdraft: true },
            6011 => What::Release,
            2024 => What::Refusal,
            _ => return None,
        };
        // Lists of activated machines write floating ones with this prefix; the log was never seen
        // to.
        let machine = row.machine_code.as_deref().map(|code| code.strip_prefix("floating:").unwrap_or(code));
        Some(SeatRow {
            id: row.id,
            time: row.time?,
            what,
            machine: machine.map(Rc::from),
            name: row.friendly_name.as_deref().map(Rc::from),
        })
    }

    pub(in crate::report) const fn time(&self) -> i64 {
        self.time
    }

    /// How long the lease is, in seconds.
    pub(in crate::report) fn lease_seconds(&self) -> Option<i64> {
        match self.what {
            What::Lease { expires, .. } => expires?.checked_sub(self.time).filter(|seconds| *seconds > 0),
            _ => None,
        }
    }
}

/// A change of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Action {
    Activation,
    Verification,
    Deactivation,
    Expiry,
    Refusal,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Action::Activation => "activation",
            Action::Verification => "verification",
            Action::Deactivation => "deactivation",
            Action::Expiry => "expiry",
            Action::Refusal => "refusal",
        }
    }
}

/// One line of the history, with the seats as they are after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeatEntry {
    pub(super) time: i64,
    pub(super) action: Action,
    pub(super) machine: Option<Rc<str>>,
    pub(super) name: Option<Rc<str>>,
    /// When the lease ends; for activations and verifications.
    pub(super) expires: Option<i64>,
    /// The seat is beyond the limit, by the log.
    pub(super) overdraft: bool,
    pub(super) used: u64,
}

/// A seat that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) since: i64,
    pub(super) expires: i64,
    pub(super) overdraft: bool,
    pub(super) name: Option<Rc<str>>,
}

/// Rows that could not be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NotCountedRows {
    pub(super) without_machine: u64,
    pub(super) leases_without_end: u64,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::report) struct History {
    pub(super) window: Window,
    /// None without a limit.
    pub(super) limit: Option<u64>,
    /// The changes within the window, in order.
    pub(super) entries: Vec<SeatEntry>,
    /// Seats used from each time on; the first is the beginning of the window.
    pub(super) steps: Vec<(i64, u64)>,
    /// Who holds a seat at the end, in the order in which they came.
    pub(super) holders: Vec<(Rc<str>, Seat)>,
    pub(super) not_counted: NotCountedRows,
}

impl History {
    /// Replays the rows, which may be in any order and begin before the window: they must, by the
    /// longest lease.
    pub(in crate::report) fn new(mut rows: Vec<SeatRow>, limit: Option<u64>, window: Window) -> History {
        rows.sort_by_key(|row| (row.time, row.id));
        let mut replay = Replay::new(window);
        for row in rows.into_iter().filter(|row| row.time < window.to) {
            replay.expire(row.time);
            replay.apply(row);
        }
        // At the very end of the window a lease is not over yet, because that second is not in it.
        replay.expire(window.to.saturating_sub(1));
        let mut holders: Vec<(Rc<str>, Seat)> = replay.held.into_iter().collect();
        holders.sort_by(|(first, a), (second, b)| (a.since, first).cmp(&(b.since, second)));
        History {
            window,
            limit,
            entries: replay.entries,
            steps: cut(&replay.steps, window.from),
            holders,
            not_counted: replay.not_counted,
        }
    }

    /// Seats that are free when `used` are used; none without a limit.
    pub(super) fn free(&self, used: u64) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(used))
    }

    /// Seats used beyond the limit.
    pub(super) fn over(&self, used: u64) -> Option<u64> {
        self.limit.map(|limit| used.saturating_sub(limit))
    }

    pub(super) fn used_at_start(&self) -> u64 {
        self.steps.first().map_or(0, |(_, used)| *used)
    }

    pub(super) fn used_at_end(&self) -> u64 {
        self.steps.last().map_or(0, |(_, used)| *used)
    }

    /// The most seats that were used at a time, and since when for the first time.
    pub(super) fn most(&self) -> (u64, i64) {
        let first_of_most = |best: (u64, i64), (time, used): &(i64, u64)| {
            if *used > best.0 { (*used, *time) } else { best }
        };
        self.steps.iter().fold((0, self.window.from), first_of_most)
    }

    /// Seconds for which `matches` holds of the seats used.
    pub(super) fn seconds(&self, matches: impl Fn(u64) -> bool) -> i64 {
        self.spans().filter(|(_, used)| matches(*used)).map(|(seconds, _)| seconds).sum()
    }

    /// Seats used on average over the window.
    #[allow(clippy::cast_precision_loss, reason = "an average of seats needs no 53 bits")]
    pub(super) fn average(&self) -> f64 {
        let held: f64 = self.spans().map(|(seconds, used)| seconds as f64 * used as f64).sum();
        held / self.window.seconds() as f64
    }

    /// How long each number of seats was used.
    fn spans(&self) -> impl Iterator<Item = (i64, u64)> {
        let ends = self.steps.iter().skip(1).map(|(time, _)| *time).chain([self.window.to]);
        self.steps.iter().zip(ends).map(|((time, used), end)| (end - time, *used))
    }

    pub(super) fn count(&self, action: Action) -> u64 {
        count(self.entries.iter().filter(|entry| entry.action == action))
    }

    /// Distinct machines of the entries that match.
    pub(super) fn machines(&self, matches: impl Fn(&SeatEntry) -> bool) -> u64 {
        let machines: HashSet<&str> = self
            .entries
            .iter()
            .filter(|entry| matches(entry))
            .filter_map(|entry| entry.machine.as_deref())
            .collect();
        count(machines.iter())
    }

    /// Heartbeats and activations beyond the limit.
    pub(super) fn overdraft_rows(&self) -> u64 {
        count(self.entries.iter().filter(|entry| entry.overdraft))
    }

    /// Refusals while this history has a free seat: a sign that the limit was another one then.
    pub(super) fn refusals_with_free_seats(&self) -> u64 {
        let odd = |entry: &&SeatEntry| {
            entry.action == Action::Refusal && self.free(entry.used).is_some_and(|free| free > 0)
        };
        count(self.entries.iter().filter(odd))
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    of_length(items.count())
}

/// The state of the seats while rows are replayed.
struct Replay {
    window: Window,
    held: HashMap<Rc<str>, Seat>,
    /// The same seats, by the end of their leases.
    by_end: BTreeSet<(i64, Rc<str>)>,
    entries: Vec<SeatEntry>,
    steps: Vec<(i64, u64)>,
    not_counted: NotCountedRows,
}

impl Replay {
    fn new(window: Window) -> Replay {
        Replay {
            window,
            held: HashMap::new(),
            by_end: BTreeSet::new(),
            entries: Vec::new(),
            steps: Vec::new(),
            not_counted: NotCountedRows::default(),
        }
    }

    /// Frees the seats whose leases end at `time` or before.
    fn expire(&mut self, time: i64) {
        while let Some((end, _)) = self.by_end.first() {
            if *end > time {
                break;
            }
            let Some((end, machine)) = self.by_end.pop_first() else { break };
            let name = self.held.remove(&machine).and_then(|seat| seat.name);
            self.note(end, Action::Expiry, Some(machine), name, None, false);
        }
    }

    fn apply(&mut self, row: SeatRow) {
        let SeatRow { time, what, machine, name, .. } = row;
        let in_window = u64::from(self.window.contains(time));
        match (what, machine) {
            (What::Refusal, machine) => self.note(time, Action::Refusal, machine, name, None, false),
            (_, None) => self.not_counted.without_machine += in_window,
            (What::Lease { expires: Some(expires), overdraft }, Some(machine)) if expires > time => {
                let old = self.take(&machine);
                let action = if old.is_some() { Action::Verification } else { Action::Activation };
                let name = name.or_else(|| old.as_ref().and_then(|old| old.name.clone()));
                let since = old.map_or(time, |old| old.since);
                self.by_end.insert((expires, machine.clone()));
                self.held.insert(machine.clone(), Seat { since, expires, overdraft, name: name.clone() });
                self.note(time, action, Some(machine), name, Some(expires), overdraft);
            }
            (What::Lease { .. }, Some(_)) => self.not_counted.leases_without_end += in_window,
            (What::Release, Some(machine)) => {
                let name = name.or(self.take(&machine).and_then(|old| old.name));
                self.note(time, Action::Deactivation, Some(machine), name, None, false);
            }
        }
    }

    /// Takes away the seat of a machine, if it has one.
    fn take(&mut self, machine: &Rc<str>) -> Option<Seat> {
        let seat = self.held.remove(machine)?;
        self.by_end.remove(&(seat.expires, machine.clone()));
        Some(seat)
    }

    fn note(
        &mut self,
        time: i64,
        action: Action,
        machine: Option<Rc<str>>,
        name: Option<Rc<str>>,
        expires: Option<i64>,
        overdraft: bool,
    ) {
        let used = of_length(self.held.len());
        match self.steps.last_mut() {
            Some((last, number)) if *last == time => *number = used,
            _ => self.steps.push((time, used)),
        }
        if self.window.contains(time) {
            self.entries.push(SeatEntry { time, action, machine, name, expires, overdraft, used });
        }
    }
}

/// The steps from `from` on, the first of them at `from`, each another number than the one before
/// it.
fn cut(steps: &[(i64, u64)], from: i64) -> Vec<(i64, u64)> {
    let before = steps.partition_point(|(time, _)| *time <= from);
    let at_start = before.checked_sub(1).and_then(|last| steps.get(last)).map_or(0, |(_, used)| *used);
    let mut cut = vec![(from, at_start)];
    cut.extend(steps.iter().skip(before));
    cut.dedup_by_key(|(_, used)| *used);
    cut
}

#[cfg(test)]
mod tests;
