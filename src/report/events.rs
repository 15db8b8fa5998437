//! The report on the Events Log: which events of which features, how many, and the values by
//! currency.
//!
//! Values are summed in the unit that apps registered them in: the vendor's pages contradict each
//! other on whether it is the minor one. Memory grows with distinct names, keys, machines and days,
//! not with rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use serde::Serialize;

use super::count::{of_length, ratio};
use super::document::{
    Block, Datum, Document, FigureBlock, Measure, SeriesRole, TableBlock, TableColumn, TableExtent,
};
use super::error::ReportError;
use super::log_report::{LogReport, count, level, name_or};
use super::read::Read;
use super::record::EventRecord;
use super::request_chart::{DailySeries, daily};
use super::source::ReadingSummary;
use super::spreadsheet::{Cell, number, write};
use super::text::counted;
use super::window::{ShownWindow, Window, local};
use crate::text::currency_code;

const SCHEMA: &str = "cryptolens-exporter/report/events";
const SCHEMA_VERSION: u32 = 1;

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct EventsTally {
    window: Window,
    entries: u64,
    without_time: u64,
    kinds: HashMap<(Option<String>, Option<String>), u64>,
    products: BTreeMap<i64, u64>,
    values: BTreeMap<(Option<String>, Option<String>), Values>,
    days: BTreeMap<NaiveDate, OfDay>,
    keys: HashSet<String>,
    machines: HashSet<String>,
}

#[derive(Debug, Default)]
struct OfDay {
    entries: u64,
    values: BTreeMap<Option<String>, Values>,
}

/// Values of one event in one currency. A sum of fewer than 2^64 values fits.
#[derive(Debug, Clone, Copy)]
struct Values {
    count: u64,
    sum: i128,
    least: i64,
    most: i64,
}

impl Values {
    fn add(&mut self, value: i64) {
        self.count += 1;
        self.sum += i128::from(value);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    const fn none() -> Values {
        Values { count: 0, sum: 0, least: i64::MAX, most: i64::MIN }
    }
}

impl EventsTally {
    pub(super) fn new(window: Window) -> EventsTally {
        EventsTally {
            window,
            entries: 0,
            without_time: 0,
            kinds: HashMap::new(),
            products: BTreeMap::new(),
            values: BTreeMap::new(),
            days: window.days().map(|day| (day, OfDay::default())).collect(),
            keys: HashSet::new(),
            machines: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, row: EventRecord) {
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        if !self.window.contains(time) {
            return;
        }
        self.entries += 1;
        *self.products.entry(row.product_id).or_default() += 1;
        self.keys.extend(row.key);
        self.machines.extend(row.machine_code);
        let day = self.days.entry(local(time, self.window.zone).date()).or_default();
        day.entries += 1;
        // Most events carry 0 because they have no value at all.
        if let Some(value) = row.value.filter(|value| *value != 0) {
            let currency = row.currency.as_deref().and_then(code_of);
            day.values.entry(currency.clone()).or_insert(Values::none()).add(value);
            let of_event = (row.event_name.clone(), currency);
            self.values.entry(of_event).or_insert(Values::none()).add(value);
        }
        *self.kinds.entry((row.event_name, row.feature_name)).or_default() += 1;
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct EventsReport {
    schema: &'static str,
    schema_version: u32,
    account: String,
    window: ShownWindow,
    read: Read,
    entries: u64,
    distinct_keys: u64,
    distinct_machines: u64,
    events: Vec<OfEvent>,
    values: Vec<OfCurrency>,
    products: Vec<ProductEvents>,
    days: Vec<EventsDay>,
}

#[derive(Debug, Serialize)]
struct OfEvent {
    event: Option<String>,
    feature: Option<String>,
    entries: u64,
    share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct OfCurrency {
    event: Option<String>,
    #[serde(flatten)]
    values: ShownValues,
}

#[derive(Debug, Serialize)]
struct ShownValues {
    currency: Option<String>,
    /// Entries with a value other than 0.
    entries: u64,
    sum: i128,
    least: i64,
    most: i64,
}

#[derive(Debug, Serialize)]
struct ProductEvents {
    product_id: i64,
    entries: u64,
}

#[derive(Debug, Serialize)]
struct EventsDay {
    date: NaiveDate,
    entries: u64,
    values: Vec<ShownValues>,
}

fn shown(currency: Option<String>, values: Values) -> ShownValues {
    let Values { count, sum, least, most } = values;
    ShownValues { currency, entries: count, sum, least, most }
}

impl EventsReport {
    pub(super) fn new(tally: EventsTally, reading: &ReadingSummary, account: String) -> EventsReport {
        let entries = tally.entries;
        let mut events: Vec<OfEvent> = tally
            .kinds
            .into_iter()
            .map(|((event, feature), number)| OfEvent {
                event,
                feature,
                entries: number,
                share: ratio(number, entries),
            })
            .collect();
        events.sort_by(|a, b| {
            b.entries.cmp(&a.entries).then_with(|| (&a.event, &a.feature).cmp(&(&b.event, &b.feature)))
        });
        let day = |(date, day): (NaiveDate, OfDay)| EventsDay {
            date,
            entries: day.entries,
            values: day.values.into_iter().map(|(currency, values)| shown(currency, values)).collect(),
        };
        EventsReport {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            account,
            window: tally.window.shown(),
            read: Read::new(reading, tally.without_time, &tally.window),
            entries,
            distinct_keys: of_length(tally.keys.len()),
            distinct_machines: of_length(tally.machines.len()),
            events,
            values: tally
                .values
                .into_iter()
                .map(|((event, currency), values)| OfCurrency { event, values: shown(currency, values) })
                .collect(),
            products: tally
                .products
                .into_iter()
                .map(|(product_id, entries)| ProductEvents { product_id, entries })
                .collect(),
            days: tally.days.into_iter().map(day).collect(),
        }
    }
}

impl LogReport for EventsReport {
    const TITLE: &'static str = "Events Log";

    /// One table; the first column says of what each row is.
    fn csv(&self) -> Result<String, ReportError> {
        let header = ["table", "item", "detail", "entries", "currency", "sum", "least", "most"];
        let plain = |table: &str, item: Cell, detail: Cell, entries: u64| -> Vec<Cell> {
            let mut row = vec![table.into(), item, detail, number(entries)];
            row.resize(8, Cell::Empty);
            row
        };
        let valued = |table: &str, item: Cell, values: &ShownValues| {
            vec![
                table.into(),
                item,
                Cell::Empty,
                number(values.entries),
                values.currency.clone().into(),
                number(values.sum),
                number(values.least),
                number(values.most),
            ]
        };
        let total =
            plain("total", self.window.from.clone().into(), self.window.to.clone().into(), self.entries);
        let mut rows = vec![total];
        for day in &self.days {
            rows.push(plain("day", day.date.to_string().into(), Cell::Empty, day.entries));
            rows.extend(
                day.values.iter().map(|values| valued("day_value", day.date.to_string().into(), values)),
            );
        }
        rows.extend(
            self.events
                .iter()
                .map(|row| plain("event", row.event.clone().into(), row.feature.clone().into(), row.entries)),
        );
        rows.extend(self.values.iter().map(|row| valued("value", row.event.clone().into(), &row.values)));
        rows.extend(
            self.products
                .iter()
                .map(|row| plain("product", number(row.product_id), Cell::Empty, row.entries)),
        );
        write(&header, rows)
    }

    fn fill(&self, document: &mut Document) {
        document.level = level(self.read.is_covered());
        document.headline = self.headline();
        document.lead = self.read.notes();
        document.blocks.push(self.figures());
        if self.entries > 0 {
            let (window, begins) = (document.period.window(), self.read.begins());
            let days = self.days.iter().map(|day| (day.date, day.entries)).collect();
            let events = DailySeries { id: "events", label: "events", role: SeriesRole::Accent, days };
            document.blocks.push(Block::Chart(daily(("over_time", "Events"), window, begins, vec![events])));
            document.blocks.extend([self.kinds(), self.products(), self.days()].map(Block::Table));
            if !self.values.is_empty() {
                document.blocks.extend([self.values(), self.values_by_day()].map(Block::Table));
            }
        }
        document.blocks.push(self.method());
    }
}

impl EventsReport {
    fn headline(&self) -> String {
        if self.entries == 0 {
            return "The log holds no event in this time".to_owned();
        }
        format!(
            "{} of {} and {}",
            counted(self.entries, "event", "events"),
            counted(self.distinct_keys, "key", "keys"),
            counted(self.distinct_machines, "machine", "machines")
        )
    }

    fn figures(&self) -> Block {
        let with_value = self.values.iter().map(|row| row.values.entries).sum();
        let items = vec![
            count("events", "Events", self.entries),
            count("keys", "Keys", self.distinct_keys),
            count("machines", "Machines", self.distinct_machines),
            count("with_value", "Events with a value", with_value),
        ];
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn kinds(&self) -> TableBlock {
        let row = |row: &OfEvent| {
            vec![
                name_or(row.event.as_ref(), UNNAMED),
                name_or(row.feature.as_ref(), UNNAMED),
                Datum::count(row.entries),
                row.share.into(),
            ]
        };
        let columns = vec![
            TableColumn::new("event", "event", Measure::Text),
            TableColumn::new("feature", "feature", Measure::Text),
            TableColumn::new("entries", "events", Measure::Count),
            TableColumn::new("share", "share", Measure::Ratio).rank(1),
        ];
        let rows = self.events.iter().map(row).collect();
        TableBlock::new("kinds", "By event and feature", columns, rows).extent(TableExtent::Whole)
    }

    fn products(&self) -> TableBlock {
        let row = |row: &ProductEvents| vec![Datum::Whole(row.product_id), Datum::count(row.entries)];
        let columns = vec![
            TableColumn::new("product_id", "product", Measure::Code),
            TableColumn::new("entries", "events", Measure::Count),
        ];
        let rows = self.products.iter().map(row).collect();
        TableBlock::new("products", "By product", columns, rows).extent(TableExtent::Whole)
    }

    fn days(&self) -> TableBlock {
        let row = |day: &EventsDay| vec![name_or(Some(&day.date), ""), Datum::count(day.entries)];
        let columns = vec![
            TableColumn::new("day", "day", Measure::Code),
            TableColumn::new("entries", "events", Measure::Count),
        ];
        TableBlock::new("days", "By day", columns, self.days.iter().map(row).collect())
            .extent(TableExtent::Whole)
    }

    fn values(&self) -> TableBlock {
        let row = |row: &OfCurrency| value_row(name_or(row.event.as_ref(), UNNAMED), &row.values);
        value_table(("values", "Values by event and currency", "event"), self.values.iter().map(row))
            .note("In the unit that was registered.")
    }

    fn values_by_day(&self) -> TableBlock {
        let of_day = |day: &EventsDay| {
            let rows = day.values.iter().map(|values| value_row(name_or(Some(&day.date), ""), values));
            rows.collect::<Vec<_>>()
        };
        value_table(("day_values", "Values by day and currency", "day"), self.days.iter().flat_map(of_day))
    }

    fn method(&self) -> Block {
        let own =
            "by the times that the applications give, which may be long before the events were registered.";
        let values = "0 counts as no value. Sums are in the unit that was registered, which may or may not be the minor one.";
        let keeps = "rows older than the log keeps: 30 days at least.";
        let definitions = [("Days", own), ("Values", values), ("Not known", keeps)];
        self.read.method("Events Log", definitions.map(|(name, text)| (name, text.to_owned())))
    }
}

/// Stands for an event or a feature without a name.
const UNNAMED: &str = "unnamed";

fn value_row(first: Datum, values: &ShownValues) -> Vec<Datum> {
    vec![
        first,
        name_or(values.currency.as_ref(), "none"),
        Datum::count(values.entries),
        values.sum.into(),
        Datum::Whole(values.least),
        Datum::Whole(values.most),
    ]
}

fn value_table(
    (id, title, first): (&'static str, &str, &'static str),
    rows: impl Iterator<Item = Vec<Datum>>,
) -> TableBlock {
    let columns = vec![
        TableColumn::new(first, first, Measure::Text),
        TableColumn::new("currency", "currency", Measure::Text),
        TableColumn::new("entries", "events", Measure::Count),
        TableColumn::new("sum", "sum", Measure::Count),
        TableColumn::new("least", "least", Measure::Count).rank(1),
        TableColumn::new("most", "most", Measure::Count).rank(2),
    ];
    TableBlock::new(id, title, columns, rows.collect()).extent(TableExtent::Whole)
}

/// The currency as the label of `/metrics` names it: `other` for what is no code of three letters,
/// and none where the row gives none.
fn code_of(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return None;
    }
    Some(currency_code(text).map_or_else(|| "other".to_owned(), Cow::into_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 9, line 18.
    #[test]
    fn a_currency_is_named_as_in_the_metrics() {
        let cases = [("USD", Some("USD")), (" usd ", Some("USD")), ("points", Some("other")), ("  ", None)];
        for (sent, shown) in cases {
            assert_eq!(code_of(sent).as_deref(), shown, "{sent:?}");
        }
    }
}
