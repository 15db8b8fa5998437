//! The table of columns of each log: name, type, and the value of a row.
//!
//! A table is part of the contract with the readers of old files: columns are only ever appended.

use super::rows::{ArchivedEvent, ArchivedObject, ArchivedRequest};
use crate::cryptolens::row::OtherMembers;
use crate::cryptolens::{Row, state_code};

/// A row that can be written to a file.
pub(crate) trait ArchivedRow: Row {
    /// The name of the table, which is that of the log's directory and of the schema.
    const TABLE: &'static str;

    /// The columns in their order; the first one is the id.
    const COLUMNS: &'static [ArchivedColumn<Self>];

    /// The value of the column `extra`: a JSON object of the members that have no column.
    fn extra(&self) -> Option<String>;
}

/// One column of the rows of type `R`.
pub(crate) struct ArchivedColumn<R: 'static> {
    pub(super) name: &'static str,
    pub(super) value: ColumnValue<R>,
}

/// The type of a column, and where its values come from.
pub(super) enum ColumnValue<R: 'static> {
    /// The id of the row. The only column that is never null.
    Id,
    /// A whole number of 64 bits.
    Integer(fn(&R) -> Option<i64>),
    /// A time in Unix seconds, which is written as microseconds in UTC.
    Time(fn(&R) -> Option<i64>),
    /// A text in UTF-8.
    Text(fn(&R) -> Option<&str>),
    /// The members that have no column, as JSON.
    Extra,
}

const fn id<R>() -> ArchivedColumn<R> {
    ArchivedColumn { name: "id", value: ColumnValue::Id }
}

const fn integer<R>(name: &'static str, value: fn(&R) -> Option<i64>) -> ArchivedColumn<R> {
    ArchivedColumn { name, value: ColumnValue::Integer(value) }
}

const fn time<R>(name: &'static str, value: fn(&R) -> Option<i64>) -> ArchivedColumn<R> {
    ArchivedColumn { name, value: ColumnValue::Time(value) }
}

const fn text<R>(name: &'static str, value: fn(&R) -> Option<&str>) -> ArchivedColumn<R> {
    ArchivedColumn { name, value: ColumnValue::Text(value) }
}

const fn extra<R>() -> ArchivedColumn<R> {
    ArchivedColumn { name: "extra", value: ColumnValue::Extra }
}

impl ArchivedRow for ArchivedRequest {
    const TABLE: &'static str = "web_api_log";

    const COLUMNS: &'static [ArchivedColumn<Self>] = &[
        id(),
        time("time", |row| row.time),
        integer("product_id", |row| row.product_id),
        text("event_type", |row| Some(state_code::classify(row.state).0.name())),
        text("outcome", |row| Some(state_code::classify(row.state).1.name())),
        integer("state", |row| row.state),
        text("key", |row| row.key.as_deref()),
        text("machine_code", |row| row.machine_code.as_deref()),
        text("friendly_name", |row| row.friendly_name.as_deref()),
        text("ip", |row| row.ip.as_deref()),
        time("floating_expires", |row| row.floating_expires),
        integer("do_int_value", |row| row.do_int_value),
        integer("do_id", |row| row.do_id),
        extra(),
    ];

    fn extra(&self) -> Option<String> {
        json(&self.extra)
    }
}

impl ArchivedRow for ArchivedEvent {
    const TABLE: &'static str = "event_log";

    const COLUMNS: &'static [ArchivedColumn<Self>] = &[
        id(),
        time("time", |row| row.time),
        integer("product_id", |row| row.product_id),
        text("key", |row| row.key.as_deref()),
        text("machine_code", |row| row.machine_code.as_deref()),
        text("feature_name", |row| row.feature_name.as_deref()),
        text("event_name", |row| row.event_name.as_deref()),
        integer("value", |row| row.value),
        text("currency", |row| row.currency.as_deref()),
        text("metadata", |row| row.metadata.as_deref()),
        extra(),
    ];

    fn extra(&self) -> Option<String> {
        json(&self.extra)
    }
}

impl ArchivedRow for ArchivedObject {
    const TABLE: &'static str = "object_log";

    const COLUMNS: &'static [ArchivedColumn<Self>] = &[
        id(),
        time("time", |row| row.created),
        integer("resource_type", |row| row.resource_type),
        integer("resource_action", |row| row.resource_action),
        integer("affected_object_id", |row| row.affected_object_id),
        integer("object_owner_user_id", |row| row.object_owner_user_id),
        text("performed_by_user_id", |row| row.performed_by_user_id.as_deref()),
        text("data", |row| row.data.as_deref()),
        extra(),
    ];

    fn extra(&self) -> Option<String> {
        json(&self.extra)
    }
}

fn json(members: &OtherMembers) -> Option<String> {
    if members.is_empty() { None } else { serde_json::to_string(members).ok() }
}
