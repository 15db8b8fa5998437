//! What a pass hands over to be written down: the rows of one page to count, and how the position moves with them.

use crate::cryptolens::Rows;

use super::position::Position;

/// What was noticed in a page beside the rows that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageStatistics {
    /// Rows without an id.
    pub no_id: u64,
    /// Rows at or below the floor.
    pub below_floor: u64,
    /// Ids met before in the same pass.
    pub duplicate: u64,
    /// Counted rows below the cursor that the pass began with.
    pub late: u64,
}

/// One step of a log: all of it is written in one transaction, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows to count; each id is new.
    pub rows: Rows,
    /// Local time when they were read, in Unix seconds.
    pub read_at: i64,
    /// To be counted with them.
    pub statistics: PageStatistics,
    /// The floor from now on.
    pub floor: i64,
    /// The cursor from now on.
    pub cursor: i64,
    /// The running maximum of event time at the cursor, in Unix seconds.
    pub watermark: i64,
    /// Ids of `rows`, ascending: those above the floor belong to the seen ids.
    pub counted: Vec<i64>,
    /// Time of the newest of `rows`, as far as it is not in the future, in Unix seconds.
    pub newest_entry: Option<i64>,
    /// Set by the last step of a complete pass: when that was, in Unix seconds.
    pub poll_end: Option<i64>,
    /// True if the next step is likely to follow at once, so that both may share a transaction.
    pub more_follows: bool,
}

/// A log as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// Where reading stands.
    pub position: Position,
    /// What `--since` meant when counting began.
    pub origin: Origin,
    /// Whether any pass was ever complete.
    pub first_poll_complete: bool,
    /// End of the last complete pass that was written down, in Unix seconds.
    pub last_poll: Option<i64>,
    /// To be given back with every [`Batch`]; see [`super::CheckpointStore::submit`].
    pub epoch: u64,
}

/// Where counting of a log begins; written down before the first row is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Rows at or below this id never count.
    pub id: i64,
    /// The time that counting begins at, in Unix seconds; 0 for the whole log.
    pub mark: i64,
    /// `--since` as it was given.
    pub since: String,
}
