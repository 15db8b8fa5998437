//! The checks of a request before it reaches a page: rate limit, then credentials.
//!
//! The rules come from the file of `--web.config.file`. It, the certificates and the keys are read
//! again every two seconds, and a change takes effect when two readings in a row agree: a file that
//! is half written is not taken. A change therefore needs four seconds.
//!
//! The door fails closed. While the file, a certificate or a key cannot be used, every connection
//! is refused, and the log says so at ERROR. Once there is TLS, nothing but TLS is spoken until the
//! process ends, even if the file no longer asks for it; and a file that suddenly is empty counts
//! as broken, not as open to all.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Response, StatusCode};
use governor::{DefaultDirectRateLimiter, Quota};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::auth::{CredentialVerdict, PasswordChecker, Users};
use super::config::{ClientAuth, RateLimit, WebConfig, WebConfigError, unreadable};
use super::throttle::LogThrottle;
use super::tls::{self, FileTexts};
use crate::text_file;

/// How often files are read again.
const PERIOD: Duration = Duration::from_secs(2);

/// The protection of the pages.
pub struct FrontDoor {
    /// The file, and what it said at the start.
    file: Option<(PathBuf, WebFiles)>,
    state: ArcSwap<DoorState>,
    checker: PasswordChecker,
    denied: LogThrottle,
    handshakes: LogThrottle,
}

#[derive(Debug)]
enum DoorState {
    Open(DoorRules),
    /// Nobody gets in. TLS is spoken to nobody; plain HTTP is answered 500.
    Closed {
        speaks_tls: bool,
    },
}

#[derive(Debug, Default)]
struct DoorRules {
    tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Users>,
    limiter: Option<Arc<RequestLimiter>>,
    /// The file asked for nothing at all.
    is_empty: bool,
}

/// A token bucket for all requests together.
#[derive(Debug)]
struct RequestLimiter {
    limit: RateLimit,
    /// `None` lets nobody through.
    bucket: Option<DefaultDirectRateLimiter>,
}

impl RequestLimiter {
    fn new(limit: RateLimit) -> RequestLimiter {
        let quota = |burst| Some(Quota::with_period(limit.interval)?.allow_burst(burst));
        let bucket = NonZeroU32::new(limit.burst).and_then(quota).map(DefaultDirectRateLimiter::direct);
        RequestLimiter { limit, bucket }
    }

    fn allows(&self) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| bucket.check().is_ok())
    }
}

/// How to speak on a new connection.
pub(super) enum Speech {
    /// Plain HTTP.
    Plain,
    /// TLS.
    Tls(Arc<ServerConfig>),
    /// Not at all.
    Silence,
}

impl std::fmt::Debug for FrontDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FrontDoor").field(&self.file.as_ref().map(|(file, _)| file)).finish()
    }
}

impl FrontDoor {
    /// Without a web configuration: plain HTTP, open to all.
    #[must_use]
    pub fn without_config() -> Arc<FrontDoor> {
        Arc::new(FrontDoor::new(None, DoorRules::default()))
    }

    /// By a web configuration file. Warnings go to the log.
    ///
    /// # Errors
    /// The file, a certificate or a key cannot be read or used.
    pub fn open(file: &Path) -> Result<Arc<FrontDoor>, WebConfigError> {
        let sources = WebFiles::read(file);
        let (rules, warnings) = sources.rules(file)?;
        log_warnings(&warnings);
        Ok(Arc::new(FrontDoor::new(Some((file.to_owned(), sources)), rules)))
    }

    fn new(file: Option<(PathBuf, WebFiles)>, rules: DoorRules) -> FrontDoor {
        FrontDoor {
            file,
            state: ArcSwap::from_pointee(DoorState::Open(rules)),
            checker: PasswordChecker::default(),
            denied: LogThrottle::default(),
            handshakes: LogThrottle::default(),
        }
    }

    /// Whether clients have to speak TLS.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        match &**self.state.load() {
            DoorState::Open(rules) => rules.tls.is_some(),
            DoorState::Closed { speaks_tls } => *speaks_tls,
        }
    }

    /// Whether clients need a user name and a password.
    #[must_use]
    pub fn asks_for_credentials(&self) -> bool {
        matches!(&**self.state.load(), DoorState::Open(rules) if rules.users.is_some())
    }

    /// For a connection that was accepted now.
    pub(super) fn speech(&self) -> Speech {
        match &**self.state.load() {
            DoorState::Open(DoorRules { tls: Some(config), .. }) => Speech::Tls(Arc::clone(config)),
            DoorState::Open(_) | DoorState::Closed { speaks_tls: false } => Speech::Plain,
            DoorState::Closed { speaks_tls: true } => Speech::Silence,
        }
    }

    /// Reports a client that could not agree on TLS.
    pub(super) fn handshake_failed(&self, error: &std::io::Error) {
        if let Some(times) = self.handshakes.count() {
            tracing::info!(%error, times, "a tls handshake with a client failed");
        }
    }

    /// Lets a request through to the page, or answers it.
    pub(super) async fn pass<F>(&self, request: &HeaderMap, secure: bool, page: F) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let state = self.state.load_full();
        let rules = match &*state {
            DoorState::Open(rules) if rules.tls.is_some() == secure => rules,
            DoorState::Open(DoorRules { tls: Some(_), .. }) => {
                let text = "Client sent an HTTP request to an HTTPS server.\n";
                return last(refusal(StatusCode::BAD_REQUEST, text));
            }
            // A connection from before the file was broken. TLS is never given up, so this is it.
            DoorState::Open(_) | DoorState::Closed { .. } => {
                return last(refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n"));
            }
        };
        if rules.limiter.as_ref().is_some_and(|limiter| !limiter.allows()) {
            return refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n");
        }
        let verdict = match &rules.users {
            None => CredentialVerdict::Accepted,
            Some(users) => self.checker.check(users, request.get(AUTHORIZATION)).await,
        };
        let mut response = match verdict {
            CredentialVerdict::Accepted => page.await,
            CredentialVerdict::Denied => self.denial(),
            CredentialVerdict::Overloaded => {
                let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n");
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                response
            }
        };
        for (name, value) in &rules.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    fn denial(&self) -> Response<Body> {
        if let Some(requests) = self.denied.count() {
            tracing::info!(requests, "requests without valid credentials were answered 401");
        }
        let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized\n");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        response
    }

    /// Reads the files again and again, until the shutdown.
    pub(super) async fn watch(&self, shutdown: &CancellationToken) {
        let Some((file, sources)) = &self.file else { return };
        let mut watch = FileWatch::new(sources.clone());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let path = file.clone();
            // A file may be on a disk that hangs.
            let Ok(sources) = tokio::task::spawn_blocking(move || WebFiles::read(&path)).await else {
                continue;
            };
            if let Some(changed) = watch.settled(sources) {
                self.change(file, changed);
            }
        }
    }

    /// Goes by what files say now.
    fn change(&self, file: &Path, sources: &WebFiles) {
        let old = self.state.load_full();
        let speaks_tls = self.speaks_tls();
        let (rules, warnings) = match sources.rules(file).and_then(|(rules, warnings)| {
            stays_closed(file, &old, speaks_tls, &rules)?;
            Ok((rules, warnings))
        }) {
            Ok(good) => good,
            Err(error) => {
                tracing::error!(%error, "the web configuration cannot be used; all connections are refused until it is mended");
                self.state.store(Arc::new(DoorState::Closed { speaks_tls }));
                return;
            }
        };
        log_warnings(&warnings);
        tracing::info!(
            file = %file.display(),
            tls = rules.tls.is_some(),
            credentials = rules.users.is_some(),
            "the web configuration was read again"
        );
        self.state.store(Arc::new(DoorState::Open(keep_bucket(rules, &old))));
    }
}

/// Refuses a file that would open what was closed, and probably by mistake.
fn stays_closed(
    file: &Path,
    old: &DoorState,
    speaks_tls: bool,
    rules: &DoorRules,
) -> Result<(), WebConfigError> {
    if speaks_tls && rules.tls.is_none() {
        let problem = "tls_server_config is gone; restart the exporter to serve plain HTTP";
        return Err(unreadable(file, problem));
    }
    let was_empty = matches!(old, DoorState::Open(old) if old.is_empty);
    if rules.is_empty && !was_empty {
        return Err(unreadable(file, "the file is empty; restart the exporter to serve without it"));
    }
    Ok(())
}

/// A rate limit that did not change does not start again.
fn keep_bucket(mut rules: DoorRules, old: &DoorState) -> DoorRules {
    if let (Some(new), DoorState::Open(DoorRules { limiter: Some(old), .. })) = (&mut rules.limiter, old)
        && new.limit == old.limit
    {
        *new = Arc::clone(old);
    }
    rules
}

fn log_warnings(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// An answer without a page, as Go's servers write it.
fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The last answer on its connection.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The text of the file, and of all files that it names. Without `Debug`, as they hold keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WebFiles {
    config: Result<String, String>,
    files: FileTexts,
}

impl WebFiles {
    pub(super) fn read(file: &Path) -> WebFiles {
        let read = |path: &Path| text_file::read(path).map_err(|error| error.to_string());
        let config = read(file);
        let mut files = BTreeMap::new();
        if let Ok(text) = &config
            && let Ok(WebConfig { tls: Some(tls), .. }) = WebConfig::parse(file, text)
        {
            files.extend(tls::files(&tls).map(|path| (path.to_owned(), read(path))));
        }
        WebFiles { config, files }
    }

    fn config(&self, file: &Path) -> Result<WebConfig, WebConfigError> {
        let text =
            self.config.as_ref().map_err(|error| unreadable(file, format!("cannot read it: {error}")))?;
        WebConfig::parse(file, text)
    }

    fn rules(&self, file: &Path) -> Result<(DoorRules, Vec<String>), WebConfigError> {
        let WebConfig { tls, http2, headers, users, rate_limit, is_empty, mut warnings } =
            self.config(file)?;
        let server = tls.map(|tls| tls::server(&tls, http2, &self.files)).transpose()?;
        let tls = server.map(|server| {
            warnings.extend(server.warnings);
            server.config
        });
        let limiter = rate_limit.map(|limit| Arc::new(RequestLimiter::new(limit)));
        Ok((DoorRules { tls, headers, users: Users::new(users), limiter, is_empty }, warnings))
    }
}

/// The facts that a client on this machine needs of a server with a web configuration file.
#[derive(Debug)]
pub struct DoorSign {
    /// The certificate that the server shows; `None` for plain HTTP.
    pub certificate: Option<CertificateDer<'static>>,
    /// Whether it asks for a user name and a password.
    pub asks_for_credentials: bool,
    /// Whether it asks for a certificate of the client.
    pub asks_for_certificate: bool,
}

impl DoorSign {
    /// Reads the file.
    ///
    /// # Errors
    /// The file or the certificate cannot be read.
    pub fn read(file: &Path) -> Result<DoorSign, WebConfigError> {
        let sources = WebFiles::read(file);
        let config = sources.config(file)?;
        let certificate = config.tls.as_ref().map(|tls| tls::leaf(tls, &sources.files)).transpose()?;
        Ok(DoorSign {
            certificate,
            asks_for_credentials: !config.users.is_empty(),
            asks_for_certificate: config.tls.is_some_and(|tls| tls.client_auth.value == ClientAuth::Required),
        })
    }
}

/// Waits for two readings that agree.
struct FileWatch {
    in_use: WebFiles,
    seen: Option<WebFiles>,
}

impl FileWatch {
    fn new(in_use: WebFiles) -> FileWatch {
        FileWatch { in_use, seen: None }
    }

    /// Returns what changed, once it is the same twice.
    fn settled(&mut self, sources: WebFiles) -> Option<&WebFiles> {
        if sources == self.in_use {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref() != Some(&sources) {
            self.seen = Some(sources);
            return None;
        }
        self.seen = None;
        self.in_use = sources;
        Some(&self.in_use)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A certificate and its key as files, and the section that names them.
    fn tls(folder: &TempDir) -> &'static str {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        write(folder, "server.crt", &certificate.pem());
        write(folder, "server.key", &key.serialize_pem());
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
    }

    fn users() -> String {
        format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash("one", 4).unwrap())
    }

    fn authorization(password: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("alice:{password}")));
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    async fn ask(door: &FrontDoor, headers: &HeaderMap, secure: bool) -> (u16, HeaderMap) {
        let page = async { Response::new(Body::from("the page")) };
        let (parts, _) = door.pass(headers, secure, page).await.into_parts();
        (parts.status.as_u16(), parts.headers)
    }

    async fn status(door: &FrontDoor, headers: &HeaderMap, secure: bool) -> u16 {
        ask(door, headers, secure).await.0
    }

    /// Changes the file, and lets the door see it twice.
    fn change(door: &FrontDoor, watch: &mut FileWatch) {
        let (file, _) = door.file.as_ref().unwrap();
        assert!(watch.settled(WebFiles::read(file)).is_none(), "once is not enough");
        if let Some(changed) = watch.settled(WebFiles::read(file)) {
            door.change(file, changed);
        }
    }

    fn opened(file: &Path) -> (Arc<FrontDoor>, FileWatch) {
        let door = FrontDoor::open(file).unwrap();
        let watch = FileWatch::new(door.file.as_ref().unwrap().1.clone());
        (door, watch)
    }

    #[tokio::test]
    async fn without_a_file_everybody_may_ask() {
        let door = FrontDoor::without_config();
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 200);
        assert!(!door.speaks_tls() && !door.asks_for_credentials());
    }

    #[tokio::test]
    async fn the_rate_limit_comes_first_then_credentials_and_headers_are_on_both_answers() {
        let folder = tempfile::tempdir().unwrap();
        let text = users()
            + "rate_limit: {interval: 1h, burst: 3}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n";
        let door = FrontDoor::open(&write(&folder, "web.yml", &text)).unwrap();
        let (code, headers) = ask(&door, &HeaderMap::new(), false).await;
        assert_eq!(
            (code, &headers[WWW_AUTHENTICATE], &headers["x-frame-options"]),
            (401, &HeaderValue::from_static("Basic"), &HeaderValue::from_static("deny"))
        );
        assert_eq!(status(&door, &authorization("two"), false).await, 401);
        let (code, headers) = ask(&door, &authorization("one"), false).await;
        assert_eq!((code, &headers["x-frame-options"]), (200, &HeaderValue::from_static("deny")));
        for _ in 0..2 {
            let (code, headers) = ask(&door, &authorization("one"), false).await;
            assert_eq!((code, headers.get("x-frame-options")), (429, None));
        }
    }

    #[tokio::test]
    async fn a_change_needs_two_readings_that_agree() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder, "web.yml", "http_server_config: {}\n");
        let (door, mut watch) = opened(&file);
        write(&folder, "web.yml", "half wri");
        assert!(watch.settled(WebFiles::read(&file)).is_none());
        write(&folder, "web.yml", &users());
        change(&door, &mut watch);
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 401);
        assert_eq!(status(&door, &authorization("one"), false).await, 200);
        assert!(watch.settled(WebFiles::read(&file)).is_none());
        assert!(watch.settled(WebFiles::read(&file)).is_none(), "nothing changes any more");
    }

    #[tokio::test]
    async fn a_broken_file_closes_the_door_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let good = users();
        let file = write(&folder, "web.yml", &good);
        let (door, mut watch) = opened(&file);
        for broken in ["oops: 1\n", "", "# nothing\n", "basic_auth_users: {alice: doe}\n"] {
            write(&folder, "web.yml", broken);
            change(&door, &mut watch);
            let (code, headers) = ask(&door, &authorization("one"), false).await;
            assert_eq!((code, &headers[CONNECTION]), (500, &HeaderValue::from_static("close")), "{broken:?}");
            assert!(matches!(door.speech(), Speech::Plain));
            write(&folder, "web.yml", &good);
            change(&door, &mut watch);
            assert_eq!(status(&door, &authorization("one"), false).await, 200);
        }
        std::fs::remove_file(&file).unwrap();
        change(&door, &mut watch);
        assert_eq!(status(&door, &authorization("one"), false).await, 500);
        write(&folder, "web.yml", "http_server_config: {}\n");
        change(&door, &mut watch);
        assert_eq!(
            status(&door, &HeaderMap::new(), false).await,
            200,
            "the file asks for no credentials any more"
        );
    }

    #[tokio::test]
    async fn tls_is_never_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder, "web.yml", tls(&folder));
        let (door, mut watch) = opened(&file);
        let tls_of = |door: &FrontDoor| match door.speech() {
            Speech::Tls(config) => Some(config),
            Speech::Plain | Speech::Silence => None,
        };
        let first = tls_of(&door).unwrap();
        for broken in ["", "http_server_config: {}\n", "tls_server_config: {}\n", "oops"] {
            write(&folder, "web.yml", broken);
            change(&door, &mut watch);
            assert!(matches!(door.speech(), Speech::Silence), "{broken:?}");
            assert!(door.speaks_tls());
            assert_eq!(status(&door, &HeaderMap::new(), true).await, 500, "on a connection from before");
        }
        write(&folder, "web.yml", tls(&folder));
        change(&door, &mut watch);
        let renewed = tls_of(&door).unwrap();
        assert!(!Arc::ptr_eq(&first, &renewed));
        assert_eq!(status(&door, &HeaderMap::new(), true).await, 200);

        // A key that is not that of the certificate, and one that is gone.
        write(&folder, "server.key", &KeyPair::generate().unwrap().serialize_pem());
        change(&door, &mut watch);
        assert!(matches!(door.speech(), Speech::Silence));
        std::fs::remove_file(folder.path().join("server.key")).unwrap();
        change(&door, &mut watch);
        assert!(matches!(door.speech(), Speech::Silence));
    }

    #[tokio::test]
    async fn tls_that_is_added_holds_for_connections_that_are_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder, "web.yml", "http_server_config: {}\n");
        let (door, mut watch) = opened(&file);
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 200);
        write(&folder, "web.yml", tls(&folder));
        change(&door, &mut watch);
        assert!(matches!(door.speech(), Speech::Tls(_)));
        let (code, headers) = ask(&door, &HeaderMap::new(), false).await;
        assert_eq!((code, &headers[CONNECTION]), (400, &HeaderValue::from_static("close")));
    }

    #[tokio::test]
    async fn a_rate_limit_that_stays_the_same_does_not_start_again() {
        let folder = tempfile::tempdir().unwrap();
        let limit = "rate_limit: {interval: 1h, burst: 1}\n";
        let file = write(&folder, "web.yml", limit);
        let (door, mut watch) = opened(&file);
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 200);
        write(&folder, "web.yml", &format!("{limit}http_server_config: {{}}\n"));
        change(&door, &mut watch);
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 429);
        write(&folder, "web.yml", &limit.replace("burst: 1", "burst: 2"));
        change(&door, &mut watch);
        assert_eq!(status(&door, &HeaderMap::new(), false).await, 200);
    }

    #[test]
    fn a_file_that_is_missing_or_wrong_at_the_start_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.yml");
        let error = FrontDoor::open(&missing).unwrap_err().to_string();
        assert!(
            error.starts_with(&missing.display().to_string()) && error.contains("cannot read"),
            "{error}"
        );
        for (text, parts) in [
            ("tls_server_config: {cert_file: no.crt, key_file: no.key}", ["cert_file", "no.crt"]),
            (
                "tls_server_config: {cert_file: web.yml, key_file: web.yml}",
                ["cert_file", "holds no PEM certificate"],
            ),
        ] {
            let file = write(&folder, "web.yml", text);
            let error = FrontDoor::open(&file).unwrap_err().to_string();
            let file = file.display().to_string();
            for part in [file.as_str(), parts[0], parts[1]] {
                assert!(error.contains(part), "no {part}: {error}");
            }
        }
    }

    #[test]
    fn the_sign_names_what_a_client_needs() {
        let folder = tempfile::tempdir().unwrap();
        let sign = DoorSign::read(&write(&folder, "web.yml", &(tls(&folder).to_owned() + &users()))).unwrap();
        assert!(sign.certificate.is_some() && sign.asks_for_credentials && !sign.asks_for_certificate);
        let sign = DoorSign::read(&write(&folder, "web.yml", "")).unwrap();
        assert!(sign.certificate.is_none() && !sign.asks_for_credentials);
    }
}
