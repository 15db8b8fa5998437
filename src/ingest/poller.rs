//! One task per account and log: finds the origin, then makes pass after pass, until told to stop.
//!
//! Promises: it is the only place that retries; it never goes on from a position that is not kept; it ends by itself
//! only when the ledger is gone.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Since;
use crate::cryptolens::{ApiError, Counted, DecodeFault, PageQuery};
use crate::task::joined;

use super::arrange::{Arranged, arrange};
use super::batch::{LogCheckpoint, Origin};
use super::checkpoint::{CheckpointError, CheckpointStore, LogId, PendingCommit};
use super::origin::{self, Found, Head, Mark, Probe};
use super::pace::Pace;
use super::poll::{Poll, SessionState, TimestampPair};
use super::requester::Requester;
use super::source::Source;
use super::status::{ApiStatus, LastError, LogStatus};

/// Pages that may be handed over and not yet kept: those of one transaction, and as many for the next.
const MOST_IN_FLIGHT: usize = 40;

/// A log that was not read for longer than this, beside its interval, is far behind.
const FAR_BEHIND: Duration = Duration::from_secs(5 * 60);

/// For how long after a backlog it is still shown: whoever looks at rates would take it for traffic, and must have seen
/// it. Prometheus scrapes once a minute if it isn't told otherwise.
const SHOW_BEHIND: Duration = Duration::from_secs(60);

/// How often a long pass says where it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How often a malformed row is worth a line.
const MALFORMED_EVERY: Duration = Duration::from_secs(60);

/// What one poller is told.
#[derive(Debug, Clone)]
pub struct PollerSettings {
    /// Which log to read.
    pub id: LogId,
    /// From the start of one pass to the start of the next.
    pub interval: Duration,
    /// How far back each pass reads again.
    pub overlap: Duration,
    /// Where counting begins, if the ledger doesn't know yet.
    pub since: Since,
}

/// Why a poller stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It was told to.
    #[error("told to stop")]
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

/// Reads one log.
pub struct Poller<S, B, R> {
    settings: PollerSettings,
    source: S,
    book: B,
    status: Arc<LogStatus>,
    requester: Requester,
    cancel: CancellationToken,
    memory: SessionState,
    limit: Limit,
    /// Start of the last complete pass: in this process, or by the ledger when it ended.
    last_start: Option<i64>,
    /// On the monotonic clock; passes that begin before are shown as catching up.
    shown_behind_until: Duration,
    malformed_told: Option<Instant>,
    clock: fn() -> TimestampPair,
    rows: PhantomData<fn() -> R>,
}

impl<S: Source, B: CheckpointStore, R: Counted> Poller<S, B, R> {
    /// A poller that is ready to run. `status` and `api` are those of its log and account.
    pub fn new(
        settings: PollerSettings,
        source: S,
        book: B,
        status: Arc<LogStatus>,
        api: Arc<ApiStatus>,
        cancel: CancellationToken,
    ) -> Self {
        let account = Arc::clone(&settings.id.account);
        let requester =
            Requester::new(account, R::LOG.endpoint(), api, Some(Arc::clone(&status)), source.token());
        Poller {
            settings,
            source,
            book,
            status,
            requester,
            cancel,
            memory: SessionState::new(TimestampPair::now()),
            limit: Limit::new(R::LOG.max_limit()),
            last_start: None,
            shown_behind_until: Duration::ZERO,
            malformed_told: None,
            clock: TimestampPair::now,
            rows: PhantomData,
        }
    }

    /// Reads until told to stop, or until the ledger is gone.
    pub async fn run(mut self) -> Stopped {
        let cancel = self.cancel.clone();
        // Dropping the work at any await point is safe: what is kept is decided by the ledger alone.
        tokio::select! {
            () = cancel.cancelled() => Stopped::Cancelled,
            stopped = self.work() => stopped,
        }
    }

    async fn work(&mut self) -> Stopped {
        let mut pace = Pace::default();
        loop {
            match self.read(&mut pace).await {
                Interrupted::Stop(stopped) => return stopped,
                Interrupted::Reopen => {
                    self.status.update(|view| {
                        view.answered = true;
                        view.current_error = Some(LastError::Ledger);
                    });
                    tokio::time::sleep(pace.backoff()).await;
                }
            }
        }
    }

    /// Opens the log, and reads it pass by pass until interrupted.
    async fn read(&mut self, pace: &mut Pace) -> Interrupted {
        let mut opened = match self.open().await {
            Ok(opened) => opened,
            Err(interrupted) => return interrupted,
        };
        loop {
            match self.pass(&mut opened).await {
                Ok(began) => {
                    pace.reset();
                    let took = (self.clock)().monotonic.saturating_sub(began.monotonic);
                    tokio::time::sleep(self.settings.interval.saturating_sub(took)).await;
                }
                Err(interrupted) => return interrupted,
            }
        }
    }

    async fn open(&mut self) -> Result<LogCheckpoint, Interrupted> {
        // What was met since the last commit may not have been kept.
        self.memory = SessionState::new((self.clock)());
        let since = since_text(self.settings.since);
        let id = &self.settings.id;
        let opened = match self.book.open(id).await? {
            Some(opened) => {
                if opened.origin.since != since {
                    tracing::warn!(
                        account = %id.account,
                        log = %id.log,
                        kept = opened.origin.since,
                        given = since,
                        "--since differs from where counting began, and changes nothing; to start over, stop the exporter and delete the ledger"
                    );
                }
                opened
            }
            None => self.begin(since).await?,
        };
        self.last_start = self.last_start.or(opened.last_poll);
        self.status.update(|view| view.last_poll = view.last_poll.or(opened.last_poll));
        Ok(opened)
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
                let mut probe = ProbeLog::<S, R> {
                    source: &self.source,
                    requester: &mut self.requester,
                    rows: PhantomData,
                };
                let id = match origin::find(&mut probe, R::LOG, mark).await {
                    Ok(id) => id,
                    Err(never) => match never {},
                };
                Origin { id, mark: seconds.max(0), since }
            }
        };
        let id = &self.settings.id;
        tracing::info!(account = %id.account, log = %id.log, since = origin.since, origin = origin.id, "counting begins");
        Ok(self.book.begin(id, origin).await?)
    }

    /// One pass. Tells when it began.
    async fn pass(&mut self, opened: &mut LogCheckpoint) -> Result<TimestampPair, Interrupted> {
        let first = !opened.first_poll_complete;
        let mut under_way: Option<Poll> = None;
        let mut behind = first;
        let mut in_flight: VecDeque<PendingCommit> = VecDeque::new();
        let mut told = Instant::now();
        let mut ahead = None;
        let mut full = false;
        let pass = loop {
            let after = under_way.as_ref().map_or(opened.position.floor(), Poll::asks_after);
            let (page, sent, arrived) = self.page(after, full, &mut ahead).await;
            // It begins with the request that is answered: what failed before saw nothing, however long that took.
            let pass = under_way
                .get_or_insert_with(|| Poll::begin(&opened.position, self.settings.overlap, first, sent));
            full = page.full;
            let step = pass.take(&mut opened.position, &mut self.memory, page, arrived);
            self.tell_malformed(step.malformed);
            behind |= self.is_far_behind(arrived);
            if behind && pass.added() > 0 {
                // Known only once a row is there: a quiet log is never behind, however long nobody looked.
                self.status.update(|view| view.catching_up = true);
            }
            if let Some(record) = step.record {
                while let Some(outcome) = in_flight.front_mut().and_then(PendingCommit::outcome) {
                    in_flight.pop_front();
                    outcome?;
                }
                if in_flight.len() >= MOST_IN_FLIGHT
                    && let Some(oldest) = in_flight.pop_front()
                {
                    oldest.done().await?;
                }
                in_flight.push_back(self.book.submit(&self.settings.id, opened.epoch, record).await?);
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tell_progress(&self.settings.id, pass, opened);
            }
            if step.complete {
                break pass;
            }
        };
        for commit in in_flight {
            commit.done().await?;
        }
        let (began, end) = (pass.began(), (self.clock)());
        opened.first_poll_complete = true;
        self.last_start = Some(began.unix);
        // The first pass ever is one starting value, and no rate sees it.
        let was_behind = behind && !first && pass.added() > 0;
        if was_behind {
            self.shown_behind_until = end.monotonic + SHOW_BEHIND;
        }
        self.status.update(|view| {
            view.last_poll = Some(end.unix);
            view.catching_up = began.monotonic < self.shown_behind_until;
            view.current_error = None;
        });
        let id = &self.settings.id;
        let (rows, cursor, seconds) = (pass.added(), opened.position.cursor(), end.unix - began.unix);
        if first || was_behind {
            tracing::info!(account = %id.account, log = %id.log, rows, cursor, seconds, "caught up");
        } else {
            tracing::debug!(account = %id.account, log = %id.log, rows, cursor, seconds, "pass complete");
        }
        Ok(began)
    }

    /// True if nobody looked for so long that what is read now is no picture of now.
    fn is_far_behind(&self, now: TimestampPair) -> bool {
        let far = i64::try_from((FAR_BEHIND + self.settings.interval).as_secs()).unwrap_or(i64::MAX);
        self.last_start.is_none_or(|last| now.unix.saturating_sub(last) > far)
    }

    /// The page after an id, however often it must be asked for, with the moments when it was asked for and arrived. Where
    /// the page before was full, the next one is asked for while this one is read: it is what `ahead` holds afterwards.
    async fn page(
        &mut self,
        after: i64,
        full_before: bool,
        ahead: &mut Option<Fetching<R>>,
    ) -> (Arranged<R>, TimestampPair, TimestampPair) {
        let mut starting_after = after;
        loop {
            let query = PageQuery { starting_after, limit: self.limit.get(), newest_first: false };
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
            let Fetched { result, took, sent, arrived } = joined(fetching.task).await;
            let result = result.and_then(|page| match leads_on(&page, starting_after) {
                false if self.limit.is_most() => Err(ApiError::Decode(DecodeFault::Stuck)),
                _ => Ok(page),
            });
            self.requester.ended(took, result.as_ref().err());
            match result {
                Ok(page) => {
                    self.limit.worked();
                    return (page, sent, arrived);
                }
                Err(error) => {
                    *ahead = None;
                    if after == 0 && error == ApiError::Decode(DecodeFault::Order) {
                        // Without a cursor the order may be another; no row has an id below 1.
                        starting_after = 1;
                    }
                    self.limit.failed(&error);
                    self.requester.wait(&error).await;
                }
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
            let result = source.peeked_page(query, peek).await.and_then(|page| arrange(page, query.limit));
            Fetched { result, took: began.elapsed(), sent, arrived: clock() }
        }));
        Fetching { query, last, task }
    }

    fn tell_malformed(&mut self, rows: u64) {
        let due = self.malformed_told.is_none_or(|told| told.elapsed() >= MALFORMED_EVERY);
        if rows > 0 && due {
            self.malformed_told = Some(Instant::now());
            let id = &self.settings.id;
            tracing::warn!(account = %id.account, log = %id.log, rows, "rows without an id cannot be counted");
        }
    }
}

fn tell_progress(id: &LogId, pass: &Poll, opened: &LogCheckpoint) {
    let reached = chrono::DateTime::from_timestamp(opened.position.newest_clock(), 0);
    let reached = reached.map(|time| time.to_rfc3339()).unwrap_or_default();
    tracing::info!(account = %id.account, log = %id.log, rows = pass.added(), reached, "catching up");
}

/// False for a full page without any row that is further: to take it for the end would be to stand still in silence.
fn leads_on<R: Counted>(page: &Arranged<R>, after: i64) -> bool {
    !page.full || page.rows.last().is_some_and(|row| row.id() > after)
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
    sent: TimestampPair,
    arrived: TimestampPair,
}

/// How many rows to ask for: halved when the same position fails twice in a way that a smaller page may not.
#[derive(Debug, Clone, Copy)]
struct Limit {
    most: u16,
    now: u16,
    failures: u32,
}

impl Limit {
    fn new(most: u16) -> Limit {
        Limit { most, now: most, failures: 0 }
    }

    fn get(self) -> u16 {
        self.now
    }

    fn is_most(self) -> bool {
        self.now == self.most
    }

    fn worked(&mut self) {
        self.failures = 0;
        self.now = self.now.saturating_mul(2).min(self.most);
    }

    fn failed(&mut self, error: &ApiError) {
        if error.may_be_size() {
            self.failures += 1;
        }
        if self.failures >= 2 {
            self.failures = 0;
            self.now = (self.now / 2).max(1);
        }
    }
}

/// The origin search's questions, asked of the real log.
struct ProbeLog<'a, S, R> {
    source: &'a S,
    requester: &'a mut Requester,
    rows: PhantomData<fn() -> R>,
}

/// Two rows, so that an answer that descends can be told from one that ascends.
const PROBE_LIMIT: u16 = 2;

impl<S: Source, R: Counted> ProbeLog<'_, S, R> {
    async fn ask(&mut self, mut query: PageQuery) -> Found {
        let refusable = query.starting_after > 0 && !query.newest_first;
        loop {
            let source = self.source.clone();
            let request = async {
                let page = source.page::<R>(query).await?;
                let rows: Vec<R> = page.rows;
                let descends = rows.is_sorted_by(|one, next| one.id() > next.id()) && rows.len() > 1;
                if descends && !query.newest_first {
                    return Err(ApiError::Decode(DecodeFault::Order));
                }
                Ok(rows)
            };
            match self.requester.once(request).await {
                Ok(rows) => {
                    let mut rows = rows.into_iter().filter(|row| row.id() > query.starting_after);
                    let Some(first) = rows.next() else { return Found::Nothing };
                    let time = first.time().or_else(|| rows.next().and_then(|next| next.time()));
                    return Found::Row(Head { id: first.id(), time });
                }
                Err(ApiError::BadRequest { status: None }) if refusable => return Found::Refused,
                Err(ApiError::Decode(DecodeFault::Order)) if query.starting_after == 0 => {
                    query.starting_after = 1
                }
                Err(error) => self.requester.wait(&error).await,
            }
        }
    }
}

impl<S: Source, R: Counted> Probe for ProbeLog<'_, S, R> {
    type Error = std::convert::Infallible;

    async fn first_after(&mut self, after: i64) -> Result<Found, Self::Error> {
        Ok(self.ask(PageQuery { starting_after: after, limit: PROBE_LIMIT, newest_first: false }).await)
    }

    async fn newest(&mut self) -> Result<Found, Self::Error> {
        Ok(self.ask(PageQuery { starting_after: 0, limit: 1, newest_first: true }).await)
    }
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
