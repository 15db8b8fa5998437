//! Counts the rows of the Web API Log for a report.
//!
//! Promises: memory grows with distinct keys, machines, names, products and states, and with
//! quarters of an hour; not with rows. It knows no time zone: days and hours are cut from the
//! quarters later, and every zone is off UTC by whole quarters.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::FixedState;

use crate::cryptolens::state_code::classify;
use crate::cryptolens::{EventType, Outcome};
use crate::report::count::Counts;
use crate::report::record::CountedRequest;
use crate::report::window::Window;

/// Seconds of a slot of `Tally::quarters`.
pub(in crate::report) const QUARTER: i64 = 900;

/// When something was seen, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Rows of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateTally {
    pub(super) requests: u64,
    pub(super) seen: Seen,
}

type Map<K, V> = HashMap<K, V, FixedState>;

/// Everything that is counted, of one window and the one before it.
#[derive(Debug)]
pub(in crate::report) struct WebApiTally {
    window: Window,
    before: Option<Window>,
    /// The only outcome that counts, if not all do; the API can't be asked for it.
    wanted: Option<Outcome>,
    pub(super) total: Counts,
    pub(super) previous: Counts,
    pub(super) previous_event_types: Map<EventType, Counts>,
    /// By Unix time over [`QUARTER`].
    pub(super) quarters: Map<i64, Counts>,
    pub(super) event_types: Map<EventType, Counts>,
    pub(super) products: Map<i64, Counts>,
    /// By raw state; `None` where a row has none.
    pub(super) states: Map<Option<i64>, StateTally>,
    pub(super) keys: Map<Box<str>, Counts>,
    pub(super) machines: Map<Box<str>, Counts>,
    pub(super) names: Map<Box<str>, Counts>,
    /// Rows that have no time, so that nobody knows whether they belong here.
    pub(super) without_time: u64,
    /// The oldest time met, in or before the window.
    pub(super) oldest: Option<i64>,
}

impl WebApiTally {
    pub(in crate::report) fn new(window: Window, compare: bool, wanted: Option<Outcome>) -> WebApiTally {
        WebApiTally {
            window,
            before: compare.then(|| window.before()),
            wanted,
            total: Counts::default(),
            previous: Counts::default(),
            previous_event_types: Map::default(),
            quarters: Map::default(),
            event_types: Map::default(),
            products: Map::default(),
            states: Map::default(),
            keys: Map::default(),
            machines: Map::default(),
            names: Map::default(),
            without_time: 0,
            oldest: None,
        }
    }

    pub(in crate::report) const fn window(&self) -> &Window {
        &self.window
    }

    pub(super) const fn before(&self) -> Option<&Window> {
        self.before.as_ref()
    }

    /// The first moment that rows are needed from.
    pub(in crate::report) fn needed_from(&self) -> i64 {
        self.before.map_or(self.window.from, |before| before.from)
    }

    pub(in crate::report) fn add(&mut self, row: &CountedRequest) {
        let (event_type, outcome) = classify(row.state);
        if self.wanted.is_some_and(|wanted| wanted != outcome) {
            return;
        }
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        if self.before.is_some_and(|before| before.contains(time)) {
            self.previous.add(outcome, 1);
            self.previous_event_types.entry(event_type).or_default().add(outcome, 1);
        }
        if !self.window.contains(time) {
            return;
        }
        self.total.add(outcome, 1);
        self.quarters.entry(time.div_euclid(QUARTER)).or_default().add(outcome, 1);
        self.event_types.entry(event_type).or_default().add(outcome, 1);
        self.products.entry(row.product_id).or_default().add(outcome, 1);
        let new = StateTally { requests: 0, seen: Seen { first: time, last: time } };
        let state = self.states.entry(row.state).or_insert(new);
        state.requests += 1;
        state.seen.first = state.seen.first.min(time);
        state.seen.last = state.seen.last.max(time);
        for (counts, identity) in [
            (&mut self.keys, &row.key),
            (&mut self.machines, &row.machine_code),
            (&mut self.names, &row.friendly_name),
        ] {
            if let Some(identity) = identity {
                add_to(counts, identity, outcome);
            }
        }
    }
}

/// As `entry`, without a copy of an identity that is known.
fn add_to(counts: &mut Map<Box<str>, Counts>, identity: &str, outcome: Outcome) {
    match counts.get_mut(identity) {
        Some(known) => known.add(outcome, 1),
        None => counts.entry(identity.into()).or_default().add(outcome, 1),
    }
}

/// Entries, the largest by `size` first; what is equal in size is in the order of its key.
pub(super) fn largest_first<K: Ord + Hash + Clone, V: Copy>(
    map: &Map<K, V>,
    size: impl Fn(&V) -> u64,
) -> Vec<(K, V)> {
    let mut entries: Vec<(K, V)> = map.iter().map(|(key, value)| (key.clone(), *value)).collect();
    entries.sort_by(|(first_key, first), (second_key, second)| {
        size(second).cmp(&size(first)).then_with(|| first_key.cmp(second_key))
    });
    entries
}
