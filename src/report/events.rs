//! The report on the Events Log: which events of which features, how many, and the values by currency.
//!
//! Values are summed in the unit that apps registered them in: the vendor's pages contradict each
//! other on whether it is the minor one. Memory grows with distinct names, keys, machines and days,
//! not with rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use maud::html as markup;
use serde::Serialize;

use super::chart::{Axis, Bar, GOOD, bars};
use super::count::{of_length, ratio};
use super::error::ReportError;
use super::page::{figure, page, table as html_table};
use super::read::Read;
use super::record::EventRecord;
use super::source::ReadingSummary;
use super::spreadsheet::{Cell, number, write};
use super::text::{Column, Screen, bar, counted, thousands};
use super::window::{ShownWindow, Window, local};
use crate::text::currency_code;

const SCHEMA: &str = "cryptolens-exporter/report/events";
const SCHEMA_VERSION: u32 = 1;
const BAR: u16 = 24;

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

    /// The report for the terminal.
    pub(super) fn text(&self, heading: &str, screen: Screen) -> String {
        let mut text = format!("{}\n{heading}\n", screen.strong("Events Log"));
        for note in self.read.notes() {
            text.push_str(&format!("{}\n", screen.weak(&note)));
        }
        if self.entries == 0 {
            return text + "\nThe log holds no event in this time.\n";
        }
        text.push_str(&format!("\n{}\n", self.summary()));
        text.push_str(&format!("\n{}\n{}", screen.strong("By day"), self.day_lines(screen)));
        text.push_str(&format!(
            "\n{}\n{}",
            screen.strong("By event and feature"),
            screen.table(&EVENTS, self.event_rows())
        ));
        if !self.values.is_empty() {
            let title = "Values by event and currency, in the unit that was registered";
            let days = screen.table(&DAY_VALUES, self.day_value_rows());
            text.push_str(&format!(
                "\n{}\n{}",
                screen.strong(title),
                screen.table(&VALUES, self.value_rows())
            ));
            text.push_str(&format!("\n{}\n{days}", screen.strong("Values by day")));
        }
        text.push_str(&format!(
            "\n{}\n{}",
            screen.strong("By product"),
            screen.table(&PRODUCTS, self.product_rows())
        ));
        text
    }

    fn summary(&self) -> String {
        format!(
            "{} of {} and {}.",
            counted(self.entries, "event", "events"),
            counted(self.distinct_keys, "key", "keys"),
            counted(self.distinct_machines, "machine", "machines")
        )
    }

    fn day_lines(&self, screen: Screen) -> String {
        let most = self.days.iter().map(|day| day.entries).max().unwrap_or(0);
        self.days
            .iter()
            .map(|day| {
                let drawn = bar(ratio(day.entries, most).unwrap_or(0.0), BAR);
                let line = format!(
                    " {} {}  {:>12}  {}",
                    day.date,
                    day.date.format("%a"),
                    thousands(day.entries),
                    screen.good(&drawn)
                );
                format!("{}\n", line.trim_end())
            })
            .collect()
    }

    fn event_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.events
            .iter()
            .map(|row| vec![named(row.event.as_ref()), named(row.feature.as_ref()), thousands(row.entries)])
    }

    fn value_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.values.iter().map(|row| {
            let values = &row.values;
            vec![
                named(row.event.as_ref()),
                currency_name(values).to_owned(),
                thousands(values.entries),
                thousands(values.sum),
                thousands(values.least),
                thousands(values.most),
            ]
        })
    }

    /// A row for each day that has values.
    fn day_value_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.days.iter().filter(|day| !day.values.is_empty()).map(|day| {
            let entries = day.values.iter().map(|values| values.entries).sum::<u64>();
            let sums: Vec<String> = day
                .values
                .iter()
                .map(|values| format!("{} {}", currency_name(values), thousands(values.sum)))
                .collect();
            vec![day.date.to_string(), thousands(entries), sums.join(", ")]
        })
    }

    fn product_rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.products.iter().map(|row| vec![row.product_id.to_string(), thousands(row.entries)])
    }

    /// One table; the first column says of what each row is.
    pub(super) fn csv(&self) -> Result<String, ReportError> {
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

    /// The report as a page.
    pub(super) fn html(&self, heading: &str) -> Result<String, ReportError> {
        let chart = (self.entries > 0).then(|| self.chart()).transpose()?;
        let body = markup! {
            h1 { "Events Log" }
            p.weak { (heading) }
            @for note in self.read.notes() { p.weak { (note) } }
            @if let Some(chart) = chart {
                p { (self.summary()) }
                (figure(&chart, "bar chart: events of each day", false))
                h2 { "By event and feature" }
                (html_table(&EVENTS, self.event_rows()))
                @if !self.values.is_empty() {
                    h2 { "Values by event and currency" }
                    p.weak { "In the unit that was registered." }
                    (html_table(&VALUES, self.value_rows()))
                    h2 { "Values by day" }
                    (html_table(&DAY_VALUES, self.day_value_rows()))
                }
                h2 { "By product" }
                (html_table(&PRODUCTS, self.product_rows()))
            } @else {
                p.note { "The log holds no event in this time." }
            }
        };
        Ok(page("Events Log report", &body))
    }

    #[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    fn chart(&self) -> Result<String, ReportError> {
        let bar = |day: &EventsDay| Bar {
            label: day.date.format("%b %d").to_string(),
            parts: vec![(day.entries as f64, GOOD.0)],
            value: String::new(),
        };
        bars("Events by day", &self.days.iter().map(bar).collect::<Vec<_>>(), Axis::Number, &[])
    }
}

const EVENTS: [Column; 3] = [Column::Text("event"), Column::Text("feature"), Column::Number("entries")];
const PRODUCTS: [Column; 2] = [Column::Text("product"), Column::Number("entries")];
const VALUES: [Column; 6] = [
    Column::Text("event"),
    Column::Text("currency"),
    Column::Number("entries"),
    Column::Number("sum"),
    Column::Number("least"),
    Column::Number("most"),
];

const DAY_VALUES: [Column; 3] =
    [Column::Text("day"), Column::Number("entries with a value"), Column::Text("sums")];

/// The currency as the label of `/metrics` names it: `other` for what is no code of three letters,
/// and none where the row gives none.
fn code_of(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return None;
    }
    Some(currency_code(text).map_or_else(|| "other".to_owned(), Cow::into_owned))
}

fn currency_name(values: &ShownValues) -> &str {
    values.currency.as_deref().unwrap_or("none")
}

fn named(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| "unnamed".to_owned())
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
