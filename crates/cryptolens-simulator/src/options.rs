//! What to simulate: flags of `simulate`, and the settings that follow from them.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "the documentation of flags is their help text, in which Markdown would show"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;

use super::faults::{Fault, kinds_help};
use super::method::Method;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As far back as history may reach; every second of it takes ids.
const LONGEST_HISTORY: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// What to simulate. The traffic is a pure function of the first six settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Decides about everything that is random.
    pub seed: u64,
    /// When the logs begin, Unix seconds.
    pub start: i64,
    /// Mean rate of the Web API Log. The Events Log has a third of it, the Object Log a sixtieth. 0 for empty logs.
    pub requests_per_minute: f64,
    /// Ids of each log are at or above this.
    pub first_id: i64,
    /// Part of the rows that show up late, 0 to 1.
    pub late_fraction: f64,
    /// How late they show up at most; whole seconds.
    pub late_max: Duration,
    /// How long the Events Log and the Object Log keep a row; `None` for ever.
    pub retention: Option<Duration>,
    /// The only token that is accepted; `None` for any that is not empty.
    pub token: Option<String>,
    /// Methods that the token may not call.
    pub denied: Vec<Method>,
    /// Whether the token has a key lock: GetWebAPILog then needs ProductId and Key.
    pub key_lock: bool,
    /// What goes wrong from the beginning.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Thirty days of history and live traffic of one request a minute, as `simulate` has without flags.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            start: Utc::now().timestamp() - seconds(30 * DAY),
            requests_per_minute: 1.0,
            // The history of the defaults crosses 2^31, where clients with 32-bit cursors break.
            first_id: 2_100_000_000,
            late_fraction: 0.01,
            late_max: Duration::from_secs(30),
            retention: None,
            token: None,
            denied: Vec::new(),
            key_lock: false,
            faults: Vec::new(),
        }
    }

    /// Empty logs, for rows that a test hands in.
    pub fn empty() -> Self {
        Self { requests_per_minute: 0.0, ..Self::new(1) }
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Flags of `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Address to serve on
    ///
    /// An IP address or localhost, and a port; port 0 takes a free one. The first line of the output tells which. Whoever
    /// reaches the address can also change what is simulated, so keep it on this machine.
    ///
    /// Example: --listen-address=localhost:8080
    #[arg(
        long = "listen-address",
        env = "CRYPTOLENS_SIMULATE_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:10461",
        value_parser = listen_address,
        help_heading = "Web"
    )]
    pub listen_address: SocketAddr,

    /// Seed of everything that is random
    ///
    /// A whole number. The same seed and --start give the same logs, in every process.
    ///
    /// Example: --seed=42
    #[arg(
        long = "seed",
        env = "CRYPTOLENS_SIMULATE_SEED",
        value_name = "NUMBER",
        default_value_t = 1,
        help_heading = "Traffic"
    )]
    pub seed: u64,

    /// Time at which the logs begin
    ///
    /// A date such as 2026-01-31 (midnight UTC), or a time such as 2026-01-31T08:00:00Z, at most ten years ago.
    ///
    /// Default: --history before now. Example: --start=2026-01-01
    #[arg(
        long = "start",
        env = "CRYPTOLENS_SIMULATE_START",
        value_name = "TIME",
        value_parser = start_time,
        help_heading = "Traffic"
    )]
    pub start: Option<DateTime<Utc>>,

    /// How much has already happened when the simulator starts
    ///
    /// A duration of at most ten years. Not used if --start is given.
    ///
    /// Example: --history=90d
    #[arg(
        long = "history",
        env = "CRYPTOLENS_SIMULATE_HISTORY",
        value_name = "DURATION",
        default_value = "30d",
        value_parser = history,
        help_heading = "Traffic"
    )]
    pub history: Duration,

    /// Mean number of requests a minute in the Web API Log
    ///
    /// A number between 0 and 100000; over a whole week, as nights and weekends are quiet. Higher means more customers. The
    /// Events Log has a third of it, the Object Log a sixtieth. 0 leaves the logs empty, for rows handed in at
    /// /simulator/rows.
    ///
    /// Example: --requests-per-minute=60
    #[arg(
        long = "requests-per-minute",
        env = "CRYPTOLENS_SIMULATE_REQUESTS_PER_MINUTE",
        value_name = "NUMBER",
        default_value_t = 1.0,
        value_parser = requests_per_minute,
        help_heading = "Traffic"
    )]
    pub requests_per_minute: f64,

    /// Lowest id of each log
    ///
    /// A whole number between 1 and 2^62. The default lets a month of history cross 2^31, which clients with short
    /// integers do not survive.
    ///
    /// Example: --first-id=5000000000
    #[arg(
        long = "first-id",
        env = "CRYPTOLENS_SIMULATE_FIRST_ID",
        value_name = "ID",
        default_value_t = 2_100_000_000,
        value_parser = clap::value_parser!(i64).range(1..=1 << 62),
        help_heading = "Traffic"
    )]
    pub first_id: i64,

    /// Part of the rows that show up late
    ///
    /// A number between 0 and 1. A late row appears below rows with a higher id that are already there.
    ///
    /// Example: --late-fraction=0.1
    #[arg(
        long = "late-fraction",
        env = "CRYPTOLENS_SIMULATE_LATE_FRACTION",
        value_name = "NUMBER",
        default_value_t = 0.01,
        value_parser = fraction,
        help_heading = "Traffic"
    )]
    pub late_fraction: f64,

    /// How late rows show up at most
    ///
    /// A duration between 0s and 1d, in whole seconds.
    ///
    /// Example: --late-max=2m
    #[arg(
        long = "late-max",
        env = "CRYPTOLENS_SIMULATE_LATE_MAX",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = late_max,
        help_heading = "Traffic"
    )]
    pub late_max: Duration,

    /// How long the Events Log and the Object Log keep a row
    ///
    /// A duration. The real logs keep theirs for 30 days at least; the Web API Log keeps everything.
    ///
    /// Default: for ever. Example: --retention=30d
    #[arg(
        long = "retention",
        env = "CRYPTOLENS_SIMULATE_RETENTION",
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        help_heading = "Traffic"
    )]
    pub retention: Option<Duration>,

    /// The only access token that is accepted
    ///
    /// An invented one: a command line is no place for a real token.
    ///
    /// Default: any but an empty one. Example: --token=letmein
    #[arg(long = "token", env = "CRYPTOLENS_SIMULATE_TOKEN", value_name = "TOKEN", help_heading = "Access")]
    pub token: Option<String>,

    /// Method that the token may not call
    ///
    /// One of: GetWebAPILog, GetEvents, GetObjectLog, GetProducts, GetKey, RegisterEvent. Can be given several times, or
    /// with several methods between commas.
    ///
    /// Default: none. Example: --deny=GetObjectLog
    #[arg(
        long = "deny",
        env = "CRYPTOLENS_SIMULATE_DENY",
        value_name = "METHOD",
        value_delimiter = ',',
        help_heading = "Access"
    )]
    pub deny: Vec<Method>,

    /// Give the token a key lock
    ///
    /// GetWebAPILog then needs ProductId and Key, as with a token that is made for applications.
    ///
    /// Default: false. Example: --key-lock
    #[arg(
        long = "key-lock",
        env = "CRYPTOLENS_SIMULATE_KEY_LOCK",
        action = clap::ArgAction::SetTrue,
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Access"
    )]
    pub key_lock: bool,

    /// Something that goes wrong
    #[arg(
        long = "fault",
        env = "CRYPTOLENS_SIMULATE_FAULT",
        value_name = "KIND[:VALUE][=PROBABILITY]",
        value_delimiter = ',',
        long_help = fault_help(),
        help_heading = "Faults"
    )]
    pub fault: Vec<Fault>,
}

fn fault_help() -> String {
    format!(
        "Something that goes wrong\n\n\
         The kind, its value, and how likely it is to hit a request, 0 to 1 (1 if not given). Can be given several times, \
         or with several faults between commas; the first one that applies and hits is taken. They can be changed at \
         /simulator/faults later. The kinds, with what their value means and its default:\n\n{}\n\n\
         Default: none. Example: --fault=access_denied:403=0.1 --fault=hang=0.01",
        kinds_help()
    )
}

impl SimulateArgs {
    pub(super) fn options(self) -> Options {
        let start = self.start.unwrap_or_else(|| Utc::now() - self.history);
        Options {
            seed: self.seed,
            start: start.timestamp(),
            requests_per_minute: self.requests_per_minute,
            first_id: self.first_id,
            late_fraction: self.late_fraction,
            late_max: self.late_max,
            retention: self.retention,
            token: self.token,
            denied: self.deny,
            key_lock: self.key_lock,
            faults: self.fault,
        }
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    address.ok_or("an address and a port, such as 127.0.0.1:10461 or localhost:0")
}

fn start_time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let date =
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let time = date
        .or_else(|_| text.parse())
        .map_err(|_| "a date such as 2026-01-31, or a time such as 2026-01-31T08:00:00Z")?;
    if time < Utc::now() - LONGEST_HISTORY {
        return Err("more than ten years ago");
    }
    Ok(time)
}

fn history(text: &str) -> Result<Duration, &'static str> {
    duration_up_to(text, LONGEST_HISTORY).ok_or("a duration of at most ten years, such as 30d")
}

fn late_max(text: &str) -> Result<Duration, &'static str> {
    duration_up_to(text, DAY).ok_or("a duration between 0s and 1d, such as 30s")
}

fn duration_up_to(text: &str, most: Duration) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| *duration <= most)
}

fn requests_per_minute(text: &str) -> Result<f64, &'static str> {
    number_up_to(text, 100_000.0).ok_or("a number between 0 and 100000")
}

fn fraction(text: &str) -> Result<f64, &'static str> {
    number_up_to(text, 1.0).ok_or("a number between 0 and 1")
}

fn number_up_to(text: &str, most: f64) -> Option<f64> {
    text.parse().ok().filter(|number| (0.0..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::faults::FaultKind;
    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(flags: &[&str]) -> Result<Options, clap::Error> {
        Ok(Typed::try_parse_from(["x"].iter().chain(flags))?.args.options())
    }

    #[test]
    fn without_flags_the_defaults_of_the_library_hold() {
        let typed = parse(&[]).unwrap();
        let defaults = Options::new(1);
        assert!((typed.start - defaults.start).abs() <= 2);
        assert_eq!(typed, Options { start: typed.start, ..defaults });
    }

    #[test]
    fn flags_are_understood() {
        let typed = parse(&[
            "--start=2026-01-31",
            "--late-max=2m",
            "--deny=getevents,GetObjectLog",
            "--fault=access_denied:403=0.5,hang",
        ]);
        let typed = typed.unwrap();
        assert_eq!(typed.start, 1_769_817_600);
        assert_eq!(typed.late_max, Duration::from_secs(120));
        assert_eq!(typed.denied, [Method::GetEvents, Method::GetObjectLog]);
        let fault = Fault::new(FaultKind::AccessDenied).value(403).probability(0.5);
        assert_eq!(typed.faults, [fault, Fault::new(FaultKind::Hang)]);
    }

    #[test]
    fn bad_flags_are_refused() {
        for flag in [
            "--listen-address=here",
            "--seed=-1",
            "--start=yesterday",
            "--start=1990-01-01",
            "--history=200y",
            "--requests-per-minute=-1",
            "--requests-per-minute=nan",
            "--first-id=0",
            "--late-fraction=2",
            "--late-max=2d",
            "--deny=GetKeys",
            "--fault=boom",
        ] {
            assert_eq!(parse(&[flag]).unwrap_err().kind(), clap::error::ErrorKind::ValueValidation, "{flag}");
        }
    }
}
