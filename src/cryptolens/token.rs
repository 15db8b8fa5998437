//! The access token of one account, and its file.
//!
//! Promises: a token never appears in `Debug` output; a token file is read again when its content changes, and a bad
//! new content leaves the old token in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use crate::text_file::{self, BYTE_ORDER_MARK};

/// How often a token file is looked at. It is a few bytes, and a symlink swapped by Kubernetes has no other sign.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a text is no token. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// Something that no token has in it: white space, control characters, anything but ASCII.
    #[error(
        "the token has white space, control or other characters inside that no token has (content not shown)"
    )]
    Characters,
}

/// Reads a token as it stands in a file or an environment variable: white space and byte order marks around it are
/// dropped.
///
/// # Errors
/// [`TokenFault`] where no request could be made with it.
pub fn parse(text: &str) -> Result<SecretString, TokenFault> {
    let token = text.trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK);
    if token.is_empty() {
        return Err(TokenFault::Empty);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFault::Characters);
    }
    Ok(SecretString::from(token))
}

/// The token in use now. Clones see its changes.
#[derive(Clone, Debug)]
pub struct Token {
    current: watch::Receiver<SecretString>,
}

impl Token {
    /// A token that never changes.
    pub fn fixed(token: SecretString) -> Token {
        Token { current: watch::channel(token).1 }
    }

    /// A token that follows its file for as long as the returned future is polled.
    pub fn file(path: PathBuf, initial: SecretString) -> (Token, impl Future<Output = ()> + Send) {
        let (sender, current) = watch::channel(initial);
        (Token { current }, follow(path, sender))
    }

    /// The token as of now.
    pub fn current(&self) -> SecretString {
        self.current.borrow().clone()
    }

    /// Ends when the token changed since this clone was made or last waited; never for a fixed token.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// From now on, [`Token::changed`] waits for a change that comes after this call.
    pub fn mark_seen(&mut self) {
        self.current.mark_unchanged();
    }
}

async fn follow(path: PathBuf, sender: watch::Sender<SecretString>) {
    let mut complained = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match read(&path) {
            Ok(token) => {
                complained = false;
                let changed = sender.send_if_modified(|current| {
                    let differs = current.expose_secret() != token.expose_secret();
                    if differs {
                        *current = token;
                    }
                    differs
                });
                if changed {
                    tracing::info!(file = %path.display(), "token file changed, the new token is in use");
                }
            }
            Err(reason) if !complained => {
                complained = true;
                tracing::error!(
                    file = %path.display(),
                    %reason,
                    "token file is not usable, the old token stays in use; mend the file"
                );
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let text = text_file::read(path).map_err(|error| error.to_string())?;
    parse(&text).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_trimmed_and_checked() {
        for text in [" WyIx\n", "\u{feff}WyIx\r\n", "\u{feff} WyIx\t\u{feff}\n", "WyIx\u{a0}"] {
            assert_eq!(parse(text).unwrap().expose_secret(), "WyIx", "{text:?}");
        }
        assert_eq!(parse("\u{feff}\r\n").unwrap_err(), TokenFault::Empty);
        assert_eq!(parse("Wy\u{feff}Ix").unwrap_err(), TokenFault::Characters);
        assert_eq!(parse(" \n").unwrap_err(), TokenFault::Empty);
        assert_eq!(parse("two words").unwrap_err(), TokenFault::Characters);
        assert_eq!(parse("a\u{0}b").unwrap_err(), TokenFault::Characters);
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let token = Token::fixed(SecretString::from("WyIcanary"));
        assert!(!format!("{token:?}").contains("canary"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_followed_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let (mut token, follow) = Token::file(path.clone(), parse("one").unwrap());
        let follow = tokio::spawn(follow);

        std::fs::write(&path, "").unwrap();
        tokio::time::sleep(LOOK_EVERY * 3).await;
        assert_eq!(token.current().expose_secret(), "one");

        std::fs::write(&path, "\u{feff}two\r\n").unwrap();
        token.changed().await;
        assert_eq!(token.current().expose_secret(), "two");
        follow.abort();
    }
}
