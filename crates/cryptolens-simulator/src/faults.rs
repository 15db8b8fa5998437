//! What can go wrong on the way, and when it does.
//!
//! A fault is chosen per request: the first of the list that applies to the answer and wins its roll. A roll follows
//! from the seed, the method and how many requests came for it before, so clients that send the same requests to a
//! method meet the same faults, whatever goes on beside them. How a fault looks is for `answer` to say.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::random::{Random, hash_of, unit_of};

/// The kinds of faults. What a fault's `value` means is said in parentheses, with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum FaultKind {
    /// "Unable to authenticate." (HTTP status, 200)
    UnableToAuthenticate,
    /// "Access denied." (HTTP status, 200)
    AccessDenied,
    /// "No active subscription found. Please contact support." (HTTP status, 200)
    NoSubscription,
    /// "The input parameters were incorrect." (HTTP status, 200)
    BadParameters,
    /// "Something went wrong ...": the API's transient error (HTTP status, 200)
    SomethingWentWrong,
    /// "Not enough permission and/or key not found." (HTTP status, 200)
    NotEnoughPermission,
    /// A body with a message and no result, as after a server error (HTTP status, 200)
    MessageOnly,
    /// 429 with Retry-After in seconds (seconds, 1)
    RateLimited,
    /// 429 with Retry-After as an HTTP date (seconds from now, 1)
    RateLimitedDate,
    /// 429 without Retry-After
    RateLimitedBare,
    /// 502 with an HTML body (HTTP status, 502)
    BadGatewayHtml,
    /// 200 with the HTML page of a proxy
    ProxyPage,
    /// 200 with an empty body, as from the license server
    EmptyBody,
    /// The first half of the JSON, as a complete HTTP response
    TruncatedJson,
    /// The connection is closed in the middle of the body
    CutBody,
    /// No answer, ever
    Hang,
    /// The right answer, later (milliseconds, 1000)
    Slow,
    /// 302 to another path, which counts who follows
    Redirect,
    /// 307 to another path, which keeps method and body, and so the token
    RedirectKeepingMethod,
    /// A body that is too large (MiB, 33)
    OversizedBody,
    /// A small gzip body that becomes too large (MiB, 64)
    GzipBomb,
    /// The right answer, compressed
    Gzip,
    /// A small gzip body whose list holds nothing but zeros (MiB, 31)
    GzipZeros,
    /// The connection is closed without an answer
    Unanswered,
    /// The same, but never for the first request of a connection: a server that has given up an
    /// idle connection
    StaleConnection,
    /// The right answer with a Date header that is ahead (seconds, 3600)
    DateAhead,
    /// The right answer with a Date header that is behind (seconds, 3600)
    DateBehind,
    // From here on, what only the page of a log can have: see `is_about_pages`.
    /// Some row twice in a row
    DuplicateAdjacent,
    /// Some row once more at the end of the page
    DuplicateApart,
    /// The page's rows in descending order
    DescendingPage,
    /// A full page in disorder
    ShuffledFullPage,
    /// A page with fewer rows than asked for, in disorder
    ShuffledShortPage,
    /// A request without cursor and order gets the newest rows first
    NewestFirst,
    /// OrderBy is ignored
    IgnoredOrder,
    /// A cursor above 2147483647 is an incorrect parameter
    ShortCursor,
    /// The list under a name of another method: `events`, and `objects` for the Object Log
    OtherListName,
    /// Names in PascalCase
    PascalCase,
    /// The message is "" instead of null
    EmptyMessage,
    /// Success with an empty list
    EmptyList,
    /// Success without a list
    #[serde(alias = "lost")]
    #[value(alias = "lost")]
    MissingList,
    /// Success with null for the list
    NullList,
    /// Adds a row to the log whose state (or value, or resource type) is null
    MalformedNullState,
    /// Adds a row to the log whose state (or value, or resource type) is a text
    MalformedTextState,
    /// Adds a row to the log whose id is a text
    MalformedTextId,
    /// Adds a row to the log whose id is a fraction
    MalformedFractionalId,
    /// Adds a row to the log without id
    MalformedMissingId,
    /// Adds a row to the log with nothing but an id
    MalformedMissingFields,
    /// Adds a row to the log whose members have wrong types, except for the id
    MalformedWrongTypes,
    /// Adds a row to the log with a negative time
    MalformedNegativeTime,
    /// Adds a row to the log with numbers beyond 64 bits, except for the id
    MalformedHugeNumbers,
    /// Adds a row to the log that is not an object
    MalformedNotAnObject,
    /// Adds a row to the log that is not JSON: a line feed within a text
    MalformedControlCharacter,
    /// Adds a row to the log that is not JSON: `\\q` within a text
    MalformedEscape,
    /// Adds a row to the log that is not JSON: NaN for a number
    MalformedNotANumber,
    /// Adds a row to the log that is not UTF-8
    MalformedUtf8,
    /// Adds a row to the log with a text that is too large (MiB, 33)
    OversizedRow,
    /// Adds a row to the log with lists in lists in lists (levels, 200)
    DeepRow,
    /// Adds a row to the log whose id is the highest there can be (id, 9223372036854775807)
    HighestId,
    /// At most this many rows, whatever the Limit (rows, 100)
    CappedPage,
    /// A cursor below the oldest row that is left is an incorrect parameter
    GoneCursor,
    /// A cursor that is no row's id, or is no longer, is an incorrect parameter
    UnknownCursor,
    /// The page of a replica that lags behind (seconds, 120)
    LaggingReplica,
    /// The page of a replica that has stood still since the fault was set
    FrozenReplica,
    /// The page of a replica that shows rows before the others do (seconds, 60)
    LeadingReplica,
    /// The newest row of the near future, and none of those between (seconds, 60)
    LoneNewest,
    /// Rows since the fault was set show up in bursts, within 5 s and out of order (seconds between
    /// bursts, 600)
    StallingWriter,
    /// The log of another account, or of one made anew: rows since the fault was set, with ids that
    /// start here (id, 1)
    ReplacedLog,
}

impl FaultKind {
    /// Whether only the page of a log can have it.
    pub(super) fn is_about_pages(self) -> bool {
        self >= FaultKind::DuplicateAdjacent
    }

    pub(super) const fn default_value(self) -> Option<u64> {
        use FaultKind::*;
        Some(match self {
            UnableToAuthenticate | AccessDenied | NoSubscription | BadParameters | SomethingWentWrong
            | NotEnoughPermission | MessageOnly => 200,
            RateLimited | RateLimitedDate => 1,
            BadGatewayHtml => 502,
            Slow => 1000,
            OversizedBody => 33,
            GzipBomb => 64,
            GzipZeros => 31,
            OversizedRow => 33,
            DeepRow => 200,
            HighestId => i64::MAX.unsigned_abs(),
            CappedPage => 100,
            DateAhead | DateBehind => 3600,
            LaggingReplica => 120,
            LeadingReplica | LoneNewest => 60,
            StallingWriter => 600,
            ReplacedLog => 1,
            _ => return None,
        })
    }

    /// Whether this can be the kind's value: a final HTTP status, an id, or a size that does not
    /// exhaust the machine.
    fn allows(self, value: u64) -> bool {
        use FaultKind::*;
        match self {
            RateLimited | RateLimitedDate | Slow | DateAhead | DateBehind => value <= 86_400_000,
            LaggingReplica | LeadingReplica | LoneNewest | StallingWriter => {
                (1..=86_400_000).contains(&value)
            }
            OversizedBody | GzipBomb | GzipZeros | OversizedRow => (1..=1024).contains(&value),
            DeepRow => (1..=1_000_000).contains(&value),
            CappedPage => (1..=1000).contains(&value),
            HighestId | ReplacedLog => (1..=i64::MAX.unsigned_abs()).contains(&value),
            kind if kind.default_value().is_some() => (200..=599).contains(&value),
            _ => false,
        }
    }

    /// The name used in JSON and on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// One fault and how often it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// How likely it is for one request, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// What [`FaultKind`] says for the kind, for instance an HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Only requests to this method; otherwise all requests to the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Method>,
    /// Only every n-th request to a method: 2 for two replicas that take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// How often it happens before it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many seconds after it was set it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// A fault that hits every request.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            probability: always(),
            value: None,
            endpoint: None,
            every: None,
            count: None,
            seconds: None,
        }
    }

    /// Hits a share of the requests only.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets what [`FaultKind`] says for the kind.
    #[must_use]
    pub fn value(mut self, value: u64) -> Self {
        self.value = Some(value);
        self
    }

    /// Hits requests to one method only.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Method) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Hits every n-th request only.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.every = Some(every);
        self
    }

    /// Hits this many requests, then is over.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Is over after this many seconds.
    #[must_use]
    pub fn seconds(mut self, seconds: i64) -> Self {
        self.seconds = Some(seconds);
        self
    }

    fn check(&self) -> Result<(), FaultError> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(FaultError::BadProbability(self.probability.to_string()));
        }
        match self.value {
            Some(value) if !self.kind.allows(value) => Err(FaultError::BadValue(value.to_string())),
            _ => Ok(()),
        }
    }
}

/// Why a text is not a fault.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FaultError {
    /// The kind is none of [`FaultKind`].
    #[error("unknown fault {0:?}; see --help for the kinds")]
    UnknownKind(String),
    /// The probability is no number from 0 to 1.
    #[error("the probability of a fault is a number from 0 to 1, not {0:?}")]
    BadProbability(String),
    /// The value is no whole number, or not one that the kind can have.
    #[error("the value of this fault cannot be {0:?}; see --help for what it means")]
    BadValue(String),
    /// No list of faults in JSON.
    #[error("not a list of faults: {0}")]
    BadJson(String),
}

/// Reads `kind[:value][=probability]`, for instance `access_denied:403=0.1`.
impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (rest, probability) =
            text.split_once('=').map_or((text, None), |(rest, number)| (rest, Some(number)));
        let (kind, value) = rest.split_once(':').map_or((rest, None), |(kind, value)| (kind, Some(value)));
        let known = <FaultKind as ValueEnum>::from_str(kind, true)
            .map_err(|_| FaultError::UnknownKind(kind.to_owned()))?;
        let mut fault = Self::new(known);
        if let Some(value) = value {
            fault.value = Some(value.parse().map_err(|_| FaultError::BadValue(value.to_owned()))?);
        }
        if let Some(number) = probability {
            fault.probability = number.parse().map_err(|_| FaultError::BadProbability(number.to_owned()))?;
        }
        fault.check()?;
        Ok(fault)
    }
}

/// The faults that are set now.
#[derive(Debug)]
pub(super) struct FaultBox {
    seed: u64,
    inner: Mutex<Armed>,
}

#[derive(Debug, Default)]
struct Armed {
    faults: Vec<ArmedFault>,
    requests: BTreeMap<Method, u64>,
}

#[derive(Debug)]
struct ArmedFault {
    fault: Fault,
    /// When it was set.
    since: i64,
    /// Time from which on it no longer happens.
    until: i64,
}

/// A fault that hits a request, and when it was set.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) fault: Fault,
    pub(super) since: i64,
}

/// One request's lot: which method, and how many requests came for it before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot {
    method: Method,
    number: u64,
}

impl FaultBox {
    pub(super) fn new(seed: u64, faults: Vec<Fault>, now: i64) -> Self {
        let faults_set = Self { seed, inner: Mutex::default() };
        faults_set.set(faults, now);
        faults_set
    }

    fn inner(&self) -> MutexGuard<'_, Armed> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: Vec<Fault>, now: i64) {
        let armed = faults.into_iter().map(|fault| ArmedFault {
            since: now,
            until: fault.seconds.map_or(i64::MAX, |seconds| now.saturating_add(seconds)),
            fault,
        });
        self.inner().faults = armed.collect();
    }

    /// The faults that may still happen, with what is left of their counts.
    pub(super) fn list(&self, now: i64) -> Vec<Fault> {
        let live = |armed: &ArmedFault| armed.is_live(now).then(|| armed.fault.clone());
        self.inner().faults.iter().filter_map(live).collect()
    }

    /// Draws for a request that has arrived.
    pub(super) fn draw(&self, method: Method) -> Lot {
        let mut armed = self.inner();
        let count = armed.requests.entry(method).or_default();
        *count += 1;
        Lot { method, number: *count }
    }

    /// The fault that hits the request, if one does, taken off its count.
    pub(super) fn choose(&self, lot: Lot, now: i64, applies: impl Fn(FaultKind) -> bool) -> Option<Hit> {
        let mut armed = self.inner();
        let hit = armed.faults.iter_mut().enumerate().find(|(place, armed)| {
            let fault = &armed.fault;
            let concerns = fault.endpoint.is_none_or(|endpoint| endpoint == lot.method)
                && fault.every.is_none_or(|every| lot.number.is_multiple_of(every));
            let roll = unit_of(self.hash(lot, *place as u64));
            armed.is_live(now) && concerns && applies(fault.kind) && roll < fault.probability
        });
        let (_, ArmedFault { fault, since, .. }) = hit?;
        fault.count = fault.count.map(|count| count.saturating_sub(1));
        Some(Hit { fault: fault.clone(), since: *since })
    }

    /// A random stream for the details of the fault that hit this request.
    pub(super) fn random(&self, lot: Lot) -> Random {
        Random::for_stream(&[self.hash(lot, u64::MAX)])
    }

    fn hash(&self, lot: Lot, place: u64) -> u64 {
        hash_of(&[self.seed, 0xfa17, lot.method as u64, lot.number, place])
    }
}

impl ArmedFault {
    fn is_live(&self, now: i64) -> bool {
        now < self.until && self.fault.count != Some(0)
    }
}

/// Reads a list of faults from JSON.
pub(super) fn read_faults(body: &[u8]) -> Result<Vec<Fault>, FaultError> {
    let faults: Vec<Fault> =
        serde_json::from_slice(body).map_err(|error| FaultError::BadJson(error.to_string()))?;
    faults.iter().try_for_each(Fault::check)?;
    Ok(faults)
}

/// The kinds and what their values mean, one per line.
pub fn kinds_help() -> String {
    let line = |kind: &FaultKind| {
        let help = kind.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        format!("  {}: {}", kind.name(), help.unwrap_or_default())
    };
    FaultKind::value_variants().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: FaultKind) -> bool {
        true
    }

    fn hits(faults: &FaultBox, method: Method, now: i64) -> bool {
        faults.choose(faults.draw(method), now, any).is_some()
    }

    #[test]
    fn one_name_for_json_and_command_line() {
        for kind in FaultKind::value_variants() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn reads_the_command_line_form() {
        let fault: Fault = "access_denied:403=0.25".parse().unwrap();
        assert_eq!(fault, Fault::new(FaultKind::AccessDenied).value(403).probability(0.25));
        assert_eq!("hang".parse(), Ok(Fault::new(FaultKind::Hang)));
        assert_eq!("slow=2".parse::<Fault>(), Err(FaultError::BadProbability("2".into())));
        for (text, value) in [
            ("slow:x", "x"),
            ("hang:1", "1"),
            ("access_denied:99", "99"),
            ("gzip_bomb:0", "0"),
            ("stalling_writer:0", "0"),
        ] {
            assert_eq!(text.parse::<Fault>(), Err(FaultError::BadValue(value.into())), "{text}");
        }
        assert_eq!("lost".parse(), Ok(Fault::new(FaultKind::MissingList)));
        assert!(matches!("nonsense".parse::<Fault>(), Err(FaultError::UnknownKind(_))));
    }

    #[test]
    fn json_needs_only_the_kind() {
        let faults =
            read_faults(br#"[{"kind":"hang"},{"kind":"lost","endpoint":"getevents","count":2}]"#).unwrap();
        assert_eq!(faults[1], Fault::new(FaultKind::MissingList).endpoint(Method::GetEvents).count(2));
        assert!(read_faults(br#"[{"kind":"hang","probability":7}]"#).is_err());
        assert!(read_faults(br#"[{"kind":"hang","chance":1}]"#).is_err());
    }

    #[test]
    fn a_count_runs_out() {
        let faults = FaultBox::new(1, vec![Fault::new(FaultKind::Hang).count(2)], 0);
        assert_eq!((0..5).filter(|_| hits(&faults, Method::GetKey, 0)).count(), 2);
        assert!(faults.list(0).is_empty());
    }

    #[test]
    fn every_second_request_meets_the_other_replica() {
        let faults = FaultBox::new(1, vec![Fault::new(FaultKind::LaggingReplica).every(2)], 0);
        let met: Vec<bool> = (0..6).map(|_| hits(&faults, Method::GetEvents, 0)).collect();
        assert_eq!(met, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_hit_knows_since_when_its_fault_is_set() {
        let faults = FaultBox::new(1, vec![Fault::new(FaultKind::FrozenReplica)], 40);
        assert_eq!(faults.choose(faults.draw(Method::GetEvents), 90, any).unwrap().since, 40);
    }

    #[test]
    fn a_duration_runs_out() {
        let faults = FaultBox::new(1, vec![Fault::new(FaultKind::Hang).seconds(10)], 100);
        assert!(hits(&faults, Method::GetKey, 109));
        assert!(!hits(&faults, Method::GetKey, 110));
    }

    #[test]
    fn a_method_and_what_applies_restrict() {
        let faults = FaultBox::new(1, vec![Fault::new(FaultKind::Hang).endpoint(Method::GetEvents)], 0);
        assert!(!hits(&faults, Method::GetWebApiLog, 0));
        assert!(faults.choose(faults.draw(Method::GetEvents), 0, |_| false).is_none());
        assert!(hits(&faults, Method::GetEvents, 0));
    }

    #[test]
    fn rolls_follow_the_seed_and_the_probability() {
        let rolls = |seed| {
            let faults = FaultBox::new(seed, vec![Fault::new(FaultKind::Hang).probability(0.3)], 0);
            (0..1000).map(|_| hits(&faults, Method::GetKey, 0)).collect::<Vec<_>>()
        };
        assert_eq!(rolls(5), rolls(5));
        assert_ne!(rolls(5), rolls(6));
        let hits = rolls(5).iter().filter(|hit| **hit).count();
        assert!((240..360).contains(&hits), "{hits}");
    }

    #[test]
    fn requests_to_another_method_change_nothing() {
        let rolls = |others: usize| {
            let faults = FaultBox::new(1, vec![Fault::new(FaultKind::Hang).probability(0.5)], 0);
            let roll = |_| {
                let _ = (0..others).filter(|_| hits(&faults, Method::GetEvents, 0)).count();
                hits(&faults, Method::GetWebApiLog, 0)
            };
            (0..100).map(roll).collect::<Vec<_>>()
        };
        assert_eq!(rolls(0), rolls(3));
    }
}
