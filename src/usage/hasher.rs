//! The hasher of a process: between the ledger, which has the secret, and the parser, which needs
//! it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::member::{UsageMember, UsageSecret};
use crate::cryptolens::{HashedKind, IdentityHash, IdentityHasher};

/// Hashes license keys and machines with the secret of the ledger.
///
/// A log is opened before it is read, so the secret is there before the first row is parsed. It
/// stays the same as long as the process runs: a ledger that begins anew gets it, too.
#[derive(Debug, Default)]
pub struct UsageHasher {
    secret: OnceLock<UsageSecret>,
}

impl UsageHasher {
    /// A hasher with a random secret that ends with the process.
    pub fn of_process() -> UsageHasher {
        UsageHasher { secret: OnceLock::from(UsageSecret::from_bytes(rand::random())) }
    }

    /// The secret, if it is known.
    pub fn secret(&self) -> Option<&UsageSecret> {
        self.secret.get()
    }

    /// Takes a secret unless there is one. Returns the one that is used.
    pub fn secret_or(&self, secret: UsageSecret) -> &UsageSecret {
        self.secret.get_or_init(|| secret)
    }
}

impl IdentityHasher for UsageHasher {
    fn hash(&self, kind: HashedKind, text: &str) -> Option<IdentityHash> {
        let secret = self.secret.get()?;
        let member = match kind {
            HashedKind::LicenseKey => secret.license_key(text),
            HashedKind::Machine => secret.machine(text),
        };
        member.map(|member| IdentityHash::new(member.get()))
    }
}

/// License keys that are left out, with all their rows: those of tests. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IgnoredKeys(Arc<[String]>);

impl fmt::Debug for IgnoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IgnoredKeys({})", self.0.len())
    }
}

impl IgnoredKeys {
    /// The keys of a text, one a line. Blanks around a key, empty lines and lines that begin with
    /// `#` do not count.
    pub fn from_text(text: &str) -> IgnoredKeys {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        IgnoredKeys(
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect(),
        )
    }

    /// The members that these keys are.
    pub(super) fn members(&self, secret: &UsageSecret) -> impl Iterator<Item = UsageMember> {
        self.0.iter().filter_map(|key| secret.license_key(key))
    }
}

/// The options of counting active keys and machines.
#[derive(Debug, Clone)]
pub struct UsageOptions {
    /// Gets the secret as soon as the ledger is open.
    pub hasher: Arc<UsageHasher>,
    /// The secret, if it comes from a file; the ledger has only its fingerprint then.
    pub secret: Option<UsageSecret>,
    /// Keys that are left out.
    pub ignored_keys: IgnoredKeys,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hashed_before_the_secret_is_known_and_the_first_one_stays() {
        let hasher = UsageHasher::default();
        assert_eq!(hasher.hash(HashedKind::LicenseKey, "A"), None);
        let secret = UsageSecret::from_bytes([1; 16]);
        hasher.secret_or(secret.clone());
        assert_eq!(hasher.secret_or(UsageSecret::from_bytes([2; 16])), &secret);
        let hash = |kind, text| hasher.hash(kind, text).map(IdentityHash::get);
        assert_eq!(hash(HashedKind::LicenseKey, "A"), secret.license_key("A").map(UsageMember::get));
        assert_eq!(hash(HashedKind::Machine, "floating:a"), secret.machine("A").map(UsageMember::get));
        assert_eq!(hash(HashedKind::Machine, " "), None);
    }

    #[test]
    fn ignored_keys_stand_one_a_line_and_are_not_shown() {
        let keys = IgnoredKeys::from_text("\u{feff}# tests\r\nAAAAA-BBBBB\r\n\n  CCCCC \n");
        assert_eq!(&*keys.0, ["AAAAA-BBBBB", "CCCCC"]);
        assert_eq!(format!("{keys:?}"), "IgnoredKeys(2)");
    }
}
