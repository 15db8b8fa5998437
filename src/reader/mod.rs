//! The one reader of the API's logs, shared by the poller, the reports and the exports.
//!
//! It hands over the pages of a log in the order of their ids: `LogReader` asks for the next page
//! while one is read (`fetch`), checks the order of each (`batch`), asks for smaller pages
//! where a page may be too large (`limit`), and leaves to a `RetryPolicy` whether and when
//! another try is made. While far behind it asks for several pages at the same time (`guesses`), by
//! the policy of `strands`, as many as `allowance` says. `origin` finds the id where a time begins.
//!
//! Promises: the rows of a page are in strict order; a page that could hide rows is an error; a
//! request that was made on a guess never decides anything but how soon an answer is there. The
//! reader knows nothing of what is counted or kept.

mod allowance;
mod batch;
mod clock;
mod fetch;
mod guesses;
mod limit;
mod log_reader;
pub(crate) mod origin;
mod probe;
mod source;
mod strands;

pub(crate) use batch::ReadPage;
pub use batch::{Batch, Direction, Disorder, arrange};
pub use clock::{Exchange, TimestampPair};
pub(crate) use limit::Limit;
pub(crate) use log_reader::{LogReader, Pause, ReadAhead, RetryPolicy};
pub(crate) use probe::LogProbe;
pub(crate) use source::FilteredClient;
pub use source::PageSource;
