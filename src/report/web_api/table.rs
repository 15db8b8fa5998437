//! The report on the Web API Log as one CSV: a row for each item, and a first column that says of
//! which table.

use super::model::WebApiReport;
use crate::report::count::ShownCounts;
use crate::report::error::ReportError;
use crate::report::spreadsheet::{Cell, maybe_number, number, write};

const HEADER: [&str; 11] = [
    "table",
    "item",
    "detail",
    "requests",
    "success",
    "failure",
    "unknown",
    "failure_ratio",
    "share",
    "first_seen",
    "last_seen",
];

/// The whole report; an empty window has its totals.
pub(super) fn csv(report: &WebApiReport) -> Result<String, ReportError> {
    let mut rows = vec![counted("total", &report.window.from, &report.window.to, &report.total.counts)];
    if let Some(previous) = &report.previous {
        rows.push(counted("previous", &previous.window.from, &previous.window.to, &previous.counts));
    }
    rows.extend(report.days.iter().map(|day| {
        counted("day", &day.date.to_string(), if day.whole { "whole" } else { "part" }, &day.counts)
    }));
    rows.extend(
        report
            .hours_of_week
            .iter()
            .map(|hour| counted("hour_of_week", hour.weekday, &hour.hour.to_string(), &hour.counts)),
    );
    rows.extend(report.event_types.iter().map(|row| counted("event_type", row.event_type, "", &row.counts)));
    rows.extend(report.products.iter().map(|row| {
        counted("product", &row.product_id.to_string(), row.name.as_deref().unwrap_or_default(), &row.counts)
    }));
    rows.extend(report.states.iter().map(|state| {
        let requests = |outcome| if state.outcome == outcome { state.requests } else { 0 };
        [
            "state".into(),
            maybe_number(state.state),
            format!("{} {}", state.event_type, state.outcome).into(),
            number(state.requests),
            number(requests("success")),
            number(requests("failure")),
            number(requests("unknown")),
            Cell::Empty,
            maybe_number(state.share),
            state.first_seen.to_string().into(),
            state.last_seen.to_string().into(),
        ]
    }));
    rows.extend(report.keys.above_one_percent.iter().map(|key| {
        let mut row = counted("key", &key.key, "", &key.counts);
        row[8] = number(key.share);
        row
    }));
    for (table, identified) in [("friendly_name", &report.friendly_names), ("machine", &report.machines)] {
        let failing = identified.most_failures.iter();
        rows.extend(failing.map(|failing| counted(table, &failing.name, "", &failing.counts)));
    }
    write(&HEADER, rows)
}

fn counted(table: &str, item: &str, detail: &str, counts: &ShownCounts) -> [Cell; 11] {
    [
        table.into(),
        item.into(),
        detail.into(),
        number(counts.requests),
        number(counts.success),
        number(counts.failure),
        number(counts.unknown),
        maybe_number(counts.failure_ratio),
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
    ]
}
