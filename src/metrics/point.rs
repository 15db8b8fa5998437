//! The points of the ledger's families: a label set with a whole number and its birth time.

use std::sync::Arc;

use super::histogram::Histogram;

/// When a label set began to count from 0, in Unix milliseconds.
///
/// It orders by time, and [`BirthTime::UNKNOWN`] comes before every known time, so the earliest of
/// several is unknown as soon as one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BirthTime(i64);

impl BirthTime {
    /// Nobody knows: the ledger of an earlier version counted the whole log, and did not record
    /// when its first row happened.
    pub const UNKNOWN: BirthTime = BirthTime(0);

    /// The birth at a time; what is not after 1970 is unknown.
    pub fn at_millis(millis: i64) -> BirthTime {
        BirthTime(millis.max(0))
    }

    /// As [`BirthTime::at_millis`], in seconds.
    pub fn at_seconds(seconds: i64) -> BirthTime {
        BirthTime::at_millis(seconds.saturating_mul(1000))
    }

    /// The time in Unix milliseconds, if it is known.
    pub fn known(self) -> Option<i64> {
        (self != BirthTime::UNKNOWN).then_some(self.0)
    }

    /// The time in Unix milliseconds, 0 if it is unknown.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

/// The value of a label set. A clone shares the histogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointValue {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram.
    Histogram(Arc<Histogram>),
}

/// One label set of one family, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Label values in the order of the family, without the account.
    pub labels: Arc<[Arc<str>]>,
    /// The value.
    pub value: PointValue,
    /// Since when it counts. Gauges have no birth.
    pub born: BirthTime,
    /// The exemplar: the id of the newest row that was counted here, on failure counters.
    pub entry_id: Option<i64>,
}

/// Some neighbouring points of one family in one account, sorted, and shared as long as none of
/// them changes: an output may keep what it made of a chunk for as long as it meets the same `Arc`.
pub type PointChunk = Vec<Point>;
