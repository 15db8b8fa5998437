//! Kills the exporter with SIGKILL again and again, while it catches up and while rows come in, on
//! an API that fails in many ways and shows rows late; then every counter and histogram must be
//! what the rows say.
//!
//! A run is random. It prints its seed; `KILL_TEST_SEED` repeats the rows, the faults and the
//! moments of the kills, as far as a machine can repeat moments. `KILL_TEST_CONCURRENCY` sets how
//! many requests are under way for each log while it catches up; 8 if not set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::expected::Expected;
use common::page::{Page, Watch};
use common::{Exporter, Process, eventually, serve};
use cryptolens_simulator::{Fault, FaultKind, Log, Options, Running, Simulator, start};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use serde_json::value::to_raw_value;

/// In each of the three parts: the first backfill, a backlog with all families on the page, live
/// traffic.
const KILLS_PER_PART: usize = 19;
const HOUR: i64 = 3600;
/// Longer than the log ever stands still: to the exporter, that makes rows late.
const OVERLAP: Duration = Duration::from_secs(180);
const ENTRIES: &str = "cryptolens_web_api_log_entries_total";
const EVENTS: &str = "cryptolens_event_log_entries_total";
const OBJECTS: &str = "cryptolens_object_log_entries_total";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_process_is_killed() {
    let given = std::env::var("KILL_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("KILL_TEST_SEED={seed}");

    let now = chrono::Utc::now().timestamp();
    let running = start(Options {
        start: now - 24 * HOUR,
        requests_per_minute: 60.0,
        late_fraction: 0.1,
        late_max: Duration::from_secs(10),
        faults: faults(&[]),
        ..Options::new(seed)
    })
    .await
    .unwrap();
    let simulator = running.simulator.clone();
    let storage = tempfile::tempdir().unwrap();
    let mut killer = Killer::new(seed, &running, storage.path());

    simulator.freeze(Some(now - 12 * HOUR));
    killer.kill_often(|_| {}).await;
    killer.read_on(|page| [ENTRIES, EVENTS, OBJECTS].iter().all(|family| page.has_family(family))).await;

    // Twelve hours come at once, in front of families that are on the page already.
    simulator.freeze(Some(now));
    killer.kill_often(|_| {}).await;

    simulator.unfreeze();
    // Only now: a row without a time passes for one of this moment, which it can't be on a log that
    // stands still.
    use FaultKind::{MalformedMissingFields, MalformedNegativeTime};
    simulator.set_faults(faults(&[MalformedMissingFields, MalformedNegativeTime]));
    let mut hidden = HiddenRows::default();
    killer.kill_often(|random| hidden.add(&simulator, random)).await;
    eventually("hidden rows to show up", async || (simulator.now() > hidden.until).then_some(())).await;
    simulator.freeze(None);
    simulator.set_faults(Vec::new());

    let expected = Expected::of(&simulator, "default");
    let page = killer.read_on(|page| expected.differences(page).is_empty());
    // Late rows are read once an overlap has passed without a kill.
    let page = match tokio::time::timeout(OVERLAP + common::PATIENCE, page).await {
        Ok(page) => page,
        Err(_) => panic!("{:#?}", expected.differences(&killer.scrape().await)),
    };
    assert!(expected.total(ENTRIES) > 10_000.0 && expected.total(EVENTS) > 3000.0, "too little traffic");
    assert!(expected.total(OBJECTS) > 100.0, "too little traffic");
    assert!(page.sum("cryptolens_exporter_rows_late_total", &[]) > 0.0, "no row was late");
    for never in ["rows_skipped_total", "series_overflow_total", "ledger_resets_total"] {
        assert_eq!(page.sum(&format!("cryptolens_exporter_{never}"), &[]), 0.0, "{never}");
    }
    for family in [ENTRIES, EVENTS, OBJECTS] {
        assert!(killer.watch.seen(family) > 0);
    }
    println!("{} kills, {} scrapes", killer.kills, killer.watch.scrapes);
    assert!(killer.kills >= 50);
    killer.end().await;
}

/// Faults that go on all the time, and `more`. None of them hides a row for good.
fn faults(more: &[FaultKind]) -> Vec<Fault> {
    use FaultKind::*;
    let faults = [
        (SomethingWentWrong, 0.01, None),
        (MessageOnly, 0.005, Some(500)),
        (BadGatewayHtml, 0.005, None),
        (RateLimited, 0.005, Some(1)),
        (RateLimitedBare, 0.005, None),
        (EmptyBody, 0.01, None),
        (TruncatedJson, 0.01, None),
        (CutBody, 0.01, None),
        (Hang, 0.003, None),
        (MissingList, 0.005, None),
        (DescendingPage, 0.005, None),
        (ShuffledFullPage, 0.005, None),
        (ShuffledShortPage, 0.05, None),
        (DuplicateAdjacent, 0.05, None),
        (DuplicateApart, 0.05, None),
        (OtherListName, 0.02, None),
        (PascalCase, 0.02, None),
        (Gzip, 0.02, None),
        (MalformedNullState, 0.01, None),
        (Slow, 0.3, Some(60)),
    ];
    let fault = |(kind, probability, value)| Fault { value, ..Fault::new(kind).probability(probability) };
    faults.into_iter().chain(more.iter().map(|kind| (*kind, 0.02, None))).map(fault).collect()
}

/// Runs the exporter on one ledger, and kills it.
struct Killer<'a> {
    random: ChaCha8Rng,
    url: String,
    storage: &'a Path,
    watch: Watch,
    kills: usize,
    running: Option<Exporter>,
}

impl<'a> Killer<'a> {
    fn new(seed: u64, simulator: &Running, storage: &'a Path) -> Killer<'a> {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Killer { random, url: simulator.url(), storage, watch: Watch::default(), kills: 0, running: None }
    }

    fn command(&self) -> Command {
        let mut command = serve(&self.url, self.storage);
        command.args(["--since=all", "--poll.interval=1s", "--api.timeout=1s"]);
        command.arg(format!("--poll.overlap={}s", OVERLAP.as_secs()));
        let concurrency = std::env::var("KILL_TEST_CONCURRENCY").unwrap_or_else(|_| "8".to_owned());
        command.arg(format!("--api.concurrency={concurrency}"));
        command
    }

    /// Each time one more process; `before` is called while it works.
    async fn kill_often(&mut self, mut before: impl FnMut(&mut ChaCha8Rng)) {
        for _ in 0..KILLS_PER_PART {
            let process = match self.running.take() {
                Some(exporter) => exporter,
                None => {
                    let process = Process::start(self.command());
                    // Some don't get as far as serving, or even opening the ledger.
                    if self.random.random_bool(0.15) {
                        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..100))).await;
                        process.kill().await;
                        self.kills += 1;
                        continue;
                    }
                    Exporter::of(process).await
                }
            };
            let moment = Duration::from_millis(self.random.random_range(0..900));
            let began = Instant::now();
            before(&mut self.random);
            loop {
                self.watch.see(&process.scrape().await);
                let left = moment.saturating_sub(began.elapsed());
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(Duration::from_millis(100))).await;
            }
            process.process.kill().await;
            self.kills += 1;
        }
    }

    async fn scrape(&mut self) -> Page {
        if self.running.is_none() {
            self.running = Some(Exporter::start(self.command()).await);
        }
        let page = self.running.as_ref().unwrap().scrape().await;
        self.watch.see(&page);
        page
    }

    /// Lets it work until a page is as wished for.
    async fn read_on(&mut self, wish: impl Fn(&Page) -> bool) -> Page {
        loop {
            let page = self.scrape().await;
            if wish(&page) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(mut self) {
        if let Some(exporter) = self.running.take() {
            exporter.terminate().await;
        }
    }
}

/// Rows that show up some seconds after rows with higher ids.
#[derive(Default)]
struct HiddenRows {
    last: i64,
    /// When the last of them is there.
    until: i64,
}

impl HiddenRows {
    fn add(&mut self, simulator: &Simulator, random: &mut ChaCha8Rng) {
        let now = simulator.now();
        let Some(highest) = simulator.truth(Log::WebApi, None).highest_id else { return };
        // The ids of the seconds to come are higher, and nobody has seen this one.
        self.last = self.last.max(highest) + 1;
        let state = [2014, 2020, 2024, 8010][random.random_range(0..4)];
        let row = json!({ "id": self.last, "productId": 3349, "time": now, "state": state, "doIntValue": 7 });
        let visible_at = now + random.random_range(2..8);
        simulator.append(Log::WebApi, vec![to_raw_value(&row).unwrap()], Some(visible_at));
        self.until = self.until.max(visible_at);
    }
}
