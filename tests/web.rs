//! The web server from outside, against clients that are slow, silent, many, or not what they seem.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Exporter, eventually, row, serve};
use cryptolens_simulator::{Log, Options, Running, start};
use tempfile::TempDir;

const CONNECTIONS: &str = "cryptolens_exporter_http_connections";
const REJECTED: &str = "cryptolens_exporter_http_connections_rejected_total";
const UP: &str = "cryptolens_up";

/// A simulated account with three rows in each log, and a directory for its ledger.
struct World {
    running: Running,
    folder: TempDir,
}

impl World {
    async fn new() -> World {
        let running = start(Options::empty()).await.unwrap();
        let world = World { running, folder: tempfile::tempdir().unwrap() };
        world.append(1..=3);
        world
    }

    fn append(&self, ids: std::ops::RangeInclusive<i64>) {
        let simulator = &self.running.simulator;
        let time = simulator.now() - 3600;
        for log in Log::ALL {
            let rows = ids.clone().map(|id| row(log, id, time)).collect();
            simulator.append(log, rows, None);
        }
    }

    fn serve(&self) -> Command {
        let mut command = serve(&self.running.url(), &self.folder.path().join("data"));
        command.args(["--since=all", "--poll.interval=1s"]);
        command
    }
}

/// The same command with a limit of open files.
fn with_open_files(limit: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Status of one request on a connection of its own, and the whole answer; `None` for no answer.
fn ask(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = connect(address);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

async fn until_counted(exporter: &Exporter, rows: f64) {
    let counted = async || {
        let (status, page) = ask(exporter.address, "/metrics")?;
        let page = page.split_once("\r\n\r\n").filter(|_| status == 200)?.1.to_owned();
        let lines = page.lines().filter(|line| line.starts_with("cryptolens_object_log_entries_total{"));
        let sum: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (sum == rows).then_some(())
    };
    eventually(&format!("{rows} rows, scraped"), counted).await;
}

/// Before there were limits, every scrape hung from here on, and nothing was in the log.
/// Lines of the log with all of these parts, as soon as there is one: an answer can arrive before
/// the line that was written earlier.
async fn logged(exporter: &Exporter, parts: &[&str]) -> Vec<String> {
    let lines = async || Some(exporter.process.lines(parts)).filter(|lines| !lines.is_empty());
    eventually(parts[parts.len() - 1], lines).await
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_at_a_low_limit_of_open_files_stop_neither_scrapes_nor_polling() {
    let world = World::new().await;
    let exporter = Exporter::start(with_open_files(128, &world.serve())).await;
    until_counted(&exporter, 3.0).await;
    assert_eq!(logged(&exporter, &["level=warn", "ulimit -n"]).await.len(), 1);

    let silent: Vec<_> = (0..140).map(|_| connect(exporter.address)).collect();
    world.append(4..=9);
    until_counted(&exporter, 9.0).await;
    let page = exporter.scrape().await;
    for log in Log::ALL {
        assert_eq!(page.value(UP, &[("log", log.name())]), Some(1.0), "{log}");
    }
    assert!(page.value(REJECTED, &[]) >= Some(100.0), "{:?}", page.value(REJECTED, &[]));
    let lines = logged(&exporter, &["level=warn", "all connections of the web server are taken"]).await;
    assert_eq!(lines.len(), 1, "at most one a minute: {lines:#?}");
    drop(silent);
    let log = exporter.terminate().await;
    assert!(!log.contains("Too many open files") && !log.contains("os error 24"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_cost_a_scraper_two_seconds_at_most() {
    let world = World::new().await;
    let exporter = Exporter::start(world.serve()).await;
    until_counted(&exporter, 3.0).await;
    let silent: Vec<_> = (0..1000).map(|_| connect(exporter.address)).collect();
    until_counted(&exporter, 3.0).await;
    let page = exporter.scrape().await;
    let open = page.value(CONNECTIONS, &[]).unwrap();
    assert!((1.0..=256.0).contains(&open), "{open}");
    assert!(page.value(REJECTED, &[]) >= Some(744.0));
    drop(silent);
    exporter.until_value(CONNECTIONS, &[], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_tls_on_the_plain_port_are_answered_400() {
    let world = World::new().await;
    let exporter = Exporter::start(world.serve()).await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\x00\x01\x02\x03", b"hello\r\n\r\n"]
    {
        let mut stream = connect(exporter.address);
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer:?}");
    }
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
}

/// A certificate for `localhost`, and what a web configuration file says of it.
struct Certificate {
    pem: String,
    section: &'static str,
}

impl Certificate {
    fn write(folder: &Path) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        let section = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
        Certificate { pem: certificate.pem(), section }
    }
}

/// Of `one`, at the lowest cost.
const USERS: &str =
    "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuuuiMd1XkP3MYkehzxpPHB6m5Tr0FZSYG}\n";

const PATHS: [&str; 6] = ["/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/nothing"];

fn web_config(world: &World, text: &str) -> String {
    let file = world.folder.path().join("web.yml");
    std::fs::write(&file, text).unwrap();
    format!("--web.config.file={}", file.display())
}

fn https(certificate: &Certificate) -> reqwest::Client {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_users_nothing_is_readable_without_them() {
    let world = World::new().await;
    let certificate = Certificate::write(world.folder.path());
    let mut command = world.serve();
    command.args([
        web_config(&world, &format!("{}{USERS}", certificate.section)),
        "--web.enable-lifecycle".to_owned(),
    ]);
    let exporter = Exporter::start(command).await;
    let address = exporter.address;
    let http = https(&certificate);
    for path in PATHS {
        let (status, answer) = ask(address, path).unwrap();
        assert_eq!(status, 400, "{path}");
        assert!(answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"), "{answer}");
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let request = || http.request(method.parse().unwrap(), format!("https://{address}{path}"));
            for request in [
                request(),
                request().basic_auth("alice", Some("two")),
                request().basic_auth("bob", Some("one")),
            ] {
                let answer = request.send().await.unwrap();
                assert_eq!(
                    (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
                    (401, &"Basic".parse().unwrap())
                );
                let text = answer.text().await.unwrap();
                assert_eq!(text, if method == "HEAD" { "" } else { "Unauthorized\n" }, "{path}");
            }
        }
    }
    let known =
        |path: &str| http.get(format!("https://{address}{path}")).basic_auth("alice", Some("one")).send();
    for path in ["/", "/metrics", "/-/healthy"] {
        assert_eq!(known(path).await.unwrap().status(), 200, "{path}");
    }

    let log = exporter.terminate().await;
    for secret in ["one", "$2b$", "PRIVATE"] {
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains(secret) && !line.contains("ledger")).collect();
        assert!(lines.is_empty() || secret == "one", "{lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_knows_tls_and_credentials() {
    let world = World::new().await;
    let certificate = Certificate::write(world.folder.path());
    let file = web_config(&world, &format!("{}{USERS}", certificate.section));
    let mut command = world.serve();
    command.arg(&file);
    let exporter = Exporter::start(command).await;
    let password = world.folder.path().join("password");
    std::fs::write(&password, "one\n").unwrap();
    let check = async |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = common::command(&["healthcheck"]);
        command.env("CRYPTOLENS_WEB_LISTEN_ADDRESS", exporter.address.to_string());
        command.args(flags).envs(variables.iter().copied());
        let (code, _, text) = common::run(command).await;
        (code, text)
    };
    let password_file = format!("--password-file={}", password.display());
    let login = ["--username=alice", &password_file];
    let ready = async || (check(&[&file, login[0], login[1]], &[]).await.0 == Some(0)).then_some(());
    eventually("readiness", ready).await;

    // As in the image, where there are no arguments.
    let path = world.folder.path().join("web.yml").display().to_string();
    let variables = [
        ("CRYPTOLENS_WEB_CONFIG_FILE", path.as_str()),
        ("CRYPTOLENS_HEALTHCHECK_USERNAME", "alice"),
        ("CRYPTOLENS_HEALTHCHECK_PASSWORD_FILE", password.to_str().unwrap()),
    ];
    assert_eq!(check(&[], &variables).await.0, Some(0));
    let authority = format!("--ca-file={}", world.folder.path().join("server.crt").display());
    let by_name = format!("--url=https://localhost:{}/-/healthy", exporter.address.port());
    assert_eq!(check(&[&authority, &by_name, login[0], login[1]], &[]).await.0, Some(0));

    for (flags, code, part) in [
        (vec![file.as_str()], 1, "answers 401: Unauthorized; see --username and --password-file"),
        (vec![&file, "--url=/-/healthy"], 1, "answers 401"),
        (vec![], 1, "answers 400: Client sent an HTTP request to an HTTPS server."),
        (vec![&file, login[0]], 2, "--password-file"),
        (vec!["--web.config.file=missing.yml"], 2, "--web.config.file: missing.yml: cannot read it"),
        (vec!["--ca-file=missing.pem"], 2, "--ca-file: cannot read missing.pem"),
    ] {
        let (found, text) = check(&flags, &[]).await;
        assert!(found == Some(code) && text.contains(part), "{flags:?}: {found:?} {text}");
    }
    // Another certificate than the one that is served.
    let other = tempfile::tempdir().unwrap();
    Certificate::write(other.path());
    std::fs::write(other.path().join("web.yml"), certificate.section).unwrap();
    let stranger = format!("--web.config.file={}", other.path().join("web.yml").display());
    let (code, text) = check(&[&stranger, login[0], login[1]], &[]).await;
    assert!(code == Some(1) && text.contains("does not answer"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_configuration_is_read_again_and_fails_closed() {
    let world = World::new().await;
    let mut command = world.serve();
    command.arg(web_config(&world, USERS));
    let exporter = Exporter::start(command).await;
    let status = async |password: Option<&str>| {
        let request = common::http().get(format!("http://{}/metrics", exporter.address));
        let request = match password {
            Some(password) => request.basic_auth("alice", Some(password)),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(None).await, status(Some("one")).await), (401, 200));
    web_config(&world, "oops: 1\n");
    eventually("a closed door", async || (status(Some("one")).await == 500).then_some(())).await;
    let lines = logged(&exporter, &["level=error", "all connections are refused", "unknown key oops"]).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    web_config(&world, &USERS.replace("alice", "bob"));
    eventually("an open door", async || (status(None).await == 401).then_some(())).await;
    assert_eq!(status(Some("one")).await, 401, "alice is gone");

    // With TLS added, plain HTTP is over.
    let certificate = Certificate::write(world.folder.path());
    web_config(&world, certificate.section);
    eventually("tls", async || (status(None).await == 400).then_some(())).await;
    let page = https(&certificate).get(format!("https://{}/metrics", exporter.address)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    web_config(&world, "http_server_config: {}\n");
    let url = format!("https://{}/metrics", exporter.address);
    eventually("silence", async || https(&certificate).get(&url).send().await.is_err().then_some(())).await;
    assert_eq!(status(Some("one")).await, 400, "never plain HTTP again");
    exporter.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_configuration_that_is_missing_or_wrong_ends_with_its_name() {
    let world = World::new().await;
    let missing = format!("--web.config.file={}", world.folder.path().join("missing.yml").display());
    let wrong = web_config(&world, "tls_server_config:\n  cert_file: no.crt\n  key_file: no.key\n");
    for (flag, parts) in
        [(&missing, ["missing.yml", "cannot read"]), (&wrong, ["web.yml:2:", "tls_server_config.cert_file"])]
    {
        for name in ["serve", "check", "demo"] {
            let mut command = if name == "demo" { common::command(&["demo"]) } else { world.serve() };
            if name == "check" {
                command = common::command(&["check", "--config-only"]);
                command.env("CRYPTOLENS_TOKEN", common::TOKEN);
            }
            command.arg(flag).env("CRYPTOLENS_WEB_LISTEN_ADDRESS", "127.0.0.1:0");
            let (code, _, text) = common::run(command).await;
            assert_eq!(code, Some(2), "{name}: {text}");
            for part in parts {
                assert!(text.contains(part), "no {part}: {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_over_http_has_to_be_enabled_and_is_answered_with_its_outcome() {
    let world = World::new().await;
    let exporter = Exporter::start(world.serve()).await;
    assert_eq!(exporter.request("POST", "/-/reload").await.status(), 403);
    exporter.terminate().await;

    let file = world.folder.path().join("config.yml");
    std::fs::write(&file, "log: {level: info}\n").unwrap();
    let mut command = world.serve();
    command.args(["--web.enable-lifecycle", &format!("--config.file={}", file.display())]);
    let exporter = Exporter::start(command).await;
    assert_eq!(exporter.request("GET", "/-/reload").await.status(), 405);
    assert_eq!(exporter.request("POST", "/-/reload").await.status(), 200);
    std::fs::write(&file, "oops: 1\n").unwrap();
    let answer = exporter.request("POST", "/-/reload").await;
    assert_eq!(answer.status(), 500);
    let text = answer.text().await.unwrap();
    assert!(text.contains("see the log") && !text.contains("oops"), "{text}");
    assert_eq!(logged(&exporter, &["level=error", "the old one stays in use"]).await.len(), 1);
    until_counted(&exporter, 3.0).await;
    exporter.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_addresses_are_served_and_the_limit_of_connections_is_one_for_all() {
    let world = World::new().await;
    let mut command = world.serve();
    command.args([
        "--web.listen-address=127.0.0.1:0",
        "--web.listen-address=127.0.0.2:0",
        "--web.max-connections=3",
    ]);
    let exporter = Exporter::start(command).await;
    let line = logged(&exporter, &["serving"]).await.remove(0);
    let (_, rest) = line.split_once("address=").unwrap();
    let addresses: Vec<SocketAddr> = rest
        .trim_matches('"')
        .split(['"', ' '])
        .next()
        .unwrap()
        .split(',')
        .map(|text| text.parse().unwrap())
        .collect();
    assert_eq!(addresses.len(), 2, "{line}");
    for address in &addresses {
        assert_eq!(ask(*address, "/-/healthy").unwrap().0, 200);
    }
    let mut open = Vec::new();
    for address in [addresses[0], addresses[1], addresses[0]] {
        open.push(connect(address));
    }
    eventually("a refusal", async || ask(addresses[1], "/-/healthy").filter(|(status, _)| *status == 503))
        .await;
    drop(open);
    let mut twice = world.serve();
    twice.args(["--web.listen-address=:9", "--web.listen-address=127.0.0.1:9"]);
    let (code, _, text) = common::run(twice).await;
    assert!(code == Some(2) && text.contains("an address that :9 does not cover"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openmetrics_text_shows_births_only_on_request() {
    let world = World::new().await;
    for (flags, has_created) in [(&[][..], false), (&["--web.openmetrics-created"], true)] {
        let mut command = world.serve();
        command.args(flags);
        let exporter = Exporter::start(command).await;
        until_counted(&exporter, 3.0).await;
        let request = common::http().get(format!("http://{}/metrics", exporter.address));
        let request = request.header("accept", "application/openmetrics-text;version=1.0.0");
        let page = request.send().await.unwrap().text().await.unwrap();
        assert!(page.ends_with("# EOF\n"), "{page}");
        let created = "cryptolens_object_log_entries_created{";
        assert_eq!(page.lines().any(|line| line.starts_with(created)), has_created, "{flags:?}: {page}");
        exporter.terminate().await;
    }
}
