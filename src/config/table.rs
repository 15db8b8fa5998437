//! The settings table: every setting of every command, one row each.
//!
//! To add a setting, add a row here, the field that receives its value, and the line that reads it
//! where the command resolves its settings. The flag, its help text, the key in the file, the
//! documentation, the JSON Schema and the shell completions follow from the row. Rows are listed in
//! help pages in the order of this file, and headings in the order of their first row.
//!
//! The access token has a row with a variable and no flag, and never gets one: every user of a
//! machine can read command lines.

#![allow(missing_docs, reason = "the texts of a row say what it is")]

use std::time::Duration;

use super::setting::CommandName::{
    Audit, Backfill, Check, Demo, Export, Healthcheck, Reconcile, Report, Serve, Simulate,
};
use super::setting::{ChoiceRow, CommandName, CommandRow, DefaultValue, Setting, SettingGroup, ValueKind};
use crate::cryptolens::Concurrency;

/// Defines a constant for each row, and the list of all of them.
macro_rules! settings {
    ($($name:ident { $($column:ident: $value:expr,)* })*) => {
        $(pub const $name: Setting = Setting { $($column: $value,)* ..Setting::NONE };)*

        /// All rows, in the order in which help pages list them.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
}

/// The commands that poll, and so take every setting of polling.
const SERVING: &[CommandName] = &[Serve, Check];
/// The commands that serve metrics.
const WITH_WEB_SERVER: &[CommandName] = &[Serve, Check, Demo];
/// The commands that read a log once.
const READING: &[CommandName] = &[Report, Audit, Export];
/// The commands whose answer can go into a file.
const WITH_OUTPUT: &[CommandName] = &[Report, Audit, Export, Reconcile];
/// The commands that read the Web API of an account.
const WITH_ACCOUNT: &[CommandName] = &[Serve, Check, Report, Audit, Export, Reconcile, Backfill];
/// The commands that read one account of the file.
const OF_ONE_ACCOUNT: &[CommandName] = &[Report, Audit, Export, Reconcile, Backfill];
/// The commands that count.
const COUNTING: &[CommandName] = &[Serve, Check, Backfill];
/// The commands that push to an OpenTelemetry receiver.
const WITH_PUSH: &[CommandName] = &[Serve, Check, Demo, Backfill];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than any log, and short enough for every calendar.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// Every second of simulated history takes ids.
const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

const WINDOW: ValueKind = ValueKind::Duration { least: SECOND, most: CENTURY };
const WINDOW_EXPECTED: &str = "a duration from 1s on, such as 1h or 30d";
const INTERVAL_KIND: ValueKind = ValueKind::Duration { least: SECOND, most: DAY };
const INTERVAL_EXPECTED: &str = "a duration between 1s and 1d, such as 15s";
const MOMENT_EXPECTED: &str =
    "a date such as 2026-01-31 or a time such as 2026-01-31T08:00 that there is in the time zone";
const POSITIVE: ValueKind = ValueKind::Integer { least: 1, most: i64::MAX as u64 };
const PRODUCT_EXPECTED: &str = "the number of a product, such as 3349";
pub(super) const SINCE_EXPECTED: &str =
    "now, all, a duration such as 30d, a date such as 2026-01-31 or a time such as 2026-01-31T08:00:00Z";
pub(super) const LISTEN_EXPECTED: &str =
    "an address and a port, such as :10460, 0.0.0.0:10460, [::]:10460 or localhost:10460";
/// The commands that serve or ask a web server.
const WITH_WEB_CONFIG: &[CommandName] = &[Serve, Check, Demo, Healthcheck];

/// The commands that send history.
const WITH_HISTORY: &[CommandName] = &[Serve, Check, Demo, Backfill];
/// The same, for what only the file can say.
const WITH_HISTORY_IN_FILE: &[CommandName] = &[Serve, Check, Backfill];
/// The commands that keep an outbox.
const WITH_OUTBOX: &[CommandName] = &[Serve, Check, Demo];
const REMOTE_WRITE_URL_EXPECTED: &str =
    "an http or https URL without user name and password, such as http://prometheus:9090/api/v1/write";

const LOGS_TO_READ: &[ChoiceRow] = &[
    choice("web-api", "Activations, deactivations, key creation ... with their outcome"),
    choice("events", "What apps register: features used, payments"),
    choice("objects", "Who added, changed or deleted customers, products, licenses"),
];

const REPORTS: &[ChoiceRow] = &[
    choice("incident", "Is it failing, since when, who is hit, what changed before?"),
    choice("customer", "What does the customer of a KEY see?"),
    choice("summary", "How was it, better or worse than before, which incidents?"),
    choice("changes", "Who changed what?"),
    choice("web-api", "Activations, deactivations, key creation ... with their outcome"),
    choice("events", "What apps register: features used, payments"),
    choice("objects", "Who added, changed or deleted customers, products, licenses"),
];

const OTLP_ENDPOINT_EXPECTED: &str = "an http or https URL, such as http://localhost:4318";
const OTLP_DURATION: ValueKind = ValueKind::Duration { least: Duration::from_millis(1), most: DAY };
const OTLP_DURATION_EXPECTED: &str =
    "milliseconds from 1 on in the variable, or a duration between 1ms and 1d, such as 10s";
const OTLP_PROTOCOL_EXPECTED: &str =
    "http/protobuf: no other protocol is there, and receivers listen for it beside gRPC";
const OTLP_COMPRESSIONS: &[ChoiceRow] = &[choice("gzip", ""), choice("none", "")];

const fn choice(name: &'static str, help: &'static str) -> ChoiceRow {
    ChoiceRow { name, help }
}

settings! {
    REPORT_LOG {
        argument: "REPORT",
        kind: ValueKind::Choice(REPORTS),
        default: DefaultValue::Is("web-api"),
        group: SettingGroup::Arguments,
        commands: &[Report],
        summary: "Question to answer, or log to count",
    }
    REPORT_CUSTOMER {
        argument: "KEY",
        default: DefaultValue::Is("none"),
        group: SettingGroup::Arguments,
        commands: &[Report],
        summary: "For the customer report: the license key, its pseudonym or its last group",
    }
    AUDIT_WHAT {
        argument: "WHAT",
        kind: ValueKind::Choice(&[choice("seats", "Who held the seats of a floating license, and when")]),
        default: DefaultValue::Means("none, it is needed"),
        group: SettingGroup::Arguments,
        commands: &[Audit],
        summary: "What to audit: the seats of a floating license",
    }
    EXPORT_LOG {
        argument: "LOG",
        kind: ValueKind::Choice(LOGS_TO_READ),
        default: DefaultValue::Means("none, it is needed"),
        group: SettingGroup::Arguments,
        commands: &[Export],
        summary: "Log to export",
    }

    // Before the time, as an audit is about one license first of all.
    AUDIT_PRODUCT {
        flag: "product",
        variable: "CRYPTOLENS_REPORT_PRODUCT",
        kind: POSITIVE,
        value_name: "ID",
        default: DefaultValue::Means("none, it is needed"),
        example: "3349",
        group: SettingGroup::Entries,
        commands: &[Audit],
        summary: "Product of the license",
        help: "The id of the product, as in the log.",
        expected: PRODUCT_EXPECTED,
    }
    AUDIT_KEY {
        flag: "key",
        variable: "CRYPTOLENS_REPORT_KEY",
        value_name: "KEY",
        default: DefaultValue::Means("all keys of the product"),
        example: "ICVLD-VVSZR-ZTICT-YKGXL",
        group: SettingGroup::Entries,
        commands: &[Audit],
        summary: "License key",
        help: "The whole key, as in the log; with a period such as --month also its pseudonym or its last group. Other users of \
               the machine can see it in the list of processes: --license-key-file keeps it from them.",
        expected: "a license key",
    }
    AUDIT_LICENSE_KEY_FILE {
        flag: "license-key-file",
        variable: "CRYPTOLENS_REPORT_LICENSE_KEY_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("none"),
        example: "/run/secrets/license-key",
        group: SettingGroup::Entries,
        commands: &[Audit],
        summary: "File that holds the license key",
        help: "Is used instead of --key; - reads standard input.",
        expected: "the path of a file",
    }

    REPORT_DAYS {
        flag: "days",
        variable: "CRYPTOLENS_REPORT_DAYS",
        kind: ValueKind::Integer { least: 1, most: 36_500 },
        value_name: "NUMBER",
        default: DefaultValue::Is("30"),
        example: "7",
        group: SettingGroup::Time,
        commands: &[Report],
        summary: "How many days to report on",
        help: "A number of days of 24 hours up to now, or up to --to. Is not used with --since or --from.",
        expected: "a whole number of days from 1 to 36500",
    }
    REPORT_SINCE {
        flag: "since",
        variable: "CRYPTOLENS_REPORT_SINCE",
        kind: WINDOW,
        value_name: "DURATION",
        default: DefaultValue::Means("what --days says; 2h for the incident report, 7d for the customer report"),
        example: "1h",
        group: SettingGroup::Time,
        commands: &[Report],
        summary: "How long to report on",
        help: "A duration such as 1h or 90m up to now, or up to --to; with --at to both sides of it. Is not used with --from.",
        expected: WINDOW_EXPECTED,
    }
    REPORT_AT {
        flag: "at",
        variable: "CRYPTOLENS_REPORT_AT",
        value_name: "TIME",
        default: DefaultValue::Means("now"),
        example: "2026-10-06T12:37",
        group: SettingGroup::Time,
        commands: &[Report],
        summary: "Moment of the incident, whose surroundings are looked at",
        help: "For the incident report: --since before it and after it. Is written as --from is, and not used with --from and \
               --to.",
        expected: "a date or a time",
    }
    REPORT_DAY {
        flag: "day",
        variable: "CRYPTOLENS_REPORT_DAY",
        value_name: "DATE",
        example: "2026-10-06",
        group: SettingGroup::Time,
        commands: &[Report, Audit],
        summary: "Day to report on, of --timezone",
        help: "A date such as 2026-10-06, or last for the last complete day. Is not used with --from, --to and --since.",
        expected: "a date such as 2026-10-06, or last",
    }
    REPORT_WEEK {
        flag: "week",
        variable: "CRYPTOLENS_REPORT_WEEK",
        value_name: "WEEK",
        example: "2026-W43",
        group: SettingGroup::Time,
        commands: &[Report, Audit],
        summary: "Week to report on, from Monday to Sunday of --timezone",
        help: "A week of ISO 8601 such as 2026-W43, or last for the last complete one.",
        expected: "a week such as 2026-W43, or last",
    }
    REPORT_MONTH {
        flag: "month",
        variable: "CRYPTOLENS_REPORT_MONTH",
        value_name: "MONTH",
        default: DefaultValue::Means("none; last for the summary"),
        example: "2026-10",
        group: SettingGroup::Time,
        commands: &[Report, Audit],
        summary: "Month to report on, of --timezone",
        help: "A month such as 2026-10, or last for the last complete one. A month that is not over ends now.",
        expected: "a month such as 2026-10, or last",
    }
    REPORT_YEAR {
        flag: "year",
        variable: "CRYPTOLENS_REPORT_YEAR",
        value_name: "YEAR",
        example: "2026",
        group: SettingGroup::Time,
        commands: &[Report, Audit],
        summary: "Year to report on, of --timezone",
        help: "A year such as 2026, or last for the last complete one.",
        expected: "a year such as 2026, or last",
    }
    REPORT_COMPARE {
        flag: "compare",
        variable: "CRYPTOLENS_REPORT_COMPARE",
        value_name: "TIME",
        default: DefaultValue::Means("previous"),
        example: "year",
        group: SettingGroup::Time,
        commands: &[Report],
        summary: "Time that the summary is compared with",
        help: "One of: previous (the period before), year (the same period of the year before), none, or two moments such as \
               2026-08-01..2026-09-01, written as --from is. A period that is not over is compared with the same part of \
               another one, and times of unequal length are compared by day.",
        expected: "previous, year, none or two moments such as 2026-08-01..2026-09-01",
    }
    RECONCILE_DAYS {
        flag: "days",
        variable: "CRYPTOLENS_RECONCILE_DAYS",
        kind: ValueKind::Integer { least: 1, most: 3_650 },
        value_name: "NUMBER",
        default: DefaultValue::Is("7"),
        example: "30",
        group: SettingGroup::Time,
        commands: &[Reconcile],
        summary: "How many days to compare",
        help: "A number of whole days up to today, or up to --to; today is not among them. Is not used with --from.",
        expected: "a whole number of days from 1 to 3650",
    }
    RECONCILE_FROM {
        flag: "from",
        variable: "CRYPTOLENS_RECONCILE_FROM",
        value_name: "DATE",
        default: DefaultValue::Means("counted back from --to"),
        example: "2026-01-01",
        group: SettingGroup::Time,
        commands: &[Reconcile],
        summary: "First day",
        help: "A date such as 2026-01-31. Days are those of UTC.",
        expected: "a date such as 2026-01-31",
    }
    RECONCILE_TO {
        flag: "to",
        variable: "CRYPTOLENS_RECONCILE_TO",
        value_name: "DATE",
        default: DefaultValue::Means("today"),
        example: "2026-02-01",
        group: SettingGroup::Time,
        commands: &[Reconcile],
        summary: "Day after the last",
        help: "A date such as 2026-01-31, which is not compared itself.",
        expected: "a date such as 2026-01-31",
    }
    RECONCILE_SETTLE {
        flag: "settle",
        variable: "CRYPTOLENS_RECONCILE_SETTLE",
        kind: ValueKind::Duration { least: Duration::ZERO, most: CENTURY },
        value_name: "DURATION",
        default: DefaultValue::Is("48h"),
        example: "12h",
        group: SettingGroup::Time,
        commands: &[Reconcile],
        summary: "How long after its end a day is judged",
        help: "The vendor counts some time after the fact. A difference on a younger day is pending.",
        expected: "a duration from 0s on, such as 48h",
    }
    EXPORT_SINCE {
        flag: "since",
        variable: "CRYPTOLENS_EXPORT_SINCE",
        kind: WINDOW,
        value_name: "DURATION",
        default: DefaultValue::Means("the beginning of the log"),
        example: "7d",
        group: SettingGroup::Time,
        commands: &[Export],
        summary: "Where to begin: a duration back from now",
        help: "A duration such as 30d or 12h. Is not used with --from.",
        expected: WINDOW_EXPECTED,
    }
    BACKFILL_SINCE {
        flag: "since",
        variable: "CRYPTOLENS_BACKFILL_SINCE",
        kind: ValueKind::Since,
        value_name: "WHEN",
        default: DefaultValue::Means("none, it is needed"),
        example: "30d",
        group: SettingGroup::Time,
        commands: &[Backfill],
        summary: "Where the history begins",
        help: "One of: all (everything the API still has), a duration such as 30d (that far back), a date such as 2026-01-31 \
               (midnight UTC), or a time such as 2026-01-31T08:00:00Z. It begins with the first whole minute.",
        expected: SINCE_EXPECTED,
    }
    BACKFILL_TO {
        flag: "to",
        variable: "CRYPTOLENS_BACKFILL_TO",
        kind: ValueKind::Since,
        value_name: "WHEN",
        default: DefaultValue::Means("where the history of the ledger begins, else now"),
        example: "2026-02-01",
        group: SettingGroup::Time,
        commands: &[Backfill],
        summary: "Where the history ends, itself not included",
        help: "Is written as --since is. Needed without --storage.path, unless --history.labels gives the samples an instance of \
               their own: what serve writes and what backfill writes must not overlap.",
        expected: SINCE_EXPECTED,
    }
    BACKFILL_OUTPUT {
        flag: "output",
        short: Some('o'),
        variable: "CRYPTOLENS_BACKFILL_OUTPUT",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("none; this or a target is needed"),
        example: "history.om",
        group: SettingGroup::Presentation,
        commands: &[Backfill],
        summary: "File of OpenMetrics text to write, instead of a target",
        help: "For promtool tsdb create-blocks-from openmetrics. It is written beside its place and put there when it is complete.",
        expected: "the path of a file",
    }
    AUDIT_HOURS {
        flag: "hours",
        variable: "CRYPTOLENS_REPORT_HOURS",
        kind: ValueKind::Integer { least: 1, most: 876_000 },
        value_name: "NUMBER",
        default: DefaultValue::Is("24"),
        example: "168",
        group: SettingGroup::Time,
        commands: &[Audit],
        summary: "How many hours to audit",
        help: "A number of hours up to now, or up to --to. Is not used with --from.",
        expected: "a whole number of hours from 1 to 876000",
    }
    FROM {
        flag: "from",
        variable: "CRYPTOLENS_REPORT_FROM",
        value_name: "TIME",
        default: DefaultValue::Means("counted back from --to"),
        example: "2026-01-01",
        group: SettingGroup::Time,
        commands: READING,
        summary: "First moment",
        help: "A date such as 2026-01-31 (its midnight), a time of --timezone such as 2026-01-31T08:00, or a time with its \
               own offset such as 2026-01-31T08:00:00Z.",
        expected: MOMENT_EXPECTED,
    }
    TO {
        flag: "to",
        variable: "CRYPTOLENS_REPORT_TO",
        value_name: "TIME",
        default: DefaultValue::Means("now"),
        example: "2026-02-01",
        group: SettingGroup::Time,
        commands: READING,
        summary: "Moment at which to end, itself not included",
        help: "Is written as --from is.",
        expected: MOMENT_EXPECTED,
    }
    TIMEZONE {
        flag: "timezone",
        variable: "CRYPTOLENS_REPORT_TIMEZONE",
        value_name: "ZONE",
        default: DefaultValue::Is("UTC"),
        example: "Europe/Stockholm",
        group: SettingGroup::Time,
        commands: READING,
        summary: "Time zone of days, hours and shown times",
        help: "A name of the IANA database, in any letter case. The system's zone files are used where there are any (TZDIR, \
               /usr/share/zoneinfo ...), else a table that is compiled in.",
        expected: "a name of the IANA database, such as Europe/Stockholm or UTC",
    }
    AUDIT_LOOKBACK {
        flag: "lookback",
        variable: "CRYPTOLENS_REPORT_LOOKBACK",
        kind: WINDOW,
        value_name: "DURATION",
        default: DefaultValue::Is("1d"),
        example: "30d",
        group: SettingGroup::Time,
        commands: &[Audit],
        summary: "How long before the beginning to read at least",
        help: "A lease that began before the beginning counts where its heartbeat is read. The audit reads as far back as the \
               longest lease that it meets; a longer duration is needed only where one machine has a far longer lease than all \
               others.",
        expected: WINDOW_EXPECTED,
    }

    PRODUCT {
        flag: "product",
        variable: "CRYPTOLENS_REPORT_PRODUCT",
        kind: POSITIVE,
        value_name: "ID",
        default: DefaultValue::Means("all"),
        example: "3349",
        group: SettingGroup::Entries,
        commands: &[Report, Export, Reconcile],
        summary: "Only entries of this product",
        help: "The id of the product; for the web-api and events logs.",
        expected: PRODUCT_EXPECTED,
    }
    KEY {
        flag: "key",
        variable: "CRYPTOLENS_REPORT_KEY",
        value_name: "KEY",
        default: DefaultValue::Means("all"),
        example: "ICVLD-VVSZR-ZTICT-YKGXL",
        group: SettingGroup::Entries,
        commands: &[Report, Export],
        summary: "Only entries of this license key",
        help: "The whole key; needs --product.",
        expected: "a license key",
    }
    STATES {
        flag: "states",
        variable: "CRYPTOLENS_REPORT_STATES",
        kind: ValueKind::List,
        value_name: "LIST",
        default: DefaultValue::Means("all"),
        example: "2014,2015,2024",
        group: SettingGroup::Entries,
        commands: &[Report],
        summary: "State codes to report on",
        help: "A list of codes from 1000 to 8999, separated by commas; for the web-api report. The report then cannot tell \
               which keys only fail.",
        expected: "codes from 1000 to 8999, separated by commas",
    }
    OUTCOME {
        flag: "outcome",
        variable: "CRYPTOLENS_REPORT_OUTCOME",
        kind: ValueKind::Choice(&[
            choice("success", "Third digit of the state is 1"),
            choice("failure", "Third digit of the state is 2"),
            choice("unknown", "Any other"),
        ]),
        value_name: "OUTCOME",
        default: DefaultValue::Means("all"),
        example: "failure",
        group: SettingGroup::Entries,
        commands: &[Report],
        summary: "Outcome to report on",
        help: "For the web-api report. Entries with another outcome are left out of every number, so there is no ratio then.",
    }
    REPORT_RESOURCE {
        flag: "resource",
        variable: "CRYPTOLENS_REPORT_RESOURCE",
        kind: ValueKind::Choice(&[
            choice("customer", ""),
            choice("issued_license", ""),
            choice("license_key", ""),
            choice("license_issuance", ""),
            choice("product", ""),
            choice("data_object", ""),
        ]),
        value_name: "KIND",
        default: DefaultValue::Means("all"),
        example: "license_key",
        group: SettingGroup::Entries,
        commands: &[Report],
        summary: "Only changes of this kind of object",
        help: "For the changes report. One of: customer, issued_license, license_key, license_issuance, product, data_object.",
    }
    REPORT_USER {
        flag: "user",
        variable: "CRYPTOLENS_REPORT_USER",
        value_name: "ID",
        default: DefaultValue::Means("all"),
        example: "22",
        group: SettingGroup::Entries,
        commands: &[Report],
        summary: "Only changes by this user",
        help: "For the changes report: the number of the user, as in the log.",
        expected: "the number of a user, such as 22",
    }
    AUDIT_MAX_MACHINES {
        flag: "max-machines",
        variable: "CRYPTOLENS_REPORT_MAX_MACHINES",
        kind: ValueKind::Integer { least: 0, most: u32::MAX as u64 },
        value_name: "NUMBER",
        default: DefaultValue::Means("what GetKey says now"),
        example: "10",
        group: SettingGroup::Entries,
        commands: &[Audit],
        summary: "Seats of the license",
        help: "0 for no limit. Give it where the token may not call GetKey, or where the number was another one at that time.",
        expected: "a whole number from 0 on",
    }

    RECONCILE_AGAINST {
        flag: "against",
        variable: "CRYPTOLENS_RECONCILE_AGAINST",
        kind: ValueKind::List,
        value_name: "SIDES",
        default: DefaultValue::Means("vendor, and ledger where --storage.path is given"),
        example: "ledger",
        group: SettingGroup::Entries,
        commands: &[Reconcile],
        summary: "What to compare the log with",
        help: "vendor: the vendor's own daily counts, which need the permission Usage Analytics. ledger: what serve has counted, which \
               needs no further permission and must be equal. Both with a comma in between, or the flag twice.",
        expected: "ledger, vendor, or both with a comma in between",
    }
    RECONCILE_EXCLUDE_KEYS_FILE {
        flag: "exclude-keys-file",
        variable: "CRYPTOLENS_RECONCILE_EXCLUDE_KEYS_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "test-keys.txt",
        group: SettingGroup::Entries,
        commands: &[Reconcile],
        summary: "File with the license keys that the vendor leaves out",
        help: "One key a line; blank lines and lines that begin with # are left out. The vendor does not count keys that are \
               marked as test. With the file the comparison is exact.",
        expected: "the path of a file",
    }
    RECONCILE_TOLERANCE {
        flag: "tolerance",
        variable: "CRYPTOLENS_RECONCILE_TOLERANCE",
        kind: ValueKind::Number { least: 0.0, most: 100.0 },
        value_name: "PERCENT",
        default: DefaultValue::Is("0"),
        example: "0.5",
        group: SettingGroup::Entries,
        commands: &[Reconcile],
        summary: "How far the log may be above the vendor's count",
        help: "In percent of the vendor's count. A vendor's count above that of the log is never tolerated.",
        expected: "a number from 0 to 100",
    }
    NO_COMPARISON {
        flag: "no-comparison",
        variable: "CRYPTOLENS_REPORT_NO_COMPARISON",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Presentation,
        commands: &[Report],
        summary: "Leave out the comparison with the window before",
        help: "The web-api report then reads half as much of the log.",
        expected: "true or false",
    }
    REPORT_FORMAT {
        flag: "format",
        variable: "CRYPTOLENS_REPORT_FORMAT",
        kind: ValueKind::Choice(&[
            choice("text", "For the terminal"),
            choice("json", "For programs"),
            choice("csv", "For spreadsheets"),
            choice("html", "One page that needs nothing else"),
            choice("svg", "One chart"),
            choice("markdown", "For tickets, chat and mail"),
        ]),
        value_name: "FORMAT",
        default: DefaultValue::Is("text"),
        example: "html",
        group: SettingGroup::Presentation,
        commands: &[Report, Audit],
        summary: "Format of the report",
        help: "One of: text (for the terminal), json (versioned, for programs), csv (for spreadsheets), html (one page that \
               needs nothing else), svg (one chart of the web-api report, see --chart), markdown (for tickets, chat and mail; \
               the incident report).",
    }
    REPORT_TABLE {
        flag: "table",
        variable: "CRYPTOLENS_REPORT_TABLE",
        value_name: "ID",
        default: DefaultValue::Means("the first one"),
        example: "customers",
        group: SettingGroup::Presentation,
        commands: &[Report, Audit],
        summary: "Table or chart of --format=csv",
        help: "For the reports that are documents (incident, customer, summary, changes, and audit seats of a product). list prints the ids. With the name of a directory as --output all of them are written.",
        expected: "the id of a table or chart, or list",
    }
    REPORT_FAIL_ON {
        flag: "fail-on",
        variable: "CRYPTOLENS_REPORT_FAIL_ON",
        kind: ValueKind::List,
        value_name: "CONDITION",
        example: "incident",
        group: SettingGroup::Presentation,
        commands: &[Report, Audit],
        summary: "What ends the command with exit code 3",
        help: "A list of: incident (for the incident report one that goes on at the end of the time, for the summary any), \
               objective (the summary misses --objective), refusals (a machine was refused a seat; for the summary and audit \
               seats). The report is written all the same.",
        expected: "incident, objective or refusals, with commas in between",
    }
    REPORT_OBJECTIVE {
        flag: "objective",
        variable: "CRYPTOLENS_REPORT_OBJECTIVE",
        kind: ValueKind::Number { least: 0.0, most: 100.0 },
        value_name: "PERCENT",
        default: DefaultValue::Means("none"),
        example: "95",
        group: SettingGroup::Presentation,
        commands: &[Report],
        summary: "Percentage of requests that shall succeed",
        help: "For the summary, which then says whether the objective was met and how much of the error budget was used.",
        expected: "a percentage from 0 to 100, such as 95 or 99.9",
    }
    RECONCILE_FORMAT {
        flag: "format",
        variable: "CRYPTOLENS_RECONCILE_FORMAT",
        kind: ValueKind::Choice(&[
            choice("text", "The differences, for the terminal"),
            choice("json", "All counts, for programs"),
            choice("csv", "All counts, for spreadsheets"),
        ]),
        value_name: "FORMAT",
        default: DefaultValue::Is("text"),
        example: "json",
        group: SettingGroup::Presentation,
        commands: &[Reconcile],
        summary: "Format of the comparison",
        help: "One of: text (the differences, for the terminal), json (all counts, for programs), csv (all counts, for \
               spreadsheets).",
    }
    EXPORT_FORMAT {
        flag: "format",
        variable: "CRYPTOLENS_EXPORT_FORMAT",
        kind: ValueKind::Choice(&[
            choice("ndjson", "A JSON object on each line"),
            choice("csv", "With a header"),
            choice("parquet", "Typed columns, for DuckDB, pandas, Polars, Spark and Trino; needs --output"),
        ]),
        value_name: "FORMAT",
        default: DefaultValue::Is("ndjson"),
        example: "csv",
        group: SettingGroup::Presentation,
        commands: &[Export],
        summary: "Format of the entries",
        help: "One of: ndjson (a JSON object on each line), csv (with a header), parquet (typed columns, for DuckDB, pandas, \
               Polars, Spark and Trino). parquet needs a file named by --output, and an export in it cannot be resumed.",
    }
    EXPORT_RESUME {
        flag: "resume",
        variable: "CRYPTOLENS_EXPORT_RESUME",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Presentation,
        commands: &[Export],
        summary: "Go on after the last entry of the output",
        help: "Reads the ids of the file named by --output, or of the unfinished one that an interrupted export left beside it, \
               and appends the entries that it lacks from its last hour on, so that entries that the log showed late are there \
               too: --since and --from say where a new file begins. Without such a file it begins as usual.",
        expected: "true or false",
    }
    CHART {
        flag: "chart",
        variable: "CRYPTOLENS_REPORT_CHART",
        kind: ValueKind::Choice(&[
            choice("outcome", "Successful vs. unsuccessful requests"),
            choice("daily", "Requests of each day"),
        ]),
        value_name: "CHART",
        default: DefaultValue::Is("outcome"),
        example: "daily",
        group: SettingGroup::Presentation,
        commands: &[Report],
        summary: "Chart of --format=svg",
        help: "One of: outcome (successful vs. unsuccessful requests), daily (requests of each day).",
    }
    TOP {
        flag: "top",
        variable: "CRYPTOLENS_REPORT_TOP",
        kind: ValueKind::Integer { least: 0, most: u64::MAX },
        value_name: "NUMBER",
        default: DefaultValue::Is("10"),
        example: "50",
        group: SettingGroup::Presentation,
        commands: &[Report, Audit],
        summary: "Longest list of most failing names and machines",
        help: "A number of rows; also for the audit trail in --format=text, which shows the newest, and for the tables of \
               documents such as the incident report in text, HTML and Markdown, which have 20 rows unless it is given.",
        expected: "a whole number from 0 on, such as 10",
    }
    OUTPUT {
        flag: "output",
        short: Some('o'),
        variable: "CRYPTOLENS_REPORT_OUTPUT",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("standard output"),
        example: "report.html",
        group: SettingGroup::Presentation,
        commands: WITH_OUTPUT,
        summary: "File to write",
        help: "The file is written beside its place and put there when it is complete, so that a failure leaves the old one \
               as it was. With --identities=full only its owner can read it. A device or a FIFO is written to as it is.",
        expected: "the path of a file",
    }
    IDENTITIES {
        flag: "identities",
        variable: "CRYPTOLENS_REPORT_IDENTITIES",
        kind: ValueKind::Choice(&[
            choice("masked", "As pseudonyms"),
            choice("customers", "Companies by name, keys by their last group, people as pseudonyms"),
            choice("full", "As they are"),
        ]),
        value_name: "HOW",
        default: DefaultValue::Is("masked"),
        example: "full",
        group: SettingGroup::Presentation,
        commands: READING,
        summary: "How keys, machines, addresses and names of people are shown",
        help: "One of: masked, customers, full. customers is for the incident report: it shows companies by their name, keys by \
               their last group, and never a machine, a person or an address. Masked ones are pseudonyms such as key-3f2a91bc04d1: the same for the same access token, \
               so that they can be compared between reports, and not to be undone without it. Always shown: ids, times, states, \
               names of features and events, values and currencies; in JSON texts of the log true, false and null, the member \
               names that the API documents, and numbers and dates of members of a license such as MaxNoOfMachines and Expires.",
    }

    ACCOUNT {
        flag: "account",
        variable: "CRYPTOLENS_REPORT_ACCOUNT",
        kind: ValueKind::AccountName,
        value_name: "NAME",
        default: DefaultValue::Means("the only one"),
        example: "shop",
        group: SettingGroup::Configuration,
        commands: OF_ONE_ACCOUNT,
        summary: "Account of the configuration file",
        help: "Its name there; needed where the file lists several. The tokens of the others are not read.",
        expected: "the name of an account",
    }
    CONFIG_FILE {
        flag: "config.file",
        variable: "CRYPTOLENS_CONFIG_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("none"),
        example: "/etc/cryptolens-exporter.yml",
        group: SettingGroup::Configuration,
        commands: WITH_ACCOUNT,
        restart: true,
        summary: "YAML file with settings and accounts",
        help: "Needed for more than one account, for names of products and for names of state codes; everything else can also \
               be given by flags or environment. Relative paths in the file are relative to the directory of the file. Unknown \
               keys are errors.",
        expected: "the path of a file",
    }

    TOKEN {
        variable: "CRYPTOLENS_TOKEN",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        restart: true,
        summary: "The access token",
        help: "There is no flag for it, because every user of a machine can read command lines.",
        expected: "an access token",
    }
    API_URL {
        flag: "api.url",
        variable: "CRYPTOLENS_API_URL",
        key: "api.url",
        kind: ValueKind::Url,
        value_name: "URL",
        default: DefaultValue::Is("https://api.cryptolens.io/api"),
        example: "http://localhost:8080/api",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        restart: true,
        summary: "Base URL of the Web API",
        help: "An http or https URL without query, user name or password, with single slashes in its path. With http:// the \
               token travels unencrypted, so a host other than this machine gives a warning. The proxy named in HTTPS_PROXY \
               is used, except for the hosts that NO_PROXY lists.",
        expected: "an http or https URL, such as https://api.cryptolens.io/api",
    }
    API_TOKEN_FILE {
        flag: "api.token-file",
        variable: "CRYPTOLENS_TOKEN_FILE",
        key: "api.token_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/run/secrets/cryptolens-token",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        summary: "File that holds the access token",
        help: "White space around the token is ignored. The file is read again when it changes, so a token can be replaced \
               without a restart. Cannot be given together with CRYPTOLENS_TOKEN, which holds the token itself.",
        expected: "a path",
    }
    API_TIMEOUT {
        flag: "api.timeout",
        variable: "CRYPTOLENS_API_TIMEOUT",
        key: "api.timeout",
        kind: ValueKind::Duration { least: SECOND, most: Duration::from_secs(600) },
        value_name: "DURATION",
        default: DefaultValue::Is("30s"),
        example: "1m",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        summary: "Longest time that one request may take",
        help: "From connecting to the last byte of the answer; a duration between 1s and 10m.",
        expected: "a duration between 1s and 10m, such as 30s",
    }
    API_CONCURRENCY {
        flag: "api.concurrency",
        variable: "CRYPTOLENS_API_CONCURRENCY",
        key: "api.concurrency",
        kind: ValueKind::Integer { least: 1, most: Concurrency::MOST as u64 },
        value_name: "NUMBER",
        default: DefaultValue::Is("4"),
        example: "8",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        summary: "Most requests at the same time for one log while far behind",
        help: "A number from 1 to 32. A backlog and the window of a report are read with several requests under way; each more \
               makes that faster until the server slows down. Where it answers 429 or takes much longer, the number is halved. \
               Once a log is caught up, it is asked by one request at a time.",
        expected: "a whole number from 1 to 32",
    }
    API_CA_FILE {
        flag: "api.ca-file",
        variable: "CRYPTOLENS_API_CA_FILE",
        key: "api.ca_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("the system's"),
        example: "/etc/ssl/company-ca.pem",
        group: SettingGroup::WebApi,
        commands: WITH_ACCOUNT,
        summary: "PEM file with the certificate authorities to trust",
        help: "Instead of those of the system; for a proxy that terminates TLS.",
        expected: "a path",
    }

    SINCE {
        flag: "since",
        variable: "CRYPTOLENS_SINCE",
        key: "since",
        kind: ValueKind::Since,
        value_name: "WHEN",
        default: DefaultValue::Is("now"),
        example: "30d",
        group: SettingGroup::Counting,
        commands: SERVING,
        summary: "Where counting starts",
        help: "One of: now (only entries that are logged from now on), all (everything the API still has), a duration such as \
               30d (that far back), a date such as 2026-01-31 (midnight UTC), or a time such as 2026-01-31T08:00:00Z. It is \
               fixed at the first start and kept in the ledger; to start over, stop the exporter and delete the ledger.",
        expected: SINCE_EXPECTED,
    }
    LOGS {
        flag: "logs",
        variable: "CRYPTOLENS_LOGS",
        key: "logs",
        kind: ValueKind::Logs,
        value_name: "LIST",
        default: DefaultValue::Is("web_api,events,objects"),
        example: "web_api,events",
        group: SettingGroup::Counting,
        commands: COUNTING,
        summary: "Logs to count",
        help: "A list, separated by commas: web_api (activations, deactivations, key creation ... with their outcome), events \
               (what apps register: features used, payments), objects (who added, changed or deleted customers, products, \
               licenses). The token needs the permission for each. Given again, the flag adds to the list.",
        expected: "web_api, events or objects",
    }

    POLL_INTERVAL {
        flag: "poll.interval",
        variable: "CRYPTOLENS_POLL_INTERVAL",
        key: "poll.interval",
        kind: INTERVAL_KIND,
        value_name: "DURATION",
        default: DefaultValue::Means("15s for web_api, 60s for events and objects"),
        example: "30s",
        group: SettingGroup::Polling,
        commands: WITH_WEB_SERVER,
        summary: "Time between two polls of a log",
        help: "A duration between 1s and 1d. Sets all three logs, except those whose own flag is given as well.",
        expected: INTERVAL_EXPECTED,
    }
    POLL_INTERVAL_EVENTS {
        flag: "poll.interval.events",
        variable: "CRYPTOLENS_POLL_INTERVAL_EVENTS",
        key: "poll.interval_events",
        kind: INTERVAL_KIND,
        value_name: "DURATION",
        default: DefaultValue::Means("what --poll.interval says, else 60s"),
        example: "5m",
        group: SettingGroup::Polling,
        commands: WITH_WEB_SERVER,
        summary: "Time between two polls of the Events Log",
        help: "A duration between 1s and 1d.",
        expected: INTERVAL_EXPECTED,
    }
    POLL_INTERVAL_OBJECTS {
        flag: "poll.interval.objects",
        variable: "CRYPTOLENS_POLL_INTERVAL_OBJECTS",
        key: "poll.interval_objects",
        kind: INTERVAL_KIND,
        value_name: "DURATION",
        default: DefaultValue::Means("what --poll.interval says, else 60s"),
        example: "5m",
        group: SettingGroup::Polling,
        commands: WITH_WEB_SERVER,
        summary: "Time between two polls of the Object Log",
        help: "A duration between 1s and 1d.",
        expected: INTERVAL_EXPECTED,
    }
    POLL_OVERLAP {
        flag: "poll.overlap",
        variable: "CRYPTOLENS_POLL_OVERLAP",
        key: "poll.overlap",
        kind: ValueKind::Duration { least: Duration::ZERO, most: DAY },
        value_name: "DURATION",
        default: DefaultValue::Is("60s"),
        example: "5m",
        group: SettingGroup::Polling,
        commands: SERVING,
        summary: "How far behind the newest entry each poll reads again",
        help: "Entries can become visible out of order; one that shows up later than this is not counted, only reported. No \
               entry is counted twice, however long the overlap. A duration between 0s and 24h.",
        expected: "a duration between 0s and 24h, such as 60s",
    }

    STORAGE_PATH {
        flag: "storage.path",
        variable: "CRYPTOLENS_STORAGE_PATH",
        key: "storage.path",
        kind: ValueKind::Path,
        value_name: "DIRECTORY",
        default: DefaultValue::Is("data/"),
        example: "/var/lib/cryptolens-exporter",
        group: SettingGroup::Storage,
        commands: SERVING,
        restart: true,
        summary: "Directory of the ledger",
        help: "Holds ledger.db, from which the counts go on after a restart: put it on a disk that stays. It is created if \
               missing. Only one process may use it at a time.",
        expected: "a path",
    }
    DEMO_STORAGE_PATH {
        flag: "storage.path",
        variable: "CRYPTOLENS_STORAGE_PATH",
        kind: ValueKind::Path,
        value_name: "DIRECTORY",
        default: DefaultValue::Means("a temporary directory that is removed at exit"),
        example: "demo-data/",
        group: SettingGroup::Storage,
        commands: &[Demo],
        restart: true,
        summary: "Directory of the ledger",
        help: "It is created if missing. Name one to see counts survive a restart.",
        expected: "a path",
    }
    BACKFILL_STORAGE_PATH {
        flag: "storage.path",
        variable: "CRYPTOLENS_STORAGE_PATH",
        kind: ValueKind::Path,
        value_name: "DIRECTORY",
        example: "/var/lib/cryptolens-exporter",
        group: SettingGroup::Storage,
        commands: &[Backfill],
        summary: "Directory of the ledger whose history is not to be written again",
        help: "It is only read, and may be in use. The history that is written ends where that of the ledger begins, log by log.",
        expected: "a path",
    }
    RECONCILE_STORAGE_PATH {
        flag: "storage.path",
        variable: "CRYPTOLENS_STORAGE_PATH",
        kind: ValueKind::Path,
        value_name: "DIRECTORY",
        example: "/var/lib/cryptolens-exporter",
        group: SettingGroup::Storage,
        commands: &[Reconcile],
        summary: "Directory of the ledger to compare with",
        help: "It is only read, and may be in use. That of the configuration file is taken too.",
        expected: "a path",
    }
    FOREIGN_LEDGER {
        flag: "storage.foreign-ledger",
        variable: "CRYPTOLENS_STORAGE_FOREIGN_LEDGER",
        key: "storage.foreign_ledger",
        kind: ValueKind::Choice(&[
            choice("refuse", "End with exit code 1"),
            choice("adopt", "Go on with it"),
            choice("set-aside", "Rename it and begin a new one"),
        ]),
        value_name: "ACTION",
        default: DefaultValue::Is("refuse"),
        example: "adopt",
        group: SettingGroup::Storage,
        commands: SERVING,
        restart: true,
        summary: "What to do with a ledger that was written for another API address",
        help: "One of refuse, adopt and set-aside. The ledger records the address of the API that it was written for, so that \
               the counts of two accounts, or of the demo and an account, are never added up. refuse ends with exit code 1; \
               adopt goes on with it, for an API that has moved or is reached through a proxy now, but never with the demo's; \
               set-aside renames it and begins a new one.",
    }

    HEALTHCHECK_URL {
        flag: "url",
        variable: "CRYPTOLENS_HEALTHCHECK_URL",
        kind: ValueKind::Text,
        value_name: "URL",
        default: DefaultValue::Is("/-/ready"),
        example: "http://127.0.0.1:10460/-/healthy",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "URL to ask, or only its path",
        help: "A path is asked at --web.listen-address, over https if --web.config.file or --ca-file says so. /-/ready says \
               whether each log had its first answer or error, /-/healthy whether the process is up.",
        expected: "an http or https URL such as http://127.0.0.1:10460/-/healthy, or a path such as /-/healthy",
    }
    HEALTHCHECK_USERNAME {
        flag: "username",
        variable: "CRYPTOLENS_HEALTHCHECK_USERNAME",
        kind: ValueKind::Text,
        value_name: "NAME",
        example: "prometheus",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "User name, if the exporter asks for one",
        help: "Needs --password-file.",
        expected: "a user name",
    }
    HEALTHCHECK_PASSWORD_FILE {
        flag: "password-file",
        variable: "CRYPTOLENS_HEALTHCHECK_PASSWORD_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/run/secrets/password",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "File with the password of the user",
        help: "White space around the password is ignored. Needs --username.",
        expected: "the path of a file",
    }
    HEALTHCHECK_CA_FILE {
        flag: "ca-file",
        variable: "CRYPTOLENS_HEALTHCHECK_CA_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/ssl/company-ca.pem",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "File with the certificate authorities to trust",
        help: "PEM. The certificate of the exporter then has to be for the host that is asked. Default: exactly the certificate \
               of --web.config.file, whatever name it has; without that, the authorities of the system.",
        expected: "the path of a file",
    }
    HEALTHCHECK_CERT_FILE {
        flag: "cert-file",
        variable: "CRYPTOLENS_HEALTHCHECK_CERT_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "client.crt",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "File with a certificate to show, if the exporter asks for one",
        help: "PEM, with the certificates that vouch for it. Needs --key-file.",
        expected: "the path of a file",
    }
    HEALTHCHECK_KEY_FILE {
        flag: "key-file",
        variable: "CRYPTOLENS_HEALTHCHECK_KEY_FILE",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "client.key",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "File with the private key of --cert-file",
        help: "PEM.",
        expected: "the path of a file",
    }
    WEB_CONFIG_FILE {
        flag: "web.config.file",
        variable: "CRYPTOLENS_WEB_CONFIG_FILE",
        key: "web.config_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/cryptolens-exporter/web.yml",
        group: SettingGroup::Web,
        commands: WITH_WEB_CONFIG,
        restart: true,
        summary: "Web configuration file: TLS, users, headers, rate limit",
        help: "In the format of Prometheus exporter-toolkit, see docs/web.md. The file itself and what it names are read again \
               when they change. healthcheck trusts exactly the certificate that it names.",
        expected: "the path of a file",
    }
    LISTEN_ADDRESS {
        flag: "web.listen-address",
        variable: "CRYPTOLENS_WEB_LISTEN_ADDRESS",
        key: "web.listen_address",
        kind: ValueKind::Addresses,
        value_name: "ADDRESS",
        default: DefaultValue::Is(":10460"),
        example: "localhost:10460",
        group: SettingGroup::Web,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Addresses to serve metrics, landing page and health on",
        help: "An IP address or localhost, and a port. Without an address, as in :10460, every address of the machine, of IPv4 \
               and of IPv6. Can be given several times, or with several addresses between commas.",
        expected: LISTEN_EXPECTED,
    }
    HEALTHCHECK_LISTEN_ADDRESS {
        flag: "web.listen-address",
        variable: "CRYPTOLENS_WEB_LISTEN_ADDRESS",
        kind: ValueKind::Addresses,
        value_name: "ADDRESS",
        default: DefaultValue::Is(":10460"),
        example: "localhost:9000",
        group: SettingGroup::Web,
        commands: &[Healthcheck],
        summary: "Address that the exporter on this machine serves on, as its own flag says it",
        help: "Without an address, as in :10460, or with one for all of the machine, the loopback address is asked. Of several \
               addresses, the first is asked.",
        expected: LISTEN_EXPECTED,
    }
    TELEMETRY_PATH {
        flag: "web.telemetry-path",
        variable: "CRYPTOLENS_WEB_TELEMETRY_PATH",
        key: "web.telemetry_path",
        kind: ValueKind::UrlPath,
        value_name: "PATH",
        default: DefaultValue::Is("/metrics"),
        example: "/cryptolens/metrics",
        group: SettingGroup::Web,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Path of the metrics",
        help: "Begins with a slash; neither / nor below /-/, which the landing page and the health checks use.",
        expected: "a path such as /metrics",
    }
    MAX_CONNECTIONS {
        flag: "web.max-connections",
        variable: "CRYPTOLENS_WEB_MAX_CONNECTIONS",
        key: "web.max_connections",
        kind: ValueKind::Integer { least: 1, most: 1_000_000 },
        value_name: "NUMBER",
        default: DefaultValue::Is("256"),
        example: "64",
        group: SettingGroup::Web,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "The most connections of clients at a time",
        help: "One over the limit is answered 503, or closed with TLS. At a low limit of open files (ulimit -n) fewer are open, so \
               that polling keeps its own.",
        expected: "a whole number from 1 to 1000000",
    }
    ENABLE_LIFECYCLE {
        flag: "web.enable-lifecycle",
        variable: "CRYPTOLENS_WEB_ENABLE_LIFECYCLE",
        key: "web.enable_lifecycle",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Web,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Reload the configuration on POST /-/reload",
        help: "Does what SIGHUP does, for everybody who can reach the port.",
        expected: "true or false",
    }
    OPENMETRICS_CREATED {
        flag: "web.openmetrics-created",
        variable: "CRYPTOLENS_WEB_OPENMETRICS_CREATED",
        key: "web.openmetrics_created",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Web,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Show when each counter was born, in OpenMetrics text",
        help: "Adds a line NAME_created to every counter and histogram of a page that is asked for as OpenMetrics. A Prometheus \
               server without created-timestamp-zero-ingestion stores these lines as series of their own, which doubles \
               their number. The protobuf format always carries the birth times.",
        expected: "true or false",
    }
    SIMULATE_LISTEN_ADDRESS {
        flag: "listen-address",
        variable: "CRYPTOLENS_SIMULATE_LISTEN_ADDRESS",
        kind: ValueKind::Address,
        value_name: "ADDRESS",
        default: DefaultValue::Is("127.0.0.1:10461"),
        example: "localhost:8080",
        group: SettingGroup::Web,
        commands: &[Simulate],
        summary: "Address to serve on",
        help: "An IP address or localhost, and a port; port 0 takes a free one. The first line of the output says which. Whoever \
               reaches the address can also change what is simulated, so keep it on this machine.",
        expected: "an address and a port, such as 127.0.0.1:10461 or localhost:0",
    }

    REMOTE_WRITE_URL {
        flag: "history.remote-write.url",
        variable: "CRYPTOLENS_HISTORY_REMOTE_WRITE_URL",
        kind: ValueKind::UrlWithQuery,
        value_name: "URL",
        default: DefaultValue::Means("what history.remote_write in the file says, else none"),
        example: "http://prometheus:9090/api/v1/write",
        group: SettingGroup::History,
        commands: WITH_HISTORY,
        summary: "Database to write the history to, by Prometheus remote write",
        help: "Counts of each minute, stamped with the time of the events, see docs/history.md. The server needs its \
               remote-write receiver and an out-of-order window; check says what is missing. More targets and their \
               credentials are listed in the file, below history.remote_write; this flag chooses the entry with its URL, or is \
               used instead of them.",
        expected: REMOTE_WRITE_URL_EXPECTED,
    }
    HISTORY_WINDOW {
        flag: "history.window",
        variable: "CRYPTOLENS_HISTORY_WINDOW",
        key: "history.window",
        kind: ValueKind::Duration { least: Duration::from_secs(60), most: TEN_YEARS },
        value_name: "DURATION",
        default: DefaultValue::Is("31d"),
        example: "7d",
        group: SettingGroup::History,
        commands: WITH_HISTORY,
        summary: "How old a sample of the history may be when it is sent",
        help: "Older ones are dropped and counted. As long as the out-of-order window of the database, or shorter.",
        expected: "a duration from 1m to 10y, such as 31d",
    }
    HISTORY_LABELS {
        flag: "history.labels",
        variable: "CRYPTOLENS_HISTORY_LABELS",
        key: "history.labels",
        kind: ValueKind::Pairs,
        value_name: "NAME=VALUE,...",
        default: DefaultValue::Means("job=cryptolens-exporter,instance=<host name>"),
        example: "instance=exporter-0",
        group: SettingGroup::History,
        commands: WITH_HISTORY,
        summary: "Labels of every sample of the history",
        help: "Are merged over the default by name. Replicas need different instances. A name that a family of the history uses \
               is an error.",
        expected: "name=value pairs with commas in between, such as job=shop,instance=exporter-0",
    }
    HISTORY_OUTBOX_LIMIT {
        flag: "history.outbox-limit",
        variable: "CRYPTOLENS_HISTORY_OUTBOX_LIMIT",
        key: "history.outbox_limit",
        kind: ValueKind::Integer { least: 1, most: 1_000_000_000 },
        value_name: "NUMBER",
        default: DefaultValue::Is("10000000"),
        example: "1000000",
        group: SettingGroup::History,
        commands: WITH_OUTBOX,
        summary: "The most samples that wait for a database that is down",
        help: "Beyond it the oldest are dropped and counted. They wait in the ledger, at a few bytes each.",
        expected: "a whole number from 1 to 1000000000",
    }
    HISTORY_OTLP {
        flag: "history.otlp",
        variable: "CRYPTOLENS_HISTORY_OTLP",
        key: "history.otlp",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::History,
        commands: WITH_HISTORY,
        summary: "Send the history to the OpenTelemetry receiver, too",
        help: "As gauges with the time of the events, to the endpoint that metrics are pushed to. Needs --otlp.endpoint or its \
               variables.",
        expected: "true or false",
    }
    USAGE_ACTIVE {
        flag: "usage.active",
        variable: "CRYPTOLENS_USAGE_ACTIVE",
        key: "usage.active",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Usage,
        commands: SERVING,
        restart: true,
        summary: "Count the distinct license keys and machines by day",
        help: "Today, on the last complete day, in 7 and in 30 days, by product. The ledger then holds keyed hashes of license \
               keys and machines for 31 days, see docs/usage.md; turning it off deletes them.",
        expected: "true or false",
    }
    DEMO_USAGE_ACTIVE {
        flag: "usage.active",
        variable: "CRYPTOLENS_USAGE_ACTIVE",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("true"),
        group: SettingGroup::Usage,
        commands: &[Demo],
        restart: true,
        summary: "Count the distinct license keys and machines by day",
        help: "Today, on the last complete day, in 7 and in 30 days, by product.",
        expected: "true or false",
    }
    USAGE_SECRET_FILE {
        flag: "usage.secret-file",
        variable: "CRYPTOLENS_USAGE_SECRET_FILE",
        key: "usage.secret_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("none: the ledger makes and keeps a secret of its own"),
        example: "/run/secrets/usage",
        group: SettingGroup::Usage,
        commands: WITH_OUTBOX,
        restart: true,
        summary: "File with the secret of the hashes",
        help: "At least 32 characters; openssl rand -hex 16 makes some. The ledger then has only a fingerprint of it, and replicas \
               with the same file have equal sets. A ledger that was written with another secret is refused.",
        expected: "the path of a file with at least 32 characters",
    }
    USAGE_IGNORE_KEYS_FILE {
        flag: "usage.ignore-keys-file",
        variable: "CRYPTOLENS_USAGE_IGNORE_KEYS_FILE",
        key: "usage.ignore_keys_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/cryptolens-exporter/test-keys",
        group: SettingGroup::Usage,
        commands: WITH_OUTBOX,
        restart: true,
        summary: "File with license keys that are not counted as active",
        help: "One a line, such as those of tests; lines that begin with # are comments. The machines of their requests are left \
               out too. All other families count them.",
        expected: "the path of a file with license keys",
    }
    USAGE_SEATS {
        flag: "usage.seats",
        variable: "CRYPTOLENS_USAGE_SEATS",
        key: "usage.seats",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Usage,
        commands: WITH_OUTBOX,
        restart: true,
        summary: "Show how many floating seats are in use",
        help: "By product, and beside the limit for the licenses that accounts[].licenses names. Kept in memory only; at the start \
               one longest lease of the Web API Log is read again.",
        expected: "true or false",
    }
    ARCHIVE_PATH {
        flag: "archive.path",
        variable: "CRYPTOLENS_ARCHIVE_PATH",
        key: "archive.path",
        kind: ValueKind::Path,
        value_name: "DIRECTORY",
        default: DefaultValue::Means("none: nothing is archived"),
        example: "/var/lib/cryptolens-archive",
        group: SettingGroup::Archive,
        commands: SERVING,
        restart: true,
        summary: "Directory to archive every row in, as Parquet files",
        help: "The vendor keeps the Web API Log for good, and the Events Log and the Object Log for at least 30 days. The archive \
               has each row exactly once, for DuckDB, pandas, Polars, Spark and Trino, see docs/archive.md. It is created if missing. Only one process may use it at a time.",
        expected: "a path",
    }
    ARCHIVE_SINCE {
        flag: "archive.since",
        variable: "CRYPTOLENS_ARCHIVE_SINCE",
        key: "archive.since",
        kind: ValueKind::Since,
        value_name: "WHEN",
        default: DefaultValue::Is("all"),
        example: "7d",
        group: SettingGroup::Archive,
        commands: SERVING,
        restart: true,
        summary: "Where the archive of a log begins",
        help: "As --since. It is fixed at the first start and kept in the archive.",
        expected: SINCE_EXPECTED,
    }
    ARCHIVE_INTERVAL {
        flag: "archive.interval",
        variable: "CRYPTOLENS_ARCHIVE_INTERVAL",
        key: "archive.interval",
        kind: ValueKind::Duration { least: Duration::from_secs(60), most: Duration::from_secs(7 * 86_400) },
        value_name: "DURATION",
        default: DefaultValue::Is("24h"),
        example: "6h",
        group: SettingGroup::Archive,
        commands: SERVING,
        summary: "How often rows are archived",
        help: "At its multiples from midnight UTC on, and --archive.delay later. A run that was missed is made up at the start. \
               Many small files are slow to read: a day is right for most.",
        expected: "a duration between 1m and 7d, such as 24h",
    }
    ARCHIVE_DELAY {
        flag: "archive.delay",
        variable: "CRYPTOLENS_ARCHIVE_DELAY",
        key: "archive.delay",
        kind: ValueKind::Duration { least: Duration::ZERO, most: DAY },
        value_name: "DURATION",
        default: DefaultValue::Is("1h"),
        example: "2h",
        group: SettingGroup::Archive,
        commands: SERVING,
        summary: "How long rows are left alone before they are archived",
        help: "Rows that the API shows late by up to this long are in the archive, too. At least --poll.overlap.",
        expected: "a duration between 0s and 24h, such as 1h",
    }
    ARCHIVE_IDENTITIES {
        flag: "archive.identities",
        variable: "CRYPTOLENS_ARCHIVE_IDENTITIES",
        key: "archive.identities",
        kind: ValueKind::Choice(&[
            choice("masked", "As pseudonyms by the key of the archive"),
            choice("full", "As they are"),
            choice("none", "Not at all: these columns are null"),
        ]),
        value_name: "LEVEL",
        default: DefaultValue::Is("masked"),
        example: "none",
        group: SettingGroup::Archive,
        commands: SERVING,
        restart: true,
        summary: "How keys, machines, addresses and people are archived",
        help: "One of masked, full and none. It is fixed for an archive: another value is refused with exit code 1.",
    }
    ARCHIVE_KEY_FILE {
        flag: "archive.key-file",
        variable: "CRYPTOLENS_ARCHIVE_KEY_FILE",
        key: "archive.key_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("archive.key in --storage.path"),
        example: "/run/secrets/archive-key",
        group: SettingGroup::Archive,
        commands: SERVING,
        restart: true,
        summary: "File with the key of the pseudonyms in the archive",
        help: "It is made at the first start if it is missing; one that is given has at least 32 characters. Back it up: without \
               it, rows of later years cannot be joined with those of today, and an archive with another key is refused with \
               exit code 1. Whoever deletes it makes the pseudonyms anonymous.",
        expected: "the path of a file with at least 32 characters",
    }
    RECONCILE_INTERVAL {
        flag: "reconcile.interval",
        variable: "CRYPTOLENS_RECONCILE_INTERVAL",
        key: "reconcile.interval",
        kind: ValueKind::Duration { least: HOUR, most: WEEK },
        value_name: "DURATION",
        default: DefaultValue::Means("off"),
        example: "1d",
        group: SettingGroup::Reconcile,
        commands: SERVING,
        summary: "How often to compare the counts of a day with the log and the vendor's own",
        help: "At the start, and then so often: reads the newest day that ended 48 hours ago again, asks for the vendor's counts of \
               it, and shows how both and what the ledger has counted differ as cryptolens_exporter_reconcile_difference. For the \
               vendor's counts the token needs the permission Usage Analytics. See docs/reconcile.md.",
        expected: "a duration between 1h and 7d, such as 1d",
    }
    RECONCILE_KEYS_FILE {
        flag: "reconcile.exclude-keys-file",
        variable: "CRYPTOLENS_RECONCILE_EXCLUDE_KEYS_FILE",
        key: "reconcile.exclude_keys_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/cryptolens-exporter/test-keys",
        group: SettingGroup::Reconcile,
        commands: SERVING,
        summary: "File with the license keys that the vendor leaves out",
        help: "One key a line; lines that begin with # are comments. The vendor does not count keys that are marked as test. \
               Without the file each of their requests is a difference.",
        expected: "the path of a file with license keys",
    }
    OTLP_ENDPOINT {
        flag: "otlp.endpoint",
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        key: "otlp.endpoint",
        kind: ValueKind::Url,
        value_name: "URL",
        default: DefaultValue::Means("none: metrics are not pushed"),
        example: "http://localhost:4318",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "OpenTelemetry receiver to push metrics to",
        help: "Everything on /metrics is pushed there with OTLP over HTTP. /v1/metrics is appended to the path.",
        expected: OTLP_ENDPOINT_EXPECTED,
    }
    OTLP_METRICS_ENDPOINT {
        variable: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        kind: ValueKind::Url,
        value_name: "URL",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_ENDPOINT"),
        example: "http://localhost:9090/api/v1/otlp/v1/metrics",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "The same as a whole URL",
        help: "Is used as it is, without /v1/metrics appended, and instead of OTEL_EXPORTER_OTLP_ENDPOINT.",
        expected: OTLP_ENDPOINT_EXPECTED,
    }
    OTLP_HEADERS {
        variable: "OTEL_EXPORTER_OTLP_HEADERS",
        key: "otlp.headers",
        value_name: "NAME=VALUE,...",
        example: "authorization=Bearer%20abc",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Headers of each push, such as credentials",
        help: "Values are percent-encoded. A secret is better kept in the variable than in the file.",
        expected: "name=value pairs with commas in between, such as authorization=Bearer%20abc",
    }
    OTLP_METRICS_HEADERS {
        variable: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        value_name: "NAME=VALUE,...",
        default: DefaultValue::Means("those of OTEL_EXPORTER_OTLP_HEADERS"),
        example: "authorization=Bearer%20abc",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Headers of each push of metrics",
        help: "Is used instead of OTEL_EXPORTER_OTLP_HEADERS.",
        expected: "name=value pairs with commas in between, such as authorization=Bearer%20abc",
    }
    OTLP_TIMEOUT {
        variable: "OTEL_EXPORTER_OTLP_TIMEOUT",
        key: "otlp.timeout",
        kind: OTLP_DURATION,
        value_name: "MILLISECONDS",
        default: DefaultValue::Is("10s"),
        example: "5000",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Longest time of one request",
        help: "The variable takes milliseconds, the file a duration such as 5s.",
        expected: OTLP_DURATION_EXPECTED,
    }
    OTLP_METRICS_TIMEOUT {
        variable: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        kind: OTLP_DURATION,
        value_name: "MILLISECONDS",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_TIMEOUT"),
        example: "5000",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Longest time of one request with metrics",
        help: "Is used instead of OTEL_EXPORTER_OTLP_TIMEOUT.",
        expected: OTLP_DURATION_EXPECTED,
    }
    OTLP_PROTOCOL {
        variable: "OTEL_EXPORTER_OTLP_PROTOCOL",
        value_name: "NAME",
        default: DefaultValue::Is("http/protobuf"),
        example: "http/protobuf",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Protocol of the push",
        help: "Only http/protobuf is there. Receivers listen for it beside gRPC, usually on port 4318.",
        expected: OTLP_PROTOCOL_EXPECTED,
    }
    OTLP_METRICS_PROTOCOL {
        variable: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        value_name: "NAME",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_PROTOCOL"),
        example: "http/protobuf",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Protocol of the push of metrics",
        help: "Is used instead of OTEL_EXPORTER_OTLP_PROTOCOL.",
        expected: OTLP_PROTOCOL_EXPECTED,
    }
    OTLP_COMPRESSION {
        variable: "OTEL_EXPORTER_OTLP_COMPRESSION",
        key: "otlp.compression",
        kind: ValueKind::Choice(OTLP_COMPRESSIONS),
        value_name: "NAME",
        default: DefaultValue::Is("gzip"),
        example: "none",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Compression of the push",
        help: "",
        expected: "",
    }
    OTLP_METRICS_COMPRESSION {
        variable: "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        kind: ValueKind::Choice(OTLP_COMPRESSIONS),
        value_name: "NAME",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_COMPRESSION"),
        example: "none",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Compression of the push of metrics",
        help: "Is used instead of OTEL_EXPORTER_OTLP_COMPRESSION.",
        expected: "",
    }
    OTLP_CERTIFICATE {
        variable: "OTEL_EXPORTER_OTLP_CERTIFICATE",
        key: "otlp.ca_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("the certificate authorities of the system"),
        example: "/etc/ssl/collector-ca.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Certificate authorities to trust for the push",
        help: "A file in PEM form. No others are trusted then.",
        expected: "the path of a PEM file",
    }
    OTLP_METRICS_CERTIFICATE {
        variable: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_CERTIFICATE"),
        example: "/etc/ssl/collector-ca.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Certificate authorities to trust for the push of metrics",
        help: "Is used instead of OTEL_EXPORTER_OTLP_CERTIFICATE.",
        expected: "the path of a PEM file",
    }
    OTLP_CLIENT_CERTIFICATE {
        variable: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        key: "otlp.cert_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/ssl/exporter.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Certificate that this client shows to the receiver",
        help: "A file in PEM form. It needs OTEL_EXPORTER_OTLP_CLIENT_KEY too.",
        expected: "the path of a PEM file",
    }
    OTLP_METRICS_CLIENT_CERTIFICATE {
        variable: "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        example: "/etc/ssl/exporter.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "The same for metrics only",
        help: "Is used instead of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE.",
        expected: "the path of a PEM file",
    }
    OTLP_CLIENT_KEY {
        variable: "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        key: "otlp.key_file",
        kind: ValueKind::Path,
        value_name: "FILE",
        example: "/etc/ssl/exporter-key.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Key of the certificate of this client",
        help: "A file in PEM form.",
        expected: "the path of a PEM file",
    }
    OTLP_METRICS_CLIENT_KEY {
        variable: "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        kind: ValueKind::Path,
        value_name: "FILE",
        default: DefaultValue::Means("that of OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        example: "/etc/ssl/exporter-key.pem",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "The same for metrics only",
        help: "Is used instead of OTEL_EXPORTER_OTLP_CLIENT_KEY.",
        expected: "the path of a PEM file",
    }
    OTLP_INTERVAL {
        variable: "OTEL_METRIC_EXPORT_INTERVAL",
        key: "otlp.interval",
        kind: ValueKind::Duration { least: SECOND, most: DAY },
        value_name: "MILLISECONDS",
        default: DefaultValue::Is("60s"),
        example: "15000",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Time from one push to the next",
        help: "The variable takes milliseconds, the file a duration such as 15s.",
        expected: "milliseconds from 1000 on in the variable, or a duration between 1s and 1d, such as 15s",
    }
    OTLP_PUSH_TIMEOUT {
        variable: "OTEL_METRIC_EXPORT_TIMEOUT",
        key: "otlp.push_timeout",
        kind: OTLP_DURATION,
        value_name: "MILLISECONDS",
        default: DefaultValue::Is("30s"),
        example: "15000",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Longest time of one push, which may take several requests",
        help: "The variable takes milliseconds, the file a duration such as 15s.",
        expected: OTLP_DURATION_EXPECTED,
    }
    OTEL_RESOURCE_ATTRIBUTES {
        variable: "OTEL_RESOURCE_ATTRIBUTES",
        key: "otlp.resource_attributes",
        value_name: "NAME=VALUE,...",
        default: DefaultValue::Means("service.instance.id, made with the ledger"),
        example: "deployment.environment.name=production",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Attributes of the resource that is pushed",
        help: "Values are percent-encoded.",
        expected: "name=value pairs with commas in between, such as deployment.environment.name=production",
    }
    OTEL_SERVICE_NAME {
        variable: "OTEL_SERVICE_NAME",
        key: "otlp.service_name",
        value_name: "NAME",
        default: DefaultValue::Means("cryptolens-exporter"),
        example: "licensing",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "The attribute service.name, which becomes the job in Prometheus",
        help: "",
        expected: "a name that is not empty",
    }
    OTLP_TEMPORALITY {
        variable: "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        value_name: "NAME",
        default: DefaultValue::Is("cumulative"),
        example: "cumulative",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Only cumulative sums are pushed; another value is a warning",
        help: "",
        expected: "cumulative",
    }
    OTLP_HISTOGRAMS {
        variable: "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        value_name: "NAME",
        default: DefaultValue::Is("explicit_bucket_histogram"),
        example: "explicit_bucket_histogram",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "Only histograms with explicit buckets are pushed; another value is a warning",
        help: "",
        expected: "explicit_bucket_histogram",
    }
    OTEL_METRICS_EXPORTER {
        variable: "OTEL_METRICS_EXPORTER",
        value_name: "NAME",
        default: DefaultValue::Is("otlp"),
        example: "none",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "With none, nothing is pushed",
        help: "",
        expected: "otlp or none",
    }
    OTEL_SDK_DISABLED {
        variable: "OTEL_SDK_DISABLED",
        kind: ValueKind::Switch,
        value_name: "",
        default: DefaultValue::Is("false"),
        example: "true",
        group: SettingGroup::OpenTelemetry,
        commands: WITH_PUSH,
        summary: "With true, nothing is pushed",
        help: "",
        expected: "true or false",
    }
    LOG_LEVEL {
        flag: "log.level",
        variable: "CRYPTOLENS_LOG_LEVEL",
        key: "log.level",
        kind: ValueKind::Choice(&[
            choice("error", "An operator must act"),
            choice("warn", "Nothing is lost"),
            choice("info", ""),
            choice("debug", "Each request"),
            choice("trace", ""),
        ]),
        value_name: "LEVEL",
        default: DefaultValue::Is("info"),
        example: "debug",
        group: SettingGroup::Logging,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Least severity to log",
        help: "One of: error (an operator must act), warn (nothing is lost), info, debug (each request), trace.",
    }
    LOG_FORMAT {
        flag: "log.format",
        variable: "CRYPTOLENS_LOG_FORMAT",
        key: "log.format",
        kind: ValueKind::Choice(&[
            choice("logfmt", "Pairs of key and value"),
            choice("json", "A JSON object on each line"),
        ]),
        value_name: "FORMAT",
        default: DefaultValue::Is("logfmt"),
        example: "json",
        group: SettingGroup::Logging,
        commands: WITH_WEB_SERVER,
        restart: true,
        summary: "Format of log lines",
        help: "One of: logfmt, json.",
    }

    CONFIG_ONLY {
        flag: "config-only",
        variable: "CRYPTOLENS_CONFIG_ONLY",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Check,
        commands: &[Check],
        summary: "Validate the configuration only, without asking the Web API",
        help: "For a deployment pipeline that has no access to the network. The token must still be there, and token files and \
               CA file are still read.",
        expected: "true or false",
    }
    DEMO_PUSH_TO {
        flag: "push-to",
        variable: "CRYPTOLENS_DEMO_PUSH_TO",
        kind: ValueKind::Url,
        value_name: "URL",
        default: DefaultValue::Means("none: metrics are only served"),
        example: "http://localhost:9090",
        group: SettingGroup::Simulation,
        commands: &[Demo],
        summary: "Prometheus 3 to push to, with every output that pushes",
        help: "Turns on every output that is off without a receiver: history by remote write, and OpenTelemetry. The server \
               needs --web.enable-remote-write-receiver and --web.enable-otlp-receiver. An output with an endpoint of its own \
               keeps it.",
        expected: OTLP_ENDPOINT_EXPECTED,
    }
    DEMO_SEED {
        flag: "seed",
        variable: "CRYPTOLENS_SEED",
        kind: ValueKind::Integer { least: 0, most: u64::MAX },
        value_name: "NUMBER",
        default: DefaultValue::Means("a random one"),
        example: "42",
        group: SettingGroup::Simulation,
        commands: &[Demo],
        summary: "Seed of the simulated traffic",
        help: "A whole number. The same seed gives the same history.",
        expected: "a whole number from 0 on, such as 42",
    }

    SIMULATE_SEED {
        flag: "seed",
        variable: "CRYPTOLENS_SIMULATE_SEED",
        kind: ValueKind::Integer { least: 0, most: u64::MAX },
        value_name: "NUMBER",
        default: DefaultValue::Is("1"),
        example: "42",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "Seed of everything that is random",
        help: "A whole number. The same seed and --start give the same logs, in every process.",
        expected: "a whole number from 0 on, such as 42",
    }
    SIMULATE_START {
        flag: "start",
        variable: "CRYPTOLENS_SIMULATE_START",
        value_name: "TIME",
        default: DefaultValue::Means("--history before now"),
        example: "2026-01-01",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "Time at which the logs begin",
        help: "A date such as 2026-01-31 (midnight UTC), or a time such as 2026-01-31T08:00:00Z, at most ten years ago.",
        expected: "a date such as 2026-01-31, or a time such as 2026-01-31T08:00:00Z, at most ten years ago",
    }
    SIMULATE_HISTORY {
        flag: "history",
        variable: "CRYPTOLENS_SIMULATE_HISTORY",
        kind: ValueKind::Duration { least: Duration::ZERO, most: TEN_YEARS },
        value_name: "DURATION",
        default: DefaultValue::Is("30d"),
        example: "90d",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "How much has already happened when the simulator starts",
        help: "A duration of at most ten years. Is not used if --start is given.",
        expected: "a duration of at most ten years, such as 30d",
    }
    SIMULATE_REQUESTS_PER_MINUTE {
        flag: "requests-per-minute",
        variable: "CRYPTOLENS_SIMULATE_REQUESTS_PER_MINUTE",
        kind: ValueKind::Number { least: 0.0, most: 100_000.0 },
        value_name: "NUMBER",
        default: DefaultValue::Is("1"),
        example: "60",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "Mean number of requests a minute in the Web API Log",
        help: "A number between 0 and 100000; over a whole week, as nights and weekends are quiet. Higher means more customers. \
               The Events Log has a third of it, the Object Log a sixtieth. 0 leaves the logs empty, for rows that are added at \
               /simulator/rows.",
        expected: "a number between 0 and 100000",
    }
    SIMULATE_FIRST_ID {
        flag: "first-id",
        variable: "CRYPTOLENS_SIMULATE_FIRST_ID",
        kind: ValueKind::Integer { least: 1, most: 1 << 62 },
        value_name: "ID",
        default: DefaultValue::Is("2100000000"),
        example: "5000000000",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "Lowest id of each log",
        help: "A whole number between 1 and 2^62. The default lets a month of history cross 2^31, which clients with short \
               integers do not survive.",
        expected: "a whole number between 1 and 2^62",
    }
    SIMULATE_LATE_FRACTION {
        flag: "late-fraction",
        variable: "CRYPTOLENS_SIMULATE_LATE_FRACTION",
        kind: ValueKind::Number { least: 0.0, most: 1.0 },
        value_name: "NUMBER",
        default: DefaultValue::Is("0.01"),
        example: "0.1",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "Part of the rows that show up late",
        help: "A number between 0 and 1. A late row appears below rows with a higher id that are already there.",
        expected: "a number between 0 and 1",
    }
    SIMULATE_LATE_MAX {
        flag: "late-max",
        variable: "CRYPTOLENS_SIMULATE_LATE_MAX",
        kind: ValueKind::Duration { least: Duration::ZERO, most: DAY },
        value_name: "DURATION",
        default: DefaultValue::Is("30s"),
        example: "2m",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "How late rows show up at most",
        help: "A duration between 0s and 1d, in whole seconds.",
        expected: "a duration between 0s and 1d, such as 30s",
    }
    SIMULATE_RETENTION {
        flag: "retention",
        variable: "CRYPTOLENS_SIMULATE_RETENTION",
        kind: ValueKind::Duration { least: Duration::ZERO, most: Duration::MAX },
        value_name: "DURATION",
        default: DefaultValue::Means("for ever"),
        example: "30d",
        group: SettingGroup::Traffic,
        commands: &[Simulate],
        summary: "How long the Events Log and the Object Log keep a row",
        help: "A duration. The real logs keep theirs for 30 days at least; the Web API Log keeps everything.",
        expected: "a duration, such as 30d",
    }
    SIMULATE_TOKEN {
        flag: "token",
        variable: "CRYPTOLENS_SIMULATE_TOKEN",
        value_name: "TOKEN",
        default: DefaultValue::Means("any but an empty one"),
        example: "letmein",
        group: SettingGroup::Access,
        commands: &[Simulate],
        summary: "The only access token that is accepted",
        help: "An invented one: a command line is no place for a real token.",
        expected: "a text that is not empty",
    }
    SIMULATE_DENY {
        flag: "deny",
        variable: "CRYPTOLENS_SIMULATE_DENY",
        kind: ValueKind::List,
        value_name: "METHOD",
        example: "GetObjectLog",
        group: SettingGroup::Access,
        commands: &[Simulate],
        summary: "Method that the token may not call",
        help: "One of: GetWebAPILog, GetEvents, GetObjectLog, GetProducts, GetKey, GetKeys, GetCustomers, GetDailyAggregates, \
               RegisterEvent. Can be given several times, or with several methods between commas.",
        expected: "GetWebAPILog, GetEvents, GetObjectLog, GetProducts, GetKey, GetKeys, GetCustomers, GetDailyAggregates or \
                   RegisterEvent",
    }
    SIMULATE_KEY_LOCK {
        flag: "key-lock",
        variable: "CRYPTOLENS_SIMULATE_KEY_LOCK",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::Access,
        commands: &[Simulate],
        summary: "Give the token a key lock",
        help: "GetWebAPILog then needs ProductId and Key, as with a token that is made for applications.",
        expected: "true or false",
    }
    SIMULATE_FAULT {
        flag: "fault",
        variable: "CRYPTOLENS_SIMULATE_FAULT",
        kind: ValueKind::List,
        value_name: "KIND[:VALUE][=PROBABILITY]",
        example: "access_denied:403=0.1 --fault=hang=0.01",
        group: SettingGroup::Faults,
        commands: &[Simulate],
        summary: "Something that goes wrong",
        help: "The kind, its value, and how likely it is to hit a request, 0 to 1 (1 if not given). Can be given several times, \
               or with several faults between commas; the first one that applies and hits is taken. They can be changed at \
               /simulator/faults later.",
        expected: "faults such as hang, access_denied:403 or slow:500=0.1, separated by commas",
    }

    // From here on, what only the file can say.
    TARGET_URL {
        key: "history.remote_write[].url",
        kind: ValueKind::UrlWithQuery,
        default: DefaultValue::Means("none, it is needed"),
        example: "http://prometheus:9090/api/v1/write",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "URL of a database that takes Prometheus remote write",
        help: "As --history.remote-write.url, for one of several targets.",
        expected: REMOTE_WRITE_URL_EXPECTED,
    }
    TARGET_NAME {
        key: "history.remote_write[].name",
        default: DefaultValue::Means("host, port and path of url"),
        example: "long-term",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Name of the target in metrics, log lines and the ledger",
        help: "A target with another name begins with what is still kept for others.",
        expected: "a name that is not empty",
    }
    TARGET_TIMEOUT {
        key: "history.remote_write[].remote_timeout",
        kind: ValueKind::Duration { least: SECOND, most: Duration::from_secs(600) },
        default: DefaultValue::Is("30s"),
        example: "1m",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Longest time that one request may take",
        help: "",
        expected: "a duration between 1s and 10m, such as 30s",
    }
    TARGET_HEADERS {
        key: "history.remote_write[].headers",
        kind: ValueKind::Headers,
        example: "{X-Scope-OrgID: shop}",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Headers of each request",
        help: "Those of remote write itself, Authorization and Host cannot be set here.",
        expected: "a map of headers and texts, such as \"X-Scope-OrgID: shop\"",
    }
    TARGET_USERNAME {
        key: "history.remote_write[].basic_auth.username",
        default: DefaultValue::Means("none, it is needed"),
        example: "exporter",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "User name",
        help: "",
        expected: "a user name without a colon",
    }
    TARGET_PASSWORD_FILE {
        key: "history.remote_write[].basic_auth.password_file",
        kind: ValueKind::Path,
        default: DefaultValue::Means("none, it is needed"),
        example: "/run/secrets/password",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "File that holds the password",
        help: "White space around it is ignored. It is read again when it changes.",
        expected: "the path of a file",
    }
    TARGET_AUTHORIZATION_TYPE {
        key: "history.remote_write[].authorization.type",
        default: DefaultValue::Is("Bearer"),
        example: "Bearer",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Scheme of the header Authorization",
        help: "",
        expected: "a word, such as Bearer",
    }
    TARGET_CREDENTIALS_FILE {
        key: "history.remote_write[].authorization.credentials_file",
        kind: ValueKind::Path,
        default: DefaultValue::Means("none, it is needed"),
        example: "/run/secrets/token",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "File that holds the credentials",
        help: "White space around them is ignored. It is read again when it changes.",
        expected: "the path of a file",
    }
    TARGET_CA_FILE {
        key: "history.remote_write[].tls_config.ca_file",
        kind: ValueKind::Path,
        default: DefaultValue::Means("the certificate authorities of the system"),
        example: "/etc/ssl/prometheus-ca.pem",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "PEM file with the certificate authorities to trust",
        help: "No others are trusted then. It is read again when it changes.",
        expected: "the path of a PEM file",
    }
    TARGET_CERT_FILE {
        key: "history.remote_write[].tls_config.cert_file",
        kind: ValueKind::Path,
        example: "/etc/ssl/exporter.pem",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "PEM file with the certificate that this client shows",
        help: "Needs key_file. Both are read again when they change.",
        expected: "the path of a PEM file",
    }
    TARGET_KEY_FILE {
        key: "history.remote_write[].tls_config.key_file",
        kind: ValueKind::Path,
        example: "/etc/ssl/exporter-key.pem",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "PEM file with the key of cert_file",
        help: "",
        expected: "the path of a PEM file",
    }
    TARGET_SERVER_NAME {
        key: "history.remote_write[].tls_config.server_name",
        default: DefaultValue::Means("the host of url"),
        example: "prometheus.example.com",
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Name that the certificate of the receiver must have",
        help: "Cannot be combined with a proxy.",
        expected: "the name of a server, such as prometheus.example.com",
    }
    TARGET_SKIP_VERIFY {
        key: "history.remote_write[].tls_config.insecure_skip_verify",
        kind: ValueKind::Switch,
        default: DefaultValue::Is("false"),
        group: SettingGroup::History,
        commands: WITH_HISTORY_IN_FILE,
        summary: "Whether any certificate will do",
        help: "For a trial only: whoever is on the way can then read the credentials and change what is stored.",
        expected: "true or false",
    }
    ACCOUNT_NAME {
        key: "accounts[].name",
        kind: ValueKind::AccountName,
        default: DefaultValue::Means("none, it is needed"),
        example: "shop",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "Name of the account in labels and in the ledger",
        help: "1 to 100 characters of A-Z a-z 0-9 _ . -; each account has its own.",
        expected: "1 to 100 characters of A-Z a-z 0-9 _ . -",
    }
    ACCOUNT_TOKEN_FILE {
        key: "accounts[].token_file",
        kind: ValueKind::Path,
        default: DefaultValue::Means("none; this or token_env is needed"),
        example: "/run/secrets/shop",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "File that holds the token of the account",
        help: "As --api.token-file, for one account.",
        expected: "a path",
    }
    ACCOUNT_TOKEN_ENV {
        key: "accounts[].token_env",
        kind: ValueKind::VariableName,
        default: DefaultValue::Means("none; this or token_file is needed"),
        example: "SHOP_TOKEN",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        restart: true,
        summary: "Name of the environment variable that holds the token of the account",
        help: "The name, not the token: a token that is written into the file is an error.",
        expected: "the name of an environment variable, such as SHOP_TOKEN",
    }
    ACCOUNT_SINCE {
        key: "accounts[].since",
        kind: ValueKind::Since,
        default: DefaultValue::Means("what since says"),
        example: "30d",
        group: SettingGroup::Accounts,
        commands: SERVING,
        summary: "Where counting starts for the account",
        help: "As since at the top of the file.",
        expected: SINCE_EXPECTED,
    }
    ACCOUNT_LOGS {
        key: "accounts[].logs",
        kind: ValueKind::Logs,
        default: DefaultValue::Means("what logs says"),
        example: "[web_api]",
        group: SettingGroup::Accounts,
        commands: COUNTING,
        summary: "Logs of the account to count",
        help: "As logs at the top of the file.",
        expected: "web_api, events or objects",
    }
    PRODUCT_ID {
        key: "accounts[].products[].id",
        kind: POSITIVE,
        default: DefaultValue::Means("none, it is needed"),
        example: "3349",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "Id of a product, as the service gave it",
        help: "A product that is listed has a name, and series at 0 before its first entry. The list does not filter.",
        expected: "the number that the service gave the product, such as 3349",
    }
    PRODUCT_NAME {
        key: "accounts[].products[].name",
        default: DefaultValue::Means("none, it is needed"),
        example: "My App",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "Name of the product",
        help: "A text for dashboards and reports.",
        expected: "a text that is not empty",
    }
    LICENSE_NAME {
        key: "accounts[].licenses[].name",
        kind: ValueKind::AccountName,
        default: DefaultValue::Means("none, it is needed"),
        example: "big-customer",
        group: SettingGroup::Accounts,
        commands: SERVING,
        summary: "Name of a license whose floating seats are shown beside its limit",
        help: "The value of the label license: 1 to 100 characters of A-Z a-z 0-9 _ . -; not the license key. Needs usage.seats.",
        expected: "1 to 100 characters of A-Z a-z 0-9 _ . -, and not the license key",
    }
    LICENSE_PRODUCT_ID {
        key: "accounts[].licenses[].product_id",
        kind: POSITIVE,
        default: DefaultValue::Means("none, it is needed"),
        example: "3349",
        group: SettingGroup::Accounts,
        commands: SERVING,
        summary: "Id of the product that the license belongs to",
        help: "As the service gave it.",
        expected: "the number that the service gave the product, such as 3349",
    }
    LICENSE_KEY_FILE {
        key: "accounts[].licenses[].key_file",
        kind: ValueKind::Path,
        default: DefaultValue::Means("none; this or key_env is needed"),
        example: "/run/secrets/big-customer",
        group: SettingGroup::Accounts,
        commands: SERVING,
        summary: "File that holds the license key",
        help: "Its limit is asked for every five minutes (GetKey). The key is never logged or shown.",
        expected: "the path of a file with a license key",
    }
    LICENSE_KEY_ENV {
        key: "accounts[].licenses[].key_env",
        kind: ValueKind::VariableName,
        default: DefaultValue::Means("none; this or key_file is needed"),
        example: "BIG_CUSTOMER_KEY",
        group: SettingGroup::Accounts,
        commands: SERVING,
        restart: true,
        summary: "Name of the environment variable that holds the license key",
        help: "The name, not the key.",
        expected: "the name of an environment variable, such as BIG_CUSTOMER_KEY",
    }
    STATE_TEXTS {
        key: "states",
        kind: ValueKind::States,
        example: "{2021: license expired}",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "Texts for state codes, by code from 1000 to 8999",
        help: "For codes that the vendor explained to you. They name states in dashboards and reports.",
        expected: "a map of codes and texts, such as \"2021: license expired\"",
    }
    OBJECTS_FIRST_CODE {
        key: "objects.first_code",
        kind: ValueKind::Integer { least: 0, most: 1000 },
        default: DefaultValue::Is("0"),
        example: "1",
        group: SettingGroup::Accounts,
        commands: WITH_ACCOUNT,
        summary: "Number by which the Object Log calls its first resource type and action",
        help: "The API does not document whether its codes begin at 0 or at 1.",
        expected: "a whole number from 0 to 1000, mostly 0 or 1",
    }
}

/// The commands, in the order in which the help page lists them.
pub const COMMANDS: &[CommandRow] = &[
    CommandRow {
        name: Serve,
        summary: "Poll the logs and serve metrics",
        help: "Polls the logs of each account, keeps the counts in a ledger on disk and serves them at \
               http://localhost:10460/metrics until it gets SIGTERM or SIGINT. SIGHUP reads token and configuration file again.",
        example: "CRYPTOLENS_TOKEN=... cryptolens-exporter serve --since=30d",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Demo,
        summary: "Try everything out with simulated traffic, without an account",
        help: "Starts a simulated Web API inside the process, with 30 days of history and live traffic with a spike of failures \
               every hour, points the real poller at it and serves the metrics on the usual port. Prints commands to try, with a \
               license key that exists. Needs no token and no network.",
        example: "cryptolens-exporter demo",
        usage: "",
        needs_token: false,
    },
    CommandRow {
        name: Check,
        summary: "Check the configuration and each token against each log",
        help: "Validates the configuration, then asks each log of each account for one entry, and prints a table of what works \
               and what to do about the rest. Takes the flags of serve. Exit code 0 if everything works, 1 if something does \
               not, 2 if the configuration is bad.",
        example: "cryptolens-exporter check --config.file=/etc/cryptolens-exporter.yml",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Healthcheck,
        summary: "Ask a running exporter whether it is ready",
        help: "Exit code 0 if it answers yes within three seconds, 1 otherwise. For containers, which have no other program to \
               ask with.",
        example: "cryptolens-exporter healthcheck --url=http://127.0.0.1:10460/-/healthy",
        usage: "",
        needs_token: false,
    },
    CommandRow {
        name: Report,
        summary: "Answer once: how many requests fail, since when, and whose",
        help: "report incident says whether requests fail more than usual, since when, which customers are locked out, what they \
               have in common and what was changed before; report summary says how a month was, better or worse than before, and \
               which incidents it had; exit code 3 if --fail-on holds. The others count a whole log: each \
               reads a log of one account, by default the last 30 days of the Web API Log, and shows what is in it: requests \
               that succeed and fail, by day, hour, event type, product and state, with the keys, machines and names that fail \
               most. For the events log: events, features and values. For the objects log: who did what to which object. Needs \
               no exporter that ran before.",
        example: "CRYPTOLENS_TOKEN=... cryptolens-exporter report --days=7",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Audit,
        summary: "Audit the seats of floating licenses",
        help: "With --key: who held seats and when, who was refused, and how long the license was at its limit or beyond it. \
               Without: the same for all keys of the product, who was refused most often, and who pays for seats that are never \
               used; exit code 3 if --fail-on=refusals holds.",
        example: "cryptolens-exporter audit seats --product=3349 --key=ICVLD-VVSZR-ZTICT-YKGXL --hours=24",
        usage: "cryptolens-exporter audit [OPTIONS] --product <ID> <WHAT>",
        needs_token: true,
    },
    CommandRow {
        name: Export,
        summary: "Export the entries of a log",
        help: "Writes entry after entry, oldest first, as NDJSON or CSV, or typed columns as a Parquet file.",
        example: "cryptolens-exporter export web-api --since=7d --output=requests.ndjson",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Reconcile,
        summary: "Compare the log with the ledger and the vendor's own daily counts",
        help: "Counts the Web API Log again, by product and day, and compares with GetDailyAggregates and with what serve has \
               counted: all requests, those that succeeded and those that failed. Says why counts differ where that can be known. \
               For the vendor's counts the token needs the permission Usage Analytics. Exit code 0 if every difference is explained, 3 if one is not, 1 if the comparison was not made, \
               2 for bad usage.",
        example: "CRYPTOLENS_TOKEN=... cryptolens-exporter reconcile --days=30",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Backfill,
        summary: "Write the history of a past time to a database or a file",
        help: "Reads the logs from --since on and writes the counts of each minute, stamped with the time of the entries: to a \
               target of remote write, or into a file of OpenMetrics text from which promtool makes blocks. The same samples as \
               those that serve writes, see docs/history.md. Exit code 0 if everything was written, 1 if something was not, 2 for \
               bad usage.",
        example: "cryptolens-exporter backfill --since=30d --to=2026-02-01 --output=history.om",
        usage: "",
        needs_token: true,
    },
    CommandRow {
        name: Simulate,
        summary: "Serve the simulated Web API alone, for trying clients",
        help: "Serves the logs of an invented vendor, with history and live traffic, as the Web API does. A client takes \
               http://127.0.0.1:10461/api for the URL, and any text for the token. What is simulated can be changed, and what a \
               client should have seen can be asked, below http://127.0.0.1:10461/simulator.",
        example: "cryptolens-exporter simulate --requests-per-minute=60 --fault=slow=0.1",
        usage: "",
        needs_token: false,
    },
];

/// The settings of one command, in the order of its help page.
pub fn of_command(command: CommandName) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.is_of(command))
}
