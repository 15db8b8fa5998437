//! Where counting starts, as `--since` says it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

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

/// The text that the ledger keeps, so that a change is noticed.
impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Since::Now => f.write_str("now"),
            Since::All => f.write_str("all"),
            Since::Ago(ago) => write!(f, "{}", humantime::format_duration(*ago)),
            Since::At(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_text_is_what_can_be_typed() {
        let at = "2026-03-01T00:00:00Z".parse().unwrap();
        let texts = [Since::Now, Since::All, Since::Ago(Duration::from_secs(86_400)), Since::At(at)];
        assert_eq!(texts.map(|since| since.to_string()), ["now", "all", "1day", "2026-03-01T00:00:00Z"]);
    }
}
