//! One task per account and log: finds the origin, then polls again and again, until it is stopped.
//!
//! Promises: requests are retried here, and nowhere else in the flow; it never goes on from a position
//! that is not kept; it ends by itself only when the ledger is gone.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Since;
use crate::cryptolens::{ApiError, CountedRow, DecodeFault, LogVisitor, PageQuery, Row};
use crate::task::joined;

use super::arrange::{Arranged, arrange};
use super::batch::{LogCheckpoint, Origin};
use super::checkpoint::{CheckpointError, CheckpointStore, LogId, PendingCommit};
use super::limit::Limit;
use super::origin::{self, Extent, Mark};
use super::poll::{Exchange, Poll, PollStep, SessionState, TimestampPair};
use super::probe::LogProbe;
use super::requester::Requester;
use super::server_clock::ServerClock;
use super::source::Source;
use super::status::{ApiStatus, LastError, LogStatus};
use crate::backoff::{Backoff, Waits};

/// Pages that may be handed over and not yet kept: those of one transaction, and as many for the next.
const MOST_PENDING: usize = 40;

/// A log that was not read for longer than this, beside its interval, is far behind, and rows that are
/// older are its backlog.
const FAR_BEHIND_SECONDS: i64 = 5 * 60;

/// For how long after a backlog it is still shown: whoever looks at rates would take it for traffic,
/// and must have seen it. Prometheus scrapes once a minute if nothing else is configured.
const SHOW_BEHIND: Duration = Duration::from_secs(60);

/// How often a long poll reports where it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How often a malformed row is worth a line.
const MALFORMED_EVERY: Duration = Duration::from_secs(60);

/// The row at the cursor is asked for again after so many overlaps ...
const CURSOR_CHECK_OVERLAPS: u32 = 5;

/// ... or, where there is no overlap, after this long.
const CURSOR_CHECK_WITHOUT_OVERLAP: Duration = Duration::from_secs(60);

/// A log that was replaced is logged again after this long.
const WARN_AGAIN: Duration = Duration::from_secs(3600);

/// How often a row must still be too large to be read before it is given up.
const UNREADABLE_AGAIN: u32 = 3;

/// What one poller works by.
#[derive(Debug, Clone)]
pub struct PollerSettings {
    /// Which log to read.
    pub id: LogId,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// How long after the first row with a higher id a row may become visible and still be counted.
    pub overlap: Duration,
    /// Where counting begins, if the ledger doesn't know yet.
    pub since: Since,
}

/// Why a poller stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The process or a reload stops it.
    #[error("stopped")]
    Cancelled,
    /// There is nobody left to count for.
    #[error("the ledger is closed")]
    LedgerClosed,
}

/// Why a step went no further.
enum Interrupted {
    /// Open the log again.
    Reopen,
    Stop(Stopped),
}

impl From<CheckpointError> for Interrupted {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Failed => Interrupted::Reopen,
            CheckpointError::Closed => Interrupted::Stop(Stopped::LedgerClosed),
        }
    }
}

/// Reads the log that the settings name, until it is stopped or the ledger is gone. `status` and `api`
/// are those of the log and its account.
pub fn follow_log<S: Source, B: CheckpointStore>(
    settings: PollerSettings,
    source: S,
    store: B,
    status: Arc<LogStatus>,
    api: Arc<ApiStatus>,
    cancel: CancellationToken,
) -> BoxFuture<'static, Stopped> {
    settings.id.log.visit(FollowLog { settings, source, store, status, api, cancel })
}

/// The arguments of [`follow_log`].
struct FollowLog<S, B> {
    settings: PollerSettings,
    source: S,
    store: B,
    status: Arc<LogStatus>,
    api: Arc<ApiStatus>,
    cancel: CancellationToken,
}

impl<S: Source, B: CheckpointStore> LogVisitor for FollowLog<S, B> {
    type Output = BoxFuture<'static, Stopped>;

    fn visit<R: CountedRow>(self) -> Self::Output {
        let FollowLog { settings, source, store, status, api, cancel } = self;
        Poller::<S, B, R>::new(settings, source, store, status, api, cancel).run().boxed()
    }
}

/// Reads one log.
pub struct Poller<S, B, R> {
    settings: PollerSettings,
    source: S,
    store: B,
    status: Arc<LogStatus>,
    requester: Requester,
    cancel: CancellationToken,
    session: SessionState,
    server_clock: ServerClock,
    limit: Limit,
    cursor_check: CursorCheck,
    /// Start of the last complete poll: in this process, or by the ledger when it ended.
    last_start: Option<i64>,
    /// On the monotonic clock; polls that begin before are shown as catching up.
    shown_behind_until: Duration,
    malformed_logged: Option<Instant>,
    clock: fn() -> TimestampPair,
    rows: PhantomData<fn() -> R>,
}

impl<S: Source, B: CheckpointStore, R: CountedRow> Poller<S, B, R> {
    /// A poller that is ready to run. `status` and `api` are those of its log and account.
    pub fn new(
        settings: PollerSettings,
        source: S,
        store: B,
        status: Arc<LogStatus>,
        api: Arc<ApiStatus>,
        cancel: CancellationToken,
    ) -> Self {
        let account = Arc::clone(&settings.id.account);
        let log_status = Some(Arc::clone(&status));
        let requester = Requester::new(account, R::LOG.endpoint(), api, log_status, source.token());
        let session = SessionState::new(settings.overlap, TimestampPair::now().monotonic);
        Poller {
            settings,
            source,
            store,
            status,
            requester,
            cancel,
            session,
            server_clock: ServerClock::default(),
            limit: Limit::new(R::LOG.max_limit()),
            cursor_check: CursorCheck::default(),
            last_start: None,
            shown_behind_until: Duration::ZERO,
            malformed_logged: None,
            clock: TimestampPair::now,
            rows: PhantomData,
        }
    }

    /// On the clock of a simulation, with pages of so many rows, and perhaps with a wrong rule.
    #[cfg(test)]
    pub(crate) fn simulated(
        mut self,
        clock: fn() -> TimestampPair,
        limit: u16,
        flaw: Option<super::flaw::Flaw>,
    ) -> Self {
        self.clock = clock;
        self.limit = Limit::new(limit);
        self.session = SessionState::new(self.settings.overlap, clock().monotonic);
        self.session.flaw = flaw;
        self
    }

    /// Reads until it is stopped, or until the ledger is gone.
    pub async fn run(mut self) -> Stopped {
        let cancel = self.cancel.clone();
        // Dropping the work at any await point is safe: what is kept is decided by the ledger alone.
        tokio::select! {
            biased;
            () = cancel.cancelled() => Stopped::Cancelled,
            stopped = self.work() => stopped,
        }
    }

    async fn work(&mut self) -> Stopped {
        let mut waits = Backoff::API.waits();
        loop {
            match self.read(&mut waits).await {
                Interrupted::Stop(stopped) => return stopped,
                Interrupted::Reopen => {
                    self.status.update(|view| {
                        view.answered = true;
                        view.current_error = Some(LastError::Ledger);
                        view.catching_up = false;
                    });
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Opens the log, and polls it until interrupted.
    async fn read(&mut self, waits: &mut Waits) -> Interrupted {
        let mut generation = self.store.generation();
        generation.mark_unchanged();
        let mut checkpoint = match self.open().await {
            Ok(checkpoint) => checkpoint,
            Err(interrupted) => return interrupted,
        };
        loop {
            match self.poll(&mut checkpoint).await {
                Ok(began) => {
                    waits.reset();
                    let took = (self.clock)().monotonic.saturating_sub(began.monotonic);
                    let pause = tokio::time::sleep(self.settings.interval.saturating_sub(took));
                    tokio::select! {
                        biased;
                        () = pause => {}
                        // What was kept is gone: a quiet log would notice with its next row only.
                        Ok(()) = generation.changed() => return Interrupted::Reopen,
                    }
                }
                Err(interrupted) => return interrupted,
            }
        }
    }

    async fn open(&mut self) -> Result<LogCheckpoint, Interrupted> {
        let since = since_text(self.settings.since);
        let id = &self.settings.id;
        let checkpoint = match self.store.open(id).await? {
            Some(checkpoint) => {
                if checkpoint.origin.since != since {
                    tracing::warn!(
                        account = %id.account,
                        log = %id.log,
                        kept = checkpoint.origin.since,
                        given = since,
                        "--since differs from where counting began, and changes nothing; to start over, stop the exporter and delete the ledger"
                    );
                }
                checkpoint
            }
            None => self.begin(since).await?,
        };
        #[cfg(test)]
        let checkpoint = match self.session.flaw {
            Some(super::flaw::Flaw::SeenLost) => checkpoint.without_seen(),
            _ => checkpoint,
        };
        let now = (self.clock)().monotonic;
        self.session.resume(&checkpoint.position, checkpoint.without_id.clone(), now);
        self.cursor_check = CursorCheck::default();
        self.last_start = self.last_start.or(checkpoint.last_poll);
        self.status.update(|view| view.last_poll = view.last_poll.or(checkpoint.last_poll));
        Ok(checkpoint)
    }

    /// Finds out where counting begins, and has it written down before the first row is counted.
    async fn begin(&mut self, since: String) -> Result<LogCheckpoint, Interrupted> {
        let now = chrono::Utc::now();
        let at = match self.settings.since {
            Since::All => None,
            Since::Now => Some((Mark::Now, now.timestamp())),
            Since::Ago(ago) => {
                let mark = chrono::Duration::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago));
                mark.map(|mark| (Mark::Time(mark.timestamp()), mark.timestamp()))
            }
            Since::At(at) => Some((Mark::Time(at.timestamp()), at.timestamp())),
        };
        let origin = match at {
            None => Origin { id: 0, mark: 0, since },
            Some((mark, seconds)) => {
                let id = loop {
                    if let Ok(id) = origin::find(&mut self.probe(true), R::LOG, mark).await {
                        break id;
                    }
                };
                Origin { id, mark: seconds.max(0), since }
            }
        };
        let id = &self.settings.id;
        tracing::info!(account = %id.account, log = %id.log, since = origin.since, origin = origin.id, "counting begins");
        Ok(self.store.begin(id, origin).await?)
    }

    /// Questions beside the polls; `patient` ones are asked until they are answered.
    fn probe(&mut self, patient: bool) -> LogProbe<'_, S, R> {
        LogProbe {
            source: &self.source,
            requester: &mut self.requester,
            overlap: self.settings.overlap,
            clock: self.clock,
            patient,
            rows: PhantomData,
        }
    }

    /// The newest id above the cursor, and when that was known; `None` if that cannot be found out now.
    async fn newest_id(&mut self, cursor: i64) -> Option<(i64, Duration)> {
        let newest = origin::newest_id(&mut self.probe(false), R::LOG, cursor).await.ok()??;
        Some((newest, (self.clock)().monotonic))
    }

    /// One poll. Returns when it began.
    async fn poll(&mut self, checkpoint: &mut LogCheckpoint) -> Result<TimestampPair, Interrupted> {
        let first = !checkpoint.first_poll_complete;
        let mut poll = Poll::begin(&checkpoint.position, self.limit.most(), first);
        let mut behind = first;
        let mut shown_behind = false;
        let mut pending: VecDeque<PendingCommit> = VecDeque::new();
        let mut reported = Instant::now();
        let mut ahead = None;
        let mut full = false;
        let (began, nothing_new) = loop {
            let now = self.now().monotonic;
            let after = poll.asks_after(&mut checkpoint.position, &mut self.session, now);
            let (step, received) = match self.page(after, full, &mut ahead).await {
                Answer::Page { page, exchange } => {
                    full = page.full;
                    let position = &mut checkpoint.position;
                    (poll.take(position, &mut self.session, after, page, exchange), exchange.received)
                }
                Answer::Refused => {
                    self.session.refuse(after);
                    continue;
                }
                Answer::Unreadable { id } => {
                    let now = self.now();
                    self.log_unreadable(id);
                    let position = &mut checkpoint.position;
                    let batch = poll.skip_unreadable::<R>(position, &mut self.session, id, now);
                    (PollStep { batch, ..PollStep::default() }, now)
                }
            };
            self.warn_malformed(step.malformed);
            let began = poll.began().unwrap_or(received);
            behind |= self.is_far_behind(began);
            // Only while old rows are counted: a quiet log is never behind, however long nobody asked,
            // and rows of the last minutes are no backlog.
            let is_old = received.unix.saturating_sub(checkpoint.position.watermark()) > FAR_BEHIND_SECONDS;
            if behind && is_old && step.batch.as_ref().is_some_and(|batch| !batch.rows.is_empty()) {
                shown_behind = true;
                self.status.update(|view| view.catching_up = true);
            }
            if let Some(batch) = step.batch {
                while let Some(outcome) = pending.front_mut().and_then(PendingCommit::outcome) {
                    pending.pop_front();
                    outcome?;
                }
                if pending.len() >= MOST_PENDING
                    && let Some(oldest) = pending.pop_front()
                {
                    oldest.done().await?;
                }
                pending.push_back(self.store.submit(&self.settings.id, checkpoint.epoch, batch).await?);
            }
            if reported.elapsed() >= PROGRESS_EVERY {
                reported = Instant::now();
                log_progress(&self.settings.id, &poll, checkpoint);
            }
            if step.complete {
                break (began, step.nothing_new);
            }
            if step.ask_newest
                && let Some((newest, received)) = self.newest_id(checkpoint.position.cursor()).await
            {
                poll.newest(&mut self.session, newest, received);
            }
        };
        for commit in pending {
            commit.done().await?;
        }
        let end = self.now();
        checkpoint.first_poll_complete = true;
        self.last_start = Some(began.unix);
        // The first poll ever is one starting value, and no rate sees it.
        if shown_behind && !first {
            self.shown_behind_until = end.monotonic + SHOW_BEHIND;
        }
        let cursor = checkpoint.position.cursor();
        self.status.update(|view| {
            view.last_poll = Some(end.unix);
            view.catching_up = began.monotonic < self.shown_behind_until;
            view.current_error = None;
            // An empty answer shows no id: what was found of a log that was replaced stays.
            view.newest_id = if nothing_new { view.newest_id.or(Some(cursor)) } else { Some(cursor) };
        });
        let id = &self.settings.id;
        let (rows, seconds) = (poll.added(), end.unix - began.unix);
        if first || shown_behind {
            tracing::info!(account = %id.account, log = %id.log, rows, cursor, seconds, "caught up");
        } else {
            tracing::debug!(account = %id.account, log = %id.log, rows, cursor, seconds, "poll complete");
        }
        if nothing_new {
            self.check_cursor(cursor).await;
        } else {
            // The log goes on; the next look at the cursor is due when it was.
            self.cursor_check = CursorCheck { due: self.cursor_check.due, ..CursorCheck::default() };
        }
        Ok(began)
    }

    /// Now, by the server's clock as far as it is known.
    fn now(&self) -> TimestampPair {
        self.server_clock.at((self.clock)())
    }

    /// True if nobody asked for so long that what is read now is no picture of now.
    fn is_far_behind(&self, now: TimestampPair) -> bool {
        let interval = i64::try_from(self.settings.interval.as_secs()).unwrap_or(i64::MAX);
        let far = FAR_BEHIND_SECONDS.saturating_add(interval);
        self.last_start.is_none_or(|last| now.unix.saturating_sub(last) > far)
    }

    /// The page after an id, however often it must be asked for. Where the page before was full, the
    /// next one is asked for while this one is read: it is what `ahead` holds afterwards.
    async fn page(&mut self, after: i64, full_before: bool, ahead: &mut Option<Fetching<R>>) -> Answer<R> {
        let mut starting_after = after;
        let mut too_large_since = None;
        let mut refused = 0_u32;
        loop {
            let query = PageQuery::after(starting_after, self.limit.get());
            let early = ahead.take().filter(|early| early.query == query);
            let mut fetching = early.unwrap_or_else(|| self.fetch(query));
            // A limit that was halved is about to change.
            if full_before
                && self.limit.is_most()
                && let Ok(last) = (&mut fetching.last).await
                && last > starting_after
            {
                *ahead = Some(self.fetch(PageQuery { starting_after: last, ..query }));
            }
            let Fetched { result, took, exchange, server_time } = joined(fetching.task).await;
            if let Some(server_time) = server_time {
                self.server_clock.observe(server_time, exchange.received);
            }
            let result = result.and_then(|page| match leads_on(&page, starting_after) {
                false if self.limit.is_most() => Err(ApiError::Decode(DecodeFault::Stuck)),
                _ => Ok(page),
            });
            self.requester.ended(took, result.as_ref().err());
            let error = match result {
                Ok(page) => {
                    self.limit.worked();
                    return Answer::Page { page, exchange: self.server_clock.correct(exchange) };
                }
                Err(error) => error,
            };
            *ahead = None;
            match error {
                // The id may be gone. Once more: a server may refuse what it takes a moment later.
                ApiError::BadRequest { status: None } if after > 0 => {
                    refused += 1;
                    if refused >= 2 {
                        return Answer::Refused;
                    }
                }
                // Without a cursor the order may be another; no row has an id below 1.
                ApiError::Decode(DecodeFault::Order) if after == 0 => starting_after = 1,
                // Complete answers alone tell that it is the row which is too large, and only time
                // tells it from a server that fails in a strange way.
                ApiError::Decode(DecodeFault::TooLarge) if self.limit.get() == 1 => {
                    let since: &mut Duration = too_large_since.get_or_insert(exchange.received.monotonic);
                    if exchange.received.monotonic.saturating_sub(*since) > self.settings.overlap
                        && let Some(id) = self.unreadable_id(starting_after).await
                    {
                        self.limit.worked();
                        return Answer::Unreadable { id };
                    }
                }
                _ => {}
            }
            if self.requester.is_stuck(&error) {
                self.status.update(|view| view.catching_up = false);
            }
            let shrinks = error == ApiError::Decode(DecodeFault::TooLarge) && self.limit.get() > 1;
            self.limit.failed(&error);
            if shrinks {
                // The server is well, and a smaller page is another question: waiting longer each time would
                // take minutes to get down to one row.
                self.requester.wait_briefly().await;
            } else {
                self.requester.wait(&error).await;
            }
        }
    }

    fn fetch(&mut self, query: PageQuery) -> Fetching<R> {
        self.requester.begins();
        let source = self.source.clone();
        let (sender, last) = oneshot::channel();
        let clock = self.clock;
        let sent = clock();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let began = Instant::now();
            let peek = |row: R| {
                // Nobody may be listening.
                let _ = sender.send(row.id());
            };
            let answered = source.peeked_page(query, peek).await;
            let took = began.elapsed();
            let mut exchange = Exchange { sent, received: clock() };
            let mut server_time = None;
            let result = answered.and_then(|answered| {
                // A connection that was given up is replaced: the try that was answered counts.
                exchange.sent.monotonic += answered.sent.saturating_duration_since(began);
                server_time = answered.server_time;
                arrange(answered.value, query.limit)
            });
            Fetched { result, took, exchange, server_time }
        }));
        Fetching { query, last, task }
    }

    /// The id of the first row after `after`, whose answer is larger than the body cap: the lowest id
    /// after which there is something else to read. `None` if that cannot be found out now.
    async fn unreadable_id(&mut self, after: i64) -> Option<i64> {
        let (mut unreadable, mut step) = (after, 1_i64);
        let mut readable = loop {
            let next = unreadable.saturating_add(step);
            if self.is_readable_after(next).await? {
                break next;
            }
            unreadable = next;
            step = step.saturating_mul(2);
        };
        while readable.saturating_sub(unreadable) > 1 {
            let middle = unreadable + (readable - unreadable) / 2;
            if self.is_readable_after(middle).await? {
                readable = middle;
            } else {
                unreadable = middle;
            }
        }
        // Again: what was too large by accident is readable now.
        for _ in 0..UNREADABLE_AGAIN {
            if self.is_readable_after(unreadable).await? {
                return None;
            }
        }
        Some(readable)
    }

    /// Whether the row after an id can be read, or there is none; `None` if the answer tells neither.
    async fn is_readable_after(&mut self, id: i64) -> Option<bool> {
        let query = PageQuery::after(id, 1);
        let source = self.source.clone();
        match self.requester.once(source.page::<R>(query)).await {
            Ok(_) | Err(ApiError::BadRequest { status: None }) => Some(true),
            Err(ApiError::Decode(DecodeFault::TooLarge)) => Some(false),
            Err(_) => None,
        }
    }

    /// Makes sure, at once and then now and then, that the row at the cursor is still there: where it
    /// is not, and all that the log has lies below, nothing would ever count again.
    async fn check_cursor(&mut self, cursor: i64) {
        let now = self.now().monotonic;
        if cursor <= 0 || self.cursor_check.due.is_some_and(|due| now < due) {
            return;
        }
        let overlap = self.settings.overlap;
        let every =
            if overlap.is_zero() { CURSOR_CHECK_WITHOUT_OVERLAP } else { overlap * CURSOR_CHECK_OVERLAPS };
        let Some(newest) = self.newest_around(cursor).await else { return };
        self.cursor_check.due = Some(now + every);
        let replaced = newest.is_some_and(|newest| newest < cursor);
        if let Some(newest) = newest {
            self.status.update(|view| view.newest_id = Some(newest));
        }
        if !replaced {
            self.cursor_check.below_since = None;
            return;
        }
        // A replica that lags shows the same for a while.
        let since = *self.cursor_check.below_since.get_or_insert(now);
        if now.saturating_sub(since) < overlap {
            self.cursor_check.due = Some(since + overlap);
            return;
        }
        let due = self.cursor_check.warned.is_none_or(|at| now.saturating_sub(at) >= WARN_AGAIN);
        if due {
            self.cursor_check.warned = Some(now);
            let id = &self.settings.id;
            tracing::warn!(
                account = %id.account,
                log = %id.log,
                newest_id = newest,
                cursor,
                "the newest row of the log is below the last row counted: the log was replaced, or the token belongs to another account; nothing is counted until that is mended"
            );
        }
    }

    /// The newest id of a log that shows nothing after the cursor: the cursor, if its row is still
    /// there; `Some(None)` if the log is empty; `None` if that cannot be found out now.
    async fn newest_around(&mut self, cursor: i64) -> Option<Option<i64>> {
        let limit = Extent::Two.limit(R::LOG);
        let query = PageQuery::after(cursor - 1, limit);
        let source = self.source.clone();
        match self.requester.once(source.page::<R>(query)).await {
            Ok(answered) => {
                if let Some(id) = answered.value.rows.iter().map(Row::id).filter(|id| *id >= cursor).max() {
                    return Some(Some(id));
                }
            }
            Err(ApiError::BadRequest { status: None }) => {}
            Err(_) => return None,
        }
        origin::newest_id(&mut self.probe(false), R::LOG, 0).await.ok()
    }

    fn warn_malformed(&mut self, rows: u64) {
        let due = self.malformed_logged.is_none_or(|logged| logged.elapsed() >= MALFORMED_EVERY);
        if rows > 0 && due {
            self.malformed_logged = Some(Instant::now());
            let id = &self.settings.id;
            tracing::warn!(account = %id.account, log = %id.log, rows, "rows without an id cannot be counted");
        }
    }

    fn log_unreadable(&self, row: i64) {
        let id = &self.settings.id;
        tracing::error!(
            account = %id.account,
            log = %id.log,
            row,
            "a row is larger than the answers that are read, also alone; it is skipped and not counted"
        );
    }
}

fn log_progress(id: &LogId, poll: &Poll, checkpoint: &LogCheckpoint) {
    let reached = chrono::DateTime::from_timestamp(checkpoint.position.watermark(), 0);
    let reached = reached.map(|time| time.to_rfc3339()).unwrap_or_default();
    tracing::info!(account = %id.account, log = %id.log, rows = poll.added(), reached, "catching up");
}

/// False for a full page without any row that is further: to take it for the end would be to stand still in silence.
fn leads_on<R: CountedRow>(page: &Arranged<R>, after: i64) -> bool {
    !page.full || page.rows.last().is_some_and(|row| row.id() > after)
}

/// What came of asking for a page.
enum Answer<R> {
    Page {
        page: Arranged<R>,
        exchange: Exchange,
    },
    /// The API takes no such position.
    Refused,
    /// The row after the position is too large to be read.
    Unreadable {
        id: i64,
    },
}

/// Whether the row at the cursor is still there, and when to look again.
#[derive(Debug, Clone, Copy, Default)]
struct CursorCheck {
    due: Option<Duration>,
    /// Since when the newest id is known to be below the cursor.
    below_since: Option<Duration>,
    warned: Option<Duration>,
}

/// A page that was asked for. Given up when dropped.
struct Fetching<R> {
    query: PageQuery,
    /// What looks like the id of its last row, as soon as its bytes are there.
    last: oneshot::Receiver<i64>,
    task: AbortOnDropHandle<Fetched<R>>,
}

/// What came of it.
struct Fetched<R> {
    result: Result<Arranged<R>, ApiError>,
    took: Duration,
    exchange: Exchange,
    server_time: Option<i64>,
}

/// `--since` as it is kept, to see whether it changed.
fn since_text(since: Since) -> String {
    match since {
        Since::Now => "now".to_owned(),
        Since::All => "all".to_owned(),
        Since::Ago(ago) => humantime::format_duration(ago).to_string(),
        Since::At(at) => at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    }
}

#[cfg(test)]
mod tests;
