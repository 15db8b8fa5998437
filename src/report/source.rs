//! Reads through a log, in either direction, and retries: the one place of reports that does.
//!
//! Promises: the rows that a reading hands over have ids that strictly fall (or rise), each once; an error ends it for
//! good, so a caller who got to the end has every row that the log held when it began. Rows of the Web API Log are told to
//! be in the order of their ids, and nearly in that of their times: [`SLACK`] is how far they may be off.

use std::marker::PhantomData;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::count::of_length;
use super::error::{PageFault, ReportError};
use super::progress::Progress;
use crate::cryptolens::{
    ApiError, Client, Endpoint, LicenseSeats, LogKind, Page, PageQuery, Retry, Row, RowFilter,
};
use crate::ingest::origin::{self, Extent, Mark, Probe, ProbeAnswer};

/// How far times may be off the order of ids, in seconds. A page all of which is off by more ends the reading.
pub(super) const SLACK: i64 = 3600;

/// How long before its window a reading of the Events Log begins, in seconds: a day.
const EVENTS_SLACK: i64 = 86_400;

const ATTEMPTS: u32 = 5;
/// The smallest page that is asked for when larger ones fail.
const LEAST_LIMIT: u16 = 10;
/// Who waits at a terminal is better told than kept waiting for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Talks to one account, and says how far it has come.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) progress: Progress,
    /// The first wait after an error; it doubles with each.
    pub(super) backoff: Duration,
    /// Ends every reading with [`ReportError::Interrupted`].
    pub(super) stop: CancellationToken,
}

/// What was met on the way, for the report to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    /// Rows handed over.
    pub(super) rows: u64,
    pub(super) pages: u64,
    /// List elements that had no id, and so were no rows.
    pub(super) without_id: u64,
    /// Rows met again, and dropped.
    pub(super) duplicates: u64,
    /// True if the reading came to an end of the log.
    pub(super) whole_log: bool,
    /// True if the reading began at the beginning of the log.
    pub(super) from_beginning: bool,
    /// The oldest time met.
    pub(super) oldest: Option<i64>,
}

impl Source {
    /// Hands over the rows from the newest to the first page all of which is older than `oldest` by more than
    /// [`SLACK`], or to the beginning of the log. What `each` returns moves `oldest` further back.
    pub(super) async fn newest_first<R: Row>(
        &self,
        filter: &RowFilter,
        mut oldest: i64,
        mut each: impl FnMut(Vec<R>) -> Option<i64>,
    ) -> Result<Reading, ReportError> {
        let mut cursor = Cursor::new(R::LOG.endpoint(), Direction::NewestFirst, 0);
        let mut fetching = self.fetch::<R>(cursor, filter);
        loop {
            let is_needed = |time: Option<i64>| time.is_none_or(|time| time >= oldest.saturating_sub(SLACK));
            // The next page is on its way while this one is read and counted, unless this one may be the last.
            let guess = self.unless_stopped(fetching.last).await?.ok().filter(|(_, time)| is_needed(*time));
            let early = guess.map(|(id, _)| (id, self.fetch::<R>(Cursor { last: id, ..cursor }, filter)));
            let Some(rows) = cursor.accept(self.page(fetching.page).await?)? else { break };
            let newest = rows.iter().filter_map(Row::time).max();
            self.progress.back(rows.len(), rows.last().and_then(Row::time));
            if let Some(further) = each(rows) {
                oldest = oldest.min(further);
            }
            if newest.is_some_and(|time| time < oldest.saturating_sub(SLACK)) {
                break;
            }
            fetching = match early {
                Some((id, fetching)) if id == cursor.last => fetching,
                _ => self.fetch::<R>(cursor, filter),
            };
        }
        Ok(cursor.reading)
    }

    /// Hands over the rows with ids above `after`, oldest first, to the end of the log or the first page all of which is
    /// newer than `newest` by more than [`SLACK`]. `each` may end the reading by an error.
    pub(super) async fn oldest_first<R: Row>(
        &self,
        filter: &RowFilter,
        after: i64,
        newest: i64,
        mut each: impl FnMut(Vec<R>) -> Result<(), ReportError>,
    ) -> Result<Reading, ReportError> {
        let mut cursor = Cursor::new(R::LOG.endpoint(), Direction::OldestFirst, after);
        cursor.reading.from_beginning = after == 0;
        let mut fetching = self.fetch::<R>(cursor, filter);
        loop {
            let Some(rows) = cursor.accept(self.page(fetching.page).await?)? else { break };
            let oldest = rows.iter().filter_map(Row::time).min();
            self.progress.forward(rows.len(), rows.last().and_then(Row::time));
            if oldest.is_some_and(|time| time > newest.saturating_add(SLACK)) {
                break;
            }
            fetching = self.fetch::<R>(cursor, filter);
            each(rows)?;
        }
        Ok(cursor.reading)
    }

    /// An id to read forward from for the rows of a window that begins at `from`, found by
    /// [`origin::find`]. Times of the Web API Log and the Object Log are the server's, and nearly in order: see
    /// [`SLACK`]. Those of events are the applications': see [`EVENTS_SLACK`].
    pub(super) async fn start<R: Row>(&self, filter: &RowFilter, from: i64) -> Result<i64, ReportError> {
        let slack = if R::LOG == LogKind::Events { EVENTS_SLACK } else { SLACK };
        let mut probe = ProbeLog { source: self, filter, rows: PhantomData::<fn() -> R> };
        origin::find(&mut probe, R::LOG, Mark::Time(from.saturating_sub(slack))).await
    }

    /// The time up to which a window that ends at `to` is read. Only the end of the Events Log makes a window of it
    /// complete: an application may register an event long after the time that it gives.
    pub(super) const fn end<R: Row>(to: i64) -> i64 {
        match R::LOG {
            LogKind::Events => i64::MAX,
            LogKind::WebApi | LogKind::Objects => to,
        }
    }

    /// One page, for the search.
    async fn probed<R: Row>(
        &self,
        mut query: PageQuery,
        filter: &RowFilter,
    ) -> Result<ProbeAnswer, ReportError> {
        let endpoint = R::LOG.endpoint();
        let mut attempt = 0;
        loop {
            match self.unless_stopped(self.client.answered_page::<R>(query, filter, |_| {})).await? {
                Ok(answered) => {
                    let page = answered.value;
                    let descends =
                        page.rows.len() > 1 && page.rows.is_sorted_by(|one, next| one.id() > next.id());
                    if descends && !query.newest_first {
                        return Err(ReportError::Pages { endpoint, fault: PageFault::Order });
                    }
                    return Ok(ProbeAnswer::of(&page, query.starting_after));
                }
                Err(ApiError::BadRequest { status: None }) if query.starting_after > 0 => {
                    return Ok(ProbeAnswer::Refused);
                }
                Err(error) => {
                    if error.may_be_size() {
                        query.limit = (query.limit / 2).max(LEAST_LIMIT.min(query.limit));
                    }
                    self.unless_stopped(self.pause(endpoint, error, &mut attempt)).await??;
                }
            }
        }
    }

    /// How many seats a license key has.
    pub(super) async fn seats(&self, product_id: i64, key: &str) -> Result<LicenseSeats, ReportError> {
        let asking = async {
            let mut attempt = 0;
            loop {
                match self.client.seats(product_id, key).await {
                    Ok(seats) => return Ok(seats),
                    Err(error) => self.pause(Endpoint::GetKey, error, &mut attempt).await?,
                }
            }
        };
        self.unless_stopped(asking).await?
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, ReportError> {
        self.stop.run_until_cancelled(work).await.ok_or(ReportError::Interrupted)
    }

    async fn page<R>(&self, fetch: Fetch<R>) -> Result<Page<R>, ReportError> {
        // The task of a fetch ends early only if the process goes down.
        self.unless_stopped(fetch).await?.unwrap_or(Err(ReportError::Interrupted))
    }

    fn fetch<R: Row>(&self, cursor: Cursor, filter: &RowFilter) -> Fetching<R> {
        let (source, filter) = (self.clone(), filter.clone());
        let (sender, last) = oneshot::channel();
        let page = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut sender = Some(sender);
            let mut query = cursor.query(R::LOG.max_limit());
            let mut attempt = 0;
            loop {
                let peek = |row: R| {
                    // Nobody may be listening: reading forward doesn't.
                    let _ = sender.take().map(|sender| sender.send((row.id(), row.time())));
                };
                match source.client.answered_page(query, &filter, peek).await {
                    Ok(answered) => return Ok(answered.value),
                    Err(error) => {
                        if error.may_be_size() {
                            query.limit = (query.limit / 2).max(LEAST_LIMIT);
                        }
                        source.pause(cursor.endpoint, error, &mut attempt).await?;
                    }
                }
            }
        }));
        Fetching { last, page }
    }

    /// Waits after an error that may pass, with full jitter; gives back the others, and the one too many.
    async fn pause(&self, endpoint: Endpoint, error: ApiError, attempt: &mut u32) -> Result<(), ReportError> {
        *attempt += 1;
        let grown = self.backoff.saturating_mul(1 << (*attempt - 1).min(16)).min(LONGEST_WAIT);
        let wait = match (error.retry(), &error) {
            (Retry::Refused, _) | (_, ApiError::Api | ApiError::BadRequest { .. }) => None,
            (Retry::After(wait), _) => Some(wait.max(self.backoff)).filter(|wait| *wait <= LONGEST_WAIT),
            (Retry::Backoff, _) => Some(grown.mul_f64(rand::rng().random_range(0.5..=1.0))),
        };
        let Some(wait) = wait.filter(|_| *attempt < ATTEMPTS) else {
            return Err(ReportError::Api { endpoint, error });
        };
        let name = endpoint.name();
        self.progress.note(&format!("{name}: {error}; trying again in {:.0} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// The questions of the search for the beginning of a window.
struct ProbeLog<'a, R> {
    source: &'a Source,
    filter: &'a RowFilter,
    rows: PhantomData<fn() -> R>,
}

impl<R: Row> Probe for ProbeLog<'_, R> {
    type Error = ReportError;

    async fn page_after(&mut self, after: i64, extent: Extent) -> Result<ProbeAnswer, ReportError> {
        let query = PageQuery::after(after, extent.limit(R::LOG));
        self.source.probed::<R>(query, self.filter).await
    }

    async fn newest(&mut self) -> Result<ProbeAnswer, ReportError> {
        let query = PageQuery::before(None, 1);
        self.source.probed::<R>(query, self.filter).await
    }

    /// Nothing is lost for good where an empty answer is believed: the next report reads the log again.
    async fn pause_for_overlap(&mut self) -> Result<bool, ReportError> {
        Ok(false)
    }

    fn now(&self) -> i64 {
        chrono::Utc::now().timestamp()
    }
}

/// A page that is being fetched.
struct Fetching<R> {
    /// Id and time of what looks like its last row, as soon as it is there; an error if there is none.
    last: oneshot::Receiver<(i64, Option<i64>)>,
    page: Fetch<R>,
}

type Fetch<R> = AbortOnDropHandle<Result<Page<R>, ReportError>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    NewestFirst,
    OldestFirst,
}

/// Where a reading has come to, and what its pages must be like.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    endpoint: Endpoint,
    direction: Direction,
    /// The id of the last row; 0 before the first, as the API counts 0 as absent.
    last: i64,
    reading: Reading,
}

impl Cursor {
    fn new(endpoint: Endpoint, direction: Direction, last: i64) -> Cursor {
        Cursor { endpoint, direction, last, reading: Reading::default() }
    }

    fn query(&self, limit: u16) -> PageQuery {
        match self.direction {
            Direction::NewestFirst => PageQuery::before((self.last != 0).then_some(self.last), limit),
            Direction::OldestFirst => PageQuery::after(self.last, limit),
        }
    }

    fn is_further(&self, id: i64) -> bool {
        match self.direction {
            Direction::NewestFirst => self.last == 0 || id < self.last,
            Direction::OldestFirst => id > self.last,
        }
    }

    /// The rows of a page that are new, or `None` at the end of the log: after a page without any element, because a
    /// short one is no sign of the end.
    fn accept<R: Row>(&mut self, page: Page<R>) -> Result<Option<Vec<R>>, ReportError> {
        if page.listed() == 0 {
            self.reading.whole_log = true;
            return Ok(None);
        }
        let endpoint = self.endpoint;
        let fault = |fault| Err(ReportError::Pages { endpoint, fault });
        if page.rows.is_empty() {
            return fault(PageFault::NoId);
        }
        let in_order = |pair: &[R]| match (self.direction, pair) {
            (Direction::NewestFirst, [first, second]) => first.id() >= second.id(),
            (Direction::OldestFirst, [first, second]) => first.id() <= second.id(),
            _ => true,
        };
        if !page.rows.windows(2).all(in_order) {
            return fault(PageFault::Order);
        }
        let listed = page.rows.len();
        let mut rows = page.rows;
        rows.retain(|row| {
            let further = self.is_further(row.id());
            if further {
                self.last = row.id();
            }
            further
        });
        if rows.is_empty() {
            // Nothing but rows from before the cursor: asking again would give the same for ever.
            return fault(PageFault::Order);
        }
        self.reading.oldest = rows.iter().filter_map(Row::time).chain(self.reading.oldest).min();
        self.reading.pages += 1;
        self.reading.rows += of_length(rows.len());
        self.reading.duplicates += of_length(listed - rows.len());
        self.reading.without_id += of_length(page.without_id.len());
        Ok(Some(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::RequestRecord;

    fn page(ids: &[i64], without_id: usize) -> Page<RequestRecord> {
        let rows = ids.iter().map(|id| RequestRecord::with_id(*id)).collect();
        Page { rows, without_id: vec![None; without_id] }
    }

    fn accepted(cursor: &mut Cursor, ids: &[i64]) -> Result<Option<Vec<i64>>, PageFault> {
        match cursor.accept(page(ids, 0)) {
            Ok(rows) => Ok(rows.map(|rows| rows.iter().map(Row::id).collect())),
            Err(ReportError::Pages { fault, .. }) => Err(fault),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_row_is_handed_over_once_and_in_order() {
        let mut cursor = Cursor::new(LogKind::WebApi.endpoint(), Direction::NewestFirst, 0);
        assert_eq!(accepted(&mut cursor, &[9, 7, 7, 5]), Ok(Some(vec![9, 7, 5])));
        // A server that takes `EndingBefore` for inclusive.
        assert_eq!(accepted(&mut cursor, &[5, 4]), Ok(Some(vec![4])));
        assert_eq!(accepted(&mut cursor, &[]), Ok(None));
        assert_eq!((cursor.reading.rows, cursor.reading.duplicates), (4, 2));
        assert!(cursor.reading.whole_log);

        let mut cursor = Cursor::new(LogKind::Events.endpoint(), Direction::OldestFirst, 3);
        assert_eq!(accepted(&mut cursor, &[4, 6]), Ok(Some(vec![4, 6])));
        assert_eq!(accepted(&mut cursor, &[9, 8]), Err(PageFault::Order));
    }

    #[test]
    fn pages_that_lead_nowhere_are_an_error() {
        let cursor = || Cursor::new(LogKind::WebApi.endpoint(), Direction::NewestFirst, 5);
        assert_eq!(accepted(&mut cursor(), &[9, 8]), Err(PageFault::Order));
        let fault = cursor().accept(page(&[], 3)).unwrap_err();
        assert!(matches!(fault, ReportError::Pages { fault: PageFault::NoId, .. }));
        let mut cursor = cursor();
        assert!(cursor.accept(page(&[4], 2)).is_ok());
        assert_eq!(cursor.reading.without_id, 2);
    }
}
