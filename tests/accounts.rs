//! Ten accounts with three logs each, all catching up at once on one ledger whose commits are slow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::expected::Expected;
use common::page::{Page, Watch};
use common::{Exporter, PATIENCE, entries, serve_with_file};
use cryptolens_simulator::{Batch, Fault, FaultKind, Log, Options, start};

const ACCOUNTS: usize = 10;
const HOUR: i64 = 3600;

/// Holds the ledger's write lock most of the time, so that commits wait for it. Returns how often
/// it did so.
fn slow_down(ledger: PathBuf, stop: Arc<AtomicBool>, held: Arc<AtomicU32>) {
    let holder = rusqlite::Connection::open(ledger).unwrap();
    holder.busy_timeout(PATIENCE).unwrap();
    while !stop.load(Ordering::Relaxed) {
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        holder.execute_batch("ROLLBACK").unwrap();
        held.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_accounts_catch_up_and_no_counter_goes_down() {
    let options = Options::new(11);
    let now = options.start + 720 * HOUR;
    let faults = vec![
        Fault::new(FaultKind::CutBody).probability(0.01),
        Fault::new(FaultKind::DuplicateApart).probability(0.1),
        Fault::new(FaultKind::Slow).value(100).probability(0.5),
    ];
    let running =
        start(Options { start: now - 24 * HOUR, requests_per_minute: 4.0, faults, ..options }).await.unwrap();
    let simulator = &running.simulator;

    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("account-{number}")).collect();
    let mut file =
        format!("api: {{url: '{}'}}\nsince: all\npoll: {{interval: 1s, overlap: 10m}}\n", running.url());
    file.push_str("accounts:\n");
    let config = folder.path().join("config.yml");
    let mut command = serve_with_file(&folder.path().join("data"));
    command.arg(format!("--config.file={}", config.display()));
    for (number, name) in names.iter().enumerate() {
        file.push_str(&format!("  - {{name: {name}, token_env: TOKEN_{number}}}\n"));
        command.env(format!("TOKEN_{number}"), format!("token-of-{name}"));
    }
    std::fs::write(config, file).unwrap();

    // The first poll shows nothing until it is complete, so most of the log comes after it.
    simulator.freeze(Some(now - 22 * HOUR));
    // On a Saturday evening nobody may change a license for hours.
    simulator.batch(Log::Objects, &Batch { rows: 6, time_offset: 0, visible_in: 0, spread: 0 });
    let exporter = Exporter::start(command).await;
    let mut watch = Watch::default();
    let shown = |page: &Page| {
        Log::ALL
            .iter()
            .all(|log| names.iter().all(|name| page.sum(entries(*log), &[("account", name)]) > 0.0))
    };
    exporter.until("all families of all accounts", |page| shown(page).then_some(())).await;

    let (stop, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let ledger = folder.path().join("data/ledger.db");
    let slowing = std::thread::spawn({
        let (stop, held) = (Arc::clone(&stop), Arc::clone(&held));
        move || slow_down(ledger, stop, held)
    });
    watch.see(&exporter.scrape().await);
    let began = Instant::now();
    // Step by step, so that there are pages in between on any machine.
    for hours in [18, 14, 10, 6, 3, 0] {
        simulator.freeze(Some(now - hours * HOUR));
        let rows = Log::ALL.map(|log| (log, simulator.truth(log, None).rows as f64));
        let read = |page: &Page, name: &String| {
            rows.iter().all(|(log, rows)| page.sum(entries(*log), &[("account", name)]) == *rows)
        };
        loop {
            let page = exporter.scrape().await;
            watch.see(&page);
            if names.iter().all(|name| read(&page, name)) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "not all rows are counted");
        }
    }
    stop.store(true, Ordering::Relaxed);
    slowing.join().unwrap();
    assert!(held.load(Ordering::Relaxed) > 5, "commits were not slow");
    let page = exporter.scrape().await;
    let expected = Expected::of(simulator, &names[0]);
    for name in &names {
        assert_eq!(expected.as_account(name).differences(&page), Vec::<String>::new(), "{name}");
    }
    for log in Log::ALL {
        assert!(expected.total(entries(log)) > 5.0 && watch.seen(entries(log)) >= ACCOUNTS, "{log}");
    }
    assert!(watch.scrapes > 6);
    assert!(exporter.process.lines(&["level=error"]).is_empty(), "{}", exporter.process.log());
    exporter.terminate().await;
}
