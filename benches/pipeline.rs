//! How fast the pipeline is, for docs/performance.md: `cargo bench --bench pipeline [--
//! catch-up|count|scrape]`.
//!
//! Each figure is the median of several runs, and what is compared runs in turn, so that a busy
//! machine disturbs both sides alike. `ROWS` sets how many rows are caught up, about; 1,000,000 if
//! not set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that can't go on ends")]
#![allow(clippy::print_stdout, reason = "its output is what it is for")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptolens_exporter::cryptolens::{
    Client, ClientOptions, EventRow, LogKind, PageQuery, Row as _, Rows, Token, WebApiRow, decode,
};
use cryptolens_exporter::ingest::{CheckpointStore as _, LogId, LogUpdate, Origin, PageStatistics};
use cryptolens_exporter::ledger::{ForeignLedger, Ledger, LedgerAddress, LedgerOptions};
use cryptolens_exporter::snapshot::{AccountStatus, Snapshots, Targets};
use cryptolens_exporter::tally::{AccountTally, Limits, Products, RowCounter, TallyDelta};
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
    if wants("count") {
        runtime.block_on(count());
    }
    if wants("scrape") {
        runtime.block_on(scrape());
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

/// The stand-in for the Web API, as a process of its own, with its clock stopped.
struct StandIn {
    _process: Process,
    url: String,
}

impl StandIn {
    async fn start(rows: u64) -> StandIn {
        let rate = format!("--requests-per-minute={}", rows as f64 / (DAYS * 24 * 60) as f64);
        let history = format!("--history={DAYS}d");
        let mut process =
            Process::start(&["simulate", "--listen-address=127.0.0.1:0", "--seed=7", &history, &rate]);
        let mut line = String::new();
        BufReader::new(process.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().last().unwrap().to_owned();
        let stopped = reqwest::Client::new()
            .put(format!("{url}/simulator/clock"))
            .header("content-type", "application/json")
            .body(r#"{"frozen":true,"at":null}"#)
            .send()
            .await
            .unwrap();
        assert!(stopped.status().is_success());
        StandIn { _process: process, url }
    }

    fn client(&self) -> Client {
        let options = ClientOptions {
            url: format!("{}/api", self.url).parse().unwrap(),
            timeout: Duration::from_secs(30),
            ca_pem: None,
            proxy: None,
        };
        Client::new(&options, Token::fixed(TOKEN.to_owned().into())).unwrap()
    }

    /// The ids to ask after, from the first page to the empty one, and the number of rows.
    async fn cursors(&self) -> (Vec<i64>, usize) {
        let client = self.client();
        let (mut cursors, mut rows) = (vec![0], 0);
        loop {
            let starting_after = *cursors.last().unwrap();
            let query = PageQuery::after(starting_after, PAGE);
            let page = client.page::<WebApiRow>(query).await.unwrap();
            let Some(last) = page.rows.last() else { return (cursors, rows) };
            rows += page.rows.len();
            cursors.push(last.id());
        }
    }
}

/// A client that knows which pages there are, and throws them away.
struct BareClient {
    http: reqwest::Client,
    url: String,
}

impl BareClient {
    fn new(stand_in: &StandIn) -> BareClient {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        BareClient { http, url: format!("{}/api/ai/GetWebAPILog", stand_in.url) }
    }

    async fn page(&self, after: i64) -> bytes::Bytes {
        let form = format!("token={TOKEN}&Limit={PAGE}&StartingAfter={after}");
        let request = self.http.post(&self.url).header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap().bytes().await.unwrap()
    }
}

/// Catching up from nothing, from the start of the process to the end of the first pass, against a
/// bare client that asks for the same pages one after the other.
async fn catch_up(rows: u64) {
    let stand_in = StandIn::start(rows).await;
    let (cursors, rows) = stand_in.cursors().await;
    let bare = BareClient::new(&stand_in);
    let (mut fetched, mut caught_up, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resident, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let began = Instant::now();
        for after in &cursors {
            bare.page(*after).await;
        }
        let fetching = began.elapsed().as_secs_f64();

        let ledger = tempfile::tempdir().unwrap();
        let api = format!("--api.url={}/api", stand_in.url);
        let storage = format!("--storage.path={}", ledger.path().display());
        let began = Instant::now();
        let mut exporter = Process::start(&[
            "serve",
            &api,
            &storage,
            "--web.listen-address=127.0.0.1:0",
            "--since=all",
            "--logs=web_api",
        ]);
        // The log is read to its end, or the process would stop at a full pipe.
        let mut lines = BufReader::new(exporter.child.stderr.take().unwrap()).lines();
        let caught = lines.by_ref().map_while(Result::ok).any(|line| line.contains("caught up"));
        let reading = began.elapsed().as_secs_f64();
        assert!(caught, "the exporter ended");
        fetched.push(fetching);
        caught_up.push(reading);
        ratios.push(reading / fetching);
        peak.push(exporter.peak_memory());
        resident.push(resident_memory(&exporter));
    }
    row("rows of the Web API Log caught up", &format!("{rows} in {} pages", cursors.len()));
    row("a bare client fetches and drops the same pages in", &format!("{:.2} s", median(fetched)));
    row("the exporter has counted and committed them after", &format!("{:.2} s", median(caught_up)));
    row("times the bare client's, median of the runs", &format!("{:.2}", median(ratios)));
    let megabytes = |bytes: Vec<u64>| format!("{:.0} MB", median(bytes) as f64 / 1e6);
    row("resident memory after it", &megabytes(resident));
    row("resident memory at its most", &megabytes(peak));
}

fn resident_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Parsing a page of 1,000 rows and counting them, on one core, without network and ledger.
async fn count() {
    let stand_in = StandIn::start(20_000).await;
    let (cursors, _) = stand_in.cursors().await;
    let body = BareClient::new(&stand_in).page(cursors[cursors.len() / 2]).await;
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

/// GET /metrics of pages of about 2,000 and 20,000 series over a kept connection, client included, right
/// after a commit that touches one series and with nothing new, plain and compressed.
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
        let rows: Vec<EventRow> = (0..sets)
            .map(|set| {
                id += 1;
                EventRow {
                    product_id: 3349,
                    time: Some(1_800_000_000),
                    event_name: format!("event {}", set % 40),
                    feature_name: format!("feature {}", set / 40),
                    ..EventRow::with_id(id)
                }
            })
            .collect();
        let record = LogUpdate {
            counted: rows.iter().map(|row| row.id).collect(),
            rows: Rows::Events(rows),
            read_at: 1_800_000_000,
            statistics: PageStatistics::default(),
            floor: id,
            cursor: id,
            watermark: 1_800_000_000,
            without_id: None,
            newest_entry: Some(1_800_000_000),
            poll_end: Some(1_800_000_000),
            seal_until: None,
            more_follows: false,
        };
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
