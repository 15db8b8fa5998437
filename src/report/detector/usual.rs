//! The number of requests that fail at the same times of other days, so that the rhythm of a day is
//! no incident.
//!
//! At night the heartbeats of floating seats, which never fail, are missing: the failure ratio
//! rises and nothing more fails than on other nights. A change in the mix of traffic shows in the
//! ratio alone, an incident in the number of failures too.
//!
//! Promises: one other time that was an incident does not hide another one, as long as there are
//! two other times. It does not know which times are comparable: the caller chooses them.

use super::minute::MinuteCount;

/// So many steps before and after one say what is usual in it, too.
const AROUND: usize = 3;

/// The same times of other days or weeks.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct UsualTimes {
    /// All their requests, which a period that is one incident is compared with; none where the
    /// period is compared with itself only.
    pub(super) requests: MinuteCount,
    /// Minutes of a step.
    step: usize,
    /// Minutes from the beginning of the first step to the first minute of the period.
    offset: usize,
    /// The failures of each other time up to each step, beginning with nothing.
    failures: Vec<Vec<f64>>,
}

impl UsualTimes {
    /// Other times as the failures of each step of so many minutes. The period begins `offset`
    /// minutes after they do.
    pub(in crate::report) fn new(
        (step, offset): (usize, usize),
        others: impl Iterator<Item = Vec<u32>>,
    ) -> UsualTimes {
        let sums = |counts: Vec<u32>| {
            let mut sum = 0.0;
            let sums = (0..counts.len()).map(|step| {
                sum += usual_in(&counts, step);
                sum
            });
            std::iter::once(0.0).chain(sums).collect()
        };
        UsualTimes {
            requests: MinuteCount::default(),
            step: step.max(1),
            offset,
            failures: others.map(sums).collect(),
        }
    }

    /// The same with all requests of the other times.
    pub(in crate::report) fn with_requests(self, requests: MinuteCount) -> UsualTimes {
        UsualTimes { requests, ..self }
    }

    /// The number that fails usually from one minute of the period to another: the median of the
    /// other times, of an even number of them the lower one. `None` where no other time is known.
    pub(super) fn failures(&self, from: usize, to: usize) -> Option<f64> {
        let (from, to) = (from + self.offset, to + self.offset);
        let of = |sums: &Vec<f64>| self.up_to(sums, to) - self.up_to(sums, from);
        let mut counts: Vec<f64> = self.failures.iter().map(of).collect();
        let middle = counts.len().checked_sub(1)? / 2;
        let (_, median, _) = counts.select_nth_unstable_by(middle, f64::total_cmp);
        Some(*median)
    }

    /// The failures up to a minute. Within a step they are spread evenly.
    #[allow(clippy::cast_precision_loss, reason = "minutes of a step")]
    fn up_to(&self, sums: &[f64], minute: usize) -> f64 {
        let (step, rest) = (minute / self.step, minute % self.step);
        let last = sums.last().copied().unwrap_or(0.0);
        let sum = |step: usize| sums.get(step).copied().unwrap_or(last);
        sum(step) + (sum(step + 1) - sum(step)) * rest as f64 / self.step as f64
    }
}

/// The failures of a step, or the mean of those around it if that is more: an incident does not
/// reach into minutes in which by chance nothing failed on another day.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
fn usual_in(counts: &[u32], step: usize) -> f64 {
    let around = counts.get(step.saturating_sub(AROUND)..(step + AROUND + 1).min(counts.len()));
    let around = around.unwrap_or_default();
    let mean = around.iter().map(|count| f64::from(*count)).sum::<f64>() / around.len().max(1) as f64;
    counts.get(step).map_or(0.0, |count| f64::from(*count).max(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(offset: usize, others: &[&[u32]]) -> UsualTimes {
        UsualTimes::new((10, offset), others.iter().map(|counts| counts.to_vec()))
    }

    #[test]
    fn usual_is_the_lower_median_of_the_other_times() {
        assert_eq!(usual(0, &[]).failures(0, 10), None);
        assert_eq!(usual(0, &[&[5, 5]]).failures(0, 20), Some(10.0));
        assert_eq!(usual(0, &[&[5, 5], &[100, 6]]).failures(0, 20), Some(10.0), "one was an incident");
        assert_eq!(usual(0, &[&[5, 5], &[100, 6], &[6, 6]]).failures(0, 20), Some(12.0));
    }

    #[test]
    fn minutes_without_a_failure_are_as_usual_as_those_around_them() {
        assert_eq!(usual(0, &[&[7, 7, 7, 0, 7, 7, 7]]).failures(30, 40), Some(6.0));
        assert_eq!(usual(0, &[&[0, 0, 0, 70, 0, 0, 0]]).failures(30, 40), Some(70.0));
    }

    #[test]
    fn a_part_of_a_step_has_its_part_of_the_failures() {
        let usual = usual(15, &[&[10, 20, 30]]);
        assert_eq!(usual.failures(0, 5), Some(10.0), "the second half of the second step");
        assert_eq!(usual.failures(5, 15), Some(30.0));
        assert_eq!(usual.failures(10, 20), Some(15.0), "nothing is known after the last step");
    }
}
