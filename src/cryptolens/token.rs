//! The access token of one account and its file, and the recognition of a token that was typed in
//! the wrong place.
//!
//! Promises: a token never appears in `Debug` output; a token file is read again when its content
//! changes, and a bad new content leaves the old token in use. It doesn't know the vendor's own
//! rule for tokens, which is not documented: those of the documentation are the Base64 text of a
//! JSON list that begins with a string.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use crate::text_file::{self, BYTE_ORDER_MARK};

/// The interval at which a token file is read again. It has a few bytes, and a symlink that
/// Kubernetes swaps gives no other sign.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The reason why a text is no token. It never holds the text.
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

/// Reads a token as it stands in a file or an environment variable: white space and byte order
/// marks around it are dropped.
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

/// The Base64 text of `["`, with which a token begins.
const BEGINNING: &str = "WyI";
/// A token is longer, and a word is not.
const SHORTEST_TOKEN: usize = 16;
/// Letters of both cases and digits in a row: longer than any word, and shorter than what any key
/// has somewhere.
const LONGEST_WORD: usize = 24;

/// The text in a message in place of a token.
const NOT_SHOWN: &str = "(text that looks like an access token, not shown)";

/// True if there is an access token in the text, typed where something else was wanted.
#[must_use]
pub fn looks_like_a_token(text: &str) -> bool {
    find(text).is_some()
}

/// The text without anything in it that may be an access token, for messages that repeat what a
/// user typed. It takes away more than [`looks_like_a_token`] finds: also other long text of mixed
/// letters and digits.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut redacted = Cow::Borrowed(text);
    while let Some(place) = find(&redacted).or_else(|| find_key(&redacted)) {
        redacted.to_mut().replace_range(place, NOT_SHOWN);
    }
    redacted
}

fn is_of_base64(c: char) -> bool {
    // The last three stand for others in URLs.
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%')
}

fn find(text: &str) -> Option<Range<usize>> {
    text.match_indices(BEGINNING).map(|(start, _)| start).find_map(|start| {
        let (before, after) = text.split_at_checked(start)?;
        let length = after.find(|c| !is_of_base64(c)).unwrap_or(after.len());
        let begins = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        (begins && length >= SHORTEST_TOKEN).then_some(start..start + length)
    })
}

/// A long text of letters of both cases and digits, with the characters that belong to it on both
/// sides.
fn find_key(text: &str) -> Option<Range<usize>> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '='));
    let word = words.find(|word| {
        let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
        word.len() >= LONGEST_WORD
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit)
    })?;
    let start = word.as_ptr().addr() - text.as_ptr().addr();
    let (before, after) = text.split_at_checked(start)?;
    let foreign = before.char_indices().rev().find(|(_, c)| !is_of_base64(*c));
    let from = foreign.map_or(0, |(at, c)| at + c.len_utf8());
    let length = after.find(|c| !is_of_base64(c)).unwrap_or(after.len());
    Some(from..start + length)
}

/// The token in use now. Clones see its changes.
#[derive(Clone, Debug)]
pub struct Token {
    current: watch::Receiver<SecretString>,
    sender: watch::Sender<SecretString>,
}

impl Token {
    /// A token that never changes.
    pub fn fixed(token: SecretString) -> Token {
        let (sender, current) = watch::channel(token);
        Token { current, sender }
    }

    /// A token that follows its file for as long as the returned future is polled.
    pub fn file(path: PathBuf, initial: SecretString) -> (Token, impl Future<Output = ()> + Send) {
        let (sender, current) = watch::channel(initial);
        let token = Token { current, sender: sender.clone() };
        (token, follow(path, sender))
    }

    /// Ends every wait of [`Token::changed`] although the token is the same: an operator asked for
    /// another attempt.
    pub fn try_again(&self) {
        self.sender.send_modify(|_| {});
    }

    /// The token in use.
    pub fn current(&self) -> SecretString {
        self.current.borrow().clone()
    }

    /// Ends when the token changed, or [`Token::try_again`] was called, since this clone was made
    /// or last waited.
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
                    "the token file cannot be used, the old token stays in use; correct the file"
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

    const TOKEN: &str = "WyI0MjQyIiwi+Q0FOQVJZLXRva2Vu/Il0=";

    #[test]
    fn a_token_in_the_wrong_place_is_recognised() {
        for text in
            [TOKEN.to_owned(), format!(" \"{TOKEN}\""), format!("token={TOKEN}"), format!("./{TOKEN}")]
        {
            assert!(looks_like_a_token(&text), "{text}");
        }
        for text in
            ["WyI", "/etc/exporter.yml", "xWyI0MjQyIiwiQ0FOQVJZ", "https://api.cryptolens.io/api", "30d"]
        {
            assert!(!looks_like_a_token(text), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_token_is_taken_out_of_a_message() {
        let other = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9/x+y";
        for (text, expected) in [
            (format!("error: unexpected argument '{TOKEN}' found"), "error: unexpected argument '*' found"),
            (format!("--api.token={TOKEN}, {TOKEN} é{TOKEN}"), "--api.token=*, * é*"),
            (format!("cannot read é{other}: no such file"), "cannot read é*: no such file"),
        ] {
            assert_eq!(redact(&text), expected.replace('*', NOT_SHOWN));
        }
        for plain in [
            "cannot read /var/lib/cryptolens-exporter/Config2026/ledger.db: permission denied",
            "create one at https://app.cryptolens.io/User/AccessToken#/ (CRYPTOLENS_TOKEN)",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "ICVLD-VVSZR-ZTICT-YKGXL",
        ] {
            assert_eq!(redact(plain), plain);
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let token = Token::fixed(SecretString::from("WyIcanary"));
        assert!(!format!("{token:?}").contains("canary"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_token_is_tried_again_only_on_request() {
        let token = Token::fixed(SecretString::from("one"));
        let mut waiting = token.clone();
        tokio::time::timeout(LOOK_EVERY * 100, waiting.changed()).await.unwrap_err();
        token.try_again();
        waiting.changed().await;
        assert_eq!(waiting.current().expose_secret(), "one");
        tokio::time::timeout(LOOK_EVERY * 100, waiting.changed()).await.unwrap_err();
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
