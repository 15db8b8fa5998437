//! The columns of the settings table: everything that is known about one setting in one row.
//!
//! A row describes; it does not read. [`crate::cli`] builds the command line from the rows,
//! [`super::Sources`] looks up their values, and `docs/configuration.md`, the JSON Schema of the
//! configuration file and the warning that a change needs a restart are made from them.

use std::time::Duration;

/// A command of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandName {
    /// Polls the logs and serves metrics.
    Serve,
    /// Serves metrics of simulated traffic.
    Demo,
    /// Checks the configuration and each token.
    Check,
    /// Asks a running exporter whether it is ready.
    Healthcheck,
    /// Reports on a log.
    Report,
    /// Audits the seats of a license.
    Audit,
    /// Exports the entries of a log.
    Export,
    /// Compares the log with the vendor's own counts.
    Reconcile,
    /// Writes the history of a past time.
    Backfill,
    /// Serves the simulated Web API alone.
    Simulate,
}

/// A command with the texts of its help page.
#[derive(Debug, Clone, Copy)]
pub struct CommandRow {
    /// The command.
    pub name: CommandName,
    /// One line, without a full stop.
    pub summary: &'static str,
    /// Its effect, in complete sentences.
    pub help: &'static str,
    /// A command line to begin with.
    pub example: &'static str,
    /// The usage line, where a setting is needed that a variable can give too; empty for the one
    /// that follows from the flags.
    pub usage: &'static str,
    /// True if it reads the access token of an account, which its help page then explains.
    pub needs_token: bool,
}

/// One setting. A column that is empty (`""`) does not exist for it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The long flag without its dashes.
    pub flag: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// The positional argument, by the name that the usage line shows.
    pub argument: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// The key in the configuration file, with those above it: `api.url`, `accounts[].name`.
    pub key: &'static str,
    /// The type of its value.
    pub kind: ValueKind,
    /// The placeholder for the value in a help page.
    pub value_name: &'static str,
    /// The value if no source gives one.
    pub default: DefaultValue,
    /// A value to try.
    pub example: &'static str,
    /// Under which heading it is listed.
    pub group: SettingGroup,
    /// The commands that have it.
    pub commands: &'static [CommandName],
    /// True if a change takes effect only when the process is started again.
    pub restart: bool,
    /// One line, without a full stop.
    pub summary: &'static str,
    /// Its effect, in complete sentences.
    pub help: &'static str,
    /// Which values are right, as an error message says it after "expected". Empty for choices,
    /// whose names say it.
    pub expected: &'static str,
}

/// The type of the value of a setting.
#[derive(Debug, Clone, Copy)]
pub enum ValueKind {
    /// Any text that is not empty.
    Text,
    /// The path of a file or directory.
    Path,
    /// An http or https URL.
    Url,
    /// The same, which may have a query.
    UrlWithQuery,
    /// An IP address and a port.
    Address,
    /// Several of those.
    Addresses,
    /// The path of a page of the web server.
    UrlPath,
    /// A duration such as `1h 30m`, within bounds.
    Duration {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// Where counting starts: `now`, `all`, a duration, a date or a time.
    Since,
    /// A whole number within bounds.
    Integer {
        /// The least.
        least: i64,
        /// The greatest.
        most: u64,
    },
    /// A number within bounds.
    Number {
        /// The least.
        least: f64,
        /// The greatest.
        most: f64,
    },
    /// One of several names.
    Choice(&'static [ChoiceRow]),
    /// True or false. The flag alone means true.
    Switch,
    /// Names of logs.
    Logs,
    /// Other values with commas in between.
    List,
    /// `name=value` pairs with commas in between; a map in the file.
    Pairs,
    /// Texts by state code; only in the file.
    States,
    /// Texts by the name of a header; only in the file.
    Headers,
    /// The name of an environment variable; only in the file.
    VariableName,
    /// The name of an account; only in the file.
    AccountName,
}

/// One name of a [`ValueKind::Choice`].
#[derive(Debug, Clone, Copy)]
pub struct ChoiceRow {
    /// The name.
    pub name: &'static str,
    /// Its meaning, in a few words; may be empty.
    pub help: &'static str,
}

/// The value of a setting that no source gives.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// This value, which is read as if it were typed.
    Is(&'static str),
    /// A value that only words describe; the code that uses the setting has it.
    Means(&'static str),
}

impl DefaultValue {
    /// How a help page or a table shows it.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Is(text) | Self::Means(text) => text,
        }
    }
}

/// The heading that a setting is listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingGroup {
    /// Positional arguments.
    Arguments,
    /// Which entries of a log.
    Entries,
    /// Which time.
    Time,
    /// How an answer is shown.
    Presentation,
    /// Where settings come from.
    Configuration,
    /// How to reach the Web API.
    WebApi,
    /// The entries that are counted.
    Counting,
    /// How often a log is read.
    Polling,
    /// The ledger.
    Storage,
    /// The web server.
    Web,
    /// Counts by the minute of the event, written to time-series databases.
    History,
    /// Active license keys and machines.
    Usage,
    /// Every row, as Parquet files.
    Archive,
    /// The comparison of counts with the vendor's own.
    Reconcile,
    /// The push to an OpenTelemetry receiver.
    OpenTelemetry,
    /// Log lines.
    Logging,
    /// Options of `check`.
    Check,
    /// The traffic of the demo.
    Simulation,
    /// The traffic of the simulator.
    Traffic,
    /// The permissions of the token of the simulator.
    Access,
    /// The faults of the simulator.
    Faults,
    /// Accounts, which only the file can list.
    Accounts,
}

impl SettingGroup {
    /// The heading.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Arguments => "Arguments",
            Self::Entries => "Entries",
            Self::Time => "Time",
            Self::Presentation => "Presentation",
            Self::Configuration => "Configuration",
            Self::WebApi => "Web API",
            Self::Counting => "Counting",
            Self::Polling => "Polling",
            Self::Storage => "Storage",
            Self::Web => "Web",
            Self::History => "History",
            Self::Usage => "Usage",
            Self::Archive => "Archive",
            Self::Reconcile => "Reconcile",
            Self::OpenTelemetry => "OpenTelemetry",
            Self::Logging => "Logging",
            Self::Check => "Check",
            Self::Simulation => "Simulation",
            Self::Traffic => "Traffic",
            Self::Access => "Access",
            Self::Faults => "Faults",
            Self::Accounts => "Accounts",
        }
    }
}

impl CommandName {
    /// All commands, in the order in which the help page lists them.
    pub const ALL: [CommandName; 10] = [
        Self::Serve,
        Self::Demo,
        Self::Check,
        Self::Healthcheck,
        Self::Report,
        Self::Audit,
        Self::Export,
        Self::Reconcile,
        Self::Backfill,
        Self::Simulate,
    ];

    /// The name as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Demo => "demo",
            Self::Check => "check",
            Self::Healthcheck => "healthcheck",
            Self::Report => "report",
            Self::Audit => "audit",
            Self::Export => "export",
            Self::Reconcile => "reconcile",
            Self::Backfill => "backfill",
            Self::Simulate => "simulate",
        }
    }
}

impl Setting {
    /// A row with empty columns.
    pub(super) const NONE: Setting = Setting {
        flag: "",
        short: None,
        argument: "",
        variable: "",
        key: "",
        kind: ValueKind::Text,
        value_name: "",
        default: DefaultValue::Means("none"),
        example: "",
        group: SettingGroup::Configuration,
        commands: &[],
        restart: false,
        summary: "",
        help: "",
        expected: "",
    };

    /// Under which name the command line hands over its values.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        if self.argument.is_empty() { self.flag } else { self.argument }
    }

    /// True if this command has it.
    #[must_use]
    pub fn is_of(&self, command: CommandName) -> bool {
        self.commands.contains(&command)
    }

    /// True if the command line can give it.
    #[must_use]
    pub const fn is_typed(&self) -> bool {
        !self.flag.is_empty() || !self.argument.is_empty()
    }

    /// True if giving its flag again adds to it. The last one wins for all others.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, ValueKind::Logs | ValueKind::List | ValueKind::Pairs | ValueKind::Addresses)
    }

    /// How a message names what is typed: `--api.url`, or `LOG` for an argument.
    #[must_use]
    pub fn typed_name(&self) -> String {
        if self.argument.is_empty() { format!("--{}", self.flag) } else { self.argument.to_owned() }
    }

    /// Which values are right.
    #[must_use]
    pub fn expected(&self) -> String {
        let ValueKind::Choice(choices) = self.kind else { return self.expected.to_owned() };
        match choices {
            [] => String::new(),
            [only] => only.name.to_owned(),
            [first @ .., last] => {
                let first: Vec<&str> = first.iter().map(|choice| choice.name).collect();
                format!("{} or {}", first.join(", "), last.name)
            }
        }
    }
}
