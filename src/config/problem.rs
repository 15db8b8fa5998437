//! The mistakes that a configuration can have, and the message of each.
//!
//! Promises that every message names where the bad value came from (flag, variable, or file, line
//! and column), what was found and what would be right, and that no message quotes a line of the
//! file or a token: only single values are echoed, through [`shown`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::token::TokenError;
use crate::cryptolens::token::redact;

/// The configuration cannot be used.
#[derive(Debug, Clone, Error)]
pub enum ConfigError {
    /// The file named by `--config.file` cannot be read.
    #[error("{origin}: cannot read {}: {reason}", redact(&path.to_string_lossy()))]
    UnreadableFile {
        /// Who named the file.
        origin: ValueOrigin,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Everything that is wrong with it, one line each; never empty.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Debug, Clone, Error)]
pub enum Problem {
    /// The file is not YAML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where reading ended.
        place: FilePosition,
        /// The reason that the YAML reader gives.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{}: unknown key {}{}; allowed here: {}", origin.place, origin.key, did_you_mean(.hint.as_deref()), allowed.join(", "))]
    UnknownKey {
        /// The key, and where it is.
        origin: FileOrigin,
        /// The key that was probably meant.
        hint: Option<String>,
        /// Keys that exist at this place.
        allowed: Vec<&'static str>,
    },
    /// A token inside the file, or a value whose key says that it is one. The value is not kept.
    #[error("{}: unknown key {}: tokens are not written into the file; use token_file or token_env", origin.place, origin.key)]
    TokenInFile {
        /// The key, and where it is.
        origin: FileOrigin,
    },
    /// A value that is not valid.
    #[error("{origin}: found {found}, expected {expected}")]
    BadValue {
        /// Where the value came from.
        origin: ValueOrigin,
        /// The value, as far as it may be shown.
        found: String,
        /// Which values are right.
        expected: String,
    },
    /// A key that is needed is not there.
    #[error("{}: {} has no {key}; expected {expected}", origin.place, origin.key)]
    MissingKey {
        /// The map without the key.
        origin: FileOrigin,
        /// The key.
        key: &'static str,
        /// Which values are right.
        expected: &'static str,
    },
    /// The same name or id twice in a list.
    #[error("{}: {} is given twice: {value} was already used in line {first_line}", origin.place, origin.key)]
    Duplicate {
        /// The second one.
        origin: FileOrigin,
        /// The value of both.
        value: String,
        /// Line of the first one.
        first_line: u64,
    },
    /// A file that a setting names cannot be used.
    #[error("{origin}: cannot use {}: {reason}", path.display())]
    BadFile {
        /// Who named the file.
        origin: ValueOrigin,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A token that cannot be one, or cannot be read.
    #[error("{origin}: {error}")]
    BadToken {
        /// Who gave or named it.
        origin: ValueOrigin,
        /// The fault, without the content.
        error: TokenError,
    },
    /// No source has the token.
    #[error(
        "no access token: create one at https://app.cryptolens.io/User/AccessToken#/ and hand it over in the environment \
         variable CRYPTOLENS_TOKEN, or in a file named by --api.token-file (CRYPTOLENS_TOKEN_FILE)"
    )]
    NoToken,
    /// Two sources have the token of one account.
    #[error("two sources for one token: {first} and {second}; keep one of them")]
    TwoTokens {
        /// One source.
        first: ValueOrigin,
        /// The other source.
        second: ValueOrigin,
    },
    /// A token for "the" account although the file lists accounts.
    #[error(
        "{origin} gives a token, but the file lists accounts, which have their own: remove it, or use it in an account as \
         token_file or token_env"
    )]
    TokenBesideAccounts {
        /// Who gave it.
        origin: ValueOrigin,
    },
    /// Two settings that stand for each other.
    #[error("{first} and {second} {reason}")]
    Conflict {
        /// One of them.
        first: String,
        /// The other one.
        second: String,
        /// Why not both.
        reason: String,
    },
    /// A command lacks a setting that it cannot do without.
    #[error("{command} needs {needed}; expected {expected}")]
    Needed {
        /// The command, or the setting that needs another one.
        command: String,
        /// Names of the missing setting.
        needed: String,
        /// Which values are right.
        expected: String,
    },
    /// A command that reads one account, and a file with several.
    #[error("the configuration file lists several accounts; choose one by --account: {names}")]
    SeveralAccounts {
        /// Names of all accounts.
        names: String,
    },
    /// An account without a token.
    #[error(
        "{}: account \"{account}\" has no token; expected token_file (path of a file) or token_env (name of an environment variable)",
        origin.place
    )]
    AccountWithoutToken {
        /// The account's entry.
        origin: FileOrigin,
        /// Its name.
        account: String,
    },
    /// Two accounts would count the same entries.
    #[error("{}: accounts \"{first}\" and \"{second}\" have the same token; each account needs its own", origin.place)]
    SharedToken {
        /// The second account's entry.
        origin: FileOrigin,
        /// Name of the first account.
        first: String,
        /// Name of the second account.
        second: String,
    },
}

/// A place in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from 1; 0 if unknown.
    pub line: u64,
    /// Column, from 1; 0 if unknown.
    pub column: u64,
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// A key in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// Where its value is, or the key itself if that is what is wrong.
    pub place: FilePosition,
    /// The key with those above it, such as `accounts[0].since`.
    pub key: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    /// A flag.
    Flag(String),
    /// An environment variable, and the flag that it stands for if there is one.
    Variable {
        /// Name of the variable.
        name: String,
        /// The flag.
        flag: Option<String>,
    },
    /// A key of the file.
    File(FileOrigin),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable { name, flag: Some(flag) } => write!(f, "{name} (environment variable of {flag})"),
            Self::Variable { name, flag: None } => write!(f, "{name} (environment variable)"),
            Self::File(FileOrigin { place, key }) => write!(f, "{place}: {key}"),
        }
    }
}

impl Problem {
    /// The order of messages: flags and variables first, then down the file.
    pub(super) fn line(&self) -> (u64, u64) {
        let place = match self {
            Self::Syntax { place, .. } => place,
            Self::UnknownKey { origin, .. }
            | Self::TokenInFile { origin }
            | Self::MissingKey { origin, .. }
            | Self::Duplicate { origin, .. }
            | Self::AccountWithoutToken { origin, .. }
            | Self::SharedToken { origin, .. }
            | Self::BadValue { origin: ValueOrigin::File(origin), .. }
            | Self::BadFile { origin: ValueOrigin::File(origin), .. }
            | Self::BadToken { origin: ValueOrigin::File(origin), .. }
            | Self::TokenBesideAccounts { origin: ValueOrigin::File(origin) } => &origin.place,
            Self::BadValue { .. }
            | Self::BadFile { .. }
            | Self::BadToken { .. }
            | Self::NoToken
            | Self::Conflict { .. }
            | Self::Needed { .. }
            | Self::SeveralAccounts { .. }
            | Self::TwoTokens { .. }
            | Self::TokenBesideAccounts { .. } => return (0, 0),
        };
        (place.line, place.column)
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    redact(&lines).into_owned()
}

fn did_you_mean(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}

/// A value as a message may show it: quoted, on one line, short, and hidden if it looks like an
/// access token.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 80;
    if redact(value) != value {
        return "text that looks like an access token (not shown)".to_owned();
    }
    let short: String = value.chars().take(LONGEST).collect();
    let more = if short.len() < value.len() { "..." } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}
