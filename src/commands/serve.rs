//! `serve`: polls the logs of each account and serves the counts until it is asked to end.

use super::failure::CommandFailure;
use super::front_door;
use crate::config::{self, FlagValues, SystemEnvironment};
use crate::{daemon, logging};

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let settings = config::serve(flags, &SystemEnvironment)?;
    logging::start(settings.log);
    let door = front_door(&settings.web)?;
    daemon::run(settings, door, || config::serve(flags, &SystemEnvironment))
        .await
        .map_err(CommandFailure::of_daemon)
}
