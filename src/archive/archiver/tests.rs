//! Worlds of one log with late rows, replicas, empty answers, failures, a disk that fails and
//! processes that end at every step; and the same worlds under wrong rules, which must be found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use parquet::record::Field;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::archive::journal::CountedRows;
use crate::archive::settings::{ArchiveIdentities, ArchiveSettings, Timetable};
use crate::archive::simulated::{FailingStep, archived_ids, temporaries};
use crate::archive::status::ArchiveStatus;
use crate::cryptolens::{Answered, Page, decode};
use crate::metrics::{ProcessSource as _, ProcessValue};

/// Ten minutes before a midnight.
const BEGINNING: i64 = 20_000 * 86_400 - 600;

const OVERLAP: i64 = 60;
const DELAY: i64 = 60;
const INTERVAL: i64 = 60;

/// Rows of a page at most.
const CAP: usize = 7;

/// Texts that must not be in an archive that names nobody.
const SECRETS: [&str; 4] = ["ABCDE-FGHIJ", "machine-of-alice", "alice@example.com", "Wonderland"];

#[derive(Debug, Clone)]
struct WorldRow {
    id: i64,
    /// As the API gives it; 0 for none.
    time: i64,
    /// When each replica shows it.
    visible: [i64; 2],
    /// True if an answer that holds it is too large.
    is_too_large: bool,
}

impl WorldRow {
    fn shown(id: i64, at: i64) -> WorldRow {
        WorldRow { id, time: at, visible: [at, at], is_too_large: false }
    }
}

/// A log with its replicas, and the ledger that counts it.
struct LogWorld {
    random: ChaCha8Rng,
    clock: i64,
    rows: Vec<WorldRow>,
    /// The share of answers that are empty or fail.
    faults: f64,
    /// Ids that no answer has.
    hidden: BTreeSet<i64>,
    /// The number of the ledger, and when it began.
    ledger: (u32, i64),
    cursor_for_floor: bool,
    /// Rows that the ledger has counted beside those that it should have.
    counted_more: u64,
    /// Whether the ledger says that nothing is above its floor.
    is_at_the_end: bool,
}

impl LogWorld {
    fn of(rows: Vec<WorldRow>) -> LogWorld {
        LogWorld {
            random: ChaCha8Rng::seed_from_u64(1),
            clock: BEGINNING,
            rows,
            faults: 0.0,
            hidden: BTreeSet::new(),
            ledger: (1, i64::MIN),
            cursor_for_floor: false,
            counted_more: 0,
            is_at_the_end: false,
        }
    }

    /// Rows of any time, most of them shown soon, some as late as is promised, and some later.
    fn random(seed: u64) -> LogWorld {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut id, mut shown) = (0, BEGINNING);
        let mut rows = Vec::new();
        for _ in 0..random.random_range(20..150) {
            id += random.random_range(1..5);
            shown += random.random_range(0..25);
            let visible = if random.random_bool(0.1) {
                let late = shown + random.random_range(OVERLAP..=OVERLAP + DELAY / 2);
                [late, late]
            } else {
                [shown, shown + random.random_range(0..=OVERLAP)]
            };
            let time = match random.random_range(0..10) {
                0 => 0,
                1 => shown - random.random_range(0..3 * 86_400),
                2 => shown + 5 * 86_400,
                _ => shown,
            };
            rows.push(WorldRow { id, time, visible, is_too_large: false });
        }
        LogWorld { random, faults: 0.15, ..LogWorld::of(rows) }
    }

    fn first_shown(row: &WorldRow) -> i64 {
        row.visible[0].min(row.visible[1])
    }

    fn last_shown(row: &WorldRow) -> i64 {
        row.visible[0].max(row.visible[1])
    }

    /// The floor that a ledger has at a time: what was shown an overlap before.
    fn floor_at(&self, time: i64) -> i64 {
        let overlap = if self.cursor_for_floor { 0 } else { OVERLAP };
        let is_final = |row: &&WorldRow| LogWorld::first_shown(row) + overlap <= time;
        self.rows.iter().filter(is_final).map(|row| row.id).max().unwrap_or(0)
    }

    /// Floor and counted rows, as the ledger has them now.
    fn floor(&self) -> (i64, u64) {
        // A new ledger reads the log again from its beginning, 100 ids a second.
        let read = self.clock.saturating_sub(self.ledger.1).saturating_mul(100);
        let floor = self.floor_at(self.clock).min(read);
        let is_counted = |row: &&WorldRow| {
            let passed = self.rows.iter().filter(|other| other.id >= row.id).map(LogWorld::first_shown).min();
            let passed =
                passed.unwrap_or(i64::MAX).saturating_add(OVERLAP).max(self.ledger.1).min(self.clock);
            row.id <= floor && !row.is_too_large && LogWorld::last_shown(row) <= passed
        };
        (floor, u64::try_from(self.rows.iter().filter(is_counted).count()).unwrap() + self.counted_more)
    }
}

/// The world, as the API and as the ledger.
#[derive(Clone)]
struct Shared(Arc<Mutex<LogWorld>>);

impl PageSource for Shared {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        _: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        let sent = tokio::time::Instant::now();
        let mut world = self.0.lock().unwrap();
        let faults = world.faults;
        if world.random.random_bool(faults / 2.0) {
            return Err(ApiError::Timeout);
        }
        let replica = world.random.random_range(0..2);
        let is_empty = world.random.random_bool(faults);
        let limit = usize::from(query.limit).min(CAP);
        let shown = world.rows.iter().filter(|row| {
            row.id > query.starting_after
                && row.visible[replica] <= world.clock
                && !world.hidden.contains(&row.id)
        });
        let shown: Vec<&WorldRow> = shown.take(if is_empty { 0 } else { limit }).collect();
        if shown.iter().any(|row| row.is_too_large) {
            return Err(ApiError::Decode(DecodeFault::TooLarge));
        }
        let rows = shown.iter().map(|row| {
            serde_json::json!({
                "id": row.id, "time": row.time, "productId": 3349, "key": SECRETS[0], "machineCode": SECRETS[1],
                "metadata": format!("{{\"mail\":\"{}\"}}", SECRETS[2]), "city": SECRETS[3], "eventName": "start",
            })
        });
        let body = serde_json::json!({"events": rows.collect::<Vec<_>>(), "result": 0}).to_string();
        let value = decode::page::<R>(body.as_bytes()).unwrap();
        Ok(Answered { value, server_time: None, sent, received: tokio::time::Instant::now() })
    }
}

impl FloorSource for Shared {
    fn floor(&self, _: &LogId, at: i64) -> Result<Option<FloorSample>, ArchiveError> {
        let world = self.0.lock().unwrap();
        let (floor, rows) = world.floor();
        let counted = CountedRows { ledger: world.ledger.0.to_string(), rows };
        let seen = world.rows.iter().filter(|row| row.id <= floor);
        let newest_entry = seen.map(|row| row.time).filter(|time| *time <= at).max();
        let nothing_above_at = world.is_at_the_end.then_some(at);
        Ok(Some(FloorSample { at, floor, counted, newest_entry, nothing_above_at }))
    }
}

/// An archive of the log of a world.
struct ArchiveWorld {
    folder: tempfile::TempDir,
    shared: Shared,
    failing: FailingStep,
    status: SharedStatus,
    settings: ArchiveSettings,
    account: &'static str,
    flaw: Option<ArchiveFlaw>,
    archiver: Option<LogArchiver<Shared, Shared>>,
}

impl ArchiveWorld {
    fn new(world: LogWorld, identities: ArchiveIdentities) -> ArchiveWorld {
        let folder = crate::ledger::tests::folder();
        let settings = ArchiveSettings {
            path: folder.path().join("archive"),
            since: Since::All,
            interval: Duration::from_secs(INTERVAL.unsigned_abs()),
            delay: Duration::from_secs(DELAY.unsigned_abs()),
            identities,
            key_file: folder.path().join("archive.key"),
        };
        ArchiveWorld {
            folder,
            shared: Shared(Arc::new(Mutex::new(world))),
            failing: FailingStep::default(),
            status: Arc::new(ArchiveStatus::default()),
            settings,
            account: "default",
            flaw: None,
            archiver: None,
        }
    }

    /// Lets time pass, and does what is due then.
    async fn turn(&mut self, seconds: i64) -> Result<(), ArchiveError> {
        let now = {
            let mut world = self.shared.0.lock().unwrap();
            world.clock += seconds;
            world.clock
        };
        let archiver = match &mut self.archiver {
            Some(archiver) => archiver,
            none => {
                let directory = ArchiveDirectory::open(&self.settings, Box::new(self.failing.clone()))?;
                none.insert(LogArchiver {
                    id: LogId { account: self.account.into(), log: LogKind::Events },
                    source: self.shared.clone(),
                    api: Arc::default(),
                    ledger: self.shared.clone(),
                    directory: Arc::new(directory),
                    since: self.settings.since,
                    delay: DELAY,
                    status: Arc::clone(&self.status),
                    journal: None,
                    flaw: self.flaw,
                })
            }
        };
        let slot = Timetable::new(self.settings.interval).last_before(now);
        archiver.turn(slot, now).await.map(drop)
    }

    /// The process ends here: nothing is cleaned up.
    fn kill(&mut self) {
        self.archiver = None;
    }

    fn until(&self) -> i64 {
        self.archiver
            .as_ref()
            .and_then(|archiver| archiver.journal.as_ref())
            .map_or(0, |journal| journal.until)
    }

    /// The value of a metric of the log.
    fn metric(&self, name: &str, reason: Option<&str>) -> f64 {
        let families = self.status.collect();
        let family = families.iter().find(|family| family.name.ends_with(name)).unwrap();
        let is_meant = |labels: &[Arc<str>]| reason.is_none_or(|reason| &*labels[2] == reason);
        let point = family.points.iter().find(|point| is_meant(&point.labels));
        match point.map(|point| &point.value) {
            Some(ProcessValue::Counter(value) | ProcessValue::Gauge(value)) => *value,
            _ => 0.0,
        }
    }

    /// The rows of all files: how often each id is there. Names of files and directories must be
    /// right.
    fn archived(&self) -> Result<BTreeMap<i64, u32>, String> {
        if self.settings.identities != ArchiveIdentities::Full {
            // Statistics are not compressed, beside rows that are.
            for path in crate::archive::simulated::files(&self.settings.path) {
                let bytes = std::fs::read(&path).unwrap();
                let has = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                if let Some(secret) = SECRETS.iter().find(|secret| has(secret)) {
                    return Err(format!("{secret} in the bytes of {}", path.display()));
                }
            }
        }
        archived_ids(&self.settings.path, self.flaw, |row, date| {
            let shown = row.to_string();
            if self.settings.identities != ArchiveIdentities::Full
                && let Some(secret) = SECRETS.iter().find(|secret| shown.contains(**secret))
            {
                return Err(format!("{secret} in {shown}"));
            }
            if let Some((_, Field::TimestampMicros(time))) = row.get_column_iter().nth(1) {
                let day = chrono::DateTime::from_timestamp_micros(*time).unwrap();
                let is_ahead = time / 1_000_000 > BEGINNING + 4 * 86_400;
                if !is_ahead && format!("date={}", day.format("%Y-%m-%d")) != date {
                    return Err(format!("a row of {day} is in {date}"));
                }
            }
            Ok(())
        })
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// Numbers of one simulated world.
#[derive(Debug, Default)]
struct WorldStats {
    rows: usize,
    kills: usize,
    failures: usize,
}

/// Runs one world; the error is what was archived wrongly.
async fn run_world(seed: u64, flaw: Option<ArchiveFlaw>) -> Result<WorldStats, String> {
    let mut log = LogWorld::random(seed);
    log.cursor_for_floor = flaw == Some(ArchiveFlaw::CursorAsBoundary);
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0xa5a5);
    let last = log.rows.iter().map(LogWorld::last_shown).max().unwrap();
    let levels = [ArchiveIdentities::Masked, ArchiveIdentities::None, ArchiveIdentities::Full];
    let mut world = ArchiveWorld::new(log, levels[usize::try_from(seed % 3).unwrap()]);
    world.flaw = flaw;
    let mut stats = WorldStats::default();
    while world.shared.0.lock().unwrap().clock < last + 200 {
        if random.random_bool(0.4) {
            world.failing.0.store(random.random_range(1..12), Ordering::SeqCst);
        }
        if random.random_bool(0.05) {
            let mut log = world.shared.0.lock().unwrap();
            log.ledger = (log.ledger.0 + 1, log.clock);
        }
        let failed = world.turn(random.random_range(5..120)).await;
        stats.failures += usize::from(failed.is_err());
        if random.random_bool(if failed.is_err() { 0.5 } else { 0.1 }) {
            world.kill();
            stats.kills += 1;
        } else if failed.is_err()
            && let Some(archiver) = &mut world.archiver
        {
            archiver.clean_up().await;
        }
    }
    world.failing.0.store(0, Ordering::SeqCst);
    world.shared.0.lock().unwrap().faults = 0.0;
    for _ in 0..4 {
        world.turn(DELAY + INTERVAL).await.map_err(|error| format!("it stands still: {error}"))?;
    }
    let expected: BTreeSet<i64> = world.shared.0.lock().unwrap().rows.iter().map(|row| row.id).collect();
    let archived = world.archived()?;
    if let Some((id, times)) = archived.iter().find(|(_, times)| **times > 1) {
        return Err(format!("row {id} is there {times} times"));
    }
    let archived: BTreeSet<i64> = archived.into_keys().collect();
    if archived != expected {
        return Err(format!("missing: {:?}", expected.difference(&archived)));
    }
    if let Some(left) = temporaries(&world.settings.path).first() {
        return Err(format!("{} is left", left.display()));
    }
    stats.rows = expected.len();
    drop(world.folder);
    Ok(stats)
}

#[test]
fn in_every_world_each_row_is_archived_exactly_once() {
    let seeds = std::env::var("ARCHIVE_SEEDS").map_or(80, |seeds| seeds.parse().unwrap());
    let mut all = WorldStats::default();
    for seed in 0..seeds {
        let stats = block_on(run_world(seed, None)).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        all.rows += stats.rows;
        all.kills += stats.kills;
        all.failures += stats.failures;
    }
    println!("{} rows, {} failed runs, {} kills: each row exactly once", all.rows, all.failures, all.kills);
    assert!(all.kills > 80 && all.failures > 80);
}

/// A test that no wrong rule can fail is worth nothing.
#[test]
fn each_wrong_rule_of_the_archive_is_found() {
    for flaw in ArchiveFlaw::ALL {
        let found = (0..500).find(|seed| block_on(run_world(*seed, Some(flaw))).is_err());
        println!("{flaw:?}: found in world {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found in 500 worlds");
    }
}

/// Rows 1 to 9, a second apart.
fn nine() -> Vec<WorldRow> {
    (1..=9).map(|id| WorldRow::shown(id, BEGINNING + id)).collect()
}

/// Archives rows 1 to 4, and has a floor of 9 that is not old enough.
async fn with_four_archived(mut rows: Vec<WorldRow>) -> ArchiveWorld {
    for row in rows.iter_mut().skip(4) {
        row.visible = row.visible.map(|at| at + 200);
    }
    let mut world = ArchiveWorld::new(LogWorld::of(rows), ArchiveIdentities::Full);
    for seconds in [80, 70, 70] {
        world.turn(seconds).await.unwrap();
    }
    assert_eq!((world.until(), world.archived().unwrap().len()), (4, 4));
    world
}

#[test]
fn a_range_with_fewer_rows_than_were_counted_is_read_again() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.shared.0.lock().unwrap().hidden = BTreeSet::from([6, 7]);
        let mut missing = None;
        for _ in 0..6 {
            missing = world.turn(70).await.err().or(missing);
        }
        let missing = missing.unwrap();
        let text = "the api showed 3 rows after id 4 up to id 9, and 5 were counted";
        assert_eq!((missing.to_string().as_str(), missing.reason()), (text, "missing_rows"));
        assert_eq!(world.archived().unwrap().len(), 4, "nothing of it is visible");
        world.shared.0.lock().unwrap().hidden.clear();
        world.turn(70).await.unwrap();
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 9));
        assert!(world.metric("rows_total", None) > 8.5 && world.metric("late_rows_total", None) < 0.5);
    });
}

#[test]
fn rows_that_retention_has_removed_are_no_reason_to_stand_still() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.shared.0.lock().unwrap().hidden = (1..=7).collect();
        let mut refused = 0;
        for _ in 0..6 {
            refused += usize::from(world.turn(70).await.is_err());
        }
        assert!(refused > 0 && world.archived().unwrap().len() == 4, "young rows are not removed");
        world.turn(RETENTION_AT_LEAST_SECONDS).await.unwrap();
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 6));
        assert!(world.metric("failures_total", Some(ROWS_GONE)) > 0.5);
    });
}

/// A log that is quiet for longer than the API keeps rows shows none at all, as an answer that is
/// wrong does.
#[test]
fn a_log_that_retention_has_emptied_is_believed_only_when_all_of_its_rows_are_old() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.shared.0.lock().unwrap().hidden = (1..=9).collect();
        let empty = |world: &ArchiveWorld, error: Option<ArchiveError>| {
            assert_eq!(error.map(|error| error.reason()), Some("empty_answer"));
            assert_eq!((world.until(), world.archived().unwrap().len()), (0, 4), "nothing is believed");
        };
        for seconds in [200, 70, 70] {
            let _ = world.turn(seconds).await;
        }
        for seconds in [70, EMPTY_BELIEVED_AFTER_SECONDS, EMPTY_BELIEVED_AFTER_SECONDS] {
            let error = world.turn(seconds).await.err();
            empty(&world, error);
        }
        // One answer with rows, and the time begins once more.
        world.shared.0.lock().unwrap().hidden = (2..=9).collect();
        let error = world.turn(70).await.err();
        empty(&world, error);
        world.shared.0.lock().unwrap().hidden = (1..=9).collect();
        let error = world.turn(RETENTION_AT_MOST_SECONDS).await.err();
        empty(&world, error);
        world.kill();
        let error = world.turn(EMPTY_BELIEVED_AFTER_SECONDS - 70).await.err();
        empty(&world, error);
        world.turn(70).await.unwrap();
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 4));
        assert!(world.metric("failures_total", Some(ROWS_GONE)) > 0.5);
        // The log goes on.
        let at = world.shared.0.lock().unwrap().clock;
        world.shared.0.lock().unwrap().rows.push(WorldRow::shown(10, at));
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        assert_eq!((world.until(), world.archived().unwrap().len()), (10, 5));
    });
}

#[test]
fn an_archive_that_begins_on_a_log_that_was_emptied_has_lost_nothing() {
    block_on(async {
        let mut world = ArchiveWorld::new(LogWorld::of(nine()), ArchiveIdentities::Full);
        world.shared.0.lock().unwrap().clock += RETENTION_AT_MOST_SECONDS + 100;
        world.shared.0.lock().unwrap().hidden = (1..=9).collect();
        world.turn(0).await.unwrap();
        assert_eq!(world.turn(DELAY).await.unwrap_err().reason(), "empty_answer");
        world.turn(EMPTY_BELIEVED_AFTER_SECONDS).await.unwrap();
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 0));
        assert!(world.metric("failures_total", Some(ROWS_GONE)) < 0.5);
    });
}

#[test]
fn a_new_ledger_of_a_log_that_was_emptied_is_no_failure_of_the_archive() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        // It never counts a row.
        world.shared.0.lock().unwrap().ledger = (2, i64::MAX / 2);
        for _ in 0..3 {
            world.turn(DAY_SECONDS).await.unwrap();
        }
        let clock = |world: &ArchiveWorld| world.shared.0.lock().unwrap().clock;
        let age = |world: &ArchiveWorld| {
            // No time comes near 2^53.
            #[allow(clippy::cast_precision_loss)]
            let now = clock(world) as f64;
            now - world.metric("last_success_timestamp_seconds", None)
        };
        assert!(age(&world) > 100_000.0, "it may have to catch up");
        world.shared.0.lock().unwrap().is_at_the_end = true;
        world.turn(DAY_SECONDS).await.unwrap();
        world.turn(DAY_SECONDS).await.unwrap();
        assert!(age(&world) < 1.0);
        assert_eq!((world.until(), world.archived().unwrap().len()), (4, 4));
    });
}

#[test]
fn rows_that_were_too_late_to_be_counted_are_archived_and_said() {
    block_on(async {
        let mut rows = nine();
        rows[6].visible = [BEGINNING + 90, BEGINNING + 90];
        let mut world = with_four_archived(rows).await;
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 9));
        assert!((world.metric("late_rows_total", None) - 1.0).abs() < 0.5);
    });
}

#[test]
fn a_row_that_is_too_large_is_left_out_and_the_next_ones_are_read() {
    block_on(async {
        let mut rows = nine();
        rows[6].is_too_large = true;
        let mut world = with_four_archived(rows).await;
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        let ids: Vec<i64> = world.archived().unwrap().into_keys().collect();
        assert_eq!((world.until(), &ids[..]), (9, &[1, 2, 3, 4, 5, 6, 8, 9][..]));
    });
}

#[test]
fn a_state_that_was_deleted_doubles_no_row() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.kill();
        std::fs::remove_dir_all(world.settings.path.join("_state")).unwrap();
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        let archived = world.archived().unwrap();
        assert_eq!((world.until(), archived.len()), (9, 9));
        assert!(archived.values().all(|times| *times == 1));
    });
}

#[test]
fn an_archive_begins_where_the_settings_say() {
    block_on(async {
        let mut world = ArchiveWorld::new(LogWorld::of(nine()), ArchiveIdentities::Full);
        world.settings.since = Since::At(chrono::DateTime::from_timestamp(BEGINNING + 4, 0).unwrap());
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        let ids: Vec<i64> = world.archived().unwrap().into_keys().collect();
        assert_eq!(ids, [4, 5, 6, 7, 8, 9]);
        let last_success = world.metric("last_success_timestamp_seconds", None);
        assert!(last_success > 1_000_000_000.0, "{last_success}");
    });
}

/// A process may end between any two steps, so the names of the state and the files are the same
/// then.
#[test]
fn a_name_that_is_not_fit_for_a_directory_is_escaped() {
    block_on(async {
        let mut world = ArchiveWorld::new(LogWorld::of(nine()), ArchiveIdentities::Full);
        world.account = "../Größe=1/EU";
        for _ in 0..3 {
            world.turn(80).await.unwrap();
            world.kill();
        }
        assert_eq!(world.archived().unwrap().len(), 9);
        let path = world.settings.path.join("event_log/account=..%2FGr%C3%B6%C3%9Fe%3D1%2FEU");
        let state = world.settings.path.join("_state/..%2FGr%C3%B6%C3%9Fe%3D1%2FEU.events.json");
        assert!(path.is_dir() && state.is_file());
        let beside: Vec<_> = std::fs::read_dir(world.folder.path()).unwrap().flatten().collect();
        assert_eq!(beside.len(), 1, "nothing is written beside the archive: {beside:?}");
    });
}

#[test]
fn a_run_that_was_missed_is_made_up_at_the_start() {
    block_on(async {
        let mut world = ArchiveWorld::new(LogWorld::of(nine()), ArchiveIdentities::Full);
        world.turn(80).await.unwrap();
        world.kill();
        // The floor was old enough while nothing ran.
        world.turn(100_000).await.unwrap();
        assert_eq!(world.until(), 9);
    });
}

/// Such as after a ledger was restored from a backup, and counted rows that it had missed before.
#[test]
fn a_count_that_is_never_reached_does_not_hold_the_archive_up_until_rows_are_gone() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.shared.0.lock().unwrap().counted_more = 1;
        let mut missing = 0;
        for _ in 0..6 {
            missing += usize::from(world.turn(70).await.is_err());
        }
        assert!(missing > 0 && world.archived().unwrap().len() == 4, "it is not believed at once");
        world.kill();
        assert!(world.turn(2 * 86_400).await.is_err(), "nor after two days");
        world.turn(4 * 86_400).await.unwrap();
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 9));
        assert!(world.metric("failures_total", Some(ROWS_GONE)) > 0.5);
        // The range that follows is compared again.
        let at = world.shared.0.lock().unwrap().clock;
        world.shared.0.lock().unwrap().rows.extend([WorldRow::shown(10, at), WorldRow::shown(11, at)]);
        world.shared.0.lock().unwrap().hidden = BTreeSet::from([10]);
        let mut missing = 0;
        for _ in 0..6 {
            missing += usize::from(world.turn(70).await.is_err());
        }
        assert!(missing > 0 && world.archived().unwrap().len() == 9);
    });
}

#[test]
fn a_ledger_that_was_moved_back_is_not_compared_with_what_it_said_before() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        world.shared.0.lock().unwrap().counted_more = 1;
        // It reads the log again, 100 ids a second, from a floor of 0 on.
        let clock = world.shared.0.lock().unwrap().clock;
        world.shared.0.lock().unwrap().ledger.1 = clock + 70;
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 9));
    });
}

/// Such as a volume that is mounted while the process runs, or a backup that is put in place.
#[test]
fn another_archive_that_takes_the_place_of_this_one_gets_every_row_too() {
    block_on(async {
        let mut world = with_four_archived(nine()).await;
        let older = world.folder.path().join("older");
        copy_directory(&world.settings.path, &older);
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        assert_eq!((world.until(), world.archived().unwrap().len()), (9, 9));
        std::fs::rename(&world.settings.path, world.folder.path().join("newer")).unwrap();
        std::fs::rename(&older, &world.settings.path).unwrap();
        let at = world.shared.0.lock().unwrap().clock;
        world.shared.0.lock().unwrap().rows.push(WorldRow::shown(10, at));
        let refused = world.turn(70).await.unwrap_err();
        assert!(refused.concerns_directory() && !refused.needs_operator(), "{refused}");
        // The task opens the directory again after that.
        world.kill();
        for _ in 0..6 {
            world.turn(70).await.unwrap();
        }
        let archived = world.archived().unwrap();
        assert_eq!((world.until(), archived.len()), (10, 10));
        assert!(archived.values().all(|times| *times == 1));
    });
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &copy);
        } else {
            std::fs::copy(entry.path(), copy).unwrap();
        }
    }
}
