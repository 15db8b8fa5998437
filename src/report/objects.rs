//! The report on the Object Log: the audit trail of who did what to which object, and when.
//!
//! An account's own ids of users and objects are shown as they are: without them there is no audit,
//! and they name nobody outside the account. Texts within changed objects can be anything a
//! customer is called by, so they are pseudonyms unless identities are asked for in full; numbers,
//! truth values and dates are shown.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;

use super::count::of_length;
use super::document::{
    Block, Datum, Document, FigureBlock, Measure, Moment, SeriesRole, TableBlock, TableColumn, TableExtent,
};
use super::error::ReportError;
use super::identity::Identities;
use super::log_report::{LogReport, count, level, name_or};
use super::read::Read;
use super::record::ObjectRecord;
use super::render::words;
use super::request_chart::{DailySeries, daily};
use super::source::ReadingSummary;
use super::spreadsheet::{Cell, maybe_number, number, write};
use super::text::counted;
use super::window::{ShownWindow, Window, local};
use crate::cryptolens::object_name::{UNKNOWN, action, resource_type};

const SCHEMA: &str = "cryptolens-exporter/report/objects";
const SCHEMA_VERSION: u32 = 1;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct ObjectsReport {
    schema: &'static str,
    schema_version: u32,
    account: String,
    window: ShownWindow,
    /// `masked` or `full`
    identities: &'static str,
    read: Read,
    entries: u64,
    users: Vec<OfUser>,
    resources: Vec<OfResource>,
    days: Vec<ObjectsDay>,
    trail: Vec<ChangedObject>,
}

/// Entries by action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Actions {
    entries: u64,
    added: u64,
    updated: u64,
    deleted: u64,
    other: u64,
}

impl Actions {
    fn add(&mut self, action: &str) {
        self.entries += 1;
        match action {
            "added" => self.added += 1,
            "updated" => self.updated += 1,
            "deleted" => self.deleted += 1,
            _ => self.other += 1,
        }
    }

    fn cells(self) -> [Datum; 5] {
        [self.entries, self.added, self.updated, self.deleted, self.other].map(Datum::count)
    }
}

#[derive(Debug, Serialize)]
struct OfUser {
    user: Option<String>,
    #[serde(flatten)]
    actions: Actions,
}

#[derive(Debug, Serialize)]
struct OfResource {
    resource: &'static str,
    #[serde(flatten)]
    actions: Actions,
}

#[derive(Debug, Serialize)]
struct ObjectsDay {
    date: NaiveDate,
    #[serde(flatten)]
    actions: Actions,
}

/// One line of the trail.
#[derive(Debug, Serialize)]
struct ChangedObject {
    id: i64,
    time: Moment,
    user: Option<String>,
    action: &'static str,
    action_code: Option<i64>,
    resource: &'static str,
    resource_code: Option<i64>,
    object_id: Option<i64>,
    owner_id: Option<i64>,
    changes: Vec<Change>,
}

/// One field that was changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) field: String,
    pub(super) old: Value,
    pub(super) new: Value,
}

/// The inputs for reading a row.
pub(super) struct Reader<'a> {
    pub(super) window: Window,
    pub(super) identities: &'a Identities,
    pub(super) first_code: i64,
    entries: Vec<ChangedObject>,
    without_time: u64,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(window: Window, identities: &'a Identities, first_code: i64) -> Reader<'a> {
        Reader { window, identities, first_code, entries: Vec::new(), without_time: 0 }
    }

    pub(super) fn add(&mut self, row: &ObjectRecord) {
        let Some(time) = row.created else {
            self.without_time += 1;
            return;
        };
        if !self.window.contains(time) {
            return;
        }
        let entry = ChangedObject {
            id: row.id,
            time: Moment { at: time, zone: self.window.zone },
            user: row.performed_by_user_id.as_deref().map(|user| self.identities.user(user)),
            action: action(row.resource_action, self.first_code),
            action_code: row.resource_action,
            resource: resource_type(row.resource_type, self.first_code),
            resource_code: row.resource_type,
            object_id: row.affected_object_id,
            owner_id: row.object_owner_user_id,
            changes: row.data.as_deref().map(|data| changes(data, self.identities)).unwrap_or_default(),
        };
        self.entries.push(entry);
    }

    pub(super) fn report(self, reading: &ReadingSummary, account: String) -> ObjectsReport {
        let mut users: BTreeMap<Option<String>, Actions> = BTreeMap::new();
        let mut resources: BTreeMap<&'static str, Actions> = BTreeMap::new();
        let mut days: BTreeMap<NaiveDate, Actions> =
            self.window.days().map(|day| (day, Actions::default())).collect();
        for entry in &self.entries {
            users.entry(entry.user.clone()).or_default().add(entry.action);
            resources.entry(entry.resource).or_default().add(entry.action);
            days.entry(local(entry.time.at, self.window.zone).date()).or_default().add(entry.action);
        }
        let mut users: Vec<OfUser> =
            users.into_iter().map(|(user, actions)| OfUser { user, actions }).collect();
        users.sort_by_key(|user| std::cmp::Reverse(user.actions.entries));
        let mut trail = self.entries;
        trail.sort_by_key(|entry| (entry.time.at, entry.id));
        ObjectsReport {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            account,
            window: self.window.shown(),
            identities: self.identities.name(),
            read: Read::new(reading, self.without_time, &self.window),
            entries: of_length(trail.len()),
            users,
            resources: resources
                .into_iter()
                .map(|(resource, actions)| OfResource { resource, actions })
                .collect(),
            days: days.into_iter().map(|(date, actions)| ObjectsDay { date, actions }).collect(),
            trail,
        }
    }
}

/// The fields of `{field: [old, new]}`; none of anything else, which is a whole object.
pub(super) fn changes(data: &str, identities: &Identities) -> Vec<Change> {
    let Ok(Value::Object(fields)) = serde_json::from_str(data) else {
        return Vec::new();
    };
    let pair = |(field, value): (String, Value)| {
        let (field, value) = identities.member(&field, value);
        let Value::Array(pair) = value else { return None };
        let Ok([old, new]) = <[Value; 2]>::try_from(pair) else { return None };
        Some(Change { field, old, new })
    };
    fields.into_iter().filter_map(pair).collect()
}

/// A text without its quotation marks unless there is nothing in them, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned)
}

/// As [`plain`], with numbers as such.
fn cell(value: &Value) -> Cell {
    match value {
        Value::Number(value) => number(value.clone()),
        Value::Null => Cell::from("null"),
        _ => plain(value).into(),
    }
}

fn named(code: Option<i64>, name: &str) -> String {
    match code {
        Some(code) if name == UNKNOWN => format!("{UNKNOWN} ({code})"),
        _ => name.to_owned(),
    }
}

impl LogReport for ObjectsReport {
    const TITLE: &'static str = "Object Log";

    /// The trail, a row for each change of a field, or for an entry without any.
    fn csv(&self) -> Result<String, ReportError> {
        let header =
            ["id", "time", "user", "action", "resource", "object_id", "owner_id", "field", "old", "new"];
        let rows = self.trail.iter().flat_map(|entry| {
            let first = [
                number(entry.id),
                entry.time.to_string().into(),
                entry.user.clone().into(),
                named(entry.action_code, entry.action).into(),
                named(entry.resource_code, entry.resource).into(),
                maybe_number(entry.object_id),
                maybe_number(entry.owner_id),
            ];
            let change =
                |change: &Change| [change.field.clone().into(), cell(&change.old), cell(&change.new)];
            let mut changes: Vec<[Cell; 3]> = entry.changes.iter().map(change).collect();
            if changes.is_empty() {
                changes.push([Cell::Empty, Cell::Empty, Cell::Empty]);
            }
            changes.into_iter().map(move |change| first.clone().into_iter().chain(change).collect::<Vec<_>>())
        });
        write(&header, rows)
    }

    fn fill(&self, document: &mut Document) {
        document.level = level(self.read.is_covered());
        document.headline = self.headline(&document.period.timezone.to_string());
        document.lead = self.read.notes();
        document.blocks.push(self.figures());
        if self.entries > 0 {
            let window = document.period.window();
            document.blocks.push(Block::Chart(daily(
                ("over_time", "Changes"),
                window,
                self.read.begins(),
                self.series(),
            )));
            document
                .blocks
                .extend([self.users(), self.resources(), self.days(), self.trail()].map(Block::Table));
        }
        document.blocks.push(self.method());
    }
}

impl ObjectsReport {
    fn headline(&self, zone: &str) -> String {
        let Some(last) = self.trail.last() else {
            return "The log holds no change in this time".to_owned();
        };
        let users = of_length(self.users.iter().filter(|user| user.user.is_some()).count());
        let by = if users > 0 { format!(" by {}", counted(users, "user", "users")) } else { String::new() };
        let changes = counted(self.entries, "change", "changes");
        format!("{changes}{by}; the latest at {} {zone}", words::minute(last.time))
    }

    fn figures(&self) -> Block {
        let of = |number: fn(&Actions) -> u64| self.days.iter().map(|day| number(&day.actions)).sum();
        let items = vec![
            count("changes", "Changes", self.entries),
            count("added", "Added", of(|actions| actions.added)),
            count("updated", "Updated", of(|actions| actions.updated)),
            count("deleted", "Deleted", of(|actions| actions.deleted)),
            count("other", "Other", of(|actions| actions.other)),
        ];
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn series(&self) -> Vec<DailySeries> {
        let of = |(id, label, role), number: fn(&Actions) -> u64| {
            let days = self.days.iter().map(|day| (day.date, number(&day.actions))).collect();
            DailySeries { id, label, role, days }
        };
        vec![
            of(("deleted", "deleted", SeriesRole::Bad), |actions| actions.deleted),
            of(("added", "added", SeriesRole::Accent), |actions| actions.added),
            of(("updated", "updated or other", SeriesRole::Neutral), |actions| {
                actions.updated + actions.other
            }),
        ]
    }

    fn users(&self) -> TableBlock {
        let row = |row: &OfUser| action_row(name_or(row.user.as_ref(), UNKNOWN), row.actions);
        action_table(("users", "By user", "user"), self.users.iter().map(row))
    }

    fn resources(&self) -> TableBlock {
        let row = |row: &OfResource| action_row(words_of(row.resource), row.actions);
        action_table(("resources", "By kind of object", "resource"), self.resources.iter().map(row))
    }

    /// The days with a change.
    fn days(&self) -> TableBlock {
        let days = self.days.iter().filter(|day| day.actions.entries > 0);
        action_table(
            ("days", "By day", "day"),
            days.map(|day| action_row(name_or(Some(&day.date), ""), day.actions)),
        )
    }

    fn trail(&self) -> TableBlock {
        let row = |entry: &ChangedObject| {
            let change =
                |change: &Change| format!("{} {} → {}", change.field, plain(&change.old), plain(&change.new));
            vec![
                Datum::Time(entry.time),
                name_or(entry.user.as_ref(), UNKNOWN),
                words_of(&named(entry.action_code, entry.action)),
                words_of(&named(entry.resource_code, entry.resource)),
                entry.object_id.map_or(Datum::Nothing, Datum::Whole),
                Datum::Words(entry.changes.iter().map(change).collect::<Vec<_>>().join(", ")),
                entry.owner_id.map_or(Datum::Nothing, Datum::Whole),
                Datum::Whole(entry.id),
            ]
        };
        let columns = vec![
            TableColumn::new("time", "time", Measure::Instant),
            TableColumn::new("user", "user", Measure::Code),
            TableColumn::new("action", "action", Measure::Text).rank(1),
            TableColumn::new("resource", "resource", Measure::Text),
            TableColumn::new("object_id", "object", Measure::Code).rank(2),
            TableColumn::new("changes", "changes", Measure::Text).below(),
            TableColumn::new("owner_id", "owner", Measure::Code).rank(3),
            TableColumn::new("row_id", "row", Measure::Code).rank(4),
        ];
        TableBlock::new(
            "trail",
            "The trail, newest first",
            columns,
            self.trail.iter().rev().map(row).collect(),
        )
        .extent(TableExtent::WholeOnPages)
        .note("Fields as old → new; an object that was added or deleted has none.")
    }

    fn method(&self) -> Block {
        let masked = "users and objects are the account's own numbers; texts within a change are pseudonyms unless \
                      --identities=full.";
        let full = "users and objects are the account's own numbers.";
        let names = if self.identities == "masked" { masked } else { full };
        let keeps = "rows older than the log keeps: 30 days at least.";
        self.read.method("Object Log", [("Names", names.to_owned()), ("Not known", keeps.to_owned())])
    }
}

/// A name of the API as people write it.
fn words_of(name: &str) -> Datum {
    Datum::Words(name.replace('_', " "))
}

fn action_row(first: Datum, actions: Actions) -> Vec<Datum> {
    std::iter::once(first).chain(actions.cells()).collect()
}

fn action_table(
    (id, title, first): (&'static str, &str, &'static str),
    rows: impl Iterator<Item = Vec<Datum>>,
) -> TableBlock {
    let columns = vec![
        TableColumn::new(first, first, Measure::Text),
        TableColumn::new("entries", "changes", Measure::Count),
        TableColumn::new("added", "added", Measure::Count).rank(1),
        TableColumn::new("updated", "updated", Measure::Count).rank(2),
        TableColumn::new("deleted", "deleted", Measure::Count).rank(3),
        TableColumn::new("other", "other", Measure::Count).rank(4),
    ];
    TableBlock::new(id, title, columns, rows.collect()).extent(TableExtent::Whole)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_read_and_their_texts_masked() {
        let data = r#"{"MaxNoOfMachines":[5,10],"Email":["a@example.com",null],"Expires":["2026-01-01","2027-01-01"],
            "Tags":[1,2,3],"Block":[false,true]}"#;
        let full = changes(data, &Identities::Full);
        let fields: Vec<&str> = full.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["Block", "Email", "Expires", "MaxNoOfMachines"]);
        assert_eq!(full[1].old, json!("a@example.com"));
        let masked = changes(data, &Identities::masked(&SecretString::from("token")));
        assert!(masked[1].old.as_str().unwrap().starts_with("text-"));
        assert_eq!(
            (&masked[0].new, &masked[2].old, &masked[3].new),
            (&json!(true), &json!("2026-01-01"), &json!(10))
        );
        assert_eq!(changes("not json", &Identities::Full), []);
        assert_eq!(changes(r#"{"Id":479,"Name":"Bob"}"#, &Identities::Full), []);
    }
}
