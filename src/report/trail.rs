//! The requests of a period in memory, with numbers in place of names.
//!
//! A request takes 16 bytes: what names it (product, key, machine, address and state) is kept once
//! for all requests that share it, and so is each text.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use ring::digest::{Context, SHA256};

use crate::cryptolens::state_code;
use crate::report::count::Counts;
use crate::report::detector::{
    FailureSource, MinuteCount, NO_FREE_SEAT, NamedSource, Sighting, SourcedFailures, SourcesOfFailures,
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

/// What names a request, and how it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Combination {
    product_id: i64,
    key: Option<u32>,
    machine: Option<u32>,
    address: Option<NonZeroU32>,
    /// As the log has it, for the digest.
    state: Option<i64>,
}

impl Combination {
    fn sighting(&self, row: PackedRow) -> Sighting {
        Sighting {
            time: i64::from(row.time),
            id: row.id,
            product_id: self.product_id,
            key: self.key,
            machine: self.machine,
            address: self.address,
            state: self.state.and_then(|state| u16::try_from(state).ok()).unwrap_or(0),
            outcome: state_code::classify(self.state).1,
        }
    }
}

/// A request in 16 bytes.
#[derive(Debug, Clone, Copy)]
struct PackedRow {
    /// Unix seconds, until February 2106: a period ends by now.
    time: u32,
    /// The number of its [`Combination`].
    combination: u32,
    id: i64,
}

/// What proves which rows were counted.
#[derive(Debug, Clone, Default)]
pub(super) struct TrailEvidence {
    pub(super) first_id: Option<i64>,
    pub(super) last_id: Option<i64>,
    /// Of the lines `id:state` in order of id; none without a row.
    pub(super) sha256: Option<String>,
}

/// All requests of a period.
pub(super) struct Trail {
    pub(super) window: Window,
    /// By time, then id, once [`Trail::sort`] was called.
    rows: Vec<PackedRow>,
    combinations: Vec<Combination>,
    combination_numbers: HashMap<Combination, u32>,
    pub(super) keys: Vec<SeenKey>,
    pub(super) without_time: u64,
    key_numbers: HashMap<(i64, String), u32>,
    machines: HashMap<String, u32>,
    machine_codes: Vec<String>,
    addresses: HashMap<String, NonZeroU32>,
    /// True once only the requests of one key are kept.
    pub(super) is_of_one_key: bool,
    evidence: TrailEvidence,
}

/// Requests of a [`Trail`], in order of time.
pub(super) struct TrailRows<'a> {
    trail: &'a Trail,
    /// None for all of them.
    positions: Option<Vec<u32>>,
}

impl TrailRows<'_> {
    pub(super) fn len(&self) -> usize {
        self.positions.as_ref().map_or(self.trail.rows.len(), Vec::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Sighting> + Clone {
        (0..self.len()).filter_map(|index| {
            let position = match &self.positions {
                Some(positions) => usize::try_from(*positions.get(index)?).ok()?,
                None => index,
            };
            self.trail.sighting(*self.trail.rows.get(position)?)
        })
    }

    /// Requests that neither succeeded nor failed, and those that found no free seat.
    pub(super) fn in_no_ratio(&self) -> (usize, usize) {
        let refused = self.iter().filter(|row| row.state == NO_FREE_SEAT).count();
        (self.iter().filter(Sighting::is_in_no_ratio).count() - refused, refused)
    }
}

impl Trail {
    pub(super) fn new(window: Window) -> Trail {
        Trail {
            window,
            rows: Vec::new(),
            combinations: Vec::new(),
            combination_numbers: HashMap::new(),
            keys: Vec::new(),
            without_time: 0,
            key_numbers: HashMap::new(),
            machines: HashMap::new(),
            machine_codes: Vec::new(),
            addresses: HashMap::new(),
            is_of_one_key: false,
            evidence: TrailEvidence::default(),
        }
    }

    /// Takes a row if it is in the period.
    pub(super) fn add(&mut self, row: SeenRequest) {
        let Some(time) = row.time else {
            self.without_time += 1;
            return;
        };
        let Some(packed_time) = u32::try_from(time).ok().filter(|_| self.window.contains(time)) else {
            return;
        };
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
        let combination = Combination { product_id: row.product_id, key, machine, address, state: row.state };
        let next = u32::try_from(self.combinations.len()).unwrap_or(u32::MAX);
        let combination = *self.combination_numbers.entry(combination).or_insert_with(|| {
            self.combinations.push(combination);
            next
        });
        self.rows.push(PackedRow { time: packed_time, combination, id: row.id });
    }

    fn combination(&self, row: PackedRow) -> Option<&Combination> {
        self.combinations.get(usize::try_from(row.combination).ok()?)
    }

    fn sighting(&self, row: PackedRow) -> Option<Sighting> {
        Some(self.combination(row)?.sighting(row))
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
        self.rows.sort_unstable_by_key(|row| row.id);
        let mut context = Context::new(&SHA256);
        for row in &self.rows {
            let state = self.combination(*row).and_then(|combination| combination.state);
            let state = state.map(|state| state.to_string()).unwrap_or_default();
            context.update(format!("{}:{state}\n", row.id).as_bytes());
        }
        let digest = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.evidence = TrailEvidence {
            first_id: self.rows.first().map(|row| row.id),
            last_id: self.rows.last().map(|row| row.id),
            sha256: (!self.rows.is_empty()).then_some(digest),
        };
        self.rows.sort_unstable_by_key(|row| (row.time, row.id));
    }

    /// Keeps the rows of one key; none where it has none.
    pub(super) fn keep_key(&mut self, product_id: i64, key: &str) {
        self.is_of_one_key = true;
        let number = self.key_numbers.get(&(product_id, key.to_owned())).copied();
        let is_kept: Vec<bool> = self
            .combinations
            .iter()
            .map(|combination| number.is_some() && combination.key == number)
            .collect();
        self.rows.retain(|row| {
            usize::try_from(row.combination).ok().and_then(|number| is_kept.get(number)) == Some(&true)
        });
        self.sort();
    }

    /// The code of a machine.
    pub(super) fn machine(&self, number: u32) -> Option<&str> {
        self.machine_codes.get(usize::try_from(number).ok()?).map(String::as_str)
    }

    pub(super) fn key(&self, number: u32) -> Option<&SeenKey> {
        self.keys.get(usize::try_from(number).ok()?)
    }

    /// The first and the last id, and the digest of ids and states, once [`Trail::sort`] was called.
    pub(super) const fn evidence(&self) -> &TrailEvidence {
        &self.evidence
    }

    /// The products that were seen, most requests first.
    pub(super) fn products(&self) -> Vec<i64> {
        let mut requests: BTreeMap<i64, u64> = BTreeMap::new();
        for combination in self.rows.iter().filter_map(|row| self.combination(*row)) {
            *requests.entry(combination.product_id).or_default() += 1;
        }
        let mut products: Vec<(i64, u64)> = requests.into_iter().collect();
        products.sort_by_key(|(id, requests)| (std::cmp::Reverse(*requests), *id));
        products.into_iter().map(|(id, _)| id).collect()
    }

    /// All rows.
    pub(super) const fn rows(&self) -> TrailRows<'_> {
        TrailRows { trail: self, positions: None }
    }

    /// The rows of a product, or of all of them.
    pub(super) fn of_product(&self, product: Option<i64>) -> TrailRows<'_> {
        let positions = product.map(|product| {
            let rows = (0_u32..).zip(&self.rows);
            let is_of = |row: PackedRow| self.combination(row).is_some_and(|of| of.product_id == product);
            rows.filter(|(_, row)| is_of(**row)).map(|(position, _)| position).collect()
        });
        TrailRows { trail: self, positions }
    }

    /// The requests of each minute of the period that succeeded or failed.
    pub(super) fn minutes(&self, rows: impl Iterator<Item = Sighting>) -> Vec<MinuteCount> {
        let minutes = steps(self.window.seconds(), 60);
        let mut counts = vec![MinuteCount::default(); minutes];
        for row in rows.filter(|row| !row.is_in_no_ratio()) {
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
pub(super) fn sources(rows: impl Iterator<Item = Sighting>, window: Window) -> SourcesOfFailures {
    let failures = rows.filter(Sighting::has_failed).filter_map(|row| {
        let minute = u16::try_from((row.time - window.from) / 60).ok()?;
        Some(SourcedFailures { minute, count: 1, source: source(&row) })
    });
    let mut failures: Vec<SourcedFailures> = failures.collect();
    failures.sort_unstable_by_key(|failed| (failed.minute, failed.source));
    failures.dedup_by(|later, kept| {
        let is_same = (later.minute, later.source) == (kept.minute, kept.source);
        kept.count = kept.count.saturating_add(if is_same { later.count } else { 0 });
        is_same
    });
    SourcesOfFailures(failures)
}

/// The number of steps that cover a time.
pub(super) fn steps(seconds: i64, step: i64) -> usize {
    let step = step.max(1);
    usize::try_from((seconds.max(0) + step - 1) / step).unwrap_or(0)
}

/// Requests of a product by outcome, where a refused seat is in no ratio.
pub(super) fn counts(rows: impl Iterator<Item = Sighting>) -> (u64, MinuteCount) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cryptolens::Outcome;
    use crate::report::zone::Zone;

    const WINDOW: Window = Window { from: 1000, to: 2000, zone: Zone::UTC };

    fn request(id: i64, time: i64, product: i64, key: usize, state: i64) -> SeenRequest {
        SeenRequest {
            id,
            product_id: product,
            key: ["KEY-A", "KEY-B", "KEY-C"].get(key).map(|key| (*key).to_owned()),
            ip: Some(format!("198.51.{}.7", key % 2)),
            time: Some(time),
            state: Some(state),
            machine_code: (state != 2024).then(|| format!("machine {}", time % 5)),
        }
    }

    #[test]
    fn a_request_takes_sixteen_bytes() {
        assert_eq!(size_of::<PackedRow>(), 16);
    }

    proptest! {
        /// Whatever order rows come in, each is there once, with what names it, in order of time.
        #[test]
        fn every_row_of_the_period_comes_back(
            given in proptest::collection::vec((900_i64..2100, 0_i64..3, 0_usize..4, 0_usize..4), 0..60),
        ) {
            let states = [2014, 2020, 2024, -7];
            let rows: Vec<SeenRequest> = (1..)
                .zip(&given)
                .map(|(id, (time, product, key, state))| request(id, *time, *product, *key, states[*state]))
                .collect();
            let mut trail = Trail::new(WINDOW);
            rows.iter().rev().cloned().for_each(|row| trail.add(row));
            trail.sort();
            let mut expected: Vec<&SeenRequest> =
                rows.iter().filter(|row| row.time.is_some_and(|time| (1000..2000).contains(&time))).collect();
            let lines: String =
                expected.iter().map(|row| format!("{}:{}\n", row.id, row.state.unwrap())).collect();
            let digest = ring::digest::digest(&SHA256, lines.as_bytes());
            let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(trail.evidence().sha256.clone(), (!expected.is_empty()).then_some(digest));
            expected.sort_by_key(|row| (row.time, row.id));
            prop_assert_eq!(trail.rows().len(), expected.len());
            for (found, row) in trail.rows().iter().zip(&expected) {
                prop_assert_eq!((found.id, Some(found.time), found.product_id), (row.id, row.time, row.product_id));
                let key = found.key.and_then(|key| trail.key(key)).map(|seen| seen.key.as_str());
                prop_assert_eq!(key, row.key.as_deref());
                let machine = found.machine.and_then(|machine| trail.machine(machine));
                prop_assert_eq!(machine, row.machine_code.as_deref());
                let is_expected = match row.state.unwrap() {
                    -7 => found.state == 0 && found.outcome == Outcome::Unknown,
                    state => i64::from(found.state) == state,
                };
                prop_assert!(is_expected, "{found:?}");
            }
            let by_product: Vec<i64> = trail
                .products()
                .into_iter()
                .flat_map(|product| trail.of_product(Some(product)).iter().map(|row| row.id).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(BTreeSet::from_iter(&by_product).len(), by_product.len());
            prop_assert_eq!(by_product.len(), expected.len());
            let failures = trail.rows().iter().filter(Sighting::has_failed).count();
            let sourced: u32 = sources(trail.rows().iter(), WINDOW).0.iter().map(|failed| failed.count).sum();
            prop_assert_eq!(usize::try_from(sourced).unwrap(), failures);
            trail.keep_key(1, "KEY-A");
            let of_key = expected.iter().filter(|row| row.product_id == 1 && row.key.as_deref() == Some("KEY-A"));
            let of_key: Vec<i64> = of_key.map(|row| row.id).collect();
            prop_assert_eq!(trail.rows().iter().map(|row| row.id).collect::<Vec<_>>(), of_key.clone());
            prop_assert_eq!(trail.evidence().first_id, of_key.iter().min().copied());
        }
    }
}
