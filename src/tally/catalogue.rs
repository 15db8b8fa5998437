//! Every metric family that the exporter shows: name, type, labels, buckets and help. The one source: exposition reads
//! it, and docs/metrics.md is generated from it.

use std::fmt::Write as _;

use crate::ingest::REQUEST_BOUNDS;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only ever rises, ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts by upper bound; bounds as they are shown.
    Histogram(&'static [f64]),
}

/// Where the values of a family live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In the ledger: survives restarts.
    Ledger,
    /// In the process: starts with it.
    Process,
}

/// One metric family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// As on `/metrics`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order in which they are shown.
    pub labels: &'static [&'static str],
    /// Where its values live.
    pub home: Home,
    /// One or two sentences.
    pub help: &'static str,
}

impl Family {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        home: Home,
        help: &'static str,
    ) -> Self {
        Family { name, kind, labels, home, help }
    }

    /// The upper bounds of a histogram; empty for the other types.
    pub const fn bounds(&self) -> &'static [f64] {
        match self.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        }
    }
}

const AGE_BOUNDS: &[f64] =
    &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0];
const LEASE_BOUNDS: &[f64] = &[60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0, 86_400.0];
const DO_INT_BOUNDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 1e4];
const EVENT_VALUE_BOUNDS: &[f64] = &[1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 5e3, 1e4, 5e4, 1e5, 1e6];
/// Of ledger commits, in seconds.
pub const COMMIT_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

macro_rules! families {
    ($($id:ident = $name:literal, $kind:expr, $labels:expr, $home:ident, $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub const $id: Family = Family::new($name, $kind, &$labels, Home::$home, $help);
        )*

        /// All families, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    WEB_API_ENTRIES = "cryptolens_web_api_log_entries_total", Kind::Counter,
        ["account", "product_id", "event_type", "outcome"], Ledger,
        "Rows of the Web API Log. A failure ratio is failure / (success + failure); unknown is in neither.";
    WEB_API_STATES = "cryptolens_web_api_log_states_total", Kind::Counter,
        ["account", "product_id", "event_type", "outcome", "state"], Ledger,
        "The same rows by raw state code (other: outside 1000-8999). Never add it to cryptolens_web_api_log_entries_total.";
    STATE_INFO = "cryptolens_state_info", Kind::Gauge,
        ["state", "event_type", "outcome", "description"], Process,
        "Always 1: what a state code means, for the codes that the vendor confirms and those that the configuration names.";
    LEASE = "cryptolens_floating_lease_seconds", Kind::Histogram(LEASE_BOUNDS),
        ["account", "product_id", "event_type", "outcome"], Ledger,
        "From a request to the end of its floating lease, where there is one.";
    DO_INT = "cryptolens_data_object_int_value", Kind::Histogram(DO_INT_BOUNDS),
        ["account", "product_id", "state"], Ledger,
        "The whole number above 0 that was passed to a data object method.";
    EVENT_ENTRIES = "cryptolens_event_log_entries_total", Kind::Counter,
        ["account", "product_id", "event_name", "feature_name"], Ledger,
        "Rows of the Events Log. Names that an application registers become labels.";
    EVENT_VALUE = "cryptolens_event_value", Kind::Histogram(EVENT_VALUE_BOUNDS),
        ["account", "product_id", "event_name", "currency"], Ledger,
        "Values above 0 of events, in the unit that the application registered (currency other: no code of three letters).";
    OBJECT_ENTRIES = "cryptolens_object_log_entries_total", Kind::Counter,
        ["account", "resource_type", "action"], Ledger,
        "Rows of the Object Log.";
    WEB_API_AGE = "cryptolens_web_api_log_entry_age_seconds", Kind::Histogram(AGE_BOUNDS),
        ["account", "event_type", "outcome"], Ledger,
        "How old a row of the Web API Log was when it was counted.";
    EVENT_AGE = "cryptolens_event_log_entry_age_seconds", Kind::Histogram(AGE_BOUNDS), ["account"], Ledger,
        "How old a row of the Events Log was when it was counted.";
    OBJECT_AGE = "cryptolens_object_log_entry_age_seconds", Kind::Histogram(AGE_BOUNDS), ["account"], Ledger,
        "How old a row of the Object Log was when it was counted.";
    PRODUCT_INFO = "cryptolens_product_info", Kind::Gauge, ["account", "product_id", "product_name"], Ledger,
        "Always 1: the name of a product, configured or by GetProducts.";
    UP = "cryptolens_up", Kind::Gauge, ["account", "log"], Process,
        "1 if the last request of this log was answered well; 0 before the first and otherwise.";
    LAST_ENTRY = "cryptolens_log_last_entry_timestamp_seconds", Kind::Gauge, ["account", "log"], Ledger,
        "Time of the newest row counted, as far as it is not in the future.";
    LAST_POLL = "cryptolens_exporter_last_poll_timestamp_seconds", Kind::Gauge, ["account", "log"], Process,
        "End of the last complete poll of the log; absent before the first.";
    CURSOR = "cryptolens_exporter_cursor_id", Kind::Gauge, ["account", "log"], Ledger,
        "The highest id counted.";
    NEWEST_ID = "cryptolens_exporter_newest_id", Kind::Gauge, ["account", "log"], Process,
        "The newest id that the API showed. Below cryptolens_exporter_cursor_id, the log was replaced or is another account's.";
    ORIGIN = "cryptolens_exporter_origin_timestamp_seconds", Kind::Gauge, ["account", "log"], Ledger,
        "The time that counting starts at, by --since; 0 means the whole log.";
    CATCHING_UP = "cryptolens_exporter_catching_up", Kind::Gauge, ["account", "log"], Process,
        "1 while old rows are counted, and for a minute after: rates then show when rows were read, not when they happened.";
    API_REQUESTS = "cryptolens_exporter_api_requests_total", Kind::Counter,
        ["account", "method", "result"], Process,
        "Requests to the Web API by how they ended.";
    API_DURATION = "cryptolens_exporter_api_request_duration_seconds", Kind::Histogram(REQUEST_BOUNDS),
        ["account", "method"], Process,
        "How long a request to the Web API took, body included.";
    ROWS_SKIPPED = "cryptolens_exporter_rows_skipped_total", Kind::Counter, ["account", "log", "reason"], Ledger,
        "Rows that were not counted. no_id: nothing to tell it by; below_floor: the API sent a row that was not asked for; too_large: its answer is too large to be read.";
    ROWS_DUPLICATE = "cryptolens_exporter_rows_duplicate_total", Kind::Counter, ["account", "log"], Ledger,
        "Ids met twice in one poll, and counted once.";
    ROWS_LATE = "cryptolens_exporter_rows_late_total", Kind::Counter, ["account", "log"], Ledger,
        "Rows that showed up below the cursor, and were counted.";
    SERIES = "cryptolens_exporter_series", Kind::Gauge, ["family"], Ledger,
        "Label sets under the limit, of the account that has most; those exported at 0 in advance are exempt.";
    SERIES_LIMIT = "cryptolens_exporter_series_limit", Kind::Gauge, ["family"], Process,
        "Label sets that one account can have in a family.";
    SERIES_OVERFLOW = "cryptolens_exporter_series_overflow_total", Kind::Counter, ["family"], Ledger,
        "Rows put under the label value other because a limit was reached.";
    LEDGER_UP = "cryptolens_exporter_ledger_up", Kind::Gauge, [], Process,
        "1 if the last write to the ledger succeeded; at 0 nothing is counted, and nothing is lost.";
    LEDGER_COMMIT_DURATION = "cryptolens_exporter_ledger_commit_duration_seconds", Kind::Histogram(COMMIT_BOUNDS),
        [], Process, "How long a transaction of the ledger took.";
    LEDGER_COMMIT_FAILURES = "cryptolens_exporter_ledger_commit_failures_total", Kind::Counter, [], Process,
        "Transactions of the ledger that failed. Their rows are read again.";
    LEDGER_RESETS = "cryptolens_exporter_ledger_resets_total", Kind::Counter, [], Ledger,
        "How often counters started again, because a ledger was damaged, set aside, or deleted for good while running.";
    LEDGER_FOREIGN_WRITES = "cryptolens_exporter_ledger_foreign_writes_total", Kind::Counter, [], Process,
        "Writes to the ledger by anything but this process. One that changes counts makes the ledger damaged.";
    BUILD_INFO = "cryptolens_exporter_build_info", Kind::Gauge, ["version", "commit"], Process,
        "Always 1: which build this is.";
}

/// docs/metrics.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the catalogue in `src/tally/catalogue.rs`; `cargo test` fails if this page is stale.\n\n\
         *Ledger* families keep their value over restarts; *process* families start with the process. \
         `process_*` are as in every exporter.\n\n\
         | family | type | labels | home | meaning |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter".to_owned(),
            Kind::Gauge => "gauge".to_owned(),
            Kind::Histogram(bounds) => {
                let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
                format!("histogram: {}", bounds.join(" "))
            }
        };
        let home = match family.home {
            Home::Ledger => "ledger",
            Home::Process => "process",
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| `{}` | {kind} | {} | {home} | {} |",
            family.name,
            family.labels.join(", "),
            family.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            assert!(family.name.starts_with("cryptolens_"), "{}", family.name);
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            assert!(family.bounds().is_sorted(), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }

    /// With `honor_labels: false`, the default, such a label of ours becomes `exported_...`, and
    /// every rule that matches it selects nothing. The Prometheus operator sets the first eight on
    /// each target; the others are common external labels and relabelling targets.
    #[test]
    fn no_label_is_one_that_a_scrape_target_has() {
        const OF_TARGETS: &[&str] = &[
            "job",
            "instance",
            "namespace",
            "service",
            "pod",
            "container",
            "endpoint",
            "node",
            "cluster",
            "prometheus",
            "prometheus_replica",
            "replica",
            "region",
            "zone",
            "datacenter",
            "env",
            "environment",
            "stage",
            "tenant",
            "team",
            "app",
            "application",
            "host",
            "hostname",
            "name",
            "component",
            "release",
            "address",
            "target",
            "path",
            "scheme",
            "port",
            "monitor",
        ];
        for family in FAMILIES {
            for label in family.labels {
                assert!(!OF_TARGETS.contains(label), "{}: {label}", family.name);
                assert!(!label.starts_with("exported_"), "{}: {label}", family.name);
            }
        }
    }

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, markdown(), "run `UPDATE_GOLDEN=1 cargo test` to write docs/metrics.md again");
    }
}
