//! Where counting starts.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where counting starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With what is logged from now on.
    Now,
    /// With the oldest entry that the Web API still has.
    All,
    /// This far back; more than zero.
    Ago(Duration),
    /// At this time.
    At(DateTime<Utc>),
}
