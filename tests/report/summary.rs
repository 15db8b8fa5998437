//! `report summary`: the week of the morning of `incident`, with machines that find no free seat.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike as _;
use cryptolens_simulator::{Method, Options};
use serde_json::{Value, json};

use super::incident::{ONSET, block, item, key, logs, requests, run_steps};
use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden_formats, command, failure, in_one_line, run, shown};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: [&str; 4] = ["report", "summary", "--week=2026-W02", "--objective=95"];

/// A row of a machine that asks for a seat of a key of Meridian CAD.
fn seat(time: i64, number: usize, state: i64, machine: &str) -> Value {
    json!({
        "productId": 3349, "key": key(number), "time": time, "state": state, "ip": "198.18.7.0",
        "machineCode": machine, "friendlyName": "CANARY-seat@example.com",
        "floatingExpires": if state == 2014 { time + 600 } else { 0 },
    })
}

/// The rows of `incident` after a night of successes, and refusals: of two machines on Tuesday, of
/// one of them on Thursday too, and of one of another key the week before.
fn rows() -> Vec<Value> {
    let (tuesday, thursday) = (MONDAY + DAY + 9 * HOUR, MONDAY + 3 * DAY + 9 * HOUR);
    let mut rows = requests();
    rows.extend((0..480).map(|minute| seat(MONDAY + minute * 60, 9, 2014, "canary-machine-9")));
    for minute in 0..20 {
        rows.push(seat(tuesday + minute * 60, 6, 2024, "canary-a"));
    }
    rows.push(seat(tuesday + 1230, 6, 2014, "canary-a"));
    rows.push(seat(tuesday + 90, 6, 2024, "canary-b"));
    // Silent for more than an hour, then again.
    rows.push(seat(tuesday + 2 * HOUR, 6, 2024, "canary-b"));
    rows.push(seat(thursday, 6, 2024, "floating:CANARY-A"));
    rows.push(seat(thursday, 7, 2024, "canary-c"));
    rows.push(seat(MONDAY - DAY, 7, 2024, "canary-c"));
    rows.sort_by_key(|row| row["time"].as_i64());
    for (id, row) in (9001..).zip(&mut rows) {
        row["id"] = id.into();
    }
    rows
}

fn week() -> Logs {
    Logs { requests: rows(), ..logs() }
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    WEEK.into_iter().chain(more.iter().copied()).collect()
}

fn report(stub: &Stub, arguments: &[&str]) -> Value {
    serde_json::from_str(&shown(stub, &[arguments, &["--format=json"]].concat())).unwrap()
}

fn table<'a>(report: &'a Value, id: &str) -> &'a Vec<Value> {
    block(report, id)["rows"].as_array().unwrap()
}

#[test]
fn every_format_shows_the_week_and_the_same_bytes_each_time() {
    let stub = Stub::start(week());
    assert_golden_formats(&stub, "summary", &with(&["--identities=customers"]));
}

#[test]
fn the_numbers_are_those_of_the_log() {
    let stub = Stub::start(week());
    let report = report(&stub, &with(&[]));
    let in_week: Vec<Value> =
        rows().into_iter().filter(|row| row["time"].as_i64().unwrap() >= MONDAY).collect();
    let failed = in_week.iter().filter(|row| row["state"].as_i64().unwrap() % 100 / 10 == 2).count();
    let figure = |id: &str| item(&report, "figures", id)["value"].clone();
    assert_eq!((figure("requests"), &report["read"]["rows"]), (json!(in_week.len()), &json!(in_week.len())));
    let ratio = f64::from(u32::try_from(failed).unwrap()) / f64::from(u32::try_from(in_week.len()).unwrap());
    assert!((figure("failure_ratio").as_f64().unwrap() - ratio).abs() < 1e-12);
    // All keys but those that only fail or are refused; the last one is of both products.
    let used: BTreeSet<(i64, &str)> = in_week
        .iter()
        .filter(|row| row["state"].as_i64().unwrap() % 100 / 10 == 1)
        .map(|row| (row["productId"].as_i64().unwrap(), row["key"].as_str().unwrap()))
        .collect();
    assert_eq!(figure("active_keys"), used.len());
    // Machine a on Tuesday and Thursday, b twice on Tuesday, c once; the week before is not counted.
    assert_eq!(figure("refusals"), 5);
    assert_eq!(item(&report, "figures", "refusals")["previous"], 1);
    let limits = table(&report, "seat_limits");
    let of: Vec<_> = limits.iter().map(|row| (&row["refused"], &row["machines"], &row["days"])).collect();
    assert_eq!(of, [(&json!(4), &json!(2), &json!(2)), (&json!(1), &json!(1), &json!(1))]);
    assert_eq!(limits[0]["seats"], 5, "by GetKeys");
    let incidents = table(&report, "incidents");
    assert_eq!(incidents.len(), 1, "refused seats are no incident: {incidents:?}");
    let incident = &incidents[0];
    assert_eq!((&incident["begin"], &incident["product_id"]), (&json!("2026-01-05T09:07:15Z"), &json!(3349)));
    assert_eq!((&incident["keys"], &incident["state"]), (&json!(5), &json!(2020)));
    assert_eq!(incident["minutes"], 53);
    let of_incident = in_week.iter().filter(|row| {
        row["time"].as_i64().unwrap() >= ONSET && row["state"] == 2020 && row["productId"] == 3349
    });
    assert_eq!(incident["failed"], of_incident.count());
    let products = table(&report, "products");
    let sum: u64 = products.iter().map(|row| row["requests"].as_u64().unwrap()).sum();
    assert_eq!(sum, u64::try_from(in_week.len()).unwrap());
    let chart = block(&report, "requests");
    let values =
        |series: &Value| series["values"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    let charted: u64 = chart["stack"].as_array().unwrap().iter().map(values).sum();
    assert_eq!((charted, chart["x"].as_array().unwrap().len()), (sum, 7));
    // The ratio below it is that of the columns, with what the objective allows.
    let ratio = &chart["ratio"];
    assert_eq!((&ratio["id"], &ratio["limit"]["value"]), (&json!("failure_ratio"), &json!(0.05)));
    let column =
        |series: usize, column: usize| chart["stack"][series]["values"][column].as_f64().unwrap_or(0.0);
    for (number, value) in ratio["values"].as_array().unwrap().iter().enumerate() {
        let (failed, succeeded) = (column(0, number), column(1, number));
        let expected =
            if failed + succeeded > 0.0 { json!(failed / (failed + succeeded)) } else { Value::Null };
        assert_eq!(value, &expected, "column {number}");
    }
    let mut lines = String::new();
    for row in &in_week {
        lines += &format!("{}:{}\n", row["id"], row["state"]);
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, lines.as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["read"]["sha256"], digest);
    let compared = &report["period"]["compared_with"];
    assert_eq!(
        (&compared["from"], &compared["covered"]),
        (&json!("2025-12-29T00:00:00Z"), &json!(true)),
        "{compared}"
    );
}

/// The objective, the incidents and the refusals each end the command with exit code 3.
#[test]
fn exit_codes_say_how_it_went() {
    let stub = Stub::start(week());
    for condition in ["incident", "objective", "refusals"] {
        let flag = format!("--fail-on={condition}");
        let output = run(&stub, &with(&[&flag]));
        assert_eq!(output.status.code(), Some(3), "{condition}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("! Week 2 of 2026 missed its objective"), "{text}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&format!("{flag}: Week 2 of 2026 missed")), "{stderr}");
    }
    let all = "--fail-on=incident,objective,refusals";
    // A week in which only the usual happened.
    let quiet = ["report", "summary", "--week=2025-W52", "--objective=90", all];
    let text = shown(&stub, &quiet);
    assert!(text.starts_with("! Week 52 of 2025 from 22 Dec 08:00 on met its objective: "), "{text}");
    let empty = ["report", "summary", "--month=2020-01", "--objective=99.9", all];
    let text = in_one_line(&shown(&stub, &empty));
    let expected = "! Nothing is known of January 2020: the log begins at 22 Dec 2025 08:00";
    assert!(text.starts_with(expected) && text.contains("0 of the "), "{text}");
}

#[test]
fn nobody_is_named_below_the_level_that_names_them() {
    let stub = Stub::start(week());
    for format in ["text", "html", "markdown", "json", "csv"] {
        let table: &[&str] = if format == "csv" { &["--table=seat_limits"] } else { &[] };
        for (level, companies) in [("masked", false), ("customers", true)] {
            let more = [&["--format", format, "--identities", level], table].concat();
            let output = command(&stub, &with(&more)).env("COLUMNS", "200").output().unwrap();
            let shown = String::from_utf8(output.stdout).unwrap();
            for secret in ["CANARY", "CNARY-", "canary", "198.18."] {
                assert!(!shown.contains(secret), "{secret} in {format}, {level}");
            }
            assert_eq!(shown.contains("Company 6"), companies, "{format}, {level}");
            assert_eq!(shown.contains("-AAAAC"), companies, "{format}, {level}");
        }
        let more = [&["--format", format, "--identities=full"], table].concat();
        let output = command(&stub, &with(&more)).env("COLUMNS", "200").output().unwrap();
        let full = String::from_utf8(output.stdout).unwrap();
        assert!(full.contains(&key(6)) && full.contains("Company 6"), "{format}");
        assert!(!full.contains("CANARY-seat"), "no report of this kind names people");
    }
}

#[test]
fn a_token_that_may_not_look_up_gets_a_report_that_says_so() {
    let denied = vec![Method::GetProducts, Method::GetKeys, Method::GetKey, Method::GetCustomers];
    let stub = Stub::start(Logs { denied, ..week() });
    let report = report(&stub, &with(&["--identities=customers"]));
    for method in ["GetProducts", "GetKeys", "GetKey"] {
        assert_eq!(report["read"]["looked_up"][method], "denied", "{method}");
    }
    let limits = block(&report, "seat_limits");
    assert!(
        limits["note"].as_str().unwrap().contains("may not call GetKey, GetKeys, GetProducts"),
        "{limits}"
    );
    assert_eq!((&limits["rows"][0]["seats"], &limits["rows"][0]["customer"]), (&Value::Null, &Value::Null));
    assert_eq!(table(&report, "products")[0]["product"], "product 3349");
}

#[test]
fn every_printed_step_runs() {
    let stub = Stub::start(week());
    for more in [&["--identities=full"][..], &["--timezone=Africa/Abidjan", "--product=3349"]] {
        assert_eq!(run_steps(&stub, &report(&stub, &with(more))), 2, "{more:?}");
    }
    let bounds = ["report", "summary", "--from=2026-01-05T00:01", "--to=2026-01-07"];
    assert_eq!(run_steps(&stub, &report(&stub, &bounds)), 2);
}

#[test]
fn bad_usage_is_a_clear_sentence_and_exit_code_2() {
    let stub = Stub::start(week());
    for (arguments, expected) in [
        (&["--month=2026-13"][..], "expected a month such as 2026-10, or last"),
        (&["--week=2025-W53"], "expected a week such as 2026-W43, or last"),
        (&["--day=2026-02-29"], "expected a date such as 2026-10-06, or last"),
        (&["--year=26"], "expected a year such as 2026, or last"),
        (&["--month=2999-01"], "--month: January 2999 is in the future"),
        (&["--year=9999"], "--year: 9999 is in the future"),
        (&["--day=2999-12-31", "--compare=none"], "--day: 31 December 2999 is in the future"),
        (&["--month=2026-01", "--week=2026-W02"], "both say where report begins"),
        (&["--month=2026-01", "--from=2026-01-01"], "both say where report begins"),
        (&["--month=2026-01", "--to=2026-02-01"], "a period of the calendar has its own end"),
        (&["--from=2999-01-01", "--to=2999-02-01"], "the time to report on is in the future"),
        (&["--month=2026-01", "--compare=before"], "expected previous, year, none or two moments"),
        (
            &["--month=2026-01", "--compare=2999-01-01..2999-02-01"],
            "--compare: the time to compare with is in the future",
        ),
        (
            &["--month=2026-01", "--compare=2025-02-01..2025-01-01"],
            "--compare: the time to compare with is empty",
        ),
        (&["--month=2026-01", "--objective=101"], "expected a percentage from 0 to 100"),
        (&["--month=2026-01", "--fail-on=objective"], "--fail-on=objective needs --objective"),
        (&["--month=2026-01", "--fail-on=rain"], "expected incident, objective or refusals"),
        (
            &["--month=2026-01", "--product=99"],
            "--product: 99 is known neither to the log of this time nor to GetProducts",
        ),
        (&["--month=2026-01", "--timezone=Mars/Olympus"], "--timezone"),
        (&["--month=2026-01", "--key=HCGXC"], "--key has no meaning for the summary report"),
        (&["--month=2026-01", "--days=7"], "--days has no meaning for the summary report"),
        (&["HCGXC"], "a KEY has no meaning for the summary report"),
    ] {
        let message = failure(&stub, &[&["report", "summary"], arguments].concat(), 2);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let message = failure(&stub, &["report", "incident", "--fail-on=refusals"], 2);
    assert!(message.contains("--fail-on=refusals has no meaning for the incident report"), "{message}");
}

/// A request every hour from 2026 on: a month of more days is no better month.
#[test]
fn months_of_unequal_length_are_compared_by_day() {
    let from = MONDAY - 4 * DAY;
    let row = |number: i64| {
        let state = if number % 10 == 0 { 2020 } else { 2014 };
        json!({
            "id": 100 + number, "productId": 3349, "key": "A-B", "time": from + number * HOUR, "state": state,
            "machineCode": "m",
        })
    };
    let stub = Stub::start(Logs { requests: (0..24 * 120).map(row).collect(), ..Logs::default() });
    let of = |more: &[&str]| report(&stub, &[&["report", "summary"], more].concat());
    let march = of(&["--month=2026-03"]);
    let requests = item(&march, "figures", "requests");
    assert_eq!((&requests["value"], &requests["previous"]), (&json!(744), &json!(672)));
    assert!(requests["change"].as_f64().unwrap().abs() < 1e-9, "{requests}");
    assert_eq!(requests["note"], "±0.0% per day");
    assert!(march["lead"].as_str().unwrap().contains("counts per day"), "{march}");
    assert_eq!(march["headline"], "March 2026: 9.9% of 744 license requests failed, no incident");
    // Where clocks go forward, a month has an hour less.
    let of_zone = of(&["--month=2026-03", "--timezone=Europe/Stockholm"]);
    assert_eq!(item(&of_zone, "figures", "requests")["value"], 743);
    assert_eq!(of_zone["period"]["to"], "2026-04-01T00:00:00+02:00");
    assert_eq!(block(&of_zone, "requests")["x"].as_array().unwrap().len(), 31);
    // A day of 23 hours is compared with one of 24 as it is.
    let day = of(&["--day=2026-03-29", "--timezone=Europe/Stockholm"]);
    let requests = item(&day, "figures", "requests");
    assert_eq!((&requests["value"], &requests["previous"]), (&json!(23), &json!(24)));
    assert_eq!(requests["note"], "−4.2%");
    // Other times to compare with.
    let none = of(&["--month=2026-03", "--compare=none"]);
    assert_eq!(
        (&none["period"]["compared_with"], &item(&none, "figures", "requests")["previous"]),
        (&Value::Null, &Value::Null)
    );
    let range = of(&["--month=2026-03", "--compare=2026-01-05..2026-01-15"]);
    assert_eq!(item(&range, "figures", "requests")["previous"], 240);
    let year = of(&["--month=2026-03", "--compare=year"]);
    assert_eq!(year["period"]["compared_with"]["from"], "2025-03-01T00:00:00Z");
    assert_eq!(year["period"]["compared_with"]["covered"], false);
    assert!(year["lead"].as_str().unwrap().contains("does not reach back to March 2025"), "{year}");
    assert_eq!(item(&year, "figures", "requests")["change"], Value::Null);
    let january = of(&["--month=2026-01", "--compare=none"]);
    assert!(!january["lead"].as_str().unwrap().contains("The log begins"), "on its first day: {january}");
    let quarter = of(&["--from=2025-12-01", "--to=2026-02-01", "--compare=none"]);
    assert!(quarter["lead"].as_str().unwrap().starts_with("The log begins at 1 Jan 00:00"), "{quarter}");
}

/// A period that is not over ends now, and is compared with as much of the one before.
#[test]
fn a_period_that_is_not_over_is_so_far() {
    let stub = Stub::start(week());
    let begin = chrono::Utc::now();
    let year = begin.year();
    let this_year = report(&stub, &["report", "summary", &format!("--year={year}")]);
    let period = &this_year["period"];
    assert_eq!((&period["complete"], &period["label"]), (&json!(false), &json!(format!("{year} so far"))));
    let moment = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let (to, before) = (moment(&period["to"]), moment(&period["compared_with"]["to"]));
    assert!((begin.timestamp()..=chrono::Utc::now().timestamp()).contains(&to.timestamp()), "{to}");
    assert_eq!(period["compared_with"]["elapsed_only"], true);
    assert_eq!(before.format("%m-%dT%T").to_string(), to.format("%m-%dT%T").to_string());
    // Without any time, the last complete month.
    let last = report(&stub, &["report", "summary"]);
    assert_eq!(last["period"]["complete"], true);
    assert!(last["period"]["to"].as_str().unwrap().ends_with("-01T00:00:00Z"), "{}", last["period"]);
    // A variable that is set for the summary changes no other report.
    let mut other = command(&stub, &["report", "incident", "--format=json"]);
    let output = other.env("CRYPTOLENS_REPORT_MONTH", "2026-01").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A week of simulated traffic: every number equals one that is counted from all rows by hand.
#[test]
fn a_simulated_week_is_summarised_as_it_was_planned() {
    let options = Options { start: MONDAY - DAY, requests_per_minute: 12.0, ..Options::new(1) };
    let stub = Stub::of_traffic(options);
    stub.freeze(MONDAY + 8 * DAY);
    let planned = stub.planned_incidents(MONDAY, MONDAY + 7 * DAY);
    let summary = report(&stub, &["report", "summary", "--week=2026-W02", "--identities=full"]);

    let incidents = table(&summary, "incidents");
    assert_eq!(incidents.len(), planned.len(), "{incidents:?}");
    for (found, planned) in incidents.iter().zip(&planned) {
        assert_eq!(found["product_id"], planned.product_id, "{planned:?}");
        let begin: chrono::DateTime<chrono::Utc> = found["begin"].as_str().unwrap().parse().unwrap();
        let off = begin.timestamp() - planned.from;
        assert!(off.abs() <= 120, "{planned:?}: the onset is off by {off} s");
        let minutes = found["minutes"].as_i64().unwrap() - (planned.to - planned.from) / 60;
        assert!(minutes.abs() <= 3, "{planned:?}: the length is off by {minutes} min");
        let keys = usize::try_from(found["keys"].as_u64().unwrap()).unwrap();
        assert!((planned.keys.len()..=planned.keys.len() + 1).contains(&keys), "{planned:?}: {keys}");
    }

    let rows: Vec<Value> = stub.web_api_rows();
    let time = |row: &Value| row["time"].as_i64().unwrap();
    let state = |row: &Value| row["state"].as_i64().unwrap_or(0);
    let machine = |row: &Value| {
        row["machineCode"].as_str().map(|code| code.trim_start_matches("floating:").to_uppercase())
    };
    let in_week: Vec<&Value> =
        rows.iter().filter(|row| (MONDAY..MONDAY + 7 * DAY).contains(&time(row))).collect();
    let (mut succeeded, mut failed) = (0_u32, 0_u32);
    let (mut keys, mut machines) = (BTreeSet::new(), BTreeSet::new());
    for row in &in_week {
        succeeded += u32::from(state(row) % 100 / 10 == 1);
        failed += u32::from(state(row) % 100 / 10 == 2);
        if state(row) % 100 / 10 == 1 && [10, 20, 60, 80].contains(&(state(row) / 100)) {
            keys.extend(row["key"].as_str().map(|key| (row["productId"].as_i64(), key.trim().to_owned())));
            machines.extend(machine(row).filter(|code| !code.is_empty()));
        }
    }
    let mut waiting: BTreeMap<(Option<i64>, String, Option<String>), i64> = BTreeMap::new();
    let mut refusals = BTreeMap::<i64, u64>::new();
    let mut in_order: Vec<&Value> = rows.iter().filter(|row| time(row) < MONDAY + 7 * DAY).collect();
    in_order.sort_by_key(|row| (time(row), row["id"].as_i64()));
    for row in in_order {
        let who = (row["productId"].as_i64(), row["key"].as_str().unwrap_or("").to_owned(), machine(row));
        match state(row) {
            2024 => {
                let last = waiting.insert(who, time(row));
                if last.is_none_or(|last| time(row) - last > HOUR) && time(row) >= MONDAY {
                    *refusals.entry(row["productId"].as_i64().unwrap()).or_default() += 1;
                }
            }
            2014 | 2015 => {
                waiting.remove(&who);
            }
            _ => {}
        }
    }
    let figure = |id: &str| item(&summary, "figures", id)["value"].clone();
    assert_eq!(figure("requests"), in_week.len());
    let ratio = f64::from(failed) / f64::from(succeeded + failed);
    assert!((figure("failure_ratio").as_f64().unwrap() - ratio).abs() < 1e-12, "{ratio}");
    assert_eq!(
        (figure("active_keys"), figure("active_machines")),
        (json!(keys.len()), json!(machines.len()))
    );
    assert_eq!(figure("refusals"), refusals.values().sum::<u64>());
    assert!(figure("refusals").as_u64().unwrap() > 5, "somebody is refused");

    // The audits of the products say the same.
    for (product, expected) in &refusals {
        let flag = format!("--product={product}");
        let audit = report(&stub, &["audit", "seats", &flag, "--week=2026-W02"]);
        assert_eq!(item(&audit, "figures", "refusals")["value"], *expected, "{product}");
    }
}
