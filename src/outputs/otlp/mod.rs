//! Pushes every family of `/metrics` to an OpenTelemetry collector or backend: OTLP over HTTP with
//! protobuf.
//!
//! Promises:
//! - All points of a push have one time, and each counter has its birth time as its start.
//! - A push that fails is made again with the *current* values, so nothing queues and memory stays
//!   bounded. Only HTTP 429, 502, 503 and 504 and broken connections are tried again before the
//!   next regular push, after a wait that is never longer than until then.
//! - At a shutdown a last push is followed by one that ends all series, so that a Prometheus behind
//!   the receiver does not show them as alive. Both together take less than two seconds.
//! - A receiver that hangs or refuses costs this task its time, and nobody else anything.
//!
//! It knows no configuration: `OTEL_*` variables are read by the configuration.

mod client;
mod encode;
mod history;
mod message;
mod metrics;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Waits};
use crate::snapshot::Snapshot;
use crate::task::spawn_blocking;

use client::OtlpClient;
pub use client::{OtlpClientError, PushError};
use encode::{PointContent, point_count, split};
pub(super) use history::HistoryPusher;
pub use history::{OTLP_TARGET, OtlpHistorySettings, run_history};
use message::{
    ExportMetricsRequest, InstrumentationScope, KeyValue, OtlpMetric, OtlpResource, ResourceMetrics,
    ScopeMetrics,
};
pub use metrics::OtlpMetrics;
pub use settings::OtlpSettings;

/// The time for the last push and the end of the series together. The supervisor allows outputs two
/// seconds to stop.
const STOP_TIME: Duration = Duration::from_millis(1900);
/// The name of the scope of all metrics. It has no version, as a new one would start new series.
const SCOPE: &str = "cryptolens-exporter";
/// The time between looks for the identity of the ledger.
const LEDGER_LOOK: Duration = Duration::from_millis(200);
const INSTANCE_ID: &str = "service.instance.id";

/// The sources of the values of a push.
#[derive(Clone)]
pub struct OtlpSources {
    /// Makes a snapshot of the values. Called off the threads that poll.
    pub snapshot: Arc<dyn Fn() -> Snapshot + Send + Sync>,
    /// Where pushes are counted.
    pub metrics: Arc<OtlpMetrics>,
    /// The value of `service.instance.id` if none is configured: the identity of the ledger, and
    /// `None` until that could be read.
    pub instance_id: Arc<dyn Fn() -> Option<Arc<str>> + Send + Sync>,
}

impl OtlpSettings {
    /// Checks what only the HTTP client can: certificates and keys.
    ///
    /// # Errors
    /// [`OtlpClientError`].
    pub fn validate(&self) -> Result<(), OtlpClientError> {
        OtlpClient::new(self).map(|_| ())
    }
}

/// Sends an empty push.
///
/// # Errors
/// [`PushError`] if the receiver did not take it.
pub async fn probe(settings: &OtlpSettings) -> Result<(), PushError> {
    let client = OtlpClient::new(settings).map_err(|error| PushError::Unreachable(error.to_string()))?;
    client.send(Arc::default(), settings.timeout).await.map(|_| ())
}

/// Pushes until the shutdown.
pub async fn run(settings: OtlpSettings, sources: OtlpSources, shutdown: CancellationToken) {
    let client = match OtlpClient::new(&settings) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be pushed");
            return;
        }
    };
    sources.metrics.show();
    let interval = settings.interval;
    let instance_id = tokio::select! {
        () = shutdown.cancelled() => return,
        instance_id = instance_id(&settings, &sources) => instance_id,
    };
    let mut pusher = Pusher::new(settings, sources, client, instance_id);
    let mut waits = Backoff::API.waits();
    let mut regular = Instant::now();
    let mut at = regular;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep_until(at) => {}
        }
        let pushed = tokio::select! {
            () = shutdown.cancelled() => break,
            pushed = pusher.push(PointContent::Values) => pushed,
        };
        let now = Instant::now();
        while regular <= now {
            regular += interval;
        }
        at = next_push(&pushed, &mut waits, now, regular);
        pusher.log(pushed);
    }
    let last = async {
        // A receiver that is gone gets neither.
        if pusher.push(PointContent::Values).await.is_ok() {
            let _ = pusher.push(PointContent::EndOfSeries).await;
        }
    };
    if tokio::time::timeout(STOP_TIME, last).await.is_err() {
        tracing::debug!("the receiver of metrics did not take the end of the series in time");
    }
}

/// The configured instance id, or that of the ledger as soon as it could be read.
async fn instance_id(settings: &OtlpSettings, sources: &OtlpSources) -> Arc<str> {
    if let Some((_, configured)) = settings.resource.iter().find(|(name, _)| name == INSTANCE_ID) {
        return Arc::from(configured.as_str());
    }
    loop {
        if let Some(id) = (sources.instance_id)() {
            return id;
        }
        tokio::time::sleep(LEDGER_LOOK).await;
    }
}

/// The time of the next push, which is that of the next regular one at the latest.
fn next_push(
    pushed: &Result<Pushed, PushError>,
    waits: &mut Waits,
    now: Instant,
    regular: Instant,
) -> Instant {
    let retry = pushed.as_ref().err().and_then(PushError::retry);
    let Some(asked) = retry else {
        waits.reset();
        return regular;
    };
    let wait = match asked {
        Some(asked) => waits.next_wait_of_at_least(asked),
        None => waits.next_wait(),
    };
    (now + wait).min(regular)
}

/// A push that the receiver took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Pushed {
    /// Points that it rejected.
    rejected: u64,
    /// Its reason.
    message: String,
}

struct Pusher {
    settings: OtlpSettings,
    sources: OtlpSources,
    client: OtlpClient,
    resource: OtlpResource,
    /// The most points of one request, as far as the receiver said.
    most_points: usize,
    /// The time of the last push, in nanoseconds of the Unix clock.
    last_time: u64,
    /// Whether the last push failed.
    failing: bool,
    /// Whether a rejection was logged.
    rejection_logged: bool,
}

impl Pusher {
    fn new(
        settings: OtlpSettings,
        sources: OtlpSources,
        client: OtlpClient,
        instance_id: Arc<str>,
    ) -> Pusher {
        let configured = settings.resource.iter().filter(|(name, _)| name != INSTANCE_ID);
        let mut attributes: Vec<KeyValue> =
            configured.map(|(name, value)| KeyValue::new(name, value)).collect();
        attributes.push(KeyValue::new(INSTANCE_ID, &instance_id));
        Pusher {
            settings,
            sources,
            client,
            resource: OtlpResource { attributes },
            most_points: usize::MAX,
            last_time: 0,
            failing: false,
            rejection_logged: false,
        }
    }

    /// Pushes the current snapshot, in several requests if the receiver wants smaller ones, and
    /// counts the push.
    async fn push(&mut self, content: PointContent) -> Result<Pushed, PushError> {
        let started = Instant::now();
        let pushed = self.push_all(content, started + self.settings.push_timeout).await;
        let result = match &pushed {
            Ok(Pushed { rejected: 0, .. }) => "ok",
            Ok(_) => "partial",
            Err(error) => error.result(),
        };
        self.sources.metrics.observe(result, started.elapsed());
        pushed
    }

    async fn push_all(&mut self, content: PointContent, deadline: Instant) -> Result<Pushed, PushError> {
        let time = self.next_time();
        let snapshot = Arc::clone(&self.sources.snapshot);
        let metrics = spawn_blocking(move || encode::metrics(&snapshot(), time, content)).await;
        let mut requests = VecDeque::from(split(metrics, self.most_points));
        let mut pushed = Pushed::default();
        while let Some(metrics) = requests.pop_front() {
            let points: usize = metrics.iter().map(point_count).sum();
            if points > self.most_points {
                // The receiver refused a larger request since these were split.
                for metrics in split(metrics, self.most_points).into_iter().rev() {
                    requests.push_front(metrics);
                }
                continue;
            }
            let request = Arc::new(self.request(metrics));
            let left = deadline.saturating_duration_since(Instant::now());
            match self.client.send(Arc::clone(&request), left).await {
                Ok(accepted) => {
                    let sent = u64::try_from(points).unwrap_or_default();
                    let rejected = accepted.rejected.min(sent);
                    self.sources.metrics.observe_points(sent, rejected);
                    pushed.rejected += rejected;
                    if !accepted.message.is_empty() {
                        pushed.message = accepted.message;
                    }
                }
                Err(PushError::TooLarge) if points > 1 => {
                    self.most_points = points.div_ceil(2);
                    tracing::debug!(
                        points = self.most_points,
                        "the receiver of metrics wants smaller requests"
                    );
                    requests.push_front(metrics_of(request));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(pushed)
    }

    /// The time of a push, later than that of the push before.
    fn next_time(&mut self) -> u64 {
        let now = chrono::Utc::now().timestamp_nanos_opt().and_then(|now| u64::try_from(now).ok());
        self.last_time = now.unwrap_or_default().max(self.last_time.saturating_add(1));
        self.last_time
    }

    fn request(&self, metrics: Vec<OtlpMetric>) -> ExportMetricsRequest {
        let scope = Some(InstrumentationScope { name: SCOPE.to_owned() });
        let resource = Some(self.resource.clone());
        let scope_metrics = vec![ScopeMetrics { scope, metrics }];
        ExportMetricsRequest { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
    }

    /// Logs when pushes begin to fail and when they succeed again, not each of them.
    fn log(&mut self, pushed: Result<Pushed, PushError>) {
        // No path, query or password: they may be secret.
        let endpoint = self.settings.endpoint.origin().ascii_serialization();
        match pushed {
            Ok(pushed) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(endpoint, "metrics are pushed again");
                }
                if pushed.rejected > 0 && !std::mem::replace(&mut self.rejection_logged, true) {
                    let Pushed { rejected, message } = pushed;
                    tracing::error!(endpoint, rejected, message, "the receiver rejects some of the metrics");
                }
            }
            Err(error) if self.failing => tracing::debug!(endpoint, %error, "metrics are still not pushed"),
            Err(error) => {
                self.failing = true;
                let advice = error.advice();
                if error.retry().is_some() || error == PushError::Timeout {
                    tracing::warn!(endpoint, %error, advice, "metrics are not pushed; a later push has them");
                } else {
                    tracing::error!(endpoint, %error, advice, "metrics are not pushed");
                }
            }
        }
    }
}

/// The metrics of a request that was not taken.
fn metrics_of(request: Arc<ExportMetricsRequest>) -> Vec<OtlpMetric> {
    let request = Arc::unwrap_or_clone(request);
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}
