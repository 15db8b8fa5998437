//! The one thread that writes. Pollers hand it steps; it counts them, commits them together, and only then publishes
//! what they came to.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::cryptolens::{LogKind, Product};
use crate::ingest::{Batch, CheckpointError, LogCheckpoint, LogId, Origin};
use crate::tally::{AccountTally, Limits, Products, Reading};

use super::schema::{self, Files, MIGRATIONS, OpenError};
use super::store::{self, AccountState, Accounts, LogChange, SeriesSink, StoreError};
use super::{Committed, Shared};

/// Most pages of one transaction.
const BATCH_PAGES: usize = 20;
/// No page is taken into a transaction that is gathered for longer than this.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// How often to look for the page that is to follow.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// Nobody's request makes the thread look at a broken disk more often than this.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How often an outage is told.
const TELL_EVERY: Duration = Duration::from_secs(600);

pub(super) type Reply<T> = oneshot::Sender<Result<T, CheckpointError>>;

/// Products by account, as configured.
pub(super) type Configured = BTreeMap<Arc<str>, Vec<Product>>;

pub(super) enum Request {
    Open { log: LogId, reply: Reply<Option<LogCheckpoint>> },
    Begin { log: LogId, origin: Origin, reply: Reply<LogCheckpoint> },
    Page(PageRequest),
    Products { account: Arc<str>, products: Vec<Product>, reply: Reply<()> },
    Configure { configured: Configured, reply: Reply<()> },
}

pub(super) struct PageRequest {
    pub(super) log: LogId,
    pub(super) epoch: u64,
    pub(super) record: Batch,
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
}

pub(super) struct Nobody;

impl Observer for Nobody {}

struct Store {
    connection: Connection,
    accounts: Accounts,
    resets: u64,
}

pub(super) struct Writer<O> {
    pub(super) files: Files,
    pub(super) limits: Limits,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) shared: Arc<Shared>,
    pub(super) observer: O,
    configured: Configured,
    lock: Option<File>,
    store: Option<Store>,
    /// Why the file must be moved aside before it is opened again.
    corrupt: Option<String>,
    /// True from a write that failed to the next one of its kind that succeeds: opening alone proves nothing, as a disk
    /// that is nearly full still has room for a number.
    unproven: bool,
    /// What a log's records must carry to be taken; every opening and every failure makes it another.
    epochs: BTreeMap<LogId, u64>,
    next_epoch: u64,
    tried: Option<Instant>,
    told: Option<Instant>,
}

impl<O: Observer> Writer<O> {
    pub(super) fn new(
        directory: PathBuf,
        limits: Limits,
        configured: Configured,
        requests: mpsc::Receiver<Request>,
        shared: Arc<Shared>,
        observer: O,
    ) -> Self {
        Writer {
            files: Files::new(&directory),
            limits,
            requests,
            shared,
            observer,
            configured,
            lock: None,
            store: None,
            corrupt: None,
            unproven: false,
            epochs: BTreeMap::new(),
            next_epoch: 1,
            tried: None,
            told: None,
        }
    }

    /// Opens the ledger for the first time.
    ///
    /// # Errors
    /// What no waiting mends: another process, a newer schema.
    pub(super) fn first_open(&mut self) -> Result<(), OpenError> {
        self.tried = Some(Instant::now());
        match self.open() {
            Ok(()) => Ok(()),
            Err(error @ (OpenError::Locked { .. } | OpenError::Newer { .. })) => Err(error),
            Err(error) => {
                self.failed(&error.to_string());
                Ok(())
            }
        }
    }

    /// Serves until the last handle is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            self.serve(first);
        }
    }

    pub(super) fn serve(&mut self, first: Request) {
        let (pages, other) = self.gather(first);
        if !pages.is_empty() {
            self.pages(pages);
        }
        match other {
            Some(Request::Open { log, reply }) => answer(reply, self.open_log(&log)),
            Some(Request::Begin { log, origin, reply }) => answer(reply, self.begin(&log, &origin)),
            Some(Request::Products { account, products, reply }) => {
                answer(reply, self.products(&account, products));
            }
            Some(Request::Configure { configured, reply }) => answer(reply, self.configure(configured)),
            Some(Request::Page(_)) | None => {}
        }
    }

    /// Pages share a transaction if they are there already, or are said to follow at once: most of what one page adds to
    /// the window of a log that is catching up, the next one takes away again.
    fn gather(&mut self, first: Request) -> (Vec<PageRequest>, Option<Request>) {
        let began = Instant::now();
        let mut pages = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            let more_follows = match request {
                Request::Page(page) => {
                    let more_follows = page.record.more_follows;
                    pages.push(page);
                    more_follows
                }
                other => return (pages, Some(other)),
            };
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
        (pages, None)
    }

    fn open(&mut self) -> Result<(), OpenError> {
        if self.lock.is_none() {
            self.lock = Some(self.files.take_lock()?);
        }
        let opened = match self.corrupt.clone() {
            Some(reason) => Err(OpenError::Corrupt { path: self.files.database(), reason }),
            None => self.open_store(),
        };
        let mut store = match opened {
            Err(OpenError::Corrupt { path, reason }) => {
                let now = chrono::Utc::now().timestamp();
                let aside = self.files.move_aside(now)?;
                self.corrupt = None;
                let before = self.shared.published.load().as_ref().map_or(0, |committed| committed.resets);
                let resets = self.files.count_aside().max(before + 1);
                tracing::error!(
                    ledger = %path.display(),
                    reason,
                    moved_to = %aside.display(),
                    "the ledger cannot be used and was moved aside; counting starts again, restore a backup to go on from there"
                );
                let store = self.open_store()?;
                self.epochs.clear();
                self.shared.generation.send_modify(|generation| *generation += 1);
                Store { resets, ..store }
            }
            opened => opened?,
        };
        let resets = store.resets;
        for (account, products) in &self.configured {
            let state = store.accounts.entry(Arc::clone(account)).or_default();
            Arc::make_mut(&mut state.products).configure(products);
        }
        self.store = Some(store);
        self.publish();
        // A disk that can be read may still be full: the first write tells.
        let written = self.store.as_ref().map(|store| store::set_meta(&store.connection, RESETS, resets));
        if let Some(Err(error)) = written {
            self.store = None;
            let error = error.into();
            self.doubt(&error);
            return Err(OpenError::Unusable { path: self.files.database(), reason: error.to_string() });
        }
        if !self.unproven {
            self.succeeded();
        }
        Ok(())
    }

    /// Some damage shows only when the page that has it is read or written.
    fn doubt(&mut self, error: &StoreError) {
        if schema::is_corrupt(error) {
            self.corrupt = Some(error.to_string());
        }
    }

    fn open_store(&self) -> Result<Store, OpenError> {
        let connection = self.files.open(MIGRATIONS)?;
        let read = |connection: &Connection| {
            self.observer.opened(connection)?;
            // A new file has no number yet; it may be new because another was moved aside just before the process ended.
            let resets = store::meta(connection, RESETS)?.unwrap_or_else(|| self.files.count_aside());
            Ok::<_, StoreError>((store::load(connection)?, resets))
        };
        let path = self.files.database();
        let (accounts, resets) = read(&connection).map_err(|error: StoreError| {
            let reason = error.to_string();
            let corrupt = schema::is_corrupt(&error);
            if corrupt { OpenError::Corrupt { path, reason } } else { OpenError::Unusable { path, reason } }
        })?;
        Ok(Store { connection, accounts, resets })
    }

    /// The store, opened again if need be.
    fn store(&mut self) -> Result<&mut Store, CheckpointError> {
        if self.store.is_none() {
            if self.tried.is_some_and(|tried| tried.elapsed() < RETRY_EVERY) {
                return Err(CheckpointError::Failed);
            }
            self.tried = Some(Instant::now());
            if let Err(error) = self.open() {
                self.failed(&error.to_string());
            }
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
        let store = self.store()?;
        match store::open_log(&store.connection, &log.account, log.log) {
            Ok(opened) => {
                let epoch = self.epoch(log);
                Ok(opened.map(|opened| LogCheckpoint { epoch, ..opened }))
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn begin(&mut self, log: &LogId, origin: &Origin) -> Result<LogCheckpoint, CheckpointError> {
        self.write(|transaction| store::begin_log(transaction, &log.account, log.log, origin))?;
        // Read back what is kept: an origin that was known already stays.
        let opened = self.open_log(log)?.ok_or(CheckpointError::Failed)?;
        let store = self.store()?;
        let state = store::LogState {
            origin: opened.origin.clone(),
            cursor: opened.position.cursor(),
            first_poll_complete: opened.first_poll_complete,
            last_entry: None,
            last_poll: opened.last_poll,
        };
        let account = store.accounts.entry(Arc::clone(&log.account)).or_default();
        account.logs.entry(log.log).or_insert(state);
        self.publish();
        Ok(opened)
    }

    fn products(&mut self, account: &Arc<str>, answered: Vec<Product>) -> Result<(), CheckpointError> {
        let limit = self.limits.products;
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
        self.write(|transaction| {
            changed
                .iter()
                .try_for_each(|(id, name)| store::keep_product(transaction, account, *id, Some(name)))
        })?;
        self.store()?.accounts.entry(Arc::clone(account)).or_default().products = products;
        self.publish();
        Ok(())
    }

    fn configure(&mut self, configured: Configured) -> Result<(), CheckpointError> {
        self.configured = configured;
        // Reading again is the simplest way to forget what was configured before.
        self.store = None;
        self.tried = None;
        self.store().map(|_| ())
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
        let limits = self.limits;
        let accounts = &self.store()?.accounts;
        let changes = count(accounts, pages, &limits).ok_or(CheckpointError::Failed)?;
        let began = Instant::now();
        let committed = self.write_changes(&changes);
        self.shared.observe_commit(began.elapsed());
        if let Err(error) = committed {
            return Err(self.broken(&error));
        }
        let store = self.store()?;
        for (name, change) in changes {
            let account = store.accounts.entry(name).or_default();
            Arc::make_mut(&mut account.tally).merge(&change.delta);
            account.products = change.products;
            account.logs.extend(change.logs.into_iter().map(|(log, change)| (log, change.state)));
        }
        self.succeeded();
        self.observer
            .at(CommitStep::BeforePublish)
            .and_then(|()| {
                self.publish();
                self.observer.at(CommitStep::AfterPublish)
            })
            .map_err(|error| self.broken(&error.into()))
    }

    fn write_changes(&mut self, changes: &BTreeMap<Arc<str>, AccountChange>) -> Result<(), StoreError> {
        let Some(store) = self.store.as_mut() else { return Err(rusqlite::Error::InvalidQuery.into()) };
        let nothing = AccountTally::default();
        let transaction = store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (account, change) in changes {
            for (log, change) in &change.logs {
                store::move_log(&transaction, account, *log, change)?;
            }
            for id in &change.new_products {
                let name = change.products.answered_name(*id).map(|name| &**name);
                store::keep_product(&transaction, account, *id, name)?;
            }
            let before = store.accounts.get(account).map_or(&nothing, |account| &account.tally);
            change.delta.save(before, &mut SeriesSink { transaction: &transaction, account })?;
        }
        self.observer.at(CommitStep::BeforeCommit)?;
        transaction.commit()?;
        Ok(self.observer.at(CommitStep::AfterCommit)?)
    }

    /// A small transaction of its own.
    fn write(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), CheckpointError> {
        let store = self.store()?;
        let began = Instant::now();
        let written = store
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| work(&transaction).and_then(|()| transaction.commit()));
        self.shared.observe_commit(began.elapsed());
        match written {
            Ok(()) => {
                self.succeeded();
                Ok(())
            }
            Err(error) => Err(self.broken(&error.into())),
        }
    }

    /// After a failure nothing in memory is trusted: whether a commit that failed was kept, only the file knows.
    fn broken(&mut self, error: &StoreError) -> CheckpointError {
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
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::error!(
                ledger = %self.files.database().display(),
                reason,
                "the ledger cannot be written; counting stops until it can, and nothing is lost. check the disk and its permissions"
            );
        }
    }

    fn succeeded(&mut self) {
        self.unproven = false;
        self.shared.succeed();
        if self.told.take().is_some() {
            tracing::info!("the ledger can be written again, counting goes on");
        }
    }

    fn publish(&self) {
        if let Some(store) = &self.store {
            let committed = Committed { accounts: store.accounts.clone(), resets: store.resets };
            self.shared.published.store(Some(Arc::new(committed)));
        }
    }
}

const RESETS: &str = "resets";

/// Whoever asked may be gone.
fn answer<T>(reply: Reply<T>, result: Result<T, CheckpointError>) {
    let _ = reply.send(result);
}

/// How one account changes in a transaction.
struct AccountChange {
    delta: AccountTally,
    products: Arc<Products>,
    new_products: Vec<i64>,
    logs: BTreeMap<LogKind, LogChange>,
}

/// Counts pages in the order in which they came. `None` if a log is not known, which a poller that opened it can't
/// bring about.
fn count(
    accounts: &Accounts,
    pages: &[PageRequest],
    limits: &Limits,
) -> Option<BTreeMap<Arc<str>, AccountChange>> {
    let mut changes: BTreeMap<Arc<str>, AccountChange> = BTreeMap::new();
    for PageRequest { log: LogId { account, log }, record, .. } in pages {
        let before: &AccountState = accounts.get(account)?;
        let change = changes.entry(Arc::clone(account)).or_insert_with(|| AccountChange {
            delta: AccountTally::default(),
            products: Arc::clone(&before.products),
            new_products: Vec::new(),
            logs: BTreeMap::new(),
        });
        let mut products = Arc::unwrap_or_clone(std::mem::take(&mut change.products));
        let mut reading = Reading {
            committed: &before.tally,
            delta: &mut change.delta,
            products: &mut products,
            limits,
            new_products: &mut change.new_products,
        };
        reading.count(&record.rows, record.read_at);
        reading.note(*log, &record.statistics);
        change.products = Arc::new(products);

        let state = before.logs.get(log)?;
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
        // A poll that goes back to the floor hands over lower ids than before. Mostly the order is right already.
        log.counted.sort();
        log.state.cursor = record.cursor;
        log.state.last_entry = log.state.last_entry.max(record.newest_entry);
        log.state.first_poll_complete |= record.poll_end.is_some();
        log.state.last_poll = record.poll_end.or(log.state.last_poll);
    }
    Some(changes)
}
