//! Sends a canary token and canary personal data through everything that can go wrong, and looks
//! for them in all that the exporter leaves behind: log, pages, output, ledger.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use common::receiver::{Answer, Receiver};
use common::{Exporter, PATIENCE, command, eventually, run, serve, serve_with_file};
use cryptolens_exporter::usage::UsageSecret;
use cryptolens_simulator::{CANARIES, Fault, FaultKind, Log, Options, Simulator, start};
use rustix::process::Signal;

/// With characters that change when they are put into a form or a URL.
const TOKEN: &str = "WyI0MjQyIiwi+Q0FOQVJZLXRva2Vu/Il0=";
/// A part of it that looks the same everywhere.
const HEART: &str = "Q0FOQVJZLXRva2Vu";
const DAY: i64 = 86_400;

/// The credential of the pushes. A receiver must get it, and nobody else.
const PUSH_CREDENTIAL: &str = "CANARY-push-credential";

/// Everything that must be found nowhere.
fn needles() -> Vec<String> {
    let mut needles: Vec<String> = CANARIES.iter().map(|canary| (*canary).to_owned()).collect();
    // As usage compares machine codes.
    needles.extend(CANARIES.iter().map(|canary| canary.to_uppercase()));
    needles.push(HEART.to_owned());
    needles.push(PUSH_CREDENTIAL.to_owned());
    needles.push(url::form_urlencoded::byte_serialize(TOKEN.as_bytes()).collect());
    needles.push(HEART.bytes().map(|byte| format!("{byte:02x}")).collect());
    for engine in [BASE64_STANDARD, BASE64_URL_SAFE] {
        // Whatever stands before it shifts the text by 0, 1 or 2 bytes; the characters at the ends
        // depend on the rest.
        for shift in 0..3 {
            let shifted = [&vec![0; shift], HEART.as_bytes()].concat();
            let text = engine.encode(shifted);
            needles.push(text.trim_end_matches('=')[4..text.len() - 6].to_owned());
        }
    }
    needles
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for needle in needles() {
        if let Some(at) = text.find(&needle) {
            let around = text.get(at.saturating_sub(200)..).unwrap_or(&text[at..]);
            panic!("{needle} in {place}: {}", around.chars().take(500).collect::<String>());
        }
    }
}

fn assert_directory_clean(directory: &Path) {
    let mut files = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files > 0, "nothing to look at in {}", directory.display());
}

async fn assert_pages_clean(exporter: &Exporter) {
    for path in ["/metrics", "/", "/-/ready", "/-/healthy", "/nothing"] {
        let (_, text) = exporter.text(path).await;
        assert_clean(path, text.as_bytes());
    }
}

/// Without the secret, the hash of a key or machine that is known must not be computable. Rows are
/// hashed with the secret alone, so a member that is found without one would be a key that anybody
/// can test.
fn assert_no_unkeyed_hash(directory: &Path) {
    let without_secret = UsageSecret::from_bytes([0; 16]);
    let hashes = CANARIES.iter().flat_map(|canary| {
        [without_secret.license_key(canary), without_secret.machine(canary)].into_iter().flatten()
    });
    let hashes: Vec<[u8; 5]> =
        hashes.map(|member| *member.get().to_be_bytes().last_chunk().unwrap()).collect();
    for name in ["ledger.db", "ledger.db-wal"] {
        let bytes = std::fs::read(directory.join(name)).unwrap_or_default();
        assert!(!bytes.windows(5).any(|window| hashes.iter().any(|hash| window == hash)), "{name}");
    }
}

/// Looks into all pushes, which have to show the counted rows of all logs.
fn assert_pushes_clean(receiver: &Receiver) {
    let pushes = receiver.pushes();
    for log in Log::ALL {
        assert!(pushes.iter().any(|push| push.contains(common::entries(log))), "no push has rows of {log}");
    }
    for push in pushes {
        let (head, credential) = (push.head.as_str(), format!("x-api-key: {PUSH_CREDENTIAL}\r\n"));
        assert_eq!(head.matches(&credential).count(), 1, "{head}");
        assert_clean("the head of a push", head.replace(&credential, "").as_bytes());
        assert_clean("the body of a push", &push.body);
    }
}

#[test]
fn a_token_in_any_disguise_is_found() {
    let form: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("token", TOKEN).finish();
    let disguises = [
        format!("token={TOKEN}"),
        BASE64_STANDARD.encode(format!("a{TOKEN}b")),
        BASE64_STANDARD.encode(format!("ab{TOKEN}")),
        BASE64_URL_SAFE.encode(format!("abc{TOKEN}abc")),
        form,
    ];
    for disguise in disguises {
        assert!(
            std::panic::catch_unwind(|| assert_clean("here", disguise.as_bytes())).is_err(),
            "{disguise}"
        );
    }
    assert_clean("here", b"nothing of it");
}

/// All kinds of faults, those first that need a request which is made only in the beginning. Left
/// out are those whose row keeps a log from being read for good, that need a cursor which is gone,
/// or that only take memory.
fn all_faults() -> Vec<Fault> {
    use FaultKind::{
        DeepRow, GoneCursor, GzipZeros, HighestId, IgnoredOrder, MalformedControlCharacter, MalformedEscape,
        MalformedNotANumber, MalformedUtf8, NewestFirst, OversizedRow, ReplacedLog, ShortCursor,
        ShuffledFullPage, StaleConnection, UnknownCursor,
    };
    let early = [NewestFirst, IgnoredOrder, ShortCursor, ShuffledFullPage];
    let left_out = [
        DeepRow,
        GoneCursor,
        GzipZeros,
        HighestId,
        MalformedControlCharacter,
        MalformedEscape,
        MalformedNotANumber,
        MalformedUtf8,
        OversizedRow,
        ReplacedLog,
        StaleConnection,
        UnknownCursor,
    ];
    let rest = FaultKind::ALL.iter();
    let rest = rest.filter(|kind| !early.contains(kind) && !left_out.contains(kind));
    let early = early.iter().map(|kind| Fault::new(*kind).count(1));
    early.chain(rest.map(|kind| Fault::new(*kind).count(2))).collect()
}

/// A day of traffic, and only this token may read it.
fn options() -> Options {
    let defaults = Options::new(5);
    Options {
        start: defaults.start + 29 * DAY,
        requests_per_minute: 5.0,
        first_id: 3_000_000_000,
        token: Some(TOKEN.to_owned()),
        ..defaults
    }
}

fn traced(mut command: Command, format: &str) -> Command {
    command.args(["--log.level=trace", &format!("--log.format={format}"), "--api.timeout=1s"]);
    command.args(["--poll.interval=1s", "--poll.overlap=1h"]);
    command
}

fn assert_personal(simulator: &Simulator) {
    let rows = Log::ALL.map(|log| simulator.rows_as_lines(log)).concat();
    assert!(CANARIES.iter().all(|canary| rows.contains(canary)), "the rows hold nothing personal");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_token_nor_person_is_left_behind_by_any_fault() {
    let running = start(Options { faults: all_faults(), ..options() }).await.unwrap();
    assert_personal(&running.simulator);
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();

    let mut by_variable = serve(&running.url(), &one);
    by_variable.env("CRYPTOLENS_TOKEN", TOKEN).args(["--since=all", "--usage.active", "--usage.seats"]);
    let receiver = Receiver::start(Answer::Success).await;
    by_variable.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint());
    by_variable.env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={PUSH_CREDENTIAL}"));
    by_variable.env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    let by_variable = Exporter::start(traced(by_variable, "logfmt")).await;
    let mut by_file = serve_with_file(&two);
    by_file.arg(format!("--api.url={}", running.url())).arg("--since=now");
    by_file.arg(format!("--api.token-file={}", token.display()));
    let by_file = Exporter::start(traced(by_file, "json")).await;
    let exporters = [by_variable, by_file];

    // A refused token is not tried again for minutes, but after the configuration was read.
    let began = Instant::now();
    while !running.simulator.faults().is_empty() {
        assert!(began.elapsed() < PATIENCE, "never happened: {:?}", running.simulator.faults());
        tokio::time::sleep(Duration::from_secs(2)).await;
        for exporter in &exporters {
            exporter.process.signal(Signal::HUP);
            assert_pages_clean(exporter).await;
        }
    }
    for exporter in &exporters {
        exporter.until("rows", |page| (page.sum("cryptolens_up", &[]) == 3.0).then_some(())).await;
        assert_pages_clean(exporter).await;
    }
    exporters[0]
        .until("active machines", |page| {
            (page.sum("cryptolens_account_active_machines", &[]) > 0.0).then_some(())
        })
        .await;
    // A token that is none, in the file that is watched.
    std::fs::write(&token, format!("{TOKEN} {TOKEN}")).unwrap();
    let complaint =
        async || (!exporters[1].process.lines(&["the token file cannot be used"]).is_empty()).then_some(());
    eventually("a complaint about the token file", complaint).await;

    assert_directory_clean(&one);
    assert_no_unkeyed_hash(&one);
    assert_directory_clean(&two);
    for exporter in exporters {
        let (log, output) = (exporter.process.log(), exporter.process.output());
        assert!(log.contains("request failed"), "{log}");
        assert_clean("log", log.as_bytes());
        assert_clean("output", output.as_bytes());
        assert_clean("log", exporter.terminate().await.as_bytes());
    }
    assert_pushes_clean(&receiver);
    assert_directory_clean(&one);
    assert_directory_clean(&two);
}

/// A receiver may repeat the credential in its answer. The answer is shown without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_repeats_the_credential_is_not_repeated() {
    let running = start(options()).await.unwrap();
    let receiver = Receiver::start(Answer::Echo(401)).await;
    let url = format!("--api.url={}", running.url());
    let mut check = command(&["check", &url, "--log.level=trace"]);
    let mut serve = traced(serve(&running.url(), tempfile::tempdir().unwrap().path()), "json");
    for command in [&mut check, &mut serve] {
        command.env("CRYPTOLENS_TOKEN", TOKEN).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{PUSH_CREDENTIAL}"));
    }
    let (code, table, errors) = run(check).await;
    let shown = table.contains("HTTP 401: authorization: Bearer <credential>");
    assert_eq!((code, shown), (Some(1), true), "{table}");
    assert_clean("the table", table.as_bytes());
    assert_clean("the errors", errors.as_bytes());
    let exporter = Exporter::start(serve).await;
    eventually("a refusal", async || {
        (!exporter.process.lines(&["metrics are not pushed", "HTTP 401"]).is_empty()).then_some(())
    })
    .await;
    assert_clean("log", exporter.terminate().await.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_neither_token_nor_person() {
    let running = start(options()).await.unwrap();
    let url = format!("--api.url={}", running.url());
    // 33 MB of zeros tell nothing, but take long.
    for kind in FaultKind::ALL.iter().filter(|kind| **kind != FaultKind::GzipZeros) {
        running.simulator.set_faults(vec![Fault::new(*kind)]);
        let mut command = command(&["check", &url, "--log.level=trace", "--api.timeout=1s"]);
        command.env("CRYPTOLENS_TOKEN", TOKEN);
        let (code, table, errors) = run(command).await;
        assert!(matches!(code, Some(0 | 1)) && table.contains("GetObjectLog"), "{kind:?}: {errors}");
        assert_clean(&format!("the table for {kind:?}"), table.as_bytes());
        assert_clean(&format!("the errors for {kind:?}"), errors.as_bytes());
    }
}

/// Answers in many ways, all of which repeat the request with the token in it.
async fn parrot() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = async move |body: String| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let status = [200, 200, 200, 200, 302, 401, 404, 407, 429, 500][number % 10];
        let body = match number / 10 % 5 {
            0 => serde_json::json!({ "result": 1, "message": body }).to_string(),
            1 => format!("<html>{body}"),
            2 => serde_json::json!({ "logs": [{ "id": body, "time": body }], "result": 0 }).to_string(),
            3 => serde_json::json!({ "logs": body, "result": body, "message": [body] }).to_string(),
            _ => body,
        };
        let token = TOKEN;
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        let response = response.header("location", format!("/{token}")).header("retry-after", token);
        response.header("www-authenticate", token).header("x-token", token).body(body).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_repeats_the_request_is_not_repeated() {
    let (url, asked) = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    for format in ["logfmt", "json"] {
        let mut command = traced(serve(&url, folder.path()), format);
        command.env("CRYPTOLENS_TOKEN", TOKEN).arg("--since=all");
        let exporter = Exporter::start(command).await;
        let before = asked.load(Ordering::Relaxed);
        let began = Instant::now();
        while asked.load(Ordering::Relaxed) < before + 100 {
            assert!(began.elapsed() < PATIENCE, "it does not ask");
            tokio::time::sleep(Duration::from_millis(300)).await;
            exporter.process.signal(Signal::HUP);
        }
        assert_pages_clean(&exporter).await;
        let output = exporter.process.output();
        assert_clean("output", output.as_bytes());
        assert_clean("log", exporter.terminate().await.as_bytes());
        assert_directory_clean(folder.path());
    }
    for _ in 0..20 {
        let mut command = command(&["check", &format!("--api.url={url}")]);
        command.env("CRYPTOLENS_TOKEN", TOKEN);
        let (_, table, errors) = run(command).await;
        assert_clean("the table", table.as_bytes());
        assert_clean("the errors", errors.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_reported_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n{TOKEN}\n")).unwrap();
    let file = format!("--api.token-file={}", file.display());
    let twice = format!("{TOKEN} {TOKEN}");
    for (arguments, variable) in [
        (vec!["serve", &file], None),
        (vec!["serve"], Some(twice.as_str())),
        (vec!["serve", &file], Some(TOKEN)),
        (vec!["check", "--logs=all"], Some(TOKEN)),
    ] {
        let mut command = command(&arguments);
        command.envs(variable.map(|token| ("CRYPTOLENS_TOKEN", token)));
        let (code, output, errors) = run(command).await;
        assert_eq!(code, Some(2), "{errors}");
        assert_clean("the output", output.as_bytes());
        assert_clean("the message", errors.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_typed_at_the_wrong_place_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let quoted = format!("\"{TOKEN}\"");
    let shapes: [&[&str]; 26] = [
        &["serve", TOKEN],
        &["serve", &quoted],
        &["serve", "--config.file", TOKEN],
        &["serve", "--config.file=*"],
        &["serve", "--api.token-file", TOKEN],
        &["serve", "--api.token=*"],
        &["serve", "--token", TOKEN],
        &["serve", "--*"],
        &["serve", "-*"],
        &["serve", "--api.ca-file", TOKEN],
        &["serve", "--api.url", TOKEN],
        &["serve", "--api.url=https://localhost/*"],
        &["serve", "--storage.path", TOKEN],
        &["serve", "--storage.path=./*/data"],
        &["serve", "--web.listen-address", TOKEN],
        &["serve", "--web.telemetry-path=/*"],
        &["serve", "--since", TOKEN],
        &["serve", "--logs=web_api,*"],
        &["serve", "--log.level", TOKEN, "--log.level", TOKEN],
        &["check", TOKEN],
        &[TOKEN],
        &["report", TOKEN],
        &["report", "--account", TOKEN],
        &["report", "--output", TOKEN],
        &["audit", "seats", "--product", TOKEN],
        &["healthcheck", "--url", TOKEN],
    ];
    for shape in shapes {
        let arguments: Vec<String> = shape.iter().map(|text| text.replace('*', TOKEN)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = command(&arguments);
        command.current_dir(folder.path());
        let (code, output, errors) = run(command).await;
        assert_eq!(code, Some(2), "{shape:?}: {errors}");
        assert!(!errors.is_empty());
        assert_clean(&format!("the output of {shape:?}"), output.as_bytes());
        assert_clean(&format!("the message of {shape:?}"), errors.as_bytes());
    }
    // No file and no directory has the name either.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_wrong_variable_or_key_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for variable in [
        "CRYPTOLENS_CONFIG_FILE",
        "CRYPTOLENS_TOKEN_FILE",
        "CRYPTOLENS_API_CA_FILE",
        "CRYPTOLENS_API_URL",
        "CRYPTOLENS_STORAGE_PATH",
        "CRYPTOLENS_WEB_LISTEN_ADDRESS",
        "CRYPTOLENS_WEB_TELEMETRY_PATH",
        "CRYPTOLENS_SINCE",
        "CRYPTOLENS_LOGS",
        "CRYPTOLENS_LOG_LEVEL",
        "CRYPTOLENS_POLL_INTERVAL",
    ] {
        let mut command = command(&["serve", "--web.listen-address=localhost:0"]);
        command.current_dir(folder.path());
        if variable == "CRYPTOLENS_WEB_LISTEN_ADDRESS" {
            command = common::command(&["serve"]);
        }
        command
            .env(variable, if variable.ends_with("PATH") { format!("/{TOKEN}") } else { TOKEN.to_owned() });
        let (code, output, errors) = run(command).await;
        assert_eq!(code, Some(2), "{variable}: {errors}");
        assert_clean(variable, output.as_bytes());
        assert_clean(variable, errors.as_bytes());
    }
    let file = folder.path().join("exporter.yml");
    for text in [
        "api: {token_file: *}",
        "api: {ca_file: *}",
        "api: {url: https://localhost/*}",
        "storage: {path: /*}",
        "log: {level: *}",
        "*: 1",
        "*",
        "accounts: [{name: *, token_env: SHOP}]",
        "accounts: [{name: shop, token_env: *}]",
        "accounts: [{name: shop, token_file: *}]",
        "states: {2021: *}",
        "states: {*: x}",
        "web: {telemetry_path: /*}",
        "since: *\nsince: *",
        "*: 1\n*: 2",
        "logs: [*]",
    ] {
        // A name of an account has no room for all characters of a token.
        let token =
            if text.contains("name: *") { TOKEN.replace(['+', '/', '='], "x") } else { TOKEN.to_owned() };
        std::fs::write(&file, text.replace('*', &token)).unwrap();
        let mut command = command(&["serve", &format!("--config.file={}", file.display())]);
        command.current_dir(folder.path()).env("SHOP", "another");
        let (code, output, errors) = run(command).await;
        assert_eq!(code, Some(2), "{text}: {errors}");
        assert_clean(text, output.as_bytes());
        assert_clean(text, errors.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_itself_is_not_repeated_whatever_it_looks_like() {
    let mut command = command(&["serve", "not-a-usual-token"]);
    command.env("CRYPTOLENS_TOKEN", "not-a-usual-token");
    let (code, _, errors) = run(command).await;
    assert_eq!((code, errors.contains("usual")), (Some(2), false), "{errors}");
}

#[test]
fn no_core_file_holds_the_token() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_cryptolens-exporter");
    let script =
        format!("ulimit -c unlimited 2>/dev/null; exec {binary} simulate --listen-address=localhost:0");
    let mut child = Command::new("sh");
    child.args(["-c", &script]).current_dir(folder.path()).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("listening"), "{line}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
