//! The updates that a poll hands over to be kept: the rows of one page to count, and the new
//! position.

use std::collections::BTreeMap;

use crate::cryptolens::{Outcome, Rows, state_code};

use super::position::Position;
use super::status::SeenFailure;

/// The numbers of a page beside the rows that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageStatistics {
    /// Rows without an id.
    pub no_id: u64,
    /// Rows that were not asked for and are not above the floor.
    pub below_floor: u64,
    /// Rows given up because an answer that holds them is larger than the body cap.
    pub too_large: u64,
    /// Ids met before in the same poll.
    pub duplicate: u64,
    /// Counted rows below the cursor that the poll began with.
    pub late: u64,
}

/// Rows without a readable id, by the id of the row before each. They cannot be distinguished, so a
/// number that does not grow is taken for the same rows read again.
pub type RowsWithoutId = BTreeMap<i64, u64>;

/// One step of a log: all of it is written in one transaction, or nothing of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogUpdate {
    /// Rows to count; each id is new.
    pub rows: Rows,
    /// Time when they were read, by the server's clock, in Unix seconds.
    pub read_at: i64,
    /// The numbers to be counted with them.
    pub statistics: PageStatistics,
    /// The floor from now on.
    pub floor: i64,
    /// The cursor from now on.
    pub cursor: i64,
    /// The watermark from now on, in Unix seconds.
    pub watermark: i64,
    /// Ids of `rows`, ascending.
    pub counted: Vec<i64>,
    /// All rows without an id that lie above the floor; `None` if they are the same as before.
    pub without_id: Option<RowsWithoutId>,
    /// Time of the newest of `rows`, as far as it is not in the future, in Unix seconds.
    pub newest_entry: Option<i64>,
    /// The end of the poll in Unix seconds, if this is the last step of a complete poll.
    pub poll_end: Option<i64>,
    /// Minutes that start before this time (Unix seconds, a whole minute) are read, with these
    /// rows; `None` if that is no later than it was, or if nobody wants to know.
    pub seal_until: Option<i64>,
    /// True if the next step is likely to follow at once, so that both may share a transaction.
    pub more_follows: bool,
}

impl LogUpdate {
    /// The failure with the highest id among the rows, if they are requests and its time is known
    /// and not in the future. A request that found no free seat is none here: it has a report of its
    /// own.
    pub fn newest_failure(&self) -> Option<SeenFailure> {
        let Rows::WebApi(rows) = &self.rows else { return None };
        rows.iter().rev().find_map(|row| {
            let time = row.time.filter(|time| *time <= self.read_at)?;
            let (_, outcome) = state_code::classify(row.state);
            let product = Some(row.product_id).filter(|id| *id > 0);
            let is_meant = outcome == Outcome::Failure && row.state != Some(state_code::NO_FREE_SEAT);
            is_meant.then_some(SeenFailure { time, product })
        })
    }
}

/// A log as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// Where reading stands.
    pub position: Position,
    /// The beginning of counting, by `--since`.
    pub origin: Origin,
    /// Rows without an id that were counted as skipped, above the floor.
    pub without_id: RowsWithoutId,
    /// Whether any poll was ever complete.
    pub first_poll_complete: bool,
    /// The end of the last complete poll that was stored, in Unix seconds.
    pub last_poll: Option<i64>,
    /// Minutes that start before this time (Unix seconds) are sealed, [`super::NEVER`] if none is
    /// yet; `None` if no minute is to be sealed.
    pub sealed_until: Option<i64>,
    /// Must be given back with every [`LogUpdate`]; see [`super::CheckpointStore::submit`].
    pub epoch: u64,
}

/// Where counting of a log begins; stored before the first row is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Rows at or below this id never count.
    pub id: i64,
    /// The time that counting begins at, in Unix seconds; 0 for the whole log.
    pub mark: i64,
    /// `--since` as it was given.
    pub since: String,
}
