//! CSV (RFC 4180, UTF-8, lines ended by a line feed), fit for a spreadsheet.
//!
//! Promises that no text of a log is taken for a formula, whichever way a program reads the file:
//! - Every text is in quotation marks. Numbers stay bare, negative ones too.
//! - A text whose first character that can be seen is `=`, `+`, `-`, `@` or a full-width form of
//!   them has an apostrophe before it.
//! - Where `;` or a tab separates (Excel in most of Europe), a quotation mark within a line does
//!   not protect: the same apostrophe is put after each `;`, tab and line feed within a text that
//!   such a sign follows.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use super::error::ReportError;

/// One cell of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    /// As it is shown, by [`number`].
    Number(String),
    Empty,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Empty, Into::into)
    }
}

/// A number.
pub(super) fn number(value: impl Display) -> Cell {
    Cell::Number(value.to_string())
}

/// A number, or nothing.
pub(super) fn maybe_number(value: Option<impl Display>) -> Cell {
    value.map_or(Cell::Empty, number)
}

/// A value as a text, or nothing.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A header and its rows.
pub(super) fn write<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> Result<String, ReportError>
where
    R: IntoIterator<Item = Cell>,
{
    let mut bytes = format!("{}\n", header.join(",")).into_bytes();
    for row in rows {
        write_row(&mut bytes, row).map_err(|error| ReportError::Draw(error.to_string()))?;
    }
    String::from_utf8(bytes).map_err(|error| ReportError::Draw(error.to_string()))
}

/// One row, with its line feed.
pub(super) fn write_row(to: &mut impl Write, row: impl IntoIterator<Item = Cell>) -> io::Result<()> {
    for (column, cell) in row.into_iter().enumerate() {
        if column > 0 {
            to.write_all(b",")?;
        }
        match cell {
            Cell::Text(text) => write!(to, "\"{}\"", harmless(&text).replace('"', "\"\""))?,
            Cell::Number(number) => to.write_all(number.as_bytes())?,
            Cell::Empty => {}
        }
    }
    to.write_all(b"\n")
}

/// The signs that a formula begins with, in the forms that spreadsheets of East Asia take too
/// (U+FE62 ff., U+FF0B ff.).
const SIGNS: [char; 13] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\u{fe66}', '\u{fe62}', '\u{fe63}',
    '\u{fe6b}', '\u{2212}',
];

/// Characters that may separate cells or lines within a text.
const SEPARATORS: [char; 4] = [';', '\t', '\n', '\r'];

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut copied = 0;
    let begins = text.char_indices().filter(|(_, c)| SEPARATORS.contains(c)).map(|(at, c)| at + c.len_utf8());
    for begin in std::iter::once(0).chain(begins) {
        let rest = text.get(begin..).unwrap_or_default();
        if is_formula(rest) {
            shown.push_str(text.get(copied..begin).unwrap_or_default());
            shown.push('\'');
            copied = begin;
        }
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(shown)
}

/// True if the first character that is neither blank nor unseen nor a quotation mark is a sign,
/// before anything separates.
fn is_formula(text: &str) -> bool {
    let is_skipped = |c: &char| c.is_whitespace() || *c == '"' || crate::text::is_unseen(*c);
    text.chars().find(|c| !is_skipped(c)).is_some_and(|c| SIGNS.contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(cells: impl IntoIterator<Item = Cell>) -> String {
        let mut bytes = Vec::new();
        write_row(&mut bytes, cells).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn texts_are_quoted_and_negative_numbers_stay_numbers() {
        let row = [number(-5), number(-0.5), "-5".into(), "42".into(), "a,\"b\"\nc".into(), Cell::Empty];
        assert_eq!(line(row), "-5,-0.5,\"'-5\",\"42\",\"a,\"\"b\"\"\nc\",\n");
    }

    #[test]
    fn formulas_become_text_behind_blanks_separators_and_in_full_width() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            (" \t\r\n@x", "' \t'\r'\n'@x"),
            ("\u{a0}\u{3000}+1", "'\u{a0}\u{3000}+1"),
            ("\u{feff}\u{200b}-1", "'\u{feff}\u{200b}-1"),
            ("＝1＋1", "'＝1＋1"),
            ("－1", "'－1"),
            ("＠x", "'＠x"),
            ("a;=1+1", "a;'=1+1"),
            ("a;\"=1+1\";b", "a;'\"=1+1\";b"),
            ("a\t=1+1", "a\t'=1+1"),
            ("a\n =1+1\r\n@b", "a\n' =1+1\r'\n'@b"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn names_in_all_scripts_stay_as_they_are() {
        for name in [
            "O'Brien-Smith",
            "Zoë",
            "नमस्ते",
            "علی‌رضا",
            "王＝小明",
            "한국어",
            "Ελένη",
            "Дмитрий",
            "עברית",
            "👩‍💻 dev",
            "a@b.example",
            "{\"a\":-1,\"b\":[-2,-3]}",
            "x; y; z",
            "1-2-3",
            "テスト＠例",
        ] {
            assert_eq!(harmless(name), name);
        }
    }

    proptest! {
        /// Read with any separator, and quotation marks honoured at the beginning of a cell only or
        /// anywhere, no cell begins with a sign.
        #[test]
        fn no_reader_meets_a_formula(
            texts in prop::collection::vec("[-=+@;,\t\n\r\" '|a＝＠－é1]{0,12}", 1..4),
        ) {
            let row: Vec<Cell> = std::iter::once(number(7)).chain(texts.iter().map(|text| Cell::from(text.as_str()))).collect();
            let content = line(row);
            for separator in [b',', b';', b'\t'] {
                for quoting in [true, false] {
                    let mut reader = csv::ReaderBuilder::new()
                        .has_headers(false).flexible(true).delimiter(separator).quoting(quoting).from_reader(content.as_bytes());
                    for record in reader.records() {
                        for cell in &record.unwrap() {
                            // Where a comma separates for a reader that ignores quotation marks,
                            // nothing helps.
                            let ignored = separator == b',' && !quoting;
                            prop_assert!(ignored || !is_formula(cell), "{cell:?} of {content:?}");
                        }
                    }
                }
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(content.as_bytes());
            let read: Vec<String> = reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect();
            let expected: Vec<String> = texts.iter().map(|text| harmless(text).into_owned()).collect();
            prop_assert_eq!(&read[1..], &expected[..]);
        }
    }
}
