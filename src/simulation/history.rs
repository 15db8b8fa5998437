//! The Events Log, whose rows go to receivers of history.

use std::collections::BTreeMap;
use std::path::Path;

use super::BEGINNING;
use super::receiver::{self, Receivers};
use super::world::{FollowedLog, WorldEntry, WorldKind};
use crate::cryptolens::{EventRow, LogKind, Row, Slot};
use crate::history::minute_of;
use crate::ledger::inline::InlineLedger;
use crate::ledger::tests::{counted_in, options};
use crate::ledger::{LedgerOptions, LedgerView};

/// Names the event of a row after its id, so that the tally says how often each was counted.
pub(super) fn fill<R: Row>(row: &mut R, entry: &WorldEntry) {
    if let Some(Slot::Int(set)) = R::slot("time") {
        set(row, Some(BEGINNING + entry.time));
    }
    if let Some(Slot::Text(set)) = R::slot("eventName") {
        set(row, Some(entry.id.to_string()));
    }
}

/// The Events Log.
pub(super) struct EventsWithHistory {
    receivers: Receivers,
    entries: Vec<WorldEntry>,
}

impl EventsWithHistory {
    /// The minute of each row, where it depends on no clock: a row of the future is filed under the
    /// minute when it was read.
    fn minutes(&self, kind: WorldKind) -> BTreeMap<i64, i64> {
        if kind.is(&[WorldKind::FutureTimes, WorldKind::ClockJumps]) {
            return BTreeMap::new();
        }
        self.entries.iter().map(|entry| (entry.id, minute_of(BEGINNING + entry.time))).collect()
    }
}

impl FollowedLog for EventsWithHistory {
    type Row = EventRow;

    const LOG: LogKind = LogKind::Events;

    fn new(seed: u64, entries: &[WorldEntry]) -> Self {
        EventsWithHistory { receivers: Receivers::new(seed), entries: entries.to_vec() }
    }

    fn options(&self, directory: &Path) -> LedgerOptions {
        LedgerOptions { history: Some(receiver::options()), ..options(directory) }
    }

    fn counted(&self, view: &LedgerView) -> BTreeMap<i64, u64> {
        counted_in(view)
    }

    async fn receive(&mut self, ledger: InlineLedger) {
        self.receivers.receive(ledger).await;
    }

    async fn drain(&mut self, ledger: &InlineLedger) {
        self.receivers.drain(ledger).await;
    }

    fn fault_at_start(&self, _: WorldKind, _: &Path, _: &LedgerView) -> Option<String> {
        None
    }

    fn fault_at_end(&self, kind: WorldKind, view: &LedgerView, _: i64) -> Option<String> {
        // What was sent after the copy was made is not known in it.
        if kind == WorldKind::LedgerRestored {
            return None;
        }
        let committed = view.committed().unwrap();
        let history = committed.history.as_ref().unwrap();
        self.receivers.fault(&counted_in(view), &self.minutes(kind), history)
    }
}
