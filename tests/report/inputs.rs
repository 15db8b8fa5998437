//! Questions that no report can answer have the same answer everywhere: a clear sentence, and the
//! exit code of the page.

use serde_json::Value;

use super::incident::{block, key, logs};
use super::stub::{Logs, Stub};
use super::{failure, run, shown};

/// The reports that are documents, each with what it needs.
fn reports() -> [Vec<String>; 5] {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    [
        words("report incident"),
        words(&format!("report customer {}", key(0))),
        words("report summary"),
        words("report changes"),
        words("audit seats --product=3349"),
    ]
}

fn with<'a>(report: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    report.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn what_is_not_there_is_bad_usage_of_every_report() {
    let stub = Stub::start(logs());
    for report in reports() {
        for (more, expected) in [
            (&["--from=2999-01-01", "--to=2999-01-02"][..], "the time to report on is in the future"),
            (&["--month=2999-01"], "--month: January 2999 is in the future"),
            (&["--month=2026-13"], "expected a month such as 2026-10, or last"),
            (&["--from=2026-01-07", "--to=2026-01-05"], "the time to report on is empty"),
            (&["--from=yesterday", "--to=2026-01-05"], "expected a date such as 2026-01-31"),
            (&["--day=2026-01-05", "--timezone=Mars/Olympus"], "--timezone: found \"Mars/Olympus\""),
            (
                &["--day=2026-01-05", "--account=nosuch"],
                "--account: found \"nosuch\", expected one of: default",
            ),
        ] {
            let message = failure(&stub, &with(&report, more), 2);
            assert!(message.contains(expected), "{report:?} {more:?}: {message}");
        }
    }
    let [incident, _, summary, ..] = reports();
    let customer = ["report".to_owned(), "customer".to_owned(), "NOONE".to_owned()];
    let seats = |product: &str| ["audit".to_owned(), "seats".to_owned(), product.to_owned()];
    let unknown = "--product: 99 is known neither to the log of this time nor to GetProducts";
    for (report, more, expected) in [
        (&incident[..], &["--product=99"][..], unknown),
        (&summary, &["--product=99"], unknown),
        (&seats("--product=99"), &[], unknown),
        (&incident, &["--key=NOONE"], "--key: the log of this time has no such key"),
        (&customer, &[], "KEY: the log of this time has no such key, and neither have GetKey and GetKeys"),
        (&seats("--product=3349"), &["--key=NOONE"], "--key: the log of this time has no such key"),
    ] {
        let message = failure(&stub, &with(report, &[&["--day=2026-01-05"], more].concat()), 2);
        assert!(message.contains(expected), "{report:?} {more:?}: {message}");
    }
}

/// A time in which there is nothing is no mistake, and no good news either.
#[test]
fn a_log_that_does_not_reach_back_is_said_and_exit_code_0() {
    let stub = Stub::start(logs());
    for report in reports() {
        let arguments = with(&report, &["--day=2020-01-05", "--format=json"]);
        let document: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
        assert_eq!(document["read"]["rows"], 0, "{report:?}");
        let headline = document["headline"].as_str().unwrap();
        assert!(
            ["No request", "no request", "Nothing is known"].iter().any(|words| headline.contains(words)),
            "{report:?}: {headline}"
        );
        let whole = document.to_string();
        assert!(whole.contains("0 of ") || whole.contains("does not reach back"), "{report:?}: {whole}");
    }
    // Where it reaches back to a part of it.
    let summary = shown(&stub, &["report", "summary", "--from=2025-12-01", "--to=2026-01-10"]);
    let words: Vec<&str> = summary.split_whitespace().collect();
    assert!(words.join(" ").contains("The log begins at 22 Dec"), "{summary}");
}

/// Every command that a report prints runs as it is printed.
#[test]
fn every_printed_step_of_every_report_runs() {
    let stub = Stub::start(logs());
    let mut steps = 0;
    for report in reports() {
        for level in ["masked", "customers", "full"] {
            let identities = format!("--identities={level}");
            let arguments = with(&report, &["--day=2026-01-05", "--format=json", &identities]);
            let document: Value = serde_json::from_str(&shown(&stub, &arguments)).unwrap();
            if !block(&document, "next").is_null() {
                steps += super::incident::run_steps(&stub, &document);
            }
        }
    }
    assert!(steps >= 9, "{steps}");
}

/// Two runs give the same bytes in every format, whatever is named.
#[test]
fn two_runs_of_every_report_are_equal() {
    let stub = Stub::start(logs());
    for report in reports() {
        for format in ["text", "html", "markdown", "json", "csv"] {
            let format = format!("--format={format}");
            let arguments = with(&report, &["--day=2026-01-05", &format, "--identities=full"]);
            assert_eq!(shown(&stub, &arguments), shown(&stub, &arguments), "{report:?} {format}");
        }
    }
}

/// A token that may call nothing but the logs gets every report, which says what it lacks.
#[test]
fn lookups_that_are_denied_leave_every_report_readable() {
    use cryptolens_simulator::Method;
    let denied = vec![Method::GetProducts, Method::GetKeys, Method::GetKey, Method::GetCustomers];
    let stub = Stub::start(Logs { denied, ..logs() });
    for report in reports() {
        let output = run(&stub, &with(&report, &["--day=2026-01-05", "--identities=customers"]));
        assert_eq!(output.status.code(), Some(0), "{report:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let asks = !report.contains(&"changes".to_owned());
        assert_eq!(text.contains("may not call"), asks, "{report:?}: {text}");
    }
}
