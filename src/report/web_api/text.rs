//! The report on the Web API Log for the terminal.

use super::model::{FailingState, Identified, OfState, WebApiReport, failure_states};
use crate::report::count::ShownCounts;
use crate::report::text::{Column, Screen, bar, counted, percent, thousands};

/// Longest bars.
const OUTCOME_BAR: u16 = 40;
const DAY_BAR: u16 = 60;

/// The whole report.
pub(in crate::report) fn text(report: &WebApiReport, heading: &str, screen: Screen) -> String {
    let mut page = format!("{}\n{}\n", screen.strong("Web API Log"), heading);
    for line in notes(report) {
        page.push_str(&format!("{}\n", screen.weak(&line)));
    }
    if report.is_empty() {
        page.push_str("\nThe log holds no request in this time.\n");
        if let Some(previous) = &report.previous {
            let before = counted(previous.counts.requests, "request", "requests");
            page.push_str(&format!("The same time before had {before}.\n"));
        }
        return page;
    }
    let mut section = |title: &str, content: String| {
        if !content.is_empty() {
            page.push_str(&format!("\n{}\n{content}", screen.strong(title)));
        }
    };
    section("Successful vs. unsuccessful requests", outcomes(report, screen));
    section("By day", days(report, screen));
    section("By hour of the week (requests)", hours(report));
    section("By event type", screen.table(&count_columns("event type"), event_type_rows(report)));
    section("By product", screen.table(&count_columns("product"), product_rows(report)));
    section("By state", screen.table(&STATE_COLUMNS, report.states.iter().map(state_cells)));
    section("Failure states, first and last seen", failures(report, screen));
    section("Keys above 1 % of traffic", keys(report, screen));
    section("Who fails", screen.table(&WHO_COLUMNS, who_rows(report)));
    section("Friendly names with most failures", failing("friendly name", &report.friendly_names, screen));
    section("Machines with most failures", failing("machine", &report.machines, screen));
    page
}

/// Notes that a reader needs to judge the numbers, one sentence each.
pub(super) fn notes(report: &WebApiReport) -> Vec<String> {
    let mut notes = Vec::new();
    if report.identities == "masked" {
        notes.push("Keys, machines and names are masked; --identities=full shows them.".to_owned());
    }
    let filter = &report.filter;
    let mut narrowed = Vec::new();
    narrowed.extend(filter.product_id.map(|id| format!("product {id}")));
    narrowed.extend(filter.key.as_ref().map(|key| format!("key {key}")));
    if !filter.states.is_empty() {
        let states: Vec<String> = filter.states.iter().map(u16::to_string).collect();
        narrowed.push(format!("states {}", states.join(", ")));
    }
    narrowed.extend(filter.outcome.map(|outcome| format!("outcome {outcome}")));
    if !narrowed.is_empty() {
        notes.push(format!("Only {}.", narrowed.join(", ")));
    }
    let read = &report.read;
    if let Some(oldest) = &read.oldest {
        if !read.window_covered {
            notes.push(format!("There is nothing older than {oldest}: the log covers a part of this time."));
        } else if read.previous_covered == Some(false) {
            notes.push(format!(
                "There is nothing older than {oldest}: the log covers a part of the time before."
            ));
        }
    }
    for (rows, what) in [
        (read.rows_without_id, "without an id, and not counted"),
        (read.rows_without_time, "without a time, and not counted"),
    ] {
        if rows > 0 {
            notes.push(format!("{} {what}.", counted(rows, "entry was", "entries were")));
        }
    }
    notes
}

fn outcomes(report: &WebApiReport, screen: Screen) -> String {
    let total = &report.total;
    let shares = [
        ("success", total.counts.success, total.success_share),
        ("failure", total.counts.failure, total.failure_share),
        ("unknown", total.counts.unknown, total.unknown_share),
    ];
    let mut lines = String::new();
    let width = screen.bar_width(34, OUTCOME_BAR);
    for (name, requests, share) in
        shares.into_iter().filter(|(name, requests, _)| *name != "unknown" || *requests > 0)
    {
        let drawn = bar(share.unwrap_or(0.0), width);
        let padded = format!("{drawn:<width$}", width = usize::from(width));
        let screened = match name {
            "success" => screen.good(&padded),
            "failure" => screen.bad(&padded),
            _ => padded,
        };
        lines.push_str(&format!(" {name}  {screened} {:>9}  {:>12}\n", percent(share), thousands(requests)));
    }
    lines.push_str(&format!(
        " {}, failure ratio {}\n",
        counted(total.counts.requests, "request", "requests"),
        percent(total.counts.failure_ratio)
    ));
    for line in [compared(report), usual(report)].into_iter().flatten() {
        lines.push_str(&format!(" {line}\n"));
    }
    lines
}

/// The usual share of failures, for whoever chooses an error budget for the alerts: the median of
/// the days, which one bad day does not move. Two days have no usual share.
pub(super) fn usual(report: &WebApiReport) -> Option<String> {
    let mut ratios: Vec<f64> = report.days.iter().filter_map(|day| day.counts.failure_ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let (usual, worst) = (ratios.get(ratios.len() / 2)?, ratios.last()?);
    (ratios.len() > 2).then(|| {
        format!(
            "Usual failure ratio: {}, the median of {} days; on the worst day {}.",
            percent(Some(*usual)),
            ratios.len(),
            percent(Some(*worst))
        )
    })
}

/// The comparison with the window before, as a sentence.
pub(super) fn compared(report: &WebApiReport) -> Option<String> {
    let previous = report.previous.as_ref()?;
    let requests = counted(previous.counts.requests, "request", "requests");
    let mut sentence = format!("The same time before: {requests}");
    if let Some(change) = previous.requests_change {
        sentence.push_str(&format!(" (now {:+.1} %)", change * 100.0));
    }
    if let Some(ratio) = previous.counts.failure_ratio {
        sentence.push_str(&format!(", failure ratio {}", percent(Some(ratio))));
    }
    if let Some(change) = previous.failure_ratio_change {
        sentence.push_str(&format!(" (now {:+.2} points)", change * 100.0));
    }
    Some(sentence + ".")
}

fn days(report: &WebApiReport, screen: Screen) -> String {
    let most = report.days.iter().map(|day| day.counts.requests).max().unwrap_or(0);
    let most_failed = report.days.iter().map(|day| day.counts.failure).max().unwrap_or(0);
    let (digits, failed_digits) = (thousands(most).len(), thousands(most_failed).len());
    let longest = u64::from(screen.bar_width(38 + digits + failed_digits, DAY_BAR));
    let mut lines = String::new();
    for day in &report.days {
        // Whole characters, and two kinds of them: failures differ from successes without colour too.
        let length = |requests: u64| usize::try_from((requests * longest).div_ceil(most.max(1))).unwrap_or(0);
        let whole = length(day.counts.requests);
        let bad = length(day.counts.failure).min(whole);
        lines.push_str(&format!(
            " {} {}  {:>digits$}  {:>failed_digits$} failed  {:>8}  {}{}\n",
            day.date,
            day.date.format("%a"),
            thousands(day.counts.requests),
            thousands(day.counts.failure),
            percent(day.counts.failure_ratio),
            screen.bad(&"▒".repeat(bad)),
            screen.good(&"█".repeat(whole - bad)),
        ));
    }
    if report.days.iter().any(|day| !day.whole) {
        lines.push_str(" The first or last day is not whole.\n");
    }
    lines
}

fn hours(report: &WebApiReport) -> String {
    const SHADES: [&str; 5] = ["·", "░", "▒", "▓", "█"];
    let most = report.hours_of_week.iter().map(|hour| hour.counts.requests).max().unwrap_or(0);
    let mut lines = format!(" {:<10} 0     6     12    18    23\n", "");
    for hours in report.hours_of_week.chunks(24) {
        let shade = |requests: u64| match (requests * 4).div_ceil(most.max(1)) {
            shade @ 0..=4 => usize::try_from(shade).ok().and_then(|shade| SHADES.get(shade)).copied(),
            _ => None,
        };
        let row: String = hours.iter().filter_map(|hour| shade(hour.counts.requests)).collect();
        let weekday = hours.first().map(|hour| capitalised(hour.weekday)).unwrap_or_default();
        lines.push_str(&format!(" {weekday:<10} {row}\n"));
    }
    lines.push_str(&format!(" █ is up to {}, {OF_ALL_WEEKS}\n", counted(most, "request", "requests")));
    lines
}

/// The meaning of the numbers of an hour of the week.
pub(super) const OF_ALL_WEEKS: &str = "all weeks of the window together";

/// A weekday as people write it.
pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

const COUNT_COLUMNS: [Column; 5] = [
    Column::Number("requests"),
    Column::Number("success"),
    Column::Number("failure"),
    Column::Number("unknown"),
    Column::Number("failure ratio"),
];

/// The cells of [`ShownCounts`], in the order of the columns of every table of counts.
fn count_cells(counts: &ShownCounts) -> [String; 5] {
    let ShownCounts { requests, success, failure, unknown, failure_ratio } = *counts;
    [thousands(requests), thousands(success), thousands(failure), thousands(unknown), percent(failure_ratio)]
}

/// The columns of a table of counts that begins with `first`.
pub(super) fn count_columns(first: &'static str) -> Vec<Column> {
    std::iter::once(Column::Text(first)).chain(COUNT_COLUMNS).collect()
}

/// A row of such a table.
pub(super) fn count_row(first: String, counts: &ShownCounts) -> Vec<String> {
    std::iter::once(first).chain(count_cells(counts)).collect()
}

pub(super) fn event_type_rows(report: &WebApiReport) -> impl Iterator<Item = Vec<String>> {
    report.event_types.iter().map(|row| count_row(row.event_type.to_owned(), &row.counts))
}

pub(super) fn product_rows(report: &WebApiReport) -> impl Iterator<Item = Vec<String>> {
    report.products.iter().map(|row| {
        let product = match &row.name {
            Some(name) => format!("{} {name}", row.product_id),
            None => row.product_id.to_string(),
        };
        count_row(product, &row.counts)
    })
}

/// Columns and rows of the table of states.
pub(super) const STATE_COLUMNS: [Column; 6] = [
    Column::Text("state"),
    Column::Text("event type"),
    Column::Text("outcome"),
    Column::Text("description"),
    Column::Number("requests"),
    Column::Number("share"),
];

pub(super) fn state_cells(state: &OfState) -> Vec<String> {
    vec![
        state_name(state),
        state.event_type.to_owned(),
        state.outcome.to_owned(),
        state.description.clone().unwrap_or_default(),
        thousands(state.requests),
        percent(state.share),
    ]
}

pub(super) fn state_name(state: &OfState) -> String {
    state.state.map_or_else(|| "none".to_owned(), |state| state.to_string())
}

pub(super) const FAILURE_COLUMNS: [Column; 4] = [
    Column::Text("state"),
    Column::Number("requests"),
    Column::Text("first seen"),
    Column::Text("last seen"),
];

pub(super) fn failure_cells(state: &OfState) -> Vec<String> {
    vec![state_name(state), thousands(state.requests), state.first_seen.clone(), state.last_seen.clone()]
}

fn failures(report: &WebApiReport, screen: Screen) -> String {
    let rows: Vec<_> = failure_states(report).map(failure_cells).collect();
    if rows.is_empty() { " None.\n".to_owned() } else { screen.table(&FAILURE_COLUMNS, rows) }
}

pub(super) const KEY_COLUMNS: [Column; 5] = [
    Column::Text("key"),
    Column::Number("requests"),
    Column::Number("share"),
    Column::Number("failure"),
    Column::Number("failure ratio"),
];

pub(super) fn key_rows(report: &WebApiReport) -> impl Iterator<Item = Vec<String>> {
    report.keys.above_one_percent.iter().map(|key| {
        vec![
            key.key.clone(),
            thousands(key.counts.requests),
            percent(Some(key.share)),
            thousands(key.counts.failure),
            percent(key.counts.failure_ratio),
        ]
    })
}

fn keys(report: &WebApiReport, screen: Screen) -> String {
    if report.keys.above_one_percent.is_empty() {
        return format!(" None of {}.\n", counted(report.keys.distinct, "key", "keys"));
    }
    screen.table(&KEY_COLUMNS, key_rows(report))
}

pub(super) const WHO_COLUMNS: [Column; 4] = [
    Column::Text("of all"),
    Column::Number("distinct"),
    Column::Number("failing"),
    Column::Number("never succeed"),
];

pub(super) fn who_rows(report: &WebApiReport) -> [Vec<String>; 3] {
    let row = |name: &str, distinct, failing, only: Option<u64>| {
        let only = only.map_or_else(|| "not known".to_owned(), thousands);
        vec![name.to_owned(), thousands(distinct), thousands(failing), only]
    };
    let (keys, machines, names) = (&report.keys, &report.machines, &report.friendly_names);
    [
        row("keys", keys.distinct, keys.failing, keys.only_failing),
        row("machines", machines.distinct, machines.failing, machines.only_failing),
        row("friendly names", names.distinct, names.failing, names.only_failing),
    ]
}

pub(super) fn failing_rows(failing: &[FailingState]) -> impl Iterator<Item = Vec<String>> {
    failing.iter().map(|failing| {
        vec![
            failing.name.clone(),
            thousands(failing.counts.failure),
            thousands(failing.counts.requests),
            percent(failing.counts.failure_ratio),
        ]
    })
}

pub(super) fn failing_columns(name: &'static str) -> [Column; 4] {
    [
        Column::Text(name),
        Column::Number("failure"),
        Column::Number("requests"),
        Column::Number("failure ratio"),
    ]
}

fn failing(name: &'static str, identified: &Identified, screen: Screen) -> String {
    if identified.most_failures.is_empty() {
        return " None.\n".to_owned();
    }
    screen.table(&failing_columns(name), failing_rows(&identified.most_failures))
}
