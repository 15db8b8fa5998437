//! Sends history to the receiver of the push, as gauges with the time of the events.
//!
//! The labels `job` and `instance` of the history are `service.name` and `service.instance.id` of
//! the resource, which Prometheus makes them of again; further ones are attributes of each point.
//! Names are those of remote write. How samples are delivered is for [`super::super::delivery`].

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::client::{OtlpClient, PushError};
use super::encode::gauge_of;
use super::message::{
    ExportMetricsRequest, InstrumentationScope, KeyValue, NumberDataPoint, OtlpResource, ResourceMetrics,
    ScopeMetrics,
};
use super::{INSTANCE_ID, OtlpSettings, SCOPE};
use crate::history::{HistoryFamily, HistorySample, Outbox};
use crate::outputs::delivery::{self, DeliveryError, HistoryDeliveries, SampleReceiver, verdict};

/// The name of the receiver of the push among the targets of history.
pub const OTLP_TARGET: &str = "otlp";
const SERVICE_NAME: &str = "service.name";

/// The settings of the task.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpHistorySettings {
    /// The receiver.
    pub push: OtlpSettings,
    /// Labels of every sample, `job` and `instance` among them.
    pub labels: Vec<(String, String)>,
    /// How old a sample may be when it is sent.
    pub window: Duration,
}

/// Sends what waits in the outbox until the shutdown.
pub async fn run_history<O: Outbox>(
    settings: OtlpHistorySettings,
    (outbox, deliveries): (O, Arc<HistoryDeliveries>),
    shutdown: CancellationToken,
) {
    let receiver = match HistoryPusher::new(&settings) {
        Ok(receiver) => receiver,
        Err(error) => {
            tracing::error!(%error, "history cannot be sent to the receiver of the push");
            return;
        }
    };
    delivery::deliver(receiver, outbox, settings.window, deliveries, shutdown).await;
}

/// Sends samples to one receiver.
pub(in crate::outputs) struct HistoryPusher {
    name: Arc<str>,
    address: String,
    client: OtlpClient,
    resource: OtlpResource,
    /// Labels of each point beside its own.
    labels: Arc<[(String, String)]>,
    labels_weight: usize,
}

impl HistoryPusher {
    pub(in crate::outputs) fn new(
        settings: &OtlpHistorySettings,
    ) -> Result<HistoryPusher, super::OtlpClientError> {
        let of_resource = |name: &str| match name {
            "job" => Some(SERVICE_NAME),
            "instance" => Some(INSTANCE_ID),
            _ => None,
        };
        let configured = &settings.push.resource;
        let overridden = [SERVICE_NAME, INSTANCE_ID];
        let configured = configured.iter().filter(|(name, _)| !overridden.contains(&name.as_str()));
        let mut attributes: Vec<KeyValue> =
            configured.map(|(name, value)| KeyValue::new(name, value)).collect();
        let named = settings.labels.iter().filter_map(|(name, value)| Some((of_resource(name)?, value)));
        attributes.extend(named.map(|(name, value)| KeyValue::new(name, value)));
        let others = settings.labels.iter().filter(|(name, _)| of_resource(name).is_none());
        let labels: Arc<[(String, String)]> = others.cloned().collect();
        Ok(HistoryPusher {
            name: Arc::from(OTLP_TARGET),
            address: settings.push.endpoint.origin().ascii_serialization(),
            client: OtlpClient::new(&settings.push)?,
            resource: OtlpResource { attributes },
            labels_weight: labels.iter().map(|(name, value)| name.len() + value.len() + 12).sum(),
            labels,
        })
    }

    fn request(&self, samples: &[HistorySample]) -> ExportMetricsRequest {
        let mut points: HashMap<HistoryFamily, Vec<NumberDataPoint>> = HashMap::new();
        for HistorySample { series, stamp, value } in samples {
            let labels = series.labels().filter(|(_, value)| !value.is_empty());
            let mut attributes: Vec<KeyValue> =
                labels.map(|(name, value)| KeyValue::new(name, value)).collect();
            attributes.extend(self.labels.iter().map(|(name, value)| KeyValue::new(name, value)));
            let nanoseconds = u64::try_from(*stamp).unwrap_or_default().saturating_mul(1_000_000);
            points.entry(series.family).or_default().push(NumberDataPoint {
                time_unix_nano: nanoseconds,
                as_int: Some(*value),
                attributes,
                ..NumberDataPoint::default()
            });
        }
        let metrics = HistoryFamily::ALL.into_iter().filter_map(|family| {
            let points = points.remove(&family)?;
            Some(gauge_of(family.family(), points))
        });
        let scope = Some(InstrumentationScope { name: SCOPE.to_owned() });
        let scope_metrics = vec![ScopeMetrics { scope, metrics: metrics.collect() }];
        let resource = Some(self.resource.clone());
        ExportMetricsRequest { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
    }
}

impl SampleReceiver for HistoryPusher {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn weight(&self, sample: &HistorySample) -> usize {
        let own: usize = sample.series.labels().map(|(name, value)| name.len() + value.len() + 12).sum();
        own + self.labels_weight + 32
    }

    async fn send(
        &mut self,
        samples: Arc<[HistorySample]>,
        piece: Range<usize>,
    ) -> Result<u64, DeliveryError> {
        let request = Arc::new(self.request(samples.get(piece).unwrap_or_default()));
        let accepted = self.client.send(request, Duration::MAX).await.map_err(DeliveryError::from)?;
        if accepted.rejected > 0 {
            tracing::debug!(message = accepted.message, "the receiver rejects samples of history");
        }
        Ok(accepted.rejected)
    }

    fn advice(&self, error: &DeliveryError) -> &'static str {
        PushError::from(error.clone()).advice()
    }
}

impl From<PushError> for DeliveryError {
    fn from(error: PushError) -> DeliveryError {
        match error {
            PushError::Unreachable(cause) => DeliveryError::Unreachable(cause),
            PushError::Timeout => DeliveryError::Timeout,
            PushError::TooLarge => DeliveryError::Answered {
                status: 413,
                message: String::new(),
                retry_after: None,
                verdict: verdict(413, ""),
            },
            PushError::Refused { status, message, retry_after } => {
                let verdict = verdict(status, &message);
                DeliveryError::Answered { status, message, retry_after, verdict }
            }
        }
    }
}

impl From<DeliveryError> for PushError {
    fn from(error: DeliveryError) -> PushError {
        match error {
            DeliveryError::Unreachable(cause) | DeliveryError::Local(cause) => PushError::Unreachable(cause),
            DeliveryError::Timeout => PushError::Timeout,
            DeliveryError::Answered { status: 413, .. } => PushError::TooLarge,
            DeliveryError::Answered { status, message, retry_after, .. } => {
                PushError::Refused { status, message, retry_after }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use url::Url;

    use super::*;
    use crate::history::HistorySeries;
    use crate::outputs::PushHeaders;

    fn pusher() -> HistoryPusher {
        let push = OtlpSettings {
            endpoint: Url::parse("http://127.0.0.1:1/v1/metrics").unwrap(),
            headers: PushHeaders::default(),
            timeout: Duration::from_secs(1),
            push_timeout: Duration::from_secs(1),
            interval: Duration::from_secs(60),
            gzip: false,
            ca_pem: None,
            identity_pem: None,
            proxy: None,
            resource: vec![("service.name".to_owned(), "x".to_owned()), ("zone".to_owned(), "b".to_owned())],
        };
        let labels = [("job", "shop"), ("instance", "pod-0"), ("cluster", "eu")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        HistoryPusher::new(&OtlpHistorySettings { push, labels, window: Duration::MAX }).unwrap()
    }

    fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
        let text = |attribute: &KeyValue| attribute.value.clone().and_then(|value| value.string_value);
        attributes.iter().map(|one| (one.key.clone(), text(one).unwrap_or_default())).collect()
    }

    #[test]
    fn samples_are_gauges_with_their_own_time() {
        let series = |family, values: &[&str]| {
            let values = values.iter().map(|value| Arc::from(*value)).collect();
            Arc::new(HistorySeries { family, account: "default".into(), values })
        };
        let covered = series(HistoryFamily::Covered, &["events"]);
        let events = series(HistoryFamily::EventEntries, &["7", "start", ""]);
        let sample = |series: &Arc<HistorySeries>, stamp, value| HistorySample {
            series: Arc::clone(series),
            stamp,
            value,
        };
        let request = pusher().request(&[
            sample(&covered, 60_001, 60),
            sample(&events, 60_001, 3),
            sample(&covered, 120_001, 60),
        ]);
        let [sent] = &request.resource_metrics[..] else { panic!("one resource") };
        let resource = texts(&sent.resource.as_ref().unwrap().attributes);
        let expected = [("service.name", "shop"), ("service.instance.id", "pod-0"), ("zone", "b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(resource, BTreeMap::from(expected));
        let metrics = &sent.scope_metrics[0].metrics;
        let shown: Vec<_> =
            metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(
            shown,
            [("cryptolens_history_event_log_entries", ""), ("cryptolens_history_covered_seconds", "s")]
        );
        let points = &metrics[1].gauge.as_ref().unwrap().data_points;
        let times: Vec<_> = points.iter().map(|point| (point.time_unix_nano, point.as_int)).collect();
        assert_eq!(times, [(60_001_000_000, Some(60)), (120_001_000_000, Some(60))]);
        let names: Vec<String> =
            texts(&metrics[0].gauge.as_ref().unwrap().data_points[0].attributes).into_keys().collect();
        assert_eq!(names, ["account", "cluster", "event_name", "product_id"], "no label that is empty");
    }
}
