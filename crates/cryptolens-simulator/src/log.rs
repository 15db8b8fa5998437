//! The three logs, and what the vendor documents for each: its name here and its largest page.

use std::fmt;

/// One of the three logs of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Log {
    /// Activations, deactivations, key creations ... with a state code.
    WebApi,
    /// Events that applications register: features used, payments.
    Events,
    /// Who added, changed or deleted customers, products, licenses.
    Objects,
}

impl Log {
    /// All logs.
    pub const ALL: [Log; 3] = [Log::WebApi, Log::Events, Log::Objects];

    /// The name on the control page and in its parameters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Log::WebApi => "web_api",
            Log::Events => "events",
            Log::Objects => "objects",
        }
    }

    /// The log with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Log> {
        Log::ALL.into_iter().find(|log| log.name() == name)
    }

    /// The most rows that a page has, whatever the `Limit` (V3/GetWebAPILog, V3/GetEvents,
    /// V3/GetObjectLog).
    pub(crate) const fn largest_page(self) -> usize {
        match self {
            Log::WebApi => 1000,
            Log::Events | Log::Objects => 100,
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
