//! Histograms of whole numbers and of durations.
//!
//! Promises: the sum of whole numbers is an integer, so it is exact in any order and after any
//! restart. The bounds belong to the family; a histogram only holds counts.

use std::time::Duration;

/// The most bounds that a family has.
pub const MAX_BOUNDS: usize = 12;

/// Observations of whole numbers by bucket. The family knows the bounds of its buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// Observations at or below each bound and above the one before; what is above the last bound
    /// is only in `count`.
    pub buckets: [u64; MAX_BOUNDS],
    /// All observations.
    pub count: u64,
    /// Sum of all observations; stops at the ends of its range.
    pub sum: i64,
}

impl Histogram {
    /// Counts one value. The bounds rise, and are no more than [`MAX_BOUNDS`].
    pub fn observe(&mut self, bounds: &[f64], value: i64) {
        // Whole numbers below 2^53 and bounds compare exactly; above, every bound is far below.
        #[allow(clippy::cast_precision_loss)]
        let at = value as f64;
        let bucket = bounds.partition_point(|bound| *bound < at);
        if let Some(count) = self.buckets.get_mut(..bounds.len()).and_then(|counts| counts.get_mut(bucket)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds the observations of `other`, which has the same bounds.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Durations by bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    bounds: &'static [f64],
    /// Observations at or below each bound and above the one before.
    pub buckets: Vec<u64>,
    /// All observations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Durations {
    /// A histogram without observations.
    pub fn new(bounds: &'static [f64]) -> Durations {
        Durations { bounds, buckets: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        if let Some(count) = bucket.and_then(|bucket| self.buckets.get_mut(bucket)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: &[f64] = &[1.0, 5.0, 10.0];

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for value in [1, 2, 5, 10, 11, 1 << 60] {
            histogram.observe(BOUNDS, value);
        }
        assert_eq!(histogram.buckets[..3], [1, 2, 1]);
        assert_eq!(histogram.count, 6);
        assert_eq!(histogram.sum, 29 + (1 << 60));
    }

    proptest! {
        #[test]
        fn merging_parts_equals_observing_all(values in prop::collection::vec(0i64..20, 0..40), cut in 0usize..40) {
            let observe = |values: &[i64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|value| histogram.observe(BOUNDS, *value));
                histogram
            };
            let (one, two) = values.split_at(cut.min(values.len()));
            let mut merged = observe(two);
            merged.merge(&observe(one));
            prop_assert_eq!(merged, observe(&values));
        }
    }
}
