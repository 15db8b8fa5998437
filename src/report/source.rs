//! Reads through a log, in either direction, and retries: the one place of reports that does.
//!
//! Promises: the rows that a reading hands over have ids that strictly fall (or rise), each once; an error ends it for
//! good, so a caller who got to the end has every row that the log held when it began. Rows of the Web API Log are told to
//! be in the order of their ids, and nearly in that of their times: [`SLACK`] is how far they may be off.

use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::count::of_length;
use super::error::{PageFault, ReportError};
use super::progress::Progress;
use crate::cryptolens::{ApiError, Client, Endpoint, Filter, Page, PageQuery, Retry, Row, Seats};

/// How far times may be off the order of ids, in seconds. A page all of which is off by more ends the reading.
pub(super) const SLACK: i64 = 3600;

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
        filter: &Filter,
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
        filter: &Filter,
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

    /// An id to read forward from so that no row from `from` on is left out: below it there are only pages all of which
    /// are older than that by more than [`SLACK`]. Found by halving, because these logs have no other way to begin
    /// anywhere but at their beginning.
    pub(super) async fn start<R: Row>(&self, filter: &Filter, from: i64) -> Result<i64, ReportError> {
        let too_old = async |after: i64| -> Result<Option<i64>, ReportError> {
            let mut cursor = Cursor::new(R::LOG.endpoint(), Direction::OldestFirst, after);
            let page = self.page(self.fetch::<R>(cursor, filter).page).await?;
            let Some(rows) = cursor.accept(page)? else {
                return Ok(None);
            };
            let newest = rows.iter().filter_map(Row::time).max();
            Ok(newest.filter(|time| *time < from.saturating_sub(SLACK)).map(|_| cursor.last))
        };
        last_too_old(too_old).await
    }

    /// How many seats a license key has.
    pub(super) async fn seats(&self, product_id: i64, key: &str) -> Result<Seats, ReportError> {
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

    fn fetch<R: Row>(&self, cursor: Cursor, filter: &Filter) -> Fetching<R> {
        let (source, filter) = (self.clone(), cursor.filter(filter));
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
                match source.client.peeked_page(query, &filter, peek).await {
                    Ok(page) => return Ok(page),
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

/// An id from which on there are rows to read; `too_old` gives the last id of the page after an id if all of it is too old.
async fn last_too_old(
    too_old: impl AsyncFn(i64) -> Result<Option<i64>, ReportError>,
) -> Result<i64, ReportError> {
    let mut start = 0;
    let mut step = 1 << 10;
    // Up to `too_far`, after which nothing is too old, by doubling steps ...
    let mut too_far = loop {
        let Some(last) = too_old(start).await? else { return Ok(start) };
        start = last;
        let ahead = start.saturating_add(step);
        match too_old(ahead).await? {
            None => break ahead,
            Some(last) => start = last,
        }
        step = step.saturating_mul(2);
    };
    // ... and then back by halves.
    while start < too_far {
        let middle = start + (too_far - start) / 2;
        match too_old(middle).await? {
            Some(last) => start = last,
            None => too_far = middle,
        }
    }
    Ok(start)
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
            Direction::NewestFirst => PageQuery { starting_after: 0, limit, newest_first: true },
            Direction::OldestFirst => PageQuery { starting_after: self.last, limit, newest_first: false },
        }
    }

    fn filter(&self, filter: &Filter) -> Filter {
        let before = (self.direction == Direction::NewestFirst && self.last != 0).then_some(self.last);
        Filter { ending_before: before, ..filter.clone() }
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
    use std::cell::Cell;

    use proptest::prelude::*;

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
        let mut cursor = Cursor::new(Endpoint::GetWebApiLog, Direction::NewestFirst, 0);
        assert_eq!(accepted(&mut cursor, &[9, 7, 7, 5]), Ok(Some(vec![9, 7, 5])));
        // A server that takes `EndingBefore` for inclusive.
        assert_eq!(accepted(&mut cursor, &[5, 4]), Ok(Some(vec![4])));
        assert_eq!(accepted(&mut cursor, &[]), Ok(None));
        assert_eq!((cursor.reading.rows, cursor.reading.duplicates), (4, 2));
        assert!(cursor.reading.whole_log);

        let mut cursor = Cursor::new(Endpoint::GetEvents, Direction::OldestFirst, 3);
        assert_eq!(accepted(&mut cursor, &[4, 6]), Ok(Some(vec![4, 6])));
        assert_eq!(accepted(&mut cursor, &[9, 8]), Err(PageFault::Order));
    }

    #[test]
    fn pages_that_lead_nowhere_are_an_error() {
        let cursor = || Cursor::new(Endpoint::GetWebApiLog, Direction::NewestFirst, 5);
        assert_eq!(accepted(&mut cursor(), &[9, 8]), Err(PageFault::Order));
        let fault = cursor().accept(page(&[], 3)).unwrap_err();
        assert!(matches!(fault, ReportError::Pages { fault: PageFault::NoId, .. }));
        let mut cursor = cursor();
        assert!(cursor.accept(page(&[4], 2)).is_ok());
        assert_eq!(cursor.reading.without_id, 2);
    }

    proptest! {
        /// Times in the order of ids but for less than the slack, gaps between ids, pages of a few rows.
        #[test]
        fn halving_skips_no_row_that_is_needed(
            steps in prop::collection::vec((1_i64..5_000, 0_i64..4_000, 0..SLACK), 0..120),
            from in 0_i64..250_000,
        ) {
            let mut last = (0, 0);
            let rows: Vec<(i64, i64)> = steps
                .iter()
                .map(|(gap, later, early)| {
                    last = (last.0 + gap, last.1 + later);
                    (last.0, last.1 - early)
                })
                .collect();
            let probes = Cell::new(0);
            let too_old = async |after: i64| {
                probes.set(probes.get() + 1);
                let page: Vec<_> = rows.iter().filter(|(id, _)| *id > after).take(7).collect();
                let newest = page.iter().map(|(_, time)| *time).max();
                Ok(newest.filter(|time| *time < from - SLACK).and(page.last().map(|(id, _)| *id)))
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let start = runtime.block_on(last_too_old(too_old)).unwrap();
            prop_assert!(rows.iter().all(|(id, time)| *time < from || *id > start));
            prop_assert!(probes.get() < 60, "{} probes", probes.get());
        }
    }
}
