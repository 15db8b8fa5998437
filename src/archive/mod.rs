//! The rows of the logs as Parquet files: typed columns for DuckDB, pandas, Polars, Spark and
//! Trino.
//!
//! Promises: the columns of a log have the same names, types and order in every file; columns are
//! only ever appended. A member of a row that has no column is kept in the column `extra`. What
//! names somebody is replaced before a row is written, unless the settings say otherwise. In the
//! archive of `serve`, every row is in exactly one file, and a file that is visible is whole and
//! never changes.
//!
//! `rows` has the types of the rows, `columns` the table of their columns, `mask` what names
//! somebody, and `parquet_file` the writer, which `export` uses too. The archive of `serve` is a
//! `task` with an `archiver` for each log: it reads the `range` of ids that became final, keeps its
//! state in a `journal`, and makes files visible in a `directory`.

mod archiver;
mod columns;
mod directory;
mod error;
mod journal;
mod key;
mod mask;
mod parquet_file;
mod range;
mod rows;
mod settings;
#[cfg(test)]
pub(crate) mod simulated;
mod status;
mod task;

#[cfg(test)]
pub(crate) use archiver::ArchiveFlaw;
pub use directory::{ArchiveProbe, check_archive, probe_archive};
pub use error::{ArchiveMismatch, ArchiveUnusable};
pub(crate) use mask::MaskedRow;
pub(crate) use parquet_file::{FileLabels, ParquetFile};
pub(crate) use rows::{ArchivedEvent, ArchivedObject, ArchivedRequest};
pub use settings::{ArchiveIdentities, ArchiveSettings};
pub use status::ArchiveStatus;
pub use task::{ArchivedAccount, run_archive};
