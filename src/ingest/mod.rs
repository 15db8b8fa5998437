//! Polls the logs: decides which page to ask for, which of its rows are new, and when to ask again.
//!
//! Promises: each row is counted exactly once, as far as a cursor can promise it (see [`poll`]); a
//! position continues only from what the ledger has kept. Pages come from [`crate::reader`], which
//! also makes all further tries. This module knows the ledger only as a [`CheckpointStore`], and
//! does not know how rows are counted.

mod checkpoint;
mod earlier_rows;
mod finality;
#[cfg(test)]
pub(crate) mod flaw;
mod follow_seats;
pub mod poll;
mod poller;
mod position;
mod products;
mod requester;
mod seats;
mod seen;
mod since;
mod source;
mod status;
mod update;

pub use checkpoint::{CheckpointError, CheckpointStore, LogId, PendingCommit};
pub use earlier_rows::{EarlierRows, WantedRows, read_earlier_rows};
pub use follow_seats::{SeatsSettings, follow_seats};
pub use poll::{Poll, PollStep, SessionState};
pub use poller::{Poller, PollerSettings, Stopped, follow_log};
pub use position::{NEVER, Position};
pub use products::follow_products;
pub use seats::{NamedLicense, SeatKeeper};
pub use seen::{DamagedChunk, SeenChunk, SeenIds};
pub use since::Since;
pub use source::Source;
pub use status::{ApiStatus, EndpointView, LastError, LogStatus, LogView, REQUEST_BOUNDS, SeenFailure};
pub use update::{LogCheckpoint, LogUpdate, Origin, PageStatistics, RowsWithoutId};
