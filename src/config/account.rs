//! An account: whose logs are counted, from where on, and under which name.

use std::fmt;

use thiserror::Error;

use super::{Intervals, TokenSource};
use crate::cryptolens::{LogKind, Product};
use crate::ingest::{NamedLicense, Since};

/// Name of the one account when no file lists accounts.
const DEFAULT_NAME: &str = "default";
const LONGEST_NAME: usize = 100;

/// One account of the Web API.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name in labels and in the ledger; unique.
    pub name: AccountName,
    /// Its access token; no other account has the same.
    pub token: TokenSource,
    /// Logs to count; sorted, unique, never empty.
    pub logs: Vec<LogKind>,
    /// Where counting starts if the ledger has no position yet.
    pub since: Since,
    /// How often each log is polled.
    pub intervals: Intervals,
    /// Products that are known by configuration, in the order of the file; ids are unique.
    pub products: Vec<Product>,
    /// Licenses whose floating seats are shown, in the order of the file; names are unique.
    pub licenses: Vec<NamedLicense>,
}

/// 1 to 100 characters of `A-Z a-z 0-9 _ . -`, so that it can stand in labels, logs and pages
/// without escaping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

/// The text is no [`AccountName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 1 to 100 characters of A-Z a-z 0-9 _ . -")]
pub struct BadAccountName;

impl AccountName {
    /// Checks a name.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn try_new(name: &str) -> Result<Self, BadAccountName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(allowed) {
            return Err(BadAccountName);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountName {
    /// `default`, the one account when no file lists accounts.
    fn default() -> Self {
        Self(DEFAULT_NAME.to_owned())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
