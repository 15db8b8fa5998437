//! From flags, environment and configuration file to settings that need no further check.
//!
//! [`table`] has one row per setting. [`Sources`] looks up values by row, [`value`] checks them,
//! and [`serve`], [`demo`] and [`Sources::account_access`] make the typed settings of a command.
//! Promises:
//! - A flag overrides its variable, which overrides the file, which overrides the default. A
//!   variable that is set to nothing counts as absent.
//! - A command looks only at the settings that it uses.
//! - Settings that are returned are valid as a whole; the types say what that means for each part.
//! - Every error names the flag, variable, or file, line, column and key, what was found, and what
//!   would be right. One run shows all that is wrong.
//! - No token is ever part of an error, a warning or `Debug` output, nor is a line of the file.
//!
//! It reads through [`Environment`] only, starts nothing, and knows neither clock nor network nor
//! how a command line is parsed: whether a token is accepted is for `check` to find out.

mod account;
mod accounts;
mod archive;
mod ca_file;
mod environment;
pub mod example;
mod file;
mod history;
mod otlp;
mod problem;
mod proxy;
mod reconcile;
pub mod reference;
mod remote_write;
mod resolve;
pub mod schema;
pub mod setting;
mod sources;
pub mod table;
mod token;
mod usage;
pub mod value;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use account::{Account, AccountName, BadAccountName};
pub use ca_file::CaFile;
#[cfg(test)]
pub(crate) use environment::Variables;
pub use environment::{Environment, SystemEnvironment};
pub use history::HistorySettings;
pub use problem::{ConfigError, FileOrigin, FilePosition, Problem, ValueOrigin};
pub use reconcile::ReconcileSettings;
pub use resolve::{backfill, demo, serve};
pub use sources::{FlagValues, SourceLevel, Sources};
pub use token::{TokenError, TokenSource, find_token, read_token_file};
pub use usage::UsageSettings;

use crate::archive::ArchiveSettings;
use crate::cryptolens::{ClientOptions, Concurrency, LogKind, Product};
use crate::ingest::Since;
use crate::ledger::ForeignLedger;
use crate::logging::LogSettings;
use crate::outputs::otlp::OtlpSettings;
use crate::web::ListenAddress;

/// Settings of `serve` and `check`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the Web API.
    pub api: Api,
    /// Whose logs to count; never empty, names and tokens are unique.
    pub accounts: Vec<Account>,
    /// Directory of the ledger.
    pub storage_path: PathBuf,
    /// The action for a ledger that was written for another API.
    pub foreign_ledger: ForeignLedger,
    /// Where to serve.
    pub web: Web,
    /// How far behind the newest entry each poll reads again.
    pub overlap: Duration,
    /// Texts for state codes that only the vendor knows; codes are 1000 to 8999, texts not empty.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub objects_first_code: i64,
    /// The push of metrics; `None` if they are not pushed.
    pub otlp: Option<OtlpSettings>,
    /// Where history goes; only with `otlp` to the receiver of the push.
    pub history: HistorySettings,
    /// The counting of active keys and machines.
    pub usage: UsageSettings,
    /// Where rows are archived; `None` if they are not.
    pub archive: Option<ArchiveSettings>,
    /// The comparison with the vendor's own counts; `None` if it is off.
    pub reconcile: Option<ReconcileSettings>,
    /// Severity and format of log lines.
    pub log: LogSettings,
    /// Remarks on what is valid but should be changed, for the log at WARN.
    pub warnings: Vec<String>,
    /// The settings that a reload cannot change.
    pub restart: RestartValues,
}

/// The values of the settings that need a restart, as they were given, by flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartValues(BTreeMap<&'static str, String>);

/// The settings of a report, audit or export that concern the one account that it reads.
#[derive(Debug, Clone)]
pub struct AccountAccess {
    /// How to reach the Web API.
    pub api: Api,
    /// Its name.
    pub name: AccountName,
    /// Its access token.
    pub token: TokenSource,
    /// Products that are known by configuration, in the order of the file; ids are unique.
    pub products: Vec<Product>,
    /// Texts for state codes that only the vendor knows; codes are 1000 to 8999, texts not empty.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub objects_first_code: i64,
    /// Remarks on what is valid but should be changed.
    pub warnings: Vec<String>,
}

/// Settings of `backfill`.
#[derive(Debug, Clone)]
pub struct BackfillSettings {
    /// The account that is read.
    pub access: AccountAccess,
    /// Its logs.
    pub logs: Vec<LogKind>,
    /// Where the history begins.
    pub since: Since,
    /// Where it ends; `None` for the last complete minute.
    pub to: Option<Since>,
    /// The file to write; `None` for a target.
    pub output: Option<PathBuf>,
    /// The directory of a ledger whose history is not to be written again.
    pub storage_path: Option<PathBuf>,
    /// The targets, and what every sample carries.
    pub history: HistorySettings,
    /// The receiver of the push.
    pub otlp: Option<OtlpSettings>,
}

/// Settings of `demo`.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// Directory of the ledger; none for a temporary one that is removed at exit.
    pub storage_path: Option<PathBuf>,
    /// Where to serve.
    pub web: Web,
    /// How often each log is polled.
    pub intervals: Intervals,
    /// The push of metrics; `None` if they are not pushed.
    pub otlp: Option<OtlpSettings>,
    /// Where history goes; only with `otlp` to the receiver of the push.
    pub history: HistorySettings,
    /// The counting of active keys and machines.
    pub usage: UsageSettings,
    /// Remarks on what is valid but should be changed, for the log at WARN.
    pub warnings: Vec<String>,
    /// Severity and format of log lines.
    pub log: LogSettings,
    /// Seed of the simulated traffic; none for a random one.
    pub seed: Option<u64>,
}

/// How to reach the Web API.
#[derive(Clone)]
pub struct Api {
    /// Base URL: http or https, with a host, without user name, password, query or fragment. The
    /// path has no slash at its end, except where there is no path at all: a URL then still has
    /// `/`.
    pub url: Url,
    /// Longest time that one request may take; 1 s to 10 min.
    pub timeout: Duration,
    /// The only certificate authorities to trust; none for those of the system.
    pub ca_file: Option<CaFile>,
    /// The proxy for requests to `url`; none to ask without one. Its password is part of it.
    pub proxy: Option<Url>,
    /// The most requests for one log under way while far behind.
    pub concurrency: Concurrency,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("url", &self.url.as_str())
            .field("timeout", &self.timeout)
            .field("ca_file", &self.ca_file)
            .field("concurrency", &self.concurrency.get())
            .finish()
    }
}

impl Api {
    /// The same for the client.
    #[must_use]
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            url: self.url.clone(),
            timeout: self.timeout,
            ca_pem: self.ca_file.as_ref().map(|file| file.pem().as_bytes().to_vec()),
            proxy: self.proxy.clone(),
        }
    }
}

/// Where to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// Addresses to listen on: at least one, and none covers another.
    pub listen: Vec<ListenAddress>,
    /// Path of the metrics: begins with `/`, is longer than it, and is no path of a health check.
    pub telemetry_path: String,
    /// The web configuration file; none for plain HTTP that is open to all.
    pub config_file: Option<PathBuf>,
    /// The most connections of clients at a time.
    pub max_connections: usize,
    /// True if `POST /-/reload` reloads.
    pub enable_lifecycle: bool,
    /// True if pages in OpenMetrics text have `_created` lines.
    pub openmetrics_created: bool,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::default()],
            telemetry_path: "/metrics".to_owned(),
            config_file: None,
            max_connections: 256,
            enable_lifecycle: false,
            openmetrics_created: false,
        }
    }
}

/// How often each log is polled; each 1 s to 1 d.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Web API Log.
    pub web_api: Duration,
    /// Events Log.
    pub events: Duration,
    /// Object Log.
    pub objects: Duration,
}

impl Intervals {
    /// The interval of one log.
    #[must_use]
    pub const fn of(&self, log: LogKind) -> Duration {
        match log {
            LogKind::WebApi => self.web_api,
            LogKind::Events => self.events,
            LogKind::Objects => self.objects,
        }
    }
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            web_api: Duration::from_secs(15),
            events: Duration::from_secs(60),
            objects: Duration::from_secs(60),
        }
    }
}
