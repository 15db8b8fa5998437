//! `simulate`: serves the simulated Web API alone.

use std::net::{Ipv4Addr, SocketAddr};

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use cryptolens_simulator::{AggregateOptions, InventedTexts, Options};

use super::failure::CommandFailure;
use crate::config::setting::Setting;
use crate::config::value::SourcedValue;
use crate::config::{FlagValues, Problem, Sources, SystemEnvironment, table, value};
use crate::daemon;

/// As far back as history may reach, in days; every second of it takes ids.
const LONGEST_HISTORY_DAYS: i64 = 3660;

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::without_file(flags, &SystemEnvironment);
    let options = options(&mut sources);
    let (address, options) = sources.finish(options)?;
    cryptolens_simulator::run(address, options, daemon::shutdown_signal())
        .await
        .map_err(CommandFailure::failed)
}

/// The kinds of faults with what they do, one a line, for the help page.
#[must_use]
pub fn fault_kinds() -> String {
    cryptolens_simulator::kinds_help()
}

fn options(sources: &mut Sources<'_>) -> Option<(SocketAddr, Options)> {
    let address = sources.get(&table::SIMULATE_LISTEN_ADDRESS, listen_address);
    let seed = sources.get(&table::SIMULATE_SEED, value::integer);
    let start = sources.get(&table::SIMULATE_START, start_time);
    let history = sources.get(&table::SIMULATE_HISTORY, value::duration);
    let requests_per_minute = sources.get(&table::SIMULATE_REQUESTS_PER_MINUTE, value::number);
    let first_id = sources.get(&table::SIMULATE_FIRST_ID, value::integer);
    let late_fraction = sources.get(&table::SIMULATE_LATE_FRACTION, value::number);
    let late_max = sources.get(&table::SIMULATE_LATE_MAX, value::duration);
    let retention = sources.get(&table::SIMULATE_RETENTION, value::duration);
    let token = sources.get(&table::SIMULATE_TOKEN, value::not_blank);
    let denied = sources.get(&table::SIMULATE_DENY, value::list);
    let key_lock = sources.get(&table::SIMULATE_KEY_LOCK, value::switch);
    let faults = sources.get(&table::SIMULATE_FAULT, value::list);
    let start = start.or_else(|| Some(Utc::now() - history?))?;
    let options = Options {
        seed: seed?,
        start: start.timestamp(),
        requests_per_minute: requests_per_minute?,
        first_id: first_id?,
        late_fraction: late_fraction?,
        late_max: late_max?,
        retention,
        token,
        denied: denied.unwrap_or_default(),
        key_lock: key_lock?,
        faults: faults.unwrap_or_default(),
        identities: InventedTexts::Canaries,
        aggregates: AggregateOptions::default(),
    };
    Some((address?, options))
}

fn listen_address(found: &SourcedValue, setting: &Setting) -> Result<SocketAddr, Problem> {
    let address = match found.text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => found.text.parse().ok(),
    };
    address.ok_or_else(|| found.bad(setting.expected))
}

fn start_time(found: &SourcedValue, setting: &Setting) -> Result<DateTime<Utc>, Problem> {
    let text = found.text.trim();
    let date =
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let time: Option<DateTime<Utc>> = date.ok().or_else(|| text.parse().ok());
    let earliest = Utc::now() - Duration::days(LONGEST_HISTORY_DAYS);
    time.filter(|time| *time >= earliest).ok_or_else(|| found.bad(setting.expected))
}

#[cfg(test)]
mod tests {
    use cryptolens_simulator::{Fault, FaultKind, Method};

    use super::*;
    use crate::config::Variables;

    fn parse(typed: &[(&Setting, &str)]) -> Result<Options, String> {
        let mut flags = FlagValues::default();
        for (setting, text) in typed {
            flags.insert(setting, vec![(*text).to_owned()]);
        }
        let variables = Variables::default();
        let mut sources = Sources::without_file(&flags, &variables);
        let options = options(&mut sources);
        sources.finish(options).map(|(_, options)| options).map_err(|error| error.to_string())
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
            (&table::SIMULATE_START, "2026-01-31"),
            (&table::SIMULATE_LATE_MAX, "2m"),
            (&table::SIMULATE_DENY, "getevents,GetObjectLog"),
            (&table::SIMULATE_FAULT, "access_denied:403=0.5,hang"),
        ]);
        let typed = typed.unwrap();
        assert_eq!(typed.start, 1_769_817_600);
        assert_eq!(typed.late_max, std::time::Duration::from_secs(120));
        assert_eq!(typed.denied, [Method::GetEvents, Method::GetObjectLog]);
        let fault = Fault::new(FaultKind::AccessDenied).value(403).probability(0.5);
        assert_eq!(typed.faults, [fault, Fault::new(FaultKind::Hang)]);
    }

    #[test]
    fn bad_flags_are_refused() {
        for (setting, text) in [
            (&table::SIMULATE_LISTEN_ADDRESS, "here"),
            (&table::SIMULATE_SEED, "-1"),
            (&table::SIMULATE_START, "yesterday"),
            (&table::SIMULATE_START, "1990-01-01"),
            (&table::SIMULATE_HISTORY, "200y"),
            (&table::SIMULATE_REQUESTS_PER_MINUTE, "-1"),
            (&table::SIMULATE_REQUESTS_PER_MINUTE, "nan"),
            (&table::SIMULATE_FIRST_ID, "0"),
            (&table::SIMULATE_LATE_FRACTION, "2"),
            (&table::SIMULATE_LATE_MAX, "2d"),
            (&table::SIMULATE_DENY, "GetNothing"),
            (&table::SIMULATE_FAULT, "boom"),
        ] {
            let error = parse(&[(setting, text)]).unwrap_err();
            assert!(error.starts_with(&format!("--{}: found", setting.flag)), "{error}");
        }
    }
}
