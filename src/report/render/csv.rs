//! CSV: one table or chart with all of its rows, for spreadsheets.
//!
//! Numbers are written as they are in the document, times as RFC 3339; see
//! [`crate::report::spreadsheet`] for what a text cannot do.

use crate::report::document::{
    Block, ChartBlock, Datum, Document, FigureBlock, GridBlock, ShareBlock, TableBlock,
};
use crate::report::error::ReportError;
use crate::report::spreadsheet::{Cell, maybe_number, number, write};
use crate::report::window::rfc3339;

/// One table or chart as a file.
pub(crate) struct CsvFile {
    /// The id of the block and `.csv`.
    pub(crate) name: String,
    pub(crate) content: String,
}

/// The table or chart with this id; the first table if none is named; the ids for `list`.
pub(super) fn csv(document: &Document, table: Option<&str>) -> Result<String, ReportError> {
    let ids: Vec<&str> = document.blocks.iter().filter(|block| is_listed(block)).map(Block::id).collect();
    match table {
        Some("list") => Ok(ids.iter().map(|id| format!("{id}\n")).collect()),
        Some(id) => match document.blocks.iter().find(|block| is_listed(block) && block.id() == id) {
            Some(block) => of_block(block),
            None => Err(ReportError::Usage(format!(
                "--table: found {id:?}, expected list or one of {}",
                ids.join(", ")
            ))),
        },
        None => {
            let first = document.blocks.iter().find(|block| matches!(block, Block::Table(_)));
            let first = first.or_else(|| document.blocks.iter().find(|block| is_listed(block)));
            first.map_or_else(|| Ok(String::new()), of_block)
        }
    }
}

/// Every table and chart as a file of its own.
pub(crate) fn all_tables(document: &Document) -> Result<Vec<CsvFile>, ReportError> {
    let file = |block: &Block| Ok(CsvFile { name: format!("{}.csv", block.id()), content: of_block(block)? });
    document.blocks.iter().filter(|block| is_listed(block)).map(file).collect()
}

const fn is_listed(block: &Block) -> bool {
    !matches!(block, Block::Findings(_) | Block::Steps(_) | Block::Method(_))
}

fn of_block(block: &Block) -> Result<String, ReportError> {
    match block {
        Block::Table(block) => of_table(block),
        Block::Chart(block) => of_chart(block),
        Block::Shares(block) => of_shares(block),
        Block::Grid(block) => of_grid(block),
        Block::Figures(block) => of_figures(block),
        Block::Findings(_) | Block::Steps(_) | Block::Method(_) => Ok(String::new()),
    }
}

fn of_table(table: &TableBlock) -> Result<String, ReportError> {
    let header: Vec<&str> = table.columns.iter().map(|column| column.id).collect();
    write(&header, table.rows.iter().map(|row| row.iter().map(cell)))
}

fn of_chart(chart: &ChartBlock) -> Result<String, ReportError> {
    let mut header = vec!["from"];
    header.extend(chart.stack.iter().map(|series| series.id));
    header.extend(chart.ratio.iter().map(|ratio| ratio.id));
    let rows = chart.x.iter().enumerate().map(|(column, moment)| {
        let begin = Cell::from(rfc3339(moment.at, moment.zone));
        let values = chart.stack.iter().map(move |series| series.values.get(column).copied().flatten());
        let ratio = chart.ratio.iter().map(move |ratio| ratio.values.get(column).copied().flatten());
        std::iter::once(begin).chain(values.map(maybe_number)).chain(ratio.map(maybe_number))
    });
    write(&header, rows)
}

fn of_shares(shares: &ShareBlock) -> Result<String, ReportError> {
    let rows = shares.items.iter();
    write(
        &["part", "number", "share"],
        rows.map(|item| [Cell::from(item.id), number(item.value), maybe_number(item.share)]),
    )
}

fn of_grid(grid: &GridBlock) -> Result<String, ReportError> {
    let rows = grid.rows.iter().flat_map(|row| {
        let counts = grid.columns.iter().zip(row.values.iter().zip(&row.bad));
        counts
            .map(|(name, (value, bad))| [row.label.into(), name.as_str().into(), number(value), number(bad)])
    });
    write(&["row", "column", grid.unit, grid.bad_unit], rows)
}

fn of_figures(figures: &FigureBlock) -> Result<String, ReportError> {
    let rows = figures.items.iter().map(|item| {
        let change = item.change.map_or(Cell::Empty, number);
        [Cell::from(item.id), cell(&item.value), cell(&item.previous), change]
    });
    write(&["figure", "value", "previous", "change"], rows)
}

fn cell(value: &Datum) -> Cell {
    let joined = |numbers: Vec<String>| Cell::from(numbers.join(" "));
    match value {
        Datum::Nothing => Cell::Empty,
        Datum::Whole(value) => number(value),
        Datum::Fraction(value) => number(value),
        Datum::Time(moment) => Cell::from(rfc3339(moment.at, moment.zone)),
        Datum::Words(text) => Cell::from(text.as_str()),
        Datum::Trend { all, .. } => joined(all.iter().map(u64::to_string).collect()),
        Datum::Levels(levels) => joined(levels.iter().map(u8::to_string).collect()),
    }
}
