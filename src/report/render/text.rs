//! Text for a terminal: no line is wider than the screen except commands, which are to be copied.
//!
//! Of a table that is too wide, the least important columns go first, then the longest texts are
//! cut. Without colour there are no escape sequences at all.

use unicode_width::UnicodeWidthStr as _;

use super::axis::{as_f64, scale, ticks};
use super::drawing::number;
use super::{shade, words};
use crate::report::document::{
    Block, ChartBlock, ChartMark, ChartMerge, ChartSeries, Datum, Document, FigureBlock, FindingBlock,
    GridBlock, Level, MarkRole, Measure, MethodBlock, Phrase, Prose, SeriesRole, ShareBlock, ShareItem,
    StepBlock, TableBlock, TableColumn, Tone,
};
use crate::report::text::Screen;
use crate::text::thousands;

/// The columns of a screen that nobody describes.
const USUAL_WIDTH: u16 = 80;
/// Sentences are not worth reading on less.
const LEAST_WIDTH: usize = 40;
/// The longest bar of a share.
const LONGEST_BAR: usize = 40;
/// A text is not cut shorter than this.
const LEAST_TEXT: usize = 8;
/// A chart with fewer lines has two for each number of its scale.
const LEAST_LINES: usize = 4;
/// The upper end of a column, in eighths.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The document.
pub(super) fn text(document: &Document, screen: Screen, top: usize) -> String {
    let width = usize::from(screen.width.unwrap_or(USUAL_WIDTH)).max(LEAST_WIDTH);
    let mut writer = TextWriter { screen, width, top, out: String::new() };
    writer.head(document);
    for block in &document.blocks {
        writer.out.push('\n');
        match block {
            Block::Figures(block) => writer.figures(block),
            Block::Findings(block) => writer.findings(block),
            Block::Shares(block) => writer.shares(block),
            Block::Chart(block) => writer.chart(block),
            Block::Grid(block) => writer.grid(block),
            Block::Table(block) => writer.table(block),
            Block::Steps(block) => writer.steps(block),
            Block::Method(block) => writer.method(block),
        }
    }
    writer.out
}

/// Writes block after block.
struct TextWriter {
    screen: Screen,
    width: usize,
    top: usize,
    out: String,
}

impl TextWriter {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn head(&mut self, document: &Document) {
        let sign = words::sign(document.level);
        let lines = wrapped(&words::visible(&document.headline), self.width - 2);
        for (index, line) in lines.iter().enumerate() {
            let line = self.screen.strong(line);
            let lead = match (index, document.level) {
                (0, Level::Problem) => self.screen.bad(sign),
                (0, Level::Fine) => self.screen.good(sign),
                (0, Level::Notice) => sign.to_owned(),
                _ => " ".to_owned(),
            };
            self.line(&format!("{lead} {line}"));
        }
        let (title, account) = (document.title, words::visible(&document.account));
        let period = words::period(document);
        let label = words::period_label(document).map(|label| format!(" ({label})")).unwrap_or_default();
        let scope = format!("{title} · {account}. {period}{label}. {}", words::sentence(&document.lead));
        self.paragraph(&scope, 2, 2);
    }

    /// Wraps a text; the first line is indented by `first`, the others by `rest`.
    fn paragraph(&mut self, text: &str, first: usize, rest: usize) {
        let lines = wrapped_after(text, self.width - first, self.width - rest);
        for (index, line) in lines.iter().enumerate() {
            let indent = " ".repeat(if index == 0 { first } else { rest });
            self.line(&format!("{indent}{line}"));
        }
    }

    fn title(&mut self, title: &str) {
        let title = cut(&words::visible(title), self.width);
        let title = self.screen.strong(&title);
        self.line(&title);
    }

    fn figures(&mut self, block: &FigureBlock) {
        let values: Vec<String> =
            block.items.iter().map(|item| words::shown(&item.value, item.kind)).collect();
        let labels = block.items.iter().map(|item| item.label.width()).max().unwrap_or(0);
        let numbers = values.iter().map(|value| value.width()).max().unwrap_or(0);
        for (item, value) in block.items.iter().zip(&values) {
            let label = padded(item.label, labels);
            let gap = " ".repeat(numbers - value.width());
            let shown = match item.tone {
                Tone::Bad => self.screen.bad(value),
                Tone::Good => self.screen.good(value),
                Tone::None => self.screen.strong(value),
            };
            let indent = 2 + labels + 2 + numbers + 2;
            let room = self.width.saturating_sub(indent).max(LEAST_TEXT);
            let notes = wrapped(&words::sentence(&item.note), room);
            let first = notes.first().map_or("", String::as_str);
            self.line(&format!("  {label}  {gap}{shown}  {first}"));
            for note in notes.iter().skip(1) {
                self.line(&format!("{}{note}", " ".repeat(indent)));
            }
        }
    }

    fn findings(&mut self, block: &FindingBlock) {
        self.title(&block.title);
        for (number, item) in (1..).zip(&block.items) {
            self.paragraph(&format!("{number}. {}: {}", item.label, plain(&item.text)), 2, 5);
        }
    }

    fn shares(&mut self, block: &ShareBlock) {
        self.title(&block.title);
        let share = |share: Option<f64>| words::shown(&share.into(), Measure::Ratio);
        let widest = |width: fn(&ShareItem) -> usize| block.items.iter().map(width).max().unwrap_or(0);
        let labels = widest(|item| item.label.width());
        let numbers = widest(|item| thousands(item.value).width());
        let room = self.width.saturating_sub(labels + numbers + 16).min(LONGEST_BAR);
        for item in &block.items {
            let (label, drawn) = (padded(item.label, labels), padded(&bar(item.share, room), room));
            let drawn = match item.role {
                SeriesRole::Bad => self.screen.bad(&drawn),
                SeriesRole::Good => self.screen.good(&drawn),
                SeriesRole::Neutral | SeriesRole::Accent => drawn,
            };
            let (share, number) = (share(item.share), thousands(item.value));
            self.line(&format!("  {label}  {drawn}  {share:>6}  {number:>numbers$}"));
        }
    }

    fn grid(&mut self, block: &GridBlock) {
        self.title(&block.title);
        for line in shade::lines(block) {
            let line = cut(&line, self.width - 2);
            self.line(&format!("  {line}"));
        }
        self.paragraph(&shade::legend(block), 2, 2);
    }

    fn chart(&mut self, block: &ChartBlock) {
        self.title(&block.title);
        let columns = Columns::new(block, self.width.saturating_sub(10));
        let (distance, lines, each) = chart_lines(columns.highest());
        let mut has_mixed = false;
        for line in (0..lines).rev() {
            let (low, high) = (distance * as_f64(line), distance * as_f64(line + 1));
            let is_labelled = (line + 1).is_multiple_of(each);
            let label = if is_labelled { thousands(i128::from(whole(high))) } else { String::new() };
            let cells: String = columns.totals.iter().map(|(all, bad)| cell(*all, *bad, low, high)).collect();
            has_mixed |= cells.contains('▒');
            let drawn: String = if self.screen.colour {
                let paint = |c: char| match c {
                    '▓' | '▒' => self.screen.bad(&c.to_string()),
                    c => c.to_string(),
                };
                cells.trim_end().chars().map(paint).collect()
            } else {
                cells
            };
            self.line(&format!("{label:>8} {drawn}"));
        }
        let mut axis: Vec<char> = Vec::new();
        // The widest label is `12:30` or `31 Oct`, with a blank on each side.
        for tick in ticks(block, 8 * columns.each) {
            let at = columns.of(tick.at);
            if at >= axis.len() + usize::from(!axis.is_empty()) && at + tick.label.width() + 9 <= self.width {
                axis.resize(at, ' ');
                axis.extend(tick.label.chars());
            }
        }
        self.line(&format!("         {}", axis.iter().collect::<String>()));
        if block.has_numbered_marks() {
            let mut numbers: Vec<char> = Vec::new();
            for mark in &block.marks {
                let at = columns.of(mark.at);
                if at >= numbers.len() + usize::from(!numbers.is_empty()) {
                    numbers.resize(at, ' ');
                    numbers.extend(mark.label.chars());
                }
            }
            self.line(&format!("         {}", numbers.iter().collect::<String>()));
        }
        let has_words = |mark: &&ChartMark| mark.role != MarkRole::Refused && !block.has_numbered_marks();
        for mark in block.marks.iter().filter(has_words) {
            let at = 9 + columns.of(mark.at);
            let label = words::visible(&mark.label);
            if at + 2 + label.width() <= self.width {
                self.line(&format!("{}↑ {label}", " ".repeat(at)));
            } else {
                let label = cut(&label, at.saturating_sub(1));
                self.line(&format!("{}{label} ↑", " ".repeat(at.saturating_sub(label.width() + 1))));
            }
        }
        // A terminal tells what is bad from the rest, and no more.
        let names = |is_bad: bool| -> Vec<&str> {
            let is_meant = |series: &&ChartSeries| (series.role == SeriesRole::Bad) == is_bad;
            block.stack.iter().filter(is_meant).map(|series| series.label).collect()
        };
        let (bad, rest) = (names(true).join(", "), names(false).join(", "));
        let mixed = if has_mixed { format!("partly {bad}") } else { String::new() };
        let legend = [("▓", bad), ("▒", mixed), ("█", rest)];
        let legend = legend.into_iter().filter(|(_, names)| !names.is_empty());
        let legend: Vec<String> = legend.map(|(sign, names)| format!("{sign} {names}")).collect();
        let one_line = legend.join("   ");
        let legend = if one_line.width() + 2 <= self.width { vec![one_line] } else { legend };
        for line in legend {
            self.line(&format!("  {line}"));
        }
        if let Some(limit) = &block.limit {
            self.paragraph(&words::sentence(&limit.label), 2, 2);
        }
    }

    fn table(&mut self, block: &TableBlock) {
        self.title(&block.title);
        if block.rows.is_empty() {
            // A head without a row under it says nothing.
            self.paragraph(words::NO_ROW, 2, 2);
            self.paragraph(&words::sentence(&block.note), 2, 2);
            return;
        }
        let most = block.most_rows(self.top, false);
        let rows = || block.rows.iter().take(most);
        let is_shown = |column: &TableColumn| !column.kind.is_drawn() && !column.is_page_only;
        let mut shown: Vec<usize> = (0..block.columns.len())
            .filter(|index| block.columns.get(*index).is_some_and(is_shown))
            .collect();
        let text = |row: &[Datum], index: usize| {
            let (value, column) = (row.get(index), block.columns.get(index));
            value.zip(column).map(|(value, column)| words::shown(value, column.kind)).unwrap_or_default()
        };
        let width_of = |index: usize| {
            let head = block.columns.get(index).map_or(0, |column| column.label.width());
            rows().map(|row| text(row, index).width()).chain([head]).max().unwrap_or(0)
        };
        let mut below = Vec::new();
        if shown.iter().map(|index| width_of(*index) + 2).sum::<usize>() > self.width {
            let is_below = |index: &usize| block.columns.get(*index).is_some_and(|column| column.is_below);
            below = shown.extract_if(.., |index| is_below(index)).collect();
        }
        let mut widths: Vec<usize> = shown.iter().map(|index| width_of(*index)).collect();
        let rank = |index: usize| block.columns.get(index).map_or(0, |column| column.rank);
        let kind = |index: usize| block.columns.get(index).map_or(Measure::Text, |column| column.kind);
        loop {
            let needed = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len();
            let texts =
                |position: usize| shown.get(position).is_some_and(|index| kind(*index) == Measure::Text);
            // How narrow it can be made by cutting texts a little: names stay readable at 18.
            let narrow: Vec<usize> = widths
                .iter()
                .enumerate()
                .map(|(position, width)| if texts(position) { (*width).min(18) } else { *width })
                .collect();
            if needed(&narrow) <= self.width {
                break;
            }
            let least = shown.iter().enumerate().filter(|(_, index)| rank(**index) > 0);
            let Some((position, _)) = least.max_by_key(|(_, index)| rank(**index)) else { break };
            shown.remove(position);
            widths.remove(position);
        }
        while widths.iter().sum::<usize>() + 2 * widths.len() > self.width {
            let longest = shown
                .iter()
                .zip(widths.iter_mut())
                .filter(|(index, width)| !kind(**index).is_number() && **width > LEAST_TEXT)
                .max_by_key(|(index, width)| (kind(**index) == Measure::Text, **width));
            let Some((_, width)) = longest else { break };
            *width -= 1;
        }
        let aligned = |text: &str, index: usize, width: usize| {
            let text = cut(text, width);
            let gap = " ".repeat(width - text.width());
            if kind(index).is_number() { format!("{gap}{text}") } else { format!("{text}{gap}") }
        };
        let mut lines = Vec::new();
        let heads = shown.iter().zip(&widths).map(|(index, width)| {
            aligned(block.columns.get(*index).map_or("", |column| column.label), *index, *width)
        });
        let head = heads.collect::<Vec<_>>().join("  ");
        lines.push(self.screen.weak(head.trim_end()));
        for (number, row) in rows().enumerate() {
            let cells =
                shown.iter().zip(&widths).map(|(index, width)| aligned(&text(row, *index), *index, *width));
            let line = cells.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            lines.push(if block.hot.contains(&number) { self.screen.bad(line) } else { line.to_owned() });
            for index in &below {
                let whole = wrapped(&text(row, *index), self.width - 6);
                lines.extend(whole.iter().map(|line| format!("    {line}")));
            }
        }
        for line in lines {
            self.line(&format!("  {line}"));
        }
        let further = words::further(block.rows.len(), most);
        let note = words::note_on_columns(block, |index| shown.contains(&index) || below.contains(&index));
        for note in further.into_iter().chain(Some(note).filter(|note| !note.is_empty())) {
            self.paragraph(&words::sentence(&note), 2, 2);
        }
    }

    fn steps(&mut self, block: &StepBlock) {
        self.title(block.title);
        for item in &block.items {
            self.paragraph(&words::sentence(&item.text), 2, 2);
            self.line(&format!("    $ {}", words::sentence(&item.command)));
        }
    }

    fn method(&mut self, block: &MethodBlock) {
        self.title(block.title);
        for (name, text) in &block.items {
            self.paragraph(&format!("{name}: {}", crate::text::fit(text, usize::MAX)), 2, 4);
        }
    }
}

/// The columns of a chart, merged until they fit.
struct Columns {
    /// Columns of the chart that one column of the screen stands for.
    each: usize,
    /// All of it, and the bad part; none outside of the log.
    totals: Vec<(Option<u64>, u64)>,
}

impl Columns {
    fn new(block: &ChartBlock, room: usize) -> Columns {
        let each = block.x.len().div_ceil(room.max(1)).max(1);
        let mut columns: Vec<(Option<u64>, u64)> = vec![(None, 0); block.x.len()];
        for series in &block.stack {
            for (column, value) in columns.iter_mut().zip(&series.values) {
                let Some(value) = value else { continue };
                column.0 = Some(column.0.unwrap_or(0) + value);
                if series.role == SeriesRole::Bad {
                    column.1 += value;
                }
            }
        }
        let merged = |part: &[(Option<u64>, u64)]| {
            let all = part.iter().filter_map(|(all, _)| *all);
            let bad = part.iter().map(|(_, bad)| *bad);
            match block.merge {
                ChartMerge::Sum => (all.reduce(|sum, value| sum + value), bad.sum::<u64>()),
                ChartMerge::Highest => (all.max(), bad.max().unwrap_or(0)),
            }
        };
        let totals = columns.chunks(each).map(merged).collect();
        Columns { each, totals }
    }

    fn highest(&self) -> u64 {
        self.totals.iter().filter_map(|(all, _)| *all).max().unwrap_or(0)
    }

    /// The column of the screen for a fractional index of a column of the chart.
    fn of(&self, at: f64) -> usize {
        let column = (at.max(0.0) / as_f64(self.each)).floor();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 744")]
        let column = column as usize;
        column.min(self.totals.len().saturating_sub(1))
    }
}

/// Returns how much a line of a chart stands for, how many lines there are, and for how many of them
/// there is one number of the scale. The numbers are round, as those of a drawing.
fn chart_lines(highest: u64) -> (f64, usize, usize) {
    let (top, distance) = scale(number(highest));
    let numbers = usize::try_from(whole(top / distance)).unwrap_or(1).max(1);
    // Half of a thing is no line.
    let each = if numbers < LEAST_LINES && distance > 1.0 { 2 } else { 1 };
    (distance / as_f64(each), numbers * each, each)
}

#[allow(clippy::cast_possible_truncation, reason = "a count of a log")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// Returns the sign between two heights of a column.
fn cell(all: Option<u64>, bad: u64, low: f64, high: f64) -> char {
    let Some(all) = all else { return ' ' };
    #[allow(clippy::cast_precision_loss, reason = "the height of a column on a screen")]
    let part = |number: u64| ((number as f64 - low) / (high - low)).clamp(0.0, 1.0);
    let (filled, bad) = (part(all), part(bad));
    match (filled, bad) {
        (filled, _) if filled <= 0.0 => ' ',
        (_, bad) if bad >= 0.75 => '▓',
        (_, bad) if bad > 0.0 => '▒',
        (filled, _) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
            let eighths = (filled * 8.0).ceil() as usize;
            EIGHTHS.get(eighths).copied().unwrap_or('█')
        }
    }
}

fn plain(prose: &Prose) -> String {
    prose.0.iter().map(|phrase: &Phrase| words::of_phrase(phrase)).collect()
}

/// A part of `width` characters as a bar, in eighths of a character; a part that is not nothing is
/// always seen.
fn bar(share: Option<f64>, width: usize) -> String {
    const REST: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = share.filter(|share| share.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 8 * LONGEST_BAR")]
    let eighths = (share * as_f64(width) * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), REST.get(eighths % 8).copied().unwrap_or_default())
}

/// A text filled up with blanks.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// A text of at most this width, with an ellipsis where it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        let longer = format!("{kept}{c}");
        if longer.width() + 1 > width {
            break;
        }
        kept = longer;
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// A text in lines of at most this width, broken at blanks; a word that is longer is cut in pieces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    wrapped_after(text, width, width)
}

/// The same with another width of the first line.
fn wrapped_after(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut width = first;
    for word in text.split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
            width = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if format!("{line}{c}").width() > width {
                lines.push(std::mem::take(&mut line));
                width = rest;
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_drawn_from_the_bottom_up() {
        let of = |all, bad| {
            (0..5).map(|line| cell(all, bad, 2.0 * as_f64(line), 2.0 * as_f64(line + 1))).collect::<String>()
        };
        assert_eq!(of(Some(10), 0), "█████");
        assert_eq!(of(Some(5), 0), "██▄  ");
        assert_eq!(of(Some(10), 3), "▓▒███");
        assert_eq!(of(Some(1), 1), "▒    ");
        assert_eq!(of(Some(0), 0), "     ");
        assert_eq!(of(None, 0), "     ");
    }

    #[test]
    fn lines_of_a_chart_have_round_numbers() {
        for (highest, expected) in [
            (0, (1.0, 1, 1)),
            (2, (1.0, 2, 1)),
            (13, (4.0, 4, 1)),
            (265, (50.0, 6, 2)),
            (12_446, (2500.0, 5, 1)),
        ] {
            assert_eq!(chart_lines(highest), expected, "{highest}");
        }
    }

    #[test]
    fn the_first_line_of_a_paragraph_is_as_wide_as_the_others() {
        assert_eq!(wrapped_after("one two three four", 13, 8), ["one two three", "four"]);
        assert_eq!(wrapped_after("abcdefghij", 4, 3), ["abcd", "efg", "hij"]);
    }

    #[test]
    fn a_small_part_is_never_nothing() {
        for (share, width, expected) in [
            (Some(0.000_1), 20, "▏"),
            (Some(0.0), 20, ""),
            (Some(1.0), 3, "███"),
            (Some(f64::NAN), 3, ""),
            (None, 3, ""),
        ] {
            assert_eq!(bar(share, width), expected, "{share:?}");
        }
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_keep_every_letter(text in "\\PC{0,200}", width in 8_usize..60) {
            let lines = wrapped(&text, width);
            for line in &lines {
                prop_assert!(line.width() <= width, "{line:?}");
            }
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
            prop_assert!(cut(&text, width).width() <= width);
        }
    }
}
