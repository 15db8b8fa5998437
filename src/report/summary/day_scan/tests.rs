//! Days, months and worlds whose traffic has a rhythm.

use super::*;
use crate::report::detector::SourceKind;
use crate::report::zone::Zone;

/// 5 January 2026, 00:00 UTC.
const MONDAY: i64 = 1_767_571_200;
const DAY: i64 = 86_400;

/// A request a minute, and six failures a minute in the given spans.
fn found(days: i64, zone: &str, spans: &[(i64, i64)]) -> Vec<(Option<i64>, i64, i64)> {
    let zone: Zone = zone.parse().unwrap();
    let mut scan = DayScan::new(Window { from: MONDAY, to: MONDAY + days * DAY, zone });
    for minute in 0..days * 1440 {
        let time = MONDAY + minute * 60;
        scan.page_begins_at(time);
        scan.add(7, time, None);
        scan.add(8, time, None);
        let is_in = spans.iter().any(|(from, to)| (*from..*to).contains(&time));
        for _ in 0..u8::from(is_in) * 6 {
            scan.add(7, time + 1, Some(FailureSource::default()));
        }
    }
    assert!(scan.open.len() <= 2 && scan.waiting.len() <= DAYS_AROUND, "{} days wait", scan.waiting.len());
    assert!(scan.whole.len() <= 2 * DAYS_AROUND + 1, "{} days are kept", scan.whole.len());
    scan.finish().found.into_iter().map(|found| (found.product, found.from, found.to)).collect()
}

#[test]
fn each_incident_of_a_week_is_found_to_the_minute() {
    let spans =
        [(MONDAY + 9 * 3600, MONDAY + 9 * 3600 + 1500), (MONDAY + 3 * DAY + 60, MONDAY + 3 * DAY + 2460)];
    let expected: Vec<_> = spans.iter().map(|(from, to)| (Some(7), *from, *to)).collect();
    assert_eq!(found(7, "UTC", &spans), expected);
    assert_eq!(found(7, "Asia/Kathmandu", &spans), expected, "days begin elsewhere");
    assert_eq!(found(7, "UTC", &[]), []);
}

#[test]
fn midnight_is_no_end_of_an_incident() {
    let span = (MONDAY + DAY - 1200, MONDAY + DAY + 1200);
    assert_eq!(found(3, "UTC", &[span]), [(Some(7), span.0, span.1)]);
}

#[test]
fn a_short_period_is_scanned_as_a_whole() {
    let window = Window { from: MONDAY + 22 * 3600, to: MONDAY + DAY + 2 * 3600, zone: Zone::UTC };
    assert_eq!(DayScan::new(window).begins, [window.from]);
    let long = Window { from: MONDAY + 3600, to: MONDAY + 2 * DAY + 1, zone: Zone::UTC };
    assert_eq!(DayScan::new(long).begins, [long.from, MONDAY + DAY, MONDAY + 2 * DAY]);
}

/// A generator whose numbers are the same everywhere.
struct Dice(u64);

impl Dice {
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 40).unwrap()) / f64::from(1_u32 << 24)
    }

    /// A number with Poisson's distribution.
    fn number(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut number) = ((-mean).exp(), self.part(), 0);
        while product > limit {
            product *= self.part();
            number += 1;
        }
        number
    }
}

/// Traffic with a rhythm by hour and weekday. Heartbeats, which never fail, come on working days
/// from 8 to 18 o'clock, a tenth of them at the weekend, and none at night; other requests come at
/// any time.
#[derive(Clone, Copy)]
struct RhythmWorld {
    seed: u64,
    days: i64,
    zone: &'static str,
    /// Whether a task fails every night at 2 o'clock, and another one on Mondays at 9 o'clock.
    has_tasks: bool,
    /// A working day without heartbeats.
    holiday: Option<i64>,
}

impl RhythmWorld {
    fn rates(&self, at: chrono::NaiveDateTime, day: i64) -> (f64, f64) {
        use chrono::{Datelike as _, Timelike as _};
        let is_weekend = at.weekday().number_from_monday() > 5 || self.holiday == Some(day);
        let heartbeats = match at.hour() {
            8..18 if is_weekend => 1.0,
            8..18 => 10.0,
            _ => 0.0,
        };
        let mut failing = 0.12;
        if self.has_tasks && at.hour() == 2 && at.minute() < 20 {
            failing += 2.0;
        }
        if self.has_tasks && at.hour() == 9 && at.minute() < 30 && at.weekday() == chrono::Weekday::Mon {
            failing += 4.0;
        }
        (heartbeats + 0.5, failing)
    }

    /// The incidents that are found, where two products are locked out for the given times.
    fn found(self, incidents: &[(i64, i64)]) -> Vec<FoundInterval> {
        self.found_beside(incidents, None)
    }

    /// The same where a source retries, too.
    fn found_beside(self, incidents: &[(i64, i64)], retry: Option<Retry>) -> Vec<FoundInterval> {
        let zone: Zone = self.zone.parse().unwrap();
        let window = Window { from: MONDAY, to: MONDAY + self.days * DAY, zone };
        let mut scan = DayScan::new(window);
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ self.seed);
        // Who fails does not change how much.
        let mut names = Dice(0x2545_F491_4F6C_DD1D ^ self.seed);
        for minute in 0..self.days * 1440 {
            let time = MONDAY + minute * 60;
            if minute % 10 == 0 {
                scan.page_begins_at(time);
            }
            let (succeeding, failing) = self.rates(local(time, zone), minute / 1440);
            let is_in = incidents.iter().any(|(from, to)| (*from..*to).contains(&time));
            for product in [7, 8] {
                let failing = if is_in && product == 7 { failing + 3.0 } else { failing };
                for (mean, failed) in [(succeeding, false), (failing, true)] {
                    for _ in 0..dice.number(mean) {
                        // Those who are locked out are five.
                        let keys = if is_in && failed { 5.0 } else { 40.0 };
                        #[allow(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "up to 40"
                        )]
                        let key = (names.part() * keys) as u32 + 1;
                        let source = FailureSource { key, machine: key, address: key };
                        scan.add(product, time, failed.then_some(source));
                    }
                }
            }
            for (number, time) in retry.iter().flat_map(|retry| retry.times(time)) {
                let by = retry.map_or(SourceKind::Machine, |retry| retry.by);
                scan.add(7, time, Some(source_by(by, number)));
            }
        }
        scan.finish().found
    }
}

/// A source of product 7 that fails again and again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    by: SourceKind,
    from: i64,
    to: i64,
    /// In seconds.
    every: i64,
}

impl Retry {
    /// The requests of a minute, with their numbers.
    fn times(&self, minute: i64) -> impl Iterator<Item = (u32, i64)> + use<> {
        let Retry { from, to, every, .. } = *self;
        let begin = minute.max(from);
        let first = from + (begin - from + every - 1) / every * every;
        let times = (first..(minute + 60).min(to)).step_by(usize::try_from(every).unwrap());
        times.map(move |time| (u32::try_from((time - from) / every).unwrap(), time))
    }
}

/// A source that is one by one of its names only.
fn source_by(kind: SourceKind, number: u32) -> FailureSource {
    let other = 1000 + number;
    let (key, machine, address) = match kind {
        SourceKind::Machine => (other % 9 + 50, 999, other % 50 + 200),
        SourceKind::Key => (999, other, other % 50 + 200),
        SourceKind::Address => (other, other, 999),
    };
    FailureSource { key, machine, address }
}

const MONTH: RhythmWorld = RhythmWorld { seed: 1, days: 28, zone: "UTC", has_tasks: true, holiday: Some(16) };

#[test]
fn worlds_with_a_rhythm_stay_silent() {
    for seed in 1..=3 {
        let month = RhythmWorld { seed, ..MONTH };
        assert_eq!(month.found(&[]), [], "seed {seed}");
        let zone = RhythmWorld { zone: "America/New_York", ..month };
        assert_eq!(zone.found(&[]), [], "seed {seed}, where days begin elsewhere");
        // Fewer days to compare with: two weeks, a week, and a day alone.
        for days in [14, 7, 1] {
            let short = RhythmWorld { days, has_tasks: days == 14, holiday: None, ..month };
            assert_eq!(short.found(&[]), [], "seed {seed}, {days} days");
        }
    }
}

/// At night, in the morning, on the holiday, at the weekend, over midnight, twice on a day, and at
/// the same time of two weeks.
#[test]
fn every_incident_in_a_world_with_a_rhythm_is_found() {
    let at = |day: i64, minute: i64| MONDAY + day * DAY + minute * 60;
    let spans: Vec<(i64, i64)> = [
        (1, 190, 25),
        (3, 490, 40),
        (5, 700, 30),
        (8, 190, 25),
        (9, 1430, 25),
        (12, 200, 30),
        (16, 640, 35),
        (17, 545, 25),
        (17, 840, 30),
        (27, 1300, 60),
    ]
    .map(|(day, minute, length)| (at(day, minute), at(day, minute + length)))
    .to_vec();
    for seed in 1..=3 {
        let found = RhythmWorld { seed, ..MONTH }.found(&spans);
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.product, (found.from - MONDAY) / 60, (found.to - MONDAY) / 60))
            .collect();
        assert_eq!(found.len(), spans.len(), "seed {seed}: {shown:?}");
        for (found, (from, to)) in found.iter().zip(&spans) {
            let off = (found.from - from, found.to - to);
            assert!(
                found.product == Some(7) && off.0.abs() <= 120 && off.1.abs() <= 300,
                "seed {seed}: {off:?} {shown:?}"
            );
        }
    }
}

/// From minutes to days, slow and fast, at night, over midnight, and beside the tasks of the night.
#[test]
fn worlds_with_one_retrying_source_stay_silent() {
    let hour = 3600;
    for (number, by) in [SourceKind::Machine, SourceKind::Key, SourceKind::Address].into_iter().enumerate() {
        for (from, length, every) in [
            (DAY + 3 * hour, 25 * 60, 10),
            (3 * DAY + 9 * hour, 2 * hour, 30),
            (5 * DAY + 21 * hour, 8 * hour, 60),
            (8 * DAY + 1800, 40 * hour, 20),
        ] {
            let from = MONDAY + from;
            let retry = Retry { by, from, to: from + length, every };
            let world = RhythmWorld { seed: 1 + number as u64, days: 14, ..MONTH };
            let found = world.found_beside(&[], Some(retry));
            assert_eq!(found, [], "{retry:?}");
        }
    }
}

/// Before it, after it, and all the time beside several: each incident is found as if nobody retried.
#[test]
fn every_incident_beside_a_retrying_source_is_found() {
    let at = |day: i64, minute: i64| MONDAY + day * DAY + minute * 60;
    let spans: Vec<(i64, i64)> = [(1, 190, 25), (3, 490, 40), (8, 400, 25), (9, 1430, 25), (10, 840, 30)]
        .map(|(day, minute, length)| (at(day, minute), at(day, minute + length)))
        .to_vec();
    for by in [SourceKind::Machine, SourceKind::Key, SourceKind::Address] {
        for (from, to, every) in
            [(at(8, 0), at(10, 1200), 20), (at(1, 100), at(1, 400), 15), (at(3, 500), at(3, 700), 30)]
        {
            let retry = Retry { by, from, to, every };
            let found = RhythmWorld { days: 14, ..MONTH }.found_beside(&spans, Some(retry));
            let shown: Vec<_> =
                found.iter().map(|found| ((found.from - MONDAY) / 60, (found.to - MONDAY) / 60)).collect();
            assert_eq!(found.len(), spans.len(), "{retry:?}: {shown:?}");
            for (found, (from, _)) in found.iter().zip(&spans) {
                assert!((found.from - from).abs() <= 120 && found.product == Some(7), "{retry:?}: {shown:?}");
            }
        }
    }
}

/// Nothing departs from the rest of a day that fails as a whole: other days show that it is
/// unusual.
#[test]
fn a_day_that_is_one_incident_is_found() {
    let day = (MONDAY + 8 * DAY, MONDAY + 9 * DAY);
    let found = RhythmWorld { has_tasks: false, ..MONTH }.found(&[day]);
    assert!(found.iter().all(|found| found.product == Some(7)), "{found:?}");
    let (first, last) = (found.first().unwrap(), found.last().unwrap());
    assert!((first.from - day.0).abs() <= 600 && (last.to - day.1).abs() <= 600, "{found:?}");
    // In the evening, where the heartbeats end, some minutes may be missing.
    let covered: i64 = found.iter().map(|found| found.to - found.from).sum();
    assert!(covered * 100 >= DAY * 95 && found.len() <= 3, "{found:?}");
}
