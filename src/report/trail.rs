//! The requests of a period in memory, with numbers in place of names.
//!
//! A request takes 48 bytes, and each distinct key, machine and network its text once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use ring::digest::{Context, SHA256};

use crate::cryptolens::state_code;
use crate::report::count::Counts;
use crate::report::detector::{
    FailureSource, MinuteCount, NamedSource, Sighting, SourcedFailures, SourcesOfFailures,
};
use crate::report::record::SeenRequest;
use crate::report::window::Window;

/// States of a floating activation, its refusal and its release, which no other license has.
const FLOATING: [i64; 4] = [2014, 2015, 2024, 6011];
/// States of successful activations of licenses that are bound to a machine.
const NODE_LOCKED: std::ops::RangeInclusive<i64> = 2010..=2013;

/// A key that was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenKey {
    pub(super) product_id: i64,
    pub(super) key: String,
    pub(super) is_floating: bool,
    pub(super) is_node_locked: bool,
    /// The first three bytes of its addresses, as `198.51.100`.
    pub(super) networks: BTreeSet<String>,
}

/// All requests of a period.
pub(super) struct Trail {
    pub(super) window: Window,
    /// By time, then id, once [`Trail::sort`] was called.
    pub(super) rows: Vec<Sighting>,
    pub(super) keys: Vec<SeenKey>,
    pub(super) without_time: u64,
    key_numbers: HashMap<(i64, String), u32>,
    machines: HashMap<String, u32>,
    machine_codes: Vec<String>,
    addresses: HashMap<String, NonZeroU32>,
    /// True once only the requests of one key are kept.
    pub(super) is_of_one_key: bool,
    /// Ids and states as the log has them, for the digest.
    evidence: Vec<(i64, Option<i64>)>,
}

impl Trail {
    pub(super) fn new(window: Window) -> Trail {
        Trail {
            window,
            rows: Vec::new(),
            keys: Vec::new(),
            without_time: 0,
            key_numbers: HashMap::new(),
            machines: HashMap::new(),
            machine_codes: Vec::new(),
            addresses: HashMap::new(),
            is_of_one_key: false,
            evidence: Vec::new(),
        }
    }

    /// Takes a row if it is in the period.
    pub(super) fn add(&mut self, row: SeenRequest) {
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        if !self.window.contains(time) {
            return;
        }
        let (_, outcome) = state_code::classify(row.state);
        let key = row.key.map(|key| self.number_of_key(row.product_id, key));
        if let Some(seen) = key.and_then(|key| self.keys.get_mut(usize::try_from(key).ok()?)) {
            seen.is_floating |= row.state.is_some_and(|state| FLOATING.contains(&state));
            seen.is_node_locked |= row.state.is_some_and(|state| NODE_LOCKED.contains(&state));
            if let Some(network) = row.ip.as_deref().and_then(network) {
                seen.networks.insert(network);
            }
        }
        let address = row.ip.and_then(|address| self.number_of_address(address));
        let machine = row.machine_code.map(|code| {
            let next = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
            match self.machines.entry(code) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    self.machine_codes.push(new.key().clone());
                    *new.insert(next)
                }
            }
        });
        self.evidence.push((row.id, row.state));
        self.rows.push(Sighting {
            time,
            id: row.id,
            product_id: row.product_id,
            key,
            machine,
            address,
            state: row.state.and_then(|state| u16::try_from(state).ok()).unwrap_or(0),
            outcome,
        });
    }

    fn number_of_key(&mut self, product_id: i64, key: String) -> u32 {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let named = (product_id, key);
        if let Some(number) = self.key_numbers.get(&named) {
            return *number;
        }
        self.keys.push(SeenKey { product_id, key: named.1.clone(), ..SeenKey::default() });
        self.key_numbers.insert(named, next);
        next
    }

    fn number_of_address(&mut self, address: String) -> Option<NonZeroU32> {
        let next = u32::try_from(self.addresses.len()).ok().and_then(|known| known.checked_add(1));
        Some(*self.addresses.entry(address).or_insert(NonZeroU32::new(next?)?))
    }

    /// Brings the rows into order.
    pub(super) fn sort(&mut self) {
        self.rows.sort_by_key(|row| (row.time, row.id));
        self.evidence.sort_unstable_by_key(|(id, _)| *id);
    }

    /// Keeps the rows of one key; none where it has none.
    pub(super) fn keep_key(&mut self, product_id: i64, key: &str) {
        self.is_of_one_key = true;
        let number = self.key_numbers.get(&(product_id, key.to_owned())).copied();
        self.rows.retain(|row| number.is_some() && row.key == number);
        let kept: BTreeSet<i64> = self.rows.iter().map(|row| row.id).collect();
        self.evidence.retain(|(id, _)| kept.contains(id));
    }

    /// The code of a machine.
    pub(super) fn machine(&self, number: u32) -> Option<&str> {
        self.machine_codes.get(usize::try_from(number).ok()?).map(String::as_str)
    }

    pub(super) fn key(&self, number: u32) -> Option<&SeenKey> {
        self.keys.get(usize::try_from(number).ok()?)
    }

    /// The first and the last id, and the digest of ids and states.
    pub(super) fn evidence(&self) -> (Option<i64>, Option<i64>, Option<String>) {
        let mut context = Context::new(&SHA256);
        for (id, state) in &self.evidence {
            let state = state.map(|state| state.to_string()).unwrap_or_default();
            context.update(format!("{id}:{state}\n").as_bytes());
        }
        let digest = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let id = |row: Option<&(i64, Option<i64>)>| row.map(|(id, _)| *id);
        (id(self.evidence.first()), id(self.evidence.last()), (!self.evidence.is_empty()).then_some(digest))
    }

    /// The products that were seen, most requests first.
    pub(super) fn products(&self) -> Vec<i64> {
        let mut requests: BTreeMap<i64, u64> = BTreeMap::new();
        for row in &self.rows {
            *requests.entry(row.product_id).or_default() += 1;
        }
        let mut products: Vec<(i64, u64)> = requests.into_iter().collect();
        products.sort_by_key(|(id, requests)| (std::cmp::Reverse(*requests), *id));
        products.into_iter().map(|(id, _)| id).collect()
    }

    /// The rows of a product, or of all of them.
    pub(super) fn of_product(&self, product: Option<i64>) -> Vec<Sighting> {
        let is_of = |row: &&Sighting| product.is_none_or(|product| row.product_id == product);
        self.rows.iter().filter(is_of).copied().collect()
    }

    /// The requests of each minute of the period that succeeded or failed.
    pub(super) fn minutes(&self, rows: &[Sighting]) -> Vec<MinuteCount> {
        let minutes = steps(self.window.seconds(), 60);
        let mut counts = vec![MinuteCount::default(); minutes];
        for row in rows.iter().filter(|row| !row.is_in_no_ratio()) {
            let minute = usize::try_from((row.time - self.window.from) / 60).unwrap_or(usize::MAX);
            if let Some(count) = counts.get_mut(minute) {
                count.add(row.has_failed());
            }
        }
        counts
    }
}

/// The source of a request, by the numbers of the trail and one more.
fn source(row: &Sighting) -> FailureSource {
    let number = |number: Option<u32>| number.map_or(0, |number| number.saturating_add(1));
    let address = row.address.map_or(0, NonZeroU32::get);
    FailureSource { key: number(row.key), machine: number(row.machine), address }
}

/// True if a request is one of a source.
pub(super) fn is_from(row: &Sighting, named: NamedSource) -> bool {
    named.is_of(source(row))
}

/// The sources of the failures among some requests of a window.
pub(super) fn sources(rows: &[Sighting], window: Window) -> SourcesOfFailures {
    let mut counts: BTreeMap<(u16, FailureSource), u32> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.has_failed()) {
        if let Ok(minute) = u16::try_from((row.time - window.from) / 60) {
            *counts.entry((minute, source(row))).or_default() += 1;
        }
    }
    let failures = counts.into_iter();
    let failures = failures.map(|((minute, source), count)| SourcedFailures { minute, count, source });
    SourcesOfFailures(failures.collect())
}

/// The number of steps that cover a time.
pub(super) fn steps(seconds: i64, step: i64) -> usize {
    let step = step.max(1);
    usize::try_from((seconds.max(0) + step - 1) / step).unwrap_or(0)
}

/// Requests of a product by outcome, where a refused seat is in no ratio.
pub(super) fn counts(rows: &[Sighting]) -> (u64, MinuteCount) {
    let mut judged = MinuteCount::default();
    let mut all = Counts::default();
    for row in rows {
        all.add(row.outcome, 1);
        if !row.is_in_no_ratio() {
            judged.add(row.has_failed());
        }
    }
    (all.requests(), judged)
}

/// The first three bytes of an address: the log masks the last one.
fn network(address: &str) -> Option<String> {
    let address: std::net::Ipv4Addr = address.trim().parse().ok()?;
    let [first, second, third, _] = address.octets();
    Some(format!("{first}.{second}.{third}"))
}
