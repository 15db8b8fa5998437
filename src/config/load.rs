//! The merge: flag over variable over file over default, and what must hold between settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::environment::{Environment, reason, set_variable};
use super::file::{self, FileAccount, FileProduct, FileSettings};
use super::problem::{ConfigError, FileOrigin, Origin, Problem};
use super::token::{TokenError, TokenSource, read_token_file};
use super::value::{self, Found};
use super::{
    Account, AccountName, Api, CaFile, DemoSettings, Intervals, LogSettings, Product, Settings, Since, Web,
};
use crate::cli::{DemoArgs, LogArgs, PollArgs, ServeArgs, TOKEN_VARIABLE, WebArgs};
use crate::cryptolens::token::looks_like_a_token;
use crate::cryptolens::{LogKind, token};
use crate::http;

const DEFAULT_API_URL: &str = "https://api.cryptolens.io/api";
const DEFAULT_API_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_OVERLAP: Duration = Duration::from_secs(60);
const DEFAULT_STORAGE_PATH: &str = "data/";

/// A flag and the variable that stands for it.
///
/// [`crate::cli`] declares the same pairs for its help; a test holds both together.
#[derive(Debug, Clone, Copy)]
struct Setting {
    flag: &'static str,
    variable: &'static str,
}

const fn setting(flag: &'static str, variable: &'static str) -> Setting {
    Setting { flag, variable }
}

const CONFIG_FILE: Setting = setting("--config.file", "CRYPTOLENS_CONFIG_FILE");
const API_URL: Setting = setting("--api.url", "CRYPTOLENS_API_URL");
const API_TOKEN_FILE: Setting = setting("--api.token-file", "CRYPTOLENS_TOKEN_FILE");
const API_TIMEOUT: Setting = setting("--api.timeout", "CRYPTOLENS_API_TIMEOUT");
const API_CA_FILE: Setting = setting("--api.ca-file", "CRYPTOLENS_API_CA_FILE");
const SINCE: Setting = setting("--since", "CRYPTOLENS_SINCE");
const LOGS: Setting = setting("--logs", "CRYPTOLENS_LOGS");
const INTERVAL: Setting = setting("--poll.interval", "CRYPTOLENS_POLL_INTERVAL");
const INTERVAL_EVENTS: Setting = setting("--poll.interval.events", "CRYPTOLENS_POLL_INTERVAL_EVENTS");
const INTERVAL_OBJECTS: Setting = setting("--poll.interval.objects", "CRYPTOLENS_POLL_INTERVAL_OBJECTS");
const OVERLAP: Setting = setting("--poll.overlap", "CRYPTOLENS_POLL_OVERLAP");
const STORAGE_PATH: Setting = setting("--storage.path", "CRYPTOLENS_STORAGE_PATH");
const FOREIGN_LEDGER: Setting = setting("--storage.foreign-ledger", "CRYPTOLENS_STORAGE_FOREIGN_LEDGER");
const LISTEN_ADDRESS: Setting = setting("--web.listen-address", "CRYPTOLENS_WEB_LISTEN_ADDRESS");
const TELEMETRY_PATH: Setting = setting("--web.telemetry-path", "CRYPTOLENS_WEB_TELEMETRY_PATH");
const LOG_LEVEL: Setting = setting("--log.level", "CRYPTOLENS_LOG_LEVEL");
const LOG_FORMAT: Setting = setting("--log.format", "CRYPTOLENS_LOG_FORMAT");
const SEED: Setting = setting("--seed", "CRYPTOLENS_SEED");

/// Settings of `serve` and `check`. Reads the configuration file, the token files and the CA file.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(args: &ServeArgs, environment: &dyn Environment) -> Result<Settings, ConfigError> {
    let mut problems = Vec::new();
    let config_path =
        Sources { environment, problems: &mut problems }.found(args.config.file.as_deref(), CONFIG_FILE);
    let (in_file, directory) = match config_path {
        None => (FileSettings::default(), PathBuf::new()),
        Some(found) => {
            if looks_like_a_token(&found.text) {
                return Err(ConfigError::Invalid(vec![found.bad("the path of a file")]));
            }
            let path = PathBuf::from(&found.text);
            let text = environment.read_file(&path).map_err(|error| ConfigError::UnreadableFile {
                origin: found.origin,
                path: path.clone(),
                reason: reason(&error),
            })?;
            let directory = path.parent().map(Path::to_owned).unwrap_or_default();
            (file::read(&path, &text, &mut problems), directory)
        }
    };
    // After a syntax error nothing else of the file is known, so that a missing token, say, may not be missing at all.
    if problems.iter().any(|problem| matches!(problem, Problem::Syntax { .. })) {
        return Err(ConfigError::Invalid(problems));
    }

    let mut sources = Sources { environment, problems: &mut problems };
    let api = sources.api(args, &in_file, &directory);
    let accounts = sources.accounts(args, &in_file, &directory);
    let storage_path = sources
        .merged(args.storage.path.as_deref(), STORAGE_PATH, in_file.storage_path.as_ref())
        .and_then(|found| sources.path(&found, &directory))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_STORAGE_PATH));
    let foreign_ledger = sources
        .merged(args.storage.foreign_ledger.as_deref(), FOREIGN_LEDGER, in_file.foreign_ledger.as_ref())
        .and_then(|found| sources.valid(value::foreign_ledger(&found)))
        .unwrap_or_default();
    let web = sources.web(&args.web, &in_file);
    let overlap = sources
        .merged(args.overlap.overlap.as_deref(), OVERLAP, in_file.overlap.as_ref())
        .and_then(|found| sources.valid(value::overlap(&found)))
        .unwrap_or(DEFAULT_OVERLAP);
    let states = sources.states(&in_file);
    let objects_first_code = in_file.first_code.as_ref().map_or(0, |found| {
        let code = value::whole_number(found, 0..=1000, "a whole number from 0 to 1000, mostly 0 or 1");
        sources.valid(code).unwrap_or_default()
    });
    let log = sources.log(&args.log, &in_file);
    match api {
        Some(api) if problems.is_empty() => Ok(Settings {
            warnings: warnings(&api, environment),
            api,
            accounts,
            storage_path,
            foreign_ledger,
            web,
            overlap,
            states,
            objects_first_code,
            log,
        }),
        _ => Err(invalid(problems)),
    }
}

/// Settings of `demo`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_demo(args: &DemoArgs, environment: &dyn Environment) -> Result<DemoSettings, ConfigError> {
    let mut problems = Vec::new();
    let no_file = FileSettings::default();
    let mut sources = Sources { environment, problems: &mut problems };
    let settings = DemoSettings {
        storage_path: sources
            .found(args.storage_path.as_deref(), STORAGE_PATH)
            .and_then(|found| sources.path(&found, Path::new(""))),
        web: sources.web(&args.web, &no_file),
        intervals: sources.intervals(&args.poll, &no_file),
        log: sources.log(&args.log, &no_file),
        seed: sources.found(args.seed.as_deref(), SEED).and_then(|found| {
            sources.valid(value::whole_number(&found, .., "a whole number from 0 on, such as 42"))
        }),
    };
    if problems.is_empty() { Ok(settings) } else { Err(invalid(problems)) }
}

fn invalid(mut problems: Vec<Problem>) -> ConfigError {
    problems.sort_by_key(Problem::line);
    ConfigError::Invalid(problems)
}

fn warnings(api: &Api, environment: &dyn Environment) -> Vec<String> {
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
    // The TLS library reads this variable itself, and takes an empty one for a file without authorities.
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

/// Where values come from besides the file, and where problems go. Each method gives a usable value even where it
/// noted a problem, so that all problems can be told at once; the value is dropped in the end.
struct Sources<'a> {
    environment: &'a dyn Environment,
    problems: &'a mut Vec<Problem>,
}

impl Sources<'_> {
    /// What was typed, or else what the variable says.
    fn found(&self, typed: Option<&str>, setting: Setting) -> Option<Found> {
        self.typed(typed, setting).or_else(|| self.variable(setting))
    }

    /// The same, or else what the file says.
    fn merged(&self, typed: Option<&str>, setting: Setting, in_file: Option<&Found>) -> Option<Found> {
        self.found(typed, setting).or_else(|| in_file.cloned())
    }

    #[allow(clippy::unused_self, reason = "reads as the sister of `variable`")]
    fn typed(&self, typed: Option<&str>, setting: Setting) -> Option<Found> {
        typed.map(|text| Found { text: text.to_owned(), origin: Origin::Flag(setting.flag) })
    }

    fn variable(&self, setting: Setting) -> Option<Found> {
        let text = set_variable(self.environment, setting.variable)?;
        let origin = Origin::Variable { name: setting.variable.to_owned(), flag: Some(setting.flag) };
        Some(Found { text, origin })
    }

    fn valid<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A path; one in the file is relative to the directory of the file.
    fn path(&mut self, found: &Found, directory: &Path) -> Option<PathBuf> {
        let path = found.text.trim();
        // A directory or a message with this name would tell a token.
        if path.is_empty() || looks_like_a_token(path) {
            self.problems.push(found.bad("a path"));
            return None;
        }
        Some(match found.origin {
            Origin::File(_) => directory.join(path),
            _ => PathBuf::from(path),
        })
    }

    fn api(&mut self, args: &ServeArgs, in_file: &FileSettings, directory: &Path) -> Option<Api> {
        let url = self.merged(args.api.url.as_deref(), API_URL, in_file.url.as_ref()).unwrap_or_else(|| {
            Found { text: DEFAULT_API_URL.to_owned(), origin: Origin::Flag(API_URL.flag) }
        });
        let timeout = self.merged(args.api.timeout.as_deref(), API_TIMEOUT, in_file.timeout.as_ref());
        let ca_file = self.merged(args.api.ca_file.as_deref(), API_CA_FILE, in_file.ca_file.as_ref());
        let url = self.valid(value::api_url(&url));
        let timeout =
            timeout.and_then(|found| self.valid(value::timeout(&found))).unwrap_or(DEFAULT_API_TIMEOUT);
        let ca_file = ca_file.and_then(|found| self.ca_file(&found, directory));
        let url = url?;
        let proxy = super::proxy::choose(&url, self.environment).proxy;
        Some(Api { url, timeout, ca_file, proxy })
    }

    fn ca_file(&mut self, found: &Found, directory: &Path) -> Option<CaFile> {
        let path = self.path(found, directory)?;
        let text = self.environment.read_file(&path).map_err(|error| reason(&error));
        let read =
            text.and_then(|text| CaFile::parse(path.clone(), &text).map_err(|error| error.to_string()));
        read.map_err(|reason| {
            self.problems.push(Problem::BadFile { origin: found.origin.clone(), path, reason });
        })
        .ok()
    }

    fn web(&mut self, args: &WebArgs, in_file: &FileSettings) -> Web {
        let listen =
            self.merged(args.listen_address.as_deref(), LISTEN_ADDRESS, in_file.listen_address.as_ref());
        let path =
            self.merged(args.telemetry_path.as_deref(), TELEMETRY_PATH, in_file.telemetry_path.as_ref());
        let default = Web::default();
        Web {
            listen: listen
                .and_then(|found| self.valid(value::listen_address(&found)))
                .unwrap_or(default.listen),
            telemetry_path: path
                .and_then(|found| self.valid(value::telemetry_path(&found)))
                .unwrap_or(default.telemetry_path),
        }
    }

    fn log(&mut self, args: &LogArgs, in_file: &FileSettings) -> LogSettings {
        let level = self.merged(args.level.as_deref(), LOG_LEVEL, in_file.log_level.as_ref());
        let format = self.merged(args.format.as_deref(), LOG_FORMAT, in_file.log_format.as_ref());
        LogSettings {
            level: level.and_then(|found| self.valid(value::log_level(&found))).unwrap_or_default(),
            format: format.and_then(|found| self.valid(value::log_format(&found))).unwrap_or_default(),
        }
    }

    /// The general interval of a level (flags, variables, file) stands in for the special ones of the same level, and
    /// so overrides the special ones of the levels below.
    fn intervals(&mut self, args: &PollArgs, in_file: &FileSettings) -> Intervals {
        let general = [
            self.typed(args.interval.as_deref(), INTERVAL),
            self.variable(INTERVAL),
            in_file.interval.clone(),
        ];
        let events = [
            self.typed(args.interval_events.as_deref(), INTERVAL_EVENTS),
            self.variable(INTERVAL_EVENTS),
            in_file.interval_events.clone(),
        ];
        let objects = [
            self.typed(args.interval_objects.as_deref(), INTERVAL_OBJECTS),
            self.variable(INTERVAL_OBJECTS),
            in_file.interval_objects.clone(),
        ];
        let default = Intervals::default();
        // The general values are parsed once, here, so that a bad one is told once.
        let web_api = general.iter().flatten().next().and_then(|found| self.valid(value::interval(found)));
        let mut special = |levels: [Option<Found>; 3], default: Duration| {
            for (special, general) in levels.iter().zip(&general) {
                match (special, general) {
                    (Some(found), _) => {
                        return self.valid(value::interval(found)).unwrap_or(default);
                    }
                    (None, Some(_)) => return web_api.unwrap_or(default),
                    (None, None) => {}
                }
            }
            default
        };
        Intervals {
            events: special(events, default.events),
            objects: special(objects, default.objects),
            web_api: web_api.unwrap_or(default.web_api),
        }
    }

    fn since(&mut self, args: &ServeArgs, in_file: Option<&Found>) -> Since {
        self.merged(args.counting.since.as_deref(), SINCE, in_file)
            .and_then(|found| self.valid(value::since(&found)))
            .unwrap_or(Since::Now)
    }

    /// `--logs`, which adds up when it is given again, or else its variable.
    fn found_logs(&self, args: &ServeArgs) -> Option<Found> {
        let typed = (!args.counting.logs.is_empty()).then(|| args.counting.logs.join(","));
        self.found(typed.as_deref(), LOGS)
    }

    fn logs(&mut self, args: &ServeArgs, in_file: Option<&[Found]>) -> Vec<LogKind> {
        let items = match self.found_logs(args) {
            Some(found) => vec![found],
            None => in_file.map(<[Found]>::to_vec).unwrap_or_default(),
        };
        if items.is_empty() {
            return LogKind::ALL.to_vec();
        }
        value::logs(&items).unwrap_or_else(|problems| {
            self.problems.extend(problems);
            LogKind::ALL.to_vec()
        })
    }

    fn states(&mut self, in_file: &FileSettings) -> BTreeMap<u16, String> {
        let mut states = BTreeMap::new();
        for (code, text) in &in_file.states {
            let code = value::whole_number(code, 1000..=8999, "codes from 1000 to 8999 as keys");
            let text = value::text(text, "a text that is not empty");
            if let (Some(code), Some(text)) = (self.valid(code), self.valid(text)) {
                states.insert(code, text);
            }
        }
        states
    }

    fn accounts(&mut self, args: &ServeArgs, in_file: &FileSettings, directory: &Path) -> Vec<Account> {
        let intervals = self.intervals(&args.poll, in_file);
        let token_file =
            self.merged(args.api.token_file.as_deref(), API_TOKEN_FILE, in_file.token_file.as_ref());
        let token = set_variable(self.environment, TOKEN_VARIABLE)
            .map(|text| Found { text, origin: token_variable() });
        if let Some(listed) = &in_file.accounts {
            let used = |account: &FileAccount| {
                account.token_env.as_ref().is_some_and(|name| name.text == TOKEN_VARIABLE)
            };
            let stray = token.filter(|_| !listed.iter().any(used));
            for found in token_file.into_iter().chain(stray) {
                self.problems.push(Problem::TokenBesideAccounts { origin: found.origin });
            }
            return self.listed_accounts(args, in_file, listed, intervals, directory);
        }
        let token = match (token, token_file) {
            (Some(token), Some(token_file)) => {
                self.problems.push(Problem::TwoTokens { first: token.origin, second: token_file.origin });
                None
            }
            (Some(token), None) => self.token_value(&token),
            (None, Some(token_file)) => self.token_file(&token_file, directory),
            (None, None) => {
                if !self.problems.iter().any(may_hide_a_token) {
                    self.problems.push(Problem::NoToken);
                }
                None
            }
        };
        let logs = self.logs(args, in_file.logs.as_deref());
        let since = self.since(args, in_file.since.as_ref());
        let account = |token| Account {
            name: AccountName::default(),
            token,
            logs,
            since,
            intervals,
            products: Vec::new(),
        };
        token.map(account).into_iter().collect()
    }

    fn listed_accounts(
        &mut self,
        args: &ServeArgs,
        in_file: &FileSettings,
        listed: &[FileAccount],
        intervals: Intervals,
        directory: &Path,
    ) -> Vec<Account> {
        // What all accounts share is parsed once, so that a bad value is told once.
        let shared_logs = self.logs(args, in_file.logs.as_deref());
        let shared_since = self.since(args, in_file.since.as_ref());
        let logs_overridden = self.found_logs(args).is_some();
        let since_overridden = self.found(args.counting.since.as_deref(), SINCE).is_some();

        let mut accounts: Vec<(Account, &FileOrigin)> = Vec::new();
        let mut first_lines = BTreeMap::new();
        for entry in listed {
            let logs = match &entry.logs {
                Some(_) if !logs_overridden => self.logs(args, entry.logs.as_deref()),
                _ => shared_logs.clone(),
            };
            let since = match &entry.since {
                Some(_) if !since_overridden => self.since(args, entry.since.as_ref()),
                _ => shared_since,
            };
            let products = self.products(&entry.products);
            let name = self.account_name(entry, &mut first_lines);
            let token = self.account_token(entry, directory);
            if let (Some(name), Some(token)) = (name, token) {
                accounts.push((Account { name, token, logs, since, intervals, products }, &entry.origin));
            }
        }
        self.refuse_shared_tokens(&accounts);
        accounts.into_iter().map(|(account, _)| account).collect()
    }

    fn account_name(
        &mut self,
        entry: &FileAccount,
        first_lines: &mut BTreeMap<AccountName, u64>,
    ) -> Option<AccountName> {
        let found = entry.name.as_ref()?;
        if looks_like_a_token(&found.text) {
            self.problems.push(found.bad("a name of letters, digits, and _ . -"));
            return None;
        }
        let name = AccountName::try_new(&found.text).map_err(|error| {
            let expected = error.to_string();
            found.bad(expected.trim_start_matches("expected "))
        });
        let name = self.valid(name)?;
        if let Origin::File(origin) = &found.origin {
            if let Some(first_line) = first_lines.get(&name) {
                self.problems.push(duplicate(origin, format!("\"{name}\""), *first_line));
                return None;
            }
            first_lines.insert(name.clone(), origin.place.line);
        }
        Some(name)
    }

    fn products(&mut self, entries: &[FileProduct]) -> Vec<Product> {
        let mut products = Vec::new();
        let mut first_lines = BTreeMap::new();
        for entry in entries {
            let id = value::whole_number(
                &entry.id,
                1..,
                "the number that the service gave the product, such as 3349",
            );
            let name = value::text(&entry.name, "a text that is not empty");
            let (Some(id), Some(name)) = (self.valid(id), self.valid(name)) else {
                continue;
            };
            if let Origin::File(origin) = &entry.id.origin {
                if let Some(first_line) = first_lines.get(&id) {
                    self.problems.push(duplicate(origin, id.to_string(), *first_line));
                }
                first_lines.entry(id).or_insert(origin.place.line);
            }
            products.push(Product { id, name });
        }
        products
    }

    fn account_token(&mut self, entry: &FileAccount, directory: &Path) -> Option<TokenSource> {
        match (&entry.token_file, &entry.token_env) {
            (Some(token_file), Some(token_env)) => {
                let (first, second) = (token_file.origin.clone(), token_env.origin.clone());
                self.problems.push(Problem::TwoTokens { first, second });
                None
            }
            (Some(token_file), None) => self.token_file(token_file, directory),
            (None, Some(token_env)) => self.token_env(token_env),
            (None, None) => {
                // Without a name there is a problem already, and so there is with a token in the file.
                let account = entry.name.as_ref()?.text.clone();
                let within = format!("{}.", entry.origin.key);
                if AccountName::try_new(&account).is_ok()
                    && !self.problems.iter().any(|problem| may_hide_its_token(problem, &within))
                {
                    self.problems
                        .push(Problem::AccountWithoutToken { origin: entry.origin.clone(), account });
                }
                None
            }
        }
    }

    fn token_value(&mut self, found: &Found) -> Option<TokenSource> {
        match token::parse(&found.text).map_err(TokenError::from) {
            Ok(token) => Some(TokenSource::Value(token)),
            Err(error) => self.bad_token(&found.origin, error),
        }
    }

    fn token_file(&mut self, found: &Found, directory: &Path) -> Option<TokenSource> {
        let path = self.path(found, directory)?;
        match read_token_file(self.environment, &path) {
            Ok(initial) => Some(TokenSource::File { path, initial }),
            Err(error) => self.bad_token(&found.origin, error),
        }
    }

    fn token_env(&mut self, found: &Found) -> Option<TokenSource> {
        const EXPECTED: &str = "the name of an environment variable";
        let name = found.text.trim();
        if looks_like_a_token(name) {
            return self.bad_token(&found.origin, TokenError::NotAName { expected: EXPECTED });
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty()
            || name.starts_with(|first: char| first.is_ascii_digit())
            || !name.bytes().all(plain)
        {
            let expected = format!("{EXPECTED}, such as SHOP_TOKEN");
            self.problems.push(found.bad_as("text that is no such name (not shown)", expected));
            return None;
        }
        match set_variable(self.environment, name) {
            Some(text) => {
                // What is wrong with the content is the variable's fault, not the file's.
                let origin = Origin::Variable { name: name.to_owned(), flag: None };
                self.token_value(&Found { text, origin })
            }
            None => {
                let unset = format!("\"{name}\", a variable that is not set or empty");
                self.problems.push(found.bad_as(unset, "the name of one that holds the token"));
                None
            }
        }
    }

    fn bad_token(&mut self, origin: &Origin, error: TokenError) -> Option<TokenSource> {
        self.problems.push(Problem::BadToken { origin: origin.clone(), error });
        None
    }

    /// Two accounts with one token would count each entry twice, under two names.
    fn refuse_shared_tokens(&mut self, accounts: &[(Account, &FileOrigin)]) {
        for (index, (second, origin)) in accounts.iter().enumerate() {
            let token = second.token.initial().expose_secret();
            let first =
                accounts.iter().take(index).find(|(first, _)| first.token.initial().expose_secret() == token);
            if let Some((first, _)) = first {
                self.problems.push(Problem::SharedToken {
                    origin: (*origin).clone(),
                    first: first.name.to_string(),
                    second: second.name.to_string(),
                });
            }
        }
    }
}

fn token_variable() -> Origin {
    Origin::Variable { name: TOKEN_VARIABLE.to_owned(), flag: None }
}

fn duplicate(origin: &FileOrigin, value: String, first_line: u64) -> Problem {
    Problem::Duplicate { origin: origin.clone(), value, first_line }
}

/// Whether this mistake in the file may be why there is no token.
fn may_hide_a_token(problem: &Problem) -> bool {
    match problem {
        Problem::TokenInFile { .. } | Problem::UnknownKey { .. } => true,
        Problem::BadValue { origin: Origin::File(origin), .. } => {
            matches!(origin.key.as_str(), "accounts" | "api" | "api.token_file")
        }
        _ => false,
    }
}

/// The same for one account, whose keys begin with `within`.
fn may_hide_its_token(problem: &Problem, within: &str) -> bool {
    let (Problem::TokenInFile { origin }
    | Problem::UnknownKey { origin, .. }
    | Problem::BadValue { origin: Origin::File(origin), .. }) = problem
    else {
        return false;
    };
    origin.key.strip_prefix(within).is_some_and(|key| key.to_ascii_lowercase().contains("token"))
}
