//! Drawings of a document as SVG, within a page or as a file of its own: charts, shares, fields.
//!
//! Colours are attributes, so that a drawing can be read where a mail program removes the style sheet; the
//! style sheet of a page overrides them by class.

use maud::{Markup, html};

use super::axis::{Tick, as_f64, panel_scale, scale, ticks};
use super::marks::{self, Above};
use super::words::{percent, sentence, visible};
use crate::palette;
use crate::report::document::{
    Block, ChartBlock, ChartMark, ChartRatio, GridBlock, MarkRole, SeriesRole, ShareBlock,
};
use crate::text::thousands;

/// The drawing area, in units of the view box.
const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 908.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 212.0;
/// The area of the ratio below a chart.
const RATIO_TOP: f64 = 252.0;
const RATIO_BOTTOM: f64 = 312.0;
/// The distance between two rows of labels above a chart, and between two rows of numbers, which are
/// nearer to each other where only wide screens show them.
const LABEL_ROW: f64 = 20.0;
const NUMBER_ROW: f64 = 18.0;
const WIDE_NUMBER_ROW: f64 = 11.0;
/// The room for the label of a limit, in the letters of a narrow screen.
const LIMIT_ROOM: f64 = 100.0;
/// Bars of shares: where they begin and end, and the height of a row.
const BAR_LEFT: f64 = 120.0;
const BAR_RIGHT: f64 = 700.0;
const BAR_ROW: f64 = 28.0;
/// The cells of a field: where they begin, and the height of a row.
const CELL_LEFT: f64 = 56.0;
const CELL_ROW: f64 = 24.0;
/// The room for title and legend above a drawing that is a file of its own.
const HEAD: f64 = 56.0;

/// A class of the style sheet, and the colour where there is none.
pub(super) type Paint = (&'static str, &'static str);

pub(super) const BAD: Paint = ("s-bad", palette::BAD.light);
pub(super) const GOOD: Paint = ("s-good", palette::GOOD.light);
const NEUTRAL: Paint = ("s-neutral", palette::GOOD.light);
const ACCENT: Paint = ("s-accent", palette::ACCENT.light);
const NONE: Paint = ("s-none", palette::GRID.light);
const SHADE: Paint = ("s-shade", palette::SHADE.light);
const INK: &str = palette::INK.light;
const WEAK: &str = palette::WEAK.light;
const LINE: &str = palette::GRID.light;
const MARK: &str = palette::MARK.light;

/// A drawing with the words around it, which a page writes and a file draws.
pub(super) struct Drawing<'a> {
    id: &'a str,
    pub(super) title: &'a str,
    alt: &'a str,
    /// Signs and what they stand for.
    pub(super) legend: Vec<(Markup, &'a str)>,
    height: f64,
    /// The room for labels above that height, where they need more than a chart has.
    above: f64,
    content: Markup,
}

impl<'a> Drawing<'a> {
    /// The drawing of a block; none of one that is not drawn.
    pub(super) fn new(block: &'a Block) -> Option<Drawing<'a>> {
        match block {
            Block::Chart(block) => Some(of_chart(block)),
            Block::Shares(block) => Some(of_shares(block)),
            Block::Grid(block) => Some(of_grid(block)),
            Block::Figures(_) | Block::Findings(_) | Block::Table(_) | Block::Steps(_) | Block::Method(_) => {
                None
            }
        }
    }

    /// The drawing within a page.
    pub(super) fn within_page(&self) -> Markup {
        html! {
            svg viewBox=(format!("0 {} {WIDTH} {}", px(-self.above), px(self.height + self.above))) role="img" font-size="11" font-family="sans-serif"
                aria-labelledby=(format!("{0}-title {0}-about", self.id)) {
                (self.words())
                (self.content)
            }
        }
    }

    /// The drawing as a file, with its title and legend, on paper of its own.
    pub(super) fn alone(&self) -> String {
        let height = self.height + self.above + HEAD;
        let top = -self.above - HEAD;
        let mut left = 14.0;
        let mut legend = Vec::new();
        for (sign, name) in &self.legend {
            legend.push((left, sign, name));
            // Without a font there is no measure; this is wide enough for lower case of this size.
            left += 40.0 + 6.5 * as_f64(name.chars().count());
        }
        let svg = html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(px(WIDTH)) height=(px(height))
                viewBox=(format!("0 {} {WIDTH} {}", px(top), px(height))) role="img" font-size="11" font-family="sans-serif"
                aria-labelledby=(format!("{0}-title {0}-about", self.id)) {
                (self.words())
                (rectangle(("", palette::PAPER.light), [0.0, top, WIDTH, height]))
                text fill=(INK) font-size="16" font-weight="600" x="14" y=(px(top + 26.0)) { (visible(self.title)) }
                @for (left, sign, name) in legend {
                    g transform=(format!("translate({} {})", px(left), px(top + 38.0))) { (sign) }
                    text fill=(WEAK) font-size="12" x=(px(left + 16.0)) y=(px(top + 48.0)) { (name) }
                }
                (self.content)
            }
        };
        svg.into_string() + "\n"
    }

    fn words(&self) -> Markup {
        html! {
            title id=(format!("{}-title", self.id)) { (visible(self.title)) }
            desc id=(format!("{}-about", self.id)) { (sentence(self.alt)) }
        }
    }
}

/// A square of a legend, ten units wide.
fn square(role: SeriesRole) -> Markup {
    rectangle(fill(role), [0.0, 0.0, 10.0, 10.0])
}

fn of_chart(block: &ChartBlock) -> Drawing<'_> {
    let frame = Frame::new(block);
    let below = block.ratio.as_ref().map_or(0.0, |_| RATIO_BOTTOM - BOTTOM);
    let has_numbers = block.has_numbered_marks();
    let above = if has_numbers { numbers(&block.marks, &frame) } else { marks(&block.marks, &frame) };
    let is_refused = block.marks.iter().any(|mark| mark.role == MarkRole::Refused);
    // The label of the limit stands where no pin does.
    let is_pinned = |from: f64, to: f64| {
        let mut pins = block.marks.iter().filter(|mark| mark.role == MarkRole::Refused);
        pins.any(|mark| (from..=to).contains(&frame.x(mark.at)))
    };
    let is_right_taken = is_pinned(RIGHT - LIMIT_ROOM, WIDTH) && !is_pinned(0.0, LEFT + LIMIT_ROOM);
    let content = html! {
        @for (from, to) in &block.shade {
            @let (from, to) = (frame.x(*from), frame.x(*to));
            (rectangle(SHADE, [from, TOP, to - from, BOTTOM - TOP]))
        }
        (grid(&frame))
        (columns(block, &frame))
        @for (index, tick) in ticks(block, block.x.len().div_ceil(14).max(1)).iter().enumerate() {
            (label(tick, index, frame.x(tick.at), BOTTOM + below))
        }
        @if let Some(ratio) = &block.ratio { (ratio_panel(ratio, &frame)) }
        @if let Some(limit) = &block.limit {
            @let y = px(frame.y(limit.value));
            line class="s-limit" stroke=(INK) stroke-dasharray="5 4" x1=(px(LEFT)) x2=(px(RIGHT)) y1=(y) y2=(y) {}
            text class="s-ink" fill=(INK) x=(px(if is_right_taken { LEFT + 4.0 } else { RIGHT }))
                y=(px(frame.y(limit.value) - 5.0)) text-anchor=(if is_right_taken { "start" } else { "end" }) {
                (visible(&limit.label))
            }
        }
        (above.content)
    };
    // What is neither comes last: it is the smallest part.
    let (others, judged): (Vec<_>, Vec<_>) =
        block.stack.iter().rev().partition(|series| series.role == SeriesRole::Accent);
    let mut legend: Vec<(Markup, &str)> =
        judged.into_iter().chain(others).map(|series| (square(series.role), series.label)).collect();
    let pin = || html! { path class="s-pin" fill=(MARK) d="M0 1h10L5 9z" {} };
    legend.extend(is_refused.then(|| (pin(), "refused")));
    let onset = if above.has_numbers { "onset, by number" } else { "onset" };
    legend.extend(has_numbers.then(|| (pin(), onset)));
    Drawing {
        id: block.id,
        title: &block.title,
        alt: &block.alt,
        legend,
        height: HEIGHT + below,
        above: above.height,
        content,
    }
}

/// Bars that lie one below the other: the whole is as long as the longest could be.
fn of_shares(block: &ShareBlock) -> Drawing<'_> {
    let content = html! {
        @for (index, item) in block.items.iter().enumerate() {
            @let (top, share) = (BAR_ROW * as_f64(index), item.share.unwrap_or(0.0).clamp(0.0, 1.0));
            @let end = BAR_LEFT + (BAR_RIGHT - BAR_LEFT) * share;
            text class="s-ink" fill=(INK) x="4" y=(px(top + 18.0)) { (item.label) }
            (rectangle(NONE, [BAR_LEFT, top + 4.0, BAR_RIGHT - BAR_LEFT, BAR_ROW - 8.0]))
            @if share > 0.0 { (rectangle(fill(item.role), [BAR_LEFT, top + 4.0, end - BAR_LEFT, BAR_ROW - 8.0])) }
            text class="s-ink" fill=(INK) x=(px(BAR_RIGHT + 10.0)) y=(px(top + 18.0)) {
                (item.share.map_or("–".to_owned(), percent)) " · " (thousands(item.value))
            }
        }
    };
    let height = BAR_ROW * as_f64(block.items.len()) + 4.0;
    Drawing {
        id: block.id,
        title: &block.title,
        alt: &block.alt,
        legend: Vec::new(),
        height,
        above: 0.0,
        content,
    }
}

/// Cells that are the deeper the more they stand for.
fn of_grid(block: &GridBlock) -> Drawing<'_> {
    let highest = number(block.highest().max(1));
    let slot = (RIGHT - CELL_LEFT) / as_f64(block.columns.len().max(1));
    let bottom = CELL_ROW * as_f64(block.rows.len());
    let content = html! {
        @for (index, row) in block.rows.iter().enumerate() {
            @let top = CELL_ROW * as_f64(index);
            text class="s-weak" fill=(WEAK) x=(px(CELL_LEFT - 8.0)) y=(px(top + 16.0)) text-anchor="end" { (row.label) }
            @for (column, (value, name)) in row.values.iter().zip(&block.columns).enumerate() {
                @let paint = if *value == 0 { NONE } else { ACCENT };
                @let opacity = if *value == 0 { 1.0 } else { 0.12 + 0.88 * number(*value) / highest };
                rect class=(paint.0) fill=(paint.1) fill-opacity=(px(opacity)) x=(px(CELL_LEFT + slot * as_f64(column)))
                    y=(px(top + 1.0)) width=(px(slot - 2.0)) height=(px(CELL_ROW - 2.0)) rx="2" {
                    title {
                        (row.label) " " (name) ": " (thousands(*value)) " " (block.unit) ", "
                        (thousands(row.bad.get(column).copied().unwrap_or(0))) " " (block.bad_unit)
                    }
                }
            }
        }
        @for (column, name) in block.columns.iter().enumerate() {
            text class=(if column.is_multiple_of(3) { "s-weak" } else { "s-weak minor" }) fill=(WEAK) text-anchor="middle"
                x=(px(CELL_LEFT + slot * (as_f64(column) + 0.5) - 1.0)) y=(px(bottom + 17.0)) { (name) }
        }
    };
    Drawing {
        id: block.id,
        title: &block.title,
        alt: &block.alt,
        legend: Vec::new(),
        height: bottom + 24.0,
        above: 0.0,
        content,
    }
}

/// The paint of a part of a column.
pub(super) const fn fill(role: SeriesRole) -> Paint {
    match role {
        SeriesRole::Bad => BAD,
        SeriesRole::Good => GOOD,
        SeriesRole::Neutral => NEUTRAL,
        SeriesRole::Accent => ACCENT,
    }
}

/// A rectangle.
pub(super) fn rectangle((class, colour): Paint, [x, y, width, height]: [f64; 4]) -> Markup {
    html! { rect class=(class) fill=(colour) x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) {} }
}

/// A coordinate without needless digits.
pub(super) fn px(number: f64) -> String {
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

    /// The room of a column, and how wide it is.
    fn slot_and_width(&self) -> (f64, f64) {
        let slot = (RIGHT - LEFT) / self.columns;
        (slot, if slot > 4.0 { slot * 0.82 } else { slot })
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * value / self.top
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count as a height")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
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
            line class="s-line" stroke=(LINE) x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y)) y2=(px(y)) {}
            text class="s-weak" fill=(WEAK) x=(px(LEFT - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (amount(value)) }
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
    let (slot, width) = frame.slot_and_width();
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

/// The ratio of each column, below the chart.
fn ratio_panel(ratio: &ChartRatio, frame: &Frame) -> Markup {
    let values = ratio.values.iter().copied().flatten();
    let highest = values.chain(ratio.limit.as_ref().map(|limit| limit.value)).fold(0.0, f64::max);
    // In percent, the scale is one of round numbers.
    let (top, line) = panel_scale(highest * 100.0);
    let lines = if line < top { vec![0.0, line, top] } else { vec![0.0, top] };
    let y = |value: f64| RATIO_BOTTOM - (RATIO_BOTTOM - RATIO_TOP) * value * 100.0 / top;
    let (slot, width) = frame.slot_and_width();
    let dashed = ratio.limit.as_ref().map(|limit| format!("; dashed: {}", limit.label)).unwrap_or_default();
    html! {
        text class="s-weak panel" fill=(WEAK) x=(px(LEFT)) y=(px(RATIO_TOP - 12.0)) { (ratio.label) (visible(&dashed)) }
        @for percent in lines {
            @let line = px(y(percent / 100.0));
            line class="s-line" stroke=(LINE) x1=(px(LEFT)) x2=(px(RIGHT)) y1=(line) y2=(line) {}
            text class="s-weak" fill=(WEAK) x=(px(LEFT - 8.0)) y=(px(y(percent / 100.0) + 4.0)) text-anchor="end" {
                (px(percent)) "%"
            }
        }
        @for (column, value) in ratio.values.iter().enumerate() {
            @if let Some(value) = value.filter(|value| *value > 0.0) {
                @let x = frame.x(as_f64(column)) + (slot - width) / 2.0;
                (rectangle(fill(SeriesRole::Bad), [x, y(value), width, RATIO_BOTTOM - y(value)]))
            }
        }
        @if let Some(limit) = &ratio.limit {
            @let line = px(y(limit.value));
            line class="s-limit" stroke=(INK) stroke-dasharray="5 4" x1=(px(LEFT)) x2=(px(RIGHT)) y1=(line) y2=(line) {}
        }
    }
}

fn label(tick: &Tick, index: usize, x: f64, bottom: f64) -> Markup {
    let class = if index.is_multiple_of(2) { "s-weak tick" } else { "s-weak tick minor" };
    let x = x.clamp(LEFT + 12.0, RIGHT - 14.0);
    html! {
        text class=(class) fill=(WEAK) x=(px(x)) y=(px(bottom + 17.0)) text-anchor="middle" { (tick.label) }
    }
}

/// What stands above a chart.
struct AboveChart {
    /// The room that it needs above the drawing area of a chart without labels.
    height: f64,
    /// True if every screen shows the numbers of the marks.
    has_numbers: bool,
    content: Markup,
}

/// Marks that have a number each: a pin, with the number above it where there is room for it.
fn numbers(marks: &[ChartMark], frame: &Frame) -> AboveChart {
    let spots: Vec<(f64, usize)> =
        marks.iter().map(|mark| (frame.x(mark.at), mark.label.chars().count())).collect();
    let placed = marks::above(&spots);
    let is_wide_only = placed.as_ref().is_some_and(|placed| placed.is_wide_only);
    let (class, distance, letter) =
        if is_wide_only { ("s-ink minor", WIDE_NUMBER_ROW, 9.0) } else { ("s-ink", NUMBER_ROW, 15.0) };
    let highest = placed.iter().flat_map(|placed| placed.rows.iter().copied()).max().unwrap_or(0);
    let baseline = |row: usize| 20.0 - distance * as_f64(row);
    let row_of = |index: usize| placed.as_ref().and_then(|Above { rows, .. }| rows.get(index).copied());
    let content = html! {
        @for (index, mark) in marks.iter().enumerate() {
            @let x = frame.x(mark.at);
            path class="s-pin" fill=(MARK) d=(format!("M{} 24h8l-4 7z", px(x - 4.0))) {
                title { (visible(&mark.label)) }
            }
            @if let Some(row) = row_of(index) {
                text class=(class) fill=(INK) x=(px(x)) y=(px(baseline(row))) text-anchor="middle" {
                    (visible(&mark.label))
                }
            }
        }
    };
    let height = (letter - baseline(highest)).max(0.0);
    AboveChart { height, has_numbers: placed.is_some_and(|placed| !placed.is_wide_only), content }
}

/// Marks that have words: a line with the words beside its upper end. Refusals are pins without words.
fn marks(marks: &[ChartMark], frame: &Frame) -> AboveChart {
    let (pins, lines): (Vec<&ChartMark>, Vec<&ChartMark>) =
        marks.iter().partition(|mark| mark.role == MarkRole::Refused);
    let mut lines: Vec<(f64, &ChartMark)> = lines.into_iter().map(|mark| (frame.x(mark.at), mark)).collect();
    lines.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let spots: Vec<(f64, usize)> =
        lines.iter().map(|(x, mark)| (*x, visible(&mark.label).chars().count())).collect();
    let labels = marks::beside(&spots, WIDTH);
    // A chart has room for two rows; pins take the second one.
    let rows = labels.iter().map(|label| label.row + 1).max().unwrap_or(0) + usize::from(!pins.is_empty());
    let height = LABEL_ROW * as_f64(rows.saturating_sub(2));
    let content = html! {
        @for ((x, mark), label) in lines.iter().zip(&labels) {
            @let dash = if mark.role == MarkRole::Onset { "none" } else { "3 3" };
            @let top = LABEL_ROW * as_f64(label.row) - height;
            line class="s-mark" stroke=(MARK) stroke-width="1.5" stroke-dasharray=(dash)
                x1=(px(*x)) x2=(px(*x)) y1=(px(top + 4.0)) y2=(px(BOTTOM)) {}
            text class="s-ink" fill=(INK) font-weight="600" y=(px(top + 15.0))
                x=(px(if label.is_left { x - marks::GAP } else { x + marks::GAP }))
                text-anchor=(if label.is_left { "end" } else { "start" }) {
                (visible(&mark.label))
            }
        }
        @for mark in pins {
            @let x = frame.x(mark.at);
            path class="s-pin" fill=(MARK) d=(format!("M{} 22h10l-5 8z", px(x - 5.0))) {
                title { (visible(&mark.label)) }
            }
        }
    };
    AboveChart { height, has_numbers: false, content }
}
