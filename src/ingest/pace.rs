//! How long to wait after a failure. The one place that retries.

use std::time::Duration;

use crate::cryptolens::{ApiError, Retry};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(15 * 60);
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// What to wait for before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// This long.
    For(Duration),
    /// This long, or until the token changes.
    ForToken(Duration),
}

/// Failures in a row. One second doubling to sixty, each with full jitter: a random part of it, so that pollers that
/// failed together don't come back together.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// After success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after a failure of the API.
    pub(super) fn after(&mut self, error: &ApiError) -> Wait {
        match error.retry() {
            Retry::Backoff => Wait::For(self.backoff()),
            // Not sooner than the usual wait, lest "0" means a busy loop.
            Retry::After(asked) => Wait::For(self.backoff().max(asked.min(LONGEST_ASKED_FOR))),
            Retry::Refused => Wait::ForToken(REFUSED),
        }
    }

    /// The wait after any other failure.
    pub(super) fn backoff(&mut self) -> Duration {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(jitter())
    }

    fn longest(&self) -> Duration {
        FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST)
    }
}

/// A part of a wait, from 0 to 1.
#[cfg(not(test))]
fn jitter() -> f64 {
    rand::random()
}

/// Drawn from the seed of a simulation, where there is one.
#[cfg(test)]
fn jitter() -> f64 {
    crate::simulation::jitter().unwrap_or_else(rand::random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::DecodeFault;

    #[test]
    fn waits_double_to_a_minute_with_full_jitter() {
        let mut pace = Pace::default();
        let mut longest = Vec::new();
        for _ in 0..9 {
            longest.push(pace.longest().as_secs());
            let most = pace.longest();
            assert!(pace.backoff() <= most);
        }
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.failures = u32::MAX;
        assert!(pace.backoff() <= LONGEST);
        pace.reset();
        assert_eq!(pace.longest(), FIRST);
    }

    #[test]
    fn jitter_is_over_the_whole_range() {
        let waits: Vec<f64> = (0..300).map(|_| Pace { failures: 6 }.backoff().as_secs_f64()).collect();
        assert!(waits.iter().any(|wait| *wait < 15.0) && waits.iter().any(|wait| *wait > 45.0));
    }

    #[test]
    fn the_error_decides() {
        let mut pace = Pace::default();
        let asked = |seconds| ApiError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(pace.after(&asked(120)), Wait::For(Duration::from_secs(120)));
        assert_eq!(pace.after(&asked(86_400)), Wait::For(Duration::from_secs(900)));
        assert_eq!(pace.after(&ApiError::Auth), Wait::ForToken(REFUSED));
        assert_eq!(pace.after(&ApiError::Denied), Wait::ForToken(REFUSED));
        let wait = pace.after(&ApiError::Decode(DecodeFault::Empty));
        assert!(matches!(wait, Wait::For(wait) if wait <= LONGEST));
    }
}
