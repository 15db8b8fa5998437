//! When a label set was born: the moment since which it counts from 0. A birth time is permanent,
//! so the rules here are only ever applied to a label set that is new.
//!
//! - Label sets that are counted in the first poll of their log, or created at 0 when it is
//!   complete, are as old as the origin of the log: the mark of `--since`, or the time of the first
//!   row if the whole log counts.
//! - Later ones are born at the last moment at which the published state is known not to have them:
//!   right before the transaction that creates them, and not after their rows were read. The clock
//!   of this machine and that of the server may differ; the earlier of both is in nobody's future.
//! - A ledger of an earlier version has the time of its origin for all that it holds. If it counted
//!   the whole log, nobody recorded when its first row happened: [`BirthTime::UNKNOWN`].

use crate::cryptolens::{Row, Rows};
use crate::ingest::{LogUpdate, Origin};
use crate::metrics::BirthTime;

/// The instant of an origin, as far as it is known before a row is read.
pub(super) fn of_origin(origin: &Origin) -> Option<BirthTime> {
    (origin.mark > 0).then(|| BirthTime::at_seconds(origin.mark))
}

/// The instant of the origin of a log that counts the whole log, from its first update.
pub(super) fn of_first_update(update: &LogUpdate, now: BirthTime) -> BirthTime {
    let first = match &update.rows {
        Rows::WebApi(rows) => first_time(rows),
        Rows::Events(rows) => first_time(rows),
        Rows::Objects(rows) => first_time(rows),
    };
    #[cfg(test)]
    let first = first.filter(|_| !flaw::is(BirthFlaw::FirstRowWhenRead));
    // A time in the future is a mistake of whoever wrote it.
    let first = first.map(|time| BirthTime::at_seconds(time.min(update.read_at)));
    first.map_or(now, |first| first.min(now))
}

fn first_time<R: Row>(rows: &[R]) -> Option<i64> {
    rows.iter().find_map(Row::time)
}

/// The last moment at which the published state is known not to have the label sets that a
/// transaction creates. It is before the transaction (`now`), and not after their rows were read at
/// `read_at`, in Unix seconds.
pub(super) fn last_moment_without(now: BirthTime, read_at: i64) -> BirthTime {
    #[cfg(test)]
    let read_at = if flaw::is(BirthFlaw::LocalClock) { i64::MAX / 1000 } else { read_at };
    now.min(BirthTime::at_seconds(read_at))
}

/// The birth of label sets of a log that a transaction creates. `origin` is the instant of the
/// origin of the log, `moment` the last one at which the published state did not have them.
pub(super) fn of_new(in_first_poll: bool, origin: Option<BirthTime>, moment: BirthTime) -> BirthTime {
    #[cfg(test)]
    let in_first_poll = match in_first_poll {
        true => !flaw::is(BirthFlaw::FirstPollAtCommit),
        false => flaw::is(BirthFlaw::LaterAtOrigin),
    };
    origin.filter(|_| in_first_poll).unwrap_or(moment)
}

/// Rules that look right and are wrong. For tests only.
#[cfg(test)]
mod flaw;
#[cfg(test)]
mod tests;

#[cfg(test)]
use flaw::BirthFlaw;
