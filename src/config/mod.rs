//! What was typed, the environment and the configuration file, made into settings that need no further check.
//!
//! This is the second of two stages, after [`crate::cli`]. Promises:
//! - A flag overrides its variable, which overrides the file, which overrides the default. A variable that is set to
//!   nothing counts as absent.
//! - What [`load()`] returns is valid as a whole; the types say what that means for each part.
//! - Every error names the flag, variable, or file, line, column and key, what was found, and what would be right.
//!   All that is wrong is told at once.
//! - No token is ever part of an error, a warning or `Debug` output, nor is a line of the file.
//!
//! It reads through [`Environment`] only, starts nothing, and knows neither clock nor network: whether a token is
//! accepted is for `check` to find out.

mod account;
mod ca_file;
mod environment;
mod file;
mod listen;
mod load;
mod problem;
mod proxy;
mod token;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use url::Url;

pub use account::{Account, AccountName, BadAccountName, Product};
pub use ca_file::CaFile;
pub use environment::{Environment, SystemEnvironment};
pub use listen::{BadListenAddress, ListenAddress};
pub use load::{load, load_demo};
pub use problem::{ConfigError, FileOrigin, Origin, Place, Problem};
pub use token::{TokenError, TokenSource, read_token_file};

use crate::cryptolens::{ClientOptions, LogKind};

/// Settings of `serve` and `check`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the Web API.
    pub api: Api,
    /// Whose logs to count; never empty, names and tokens are unique.
    pub accounts: Vec<Account>,
    /// Directory of the ledger.
    pub storage_path: PathBuf,
    /// What to do with a ledger that was written for another API.
    pub foreign_ledger: ForeignLedger,
    /// Where to serve.
    pub web: Web,
    /// How far behind the newest entry each look reads again.
    pub overlap: Duration,
    /// Texts for state codes that only the vendor knows; codes are 1000 to 8999, texts not empty.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and the first action.
    pub objects_first_code: i64,
    /// What to log, and how.
    pub log: LogSettings,
    /// What is valid but worth a line in the log at WARN, once logging works.
    pub warnings: Vec<String>,
}

/// Settings of `demo`.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// Directory of the ledger; none for a temporary one that is removed at exit.
    pub storage_path: Option<PathBuf>,
    /// Where to serve.
    pub web: Web,
    /// How often to look at each log.
    pub intervals: Intervals,
    /// What to log, and how.
    pub log: LogSettings,
    /// Seed of the simulated traffic; none for a random one.
    pub seed: Option<u64>,
}

/// What to do with a ledger that was written for the API at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignLedger {
    /// Do not start.
    #[default]
    Refuse,
    /// Go on with it, and record the new address; never the demo's.
    Adopt,
    /// Move it aside, and begin a new one.
    SetAside,
}

/// How to reach the Web API.
#[derive(Clone)]
pub struct Api {
    /// Base URL: http or https, with a host, without user name, password, query or fragment. The path has no slash at
    /// its end, except where there is no path at all: a URL then still has `/`.
    pub url: Url,
    /// Longest time that one request may take; 1 s to 10 min.
    pub timeout: Duration,
    /// The only certificate authorities to trust; none for those of the system.
    pub ca_file: Option<CaFile>,
    /// The proxy for requests to `url`; none to ask without one. Its password is part of it.
    pub proxy: Option<Url>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("url", &self.url.as_str())
            .field("timeout", &self.timeout)
            .field("ca_file", &self.ca_file)
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
    /// Address to listen on.
    pub listen: ListenAddress,
    /// Path of the metrics: begins with `/`, is longer than it, and is no path of a health check.
    pub telemetry_path: String,
}

impl Default for Web {
    fn default() -> Self {
        Self { listen: ListenAddress::default(), telemetry_path: "/metrics".to_owned() }
    }
}

/// Where counting starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With what is logged from now on.
    Now,
    /// With the oldest entry that the Web API still has.
    All,
    /// This far back; more than zero.
    Ago(Duration),
    /// At this time.
    At(DateTime<Utc>),
}

/// How often to look at each log; each 1 s to 1 d.
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

/// What to log, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// Least severity.
    pub level: LogLevel,
    /// Format of a line.
    pub format: LogFormat,
}

/// Least severity to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Something is odd, but nothing is lost.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}
