//! CSV (RFC 4180, UTF-8, lines ended by a line feed), fit for a spreadsheet.
//!
//! Promises that no text of a log is taken for a formula: one that begins like it is written with an apostrophe before it.

use std::borrow::Cow;

use super::error::ReportError;

/// A header and its rows.
pub(super) fn write<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> Result<String, ReportError>
where
    R: IntoIterator<Item = String>,
{
    let mut writer = csv::WriterBuilder::new().flexible(false).from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        let cells: Vec<String> = row.into_iter().map(|cell| harmless(&cell).into_owned()).collect();
        writer.write_record(cells).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(failed)?;
    String::from_utf8(bytes).map_err(failed)
}

/// A text that no spreadsheet takes for a formula. Numbers stay numbers.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A number, or nothing.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn failed(error: impl std::fmt::Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text_and_numbers_stay() {
        let row = ["=1+1", "-0.5", "@x", "a,\"b\"\nc"].map(str::to_owned);
        let csv = write(&["a", "b", "c", "d"], [row]).unwrap();
        assert_eq!(csv, "a,b,c,d\n'=1+1,-0.5,'@x,\"a,\"\"b\"\"\nc\"\n");
    }
}
