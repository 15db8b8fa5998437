//! `reconcile`: the binary against a simulator whose daily counts lag, leave out keys, begin their days
//! at another hour, or hold what the log lost.

use std::time::Duration;

use cryptolens_simulator::{AggregateOptions, Method, UnloggedRequest};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, command, failure, run, shown};

const DAY: i64 = 86_400;
/// Four days, with one before and one after that are read as well.
const WINDOW: [&str; 3] = ["reconcile", "--from=2026-01-05", "--to=2026-01-09"];

/// A request every 10 minutes to one product and every hour to another, with more on each day.
fn requests() -> Vec<Value> {
    let row = |id: i64, product: i64, time: i64| {
        let key = if id % 11 == 0 { "TEST-1" } else { "KEY-1" };
        json!({
            "id": id, "productId": product, "key": key, "time": time, "machineCode": format!("m{}", id % 5),
            "state": if id % 5 == 0 { 2020 } else { 2014 },
        })
    };
    let mut rows = Vec::new();
    for number in 0..(6 * 144) {
        let time = MONDAY - DAY + number * 600;
        rows.push(row(10 + 3 * number, 3349, time));
        if number % 6 == 0 {
            rows.push(row(11 + 3 * number, 3941, time + 1));
        }
        // In the last hour of each day, and another number on each: a shift of the day shows.
        if number % 144 >= 144 - number / 144 {
            rows.push(row(12 + 3 * number, 3349, time + 2));
        }
    }
    rows
}

/// Counts without lag: the rows of a test are visible since now.
fn at_once() -> AggregateOptions {
    AggregateOptions { lag: Duration::ZERO, ..AggregateOptions::default() }
}

fn stub_with(aggregates: AggregateOptions) -> Stub {
    Stub::start(Logs { requests: requests(), page: Some(100), aggregates, ..Logs::default() })
}

/// The counts of `--format=json`, and the exit code.
fn reconciled(stub: &Stub, flags: &[&str]) -> (Value, i32) {
    let output = run(stub, &[&WINDOW[..], &["--format=json"], flags].concat());
    let code = output.status.code().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), code)
}

fn verdicts(json: &Value) -> Vec<(String, u64)> {
    let verdicts = json["verdicts"].as_object().unwrap();
    verdicts.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect()
}

fn of(name: &str, count: u64) -> (String, u64) {
    (name.to_owned(), count)
}

#[test]
fn counts_that_agree_are_equal_by_product_day_and_outcome() {
    let stub = stub_with(at_once());
    let (json, code) = reconciled(&stub, &[]);
    // Two products, four days, three counts that are judged and two that are not.
    assert_eq!((verdicts(&json), code), (vec![of("equal", 24), of("not_judged", 16)], 0));
    let first = &json["counts"][0];
    let expected = json!({"product": 3349, "day": "2026-01-05", "field": "total", "ledger": null, "log": 145, "vendor": 145,
        "difference": 0, "verdict": "equal", "unexplained": false});
    assert_eq!(first, &expected);
    let (json, code) = reconciled(&stub, &["--product=3941"]);
    assert_eq!((verdicts(&json), code), (vec![of("equal", 12), of("not_judged", 8)], 0));
    let text = shown(&stub, &WINDOW);
    assert!(text.contains("24 counts compared, 24 equal, 0 without an explanation."), "{text}");
    let csv = shown(&stub, &[&WINDOW[..], &["--format=csv"]].concat());
    assert_eq!(csv.lines().count(), 1 + 40);
    assert_eq!(csv.lines().nth(1), Some(r#""default",3349,"2026-01-05","total",,145,145,0,"equal""#));
}

#[test]
fn a_row_that_the_log_lost_is_exit_code_3_and_never_tolerated() {
    let lost = UnloggedRequest { product: 3941, time: MONDAY + DAY + 5, state: 2020 };
    let stub = stub_with(AggregateOptions { unlogged: vec![lost], ..at_once() });
    for flags in [&[][..], &["--tolerance=50"]] {
        let (json, code) = reconciled(&stub, flags);
        assert_eq!((json["unexplained"].as_u64(), code), (Some(2), 3));
        let missing: Vec<&Value> =
            json["counts"].as_array().unwrap().iter().filter(|count| count["unexplained"] == true).collect();
        let total = json!({"product": 3941, "day": "2026-01-06", "field": "total", "ledger": null, "log": 24, "vendor": 25,
            "difference": 1, "verdict": "missing_in_log", "unexplained": true});
        assert_eq!((missing[0], missing[1]["field"].as_str()), (&total, Some("failed")));
    }
    let output = run(&stub, &WINDOW);
    let (text, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(
        text.contains("missing_in_log (2): the vendor or the ledger counts rows that the log does not show."),
        "{text}"
    );
    assert_eq!(error, "error: 2 counts differ without an explanation\n");
}

#[test]
fn keys_for_tests_are_an_explanation_once_they_are_named() {
    let excluded_keys = vec!["TEST-1".to_owned()];
    let stub = stub_with(AggregateOptions { excluded_keys, ..at_once() });
    let (json, code) = reconciled(&stub, &[]);
    assert!(json["verdicts"]["excluded_keys?"].as_u64() > Some(8), "{json}");
    assert_eq!(code, 3);
    assert_eq!(reconciled(&stub, &["--tolerance=60"]).1, 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# for tests\nTEST-1\n").unwrap();
    let flag = format!("--exclude-keys-file={}", file.path().display());
    let (json, code) = reconciled(&stub, &[&flag]);
    assert_eq!((json["verdicts"].get("excluded_keys?"), code), (None, 0));
    assert!(json["verdicts"]["excluded_keys"].as_u64() > Some(8), "{json}");
    let error = failure(&stub, &[&WINDOW[..], &["--exclude-keys-file=/no/such/file"]].concat(), 2);
    assert!(error.contains("a file that can be read"), "{error}");
}

#[test]
fn a_day_that_begins_at_another_hour_is_named() {
    let stub = stub_with(AggregateOptions { day_offset_hours: 1, ..at_once() });
    let (json, code) = reconciled(&stub, &["--product=3349"]);
    assert!(json["verdicts"]["day_boundary?"].as_u64() > Some(3), "{json}");
    assert_eq!((json["verdicts"].get("missing_in_log"), code), (None, 3));
}

#[test]
fn young_days_wait_and_days_before_the_log_are_not_judged() {
    let lost = UnloggedRequest { product: 3941, time: MONDAY + 3 * DAY + 5, state: 2020 };
    let stub = stub_with(AggregateOptions { unlogged: vec![lost], ..at_once() });
    // So long after the days of the test that none is settled.
    let (json, code) = reconciled(&stub, &["--settle=36500d"]);
    assert_eq!((json["verdicts"]["pending"].as_u64(), code), (Some(2), 0));
    let lost = UnloggedRequest { product: 3941, time: MONDAY - 3 * DAY, state: 2014 };
    let stub = stub_with(AggregateOptions { unlogged: vec![lost], ..at_once() });
    let args = ["reconcile", "--from=2026-01-01", "--to=2026-01-09", "--format=json"];
    let output = run(&stub, &args);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["verdicts"]["not_covered"].as_u64(), output.status.code()), (Some(2), Some(0)));
}

#[test]
fn without_the_permission_it_says_which_one_and_asks_for_nothing_else() {
    let denied = vec![Method::GetDailyAggregates];
    let stub = Stub::start(Logs { requests: requests(), denied, ..Logs::default() });
    let error = failure(&stub, &WINDOW, 1);
    assert!(error.contains("GetDailyAggregates") && error.contains("Usage Analytics"), "{error}");
    assert_eq!(stub.requests(), 1);
    for (flags, wanted) in [
        (&["--from=yesterday"][..], "expected a date"),
        (&["--from=2026-01-09", "--to=2026-01-09"], "there is no day"),
        (&["--tolerance=-1"], "expected a number from 0 to 100"),
        (&["--days=0"], "expected a whole number of days"),
    ] {
        let output = command(&stub, &[&["reconcile"], flags].concat()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(wanted), "{flags:?}: {error}");
    }
}

/// 1000 counts are a page; more than that are asked for.
#[test]
fn all_pages_of_the_vendor_are_read() {
    let row = |index: i64| json!({"id": index + 1, "productId": index % 300 + 1, "time": MONDAY + index / 300 * DAY, "state": 2014});
    let requests = (0..1200).map(row).collect();
    let stub = Stub::start(Logs { requests, aggregates: at_once(), ..Logs::default() });
    let (json, code) = reconciled(&stub, &[]);
    assert_eq!((json["verdicts"]["equal"].as_u64(), code), (Some(3600), 0));
}
