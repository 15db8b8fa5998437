//! The report on the Object Log: the audit trail of who did what to which object, and when.
//!
//! An account's own ids of users and objects are shown as they are: without them there is no audit,
//! and they name nobody outside the account. Texts within changed objects can be anything a
//! customer is called by, so they are pseudonyms unless identities are asked for in full; numbers,
//! truth values and dates are shown.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use maud::html as markup;
use serde::Serialize;
use serde_json::Value;

use super::chart::{Axis, BAD, Bar, GOOD, OTHER, bars};
use super::count::of_length;
use super::error::ReportError;
use super::identity::Identities;
use super::page::{figure, page, table as html_table};
use super::read::Read;
use super::record::ObjectRecord;
use super::source::ReadingSummary;
use super::spreadsheet::{Cell, maybe, maybe_number, number, write};
use super::text::{Column, Screen, counted, thousands};
use super::window::{ShownWindow, Window, local, rfc3339};
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

    fn cells(self) -> [String; 5] {
        [self.entries, self.added, self.updated, self.deleted, self.other].map(thousands)
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
    time: String,
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
    entries: Vec<(i64, ChangedObject)>,
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
            time: rfc3339(time, self.window.zone),
            user: row.performed_by_user_id.as_deref().map(|user| self.identities.user(user)),
            action: action(row.resource_action, self.first_code),
            action_code: row.resource_action,
            resource: resource_type(row.resource_type, self.first_code),
            resource_code: row.resource_type,
            object_id: row.affected_object_id,
            owner_id: row.object_owner_user_id,
            changes: row.data.as_deref().map(|data| changes(data, self.identities)).unwrap_or_default(),
        };
        self.entries.push((time, entry));
    }

    pub(super) fn report(self, reading: &ReadingSummary, account: String) -> ObjectsReport {
        let mut users: BTreeMap<Option<String>, Actions> = BTreeMap::new();
        let mut resources: BTreeMap<&'static str, Actions> = BTreeMap::new();
        let mut days: BTreeMap<NaiveDate, Actions> =
            self.window.days().map(|day| (day, Actions::default())).collect();
        for (time, entry) in &self.entries {
            users.entry(entry.user.clone()).or_default().add(entry.action);
            resources.entry(entry.resource).or_default().add(entry.action);
            days.entry(local(*time, self.window.zone).date()).or_default().add(entry.action);
        }
        let mut users: Vec<OfUser> =
            users.into_iter().map(|(user, actions)| OfUser { user, actions }).collect();
        users.sort_by_key(|user| std::cmp::Reverse(user.actions.entries));
        let mut trail = self.entries;
        trail.sort_by_key(|(time, entry)| (*time, entry.id));
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
            trail: trail.into_iter().map(|(_, entry)| entry).collect(),
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

const TRAIL: [Column; 6] = [
    Column::Text("time"),
    Column::Text("user"),
    Column::Text("action"),
    Column::Text("resource"),
    Column::Number("object"),
    Column::Text("changes"),
];

fn action_columns(first: &'static str) -> [Column; 6] {
    [
        Column::Text(first),
        Column::Number("entries"),
        Column::Number("added"),
        Column::Number("updated"),
        Column::Number("deleted"),
        Column::Number("other"),
    ]
}

fn action_row(first: String, actions: Actions) -> Vec<String> {
    std::iter::once(first).chain(actions.cells()).collect()
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

fn trail_row(entry: &ChangedObject) -> Vec<String> {
    let changes: Vec<String> = entry
        .changes
        .iter()
        .map(|change| format!("{}: {} -> {}", change.field, plain(&change.old), plain(&change.new)))
        .collect();
    vec![
        entry.time.clone(),
        entry.user.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        named(entry.action_code, entry.action),
        named(entry.resource_code, entry.resource),
        maybe(entry.object_id),
        changes.join(", "),
    ]
}

impl ObjectsReport {
    fn user_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.users
            .iter()
            .map(|row| action_row(row.user.clone().unwrap_or_else(|| UNKNOWN.to_owned()), row.actions))
    }

    fn resource_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.resources.iter().map(|row| action_row(row.resource.to_owned(), row.actions))
    }

    fn day_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.days
            .iter()
            .filter(|day| day.actions.entries > 0)
            .map(|day| action_row(day.date.to_string(), day.actions))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.read.notes();
        if self.identities == "masked" {
            notes.push("Texts are masked; --identities=full shows them.".to_owned());
        }
        notes
    }

    /// The report for the terminal, with the newest `top` lines of the trail.
    pub(super) fn text(&self, heading: &str, screen: Screen, top: usize) -> String {
        let mut text = format!("{}\n{heading}\n", screen.strong("Object Log"));
        for note in self.notes() {
            text.push_str(&format!("{}\n", screen.weak(&note)));
        }
        if self.entries == 0 {
            return text + "\nThe log holds no change in this time.\n";
        }
        let left_out = self.trail.len().saturating_sub(top);
        let title = if left_out > 0 {
            format!("The newest {} (--top or another --format shows more)", thousands(of_length(top)))
        } else {
            "The trail".to_owned()
        };
        text.push_str(&format!("\n{}.\n", counted(self.entries, "change", "changes")));
        for (title, content) in [
            ("By user", screen.table(&action_columns("user"), self.user_rows())),
            ("By resource", screen.table(&action_columns("resource"), self.resource_rows())),
            ("By day", screen.table(&action_columns("day"), self.day_rows())),
            (&title, screen.table(&TRAIL, self.trail.iter().skip(left_out).map(trail_row))),
        ] {
            text.push_str(&format!("\n{}\n{content}", screen.strong(title)));
        }
        text
    }

    /// The trail, a row for each change of a field, or for an entry without any.
    pub(super) fn csv(&self) -> Result<String, ReportError> {
        let header =
            ["id", "time", "user", "action", "resource", "object_id", "owner_id", "field", "old", "new"];
        let rows = self.trail.iter().flat_map(|entry| {
            let first = [
                number(entry.id),
                entry.time.clone().into(),
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

    /// The report as a page.
    pub(super) fn html(&self, heading: &str) -> Result<String, ReportError> {
        let chart = (self.entries > 0).then(|| self.chart()).transpose()?;
        let body = markup! {
            h1 { "Object Log" }
            p.weak { (heading) }
            @for note in self.notes() { p.weak { (note) } }
            @if let Some(chart) = chart {
                p { (counted(self.entries, "change", "changes")) "." }
                (figure(&chart, "bar chart: changes of each day", false))
                h2 { "By user" }
                (html_table(&action_columns("user"), self.user_rows()))
                h2 { "By resource" }
                (html_table(&action_columns("resource"), self.resource_rows()))
                h2 { "The trail" }
                (html_table(&TRAIL, self.trail.iter().map(trail_row)))
            } @else {
                p.note { "The log holds no change in this time." }
            }
        };
        Ok(page("Object Log report", &body))
    }

    #[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    fn chart(&self) -> Result<String, ReportError> {
        let bar = |day: &ObjectsDay| {
            let Actions { added, updated, deleted, other, .. } = day.actions;
            Bar {
                label: day.date.format("%b %d").to_string(),
                parts: vec![
                    (deleted as f64, BAD.0),
                    (added as f64, GOOD.0),
                    ((updated + other) as f64, OTHER.0),
                ],
                value: String::new(),
            }
        };
        let legend = [("deleted", BAD.0), ("added", GOOD.0), ("updated and other", OTHER.0)];
        bars("Changes by day", &self.days.iter().map(bar).collect::<Vec<_>>(), Axis::Number, &legend)
    }
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
