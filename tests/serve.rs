//! The binary from outside: its pages, its signals, its exit codes, and what it says when something
//! is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Exporter, TOKEN, command, entries, eventually, row, run, serve, serve_with_file};
use cryptolens_simulator::{
    AggregateOptions, Fault, FaultKind, Log, Method, Options, Running, Simulator, UnloggedRequest, start,
};
use rustix::process::Signal;
use tempfile::TempDir;

const HOUR: i64 = 3600;
const UP: &str = "cryptolens_up";
const REQUESTS: &str = "cryptolens_exporter_api_requests_total";
const WEB_API: &[(&str, &str)] = &[("log", "web_api")];

/// A simulated account, and a directory for its ledger.
struct World {
    running: Running,
    folder: TempDir,
}

impl World {
    async fn new(options: Options) -> World {
        World { running: start(options).await.unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    /// Three rows in each log, an hour old.
    async fn small() -> World {
        let world = World::new(Options::empty()).await;
        world.append(1..=3, HOUR);
        world
    }

    fn simulator(&self) -> &Simulator {
        &self.running.simulator
    }

    fn append(&self, ids: std::ops::RangeInclusive<i64>, age: i64) {
        let time = self.simulator().now() - age;
        for log in Log::ALL {
            self.simulator().append(log, ids.clone().map(|id| row(log, id, time)).collect(), None);
        }
    }

    fn storage(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn serve(&self, more: &[&str]) -> Command {
        let mut command = serve(&self.running.url(), &self.storage());
        command.args(["--since=all", "--poll.interval=1s"]).args(more);
        command
    }

    async fn exporter(&self, more: &[&str]) -> Exporter {
        Exporter::start(self.serve(more)).await
    }

    /// A configuration file with one account per token file, and its `serve`.
    fn with_accounts(&self, names: &[&str]) -> Command {
        self.configure(names, "");
        let mut command = serve_with_file(&self.storage());
        command.arg(format!("--config.file={}", self.folder.path().join("config.yml").display()));
        command
    }

    fn configure(&self, names: &[&str], more: &str) {
        let url = self.running.url();
        let mut file =
            format!("api: {{url: '{url}'}}\nsince: all\npoll: {{interval: 1s}}\n{more}accounts:\n");
        for name in names {
            file.push_str(&format!("  - {{name: {name}, token_file: {name}.token}}\n"));
            let token = self.folder.path().join(format!("{name}.token"));
            if !token.exists() {
                std::fs::write(token, format!("token-of-{name}")).unwrap();
            }
        }
        std::fs::write(self.folder.path().join("config.yml"), file).unwrap();
    }

    fn write_token(&self, account: &str, token: &str) {
        std::fs::write(self.folder.path().join(format!("{account}.token")), token).unwrap();
    }
}

/// Waits until this many rows are counted in every log.
async fn until_counted(exporter: &Exporter, rows: f64) {
    for log in Log::ALL {
        let what = format!("{rows} rows of {log}");
        exporter.until(&what, |page| (page.sum(entries(log), &[]) == rows).then_some(())).await;
    }
}

/// Waits until every log was read to its end by this process.
async fn until_polled(exporter: &Exporter) {
    for log in Log::ALL {
        let labels = [("log", log.name())];
        let last = |page: &common::page::Page| {
            page.value("cryptolens_exporter_last_poll_timestamp_seconds", &labels)
                .filter(|_| page.value(UP, &labels) == Some(1.0))
        };
        exporter.until(&format!("a whole pass over {log}"), last).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_exact_type_and_are_compressed_for_those_who_ask() {
    let world = World::small().await;
    let exporter = world.exporter(&[]).await;
    until_counted(&exporter, 3.0).await;

    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    let plain = exporter.get("/metrics").await;
    assert_eq!(plain.headers()["content-type"], TYPE);
    assert!(!plain.headers().contains_key("content-encoding"));

    let url = format!("http://{}/metrics", exporter.address);
    let packed = common::http().get(url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(
        (&packed.headers()["content-type"], &packed.headers()["content-encoding"]),
        (&TYPE.parse().unwrap(), &"gzip".parse().unwrap())
    );
    let mut text = String::new();
    let body = packed.bytes().await.unwrap();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(common::page::Page::parse(&text).sum(entries(Log::Events), &[]), 3.0);

    let head = exporter.request("HEAD", "/metrics").await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &TYPE.parse().unwrap()));
    assert_eq!(head.text().await.unwrap(), "");
    for path in ["/", "/metrics", "/-/healthy", "/-/ready"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(exporter.request(method, path).await.status(), 405, "{method} {path}");
        }
    }
    assert_eq!(exporter.get("/nothing").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_answer_while_the_api_hangs_and_ready_says_that_it_waits() {
    let world = World::small().await;
    world.simulator().set_faults(vec![Fault::new(FaultKind::Hang)]);
    let file = world.folder.path().join("config.yml");
    std::fs::write(&file, "api: {timeout: 5m}\n").unwrap();
    let exporter = world.exporter(&[&format!("--config.file={}", file.display())]).await;

    let (status, text) = exporter.text("/-/ready").await;
    assert_eq!((status, text.contains("default/web_api")), (503, true), "{text}");
    assert_eq!(exporter.text("/-/healthy").await, (200, "healthy\n".to_owned()));
    assert_eq!(exporter.get("/").await.status(), 200);
    let page = exporter.scrape().await;
    assert_eq!(page.value(UP, WEB_API), Some(0.0));
    assert!(!page.has_family(entries(Log::WebApi)));
    let ready = format!("--url=http://{}/-/ready", exporter.address);
    let healthy = format!("--url=http://{}/-/healthy", exporter.address);
    let (code, _, stderr) = run(command(&["healthcheck", &ready])).await;
    assert_eq!(
        (code, stderr.contains("answers 503: waiting for a first answer")),
        (Some(1), true),
        "{stderr}"
    );
    assert_eq!(run(command(&["healthcheck", &healthy])).await.0, Some(0));
    let mut unready = command(&["healthcheck"]);
    unready.env("CRYPTOLENS_WEB_LISTEN_ADDRESS", exporter.address.to_string());
    let (code, _, stderr) = run(unready).await;
    assert_eq!(
        (code, stderr.contains("answers 503: waiting")),
        (Some(1), true),
        "the same address: {stderr}"
    );

    // Pollers whose client is another now start again.
    world.simulator().set_faults(Vec::new());
    std::fs::write(&file, "api: {timeout: 4m}\n").unwrap();
    exporter.process.signal(Signal::HUP);
    eventually("readiness", async || (exporter.get("/-/ready").await.status() == 200).then_some(())).await;
    assert_eq!(run(command(&["healthcheck", &ready])).await.0, Some(0));

    world.simulator().set_faults(vec![Fault::new(FaultKind::SomethingWentWrong)]);
    exporter.until_value(UP, WEB_API, 0.0).await;
    assert_eq!(exporter.text("/-/ready").await, (200, "ready\n".to_owned()), "it never goes back");

    exporter.terminate().await;
    let (code, _, stderr) = run(command(&["healthcheck", &ready])).await;
    assert_eq!((code, stderr.contains("does not answer: Connection refused")), (Some(1), true), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_an_answer_to_readiness() {
    let world = World::new(Options { token: Some("another".to_owned()), ..Options::empty() }).await;
    let exporter = world.exporter(&[]).await;
    eventually("readiness", async || (exporter.get("/-/ready").await.status() == 200).then_some(())).await;
    assert_eq!(exporter.scrape().await.sum(UP, &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_one_starting_value() {
    let options = Options {
        requests_per_minute: 15.0,
        start: Options::new(1).start + 29 * 24 * HOUR,
        faults: vec![Fault::new(FaultKind::Slow).value(150)],
        ..Options::new(1)
    };
    let world = World::new(options).await;
    world.simulator().freeze(None);
    let rows = world.simulator().truth(Log::WebApi, None).rows as f64;
    let exporter = world.exporter(&["--logs=web_api"]).await;
    let mut pages_between = 0;
    let first = exporter
        .until("the families of the log", |page| {
            if page.has_family(entries(Log::WebApi)) {
                return Some(page.clone());
            }
            if page.value("cryptolens_exporter_cursor_id", &[]) > Some(0.0) {
                pages_between += 1;
                assert_eq!(page.value("cryptolens_exporter_catching_up", &[]), Some(1.0));
                assert!(!page.types.keys().any(|name| name.starts_with("cryptolens_web_api_log_")));
            }
            None
        })
        .await;
    assert!(rows > 5000.0 && pages_between > 1, "{rows} rows, {pages_between} pages");
    assert_eq!(first.sum(entries(Log::WebApi), &[]), rows);
    assert_eq!(first.sum("cryptolens_web_api_log_states_total", &[]), rows);
    exporter.until_value("cryptolens_exporter_catching_up", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_products_have_their_pairs_at_zero() {
    let world = World::new(Options::empty()).await;
    let exporter = world.exporter(&[]).await;
    let labels = [("product_id", "3349"), ("state", "2024")];
    let page = exporter.until_value("cryptolens_web_api_log_states_total", &labels, 0.0).await;
    let pairs = page.samples.keys().filter(|series| series.name == entries(Log::WebApi));
    assert_eq!(pairs.filter(|series| series.labels["product_id"] == "3349").count(), 16);
    let name = [("product_id", "3349"), ("product_name", "Meridian CAD")];
    assert_eq!(page.value("cryptolens_product_info", &name), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_page_tells_how_each_log_is_doing() {
    let world = World::small().await;
    let denied = Fault::new(FaultKind::AccessDenied).endpoint(Method::GetEvents);
    let passing = Fault::new(FaultKind::SomethingWentWrong).endpoint(Method::GetObjectLog).count(1);
    world.simulator().set_faults(vec![denied, passing]);
    let exporter = world.exporter(&["--web.telemetry-path=/cryptolens/metrics"]).await;
    let page = eventually("a landing page with news", async || {
        let (status, page) = exporter.text("/").await;
        assert_eq!(status, 200);
        (page.contains(">denied<") && page.matches(">ok<").count() == 2).then_some(page)
    })
    .await;
    let row = |log: Log| {
        let rows = page.split("<tr>");
        let mut found = rows.filter(|row| row.contains(&format!("<td>{log}</td>")));
        found.next().unwrap_or_else(|| panic!("no {log}: {page}"))
    };
    for heading in ["Last poll", "Newest entry", "Counted", "Catching up", "Last error"] {
        assert!(page.contains(&format!(">{heading}</th>")), "no {heading}: {page}");
    }
    // The last error stays visible when polls succeed again.
    let (objects, events, web_api) = (row(Log::Objects), row(Log::Events), row(Log::WebApi));
    assert!(objects.contains(">ok<") && objects.contains("<td>server_error<small>"), "{objects}");
    assert!(objects.contains(" ago</time>") || objects.contains("just now</time>"), "{objects}");
    assert!(events.contains("<td>denied<small>") && events.contains(">no<"), "{events}");
    assert!(!web_api.contains("<small><time") && web_api.contains(">no<"), "{web_api}");
    for part in ["href=\"/cryptolens/metrics\"", "href=\"/-/ready\"", env!("CARGO_PKG_VERSION"), "default"] {
        assert!(page.contains(part), "no {part}: {page}");
    }
    let (_, metrics) = exporter.text("/cryptolens/metrics").await;
    assert_eq!(common::page::Page::parse(&metrics).value(UP, &[("log", "events")]), Some(0.0));
    assert_eq!(exporter.get("/metrics").await.status(), 404);
}

/// The command on the landing page has the product and the moment of the newest failure, and runs
/// as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn the_landing_page_names_the_command_that_explains_the_newest_failure() {
    let world = World::new(Options::empty()).await;
    let exporter = world.exporter(&[]).await;
    let printed = |page: &str| {
        let (_, rest) = page.split_once("<code>")?;
        Some(rest.split_once("</code>")?.0.to_owned())
    };
    let unknown = eventually("a command", async || printed(&exporter.text("/").await.1)).await;
    assert_eq!(unknown, "cryptolens-exporter report incident --account=default");

    let (simulator, now) = (world.simulator(), world.simulator().now());
    let row = |id: i64, product: i64, time: i64, state: i64| {
        let row = serde_json::json!({ "id": id, "productId": product, "key": "CNARY-A", "time": time, "state": state });
        serde_json::value::to_raw_value(&row).unwrap()
    };
    let rows = vec![
        row(1, 3350, now - 90, 2020),
        row(2, 3349, now - 60, 2020),
        row(3, 3350, now - 30, 2014),
        // No free seat, and a clock that is ahead.
        row(4, 3350, now - 20, 2024),
        row(5, 4021, now + 3000, 2020),
    ];
    simulator.append(Log::WebApi, rows, None);
    let page = eventually("the newest failure", async || {
        let (_, page) = exporter.text("/").await;
        page.contains("Newest failure of default: Meridian CAD (3349), ").then_some(page)
    })
    .await;
    let known = printed(&page).unwrap();
    let time = chrono::DateTime::from_timestamp(now - 60, 0).unwrap();
    let at = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert_eq!(known, format!("{unknown} --product=3349 --at={at}"));
    for command in [unknown, known] {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("cryptolens-exporter"));
        let words: Vec<&str> = words.collect();
        let url = format!("--api.url={}", world.running.url());
        let output = common::command(&[&words[..], &[&*url]].concat())
            .env("CRYPTOLENS_TOKEN", common::TOKEN)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_at_once_also_while_the_api_hangs() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::small().await;
        world.simulator().set_faults(vec![Fault::new(FaultKind::Hang)]);
        let mut exporter = world.exporter(&["--api.timeout=5m"]).await;
        eventually("a request under way", async || {
            (world.simulator().requests()["GetWebAPILog"] > 0).then_some(())
        })
        .await;
        // Somebody who doesn't finish asking.
        let mut open = TcpStream::connect(exporter.address).unwrap();
        open.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        exporter.scrape().await;

        let signalled = Instant::now();
        exporter.process.signal(signal);
        let status = exporter.process.ended().await;
        assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
        assert_eq!(status.code(), Some(0), "{}", exporter.process.log());
        assert!(exporter.process.lines(&["level=warn"]).is_empty(), "{}", exporter.process.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_time_also_while_somebody_holds_the_ledger() {
    let world = World::small().await;
    let mut exporter = Exporter::start(world.with_accounts(&["one"])).await;
    until_counted(&exporter, 3.0).await;
    let holder = rusqlite::Connection::open(world.storage().join("ledger.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    // In the middle of a reload, with a commit that waits.
    world.append(4..=9, 5);
    let asked = world.simulator().requests()["GetWebAPILog"];
    eventually("more requests", async || {
        (world.simulator().requests()["GetWebAPILog"] > asked + 1).then_some(())
    })
    .await;
    exporter.process.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let signalled = Instant::now();
    exporter.process.signal(Signal::TERM);
    let status = exporter.process.ended().await;
    assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
    assert_eq!(status.code(), Some(0), "{}", exporter.process.log());
    drop(holder);
    let exporter = Exporter::start(world.with_accounts(&["one"])).await;
    until_counted(&exporter, 9.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_absent_until_the_ledger_can_be_used_and_then_there() {
    let world = World::small().await;
    std::fs::write(world.storage(), "a file where the directory should be").unwrap();
    let exporter = world.exporter(&[]).await;
    exporter.until_value("cryptolens_exporter_ledger_up", &[], 0.0).await;
    eventually("readiness", async || (exporter.get("/-/ready").await.status() == 200).then_some(())).await;
    let page = exporter.scrape().await;
    for family in [entries(Log::WebApi), "cryptolens_exporter_rows_late_total", "cryptolens_exporter_series"]
    {
        assert!(!page.has_family(family), "{family}: absent, not 0");
    }
    assert_eq!(exporter.process.lines(&["level=error", "the ledger cannot be written"]).len(), 1);
    std::fs::remove_file(world.storage()).unwrap();
    until_counted(&exporter, 3.0).await;
    exporter.until_value("cryptolens_exporter_ledger_up", &[], 1.0).await;
    assert_eq!(exporter.process.lines(&["the ledger can be written again"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_a_good_configuration_and_keeps_the_old_one_for_a_bad_one() {
    let world = World::small().await;
    let exporter = Exporter::start(world.with_accounts(&["one"])).await;
    let one = [("account", "one"), ("log", "web_api")];
    exporter.until_value(UP, &one, 1.0).await;

    for (file, reason) in [(None, "acounts"), (Some("one.token"), "the token is empty")] {
        match file {
            None => world.configure(&["one"], "acounts: []\n"),
            Some(file) => {
                world.configure(&["one"], "");
                std::fs::write(world.folder.path().join(file), "").unwrap();
            }
        }
        exporter.process.signal(Signal::HUP);
        let parts = ["level=error", "the old one stays in use", reason];
        eventually(reason, async || (exporter.process.lines(&parts).len() == 1).then_some(())).await;
    }
    let asked = world.simulator().requests()["GetWebAPILog"];
    eventually("more requests", async || {
        (world.simulator().requests()["GetWebAPILog"] > asked + 1).then_some(())
    })
    .await;
    assert_eq!(exporter.scrape().await.value(UP, &one), Some(1.0));
    assert!(exporter.process.lines(&["configuration read again"]).is_empty());

    world.write_token("one", "another-token-of-one");
    world.configure(&["one", "two"], "");
    exporter.process.signal(Signal::HUP);
    let page = exporter.until_value(entries(Log::Events), &[("account", "two")], 3.0).await;
    assert_eq!(page.value(entries(Log::Events), &[("account", "one")]), Some(3.0));
    assert_eq!(page.value(UP, &one), Some(1.0), "it keeps its status");
    assert_eq!(exporter.process.lines(&["level=info", "configuration read again"]).len(), 1);

    world.configure(&["two"], "");
    exporter.process.signal(Signal::HUP);
    exporter.until("the end of account one", |page| page.value(UP, &one).is_none().then_some(())).await;
}

/// Waits until the token is refused. The first page and the newest id are asked for together, so that there
/// may be two refusals.
async fn until_refused(exporter: &Exporter, labels: &[(&str, &str)]) {
    let refused = [labels, &[("method", "GetWebAPILog"), ("result", "auth")]].concat();
    exporter.until("a refusal", |page| (page.value(REQUESTS, &refused) >= Some(1.0)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_in_the_file_cures_a_refusal() {
    let world = World::new(Options { token: Some(TOKEN.to_owned()), ..Options::empty() }).await;
    world.append(1..=3, HOUR);
    let exporter = Exporter::start(world.with_accounts(&["one"])).await;
    until_refused(&exporter, &[]).await;
    // Asked again by itself only after minutes, longer than anything is waited for here.
    world.write_token("one", TOKEN);
    until_counted(&exporter, 3.0).await;
    assert_eq!(exporter.scrape().await.sum(UP, &[]), 3.0);
    assert_eq!(exporter.process.lines(&["the new token is in use"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_with_a_message() {
    let world = World::small().await;
    let exporter = world.exporter(&[]).await;
    let (code, _, stderr) = run(world.serve(&[])).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ledger.db: another process uses this ledger"), "{stderr}");
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--web.listen-address={}", taken.local_addr().unwrap());
    let mut command = command(&["serve", &address]);
    command.env("CRYPTOLENS_TOKEN", TOKEN).env("CRYPTOLENS_STORAGE_PATH", world.folder.path().join("other"));
    let (code, _, stderr) = run(command).await;
    assert_eq!(code, Some(1), "{stderr}");
    let line = stderr.lines().last().unwrap_or_default();
    for part in ["level=error", "cannot listen on 127.0.0.1:", "--web.listen-address takes another one"] {
        assert!(line.contains(part), "no {part}: {stderr}");
    }
    let mut json = common::command(&["serve", &address, "--log.format=json"]);
    json.env("CRYPTOLENS_TOKEN", TOKEN).env("CRYPTOLENS_STORAGE_PATH", world.folder.path().join("other"));
    let (code, _, stderr) = run(json).await;
    assert_eq!(code, Some(1), "{stderr}");
    for line in stderr.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {stderr}"));
        assert_eq!(line["level"], "ERROR", "{stderr}");
        assert!(line["error"].as_str().unwrap().starts_with("cannot listen on"), "{stderr}");
    }

    let (code, _, stderr) = run(serve_with_file(&world.storage())).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("CRYPTOLENS_TOKEN"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_read_is_moved_aside_and_reported() {
    let world = World::small().await;
    std::fs::create_dir(world.storage()).unwrap();
    std::fs::write(world.storage().join("ledger.db"), "no ledger, by any means ".repeat(1000)).unwrap();
    let exporter = world.exporter(&[]).await;
    until_counted(&exporter, 3.0).await;
    assert_eq!(exporter.scrape().await.value("cryptolens_exporter_ledger_resets_total", &[]), Some(1.0));
    assert_eq!(exporter.process.lines(&["level=error", "ledger"]).len(), 1, "{}", exporter.process.log());
    let files = std::fs::read_dir(world.storage()).unwrap().map(|file| file.unwrap().file_name());
    assert!(files.into_iter().any(|name| name.to_string_lossy().contains("aside")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failure_leaves_the_others_polling() {
    let world = World::new(Options { token: Some(TOKEN.to_owned()), ..Options::empty() }).await;
    world.append(1..=3, HOUR);
    let command = world.with_accounts(&["bad", "good"]);
    world.write_token("good", TOKEN);
    world.simulator().set_faults(vec![Fault::new(FaultKind::Hang).endpoint(Method::GetEvents)]);
    let exporter = Exporter::start(command).await;
    until_refused(&exporter, &[("account", "bad")]).await;
    for (ids, rows) in [(1..=3, 3.0), (4..=6, 6.0)] {
        world.append(ids, 0);
        for log in [Log::WebApi, Log::Objects] {
            let counted = |page: &common::page::Page| {
                (page.sum(entries(log), &[("account", "good")]) == rows).then_some(())
            };
            exporter.until(&format!("{rows} rows of {log}"), counted).await;
        }
    }
    let page = exporter.scrape().await;
    for log in Log::ALL {
        let up = |account| page.value(UP, &[("account", account), ("log", log.name())]);
        assert_eq!(up("good"), Some(if log == Log::Events { 0.0 } else { 1.0 }), "{log}");
        assert_eq!(up("bad"), Some(0.0), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_must_mend_is_logged_at_once_with_what_to_do() {
    let wrong_token = World::new(Options { token: Some("another".to_owned()), ..Options::empty() }).await;
    let denied = World::new(Options { denied: vec![Method::GetWebApiLog], ..Options::empty() }).await;
    let proxy =
        World::new(Options { faults: vec![Fault::new(FaultKind::ProxyPage)], ..Options::empty() }).await;
    let url = |world: &World| world.running.url();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Whom it asks, the result, what to do if that is logged at once, and how often it has asked by
    // then: a refused token is not tried again for minutes. What may pass by itself is logged once
    // it has lasted a minute.
    let failures = [
        (url(&wrong_token), "auth", Some("check the token"), 1.0),
        (url(&denied), "denied", Some("give the token the permission for this method"), 1.0),
        (format!("http://{closed}/api"), "transport", None, 3.0),
        (url(&wrong_token).replace("/api", "/apii"), "bad_request", None, 3.0),
        (url(&proxy), "decode", None, 3.0),
    ];
    for (url, result, todo, asked) in failures {
        let folder = tempfile::tempdir().unwrap();
        let mut command = serve(&url, folder.path());
        command.arg("--logs=web_api");
        let exporter = Exporter::start(command).await;
        let labels = [("method", "GetWebAPILog"), ("result", result)];
        let page = exporter
            .until(result, |page| (page.value(REQUESTS, &labels) >= Some(asked)).then(|| page.clone()))
            .await;
        assert_eq!(page.value(UP, WEB_API), Some(0.0));
        assert_eq!(page.value(REQUESTS, &[labels[0], ("result", "ok")]), Some(0.0));
        let log = exporter.process.log();
        let loud: Vec<_> =
            log.lines().filter(|line| line.contains("level=warn") || line.contains("level=error")).collect();
        let Some(todo) = todo else {
            assert!(loud.is_empty(), "{result}:\n{log}");
            continue;
        };
        let [line] = loud.as_slice() else { panic!("{result}:\n{log}") };
        for part in ["level=error", &format!("result={result}"), "method=GetWebAPILog", todo] {
            assert!(line.contains(part), "no {part}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_starts_where_since_says_and_goes_on_there() {
    for (since, other, counted) in [("all", "now", 80.0), ("6h", "all", 30.0), ("now", "6h", 0.0)] {
        let world = World::new(Options::empty()).await;
        world.append(1..=50, 10 * HOUR);
        world.append(51..=80, HOUR);
        let serve = |since: &str| {
            let mut command = serve(&world.running.url(), &world.storage());
            command.args(["--poll.interval=1s", &format!("--since={since}")]);
            command
        };
        let exporter = Exporter::start(serve(since)).await;
        until_polled(&exporter).await;
        until_counted(&exporter, counted).await;
        world.append(81..=85, 0);
        until_counted(&exporter, counted + 5.0).await;
        exporter.terminate().await;

        world.append(86..=89, 0);
        let exporter = Exporter::start(serve(other)).await;
        until_polled(&exporter).await;
        until_counted(&exporter, counted + 9.0).await;
        let warnings = exporter.process.lines(&["level=warn", "--since differs", "delete the ledger"]);
        assert_eq!(warnings.len(), Log::ALL.len(), "{}", exporter.process.log());
        exporter.terminate().await;

        let exporter = Exporter::start(serve(since)).await;
        until_polled(&exporter).await;
        until_counted(&exporter, counted + 9.0).await;
        assert!(exporter.process.lines(&["--since differs"]).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_works_and_what_to_do_about_the_rest() {
    let check = async |url: &str, more: &[&str]| {
        let mut command = command(&["check", &format!("--api.url={url}")]);
        run({
            command.args(more).env("CRYPTOLENS_TOKEN", TOKEN);
            command
        })
        .await
    };
    let has = |table: &str, parts: &[&str]| {
        assert!(
            table.lines().any(|line| parts.iter().all(|part| line.contains(part))),
            "no {parts:?} in\n{table}"
        );
    };
    let world = World::new(Options { denied: vec![Method::GetProducts], ..Options::empty() }).await;
    let (code, table, errors) = check(&world.running.url(), &[]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{table}");
    for method in ["GetWebAPILog", "GetEvents", "GetObjectLog"] {
        has(&table, &["default", method, "ok"]);
    }
    has(&table, &["GetProducts", "denied"]);

    let world = World::new(Options { denied: vec![Method::GetEvents], ..Options::empty() }).await;
    let (code, table, _) = check(&world.running.url(), &[]).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["GetObjectLog", "ok"]);
    has(&table, &["GetEvents", "denied"]);
    let (code, table, _) = check(&world.running.url(), &["--logs=web_api,objects"]).await;
    assert_eq!((code, table.contains("GetEvents")), (Some(0), false), "{table}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}/api");
    let (code, table, _) = check(&closed, &[]).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["GetWebAPILog", "transport"]);
    let (code, output, _) = check(&closed, &["--config-only"]).await;
    assert_eq!((code, output.as_str()), (Some(0), "the configuration is valid\n"));
    let (code, _, errors) = check(&closed, &["--poll.interval=often"]).await;
    assert_eq!((code, errors.contains("--poll.interval")), (Some(2), true), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_has_a_code_of_its_own() {
    for arguments in [&["serve", "--nonsense"][..], &["teleport"], &[]] {
        let (code, _, stderr) = run(command(arguments)).await;
        assert_eq!(code, Some(2), "{stderr}");
    }
    for arguments in [&["--version"][..], &["serve", "--version"], &["check", "-V"], &["export", "--version"]]
    {
        let (code, version, _) = run(command(arguments)).await;
        assert_eq!(code, Some(0), "{arguments:?}");
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
    for arguments in [&["help"][..], &["help", "serve"], &["help", "audit"]] {
        let (code, help, _) = run(command(arguments)).await;
        assert_eq!((code, help.contains("Usage: cryptolens-exporter")), (Some(0), true), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_each_request() {
    let world = World::small().await;
    let exporter = world.exporter(&["--log.level=debug"]).await;
    until_counted(&exporter, 3.0).await;
    let log = exporter.terminate().await;
    for endpoint in ["GetWebAPILog", "GetEvents", "GetObjectLog", "GetProducts"] {
        let is_request = |line: &&str| {
            let parts = ["level=debug", "message=request", "result=ok", "milliseconds="];
            line.contains(&format!("method={endpoint} ")) && parts.iter().all(|part| line.contains(part))
        };
        assert!(log.lines().any(|line| is_request(&line)), "no {endpoint}:\n{log}");
    }
    let exporter = world.exporter(&[]).await;
    until_polled(&exporter).await;
    assert!(!exporter.terminate().await.contains("level=debug"));
}

/// Answers all requests alike.
async fn stub(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> String {
    let answer = async move || {
        let mut response = axum::http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(body.to_owned()).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn check_knows_a_proxy_from_the_api() {
    const PAGE: &str = "<!doctype html><title>who are you?</title>";
    let moved: &[(&str, &str)] = &[("location", "https://moved.example/api/ai/GetEvents")];
    for (status, headers, body, result, todo) in [
        (401, &[][..], PAGE, "decode: the answer is not a page of the log: it is HTML", "HTTPS_PROXY"),
        (403, &[], PAGE, "decode: the answer is not a page of the log: it is HTML", "HTTPS_PROXY"),
        (403, &[], r#"{"result":1,"message":"Access denied."}"#, "denied:", "give the token the permission"),
        (503, &[], PAGE, "server_error: the server failed (HTTP 503)", "check --api.url and HTTPS_PROXY"),
        (407, &[], "", "transport: could not reach the api: the proxy asks for a login", "HTTPS_PROXY"),
        (
            302,
            moved,
            "",
            "bad_request: the request was redirected, which is not followed (HTTP 302)",
            "https://",
        ),
        (
            307,
            moved,
            PAGE,
            "bad_request: the request was redirected, which is not followed (HTTP 307)",
            "https://",
        ),
        (404, &[], PAGE, "bad_request: the request was not understood (HTTP 404)", "it ends in /api"),
        (
            200,
            &[],
            r#"{"result":1,"message":"The input parameters were incorrect."}"#,
            "bad_request:",
            "key lock",
        ),
    ] {
        let url = stub(status, headers, body).await;
        let mut command = command(&["check", &format!("--api.url={url}"), "--logs=events"]);
        command.env("CRYPTOLENS_TOKEN", TOKEN);
        let (code, table, _) = run(command).await;
        assert_eq!(code, Some(1), "{table}");
        for part in ["GetEvents", result, todo] {
            assert!(table.contains(part), "no {part:?} for {status}:\n{table}");
        }
        assert!(!table.contains("moved.example"), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_all_at_once() {
    let world = World::new(Options { faults: vec![Fault::new(FaultKind::Hang)], ..Options::empty() }).await;
    let mut command = command(&["check", &format!("--api.url={}", world.running.url()), "--api.timeout=3s"]);
    command.env("CRYPTOLENS_TOKEN", TOKEN);
    let began = Instant::now();
    let (code, table, errors) = run(command).await;
    assert_eq!((code, table.matches("timeout:").count()), (Some(1), 5), "{table}");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(
        errors, "error: not everything works; see the table\n",
        "no progress where there is no terminal"
    );
}

/// The day that the vendor's counts are compared for, as the seconds of its noon.
fn settled_noon(now: i64) -> i64 {
    (now - 48 * HOUR).div_euclid(24 * HOUR) * 24 * HOUR - 12 * HOUR
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_settled_day_is_compared_with_the_vendors_counts() {
    const DIFFERENCE: &str = "cryptolens_exporter_reconcile_difference";
    let noon = settled_noon(chrono::Utc::now().timestamp());
    // The vendor counts a failure that the log never shows.
    let unlogged = vec![UnloggedRequest { product: 3349, time: noon, state: 2020 }];
    let aggregates = AggregateOptions { unlogged, ..AggregateOptions::default() };
    let world = World::new(Options { aggregates, ..Options::empty() }).await;
    // A row of the day before: the log has the whole day.
    let mut rows = vec![row(Log::WebApi, 1, noon - 24 * HOUR)];
    rows.extend((2..=5).map(|id| row(Log::WebApi, id, noon + id)));
    // The vendor has counted what was visible for half an hour.
    world.simulator().append(Log::WebApi, rows, Some(noon));
    let exporter = world.exporter(&["--logs=web_api", "--reconcile.interval=1h"]).await;
    let compared = |page: &common::page::Page| page.has_family(DIFFERENCE).then(|| page.clone());
    let page = exporter.until("a comparison", compared).await;
    let labels = |outcome| [("product_id", "3349"), ("outcome", outcome), ("against", "vendor")];
    let differences =
        ["success", "failure", "unknown"].map(|outcome| page.value(DIFFERENCE, &labels(outcome)));
    assert_eq!(differences, [Some(0.0), Some(1.0), Some(0.0)]);
    // One with counts, and an empty one at their end.
    let requests = page
        .sum("cryptolens_exporter_api_requests_total", &[("method", "GetDailyAggregates"), ("result", "ok")]);
    assert!((requests - 2.0).abs() < 0.5, "{requests}");
    let counted = |page: &common::page::Page| (page.sum(entries(Log::WebApi), &[]) == 5.0).then_some(());
    exporter.until("5 rows", counted).await;
    exporter.terminate().await;
    // Its ledger has the whole day.
    let exporter = world.exporter(&["--logs=web_api", "--reconcile.interval=1h"]).await;
    exporter.until_value(DIFFERENCE, &[("outcome", "success"), ("against", "ledger")], 0.0).await;
    exporter.until_value(DIFFERENCE, &[("outcome", "failure"), ("against", "vendor")], 1.0).await;
    exporter.terminate().await;

    let denied = vec![Method::GetDailyAggregates];
    let world = World::new(Options { denied, ..Options::empty() }).await;
    let exporter = world.exporter(&["--logs=web_api", "--reconcile.interval=1h"]).await;
    let line = eventually("a line about the permission", async || {
        let lines = exporter.process.lines(&["level=warn", "GetDailyAggregates", "Usage Analytics"]);
        lines.first().cloned()
    })
    .await;
    assert!(line.contains("account=default"), "{line}");
    assert!(!exporter.scrape().await.has_family(DIFFERENCE));
    exporter.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_proves_the_ledger_and_finds_a_row_that_was_deleted_from_it() {
    let noon = settled_noon(chrono::Utc::now().timestamp());
    let denied = vec![Method::GetDailyAggregates];
    let world = World::new(Options { denied, ..Options::empty() }).await;
    let rows = (1..=4).map(|id| row(Log::WebApi, id, noon + id)).collect();
    world.simulator().append(Log::WebApi, rows, Some(noon));
    let exporter = world.exporter(&["--logs=web_api"]).await;
    let counted = |page: &common::page::Page| (page.sum(entries(Log::WebApi), &[]) == 4.0).then_some(());
    exporter.until("4 rows", counted).await;
    let (url, storage) = (world.running.url(), world.storage());
    let reconcile = async |more: &[&str]| {
        let mut command = command(&["reconcile", "--format=json", &format!("--api.url={url}")]);
        command
            .arg(format!("--storage.path={}", storage.display()))
            .args(more)
            .env("CRYPTOLENS_TOKEN", TOKEN);
        run(command).await
    };
    let verdicts = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()["verdicts"].clone();
    // Beside the exporter that runs.
    let (code, json, errors) = reconcile(&["--against=ledger"]).await;
    assert_eq!((code, verdicts(&json)), (Some(0), serde_json::json!({"equal": 3})), "{errors}");
    let (code, _, errors) = reconcile(&[]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("Usage Analytics") && errors.contains("--against=ledger"), "{errors}");
    exporter.terminate().await;

    let ledger = rusqlite::Connection::open(storage.join("ledger.db")).unwrap();
    assert_eq!(ledger.execute("DELETE FROM day", []).unwrap(), 1);
    drop(ledger);
    let (code, json, errors) = reconcile(&["--against=ledger"]).await;
    let expected = serde_json::json!({"equal": 1, "missing_in_ledger": 2});
    assert_eq!((code, verdicts(&json)), (Some(3), expected), "{errors}");
    let (code, _, errors) = reconcile(&["--against=ledger", "--account=other"]).await;
    assert_ne!(code, Some(0), "{errors}");
    std::fs::remove_file(storage.join("ledger.db")).unwrap();
    let (code, _, errors) = reconcile(&["--against=ledger"]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("ledger.db: there is no ledger; `cryptolens-exporter serve` makes it in the directory of its --storage.path"), "{errors}");
    assert_eq!(errors.matches("ledger.db").count(), 1, "{errors}");
}

/// Every row family is in the ledger, which is the one thing that has to survive.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_copied_goes_on_elsewhere() {
    let world = World::small().await;
    let exporter = world.exporter(&[]).await;
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;
    let moved = world.folder.path().join("moved");
    copy(&world.storage(), &moved);
    world.append(4..=5, 0);
    let exporter = Exporter::start({
        let mut command = serve(&world.running.url(), &moved);
        command.arg("--since=all");
        command
    })
    .await;
    until_counted(&exporter, 5.0).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_its_variable_and_a_port_alone_is_heard_at_both_families() {
    let world = World::small().await;
    let exporter = world.exporter(&["--web.listen-address=:0", "--logs=web_api", "--logs=events"]).await;
    let port = exporter.address.port();
    assert!(exporter.address.ip().is_unspecified(), "{}", exporter.address);
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for host in ["127.0.0.1", "[::1]"].into_iter().take(if has_ipv6 { 2 } else { 1 }) {
        let page = reqwest::get(format!("http://{host}:{port}/-/healthy")).await.unwrap();
        assert_eq!(page.status(), 200, "{host}");
    }
    let page = exporter.scrape().await;
    let counted = |log| page.value(UP, &[("log", log)]).is_some();
    assert_eq!(
        [counted("web_api"), counted("events"), counted("objects")],
        [true, true, false],
        "a list adds up"
    );
}

/// A reader pastes them: the program's name, the address and the license key are those of this demo.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_the_demo_prints_run_as_they_stand() {
    let demo = command(&["demo", "--web.listen-address=127.0.0.1:0", "--seed=1"]);
    let exporter = Exporter::start(demo).await;
    // It counts a month first, which may take minutes on a busy machine: as long as it goes on, so does
    // the wait.
    let printed = loop {
        let seen = exporter.process.log().len();
        let output = eventually("the commands, or progress", async || {
            let output = exporter.process.output();
            (output.contains("Ctrl-C") || exporter.process.log().len() > seen).then_some(output)
        })
        .await;
        if let Some((summary, _)) = output.split_once("Traffic goes on") {
            break summary.to_owned();
        }
    };
    let lines: Vec<&str> =
        printed.lines().map(str::trim).filter(|line| line.starts_with("CRYPTOLENS_TOKEN=")).collect();
    assert_eq!(lines.len(), 3, "{printed}");
    for line in lines {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, answer, errors) = run(shell).await;
        assert_eq!(code, Some(0), "{line}: {errors}");
        if line.contains("reconcile") {
            assert!(answer.contains(" 0 without an explanation"), "{answer}");
            continue;
        }
        assert!(answer.lines().count() > 10, "{line}: {answer}");
        if line.contains("audit seats") {
            let mut lines = answer.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let refusals = lines.find(|words| words.first() == Some(&"Refusals")).unwrap();
            assert_ne!(refusals.get(1), Some(&"0"), "an audit with nothing to show: {answer}");
        }
    }
    exporter.terminate().await;
}
