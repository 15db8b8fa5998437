//! `report changes`: three weeks in which three users change products and license keys.

use serde_json::{Value, json};

use super::incident::{block, item};
use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden, command, failure, in_one_line, run, shown};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const JANUARY: [&str; 4] = ["report", "changes", "--from=2026-01-01", "--to=2026-01-22"];

/// Every seven hours a change; the users, kinds and actions take turns. Texts name somebody.
fn objects() -> Vec<Value> {
    let users = ["22", "23", "CANARY-person@example.com"];
    let row = |number: i64| {
        let user = users[usize::try_from(number % 3).unwrap()];
        json!({
            "id": 100 + number, "created": MONDAY - 2 * DAY + number * 7 * HOUR, "resourceType": 3 + number % 3,
            "resourceAction": 1 + number % 3, "affectedObjectId": 3349 + number, "objectOwnerUserId": 18,
            "performedByUserId": user,
            "data": r#"{"Notes":["","canary-person"],"MaxNoOfMachines":[4,5]}"#,
        })
    };
    (0..50).map(row).collect()
}

fn stub() -> Stub {
    Stub::start(Logs { objects: objects(), ..Logs::default() })
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    JANUARY.into_iter().chain(more.iter().copied()).collect()
}

fn report(stub: &Stub, more: &[&str]) -> Value {
    serde_json::from_str(&shown(stub, &with(&[&["--format=json"], more].concat()))).unwrap()
}

/// The rows of the table of changes.
fn changes(report: &Value) -> &Vec<Value> {
    block(report, "changes")["rows"].as_array().unwrap()
}

#[test]
fn every_format_shows_the_changes_and_the_same_bytes_each_time() {
    let stub = stub();
    for (format, file) in [("text", "changes.txt"), ("markdown", "changes.md"), ("html", ""), ("csv", "")] {
        let arguments = with(&["--top=5", "--format", format]);
        let first = shown(&stub, &arguments);
        assert_eq!(first, shown(&stub, &arguments), "{format}");
        if !file.is_empty() {
            assert_golden(file, &first);
        }
    }
}

#[test]
fn the_numbers_are_those_of_the_log() {
    let report = report(&stub(), &[]);
    let rows = objects();
    assert_eq!(
        report["headline"],
        "50 changes by 3 users from 3 to 21 January 2026; the latest at 17 Jan 07:00 UTC"
    );
    assert_eq!(
        (&report["level"], &report["read"]["rows"]),
        (&json!("notice"), &json!(50)),
        "it begins later"
    );
    let newest_first: Vec<&Value> = changes(&report).iter().map(|row| &row["row_id"]).collect();
    assert_eq!(newest_first, rows.iter().rev().map(|row| &row["id"]).collect::<Vec<_>>());
    for (id, code) in [("added", 1), ("updated", 2), ("deleted", 3)] {
        let expected = rows.iter().filter(|row| row["resourceAction"] == code).count();
        assert_eq!(item(&report, "figures", id)["value"], expected, "{id}");
        for table in ["users", "resources"] {
            let rows = block(&report, table)["rows"].as_array().unwrap();
            let sum: u64 = rows.iter().map(|row| row[id].as_u64().unwrap()).sum();
            assert_eq!(sum, u64::try_from(expected).unwrap(), "{id} of {table}");
        }
        let stack = block(&report, "over_time")["stack"].as_array().unwrap();
        let series = stack.iter().find(|series| series["id"] == id).unwrap();
        let sum: u64 = series["values"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
        assert_eq!(sum, u64::try_from(expected).unwrap(), "{id} of the chart");
    }
    let oldest = changes(&report)[49]["changes"].as_str().unwrap();
    assert!(oldest.starts_with("MaxNoOfMachines 4 \u{2192} 5, Notes \"\" \u{2192} text-"), "{oldest}");
}

#[test]
fn what_narrows_the_report_is_said() {
    let stub = stub();
    let of = |more: &[&str]| {
        let report = report(&stub, more);
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        (changes(&report).len(), text("headline"), text("lead"))
    };
    let (rows, headline, lead) = of(&["--user=22"]);
    let expected = "17 changes by user 22 from 3 to 21 January 2026; the latest at 17 Jan 00:00 UTC";
    assert_eq!((rows, headline.as_str()), (17, expected));
    assert!(lead.starts_with("50 changes in all."), "{lead}");
    let (rows, headline, _) = of(&["--resource=product"]);
    let expected =
        "16 changes of product objects by 1 user from 3 to 21 January 2026; the latest at 16 Jan 17:00 UTC";
    assert_eq!((rows, headline.as_str()), (16, expected));
    let (rows, headline, lead) = of(&["--user=99", "--resource=license_key"]);
    let expected = "No change of license key objects by user 99 from 3 to 21 January 2026";
    assert_eq!((rows, headline.as_str()), (0, expected));
    assert!(lead.starts_with("50 changes in all."), "others were made: {lead}");
    let empty = ["report", "changes", "--from=2026-01-20", "--to=2026-01-21"];
    assert!(shown(&stub, &empty).starts_with("✓ Nothing was changed on 20 January 2026"));
    let before = ["report", "changes", "--from=2025-01-01", "--to=2025-01-02"];
    let before = in_one_line(&shown(&stub, &before));
    let expected = "! Nothing is known of changes on 1 January 2025: the log begins at 3 Jan 2026 00:00";
    assert!(before.starts_with(expected), "{before}");
    assert!(
        before.contains("The log does not reach back to this time: it begins at 3 Jan 2026 00:00."),
        "{before}"
    );
    // A value that is no number of a user has a pseudonym, which is enough to see who it was.
    let (_, headline, _) = of(&["--user=CANARY-person@example.com"]);
    assert!(headline.starts_with("16 changes by user-"), "{headline}");
}

#[test]
fn columns_are_local_days_then_months() {
    let columns = |more: &[&str]| -> Vec<Value> {
        let arguments =
            [&["report", "changes", "--format=json", "--timezone=Europe/Stockholm"], more].concat();
        let report: Value = serde_json::from_str(&shown(&stub(), &arguments)).unwrap();
        block(&report, "over_time")["x"].as_array().unwrap().clone()
    };
    let days = columns(&["--from=2026-01-05T13:00", "--to=2026-01-09"]);
    assert_eq!(days[..2], [json!("2026-01-05T13:00:00+01:00"), json!("2026-01-06T00:00:00+01:00")]);
    assert_eq!(days.len(), 4);
    let months = columns(&["--from=2025-10-01", "--to=2026-02-01"]);
    assert_eq!(months.len(), 4);
    // Clocks were set back in October.
    assert_eq!(months[..2], [json!("2025-10-01T00:00:00+02:00"), json!("2025-11-01T00:00:00+01:00")]);
    assert!(columns(&["--from=1900-01-01", "--to=2026-01-01"]).len() <= 744);
}

#[test]
fn nobody_is_named_unless_everybody_is() {
    let stub = stub();
    for format in ["text", "html", "markdown", "json", "csv"] {
        let table: &[&str] = if format == "csv" { &["--table=changes"] } else { &[] };
        for level in ["masked", "customers"] {
            let shown = shown(&stub, &with(&[&["--format", format, "--identities", level], table].concat()));
            assert!(!shown.contains("CANARY") && !shown.contains("canary"), "{format}, {level}");
        }
        let arguments = with(&[&["--format", format, "--identities=full"], table].concat());
        // Wide enough for every word.
        let output = command(&stub, &arguments).env("COLUMNS", "250").output().unwrap();
        let full = String::from_utf8(output.stdout).unwrap();
        assert!(full.contains("canary-person") && full.contains("CANARY-person"), "{format}");
    }
}

#[test]
fn bad_usage_is_a_clear_sentence_and_exit_code_2() {
    let stub = stub();
    for (more, expected) in [
        (&["--resource=house"][..], "--resource"),
        (&["--format=svg"], "--format=svg has no meaning for this report"),
        (&["--timezone=Mars/Olympus"], "--timezone"),
        (
            &["--format=csv", "--table=nothing"],
            "expected list or one of figures, changes, over_time, users, resources",
        ),
    ] {
        let message = failure(&stub, &with(more), 2);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    let denied = vec![cryptolens_simulator::Method::GetObjectLog];
    let output = run(&Stub::start(Logs { denied, ..Logs::default() }), &with(&[]));
    assert_eq!(output.status.code(), Some(1), "there is no report without the log");
}
