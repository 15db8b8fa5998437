//! The three logs, and what the API fixes for each: its method and its largest page.

use std::fmt;

use super::client::Endpoint;

/// One of the three logs of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogKind {
    /// Activations, deactivations, key creations ... with a state code.
    WebApi,
    /// Events that applications register: features used, payments.
    Events,
    /// Who added, changed or deleted customers, products, licenses.
    Objects,
}

impl LogKind {
    /// All logs, in the order in which they are shown.
    pub const ALL: [LogKind; 3] = [LogKind::WebApi, LogKind::Events, LogKind::Objects];

    /// The name used by `--logs` and by the label `log`.
    pub const fn name(self) -> &'static str {
        match self {
            LogKind::WebApi => "web_api",
            LogKind::Events => "events",
            LogKind::Objects => "objects",
        }
    }

    /// The log with this name.
    pub fn from_name(name: &str) -> Option<LogKind> {
        LogKind::ALL.into_iter().find(|log| log.name() == name)
    }

    /// The API method that pages through this log.
    pub const fn endpoint(self) -> Endpoint {
        match self {
            LogKind::WebApi => Endpoint::GetWebApiLog,
            LogKind::Events => Endpoint::GetEvents,
            LogKind::Objects => Endpoint::GetObjectLog,
        }
    }

    /// The largest documented `Limit`, in rows (API pages V3/GetWebAPILog, V3/GetEvents, V3/GetObjectLog).
    pub const fn max_limit(self) -> u16 {
        match self {
            LogKind::WebApi => 1000,
            LogKind::Events | LogKind::Objects => 100,
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for log in LogKind::ALL {
            assert_eq!(LogKind::from_name(log.name()), Some(log));
        }
        assert_eq!(LogKind::from_name("WebApi"), None);
    }
}
