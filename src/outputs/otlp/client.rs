//! One request to an OTLP receiver: HTTP POST with protobuf, and the classified answer. It retries
//! nothing.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, redirect};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::http;
use crate::text::fit;

use super::message::{ExportMetricsRequest, ExportMetricsResponse, RpcStatus};
use super::settings::OtlpSettings;

const PROTOBUF: &str = "application/x-protobuf";
/// The longest answer that is read, in bytes. A receiver answers with a sentence at most.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The longest text of a receiver that is shown, in characters.
const LONGEST_MESSAGE: usize = 200;

/// The answer to a request that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Accepted {
    /// Points that the receiver did not take.
    pub(super) rejected: u64,
    /// The reason, or a warning.
    pub(super) message: String,
}

/// The reason why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The receiver asks for smaller requests (HTTP 413).
    #[error("the receiver refuses requests of this size (HTTP 413)")]
    TooLarge,
    /// The receiver answered with another status than 200.
    #[error("the receiver answered HTTP {status}{}", shown(.message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The receiver's own words, made fit to be shown; may be empty.
        message: String,
        /// The wait that it asked for.
        retry_after: Option<Duration>,
    },
    /// There was no answer: the connection failed or broke.
    #[error("no connection to the receiver: {0}")]
    Unreachable(String),
    /// There was no answer in time.
    #[error("the receiver did not answer in time")]
    Timeout,
}

fn shown(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl PushError {
    /// Whether another try makes sense, and the wait that the receiver asked for.
    pub(super) fn retry(&self) -> Option<Option<Duration>> {
        match self {
            PushError::Refused { status: 429 | 502 | 503 | 504, retry_after, .. } => Some(*retry_after),
            PushError::Unreachable(_) => Some(None),
            PushError::Refused { .. } | PushError::TooLarge | PushError::Timeout => None,
        }
    }

    /// The value of the label `result`.
    pub(super) const fn result(&self) -> &'static str {
        match self {
            PushError::TooLarge | PushError::Refused { .. } => "refused",
            PushError::Unreachable(_) => "unreachable",
            PushError::Timeout => "timeout",
        }
    }

    /// Advice for the operator.
    pub fn advice(&self) -> &'static str {
        match self {
            PushError::Refused { status: 401 | 403, .. } => {
                "check the credentials in OTEL_EXPORTER_OTLP_HEADERS or otlp.headers"
            }
            PushError::Refused { status: 404 | 405, .. } => {
                "check the path of the endpoint: --otlp.endpoint and OTEL_EXPORTER_OTLP_ENDPOINT get \
                 /v1/metrics appended, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is used as it is"
            }
            PushError::Refused { status: 300..=399, .. } => {
                "redirects are not followed: use the address that it redirects to"
            }
            PushError::Refused { status: 400 | 415, .. } => {
                "check that the endpoint takes OTLP over HTTP with protobuf"
            }
            PushError::Refused { .. } => "look at the log of the receiver",
            PushError::TooLarge => "raise the receiver's limit for the size of a request",
            PushError::Unreachable(cause) if cause.contains("certificate") => {
                "trust the receiver's certificate authority with OTEL_EXPORTER_OTLP_CERTIFICATE"
            }
            PushError::Unreachable(_) => {
                "check the host and port of the endpoint; the port for HTTP is usually 4318, that for gRPC \
                 (4317) does not work"
            }
            PushError::Timeout => "check the receiver, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
        }
    }
}

/// The reason why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum OtlpClientError {
    /// The file with certificate authorities has none.
    #[error("the file of OTEL_EXPORTER_OTLP_CERTIFICATE has no certificate in PEM form")]
    CaFile,
    /// The certificate and the key of the client are not usable.
    #[error(
        "the files of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY are no \
         certificate and key in PEM form"
    )]
    Identity,
    /// The HTTP client cannot be set up.
    #[error("cannot set up the client: {0}")]
    Setup(String),
}

/// Sends requests to one receiver.
pub(super) struct OtlpClient {
    http: reqwest::Client,
    endpoint: Url,
    gzip: bool,
    timeout: Duration,
}

impl OtlpClient {
    pub(super) fn new(settings: &OtlpSettings) -> Result<OtlpClient, OtlpClientError> {
        let setup = |error: reqwest::Error| OtlpClientError::Setup(http::cause(&error));
        let mut builder = http::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .default_headers(settings.headers.to_map())
            .user_agent(concat!("cryptolens-exporter/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(setup)?);
        }
        if let Some(pem) = &settings.ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| OtlpClientError::CaFile)?;
            if roots.is_empty() {
                return Err(OtlpClientError::CaFile);
            }
            builder = builder.tls_certs_only(roots);
        }
        if let Some(pem) = &settings.identity_pem {
            let identity = reqwest::Identity::from_pem(pem.expose_secret().as_bytes());
            builder = builder.identity(identity.map_err(|_| OtlpClientError::Identity)?);
        }
        let http = builder.build().map_err(setup)?;
        let OtlpSettings { endpoint, gzip, timeout, .. } = settings;
        Ok(OtlpClient { http, endpoint: endpoint.clone(), gzip: *gzip, timeout: *timeout })
    }

    /// Sends one request, which takes `most` at most, body and answer included.
    pub(super) async fn send(
        &self,
        request: Arc<ExportMetricsRequest>,
        most: Duration,
    ) -> Result<Accepted, PushError> {
        let gzip = self.gzip;
        // Encoding and compressing 20,000 points takes milliseconds: not on a thread that polls.
        let body = crate::task::spawn_blocking(move || encoded(&request, gzip)).await;
        let mut post = self.http.post(self.endpoint.clone()).header(CONTENT_TYPE, PROTOBUF);
        if gzip {
            post = post.header(CONTENT_ENCODING, "gzip");
        }
        let exchange = async {
            let response = post.body(body).send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, start_of_body(response).await?))
        };
        match tokio::time::timeout(most.min(self.timeout), exchange).await {
            Err(_) => Err(PushError::Timeout),
            Ok(Err(error)) => Err(failed(&error)),
            Ok(Ok((status, headers, body))) => answered(status, &headers, &body),
        }
    }
}

fn encoded(request: &ExportMetricsRequest, gzip: bool) -> Vec<u8> {
    let bytes = request.encode_to_vec();
    if !gzip {
        return bytes;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    // Writing into memory does not fail.
    let written = encoder.write_all(&bytes);
    debug_assert!(written.is_ok());
    encoder.finish().unwrap_or_default()
}

async fn start_of_body(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            body.truncate(LONGEST_ANSWER);
            break;
        }
    }
    Ok(body)
}

fn failed(error: &reqwest::Error) -> PushError {
    if error.is_timeout() { PushError::Timeout } else { PushError::Unreachable(http::cause(error)) }
}

fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, PushError> {
    if status.is_success() {
        // An empty body is success, and so is one of a receiver that answers with something else.
        let response = ExportMetricsResponse::decode(body).unwrap_or_default();
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_data_points).unwrap_or_default();
        return Ok(Accepted { rejected, message: fit(&partial.error_message, LONGEST_MESSAGE).into_owned() });
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Err(PushError::TooLarge);
    }
    let is_protobuf = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    let message = if is_protobuf {
        RpcStatus::decode(body).unwrap_or_default().message
    } else {
        let text = String::from_utf8_lossy(body).into_owned();
        if text.trim_start().starts_with('<') { String::new() } else { text }
    };
    let message = fit(message.trim(), LONGEST_MESSAGE).into_owned();
    Err(PushError::Refused { status: status.as_u16(), message, retry_after: retry_after(headers) })
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}
