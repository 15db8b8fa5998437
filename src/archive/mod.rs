//! The rows of the logs as Parquet files: typed columns for DuckDB, pandas, Polars, Spark and Trino.
//!
//! Promises: the columns of a log have the same names, types and order in every file; columns are
//! only ever appended. A member of a row that has no column is kept in the column `extra`. The
//! module does not know how rows are read, which of them are wanted, nor who may be named: rows
//! are handed over as they shall be written.
//!
//! `rows` has the types of the rows, `columns` the table of their columns, `parquet_file` the
//! writer.

mod columns;
mod parquet_file;
mod rows;

pub(crate) use columns::ArchivedRow;
pub(crate) use parquet_file::{FileLabels, ParquetFile};
pub(crate) use rows::{ArchivedEvent, ArchivedObject, ArchivedRequest};
