//! Faults: the things that can go wrong, and when they do.
//!
//! `table` has a row for each kind. A fault is chosen per request: the first of the list that makes
//! a difference to the answer and wins its roll. A roll follows from the seed, the method and the
//! number of requests that came for it before, so clients that send the same requests to a method
//! meet the same faults, whatever else goes on.

mod effect;
mod parameter;
mod table;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Shared;
use crate::answer::{Outgoing, Reply};
use crate::method::Method;
use crate::random::{Random, hash_of, unit_of};
use effect::FaultyAnswer;

pub use table::FaultKind;

/// When a kind of fault makes a difference.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// To every answer.
    Always,
    /// If the connection had a request before.
    OnReusedConnections,
    /// To pages of a log.
    ToPages,
    /// To pages with this many rows or more.
    ToRows(usize),
    /// To pages with as many rows as the client asked for, three or more.
    ToFullPages,
    /// To pages with fewer rows than the client asked for, three or more.
    ToShortPages,
    /// To pages that were asked for without cursor and order.
    WithoutOrder,
    /// To pages that were asked for in an order.
    WithOrder,
    /// To pages after a cursor that does not fit into 32 bits.
    WithLongCursors,
    /// To pages after a cursor that is below the oldest row.
    WithGoneCursors,
    /// To pages after a cursor that is not the id of a row.
    WithUnknownCursors,
}

impl Happens {
    fn to(self, reply: &Reply, simulator: &Shared, reused: bool, now: i64) -> bool {
        let page = match (self, reply) {
            (Happens::Always, _) => return true,
            (Happens::OnReusedConnections, _) => return reused,
            (_, Reply::Page(page)) => page,
            _ => return false,
        };
        let (query, rows, store) = (&page.query, page.rows.len(), simulator.log(page.log));
        match self {
            Happens::Always | Happens::OnReusedConnections | Happens::ToPages => true,
            Happens::ToRows(least) => rows >= least,
            Happens::ToFullPages => rows > 2 && rows == query.limit,
            Happens::ToShortPages => rows > 2 && rows < query.limit,
            Happens::WithoutOrder => query.is_unordered(),
            Happens::WithOrder => query.has_order(),
            Happens::WithLongCursors => query.has_long_cursor(),
            Happens::WithGoneCursors => query
                .cursor()
                .is_some_and(|cursor| store.lowest_id(store.view(now)).is_none_or(|lowest| cursor < lowest)),
            Happens::WithUnknownCursors => {
                query.cursor().is_some_and(|cursor| !store.shows(cursor, store.view(now)))
            }
        }
    }
}

/// A fault and how often it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The probability for one request, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// The number that the kind takes, for instance an HTTP status; see [`FaultKind::help`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Only requests to this method; otherwise all requests to the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Method>,
    /// Only every n-th request to a method: 2 for two replicas that take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Not the first so many requests to a method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
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
            after: None,
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

    /// Sets the number that the kind takes.
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

    /// Hits no request before this many.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = Some(after);
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

impl FaultKind {
    fn allows(self, value: u64) -> bool {
        self.row().parameter.is_some_and(|parameter| parameter.allows(value))
    }
}

/// The reason why a text is not a fault.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FaultError {
    /// No [`FaultKind`] has this name.
    #[error("unknown fault {0:?}; see --help for the kinds")]
    UnknownKind(String),
    /// The probability is not a number from 0 to 1.
    #[error("the probability of a fault is a number from 0 to 1, not {0:?}")]
    BadProbability(String),
    /// The value is not a whole number within the bounds of the kind.
    #[error("the value of this fault cannot be {0:?}; see --help for what it means")]
    BadValue(String),
    /// The text is not a list of faults in JSON.
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
        let mut fault = Self::new(FaultKind::from_name(kind)?);
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
pub(crate) struct FaultSet {
    seed: u64,
    current: Mutex<CurrentFaults>,
}

#[derive(Debug, Default)]
struct CurrentFaults {
    faults: Vec<SetFault>,
    requests: BTreeMap<Method, u64>,
}

#[derive(Debug)]
struct SetFault {
    fault: Fault,
    since: i64,
    /// The fault no longer happens from this time on.
    until: i64,
}

/// The method of a request, and how many requests came for it before, this one included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestNumber {
    method: Method,
    number: u64,
}

impl FaultSet {
    pub(crate) fn new(seed: u64, faults: Vec<Fault>, now: i64) -> Self {
        let set = Self { seed, current: Mutex::default() };
        set.set(faults, now);
        set
    }

    fn current(&self) -> MutexGuard<'_, CurrentFaults> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, faults: Vec<Fault>, now: i64) {
        let set = faults.into_iter().map(|fault| SetFault {
            since: now,
            until: fault.seconds.map_or(i64::MAX, |seconds| now.saturating_add(seconds)),
            fault,
        });
        self.current().faults = set.collect();
    }

    /// The faults that may still happen, with what is left of their counts.
    pub(crate) fn list(&self, now: i64) -> Vec<Fault> {
        let live = |set: &SetFault| set.is_live(now).then(|| set.fault.clone());
        self.current().faults.iter().filter_map(live).collect()
    }

    /// Numbers a request that has arrived.
    pub(crate) fn number(&self, method: Method) -> RequestNumber {
        let mut current = self.current();
        let count = current.requests.entry(method).or_default();
        *count += 1;
        RequestNumber { method, number: *count }
    }

    /// The fault that hits the request, if one does, and when it was set. Takes the hit off the
    /// fault's count.
    fn choose(
        &self,
        request: RequestNumber,
        now: i64,
        happens: impl Fn(FaultKind) -> bool,
    ) -> Option<(Fault, i64)> {
        let mut current = self.current();
        let hit = current.faults.iter_mut().enumerate().find(|(place, set)| {
            let fault = &set.fault;
            let concerns = fault.endpoint.is_none_or(|endpoint| endpoint == request.method)
                && fault.every.is_none_or(|every| request.number.is_multiple_of(every))
                && fault.after.is_none_or(|after| request.number > after);
            let roll = unit_of(self.hash(request, *place as u64));
            set.is_live(now) && concerns && happens(fault.kind) && roll < fault.probability
        });
        let (_, SetFault { fault, since, .. }) = hit?;
        fault.count = fault.count.map(|count| count.saturating_sub(1));
        Some((fault.clone(), *since))
    }

    fn hash(&self, request: RequestNumber, place: u64) -> u64 {
        hash_of(&[self.seed, 0xfa17, request.method as u64, request.number, place])
    }
}

impl SetFault {
    fn is_live(&self, now: i64) -> bool {
        now < self.until && self.fault.count != Some(0)
    }
}

/// Turns a reply into an answer, through the fault that hits the request if one does. `reused` says
/// whether the connection had a request before.
pub(crate) fn answer_of(
    simulator: &Shared,
    reply: Reply,
    request: RequestNumber,
    reused: bool,
    now: i64,
) -> Outgoing {
    let faults = &simulator.faults;
    let happens = |kind: FaultKind| kind.row().happens.to(&reply, simulator, reused, now);
    let Some((fault, since)) = faults.choose(request, now, happens) else {
        return reply.into_outgoing(simulator, now);
    };
    let row = fault.kind.row();
    let default = row.parameter.map(|parameter| parameter.default);
    let value = fault.value.or(default).unwrap_or_default();
    // A stream of its own for the details, apart from the roll.
    let random = Random::for_stream(&[faults.hash(request, u64::MAX)]);
    (row.effect)(FaultyAnswer { simulator, reply, value, since, now, random })
}

/// Reads a list of faults from JSON.
pub(crate) fn read_faults(body: &[u8]) -> Result<Vec<Fault>, FaultError> {
    let faults: Vec<Fault> =
        serde_json::from_slice(body).map_err(|error| FaultError::BadJson(error.to_string()))?;
    faults.iter().try_for_each(Fault::check)?;
    Ok(faults)
}

/// The kinds, one per line, with the meaning of their values.
#[must_use]
pub fn kinds_help() -> String {
    let line = |kind: &FaultKind| format!("  {}: {}", kind.name(), kind.help());
    FaultKind::ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: FaultKind) -> bool {
        true
    }

    fn hits(faults: &FaultSet, method: Method, now: i64) -> bool {
        faults.choose(faults.number(method), now, any).is_some()
    }

    #[test]
    fn one_name_for_json_and_command_line() {
        for kind in FaultKind::ALL {
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
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::Hang).count(2)], 0);
        assert_eq!((0..5).filter(|_| hits(&faults, Method::GetKey, 0)).count(), 2);
        assert!(faults.list(0).is_empty());
    }

    #[test]
    fn every_second_request_meets_the_other_replica() {
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::LaggingReplica).every(2)], 0);
        let met: Vec<bool> = (0..6).map(|_| hits(&faults, Method::GetEvents, 0)).collect();
        assert_eq!(met, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_fault_can_spare_the_first_requests() {
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::Hang).after(2).count(1)], 0);
        let met: Vec<bool> = (0..5).map(|_| hits(&faults, Method::GetEvents, 0)).collect();
        assert_eq!(met, [false, false, true, false, false]);
    }

    #[test]
    fn a_hit_knows_since_when_its_fault_is_set() {
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::FrozenReplica)], 40);
        assert_eq!(faults.choose(faults.number(Method::GetEvents), 90, any).unwrap().1, 40);
    }

    #[test]
    fn a_duration_runs_out() {
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::Hang).seconds(10)], 100);
        assert!(hits(&faults, Method::GetKey, 109));
        assert!(!hits(&faults, Method::GetKey, 110));
    }

    #[test]
    fn a_method_and_what_applies_restrict() {
        let faults = FaultSet::new(1, vec![Fault::new(FaultKind::Hang).endpoint(Method::GetEvents)], 0);
        assert!(!hits(&faults, Method::GetWebApiLog, 0));
        assert!(faults.choose(faults.number(Method::GetEvents), 0, |_| false).is_none());
        assert!(hits(&faults, Method::GetEvents, 0));
    }

    #[test]
    fn rolls_follow_the_seed_and_the_probability() {
        let rolls = |seed| {
            let faults = FaultSet::new(seed, vec![Fault::new(FaultKind::Hang).probability(0.3)], 0);
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
            let faults = FaultSet::new(1, vec![Fault::new(FaultKind::Hang).probability(0.5)], 0);
            let roll = |_| {
                let _ = (0..others).filter(|_| hits(&faults, Method::GetEvents, 0)).count();
                hits(&faults, Method::GetWebApiLog, 0)
            };
            (0..100).map(roll).collect::<Vec<_>>()
        };
        assert_eq!(rolls(0), rolls(3));
    }
}
