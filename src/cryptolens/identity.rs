//! Identities of rows as numbers that name nobody.
//!
//! A row says which license key and which machine made a request. Where somebody wants to know how
//! many there are, the decoder hands the bytes of both to an [`IdentityHasher`] while it reads the
//! page, and the row keeps the numbers that come back. Nothing is copied, and without a hasher both
//! members are skipped like all others that are not kept.

use std::fmt;
use std::num::NonZeroU64;

/// The number that stands for a license key or a machine. Below 2^64 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityHash(NonZeroU64);

impl IdentityHash {
    /// The hash with this value.
    pub fn new(value: u64) -> IdentityHash {
        // One more than the value, so that an absent hash takes no room in a row.
        IdentityHash(NonZeroU64::MIN.saturating_add(value))
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0.get() - 1
    }
}

/// The kind of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashedKind {
    /// A license key.
    LicenseKey,
    /// A machine, by its code.
    Machine,
}

/// Turns identities into numbers. The same identity gives the same number.
pub trait IdentityHasher: fmt::Debug + Send + Sync {
    /// The number of an identity; `None` for a text that is none.
    fn hash(&self, kind: HashedKind, text: &str) -> Option<IdentityHash>;
}
