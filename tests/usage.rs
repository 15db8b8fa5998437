//! Usage from outside: sets of keys and machines against the rows after kills, gauges against `report
//! summary`, floating seats against what GetKey of the simulator says, what is pushed, what the landing
//! page says is kept, and what ends the process with exit code 2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::page::Page;
use common::receiver::{Answer, Receiver};
use common::{Exporter, Process, TOKEN, command, eventually, run, serve, serve_with_file};
use cryptolens_exporter::usage::{UsageSecret, UsageSet};
use cryptolens_simulator::{Fault, FaultKind, Log, Method, Options, Running, start};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tempfile::TempDir;

const PRODUCT: i64 = 3349;
const KEY: &str = "SEATS-AAAAA-BBBBB-CCCCC";
const OTHER_KEY: &str = "SEATS-DDDDD-EEEEE-FFFFF";
const UNKNOWN_KEY: &str = "SEATS-GGGGG-HHHHH-IIIII";
const USED: &str = "cryptolens_floating_seats_used";
const OF_LICENSE: &str = "cryptolens_license_seats_used";
const LIMIT: &str = "cryptolens_license_seats_limit";

/// A simulated account with licenses, and a directory for a ledger and a configuration.
struct Vendor {
    running: Running,
    folder: TempDir,
    next_id: i64,
}

impl Vendor {
    async fn new() -> Vendor {
        let running = start(Options::empty()).await.unwrap();
        running.simulator.add_license(PRODUCT, KEY, 10);
        running.simulator.add_license(PRODUCT, OTHER_KEY, 0);
        Vendor { running, folder: tempfile::tempdir().unwrap(), next_id: 1 }
    }

    fn now(&self) -> i64 {
        self.running.simulator.now()
    }

    /// Adds a row that happened so many seconds ago.
    fn row(&mut self, state: i64, ago: i64, lease: i64, (key, machine): (&str, &str)) {
        let (id, time) = (self.next_id, self.now() - ago);
        self.next_id += 1;
        let mut row = json!({
            "id": id, "productId": PRODUCT, "key": key, "time": time, "state": state, "machineCode": machine,
        });
        if state != 6011 {
            row["floatingExpires"] = (time + lease).into();
        }
        let row: Box<RawValue> = to_raw_value(&row).unwrap();
        self.running.simulator.append(Log::WebApi, vec![row], None);
    }

    /// The seats of a license, as GetKey counts them with the lease as its interval.
    async fn truth(&self, key: &str) -> f64 {
        let form = format!("token={TOKEN}&ProductId={PRODUCT}&Key={key}&Metadata=true");
        let url = format!("{}/key/GetKey", self.running.url());
        let request = common::http().post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["metadata"]["usedFloatingMachines"].as_f64().unwrap()
    }

    fn serve(&self) -> Command {
        self.serve_from("now", "seats: true")
    }

    fn serve_from(&self, since: &str, usage: &str) -> Command {
        let url = self.running.url();
        let config = self.folder.path().join("config.yml");
        std::fs::write(self.folder.path().join("key"), format!("{KEY}\n")).unwrap();
        let file = format!(
            "api: {{url: '{url}'}}\nsince: {since}\npoll: {{interval: 1s}}\nusage: {{{usage}}}\naccounts:\n  - name: shop\n    \
             token_env: SHOP_TOKEN\n    logs: [web_api]\n    licenses:\n      - {{name: big, product_id: {PRODUCT}, key_file: key}}\n      \
             - {{name: unlimited, product_id: {PRODUCT}, key_env: OTHER_KEY}}\n      \
             - {{name: mistaken, product_id: {PRODUCT}, key_env: UNKNOWN_KEY}}\n"
        );
        std::fs::write(&config, file).unwrap();
        let mut command = serve_with_file(&self.folder.path().join("data"));
        command.arg(format!("--config.file={}", config.display()));
        command.env("SHOP_TOKEN", TOKEN).env("OTHER_KEY", OTHER_KEY).env("UNKNOWN_KEY", UNKNOWN_KEY);
        command
    }
}

fn used(page: &Page, license: &str) -> Option<f64> {
    page.value(OF_LICENSE, &[("license", license)])
}

/// Waits until seats are shown. The first page that shows them has to be right.
async fn assert_first_page(vendor: &Vendor, exporter: &Exporter) {
    let page = exporter
        .until("seats", |page| page.value(USED, &[("product_id", "3349")]).is_some().then(|| page.clone()))
        .await;
    let truth = (vendor.truth(KEY).await, vendor.truth(OTHER_KEY).await);
    assert_eq!((used(&page, "big"), used(&page, "unlimited")), (Some(truth.0), Some(truth.1)));
    assert_eq!(page.value(USED, &[("product_id", "3349")]), Some(truth.0 + truth.1));
    assert_eq!(used(&page, "mistaken"), Some(0.0));
}

async fn until_true(vendor: &Vendor, exporter: &Exporter) -> Page {
    let truth = vendor.truth(KEY).await;
    exporter.until_value(OF_LICENSE, &[("license", "big")], truth).await
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_are_those_of_getkey_after_a_restart_and_an_outage() {
    let mut vendor = Vendor::new().await;
    // Nothing changes by itself for half an hour: each lease ended minutes ago, or lasts as long.
    for machine in ["m1", "m2", "m3", "m4"] {
        vendor.row(2014, 1800, 7200, (KEY, machine));
    }
    vendor.row(2014, 1700, 7200, (KEY, "released"));
    vendor.row(2014, 1600, 600, (KEY, "expired"));
    vendor.row(2014, 1500, 7200, (OTHER_KEY, "m1"));
    vendor.row(2024, 1400, 0, (KEY, "refused"));
    vendor.row(2015, 1300, 7200, (KEY, "m5-beyond"));
    vendor.row(6011, 1200, 0, (KEY, "released"));

    // Counting starts now, so that all of this is read backwards.
    let exporter = Exporter::start(vendor.serve()).await;
    assert_first_page(&vendor, &exporter).await;
    assert_eq!(vendor.truth(KEY).await, 5.0);
    let page = exporter.until_value(LIMIT, &[("license", "big")], 10.0).await;
    assert_eq!(page.value("cryptolens_floating_seats_overdraft", &[("product_id", "3349")]), Some(1.0));

    vendor.row(2014, 0, 7200, (KEY, "m5"));
    until_true(&vendor, &exporter).await;
    vendor.row(6011, 0, 0, (KEY, "m1"));
    until_true(&vendor, &exporter).await;
    // One that shows up late, and is a row of an hour ago.
    vendor.row(2014, 3600, 7200, (KEY, "late"));
    let page = until_true(&vendor, &exporter).await;
    let unlimited = |page: &Page| page.value(LIMIT, &[("license", "unlimited")]);
    assert_eq!((unlimited(&page), page.value(LIMIT, &[("license", "mistaken")])), (None, None));
    let unknown = ["level=error", "the api does not know the key of this license", "license=mistaken"];
    common::eventually("a line about the key", async || {
        (exporter.process.lines(&unknown).len() == 1).then_some(())
    })
    .await;
    let log = exporter.terminate().await;

    // Rows from before the start, and from while it was down, are known at once.
    vendor.row(6011, 30, 0, (KEY, "m2"));
    vendor.row(2014, 20, 7200, (KEY, "m6"));
    let exporter = Exporter::start(vendor.serve()).await;
    assert_first_page(&vendor, &exporter).await;
    assert_eq!(vendor.truth(KEY).await, 6.0);

    // An outage does not empty the seats: they are those of the last poll.
    vendor.row(2014, 0, 30, (KEY, "short"));
    let ends = vendor.now() + 30;
    let before = until_true(&vendor, &exporter).await;
    vendor.running.simulator.set_faults(vec![Fault::new(FaultKind::SomethingWentWrong)]);
    while vendor.now() <= ends + 1 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let page = exporter.scrape().await;
    assert_eq!(page.value("cryptolens_up", &[("log", "web_api")]), Some(0.0));
    assert_eq!((used(&page, "big"), used(&page, "big")), (used(&before, "big"), Some(7.0)));
    vendor.running.simulator.set_faults(Vec::new());
    until_true(&vendor, &exporter).await;
    assert_eq!(vendor.truth(KEY).await, 6.0);
    let log = log + &exporter.terminate().await;
    for key in [KEY, OTHER_KEY, UNKNOWN_KEY] {
        assert!(!log.contains(key), "{log}");
    }
    let filtered =
        vendor.running.simulator.latest_requests().into_iter().any(|request| {
            request.method == Method::GetWebApiLog && request.parameters.contains_key("states")
        });
    assert!(filtered, "only rows about seats are read backwards");
}

/// More machines than are kept at once, all of them from before the start.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_bound_seats_are_not_shown_and_one_line_says_so() {
    let vendor = Vendor::new().await;
    let time = vendor.now() - 60;
    let row = |id: i64| {
        to_raw_value(&json!({
            "id": id, "productId": PRODUCT, "key": OTHER_KEY, "time": time, "state": 2014,
            "machineCode": format!("machine-{id}"), "floatingExpires": time + 7200,
        }))
        .unwrap()
    };
    vendor.running.simulator.append(Log::WebApi, (1..=100_001).map(row).collect(), None);
    let exporter = Exporter::start(vendor.serve()).await;
    let error = ["level=error", "more machines hold floating seats than are kept"];
    eventually("a line", async || (!exporter.process.lines(&error).is_empty()).then_some(())).await;
    // Rows and polls go on, and change nothing.
    vendor.running.simulator.append(Log::WebApi, vec![row(100_002)], None);
    let counted = "cryptolens_exporter_rows_counted_total";
    exporter.until("a poll", |page| (page.sum(counted, &[("log", "web_api")]) > 0.0).then_some(())).await;
    let page = exporter.scrape().await;
    assert_eq!((page.value(USED, &[("product_id", "3349")]), used(&page, "big")), (None, None));
    assert_eq!(page.value("cryptolens_up", &[("log", "web_api")]), Some(1.0));
    assert_eq!(exporter.process.lines(&error).len(), 1);
    exporter.terminate().await;
}

/// OTLP takes its values from the table of families, as the pages do.
#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_of_usage_and_seats_are_pushed() {
    let mut vendor = Vendor::new().await;
    vendor.row(2014, 60, 7200, (KEY, "m1"));
    vendor.row(2024, 50, 0, (KEY, "m2"));
    let receiver = Receiver::start(Answer::Success).await;
    let mut serve = vendor.serve_from("all", "active: true, seats: true");
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()).env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    let exporter = Exporter::start(serve).await;
    eventually("all gauges in one push", async || {
        let has_all = |names: &[&str]| {
            receiver.pushes().iter().any(|push| names.iter().all(|name| push.contains(name))).then_some(())
        };
        has_all(&[
            "cryptolens_active_license_keys",
            "cryptolens_active_machines",
            "cryptolens_failing_license_keys",
            "cryptolens_refused_license_keys",
            "cryptolens_account_active_machines",
            "cryptolens_exporter_usage_day_timestamp",
            "cryptolens_exporter_usage_origin_timestamp",
            USED,
            "cryptolens_floating_seats_overdraft",
            OF_LICENSE,
            LIMIT,
        ])
    })
    .await;
    exporter.terminate().await;
}

/// Number of the day, product, and number of the kind of members: the bytes of a set.
type Sets = BTreeMap<(i64, i64, i64), Vec<u8>>;

fn sets_in(ledger: &Path) -> Sets {
    let connection = rusqlite::Connection::open(ledger.join("ledger.db")).unwrap();
    let mut select = connection.prepare("SELECT day, product, subject, members FROM usage_set").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?));
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// The sets of these rows, by the digits of their states: the vendor's definition, written down once
/// more.
fn sets_of(lines: &str, secret: &UsageSecret) -> Sets {
    let mut sets: BTreeMap<(i64, i64, i64), UsageSet> = BTreeMap::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| row[name].as_i64().unwrap();
        let (state, day, product) = (number("state"), number("time").div_euclid(86_400), number("productId"));
        let key = secret.license_key(row["key"].as_str().unwrap_or_default());
        let machine = secret.machine(row["machineCode"].as_str().unwrap_or_default());
        let mut add = |subject: i64, member| {
            sets.entry((day, product, subject)).or_default().extend(member);
        };
        match (state / 100, state % 100 / 10) {
            (10 | 20 | 60 | 80, 1) => {
                add(1, key);
                add(2, machine);
            }
            (_, 2) => add(3, key),
            _ => {}
        }
        if state == 2024 {
            add(4, key);
        }
    }
    sets.retain(|_, set| !set.is_empty());
    sets.into_iter().map(|(key, set)| (key, set.to_bytes())).collect()
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Two days of traffic that ends now, and a folder for ledgers.
struct Traffic {
    running: Running,
    folder: TempDir,
    now: i64,
}

impl Traffic {
    async fn new() -> Traffic {
        let now = chrono::Utc::now().timestamp();
        let options = Options { start: now - 2 * 86_400, requests_per_minute: 15.0, ..Options::new(11) };
        let running = start(options).await.unwrap();
        running.simulator.freeze(Some(now));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        Traffic { running, folder, now }
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn serve(&self) -> Command {
        let mut command = serve(&self.running.url(), &self.ledger());
        command.args(["--since=all", "--poll.interval=1s", "--logs=web_api"]);
        command
    }

    fn serve_with_usage(&self) -> Command {
        let mut command = self.serve();
        let secret = self.folder.path().join("secret");
        command.arg("--usage.active").arg(format!("--usage.secret-file={}", secret.display()));
        command
    }

    /// Starts it, waits until 30 days are known, and ends it. Then the sets have to be those of the rows.
    async fn assert_sets(&self) {
        let exporter = Exporter::start(self.serve_with_usage()).await;
        let window = [("window", "30d")];
        let lines = self.running.simulator.rows_as_lines(Log::WebApi);
        let rows = f64::from(u32::try_from(lines.lines().count()).unwrap());
        // The 30 days are known as soon as the rows before have been read, the newest ones or not.
        let (machines, counted) = exporter
            .until("usage of 30 days, and every row", |page| {
                let counted = page.sum("cryptolens_exporter_rows_counted_total", &[]);
                let machines = page.value("cryptolens_account_active_machines", &window)?;
                (counted >= rows).then_some((machines, counted))
            })
            .await;
        let (_, landing) = exporter.text("/").await;
        assert!(landing.contains("keyed hashes of the license keys and machines of the last 31 days"));
        exporter.terminate().await;
        let expected = sets_of(&lines, &UsageSecret::from_text(SECRET).unwrap());
        assert!(expected.len() > 12 && expected.values().any(|set| set.len() > 50), "{}", expected.len());
        assert!(sets_in(&self.ledger()) == expected);
        assert!(machines > 0.0);
        assert_eq!(counted, rows, "each row is counted once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_those_of_the_rows_after_kills() {
    let traffic = Traffic::new().await;
    for milliseconds in [200, 400, 800, 600, 1000] {
        let process = Process::start(traffic.serve_with_usage());
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        process.kill().await;
    }
    traffic.assert_sets().await;
}

/// One definition of active, in `serve` and in `report`: the last complete day, row by row the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_of_a_day_are_those_of_report_summary() {
    let traffic = Traffic::new().await;
    // Spellings of one key and one machine, and rows that show no use, in the middle of the day.
    let noon = traffic.now - traffic.now.rem_euclid(86_400) - 43_200;
    let odd = [
        ("USED-AGAIN", "floating:Odd-Machine", 2014),
        (" USED-AGAIN\u{7}\n", "ODD-MACHINE", 1010),
        ("USED-AGAIN", " odd-machine ", 8011),
        ("GIVEN-BACK", "odd-machine\u{0}", 6011),
        ("REFUSED", "refused-machine", 2024),
        ("CREATED", "no-machine", 3010),
        ("", "nobody's-machine", 2014),
        ("NOWHERE", "", 2014),
    ];
    // A report of a day does not look for rows that came as late as the highest ids of the next day.
    let lines = traffic.running.simulator.rows_as_lines(Log::WebApi);
    let known: BTreeMap<i64, i64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["id"].as_i64().unwrap(), row["time"].as_i64().unwrap()))
        .collect();
    let (last, _) = known.iter().rfind(|(_, time)| **time <= noon).unwrap();
    let free = (*last..).filter(|id| !known.contains_key(id));
    let rows = odd.iter().zip(free).map(|((key, machine, state), id)| {
        to_raw_value(&json!({
            "id": id, "productId": PRODUCT, "key": key, "time": noon, "state": state, "machineCode": machine,
        }))
        .unwrap()
    });
    traffic.running.simulator.append(Log::WebApi, rows.collect(), None);
    let exporter = Exporter::start(traffic.serve_with_usage()).await;
    let last_day = [("window", "1d")];
    let page = exporter
        .until("usage", |page| {
            page.value("cryptolens_account_active_machines", &last_day).map(|_| page.clone())
        })
        .await;
    exporter.terminate().await;
    #[allow(clippy::cast_possible_truncation)]
    let day = page.value("cryptolens_exporter_usage_day_timestamp_seconds", &[]).unwrap() as i64;
    let date = chrono::DateTime::from_timestamp(day, 0).unwrap().format("--day=%F").to_string();
    let url = format!("--api.url={}", traffic.running.url());
    let mut report = command(&["report", "summary", &date, "--timezone=UTC", "--format=json", &url]);
    report.env("CRYPTOLENS_TOKEN", TOKEN);
    let (code, json, errors) = run(report).await;
    assert_eq!(code, Some(0), "{errors}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let block =
        |id: &str| report["blocks"].as_array().unwrap().iter().find(|block| block["id"] == id).unwrap();
    let figures = block("figures")["items"].as_array().unwrap();
    let figure = |id: &str| figures.iter().find(|item| item["id"] == id).unwrap()["value"].as_f64().unwrap();
    assert_eq!(page.value("cryptolens_account_active_machines", &last_day), Some(figure("active_machines")));
    let keys = "cryptolens_active_license_keys";
    assert_eq!(page.sum(keys, &last_day), figure("active_keys"));
    let products = block("products")["rows"].as_array().unwrap();
    assert!(products.len() > 3 && figure("active_keys") > 20.0, "{products:?}");
    for product in products {
        let id = product["product_id"].to_string();
        let shown = page.value(keys, &[("window", "1d"), ("product_id", id.trim_matches('"'))]);
        assert_eq!(shown, product["active_keys"].as_f64(), "{product}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_turned_on_later_has_the_days_of_the_log() {
    let traffic = Traffic::new().await;
    let exporter = Exporter::start(traffic.serve()).await;
    let polled = "cryptolens_exporter_last_poll_timestamp_seconds";
    exporter.until("a whole poll", |page| page.value(polled, &[("log", "web_api")])).await;
    let (_, landing) = exporter.text("/").await;
    assert!(landing.contains("The ledger keeps nothing of single license keys, machines or customers."));
    exporter.terminate().await;
    assert_eq!(sets_in(&traffic.ledger()), Sets::new());
    traffic.running.simulator.freeze(Some(traffic.now + 60));
    traffic.assert_sets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_secret_or_a_license_is_bad_usage() {
    let vendor = Vendor::new().await;
    let path = |name: &str| vendor.folder.path().join(name);
    std::fs::write(path("long"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(path("another"), "another-secret-0123456789abcdef0").unwrap();
    std::fs::write(path("short"), "hunter2").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    let with_secret = |name: &str| {
        let mut command = serve(&vendor.running.url(), &path("ledger"));
        command.arg("--usage.active").arg(format!("--usage.secret-file={}", path(name).display()));
        command
    };
    for (name, reason) in [
        ("missing", "no such file"),
        ("folder", "it is a directory"),
        ("short", "shorter than 32 characters"),
    ] {
        let (code, _, log) = run(with_secret(name)).await;
        assert_eq!((code, log.contains(reason)), (Some(2), true), "{log}");
        assert!(log.contains("--usage.secret-file") && !log.contains("hunter2"), "{log}");
    }
    Exporter::start(with_secret("long")).await.terminate().await;
    let (code, _, log) = run(with_secret("another")).await;
    assert_eq!((code, log.contains("--usage.secret-file")), (Some(2), true), "{log}");
    assert!(!log.contains("another-secret"), "{log}");

    let licenses = |licenses: &str| {
        let file = format!("accounts:\n  - name: shop\n    token_env: SHOP_TOKEN\n    licenses:\n{licenses}");
        std::fs::write(path("licenses.yml"), file).unwrap();
        let mut command = serve_with_file(&path("data"));
        command.arg(format!("--config.file={}", path("licenses.yml").display()));
        command.env("SHOP_TOKEN", TOKEN).env("KEY", KEY).env("KEYS", format!("{KEY} {OTHER_KEY}"));
        command
    };
    for (list, reason) in [
        (
            "      - {name: a, product_id: 1, key_env: KEY}\n      - {name: a, product_id: 2, key_env: KEY}\n",
            "is given twice",
        ),
        ("      - {name: a, product_id: 1, key_file: missing}\n", "no such file"),
        ("      - {name: a, product_id: 1, key_file: folder}\n", "it is a directory"),
        ("      - {name: a, product_id: 1, key_env: KEYS}\n", "more than one license key"),
        ("      - {name: a, product_id: 1}\n", "key_file or key_env"),
    ] {
        let (code, _, log) = run(licenses(list)).await;
        assert_eq!((code, log.contains(reason)), (Some(2), true), "{reason}: {log}");
        assert!(!log.contains(KEY), "{log}");
    }
}
