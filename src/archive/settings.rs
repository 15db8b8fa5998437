//! Settings of the archive: which logs, where, and how identities are written.

use std::path::PathBuf;
use std::time::Duration;

use crate::ingest::Since;

/// How often and where rows are archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// The directory of the archive.
    pub path: PathBuf,
    /// Where the archive of a log begins.
    pub since: Since,
    /// The time between two runs; 1 minute to 7 days.
    pub interval: Duration,
    /// How long a floor must have been committed before rows up to it are read.
    pub delay: Duration,
    /// How identities are written.
    pub identities: ArchiveIdentities,
    /// The file with the key of the pseudonyms.
    pub key_file: PathBuf,
}

/// How keys, machines and people are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveIdentities {
    /// As pseudonyms.
    Masked,
    /// As they are.
    Full,
    /// Not at all.
    None,
}

impl ArchiveIdentities {
    /// The value of `--archive.identities`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ArchiveIdentities::Masked => "masked",
            ArchiveIdentities::Full => "full",
            ArchiveIdentities::None => "none",
        }
    }
}

/// The runs of a day: at multiples of the interval from midnight on, in UTC. An interval of more
/// than a day counts from 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timetable {
    interval: i64,
}

const DAY_SECONDS: i64 = 86_400;

impl Timetable {
    pub(super) fn new(interval: Duration) -> Timetable {
        Timetable { interval: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1) }
    }

    /// The last run that was due at a time in Unix seconds.
    pub(super) fn last_before(self, now: i64) -> i64 {
        let start = if self.interval > DAY_SECONDS { 0 } else { now.div_euclid(DAY_SECONDS) * DAY_SECONDS };
        start + (now - start).div_euclid(self.interval) * self.interval
    }

    /// The first run after a time in Unix seconds.
    pub(super) fn next_after(self, now: i64) -> i64 {
        let next = self.last_before(now).saturating_add(self.interval);
        if self.interval > DAY_SECONDS {
            return next;
        }
        let midnight = (now.div_euclid(DAY_SECONDS) + 1) * DAY_SECONDS;
        next.min(midnight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_at_multiples_of_the_interval_from_midnight_on() {
        let table = |seconds| Timetable::new(Duration::from_secs(seconds));
        let day = 20_000 * DAY_SECONDS;
        let daily = table(86_400);
        assert_eq!((daily.last_before(day), daily.next_after(day)), (day, day + DAY_SECONDS));
        assert_eq!((daily.last_before(day - 1), daily.next_after(day - 1)), (day - DAY_SECONDS, day));
        // 5 hours: 0, 5, 10, 15 and 20 o'clock.
        let five = table(18_000);
        assert_eq!(
            (five.last_before(day + 80_000), five.next_after(day + 80_000)),
            (day + 72_000, day + DAY_SECONDS)
        );
        assert_eq!(
            (five.last_before(day + 20_000), five.next_after(day + 20_000)),
            (day + 18_000, day + 36_000)
        );
        let weekly = table(7 * 86_400);
        let next = weekly.next_after(day);
        assert_eq!(next % (7 * DAY_SECONDS), 0);
        assert_eq!(weekly.last_before(next - 1), next - 7 * DAY_SECONDS);
        for seconds in [60, 3600, 7000, 86_400, 500_000] {
            for now in (day..day + 3 * DAY_SECONDS).step_by(997) {
                let (last, next) = (table(seconds).last_before(now), table(seconds).next_after(now));
                assert!(last <= now && now < next && next - last <= i64::try_from(seconds).unwrap());
            }
        }
    }
}
