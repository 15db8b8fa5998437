//! The one thread that writes. Pollers hand it steps; it counts them, commits them together, and
//! only then publishes what they came to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::cryptolens::{LogKind, Product, WebApiRow};
use crate::history::{HistoryOptions, OutboxPosition, SampleCounts};
use crate::ingest::{CheckpointError, LogCheckpoint, LogId, LogUpdate, NEVER, Origin};
use crate::metrics::BirthTime;
use crate::tally::{Limits, RowCounter, RowObserver, TallyDelta};
use crate::usage::UsageOptions;

use super::births;
use super::days::{self, DayChanges};
use super::digest::Digest;
use super::error::StoreError;
use super::foreign::ForeignLedger;
use super::history::{self, HistoryStore, HistoryWrite};
use super::schema::{self, Claim, Files, Identity, MIGRATIONS, OWNER, OpenError, Opened, Opening};
use super::store::{self, AccountState, Accounts, Configured, Edit, LedgerSink, LogChange};
use super::usage::{self, UsageStore, UsageWrite};
use super::{Committed, FreshSettings, LedgerEnd, Shared};

/// Most pages of one transaction.
const BATCH_PAGES: usize = 20;
/// No page is taken into a transaction that is gathered for longer than this.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// How often to look for the page that is to follow.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// Nobody's request makes the thread look at a broken disk more often than this.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How often to see that the files in the directory are those that were opened.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// The positions of targets are written after this long if no rows are; a process that is killed
/// sends the same samples again, which changes nothing.
const SAVE_WITHIN: Duration = Duration::from_secs(1);
/// The server's clock and the local one are the same if they differ by no more than this.
const CLOCK_TOLERANCE_SECONDS: i64 = 120;
/// The interval at which an outage is logged again.
const LOG_AGAIN: Duration = Duration::from_secs(600);

pub(super) type Reply<T> = oneshot::Sender<Result<T, CheckpointError>>;

pub(super) enum Request {
    Open {
        log: LogId,
        reply: Reply<Option<LogCheckpoint>>,
    },
    Begin {
        log: LogId,
        origin: Origin,
        reply: Reply<LogCheckpoint>,
    },
    Page(PageRequest),
    Products {
        account: Arc<str>,
        products: Vec<Product>,
        reply: Reply<()>,
    },
    /// Takes the settings that were left, and says whether the ledger could be read with them.
    Configure {
        reply: Reply<()>,
    },
    /// Rows that were counted before, for the sets of usage alone.
    EarlierRows {
        account: Arc<str>,
        rows: Vec<WebApiRow>,
        /// When they were read, and since when no row is missing.
        times: (i64, Option<i64>),
        reply: Reply<()>,
    },
    OldestChunks {
        target: Arc<str>,
        at_most: u64,
        reply: Reply<Vec<OutboxChunk>>,
    },
    Acknowledge {
        target: Arc<str>,
        until: OutboxPosition,
        counts: SampleCounts,
        reply: Reply<()>,
    },
}

/// A chunk of the outbox as it is kept.
#[derive(Debug)]
pub(super) struct OutboxChunk {
    /// Whose samples they are.
    pub(super) account: Arc<str>,
    /// The first sample that the target does not have.
    pub(super) position: OutboxPosition,
    /// Packed.
    pub(super) data: Vec<u8>,
}

pub(super) struct PageRequest {
    pub(super) log: LogId,
    pub(super) epoch: u64,
    pub(super) record: LogUpdate,
    pub(super) reply: Reply<()>,
}

/// The moments of a commit, for tests that fail or abort there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum CommitStep {
    BeforeCommit,
    AfterCommit,
    BeforePublish,
    AfterPublish,
}

/// Looks on; a test's way to make things fail.
pub(super) trait Observer: Send + 'static {
    fn opened(&self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn at(&self, _: CommitStep) -> rusqlite::Result<()> {
        Ok(())
    }

    /// Local time.
    fn now(&self) -> BirthTime {
        BirthTime::at_millis(chrono::Utc::now().timestamp_millis())
    }
}

pub(super) struct Nobody;

impl Observer for Nobody {}

pub(super) struct Writer<O> {
    pub(super) files: Files,
    claim: Claim,
    pub(super) limits: Limits,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) shared: Arc<Shared>,
    pub(super) observer: O,
    configured: Configured,
    history: Option<HistoryOptions>,
    /// As at the start: a change needs a restart.
    usage: Option<UsageOptions>,
    /// When a target took samples that the file does not know of.
    unsaved_since: Option<Instant>,
    lock: Option<File>,
    store: Option<Opened>,
    /// The files that were opened last, if they are still to be used.
    identity: Option<Identity>,
    checked: Instant,
    /// True while the ledger is gone from its directory and could not be written again; it was
    /// counted as a reset.
    gone: bool,
    moved_to: PathBuf,
    /// The least number of resets, from the first of this process on.
    resets: u64,
    /// Why the file must be moved aside before it is opened again.
    corrupt: Option<String>,
    /// True from a write that failed to the next one of its kind that succeeds: opening alone
    /// proves nothing, as a disk that is nearly full still has room for a number.
    unproven: bool,
    /// The number that updates of a log must carry to be accepted. Each opening and each failure
    /// changes it.
    epochs: BTreeMap<LogId, u64>,
    next_epoch: u64,
    tried: Option<Instant>,
    logged_at: Option<Instant>,
}

impl<O: Observer> Writer<O> {
    pub(super) fn new(
        files: Files,
        claim: Claim,
        limits: Limits,
        (configured, history, usage): (Configured, Option<HistoryOptions>, Option<UsageOptions>),
        requests: mpsc::Receiver<Request>,
        shared: Arc<Shared>,
        observer: O,
    ) -> Self {
        Writer {
            files,
            claim,
            limits,
            requests,
            shared,
            observer,
            configured,
            history,
            usage,
            unsaved_since: None,
            lock: None,
            store: None,
            identity: None,
            checked: Instant::now(),
            gone: false,
            moved_to: PathBuf::new(),
            resets: 0,
            corrupt: None,
            unproven: false,
            epochs: BTreeMap::new(),
            next_epoch: 1,
            tried: None,
            logged_at: None,
        }
    }

    /// Opens the ledger for the first time.
    ///
    /// # Errors
    /// A reason that waiting does not remove: another process, a newer schema, a ledger that belongs to
    /// another address or has the hashes of another secret.
    pub(super) fn first_open(&mut self) -> Result<(), OpenError> {
        self.tried = Some(Instant::now());
        match self.open() {
            Ok(()) => Ok(()),
            Err(
                error @ (OpenError::Locked { .. }
                | OpenError::Newer { .. }
                | OpenError::Foreign { .. }
                | OpenError::Secret { .. }),
            ) => Err(error),
            Err(error) => {
                self.failed(&error.to_string());
                Ok(())
            }
        }
    }

    /// Serves until the last handle is gone, or the ledger is somebody else's.
    pub(super) fn run(mut self) {
        // For waiting until the next request or the next look at the files, and nothing else.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "cannot start the runtime of the ledger"),
        };
        while self.shared.ended().is_none() {
            let mut wait = CHECK_EVERY.saturating_sub(self.checked.elapsed());
            if let Some(since) = self.unsaved_since {
                wait = wait.min(SAVE_WITHIN.saturating_sub(since.elapsed()));
            }
            let first = runtime.block_on(async { tokio::time::timeout(wait, self.requests.recv()).await });
            match first {
                Ok(Some(first)) => self.serve(first),
                Ok(None) => {
                    self.save_deliveries();
                    self.check_files();
                    return;
                }
                Err(_) => {}
            }
            if self.unsaved_since.is_some_and(|since| since.elapsed() >= SAVE_WITHIN) {
                self.save_deliveries();
            }
            self.take_settings();
            if self.checked.elapsed() >= CHECK_EVERY {
                self.check_files();
            }
        }
    }

    pub(super) fn serve(&mut self, first: Request) {
        self.take_settings();
        let (pages, others) = self.gather(first);
        if !pages.is_empty() {
            self.pages(pages);
        }
        others.into_iter().for_each(|other| self.serve_other(other));
    }

    fn serve_other(&mut self, request: Request) {
        match request {
            Request::Open { log, reply } => answer(reply, self.open_log(&log)),
            Request::Begin { log, origin, reply } => answer(reply, self.begin(&log, &origin)),
            Request::Products { account, products, reply } => {
                answer(reply, self.products(&account, products));
            }
            Request::Configure { reply } => {
                self.take_settings();
                answer(reply, self.store().map(|_| ()));
            }
            Request::EarlierRows { account, rows, times, reply } => {
                answer(reply, self.earlier_rows(&account, &rows, times));
            }
            Request::OldestChunks { target, at_most, reply } => {
                answer(reply, self.oldest_chunks(&target, at_most));
            }
            Request::Acknowledge { target, until, counts, reply } => {
                answer(reply, self.acknowledge(&target, until, &counts));
            }
            // Pages are gathered, never among the others.
            Request::Page(_) => {}
        }
    }

    /// Sees that the files in the directory are still those that were opened, and that nobody else
    /// has written them.
    fn check_files(&mut self) {
        self.checked = Instant::now();
        let Some(opened) = self.identity else { return };
        match self.files.identity() {
            Ok(there) if there.database != opened.database => return self.replaced(),
            Ok(there) if opened.log.is_none() || there.log == opened.log => {}
            Ok(_) => self.write_again("the write-ahead log of the ledger was deleted"),
            Err(error) if is_gone(&error) => self.write_again("the ledger was deleted"),
            // A disk that does not answer says nothing about the file.
            Err(_) => return,
        }
        let is_locked = self.lock.as_ref().is_some_and(|lock| self.files.is_lock(lock));
        if !is_locked && let Ok(lock) = self.files.take_lock() {
            self.lock = Some(lock);
            tracing::warn!(ledger = %self.path().display(), "the lock of the ledger was deleted, and was made again");
        }
        let checked = self.try_transact(TransactionBehavior::Deferred, |_| Ok(()));
        if let Err(error @ (StoreError::TakenOver | StoreError::Damaged(_))) = checked {
            // Whatever else goes wrong here goes wrong at the next write, too.
            self.broken(&error);
        }
        self.expire_usage(usage::UNREAD_FOR);
        self.wipe_log();
        // Pollers of quiet logs ask for nothing, and would wait for ever for a ledger that begins anew.
        let _ = self.store();
    }

    /// The ledger is gone from its directory, but this process still has it open.
    fn write_again(&mut self, what: &str) {
        let Some(store) = self.store.as_ref() else { return };
        let has_lock = self.lock.as_ref().is_some_and(|lock| self.files.is_lock(lock));
        let lock = if has_lock { Ok(None) } else { self.files.take_lock().map(Some) };
        let written = lock.and_then(|lock| self.files.write_again(&store.connection).map(|()| lock));
        match written {
            Ok(lock) => {
                self.lock = lock.or(self.lock.take());
                (self.gone, self.logged_at) = (false, None);
                tracing::error!(
                    ledger = %self.path().display(),
                    "{what} while the exporter runs, and was written again: nothing is lost. to start over on purpose, stop the exporter before deleting the ledger"
                );
                // The open file is no longer the one in the directory.
                (self.store, self.identity, self.tried) = (None, None, None);
                let _ = self.store();
            }
            Err(error) => {
                if !std::mem::replace(&mut self.gone, true)
                    && let Some(store) = self.store.as_mut()
                {
                    store.resets += 1;
                    self.resets = store.resets;
                    self.publish();
                }
                self.failed(&format!("{what} while the exporter runs, and cannot be written again: {error}"));
            }
        }
    }

    fn replaced(&mut self) {
        self.files.remove_log_of(self.identity);
        self.shared.end(LedgerEnd::Replaced(self.path()));
    }

    fn path(&self) -> PathBuf {
        self.files.database()
    }

    /// Pages share a transaction if they are there already, or are said to follow at once: most of
    /// what one page adds to the window of a log that is catching up, the next one takes away
    /// again.
    ///
    /// A sender of history asks many times a second, and waits until they are committed: it would make
    /// many small transactions of a few large ones. Any other request ends the gathering.
    fn gather(&mut self, first: Request) -> (Vec<PageRequest>, Vec<Request>) {
        let began = Instant::now();
        let (mut pages, mut others) = (Vec::new(), Vec::new());
        let mut more_follows = false;
        let mut next = Some(first);
        while let Some(request) = next {
            let is_senders = matches!(request, Request::OldestChunks { .. } | Request::Acknowledge { .. });
            match request {
                Request::Page(page) => {
                    more_follows = page.record.more_follows;
                    pages.push(page);
                }
                other => {
                    others.push(other);
                    if !is_senders || !more_follows {
                        break;
                    }
                }
            }
            let is_full = || pages.len() >= BATCH_PAGES || began.elapsed() >= BATCH_TIME;
            next = None;
            while !is_full() {
                next = self.requests.try_recv().ok();
                if next.is_some() || !more_follows {
                    break;
                }
                std::thread::sleep(BATCH_PAUSE);
            }
        }
        (pages, others)
    }

    fn open(&mut self) -> Result<(), OpenError> {
        if self.lock.is_none() {
            self.lock = Some(self.files.take_lock()?);
        }
        self.compare_with_last()?;
        let opened = match self.corrupt.clone() {
            Some(reason) => Err(OpenError::Corrupt { path: self.path(), reason }),
            None => self.open_store(),
        };
        let store = match opened {
            Err(OpenError::Corrupt { reason, .. }) => {
                self.move_aside()?;
                tracing::error!(
                    ledger = %self.path().display(),
                    reason,
                    moved_to = %self.moved_to.display(),
                    "the ledger cannot be used and was moved aside; counting starts again, restore a backup to go on from there"
                );
                self.open_store()?
            }
            Err(OpenError::Foreign { found, expected, .. })
                if self.claim.foreign == ForeignLedger::SetAside =>
            {
                self.move_aside()?;
                tracing::warn!(
                    ledger = %self.path().display(),
                    moved_to = %self.moved_to.display(),
                    "the ledger belongs to {found}, not to {expected}, and was moved aside; counting begins in a new one"
                );
                self.open_store()?
            }
            opened => opened?,
        };
        self.identity = self.files.identity().ok();
        self.store = Some(store);
        self.wipe_log();
        self.publish();
        if !self.unproven {
            self.succeeded();
        }
        Ok(())
    }

    /// After a failure the file is opened again; it has to be the same.
    fn compare_with_last(&mut self) -> Result<(), OpenError> {
        let Some(last) = self.identity else { return Ok(()) };
        match self.files.identity() {
            Ok(there) if there.database == last.database => Ok(()),
            Ok(_) => {
                self.replaced();
                let reason = "it was replaced by another file".to_owned();
                Err(OpenError::Unusable { path: self.path(), reason })
            }
            Err(error) if is_gone(&error) => {
                self.begin_anew();
                tracing::error!(
                    ledger = %self.path().display(),
                    "the ledger was deleted while it could not be used; counting starts again, restore a backup to go on from there"
                );
                Ok(())
            }
            Err(error) => Err(OpenError::Unusable { path: self.path(), reason: error.to_string() }),
        }
    }

    fn move_aside(&mut self) -> Result<(), OpenError> {
        self.moved_to = self.files.move_aside(chrono::Utc::now().timestamp())?;
        self.corrupt = None;
        self.begin_anew();
        self.resets = self.resets.max(self.files.count_aside());
        Ok(())
    }

    /// The counts are gone.
    fn begin_anew(&mut self) {
        let before = self.shared.published.borrow().as_ref().map_or(0, |committed| committed.resets);
        self.resets = self.resets.max(before) + 1;
        self.identity = None;
        self.epochs.clear();
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Some damage shows only when the page that has it is read or written.
    fn doubt(&mut self, error: &StoreError) {
        if schema::is_damage(error) {
            self.corrupt = Some(error.to_string());
        }
    }

    fn open_store(&self) -> Result<Opened, OpenError> {
        let mut read = None;
        let observed = |connection: &Connection| self.observer.opened(connection);
        let opening = Opening {
            migrations: MIGRATIONS,
            claim: &self.claim,
            configured: &self.configured,
            history: self.history.as_ref(),
            usage: self.usage.as_ref(),
            resets: self.resets,
            moment: self.observer.now(),
        };
        let opened = self.files.open(&opening, observed, &mut read);
        if let (Err(OpenError::Unusable { .. }), Some(committed)) = (&opened, read) {
            // A disk that is full can still be read.
            self.shared.published.send_replace(Some(Arc::new(committed)));
        }
        opened
    }

    /// The store, opened again if need be.
    fn store(&mut self) -> Result<&mut Opened, CheckpointError> {
        if self.store.is_none() {
            if self.tried.is_some_and(|tried| tried.elapsed() < RETRY_EVERY) {
                return Err(CheckpointError::Failed);
            }
            self.tried = Some(Instant::now());
            if let Err(error) = self.open() {
                self.failed(&error.to_string());
            }
        }
        if self.shared.ended().is_some() {
            return Err(CheckpointError::Closed);
        }
        self.store.as_mut().ok_or(CheckpointError::Failed)
    }

    fn epoch(&mut self, log: &LogId) -> u64 {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.epochs.insert(log.clone(), epoch);
        epoch
    }

    fn open_log(&mut self, log: &LogId) -> Result<Option<LogCheckpoint>, CheckpointError> {
        self.store()?;
        let opened = self.try_transact(TransactionBehavior::Deferred, |edit| {
            store::open_log(edit.transaction, &log.account, log.log, &edit.digest)
        });
        let opened = opened.map_err(|error| self.broken(&error))?;
        let epoch = self.epoch(log);
        let seals = self.history.is_some() || (self.usage.is_some() && log.log == LogKind::WebApi);
        Ok(opened.map(|opened| {
            let sealed_until = seals.then(|| opened.sealed_until.unwrap_or(NEVER));
            LogCheckpoint { epoch, sealed_until, ..opened }
        }))
    }

    fn begin(&mut self, log: &LogId, origin: &Origin) -> Result<LogCheckpoint, CheckpointError> {
        let has_history = self.history.is_some();
        let mut number = None;
        self.write(|edit| {
            number = store::begin_log(edit, &log.account, log.log, origin)?;
            if has_history && number.is_some() {
                history::begin_log(edit, &log.account, log.log)?;
            }
            Ok(())
        })?;
        // Read back what is kept: an origin that was known already stays.
        let opened = self.open_log(log)?.ok_or(CheckpointError::Failed)?;
        let store = self.store()?;
        let state = store::LogState {
            origin: opened.origin.clone(),
            born: births::of_origin(&opened.origin),
            cursor: opened.position.cursor(),
            first_poll_complete: opened.first_poll_complete,
            last_entry: None,
            last_poll: opened.last_poll,
            sealed_until: None,
        };
        if let (Some(history), Some(number)) = (&mut store.history, number) {
            history.begun(number, log);
        }
        let account = store.accounts.entry(Arc::clone(&log.account)).or_default();
        account.logs.entry(log.log).or_insert(state);
        self.publish();
        Ok(opened)
    }

    fn products(&mut self, account: &Arc<str>, answered: Vec<Product>) -> Result<(), CheckpointError> {
        let limit = self.limits.products;
        let moment = self.observer.now();
        let store = self.store()?;
        let mut products = Arc::clone(&store.accounts.entry(Arc::clone(account)).or_default().products);
        let mut changed = Vec::new();
        for product in answered {
            let name: Arc<str> = Arc::from(product.name);
            if Arc::make_mut(&mut products).admit(product.id, Some(Arc::clone(&name)), limit) == Some(true) {
                changed.push((product.id, name));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let before = store.accounts.get(account).cloned().unwrap_or_default();
        let after = AccountState { products, ..before.clone() };
        let delta = after.at_zero();
        let after = after.with(&delta, |_| moment);
        self.write(|edit| {
            for (id, name) in &changed {
                store::keep_product(edit, account, *id, Some(name))?;
            }
            delta.save(&after.tally, &mut LedgerSink { edit, account })
        })?;
        self.store()?.accounts.insert(Arc::clone(account), after);
        self.publish();
        Ok(())
    }

    /// Adds rows that were counted before to the sets of usage, and counts nothing.
    fn earlier_rows(
        &mut self,
        account: &Arc<str>,
        rows: &[WebApiRow],
        times: (i64, Option<i64>),
    ) -> Result<(), CheckpointError> {
        let store = self.store()?;
        let products = store.accounts.get(account).map(|state| Arc::clone(&state.products));
        let (Some(usage), Some(products)) = (store.usage.as_mut(), products) else { return Ok(()) };
        let samples = usage.take_again(account, &products, rows, times, store.history.is_some());
        let written = usage.prepare(std::iter::once((account, true)));
        let log = LogId { account: Arc::clone(account), log: LogKind::WebApi };
        let history = store.history.as_mut().map(|history| {
            history.add_usage(account, &samples);
            history.prepare(std::iter::once(&log), times.0)
        });
        self.write(|edit| {
            history.as_ref().map_or(Ok(()), |history| history.write(edit))?;
            written.write(edit)
        })?;
        self.wrote(history.as_ref())?;
        self.wrote_usage(Some(&written))?;
        self.publish();
        Ok(())
    }

    /// Deletes the sets of days that are no longer kept where nothing is read that would seal them:
    /// the API refuses, or the log is not configured any more. If it fails it is tried again.
    pub(super) fn expire_usage(&mut self, unread_for: Duration) {
        let ahead = self.shared.server_ahead.load(Ordering::Relaxed);
        let now = (self.observer.now().millis() / 1000).saturating_add(ahead);
        let usage = self.store.as_mut().and_then(|store| store.usage.as_mut());
        let Some(written) = usage.and_then(|usage| usage.expire(now, unread_for)) else { return };
        if self.write(|edit| written.write(edit)).is_ok() && self.wrote_usage(Some(&written)).is_ok() {
            self.publish();
        }
    }

    /// Takes settings that were left for it.
    fn take_settings(&mut self) {
        let Some(FreshSettings { configured, history }) = self.shared.take_fresh() else { return };
        self.save_deliveries();
        (self.configured, self.history) = (configured, history);
        // If the file is gone, this process has the last that is left of it.
        self.check_files();
        // Reading again is the simplest way to forget what was configured before.
        self.store = None;
        self.tried = None;
        let _ = self.store();
    }

    fn pages(&mut self, pages: Vec<PageRequest>) {
        let current = |page: &PageRequest| self.epochs.get(&page.log) == Some(&page.epoch);
        let (pages, stale): (Vec<_>, Vec<_>) = pages.into_iter().partition(current);
        for page in stale {
            answer(page.reply, Err(CheckpointError::Failed));
        }
        if pages.is_empty() {
            return;
        }
        let result = self.commit(&pages);
        if result.is_err() {
            for page in &pages {
                self.epochs.remove(&page.log);
            }
        }
        for page in pages {
            answer(page.reply, result);
        }
    }

    fn commit(&mut self, pages: &[PageRequest]) -> Result<(), CheckpointError> {
        let (limits, now) = (self.limits, self.observer.now());
        let store = self.store()?;
        let followers = Followers { history: store.history.as_mut(), usage: store.usage.as_mut() };
        let counted = count(&store.accounts, followers, pages, &limits, now);
        let Some(changes) = counted else {
            // Rows were counted into history and usage that are counted nowhere else.
            self.store = None;
            return Err(CheckpointError::Failed);
        };
        let is_shown = |change: &AccountChange| {
            change.after.logs.get(&LogKind::WebApi).is_some_and(|log| log.first_poll_complete)
        };
        if let (Some(usage), Some(history)) = (store.usage.as_mut(), store.history.as_mut()) {
            for (account, _) in changes.iter().filter(|(_, change)| is_shown(change)) {
                history.add_usage(account, &usage.samples(account));
            }
        }
        let read_at = pages.iter().map(|page| page.record.read_at).max().unwrap_or_default();
        let logs: BTreeSet<&LogId> = pages.iter().map(|page| &page.log).collect();
        let history = store.history.as_mut().map(|history| history.prepare(logs.into_iter(), read_at));
        #[cfg(test)]
        let (history, written_after) = if crate::ingest::flaw::writes_history_after_commit() {
            (None, history)
        } else {
            (history, None)
        };
        let usage = store
            .usage
            .as_mut()
            .map(|usage| usage.prepare(changes.iter().map(|(account, change)| (account, is_shown(change)))));
        #[cfg(test)]
        let (usage, usage_after) =
            if crate::ingest::flaw::writes_usage_after_commit() { (None, usage) } else { (usage, None) };
        // Rows wait here for a moment, so a small difference means nothing.
        let ahead = read_at.saturating_sub(now.millis() / 1000);
        let ahead = if ahead.abs() <= CLOCK_TOLERANCE_SECONDS { 0 } else { ahead };
        self.shared.server_ahead.store(ahead, Ordering::Relaxed);
        // A server with a clock that is far ahead must not delete what is kept.
        let today = read_at.min((now.millis() / 1000).saturating_add(CLOCK_TOLERANCE_SECONDS));
        let forgets = days::day_of(today) > days::day_of(self.store()?.days_forgotten);
        self.write(|edit| {
            changes.iter().try_for_each(|(account, change)| write_change(edit, account, change))?;
            if forgets {
                days::forget(edit, today)?;
            }
            history.as_ref().map_or(Ok(()), |history| history.write(edit))?;
            usage.as_ref().map_or(Ok(()), |usage| usage.write(edit))
        })?;
        #[cfg(test)]
        if let Some(late) = &written_after {
            self.write(|edit| late.write(edit))?;
        }
        #[cfg(test)]
        if let Some(late) = &usage_after {
            self.write(|edit| late.write(edit))?;
        }
        #[cfg(test)]
        let (history, usage) = (history.or(written_after), usage.or(usage_after));
        self.wrote(history.as_ref())?;
        self.wrote_usage(usage.as_ref())?;
        let store = self.store()?;
        store.days_forgotten = store.days_forgotten.max(today);
        store.accounts.extend(changes.into_iter().map(|(name, change)| (name, change.after)));
        self.observer
            .at(CommitStep::BeforePublish)
            .and_then(|()| {
                self.publish();
                self.observer.at(CommitStep::AfterPublish)
            })
            .map_err(|error| self.broken(&error.into()))
    }

    /// Takes over the history that was written, once it is committed.
    fn wrote(&mut self, history: Option<&HistoryWrite>) -> Result<(), CheckpointError> {
        let Some(written) = history else { return Ok(()) };
        self.unsaved_since = None;
        if let Some(history) = &mut self.store()?.history {
            history.wrote(written);
        }
        if written.adds_samples() {
            self.shared.outbox.send_modify(|added| *added = added.wrapping_add(1));
        }
        Ok(())
    }

    /// Takes over the usage that was written, once it is committed.
    fn wrote_usage(&mut self, usage: Option<&UsageWrite>) -> Result<(), CheckpointError> {
        let Some(written) = usage else { return Ok(()) };
        let store = self.store()?;
        if let Some(usage) = &mut store.usage {
            usage.wrote(written);
        }
        if written.forgets() {
            store.forgot = true;
            self.wipe_log();
        }
        Ok(())
    }

    /// Empties the write-ahead log if sets of usage were deleted: their bytes are still in it. A reader
    /// may prevent that for a while; then it is tried again with the next look at the files.
    fn wipe_log(&mut self) {
        let Some(store) = self.store.as_mut().filter(|store| store.forgot) else { return };
        let is_busy = store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        store.forgot = is_busy.unwrap_or(true);
    }

    /// Writes down what targets took. If that fails they get it again.
    fn save_deliveries(&mut self) {
        self.unsaved_since = None;
        let Some(history) = self.store.as_mut().and_then(|store| store.history.as_mut()) else { return };
        if !history.is_unsaved() {
            return;
        }
        let written = history.prepare(std::iter::empty(), 0);
        if self.write(|edit| written.write(edit)).is_ok() && self.wrote(Some(&written)).is_ok() {
            self.publish();
        }
    }

    fn oldest_chunks(&mut self, target: &str, at_most: u64) -> Result<Vec<OutboxChunk>, CheckpointError> {
        let generation = *self.shared.generation.borrow();
        let store = self.store()?;
        let position = store.history.as_ref().and_then(|history| history.position(target));
        let Some((first, skipped)) = position else { return Ok(Vec::new()) };
        // Those that the target has of the first chunk come on top.
        let chunks = history::chunks_from(&store.connection, first, at_most.saturating_add(skipped));
        let chunks = chunks.map_err(|error| self.broken(&error))?;
        let chunk = |(chunk, account, data)| {
            let samples = if chunk == first { skipped } else { 0 };
            OutboxChunk { account, position: OutboxPosition { generation, chunk, samples }, data }
        };
        Ok(chunks.into_iter().map(chunk).collect())
    }

    fn acknowledge(
        &mut self,
        target: &str,
        until: OutboxPosition,
        counts: &SampleCounts,
    ) -> Result<(), CheckpointError> {
        let is_current = until.generation == *self.shared.generation.borrow();
        let store = self.store()?;
        if let Some(history) = store.history.as_mut().filter(|_| is_current) {
            history.acknowledge(target, until, counts);
            if history.is_unsaved() {
                self.unsaved_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    /// Writes in one transaction, which begins by seeing that nobody else has written.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Edit<'_>) -> Result<(), StoreError>,
    ) -> Result<(), CheckpointError> {
        self.store()?;
        let began = Instant::now();
        let written = self.try_transact(TransactionBehavior::Immediate, work);
        self.shared.observe_commit(began.elapsed());
        match written {
            Ok(()) => {
                self.succeeded();
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn try_transact<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&mut Edit<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(store) = self.store.as_mut() else { return Err(rusqlite::Error::InvalidQuery.into()) };
        let writes = matches!(behavior, TransactionBehavior::Immediate);
        let transaction = store.connection.transaction_with_behavior(behavior)?;
        check_owner(&transaction, &store.digest, store.owner, &mut store.data_version, &self.shared)?;
        let mut edit = Edit { transaction: &transaction, digest: store.digest.clone() };
        let value = work(&mut edit)?;
        if writes {
            let Edit { digest, .. } = edit;
            digest.keep(Some(&store.digest), &transaction)?;
            self.observer.at(CommitStep::BeforeCommit)?;
            transaction.commit()?;
            store.digest = digest;
            self.observer.at(CommitStep::AfterCommit)?;
        }
        Ok(value)
    }

    /// After a failure nothing in memory is trusted: whether a commit that failed was kept, only
    /// the file knows.
    fn broken(&mut self, error: &StoreError) -> CheckpointError {
        if let StoreError::TakenOver = error {
            self.shared.end(LedgerEnd::TakenOver(self.path()));
            return CheckpointError::Closed;
        }
        self.store = None;
        self.tried = None;
        self.epochs.clear();
        self.unproven = true;
        self.doubt(error);
        self.failed(&error.to_string());
        CheckpointError::Failed
    }

    fn failed(&mut self, reason: &str) {
        self.shared.fail();
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
            self.logged_at = Some(Instant::now());
            tracing::error!(
                ledger = %self.files.database().display(),
                reason,
                "the ledger cannot be written; counting stops until it can, and nothing is lost. check the disk and its permissions"
            );
        }
    }

    fn succeeded(&mut self) {
        self.unproven = false;
        if self.gone {
            return;
        }
        self.shared.succeed();
        if self.logged_at.take().is_some() {
            tracing::info!("the ledger can be written again, counting goes on");
        }
    }

    fn publish(&self) {
        if let Some(store) = &self.store {
            let committed = Committed {
                accounts: store.accounts.clone(),
                resets: store.resets,
                instance_id: Arc::clone(&store.instance_id),
                history: store.history.as_ref().map(|history| Arc::clone(history.committed())),
                usage: store.usage.as_ref().map(|usage| Arc::clone(usage.committed())),
            };
            self.shared.published.send_replace(Some(Arc::new(committed)));
        }
    }
}

/// Sees that nobody else has written since this process did. A later process that has the ledger
/// now has drawn another owner number; a write by hand has not, and is taken if it left everything
/// as it was.
fn check_owner(
    transaction: &rusqlite::Transaction<'_>,
    digest: &Digest,
    owner: u64,
    known: &mut i64,
    shared: &Shared,
) -> Result<(), StoreError> {
    let now = schema::data_version(transaction)?;
    if now == *known {
        return Ok(());
    }
    // Before the digest was compared nothing in the file is believed, nor is its owner number.
    let found = Digest::verify(transaction).map_err(|error| {
        if schema::may_pass(&error) {
            error
        } else {
            StoreError::Damaged(format!("{SOMEBODY_ELSE}: {error}"))
        }
    });
    if found.as_ref().is_err_and(schema::may_pass) {
        return found.map(|_| ());
    }
    shared.foreign_writes.fetch_add(1, Ordering::Relaxed);
    let found = found?;
    if store::meta(transaction, OWNER)? != Some(owner) {
        return Err(StoreError::TakenOver);
    }
    if found != *digest {
        return Err(StoreError::Damaged(SOMEBODY_ELSE.to_owned()));
    }
    *known = now;
    tracing::warn!("somebody else wrote the ledger, and changed nothing that is counted");
    Ok(())
}

const SOMEBODY_ELSE: &str = "somebody else wrote it";

/// Also if there is a file where its directory was.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whoever asked may be gone.
fn answer<T>(reply: Reply<T>, result: Result<T, CheckpointError>) {
    let _ = reply.send(result);
}

/// How one account changes in a transaction.
struct AccountChange {
    delta: TallyDelta,
    new_products: Vec<i64>,
    days: DayChanges,
    logs: BTreeMap<LogKind, LogChange>,
    /// The last moment that is known to be before the commit, by the clock of this machine and by that
    /// of the server.
    moment: BirthTime,
    /// The account once all of it is committed.
    after: AccountState,
}

fn write_change(edit: &mut Edit<'_>, account: &str, change: &AccountChange) -> Result<(), StoreError> {
    for (log, change) in &change.logs {
        store::move_log(edit, account, *log, change)?;
    }
    for id in &change.new_products {
        let name = change.after.products.answered_name(*id).map(|name| &**name);
        store::keep_product(edit, account, *id, name)?;
    }
    change.days.write(edit, account)?;
    change.delta.save(&change.after.tally, &mut LedgerSink { edit, account })
}

/// Who follows the counting.
struct Followers<'a> {
    history: Option<&'a mut HistoryStore>,
    usage: Option<&'a mut UsageStore>,
}

/// Counts pages in the order in which they came. `None` if a log is not known, which a poller that
/// opened it can't bring about.
fn count(
    accounts: &Accounts,
    Followers { mut history, mut usage }: Followers<'_>,
    pages: &[PageRequest],
    limits: &Limits,
    now: BirthTime,
) -> Option<BTreeMap<Arc<str>, AccountChange>> {
    let has_history = history.is_some();
    let mut changes: BTreeMap<Arc<str>, AccountChange> = BTreeMap::new();
    for PageRequest { log: id, record, .. } in pages {
        let LogId { account, log } = id;
        let before: &AccountState = accounts.get(account)?;
        let change = changes.entry(Arc::clone(account)).or_insert_with(|| AccountChange {
            delta: TallyDelta::default(),
            new_products: Vec::new(),
            days: DayChanges::default(),
            logs: BTreeMap::new(),
            moment: now,
            after: before.clone(),
        });
        let state = before.logs.get(log)?;
        let mut observers: Vec<&mut dyn RowObserver> = Vec::new();
        let state_so_far = change.logs.get(log).map_or(state, |change| &change.state);
        let counts = history.as_deref_mut().and_then(|history| history.observer(id, state_so_far, record));
        observers.extend(counts.map(history::as_observer));
        // Of the end of the first poll, the history has nothing before the commit.
        let is_in_history = has_history && state.first_poll_complete;
        let tracker =
            usage.as_deref_mut().and_then(|usage| usage.observer(id, state_so_far, record, is_in_history));
        observers.extend(tracker.map(usage::as_observer));
        change.count(before, record, *log, limits, &mut observers);
        if let Some(until) = record.seal_until {
            observers.iter_mut().for_each(|observer| observer.seal(*log, until));
        }
        change.moment = births::last_moment_without(change.moment, record.read_at);
        let moment = change.moment;

        let log = change.logs.entry(*log).or_insert_with(|| LogChange {
            floor: record.floor,
            watermark: record.watermark,
            counted: Vec::new(),
            without_id: None,
            state: state.clone(),
        });
        (log.floor, log.watermark) = (record.floor, record.watermark);
        log.without_id = record.without_id.clone().or(log.without_id.take());
        log.counted.extend_from_slice(&record.counted);
        // A poll that goes back to the floor hands over lower ids than before. Mostly the order is
        // right already.
        log.counted.sort();
        log.state.born = log.state.born.or_else(|| Some(births::of_first_update(record, moment)));
        log.state.cursor = record.cursor;
        log.state.last_entry = log.state.last_entry.max(record.newest_entry);
        log.state.first_poll_complete |= record.poll_end.is_some();
        log.state.last_poll = record.poll_end.or(log.state.last_poll);
        let sealed_until = history.as_ref().and_then(|history| history.sealed_until(id));
        log.state.sealed_until = log.state.sealed_until.max(record.seal_until).max(sealed_until);
    }
    for (account, change) in &mut changes {
        change.finish(accounts.get(account)?);
    }
    Some(changes)
}

impl AccountChange {
    fn count(
        &mut self,
        before: &AccountState,
        batch: &LogUpdate,
        log: LogKind,
        limits: &Limits,
        observers: &mut [&mut dyn RowObserver],
    ) {
        let known = self.new_products.len();
        // The account keeps sharing its products unless a page has a new one.
        let mut products = Arc::clone(&self.after.products);
        let mut counter = RowCounter {
            committed: &before.tally,
            delta: &mut self.delta,
            products: Arc::make_mut(&mut products),
            new_products: &mut self.new_products,
            limits,
        };
        counter.count(&batch.rows, batch.read_at, observers);
        counter.note(log, &batch.statistics);
        self.days.count(&batch.rows, batch.read_at, &products);
        if self.new_products.len() > known {
            self.after.products = products;
        }
    }

    /// The account after the change, with the label sets at 0 that it brings.
    fn finish(&mut self, before: &AccountState) {
        let completed = |(log, change): &(&LogKind, &LogChange)| {
            change.state.first_poll_complete
                && before.logs.get(log).is_none_or(|log| !log.first_poll_complete)
        };
        let brings_sets = !self.new_products.is_empty() || self.logs.iter().any(|log| completed(&log));
        self.after.logs.extend(self.logs.iter().map(|(log, change)| (*log, change.state.clone())));
        if brings_sets {
            self.after.create_at_zero(&mut self.delta);
        }
        self.after = self.after.with(&self.delta, |log| {
            let origin = self.after.logs.get(&log).and_then(|log| log.born);
            let in_first_poll = before.logs.get(&log).is_none_or(|log| !log.first_poll_complete);
            births::of_new(in_first_poll, origin, self.moment)
        });
    }
}
