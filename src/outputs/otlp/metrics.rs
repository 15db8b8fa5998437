//! The metrics of the push itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics::{Durations, ProcessFamily, ProcessSource, ProcessValue};
use crate::tally::families;

/// The values of the label `result`.
const RESULTS: [&str; 5] = ["ok", "partial", "refused", "unreachable", "timeout"];

/// Counts of pushes. They are shown once the push was on.
#[derive(Debug, Default)]
pub struct OtlpMetrics {
    counts: Mutex<Option<PushCounts>>,
}

#[derive(Debug)]
struct PushCounts {
    results: [u64; RESULTS.len()],
    points: u64,
    rejected: u64,
    /// Unix seconds.
    last_success: Option<f64>,
    durations: Durations,
}

impl Default for PushCounts {
    fn default() -> PushCounts {
        PushCounts {
            results: Default::default(),
            points: 0,
            rejected: 0,
            last_success: None,
            durations: Durations::new(families::OTLP_PUSH_DURATION.bounds()),
        }
    }
}

impl OtlpMetrics {
    fn counts(&self) -> MutexGuard<'_, Option<PushCounts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the families, at 0 before the first push.
    pub(super) fn show(&self) {
        self.counts().get_or_insert_default();
    }

    /// Counts a push with its result and duration.
    pub(super) fn observe(&self, result: &str, took: Duration) {
        let mut counts = self.counts();
        let counts = counts.get_or_insert_default();
        let place = RESULTS.iter().position(|known| *known == result);
        if let Some(count) = place.and_then(|place| counts.results.get_mut(place)) {
            *count += 1;
        }
        counts.durations.observe(took);
        if matches!(result, "ok" | "partial") {
            let now = chrono::Utc::now();
            // Microseconds of Unix time stay below 2^53 for 200 years.
            #[allow(clippy::cast_precision_loss)]
            let seconds = now.timestamp_micros() as f64 / 1e6;
            counts.last_success = Some(seconds);
        }
    }

    /// Counts points that a receiver took, and those of them that it rejected.
    pub(super) fn observe_points(&self, sent: u64, rejected: u64) {
        let mut counts = self.counts();
        let counts = counts.get_or_insert_default();
        counts.points += sent.saturating_sub(rejected);
        counts.rejected += rejected;
    }
}

impl ProcessSource for OtlpMetrics {
    fn collect(&self) -> Vec<ProcessFamily> {
        let counts = self.counts();
        let Some(counts) = counts.as_ref() else { return Vec::new() };
        let mut pushes = ProcessFamily::of(&families::OTLP_PUSHES);
        for (result, count) in RESULTS.iter().zip(counts.results) {
            pushes.counter(&[result], count);
        }
        let mut points = ProcessFamily::of(&families::OTLP_POINTS);
        points.counter(&[], counts.points);
        let mut rejected = ProcessFamily::of(&families::OTLP_REJECTED_POINTS);
        rejected.counter(&[], counts.rejected);
        let mut last_success = ProcessFamily::of(&families::OTLP_LAST_SUCCESS);
        if let Some(seconds) = counts.last_success {
            last_success.gauge(&[], seconds);
        }
        let durations = ProcessFamily::of(&families::OTLP_PUSH_DURATION)
            .with(ProcessValue::from(counts.durations.clone()));
        vec![pushes, points, rejected, last_success, durations]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_before_the_push_is_on() {
        let metrics = OtlpMetrics::default();
        assert_eq!(metrics.collect(), []);
        metrics.show();
        let pushes = metrics.collect();
        assert_eq!(pushes[0].points.len(), RESULTS.len());
        assert!(pushes[3].points.is_empty(), "no success yet");
        metrics.observe("partial", Duration::from_millis(3));
        metrics.observe_points(10, 4);
        let families = metrics.collect();
        assert_eq!(families[0].points[1].value, ProcessValue::Counter(1.0));
        assert_eq!(families[1].points[0].value, ProcessValue::Counter(6.0));
        assert_eq!(families[2].points[0].value, ProcessValue::Counter(4.0));
        assert_eq!(families[3].points.len(), 1);
    }
}
