//! Reading the logs: which page to ask for, what of it is new, when to ask again.
//!
//! Promises: exactly once, as far as a cursor can promise it (see [`pass`]); one place retries; a position goes on only
//! from what the ledger has kept. It knows the ledger only as a [`Book`], and nothing of how rows are counted.

mod arrange;
mod asking;
mod book;
mod origin;
mod pace;
pub mod pass;
mod poller;
mod position;
mod products;
mod record;
mod source;
mod status;

pub use arrange::{Arranged, arrange};
pub use book::{Book, BookError, Commit, LogId};
pub use pass::{Memory, Moment, Pass, Step};
pub use poller::{Poller, PollerSettings, Stopped};
pub use position::{NEVER, Position};
pub use products::follow_products;
pub use record::{Notes, Opened, Origin, Record};
pub use source::Source;
pub use status::{ApiStatus, Durations, EndpointView, LogStatus, LogView, REQUEST_BOUNDS, Trouble};
