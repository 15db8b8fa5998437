//! Makes the document of the report on the Web API Log: all of its numbers, in the order in which
//! they are asked for.

use super::model::{
    FailingState, HourOfWeek, Identified, NotableKey, OfState, ProductRequests, WebApiDay, WebApiReport,
    failure_states,
};
use super::table;
use crate::report::count::{ShownCounts, of_length, ratio};
use crate::report::document::{
    Block, ChartBlock, ChartRatio, Datum, Document, FigureBlock, FigureItem, FindingBlock, FindingItem,
    GridBlock, GridRow, Measure, Period, Prose, SeriesRole, ShareBlock, ShareItem, TableBlock, TableColumn,
    TableExtent,
};
use crate::report::error::ReportError;
use crate::report::log_report::{LogReport, count, level, method, name_or};
use crate::report::options::Chart;
use crate::report::render::words;
use crate::report::request_chart::{DailySeries, daily};
use crate::report::text::counted;

const HOURS: usize = 24;

impl LogReport for WebApiReport {
    const TITLE: &'static str = "Web API Log";

    fn csv(&self) -> Result<String, ReportError> {
        table::csv(self)
    }

    fn fill(&self, document: &mut Document) {
        let read = &self.read;
        document.level = level(read.window_covered && read.previous_covered != Some(false));
        document.headline = self.headline();
        document.lead = self.lead(&document.period);
        document.scope.product_id = self.filter.product_id;
        document.scope.key.clone_from(&self.filter.key);
        document.blocks.push(self.figures());
        document.blocks.extend(self.findings());
        if self.total.counts.requests > 0 {
            document.blocks.push(Block::Shares(self.outcomes()));
            document.blocks.push(Block::Chart(self.over_time(&document.period)));
            document.blocks.push(Block::Grid(self.hours()));
            document.blocks.extend(self.tables().into_iter().map(Block::Table));
        }
        document.blocks.push(self.method());
    }

    fn drawing(&self, period: &Period, chart: Chart) -> Option<Block> {
        Some(match chart {
            Chart::Outcome => Block::Shares(self.outcomes()),
            Chart::Daily => Block::Chart(self.over_time(period)),
        })
    }
}

impl WebApiReport {
    fn headline(&self) -> String {
        let counts = &self.total.counts;
        let requests = counted(counts.requests, "request", "requests");
        match counts.failure_ratio {
            _ if counts.requests == 0 => "The log holds no request in this time".to_owned(),
            None => format!("{requests}, none of which succeeded or failed"),
            Some(ratio) => format!("{requests}, {} of which failed", words::percent(ratio)),
        }
    }

    /// What the report was narrowed to, and what a reader needs to know to judge the numbers.
    fn lead(&self, period: &Period) -> String {
        let filter = &self.filter;
        let mut narrowed = Vec::new();
        narrowed.extend(filter.product_id.map(|id| format!("product {id}")));
        narrowed.extend(filter.key.as_ref().map(|key| format!("key {key}")));
        if !filter.states.is_empty() {
            let states: Vec<String> = filter.states.iter().map(u16::to_string).collect();
            narrowed.push(format!("states {}", states.join(", ")));
        }
        narrowed.extend(filter.outcome.map(|outcome| format!("outcome {outcome}")));
        let mut sentences = Vec::new();
        if !narrowed.is_empty() {
            sentences.push(format!("Only {}.", narrowed.join(", ")));
        }
        let read = &self.read;
        let missing = match (read.window_covered, read.previous_covered) {
            (false, _) => Some(("this time", period.to.at)),
            (true, Some(false)) => Some(("the time before", period.from.at)),
            (true, _) => None,
        };
        if let Some((oldest, (time, end))) = read.oldest.as_ref().zip(missing) {
            let covers = if oldest.at < end { "covers a part of" } else { "does not reach back to" };
            sentences.push(format!("There is nothing older than {oldest}: the log {covers} {time}."));
        }
        for (rows, what) in [(read.rows_without_id, "an id"), (read.rows_without_time, "a time")] {
            if rows > 0 {
                let entries = counted(rows, "entry was", "entries were");
                sentences.push(format!("{entries} without {what}, and not counted."));
            }
        }
        sentences.join(" ")
    }

    fn figures(&self) -> Block {
        let (total, counts) = (&self.total, &self.total.counts);
        let of_all = |share: Option<f64>| {
            share.map(|share| format!("{} of all", words::percent(share))).unwrap_or_default()
        };
        let failure_ratio =
            FigureItem::new("failure_ratio", "Failure ratio", counts.failure_ratio.into(), Measure::Ratio);
        let mut items = vec![
            count("requests", "Requests", counts.requests),
            count("success", "Succeeded", counts.success).note(of_all(total.success_share)),
            count("failure", "Failed", counts.failure)
                .note(of_all(total.failure_share))
                .bad_if(counts.failure > 0),
        ];
        if counts.unknown > 0 {
            items.push(count("unknown", "Unknown", counts.unknown).note(of_all(total.unknown_share)));
        }
        items.push(failure_ratio.note("failed / (succeeded + failed)"));
        Block::Figures(FigureBlock { id: "figures", items })
    }

    fn findings(&self) -> Option<Block> {
        let items: Vec<FindingItem> = [self.before(), self.usual()].into_iter().flatten().collect();
        let title = "To compare with".to_owned();
        (!items.is_empty()).then_some(Block::Findings(FindingBlock { id: "findings", title, items }))
    }

    /// The time of the same length before, if the log covers it: the numbers of a part say nothing.
    fn before(&self) -> Option<FindingItem> {
        let previous = self.previous.as_ref().filter(|_| self.read.previous_covered == Some(true))?;
        let now = |change: Option<f64>, kind: Measure| {
            let shown = change.map(|change| words::shown(&Datum::Fraction(change), kind));
            shown.map(|shown| format!(" (now {shown})")).unwrap_or_default()
        };
        let mut text = Prose::default()
            .strong(counted(previous.counts.requests, "request", "requests"))
            .plain(now(previous.requests_change, Measure::Change));
        if let Some(ratio) = previous.counts.failure_ratio {
            text = text
                .plain(", of which ")
                .strong(words::percent(ratio))
                .plain(format!(" failed{}", now(previous.failure_ratio_change, Measure::Points)));
        }
        let basis = format!("{} to {}.", previous.window.from, previous.window.to);
        Some(FindingItem { id: "before", label: "Before", text: text.plain("."), basis, facts: Vec::new() })
    }

    /// The usual share of failures, for whoever chooses an error budget for the alerts: the median of
    /// the days, which one bad day does not move. Two days have no usual share.
    fn usual(&self) -> Option<FindingItem> {
        let mut ratios: Vec<f64> = self.days.iter().filter_map(|day| day.counts.failure_ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (usual, worst) = (ratios.get(ratios.len() / 2)?, ratios.last()?);
        let text = Prose::default()
            .strong(words::percent(*usual))
            .plain(format!(
                " of the requests of a day fail, in the median of {} days; on the worst day ",
                ratios.len()
            ))
            .strong(words::percent(*worst))
            .plain(".");
        let basis =
            "One bad day does not move the median: a start for the error budget of the alerts.".to_owned();
        (ratios.len() > 2).then_some(FindingItem {
            id: "usual",
            label: "Usual",
            text,
            basis,
            facts: Vec::new(),
        })
    }

    fn outcomes(&self) -> ShareBlock {
        let (total, counts) = (&self.total, &self.total.counts);
        let item = |(id, role), value, share| ShareItem { id, label: id, role, value, share };
        let mut items = vec![
            item(("success", SeriesRole::Good), counts.success, total.success_share),
            item(("failure", SeriesRole::Bad), counts.failure, total.failure_share),
        ];
        if counts.unknown > 0 {
            items.push(item(("unknown", SeriesRole::Accent), counts.unknown, total.unknown_share));
        }
        let percent = |share: Option<f64>| share.map_or_else(|| words::NOTHING.to_owned(), words::percent);
        ShareBlock {
            id: "outcomes",
            title: "Successful vs. unsuccessful requests".to_owned(),
            alt: format!(
                "Bar chart: {} of requests succeed, {} fail.",
                percent(total.success_share),
                percent(total.failure_share)
            ),
            items,
        }
    }

    /// Requests by day, with the failure ratio below.
    fn over_time(&self, period: &Period) -> ChartBlock {
        let of = |(id, label, role), number: fn(&ShownCounts) -> u64| {
            let days = self.days.iter().map(|day| (day.date, number(&day.counts))).collect();
            DailySeries { id, label, role, days }
        };
        let mut series = vec![
            of(("failure", "failed", SeriesRole::Bad), |counts| counts.failure),
            of(("success", "succeeded", SeriesRole::Good), |counts| counts.success),
        ];
        if self.total.counts.unknown > 0 {
            series.push(of(("unknown", "unknown", SeriesRole::Accent), |counts| counts.unknown));
        }
        let begins = self.read.oldest.filter(|_| !self.read.window_covered).map(|oldest| oldest.at);
        let chart = daily(("over_time", "Requests"), period.window(), begins, series);
        let of_series =
            |index: usize| chart.stack.get(index).map(|series| series.values.as_slice()).unwrap_or_default();
        let judged = of_series(0).iter().zip(of_series(1));
        let values =
            judged.map(|(failed, succeeded)| ratio((*failed)?, (*failed)? + (*succeeded)?)).collect();
        let failure_ratio = ChartRatio { id: "failure_ratio", label: "failure ratio", values, limit: None };
        ChartBlock { ratio: Some(failure_ratio), ..chart }
    }

    fn hours(&self) -> GridBlock {
        let row = |hours: &[HourOfWeek]| GridRow {
            label: hours.first().map_or("", |hour| short(hour.weekday)),
            values: hours.iter().map(|hour| hour.counts.requests).collect(),
            bad: hours.iter().map(|hour| hour.counts.failure).collect(),
        };
        GridBlock {
            id: "hours_of_week",
            title: "By hour of the week (requests)".to_owned(),
            alt: "A field of shades: the requests of each hour of each day of the week.".to_owned(),
            unit: "requests",
            bad_unit: "failed",
            columns: (0..HOURS).map(|hour| hour.to_string()).collect(),
            rows: self.hours_of_week.chunks(HOURS).map(row).collect(),
            note: "All weeks of the time together.".to_owned(),
        }
    }

    fn tables(&self) -> Vec<TableBlock> {
        let of_type = self.event_types.iter().map(|row| count_row(row.event_type.into(), &row.counts));
        let of_product = |row: &ProductRequests| {
            let name = match &row.name {
                Some(name) => format!("{} {name}", row.product_id),
                None => row.product_id.to_string(),
            };
            count_row(name_or(Some(&name), ""), &row.counts)
        };
        let of_day = |day: &WebApiDay| {
            let note = if day.whole { "" } else { ", part" };
            count_row(Datum::Words(format!("{}{note}", day.date.format("%F %a"))), &day.counts)
        };
        vec![
            count_table(("event_types", "By event type", "event type"), of_type),
            count_table(("products", "By product", "product"), self.products.iter().map(of_product)),
            self.states(),
            self.failure_states(),
            self.keys(),
            self.who(),
            failing(
                ("friendly_names", "Friendly names with most failures", "friendly name"),
                &self.friendly_names,
            ),
            failing(("machines", "Machines with most failures", "machine"), &self.machines),
            count_table(("days", "By day", "day"), self.days.iter().map(of_day)),
        ]
    }

    fn states(&self) -> TableBlock {
        let row = |state: &OfState| {
            vec![
                state_name(state),
                state.event_type.into(),
                state.outcome.into(),
                name_or(state.description.as_ref(), ""),
                Datum::count(state.requests),
                state.share.into(),
            ]
        };
        let columns = vec![
            TableColumn::new("state", "state", Measure::Code),
            TableColumn::new("event_type", "event type", Measure::Text).rank(2),
            TableColumn::new("outcome", "outcome", Measure::Text).rank(1),
            TableColumn::new("description", "description", Measure::Text).rank(3),
            TableColumn::new("requests", "requests", Measure::Count),
            TableColumn::new("share", "share", Measure::Ratio),
        ];
        whole(("states", "By state"), columns, self.states.iter().map(row).collect())
    }

    fn failure_states(&self) -> TableBlock {
        let row = |state: &OfState| {
            vec![
                state_name(state),
                Datum::count(state.requests),
                Datum::Time(state.first_seen),
                Datum::Time(state.last_seen),
            ]
        };
        let columns = vec![
            TableColumn::new("state", "state", Measure::Code),
            TableColumn::new("requests", "requests", Measure::Count),
            TableColumn::new("first_seen", "first seen", Measure::Instant).rank(1),
            TableColumn::new("last_seen", "last seen", Measure::Instant),
        ];
        let title = "Failure states, first and last seen";
        whole(("failure_states", title), columns, failure_states(self).map(row).collect())
    }

    fn keys(&self) -> TableBlock {
        let row = |key: &NotableKey| {
            vec![
                key.key.as_str().into(),
                Datum::count(key.counts.requests),
                Datum::Fraction(key.share),
                Datum::count(key.counts.failure),
                key.counts.failure_ratio.into(),
            ]
        };
        let columns = vec![
            TableColumn::new("key", "key", Measure::Code),
            TableColumn::new("requests", "requests", Measure::Count).rank(1),
            TableColumn::new("share", "share", Measure::Ratio).rank(2),
            TableColumn::new("failure", "failed", Measure::Count),
            TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio),
        ];
        let note = format!(
            "{} of {}; shares are of the {} that name one.",
            of_length(self.keys.above_one_percent.len()),
            counted(self.keys.distinct, "key", "keys"),
            counted(self.keys.requests, "request", "requests")
        );
        let rows = self.keys.above_one_percent.iter().map(row).collect();
        whole(("keys", "Keys above 1 % of traffic"), columns, rows).note(note)
    }

    fn who(&self) -> TableBlock {
        let row = |name: &str, requests, distinct, failing, only: Option<u64>| {
            vec![
                name.into(),
                Datum::count(distinct),
                Datum::count(failing),
                only.map_or(Datum::from("not known"), Datum::count),
                Datum::count(requests),
            ]
        };
        let of =
            |name: &str, of: &Identified| row(name, of.requests, of.distinct, of.failing, of.only_failing);
        let keys = &self.keys;
        let rows = vec![
            row("keys", keys.requests, keys.distinct, keys.failing, keys.only_failing),
            of("machines", &self.machines),
            of("friendly names", &self.friendly_names),
        ];
        let columns = vec![
            TableColumn::new("of_all", "of all", Measure::Text),
            TableColumn::new("distinct", "distinct", Measure::Count).rank(1),
            TableColumn::new("failing", "failing", Measure::Count),
            TableColumn::new("never_succeed", "never succeed", Measure::Count),
            TableColumn::new("requests", "requests with one", Measure::Count).rank(2),
        ];
        whole(("who", "Who fails"), columns, rows)
    }

    fn method(&self) -> Block {
        let read = &self.read;
        let masked = "keys, machines and names are pseudonyms; --identities=full shows them.";
        let names =
            if self.identities == "masked" { masked } else { "keys, machines and names are as in the log." };
        let outcome = "success or failure by the third digit of the state; what has neither is unknown, and in no ratio. A \
                       request that found no free seat (state 2024) is a failure.";
        let definitions = [("Outcome", outcome.to_owned()), ("Names", names.to_owned())];
        method("Web API Log", (read.rows, read.pages, read.rows_met_again), read.oldest, definitions)
    }
}

/// The first three letters of a weekday, as people write them.
fn short(weekday: &str) -> &'static str {
    const SHORT: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let is_meant = |short: &&&str| weekday.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case(short));
    SHORT.iter().find(is_meant).copied().unwrap_or_default()
}

fn state_name(state: &OfState) -> Datum {
    state.state.map_or(Datum::from("none"), Datum::Whole)
}

fn whole((id, title): (&'static str, &str), columns: Vec<TableColumn>, rows: Vec<Vec<Datum>>) -> TableBlock {
    let note = if rows.is_empty() { "None." } else { "" };
    TableBlock::new(id, title, columns, rows).extent(TableExtent::Whole).note(note)
}

/// The cells of [`ShownCounts`] behind others, in the order of the columns of [`count_table`].
fn count_row(first: Datum, counts: &ShownCounts) -> Vec<Datum> {
    let ShownCounts { requests, success, failure, unknown, failure_ratio } = *counts;
    let counts = [requests, success, failure, unknown].map(Datum::count);
    std::iter::once(first).chain(counts).chain([failure_ratio.into()]).collect()
}

fn count_table(
    (id, title, first): (&'static str, &str, &'static str),
    rows: impl Iterator<Item = Vec<Datum>>,
) -> TableBlock {
    let columns = vec![
        TableColumn::new(first, first, Measure::Text),
        TableColumn::new("requests", "requests", Measure::Count),
        TableColumn::new("success", "succeeded", Measure::Count).rank(2),
        TableColumn::new("failure", "failed", Measure::Count).bar(),
        TableColumn::new("unknown", "unknown", Measure::Count).rank(3),
        TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio).rank(1),
    ];
    whole((id, title), columns, rows.collect())
}

/// Names with most failures, of which `--top` are known.
fn failing((id, title, first): (&'static str, &str, &'static str), identified: &Identified) -> TableBlock {
    let row = |failing: &FailingState| {
        vec![
            failing.name.as_str().into(),
            Datum::count(failing.counts.failure),
            Datum::count(failing.counts.requests),
            failing.counts.failure_ratio.into(),
        ]
    };
    let columns = vec![
        TableColumn::new(first, first, Measure::Text),
        TableColumn::new("failure", "failed", Measure::Count).bar(),
        TableColumn::new("requests", "requests", Measure::Count).rank(1),
        TableColumn::new("failure_ratio", "failure ratio", Measure::Ratio),
    ];
    whole((id, title), columns, identified.most_failures.iter().map(row).collect())
}
