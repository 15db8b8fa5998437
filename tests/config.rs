//! The configuration as its users meet it: each fixture of `tests/config/` is one file with one mistake and the exact
//! message, or one good file and the settings it gives.
//!
//! A fixture's first lines may say `# env: NAME=VALUE` and `# args: --flag=value ...`; nothing else is in the
//! environment. After a wanted change, `UPDATE_FIXTURES=1 cargo test --test config` writes the expectations anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use cryptolens_exporter::cli::{self, Command, ServeArgs};
use cryptolens_exporter::config::{
    self, Environment, ForeignLedger, ListenAddress, LogFormat, LogLevel, Since,
};

/// No fixture may get this into a message; the ones with secrets use these texts for them.
const SECRETS: [&str; 2] = ["never-shown", "WyI"];

#[derive(Default)]
struct MapEnvironment {
    variables: BTreeMap<String, String>,
}

impl MapEnvironment {
    fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { variables: variables.iter().map(owned).collect() }
    }
}

impl Environment for MapEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

fn serve_args(typed: &[&str]) -> ServeArgs {
    let line = ["cryptolens-exporter", "serve"].iter().chain(typed);
    let parsed = cli::try_parse_from(line).unwrap();
    let Command::Serve(args) = parsed.command else { panic!("not serve") };
    args
}

/// What loading a fixture says, good or bad.
fn outcome(fixture: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(fixture).unwrap();
    let mut environment = MapEnvironment::default();
    let mut typed = vec!["--config.file", fixture.to_str().unwrap()];
    for line in text.lines() {
        if let Some((name, value)) = line.strip_prefix("# env: ").and_then(|pair| pair.split_once('=')) {
            environment.variables.insert(name.to_owned(), value.to_owned());
        }
        typed.extend(line.strip_prefix("# args: ").into_iter().flat_map(str::split_whitespace));
    }
    match config::load(&serve_args(&typed), &environment) {
        Ok(settings) => Ok(format!("{settings:#?}\n")),
        Err(error) => Err(format!("{error}\n")),
    }
}

/// Fixtures by the end of their name, as paths relative to the crate: messages hold them.
fn fixtures(ending: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir("tests/config")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures *{ending}");
    paths
}

/// Compares with the file beside the fixture, and lists what differs.
fn compare(fixture: &Path, actual: &str, differences: &mut String) {
    let expected_path = fixture.with_extension("txt");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&expected_path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_else(|error| format!("({error})\n"));
    if expected != actual {
        let fixture = fixture.display();
        write!(differences, "\n{fixture}\n--- expected\n{expected}--- actual\n{actual}").unwrap();
    }
}

#[test]
fn every_mistake_has_its_message() {
    let mut differences = String::new();
    for fixture in fixtures(".bad.yml") {
        let message = outcome(&fixture).expect_err(&format!("{} is accepted", fixture.display()));
        for secret in SECRETS {
            assert!(!message.contains(secret), "{}: a secret in {message}", fixture.display());
        }
        compare(&fixture, &message, &mut differences);
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn good_files_give_their_settings() {
    let mut differences = String::new();
    for fixture in fixtures(".good.yml") {
        let settings = outcome(&fixture).unwrap_or_else(|message| panic!("{}: {message}", fixture.display()));
        for secret in SECRETS {
            assert!(!settings.contains(secret), "{}: a secret in {settings}", fixture.display());
        }
        compare(&fixture, &settings, &mut differences);
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn defaults_without_file_are_those_of_the_help() {
    let settings =
        config::load(&serve_args(&[]), &MapEnvironment::of(&[("CRYPTOLENS_TOKEN", "token")])).unwrap();
    let page = cli::flags_markdown();
    let default = |flag: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{flag}` "))).unwrap();
        row.split('|').nth(3).unwrap().trim().to_owned()
    };
    assert_eq!(default("--api.url"), settings.api.url.as_str());
    assert_eq!(default("--api.timeout"), humantime::format_duration(settings.api.timeout).to_string());
    assert_eq!(default("--poll.overlap"), format!("{}s", settings.overlap.as_secs()));
    assert_eq!(default("--storage.path"), settings.storage_path.to_str().unwrap());
    assert_eq!(
        (default("--web.listen-address").as_str(), settings.web.listen),
        (":10460", ListenAddress::default())
    );
    assert_eq!(
        (default("--storage.foreign-ledger").as_str(), settings.foreign_ledger),
        ("refuse", ForeignLedger::Refuse)
    );
    assert_eq!(default("--web.telemetry-path"), settings.web.telemetry_path);
    assert_eq!((default("--since").as_str(), settings.accounts[0].since), ("now", Since::Now));
    assert_eq!((default("--log.level").as_str(), settings.log.level), ("info", LogLevel::Info));
    assert_eq!((default("--log.format").as_str(), settings.log.format), ("logfmt", LogFormat::Logfmt));
    let logs: Vec<&str> = settings.accounts[0].logs.iter().map(|log| log.name()).collect();
    assert_eq!(default("--logs"), logs.join(","));
    let intervals = settings.accounts[0].intervals;
    assert_eq!(
        default("--poll.interval"),
        format!(
            "{}s for web_api, {}s for events and objects",
            intervals.web_api.as_secs(),
            intervals.events.as_secs()
        )
    );
    assert_eq!(settings.accounts.len(), 1);
    assert_eq!(settings.accounts[0].name.as_str(), "default");
    assert!(settings.warnings.is_empty());
}

#[test]
fn a_missing_file_is_told_with_who_named_it() {
    let environment = MapEnvironment::of(&[("CRYPTOLENS_CONFIG_FILE", "no/such.yml")]);
    let error = config::load(&serve_args(&[]), &environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CRYPTOLENS_CONFIG_FILE (environment variable of --config.file): cannot read no/such.yml: no such file"
    );
    let error = config::load(&serve_args(&["--config.file=no/such.yml"]), &environment).unwrap_err();
    assert_eq!(error.to_string(), "--config.file: cannot read no/such.yml: no such file");
}

#[test]
fn demo_takes_its_settings_from_flags_and_variables() {
    let demo = |typed: &[&str], variables: &[(&str, &str)]| {
        let line = ["cryptolens-exporter", "demo"].iter().chain(typed);
        let Command::Demo(args) = cli::try_parse_from(line).unwrap().command else { panic!("not demo") };
        config::load_demo(&args, &MapEnvironment::of(variables))
    };
    let settings =
        demo(&["--seed=7"], &[("CRYPTOLENS_SEED", "8"), ("CRYPTOLENS_WEB_LISTEN_ADDRESS", ":1")]).unwrap();
    assert_eq!((settings.seed, settings.web.listen.port(), settings.storage_path), (Some(7), 1, None));
    let error = demo(&["--seed=x"], &[]).unwrap_err();
    assert_eq!(error.to_string(), "--seed: found \"x\", expected a whole number from 0 on, such as 42");
}

/// The variables are declared for the help by the definition, and read by the merge: both must mean the same.
#[test]
fn each_variable_of_the_help_is_read() {
    let definition = cli::definition();
    for command in ["serve", "demo"] {
        let flags = definition.find_subcommand(command).unwrap().get_arguments();
        for flag in flags.filter(|flag| flag.get_long() != Some("help")) {
            let long = flag.get_long().unwrap();
            let variable = flag.get_env().unwrap().to_str().unwrap();
            // Bad for each of them: as value, and as path because no directory has this name.
            let bad = if long == "storage.path" { " " } else { "no such\u{7}" };
            let environment = MapEnvironment::of(&[(variable, bad)]);
            let error = if command == "serve" {
                config::load(&serve_args(&[]), &environment).map(|_| ()).unwrap_err()
            } else {
                let parsed = cli::try_parse_from(["cryptolens-exporter", "demo"]).unwrap();
                let Command::Demo(args) = parsed.command else { panic!("not demo") };
                config::load_demo(&args, &environment).map(|_| ()).unwrap_err()
            };
            let expected = format!("{variable} (environment variable of --{long})");
            assert!(error.to_string().contains(&expected), "{command} --{long}: {error}");
        }
    }
}

#[test]
fn every_flag_has_a_variable_a_group_and_a_default() {
    for command in cli::definition().get_subcommands() {
        for flag in command.get_arguments().filter(|flag| flag.get_long().is_some_and(|long| long != "help"))
        {
            let name = format!("{} --{}", command.get_name(), flag.get_long().unwrap());
            assert!(
                flag.get_env().is_some_and(|env| env.to_str().unwrap().starts_with("CRYPTOLENS_")),
                "{name}"
            );
            assert!(flag.get_help_heading().is_some(), "{name}: no group");
            let help = flag.get_long_help().unwrap().to_string();
            let default = !flag.get_default_values().is_empty() || help.contains("Default: ");
            assert!(default && help.contains("Example: --"), "{name}: {help}");
        }
    }
}

#[test]
fn the_page_of_flags_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/flags.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, cli::flags_markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        written,
        cli::flags_markdown(),
        "run `UPDATE_GOLDEN=1 cargo test` to write docs/flags.md again"
    );
}

#[test]
fn help_renders_for_every_command() {
    let names: Vec<String> =
        cli::definition().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in &names {
        for flag in ["--help", "-h"] {
            let error = cli::try_parse_from(["cryptolens-exporter", name, flag]).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (clap::error::ErrorKind::DisplayHelp, 0), "{name}");
            let help = error.to_string();
            assert!(help.contains("Usage: cryptolens-exporter"), "{help}");
            if name == "serve" {
                assert!(help.contains("[env: CRYPTOLENS_TOKEN_FILE]"), "{help}");
            }
        }
    }
    let error = cli::try_parse_from(["cryptolens-exporter", "--version"]).unwrap_err();
    assert_eq!(error.exit_code(), 0);
    let version = error.to_string();
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("(commit "), "{version}");
}

#[test]
fn the_flag_reference_lists_every_flag_of_serve() {
    let page = cli::flags_markdown();
    for (flag, variable) in [
        ("--config.file", "CRYPTOLENS_CONFIG_FILE"),
        ("--api.url", "CRYPTOLENS_API_URL"),
        ("--api.token-file", "CRYPTOLENS_TOKEN_FILE"),
        ("--api.timeout", "CRYPTOLENS_API_TIMEOUT"),
        ("--api.ca-file", "CRYPTOLENS_API_CA_FILE"),
        ("--since", "CRYPTOLENS_SINCE"),
        ("--logs", "CRYPTOLENS_LOGS"),
        ("--poll.interval", "CRYPTOLENS_POLL_INTERVAL"),
        ("--poll.interval.events", "CRYPTOLENS_POLL_INTERVAL_EVENTS"),
        ("--poll.interval.objects", "CRYPTOLENS_POLL_INTERVAL_OBJECTS"),
        ("--poll.overlap", "CRYPTOLENS_POLL_OVERLAP"),
        ("--storage.path", "CRYPTOLENS_STORAGE_PATH"),
        ("--storage.foreign-ledger", "CRYPTOLENS_STORAGE_FOREIGN_LEDGER"),
        ("--web.listen-address", "CRYPTOLENS_WEB_LISTEN_ADDRESS"),
        ("--web.telemetry-path", "CRYPTOLENS_WEB_TELEMETRY_PATH"),
        ("--log.level", "CRYPTOLENS_LOG_LEVEL"),
        ("--log.format", "CRYPTOLENS_LOG_FORMAT"),
    ] {
        assert!(page.contains(&format!("| `{flag}` | `{variable}` |")), "{flag}\n{page}");
    }
}
