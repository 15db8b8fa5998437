//! One request to an OTLP receiver: HTTP POST with protobuf, and the classified answer. It retries
//! nothing.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::StatusCode;
use reqwest::header::CONTENT_ENCODING;

use super::super::push_client::{
    NO_TLS, NoAnswer, PushAnswer, PushClient, PushClientError, PushOptions, shown_message,
};
use super::message::{ExportMetricsRequest, ExportMetricsResponse, RpcStatus};
use super::settings::OtlpSettings;

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
            PushError::Unreachable(cause) if cause.contains("UnknownIssuer") => {
                "trust the receiver's certificate authority with OTEL_EXPORTER_OTLP_CERTIFICATE"
            }
            PushError::Unreachable(cause) if cause.contains("certificate") => {
                "check the host of the endpoint, the receiver's certificate, and this machine's clock"
            }
            PushError::Unreachable(cause) if cause == NO_TLS => {
                "use http:// in the endpoint, or the port of the receiver that speaks TLS"
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

impl From<PushClientError> for OtlpClientError {
    fn from(error: PushClientError) -> OtlpClientError {
        match error {
            PushClientError::CaFile => OtlpClientError::CaFile,
            PushClientError::Identity => OtlpClientError::Identity,
            PushClientError::Setup(reason) => OtlpClientError::Setup(reason),
        }
    }
}

/// Sends requests to one receiver.
pub(super) struct OtlpClient {
    client: PushClient,
    gzip: bool,
    timeout: Duration,
}

impl OtlpClient {
    pub(super) fn new(settings: &OtlpSettings) -> Result<OtlpClient, OtlpClientError> {
        let options = PushOptions {
            headers: settings.headers.to_map(),
            ca_pem: settings.ca_pem.clone(),
            identity_pem: settings.identity_pem.clone(),
            proxy: settings.proxy.clone(),
            ..PushOptions::default()
        };
        let client = PushClient::new(&settings.endpoint, options)?;
        let OtlpSettings { gzip, timeout, .. } = settings;
        Ok(OtlpClient { client, gzip: *gzip, timeout: *timeout })
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
        let headers: &[_] = if gzip { &[(CONTENT_ENCODING, "gzip")] } else { &[] };
        match self.client.post(headers, body, most.min(self.timeout)).await {
            Ok(answer) => answered(&answer),
            Err(NoAnswer::Timeout) => Err(PushError::Timeout),
            Err(NoAnswer::Unreachable(cause)) => Err(PushError::Unreachable(cause)),
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

fn answered(answer: &PushAnswer) -> Result<Accepted, PushError> {
    let shown = |message: String| shown_message(&answer.without_credentials(&message));
    let status = answer.status;
    if status.is_success() {
        // An empty body is success, and so is one of a receiver that answers with something else.
        let response = ExportMetricsResponse::decode(&*answer.body).unwrap_or_default();
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_data_points).unwrap_or_default();
        return Ok(Accepted { rejected, message: shown(partial.error_message) });
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Err(PushError::TooLarge);
    }
    let message = if answer.is_protobuf() {
        shown(RpcStatus::decode(&*answer.body).unwrap_or_default().message)
    } else {
        shown_message(&answer.text())
    };
    Err(PushError::Refused { status: status.as_u16(), message, retry_after: answer.retry_after() })
}
