//! `report`, `audit` and `export` as their users meet them: the binary against a stub of the Web API.
//!
//! After a wanted change, `UPDATE_FIXTURES=1 cargo test --test report` writes the golden files anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod changes;
mod customer;
mod events;
mod export;
mod incident;
mod objects;
mod parquet;
mod seats;
mod stub;
mod web_api;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// What a run that succeeds writes.
fn shown(stub: &Stub, args: &[&str]) -> String {
    let output = run(stub, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "", "{args:?}: nothing is told where nobody waits at a terminal");
    String::from_utf8(output.stdout).unwrap()
}

/// What a run that fails tells.
fn told(stub: &Stub, args: &[&str], code: i32) -> String {
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

/// What no report uses, it does not take.
#[test]
fn flags_of_another_report_are_refused() {
    let stub = Stub::start(stub::Logs::default());
    let of_logs = ["--days=1", "--states=2020", "--outcome=failure", "--no-comparison", "--chart=daily"];
    let of_incident = ["--at=2026-01-05", "--fail-on=incident"];
    let of_changes = ["--resource=product", "--user=22"];
    let refused: [RefusedFlags; 6] = [
        (&["web-api"], "web-api", &[&of_incident, &of_changes, &["--table=states"]]),
        (&["events"], "events", &[&of_incident, &of_changes, &["--table=states"]]),
        (&["objects"], "objects", &[&of_incident, &of_changes, &["--table=states", "--product=3349"]]),
        (&["incident"], "incident", &[&of_logs, &of_changes]),
        (&["customer", "HCGXC"], "customer", &[&of_logs, &of_incident, &of_changes, &["--key=HCGXC"]]),
        (&["changes"], "changes", &[&of_logs, &of_incident, &["--product=3349", "--key=HCGXC"]]),
    ];
    for (report, name, flags) in refused {
        for flag in flags.iter().copied().flatten() {
            let message = told(&stub, &[&["report"], report, &[flag]].concat(), 2);
            let typed = flag.split('=').next().unwrap();
            assert!(message.contains(&format!("{typed} has no meaning for the {name} report")), "{message}");
        }
    }
}

fn assert_golden(name: &str, actual: &str) {
    let path = Path::new("tests/report/golden").join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| format!("({error})\n"));
    assert!(expected == actual, "{}\n--- expected\n{expected}--- actual\n{actual}", path.display());
}
