//! One task per account and log: it finds the origin, then polls until it is stopped.
//!
//! Promises: it tries for ever; it never continues from a position that is not kept; it ends by
//! itself only when the ledger is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::{CheckpointError, CheckpointStore, LogId, PendingCommit};
use super::poll::{PageOrigin, Poll, PollStep, SessionState};
use super::requester::Requester;
use super::seats::SeatKeeper;
use super::since::Since;
use super::source::Source;
use super::status::{ApiStatus, LastError, LogStatus};
use super::update::{LogCheckpoint, Origin};
use crate::backoff::{Backoff, Waits};
use crate::cryptolens::{ApiError, Concurrency, CountedRow, DecodeFault, LogVisitor, PageQuery, Row, Rows};
use crate::reader::origin::{self, Extent, Mark};
use crate::reader::{Direction, Disorder, Limit, LogProbe, LogReader, ReadAhead, ReadPage, TimestampPair};

/// Pages that may be handed over and not yet kept: those of one transaction, and as many for the
/// next.
const MOST_PENDING: usize = 40;

/// A log that was not read for longer than this, beside its interval, is far behind, and rows that
/// are older are its backlog.
const FAR_BEHIND_SECONDS: i64 = 5 * 60;

/// A backlog is still shown as one for this long after it was counted: otherwise a rate would take
/// it for traffic. Prometheus scrapes once a minute if nothing else is configured.
const SHOW_BEHIND: Duration = Duration::from_secs(60);

/// The interval at which a long poll logs its progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// The shortest interval between two log lines about malformed rows.
const MALFORMED_EVERY: Duration = Duration::from_secs(60);

/// The row at the cursor is asked for again after this many overlaps ...
const CURSOR_CHECK_OVERLAPS: u32 = 5;

/// ... or, where there is no overlap, after this long.
const CURSOR_CHECK_WITHOUT_OVERLAP: Duration = Duration::from_secs(60);

/// A log that was replaced is logged again after this long.
const WARN_AGAIN: Duration = Duration::from_secs(3600);

/// A row must still be too large in this many more tries before it is given up.
const UNREADABLE_AGAIN: u32 = 3;

/// The settings of one poller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollerSettings {
    /// Which log to read.
    pub id: LogId,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// How long after the first row with a higher id a row may become visible and still be counted.
    pub overlap: Duration,
    /// Where counting begins, if the ledger does not know yet.
    pub since: Since,
    /// The most requests under way while the log is far behind.
    pub concurrency: Concurrency,
}

/// Why a poller stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The process or a reload stops it.
    #[error("stopped")]
    Cancelled,
    /// The ledger has ended, so nothing can be counted.
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

/// Reads the log that the settings name, until it is stopped or the ledger is gone. `status` and
/// `api` are those of the log and its account; `seats` follows its floating seats.
pub fn follow_log<S: Source, B: CheckpointStore>(
    settings: PollerSettings,
    source: S,
    store: B,
    status: Arc<LogStatus>,
    api: Arc<ApiStatus>,
    seats: Option<Arc<dyn SeatKeeper>>,
    cancel: CancellationToken,
) -> BoxFuture<'static, Stopped> {
    settings.id.log.visit(FollowLog { settings, source, store, status, api, seats, cancel })
}

/// The arguments of [`follow_log`].
struct FollowLog<S, B> {
    settings: PollerSettings,
    source: S,
    store: B,
    status: Arc<LogStatus>,
    api: Arc<ApiStatus>,
    seats: Option<Arc<dyn SeatKeeper>>,
    cancel: CancellationToken,
}

impl<S: Source, B: CheckpointStore> LogVisitor for FollowLog<S, B> {
    type Output = BoxFuture<'static, Stopped>;

    fn visit<R: CountedRow>(self) -> Self::Output {
        let FollowLog { settings, source, store, status, api, seats, cancel } = self;
        let poller = Poller::<S, B, R>::new(settings, source, store, status, api, cancel);
        Poller { seats, ..poller }.run().boxed()
    }
}

/// Reads one log.
pub struct Poller<S, B, R> {
    settings: PollerSettings,
    reader: LogReader<S, R, Requester>,
    store: B,
    status: Arc<LogStatus>,
    /// Who wants the rows about floating seats.
    seats: Option<Arc<dyn SeatKeeper>>,
    cancel: CancellationToken,
    session: SessionState,
    cursor_check: CursorCheck,
    /// Start of the last complete poll: in this process, or by the ledger when it ended.
    last_start: Option<i64>,
    /// On the monotonic clock; polls that begin before are shown as catching up.
    shown_behind_until: Duration,
    malformed_logged: Option<Instant>,
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
        let limit = Limit::new(R::LOG.max_limit());
        let reader = LogReader::new(source, requester, Direction::OldestFirst, Disorder::SortShort, limit)
            .with_concurrency(settings.concurrency);
        let session = SessionState::new(settings.overlap, TimestampPair::now().monotonic);
        Poller {
            settings,
            reader,
            store,
            status,
            seats: None,
            cancel,
            session,
            cursor_check: CursorCheck::default(),
            last_start: None,
            shown_behind_until: Duration::ZERO,
            malformed_logged: None,
        }
    }

    /// The same poller on the clock of a simulation, with pages of at most `limit` rows, and
    /// perhaps with a wrong rule.
    #[cfg(test)]
    pub(crate) fn simulated(
        mut self,
        clock: fn() -> TimestampPair,
        limit: u16,
        flaw: Option<super::flaw::Flaw>,
    ) -> Self {
        self.reader = self.reader.simulated(clock, limit);
        self.session = SessionState::new(self.settings.overlap, clock().monotonic);
        self.session.flaw = flaw;
        self
    }

    /// Reads until it is stopped, or until the ledger is gone.
    pub async fn run(mut self) -> Stopped {
        let cancel = self.cancel.clone();
        // Dropping the work at any await point is safe: only the ledger decides which rows are
        // kept.
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
                    let took = self.reader.now().monotonic.saturating_sub(began.monotonic);
                    let pause = tokio::time::sleep(self.settings.interval.saturating_sub(took));
                    tokio::select! {
                        biased;
                        () = pause => {}
                        // The kept counts are gone. A quiet log would notice only with its next
                        // row.
                        Ok(()) = generation.changed() => return Interrupted::Reopen,
                    }
                }
                Err(interrupted) => return interrupted,
            }
        }
    }

    async fn open(&mut self) -> Result<LogCheckpoint, Interrupted> {
        let since = self.settings.since.to_string();
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
        let now = self.reader.now().monotonic;
        self.session.resume(&checkpoint.position, checkpoint.without_id.clone(), now);
        self.session.sealed_until(checkpoint.sealed_until);
        self.cursor_check = CursorCheck::default();
        self.last_start = self.last_start.or(checkpoint.last_poll);
        self.status.update(|view| view.last_poll = view.last_poll.or(checkpoint.last_poll));
        Ok(checkpoint)
    }

    /// Finds out where counting begins, and stores that before the first row is counted.
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

    /// Questions beside the polls; patient ones are asked until they are answered.
    fn probe(&mut self, patient: bool) -> LogProbe<'_, S, R, Requester> {
        LogProbe { reader: &mut self.reader, patient, empty_wait: Some(self.settings.overlap) }
    }

    /// The newest id above the cursor, and when that was known; `None` if that cannot be found out
    /// now.
    async fn newest_id(&mut self, cursor: i64) -> Option<(i64, Duration)> {
        let newest = origin::newest_id(&mut self.probe(false), R::LOG, cursor).await.ok()??;
        Some((newest, self.reader.now().monotonic))
    }

    /// One poll. Returns when it began.
    async fn poll(&mut self, checkpoint: &mut LogCheckpoint) -> Result<TimestampPair, Interrupted> {
        let first = !checkpoint.first_poll_complete;
        // A page that was asked for on a guess does not outlive its poll, also an interrupted one.
        self.reader.forget_ahead();
        let mut poll = Poll::begin(&checkpoint.position, self.reader.limit().most(), first);
        let mut behind = first;
        let mut shown_behind = false;
        let mut pending: VecDeque<PendingCommit> = VecDeque::new();
        let mut reported = Instant::now();
        let mut full = false;
        let (began, nothing_new) = loop {
            let now = self.now().monotonic;
            let after = poll.asks_after(&mut checkpoint.position, &mut self.session, now);
            let ahead = match full {
                _ if self.settings.concurrency != Concurrency::ONE
                    && poll.is_far_behind(&self.session, now) =>
                {
                    ReadAhead::Guesses { until: None }
                }
                true => ReadAhead::NextPage,
                false => ReadAhead::Nothing,
            };
            let page = self.page(after, ahead).await;
            self.note_shown(&mut poll);
            let (step, received) = match page {
                NextPage::Read(ReadPage { batch, exchange, asked, is_guess }) => {
                    full = batch.full || is_guess;
                    #[cfg(test)]
                    let exchange = self.session.seen_by_flaw(exchange, is_guess, self.reader.now());
                    let origin = PageOrigin { asked: if is_guess { asked } else { after }, is_guess };
                    let position = &mut checkpoint.position;
                    (poll.take_page(position, &mut self.session, origin, batch, exchange), exchange.received)
                }
                NextPage::Refused => {
                    self.session.refuse(after);
                    continue;
                }
                NextPage::Unreadable { id } => {
                    let now = self.now();
                    self.log_unreadable(id);
                    let position = &mut checkpoint.position;
                    let update = poll.skip_unreadable::<R>(position, &mut self.session, id, now);
                    (PollStep { update, ..PollStep::default() }, now)
                }
            };
            self.warn_malformed(step.malformed);
            let began = poll.began().unwrap_or(received);
            behind |= self.reads_a_backlog(began);
            // Only while old rows are counted: a quiet log is never behind, however long it was not
            // read, and rows of the last minutes are no backlog.
            let is_old = received.unix.saturating_sub(checkpoint.position.watermark()) > FAR_BEHIND_SECONDS;
            if behind && is_old && step.update.as_ref().is_some_and(|update| !update.rows.is_empty()) {
                shown_behind = true;
                self.status.update(|view| view.catching_up = true);
            }
            if let Some(update) = step.update {
                if let (Some(seats), Rows::WebApi(rows)) = (&self.seats, &update.rows) {
                    seats.rows(rows, began.unix);
                }
                if let Some(failure) = update.newest_failure() {
                    // Pages of a backlog may come in any order.
                    self.status.update(|view| view.newest_failure = view.newest_failure.max(Some(failure)));
                }
                while let Some(outcome) = pending.front_mut().and_then(PendingCommit::outcome) {
                    pending.pop_front();
                    outcome?;
                }
                if pending.len() >= MOST_PENDING
                    && let Some(oldest) = pending.pop_front()
                {
                    oldest.done().await?;
                }
                pending.push_back(self.store.submit(&self.settings.id, checkpoint.epoch, update).await?);
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
        self.reader.forget_ahead();
        for commit in pending {
            commit.done().await?;
        }
        let end = self.now();
        checkpoint.first_poll_complete = true;
        self.last_start = Some(began.unix);
        if let Some(seats) = &self.seats {
            seats.poll_complete(began.unix);
        }
        // The first poll ever is one starting value, and no rate sees it.
        if shown_behind && !first {
            self.shown_behind_until = end.monotonic + SHOW_BEHIND;
        }
        let cursor = checkpoint.position.cursor();
        self.status.update(|view| {
            view.last_poll = Some(end.unix);
            view.catching_up = began.monotonic < self.shown_behind_until;
            view.current_error = None;
            // An empty answer shows no id: the newest id of a log that was replaced stays.
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
            // The log grows; the next check of the cursor stays due when it was.
            self.cursor_check = CursorCheck { due: self.cursor_check.due, ..CursorCheck::default() };
        }
        Ok(began)
    }

    /// Now, by the server's clock as far as it is known.
    fn now(&self) -> TimestampPair {
        self.reader.now()
    }

    /// True if the log was not read for so long that the rows that come now are not recent.
    fn reads_a_backlog(&self, now: TimestampPair) -> bool {
        let interval = i64::try_from(self.settings.interval.as_secs()).unwrap_or(i64::MAX);
        let far = FAR_BEHIND_SECONDS.saturating_add(interval);
        self.last_start.is_none_or(|last| now.unix.saturating_sub(last) > far)
    }

    /// Records the ids that answers showed beside the pages of the poll.
    fn note_shown(&mut self, poll: &mut Poll) {
        let shown = self.reader.take_shown();
        if let Some((id, received)) = shown.highest {
            self.session.saw(id, received);
        }
        if let Some((id, received)) = shown.newest {
            poll.newest(&mut self.session, id, received);
        }
    }

    /// The page after an id, however often it must be asked for.
    async fn page(&mut self, after: i64, ahead: ReadAhead) -> NextPage<R> {
        let mut position = after;
        let mut too_large_since = None;
        let mut refused = 0_u32;
        loop {
            let error = match self.reader.try_page(position, ahead).await {
                Ok(page) => return NextPage::Read(page),
                Err(error) => error,
            };
            match error {
                // The id may be gone. One more try: a server may refuse an id that it accepts a
                // moment later.
                ApiError::BadRequest { status: None } if after > 0 => {
                    refused += 1;
                    if refused >= 2 {
                        return NextPage::Refused;
                    }
                }
                // Without a position the order may be another one. No row has an id below 1.
                ApiError::Decode(DecodeFault::Order) if after == 0 => position = 1,
                // Only complete answers show that it is the row which is too large, and only time
                // tells it from a server that fails in a strange way.
                ApiError::Decode(DecodeFault::TooLarge) if self.reader.limit().get() == 1 => {
                    let now = self.reader.now().monotonic;
                    let since: &mut Duration = too_large_since.get_or_insert(now);
                    if now.saturating_sub(*since) > self.settings.overlap
                        && let Some(id) = self.unreadable_id(position).await
                    {
                        self.reader.skipped_a_row();
                        return NextPage::Unreadable { id };
                    }
                }
                _ => {}
            }
            if self.reader.policy().is_stuck(&error) {
                self.status.update(|view| view.catching_up = false);
            }
            // The policy of a poller never gives up.
            let _ = self.reader.recover(error).await;
        }
    }

    /// The id of the first row after `after`, whose answer is larger than the body cap: the lowest
    /// id after which there is something else to read. `None` if that cannot be found out now.
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
        // Several tries: a row that was too large by accident can be read now.
        for _ in 0..UNREADABLE_AGAIN {
            if self.is_readable_after(unreadable).await? {
                return None;
            }
        }
        Some(readable)
    }

    /// Whether the row after an id can be read, or there is none; `None` if the answer tells
    /// neither.
    async fn is_readable_after(&mut self, id: i64) -> Option<bool> {
        match self.reader.ask(PageQuery::after(id, 1), |_| Ok(())).await {
            Ok(_) | Err(ApiError::BadRequest { status: None }) => Some(true),
            Err(ApiError::Decode(DecodeFault::TooLarge)) => Some(false),
            Err(_) => None,
        }
    }

    /// Makes sure, at once and then now and then, that the row at the cursor is still there: where
    /// it is not, and all that the log has lies below, nothing would ever count again.
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
                "the newest row of the log is below the last row counted: the log was replaced, or the token belongs to another account; nothing is counted until that is corrected"
            );
        }
    }

    /// The newest id of a log that shows nothing after the cursor: the cursor, if its row is still
    /// there; `Some(None)` if the log is empty; `None` if that cannot be found out now.
    async fn newest_around(&mut self, cursor: i64) -> Option<Option<i64>> {
        let limit = Extent::Two.limit(R::LOG);
        let query = PageQuery::after(cursor - 1, limit);
        match self.reader.ask(query, |_| Ok(())).await {
            Ok(page) => {
                if let Some(id) = page.rows.iter().map(Row::id).filter(|id| *id >= cursor).max() {
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

/// The result of asking for a page.
enum NextPage<R> {
    Read(ReadPage<R>),
    /// The API refuses the position.
    Refused,
    /// The row after the position is too large to be read.
    Unreadable {
        id: i64,
    },
}

/// The state of the check that the row at the cursor is still there.
#[derive(Debug, Clone, Copy, Default)]
struct CursorCheck {
    due: Option<Duration>,
    /// Since when the newest id is known to be below the cursor.
    below_since: Option<Duration>,
    warned: Option<Duration>,
}

#[cfg(test)]
mod tests;
