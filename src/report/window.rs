//! Which time a report covers, and in which time zone it is cut into days and hours.
//!
//! A window holds its first second and not its last. It knows no clock: now is handed in.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use serde::Serialize;

use super::error::ReportError;
use super::options::TimeBounds;
use super::zone::Zone;

/// The length of `2026-01-31T08:00`.
const MINUTE_LENGTH: usize = 16;

/// From `from` to `to`, `to` not included; both in Unix seconds, and `from` is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) zone: Zone,
}

/// A window as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownWindow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) seconds: i64,
    pub(super) timezone: String,
}

impl Window {
    /// The window that was asked for: `length` back from `--to`, or from `--from` on.
    pub(super) fn new(
        bounds: &TimeBounds,
        length: Duration,
        now: DateTime<Utc>,
    ) -> Result<Window, ReportError> {
        let zone = bounds.timezone;
        if let Some(choice) = bounds.calendar {
            let period = choice.period(zone, now.timestamp());
            let whole = period.and_then(|period| period.bounds(zone));
            let (from, to) = whole.ok_or_else(|| {
                ReportError::Usage(format!("there is no such period of the calendar in {zone}"))
            })?;
            return Ok(Window { from, to, zone });
        }
        let to = bounds.to.as_deref().map(|text| moment("--to", text, zone)).transpose()?;
        let to = to.unwrap_or(now.timestamp());
        let from = match bounds.from.as_deref() {
            Some(text) => moment("--from", text, zone)?,
            None => to.saturating_sub(i64::try_from(length.as_secs()).unwrap_or(i64::MAX)),
        };
        if from >= to {
            return Err(ReportError::Usage(format!(
                "the time to report on is empty: it begins at {} and ends at {}",
                shown(from, zone),
                shown(to, zone)
            )));
        }
        Ok(Window { from, to, zone })
    }

    /// The window that was asked for, as far as it has passed: one that is not over ends now, and
    /// one that has not begun is bad usage.
    pub(super) fn passed(
        bounds: &TimeBounds,
        length: Duration,
        now: DateTime<Utc>,
    ) -> Result<Window, ReportError> {
        let window = Window::new(bounds, length, now)?;
        let now = now.timestamp();
        let period = bounds.calendar.and_then(|choice| choice.period(window.zone, now));
        if let Some(period) = period.filter(|period| period.is_future(window.zone, now)) {
            let (flag, label) = (period.flag_name(), period.label());
            return Err(ReportError::Usage(format!("{flag}: {label} is in the future")));
        }
        if window.from >= now {
            return Err(ReportError::Usage("the time to report on is in the future".to_owned()));
        }
        Ok(Window { to: window.to.min(now), ..window })
    }

    /// True if it is not over at this moment.
    pub(super) const fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.to >= now.timestamp()
    }

    pub(super) const fn contains(&self, time: i64) -> bool {
        self.from <= time && time < self.to
    }

    /// The day of the last second.
    pub(super) fn last_day(&self) -> NaiveDate {
        local(self.to - 1, self.zone).date()
    }

    /// True if it is of one day, or a part of one.
    pub(super) fn is_within_a_day(&self) -> bool {
        local(self.from, self.zone).date() == self.last_day()
    }

    /// True if it is one day or several, from midnight to midnight.
    pub(super) fn is_of_days(&self) -> bool {
        [self.from, self.to].into_iter().all(|at| is_midnight(local(at, self.zone)))
    }

    /// The window of the same length that ends where this one begins.
    pub(super) const fn before(&self) -> Window {
        Window { from: self.from.saturating_sub(self.seconds()), to: self.from, zone: self.zone }
    }

    pub(super) const fn seconds(&self) -> i64 {
        self.to.saturating_sub(self.from)
    }

    pub(super) fn shown(&self) -> ShownWindow {
        ShownWindow {
            from: rfc3339(self.from, self.zone),
            to: rfc3339(self.to, self.zone),
            seconds: self.seconds(),
            timezone: self.zone.to_string(),
        }
    }

    /// The days that the window touches.
    pub(super) fn days(&self) -> impl Iterator<Item = NaiveDate> {
        let first = local(self.from, self.zone).date();
        let last = local(self.to - 1, self.zone).date();
        first.iter_days().take_while(move |day| *day <= last)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (shown(self.from, self.zone), shown(self.to, self.zone));
        let length = Duration::from_secs(self.seconds().unsigned_abs());
        write!(f, "{from} to {to} {}, {}", self.zone, span(length))
    }
}

/// Days and smaller units only, because a month has no fixed length.
pub(super) fn span(length: Duration) -> String {
    let days = length.as_secs() / 86_400;
    let rest = humantime::format_duration(Duration::from_secs(length.as_secs() % 86_400)).to_string();
    let unit = if days == 1 { "day" } else { "days" };
    match (days, length.as_secs() % 86_400) {
        (0, _) => rest,
        (_, 0) => format!("{days} {unit}"),
        _ => format!("{days} {unit} {rest}"),
    }
}

/// The local date and time of a moment. Times that no calendar holds count as the earliest that it does.
pub(super) fn local(time: i64, zone: Zone) -> NaiveDateTime {
    zone.at(time).naive_local()
}

/// As `2026-01-31 08:00:00`.
pub(super) fn shown(time: i64, zone: Zone) -> String {
    local(time, zone).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// As `2026-01-31T08:00:00+01:00`, or `Z` in UTC.
pub(super) fn rfc3339(time: i64, zone: Zone) -> String {
    zone.at(time).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// True if `--from` and `--to` take the text in this time zone.
#[must_use]
pub fn is_moment(text: &str, zone: Zone) -> bool {
    moment("", text, zone).is_ok()
}

pub(super) fn is_midnight(time: NaiveDateTime) -> bool {
    time.num_seconds_from_midnight() == 0
}

/// A moment as a flag gives it.
pub(super) fn moment(flag: &str, text: &str, zone: Zone) -> Result<i64, ReportError> {
    let text = text.trim();
    // RFC 3339 wants seconds, which people leave out: they stand before the zone.
    let zone_at = text.get(MINUTE_LENGTH..).filter(|zone| zone.starts_with(['Z', 'z', '+', '-']));
    let whole = match (text.get(..MINUTE_LENGTH), zone_at) {
        (Some(minute), Some(zone)) => Cow::Owned(format!("{minute}:00{zone}")),
        _ => Cow::Borrowed(text),
    };
    if let Ok(time) = DateTime::parse_from_rfc3339(&whole) {
        return Ok(time.timestamp());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let time = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let Some(naive) = date.or(time) else {
        return Err(ReportError::Usage(format!(
            "{flag}: found {text:?}, expected a date such as 2026-01-31 or a time such as 2026-01-31T08:00"
        )));
    };
    zone.moment(naive).ok_or_else(|| ReportError::Usage(format!("{flag}: there is no {text} in {zone}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str, zone: &str) -> Result<Window, ReportError> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let bounds = TimeBounds {
            from: text(from),
            to: text(to),
            timezone: zone.parse().unwrap(),
            ..TimeBounds::default()
        };
        Window::new(&bounds, Duration::from_secs(3600), "2026-03-29T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn times_are_read_in_the_zone_unless_they_have_their_own() {
        for (from, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00+01:00"),
            ("2026-01-31T08:00", "2026-01-31T08:00:00+01:00"),
            ("2026-01-31T08:00:00Z", "2026-01-31T09:00:00+01:00"),
            ("2026-01-31T08:00Z", "2026-01-31T09:00:00+01:00"),
            ("2026-01-31T08:00-05:00", "2026-01-31T14:00:00+01:00"),
            ("2026-01-31T08:00:30.5Z", "2026-01-31T09:00:30+01:00"),
            // Skipped by the clock that goes forward.
            ("2026-03-29T02:30", "2026-03-29T03:00:00+02:00"),
            // Twice; the first is meant.
            ("2025-10-26T02:30", "2025-10-26T02:30:00+02:00"),
        ] {
            assert_eq!(window(from, "", "Europe/Stockholm").unwrap().shown().from, expected, "{from}");
        }
        for odd in ["yesterday", "2026-01-31T08Z", "2026-01-31T08:0Z", "2026-01-31Z", "2026-01-31T08:00X"] {
            assert!(matches!(window(odd, "", "UTC"), Err(ReportError::Usage(_))), "{odd}");
        }
        assert!(matches!(window("2026-02-01", "2026-02-01", "UTC"), Err(ReportError::Usage(_))));
    }

    #[test]
    fn a_window_counts_back_from_its_end() {
        let window = window("", "2026-01-31", "UTC").unwrap();
        assert_eq!(window.to_string(), "2026-01-30 23:00:00 to 2026-01-31 00:00:00 UTC, 1h");
        assert_eq!(window.before().to, window.from);
        assert_eq!(window.before().seconds(), 3600);
        assert!(window.contains(window.from) && !window.contains(window.to));
    }

    #[test]
    fn a_window_that_is_not_over_ends_now() {
        let now: DateTime<Utc> = "2026-01-31T12:00:00Z".parse().unwrap();
        let passed = |from: &str, to: &str| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let bounds = TimeBounds { from: text(from), to: text(to), ..TimeBounds::default() };
            Window::passed(&bounds, Duration::from_secs(3600), now)
        };
        for (to, end, is_live) in [
            ("", "2026-01-31T12:00:00Z", true),
            ("2026-02-01", "2026-01-31T12:00:00Z", true),
            ("2026-01-31T12:00", "2026-01-31T12:00:00Z", true),
            ("2026-01-31T11:59:59", "2026-01-31T11:59:59Z", false),
        ] {
            let window = passed("2026-01-31", to).unwrap();
            assert_eq!((window.shown().to.as_str(), window.is_live(now)), (end, is_live), "{to}");
        }
        assert!(matches!(passed("2026-01-31T12:00", "2026-02-01"), Err(ReportError::Usage(_))));
        assert!(matches!(passed("", "2026-02-01"), Err(ReportError::Usage(_))), "an hour before its end");
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let days =
            |zone| window("2026-01-31T22:00:00Z", "2026-02-01T00:00:00Z", zone).unwrap().days().count();
        assert_eq!(days("UTC"), 1);
        assert_eq!(days("Europe/Stockholm"), 2);
    }

    #[test]
    fn spans_are_in_days() {
        assert_eq!(span(Duration::from_secs(30 * 86_400)), "30 days");
        assert_eq!(span(Duration::from_secs(86_400 + 3600)), "1 day 1h");
        assert_eq!(span(Duration::from_secs(90)), "1m 30s");
    }
}
