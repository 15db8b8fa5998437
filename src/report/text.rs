//! The pieces of a report for the terminal: tables, bars, numbers and colour.
//!
//! Promises: nothing that comes from a log can move the cursor or change colours; without colour
//! there are no escape sequences at all; no number is broken over two lines.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::text;
pub(super) use crate::text::thousands;

/// The columns that bars are drawn for where nobody says how many there are.
const USUAL_WIDTH: u16 = 80;
/// A shorter bar tells nothing.
const LEAST_BAR: u16 = 8;
/// The least width of a column of texts.
const LEAST_TEXT: u16 = 20;

/// The screen that shows the text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Screen {
    /// It is a terminal that wants colours.
    pub(super) colour: bool,
    /// How many columns it has; none for a file or a pipe, whose lines may have any length.
    pub(super) width: Option<u16>,
}

impl Screen {
    pub(super) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(super) fn weak(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// How long a bar may be where the rest of its line takes `taken` columns, up to `longest`.
    pub(super) fn bar_width(self, taken: usize, longest: u16) -> u16 {
        let taken = u16::try_from(taken).unwrap_or(u16::MAX);
        self.width.unwrap_or(USUAL_WIDTH).saturating_sub(taken).min(longest).max(LEAST_BAR)
    }

    /// A table without frame; each row has as many cells as there are columns. Long texts are
    /// broken where the screen is narrower.
    pub(super) fn table(self, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.saturating_sub(1))
            }
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(columns.iter().map(|column| match column {
            Column::Text(name) => Cell::new(name),
            Column::Number(name) => Cell::new(name).set_alignment(CellAlignment::Right),
        }));
        for row in rows {
            table.add_row(columns.iter().zip(row).map(|(column, text)| match column {
                Column::Text(_) => Cell::new(printable(&text)),
                Column::Number(_) => Cell::new(printable(&text)).set_alignment(CellAlignment::Right),
            }));
        }
        let widths = table.column_max_content_widths();
        for ((column, kind), width) in table.column_iter_mut().zip(columns).zip(widths) {
            column.set_constraint(match kind {
                Column::Text(_) if width > LEAST_TEXT => {
                    ColumnConstraint::LowerBoundary(Width::Fixed(LEAST_TEXT))
                }
                _ => ColumnConstraint::ContentWidth,
            });
        }
        let mut lines = String::new();
        for line in table.lines() {
            lines.push(' ');
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// A column of a [`Screen::table`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// `fraction` of `width` characters as a bar, in eighths of a character; a part that is not nothing
/// is always seen.
pub(super) fn bar(fraction: f64, width: u16) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 8 * u16::MAX")]
    let eighths = (fraction * f64::from(width) * 8.0).round() as usize;
    let eighths = if fraction > 0.0 { eighths.max(1) } else { 0 };
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS.get(eighths % 8).copied().unwrap_or_default());
    bar
}

/// As `2.81 %`; a dash for no ratio. What is not nothing is not shown as nothing.
pub(super) fn percent(ratio: Option<f64>) -> String {
    match ratio {
        None => "-".to_owned(),
        Some(ratio) if ratio > 0.0 && ratio < 0.000_05 => "<0.01 %".to_owned(),
        Some(ratio) if ratio < 1.0 && ratio > 0.999_95 => ">99.99 %".to_owned(),
        Some(ratio) => format!("{:.2} %", ratio * 100.0),
    }
}

/// One or several.
pub(super) fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { several })
}

/// A text of a log, fit for a terminal: what isn't seen but changes what is, such as control
/// characters, is replaced as in labels, and it is cut at 100 characters.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut cut = text::fit(text, LONGEST).into_owned();
    if text.chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_part_is_never_nothing() {
        assert_eq!(percent(Some(0.000_001)), "<0.01 %");
        assert_eq!(percent(Some(0.0)), "0.00 %");
        assert_eq!(percent(Some(0.999_999)), ">99.99 %");
        assert_eq!(percent(Some(1.0)), "100.00 %");
        assert_eq!(percent(None), "-");
        assert_eq!(bar(0.000_1, 20), "▏");
        assert_eq!(bar(0.0, 20), "");
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!(bar(f64::NAN, 3), "");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert_eq!(Screen::default().bad("x"), "x");
        assert!(Screen { colour: true, width: None }.bad("x").contains("\u{1b}["));
    }

    proptest! {
        #[test]
        fn no_text_of_a_log_controls_the_terminal(text in any::<String>()) {
            let shown = Screen::default().table(&[Column::Text("name")], [vec![text]]);
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
            prop_assert_eq!(shown.lines().count(), 2);
        }
    }
}
