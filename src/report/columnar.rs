//! `export --format=parquet`: the entries of a log as typed columns in one file.
//!
//! Promises: the file is put in place when it is complete, and whatever ends the export before that
//! leaves nothing, because a Parquet file has its table of contents at its end and cannot grow. The
//! columns are those of the archive, with pseudonyms as in the other formats.

use std::fs::File;

use super::error::ReportError;
use super::export::{self, Order};
use super::options::{ExportFormat, ExportOptions};
use super::output;
use super::source::WindowReader;
use crate::archive::{FileLabels, MaskedRow, ParquetFile};

/// Flags that the other formats have.
pub(super) fn refuse_what_has_no_meaning(options: &ExportOptions) -> Result<(), ReportError> {
    let refused = if options.format != ExportFormat::Parquet {
        return Ok(());
    } else if options.resume {
        "--resume has no meaning for --format=parquet: a Parquet file cannot be continued"
    } else if options.presentation.file().is_none() {
        "--format=parquet needs a regular file that --output names"
    } else {
        return Ok(());
    };
    Err(ReportError::Usage(refused.to_owned()))
}

/// Exports the rows of type `R`, and tells how many there are.
pub(super) async fn export<R: MaskedRow>(
    source: &WindowReader,
    order: &Order<'_>,
) -> Result<u64, ReportError> {
    let Some(target) = order.output.file() else {
        return Err(ReportError::Usage(
            "--format=parquet needs a regular file that --output names".to_owned(),
        ));
    };
    let is_private = order.output.is_private();
    // The lock lives as long as the file is open.
    let path = export::beside(target, ".partial");
    let file = export::locked(&path, is_private)?;
    let rows = match write::<R>(source, order, &file).await {
        Ok(rows) => rows,
        Err(error) => {
            // A file that is not whole cannot be read.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    let placed = file.sync_all().and_then(|()| output::put_in_place(&path, target, is_private));
    placed.map(|()| rows).map_err(|error| order.output.failed(error))
}

async fn write<R: MaskedRow>(
    source: &WindowReader,
    order: &Order<'_>,
    file: &File,
) -> Result<u64, ReportError> {
    let failed = |error| order.output.failed(error);
    file.set_len(0).map_err(failed)?;
    let labels = FileLabels { identities: order.identities.name() };
    let mut columns = ParquetFile::<R, _>::new(file, labels).map_err(failed)?;
    let (after, newest) = match order.window {
        Some(window) => {
            (source.start::<R>(&order.filter, window.from).await?, WindowReader::end::<R>(window.to))
        }
        None => (0, i64::MAX),
    };
    let is_wanted =
        |row: &R| order.window.is_none_or(|window| row.time().is_some_and(|time| window.contains(time)));
    let write_page = |rows: Vec<R>| {
        for mut row in rows.into_iter().filter(is_wanted) {
            row.mask(order.identities);
            columns.push(&row).map_err(failed)?;
        }
        Ok(())
    };
    source.oldest_first(&order.filter, after, newest, write_page).await?;
    let rows = columns.rows();
    columns.finish().map_err(failed)?;
    Ok(rows)
}
