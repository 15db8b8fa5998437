//! The chart of the requests over time, with what happened when.

use super::trail::{Trail, steps};
use crate::report::count::of_length;
use crate::report::detector::Sighting;
use crate::report::document::{ChartBlock, ChartMark, ChartSeries, MarkRole, Moment, SeriesRole};
use crate::report::window::{Window, local};

const HOUR: i64 = 3600;

/// Seconds of a column: two minutes up to three hours, ten up to twelve, an hour up to three days,
/// else a day.
pub(super) const fn step(seconds: i64) -> i64 {
    match seconds {
        seconds if seconds <= 3 * HOUR => 120,
        seconds if seconds <= 12 * HOUR => 600,
        seconds if seconds <= 72 * HOUR => HOUR,
        _ => 24 * HOUR,
    }
}

/// A step in words.
pub(super) const fn step_name(step: i64) -> &'static str {
    match step {
        120 => "every 2 minutes",
        600 => "every 10 minutes",
        HOUR => "by hour",
        _ => "by day",
    }
}

/// Rows by step; `None` where the log does not reach back.
type StepCounts = Vec<Option<u64>>;

/// Rows that failed, succeeded, and are in no ratio, in equal steps; those before `oldest` are not known.
pub(super) fn series(
    trail: &Trail,
    rows: &[Sighting],
    step: i64,
    oldest: Option<i64>,
) -> (StepCounts, StepCounts, StepCounts) {
    let window = trail.window;
    let columns = steps(window.seconds(), step);
    let is_known = |column: usize| {
        let end = window.from + step * (i64::try_from(column).unwrap_or(0) + 1);
        oldest.is_none_or(|oldest| end > oldest)
    };
    let empty: StepCounts = (0..columns).map(|column| is_known(column).then_some(0)).collect();
    let (mut failed, mut succeeded, mut other) = (empty.clone(), empty.clone(), empty);
    for row in rows {
        let column = usize::try_from((row.time - window.from) / step).unwrap_or(usize::MAX);
        let series = if row.is_in_no_ratio() {
            &mut other
        } else if row.has_failed() {
            &mut failed
        } else {
            &mut succeeded
        };
        if let Some(value) = series.get_mut(column) {
            *value = Some(value.unwrap_or(0) + 1);
        }
    }
    (failed, succeeded, other)
}

/// The fractional column of a moment.
#[allow(clippy::cast_precision_loss, reason = "seconds of a week at most")]
pub(super) fn column(window: Window, step: i64, at: i64) -> f64 {
    let at = (at - window.from).clamp(0, window.seconds());
    at as f64 / step as f64
}

/// The chart without its marks.
pub(super) fn requests(trail: &Trail, rows: &[Sighting], product: &str, oldest: Option<i64>) -> ChartBlock {
    let window = trail.window;
    let step = step(window.seconds());
    let (failed, succeeded, other) = series(trail, rows, step, oldest);
    let x = (0..failed.len())
        .map(|column| Moment {
            at: window.from + step * i64::try_from(column).unwrap_or(0),
            zone: window.zone,
        })
        .collect();
    let mut stack = vec![
        ChartSeries { id: "failed", label: "failed", role: SeriesRole::Bad, values: failed },
        ChartSeries { id: "succeeded", label: "succeeded", role: SeriesRole::Good, values: succeeded },
    ];
    if other.iter().flatten().any(|value| *value > 0) {
        let label = "neither, or no free seat";
        stack.push(ChartSeries { id: "other", label, role: SeriesRole::Accent, values: other });
    }
    ChartBlock {
        id: "requests",
        title: format!("Requests of {product}, {}", step_name(step)),
        alt: String::new(),
        x,
        step,
        stack,
        limit: None,
        marks: Vec::new(),
        shade: Vec::new(),
    }
}

/// A moment in the chart, with its time before the words.
pub(super) fn mark(window: Window, step: i64, at: i64, (role, words): (MarkRole, &str)) -> ChartMark {
    let time = Moment { at, zone: window.zone };
    let shown = local(at, window.zone).format("%H:%M:%S");
    ChartMark { at: column(window, step, at), time, role, label: format!("{shown} {words}") }
}

/// The numbers of a small chart of 24 columns.
pub(super) fn trend(trail: &Trail, rows: &[Sighting]) -> (Vec<u64>, Vec<u64>) {
    const COLUMNS: i64 = 24;
    let step = (trail.window.seconds() / COLUMNS).max(1);
    let mut all = vec![0; 24];
    let mut bad = vec![0; 24];
    for row in rows {
        let column = usize::try_from((row.time - trail.window.from) / step).unwrap_or(0).min(23);
        if let Some(value) = all.get_mut(column) {
            *value += of_length(1);
        }
        if let Some(value) = bad.get_mut(column).filter(|_| row.has_failed()) {
            *value += 1;
        }
    }
    (all, bad)
}
