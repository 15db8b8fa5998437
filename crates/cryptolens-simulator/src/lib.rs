//! A stand-in for the Web API: `simulate` serves it, `demo` polls it and the tests run against it.
//!
//! It answers as the vendor documents, holds the logs of an invented vendor whose customers work
//! through days and weeks, and misbehaves on request. It promises: the history is a pure function of
//! seed, start and rates; a row that was visible once stays as it was; [`Simulator::truth`] is the
//! count of a client that missed nothing. Every personal or secret text contains one of [`CANARIES`],
//! unless [`Options::identities`] asks for lifelike ones.
//!
//! A request flows through `server` (HTTP), `query` (parameters), `answer` (rows or an error),
//! `faults` (what goes wrong) and `wire`. Rows come from `store`, which merges the rows that
//! `traffic` generates with those that were added.
//!
//! The crate imports nothing of the exporter and has its own types and tables, even where both
//! write down the same documentation, so that the two cannot share a mistake.

mod aggregates;
mod answer;
mod catalogue;
mod clock;
mod connection;
mod control;
mod faults;
mod log;
mod method;
mod options;
mod query;
mod random;
mod row;
mod server;
mod store;
mod traffic;
mod truth;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use catalogue::CANARIES;
pub use faults::{Fault, FaultError, FaultKind, kinds_help};
pub use log::Log;
pub use method::{Method, UnknownMethod};
pub use options::{AggregateOptions, InventedTexts, Options, UnloggedRequest};
pub use server::{Running, SimulatorError, run, start};
pub use truth::Truth;

use catalogue::{Catalogue, PRODUCTS};
use clock::Clock;
use faults::FaultSet;
use query::Parameters;
use random::{Random, hash_of};
use row::{Fields, Row, ordinary_members, ordinary_row};
use store::{Direction, IdRange, LogStore, View};
use traffic::{Generator, Plan, SpikeSpan};

const EVENTS_PER_REQUEST: f64 = 1.0 / 3.0;
const CHANGES_PER_REQUEST: f64 = 1.0 / 60.0;
/// A spike writes all its rows when it is started.
const LONGEST_SPIKE: u32 = 86_400;
const LARGEST_BATCH: u32 = 100_000;
const WEEK: i64 = 7 * traffic::DAY;
/// Requests that are kept to be looked at.
const KEPT_REQUESTS: usize = 1000;

/// The simulated Web API. Clones share everything.
#[derive(Debug, Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    catalogue: Arc<Catalogue>,
    clock: Clock,
    web_api: LogStore,
    events: LogStore,
    objects: LogStore,
    faults: FaultSet,
    requests: Requests,
    /// Added licenses by product and key.
    licenses: Mutex<BTreeMap<(i64, String), LicenseTerms>>,
    spikes: AtomicU64,
}

/// An incident to add to live traffic: the product was changed one to three minutes ago, and its
/// expired licenses are locked out from now on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spike {
    /// The product whose activations fail; the most popular one if none is given.
    #[serde(default)]
    pub product: Option<i64>,
    /// For how long, from now on; a day at most.
    pub seconds: u32,
    /// About which part of the product's requests fails, 0 to 1; six failures a minute at least.
    pub failure_share: f64,
}

/// The terms of a license that a test adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LicenseTerms {
    /// The number of machines that it allows; 0 for no limit.
    pub seats: u32,
    /// When it expires, Unix seconds; far in the future if none is given.
    pub expires: Option<i64>,
    /// Whether the vendor blocked it.
    pub blocked: bool,
    /// The number of its customer, and the name of the company.
    pub customer: Option<(i64, String)>,
    /// Its number in the whole service.
    pub global_id: Option<i64>,
}

impl LicenseTerms {
    /// Puts the details into an answer.
    fn write(&self, answer: &mut Value, catalogue: &Catalogue) {
        if let Some(expires) = self.expires {
            answer["expires"] = expires.into();
        }
        answer["block"] = self.blocked.into();
        answer["customer"] = self
            .customer
            .as_ref()
            .map_or(Value::Null, |(id, company)| answer::customer(catalogue, *id, company));
        if let Some(id) = self.global_id {
            answer["globalId"] = id.into();
        }
    }
}

/// A failure spike: expired licenses are locked out of a product, because it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedIncident {
    /// The product whose activations fail.
    pub product_id: i64,
    /// The first second.
    pub from: i64,
    /// The second after the last.
    pub to: i64,
    /// When the product was changed, as the Object Log has it.
    pub changed: i64,
    /// The license keys that are locked out.
    pub keys: Vec<String>,
}

/// A failure spike that was started at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedSpike {
    /// How many failures it adds to those of the usual traffic.
    pub failures: usize,
    /// Whom it locks out, and when.
    pub incident: PlannedIncident,
}

/// Rows that are added all at once, with times of their own: events that an application registers
/// days later, or with a clock that is ahead; a backlog that a log writer writes out of order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many; 100,000 at most. Their ids are the next ones, in a row.
    pub rows: u32,
    /// The difference of their times from now, in seconds; below 0 for the past.
    pub time_offset: i64,
    /// The seconds from now until they become visible, whatever their times are.
    pub visible_in: u32,
    /// Over how many more seconds they become visible, in no order.
    pub spread: u32,
}

/// A product of the invented vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoldProduct {
    /// Its id, as in the logs.
    pub id: i64,
    /// Its name.
    pub name: &'static str,
}

/// A license of the invented vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct License {
    /// The id of its product.
    pub product: i64,
    /// The license key.
    pub key: String,
}

/// Why a spike cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SpikeError {
    /// The vendor does not sell it.
    #[error("no product {0}")]
    UnknownProduct(i64),
    /// The length is not within its bounds.
    #[error("a spike lasts between 1 and {LONGEST_SPIKE} seconds")]
    BadLength,
    /// The share is not within its bounds.
    #[error("the share of failures is a number from 0 to 1")]
    BadShare,
}

impl Simulator {
    /// A simulator that waits to be asked; nothing is generated before.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let catalogue = Catalogue::new(options.seed, options.requests_per_minute);
        let catalogue = Arc::new(catalogue.with_identities(options.identities));
        let clock = Clock::running();
        let log = |log: Log, rate: f64, retention: Option<i64>| {
            let plan = Plan {
                seed: options.seed,
                start: options.start,
                first_id: options.first_id,
                rows_per_minute: options.requests_per_minute * rate,
                late_fraction: options.late_fraction,
                late_max: options::seconds(options.late_max),
            };
            let generator =
                (plan.rows_per_minute > 0.0).then(|| Generator::new(log, plan, Arc::clone(&catalogue)));
            LogStore::new(generator, retention)
        };
        let retention = options.retention.map(options::seconds);
        let shared = Shared {
            web_api: log(Log::WebApi, 1.0, None),
            events: log(Log::Events, EVENTS_PER_REQUEST, retention),
            objects: log(Log::Objects, CHANGES_PER_REQUEST, retention),
            faults: FaultSet::new(options.seed, options.faults.clone(), clock.now()),
            requests: Requests::default(),
            licenses: Mutex::default(),
            spikes: AtomicU64::new(0),
            catalogue: Arc::clone(&catalogue),
            clock,
            options,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The API and the controls, to be served anywhere.
    pub fn router(&self) -> axum::Router {
        server::router(self.clone())
    }

    /// The simulator's time, Unix seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    /// Stops traffic, now or as of some other moment; tests step through time this way.
    pub fn freeze(&self, at: Option<i64>) {
        self.shared.clock.freeze(at.unwrap_or_else(|| self.now()));
    }

    /// Lets traffic go on; what would have happened meanwhile, has happened.
    pub fn unfreeze(&self) {
        self.shared.clock.unfreeze();
    }

    /// Whether traffic is stopped.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.shared.clock.is_frozen()
    }

    /// Adds rows to a log, to be served exactly as they are; returns how many. They are visible
    /// from `visible_at` on, at once if that is `None`. A row takes its place by its id, or behind
    /// the row before it if it has none that can be read; it replaces a generated row of the same
    /// id.
    pub fn append(&self, log: Log, rows: Vec<Box<RawValue>>, visible_at: Option<i64>) -> usize {
        let now = self.now();
        self.shared.log(log).append(rows, now, visible_at.unwrap_or(now))
    }

    /// Lets activations of expired licenses of a product fail from now on. The Object Log shows at
    /// once that the product was changed a minute or two ago, and at the end that this was undone.
    ///
    /// # Errors
    /// [`SpikeError`].
    pub fn spike(&self, spike: Spike) -> Result<StartedSpike, SpikeError> {
        let product = match spike.product {
            None => 0,
            Some(id) => {
                PRODUCTS.iter().position(|product| product.id == id).ok_or(SpikeError::UnknownProduct(id))?
            }
        };
        if !(1..=LONGEST_SPIKE).contains(&spike.seconds) {
            return Err(SpikeError::BadLength);
        }
        if !(0.0..=1.0).contains(&spike.failure_share) {
            return Err(SpikeError::BadShare);
        }
        let shared = &self.shared;
        let number = shared.spikes.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::for_stream(&[shared.options.seed, 0x59, number]);
        let rate = shared.options.requests_per_minute;
        let (span, failures) = shared.web_api.begin_spike(|| {
            // Seconds behind the clock may have been read already.
            let from = self.now().saturating_add(1);
            let span = SpikeSpan { product, from, to: from.saturating_add(i64::from(spike.seconds)) };
            let drafts =
                traffic::spike_drafts(span, spike.failure_share, rate, &shared.catalogue, &mut random);
            (span, drafts)
        });
        let [change, undone] = span.changes();
        let now = self.now();
        // Its id is the next one, so that a reader finds it wherever it stands.
        shared.objects.insert_new(now, |id| Row {
            id,
            time: change.time,
            visible_at: now,
            fields: change.fields,
        });
        shared.objects.insert_drafts(vec![undone]);
        Ok(StartedSpike { failures, incident: self.incident(span) })
    }

    fn incident(&self, spike: SpikeSpan) -> PlannedIncident {
        let catalogue = &self.shared.catalogue;
        let expired = catalogue.keys_of(spike.product).filter(|key| catalogue.is_expired(*key));
        PlannedIncident {
            product_id: PRODUCTS[spike.product].id,
            from: spike.from,
            to: spike.to,
            changed: spike.changed(),
            keys: expired.map(|key| catalogue.key(key).text.clone()).collect(),
        }
    }

    /// The products of the vendor, the most popular one first.
    #[must_use]
    pub fn products(&self) -> Vec<SoldProduct> {
        let mut products: Vec<&catalogue::Product> = PRODUCTS.iter().collect();
        products.sort_by_key(|product| std::cmp::Reverse(product.popularity));
        products.iter().map(|product| SoldProduct { id: product.id, name: product.name }).collect()
    }

    /// The floating license that refused the most requests in the last week: one that an audit of
    /// seats has something to say about. If none refused any, the one whose machines outnumber its
    /// seats the most.
    #[must_use]
    pub fn crowded_license(&self) -> License {
        let Shared { catalogue, web_api, .. } = &*self.shared;
        let now = self.now();
        let mut refused: BTreeMap<u32, u64> = BTreeMap::new();
        web_api.scan(IdRange::ALL, Direction::Descending, View::ever(now), |row| {
            if let Fields::WebApi(fields) = &row.fields
                && fields.state == traffic::NO_FREE_SEAT
                && row.time > now - WEEK
            {
                *refused.entry(fields.key).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
        let most = refused.into_iter().max_by_key(|&(_, requests)| requests);
        let key = most.map_or_else(|| catalogue.crowded_key(), |(key, _)| catalogue.key(key));
        License { product: catalogue.product_of(key).id, key: key.text.clone() }
    }

    /// Adds ordinary rows whose times and visibility are independent of each other and of now;
    /// returns how many.
    pub fn batch(&self, log: Log, batch: &Batch) -> usize {
        let now = self.now();
        let count = batch.rows.min(LARGEST_BATCH);
        let time = now.saturating_add(batch.time_offset);
        let seed = self.shared.options.seed;
        for _ in 0..count {
            self.shared.log(log).insert_new(now, |id| {
                let disorder = hash_of(&[seed, 0xba7c, id.unsigned_abs()]) % (u64::from(batch.spread) + 1);
                let visible_in = i64::from(batch.visible_in) + i64::try_from(disorder).unwrap_or_default();
                Row { visible_at: now.saturating_add(visible_in), ..ordinary_row(log, id, time) }
            });
        }
        usize::try_from(count).unwrap_or_default()
    }

    /// The counts of a client that missed nothing, up to and including an id.
    #[must_use]
    pub fn truth(&self, log: Log, up_to_id: Option<i64>) -> Truth {
        let up_to_id = up_to_id.unwrap_or(i64::MAX);
        let with_states = log == Log::WebApi;
        Truth::of(self.shared.log(log), &self.shared.catalogue, self.now(), up_to_id, with_states)
    }

    /// All rows that have been visible so far, one per line, with the member `visible_at` added to
    /// those that are objects.
    #[must_use]
    pub fn rows_as_lines(&self, log: Log) -> String {
        let mut lines = String::new();
        let view = View::ever(self.now());
        self.shared.log(log).scan(IdRange::ALL, Direction::Ascending, view, |row| {
            let visible_at = format!("\"visible_at\":{}", row.visible_at);
            let json = row.to_json_with(&self.shared.catalogue, &visible_at);
            // In JSON a line can only break between members.
            lines.push_str(&json.replace(['\n', '\r'], " "));
            lines.push('\n');
            ControlFlow::Continue(())
        });
        lines
    }

    /// The faults that may still happen.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.shared.faults.list(self.now())
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.shared.faults.set(faults, self.now());
    }

    /// The latest requests, 1000 at most, in their order.
    #[must_use]
    pub fn latest_requests(&self) -> Vec<ReceivedRequest> {
        let latest = self.shared.requests.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.iter().cloned().collect()
    }

    /// Adds a license that the invented vendor does not have, or replaces one, for `GetKey`. `seats`
    /// is the number of machines that it allows; 0 for no limit.
    pub fn add_license(&self, product: i64, key: &str, seats: u32) {
        self.add_license_with(product, key, LicenseTerms { seats, ..LicenseTerms::default() });
    }

    /// The same with more details, for `GetKeys` and `GetCustomers` too.
    pub fn add_license_with(&self, product: i64, key: &str, license: LicenseTerms) {
        let mut licenses = self.shared.licenses.lock().unwrap_or_else(PoisonError::into_inner);
        licenses.insert((product, key.to_owned()), license);
    }

    /// The planned incidents that begin in a time, in order: each a product that locks its expired
    /// licenses out.
    #[must_use]
    pub fn planned_incidents(&self, from: i64, to: i64) -> Vec<PlannedIncident> {
        let spikes = traffic::planned_spikes(self.shared.options.seed, from, to);
        let mut planned: Vec<PlannedIncident> =
            spikes.into_iter().map(|spike| self.incident(spike)).collect();
        planned.sort_by_key(|incident| incident.from);
        planned
    }

    /// The number of requests so far, by method; `redirected` are those that followed a redirect.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.shared.requests.by_name()
    }
}

impl Shared {
    fn log(&self, log: Log) -> &LogStore {
        match log {
            Log::WebApi => &self.web_api,
            Log::Events => &self.events,
            Log::Objects => &self.objects,
        }
    }

    /// Adds an event that a client registered.
    fn register(&self, members: Vec<(&'static str, Value)>, now: i64) {
        self.events.insert_new(now, |id| {
            let mut row = ordinary_members(Log::Events, id, now);
            row.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
            Row::of_json(&Value::Object(row), id, now)
        });
    }
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The parameters by lower-case name, without the token.
    pub parameters: BTreeMap<String, String>,
}

/// The requests that came.
#[derive(Debug, Default)]
struct Requests {
    by_method: [AtomicU64; Method::ALL.len()],
    redirected: AtomicU64,
    latest: Mutex<VecDeque<ReceivedRequest>>,
}

impl Requests {
    fn count(&self, method: Method, parameters: &Parameters) {
        self.by_method[method as usize].fetch_add(1, Ordering::Relaxed);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() >= KEPT_REQUESTS {
            latest.pop_front();
        }
        latest.push_back(ReceivedRequest { method, parameters: parameters.without_token() });
    }

    fn count_redirected(&self) {
        self.redirected.fetch_add(1, Ordering::Relaxed);
    }

    fn by_name(&self) -> BTreeMap<&'static str, u64> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let methods =
            Method::ALL.into_iter().map(|method| (method.name(), count(&self.by_method[method as usize])));
        methods.chain([("redirected", count(&self.redirected))]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machines beyond the seats say little: most of them may never work on the same day.
    #[test]
    fn the_crowded_license_has_refused_requests_whatever_the_seed() {
        let start = 1_767_225_600;
        for seed in 0..10 {
            let simulator =
                Simulator::new(Options { start, requests_per_minute: 15.0, ..Options::new(seed) });
            simulator.freeze(Some(start + WEEK));
            let License { product, key } = simulator.crowded_license();
            let (index, _) = simulator.shared.catalogue.find_key(product, &key).unwrap();
            let mut refused = 0;
            simulator.shared.web_api.scan(
                IdRange::ALL,
                Direction::Ascending,
                View::ever(start + WEEK),
                |row| {
                    if let Fields::WebApi(fields) = &row.fields {
                        refused += u64::from(fields.key == index && fields.state == 2024);
                    }
                    ControlFlow::Continue(())
                },
            );
            assert!(refused > 0, "seed {seed}: {key} refused nothing");
        }
    }
}
