//! The options of a simulator, and their defaults.

use std::time::Duration;

use chrono::Utc;

use crate::faults::Fault;
use crate::method::Method;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How the personal and secret texts of the invented vendor look. The counts of a seed are the same
/// for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InventedTexts {
    /// Each contains one of [`crate::CANARIES`], so that a test finds whatever leaks.
    #[default]
    Canaries,
    /// As customers have them, for people who look at reports.
    Lifelike,
}

/// How the vendor's own daily counts are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateOptions {
    /// Rows that became visible within this time are not counted yet; whole seconds.
    pub lag: Duration,
    /// Keys that are marked as test, whose rows are left out.
    pub excluded_keys: Vec<String>,
    /// How many hours before the day in UTC a day begins.
    pub day_offset_hours: i32,
    /// Requests that are counted and that the log never shows.
    pub unlogged: Vec<UnloggedRequest>,
}

/// A request that the vendor counted and its log lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnloggedRequest {
    /// The product.
    pub product: i64,
    /// Unix seconds.
    pub time: i64,
    /// The state code.
    pub state: i64,
}

impl Default for AggregateOptions {
    fn default() -> Self {
        Self {
            lag: Duration::from_secs(30 * 60),
            excluded_keys: Vec::new(),
            day_offset_hours: 0,
            unlogged: Vec::new(),
        }
    }
}

/// Options of a simulator. The traffic is a pure function of the first six settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Decides about everything that is random.
    pub seed: u64,
    /// When the logs begin, Unix seconds.
    pub start: i64,
    /// Mean rate of the Web API Log. The Events Log has a third of it, the Object Log a sixtieth. 0
    /// for empty logs.
    pub requests_per_minute: f64,
    /// Ids of each log are at or above this.
    pub first_id: i64,
    /// Part of the rows that show up late, 0 to 1.
    pub late_fraction: f64,
    /// How late they show up at most; whole seconds.
    pub late_max: Duration,
    /// How long the Events Log and the Object Log keep a row; `None` for ever.
    pub retention: Option<Duration>,
    /// The only token that is accepted; `None` for any that is not empty.
    pub token: Option<String>,
    /// Methods that the token may not call.
    pub denied: Vec<Method>,
    /// Whether the token has a key lock: GetWebAPILog then needs ProductId and Key.
    pub key_lock: bool,
    /// The faults from the beginning.
    pub faults: Vec<Fault>,
    /// The form of personal and secret texts.
    pub identities: InventedTexts,
    /// The vendor's own daily counts.
    pub aggregates: AggregateOptions,
}

impl Options {
    /// Thirty days of history and live traffic of one request a minute, as `simulate` has without flags.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            start: Utc::now().timestamp() - seconds(30 * DAY),
            requests_per_minute: 1.0,
            // The history of the defaults crosses 2^31, where clients with 32-bit cursors break.
            first_id: 2_100_000_000,
            late_fraction: 0.01,
            late_max: Duration::from_secs(30),
            retention: None,
            token: None,
            denied: Vec::new(),
            key_lock: false,
            faults: Vec::new(),
            identities: InventedTexts::default(),
            aggregates: AggregateOptions::default(),
        }
    }

    /// Empty logs, for rows that a test hands in.
    pub fn empty() -> Self {
        Self { requests_per_minute: 0.0, ..Self::new(1) }
    }
}

pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
