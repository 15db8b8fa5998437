//! What was typed: the one definition of every command, flag and help text.
//!
//! This is the first of two stages. It keeps the settings of `serve`, `check` and `demo` as the text that was typed and
//! leaves the environment alone, although each flag declares its variable here: [`crate::config`] reads the variables
//! and the file itself, so that it can merge them by precedence and say in a message which of them holds a bad value.
//! `--help`, [`flags_markdown`] and the tests are fed by this definition and nothing else.
//!
//! It doesn't know which values are valid, nor what a default does; it only describes them. The access token is no
//! flag and never becomes one: a command line can be read by every user of a machine.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "the documentation of flags is their help text, in which Markdown would show"
)]

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use cryptolens_simulator::SimulateArgs;

use crate::commands::healthcheck::HealthcheckArgs;
use crate::cryptolens::token::looks_like_a_token;
use crate::report::{AuditArgs, ExportArgs, ReportArgs};

/// Version and commit, as `--version` prints them.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("CRYPTOLENS_BUILD_COMMIT"), ")");

/// The variable that holds the access token. It has no flag on purpose.
pub const TOKEN_VARIABLE: &str = "CRYPTOLENS_TOKEN";

/// Commands whose settings are merged with environment and file by [`crate::config`], not by clap.
const MERGED_LATER: [&str; 3] = ["serve", "check", "demo"];

/// Commands that have flags of `serve` beside their own; only those are merged later.
const BORROWERS: [&str; 3] = ["report", "audit", "export"];

/// Their flags that say where to begin.
const BEGINNINGS: [&str; 4] = ["from", "since", "days", "hours"];

const TOKEN_HELP: &str = "\
Access token:
  CRYPTOLENS_TOKEN
          The token itself. There is no flag for it, because every user of a
          machine can read command lines. Or hand over a file: see
          --api.token-file.

          Create one at https://app.cryptolens.io/User/AccessToken#/ that may
          call the methods of the logs you want (GetWebAPILog, GetEvents,
          GetObjectLog; see --logs) and has no key lock.

Precedence:
  A flag overrides its environment variable, which overrides the file, which
  overrides the default. A variable that is set but empty counts as not set.
  The last of a repeated flag wins; one that takes a list adds up.
  What a flag or variable says about --since and --logs holds for every
  account of the file.";

/// Counts every entry of the Cryptolens (Devolens) logs exactly once, for Prometheus
///
/// Polls the Web API Log, the Events Log and the Object Log of a Cryptolens (Devolens) account, counts every entry
/// exactly once, also through crashes and restarts, and serves the counts as Prometheus metrics.
///
/// To look around without an account, run `cryptolens-exporter demo`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cryptolens-exporter",
    version = VERSION,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = true,
    // A wrapper appends to flags that somebody else wrote: an image, a unit, a chart.
    args_override_self = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Poll the logs and serve metrics
    ///
    /// Polls the logs of each account, keeps the counts in a ledger on disk and serves them at
    /// http://localhost:10460/metrics until it gets SIGTERM or SIGINT. SIGHUP reads token and configuration file again.
    ///
    /// Example: CRYPTOLENS_TOKEN=... cryptolens-exporter serve --since=30d
    #[command(after_long_help = TOKEN_HELP)]
    Serve(ServeArgs),

    /// Try everything out with simulated traffic, without an account
    ///
    /// Starts a stand-in for the Web API inside the process, with 30 days of history and live traffic with a failure
    /// spike now and then, points the real poller at it and serves the metrics on the usual port. Needs no token and
    /// no network.
    ///
    /// Example: cryptolens-exporter demo
    Demo(DemoArgs),

    /// Check the configuration and each token against each log
    ///
    /// Validates the configuration, then asks each log of each account for one entry, and prints a table of what works
    /// and what to do about what doesn't. Takes the flags of serve. Exit code 0 if everything works, 1 if something
    /// doesn't, 2 if the configuration is bad.
    ///
    /// Example: cryptolens-exporter check --config.file=/etc/cryptolens-exporter.yml
    #[command(after_long_help = TOKEN_HELP)]
    Check(CheckArgs),

    /// Ask a running exporter whether it is ready
    ///
    /// Exit code 0 if it says yes within three seconds, 1 otherwise. For containers, which have no other program to
    /// ask with.
    ///
    /// Example: cryptolens-exporter healthcheck --url=http://127.0.0.1:10460/-/healthy
    Healthcheck(HealthcheckArgs),

    /// Answer once: how many requests fail, since when, and whose
    ///
    /// Reads a log of one account, the last 30 days of the Web API Log unless told otherwise, and shows what is in it:
    /// requests that succeed and fail, by day, hour, event type, product and state, with the keys, machines and names that
    /// fail most. For the events log: events, features and values. For the objects log: who did what to which object.
    /// Needs no exporter that ran before.
    ///
    /// Example: CRYPTOLENS_TOKEN=... cryptolens-exporter report --days=7
    #[command(after_long_help = TOKEN_HELP)]
    Report(ReportArgs),

    /// Audit the seats of a floating license
    ///
    /// Shows who held seats and when, who was refused, and how long the license was at its limit or beyond it.
    ///
    /// Example: cryptolens-exporter audit seats --product=3349 --key=ICVLD-VVSZR-ZTICT-YKGXL --hours=24
    #[command(after_long_help = TOKEN_HELP)]
    Audit(AuditArgs),

    /// Export the entries of a log
    ///
    /// Writes entry after entry, oldest first, as NDJSON or CSV.
    ///
    /// Example: cryptolens-exporter export web-api --since=7d --output=requests.ndjson
    #[command(after_long_help = TOKEN_HELP)]
    Export(ExportArgs),

    /// Serve the stand-in for the Web API alone, for trying clients
    ///
    /// Serves the logs of an invented vendor, with history and live traffic, as the Web API does. A client takes
    /// http://127.0.0.1:10461/api for the URL, and any text for the token. What is simulated can be changed, and what a
    /// client should have seen can be asked, below http://127.0.0.1:10461/simulator.
    ///
    /// Example: cryptolens-exporter simulate --requests-per-minute=60 --fault=slow=0.1
    Simulate(SimulateArgs),
}

/// Flags of `serve`, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Where the file is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to reach the Web API.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to count.
    #[command(flatten)]
    pub counting: CountingArgs,
    /// How often to ask.
    #[command(flatten)]
    pub poll: PollArgs,
    /// How far back to read again.
    #[command(flatten)]
    pub overlap: OverlapArgs,
    /// Where to keep the counts.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Where to serve.
    #[command(flatten)]
    pub web: WebArgs,
    /// What to log, and how.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Flags of `check`, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArgs {
    /// Everything that `serve` takes.
    #[command(flatten)]
    pub serve: ServeArgs,

    /// Validate the configuration only, without asking the Web API
    ///
    /// For a deployment pipeline that has no access to the network. The token must still be there, and token files and
    /// CA file are still read.
    ///
    /// Default: false. Example: --config-only
    #[arg(
        long = "config-only",
        env = "CRYPTOLENS_CONFIG_ONLY",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
        help_heading = "Check"
    )]
    pub config_only: bool,
}

/// Flags of `demo`, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct DemoArgs {
    /// How often to ask.
    #[command(flatten)]
    pub poll: PollArgs,

    /// Directory of the ledger
    ///
    /// Is created if missing. Name one to see counts survive a restart.
    ///
    /// Default: a temporary directory that is removed at exit. Example: --storage.path=demo-data/
    #[arg(
        long = "storage.path",
        env = "CRYPTOLENS_STORAGE_PATH",
        value_name = "DIRECTORY",
        help_heading = "Storage"
    )]
    pub storage_path: Option<String>,

    /// Where to serve.
    #[command(flatten)]
    pub web: WebArgs,
    /// What to log, and how.
    #[command(flatten)]
    pub log: LogArgs,

    /// Seed of the simulated traffic
    ///
    /// A whole number. The same seed gives the same history.
    ///
    /// Default: a random one. Example: --seed=42
    #[arg(long = "seed", env = "CRYPTOLENS_SEED", value_name = "NUMBER", help_heading = "Simulation")]
    pub seed: Option<String>,
}

/// Where the configuration file is, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// YAML file with settings and accounts
    ///
    /// Needed for more than one account, for names of products and for names of state codes; everything else can also
    /// be given by flags or environment. Relative paths in the file are relative to the directory of the file. Unknown
    /// keys are errors.
    ///
    /// Default: none. Example: --config.file=/etc/cryptolens-exporter.yml
    #[arg(long = "config.file", env = "CRYPTOLENS_CONFIG_FILE", value_name = "FILE")]
    pub file: Option<String>,
}

/// How to reach the Web API, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Web API")]
pub struct ApiArgs {
    /// Base URL of the Web API
    ///
    /// An http or https URL without query, user name or password, with single slashes in its path.
    /// With http:// the token travels unencrypted, so a host other than this machine gives a
    /// warning. The proxy named in HTTPS_PROXY is used, except for what NO_PROXY lists.
    ///
    /// Default: https://api.cryptolens.io/api. Example: --api.url=http://localhost:8080/api
    #[arg(long = "api.url", env = "CRYPTOLENS_API_URL", value_name = "URL")]
    pub url: Option<String>,

    /// File that holds the access token
    ///
    /// White space around the token is ignored. The file is read again when it changes, so a token can be replaced
    /// without a restart. Not together with CRYPTOLENS_TOKEN, which holds the token itself.
    ///
    /// Default: none. Example: --api.token-file=/run/secrets/cryptolens-token
    #[arg(long = "api.token-file", env = "CRYPTOLENS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,

    /// Longest time that one request may take
    ///
    /// From connecting to the last byte of the answer; a duration between 1s and 10m.
    ///
    /// Default: 30s. Example: --api.timeout=1m
    #[arg(long = "api.timeout", env = "CRYPTOLENS_API_TIMEOUT", value_name = "DURATION")]
    pub timeout: Option<String>,

    /// PEM file with the certificate authorities to trust
    ///
    /// Instead of those of the system; for a proxy that terminates TLS.
    ///
    /// Default: the system's. Example: --api.ca-file=/etc/ssl/company-ca.pem
    #[arg(long = "api.ca-file", env = "CRYPTOLENS_API_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<String>,
}

/// What to count, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Counting")]
pub struct CountingArgs {
    /// Where counting starts
    ///
    /// One of: now (only what is logged from now on), all (everything the API still has), a duration such as 30d (that
    /// far back), a date such as 2026-01-31 (midnight UTC), or a time such as 2026-01-31T08:00:00Z. It is fixed at the
    /// first start and kept in the ledger; to start over, stop the exporter and delete the ledger.
    ///
    /// Default: now. Example: --since=30d
    #[arg(long = "since", env = "CRYPTOLENS_SINCE", value_name = "WHEN")]
    pub since: Option<String>,

    /// Logs to count
    ///
    /// A list, separated by commas: web_api (activations, deactivations, key creation ... with their outcome), events
    /// (what apps register: features used, payments), objects (who added, changed or deleted customers, products,
    /// licenses). The token needs the permission for each. Given again, the flag adds to the list.
    ///
    /// Default: web_api,events,objects. Example: --logs=web_api,events
    #[arg(long = "logs", env = "CRYPTOLENS_LOGS", value_name = "LIST", action = ArgAction::Append)]
    pub logs: Vec<String>,
}

/// How often to ask, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Polling")]
pub struct PollArgs {
    /// Time between two looks at a log
    ///
    /// A duration between 1s and 1d. Sets all three logs, except those whose own flag is given as well.
    ///
    /// Default: 15s for web_api, 60s for events and objects. Example: --poll.interval=30s
    #[arg(long = "poll.interval", env = "CRYPTOLENS_POLL_INTERVAL", value_name = "DURATION")]
    pub interval: Option<String>,

    /// Time between two looks at the Events Log
    ///
    /// A duration between 1s and 1d.
    ///
    /// Default: what --poll.interval says, else 60s. Example: --poll.interval.events=5m
    #[arg(long = "poll.interval.events", env = "CRYPTOLENS_POLL_INTERVAL_EVENTS", value_name = "DURATION")]
    pub interval_events: Option<String>,

    /// Time between two looks at the Object Log
    ///
    /// A duration between 1s and 1d.
    ///
    /// Default: what --poll.interval says, else 60s. Example: --poll.interval.objects=5m
    #[arg(long = "poll.interval.objects", env = "CRYPTOLENS_POLL_INTERVAL_OBJECTS", value_name = "DURATION")]
    pub interval_objects: Option<String>,
}

/// How far back to read again, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Polling")]
pub struct OverlapArgs {
    /// How far behind the newest entry each look reads again
    ///
    /// Entries can become visible out of order; one that shows up later than this is not counted, only reported. No
    /// entry is counted twice, however long the overlap. A duration between 0s and 24h.
    ///
    /// Default: 60s. Example: --poll.overlap=5m
    #[arg(long = "poll.overlap", env = "CRYPTOLENS_POLL_OVERLAP", value_name = "DURATION")]
    pub overlap: Option<String>,
}

/// Where to keep the counts, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageArgs {
    /// Directory of the ledger
    ///
    /// Holds ledger.db, from which the counts go on after a restart: put it on a disk that stays. Is created if
    /// missing. Only one process may use it at a time.
    ///
    /// Default: data/. Example: --storage.path=/var/lib/cryptolens-exporter
    #[arg(long = "storage.path", env = "CRYPTOLENS_STORAGE_PATH", value_name = "DIRECTORY")]
    pub path: Option<String>,

    /// What to do with a ledger that was written for another API address
    ///
    /// One of refuse, adopt and set-aside. The ledger records the address of the API that it was written for, so that
    /// the counts of two accounts, or of the demo and an account, are never added up. refuse ends with exit code 1;
    /// adopt goes on with it, for an API that has moved or is reached through a proxy now, but never with the demo's;
    /// set-aside renames it and begins a new one.
    ///
    /// Default: refuse. Example: --storage.foreign-ledger=adopt
    #[arg(long = "storage.foreign-ledger", env = "CRYPTOLENS_STORAGE_FOREIGN_LEDGER", value_name = "ACTION")]
    pub foreign_ledger: Option<String>,
}

/// Where to serve, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Web")]
pub struct WebArgs {
    /// Address to serve metrics, landing page and health on
    ///
    /// An IP address or localhost, and a port. Without an address, as in :10460, every address of the machine, of IPv4
    /// and of IPv6.
    ///
    /// Default: :10460. Example: --web.listen-address=localhost:10460
    #[arg(long = "web.listen-address", env = "CRYPTOLENS_WEB_LISTEN_ADDRESS", value_name = "ADDRESS")]
    pub listen_address: Option<String>,

    /// Path of the metrics
    ///
    /// Begins with a slash; neither / nor below /-/, which the landing page and the health checks use.
    ///
    /// Default: /metrics. Example: --web.telemetry-path=/cryptolens/metrics
    #[arg(long = "web.telemetry-path", env = "CRYPTOLENS_WEB_TELEMETRY_PATH", value_name = "PATH")]
    pub telemetry_path: Option<String>,
}

/// What to log, and how, as typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Least severity to log
    ///
    /// One of: error (an operator must act), warn (nothing is lost), info, debug (each request), trace.
    ///
    /// Default: info. Example: --log.level=debug
    #[arg(long = "log.level", env = "CRYPTOLENS_LOG_LEVEL", value_name = "LEVEL")]
    pub level: Option<String>,

    /// Format of log lines
    ///
    /// One of: logfmt, json.
    ///
    /// Default: logfmt. Example: --log.format=json
    #[arg(long = "log.format", env = "CRYPTOLENS_LOG_FORMAT", value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Parses what was typed.
///
/// # Errors
/// Bad usage, and also `--help` and `--version`, whose text the error carries: [`clap::Error::exit`] does the right
/// thing with each.
pub fn try_parse_from<I, T>(typed: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let typed: Vec<OsString> = typed.into_iter().map(Into::into).collect();
    refuse_typed_tokens(&typed)?;
    let matches = parser().try_get_matches_from(typed)?;
    refuse_two_beginnings(&matches)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut parser()))
}

/// A token that is typed, wherever and for whatever, would be in messages, names of files or
/// labels. Only the simulator takes one: an invented one.
fn refuse_typed_tokens(typed: &[OsString]) -> Result<(), clap::Error> {
    if typed.get(1).is_some_and(|command| command == "simulate") {
        return Ok(());
    }
    let Some(place) = typed.iter().position(|text| looks_like_a_token(&text.to_string_lossy())) else {
        return Ok(());
    };
    let message = format!(
        "argument {place} looks like an access token (not shown): every user of a machine can read command lines; hand it \
         over in {TOKEN_VARIABLE} or in a file named by --api.token-file"
    );
    Err(parser().error(ErrorKind::ValueValidation, message))
}

/// Several flags say where a report begins, and one overrides the variable of another; typed together they are a mistake.
fn refuse_two_beginnings(matches: &clap::ArgMatches) -> Result<(), clap::Error> {
    let Some((command, matches)) = matches.subcommand().filter(|(name, _)| BORROWERS.contains(name)) else {
        return Ok(());
    };
    let typed = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let ids = matches.ids().map(clap::Id::as_str);
    let beginnings: Vec<&str> = ids.filter(|id| BEGINNINGS.contains(id)).filter(typed).collect();
    if let [first, second, ..] = beginnings[..] {
        let message = format!("--{first} and --{second} both say where {command} begins: give one of them");
        return Err(parser().error(ErrorKind::ArgumentConflict, message));
    }
    Ok(())
}

/// The definition as it is written above: what each flag is called, and the variable of each.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// The definition as clap shall parse it: without the variables that [`crate::config`] reads, and without those that
/// are set to nothing, which count as absent.
fn parser() -> clap::Command {
    let definition = definition();
    let of_serve: Vec<String> = command_flags(&definition, "serve").filter_map(variable_of).collect();
    definition.mut_subcommands(|command| {
        let merged = MERGED_LATER.contains(&command.get_name());
        let borrows = BORROWERS.contains(&command.get_name());
        command.mut_args(|arg| {
            let Some(variable) = variable_of(&arg) else {
                return arg;
            };
            let merged_later = merged || (borrows && of_serve.contains(&variable));
            let empty = std::env::var_os(&variable).is_some_and(|value| value.is_empty());
            if empty || (merged_later && arg.get_action().takes_values()) {
                detach(arg, &variable)
            } else {
                arg.hide_env_values(true)
            }
        })
    })
}

/// Keeps clap from reading the variable, but not from showing it in the help.
fn detach(arg: Arg, variable: &str) -> Arg {
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let long = arg.get_long_help().map_or_else(|| short.clone(), ToString::to_string);
    arg.env(Resettable::Reset)
        .help(format!("{short} [env: {variable}]"))
        .long_help(format!("{long}\n\n[env: {variable}]"))
}

/// The reference of all flags in Markdown, one table for each group of each command.
#[must_use]
pub fn flags_markdown() -> String {
    let definition = definition();
    let mut page = String::from(
        "# Flags\n\nA flag overrides its environment variable, which overrides the configuration file, which overrides \
         the default.\nA variable that is set but empty counts as not set. The last of a repeated flag wins; one that \
         takes a list adds up.\n",
    );
    let shared: Vec<String> = command_flags(&definition, "serve").map(flag_name).collect();
    for command in definition.get_subcommands() {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {name}\n\n{about}.\n");
        if name == "check" {
            page.push_str("\nTakes every flag of `serve`, and:\n");
        }
        let mut group = None;
        for arg in command_flags(&definition, name) {
            if name == "check" && shared.contains(&flag_name(arg)) {
                continue;
            }
            let heading = arg.get_help_heading().unwrap_or("Options");
            if group != Some(heading) {
                let _ = write!(
                    page,
                    "\n### {heading}\n\n| flag | environment | default | |\n|---|---|---|---|\n"
                );
                if name == "serve" && heading == "Web API" {
                    let _ = writeln!(page, "| (no flag) | `{TOKEN_VARIABLE}` | none | The access token |");
                }
                group = Some(heading);
            }
            let variable = variable_of(arg);
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                flag_name(arg),
                variable.map_or_else(String::new, |name| format!("`{name}`")),
                cell(&default_of(arg)),
                cell(&arg.get_help().map(ToString::to_string).unwrap_or_default()),
            );
        }
    }
    page
}

/// Flags of one command without `--help`, which every command has.
fn command_flags<'a>(definition: &'a clap::Command, name: &str) -> impl Iterator<Item = &'a Arg> {
    definition
        .find_subcommand(name)
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .filter(|arg| arg.get_long().is_some_and(|long| long != "help"))
}

fn variable_of(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn flag_name(arg: &Arg) -> String {
    format!("--{}", arg.get_long().unwrap_or_default())
}

/// A default that clap applies, or the one that the help text tells because it applies only after the file.
fn default_of(arg: &Arg) -> String {
    if let [first, ..] = arg.get_default_values() {
        return first.to_string_lossy().into_owned();
    }
    let help = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
    let told = help.split_once("Default: ").map_or("", |(_, rest)| rest);
    let default = told.split_once(". Example: ").map_or(told, |(default, _)| default);
    default.trim().to_owned()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
        parser().debug_assert();
    }

    #[test]
    fn typed_values_stay_as_typed() {
        let cli = try_parse_from(["x", "serve", "--api.timeout=soon", "--since", "30d"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        assert_eq!(args.api.timeout.as_deref(), Some("soon"));
        assert_eq!(args.counting.since.as_deref(), Some("30d"));
        assert_eq!(args.api.url, None);
    }

    #[test]
    fn check_takes_the_flags_of_serve() {
        let cli = try_parse_from(["x", "check", "--logs=events", "--config-only"]).unwrap();
        let Command::Check(args) = cli.command else { panic!("not check") };
        assert!(args.config_only);
        assert_eq!(args.serve.counting.logs, ["events"]);
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins_except_that_lists_add_up() {
        let typed = ["x", "serve", "--since=1d", "--since=2d", "--logs=web_api", "--logs=events,objects"];
        let Command::Serve(args) = try_parse_from(typed).unwrap().command else { panic!("not serve") };
        assert_eq!(args.counting.since.as_deref(), Some("2d"));
        assert_eq!(args.counting.logs, ["web_api", "events,objects"]);
        let typed = ["x", "report", "--days=1", "--days=2", "--states=2014", "--states=2015,2024"];
        let Command::Report(args) = try_parse_from(typed).unwrap().command else { panic!("not report") };
        assert_eq!(args.states, [2014, 2015, 2024]);
        // Commands of commands too.
        try_parse_from(["x", "export", "web-api", "--since=1d", "--since=2d"]).unwrap();
    }

    #[test]
    fn a_token_is_never_a_flag() {
        for typed in ["--token=x", "--api.token=x"] {
            let error = try_parse_from(["x", "serve", typed]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{typed}");
        }
    }
}
