//! `export`.

use std::path::Path;
use std::process::Stdio;

use cryptolens_simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, assert_golden, command, ended_at, failure, run, shown};

fn rows(count: i64) -> Vec<Value> {
    let row = |index: i64| {
        json!({
            "id": 10 + index * 3, "productId": 3349, "key": format!("KEY-{:02}", index % 4), "ip": "10.0.0.0",
            "time": MONDAY + index * 600, "state": 2014, "machineCode": format!("machine{:02}", index % 7),
            "friendlyName": if index % 2 == 0 { "=1+1, \"alice\"\nsmith" } else { "" },
            "floatingExpires": MONDAY + index * 600 + 300, "doIntValue": 0, "doId": 0,
        })
    };
    (0..count).map(row).collect()
}

fn stub(count: i64) -> Stub {
    let licenses = vec![(3349, "KEY-01", 0)];
    Stub::start(Logs { requests: rows(count), page: Some(50), licenses, ..Logs::default() })
}

fn ids(text: &str) -> Vec<i64> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
    text.lines().map(id).collect()
}

fn all_ids(count: i64) -> Vec<i64> {
    (0..count).map(|index| 10 + index * 3).collect()
}

fn ids_in(file: &Path) -> Vec<i64> {
    ids(&std::fs::read_to_string(file).unwrap())
}

#[test]
fn both_formats_are_as_they_were() {
    let stub = stub(8);
    for identities in ["full", "masked"] {
        let identities_flag = format!("--identities={identities}");
        for format in ["ndjson", "csv"] {
            let args = ["export", "web-api", "--format", format, &identities_flag];
            assert_golden(&format!("export-{identities}.{format}"), &shown(&stub, &args));
        }
    }
}

#[test]
fn every_row_comes_once_and_in_order() {
    assert_eq!(ids(&shown(&stub(500), &["export", "web-api"])), all_ids(500));
    let window = ["export", "web-api", "--from=2026-01-06", "--to=2026-01-07"];
    let expected: Vec<i64> = (144..288).map(|index| 10 + index * 3).collect();
    assert_eq!(ids(&shown(&stub(500), &window)), expected);
}

#[test]
fn names_are_masked_unless_asked_for() {
    for format in ["ndjson", "csv"] {
        let page = shown(&stub(8), &["export", "web-api", "--format", format]);
        for secret in ["KEY-", "machine0", "alice", "10.0.0.0"] {
            assert!(!page.contains(secret), "{format}: {secret} in {page}");
        }
    }
}

#[test]
fn an_export_that_was_cut_off_is_gone_on_with() {
    for format in ["ndjson", "csv"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("requests");
        let args = [
            "export",
            "web-api",
            "--format",
            format,
            "--identities=full",
            "--output",
            file.to_str().unwrap(),
        ];
        let faults = vec![(4, Fault::new(FaultKind::AccessDenied).value(403))];
        let broken = Stub::start(Logs { requests: rows(500), page: Some(50), faults, ..Logs::default() });
        let error = failure(&broken, &args, 1);
        assert!(error.contains("requests.partial, and --resume goes on after it"), "{error}");
        assert!(!file.exists());

        let whole = stub(500);
        shown(&whole, &[&args[..], &["--resume"]].concat());
        let mut anew = args;
        let other = directory.path().join("other");
        anew[6] = other.to_str().unwrap();
        shown(&whole, &anew);
        let (resumed, at_once) = (std::fs::read(&file).unwrap(), std::fs::read(&other).unwrap());
        assert!(resumed == at_once, "{format}: {} and {} bytes", resumed.len(), at_once.len());
        let asked = whole.asked();
        // 150 entries were written, and all of them are read again: a log may show rows late.
        assert_eq!(asked[0].parameters["startingafter"], "10", "{format}");
        assert!(!directory.path().join("requests.partial").exists());
    }
}

#[test]
fn an_export_that_is_told_to_end_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.ndjson");
    let args = ["export", "web-api", "--output", file.to_str().unwrap()];
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let hanging = Stub::start(Logs {
            requests: rows(500),
            page: Some(50),
            faults_from: vec![(4, Fault::new(FaultKind::Hang))],
            ..Logs::default()
        });
        let output = ended_at(&hanging, &args, 4, signal);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.starts_with("error: interrupted before everything was read; what was exported is kept in")
        );
        assert!(!file.exists());
    }
    shown(&stub(500), &[&args[..], &["--resume"]].concat());
    assert_eq!(ids_in(&file), all_ids(500));
}

#[test]
fn an_export_of_nothing_is_a_sentence_and_no_entry() {
    let output = run(&stub(5), &["export", "web-api", "--from=2020-01-01", "--to=2020-01-02"]);
    assert!(output.status.success() && output.stdout.is_empty());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "the web-api log holds no entry that was asked for\n");
}

#[test]
fn a_complete_export_gets_what_came_since() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.ndjson");
    let args = ["export", "web-api", "--resume", "--output", file.to_str().unwrap()];
    shown(&stub(100), &args);
    assert_eq!(ids_in(&file), all_ids(100));
    let later = stub(130);
    shown(&later, &args);
    assert_eq!(ids_in(&file), all_ids(130));
    shown(&later, &args);
    assert_eq!(ids_in(&file), all_ids(130));
    let broken = Stub::start(Logs {
        requests: rows(500),
        faults: vec![(1, Fault::new(FaultKind::AccessDenied).value(403))],
        faults_from: vec![(1, Fault::new(FaultKind::BadGatewayHtml).value(503))],
        ..Logs::default()
    });
    failure(&broken, &args, 1);
    assert_eq!(ids_in(&file), all_ids(130), "what is in place stays");
}

/// A beginning that is counted back from now moves on between two runs.
#[test]
fn going_on_leaves_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.ndjson");
    let args = ["export", "web-api", "--resume", "--output", file.to_str().unwrap()];
    let stub = stub(700);
    shown(&stub, &[&args[..], &["--from=2026-01-06", "--to=2026-01-07"]].concat());
    shown(&stub, &[&args[..], &["--from=2026-01-08", "--to=2026-01-09"]].concat());
    assert_eq!(ids_in(&file), (144..576).map(|index| 10 + index * 3).collect::<Vec<_>>());
}

#[test]
fn another_file_is_not_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "my notes\n").unwrap();
    let error = failure(&stub(10), &["export", "web-api", "--resume", "--output", file.to_str().unwrap()], 1);
    assert!(error.contains("it is no export of this log in this format"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "my notes\n");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(failure(&stub(10), &["export", "web-api", "--resume"], 2).contains("--output"));
}

#[test]
fn the_other_logs_are_exported_too() {
    let events =
        vec![json!({"id": 1, "eventName": "start", "key": "KEY-1", "metadata": "{\"mail\":\"a@b.c\"}"})];
    let objects = vec![json!({"id": 2, "performedByUserId": "18", "data": "{\"Name\":\"Bob\"}"})];
    let stub = Stub::start(Logs { events, objects, ..Logs::default() });
    let page = shown(&stub, &["export", "events"]);
    assert!(
        page.contains("\"eventName\":\"start\"") && !page.contains("a@b.c") && !page.contains("KEY-1"),
        "{page}"
    );
    let page = shown(&stub, &["export", "objects"]);
    assert!(page.contains("\"performedByUserId\":\"18\"") && !page.contains("Bob"), "{page}");
    let contact = r#"{"alice@example.com":1,"Phone":46701234567,"born":"1990-01-31"}"#;
    let contacts = vec![json!({"id": 2, "data": contact})];
    let page = shown(&Stub::start(Logs { objects: contacts, ..Logs::default() }), &["export", "objects"]);
    for secret in ["alice", "4670", "1990", "born"] {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
    let page = shown(&stub, &["export", "objects", "--identities=full"]);
    assert!(page.contains("Bob"), "{page}");
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let stub = stub(5000);
    let mut child = command(&stub, &["export", "web-api"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(stub.requests() < 100, "it reads on for nobody");
    assert!(run(&stub, &["export", "web-api", "--output=-"]).status.success());
}

/// `--resume` went on from the highest id of the file: 33 of 900 rows that were shown late were
/// missing.
#[test]
fn rows_that_show_up_late_are_appended_by_a_resumed_export() {
    for format in ["ndjson", "csv"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("requests");
        let output = file.to_str().unwrap();
        let args = ["export", "web-api", "--resume", "--format", format, "--output", output];
        let minutely = |count: i64| {
            let time = |row: &mut Value, index: usize| row["time"] = json!(MONDAY + 60 * index as i64);
            let mut rows = rows(count);
            rows.iter_mut().enumerate().for_each(|(index, row)| time(row, index));
            rows
        };
        let is_late = |index: i64| index >= 867 && index % 2 == 0 || index % 53 == 5;
        let early = minutely(900).into_iter().zip(0..).filter(|(_, index)| !is_late(*index));
        let early: Vec<Value> = early.map(|(row, _)| row).collect();
        assert_eq!(early.len(), 900 - 33);
        let serve = |requests| Stub::start(Logs { requests, page: Some(50), ..Logs::default() });
        shown(&serve(early), &args);
        shown(&serve(minutely(900)), &args);
        let text = std::fs::read_to_string(&file).unwrap();
        let id = |line: &str| match format {
            "csv" => line.split(',').next().unwrap().parse().ok(),
            _ => serde_json::from_str::<Value>(line).unwrap()["id"].as_i64(),
        };
        let mut ids: Vec<i64> = text.lines().filter_map(id).collect();
        // The resume point is the highest id of the file, and not that of its last row, which was
        // late.
        let after: i64 = ids[ids.len() - 1];
        assert!(after < 10 + 899 * 3);
        ids.sort_unstable();
        assert_eq!(ids, all_ids(900), "{format}");
        let later = serve(minutely(1000));
        shown(&later, &args);
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().filter_map(id).count(), 1000);
        assert!(std::fs::read_to_string(&file).unwrap().starts_with(&text));
    }
}

/// A file is copied before it grows: killed at any moment, nothing of it is ever missing
/// afterwards.
#[test]
fn an_export_that_is_killed_while_it_copies_its_archive_never_loses_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.ndjson");
    let args = ["export", "web-api", "--resume", "--output", file.to_str().unwrap()];
    let archive = 5_000;
    let whole = Stub::start(Logs { requests: rows(archive + 500), ..Logs::default() });
    shown(&Stub::start(Logs { requests: rows(archive), ..Logs::default() }), &args);
    let saved = std::fs::read(&file).unwrap();
    let begin = std::time::Instant::now();
    let other = directory.path().join("other");
    std::fs::copy(&file, &other).unwrap();
    shown(&whole, &[&args[..4], &[other.to_str().unwrap()]].concat());
    std::fs::remove_file(&other).unwrap();
    let usual = begin.elapsed();
    let mut states = std::collections::BTreeSet::new();
    for step in 0..16 {
        let mut child = command(&whole, &args).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(usual * step / 16);
        child.kill().unwrap();
        child.wait().unwrap();
        let exists = |suffix: &str| directory.path().join(format!("requests.ndjson{suffix}")).exists();
        states.insert((exists(".copying"), exists(".partial")));
        assert!(std::fs::read(&file).unwrap().starts_with(&saved), "what is in place stays whole");
    }
    shown(&whole, &args);
    assert_eq!(ids_in(&file), all_ids(archive + 500));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "{states:?}");
}

/// `-o /dev/null` replaced the device by a file; FIFOs, `/dev/stdout` and `>(...)` failed.
#[test]
fn what_is_no_regular_file_is_written_to_and_never_replaced() {
    use std::os::unix::fs::FileTypeExt as _;
    let stub = stub(20);
    let commands: [&[&str]; 4] = [
        &["export", "web-api", "--identities=full"],
        &["export", "web-api", "--format=csv"],
        &["report", "web-api", "--from=2026-01-05", "--to=2026-01-06", "--format=json"],
        &["audit", "seats", "--product=3349", "--key=KEY-01", "--from=2026-01-05", "--to=2026-01-06"],
    ];
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = directory.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    for args in commands {
        let expected = shown(&stub, args);
        assert!(!expected.is_empty());
        for null in ["/dev/null", link.to_str().unwrap()] {
            assert_eq!(shown(&stub, &[args, &["-o", null]].concat()), "");
        }
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(shown(&stub, &[args, &["-o", "/dev/stdout"]].concat()), expected);
        let output = run(&stub, &[args, &["-o", "/dev/full"]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write /dev/full"));
        let reader = {
            let fifo = fifo.clone();
            std::thread::spawn(move || std::fs::read_to_string(fifo).unwrap())
        };
        shown(&stub, &[args, &["-o", fifo.to_str().unwrap()]].concat());
        assert_eq!(reader.join().unwrap(), expected);
        assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
        // A file that standard output is appended to, as by `>>`, keeps its content.
        let log = directory.path().join("log");
        std::fs::write(&log, "before\n").unwrap();
        let appended = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        let mut command = command(&stub, &[args, &["-o", "/dev/stdout"]].concat());
        assert!(command.stdout(appended).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(&log).unwrap(), format!("before\n{expected}"));
    }
    let error = failure(&stub, &["export", "web-api", "--resume", "-o", "/dev/null"], 2);
    assert!(error.contains("--resume needs a regular file"), "{error}");
}

#[test]
fn waiting_for_the_reader_of_a_fifo_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args = ["report", "web-api", "--from=2026-01-05", "--to=2026-01-06", "-o", fifo.to_str().unwrap()];
    let output = ended_at(&stub(20), &args, 2, rustix::process::Signal::INT);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn files_with_full_identities_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests");
    let output = ["--output", file.to_str().unwrap()];
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    let widen = || std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let stub = stub(20);
    let report: &[&str] = &["report", "web-api", "--from=2026-01-05", "--to=2026-01-06"];
    let export: &[&str] = &["export", "web-api"];
    for (args, resume) in [(report, &[][..]), (export, &[][..]), (export, &["--resume"][..])] {
        shown(&stub, &[args, &output, resume].concat());
        assert_ne!(mode() & 0o044, 0, "masked ones are as the umask says");
        widen();
        shown(&stub, &[args, &output, resume, &["--identities=full"]].concat());
        assert_eq!(mode(), 0o600, "{args:?} {resume:?}");
        std::fs::remove_file(&file).unwrap();
    }
}
