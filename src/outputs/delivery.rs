//! Hands the samples of history to one target: reads the oldest from the outbox, sends them, and
//! says what became of them. Remote write and OTLP do it alike.
//!
//! Promises:
//! - One request is in flight at a time, oldest samples first, at most 5,000 samples or 1 MB each.
//! - What a receiver may take later is kept and tried again, with full jitter and its
//!   `Retry-After`. That includes an answer that has nothing to do with the samples: wrong
//!   credentials or a wrong path can be mended, and the outbox is bounded.
//! - Where a receiver refuses samples for good, the request is halved until the sample is alone.
//!   That one is dropped and counted by reason; all others arrive.
//! - A batch is acknowledged when everything in it was taken or dropped. After a crash its samples
//!   are sent again, each with the same stamp and value, which changes nothing.
//! - Each kind of trouble has one line in the log when it begins, and one when it is over.
//!
//! It knows no protocol and no file.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Waits};
use crate::history::{DropReason, HistorySample, MOST_SAMPLES, Outbox, SampleCounts};
use crate::metrics::{ProcessFamily, ProcessSource};
use crate::tally::families;

use super::push_client::{NoAnswer, PushAnswer, shown_message};

/// The most bytes of one request, before it is compressed.
pub(super) const MOST_BYTES: usize = 1_000_000;
/// Requests that had to be smaller grow by this part at each success: after eleven they are twice
/// as large, so a receiver with a limit is asked for too much by one request in ten or so.
const GROWTH: usize = 16;
/// A line about samples that are lost comes again after this time.
const LOG_AGAIN: Duration = Duration::from_secs(3600);
/// The clock of this machine jumped if it is off by more than this.
const CLOCK_JUMP_MILLISECONDS: i64 = 60_000;

/// The fate of a request's samples, by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerVerdict {
    /// The receiver may take them later.
    Later,
    /// It refuses the credentials.
    Credentials,
    /// It refuses every request, whatever is in it.
    Endpoint,
    /// It asks for smaller requests.
    TooLarge,
    /// It refuses some of them for good.
    Samples(DropReason),
}

/// Why samples were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// There was no answer: the connection failed or broke.
    #[error("no connection to the receiver: {0}")]
    Unreachable(String),
    /// There was no answer in time.
    #[error("the receiver did not answer in time")]
    Timeout,
    /// No request could be made: a file that the settings name cannot be used.
    #[error("{0}")]
    Local(String),
    /// The receiver answered with another status than 2xx.
    #[error("the receiver answered HTTP {status}{}", behind_colon(.message))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The receiver's own words, made fit to be shown; may be empty.
        message: String,
        /// The wait that it asked for.
        retry_after: Option<Duration>,
        /// The fate of the samples.
        verdict: AnswerVerdict,
    },
}

fn behind_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl From<NoAnswer> for DeliveryError {
    fn from(error: NoAnswer) -> DeliveryError {
        match error {
            NoAnswer::Unreachable(cause) => DeliveryError::Unreachable(cause),
            NoAnswer::Timeout => DeliveryError::Timeout,
        }
    }
}

impl DeliveryError {
    /// The meaning of an answer that is no success.
    pub(super) fn of(answer: &PushAnswer) -> DeliveryError {
        let (status, text) = (answer.status.as_u16(), answer.text());
        DeliveryError::Answered {
            status,
            verdict: verdict(status, &text),
            message: shown_message(&text),
            retry_after: answer.retry_after(),
        }
    }

    /// The fate of the samples.
    pub const fn verdict(&self) -> AnswerVerdict {
        match self {
            DeliveryError::Answered { verdict, .. } => *verdict,
            DeliveryError::Unreachable(_) | DeliveryError::Timeout => AnswerVerdict::Later,
            DeliveryError::Local(_) => AnswerVerdict::Endpoint,
        }
    }

    /// A name for the trouble, to tell whether it is the same as before.
    fn kind(&self) -> u16 {
        match self {
            DeliveryError::Unreachable(_) | DeliveryError::Timeout => 0,
            DeliveryError::Local(_) => 1,
            DeliveryError::Answered { status, verdict, .. } => match verdict {
                AnswerVerdict::Later => 0,
                _ => *status,
            },
        }
    }
}

/// Texts of receivers for samples that they never take, whatever the status: Prometheus 2 answers
/// 500 to some of them.
const REFUSALS: [(&str, DropReason); 4] = [
    ("too old sample", DropReason::TooOld),
    ("out of bounds", DropReason::OutOfBounds),
    ("out of order", DropReason::OutOfOrder),
    ("duplicate sample", DropReason::Duplicate),
];

/// Judges a status and the text beside it.
pub(super) fn verdict(status: u16, text: &str) -> AnswerVerdict {
    let text = text.to_ascii_lowercase();
    if let Some((_, reason)) = REFUSALS.iter().find(|(refusal, _)| text.contains(refusal)) {
        return AnswerVerdict::Samples(*reason);
    }
    match status {
        401 | 403 | 407 => AnswerVerdict::Credentials,
        413 => AnswerVerdict::TooLarge,
        // Timeouts and limits of rates.
        408 | 425 | 429 => AnswerVerdict::Later,
        // No receiver there, another method or media type, a redirect, something about headers.
        ..=399 | 404 | 405 | 406 | 410 | 411 | 415 | 421 | 426 | 431 | 451 => AnswerVerdict::Endpoint,
        400..=499 => AnswerVerdict::Samples(DropReason::Refused),
        _ => AnswerVerdict::Later,
    }
}

/// Takes samples, in requests of its protocol.
pub(super) trait SampleReceiver: Send {
    /// Its name in metrics and log lines.
    fn name(&self) -> &Arc<str>;

    /// Its address without anything secret.
    fn address(&self) -> String;

    /// At most how many bytes a sample adds to a request.
    fn weight(&self, sample: &HistorySample) -> usize;

    /// Sends one request, and returns how many of its samples were rejected for good.
    fn send(
        &mut self,
        samples: Arc<[HistorySample]>,
        piece: Range<usize>,
    ) -> impl Future<Output = Result<u64, DeliveryError>> + Send;

    /// Advice for the operator about an error.
    fn advice(&self, error: &DeliveryError) -> &'static str;
}

/// The state that deliveries to all targets share.
#[derive(Debug, Default)]
pub struct HistoryDeliveries {
    /// Unix seconds of the last success, by target.
    last_success: Mutex<BTreeMap<Arc<str>, f64>>,
    clock: AgeClock,
}

impl HistoryDeliveries {
    fn succeeded(&self, target: &Arc<str>) {
        // Microseconds of Unix time stay below 2^53 for 200 years.
        #[allow(clippy::cast_precision_loss)]
        let seconds = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
        let mut last_success = self.last_success.lock().unwrap_or_else(PoisonError::into_inner);
        last_success.insert(Arc::clone(target), seconds);
    }
}

impl ProcessSource for HistoryDeliveries {
    fn collect(&self) -> Vec<ProcessFamily> {
        let last_success = self.last_success.lock().unwrap_or_else(PoisonError::into_inner);
        if last_success.is_empty() {
            return Vec::new();
        }
        let mut family = ProcessFamily::of(&families::HISTORY_LAST_SUCCESS);
        for (target, seconds) in &*last_success {
            family.gauge(&[target], *seconds);
        }
        vec![family]
    }
}

/// Judges the age of samples. A clock that jumps ahead must not make all of them too old: time goes
/// on from the start of the process by the monotonic clock, unless the wall clock is behind that.
#[derive(Debug)]
struct AgeClock {
    start: Instant,
    start_millis: i64,
    /// How far the wall clock was off when that was logged.
    logged_offset: Mutex<i64>,
}

impl Default for AgeClock {
    fn default() -> AgeClock {
        AgeClock {
            start: Instant::now(),
            start_millis: chrono::Utc::now().timestamp_millis(),
            logged_offset: Mutex::new(0),
        }
    }
}

impl AgeClock {
    /// The time that ages are judged by: `known`, unless that is ahead of the time that has passed.
    fn now(&self, known: i64) -> i64 {
        self.at(chrono::Utc::now().timestamp_millis()).min(known)
    }

    fn at(&self, wall: i64) -> i64 {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        let expected = self.start_millis.saturating_add(elapsed);
        let offset = wall.saturating_sub(expected);
        let mut logged = self.logged_offset.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.abs_diff(*logged) > CLOCK_JUMP_MILLISECONDS.unsigned_abs() {
            *logged = offset;
            tracing::warn!(
                seconds = offset / 1000,
                "the clock of this machine jumped; no sample of history is dropped because of that"
            );
        }
        wall.min(expected)
    }
}

/// Delivers until the shutdown. Samples older than `window` are dropped before they are sent.
pub(super) async fn deliver<R: SampleReceiver, O: Outbox>(
    receiver: R,
    outbox: O,
    window: Duration,
    deliveries: Arc<HistoryDeliveries>,
    shutdown: CancellationToken,
) {
    let mut delivery = SampleDelivery::new(receiver, window, deliveries);
    let work = async {
        let mut changed = outbox.changed();
        let mut waits = Backoff::API.waits();
        loop {
            changed.borrow_and_update();
            match delivery.drain(&outbox).await {
                Ok(()) => waits.reset(),
                Err(error) => {
                    tracing::debug!(%error, "the outbox of history cannot be read");
                    tokio::time::sleep(waits.next_wait()).await;
                    continue;
                }
            }
            if changed.changed().await.is_err() {
                // The ledger ended, and the process is about to.
                std::future::pending::<()>().await;
            }
        }
    };
    let _: Option<std::convert::Infallible> = shutdown.run_until_cancelled(work).await;
}

/// The delivery to one target.
pub(super) struct SampleDelivery<R> {
    pub(super) receiver: R,
    window: Duration,
    deliveries: Arc<HistoryDeliveries>,
    waits: Waits,
    /// The most samples of a request: fewer after an answer that asked for smaller ones, and slowly
    /// more again, as that may have been the size of other samples, or a limit that was raised
    /// since.
    most_samples: usize,
    /// How often a request may be tried; without end if not set.
    most_tries: Option<u32>,
    /// Tries of the request since the last success.
    tries: u32,
    /// The kind of the trouble that was logged last, while it lasts.
    trouble: Option<u16>,
    /// When lost samples were logged last, by reason.
    logged: BTreeMap<DropReason, Instant>,
}

impl<R: SampleReceiver> SampleDelivery<R> {
    fn new(receiver: R, window: Duration, deliveries: Arc<HistoryDeliveries>) -> SampleDelivery<R> {
        SampleDelivery {
            receiver,
            window,
            deliveries,
            waits: Backoff::API.waits(),
            most_samples: MOST_SAMPLES,
            most_tries: None,
            tries: 0,
            trouble: None,
            logged: BTreeMap::new(),
        }
    }

    /// A delivery that gives up after so many tries of a request, and at once where another try
    /// makes no sense: for somebody who waits at a terminal.
    pub(super) fn impatient(receiver: R, window: Duration, tries: u32) -> SampleDelivery<R> {
        SampleDelivery { most_tries: Some(tries), ..SampleDelivery::new(receiver, window, Arc::default()) }
    }

    /// Delivers everything that waits.
    async fn drain<O: Outbox>(&mut self, outbox: &O) -> Result<(), crate::ingest::CheckpointError> {
        let name = Arc::clone(self.receiver.name());
        loop {
            let batch = outbox.oldest(&name, MOST_SAMPLES).await?;
            let Some(until) = batch.until() else { return Ok(()) };
            // Without a limit of tries there is no error.
            if let Ok(counts) = self.deliver_all(batch.samples, outbox.now_millis()).await {
                outbox.acknowledge(&name, until, counts).await?;
            }
        }
    }

    /// Delivers samples, however long it takes, and says what became of them. `now` is the time, in
    /// Unix milliseconds. There is an error only where the tries are limited.
    pub(super) async fn deliver_all(
        &mut self,
        samples: Vec<HistorySample>,
        now: i64,
    ) -> Result<SampleCounts, DeliveryError> {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.deliveries.clock.now(now).saturating_sub(window);
        let all = samples.len();
        let samples: Arc<[HistorySample]> =
            samples.into_iter().filter(|sample| sample.stamp >= oldest).collect();
        let mut counts = SampleCounts::default();
        let too_old = all - samples.len();
        if too_old > 0 {
            count(&mut counts, DropReason::TooOld, too_old);
            self.log_too_old(too_old);
        }
        let mut pieces = std::iter::once(0..samples.len()).collect::<VecDeque<_>>();
        while let Some(piece) = pieces.pop_front() {
            if piece.is_empty() {
                continue;
            }
            let fitting = self.fitting(&samples, piece.clone());
            if fitting < piece.len() {
                let middle = piece.start + fitting;
                pieces.push_front(middle..piece.end);
                pieces.push_front(piece.start..middle);
                continue;
            }
            match self.receiver.send(Arc::clone(&samples), piece.clone()).await {
                Ok(rejected) => {
                    self.succeeded();
                    if piece.len() >= self.most_samples {
                        self.most_samples = grown(self.most_samples);
                    }
                    let rejected = usize::try_from(rejected).unwrap_or(usize::MAX).min(piece.len());
                    counts.sent += u64::try_from(piece.len() - rejected).unwrap_or_default();
                    if rejected > 0 {
                        count(&mut counts, DropReason::Refused, rejected);
                        self.log_refused(DropReason::Refused, "it answered with a partial success", "");
                    }
                }
                Err(error) => match (error.verdict(), piece.len()) {
                    (AnswerVerdict::Samples(reason), 1) => {
                        count(&mut counts, reason, 1);
                        self.log_refused(reason, &error.to_string(), self.receiver.advice(&error));
                    }
                    (AnswerVerdict::TooLarge, 1) => {
                        count(&mut counts, DropReason::Refused, 1);
                        self.log_refused(
                            DropReason::Refused,
                            &error.to_string(),
                            self.receiver.advice(&error),
                        );
                    }
                    (verdict @ (AnswerVerdict::Samples(_) | AnswerVerdict::TooLarge), length) => {
                        if verdict == AnswerVerdict::TooLarge {
                            self.most_samples = length.div_ceil(2);
                        }
                        let middle = piece.start + length / 2;
                        pieces.push_front(middle..piece.end);
                        pieces.push_front(piece.start..middle);
                    }
                    (AnswerVerdict::Later | AnswerVerdict::Credentials | AnswerVerdict::Endpoint, _) => {
                        pieces.push_front(piece);
                        self.wait(error).await?;
                    }
                },
            }
        }
        Ok(counts)
    }

    /// How many of the samples go into one request; at least one.
    fn fitting(&self, samples: &[HistorySample], piece: Range<usize>) -> usize {
        let mut bytes = 0;
        let piece = samples.get(piece).unwrap_or_default();
        let within = piece.iter().take(self.most_samples).take_while(|sample| {
            bytes += self.receiver.weight(sample);
            bytes <= MOST_BYTES
        });
        within.count().max(1)
    }

    fn succeeded(&mut self) {
        self.waits.reset();
        self.tries = 0;
        self.deliveries.succeeded(self.receiver.name());
        if self.trouble.take().is_some() {
            tracing::info!(receiver = &**self.receiver.name(), "history is sent again");
        }
    }

    /// Waits before another try, after a line in the log if this is a new kind of trouble.
    async fn wait(&mut self, error: DeliveryError) -> Result<(), DeliveryError> {
        if let Some(most) = self.most_tries {
            self.tries += 1;
            if self.tries >= most || error.verdict() != AnswerVerdict::Later {
                return Err(error);
            }
        }
        self.log_trouble(&error);
        let asked = match error {
            DeliveryError::Answered { retry_after, .. } => retry_after,
            _ => None,
        };
        let wait = match asked {
            Some(asked) => self.waits.next_wait_of_at_least(asked),
            None => self.waits.next_wait(),
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn log_trouble(&mut self, error: &DeliveryError) {
        let (name, address) = (&**self.receiver.name(), self.receiver.address());
        if self.trouble.replace(error.kind()) == Some(error.kind()) {
            tracing::debug!(receiver = name, %error, "history is still not sent");
        } else {
            let advice = self.receiver.advice(error);
            match error.verdict() {
                AnswerVerdict::Later => {
                    tracing::warn!(receiver = name, address, %error, advice, "history is not sent; it waits in the ledger");
                }
                AnswerVerdict::Credentials => {
                    tracing::error!(receiver = name, address, %error, advice, "the target refuses the credentials; history waits in the ledger");
                }
                _ => {
                    tracing::error!(receiver = name, address, %error, advice, "the target takes no history; it waits in the ledger");
                }
            }
        }
    }

    fn is_to_be_logged(&mut self, reason: DropReason) -> bool {
        let recent = self.logged.get(&reason).is_some_and(|logged| logged.elapsed() < LOG_AGAIN);
        if !recent {
            self.logged.insert(reason, Instant::now());
        }
        !recent
    }

    fn log_refused(&mut self, reason: DropReason, error: &str, advice: &str) {
        if self.is_to_be_logged(reason) {
            let (name, address) = (&**self.receiver.name(), self.receiver.address());
            let reason = reason.name();
            tracing::error!(
                receiver = name,
                address,
                reason,
                error,
                advice,
                "the target refuses samples of history, which are lost for it"
            );
        }
    }

    fn log_too_old(&mut self, samples: usize) {
        if self.is_to_be_logged(DropReason::TooOld) {
            let window = shown_duration(self.window);
            let name = &**self.receiver.name();
            tracing::warn!(
                receiver = name,
                samples,
                window,
                "samples of history that are older than --history.window are not sent"
            );
        }
    }
}

/// A duration as Prometheus writes it: `31d`, `12h`, and only otherwise in smaller units.
pub(super) fn shown_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// The size of the next request, after one of this size was taken.
fn grown(samples: usize) -> usize {
    samples.saturating_add((samples / GROWTH).max(1)).min(MOST_SAMPLES)
}

fn count(counts: &mut SampleCounts, reason: DropReason, samples: usize) {
    *counts.dropped.entry(reason).or_default() += u64::try_from(samples).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_specification_says() {
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(verdict(status, "busy"), AnswerVerdict::Later, "{status}");
            let refused = AnswerVerdict::Samples(DropReason::TooOld);
            assert_eq!(verdict(status, "Too old sample for series"), refused, "{status}");
        }
        for (text, reason) in [
            ("too old sample", DropReason::TooOld),
            ("out of bounds", DropReason::OutOfBounds),
            ("out of order sample", DropReason::OutOfOrder),
            ("duplicate sample for timestamp", DropReason::Duplicate),
            ("label name too long", DropReason::Refused),
        ] {
            assert_eq!(verdict(400, text), AnswerVerdict::Samples(reason), "{text}");
        }
        for status in [409, 422, 418] {
            assert_eq!(verdict(status, ""), AnswerVerdict::Samples(DropReason::Refused), "{status}");
        }
        for status in [401, 403] {
            assert_eq!(verdict(status, ""), AnswerVerdict::Credentials);
        }
        for status in [302, 404, 405, 415] {
            assert_eq!(verdict(status, "404 page not found"), AnswerVerdict::Endpoint);
        }
        assert_eq!(verdict(413, ""), AnswerVerdict::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_ahead_makes_nothing_too_old() {
        let clock = AgeClock::default();
        let start = clock.start_millis;
        assert_eq!(clock.at(start + 100), start, "no time has passed");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.at(start + 10_000), start + 10_000);
        assert_eq!(clock.at(start + 40 * 86_400_000), start + 10_000, "ahead");
        assert_eq!(clock.at(start - 86_400_000), start - 86_400_000, "behind: nothing is dropped");
    }
}
