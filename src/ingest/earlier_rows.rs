//! One task per account that reads rows again which were counted before somebody wanted more of
//! them than their count: usage that was turned on later gets the days that the log still has.
//!
//! It begins when the log is caught up, and reads backwards, the newest first, one page at a time.
//! Whoever takes the rows knows them by their content, so that reading one twice changes nothing.
//! Each day that was read is kept, and a process that starts goes on before the days that are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::checkpoint::CheckpointError;
use super::requester::Requester;
use super::status::{ApiStatus, LogStatus};
use crate::backoff::Backoff;
use crate::cryptolens::{LogKind, PageQuery, Token, WebApiRow};
use crate::reader::origin::{self, Mark};
use crate::reader::{Direction, Disorder, Limit, LogProbe, LogReader, PageSource, ReadAhead, ReadPage};

/// The seconds of a day.
const DAY: i64 = 86_400;
/// Times of the Web API Log nearly follow the ids: a row with a lower id is no later than this many
/// seconds after one with a higher id.
const DISORDER: i64 = 2 * 3600;
/// So many rows are handed over together: most of what one page adds to the sets of a day, the next
/// one changes again.
const ROWS_TOGETHER: usize = 20_000;
/// How often to look whether there is something to read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The rows that are to be read again. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedRows {
    /// Rows from this time on are there already.
    pub known_from: i64,
    /// No row before this time is wanted.
    pub from: i64,
    /// No row with this id or a lower one was counted.
    pub after_id: i64,
    /// The time where counting began: known when all rows above that id were read.
    pub begin: i64,
}

/// Takes rows that were counted before.
pub trait EarlierRows: Clone + Send + Sync + 'static {
    /// The rows of an account's Web API Log that are wanted; `None` while that is not known, or
    /// nothing is.
    fn wanted(&self, account: &Arc<str>) -> Option<WantedRows>;

    /// Takes rows that were read at `read_at`. With `known_from`, every row from that time on was
    /// handed over.
    fn take(
        &self,
        account: &Arc<str>,
        rows: Vec<WebApiRow>,
        read_at: i64,
        known_from: Option<i64>,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;
}

/// Reads what is wanted, as often as something is, until it is stopped or the ledger is gone.
/// `status` is that of the log.
pub async fn read_earlier_rows<S: PageSource, E: EarlierRows>(
    account: Arc<str>,
    source: (S, Token),
    taker: E,
    api: Arc<ApiStatus>,
    status: Arc<LogStatus>,
    cancel: CancellationToken,
) {
    let work = async {
        let mut waits = Backoff::API.waits();
        loop {
            let view = status.view();
            let wanted = taker.wanted(&account).filter(|_| view.up && !view.catching_up);
            let Some(wanted) = wanted else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let (source, token) = source.clone();
            let endpoint = LogKind::WebApi.endpoint();
            let requester = Requester::new(Arc::clone(&account), endpoint, Arc::clone(&api), None, token);
            match read(&account, source, requester, &taker, wanted).await {
                Ok(()) => waits.reset(),
                Err(CheckpointError::Closed) => return,
                // The rows were not kept. The ledger says what is wanted when it can be written
                // again.
                Err(CheckpointError::Failed) => tokio::time::sleep(waits.next_wait()).await,
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Reads the rows of one account.
async fn read(
    account: &Arc<str>,
    source: impl PageSource,
    requester: Requester,
    taker: &impl EarlierRows,
    wanted: WantedRows,
) -> Result<(), CheckpointError> {
    let limit = Limit::new(LogKind::WebApi.max_limit());
    let mut reader: LogReader<_, WebApiRow, Requester> =
        LogReader::new(source, requester, Direction::NewestFirst, Disorder::SortShort, limit);
    let mut position = begin_at(&mut reader, wanted.known_from).await;
    let (mut known_from, mut rows, mut pages, mut largest_page) = (wanted.known_from, Vec::new(), 0_u64, 0);
    tracing::info!(%account, "reading earlier entries again for the sets of usage");
    loop {
        let ReadPage { batch, exchange, .. } = match reader.try_page(position, ReadAhead::Nothing).await {
            Ok(page) => page,
            Err(error) => {
                // The policy never gives up.
                let _ = reader.recover(error).await;
                continue;
            }
        };
        pages += 1;
        // A server may cap pages below the limit that is asked for, so that a short page is no end.
        largest_page = batch.listed.max(largest_page);
        let last = batch.rows.last().map(|row| row.id);
        let latest = batch.rows.iter().filter_map(|row| row.time).max();
        let is_end_of_log = !batch.full && batch.listed < largest_page;
        let is_all = is_end_of_log || last.is_none_or(|last| last <= wanted.after_id);
        let is_far_enough = latest.is_some_and(|latest| latest.saturating_add(DISORDER) < wanted.from);
        rows.extend(batch.rows.into_iter().filter(|row| row.id > wanted.after_id));
        let before = known_from;
        if is_all {
            known_from = wanted.begin;
        } else if is_far_enough {
            known_from = wanted.from;
        } else if let Some(latest) = latest {
            // The first midnight after which no row is missing.
            let whole = latest.saturating_add(DISORDER).div_euclid(DAY).saturating_add(1).saturating_mul(DAY);
            known_from = known_from.min(whole);
        }
        let is_end = is_all || is_far_enough;
        if is_end || known_from < before || rows.len() >= ROWS_TOGETHER {
            let known = (known_from < before).then_some(known_from);
            taker.take(account, std::mem::take(&mut rows), exchange.received.unix, known).await?;
        }
        let Some(last) = last.filter(|_| !is_end) else { break };
        position = last;
    }
    tracing::info!(%account, pages, "the sets of usage have the earlier entries");
    Ok(())
}

/// The position from which rows before `known_from` follow: not far above, where that can be found,
/// or the end of the log.
async fn begin_at<S: PageSource>(reader: &mut LogReader<S, WebApiRow, Requester>, known_from: i64) -> i64 {
    let mark = known_from.saturating_add(DISORDER);
    if mark >= reader.now().unix {
        return 0;
    }
    let mut probe = LogProbe { reader: &mut *reader, patient: false, empty_wait: None };
    let Ok(id) = origin::find(&mut probe, LogKind::WebApi, Mark::Time(mark)).await else { return 0 };
    // Where the search cannot decide, its id is too low.
    let after = reader.ask(PageQuery::after(id, 2), |_| Ok(())).await;
    let first = after.ok().and_then(|page| page.rows.iter().map(|row| (row.id, row.time)).min());
    match first {
        Some((next, Some(time))) if id > 0 && time >= known_from => next,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cryptolens::{Answered, ApiError, Page, Row, Slot};

    /// Ten minutes from one row to the next.
    const EVERY: i64 = 600;

    /// A log whose newest row is of now.
    #[derive(Clone)]
    struct Log {
        newest: i64,
        rows: i64,
        /// The positions of the pages that were asked for, the newest first.
        asked: Arc<Mutex<Vec<Option<i64>>>>,
    }

    impl Log {
        fn new(rows: i64) -> Log {
            Log { newest: chrono::Utc::now().timestamp(), rows, asked: Arc::default() }
        }

        fn time(&self, id: i64) -> i64 {
            self.newest - (self.rows - id) * EVERY
        }
    }

    impl PageSource for Log {
        async fn peeked_page<R: Row>(
            &self,
            query: PageQuery,
            _: impl FnOnce(R) + Send,
        ) -> Result<Answered<Page<R>>, ApiError> {
            let row = |id: i64| {
                let mut row = R::with_id(id);
                if let Some(Slot::Int(set)) = R::slot("time") {
                    set(&mut row, Some(self.time(id)));
                }
                row
            };
            let limit = usize::from(query.limit.min(100));
            let rows = if query.newest_first {
                self.asked.lock().unwrap().push(query.ending_before);
                let before = query.ending_before.unwrap_or(self.rows + 1);
                (1..before).rev().take(limit).map(row).collect()
            } else {
                (query.starting_after + 1..=self.rows).take(limit).map(row).collect()
            };
            let (sent, received) = (tokio::time::Instant::now(), tokio::time::Instant::now());
            Ok(Answered { value: Page { rows, without_id: Vec::new() }, server_time: None, sent, received })
        }
    }

    #[derive(Debug, Default)]
    struct Taken {
        ids: std::collections::BTreeSet<i64>,
        known_from: Vec<i64>,
        failing: usize,
    }

    #[derive(Clone, Default)]
    struct Taker {
        wanted: Arc<Mutex<Option<WantedRows>>>,
        taken: Arc<Mutex<Taken>>,
    }

    impl EarlierRows for Taker {
        fn wanted(&self, _: &Arc<str>) -> Option<WantedRows> {
            let wanted = (*self.wanted.lock().unwrap())?;
            (wanted.known_from > wanted.from).then_some(wanted)
        }

        async fn take(
            &self,
            _: &Arc<str>,
            rows: Vec<WebApiRow>,
            _: i64,
            known_from: Option<i64>,
        ) -> Result<(), CheckpointError> {
            let mut taken = self.taken.lock().unwrap();
            if taken.failing > 0 && known_from.is_some() {
                taken.failing -= 1;
                return Err(CheckpointError::Failed);
            }
            taken.ids.extend(rows.iter().map(|row| row.id));
            taken.known_from.extend(known_from);
            if let (Some(time), Some(wanted)) = (known_from, self.wanted.lock().unwrap().as_mut()) {
                wanted.known_from = time;
            }
            Ok(())
        }
    }

    /// Reads until nothing is wanted.
    async fn read_all(log: &Log, taker: &Taker, wanted: WantedRows) {
        *taker.wanted.lock().unwrap() = Some(wanted);
        let status = Arc::new(LogStatus::default());
        status.update(|view| view.up = true);
        let cancel = CancellationToken::new();
        let source = (log.clone(), Token::fixed("token".to_owned().into()));
        let read = read_earlier_rows(
            "default".into(),
            source,
            taker.clone(),
            Arc::default(),
            status,
            cancel.clone(),
        );
        let watch = async {
            while taker.wanted(&"default".into()).is_some() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            cancel.cancel();
        };
        tokio::join!(read, watch);
    }

    #[tokio::test(start_paused = true)]
    async fn days_are_read_backwards_and_known_one_by_one() {
        let (log, taker) = (Log::new(4000), Taker::default());
        // 4,000 rows are 27 days, of which 10 are wanted.
        let from = log.newest - 10 * DAY;
        let wanted = WantedRows { known_from: log.newest, from, after_id: 0, begin: 0 };
        read_all(&log, &taker, wanted).await;
        let taken = taker.taken.lock().unwrap();
        let oldest = *taken.ids.first().unwrap();
        assert!(log.time(oldest) < from && log.time(oldest) > from - 2 * DAY, "{oldest}");
        assert_eq!(taken.ids.len(), usize::try_from(4001 - oldest).unwrap(), "none is missing");
        let (last, midnights) = taken.known_from.split_last().unwrap();
        assert_eq!(*last, from);
        assert!(midnights.len() >= 8 && midnights.iter().all(|time| time % DAY == 0), "{midnights:?}");
        assert!(taken.known_from.is_sorted_by(|one, next| one > next));
        assert_eq!(log.asked.lock().unwrap()[0], None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_before_the_days_that_are_known() {
        let (log, taker) = (Log::new(4000), Taker::default());
        let known_from = log.newest - 8 * DAY;
        let wanted = WantedRows { known_from, from: log.newest - 10 * DAY, after_id: 0, begin: 0 };
        read_all(&log, &taker, wanted).await;
        let first = log.asked.lock().unwrap()[0].unwrap();
        assert!(log.time(first) >= known_from && log.time(first) < known_from + DAY, "{first}");
        let ids = &taker.taken.lock().unwrap().ids;
        let needed = (1..=4000).filter(|id| (wanted.from..known_from).contains(&log.time(*id)));
        assert!(needed.into_iter().all(|id| ids.contains(&id)));
        assert!(ids.len() < 700, "{} rows", ids.len());
    }

    #[tokio::test(start_paused = true)]
    async fn where_counting_began_is_the_end_also_after_failed_commits() {
        let (log, taker) = (Log::new(1000), Taker::default());
        taker.taken.lock().unwrap().failing = 2;
        // Counting began with row 401, and everything of it is known from there on.
        let begin = log.time(401);
        let wanted = WantedRows { known_from: log.newest, from: begin, after_id: 400, begin };
        read_all(&log, &taker, wanted).await;
        let taken = taker.taken.lock().unwrap();
        assert_eq!((taken.ids.first(), taken.ids.len()), (Some(&401), 600));
        assert_eq!(taken.known_from.last(), Some(&begin));
    }
}
