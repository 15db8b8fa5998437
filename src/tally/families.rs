//! The family table: one row for each metric family.
//!
//! A row has the name, type, labels and persistence of a family and its help text. A family that is
//! counted from rows of the logs also has the field and the key of its tally, when it is shown, its
//! limit, and the label sets that are created at 0 in advance. The tally, the limits, the snapshot
//! and docs/metrics.md come from these rows: a new family is a row here and a line in `count` that
//! counts it.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::cryptolens::LogKind;
use crate::ingest::REQUEST_BOUNDS;
use crate::metrics::{Family, FamilyType, Persistence};

use super::limits::LimitClass;
use super::products::Products;
use super::series::SeriesKey;

const AGE_BOUNDS: &[f64] =
    &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0];
const LEASE_BOUNDS: &[f64] = &[60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0, 86_400.0];
const DO_INT_BOUNDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 1e4];
const EVENT_VALUE_BOUNDS: &[f64] = &[1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 5e3, 1e4, 5e4, 1e5, 1e6];
/// Upper bounds of the duration of ledger commits, in seconds.
pub const COMMIT_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// When the label sets of a counted family are shown, and to which log they belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// They count rows of a log, and are absent until its first poll is complete: a backfill is one
    /// starting value and not a spike.
    Rows(LogKind),
    /// They count what was noticed about reading. Each has a label `log`, and is shown for every log
    /// that is polled, from the start.
    Reading,
    /// One sum over all accounts is shown.
    Summed,
}

/// The rows of the table, handed to a macro that makes something of them.
macro_rules! family_table {
    ($make:ident) => {
        $make! {
            WEB_API_ENTRIES = "cryptolens_web_api_log_entries_total", Counter, ["account", "product_id", "event_type", "outcome"], Ledger,
                counts entries: EntryKey => u64, Shown::Rows(LogKind::WebApi), limit Sets as Entries, zero EntryKey::in_advance,
                "Rows of the Web API Log. A failure ratio is failure / (success + failure); unknown is in neither.";
            WEB_API_STATES = "cryptolens_web_api_log_states_total", Counter, ["account", "product_id", "event_type", "outcome", "state"], Ledger,
                counts states: StateKey => u64, Shown::Rows(LogKind::WebApi), limit Sets as States, zero StateKey::in_advance,
                "The same rows by raw state code (other: outside 1000-8999). Never add it to cryptolens_web_api_log_entries_total.";
            STATE_INFO = "cryptolens_state_info", Gauge, ["state", "event_type", "outcome", "description"], Process,
                "Always 1: what a state code means, for the codes that the vendor confirms and those that the configuration names.";
            LEASE = "cryptolens_floating_lease_seconds", Histogram(LEASE_BOUNDS), ["account", "product_id", "event_type", "outcome"], Ledger,
                counts lease: LeaseKey => Histogram, Shown::Rows(LogKind::WebApi), limit HistogramSets as Lease,
                "From a request to the end of its floating lease, where there is one.";
            DO_INT = "cryptolens_data_object_int_value", Histogram(DO_INT_BOUNDS), ["account", "product_id", "state"], Ledger,
                counts data_object: DataObjectKey => Histogram, Shown::Rows(LogKind::WebApi), limit HistogramSets as DataObject,
                "The whole number above 0 that was passed to a data object method.";
            EVENT_ENTRIES = "cryptolens_event_log_entries_total", Counter, ["account", "product_id", "event_name", "feature_name"], Ledger,
                counts events: EventKey => u64, Shown::Rows(LogKind::Events), limit Sets as Events,
                "Rows of the Events Log. Names that an application registers become labels.";
            EVENT_VALUE = "cryptolens_event_value", Histogram(EVENT_VALUE_BOUNDS), ["account", "product_id", "event_name", "currency"], Ledger,
                counts event_value: EventValueKey => Histogram, Shown::Rows(LogKind::Events), limit HistogramSets as EventValue,
                "Values above 0 of events, in the unit that the application registered (currency other: no code of three letters).";
            OBJECT_ENTRIES = "cryptolens_object_log_entries_total", Counter, ["account", "resource_type", "action"], Ledger,
                counts objects: ObjectKey => u64, Shown::Rows(LogKind::Objects),
                "Rows of the Object Log.";
            WEB_API_AGE = "cryptolens_web_api_log_entry_age_seconds", Histogram(AGE_BOUNDS), ["account", "event_type", "outcome"], Ledger,
                counts web_api_age: AgeKey => Histogram, Shown::Rows(LogKind::WebApi),
                "How old a row of the Web API Log was when it was counted.";
            EVENT_AGE = "cryptolens_event_log_entry_age_seconds", Histogram(AGE_BOUNDS), ["account"], Ledger,
                counts event_age: NoLabels => Histogram, Shown::Rows(LogKind::Events),
                "How old a row of the Events Log was when it was counted.";
            OBJECT_AGE = "cryptolens_object_log_entry_age_seconds", Histogram(AGE_BOUNDS), ["account"], Ledger,
                counts object_age: NoLabels => Histogram, Shown::Rows(LogKind::Objects),
                "How old a row of the Object Log was when it was counted.";
            PRODUCT_INFO = "cryptolens_product_info", Gauge, ["account", "product_id", "product_name"], Ledger,
                "Always 1: the name of a product, configured or by GetProducts.";
            UP = "cryptolens_up", Gauge, ["account", "log"], Process,
                "1 if the last request of this log was answered well; 0 before the first and otherwise.";
            LAST_ENTRY = "cryptolens_log_last_entry_timestamp_seconds", Gauge, ["account", "log"], Ledger,
                "Time of the newest row counted, as far as it is not in the future.";
            LAST_POLL = "cryptolens_exporter_last_poll_timestamp_seconds", Gauge, ["account", "log"], Process,
                "End of the last complete poll of the log; absent before the first.";
            CURSOR = "cryptolens_exporter_cursor_id", Gauge, ["account", "log"], Ledger,
                "The highest id counted.";
            NEWEST_ID = "cryptolens_exporter_newest_id", Gauge, ["account", "log"], Process,
                "The newest id that the API showed. Below cryptolens_exporter_cursor_id, the log was replaced or is another account's.";
            ORIGIN = "cryptolens_exporter_origin_timestamp_seconds", Gauge, ["account", "log"], Ledger,
                "The time that counting starts at, by --since; 0 means the whole log.";
            CATCHING_UP = "cryptolens_exporter_catching_up", Gauge, ["account", "log"], Process,
                "1 while old rows are counted, and for a minute after: rates then show when rows were read, not when they happened.";
            ACTIVE_KEYS = "cryptolens_active_license_keys", Gauge, ["account", "product_id", "window"], Ledger,
                "Distinct license keys with a request that succeeded. window: today so far, or the last 1d, 7d, 30d that are complete, in UTC; never add windows up. Only with --usage.active, as all of these.";
            ACTIVE_MACHINES = "cryptolens_active_machines", Gauge, ["account", "product_id", "window"], Ledger,
                "Distinct machines with a request that succeeded. They do not add up over products: see cryptolens_account_active_machines.";
            FAILING_KEYS = "cryptolens_failing_license_keys", Gauge, ["account", "product_id", "window"], Ledger,
                "Distinct license keys with a request that failed.";
            REFUSED_KEYS = "cryptolens_refused_license_keys", Gauge, ["account", "product_id", "window"], Ledger,
                "Distinct license keys that found no free seat (state 2024).";
            ACCOUNT_MACHINES = "cryptolens_account_active_machines", Gauge, ["account", "window"], Ledger,
                "Distinct machines of the whole account with a request that succeeded: one that uses two products is counted once.";
            USAGE_DAY = "cryptolens_exporter_usage_day_timestamp_seconds", Gauge, ["account"], Ledger,
                "Start of the day that the window 1d means.";
            USAGE_ORIGIN = "cryptolens_exporter_usage_origin_timestamp_seconds", Gauge, ["account"], Ledger,
                "Usage is known from here on; a window that begins earlier is absent. 0 means the whole log.";
            FLOATING_SEATS = "cryptolens_floating_seats_used", Gauge, ["account", "product_id"], Process,
                "Floating seats in use at the start of the last poll, those of the overdraft included. Only with --usage.seats, as all of these.";
            FLOATING_SEATS_OVERDRAFT = "cryptolens_floating_seats_overdraft", Gauge, ["account", "product_id"], Process,
                "Floating seats in use beyond the limit of a license, within its overdraft.";
            LICENSE_SEATS = "cryptolens_license_seats_used", Gauge, ["account", "product_id", "license"], Process,
                "Floating seats in use of a license that the configuration names.";
            LICENSE_SEATS_LIMIT = "cryptolens_license_seats_limit", Gauge, ["account", "product_id", "license"], Process,
                "The number of seats of that license, by GetKey. Absent if it is not limited, or if the key is not known.";
            API_REQUESTS = "cryptolens_exporter_api_requests_total", Counter, ["account", "method", "result"], Process,
                "Requests to the Web API by how they ended.";
            API_DURATION = "cryptolens_exporter_api_request_duration_seconds", Histogram(REQUEST_BOUNDS), ["account", "method"], Process,
                "How long a request to the Web API took, body included.";
            ROWS_COUNTED = "cryptolens_exporter_rows_counted_total", Counter, ["account", "log"], Ledger,
                counts counted: LogKind => u64, Shown::Reading, zero log_in_advance,
                "Rows that were counted. Replicas with the same cursor have the same value.";
            ROWS_SKIPPED = "cryptolens_exporter_rows_skipped_total", Counter, ["account", "log", "reason"], Ledger,
                counts skipped: SkipKey => u64, Shown::Reading, zero SkipKey::in_advance,
                "Rows that were not counted. no_id: nothing to tell it by; below_floor: the API sent a row that was not asked for; too_large: its answer is too large to be read.";
            ROWS_DUPLICATE = "cryptolens_exporter_rows_duplicate_total", Counter, ["account", "log"], Ledger,
                counts duplicate: LogKind => u64, Shown::Reading, zero log_in_advance,
                "Ids met twice in one poll, and counted once.";
            ROWS_LATE = "cryptolens_exporter_rows_late_total", Counter, ["account", "log"], Ledger,
                counts late: LogKind => u64, Shown::Reading, zero log_in_advance,
                "Rows that showed up below the cursor, and were counted.";
            SERIES = "cryptolens_exporter_series", Gauge, ["family"], Ledger,
                "Label sets under the limit, of the account that has most; those exported at 0 in advance are exempt.";
            SERIES_LIMIT = "cryptolens_exporter_series_limit", Gauge, ["family"], Process,
                "Label sets that one account can have in a family.";
            SERIES_OVERFLOW = "cryptolens_exporter_series_overflow_total", Counter, ["family"], Ledger,
                counts overflow: LimitedFamily => u64, Shown::Summed, zero LimitedFamily::in_advance,
                "Rows put under the label value other because a limit was reached.";
            LEDGER_UP = "cryptolens_exporter_ledger_up", Gauge, [], Process,
                "1 if the last write to the ledger succeeded; at 0 nothing is counted, and nothing is lost.";
            LEDGER_COMMIT_DURATION = "cryptolens_exporter_ledger_commit_duration_seconds", Histogram(COMMIT_BOUNDS), [], Process,
                "How long a transaction of the ledger took.";
            LEDGER_COMMIT_FAILURES = "cryptolens_exporter_ledger_commit_failures_total", Counter, [], Process,
                "Transactions of the ledger that failed. Their rows are read again.";
            LEDGER_RESETS = "cryptolens_exporter_ledger_resets_total", Counter, [], Ledger,
                "How often counters started again, because a ledger was damaged, set aside, or deleted for good while running.";
            LEDGER_FOREIGN_WRITES = "cryptolens_exporter_ledger_foreign_writes_total", Counter, [], Process,
                "Writes to the ledger by anything but this process. One that changes counts makes the ledger damaged.";
            HISTORY_ORIGIN = "cryptolens_exporter_history_origin_timestamp_seconds", Gauge, ["account", "log"], Ledger,
                "The first whole minute of the history of the log. Only with a target of history, as all of cryptolens_exporter_history_*.";
            HISTORY_SEALED_UNTIL = "cryptolens_exporter_history_sealed_until_timestamp_seconds", Gauge, ["account", "log"], Ledger,
                "The history of the log is final up to here, but for rows that come late.";
            HISTORY_WITHOUT_TIME = "cryptolens_exporter_history_rows_without_time_total", Counter, ["account", "log"], Ledger,
                "Rows that were counted and are in no minute of the history, because they have no usable time.";
            HISTORY_SENT = "cryptolens_exporter_history_sent_samples_total", Counter, ["target"], Ledger,
                "Samples of history that the target took.";
            HISTORY_DROPPED = "cryptolens_exporter_history_dropped_samples_total", Counter, ["target", "reason"], Ledger,
                "Samples of history that are lost for the target. too_old: older than --history.window; outbox_full: it was down for too long; the others: it refused them.";
            HISTORY_PENDING = "cryptolens_exporter_history_pending_samples", Gauge, ["target"], Ledger,
                "Samples of history that wait for the target.";
            HISTORY_LAST_SUCCESS = "cryptolens_exporter_history_last_success_timestamp_seconds", Gauge, ["target"], Process,
                "When the target last took samples of history, in Unix time; absent before the first.";
            ARCHIVE_ROWS = "cryptolens_exporter_archive_rows_total", Counter, ["account", "log"], Process,
                "Rows that became visible in the archive. Only with --archive.path, as all of cryptolens_exporter_archive_*.";
            ARCHIVE_LATE_ROWS = "cryptolens_exporter_archive_late_rows_total", Counter, ["account", "log"], Process,
                "Archived rows that the API showed too late to be counted.";
            ARCHIVE_FAILURES = "cryptolens_exporter_archive_failures_total", Counter, ["account", "log", "reason"], Process,
                "Runs of the archive that failed and are tried again. rows_gone: rows that were counted are in no file, because the API had removed them, or showed fewer rows for days.";
            ARCHIVE_LAST_SUCCESS = "cryptolens_exporter_archive_last_success_timestamp_seconds", Gauge, ["account", "log"], Process,
                "When the archive last had every row up to a floor, in Unix time; before that, when it began.";
            ARCHIVE_INTERVAL = "cryptolens_exporter_archive_interval_seconds", Gauge, [], Process,
                "The time between two runs of the archive (--archive.interval).";
            RECONCILE_DIFFERENCE = "cryptolens_exporter_reconcile_difference", Gauge, ["account", "product_id", "outcome", "against"], Process,
                "Requests of the newest day that ended 48 hours ago: the count of the vendor, or of the ledger, less that of the log. Only with --reconcile.interval; absent where the token lacks the permission, or the ledger has not the whole day.";
            OTLP_PUSHES = "cryptolens_exporter_otlp_pushes_total", Counter, ["result"], Process,
                "Pushes to the OpenTelemetry receiver by result; partial: it rejected some of the points. Only with --otlp.endpoint.";
            OTLP_POINTS = "cryptolens_exporter_otlp_points_total", Counter, [], Process,
                "Points that the OpenTelemetry receiver took.";
            OTLP_REJECTED_POINTS = "cryptolens_exporter_otlp_rejected_points_total", Counter, [], Process,
                "Points that the OpenTelemetry receiver rejected. The log has its reason once.";
            OTLP_LAST_SUCCESS = "cryptolens_exporter_otlp_last_success_timestamp_seconds", Gauge, [], Process,
                "When the OpenTelemetry receiver last took a push, in Unix time; absent before the first.";
            OTLP_PUSH_DURATION = "cryptolens_exporter_otlp_push_duration_seconds", Histogram(REQUEST_BOUNDS), [], Process,
                "How long a push to the OpenTelemetry receiver took, all its requests included.";
            HTTP_CONNECTIONS = "cryptolens_exporter_http_connections", Gauge, [], Process,
                "Connections of clients that are open.";
            HTTP_CONNECTIONS_REJECTED = "cryptolens_exporter_http_connections_rejected_total", Counter, [], Process,
                "Connections that were refused, or closed to make room, because as many as are allowed were open.";
            BUILD_INFO = "cryptolens_exporter_build_info", Gauge, ["version", "commit"], Process,
                "Always 1: which build this is.";
        }
    };
}
pub(super) use family_table;

macro_rules! define_families {
    ($(
        $id:ident = $name:literal, $type:ident $(($bounds:expr))?, $labels:expr, $persistence:ident,
        $(counts $field:ident: $key:ty => $value:ty, $shown:expr,
            $(limit $class:ident as $limited:ident,)? $(zero $zero:expr,)?)?
        $help:literal;
    )*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub const $id: Family = Family {
                name: $name,
                family_type: FamilyType::$type $(($bounds))?,
                labels: &$labels,
                persistence: Persistence::$persistence,
                help: $help,
            };
        )*

        /// All families, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$($id),*];

        fn shown_of(family: &str) -> Option<Shown> {
            $($(
                if family == $name {
                    return Some($shown);
                }
            )?)*
            None
        }

        /// A family whose labels come from rows, and which therefore has a limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LimitedFamily {
            $($($(
                #[doc = concat!("`", $name, "`")]
                $limited,
            )?)?)*
        }

        impl LimitedFamily {
            /// All of them.
            pub const ALL: &[LimitedFamily] = &[$($($(LimitedFamily::$limited,)?)?)*];

            /// Its row in the table.
            pub const fn family(self) -> &'static Family {
                match self {
                    $($($(LimitedFamily::$limited => &$id,)?)?)*
                }
            }

            /// Which limit it has.
            pub const fn class(self) -> LimitClass {
                match self {
                    $($($(LimitedFamily::$limited => LimitClass::$class,)?)?)*
                }
            }

            const fn shown(self) -> Shown {
                match self {
                    $($($(LimitedFamily::$limited => $shown,)?)?)*
                }
            }
        }
    };
}

family_table!(define_families);

/// The families of history, which are not on `/metrics`: gauges whose samples have the time when things
/// happened. They have the labels of their `_total` sisters.
pub const HISTORY_FAMILIES: &[Family] = &[
    HISTORY_WEB_API_ENTRIES,
    HISTORY_WEB_API_STATES,
    HISTORY_EVENT_ENTRIES,
    HISTORY_EVENT_VALUE,
    HISTORY_OBJECT_ENTRIES,
    HISTORY_COVERED,
    HISTORY_ACTIVE_KEYS,
    HISTORY_ACTIVE_MACHINES,
    HISTORY_ACCOUNT_MACHINES,
];

const fn history_family(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, family_type: FamilyType::Gauge, labels, persistence: Persistence::Ledger, help }
}

/// The sister of [`WEB_API_ENTRIES`].
pub const HISTORY_WEB_API_ENTRIES: Family = history_family(
    "cryptolens_history_web_api_log_entries",
    WEB_API_ENTRIES.labels,
    "Rows of the Web API Log that happened in the minute.",
);
/// The sister of [`WEB_API_STATES`].
pub const HISTORY_WEB_API_STATES: Family = history_family(
    "cryptolens_history_web_api_log_states",
    WEB_API_STATES.labels,
    "The same rows by raw state code. Never add it to cryptolens_history_web_api_log_entries.",
);
/// The sister of [`EVENT_ENTRIES`].
pub const HISTORY_EVENT_ENTRIES: Family = history_family(
    "cryptolens_history_event_log_entries",
    EVENT_ENTRIES.labels,
    "Rows of the Events Log that happened in the minute.",
);
/// The sister of [`EVENT_VALUE`].
pub const HISTORY_EVENT_VALUE: Family = history_family(
    "cryptolens_history_event_value",
    EVENT_VALUE.labels,
    "Sum of the values above 0 of the events that happened in the minute.",
);
/// The sister of [`OBJECT_ENTRIES`].
pub const HISTORY_OBJECT_ENTRIES: Family = history_family(
    "cryptolens_history_object_log_entries",
    OBJECT_ENTRIES.labels,
    "Rows of the Object Log that happened in the minute.",
);
/// Which minutes are known, as opposed to minutes in which nothing happened.
pub const HISTORY_COVERED: Family = history_family(
    "cryptolens_history_covered_seconds",
    &["account", "log"],
    "60 for every minute that was read, also if nothing happened in it.",
);

/// The sister of [`ACTIVE_KEYS`].
pub const HISTORY_ACTIVE_KEYS: Family = history_family(
    "cryptolens_history_active_license_keys",
    ACTIVE_KEYS.labels,
    "Distinct license keys with a request that succeeded, once for each day, at its start: window 1d is that day, 7d and 30d end with it. Only with --usage.active.",
);
/// The sister of [`ACTIVE_MACHINES`].
pub const HISTORY_ACTIVE_MACHINES: Family = history_family(
    "cryptolens_history_active_machines",
    ACTIVE_MACHINES.labels,
    "Distinct machines with a request that succeeded, as the keys.",
);
/// The sister of [`ACCOUNT_MACHINES`].
pub const HISTORY_ACCOUNT_MACHINES: Family = history_family(
    "cryptolens_history_account_active_machines",
    ACCOUNT_MACHINES.labels,
    "Distinct machines of the whole account with a request that succeeded, as the keys.",
);

/// The log that a counted label set belongs to; `None` if this version does not count it.
pub fn log_of(family: &str, labels: &[Arc<str>]) -> Option<LogKind> {
    match shown_of(family)? {
        Shown::Rows(log) => Some(log),
        Shown::Reading => labels.first().and_then(|log| LogKind::from_name(log)),
        Shown::Summed => LimitedFamily::from_labels(labels)?.log(),
    }
}

impl LimitedFamily {
    /// The label set of every limited family that counts rows of a log.
    pub(super) fn in_advance(log: LogKind, _: &Products) -> Vec<LimitedFamily> {
        LimitedFamily::ALL.iter().copied().filter(|family| family.log() == Some(log)).collect()
    }
}

impl SeriesKey for LimitedFamily {
    fn labels(&self) -> Vec<Arc<str>> {
        vec![self.family().name.into()]
    }

    fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
        let [name] = labels else { return None };
        LimitedFamily::ALL.iter().copied().find(|family| family.family().name == &**name)
    }

    fn log(&self) -> Option<LogKind> {
        match self.shown() {
            Shown::Rows(log) => Some(log),
            Shown::Reading | Shown::Summed => None,
        }
    }
}

/// The text of docs/metrics.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the family table in `src/tally/families.rs`; `cargo test` fails if this page is stale.\n\n\
         Families that survive restarts are kept in the ledger; the others start with the process. \
         `process_*` are the same as in every exporter.\n\n\
         | family | type | labels | survives restarts | meaning |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let family_type = match family.family_type {
            FamilyType::Histogram(bounds) => {
                let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
                format!("histogram: {}", bounds.join(" "))
            }
            other => other.name().to_owned(),
        };
        let survives = match family.persistence {
            Persistence::Ledger => "yes",
            Persistence::Process => "no",
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| `{}` | {family_type} | {} | {survives} | {} |",
            family.name,
            family.labels.join(", "),
            family.help
        );
    }
    page.push_str(
        "\n## History\n\n\
         These families are not on `/metrics`: they are sent to the targets of history, and only if there is one. \
         All are gauges, one sample for each label set and minute in which something happened, with the time of that minute \
         and the labels of `--history.labels`. Add them up with `sum_over_time`.\n\n\
         | family | labels | meaning |\n|---|---|---|\n",
    );
    for family in HISTORY_FAMILIES {
        // Writing to a string can't fail.
        let _ = writeln!(page, "| `{}` | {} | {} |", family.name, family.labels.join(", "), family.help);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MAX_BOUNDS;

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            assert!(family.name.starts_with("cryptolens_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.family_type == FamilyType::Counter,
                "{}",
                family.name
            );
            let bounds = family.bounds();
            assert!(bounds.is_sorted() && bounds.len() <= MAX_BOUNDS, "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn every_limited_family_survives_the_ledger() {
        for family in LimitedFamily::ALL {
            assert_eq!(LimitedFamily::from_labels(&family.labels()), Some(*family));
            assert!(family.log().is_some(), "{}", family.family().name);
        }
        let names: Vec<_> = LimitedFamily::ALL.iter().map(|family| family.family().name).collect();
        assert_eq!(names.len(), 6, "{names:?}");
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
        for family in FAMILIES.iter().chain(HISTORY_FAMILIES) {
            // Where samples of history go is called a target everywhere in Prometheus' own metrics of
            // remote write, too, and no usual relabelling adds that label to an exporter.
            let is_allowed =
                |label: &str| label == "target" && family.name.starts_with("cryptolens_exporter_history_");
            for label in family.labels.iter().filter(|label| !is_allowed(label)) {
                assert!(!OF_TARGETS.contains(label), "{}: {label}", family.name);
                assert!(!label.starts_with("exported_"), "{}: {label}", family.name);
            }
        }
    }

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        expect_test::expect_file![path].assert_eq(&markdown());
    }
}
