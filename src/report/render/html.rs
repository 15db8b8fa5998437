//! HTML: one file that loads nothing and runs nothing, for light and dark screens, and for paper.
//!
//! Colours of a chart are attributes, so that it can be read where a mail program removes the
//! style sheet; the style sheet overrides them by class. Every chart has its numbers in a table
//! below it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::axis::{Tick, as_f64, scale, ticks};
use super::words::{self, of_phrase, sentence, shown, visible};
use crate::report::document::{
    Block, ChartBlock, ChartMark, Datum, Document, FigureBlock, FindingBlock, Level, MarkRole, Measure,
    MethodBlock, Moment, Phrase, Prose, SeriesRole, StepBlock, TableBlock, TableColumn, Tone,
};
use crate::report::window::local;
use crate::text::thousands;

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The drawing area of a chart, in units of its view box.
const CHART_WIDTH: f64 = 920.0;
const CHART_HEIGHT: f64 = 240.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 908.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 212.0;
/// The size of a small chart within a table.
const TREND_WIDTH: f64 = 150.0;
const TREND_HEIGHT: f64 = 22.0;
/// The longest bar within a table.
const BAR_WIDTH: f64 = 60.0;

/// Levels of a strip in words.
const LEVELS: [&str; 5] = ["nothing", "little", "much", "full", "refused"];
const LEVEL_CLASSES: [(&str, &str); 5] =
    [("s-0", "#eef1f4"), ("s-1", "#cfdce7"), ("s-2", "#8fa8bd"), ("s-3", "#e3a34f"), ("s-4", "#c2321f")];

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
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                header class=(class) {
                    p.kicker { (document.title) " · " (visible(&document.account)) }
                    h1 { (headline) }
                    p.scope {
                        b { (words::period(document)) } " (" (document.period.label) "). " (sentence(&document.lead))
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
        Block::Chart(block) => chart(block),
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

const fn fill(role: SeriesRole) -> (&'static str, &'static str) {
    match role {
        SeriesRole::Bad => ("s-bad", "#c2321f"),
        SeriesRole::Good => ("s-good", "#8fa8bd"),
        SeriesRole::Neutral => ("s-neutral", "#8fa8bd"),
        SeriesRole::Accent => ("s-accent", "#1f6f8b"),
    }
}

/// A rectangle of a chart.
fn rectangle((class, colour): (&str, &str), [x, y, width, height]: [f64; 4]) -> Markup {
    html! { rect class=(class) fill=(colour) x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) {} }
}

/// A coordinate without needless digits.
fn px(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The scales of a chart.
struct Frame {
    columns: f64,
    top: f64,
    line: f64,
}

impl Frame {
    fn new(block: &ChartBlock) -> Frame {
        let sum = |column: usize| -> u64 {
            block.stack.iter().filter_map(|series| series.values.get(column).copied().flatten()).sum()
        };
        let highest = (0..block.x.len()).map(sum).max().unwrap_or(0);
        let limit = block.limit.as_ref().map_or(0.0, |limit| limit.value);
        let (top, line) = scale(number(highest).max(limit));
        Frame { columns: as_f64(block.x.len().max(1)), top, line }
    }

    fn x(&self, column: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * column / self.columns
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * value / self.top
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count as a height")]
fn number(count: u64) -> f64 {
    count as f64
}

fn chart(block: &ChartBlock) -> Markup {
    let frame = Frame::new(block);
    let (title, about) = (format!("{}-title", block.id), format!("{}-about", block.id));
    html! {
        figure {
            figcaption { h2 { (visible(&block.title)) } (legend(block)) }
            svg viewBox=(format!("0 0 {CHART_WIDTH} {CHART_HEIGHT}")) role="img" font-size="11"
                font-family="sans-serif" aria-labelledby=(format!("{title} {about}")) {
                title id=(title) { (visible(&block.title)) }
                desc id=(about) { (sentence(&block.alt)) }
                @for (from, to) in &block.shade {
                    @let (from, to) = (frame.x(*from), frame.x(*to));
                    (rectangle(("s-shade", "#fbeeea"), [from, TOP, to - from, BOTTOM - TOP]))
                }
                (grid(&frame))
                (columns(block, &frame))
                @for (index, tick) in ticks(block, block.x.len().div_ceil(14).max(1)).iter().enumerate() {
                    (label(tick, index, &frame))
                }
                @if let Some(limit) = &block.limit {
                    @let y = px(frame.y(limit.value));
                    line class="s-limit" stroke="#1b2027" stroke-dasharray="5 4" x1=(px(LEFT)) x2=(px(RIGHT)) y1=(y) y2=(y) {}
                    text class="s-ink" fill="#1b2027" x=(px(RIGHT)) y=(px(frame.y(limit.value) - 5.0)) text-anchor="end" {
                        (visible(&limit.label))
                    }
                }
                (marks(&block.marks, &frame))
            }
            details {
                summary { "The numbers of this chart" }
                div.scroll { table {
                    thead { tr {
                        th scope="col" { "from" }
                        @for series in &block.stack { th.number scope="col" { (series.label) } }
                    } }
                    tbody { @for (column, moment) in block.x.iter().enumerate() { tr {
                        th scope="row" { (begin(block, *moment)) }
                        @for series in &block.stack {
                            td.number { (series.values.get(column).copied().flatten().map_or("–".to_owned(), thousands)) }
                        }
                    } } }
                } }
            }
        }
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

fn legend(block: &ChartBlock) -> Markup {
    html! {
        ul.legend {
            @for series in block.stack.iter().rev() { li {
                svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" {
                    (rectangle(fill(series.role), [0.0, 0.0, 10.0, 10.0]))
                }
                (series.label)
            } }
            @if block.marks.iter().any(|mark| mark.role == MarkRole::Refused) { li {
                svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" {
                    path class="s-pin" fill="#5b3e96" d="M0 1h10L5 9z" {}
                }
                "refused"
            } }
        }
    }
}

fn grid(frame: &Frame) -> Markup {
    let mut lines = Vec::new();
    let mut value = 0.0;
    while value <= frame.top + frame.line / 2.0 {
        lines.push(value);
        value += frame.line;
    }
    html! {
        @for value in lines {
            @let y = frame.y(value);
            line class="s-line" stroke="#e6e9ed" x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y)) y2=(px(y)) {}
            text class="s-weak" fill="#57606a" x=(px(LEFT - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (amount(value)) }
        }
    }
}

/// A number on the axis, as `12k`.
fn amount(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "a round number")]
    let whole = value.round() as i64;
    if whole >= 10_000 && whole % 1000 == 0 {
        format!("{}k", thousands(whole / 1000))
    } else if whole >= 1000 {
        format!("{}k", px(value / 1000.0))
    } else {
        whole.to_string()
    }
}

fn columns(block: &ChartBlock, frame: &Frame) -> Markup {
    let slot = (RIGHT - LEFT) / frame.columns;
    let width = if slot > 4.0 { slot * 0.82 } else { slot };
    html! {
        @for column in 0..block.x.len() {
            @let x = frame.x(as_f64(column)) + (slot - width) / 2.0;
            @for (base, value, role) in stacked(block, column) {
                @let (low, high) = (frame.y(base), frame.y(base + value));
                (rectangle(fill(role), [x, high, width, low - high]))
            }
        }
    }
}

/// The parts of a column that are not nothing: where each begins, and how high it is.
fn stacked(block: &ChartBlock, column: usize) -> Vec<(f64, f64, SeriesRole)> {
    let mut base = 0.0;
    let mut parts = Vec::new();
    for series in &block.stack {
        let value = number(series.values.get(column).copied().flatten().unwrap_or(0));
        if value > 0.0 {
            parts.push((base, value, series.role));
            base += value;
        }
    }
    parts
}

fn label(tick: &Tick, index: usize, frame: &Frame) -> Markup {
    let class = if index.is_multiple_of(2) { "s-weak" } else { "s-weak minor" };
    let x = frame.x(tick.at).clamp(LEFT + 12.0, RIGHT - 14.0);
    html! {
        text class=(class) fill="#57606a" x=(px(x)) y=(px(BOTTOM + 17.0)) text-anchor="middle" { (tick.label) }
    }
}

fn marks(marks: &[ChartMark], frame: &Frame) -> Markup {
    let lines: Vec<&ChartMark> = marks.iter().filter(|mark| mark.role != MarkRole::Refused).collect();
    html! {
        @for (index, mark) in lines.iter().enumerate() {
            @let x = frame.x(mark.at);
            // The first of two neighbours stands left of its line, so that they do not overlap.
            @let is_left = if lines.len() > 1 { index == 0 && x > 260.0 || x > 760.0 } else { x > 560.0 };
            @let dash = if mark.role == MarkRole::Onset { "none" } else { "3 3" };
            line class="s-mark" stroke="#5b3e96" stroke-width="1.5" stroke-dasharray=(dash)
                x1=(px(x)) x2=(px(x)) y1=(px(8.0 + 12.0 * as_f64(index / 2))) y2=(px(BOTTOM)) {}
            text class="s-ink" fill="#1b2027" font-weight="600" y=(px(18.0 + 12.0 * as_f64(index / 2)))
                x=(px(if is_left { x - 6.0 } else { x + 6.0 })) text-anchor=(if is_left { "end" } else { "start" }) {
                (visible(&mark.label))
            }
        }
        @for mark in marks.iter().filter(|mark| mark.role == MarkRole::Refused) {
            @let x = frame.x(mark.at);
            path class="s-pin" fill="#5b3e96" d=(format!("M{} 22h10l-5 8z", px(x - 5.0))) {
                title { (visible(&mark.label)) }
            }
        }
    }
}

fn table(block: &TableBlock, top: usize) -> Markup {
    let further = words::further(block.rows.len(), top);
    html! {
        section {
            div.scroll { table {
                caption { h2 { (visible(&block.title)) } }
                thead { tr { @for column in block.columns.iter().filter(|column| !column.is_under) {
                    th scope="col" class=[column.kind.is_number().then_some("number")] { (column.label) }
                } } }
                tbody { @for (number, row) in block.rows.iter().take(top).enumerate() {
                    tr class=[block.hot.contains(&number).then_some("hot")] { (cells(block, row)) }
                } }
            } }
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
        Some(shown(row.get(index + 1)?, column.kind))
    };
    html! {
        @for (index, (column, value)) in block.columns.iter().zip(row).enumerate() {
            @if column.is_under {
            } @else if index == 0 {
                th scope="row" { (shown(value, column.kind)) @if let Some(small) = under(index) { small { (small) } } }
            } @else {
                (cell(column, value, most(index), under(index).as_deref()))
            }
        }
    }
}

fn cell(column: &TableColumn, value: &Datum, most: i64, under: Option<&str>) -> Markup {
    html! {
        @match (value, column.kind) {
            (Datum::Trend { all, bad }, _) => td.drawn { (trend(all, bad)) },
            (Datum::Levels(levels), _) => td.drawn { (strip(levels)) },
            (Datum::Whole(number), _) if column.has_bar && *number > 0 => td.number {
                span.bar { (bar(*number, most)) (data(value, column.kind)) }
            },
            (_, kind) if kind.is_number() => td.number { (data(value, kind)) },
            (_, Measure::Code) => td.whole { code { (shown(value, column.kind)) } },
            (_, Measure::Time) => td.whole { (data(value, column.kind)) },
            _ => td { (shown(value, column.kind)) @if let Some(small) = under { small { (small) } } },
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "the length of a bar")]
fn bar(number: i64, most: i64) -> Markup {
    let width = BAR_WIDTH * number as f64 / most.max(1) as f64;
    html! {
        svg viewBox=(format!("0 0 {BAR_WIDTH} 8")) width=(px(BAR_WIDTH)) height="8" aria-hidden="true" {
            (rectangle(("s-bad", "#c2321f"), [BAR_WIDTH - width, 0.0, width, 8.0]))
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
                    (rectangle(("s-good", "#8fa8bd"), [x, TREND_HEIGHT - height(*all), slot * 0.8, height(*all) - height(bad)]))
                }
                @if bad > 0 {
                    (rectangle(("s-bad", "#c2321f"), [x, TREND_HEIGHT - height(bad), slot * 0.8, height(bad)]))
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
    let class = |level: u8| LEVEL_CLASSES.get(usize::from(level)).copied().unwrap_or(("s-4", "#c2321f"));
    html! {
        svg viewBox=(format!("0 0 {TREND_WIDTH} 16")) width=(px(TREND_WIDTH)) height="16" role="img"
            aria-label=(about.join(", ")) {
            @for (index, level) in levels.iter().enumerate() {
                (rectangle(class(*level), [slot * as_f64(index), 0.0, slot * 0.85, 16.0]))
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
                pre { code { (sentence(&item.command)) } }
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
