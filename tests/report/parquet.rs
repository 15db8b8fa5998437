//! `export --format=parquet`. Other readers are in `scripts/archive-check`.

use std::fs::File;
use std::path::Path;

use cryptolens_simulator::{Fault, FaultKind};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row, RowAccessor as _};
use serde_json::{Value, json};

use super::stub::{Logs, Stub};
use super::{MONDAY, ended_at, failure, run, shown};

fn request(index: i64) -> Value {
    json!({
        "id": 10 + index * 3, "productId": 3349, "key": format!("KEY-{:02}", index % 4), "ip": "10.0.0.0",
        "time": MONDAY + index * 600, "state": if index % 5 == 0 { 2024 } else { 2014 },
        "machineCode": format!("machine{:02}", index % 7), "friendlyName": "alice", "floatingExpires": 0,
        "doIntValue": 0, "doId": 0, "country": "Atlantis",
    })
}

fn stub(count: i64) -> Stub {
    Stub::start(Logs { requests: (0..count).map(request).collect(), page: Some(50), ..Logs::default() })
}

fn rows(file: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

fn text(row: &Row, name: &str) -> Option<String> {
    match row.get_column_iter().find(|(column, _)| *column == name).unwrap().1 {
        Field::Str(text) => Some(text.clone()),
        Field::Null => None,
        field => panic!("{name}: {field}"),
    }
}

/// The directory, which has to live, and a file in it.
fn target() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("requests.parquet").to_str().unwrap().to_owned();
    (directory, file)
}

const EXPORT: [&str; 4] = ["export", "web-api", "--format=parquet", "-o"];

#[test]
fn every_row_comes_once_with_its_types() {
    let (directory, file) = target();
    let stub = stub(500);
    assert_eq!(shown(&stub, &[&EXPORT[..], &[&file, "--identities=full"]].concat()), "");
    let rows = rows(file.as_ref());
    let ids: Vec<i64> = rows.iter().map(|row| row.get_long(0).unwrap()).collect();
    assert_eq!(ids, (0..500).map(|index| 10 + index * 3).collect::<Vec<_>>());
    assert_eq!(rows[5].get_timestamp_micros(1).unwrap(), (MONDAY + 3000) * 1_000_000);
    assert_eq!(text(&rows[5], "event_type").as_deref(), Some("activation"));
    assert_eq!(text(&rows[5], "outcome").as_deref(), Some("failure"));
    assert_eq!(text(&rows[6], "outcome").as_deref(), Some("success"));
    assert_eq!(text(&rows[6], "friendly_name").as_deref(), Some("alice"));
    assert_eq!(text(&rows[6], "extra").as_deref(), Some(r#"{"country":"Atlantis"}"#));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside");
    // A window holds the same entries as in the other formats.
    let window = ["--from=2026-01-06", "--to=2026-01-07"];
    shown(&stub, &[&EXPORT[..], &[&file], &window].concat());
    let lines = shown(&stub, &[&["export", "web-api"], &window[..]].concat());
    let expected =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap());
    let ids: Vec<i64> = self::rows(file.as_ref()).iter().map(|row| row.get_long(0).unwrap()).collect();
    assert_eq!((ids.len(), ids), (144, expected.collect()));
}

/// Statistics and dictionaries hold values too, so the bytes are searched.
#[test]
fn names_are_masked_unless_asked_for_and_as_in_the_other_formats() {
    let (_directory, file) = target();
    let events =
        vec![json!({"id": 1, "key": "KEY-1", "metadata": "{\"mail\":\"alice@b.c\"}", "mail": "alice"})];
    let objects = vec![json!({"id": 2, "performedByUserId": "alice", "data": "{\"Name\":\"alice\"}"})];
    let requests = (0..60).map(request).collect();
    let stub = Stub::start(Logs { requests, events, objects, ..Logs::default() });
    for log in ["events", "objects", "web-api"] {
        let format = ["export", log, "--format=parquet", "-o", &file];
        shown(&stub, &format);
        // Pages are compressed: what the reader gives is searched as well as the bytes.
        let bytes = std::fs::read(&file).unwrap();
        let values = rows(file.as_ref()).iter().map(ToString::to_string).collect::<String>();
        for secret in ["KEY-", "machine0", "alice", "10.0.0.0", "Atlantis"] {
            let is_in_bytes = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_in_bytes && !values.contains(secret), "{secret} in {log}");
        }
        shown(&stub, &[&format[..], &["--identities=full"]].concat());
        let values = rows(file.as_ref()).iter().map(ToString::to_string).collect::<String>();
        assert!(values.contains("alice"), "the search finds what is there: {log}");
    }
    let masked = ["export", "web-api"];
    let line: Value = serde_json::from_str(shown(&stub, &masked).lines().next().unwrap()).unwrap();
    shown(&stub, &[&EXPORT[..], &[&file]].concat());
    let first = &rows(file.as_ref())[0];
    for (column, member) in
        [("key", "key"), ("machine_code", "machineCode"), ("friendly_name", "friendlyName"), ("ip", "ip")]
    {
        assert_eq!(text(first, column).as_deref(), line[member].as_str(), "{column}");
    }
}

#[test]
fn a_file_needs_a_name_and_is_not_resumed() {
    let stub = stub(5);
    let (directory, file) = target();
    for args in [
        &["export", "web-api", "--format=parquet"][..],
        &["export", "web-api", "--format=parquet", "-o", "-"],
    ] {
        let error = failure(&stub, args, 2);
        assert!(error.contains("--format=parquet needs a regular file that --output names"), "{error}");
    }
    assert!(failure(&stub, &[&EXPORT[..], &["/dev/null"]].concat(), 2).contains("regular file"));
    let error = failure(&stub, &[&EXPORT[..], &[&file, "--resume"]].concat(), 2);
    assert!(error.contains("--resume has no meaning for --format=parquet"), "{error}");
    assert_eq!(stub.requests(), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_export_that_ends_early_leaves_the_file_as_it_was_and_nothing_beside() {
    let (directory, file) = target();
    shown(&stub(20), &[&EXPORT[..], &[&file]].concat());
    let before = std::fs::read(&file).unwrap();
    let requests: Vec<Value> = (0..500).map(request).collect();
    let logs = || Logs { requests: requests.clone(), page: Some(50), ..Logs::default() };
    let broken =
        Stub::start(Logs { faults: vec![(4, Fault::new(FaultKind::AccessDenied).value(403))], ..logs() });
    failure(&broken, &[&EXPORT[..], &[&file]].concat(), 1);
    let hanging = Stub::start(Logs { faults_from: vec![(4, Fault::new(FaultKind::Hang))], ..logs() });
    let output = ended_at(&hanging, &[&EXPORT[..], &[&file]].concat(), 4, rustix::process::Signal::TERM);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), error.as_str()),
        (Some(1), "error: interrupted before everything was read\n")
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    // The partial file of a killed export is written over.
    std::fs::write(directory.path().join("requests.parquet.partial"), [7; 100_000]).unwrap();
    shown(&Stub::start(logs()), &[&EXPORT[..], &[&file]].concat());
    assert_eq!(rows(file.as_ref()).len(), 500);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_log_without_entries_is_a_file_without_rows() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, file) = target();
    for (identities, mode) in [("masked", 0o044), ("full", 0)] {
        let output = run(&stub(0), &[&EXPORT[..], &[&file, "--identities", identities]].concat());
        assert!(output.status.success());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message, "the web-api log holds no entry that was asked for\n");
        assert_eq!(rows(file.as_ref()).len(), 0);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o044, mode);
    }
}
