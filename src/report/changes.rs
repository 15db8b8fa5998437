//! `report changes`: who changed what?
//!
//! The Object Log of a period as a document: by user, by kind of object, and the trail of all
//! changes, newest first. Users and objects are the account's own numbers; names within a change
//! are shown as the identities say.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::compared::{ReportedTime, reported_time};
use super::count::of_length;
use super::document::{
    Block, ChartBlock, ChartMerge, ChartSeries, Datum, Document, FigureBlock, FigureItem, Level, Measure,
    MethodBlock, Moment, Period, SeriesRole, TableBlock, TableColumn, TableExtent,
};
use super::error::ReportError;
use super::objects::{changes, plain};
use super::options::{ChangesOptions, ReportAccess};
use super::record::ObjectRecord;
use super::render::Style;
use super::request_chart::TimeColumns;
use super::session::ReportSession;
use super::source::ReadingSummary;
use super::text::counted;
use crate::cryptolens::object_name::{UNKNOWN, action, resource_type};
use crate::cryptolens::{LogKind, RowFilter};
use crate::text::thousands;

const SCHEMA: &str = "cryptolens-exporter/report/changes";
const ACTIONS: [&str; 3] = ["added", "updated", "deleted"];

/// Writes the report.
pub(super) async fn report_changes(
    options: &ChangesOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let shown = &options.document;
    let session = ReportSession::new(access, &shown.presentation, stop.clone())?;
    let now = session.now(LogKind::Objects).await;
    let time = reported_time(&options.bounds, options.length, now)?;
    let window = time.window;
    let output = super::DocumentOutput::new(shown, session.identities.is_full())?;
    let first = session.objects_first_code;
    let mut trail = Vec::new();
    let (mut without_time, mut in_period) = (0, 0);
    let add = |rows: Vec<ObjectRecord>| {
        for row in rows {
            let Some(time) = row.created else {
                without_time += 1;
                continue;
            };
            if !window.contains(time) {
                continue;
            }
            in_period += 1;
            let resource = resource_type(row.resource_type, first);
            let is_wanted = options.resource.as_deref().is_none_or(|wanted| wanted == resource)
                && options
                    .user
                    .as_deref()
                    .is_none_or(|wanted| row.performed_by_user_id.as_deref() == Some(wanted));
            if is_wanted {
                trail.push(ChangeRow::new(time, &row, &session));
            }
        }
        Ok(())
    };
    let reading = super::read_forward(&session, "Object Log", &RowFilter::default(), &window, add).await?;
    trail.sort_by_key(|row| (row.time, row.id));
    let time = ReportedTime { log_begins: reading.log_begins(&window), ..time };
    let report = ChangesReport { trail, reading, time, without_time, in_period, session: &session, options };
    let style = Style { screen: session.screen, top: shown.top, table: shown.table.as_deref() };
    output.write(&report.document(), style, &stop).await
}

/// One change, as it is shown.
struct ChangeRow {
    id: i64,
    time: i64,
    user: Option<String>,
    action: &'static str,
    resource: &'static str,
    object: Option<i64>,
    fields: String,
}

impl ChangeRow {
    fn new(time: i64, row: &ObjectRecord, session: &ReportSession) -> ChangeRow {
        let first = session.objects_first_code;
        let fields = row.data.as_deref().map(|data| changes(data, &session.identities)).unwrap_or_default();
        let fields: Vec<String> = fields
            .iter()
            .map(|change| format!("{} {} → {}", change.field, plain(&change.old), plain(&change.new)))
            .collect();
        ChangeRow {
            id: row.id,
            time,
            user: row.performed_by_user_id.as_deref().map(|user| session.identities.user(user)),
            action: action(row.resource_action, first),
            resource: resource_type(row.resource_type, first),
            object: row.affected_object_id,
            fields: fields.join(", "),
        }
    }
}

struct ChangesReport<'a> {
    /// In order of time.
    trail: Vec<ChangeRow>,
    reading: ReadingSummary,
    time: ReportedTime,
    without_time: u64,
    /// Rows of the period, before the flags that narrow it.
    in_period: u64,
    session: &'a ReportSession,
    options: &'a ChangesOptions,
}

impl ChangesReport<'_> {
    fn moment(&self, at: i64) -> Moment {
        Moment { at, zone: self.time.window.zone }
    }

    /// True if flags narrow the report.
    fn is_narrowed(&self) -> bool {
        self.options.user.is_some() || self.options.resource.is_some()
    }

    fn document(&self) -> Document {
        let (time, window) = (&self.time, self.time.window);
        let period = Period::new((window.from, window.to), window.zone, time.label(), !time.is_live);
        let mut document = self.session.document(SCHEMA, "Changes", period, &self.options.document);
        document.level = if time.log_begins.is_some() { Level::Notice } else { Level::Fine };
        document.headline = self.headline();
        document.lead = self.lead();
        let read = &mut document.read;
        read.rows = of_length(self.trail.len());
        read.first_id = self.trail.iter().map(|row| row.id).min();
        read.last_id = self.trail.iter().map(|row| row.id).max();
        read.oldest = self.reading.oldest.map(|at| self.moment(at));
        read.skipped = vec![("without_id", self.reading.without_id), ("without_time", self.without_time)];
        document.blocks = vec![
            self.figures(),
            self.trail(),
            self.chart(),
            self.grouped("users", "By user", "user", |row| {
                row.user.clone().unwrap_or_else(|| UNKNOWN.to_owned())
            }),
            self.grouped("resources", "By kind of object", "resource", |row| row.resource.replace('_', " ")),
            self.method(),
        ];
        document
    }

    fn headline(&self) -> String {
        let when = self.time.when();
        if let Some(begins) = self.time.log_begins_after() {
            let begins = self.time.minute(begins);
            return format!("Nothing is known of changes {when}: the log begins at {begins}");
        }
        let users: BTreeSet<&str> = self.trail.iter().filter_map(|row| row.user.as_deref()).collect();
        let by = match (&self.options.user, users.len()) {
            (Some(user), _) => format!(" by {}", self.session.identities.user_in_words(user)),
            (None, 0) => String::new(),
            (None, users) => {
                // Some rows name nobody.
                let others = if self.trail.iter().any(|row| row.user.is_none()) { " and others" } else { "" };
                format!(" by {}{others}", counted(of_length(users), "user", "users"))
            }
        };
        let of =
            self.options.resource.as_deref().map(|name| format!(" of {} objects", name.replace('_', " ")));
        let of = of.unwrap_or_default();
        match self.trail.last() {
            None if self.in_period == 0 => format!("Nothing was changed {when}"),
            None => format!("No change{of}{by} {when}"),
            Some(last) => format!(
                "{}{of}{by} {when}; the latest at {} {}",
                counted(of_length(self.trail.len()), "change", "changes"),
                self.time.minute(last.time),
                self.time.window.zone
            ),
        }
    }

    fn lead(&self) -> String {
        let mut sentences = Vec::new();
        if self.is_narrowed() {
            sentences.push(format!("{} in all.", counted(self.in_period, "change", "changes")));
        }
        if let Some(coverage) = self.time.coverage("the log") {
            sentences.push(coverage);
            sentences.push("It keeps its rows for 30 days at least.".to_owned());
        }
        sentences.join(" ")
    }

    fn figures(&self) -> Block {
        let of = |action: &str| {
            Datum::count(of_length(self.trail.iter().filter(|row| row.action == action).count()))
        };
        let of_all = if self.is_narrowed() {
            format!("of {} in this time", thousands(self.in_period))
        } else {
            String::new()
        };
        let items = vec![
            FigureItem::new("changes", "Changes", Datum::count(of_length(self.trail.len())), Measure::Count)
                .note(of_all),
            FigureItem::new("added", "Added", of("added"), Measure::Count),
            FigureItem::new("updated", "Updated", of("updated"), Measure::Count),
            FigureItem::new("deleted", "Deleted", of("deleted"), Measure::Count),
        ];
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn trail(&self) -> Block {
        let row = |row: &ChangeRow| {
            vec![
                Datum::Time(self.moment(row.time)),
                row.user.clone().into(),
                Datum::from(row.action),
                Datum::Words(row.resource.replace('_', " ")),
                row.object.map_or(Datum::Nothing, Datum::Whole),
                Datum::Words(row.fields.clone()),
                Datum::Whole(row.id),
            ]
        };
        Block::Table(TableBlock {
            id: "changes",
            title: "Changes, newest first".to_owned(),
            columns: vec![
                TableColumn::new("time", "time", Measure::Time),
                TableColumn::new("user", "user", Measure::Code),
                TableColumn::new("action", "action", Measure::Text).rank(2),
                TableColumn::new("resource", "resource", Measure::Text),
                TableColumn::new("object_id", "object", Measure::Code),
                TableColumn::new("changes", "changes", Measure::Text).rank(1),
                TableColumn::new("row_id", "row", Measure::Code).rank(3),
            ],
            rows: self.trail.iter().rev().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: "Fields as old → new; an object that was added or deleted has none.".to_owned(),
        })
    }

    fn chart(&self) -> Block {
        let columns = TimeColumns::new(self.time.window);
        let begins = self.time.log_begins;
        let values = |action: &str| {
            let mut values = columns.empty(begins);
            for row in self.trail.iter().filter(|row| row.action == action) {
                if let Some(value) = columns.column(row.time).and_then(|column| values.get_mut(column)) {
                    *value = Some(value.unwrap_or(0) + 1);
                }
            }
            values
        };
        let roles = [SeriesRole::Accent, SeriesRole::Neutral, SeriesRole::Bad];
        let stack = ACTIONS
            .iter()
            .zip(roles)
            .map(|(action, role)| ChartSeries { id: action, label: action, role, values: values(action) })
            .collect();
        Block::Chart(ChartBlock {
            id: "over_time",
            title: format!("Changes {}", columns.name()),
            alt: format!("Column chart of {} changes.", thousands(i128::from(of_length(self.trail.len())))),
            x: columns.moments(),
            step: columns.step,
            stack,
            limit: None,
            marks: Vec::new(),
            shade: Vec::new(),
            ratio: None,
            merge: ChartMerge::Sum,
        })
    }

    /// Changes by something, most first.
    fn grouped(
        &self,
        id: &'static str,
        title: &str,
        column: &'static str,
        name: impl Fn(&ChangeRow) -> String,
    ) -> Block {
        let mut groups: BTreeMap<String, [u64; 4]> = BTreeMap::new();
        for row in &self.trail {
            let counts = groups.entry(name(row)).or_default();
            counts[0] += 1;
            let place = ACTIONS.iter().position(|action| *action == row.action);
            if let Some(count) = place.and_then(|place| counts.get_mut(place + 1)) {
                *count += 1;
            }
        }
        let mut rows: Vec<(String, [u64; 4])> = groups.into_iter().collect();
        rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts[0]));
        let row = |(name, counts): (String, [u64; 4])| {
            std::iter::once(Datum::Words(name)).chain(counts.map(Datum::count)).collect()
        };
        Block::Table(TableBlock {
            id,
            title: title.to_owned(),
            columns: vec![
                TableColumn::new(column, column, Measure::Text),
                TableColumn::new("entries", "changes", Measure::Count),
                TableColumn::new("added", "added", Measure::Count).rank(1),
                TableColumn::new("updated", "updated", Measure::Count).rank(2),
                TableColumn::new("deleted", "deleted", Measure::Count).rank(3),
            ],
            rows: rows.into_iter().map(row).collect(),
            hot: Vec::new(),
            omitted: 0,
            extent: TableExtent::Top,
            note: String::new(),
        })
    }

    fn method(&self) -> Block {
        let of_all = if self.is_narrowed() {
            format!(", of {} in this time", thousands(self.in_period))
        } else {
            String::new()
        };
        let rows = counted(of_length(self.trail.len()), "row", "rows");
        let items = vec![
            ("Counted", format!("{rows} of the Object Log, each once{of_all}.")),
            ("Names", "users and objects are the account's own numbers; texts within a change are pseudonyms unless --identities=full.".to_owned()),
            ("Not known", "rows older than the log keeps: 30 days at least.".to_owned()),
        ];
        Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
    }
}
