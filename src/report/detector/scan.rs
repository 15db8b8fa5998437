//! The scan for incidents: intervals in which far more requests fail than in the rest of the time.
//!
//! An interval has two measures, and the lower one counts. The first is its binomial log-likelihood
//! ratio against the rest: how much better two failure ratios, one inside and one outside, explain
//! the counts than a single one does. It grows with the number of requests, so that one retrying
//! machine in a quiet hour does not reach the threshold, and a spike of a busy product does. The
//! second is Poisson's log-likelihood ratio of the number of failures against the one that is usual
//! at this time ([`UsualTimes`]): without it, each night in which successes fade and failures do
//! not was an incident. Where no other day is known, the rest of the period and the time around the
//! interval say what is usual, whichever of the two is less.
//!
//! An interval that is found is cut out and the remaining time is scanned again. Where a time of
//! usual traffic within it departs as clearly from the rest of it, it is taken for two incidents.
//! Long periods are scanned by ten minutes first. The edges of a find are moved to the minute, to
//! where the number of failures is clearest.
//!
//! Where most of the failures beyond the usual ones have a single source (see `alone`), this is taken
//! out, and the interval is an incident only if the others in it nearly are one without the source.
//!
//! Not seen: a time in which fewer requests come, of which more fail, as long as no more fail than
//! usual. By the counts alone, that is a quiet night.

use std::collections::BTreeSet;

use super::alone::{LoneSource, NamedSource, SourcedFailures, SourcesOfFailures};
use super::minute::MinuteCount;
use super::usual::UsualTimes;

/// Minutes of a coarse bucket in a long period.
const COARSE: usize = 10;
/// The longest period that is scanned by the minute: 12 hours.
const MOST_MINUTES: usize = 720;
/// The longest interval that is judged as one in a long period, in minutes. A whole night would
/// depart from the day; a longer incident is found in pieces, which are joined.
const MOST_AT_ONCE: usize = 240;
/// Failures that an incident has at least.
const LEAST_FAILURES: u64 = 5;
/// The share of failures in an incident, as a multiple of the share in the rest, at least; and the
/// number of failures, as a multiple of the usual one.
const LEAST_MULTIPLE: f64 = 2.0;
/// Poisson's measure of a time in which everything fails is about two thirds of the binomial one,
/// at usual failure ratios of some percent. With this weight, both say the same of it.
const WEIGHT_OF_NUMBERS: f64 = 1.5;
/// Failures that are usual at least: that there were none yet proves nothing.
const LEAST_USUAL: f64 = 0.1;
/// The time around an interval that it is compared with is as long as the interval on each side,
/// and this many minutes at least.
const LEAST_AROUND: usize = 60;
/// Finds that are this close belong together, in minutes: a lull of an incident is no end.
const LULL: usize = 2;
/// Poisson's measure of failures before a lull that belong to a find.
const LEAST_OF_BEGINNING: f64 = 2.0;
/// More finds than this in one period are noise, and would take long.
const MOST_FINDS: usize = 50;
/// A source is taken out of a period so often, at most.
const MOST_TAKEN: usize = 500;
/// The part of the failures beyond the usual ones from which on a source is looked at,
const PART_OF_ONE: f64 = 0.2;
/// and from which on it is alone, unless others fail beside it.
const PART_ALONE: f64 = 0.5;
/// Failures of a source that may hide an incident, at least,
const LEAST_HIDING: u64 = 10;
/// and the most such sources that are looked behind, and one.
const MOST_HIDING: usize = 4;
/// The part of the threshold that others reach beside a single source that fails most: they are
/// looked for at one time only, where less departs by chance.
const PART_OF_OTHERS: f64 = 0.75;

/// From which measure on an interval is an incident.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Threshold(f64);

impl Threshold {
    /// For a period of this many minutes: 20, and 50 above 12 hours, which have more intervals that
    /// could depart by chance.
    pub(in crate::report) const fn of_minutes(minutes: usize) -> Threshold {
        Threshold(if minutes <= MOST_MINUTES { 20.0 } else { 50.0 })
    }

    /// The measure.
    pub(in crate::report) const fn value(self) -> f64 {
        self.0
    }

    /// The threshold of those who fail beside a single source.
    const fn of_others(self) -> Threshold {
        Threshold(self.0 * PART_OF_OTHERS)
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
    /// The log-likelihood ratio of its failure ratio.
    pub(in crate::report) by_ratio: f64,
    /// The log-likelihood ratio of its number of failures, with a weight of 1.5.
    by_numbers: f64,
    /// The lower one of both measures.
    pub(in crate::report) score: f64,
}

/// The result of a scan.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct ScannedPeriod {
    /// The incidents in order of time.
    pub(in crate::report) departures: Vec<Departure>,
    /// Sources that would have been an incident, and hit nobody else.
    pub(in crate::report) alone: Vec<LoneSource>,
}

/// Scans a period for incidents, with what is usual at this time, and with the sources of its
/// failures. It may be a part of a period of `of_period` minutes, such as a day of a month, which is
/// scanned as the whole period would be. Then all requests of the usual times count as its rest too:
/// a period that fails as a whole departs from nothing in itself.
pub(in crate::report) fn departures(
    minutes: &[MinuteCount],
    usual: &UsualTimes,
    sources: SourcesOfFailures,
    of_period: usize,
) -> ScannedPeriod {
    let threshold = Threshold::of_minutes(of_period);
    let step = if of_period <= MOST_MINUTES { 1 } else { COARSE };
    let mut search = ScanSearch {
        sums: running_sums(minutes),
        counts: minutes.to_vec(),
        usual,
        elsewhere: MinuteCount::default(),
        cut: Vec::new(),
        sources,
        taken: 0,
        alone: Vec::new(),
    };
    let mut found = Vec::new();
    for _ in 0..MOST_HIDING {
        for elsewhere in [MinuteCount::default(), usual.requests] {
            search.elsewhere = elsewhere;
            search.find((step, threshold), &mut found);
            if usual.requests.all == 0 {
                break;
            }
        }
        if !search.take_out_most() {
            break;
        }
    }
    found.sort_by_key(|departure| departure.from);
    ScannedPeriod { departures: joined(found), alone: search.alone }
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
                last.by_ratio = last.by_ratio.max(departure.by_ratio);
                last.by_numbers = last.by_numbers.max(departure.by_numbers);
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
struct ScanSearch<'a> {
    /// By minute, without the failures that are taken out.
    counts: Vec<MinuteCount>,
    sums: Vec<MinuteCount>,
    usual: &'a UsualTimes,
    /// Requests that are none of the period.
    elsewhere: MinuteCount,
    cut: Vec<(usize, usize)>,
    /// Of the failures that are not taken out.
    sources: SourcesOfFailures,
    /// How often a source was taken out.
    taken: usize,
    alone: Vec<LoneSource>,
}

impl ScanSearch<'_> {
    const fn minutes(&self) -> usize {
        self.sums.len().saturating_sub(1)
    }

    fn between(&self, from: usize, to: usize) -> MinuteCount {
        let sum = |at: usize| self.sums.get(at).copied().unwrap_or_default();
        sum(to).minus(sum(from))
    }

    /// Everything that is not cut out.
    fn total(&self) -> MinuteCount {
        let all = self.between(0, self.minutes()).plus(self.elsewhere);
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

    /// The better one of a find and an interval, as far as that is an incident.
    fn better(
        &self,
        best: Option<Departure>,
        (from, to): (usize, usize),
        total: MinuteCount,
    ) -> Option<Departure> {
        let least = best.map_or(0.0, |best| best.score);
        let other = self.judged((from, to), total.minus(self.between(from, to)), least);
        higher(best, other)
    }

    /// An interval against a rest; `None` where it is no incident, or its measure not above
    /// `least`.
    fn judged(&self, (from, to): (usize, usize), rest: MinuteCount, least: f64) -> Option<Departure> {
        let count = self.between(from, to);
        if count.failed < LEAST_FAILURES {
            return None;
        }
        let by_ratio = score(count, rest).filter(|by_ratio| *by_ratio > least)?;
        let by_numbers = WEIGHT_OF_NUMBERS * excess(count.failed, self.usual_failures(from, to))?;
        Some(Departure { from, to, count, rest, by_ratio, by_numbers, score: by_ratio.min(by_numbers) })
    }

    /// The usual number of failures in an interval.
    fn usual_failures(&self, from: usize, to: usize) -> f64 {
        self.usual.failures(from, to).unwrap_or_else(|| self.failures_elsewhere(from, to))
    }

    /// The number of failures that an interval would have by the rest of the period, or by the time
    /// around it, whichever says less: the one is misled by a quiet night, the other by an incident
    /// close by.
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn failures_elsewhere(&self, from: usize, to: usize) -> f64 {
        let around = (to - from).max(LEAST_AROUND);
        let (mut rest, mut near) = ((0, 0), (0, 0));
        for (begin, end) in self.spans() {
            let add = |sum: &mut (u64, usize), begin: usize, end: usize| {
                if begin < end {
                    sum.0 += self.between(begin, end).failed;
                    sum.1 += end - begin;
                }
            };
            add(&mut rest, begin, end.min(from));
            add(&mut rest, begin.max(to), end);
            add(&mut near, begin.max(from.saturating_sub(around)), end.min(from));
            add(&mut near, begin.max(to), end.min(to + around));
        }
        let by_minute =
            |(failed, minutes): (u64, usize)| (minutes > 0).then(|| failed as f64 / minutes as f64);
        let rates = [by_minute(rest), by_minute(near)].into_iter().flatten();
        let least = rates.min_by(f64::total_cmp).unwrap_or(0.0);
        least * (to - from) as f64
    }

    /// Cuts out what reaches the threshold, one after the other.
    fn find(&mut self, (step, threshold): (usize, Threshold), found: &mut Vec<Departure>) {
        while found.len() < MOST_FINDS && self.taken < MOST_TAKEN {
            let best = self.best(step).and_then(|best| self.refined(best, (step, threshold)));
            let best = best.map(|best| self.with_others(best, threshold));
            match best {
                Some(Some(best)) => {
                    self.cut.push((best.from, best.to));
                    self.split(best, threshold, found);
                }
                Some(None) => {}
                None => break,
            }
        }
    }

    /// The incident in a find to which a single source contributes much; none if it is alone.
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn with_others(&mut self, find: Departure, threshold: Threshold) -> Option<Departure> {
        let interval = (find.from, find.to);
        let excess = find.count.failed as f64 - self.usual_failures(find.from, find.to);
        let has_part = |(_, count): &(_, u64), part: f64| *count as f64 > part * excess;
        let most = self.sources.most_alone(interval);
        let Some(most) = most.filter(|most| has_part(most, PART_OF_ONE)) else { return Some(find) };
        let is_most = has_part(&most, PART_ALONE);
        let taken = self.sources.take(most.0, interval);
        self.taken += 1;
        self.count_out(&taken);
        let Some(others) = self.refined(find, (1, threshold.of_others())) else {
            if is_most {
                self.alone.push(LoneSource::new(most.0, &taken));
                return None;
            }
            self.count_in(&taken);
            return Some(find);
        };
        let is_near = others.from.abs_diff(find.from).max(others.to.abs_diff(find.to)) <= COARSE;
        if !is_most && is_near {
            self.count_in(&taken);
            return Some(find);
        }
        // It is one of those who are hit, and may be the first or the last one.
        let minutes: BTreeSet<usize> = taken.iter().map(SourcedFailures::at).collect();
        let (from, to) = (begin_with(others.from, &minutes), end_with(others.to, &minutes));
        let is_back = |failed: &SourcedFailures| !is_most || (from..to).contains(&failed.at());
        let (back, out): (Vec<SourcedFailures>, Vec<SourcedFailures>) = taken.into_iter().partition(is_back);
        self.count_in(&back);
        if !out.is_empty() {
            self.alone.push(LoneSource::new(most.0, &out));
        }
        let rest = self.total().minus(self.between(from, to));
        Some(self.judged((from, to), rest, 0.0).unwrap_or(others))
    }

    /// Takes the source out that fails most in the time without a find, if it has a large part of
    /// the failures there: it may hide an incident of others, since with it more failures are usual.
    #[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
    fn take_out_most(&mut self) -> bool {
        let is_cut =
            |failed: &SourcedFailures| self.cut.iter().any(|(from, to)| (*from..*to).contains(&failed.at()));
        let (cut, free): (Vec<SourcedFailures>, Vec<SourcedFailures>) =
            std::mem::take(&mut self.sources.0).into_iter().partition(is_cut);
        let all: u64 = free.iter().map(|failed| u64::from(failed.count)).sum();
        let mut free = SourcesOfFailures(free);
        let period = (0, self.minutes());
        let most = free.most_alone(period);
        let is_much = |(_, count): &(NamedSource, u64)| {
            *count >= LEAST_HIDING && *count as f64 > PART_OF_ONE * all as f64
        };
        let taken = most.filter(is_much).map(|(source, _)| free.take(source, period)).unwrap_or_default();
        self.sources = SourcesOfFailures([cut, free.0].concat());
        self.count_out(&taken);
        !taken.is_empty()
    }

    fn count_out(&mut self, failures: &[SourcedFailures]) {
        for failed in failures {
            let count = u64::from(failed.count);
            if let Some(minute) = self.counts.get_mut(failed.at()) {
                *minute = minute.minus(MinuteCount { failed: count, all: count });
            }
        }
        self.sums = running_sums(&self.counts);
    }

    fn count_in(&mut self, failures: &[SourcedFailures]) {
        for failed in failures {
            let count = u64::from(failed.count);
            if let Some(minute) = self.counts.get_mut(failed.at()) {
                *minute = minute.plus(MinuteCount { failed: count, all: count });
            }
        }
        self.sums = running_sums(&self.counts);
        self.sources.0.extend_from_slice(failures);
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
                    best = self.better(best, (from, to), total);
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
                    self.judged((from, to), outside, 0.0).filter(|half| half.score >= threshold.value())
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

    /// The incident in an interval, whose edges may move by two steps, to the minute: the part with
    /// the clearest number of failures, and of that the one with the clearest ratio. By the ratio
    /// alone, a find would reach into the night beside it; by the number, into hours in which
    /// nothing fails on other days.
    fn refined(&self, coarse: Departure, (step, threshold): (usize, Threshold)) -> Option<Departure> {
        let is_around = |(begin, end): &(usize, usize)| *begin <= coarse.from && coarse.to <= *end;
        let (begin, end) = self.spans().into_iter().find(is_around)?;
        let room = if step > 1 { 2 * step } else { 0 };
        let bounds = (coarse.from.saturating_sub(room).max(begin), (coarse.to + room).min(end));
        let part = self.clearest(bounds, threshold, |part| part.by_numbers)?;
        let part = self.clearest((part.from, part.to), threshold, |part| part.by_ratio).unwrap_or(part);
        let from = self.begin_before_lulls(part, begin);
        Some(self.incident((from, part.to), threshold).unwrap_or(part))
    }

    /// The part of an interval that is an incident and has the highest of some measure.
    fn clearest(
        &self,
        (begin, end): (usize, usize),
        threshold: Threshold,
        measure: impl Fn(&Departure) -> f64,
    ) -> Option<Departure> {
        let failing: Vec<usize> =
            (begin..end).filter(|minute| self.between(*minute, minute + 1).failed > 0).collect();
        let mut best: Option<Departure> = None;
        for (index, from) in failing.iter().enumerate() {
            for last in failing.iter().skip(index) {
                let part = self.incident((*from, last + 1), threshold);
                if let Some(part) = part
                    && best.is_none_or(|best| measure(&part) > measure(&best))
                {
                    best = Some(part);
                }
            }
        }
        best
    }

    /// An interval, if it is an incident.
    fn incident(&self, (from, to): (usize, usize), threshold: Threshold) -> Option<Departure> {
        let rest = self.total().minus(self.between(from, to));
        self.judged((from, to), rest, 0.0).filter(|part| part.score >= threshold.value())
    }

    /// The beginning of a find whose first failures a lull separates from the others.
    fn begin_before_lulls(&self, find: Departure, least: usize) -> usize {
        let (mut begin, mut at) = (find.from, find.from);
        let has_failed = |minute: &usize| self.between(*minute, minute + 1).failed > 0;
        loop {
            let near = at.saturating_sub(LULL + 1).max(least)..at;
            let Some(minute) = near.rev().find(has_failed) else { return begin };
            if find.from - minute > COARSE {
                return begin;
            }
            at = minute;
            let added = self.between(at, find.from);
            let is_as_bad =
                added.ratio().zip(find.count.ratio()).is_some_and(|(added, of)| 2.0 * added >= of);
            let excess = excess(added.failed, self.usual_failures(at, find.from));
            if is_as_bad && excess.is_some_and(|excess| excess >= LEAST_OF_BEGINNING) {
                begin = at;
            }
        }
    }
}

/// Where an interval begins with a source that fails in these minutes: earlier, if it began to fail
/// shortly before.
fn begin_with(from: usize, minutes: &BTreeSet<usize>) -> usize {
    let mut begin = from;
    for minute in minutes.range(..from).rev() {
        if begin - minute > LULL + 1 {
            break;
        }
        begin = *minute;
    }
    if from - begin <= COARSE { begin } else { from }
}

/// Where an interval ends with such a source.
fn end_with(to: usize, minutes: &BTreeSet<usize>) -> usize {
    let mut end = to;
    for minute in minutes.range(to..) {
        if minute - end > LULL {
            break;
        }
        end = minute + 1;
    }
    if end - to <= COARSE { end } else { to }
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

/// Poisson's log-likelihood ratio of a number of failures against the usual one; `None` where it is
/// not at least twice as high.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
fn excess(failed: u64, usual: f64) -> Option<f64> {
    let (failed, usual) = (failed as f64, usual.max(LEAST_USUAL));
    (failed >= LEAST_MULTIPLE * usual).then(|| failed * (failed / usual).ln() - (failed - usual))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::detector::alone::FailureSource;

    fn minute(failed: u64, succeeded: u64) -> MinuteCount {
        MinuteCount { failed, all: failed + succeeded }
    }

    /// Minutes whose failures have sources.
    struct World {
        minutes: Vec<MinuteCount>,
        failures: Vec<SourcedFailures>,
    }

    impl World {
        /// Five requests a minute succeed, and now and then one of someone else fails.
        fn new(length: usize, usual_every: usize) -> World {
            let mut world = World { minutes: vec![minute(0, 5); length], failures: Vec::new() };
            for at in (0..length).step_by(usual_every) {
                let number = u32::try_from(at).unwrap() + 100;
                world.fail(at, 1, FailureSource { key: number, machine: number, address: number });
            }
            world
        }

        fn fail(&mut self, at: usize, count: u32, source: FailureSource) {
            self.minutes[at] = self.minutes[at].plus(minute(u64::from(count), 0));
            self.failures.push(SourcedFailures { minute: u16::try_from(at).unwrap(), count, source });
        }

        /// One machine with its key and address; one machine with many keys; a key on another
        /// machine each time; an address with another key and machine each time.
        fn retry(&mut self, kind: usize, (from, to): (usize, usize), rate: u32) {
            for at in from..to {
                for number in 0..rate {
                    let other = 10_000 + u32::try_from(at).unwrap() * 100 + number;
                    let (key, machine, address) =
                        [(9, 9, 9), (other % 7 + 20, 9, other), (9, other, other), (other, other, 9)][kind];
                    self.fail(at, 1, FailureSource { key, machine, address });
                }
            }
        }

        /// Each of several keys fails every minute.
        fn incident(&mut self, (from, to): (usize, usize), keys: u32) {
            for at in from..to {
                (1..=keys)
                    .for_each(|key| self.fail(at, 1, FailureSource { key, machine: key, address: key }));
            }
        }

        fn scan(&self, of_period: usize) -> ScannedPeriod {
            let sources = SourcesOfFailures(self.failures.clone());
            departures(&self.minutes, &UsualTimes::default(), sources, of_period)
        }
    }

    /// The incidents where nothing is known of sources.
    fn scanned(minutes: &[MinuteCount], usual: &UsualTimes, of_period: usize) -> Vec<Departure> {
        departures(minutes, usual, SourcesOfFailures::default(), of_period).departures
    }

    fn found_in(minutes: &[MinuteCount]) -> Vec<(usize, usize)> {
        scanned(minutes, &UsualTimes::default(), minutes.len())
            .iter()
            .map(|found| (found.from, found.to))
            .collect()
    }

    #[test]
    fn an_interval_of_failures_is_found_to_the_minute() {
        let mut minutes = vec![minute(0, 5); 120];
        minutes.iter_mut().skip(66).take(20).for_each(|count| *count = minute(4, 2));
        assert_eq!(found_in(&minutes), [(66, 86)]);
    }

    /// Without cutting a find out, both and the quiet time between them are one incident.
    #[test]
    fn two_incidents_do_not_merge() {
        let mut minutes = vec![minute(0, 5); 240];
        for from in [30, 100] {
            minutes.iter_mut().skip(from).take(30).for_each(|count| *count = minute(5, 1));
        }
        assert_eq!(found_in(&minutes), [(30, 60), (100, 130)]);
    }

    #[test]
    fn a_long_period_is_refined_to_the_minute() {
        let mut minutes = vec![minute(0, 5); 1440];
        minutes.iter_mut().skip(733).take(37).for_each(|count| *count = minute(4, 2));
        assert_eq!(found_in(&minutes), [(733, 770)]);
    }

    #[test]
    fn few_failures_no_traffic_and_a_steady_ratio_are_no_incident() {
        assert_eq!(found_in(&[]), []);
        assert_eq!(found_in(&[minute(0, 0); 60]), []);
        assert_eq!(found_in(&[minute(3, 3); 60]), [], "nothing departs from the rest");
        let mut minutes = vec![minute(0, 50); 60];
        minutes[30] = minute(4, 0);
        assert_eq!(found_in(&minutes), [], "less than five failures");
    }

    /// Where the whole period fails, only other times show that it is unusual.
    #[test]
    fn a_period_that_is_one_incident_is_seen_against_usual_times() {
        let minutes = vec![minute(3, 2); 120];
        assert_eq!(found_in(&minutes), []);
        let others = [vec![1; 120], vec![0; 120]];
        let usual = UsualTimes::new((1, 0), others.into_iter()).with_requests(minute(120, 4000));
        let found = scanned(&minutes, &usual, minutes.len());
        assert_eq!(found.iter().map(|found| (found.from, found.to)).collect::<Vec<_>>(), [(0, 120)]);
    }

    fn failures_by_ten(minutes: &[MinuteCount]) -> Vec<u32> {
        let sum = |counts: &[MinuteCount]| counts.iter().map(|count| count.failed).sum::<u64>();
        minutes.chunks(10).map(|counts| u32::try_from(sum(counts)).unwrap()).collect()
    }

    /// A day of rhythm: heartbeats that never fail from 8 to 18 o'clock, and as many failures at
    /// night.
    fn day_with_rhythm() -> Vec<MinuteCount> {
        let minute_of_day = |at: usize| {
            let heartbeats = if (480..1080).contains(&at) { 20 } else { 0 };
            minute(u64::from(at.is_multiple_of(5)), heartbeats + u64::from(at.is_multiple_of(2)))
        };
        (0..1440).map(minute_of_day).collect()
    }

    #[test]
    fn a_night_without_heartbeats_is_no_incident_and_one_in_it_is_found() {
        let quiet = day_with_rhythm();
        let others = vec![failures_by_ten(&quiet); 3];
        let mut with_incident = quiet.clone();
        with_incident.iter_mut().skip(132).take(22).for_each(|count| *count = minute(3, 0));
        for usual in [UsualTimes::default(), UsualTimes::new((10, 0), others.into_iter())] {
            let found = |minutes: &[MinuteCount], of: usize| -> Vec<(usize, usize)> {
                let found = scanned(minutes, &usual, of);
                found.iter().map(|found| (found.from, found.to)).collect()
            };
            assert_eq!(found(&quiet, 1440), []);
            assert_eq!(found(&with_incident, 1440), [(132, 154)]);
            // Both ends of a night, and one of them by the minute.
            assert_eq!(found(&quiet[..700], 700), []);
            assert_eq!(found(&with_incident[..700], 700), [(132, 154)]);
        }
    }

    /// A failure of each day at this time is usual, however much more that is than on the rest of
    /// the day.
    #[test]
    fn failures_of_every_day_are_no_incident_and_more_of_them_are_one() {
        let mut minutes = vec![minute(0, 5); 1440];
        minutes.iter_mut().skip(540).take(30).for_each(|count| *count = minute(3, 2));
        let usual = UsualTimes::new((10, 0), vec![failures_by_ten(&minutes); 2].into_iter());
        assert_eq!(scanned(&minutes, &UsualTimes::default(), 1440).len(), 1);
        assert_eq!(scanned(&minutes, &usual, 1440), []);
        minutes.iter_mut().skip(540).take(30).for_each(|count| *count = minute(12, 2));
        let found = scanned(&minutes, &usual, 1440);
        assert_eq!(found.iter().map(|found| (found.from, found.to)).collect::<Vec<_>>(), [(540, 570)]);
    }

    proptest! {
        /// More traffic of what never fails, at any time of the day, makes no incident.
        #[test]
        fn a_change_of_the_mix_is_no_incident(
            mix in proptest::collection::vec(0_u64..40, 24),
            failing in 1_usize..30,
        ) {
            let minute_of_day = |at: usize| minute(u64::from(at.is_multiple_of(failing)), mix[at / 60]);
            let minutes: Vec<MinuteCount> = (0..1440).map(minute_of_day).collect();
            prop_assert_eq!(scanned(&minutes, &UsualTimes::default(), 1440), []);
            prop_assert_eq!(scanned(&minutes[200..800], &UsualTimes::default(), 600), []);
        }

        /// A source that fails as often as it likes is no incident, by whichever of its names it is one.
        #[test]
        fn one_source_alone_is_no_incident(
            kind in 0_usize..4,
            (from, length) in (0_usize..100, 5_usize..120),
            rate in 1_u32..30,
            usual_every in 5_usize..40,
            of_day in proptest::bool::ANY,
        ) {
            let length_of_period = if of_day { 1440 } else { 120 };
            let mut world = World::new(length_of_period, usual_every);
            world.retry(kind, (from, (from + length).min(length_of_period)), rate);
            let scan = world.scan(length_of_period);
            prop_assert_eq!(scan.departures, []);
        }

        /// An incident is found to the minute while a source fails beside it that is alone, whether
        /// that begins before it or within it.
        #[test]
        fn an_incident_is_found_beside_a_source_that_is_alone(
            kind in 0_usize..4,
            (from, length) in (0_usize..60, 60_usize..120),
            rate in 1_u32..12,
            (begin, lasts) in (20_usize..70, 20_usize..40),
            keys in 3_u32..8,
        ) {
            let mut world = World::new(120, 17);
            world.incident((begin, begin + lasts), keys);
            world.retry(kind, (from, (from + length).min(120)), rate);
            let scan = world.scan(120);
            prop_assert_eq!(scan.departures.len(), 1, "{:?}", scan);
            let found = scan.departures[0];
            // A source that begins to fail shortly before the others is one of them.
            let is_first = from < begin && begin - from <= COARSE + LULL + 1;
            prop_assert!(found.from.abs_diff(begin) <= LULL + 1 || is_first && found.from >= from, "{:?}", found);
            prop_assert!(found.to.abs_diff(begin + lasts) <= COARSE + 2, "{:?}", found);
        }

        /// Every find keeps the definition, and no two overlap.
        #[test]
        fn every_find_is_an_incident(counts in proptest::collection::vec((0_u64..6, 0_u64..9), 0..200)) {
            let minutes: Vec<MinuteCount> = counts.iter().map(|(failed, other)| minute(*failed, *other)).collect();
            let found = scanned(&minutes, &UsualTimes::default(), minutes.len());
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
