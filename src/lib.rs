//! The map of the crate.

pub mod cli;
pub mod config;
pub mod cryptolens;
pub mod report;
pub mod simulator;
