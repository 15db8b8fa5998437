//! Periods of the calendar: a day, a week (from Monday, as ISO 8601 counts them), a month or a year.
//!
//! They are dates first, which only a time zone gives moments. Promises: a period is what clocks of
//! the zone show, with a day of 23 or 25 hours where they are set; a text means one period or none.
//! It knows no clock: now is handed in.

use chrono::{Datelike as _, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::zone::Zone;

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first day to the last one.
    Month,
    /// From January to December.
    Year,
}

impl CalendarUnit {
    /// The name, which is that of its flag.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// A day, week, month or year by its dates, in no zone yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarPeriod {
    unit: CalendarUnit,
    first: NaiveDate,
    /// The day after the last one.
    next: NaiveDate,
}

/// A period as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarChoice {
    /// The last complete one.
    Last(CalendarUnit),
    /// This one.
    Named(CalendarPeriod),
}

impl CalendarChoice {
    /// Reads `last`, `2026-10-06`, `2026-W43`, `2026-10` or `2026`; `None` for what is no such unit.
    #[must_use]
    pub fn parse(unit: CalendarUnit, text: &str) -> Option<CalendarChoice> {
        match text.trim() {
            "last" => Some(CalendarChoice::Last(unit)),
            text => CalendarPeriod::parse(unit, text).map(CalendarChoice::Named),
        }
    }

    /// The period that is meant at this moment.
    pub(super) fn period(self, zone: Zone, now: i64) -> Option<CalendarPeriod> {
        match self {
            CalendarChoice::Named(period) => Some(period),
            CalendarChoice::Last(unit) => CalendarPeriod::around(unit, zone.at(now).date_naive())?.before(),
        }
    }
}

impl CalendarPeriod {
    /// The period that a day belongs to; `None` at the ends of the calendar.
    fn around(unit: CalendarUnit, day: NaiveDate) -> Option<CalendarPeriod> {
        let (first, next) = match unit {
            CalendarUnit::Day => (day, day.succ_opt()?),
            CalendarUnit::Week => {
                let passed = u64::from(day.weekday().num_days_from_monday());
                let first = day.checked_sub_days(Days::new(passed))?;
                (first, first.checked_add_days(Days::new(7))?)
            }
            CalendarUnit::Month => {
                let first = day.with_day(1)?;
                (first, first.checked_add_months(Months::new(1))?)
            }
            CalendarUnit::Year => {
                let first = NaiveDate::from_ymd_opt(day.year(), 1, 1)?;
                (first, first.checked_add_months(Months::new(12))?)
            }
        };
        Some(CalendarPeriod { unit, first, next })
    }

    fn parse(unit: CalendarUnit, text: &str) -> Option<CalendarPeriod> {
        let number = |text: &str, digits: usize| -> Option<u32> {
            let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { text.parse().ok() } else { None }
        };
        let year = |text: &str| i32::try_from(number(text, 4)?).ok().filter(|year| *year > 0);
        let day = match unit {
            CalendarUnit::Year => NaiveDate::from_ymd_opt(year(text)?, 1, 1),
            CalendarUnit::Month => {
                let (of_year, month) = text.split_once('-')?;
                NaiveDate::from_ymd_opt(year(of_year)?, number(month, 2)?, 1)
            }
            CalendarUnit::Week => {
                let (of_year, week) = text.split_once("-W")?;
                NaiveDate::from_isoywd_opt(year(of_year)?, number(week, 2)?, Weekday::Mon)
            }
            CalendarUnit::Day => {
                let (of_year, rest) = text.split_once('-')?;
                let (month, day) = rest.split_once('-')?;
                NaiveDate::from_ymd_opt(year(of_year)?, number(month, 2)?, number(day, 2)?)
            }
        };
        CalendarPeriod::around(unit, day?)
    }

    /// The period that ends where this one begins.
    pub(super) fn before(self) -> Option<CalendarPeriod> {
        CalendarPeriod::around(self.unit, self.first.pred_opt()?)
    }

    /// The same period of the year before: of the same name, or the last one where that year has
    /// none, which concerns 29 February and week 53.
    pub(super) fn year_before(self) -> Option<CalendarPeriod> {
        let day = match self.unit {
            CalendarUnit::Week => {
                let week = self.first.iso_week();
                let year = week.year().checked_sub(1)?;
                NaiveDate::from_isoywd_opt(year, week.week(), Weekday::Mon)
                    .or_else(|| NaiveDate::from_isoywd_opt(year, 52, Weekday::Mon))?
            }
            CalendarUnit::Day | CalendarUnit::Month | CalendarUnit::Year => {
                self.first.checked_sub_months(Months::new(12))?
            }
        };
        CalendarPeriod::around(self.unit, day)
    }

    /// The moment at which it begins and the one at which it ends, whether it is over or not; `None`
    /// for a day that the zone skipped.
    pub(super) fn bounds(self, zone: Zone) -> Option<(i64, i64)> {
        let midnight = |day: NaiveDate| zone.moment(day.and_time(NaiveTime::MIN));
        midnight(self.first).zip(midnight(self.next)).filter(|(from, to)| from < to)
    }

    /// The first moment by the clock on the wall.
    pub(super) fn first_midnight(self) -> NaiveDateTime {
        self.first.and_time(NaiveTime::MIN)
    }

    /// True if its first day is still to come.
    pub(super) fn is_future(self, zone: Zone, now: i64) -> bool {
        zone.at(now).naive_local() < self.first_midnight()
    }

    /// The name of the flag that asks for it.
    pub(super) fn flag_name(self) -> String {
        format!("--{}", self.unit.name())
    }

    /// As `October 2026`, `week 43 of 2026`, `6 October 2026`, `2026`.
    pub(super) fn label(self) -> String {
        match self.unit {
            CalendarUnit::Day => self.first.format("%-d %B %Y").to_string(),
            CalendarUnit::Week => {
                let week = self.first.iso_week();
                format!("week {} of {}", week.week(), week.year())
            }
            CalendarUnit::Month => self.first.format("%B %Y").to_string(),
            CalendarUnit::Year => self.first.format("%Y").to_string(),
        }
    }

    /// As `in October 2026`, `on 6 October 2026`.
    pub(super) fn when(self) -> String {
        let preposition = if self.unit == CalendarUnit::Day { "on" } else { "in" };
        format!("{preposition} {}", self.label())
    }

    /// As `--month=2026-10`.
    pub(super) fn flag(self) -> String {
        let form = match self.unit {
            CalendarUnit::Day => "%Y-%m-%d",
            CalendarUnit::Week => "%G-W%V",
            CalendarUnit::Month => "%Y-%m",
            CalendarUnit::Year => "%Y",
        };
        format!("{}={}", self.flag_name(), self.first.format(form))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(unit: CalendarUnit, text: &str) -> CalendarPeriod {
        CalendarPeriod::parse(unit, text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn periods_are_read_named_and_written_again() {
        use CalendarUnit::{Day, Month, Week, Year};
        for (unit, text, label, first, next) in [
            (Month, "2026-10", "October 2026", "2026-10-01", "2026-11-01"),
            (Month, "2026-12", "December 2026", "2026-12-01", "2027-01-01"),
            (Week, "2026-W43", "week 43 of 2026", "2026-10-19", "2026-10-26"),
            (Week, "2026-W01", "week 1 of 2026", "2025-12-29", "2026-01-05"),
            (Week, "2026-W53", "week 53 of 2026", "2026-12-28", "2027-01-04"),
            (Day, "2028-02-29", "29 February 2028", "2028-02-29", "2028-03-01"),
            (Year, "2026", "2026", "2026-01-01", "2027-01-01"),
        ] {
            let period = named(unit, text);
            let dates = (period.first.to_string(), period.next.to_string());
            assert_eq!((period.label().as_str(), dates.0.as_str(), dates.1.as_str()), (label, first, next));
            assert_eq!(period.flag(), format!("--{}={text}", unit.name()));
        }
        for (unit, text) in [
            (Month, "2026-13"),
            (Month, "2026-1"),
            (Month, "October"),
            (Month, "0000-01"),
            (Week, "2025-W53"),
            (Week, "2026-43"),
            (Day, "2026-02-29"),
            (Day, "2026-10"),
            (Year, "26"),
            (Year, "+2026"),
            (Year, ""),
        ] {
            assert_eq!(CalendarChoice::parse(unit, text), None, "{text}");
        }
    }

    proptest! {
        /// Every day of a zone belongs to one period of each unit, and periods follow each other.
        #[test]
        fn periods_follow_each_other(day in 0_i64..40_000, unit in 0_usize..4) {
            let unit = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year][unit];
            let day = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::TimeDelta::days(day);
            let period = CalendarPeriod::around(unit, day).unwrap();
            prop_assert!(period.first <= day && day < period.next);
            prop_assert_eq!(period.before().unwrap().next, period.first);
            let text = period.flag();
            let text = text.split_once('=').unwrap().1;
            prop_assert_eq!(CalendarPeriod::parse(unit, text), Some(period));
            prop_assert!(period.year_before().unwrap().next <= period.first);
        }
    }
}
