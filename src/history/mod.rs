//! Event-time history: how many rows happened in each minute, for receivers that keep samples with
//! a time of their own.
//!
//! [`MinuteCounts`] follows the counting of one log and files each row under the minute when it
//! happened. A minute is *sealed* once everything in it has been read: its counts become samples at
//! minute start + 1 ms, and are never changed again. Rows that arrive later are added by samples of
//! their own, at minute start + 2 ms + n ms for the n-th batch of such rows. [`Outbox`] is where
//! samples wait for the targets that they are sent to.
//!
//! Promises: each row is in exactly one sample of its own minute; no stamp gets two values; what
//! was sealed stays sealed. The ledger keeps counts, history and outbox in one transaction. This
//! module knows no HTTP, no SQL and no clock, and nothing of how samples are sent.

mod counts;
mod minutes;
mod outbox;
mod packed;
mod series;

pub use counts::{HistoryStart, LateChanges, MinuteCounts, SampleBatch, sealed_stamp};
pub use outbox::{DropReason, HistoryOptions, Outbox, OutboxBatch, OutboxPosition, SampleCounts};
pub use packed::{PackedSamples, SampleToPack, UnreadableSamples};
pub use series::{HistoryFamily, HistorySample, HistorySeries};

/// A minute, in seconds.
pub const MINUTE: i64 = 60;

/// The most samples that travel together: in a request, in a chunk of the outbox, and between two
/// looks at the progress of a backfill.
pub const MOST_SAMPLES: usize = 5_000;

/// The start of the minute that a time (Unix seconds) lies in.
pub const fn minute_of(time: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(MINUTE))
}

/// The start of the first minute that begins at or after a time (Unix seconds).
pub const fn next_whole_minute(time: i64) -> i64 {
    minute_of(time.saturating_add(MINUTE - 1))
}
