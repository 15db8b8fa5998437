//! How fast the pipeline is, for docs/performance.md: `cargo bench --bench pipeline [--
//! catch-up|history|usage|usage-commits|usage-errors|archive|days|latency|count|scrape|start]`.
//!
//! Each figure is the median of several runs, and what is compared runs in turn, so that a busy
//! machine disturbs both sides alike. `ROWS` sets how many rows are caught up, about; 1,000,000 if
//! not set. The clients that the exporter is compared with ask for one page after the other, and do
//! nothing with it but find its last id.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that can't go on ends"
)]
#![allow(clippy::print_stdout, reason = "its output is what it is for")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptolens_exporter::cryptolens::{EventRow, IdentityHash, LogKind, Row as _, Rows, WebApiRow, decode};
use cryptolens_exporter::ingest::{CheckpointStore as _, LogId, LogUpdate, Origin, PageStatistics};
use cryptolens_exporter::ledger::{ForeignLedger, Ledger, LedgerAddress, LedgerOptions, LedgerReader};
use cryptolens_exporter::snapshot::{AccountStatus, Snapshots, Targets};
use cryptolens_exporter::tally::{AccountTally, Limits, Products, RowCounter, TallyDelta};
use cryptolens_exporter::usage::{IgnoredKeys, UsageMember, UsageOptions, UsageSecret, UsageSet};
use cryptolens_exporter::web;

const RUNS: usize = 5;
const PAGE: u16 = 1000;
const DAYS: u64 = 29;
const TOKEN: &str = "WyIxIiwi-invented";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let rows = std::env::var("ROWS").map_or(1_000_000, |rows| rows.parse().expect("ROWS is a number"));
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("| what | measured |\n|---|---|");
    if wants("catch-up") {
        runtime.block_on(catch_up(rows));
    }
    if wants("history") {
        runtime.block_on(history(rows));
    }
    if wants("usage") {
        runtime.block_on(usage(rows));
    }
    if wants("usage-commits") {
        for products in [20, 1000] {
            runtime.block_on(usage_commits(products));
        }
    }
    if wants("usage-errors") {
        usage_errors();
    }
    if wants("archive") {
        runtime.block_on(archive(rows));
    }
    if wants("days") {
        for products in [20, 1000] {
            runtime.block_on(days(products));
        }
    }
    if wants("latency") {
        runtime.block_on(latency());
    }
    if wants("count") {
        runtime.block_on(count());
    }
    if wants("scrape") {
        runtime.block_on(scrape());
    }
    if wants("start") {
        runtime.block_on(start());
    }
}

fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

/// The binary, ended when dropped.
struct Process {
    child: Child,
}

impl Process {
    fn start(arguments: &[&str]) -> Process {
        let child = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"))
            .args(arguments)
            .env("CRYPTOLENS_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Process { child }
    }

    /// The bytes that it has written to files and sockets.
    fn written(&self) -> u64 {
        written_by(&self.child.id().to_string())
    }

    /// The most memory that it ever had resident, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes that a process has written to files and sockets.
fn written_by(process: &str) -> u64 {
    let numbers = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    numbers.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().trim().parse().unwrap()
}

/// The stand-in for the Web API, as a process of its own, with its clock stopped.
struct StandIn {
    _process: Process,
    url: String,
}

impl StandIn {
    async fn start(rows: u64, more: &[&str]) -> StandIn {
        let rate = format!("--requests-per-minute={}", rows as f64 / (DAYS * 24 * 60) as f64);
        let history = format!("--history={DAYS}d");
        let mut arguments = vec!["simulate", "--listen-address=127.0.0.1:0", "--seed=7", &history, &rate];
        arguments.extend(more);
        let mut process = Process::start(&arguments);
        let mut line = String::new();
        BufReader::new(process.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().last().unwrap().to_owned();
        let stand_in = StandIn { _process: process, url };
        stand_in.stop_clock(None).await;
        stand_in
    }

    /// Stops the clock at a time in Unix seconds, or where it is. Later rows are not shown.
    async fn stop_clock(&self, at: Option<i64>) {
        let stopped = reqwest::Client::new()
            .put(format!("{}/simulator/clock", self.url))
            .header("content-type", "application/json")
            .body(serde_json::json!({ "frozen": true, "at": at }).to_string())
            .send()
            .await
            .unwrap();
        assert!(stopped.status().is_success());
    }

    /// The number of rows of the Web API Log, and the last id.
    async fn truth(&self) -> (u64, i64) {
        let url = format!("{}/simulator/truth?log=web_api", self.url);
        let truth: serde_json::Value =
            serde_json::from_str(&reqwest::get(url).await.unwrap().text().await.unwrap()).unwrap();
        let truth = &truth["web_api"];
        (truth["rows"].as_u64().unwrap(), truth["highest_id"].as_i64().unwrap())
    }

    /// Requests for pages of the Web API Log so far.
    async fn requests(&self) -> u64 {
        let text =
            reqwest::get(format!("{}/simulator/requests", self.url)).await.unwrap().text().await.unwrap();
        let counts: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap();
        counts.get("GetWebAPILog").copied().unwrap_or(0)
    }
}

/// A client on a bare socket, which asks for one page after the other and finds the last id of
/// each.
struct RawClient {
    stream: BufReader<TcpStream>,
    host: String,
    body: Vec<u8>,
}

impl RawClient {
    fn new(stand_in: &StandIn) -> RawClient {
        let host = stand_in.url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        RawClient { stream: BufReader::with_capacity(64 * 1024, stream), host, body: Vec::new() }
    }

    /// Reads one page into `body`.
    fn page(&mut self, after: i64) {
        let form = format!("token={TOKEN}&Limit={PAGE}&StartingAfter={after}");
        let (host, length) = (&self.host, form.len());
        let request = format!(
            "POST /api/ai/GetWebAPILog HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), None);
        while self.stream.read_line(&mut line).unwrap() > 2 {
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = Some(text.trim().parse().unwrap());
            }
            line.clear();
        }
        self.body.resize(length.expect("a body whose length is said"), 0);
        self.stream.read_exact(&mut self.body).unwrap();
    }

    /// The last id of the page that was read; `None` for an empty one.
    fn last_id(&self) -> Option<i64> {
        let at = memchr::memmem::rfind(&self.body, b"{\"id\":")? + 6;
        let digits = self.body[at..].iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |id, digit| id * 10 + i64::from(digit - b'0')))
    }

    /// Reads the log to its end. Returns the number of pages.
    fn read(&mut self) -> u64 {
        let (mut after, mut pages) = (0, 0);
        loop {
            self.page(after);
            pages += 1;
            let Some(last) = self.last_id() else { return pages };
            after = last;
        }
    }
}

/// The exporter, from its start until it has counted and committed the whole log: how long that
/// took, and the process.
fn caught_up(stand_in: &StandIn, ledger: &std::path::Path, concurrency: u8, more: &[&str]) -> (f64, Process) {
    let api = format!("--api.url={}/api", stand_in.url);
    let storage = format!("--storage.path={}", ledger.display());
    let concurrency = format!("--api.concurrency={concurrency}");
    let began = Instant::now();
    let arguments = [
        "serve",
        &api,
        &storage,
        &concurrency,
        "--web.listen-address=127.0.0.1:0",
        "--since=all",
        "--logs=web_api",
    ];
    let mut exporter = Process::start(&[&arguments, more].concat());
    // The log is read to its end, or the process would stop at a full pipe.
    let mut lines = BufReader::new(exporter.child.stderr.take().unwrap()).lines();
    let caught = lines.by_ref().map_while(Result::ok).any(|line| line.contains("caught up"));
    assert!(caught, "the exporter ended");
    let seconds = began.elapsed().as_secs_f64();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (seconds, exporter)
}

/// Catching up from nothing without latency, from the start of the process to the end of the first
/// poll.
async fn catch_up(rows: u64) {
    let stand_in = StandIn::start(rows, &[]).await;
    let mut bare = RawClient::new(&stand_in);
    let pages = bare.read();
    let (mut fetched, mut times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resident, mut peak, mut later) = (Vec::new(), Vec::new(), 0);
    for run in 1..=RUNS {
        let began = Instant::now();
        bare.read();
        let fetching = began.elapsed().as_secs_f64();
        let ledger = tempfile::tempdir().unwrap();
        let (reading, exporter) = caught_up(&stand_in, ledger.path(), 4, &[]);
        fetched.push(fetching);
        times.push(reading);
        ratios.push(reading / fetching);
        peak.push(exporter.peak_memory());
        resident.push(resident_memory(&exporter));
        if run == RUNS {
            // By then the threads that read have ended, and an allocator that gives memory back has.
            tokio::time::sleep(Duration::from_secs(15)).await;
            later = resident_memory(&exporter);
        }
    }
    row("pages of the Web API Log caught up", &pages.to_string());
    row("a bare socket client has read them after", &format!("{:.2} s", median(fetched)));
    row("the exporter has counted and committed them after", &format!("{:.2} s", median(times)));
    row("times the bare client's, median of the runs", &format!("{:.2}", median(ratios)));
    row("resident memory after it", &megabytes(median(resident)));
    row("resident memory 15 s later", &megabytes(later));
    row("resident memory at its most", &megabytes(median(peak)));
}

/// Catching up where each request takes 100 ms longer.
async fn latency() {
    let stand_in = StandIn::start(200_000, &["--fault=slow:100"]).await;
    let before = stand_in.requests().await;
    let began = Instant::now();
    RawClient::new(&stand_in).read();
    let one = began.elapsed().as_secs_f64();
    let requests = stand_in.requests().await - before;
    row("100 ms a request: one after the other", &format!("{one:.1} s, {requests} requests"));
    for concurrency in [1, 4, 8] {
        let before = stand_in.requests().await;
        let ledger = tempfile::tempdir().unwrap();
        let (took, _exporter) = caught_up(&stand_in, ledger.path(), concurrency, &[]);
        let asked = stand_in.requests().await - before;
        row(
            &format!("the exporter with --api.concurrency={concurrency}"),
            &format!(
                "{took:.1} s, {:.2} of the time, {:.2} of the requests",
                took / one,
                asked as f64 / requests as f64
            ),
        );
    }
    for concurrency in [1, 4, 8] {
        let api = format!("--api.url={}/api", stand_in.url);
        let concurrency_flag = format!("--api.concurrency={concurrency}");
        let began = Instant::now();
        let mut report =
            Process::start(&["report", "web-api", "--days=40", "--format=json", &api, &concurrency_flag]);
        let mut text = String::new();
        report.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(report.child.wait().unwrap().success());
        let took = began.elapsed().as_secs_f64();
        row(
            &format!("report with --api.concurrency={concurrency}"),
            &format!("{took:.1} s, {:.2} of the time", took / one),
        );
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

/// Catching up with history off and on, in turn, where history is sent to a sink on this machine.
async fn history(rows: u64) {
    let stand_in = StandIn::start(rows, &[]).await;
    let sink = Sink::start().await;
    let (mut off, mut on, mut ratios, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let ledger = tempfile::tempdir().unwrap();
        let (seconds, exporter) = caught_up(&stand_in, ledger.path(), 4, &[]);
        drop(exporter);
        let target = format!("--history.remote-write.url=http://{}/api/v1/write", sink.address);
        let before = sink.bytes();
        let ledger = tempfile::tempdir().unwrap();
        let (with_history, exporter) = caught_up(&stand_in, ledger.path(), 4, &[&target]);
        // The outbox is sent meanwhile; memory is at its most when all of it has been sent.
        let mut received = 0;
        while sink.bytes() > received {
            received = sink.bytes();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert!(sink.bytes() > before, "no history was sent");
        off.push(seconds);
        on.push(with_history);
        ratios.push(with_history / seconds);
        peak.push(exporter.peak_memory());
    }
    row("rows caught up, history off", &format!("{:.2} s", median(off)));
    row("the same with history on", &format!("{:.2} s", median(on)));
    row("times without it, median of the runs", &format!("{:.2}", median(ratios)));
    row("resident memory at its most, history on", &format!("{:.0} MB", median(peak) as f64 / 1e6));
}

/// The error of the estimate for a hundred secrets: of one set, and of the union of 30 days, on each of
/// which a third of the machines is there.
fn usage_errors() {
    for size in [1000_u64, 10_000, 100_000] {
        let (mut of_day, mut of_month) = (Vec::new(), Vec::new());
        for number in 0..100 {
            let secret = UsageSecret::from_bytes([number; 16]);
            let members: Vec<UsageMember> =
                (0..size).filter_map(|machine| secret.machine(&machine.to_string())).collect();
            let mut day = UsageSet::default();
            day.extend(members.iter().copied());
            of_day.push(day.count() as f64 / size as f64 - 1.0);
            let (mut month, mut truth) = (UsageSet::default(), vec![false; members.len()]);
            let mut random = u64::from(number) + 1;
            for _ in 0..30 {
                let mut day = UsageSet::default();
                for (member, was_there) in members.iter().zip(&mut truth) {
                    let random = next_number(&mut random);
                    if random.is_multiple_of(3) {
                        day.extend([*member]);
                        *was_there = true;
                    }
                }
                month.merge(&day);
            }
            let truth = truth.iter().filter(|was_there| **was_there).count();
            of_month.push(month.count() as f64 / truth as f64 - 1.0);
        }
        for (what, errors) in [("one day", of_day), ("the union of 30 days", of_month)] {
            let mean = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
            let most = errors.iter().fold(0.0_f64, |most, error| most.max(error.abs()));
            row(
                &format!("error of the estimate of {size} members, {what}: root of the mean square, largest"),
                &format!("{:.2} %, {:.2} %", mean * 100.0, most * 100.0),
            );
        }
    }
}

/// The bytes that a commit of 60 rows writes while a log is followed, usage off and on: half of the 300
/// keys and machines of each product are there already.
async fn usage_commits(products: u64) {
    const COMMITS: u64 = 200;
    const ROWS: u64 = 60;
    let mut per_commit = Vec::new();
    for is_on in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let usage = UsageOptions {
            hasher: Arc::default(),
            secret: Some(UsageSecret::from_bytes([1; 16])),
            ignored_keys: IgnoredKeys::default(),
        };
        let (ledger, writer) = Ledger::start(LedgerOptions {
            directory: folder.path().to_owned(),
            address: LedgerAddress::demo(),
            foreign: ForeignLedger::Refuse,
            limits: Limits { products: 1000, sets: 20_000, ..Limits::default() },
            configured: BTreeMap::new(),
            history: None,
            usage: is_on.then_some(usage),
        })
        .unwrap();
        let log = LogId { account: "account".into(), log: LogKind::WebApi };
        let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
        let epoch = ledger.begin(&log, origin).await.unwrap().epoch;
        let (mut id, mut random) = (0_i64, 1_u64);
        let mut commit = async |rows: Vec<(u64, u64)>| {
            let secret = UsageSecret::from_bytes([1; 16]);
            let now = chrono::Utc::now().timestamp();
            let rows: Vec<WebApiRow> = rows
                .into_iter()
                .map(|(product, who)| {
                    id += 1;
                    let hash =
                        |member: Option<UsageMember>| member.map(|member| IdentityHash::new(member.get()));
                    WebApiRow {
                        product_id: i64::try_from(product).unwrap() + 1,
                        time: Some(now),
                        state: Some(2014),
                        license_key: hash(secret.license_key(&format!("{product}-{who}"))),
                        machine: hash(secret.machine(&format!("{product}-{who}"))),
                        ..WebApiRow::with_id(id)
                    }
                })
                .collect();
            let ids = rows.iter().map(|row| row.id).collect();
            let update = update_with(Rows::WebApi(rows), ids, now);
            ledger.submit(&log, epoch, update).await.unwrap().done().await.unwrap();
        };
        for product in 0..products {
            commit((0..150).map(|who| (product, who)).collect()).await;
        }
        let before = written_by("self");
        for _ in 0..COMMITS {
            let rows = (0..ROWS).map(|_| {
                let random = next_number(&mut random);
                (random % products, random / products % 300)
            });
            commit(rows.collect()).await;
        }
        per_commit.push((written_by("self") - before) / COMMITS);
        drop(ledger);
        tokio::task::spawn_blocking(move || writer.join()).await.unwrap().unwrap();
    }
    row(
        &format!("a commit of {ROWS} rows of {products} products writes, usage off and on"),
        &per_commit
            .iter()
            .map(|bytes| format!("{:.0} KB", *bytes as f64 / 1e3))
            .collect::<Vec<_>>()
            .join(", "),
    );
}

/// The bytes and the time of a commit with rows of today, and with rows that are older than the days
/// that the ledger keeps and so leave its table `day` alone; in turn, in one ledger. While a log is
/// followed a commit has 60 rows here, and while a backlog is read 20 pages of 1,000.
async fn days(products: u64) {
    const TOO_OLD: i64 = 50 * 86_400;
    let folder = tempfile::tempdir().unwrap();
    let (ledger, writer) = Ledger::start(LedgerOptions {
        directory: folder.path().to_owned(),
        address: LedgerAddress::demo(),
        foreign: ForeignLedger::Refuse,
        limits: Limits { products: 1000, sets: 20_000, ..Limits::default() },
        configured: BTreeMap::new(),
        history: None,
        usage: None,
    })
    .unwrap();
    let log = LogId { account: "account".into(), log: LogKind::WebApi };
    let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
    let epoch = ledger.begin(&log, origin).await.unwrap().epoch;
    let (mut id, mut random) = (0_i64, 1_u64);
    let mut commit = async |pages: u64, rows: u64, age: i64| {
        let now = chrono::Utc::now().timestamp();
        let mut pending = Vec::new();
        for page in 0..pages {
            let rows: Vec<WebApiRow> = (0..rows)
                .map(|_| {
                    let random = next_number(&mut random);
                    id += 1;
                    WebApiRow {
                        product_id: i64::try_from(random % products).unwrap() + 1,
                        time: Some(now - age),
                        state: Some(if (random / products).is_multiple_of(10) { 2024 } else { 2014 }),
                        ..WebApiRow::with_id(id)
                    }
                })
                .collect();
            let ids = rows.iter().map(|row| row.id).collect();
            let more_follows = page + 1 < pages;
            let update = LogUpdate { more_follows, ..update_with(Rows::WebApi(rows), ids, now) };
            pending.push(ledger.submit(&log, epoch, update).await.unwrap());
        }
        for commit in pending {
            commit.done().await.unwrap();
        }
    };
    // All label sets are there before.
    commit(20, 1000, 0).await;
    for (what, pages, rows, commits) in [("60 rows", 1, 60, 200), ("20 pages of 1,000 rows", 20, 1000, 10)] {
        let mut measured = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for _ in 0..RUNS {
            for (age, (bytes, times)) in [TOO_OLD, 0].into_iter().zip(&mut measured) {
                let (before, began) = (written_by("self"), Instant::now());
                for _ in 0..commits {
                    commit(pages, rows, age).await;
                }
                bytes.push((written_by("self") - before) as f64 / f64::from(commits) / 1e3);
                times.push(began.elapsed().as_secs_f64() / f64::from(commits) * 1e3);
            }
        }
        let [without, with] = measured.map(|(bytes, times)| (median(bytes), median(times)));
        row(
            &format!("a commit of {what} of {products} products without the table day, and with it"),
            &format!("{:.0} KB in {:.2} ms, {:.0} KB in {:.2} ms", without.0, without.1, with.0, with.1),
        );
    }
    drop(ledger);
    tokio::task::spawn_blocking(move || writer.join()).await.unwrap().unwrap();
}

/// Catching up with usage off and on, both parts of it, in turn.
async fn usage(rows: u64) {
    let stand_in = StandIn::start(rows, &[]).await;
    let (mut off, mut on, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut written, mut written_on, mut peak) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let ledger = tempfile::tempdir().unwrap();
        let (seconds, exporter) = caught_up(&stand_in, ledger.path(), 4, &[]);
        written.push(exporter.written());
        drop(exporter);
        let ledger = tempfile::tempdir().unwrap();
        let more = ["--usage.active", "--usage.seats"];
        let (with_usage, exporter) = caught_up(&stand_in, ledger.path(), 4, &more);
        written_on.push(exporter.written());
        peak.push(exporter.peak_memory());
        off.push(seconds);
        on.push(with_usage);
        ratios.push(with_usage / seconds);
    }
    row("rows caught up, usage off", &format!("{:.2} s", median(off)));
    row("the same with keys, machines and seats", &format!("{:.2} s", median(on)));
    row("times without it, median of the runs", &format!("{:.2}", median(ratios)));
    row(
        "written meanwhile, usage off and on",
        &[median(written), median(written_on)].map(megabytes).join(", "),
    );
    row("resident memory at its most, usage on", &megabytes(median(peak)));
}

/// Catching up the second half of a log with the archive off and on, in turn, while the archive reads
/// the first half, which was counted before. Then the archive of the whole log, in one range, with
/// nothing to count.
async fn archive(rows: u64) {
    const PAIRS: usize = 3;
    let stand_in = StandIn::start(rows, &[]).await;
    // Rows are final a second after they are read.
    let soon = ["--poll.overlap=1s", "--poll.interval=1s"];
    let final_after = Duration::from_secs(4);
    let middle = chrono::Utc::now().timestamp() - i64::try_from(DAYS * 86_400 / 2).unwrap();
    stand_in.stop_clock(Some(middle)).await;
    let (of_half, half) = stand_in.truth().await;
    let first_half = tempfile::tempdir().unwrap();
    let (_, exporter) = caught_up(&stand_in, first_half.path(), 4, &soon);
    tokio::time::sleep(final_after).await;
    drop(exporter);
    stand_in.stop_clock(Some(chrono::Utc::now().timestamp())).await;
    let (there, last) = stand_in.truth().await;

    let (mut off, mut on, mut ratios, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut counted = None;
    for _ in 0..PAIRS {
        let without = copy_of(first_half.path());
        let (seconds, exporter) = caught_up_to(last, &stand_in, without.path(), &soon).await;
        tokio::time::sleep(final_after).await;
        drop(exporter);
        counted = Some(without);
        let folder = copy_of(first_half.path());
        let flags = archive_flags(folder.path());
        let flags: Vec<&str> = soon.into_iter().chain(flags.iter().map(String::as_str)).collect();
        let (with_archive, exporter) = caught_up_to(last, &stand_in, folder.path(), &flags).await;
        archived_until(folder.path(), half).await;
        peak.push(exporter.peak_memory());
        drop(exporter);
        assert!(archived_ids(folder.path()) >= of_half, "each row is archived once");
        off.push(seconds);
        on.push(with_archive);
        ratios.push(with_archive / seconds);
    }
    row("rows of the Web API Log", &there.to_string());
    row("their second half caught up, archive off", &format!("{:.2} s", median(off)));
    row("the same while the archive reads the first half", &format!("{:.2} s", median(on)));
    row("times without it, median of the runs", &format!("{:.2}", median(ratios)));
    row("resident memory at its most, counting and archiving", &megabytes(median(peak)));

    let folder = counted.unwrap();
    let api = format!("--api.url={}/api", stand_in.url);
    let storage = format!("--storage.path={}", folder.path().display());
    let flags = archive_flags(folder.path());
    let mut arguments =
        vec!["serve", &api, &storage, "--web.listen-address=127.0.0.1:0", "--since=all", "--logs=web_api"];
    arguments.extend(soon);
    arguments.extend(flags.iter().map(String::as_str));
    let began = Instant::now();
    let mut exporter = Process::start(&arguments);
    let lines = BufReader::new(exporter.child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    archived_until(folder.path(), last).await;
    // The floor is read at the start and used a second later.
    let seconds = began.elapsed().as_secs_f64() - 1.0;
    let peak = exporter.peak_memory();
    drop(exporter);
    assert_eq!(archived_ids(folder.path()), there, "each row is archived once");
    let bytes: u64 = archive_files(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    row("rows counted before, archived as one range", &format!("{seconds:.1} s"));
    row("rows archived a second", &format!("{:.0}", there as f64 / seconds));
    row("bytes of a row in the archive", &format!("{:.1}", bytes as f64 / there as f64));
    row("resident memory at its most, archiving alone", &megabytes(peak));
}

/// The exporter, from its start with a ledger that has counted a part of the log until that has
/// counted the row `last`: how long that took, and the process. It logs the end of its first poll
/// only where nothing was counted before.
async fn caught_up_to(
    last: i64,
    stand_in: &StandIn,
    ledger: &std::path::Path,
    more: &[&str],
) -> (f64, Process) {
    let api = format!("--api.url={}/api", stand_in.url);
    let storage = format!("--storage.path={}", ledger.display());
    let arguments =
        ["serve", &api, &storage, "--web.listen-address=127.0.0.1:0", "--since=all", "--logs=web_api"];
    let began = Instant::now();
    let mut exporter = Process::start(&[&arguments, more].concat());
    let lines = BufReader::new(exporter.child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let has_counted = || {
        let accounts = LedgerReader::open(ledger).ok()?.accounts().ok()?;
        let log = accounts.get("default")?.logs.get(&LogKind::WebApi)?;
        (log.cursor >= last).then_some(())
    };
    while has_counted().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (began.elapsed().as_secs_f64(), exporter)
}

/// A copy of the files in a directory.
fn copy_of(directory: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory).unwrap().map(|file| file.unwrap()) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

/// An archive in a directory, whose floor is read at the start and then each minute, and is used a
/// second later.
fn archive_flags(directory: &std::path::Path) -> Vec<String> {
    let path = format!("--archive.path={}", directory.join("archive").display());
    let key = format!("--archive.key-file={}", directory.join("archive.key").display());
    vec![path, key, "--archive.interval=1m".to_owned(), "--archive.delay=1s".to_owned()]
}

/// Waits until the archive has come to an id.
async fn archived_until(directory: &std::path::Path, last: i64) {
    let state = directory.join("archive/_state/default.web_api.json");
    let has_come = || {
        let text = std::fs::read(&state).ok()?;
        let state: serde_json::Value = serde_json::from_slice(&text).ok()?;
        state.get("until")?.as_i64().filter(|until| *until >= last)
    };
    while has_come().is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn archive_files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let account = directory.join("archive/web_api_log/account=default");
    let dates = std::fs::read_dir(account).unwrap().map(|date| date.unwrap().path());
    let files = |date| std::fs::read_dir(date).unwrap().map(|file| file.unwrap().path());
    dates.flat_map(files).collect()
}

/// How many different ids are in the files of an archive, which must have none twice.
fn archived_ids(directory: &std::path::Path) -> u64 {
    use parquet::column::reader::ColumnReader;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    let mut ids: Vec<i64> = Vec::new();
    for path in archive_files(directory) {
        let file = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        for group in 0..file.num_row_groups() {
            let group = file.get_row_group(group).unwrap();
            let rows = usize::try_from(group.metadata().num_rows()).unwrap();
            let ColumnReader::Int64ColumnReader(mut column) = group.get_column_reader(0).unwrap() else {
                panic!("the first column is the id");
            };
            column.read_records(rows, None, None, &mut ids).unwrap();
        }
    }
    let rows = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows, "an id is there twice");
    rows as u64
}

/// A receiver of remote write that takes everything and keeps nothing.
struct Sink {
    address: std::net::SocketAddr,
    bytes: Arc<std::sync::atomic::AtomicU64>,
}

impl Sink {
    async fn start() -> Sink {
        let bytes = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        let take = move |body: bytes::Bytes| {
            counted.fetch_add(body.len() as u64, std::sync::atomic::Ordering::Relaxed);
            async { axum::http::StatusCode::NO_CONTENT }
        };
        let router = axum::Router::new().fallback(axum::routing::post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Sink { address, bytes }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn resident_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Parsing a page of 1,000 rows and counting them, on one core, without network and ledger.
async fn count() {
    let stand_in = StandIn::start(20_000, &[]).await;
    let mut client = RawClient::new(&stand_in);
    client.page(0);
    client.page(client.last_id().unwrap());
    let body = client.body;
    let limits = Limits::default();
    let committed = AccountTally::default();
    let mut products = Products::default();
    let (mut both, mut parsing) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        const PAGES: u32 = 500;
        let mut rows = 0;
        let mut parsed = Duration::ZERO;
        let began = Instant::now();
        for _ in 0..PAGES {
            let mut delta = TallyDelta::default();
            let mut new_products = Vec::new();
            let started = Instant::now();
            let page = decode::page::<WebApiRow>(&body).unwrap();
            parsed += started.elapsed();
            rows += page.rows.len();
            let mut counter = RowCounter {
                committed: &committed,
                delta: &mut delta,
                products: &mut products,
                new_products: &mut new_products,
                limits: &limits,
            };
            counter.count(&Rows::WebApi(page.rows), 1_800_000_000, &mut []);
        }
        assert_eq!(rows, 1000 * PAGES as usize, "pages are full");
        both.push(rows as f64 / began.elapsed().as_secs_f64());
        parsing.push(rows as f64 / parsed.as_secs_f64());
    }
    let millions = |rates: Vec<f64>| format!("{:.2} million rows/s", median(rates) / 1e6);
    row("parsing a page of 1,000 rows", &millions(parsing));
    row("parsing it and counting its rows", &millions(both));
}

/// Label sets of each account: as many as the limit of a family lets in, and some more.
const LABEL_SETS: usize = 1940;

/// Rows with so many label sets, with ids from `first` on.
fn update_of(first: i64, sets: usize) -> LogUpdate {
    let rows: Vec<EventRow> = (first..)
        .zip(0..sets)
        .map(|(id, set)| EventRow {
            product_id: 3349,
            time: Some(1_800_000_000),
            event_name: format!("event {}", set % 40),
            feature_name: format!("feature {}", set / 40),
            ..EventRow::with_id(id)
        })
        .collect();
    let ids = rows.iter().map(|row| row.id).collect();
    update_with(Rows::Events(rows), ids, 1_800_000_000)
}

/// A complete poll at `now` in Unix seconds that counts rows with these ids, the last of which is
/// the highest.
fn update_with(rows: Rows, ids: Vec<i64>, now: i64) -> LogUpdate {
    let last = ids.last().copied().unwrap();
    LogUpdate {
        counted: ids,
        rows,
        read_at: now,
        statistics: PageStatistics::default(),
        floor: last,
        cursor: last,
        watermark: now,
        without_id: None,
        newest_entry: Some(now),
        poll_end: Some(now),
        seal_until: None,
        more_follows: false,
    }
}

/// The next of a sequence of numbers without a pattern, the same in each run (xorshift).
fn next_number(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// GET /metrics of pages of about 2,000 and 20,000 series over a kept connection, client included,
/// right after a commit that touches one series and with nothing new, plain and compressed.
async fn scrape() {
    for accounts in [1, 10] {
        scrape_accounts(accounts).await;
    }
}

async fn scrape_accounts(accounts: usize) {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<Arc<str>> = (1..=accounts).map(|number| format!("account-{number}").into()).collect();
    let (ledger, writer) = Ledger::start(LedgerOptions {
        directory: folder.path().to_owned(),
        address: LedgerAddress::demo(),
        foreign: ForeignLedger::Refuse,
        limits: Limits::default(),
        configured: BTreeMap::new(),
        history: None,
        usage: None,
    })
    .unwrap();
    let mut epochs = Vec::new();
    for account in &names {
        let log = LogId { account: Arc::clone(account), log: LogKind::Events };
        let origin = Origin { id: 0, mark: 0, since: "all".to_owned() };
        epochs.push((log.clone(), ledger.begin(&log, origin).await.unwrap().epoch));
    }
    let mut id = 0;
    let store = ledger.clone();
    let mut commit = async move |account: usize, sets: usize| {
        let record = update_of(id + 1, sets);
        id += i64::try_from(sets).unwrap();
        let (log, epoch) = &epochs[account];
        store.submit(log, *epoch, record).await.unwrap().done().await.unwrap();
    };
    for account in 0..accounts {
        commit(account, LABEL_SETS).await;
    }

    let status = || AccountStatus {
        logs: BTreeMap::from([(LogKind::Events, Arc::default())]),
        ..AccountStatus::default()
    };
    let accounts = names.iter().map(|name| (Arc::clone(name), status())).collect();
    let snapshots = Arc::new(Snapshots::new(ledger.view(), Targets { accounts, ..Targets::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    // As the server of the exporter does; without it, delayed acknowledgements add 40 ms to a small
    // page.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = web::router(snapshots, "/metrics", false, None);
    let server = tokio::spawn(axum::serve(listener, router).into_future());
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    // As Prometheus does.
    let gzip = reqwest::Client::builder().no_proxy().build().unwrap();
    for (encoding, http) in [("plain", plain), ("compressed", gzip)] {
        let get = async || {
            let began = Instant::now();
            let page = http.get(&url).send().await.unwrap().text().await.unwrap();
            (began.elapsed(), page)
        };
        let series = get().await.1.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series >= 2000, "{series} series");
        let (mut anew, mut again) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            commit(0, 1).await;
            anew.push(get().await.0);
            again.push(get().await.0);
        }
        let (anew, again) = (median(anew).as_secs_f64() * 1e3, median(again).as_secs_f64() * 1e3);
        let what = format!("scrape of {series} series, {encoding}");
        row(&format!("{what}, right after a commit"), &format!("{anew:.2} ms"));
        row(&format!("{what}, nothing new"), &format!("{again:.2} ms"));
        row(&format!("{what}, times that of nothing new"), &format!("{:.2}", anew / again));
    }
    drop(commit);
    server.abort();
    let _ = server.await;
    drop(ledger);
    tokio::task::spawn_blocking(move || writer.join()).await.unwrap().unwrap();
}

/// From the start of the process to the end of the first scrape, with a ledger of about 20,000
/// series.
async fn start() {
    const ACCOUNTS: usize = 10;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{nobody}/api");
    let names: Vec<Arc<str>> = (1..=ACCOUNTS).map(|number| format!("account-{number}").into()).collect();
    let (ledger, writer) = Ledger::start(LedgerOptions {
        directory: folder.path().to_owned(),
        address: LedgerAddress::of(&url.parse().unwrap()),
        foreign: ForeignLedger::Refuse,
        limits: Limits::default(),
        configured: names.iter().map(|name| (Arc::clone(name), Vec::new())).collect(),
        history: None,
        usage: None,
    })
    .unwrap();
    for account in &names {
        let log = LogId { account: Arc::clone(account), log: LogKind::Events };
        let origin = Origin { id: 0, mark: 0, since: "now".to_owned() };
        let epoch = ledger.begin(&log, origin).await.unwrap().epoch;
        let update = update_of(1, LABEL_SETS);
        ledger.submit(&log, epoch, update).await.unwrap().done().await.unwrap();
    }
    drop(ledger);
    tokio::task::spawn_blocking(move || writer.join()).await.unwrap().unwrap();

    let config = folder.path().join("config.yml");
    let accounts: String = (1..=ACCOUNTS)
        .map(|number| {
            format!(
                "  - {{ name: account-{number}, token_file: {}/token-{number} }}\n",
                folder.path().display()
            )
        })
        .collect();
    std::fs::write(&config, format!("accounts:\n{accounts}")).unwrap();
    for number in 1..=ACCOUNTS {
        std::fs::write(folder.path().join(format!("token-{number}")), format!("{TOKEN}{number}")).unwrap();
    }
    let (mut times, mut series, mut resident) = (Vec::new(), 0, Vec::new());
    for _ in 0..RUNS {
        let arguments = [
            "serve".to_owned(),
            format!("--config.file={}", config.display()),
            format!("--api.url={url}"),
            format!("--storage.path={}", folder.path().display()),
            format!("--web.listen-address={free}"),
            "--logs=events".to_owned(),
        ];
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"));
        let child = command.args(&arguments).stderr(Stdio::null()).spawn().unwrap();
        let process = Process { child };
        let page = loop {
            if let Some(page) = scrape_once(&free.to_string()) {
                break page;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not serve");
            std::thread::sleep(Duration::from_millis(1));
        };
        times.push(began.elapsed().as_secs_f64() * 1e3);
        series = page.lines().filter(|line| !line.starts_with('#')).count();
        resident.push(resident_memory(&process));
    }
    row(
        &format!("start to the end of the first scrape, {series} series"),
        &format!("{:.0} ms", median(times)),
    );
    row("resident memory after it", &megabytes(median(resident)));
}

/// One scrape over a bare socket; `None` if nobody listens, or the page is not there yet.
fn scrape_once(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let is_page =
        answer.starts_with("HTTP/1.1 200") && answer.contains("cryptolens_event_log_entries_total{");
    is_page.then_some(answer)
}
