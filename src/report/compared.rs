//! The time of a report, and the time that it is compared with.
//!
//! Promises: a period that is not over is compared with the same elapsed part of another one, by
//! the clock on the wall; times of unequal length are compared by day, where a day on which clocks
//! are set counts as one. It knows no clock: now is handed in.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Months, Utc};

use super::calendar::CalendarPeriod;
use super::document::Moment;
use super::error::ReportError;
use super::options::{CompareWith, TimeBounds};
use super::render::words::{self, span};
use super::text::capitalised;
use super::window::{Window, is_midnight, local, moment, rfc3339};
use super::zone::Zone;

const DAY: i64 = 86_400;
/// No date is twice in this time.
const LONGEST_YEAR: i64 = 365 * DAY;

/// The time of a report, with the period of the calendar that it is, if it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReportedTime {
    /// As far as it has passed.
    pub(super) window: Window,
    pub(super) calendar: Option<CalendarPeriod>,
    /// False once it is over.
    pub(super) is_live: bool,
    /// The moment at which the log begins, where that is within the time or after it. Known once it
    /// was read.
    pub(super) log_begins: Option<i64>,
}

impl ReportedTime {
    /// The time of a window, which the bounds mean at this moment.
    pub(super) fn new(window: Window, bounds: &TimeBounds, now: DateTime<Utc>) -> ReportedTime {
        let calendar = bounds.calendar.and_then(|choice| choice.period(bounds.timezone, now.timestamp()));
        // A month is over at the first second of the next one.
        let end = calendar.and_then(|calendar| calendar.bounds(bounds.timezone)).map(|(_, end)| end);
        let is_live = end.map_or_else(|| window.is_live(now), |end| end > now.timestamp());
        ReportedTime { window, calendar, is_live, log_begins: None }
    }

    /// The time in words, as `October 2026` or `November 2026 so far`.
    pub(super) fn label(&self) -> String {
        let label = match self.calendar {
            Some(calendar) => calendar.label(),
            None => words::duration(self.window.seconds()),
        };
        match self.calendar {
            Some(_) => format!("{label}{}", self.so_far()),
            None => label,
        }
    }

    /// The time as the subject of a sentence: as `October 2026`, or `the last 12 days`. Only the part of
    /// it that the log covers, so that no sentence says more than was seen.
    pub(super) fn subject(&self) -> String {
        match self.calendar {
            Some(_) => format!("{}{}", self.label(), self.covered_part()),
            None if self.is_live => format!("{}{}", last(self.window.seconds()), self.covered_part()),
            None => span(self.covered()),
        }
    }

    /// As `in October 2026`, or `in November 2026 so far`; only the part of it that the log covers.
    pub(super) fn when(&self) -> String {
        match self.calendar {
            Some(calendar) => format!("{}{}{}", calendar.when(), self.so_far(), self.covered_part()),
            None if self.is_live => format!("in {}", self.subject()),
            None => on_or_from(self.covered()),
        }
    }

    /// The time for a sentence near one that names it: as `the month`, `the week so far`, or `this time`.
    pub(super) fn in_short(&self) -> String {
        let Some(calendar) = self.calendar else { return format!("this time{}", self.covered_part()) };
        // A unit of the calendar has the name of its flag.
        let flag = calendar.flag_name();
        format!("the {}{}{}", flag.trim_start_matches('-'), self.so_far(), self.covered_part())
    }

    const fn so_far(&self) -> &'static str {
        if self.is_live { " so far" } else { "" }
    }

    /// As ` from 31 Oct 15:03 on`, or ` from 15:03 on` of one day; empty where the log covers all of the
    /// time, or nothing of it.
    fn covered_part(&self) -> String {
        let Some(begins) = self.log_begins.filter(|begins| self.window.contains(*begins)) else {
            return String::new();
        };
        let zone = self.window.zone;
        let minute = if self.window.is_within_a_day() {
            local(begins, zone).format("%H:%M").to_string()
        } else {
            self.minute(begins)
        };
        format!(" from {minute} on")
    }

    /// The part of the time that the log covers; all of it where it covers nothing.
    pub(super) fn covered(&self) -> Window {
        let begins = self.log_begins.filter(|begins| self.window.contains(*begins));
        Window { from: begins.unwrap_or(self.window.from), ..self.window }
    }

    /// The moment at which the log begins, where that is after the time: nothing is known of it then.
    pub(super) fn log_begins_after(&self) -> Option<i64> {
        self.log_begins.filter(|begins| *begins >= self.window.to)
    }

    /// A sentence on what the log, called `log`, does not cover; none where it covers all of the time.
    pub(super) fn coverage(&self, log: &str) -> Option<String> {
        let begins = self.minute(self.log_begins?);
        let log = capitalised(log);
        Some(match self.log_begins_after() {
            Some(_) => format!("{log} does not reach back to this time: it begins at {begins}."),
            None => format!("{log} begins at {begins}, and covers only a part of this time."),
        })
    }

    /// As `25 Nov 16:51`, with the year where the time does not say which one is meant.
    pub(super) fn minute(&self, at: i64) -> String {
        let zone = self.window.zone;
        let year = |at: i64| local(at, zone).year();
        let is_in_a_year = self.window.contains(at) && self.window.seconds() <= LONGEST_YEAR;
        let years = [self.window.from, self.window.to - 1].map(year);
        if is_in_a_year || years == [year(at); 2] {
            words::minute(Moment { at, zone })
        } else {
            local(at, zone).format("%-d %b %Y %H:%M").to_string()
        }
    }

    /// The flags that mean the same time tomorrow.
    pub(super) fn flags(&self) -> String {
        let utc = |at: i64| rfc3339(at, Zone::UTC);
        match self.calendar {
            Some(calendar) => calendar.flag(),
            None => format!("--from={} --to={}", utc(self.window.from), utc(self.window.to)),
        }
    }
}

/// The time that another one is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComparedTime {
    pub(super) window: Window,
    /// As `September 2026`.
    pub(super) label: String,
    /// True where only as much of it counts as has passed of the time itself.
    pub(super) is_elapsed_only: bool,
}

/// Returns the times to compare with; none if none is wanted, or if no calendar reaches back.
pub(super) fn compared(
    with: &CompareWith,
    time: &ReportedTime,
    now: i64,
) -> Result<Option<ComparedTime>, ReportError> {
    let zone = time.window.zone;
    let window = match (with, time.calendar) {
        (CompareWith::Nothing, _) => return Ok(None),
        (CompareWith::Range(from, to), _) => {
            return ranged((from.as_str(), to.as_str()), zone, now).map(Some);
        }
        (CompareWith::Previous, Some(calendar)) => return Ok(same_part(calendar.before(), time)),
        (CompareWith::Year, Some(calendar)) => return Ok(same_part(calendar.year_before(), time)),
        (CompareWith::Previous, None) => Some(time.window.before()),
        (CompareWith::Year, None) => {
            let earlier = |at: i64| {
                let at = local(at, zone);
                zone.moment(at.date().checked_sub_months(Months::new(12))?.and_time(at.time()))
            };
            let bounds = earlier(time.window.from).zip(earlier(time.window.to));
            bounds.filter(|(from, to)| from < to).map(|(from, to)| Window { from, to, zone })
        }
    };
    Ok(window.map(|window| ComparedTime {
        window,
        label: match with {
            CompareWith::Year => "the same time a year before".to_owned(),
            _ => format!("the {} before", length(window.seconds())),
        },
        is_elapsed_only: false,
    }))
}

/// Another period, as much of it as has passed of the time.
fn same_part(other: Option<CalendarPeriod>, time: &ReportedTime) -> Option<ComparedTime> {
    let (other, own) = (other?, time.calendar?);
    let zone = time.window.zone;
    let (from, end) = other.bounds(zone)?;
    let whole = Window { from, to: end, zone };
    if !time.is_live {
        return Some(ComparedTime { window: whole, label: other.label(), is_elapsed_only: false });
    }
    // By the clock on the wall, so that noon is compared with noon.
    let elapsed = local(time.window.to, zone) - own.first_midnight();
    let same = zone.moment(other.first_midnight().checked_add_signed(elapsed)?)?;
    let to = same.clamp(from.saturating_add(1), end);
    Some(ComparedTime { window: Window { to, ..whole }, label: other.label(), is_elapsed_only: true })
}

/// The time from one moment to another, as far as it has passed.
fn ranged((from, to): (&str, &str), zone: Zone, now: i64) -> Result<ComparedTime, ReportError> {
    let (from, to) = (moment("--compare", from, zone)?, moment("--compare", to, zone)?);
    if from >= now {
        return Err(ReportError::Usage("--compare: the time to compare with is in the future".to_owned()));
    }
    let to = to.min(now);
    if from >= to {
        return Err(ReportError::Usage(
            "--compare: the time to compare with is empty: it ends where it begins, or before".to_owned(),
        ));
    }
    let window = Window { from, to, zone };
    Ok(ComparedTime { window, label: span(window), is_elapsed_only: false })
}

/// As `hour`, `2 hours` or `12 days`, after "the".
fn length(seconds: i64) -> String {
    let spelled = words::spelled_duration(seconds);
    let one = ["minute", "hour", "day"].into_iter().find(|unit| spelled == format!("1 {unit}"));
    one.map_or(spelled, str::to_owned)
}

/// As `the last hour` or `the last 12 days`. A day would be one of the calendar.
fn last(seconds: i64) -> String {
    if seconds == DAY { "the last 24 hours".to_owned() } else { format!("the last {}", length(seconds)) }
}

/// As `on 10 November 2026`, or `from 9 to 10 November 2026`.
fn on_or_from(window: Window) -> String {
    format!("{} {}", if window.is_within_a_day() { "on" } else { "from" }, span(window))
}

/// Whole days, as `on 10 November 2026`; none for other times.
pub(super) fn on_whole_days(window: Window) -> Option<String> {
    window.is_of_days().then(|| on_or_from(window))
}

/// The days of a window. One that begins at midnight is measured by the clock on the wall: a day of
/// 23 or 25 hours is one.
#[allow(clippy::cast_precision_loss, reason = "seconds of a report")]
pub(super) fn days(window: &Window) -> f64 {
    let (from, to) = (local(window.from, window.zone), local(window.to, window.zone));
    let on_the_wall = (to - from).num_seconds();
    let seconds = if is_midnight(from) && on_the_wall > 0 { on_the_wall } else { window.seconds() };
    seconds as f64 / DAY as f64
}

/// True if two times have as many days, to the minute.
pub(super) fn is_as_long(one: &Window, other: &Window) -> bool {
    (days(one) - days(other)).abs() < 1.0 / 1440.0
}

/// now / before - 1 of two counts, by day where the times differ in length; none where there was
/// nothing before.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
pub(super) fn change((now, window): (u64, &Window), (before, other): (u64, &Window)) -> Option<f64> {
    if before == 0 {
        return None;
    }
    let length = if is_as_long(window, other) { 1.0 } else { days(other) / days(window) };
    Some(now as f64 / before as f64 * length - 1.0)
}

/// The time that the bounds mean, as far as it has passed.
pub(super) fn reported_time(
    bounds: &TimeBounds,
    length: Duration,
    now: DateTime<Utc>,
) -> Result<ReportedTime, ReportError> {
    Ok(ReportedTime::new(Window::passed(bounds, length, now)?, bounds, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::calendar::{CalendarChoice, CalendarUnit};
    use crate::report::window::shown;

    fn named(unit: CalendarUnit, text: &str) -> CalendarChoice {
        CalendarChoice::parse(unit, text).unwrap_or_else(|| panic!("{text}"))
    }

    fn time(choice: CalendarChoice, zone: &str, now: &str) -> Result<ReportedTime, ReportError> {
        let bounds =
            TimeBounds { calendar: Some(choice), timezone: zone.parse().unwrap(), ..TimeBounds::default() };
        reported_time(&bounds, Duration::from_secs(3600), now.parse::<DateTime<Utc>>().unwrap())
    }

    fn bounds(window: &Window) -> String {
        format!("{} to {}", rfc3339(window.from, window.zone), rfc3339(window.to, window.zone))
    }

    #[test]
    fn the_last_one_is_complete() {
        use CalendarUnit::{Day, Month, Week, Year};
        for (unit, zone, now, expected) in [
            (Month, "UTC", "2026-11-01T00:00:00Z", "October 2026"),
            (Month, "UTC", "2026-10-31T23:59:59Z", "September 2026"),
            (Month, "Europe/Stockholm", "2026-10-31T23:30:00Z", "October 2026"),
            (Week, "UTC", "2026-11-29T12:00:00Z", "week 47 of 2026"),
            (Day, "America/New_York", "2026-11-29T03:00:00Z", "27 November 2026"),
            (Year, "UTC", "2026-11-29T12:00:00Z", "2025"),
        ] {
            let time = time(CalendarChoice::Last(unit), zone, now).unwrap();
            assert_eq!((time.label().as_str(), time.is_live), (expected, false), "{now}");
        }
    }

    /// Clocks go forward on 29 March 2026 and back on 25 October.
    #[test]
    fn a_day_on_which_clocks_are_set_is_one_day() {
        use CalendarUnit::{Day, Month};
        for (unit, text, expected, hours, days_of) in [
            (Day, "2026-03-29", "2026-03-29T00:00:00+01:00 to 2026-03-30T00:00:00+02:00", 23, 1.0),
            (Day, "2026-10-25", "2026-10-25T00:00:00+02:00 to 2026-10-26T00:00:00+01:00", 25, 1.0),
            (Month, "2026-03", "2026-03-01T00:00:00+01:00 to 2026-04-01T00:00:00+02:00", 743, 31.0),
            (Month, "2026-10", "2026-10-01T00:00:00+02:00 to 2026-11-01T00:00:00+01:00", 745, 31.0),
        ] {
            let choice = named(unit, text);
            let time = time(choice, "Europe/Stockholm", "2026-11-29T12:00:00Z").unwrap();
            assert_eq!((bounds(&time.window).as_str(), time.window.seconds() / 3600), (expected, hours));
            assert!((days(&time.window) - days_of).abs() < 1e-9, "{text}");
            let other = compared(&CompareWith::Previous, &time, i64::MAX).unwrap().unwrap();
            assert_eq!(is_as_long(&time.window, &other.window), unit == Day, "{text}");
        }
    }

    #[test]
    fn what_is_not_over_is_compared_with_the_same_part_by_the_clock() {
        use CalendarUnit::{Day, Month, Week, Year};
        for (unit, text, now, label, expected) in [
            (
                Month,
                "2026-11",
                "2026-11-29T22:15:00Z",
                "October 2026",
                "2026-10-01 00:00:00 to 2026-10-29 23:15:00",
            ),
            // February has no 31 days: all of it, by day.
            (
                Month,
                "2026-03",
                "2026-03-31T10:00:00Z",
                "February 2026",
                "2026-02-01 00:00:00 to 2026-03-01 00:00:00",
            ),
            // Summer time began on this day; clocks show 12:00.
            (
                Day,
                "2026-03-29",
                "2026-03-29T10:00:00Z",
                "28 March 2026",
                "2026-03-28 00:00:00 to 2026-03-28 12:00:00",
            ),
            // It ended on this one; clocks show 12:00 too.
            (
                Day,
                "2026-10-25",
                "2026-10-25T11:00:00Z",
                "24 October 2026",
                "2026-10-24 00:00:00 to 2026-10-24 12:00:00",
            ),
            // And the day after it is compared with it.
            (
                Day,
                "2026-10-26",
                "2026-10-26T11:00:00Z",
                "25 October 2026",
                "2026-10-25 00:00:00 to 2026-10-25 12:00:00",
            ),
            (
                Week,
                "2026-W13",
                "2026-03-29T10:00:00Z",
                "week 12 of 2026",
                "2026-03-16 00:00:00 to 2026-03-22 12:00:00",
            ),
            (Year, "2026", "2026-11-29T11:00:00Z", "2025", "2025-01-01 00:00:00 to 2025-11-29 12:00:00"),
        ] {
            let time = time(named(unit, text), "Europe/Stockholm", now).unwrap();
            assert!(time.is_live && time.label().ends_with(" so far"), "{text}");
            let other = compared(&CompareWith::Previous, &time, time.window.to).unwrap().unwrap();
            let zone = other.window.zone;
            let found = format!("{} to {}", shown(other.window.from, zone), shown(other.window.to, zone));
            assert_eq!(
                (other.label.as_str(), found.as_str(), other.is_elapsed_only),
                (label, expected, true)
            );
            assert_eq!(is_as_long(&time.window, &other.window), text != "2026-03", "{text}");
        }
    }

    #[test]
    fn a_year_before_is_the_period_of_the_same_name() {
        use CalendarUnit::{Day, Month, Week, Year};
        for (unit, text, expected) in [
            (Month, "2026-10", "October 2025"),
            (Day, "2028-02-29", "28 February 2027"),
            (Week, "2026-W43", "week 43 of 2025"),
            (Week, "2026-W53", "week 52 of 2025"),
            (Year, "2026", "2025"),
        ] {
            let time = time(named(unit, text), "UTC", "2029-01-01T00:00:00Z").unwrap();
            let other = compared(&CompareWith::Year, &time, i64::MAX).unwrap().unwrap();
            assert_eq!(other.label, expected);
        }
    }

    #[test]
    fn other_times_can_be_compared_with() {
        let month = named(CalendarUnit::Month, "2026-10");
        let time = time(month, "UTC", "2026-11-29T12:00:00Z").unwrap();
        let now = "2026-11-29T12:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp();
        let range = |from: &str, to: &str| {
            compared(&CompareWith::Range(from.to_owned(), to.to_owned()), &time, now)
                .map(|compared| compared.map(|compared| compared.label))
        };
        assert_eq!(range("2026-08-01", "2026-09-01").unwrap().unwrap(), "1 to 31 August 2026");
        assert_eq!(range("2026-08-01", "2026-08-02").unwrap().unwrap(), "1 August 2026");
        assert_eq!(
            range("2026-11-01", "2027-01-01").unwrap().unwrap(),
            "1 Nov 2026, 00:00 to 29 Nov 2026, 12:00"
        );
        for (from, to) in [("2026-09-01", "2026-08-01"), ("2027-01-01", "2027-02-01"), ("x", "2026-08-01")] {
            assert!(matches!(range(from, to), Err(ReportError::Usage(_))), "{from}");
        }
        assert_eq!(compared(&CompareWith::Nothing, &time, now).unwrap(), None);
    }

    /// From midnight to midnight in UTC, once it is over.
    fn from_to(from: &str, to: &str) -> ReportedTime {
        let bounds =
            TimeBounds { from: Some(from.to_owned()), to: Some(to.to_owned()), ..TimeBounds::default() };
        reported_time(&bounds, Duration::from_secs(3600), "2027-11-29T12:00:00Z".parse().unwrap()).unwrap()
    }

    fn second(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp()
    }

    #[test]
    fn days_of_two_months_or_years_name_what_differs() {
        for (from, to, expected) in [
            ("2026-10-26", "2026-11-02", "26 October to 1 November 2026"),
            ("2026-12-31", "2027-01-02", "31 December 2026 to 1 January 2027"),
            ("2026-10-01", "2026-10-03", "1 to 2 October 2026"),
        ] {
            assert_eq!(from_to(from, to).subject(), expected);
        }
    }

    #[test]
    fn one_hour_or_day_has_no_number() {
        for (seconds, before, last_one) in [
            (3600, "hour", "the last hour"),
            (DAY, "day", "the last 24 hours"),
            (2 * DAY, "2 days", "the last 2 days"),
            (DAY + 3600, "25 hours", "the last 25 hours"),
        ] {
            assert_eq!((length(seconds).as_str(), last(seconds).as_str()), (before, last_one));
        }
    }

    /// No sentence says more than was seen, and none names a part that there is not.
    #[test]
    fn only_the_part_that_the_log_covers_is_named() {
        let choice = named(CalendarUnit::Month, "2026-10");
        let month = time(choice, "UTC", "2026-11-29T12:00:00Z").unwrap();
        let of = |time: &ReportedTime, begins: &str| {
            let time = ReportedTime { log_begins: Some(second(begins)), ..time.clone() };
            (time.when(), time.in_short(), time.coverage("the log").unwrap())
        };
        let (when, short, coverage) = of(&month, "2026-10-31T15:03:00Z");
        assert_eq!(when, "in October 2026 from 31 Oct 15:03 on");
        assert_eq!(short, "the month from 31 Oct 15:03 on");
        assert_eq!(coverage, "The log begins at 31 Oct 15:03, and covers only a part of this time.");
        let (when, short, coverage) = of(&month, "2027-11-01T00:00:00Z");
        assert_eq!((when.as_str(), short.as_str()), ("in October 2026", "the month"));
        assert_eq!(coverage, "The log does not reach back to this time: it begins at 1 Nov 2027 00:00.");
        let (when, short, _) = of(&from_to("2026-01-01", "2026-01-22"), "2026-01-03T00:00:00Z");
        assert_eq!(when, "from 3 to 21 January 2026");
        assert_eq!(short, "this time from 3 Jan 00:00 on");
        assert_eq!((month.when(), month.coverage("the log")), ("in October 2026".to_owned(), None));
        assert_eq!(month.covered(), month.window);
    }

    #[test]
    fn a_date_has_its_year_where_the_time_does_not_say_it() {
        let at = second("2026-01-03T08:00:00Z");
        for (from, to, expected) in [
            ("2026-01-01", "2026-02-01", "3 Jan 08:00"),
            ("2026-02-01", "2026-03-01", "3 Jan 08:00"),
            ("2025-12-20", "2026-01-10", "3 Jan 08:00"),
            ("2025-12-01", "2026-01-01", "3 Jan 2026 08:00"),
            ("2025-01-01", "2027-01-01", "3 Jan 2026 08:00"),
        ] {
            assert_eq!(from_to(from, to).minute(at), expected, "{from}");
        }
    }

    #[test]
    fn a_period_in_the_future_is_bad_usage() {
        let of = |unit, text, now| time(named(unit, text), "Europe/Stockholm", now);
        let error = of(CalendarUnit::Month, "2026-12", "2026-11-30T22:59:59Z").unwrap_err();
        assert_eq!(error.to_string(), "--month: December 2026 is in the future");
        assert!(of(CalendarUnit::Month, "2026-12", "2026-11-30T23:00:01Z").is_ok(), "it has begun there");
    }

    #[test]
    fn months_of_unequal_length_are_compared_by_day() {
        let month = |text: &str| {
            time(named(CalendarUnit::Month, text), "UTC", "2026-11-29T12:00:00Z").unwrap().window
        };
        let (september, october) = (month("2026-09"), month("2026-10"));
        let same = change((3100, &october), (3000, &september)).unwrap();
        assert!(same.abs() < 1e-9, "{same}");
        assert_eq!(change((1, &october), (0, &september)), None);
    }
}
