//! One request of remote write, and its answer.

use std::ops::Range;
use std::sync::Arc;

use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, HeaderName};

use super::message::{self, WriteRequest};
use super::target::{RemoteWriteTarget, WatchedClient};
use crate::history::{DropReason, HistorySample};
use crate::outputs::delivery::{AnswerVerdict, DeliveryError, SampleReceiver};
use crate::task::spawn_blocking;

const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");

/// Writes samples to one target.
pub(in crate::outputs) struct RemoteWriter {
    name: Arc<str>,
    client: WatchedClient,
    labels: Arc<[(String, String)]>,
    labels_weight: usize,
}

impl RemoteWriter {
    pub(in crate::outputs) fn new(target: RemoteWriteTarget, labels: Vec<(String, String)>) -> RemoteWriter {
        RemoteWriter {
            name: Arc::from(target.name.as_str()),
            client: WatchedClient::new(target),
            labels_weight: message::common_weight(&labels),
            labels: labels.into(),
        }
    }

    /// Sends a body that is made of no sample.
    pub(super) async fn send_empty(&mut self) -> Result<(), DeliveryError> {
        self.post(compressed(&WriteRequest::default())).await
    }

    async fn post(&mut self, body: Vec<u8>) -> Result<(), DeliveryError> {
        let timeout = self.client.target().timeout;
        let client = self.client.current().await.map_err(|error| DeliveryError::Local(error.to_string()))?;
        let headers = [(CONTENT_ENCODING, "snappy"), (VERSION, "0.1.0")];
        let answer = client.post(&headers, body, timeout).await?;
        if answer.status.is_success() { Ok(()) } else { Err(DeliveryError::of(&answer)) }
    }

    pub(super) fn client(&mut self) -> &mut WatchedClient {
        &mut self.client
    }
}

impl SampleReceiver for RemoteWriter {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn address(&self) -> String {
        self.client.target().shown_url()
    }

    fn weight(&self, sample: &HistorySample) -> usize {
        message::weight(sample, self.labels_weight)
    }

    async fn send(
        &mut self,
        samples: Arc<[HistorySample]>,
        piece: Range<usize>,
    ) -> Result<u64, DeliveryError> {
        let labels = Arc::clone(&self.labels);
        // Encoding 5,000 samples takes milliseconds: not on a thread that polls.
        let body = spawn_blocking(move || {
            compressed(&WriteRequest::of(samples.get(piece).unwrap_or_default(), &labels))
        });
        let body = body.await;
        self.post(body).await.map(|()| 0)
    }

    fn advice(&self, error: &DeliveryError) -> &'static str {
        advice(error)
    }
}

fn compressed(request: &WriteRequest) -> Vec<u8> {
    // Compressing into memory fails only beyond 4 GiB.
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap_or_default()
}

/// Advice for the operator about an error.
pub(super) fn advice(error: &DeliveryError) -> &'static str {
    match error {
        DeliveryError::Unreachable(cause) if cause.contains("certificate") => {
            "trust the receiver's certificate authority with tls_config.ca_file, and name the host of its \
             certificate with tls_config.server_name"
        }
        DeliveryError::Unreachable(_) => "check host and port of the URL, and that the receiver runs",
        DeliveryError::Timeout => "check the receiver, or raise remote_timeout",
        DeliveryError::Local(_) => "mend the file; it is read again before each request",
        DeliveryError::Answered { status, verdict, .. } => match (verdict, status) {
            (AnswerVerdict::Credentials, _) => "check basic_auth or authorization of the target",
            (AnswerVerdict::Endpoint, 404 | 405) => {
                "check the path of the URL, which is /api/v1/write for most receivers; Prometheus needs the flag \
                 --web.enable-remote-write-receiver"
            }
            (AnswerVerdict::Endpoint, 300..=399) => {
                "redirects are not followed: use the address that it redirects to"
            }
            (AnswerVerdict::Endpoint, _) => "check that the URL takes Prometheus remote write 1.0",
            (AnswerVerdict::TooLarge, _) => "raise the receiver's limit for the size of a request",
            (AnswerVerdict::Samples(DropReason::Refused), _) => "look at the log of the receiver",
            (AnswerVerdict::Samples(_), _) => {
                "give the receiver an out-of-order window as long as --history.window: Prometheus has it as \
                 storage.tsdb.out_of_order_time_window in its configuration file"
            }
            (AnswerVerdict::Later, _) => "look at the log of the receiver",
        },
    }
}
