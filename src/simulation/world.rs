//! One simulated world: a log whose rows become visible in each replica at a time of its own, what
//! goes wrong with requests, commits and processes, and the rows that must have been counted in the
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll as TaskPoll;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::{BEGINNING, WrongRule, elapsed, local_clock, set_skew};
use crate::archive::ArchiveFlaw;
use crate::archive::simulated::SimulatedArchive;
use crate::cryptolens::{
    Answered, ApiError, Concurrency, CountedRow, DecodeFault, LogKind, Page, PageQuery, Product, Row, Token,
    TransportFault,
};
use crate::ingest::flaw::Flaw;
use crate::ingest::{CheckpointStore, LogId, Poller, PollerSettings, Since, Source};
use crate::ledger::inline::InlineLedger;
use crate::ledger::tests::{ACCOUNT, Failing, folder};
use crate::ledger::{LedgerOptions, LedgerView};
use crate::reader::PageSource;

/// The named worlds. Each has requests that take a while and restarts now and then, beside what it
/// is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorldKind {
    Steady,
    BurstAfterQuiet,
    BurstAfterTrickle,
    /// The log writer stops and writes its backlog at once, out of order.
    StalledWriter,
    /// Rows come as fast as they are read.
    GrowingBacklog,
    Backdated,
    FutureTimes,
    ClockJumps,
    EmptyAnswers,
    LaggingReplica,
    AlternatingReplicas,
    FrozenReplica,
    /// One replica shows the newest row long before the others.
    NewestInOneReplica,
    Failures,
    Timeouts,
    Restarts,
    FailingCommits,
    Gaps,
    CappedPages,
    /// Rows later than promised: counted at most once.
    BrokenPromise,
    NoOverlap,
    RowsWithoutId,
    RepeatedRows,
    /// The ledger is moved away now and then, and a new one begins.
    LedgerSetAside,
    /// An older copy of the ledger is put in its place now and then.
    LedgerRestored,
    /// All of it but these two.
    Everything,
}

impl WorldKind {
    pub(super) const ALL: [WorldKind; 26] = [
        WorldKind::Steady,
        WorldKind::BurstAfterQuiet,
        WorldKind::BurstAfterTrickle,
        WorldKind::StalledWriter,
        WorldKind::GrowingBacklog,
        WorldKind::Backdated,
        WorldKind::FutureTimes,
        WorldKind::ClockJumps,
        WorldKind::EmptyAnswers,
        WorldKind::LaggingReplica,
        WorldKind::AlternatingReplicas,
        WorldKind::FrozenReplica,
        WorldKind::NewestInOneReplica,
        WorldKind::Failures,
        WorldKind::Timeouts,
        WorldKind::Restarts,
        WorldKind::FailingCommits,
        WorldKind::Gaps,
        WorldKind::CappedPages,
        WorldKind::BrokenPromise,
        WorldKind::NoOverlap,
        WorldKind::RowsWithoutId,
        WorldKind::RepeatedRows,
        WorldKind::LedgerSetAside,
        WorldKind::LedgerRestored,
        WorldKind::Everything,
    ];

    /// Worlds in which a wrong rule can lose or double a row.
    pub(super) fn that_show(flaw: Flaw) -> &'static [WorldKind] {
        match flaw {
            Flaw::FloorByRowTimes => &[WorldKind::StalledWriter, WorldKind::Backdated],
            Flaw::EmptyPageMovesFloor => &[WorldKind::EmptyAnswers, WorldKind::AlternatingReplicas],
            Flaw::ShortPageMovesFloor => &[WorldKind::Steady, WorldKind::StalledWriter],
            Flaw::PageByReceipt | Flaw::WitnessBySending => &[WorldKind::Timeouts, WorldKind::Everything],
            Flaw::BrokenChain => &[WorldKind::BurstAfterQuiet, WorldKind::BurstAfterTrickle],
            Flaw::NewestIsFinal => &[WorldKind::NewestInOneReplica],
            Flaw::SeenLost => &[WorldKind::Restarts],
            Flaw::SealedByRowTimes => &[WorldKind::Steady],
            Flaw::LateMarkMissing => &[WorldKind::Backdated, WorldKind::StalledWriter],
            Flaw::HistoryAfterCommit | Flaw::UsageAfterCommit => &[WorldKind::FailingCommits],
            Flaw::GuessByUse => &[WorldKind::Timeouts, WorldKind::GrowingBacklog, WorldKind::Everything],
        }
    }

    /// Worlds in which a wrong rule of the archive can lose or double a row.
    pub(super) fn that_show_archive(flaw: ArchiveFlaw) -> &'static [WorldKind] {
        match flaw {
            ArchiveFlaw::CursorAsBoundary => &[WorldKind::LaggingReplica, WorldKind::StalledWriter],
            ArchiveFlaw::EmptyBelieved => &[WorldKind::EmptyAnswers],
            ArchiveFlaw::RenamedFirst | ArchiveFlaw::RandomNames => {
                &[WorldKind::Steady, WorldKind::LedgerSetAside]
            }
        }
    }

    pub(super) fn is(self, kinds: &[WorldKind]) -> bool {
        self == WorldKind::Everything || kinds.contains(&self)
    }
}

/// The end of a world.
pub(super) struct WorldOutcome {
    /// The fault; `None` if each row was counted as promised.
    pub(super) fault: Option<String>,
    pub(super) rows: u64,
    pub(super) requests: u64,
    pub(super) kills: u64,
}

/// The log of a world, and what is kept of its rows beside their counts.
pub(super) trait FollowedLog {
    /// Its rows.
    type Row: CountedRow;

    /// The log.
    const LOG: LogKind;

    /// One for the rows of this world.
    fn new(seed: u64, entries: &[WorldEntry]) -> Self;

    /// The settings of the ledger.
    fn options(&self, directory: &Path) -> LedgerOptions;

    /// How often each row is counted, by its id.
    fn counted(&self, view: &LedgerView) -> BTreeMap<i64, u64>;

    /// Takes what the ledger has for others, until the process is killed.
    async fn receive(&mut self, ledger: InlineLedger);

    /// Takes all that is left of it.
    async fn drain(&mut self, ledger: &InlineLedger);

    /// A fault of what a process finds when it opens the ledger, if any.
    fn fault_at_start(&self, kind: WorldKind, directory: &Path, view: &LedgerView) -> Option<String>;

    /// A fault at the end of the world, if any. `sealed_by` is a time (Unix seconds) before which
    /// all minutes are sealed.
    fn fault_at_end(&self, kind: WorldKind, view: &LedgerView, sealed_by: i64) -> Option<String>;
}

/// A row of the log; times are seconds since the world began.
#[derive(Debug, Clone)]
pub(super) struct WorldEntry {
    pub(super) id: i64,
    pub(super) time: i64,
    /// Its place in the log.
    pub(super) number: usize,
    /// When each replica shows it, in milliseconds.
    visible: Vec<u64>,
}

/// The log, its replicas, and the faults of requests.
struct Server {
    kind: WorldKind,
    random: ChaCha8Rng,
    entries: Vec<WorldEntry>,
    replicas: usize,
    /// Rows without an id, each by the id of the row before.
    without_id: BTreeSet<i64>,
    overlap: u64,
    /// A server's own largest page.
    cap: usize,
    /// From then on nothing goes wrong any more, in milliseconds.
    calm_from: u64,
    requests: u64,
}

impl Server {
    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    /// How long a request takes to the server and back, in milliseconds.
    fn latency(&mut self, calm: bool) -> (u64, u64) {
        let slow = !calm && self.kind.is(&[WorldKind::Timeouts]) && self.chance(0.25);
        let most = if slow { self.overlap * 700 + 1000 } else { 400 };
        (self.random.random_range(0..most), self.random.random_range(0..most))
    }

    fn failure(&mut self) -> Option<ApiError> {
        let often = if self.kind.is(&[WorldKind::Failures]) { 0.25 } else { 0.01 };
        if !self.chance(often) {
            return None;
        }
        let errors = [
            ApiError::Timeout,
            ApiError::Server { status: Some(502), retry_after: None, html: true },
            ApiError::RateLimited { retry_after: Some(Duration::from_secs(7)) },
            ApiError::Decode(DecodeFault::NotJson),
            ApiError::Decode(DecodeFault::Empty),
            ApiError::Api,
            ApiError::Transport { cause: "reset".to_owned(), fault: TransportFault::Connection },
        ];
        Some(errors[self.random.random_range(0..errors.len())].clone())
    }

    /// The rows that a replica shows at a time (in milliseconds) after an id.
    fn shows(&mut self, query: PageQuery, now: u64) -> (Vec<WorldEntry>, Vec<Option<i64>>) {
        let replica = match self.kind {
            WorldKind::AlternatingReplicas => usize::try_from(self.requests).unwrap() % self.replicas,
            // Single questions are mostly answered by the replica that is ahead, pages by another.
            WorldKind::NewestInOneReplica if query.limit == 2 => 0,
            WorldKind::NewestInOneReplica => usize::from(!self.chance(0.03)),
            _ => self.random.random_range(0..self.replicas),
        };
        let calm = now >= self.calm_from;
        if !calm && self.kind.is(&[WorldKind::EmptyAnswers]) && self.chance(0.2) {
            return (Vec::new(), Vec::new());
        }
        let limit = usize::from(query.limit).min(self.cap);
        let visible = |entry: &&WorldEntry| entry.visible[replica] <= now && entry.id > query.starting_after;
        let mut rows: Vec<WorldEntry> = if query.newest_first {
            self.entries.iter().rev().filter(visible).take(limit).cloned().collect()
        } else {
            self.entries.iter().filter(visible).take(limit).cloned().collect()
        };
        let without_id = rows.iter().map(|row| row.id).filter(|id| self.without_id.contains(id)).map(Some);
        let without_id: Vec<Option<i64>> = without_id.collect();
        if self.kind.is(&[WorldKind::RepeatedRows]) && self.chance(0.2) && rows.len() < limit {
            rows.extend(rows.first().cloned());
        }
        (rows, without_id)
    }
}

/// An account of the simulated API.
#[derive(Clone)]
struct Api {
    server: Arc<Mutex<Server>>,
    token: Token,
    /// The most rows of a page.
    most: usize,
}

impl PageSource for Api {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        let sent = tokio::time::Instant::now();
        let (there, back, failure) = {
            let mut server = self.server.lock().unwrap();
            server.requests += 1;
            let calm = milliseconds(elapsed()) >= server.calm_from;
            let (there, back) = server.latency(calm);
            (there, back, if calm { None } else { server.failure() })
        };
        tokio::time::sleep(Duration::from_millis(there)).await;
        let (rows, without_id) = {
            let most = u16::try_from(self.most).unwrap();
            let query = PageQuery { limit: query.limit.min(most), ..query };
            self.server.lock().unwrap().shows(query, milliseconds(elapsed()))
        };
        tokio::time::sleep(Duration::from_millis(back)).await;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let received = tokio::time::Instant::now();
        if let Some(last) = rows.last() {
            peek(R::with_id(last.id));
        }
        // The receiver of the peeked row runs before the page is read as a whole.
        tokio::task::yield_now().await;
        let value = Page { rows: rows.iter().map(row).collect(), without_id };
        Ok(Answered { value, server_time: None, sent, received })
    }
}

impl Source for Api {
    async fn products(&self) -> Result<Vec<Product>, ApiError> {
        Ok(Vec::new())
    }

    fn token(&self) -> Token {
        self.token.clone()
    }
}

/// A row as the log of its type has it.
fn row<R: Row>(entry: &WorldEntry) -> R {
    let mut row = R::with_id(entry.id);
    super::history::fill(&mut row, entry);
    super::usage::fill(&mut row, entry);
    row
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// A world that has not run yet.
pub(super) struct World {
    kind: WorldKind,
    random: ChaCha8Rng,
    overlap: u64,
    limit: u16,
    concurrency: u8,
    server: Server,
    /// When the last row is visible everywhere, in seconds.
    last_visible: u64,
}

impl World {
    pub(super) fn new(kind: WorldKind, mut random: ChaCha8Rng) -> World {
        let overlap = match kind {
            WorldKind::NoOverlap => 0,
            _ => [10, 30, 60][random.random_range(0..3)],
        };
        let limit = [3, 4, 6, 10, 30][random.random_range(0..5)];
        let entries = entries(kind, &mut random, overlap);
        let replicas = entries.first().map_or(1, |entry| entry.visible.len());
        let last = entries.iter().flat_map(|entry| entry.visible.iter().copied()).max().unwrap_or(0);
        let last_visible = last / 1000 + 1;
        let without_id = if kind.is(&[WorldKind::RowsWithoutId]) {
            entries.iter().map(|entry| entry.id).filter(|_| random.random_bool(0.1)).collect()
        } else {
            BTreeSet::new()
        };
        // A real cap counts rows without an id too, which come on top of it here: not both in one
        // world.
        let capped = kind.is(&[WorldKind::CappedPages]) && without_id.is_empty();
        let cap = if capped { random.random_range(1..=usize::from(limit)) } else { 1000 };
        let server = Server {
            kind,
            random: ChaCha8Rng::seed_from_u64(random.random()),
            entries,
            replicas,
            without_id,
            overlap,
            cap,
            calm_from: (last_visible + 2 * overlap) * 1000,
            requests: 0,
        };
        let concurrency = [1, 2, 4, 8][random.random_range(0..4)];
        World { kind, random, overlap, limit, concurrency, server, last_visible }
    }

    /// Runs until everything is visible and all could have been read in calm, then compares.
    pub(super) async fn run<L: FollowedLog>(mut self, wrong: Option<WrongRule>) -> WorldOutcome {
        let flaw = wrong.and_then(WrongRule::of_counting);
        let entries = self.server.entries.clone();
        let promised = promised(&entries, self.overlap * 1000);
        let without_id = self.server.without_id.clone();
        let calm_from = self.last_visible + 2 * self.overlap;
        // A clock that was ahead sealed minutes of the future, and rows of the future are stamped
        // by it.
        let ahead = if self.kind.is(&[WorldKind::ClockJumps]) { 6000 } else { 0 };
        let end = Duration::from_secs(calm_from + 12 * self.overlap + 1200 + ahead);
        let server = Arc::new(Mutex::new(self.server));
        let api =
            Api { server: Arc::clone(&server), token: Token::fixed("token".to_owned().into()), most: 1000 };
        let folder = folder();
        let mut followed = L::new(self.random.random(), &entries);
        let failing = Failing::default();
        let log = LogId { account: ACCOUNT.into(), log: L::LOG };
        let mut archive = archive_of(&log, folder.path(), self.overlap, &self.random, wrong);
        // Its pages end within a range.
        let archived_api = Api { most: usize::from(self.limit), ..api.clone() };
        let mut copies = LedgerCopies::new(self.kind, folder.path());
        let mut before = BTreeMap::new();
        let mut fault = None;
        let mut kills = 0;
        while elapsed() < end && fault.is_none() {
            if elapsed().as_secs() < calm_from && copies.change(&mut self.random, &mut before) {
                followed = L::new(self.random.random(), &entries);
            }
            let ledger = InlineLedger::open_with(followed.options(folder.path()), failing.clone());
            fault = followed.fault_at_start(self.kind, folder.path(), &ledger.view());
            let now = elapsed().as_secs();
            let calm = now >= calm_from;
            if self.kind.is(&[WorldKind::ClockJumps]) {
                set_skew(if calm { 0 } else { self.random.random_range(-4000..4000) });
            }
            if self.kind.is(&[WorldKind::FailingCommits]) && !calm && self.random.random_bool(0.5) {
                let counter =
                    if self.random.random_bool(0.5) { &failing.before_commit } else { &failing.after_commit };
                counter.store(self.random.random_range(1..4), Ordering::SeqCst);
            }
            let settings = PollerSettings {
                id: log.clone(),
                interval: Duration::from_secs(15),
                overlap: Duration::from_secs(self.overlap),
                since: Since::All,
                concurrency: Concurrency::new(self.concurrency).unwrap(),
            };
            let cancel = CancellationToken::new();
            let poller = Poller::<_, _, L::Row>::new(
                settings,
                api.clone(),
                ledger.clone(),
                Arc::default(),
                Arc::default(),
                cancel,
            );
            let poll = poller.simulated(local_clock, self.limit, flaw).run();
            let receive = followed.receive(ledger.clone());
            let archiving = async {
                match &mut archive {
                    Some(archive) => archive.archive(archived_api.clone(), local_unix, calm).await,
                    None => std::future::pending().await,
                }
            };
            let work = Box::pin(async {
                tokio::select! {
                    biased;
                    _ = poll => {}
                    () = receive => {}
                    () = archiving => {}
                }
            });
            let restarts = [WorldKind::Restarts, WorldKind::LedgerSetAside, WorldKind::LedgerRestored];
            let often = if self.kind.is(&restarts) { 3 * self.overlap + 20 } else { 900 };
            // Killed after a while, or in the middle of what it does when it is next woken.
            let lives =
                if calm { end } else { Duration::from_millis(self.random.random_range(1..often * 1000)) };
            let turns = if calm { u32::MAX } else { self.random.random_range(1..400) };
            kills += u64::from(!calm);
            let life =
                tokio::time::timeout(lives.min(end.saturating_sub(elapsed())), Turns { work, left: turns });
            let _ = life.await;
            if elapsed() >= end {
                followed.drain(&ledger).await;
            }
            let now = followed.counted(&ledger.view());
            if let Some((id, _)) = before.iter().find(|(id, rows)| now.get(id) < Some(rows)) {
                fault = Some(format!("row {id} was taken back"));
            }
            before = now;
            if elapsed() >= end && fault.is_none() {
                let checkpoint = ledger.open(&log).await.unwrap().unwrap();
                let (floor, cursor) = (checkpoint.position.floor(), checkpoint.position.cursor());
                if floor < cursor {
                    fault = Some(format!("the floor stands still at {floor}, the cursor is {cursor}"));
                }
                let sealed_by =
                    BEGINNING + i64::try_from(elapsed().as_secs() - 2 * self.overlap).unwrap() - 180;
                fault = fault.or_else(|| followed.fault_at_end(self.kind, &ledger.view(), sealed_by));
                let committed = ledger.view().committed().unwrap();
                let no_id: u64 = committed.accounts.get(ACCOUNT).map_or(0, |account| {
                    let skipped = account.tally.skipped.iter();
                    skipped.filter(|(key, _)| key.reason.name() == "no_id").map(|(_, rows)| *rows).sum()
                });
                // Each is behind a row with an id, and shown with it.
                let shown = without_id.iter().filter(|id| before.contains_key(id)).count();
                if no_id != u64::try_from(shown).unwrap() {
                    fault = Some(format!("{no_id} rows without an id were counted, not {shown}"));
                }
            }
        }
        if fault.is_none() {
            let counted: BTreeSet<i64> = before.keys().copied().collect();
            let lost: Vec<_> = promised.difference(&counted).collect();
            let doubled: Vec<_> = before.iter().filter(|(_, rows)| **rows != 1).collect();
            if !lost.is_empty() || !doubled.is_empty() {
                fault = Some(format!("lost: {lost:?}, counted more than once: {doubled:?}"));
            }
        }
        if let (Some(archive), None) = (&archive, &fault) {
            let kept = promised.iter().chain(before.keys()).copied().collect();
            fault = archive_fault(archive, &kept, &entries);
        }
        let requests = server.lock().unwrap().requests;
        WorldOutcome { fault, rows: u64::try_from(entries.len()).unwrap(), requests, kills }
    }
}

/// The archive of the Events Log; `None` for another log, and where a wrong rule is sought that has
/// nothing to do with it.
fn archive_of(
    log: &LogId,
    folder: &Path,
    overlap: u64,
    random: &ChaCha8Rng,
    wrong: Option<WrongRule>,
) -> Option<SimulatedArchive> {
    if log.log != LogKind::Events {
        return None;
    }
    let flaw = match wrong {
        Some(WrongRule::Counting(_)) => return None,
        Some(WrongRule::Archiving(flaw)) => Some(flaw),
        None => None,
    };
    // The rest of the world is the same without an archive.
    let random = ChaCha8Rng::seed_from_u64(random.clone().random());
    Some(SimulatedArchive::new(folder, log.clone(), Duration::from_secs(overlap), random, flaw))
}

/// What is wrong in the archive: rows that are counted or promised must be there, each row once.
fn archive_fault(archive: &SimulatedArchive, kept: &BTreeSet<i64>, entries: &[WorldEntry]) -> Option<String> {
    let archived: BTreeSet<i64> = match archive.ids() {
        Ok(ids) => ids.into_iter().collect(),
        Err(fault) => return Some(fault),
    };
    let lost: Vec<_> = kept.difference(&archived).collect();
    let there: BTreeSet<i64> = entries.iter().map(|entry| entry.id).collect();
    let invented: Vec<_> = archived.difference(&there).collect();
    let is_right = lost.is_empty() && invented.is_empty();
    (!is_right).then(|| format!("not archived: {lost:?}, archived and not in the log: {invented:?}"))
}

fn local_unix() -> i64 {
    local_clock().unix
}

/// Moves the ledger away between two processes, or puts an older copy of it back.
struct LedgerCopies {
    kind: WorldKind,
    folder: PathBuf,
    /// The files of a copy, and what it has counted.
    copy: Option<(LedgerFiles, BTreeMap<i64, u64>)>,
}

/// The names of files with what is in them.
type LedgerFiles = Vec<(PathBuf, Vec<u8>)>;

impl LedgerCopies {
    fn new(kind: WorldKind, folder: &Path) -> LedgerCopies {
        LedgerCopies { kind, folder: folder.to_owned(), copy: None }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let is_ledger = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("ledger.db");
        entries.filter(is_ledger).collect()
    }

    fn remove(&self) {
        self.files().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    /// True if the ledger is another one now. `counted` is then what it has counted.
    fn change(&mut self, random: &mut ChaCha8Rng, counted: &mut BTreeMap<i64, u64>) -> bool {
        match self.kind {
            WorldKind::LedgerSetAside if random.random_bool(0.3) => {
                self.remove();
                counted.clear();
                true
            }
            WorldKind::LedgerRestored if random.random_bool(0.3) => match &self.copy {
                Some((files, of_copy)) if random.random_bool(0.6) => {
                    self.remove();
                    files.iter().for_each(|(path, content)| std::fs::write(path, content).unwrap());
                    counted.clone_from(of_copy);
                    true
                }
                _ => {
                    let content = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
                    let files = self.files().into_iter().map(content).collect();
                    self.copy = Some((files, counted.clone()));
                    false
                }
            },
            _ => false,
        }
    }
}

/// Ends a future after a number of turns.
struct Turns<F> {
    work: F,
    left: u32,
}

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> TaskPoll<()> {
        if self.left == 0 {
            return TaskPoll::Ready(());
        }
        self.left -= 1;
        std::pin::Pin::new(&mut self.work).poll(context).map(|_| ())
    }
}

/// Ids of the rows that every replica shows at most an overlap after the first replica showed the
/// first row with a higher id.
fn promised(entries: &[WorldEntry], overlap: u64) -> BTreeSet<i64> {
    let mut first_above = u64::MAX;
    let mut promised = BTreeSet::new();
    for entry in entries.iter().rev() {
        let everywhere = entry.visible.iter().copied().max().unwrap_or(0);
        if everywhere <= first_above.saturating_add(overlap) {
            promised.insert(entry.id);
        }
        first_above = first_above.min(entry.visible.iter().copied().min().unwrap_or(u64::MAX));
    }
    promised
}

/// The rows of a world, by id.
fn entries(kind: WorldKind, random: &mut ChaCha8Rng, overlap: u64) -> Vec<WorldEntry> {
    let replicas = match kind {
        WorldKind::LaggingReplica
        | WorldKind::AlternatingReplicas
        | WorldKind::FrozenReplica
        | WorldKind::Everything => random.random_range(2..4),
        WorldKind::NewestInOneReplica => 2,
        _ => 1,
    };
    let count = random.random_range(1..160_usize);
    let from_the_start = kind == WorldKind::NewestInOneReplica;
    let begins = if from_the_start { 0 } else { random.random_range(0..200_u64) };
    let (mut id, mut second) = (0_i64, begins);
    // Since then, and until then, the log writer writes nothing.
    let stall = random.random_range(0..600_u64);
    let stall_ends = stall + random.random_range(60..900_u64);
    let freeze = random.random_range(0..900_u64) * 1000;
    let thaw = freeze + random.random_range(0..=overlap) * 1000;
    let mut entries = Vec::with_capacity(count);
    for number in 0..count {
        let wide = kind.is(&[WorldKind::Gaps]) && random.random_bool(0.3);
        id += if wide { random.random_range(1..1_000_000_i64) } else { random.random_range(1..4_i64) };
        second += match kind {
            WorldKind::BurstAfterQuiet => {
                if number == count / 2 {
                    1500
                } else {
                    u64::from(random.random_bool(0.05))
                }
            }
            WorldKind::BurstAfterTrickle => {
                if number < count / 4 {
                    random.random_range(5..40_u64)
                } else {
                    u64::from(random.random_bool(0.1))
                }
            }
            // A backlog, so that the newest id is asked for while it is read.
            WorldKind::NewestInOneReplica if number < count * 3 / 4 => 0,
            WorldKind::NewestInOneReplica => random.random_range(1..=overlap / 2),
            WorldKind::GrowingBacklog => u64::from(random.random_bool(0.5)),
            _ => random.random_range(0..20_u64),
        };
        let mut shown = second;
        if kind.is(&[WorldKind::StalledWriter]) && (stall..stall_ends).contains(&second) {
            shown = stall_ends + random.random_range(0..5_u64);
        }
        let most = if kind == WorldKind::BrokenPromise && random.random_bool(0.1) {
            overlap * 20 + 60
        } else {
            overlap
        };
        let mut visible: Vec<u64> = (0..replicas)
            .map(|_| {
                let late = if random.random_bool(0.4) { random.random_range(0..=most * 1000) } else { 0 };
                shown * 1000 + late
            })
            .collect();
        if kind.is(&[WorldKind::FrozenReplica])
            && let Some(frozen) = visible.last_mut()
            && (freeze..thaw).contains(frozen)
        {
            *frozen = thaw;
        }
        let time = i64::try_from(second).unwrap();
        let time = match kind {
            WorldKind::Backdated => {
                time - i64::from(random.random_bool(0.4)) * random.random_range(0..400_000_i64)
            }
            WorldKind::FutureTimes => {
                time + i64::from(random.random_bool(0.4)) * random.random_range(0..40_000_i64)
            }
            WorldKind::Everything => time + random.random_range(-50_000..50_000_i64),
            _ => time,
        };
        entries.push(WorldEntry { id, time, number, visible });
    }
    if kind == WorldKind::NewestInOneReplica {
        // The other replica shows a row as late as is promised.
        for number in count * 3 / 4..count {
            let above = entries.get(number + 1).map_or(u64::MAX / 2, |above| above.visible[0]);
            entries[number].visible[0] = entries[number].time.unsigned_abs() * 1000;
            let latest = above.min(entries[number].visible[0] + overlap * 500) + overlap * 1000;
            let late = random.random_bool(0.5);
            entries[number].visible[1] = if late { latest } else { entries[number].visible[0] };
        }
    }
    entries
}
