//! The map of the crate.

pub mod cli;
pub mod config;
pub mod cryptolens;
pub mod simulator;
pub mod tally;
