//! A ledger that is damaged, gone, replaced, or somebody else's, seen from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::page::Page;
use common::{Exporter, command, entries, eventually, row, run, serve, serve_with_file};
use cryptolens_simulator::{Log, Options, Running, start};
use rustix::process::Signal;
use tempfile::TempDir;

const RESETS: &str = "cryptolens_exporter_ledger_resets_total";
const FOREIGN_WRITES: &str = "cryptolens_exporter_ledger_foreign_writes_total";
const LEDGER_UP: &str = "cryptolens_exporter_ledger_up";
const CURSOR: &str = "cryptolens_exporter_cursor_id";

/// A simulated account with three old rows in each log, and a directory for its ledger.
struct World {
    running: Running,
    folder: TempDir,
}

impl World {
    async fn new() -> World {
        let world =
            World { running: start(Options::empty()).await.unwrap(), folder: tempfile::tempdir().unwrap() };
        world.append(1..=3);
        world
    }

    fn append(&self, ids: std::ops::RangeInclusive<i64>) {
        let time = self.running.simulator.now() - 3600;
        for log in Log::ALL {
            self.running.simulator.append(log, ids.clone().map(|id| row(log, id, time)).collect(), None);
        }
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn ledger(&self) -> PathBuf {
        self.storage().join("ledger.db")
    }

    fn serve(&self, more: &[&str]) -> Command {
        self.serve_since("all", more)
    }

    fn serve_since(&self, since: &str, more: &[&str]) -> Command {
        let mut command = serve(&self.running.url(), &self.storage());
        command.args([&format!("--since={since}"), "--poll.interval=1s"]).args(more);
        command
    }

    async fn exporter(&self) -> Exporter {
        Exporter::start(self.serve(&[])).await
    }

    /// An exporter that has its counts from the ledger alone: a new one would begin with what comes
    /// now.
    async fn exporter_from_ledger(&self) -> Exporter {
        Exporter::start(self.serve_since("now", &[])).await
    }

    /// An exporter that is to end with exit code 1. Returns what it said.
    async fn refused(&self, more: &[&str]) -> String {
        let (code, _, stderr) = run(self.serve(more)).await;
        assert_eq!(code, Some(1), "{stderr}");
        let errors: Vec<_> = stderr.lines().filter(|line| line.contains("level=error")).collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        errors[0].to_owned()
    }
}

fn counts(page: &Page) -> [f64; 3] {
    Log::ALL.map(|log| page.sum(entries(log), &[]))
}

/// The first page with this many rows in each log, and with a cursor for each.
async fn until_counted(exporter: &Exporter, rows: f64) -> Page {
    let has_all = |page: &Page| {
        counts(page) == [rows; 3]
            && Log::ALL.iter().all(|log| page.value(CURSOR, &[("log", log.name())]).is_some())
    };
    exporter.until(&format!("{rows} rows in each log"), |page| has_all(page).then(|| page.clone())).await
}

fn files(directory: &Path, part: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.contains(part));
    names.sort();
    names
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// Runs the demo until it has counted, and ends it.
async fn run_demo(storage: &Path) {
    let mut demo = command(&["demo", "--web.listen-address=127.0.0.1:0", "--seed=1"]);
    demo.arg(format!("--storage.path={}", storage.display()));
    let exporter = Exporter::start(demo).await;
    exporter.until("a row", |page| (page.sum(entries(Log::WebApi), &[]) > 0.0).then_some(())).await;
    exporter.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_the_demo_never_becomes_an_accounts_nor_the_reverse() {
    let world = World::new().await;
    run_demo(&world.storage()).await;
    let before = std::fs::read(world.ledger()).unwrap();
    for more in [&[][..], &["--storage.foreign-ledger=adopt"]] {
        let stderr = world.refused(more).await;
        assert_parts(
            &stderr,
            &["belongs to the demo", "--storage.foreign-ledger=set-aside", "--storage.path"],
        );
    }
    assert_eq!(std::fs::read(world.ledger()).unwrap(), before, "what is refused is not touched");
    run_demo(&world.storage()).await;

    let exporter = Exporter::start(world.serve(&["--storage.foreign-ledger=set-aside"])).await;
    let page = until_counted(&exporter, 3.0).await;
    assert_eq!(page.value(RESETS, &[]), Some(1.0));
    exporter.terminate().await;
    assert_eq!(files(&world.storage(), "aside").len(), 1);

    // Beside the account's ledger there is a world of the demo still; and without one it is the
    // same.
    for _ in 0..2 {
        let mut demo = command(&["demo", "--web.listen-address=127.0.0.1:0"]);
        demo.arg(format!("--storage.path={}", world.storage().display()));
        let (code, _, stderr) = run(demo).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert_parts(&stderr, &["give the demo a --storage.path of its own"]);
        let _ = std::fs::remove_file(world.storage().join("demo.json"));
    }
    assert!(!world.storage().join("demo.json").exists(), "the demo left its world beside another's ledger");
    until_counted(&world.exporter().await, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_another_api_address_is_refused_adopted_or_set_aside() {
    let (old, new) = (World::new().await, World::new().await);
    let exporter = old.exporter().await;
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;
    new.append(4..=5);
    let moved = |more: &'static [&'static str]| {
        let mut command = serve(&new.running.url(), &old.storage());
        command.args(["--since=all", "--poll.interval=1s"]).args(more);
        command
    };

    let (code, _, stderr) = run(moved(&[])).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert_parts(
        &stderr,
        &["belongs to the API at http://127.0.0.1:", "--storage.foreign-ledger=adopt", "=set-aside"],
    );
    // Spelled otherwise it is the same.
    let mut same = serve_with_file(&old.storage());
    same.arg(format!("--api.url={}/", old.running.url().replace("http:", "HTTP:")));
    same.args(["--since=all", "--poll.interval=1s"]).env("CRYPTOLENS_TOKEN", common::TOKEN);
    let exporter = Exporter::start(same).await;
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;

    let exporter = Exporter::start(moved(&["--storage.foreign-ledger=adopt"])).await;
    assert_eq!(until_counted(&exporter, 5.0).await.value(RESETS, &[]), Some(0.0));
    exporter.terminate().await;
    until_counted(&Exporter::start(moved(&[])).await, 5.0).await;
    old.refused(&[]).await;

    let mut variable = old.serve(&[]);
    variable.env("CRYPTOLENS_STORAGE_FOREIGN_LEDGER", "set-aside");
    let exporter = Exporter::start(variable).await;
    assert_eq!(until_counted(&exporter, 3.0).await.value(RESETS, &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_changes_the_address_keeps_the_old_configuration() {
    let world = World::new().await;
    let config = world.folder.path().join("config.yml");
    let write = |url: &str, interval: &str| {
        let text = format!("api: {{url: '{url}'}}\nsince: all\npoll: {{interval: {interval}}}\n");
        std::fs::write(&config, text).unwrap();
    };
    write(&world.running.url(), "1s");
    let mut command = serve_with_file(&world.storage());
    command.arg(format!("--config.file={}", config.display())).env("CRYPTOLENS_TOKEN", common::TOKEN);
    let exporter = Exporter::start(command).await;
    until_counted(&exporter, 3.0).await;

    write("http://127.0.0.1:9/api", "1s");
    exporter.process.signal(Signal::HUP);
    let line = eventually("the refusal", async || {
        exporter.process.lines(&["level=error", "the old configuration stays in use"]).pop()
    })
    .await;
    assert_parts(&line, &["the API at http://127.0.0.1:9/api", "restart"]);
    world.append(4..=4);
    until_counted(&exporter, 4.0).await;
    // The same address in another spelling is no change.
    write(&format!("{}/", world.running.url()), "2s");
    exporter.process.signal(Signal::HUP);
    eventually("the new configuration", async || exporter.process.lines(&["configuration read again"]).pop())
        .await;
}

/// The ledger that the first version wrote.
fn first_version(storage: &Path) {
    std::fs::create_dir_all(storage).unwrap();
    let packed = std::fs::File::open("tests/fixtures/ledger-v1.db.gz").unwrap();
    let mut database = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut database).unwrap();
    std::fs::write(storage.join("ledger.db"), database).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_the_first_version_goes_on_with_its_counts() {
    let world = World::new().await;
    first_version(&world.storage());
    // Its rows end below these.
    world.append(3_000_000_001..=3_000_000_002);
    let exporter = world.exporter().await;
    let wanted = [4748.0 + 2.0, 1428.0 + 2.0, 71.0 + 2.0];
    let page = exporter.until("all rows", |page| (counts(page) == wanted).then(|| page.clone())).await;
    assert_eq!(page.value(RESETS, &[]), Some(0.0));
    exporter.terminate().await;
    assert_eq!(files(&world.storage(), "ledger.db.v1"), ["ledger.db.v1"], "the old one is still there");

    let exporter = world.exporter().await;
    assert_eq!(counts(&exporter.scrape().await), wanted);
    exporter.terminate().await;
    assert_eq!(files(&world.storage(), "ledger.db.v1"), [""; 0], "and gone after a start that succeeded");

    // It took the address of its next start.
    let other = World::new().await;
    let (code, _, stderr) = run(serve(&other.running.url(), &world.storage())).await;
    assert_eq!(code, Some(1), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_the_first_version_beside_a_world_of_the_demo_is_the_demos() {
    let world = World::new().await;
    first_version(&world.storage());
    let mut demo = command(&["demo", "--web.listen-address=127.0.0.1:0"]);
    demo.arg(format!("--storage.path={}", world.storage().display()));
    let (code, _, stderr) = run(demo).await;
    assert_eq!(code, Some(1), "an account's: {stderr}");
    assert!(!world.storage().join("demo.json").exists());

    std::fs::write(world.storage().join("demo.json"), r#"{"seed":7,"start":1795767925}"#).unwrap();
    let before = std::fs::read(world.ledger()).unwrap();
    assert_parts(&world.refused(&[]).await, &["belongs to the demo", "set-aside"]);
    assert_eq!(std::fs::read(world.ledger()).unwrap(), before);
    assert_eq!(files(&world.storage(), "v1"), [""; 0]);
    let exporter = Exporter::start(world.serve(&["--storage.foreign-ledger=set-aside"])).await;
    until_counted(&exporter, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_logs_come_back_after_the_ledger_was_moved_aside_while_running() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    let shell = rusqlite::Connection::open(world.ledger()).unwrap();
    shell.execute("UPDATE counter SET value = value + 7", []).unwrap();
    drop(shell);
    exporter.until_value(RESETS, &[], 1.0).await;
    let page = until_counted(&exporter, 3.0).await;
    assert_eq!((page.value(FOREIGN_WRITES, &[]), page.value(LEDGER_UP, &[])), (Some(1.0), Some(1.0)));
    assert_eq!(exporter.process.lines(&["level=error", "moved aside"]).len(), 1);
    exporter.terminate().await;
    assert_eq!(files(&world.storage(), "aside").iter().filter(|name| !name.ends_with("-wal")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_by_hand_that_changes_nothing_is_counted_and_taken() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    let shell = rusqlite::Connection::open(world.ledger()).unwrap();
    shell
        .execute_batch(
            "BEGIN; UPDATE counter SET value = value + 7; UPDATE counter SET value = value - 7; COMMIT;",
        )
        .unwrap();
    exporter.until_value(FOREIGN_WRITES, &[], 1.0).await;
    world.append(4..=4);
    let page = until_counted(&exporter, 4.0).await;
    assert_eq!((page.value(RESETS, &[]), page.value(LEDGER_UP, &[])), (Some(0.0), Some(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_lock_was_deleted_the_process_that_started_later_stays_exact() {
    let world = World::new().await;
    let mut earlier = world.exporter().await;
    until_counted(&earlier, 3.0).await;
    std::fs::remove_file(world.storage().join("ledger.lock")).unwrap();
    let later = world.exporter().await;
    for id in 4..40 {
        world.append(id..=id);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let status = earlier.process.ended().await;
    assert_eq!(status.code(), Some(1), "{}", earlier.process.log());
    assert_eq!(earlier.process.lines(&["level=error", "another process that started later"]).len(), 1);
    assert_eq!(until_counted(&later, 39.0).await.value(RESETS, &[]), Some(0.0));
    let log = later.terminate().await;
    assert!(!log.contains("level=error"), "{log}");
    until_counted(&world.exporter().await, 39.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_deleted_is_made_again() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    let lock = world.storage().join("ledger.lock");
    std::fs::remove_file(&lock).unwrap();
    eventually("a lock", async || lock.exists().then_some(())).await;
    assert_parts(&world.refused(&[]).await, &["another process uses this ledger"]);
    exporter.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_deleted_while_running_is_written_again() {
    let world = World::new().await;
    type Removal = (&'static str, fn(&World));
    let remove: [Removal; 4] = [
        ("ledger.db", |world| std::fs::remove_file(world.ledger()).unwrap()),
        ("the directory", |world| std::fs::remove_dir_all(world.storage()).unwrap()),
        ("the write-ahead log", |world| {
            std::fs::remove_file(world.storage().join("ledger.db-wal")).unwrap();
        }),
        ("all but the directory", |world| {
            for name in files(&world.storage(), "ledger") {
                std::fs::remove_file(world.storage().join(name)).unwrap();
            }
        }),
    ];
    for (round, (what, remove)) in (0i32..).zip(remove) {
        let exporter = if round == 0 { world.exporter().await } else { world.exporter_from_ledger().await };
        let rows = 3 + i64::from(round) * 2;
        until_counted(&exporter, rows as f64).await;
        remove(&world);
        world.append(rows + 1..=rows + 1);
        let line = eventually("an error", async || {
            exporter.process.lines(&["level=error", "while the exporter runs"]).pop()
        })
        .await;
        assert_parts(&line, &["nothing is lost", "to start over on purpose, stop the exporter"]);
        world.append(rows + 2..=rows + 2);
        let page = until_counted(&exporter, (rows + 2) as f64).await;
        assert_eq!((page.value(RESETS, &[]), page.value(LEDGER_UP, &[])), (Some(0.0), Some(1.0)), "{what}");
        // Half of them end without a word.
        if round % 2 == 0 { exporter.process.kill().await } else { drop(exporter.terminate().await) }
    }
    let page = until_counted(&world.exporter_from_ledger().await, 11.0).await;
    assert_eq!(page.value(RESETS, &[]), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_deleted_just_before_the_stop_is_written_again() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    std::fs::remove_dir_all(world.storage()).unwrap();
    let log = exporter.terminate().await;
    assert_parts(&log, &["nothing is lost"]);
    assert!(world.ledger().exists());
    until_counted(&world.exporter_from_ledger().await, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_again_is_shown_as_down_and_counted_as_reset() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    std::fs::remove_dir_all(world.storage()).unwrap();
    std::fs::write(world.storage(), "in the way").unwrap();
    let page = exporter.until_value(LEDGER_UP, &[], 0.0).await;
    assert_eq!((page.value(RESETS, &[]), counts(&page)), (Some(1.0), [3.0; 3]));
    world.append(4..=4);
    let page = until_counted(&exporter, 4.0).await;
    assert_eq!(page.value(LEDGER_UP, &[]), Some(0.0), "what it writes now will be gone");

    std::fs::remove_file(world.storage()).unwrap();
    let page = exporter.until_value(LEDGER_UP, &[], 1.0).await;
    assert_eq!((page.value(RESETS, &[]), counts(&page)), (Some(1.0), [4.0; 3]));
    exporter.terminate().await;
    until_counted(&world.exporter_from_ledger().await, 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_replaced_while_running_ends_the_process_and_is_read_by_the_next() {
    let world = World::new().await;
    let mut exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    let backup = world.folder.path().join("backup.db");
    let reader = rusqlite::Connection::open(world.ledger()).unwrap();
    reader.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    drop(reader);
    world.append(4..=9);
    until_counted(&exporter, 9.0).await;
    std::fs::rename(&backup, world.ledger()).unwrap();
    let status = exporter.process.ended().await;
    assert_eq!(status.code(), Some(1), "{}", exporter.process.log());
    assert_eq!(exporter.process.lines(&["level=error", "replaced by another file"]).len(), 1);

    let exporter = world.exporter_from_ledger().await;
    assert_eq!(until_counted(&exporter, 9.0).await.value(RESETS, &[]), Some(0.0), "from 3 on");
    exporter.terminate().await;
}

const ORIGIN: &str = "cryptolens_exporter_history_origin_timestamp_seconds";

/// Nobody listens there, so that history waits in the ledger.
const NOWHERE: &str = "--history.remote-write.url=http://127.0.0.1:1/api/v1/write";

/// Runs `backfill` beside a ledger into a file. Returns, for each sample of a family that counts
/// rows, its stamp in seconds and its value; and what was said.
async fn backfill(world: &World) -> (Vec<(f64, f64)>, String) {
    let (text, said) =
        backfill_text(world, &[&format!("--storage.path={}", world.storage().display())]).await;
    let sample = |line: &str| {
        let (_, numbers) = line.rsplit_once("} ").unwrap();
        let (value, stamp) = numbers.split_once(' ').unwrap();
        (stamp.parse().unwrap(), value.parse().unwrap())
    };
    let rows = text.lines().filter(|line| !line.starts_with('#') && line.contains("_log_entries{"));
    (rows.map(sample).collect(), said)
}

/// Runs `backfill` of the last two hours into a file. Returns its text, which is empty if it
/// failed, and what was said.
async fn backfill_text(world: &World, more: &[&str]) -> (String, String) {
    let file = world.folder.path().join("history.om");
    let mut command = command(&["backfill", "--since=2h"]);
    command.arg(format!("--api.url={}", world.running.url())).env("CRYPTOLENS_TOKEN", "token");
    command.arg(format!("--output={}", file.display())).args(more);
    let (code, _, said) = run(command).await;
    if code != Some(0) {
        return (String::new(), said);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    (text, said)
}

/// A machine whose clock is an hour ahead would call an hour complete that has not been yet.
#[tokio::test]
async fn a_backfill_ends_with_the_last_complete_minute_of_the_servers_clock() {
    let world = World::new().await;
    world.running.simulator.set_faults(vec!["date_behind:3600".parse().unwrap()]);
    let (text, said) = backfill_text(&world, &["--to=now"]).await;
    let covered = text.lines().filter(|line| line.starts_with("cryptolens_history_covered_seconds{"));
    let last =
        covered.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).fold(0.0, f64::max);
    let behind = world.running.simulator.now() as f64 - last;
    assert!((3660.0..3900.0).contains(&behind), "{behind}: {said}");
}

#[tokio::test]
async fn a_backfill_beside_a_ledger_ends_where_the_history_of_the_ledger_begins() {
    let world = World::new().await;
    let exporter = world.exporter().await;
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;
    let (samples, said) = backfill(&world).await;
    assert!(samples.is_empty() && said.contains("has no history of account default"), "{said}");

    // History is turned on. Rows of the minutes before are in none of its samples, also late ones.
    let exporter = Exporter::start(world.serve(&[NOWHERE])).await;
    world.append(4..=4);
    let page = until_counted(&exporter, 4.0).await;
    let origins = Log::ALL.map(|log| page.value(ORIGIN, &[("log", log.name())]).unwrap());
    let (samples, said) = backfill(&world).await;
    assert_eq!(samples.iter().map(|(_, rows)| rows).sum::<f64>(), 12.0, "four rows in each log: {said}");
    let end = origins.iter().copied().fold(0.0, f64::max);
    assert!(samples.iter().all(|(stamp, _)| *stamp < end), "{samples:?}");
    exporter.terminate().await;

    // A pause, and rows that happened in it: the history begins anew, and the backfill goes up to
    // there.
    let exporter = world.exporter().await;
    world.append(5..=5);
    until_counted(&exporter, 5.0).await;
    exporter.terminate().await;
    let exporter = Exporter::start(world.serve(&[NOWHERE])).await;
    world.append(6..=6);
    until_counted(&exporter, 6.0).await;
    let (samples, said) = backfill(&world).await;
    assert_eq!(samples.iter().map(|(_, rows)| rows).sum::<f64>(), 18.0, "{said}");
    exporter.terminate().await;
}

#[tokio::test]
async fn a_ledger_that_has_the_whole_history_leaves_nothing_to_a_backfill() {
    let world = World::new().await;
    let exporter = Exporter::start(world.serve(&[NOWHERE])).await;
    until_counted(&exporter, 3.0).await;
    // While it runs, and after it.
    let (samples, said) = backfill(&world).await;
    assert!(samples.is_empty() && said.contains("0 entries"), "{said}");
    exporter.terminate().await;
    let (samples, said) = backfill(&world).await;
    assert!(samples.is_empty() && said.contains("0 entries"), "{said}");
}
