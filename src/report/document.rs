//! The document of a report: what it says, before it has a form.
//!
//! A report builds a [`Document`] and knows no format; a renderer of [`super::render`] writes one
//! and knows no report. Promises: values are numbers, times and texts with a [`Measure`], and only
//! a renderer turns them into words; ids of blocks, figures, findings and columns are stable, and
//! sentences are not. The JSON form is the serialised document itself, which
//! `docs/report-schema.md` describes as version 2.
//!
//! Texts may come from a log. Emphasis is a structure of [`Phrase`]s and never markup within a
//! text, so that no customer's name can become a tag.

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::window::{Window, rfc3339};
use super::zone::Zone;
use crate::text::thousands;

/// The version of the schema that every document has.
const SCHEMA_VERSION: u32 = 2;

/// A whole report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Document {
    /// `cryptolens-exporter/report/` and the name of the report.
    pub(super) schema: &'static str,
    schema_version: u32,
    pub(super) level: Level,
    /// The answer, in one sentence without a full stop.
    pub(super) headline: String,
    /// The kind of report, as a reader calls it.
    pub(super) title: &'static str,
    /// The subject of the document, in sentences; stands behind the period.
    pub(super) lead: String,
    pub(super) account: String,
    /// The value of `--identities`.
    pub(super) identities: &'static str,
    pub(super) scope: Scope,
    pub(super) period: Period,
    pub(super) read: Evidence,
    pub(super) blocks: Vec<Block>,
    /// The command that makes this document again.
    pub(super) command: String,
}

impl Document {
    /// A document without blocks, whose level is fine.
    pub(super) fn new(schema: &'static str, title: &'static str, period: Period) -> Document {
        Document {
            schema,
            schema_version: SCHEMA_VERSION,
            level: Level::Fine,
            headline: String::new(),
            title,
            lead: String::new(),
            account: String::new(),
            identities: "",
            scope: Scope::default(),
            period,
            read: Evidence::default(),
            blocks: Vec::new(),
            command: String::new(),
        }
    }
}

/// How bad the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Level {
    /// Nothing to do.
    #[serde(rename = "ok")]
    Fine,
    /// Worth a look.
    #[serde(rename = "notice")]
    Notice,
    /// Somebody is kept from working now.
    #[serde(rename = "problem")]
    Problem,
}

/// The filters that narrow the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Scope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) product_id: Option<i64>,
    /// As the identities of the document show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

/// A moment, with the zone that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Unix seconds.
    pub(super) at: i64,
    pub(super) zone: Zone,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.at, self.zone))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The time that a document is about.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Period {
    pub(super) from: Moment,
    pub(super) to: Moment,
    #[serde(serialize_with = "as_text")]
    pub(super) timezone: Zone,
    /// As `2 h`, or the name of a calendar period.
    pub(super) label: String,
    /// False while it is not over.
    pub(super) complete: bool,
    pub(super) compared_with: Option<Comparison>,
}

impl Period {
    /// From `from` to `to`, in Unix seconds.
    pub(super) const fn new((from, to): (i64, i64), zone: Zone, label: String, complete: bool) -> Period {
        let (from, to) = (Moment { at: from, zone }, Moment { at: to, zone });
        Period { from, to, timezone: zone, label, complete, compared_with: None }
    }

    /// The time without its name.
    pub(super) const fn window(&self) -> Window {
        Window { from: self.from.at, to: self.to.at, zone: self.timezone }
    }
}

/// The period that changes are measured against.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Comparison {
    pub(super) from: Moment,
    pub(super) to: Moment,
    /// True where only as much of it counts as has passed of the period itself.
    pub(super) elapsed_only: bool,
    /// False where the log does not reach back to its beginning.
    pub(super) covered: bool,
}

/// The rows that were read for the document.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Evidence {
    /// Rows of the log that are in the period and counted.
    pub(super) rows: u64,
    pub(super) first_id: Option<i64>,
    pub(super) last_id: Option<i64>,
    /// SHA-256 over the lines `id:state\n` of these rows, in order of id.
    pub(super) sha256: Option<String>,
    /// The oldest time met, in the period or shortly before it.
    pub(super) oldest: Option<Moment>,
    /// Rows that could not be counted, by reason.
    #[serde(serialize_with = "as_map")]
    pub(super) skipped: Vec<(&'static str, u64)>,
    /// The methods that explain the rows, and whether the token may call them.
    #[serde(serialize_with = "as_map")]
    pub(super) looked_up: Vec<(&'static str, LookupState)>,
}

/// Whether a method was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LookupState {
    /// It answered.
    #[serde(rename = "ok")]
    Answered,
    /// The token may not call it.
    Denied,
    /// There was no need.
    NotAsked,
}

/// One part of a document.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Figures(FigureBlock),
    Findings(FindingBlock),
    Shares(ShareBlock),
    Chart(ChartBlock),
    Grid(GridBlock),
    Table(TableBlock),
    Steps(StepBlock),
    Method(MethodBlock),
}

impl Block {
    /// The stable name.
    pub(super) const fn id(&self) -> &'static str {
        match self {
            Block::Figures(block) => block.id,
            Block::Findings(block) => block.id,
            Block::Shares(block) => block.id,
            Block::Chart(block) => block.id,
            Block::Grid(block) => block.id,
            Block::Table(block) => block.id,
            Block::Steps(block) => block.id,
            Block::Method(block) => block.id,
        }
    }
}

/// The kind of a number or text, which decides how it is written.
#[allow(dead_code, reason = "the contract of documents has more kinds than the reports of today")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// A whole number of things.
    Count,
    /// A part of 1.
    Ratio,
    /// A difference of two ratios, as a part of 1.
    Points,
    /// now / before - 1.
    Change,
    /// Seconds.
    Duration,
    /// A moment, to the minute.
    Time,
    /// A moment to the second, with its year: a line of a trail.
    #[serde(rename = "time")]
    Instant,
    /// A code or an id, which is not grouped.
    Code,
    /// Words.
    Text,
    /// A small chart: numbers in equal steps of time.
    Trend,
    /// A small strip: levels 0 to 4 in equal steps of time.
    Strip,
}

impl Measure {
    /// True for what is aligned to the right.
    pub(super) const fn is_number(self) -> bool {
        matches!(
            self,
            Measure::Count | Measure::Ratio | Measure::Points | Measure::Change | Measure::Duration
        )
    }

    /// True for what is drawn, and has no form as a text.
    pub(super) const fn is_drawn(self) -> bool {
        matches!(self, Measure::Trend | Measure::Strip)
    }
}

/// A value of a figure or a cell.
#[allow(dead_code, reason = "the contract of documents has more values than the reports of today")]
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// Not known, or nothing to divide by.
    Nothing,
    Whole(i64),
    Fraction(f64),
    Time(Moment),
    Words(String),
    /// The numbers of a [`Measure::Trend`], and which part of each is bad.
    Trend {
        all: Vec<u64>,
        bad: Vec<u64>,
    },
    /// The levels of a [`Measure::Strip`].
    Levels(Vec<u8>),
}

impl Datum {
    /// A number of things.
    pub(super) fn count(number: u64) -> Datum {
        Datum::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i128> for Datum {
    /// A number that is larger than programs take is a text.
    fn from(number: i128) -> Datum {
        i64::try_from(number).map_or_else(|_| Datum::Words(thousands(number)), Datum::Whole)
    }
}

impl From<Option<f64>> for Datum {
    fn from(value: Option<f64>) -> Datum {
        value.map_or(Datum::Nothing, Datum::Fraction)
    }
}

impl From<Option<Moment>> for Datum {
    fn from(value: Option<Moment>) -> Datum {
        value.map_or(Datum::Nothing, Datum::Time)
    }
}

impl From<Option<String>> for Datum {
    fn from(value: Option<String>) -> Datum {
        value.map_or(Datum::Nothing, Datum::Words)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Datum {
        Datum::Words(text.to_owned())
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Datum::Nothing => serializer.serialize_none(),
            Datum::Whole(number) => serializer.serialize_i64(*number),
            Datum::Fraction(number) => serializer.serialize_f64(*number),
            Datum::Time(moment) => moment.serialize(serializer),
            Datum::Words(text) => serializer.serialize_str(text),
            Datum::Trend { all, .. } => all.serialize(serializer),
            Datum::Levels(levels) => levels.serialize(serializer),
        }
    }
}

/// Whether a figure is good news.
#[allow(dead_code, reason = "the contract of documents has more tones than the reports of today")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    Good,
    Bad,
    None,
}

/// The numbers that a reader sees first.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FigureBlock {
    pub(super) id: &'static str,
    /// Three to six.
    pub(super) items: Vec<FigureItem>,
}

/// One large number.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FigureItem {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) value: Datum,
    pub(super) kind: Measure,
    /// The same in the period that is compared with.
    pub(super) previous: Datum,
    pub(super) change: Option<f64>,
    pub(super) tone: Tone,
    /// A clause that explains it; may be empty.
    pub(super) note: String,
}

impl FigureItem {
    /// A figure without a comparison.
    pub(super) fn new(id: &'static str, label: &'static str, value: Datum, kind: Measure) -> FigureItem {
        let (previous, change, note) = (Datum::Nothing, None, String::new());
        FigureItem { id, label, value, kind, previous, change, tone: Tone::None, note }
    }

    /// The same with a clause that explains it.
    pub(super) fn note(self, note: impl Into<String>) -> FigureItem {
        FigureItem { note: note.into(), ..self }
    }

    /// The same as bad news, if it is.
    pub(super) fn bad_if(self, is_bad: bool) -> FigureItem {
        FigureItem { tone: if is_bad { Tone::Bad } else { self.tone }, ..self }
    }
}

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phrase {
    Plain(String),
    Strong(String),
    Code(String),
}

/// A sentence whose parts may be emphasised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prose(pub(super) Vec<Phrase>);

impl Prose {
    /// Words as they are.
    pub(super) fn plain(mut self, text: impl Into<String>) -> Prose {
        self.0.push(Phrase::Plain(text.into()));
        self
    }

    /// Words that a hurried reader should see.
    pub(super) fn strong(mut self, text: impl Into<String>) -> Prose {
        self.0.push(Phrase::Strong(text.into()));
        self
    }

    /// A name of a field, a value, a command.
    pub(super) fn code(mut self, text: impl Into<String>) -> Prose {
        self.0.push(Phrase::Code(text.into()));
        self
    }

    /// The words without emphasis.
    pub(super) fn words(&self) -> String {
        let word = |phrase: &Phrase| match phrase {
            Phrase::Plain(text) | Phrase::Strong(text) | Phrase::Code(text) => text.clone(),
        };
        self.0.iter().map(word).collect()
    }
}

impl Serialize for Prose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.words())
    }
}

/// A finding, in sentences.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FindingBlock {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// At most five.
    pub(super) items: Vec<FindingItem>,
}

/// One thing that is known.
#[derive(Debug, Clone)]
pub(super) struct FindingItem {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) text: Prose,
    /// How it is known; may be empty.
    pub(super) basis: String,
    /// The same for programs, by member.
    pub(super) facts: Vec<(&'static str, Datum)>,
}

impl Serialize for FindingItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("label", self.label)?;
        map.serialize_entry("text", &self.text)?;
        map.serialize_entry("basis", &self.basis)?;
        for (name, value) in &self.facts {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The parts of a whole, as bars.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ShareBlock {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// A description, for a reader who cannot see it.
    pub(super) alt: String,
    pub(super) items: Vec<ShareItem>,
}

/// One part of a whole.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ShareItem {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) role: SeriesRole,
    pub(super) value: u64,
    /// `None` where there is nothing to divide by.
    pub(super) share: Option<f64>,
}

/// A field of counts, by two things, as shades.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GridBlock {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// A description, for a reader who cannot see it.
    pub(super) alt: String,
    /// The names of the counts, and of the bad part of each.
    pub(super) unit: &'static str,
    pub(super) bad_unit: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<GridRow>,
    /// A sentence on how to read it; may be empty.
    pub(super) note: String,
}

impl GridBlock {
    /// The highest count.
    pub(super) fn highest(&self) -> u64 {
        self.rows.iter().flat_map(|row| row.values.iter().copied()).max().unwrap_or(0)
    }
}

/// One row of a field, with a count for each column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GridRow {
    pub(super) label: &'static str,
    pub(super) values: Vec<u64>,
    pub(super) bad: Vec<u64>,
}

/// Columns over time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChartBlock {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// A description of the chart, for a reader who cannot see it.
    pub(super) alt: String,
    /// The beginning of each column.
    pub(super) x: Vec<Moment>,
    /// The length of a column in seconds; a day or a month may be longer or shorter.
    pub(super) step: i64,
    /// From the bottom up.
    pub(super) stack: Vec<ChartSeries>,
    /// A level that should not be passed.
    pub(super) limit: Option<ChartLimit>,
    /// A ratio of each column, drawn below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<ChartRatio>,
    pub(super) marks: Vec<ChartMark>,
    /// Spans of columns to be shaded, as fractional indexes.
    pub(super) shade: Vec<(f64, f64)>,
    /// How several columns become one on a narrow screen.
    #[serde(skip)]
    pub(super) merge: ChartMerge,
}

impl ChartBlock {
    /// True if the marks have numbers, which a table explains, and no words.
    pub(super) fn has_numbered_marks(&self) -> bool {
        let is_number = |mark: &ChartMark| mark.label.bytes().all(|byte| byte.is_ascii_digit());
        !self.marks.is_empty() && self.marks.iter().all(is_number)
    }
}

/// How several columns become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChartMerge {
    /// They are counts, which are added.
    Sum,
    /// They are levels, of which the highest is shown.
    Highest,
}

/// A ratio of each column of a chart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChartRatio {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    /// `None` where there is nothing to divide by.
    pub(super) values: Vec<Option<f64>>,
    /// A level that should not be passed.
    pub(super) limit: Option<ChartLimit>,
}

/// One part of every column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChartSeries {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) role: SeriesRole,
    /// `None` outside of the log.
    pub(super) values: Vec<Option<u64>>,
}

/// The meaning of a part, which decides its colour.
#[allow(dead_code, reason = "the contract of documents has more roles than the reports of today")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SeriesRole {
    Bad,
    Good,
    Neutral,
    Accent,
}

/// A level that should not be passed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChartLimit {
    pub(super) value: f64,
    pub(super) label: String,
}

/// A moment in a chart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChartMark {
    /// Fractional index of a column.
    pub(super) at: f64,
    pub(super) time: Moment,
    pub(super) role: MarkRole,
    pub(super) label: String,
}

/// The meaning of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MarkRole {
    Onset,
    Change,
    End,
    Refused,
}

/// Rows and columns.
#[derive(Debug, Clone)]
pub(super) struct TableBlock {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) columns: Vec<TableColumn>,
    /// Each has as many values as there are columns.
    pub(super) rows: Vec<Vec<Datum>>,
    /// Rows to be highlighted, by index.
    pub(super) hot: Vec<usize>,
    /// Rows that the document does not have.
    pub(super) omitted: u64,
    pub(super) extent: TableExtent,
    /// A sentence on how to read it; may be empty.
    pub(super) note: String,
}

impl TableBlock {
    /// A table that is shown up to `--top`, without a note.
    pub(super) fn new(
        id: &'static str,
        title: impl Into<String>,
        columns: Vec<TableColumn>,
        rows: Vec<Vec<Datum>>,
    ) -> TableBlock {
        let (hot, note, extent) = (Vec::new(), String::new(), TableExtent::Top);
        TableBlock { id, title: title.into(), columns, rows, hot, omitted: 0, extent, note }
    }

    /// The same, shown as far as another extent says.
    pub(super) fn extent(self, extent: TableExtent) -> TableBlock {
        TableBlock { extent, ..self }
    }

    /// The same with a sentence on how to read it.
    pub(super) fn note(self, note: impl Into<String>) -> TableBlock {
        TableBlock { note: note.into(), ..self }
    }

    /// The most rows that a person is shown, of which `--top` says the usual number.
    pub(super) const fn most_rows(&self, top: usize, is_page: bool) -> usize {
        match (self.extent, is_page) {
            (TableExtent::Top, _) | (TableExtent::WholeOnPages, false) => top,
            (TableExtent::Whole, _) | (TableExtent::WholeOnPages, true) => usize::MAX,
        }
    }
}

/// How much of a table people are shown; programs get all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableExtent {
    /// As many rows as `--top` says.
    Top,
    /// All rows, because each kind of thing has one: a day, a state.
    Whole,
    /// All rows in HTML, which is kept, and `--top` of them in text and Markdown.
    WholeOnPages,
}

/// One column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TableColumn {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Measure,
    /// Narrow screens leave out the column with the highest number first; 0 always stays.
    #[serde(skip)]
    pub(super) rank: u8,
    /// A page shows it in small letters under the column before.
    #[serde(skip)]
    pub(super) is_under: bool,
    /// Text and Markdown leave it out.
    #[serde(skip)]
    pub(super) is_page_only: bool,
    /// A page draws a bar beside the number.
    #[serde(skip)]
    pub(super) has_bar: bool,
    /// A terminal that is too narrow shows it as a whole, on lines of its own below the row.
    #[serde(skip)]
    pub(super) is_below: bool,
}

impl TableColumn {
    /// A column that narrow screens keep.
    pub(super) const fn new(id: &'static str, label: &'static str, kind: Measure) -> TableColumn {
        TableColumn {
            id,
            label,
            kind,
            rank: 0,
            is_under: false,
            is_page_only: false,
            has_bar: false,
            is_below: false,
        }
    }

    /// The same with a rank above 0.
    pub(super) const fn rank(self, rank: u8) -> TableColumn {
        TableColumn { rank, ..self }
    }

    /// The same in small letters under the column before, on pages only.
    pub(super) const fn under(self) -> TableColumn {
        TableColumn { is_under: true, is_page_only: true, ..self }
    }

    /// The same in small letters under the column before; a column of its own where there are none.
    pub(super) const fn small(self) -> TableColumn {
        TableColumn { is_under: true, ..self }
    }

    /// The same below the row where the screen is too narrow.
    pub(super) const fn below(self) -> TableColumn {
        TableColumn { is_below: true, ..self }
    }

    /// The same with a bar.
    pub(super) const fn bar(self) -> TableColumn {
        TableColumn { has_bar: true, ..self }
    }
}

/// A row, by the ids of its columns.
struct ShownRow<'a>(&'a TableBlock, &'a [Datum]);

impl Serialize for ShownRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in self.0.columns.iter().zip(self.1) {
            map.serialize_entry(column.id, value)?;
            if let Datum::Trend { bad, .. } = value {
                map.serialize_entry(&format!("{}_bad", column.id), bad)?;
            }
        }
        map.end()
    }
}

impl Serialize for TableBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("title", &self.title)?;
        map.serialize_entry("columns", &self.columns)?;
        let rows: Vec<ShownRow<'_>> = self.rows.iter().map(|row| ShownRow(self, row)).collect();
        map.serialize_entry("rows", &rows)?;
        map.serialize_entry("omitted", &self.omitted)?;
        map.serialize_entry("note", &self.note)?;
        map.end()
    }
}

/// The next steps that a reader can take.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StepBlock {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) items: Vec<StepItem>,
}

/// A command that runs as it is printed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StepItem {
    pub(super) text: String,
    pub(super) command: String,
}

/// The rows that were counted, the definitions, and the limits of both.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MethodBlock {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// A name and a sentence each.
    #[serde(serialize_with = "as_map")]
    pub(super) items: Vec<(&'static str, String)>,
}

fn as_text<S: Serializer>(zone: &Zone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(zone)
}

/// Pairs as an object, in their order.
fn as_map<T: Serialize, S: Serializer>(
    pairs: &[(&'static str, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}
