//! `report`, `audit` and `export` as their users meet them: the binary against a stub of the Web API.
//!
//! After a wanted change, `UPDATE_EXPECT=1 cargo test --test report` writes the golden files anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agreement;
mod changes;
mod customer;
mod events;
mod export;
mod incident;
mod inputs;
mod objects;
mod parquet;
mod printed;
mod product_seats;
mod reconcile;
mod seats;
mod stub;
mod summary;
mod web_api;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect_file;
use serde_json::{Map, Value};
use stub::{Stub, TOKEN};

/// Times are relative to this one: Monday, 5 January 2026, 00:00 UTC.
const MONDAY: i64 = 1_767_571_200;

fn command(stub: &Stub, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"));
    command.env_clear().env("CRYPTOLENS_TOKEN", TOKEN).env("CRYPTOLENS_API_URL", &stub.url);
    // Faults are set by the number of the request.
    command.env("CRYPTOLENS_API_CONCURRENCY", "1");
    command.args(args).stdin(Stdio::null());
    command
}

fn run(stub: &Stub, args: &[&str]) -> Output {
    command(stub, args).output().unwrap()
}

/// The standard output of a run that succeeds.
fn shown(stub: &Stub, args: &[&str]) -> String {
    let output = run(stub, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "", "{args:?}: nothing is written to standard error where nobody waits at a terminal");
    String::from_utf8(output.stdout).unwrap()
}

/// The standard error of a run that fails.
fn failure(stub: &Stub, args: &[&str], code: i32) -> String {
    let output = run(stub, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}: a part of an answer is shown");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains(TOKEN), "{stderr}");
    stderr
}

/// Tells a run to end once the stub was asked `requests` times, and gives what became of it.
fn ended_at(stub: &Stub, args: &[&str], requests: u64, signal: rustix::process::Signal) -> Output {
    let mut command = command(stub, args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while stub.requests() < requests && begin.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap()
}

/// The arguments of a report, its name, and lists of flags that it refuses.
type RefusedFlags<'a> = (&'a [&'a str], &'a str, &'a [&'a [&'a str]]);

/// A report refuses a flag that it does not use.
#[test]
fn flags_of_another_report_are_refused() {
    let stub = Stub::start(stub::Logs::default());
    let of_logs = ["--days=1", "--states=2020", "--outcome=failure", "--no-comparison", "--chart=daily"];
    let of_incident = ["--at=2026-01-05", "--fail-on=incident"];
    let of_summary = ["--compare=year", "--objective=95"];
    let of_changes = ["--resource=product", "--user=22"];
    let of_documents = ["--table=states", "--compare=year", "--objective=95"];
    let refused: [RefusedFlags; 7] = [
        (&["web-api"], "web-api", &[&of_incident, &of_changes, &of_documents]),
        (&["events"], "events", &[&of_incident, &of_changes, &of_documents]),
        (&["objects"], "objects", &[&of_incident, &of_changes, &of_documents, &["--product=3349"]]),
        (&["incident"], "incident", &[&of_logs, &of_summary, &of_changes]),
        (
            &["customer", "HCGXC"],
            "customer",
            &[&of_logs, &of_incident, &of_summary, &of_changes, &["--key=HCGXC"]],
        ),
        (&["summary"], "summary", &[&of_logs, &of_changes, &["--at=2026-01-05", "--key=HCGXC"]]),
        (&["changes"], "changes", &[&of_logs, &of_incident, &of_summary, &["--product=3349", "--key=HCGXC"]]),
    ];
    for (report, name, flags) in refused {
        for flag in flags.iter().copied().flatten() {
            let message = failure(&stub, &[&["report"], report, &[flag]].concat(), 2);
            let typed = flag.split('=').next().unwrap();
            assert!(message.contains(&format!("{typed} has no meaning for the {name} report")), "{message}");
        }
    }
}

fn assert_golden(name: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/golden");
    expect_file![folder.join(name)].assert_eq(actual);
}

/// Writes a report of a finished time in each format, twice: as the golden files of this name have it, and
/// the same bytes each time.
fn assert_golden_formats(stub: &Stub, name: &str, arguments: &[&str]) {
    for (format, ending) in
        [("text", "txt"), ("html", "html"), ("markdown", "md"), ("json", "json"), ("csv", "csv")]
    {
        let arguments = [arguments, &["--format", format]].concat();
        let first = shown(stub, &arguments);
        assert_golden(&format!("{name}.{ending}"), &first);
        assert_eq!(first, shown(stub, &arguments), "{format}: a finished period gives the same bytes");
        assert!(first.len() < 512 * 1024, "{format}: {} bytes", first.len());
    }
}

/// A text without its line breaks.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Holds a page against the JSON of version 1 of the same report: each item of a list has a row of a
/// table, or a cell of a field, with all of its numbers and times, and all other numbers stand
/// somewhere. `hidden` are members of a list or an object, the report itself being "", that the page
/// has never shown.
fn assert_page_shows(report: &Value, page: &str, hidden: &[(&str, &[&str])]) {
    let rows = page.split("<tr").skip(1).map(|rest| rest.split("</tr>").next().unwrap());
    let cells = page.split("<rect").skip(1).map(|rest| rest.split("</rect>").next().unwrap());
    let pieces = rows.chain(cells).map(Piece::new).collect();
    let mut comparison = PageComparison { pieces, page: Piece::new(page), hidden, numbers: 0 };
    comparison.compare("", report);
    assert!(comparison.numbers > 20, "{} numbers were compared", comparison.numbers);
}

/// A part of a page: as it is, and its words.
struct Piece<'a> {
    html: &'a str,
    words: Vec<String>,
}

impl Piece<'_> {
    fn new(html: &str) -> Piece<'_> {
        let texts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        let word = |word: &str| word.trim_matches(|c: char| "(),.;:".contains(c)).to_owned();
        Piece { html, words: texts.flat_map(str::split_whitespace).map(word).collect() }
    }

    /// True if the value stands here, in one of the forms that it may have.
    fn shows(&self, value: &Value) -> bool {
        let forms = match (value.as_str(), value.as_i64(), value.as_f64()) {
            (Some(time), ..) => return self.html.contains(time),
            (_, Some(number), _) => vec![grouped(number), number.to_string()],
            (_, _, Some(number)) => {
                let percent = format!("{:.1}", number.abs() * 100.0);
                let sign = if percent == "0.0" {
                    "±"
                } else if number < 0.0 {
                    "−"
                } else {
                    "+"
                };
                let change = format!("{sign}{percent}");
                vec![format!("{percent}%"), format!("{change}%"), change, format!("{number:.2}")]
            }
            _ => return true,
        };
        self.html.contains(&format!("value=\"{value}\""))
            || forms.iter().any(|form| self.words.contains(form))
    }
}

fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let parts = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap());
    parts.collect::<Vec<_>>().join(",")
}

struct PageComparison<'a> {
    pieces: Vec<Piece<'a>>,
    page: Piece<'a>,
    hidden: &'a [(&'a str, &'a [&'a str])],
    numbers: usize,
}

impl PageComparison<'_> {
    fn compare(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (member, value) in self.shown(name, members) {
                    self.compare(member, value);
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item.as_object() {
                        Some(members) => self.compare_row(name, members),
                        None => self.compare(name, item),
                    }
                }
            }
            // What is not there has no sentence.
            value if value.as_u64() == Some(0) => {}
            value if is_fact(value) => {
                assert!(self.page.shows(value), "{name}: {value} is not on the page");
                self.numbers += 1;
            }
            _ => {}
        }
    }

    fn compare_row(&mut self, name: &str, members: &Map<String, Value>) {
        let shown = self.shown(name, members);
        let facts: Vec<&Value> =
            shown.iter().map(|(_, value)| *value).filter(|value| is_fact(value)).collect();
        let is_row = |piece: &Piece<'_>| facts.iter().all(|fact| piece.shows(fact));
        assert!(self.pieces.iter().any(is_row), "{name}: no row has {facts:?} of {members:?}");
        self.numbers += facts.len();
        for (member, value) in shown.into_iter().filter(|(_, value)| value.is_array()) {
            self.compare(member, value);
        }
    }

    /// The members that a page shows, without those that a document says in other words.
    fn shown<'a>(&self, name: &str, members: &'a Map<String, Value>) -> Vec<(&'a str, &'a Value)> {
        let is_hidden = |member: &str| {
            matches!(member, "schema_version" | "window")
                || self.hidden.iter().any(|(of, hidden)| *of == name && hidden.contains(&member))
        };
        members
            .iter()
            .map(|(member, value)| (member.as_str(), value))
            .filter(|(member, _)| !is_hidden(member))
            .collect()
    }
}

/// True for a number or a time.
fn is_fact(value: &Value) -> bool {
    let is_time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).is_ok();
    value.is_number() || value.as_str().is_some_and(is_time)
}
