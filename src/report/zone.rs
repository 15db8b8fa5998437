//! Time zones: the system's data first, then those that are compiled in.
//!
//! Governments change their clocks at a few months' notice, and a system gets its zone files
//! updated; a binary does not. A zone is looked for in the files of the system (`TZDIR`, then the
//! usual directories), and only where these do not have it in the table of this build. Names are
//! those of the IANA database, in any letter case.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

/// A time zone. A process reads one or two from its command line and keeps them, so that copies are
/// cheap.
#[derive(Clone, Copy, Default)]
pub struct Zone(Option<&'static Named>);

struct Named {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Zone = Zone(None);

    /// A moment with the offset that the zone has then. Times that no calendar holds count as the
    /// earliest that it does.
    pub(super) fn at(self, time: i64) -> DateTime<FixedOffset> {
        let utc = DateTime::from_timestamp(time, 0).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let offset = self.0.and_then(|named| {
            let seconds = named.zone.to_offset(Timestamp::from_second(time).ok()?).seconds();
            FixedOffset::east_opt(seconds)
        });
        match offset {
            // At both ends of the calendar there is no room for an offset.
            Some(offset) if utc.naive_utc().checked_add_offset(offset).is_some() => {
                utc.with_timezone(&offset)
            }
            _ => utc.fixed_offset(),
        }
    }

    /// The moment of a local time in Unix seconds. Of a time that clocks show twice, the first is
    /// meant; instead of one that they skip, the first moment after it.
    pub(super) fn moment(self, local: NaiveDateTime) -> Option<i64> {
        // A whole day was skipped once: Pacific/Apia, 30 December 2011.
        (0..=100).find_map(|quarters| self.shown_at(local + TimeDelta::minutes(15 * quarters)))
    }

    /// The first moment at which clocks show a local time, if they do.
    fn shown_at(self, local: NaiveDateTime) -> Option<i64> {
        let Some(named) = self.0 else { return Some(local.and_utc().timestamp()) };
        let small = |number: u32| i8::try_from(number).ok();
        let civil = civil::DateTime::new(
            i16::try_from(local.year()).ok()?,
            small(local.month())?,
            small(local.day())?,
            small(local.hour())?,
            small(local.minute())?,
            small(local.second())?,
            0,
        );
        let offset = match named.zone.to_ambiguous_timestamp(civil.ok()?).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset,
            AmbiguousOffset::Gap { .. } => return None,
        };
        Some(local.and_utc().timestamp() - i64::from(offset.seconds()))
    }
}

impl FromStr for Zone {
    type Err = jiff::Error;

    fn from_str(name: &str) -> Result<Zone, jiff::Error> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Zone::UTC);
        }
        let zone = jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name))?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Zone(Some(Box::leak(Box::new(Named { name, zone })))))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("UTC", |named| &named.name))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.0.map(|named| &named.name) == other.0.map(|named| &named.name)
    }
}

impl Eq for Zone {}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: &str, local: &str) -> Option<String> {
        let zone: Zone = zone.parse().unwrap();
        let moment = zone.moment(local.parse().unwrap())?;
        Some(zone.at(moment).to_rfc3339())
    }

    #[test]
    fn names_are_found_in_any_case_and_shown_as_the_database_writes_them() {
        for (typed, shown) in
            [("utc", "UTC"), ("europe/stockholm", "Europe/Stockholm"), ("Asia/Kathmandu", "Asia/Kathmandu")]
        {
            assert_eq!(typed.parse::<Zone>().unwrap().to_string(), shown);
        }
        for wrong in ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "EST5EDT,M3.2.0"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn skipped_and_doubled_times_have_a_moment() {
        for (zone, local, expected) in [
            ("Europe/Stockholm", "2026-03-29T02:30:00", "2026-03-29T03:00:00+02:00"),
            ("Europe/Stockholm", "2025-10-26T02:30:00", "2025-10-26T02:30:00+02:00"),
            ("Australia/Lord_Howe", "2025-10-05T02:15:00", "2025-10-05T02:30:00+11:00"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-31T00:00:00+14:00"),
            ("Asia/Kathmandu", "2026-01-01T00:00:00", "2026-01-01T00:00:00+05:45"),
            ("UTC", "2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(moment(zone, local).as_deref(), Some(expected), "{zone} {local}");
        }
    }

    /// British Columbia stays on summer time from 2026 on; a table of 2025 is an hour off in
    /// November.
    #[test]
    fn the_compiled_in_table_knows_that_vancouver_keeps_summer_time() {
        let zone = TimeZoneDatabase::bundled().get("America/Vancouver").unwrap();
        let november = Timestamp::from_second(1_795_000_000).unwrap();
        assert_eq!(zone.to_offset(november).seconds(), -7 * 3600);
    }

    #[test]
    fn times_that_no_calendar_holds_are_shown_all_the_same() {
        let zone: Zone = "Pacific/Apia".parse().unwrap();
        for time in [i64::MIN, i64::MAX, -1, 0, 253_402_300_799, 8_210_266_876_799] {
            let _ = zone.at(time).to_rfc3339();
        }
    }
}
