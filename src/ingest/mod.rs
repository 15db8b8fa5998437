//! Reading the logs: which page to ask for, what of it is new, when to ask again.
//!
//! Promises: exactly once, as far as a cursor can promise it (see [`poll`]); one place retries; a position goes on only
//! from what the ledger has kept. It knows the ledger only as a [`CheckpointStore`], and nothing of how rows are counted.

mod arrange;
mod batch;
mod checkpoint;
mod finality;
#[cfg(test)]
pub(crate) mod flaw;
mod limit;
pub(crate) mod origin;
pub mod poll;
mod poller;
mod position;
mod probe;
mod products;
mod requester;
mod seen;
mod server_clock;
mod source;
mod status;

pub use arrange::{Arranged, arrange};
pub use batch::{Batch, LogCheckpoint, Origin, PageStatistics, RowsWithoutId};
pub use checkpoint::{CheckpointError, CheckpointStore, LogId, PendingCommit};
pub use poll::{Exchange, Poll, PollStep, SessionState, TimestampPair};
pub use poller::{Poller, PollerSettings, Stopped, follow_log};
pub use position::{NEVER, Position};
pub use products::follow_products;
pub use seen::{DamagedChunk, SeenChunk, SeenIds};
pub use source::Source;
pub use status::{ApiStatus, EndpointView, LastError, LogStatus, LogView, REQUEST_BOUNDS};
