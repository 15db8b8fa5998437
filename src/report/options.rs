//! The options of a report, an audit or an export, checked and ready to use.
//!
//! [`crate::commands`] reads these options from flags and variables; this module knows neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use secrecy::SecretString;

use super::calendar::CalendarChoice;
use super::zone::Zone;
use crate::cryptolens::{ClientOptions, Concurrency, LogKind, Outcome, Product};

pub use crate::identity::IdentityLevel;

/// Options of a report.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// The log to report on.
    pub log: ReportedLog,
    /// How long to report on, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// Entries of one product or license only.
    pub license: LicenseFilter,
    /// Entries with one of these states only; all if empty.
    pub states: Vec<u16>,
    /// Entries with this outcome only.
    pub outcome: Option<Outcome>,
    /// True for a comparison with the window before.
    pub compare: bool,
    /// The chart of [`ReportFormat::Svg`].
    pub chart: Chart,
    /// How the report is shown; `top` is also the longest list of names and machines in every format.
    pub document: DocumentOptions,
}

/// Options of an audit of seats.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The product of the license.
    pub product: i64,
    /// The license key.
    pub key: String,
    /// How long to audit, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// How long before the beginning to read at least.
    pub lookback: Duration,
    /// The seats of the license, 0 for no limit; none to ask the API.
    pub max_machines: Option<u32>,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// Options of an audit of the seats of a whole product.
#[derive(Debug, Clone)]
pub struct ProductSeatsOptions {
    /// The product.
    pub product: i64,
    /// The only key that is audited, if not all are: as a whole, its pseudonym, or its last group.
    pub key: Option<String>,
    /// How long to audit, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// How long before the beginning to read at least.
    pub lookback: Duration,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// Options of an export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The log to export.
    pub log: ReportedLog,
    /// How far back from now to begin, unless `bounds` says where; none for the beginning of the
    /// log.
    pub since: Option<Duration>,
    /// From when to when.
    pub bounds: TimeBounds,
    /// Entries of one product or license only.
    pub license: LicenseFilter,
    /// Format of the entries.
    pub format: ExportFormat,
    /// True to go on after the last entry of the output.
    pub resume: bool,
    /// Who is shown, and where it goes.
    pub presentation: Presentation,
}

/// Options of a comparison with the vendor's own counts.
#[derive(Debug, Clone)]
pub struct ReconcileOptions {
    /// How many whole days to compare, unless `from` says where to begin.
    pub days: u32,
    /// The first day, in UTC.
    pub from: Option<NaiveDate>,
    /// The day after the last; none for today.
    pub to: Option<NaiveDate>,
    /// Counts of this product only.
    pub product: Option<i64>,
    /// True to compare with the vendor's own counts.
    pub vendor: bool,
    /// The directory of the ledger to compare with; `None` for no ledger.
    pub ledger: Option<PathBuf>,
    /// How long after its end a day is judged.
    pub settle: Duration,
    /// By how many percent the log may be above the vendor.
    pub tolerance: f64,
    /// Keys that the vendor leaves out.
    pub excluded_keys: ExcludedKeys,
    /// How it is shown.
    pub format: ReconcileFormat,
    /// The file to write; none for standard output.
    pub output: Option<PathBuf>,
}

/// License keys that the vendor leaves out of its own counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExcludedKeys(BTreeSet<String>);

impl ExcludedKeys {
    /// One key a line; blank lines and those that begin with `#` are comments.
    #[must_use]
    pub fn from_text(text: &str) -> ExcludedKeys {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        ExcludedKeys(lines.map(str::to_owned).collect())
    }

    /// True if the key is one of them.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

/// Shows how many there are: a license key is a secret.
impl fmt::Debug for ExcludedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExcludedKeys({})", self.0.len())
    }
}

/// Formats of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileFormat {
    /// The differences, for the terminal.
    Text,
    /// All counts, for programs.
    Json,
    /// All counts, for spreadsheets.
    Csv,
}

/// From when to when, as texts that only the time zone gives a meaning.
#[derive(Debug, Clone, Default)]
pub struct TimeBounds {
    /// A period of the calendar, in place of the other two.
    pub calendar: Option<CalendarChoice>,
    /// The first moment.
    pub from: Option<String>,
    /// The end, not included.
    pub to: Option<String>,
    /// The time zone of days, hours and shown times.
    pub timezone: Zone,
}

/// Entries of one product or license only.
#[derive(Debug, Clone, Default)]
pub struct LicenseFilter {
    /// The product.
    pub product: Option<i64>,
    /// The license key; never without a product.
    pub key: Option<String>,
}

/// Who is shown and where it goes.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// The file to write; none for standard output.
    pub output: Option<PathBuf>,
    /// How keys, machines, customers and people are shown.
    pub identities: IdentityLevel,
}

impl Presentation {
    /// The file to write; none for standard output, which can also be written as `-`.
    pub(super) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// Options of `report incident`.
#[derive(Debug, Clone)]
pub struct IncidentOptions {
    /// The middle of the period; none for one that ends now, or where `bounds` says.
    pub at: Option<String>,
    /// The length of the period, or how far it reaches to each side of `at`.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// Entries of one product or license only. The key may also be a pseudonym or a last group.
    pub license: LicenseFilter,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// Options of `report customer`.
#[derive(Debug, Clone)]
pub struct CustomerOptions {
    /// The key: as a whole, its pseudonym, or its last group.
    pub key: String,
    /// The product, where several have such a key.
    pub product: Option<i64>,
    /// How long to report on, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// Options of `report changes`.
#[derive(Debug, Clone)]
pub struct ChangesOptions {
    /// The kind of object, as `license_key`; all if none.
    pub resource: Option<String>,
    /// The number of the user who made the changes; all if none.
    pub user: Option<String>,
    /// How long to report on, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// Options of `report summary`.
#[derive(Debug, Clone)]
pub struct SummaryOptions {
    /// Requests of one product only.
    pub product: Option<i64>,
    /// How long to report on, unless `bounds` says where to begin.
    pub length: Duration,
    /// From when to when.
    pub bounds: TimeBounds,
    /// The time that it is compared with.
    pub compare: CompareWith,
    /// The part of requests that shall succeed, in percent.
    pub objective: Option<f64>,
    /// How it is shown.
    pub document: DocumentOptions,
}

/// The time that a report is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareWith {
    /// The period, or the same length, before.
    Previous,
    /// The same period of the year before.
    Year,
    /// None.
    Nothing,
    /// From a moment to another one, as texts that only the time zone gives a meaning.
    Range(String, String),
}

/// How a report that is a document is shown.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// The format.
    pub format: ReportFormat,
    /// The table or chart of CSV: an id, or `list`.
    pub table: Option<String>,
    /// The most rows of a table that people read.
    pub top: usize,
    /// The conditions that end the command with exit code 3.
    pub fail_on: Vec<FailOn>,
    /// Who is shown, and where it goes.
    pub presentation: Presentation,
    /// The command line that was typed, without what names anybody.
    pub command: String,
    /// Flags that every further command needs to reach the same account, with a blank before each.
    pub access_flags: String,
}

/// A condition that ends a report with exit code 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOn {
    /// An incident: one that goes on for the incident report, any for the summary.
    Incident,
    /// An objective that was missed.
    Objective,
    /// A machine that was refused a seat.
    Refusals,
}

impl FailOn {
    /// The name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Objective => "objective",
            Self::Refusals => "refusals",
        }
    }
}

/// Access to the one account that is read.
#[derive(Clone)]
pub struct ReportAccess {
    /// How to reach the Web API.
    pub client: ClientOptions,
    /// The access token.
    pub token: SecretString,
    /// The name of the account.
    pub account: String,
    /// Products that the configuration names.
    pub products: Vec<Product>,
    /// Texts for states that the configuration names.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub objects_first_code: i64,
    /// The most requests under way while a log is read.
    pub concurrency: Concurrency,
}

/// A log that can be read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedLog {
    /// Activations, deactivations, key creation ... with their outcome.
    WebApi,
    /// Entries that applications register: features used, payments.
    Events,
    /// Who added, changed or deleted customers, products, licenses.
    Objects,
}

impl ReportedLog {
    /// The name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebApi => "web-api",
            Self::Events => "events",
            Self::Objects => "objects",
        }
    }

    pub(super) const fn kind(self) -> LogKind {
        match self {
            Self::WebApi => LogKind::WebApi,
            Self::Events => LogKind::Events,
            Self::Objects => LogKind::Objects,
        }
    }
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// For the terminal.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
    /// One page that needs nothing else.
    Html,
    /// For tickets, chat and mail.
    Markdown,
    /// One chart.
    Svg,
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Text that grows with each entry.
    Text(EntryFormat),
    /// Typed columns, for engines of data analysis.
    Parquet,
}

/// Formats of an export whose file can be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFormat {
    /// A JSON object on each line.
    Ndjson,
    /// With a header.
    Csv,
}

/// Charts of [`ReportFormat::Svg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// Successful vs. unsuccessful requests.
    Outcome,
    /// Requests of each day.
    Daily,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keys_may_have_comments_and_blank_lines_and_is_not_shown() {
        let keys = ExcludedKeys::from_text("# tests\r\n\r\n A-B \nC-D");
        assert!(keys.contains("A-B") && keys.contains("C-D") && !keys.contains("# tests"));
        assert_eq!(format!("{keys:?}"), "ExcludedKeys(2)");
    }
}
