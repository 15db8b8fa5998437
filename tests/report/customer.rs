//! `report customer`: what one of the customers sees on the morning of `incident`.

use cryptolens_simulator::LicenseTerms;
use serde_json::{Value, json};

use super::incident::{ONSET, block, item, key, logs, requests};
use super::stub::{Logs, Stub};
use super::{failure, in_one_line, run, shown};

const MORNING: [&str; 2] = ["--from=2026-01-05T08:00", "--to=2026-01-05T10:00"];

fn with<'a>(key: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["report", "customer", key].into_iter().chain(MORNING).chain(more.iter().copied()).collect()
}

fn report(stub: &Stub, key: &str, more: &[&str]) -> Value {
    serde_json::from_str(&shown(stub, &with(key, &[&["--format=json"], more].concat()))).unwrap()
}

#[test]
fn a_customer_who_is_locked_out_is_shown_as_one() {
    let stub = Stub::start(logs());
    let report = report(&stub, "HCGXC", &[]);
    let rows = requests();
    let of_key = |row: &&Value| row["key"] == key(0) && row["productId"] == 3349;
    let since = rows.iter().filter(of_key).filter(|row| row["time"].as_i64().unwrap() >= ONSET).count();
    let last = rows.iter().filter(of_key).rfind(|row| row["state"] == 2014).unwrap();
    assert_eq!(report["level"], "notice", "the time is over");
    let headline = report["headline"].as_str().unwrap();
    assert!(headline.starts_with("Customer 479 (key-"), "{headline}");
    let expected = format!(
        ") was locked out of Meridian CAD at the end of this time (5 Jan 10:00): {since} failures since the last success, 5 Jan \
         09:03 UTC"
    );
    assert!(headline.ends_with(&expected), "{headline}");
    assert_eq!(item(&report, "findings", "last")["label"], "At the end");
    assert_eq!(item(&report, "figures", "failed_since")["value"], since);
    let now = item(&report, "findings", "last")["text"].as_str().unwrap();
    assert!(now.contains(&format!("row {}", last["id"])), "{now}");
    let license = item(&report, "findings", "license")["text"].as_str().unwrap();
    assert_eq!(license, "Expired on 6 December 2025. 5 seats, used as a floating license, by GetKeys.");
    let states = block(&report, "states")["rows"].as_array().unwrap();
    assert_eq!(states[0]["state"], 2020, "failures first");
}

/// The same morning, if it were now.
#[test]
fn a_customer_who_is_locked_out_now_is_a_problem() {
    let later = chrono::Utc::now().timestamp() - (ONSET + 3000);
    let mut rows = requests();
    rows.iter_mut().for_each(|row| row["time"] = (row["time"].as_i64().unwrap() + later).into());
    let stub = Stub::start(Logs { requests: rows, ..logs() });
    let arguments = ["report", "customer", "HCGXC", "--since=2h", "--format=json"];
    let report: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
    assert_eq!((&report["level"], &report["period"]["complete"]), (&json!("problem"), &json!(false)));
    let headline = report["headline"].as_str().unwrap();
    assert!(headline.contains(") is locked out of Meridian CAD: "), "{headline}");
    assert_eq!(item(&report, "findings", "last")["label"], "Now");
}

/// Who gets through at the end was locked out before all the same.
#[test]
fn a_lockout_that_ended_is_told() {
    let mut rows = requests();
    let is_later = |row: &Value| row["key"] == key(0) && row["time"].as_i64().unwrap() >= ONSET + 1800;
    rows.iter_mut().filter(|row| is_later(row)).for_each(|row| row["state"] = 2014.into());
    let report = report(&Stub::start(Logs { requests: rows, ..logs() }), "HCGXC", &[]);
    assert_eq!(report["level"], "notice");
    let lockout = item(&report, "findings", "locked_out");
    assert_eq!(
        lockout["text"],
        "8 failures without a success from 5 Jan 09:07 to 5 Jan 09:35, for 28 min; the next success came at 5 Jan 09:39."
    );
    assert_eq!((&lockout["failed"], &lockout["from"]), (&json!(8), &json!("2026-01-05T09:07:15Z")));
}

#[test]
fn a_customer_who_gets_through_is_no_problem() {
    let stub = Stub::start(logs());
    let report = report(&stub, &key(9), &[]);
    assert!(report["level"] != "problem", "{report}");
    assert!(
        report["headline"].as_str().unwrap().contains("got through to Meridian CAD at 5 Jan 09:5"),
        "{report}"
    );
}

#[test]
fn nobody_is_named_below_the_level_that_names_them() {
    let stub = Stub::start(logs());
    for format in ["text", "html", "markdown", "json", "csv"] {
        for (level, company) in [("masked", false), ("customers", true)] {
            // The first table of CSV names nobody.
            let table: &[&str] = if format == "csv" { &["--table=machines"] } else { &[] };
            let more = [&["--format", format, "--identities", level], table].concat();
            let shown = shown(&stub, &with("HCGXC", &more));
            for secret in ["CANARY-", "CNARY-", "canary", "198.18."] {
                assert!(!shown.contains(secret), "{secret} in {format}, {level}");
            }
            assert_eq!(shown.contains("Vantage Shipyards"), company && format != "csv", "{format}, {level}");
            assert!(shown.contains("machine-"), "{format}, {level}: machines are pseudonyms");
        }
        let table: &[&str] = if format == "csv" { &["--table=machines"] } else { &[] };
        let more = [&["--format", format, "--identities=full", "--top=5"], table].concat();
        assert!(shown(&stub, &with("HCGXC", &more)).contains("canary-machine-0"), "{format}");
    }
}

#[test]
fn keys_that_are_not_there_or_not_clear_are_bad_usage() {
    let stub = Stub::start(logs());
    let message = failure(&stub, &with("NOONE", &[]), 2);
    assert!(
        message.contains("KEY: the log of this time has no such key, and neither have GetKey and GetKeys"),
        "{message}"
    );
    let message = failure(&stub, &with("SAME5", &[]), 2);
    assert!(message.contains("KEY: 3 keys are called like this: key-"), "{message}");
    assert!(failure(&stub, &["report", "customer"], 2).contains("the customer report needs a KEY"));
    assert!(
        failure(&stub, &["report", "incident", "HCGXC"], 2)
            .contains("a KEY has no meaning for the incident report")
    );
    // A key that the API knows and the log of this time does not.
    let quiet = Stub::start(Logs { requests: Vec::new(), ..logs() });
    for name in [&key(0), "HCGXC"] {
        for more in [&["--product=3349"][..], &[]] {
            let text = shown(&quiet, &with(name, more));
            let text = in_one_line(&text);
            let expected = "sent no request for Meridian CAD on 5 Jan 2026, 08:00 to 10:00";
            assert!(text.contains(expected), "{text}");
        }
    }
    assert!(failure(&quiet, &with("SAME5", &[]), 2).contains("KEY: 2 keys are called like this: key-"));
}

#[test]
fn a_token_that_may_not_look_up_gets_a_report_that_says_so() {
    use cryptolens_simulator::Method;
    let denied = vec![Method::GetProducts, Method::GetKeys, Method::GetKey, Method::GetObjectLog];
    let stub = Stub::start(Logs { denied, ..logs() });
    let output = run(&stub, &with("HCGXC", &[]));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("The token may not call"), "{text}");
}

/// As in the incident report.
#[test]
fn a_period_that_is_not_over_ends_now_and_one_in_the_future_is_bad_usage() {
    let stub = Stub::start(logs());
    let begin = chrono::Utc::now();
    for arguments in [&["report", "customer", "HCGXC"][..], &["report", "changes"]] {
        let not_over = [arguments, &["--from=2026-01-01", "--to=2999-01-01", "--format=json"]].concat();
        let report: Value = serde_json::from_str(&shown(&stub, &not_over)).unwrap();
        assert_eq!(report["period"]["complete"], false, "{arguments:?}");
        let to: chrono::DateTime<chrono::Utc> = report["period"]["to"].as_str().unwrap().parse().unwrap();
        assert!((begin.timestamp()..=chrono::Utc::now().timestamp()).contains(&to.timestamp()), "{to}");
        let future = [arguments, &["--from=2999-01-01", "--to=2999-01-02"]].concat();
        assert!(
            failure(&stub, &future, 2).contains("the time to report on is in the future"),
            "{arguments:?}"
        );
    }
}

/// State 2024 is in no ratio, and so in no number of failures either.
#[test]
fn who_finds_no_free_seat_is_not_said_to_fail() {
    let of_key = |row: &Value| row["key"] == key(0) && row["time"].as_i64().unwrap() >= ONSET;
    let mut rows: Vec<Value> = requests().into_iter().filter(of_key).collect();
    rows.iter_mut().for_each(|row| row["state"] = 2024.into());
    let count = rows.len();
    let report = report(&Stub::start(Logs { requests: rows, ..logs() }), "HCGXC", &[]);
    let headline = report["headline"].as_str().unwrap();
    // The log begins with the first of them.
    let expected = format!(
        "got no seat of Meridian CAD on 5 Jan 2026, 09:07 to 10:00: {count} requests found none free"
    );
    assert!(headline.ends_with(&expected), "{headline}");
    assert_eq!(report["level"], "notice");
    for (id, expected) in [("failed_since", 0), ("failed", 0), ("refusals", count)] {
        assert_eq!(item(&report, "figures", id)["value"], expected, "{id}");
    }
}

/// A product may have the number that a key has, and is another object.
#[test]
fn the_changes_of_the_license_are_those_of_no_other_object() {
    let change = |id: i64, resource: i64, field: &str| {
        json!({
            "id": id, "created": ONSET - 600, "resourceType": resource, "resourceAction": 2,
            "affectedObjectId": 77, "performedByUserId": "22", "data": format!(r#"{{"{field}":[1,2]}}"#),
        })
    };
    let license = LicenseTerms { seats: 5, global_id: Some(77), ..LicenseTerms::default() };
    let stub = Stub::start(Logs {
        objects: vec![change(1, 5, "Period"), change(2, 3, "F1"), change(3, 1, "F2")],
        details: vec![(3349, key(0), license)],
        ..logs()
    });
    let report = report(&stub, "HCGXC", &[]);
    let changes = block(&report, "changes")["rows"].as_array().unwrap();
    let of: Vec<_> = changes.iter().map(|row| (&row["resource"], &row["changes"])).collect();
    assert_eq!(of, [(&json!("license key"), &json!("F1 1 → 2"))]);
}
