//! The access token: how text becomes one, and where it is read again.
//!
//! Promises that no message and no `Debug` output holds the token or any part of it.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;

use super::environment::{Environment, reason};
use super::problem::looks_like_a_token;

/// Where an account's token comes from, and what it was when the configuration was read.
#[derive(Clone)]
pub enum TokenSource {
    /// From an environment variable, which can't change.
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

/// Why a token can't be used. Never holds its content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is no text, or only white space.
    #[error("the token is empty")]
    Empty,
    /// Something that no token has in it: white space, control characters, anything but ASCII.
    #[error(
        "the token has white space, control or other characters inside that no token has (content not shown)"
    )]
    Malformed,
    /// The file can't be read.
    #[error("cannot read token file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file holds no usable token.
    #[error("token file {}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        error: Box<TokenError>,
    },
    /// What should be the name of something is probably the token itself.
    #[error("expected {expected}, found text that looks like an access token (not shown)")]
    NotAName {
        /// What the setting wants.
        expected: &'static str,
    },
}

/// Makes a token of text, without white space around it.
///
/// # Errors
/// The text is empty, or can't be a token.
pub fn parse_token(text: &str) -> Result<SecretString, TokenError> {
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Malformed);
    }
    Ok(SecretString::from(token))
}

/// Reads a token file, at the start and whenever it changed.
///
/// # Errors
/// The file can't be read, or holds no token.
pub fn read_token_file(environment: &dyn Environment, path: &Path) -> Result<SecretString, TokenError> {
    // The mistake is common, and naming the path in a message would tell the token.
    if looks_like_a_token(&path.to_string_lossy()) {
        return Err(TokenError::NotAName { expected: "the path of a file" });
    }
    let text = environment
        .read_file(path)
        .map_err(|error| TokenError::Unreadable { path: path.to_owned(), reason: reason(&error) })?;
    parse_token(&text).map_err(|error| TokenError::InFile { path: path.to_owned(), error: Box::new(error) })
}
