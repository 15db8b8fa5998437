//! One request to the Web API: a POST form with the token in the body, and whatever came back as a page or an
//! [`ApiError`].
//!
//! Promises: no redirect is followed (it would carry the token elsewhere); every request ends within the timeout; a body
//! is read up to [`BODY_CAP`] after decompression; nothing is retried here.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, redirect};
use rustls::CertificateError;
use secrecy::ExposeSecret;
use url::Url;

use super::decode::{self, BodyError, Page, Product};
use super::error::{ApiError, DecodeFault, TransportFault};
use super::row::Row;
use super::token::Token;
use crate::http;
use crate::task::aside;

/// The longest body that is read, in bytes after decompression.
pub const BODY_CAP: usize = 32 * 1024 * 1024;

/// A body that takes longer to read than it takes to have another thread read it, in bytes.
const LARGE_BODY: usize = 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A method of the Web API that the exporter calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// The Web API Log.
    GetWebApiLog,
    /// The Events Log.
    GetEvents,
    /// The Object Log.
    GetObjectLog,
    /// The vendor's products, for their names.
    GetProducts,
    /// One license key, for its number of seats.
    GetKey,
}

impl Endpoint {
    /// The method's name as the vendor writes it; the value of the label `method`.
    pub const fn name(self) -> &'static str {
        match self {
            Endpoint::GetWebApiLog => "GetWebAPILog",
            Endpoint::GetEvents => "GetEvents",
            Endpoint::GetObjectLog => "GetObjectLog",
            Endpoint::GetProducts => "GetProducts",
            Endpoint::GetKey => "GetKey",
        }
    }

    const fn group(self) -> &'static str {
        match self {
            Endpoint::GetProducts => "product",
            Endpoint::GetKey => "key",
            _ => "ai",
        }
    }
}

/// Which page of a log to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// Rows with a higher id only; 0 asks from the beginning.
    pub starting_after: i64,
    /// At most this many rows.
    pub limit: u16,
    /// The newest first (`OrderBy=Id descending`), which only the Web API Log documents.
    pub newest_first: bool,
}

/// Which rows of a log to ask for; the default asks for all. Only the Web API Log documents every member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rows with a lower id only.
    pub ending_before: Option<i64>,
    /// Rows of this product.
    pub product_id: Option<i64>,
    /// Rows of this license key, which needs the product.
    pub key: Option<String>,
    /// Rows with one of these states; none for all.
    pub states: Vec<u16>,
}

impl Filter {
    fn write(&self, form: &mut Vec<(&'static str, String)>) {
        let number = |name, value: Option<i64>| value.map(|value| (name, value.to_string()));
        form.extend(number("EndingBefore", self.ending_before));
        form.extend(number("ProductId", self.product_id));
        form.extend(self.key.clone().map(|key| ("Key", key)));
        if !self.states.is_empty() {
            let states: Vec<String> = self.states.iter().map(u16::to_string).collect();
            form.push(("States", format!("[{}]", states.join(","))));
        }
    }
}

/// The seats of a floating license.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats {
    /// As the API gives it: 0 or less where the number is not limited.
    pub max_machines: i64,
    /// The server's own clock, in Unix seconds, where it told.
    pub server_time: Option<i64>,
}

/// How to reach the API.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Without a trailing slash, as `https://api.cryptolens.io/api`.
    pub url: Url,
    /// For one whole request, body included.
    pub timeout: Duration,
    /// The only roots to trust, as PEM, in place of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy to ask through. No other is used: the variables of the process do not matter here.
    pub proxy: Option<Url>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of `--api.ca-file` holds no certificate.
    #[error("the CA file holds no PEM certificate that can be read")]
    CaFile,
    /// The TLS library could not be set up.
    #[error("could not set up the http client: {0}")]
    Setup(String),
}

/// Talks to one account. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Token,
}

impl Client {
    /// A client that is ready to ask; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`], all of them matters of configuration.
    pub fn new(options: &ClientOptions, token: Token) -> Result<Client, ClientError> {
        let mut builder = http::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .timeout(options.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
            .user_agent(concat!("cryptolens-exporter/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(proxy) = &options.proxy {
            let proxy = reqwest::Proxy::all(proxy.clone());
            builder = builder.proxy(proxy.map_err(|error| ClientError::Setup(http::cause(&error)))?);
        }
        if let Some(pem) = &options.ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| ClientError::CaFile)?;
            if roots.is_empty() {
                return Err(ClientError::CaFile);
            }
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(|error| ClientError::Setup(http::cause(&error)))?;
        Ok(Client { http, url: options.url.clone(), token })
    }

    /// The token that requests are sent with, to wait for its change.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// One page of the log that `R` is a row of.
    ///
    /// # Errors
    /// [`ApiError`]; its [`retry`](ApiError::retry) says what to do.
    pub async fn page<R: Row>(&self, query: PageQuery) -> Result<Page<R>, ApiError> {
        self.filtered_page(query, &Filter::default()).await
    }

    /// One page of those rows of the log that pass the filter.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn filtered_page<R: Row>(
        &self,
        query: PageQuery,
        filter: &Filter,
    ) -> Result<Page<R>, ApiError> {
        self.peeked_page(query, filter, |_| {}).await
    }

    /// As [`Client::filtered_page`]; `peek` gets what looks like the last row as soon as the page is there and before it is
    /// read as a whole, so that the next one can be asked for meanwhile. What was peeked may be wrong.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        filter: &Filter,
        peek: impl FnOnce(R),
    ) -> Result<Page<R>, ApiError> {
        let mut form = vec![("Limit", query.limit.to_string())];
        if query.starting_after != 0 {
            form.push(("StartingAfter", query.starting_after.to_string()));
        }
        if query.newest_first {
            form.push(("OrderBy", "Id descending".to_owned()));
        }
        filter.write(&mut form);
        let answer = self.post(R::LOG.endpoint(), &form).await?;
        if let Body::Whole(body) = &answer.body
            && let Some(last) = decode::last_row(body)
        {
            peek(last);
        }
        // Whoever peeked is waiting for this thread.
        match &answer.body {
            Body::Whole(body) if body.len() >= LARGE_BODY => aside(|| answer.read(decode::page)).await,
            _ => answer.read(decode::page),
        }
    }

    /// The account's products.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn products(&self) -> Result<Vec<Product>, ApiError> {
        self.post(Endpoint::GetProducts, &[]).await?.read(decode::products)
    }

    /// How many seats a license key has. The call is read-only and leaves no row in the log.
    ///
    /// # Errors
    /// As [`Client::page`]; an unknown key or product is [`ApiError::Api`].
    pub async fn seats(&self, product_id: i64, key: &str) -> Result<Seats, ApiError> {
        let form = [("ProductId", product_id.to_string()), ("Key", key.to_owned())];
        let answer = self.post(Endpoint::GetKey, &form).await?;
        let server_time = answer.server_time;
        let max_machines = answer.read(decode::max_machines)?;
        Ok(Seats { max_machines, server_time })
    }

    async fn post(&self, endpoint: Endpoint, form: &[(&str, String)]) -> Result<Answer, ApiError> {
        let url =
            format!("{}/{}/{}", self.url.as_str().trim_end_matches('/'), endpoint.group(), endpoint.name());
        let token = self.token.current();
        let mut fields = vec![("token", token.expose_secret())];
        fields.extend(form.iter().map(|(name, value)| (*name, value.as_str())));
        let response = self.http.post(url).form(&fields).send().await.map_err(|error| failed(&error))?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let server_time = server_time(response.headers());
        let body = read_capped(response).await?;
        Ok(Answer { status, retry_after, server_time, body })
    }
}

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    server_time: Option<i64>,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    TooLarge,
}

impl Answer {
    /// Classified by the body first, then by the status: SDKs read the same JSON from every status (py HTTPError, net
    /// v4054), and which message has which status is not documented. A page for people is not by the API, so what its
    /// status says of a token is not said of this one.
    fn read<T>(self, decode: impl FnOnce(&[u8]) -> Result<T, BodyError>) -> Result<T, ApiError> {
        let retry_after = self.retry_after;
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ApiError::RateLimited { retry_after });
        }
        let decoded = match &self.body {
            Body::Whole(body) => decode(body),
            Body::TooLarge => Err(BodyError::Fault(DecodeFault::TooLarge)),
        };
        let status = Some(self.status.as_u16());
        let html = matches!(decoded, Err(BodyError::Fault(DecodeFault::Html)));
        let by_status = |otherwise: ApiError| match self.status.as_u16() {
            401..=403 if html => otherwise,
            401 => ApiError::Auth,
            402 => ApiError::Subscription,
            403 => ApiError::Denied,
            407 => ApiError::Transport {
                cause: "the proxy asks for a login (HTTP 407)".to_owned(),
                fault: TransportFault::ProxyLogin,
            },
            500..=599 => ApiError::Server { status, retry_after, html },
            300..=499 => ApiError::BadRequest { status },
            _ => otherwise,
        };
        match decoded {
            Ok(value) if self.status.is_success() => Ok(value),
            Ok(_) => Err(by_status(ApiError::Api)),
            Err(BodyError::Told(ApiError::Api)) => Err(by_status(ApiError::Api)),
            Err(BodyError::Told(ApiError::Server { .. })) => {
                let status = status.filter(|_| self.status.is_server_error());
                Err(ApiError::Server { status, retry_after, html })
            }
            Err(BodyError::Told(error)) => Err(error),
            Err(BodyError::Fault(fault)) => Err(by_status(ApiError::Decode(fault))),
        }
    }
}

async fn read_capped(mut response: reqwest::Response) -> Result<Body, ApiError> {
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(BODY_CAP));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_CAP => return Ok(Body::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Body::Whole(body)),
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3); a date in the past is no wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// The header `Date` in Unix seconds.
fn server_time(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    chrono::DateTime::parse_from_rfc2822(text).ok().map(|time| time.timestamp())
}

fn failed(error: &reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Timeout;
    }
    if error.is_decode() {
        // A body that says gzip and is not: no answer of the API.
        return ApiError::Decode(DecodeFault::NotJson);
    }
    let cause = http::cause(error);
    let (fault, cause) = match http::tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => (certificate_fault(why), cause),
        // What is no TLS message at all, such as an answer in plain HTTP.
        Some(rustls::Error::InvalidMessage(_)) => {
            (TransportFault::NoTls, "the port speaks no TLS".to_owned())
        }
        // The tunnel's own errors are not public.
        None if cause.contains("proxy authorization required") => {
            (TransportFault::ProxyLogin, "the proxy asks for a login (HTTP 407)".to_owned())
        }
        None if cause == "tunnel error: unsuccessful" => {
            (TransportFault::ProxyRefusal, "the proxy opened no tunnel to the api".to_owned())
        }
        _ => (TransportFault::Connection, cause),
    };
    ApiError::Transport { cause, fault }
}

fn certificate_fault(why: &CertificateError) -> TransportFault {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TransportFault::CertificateTime,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TransportFault::CertificateName
        }
        _ => TransportFault::UnknownAuthority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<(), ApiError> {
        let status = StatusCode::from_u16(status).unwrap();
        let body = Body::Whole(body.as_bytes().to_vec());
        Answer { status, retry_after: None, server_time: None, body }
            .read(decode::page::<crate::cryptolens::WebApiRow>)
            .map(|_| ())
    }

    #[test]
    fn the_body_tells_before_the_status() {
        for status in [200, 400, 401, 403, 500] {
            let told = answer(status, r#"{"result":1,"message":"Unable to authenticate."}"#);
            assert_eq!(told, Err(ApiError::Auth), "status {status}");
            let told = answer(status, r#"{"result":1,"message":"Access denied."}"#);
            assert_eq!(told, Err(ApiError::Denied), "status {status}");
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
    fn a_page_for_people_says_nothing_of_the_token() {
        for status in [401, 402, 403] {
            let page = answer(status, "<html>who are you?</html>");
            assert_eq!(page, Err(ApiError::Decode(DecodeFault::Html)), "status {status}");
        }
        let failed =
            |body| answer(502, body).map_err(|error| matches!(error, ApiError::Server { html: true, .. }));
        assert_eq!((failed("<html>Bad Gateway</html>"), failed("")), (Err(true), Err(false)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        let later = (chrono::Utc::now() + chrono::Duration::seconds(90)).to_rfc2822();
        assert!(wait(&later).is_some_and(|wait| wait > Duration::from_secs(60)));
    }
}
