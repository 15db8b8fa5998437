//! `report incident`: a morning on which five expired licenses are locked out, because somebody
//! changed a product two minutes before.

use cryptolens_simulator::{LicenseTerms, Method, Options};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, command, failure, run, shown};

const HOUR: i64 = 3600;
const WEEK: i64 = 7 * 86_400;
/// Monday, 08:00 UTC: the two hours of the report begin.
const FROM: i64 = MONDAY + 8 * HOUR;
/// 09:07:15: the first failure.
pub(crate) const ONSET: i64 = FROM + 67 * 60 + 15;
/// Keys of Meridian CAD; the first five expired before.
const KEYS: usize = 17;
const HIT: usize = 5;

const MORNING: [&str; 4] = ["report", "incident", "--from=2026-01-05T08:00", "--to=2026-01-05T10:00"];

const GROUPS: [&str; KEYS] = [
    "HCGXC", "KYTFE", "TKLKP", "QKCII", "EOYAS", "AAAAB", "AAAAC", "AAAAD", "AAAAE", "AAAAF", "AAAAG",
    "AAAAH", "AAAAI", "AAAAJ", "AAAAK", "SAME5", "SAME5",
];
const COMPANIES: [&str; HIT] =
    ["Vantage Shipyards", "Ostra Design Studio", "Birch Interiors", "Marlow Werke", "Kestrel Architects"];

pub(crate) fn key(number: usize) -> String {
    format!("CNARY-K{number:04}-MIDDL-{}", GROUPS[number])
}

fn request(id: i64, time: i64, product: i64, key_number: usize, state: i64) -> Value {
    json!({
        "id": id, "productId": product, "key": key(key_number), "time": time, "state": state,
        "ip": format!("198.18.{key_number}.0"), "machineCode": format!("canary-machine-{key_number}"),
        "friendlyName": format!("CANARY-{key_number}@example.com"), "floatingExpires": time + 600,
    })
}

/// Every key asks every four minutes. Another product fails now and then, as always.
pub(crate) fn requests() -> Vec<Value> {
    let mut times = Vec::new();
    for (weeks, length) in [(2, 2 * HOUR), (1, 2 * HOUR), (0, 2 * HOUR)] {
        let begin = FROM - weeks * WEEK;
        for number in 0..KEYS {
            let offset = i64::try_from(number).unwrap() * 14;
            // The first keys ask at the onset and then every four minutes.
            let phase = (67 * 60 + 15 + offset) % 240;
            for time in (begin + phase..begin + length).step_by(240) {
                let locked_out = weeks == 0 && number < HIT && time >= ONSET;
                let now_and_then = (time / 60 + i64::try_from(number).unwrap()) % 37 == 0;
                let state = if locked_out || (now_and_then && number >= HIT) { 2020 } else { 2014 };
                times.push((time, 3349, number, state));
            }
        }
        for time in (begin + 7..begin + length).step_by(90) {
            times.push((time, 3350, 16, if time % 1260 < 90 { 2020 } else { 2010 }));
        }
    }
    times.sort_unstable();
    (5001..)
        .zip(times)
        .map(|(id, (time, product, number, state))| request(id, time, product, number, state))
        .collect()
}

fn objects() -> Vec<Value> {
    let change = |id: i64, time: i64, resource: i64, object: i64, data: &str| {
        json!({
            "id": id, "created": time, "resourceType": resource, "resourceAction": 2, "affectedObjectId": object,
            "objectOwnerUserId": 18, "performedByUserId": "22", "data": data,
        })
    };
    vec![
        change(70, ONSET - 40 * HOUR, 5, 3349, r#"{"Description":["","canary-person"]}"#),
        change(71, ONSET - 1000, 5, 4021, r#"{"Description":["","canary-person"]}"#),
        change(72, ONSET - 139, 5, 3349, r#"{"BlockExpiredLicenses":[false,true]}"#),
        change(73, ONSET + 60, 5, 3349, r#"{"Description":["","canary-person"]}"#),
    ]
}

pub(crate) fn logs() -> Logs {
    let license = |number: usize| {
        let expires = if number < HIT { MONDAY - 86_400 * 30 } else { MONDAY + 86_400 * 300 };
        let company =
            COMPANIES.get(number).map_or_else(|| format!("Company {number}"), |name| (*name).to_owned());
        let id = 479 + i64::try_from(number).unwrap();
        let license = LicenseTerms {
            seats: 5,
            expires: Some(expires),
            customer: Some((id, company)),
            ..LicenseTerms::default()
        };
        (3349, key(number), license)
    };
    Logs {
        requests: requests(),
        objects: objects(),
        details: (0..KEYS).map(license).collect(),
        ..Logs::default()
    }
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    MORNING.into_iter().chain(more.iter().copied()).collect()
}

fn report(stub: &Stub, more: &[&str]) -> Value {
    serde_json::from_str(&shown(stub, &with(&[&["--format=json"], more].concat()))).unwrap()
}

pub(crate) fn block<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["blocks"].as_array().unwrap().iter().find(|block| block["id"] == id).unwrap_or(&Value::Null)
}

pub(crate) fn item<'a>(report: &'a Value, list: &str, id: &str) -> &'a Value {
    block(report, list)["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["id"] == id)
        .unwrap_or(&Value::Null)
}

#[test]
fn every_format_shows_the_morning() {
    let stub = Stub::start(logs());
    assert_golden_formats(&stub, "incident", &with(&["--identities=customers"]));
}

/// The numbers of the report are those of the log.
#[test]
fn the_numbers_are_those_of_the_log() {
    let stub = Stub::start(logs());
    let report = report(&stub, &[]);
    let rows = requests();
    let since: Vec<&Value> = rows
        .iter()
        .filter(|row| row["productId"] == 3349 && row["time"].as_i64().unwrap() >= ONSET)
        .collect();
    let failed = since.iter().filter(|row| row["state"] == 2020).count();
    let first = since.iter().find(|row| row["state"] == 2020).unwrap();
    let in_time = rows.iter().filter(|row| row["time"].as_i64().unwrap() >= FROM).count();

    assert_eq!((report["schema_version"].as_i64(), report["level"].as_str()), (Some(2), Some("notice")));
    assert_eq!(
        report["headline"],
        "5 of 17 Meridian CAD customers were locked out from 09:07 to at least 10:00 UTC"
    );
    assert_eq!(report["read"]["rows"], in_time);
    assert_eq!(item(&report, "figures", "customers_hit")["value"], HIT);
    assert_eq!(item(&report, "figures", "failed")["value"], failed);
    assert_eq!(item(&report, "figures", "since_seconds")["value"], FROM + 2 * HOUR - ONSET);
    let onset = item(&report, "findings", "onset");
    assert_eq!((&onset["row_id"], &onset["product_id"]), (&first["id"], &json!(3349)));
    assert_eq!(onset["time"], "2026-01-05T09:07:15Z");
    let common = item(&report, "findings", "common")["text"].as_str().unwrap();
    assert_eq!(common, "All 5 keys are past their expiry date; none of the other 12 is.");
    let changes = item(&report, "findings", "changes");
    assert_eq!(changes["row_id"], 72);
    assert_eq!(
        changes["text"],
        "139 s earlier, at 09:04:56, user 22 changed product 3349: BlockExpiredLicenses false → true. It is the only change \
         to product 3349 or these keys in 24 h."
    );
    let customers = block(&report, "customers")["rows"].as_array().unwrap();
    assert_eq!(customers.len(), HIT);
    let of_hit: i64 = customers.iter().map(|row| row["failed"].as_i64().unwrap()).sum();
    let rows_of_hit =
        |row: &&&Value| (0..HIT).any(|number| row["key"] == key(number)) && row["state"] == 2020;
    assert_eq!(usize::try_from(of_hit).unwrap(), since.iter().filter(rows_of_hit).count());
    let products = block(&report, "products")["rows"].as_array().unwrap();
    assert_eq!(products[0]["product"], "Meridian CAD");
    assert!(products[0]["usual"].as_f64().unwrap() < 0.05 && products[1]["usual"].as_f64().unwrap() > 0.0);
    let chart = block(&report, "requests");
    let sum =
        |series: &Value| series["values"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    let charted: u64 = chart["stack"].as_array().unwrap().iter().map(sum).sum();
    assert_eq!(charted, products[0]["requests"].as_u64().unwrap());
    // The digest is that of the documented lines.
    let mut lines = String::new();
    for row in rows.iter().filter(|row| row["time"].as_i64().unwrap() >= FROM) {
        lines += &format!("{}:{}\n", row["id"], row["state"]);
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, lines.as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["read"]["sha256"], digest);
}

#[test]
fn nobody_is_named_below_the_level_that_names_them() {
    let stub = Stub::start(logs());
    for format in ["text", "html", "markdown", "json", "csv"] {
        for (level, companies) in [("masked", false), ("customers", true)] {
            let shown = shown(&stub, &with(&["--format", format, "--identities", level]));
            for secret in ["CANARY-", "CNARY-", "canary", "198.18."] {
                assert!(!shown.contains(secret), "{secret} in {format}, {level}");
            }
            assert_eq!(shown.contains("Vantage Shipyards"), companies, "{format}, {level}");
            assert_eq!(shown.contains("-HCGXC"), companies, "{format}, {level}");
        }
        let full = shown(&stub, &with(&["--format", format, "--identities=full"]));
        assert!(full.contains(&key(0)) && full.contains("Vantage Shipyards"), "{format}");
    }
}

#[test]
fn a_token_that_may_not_look_up_gets_a_report_that_says_so() {
    let denied =
        [Method::GetProducts, Method::GetKeys, Method::GetKey, Method::GetCustomers, Method::GetObjectLog];
    let stub = Stub::start(Logs { denied: denied.to_vec(), ..logs() });
    let report = report(&stub, &["--identities=customers"]);
    assert_eq!(
        report["headline"],
        "5 of 17 customers of product 3349 were locked out from 09:07 to at least 10:00 UTC"
    );
    for method in ["GetProducts", "GetKeys", "GetKey", "GetObjectLog"] {
        assert_eq!(report["read"]["looked_up"][method], "denied", "{method}");
    }
    let changes = item(&report, "findings", "changes")["text"].as_str().unwrap();
    assert_eq!(changes, "Not known: the token may not call GetObjectLog.");
    let note = block(&report, "customers")["note"].as_str().unwrap();
    assert!(note.contains("may not call GetKey, GetKeys, GetObjectLog, GetProducts"), "{note}");

    // With GetKey alone, each key is asked for.
    let stub = Stub::start(Logs { denied: vec![Method::GetKeys], ..logs() });
    let common = self::report(&stub, &[]);
    let common = item(&common, "findings", "common")["text"].as_str().unwrap();
    assert_eq!(common, "All 5 keys are past their expiry date; none of the other 12 is.");
}

/// A product with more pages than keys that are asked about: the first page, then each other key.
#[test]
fn a_section_names_the_methods_that_it_is_made_of() {
    // 17 keys are seen, and 18 pages of 99 are too many. The first page ends among them.
    let license = |number: usize| (3349, format!("D-{number:04}"), LicenseTerms::default());
    let many = || (0..1800).map(license);
    let basis = |logs: Logs| {
        let report = report(&Stub::start(logs), &[]);
        item(&report, "findings", "common")["basis"].as_str().unwrap().to_owned()
    };
    let details = || logs().details.into_iter().chain(many()).collect();
    let by_pages = basis(Logs { details: details(), denied: vec![Method::GetKey], ..logs() });
    assert!(by_pages.starts_with("By GetKeys and the rows. Compared: expiry,"), "{by_pages}");
    let first: Vec<_> =
        (0..85).map(|number| (3349, format!("A-{number:04}"), LicenseTerms::default())).collect();
    let details = logs().details.into_iter().chain(many()).chain(first).collect();
    let by_both = basis(Logs { details, ..logs() });
    assert!(by_both.starts_with("By GetKeys and GetKey and the rows. Compared: expiry,"), "{by_both}");
    // The token may ask, and nobody knows these keys.
    let by_rows = basis(Logs { details: Vec::new(), denied: vec![Method::GetKeys], ..logs() });
    assert!(by_rows.starts_with("By the rows alone. Compared: node-locked"), "{by_rows}");
    let denied = vec![Method::GetKeys, Method::GetKey];
    let by_rows = basis(Logs { denied, ..logs() });
    assert!(by_rows.starts_with("By the rows alone: the token may call neither"), "{by_rows}");
}

#[test]
fn licenses_are_compared_with_those_that_are_known() {
    let details = logs().details.into_iter().take(HIT + 3).collect();
    let report = report(&Stub::start(Logs { details, ..logs() }), &[]);
    let common = item(&report, "findings", "common")["text"].as_str().unwrap();
    let expected = "All 5 keys are past their expiry date; none of the other 3 whose license is known is.";
    assert_eq!(common, expected);
}

/// An incident that goes on is exit code 3 where that is asked for, and the report is written.
#[test]
fn exit_codes_say_how_it_went() {
    let stub = Stub::start(logs());
    let output = run(&stub, &with(&["--fail-on=incident"]));
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stdout).unwrap().contains("5 of 17 Meridian CAD customers"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--fail-on=incident: 5 of 17"), "{stderr}");

    let quiet =
        ["report", "incident", "--from=2026-01-05T08:00", "--to=2026-01-05T09:00", "--fail-on=incident"];
    let text = shown(&stub, &quiet);
    assert!(text.starts_with("✓ No incident from 08:00 to 09:00 UTC: "), "{text}");
    let empty = shown(&stub, &["report", "incident", "--from=2020-01-01", "--to=2020-01-02"]);
    let empty = empty.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        empty.starts_with("! Nothing is known of requests on 1 January 2020 UTC: the log begins at "),
        "{empty}"
    );
    assert!(empty.contains("The log does not reach back to this time") && empty.contains("0 of "), "{empty}");
}

#[test]
fn bad_usage_is_a_clear_sentence_and_exit_code_2() {
    let stub = Stub::start(logs());
    for (more, expected) in [
        (&["--product=99"][..], "--product: 99 is known neither to the log of this time nor to GetProducts"),
        (&["--key=NOONE"], "--key: the log of this time has no such key"),
        (&["--key=SAME5"], "--key: 3 keys end like this: key-"),
        (&["--timezone=Mars/Olympus"], "--timezone"),
        (&["--format=svg"], "--format=svg has no meaning for this report"),
        (&["--table=customers"], "--table has no meaning without --format=csv"),
        (
            &["--format=csv", "--table=nothing"],
            "expected list or one of figures, requests, customers, products",
        ),
        (&["--states=2014"], "--states has no meaning for the incident report"),
        (&["--user=22"], "--user has no meaning for the incident report"),
        (&["--resource=product"], "--resource has no meaning for the incident report"),
        (&["--at=2026-01-05"], "--to has no meaning with --at"),
        (&["--fail-on=rain"], "expected incident"),
    ] {
        let message = failure(&stub, &with(more), 2);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    for (arguments, expected) in [
        (&["report", "incident", "--at=2999-01-01"][..], "--at: 2999-01-01 is in the future"),
        (
            &["report", "incident", "--from=2999-01-01", "--to=2999-01-02"],
            "the time to report on is in the future",
        ),
        (&["report", "incident", "--at=2026-01-05", "--from=2026-01-04"], "both say where report begins"),
        (&["report", "incident", "--since=30d"], "report incident looks at 7 days at most"),
        (&["report", "web-api", "--at=2026-01-01"], "--at has no meaning for the web-api report"),
        (
            &["report", "--identities=customers"],
            "--identities=customers has no meaning for the web-api report",
        ),
    ] {
        let message = failure(&stub, arguments, 2);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

/// The report is about the incident nearest to `--at`, and the exit code about all of them.
#[test]
fn any_incident_that_goes_on_is_exit_code_3() {
    let mut requests = requests();
    for row in &mut requests {
        let time = row["time"].as_i64().unwrap();
        if row["productId"] == 3350 && (FROM + 600..FROM + 2400).contains(&time) {
            let number = usize::try_from(time / 90 % 5).unwrap() + HIT;
            *row = request(row["id"].as_i64().unwrap(), time, 3350, number, 2020);
        }
    }
    let stub = Stub::start(Logs { requests, ..logs() });
    let at = ["report", "incident", "--at=2026-01-05T08:20", "--since=100m", "--fail-on=incident"];
    let output = run(&stub, &at);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("from 08:10 to 08:"), "the one that is over: {text}");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--fail-on=incident: an incident of Meridian CAD goes on"), "{stderr}");
    // It is not over at 09:30, and the other one is.
    let lead = text.lines().nth(2).unwrap_or_default();
    assert!(!lead.contains("as usual"), "{text}");
}

/// One machine with an expired key that tries again and again, fast or slow, in a short and in a long
/// time, is no incident: the report says whose the failures are, and how to look at them.
#[test]
fn one_machine_that_retries_is_no_incident_in_any_report() {
    let calm = requests().into_iter().filter(|row| row["time"].as_i64().unwrap() < ONSET);
    let mut rows: Vec<Value> = calm.collect();
    let retries = (FROM + 1800..FROM + 2 * HOUR).step_by(20);
    rows.extend((9_000..).zip(retries).map(|(id, time)| request(id, time, 3349, 3, 2020)));
    let stub = Stub::start(Logs { requests: rows, ..logs() });
    let failing = with(&["--format=json", "--fail-on=incident"]);
    let found: Value = serde_json::from_str(&shown(&stub, &failing)).unwrap();
    assert_eq!(found["level"], "ok", "{}", found["headline"]);
    let headline = found["headline"].as_str().unwrap();
    assert!(headline.starts_with("No incident from 08:00 to 10:00 UTC: "), "{headline}");
    assert!(headline.ends_with(" failures come from one machine"), "{headline}");
    let step = block(&found, "next")["items"][0]["command"].as_str().unwrap();
    assert!(step.starts_with("cryptolens-exporter report customer key-"), "{step}");
    let day = ["report", "summary", "--day=2026-01-05", "--format=json", "--fail-on=incident"];
    let summary: Value = serde_json::from_str(&shown(&stub, &day)).unwrap();
    assert_eq!(block(&summary, "incidents")["rows"], json!([]));
    // Who asks about this key wants to see it.
    let of_key = report(&stub, &["--key=QKCII"]);
    assert!(!of_key["headline"].as_str().unwrap().contains("No incident"), "{}", of_key["headline"]);
}

/// A key without a request in the time is one all the same, and a name that nobody knows is none.
#[test]
fn a_known_key_in_a_quiet_hour_is_no_mistake() {
    let stub = Stub::start(logs());
    let quiet = |key: &str| -> Value {
        let key = format!("--key={key}");
        let arguments = ["report", "incident", "--from=2026-01-01", "--to=2026-01-02", "--format=json", &key];
        serde_json::from_str(&shown(&stub, &arguments)).unwrap()
    };
    let masked = report(&stub, &[]);
    let pseudonym = block(&masked, "customers")["rows"][0]["key"].as_str().unwrap().to_owned();
    let whole = quiet(&key(3));
    assert_eq!(whole["headline"], "No request on 1 January 2026 UTC");
    assert_eq!((&whole["scope"]["product_id"], &whole["read"]["rows"]), (&json!(3349), &json!(0)));
    assert_eq!(quiet(GROUPS[3])["scope"], whole["scope"]);
    assert_eq!(quiet(&pseudonym)["scope"]["key"], pseudonym);
    let day = |more: &[&'static str]| {
        [&["report", "incident", "--from=2026-01-01", "--to=2026-01-02"], more].concat()
    };
    let message = failure(&stub, &day(&["--key=NOONE"]), 2);
    assert!(message.contains("no such key, and neither have GetKey and GetKeys"), "{message}");
    assert!(failure(&stub, &day(&["--key=SAME5"]), 2).contains("--key: 2 keys end like this: key-"));
    let stub = Stub::start(Logs { denied: vec![Method::GetKeys, Method::GetKey], ..logs() });
    let message = failure(&stub, &day(&["--key=HCGXC", "--product=3349"]), 2);
    assert!(
        message.contains("the token may call neither GetKeys nor GetKey, which may know it"),
        "{message}"
    );
}

/// A ratio is one of the requests that succeeded or failed, and says so.
#[test]
fn a_ratio_names_its_base() {
    let base = || requests().into_iter().filter(|row| row["time"].as_i64().unwrap() < ONSET);
    let judged = base().filter(|row| row["time"].as_i64().unwrap() >= FROM).count();
    // After each of them one that found no free seat.
    let rows = base().flat_map(|mut row| {
        let id = row["id"].as_i64().unwrap() * 2;
        row["id"] = id.into();
        let refused = json!({ "state": 2024, "id": id + 1, "time": row["time"], "productId": 3349 });
        [row, refused]
    });
    let stub = Stub::start(Logs { requests: rows.collect(), ..logs() });
    let quiet = |more: &[&str]| -> Value {
        let arguments = ["report", "incident", "--from=2026-01-05T08:00", "--to=2026-01-05T09:07"];
        serde_json::from_str(&shown(&stub, &[&arguments[..], &["--format=json"], more].concat())).unwrap()
    };
    let report = quiet(&[]);
    let headline = report["headline"].as_str().unwrap();
    assert!(headline.ends_with(&format!("% of {judged} requests failed")), "{judged}: {headline}");
    let note = item(&report, "figures", "failed")["note"].as_str().unwrap();
    assert!(note.starts_with(&format!("of {judged};")), "{note}");
    let one = quiet(&[&format!("--key={}", key(1))]);
    let (shown, lead) = (one["scope"]["key"].as_str().unwrap(), one["lead"].as_str().unwrap());
    assert_eq!(lead, format!("Key {shown} of product 3349 only."));
    assert!(block(&one, "products")["title"].as_str().unwrap().starts_with("Requests in these"));
}

/// Times of another day than the last one have their day.
#[test]
fn times_of_an_earlier_day_say_so() {
    let stub = Stub::start(logs());
    let arguments =
        ["report", "incident", "--from=2026-01-04T12:00", "--to=2026-01-06T12:00", "--format=json"];
    let report: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
    let onset = item(&report, "findings", "onset")["text"].as_str().unwrap();
    assert!(onset.starts_with("First failure at 5 Jan 09:07:15"), "{onset}");
    let marks = block(&report, "requests")["marks"].as_array().unwrap();
    let labels: Vec<&str> = marks.iter().map(|mark| mark["label"].as_str().unwrap()).collect();
    assert_eq!(labels[0], "5 Jan 09:04:56 product changed by user 22");
    let changes = item(&report, "findings", "changes")["text"].as_str().unwrap();
    assert!(changes.starts_with("139 s earlier, at 5 Jan 09:04:56, user 22 changed"), "{changes}");
}

/// A typed value wins over a variable that holds for every report.
#[test]
fn a_typed_length_wins_over_a_beginning_of_the_environment() {
    let stub = Stub::start(logs());
    for arguments in [&["incident"][..], &["customer", "HCGXC"], &["changes"]] {
        let bounds = ["--to=2026-01-05T10:00", "--since=1h", "--format=json"];
        let mut command = command(&stub, &[&["report"], arguments, &bounds].concat());
        command.env("CRYPTOLENS_REPORT_FROM", "2026-01-05T08:00").env("CRYPTOLENS_REPORT_AT", "2026-01-05");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let period = (&report["period"]["from"], &report["period"]["to"]);
        assert_eq!(period, (&json!("2026-01-05T09:00:00Z"), &json!("2026-01-05T10:00:00Z")), "{arguments:?}");
        let both = [&["report"], arguments, &["--since=1h", "--from=2026-01-05"]].concat();
        assert!(failure(&stub, &both, 2).contains("both say where report begins"), "{arguments:?}");
    }
}

/// Whole keys, pseudonyms and last groups mean the same key.
#[test]
fn a_key_is_known_by_each_of_its_names() {
    let stub = Stub::start(logs());
    let masked = report(&stub, &[]);
    let pseudonym = block(&masked, "customers")["rows"][0]["key"].as_str().unwrap().to_owned();
    let whole =
        (0..HIT).map(key).find(|key| report(&stub, &[&format!("--key={key}")])["scope"]["key"] == pseudonym);
    let whole = whole.expect("the pseudonym stands for one of the keys");
    let group = whole.rsplit('-').next().unwrap();
    let by_group = report(&stub, &[&format!("--key={group}")]);
    let by_pseudonym = report(&stub, &[&format!("--key={pseudonym}")]);
    assert_eq!(by_group, by_pseudonym);
    assert!(by_group["read"]["rows"].as_u64().unwrap() < 60);
    assert!(!by_group["command"].as_str().unwrap().contains(group), "a key is not repeated");
}

/// Every command that is printed runs as it is.
#[test]
fn every_printed_step_runs() {
    let stub = Stub::start(logs());
    for level in ["masked", "customers", "full"] {
        let report = report(&stub, &["--timezone=Africa/Abidjan", "--identities", level]);
        assert_eq!(run_steps(&stub, &report), 2, "{level}");
    }
    assert_eq!(run_steps(&stub, &report(&stub, &["--from=2026-01-05T09:05"][..])), 3, "one that is cut");
}

/// Runs the steps of a report, and gives their number.
pub(crate) fn run_steps(stub: &Stub, report: &Value) -> usize {
    let steps = block(report, "next")["items"].as_array().unwrap();
    for step in steps {
        let line = step["command"].as_str().unwrap();
        // Keys are texts of the log: a shell could take them for anything.
        assert!(GROUPS.iter().all(|group| !line.contains(group)), "{line}");
        let arguments: Vec<&str> = line.strip_prefix("cryptolens-exporter ").unwrap().split(' ').collect();
        let output = command(stub, &arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{line}: {stderr}");
    }
    steps.len()
}

/// A request of every key of a product every minute. The first keys fail between two moments, all
/// in seconds before now.
fn minutes_ago(now: i64, product: i64, (begin, onset, end): (i64, i64, i64)) -> Vec<Value> {
    let rows = (1..).zip((0..begin / 60).flat_map(|minute| (0..KEYS).map(move |number| (minute, number))));
    rows.map(|(id, (minute, number))| {
        let ago = begin - minute * 60;
        let state = if number < HIT && ago <= onset && ago > end { 2020 } else { 2014 };
        request(id, now - ago, product, number, state)
    })
    .collect()
}

/// A report of 7 days that ends now prints no command for a longer time, nor for a product that is
/// none.
#[test]
fn every_printed_step_runs_at_the_bounds_of_what_flags_take() {
    let now = chrono::Utc::now().timestamp();
    let of = |requests: Vec<Value>, length: &str, steps: usize| {
        let stub = Stub::start(Logs { requests, ..logs() });
        let arguments = ["report", "incident", "--since", length, "--format=json"];
        let report: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
        assert!(!block(&report, "findings").is_null(), "{length}: an incident is found");
        assert_eq!(run_steps(&stub, &report), steps, "{length}");
    };
    // It began half an hour after the week did, and ended.
    let mut rows = minutes_ago(now, 3349, (7 * 86_400, 7 * 86_400 - 1800, 7 * 86_400 - 3600));
    rows.retain(|row| row["time"].as_i64().unwrap() < now - 7 * 86_400 + 4 * HOUR);
    of(rows, "7d", 2);
    of(minutes_ago(now, 3349, (2 * HOUR, 1800, 0)), "2h", 3);
    of(minutes_ago(now, 0, (2 * HOUR, 1800, 0)), "2h", 3);
    let stub = Stub::start(Logs { requests: minutes_ago(now, 0, (2 * HOUR, 1800, 0)), ..logs() });
    let customer = shown(&stub, &["report", "customer", GROUPS[0], "--format=json"]);
    assert_eq!(run_steps(&stub, &serde_json::from_str(&customer).unwrap()), 1);
}

#[test]
fn each_table_is_a_file_in_a_directory() {
    let stub = Stub::start(logs());
    let directory = tempfile::tempdir().unwrap();
    let path = format!("--output={}/tables/", directory.path().display());
    assert_eq!(shown(&stub, &with(&["--format=csv", &path])), "");
    let mut names: Vec<String> = std::fs::read_dir(directory.path().join("tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["customers.csv", "figures.csv", "products.csv", "requests.csv"]);
    let listed = shown(&stub, &with(&["--format=csv", "--table=list"]));
    assert_eq!(listed, "figures\nrequests\ncustomers\nproducts\n");
}

/// The demo's account: the report of each planned incident says who planned it and how.
#[test]
fn a_planned_incident_of_the_simulator_is_explained() {
    const DAY: i64 = 86_400;
    let stub =
        Stub::of_traffic(Options { start: MONDAY - DAY, requests_per_minute: 12.0, ..Options::new(1) });
    stub.freeze(MONDAY + 7 * DAY);
    let planned = stub.planned_incidents(MONDAY, MONDAY + 7 * DAY);
    assert_eq!(planned.len(), 3);
    for incident in planned {
        let at =
            chrono::DateTime::from_timestamp(incident.from, 0).unwrap().format("--at=%FT%TZ").to_string();
        let product = format!("--product={}", incident.product_id);
        let arguments = ["report", "incident", &at, &product, "--identities=full", "--format=json"];
        let report: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
        let hit = incident.keys.len();
        assert_eq!(item(&report, "figures", "customers_hit")["value"], hit, "{incident:?}");
        let rows = block(&report, "customers")["rows"].as_array().unwrap();
        let mut keys: Vec<&str> = rows.iter().map(|row| row["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        let mut expected: Vec<&str> = incident.keys.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let common = item(&report, "findings", "common")["text"].as_str().unwrap();
        assert!(common.contains("past their expiry date; none of the other"), "{common}");
        let changes = &item(&report, "findings", "changes");
        let changed = chrono::DateTime::from_timestamp(incident.changed, 0).unwrap();
        assert_eq!(changes["time"], changed.format("%FT%TZ").to_string());
        let text = changes["text"].as_str().unwrap();
        assert!(
            text.contains("user 22 changed product") && text.contains("BlockExpiredLicenses false"),
            "{text}"
        );
    }
}

/// Rows after the end that was asked for are left out, however short ago that end is.
#[test]
fn a_period_of_just_now_ends_where_it_was_asked_to() {
    let now = chrono::Utc::now().timestamp();
    let rows = (0..30).map(|number| request(1 + number, now - 600 + number * 20, 3349, 0, 2014));
    let stub = Stub::start(Logs { requests: rows.collect(), ..logs() });
    let of = |to: String, more: &[&str]| -> Value {
        let arguments = [&["report", "incident", "--since=1h", "--format=json", &to], more].concat();
        serde_json::from_str(&shown(&stub, &arguments)).unwrap()
    };
    let utc = |at: i64| chrono::DateTime::from_timestamp(at, 0).unwrap().format("%FT%TZ").to_string();
    let report = of(format!("--to={}", utc(now - 120)), &[]);
    assert_eq!(report["period"]["to"], utc(now - 120));
    assert_eq!(report["period"]["complete"], true);
    assert_eq!(report["read"]["rows"], 24);
    let report = of(format!("--to={}", utc(now + 600)), &[]);
    assert_eq!((&report["period"]["complete"], &report["read"]["rows"]), (&json!(false), &json!(30)));
}

/// `--at` looks at both sides of a moment; a longer zone name does not change what is found.
#[test]
fn the_surroundings_of_a_moment_are_found_in_any_zone() {
    let stub = Stub::start(logs());
    let arguments = [
        "report",
        "incident",
        "--at=2026-01-05T10:20",
        "--since=1h",
        "--timezone=Europe/Stockholm",
        "--format=json",
    ];
    let report: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
    assert_eq!(item(&report, "findings", "onset")["time"], "2026-01-05T10:07:15+01:00");
    assert_eq!(report["period"]["timezone"], "Europe/Stockholm");
}

/// The clock of the server, by which rows have their times, says what the last hours are.
#[test]
fn a_machine_an_hour_ahead_asks_about_the_hours_of_the_server() {
    let now = chrono::Utc::now().timestamp();
    // A product fails since half an hour ago by the server's clock, which is an hour behind this
    // one.
    let server = now - HOUR;
    let requests = minutes_ago(server, 3349, (2 * HOUR, 1800, 0));
    let stub = Stub::start(Logs { requests, ..Logs::default() });
    stub.set_faults(&["date_behind:3600"]);
    let report: Value =
        serde_json::from_str(&shown(&stub, &["report", "incident", "--since=2h", "--format=json"])).unwrap();
    let to = report["period"]["to"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!((to.timestamp() - server).abs() < 120, "{to}");
    assert_eq!((&report["level"], &report["period"]["complete"]), (&json!("problem"), &json!(false)));
    for more in [
        &["report", "customer", &key(0)][..],
        &["report", "summary", "--since=2h"],
        &["report", "changes", "--since=2h"],
    ] {
        let report: Value =
            serde_json::from_str(&shown(&stub, &[more, &["--format=json"]].concat())).unwrap();
        let to = report["period"]["to"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert!((to.timestamp() - server).abs() < 120, "{more:?}: {to}");
    }
    for more in [
        &["report", "web-api", "--since=2h"][..],
        &["report", "events", "--since=2h"],
        &["report", "objects", "--since=2h"],
        &["audit", "seats", "--product=3349", "--key=ANY", "--max-machines=2", "--hours=2"],
    ] {
        let report: Value =
            serde_json::from_str(&shown(&stub, &[more, &["--format=json"]].concat())).unwrap();
        let to = report["window"]["to"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert!((to.timestamp() - server).abs() < 120, "{more:?}: {to}");
    }
    // What is the future for the server is the future.
    let utc = |time: i64| chrono::DateTime::from_timestamp(time, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
    let (from, to) = (format!("--from={}", utc(now - 900)), format!("--to={}", utc(now - 600)));
    let message = failure(&stub, &["report", "incident", &from, &to], 2);
    assert!(message.contains("is in the future"), "{message}");
}

/// A verdict does not contradict the figures below it: a large part of few requests is no calm.
#[test]
fn few_requests_of_which_many_fail_are_not_called_calm() {
    let rows = |failed: i64, all: i64| -> Vec<Value> {
        (0..all)
            .map(|number| {
                let state = if number % all < failed { 2020 } else { 2014 };
                request(
                    1 + number,
                    FROM + 60 + number * 30,
                    3349,
                    usize::try_from(number % 3).unwrap(),
                    state,
                )
            })
            .collect()
    };
    let of = |requests: Vec<Value>, more: &[&str]| {
        let stub = Stub::start(Logs { requests, ..logs() });
        report(&stub, more)
    };
    for (failed, all, headline, level) in [
        (0, 3, "No incident from 08:00 to 10:00 UTC: 0.0% of 3 requests failed", "ok"),
        (1, 3, "Too few requests to judge: 33.3% of 3 requests failed from 08:00 to 10:00 UTC", "notice"),
        (3, 3, "Too few requests to judge: 100.0% of 3 requests failed from 08:00 to 10:00 UTC", "notice"),
        (21, 33, "Too few requests to judge: 63.6% of 33 requests failed from 08:00 to 10:00 UTC", "notice"),
        (1, 33, "No incident from 08:00 to 10:00 UTC: 3.0% of 33 requests failed", "ok"),
    ] {
        // Failures first: the scan has nothing to compare the beginning with, or too little.
        let all_rows = rows(failed, all);
        let mixed: Vec<Value> = if failed == 21 {
            // Spread over the time, so that no interval departs from the rest.
            let spread = |(number, mut row): (usize, Value)| {
                row["state"] = json!(if number % 5 < 3 { 2020 } else { 2014 });
                row
            };
            all_rows.into_iter().enumerate().map(spread).collect()
        } else {
            all_rows
        };
        let report = of(mixed, &[]);
        assert_eq!((&report["headline"], &report["level"]), (&json!(headline), &json!(level)));
        let ratio = item(&report, "figures", "failed");
        assert!(ratio["note"].as_str().unwrap().starts_with(&format!("of {all}")), "{ratio}");
    }
    // Much that fails all the time, without any other time to compare with.
    let spread = (0..240).map(|number: i64| {
        let state = if number % 5 < 3 { 2020 } else { 2014 };
        request(1 + number, FROM + 20 + number * 29, 3349, usize::try_from(number % 7).unwrap(), state)
    });
    let report = of(spread.collect(), &[]);
    assert_eq!(
        (&report["headline"], &report["level"]),
        (
            &json!("Nothing shows what is usual: 60.0% of 240 requests failed from 08:00 to 10:00 UTC"),
            &json!("notice")
        )
    );
    // A summary says so as well.
    let stub = Stub::start(Logs { requests: rows(3, 3), ..logs() });
    let day = ["report", "summary", "--day=2026-01-05", "--format=json"];
    let summary: Value = serde_json::from_str(&shown(&stub, &day)).unwrap();
    assert_eq!(
        (&summary["headline"], &summary["level"]),
        (
            &json!("5 January 2026 from 08:01 on: 100.0% of 3 license requests failed, too few to judge"),
            &json!("notice")
        )
    );
    // Neither claims the part of the day of which the log has nothing.
    let day = ["report", "incident", "--day=2026-01-05", "--format=json"];
    let incident: Value = serde_json::from_str(&shown(&stub, &day)).unwrap();
    let headline = "Too few requests to judge: 100.0% of 3 requests failed from 08:01 to 24:00 UTC";
    assert_eq!((&incident["headline"], &incident["level"]), (&json!(headline), &json!("notice")));
    let lead = incident["lead"].as_str().unwrap();
    assert!(lead.ends_with("The log begins at 5 Jan 08:01, and covers only a part of this time."), "{lead}");
}
