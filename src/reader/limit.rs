//! How many rows to ask for: fewer after failures that a smaller page may not have, and more again
//! after success.

use crate::cryptolens::ApiError;

/// The `Limit` of the next request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    most: u16,
    least: u16,
    now: u16,
    failures: u32,
    /// It is halved after this many failures.
    patience: u32,
}

impl Limit {
    /// Begins with `most` rows; halved when the same position fails twice, down to one row.
    pub(crate) const fn new(most: u16) -> Limit {
        Limit { most, least: 1, now: most, failures: 0, patience: 2 }
    }

    /// Begins with `most` rows; halved at each failure, down to `least` rows. For those who give up
    /// after a few tries.
    pub(crate) const fn impatient(most: u16, least: u16) -> Limit {
        Limit { most, least, now: most, failures: 0, patience: 1 }
    }

    /// The same rule for pages of at most `most` rows.
    pub(super) const fn with_most(self, most: u16) -> Limit {
        let least = if self.least < most { self.least } else { most };
        Limit { most, least, now: most, failures: 0, patience: self.patience }
    }

    /// In rows.
    pub(crate) const fn get(self) -> u16 {
        self.now
    }

    /// The largest that it gets, in rows.
    pub(crate) const fn most(self) -> u16 {
        self.most
    }

    /// True if it is not reduced.
    pub(crate) const fn is_most(self) -> bool {
        self.now == self.most
    }

    /// True if it cannot be reduced.
    pub(crate) const fn is_least(self) -> bool {
        self.now == self.least
    }

    /// Doubles it, up to the most, after success.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
        self.now = self.now.saturating_mul(2).min(self.most);
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, error: &ApiError) {
        if error.may_be_size() {
            self.failures += 1;
        }
        if self.failures >= self.patience {
            self.failures = 0;
            self.now = (self.now / 2).max(self.least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(mut limit: Limit, failures: usize) -> Vec<u16> {
        let failed = (0..failures).map(|_| {
            limit.failed(&ApiError::Timeout);
            limit.get()
        });
        failed.collect()
    }

    #[test]
    fn the_limit_is_halved_as_patiently_as_its_owner_is() {
        assert_eq!(sizes(Limit::new(5), 6), [5, 2, 2, 1, 1, 1]);
        assert_eq!(sizes(Limit::impatient(100, 10), 5), [50, 25, 12, 10, 10]);
        assert_eq!(sizes(Limit::impatient(100, 10).with_most(2), 2), [2, 2]);
    }

    #[test]
    fn success_doubles_the_limit_and_other_errors_leave_it_alone() {
        let mut limit = Limit::impatient(100, 1);
        limit.failed(&ApiError::Auth);
        assert!(limit.is_most() && !limit.is_least());
        (0..3).for_each(|_| limit.failed(&ApiError::Timeout));
        assert_eq!(limit.get(), 12);
        let grown = [24, 48, 96, 100].map(|expected| {
            limit.worked();
            (limit.get(), expected)
        });
        assert!(grown.iter().all(|(limit, expected)| limit == expected), "{grown:?}");
    }
}
