//! The map of the crate.

pub mod check;
pub mod cli;
pub mod config;
pub mod cryptolens;
pub mod daemon;
pub mod demo;
pub mod healthcheck;
pub mod ingest;
pub mod ledger;
pub mod logging;
pub mod report;
pub mod serve;
pub mod simulator;
pub mod snapshot;
pub mod tally;
