//! Usage: how many distinct license keys and machines were seen by day, without their identity.
//!
//! A row becomes a [`UsageMember`], a keyed hash of 40 bits. Members are kept in a [`UsageSet`] per
//! product, day and [`UsageSubject`], and [`UsageDays`] counts the union of the sets of a
//! [`UsageWindow`]. A [`UsageTracker`] follows the counting of rows, and has the counts ready.
//!
//! Promises: a set is a function of its members alone, so that its bytes do not depend on the order
//! in which rows arrive, on repeats, on page cuts or on merges. Its count never falls while members
//! are added. No key, machine code or name is kept. This module knows no HTTP, no SQL and no clock.
//!
//! Beside them stand the [`FloatingSeats`] of an account, which live in memory and start with the
//! process.

mod days;
mod estimate;
mod hasher;
mod member;
mod seats;
mod set;
mod sketch;
mod tracker;

pub use days::{UsageDay, UsageDays, UsageSetKey, UsageSubject, UsageWindow};
pub use hasher::{IgnoredKeys, UsageHasher, UsageOptions};
pub use member::{UsageMember, UsageSecret, UsageSecretError, license_key, machine_code};
pub use seats::{FloatingSeats, LicenseInUse, SeatCount, SeatsInUse, longest_lease};
pub use set::{UnreadableUsageSet, UsageSet};
pub use tracker::{UsageChanges, UsageCounts, UsageSample, UsageTracker, ignored_members};
