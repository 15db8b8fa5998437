//! Counts by outcome, and the two ratios made of them.

use serde::Serialize;

use crate::cryptolens::Outcome;

/// Requests by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) success: u64,
    pub(super) failure: u64,
    pub(super) unknown: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: Outcome, requests: u64) {
        match outcome {
            Outcome::Success => self.success += requests,
            Outcome::Failure => self.failure += requests,
            Outcome::Unknown => self.unknown += requests,
        }
    }

    pub(super) fn add_all(&mut self, other: Counts) {
        self.success += other.success;
        self.failure += other.failure;
        self.unknown += other.unknown;
    }

    pub(super) const fn requests(&self) -> u64 {
        self.success + self.failure + self.unknown
    }

    /// failure / (success + failure), as everywhere in this project; none without either.
    pub(super) fn failure_ratio(&self) -> Option<f64> {
        ratio(self.failure, self.success + self.failure)
    }
}

/// How many things a collection holds, as reports count everything.
pub(super) fn of_length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// None where there is nothing to divide by.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    // Exact up to 2^53, which no log reaches.
    #[allow(clippy::cast_precision_loss)]
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// [`Counts`] as reports show them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct ShownCounts {
    pub(super) requests: u64,
    pub(super) success: u64,
    pub(super) failure: u64,
    pub(super) unknown: u64,
    pub(super) failure_ratio: Option<f64>,
}

impl From<Counts> for ShownCounts {
    fn from(counts: Counts) -> Self {
        ShownCounts {
            requests: counts.requests(),
            success: counts.success,
            failure: counts.failure,
            unknown: counts.unknown,
            failure_ratio: counts.failure_ratio(),
        }
    }
}
