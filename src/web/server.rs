//! Accepts connections, and answers the requests on them.
//!
//! `axum::serve` sets no timer and no limit. This accept loop admits as many connections as
//! [`Connections`] allows, gives each its [`Activity`], speaks TLS if [`FrontDoor`] wants that, and
//! hands the requests that pass the door to the router. It never waits for a client: a connection
//! that is refused is answered without reading its request.
//!
//! Hyper's own limits hold as well: a request header has at most 100 fields and 64 KiB, a
//! connection of HTTP/2 at most 32 requests at a time.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::activity::{Activity, InFlight, Timeouts};
use super::connections::{ConnectionSlot, Connections, DRAINED, affordable};
use super::door::{FrontDoor, Speech};
use super::http_connections::HttpConnections;
use super::listen::Entrance;
use super::stream::GuardedStream;
use super::throttle::LogThrottle;

/// Bytes that the header of a request may have.
const HEADER_SIZE: usize = 64 * 1024;
const HEADER_LIST_SIZE: u32 = 64 * 1024;

/// Requests at a time on one connection of HTTP/2.
const STREAMS: u32 = 32;

/// How long the accept loop waits when the system has no descriptor for it.
const NO_DESCRIPTOR: Duration = Duration::from_millis(200);

/// How long a refused client may take to read its answer, and how much of its request is read.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_SIZE: u64 = 64 * 1024;

const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 26\r\nretry-after: 5\r\nconnection: close\r\n\r\n\
    all connections are taken\n";

/// The answer of Go's servers to plain HTTP on a port with TLS.
const NO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// The settings of [`serve`].
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The most connections at a time.
    pub max_connections: usize,
    /// Accounts that are polled: their requests need descriptors as well.
    pub accounts: usize,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// Where connections are counted.
    pub counts: Arc<HttpConnections>,
}

/// The state that all connections share.
struct ServerState {
    router: Router,
    door: Arc<FrontDoor>,
    connections: Arc<Connections>,
    draining: Arc<Semaphore>,
    no_descriptor: LogThrottle,
    shutdown: CancellationToken,
}

/// Serves on all listeners until the shutdown, then finishes the requests under way. Connections
/// without a request are closed at once. All connections end when the future is dropped.
pub async fn serve(entrance: Entrance, router: Router, options: ServerOptions, shutdown: CancellationToken) {
    let limit = affordable(options.max_connections, options.accounts);
    let state = Arc::new(ServerState {
        router,
        door: entrance.door,
        connections: Connections::new(limit, options.timeouts, options.counts),
        draining: Arc::new(Semaphore::new(DRAINED)),
        no_descriptor: LogThrottle::default(),
        shutdown,
    });
    let accepting =
        join_all(entrance.listeners.into_iter().map(|listener| accept(listener, Arc::clone(&state))));
    tokio::join!(accepting, state.door.watch(&state.shutdown));
}

async fn accept(listener: TcpListener, state: Arc<ServerState>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(slot) = state.connections.admit() {
                        tasks.spawn(connection(stream, slot, Arc::clone(&state)));
                    } else {
                        refuse(stream, &state);
                    }
                }
                Err(error) => accept_failed(&error, &state.no_descriptor).await,
            },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the web server failed; please report this");
                }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn accept_failed(error: &io::Error, throttle: &LogThrottle) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        // The client left before it was its turn.
        return;
    }
    if let Some(times) = throttle.count() {
        tracing::warn!(%error, times, "a connection cannot be accepted; the limit of open files (ulimit -n) may be too low");
    }
    tokio::time::sleep(NO_DESCRIPTOR).await;
}

/// Answers 503 without waiting. A client that speaks TLS could not read that.
fn refuse(stream: TcpStream, state: &ServerState) {
    if state.door.speaks_tls() {
        return;
    }
    // The send buffer of a new connection is empty, so that this is all or nothing.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let _ = send(&stream, REFUSED, flags).and_then(|_| shutdown(&stream, Shutdown::Write));
    // A connection that is closed while its request is unread is reset, and the answer may be lost.
    if let Ok(permit) = Arc::clone(&state.draining).try_acquire_owned() {
        tokio::spawn(async move {
            drain(stream).await;
            drop(permit);
        });
    }
}

/// Reads and forgets what a client sends, until it closes.
async fn drain(stream: impl AsyncRead + Unpin) {
    let mut nowhere = tokio::io::sink();
    let mut request = stream.take(DRAIN_SIZE);
    let drained = tokio::io::copy(&mut request, &mut nowhere);
    // A client that stays is not waited for.
    let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
}

async fn connection(stream: TcpStream, slot: ConnectionSlot, state: Arc<ServerState>) {
    let activity = &slot.activity;
    let mut stream = GuardedStream::new(stream, Arc::clone(activity));
    let speaking = async {
        match state.door.speech() {
            Speech::Plain => http1(stream, false, activity, &state).await,
            Speech::Tls(config) => tls(stream, config, activity, &state).await,
            Speech::Silence => {
                begins_tls(&mut stream).await;
            }
        }
    };
    tokio::select! {
        () = slot.close.cancelled() => {}
        () = speaking => {}
    }
}

async fn tls(
    stream: GuardedStream,
    config: Arc<ServerConfig>,
    activity: &Arc<Activity>,
    state: &Arc<ServerState>,
) {
    let agreed = tokio::select! {
        agreed = handshake(stream, config, state) => agreed,
        () = state.shutdown.cancelled() => None,
    };
    let Some(stream) = agreed else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, activity, state).await;
    } else {
        http1(stream, true, activity, state).await;
    }
}

/// `None` for a client that does not speak TLS, or none that suits.
async fn handshake(
    mut stream: GuardedStream,
    config: Arc<ServerConfig>,
    state: &ServerState,
) -> Option<tokio_rustls::server::TlsStream<GuardedStream>> {
    if !begins_tls(&mut stream).await {
        return None;
    }
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            state.door.handshake_failed(&error);
            None
        }
    }
}

/// Looks at what a client speaks. Plain HTTP is answered with a sentence.
async fn begins_tls(stream: &mut GuardedStream) -> bool {
    let Ok(Some(first)) = stream.first_byte().await else { return false };
    if first.is_ascii_uppercase() && stream.write_all(NO_TLS).await.is_ok() {
        let _ = stream.shutdown().await;
        drain(stream).await;
    }
    first == HANDSHAKE
}

/// Answers the requests of HTTP/1.0 and 1.1 on a connection.
async fn http1<S>(stream: S, secure: bool, activity: &Arc<Activity>, state: &ServerState)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, secure, activity.begin(), state));
    let mut builder = http1::Builder::new();
    // The timers of the stream take the place of this one.
    builder.header_read_timeout(None).max_buf_size(HEADER_SIZE);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = state.shutdown.cancelled() => {
            if activity.waiting_for().is_some() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.unwrap_or_else(|error| log_end(&error));
}

/// Answers the requests of HTTP/2 on a connection, each in a task of its own.
async fn http2<S>(stream: S, activity: &Arc<Activity>, state: &Arc<ServerState>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    activity.is_multiplexed();
    let service = service_fn(|request| {
        let (in_flight, state) = (activity.begin(), Arc::clone(state));
        async move { answer(request, true, in_flight, &state).await }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEADER_LIST_SIZE);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = state.shutdown.cancelled() => {
            if activity.waiting_for().is_some() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.unwrap_or_else(|error| log_end(&error));
}

fn log_end(error: &hyper::Error) {
    tracing::debug!(%error, "a connection of the web server ended early");
}

async fn answer(
    request: Request<Incoming>,
    secure: bool,
    in_flight: InFlight,
    state: &ServerState,
) -> Result<Response<CountedBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let mut router = state.router.clone();
    let page = async move {
        let Ok(page) = router.call(Request::from_parts(parts, body)).await;
        page
    };
    let response = state.door.pass(&headers, secure, page).await;
    Ok(response.map(|body| CountedBody { body, _in_flight: in_flight }))
}

/// The body of an answer. The request is under way until hyper has taken all of it.
struct CountedBody {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use rustls::pki_types::CertificateDer;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    const PAGE: usize = 32 << 20;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const PATIENT: Timeouts = Timeouts { header: MINUTE, idle: MINUTE, write: MINUTE };

    /// A page that reports when nobody holds it any more.
    struct ReportedPage(Vec<u8>, mpsc::UnboundedSender<()>);

    impl AsRef<[u8]> for ReportedPage {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for ReportedPage {
        fn drop(&mut self) {
            let _ = self.1.send(());
        }
    }

    struct Served {
        address: SocketAddr,
        counts: Arc<HttpConnections>,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
        /// One for each large page that was dropped.
        dropped: mpsc::UnboundedReceiver<()>,
    }

    /// Serves a large page at `/`, and `small` at `/small`.
    async fn served(max_connections: usize, timeouts: Timeouts) -> Served {
        served_behind(FrontDoor::without_config(), max_connections, timeouts).await
    }

    async fn served_behind(door: Arc<FrontDoor>, max_connections: usize, timeouts: Timeouts) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, dropped) = mpsc::unbounded_channel();
        let page = get(async move || Bytes::from_owner(ReportedPage(vec![b'x'; PAGE], report)));
        let router = Router::new().route("/", page).route("/small", get(async || "small"));
        let counts = Arc::new(HttpConnections::default());
        let options = ServerOptions { max_connections, accounts: 1, timeouts, counts: Arc::clone(&counts) };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(
            Entrance { listeners: vec![listener], door },
            router,
            options,
            shutdown.clone(),
        ));
        Served { address, counts, shutdown, server, dropped }
    }

    impl Served {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn ask(&self, path: &str) -> TcpStream {
            let mut stream = self.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        async fn until_open(&self, connections: u64) {
            while self.counts.open() != connections {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Waits until the server closes a connection on which it answered nothing. What it did not
    /// read may reset it.
    async fn closed(mut stream: TcpStream) {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }

    async fn all(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// One answer of a connection that stays open.
    async fn small(stream: &mut TcpStream) {
        stream.write_all(b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"small") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_off_and_its_page_let_go() {
        let mut served = served(5, Timeouts { write: Duration::from_millis(300), ..PATIENT }).await;
        let mut readers = Vec::new();
        for _ in 0..5 {
            readers.push(served.ask("/").await);
        }
        for _ in 0..5 {
            served.dropped.recv().await.unwrap();
        }
        for mut reader in readers {
            let mut page = Vec::new();
            // Reset; what the system had sent already may come first.
            let ended = reader.read_to_end(&mut page).await;
            assert!(ended.is_err() && page.len() < PAGE, "{ended:?} after {} bytes", page.len());
        }
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn a_slow_reader_that_keeps_reading_is_not_cut_off() {
        let patience = Duration::from_millis(600);
        let timeouts = Timeouts { header: patience, idle: patience, write: patience };
        let mut served = served(1, timeouts).await;
        let mut reader = served.ask("/").await;
        let (began, mut taken) = (Instant::now(), 0);
        let mut piece = vec![0; 256 << 10];
        // For far longer than the patience, and then the rest at once.
        while began.elapsed() < patience * 4 {
            taken += reader.read(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(taken < PAGE, "it read all of it");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert!(taken + rest.len() > PAGE);
        served.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_header_is_closed() {
        let served = served(3, Timeouts { header: Duration::from_millis(300), ..PATIENT }).await;
        let silent = served.connect().await;
        let mut half = served.connect().await;
        half.write_all(b"GET /small HTTP/1.1\r\n").await.unwrap();
        // Its second header is as limited as the first.
        let mut later = served.connect().await;
        small(&mut later).await;
        later.write_all(b"GET").await.unwrap();
        for stream in [silent, half, later] {
            closed(stream).await;
        }
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn a_client_that_sends_its_header_byte_by_byte_is_closed() {
        let served = served(1, Timeouts { header: Duration::from_millis(300), ..PATIENT }).await;
        let mut slow = served.connect().await;
        slow.write_all(b"GET /small HTTP/1.1\r\nx: ").await.unwrap();
        while slow.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_kept_beyond_the_header_timeout_and_then_closed() {
        let timeouts = Timeouts { header: Duration::from_millis(400), idle: 3 * SECOND, ..PATIENT };
        let served = served(1, timeouts).await;
        let mut stream = served.connect().await;
        small(&mut stream).await;
        tokio::time::sleep(SECOND).await;
        small(&mut stream).await;
        assert_eq!(all(stream).await, "", "closed when it is idle for too long");
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_answered_503_and_counted() {
        let served = served(2, PATIENT).await;
        let open = [served.connect().await, served.connect().await];
        served.until_open(2).await;
        let answer = all(served.ask("/small").await).await;
        let (header, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(header.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{header}");
        assert!(header.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
        assert_eq!((served.counts.open(), served.counts.rejected()), (2, 1));
        drop(open);
        served.until_open(0).await;
        assert!(all(served.ask("/small").await).await.ends_with("small"));
    }

    #[tokio::test]
    async fn silent_clients_cannot_keep_a_scraper_out() {
        let served = served(8, PATIENT).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(served.connect().await);
        }
        // Those over the limit are refused; after two seconds, the others have to make room.
        while !all(served.ask("/small").await).await.ends_with("small") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(served.counts.rejected() > 32);
    }

    #[tokio::test]
    async fn the_end_waits_for_requests_and_for_nobody_else() {
        let mut served = served(4, PATIENT).await;
        let (silent, mut idle) = (served.connect().await, served.connect().await);
        small(&mut idle).await;
        let mut half = served.connect().await;
        half.write_all(b"GET /small HTTP/1.1\r\n").await.unwrap();
        let mut reader = served.ask("/").await;
        assert_eq!(reader.read_u8().await.unwrap(), b'H', "it is answered");
        served.until_open(4).await;
        served.shutdown.cancel();
        for stream in [silent, idle, half] {
            closed(stream).await;
        }
        assert!(TcpStream::connect(served.address).await.is_err());
        let page = all(reader).await;
        assert!(page.len() > PAGE);
        (&mut served.server).await.unwrap();
        served.dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_header_that_is_too_large_or_no_http_is_refused() {
        let served = served(4, PATIENT).await;
        for (request, status) in [
            (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(HEADER_SIZE * 2)), "HTTP/1.1 4"),
            (format!("GET /small HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(HEADER_SIZE * 2)), "HTTP/1.1 431 "),
            (format!("GET /small HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)), "HTTP/1.1 431 "),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
            ("\0\0\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ] {
            let mut stream = served.connect().await;
            // It may be refused before all of it is written.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            // Bytes that the server did not read may reset the connection after the answer.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer[..answer.len().min(100)]).into_owned();
            assert!(answer.starts_with(status), "{status}: {answer:?}");
        }
    }

    /// A server with TLS, and the certificate that it shows.
    async fn served_with_tls(
        max_connections: usize,
        timeouts: Timeouts,
    ) -> (Served, CertificateDer<'static>) {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
        let file = folder.path().join("web.yml");
        std::fs::write(&file, "tls_server_config: {cert_file: server.crt, key_file: server.key}").unwrap();
        let door = FrontDoor::open(&file).unwrap();
        (served_behind(door, max_connections, timeouts).await, certificate.der().clone())
    }

    fn client(certificate: CertificateDer<'static>, protocols: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    type SecureStream = tokio_rustls::client::TlsStream<TcpStream>;

    async fn secure(stream: TcpStream, config: &Arc<rustls::ClientConfig>) -> SecureStream {
        let name = "localhost".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap()
    }

    type Http2 = hyper::client::conn::http2::SendRequest<Body>;

    /// A connection of HTTP/2, which runs in a task until it is closed.
    async fn http2_client(stream: SecureStream) -> (Http2, tokio::task::JoinHandle<()>) {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (requests, connection) =
            builder.timer(TokioTimer::new()).handshake(TokioIo::new(stream)).await.unwrap();
        let ended = tokio::spawn(async move {
            let _ = connection.await;
        });
        (requests, ended)
    }

    fn get_request(path: &str) -> Request<Body> {
        Request::get(format!("https://localhost{path}")).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn plain_http_on_a_port_with_tls_is_answered_with_a_sentence() {
        let (served, _) = served_with_tls(2, PATIENT).await;
        assert_eq!(all(served.ask("/small").await).await.as_bytes(), NO_TLS);
        let mut garbage = served.connect().await;
        garbage.write_all(b"\x00\xffgarbage").await.unwrap();
        let mut nothing = Vec::new();
        let _ = garbage.read_to_end(&mut nothing).await;
        assert_eq!(nothing, b"");
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn a_tls_handshake_that_is_half_done_has_the_time_of_a_header() {
        let (served, _) =
            served_with_tls(3, Timeouts { header: Duration::from_millis(400), ..PATIENT }).await;
        let (silent, mut half, mut hello) =
            (served.connect().await, served.connect().await, served.connect().await);
        half.write_all(&[HANDSHAKE, 3, 1]).await.unwrap();
        // Announces more than it sends.
        hello.write_all(&[HANDSHAKE, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
        for mut stream in [silent, half, hello] {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        }
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn with_tls_a_connection_over_the_limit_is_closed() {
        let (served, certificate) = served_with_tls(1, PATIENT).await;
        let config = client(certificate, &[b"http/1.1"]);
        let mut first = secure(served.connect().await, &config).await;
        assert_eq!(all(served.connect().await).await, "");
        assert_eq!((served.counts.open(), served.counts.rejected()), (1, 1));
        first.write_all(b"GET /small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        first.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"small"));
    }

    #[tokio::test]
    async fn http_2_is_spoken_over_tls_and_idle_connections_are_closed() {
        let timeouts = Timeouts { header: 10 * SECOND, idle: 2 * SECOND, ..PATIENT };
        let (served, certificate) = served_with_tls(1, timeouts).await;
        let config = client(certificate, &[b"h2", b"http/1.1"]);
        let (mut requests, ended) = http2_client(secure(served.connect().await, &config).await).await;
        for _ in 0..3 {
            let response = requests.send_request(get_request("/small")).await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, axum::http::Version::HTTP_2));
        }
        ended.await.unwrap();
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn a_client_of_http_2_that_takes_nothing_loses_its_connection() {
        let timeouts = Timeouts { header: 10 * SECOND, idle: SECOND, write: MINUTE };
        let (mut served, certificate) = served_with_tls(1, timeouts).await;
        let config = client(certificate, &[b"h2"]);
        let (mut requests, ended) = http2_client(secure(served.connect().await, &config).await).await;
        let unread = requests.send_request(get_request("/")).await.unwrap();
        ended.await.unwrap();
        served.dropped.recv().await.unwrap();
        drop(unread);
        served.until_open(0).await;
    }

    #[tokio::test]
    async fn the_end_waits_for_requests_of_http_2_as_well() {
        let (mut served, certificate) = served_with_tls(2, PATIENT).await;
        let config = client(certificate, &[b"h2"]);
        let (mut idle, idle_ended) = http2_client(secure(served.connect().await, &config).await).await;
        idle.send_request(get_request("/small")).await.unwrap();
        let (mut busy, _) = http2_client(secure(served.connect().await, &config).await).await;
        let response = busy.send_request(get_request("/")).await.unwrap();
        served.shutdown.cancel();
        idle_ended.await.unwrap();
        let page = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
        assert_eq!(page.len(), PAGE);
        (&mut served.server).await.unwrap();
    }
}
