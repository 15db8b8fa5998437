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
    /// True to show keys, machines and people as they are, not as pseudonyms.
    pub full_identities: bool,
}

impl Presentation {
    /// The file to write; none for standard output, which can also be written as `-`.
    pub(super) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
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
    /// One chart.
    Svg,
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
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
