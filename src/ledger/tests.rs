//! The whole pipeline under test: polls of a simulated log, kept by a real ledger that fails,
//! aborts and restarts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::inline::InlineLedger;
use super::writer::CommitStep as Step;
use super::*;
use crate::cryptolens::{EventRow, LogKind, Page, Row};
use crate::history::{DropReason, HistoryFamily};
use crate::ingest::{Poll, SessionState};
use crate::metrics::BirthTime;
use crate::reader::{Batch, Direction, Disorder, Exchange, TimestampPair, arrange};
use crate::tally::AccountTally;
use crate::usage::UsageSubject;

/// The page as the poller's reader hands it over.
fn in_order<R: Row>(page: Page<R>, limit: u16) -> Batch<R> {
    arrange(page, limit, Direction::OldestFirst, Disorder::SortShort).unwrap()
}

pub(crate) const ACCOUNT: &str = "default";

fn log(log: LogKind) -> LogId {
    LogId { account: ACCOUNT.into(), log }
}

pub(crate) fn options(directory: &Path) -> LedgerOptions {
    LedgerOptions {
        directory: directory.to_owned(),
        address: LedgerAddress::of(&"https://api.example.com/api".parse().unwrap()),
        foreign: ForeignLedger::Refuse,
        limits: Limits::default(),
        configured: BTreeMap::from([(Arc::from(ACCOUNT), Vec::new())]),
        history: None,
        usage: None,
    }
}

/// On a file system in memory where there is one: these tests commit a lot, and none of them cuts
/// the power.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Fails the next steps that a test names.
#[derive(Clone, Default)]
pub(crate) struct Failing {
    pub(crate) before_commit: Arc<AtomicU32>,
    pub(crate) after_commit: Arc<AtomicU32>,
    /// Local time in Unix milliseconds; 0 for the real one.
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) largest_file: Arc<AtomicU32>,
}

impl Failing {
    fn take(counter: &AtomicU32) -> rusqlite::Result<()> {
        let due =
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if due { Err(rusqlite::Error::InvalidQuery) } else { Ok(()) }
    }
}

impl Observer for Failing {
    fn opened(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.largest_file.load(Ordering::SeqCst) {
            0 => Ok(()),
            pages => connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())),
        }
    }

    fn at(&self, step: Step) -> rusqlite::Result<()> {
        match step {
            Step::BeforeCommit => Self::take(&self.before_commit),
            Step::AfterCommit => Self::take(&self.after_commit),
            Step::BeforePublish | Step::AfterPublish => Ok(()),
        }
    }

    fn now(&self) -> BirthTime {
        match self.clock.load(Ordering::SeqCst) {
            0 => BirthTime::at_millis(chrono::Utc::now().timestamp_millis()),
            millis => BirthTime::at_millis(millis),
        }
    }
}

struct Running {
    ledger: Ledger,
    thread: JoinHandle<()>,
}

/// Settings of history with these targets.
fn history(targets: &[&str], outbox_limit: u64) -> HistoryOptions {
    HistoryOptions {
        targets: targets.iter().map(|name| Arc::from(*name)).collect(),
        window: Duration::from_secs(31 * 24 * 3600),
        outbox_limit,
        first_object_code: 0,
    }
}

/// By event name, so by row: how often it is in the history of a ledger, sealed or not.
fn in_history(directory: &Path) -> BTreeMap<i64, u64> {
    let connection = Connection::open(directory.join("ledger.db")).unwrap();
    let mut select =
        connection.prepare("SELECT cells FROM history_open UNION ALL SELECT data FROM history_out").unwrap();
    let blobs = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let mut found = BTreeMap::new();
    for blob in blobs {
        for sample in PackedSamples::unpack(&ACCOUNT.into(), &blob.unwrap()).unwrap() {
            if sample.series.family == HistoryFamily::EventEntries {
                let id = sample.series.values[1].parse().unwrap();
                *found.entry(id).or_default() += u64::try_from(sample.value).unwrap();
            }
        }
    }
    found
}

/// The rows of all days in a ledger.
fn in_days(directory: &Path) -> u64 {
    let days = LedgerReader::open(directory).unwrap().days(ACCOUNT, LogKind::Events).unwrap();
    days.map_or(0, |days| days.counts.values().map(|rows| rows.success + rows.failure + rows.unknown).sum())
}

impl Running {
    fn with_history(directory: &Path, observer: impl Observer, targets: &[&str], limit: u64) -> Running {
        let options = LedgerOptions { history: Some(history(targets, limit)), ..options(directory) };
        let (ledger, thread) = Ledger::start_observed(options, observer).unwrap();
        Running { ledger, thread }
    }

    fn start(directory: &Path, observer: impl Observer) -> Running {
        let (ledger, thread) = Ledger::start_observed(options(directory), observer).unwrap();
        Running { ledger, thread }
    }

    fn stop(self) {
        drop(self.ledger);
        self.thread.join().unwrap();
    }
}

/// Every row has an event name of its own, so that the tally tells how often each was counted.
fn counted(ledger: &Ledger) -> BTreeMap<i64, u64> {
    counted_in(&ledger.view())
}

pub(crate) fn counted_in(view: &LedgerView) -> BTreeMap<i64, u64> {
    let committed = view.committed().unwrap();
    let Some(account) = committed.accounts.get(ACCOUNT) else { return BTreeMap::new() };
    let name = |name: &str| name.parse().unwrap();
    account.tally.events.iter().map(|(key, rows)| (name(&key.event), *rows)).collect()
}

/// The sets of usage in the file, by day, product and subject.
pub(crate) fn usage_sets_in(directory: &Path) -> BTreeMap<(i64, i64, UsageSubject), Vec<u8>> {
    let connection = Connection::open(directory.join("ledger.db")).unwrap();
    let mut select = connection.prepare("SELECT day, product, subject, members FROM usage_set").unwrap();
    let subject = |number| super::usage::subject(number).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?, subject(row.get(2)?)), row.get(3)?));
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn event(id: i64, time: i64) -> EventRow {
    EventRow { time: Some(time), event_name: id.to_string(), ..EventRow::with_id(id) }
}

/// A row of the model's log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: i64,
    time: i64,
    visible_at: i64,
}

#[derive(Debug, Clone)]
enum Action {
    Wait(i64),
    /// A poll whose requests take so many seconds each, whose pages repeat rows, and which ends
    /// after so many requests at the latest, as if the process had been stopped.
    Poll {
        latency: i64,
        repeat: bool,
        most: usize,
    },
    FailBeforeCommit,
    FailAfterCommit,
    Restart,
}

struct World {
    entries: Vec<Entry>,
    clock: i64,
    /// Local time minus the server's.
    skew: i64,
    overlap: Duration,
    limit: u16,
    /// Lost with the process.
    session: Option<SessionState>,
}

impl World {
    /// A log of which nothing was read.
    fn of(entries: Vec<Entry>, clock: i64, overlap: i64, limit: u16) -> World {
        let overlap = Duration::from_secs(overlap.unsigned_abs());
        World { entries, clock, skew: 0, overlap, limit, session: None }
    }

    fn now(&self) -> TimestampPair {
        let monotonic = Duration::from_secs(u64::try_from(self.clock).unwrap());
        TimestampPair { unix: self.clock + self.skew, monotonic }
    }

    async fn poll(
        &mut self,
        ledger: &Ledger,
        origin: i64,
        latency: i64,
        repeat: bool,
        most: usize,
    ) -> Result<bool, CheckpointError> {
        let id = log(LogKind::Events);
        let mut checkpoint = match ledger.open(&id).await? {
            Some(checkpoint) => checkpoint,
            None => ledger.begin(&id, Origin { id: origin, mark: 0, since: "all".to_owned() }).await?,
        };
        let now = self.now().monotonic;
        let mut session = self.session.take().unwrap_or_else(|| SessionState::new(self.overlap, now));
        session.resume(&checkpoint.position, checkpoint.without_id.clone(), now);
        session.sealed_until(checkpoint.sealed_until);
        let complete = self.read(ledger, &mut checkpoint, &mut session, latency, repeat, most).await;
        self.session = Some(session);
        complete
    }

    async fn read(
        &mut self,
        ledger: &Ledger,
        checkpoint: &mut LogCheckpoint,
        session: &mut SessionState,
        latency: i64,
        repeat: bool,
        most: usize,
    ) -> Result<bool, CheckpointError> {
        let id = log(LogKind::Events);
        let mut poll = Poll::begin(&checkpoint.position, self.limit, !checkpoint.first_poll_complete);
        let mut pending = Vec::new();
        let mut complete = false;
        for _ in 0..most {
            let sent = self.now();
            let after = poll.asks_after(&mut checkpoint.position, session, sent.monotonic);
            // The server looks somewhere between the two.
            self.clock += latency;
            let visible =
                self.entries.iter().filter(|row| row.id > after && row.visible_at <= sent.unix - self.skew);
            let mut rows: Vec<_> =
                visible.take(self.limit.into()).map(|row| event(row.id, row.time)).collect();
            if repeat && let Some(first) = rows.first().cloned() {
                rows.insert(0, first);
            }
            let page = in_order(Page { rows, without_id: vec![] }, self.limit);
            let exchange = Exchange { sent, received: self.now() };
            let step = poll.take(&mut checkpoint.position, session, after, page, exchange);
            if let Some(batch) = step.update {
                pending.push(ledger.submit(&id, checkpoint.epoch, batch).await?);
            }
            complete = step.complete;
            if complete {
                break;
            }
        }
        for commit in pending {
            commit.done().await?;
        }
        Ok(complete)
    }
}

/// Rows of any time, each visible so many seconds after the one before it (none with a lower id
/// later than the overlap allows, unless it is `lost`).
fn entries(shape: &[(i64, i64, i64, i64)], overlap: i64) -> Vec<Entry> {
    let (mut id, mut shown) = (0, 100);
    let mut entries = Vec::new();
    for (gap, later, delay, age) in shape {
        id += gap;
        shown += later;
        // Up to the overlap, which is promised; and now and then far beyond, which is only promised
        // not to be counted twice.
        let delay = if *delay > 100 { overlap * 50 } else { overlap * delay / 100 };
        entries.push(Entry { id, time: shown - age, visible_at: shown + delay });
    }
    entries
}

/// Ids of the rows that become visible at most an overlap after the first row with a higher id.
fn promised(entries: &[Entry], origin: i64, overlap: i64) -> BTreeSet<i64> {
    let mut first_above = i64::MAX;
    let mut promised = BTreeSet::new();
    for row in entries.iter().rev() {
        if row.id > origin && row.visible_at <= first_above.saturating_add(overlap) {
            promised.insert(row.id);
        }
        first_above = first_above.min(row.visible_at);
    }
    promised
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0i64..90).prop_map(Action::Wait),
        1 => (3000i64..5000).prop_map(Action::Wait),
        6 => (0i64..40, any::<bool>(), prop_oneof![Just(1000usize), 1usize..6])
            .prop_map(|(latency, repeat, most)| Action::Poll { latency, repeat, most }),
        1 => Just(Action::FailBeforeCommit),
        1 => Just(Action::FailAfterCommit),
        2 => Just(Action::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Page limit 3, late rows, duplicates, slow requests, failing and ambiguous commits, a restart
    /// after any step: what is counted is what is above the origin, each row once.
    #[test]
    fn every_row_is_counted_exactly_once(
        shape in prop::collection::vec(
            (
                1i64..4,
                prop_oneof![Just(0i64), 0i64..30, Just(2000)],
                0i64..104,
                prop_oneof![Just(0i64), 0i64..100, -20_000i64..20_000],
            ),
            1..40,
        ),
        actions in prop::collection::vec(action(), 0..25),
        origin in prop_oneof![Just(0i64), 0i64..40],
        overlap in prop_oneof![Just(0i64), Just(60), Just(3600)],
        skew in prop_oneof![Just(0i64), -500i64..500],
    ) {
        let entries = entries(&shape, overlap);
        let promised = promised(&entries, origin, overlap);
        let possible: BTreeSet<i64> = entries.iter().filter(|row| row.id > origin).map(|row| row.id).collect();
        let mut world = World { skew, ..World::of(entries, 100, overlap, 3) };
        let folder = folder();
        let failing = Failing::default();
        let mut running = Running::start(folder.path(), failing.clone());
        let mut before = BTreeMap::new();
        // A poll that comes right after a start goes forward; the next goes back to the floor.
        let last = [Action::Wait(1_000_000), Action::Poll { latency: 0, repeat: false, most: 1000 }];
        let end = (0..4).flat_map(|_| last.clone());
        for action in actions.into_iter().chain(end) {
            match action {
                Action::Wait(seconds) => world.clock += seconds,
                Action::Poll { latency, repeat, most } => {
                    // A failed commit is what the poller takes for "open again".
                    let _ = block_on(world.poll(&running.ledger, origin, latency, repeat, most));
                }
                Action::FailBeforeCommit => failing.before_commit.store(1, Ordering::SeqCst),
                Action::FailAfterCommit => failing.after_commit.store(1, Ordering::SeqCst),
                Action::Restart => {
                    running.stop();
                    running = Running::start(folder.path(), failing.clone());
                    world.session = None;
                }
            }
            // After a failed commit only the file knows.
            let _ = block_on(running.ledger.open(&log(LogKind::Events)));
            let now = counted(&running.ledger);
            for (id, rows) in &before {
                prop_assert!(now.get(id) >= Some(rows), "row {} was taken back", id);
            }
            before = now;
            let reader = LedgerReader::open(folder.path()).unwrap();
            if let Some(FinalRows { floor, rows, .. }) = reader.final_rows(ACCOUNT, LogKind::Events).unwrap() {
                let below = before.keys().filter(|id| **id <= floor).count();
                prop_assert_eq!(rows, u64::try_from(below).unwrap(), "final rows at {}", floor);
                // No day is forgotten before the waits of the end.
                if world.clock < 1_000_000 {
                    prop_assert_eq!(in_days(folder.path()), u64::try_from(before.len()).unwrap());
                }
            }
        }
        prop_assert!(before.values().all(|rows| *rows == 1), "counted twice: {:?}", before);
        let counted: BTreeSet<i64> = before.keys().copied().collect();
        prop_assert!(counted.is_superset(&promised), "lost: {:?}", promised.difference(&counted));
        prop_assert!(counted.is_subset(&possible), "not above the origin: {:?}", counted.difference(&possible));
        running.stop();
    }
}

/// Aborts its process at the nth time that a step is reached.
pub(crate) struct Aborting {
    step: String,
    left: AtomicU32,
}

/// The steps of a commit.
pub(crate) const STEPS: [&str; 4] = ["BeforeCommit", "AfterCommit", "BeforePublish", "AfterPublish"];

impl Aborting {
    pub(crate) fn new(step: &str, times: u32) -> Arc<Aborting> {
        Arc::new(Aborting { step: step.to_owned(), left: times.into() })
    }

    fn reached(&self, step: &str) {
        if step == self.step && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

impl Observer for Arc<Aborting> {
    fn at(&self, step: Step) -> rusqlite::Result<()> {
        self.reached(&format!("{step:?}"));
        Ok(())
    }
}

/// Reads rows 1 to 40 with pages of three, in this process or in one that aborts.
async fn read_forty(ledger: &Ledger, parsed: impl Fn()) {
    let rows = (1..=40).map(|id| Entry { id, time: id * 10_000, visible_at: 0 });
    let mut world = World::of(rows.collect(), 1_000_000, 60, 3);
    loop {
        parsed();
        if world.poll(ledger, 0, 0, false, 4).await.unwrap() {
            break;
        }
    }
    assert!(world.poll(ledger, 0, 0, false, 1000).await.unwrap());
}

#[test]
fn an_abort_at_any_step_loses_and_doubles_nothing() {
    const TASK: &str = "CRYPTOLENS_TEST_ABORT";
    let name = "ledger::tests::an_abort_at_any_step_loses_and_doubles_nothing";
    if let Ok(task) = std::env::var(TASK) {
        let parts: Vec<&str> = task.split(' ').collect();
        let [directory, step, times] = parts[..] else { panic!("a task has three parts") };
        let aborting = Aborting::new(step, times.parse().unwrap());
        let running = Running::with_history(Path::new(directory), Arc::clone(&aborting), &["one"], 1_000_000);
        block_on(read_forty(&running.ledger, || aborting.reached("Parsed")));
        running.stop();
        return;
    }
    let once_each: BTreeMap<i64, u64> = (1..=40).map(|id| (id, 1)).collect();
    for step in ["Parsed"].into_iter().chain(STEPS) {
        for times in [1, 2, 4] {
            let folder = folder();
            let child = Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact", "--nocapture"])
                .env(TASK, format!("{} {step} {times}", folder.path().display()))
                .output()
                .unwrap();
            assert!(!child.status.success(), "{step} {times} was not reached");
            let running = Running::with_history(folder.path(), Failing::default(), &["one"], 1_000_000);
            let kept = counted(&running.ledger);
            assert!(kept.values().all(|rows| *rows == 1), "{step} {times}");
            assert_eq!(in_history(folder.path()), kept, "{step} {times}: counts and history");
            assert_eq!(in_days(folder.path()), u64::try_from(kept.len()).unwrap(), "{step} {times}: days");
            if times == 4 {
                assert!(kept.len() > 10, "{step} {times}: {} rows kept", kept.len());
            }
            block_on(read_forty(&running.ledger, || {}));
            assert_eq!(counted(&running.ledger), once_each, "{step} {times}");
            assert_eq!(in_history(folder.path()), once_each, "{step} {times}: counts and history");
            running.stop();
        }
    }
}

#[test]
fn a_full_disk_stops_counting_until_there_is_room() {
    const ROWS: i64 = 1900;
    let folder = folder();
    let failing = Failing::default();
    failing.largest_file.store(30, Ordering::SeqCst);
    let running = Running::start(folder.path(), failing.clone());
    // Far more than there is room for, however the writer gathers them.
    let entry = |id| Entry { id, time: id, visible_at: if id <= 100 { 0 } else { 20_000 } };
    let mut world = World::of((1..=ROWS).map(entry).collect(), 10_000, 60, 50);
    assert_eq!(block_on(world.poll(&running.ledger, 0, 0, false, 1000)), Ok(true));
    world.clock = 20_000;
    let full = block_on(world.poll(&running.ledger, 0, 0, false, 1000));
    assert_eq!(full, Err(CheckpointError::Failed));
    let health = running.ledger.view().health();
    assert!(!health.up && health.failures > 0);
    let shown = counted(&running.ledger);
    assert!(shown.len() >= 100 && shown.len() < 1900, "{} rows", shown.len());

    failing.largest_file.store(0, Ordering::SeqCst);
    let complete = loop {
        match block_on(world.poll(&running.ledger, 0, 0, false, 1000)) {
            Err(CheckpointError::Failed) => std::thread::sleep(Duration::from_millis(100)),
            done => break done,
        }
    };
    assert_eq!(complete, Ok(true));
    assert_eq!(counted(&running.ledger), (1..=ROWS).map(|id| (id, 1)).collect());
    assert!(running.ledger.view().health().up);
    running.stop();
}

#[test]
fn a_disk_that_comes_back_is_used_and_until_then_nothing_is_shown() {
    let folder = folder();
    let directory = folder.path().join("volume");
    std::fs::write(&directory, "a file where the directory should be").unwrap();
    let running = Running::start(&directory, Failing::default());
    assert!(running.ledger.view().committed().is_none(), "absent, not 0");
    assert!(!running.ledger.view().health().up);
    let id = log(LogKind::WebApi);
    assert!(matches!(block_on(running.ledger.open(&id)), Err(CheckpointError::Failed)));

    std::fs::remove_file(&directory).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(matches!(block_on(running.ledger.open(&id)), Ok(None)));
    assert!(running.ledger.view().committed().is_some() && running.ledger.view().health().up);
    running.stop();
}

#[test]
fn a_second_process_is_refused() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    let refused = Ledger::start(options(folder.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }));
    assert!(refused.to_string().contains("another process uses this ledger"));
    running.stop();
    assert!(Ledger::start(options(folder.path())).is_ok());
}

#[test]
fn a_backup_can_be_taken_and_restored_while_running() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    block_on(read_forty(&running.ledger, || {}));
    let backup = folder.path().join("backup");
    std::fs::create_dir(&backup).unwrap();
    let database = folder.path().join("ledger.db");
    let reader = Connection::open(&database).unwrap();
    reader.execute("VACUUM INTO ?1", [backup.join("ledger.db").to_str().unwrap()]).unwrap();
    drop(reader);
    // Still ours, and still writable.
    assert!(Ledger::start(options(folder.path())).is_err());
    block_on(read_forty(&running.ledger, || {}));
    running.stop();

    let restored = Running::start(&backup, Failing::default());
    assert_eq!(counted(&restored.ledger), (1..=40).map(|id| (id, 1)).collect());
    restored.stop();
}

#[test]
fn a_corrupt_ledger_is_moved_aside_and_reported() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    block_on(read_forty(&running.ledger, || {}));
    running.stop();
    std::fs::write(folder.path().join("ledger.db"), "no database at all ".repeat(1000)).unwrap();
    let running = Running::start(folder.path(), Failing::default());
    assert_eq!(running.ledger.view().committed().unwrap().resets, 1);
    assert_eq!(counted(&running.ledger), BTreeMap::new());
    running.stop();
    // The number is kept.
    let running = Running::start(folder.path(), Failing::default());
    assert_eq!(running.ledger.view().committed().unwrap().resets, 1);
    running.stop();
    let aside = std::fs::read_dir(folder.path()).unwrap().flatten();
    assert!(aside.filter(|entry| entry.file_name().to_string_lossy().contains("aside")).count() >= 1);
}

/// Overwrites the first page of a table.
fn damage(database: &Path, table: &str) {
    let connection = Connection::open(database).unwrap();
    let page: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
        .unwrap();
    let size: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(database).unwrap();
    let page = usize::try_from((page - 1) * size).unwrap()..usize::try_from(page * size).unwrap();
    bytes[page].fill(0xa5);
    std::fs::write(database, bytes).unwrap();
}

#[test]
fn damage_that_shows_only_when_it_is_met_is_moved_aside_too() {
    // The seen ids are not read when the ledger is loaded; the products are, but a row may be
    // written to a damaged page.
    for table in ["seen", "counter"] {
        let folder = folder();
        let running = Running::start(folder.path(), Failing::default());
        block_on(read_forty(&running.ledger, || {}));
        running.stop();
        damage(&folder.path().join("ledger.db"), table);

        let running = Running::start(folder.path(), Failing::default());
        let id = log(LogKind::Events);
        let mut tries = 0;
        while block_on(running.ledger.open(&id)).is_err() {
            tries += 1;
            assert!(tries < 20, "{table}: counting never goes on");
            std::thread::sleep(Duration::from_millis(100));
        }
        block_on(read_forty(&running.ledger, || {}));
        assert_eq!(running.ledger.view().committed().unwrap().resets, 1, "{table}");
        assert_eq!(counted(&running.ledger), (1..=40).map(|id| (id, 1)).collect(), "{table}");
        assert!(running.ledger.view().health().up, "{table}");
        running.stop();
        let kept = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(
            kept.filter(|entry| entry.file_name().to_string_lossy().contains("aside")).count(),
            1,
            "{table}"
        );
    }
}

#[test]
fn a_reset_is_counted_even_if_the_process_ended_in_the_middle_of_it() {
    let folder = folder();
    std::fs::write(folder.path().join("ledger.db.aside-1700000000"), "moved, and nothing put in its place")
        .unwrap();
    let running = Running::start(folder.path(), Failing::default());
    assert_eq!(running.ledger.view().committed().unwrap().resets, 1);
    running.stop();
}

#[test]
fn a_ledger_is_up_again_when_what_failed_succeeds() {
    let folder = folder();
    let failing = Failing::default();
    let running = Running::start(folder.path(), failing.clone());
    assert!(running.ledger.view().health().up);
    failing.before_commit.store(1, Ordering::SeqCst);
    let mut world = World::of(vec![Entry { id: 1, time: 1, visible_at: 0 }], 10, 60, 3);
    assert_eq!(block_on(world.poll(&running.ledger, 0, 0, false, 9)), Err(CheckpointError::Failed));
    let id = log(LogKind::Events);
    while block_on(running.ledger.open(&id)).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!running.ledger.view().health().up, "it could be opened, but nothing was written");
    assert_eq!(block_on(world.poll(&running.ledger, 0, 0, false, 9)), Ok(true));
    assert!(running.ledger.view().health().up);
    running.stop();
}

#[test]
fn pages_of_an_earlier_epoch_are_refused() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    let id = log(LogKind::Events);
    let ledger = &running.ledger;
    block_on(async {
        let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
        let mut old = ledger.begin(&id, origin.clone()).await.unwrap();
        let kept = ledger.begin(&id, Origin { id: 99, ..origin.clone() }).await.unwrap();
        assert_eq!(kept.origin, origin, "an origin that is known stays");
        let mut poll = Poll::begin(&old.position, 100, true);
        let page = in_order(Page { rows: vec![event(5, 5)], without_id: vec![] }, 100);
        let now = TimestampPair::now();
        let mut session = SessionState::new(Duration::ZERO, now.monotonic);
        let exchange = Exchange { sent: now, received: now };
        let record = poll.take(&mut old.position, &mut session, 0, page, exchange).update.unwrap();
        let refused = ledger.submit(&id, old.epoch, record.clone()).await.unwrap().done().await;
        assert_eq!(refused, Err(CheckpointError::Failed));
        let taken = ledger.submit(&id, kept.epoch, record).await.unwrap().done().await;
        assert_eq!(taken, Ok(()));
    });
    assert_eq!(counted(ledger), [(5, 1)].into());
    running.stop();
}

#[test]
fn everything_kept_comes_back_as_it_was() {
    let folder = folder();
    let mut options = options(folder.path());
    let configured = Product { id: 5, name: "configured".to_owned() };
    options.configured = BTreeMap::from([(Arc::from(ACCOUNT), vec![configured])]);
    let tally = |ledger: &Ledger| ledger.view().committed().unwrap().accounts[ACCOUNT].clone();
    let start = || Ledger::start(options.clone()).unwrap();
    let (ledger, thread) = start();
    block_on(async {
        let answered = vec![Product { id: 7, name: "Seven".to_owned() }];
        ledger.products(&Arc::from(ACCOUNT), answered).await.unwrap();
        let id = log(LogKind::WebApi);
        let mut opened = ledger.begin(&id, Origin { id: 3, mark: 9, since: "30d".to_owned() }).await.unwrap();
        let mut poll = Poll::begin(&opened.position, 100, true);
        let now = TimestampPair::now();
        let mut session = SessionState::new(Duration::ZERO, now.monotonic);
        let exchange = Exchange { sent: now, received: now };
        let rows = (10..60).map(|id| crate::cryptolens::WebApiRow {
            product_id: id % 4,
            time: Some(id * 100),
            state: Some(1990 + id),
            floating_expires: Some(id * 200),
            do_int_value: Some(id),
            ..crate::cryptolens::WebApiRow::with_id(id)
        });
        for rows in [rows.collect(), Vec::new()] {
            let page = in_order(Page { rows, without_id: vec![Some(12), Some(12)] }, 1000);
            let asked = poll.asks_after(&mut opened.position, &mut session, now.monotonic);
            let step = poll.take(&mut opened.position, &mut session, asked, page, exchange);
            let record = step.update.unwrap();
            ledger.submit(&id, opened.epoch, record).await.unwrap().done().await.unwrap();
        }
    });
    let before = tally(&ledger);
    assert_ne!(*before.tally, AccountTally::default());
    drop(ledger);
    thread.join().unwrap();
    let (ledger, thread) = start();
    let after = tally(&ledger);
    assert_eq!(after.tally, before.tally);
    assert_eq!(after.logs, before.logs);
    assert_eq!(after.products, before.products);
    let products: Vec<_> = after.products.iter().map(|(id, name)| (id, name.map(|name| &**name))).collect();
    assert_eq!(products, [(1, None), (2, None), (3, None), (5, Some("configured")), (7, Some("Seven"))]);
    block_on(ledger.configure(BTreeMap::new(), None)).unwrap();
    assert_eq!(tally(&ledger).products.iter().count(), 4, "no longer configured");
    drop(ledger);
    thread.join().unwrap();
}

/// The version that wrote a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// There is no ledger.
    None,
    /// Three logs that were read to their ends, with `--since=all`.
    First,
    /// The same, with `--since=1d`.
    Second,
    /// The same with `--since=1d`, of an API at another address.
    Third,
    /// The same once more.
    Fourth,
    /// The same, with rows above the floor.
    Fifth,
}

impl Version {
    /// Puts its ledger into a directory.
    pub(crate) fn put(self, directory: &Path) {
        use std::io::Read as _;
        let packed: &[u8] = match self {
            Version::None => return,
            Version::First => include_bytes!("../../tests/fixtures/ledger-v1.db.gz"),
            Version::Second => include_bytes!("../../tests/fixtures/ledger-v2.db.gz"),
            Version::Third => include_bytes!("../../tests/fixtures/ledger-v3.db.gz"),
            Version::Fourth => include_bytes!("../../tests/fixtures/ledger-v4.db.gz"),
            Version::Fifth => include_bytes!("../../tests/fixtures/ledger-v5.db.gz"),
        };
        let mut database = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut database).unwrap();
        std::fs::write(directory.join("ledger.db"), database).unwrap();
    }
}

fn first_version(directory: &Path) {
    Version::First.put(directory);
}

/// All rows of a table, as text.
fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut select = connection.prepare(sql).unwrap();
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
        Ok(format!("{:?}", cells.collect::<Result<Vec<_>, _>>()?))
    };
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

const KEPT: [&str; 4] = [
    // Label sets that are shown at 0 are rows, too.
    "SELECT account, family, labels, value FROM counter WHERE value > 0 AND family NOT LIKE '%rows_counted%' ORDER BY account, family, labels",
    "SELECT account, family, labels, count, sum, buckets FROM histogram ORDER BY account, family, labels",
    "SELECT * FROM product ORDER BY account, id",
    "SELECT account, log, since, mark, origin, floor, cursor, last_entry FROM log ORDER BY id",
];

#[test]
fn a_ledger_of_the_first_version_migrates_with_equal_counts_and_positions() {
    let folder = folder();
    first_version(folder.path());
    let path = folder.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    let before = KEPT.map(|sql| rows(&old, sql));
    let window: Vec<(String, i64, i64)> = old
        .prepare("SELECT log.log, row, stamp FROM window JOIN log ON window.log = log.id ORDER BY row")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(window.len() > 50 && before[0].len() > 200);
    drop(old);

    let running = Running::start(folder.path(), Failing::default());
    for kind in LogKind::ALL {
        let opened = block_on(running.ledger.open(&log(kind))).unwrap().unwrap();
        let of_log = || window.iter().filter(|(name, ..)| name == kind.name());
        let ids: Vec<i64> = of_log().map(|(_, id, _)| *id).collect();
        assert!(!ids.is_empty(), "{kind}");
        assert_eq!(ids.last(), Some(&opened.position.cursor()), "{kind}");
        assert!(ids.iter().all(|id| opened.position.seen().contains(*id)), "{kind}");
        assert!(!opened.position.seen().contains(ids[0] + 1), "{kind}");
        let newest = of_log().map(|(.., stamp)| *stamp).max();
        assert_eq!(Some(opened.position.watermark()), newest, "{kind}");
    }
    running.stop();
    let new = Connection::open(&path).unwrap();
    assert_eq!(KEPT.map(|sql| rows(&new, sql)), before);
    let copy = Connection::open(folder.path().join("ledger.db.v1")).unwrap();
    assert_eq!(rows(&copy, "PRAGMA user_version"), ["[Integer(1)]"]);
    assert_eq!(KEPT.map(|sql| rows(&copy, sql)), before);
    drop((new, copy));

    Running::start(folder.path(), Failing::default()).stop();
    assert!(!folder.path().join("ledger.db.v1").exists(), "the second start succeeded too");
}

#[test]
fn a_ledger_of_the_second_version_migrates_with_equal_counts_and_positions() {
    let folder = folder();
    Version::Second.put(folder.path());
    let path = folder.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    let before = KEPT.map(|sql| rows(&old, sql));
    let seen = "SELECT * FROM seen ORDER BY log, first";
    let seen_before = rows(&old, seen);
    assert!(before[0].len() > 40 && !seen_before.is_empty());
    drop(old);

    let mut options = options(folder.path());
    let refused = Ledger::start(options.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }));
    assert!(!folder.path().join("ledger.db.v2").exists(), "no copy of a ledger of somebody else's");
    options.foreign = ForeignLedger::Adopt;
    let (ledger, thread) = Ledger::start(options.clone()).unwrap();
    drop(ledger);
    thread.join().unwrap();
    let new = Connection::open(&path).unwrap();
    assert_eq!(KEPT.map(|sql| rows(&new, sql)), before);
    assert_eq!(rows(&new, seen), seen_before);
    assert_eq!(
        rows(
            &new,
            "SELECT count(*) FROM counter JOIN log USING (account) WHERE counter.born <> log.mark * 1000"
        ),
        ["[Integer(0)]"]
    );
    let copy = Connection::open(folder.path().join("ledger.db.v2")).unwrap();
    assert_eq!(rows(&copy, "PRAGMA user_version"), ["[Integer(2)]"]);
    assert_eq!(KEPT.map(|sql| rows(&copy, sql)), before);
    drop((new, copy));
    let (ledger, thread) = Ledger::start(options).unwrap();
    drop(ledger);
    thread.join().unwrap();
    assert!(!folder.path().join("ledger.db.v2").exists(), "the second start succeeded too");
}

#[test]
fn a_ledger_of_the_third_version_migrates_with_the_number_of_its_rows() {
    let folder = folder();
    Version::Third.put(folder.path());
    let path = folder.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    let before = KEPT.map(|sql| rows(&old, sql));
    let births = "SELECT labels, born FROM counter WHERE family LIKE '%_entries_total' ORDER BY labels";
    let births_before = rows(&old, births);
    drop(old);
    let mut options = options(folder.path());
    options.foreign = ForeignLedger::Adopt;
    let (ledger, thread) = Ledger::start(options.clone()).unwrap();
    let committed = ledger.view().committed().unwrap();
    let counted = &committed.accounts[ACCOUNT].tally.counted;
    let numbers = [LogKind::WebApi, LogKind::Events, LogKind::Objects].map(|log| counted.get(&log).copied());
    assert_eq!(numbers, [Some(141), Some(54), Some(3)], "each row is in one label set of its first family");
    drop(ledger);
    thread.join().unwrap();
    let new = Connection::open(&path).unwrap();
    assert_eq!(KEPT.map(|sql| rows(&new, sql)), before);
    assert_eq!(rows(&new, births), births_before);
    assert_eq!(rows(&new, "SELECT DISTINCT born FROM counter WHERE family LIKE '%rows_counted%'").len(), 1);
    let copy = Connection::open(folder.path().join("ledger.db.v3")).unwrap();
    assert_eq!(rows(&copy, "PRAGMA user_version"), ["[Integer(3)]"]);
    drop((new, copy));
    let (ledger, thread) = Ledger::start(options).unwrap();
    drop(ledger);
    thread.join().unwrap();
    assert!(!folder.path().join("ledger.db.v3").exists(), "the second start succeeded too");
}

#[test]
fn a_ledger_of_the_fourth_version_migrates_as_it_was() {
    let folder = folder();
    Version::Fourth.put(folder.path());
    let path = folder.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    let before = KEPT.map(|sql| rows(&old, sql));
    let seen = "SELECT * FROM seen ORDER BY log, first";
    let (log_before, seen_before) = (rows(&old, LOG_OF_VERSION_5), rows(&old, seen));
    assert!(!before[0].is_empty() && log_before.len() == 3);
    drop(old);
    let mut options = options(folder.path());
    options.foreign = ForeignLedger::Adopt;
    for is_there in [true, false] {
        let (ledger, thread) = Ledger::start(options.clone()).unwrap();
        let committed = ledger.view().committed().unwrap();
        assert_eq!(committed.accounts[ACCOUNT].tally.counted.get(&LogKind::WebApi), Some(&28));
        drop(ledger);
        thread.join().unwrap();
        let new = Connection::open(&path).unwrap();
        assert_eq!(KEPT.map(|sql| rows(&new, sql)), before);
        assert_eq!(
            (rows(&new, LOG_OF_VERSION_5), rows(&new, seen)),
            (log_before.clone(), seen_before.clone())
        );
        assert_eq!(rows(&new, "PRAGMA user_version"), ["[Integer(6)]"]);
        assert_eq!(folder.path().join("ledger.db.v4").exists(), is_there, "until the second start succeeds");
    }
}

/// The table of logs, without the columns of later versions.
const LOG_OF_VERSION_5: &str = "SELECT id, account, log, since, mark, origin, floor, watermark, cursor, \
    first_poll_complete, last_entry, last_poll, without_id, born, sealed_until FROM log ORDER BY id";

#[test]
fn a_ledger_of_the_fifth_version_migrates_with_its_final_rows_and_no_days() {
    let folder = folder();
    Version::Fifth.put(folder.path());
    let path = folder.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    let before = KEPT.map(|sql| rows(&old, sql));
    let seen = "SELECT * FROM seen ORDER BY log, first";
    let (log_before, seen_before) = (rows(&old, LOG_OF_VERSION_5), rows(&old, seen));
    assert!(!before[0].is_empty() && log_before.len() == 3 && !seen_before.is_empty());
    drop(old);
    let mut options = options(folder.path());
    options.foreign = ForeignLedger::Adopt;
    for is_there in [true, false] {
        let (ledger, thread) = Ledger::start(options.clone()).unwrap();
        let committed = ledger.view().committed().unwrap();
        let mut above_floor = 0;
        for kind in LogKind::ALL {
            let position = block_on(ledger.open(&log(kind))).unwrap().unwrap().position;
            let reader = LedgerReader::open(folder.path()).unwrap();
            let final_rows = reader.final_rows(ACCOUNT, kind).unwrap().unwrap();
            let counted = committed.accounts[ACCOUNT].tally.counted.get(&kind).copied().unwrap();
            let above = position.seen().count_above(position.floor());
            assert_eq!((final_rows.floor, final_rows.rows), (position.floor(), counted - above), "{kind}");
            above_floor += above;
            let days = reader.days(ACCOUNT, kind).unwrap().unwrap();
            assert!(days.counts.is_empty(), "the days before are not known");
            let watermark = position.watermark();
            assert_eq!(days.complete_from, (watermark + 3600).div_euclid(86_400) + 1, "{kind}");
        }
        assert!(above_floor > 0, "nothing to tell apart");
        assert_eq!(LedgerReader::open(folder.path()).unwrap().days("other", LogKind::Events).unwrap(), None);
        drop(ledger);
        thread.join().unwrap();
        let new = Connection::open(&path).unwrap();
        assert_eq!(KEPT.map(|sql| rows(&new, sql)), before);
        assert_eq!(
            (rows(&new, LOG_OF_VERSION_5), rows(&new, seen)),
            (log_before.clone(), seen_before.clone())
        );
        assert_eq!(rows(&new, "PRAGMA user_version"), ["[Integer(6)]"]);
        assert_eq!(folder.path().join("ledger.db.v5").exists(), is_there, "until the second start succeeds");
    }
}

#[test]
fn days_are_kept_for_forty_days() {
    const DAY: i64 = 86_400;
    let folder = folder();
    let failing = Failing::default();
    let running = Running::start(folder.path(), failing.clone());
    let days = || {
        let reader = LedgerReader::open(folder.path()).unwrap();
        let days = reader.days(ACCOUNT, LogKind::Events).unwrap().unwrap();
        assert_eq!(days.complete_from, 0);
        days.counts.into_iter().map(|((day, product), n)| (day, product, n.unknown)).collect::<Vec<_>>()
    };
    failing.clock.store(100 * DAY * 1000, Ordering::SeqCst);
    block_on(hand_over(&running.ledger, &[(1, 59 * DAY), (2, 60 * DAY), (3, 99 * DAY)], 100 * DAY, None));
    assert_eq!(days(), [(60, 0, 1), (99, 0, 1)], "a row that is older than is kept");
    block_on(hand_over(&running.ledger, &[(4, 100 * DAY), (5, 60 * DAY)], 100 * DAY + 5, None));
    assert_eq!(days(), [(60, 0, 2), (99, 0, 1), (100, 0, 1)]);
    failing.clock.store(101 * DAY * 1000, Ordering::SeqCst);
    block_on(hand_over(&running.ledger, &[(6, 101 * DAY)], 101 * DAY, None));
    assert_eq!(days(), [(99, 0, 1), (100, 0, 1), (101, 0, 1)]);
    // The server's clock is a year ahead for one answer.
    block_on(hand_over(&running.ledger, &[(7, 101 * DAY)], 466 * DAY, None));
    assert_eq!(days(), [(99, 0, 1), (100, 0, 1), (101, 0, 1)]);
    running.stop();
    // The digest fits all of it.
    let running = Running::start(folder.path(), failing);
    assert_eq!(running.ledger.view().committed().unwrap().resets, 0);
    assert_eq!(days().len(), 3);
    running.stop();
}

#[test]
fn the_final_rows_say_when_nothing_was_above_the_floor() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    let found = || {
        let reader = LedgerReader::open(folder.path()).unwrap();
        reader.final_rows(ACCOUNT, LogKind::Events).unwrap()
    };
    assert_eq!(found(), None, "the log is not counted yet");
    block_on(hand_over(&running.ledger, &[(1, 100), (2, 200)], 250, Some(0)));
    let above = FinalRows { floor: 0, rows: 0, newest_entry: None, nothing_above_at: None };
    assert_eq!(found(), Some(above), "rows 1 and 2 are above the floor");
    let id = log(LogKind::Events);
    let opened = block_on(running.ledger.open(&id)).unwrap().unwrap();
    let quiet = LogUpdate {
        rows: crate::cryptolens::Rows::Events(Vec::new()),
        read_at: 300,
        statistics: crate::ingest::PageStatistics::default(),
        floor: 2,
        cursor: 2,
        watermark: 2,
        counted: Vec::new(),
        newest_entry: Some(200),
        poll_end: Some(300),
        without_id: None,
        seal_until: None,
        more_follows: false,
    };
    block_on(async { running.ledger.submit(&id, opened.epoch, quiet).await.unwrap().done().await.unwrap() });
    let at_the_end = FinalRows { floor: 2, rows: 2, newest_entry: Some(200), nothing_above_at: Some(300) };
    assert_eq!(found(), Some(at_the_end));
    running.stop();
}

/// Hands over rows by id and time that were read at a time, of which the last is the cursor from
/// then on.
async fn hand_over(
    ledger: &impl CheckpointStore,
    rows: &[(i64, i64)],
    read_at: i64,
    seal_until: Option<i64>,
) {
    let id = log(LogKind::Events);
    let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
    let opened = match ledger.open(&id).await.unwrap() {
        Some(opened) => opened,
        None => ledger.begin(&id, origin).await.unwrap(),
    };
    let update = LogUpdate {
        rows: crate::cryptolens::Rows::Events(rows.iter().map(|(id, time)| event(*id, *time)).collect()),
        read_at,
        statistics: crate::ingest::PageStatistics::default(),
        floor: opened.position.floor(),
        cursor: rows.last().map_or(opened.position.cursor(), |(id, _)| *id),
        watermark: 1,
        counted: rows.iter().map(|(id, _)| *id).collect(),
        newest_entry: None,
        poll_end: seal_until.map(|_| read_at),
        without_id: None,
        seal_until,
        more_follows: false,
    };
    ledger.submit(&id, opened.epoch, update).await.unwrap().done().await.unwrap();
}

/// The samples that wait for a target, without those of coverage: row, stamp.
fn waiting(ledger: &impl Outbox, target: &str) -> Vec<(String, i64)> {
    let batch = block_on(ledger.oldest(&target.into(), 1000)).unwrap();
    let entries = batch.samples.iter().filter(|sample| sample.series.family == HistoryFamily::EventEntries);
    entries.map(|sample| (sample.series.values[1].to_string(), sample.stamp)).collect()
}

fn target_state(ledger: &Ledger, target: &str) -> HistoryTargetState {
    ledger.view().committed().unwrap().history.as_ref().unwrap().targets[target].clone()
}

#[test]
fn without_a_target_no_table_of_history_is_written() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    block_on(hand_over(&running.ledger, &[(1, 6000), (2, 6060)], 6100, None));
    assert_eq!(block_on(running.ledger.open(&log(LogKind::Events))).unwrap().unwrap().sealed_until, None);
    assert_eq!(running.ledger.view().committed().unwrap().history, None);
    running.stop();
    let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
    for table in ["history_open", "history_late", "history_out", "history_target", "history_dropped"] {
        assert_eq!(rows(&connection, &format!("SELECT * FROM {table}")), [""; 0], "{table}");
    }
}

#[test]
fn history_that_is_turned_on_later_begins_at_the_next_minute_and_again_after_a_pause() {
    let folder = folder();
    let running = Running::start(folder.path(), Failing::default());
    block_on(hand_over(&running.ledger, &[(1, 6000)], 6010, None));
    running.stop();
    let on = |limit| Running::with_history(folder.path(), Failing::default(), &["one"], limit);
    let running = on(1000);
    // Read at 101:30, so that history begins at 102:00.
    block_on(hand_over(&running.ledger, &[(2, 6080)], 6090, None));
    block_on(hand_over(&running.ledger, &[(3, 6119), (4, 6120), (5, 6200)], 6210, Some(6180)));
    assert_eq!(waiting(&running.ledger, "one"), [("4".to_owned(), 6_120_001)]);
    let state = running.ledger.view().committed().unwrap().history.clone().unwrap();
    let log_state = state.logs[&log(LogKind::Events)];
    assert_eq!((log_state.origin, log_state.sealed_until), (Some(6120), Some(6180)));
    running.stop();
    let reader = LedgerReader::open(folder.path()).unwrap();
    let limit = reader.history_limit(ACCOUNT, LogKind::Events).unwrap();
    assert_eq!(limit, Some(HistoryLimit { before: 6120, last_id: None }));

    // Off, and rows are counted: what is not known is not said to be known.
    let running = Running::start(folder.path(), Failing::default());
    block_on(hand_over(&running.ledger, &[(6, 6250)], 6260, None));
    running.stop();
    let running = on(1000);
    block_on(hand_over(&running.ledger, &[(7, 6301)], 6290, None));
    block_on(hand_over(&running.ledger, &[], 6500, Some(6480)));
    assert_eq!(waiting(&running.ledger, "one"), [("7".to_owned(), 6_300_001)]);
    let batch = block_on(running.ledger.oldest(&"one".into(), 1000)).unwrap();
    let covered = batch.samples.iter().filter(|sample| sample.series.family == HistoryFamily::Covered);
    let covered: Vec<i64> = covered.map(|sample| sample.stamp).collect();
    assert_eq!(covered, [6_300_001, 6_360_001, 6_420_001]);
    running.stop();
}

#[test]
fn a_full_outbox_drops_the_oldest_and_a_new_target_gets_what_is_left() {
    let folder = folder();
    let running = Running::with_history(folder.path(), Failing::default(), &["slow", "gone"], 5);
    // Two samples a minute: that of the row, and that of coverage.
    for minute in 0..4 {
        let start = 6000 + minute * 60;
        block_on(hand_over(&running.ledger, &[(minute + 1, start)], start + 130, Some(start + 60)));
    }
    let slow = target_state(&running.ledger, "slow");
    assert_eq!(slow.counts.dropped, BTreeMap::from([(DropReason::OutboxFull, 3)]));
    assert_eq!(slow.pending, 5);
    // Of the second minute the coverage is dropped and the row is kept: a chunk has one sample
    // here.
    let kept = [("2".to_owned(), 6_060_001), ("3".to_owned(), 6_120_001), ("4".to_owned(), 6_180_001)];
    assert_eq!(waiting(&running.ledger, "slow"), kept);
    running.stop();

    let running = Running::with_history(folder.path(), Failing::default(), &["slow", "new"], 5);
    assert_eq!(waiting(&running.ledger, "new"), kept, "what the outbox still holds");
    assert_eq!(waiting(&running.ledger, "gone"), [], "it left the configuration");
    let slow: Arc<str> = "slow".into();
    let batch = block_on(running.ledger.oldest(&slow, 3)).unwrap();
    let sent = |sent| SampleCounts { sent, ..SampleCounts::default() };
    block_on(running.ledger.acknowledge(&slow, batch.until().unwrap(), sent(3))).unwrap();
    assert_eq!(block_on(running.ledger.oldest(&slow, 1000)).unwrap().samples.len(), 2);
    // Twice is once.
    block_on(running.ledger.acknowledge(&slow, batch.until().unwrap(), sent(3))).unwrap();
    running.stop();
    let running = Running::with_history(folder.path(), Failing::default(), &["slow", "new"], 5);
    let state = target_state(&running.ledger, "slow");
    assert_eq!((state.counts.sent, state.pending), (3, 2), "it survives the end of the process");
    assert_eq!(state.counts.dropped[&DropReason::OutboxFull], 3);
    let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
    let chunks = || rows(&connection, "SELECT count(*) FROM history_out");
    assert_eq!(chunks(), ["[Integer(5)]"], "the new target still needs them");
    let new: Arc<str> = "new".into();
    let all = block_on(running.ledger.oldest(&new, 1000)).unwrap();
    block_on(running.ledger.acknowledge(&new, all.until().unwrap(), sent(5))).unwrap();
    running.stop();
    assert_eq!(chunks(), ["[Integer(2)]"]);
}

/// A ledger in this thread, with the history of these targets.
fn inline(directory: &Path, targets: &[&str], outbox_limit: u64) -> InlineLedger {
    let options = LedgerOptions { history: Some(history(targets, outbox_limit)), ..options(directory) };
    InlineLedger::open_with(options, Failing::default())
}

/// Hands over a minute with one row, and seals it: two samples.
fn hand_over_minute(ledger: &impl CheckpointStore, minute: i64) {
    let start = 6000 + minute * 60;
    block_on(hand_over(ledger, &[(minute + 1, start)], start + 130, Some(start + 60)));
}

/// A target takes so many samples.
fn deliver(ledger: &impl Outbox, target: &str, at_most: usize) {
    let target = target.into();
    let batch = block_on(ledger.oldest(&target, at_most)).unwrap();
    let sent = SampleCounts { sent: batch.samples.len().try_into().unwrap(), ..SampleCounts::default() };
    block_on(ledger.acknowledge(&target, batch.until().unwrap(), sent)).unwrap();
}

/// Collects the log as text.
#[derive(Clone, Default)]
struct LogText(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_outage_of_a_target_has_one_line_about_a_full_outbox() {
    let folder = folder();
    let text = LogText::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let lines = || {
        let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("outbox of history is full"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    tracing::subscriber::with_default(subscriber, || {
        let mut minutes = 0..;
        let mut pass = |ledger: &InlineLedger, count: usize| {
            for minute in minutes.by_ref().take(count) {
                hand_over_minute(ledger, minute);
                deliver(ledger, "up", 1000);
            }
        };
        let ledger = inline(folder.path(), &["down", "up"], 6);
        pass(&ledger, 3);
        assert_eq!(lines(), [""; 0], "it is full, and nothing was dropped");
        pass(&ledger, 3);
        assert_eq!(lines().len(), 1);
        assert!(lines()[0].contains("ERROR") && lines()[0].contains("receiver=\"down\""), "{:?}", lines());
        // A reload and a failed write read the ledger again, and so does another process.
        drop(ledger);
        let ledger = inline(folder.path(), &["down", "up"], 6);
        pass(&ledger, 10);
        assert_eq!(lines().len(), 1, "the outage goes on");
        // Half of the outbox gets free, and the target goes down again.
        deliver(&ledger, "down", 3);
        pass(&ledger, 10);
        assert_eq!(lines().len(), 2, "another outage");
        deliver(&ledger, "down", 1000);
        // With the next commit it is written down that it took them.
        pass(&ledger, 1);
        drop(ledger);
        let ledger = inline(folder.path(), &["down", "up"], 6);
        pass(&ledger, 10);
        assert_eq!(lines().len(), 3, "and another, that begins after a restart");
    });
}

#[test]
fn an_outbox_that_is_smaller_than_a_batch_keeps_the_newest() {
    let folder = folder();
    let ledger = inline(folder.path(), &["down"], 3);
    let rows: Vec<(i64, i64)> = (0..20).map(|minute| (minute + 1, 6000 + minute * 60)).collect();
    block_on(hand_over(&ledger, &rows, 8000, Some(7200)));
    let kept = block_on(ledger.oldest(&"down".into(), 1000)).unwrap().samples;
    assert_eq!(kept.len(), 3);
    assert_eq!(waiting(&ledger, "down"), [("20".to_owned(), 7_140_001)]);
    drop(ledger);
    // Rows that were written with another limit.
    let ledger = inline(folder.path(), &["down"], 1000);
    let rows: Vec<(i64, i64)> = (20..40).map(|minute| (minute + 1, 6000 + minute * 60)).collect();
    block_on(hand_over(&ledger, &rows, 9000, Some(8400)));
    drop(ledger);
    let ledger = inline(folder.path(), &["down"], 1);
    block_on(hand_over(&ledger, &[], 9100, None));
    let rows = waiting(&ledger, "down");
    assert_eq!(rows.last(), Some(&("40".to_owned(), 8_340_001)));
}

#[test]
fn late_rows_have_stamps_of_their_own_whatever_the_clock_does() {
    const YEAR: i64 = 365 * 86_400;
    let folder = folder();
    let mut ledger = inline(folder.path(), &["one"], 1000);
    block_on(hand_over(&ledger, &[(1, 6000)], 6130, Some(6060)));
    // The clock jumps ahead by a year, and back again.
    for (id, read_at) in [(2, 6200), (3, 6300), (4, 6300 + YEAR), (5, 6400), (6, 6400 + YEAR), (7, 6500)] {
        block_on(hand_over(&ledger, &[(id, 6010)], read_at, None));
        drop(ledger);
        ledger = inline(folder.path(), &["one"], 1000);
    }
    let mut stamps: Vec<i64> = waiting(&ledger, "one").into_iter().map(|(_, stamp)| stamp).collect();
    let all = stamps.len();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!((stamps.len(), all), (7, 7), "{stamps:?}");
    assert!(stamps.iter().all(|stamp| (6_000_001..6_060_000).contains(stamp)), "{stamps:?}");
}

/// Lets no commit through while it is closed.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Gate {
    fn set(&self, closed: bool) {
        *self.0.0.lock().unwrap() = closed;
        self.0.1.notify_all();
    }
}

impl Observer for Gate {
    fn at(&self, step: Step) -> rusqlite::Result<()> {
        if step == Step::BeforeCommit {
            let closed = self.0.0.lock().unwrap();
            drop(self.0.1.wait_while(closed, |closed| *closed).unwrap());
        }
        Ok(())
    }
}

#[test]
fn settings_that_come_while_the_queue_is_full_are_not_lost() {
    let folder = folder();
    let gate = Gate::default();
    let running = Running::with_history(folder.path(), gate.clone(), &["one"], 1000);
    let ledger = running.ledger.clone();
    hand_over_minute(&ledger, 0);
    gate.set(true);
    block_on(async {
        let held = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.products(&ACCOUNT.into(), vec![Product { id: 1, name: "A".to_owned() }]).await }
        });
        tokio::task::yield_now().await;
        while ledger.requests.capacity() > 0 {
            let (reply, _) = oneshot::channel();
            let target = "one".into();
            let _ = ledger.requests.try_send(Request::OldestChunks { target, at_most: 1, reply });
        }
        let settings = Some(history(&["one", "new"], 1000));
        let configured = ledger.configure(BTreeMap::new(), settings);
        let waited = tokio::time::timeout(Duration::from_millis(50), configured).await;
        assert!(waited.is_err(), "the writer is held");
        gate.set(false);
        held.await.unwrap().unwrap();
        let mut committed = ledger.view().subscribe();
        let has_new = |committed: &Option<Arc<Committed>>| {
            let history = committed.as_ref().and_then(|committed| committed.history.clone());
            history.is_some_and(|history| history.targets.contains_key("new"))
        };
        let taken = tokio::time::timeout(Duration::from_secs(60), committed.wait_for(has_new)).await;
        assert!(taken.is_ok(), "the new target is unknown");
    });
    assert_eq!(waiting(&ledger, "new").len(), 1, "what the outbox holds");
    drop(ledger);
    running.stop();
}

#[test]
fn history_is_shown_while_the_disk_is_full_at_the_opening_and_goes_on_when_there_is_room() {
    let folder = folder();
    let running = Running::with_history(folder.path(), Failing::default(), &["one"], 1000);
    hand_over_minute(&running.ledger, 0);
    running.stop();
    let failing = Failing::default();
    failing.largest_file.store(1, Ordering::SeqCst);
    // There is no room for so many targets.
    let many: Vec<String> = (0..200).map(|number| format!("{number}{}", "x".repeat(100))).collect();
    let targets: Vec<&str> = many.iter().map(String::as_str).chain(["one"]).collect();
    let running = Running::with_history(folder.path(), failing.clone(), &targets, 1000);
    assert!(!running.ledger.view().health().up);
    assert_eq!(target_state(&running.ledger, "one").pending, 2);
    assert_eq!(block_on(running.ledger.oldest(&"one".into(), 1000)), Err(CheckpointError::Failed));
    failing.largest_file.store(0, Ordering::SeqCst);
    while block_on(running.ledger.open(&log(LogKind::Events))).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    hand_over_minute(&running.ledger, 1);
    assert_eq!(waiting(&running.ledger, "one").len(), 2);
    assert_eq!(target_state(&running.ledger, &many[7]).pending, 4);
    running.stop();
}

#[test]
fn a_migration_that_is_killed_leaves_the_old_ledger() {
    const TASK: &str = "CRYPTOLENS_TEST_MIGRATION";
    let name = "ledger::tests::a_migration_that_is_killed_leaves_the_old_ledger";
    if let Ok(directory) = std::env::var(TASK) {
        // All of the migration is written, and nothing committed.
        super::schema::abort_before_commit();
        Running::start(Path::new(&directory), Failing::default()).stop();
        return;
    }
    let folder = folder();
    first_version(folder.path());
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(TASK, folder.path())
        .output()
        .unwrap();
    assert!(!child.status.success(), "it was not reached");
    let old = Connection::open(folder.path().join("ledger.db")).unwrap();
    assert_eq!(rows(&old, "PRAGMA user_version"), ["[Integer(1)]"]);
    assert_eq!(rows(&old, "SELECT count(*) FROM window"), ["[Integer(54)]"]);
    drop(old);
    let running = Running::start(folder.path(), Failing::default());
    assert_eq!(running.ledger.view().committed().unwrap().resets, 0);
    assert_eq!(running.ledger.view().committed().unwrap().accounts[ACCOUNT].logs.len(), 3);
    running.stop();
}

/// The outcome for a ledger with one changed byte.
#[derive(Debug, PartialEq, Eq)]
enum FlipOutcome {
    /// The byte means nothing: all is as it was.
    Unharmed,
    /// Noticed, and moved aside.
    MovedAside,
}

/// Flips a byte, starts, and looks. Panics if it is silently wrong, refuses to start, or stands
/// still.
fn flip(original: &Path, at: usize, flip: u8, before: &Committed) -> FlipOutcome {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let mut bytes = std::fs::read(original).unwrap();
    bytes[at] ^= flip;
    std::fs::write(&path, bytes).unwrap();
    let what = || format!("byte {at} ^ {flip:#04x}");
    let (ledger, thread) =
        Ledger::start(options(folder.path())).unwrap_or_else(|error| panic!("{}: ends: {error}", what()));
    let running = Running { ledger, thread };
    assert!(running.ledger.view().health().up, "{}: stands still", what());
    let committed = running.ledger.view().committed().unwrap();
    let mut cursors = Vec::new();
    for kind in LogKind::ALL {
        let opened = block_on(running.ledger.open(&log(kind)));
        let opened = opened.unwrap_or_else(|error| panic!("{}: {kind}: {error}", what()));
        cursors.extend(opened.map(|opened| (opened.position.floor(), opened.position.cursor())));
    }
    // Counting goes on.
    let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
    block_on(async {
        let id = log(LogKind::Objects);
        let opened = running.ledger.begin(&id, origin).await.unwrap();
        let cursor = opened.position.cursor() + 1;
        let record = LogUpdate {
            rows: crate::cryptolens::Rows::Objects(vec![crate::cryptolens::ObjectRow::with_id(cursor)]),
            read_at: 1,
            statistics: crate::ingest::PageStatistics::default(),
            floor: opened.position.floor(),
            cursor,
            watermark: 1,
            counted: vec![cursor],
            newest_entry: None,
            poll_end: None,
            without_id: None,
            seal_until: None,
            more_follows: false,
        };
        let done = running.ledger.submit(&id, opened.epoch, record).await.unwrap().done().await;
        assert_eq!(done, Ok(()), "{}: stands still", what());
    });
    assert_eq!(running.ledger.view().ended(), None, "{}", what());
    running.stop();
    let is_same = committed.resets == 0;
    let aside = std::fs::read_dir(folder.path()).unwrap().flatten();
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains("aside")).count();
    if is_same {
        let account = |committed: &Committed| committed.accounts[ACCOUNT].clone();
        let (now, before) = (account(&committed), account(before));
        assert_eq!(now.tally, before.tally, "{}: silently wrong", what());
        assert_eq!(now.logs, before.logs, "{}: silently wrong", what());
        assert_eq!(now.products, before.products, "{}: silently wrong", what());
        assert_eq!(cursors.len(), 3, "{}", what());
        assert_eq!(aside, 0);
        FlipOutcome::Unharmed
    } else {
        assert_eq!((committed.resets, aside), (1, 1), "{}", what());
        FlipOutcome::MovedAside
    }
}

/// A byte every so often, each with all its bits flipped and with one of them.
fn flip_all(every: usize) -> (usize, usize) {
    let folder = folder();
    first_version(folder.path());
    let running = Running::start(folder.path(), Failing::default());
    let committed = running.ledger.view().committed().unwrap();
    running.stop();
    let path = folder.path().join("ledger.db");
    let size = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
    let (mut unharmed, mut aside) = (0, 0);
    let header = 0..100;
    for at in header.chain((100..size).step_by(every)) {
        let bit = 1 << (at % 8);
        for mask in [0xff, bit] {
            match flip(&path, at, mask, &committed) {
                FlipOutcome::Unharmed => unharmed += 1,
                FlipOutcome::MovedAside => aside += 1,
            }
        }
    }
    (unharmed, aside)
}

/// Every byte of the header, and some of the rest; `LEDGER_FLIP_EVERY=n` takes every nth.
#[test]
fn a_flipped_byte_never_counts_wrong_stands_still_or_ends_the_process() {
    let every = std::env::var("LEDGER_FLIP_EVERY").map_or(977, |every| every.parse().unwrap());
    let (unharmed, aside) = flip_all(every);
    println!("{} flips: {aside} moved aside, {unharmed} in bytes that mean nothing", unharmed + aside);
    assert!(aside > 100, "{aside} were noticed");
}
