//! The report on the Web API Log as a page, and its two charts.

use maud::{Markup, html as markup};

use super::model::{Identified, WebApiReport, failure_states};
use super::text::{
    FAILURE_COLUMNS, KEY_COLUMNS, OF_ALL_WEEKS, STATE_COLUMNS, WHO_COLUMNS, capitalised, compared,
    count_columns, count_row, event_type_rows, failing_columns, failing_rows, failure_cells, key_rows, notes,
    product_rows, state_cells, usual, who_rows,
};
use crate::report::chart::{Axis, BAD, Bar, GOOD, OTHER, bars};
use crate::report::count::ratio;
use crate::report::error::ReportError;
use crate::report::options::Chart;
use crate::report::page::{figure, figures, page, table};
use crate::report::text::{percent, thousands};

/// One chart, as a file of its own.
pub(in crate::report) fn svg(report: &WebApiReport, chart: Chart) -> Result<String, ReportError> {
    match chart {
        Chart::Outcome => outcome_chart(report),
        Chart::Daily => daily_chart(report),
    }
}

fn outcome_chart(report: &WebApiReport) -> Result<String, ReportError> {
    let total = &report.total;
    let shares = [
        ("success", total.success_share, GOOD.0),
        ("failure", total.failure_share, BAD.0),
        ("unknown", total.unknown_share, OTHER.0),
    ];
    let bar = |(name, share, colour): (&str, Option<f64>, _)| Bar {
        label: name.to_owned(),
        parts: vec![(share.unwrap_or(0.0), colour)],
        value: percent(share),
    };
    let shown = shares.into_iter().filter(|(name, share, _)| *name != "unknown" || *share > Some(0.0));
    bars("Successful vs. unsuccessful requests", &shown.map(bar).collect::<Vec<_>>(), Axis::Share, &[])
}

#[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
fn daily_chart(report: &WebApiReport) -> Result<String, ReportError> {
    let bar = |day: &super::model::WebApiDay| Bar {
        label: day.date.format("%b %d").to_string(),
        parts: vec![
            (day.counts.failure as f64, BAD.0),
            (day.counts.success as f64, GOOD.0),
            (day.counts.unknown as f64, OTHER.0),
        ],
        value: String::new(),
    };
    let days: Vec<Bar> = report.days.iter().map(bar).collect();
    let mut legend = vec![("failure", BAD.0), ("success", GOOD.0)];
    if report.total.counts.unknown > 0 {
        legend.push(("unknown", OTHER.0));
    }
    bars("Requests by day", &days, Axis::Number, &legend)
}

/// The whole report.
pub(in crate::report) fn html(report: &WebApiReport, heading: &str) -> Result<String, ReportError> {
    let content = if report.is_empty() {
        markup! { p.note { "The log holds no request in this time." } }
    } else {
        sections(report)?
    };
    let body = markup! {
        h1 { "Web API Log" }
        p.weak { (heading) }
        @for note in notes(report) { p.weak { (note) } }
        (content)
    };
    Ok(page("Web API Log report", &body))
}

fn sections(report: &WebApiReport) -> Result<Markup, ReportError> {
    let total = &report.total.counts;
    let described = format!(
        "bar chart: {} of requests succeed, {} fail",
        percent(report.total.success_share),
        percent(report.total.failure_share)
    );
    Ok(markup! {
        (figures(&[
            ("Requests", thousands(total.requests), ""),
            ("Success", thousands(total.success), "good"),
            ("Failure", thousands(total.failure), "bad"),
            ("Failure ratio", percent(total.failure_ratio), ""),
        ]))
        @if let Some(sentence) = compared(report) { p { (sentence) } }
        @if let Some(sentence) = usual(report) { p { (sentence) } }
        (figure(&outcome_chart(report)?, &described, true))
        (figure(&daily_chart(report)?, "bar chart: requests of each day, failures below", false))
        @if report.days.iter().any(|day| !day.whole) { p.weak { "The first or last day is not whole." } }
        h2 { "By hour of the week" }
        (heat_map(report))
        h2 { "By event type" }
        (table(&count_columns("event type"), event_type_rows(report)))
        h2 { "By product" }
        (table(&count_columns("product"), product_rows(report)))
        h2 { "By state" }
        (table(&STATE_COLUMNS, report.states.iter().map(state_cells)))
        h2 { "Failure states, first and last seen" }
        (table(&FAILURE_COLUMNS, failure_states(report).map(failure_cells)))
        h2 { "Keys above 1 % of traffic" }
        @if report.keys.above_one_percent.is_empty() { p { "None." } }
        @else { (table(&KEY_COLUMNS, key_rows(report))) }
        h2 { "Who fails" }
        (table(&WHO_COLUMNS, who_rows(report)))
        h2 { "Friendly names with most failures" }
        (failing("friendly name", &report.friendly_names))
        h2 { "Machines with most failures" }
        (failing("machine", &report.machines))
        h2 { "By day" }
        (table(&count_columns("day"), report.days.iter().map(|day| {
            count_row(day.date.to_string(), &day.counts)
        })))
    })
}

fn failing(name: &'static str, identified: &Identified) -> Markup {
    markup! {
        @if identified.most_failures.is_empty() { p { "None." } }
        @else { (table(&failing_columns(name), failing_rows(&identified.most_failures))) }
    }
}

fn heat_map(report: &WebApiReport) -> Markup {
    let most = report.hours_of_week.iter().map(|hour| hour.counts.requests).max().unwrap_or(0);
    markup! {
        div.table { table.heat {
            thead { tr { th {} @for hour in 0..24 { th { (hour) } } } }
            tbody { @for day in report.hours_of_week.chunks(24) { tr {
                th { (day.first().map(|hour| capitalised(hour.weekday)).unwrap_or_default()) }
                @for hour in day {
                    @let part = ratio(hour.counts.requests, most).unwrap_or(0.0) * 100.0;
                    @let words = format!("{} {}:00: {} requests, {} failed", capitalised(hour.weekday), hour.hour,
                        thousands(hour.counts.requests), thousands(hour.counts.failure));
                    td title=(words)
                        style=(format!("background: color-mix(in srgb, var(--good) {part:.0}%, var(--grid))")) {}
                }
            } } }
        } }
        p.weak { "The hour with most has " (thousands(most)) " requests, " (OF_ALL_WEEKS) "." }
    }
}
