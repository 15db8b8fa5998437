//! The seat audit for the terminal, for a spreadsheet, and as a page with a chart of seats over time.

use std::time::Duration;

use maud::{Markup, html as markup};

use super::model::{Audit, Line};
use crate::report::chart::{BAD, GOOD, steps};
use crate::report::error::ReportError;
use crate::report::page::{figure, figures, page, table as html_table};
use crate::report::spreadsheet::{Cell, maybe_number, number, write};
use crate::report::text::{Column, Screen, counted, thousands};
use crate::report::window::{Window, local, span};
use crate::report::zone::Zone;

/// A screen shows at most this many steps apart.
const POINTS: i64 = 900;

const NOTHING: &str = "The log holds nothing about seats of this license in this time.";

const CHANGE_COLUMNS: [Column; 7] = [
    Column::Text("time"),
    Column::Text("action"),
    Column::Text("machine"),
    Column::Text("friendly name"),
    Column::Number("used"),
    Column::Number("free"),
    Column::Number("over"),
];

fn change_cells(line: &Line) -> Vec<String> {
    let beyond = if line.overdraft { " (overdraft)" } else { "" };
    vec![
        line.time.clone(),
        format!("{}{beyond}", line.action),
        line.machine.clone().unwrap_or_default(),
        line.friendly_name.clone().unwrap_or_default(),
        thousands(line.used),
        line.free.map_or_else(String::new, thousands),
        line.over.filter(|over| *over > 0).map_or_else(String::new, thousands),
    ]
}

const HOLDER_COLUMNS: [Column; 5] = [
    Column::Text("machine"),
    Column::Text("friendly name"),
    Column::Text("since"),
    Column::Text("lease ends"),
    Column::Text("overdraft"),
];

fn holder_rows(audit: &Audit) -> impl Iterator<Item = Vec<String>> {
    audit.holders.iter().map(|holder| {
        vec![
            holder.machine.clone(),
            holder.friendly_name.clone().unwrap_or_default(),
            holder.since.clone(),
            holder.expires.clone(),
            if holder.overdraft { "yes".to_owned() } else { String::new() },
        ]
    })
}

/// The findings, one sentence each.
fn findings(audit: &Audit) -> Vec<String> {
    let used = &audit.used;
    let limit = audit.seats.limit.map_or_else(
        || format!("Seats are not limited, by {}.", audit.seats.source),
        |limit| format!("{}, by {}.", counted(limit, "seat", "seats"), audit.seats.source),
    );
    let mut found = vec![
        limit,
        format!(
            "Used: {} at the start, {} at the end, {:.2} on average; most {}, first at {}.",
            used.at_start, used.at_end, used.average, used.most, used.most_since
        ),
    ];
    let length = |seconds: i64| span(Duration::from_secs(seconds.unsigned_abs()));
    if let (Some(at), Some(over)) = (audit.seconds_at_limit, audit.seconds_over_limit) {
        found.push(format!("At the limit or beyond it for {}, beyond it for {}.", length(at), length(over)));
    }
    let counts = &audit.counts;
    found.push(format!(
        "{}, {}, {}, {}.",
        counted(counts.activations, "activation", "activations"),
        counted(counts.verifications, "verification", "verifications"),
        counted(counts.deactivations, "deactivation", "deactivations"),
        counted(counts.expiries, "expiry", "expiries"),
    ));
    found.push(format!(
        "Refused: {} of {}.",
        counted(counts.refusals, "request", "requests"),
        counted(audit.refused.machines, "machine", "machines")
    ));
    found.push(format!(
        "Overdraft: {}, {}.",
        counted(audit.overdraft.machines, "machine", "machines"),
        counted(audit.overdraft.heartbeats, "heartbeat", "heartbeats")
    ));
    found
}

/// Notes that a reader needs to judge the numbers.
fn notes(audit: &Audit) -> Vec<String> {
    let mut notes = Vec::new();
    if audit.identities == "masked" {
        notes.push("Key, machines and names are masked; --identities=full shows them.".to_owned());
    }
    if audit.seats.limit.is_some() && audit.seats.source == "GetKey" {
        notes.push(
            "The limit is the one of now; if it was another one in this time, give it as --max-machines."
                .to_owned(),
        );
    }
    let odd = &audit.not_counted;
    for (rows, what) in [
        (audit.read.rows_without_id, "without an id, and not counted"),
        (odd.rows_without_time, "without a time, and not counted"),
        (odd.rows_without_machine, "without a machine code, so that nobody knows whose seat it was"),
        (odd.leases_without_end, "of a lease without an end, and holds no seat here"),
        (
            audit.refused.with_free_seats,
            "a refusal while seats were free here: the limit may have been another one",
        ),
    ] {
        if rows > 0 {
            notes.push(format!("{} {what}.", counted(rows, "entry was", "entries were")));
        }
    }
    notes
}

/// The audit for the terminal.
pub(in crate::report) fn text(audit: &Audit, heading: &str, screen: Screen) -> String {
    let mut lines =
        vec![screen.strong("Seats"), format!("{heading}, product {}, key {}", audit.product_id, audit.key)];
    lines.extend(notes(audit).iter().map(|note| screen.weak(note)));
    lines.push(String::new());
    if audit.is_empty() {
        lines.push(NOTHING.to_owned());
    } else {
        lines.extend(findings(audit));
    }
    let mut page = lines.join("\n") + "\n";
    let mut section = |title: &str, columns: &[Column], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            page.push_str(&format!("\n{}\n{}", screen.strong(title), screen.table(columns, rows)));
        }
    };
    section("Who holds a seat at the end", &HOLDER_COLUMNS, holder_rows(audit).collect());
    let title = "History, without verifications (--format=csv has them)";
    section(title, &CHANGE_COLUMNS, audit.changes().map(change_cells).collect());
    page
}

/// The whole history, a row for each entry.
pub(in crate::report) fn csv(audit: &Audit) -> Result<String, ReportError> {
    let header =
        ["time", "action", "machine", "friendly_name", "expires", "overdraft", "used", "free", "over"];
    write(
        &header,
        audit.history.iter().map(|line| {
            [
                Cell::from(line.time.clone()),
                line.action.into(),
                line.machine.clone().into(),
                line.friendly_name.clone().into(),
                line.expires.clone().into(),
                // A truth value, which is no text.
                number(line.overdraft),
                number(line.used),
                maybe_number(line.free),
                maybe_number(line.over),
            ]
        }),
    )
}

/// The audit as a page.
pub(in crate::report) fn html(audit: &Audit, window: &Window, heading: &str) -> Result<String, ReportError> {
    let content = if audit.is_empty() {
        markup! { p.note { (NOTHING) } }
    } else {
        sections(audit, window)?
    };
    let body = markup! {
        h1 { "Seats" }
        p.weak { (heading) ", product " (audit.product_id) ", key " (audit.key) }
        @for note in notes(audit) { p.weak { (note) } }
        (content)
    };
    Ok(page("Seat audit", &body))
}

fn sections(audit: &Audit, window: &Window) -> Result<Markup, ReportError> {
    let limit = audit.seats.limit.map_or_else(|| "no limit".to_owned(), thousands);
    let described = format!("step chart: seats used over time, {} at most", audit.used.most);
    let alarming = |number: u64| if number > 0 { "bad" } else { "" };
    Ok(markup! {
        (figures(&[
            ("Seats", limit, ""),
            ("Most used", thousands(audit.used.most), ""),
            ("Refusals", thousands(audit.counts.refusals), alarming(audit.counts.refusals)),
            ("Overdraft machines", thousands(audit.overdraft.machines), alarming(audit.overdraft.machines)),
        ]))
        @for finding in findings(audit) { p { (finding) } }
        (figure(&chart(audit, window)?, &described, false))
        h2 { "Who holds a seat at the end" }
        @if audit.holders.is_empty() { p { "Nobody." } }
        @else { (html_table(&HOLDER_COLUMNS, holder_rows(audit))) }
        h2 { "History, without verifications" }
        (html_table(&CHANGE_COLUMNS, audit.changes().map(change_cells)))
    })
}

fn chart(audit: &Audit, window: &Window) -> Result<String, ReportError> {
    let all: Vec<(i64, u64)> = audit.steps.iter().map(|step| (step.unix, step.used)).collect();
    let mut legend = vec![("seats used", GOOD.0)];
    legend.extend(audit.seats.limit.map(|_| ("limit", BAD.0)));
    let format = if window.seconds() <= 2 * 86_400 { "%H:%M" } else { "%b %d, %H:%M" };
    steps(
        "Seats used over time",
        &thinned(&all, window),
        (window.from, window.to),
        audit.seats.limit,
        &legend,
        |time| label(time, window.zone, format),
    )
}

fn label(time: i64, zone: Zone, format: &str) -> String {
    local(time, zone).format(format).to_string()
}

/// Of the steps within one point of the chart, the highest and the last: no peak is lost.
fn thinned(steps: &[(i64, u64)], window: &Window) -> Vec<(i64, u64)> {
    let point =
        |time: i64| i128::from(time - window.from) * i128::from(POINTS) / i128::from(window.seconds());
    steps
        .chunk_by(|(first, _), (second, _)| point(*first) == point(*second))
        .flat_map(|chunk| {
            let highest = chunk.iter().max_by_key(|(_, used)| *used).copied();
            let last = chunk.last().copied().filter(|last| Some(*last) != highest);
            highest.into_iter().chain(last)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_line_keeps_its_peak_and_its_end() {
        let window = Window { from: 0, to: 9_000_000, zone: Zone::UTC };
        let many: Vec<(i64, u64)> =
            (0..10_000).map(|time| (time * 2, u64::try_from(time % 7).unwrap())).collect();
        let thin = thinned(&many, &window);
        assert!(thin.len() <= 6, "{}", thin.len());
        assert_eq!(thin.iter().map(|(_, used)| *used).max(), Some(6));
        assert_eq!(thin.last(), many.last());
        assert!(thin.is_sorted_by_key(|(time, _)| *time));
    }
}
