//! Sets of usage in a real ledger: with kills, failing commits, a full disk, other secrets, and what is
//! left of them in the file.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::*;
use crate::cryptolens::{IdentityHash, Rows, WebApiRow};
use crate::history::{HistoryFamily, HistoryOptions, Outbox as _};
use crate::ingest::flaw::{Flaw, OF_THE_LEDGER};
use crate::ingest::{CheckpointError, CheckpointStore, EarlierRows as _, Origin, PageStatistics, WantedRows};
use crate::ledger::inline::InlineLedger;
use crate::ledger::tests::{
    ACCOUNT, Aborting, Failing, STEPS, Version, block_on, folder, options, usage_sets_in,
};
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
    let sets = usage_sets_in(directory).into_iter();
    sets.map(|((day, product, subject), bytes)| ((day, product, code(subject)), bytes)).collect()
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
        OF_THE_LEDGER.set(after_commit.then_some(Flaw::UsageAfterCommit));
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
        OF_THE_LEDGER.set(None);
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

/// A log that nobody can read seals nothing, and one that is not configured any more is not opened.
#[test]
fn the_bytes_of_a_day_are_gone_31_days_later_also_if_nothing_is_read() {
    let (folder, failing) = (folder(), Failing::default());
    let ledger = InlineLedger::open_with(with_usage(folder.path()), failing.clone());
    let clock = |time: i64| failing.clock.store(time * 1000, Ordering::SeqCst);
    let page = |ledger: &InlineLedger, id: i64, day: i64| {
        let (time, seal_until) = (MIDNIGHT + day * DAY + id, Some(MIDNIGHT + day * DAY));
        clock(time);
        let rows = vec![row(id, time, &format!("K{id}"))];
        block_on(hand_over(ledger, Handed { rows, read_at: time, seal_until, ends_poll: true })).unwrap();
    };
    page(&ledger, 1, 0);
    let bytes = sets_in(folder.path()).into_values().next().unwrap();
    page(&ledger, 2, 10);
    let (shown, now) = (counts(&ledger.view()).unwrap(), std::time::Duration::ZERO);
    assert_eq!(shown.windows.len(), 4);
    clock(MIDNIGHT + 31 * DAY - 1);
    ledger.expire_usage(now);
    assert!(is_on_disk(folder.path(), &bytes), "it is the 30th day before today");
    clock(MIDNIGHT + 31 * DAY);
    ledger.expire_usage(UNREAD_FOR);
    assert!(is_on_disk(folder.path(), &bytes), "the log was read a moment ago");
    ledger.expire_usage(now);
    assert!(!is_on_disk(folder.path(), &bytes));
    assert_eq!(sets_in(folder.path()).len(), 2, "those of the second row");
    let after = counts(&ledger.view()).unwrap();
    assert_eq!((after.origin, after.last_day), (MIDNIGHT + DAY, shown.last_day));
    assert_eq!(after.windows, [UsageWindow::Today, UsageWindow::LastDay, UsageWindow::Week]);
    drop(ledger);
    let ledger = InlineLedger::open_with(with_usage(folder.path()), failing.clone());
    assert_eq!(counts(&ledger.view()).unwrap(), after, "it is written down");
    // It is read again: the month is known as soon as it begins after that day.
    page(&ledger, 3, 31);
    assert_eq!(counts(&ledger.view()).unwrap().windows.len(), 4);
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

#[test]
fn days_that_were_counted_before_usage_was_on_are_taken_once_more() {
    let (folder, rows) = (folder(), many_rows());
    let off = start(options(folder.path()));
    block_on(hand_over_all(&off.0, &rows[..3000])).unwrap();
    stop(off);
    let (ledger, thread) = start(with_usage(folder.path()));
    let account: Arc<str> = ACCOUNT.into();
    block_on(hand_over_all(&ledger, &rows)).unwrap();
    assert_eq!(ledger.wanted(&account), None, "the first poll is not complete");
    let end =
        Handed { rows: Vec::new(), read_at: MIDNIGHT + 100, seal_until: Some(MIDNIGHT), ends_poll: true };
    block_on(hand_over(&ledger, end)).unwrap();
    let before = counts(&ledger.view()).unwrap();
    assert_eq!(before.windows, [UsageWindow::Today, UsageWindow::LastDay]);
    assert!(sets_in(folder.path()) == sets_of(&rows[3000..]));
    let wanted = ledger.wanted(&account).unwrap();
    let expected = WantedRows { known_from: before.origin, from: MIDNIGHT - 30 * DAY, after_id: 0, begin: 0 };
    assert_eq!(wanted, expected);

    let again = |rows: &[WebApiRow], known_from| {
        block_on(ledger.take(&account, rows.to_vec(), MIDNIGHT + 200, known_from)).unwrap();
    };
    again(&rows[2500..3500], None);
    again(&rows[1500..2500], Some(MIDNIGHT - 2 * DAY + 50_000));
    let between = counts(&ledger.view()).unwrap();
    assert_eq!((between.origin, &between.windows), (MIDNIGHT - 2 * DAY + 50_000, &before.windows));
    again(&rows[..1600], Some(0));
    assert!(sets_in(folder.path()) == sets_of(&rows));
    let after = counts(&ledger.view()).unwrap();
    assert_eq!((after.origin, after.windows.len()), (0, 4));
    assert_eq!((ledger.wanted(&account), counted(&ledger.view())), (None, rows.len()));
    stop((ledger, thread));
    let (ledger, thread) = start(with_usage(folder.path()));
    assert_eq!(counts(&ledger.view()).unwrap(), after, "it is kept");
    stop((ledger, thread));
}

/// The samples of one family by the day of their stamps and the product, added up.
fn days_in_history(ledger: &Ledger, target: &Arc<str>) -> BTreeMap<(i64, String), i64> {
    let batch = block_on(ledger.oldest(target, 1_000_000)).unwrap();
    let mut stamps = HashSet::new();
    let mut sums = BTreeMap::new();
    for sample in batch.samples {
        assert!(stamps.insert((Arc::clone(&sample.series), sample.stamp)), "one value for each stamp");
        if sample.series.family == HistoryFamily::ActiveMachines && &*sample.series.values[1] == "1d" {
            let key = (sample.stamp.div_euclid(1000 * DAY), sample.series.values[0].to_string());
            *sums.entry(key).or_default() += sample.value;
        }
    }
    sums
}

/// With a history that goes to one target.
fn with_history(options: LedgerOptions, target: &Arc<str>) -> LedgerOptions {
    let history = HistoryOptions {
        targets: vec![Arc::clone(target)],
        window: std::time::Duration::from_secs(31 * 86_400),
        outbox_limit: 1_000_000,
        first_object_code: 0,
    };
    LedgerOptions { history: Some(history), ..options }
}

/// The distinct machines of these rows, by day and product.
fn machines_of(rows: &[WebApiRow]) -> BTreeMap<(i64, String), i64> {
    let machines = sets_of(rows).into_iter().filter(|((_, _, subject), _)| *subject == 2);
    let count = |bytes: Vec<u8>| i64::try_from(UsageSet::from_bytes(&bytes).unwrap().count()).unwrap();
    machines.map(|((day, product, _), bytes)| ((day, product.to_string()), count(bytes))).collect()
}

#[test]
fn the_days_in_the_history_add_up_to_the_sets() {
    let (folder, rows, target) = (folder(), many_rows(), Arc::from("db"));
    let both = || with_history(with_usage(folder.path()), &target);
    let (ledger, thread) = start(both());
    block_on(hand_over_all(&ledger, &rows[..2500])).unwrap();
    assert_eq!(days_in_history(&ledger, &target), BTreeMap::new(), "not in the first poll");
    let end =
        Handed { rows: Vec::new(), read_at: MIDNIGHT + 100, seal_until: Some(MIDNIGHT), ends_poll: true };
    block_on(hand_over(&ledger, end)).unwrap();
    assert_eq!(days_in_history(&ledger, &target), machines_of(&rows[..2500]));
    stop((ledger, thread));
    // After a restart, rows of both days that come late.
    let (ledger, thread) = start(both());
    for page in rows[2500..].chunks(300) {
        let late =
            Handed { rows: page.to_vec(), read_at: MIDNIGHT + 300, seal_until: None, ends_poll: false };
        block_on(hand_over(&ledger, late)).unwrap();
    }
    assert_eq!(days_in_history(&ledger, &target), machines_of(&rows));
    let next = Handed {
        rows: Vec::new(),
        read_at: MIDNIGHT + DAY + 100,
        seal_until: Some(MIDNIGHT + DAY),
        ends_poll: true,
    };
    block_on(hand_over(&ledger, next)).unwrap();
    assert_eq!(days_in_history(&ledger, &target), machines_of(&rows), "a day without rows has no sample");
    stop((ledger, thread));
}

/// Late rows come on top of what the history has of a day, so it has to have something.
#[test]
fn days_that_are_read_again_are_in_the_history_before_their_late_rows() {
    let (folder, rows, target) = (folder(), many_rows(), Arc::from("db"));
    let (ledger, thread) = start(with_history(options(folder.path()), &target));
    block_on(hand_over_all(&ledger, &rows[..3000])).unwrap();
    let end = |read_at| Handed { rows: Vec::new(), read_at, seal_until: Some(MIDNIGHT), ends_poll: true };
    block_on(hand_over(&ledger, end(MIDNIGHT + 100))).unwrap();
    stop((ledger, thread));

    let both = || with_history(with_usage(folder.path()), &target);
    let (ledger, thread) = start(both());
    let late = |ledger: &Ledger, rows: &[WebApiRow]| {
        let read_at = MIDNIGHT + 300;
        let late = Handed { rows: rows.to_vec(), read_at, seal_until: None, ends_poll: true };
        block_on(hand_over(ledger, late)).unwrap();
    };
    late(&ledger, &rows[3000..3010]);
    assert_eq!(days_in_history(&ledger, &target), BTreeMap::new(), "a part of a day would look like few");
    let account: Arc<str> = ACCOUNT.into();
    let again = |rows: &[WebApiRow], known_from| {
        block_on(ledger.take(&account, rows.to_vec(), MIDNIGHT + 400, known_from)).unwrap();
    };
    again(&rows[2000..3000], None);
    assert_eq!(days_in_history(&ledger, &target), BTreeMap::new());
    again(&rows[..2000], Some(MIDNIGHT - 2 * DAY));
    assert_eq!(days_in_history(&ledger, &target), machines_of(&rows[..3010]));
    again(&rows[..100], Some(MIDNIGHT - 3 * DAY));
    late(&ledger, &rows[3010..3500]);
    stop((ledger, thread));
    let (ledger, thread) = start(both());
    late(&ledger, &rows[3500..]);
    assert_eq!(days_in_history(&ledger, &target), machines_of(&rows));
    stop((ledger, thread));
}
