//! How long to wait between tries of something that fails: the one rule for all clients of this
//! product.
//!
//! Promises: waits double from the shortest to the longest, each with full jitter (a random part of
//! it, from nothing to the whole), so that tasks that failed together do not come back together; a
//! wait that a server asks for is kept to. It does not know what failed, nor whether another try
//! makes sense.

use std::time::Duration;

/// The shortest and the longest wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

/// Why two durations are no [`Backoff`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// Doubling nothing gives nothing: the server would be asked without a pause.
    #[error("the shortest wait must be above zero")]
    ZeroMin,
    /// The bounds are in the wrong order.
    #[error("the shortest wait must not be above the longest")]
    MinAboveMax,
}

impl Backoff {
    /// One second, doubling to one minute: for everything that asks the Web API.
    pub const API: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

    /// Waits that begin with up to `min` and double to at most `max`.
    ///
    /// # Errors
    /// [`InvalidBackoff`] where no such waits exist.
    pub fn try_new(min: Duration, max: Duration) -> Result<Backoff, InvalidBackoff> {
        if min.is_zero() {
            return Err(InvalidBackoff::ZeroMin);
        }
        if min > max {
            return Err(InvalidBackoff::MinAboveMax);
        }
        Ok(Backoff { min, max })
    }

    /// The longest wait.
    pub const fn max(self) -> Duration {
        self.max
    }

    /// The waits after failures in a row; nothing has failed yet.
    pub const fn waits(self) -> Waits {
        Waits { backoff: self, failures: 0 }
    }
}

/// The failures in a row, and the waits after them.
#[derive(Debug, Clone)]
pub struct Waits {
    backoff: Backoff,
    failures: u32,
}

impl Waits {
    /// Begins anew, after success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(jitter())
    }

    /// The wait after one more failure, where the server asked for a wait (`Retry-After`): never
    /// shorter than that, nor than without it, so that a server that asks for 0 is not asked in a
    /// loop.
    pub fn next_wait_of_at_least(&mut self, asked: Duration) -> Duration {
        self.next_wait().max(asked)
    }

    /// The wait after the next failure is at most this long.
    fn longest(&self) -> Duration {
        let Backoff { min, max } = self.backoff;
        min.saturating_mul(2_u32.saturating_pow(self.failures)).min(max)
    }
}

/// A random part of a wait, from 0 to 1.
#[cfg(not(test))]
fn jitter() -> f64 {
    rand::random()
}

/// As outside of tests, but drawn from the seed of a simulation where there is one.
#[cfg(test)]
fn jitter() -> f64 {
    use rand::RngExt as _;
    SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map_or_else(rand::random, |seeded| seeded.random()))
}

#[cfg(test)]
thread_local! {
    /// Where the jitter of this thread comes from in a simulation.
    pub(crate) static SEEDED: std::cell::RefCell<Option<rand_chacha::ChaCha8Rng>> =
        const { std::cell::RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_to_the_longest_and_begin_anew_after_success() {
        let mut waits = Backoff::API.waits();
        let mut longest = Vec::new();
        for _ in 0..9 {
            longest.push(waits.longest().as_secs());
            let most = waits.longest();
            assert!(waits.next_wait() <= most);
        }
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        waits.failures = u32::MAX;
        assert!(waits.next_wait() <= Backoff::API.max());
        waits.reset();
        assert_eq!(waits.longest(), SECOND);
    }

    #[test]
    fn jitter_is_over_the_whole_range() {
        let wait = || Waits { backoff: Backoff::API, failures: 6 }.next_wait().as_secs_f64();
        let waits: Vec<f64> = (0..300).map(|_| wait()).collect();
        assert!(waits.iter().any(|wait| *wait < 15.0) && waits.iter().any(|wait| *wait > 45.0));
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_a_lower_bound() {
        let mut waits = Backoff::API.waits();
        assert_eq!(waits.next_wait_of_at_least(120 * SECOND), 120 * SECOND);
        let wait = waits.next_wait_of_at_least(Duration::ZERO);
        assert!(wait > Duration::ZERO && wait <= 2 * SECOND, "{wait:?}");
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        assert_eq!(Backoff::try_new(Duration::ZERO, SECOND), Err(InvalidBackoff::ZeroMin));
        assert_eq!(Backoff::try_new(2 * SECOND, SECOND), Err(InvalidBackoff::MinAboveMax));
        assert_eq!(Backoff::try_new(SECOND, 60 * SECOND), Ok(Backoff::API));
        assert!(Backoff::try_new(SECOND, SECOND).is_ok());
    }
}
