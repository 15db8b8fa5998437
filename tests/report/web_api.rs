//! `report` on the Web API Log.

use std::collections::HashMap;
use std::io::Read as _;
use std::process::Stdio;

use cryptolens_simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{
    MONDAY, assert_golden, assert_golden_formats, assert_page_shows, command, ended_at, failure, in_one_line,
    run, shown,
};

/// The second half of the log, so that the half before it can be compared with.
const WEEK: [&str; 4] = ["report", "--from=2026-01-08", "--to=2026-01-11", "--identities=full"];

/// Six days of requests, the same every time: six in an hour, with names that would break out of a
/// careless format.
fn requests() -> Vec<Value> {
    const NAMES: [&str; 6] = [
        "alice@example.com",
        "=HYPERLINK(\"http://x\")",
        "\u{1b}[31mred",
        "<script>alert(1)</script>",
        "",
        "a,b \"c\"",
    ];
    const STATES: [i64; 12] = [2014, 2014, 2010, 1010, 2014, 2024, 8010, 2014, 6011, 2020, 3010, 2014];
    let mut random: u64 = 7;
    let mut draw = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    (0..6 * 24 * 6)
        .map(|index| {
            let machine = draw(20);
            let state = if index == 500 { 9999 } else { STATES[draw(STATES.len())] };
            json!({
                "id": 1000 + index * 3,
                "productId": if draw(3) == 0 { 3350 } else { 3349 },
                "key": if draw(10) == 0 { Value::Null } else { json!(format!("KEY-{:02}", draw(40) * draw(3) % 40)) },
                "ip": "10.0.0.0",
                "time": MONDAY + i64::from(index) * 600,
                "state": state,
                "machineCode": format!("machine{machine:02}"),
                "friendlyName": NAMES[machine % NAMES.len()],
                "floatingExpires": 0,
                "doIntValue": 0,
                "doId": 0,
            })
        })
        .collect()
}

fn stub() -> Stub {
    Stub::start(Logs { requests: requests(), page: Some(100), ..Logs::default() })
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    WEEK.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn several_requests_at_a_time_change_nothing() {
    let pages = |page| Stub::start(Logs { requests: requests(), page: Some(page), ..Logs::default() });
    let report = |concurrency: &str| shown(&pages(7), &with(&["--format=json", concurrency]));
    let [one, eight] = ["--api.concurrency=1", "--api.concurrency=8"].map(|concurrency| {
        let mut report: Value = serde_json::from_str(&report(concurrency)).unwrap();
        // Where pages begin decides how many there are, and how far they reach beyond the window.
        report.as_object_mut().unwrap().remove("read").unwrap();
        report
    });
    assert_eq!(one, eight);
}

#[test]
fn every_format_is_as_it_was() {
    let stub = stub();
    assert_golden_formats(&stub, "web-api", &WEEK);
    assert_golden("web-api-outcome.svg", &shown(&stub, &with(&["--format=svg"])));
    assert_golden("web-api-daily.svg", &shown(&stub, &with(&["--format=svg", "--chart=daily"])));
}

#[test]
fn the_page_shows_every_number_that_it_has_shown() {
    let report = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    // Of an hour and of who fails most, requests and failures are shown; of the time before, its totals; and
    // when states were seen first and last, of those that fail, in a table of their own.
    let hidden: [(&str, &[&str]); 5] = [
        ("states", &["first_seen", "last_seen"]),
        ("hours_of_week", &["hour", "success", "unknown", "failure_ratio"]),
        ("above_one_percent", &["success", "unknown"]),
        ("most_failures", &["success", "unknown"]),
        ("previous", &["success", "failure", "unknown", "event_types"]),
    ];
    assert_page_shows(&report, &shown(&stub(), &with(&["--format=html"])), &hidden);
}

/// Counted a second time, from the rows themselves.
#[test]
fn the_numbers_are_those_of_the_rows() {
    let report: Value = serde_json::from_str(&shown(&stub(), &with(&["--format=json"]))).unwrap();
    let (from, to) = (MONDAY + 3 * 86_400, MONDAY + 6 * 86_400);
    let rows = requests();
    let inside = |row: &&Value| (from..to).contains(&row["time"].as_i64().unwrap());
    let digit = |row: &Value| row["state"].as_i64().unwrap() % 100 / 10;
    let of = |wanted: i64| rows.iter().filter(inside).filter(|row| digit(row) == wanted).count();
    assert_eq!(report["total"]["requests"], rows.iter().filter(inside).count());
    assert_eq!(report["total"]["success"], of(1));
    assert_eq!(report["total"]["failure"], of(2));
    assert_eq!(report["total"]["unknown"], of(9));
    let mut keys: HashMap<&str, usize> = HashMap::new();
    for key in rows.iter().filter(inside).filter_map(|row| row["key"].as_str()) {
        *keys.entry(key).or_default() += 1;
    }
    let named: usize = keys.values().sum();
    assert_eq!(report["keys"]["requests"], named);
    assert_eq!(report["keys"]["distinct"], keys.len());
    let listed = report["keys"]["above_one_percent"].as_array().unwrap();
    assert_eq!(listed.len(), keys.values().filter(|requests| **requests * 100 > named).count());
    for key in listed {
        assert_eq!(key["requests"], keys[key["key"].as_str().unwrap()]);
    }
    let sum = |list: &str| {
        let rows = report[list].as_array().unwrap().iter();
        rows.map(|row| row["requests"].as_u64().unwrap()).sum::<u64>()
    };
    for list in ["days", "hours_of_week", "event_types", "products", "states"] {
        assert_eq!(sum(list), report["total"]["requests"].as_u64().unwrap(), "{list}");
    }
    assert_eq!(report["read"]["previous_covered"], true);
    assert_eq!(
        report["previous"]["requests"],
        rows.iter().filter(|row| row["time"].as_i64().unwrap() < from).count()
    );
}

#[test]
fn identities_are_masked_unless_asked_for() {
    let stub = stub();
    for format in ["text", "json", "csv", "html", "svg"] {
        let format = format!("--format={format}");
        let page = shown(
            &stub,
            &["report", "--from=2026-01-06", "--to=2026-01-09", "--key=KEY-00", "--product=3349", &format],
        );
        for secret in ["KEY-", "machine0", "alice", "10.0.0.0"] {
            assert!(!page.contains(secret), "{format}: {secret} in {page}");
        }
    }
}

#[test]
fn days_and_hours_follow_the_zone() {
    let report = |zone: &str| -> Value {
        let args = ["--format=json", "--timezone", zone, "--no-comparison"];
        serde_json::from_str(&shown(&stub(), &with(&args))).unwrap()
    };
    let there = report("Asia/Kathmandu");
    assert_eq!(there["window"]["from"], "2026-01-08T00:00:00+05:45");
    let dates = there["days"].as_array().unwrap().iter().map(|day| day["date"].as_str().unwrap());
    assert_eq!(dates.collect::<Vec<_>>(), ["2026-01-08", "2026-01-09", "2026-01-10"]);
    assert!(
        there["days"].as_array().unwrap().iter().all(|day| day["requests"] == 144 && day["whole"] == true)
    );
}

#[test]
fn it_reads_no_further_than_an_hour_before() {
    let stub = stub();
    let args = ["report", "--from=2026-01-10T12:00", "--to=2026-01-11", "--format=json", "--no-comparison"];
    let report: Value = serde_json::from_str(&shown(&stub, &args)).unwrap();
    assert_eq!(report["total"]["requests"], 72);
    // 72 rows in the window and 6 in the hour before: the second page is the first that may end it,
    // and does.
    assert_eq!(stub.requests(), 2);
}

/// The log begins within the window before: no change is shown against a part of it.
#[test]
fn a_log_that_is_younger_than_the_windows_is_reported() {
    let args = ["report", "--from=2026-01-06", "--to=2026-01-09", "--format"];
    let report: Value = serde_json::from_str(&shown(&stub(), &[&args[..], &["json"]].concat())).unwrap();
    assert_eq!(
        (&report["read"]["window_covered"], &report["read"]["previous_covered"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&report["previous"]["requests"], &report["previous"]["requests_change"]),
        (&json!(144), &Value::Null)
    );
    let page = in_one_line(&shown(&stub(), &[&args[..], &["text"]].concat()));
    assert!(page.contains("There is nothing older than 2026-01-05T00:00:00Z"), "{page}");
    assert!(!page.contains("Before:"), "the numbers of a part say nothing: {page}");
    let before = ["report", "--from=2025-01-06", "--to=2025-01-09", "--format=text"];
    let page = in_one_line(&shown(&stub(), &before));
    assert!(page.contains("the log does not reach back to this time"), "{page}");
}

#[test]
fn filters_reach_the_api_and_the_rest_is_reported_as_unknown() {
    let stub = stub();
    let report: Value = serde_json::from_str(&shown(
        &stub,
        &with(&["--format=json", "--states=2020,2024", "--product=3350"]),
    ))
    .unwrap();
    assert_eq!(report["total"]["success"], 0);
    assert_eq!(report["filter"]["states"], json!([2020, 2024]));
    assert_eq!(report["keys"]["only_failing"], Value::Null);
    let asked = stub.asked();
    assert!(asked.iter().all(|request| {
        request.parameters["states"] == "[2020,2024]" && request.parameters["productid"] == "3350"
    }));
    let failures: Value =
        serde_json::from_str(&shown(&stub, &with(&["--format=json", "--outcome=failure"]))).unwrap();
    assert_eq!(failures["total"]["failure"], failures["total"]["requests"]);
}

#[test]
fn an_empty_window_is_a_sentence() {
    let stub = stub();
    let args =
        |format| ["report", "--from=2025-01-01", "--to=2025-01-02", "--no-comparison", "--format", format];
    assert!(shown(&stub, &args("text")).contains("The log holds no request in this time"));
    assert!(shown(&stub, &args("html")).contains("The log holds no request in this time"));
    let report: Value = serde_json::from_str(&shown(&stub, &args("json"))).unwrap();
    assert_eq!((&report["total"]["requests"], &report["total"]["failure_ratio"]), (&json!(0), &Value::Null));
    shown(&stub, &args("svg"));
    shown(&stub, &args("csv"));
}

#[test]
fn a_fault_that_passes_is_not_seen() {
    let faults = vec![(1, Fault::new(FaultKind::BadGatewayHtml)), (4, Fault::new(FaultKind::TruncatedJson))];
    let stub = Stub::start(Logs { requests: requests(), page: Some(100), faults, ..Logs::default() });
    assert_eq!(
        shown(&stub, &with(&["--format=text"])),
        shown(&super::web_api::stub(), &with(&["--format=text"]))
    );
}

#[test]
fn a_part_of_an_answer_is_never_shown() {
    let faults = vec![(3, Fault::new(FaultKind::AccessDenied))];
    let stub = Stub::start(Logs { requests: requests(), page: Some(100), faults, ..Logs::default() });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.txt");
    std::fs::write(&file, "before").unwrap();
    let error = failure(&stub, &with(&["--output", file.to_str().unwrap()]), 1);
    assert_eq!(
        error,
        "error: GetWebAPILog: the token lacks the permission for this method; give the token the permission for this \
         method, and no key lock\n"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_written_is_reported_before_anything_is_read() {
    let stub = stub();
    let error = failure(&stub, &with(&["--output=/no/such/folder/report.txt"]), 1);
    assert_eq!(error, "error: cannot write /no/such/folder/report.txt: there is no such directory\n");
    assert_eq!(stub.requests(), 0);
}

#[test]
fn a_report_that_is_told_to_end_shows_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.txt");
    for (signal, args) in [
        (rustix::process::Signal::TERM, with(&["--output", file.to_str().unwrap()])),
        (rustix::process::Signal::INT, WEEK.to_vec()),
    ] {
        let logs = Logs {
            requests: requests(),
            page: Some(100),
            faults_from: vec![(3, Fault::new(FaultKind::Hang))],
            ..Logs::default()
        };
        let stub = Stub::start(logs);
        let output = ended_at(&stub, &args, 3, signal);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert_eq!(output.stderr, b"error: interrupted before everything was read\n");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn lines_fit_the_screen_and_numbers_stay_whole() {
    let stub = stub();
    let page = |columns: &str| {
        let output = command(&stub, &WEEK).env("COLUMNS", columns).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for columns in [40, 60, 72, 80, 120] {
        let page = page(&columns.to_string());
        let widest = page.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= columns, "{columns}: {widest}");
    }
    // The columns of charts are as many as there is room for, so that their labels are left out.
    let numbers = |page: &str| -> Vec<String> {
        let is_label = |line: &&str| line.contains('█') && line.starts_with("     ");
        let words = page.lines().filter(|line| !is_label(line)).flat_map(str::split_whitespace);
        words.filter(|word| word.ends_with(|last: char| last.is_ascii_digit())).map(str::to_owned).collect()
    };
    assert_eq!(numbers(&page("72")), numbers(&page("200")));
}

/// Also where several accounts and names of products come from.
#[test]
fn a_file_names_accounts_and_products() {
    let stub = stub();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("exporter.yml");
    std::fs::write(
        &file,
        "accounts:\n  - name: desktop\n    token_env: DESKTOP\n    products: [{id: 3349, name: Drawing <Studio>}]\n  \
         - name: server\n    token_env: SERVER\n",
    )
    .unwrap();
    let ask = |more: &[&str]| {
        let mut command = command(&stub, &with(&["--config.file", file.to_str().unwrap()]));
        command.args(more).env_remove("CRYPTOLENS_TOKEN");
        command.env("DESKTOP", super::stub::TOKEN).env("SERVER", "other").output().unwrap()
    };
    let output = ask(&["--account=desktop"]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("Web API Log · desktop.") && page.contains("3349 Drawing <Studio>"), "{page}");
    let page = String::from_utf8(ask(&["--account=desktop", "--format=html"]).stdout).unwrap();
    assert!(page.contains("3349 Drawing &lt;Studio&gt;"), "{page}");
    let error = String::from_utf8(ask(&[]).stderr).unwrap();
    assert!(error.contains("choose one by --account: desktop, server"), "{error}");
    assert_eq!(ask(&["--account=server"]).status.code(), Some(1), "its token is another one");
}

/// A report uses neither, so that neither stops it.
#[test]
fn settings_of_serve_and_tokens_of_other_accounts_do_not_matter() {
    let stub = stub();
    let output = command(&stub, &WEEK).env("CRYPTOLENS_POLL_OVERLAP", "soon").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("exporter.yml");
    let text = "poll: {overlap: soon}\naccounts:\n  - {name: a, token_env: OWN}\n  \
                - {name: b, token_file: no-such-file, since: soon}\n";
    std::fs::write(&file, text).unwrap();
    let ask = |account: &str| {
        let mut command = command(&stub, &with(&["--config.file", file.to_str().unwrap(), account]));
        command.env_remove("CRYPTOLENS_TOKEN").env("OWN", super::stub::TOKEN).output().unwrap()
    };
    let output = ask("--account=a");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = ask("--account=b");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file: no such file"));
}

#[test]
fn a_typed_beginning_overrides_every_variable_of_a_beginning() {
    let stub = stub();
    let days = shown(&stub, &["report", "--days=7", "--to=2026-01-12"]);
    let mut command = command(&stub, &["report", "--days=7", "--to=2026-01-12"]);
    command.env("CRYPTOLENS_REPORT_SINCE", "1h").env("CRYPTOLENS_REPORT_FROM", "2026-01-01");
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), days);
}

#[test]
fn pages_in_another_order_are_an_error() {
    let stub = Stub::start(Logs {
        requests: requests(),
        faults_from: vec![(1, Fault::new(FaultKind::IgnoredOrder))],
        ..Logs::default()
    });
    assert!(failure(&stub, &WEEK, 1).contains("not in the order that was asked for"));
}

#[test]
fn bad_usage_has_exit_code_2() {
    let stub = stub();
    for (args, message) in [
        (&["report", "--from=yesterday"][..], "--from: found \"yesterday\""),
        (&["report", "--from=2026-01-02", "--to=2026-01-01"], "is empty"),
        (&["report", "--days=3", "--since=1h"], "both say where report begins"),
        (&["report", "--since=1h", "--from=2026-01-01"], "both say where report begins"),
        (&["report", "--key=KEY-00"], "--product"),
        (&["report", "--timezone=Mars/Olympus"], "IANA"),
        (&["report", "events", "--states=2014"], "--states has no meaning for the events report"),
        (&["report", "--account=shop"], "--account: found \"shop\""),
    ] {
        let error = failure(&stub, args, 2);
        assert!(error.contains(message), "{args:?}: {error}");
    }
    assert_eq!(stub.requests(), 0);
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let stub = stub();
    let mut child = command(&stub, &with(&["--format=html"])).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 16]).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    let mut child = command(&stub, &WEEK).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_wrong_token_is_reported_and_not_shown() {
    let stub = stub();
    let output = command(&stub, &WEEK).env("CRYPTOLENS_TOKEN", "WyJwrong").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("refused the token") && !stderr.contains("WyJ"), "{stderr}");
    assert_eq!(stub.requests(), 1, "asking again would not help");
    let output = run(&stub, &["report", "--api.url=ftp://x"]);
    assert_eq!(output.status.code(), Some(2));
}
