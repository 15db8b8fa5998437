//! The OpenMetrics text format, version 1.0.0.
//!
//! It differs from the Prometheus text format in a few things that parsers insist on: a counter is
//! named without `_total` in its head, bounds are written as Go writes floats, a quote in a help
//! text is escaped, infinity has a sign, and the page ends with `# EOF`. Failure counters have the
//! id of their newest row as an exemplar. Births are written as `_created` series only if asked
//! for, as a default Prometheus stores those as series of their own.

use std::io::Write as _;

use crate::metrics::{
    BirthTime, Family, FamilyType, Point, PointValue, ProcessFamily, ProcessPoint, ProcessValue,
};

use super::page::{ExpositionFormat, FamilyHead};
use super::text::{escape, labels};

/// The value of the header `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenMetricsFormat {
    /// Whether births are written, as `_created` series.
    pub created: bool,
}

impl ExpositionFormat for OpenMetricsFormat {
    fn head(&self, out: &mut Vec<u8>, head: FamilyHead<'_>, _: usize) {
        let name = base_name(head.name, head.family_type);
        // Writing to memory cannot fail.
        let _ = write!(out, "# HELP {name} ");
        escape(out, head.help, true);
        let _ = writeln!(out, "\n# TYPE {name} {}", head.family_type.name());
    }

    fn point(&self, out: &mut Vec<u8>, family: &Family, account: Option<&str>, point: &Point) {
        let values = account.into_iter().chain(point.labels.iter().map(|label| &**label));
        let series = OpenMetricsSeries {
            name: base_name(family.name, family.family_type),
            labels: &labels(family.labels, values),
            born: point.born,
        };
        match &point.value {
            PointValue::Counter(value) => {
                series.start(out, "_total", None);
                out.push(b' ');
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
                if let Some(id) = point.entry_id {
                    let _ = write!(out, " # {{entry_id=\"{id}\"}} 1");
                }
                out.push(b'\n');
                self.created(out, &series);
            }
            PointValue::Gauge(value) => series.sample(out, "", None, &value.to_string()),
            PointValue::Histogram(value) => {
                series.buckets(out, family.bounds(), &value.buckets, value.count);
                series.sample(out, "_sum", None, &value.sum.to_string());
                series.sample(out, "_count", None, &value.count.to_string());
                self.created(out, &series);
            }
        }
    }

    fn process_point(
        &self,
        out: &mut Vec<u8>,
        family: &ProcessFamily,
        point: &ProcessPoint,
        born: BirthTime,
    ) {
        let series = OpenMetricsSeries {
            name: base_name(&family.name, family.family_type),
            labels: &labels(family.labels, point.labels.iter().map(|label| &**label)),
            born,
        };
        match &point.value {
            ProcessValue::Counter(value) => {
                series.sample(out, "_total", None, &number(*value));
                self.created(out, &series);
            }
            ProcessValue::Gauge(value) => series.sample(out, "", None, &number(*value)),
            ProcessValue::Histogram { buckets, count, sum } => {
                series.buckets(out, family.family_type.bounds(), buckets, *count);
                series.sample(out, "_sum", None, &number(*sum));
                series.sample(out, "_count", None, &count.to_string());
                self.created(out, &series);
            }
        }
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"# EOF\n");
    }
}

impl OpenMetricsFormat {
    fn created(self, out: &mut Vec<u8>, series: &OpenMetricsSeries<'_>) {
        if let Some(born) = series.born.known().filter(|_| self.created) {
            series.sample(out, "_created", None, &format!("{}.{:03}", born / 1000, born % 1000));
        }
    }
}

struct OpenMetricsSeries<'a> {
    name: &'a str,
    labels: &'a [u8],
    born: BirthTime,
}

impl OpenMetricsSeries<'_> {
    fn start(&self, out: &mut Vec<u8>, suffix: &str, bound: Option<&str>) {
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        if self.labels.is_empty() && bound.is_none() {
            return;
        }
        out.push(b'{');
        out.extend_from_slice(self.labels);
        if let Some(bound) = bound {
            let separator = if self.labels.is_empty() { "" } else { "," };
            let _ = write!(out, "{separator}le=\"{bound}\"");
        }
        out.push(b'}');
    }

    fn sample(&self, out: &mut Vec<u8>, suffix: &str, bound: Option<&str>, value: &str) {
        self.start(out, suffix, bound);
        let _ = writeln!(out, " {value}");
    }

    fn buckets(&self, out: &mut Vec<u8>, bounds: &[f64], counts: &[u64], all: u64) {
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            below += count;
            self.sample(out, "_bucket", Some(&go_float(*bound)), &below.to_string());
        }
        self.sample(out, "_bucket", Some("+Inf"), &all.to_string());
    }
}

/// The name in the head of a family.
fn base_name(name: &str, family_type: FamilyType) -> &str {
    match family_type {
        FamilyType::Counter => name.strip_suffix("_total").unwrap_or(name),
        FamilyType::Gauge | FamilyType::Histogram(_) => name,
    }
}

/// A value: whole numbers without a fraction, infinity with its sign.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// A finite float as Go's `%g` and Python's `repr` agree on it: `5.0`, `0.05`, `1e+06`.
fn go_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) && value != 0.0 => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_other_languages_do() {
        for (bound, text) in [
            (0.001, "0.001"),
            (0.05, "0.05"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (604_800.0, "604800.0"),
            (1e6, "1e+06"),
            (12_345_678.0, "1.2345678e+07"),
            (0.00001, "1e-05"),
        ] {
            assert_eq!(go_float(bound), text);
        }
    }

    #[test]
    fn numbers_have_no_fraction_that_they_do_not_need() {
        for (value, text) in [
            (3.0, "3"),
            (-0.0, "-0"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
