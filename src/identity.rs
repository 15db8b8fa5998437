//! How keys, machines and people are shown: as they are, or as pseudonyms.
//!
//! A pseudonym is a keyed hash. In reports and exports its key is the access token: the same person has
//! the same pseudonym in every report of an account until its token is replaced, and who has no token
//! can't confirm a guess. The archive is joined over years, so it has a key of its own and longer
//! pseudonyms.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// 48 bits: with a million identities, two share a pseudonym with a chance of 1 in 500.
const PSEUDONYM_BYTES: usize = 6;

/// 64 bits: with a hundred million identities, two share a pseudonym with a chance of 1 in 3,600.
const LONG_PSEUDONYM_BYTES: usize = 8;

/// How keys, machines, customers and people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityLevel {
    /// As pseudonyms.
    Masked,
    /// Customers by the name of their company, keys by their last group; people and machines as
    /// pseudonyms.
    Customers,
    /// As they are.
    Full,
}

/// Makes pseudonyms.
#[derive(Clone)]
pub(crate) struct PseudonymKey {
    key: hmac::Key,
    /// The length of a pseudonym.
    bytes: usize,
}

/// The kind of thing that an identity names; the pseudonym begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityKind {
    Key,
    Machine,
    Name,
    Address,
    User,
    Text,
    Field,
}

impl IdentityKind {
    const fn prefix(self) -> &'static str {
        match self {
            IdentityKind::Key => "key",
            IdentityKind::Machine => "machine",
            IdentityKind::Name => "name",
            IdentityKind::Address => "ip",
            IdentityKind::User => "user",
            IdentityKind::Text => "text",
            IdentityKind::Field => "field",
        }
    }
}

/// Shows identities in one of the two ways.
#[derive(Clone)]
pub(crate) enum Identities {
    Full,
    /// Keys by their last group, everything else as a pseudonym.
    Customers(Box<PseudonymKey>),
    Masked(Box<PseudonymKey>),
}

impl Identities {
    pub(crate) fn masked(token: &SecretString) -> Identities {
        Identities::with_key(token.expose_secret().as_bytes(), PSEUDONYM_BYTES)
    }

    /// Long pseudonyms by a key that outlives every access token.
    pub(crate) fn by_key(key: &[u8]) -> Identities {
        Identities::with_key(key, LONG_PSEUDONYM_BYTES)
    }

    fn with_key(key: &[u8], bytes: usize) -> Identities {
        Identities::Masked(Box::new(PseudonymKey { key: hmac::Key::new(hmac::HMAC_SHA256, key), bytes }))
    }

    pub(crate) fn new(level: IdentityLevel, token: &SecretString) -> Identities {
        match (level, Identities::masked(token)) {
            (IdentityLevel::Full, _) => Identities::Full,
            (IdentityLevel::Customers, Identities::Masked(key)) => Identities::Customers(key),
            (_, masked) => masked,
        }
    }

    /// The level that they were made for.
    pub(crate) const fn level(&self) -> IdentityLevel {
        match self {
            Identities::Full => IdentityLevel::Full,
            Identities::Customers(_) => IdentityLevel::Customers,
            Identities::Masked(_) => IdentityLevel::Masked,
        }
    }

    /// True if identities are shown as they are.
    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Identities::Full)
    }

    /// The value of `--identities`.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Identities::Full => "full",
            Identities::Customers(_) => "customers",
            Identities::Masked(_) => "masked",
        }
    }

    pub(crate) fn show(&self, kind: IdentityKind, identity: &str) -> String {
        let key = match self {
            Identities::Full => return identity.to_owned(),
            Identities::Customers(_) if kind == IdentityKind::Key && last_group(identity).is_some() => {
                return format!("…-{}", last_group(identity).unwrap_or_default());
            }
            Identities::Customers(key) | Identities::Masked(key) => key,
        };
        let mut context = hmac::Context::with_key(&key.key);
        context.update(kind.prefix().as_bytes());
        context.update(b"\0");
        context.update(identity.as_bytes());
        let tag = context.sign();
        let mut shown = format!("{}-", kind.prefix());
        for byte in tag.as_ref().iter().take(key.bytes) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{byte:02x}");
        }
        shown
    }

    /// Shows an identity where there is one.
    pub(crate) fn replace(&self, kind: IdentityKind, identity: &mut Option<String>) {
        if let Some(identity) = identity {
            *identity = self.show(kind, identity);
        }
    }

    /// True if `typed` means this key: the whole key, as it is shown, or its last group.
    pub(crate) fn is_key(&self, typed: &str, key: &str) -> bool {
        let typed = typed.trim();
        let group = typed.trim_start_matches(['…', '.', '-']);
        typed == key
            || last_group(key).is_some_and(|last| last.eq_ignore_ascii_case(group))
            || self.show(IdentityKind::Key, key) == typed
    }

    /// A user of the account: the number that the API gives users is shown, whatever else stands
    /// there is not.
    pub(crate) fn user(&self, user: &str) -> String {
        let is_id = user.bytes().all(|byte| byte.is_ascii_digit()) && user.parse::<i32>().is_ok();
        if is_id { user.to_owned() } else { self.show(IdentityKind::User, user) }
    }

    /// As `user 22`. A pseudonym begins with the word.
    pub(crate) fn user_in_words(&self, user: &str) -> String {
        let shown = self.user(user);
        let is_number = shown.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { format!("user {shown}") } else { shown }
    }

    /// A text of JSON, with what may name anybody in it shown as every identity is.
    pub(crate) fn json_text(&self, data: &str) -> String {
        match (self, serde_json::from_str(data)) {
            (Identities::Full, _) => data.to_owned(),
            (_, Ok(value)) => self.json(value, false).to_string(),
            (_, Err(_)) => self.show(IdentityKind::Text, data),
        }
    }

    /// The members that the API gives a row beside those that are known. Their names are the API's
    /// and stay; of their values every text is masked, a date too.
    pub(crate) fn other_members(&self, members: &mut Map<String, Value>) {
        if self.is_full() {
            return;
        }
        for value in members.values_mut() {
            *value = match value.take() {
                Value::String(text) => Value::String(self.show(IdentityKind::Text, &text)),
                value => self.json(value, true),
            };
        }
    }

    /// The name of a member, and its value. Names that the API documents stay; any other can be
    /// anything, such as an address. Numbers and dates stay where the member is one of a license:
    /// elsewhere they may be a telephone number or a date of birth.
    pub(crate) fn member(&self, name: &str, value: Value) -> (String, Value) {
        let is_one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let keeps_numbers = is_one_of(&WITH_NUMBERS);
        let shown = if keeps_numbers || is_one_of(&WITHOUT_NUMBERS) {
            name.to_owned()
        } else {
            self.show(IdentityKind::Field, name)
        };
        (shown, self.json(value, keeps_numbers))
    }

    /// A value, in which `true`, `false` and `null` always stay.
    pub(crate) fn json(&self, value: Value, keeps_numbers: bool) -> Value {
        if self.is_full() {
            return value;
        }
        match value {
            Value::String(text) if text.is_empty() || (keeps_numbers && is_date(&text)) => {
                Value::String(text)
            }
            Value::String(text) => Value::String(self.show(IdentityKind::Text, &text)),
            Value::Number(number) if !keeps_numbers => {
                Value::String(self.show(IdentityKind::Text, &number.to_string()))
            }
            Value::Array(items) => items.into_iter().map(|item| self.json(item, keeps_numbers)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| self.member(&name, value)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

/// The last of several groups of a key, as `HCGXC`; none where it is the whole key or nearly so.
fn last_group(key: &str) -> Option<&str> {
    let (before, last) = key.rsplit_once('-')?;
    let is_short = !last.is_empty() && last.len() <= 8 && before.len() >= last.len();
    is_short.then_some(last)
}

/// Members of licenses and products whose numbers and dates say nothing about a person.
const WITH_NUMBERS: [&str; 32] = [
    "AffectedObjectId",
    "AllowActivationManagement",
    "AllowMultipleUserAssociation",
    "AutomaticActivation",
    "Block",
    "Created",
    "CreatedAt",
    "CustomerId",
    "Expires",
    "F1",
    "F2",
    "F3",
    "F4",
    "F5",
    "F6",
    "F7",
    "F8",
    "GlobalId",
    "Id",
    "IntValue",
    "KeyId",
    "MaxNoOfMachines",
    "MaxNumberOfMachines",
    "MaxOverdraft",
    "NumberOfKeys",
    "Period",
    "ProductId",
    "ResellerId",
    "SignDate",
    "StateId",
    "TrialActivation",
    "UserId",
];

/// Members of the vendor's objects, and of what its SDKs send, whose values are masked.
const WITHOUT_NUMBERS: [&str; 28] = [
    "AllLicensesTimeLimited",
    "AllowedMachines",
    "ActivatedMachines",
    "BlockExpiredLicenses",
    "CompanyName",
    "ContentType",
    "Customer",
    "DataObjects",
    "Description",
    "Email",
    "FeatureDefinitions",
    "FriendlyName",
    "IP",
    "Is64Bit",
    "IsPublic",
    "Key",
    "MachineCode",
    "Metadata",
    "Name",
    "Notes",
    "OSName",
    "OSVersion",
    "Phone",
    "PortalLink",
    "Secret",
    "StringValue",
    "Tags",
    "Url",
];

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
        let shown = one.show(IdentityKind::Name, "alice@example.com");
        assert!(shown.starts_with("name-") && shown.len() == 17, "{shown}");
        assert_eq!(shown, one.show(IdentityKind::Name, "alice@example.com"));
        assert_ne!(shown, one.show(IdentityKind::Name, "bob@example.com"));
        assert_ne!(shown, other.show(IdentityKind::Name, "alice@example.com"));
        assert_ne!(one.show(IdentityKind::Key, "x")[4..], one.show(IdentityKind::Name, "x")[5..]);
        assert_eq!(Identities::Full.show(IdentityKind::Name, "alice"), "alice");
        let long = Identities::by_key(b"one").show(IdentityKind::Name, "alice@example.com");
        assert!(long.starts_with(&shown) && long.len() == 21, "{long}");
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

    /// `{"alice@example.com": 1}`, telephone numbers and dates of birth were shown.
    #[test]
    fn member_names_numbers_and_dates_are_masked_where_they_may_name_somebody() {
        let identities = Identities::masked(&SecretString::from("token"));
        for (data, secrets) in [
            (r#"{"alice@example.com":1}"#, &["alice", ":1"][..]),
            (r#"{"alice":{"born":"1990-01-31","phone":46701234567}}"#, &["alice", "1990", "4670", "born"]),
            (
                r#"{"Phone":[46701234567,"+46 70 123"],"Name":4670,"Notes":"1990-01-31"}"#,
                &["4670", "46 70", "1990"],
            ),
            ("46701234567", &["4670"]),
            ("\"1990-01-31\"", &["1990"]),
            (r#"[["1990-01-31", 4670.5]]"#, &["1990", "4670"]),
        ] {
            let shown = identities.json_text(data);
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            assert_eq!(Identities::Full.json_text(data), data);
        }
        assert_ne!(identities.user("46701234567"), "46701234567");
        let license =
            r#"{"Expires":["2026-01-01","2027-01-01"],"MaxNoOfMachines":[5,10],"Block":[false,true]}"#;
        let shown: Value = serde_json::from_str(&identities.json_text(license)).unwrap();
        assert_eq!(shown, serde_json::from_str::<Value>(license).unwrap());
    }
}
