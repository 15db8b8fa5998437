//! The state of one connection, and the time until which it may stay without the next request.
//!
//! Hyper can limit how long a request header takes, but its timer also runs on a connection that is
//! kept alive between two requests, so that both would have the same limit. This module separates
//! them: a header has 10 s, counted from the accept (so that it covers the TLS handshake) or from
//! its first byte; an idle connection has 2 minutes, counted from the last byte of the answer.
//!
//! While a request of HTTP/1 is answered, nothing limits the connection here: the write timeout of
//! [`super::stream`] does. A connection of HTTP/2 carries many requests, and its client can refuse
//! to take an answer while it keeps the connection busy with pings. It therefore has 2 minutes from
//! the last request, or from the last 16 KiB that it took.
//!
//! It does not read or write; the stream reports bytes, and the server reports requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// Bytes that a client of HTTP/2 has to take to count as one that reads.
const PROGRESS: usize = 16 * 1024;

/// How long a client may take for each part of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the header of a request, and for the TLS handshake before the first one.
    pub header: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// For a write that makes no progress.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request header, or the TLS handshake before it, is under way.
    Header,
    /// At least one request is answered.
    Answer,
    /// The last answer is complete.
    Idle,
}

#[derive(Debug)]
struct ActivityState {
    phase: Phase,
    requests: usize,
    /// Does not count while a request of HTTP/1 is answered.
    deadline: Instant,
    /// Since when there is no complete request.
    waiting_since: Instant,
    write_waits: bool,
    multiplexed: bool,
    /// Bytes since the deadline was last moved, on a multiplexed connection.
    written: usize,
    /// A read that waits without a deadline.
    reader: Option<Waker>,
}

/// Shared by the stream of a connection, the requests on it, and the list of all connections.
#[derive(Debug)]
pub(super) struct Activity {
    timeouts: Timeouts,
    state: Mutex<ActivityState>,
}

/// A request that is answered. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
    /// A connection that was accepted now.
    pub(super) fn new(timeouts: Timeouts) -> Arc<Activity> {
        let now = Instant::now();
        let state = ActivityState {
            phase: Phase::Header,
            requests: 0,
            deadline: now + timeouts.header,
            waiting_since: now,
            write_waits: false,
            multiplexed: false,
            written: 0,
            reader: None,
        };
        Arc::new(Activity { timeouts, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The connection speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) {
        self.state().multiplexed = true;
    }

    /// When reading has to end unless something happens; `None` while nothing limits it. The reader
    /// is woken when that changes.
    pub(super) fn deadline(&self, reader: &Waker) -> Option<Instant> {
        let mut state = self.state();
        let unlimited = state.phase == Phase::Answer && !state.multiplexed;
        state.reader = unlimited.then(|| reader.clone());
        (!unlimited).then_some(state.deadline)
    }

    /// Bytes came in.
    pub(super) fn has_read(&self) {
        let mut state = self.state();
        // Frames of HTTP/2 that are no request come at any time, and prolong nothing.
        if state.phase == Phase::Idle && !state.multiplexed {
            state.phase = Phase::Header;
            state.deadline = Instant::now() + self.timeouts.header;
        }
    }

    /// Bytes went out.
    pub(super) fn has_written(&self, bytes: usize) {
        let mut state = self.state();
        state.write_waits = false;
        if state.multiplexed {
            state.written += bytes;
            if state.written < PROGRESS {
                return;
            }
            state.written = 0;
        } else if state.phase != Phase::Idle {
            return;
        }
        if state.phase != Phase::Header {
            state.deadline = Instant::now() + self.timeouts.idle;
        }
    }

    /// Bytes are ready to go out, and the client does not take them.
    pub(super) fn write_waits(&self) {
        self.state().write_waits = true;
    }

    /// A request is complete.
    pub(super) fn begin(self: &Arc<Activity>) -> InFlight {
        let mut state = self.state();
        state.requests += 1;
        state.phase = Phase::Answer;
        state.deadline = Instant::now() + self.timeouts.idle;
        drop(state);
        InFlight(Arc::clone(self))
    }

    /// How long the connection has been open without a request; `None` while one is answered.
    pub(super) fn waiting_for(&self) -> Option<Duration> {
        let state = self.state();
        let waits = state.requests == 0 && !state.write_waits;
        waits.then(|| state.waiting_since.elapsed())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 {
            let now = Instant::now();
            state.phase = Phase::Idle;
            state.deadline = now + self.0.timeouts.idle;
            state.waiting_since = now;
            // Hyper has no reason of its own to try to read again.
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(120);

    fn left(activity: &Activity) -> Option<Duration> {
        activity.deadline(Waker::noop()).map(|deadline| deadline - Instant::now())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_ten_seconds_and_an_idle_connection_two_minutes() {
        let activity = Activity::new(Timeouts::default());
        pass(4).await;
        activity.has_read();
        assert_eq!(left(&activity), Some(HEADER - Duration::from_secs(4)), "counted from the accept");
        let request = activity.begin();
        assert_eq!((left(&activity), activity.waiting_for()), (None, None));
        pass(300).await;
        drop(request);
        assert_eq!((left(&activity), activity.waiting_for()), (Some(IDLE), Some(Duration::ZERO)));
        pass(100).await;
        activity.has_written(1);
        assert_eq!(left(&activity), Some(IDLE), "the rest of the answer");
        pass(60).await;
        activity.has_read();
        activity.has_read();
        assert_eq!(left(&activity), Some(HEADER), "counted from the first byte of the next request");
        assert_eq!(activity.waiting_for(), Some(Duration::from_secs(160)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_whose_answer_waits_does_not_count_as_idle() {
        let activity = Activity::new(Timeouts::default());
        drop(activity.begin());
        activity.write_waits();
        assert_eq!(activity.waiting_for(), None);
        activity.has_written(1);
        assert!(activity.waiting_for().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_http_2_has_to_ask_or_to_take_what_it_asked_for() {
        let activity = Activity::new(Timeouts::default());
        activity.is_multiplexed();
        activity.has_written(PROGRESS);
        assert_eq!(left(&activity), Some(HEADER), "nothing prolongs the first header");
        let request = activity.begin();
        pass(100).await;
        activity.has_read();
        activity.has_written(17);
        assert_eq!(left(&activity), Some(IDLE - Duration::from_secs(100)), "a ping prolongs nothing");
        activity.has_written(PROGRESS);
        assert_eq!(left(&activity), Some(IDLE));
        pass(100).await;
        let other = activity.begin();
        drop(request);
        assert_eq!((left(&activity), activity.waiting_for()), (Some(IDLE), None));
        drop(other);
        assert!(activity.waiting_for().is_some());
    }
}
