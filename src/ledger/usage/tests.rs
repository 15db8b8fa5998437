//! Sets of usage in a real ledger: with kills, failing commits, a full disk, other secrets, and what is
//! left of them in the file.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::*;
use crate::cryptolens::{IdentityHash, Rows, WebApiRow};
use crate::ingest::{CheckpointError, CheckpointStore, Origin, PageStatistics};
use crate::ledger::inline::InlineLedger;
use crate::ledger::tests::{ACCOUNT, Aborting, Failing, STEPS, Version, block_on, folder, options};
use crate::ledger::{ForeignLedger, Ledger, LedgerOptions, LedgerView, OpenError};
use crate::tally::FUTURE_SECONDS;
use crate::usage::UsageWindow;

const DAY: i64 = 86_400;
/// A midnight.
const MIDNIGHT: i64 = 20_000 * DAY;

fn secret(number: u8) -> UsageSecret {
    UsageSecret::from_bytes([number; 16])
}

fn log() -> LogId {
    LogId { account: ACCOUNT.into(), log: LogKind::WebApi }
}

/// With the secret of a file, so that hashes are known before the ledger is.
fn with_usage(directory: &Path) -> LedgerOptions {
    let usage = UsageOptions {
        hasher: Arc::default(),
        secret: Some(secret(1)),
        ignored_keys: crate::usage::IgnoredKeys::default(),
    };
    LedgerOptions { usage: Some(usage), foreign: ForeignLedger::Adopt, ..options(directory) }
}

/// A row that activates a key on a machine.
fn row(id: i64, time: i64, key: &str) -> WebApiRow {
    let hash = |member: Option<UsageMember>| member.map(|member| IdentityHash::new(member.get()));
    WebApiRow {
        id,
        product_id: 1 + id % 3,
        time: Some(time),
        state: Some(if id % 7 == 0 { 2024 } else { 2014 }),
        license_key: hash(secret(1).license_key(key)),
        machine: hash(secret(1).machine(&format!("machine of {key}"))),
        ..WebApiRow::default()
    }
}

/// Rows of two days, with more than 819 keys of each product on the first.
fn many_rows() -> Vec<WebApiRow> {
    let time = |id: i64| MIDNIGHT - 2 * DAY + id * 20 + if id > 3600 { DAY } else { 0 };
    let row = |id: i64| row(id, time(id), &format!("KEY-{}", id * 7919 % 1709));
    (1..=4000).map(row).collect()
}

struct Handed {
    rows: Vec<WebApiRow>,
    read_at: i64,
    seal_until: Option<i64>,
    ends_poll: bool,
}

/// Hands over one page.
async fn hand_over<S: CheckpointStore>(store: &S, handed: Handed) -> Result<(), CheckpointError> {
    let Handed { rows, read_at, seal_until, ends_poll } = handed;
    let opened = match store.open(&log()).await? {
        Some(opened) => opened,
        None => store.begin(&log(), Origin { id: 0, mark: 0, since: "all".to_owned() }).await?,
    };
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let update = LogUpdate {
        read_at,
        statistics: PageStatistics::default(),
        floor: opened.position.floor(),
        cursor: ids.last().copied().unwrap_or(opened.position.cursor()).max(opened.position.cursor()),
        watermark: 1,
        counted: ids,
        rows: Rows::WebApi(rows),
        newest_entry: None,
        poll_end: ends_poll.then_some(read_at),
        without_id: None,
        seal_until,
        more_follows: false,
    };
    store.submit(&log(), opened.epoch, update).await?.done().await
}

/// Hands over rows, a page of 100 at a time, from the last one on that is counted.
async fn hand_over_all<S: CheckpointStore>(store: &S, rows: &[WebApiRow]) -> Result<(), CheckpointError> {
    let cursor = store.open(&log()).await?.map_or(0, |opened| opened.position.cursor());
    let left: Vec<WebApiRow> = rows.iter().filter(|row| row.id > cursor).cloned().collect();
    for page in left.chunks(100) {
        let read_at = page.last().and_then(|row| row.time).unwrap();
        hand_over(store, Handed { rows: page.to_vec(), read_at, seal_until: None, ends_poll: false }).await?;
    }
    Ok(())
}

/// Number of the day, product, subject: what is in the file.
type FileSets = BTreeMap<(i64, i64, i64), Vec<u8>>;

fn sets_in(directory: &Path) -> FileSets {
    let connection = Connection::open(directory.join("ledger.db")).unwrap();
    let mut select = connection.prepare("SELECT day, product, subject, members FROM usage_set").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?));
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn counted(view: &LedgerView) -> usize {
    let committed = view.committed().unwrap();
    let counted = committed
        .accounts
        .get(ACCOUNT)
        .and_then(|account| account.tally.counted.get(&LogKind::WebApi).copied());
    usize::try_from(counted.unwrap_or_default()).unwrap()
}

/// The sets of these rows, made without a ledger.
fn sets_of(rows: &[WebApiRow]) -> FileSets {
    let mut sets: BTreeMap<(i64, i64, i64), UsageSet> = BTreeMap::new();
    for row in rows {
        let member = |hash: Option<IdentityHash>| UsageMember::new(hash.unwrap().get()).unwrap();
        let day = row.time.unwrap().div_euclid(DAY);
        let mut add = |subject, member| {
            sets.entry((day, row.product_id, code(subject))).or_default().insert(member);
        };
        let key = member(row.license_key);
        if row.state == Some(2014) {
            add(UsageSubject::ActiveKeys, key);
            add(UsageSubject::ActiveMachines, member(row.machine));
        } else {
            add(UsageSubject::FailingKeys, key);
            add(UsageSubject::RefusedKeys, key);
        }
    }
    sets.into_iter().map(|(key, set)| (key, set.to_bytes())).collect()
}

fn start(options: LedgerOptions) -> (Ledger, std::thread::JoinHandle<()>) {
    Ledger::start(options).unwrap()
}

fn stop((ledger, thread): (Ledger, std::thread::JoinHandle<()>)) {
    drop(ledger);
    thread.join().unwrap();
}

fn counts(view: &LedgerView) -> Option<Arc<UsageCounts>> {
    view.committed().unwrap().usage.as_ref().unwrap().get(ACCOUNT).cloned()
}

#[test]
fn a_kill_at_any_step_leaves_the_sets_of_the_rows_that_are_counted() {
    const TASK: &str = "CRYPTOLENS_TEST_USAGE_ABORT";
    let name = "ledger::usage::tests::a_kill_at_any_step_leaves_the_sets_of_the_rows_that_are_counted";
    if let Ok(task) = std::env::var(TASK) {
        let parts: Vec<&str> = task.split(' ').collect();
        let [directory, step, times] = parts[..] else { panic!("a task has three parts") };
        let aborting = Aborting::new(step, times.parse().unwrap());
        let (ledger, _thread) = Ledger::start_observed(with_usage(Path::new(directory)), aborting).unwrap();
        block_on(hand_over_all(&ledger, &many_rows())).unwrap();
        return;
    }
    let rows = many_rows();
    for step in STEPS {
        for times in [1, 3, 17] {
            let folder = folder();
            let child = Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact", "--nocapture"])
                .env(TASK, format!("{} {step} {times}", folder.path().display()))
                .output()
                .unwrap();
            assert!(!child.status.success(), "{step} {times} was not reached");
            let (ledger, thread) = start(with_usage(folder.path()));
            let kept = counted(&ledger.view());
            assert!(sets_in(folder.path()) == sets_of(&rows[..kept]), "{step} {times}: {kept} rows counted");
            block_on(hand_over_all(&ledger, &rows)).unwrap();
            assert_eq!(counted(&ledger.view()), rows.len());
            assert!(sets_in(folder.path()) == sets_of(&rows), "{step} {times}: all");
            stop((ledger, thread));
        }
    }
}

/// A commit that fails, whether it was kept or not: the sets are those of the rows that are counted. The
/// wrong rule, which writes them in a transaction of their own, fails this test.
#[test]
fn sets_that_are_written_after_the_commit_are_found_out() {
    let rows = many_rows();
    let is_right = |after_commit: bool| {
        AFTER_COMMIT.set(after_commit);
        let (folder, failing) = (folder(), Failing::default());
        let mut is_right = true;
        for (number, counter) in [&failing.before_commit, &failing.after_commit].into_iter().enumerate() {
            let ledger = InlineLedger::open_with(with_usage(folder.path()), failing.clone());
            block_on(hand_over_all(&ledger, &rows[..500 * (number + 1)])).unwrap();
            counter.store(1, Ordering::SeqCst);
            assert_eq!(block_on(hand_over_all(&ledger, &rows)), Err(CheckpointError::Failed));
            drop(ledger);
            let ledger = InlineLedger::open_with(with_usage(folder.path()), failing.clone());
            is_right &= sets_in(folder.path()) == sets_of(&rows[..counted(&ledger.view())]);
        }
        AFTER_COMMIT.set(false);
        is_right
    };
    assert!(is_right(false));
    assert!(!is_right(true));
}

#[test]
fn a_full_disk_leaves_the_sets_of_the_rows_that_are_counted() {
    let (folder, rows, failing) = (folder(), many_rows(), Failing::default());
    let whole = crate::ledger::tests::folder();
    let ledger = InlineLedger::open_with(with_usage(whole.path()), Failing::default());
    block_on(hand_over_all(&ledger, &rows)).unwrap();
    let connection = Connection::open(whole.path().join("ledger.db")).unwrap();
    let pages: u32 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    failing.largest_file.store(pages - 5, Ordering::SeqCst);
    let ledger = InlineLedger::open_with(with_usage(folder.path()), failing.clone());
    assert_eq!(block_on(hand_over_all(&ledger, &rows)), Err(CheckpointError::Failed));
    let kept = counted(&ledger.view());
    assert!(kept > 0 && kept < rows.len(), "{kept}");
    assert!(sets_in(folder.path()) == sets_of(&rows[..kept]));
    failing.largest_file.store(0, Ordering::SeqCst);
    while block_on(hand_over_all(&ledger, &rows)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(sets_in(folder.path()) == sets_of(&rows));
}

#[test]
fn replicas_with_one_secret_have_equal_sets_whatever_the_pages() {
    let rows = many_rows();
    let sets = [100, 37].map(|size| {
        let folder = folder();
        let ledger = InlineLedger::open_with(with_usage(folder.path()), Failing::default());
        for page in rows.chunks(size) {
            let handed = Handed {
                rows: page.to_vec(),
                read_at: MIDNIGHT + 3 * DAY,
                seal_until: None,
                ends_poll: false,
            };
            block_on(hand_over(&ledger, handed)).unwrap();
        }
        sets_in(folder.path())
    });
    assert!(sets[0] == sets[1] && sets[0] == sets_of(&rows));
    assert!(sets[0].values().any(|bytes| bytes.len() == 4096), "some are sketches");
    assert!(sets[0].values().any(|bytes| bytes.len() < 4096), "some are exact");
}

/// True if one of the files of a ledger has these bytes.
fn is_on_disk(directory: &Path, bytes: &[u8]) -> bool {
    ["ledger.db", "ledger.db-wal"].iter().any(|name| {
        let file = std::fs::read(directory.join(name)).unwrap_or_default();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn off_there_is_no_set_and_no_secret_and_turning_it_off_wipes_both() {
    let folder = folder();
    let own_secret = |directory: &Path| {
        let usage = UsageOptions {
            hasher: Arc::default(),
            secret: None,
            ignored_keys: crate::usage::IgnoredKeys::default(),
        };
        let hasher = Arc::clone(&usage.hasher);
        (LedgerOptions { usage: Some(usage), ..options(directory) }, hasher)
    };
    let ledger = InlineLedger::open_with(options(folder.path()), Failing::default());
    block_on(hand_over_all(&ledger, &many_rows()[..100])).unwrap();
    assert_eq!(block_on(ledger.open(&log())).unwrap().unwrap().sealed_until, None, "nothing is sealed");
    assert_eq!(ledger.view().committed().unwrap().usage, None);
    drop(ledger);
    let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
    for table in TABLES {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        assert_eq!(connection.query_row(&format!("SELECT count(*) FROM {table}"), [], count).unwrap(), 0);
    }
    drop(connection);

    let (on, hasher) = own_secret(folder.path());
    let ledger = InlineLedger::open_with(on, Failing::default());
    block_on(hand_over_all(&ledger, &many_rows()[..300])).unwrap();
    let sets = sets_in(folder.path());
    let (bytes, secret) = (sets.values().next_back().unwrap().clone(), hasher.secret().unwrap().bytes());
    drop(ledger);
    let (on, hasher) = own_secret(folder.path());
    drop(InlineLedger::open_with(on, Failing::default()));
    assert_eq!(hasher.secret().unwrap().bytes(), secret, "the ledger keeps its secret");
    assert!(is_on_disk(folder.path(), &bytes) && is_on_disk(folder.path(), &secret));

    let ledger = InlineLedger::open_with(options(folder.path()), Failing::default());
    assert!(!is_on_disk(folder.path(), &bytes) && !is_on_disk(folder.path(), &secret));
    assert_eq!(counted(&ledger.view()), 300, "counts stay");
}

#[test]
fn the_bytes_of_a_day_are_gone_from_the_files_31_days_later() {
    let folder = folder();
    let ledger = InlineLedger::open_with(with_usage(folder.path()), Failing::default());
    let page = |rows: Vec<WebApiRow>, read_at: i64, seal_until: Option<i64>| {
        block_on(hand_over(&ledger, Handed { rows, read_at, seal_until, ends_poll: true })).unwrap();
    };
    let first: Vec<WebApiRow> = (1..=60).map(|id| row(id, MIDNIGHT + id, &format!("K{id}"))).collect();
    page(first, MIDNIGHT + 100, Some(MIDNIGHT));
    let bytes = sets_in(folder.path()).into_values().next().unwrap();
    page(vec![row(61, MIDNIGHT + 30 * DAY, "L")], MIDNIGHT + 30 * DAY + 200, Some(MIDNIGHT + 30 * DAY));
    assert!(is_on_disk(folder.path(), &bytes));
    assert_eq!(
        counts(&ledger.view()).unwrap().of_product(
            UsageSubject::ActiveKeys,
            ProductLabel::Id(1),
            UsageWindow::Month
        ),
        18
    );
    page(Vec::new(), MIDNIGHT + 31 * DAY + 200, Some(MIDNIGHT + 31 * DAY));
    assert_eq!(sets_in(folder.path()).len(), 2, "only those of the last row");
    assert!(!is_on_disk(folder.path(), &bytes));
}

#[test]
fn another_secret_is_refused_and_a_file_leaves_its_fingerprint_only() {
    let folder = folder();
    stop(start(with_usage(folder.path())));
    assert!(!is_on_disk(folder.path(), &[1; 16]));
    for other in [Some(secret(2)), None] {
        let mut options = with_usage(folder.path());
        options.usage.as_mut().unwrap().secret = other;
        let error = Ledger::start(options).unwrap_err();
        assert!(matches!(error, OpenError::Secret { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("--usage.secret-file") && message.contains("--usage.active=false"),
            "{message}"
        );
    }
    stop(start(options(folder.path())));
    let mut options = with_usage(folder.path());
    options.usage.as_mut().unwrap().secret = Some(secret(2));
    stop(start(options));
}

#[test]
fn all_windows_move_in_the_commit_that_seals_the_last_minute_and_survive_a_restart() {
    let folder = folder();
    let (failing, options) = (Failing::default(), || with_usage(folder.path()));
    let mut ledger = InlineLedger::open_with(options(), failing.clone());
    let hand = |ledger: &InlineLedger, rows, read_at, seal_until, ends_poll| {
        block_on(hand_over(ledger, Handed { rows, read_at, seal_until, ends_poll })).unwrap();
    };
    let keys = |ledger: &InlineLedger| {
        let counts = counts(&ledger.view()).unwrap();
        UsageWindow::ALL.map(|window| {
            counts
                .windows
                .contains(&window)
                .then(|| counts.of_product(UsageSubject::ActiveKeys, ProductLabel::Id(2), window))
        })
    };
    // Ids of product 2. At 23:59:50.
    hand(&ledger, vec![row(1, MIDNIGHT - 20, "A")], MIDNIGHT - 10, None, false);
    assert_eq!(counts(&ledger.view()), None, "not before the end of the first poll");
    hand(&ledger, Vec::new(), MIDNIGHT - 10, Some(MIDNIGHT - 120), true);
    assert_eq!(keys(&ledger), [Some(1), Some(0), Some(0), Some(0)]);
    // At 00:00:30 23:59 is not sealed.
    hand(&ledger, vec![row(4, MIDNIGHT + 10, "B")], MIDNIGHT + 30, Some(MIDNIGHT - 60), true);
    assert_eq!(keys(&ledger), [Some(1), Some(0), Some(0), Some(0)]);
    // At 00:02 it is; then a row of yesterday comes.
    hand(&ledger, Vec::new(), MIDNIGHT + 120, Some(MIDNIGHT), true);
    assert_eq!(keys(&ledger), [Some(1); 4]);
    hand(&ledger, vec![row(10, MIDNIGHT - 5, "C")], MIDNIGHT + 130, None, true);
    let after = [Some(1), Some(2), Some(2), Some(2)];
    assert_eq!(keys(&ledger), after);
    drop(ledger);
    ledger = InlineLedger::open_with(options(), failing);
    assert_eq!(keys(&ledger), after);
    assert_eq!(counts(&ledger.view()).unwrap().last_day.start(), MIDNIGHT - DAY);
    // No poll over the next midnights, and a row far in the future counts when it was read.
    let read_at = MIDNIGHT + 3 * DAY + 300;
    hand(&ledger, vec![row(13, read_at + FUTURE_SECONDS + 1, "D")], read_at, Some(MIDNIGHT + 3 * DAY), true);
    assert_eq!(keys(&ledger), [Some(1), Some(0), Some(3), Some(3)]);
}

/// Also the migration of each earlier version.
#[test]
fn usage_that_is_turned_on_later_begins_then() {
    for version in [Version::First, Version::Second, Version::Third, Version::Fourth] {
        let folder = folder();
        version.put(folder.path());
        let ledger = InlineLedger::open_with(with_usage(folder.path()), Failing::default());
        assert!(sets_in(folder.path()).is_empty());
        let cursor = block_on(ledger.open(&log())).unwrap().unwrap().position.cursor();
        let read_at = MIDNIGHT + 3600;
        let hand = |rows, read_at, seal_until| {
            block_on(hand_over(&ledger, Handed { rows, read_at, seal_until, ends_poll: true })).unwrap();
        };
        hand(vec![row(cursor + 1, read_at - 10, "A")], read_at, Some(MIDNIGHT));
        let shown = counts(&ledger.view()).unwrap();
        assert_eq!((shown.origin, shown.windows.as_slice()), (read_at + 1, &[][..]), "{version:?}");
        hand(Vec::new(), MIDNIGHT + DAY + 300, Some(MIDNIGHT + DAY));
        assert_eq!(counts(&ledger.view()).unwrap().windows, [UsageWindow::Today], "{version:?}");
        hand(Vec::new(), MIDNIGHT + 2 * DAY + 300, Some(MIDNIGHT + 2 * DAY));
        assert_eq!(counts(&ledger.view()).unwrap().windows, [UsageWindow::Today, UsageWindow::LastDay]);
    }
}

#[test]
fn a_damaged_ledger_is_moved_aside_and_the_new_one_has_the_same_secret() {
    let (folder, rows) = (folder(), many_rows());
    let mut options = with_usage(folder.path());
    options.usage.as_mut().unwrap().secret = None;
    let hasher = Arc::clone(&options.usage.as_ref().unwrap().hasher);
    let ledger = InlineLedger::open_with(options, Failing::default());
    block_on(hand_over_all(&ledger, &rows[..200])).unwrap();
    let before = hasher.secret().unwrap().bytes();
    let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
    connection.execute("UPDATE usage_set SET members = x''", []).unwrap();
    drop(connection);
    assert!(block_on(hand_over_all(&ledger, &rows[..300])).is_err());
    std::thread::sleep(std::time::Duration::from_millis(600));
    block_on(hand_over_all(&ledger, &rows[..300])).unwrap();
    let committed = ledger.view().committed().unwrap();
    assert_eq!(committed.resets, 1);
    assert!(sets_in(folder.path()) == sets_of(&rows[..300]), "counting begins anew, with the same hashes");
    assert!(is_on_disk(folder.path(), &before));
}

#[test]
fn the_sets_of_an_account_that_is_not_configured_any_more_are_deleted() {
    let folder = folder();
    let ledger = InlineLedger::open_with(with_usage(folder.path()), Failing::default());
    block_on(hand_over_all(&ledger, &many_rows()[..100])).unwrap();
    drop(ledger);
    let mut options = with_usage(folder.path());
    options.configured = Configured::from([("another".into(), Vec::new())]);
    drop(InlineLedger::open_with(options, Failing::default()));
    assert!(sets_in(folder.path()).is_empty());
}
