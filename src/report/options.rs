//! The options of a report, an audit or an export, checked and ready to use.
//!
//! [`crate::commands`] reads these options from flags and variables; this module knows neither.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::zone::Zone;
use crate::cryptolens::{ClientOptions, Concurrency, Outcome, Product};

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
    /// How the report is shown.
    pub format: ReportFormat,
    /// The chart of [`ReportFormat::Svg`].
    pub chart: Chart,
    /// Longest list of names and machines.
    pub top: usize,
    /// Who is shown, and where it goes.
    pub presentation: Presentation,
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
    /// How the audit is shown.
    pub format: ReportFormat,
    /// Who is shown, and where it goes.
    pub presentation: Presentation,
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

/// From when to when, as texts that only the time zone gives a meaning.
#[derive(Debug, Clone, Default)]
pub struct TimeBounds {
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

/// How keys, machines, customers and people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityLevel {
    /// As pseudonyms.
    Masked,
    /// Customers by the name of their company, keys by their last group; people and machines as
    /// pseudonyms.
    Customers,
    /// As they are.
    Full,
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

/// How a report that is a document is shown.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// The format.
    pub format: ReportFormat,
    /// The table or chart of CSV: an id, or `list`.
    pub table: Option<String>,
    /// The most rows of a table that people read.
    pub top: usize,
    /// What ends the command with exit code 3.
    pub fail_on: Vec<FailOn>,
    /// Who is shown, and where it goes.
    pub presentation: Presentation,
    /// The command line that was typed, without what names anybody.
    pub command: String,
    /// Flags that every further command needs to reach the same account, with a blank before each.
    pub access_flags: String,
}

/// What ends a report with exit code 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOn {
    /// An incident that goes on.
    Incident,
}

impl FailOn {
    /// The name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
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
