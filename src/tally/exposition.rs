//! From values to the `prometheus` crate's metric families, named and described by the catalogue.

use prometheus::proto;

use super::catalogue::{Family, Kind};
use super::histogram::Histogram;

/// One label set with its value.
pub type Sample = proto::Metric;

/// A whole number as it is shown. Above 2^53 the format itself has no better.
#[allow(clippy::cast_precision_loss)]
pub fn float(value: impl Into<i128>) -> f64 {
    value.into() as f64
}

fn sample(family: &Family, labels: &[impl AsRef<str>]) -> Sample {
    let pairs = family.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.as_ref().to_owned());
        pair
    });
    let mut sample = Sample::default();
    sample.set_label(pairs.collect());
    sample
}

/// A sample of a counter; `labels` in the order of the catalogue.
pub fn counter(family: &Family, labels: &[impl AsRef<str>], value: u64) -> Sample {
    let mut counter = proto::Counter::default();
    counter.set_value(float(value));
    let mut sample = sample(family, labels);
    sample.set_counter(counter);
    sample
}

/// A sample of a gauge; `labels` in the order of the catalogue.
pub fn gauge(family: &Family, labels: &[impl AsRef<str>], value: f64) -> Sample {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    let mut sample = sample(family, labels);
    sample.set_gauge(gauge);
    sample
}

/// A sample of a histogram; `labels` in the order of the catalogue.
pub fn histogram(family: &Family, labels: &[impl AsRef<str>], value: &Histogram) -> Sample {
    observations(family, labels, &value.buckets, value.count, float(value.sum))
}

/// A sample of a histogram, from counts per bucket (not cumulative) beside the total and the sum.
pub fn observations(
    family: &Family,
    labels: &[impl AsRef<str>],
    per_bucket: &[u64],
    count: u64,
    sum: f64,
) -> Sample {
    let cumulative = per_bucket.iter().scan(0, |below, here| {
        *below += here;
        Some(*below)
    });
    let buckets = family.bounds().iter().zip(cumulative).map(|(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum);
    let mut sample = sample(family, labels);
    sample.set_histogram(histogram);
    sample
}

/// The family with its samples; `None` where there are none, as the format has no empty family.
pub fn family(family: &Family, samples: Vec<Sample>) -> Option<proto::MetricFamily> {
    if samples.is_empty() {
        return None;
    }
    let mut shown = proto::MetricFamily::default();
    shown.set_name(family.name.to_owned());
    shown.set_help(family.help.to_owned());
    shown.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram(_) => proto::MetricType::HISTOGRAM,
    });
    shown.set_metric(samples);
    Some(shown)
}
