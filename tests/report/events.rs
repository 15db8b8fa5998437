//! `report events`.

use cryptolens_simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, assert_page_shows, failure, shown};

const DAYS: [&str; 4] = ["report", "events", "--from=2026-01-06", "--to=2026-01-09"];

/// An event each hour, from long before the window to long after it.
fn stub() -> Stub {
    let row = |index: i64| {
        let buys = index % 4 == 0;
        let feature = ["YearReport", "", "<b>=Export"][usize::try_from(index % 3).unwrap()];
        let currency = if buys { ["USD", "eur"][usize::try_from(index / 4 % 2).unwrap()] } else { "" };
        json!({
            "id": 500 + index * 2,
            "productId": if index % 3 == 0 { 3350 } else { 3349 },
            "key": format!("KEY-{:02}", index % 5),
            "machineCode": format!("machine{:02}", index % 7),
            "featureName": feature,
            "eventName": if buys { "purchase" } else { "start" },
            "value": if buys { 1000 + index } else { 0 },
            "currency": currency,
            "time": MONDAY + (index - 400) * 3600,
            "metadata": Value::Null,
        })
    };
    Stub::start(Logs { events: (0..600).map(row).collect(), ..Logs::default() })
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    DAYS.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn every_format_is_as_it_was() {
    assert_golden_formats(&stub(), "events", &DAYS);
}

#[test]
fn the_page_shows_every_number_that_it_has_shown() {
    let report = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    assert_page_shows(&report, &shown(&stub(), &with(&["--format=html"])), &[]);
}

#[test]
fn the_numbers_are_those_of_the_rows() {
    let stub = stub();
    let report: Value = serde_json::from_str(&shown(&stub, &with(&["--format=json"]))).unwrap();
    let indices = 424..424 + 72_i64;
    assert_eq!(report["entries"], 72);
    let values =
        |currency: i64| indices.clone().filter(move |index| index % 4 == 0 && index / 4 % 2 == currency);
    let of = |currency: &str| {
        let rows = report["values"].as_array().unwrap();
        rows.iter().find(|row| row["currency"] == currency).unwrap().clone()
    };
    for (number, currency) in [(0, "USD"), (1, "EUR")] {
        assert_eq!(of(currency)["sum"], values(number).map(|index| 1000 + index).sum::<i64>());
        assert_eq!(of(currency)["entries"], values(number).count());
    }
    assert_eq!(report["days"].as_array().unwrap().len(), 3);
    // 600 rows, of which the first 300 are skipped and the last are not read.
    assert!(report["read"]["rows"].as_u64().unwrap() < 350, "{}", report["read"]);
}

#[test]
fn filters_reach_the_api() {
    let stub = stub();
    let args = with(&["--format=json", "--product=3350", "--key=KEY-01"]);
    let report: Value = serde_json::from_str(&shown(&stub, &args)).unwrap();
    assert_eq!(report["entries"], (424..496).filter(|index| index % 15 == 6).count());
}

#[test]
fn an_empty_window_is_a_sentence_and_an_error_is_none() {
    let stub = stub();
    let page = shown(&stub, &["report", "events", "--from=2027-01-01", "--to=2027-01-02"]);
    assert!(page.contains("The log holds no event in this time"), "{page}");
    let stub = Stub::start(Logs {
        faults: vec![(2, Fault::new(FaultKind::UnableToAuthenticate).value(401))],
        events: stub.logs.events.clone(),
        ..Logs::default()
    });
    assert!(failure(&stub, &DAYS, 1).contains("GetEvents: the api refused the token"));
}

/// A minute between events, the first of them three days before the window; `time` moves single
/// ones.
fn minutes(time: impl Fn(i64, i64) -> i64) -> Stub {
    let row = |index: i64| {
        let registered = MONDAY + (index - 2 * 1440) * 60;
        json!({"id": 1000 + index * 3, "eventName": "start", "time": time(index, registered)})
    };
    Stub::start(Logs { events: (0..6 * 1440).map(row).collect(), ..Logs::default() })
}

/// Asserts that report and export have each event whose time is in the window, by the times that
/// the log holds.
fn assert_complete(stub: &Stub) {
    let from = MONDAY + 86_400;
    let wanted = |row: &&Value| (from..from + 3 * 86_400).contains(&row["time"].as_i64().unwrap());
    let expected: Vec<&Value> = stub.logs.events.iter().filter(wanted).map(|row| &row["id"]).collect();
    let report: Value = serde_json::from_str(&shown(stub, &with(&["--format=json"]))).unwrap();
    assert_eq!(report["entries"], expected.len());
    let exported = shown(stub, &[&["export"], &DAYS[1..]].concat());
    let rows: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), expected);
}

#[test]
fn a_batch_of_300_old_events_leaves_no_event_of_the_window_out() {
    for begins in [2_800, 4_250, 4_400, 6_000] {
        let batch = begins..begins + 300;
        let late = |index, time| if batch.contains(&index) { time - 20 * 86_400 } else { time };
        assert_complete(&minutes(late));
    }
}

#[test]
fn a_batch_of_250_events_that_are_nine_hours_ahead_leaves_no_event_of_the_window_out() {
    for begins in [2_600, 4_250, 5_000, 8_100] {
        let batch = begins..begins + 250;
        let ahead = |index, time| if batch.contains(&index) { time + 9 * 3_600 } else { time };
        assert_complete(&minutes(ahead));
    }
}

#[test]
fn every_tenth_event_that_is_days_late_is_in_its_window() {
    let late = |index: i64, time| if index % 10 == 0 { time - 2 * 86_400 } else { time };
    assert_complete(&minutes(late));
}
