//! The logs as an enum, and the facts that the API fixes for each of them.

use std::fmt;

use super::logs::for_each_log;

/// Who gives the event times of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The server stamps each row when it is written: times nearly follow the ids.
    Server,
    /// Applications may give any time: single rows and whole batches may be days older, or hours
    /// ahead, than their neighbours.
    Application,
}

macro_rules! log_kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident {
            name: $name:literal,
            title: $title:literal,
            method: $method:literal,
            max_limit: $max_limit:literal,
            newest_first: $newest_first:literal,
            times: $times:ident,
            row: $module:ident::$row:ident,
        }
    )*) => {
        /// One of the logs of the Web API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LogKind {
            $($(#[$doc])* $kind,)*
        }

        impl LogKind {
            /// All logs, in the order in which they are shown.
            pub const ALL: [LogKind; [$($name),*].len()] = [$(LogKind::$kind),*];

            /// The value of the label `log`, and the word in lists of logs.
            pub const fn name(self) -> &'static str {
                match self { $(LogKind::$kind => $name,)* }
            }

            /// The name in headings.
            pub const fn title(self) -> &'static str {
                match self { $(LogKind::$kind => $title,)* }
            }

            /// The API method that pages through this log, as the vendor writes it.
            pub const fn method(self) -> &'static str {
                match self { $(LogKind::$kind => $method,)* }
            }

            /// The largest documented `Limit`, in rows.
            pub const fn max_limit(self) -> u16 {
                match self { $(LogKind::$kind => $max_limit,)* }
            }

            /// True if the API documents how to ask for the newest rows first.
            pub const fn can_be_read_newest_first(self) -> bool {
                match self { $(LogKind::$kind => $newest_first,)* }
            }

            /// Who gives the event times.
            pub const fn times(self) -> TimeSource {
                match self { $(LogKind::$kind => TimeSource::$times,)* }
            }
        }
    };
}

for_each_log!(log_kinds);

impl LogKind {
    /// The log with this name.
    pub fn from_name(name: &str) -> Option<LogKind> {
        LogKind::ALL.into_iter().find(|log| log.name() == name)
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
