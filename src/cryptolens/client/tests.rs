use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cryptolens::WebApiRow;

fn answer(status: u16, body: &str) -> Result<(), ApiError> {
    let status = StatusCode::from_u16(status).unwrap();
    let body = Body::Whole { bytes: body.as_bytes().to_vec(), _turn: None };
    let (sent, received) = (Instant::now(), Instant::now());
    RawAnswer { status, retry_after: None, server_time: None, sent, received, body }
        .read(decode::page::<crate::cryptolens::WebApiRow>)
        .map(|_| ())
}

#[test]
fn the_body_tells_before_the_status() {
    for status in [200, 400, 401, 403, 500] {
        let answered = answer(status, r#"{"result":1,"message":"Unable to authenticate."}"#);
        assert_eq!(answered, Err(ApiError::Auth), "status {status}");
        let answered = answer(status, r#"{"result":1,"message":"Access denied."}"#);
        assert_eq!(answered, Err(ApiError::Denied), "status {status}");
    }
}

#[test]
fn the_status_tells_where_the_body_does_not() {
    let label = |status, body| answer(status, body).map_err(|error| error.label());
    assert_eq!(label(502, "<html>Bad Gateway</html>"), Err("server_error"));
    assert_eq!(label(404, "<html>no such page</html>"), Err("bad_request"));
    assert_eq!(label(302, ""), Err("bad_request"));
    assert_eq!(label(401, ""), Err("auth"));
    assert_eq!(label(403, ""), Err("denied"));
    assert_eq!(label(429, r#"{"result":1,"message":"Access denied."}"#), Err("rate_limited"));
    assert_eq!(label(200, "<html>sign in</html>"), Err("decode"));
    assert_eq!(label(200, ""), Err("decode"));
    assert_eq!(label(200, r#"{"result":1,"message":"Could not find the product."}"#), Err("api_error"));
    assert_eq!(label(500, r#"{"logs":[],"result":0}"#), Err("server_error"));
    assert_eq!(label(200, r#"{"message":"An error has occurred."}"#), Err("server_error"));
    assert_eq!(label(200, r#"{"logs":[],"result":0}"#), Ok(()));
}

#[test]
fn an_html_page_says_nothing_about_the_token() {
    for status in [401, 402, 403] {
        let page = answer(status, "<html>who are you?</html>");
        assert_eq!(page, Err(ApiError::Decode(DecodeFault::Html)), "status {status}");
    }
    let failed =
        |body| answer(502, body).map_err(|error| matches!(error, ApiError::Server { html: true, .. }));
    assert_eq!((failed("<html>Bad Gateway</html>"), failed("")), (Err(true), Err(false)));
}

/// The reaction of a server to one request.
#[derive(Clone)]
enum Reaction {
    /// Sends these bytes, and waits for the next request.
    Answer(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Sends these bytes and nothing more, without closing.
    Stall(Vec<u8>),
}

/// A server that reacts to the `n`-th request on a connection, both counted from 0, and notes when
/// requests arrive.
struct Server {
    url: Url,
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    async fn start(react: impl Fn(usize, usize) -> Reaction + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/api", listener.local_addr().unwrap())).unwrap();
        let requests = Arc::<Mutex<Vec<Instant>>>::default();
        let (seen, react) = (Arc::clone(&requests), Arc::new(react));
        tokio::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, react) = (Arc::clone(&seen), Arc::clone(&react));
                tokio::spawn(async move {
                    for number in 0.. {
                        if !read_request(&mut stream).await {
                            return;
                        }
                        seen.lock().unwrap().push(Instant::now());
                        // The client may have read enough and be gone.
                        match react(connection, number) {
                            Reaction::Answer(bytes) => drop(stream.write_all(&bytes).await),
                            Reaction::Last(bytes) => return drop(stream.write_all(&bytes).await),
                            Reaction::Stall(bytes) => {
                                drop(stream.write_all(&bytes).await);
                                std::future::pending::<()>().await;
                            }
                        }
                    }
                });
            }
        });
        Server { url, requests }
    }

    fn client(&self, timeout: Duration) -> Client {
        let options = ClientOptions { url: self.url.clone(), timeout, ca_pem: None, proxy: None };
        Client::new(&options, Token::fixed("token".into())).unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                return true;
            }
        }
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

const EMPTY_PAGE: &[u8] = br#"{"logs":[],"result":0,"message":null}"#;
const TIMEOUT: Duration = Duration::from_secs(60);

fn with_length(body: &[u8]) -> Vec<u8> {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

const QUERY: PageQuery = PageQuery::after(5, 10);

async fn ask(client: &Client) -> Result<Answered<Page<WebApiRow>>, ApiError> {
    client.answered_page(QUERY, &RowFilter::default(), |_| {}).await
}

/// Issue 9, line 19. The server gives a connection up just when the second request on it arrives.
#[tokio::test]
async fn a_kept_alive_connection_that_the_server_gave_up_is_no_failure() {
    let server = Server::start(|_, number| match number {
        0 => Reaction::Answer(with_length(EMPTY_PAGE)),
        _ => Reaction::Last(Vec::new()),
    })
    .await;
    let client = server.client(TIMEOUT);
    for number in 0..40 {
        let before = Instant::now();
        let answered = ask(&client).await.unwrap_or_else(|error| panic!("request {number}: {error:?}"));
        assert!(before <= answered.sent && answered.sent <= answered.received);
        assert_eq!(answered.server_time, Some(784_111_777));
        if number % 2 == 1 {
            let seen = server.requests.lock().unwrap();
            let given_up = seen[seen.len() - 2];
            assert!(answered.sent >= given_up, "the times are those of the try that was answered");
        }
    }
    assert_eq!(server.requests(), 40 + 20, "one extra try for every second request");
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_without_saying_so_fails_no_request() {
    let server = Server::start(|_, _| Reaction::Last(with_length(EMPTY_PAGE))).await;
    let client = server.client(TIMEOUT);
    for number in 0..300 {
        ask(&client).await.unwrap_or_else(|error| panic!("request {number}: {error:?}"));
    }
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_a_failure_at_once() {
    let server = Server::start(|_, _| Reaction::Last(Vec::new())).await;
    assert_eq!(ask(&server.client(TIMEOUT)).await.map_err(|error| error.label()).unwrap_err(), "transport");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_once_and_not_twice() {
    let server = Server::start(|connection, number| match (connection, number) {
        (0, 0) => Reaction::Answer(with_length(EMPTY_PAGE)),
        _ => Reaction::Last(Vec::new()),
    })
    .await;
    let client = server.client(TIMEOUT);
    assert!(ask(&client).await.is_ok());
    assert_eq!(ask(&client).await.map_err(|error| error.label()).unwrap_err(), "transport");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn an_answer_that_breaks_off_on_a_kept_alive_connection_is_a_failure() {
    let server = Server::start(|_, number| match number {
        0 => Reaction::Answer(with_length(EMPTY_PAGE)),
        _ => Reaction::Last(with_length(EMPTY_PAGE)[..90].to_vec()),
    })
    .await;
    let client = server.client(TIMEOUT);
    assert!(ask(&client).await.is_ok());
    assert!(ask(&client).await.is_err());
    assert_eq!(server.requests(), 2);
}

/// Issue 9, line 14: only a whole answer above the cap may ever cost a row.
#[tokio::test]
async fn only_a_whole_page_above_the_cap_is_too_large() {
    let page = |text: &str| format!(r#"{{"result":0,"logs":[{{"id":6,"x":"{text}"}}]}}"#).into_bytes();
    let whole = page(&"x".repeat(BODY_CAP));
    let cut = whole[..whole.len() - 5].to_vec();
    let error = format!(r#"{{"result":1,"message":"{}"}}"#, "x".repeat(BODY_CAP)).into_bytes();
    let html = format!("<html>{}</html>", "x".repeat(BODY_CAP)).into_bytes();
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes();
    let length = |body: &[u8]| head("200 OK", &format!("Content-Length: {}\r\n", body.len()));
    let chunked = |body: &[u8], end: &[u8]| {
        let mut bytes = head("200 OK", "Transfer-Encoding: chunked\r\n");
        bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(end);
        bytes
    };
    let gzipped = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, body).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = |body: &[u8]| {
        let more = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
        [head("200 OK", &more), body.to_vec()].concat()
    };
    let squeezed = gzipped(&whole);
    let too_large = Some(ApiError::Decode(DecodeFault::TooLarge));
    let not_json = Some(ApiError::Decode(DecodeFault::NotJson));
    let server_error = Some(ApiError::Server { status: Some(502), retry_after: None, html: false });
    use Reaction::{Last, Stall};
    let cases = [
        ("whole, by its length", Last([length(&whole), whole.clone()].concat()), too_large.clone()),
        ("whole, chunked", Last(chunked(&whole, b"\r\n0\r\n\r\n")), too_large.clone()),
        (
            "whole, to the end of the connection",
            Last([head("200 OK", ""), whole.clone()].concat()),
            too_large.clone(),
        ),
        ("whole, compressed", Last(gzip(&squeezed)), too_large),
        ("cut, by its length", Last([length(&whole), cut.clone()].concat()), None),
        ("cut, chunked", Last(chunked(&whole, b"")), None),
        (
            "cut, to the end of the connection",
            Last([head("200 OK", ""), cut.clone()].concat()),
            not_json.clone(),
        ),
        ("cut by who compressed it", Last(gzip(&gzipped(&cut))), not_json.clone()),
        ("cut and compressed", Last(gzip(&squeezed[..squeezed.len() - 4])), None),
        ("cut by a proxy that gives another length", Last([length(&cut), cut].concat()), not_json.clone()),
        ("an error of the api", Last([length(&error), error.clone()].concat()), not_json),
        ("an HTML page", Last([length(&html), html].concat()), Some(ApiError::Decode(DecodeFault::Html))),
        (
            "a gateway's status",
            Last(
                [head("502 Bad Gateway", &format!("Content-Length: {}\r\n", whole.len())), whole.clone()]
                    .concat(),
            ),
            server_error,
        ),
        (
            "not to the end in time",
            Stall([length(&whole), whole[..whole.len() - 1].to_vec()].concat()),
            Some(ApiError::Timeout),
        ),
    ];
    for (what, reaction, expected) in cases {
        let timeout = if matches!(reaction, Stall(_)) { Duration::from_secs(4) } else { TIMEOUT };
        let server = Server::start(move |_, _| reaction.clone()).await;
        let error = ask(&server.client(timeout)).await.unwrap_err();
        match expected {
            Some(expected) => assert_eq!(error, expected, "{what}"),
            None => assert_ne!(error, ApiError::Decode(DecodeFault::TooLarge), "{what}"),
        }
    }
}
