//! The way to the API over TLS and through a proxy: whom to trust, what is logged when that fails,
//! and that it is logged once and by the exporter alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::receiver::{Answer, Receiver};
use common::{Exporter, TOKEN, command, eventually, run, serve};
use cryptolens_simulator::{Options, Running, start};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const UP: &str = "cryptolens_up";
const TRANSPORT: &[(&str, &str)] = &[("method", "GetWebAPILog"), ("result", "transport")];

/// A simulated account behind TLS, with two authorities: the one that vouches for it, and a
/// stranger.
struct World {
    running: Running,
    port: u16,
    own: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl World {
    async fn new() -> World {
        let running = start(Options::empty()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (own, stranger) = (authority("own"), authority("stranger"));
        for (name, authority) in [("own", &own), ("stranger", &stranger)] {
            std::fs::write(folder.path().join(name), authority.pem()).unwrap();
        }
        let port = behind_tls(&own, running.addr, 4096).await;
        World { running, port, own, folder }
    }

    fn ca(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/api", self.port)
    }

    /// `serve` that trusts one of the authorities; without, those of the system, of which there are
    /// none but the stranger.
    fn serve(&self, trusted: Option<&str>) -> Command {
        let mut command = serve(&self.url(), &self.folder.path().join("data"));
        command.args(["--logs=web_api", "--poll.interval=1s"]);
        command.env("SSL_CERT_FILE", self.ca("stranger")).env_remove("SSL_CERT_DIR");
        command.args(trusted.map(|name| format!("--api.ca-file={}", self.ca(name).display())));
        command
    }

    fn check(&self, url: &str, trusted: &str) -> Command {
        let ca_file = format!("--api.ca-file={}", self.ca(trusted).display());
        let mut command = command(&["check", &format!("--api.url={url}"), &ca_file, "--logs=web_api"]);
        command.env("CRYPTOLENS_TOKEN", TOKEN);
        command
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Ends TLS for `localhost` with a certificate that is good until this year, and passes on what is
/// in it. Returns the port.
async fn behind_tls(authority: &CertifiedIssuer<'static, KeyPair>, to: SocketAddr, until: i32) -> u16 {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that doesn't trust it is gone by now.
                let Ok(mut inner) = acceptor.accept(stream).await else { return };
                let mut simulator = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut inner, &mut simulator).await;
            });
        }
    });
    port
}

/// A proxy that opens tunnels, to those who log in if it wants that. Returns its address and how
/// many it opened.
async fn proxy(login: Option<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(BufReader::new(stream), login, Arc::clone(&count)));
        }
    });
    (address, opened)
}

async fn tunnel(mut client: BufReader<TcpStream>, login: Option<&str>, opened: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let target = head[0].strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    let logs_in = |login: &str| head.iter().any(|line| line.eq_ignore_ascii_case(login));
    if !login.is_none_or(logs_in) {
        client
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        return;
    }
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    opened.fetch_add(1, Ordering::Relaxed);
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

fn has(table: &str, parts: &[&str]) {
    // The table wraps its cells where it has no room.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = words(table);
    for part in parts {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_trusted_is_reported_once() {
    let world = World::new().await;
    for trusted in [None, Some("stranger")] {
        let exporter = Exporter::start(world.serve(trusted)).await;
        exporter
            .until("attempts", |page| {
                (page.value("cryptolens_exporter_api_requests_total", TRANSPORT) >= Some(3.0)).then_some(())
            })
            .await;
        assert_eq!(exporter.scrape().await.sum(UP, &[]), 0.0);
        let log = exporter.terminate().await;
        let loud: Vec<_> =
            log.lines().filter(|line| line.contains("level=warn") || line.contains("level=error")).collect();
        // One of the log, and one of products, which is no warning.
        let [line] = loud.as_slice() else { panic!("{trusted:?}:\n{log}") };
        for part in ["level=error", "result=transport", "UnknownIssuer", "--api.ca-file"] {
            assert!(line.contains(part), "no {part}: {line}");
        }
        assert!(!line.contains("DNS") && !log.contains("target=log"), "{log}");
    }
    let (code, table, errors) = run(world.check(&world.url(), "stranger")).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["transport:", "--api.ca-file"]);
    assert_eq!(errors, "error: not everything works; see the table\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_the_ca_file_is_trusted() {
    let world = World::new().await;
    let exporter = Exporter::start(world.serve(Some("own"))).await;
    exporter.until_value(UP, &[("log", "web_api")], 1.0).await;
    exporter.terminate().await;

    let by_address = world.url().replace("localhost", "127.0.0.1");
    let (code, table, _) = run(world.check(&by_address, "own")).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["transport:", "check the host in --api.url"]);

    let port = behind_tls(&world.own, world.running.addr, 2020).await;
    let (code, table, _) = run(world.check(&format!("https://localhost:{port}/api"), "own")).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["transport:", "certificate expired", "check this machine's clock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_tls_is_reported() {
    let world = World::new().await;
    let url = format!("https://{}/api", world.running.addr);
    let (code, table, _) = run(world.check(&url, "own")).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["transport:", "the port speaks no TLS", "check the scheme and port"]);
}

/// `check` with a receiver of pushes behind TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_trusts_the_authority_of_its_own_file_alone() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Success).await;
    let port = behind_tls(&world.own, receiver.address, 4096).await;
    let expired = behind_tls(&world.own, receiver.address, 2020).await;
    let check = async |endpoint: String, trusted: &str| {
        let mut command = world.check(&world.url(), "own");
        command.arg(format!("--otlp.endpoint={endpoint}"));
        command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", world.ca(trusted));
        run(command).await
    };
    let (code, table, errors) = check(format!("https://localhost:{port}"), "own").await;
    assert_eq!(code, Some(0), "{table}{errors}");
    has(&table, &["otlp push ok"]);
    assert_eq!(receiver.requests(), 1);
    for (endpoint, trusted, parts) in [
        (
            format!("https://localhost:{port}"),
            "stranger",
            [
                "UnknownIssuer",
                "trust the receiver's certificate authority with OTEL_EXPORTER_OTLP_CERTIFICATE",
            ],
        ),
        (
            format!("https://127.0.0.1:{port}"),
            "own",
            ["not valid for name", "check the host of the endpoint"],
        ),
        (format!("https://localhost:{expired}"), "own", ["certificate expired", "this machine's clock"]),
        (format!("https://{}", world.running.addr), "own", ["the port speaks no TLS", "use http://"]),
    ] {
        let (code, table, _) = check(endpoint, trusted).await;
        assert_eq!(code, Some(1), "{table}");
        has(&table, &["otlp push no connection to the receiver:"]);
        has(&table, &parts);
    }
    assert_eq!(receiver.requests(), 1, "nothing is sent to a receiver that is not trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy() {
    let world = World::new().await;
    let (address, opened) = proxy(None).await;
    let mut command = world.serve(Some("own"));
    command.env("HTTPS_PROXY", format!("http://{address}"));
    let exporter = Exporter::start(command).await;
    exporter.until_value(UP, &[("log", "web_api")], 1.0).await;
    assert!(opened.load(Ordering::Relaxed) > 0);
    exporter.terminate().await;

    // base64 of me:secret
    let (address, opened) = proxy(Some("proxy-authorization: Basic bWU6c2VjcmV0")).await;
    let check = async |proxy: String| {
        let mut command = world.check(&world.url(), "own");
        command.env("HTTPS_PROXY", proxy);
        run(command).await
    };
    let (code, table, _) = check(format!("http://{address}")).await;
    assert_eq!((code, opened.load(Ordering::Relaxed)), (Some(1), 0), "{table}");
    has(&table, &["transport:", "the proxy asks for a login (HTTP 407)", "HTTPS_PROXY"]);
    let (code, table, _) = check(format!("http://me:secret@{address}")).await;
    assert_eq!((code, opened.load(Ordering::Relaxed) > 0), (Some(0), true), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_be_used_is_reported_without_its_password() {
    let world = World::new().await;
    let mut command = world.serve(Some("own"));
    command.env("HTTPS_PROXY", "http://me:hunter2@pro xy:3128");
    let exporter = Exporter::start(command).await;
    exporter.until_value(UP, &[("log", "web_api")], 1.0).await;
    let warnings = async || {
        let lines = exporter.process.lines(&["level=warn", "HTTPS_PROXY names no proxy that can be used"]);
        (!lines.is_empty()).then_some(lines.len())
    };
    assert_eq!(eventually("a warning", warnings).await, 1);
    let log = exporter.terminate().await;
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_this_machine_is_asked_without_a_proxy() {
    let running = start(Options::empty()).await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut command = command(&["check", &format!("--api.url={}", running.url())]);
    command.env("CRYPTOLENS_TOKEN", TOKEN).env("HTTP_PROXY", format!("http://{nobody}"));
    let (code, table, _) = run(command).await;
    assert_eq!(code, Some(0), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_proxy_variable_does_not_hide_the_other_spelling() {
    let world = World::new().await;
    let (address, opened) = proxy(None).await;
    let mut command = world.check(&world.url(), "own");
    command.env("HTTPS_PROXY", "").env("https_proxy", format!("http://{address}"));
    let (code, table, _) = run(command).await;
    assert_eq!((code, opened.load(Ordering::Relaxed) > 0), (Some(0), true), "{table}");

    let before = opened.load(Ordering::Relaxed);
    let mut command = world.check(&world.url(), "own");
    command.env("HTTPS_PROXY", format!("http://{address}")).env("NO_PROXY", "").env("no_proxy", "localhost");
    let (code, table, _) = run(command).await;
    assert_eq!((code, opened.load(Ordering::Relaxed)), (Some(0), before), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_in_no_proxy_holds_for_an_address() {
    let world = World::new().await;
    let (address, opened) = proxy(None).await;
    let by_address = world.url().replace("localhost", "127.0.0.1");
    let mut command = world.check(&by_address, "own");
    command.env("HTTPS_PROXY", format!("http://{address}")).env("NO_PROXY", "*");
    let (_, table, _) = run(command).await;
    // The certificate is for localhost, so there was an answer.
    has(&table, &["check the host in --api.url"]);
    assert_eq!(opened.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_is_taken_in_token_and_ca_files() {
    let world = World::new().await;
    let authorities = ["own", "stranger"].map(|name| std::fs::read_to_string(world.ca(name)).unwrap());
    let (token, marked) = (world.ca("token"), world.ca("marked"));
    for text in [
        format!("\u{feff}{}", authorities.concat()),
        format!("\u{feff}{}", authorities.concat().replace('\n', "\r\n")),
        format!("{}\u{feff}{}", authorities[1], authorities[0]),
    ] {
        std::fs::write(&marked, text).unwrap();
        std::fs::write(&token, format!("\u{feff}{TOKEN}\r\n")).unwrap();
        let mut command = world.check(&world.url(), "marked");
        command.env_remove("CRYPTOLENS_TOKEN").arg(format!("--api.token-file={}", token.display()));
        let (code, table, errors) = run(command).await;
        assert_eq!(code, Some(0), "{table}{errors}");
    }
    let utf_16: Vec<u8> = format!("\u{feff}{TOKEN}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&token, utf_16).unwrap();
    let mut command = world.check(&world.url(), "own");
    command.env_remove("CRYPTOLENS_TOKEN").arg(format!("--api.token-file={}", token.display()));
    let (code, _, errors) = run(command).await;
    assert_eq!(code, Some(2), "{errors}");
    has(&errors, &["it is UTF-16 text; save it as UTF-8"]);
}
