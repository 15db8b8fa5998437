//! The Prometheus protobuf format: length-delimited messages `io.prometheus.client.MetricFamily`.
//!
//! The messages are written by hand, as far as they are used here. The fields are those of
//! client_model's `metrics.proto`, which is `proto2`: every field has a presence of its own. Births
//! are always written.

use prost::Message;
use prost::encoding::encode_varint;

use crate::metrics::{
    BirthTime, Family, FamilyType, Point, PointValue, ProcessFamily, ProcessPoint, ProcessValue,
};

use super::page::{ExpositionFormat, FamilyHead};

/// The value of the header `Content-Type`.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The field of `MetricFamily` that its metrics are in.
const METRIC_FIELD: u32 = 4;

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ProtoTimestamp {
    /// Unix seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `LabelPair`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProtoLabel {
    /// The name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// `Exemplar`.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoExemplar {
    /// The labels that name the row.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<ProtoLabel>,
    /// The increment of that row.
    #[prost(double, optional, tag = "2")]
    pub value: Option<f64>,
}

/// `Gauge`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProtoGauge {
    /// The value.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// `Counter`.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoCounter {
    /// The value.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
    /// The newest row.
    #[prost(message, optional, tag = "2")]
    pub exemplar: Option<ProtoExemplar>,
    /// Since when it counts.
    #[prost(message, optional, tag = "3")]
    pub created_timestamp: Option<ProtoTimestamp>,
}

/// `Bucket`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProtoBucket {
    /// Observations at or below the bound.
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    /// The bound.
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
}

/// `Histogram`, with classic buckets only; that of infinity is left out, as its count is that of
/// all.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoHistogram {
    /// All observations.
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// By bound.
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<ProtoBucket>,
    /// Since when it counts.
    #[prost(message, optional, tag = "15")]
    pub created_timestamp: Option<ProtoTimestamp>,
}

/// `Metric`.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoMetric {
    /// The labels.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<ProtoLabel>,
    /// Of a gauge.
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<ProtoGauge>,
    /// Of a counter.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<ProtoCounter>,
    /// Of a histogram.
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<ProtoHistogram>,
}

/// `MetricFamily`.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoFamily {
    /// The name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The help text.
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// 0 for a counter, 1 for a gauge, 4 for a histogram.
    #[prost(int32, optional, tag = "3")]
    pub family_type: Option<i32>,
    /// The label sets.
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<ProtoMetric>,
}

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProtobufFormat;

impl ExpositionFormat for ProtobufFormat {
    fn head(&self, out: &mut Vec<u8>, head: FamilyHead<'_>, points: usize) {
        let family_type = match head.family_type {
            FamilyType::Counter => 0,
            FamilyType::Gauge => 1,
            FamilyType::Histogram(_) => 4,
        };
        let family = ProtoFamily {
            name: Some(head.name.to_owned()),
            help: Some(head.help.to_owned()),
            family_type: Some(family_type),
            metric: Vec::new(),
        };
        // The metrics follow as the last field of the same message.
        let fields = family.encode_to_vec();
        encode_varint(u64::try_from(fields.len() + points).unwrap_or(u64::MAX), out);
        out.extend_from_slice(&fields);
    }

    fn point(&self, out: &mut Vec<u8>, family: &Family, account: Option<&str>, point: &Point) {
        let values = account.into_iter().chain(point.labels.iter().map(|label| &**label));
        let mut metric = ProtoMetric { label: labels(family.labels, values), ..ProtoMetric::default() };
        match &point.value {
            PointValue::Counter(value) => {
                let exemplar = point.entry_id.map(|id| ProtoExemplar {
                    label: labels(&["entry_id"], std::iter::once(&*id.to_string())),
                    value: Some(1.0),
                });
                metric.counter = Some(ProtoCounter {
                    value: Some(float(i128::from(*value))),
                    exemplar,
                    created_timestamp: timestamp(point.born),
                });
            }
            PointValue::Gauge(value) => {
                metric.gauge = Some(ProtoGauge { value: Some(float(i128::from(*value))) })
            }
            PointValue::Histogram(value) => {
                metric.histogram = Some(ProtoHistogram {
                    sample_count: Some(value.count),
                    sample_sum: Some(float(i128::from(value.sum))),
                    bucket: buckets(family.bounds(), &value.buckets),
                    created_timestamp: timestamp(point.born),
                });
            }
        }
        prost::encoding::message::encode(METRIC_FIELD, &metric, out);
    }

    fn process_point(
        &self,
        out: &mut Vec<u8>,
        family: &ProcessFamily,
        point: &ProcessPoint,
        born: BirthTime,
    ) {
        let label = labels(family.labels, point.labels.iter().map(|label| &**label));
        let mut metric = ProtoMetric { label, ..ProtoMetric::default() };
        match &point.value {
            ProcessValue::Counter(value) => {
                let created_timestamp = timestamp(born);
                metric.counter =
                    Some(ProtoCounter { value: Some(*value), exemplar: None, created_timestamp });
            }
            ProcessValue::Gauge(value) => metric.gauge = Some(ProtoGauge { value: Some(*value) }),
            ProcessValue::Histogram { buckets: counts, count, sum } => {
                metric.histogram = Some(ProtoHistogram {
                    sample_count: Some(*count),
                    sample_sum: Some(*sum),
                    bucket: buckets(family.family_type.bounds(), counts),
                    created_timestamp: timestamp(born),
                });
            }
        }
        prost::encoding::message::encode(METRIC_FIELD, &metric, out);
    }
}

/// The format has no whole numbers. Above 2^53 it has no better.
#[allow(clippy::cast_precision_loss)]
fn float(value: i128) -> f64 {
    value as f64
}

fn labels<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> Vec<ProtoLabel> {
    let pair = |(name, value): (&&str, &str)| ProtoLabel {
        name: Some((*name).to_owned()),
        value: Some(value.to_owned()),
    };
    names.iter().zip(values).map(pair).collect()
}

fn buckets(bounds: &[f64], counts: &[u64]) -> Vec<ProtoBucket> {
    let mut below = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        below += count;
        ProtoBucket { cumulative_count: Some(below), upper_bound: Some(*bound) }
    };
    bounds.iter().zip(counts).map(bucket).collect()
}

fn timestamp(born: BirthTime) -> Option<ProtoTimestamp> {
    let millis = born.known()?;
    let nanos = i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default();
    Some(ProtoTimestamp { seconds: millis / 1000, nanos })
}
