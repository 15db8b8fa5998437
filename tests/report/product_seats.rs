//! `audit seats` for all keys of a product: a Tuesday of four licenses.

use cryptolens_simulator::{LicenseTerms, Method};
use serde_json::{Value, json};

use super::incident::{block, item, run_steps};
use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, command, failure, run, shown};

const HOUR: i64 = 3600;
const TUESDAY: i64 = MONDAY + 24 * HOUR;
const DAY: [&str; 4] = ["audit", "seats", "--product=3349", "--day=2026-01-06"];

/// Keys with their seats and companies. The last three have no row of a floating license.
const LICENSES: [(&str, u32, &str); 7] = [
    ("CNARY-CROWD-FULLX", 2, "Kestrel Architects"),
    ("CNARY-ROOMY-EMPTY", 6, "Solvang Metal"),
    ("CNARY-STRAN-ODDLY", 5, "Ostra Design Studio"),
    ("CNARY-STEAD-HALFX", 4, "Marlow Werke"),
    ("CNARY-SILEN-QUIET", 10, "Halden Structures"),
    ("CNARY-BLOCK-QUIET", 20, "Calder Civil"),
    ("CNARY-EXPIR-QUIET", 30, "Vantage Shipyards"),
];

/// `(seconds from Tuesday, key, state, machine, lease)`
const HISTORY: [(i64, usize, i64, &str, i64); 22] = [
    // Holds a seat from the day before, by a lease of thirty hours.
    (-20 * HOUR, 0, 2014, "desk", 30 * HOUR),
    (9 * HOUR, 0, 2014, "laptop", 2 * HOUR),
    (9 * HOUR + 600, 0, 2024, "phone", 0),
    (9 * HOUR + 630, 0, 2024, "phone", 0),
    (9 * HOUR + 660, 0, 2024, "tablet", 0),
    (9 * HOUR + 700, 0, 2024, "phone", 0),
    (9 * HOUR + 900, 0, 6011, "laptop", 0),
    (9 * HOUR + 960, 0, 2014, "floating:PHONE", 2 * HOUR),
    (12 * HOUR, 0, 2024, "tablet", 0),
    (12 * HOUR + 30, 0, 2014, "tablet", HOUR),
    (8 * HOUR, 1, 2014, "one", 4 * HOUR),
    (10 * HOUR, 1, 2014, "one", 4 * HOUR),
    (8 * HOUR, 2, 2014, "two", HOUR),
    (8 * HOUR + 60, 2, 2024, "three", 0),
    (8 * HOUR + 120, 2, 2014, "three", HOUR),
    (7 * HOUR, 3, 2014, "four", 3 * HOUR),
    (7 * HOUR + 1, 3, 2014, "five", 3 * HOUR),
    (7 * HOUR + 2, 3, 2014, "six", 3 * HOUR),
    (8 * HOUR, 3, 2014, "", 3 * HOUR),
    (8 * HOUR + 1, 3, 2014, "seven", 0),
    // The next day.
    (26 * HOUR, 0, 2024, "phone", 0),
    // Bound to a machine.
    (8 * HOUR, 4, 2010, "bound", 0),
];

fn logs() -> Logs {
    let row = |(id, (after, key, state, machine, lease)): (i64, (i64, usize, i64, &str, i64))| {
        let time = TUESDAY + after;
        json!({
            "id": id, "productId": 3349, "key": LICENSES[key].0, "time": time, "state": state,
            "machineCode": if machine.is_empty() { Value::Null } else { format!("canary-{machine}").into() },
            "friendlyName": "CANARY@example.com", "ip": "198.18.1.0",
            "floatingExpires": if lease == 0 { 0 } else { time + lease },
        })
    };
    let mut history = HISTORY;
    history.sort_by_key(|(after, ..)| *after);
    let history = history.map(|(after, key, state, machine, lease)| {
        // The prefix stands before the whole code.
        let machine = machine.strip_prefix("floating:").unwrap_or(machine);
        (after, key, state, machine, lease)
    });
    let details = (0_i64..).zip(LICENSES).map(|(number, (key, seats, company))| {
        let license = LicenseTerms {
            seats,
            customer: Some((479 + number, company.to_owned())),
            blocked: key.contains("BLOCK"),
            expires: key.contains("EXPIR").then_some(MONDAY - HOUR),
            ..LicenseTerms::default()
        };
        (3349, key.to_owned(), license)
    });
    Logs { requests: (100..).zip(history).map(row).collect(), details: details.collect(), ..Logs::default() }
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    DAY.into_iter().chain(more.iter().copied()).collect()
}

fn audit(stub: &Stub, more: &[&str]) -> Value {
    serde_json::from_str(&shown(stub, &with(&[&["--format=json"], more].concat()))).unwrap()
}

#[test]
fn every_format_shows_the_day_and_the_same_bytes_each_time() {
    let stub = Stub::start(logs());
    assert_golden_formats(&stub, "product-seats", &with(&["--identities=customers"]));
}

#[test]
fn the_day_is_shown_as_it_was() {
    let stub = Stub::start(logs());
    let audit = audit(&stub, &["--identities=customers"]);
    assert_eq!(
        (&audit["schema"], &audit["schema_version"]),
        (&json!("cryptolens-exporter/audit/seats"), &json!(2))
    );
    assert_eq!(
        audit["headline"],
        "2 of 4 Meridian CAD customers were refused a seat on 6 January 2026, 4 times"
    );
    let figure = |id: &str| item(&audit, "figures", id)["value"].clone();
    // 2 + 6 + 5 + 4 seats; at eight: desk, one, two, three, four, five, six.
    assert_eq!((figure("seats"), figure("peak")), (json!(17), json!(7)));
    assert_eq!((figure("keys_at_limit"), figure("refusals")), (json!(1), json!(4)));
    assert_eq!(figure("keys_refused"), 2);
    // Waits of 360 s (phone), 30 s (tablet), 60 s (three).
    assert_eq!(figure("wait"), 60);
    let rows = block(&audit, "keys")["rows"].as_array().unwrap();
    let crowded = &rows[0];
    assert_eq!((&crowded["customer"], &crowded["key"]), (&json!("Kestrel Architects"), &json!("…-FULLX")));
    // Desk and laptop for 15 minutes; desk and phone until the lease of the desk ends at ten.
    assert_eq!(crowded["at_limit"], 900 + HOUR - 960);
    assert_eq!(
        (&crowded["seats"], &crowded["most"], &crowded["refused"], &crowded["machines"], &crowded["wait"]),
        (&json!(2), &json!(2), &json!(3), &json!(2), &json!(30))
    );
    assert_eq!((&rows[1]["customer"], &rows[1]["refused"]), (&json!("Ostra Design Studio"), &json!(1)));
    let strip: Vec<u64> =
        crowded["over_time"].as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).collect();
    assert_eq!(strip[8..14], [1, 4, 1, 1, 4, 1]);
    let text = |id: &str| item(&audit, "findings", id)["text"].as_str().unwrap().to_owned();
    assert_eq!(
        text("too_few"),
        "Kestrel Architects and Ostra Design Studio had all 4 refusals, in 2 hours and 1 hour. With one more seat each, 3 of \
         them would not have happened."
    );
    assert_eq!(
        text("not_explained"),
        "2 customers (Kestrel Architects, Ostra Design Studio) were refused a seat twice while this history shows free seats. Their \
         limit may have been lower then, or another rule refused them."
    );
    assert!(item(&audit, "findings", "unused").is_null(), "a day says nothing of the other days of a week");
    let week = ["audit", "seats", "--product=3349", "--from=2026-01-06", "--to=2026-01-13", "--format=json"];
    let week: Value = serde_json::from_str(&shown(&stub, &week)).unwrap();
    assert_eq!(
        item(&week, "findings", "unused")["text"],
        "2 customers never used more than half of their seats; 8 seats of theirs were never in use. 1 further key with 10 seats \
         sent no request for a floating seat: bound to machines, or not used at all."
    );
    let chart = block(&audit, "seats_over_time");
    let marks = chart["marks"].as_array().unwrap();
    assert_eq!((marks.len(), &marks[0]["time"]), (3, &json!("2026-01-06T09:10:00Z")));
    assert_eq!(chart["limit"]["value"], 2.0);
    let values = chart["stack"][0]["values"].as_array().unwrap();
    assert_eq!(values.iter().filter_map(Value::as_u64).max(), Some(2));
    assert_eq!(audit["read"]["skipped"]["without_machine"], 1);
    assert_eq!(audit["read"]["skipped"]["leases_without_end"], 1);
}

/// A key has the same numbers in the audit of its product, in one of its own, and in version 1.
#[test]
fn one_key_has_the_numbers_that_it_has_among_all() {
    let stub = Stub::start(logs());
    let all = audit(&stub, &[]);
    let pseudonym = block(&all, "keys")["rows"][0]["key"].as_str().unwrap().to_owned();
    for name in [LICENSES[0].0, "FULLX", &pseudonym] {
        let one = audit(&stub, &["--key", name]);
        assert_eq!(one["scope"]["key"], pseudonym, "{name}");
        assert_eq!(one["headline"], "Customer 479 was refused a seat 3 times on 6 January 2026");
        let (of_one, of_all) = (&block(&one, "keys")["rows"][0], &block(&all, "keys")["rows"][0]);
        assert_eq!(of_one, of_all, "{name}");
        assert!(!one["command"].as_str().unwrap().contains("FULLX"), "a key is not repeated");
    }
    let version_1 = ["audit", "seats", "--product=3349", "--key", LICENSES[0].0, "--from=2026-01-06"];
    let version_1 = [&version_1[..], &["--to=2026-01-07", "--format=json"]].concat();
    let version_1: Value = serde_json::from_str(&shown(&stub, &version_1)).unwrap();
    let row = &block(&all, "keys")["rows"][0];
    assert_eq!(version_1["schema_version"], 1);
    assert_eq!(
        (&version_1["used"]["most"], &version_1["seconds_at_limit"]),
        (&row["most"], &row["at_limit"])
    );
}

#[test]
fn nobody_is_named_below_the_level_that_names_them() {
    let stub = Stub::start(logs());
    for format in ["text", "html", "markdown", "json", "csv"] {
        for (level, companies) in [("masked", false), ("customers", true)] {
            let shown = shown(&stub, &with(&["--format", format, "--identities", level]));
            for secret in ["CNARY-", "canary", "CANARY", "198.18."] {
                assert!(!shown.contains(secret), "{secret} in {format}, {level}");
            }
            assert_eq!(shown.contains("Kestrel Architects"), companies, "{format}, {level}");
        }
        let arguments = with(&["--format", format, "--identities=full"]);
        let output = command(&stub, &arguments).env("COLUMNS", "200").output().unwrap();
        let full = String::from_utf8(output.stdout).unwrap();
        assert!(full.contains(LICENSES[0].0) && full.contains("Kestrel Architects"), "{format}");
    }
}

#[test]
fn a_token_that_may_not_look_up_gets_an_audit_that_says_so() {
    let denied = vec![Method::GetProducts, Method::GetKeys, Method::GetKey, Method::GetCustomers];
    let stub = Stub::start(Logs { denied, ..logs() });
    let of = audit(&stub, &["--identities=customers"]);
    let figure = |id: &str| item(&of, "figures", id)["value"].clone();
    assert_eq!((figure("seats"), figure("keys_at_limit")), (Value::Null, Value::Null));
    assert_eq!((figure("peak"), figure("refusals")), (json!(7), json!(4)), "the log says so");
    assert!(block(&of, "keys")["note"].as_str().unwrap().contains("may not call GetKey, GetKeys"), "{of}");
    // With GetKey alone, each key is asked for.
    let stub = Stub::start(Logs { denied: vec![Method::GetKeys], ..logs() });
    assert_eq!(item(&audit(&stub, &[]), "figures", "seats")["value"], 17);
}

#[test]
fn exit_codes_and_steps_are_those_of_documents() {
    let stub = Stub::start(logs());
    let output = run(&stub, &with(&["--fail-on=refusals"]));
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--fail-on=refusals: 2 of 4 Meridian CAD customers were refused"), "{stderr}");
    let quiet = ["audit", "seats", "--product=3349", "--day=2026-01-10", "--fail-on=refusals"];
    let text = shown(&stub, &quiet);
    assert!(
        text.starts_with("✓ No request for a floating seat of Meridian CAD on 10 January 2026"),
        "{text}"
    );
    for more in [&["--identities=full"][..], &["--timezone=Africa/Abidjan"]] {
        assert_eq!(run_steps(&stub, &audit(&stub, more)), 2, "{more:?}");
    }
    let listed = shown(&stub, &with(&["--format=csv", "--table=list"]));
    assert_eq!(listed, "figures\nkeys\nseats_over_time\n");
}

#[test]
fn bad_usage_is_a_clear_sentence_and_exit_code_2() {
    let stub = Stub::start(logs());
    let product = ["audit", "seats", "--product=3349"];
    for (more, expected) in [
        (&["--month=2999-01"][..], "--month: January 2999 is in the future"),
        (&["--month=2026-01", "--hours=5"], "both say where audit begins"),
        (
            &["--month=2026-01", "--max-machines=5"],
            "--max-machines has no meaning for audit seats of a product",
        ),
        (&["--max-machines=5"], "--max-machines has no meaning for audit seats of a product"),
        (&["--month=2026-01", "--key=NOONE"], "--key: the log of this time has no such key"),
        (&["--month=2026-01", "--key=QUIET"], "--key: 3 keys end like this: key-"),
        (&["--month=2026-01", "--fail-on=incident"], "--fail-on=incident has no meaning for audit seats"),
        (&["--key=CNARY-CROWD-FULLX", "--table=keys"], "--table has no meaning for audit seats of one key"),
        (
            &["--key=CNARY-CROWD-FULLX", "--fail-on=refusals"],
            "--fail-on has no meaning for audit seats of one key",
        ),
        (&["--month=2026-01", "--format=svg"], "--format=svg has no meaning"),
    ] {
        let message = failure(&stub, &[&product[..], more].concat(), 2);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    let message = failure(&stub, &["audit", "seats", "--product=99", "--month=2026-01"], 2);
    assert!(
        message.contains("--product: 99 is known neither to the log of this time nor to GetProducts"),
        "{message}"
    );
    // A key that the API knows and the log of this time does not.
    let quiet = shown(&stub, &["audit", "seats", "--product=3349", "--day=2026-01-10", "--key=EMPTY"]);
    assert!(quiet.contains("was never refused a seat on 10 January 2026"), "{quiet}");
}
