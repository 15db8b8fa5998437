//! How far the server's clock is ahead of this machine's, by the `Date` header of its answers: a wrong
//! clock here must give no row a wrong age.
//!
//! Promises: one odd header changes nothing; without any header the local clock is used as it is.

use std::collections::VecDeque;

use super::poll::{Exchange, TimestampPair};

/// Of so many answers the median counts.
const ANSWERS: usize = 9;

/// Smaller differences are not corrected: the header has whole seconds, and an answer takes a while.
const TOLERANCE_SECONDS: i64 = 2;

/// The offsets of the last few answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock {
    /// Server time minus local time, in seconds.
    offsets: VecDeque<i64>,
    ahead: i64,
}

impl ServerClock {
    /// Takes notice of an answer that says `server` (Unix seconds) and was received at `local`.
    pub(super) fn observe(&mut self, server: i64, local: TimestampPair) {
        if self.offsets.len() >= ANSWERS {
            self.offsets.pop_front();
        }
        self.offsets.push_back(server.saturating_sub(local.unix));
        let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
        self.ahead = if median.abs() <= TOLERANCE_SECONDS { 0 } else { median };
    }

    /// A local time, by the server's clock.
    pub(super) fn at(&self, local: TimestampPair) -> TimestampPair {
        TimestampPair { unix: local.unix.saturating_add(self.ahead), ..local }
    }

    /// The times of an exchange, likewise.
    pub(super) fn correct(&self, exchange: Exchange) -> Exchange {
        Exchange { sent: self.at(exchange.sent), received: self.at(exchange.received) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn local(unix: i64) -> TimestampPair {
        TimestampPair { unix, monotonic: Duration::ZERO }
    }

    #[test]
    fn a_wrong_clock_is_set_right_and_one_odd_answer_changes_nothing() {
        let mut clock = ServerClock::default();
        assert_eq!(clock.at(local(1000)).unix, 1000);
        for answer in 0..20 {
            clock.observe(5000 + answer, local(1000 + answer));
        }
        clock.observe(99, local(1020));
        assert_eq!(clock.at(local(1020)).unix, 5020);
        // The local clock is set right.
        for answer in 0..ANSWERS as i64 {
            clock.observe(5030 + answer, local(5030 + answer));
        }
        assert_eq!(clock.at(local(5040)).unix, 5040);
    }

    #[test]
    fn whole_seconds_are_no_difference() {
        let mut clock = ServerClock::default();
        clock.observe(999, local(1000));
        assert_eq!(clock.at(local(1000)).unix, 1000);
    }
}
