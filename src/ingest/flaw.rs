//! Rules that look right and lose rows: each is the real rule with one idea missing. The
//! simulation must find a lost row with each of them, or it proves nothing. For tests only.

use super::finality::Witnesses;
use super::position::Position;
use crate::reader::{Exchange, TimestampPair};

std::thread_local! {
    /// The wrong rule of the ledger of this thread.
    pub(crate) static OF_THE_LEDGER: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
}

/// Whether the ledger of this thread writes history in a transaction of its own.
pub(crate) fn writes_history_after_commit() -> bool {
    OF_THE_LEDGER.get() == Some(Flaw::HistoryAfterCommit)
}

/// Whether the ledger of this thread writes the sets of usage in a transaction of its own.
pub(crate) fn writes_usage_after_commit() -> bool {
    OF_THE_LEDGER.get() == Some(Flaw::UsageAfterCommit)
}

/// A wrong rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Rows whose time is an overlap ago are taken for final.
    FloorByRowTimes,
    /// A poll that ends on an empty page moves the floor to the cursor.
    EmptyPageMovesFloor,
    /// A poll that ends on a short page moves the floor to the cursor.
    ShortPageMovesFloor,
    /// A page is judged by when it was received, not by when it was asked for.
    PageByReceipt,
    /// An answer counts from the moment when its request was sent.
    WitnessBySending,
    /// A page moves the floor although the poll went forward past rows.
    BrokenChain,
    /// The newest id that an answer showed is taken for final itself, seen or not.
    NewestIsFinal,
    /// The ids above the floor are lost at a restart.
    SeenLost,
    /// Minutes are sealed by the times of rows alone.
    SealedByRowTimes,
    /// Rows for a minute that is sealed are counted as if it were not.
    LateMarkMissing,
    /// History is written in a transaction after that of the counts.
    HistoryAfterCommit,
    /// The sets of usage are written in a transaction after that of the counts.
    UsageAfterCommit,
    /// A page that was asked for on a guess is judged by when it is used, not by when it was asked
    /// for.
    GuessByUse,
}

impl Flaw {
    /// All of them.
    pub(crate) const ALL: [Flaw; 13] = [
        Flaw::FloorByRowTimes,
        Flaw::EmptyPageMovesFloor,
        Flaw::ShortPageMovesFloor,
        Flaw::PageByReceipt,
        Flaw::WitnessBySending,
        Flaw::BrokenChain,
        Flaw::NewestIsFinal,
        Flaw::SeenLost,
        Flaw::SealedByRowTimes,
        Flaw::LateMarkMissing,
        Flaw::HistoryAfterCommit,
        Flaw::UsageAfterCommit,
        Flaw::GuessByUse,
    ];

    /// The id that a page is final up to, by this rule; `None` where the rule is not about that.
    pub(super) fn final_id(
        self,
        witnesses: &Witnesses,
        page: &PageIds<'_>,
        exchange: Exchange,
    ) -> Option<Option<i64>> {
        let &PageIds { floor, asked, ids, times, overlap } = page;
        let last_up_to = |settled: Option<i64>| {
            settled.and_then(|settled| ids.iter().rev().find(|id| **id <= settled).copied())
        };
        let (sent, received) = (exchange.sent.monotonic, exchange.received.monotonic);
        match self {
            Flaw::FloorByRowTimes => {
                let old = exchange.received.unix - overlap;
                let prefix = times.iter().take_while(|time| time.is_some_and(|time| time < old)).count();
                Some(prefix.checked_sub(1).and_then(|last| ids.get(last)).copied())
            }
            Flaw::PageByReceipt if asked <= floor => Some(last_up_to(witnesses.settled(received))),
            Flaw::BrokenChain => Some(settled_and_shown(witnesses.settled(sent), ids)),
            Flaw::NewestIsFinal if asked <= floor => Some(settled_and_shown(witnesses.settled(sent), ids)),
            _ => None,
        }
    }

    /// The effect of the end of a poll on the floor.
    pub(super) fn at_end(self, position: &mut Position, empty: bool) {
        let moves = match self {
            Flaw::EmptyPageMovesFloor => empty,
            Flaw::ShortPageMovesFloor => !empty,
            _ => false,
        };
        if moves {
            position.raise_floor_to(position.cursor());
        }
    }
}

fn settled_and_shown(settled: Option<i64>, ids: &[i64]) -> Option<i64> {
    settled.zip(ids.last()).map(|(settled, last)| settled.min(*last))
}

/// The facts that a rule may look at.
pub(super) struct PageIds<'a> {
    pub(super) floor: i64,
    pub(super) asked: i64,
    pub(super) ids: &'a [i64],
    pub(super) times: &'a [Option<i64>],
    /// In seconds.
    pub(super) overlap: i64,
}

impl super::poll::SessionState {
    /// The times of a page that is used now, as they would look by the rule.
    pub(super) fn seen_by_flaw(&self, exchange: Exchange, is_guess: bool, now: TimestampPair) -> Exchange {
        let wrong = is_guess && self.flaw == Some(Flaw::GuessByUse);
        if wrong { Exchange { sent: now, ..exchange } } else { exchange }
    }
}

impl super::update::LogCheckpoint {
    /// As it would be if the ids above the floor were not kept.
    pub(super) fn without_seen(self) -> Self {
        let (floor, cursor) = (self.position.floor(), self.position.cursor());
        let watermark = self.position.watermark();
        let seen = super::seen::SeenIds::default();
        Self { position: Position::restore(self.position.origin(), floor, cursor, watermark, seen), ..self }
    }
}
