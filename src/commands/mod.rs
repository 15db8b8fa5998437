//! The commands of the program, one file each.
//!
//! A command resolves the settings that it uses, does its work through the modules that know how,
//! and returns an error that decides the exit code. It knows nothing of how flags are parsed.

pub mod check;
pub mod demo;
pub mod healthcheck;
