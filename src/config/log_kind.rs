//! The three logs, by the names that flags, labels and the ledger use.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One of the three logs of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// The Web API Log: activations, deactivations, key creation, with their outcome.
    WebApi,
    /// The Events Log: what apps register.
    Events,
    /// The Object Log: who changed which object.
    Objects,
}

impl LogKind {
    /// All logs, in the order in which they are listed everywhere.
    pub const ALL: [Self; 3] = [Self::WebApi, Self::Events, Self::Objects];

    /// The name, as in `--logs` and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebApi => "web_api",
            Self::Events => "events",
            Self::Objects => "objects",
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such log; the logs are web_api, events and objects")]
pub struct UnknownLog;

impl FromStr for LogKind {
    type Err = UnknownLog;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|log| log.as_str() == name).ok_or(UnknownLog)
    }
}
