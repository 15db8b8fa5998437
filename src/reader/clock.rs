//! Points in time on both clocks of this machine, and how far the server's clock is ahead of it.
//!
//! A wrong clock here must give no row a wrong age, so local times are corrected by the header
//! `Date` of the answers. Promises: one odd header changes nothing; without any header the local
//! clock is used as it is.

use std::collections::VecDeque;
use std::time::Duration;

/// A point in time, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampPair {
    /// Unix seconds; may jump.
    pub unix: i64,
    /// Time since some fixed moment; never goes back.
    pub monotonic: Duration,
}

impl TimestampPair {
    /// Now.
    pub fn now() -> TimestampPair {
        static START: std::sync::LazyLock<tokio::time::Instant> =
            std::sync::LazyLock::new(tokio::time::Instant::now);
        TimestampPair { unix: chrono::Utc::now().timestamp(), monotonic: START.elapsed() }
    }
}

/// When a request was sent (the try that was answered), and when its answer was received. The
/// calendar is the server's, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent.
    pub sent: TimestampPair,
    /// When its answer was received.
    pub received: TimestampPair,
}

/// The median of the offsets of this many answers is believed.
const ANSWERS: usize = 9;

/// Smaller differences are not corrected: the header has whole seconds, and an answer takes a
/// while.
const TOLERANCE_SECONDS: i64 = 2;

/// The offsets of the last few answers.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock {
    /// Server time minus local time, in seconds.
    offsets: VecDeque<i64>,
    ahead: i64,
}

impl ServerClock {
    /// Records an answer that says `server` (Unix seconds) and was received at `local`.
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

    /// The times of an exchange by the server's clock.
    pub(super) fn correct(&self, exchange: Exchange) -> Exchange {
        Exchange { sent: self.at(exchange.sent), received: self.at(exchange.received) }
    }
}

#[cfg(test)]
mod tests {
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
