//! One request to the Web API: a POST form with the token in the body, whose answer becomes a page
//! or an [`ApiError`].
//!
//! Promises: no redirect is followed (it would carry the token elsewhere); every request ends
//! within the timeout; at most [`BODY_CAP`] of a body is kept after decompression, and only one
//! large body at a time. Nothing is retried here, with one exception: where the server had closed a
//! kept-alive connection, the request is sent once more on a new one.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap};
use reqwest::{StatusCode, redirect};
use rustls::CertificateError;
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::decode::{
    self, BodyError, CustomerCompany, DailyAggregate, LicenseKey, LicenseKeyPage, Page, Product, Skeleton,
};
use super::endpoint::Endpoint;
use super::error::{ApiError, DecodeFault, TransportFault};
use super::identity::IdentityHasher;
use super::query::{AggregateQuery, PageQuery, RowFilter};
use super::reuse::{self, NoteNewConnections};
use super::row::Row;
use super::token::Token;
use crate::http;
use crate::task::spawn_blocking;

/// The longest body that is kept, in bytes after decompression.
pub const BODY_CAP: usize = 32 * 1024 * 1024;

/// A body above this size, in bytes, waits for its turn: most pages are smaller, and 30 logs whose
/// answers all have 32 MiB would take 1 GB.
const TURN_ABOVE: usize = 1024 * 1024;

/// The holder of the permit may keep a body above [`TURN_ABOVE`].
static TURN: Semaphore = Semaphore::const_new(1);

/// A body of this size, in bytes, takes longer to decode than it takes to hand it to another
/// thread.
const LARGE_BODY: usize = 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer of the API, with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<T> {
    /// The content.
    pub value: T,
    /// The server's own clock by the header `Date`, in Unix seconds.
    pub server_time: Option<i64>,
    /// The moment before the answered request was sent: everything that was visible then is in the
    /// answer.
    pub sent: Instant,
    /// The moment when the answer was complete.
    pub received: Instant,
}

impl<T> Answered<T> {
    /// The same answer with other content.
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> Answered<U> {
        let Answered { value, server_time, sent, received } = self;
        Answered { value: into(value), server_time, sent, received }
    }
}

/// How to reach the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The base address without a trailing slash, such as `https://api.cryptolens.io/api`.
    pub url: Url,
    /// The limit for one whole request, including the body.
    pub timeout: Duration,
    /// The only roots to trust, as PEM, in place of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy to use. The proxy variables of the process are not read here.
    pub proxy: Option<Url>,
}

/// The reason why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with the trusted roots holds no certificate.
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
    /// Makes a new connection for each request.
    unpooled: reqwest::Client,
    timeout: Duration,
    url: Url,
    token: Token,
    /// Gives identities in rows their hashes; without one they are skipped.
    hasher: Option<Arc<dyn IdentityHasher>>,
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`]; each is a mistake in the configuration.
    pub fn new(options: &ClientOptions, token: Token) -> Result<Client, ClientError> {
        let roots = match &options.ca_pem {
            None => None,
            Some(pem) => {
                let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| ClientError::CaFile)?;
                Some(roots).filter(|roots| !roots.is_empty()).ok_or(ClientError::CaFile).map(Some)?
            }
        };
        let setup = |error: reqwest::Error| ClientError::Setup(http::cause(&error));
        let system = match roots {
            Some(_) => None,
            None => Some(http::system_tls(options.proxy.iter().chain([&options.url])))
                .transpose()
                .map_err(|error| ClientError::Setup(error.to_string()))?,
        };
        let proxy = options.proxy.clone().map(reqwest::Proxy::all).transpose().map_err(setup)?;
        let builder = || {
            let mut builder = http::builder()
                .redirect(redirect::Policy::none())
                .referer(false)
                .timeout(options.timeout)
                .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
                .user_agent(concat!("cryptolens-exporter/", env!("CARGO_PKG_VERSION")))
                .no_proxy();
            if let Some(proxy) = &proxy {
                builder = builder.proxy(proxy.clone());
            }
            if let Some(roots) = &roots {
                builder = builder.tls_certs_only(roots.clone());
            }
            if let Some(system) = &system {
                builder = builder.tls_backend_preconfigured(system.clone());
            }
            builder
        };
        let http = builder().connector_layer(NoteNewConnections).build().map_err(setup)?;
        let unpooled = builder().pool_max_idle_per_host(0).build().map_err(setup)?;
        let (timeout, url) = (options.timeout, options.url.clone());
        Ok(Client { http, unpooled, timeout, url, token, hasher: None })
    }

    /// The same client, whose rows have hashes of license keys and machines.
    #[must_use]
    pub fn with_hasher(self, hasher: Option<Arc<dyn IdentityHasher>>) -> Client {
        Client { hasher, ..self }
    }

    /// The token that requests are sent with, to wait for its change.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// One page of the log that `R` is a row of.
    ///
    /// # Errors
    /// [`ApiError`]; its [`retry`](ApiError::retry) says whether another try makes sense.
    pub async fn page<R: Row>(&self, query: PageQuery) -> Result<Page<R>, ApiError> {
        let answered = self.answered_page(query, &RowFilter::default(), |_| {}).await?;
        Ok(answered.value)
    }

    /// One page of those rows of the log that pass the filter, with the times of the answer. `peek`
    /// gets the last row of the page as soon as its bytes are there and before it is read as a
    /// whole, so that the next page can be asked for meanwhile. It is a guess: the row may be none,
    /// or not the last.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn answered_page<R: Row>(
        &self,
        query: PageQuery,
        filter: &RowFilter,
        peek: impl FnOnce(R),
    ) -> Result<Answered<Page<R>>, ApiError> {
        let mut form = Vec::new();
        query.write(&mut form);
        filter.write(&mut form);
        let answer = self.post(R::LOG.endpoint(), &form).await?;
        if let Body::Whole { bytes, .. } = &answer.body
            && let Some(last) = decode::last_row(bytes)
        {
            peek(last);
        }
        let RawAnswer { server_time, sent, received, .. } = answer;
        let hasher = self.hasher.clone();
        let decode = move |body: &[u8]| decode::page_with_hashes(body, query.limit, hasher.as_deref());
        // The caller of `peek` is waiting for this thread.
        let page = match &answer.body {
            Body::Whole { bytes, .. } if bytes.len() >= LARGE_BODY => {
                spawn_blocking(move || answer.read(decode)).await
            }
            _ => answer.read(decode),
        }?;
        Ok(Answered { value: page, server_time, sent, received })
    }

    /// The account's products.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn products(&self) -> Result<Vec<Product>, ApiError> {
        self.post(Endpoint::GetProducts, &[]).await?.read(decode::products)
    }

    /// The number of seats of a license key, 0 or less where it is not limited. The call only reads and
    /// leaves no row in the log.
    ///
    /// # Errors
    /// As [`Client::page`]; an unknown key or product is [`ApiError::Api`].
    pub async fn seats(&self, product_id: i64, key: &str) -> Result<i64, ApiError> {
        let form = [("ProductId", product_id.to_string()), ("Key", key.to_owned())];
        self.post(Endpoint::GetKey, &form).await?.read(decode::max_machines)
    }

    /// A license key. The call only reads and leaves no row in the log.
    ///
    /// # Errors
    /// As [`Client::seats`].
    pub async fn license_key(&self, product_id: i64, key: &str) -> Result<LicenseKey, ApiError> {
        let form = [("ProductId", product_id.to_string()), ("Key", key.to_owned())];
        self.post(Endpoint::GetKey, &form).await?.read(decode::one_license_key)
    }

    /// A page of the license keys of a product, from 1.
    ///
    /// # Errors
    /// As [`Client::seats`].
    pub async fn license_keys(&self, product_id: i64, page: i64) -> Result<LicenseKeyPage, ApiError> {
        let form = [("ProductId", product_id.to_string()), ("Page", page.to_string())];
        self.post(Endpoint::GetKeys, &form).await?.read(decode::license_keys)
    }

    /// The companies of the account's customers.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn customers(&self) -> Result<Vec<CustomerCompany>, ApiError> {
        self.post(Endpoint::GetCustomers, &[]).await?.read(decode::customers)
    }

    /// A page of the vendor's own daily counts of the Web API Log, with ids above `after`; 0 asks
    /// from the beginning.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn daily_aggregates(
        &self,
        query: AggregateQuery,
        after: i64,
    ) -> Result<Vec<DailyAggregate>, ApiError> {
        let form = query.form(after);
        self.post(Endpoint::GetDailyAggregates, &form).await?.read(decode::daily_aggregates)
    }

    async fn post(&self, endpoint: Endpoint, form: &[(&str, String)]) -> Result<RawAnswer, ApiError> {
        let url =
            format!("{}/{}/{}", self.url.as_str().trim_end_matches('/'), endpoint.group(), endpoint.name());
        let token = self.token.current();
        let mut fields = vec![("token", token.expose_secret())];
        fields.extend(form.iter().map(|(name, value)| (*name, value.as_str())));
        let mut sent = Instant::now();
        let deadline = sent + self.timeout;
        let request = self.http.post(&url).form(&fields).send();
        let response = match reuse::sent(request).await {
            (Err(error), false) if reuse::was_closed(&error) => {
                tracing::debug!(
                    endpoint = endpoint.name(),
                    "a kept-alive connection was closed, asking once more"
                );
                sent = Instant::now();
                let request = self.unpooled.post(&url).form(&fields);
                request.timeout(deadline.saturating_duration_since(sent)).send().await
            }
            (response, _) => response,
        };
        let response = response.map_err(|error| failed(&error))?;
        let status = response.status();
        let retry_after = http::retry_after(response.headers());
        let server_time = server_time(response.headers());
        let body = read_body(response, endpoint, deadline).await?;
        Ok(RawAnswer { status, retry_after, server_time, sent, received: Instant::now(), body })
    }
}

struct RawAnswer {
    status: StatusCode,
    retry_after: Option<Duration>,
    server_time: Option<i64>,
    sent: Instant,
    received: Instant,
    body: Body,
}

enum Body {
    /// The bytes as received, with the permit that a large body needs as long as it is kept.
    Whole { bytes: Vec<u8>, _turn: Option<SemaphorePermit<'static>> },
    /// The body is not kept, for this reason.
    Unread(DecodeFault),
}

impl RawAnswer {
    /// Classifies by the body first, then by the status: SDKs read the same JSON from every status
    /// (py HTTPError, net v4054), and it is not documented which message has which status. An HTML
    /// page does not come from the API, so its status says nothing about the token.
    fn read<T>(self, decode: impl FnOnce(&[u8]) -> Result<T, BodyError>) -> Result<T, ApiError> {
        let retry_after = self.retry_after;
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ApiError::RateLimited { retry_after });
        }
        let decoded = match &self.body {
            Body::Whole { bytes, .. } => decode(bytes),
            Body::Unread(fault) => Err(BodyError::Fault(*fault)),
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
            Err(BodyError::Reported(ApiError::Api)) => Err(by_status(ApiError::Api)),
            Err(BodyError::Reported(ApiError::Server { .. })) => {
                let status = status.filter(|_| self.status.is_server_error());
                Err(ApiError::Server { status, retry_after, html })
            }
            Err(BodyError::Reported(error)) => Err(error),
            Err(BodyError::Fault(fault)) => Err(by_status(ApiError::Decode(fault))),
        }
    }
}

/// Reads a body to its end, even one that is too long to be kept: only the end shows that it
/// arrived whole and was not cut short on the way.
async fn read_body(
    mut response: reqwest::Response,
    endpoint: Endpoint,
    deadline: Instant,
) -> Result<Body, ApiError> {
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(TURN_ABOVE));
    let mut turn = None;
    loop {
        let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? else {
            return Ok(Body::Whole { bytes: body, _turn: turn });
        };
        let length = body.len() + chunk.len();
        if length > BODY_CAP {
            let mut skeleton = Skeleton::default();
            skeleton.read(&body);
            skeleton.read(&chunk);
            let of_a_page = !matches!(endpoint, Endpoint::Log(_)) || decode::opens_a_list(&body);
            let is_html = body.trim_ascii_start().first() == Some(&b'<');
            drop((body, turn));
            let is_whole = is_rest_whole(response, skeleton).await?;
            return Ok(Body::Unread(match is_whole && of_a_page {
                true => DecodeFault::TooLarge,
                false if is_html => DecodeFault::Html,
                false => DecodeFault::NotJson,
            }));
        }
        if length > TURN_ABOVE && turn.is_none() {
            let permit = tokio::time::timeout_at(deadline, TURN.acquire()).await;
            turn = permit.map_err(|_| ApiError::Timeout)?.ok();
            // Reserved once: pages of memory that nothing is written to cost nothing, while growing
            // would copy.
            body.reserve_exact(BODY_CAP + 1 - body.len());
        }
        body.extend_from_slice(&chunk);
    }
}

/// Reads the rest of a body without keeping it. True if the whole body is one object.
async fn is_rest_whole(mut response: reqwest::Response, mut skeleton: Skeleton) -> Result<bool, ApiError> {
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        skeleton.read(&chunk);
        // 64 kB of compressed zeros become 64 MB, which would block the thread for too long.
        tokio::task::yield_now().await;
    }
    Ok(skeleton.is_whole())
}

/// The header `Date` in Unix seconds.
fn server_time(headers: &HeaderMap) -> Option<i64> {
    let at = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

fn failed(error: &reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Timeout;
    }
    if error.is_decode() {
        // A body that is labelled as gzip and is not: the API did not answer.
        return ApiError::Decode(DecodeFault::NotJson);
    }
    let cause = http::cause(error);
    let (fault, cause) = match http::tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => (certificate_fault(why), cause),
        // Bytes that are no TLS message, such as an answer in plain HTTP.
        Some(rustls::Error::InvalidMessage(_)) => {
            (TransportFault::NoTls, "the port speaks no TLS".to_owned())
        }
        // The error types of the tunnel are not public.
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
mod tests;
