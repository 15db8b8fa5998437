//! The formats carry equal values: the same snapshot in each of them, read back by a strict reader
//! of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;

use super::openmetrics::OpenMetricsFormat;
use super::protobuf::{ProtoFamily, ProtobufFormat};
use super::text::TextFormat;
use super::{ExpositionFormat, Renderer};
use crate::metrics::{
    BirthTime, FamilyType, Histogram, Point, PointValue, ProcessFamily, ProcessPart, ProcessValue,
};
use crate::snapshot::{CommittedPart, PointGroup, Snapshot, SnapshotFamily};
use crate::tally::families::{EVENT_ENTRIES, LEASE, LEDGER_RESETS, SERIES};

/// A series with its labels, `le` included as a number.
type SeriesName = (String, BTreeMap<String, String>);

/// Values by series; not a number is the text of it.
type Values = BTreeMap<SeriesName, String>;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[\\\\"n,={} #\n\r\t\u{2028}é]{0,20}"#]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN),
        Just(-0.0),
        Just(3.0)
    ]
}

fn birth() -> impl Strategy<Value = BirthTime> {
    prop_oneof![Just(BirthTime::UNKNOWN), (1i64..2_000_000_000_000).prop_map(BirthTime::at_millis)]
}

prop_compose! {
    fn snapshot()(
        account in text(),
        events in prop::collection::btree_map((text(), text()), (0u64..1 << 53, birth(), prop::option::of(0i64..1 << 53)), 1..6),
        leases in prop::collection::vec(0i64..1_000_000, 0..20),
        born in birth(),
        gauge in float(),
        seconds in (0.0f64..1e9, prop::collection::vec(0u64..1000, 3)),
        help in text(),
    ) -> Snapshot {
        let point = |labels: &[&str], value, born, entry_id| {
            Point { labels: labels.iter().map(|label| Arc::from(*label)).collect(), value, born, entry_id }
        };
        let group = |account: Option<&str>, points| PointGroup { account: account.map(Arc::from), chunks: vec![Arc::new(points)] };
        let mut histogram = Histogram::default();
        leases.iter().for_each(|lease| histogram.observe(LEASE.bounds(), *lease));
        let events = events.iter().map(|((event, feature), (value, born, id))| {
            point(&["7", event, feature], PointValue::Counter(*value), *born, *id)
        });
        let lease = point(&["7", "activation", "success"], PointValue::Histogram(Arc::new(histogram)), born, None);
        let of = |family, account, points| SnapshotFamily { family, groups: vec![group(account, points)] };
        let families = vec![
            of(&EVENT_ENTRIES, Some(&account), events.collect()),
            of(&LEDGER_RESETS, None, vec![point(&[], PointValue::Counter(0), BirthTime::UNKNOWN, None)]),
            of(&SERIES, None, vec![point(&["a"], PointValue::Gauge(-7), BirthTime::UNKNOWN, None)]),
            of(&LEASE, Some(&account), vec![lease]),
        ];
        let family = |name: &'static str, family_type, value| {
            let mut family = ProcessFamily { name: Cow::Borrowed(name), help: Cow::Owned(help.clone()), family_type, labels: &["x"], points: vec![] };
            family.push(&[&account], value);
            family
        };
        let (sum, buckets) = seconds;
        let count = buckets.iter().sum::<u64>() + 1;
        let process = vec![
            family("a_gauge", FamilyType::Gauge, ProcessValue::Gauge(gauge)),
            family("b_seconds", FamilyType::Histogram(&[0.001, 2.5, 1e6]), ProcessValue::Histogram { buckets, count, sum }),
            family("c_total", FamilyType::Counter, ProcessValue::Counter(sum)),
        ];
        Snapshot {
            committed: Some(Arc::new(CommittedPart { families })),
            process: ProcessPart { families: process, born: BirthTime::at_seconds(1_790_000_000) },
        }
    }
}

fn page<F: ExpositionFormat>(format: F, snapshot: &Snapshot) -> Vec<u8> {
    Renderer::new(format).render(|| snapshot.clone(), false).to_vec()
}

fn normal(value: &str) -> String {
    let number: f64 = value.parse().unwrap_or_else(|_| panic!("{value} is no number"));
    if number.is_nan() { "nan".to_owned() } else { format!("{number:?}") }
}

/// The series and the value of a line in a text format, and the text after the value.
fn line(line: &str) -> (SeriesName, String, &str) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap();
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let close = loop {
                match chars.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        escaped @ ('"' | '\\') => escaped,
                        other => panic!("bad escape {other}"),
                    }),
                    (_, char) => value.push(char),
                }
            };
            rest = after[close + 1..].trim_start_matches(',');
            let value = if label == "le" { normal(&value) } else { value };
            assert_eq!(labels.insert(label.trim_start_matches(',').to_owned(), value), None);
        }
        rest = &rest[1..];
    }
    let rest = rest.strip_prefix(' ').unwrap();
    let (value, more) = rest.split_once(' ').unwrap_or((rest, ""));
    ((name.to_owned(), labels), normal(value), more)
}

fn of_text(page: &[u8]) -> Values {
    let text = std::str::from_utf8(page).unwrap();
    let lines = text.split_terminator('\n').filter(|line| !line.starts_with('#'));
    lines
        .map(|text| {
            let (series, value, more) = line(text);
            assert_eq!(more, "");
            (series, value)
        })
        .collect()
}

/// Values, births by series without suffix, and exemplars.
fn of_openmetrics(page: &[u8]) -> (Values, Values, Values) {
    let text = std::str::from_utf8(page).unwrap().strip_suffix("# EOF\n").unwrap();
    let (mut values, mut births, mut exemplars) = (Values::new(), Values::new(), Values::new());
    let mut family = "";
    for text in text.split_terminator('\n') {
        if let Some(head) = text.strip_prefix("# TYPE ") {
            family = head.split_once(' ').unwrap().0;
            assert!(!family.ends_with("_total"));
        } else if !text.starts_with('#') {
            let ((name, labels), value, more) = line(text);
            let suffix = name.strip_prefix(family).unwrap();
            if suffix == "_created" {
                births.insert((family.to_owned(), labels), value);
                continue;
            }
            if let Some(exemplar) = more.strip_prefix("# ") {
                let (id, one) = exemplar.strip_prefix("{entry_id=\"").unwrap().split_once("\"} ").unwrap();
                assert_eq!(one, "1");
                exemplars.insert((family.to_owned(), labels.clone()), id.to_owned());
            }
            values.insert((name, labels), value);
        }
    }
    (values, births, exemplars)
}

/// As [`of_openmetrics`].
fn of_protobuf(mut page: &[u8]) -> (Values, Values, Values) {
    let (mut values, mut births, mut exemplars) = (Values::new(), Values::new(), Values::new());
    while !page.is_empty() {
        let family = ProtoFamily::decode_length_delimited(&mut page).unwrap();
        let name = family.name.unwrap();
        let base = name.strip_suffix("_total").unwrap_or(&name).to_owned();
        assert!(family.help.is_some());
        for metric in family.metric {
            let labels: BTreeMap<String, String> =
                metric.label.into_iter().map(|pair| (pair.name.unwrap(), pair.value.unwrap())).collect();
            let created = |timestamp: super::protobuf::ProtoTimestamp| {
                normal(&format!("{}.{:03}", timestamp.seconds, timestamp.nanos / 1_000_000))
            };
            let mut put = |suffix: &str, labels: BTreeMap<String, String>, value: f64| {
                values.insert((format!("{name}{suffix}"), labels), normal(&value.to_string()));
            };
            if let Some(counter) = metric.counter {
                assert_eq!(family.family_type, Some(0));
                put("", labels.clone(), counter.value.unwrap());
                if let Some(born) = counter.created_timestamp {
                    births.insert((base.clone(), labels.clone()), created(born));
                }
                if let Some(exemplar) = counter.exemplar {
                    assert_eq!(exemplar.label[0].name.as_deref(), Some("entry_id"));
                    exemplars.insert((base.clone(), labels), exemplar.label[0].value.clone().unwrap());
                }
            } else if let Some(gauge) = metric.gauge {
                assert_eq!(family.family_type, Some(1));
                put("", labels, gauge.value.unwrap());
            } else if let Some(histogram) = metric.histogram {
                assert_eq!(family.family_type, Some(4));
                #[allow(clippy::cast_precision_loss)]
                let float = |count: u64| count as f64;
                let all = histogram.sample_count.unwrap();
                let buckets =
                    histogram.bucket.iter().map(|b| (b.upper_bound.unwrap(), b.cumulative_count.unwrap()));
                for (bound, count) in buckets.chain([(f64::INFINITY, all)]) {
                    let mut labels = labels.clone();
                    labels.insert("le".to_owned(), normal(&bound.to_string()));
                    put("_bucket", labels, float(count));
                }
                put("_sum", labels.clone(), histogram.sample_sum.unwrap());
                put("_count", labels.clone(), float(all));
                if let Some(born) = histogram.created_timestamp {
                    births.insert((base.clone(), labels), created(born));
                }
            }
        }
    }
    (values, births, exemplars)
}

proptest! {
    #[test]
    fn the_formats_carry_equal_values(snapshot in snapshot()) {
        let text = of_text(&page(TextFormat, &snapshot));
        let (openmetrics, births, exemplars) = of_openmetrics(&page(OpenMetricsFormat { created: true }, &snapshot));
        let (protobuf, proto_births, proto_exemplars) = of_protobuf(&page(ProtobufFormat, &snapshot));
        prop_assert_eq!(&openmetrics, &text);
        prop_assert_eq!(&protobuf, &text);
        prop_assert_eq!(proto_births, births);
        prop_assert_eq!(proto_exemplars, exemplars);
        let (without, none, _) = of_openmetrics(&page(OpenMetricsFormat::default(), &snapshot));
        prop_assert!(without == text && none.is_empty());
    }

    /// A help text is one line, and comes back as it was.
    #[test]
    fn help_texts_are_escaped(help in text()) {
        let head = super::FamilyHead { name: "a", help: &help, family_type: FamilyType::Gauge };
        for (quotes, page) in [(false, true), (true, false)].map(|(quotes, is_text)| {
            let mut out = Vec::new();
            if is_text { TextFormat.head(&mut out, head, 0) } else { OpenMetricsFormat::default().head(&mut out, head, 0) }
            (quotes, String::from_utf8(out).unwrap())
        }) {
            let text = page.strip_prefix("# HELP a ").unwrap().strip_suffix("\n# TYPE a gauge\n").unwrap();
            prop_assert!(!text.contains('\n'));
            let mut back = String::new();
            let mut chars = text.chars();
            while let Some(char) = chars.next() {
                match char {
                    '\\' => back.push(match chars.next().unwrap() {
                        'n' => '\n',
                        '\\' => '\\',
                        '"' if quotes => '"',
                        other => panic!("bad escape {other}"),
                    }),
                    '"' if quotes => panic!("a quote that is not escaped"),
                    char => back.push(char),
                }
            }
            prop_assert_eq!(&back, &help);
        }
    }
}
