//! Whose logs: the accounts of the file, or the one account that flags and variables describe.
//!
//! `serve` takes all accounts. A report takes one, and looks at nothing that belongs to the others
//! but their names, so that a missing token file of another account does not stop it.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::environment::{reason, set_variable};
use super::file::{FileAccount, FileLicense, FileProduct};
use super::problem::{FileOrigin, Problem, ValueOrigin};
use super::setting::Setting;
use super::sources::{SourceLevel, Sources};
use super::token::{TokenError, TokenSource, read_token_file};
use super::value::{self, SourcedValue};
use super::{Account, AccountAccess, AccountName, Intervals, table};
use crate::cryptolens::token::looks_like_a_token;
use crate::cryptolens::{LogKind, Product, token};
use crate::ingest::{NamedLicense, Since};
use crate::usage;

impl Sources<'_> {
    /// The access to the one account that a report, audit or export reads.
    pub fn account_access(&mut self) -> Option<AccountAccess> {
        let api = self.api();
        let states = self.states();
        let objects_first_code = self.get(&table::OBJECTS_FIRST_CODE, value::integer);
        let wanted = self.sourced(&table::ACCOUNT);
        let (name, token, products) = match self.file.accounts.clone() {
            None => (self.chosen(wanted, &[AccountName::default()]), self.own_token(), Vec::new()),
            Some(listed) => {
                self.refuse_stray_tokens(&listed);
                let mut first_lines = BTreeMap::new();
                let mut named = Vec::new();
                for entry in &listed {
                    named.extend(self.account_name(entry, &mut first_lines).map(|name| (name, entry)));
                }
                let names: Vec<AccountName> = named.iter().map(|(name, _)| name.clone()).collect();
                let name = self.chosen(wanted, &names)?;
                let (name, entry) = named.into_iter().find(|(known, _)| *known == name)?;
                let token = self.account_token(entry);
                (Some(name), token, self.products(&entry.products))
            }
        };
        let api = api?;
        Some(AccountAccess {
            warnings: super::resolve::warnings(&api, self.environment),
            api,
            name: name?,
            token: token?,
            products,
            states,
            objects_first_code: objects_first_code?,
        })
    }

    /// The account that `--account` names, or the only one.
    fn chosen(&mut self, wanted: Option<SourcedValue>, names: &[AccountName]) -> Option<AccountName> {
        let listed = || names.iter().map(AccountName::as_str).collect::<Vec<_>>().join(", ");
        match (wanted, names) {
            (None, [only]) => Some(only.clone()),
            (None, []) => None,
            (None, _) => {
                self.problems.push(Problem::SeveralAccounts { names: listed() });
                None
            }
            (Some(found), _) => {
                let name = names.iter().find(|name| name.as_str() == found.text).cloned();
                self.noted(name.ok_or_else(|| found.bad(format!("one of: {}", listed()))))
            }
        }
    }

    fn refuse_stray_tokens(&mut self, listed: &[FileAccount]) {
        let token_file = self.sourced(&table::API_TOKEN_FILE);
        let is_used = listed
            .iter()
            .any(|account| account.token_env.as_ref().is_some_and(|name| name.text == table::TOKEN.variable));
        let stray = self.sourced(&table::TOKEN).filter(|_| !is_used);
        for found in token_file.into_iter().chain(stray) {
            self.problems.push(Problem::TokenBesideAccounts { origin: found.origin });
        }
    }

    /// The token of the one account where the file lists none.
    fn own_token(&mut self) -> Option<TokenSource> {
        match (self.sourced(&table::TOKEN), self.sourced(&table::API_TOKEN_FILE)) {
            (Some(token), Some(token_file)) => {
                self.problems.push(Problem::TwoTokens { first: token.origin, second: token_file.origin });
                None
            }
            (Some(token), None) => self.token_value(&token),
            (None, Some(token_file)) => self.token_file(&token_file, &table::API_TOKEN_FILE),
            (None, None) => {
                if !self.problems.iter().any(may_hide_a_token) {
                    self.problems.push(Problem::NoToken);
                }
                None
            }
        }
    }

    /// All accounts, with all that `serve` needs to know of them.
    pub(super) fn accounts(&mut self) -> Vec<Account> {
        let intervals = self.intervals();
        if let Some(listed) = self.file.accounts.clone() {
            self.refuse_stray_tokens(&listed);
            return self.listed_accounts(&listed, intervals);
        }
        let token = self.own_token();
        let logs = self.shared_logs();
        let since = self.shared_since();
        let account = |token| Account {
            name: AccountName::default(),
            token,
            logs,
            since,
            intervals,
            products: Vec::new(),
            licenses: Vec::new(),
        };
        token.map(account).into_iter().collect()
    }

    /// The logs of the account that `--account` names, or of the only one.
    pub(super) fn logs_of_one_account(&mut self) -> Vec<LogKind> {
        let wanted = self.sourced(&table::ACCOUNT).map(|found| found.text);
        let is_wanted = |entry: &&FileAccount| {
            let name = entry.name.as_ref().map(|name| &name.text);
            wanted.as_ref().is_none_or(|wanted| name == Some(wanted))
        };
        let own = self.file.accounts.as_ref().and_then(|listed| listed.iter().find(is_wanted)?.logs.clone());
        match own.filter(|_| self.overridden(&table::LOGS).is_none()) {
            Some(items) => self.logs(&items),
            None => self.shared_logs(),
        }
    }

    fn shared_since(&mut self) -> Since {
        self.get(&table::SINCE, value::since).unwrap_or(Since::Now)
    }

    fn shared_logs(&mut self) -> Vec<LogKind> {
        // The file has them one by one, each with its own place.
        let items = match (self.overridden(&table::LOGS), self.file.list(table::LOGS.key)) {
            (Some(found), _) => vec![found],
            (None, Some(items)) => items.to_vec(),
            (None, None) => return LogKind::ALL.to_vec(),
        };
        self.logs(&items)
    }

    fn logs(&mut self, items: &[SourcedValue]) -> Vec<LogKind> {
        value::logs(items).unwrap_or_else(|problems| {
            self.problems.extend(problems);
            LogKind::ALL.to_vec()
        })
    }

    /// The value of a flag or a variable, which holds for every account of the file.
    fn overridden(&self, setting: &Setting) -> Option<SourcedValue> {
        [SourceLevel::Flag, SourceLevel::Variable].into_iter().find_map(|level| self.at(level, setting))
    }

    fn listed_accounts(&mut self, listed: &[FileAccount], intervals: Intervals) -> Vec<Account> {
        // Checked once, so that a bad value that all accounts share has one message.
        let shared_logs = self.shared_logs();
        let shared_since = self.shared_since();
        let logs_overridden = self.overridden(&table::LOGS).is_some();
        let since_overridden = self.overridden(&table::SINCE).is_some();

        let mut accounts: Vec<(Account, &FileOrigin)> = Vec::new();
        let mut first_lines = BTreeMap::new();
        for entry in listed {
            let logs = match &entry.logs {
                Some(items) if !logs_overridden => self.logs(items),
                _ => shared_logs.clone(),
            };
            let since = match &entry.since {
                Some(found) if !since_overridden => {
                    let since = value::since(found, &table::ACCOUNT_SINCE);
                    self.noted(since).unwrap_or(shared_since)
                }
                _ => shared_since,
            };
            let products = self.products(&entry.products);
            let licenses = self.licenses(&entry.licenses);
            let name = self.account_name(entry, &mut first_lines);
            let token = self.account_token(entry);
            if let (Some(name), Some(token)) = (name, token) {
                let account = Account { name, token, logs, since, intervals, products, licenses };
                accounts.push((account, &entry.origin));
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
        let name = self.noted(name)?;
        if let ValueOrigin::File(origin) = &found.origin {
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
            let id = value::integer::<i64>(&entry.id, &table::PRODUCT_ID);
            let name = value::text(&entry.name, &table::PRODUCT_NAME);
            let (Some(id), Some(name)) = (self.noted(id), self.noted(name)) else {
                continue;
            };
            if let ValueOrigin::File(origin) = &entry.id.origin {
                if let Some(first_line) = first_lines.get(&id) {
                    self.problems.push(duplicate(origin, id.to_string(), *first_line));
                }
                first_lines.entry(id).or_insert(origin.place.line);
            }
            products.push(Product { id, name });
        }
        products
    }

    fn licenses(&mut self, entries: &[FileLicense]) -> Vec<NamedLicense> {
        let mut licenses: Vec<NamedLicense> = Vec::new();
        let mut first_lines = BTreeMap::new();
        for entry in entries {
            let key = self.key_of_license(entry);
            let product_id = entry.product_id.as_ref().and_then(|found| {
                let product_id = value::integer::<i64>(found, &table::LICENSE_PRODUCT_ID);
                self.noted(product_id)
            });
            let name = entry.name.as_ref().and_then(|found| {
                let name =
                    AccountName::try_new(&found.text).ok().filter(|_| !looks_like_a_token(&found.text));
                let is_key = key.as_ref().is_some_and(|key| key.expose_secret() == found.text);
                if is_key {
                    self.problems
                        .push(found.bad_as("the license key (not shown)", table::LICENSE_NAME.expected));
                    return None;
                }
                self.noted(name.ok_or_else(|| found.bad(table::LICENSE_NAME.expected)))
            });
            if let (Some(name), Some(found)) = (&name, &entry.name)
                && let ValueOrigin::File(origin) = &found.origin
            {
                if let Some(first_line) = first_lines.get(name) {
                    self.problems.push(duplicate(origin, format!("\"{name}\""), *first_line));
                }
                first_lines.entry(name.clone()).or_insert(origin.place.line);
            }
            if let (Some(name), Some(product_id), Some(key)) = (name, product_id, key) {
                licenses.push(NamedLicense { name: name.as_str().into(), product_id, key });
            }
        }
        licenses
    }

    fn key_of_license(&mut self, entry: &FileLicense) -> Option<SecretString> {
        match (&entry.key_file, &entry.key_env) {
            (Some(key_file), Some(key_env)) => {
                self.problems.push(Problem::Conflict {
                    first: key_file.origin.to_string(),
                    second: key_env.origin.to_string(),
                    reason: "both say where the license key is: give one of them".to_owned(),
                });
                None
            }
            (Some(found), None) => {
                let path = self.path_of(found, &table::LICENSE_KEY_FILE)?;
                let text = self.environment.read_file(&path).map_err(|error| reason(&error));
                let key = text.and_then(|text| key_in(&text).map_err(str::to_owned));
                let origin = found.origin.clone();
                self.noted(key.map_err(|reason| Problem::BadFile { origin, path, reason }))
            }
            (None, Some(found)) => {
                let name = found.text.trim();
                if !is_variable_name(name) {
                    let expected = table::LICENSE_KEY_ENV.expected;
                    self.problems.push(found.bad_as("text that is no such name (not shown)", expected));
                    return None;
                }
                let Some(text) = set_variable(self.environment, name) else {
                    let unset = format!("\"{name}\", a variable that is not set or empty");
                    self.problems.push(found.bad_as(unset, "the name of one that holds the license key"));
                    return None;
                };
                // A bad content is a problem of the variable, not of the file.
                let origin = ValueOrigin::Variable { name: name.to_owned(), flag: None };
                self.noted(key_in(&text).map_err(|fault| Problem::BadValue {
                    origin,
                    found: format!("a text that is not used: {fault}"),
                    expected: "a license key".to_owned(),
                }))
            }
            (None, None) => {
                let (origin, expected) = (entry.origin.clone(), table::LICENSE_KEY_FILE.expected);
                self.problems.push(Problem::MissingKey { origin, key: "key_file or key_env", expected });
                None
            }
        }
    }

    fn account_token(&mut self, entry: &FileAccount) -> Option<TokenSource> {
        match (&entry.token_file, &entry.token_env) {
            (Some(token_file), Some(token_env)) => {
                let (first, second) = (token_file.origin.clone(), token_env.origin.clone());
                self.problems.push(Problem::TwoTokens { first, second });
                None
            }
            (Some(token_file), None) => self.token_file(token_file, &table::ACCOUNT_TOKEN_FILE),
            (None, Some(token_env)) => self.token_env(token_env),
            (None, None) => {
                // Without a name there is a problem already, and so there is with a token in the
                // file.
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

    fn token_value(&mut self, found: &SourcedValue) -> Option<TokenSource> {
        match token::parse(&found.text).map_err(TokenError::from) {
            Ok(token) => Some(TokenSource::Value(token)),
            Err(error) => self.bad_token(&found.origin, error),
        }
    }

    fn token_file(&mut self, found: &SourcedValue, setting: &Setting) -> Option<TokenSource> {
        let path = self.path_of(found, setting)?;
        match read_token_file(self.environment, &path) {
            Ok(initial) => Some(TokenSource::File { path, initial }),
            Err(error) => self.bad_token(&found.origin, error),
        }
    }

    fn token_env(&mut self, found: &SourcedValue) -> Option<TokenSource> {
        const EXPECTED: &str = "the name of an environment variable";
        let name = found.text.trim();
        if looks_like_a_token(name) {
            return self.bad_token(&found.origin, TokenError::NotAName { expected: EXPECTED });
        }
        if !is_variable_name(name) {
            let expected = format!("{EXPECTED}, such as SHOP_TOKEN");
            self.problems.push(found.bad_as("text that is no such name (not shown)", expected));
            return None;
        }
        match set_variable(self.environment, name) {
            Some(text) => {
                // A bad content is a problem of the variable, not of the file.
                let origin = ValueOrigin::Variable { name: name.to_owned(), flag: None };
                self.token_value(&SourcedValue { text, origin })
            }
            None => {
                let unset = format!("\"{name}\", a variable that is not set or empty");
                self.problems.push(found.bad_as(unset, "the name of one that holds the token"));
                None
            }
        }
    }

    fn bad_token(&mut self, origin: &ValueOrigin, error: TokenError) -> Option<TokenSource> {
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

fn is_variable_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) && name.bytes().all(plain)
}

/// The license key in a text, or why there is none. No part of the text is in the reason.
fn key_in(text: &str) -> Result<SecretString, &'static str> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.contains(char::is_whitespace) {
        return Err("it holds more than one license key");
    }
    let key = usage::license_key(text);
    if key.is_empty() { Err("it holds no license key") } else { Ok(SecretString::from(key.into_owned())) }
}

fn duplicate(origin: &FileOrigin, value: String, first_line: u64) -> Problem {
    Problem::Duplicate { origin: origin.clone(), value, first_line }
}

/// Whether this mistake in the file may be why there is no token.
fn may_hide_a_token(problem: &Problem) -> bool {
    match problem {
        Problem::TokenInFile { .. } | Problem::UnknownKey { .. } => true,
        Problem::BadValue { origin: ValueOrigin::File(origin), .. } => {
            matches!(origin.key.as_str(), "accounts" | "api" | "api.token_file")
        }
        _ => false,
    }
}

/// The same for one account, whose keys begin with `within`.
fn may_hide_its_token(problem: &Problem, within: &str) -> bool {
    let (Problem::TokenInFile { origin }
    | Problem::UnknownKey { origin, .. }
    | Problem::BadValue { origin: ValueOrigin::File(origin), .. }) = problem
    else {
        return false;
    };
    origin.key.strip_prefix(within).is_some_and(|key| key.to_ascii_lowercase().contains("token"))
}
