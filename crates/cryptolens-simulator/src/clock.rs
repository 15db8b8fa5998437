//! The clock of the simulator: the system's clock, or a moment at which traffic was stopped.

use std::sync::atomic::{AtomicI64, Ordering};

const RUNNING: i64 = i64::MIN;

/// Unix seconds.
#[derive(Debug)]
pub(crate) struct Clock {
    stopped_at: AtomicI64,
}

impl Clock {
    pub(crate) const fn running() -> Self {
        Self { stopped_at: AtomicI64::new(RUNNING) }
    }

    pub(crate) fn now(&self) -> i64 {
        match self.stopped_at.load(Ordering::Acquire) {
            RUNNING => chrono::Utc::now().timestamp(),
            stopped => stopped,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.stopped_at.load(Ordering::Acquire) != RUNNING
    }

    /// Stops at this moment, until [`Clock::unfreeze`].
    pub(crate) fn freeze(&self, at: i64) {
        self.stopped_at.store(at, Ordering::Release);
    }

    /// Back to the system's clock: what would have happened meanwhile, has happened.
    pub(crate) fn unfreeze(&self) {
        self.stopped_at.store(RUNNING, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_and_goes_on() {
        let clock = Clock::running();
        let began = clock.now();
        clock.freeze(17);
        assert!(clock.is_frozen());
        assert_eq!(clock.now(), 17);
        clock.unfreeze();
        assert!(!clock.is_frozen() && clock.now() >= began);
    }
}
