//! The ledger: one SQLite file that holds positions and counts together, so that a row and its
//! count are kept in one transaction or not at all.
//!
//! Promises: what is published is committed; after a failed write everything in memory is read
//! again from the file; a file that can't be used is moved aside and never deleted; a second
//! process is refused. It knows nothing of HTTP.

mod belongs;
mod births;
mod days;
mod digest;
mod error;
mod foreign;
mod history;
mod reader;
mod schema;
mod store;
mod usage;
mod writer;

#[cfg(test)]
pub(crate) mod inline;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::cryptolens::{LogKind, Product, WebApiRow};
use crate::history::{HistoryOptions, Outbox, OutboxBatch, OutboxPosition, PackedSamples, SampleCounts};
use crate::ingest::{
    CheckpointError, CheckpointStore, EarlierRows, LogCheckpoint, LogId, LogUpdate, Origin, PendingCommit,
    WantedRows,
};
use crate::metrics::Durations;
use crate::tally::{Limits, families};
use crate::usage::UsageOptions;

pub use belongs::LedgerAddress;
pub use days::{DAYS_KEPT, DayOutcomes, LedgerDays};
pub use error::OtherSecret;
pub use foreign::ForeignLedger;
pub use history::{HistoryLimit, HistoryLogState, HistoryState, HistoryTargetState};
pub use reader::LedgerReader;
pub(crate) use schema::DEMO_WORLD;
pub use schema::OpenError;
use schema::{Claim, Files};
use store::Configured;
pub use store::{AccountState, Accounts, FinalRows, LogState};
pub use usage::UsageState;
use writer::{Nobody, Observer, OutboxChunk, PageRequest, Request, Writer};

/// Requests that may wait for the writer.
const QUEUE: usize = 64;

/// Everything that is in the ledger, as of one commit.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(Default))]
pub struct Committed {
    /// By name.
    pub accounts: BTreeMap<Arc<str>, AccountState>,
    /// How often a file was moved aside.
    pub resets: u64,
    /// The identity of the ledger: a UUID that was made with it.
    pub instance_id: Arc<str>,
    /// The history; `None` if there is no target.
    pub history: Option<Arc<HistoryState>>,
    /// The usage; `None` if it is off.
    pub usage: Option<Arc<UsageState>>,
}

#[derive(Debug)]
struct Shared {
    published: watch::Sender<Option<Arc<Committed>>>,
    up: AtomicBool,
    failures: AtomicU64,
    foreign_writes: AtomicU64,
    commits: Mutex<Durations>,
    /// How often the ledger began anew under this process.
    generation: watch::Sender<u64>,
    /// How often samples were added to the outbox.
    outbox: watch::Sender<u64>,
    /// The time of the API's server minus local time in seconds, as of the rows that were counted last.
    server_ahead: AtomicI64,
    ended: watch::Sender<Option<LedgerEnd>>,
    /// Settings that the writer has not taken yet.
    fresh: Mutex<Option<FreshSettings>>,
}

/// The settings that may change while the ledger is open.
#[derive(Debug)]
struct FreshSettings {
    configured: Configured,
    history: Option<HistoryOptions>,
}

impl Shared {
    /// Leaves settings for the writer.
    fn leave(&self, fresh: FreshSettings) {
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
    }

    fn take_fresh(&self) -> Option<FreshSettings> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn observe_commit(&self, took: Duration) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).observe(took);
    }

    fn fail(&self) {
        self.up.store(false, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self) -> Option<LedgerEnd> {
        self.ended.borrow().clone()
    }

    fn end(&self, end: LedgerEnd) {
        self.up.store(false, Ordering::Relaxed);
        // The first reason is the one.
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(end);
            is_first
        });
    }

    fn succeed(&self) {
        self.up.store(true, Ordering::Relaxed);
    }
}

/// How the ledger is doing. Starts with the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// True if the last write succeeded.
    pub up: bool,
    /// Writes that failed.
    pub failures: u64,
    /// Writes of others to the file that were found.
    pub foreign_writes: u64,
    /// How long transactions took.
    pub commits: Durations,
}

/// Why this process must not go on with its ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerEnd {
    /// A process that started later owns it.
    #[error(
        "{}: another process that started later has taken this ledger over; run one exporter for each --storage.path, and do not delete ledger.lock",
        .0.display()
    )]
    TakenOver(PathBuf),
    /// Another file is in its place.
    #[error(
        "{}: the ledger was replaced by another file while the exporter runs, and the next start reads that file; stop the exporter before a backup is restored",
        .0.display()
    )]
    Replaced(PathBuf),
}

/// The ledger to open.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// The directory of `ledger.db`; created if missing.
    pub directory: PathBuf,
    /// Whose ledger it is.
    pub address: LedgerAddress,
    /// The treatment of a ledger that belongs to another address or to the demo.
    pub foreign: ForeignLedger,
    /// The limits of each account.
    pub limits: Limits,
    /// The accounts, with the products that are known by configuration.
    pub configured: BTreeMap<Arc<str>, Vec<Product>>,
    /// Options of the history; `None` if there is no target, and so no history.
    pub history: Option<HistoryOptions>,
    /// Options of usage; `None` if it is off.
    pub usage: Option<UsageOptions>,
}

/// The committed state and the health of the ledger. Holding it does not keep the writer from ending.
#[derive(Debug, Clone)]
pub struct LedgerView {
    shared: Arc<Shared>,
}

impl LedgerView {
    /// The committed state; `None` until the ledger could be read.
    pub fn committed(&self) -> Option<Arc<Committed>> {
        self.shared.published.borrow().clone()
    }

    /// Changes each time that something is committed.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Committed>>> {
        self.shared.published.subscribe()
    }

    /// Why this process must not go on with its ledger, if that is so.
    pub fn ended(&self) -> Option<LedgerEnd> {
        self.shared.ended()
    }

    /// Waits until this process must not go on with its ledger.
    pub async fn wait_for_end(&self) -> LedgerEnd {
        let mut ended = self.shared.ended.subscribe();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        match end {
            Some(end) => end,
            // The sender is part of what this view holds.
            None => std::future::pending().await,
        }
    }

    /// As of now.
    pub fn health(&self) -> Health {
        Health {
            up: self.shared.up.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
            foreign_writes: self.shared.foreign_writes.load(Ordering::Relaxed),
            commits: self.shared.commits.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A handle to the writer. When the last one is gone, the writer ends.
#[derive(Debug, Clone)]
pub struct Ledger {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

impl Ledger {
    /// Opens the ledger and starts its writer. A disk that can't be used now is no error: the
    /// writer goes on trying.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::Newer`], [`OpenError::Foreign`], [`OpenError::Secret`], or
    /// [`OpenError::Unusable`] if no thread could be started.
    pub fn start(options: LedgerOptions) -> Result<(Ledger, JoinHandle<()>), OpenError> {
        Self::start_observed(options, Nobody)
    }

    fn start_observed<O: Observer>(
        options: LedgerOptions,
        observer: O,
    ) -> Result<(Ledger, JoinHandle<()>), OpenError> {
        let path = options.directory.clone();
        let (writer, ledger) = Ledger::prepare(options, observer)?;
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Unusable { path, reason: error.to_string() })?;
        Ok((ledger, thread))
    }

    /// Opens the ledger; the writer still has to run.
    fn prepare<O: Observer>(options: LedgerOptions, observer: O) -> Result<(Writer<O>, Ledger), OpenError> {
        let shared = Arc::new(Shared {
            published: watch::Sender::new(None),
            up: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            foreign_writes: AtomicU64::new(0),
            commits: Mutex::new(Durations::new(families::COMMIT_BOUNDS)),
            generation: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
            server_ahead: AtomicI64::new(0),
            ended: watch::Sender::new(None),
            fresh: Mutex::new(None),
        });
        let (requests, receiver) = mpsc::channel(QUEUE);
        let LedgerOptions { directory, address, foreign, limits, configured, history, usage } = options;
        let claim = Claim { address, foreign };
        let files = Files::new(&directory);
        let optional = (configured, history, usage);
        let mut writer = Writer::new(files, claim, limits, optional, receiver, Arc::clone(&shared), observer);
        writer.first_open()?;
        Ok((writer, Ledger { requests, shared }))
    }

    /// To look at it.
    pub fn view(&self) -> LedgerView {
        LedgerView { shared: Arc::clone(&self.shared) }
    }

    /// Replaces the products that are known by configuration, and the settings of history. The writer
    /// takes them before any request that it serves after that, also if nobody waits for this to end.
    ///
    /// # Errors
    /// The ledger could not be read; it is tried again with the next request.
    pub async fn configure(
        &self,
        configured: Configured,
        history: Option<HistoryOptions>,
    ) -> Result<(), CheckpointError> {
        // Not in the request: a caller whose patience ends while the queue is full would take it along.
        self.shared.leave(FreshSettings { configured, history });
        self.ask(|reply| Request::Configure { reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(writer::Reply<T>) -> Request) -> Result<T, CheckpointError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| CheckpointError::Closed)?;
        answer.await.unwrap_or(Err(CheckpointError::Closed))
    }
}

impl EarlierRows for Ledger {
    /// The days of usage that are kept, as far as they were counted and are not known.
    fn wanted(&self, account: &Arc<str>) -> Option<WantedRows> {
        let committed = self.shared.published.borrow().clone()?;
        let usage = committed.usage.as_ref()?.get(account)?;
        let log = committed.accounts.get(account)?.logs.get(&LogKind::WebApi)?;
        let begin = log.origin.mark.max(0);
        let from = begin.max(usage.oldest_day().start());
        let wanted = WantedRows { known_from: usage.origin, from, after_id: log.origin.id, begin };
        (usage.origin > from).then_some(wanted)
    }

    async fn take(
        &self,
        account: &Arc<str>,
        rows: Vec<WebApiRow>,
        read_at: i64,
        known_from: Option<i64>,
    ) -> Result<(), CheckpointError> {
        let (account, times) = (Arc::clone(account), (read_at, known_from));
        self.ask(|reply| Request::EarlierRows { account, rows, times, reply }).await
    }
}

impl Outbox for Ledger {
    async fn oldest(&self, target: &Arc<str>, at_most: usize) -> Result<OutboxBatch, CheckpointError> {
        let (target, most) = (Arc::clone(target), u64::try_from(at_most).unwrap_or(u64::MAX));
        let chunks = self.ask(|reply| Request::OldestChunks { target, at_most: most, reply }).await?;
        outbox_batch(&chunks, at_most)
    }

    async fn acknowledge(
        &self,
        target: &Arc<str>,
        until: OutboxPosition,
        counts: SampleCounts,
    ) -> Result<(), CheckpointError> {
        let target = Arc::clone(target);
        self.ask(|reply| Request::Acknowledge { target, until, counts, reply }).await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.outbox.subscribe()
    }

    fn now_millis(&self) -> i64 {
        let ahead = self.shared.server_ahead.load(Ordering::Relaxed);
        chrono::Utc::now().timestamp_millis().saturating_add(ahead.saturating_mul(1000))
    }
}

/// Unpacks chunks of the outbox: at most so many samples, without those that the target has.
fn outbox_batch(chunks: &[OutboxChunk], at_most: usize) -> Result<OutboxBatch, CheckpointError> {
    let mut batch = OutboxBatch::empty();
    for OutboxChunk { account, position, data } in chunks {
        let samples = PackedSamples::unpack(account, data).map_err(|error| {
            // The digest of the ledger is right, so another program wrote it with care.
            tracing::error!(%error, "a chunk of the outbox of history cannot be read");
            CheckpointError::Failed
        })?;
        let skipped = usize::try_from(position.samples).unwrap_or(usize::MAX);
        let room = at_most.saturating_sub(batch.samples.len());
        batch.push(*position, samples.into_iter().skip(skipped).take(room));
    }
    Ok(batch)
}

impl CheckpointStore for Ledger {
    async fn open(&self, log: &LogId) -> Result<Option<LogCheckpoint>, CheckpointError> {
        let log = log.clone();
        self.ask(|reply| Request::Open { log, reply }).await
    }

    async fn begin(&self, log: &LogId, origin: Origin) -> Result<LogCheckpoint, CheckpointError> {
        let log = log.clone();
        self.ask(|reply| Request::Begin { log, origin, reply }).await
    }

    async fn submit(
        &self,
        log: &LogId,
        epoch: u64,
        record: LogUpdate,
    ) -> Result<PendingCommit, CheckpointError> {
        let (reply, answer) = oneshot::channel();
        let page = PageRequest { log: log.clone(), epoch, record, reply };
        self.requests.send(Request::Page(page)).await.map_err(|_| CheckpointError::Closed)?;
        Ok(PendingCommit(answer))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    async fn products(&self, account: &Arc<str>, products: Vec<Product>) -> Result<(), CheckpointError> {
        let account = Arc::clone(account);
        self.ask(|reply| Request::Products { account, products, reply }).await
    }
}
