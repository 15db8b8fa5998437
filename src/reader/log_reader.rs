//! The pages of one log, one after the other, with the next one under way while one is read, or
//! several while far behind.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Direction, Disorder, ReadPage};
use super::clock::{ServerClock, TimestampPair};
use super::fetch::{Fetched, Fetching};
use super::guesses::{Arrival, Guesses, Landing, Sender};
use super::limit::Limit;
use super::source::PageSource;
use crate::cryptolens::{ApiError, Concurrency, DecodeFault, Page, PageQuery, Row};

/// Decides about failed requests: whether another try is made, and when. The poller tries for ever,
/// a report a few times.
pub(crate) trait RetryPolicy: Send {
    /// A request is about to be sent.
    fn request_begins(&mut self);

    /// A request ended, well or with an error.
    fn request_ended(&mut self, took: Duration, error: Option<&ApiError>);

    /// A request for a guessed page ended. Its error decides nothing: the page is asked for again
    /// when its turn comes.
    fn guess_ended(&mut self, took: Duration, error: Option<&ApiError>);

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

/// The requests that may be under way beside the one for the page behind the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadAhead {
    /// Nothing.
    Nothing,
    /// The next page, as soon as it can be recognised where it begins.
    NextPage,
    /// As many pages as are allowed, also after guessed ids: for those who are far behind.
    Guesses {
        /// The reading ends with a page all of which is behind this time, in Unix seconds.
        until: Option<i64>,
    },
}

impl ReadAhead {
    /// How far a time is from where the reading ends, in seconds; below 0 behind it. `None` where
    /// that cannot be said.
    fn left(self, direction: Direction, time: Option<i64>) -> Option<i64> {
        let ReadAhead::Guesses { until: Some(until) } = self else { return None };
        Some(match direction {
            Direction::OldestFirst => until.saturating_sub(time?),
            Direction::NewestFirst => time?.saturating_sub(until),
        })
    }

    /// True if the page behind a row with this time may be wanted.
    fn wants_more(self, direction: Direction, time: Option<i64>) -> bool {
        self != ReadAhead::Nothing && self.left(direction, time).is_none_or(|left| left >= 0)
    }
}

/// Ids that answers showed beside the pages that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShownIds {
    /// The highest id on a guessed page, and when the last of these pages was received, on the
    /// monotonic clock.
    pub(crate) highest: Option<(i64, Duration)>,
    /// The newest id of the log, and when it was received.
    pub(crate) newest: Option<(i64, Duration)>,
}

impl ShownIds {
    fn add(to: &mut Option<(i64, Duration)>, id: Option<i64>, received: Duration) {
        if let Some(id) = id {
            let (highest, last) = to.unwrap_or((id, received));
            *to = Some((highest.max(id), last.max(received)));
        }
    }
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
    concurrency: Concurrency,
    guesses: Option<Guesses<R>>,
    shown: ShownIds,
    #[cfg(test)]
    pub(super) flaw: Option<super::strands::StrandFlaw>,
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
            concurrency: Concurrency::ONE,
            guesses: None,
            shown: ShownIds::default(),
            #[cfg(test)]
            flaw: None,
        }
    }

    /// The same reader with so many requests under way where guesses are allowed.
    pub(crate) fn with_concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
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
    /// 0.
    ///
    /// # Errors
    /// [`ApiError`] of the request for that page. [`LogReader::recover`] prepares the next try.
    pub(crate) async fn try_page(
        &mut self,
        position: i64,
        ahead: ReadAhead,
    ) -> Result<ReadPage<R>, ApiError> {
        // A limit that was reduced is about to change, and pages ahead would be asked for again.
        let may_guess = self.limit.is_most() && self.concurrency != Concurrency::ONE;
        match ahead {
            ReadAhead::Guesses { .. } if may_guess => self.try_guesses(position, ahead).await,
            _ => self.try_one_page(position, ahead).await,
        }
    }

    /// As soon as the last row of the page can be guessed, the page behind that one is asked for
    /// too.
    async fn try_one_page(&mut self, position: i64, ahead: ReadAhead) -> Result<ReadPage<R>, ApiError> {
        let query = self.direction.query(position, self.limit.get());
        let early = self.ahead.take().filter(|early| early.query() == query);
        let mut fetching = match early {
            Some(early) => early,
            None => self.fetch(query),
        };
        if self.limit.is_most()
            && let Some(last) = fetching.last_row().await
            && self.direction.is_beyond(last.id, position)
            && ahead.wants_more(self.direction, last.time)
        {
            self.ahead = Some(self.fetch(self.direction.query(last.id, self.limit.get())));
        }
        let Fetched { result, took, exchange, server_time } = fetching.end().await;
        if let Some(server_time) = server_time {
            self.server_clock.observe(server_time, exchange.received);
        }
        let page = result.map(|batch| ReadPage { batch, exchange, asked: position, is_guess: false });
        self.finish(page, position, took)
    }

    /// The end of the request for the page behind the position.
    fn finish(
        &mut self,
        page: Result<ReadPage<R>, ApiError>,
        position: i64,
        took: Duration,
    ) -> Result<ReadPage<R>, ApiError> {
        let page = page.and_then(|page| match self.leads_on(&page.batch, position) {
            false if self.limit.is_most() => Err(ApiError::Decode(DecodeFault::Stuck)),
            _ => Ok(page),
        });
        self.policy.request_ended(took, page.as_ref().err());
        match page {
            Ok(page) => {
                self.limit.worked();
                Ok(ReadPage { exchange: self.server_clock.correct(page.exchange), ..page })
            }
            Err(error) => {
                self.ahead = None;
                Err(error)
            }
        }
    }

    /// Asks for several pages at the same time, until the one behind the position is there.
    async fn try_guesses(&mut self, position: i64, ahead: ReadAhead) -> Result<ReadPage<R>, ApiError> {
        if self.guesses.as_ref().is_some_and(|guesses| !guesses.leads_to(position)) {
            self.guesses = None;
        }
        let mut guesses = match self.guesses.take() {
            Some(guesses) => guesses,
            None => {
                let guesses = Guesses::begin(position, self.direction, self.concurrency.get());
                #[cfg(test)]
                let guesses = guesses.with_flaw(self.flaw);
                guesses
            }
        };
        guesses.go_to(position);
        let page = self.next_of(&mut guesses, position, ahead).await;
        if let Ok(page) = &page
            && (page.is_guess || page.batch.full)
            && ahead.wants_more(self.direction, page.batch.rows.last().and_then(Row::time))
        {
            self.send(&mut guesses);
        }
        self.guesses = Some(guesses);
        page
    }

    async fn next_of(
        &mut self,
        guesses: &mut Guesses<R>,
        position: i64,
        ahead: ReadAhead,
    ) -> Result<ReadPage<R>, ApiError> {
        loop {
            // Pages that have arrived come first, so that strands go on while kept pages are read.
            while let Some(arrival) = guesses.arrived().await {
                if let Some(page) = self.land(guesses, arrival, position, ahead).await {
                    return page;
                }
            }
            if let Some(page) = guesses.take() {
                return Ok(ReadPage { exchange: self.server_clock.correct(page.exchange), ..page });
            }
            self.send(guesses);
            let arrival = guesses.next().await;
            if let Some(page) = self.land(guesses, arrival, position, ahead).await {
                return page;
            }
        }
    }

    fn send(&mut self, guesses: &mut Guesses<R>) {
        let sender = Sender {
            source: &self.source,
            limit: self.limit.get(),
            disorder: self.disorder,
            clock: self.clock,
        };
        for _ in 0..guesses.send(&sender) {
            self.policy.request_begins();
        }
    }

    /// Takes what happened to a request. `Some` if the page behind the position is there, or
    /// another try must be made for it.
    async fn land(
        &mut self,
        guesses: &mut Guesses<R>,
        arrival: Arrival<R>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Result<ReadPage<R>, ApiError>> {
        let (question, fetched) = match arrival {
            Arrival::Peeked(place, row) => {
                guesses.peek(place, row);
                return None;
            }
            Arrival::Ended(question, fetched) => (question, fetched),
        };
        if let Some(server_time) = fetched.server_time {
            self.server_clock.observe(server_time, fetched.exchange.received);
        }
        let (took, received) = (fetched.took, fetched.exchange.received.monotonic);
        let error = fetched.result.as_ref().err().cloned();
        let direction = self.direction;
        match guesses.land(question, fetched, |row| ahead.left(direction, row.time())) {
            Landing::Position(page) => Some(self.finish(page, position, took)),
            Landing::Guess { shown, wait } => {
                self.policy.guess_ended(took, error.as_ref());
                ShownIds::add(&mut self.shown.highest, shown, received);
                if let Some(error) = wait {
                    // Whether the server refuses the position too, its own answer says.
                    let _ = self.policy.wait(error, Pause::Growing).await;
                }
                None
            }
            Landing::Newest(newest) => {
                self.policy.guess_ended(took, error.as_ref());
                ShownIds::add(&mut self.shown.newest, newest, received);
                None
            }
        }
    }

    /// The ids that answers showed beside the pages handed over since the last call.
    pub(crate) fn take_shown(&mut self) -> ShownIds {
        std::mem::take(&mut self.shown)
    }

    /// Reads the page behind `position`, with as many tries as the policy makes.
    ///
    /// # Errors
    /// [`ApiError`] of the last try.
    pub(crate) async fn page(&mut self, position: i64, ahead: ReadAhead) -> Result<ReadPage<R>, ApiError> {
        loop {
            match self.try_page(position, ahead).await {
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

    /// Gives up the pages that were asked for ahead.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead = None;
        self.guesses = None;
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
