//! Looks for incidents while the requests of a long period stream past: each day is scanned once no
//! more rows of it are expected, and once the days around it are known, which say what is usual at
//! each time of the day.
//!
//! A period of up to 12 hours is scanned as a whole. Memory: for each product, 32 bytes for each
//! minute with requests of a day or two, 12 bytes for each of the 14 days before, and 8 bytes for
//! each ten minutes with failures of 29 days; 16 bytes for each source that fails in a minute of 15
//! days, of at most 4,096 a day. It does not grow with the length of the period.

use std::collections::{BTreeMap, HashMap};

use crate::report::detector::{
    FailureSource, MinuteCount, ScannedPeriod, SourcedFailures, SourcesOfFailures, UsualTimes, departures,
};
use crate::report::source::SLACK;
use crate::report::window::{Window, local};

/// The longest period that is scanned as a whole, in seconds.
const SHORT: i64 = 12 * 3600;
/// Finds of the same product that are this close belong together, in seconds: midnight is no end.
const LULL: i64 = 180;
/// A day is compared with so many days before it, and as many after it.
const DAYS_AROUND: usize = 14;
const DAYS_OF_WEEK: usize = 7;
/// Minutes of a step by which days are compared.
const STEP_MINUTES: u16 = 10;
const STEP: usize = STEP_MINUTES as usize;
/// Steps of the longest day.
const STEPS: usize = 25 * 60 / STEP;

/// Sources that fail in a minute are kept of a product and a day, at most.
const MOST_SOURCED: usize = 4096;
/// Failures of ten minutes, at least, of which a single source may be most.
const LEAST_ALONE: u64 = 5;

/// An interval in which a product fails far more than on the rest of the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FoundInterval {
    /// None for all products together.
    pub(super) product: Option<i64>,
    /// Unix seconds.
    pub(super) from: i64,
    /// Unix seconds; not included.
    pub(super) to: i64,
    pub(super) count: MinuteCount,
}

/// Requests of a product of a day that is not over.
#[derive(Debug, Clone, Default)]
struct OpenProduct {
    minutes: HashMap<u16, MinuteCount>,
    failures: HashMap<(u16, FailureSource), u32>,
}

/// Requests of a day that is not over, by product.
type OpenDay = BTreeMap<i64, OpenProduct>;

/// The requests of a minute, in few bytes.
#[derive(Debug, Clone, Copy)]
struct PackedMinute {
    minute: u16,
    failed: u32,
    all: u32,
}

impl PackedMinute {
    fn count(self) -> MinuteCount {
        MinuteCount { failed: u64::from(self.failed), all: u64::from(self.all) }
    }
}

/// Requests of a product of a day that is over, in the order of time.
#[derive(Debug, Clone, Default)]
struct PackedProduct {
    minutes: Vec<PackedMinute>,
    sources: SourcesOfFailures,
}

impl PackedProduct {
    /// Takes the requests of a day that is over. Those of a day that was packed before come on top.
    fn add(&mut self, open: OpenProduct) {
        self.minutes.extend(open.minutes.into_iter().map(|(minute, count)| PackedMinute {
            minute,
            failed: u32::try_from(count.failed).unwrap_or(u32::MAX),
            all: u32::try_from(count.all).unwrap_or(u32::MAX),
        }));
        self.minutes.sort_unstable_by_key(|packed| packed.minute);
        self.minutes.shrink_to_fit();
        let failures = open.failures.into_iter();
        let failures = failures.map(|((minute, source), count)| SourcedFailures { minute, count, source });
        let mut sources = std::mem::take(&mut self.sources);
        sources.0.extend(failures);
        self.sources = sources.packed(MOST_SOURCED);
    }

    /// The counts that other days are compared with: without a source that is alone, which on
    /// another day would hide what is no more usual.
    fn usual_minutes(&self) -> Vec<PackedMinute> {
        let mut minutes = self.minutes.clone();
        for step in
            minutes.chunk_by_mut(|one, other| one.minute / STEP_MINUTES == other.minute / STEP_MINUTES)
        {
            let failed: u64 = step.iter().map(|minute| u64::from(minute.failed)).sum();
            let Some(first) = step.first().filter(|_| failed >= LEAST_ALONE) else { continue };
            let begin = usize::from(first.minute / STEP_MINUTES) * STEP;
            let most = self.sources.most_alone((begin, begin + STEP));
            let Some((source, _)) = most.filter(|(_, count)| count * 2 > failed) else { continue };
            for alone in self.sources.of_minutes(source, (begin, begin + STEP)) {
                let minute = step.iter_mut().find(|minute| minute.minute == alone.minute);
                if let Some(minute) = minute {
                    minute.failed = minute.failed.saturating_sub(alone.count);
                    minute.all = minute.all.saturating_sub(alone.count);
                }
            }
        }
        minutes
    }
}

/// Requests of a day that is over, by product.
type PackedDay = BTreeMap<i64, PackedProduct>;

/// What a scan of all days finds.
#[derive(Debug, Clone, Default)]
pub(super) struct ScannedDays {
    /// The incidents in the order of time.
    pub(super) found: Vec<FoundInterval>,
    /// Failures of single sources that would have been incidents, and hit nobody else.
    pub(super) alone: u64,
}

/// A day that others are compared with.
#[derive(Debug, Clone, Default)]
struct DayCount {
    requests: MinuteCount,
    /// The failures by step, in the order of time; none of the steps without one.
    failures: Vec<(u16, u32)>,
}

/// The days of a period.
pub(super) struct DayScan {
    window: Window,
    /// The beginning of each day, in the order of time.
    begins: Vec<i64>,
    /// Days that more rows are expected of, by their number.
    open: BTreeMap<usize, OpenDay>,
    /// Days that wait for those after them.
    waiting: BTreeMap<usize, PackedDay>,
    /// Whole days by product, with all together under `None`.
    whole: BTreeMap<usize, BTreeMap<Option<i64>, DayCount>>,
    /// Days before this one are scanned.
    scanned: usize,
    scans: ScannedDays,
}

impl DayScan {
    pub(super) fn new(window: Window) -> DayScan {
        let mut begins = vec![window.from];
        if window.seconds() > SHORT {
            for day in window.days().skip(1) {
                let midnight = window.zone.moment(day.and_time(chrono::NaiveTime::MIN));
                begins.extend(midnight.filter(|begin| (window.from + 1..window.to).contains(begin)));
            }
            begins.dedup();
        }
        DayScan {
            window,
            begins,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            whole: BTreeMap::new(),
            scanned: 0,
            scans: ScannedDays::default(),
        }
    }

    /// Takes a request that succeeded or failed, in the period. One that comes more than two weeks
    /// after its day is too late. One that failed has a source.
    pub(super) fn add(&mut self, product: i64, time: i64, failed: Option<FailureSource>) {
        let day = self.begins.partition_point(|begin| *begin <= time).saturating_sub(1);
        if day < self.scanned {
            return;
        }
        let (begin, _) = self.bounds(day);
        let minute = u16::try_from((time - begin) / 60).unwrap_or(u16::MAX);
        let open = self.open.entry(day).or_default().entry(product).or_default();
        open.minutes.entry(minute).or_default().add(failed.is_some());
        if let Some(source) = failed {
            let count = open.failures.entry((minute, source)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Scans what can be scanned before a page of the log whose oldest row has this time.
    pub(super) fn page_begins_at(&mut self, oldest: i64) {
        while let Some((day, _)) = self.open.first_key_value() {
            let (_, end) = self.bounds(*day);
            if *day + 1 == self.begins.len() || oldest < end.saturating_add(SLACK) {
                return;
            }
            let Some(closed) = self.close_first() else { return };
            while let Some((first, _)) = self.waiting.first_key_value() {
                if first + DAYS_AROUND > closed {
                    break;
                }
                self.scan_first();
            }
        }
    }

    /// Scans what is left.
    pub(super) fn finish(mut self) -> ScannedDays {
        while self.close_first().is_some() {}
        while !self.waiting.is_empty() {
            self.scan_first();
        }
        let ScannedDays { mut found, alone } = self.scans;
        found.sort_by_key(|found| (found.product, found.from));
        let mut joined: Vec<FoundInterval> = Vec::new();
        for next in found {
            match joined.last_mut() {
                Some(last) if last.product == next.product && next.from - last.to <= LULL => {
                    last.to = last.to.max(next.to);
                    last.count = last.count.plus(next.count);
                }
                _ => joined.push(next),
            }
        }
        joined.sort_by_key(|found| (found.from, found.product));
        ScannedDays { found: joined, alone }
    }

    /// When a day begins and ends, in Unix seconds.
    fn bounds(&self, day: usize) -> (i64, i64) {
        let begin = self.begins.get(day).copied().unwrap_or(self.window.from);
        (begin, self.begins.get(day + 1).copied().unwrap_or(self.window.to))
    }

    /// Minutes from the midnight before a day of the period to its beginning: the first day may
    /// begin at any time.
    fn minutes_since_midnight(&self, day: usize) -> usize {
        let begin = local(self.bounds(day).0, self.window.zone).time();
        usize::try_from(chrono::Timelike::num_seconds_from_midnight(&begin) / 60).unwrap_or(0)
    }

    /// True for a day of the zone that is in the period from midnight to midnight, and not over by
    /// the end of the period only.
    fn is_whole(&self, day: usize) -> bool {
        let (begin, end) = self.bounds(day);
        let is_midnight = |time: i64| local(time, self.window.zone).time() == chrono::NaiveTime::MIN;
        is_midnight(begin) && is_midnight(end) && self.begins.len() > 1
    }

    /// Packs the first day that is open, and gives its number.
    fn close_first(&mut self) -> Option<usize> {
        let (day, products) = self.open.pop_first()?;
        // Rows of a day that was packed before come on top.
        let mut packed = self.waiting.remove(&day).unwrap_or_default();
        for (product, requests) in products {
            packed.entry(product).or_default().add(requests);
        }
        if self.is_whole(day) {
            let usual: BTreeMap<i64, Vec<PackedMinute>> =
                packed.iter().map(|(product, packed)| (*product, packed.usual_minutes())).collect();
            let of_product =
                |(product, minutes): (&i64, &Vec<PackedMinute>)| (Some(*product), day_count(minutes.iter()));
            let mut counts: BTreeMap<Option<i64>, DayCount> = usual.iter().map(of_product).collect();
            counts.insert(None, day_count(usual.values().flatten()));
            self.whole.insert(day, counts);
        }
        self.waiting.insert(day, packed);
        Some(day)
    }

    /// The same day of the weeks around a day; where there is none, all days around it.
    fn days_like(&self, day: usize) -> Vec<usize> {
        let around = self.whole.range(day.saturating_sub(DAYS_AROUND)..=day + DAYS_AROUND);
        let others: Vec<usize> = around.map(|(other, _)| *other).filter(|other| *other != day).collect();
        let is_same = |other: &&usize| other.abs_diff(day).is_multiple_of(DAYS_OF_WEEK);
        let same: Vec<usize> = others.iter().filter(is_same).copied().collect();
        if same.is_empty() { others } else { same }
    }

    fn usual(&self, product: Option<i64>, day: usize, days_like: &[usize]) -> UsualTimes {
        let of_day = |other: &usize| self.whole.get(other).and_then(|products| products.get(&product));
        let failures = |other: &usize| {
            let mut steps = vec![0; STEPS];
            for (step, failed) in of_day(other).into_iter().flat_map(|count| &count.failures) {
                if let Some(count) = steps.get_mut(usize::from(*step)) {
                    *count = *failed;
                }
            }
            steps
        };
        let counts = days_like.iter().filter_map(of_day);
        let requests = counts.fold(MinuteCount::default(), |sum, count| sum.plus(count.requests));
        let others = days_like.iter().map(failures);
        UsualTimes::new((STEP, self.minutes_since_midnight(day)), others).with_requests(requests)
    }

    fn scan_first(&mut self) {
        let Some((day, products)) = self.waiting.pop_first() else { return };
        let bounds = self.bounds(day);
        let minutes = steps_of_minutes(bounds.1 - bounds.0);
        let of_period = steps_of_minutes(self.window.seconds());
        let days_like = self.days_like(day);
        let mut together = vec![MinuteCount::default(); minutes];
        let mut sources = SourcesOfFailures::default();
        let mut of_products = Vec::new();
        for (product, requests) in products {
            let mut own = vec![MinuteCount::default(); minutes];
            for packed in requests.minutes {
                let minute = usize::from(packed.minute);
                if let Some((own, all)) = own.get_mut(minute).zip(together.get_mut(minute)) {
                    for sum in [own, all] {
                        *sum = sum.plus(packed.count());
                    }
                }
            }
            let product = Some(product);
            let usual = self.usual(product, day, &days_like);
            sources.0.extend_from_slice(&requests.sources.0);
            let scan = departures(&own, &usual, requests.sources, of_period);
            self.scans.alone += scan.alone.iter().map(|alone| alone.failed_since(0)).sum::<u64>();
            of_products.extend(intervals(product, &scan, bounds));
        }
        // All together only where no product explains it.
        let scan = departures(&together, &self.usual(None, day, &days_like), sources, of_period);
        let is_explained = |found: &FoundInterval| {
            of_products.iter().any(|other| other.from < found.to && found.from < other.to)
        };
        let all = intervals(None, &scan, bounds);
        let unexplained: Vec<FoundInterval> = all.filter(|found| !is_explained(found)).collect();
        self.scans.found.extend(of_products);
        self.scans.found.extend(unexplained);
        self.scanned = day + 1;
        let needed = self.scanned.saturating_sub(DAYS_AROUND);
        self.whole = self.whole.split_off(&needed);
    }
}

/// The minutes of a day as others are compared with it.
fn day_count<'a>(minutes: impl Iterator<Item = &'a PackedMinute>) -> DayCount {
    let mut requests = MinuteCount::default();
    let mut failures: BTreeMap<u16, u32> = BTreeMap::new();
    for minute in minutes {
        requests = requests.plus(minute.count());
        if minute.failed > 0 {
            let step = failures.entry(minute.minute / STEP_MINUTES).or_default();
            *step = step.saturating_add(minute.failed);
        }
    }
    DayCount { requests, failures: failures.into_iter().collect() }
}

/// The incidents of a day in Unix seconds.
fn intervals(
    product: Option<i64>,
    scan: &ScannedPeriod,
    (begin, end): (i64, i64),
) -> impl Iterator<Item = FoundInterval> {
    let moment = move |minute: usize| (begin + 60 * i64::try_from(minute).unwrap_or(0)).min(end);
    scan.departures.iter().map(move |found| FoundInterval {
        product,
        from: moment(found.from),
        to: moment(found.to),
        count: found.count,
    })
}

fn steps_of_minutes(seconds: i64) -> usize {
    usize::try_from((seconds.max(0) + 59) / 60).unwrap_or(0)
}

#[cfg(test)]
mod tests;
