//! `audit seats`.

use cryptolens_simulator::{Fault, FaultKind, Method};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, assert_page_shows, failure, shown};

const DAY: [&str; 7] = [
    "audit",
    "seats",
    "--product=3349",
    "--key=KEY-01",
    "--from=2026-01-06",
    "--to=2026-01-07",
    "--identities=full",
];

/// A day of a license with two seats: `(seconds from Tuesday, state, machine, lease)`.
const HISTORY: [(i64, i64, Option<&str>, i64); 14] = [
    // Holds a seat from the day before, by a lease of ten hours.
    (-36_000 + 3_600, 2014, Some("desk"), 36_000),
    (7_200, 2014, Some("laptop"), 600),
    (7_500, 2014, Some("laptop"), 600),
    // The lease of the laptop ends at 8,100; it comes back later.
    (9_000, 2014, Some("laptop"), 3_600),
    (9_600, 2014, Some("tower"), 3_600),
    (9_700, 2024, Some("phone"), 0),
    (9_760, 2024, Some("phone"), 0),
    (9_900, 2015, Some("phone"), 600),
    (10_200, 2015, Some("phone"), 600),
    (10_500, 6011, Some("phone"), 0),
    (12_000, 6011, Some("laptop"), 0),
    (13_000, 2014, None, 600),
    (80_000, 2014, Some("desk"), 36_000),
    // Another license.
    (80_001, 2014, Some("other"), 36_000),
];

fn stub() -> Stub {
    let row = |(id, (after, state, machine, lease)): (i64, (i64, i64, Option<&str>, i64))| {
        let time = MONDAY + 86_400 + after;
        json!({
            "id": id,
            "productId": 3349,
            "key": if machine == Some("other") { "KEY-02" } else { "KEY-01" },
            "time": time,
            "state": state,
            "machineCode": machine,
            "friendlyName": machine.map(|machine| format!("<b>{machine}</b>")),
            "floatingExpires": if lease == 0 { 0 } else { time + lease },
        })
    };
    Stub::start(Logs {
        requests: (100..).zip(HISTORY).map(row).collect(),
        licenses: vec![(3349, "KEY-01", 2), (3349, "KEY-99", 2)],
        ..Logs::default()
    })
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    DAY.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn every_format_is_as_it_was() {
    assert_golden_formats(&stub(), "seats", &DAY);
}

#[test]
fn the_page_shows_every_number_that_it_has_shown() {
    let mut report: Value = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    // Heartbeats are for programs; the steps are drawn, and stand in the history.
    report["history"].as_array_mut().unwrap().retain(|line| line["action"] != "verification");
    let hidden: [(&str, &[&str]); 3] =
        [("", &["steps"]), ("read", &["longest_lease_seconds"]), ("history", &["expires"])];
    assert_page_shows(&report, &shown(&stub(), &with(&["--format=html"])), &hidden);
}

#[test]
fn the_day_is_shown_as_it_was() {
    let audit: Value = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    assert_eq!(audit["seats"], json!({"limit": 2, "source": "GetKey"}));
    // The desk until 3,600; laptop, tower and phone meet between 9,900 and 10,500; the desk again
    // at the end.
    assert_eq!(audit["used"]["at_start"], 1);
    assert_eq!(audit["used"]["most"], 3);
    assert_eq!(audit["used"]["most_since"], "2026-01-06T02:45:00Z");
    assert_eq!(audit["used"]["at_end"], 1);
    assert_eq!(audit["seconds_at_limit"], 12_000 - 9_600);
    assert_eq!(audit["seconds_over_limit"], 600);
    assert_eq!(
        audit["counts"],
        json!({"activations": 5, "verifications": 2, "deactivations": 2, "expiries": 3, "refusals": 2})
    );
    assert_eq!(audit["refused"], json!({"machines": 1, "with_free_seats": 0}));
    assert_eq!(audit["overdraft"], json!({"machines": 1, "heartbeats": 2, "most": 1}));
    assert_eq!(audit["not_counted"]["rows_without_machine"], 1);
    assert_eq!(audit["read"]["longest_lease_seconds"], 36_000);
}

#[test]
fn the_limit_may_be_given() {
    let stub = stub();
    let audit: Value =
        serde_json::from_str(&shown(&stub, &with(&["--format=json", "--max-machines=3"]))).unwrap();
    assert_eq!(audit["seats"], json!({"limit": 3, "source": "--max-machines"}));
    assert_eq!((&audit["seconds_over_limit"], &audit["refused"]["with_free_seats"]), (&json!(0), &json!(2)));
    assert!(stub.asked().iter().all(|request| request.method != Method::GetKey));
    let audit: Value =
        serde_json::from_str(&shown(&stub, &with(&["--format=json", "--max-machines=0"]))).unwrap();
    assert_eq!((&audit["seats"]["limit"], &audit["seconds_at_limit"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_license_without_history_is_a_sentence() {
    let args = ["audit", "seats", "--product=3349", "--key=KEY-99", "--hours=1"];
    assert!(shown(&stub(), &args).contains("The log holds nothing about seats of this license in this time"));
}

#[test]
fn nobody_is_named_unless_asked_for() {
    for format in ["text", "json", "csv", "html"] {
        let named = DAY.into_iter().filter(|arg| *arg != "--identities=full");
        let args: Vec<&str> = named.chain(["--format", format]).collect();
        let page = shown(&stub(), &args);
        for secret in ["KEY-", "laptop", "desk"] {
            assert!(!page.contains(secret), "{format}: {secret} in {page}");
        }
    }
}

#[test]
fn the_license_key_may_come_from_a_file_or_standard_input() {
    use std::io::Write as _;
    let stub = stub();
    let file = tempfile::NamedTempFile::new().unwrap();
    let expected = shown(&stub, &DAY);
    let named = |path: &str| -> Vec<String> {
        let flag = format!("--license-key-file={path}");
        DAY.iter().map(|arg| if *arg == "--key=KEY-01" { flag.clone() } else { (*arg).to_owned() }).collect()
    };
    let by_file = named(file.path().to_str().unwrap());
    let by_file: Vec<&str> = by_file.iter().map(String::as_str).collect();
    for content in ["KEY-01", "\u{feff}KEY-01\r\n", " KEY-01 \n\n"] {
        std::fs::write(file.path(), content).unwrap();
        assert_eq!(shown(&stub, &by_file), expected);
    }
    for content in ["", "\n", "KEY-01\nKEY-02\n"] {
        std::fs::write(file.path(), content).unwrap();
        let error = failure(&stub, &by_file, 2);
        assert!(error.contains("license key") && !error.contains("KEY-0"), "{error}");
    }
    let by_stdin = named("-");
    let by_stdin: Vec<&str> = by_stdin.iter().map(String::as_str).collect();
    let mut command = super::command(&stub, &by_stdin);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"KEY-01\n").unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), expected);
    failure(&stub, &[&by_file[..], &["--key=KEY-01"]].concat(), 2);
    // Without any key it is the audit of the whole product, which has another form.
    let without: Vec<&str> = DAY.into_iter().filter(|arg| !arg.starts_with("--key")).collect();
    let audit: Value =
        serde_json::from_str(&shown(&stub, &[&without[..], &["--format=json"]].concat())).unwrap();
    assert_eq!(audit["schema_version"], 2);
}

#[test]
fn a_token_that_may_not_ask_for_the_key_is_reported() {
    let faults = vec![(1, Fault::new(FaultKind::AccessDenied).value(403))];
    let stub = Stub::start(Logs { faults, ..Logs::default() });
    assert!(failure(&stub, &DAY, 1).starts_with("error: GetKey: the token lacks the permission"));
}
