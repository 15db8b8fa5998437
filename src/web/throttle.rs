//! Log lines that a client could repeat without end are written at most once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(60);

/// One kind of log line.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<LoggedSoFar>);

#[derive(Debug, Default)]
struct LoggedSoFar {
    logged_at: Option<Instant>,
    since: u64,
}

impl LogThrottle {
    /// Counts an event. Returns how many there were since the last line if it is time for one.
    pub(super) fn count(&self) -> Option<u64> {
        let mut so_far = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        so_far.since += 1;
        if so_far.logged_at.is_some_and(|at| at.elapsed() < PERIOD) {
            return None;
        }
        so_far.logged_at = Some(Instant::now());
        Some(std::mem::take(&mut so_far.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_event_is_logged_at_once_and_the_next_line_counts_those_in_between() {
        let throttle = LogThrottle::default();
        assert_eq!([throttle.count(), throttle.count(), throttle.count()], [Some(1), None, None]);
        tokio::time::advance(PERIOD).await;
        assert_eq!([throttle.count(), throttle.count()], [Some(3), None]);
    }
}
