//! The Prometheus text format, version 0.0.4: `HELP` and `TYPE`, then a line for each series.
//!
//! Whole numbers are written with all their digits, others as Rust writes them: the shortest text
//! that reads back as the same number, `NaN`, `inf` and `-inf`.

use std::io::Write as _;

use crate::metrics::{BirthTime, Family, Point, PointValue, ProcessFamily, ProcessPoint, ProcessValue};

use super::page::{ExpositionFormat, FamilyHead};

/// The value of the header `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextFormat;

impl ExpositionFormat for TextFormat {
    fn head(&self, out: &mut Vec<u8>, head: FamilyHead<'_>, _: usize) {
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(head.name.as_bytes());
        out.push(b' ');
        escape(out, head.help, false);
        out.extend_from_slice(b"\n# TYPE ");
        out.extend_from_slice(head.name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.family_type.name().as_bytes());
        out.push(b'\n');
    }

    fn point(&self, out: &mut Vec<u8>, family: &Family, account: Option<&str>, point: &Point) {
        let values = account.into_iter().chain(point.labels.iter().map(|label| &**label));
        match &point.value {
            PointValue::Counter(value) => whole_number(out, family, values, *value),
            PointValue::Gauge(value) => whole_number(out, family, values, *value),
            PointValue::Histogram(value) => {
                let (bounds, labels) = (family.bounds(), labels(family.labels, values));
                buckets(out, family.name, &labels, bounds, &value.buckets, value.count);
                sample(out, family.name, "_sum", &labels, None, value.sum);
                sample(out, family.name, "_count", &labels, None, value.count);
            }
        }
    }

    fn process_point(&self, out: &mut Vec<u8>, family: &ProcessFamily, point: &ProcessPoint, _: BirthTime) {
        let labels = labels(family.labels, point.labels.iter().map(|label| &**label));
        match &point.value {
            ProcessValue::Counter(value) | ProcessValue::Gauge(value) => {
                sample(out, &family.name, "", &labels, None, value);
            }
            ProcessValue::Histogram { buckets: counts, count, sum } => {
                buckets(out, &family.name, &labels, family.family_type.bounds(), counts, *count);
                sample(out, &family.name, "_sum", &labels, None, sum);
                sample(out, &family.name, "_count", &labels, None, count);
            }
        }
    }
}

/// The line of a counter or gauge of the ledger. Nearly all lines of a page are: no label is written
/// elsewhere first.
fn whole_number<'a>(
    out: &mut Vec<u8>,
    family: &Family,
    values: impl Iterator<Item = &'a str>,
    value: impl itoa::Integer,
) {
    out.extend_from_slice(family.name.as_bytes());
    if !family.labels.is_empty() {
        out.push(b'{');
        write_labels(out, family.labels, values);
        out.push(b'}');
    }
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'\n');
}

/// The labels between braces, without the braces.
pub(super) fn labels<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut labels = Vec::with_capacity(names.len() * 32);
    write_labels(&mut labels, names, values);
    labels
}

fn write_labels<'a>(out: &mut Vec<u8>, names: &[&str], values: impl Iterator<Item = &'a str>) {
    let mut is_first = true;
    for (name, value) in names.iter().zip(values) {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(out, value, true);
        out.push(b'"');
    }
}

/// The cumulative counts of a histogram, `+Inf` included.
fn buckets(out: &mut Vec<u8>, name: &str, labels: &[u8], bounds: &[f64], counts: &[u64], all: u64) {
    let mut below = 0;
    for (bound, count) in bounds.iter().zip(counts) {
        below += count;
        sample(out, name, "_bucket", labels, Some(&bound.to_string()), below);
    }
    sample(out, name, "_bucket", labels, Some("+Inf"), all);
}

fn sample(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: &[u8],
    bound: Option<&str>,
    value: impl std::fmt::Display,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    if !labels.is_empty() || bound.is_some() {
        out.push(b'{');
        out.extend_from_slice(labels);
        if let Some(bound) = bound {
            if !labels.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(b"le=\"");
            out.extend_from_slice(bound.as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
    }
    // Writing to memory cannot fail.
    let _ = writeln!(out, " {value}");
}

/// Escapes backslash and line feed, and quotes where they would end the text: in label values.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let mut rest = text.as_bytes();
    // Hardly any text has one of them, and most are short: to look at all bytes at once takes less than
    // a call that ends at the first.
    if !rest.iter().fold(false, |found, byte| found | matches!(byte, b'\\' | b'\n' | b'"')) {
        out.extend_from_slice(rest);
        return;
    }
    while let Some((at, byte)) = next_escaped(rest, quotes) {
        let (before, behind) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(match byte {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            _ => b"\\\"",
        });
        rest = behind.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Where the next byte is that has to be escaped, and which it is.
fn next_escaped(text: &[u8], quotes: bool) -> Option<(usize, u8)> {
    let at =
        if quotes { memchr::memchr3(b'\\', b'\n', b'"', text) } else { memchr::memchr2(b'\\', b'\n', text) };
    at.and_then(|at| Some((at, *text.get(at)?)))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::metrics::FamilyType;

    fn shown(value: ProcessValue) -> String {
        let mut family = ProcessFamily {
            name: Cow::Borrowed("a"),
            help: Cow::Borrowed("b \\ \"c\"\nd"),
            family_type: FamilyType::Gauge,
            labels: &["x"],
            points: Vec::new(),
        };
        family.push(&["\\ \"\n"], value);
        let mut out = Vec::new();
        let head = FamilyHead { name: "a", help: &family.help, family_type: family.family_type };
        TextFormat.head(&mut out, head, 0);
        TextFormat.process_point(&mut out, &family, &family.points[0], BirthTime::UNKNOWN);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_they_always_were() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e21, "1000000000000000000000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let page = shown(ProcessValue::Gauge(value));
            assert_eq!(
                page,
                format!("# HELP a b \\\\ \"c\"\\nd\n# TYPE a gauge\na{{x=\"\\\\ \\\"\\n\"}} {text}\n")
            );
        }
    }
}
