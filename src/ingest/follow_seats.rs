//! One task per account for what pollers do not know of floating seats: the leases that were taken
//! before this process started, and the limits of named licenses.
//!
//! At the start it reads the Web API Log backwards, only the rows about seats, for one longest
//! lease and the overlap. It makes at most [`MOST_PAGES`] requests for that: beyond, seats are
//! known one longest lease later, when each of them has shown itself again. The limits come from
//! GetKey, which is asked for nothing else: its own count of seats uses another interval.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::requester::Requester;
use super::seats::{NamedLicense, SeatKeeper};
use super::status::ApiStatus;
use crate::cryptolens::{ApiError, Client, Endpoint, LogKind, RowFilter, WebApiRow, state_code};
use crate::reader::{
    Direction, Disorder, FilteredClient, Limit, LogReader, PageSource, ReadAhead, ReadPage, RetryPolicy as _,
};

/// The most pages that are read backwards.
const MOST_PAGES: u32 = 500;
/// After so many answers in a row that make no sense, the rows before the first poll stay unknown.
/// A failure of the server or of the network is no such answer.
const MOST_ODD_ANSWERS: u32 = 20;
/// How often the limits are asked for.
const LIMITS_EVERY: Duration = Duration::from_secs(5 * 60);
/// A key that GetKey does not know is logged again after this long.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

/// The settings of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatsSettings {
    /// The name of the account.
    pub account: Arc<str>,
    /// How late rows become visible.
    pub overlap: Duration,
    /// The licenses whose limits are shown.
    pub licenses: Vec<NamedLicense>,
}

/// Reads what was before, then asks for the limits again and again, until it is stopped. `client`
/// gives rows the hashes that the poller's rows have.
pub async fn follow_seats(
    settings: SeatsSettings,
    client: Client,
    keeper: Arc<dyn SeatKeeper>,
    api: Arc<ApiStatus>,
    cancel: CancellationToken,
) {
    let work = async {
        let requester = |endpoint| {
            Requester::new(
                Arc::clone(&settings.account),
                endpoint,
                Arc::clone(&api),
                None,
                client.token().clone(),
            )
        };
        let limits = async {
            if !settings.licenses.is_empty() {
                ask_for_limits(&settings, &client, &*keeper, requester(Endpoint::GetKey)).await;
            }
        };
        let back = async {
            if !keeper.is_read_back() {
                let states = state_code::OF_SEATS.to_vec();
                let source =
                    FilteredClient::new(client.clone(), RowFilter { states, ..RowFilter::default() });
                let requester = requester(LogKind::WebApi.endpoint());
                read_back(&settings, source, requester, &*keeper, MOST_PAGES).await;
            }
        };
        tokio::join!(back, limits);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Reads the rows about seats, the newest first, until no lease can reach back further.
async fn read_back(
    settings: &SeatsSettings,
    source: impl PageSource,
    requester: Requester,
    keeper: &dyn SeatKeeper,
    most_pages: u32,
) {
    let limit = Limit::new(LogKind::WebApi.max_limit());
    let mut reader: LogReader<_, WebApiRow, Requester> =
        LogReader::new(source, requester, Direction::NewestFirst, Disorder::SortShort, limit);
    let overlap = i64::try_from(settings.overlap.as_secs()).unwrap_or(i64::MAX);
    let (mut position, mut pages, mut odd_answers, mut largest_page) = (0, 0, 0, 0);
    let mut first_sent = None;
    let is_whole = loop {
        if pages >= most_pages || odd_answers >= MOST_ODD_ANSWERS {
            break false;
        }
        let ReadPage { batch, exchange, .. } = match reader.try_page(position, ReadAhead::Nothing).await {
            Ok(page) => page,
            Err(error) => {
                let is_odd = matches!(
                    error,
                    ApiError::Api | ApiError::BadRequest { status: None } | ApiError::Decode(_)
                );
                odd_answers = if is_odd { odd_answers + 1 } else { 0 };
                // The policy never gives up.
                let _ = reader.recover(error).await;
                continue;
            }
        };
        (pages, odd_answers) = (pages + 1, 0);
        let began = *first_sent.get_or_insert(exchange.sent.unix);
        keeper.rows(&batch.rows, began);
        let Some(last) = batch.rows.last() else { break true };
        position = last.id;
        // A server may cap pages below the limit that is asked for, so that a short page is no end.
        largest_page = batch.listed.max(largest_page);
        let latest = batch.rows.iter().filter_map(|row| row.time).max();
        let oldest_needed = began.saturating_sub(keeper.longest_lease()).saturating_sub(overlap);
        let is_end = !batch.full && batch.listed < largest_page;
        if is_end || latest.is_some_and(|time| time < oldest_needed) {
            break true;
        }
    };
    let began = first_sent.unwrap_or_else(|| reader.now().unix);
    keeper.read_back(began, is_whole);
    let (account, seconds) = (&settings.account, keeper.longest_lease());
    if is_whole {
        tracing::debug!(%account, pages, longest_lease_seconds = seconds, "the leases before the start are known");
    } else {
        tracing::warn!(
            %account,
            pages,
            longest_lease_seconds = seconds,
            "too many rows lie within one lease: floating seats are shown when the longest lease has passed once"
        );
    }
}

/// Asks for the limits, one license after the other.
async fn ask_for_limits(
    settings: &SeatsSettings,
    client: &Client,
    keeper: &dyn SeatKeeper,
    mut requester: Requester,
) {
    let account = &settings.account;
    let mut logged_at: BTreeMap<&str, Instant> = BTreeMap::new();
    loop {
        for license in &settings.licenses {
            requester.begins();
            let began = Instant::now();
            let answer = client.seats(license.product_id, license.key.expose_secret()).await;
            let took = began.elapsed();
            match answer {
                Ok(seats) => {
                    requester.ended(took, None);
                    logged_at.remove(&*license.name);
                    let limit = u64::try_from(seats).ok().filter(|limit| *limit > 0);
                    keeper.limit(license, limit);
                }
                Err(error @ (ApiError::Api | ApiError::BadRequest { status: None })) => {
                    // The API answers, so this counts as a failed request and is no outage.
                    requester.guess_ended(took, Some(&error));
                    keeper.limit(license, None);
                    let name = &*license.name;
                    if logged_at.get(name).is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
                        logged_at.insert(name, Instant::now());
                        tracing::error!(
                            %account,
                            license = name,
                            product_id = license.product_id,
                            "the api does not know the key of this license, so its limit is not shown: check its product_id and its key in the configuration"
                        );
                    }
                }
                // The limit that is known stays.
                Err(error) => {
                    requester.ended(took, Some(&error));
                    requester.wait_after(&error).await;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LIMITS_EVERY) => {}
            () = requester.token.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cryptolens::{Answered, Page, PageQuery, Row, Slot, Token};

    /// A log of one row each `every` seconds, the newest of now, with ids that rise by 1.
    #[derive(Debug, Clone)]
    struct Log {
        newest: i64,
        every: i64,
        rows: i64,
        requests: Arc<Mutex<u32>>,
        /// The first requests fail.
        failing: u32,
        /// The most rows of a page.
        cap: u16,
    }

    impl Log {
        fn new(rows: i64, every: i64) -> Log {
            let newest = chrono::Utc::now().timestamp();
            Log { newest, every, rows, requests: Arc::default(), failing: 0, cap: 1000 }
        }
    }

    impl PageSource for Log {
        async fn peeked_page<R: Row>(
            &self,
            query: PageQuery,
            _: impl FnOnce(R) + Send,
        ) -> Result<Answered<Page<R>>, ApiError> {
            let requests = {
                let mut requests = self.requests.lock().unwrap();
                *requests += 1;
                *requests
            };
            if requests <= self.failing {
                return Err(ApiError::Timeout);
            }
            assert!(query.newest_first);
            let first = query.ending_before.unwrap_or(self.rows + 1) - 1;
            let row = |id: i64| {
                let mut row = R::with_id(id);
                if let Some(Slot::Int(set)) = R::slot("time") {
                    set(&mut row, Some(self.newest - (self.rows - id) * self.every));
                }
                row
            };
            let limit = i64::from(query.limit.min(self.cap));
            let rows = (1..=first).rev().take(usize::try_from(limit).unwrap()).map(row).collect();
            let (sent, received) = (Instant::now(), Instant::now());
            Ok(Answered { value: Page { rows, without_id: Vec::new() }, server_time: None, sent, received })
        }
    }

    #[derive(Debug, Default)]
    struct Noting {
        lease: i64,
        rows: Mutex<usize>,
        end: Mutex<Option<bool>>,
    }

    impl SeatKeeper for Noting {
        fn rows(&self, rows: &[WebApiRow], _: i64) {
            *self.rows.lock().unwrap() += rows.len();
        }

        fn poll_complete(&self, _: i64) {}

        fn longest_lease(&self) -> i64 {
            self.lease
        }

        fn read_back(&self, _: i64, is_whole: bool) {
            *self.end.lock().unwrap() = Some(is_whole);
        }

        fn is_read_back(&self) -> bool {
            self.end.lock().unwrap().is_some()
        }

        fn limit(&self, _: &NamedLicense, _: Option<u64>) {}
    }

    async fn read(log: &Log, lease: i64, most_pages: u32) -> (Option<bool>, usize, u32) {
        let settings = SeatsSettings {
            account: "default".into(),
            overlap: Duration::from_secs(60),
            licenses: Vec::new(),
        };
        let token = Token::fixed("token".to_owned().into());
        let endpoint = LogKind::WebApi.endpoint();
        let requester = Requester::new("default".into(), endpoint, Arc::default(), None, token);
        let keeper = Noting { lease, ..Noting::default() };
        read_back(&settings, log.clone(), requester, &keeper, most_pages).await;
        let (end, rows) = (*keeper.end.lock().unwrap(), *keeper.rows.lock().unwrap());
        (end, rows, *log.requests.lock().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn it_reads_back_for_one_lease_and_the_overlap() {
        // A page has 1,000 seconds. The fourth reaches behind the hour and the minute, which only
        // the fifth shows, because it begins there.
        let log = Log::new(100_000, 1);
        let (end, rows, requests) = read(&log, 3600, MOST_PAGES).await;
        assert_eq!((end, rows, requests), (Some(true), 5000, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_beginning_of_the_log_is_the_end() {
        assert_eq!(read(&Log::new(1500, 1), 1 << 40, MOST_PAGES).await, (Some(true), 1500, 2));
        assert_eq!(read(&Log::new(0, 1), 3600, MOST_PAGES).await, (Some(true), 0, 1));
        let capped = Log { cap: 100, ..Log::new(250, 1) };
        assert_eq!(read(&capped, 3600, MOST_PAGES).await, (Some(true), 250, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn past_the_bound_it_gives_up() {
        let log = Log::new(1_000_000, 0);
        assert_eq!(read(&log, 3600, 7).await, (Some(false), 7000, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_takes_no_page_away() {
        let log = Log { failing: 30, ..Log::new(1500, 1) };
        let (end, rows, requests) = read(&log, 3600, MOST_PAGES).await;
        // Pages are smaller at first, and no page of them is taken for the end.
        assert_eq!((end, rows), (Some(true), 1500));
        assert!(requests > 32 && requests < 100, "{requests}");
    }
}
