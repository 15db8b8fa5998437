//! The configuration as its users meet it: each fixture of `tests/config/` is one file with one
//! mistake and the exact message, or one good file and the settings it gives.
//!
//! A fixture's first lines may say `# env: NAME=VALUE` and `# args: --flag=value ...`; nothing else
//! is in the environment. After a wanted change, `UPDATE_EXPECT=1 cargo test --test config`
//! writes the expectations anew.
//!
//! The settings table is held against everything that is made from it: the help pages, the
//! reference, the schema, and the commands that read its settings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cryptolens_exporter::cli::{self, CommandLine};
use cryptolens_exporter::config::setting::{CommandName, DefaultValue, Setting, ValueKind};
use cryptolens_exporter::config::table::{self, COMMANDS, SETTINGS};
use cryptolens_exporter::config::{self, Environment, FlagValues, example, reference, schema};
use expect_test::expect_file;

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

/// The flags of a command line.
fn flags(command: &str, typed: &[&str]) -> FlagValues {
    let line = ["cryptolens-exporter", command].into_iter().chain(typed.iter().copied());
    let CommandLine::Run(typed) = cli::parse(line).unwrap() else { panic!("no command") };
    typed.flags
}

/// The settings or the error of a fixture.
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
    match config::serve(&flags("serve", &typed), &environment) {
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

/// Compares with the file beside the fixture.
fn compare(fixture: &Path, actual: &str) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    expect_file![manifest.join(fixture.with_extension("txt"))].assert_eq(actual);
}

#[test]
fn every_mistake_has_its_message() {
    for fixture in fixtures(".bad.yml") {
        let message = outcome(&fixture).expect_err(&format!("{} is accepted", fixture.display()));
        for secret in SECRETS {
            assert!(!message.contains(secret), "{}: a secret in {message}", fixture.display());
        }
        compare(&fixture, &message);
    }
}

#[test]
fn good_files_give_their_settings() {
    for fixture in fixtures(".good.yml") {
        let settings = outcome(&fixture).unwrap_or_else(|message| panic!("{}: {message}", fixture.display()));
        for secret in SECRETS {
            assert!(!settings.contains(secret), "{}: a secret in {settings}", fixture.display());
        }
        compare(&fixture, &settings);
    }
}

/// A default that is a value is read as a value is. The defaults in words are held here.
#[test]
fn defaults_without_file_are_those_of_the_table() {
    let environment = MapEnvironment::of(&[("CRYPTOLENS_TOKEN", "token")]);
    let settings = config::serve(&flags("serve", &[]), &environment).unwrap();
    let typed: Vec<String> = table::of_command(CommandName::Serve)
        .filter(|setting| setting.is_typed() && !matches!(setting.kind, ValueKind::Switch))
        .filter_map(|setting| match setting.default {
            DefaultValue::Is(value) => Some(format!("--{}={value}", setting.flag)),
            DefaultValue::Means(_) => None,
        })
        .collect();
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    assert!(typed.len() > 8, "{typed:?}");
    let same = config::serve(&flags("serve", &typed), &environment).unwrap();
    assert_eq!(format!("{settings:?}"), format!("{same:?}"));

    let intervals = settings.accounts[0].intervals;
    assert_eq!(
        table::POLL_INTERVAL.default.shown(),
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
fn a_file_that_is_missing_has_a_message_with_who_named_it() {
    let environment = MapEnvironment::of(&[("CRYPTOLENS_CONFIG_FILE", "no/such.yml")]);
    let error = config::serve(&flags("serve", &[]), &environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CRYPTOLENS_CONFIG_FILE (environment variable of --config.file): cannot read no/such.yml: no such file"
    );
    let error = config::serve(&flags("serve", &["--config.file=no/such.yml"]), &environment).unwrap_err();
    assert_eq!(error.to_string(), "--config.file: cannot read no/such.yml: no such file");
}

#[test]
fn demo_takes_its_settings_from_flags_and_variables() {
    let demo = |typed: &[&str], variables: &[(&str, &str)]| {
        config::demo(&flags("demo", typed), &MapEnvironment::of(variables))
    };
    let settings =
        demo(&["--seed=7"], &[("CRYPTOLENS_SEED", "8"), ("CRYPTOLENS_WEB_LISTEN_ADDRESS", ":1")]).unwrap();
    assert_eq!((settings.seed, settings.web.listen[0].port(), settings.storage_path), (Some(7), 1, None));
    let pushes = |typed: &[&str], variables: &[(&str, &str)]| {
        demo(typed, variables).unwrap().otlp.map(|otlp| otlp.endpoint.to_string())
    };
    assert_eq!(pushes(&[], &[]), None);
    let everything = pushes(&["--push-to=http://localhost:9090/"], &[]);
    assert_eq!(everything.as_deref(), Some("http://localhost:9090/api/v1/otlp/v1/metrics"));
    let history = demo(&["--push-to=http://localhost:9090/"], &[]).unwrap().history.remote_write;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].url.as_str(), "http://localhost:9090/api/v1/write");
    let own =
        pushes(&["--push-to=http://localhost:9090"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318")]);
    assert_eq!(own.as_deref(), Some("http://other:4318/v1/metrics"));
    let error = demo(&["--push-to=there"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--push-to: found \"there\", expected "), "{error}");
    let error = demo(&["--seed=x"], &[]).unwrap_err();
    assert_eq!(error.to_string(), "--seed: found \"x\", expected a whole number from 0 on, such as 42");
}

#[test]
fn a_reload_names_the_settings_that_need_a_restart() {
    let load = |typed: &[&str], variables: &[(&str, &str)]| {
        let mut variables = variables.to_vec();
        variables.push(("CRYPTOLENS_TOKEN", "token"));
        config::serve(&flags("serve", typed), &MapEnvironment::of(&variables)).unwrap().restart
    };
    let old = load(&[], &[]);
    assert_eq!(old.changed(&load(&["--web.listen-address=:10460", "--poll.overlap=2m"], &[])), [""; 0]);
    let new = load(&["--log.level=debug"], &[("CRYPTOLENS_STORAGE_PATH", "elsewhere")]);
    assert_eq!(old.changed(&new), ["log.level", "storage.path"]);
    for setting in table::of_command(CommandName::Serve) {
        let named = new.changed(&old).contains(&setting.flag);
        assert!(!named || setting.restart, "{}", setting.flag);
    }
}

fn binary(command: CommandName, variables: &[(&str, &str)], typed: &[&str]) -> (Option<i32>, String) {
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"));
    process.env_clear().arg(command.name()).args(arguments(command)).args(typed);
    let output = process.envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The arguments that a command needs.
fn arguments(command: CommandName) -> &'static [&'static str] {
    match command {
        CommandName::Audit => &["seats"],
        CommandName::Export => &["events"],
        _ => &[],
    }
}

const WEB_FILES: [&Setting; 5] = [
    &table::WEB_CONFIG_FILE,
    &table::HEALTHCHECK_PASSWORD_FILE,
    &table::HEALTHCHECK_CA_FILE,
    &table::HEALTHCHECK_CERT_FILE,
    &table::HEALTHCHECK_KEY_FILE,
];

/// A value that is bad for a setting, if there is one.
fn bad_value(setting: &Setting) -> Option<&'static str> {
    match setting.kind {
        ValueKind::Path if setting.flag == table::OUTPUT.flag => None,
        // Its content is read when all else is good.
        ValueKind::Path if setting.flag == table::AUDIT_LICENSE_KEY_FILE.flag => None,
        // No directory has this name, and the content of these files is read when all else is good.
        ValueKind::Path if setting.flag == table::STORAGE_PATH.flag => Some(" "),
        ValueKind::Path if setting.flag.starts_with("archive.") => Some(" "),
        ValueKind::Path if WEB_FILES.iter().any(|file| file.flag == setting.flag) => Some(" "),
        ValueKind::Text => Some(" "),
        _ => Some("no such\u{7}"),
    }
}

/// Holds the table against the code: a command reads each setting that the table gives it.
#[test]
fn each_variable_of_the_table_is_read() {
    let mut read = 0;
    for row in COMMANDS {
        for setting in table::of_command(row.name).filter(|setting| setting.is_typed()) {
            let Some(bad) = bad_value(setting).filter(|_| !setting.variable.is_empty()) else { continue };
            let (code, error) = binary(row.name, &[(setting.variable, bad)], &[]);
            let expected = format!("{} (environment variable of --{})", setting.variable, setting.flag);
            let name = format!("{} --{}", row.name.name(), setting.flag);
            assert!(code == Some(2) && error.contains(&expected), "{name}: {error}");
            read += 1;
        }
    }
    assert!(read > 80, "{read}");
}

/// And no setting that the table does not give it.
#[test]
fn a_command_ignores_the_settings_that_it_does_not_have() {
    for row in COMMANDS {
        let own: Vec<&str> = table::of_command(row.name).map(|setting| setting.variable).collect();
        let foreign: Vec<(&str, &str)> = SETTINGS
            .iter()
            .filter(|setting| !setting.variable.is_empty() && !own.contains(&setting.variable))
            .map(|setting| (setting.variable, bad_value(setting).unwrap_or(" ")))
            .collect();
        assert!(!foreign.is_empty(), "{}", row.name.name());
        // A bad value of its own keeps the command from starting anything.
        let own = table::of_command(row.name).find(|setting| {
            matches!(setting.kind, ValueKind::Addresses | ValueKind::Address | ValueKind::Duration { .. })
                && setting.is_typed()
        });
        let bad = format!("--{}=bad", own.unwrap().flag);
        let (code, error) = binary(row.name, &foreign, &[&bad]);
        assert_eq!(code, Some(2), "{}: {error}", row.name.name());
        for (variable, _) in foreign {
            let named = error.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == variable);
            assert!(!named, "{} reads {variable}: {error}", row.name.name());
        }
    }
}

#[test]
fn each_choice_of_the_table_is_accepted() {
    for row in COMMANDS {
        // A bad value of another setting keeps the command from starting anything.
        let other = table::of_command(row.name).find(|setting| {
            matches!(setting.kind, ValueKind::Addresses | ValueKind::Address | ValueKind::Duration { .. })
        });
        let bad = format!("--{}=bad", other.unwrap().flag);
        for setting in table::of_command(row.name).filter(|setting| !setting.flag.is_empty()) {
            let ValueKind::Choice(choices) = setting.kind else { continue };
            for choice in choices {
                let typed = format!("--{}={}", setting.flag, choice.name);
                let (code, error) = binary(row.name, &[], &[&typed, &bad]);
                assert!(code == Some(2) && !error.contains(&format!("--{}: found", setting.flag)), "{error}");
            }
        }
    }
}

#[test]
fn every_row_of_the_table_is_complete() {
    for setting in SETTINGS {
        let name = if setting.is_typed() { setting.typed_name() } else { setting.key.to_owned() };
        assert!(!setting.commands.is_empty() && !setting.summary.is_empty(), "{name}");
        assert!(!setting.summary.ends_with('.') && !setting.default.shown().is_empty(), "{name}");
        if !setting.flag.is_empty() {
            let is_named = ["CRYPTOLENS_", "OTEL_"].iter().any(|prefix| setting.variable.starts_with(prefix));
            assert!(is_named, "{name}: no variable");
            assert!(setting.help.ends_with('.') && !setting.expected().is_empty(), "{name}: no help");
            let is_switch = matches!(setting.kind, ValueKind::Switch);
            assert_eq!(is_switch, setting.example.is_empty(), "{name}: no example");
            assert_eq!(is_switch, setting.value_name.is_empty(), "{name}: no name of the value");
        }
    }
    let repeated = |name: fn(&Setting) -> &'static str| {
        for command in CommandName::ALL {
            let mut names: Vec<&str> =
                table::of_command(command).map(name).filter(|name| !name.is_empty()).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name());
        }
    };
    repeated(|setting| setting.flag);
    repeated(|setting| setting.variable);
    repeated(|setting| setting.key);
    assert!(COMMANDS.iter().map(|row| row.name).eq(CommandName::ALL));
}

/// Compares a generated text with the file that is committed.
fn assert_fresh(path: &str, text: &str) {
    expect_file![Path::new(env!("CARGO_MANIFEST_DIR")).join(path)].assert_eq(text);
}

#[test]
fn the_page_of_settings_is_fresh() {
    assert_fresh("docs/configuration.md", &reference::markdown());
}

#[test]
fn the_example_of_the_file_is_fresh_and_changes_nothing() {
    let path = format!("docs/{}", example::FILE_NAME);
    assert_fresh(&path, &example::text());
    let environment = MapEnvironment::of(&[("CRYPTOLENS_TOKEN", "token")]);
    let settings = |typed: &[&str]| {
        let settings = config::serve(&flags("serve", typed), &environment);
        format!("{:#?}", settings.unwrap_or_else(|error| panic!("{error}")))
    };
    let (without, with) = (settings(&[]), settings(&["--config.file", &path]));
    // The directory of the ledger is relative to the file.
    assert_eq!(without, with.replace("docs/data/", "data/"));
}

/// With every key put to use, nothing is wrong but that the files of the examples are not there.
#[test]
fn every_key_of_the_example_can_be_put_to_use() {
    let text: String = example::text()
        .lines()
        .map(|line| {
            let blank = line.len() - line.trim_start().len();
            match line[blank..].strip_prefix('#') {
                Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{}{key}\n", &line[..blank]),
                _ => format!("{line}\n"),
            }
        })
        .collect();
    for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
        let name = setting.key.rsplit_once('.').map_or(setting.key, |(_, name)| name);
        assert!(text.contains(&format!("{name}:")), "{} is not there", setting.key);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, &text).unwrap();
    let error = config::serve(
        &flags("serve", &["--config.file", path.to_str().unwrap()]),
        &MapEnvironment::default(),
    );
    let error = error.unwrap_err().to_string();
    for line in error.lines() {
        let is_expected =
            ["no such file", "which have their own", "basic_auth"].iter().any(|known| line.contains(known));
        assert!(is_expected, "{line}\n{text}");
    }
}

#[test]
fn the_schema_of_the_file_is_fresh() {
    assert_fresh("docs/configuration.schema.json", &schema::text());
}

#[test]
fn the_help_pages_are_as_they_were() {
    let mut pages = vec![("help", cli::parse(["cryptolens-exporter", "--help"]).unwrap_err())];
    for row in COMMANDS {
        let error = cli::parse(["cryptolens-exporter", row.name.name(), "--help"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (clap::error::ErrorKind::DisplayHelp, 0));
        pages.push((row.name.name(), error));
        let short = cli::parse(["cryptolens-exporter", row.name.name(), "-h"]).unwrap_err().to_string();
        assert!(short.contains("Usage: cryptolens-exporter"), "{short}");
    }
    for (name, page) in pages {
        // No line ends with a blank in a file that people edit.
        let lines: Vec<String> = page.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        assert_fresh(&format!("tests/golden/help/{name}.txt"), &(lines.join("\n") + "\n"));
    }
    let error = cli::parse(["cryptolens-exporter", "--version"]).unwrap_err();
    assert_eq!(error.exit_code(), 0);
    let version = error.to_string();
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("(commit "), "{version}");
}

#[test]
fn the_reference_lists_every_setting_of_serve() {
    let page = reference::markdown();
    for (flag, variable, key) in [
        ("--config.file", "CRYPTOLENS_CONFIG_FILE", ""),
        ("--api.url", "CRYPTOLENS_API_URL", "`api.url`"),
        ("--api.token-file", "CRYPTOLENS_TOKEN_FILE", "`api.token_file`"),
        ("--api.timeout", "CRYPTOLENS_API_TIMEOUT", "`api.timeout`"),
        ("--api.ca-file", "CRYPTOLENS_API_CA_FILE", "`api.ca_file`"),
        ("--since", "CRYPTOLENS_SINCE", "`since`"),
        ("--logs", "CRYPTOLENS_LOGS", "`logs`"),
        ("--poll.interval", "CRYPTOLENS_POLL_INTERVAL", "`poll.interval`"),
        ("--poll.interval.events", "CRYPTOLENS_POLL_INTERVAL_EVENTS", "`poll.interval_events`"),
        ("--poll.interval.objects", "CRYPTOLENS_POLL_INTERVAL_OBJECTS", "`poll.interval_objects`"),
        ("--poll.overlap", "CRYPTOLENS_POLL_OVERLAP", "`poll.overlap`"),
        ("--storage.path", "CRYPTOLENS_STORAGE_PATH", "`storage.path`"),
        ("--storage.foreign-ledger", "CRYPTOLENS_STORAGE_FOREIGN_LEDGER", "`storage.foreign_ledger`"),
        ("--web.listen-address", "CRYPTOLENS_WEB_LISTEN_ADDRESS", "`web.listen_address`"),
        ("--web.telemetry-path", "CRYPTOLENS_WEB_TELEMETRY_PATH", "`web.telemetry_path`"),
        ("--web.config.file", "CRYPTOLENS_WEB_CONFIG_FILE", "`web.config_file`"),
        ("--web.max-connections", "CRYPTOLENS_WEB_MAX_CONNECTIONS", "`web.max_connections`"),
        ("--web.enable-lifecycle", "CRYPTOLENS_WEB_ENABLE_LIFECYCLE", "`web.enable_lifecycle`"),
        ("--log.level", "CRYPTOLENS_LOG_LEVEL", "`log.level`"),
        ("--log.format", "CRYPTOLENS_LOG_FORMAT", "`log.format`"),
    ] {
        assert!(page.contains(&format!("| `{flag}` | `{variable}` | {key} |")), "{flag}\n{page}");
    }
}
