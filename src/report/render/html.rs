//! HTML: one file that loads nothing and runs nothing, for light and dark screens, and for paper.
//!
//! Every drawing has its numbers in a table below it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::axis::as_f64;
use super::drawing::{BAD, Drawing, GOOD, Paint, number, px, rectangle};
use super::words::{self, of_phrase, sentence, shown, visible};
use crate::palette;
use crate::report::document::{
    Block, ChartBlock, Datum, Document, FigureBlock, FindingBlock, GridBlock, Level, Measure, MethodBlock,
    Moment, Phrase, Prose, ShareBlock, StepBlock, TableBlock, TableColumn, Tone,
};
use crate::report::window::local;
use crate::text::thousands;

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The size of a small chart within a table.
const TREND_WIDTH: f64 = 150.0;
const TREND_HEIGHT: f64 = 22.0;
/// The longest bar within a table.
const BAR_WIDTH: f64 = 60.0;

/// Levels of a strip in words.
const LEVELS: [&str; 5] = ["nothing", "little", "much", "full", "refused"];
const LEVEL_PAINTS: [Paint; 5] = [
    ("s-0", palette::LEVEL_0.light),
    ("s-1", palette::LEVEL_1.light),
    ("s-2", palette::GOOD.light),
    ("s-3", palette::WARN.light),
    ("s-4", palette::BAD.light),
];

/// The document as a page.
pub(super) fn html(document: &Document, top: usize) -> String {
    let headline = visible(&document.headline);
    let class = match document.level {
        Level::Fine => "fine",
        Level::Notice => "notice",
        Level::Problem => "problem",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                // Nothing is loaded and no script runs, whatever stands in a log.
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                // An empty icon, so that no browser asks for one.
                link rel="icon" href="data:,";
                title { (headline) }
                style { (PreEscaped(palette::style())) (PreEscaped(STYLE)) }
            }
            body { main {
                header class=(class) {
                    p.kicker { (document.title) " · " (visible(&document.account)) }
                    h1 { (headline) }
                    p.scope {
                        b { (words::period(document)) }
                        @if let Some(label) = words::period_label(document) { " (" (label) ")" }
                        ". " (sentence(&document.lead))
                    }
                }
                @for block in &document.blocks { (of_block(block, top)) }
                footer { p { "cryptolens-exporter " (env!("CARGO_PKG_VERSION")) " · " (sentence(&document.command)) } }
            } }
        }
    }
    .into_string()
        + "\n"
}

fn of_block(block: &Block, top: usize) -> Markup {
    match block {
        Block::Figures(block) => figures(block),
        Block::Findings(block) => findings(block),
        Block::Shares(_) | Block::Chart(_) | Block::Grid(_) => figure(block),
        Block::Table(block) => table(block, top),
        Block::Steps(block) => steps(block),
        Block::Method(block) => method(block),
    }
}

fn figures(block: &FigureBlock) -> Markup {
    let class = |tone: Tone| match tone {
        Tone::Good => "value good",
        Tone::Bad => "value bad",
        Tone::None => "value",
    };
    html! {
        dl.figures { @for item in &block.items { div {
            dt { (item.label) }
            dd class=(class(item.tone)) { (data(&item.value, item.kind)) }
            @if !item.note.is_empty() { dd.note { (sentence(&item.note)) } }
        } } }
    }
}

/// A value with its exact number, for who copies the page into a program.
fn data(value: &Datum, kind: Measure) -> Markup {
    let words = shown(value, kind);
    match value {
        Datum::Whole(number) => html! { data value=(number) { (words) } },
        Datum::Fraction(number) => html! { data value=(number) { (words) } },
        Datum::Time(Moment { at, zone }) => {
            html! { time datetime=(crate::report::window::rfc3339(*at, *zone)) { (words) } }
        }
        Datum::Nothing | Datum::Words(_) | Datum::Trend { .. } | Datum::Levels(_) => html! { (words) },
    }
}

fn findings(block: &FindingBlock) -> Markup {
    html! {
        section.findings {
            h2 { (visible(&block.title)) }
            ol { @for item in &block.items { li {
                h3 { (item.label) }
                p { (prose(&item.text)) }
                @if !item.basis.is_empty() { p.basis { (sentence(&item.basis)) } }
            } } }
        }
    }
}

fn prose(prose: &Prose) -> Markup {
    html! { @for phrase in &prose.0 { @match phrase {
        Phrase::Plain(_) => { (of_phrase(phrase)) },
        Phrase::Strong(_) => b { (of_phrase(phrase)) },
        Phrase::Code(_) => code { (of_phrase(phrase)) },
    } } }
}

/// A drawing with its legend above it and its numbers below it.
fn figure(block: &Block) -> Markup {
    let Some(drawing) = Drawing::new(block) else { return Markup::default() };
    html! {
        figure {
            figcaption {
                h2 { (visible(drawing.title)) }
                ul.legend { @for (sign, name) in &drawing.legend { li {
                    svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" { (sign) }
                    (name)
                } } }
            }
            (drawing.within_page())
            @if let Block::Grid(GridBlock { note, .. }) = block { @if !note.is_empty() { p.note { (sentence(note)) } } }
            details {
                summary { "The numbers of this chart" }
                div.scroll tabindex="0" { table { @match block {
                    Block::Chart(block) => (chart_numbers(block)),
                    Block::Shares(block) => (share_numbers(block)),
                    Block::Grid(block) => (grid_numbers(block)),
                    _ => {},
                } } }
            }
        }
    }
}

fn chart_numbers(block: &ChartBlock) -> Markup {
    html! {
        thead { tr {
            th scope="col" { "from" }
            @for series in &block.stack { th.number scope="col" { (series.label) } }
            @if let Some(ratio) = &block.ratio { th.number scope="col" { (ratio.label) } }
        } }
        tbody { @for (column, moment) in block.x.iter().enumerate() { tr {
            th scope="row" { (begin(block, *moment)) }
            @for series in &block.stack {
                td.number { (series.values.get(column).copied().flatten().map_or("–".to_owned(), thousands)) }
            }
            @if let Some(ratio) = &block.ratio {
                td.number { (ratio.values.get(column).copied().flatten().map_or("–".to_owned(), words::percent)) }
            }
        } } }
    }
}

fn share_numbers(block: &ShareBlock) -> Markup {
    html! {
        thead { tr { th scope="col" { "part" } th.number scope="col" { "number" } th.number scope="col" { "share" } } }
        tbody { @for item in &block.items { tr {
            th scope="row" { (item.label) }
            td.number { (data(&Datum::count(item.value), Measure::Count)) }
            td.number { (data(&item.share.into(), Measure::Ratio)) }
        } } }
    }
}

fn grid_numbers(block: &GridBlock) -> Markup {
    html! {
        thead { tr { td {} @for name in &block.columns { th.number scope="col" { (name) } } } }
        tbody { @for row in &block.rows { tr {
            th scope="row" { (row.label) }
            @for (value, bad) in row.values.iter().zip(&row.bad) {
                td.number { (thousands(*value)) @if *bad > 0 { " " small { (thousands(*bad)) " " (block.bad_unit) } } }
            }
        } } }
    }
}

/// The beginning of a column.
fn begin(block: &ChartBlock, moment: Moment) -> String {
    let time = local(moment.at, moment.zone);
    let days =
        block.x.len().saturating_sub(1).try_into().unwrap_or(0_i64).saturating_mul(block.step) / 86_400;
    let form = match (block.step >= 86_400, days) {
        (true, _) => "%-d %b %Y",
        (false, 0) => "%H:%M",
        (false, _) => "%-d %b %H:%M",
    };
    time.format(form).to_string()
}

fn table(block: &TableBlock, top: usize) -> Markup {
    let most = block.most_rows(top, true);
    let further = words::further(block.rows.len(), most);
    html! {
        section {
            // A head without a row under it looks like a page that was cut.
            @if block.rows.is_empty() { h2 { (visible(&block.title)) } } @else { div.scroll tabindex="0" { table {
                caption { h2 { (visible(&block.title)) } }
                thead { tr { @for column in block.columns.iter().filter(|column| !column.is_under) {
                    th scope="col" class=[column.kind.is_number().then_some("number")] { (column.label) }
                } } }
                tbody { @for (number, row) in block.rows.iter().take(most).enumerate() {
                    tr class=[block.hot.contains(&number).then_some("hot")] { (cells(block, row)) }
                } }
            } } }
            @if block.rows.is_empty() { p.note { (words::NO_ROW) } }
            @for note in further.iter().map(String::as_str).chain(Some(block.note.as_str()).filter(|note| !note.is_empty())) {
                p.note { (sentence(note)) }
            }
        }
    }
}

fn cells(block: &TableBlock, row: &[Datum]) -> Markup {
    let most = |index: usize| {
        let values = block.rows.iter().filter_map(|row| match row.get(index) {
            Some(Datum::Whole(number)) => Some(*number),
            _ => None,
        });
        values.max().unwrap_or(0)
    };
    let under = |index: usize| {
        let column = block.columns.get(index + 1).filter(|column| column.is_under)?;
        let value = row.get(index + 1)?;
        // The number of a product has room beside its name, and the key of a customer has not.
        let class = matches!(value, Datum::Whole(_)).then_some("beside");
        Some(html! { " " small class=[class] { (shown(value, column.kind)) } })
    };
    html! {
        @for (index, (column, value)) in block.columns.iter().zip(row).enumerate() {
            @if column.is_under {
            } @else if index == 0 {
                th scope="row" class=(row_head(column.kind)) { (data(value, column.kind)) (under(index).unwrap_or_default()) }
            } @else {
                (cell(column, value, (most(index), under(index))))
            }
        }
    }
}

/// The class of the head of a row: a code or a time is better scrolled to than broken, and a name has
/// room for some words on a line.
const fn row_head(kind: Measure) -> &'static str {
    match kind {
        Measure::Code | Measure::Time | Measure::Instant => "whole",
        _ => "name",
    }
}

/// A cell, with the highest number of its column, and what stands in small letters behind its value.
fn cell(column: &TableColumn, value: &Datum, (most, under): (i64, Option<Markup>)) -> Markup {
    html! {
        @match (value, column.kind) {
            (Datum::Trend { all, bad }, _) => td.drawn { (trend(all, bad)) },
            (Datum::Levels(levels), _) => td.drawn { (strip(levels)) },
            (Datum::Whole(number), _) if column.has_bar && *number > 0 => td.number {
                span.bar { (bar(*number, most)) " " (data(value, column.kind)) }
            },
            (_, kind) if kind.is_number() => td.number { (data(value, kind)) },
            (_, Measure::Code) => td.whole { code { (shown(value, column.kind)) } },
            (_, Measure::Time | Measure::Instant) => td.whole { (data(value, column.kind)) },
            _ if column.is_below => td.long { (shown(value, column.kind)) },
            _ => td { (shown(value, column.kind)) (under.unwrap_or_default()) },
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "the length of a bar")]
fn bar(number: i64, most: i64) -> Markup {
    let width = BAR_WIDTH * number as f64 / most.max(1) as f64;
    html! {
        svg viewBox=(format!("0 0 {BAR_WIDTH} 8")) width=(px(BAR_WIDTH)) height="8" aria-hidden="true" {
            (rectangle(BAD, [BAR_WIDTH - width, 0.0, width, 8.0]))
        }
    }
}

fn trend(all: &[u64], bad: &[u64]) -> Markup {
    let slot = TREND_WIDTH / as_f64(all.len().max(1));
    let highest = number(all.iter().copied().max().unwrap_or(0).max(1));
    let height = |value: u64| number(value) / highest * (TREND_HEIGHT - 1.0);
    let about = format!("requests: {}; failed: {}", list(all), list(bad));
    html! {
        svg viewBox=(format!("0 0 {TREND_WIDTH} {TREND_HEIGHT}")) width=(px(TREND_WIDTH)) height=(px(TREND_HEIGHT))
            role="img" aria-label=(about) {
            @for (index, (all, bad)) in all.iter().zip(bad.iter().copied().chain(std::iter::repeat(0))).enumerate() {
                @let x = slot * as_f64(index);
                @if *all > 0 {
                    (rectangle(GOOD, [x, TREND_HEIGHT - height(*all), slot * 0.8, height(*all) - height(bad)]))
                }
                @if bad > 0 {
                    (rectangle(BAD, [x, TREND_HEIGHT - height(bad), slot * 0.8, height(bad)]))
                }
            }
        }
    }
}

fn list(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn strip(levels: &[u8]) -> Markup {
    let slot = TREND_WIDTH / as_f64(levels.len().max(1));
    let name = |level: u8| LEVELS.get(usize::from(level)).copied().unwrap_or("refused");
    let about: Vec<&str> = levels.iter().map(|level| name(*level)).collect();
    let paint = |level: u8| LEVEL_PAINTS.get(usize::from(level)).copied().unwrap_or(BAD);
    html! {
        svg viewBox=(format!("0 0 {TREND_WIDTH} 16")) width=(px(TREND_WIDTH)) height="16" role="img"
            aria-label=(about.join(", ")) {
            @for (index, level) in levels.iter().enumerate() {
                (rectangle(paint(*level), [slot * as_f64(index), 0.0, slot * 0.85, 16.0]))
            }
        }
    }
}

fn steps(block: &StepBlock) -> Markup {
    html! {
        section.steps {
            h2 { (block.title) }
            ul { @for item in &block.items { li {
                span { (sentence(&item.text)) }
                // A line breaks between two words, not after the hyphens of a flag.
                pre { code {
                    @for (number, word) in sentence(&item.command).split(' ').enumerate() {
                        @if number > 0 { " " }
                        span { (word) }
                    }
                } }
            } } }
        }
    }
}

fn method(block: &MethodBlock) -> Markup {
    html! {
        section.method {
            h2 { (block.title) }
            dl { @for (name, text) in &block.items { dt { (name) } dd { (crate::text::fit(text, usize::MAX)) } } }
        }
    }
}
