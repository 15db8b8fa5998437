//! cryptolens-exporter: counts every entry of the Cryptolens (Devolens) logs exactly once, and
//! shows the counts.
//!
//! # The map
//!
//! Rows flow one way, from the first of these modules to the last, and a module imports only from those
//! before it (`docs/architecture.md` has the picture, `tests/architecture.rs` enforces it):
//!
//! - [`cryptolens`] knows the remote API: one request, one page or one classified error.
//! - [`advice`] says what an operator can do about each error.
//! - [`reader`] reads the pages of a log in order, ahead, and with a policy for further tries.
//! - [`ingest`] decides which page to ask for next and which of its rows are new.
//! - [`tally`] counts rows into families, purely; its family table is the one source of what a
//!   family is.
//! - [`history`] counts rows by the minute in which they happened.
//! - [`usage`] counts distinct license keys and machines by day, without their identity.
//! - [`ledger`] keeps counts and positions together, in one transaction.
//! - [`snapshot`] joins what is committed with what the process knows of itself.
//! - [`outputs`] encodes a snapshot: text, OpenMetrics, protobuf, OTLP.
//! - [`web`] answers over HTTP, from memory.
//!
//! Around them: [`cli`] and [`config`] (what was typed, and what it means), [`daemon`] (puts the
//! pieces together and keeps them running), [`commands`], [`logging`], `http` (what all HTTP
//! clients share), `identity` (pseudonyms), `palette` (colours), `task` (tasks that belong
//! together), `text` (what is fit to be shown). [`report`] reads the API through [`reader`] and, for
//! `reconcile` alone, the ledger; [`backfill`] writes the history of a past time; [`archive`] writes
//! rows as Parquet files. `cryptolens-simulator`, a crate that shares no code with this one, is the
//! other end of the wire, and `commands::demo` is both ends at once.

pub mod advice;
pub mod archive;
pub mod backfill;
pub mod backoff;
pub mod cli;
pub mod commands;
pub mod config;
pub mod cryptolens;
pub mod daemon;
pub mod history;
mod http;
mod identity;
pub mod ingest;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod outputs;
mod palette;
pub mod reader;
pub mod report;
#[cfg(test)]
mod simulation;
pub mod snapshot;
pub mod supervisor;
pub mod tally;
mod task;
mod text;
mod text_file;
pub mod usage;

/// Version and commit, as `--version` prints them.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("CRYPTOLENS_BUILD_COMMIT"), ")");
pub mod web;
