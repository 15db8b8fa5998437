//! From a snapshot to the messages of OTLP: one metric for each family, with the names of
//! `/metrics`.
//!
//! Prometheus' OTLP receiver, the Collector's Prometheus exporters and VictoriaMetrics end up with
//! the scraped names only if the names are unaltered, `_total` included, and the unit is `s` for
//! names that end in `_seconds` and empty otherwise.

use std::sync::Arc;

use crate::metrics::{
    BirthTime, Family, FamilyType, Histogram, Point, PointValue, ProcessFamily, ProcessPoint, ProcessValue,
};
use crate::snapshot::{Snapshot, SnapshotFamily};

use super::message::{
    CUMULATIVE, HistogramDataPoint, KeyValue, NO_RECORDED_VALUE, NumberDataPoint, OtlpGauge, OtlpHistogram,
    OtlpMetric, OtlpSum,
};

/// The points of a metric, by its type.
enum MetricPoints {
    Gauge(Vec<NumberDataPoint>),
    Sum(Vec<NumberDataPoint>),
    Histogram(Vec<HistogramDataPoint>),
}

enum NumberValue {
    Double(f64),
    Int(i64),
}

/// The content of the points of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointContent {
    /// The values of the snapshot.
    Values,
    /// That the series have ended.
    EndOfSeries,
}

/// Makes the metrics of a push at a time, in nanoseconds of the Unix clock.
pub(super) fn metrics(snapshot: &Snapshot, time: u64, content: PointContent) -> Vec<OtlpMetric> {
    let encoder = Encoder { time, content };
    let committed = snapshot.committed.iter().flat_map(|part| &part.families);
    let committed = committed.map(|family| encoder.committed(family));
    let process = &snapshot.process;
    let process = process.families.iter().map(|family| encoder.process(family, process.born));
    committed.chain(process).collect()
}

#[derive(Clone, Copy)]
struct Encoder {
    time: u64,
    content: PointContent,
}

impl Encoder {
    fn committed(self, family: &SnapshotFamily) -> OtlpMetric {
        let labels = |account: Option<&Arc<str>>, point: &Point| attributes(family.labels(account, point));
        let table = family.family;
        let data = match table.family_type {
            FamilyType::Histogram(bounds) => {
                let points = family.points().filter_map(|(account, point)| {
                    let PointValue::Histogram(histogram) = &point.value else { return None };
                    let Histogram { buckets, count, sum } = &**histogram;
                    let buckets = buckets.get(..bounds.len()).unwrap_or_default();
                    let point_labels = labels(account, point);
                    Some(self.histogram(point_labels, point.born, bounds, (buckets, *count, float(*sum))))
                });
                MetricPoints::Histogram(points.collect())
            }
            FamilyType::Counter | FamilyType::Gauge => {
                let points = family.points().filter_map(|(account, point)| {
                    let value = match &point.value {
                        PointValue::Counter(value) => i64::try_from(*value).unwrap_or(i64::MAX),
                        PointValue::Gauge(value) => *value,
                        PointValue::Histogram(_) => return None,
                    };
                    Some(self.number(labels(account, point), point.born, NumberValue::Int(value)))
                });
                numbers(table.family_type, points.collect())
            }
        };
        metric(table.name, table.help, data)
    }

    fn process(self, family: &ProcessFamily, born: BirthTime) -> OtlpMetric {
        let labels = |point: &ProcessPoint| {
            let values = point.labels.iter().map(|value| &**value);
            attributes(family.labels.iter().copied().zip(values))
        };
        let data = match family.family_type {
            FamilyType::Histogram(bounds) => {
                let points = family.points.iter().filter_map(|point| {
                    let ProcessValue::Histogram { buckets, count, sum } = &point.value else { return None };
                    Some(self.histogram(labels(point), born, bounds, (buckets, *count, *sum)))
                });
                MetricPoints::Histogram(points.collect())
            }
            FamilyType::Counter | FamilyType::Gauge => {
                let points = family.points.iter().filter_map(|point| {
                    let value = match point.value {
                        // A series must not change between whole numbers and fractions.
                        ProcessValue::Counter(value) if !family.name.contains("_seconds") => {
                            NumberValue::Int(whole(value))
                        }
                        ProcessValue::Counter(value) | ProcessValue::Gauge(value) => {
                            NumberValue::Double(value)
                        }
                        ProcessValue::Histogram { .. } => return None,
                    };
                    Some(self.number(labels(point), born, value))
                });
                let mut points: Vec<_> = points.collect();
                if family.family_type == FamilyType::Gauge {
                    points.iter_mut().for_each(|point| point.start_time_unix_nano = 0);
                }
                numbers(family.family_type, points)
            }
        };
        metric(&family.name, &family.help, data)
    }

    fn number(self, attributes: Vec<KeyValue>, born: BirthTime, value: NumberValue) -> NumberDataPoint {
        let (as_double, as_int) = match value {
            _ if self.content == PointContent::EndOfSeries => (None, None),
            NumberValue::Double(value) => (Some(value), None),
            NumberValue::Int(value) => (None, Some(value)),
        };
        NumberDataPoint {
            attributes,
            start_time_unix_nano: nanoseconds(born),
            time_unix_nano: self.time,
            as_double,
            as_int,
            flags: self.flags(),
        }
    }

    fn histogram(
        self,
        attributes: Vec<KeyValue>,
        born: BirthTime,
        bounds: &[f64],
        (buckets, count, sum): (&[u64], u64, f64),
    ) -> HistogramDataPoint {
        let (mut bucket_counts, mut count, mut sum) = (buckets.to_vec(), count, sum);
        bucket_counts.push(count.saturating_sub(buckets.iter().sum()));
        if self.content == PointContent::EndOfSeries {
            // A receiver marks the series of every bucket and of the sum, so the point still has
            // them.
            bucket_counts.fill(0);
            (count, sum) = (0, 0.0);
        }
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: nanoseconds(born),
            time_unix_nano: self.time,
            count,
            sum: Some(sum),
            bucket_counts,
            explicit_bounds: bounds.to_vec(),
            flags: self.flags(),
        }
    }

    const fn flags(self) -> u32 {
        match self.content {
            PointContent::Values => 0,
            PointContent::EndOfSeries => NO_RECORDED_VALUE,
        }
    }
}

fn metric(name: &str, help: &str, points: MetricPoints) -> OtlpMetric {
    let unit = if name.ends_with("_seconds") { "s" } else { "" };
    let metric = OtlpMetric {
        name: name.to_owned(),
        description: help.to_owned(),
        unit: unit.to_owned(),
        ..OtlpMetric::default()
    };
    let aggregation_temporality = CUMULATIVE;
    match points {
        MetricPoints::Gauge(data_points) => OtlpMetric { gauge: Some(OtlpGauge { data_points }), ..metric },
        MetricPoints::Sum(data_points) => {
            let sum = OtlpSum { data_points, aggregation_temporality, is_monotonic: true };
            OtlpMetric { sum: Some(sum), ..metric }
        }
        MetricPoints::Histogram(data_points) => {
            let histogram = OtlpHistogram { data_points, aggregation_temporality };
            OtlpMetric { histogram: Some(histogram), ..metric }
        }
    }
}

fn numbers(family_type: FamilyType, points: Vec<NumberDataPoint>) -> MetricPoints {
    if family_type == FamilyType::Counter { MetricPoints::Sum(points) } else { MetricPoints::Gauge(points) }
}

/// A label with an empty value is no label in Prometheus, so it is no attribute here.
fn attributes<'a>(labels: impl Iterator<Item = (&'static str, &'a str)>) -> Vec<KeyValue> {
    labels.filter(|(_, value)| !value.is_empty()).map(|(name, value)| KeyValue::new(name, value)).collect()
}

/// 0 stands for an unknown start, as the protocol has it.
fn nanoseconds(born: BirthTime) -> u64 {
    u64::try_from(born.millis()).unwrap_or_default().saturating_mul(1_000_000)
}

/// A sum of values stays below 2^53 for every log that a service could hold.
#[allow(clippy::cast_precision_loss)]
fn float(value: i64) -> f64 {
    value as f64
}

/// Counts of the process are whole numbers below 2^53.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> i64 {
    value as i64
}

/// A gauge with these points.
pub(super) fn gauge_of(family: &Family, points: Vec<NumberDataPoint>) -> OtlpMetric {
    metric(family.name, family.help, MetricPoints::Gauge(points))
}

/// The number of points of a metric.
pub(super) fn point_count(metric: &OtlpMetric) -> usize {
    let OtlpMetric { gauge, sum, histogram, .. } = metric;
    gauge.as_ref().map_or(0, |gauge| gauge.data_points.len())
        + sum.as_ref().map_or(0, |sum| sum.data_points.len())
        + histogram.as_ref().map_or(0, |histogram| histogram.data_points.len())
}

/// Splits metrics into requests of at most this many points. A metric can be in several requests.
pub(super) fn split(metrics: Vec<OtlpMetric>, most: usize) -> Vec<Vec<OtlpMetric>> {
    let most = most.max(1);
    let (mut requests, mut current, mut room) = (Vec::new(), Vec::new(), most);
    for mut metric in metrics {
        while point_count(&metric) > room {
            let rest = split_off(&mut metric, room);
            if point_count(&metric) > 0 {
                current.push(metric);
            }
            requests.push(std::mem::take(&mut current));
            (metric, room) = (rest, most);
        }
        room -= point_count(&metric);
        current.push(metric);
    }
    if !current.is_empty() {
        requests.push(current);
    }
    requests
}

/// Takes the points from this place on out of a metric.
fn split_off(from: &mut OtlpMetric, at: usize) -> OtlpMetric {
    let gauge = from.gauge.as_mut().map(|gauge| OtlpGauge { data_points: gauge.data_points.split_off(at) });
    let sum = from.sum.as_mut().map(|sum| OtlpSum { data_points: sum.data_points.split_off(at), ..*sum });
    let histogram = from
        .histogram
        .as_mut()
        .map(|histogram| OtlpHistogram { data_points: histogram.data_points.split_off(at), ..*histogram });
    let (name, description, unit) = (from.name.clone(), from.description.clone(), from.unit.clone());
    OtlpMetric { name, description, unit, gauge, sum, histogram }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::{Family, Persistence, ProcessPart};
    use crate::snapshot::{CommittedPart, PointGroup};

    const SECOND: u64 = 1_000_000_000;

    const COUNTER: Family = Family {
        name: "cryptolens_things_total",
        family_type: FamilyType::Counter,
        labels: &["account", "kind"],
        persistence: Persistence::Ledger,
        help: "Things.",
    };
    const GAUGE: Family =
        Family { name: "cryptolens_cursor", family_type: FamilyType::Gauge, labels: &["account"], ..COUNTER };
    const HISTOGRAM: Family = Family {
        name: "cryptolens_lease_seconds",
        family_type: FamilyType::Histogram(&[1.0, 10.0]),
        labels: &["account"],
        ..COUNTER
    };

    fn point(labels: &[&str], value: PointValue, born: i64) -> Point {
        let labels = labels.iter().map(|label| Arc::from(*label)).collect();
        Point { labels, value, born: BirthTime::at_seconds(born), entry_id: None }
    }

    fn family(family: &'static Family, points: Vec<Point>) -> SnapshotFamily {
        let group = PointGroup { account: Some("acme".into()), chunks: vec![Arc::new(points)] };
        SnapshotFamily { family, groups: vec![group] }
    }

    /// Six points of five families.
    pub(in super::super) fn snapshot() -> Snapshot {
        let mut leases = Histogram::default();
        [1, 5, 100].into_iter().for_each(|value| leases.observe(&[1.0, 10.0], value));
        let families = vec![
            family(
                &COUNTER,
                vec![
                    point(&["a"], PointValue::Counter(7), 3),
                    point(&[""], PointValue::Counter(u64::MAX), 0),
                ],
            ),
            family(&GAUGE, vec![point(&[], PointValue::Gauge(-4), 0)]),
            family(&HISTOGRAM, vec![point(&[], PointValue::Histogram(Arc::new(leases)), 5)]),
        ];
        let process = ProcessPart {
            families: vec![
                ProcessFamily {
                    name: "process_cpu_seconds_total".into(),
                    help: "CPU.".into(),
                    family_type: FamilyType::Counter,
                    labels: &[],
                    points: vec![ProcessPoint { labels: vec![], value: ProcessValue::Counter(1.0) }],
                },
                ProcessFamily {
                    name: "cryptolens_up".into(),
                    help: "Up.".into(),
                    family_type: FamilyType::Gauge,
                    labels: &["log"],
                    points: vec![ProcessPoint {
                        labels: vec!["events".into()],
                        value: ProcessValue::Gauge(0.5),
                    }],
                },
            ],
            born: BirthTime::at_seconds(9),
        };
        Snapshot { committed: Some(Arc::new(CommittedPart { families })), process }
    }

    fn named(metrics: &[OtlpMetric], name: &str) -> OtlpMetric {
        metrics.iter().find(|metric| metric.name == name).unwrap().clone()
    }

    fn number_points(metric: &OtlpMetric) -> Vec<NumberDataPoint> {
        let gauge = metric.gauge.clone().map(|gauge| gauge.data_points);
        gauge.or_else(|| metric.sum.clone().map(|sum| sum.data_points)).unwrap()
    }

    #[test]
    fn counters_are_cumulative_sums_with_their_births() {
        let metrics = metrics(&snapshot(), 20 * SECOND, PointContent::Values);
        let things = named(&metrics, "cryptolens_things_total");
        assert_eq!((&*things.description, &*things.unit), ("Things.", ""));
        let sum = things.sum.as_ref().unwrap();
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        let [known, unknown] = &sum.data_points[..] else { panic!("{sum:?}") };
        assert_eq!(known.start_time_unix_nano, 3 * SECOND);
        assert_eq!(known.time_unix_nano, 20 * SECOND);
        assert_eq!((known.as_int, known.as_double), (Some(7), None));
        assert_eq!(known.attributes, [KeyValue::new("account", "acme"), KeyValue::new("kind", "a")]);
        assert_eq!(unknown.start_time_unix_nano, 0);
        assert_eq!(unknown.attributes, [KeyValue::new("account", "acme")]);
        assert_eq!(unknown.as_int, Some(i64::MAX));
    }

    #[test]
    fn gauges_have_no_start_and_keep_their_kind_of_number() {
        let metrics = metrics(&snapshot(), SECOND, PointContent::Values);
        let points = |name| number_points(&named(&metrics, name));
        assert_eq!(points("cryptolens_cursor")[0].as_int, Some(-4));
        let up = &points("cryptolens_up")[0];
        assert_eq!((up.as_double, up.start_time_unix_nano), (Some(0.5), 0));
        let cpu = &points("process_cpu_seconds_total")[0];
        assert_eq!((cpu.as_double, cpu.start_time_unix_nano), (Some(1.0), 9 * SECOND));
        assert_eq!(named(&metrics, "process_cpu_seconds_total").unit, "");
    }

    #[test]
    fn histograms_count_each_bucket_and_what_is_above() {
        let metrics = metrics(&snapshot(), SECOND, PointContent::Values);
        let leases = named(&metrics, "cryptolens_lease_seconds");
        assert_eq!(leases.unit, "s");
        let histogram = leases.histogram.unwrap();
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts, [1, 1, 1]);
        assert_eq!(point.explicit_bounds, [1.0, 10.0]);
        assert_eq!((point.count, point.sum), (3, Some(106.0)));
        assert_eq!(point.start_time_unix_nano, 5 * SECOND);
    }

    #[test]
    fn the_end_of_series_has_every_series_and_no_value() {
        let ends = metrics(&snapshot(), SECOND, PointContent::EndOfSeries);
        let values = metrics(&snapshot(), SECOND, PointContent::Values);
        let counts = |metrics: &[OtlpMetric]| metrics.iter().map(point_count).collect::<Vec<_>>();
        assert_eq!(counts(&ends), counts(&values));
        let things = number_points(&named(&ends, "cryptolens_things_total"));
        assert!(things.iter().all(|point| point.flags == NO_RECORDED_VALUE && point.as_int.is_none()));
        let leases = named(&ends, "cryptolens_lease_seconds").histogram.unwrap();
        let point = &leases.data_points[0];
        assert_eq!((point.flags, point.bucket_counts.len(), point.count), (NO_RECORDED_VALUE, 3, 0));
    }

    #[test]
    fn a_split_keeps_every_point_once_and_in_order() {
        let whole = metrics(&snapshot(), SECOND, PointContent::Values);
        for most in 1..=8 {
            let requests = split(whole.clone(), most);
            let sizes: Vec<usize> =
                requests.iter().map(|metrics| metrics.iter().map(point_count).sum()).collect();
            assert!(sizes.iter().all(|size| (1..=most).contains(size)), "{sizes:?} for {most}");
            assert_eq!(sizes.iter().sum::<usize>(), 6);
            let points: Vec<_> = requests.into_iter().flatten().collect();
            let things = points.iter().filter(|metric| metric.name == "cryptolens_things_total");
            let things: Vec<_> = things.flat_map(number_points).collect();
            assert_eq!(things, number_points(&whole[0]));
        }
    }
}
