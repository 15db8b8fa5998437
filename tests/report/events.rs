//! `report events`.

use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden, shown, told};

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
    let stub = stub();
    for format in ["text", "json", "csv", "html"] {
        let extension = if format == "text" { "txt" } else { format };
        assert_golden(&format!("events.{extension}"), &shown(&stub, &with(&["--format", format])));
    }
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
    assert!(page.contains("The log holds no event in this time."), "{page}");
    let stub = Stub::start(Logs {
        faults: [(2, (401, ""))].into(),
        events: stub.logs.events.clone(),
        ..Logs::default()
    });
    assert!(told(&stub, &DAYS, 1).contains("GetEvents: the api refused the token"));
}
