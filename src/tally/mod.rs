//! Pure counting: rows in, label sets with values out.
//!
//! An [`AccountTally`] is plain data that can be counted into, merged, saved and loaded; [`Exhibit`] shows it. A delta
//! is an [`AccountTally`] too: it is counted against the committed one, and merged into it once it is in the ledger.
//!
//! Promises: every row is counted exactly once per family that it belongs to, under `unknown` or `other` where nothing
//! better is known; no family outgrows its limit. It knows no HTTP, no SQL and no clock.

mod account;
pub mod catalogue;
mod count;
mod exhibit;
pub mod exposition;
mod histogram;
mod keys;
pub mod label;
mod limits;
mod products;
mod series;

pub use account::{AccountTally, Sink};
pub use count::Reading;
pub use exhibit::{AccountExhibit, Exhibit};
pub use histogram::{Histogram, MAX_BOUNDS};
pub use limits::{LimitedFamily, Limits};
pub use products::Products;
pub use series::{Key, Series, Value};
