//! The reports that are older than documents: their JSON and CSV are version 1 and their own, and
//! what people read is made from a document as everywhere.

use std::fmt::Display;

use serde::Serialize;

use super::compared::ReportedTime;
use super::document::{Block, Datum, Document, FigureItem, Level, Measure, MethodBlock, Moment, Period};
use super::error::ReportError;
use super::options::{Chart, DocumentOptions, ReportFormat};
use super::render::{Style, json, render, svg};
use super::session::ReportSession;

/// A report whose serialised form is version 1.
pub(super) trait LogReport: Serialize {
    /// The kind of report, as a reader calls it.
    const TITLE: &'static str;

    /// All of it as one table.
    fn csv(&self) -> Result<String, ReportError>;

    /// Says in a document what the report holds.
    fn fill(&self, document: &mut Document);

    /// The drawing of `--format=svg`; none where that is refused.
    fn drawing(&self, _period: &Period, _chart: Chart) -> Option<Block> {
        None
    }
}

/// A report in the format that was asked for.
pub(super) fn shown<R: LogReport>(
    report: &R,
    time: &ReportedTime,
    session: &ReportSession,
    (options, chart): (&DocumentOptions, Chart),
) -> Result<String, ReportError> {
    let window = time.window;
    let period = Period::new((window.from, window.to), window.zone, time.label(), !time.is_live);
    match options.format {
        ReportFormat::Json => json(report),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Svg => match report.drawing(&period, chart) {
            Some(block) => svg(&block),
            None => Err(ReportError::Usage("--format=svg has no meaning for this report".to_owned())),
        },
        ReportFormat::Text | ReportFormat::Html | ReportFormat::Markdown => {
            // The schema is that of version 1, which no format here writes.
            let mut document = session.document("", R::TITLE, period, options);
            report.fill(&mut document);
            let style = Style { screen: session.screen, top: options.top, table: None };
            render(&document, options.format, style)
        }
    }
}

/// The level of a report that judges nothing: worth a look where a part is missing.
pub(super) const fn level(is_covered: bool) -> Level {
    if is_covered { Level::Fine } else { Level::Notice }
}

/// A figure that is a count.
pub(super) fn count(id: &'static str, label: &'static str, number: u64) -> FigureItem {
    FigureItem::new(id, label, Datum::count(number), Measure::Count)
}

/// The last block: the rows that were read, then the definitions.
pub(super) fn method(
    log: &str,
    (rows, pages, met_again): (u64, u64, u64),
    oldest: Option<Moment>,
    definitions: impl IntoIterator<Item = (&'static str, String)>,
) -> Block {
    let plural = |number: u64, one: &str| super::text::counted(number, one, &format!("{one}s"));
    let again = if met_again > 0 {
        format!("; {} met again and counted once", plural(met_again, "row"))
    } else {
        String::new()
    };
    let oldest = oldest.map(|oldest| format!("; the oldest of {oldest}")).unwrap_or_default();
    let read = format!("{} of the {log} in {}{again}{oldest}.", plural(rows, "row"), plural(pages, "page"));
    let items = std::iter::once(("Read", read)).chain(definitions).collect();
    Block::Method(MethodBlock { id: "method", title: "Method and limits", items })
}

/// A name, or what stands for none.
pub(super) fn name_or(name: Option<&(impl Display + ?Sized)>, none: &str) -> Datum {
    Datum::Words(name.map_or_else(|| none.to_owned(), ToString::to_string))
}
