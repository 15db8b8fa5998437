//! What a row of a log must offer to be read and counted, and how its members are found in JSON.
//!
//! A row type names the members that it wants; every other member is skipped over in the bytes and never becomes a value.
//! The types here are those that are counted, and name no personal data; the ones of `report` are its own.

use super::log_kind::LogKind;
use super::{EventRow, ObjectRow, WebApiRow};

/// One row of one of the three logs, as far as its type wants to know it.
pub trait Row: Sized + Send + 'static {
    /// The log that this type is a row of.
    const LOG: LogKind;

    /// A row of which nothing but the id is known.
    fn with_id(id: i64) -> Self;

    /// Where the member called `name` (any letter case) goes; `None` for members that are not used.
    fn slot(name: &str) -> Option<Slot<Self>>;

    /// The row's id, unique in its log.
    fn id(&self) -> i64;

    /// Set by the decoder.
    fn set_id(&mut self, id: i64);

    /// Unix seconds; `None` where the row has no positive time.
    fn time(&self) -> Option<i64>;
}

/// A row that is counted.
pub trait Counted: Row {
    /// The rows of this type as one of the three kinds.
    fn wrap(rows: Vec<Self>) -> Rows;
}

/// The place of one member of a row.
pub enum Slot<R> {
    /// The id, without which a row can't be counted.
    Id,
    /// A whole number; `None` where the member is null, absent or of a wrong type.
    Int(fn(&mut R, Option<i64>)),
    /// A text; `None` likewise.
    Text(fn(&mut R, Option<String>)),
}

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Slot<R> {}

/// The rows of one page, of whichever log.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// Of the Web API Log.
    WebApi(Vec<WebApiRow>),
    /// Of the Events Log.
    Events(Vec<EventRow>),
    /// Of the Object Log.
    Objects(Vec<ObjectRow>),
}

impl Rows {
    /// How many rows these are.
    pub fn len(&self) -> usize {
        match self {
            Rows::WebApi(rows) => rows.len(),
            Rows::Events(rows) => rows.len(),
            Rows::Objects(rows) => rows.len(),
        }
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The log these are rows of.
    pub fn log(&self) -> LogKind {
        match self {
            Rows::WebApi(_) => LogKind::WebApi,
            Rows::Events(_) => LogKind::Events,
            Rows::Objects(_) => LogKind::Objects,
        }
    }
}

/// Finds `name` among `table`: exactly first, which is what the API sends, then in any letter case.
pub(crate) fn find_slot<R>(table: &[(&str, Slot<R>)], name: &str) -> Option<Slot<R>> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .or_else(|| table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)))
        .map(|(_, slot)| *slot)
}

/// A time that can be used: Unix seconds above 0.
pub(crate) fn positive(time: Option<i64>) -> Option<i64> {
    time.filter(|seconds| *seconds > 0)
}
