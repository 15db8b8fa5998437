//! How keys, machines and people are shown: as they are, or as pseudonyms.
//!
//! A pseudonym is a keyed hash, and its key is the access token: the same person has the same pseudonym in every report
//! of an account until its token is replaced, and who has no token can't confirm a guess.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// 48 bits: with a million identities, two share a pseudonym with a chance of 1 in 500.
const PSEUDONYM_BYTES: usize = 6;

/// What an identity names; the pseudonym begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Machine,
    Name,
    Address,
    User,
    Text,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::Machine => "machine",
            Kind::Name => "name",
            Kind::Address => "ip",
            Kind::User => "user",
            Kind::Text => "text",
        }
    }
}

/// Shows identities in one of the two ways.
#[derive(Clone)]
pub(super) enum Identities {
    Full,
    Masked(Box<hmac::Key>),
}

impl Identities {
    pub(super) fn masked(token: &SecretString) -> Identities {
        let token = token.expose_secret().as_bytes();
        Identities::Masked(Box::new(hmac::Key::new(hmac::HMAC_SHA256, token)))
    }

    /// True if identities are shown as they are.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self, Identities::Full)
    }

    /// The value of `--identities`.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Identities::Full => "full",
            Identities::Masked(_) => "masked",
        }
    }

    pub(super) fn show(&self, kind: Kind, identity: &str) -> String {
        let Identities::Masked(key) = self else { return identity.to_owned() };
        let mut context = hmac::Context::with_key(key);
        context.update(kind.prefix().as_bytes());
        context.update(b"\0");
        context.update(identity.as_bytes());
        let tag = context.sign();
        let mut shown = format!("{}-", kind.prefix());
        for byte in tag.as_ref().iter().take(PSEUDONYM_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{byte:02x}");
        }
        shown
    }

    /// A user of the account: a number is its own id and shown, whatever else stands there is not.
    pub(super) fn user(&self, user: &str) -> String {
        if user.bytes().all(|byte| byte.is_ascii_digit()) {
            user.to_owned()
        } else {
            self.show(Kind::User, user)
        }
    }

    /// A text of JSON, with what names anybody in it shown as every identity is.
    pub(super) fn json_text(&self, data: &str) -> String {
        match (self, serde_json::from_str(data)) {
            (Identities::Full, _) => data.to_owned(),
            (Identities::Masked(_), Ok(value)) => self.json(value).to_string(),
            (Identities::Masked(_), Err(_)) => self.show(Kind::Text, data),
        }
    }

    /// Any text of a value can name somebody, except for dates.
    pub(super) fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) if text.is_empty() || is_date(&text) => Value::String(text),
            Value::String(text) => Value::String(self.show(Kind::Text, &text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (name, self.json(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

fn is_date(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_stable_distinct_and_bound_to_the_token() {
        let one = Identities::masked(&SecretString::from("one"));
        let other = Identities::masked(&SecretString::from("other"));
        let shown = one.show(Kind::Name, "alice@example.com");
        assert!(shown.starts_with("name-") && shown.len() == 17, "{shown}");
        assert_eq!(shown, one.show(Kind::Name, "alice@example.com"));
        assert_ne!(shown, one.show(Kind::Name, "bob@example.com"));
        assert_ne!(shown, other.show(Kind::Name, "alice@example.com"));
        assert_ne!(one.show(Kind::Key, "x")[4..], one.show(Kind::Name, "x")[5..]);
        assert_eq!(Identities::Full.show(Kind::Name, "alice"), "alice");
    }

    #[test]
    fn users_are_numbers_or_masked() {
        let identities = Identities::masked(&SecretString::from("token"));
        assert_eq!(identities.user("18"), "18");
        assert!(identities.user("bob@example.com").starts_with("user-"));
    }

    #[test]
    fn no_text_of_an_object_survives_masking() {
        let identities = Identities::masked(&SecretString::from("token"));
        let shown = identities.json_text(r#"{"Id":4,"Name":"Bob","Tags":["Bob",{"x":"Bob"}]}"#);
        assert!(!shown.contains("Bob") && shown.contains("\"Id\":4"), "{shown}");
        assert!(!identities.json_text("Bob, not JSON").contains("Bob"));
    }
}
