//! The requests of a period in memory, with numbers in place of names.
//!
//! A request takes some six bytes ([`runs`]): what names it (product, key, machine, address and state) is
//! kept once for all requests that share it, and so is each text.

mod runs;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use indexmap::IndexSet;
use ring::digest::{Context, SHA256};

use crate::cryptolens::state_code;
use crate::report::count::{Counts, of_length};
use crate::report::detector::{
    FailureSource, MinuteCount, NO_FREE_SEAT, NamedSource, Sighting, SourcedFailures, SourcesOfFailures,
};
use crate::report::document::{Evidence, Moment};
use crate::report::record::SeenRequest;
use crate::report::source::ReadingSummary;
use crate::report::window::Window;
use runs::{MergedRows, RowOrder, RowRuns, RunRow};

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
    /// Numbers plus one, so that none takes no place of its own.
    key: Option<NonZeroU32>,
    machine: Option<NonZeroU32>,
    address: Option<NonZeroU32>,
    /// The number of the state as the log has it, which the digest is of.
    state: u32,
}

/// All requests of a period.
pub(super) struct Trail {
    pub(super) window: Window,
    /// By product. Those that came since [`Trail::finish`] was called are not read.
    rows: BTreeMap<i64, RowRuns>,
    combinations: IndexSet<Combination>,
    states: IndexSet<Option<i64>>,
    pub(super) keys: Vec<SeenKey>,
    pub(super) without_time: u64,
    key_numbers: HashMap<(i64, String), u32>,
    machines: IndexSet<String>,
    addresses: IndexSet<String>,
    /// True once only the requests of one key are kept.
    pub(super) is_of_one_key: bool,
    /// The first and the last id.
    ids: Option<(i64, i64)>,
    /// SHA-256 of the lines `id:state` in order of id; none without a row.
    sha256: Option<String>,
}

/// Requests of a [`Trail`], in order of time.
pub(super) struct TrailRows<'a> {
    trail: &'a Trail,
    /// None for all of them.
    product: Option<i64>,
}

impl<'a> TrailRows<'a> {
    fn runs(&self) -> impl Iterator<Item = &'a RowRuns> {
        let product = self.product;
        let is_of = move |id: i64| product.is_none_or(|product| product == id);
        self.trail.rows.iter().filter(move |(id, _)| is_of(**id)).map(|(_, runs)| runs)
    }

    pub(super) fn len(&self) -> usize {
        self.runs().map(RowRuns::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Sighting> + Clone + use<'a> {
        let trail = self.trail;
        MergedRows::new(self.runs(), RowOrder::Time).filter_map(|row| trail.sighting(row))
    }

    /// The time of the last one.
    pub(super) fn last_time(&self) -> Option<i64> {
        self.runs().filter_map(RowRuns::last_time).max()
    }

    /// Requests that neither succeeded nor failed, and those that found no free seat.
    pub(super) fn in_no_ratio(&self) -> (usize, usize) {
        let refused = self.iter().filter(|row| row.state == NO_FREE_SEAT).count();
        (self.iter().filter(Sighting::is_in_no_ratio).count() - refused, refused)
    }
}

/// The number of a thing among those that were seen, plus one.
fn number_of<T: std::hash::Hash + Eq>(seen: &mut IndexSet<T>, thing: T) -> Option<NonZeroU32> {
    let (index, _) = seen.insert_full(thing);
    plus_one(u32::try_from(index).ok()?)
}

const fn plus_one(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number.wrapping_add(1))
}

fn minus_one(number: Option<NonZeroU32>) -> Option<u32> {
    number.map(|number| number.get() - 1)
}

impl Trail {
    pub(super) fn new(window: Window) -> Trail {
        Trail {
            window,
            rows: BTreeMap::new(),
            combinations: IndexSet::new(),
            states: IndexSet::new(),
            keys: Vec::new(),
            without_time: 0,
            key_numbers: HashMap::new(),
            machines: IndexSet::new(),
            addresses: IndexSet::new(),
            is_of_one_key: false,
            ids: None,
            sha256: None,
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
        let key = row.key.map(|key| self.number_of_key(row.product_id, key));
        if let Some(seen) = key.and_then(|key| self.keys.get_mut(usize::try_from(key).ok()?)) {
            seen.is_floating |= row.state.is_some_and(|state| FLOATING.contains(&state));
            seen.is_node_locked |= row.state.is_some_and(|state| NODE_LOCKED.contains(&state));
            if let Some(network) = row.ip.as_deref().and_then(network) {
                seen.networks.insert(network);
            }
        }
        let combination = Combination {
            product_id: row.product_id,
            key: key.and_then(plus_one),
            machine: row.machine_code.and_then(|code| number_of(&mut self.machines, code)),
            address: row.ip.and_then(|address| number_of(&mut self.addresses, address)),
            state: u32::try_from(self.states.insert_full(row.state).0).unwrap_or(u32::MAX),
        };
        let combination = self.combinations.insert_full(combination).0;
        let combination = u32::try_from(combination).unwrap_or(u32::MAX);
        self.rows.entry(row.product_id).or_default().push(RunRow { time, id: row.id, combination });
    }

    fn combination(&self, row: RunRow) -> Option<&Combination> {
        self.combinations.get_index(usize::try_from(row.combination).ok()?)
    }

    fn state(&self, of: &Combination) -> Option<i64> {
        *self.states.get_index(usize::try_from(of.state).ok()?)?
    }

    fn sighting(&self, row: RunRow) -> Option<Sighting> {
        let combination = self.combination(row)?;
        let state = self.state(combination);
        Some(Sighting {
            time: row.time,
            id: row.id,
            product_id: combination.product_id,
            key: minus_one(combination.key),
            machine: minus_one(combination.machine),
            address: combination.address,
            state: state.and_then(|state| u16::try_from(state).ok()).unwrap_or(0),
            outcome: state_code::classify(state).1,
        })
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

    /// Makes the rows that came ready to be read.
    pub(super) fn finish(&mut self) {
        self.rows.values_mut().for_each(RowRuns::finish);
        let mut context = Context::new(&SHA256);
        let mut ids: Option<(i64, i64)> = None;
        for row in MergedRows::new(self.rows.values(), RowOrder::Id) {
            let state = self.combination(row).and_then(|combination| self.state(combination));
            let state = state.map(|state| state.to_string()).unwrap_or_default();
            context.update(format!("{}:{state}\n", row.id).as_bytes());
            ids = Some((ids.map_or(row.id, |(first, _)| first), row.id));
        }
        let digest = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.sha256 = ids.map(|_| digest);
        self.ids = ids;
    }

    /// Keeps the rows of one key; none where it has none.
    pub(super) fn keep_key(&mut self, product_id: i64, key: &str) {
        self.is_of_one_key = true;
        let number = self.key_numbers.get(&(product_id, key.to_owned())).and_then(|number| plus_one(*number));
        let is_of_key = |row: &RunRow| {
            number.is_some() && self.combination(*row).is_some_and(|combination| combination.key == number)
        };
        let kept = self.rows.get(&product_id).map(|rows| rows.kept(is_of_key));
        self.rows = kept.into_iter().filter(|rows| rows.len() > 0).map(|rows| (product_id, rows)).collect();
        self.finish();
    }

    /// The code of a machine.
    pub(super) fn machine(&self, number: u32) -> Option<&str> {
        self.machines.get_index(usize::try_from(number).ok()?).map(String::as_str)
    }

    pub(super) fn key(&self, number: u32) -> Option<&SeenKey> {
        self.keys.get(usize::try_from(number).ok()?)
    }

    /// The first and the last id, once [`Trail::finish`] was called.
    pub(super) const fn ids(&self) -> Option<(i64, i64)> {
        self.ids
    }

    /// What proves which rows were counted, of those that were read.
    pub(super) fn evidence(&self, reading: &ReadingSummary) -> Evidence {
        let (first_id, last_id) = self.ids.unzip();
        let oldest = self.rows().iter().next();
        Evidence {
            rows: of_length(self.rows().len()),
            first_id,
            last_id,
            sha256: self.sha256.clone(),
            oldest: oldest.map(|row| Moment { at: row.time, zone: self.window.zone }),
            skipped: vec![
                ("without_id", reading.without_id),
                ("without_time", self.without_time),
                ("met_again", reading.duplicates),
            ],
            ..Evidence::default()
        }
    }

    /// The products that were seen, most requests first.
    pub(super) fn products(&self) -> Vec<i64> {
        let mut products: Vec<(i64, usize)> = self.rows.iter().map(|(id, rows)| (*id, rows.len())).collect();
        products.sort_by_key(|(id, requests)| (Reverse(*requests), *id));
        products.into_iter().map(|(id, _)| id).collect()
    }

    /// All rows.
    pub(super) const fn rows(&self) -> TrailRows<'_> {
        self.of_product(None)
    }

    /// The rows of a product, or of all of them.
    pub(super) const fn of_product(&self, product: Option<i64>) -> TrailRows<'_> {
        TrailRows { trail: self, product }
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
            trail.finish();
            let mut expected: Vec<&SeenRequest> =
                rows.iter().filter(|row| row.time.is_some_and(|time| (1000..2000).contains(&time))).collect();
            let lines: String =
                expected.iter().map(|row| format!("{}:{}\n", row.id, row.state.unwrap())).collect();
            let digest = ring::digest::digest(&SHA256, lines.as_bytes());
            let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(trail.sha256.clone(), (!expected.is_empty()).then_some(digest));
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
            prop_assert_eq!(trail.ids().map(|(first, _)| first), of_key.iter().min().copied());
        }
    }
}
