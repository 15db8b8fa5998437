//! The pages of one log, one after the other, with the next one under way while one is read.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Direction, Disorder};
use super::clock::{Exchange, ServerClock, TimestampPair};
use super::fetch::{Fetched, Fetching, PeekedRow};
use super::limit::Limit;
use super::source::PageSource;
use crate::cryptolens::{ApiError, DecodeFault, Page, PageQuery, Row};

/// Decides about failed requests: whether another try is made, and when. The poller tries for ever,
/// a report a few times.
pub(crate) trait RetryPolicy: Send {
    /// A request is about to be sent.
    fn request_begins(&mut self);

    /// A request ended, well or with an error.
    fn request_ended(&mut self, took: Duration, error: Option<&ApiError>);

    /// Waits before another try; gives the error back where no other try is made.
    fn wait(&mut self, error: ApiError, pause: Pause) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// How long to wait before another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Longer with each failure.
    Growing,
    /// As after a first failure: the server is well, and the next question is a smaller one.
    Short,
}

/// A page that was read, and when.
#[derive(Debug)]
pub(crate) struct ReadPage<R> {
    /// Its rows, in order.
    pub(crate) batch: Batch<R>,
    /// By the server's clock, as far as it is known.
    pub(crate) exchange: Exchange,
}

/// Reads one log of one account in one direction.
pub(crate) struct LogReader<S, R, P> {
    source: S,
    policy: P,
    direction: Direction,
    disorder: Disorder,
    limit: Limit,
    clock: fn() -> TimestampPair,
    server_clock: ServerClock,
    /// The page after the last one that was read, if it was asked for on a guess.
    ahead: Option<Fetching<R>>,
}

impl<S: PageSource, R: Row, P: RetryPolicy> LogReader<S, R, P> {
    /// A reader that has asked for nothing yet.
    pub(crate) fn new(source: S, policy: P, direction: Direction, disorder: Disorder, limit: Limit) -> Self {
        LogReader {
            source,
            policy,
            direction,
            disorder,
            limit,
            clock: TimestampPair::now,
            server_clock: ServerClock::default(),
            ahead: None,
        }
    }

    /// The same reader on the clock of a simulation, with pages of at most `most` rows.
    #[cfg(test)]
    pub(crate) fn simulated(mut self, clock: fn() -> TimestampPair, most: u16) -> Self {
        self.clock = clock;
        self.limit = Limit::new(most);
        self
    }

    /// The `Limit` of the next request.
    pub(crate) const fn limit(&self) -> Limit {
        self.limit
    }

    /// The policy.
    pub(crate) const fn policy(&self) -> &P {
        &self.policy
    }

    /// The policy.
    pub(super) const fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// Now, by this machine's clock.
    pub(super) fn local_now(&self) -> TimestampPair {
        (self.clock)()
    }

    /// Now, by the server's clock as far as it is known.
    pub(crate) fn now(&self) -> TimestampPair {
        self.server_clock.at(self.local_now())
    }

    /// Makes one try to read the page behind `position`: the id that the last page ended with, or
    /// 0. As soon as the last row of the page can be guessed, `asks_ahead` decides whether the page
    /// behind that one is asked for too.
    ///
    /// # Errors
    /// [`ApiError`] of the one request. [`LogReader::recover`] prepares the next try.
    pub(crate) async fn try_page(
        &mut self,
        position: i64,
        asks_ahead: impl FnOnce(PeekedRow) -> bool,
    ) -> Result<ReadPage<R>, ApiError> {
        let query = self.direction.query(position, self.limit.get());
        let early = self.ahead.take().filter(|early| early.query() == query);
        let mut fetching = match early {
            Some(early) => early,
            None => self.fetch(query),
        };
        // A limit that was reduced is about to change, and the page ahead would be asked for again.
        if self.limit.is_most()
            && let Some(last) = fetching.last_row().await
            && self.direction.is_beyond(last.id, position)
            && asks_ahead(last)
        {
            self.ahead = Some(self.fetch(self.direction.query(last.id, self.limit.get())));
        }
        let Fetched { result, took, exchange, server_time } = fetching.end().await;
        if let Some(server_time) = server_time {
            self.server_clock.observe(server_time, exchange.received);
        }
        let result = result.and_then(|batch| match self.leads_on(&batch, position) {
            false if self.limit.is_most() => Err(ApiError::Decode(DecodeFault::Stuck)),
            _ => Ok(batch),
        });
        self.policy.request_ended(took, result.as_ref().err());
        match result {
            Ok(batch) => {
                self.limit.worked();
                Ok(ReadPage { batch, exchange: self.server_clock.correct(exchange) })
            }
            Err(error) => {
                self.ahead = None;
                Err(error)
            }
        }
    }

    /// Reads the page behind `position`, with as many tries as the policy makes.
    ///
    /// # Errors
    /// [`ApiError`] of the last try.
    pub(crate) async fn page(
        &mut self,
        position: i64,
        asks_ahead: impl Fn(PeekedRow) -> bool,
    ) -> Result<ReadPage<R>, ApiError> {
        loop {
            match self.try_page(position, &asks_ahead).await {
                Ok(page) => return Ok(page),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Prepares another try after an error: a smaller page where that may help, and the policy's
    /// wait.
    ///
    /// # Errors
    /// The same error, where no other try is made.
    pub(crate) async fn recover(&mut self, error: ApiError) -> Result<(), ApiError> {
        let shrinks = error == ApiError::Decode(DecodeFault::TooLarge) && !self.limit.is_least();
        self.limit.failed(&error);
        // Longer waits each time would take minutes to get down to one row.
        self.policy.wait(error, if shrinks { Pause::Short } else { Pause::Growing }).await
    }

    /// Gives up the page that was asked for on a guess.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead = None;
    }

    /// Takes the page behind a row that cannot be read for a success.
    pub(crate) fn skipped_a_row(&mut self) {
        self.limit.worked();
    }

    /// Makes one request beside the reading, and counts an answer that does not pass `check` as an
    /// error.
    ///
    /// # Errors
    /// [`ApiError`] of that request or by `check`.
    pub(crate) async fn ask(
        &mut self,
        query: PageQuery,
        check: impl FnOnce(&Page<R>) -> Result<(), ApiError>,
    ) -> Result<Page<R>, ApiError> {
        self.policy.request_begins();
        let began = Instant::now();
        let answered = self.source.page::<R>(query).await;
        let result = answered.and_then(|answered| check(&answered.value).map(|()| answered.value));
        self.policy.request_ended(began.elapsed(), result.as_ref().err());
        result
    }

    fn fetch(&mut self, query: PageQuery) -> Fetching<R> {
        self.policy.request_begins();
        Fetching::start(&self.source, query, self.disorder, self.clock)
    }

    /// False for a full page without any row beyond the position: taking it for the end of the log
    /// would mean to stand still in silence.
    fn leads_on(&self, batch: &Batch<R>, position: i64) -> bool {
        !batch.full || batch.rows.last().is_some_and(|row| self.direction.is_beyond(row.id(), position))
    }
}
