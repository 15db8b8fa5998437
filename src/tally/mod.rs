//! Pure counting: rows in, label sets with values out.
//!
//! An [`AccountTally`] is what one account has counted, as it is committed. A [`TallyDelta`] is
//! counted against it by [`RowCounter`], and applied to it when it is written to the ledger. The
//! family table in [`families`] says which families there are.
//!
//! A [`RowObserver`] follows the counting, with the label sets that counted each row.
//!
//! Promises: every row is counted exactly once in each family that it belongs to, under `unknown`
//! or `other` where nothing better is known; no family outgrows its limit; the birth time of a
//! label set never changes. It knows no HTTP, no SQL and no clock.

mod account;
mod count;
pub mod families;
mod keys;
pub mod label;
mod limits;
mod observer;
mod products;
mod series;

pub use account::{AccountTally, CountedFamily, PointSink, TallyDelta};
pub use count::RowCounter;
pub use families::{LimitedFamily, Shown};
pub use keys::{EntryKey, EventKey, EventValueKey, ObjectKey, StateKey};
pub use limits::{LimitClass, Limits};
pub use observer::{EventLabels, FUTURE_SECONDS, RowObserver, WebApiLabels, filed_under};
pub use products::Products;
pub use series::{Addition, Series, SeriesDelta, SeriesKey, SeriesValue};
