//! The access token: how text becomes one, and where it is read again.
//!
//! Promises that no message and no `Debug` output holds the token or any part of it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;

use crate::cryptolens::token::{self, TokenFault, looks_like_a_token};

use super::environment::{Environment, reason};

/// The source of an account's token, and the token when the configuration was read.
#[derive(Clone)]
pub enum TokenSource {
    /// From an environment variable, which cannot change.
    Value(SecretString),
    /// From a file, which may change.
    File {
        /// The file.
        path: PathBuf,
        /// The token in it at that time.
        initial: SecretString,
    },
}

impl TokenSource {
    /// The token when the configuration was read.
    #[must_use]
    pub fn initial(&self) -> &SecretString {
        match self {
            Self::Value(token) | Self::File { initial: token, .. } => token,
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value([redacted])"),
            Self::File { path, .. } => write!(f, "File({}, [redacted])", path.display()),
        }
    }
}

/// Why a token cannot be used. Never holds its content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The text is no token.
    #[error(transparent)]
    Text(#[from] TokenFault),
    /// The file cannot be read.
    #[error("cannot read token file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The file holds no usable token.
    #[error("token file {}: {fault}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The fault of its content.
        fault: TokenFault,
    },
    /// The value should be a name, and is probably the token itself.
    #[error("expected {expected}, found text that looks like an access token (not shown)")]
    NotAName {
        /// The values that the setting takes.
        expected: &'static str,
    },
}

/// The place of the first argument of a command line that looks like a token.
#[must_use]
pub fn find_token(arguments: &[OsString]) -> Option<usize> {
    arguments.iter().position(|text| looks_like_a_token(&text.to_string_lossy()))
}

/// Reads a token file, at the start and whenever it changed.
///
/// # Errors
/// The file cannot be read, or holds no token.
pub fn read_token_file(environment: &dyn Environment, path: &Path) -> Result<SecretString, TokenError> {
    // The mistake is common, and a message with the path would show the token.
    if looks_like_a_token(&path.to_string_lossy()) {
        return Err(TokenError::NotAName { expected: "the path of a file" });
    }
    let text = environment
        .read_file(path)
        .map_err(|error| TokenError::Unreadable { path: path.to_owned(), reason: reason(&error) })?;
    token::parse(&text).map_err(|fault| TokenError::InFile { path: path.to_owned(), fault })
}
