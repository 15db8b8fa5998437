//! Counts of requests, by minute or by any other time.

/// Requests of one minute that succeeded or failed. Refused seats are left out: they have a report
/// of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::report) struct MinuteCount {
    pub(in crate::report) failed: u64,
    pub(in crate::report) all: u64,
}

impl MinuteCount {
    /// Takes one request.
    pub(in crate::report) const fn add(&mut self, failed: bool) {
        self.all += 1;
        self.failed += failed as u64;
    }

    /// The sum of both.
    pub(in crate::report) const fn plus(self, other: MinuteCount) -> MinuteCount {
        MinuteCount { failed: self.failed + other.failed, all: self.all + other.all }
    }

    /// Without the requests of another count, which are among these.
    pub(in crate::report) const fn minus(self, other: MinuteCount) -> MinuteCount {
        MinuteCount {
            failed: self.failed.saturating_sub(other.failed),
            all: self.all.saturating_sub(other.all),
        }
    }

    /// The failure ratio.
    pub(in crate::report) fn ratio(self) -> Option<f64> {
        crate::report::count::ratio(self.failed, self.all)
    }
}
