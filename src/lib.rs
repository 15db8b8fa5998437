//! The map of the crate.

pub mod cli;
pub mod config;
pub mod cryptolens;
pub mod ingest;
pub mod ledger;
pub mod simulator;
pub mod tally;
