//! The pieces of an answer for the terminal: tables, numbers, words for them, and colour.
//!
//! Promises: nothing that comes from a log can move the cursor or change colours; without colour
//! there are no escape sequences at all; no number is broken over two lines.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::text;
pub(super) use crate::text::thousands;

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

/// One or several.
pub(super) fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { several })
}

/// A text whose first letter is a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// A name at the beginning of a sentence. What only a report calls somebody, as `customer 479`, begins
/// with a capital there; companies, products and pseudonyms are written as they are.
pub(super) fn capitalised_name(name: &str) -> String {
    let is_own = |begin: &&str| name.starts_with(begin);
    let own = ["customer ", "product ", "all products", "no product", "no key"];
    if own.iter().any(is_own) { capitalised(name) } else { name.to_owned() }
}

/// As `once`, `twice` or `3 times`.
pub(super) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{} times", thousands(number)),
    }
}

/// The numbers of several in words, in their order: `2 days`, `7 days each`, `9 and 5 days`, or `3 to 12
/// days` of more than two.
pub(super) fn counted_each(numbers: &[u64], (one, several): (&str, &str)) -> String {
    let in_words = |number: u64| counted(number, one, several);
    match *numbers {
        [] => String::new(),
        [number] => in_words(number),
        [first, ref rest @ ..] if rest.iter().all(|number| *number == first) => {
            format!("{} each", in_words(first))
        }
        [first, second] if first.min(second) > 1 => format!("{} and {}", thousands(first), in_words(second)),
        [first, second] => format!("{} and {}", in_words(first), in_words(second)),
        ref more => {
            let least = more.iter().min().copied().unwrap_or(0);
            let most = more.iter().max().copied().unwrap_or(0);
            format!("{} to {}", thousands(least), in_words(most))
        }
    }
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
    fn colour_only_where_it_is_wanted() {
        assert_eq!(Screen::default().bad("x"), "x");
        assert!(Screen { colour: true, width: None }.bad("x").contains("\u{1b}["));
    }

    #[test]
    fn sentences_begin_with_a_capital_and_names_are_as_they_are() {
        assert_eq!(capitalised("week 43 of 2026"), "Week 43 of 2026");
        assert_eq!((capitalised("2 h"), capitalised("")), ("2 h".to_owned(), String::new()));
        for (name, expected) in [
            ("customer 479", "Customer 479"),
            ("customer 440 (key-3f2a91bc04d1)", "Customer 440 (key-3f2a91bc04d1)"),
            ("key-3f2a91bc04d1", "key-3f2a91bc04d1"),
            ("i-Labs", "i-Labs"),
        ] {
            assert_eq!(capitalised_name(name), expected);
        }
    }

    #[test]
    fn numbers_of_several_are_said_once_where_they_are_equal() {
        for (numbers, expected) in [
            (&[2][..], "2 days"),
            (&[1, 1], "1 day each"),
            (&[7, 7, 7], "7 days each"),
            (&[9, 5], "9 and 5 days"),
            (&[2, 1], "2 days and 1 day"),
            (&[12, 3, 4], "3 to 12 days"),
        ] {
            assert_eq!(counted_each(numbers, ("day", "days")), expected);
        }
        assert_eq!([1, 2, 1000].map(times), ["once", "twice", "1,000 times"]);
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
