//! The commands that alerts, runbooks, dashboards and the docs of the reports tell people to run:
//! each runs as it stands, once names and moments are filled in as Prometheus and Grafana do.

use std::collections::BTreeSet;
use std::path::Path;

use cryptolens_simulator::{Options, Spike};
use serde_json::Value;

use super::incident::{self, block, item};
use super::stub::Stub;
use super::{MONDAY, command, failure, shown};

const HOUR: i64 = 3600;
const RULES: &str = "prometheus/cryptolens.rules.yml";
/// What a word of a command may be beside flags: commands, reports, and a license key.
const NAMES: [&str; 14] = [
    "report", "audit", "export", "incident", "customer", "summary", "changes", "events", "objects",
    "web-api", "seats", "KEY", "LOG", "-o",
];

/// The commands of these kinds in a text: the words behind the program's name.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ").replace('\n', " ");
    let mut found = Vec::new();
    for rest in joined.split("cryptolens-exporter ").skip(1) {
        let mut words: Vec<String> = Vec::new();
        let mut takes_a_value = false;
        for word in rest.split(' ').filter(|word| !word.is_empty()) {
            let end = word.find(['`', '"', ')', ',', ';']).unwrap_or(word.len());
            let (typed, is_last) = (word[..end].trim_end_matches(['.', ':']), end < word.len());
            if !(takes_a_value || typed.starts_with("--") || NAMES.contains(&typed)) {
                break;
            }
            takes_a_value = typed == "-o" || typed == "customer";
            words.push(typed.to_owned());
            if is_last || word.ends_with(['.', ':']) {
                break;
            }
        }
        let is_meant = words.first().is_some_and(|word| ["report", "audit", "export"].contains(&&**word));
        // "report ..." stands for any of them.
        if is_meant && !rest.starts_with("report ...") {
            found.push(words);
        }
    }
    found
}

/// The descriptions of the alerts with what Prometheus fills in.
fn descriptions() -> Vec<String> {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let parts = rules.split("description: >-").skip(1);
    let texts = parts.map(|part| part.split("dashboard_url").next().unwrap());
    let filled = texts.map(|text| {
        let text =
            text.replace("{{ $labels.account }}", "default").replace("{{ $labels.product_id }}", "3349");
        match text.split_once("--at={{") {
            Some((before, _)) => format!("{before}--at=2026-01-05T09:30:00Z "),
            None => text,
        }
    });
    filled.collect()
}

/// Every text of a dashboard with what Grafana fills in.
fn texts_of(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(
            ["${__field.labels.account}", "$1"]
                .iter()
                .fold(text.clone(), |text, name| text.replace(name, "default"))
                .replace("${__field.labels.product_id}", "3349")
                .replace("$2", "3349")
                .replace("${__value.time:date:iso}", "2026-01-05T09:30:00.000Z")
                .replace("${__to:date:iso}", "2026-01-05T09:30:00.000Z"),
        ),
        Value::Array(values) => values.iter().for_each(|value| texts_of(value, texts)),
        Value::Object(members) => members.values().for_each(|value| texts_of(value, texts)),
        _ => {}
    }
}

#[test]
fn the_extractor_knows_where_a_command_ends() {
    let of = |text: &str| commands(text).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(
        of("run `cryptolens-exporter report incident\n--product=3`, or"),
        ["report incident --product=3"]
    );
    assert_eq!(
        of("x: cryptolens-exporter report changes --since=1d; cryptolens-exporter report incident names"),
        ["report changes --since=1d", "report incident"]
    );
    assert_eq!(
        of("cryptolens-exporter report customer AB-CD --since=1d # the last"),
        ["report customer AB-CD --since=1d"]
    );
    assert_eq!(
        of("cryptolens-exporter export web-api \\\n  -o a.csv\ncryptolens-exporter check"),
        ["export web-api -o a.csv"]
    );
    assert_eq!(of("in the pod: cryptolens-exporter report ... and more"), [""; 0]);
}

#[test]
fn every_printed_command_runs() {
    let stub = Stub::start(incident::logs());
    let report: Value = serde_json::from_str(&shown(
        &stub,
        &["report", "incident", "--from=2026-01-05T08:00", "--to=2026-01-05T10:00", "--format=json"],
    ))
    .unwrap();
    let pseudonym = block(&report, "customers")["rows"][0]["key"].as_str().unwrap();
    let whole = incident::key(0);
    let group = whole.rsplit('-').next().unwrap();

    let mut of_alerts = Vec::new();
    descriptions().iter().for_each(|text| of_alerts.extend(commands(text)));
    assert!(of_alerts.len() >= 17, "{of_alerts:?}");
    let mut of_dashboards = Vec::new();
    for file in std::fs::read_dir("grafana/dashboards").unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut texts = Vec::new();
        texts_of(&serde_json::from_str(&text).unwrap(), &mut texts);
        texts.iter().for_each(|text| of_dashboards.extend(commands(text)));
    }
    assert!(of_dashboards.len() >= 7, "{of_dashboards:?}");
    // The CronJob, and the unit's ExecStart, whose directory systemd fills in.
    let page = std::fs::read_to_string("docs/reports.md").unwrap();
    let (_, arguments) = page.split_once("args: [").unwrap();
    let arguments = arguments.split_once(']').unwrap().0.split(',').map(|word| word.trim().to_owned());
    let of_schedules: Vec<Vec<String>> = vec![arguments.collect()];
    let of_page = |name: &str| commands(&std::fs::read_to_string(Path::new("docs").join(name)).unwrap());
    let (of_runbooks, of_reports) = (of_page("runbooks.md"), of_page("reports.md"));
    assert!(of_runbooks.len() >= 15 && of_reports.len() >= 20, "{of_runbooks:?} {of_reports:?}");

    let all = [of_alerts, of_dashboards, of_runbooks, of_reports, of_schedules].concat();
    let once: BTreeSet<Vec<String>> = all.into_iter().collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("license-key.txt"), &whole).unwrap();
    for words in once {
        let fill = |word: &String| -> String {
            match word.as_str() {
                "--account=NAME" => "--account=default".to_owned(),
                "--product=N" | "--product=ID" => "--product=3349".to_owned(),
                "--at=TIME" => "--at=2026-01-05T09:30:00Z".to_owned(),
                "--license-key-file=FILE" => "--license-key-file=license-key.txt".to_owned(),
                "KEY" | "ICVLD-VVSZR-ZTICT-YKGXL" | "--key=KEY" => {
                    word.replace(word.trim_start_matches("--key="), &whole)
                }
                "LOG" => "web-api".to_owned(),
                "YKGXL" => group.to_owned(),
                "key-3f2a91bc04d1" => pseudonym.to_owned(),
                word => word.replace("=/reports/", "=").replace("=%S/cryptolens-incident/", "="),
            }
        };
        let filled: Vec<String> = words.iter().map(fill).collect();
        let arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
        let output = command(&stub, &arguments).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {:?} {stderr}", output.status);
    }
}

/// The clock of the Prometheus or the browser that fills a moment in may be ahead of this one.
#[test]
fn a_moment_by_a_clock_that_is_ahead_is_now() {
    let stub = Stub::start(incident::logs());
    let at = |ahead: i64| {
        let time = chrono::DateTime::from_timestamp(chrono::Utc::now().timestamp() + ahead, 0).unwrap();
        time.format("--at=%FT%TZ").to_string()
    };
    let report = shown(&stub, &["report", "incident", &at(120), "--format=json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let to = chrono::DateTime::parse_from_rfc3339(report["period"]["to"].as_str().unwrap()).unwrap();
    assert!(to.timestamp() <= chrono::Utc::now().timestamp() + 1, "{to}");
    let message = failure(&stub, &["report", "incident", &at(3600)], 2);
    assert!(message.contains("is in the future"), "{message}");
}

/// The demo's live spike: what the command that it prints says ten minutes later, by day and at
/// night.
#[test]
fn a_spike_that_is_started_is_explained() {
    for hour in [3, 12] {
        let options = Options { start: MONDAY - 6 * HOUR, requests_per_minute: 15.0, ..Options::new(1) };
        let stub = Stub::of_traffic(options);
        stub.freeze(MONDAY + hour * HOUR);
        let started = stub.spike(Spike { product: None, seconds: 900, failure_share: 0.6 });
        let end = started.from + 600;
        stub.freeze(end);

        let since = |row: &&Value| row["time"].as_i64().unwrap() >= started.from;
        let rows = stub.web_api_rows();
        let of = |key: &str, digit: i64| {
            let is_counted =
                |row: &&Value| row["key"] == key && row["state"].as_i64().unwrap() / 10 % 10 == digit;
            rows.iter().filter(since).filter(is_counted).count()
        };
        let locked_out: BTreeSet<&str> = started
            .keys
            .iter()
            .map(String::as_str)
            .filter(|key| of(key, 2) >= 2 && of(key, 1) == 0)
            .collect();
        assert!(locked_out.len() >= 2, "{locked_out:?}");

        let utc = |time: i64| chrono::DateTime::from_timestamp(time, 0).unwrap().format("%FT%TZ").to_string();
        let report: Value = serde_json::from_str(&shown(
            &stub,
            &[
                "report",
                "incident",
                &format!("--product={}", started.product_id),
                &format!("--from={}", utc(end - 2 * HOUR)),
                &format!("--to={}", utc(end)),
                "--identities=full",
                "--format=json",
            ],
        ))
        .unwrap();
        let hit = block(&report, "customers")["rows"].as_array().unwrap();
        let hit: BTreeSet<&str> = hit.iter().map(|row| row["key"].as_str().unwrap()).collect();
        assert_eq!(hit, locked_out, "at {hour}");
        let onset = item(&report, "findings", "onset")["time"].as_str().unwrap();
        let onset = chrono::DateTime::parse_from_rfc3339(onset).unwrap().timestamp();
        assert!((started.from..started.from + 120).contains(&onset), "at {hour}: {onset}");
        let common = item(&report, "findings", "common")["text"].as_str().unwrap();
        assert!(common.contains("past their expiry date"), "at {hour}: {common}");
        let changes = item(&report, "findings", "changes");
        assert_eq!(changes["time"], utc(started.changed), "at {hour}");
    }
}
