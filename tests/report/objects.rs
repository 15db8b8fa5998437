//! `report objects`.

use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, assert_page_shows, in_one_line, shown};

const DAYS: [&str; 4] = ["report", "objects", "--from=2026-01-05", "--to=2026-01-08"];

fn stub() -> Stub {
    let row = |(id, after, kind, action, user, data): (i64, i64, i64, i64, Value, Value)| {
        json!({
            "id": id, "created": MONDAY + after, "resourceType": kind, "resourceAction": action,
            "affectedObjectId": 24_000 + id, "objectOwnerUserId": 18, "performedByUserId": user,
            "data": data,
        })
    };
    let customer = r#"{"Id":479,"Name":"Bob","Email":"bob@example.com"}"#;
    let changed = r#"{"Email":["bob@example.com","robert@example.com"],"Block":[false,true]}"#;
    let rows = [
        (1, -9_000_000, 1, 1, json!("18"), json!(customer)),
        (5, 60, 1, 1, json!("18"), json!(customer)),
        (6, 3_600, 1, 2, json!("22"), json!(changed)),
        (
            9,
            90_000,
            3,
            2,
            json!("18"),
            json!(r#"{"MaxNoOfMachines":[5,10],"Expires":["2026-01-01","2027-01-01"]}"#),
        ),
        (10, 95_000, 5, 3, json!("bob@example.com"), Value::Null),
        (12, 96_000, 17, 0, Value::Null, json!("not json")),
        (13, 9_000_000, 1, 3, json!("18"), Value::Null),
    ];
    Stub::start(Logs { objects: rows.into_iter().map(row).collect(), ..Logs::default() })
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    DAYS.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn every_format_is_as_it_was() {
    assert_golden_formats(&stub(), "objects", &DAYS);
}

#[test]
fn the_page_shows_every_number_that_it_has_shown() {
    let report = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    assert_page_shows(
        &report,
        &shown(&stub(), &with(&["--format=html"])),
        &[("trail", &["action_code", "resource_code"])],
    );
}

#[test]
fn the_trail_tells_who_changed_what() {
    let report: Value =
        serde_json::from_str(&shown(&stub(), &with(&["--format=json", "--identities=full"]))).unwrap();
    let trail = report["trail"].as_array().unwrap();
    let ids: Vec<i64> = trail.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [5, 6, 9, 10, 12]);
    assert_eq!((&trail[1]["user"], &trail[1]["action"]), (&json!("22"), &json!("updated")));
    assert_eq!(
        trail[1]["changes"][1],
        json!({"field": "Email", "old": "bob@example.com", "new": "robert@example.com"})
    );
    assert_eq!((&trail[4]["resource"], &trail[4]["resource_code"]), (&json!("unknown"), &json!(17)));
}

/// A row that the log has forgotten is not taken for one that did not happen.
#[test]
fn a_log_that_is_shorter_than_the_window_is_reported() {
    let ask = |from: &str| {
        let args = ["report", "objects", "--from", from, "--to=2026-01-08", "--format"];
        let json: Value = serde_json::from_str(&shown(&stub(), &[&args[..], &["json"]].concat())).unwrap();
        let text = in_one_line(&shown(&stub(), &[&args[..], &["text"]].concat()));
        let is_said = text.contains("There is nothing older than");
        (json["read"]["window_covered"].as_bool().unwrap(), is_said)
    };
    assert_eq!(ask("2026-01-05"), (true, false));
    assert_eq!(ask("2025-08-01"), (false, true));
}

#[test]
fn nobody_is_named_unless_asked_for() {
    for format in ["text", "json", "csv", "html"] {
        let page = shown(&stub(), &with(&["--format", format]));
        assert!(!page.contains("example.com") && !page.contains("Bob"), "{format}: {page}");
        assert!(page.contains("MaxNoOfMachines"), "{format}: {page}");
    }
}
