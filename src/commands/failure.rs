//! Why a command ends with an exit code other than 0, and where to say so.

use std::fmt::Display;

use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::ledger::OpenError;
use crate::logging::{LogFormat, LogSettings};

/// Failed at run time.
const FAILED: u8 = 1;
/// Bad usage or configuration.
const BAD_USAGE: u8 = 2;

/// The message of a command that failed, and its exit code.
#[derive(Debug)]
pub struct CommandFailure {
    /// 1 for a failure at run time, 2 for bad usage or configuration.
    pub code: u8,
    /// The message.
    pub text: String,
    /// True for a line of the log, which has been set up; false for plain text on standard error.
    pub logged: bool,
}

impl CommandFailure {
    /// Bad usage.
    pub(super) fn usage(error: impl Display) -> CommandFailure {
        CommandFailure { code: BAD_USAGE, text: error.to_string(), logged: false }
    }

    /// A failure at run time.
    pub(super) fn failed(error: impl Display) -> CommandFailure {
        CommandFailure { code: FAILED, text: error.to_string(), logged: false }
    }

    /// A failure of a command that runs on and logs: who reads its standard error reads lines of
    /// the log.
    pub(super) fn logged(error: impl Display) -> CommandFailure {
        CommandFailure { logged: true, ..CommandFailure::failed(error) }
    }

    /// The end of the daemon: a failure at run time, unless it says that a setting is wrong.
    pub(super) fn of_daemon(error: DaemonError) -> CommandFailure {
        let code =
            if matches!(error, DaemonError::Ledger(OpenError::Secret { .. })) { BAD_USAGE } else { FAILED };
        CommandFailure { code, ..CommandFailure::logged(error) }
    }

    /// A failure of a command that answers once and seldom logs: a plain line for people, unless
    /// lines for machines are wanted.
    pub(super) fn once(error: impl Display, log: LogSettings) -> CommandFailure {
        CommandFailure { logged: log.format == LogFormat::Json, ..CommandFailure::failed(error) }
    }
}

impl From<ConfigError> for CommandFailure {
    fn from(error: ConfigError) -> CommandFailure {
        CommandFailure::usage(error)
    }
}
