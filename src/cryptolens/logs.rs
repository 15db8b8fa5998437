//! The one list of the logs that the API keeps.
//!
//! [`for_each_log`] hands the list to another macro: `log_kind` makes the enum and the facts of
//! each log from it, and `rows` the list of row types and the dispatch from a log to its row type.
//! A new log is a file with its row type, an entry here, and rows in the tables of settings and
//! families. The list itself imports nothing.

/// Calls a macro with all logs, in the order in which they are shown.
macro_rules! for_each_log {
    ($callback:ident) => {
        $callback! {
            /// Activations, deactivations, key creations ... with a state code.
            WebApi {
                // The value of the label `log` and the word in lists of logs.
                name: "web_api",
                // The name in headings.
                title: "Web API Log",
                // The API method that pages through it.
                method: "GetWebAPILog",
                // The largest documented `Limit` (API page V3/GetWebAPILog).
                max_limit: 1000,
                // Its page documents `OrderBy=Id descending`.
                newest_first: true,
                // Who gives the event times: the server, so that they nearly follow the ids.
                times: Server,
                row: web_api::WebApiRow,
            }
            /// Events that applications register: features used, payments.
            Events {
                name: "events",
                title: "Events Log",
                method: "GetEvents",
                max_limit: 100,
                newest_first: false,
                // Applications may give any time, and register events long after it.
                times: Application,
                row: events::EventRow,
            }
            /// Who added, changed or deleted customers, products, licenses.
            Objects {
                name: "objects",
                title: "Object Log",
                method: "GetObjectLog",
                max_limit: 100,
                newest_first: false,
                times: Server,
                row: objects::ObjectRow,
            }
        }
    };
}

pub(super) use for_each_log;
