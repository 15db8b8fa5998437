//! Reads the rows of a window, in either direction, and the seats of a license.
//!
//! Pages come from [`crate::reader`]; what is special here is the policy. Promises: the rows that
//! are handed over have ids that strictly fall (or rise), each once; an error ends a reading for
//! good, so a caller who got to the end has every row that the log held when the reading began. A
//! request is tried a few times, because somebody waits at a terminal, and a page in disorder is an
//! error. Rows of the Web API Log and the Object Log are expected in the order of their ids and
//! nearly in that of their times: [`SLACK`] is how far the times may be off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::count::of_length;
use super::error::{PageFault, ReportError};
use super::progress::Progress;
use super::window::Window;
use crate::backoff::{Backoff, Waits};
use crate::cryptolens::{
    AggregateQuery, ApiError, Client, Concurrency, DailyAggregate, DecodeFault, Endpoint, Retry, Row,
    RowFilter, TimeSource,
};
use crate::reader::origin::{self, Mark};
use crate::reader::{
    Direction, Disorder, FilteredClient, Limit, LogProbe, LogReader, Pause, ReadAhead, ReadPage, RetryPolicy,
};

/// How far times may be off the order of ids, in seconds. A page all of which is off by more ends
/// the reading.
pub(super) const SLACK: i64 = 3600;

/// How long before its window a reading of the Events Log begins, in seconds: a day.
const EVENTS_SLACK: i64 = 86_400;

/// Tries of one request.
const ATTEMPTS: u32 = 5;

/// The smallest page that is asked for when larger ones fail.
const LEAST_LIMIT: u16 = 10;

/// Counts the requests of readings; by default nobody does.
#[derive(Clone, Default)]
pub(crate) struct RequestCounter(Option<Arc<CountRequest>>);

/// Takes a request that ended: how long it took, and its error if it failed.
type CountRequest = dyn Fn(Endpoint, Duration, Option<&ApiError>) + Send + Sync;

impl RequestCounter {
    /// Hands each request to `count`.
    pub(crate) fn new(
        count: impl Fn(Endpoint, Duration, Option<&ApiError>) + Send + Sync + 'static,
    ) -> RequestCounter {
        RequestCounter(Some(Arc::new(count)))
    }

    fn count(&self, endpoint: Endpoint, took: Duration, error: Option<&ApiError>) {
        if let Some(count) = &self.0 {
            count(endpoint, took, error);
        }
    }
}

/// Reads the logs of one account, and shows how far it has come.
#[derive(Clone)]
pub(crate) struct WindowReader {
    pub(crate) client: Client,
    /// The most requests under way.
    pub(crate) concurrency: Concurrency,
    pub(crate) progress: Progress,
    pub(crate) requests: RequestCounter,
    /// Ends every reading with [`ReportError::Interrupted`].
    pub(crate) stop: CancellationToken,
}

/// The numbers of a reading, which the report shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ReadingSummary {
    /// Rows handed over.
    pub(super) rows: u64,
    /// Pages with rows.
    pub(super) pages: u64,
    /// List elements that had no id, and so were no rows.
    pub(super) without_id: u64,
    /// Rows met again, and dropped.
    pub(super) duplicates: u64,
    /// True if the reading came to an end of the log.
    pub(super) whole_log: bool,
    /// True if the reading has the beginning of the log: it began there, or came there.
    pub(super) reaches_beginning: bool,
    /// The oldest time met.
    pub(super) oldest: Option<i64>,
}

impl ReadingSummary {
    /// The moment at which the log begins, where that is within a window or after it.
    pub(super) fn log_begins(&self, window: &Window) -> Option<i64> {
        let is_later = |oldest: &i64| *oldest > window.from.saturating_add(SLACK);
        self.oldest.filter(|oldest| self.reaches_beginning && is_later(oldest))
    }
}

/// The answer to a question that only explains rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Explanation<T> {
    Known(T),
    /// The token may not ask.
    Denied,
    /// The API does not know what was asked about.
    Unknown,
}

type Pages<R> = LogReader<FilteredClient, R, FewTries>;

/// A reading from the newest row back that has its first page.
pub(super) struct NewestFirst<R> {
    pages: Pages<R>,
    first: ReadPage<R>,
}

impl WindowReader {
    /// Asks for the newest page of a reading that will go back to about `oldest`: time passes while the
    /// server is asked for its clock.
    pub(super) async fn begin_newest_first<R: Row>(
        &self,
        filter: &RowFilter,
        oldest: i64,
    ) -> Result<NewestFirst<R>, ReportError> {
        let mut pages = self.pages::<R>(filter, Direction::NewestFirst);
        let ahead = ReadAhead::Guesses { until: Some(oldest.saturating_sub(SLACK)) };
        let first = self.unless_stopped(pages.page(0, ahead)).await?.map_err(failed::<R>)?;
        Ok(NewestFirst { pages, first })
    }

    /// Hands over the rows from the newest to the first page all of which is older than `oldest` by
    /// more than [`SLACK`], or to the beginning of the log. The value that `each` returns moves
    /// `oldest` further back.
    pub(super) async fn newest_first<R: Row>(
        &self,
        begun: NewestFirst<R>,
        mut oldest: i64,
        mut each: impl FnMut(Vec<R>) -> Option<i64>,
    ) -> Result<ReadingSummary, ReportError> {
        let NewestFirst { mut pages, first } = begun;
        let mut progression = Progression::new(R::LOG.endpoint(), Direction::NewestFirst, 0);
        let mut page = first;
        while let Some(NewRows { rows, times }) = progression.accept(page)? {
            self.progress.back(rows.len(), rows.last().and_then(Row::time));
            if let Some(further) = each(rows) {
                oldest = oldest.min(further);
            }
            if times.is_some_and(|(_, newest)| newest < oldest.saturating_sub(SLACK)) {
                break;
            }
            // Unless this page may be the last one, others are on their way while it is counted.
            let ahead = ReadAhead::Guesses { until: Some(oldest.saturating_sub(SLACK)) };
            let next = pages.page(progression.last, ahead);
            page = self.unless_stopped(next).await?.map_err(failed::<R>)?;
        }
        Ok(progression.summary)
    }

    /// Hands over the rows with ids above `after`, oldest first, to the end of the log or the first
    /// page all of which is newer than `newest` by more than [`SLACK`]. `each` may end the reading
    /// by an error.
    pub(crate) async fn oldest_first<R: Row>(
        &self,
        filter: &RowFilter,
        after: i64,
        newest: i64,
        mut each: impl FnMut(Vec<R>) -> Result<(), ReportError>,
    ) -> Result<ReadingSummary, ReportError> {
        let end = newest.saturating_add(SLACK);
        let mut pages = self.pages::<R>(filter, Direction::OldestFirst);
        let mut progression = Progression::new(R::LOG.endpoint(), Direction::OldestFirst, after);
        progression.summary.reaches_beginning = after == 0;
        loop {
            let ahead = ReadAhead::Guesses { until: (end < i64::MAX).then_some(end) };
            let page = pages.page(progression.last, ahead);
            let page = self.unless_stopped(page).await?.map_err(failed::<R>)?;
            let Some(NewRows { rows, times }) = progression.accept(page)? else { break };
            self.progress.forward(rows.len(), rows.last().and_then(Row::time));
            if times.is_some_and(|(oldest, _)| oldest > end) {
                break;
            }
            each(rows)?;
        }
        Ok(progression.summary)
    }

    /// An id to read forward from for the rows of a window that begins at `from`, found by
    /// [`origin::find`]. Times that the server gives are nearly in order (see [`SLACK`]); those
    /// that applications give may be off by more (see [`EVENTS_SLACK`]).
    pub(crate) async fn start<R: Row>(&self, filter: &RowFilter, from: i64) -> Result<i64, ReportError> {
        let slack = match R::LOG.times() {
            TimeSource::Server => SLACK,
            TimeSource::Application => EVENTS_SLACK,
        };
        let mut pages = self.pages::<R>(filter, Direction::OldestFirst);
        // Nothing is lost for good where an empty answer is believed: the next report asks again.
        let mut probe = LogProbe { reader: &mut pages, patient: true, empty_wait: None };
        let search = origin::find(&mut probe, R::LOG, Mark::Time(from.saturating_sub(slack)));
        self.unless_stopped(search).await?.map_err(failed::<R>)
    }

    /// The time up to which a window that ends at `to` is read. Where applications give the times,
    /// only the end of the log makes a window complete: an event may be registered long after its
    /// time.
    pub(crate) const fn end<R: Row>(to: i64) -> i64 {
        match R::LOG.times() {
            TimeSource::Application => i64::MAX,
            TimeSource::Server => to,
        }
    }

    /// The number of seats of a license key.
    pub(super) async fn seats(&self, product_id: i64, key: &str) -> Result<i64, ReportError> {
        let mut policy = self.tries(Endpoint::GetKey);
        let work = async {
            loop {
                match policy.try_once(self.client.seats(product_id, key)).await {
                    Ok(seats) => return Ok(seats),
                    Err(error) => policy.wait(error, Pause::Growing).await?,
                }
            }
        };
        let failed = |error| ReportError::Api { endpoint: Endpoint::GetKey, error };
        self.unless_stopped(work).await?.map_err(failed)
    }

    /// The vendor's own daily counts, each once. The end of the list is an empty page.
    pub(super) async fn daily_aggregates(
        &self,
        query: AggregateQuery,
    ) -> Result<Vec<DailyAggregate>, ReportError> {
        let endpoint = Endpoint::GetDailyAggregates;
        let mut policy = self.tries(endpoint);
        let mut all: Vec<DailyAggregate> = Vec::new();
        let work = async {
            let mut after = 0;
            loop {
                let page = match policy.try_once(self.client.daily_aggregates(query, after)).await {
                    Ok(page) => page,
                    Err(error) => {
                        let failed = |error| ReportError::Api { endpoint, error };
                        policy.wait(error, Pause::Growing).await.map_err(failed)?;
                        continue;
                    }
                };
                let Some(last) = page.iter().map(|aggregate| aggregate.id).max() else { return Ok(()) };
                if last <= after {
                    // Asking again would give the same for ever.
                    return Err(ReportError::Pages { endpoint, fault: PageFault::Order });
                }
                all.extend(page.into_iter().filter(|aggregate| aggregate.id > after));
                after = last;
            }
        };
        self.unless_stopped(work).await??;
        Ok(all)
    }

    /// Asks for something that explains rows. What the token may not see, or the API does not
    /// know, is no error: the report says so.
    pub(super) async fn asked<T, F>(
        &self,
        endpoint: Endpoint,
        ask: impl Fn(Client) -> F,
    ) -> Result<Explanation<T>, ReportError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let mut policy = self.tries(endpoint);
        let work = async {
            loop {
                match policy.try_once(ask(self.client.clone())).await {
                    Ok(value) => return Ok(Explanation::Known(value)),
                    Err(ApiError::Denied) => return Ok(Explanation::Denied),
                    Err(ApiError::Api | ApiError::BadRequest { status: None }) => {
                        return Ok(Explanation::Unknown);
                    }
                    Err(error) => policy.wait(error, Pause::Growing).await?,
                }
            }
        };
        self.unless_stopped(work).await?.map_err(|error| ReportError::Api { endpoint, error })
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, ReportError> {
        self.stop.run_until_cancelled(work).await.ok_or(ReportError::Interrupted)
    }

    fn tries(&self, endpoint: Endpoint) -> FewTries {
        FewTries {
            endpoint,
            progress: self.progress.clone(),
            requests: self.requests.clone(),
            waits: Backoff::API.waits(),
            attempts: 0,
        }
    }

    fn pages<R: Row>(&self, filter: &RowFilter, direction: Direction) -> Pages<R> {
        let source = FilteredClient::new(self.client.clone(), filter.clone());
        let policy = self.tries(R::LOG.endpoint());
        let limit = Limit::impatient(R::LOG.max_limit(), LEAST_LIMIT);
        LogReader::new(source, policy, direction, Disorder::Refuse, limit).with_concurrency(self.concurrency)
    }
}

fn failed<R: Row>(error: ApiError) -> ReportError {
    let endpoint = R::LOG.endpoint();
    match error {
        ApiError::Decode(DecodeFault::Order | DecodeFault::Stuck) => {
            ReportError::Pages { endpoint, fault: PageFault::Order }
        }
        error => ReportError::Api { endpoint, error },
    }
}

/// Tries each request a few times, and reports each failure on the terminal.
struct FewTries {
    endpoint: Endpoint,
    progress: Progress,
    requests: RequestCounter,
    waits: Waits,
    attempts: u32,
}

impl FewTries {
    /// One try of a request that is no page of a log.
    async fn try_once<T>(
        &mut self,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let began = Instant::now();
        let answer = request.await;
        self.request_ended(began.elapsed(), answer.as_ref().err());
        answer
    }

    /// How long to wait before another try; `None` where none is made.
    fn next_wait(&mut self, error: &ApiError) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            return None;
        }
        match (error.retry(), error) {
            (Retry::Refused, _) | (_, ApiError::Api | ApiError::BadRequest { .. }) => None,
            // The same page would be in the same disorder.
            (_, ApiError::Decode(DecodeFault::Order | DecodeFault::Stuck)) => None,
            // An error is better than a longer wait for somebody at a terminal.
            (Retry::After(asked), _) if asked > Backoff::API.max() => None,
            (Retry::After(asked), _) => Some(self.waits.next_wait_of_at_least(asked)),
            (Retry::Backoff, _) => Some(self.waits.next_wait()),
        }
    }
}

impl RetryPolicy for FewTries {
    fn request_begins(&mut self) {}

    fn request_ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.requests.count(self.endpoint, took, error);
        if error.is_none() {
            self.attempts = 0;
            self.waits.reset();
        }
    }

    fn guess_ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.requests.count(self.endpoint, took, error);
    }

    async fn wait(&mut self, error: ApiError, _: Pause) -> Result<(), ApiError> {
        let Some(wait) = self.next_wait(&error) else { return Err(error) };
        let name = self.endpoint.name();
        self.progress.note(&format!("{name}: {error}; trying again in {:.0} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// The rows of a page that were not handed over before.
#[derive(Debug)]
struct NewRows<R> {
    rows: Vec<R>,
    /// The oldest and the newest time on the whole page. A guessed page may have a single new row,
    /// whose time alone says nothing about where the window ends.
    times: Option<(i64, i64)>,
}

/// Where a reading has come to.
#[derive(Debug, Clone, Copy)]
struct Progression {
    endpoint: Endpoint,
    direction: Direction,
    /// The id of the last row; 0 before the first, as the API counts 0 as absent.
    last: i64,
    /// Rows without an id that were met behind the last row.
    behind_last: u64,
    summary: ReadingSummary,
}

impl Progression {
    fn new(endpoint: Endpoint, direction: Direction, last: i64) -> Progression {
        Progression { endpoint, direction, last, behind_last: 0, summary: ReadingSummary::default() }
    }

    /// The rows of a page that are new, or `None` at the end of the log: after a page without any
    /// element, because a short one is no sign of the end.
    fn accept<R: Row>(&mut self, page: ReadPage<R>) -> Result<Option<NewRows<R>>, ReportError> {
        let ReadPage { batch, asked, .. } = page;
        if batch.listed == 0 {
            self.summary.whole_log = true;
            self.summary.reaches_beginning |= self.direction == Direction::NewestFirst;
            return Ok(None);
        }
        let endpoint = self.endpoint;
        if batch.rows.is_empty() {
            return Err(ReportError::Pages { endpoint, fault: PageFault::NoId });
        }
        let mut rows = batch.rows;
        // The rows between the id that was asked after and the last one are read again on purpose.
        let times = rows.iter().filter_map(Row::time);
        let times = times.clone().min().zip(times.max());
        let unasked = rows.iter().filter(|row| !self.direction.is_beyond(row.id(), asked)).count();
        rows.retain(|row| self.direction.is_beyond(row.id(), self.last));
        let Some(last) = rows.last() else {
            // Nothing but rows from before: asking again would give the same for ever.
            return Err(ReportError::Pages { endpoint, fault: PageFault::Order });
        };
        // Each belongs to the row before it. Those of rows that were handed over were met with them, but
        // what stands behind the last one may be cut off by the end of its page.
        let behind = |id: i64| {
            of_length(batch.without_id.iter().filter(|before| before.unwrap_or(asked) == id).count())
        };
        let is_new = |before: &&Option<i64>| self.direction.is_beyond(before.unwrap_or(asked), self.last);
        let without_id = of_length(batch.without_id.iter().filter(is_new).count())
            + behind(self.last).saturating_sub(self.behind_last);
        self.behind_last = behind(last.id());
        self.last = last.id();
        let summary = &mut self.summary;
        summary.oldest = rows.iter().filter_map(Row::time).chain(summary.oldest).min();
        summary.pages += 1;
        summary.rows += of_length(rows.len());
        summary.duplicates += of_length(unasked) + batch.repeated;
        summary.without_id += without_id;
        Ok(Some(NewRows { rows, times }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::{LogKind, Page};
    use crate::reader::{Exchange, TimestampPair, arrange};
    use crate::report::record::RequestRecord;
    use crate::report::zone::Zone;

    fn page_after(
        asked: i64,
        direction: Direction,
        ids: &[i64],
        without_id: usize,
    ) -> ReadPage<RequestRecord> {
        let rows = ids.iter().map(|id| RequestRecord::with_id(*id)).collect();
        let page = Page { rows, without_id: vec![None; without_id] };
        let batch = arrange(page, 1000, direction, Disorder::Refuse).unwrap();
        let now = TimestampPair::now();
        ReadPage { batch, exchange: Exchange { sent: now, received: now }, asked, is_guess: false }
    }

    fn accepted(progression: &mut Progression, ids: &[i64]) -> Result<Option<Vec<i64>>, PageFault> {
        accepted_after(progression, progression.last, ids)
    }

    fn accepted_after(
        progression: &mut Progression,
        asked: i64,
        ids: &[i64],
    ) -> Result<Option<Vec<i64>>, PageFault> {
        match progression.accept(page_after(asked, progression.direction, ids, 0)) {
            Ok(new) => Ok(new.map(|new| new.rows.iter().map(Row::id).collect())),
            Err(ReportError::Pages { fault, .. }) => Err(fault),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_row_is_handed_over_once_and_in_order() {
        let web_api = LogKind::WebApi.endpoint();
        let mut progression = Progression::new(web_api, Direction::NewestFirst, 0);
        assert_eq!(accepted(&mut progression, &[9, 7, 7, 5]), Ok(Some(vec![9, 7, 5])));
        // A server that takes `EndingBefore` for inclusive.
        assert_eq!(accepted(&mut progression, &[5, 4]), Ok(Some(vec![4])));
        assert_eq!(accepted(&mut progression, &[]), Ok(None));
        assert_eq!((progression.summary.rows, progression.summary.duplicates), (4, 2));
        assert!(progression.summary.whole_log);

        let mut progression = Progression::new(LogKind::Events.endpoint(), Direction::OldestFirst, 3);
        assert_eq!(accepted(&mut progression, &[4, 6]), Ok(Some(vec![4, 6])));
        assert_eq!(accepted(&mut progression, &[5, 6]), Err(PageFault::Order));
    }

    #[test]
    fn the_rows_that_a_guessed_page_has_again_are_no_duplicates() {
        let mut progression = Progression::new(LogKind::Events.endpoint(), Direction::OldestFirst, 3);
        assert_eq!(accepted(&mut progression, &[4, 6]), Ok(Some(vec![4, 6])));
        assert_eq!(accepted_after(&mut progression, 4, &[6, 7]), Ok(Some(vec![7])));
        assert_eq!((progression.summary.rows, progression.summary.duplicates), (3, 0));
    }

    #[test]
    fn rows_without_an_id_that_a_guessed_page_has_again_are_counted_once() {
        let mut progression = Progression::new(LogKind::WebApi.endpoint(), Direction::OldestFirst, 0);
        for (asked, ids, without_id) in [
            (0, &[1, 2, 3][..], &[Some(1), Some(3)][..]),
            // It begins in the page before, and shows one more behind the row that ended that one.
            (1, &[2, 3, 4], &[Some(3), Some(3)]),
            (4, &[5], &[None, Some(5)]),
            (5, &[6], &[None]),
        ] {
            let mut page = page_after(asked, Direction::OldestFirst, ids, 0);
            page.batch.without_id = without_id.to_vec();
            progression.accept(page).unwrap();
        }
        assert_eq!(progression.summary.without_id, 5);
    }

    #[test]
    fn one_new_row_with_a_wrong_time_ends_no_reading() {
        let mut progression = Progression::new(LogKind::WebApi.endpoint(), Direction::OldestFirst, 3);
        let mut page = page_after(1, Direction::OldestFirst, &[2, 3, 4], 0);
        for (row, time) in page.batch.rows.iter_mut().zip([100, 101, 999_999]) {
            row.time = Some(time);
        }
        let new = progression.accept(page).unwrap().unwrap();
        assert_eq!((new.rows.len(), new.times), (1, Some((100, 999_999))));
    }

    #[test]
    fn pages_that_lead_nowhere_are_an_error() {
        let progression = || Progression::new(LogKind::WebApi.endpoint(), Direction::NewestFirst, 5);
        assert_eq!(accepted(&mut progression(), &[9, 8]), Err(PageFault::Order));
        let fault = progression().accept(page_after(5, Direction::NewestFirst, &[], 3)).unwrap_err();
        assert!(matches!(fault, ReportError::Pages { fault: PageFault::NoId, .. }));
        let mut progression = progression();
        assert!(progression.accept(page_after(5, Direction::NewestFirst, &[4], 2)).is_ok());
        assert_eq!(progression.summary.without_id, 2);
    }

    fn few_tries() -> FewTries {
        FewTries {
            endpoint: LogKind::WebApi.endpoint(),
            progress: Progress::new("test", None, Zone::UTC),
            requests: RequestCounter::default(),
            waits: Backoff::API.waits(),
            attempts: 0,
        }
    }

    #[test]
    fn what_may_pass_is_tried_a_few_times_and_what_cannot_is_not() {
        let mut policy = few_tries();
        let waits: Vec<_> = (0..ATTEMPTS).map(|_| policy.next_wait(&ApiError::Timeout)).collect();
        assert!(waits.iter().take(4).all(Option::is_some) && waits.last() == Some(&None), "{waits:?}");
        policy.request_ended(Duration::ZERO, None);
        assert!(policy.next_wait(&ApiError::Timeout).is_some(), "each page has its own tries");

        let order = ApiError::Decode(DecodeFault::Order);
        for error in [ApiError::Auth, ApiError::Api, ApiError::BadRequest { status: None }, order] {
            assert_eq!(few_tries().next_wait(&error), None, "{error}");
        }
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_kept_to_unless_it_is_too_long_for_a_terminal() {
        let wait = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            few_tries().next_wait(&ApiError::RateLimited { retry_after })
        };
        assert!(wait(7).is_some_and(|wait| wait >= Duration::from_secs(7)));
        assert_eq!((wait(60), wait(61)), (Some(Duration::from_secs(60)), None));
    }
}
