//! How many rows to ask for: halved when the same position fails twice in a way that a smaller page
//! may not, and doubled again after success.

use crate::cryptolens::ApiError;

/// The `Limit` of the next request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    most: u16,
    now: u16,
    failures: u32,
}

impl Limit {
    /// Begins with the most.
    pub(super) fn new(most: u16) -> Limit {
        Limit { most, now: most, failures: 0 }
    }

    /// In rows.
    pub(super) fn get(self) -> u16 {
        self.now
    }

    /// Where it begins, in rows.
    pub(super) fn most(self) -> u16 {
        self.most
    }

    /// True if it is not reduced.
    pub(super) fn is_most(self) -> bool {
        self.now == self.most
    }

    /// After success.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
        self.now = self.now.saturating_mul(2).min(self.most);
    }

    /// After a failure.
    pub(super) fn failed(&mut self, error: &ApiError) {
        if error.may_be_size() {
            self.failures += 1;
        }
        if self.failures >= 2 {
            self.failures = 0;
            self.now = (self.now / 2).max(1);
        }
    }
}
