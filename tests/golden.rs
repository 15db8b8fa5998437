//! One whole page, as it must stay: dashboards and alert rules rely on every name, label and bucket
//! of it.
//!
//! `UPDATE_EXPECT=1 cargo test --test golden` writes it anew. Only what differs from run to run is
//! replaced before it is compared: see `normalise`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::page::{Page, Watch};
use common::{Exporter, serve_with_file};
use cryptolens_exporter::metrics::{BirthTime, Point, PointValue};
use cryptolens_exporter::outputs::text::TextFormat;
use cryptolens_exporter::outputs::{ExpositionFormat as _, FamilyHead};
use cryptolens_exporter::tally::families::{EVENT_ENTRIES, FAMILIES};
use cryptolens_exporter::tally::label;
use cryptolens_simulator::{Log, Method, Options, Simulator, start};
use expect_test::expect_file;
use proptest::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

/// The first second of 2026: older than the longest bound of an age, now and for ever.
const TIME: i64 = 1_767_225_600;
/// Younger than any row will ever be.
const FUTURE: i64 = 32_503_680_000;

const CONFIG: &str = r#"
since: all
poll: {interval: 1d}
states: {2021: "expired; see \"help\"", 2024: the device limit is reached}
accounts:
  - name: shop
    token_env: CRYPTOLENS_TOKEN
    products: [{id: 3349, name: 'Editor "Pro" \ 2'}]
"#;

fn web_api_rows() -> Vec<Value> {
    let row = |id: i64, product: i64, state: i64| json!({ "id": id, "productId": product, "time": TIME + id, "state": state });
    let with = |mut row: Value, member: &str, value: Value| {
        row[member] = value;
        row
    };
    vec![
        with(row(1, 3349, 2014), "floatingExpires", json!(TIME + 1 + 300)),
        with(row(2, 3349, 2014), "floatingExpires", json!(TIME + 2 + 100_000)),
        with(row(3, 3349, 2015), "floatingExpires", json!(TIME)),
        row(4, 3349, 2024),
        row(5, 3349, 2024),
        row(6, 3349, 2021),
        with(row(7, 3349, 8010), "doIntValue", json!(5)),
        with(row(8, 3349, 8010), "doIntValue", json!(20_000)),
        with(row(9, 3349, 2010), "doIntValue", json!(5)),
        // Written twice.
        row(10, 4021, 6011),
        row(10, 4021, 6011),
        // Neither method nor outcome known, or one of them.
        row(11, 4021, 9999),
        row(12, 4021, 5510),
        row(13, 4021, 2030),
        row(14, 4021, 999),
        row(15, 4021, 70_000),
        with(row(16, 4021, 0), "state", Value::Null),
        with(row(17, -1, 2010), "productId", json!("none")),
        json!({ "id": 18 }),
        with(row(19, 3349, 3010), "time", json!(0)),
        with(row(20, 3349, 3010), "time", json!(FUTURE)),
        with(row(9_007_199_254_740_993, 3349, 1010), "time", json!(TIME)),
        // Without an id.
        json!({ "time": TIME, "state": 2014 }),
    ]
}

fn event_rows() -> Vec<Value> {
    let row = |event: &str, feature: &str, value: i64, currency: Value| {
        json!({ "productId": 3349, "time": TIME, "eventName": event, "featureName": feature, "value": value,
                "currency": currency })
    };
    let mut rows = vec![
        row("start", "Export", 0, Value::Null),
        row("start", "Export", -7, Value::Null),
        row("start", "", 1, Value::Null),
        row("", "", 0, Value::Null),
        row("say \"hi\"", "C:\\temp\n#{a=\"b\"} 1", 0, Value::Null),
        row("größer 🚀", &"long".repeat(26), 0, Value::Null),
        row("purchase", "Checkout", 2530, json!("usd")),
        row("purchase", "Checkout", 1_000_001, json!("USD")),
        json!({ "productId": 7, "time": 0 }),
    ];
    // With USD, two more than there is room for.
    for number in 0..21_u8 {
        let currency = format!("X{}X", char::from(b'A' + number));
        rows.push(row("purchase", "Checkout", 5, json!(currency)));
    }
    for (id, row) in (1..).zip(&mut rows) {
        row["id"] = json!(id);
    }
    rows
}

fn object_rows() -> Vec<Value> {
    let codes = [
        (json!(0), json!(0)),
        (json!(1), json!(1)),
        (json!(1), json!(1)),
        (json!(2), json!(2)),
        (json!(3), json!(3)),
        (json!(4), json!(1)),
        (json!(5), json!(2)),
        (json!(6), json!(3)),
        (json!(7), json!(4)),
        (json!(99), json!(-1)),
        (Value::Null, json!("added")),
        (json!(1), Value::Null),
    ];
    let row = |(id, (resource, action))| json!({ "id": id, "created": TIME, "resourceType": resource, "resourceAction": action });
    (1..).zip(codes).map(row).collect()
}

fn append(simulator: &Simulator, log: Log, rows: &[Value]) {
    simulator.append(log, rows.iter().map(|row| to_raw_value(row).unwrap()).collect(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_as_it_was() {
    let running = start(Options { denied: vec![Method::GetProducts], ..Options::empty() }).await.unwrap();
    append(&running.simulator, Log::WebApi, &web_api_rows());
    append(&running.simulator, Log::Events, &event_rows());
    append(&running.simulator, Log::Objects, &object_rows());

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = serve_with_file(&folder.path().join("data"));
    command.args([format!("--config.file={}", config.display()), format!("--api.url={}", running.url())]);
    // More at a time may ask for the newest row too, or not any more.
    command.arg("--api.concurrency=1");
    command.env("CRYPTOLENS_TOKEN", common::TOKEN);
    let exporter = Exporter::start(command).await;
    exporter
        .until("the end of the only poll, and of the question for the row at the cursor", |page| {
            let poll = "cryptolens_exporter_last_poll_timestamp_seconds";
            let polled = Log::ALL.iter().all(|log| page.value(poll, &[("log", log.name())]).is_some());
            let requests = page.sum("cryptolens_exporter_api_requests_total", &[]);
            (polled && requests == 10.0).then_some(())
        })
        .await;
    let (_, text) = exporter.text("/metrics").await;
    let page = Page::parse(&text);
    // Without an OpenTelemetry receiver nothing is pushed, without a target there is no history, usage, seats
    // and comparisons are off, and nothing is archived.
    let optional = [
        "cryptolens_exporter_archive_",
        "cryptolens_exporter_otlp_",
        "cryptolens_exporter_history_",
        "cryptolens_exporter_reconcile_",
        "cryptolens_exporter_usage_",
        "cryptolens_active_",
        "cryptolens_failing_",
        "cryptolens_refused_",
        "cryptolens_account_active_",
        "cryptolens_floating_seats_",
        "cryptolens_license_seats_",
    ];
    let is_optional = |name: &str| optional.iter().any(|prefix| name.starts_with(prefix));
    for family in FAMILIES.iter().filter(|family| !is_optional(family.name)) {
        assert!(page.has_family(family.name), "{} is not on the page", family.name);
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    expect_file![path].assert_eq(&normalise(&text));
}

/// Puts a word in place of each value that no two runs share; leaves out what differs by operating
/// system.
fn normalise(text: &str) -> String {
    let mut normal = String::new();
    for line in text.lines() {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        if name.starts_with("process_") {
            continue;
        }
        let word = match name.split(['{', ' ']).next().unwrap() {
            _ if line.starts_with('#') => None,
            "cryptolens_exporter_build_info" => {
                normal.push_str(
                    "cryptolens_exporter_build_info{version=\"<version>\",commit=\"<commit>\"} 1\n",
                );
                continue;
            }
            "cryptolens_exporter_last_poll_timestamp_seconds" => Some("<time>"),
            "cryptolens_exporter_api_request_duration_seconds_count" => None,
            name if name.contains("_duration_seconds_") => Some("<duration>"),
            name if name.ends_with("_age_seconds_sum") => Some("<age>"),
            _ => None,
        };
        match (word, line.rsplit_once(' ')) {
            (Some(word), Some((series, _))) => normal.push_str(&format!("{series} {word}\n")),
            _ => normal.push_str(&format!("{line}\n")),
        }
    }
    normal
}

#[test]
fn pages_are_read_strictly() {
    let text = "# HELP a_total All.\n# TYPE a_total counter\na_total{x=\"1\\\\\\\"\\n,}\",y=\"\"} 3\n# HELP b B.\n\
                # TYPE b histogram\nb_bucket{le=\"+Inf\"} 1\nb_sum 2.5\nb_count 1\n";
    let page = Page::parse(text);
    assert_eq!(page.value("a_total", &[("x", "1\\\"\n,}")]), Some(3.0));
    assert_eq!(page.sum("b_sum", &[]), 2.5);
    assert_eq!(page.samples.len(), 4);
    for odd in [
        "a 1\n",
        "# HELP a A.\n# TYPE a counter\na 1",
        "# HELP a A.\n# TYPE a counter\nb 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"1\" } 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"\\t\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\n# TYPE a histogram\na 1\n",
    ] {
        assert!(std::panic::catch_unwind(|| Page::parse(odd)).is_err(), "{odd}");
    }
}

/// Texts that an escape could get wrong, beside any others.
fn label_texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[\\"n,={} #\n\r\t\u{2028}\u{202e}é]{0,40}"#]
}

/// A page with one series, whose labels have these values.
fn page_of([account, rest @ ..]: [&str; 4]) -> Page {
    let labels = rest.map(Into::into).into();
    let point = Point { labels, value: PointValue::Counter(7), born: BirthTime::UNKNOWN, entry_id: None };
    let (name, help, family_type) = (EVENT_ENTRIES.name, EVENT_ENTRIES.help, EVENT_ENTRIES.family_type);
    let mut page = Vec::new();
    TextFormat.head(&mut page, FamilyHead { name, help, family_type }, 0);
    TextFormat.point(&mut page, &EVENT_ENTRIES, Some(account), &point);
    Page::parse(&String::from_utf8(page).unwrap())
}

proptest! {
    #[test]
    fn every_label_comes_back_from_the_page(one in label_texts(), two in label_texts()) {
        let page = page_of(["shop", "3349", &one, &two]);
        let labels = [("account", "shop"), ("product_id", "3349"), ("event_name", &*one), ("feature_name", &*two)];
        prop_assert_eq!(page.value(EVENT_ENTRIES.name, &labels), Some(7.0));

        let (one, two) = (label::clean(&one), label::clean(&two));
        let page = page_of(["shop", "3349", &one, &two]);
        let (series, _) = page.samples.first_key_value().unwrap();
        prop_assert_eq!((&*series.labels["event_name"], &*series.labels["feature_name"]), (&*one, &*two));
    }

    #[test]
    fn a_clean_label_is_one_line_to_any_tool(text in label_texts()) {
        let label = label::clean(&text);
        let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        prop_assert!(!label.contains(breaks), "{:?}", label);
    }
}

#[test]
fn a_counter_that_goes_down_is_noticed() {
    let page = |value| {
        let name = "cryptolens_exporter_rows_late_total";
        Page::parse(&format!(
            "# HELP {name} Late.\n# TYPE {name} counter\n{name}{{log=\"events\"}} {value}\n"
        ))
    };
    let mut watch = Watch::default();
    watch.see(&page(1));
    watch.see(&page(2));
    let mut down = std::panic::AssertUnwindSafe(watch);
    assert!(std::panic::catch_unwind(move || down.see(&page(1))).is_err());
}
