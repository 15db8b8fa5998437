//! The commands of the program, one file each.
//!
//! A command resolves the settings that it uses, does its work through the modules that know how,
//! and returns an error that decides the exit code. It knows nothing of how flags are parsed.

mod audit;
mod backfill;
mod check;
mod demo;
mod documents;
mod export;
mod failure;
mod healthcheck;
mod reading;
mod reconcile;
mod report;
mod serve;
mod simulate;

pub use failure::CommandFailure;
pub use simulate::fault_kinds;

use std::sync::Arc;

use crate::config::setting::CommandName;
use crate::config::{FlagValues, Web};
use crate::web::{self, FrontDoor};

/// Runs a command to its end.
///
/// # Errors
/// [`CommandFailure`], with the exit code.
pub async fn run(command: CommandName, flags: &FlagValues) -> Result<(), CommandFailure> {
    match command {
        CommandName::Serve => serve::run(flags).await,
        CommandName::Demo => demo::run(flags).await,
        CommandName::Check => check::run(flags).await,
        CommandName::Healthcheck => healthcheck::run(flags).await,
        CommandName::Report => report::run(flags).await,
        CommandName::Audit => audit::run(flags).await,
        CommandName::Export => export::run(flags).await,
        CommandName::Reconcile => reconcile::run(flags).await,
        CommandName::Backfill => backfill::run(flags).await,
        CommandName::Simulate => simulate::run(flags).await,
    }
}

/// The checks of requests. A web configuration file that cannot be used is bad usage.
fn front_door(settings: &Web) -> Result<Arc<FrontDoor>, CommandFailure> {
    let door = web::front_door(settings.config_file.as_deref());
    door.map_err(|error| CommandFailure::usage(format_args!("--web.config.file: {error}")))
}
