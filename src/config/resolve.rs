//! The typed settings of a command from its sources, and the rules between settings.

use std::collections::BTreeMap;

use super::environment::{Environment, reason};
use super::problem::{ConfigError, Problem};
use super::setting::{CommandName, Setting};
use super::sources::{FlagValues, SourceLevel, Sources};
use super::value::{self, SourcedValue};
use super::{Api, BackfillSettings, CaFile, DemoSettings, Intervals, RestartValues, Settings, Web, table};
use crate::cryptolens::Concurrency;
use crate::http;
use crate::ledger::ForeignLedger;
use crate::logging::{LogFormat, LogLevel, LogSettings};
use crate::web::ListenAddress;

/// Settings of `serve` and `check`. Reads the configuration file, the token files and the CA file.
///
/// # Errors
/// Everything that is wrong with them.
pub fn serve(flags: &FlagValues, environment: &dyn Environment) -> Result<Settings, ConfigError> {
    let mut sources = Sources::with_file(flags, environment)?;
    let api = sources.api();
    let accounts = sources.accounts();
    let storage_path = sources.path(&table::STORAGE_PATH);
    let foreign_ledger = sources.get(&table::FOREIGN_LEDGER, |found, setting| {
        let actions = [
            ("refuse", ForeignLedger::Refuse),
            ("adopt", ForeignLedger::Adopt),
            ("set-aside", ForeignLedger::SetAside),
        ];
        value::one_of(found, setting, &actions)
    });
    let web = sources.web();
    let overlap = sources.get(&table::POLL_OVERLAP, value::duration);
    let states = sources.states();
    let objects_first_code = sources.get(&table::OBJECTS_FIRST_CODE, value::integer);
    let log = sources.log();
    let mut push_warnings = Vec::new();
    let otlp = super::otlp::resolve(&mut sources, &mut push_warnings);
    let history = super::history::resolve(&mut sources, otlp.is_some(), &mut push_warnings);
    let usage = super::usage::resolve(&mut sources, &table::USAGE_ACTIVE);
    let has_licenses = accounts.iter().any(|account| !account.licenses.is_empty());
    if has_licenses && usage.as_ref().is_some_and(|usage| !usage.seats) {
        push_warnings.push("accounts[].licenses have no effect without usage.seats: true".to_owned());
    }
    let archive = super::archive::resolve(&mut sources, storage_path.as_deref(), overlap);
    let reconcile = super::reconcile::resolve(&mut sources);
    let restart = RestartValues::of(CommandName::Serve, &sources);
    let settings = (|| {
        let api = api?;
        Some(Settings {
            warnings: warnings(&api, environment).into_iter().chain(push_warnings).collect(),
            api,
            accounts,
            storage_path: storage_path?,
            foreign_ledger: foreign_ledger?,
            web: web?,
            overlap: overlap?,
            states,
            objects_first_code: objects_first_code?,
            otlp,
            history: history?,
            usage: usage?,
            archive: archive?,
            reconcile: reconcile?,
            log: log?,
            restart,
        })
    })();
    sources.finish(settings)
}

/// Settings of `demo`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn demo(flags: &FlagValues, environment: &dyn Environment) -> Result<DemoSettings, ConfigError> {
    let flags = with_pushes(flags, environment);
    let mut sources = Sources::without_file(&flags, environment);
    // A bad value is noted here.
    let _ = sources.get(&table::DEMO_PUSH_TO, value::api_url);
    let storage_path = sources.path(&table::DEMO_STORAGE_PATH);
    let web = sources.web();
    let intervals = sources.intervals();
    let log = sources.log();
    let seed = sources.get(&table::DEMO_SEED, value::integer);
    let mut warnings = Vec::new();
    let otlp = super::otlp::resolve(&mut sources, &mut warnings);
    let history = super::history::resolve(&mut sources, otlp.is_some(), &mut warnings);
    let usage = super::usage::resolve(&mut sources, &table::DEMO_USAGE_ACTIVE);
    let settings = (|| {
        Some(DemoSettings {
            storage_path,
            web: web?,
            intervals,
            otlp,
            history: history?,
            usage: usage?,
            warnings,
            log: log?,
            seed,
        })
    })();
    sources.finish(settings)
}

/// The flags of the demo, with those that `--push-to` stands for.
fn with_pushes(flags: &FlagValues, environment: &dyn Environment) -> FlagValues {
    let sources = Sources::without_file(flags, environment);
    let setting = &table::DEMO_PUSH_TO;
    let base = sources.sourced(setting).and_then(|found| value::api_url(&found, setting).ok());
    let mut flags = flags.clone();
    let Some(base) = base else { return flags };
    let base = base.as_str().trim_end_matches('/');
    let otlp = [&table::OTLP_ENDPOINT, &table::OTLP_METRICS_ENDPOINT];
    if otlp.iter().all(|setting| sources.sourced(setting).is_none()) {
        flags.insert(&table::OTLP_ENDPOINT, vec![format!("{base}/api/v1/otlp")]);
    }
    if sources.sourced(&table::REMOTE_WRITE_URL).is_none() {
        flags.insert(&table::REMOTE_WRITE_URL, vec![format!("{base}/api/v1/write")]);
    }
    flags
}

/// Settings of `backfill`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn backfill(flags: &FlagValues, environment: &dyn Environment) -> Result<BackfillSettings, ConfigError> {
    let mut sources = Sources::with_file(flags, environment)?;
    let since = sources.require(CommandName::Backfill, &table::BACKFILL_SINCE, value::since);
    let to = sources.get(&table::BACKFILL_TO, value::since);
    let output = sources.path(&table::BACKFILL_OUTPUT);
    let storage_path = sources.path(&table::BACKFILL_STORAGE_PATH);
    let logs = sources.logs_of_one_account();
    let mut warnings = Vec::new();
    let otlp = super::otlp::resolve(&mut sources, &mut warnings);
    let history = super::history::resolve_without_outbox(&mut sources, otlp.is_some(), &mut warnings);
    let access = sources.account_access();
    let has_end = to.is_some() || storage_path.is_some();
    if !has_end && history.as_ref().is_some_and(|history| !history.has_own_instance) && sources.is_sound() {
        let who = "backfill without --storage.path, and without an instance of its own in --history.labels,";
        sources.needs(who, &table::BACKFILL_TO);
    }
    let settings = (|| {
        let mut access = access?;
        access.warnings.extend(warnings);
        let history = history?;
        Some(BackfillSettings { access, logs, since: since?, to, output, storage_path, history, otlp })
    })();
    sources.finish(settings)
}

/// Remarks on what is valid but should be changed.
pub(super) fn warnings(api: &Api, environment: &dyn Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    if api.url.scheme() == "http" && !http::is_loopback(&api.url) {
        let host = api.url.host_str().unwrap_or_default();
        warnings.push(format!(
            "api.url uses http:// to {host}: the access token travels unencrypted, use https://"
        ));
    }
    warnings.extend(super::proxy::choose(&api.url, environment).unusable.into_iter().map(|variable| {
        format!(
            "{variable} names no proxy that can be used, as http://proxy.example.com:3128 does; requests may go without one \
             (what it holds is not shown, as that may be a password)"
        )
    }));
    // The TLS library reads this variable itself, and takes an empty one for a file without
    // authorities.
    let file = environment.var("SSL_CERT_FILE");
    if api.url.scheme() == "https" && api.ca_file.is_none() && file.is_some_and(|file| file.trim().is_empty())
    {
        warnings.push(
            "SSL_CERT_FILE is set to nothing, so that no certificate authority is trusted: unset it, or name a file"
                .to_owned(),
        );
    }
    warnings
}

impl RestartValues {
    /// The values of the settings of a command that need a restart.
    fn of(command: CommandName, sources: &Sources<'_>) -> RestartValues {
        let mut values = BTreeMap::new();
        for setting in table::of_command(command).filter(|setting| setting.restart && !setting.key.is_empty())
        {
            let typed = [SourceLevel::Flag, SourceLevel::Variable]
                .into_iter()
                .find_map(|level| sources.at(level, setting));
            let text = typed.map(|found| found.text).or_else(|| {
                let listed = sources.file.list(setting.key)?.iter();
                Some(listed.map(|found| found.text.as_str()).collect::<Vec<_>>().join(","))
            });
            let text = text.unwrap_or_else(|| setting.default.shown().to_owned());
            values.insert(setting.flag, text.trim().to_owned());
        }
        RestartValues(values)
    }

    /// The flags whose values differ.
    #[must_use]
    pub fn changed(&self, new: &RestartValues) -> Vec<&'static str> {
        let differs = |flag: &&&'static str| self.0.get(**flag) != new.0.get(**flag);
        new.0.keys().filter(differs).copied().collect()
    }
}

impl Sources<'_> {
    /// How to reach the Web API.
    pub(super) fn api(&mut self) -> Option<Api> {
        let url = self.get(&table::API_URL, value::api_url);
        let timeout = self.get(&table::API_TIMEOUT, value::duration);
        let ca_file = self.ca_file();
        let concurrency = self.concurrency();
        let url = url?;
        let proxy = super::proxy::choose(&url, self.environment).proxy;
        Some(Api { url, timeout: timeout?, ca_file, proxy, concurrency: concurrency? })
    }

    fn concurrency(&mut self) -> Option<Concurrency> {
        self.get(&table::API_CONCURRENCY, |found, setting| {
            let requests = value::integer(found, setting)?;
            Concurrency::new(requests).ok_or_else(|| found.bad(setting.expected()))
        })
    }

    fn ca_file(&mut self) -> Option<CaFile> {
        let path = self.path(&table::API_CA_FILE)?;
        let text = self.environment.read_file(&path).map_err(|error| reason(&error));
        let read =
            text.and_then(|text| CaFile::parse(path.clone(), &text).map_err(|error| error.to_string()));
        let origin = self.sourced(&table::API_CA_FILE)?.origin;
        self.noted(read.map_err(|reason| Problem::BadFile { origin, path, reason }))
    }

    fn web(&mut self) -> Option<Web> {
        let listen = self.listen_addresses(&table::LISTEN_ADDRESS);
        let telemetry_path = self.get(&table::TELEMETRY_PATH, value::telemetry_path);
        let config_file = self.path(&table::WEB_CONFIG_FILE);
        let max_connections = self.get(&table::MAX_CONNECTIONS, value::integer);
        let enable_lifecycle = self.get(&table::ENABLE_LIFECYCLE, value::switch);
        let openmetrics_created = self.get(&table::OPENMETRICS_CREATED, value::switch);
        Some(Web {
            listen: listen?,
            telemetry_path: telemetry_path?,
            config_file,
            max_connections: max_connections?,
            enable_lifecycle: enable_lifecycle?,
            openmetrics_created: openmetrics_created?,
        })
    }

    /// The addresses of a list, of which none covers another.
    pub fn listen_addresses(&mut self, setting: &'static Setting) -> Option<Vec<ListenAddress>> {
        let typed =
            [SourceLevel::Flag, SourceLevel::Variable].into_iter().find_map(|level| self.at(level, setting));
        let items = match (typed, self.file.list(setting.key)) {
            (Some(found), _) => vec![found],
            (None, Some(items)) => items.to_vec(),
            (None, None) => return self.get(setting, value::listen_address).map(|address| vec![address]),
        };
        let mut addresses: Vec<ListenAddress> = Vec::new();
        let mut complete = true;
        for item in &items {
            for text in item.text.split(',') {
                let found = SourcedValue { text: text.to_owned(), origin: item.origin.clone() };
                let address = value::listen_address(&found, setting).and_then(|address: ListenAddress| {
                    let other = addresses.iter().find(|other| other.overlaps(address));
                    let bad =
                        |other: &ListenAddress| found.bad(format!("an address that {other} does not cover"));
                    other.map_or(Ok(address), |other| Err(bad(other)))
                });
                match self.noted(address) {
                    Some(address) => addresses.push(address),
                    None => complete = false,
                }
            }
        }
        complete.then_some(addresses)
    }

    fn log(&mut self) -> Option<LogSettings> {
        let level = self.get(&table::LOG_LEVEL, |found, setting| {
            let levels = [
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
                ("trace", LogLevel::Trace),
            ];
            value::one_of(found, setting, &levels)
        });
        let format = self.get(&table::LOG_FORMAT, |found, setting| {
            value::one_of(found, setting, &[("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)])
        });
        Some(LogSettings { level: level?, format: format? })
    }

    /// The general interval of a level (flags, variables, file) stands in for the special ones of
    /// the same level, and so overrides the special ones of the levels below.
    pub(super) fn intervals(&mut self) -> Intervals {
        let default = Intervals::default();
        // The general value is checked once, so that a bad one has one message.
        let web_api = self.get(&table::POLL_INTERVAL, value::duration);
        let mut special = |setting: &'static Setting, default| {
            let found = self.first_of(&[setting, &table::POLL_INTERVAL], (&[], ""));
            match found {
                Some((first, found)) if first.flag == setting.flag => {
                    let interval: Result<_, Problem> = value::duration(&found, setting);
                    self.noted(interval).unwrap_or(default)
                }
                Some(_) => web_api.unwrap_or(default),
                None => default,
            }
        };
        Intervals {
            events: special(&table::POLL_INTERVAL_EVENTS, default.events),
            objects: special(&table::POLL_INTERVAL_OBJECTS, default.objects),
            web_api: web_api.unwrap_or(default.web_api),
        }
    }

    /// Texts for state codes, which only the file can give.
    pub(super) fn states(&mut self) -> BTreeMap<u16, String> {
        let mut states = BTreeMap::new();
        for (code, text) in self.file.states.clone() {
            let code = self.noted(state_code(&code));
            let text = self.noted(value::visible_text(&text, "a text that is not empty"));
            if let (Some(code), Some(text)) = (code, text) {
                states.insert(code, text);
            }
        }
        states
    }

    /// The first of the settings that say where a time begins, of which one command line may give
    /// one.
    pub fn beginning(
        &mut self,
        command: CommandName,
        settings: &[&'static Setting],
    ) -> Option<(&'static Setting, SourcedValue)> {
        let reason = format!("both say where {} begins: give one of them", command.name());
        self.first_of(settings, (&[SourceLevel::Flag], &reason))
    }
}

fn state_code(found: &SourcedValue) -> Result<u16, Problem> {
    let code = found.text.trim().parse().ok().filter(|code| (1000..=8999).contains(code));
    code.ok_or_else(|| found.bad("codes from 1000 to 8999 as keys"))
}
