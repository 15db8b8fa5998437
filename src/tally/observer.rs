//! Observers follow the counting, row by row: history counts by minute, usage by day.
//!
//! An observer gets each row once, in the order of counting, with the label sets that counted it:
//! those that are left after the limits were applied. So whatever it counts has the label values of
//! the `_total` families, and adds up to them. [`super::RowCounter`] calls it, and without an
//! observer a row costs nothing more than before.

use crate::cryptolens::{EventRow, LogKind, ObjectRow, WebApiRow};

use super::keys::{EntryKey, EventKey, EventValueKey, ObjectKey, StateKey};
use super::label::ProductLabel;

/// A row whose time lies further in the future than this is filed under the time when it was read,
/// in seconds.
pub const FUTURE_SECONDS: i64 = 10 * 60;

/// The label sets that counted a row of the Web API Log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebApiLabels {
    /// The product, before the limit of label sets.
    pub product: ProductLabel,
    /// Product, method and outcome.
    pub entry: EntryKey,
    /// The same with the state code.
    pub state: StateKey,
}

/// The label sets that counted a row of the Events Log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLabels<'a> {
    /// Product, event and feature.
    pub event: &'a EventKey,
    /// The value above 0, if the event has one, with its label set.
    pub value: Option<(&'a EventValueKey, i64)>,
}

/// Follows the counting of one log. `read_at` is the time when a row was read, by the server's
/// clock, in Unix seconds.
pub trait RowObserver {
    /// A row of the Web API Log was counted.
    fn web_api(&mut self, row: &WebApiRow, labels: &WebApiLabels, read_at: i64);

    /// A row of the Events Log was counted.
    fn event(&mut self, row: &EventRow, labels: &EventLabels<'_>, read_at: i64);

    /// A row of the Object Log was counted.
    fn object(&mut self, row: &ObjectRow, labels: ObjectKey, read_at: i64);

    /// Every row of `log` that happened before `until` (Unix seconds, a whole minute) and is not
    /// late has been counted. `until` never falls.
    fn seal(&mut self, log: LogKind, until: i64);
}

/// The time that a row is filed under: its own, or that of reading if its own lies too far in the
/// future. `None` for a row without a usable time.
pub fn filed_under(time: Option<i64>, read_at: i64) -> Option<i64> {
    let latest = read_at.saturating_add(FUTURE_SECONDS);
    time.map(|time| if time > latest { read_at } else { time })
}
