//! What was typed for `report`, `audit` and `export`.
//!
//! How to reach the API and which token to use is merged by [`crate::config`], as for `serve`; what is defined here is
//! this module's own, and clap reads its variables. Where to begin has three flags, so that a variable that stands for
//! one of them can always be overridden: `--from` beats `--since`, which beats `--days`.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "the documentation of flags is their help text, in which Markdown would show"
)]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::error::ReportError;
use super::zone::Zone;
use crate::cli::{ApiArgs, ConfigArgs};

/// Flags of `report`, as typed.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Log to report on
    #[arg(value_enum, default_value_t = Log::WebApi, value_name = "LOG")]
    pub log: Log,

    /// Which time.
    #[command(flatten)]
    pub window: WindowArgs,
    /// Which license.
    #[command(flatten)]
    pub license: LicenseArgs,

    /// State codes to report on
    ///
    /// A list of codes from 1000 to 8999, separated by commas; for the web-api report. Which keys only fail can't be
    /// told then.
    ///
    /// Default: all. Example: --states=2014,2015,2024
    #[arg(
        long = "states",
        env = "CRYPTOLENS_REPORT_STATES",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1000..=8999),
        help_heading = "Entries"
    )]
    pub states: Vec<u16>,

    /// Outcome to report on
    ///
    /// For the web-api report. Entries with another outcome are left out of every number, so there is no ratio then.
    ///
    /// Default: all. Example: --outcome=failure
    #[arg(
        long = "outcome",
        env = "CRYPTOLENS_REPORT_OUTCOME",
        value_enum,
        value_name = "OUTCOME",
        help_heading = "Entries"
    )]
    pub outcome: Option<OutcomeArg>,

    /// Leave out the comparison with the window before
    ///
    /// The web-api report then reads half as much of the log.
    ///
    /// Default: false. Example: --no-comparison
    #[arg(
        long = "no-comparison",
        env = "CRYPTOLENS_REPORT_NO_COMPARISON",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
        help_heading = "Presentation"
    )]
    pub no_comparison: bool,

    /// How it is shown.
    #[command(flatten)]
    pub format: FormatArgs,

    /// Chart of --format=svg
    ///
    /// One of: outcome (successful vs. unsuccessful requests), daily (requests of each day).
    ///
    /// Default: outcome. Example: --chart=daily
    #[arg(
        long = "chart",
        env = "CRYPTOLENS_REPORT_CHART",
        value_enum,
        default_value_t = Chart::Outcome,
        hide_default_value = true,
        value_name = "CHART",
        help_heading = "Presentation"
    )]
    pub chart: Chart,

    /// Longest list of most failing names and machines
    ///
    /// A number of rows; also for the audit trail in --format=text, which shows the newest.
    ///
    /// Default: 10. Example: --top=50
    #[arg(
        long = "top",
        env = "CRYPTOLENS_REPORT_TOP",
        value_name = "NUMBER",
        default_value_t = 10,
        hide_default_value = true,
        help_heading = "Presentation"
    )]
    pub top: usize,

    /// Who is shown, and where it goes.
    #[command(flatten)]
    pub present: PresentArgs,
    /// Whose log.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Flags of `audit`, as typed.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What to audit: the seats of a floating license
    #[arg(value_enum, value_name = "WHAT")]
    pub what: Audited,

    /// Product of the license
    ///
    /// The id of the product, as in the log.
    ///
    /// Default: none, it is needed. Example: --product=3349
    #[arg(
        long = "product",
        env = "CRYPTOLENS_REPORT_PRODUCT",
        value_name = "ID",
        required = true,
        value_parser = clap::value_parser!(i64).range(1..),
        help_heading = "Entries"
    )]
    pub product: i64,

    /// License key
    ///
    /// The whole key, as in the log. Other users of the machine can see it in the list of processes:
    /// --license-key-file keeps it from them.
    ///
    /// Default: none; this or --license-key-file is needed. Example: --key=ICVLD-VVSZR-ZTICT-YKGXL
    #[arg(
        long = "key",
        env = "CRYPTOLENS_REPORT_KEY",
        value_name = "KEY",
        required_unless_present = "license_key_file",
        conflicts_with = "license_key_file",
        value_parser = not_empty,
        help_heading = "Entries"
    )]
    pub key: Option<String>,

    /// File that holds the license key
    ///
    /// Used instead of --key; - reads standard input.
    ///
    /// Default: none; this or --key is needed. Example: --license-key-file=/run/secrets/license-key
    #[arg(
        long = "license-key-file",
        env = "CRYPTOLENS_REPORT_LICENSE_KEY_FILE",
        value_name = "FILE",
        help_heading = "Entries"
    )]
    pub license_key_file: Option<PathBuf>,

    /// How many hours to audit
    ///
    /// A number of hours up to now, or up to --to. Not used with --from.
    ///
    /// Default: 24. Example: --hours=168
    #[arg(
        long = "hours",
        env = "CRYPTOLENS_REPORT_HOURS",
        value_name = "NUMBER",
        default_value_t = 24,
        hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(1..=876_000),
        help_heading = "Time"
    )]
    pub hours: u32,

    /// From when to when.
    #[command(flatten)]
    pub bounds: BoundsArgs,

    /// How long before the beginning to read at least
    ///
    /// A lease that began before counts where its heartbeat is read. The audit reads as far back as the longest lease that
    /// it meets by itself; a duration is needed only where one machine has a far longer lease than all others.
    ///
    /// Default: 1d. Example: --lookback=30d
    #[arg(
        long = "lookback",
        env = "CRYPTOLENS_REPORT_LOOKBACK",
        value_name = "DURATION",
        default_value = "1d",
        hide_default_value = true,
        value_parser = duration,
        help_heading = "Time"
    )]
    pub lookback: Duration,

    /// Seats of the license
    ///
    /// 0 for no limit. Give it where the token may not call GetKey, or where the number was another one at that time.
    ///
    /// Default: what GetKey says now. Example: --max-machines=10
    #[arg(
        long = "max-machines",
        env = "CRYPTOLENS_REPORT_MAX_MACHINES",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32),
        help_heading = "Entries"
    )]
    pub max_machines: Option<u32>,

    /// How it is shown.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Who is shown, and where it goes.
    #[command(flatten)]
    pub present: PresentArgs,
    /// Whose log.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Flags of `export`, as typed.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Log to export
    #[arg(value_enum, value_name = "LOG")]
    pub log: Log,

    /// Where to begin: a duration back from now
    ///
    /// A duration such as 30d or 12h. Not used with --from.
    ///
    /// Default: the beginning of the log. Example: --since=7d
    #[arg(
        long = "since",
        env = "CRYPTOLENS_EXPORT_SINCE",
        value_name = "DURATION",
        value_parser = duration,
        help_heading = "Time"
    )]
    pub since: Option<Duration>,

    /// From when to when.
    #[command(flatten)]
    pub bounds: BoundsArgs,
    /// Which license.
    #[command(flatten)]
    pub license: LicenseArgs,

    /// Format of the entries
    ///
    /// One of: ndjson (a JSON object on each line), csv (with a header).
    ///
    /// Default: ndjson. Example: --format=csv
    #[arg(
        long = "format",
        env = "CRYPTOLENS_EXPORT_FORMAT",
        value_enum,
        default_value_t = ExportFormat::Ndjson,
        hide_default_value = true,
        value_name = "FORMAT",
        help_heading = "Presentation"
    )]
    pub format: ExportFormat,

    /// Go on after the last entry of the output
    ///
    /// Reads the ids of the file named by --output, or of the unfinished one that an interrupted export left beside it, and
    /// appends what it lacks from its last hour on, so that entries that the log showed late are there too: --since and --from say where a new file begins. Without such a file
    /// it begins as usual.
    ///
    /// Default: false. Example: --resume
    #[arg(
        long = "resume",
        env = "CRYPTOLENS_EXPORT_RESUME",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
        help_heading = "Presentation"
    )]
    pub resume: bool,

    /// Who is shown, and where it goes.
    #[command(flatten)]
    pub present: PresentArgs,
    /// Whose log.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Which time to report on, as typed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Time")]
pub struct WindowArgs {
    /// How many days to report on
    ///
    /// A number of days of 24 hours up to now, or up to --to. Not used with --since or --from.
    ///
    /// Default: 30. Example: --days=7
    #[arg(
        long = "days",
        env = "CRYPTOLENS_REPORT_DAYS",
        value_name = "NUMBER",
        default_value_t = 30,
        hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(1..=36_500),
    )]
    pub days: u32,

    /// How long to report on
    ///
    /// A duration such as 1h or 90m up to now, or up to --to. Not used with --from.
    ///
    /// Default: what --days says. Example: --since=1h
    #[arg(
        long = "since",
        env = "CRYPTOLENS_REPORT_SINCE",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub since: Option<Duration>,

    /// From when to when.
    #[command(flatten)]
    pub bounds: BoundsArgs,
}

/// From when to when, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Time")]
pub struct BoundsArgs {
    /// First moment
    ///
    /// A date such as 2026-01-31 (its midnight), a time of --timezone such as 2026-01-31T08:00, or a time with its own
    /// offset such as 2026-01-31T08:00:00Z.
    ///
    /// Default: counted back from --to. Example: --from=2026-01-01
    #[arg(long = "from", env = "CRYPTOLENS_REPORT_FROM", value_name = "TIME")]
    pub from: Option<String>,

    /// Moment at which to end, itself not included
    ///
    /// Written as for --from.
    ///
    /// Default: now. Example: --to=2026-02-01
    #[arg(long = "to", env = "CRYPTOLENS_REPORT_TO", value_name = "TIME")]
    pub to: Option<String>,

    /// Time zone of days, hours and shown times
    ///
    /// A name of the IANA database, in any letter case. The system's zone files are used where there are any (TZDIR,
    /// /usr/share/zoneinfo ...), else a table that is compiled in.
    ///
    /// Default: UTC. Example: --timezone=Europe/Stockholm
    #[arg(
        long = "timezone",
        env = "CRYPTOLENS_REPORT_TIMEZONE",
        value_name = "ZONE",
        default_value_t = Zone::UTC,
        hide_default_value = true,
        value_parser = zone
    )]
    pub timezone: Zone,
}

/// Which license, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Entries")]
pub struct LicenseArgs {
    /// Only entries of this product
    ///
    /// The id of the product; for the web-api and events logs.
    ///
    /// Default: all. Example: --product=3349
    #[arg(
        long = "product",
        env = "CRYPTOLENS_REPORT_PRODUCT",
        value_name = "ID",
        value_parser = clap::value_parser!(i64).range(1..)
    )]
    pub product: Option<i64>,

    /// Only entries of this license key
    ///
    /// The whole key; needs --product.
    ///
    /// Default: all. Example: --key=ICVLD-VVSZR-ZTICT-YKGXL
    #[arg(
        long = "key",
        env = "CRYPTOLENS_REPORT_KEY",
        value_name = "KEY",
        requires = "product",
        value_parser = not_empty
    )]
    pub key: Option<String>,
}

/// How a report is shown, as typed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Presentation")]
pub struct FormatArgs {
    /// Format of the report
    ///
    /// One of: text (for the terminal), json (versioned, for programs), csv (for spreadsheets), html (one page that
    /// needs nothing else), svg (one chart of the web-api report, see --chart).
    ///
    /// Default: text. Example: --format=html
    #[arg(
        long = "format",
        env = "CRYPTOLENS_REPORT_FORMAT",
        value_enum,
        default_value_t = Format::Text,
        hide_default_value = true,
        value_name = "FORMAT"
    )]
    pub format: Format,
}

/// Who is shown and where it goes, as typed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Presentation")]
pub struct PresentArgs {
    /// File to write
    ///
    /// It is written beside and put in place when it is complete, so that a failure leaves what was there. With
    /// --identities=full only its owner can read it. A device or a FIFO is written to as it is.
    ///
    /// Default: standard output. Example: --output=report.html
    #[arg(long = "output", short = 'o', env = "CRYPTOLENS_REPORT_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// How keys, machines, addresses and names of people are shown
    ///
    /// One of: masked, full. Masked ones are pseudonyms such as key-3f2a91bc04d1: the same for the same access token,
    /// so they can be compared between reports, and not to be undone without it. What stays: ids, times, states, names of
    /// features and events, values and currencies; in JSON texts of the log true, false and null, the member names that the
    /// API documents, and numbers and dates of members of a license such as MaxNoOfMachines and Expires.
    ///
    /// Default: masked. Example: --identities=full
    #[arg(
        long = "identities",
        env = "CRYPTOLENS_REPORT_IDENTITIES",
        value_enum,
        default_value_t = IdentitiesArg::Masked,
        hide_default_value = true,
        value_name = "HOW"
    )]
    pub identities: IdentitiesArg,
}

impl AuditArgs {
    /// The license key, from wherever it was given.
    pub(super) fn license_key(&self) -> Result<String, ReportError> {
        let Some(path) = &self.license_key_file else { return Ok(self.key.clone().unwrap_or_default()) };
        let usage =
            |reason: &str| ReportError::Usage(format!("--license-key-file: {}: {reason}", path.display()));
        let mut text = String::new();
        let read = if path == Path::new("-") {
            std::io::stdin().lock().take(LONGEST_KEY_FILE).read_to_string(&mut text)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(LONGEST_KEY_FILE).read_to_string(&mut text))
        };
        read.map_err(|error| usage(&error.to_string()))?;
        // Editors of Windows put a byte order mark first.
        let key = text.trim_start_matches('\u{feff}').trim();
        match key {
            "" => Err(usage("it holds no license key")),
            key if key.contains(char::is_whitespace) => Err(usage("it holds more than one license key")),
            key => Ok(key.to_owned()),
        }
    }
}

/// More bytes than any key has.
const LONGEST_KEY_FILE: u64 = 4096;

impl PresentArgs {
    /// The file to write; none for standard output, which can also be written as `-`.
    pub fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// Whose log, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArgs {
    /// Account of the configuration file
    ///
    /// Its name there; needed where the file lists several.
    ///
    /// Default: the only one. Example: --account=shop
    #[arg(
        long = "account",
        env = "CRYPTOLENS_REPORT_ACCOUNT",
        value_name = "NAME",
        help_heading = "Configuration"
    )]
    pub account: Option<String>,

    /// Where the file is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to reach the Web API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// A log, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Activations, deactivations, key creation ... with their outcome
    WebApi,
    /// What apps register: features used, payments
    Events,
    /// Who added, changed or deleted customers, products, licenses
    Objects,
}

impl Log {
    /// The name, as typed.
    pub const fn name(self) -> &'static str {
        match self {
            Log::WebApi => "web-api",
            Log::Events => "events",
            Log::Objects => "objects",
        }
    }
}

/// What to audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audited {
    /// Who held the seats of a floating license, and when
    Seats,
}

/// An outcome to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutcomeArg {
    /// Third digit of the state is 1
    Success,
    /// Third digit of the state is 2
    Failure,
    /// Any other
    Unknown,
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For the terminal
    Text,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// One page that needs nothing else
    Html,
    /// One chart
    Svg,
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A JSON object on each line
    Ndjson,
    /// With a header
    Csv,
}

/// Charts of `--format=svg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Chart {
    /// Successful vs. unsuccessful requests
    Outcome,
    /// Requests of each day
    Daily,
}

/// How people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IdentitiesArg {
    /// As pseudonyms
    Masked,
    /// As they are
    Full,
}

fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    match humantime::parse_duration(text) {
        Ok(duration) if duration.as_secs() > 0 && duration <= LONGEST => Ok(duration),
        _ => Err("expected a duration from 1s on, such as 1h or 30d".to_owned()),
    }
}

fn zone(text: &str) -> Result<Zone, String> {
    text.parse()
        .map_err(|_| "expected a name of the IANA database, such as Europe/Stockholm or UTC".to_owned())
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("expected a license key".to_owned()) } else { Ok(text.to_owned()) }
}
