//! The renderers: each writes a [`Document`] in one format, and knows no
//! report.
//!
//! Promises of all: every number of a document is the same in every format; a text of a log cannot
//! become markup, move the cursor of a terminal or be taken for a formula; the same document gives
//! the same bytes. Adding a renderer is one file here and one line in [`render`].

mod axis;
mod csv;
mod drawing;
mod html;
mod json;
mod markdown;
mod marks;
mod shade;
mod svg;
mod text;
pub(super) mod words;

pub(super) use csv::all_tables;
pub(super) use json::json;
pub(super) use svg::svg;

use super::document::Document;
use super::error::ReportError;
use super::options::ReportFormat;
use super::text::Screen;

/// How a document is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style<'a> {
    pub(super) screen: Screen,
    /// The most rows of a table in text, HTML and Markdown.
    pub(super) top: usize,
    /// The table or chart of CSV: its id, `list`, or none for the first one.
    pub(super) table: Option<&'a str>,
}

/// Writes the document.
///
/// # Errors
/// [`ReportError::Usage`] for a table that the document does not have, or a format that none has.
pub(super) fn render(
    document: &Document,
    format: ReportFormat,
    style: Style<'_>,
) -> Result<String, ReportError> {
    match format {
        ReportFormat::Text => Ok(text::text(document, style.screen, style.top)),
        ReportFormat::Html => Ok(html::html(document, style.top)),
        ReportFormat::Markdown => Ok(markdown::markdown(document, style.top)),
        ReportFormat::Json => json(document),
        ReportFormat::Csv => csv::csv(document, style.table),
        ReportFormat::Svg => Err(ReportError::Usage(
            "--format=svg has no meaning for this report; --format=html has its charts".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
