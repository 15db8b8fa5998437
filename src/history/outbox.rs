//! Where the samples of history wait for their targets, as a sender sees it. The ledger implements
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::ingest::CheckpointError;

use super::series::HistorySample;

/// The part of the settings of history that the ledger needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOptions {
    /// The names of the targets; at least one. One that is new gets what the outbox still holds,
    /// one that is gone holds nothing back.
    pub targets: Vec<Arc<str>>,
    /// Minutes older than this are not worth a sample that says that they were read.
    pub window: Duration,
    /// The most samples that wait for a target; beyond it, the oldest are dropped.
    pub outbox_limit: u64,
    /// The number by which the Object Log calls the first resource type and action.
    pub first_object_code: i64,
}

/// A place between two samples of the outbox. Everything before it is done for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxPosition {
    /// Which ledger it is in, of those that this process had: one that is begun anew has other
    /// chunks.
    pub generation: u64,
    /// The number of the chunk.
    pub chunk: i64,
    /// How many samples of it are done.
    pub samples: u64,
}

/// The oldest samples that a target does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxBatch {
    /// In the order of the outbox. Samples of one log are sorted by stamp, but for those of late
    /// rows.
    pub samples: Vec<HistorySample>,
    /// The positions where the chunks in this batch begin, and how many samples of each are here.
    chunks: Vec<(OutboxPosition, u64)>,
}

impl OutboxBatch {
    /// Nothing waits.
    pub fn empty() -> OutboxBatch {
        OutboxBatch { samples: Vec::new(), chunks: Vec::new() }
    }

    /// Adds samples of one chunk, the first of which is at `position`.
    pub fn push(&mut self, position: OutboxPosition, samples: impl IntoIterator<Item = HistorySample>) {
        let before = self.samples.len();
        self.samples.extend(samples);
        let added = u64::try_from(self.samples.len() - before).unwrap_or(u64::MAX);
        if added > 0 {
            self.chunks.push((position, added));
        }
    }

    /// The position behind the first `count` samples; `None` before the first.
    pub fn position_after(&self, count: usize) -> Option<OutboxPosition> {
        let mut left = u64::try_from(count).unwrap_or(u64::MAX);
        let mut reached = None;
        for (begin, samples) in &self.chunks {
            if left == 0 {
                break;
            }
            let taken = left.min(*samples);
            left -= taken;
            reached = Some(OutboxPosition { samples: begin.samples + taken, ..*begin });
        }
        reached
    }

    /// The position behind all of it; `None` if nothing waits.
    pub fn until(&self) -> Option<OutboxPosition> {
        self.position_after(self.samples.len())
    }
}

/// Why a sample was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Older than `--history.window`, or too old for the target.
    TooOld,
    /// Outside the times that the target takes.
    OutOfBounds,
    /// The target takes samples of a series in their order only.
    OutOfOrder,
    /// The target has another value at that stamp.
    Duplicate,
    /// The target refuses it and does not say why in words that are known.
    Refused,
    /// The outbox was full.
    OutboxFull,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [DropReason; 6] = [
        DropReason::TooOld,
        DropReason::OutOfBounds,
        DropReason::OutOfOrder,
        DropReason::Duplicate,
        DropReason::Refused,
        DropReason::OutboxFull,
    ];

    /// The value of the label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::TooOld => "too_old",
            DropReason::OutOfBounds => "out_of_bounds",
            DropReason::OutOfOrder => "out_of_order",
            DropReason::Duplicate => "duplicate",
            DropReason::Refused => "refused",
            DropReason::OutboxFull => "outbox_full",
        }
    }

    /// The reason with a name.
    pub fn from_name(name: &str) -> Option<DropReason> {
        DropReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// How many samples became what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampleCounts {
    /// Taken by the target.
    pub sent: u64,
    /// Given up.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl SampleCounts {
    /// Adds those of another.
    pub fn add(&mut self, other: &SampleCounts) {
        self.sent = self.sent.saturating_add(other.sent);
        for (reason, samples) in &other.dropped {
            let sum = self.dropped.entry(*reason).or_default();
            *sum = sum.saturating_add(*samples);
        }
    }
}

/// The samples that wait for their targets.
///
/// A sender reads the oldest, sends them, and says what became of them. A process that is killed in
/// between sends them again, each with the same stamp and value, which changes nothing at the
/// receiver.
pub trait Outbox: Clone + Send + Sync + 'static {
    /// The oldest samples that a target does not have, at most `at_most`; an empty batch if there
    /// are none, and also if the target is not one of the configuration any more.
    fn oldest(
        &self,
        target: &Arc<str>,
        at_most: usize,
    ) -> impl Future<Output = Result<OutboxBatch, CheckpointError>> + Send;

    /// Everything before `until` is done for a target: counted by `counts` and never handed out
    /// again, unless the process ends within a second or so.
    fn acknowledge(
        &self,
        target: &Arc<str>,
        until: OutboxPosition,
        counts: SampleCounts,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;

    /// Changes whenever something was added.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Local time, corrected by the clock of the API's server, in Unix milliseconds.
    fn now_millis(&self) -> i64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{HistoryFamily, HistorySeries};

    #[test]
    fn a_batch_knows_the_position_after_each_of_its_samples() {
        let series = Arc::new(HistorySeries {
            family: HistoryFamily::Covered,
            account: "a".into(),
            values: Arc::from([Arc::from("events")]),
        });
        let samples = |count: i64| {
            (0..count).map(|stamp| HistorySample { series: Arc::clone(&series), stamp, value: 60 })
        };
        let at = |chunk, samples| OutboxPosition { generation: 3, chunk, samples };
        let mut batch = OutboxBatch::empty();
        assert_eq!(batch.until(), None);
        batch.push(at(7, 3), samples(2));
        batch.push(at(9, 0), samples(4));
        let positions: Vec<_> = (0..=6).map(|count| batch.position_after(count)).collect();
        let expected = [None, Some(at(7, 4)), Some(at(7, 5)), Some(at(9, 1)), Some(at(9, 2)), Some(at(9, 3))];
        assert_eq!(positions[..6], expected);
        assert_eq!(batch.until(), Some(at(9, 4)));
    }

    #[test]
    fn reasons_have_names() {
        for reason in DropReason::ALL {
            assert_eq!(DropReason::from_name(reason.name()), Some(reason));
        }
    }
}
