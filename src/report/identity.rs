//! How keys, machines and people are shown: as they are, or as pseudonyms.
//!
//! A pseudonym is a keyed hash, and its key is the access token: the same person has the same pseudonym in every report
//! of an account until its token is replaced, and who has no token can't confirm a guess.

use std::fmt::Write as _;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

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
}
