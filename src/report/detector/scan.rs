//! The scan for incidents: intervals in which far more requests fail than in the rest of the time.
//!
//! The measure of an interval is its binomial log-likelihood ratio against the rest: how much
//! better two failure ratios, one inside and one outside, explain the counts than a single one
//! does. It grows with the number of requests, so that one retrying machine in a quiet hour does
//! not reach the threshold, and a spike of a busy product does.
//!
//! An interval that is found is cut out and the remaining time is scanned again. Where a time of
//! usual traffic within it departs as clearly from the rest of it, it is taken for two incidents.
//! Long periods are scanned by ten minutes first,
//! and the edges of a find are moved to the minute.

/// Minutes of a coarse bucket in a long period.
const COARSE: usize = 10;
/// The longest period that is scanned by the minute: 12 hours.
const MOST_MINUTES: usize = 720;
/// The longest interval that is judged as one in a long period, in minutes. A whole night would
/// depart from the day; a longer incident is found in pieces, which are joined.
const MOST_AT_ONCE: usize = 240;
/// Failures that an incident has at least.
const LEAST_FAILURES: u64 = 5;
/// The share of failures in an incident, as a multiple of the share in the rest, at least.
const LEAST_MULTIPLE: f64 = 2.0;
/// Finds that are this close belong together, in minutes: a lull of an incident is no end.
const LULL: usize = 2;
/// More finds than this in one period are noise, and would take long.
const MOST_FINDS: usize = 50;

/// Requests of one minute that succeeded or failed. Refused seats are left out: they have a report
/// of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::report) struct MinuteCount {
    pub(in crate::report) failed: u64,
    pub(in crate::report) all: u64,
}

impl MinuteCount {
    /// Takes one request.
    pub(in crate::report) const fn add(&mut self, failed: bool) {
        self.all += 1;
        self.failed += failed as u64;
    }

    const fn plus(self, other: MinuteCount) -> MinuteCount {
        MinuteCount { failed: self.failed + other.failed, all: self.all + other.all }
    }

    const fn minus(self, other: MinuteCount) -> MinuteCount {
        MinuteCount {
            failed: self.failed.saturating_sub(other.failed),
            all: self.all.saturating_sub(other.all),
        }
    }

    /// The failure ratio.
    pub(in crate::report) fn ratio(self) -> Option<f64> {
        crate::report::count::ratio(self.failed, self.all)
    }
}

/// From which measure on an interval is an incident.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Threshold(f64);

impl Threshold {
    /// For a period of this many minutes: 20, and 50 above 12 hours, because requests fade at night
    /// and failures do not.
    pub(in crate::report) const fn of_minutes(minutes: usize) -> Threshold {
        Threshold(if minutes <= MOST_MINUTES { 20.0 } else { 50.0 })
    }

    /// The measure.
    pub(in crate::report) const fn value(self) -> f64 {
        self.0
    }
}

/// An interval that departs from the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Departure {
    /// The first minute.
    pub(in crate::report) from: usize,
    /// The minute after the last.
    pub(in crate::report) to: usize,
    /// The requests in it.
    pub(in crate::report) count: MinuteCount,
    /// The requests of the rest of the period, without other finds.
    pub(in crate::report) rest: MinuteCount,
    /// The log-likelihood ratio.
    pub(in crate::report) score: f64,
}

/// The incidents of a period in order of time. `usual` are requests of other times, which are
/// compared with in addition; none where only the period itself is looked at.
pub(in crate::report) fn departures(minutes: &[MinuteCount], usual: MinuteCount) -> Vec<Departure> {
    let threshold = Threshold::of_minutes(minutes.len());
    let step = if minutes.len() <= MOST_MINUTES { 1 } else { COARSE };
    let mut search = ScanSearch { sums: running_sums(minutes), usual, cut: Vec::new() };
    let mut found = Vec::new();
    while found.len() < MOST_FINDS {
        let Some(best) = search.best(step) else { break };
        let best = if step > 1 { search.refined(best, step) } else { best };
        if best.score < threshold.value() {
            break;
        }
        search.cut.push((best.from, best.to));
        search.split(best, threshold, &mut found);
    }
    found.sort_by_key(|departure| departure.from);
    joined(found)
}

/// Joins what only a lull separates.
fn joined(found: Vec<Departure>) -> Vec<Departure> {
    let mut joined: Vec<Departure> = Vec::new();
    for departure in found {
        match joined.last_mut() {
            Some(last) if departure.from <= last.to + LULL => {
                last.to = last.to.max(departure.to);
                last.count = last.count.plus(departure.count);
                last.score = last.score.max(departure.score);
                last.rest = if departure.rest.all < last.rest.all { departure.rest } else { last.rest };
            }
            _ => joined.push(departure),
        }
    }
    joined
}

/// The sums up to each minute, beginning with nothing.
fn running_sums(minutes: &[MinuteCount]) -> Vec<MinuteCount> {
    let mut sums = vec![MinuteCount::default()];
    let mut sum = MinuteCount::default();
    for minute in minutes {
        sum = sum.plus(*minute);
        sums.push(sum);
    }
    sums
}

/// A period of which parts are cut out.
struct ScanSearch {
    sums: Vec<MinuteCount>,
    usual: MinuteCount,
    cut: Vec<(usize, usize)>,
}

impl ScanSearch {
    const fn minutes(&self) -> usize {
        self.sums.len().saturating_sub(1)
    }

    fn between(&self, from: usize, to: usize) -> MinuteCount {
        let sum = |at: usize| self.sums.get(at).copied().unwrap_or_default();
        sum(to).minus(sum(from))
    }

    /// Everything that is not cut out.
    fn total(&self) -> MinuteCount {
        let all = self.between(0, self.minutes()).plus(self.usual);
        self.cut.iter().fold(all, |sum, (from, to)| sum.minus(self.between(*from, *to)))
    }

    /// The spans between what is cut out.
    fn spans(&self) -> Vec<(usize, usize)> {
        let mut cut = self.cut.clone();
        cut.sort_unstable();
        let mut spans = Vec::new();
        let mut begin = 0;
        for (from, to) in cut {
            if begin < from {
                spans.push((begin, from));
            }
            begin = begin.max(to);
        }
        if begin < self.minutes() {
            spans.push((begin, self.minutes()));
        }
        spans
    }

    fn judged(&self, from: usize, to: usize, total: MinuteCount) -> Option<Departure> {
        let count = self.between(from, to);
        if count.failed < LEAST_FAILURES {
            return None;
        }
        let rest = total.minus(count);
        let score = score(count, rest)?;
        Some(Departure { from, to, count, rest, score })
    }

    /// The interval of whole steps with the highest measure.
    fn best(&self, step: usize) -> Option<Departure> {
        let total = self.total();
        let mut best: Option<Departure> = None;
        for (begin, end) in self.spans() {
            for from in (begin..end).step_by(step) {
                // An interval that begins or ends with nothing but successes can be shortened.
                if self.between(from, (from + step).min(end)).failed == 0 {
                    continue;
                }
                let mut to = from;
                while to < end {
                    let last = to;
                    to = (to + step).min(end);
                    if step > 1 && to - from > MOST_AT_ONCE {
                        break;
                    }
                    if self.between(last, to).failed == 0 {
                        continue;
                    }
                    best = higher(best, self.judged(from, to, total));
                }
            }
        }
        best
    }

    /// Takes an interval as one incident, or as several where quiet times within it depart from it
    /// as clearly as an incident does from the rest.
    fn split(&self, whole: Departure, threshold: Threshold, found: &mut Vec<Departure>) {
        let mut best: Option<(f64, usize, usize)> = None;
        for from in whole.from + 1..whole.to {
            for to in from + LULL + 1..whole.to {
                let quiet = self.between(from, to);
                let Some(score) = score(whole.count.minus(quiet), quiet) else { continue };
                if best.is_none_or(|(highest, ..)| score > highest) {
                    best = Some((score, from, to));
                }
            }
        }
        let quiet_ratio = whole.rest.ratio().unwrap_or(0.0) * LEAST_MULTIPLE;
        let total = whole.count.plus(whole.rest);
        let halves = best
            .filter(|(score, from, to)| {
                *score >= threshold.value()
                    && self.between(*from, *to).ratio().is_some_and(|ratio| ratio <= quiet_ratio)
            })
            .and_then(|(_, from, to)| {
                let outside = total.minus(whole.count).plus(self.between(from, to));
                let half = |from: usize, to: usize| {
                    let count = self.between(from, to);
                    let score = score(count, outside).filter(|_| count.failed >= LEAST_FAILURES)?;
                    (score >= threshold.value()).then_some(Departure {
                        from,
                        to,
                        count,
                        rest: outside,
                        score,
                    })
                };
                Some((half(whole.from, from)?, half(to, whole.to)?))
            });
        match halves {
            Some((first, second)) => {
                self.split(first, threshold, found);
                self.split(second, threshold, found);
            }
            None => found.push(whole),
        }
    }

    /// The same with its edges moved to the minute, up to two steps in each direction.
    fn refined(&self, coarse: Departure, step: usize) -> Departure {
        let total = self.total();
        let span = self.spans().into_iter().find(|(begin, end)| *begin <= coarse.from && coarse.to <= *end);
        let Some((begin, end)) = span else { return coarse };
        let mut best = Some(coarse);
        let starts = coarse.from.saturating_sub(2 * step).max(begin)..(coarse.from + 2 * step).min(end);
        for from in starts {
            let ends = (coarse.to.saturating_sub(2 * step)).max(from + 1)..=(coarse.to + 2 * step).min(end);
            for to in ends {
                best = higher(best, self.judged(from, to, total));
            }
        }
        best.unwrap_or(coarse)
    }
}

/// The one with the higher measure; of equals the first.
fn higher(one: Option<Departure>, other: Option<Departure>) -> Option<Departure> {
    match (one, other) {
        (Some(one), Some(other)) if other.score > one.score => Some(other),
        (None, other) => other,
        (one, _) => one,
    }
}

/// The binomial log-likelihood ratio of an interval against the rest; `None` where it does not fail
/// at least twice as often, or where there is nothing to compare with.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
fn score(inside: MinuteCount, rest: MinuteCount) -> Option<f64> {
    let (ratio_inside, ratio_rest) = (inside.ratio()?, rest.ratio()?);
    if ratio_inside < LEAST_MULTIPLE * ratio_rest {
        return None;
    }
    let both = inside.plus(rest);
    let likelihood = |count: MinuteCount| {
        let part =
            |some: u64| if some == 0 { 0.0 } else { some as f64 * (some as f64 / count.all as f64).ln() };
        part(count.failed) + part(count.all - count.failed)
    };
    Some(likelihood(inside) + likelihood(rest) - likelihood(both))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minute(failed: u64, succeeded: u64) -> MinuteCount {
        MinuteCount { failed, all: failed + succeeded }
    }

    fn scanned(minutes: &[MinuteCount]) -> Vec<(usize, usize)> {
        departures(minutes, MinuteCount::default()).iter().map(|found| (found.from, found.to)).collect()
    }

    #[test]
    fn an_interval_of_failures_is_found_to_the_minute() {
        let mut minutes = vec![minute(0, 5); 120];
        minutes.iter_mut().skip(66).take(20).for_each(|count| *count = minute(4, 2));
        assert_eq!(scanned(&minutes), [(66, 86)]);
    }

    /// Without cutting a find out, both and the quiet time between them are one incident.
    #[test]
    fn two_incidents_do_not_merge() {
        let mut minutes = vec![minute(0, 5); 240];
        for from in [30, 100] {
            minutes.iter_mut().skip(from).take(30).for_each(|count| *count = minute(5, 1));
        }
        assert_eq!(scanned(&minutes), [(30, 60), (100, 130)]);
    }

    #[test]
    fn a_long_period_is_refined_to_the_minute() {
        let mut minutes = vec![minute(0, 5); 1440];
        minutes.iter_mut().skip(733).take(37).for_each(|count| *count = minute(4, 2));
        assert_eq!(scanned(&minutes), [(733, 770)]);
    }

    #[test]
    fn few_failures_no_traffic_and_a_steady_ratio_are_no_incident() {
        assert_eq!(scanned(&[]), []);
        assert_eq!(scanned(&[minute(0, 0); 60]), []);
        assert_eq!(scanned(&[minute(3, 3); 60]), [], "nothing departs from the rest");
        let mut minutes = vec![minute(0, 50); 60];
        minutes[30] = minute(4, 0);
        assert_eq!(scanned(&minutes), [], "less than five failures");
    }

    /// Where the whole period fails, only other times show that it is unusual.
    #[test]
    fn a_period_that_is_one_incident_is_seen_against_usual_times() {
        let minutes = vec![minute(3, 2); 120];
        assert_eq!(scanned(&minutes), []);
        let found = departures(&minutes, minute(100, 4000));
        assert_eq!(found.iter().map(|found| (found.from, found.to)).collect::<Vec<_>>(), [(0, 120)]);
    }

    proptest! {
        /// Every find keeps the definition, and no two overlap.
        #[test]
        fn every_find_is_an_incident(counts in proptest::collection::vec((0_u64..6, 0_u64..9), 0..200)) {
            let minutes: Vec<MinuteCount> = counts.iter().map(|(failed, other)| minute(*failed, *other)).collect();
            let found = departures(&minutes, MinuteCount::default());
            for one in &found {
                prop_assert!(one.from < one.to && one.to <= minutes.len());
                prop_assert!(one.count.failed >= LEAST_FAILURES && one.score >= 20.0);
                prop_assert!(minutes[one.from].failed > 0, "it begins with a failure");
            }
            for pair in found.windows(2) {
                prop_assert!(pair[0].to + LULL < pair[1].from);
            }
        }

        /// Time has no direction: the incidents of the reversed period are the same ones.
        #[test]
        fn the_measure_knows_no_direction(inside in 1_u64..500, failed in 0_u64..500, rest in 1_u64..5000) {
            let failed = failed.min(inside);
            let (one, other) = (minute(failed, inside - failed), minute(rest / 50, rest));
            if let Some(score) = score(one, other) {
                prop_assert!(score >= -1e-9, "{score}");
                // Twice the evidence is twice the measure.
                let twice = super::score(one.plus(one), other.plus(other)).unwrap_or_default();
                prop_assert!((twice - 2.0 * score).abs() < 1e-6 * (1.0 + score));
            }
        }
    }
}
