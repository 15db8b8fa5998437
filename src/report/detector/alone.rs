//! Tells whether a single source accounts for an interval of failures.
//!
//! One installation that tries again and again with a license that has expired can fail more often
//! than all customers of a product together. That is a case for `report customer`, and no incident:
//! nobody else is hit. A source is one key, one machine, or one address, each alone: a container
//! that starts again and again names another machine each time, and who guesses keys names another
//! key each time.
//!
//! Promises: a source is not alone where others fail beside it as in an incident; that is judged by
//! the scan, without the source. A key or an address with several machines that fail again and again
//! is a customer, a site, or a network that customers have in common, and not alone. Not seen: a
//! source that names another key, another machine and another address with each request.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Failures of a machine that tries again, at least.
const LEAST_OF_MACHINE: u64 = 2;
/// Machines of more than one installation, at least.
const LEAST_MACHINES: usize = 2;
/// A source is silent for so long, in minutes, once it has given up.
const SILENCE: usize = 60;
/// The part of all failures from which on a source is one by one name only, to save room.
const PART_TO_MERGE: u64 = 4;

/// Who sent a request that failed, by numbers that the caller knows; 0 where the row names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(in crate::report) struct FailureSource {
    pub(in crate::report) key: u32,
    pub(in crate::report) machine: u32,
    pub(in crate::report) address: u32,
}

/// The failures of a source in a minute of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct SourcedFailures {
    pub(in crate::report) minute: u16,
    pub(in crate::report) count: u32,
    pub(in crate::report) source: FailureSource,
}

impl SourcedFailures {
    pub(super) fn at(&self) -> usize {
        usize::from(self.minute)
    }
}

/// The failures of a period by their sources, in any order. Where some are missing, nobody is alone
/// because of them.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct SourcesOfFailures(pub(in crate::report) Vec<SourcedFailures>);

/// By which of its names a source is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::report) enum SourceKind {
    Machine,
    Key,
    Address,
}

impl SourceKind {
    const ALL: [SourceKind; 3] = [SourceKind::Machine, SourceKind::Key, SourceKind::Address];

    /// As `one machine`.
    pub(in crate::report) const fn one(self) -> &'static str {
        match self {
            SourceKind::Machine => "one machine",
            SourceKind::Key => "one key",
            SourceKind::Address => "one address",
        }
    }

    const fn number(self, source: FailureSource) -> u32 {
        match self {
            SourceKind::Machine => source.machine,
            SourceKind::Key => source.key,
            SourceKind::Address => source.address,
        }
    }
}

/// A source by one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::report) struct NamedSource {
    pub(in crate::report) kind: SourceKind,
    pub(in crate::report) number: u32,
}

impl NamedSource {
    /// The source with this name only.
    fn alone(self) -> FailureSource {
        let nameless = FailureSource::default();
        match self.kind {
            SourceKind::Machine => FailureSource { machine: self.number, ..nameless },
            SourceKind::Key => FailureSource { key: self.number, ..nameless },
            SourceKind::Address => FailureSource { address: self.number, ..nameless },
        }
    }

    /// True if a request of this source is one of it.
    pub(in crate::report) const fn is_of(self, source: FailureSource) -> bool {
        self.kind.number(source) == self.number
    }
}

/// A source whose failures are no sign of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct LoneSource {
    pub(in crate::report) source: NamedSource,
    /// Minutes of the period, and its failures in them.
    pub(in crate::report) failures: Vec<(usize, u64)>,
}

impl LoneSource {
    pub(super) fn new(source: NamedSource, taken: &[SourcedFailures]) -> LoneSource {
        let failures = taken.iter().map(|failed| (failed.at(), u64::from(failed.count))).collect();
        LoneSource { source, failures }
    }

    /// Its failures from a minute of the period on.
    pub(in crate::report) fn failed_since(&self, minute: usize) -> u64 {
        self.failures.iter().filter(|(at, _)| *at >= minute).map(|(_, count)| count).sum()
    }
}

impl SourcesOfFailures {
    /// The source with most failures from one minute to another, if it may be alone, and how many
    /// these are.
    pub(in crate::report) fn most_alone(&self, (from, to): (usize, usize)) -> Option<(NamedSource, u64)> {
        let within = || self.0.iter().filter(|failed| (from..to).contains(&failed.at()));
        let mut found: Option<(NamedSource, u64)> = None;
        for kind in SourceKind::ALL {
            let mut counts: HashMap<u32, u64> = HashMap::new();
            for failed in within().filter(|failed| kind.number(failed.source) != 0) {
                *counts.entry(kind.number(failed.source)).or_default() += u64::from(failed.count);
            }
            let most = counts.into_iter().max_by_key(|(number, count)| (*count, *number));
            let Some((number, count)) = most.filter(|(_, count)| found.is_none_or(|(_, most)| *count > most))
            else {
                continue;
            };
            let source = NamedSource { kind, number };
            if kind == SourceKind::Machine || !has_several_machines(within(), source) {
                found = Some((source, count));
            }
        }
        found
    }

    /// The failures of a source from one minute to another.
    pub(in crate::report) fn of_minutes(
        &self,
        source: NamedSource,
        (from, to): (usize, usize),
    ) -> impl Iterator<Item = &SourcedFailures> {
        let is_of =
            move |failed: &&SourcedFailures| source.is_of(failed.source) && (from..to).contains(&failed.at());
        self.0.iter().filter(is_of)
    }

    /// At most so many of them. A source that has a large part of all keeps one of its names only,
    /// by which it is one; of the others those remain that failed most in their minute.
    pub(in crate::report) fn packed(mut self, most: usize) -> SourcesOfFailures {
        let all: u64 = self.0.iter().map(|failed| u64::from(failed.count)).sum();
        for kind in SourceKind::ALL {
            if self.0.len() <= most {
                break;
            }
            let Some((source, count)) = self.most_alone((0, usize::MAX)) else { break };
            if source.kind != kind || count * PART_TO_MERGE < all {
                continue;
            }
            let (own, others) = self.0.iter().partition(|failed| source.is_of(failed.source));
            self.0 = others;
            self.0.extend(merged(own, source));
        }
        if self.0.len() > most {
            self.0.sort_unstable_by_key(|failed| (Reverse(failed.count), failed.minute, failed.source));
            self.0.truncate(most);
        }
        self.0.sort_unstable_by_key(|failed| (failed.minute, failed.source));
        self.0.shrink_to_fit();
        self
    }

    /// Takes the failures of a source out: those in an interval, and before and after it those that
    /// no silence separates from them.
    pub(super) fn take(&mut self, source: NamedSource, interval: (usize, usize)) -> Vec<SourcedFailures> {
        let own = self.0.iter().filter(|failed| source.is_of(failed.source));
        let mut minutes: Vec<usize> = own.map(SourcedFailures::at).collect();
        minutes.sort_unstable();
        let (mut begin, mut end) = interval;
        for minute in minutes.iter().rev().filter(|minute| **minute < interval.0) {
            if begin.saturating_sub(*minute) <= SILENCE {
                begin = begin.min(*minute);
            }
        }
        for minute in minutes.iter().filter(|minute| **minute >= interval.1) {
            if minute.saturating_sub(end) < SILENCE {
                end = end.max(minute + 1);
            }
        }
        let is_taken =
            |failed: &SourcedFailures| source.is_of(failed.source) && (begin..end).contains(&failed.at());
        let (taken, kept) = self.0.iter().partition(|failed| is_taken(failed));
        self.0 = kept;
        taken
    }
}

/// The failures of a source by minute, without its other names.
fn merged(failures: Vec<SourcedFailures>, source: NamedSource) -> impl Iterator<Item = SourcedFailures> {
    let mut minutes: BTreeMap<u16, u32> = BTreeMap::new();
    for failed in failures {
        let count = minutes.entry(failed.minute).or_default();
        *count = count.saturating_add(failed.count);
    }
    minutes.into_iter().map(move |(minute, count)| SourcedFailures { minute, count, source: source.alone() })
}

/// True if several machines fail again and again. Requests that name none are one machine.
fn has_several_machines<'a>(
    failures: impl Iterator<Item = &'a SourcedFailures>,
    source: NamedSource,
) -> bool {
    let mut machines: HashMap<u32, u64> = HashMap::new();
    for failed in failures.filter(|failed| source.is_of(failed.source)) {
        *machines.entry(failed.source.machine).or_default() += u64::from(failed.count);
    }
    machines.values().filter(|count| **count >= LEAST_OF_MACHINE).count() >= LEAST_MACHINES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(minute: u16, count: u32, (key, machine, address): (u32, u32, u32)) -> SourcedFailures {
        SourcedFailures { minute, count, source: FailureSource { key, machine, address } }
    }

    /// By which name a source has most failures.
    fn alone(failures: &[SourcedFailures]) -> Option<SourceKind> {
        let all = failures.iter().map(|failed| u64::from(failed.count)).sum::<u64>();
        let most = SourcesOfFailures(failures.to_vec()).most_alone((0, 100));
        most.filter(|(_, count)| *count * 2 > all).map(|(source, _)| source.kind)
    }

    #[test]
    fn a_machine_a_key_and_an_address_may_each_be_alone() {
        let machine = [failed(1, 3, (1, 7, 1)), failed(2, 3, (2, 7, 2)), failed(3, 2, (3, 8, 3))];
        assert_eq!(alone(&machine), Some(SourceKind::Machine));
        let key: Vec<_> = (1..20).map(|number| failed(5, 1, (1, number, number))).collect();
        assert_eq!(alone(&key), Some(SourceKind::Key));
        let address: Vec<_> = (1..20).map(|number| failed(5, 1, (number, number, 1))).collect();
        assert_eq!(alone(&address), Some(SourceKind::Address));
        let several: Vec<_> = (1..20).map(|number| failed(5, 1, (number, number, number))).collect();
        assert_eq!(alone(&several), None);
        let nameless: Vec<_> = (1..20).map(|minute| failed(minute, 1, (0, 0, 0))).collect();
        assert_eq!(alone(&nameless), None, "nothing says that these are one");
    }

    #[test]
    fn a_key_and_a_network_with_several_machines_are_not_alone() {
        let customer: Vec<_> = (1..20).map(|number| failed(5, 2, (1, number, number))).collect();
        assert_eq!(alone(&customer), None);
        let network: Vec<_> = (1..20).map(|number| failed(5, 2, (number, number, 1))).collect();
        assert_eq!(alone(&network), None);
    }

    #[test]
    fn a_source_of_many_names_is_packed_into_one() {
        let loud =
            (0..1000_u32).map(|number| failed(u16::try_from(number / 10).unwrap(), 1, (7, number + 1, 1)));
        let quiet = (0..50_u16).map(|minute| failed(minute, 2, (u32::from(minute) + 10, 5000, 6000)));
        let packed = SourcesOfFailures(loud.chain(quiet).collect()).packed(200);
        assert_eq!(packed.0.len(), 150, "a hundred minutes of the one, and the others as they were");
        let source = NamedSource { kind: SourceKind::Key, number: 7 };
        assert_eq!(packed.most_alone((0, 100)), Some((source, 1000)));
        let several: Vec<_> =
            (0..1000_u32).map(|number| failed(3, 1 + number % 2, (number, number, number))).collect();
        let packed = SourcesOfFailures(several).packed(500);
        assert!(packed.0.len() == 500 && packed.0.iter().all(|failed| failed.count == 2));
    }

    #[test]
    fn a_source_is_taken_out_until_it_is_silent() {
        let minutes = [10, 80, 100, 150, 210, 280, 400];
        let mut failures: Vec<_> = minutes.iter().map(|minute| failed(*minute, 1, (1, 1, 1))).collect();
        failures.push(failed(110, 1, (2, 2, 2)));
        let mut sources = SourcesOfFailures(failures);
        let source = NamedSource { kind: SourceKind::Machine, number: 1 };
        let taken: Vec<usize> = sources.take(source, (100, 160)).iter().map(SourcedFailures::at).collect();
        assert_eq!(taken, [80, 100, 150, 210]);
        let kept: Vec<usize> = sources.0.iter().map(SourcedFailures::at).collect();
        assert_eq!(kept, [10, 280, 400, 110]);
    }
}
