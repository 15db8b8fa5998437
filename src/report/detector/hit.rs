//! When an incident began, and who is hit by it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::cryptolens::Outcome;

/// Failures of a customer who is hit, at least.
const LEAST_FAILURES: u64 = 2;

/// How long after the first failure the onset may be, in seconds: the scan is exact to the minute,
/// and at the end of an incident that mixes with successes every key has some failure unbroken.
const LATEST_ONSET: i64 = 120;

/// One request, whose names are numbers that the caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Sighting {
    pub(in crate::report) time: i64,
    pub(in crate::report) id: i64,
    pub(in crate::report) product_id: i64,
    /// Of the product; none where the row names none.
    pub(in crate::report) key: Option<u32>,
    pub(in crate::report) machine: Option<u32>,
    pub(in crate::report) address: Option<NonZeroU32>,
    pub(in crate::report) state: u16,
    pub(in crate::report) outcome: Outcome,
}

/// State of a floating activation that found no free seat (vendor's reporting tools).
pub(in crate::report) const NO_FREE_SEAT: u16 = 2024;

impl Sighting {
    /// True for a failure that counts. A refused seat does not: it has a report of its own.
    pub(in crate::report) fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failure && self.state != NO_FREE_SEAT
    }

    /// True for what is neither a success nor a failure that counts, and so in no ratio.
    pub(in crate::report) fn is_in_no_ratio(&self) -> bool {
        self.state == NO_FREE_SEAT || self.outcome == Outcome::Unknown
    }
}

/// A key that only fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct HitKey {
    pub(in crate::report) key: u32,
    /// Failures since the onset.
    pub(in crate::report) failed: u64,
    /// Machines that failed since the onset.
    pub(in crate::report) machines: usize,
    /// The state of the latest failure.
    pub(in crate::report) state: u16,
    /// The latest success before it, if the rows show one.
    pub(in crate::report) last_success: Option<i64>,
}

/// The effect of an interval of failures on the customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Assessment {
    /// The first failure of a key that has had no success since, if that is near the first failure
    /// of any key; else the latter.
    pub(in crate::report) onset: Option<Sighting>,
    /// Keys with at least two failures since the onset and no success, most failures first.
    pub(in crate::report) hit: Vec<HitKey>,
    /// Keys seen since the onset that are not hit.
    pub(in crate::report) others: Vec<u32>,
    /// Failures since the onset.
    pub(in crate::report) failed: u64,
    /// Requests since the onset that succeeded or failed.
    pub(in crate::report) requests: u64,
    /// Failures since the onset of the keys that are hit.
    pub(in crate::report) failed_of_hit: u64,
    /// Machines of the keys that are hit.
    pub(in crate::report) machines: usize,
}

#[derive(Default)]
struct KeySoFar {
    failed: u64,
    first_failure: Option<i64>,
    latest_state: u16,
    machines: BTreeSet<Option<u32>>,
    last_success: Option<i64>,
}

/// Judges the requests of one interval. `rows` are those of the product in order of time, with
/// those before the interval; it begins at `from` and ends before `to`.
pub(in crate::report) fn assess(
    rows: impl Iterator<Item = Sighting> + Clone,
    from: i64,
    to: i64,
) -> Assessment {
    let within = || rows.clone().filter(|row| (from..to).contains(&row.time));
    let mut last_success: BTreeMap<u32, i64> = BTreeMap::new();
    for row in rows.clone().filter(|row| row.time < to && row.outcome == Outcome::Success) {
        if let Some(key) = row.key {
            last_success.insert(key, row.time);
        }
    }
    let is_unbroken = |row: &Sighting| {
        let Some(key) = row.key else { return false };
        row.has_failed() && last_success.get(&key).is_none_or(|success| *success < row.time)
    };
    let first = within().find(Sighting::has_failed);
    let unbroken = within().find(is_unbroken);
    let onset =
        unbroken.filter(|row| first.is_some_and(|first| row.time - first.time <= LATEST_ONSET)).or(first);
    let begin = onset.map_or(to, |onset| onset.time);
    let mut keys: BTreeMap<u32, KeySoFar> = BTreeMap::new();
    let (mut failed, mut requests) = (0, 0);
    for row in rows.filter(|row| (begin..to).contains(&row.time)) {
        failed += u64::from(row.has_failed());
        requests += u64::from(!row.is_in_no_ratio());
        let Some(key) = row.key else { continue };
        let so_far = keys.entry(key).or_default();
        if row.has_failed() {
            so_far.failed += 1;
            so_far.first_failure.get_or_insert(row.time);
            so_far.latest_state = row.state;
            so_far.machines.insert(row.machine);
        }
        so_far.last_success = last_success.get(&key).copied();
    }
    let mut hit = Vec::new();
    let mut others = Vec::new();
    let mut machines = BTreeSet::new();
    for (key, so_far) in keys {
        let has_got_through = |first: i64| so_far.last_success.is_some_and(|success| success >= first);
        if so_far.failed < LEAST_FAILURES || so_far.first_failure.is_none_or(has_got_through) {
            others.push(key);
            continue;
        }
        machines.extend(so_far.machines.iter().map(|machine| (key, *machine)));
        hit.push(HitKey {
            key,
            failed: so_far.failed,
            machines: so_far.machines.len(),
            state: so_far.latest_state,
            last_success: so_far.last_success,
        });
    }
    hit.sort_by_key(|hit| (std::cmp::Reverse(hit.failed), hit.key));
    let failed_of_hit = hit.iter().map(|hit| hit.failed).sum();
    Assessment { onset, hit, others, failed, requests, failed_of_hit, machines: machines.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(time: i64, key: u32, state: u16) -> Sighting {
        let outcome = match state / 10 % 10 {
            1 => Outcome::Success,
            2 => Outcome::Failure,
            _ => Outcome::Unknown,
        };
        let (key, machine) = (Some(key), Some(key * 10));
        Sighting { time, id: time, product_id: 1, key, machine, address: None, state, outcome }
    }

    #[test]
    fn the_onset_is_the_first_failure_without_a_success_since() {
        let rows = [
            row(90, 1, 2014),
            row(95, 2, 2014),
            row(100, 1, 2020),
            row(103, 1, 2014),
            row(110, 2, 2020),
            row(120, 2, 2020),
            row(130, 3, 2014),
            row(140, 4, 2020),
        ];
        let assessment = assess(rows.iter().copied(), 100, 200);
        assert_eq!(assessment.onset.map(|onset| onset.time), Some(110), "key 1 got through at 103");
        let hit: Vec<_> = assessment.hit.iter().map(|hit| (hit.key, hit.failed, hit.last_success)).collect();
        assert_eq!(hit, [(2, 2, Some(95))], "one failure is not enough for key 4");
        assert_eq!(assessment.others, [3, 4]);
        assert_eq!((assessment.failed, assessment.requests, assessment.failed_of_hit), (3, 4, 2));
    }

    #[test]
    fn where_everybody_gets_through_again_the_first_failure_is_the_onset() {
        let rows = [row(100, 1, 2020), row(110, 1, 2014), row(120, 2, 2020), row(130, 2, 2014)];
        let assessment = assess(rows.iter().copied(), 100, 200);
        assert_eq!((assessment.onset.map(|onset| onset.time), assessment.hit.len()), (Some(100), 0));
    }

    #[test]
    fn a_refused_seat_hits_nobody_here() {
        let rows = [row(100, 1, 2024), row(110, 1, 2024), row(120, 1, 2030)];
        let assessment = assess(rows.iter().copied(), 100, 200);
        assert_eq!((assessment.onset, assessment.failed, assessment.requests), (None, 0, 0));
    }

    proptest! {
        /// A key that is hit has no success after its first failure since the onset, whatever
        /// comes.
        #[test]
        fn nobody_who_got_through_is_hit(rows in proptest::collection::vec((0_i64..100, 0_u32..6, 0_usize..4), 0..80)) {
            let states = [2014, 2020, 2024, 2030];
            let mut rows: Vec<Sighting> = rows.iter().map(|(time, key, state)| row(*time, *key, states[*state])).collect();
            rows.sort_by_key(|row| row.time);
            let assessment = assess(rows.iter().copied(), 20, 90);
            let begin = assessment.onset.map_or(90, |onset| onset.time);
            for hit in &assessment.hit {
                let of_key = || rows.iter().filter(|row| row.key == Some(hit.key) && (begin..90).contains(&row.time));
                let first = of_key().find(|row| row.has_failed()).unwrap().time;
                prop_assert!(of_key().filter(|row| row.has_failed()).count() as u64 == hit.failed && hit.failed >= 2);
                prop_assert!(of_key().all(|row| row.outcome != Outcome::Success || row.time < first));
            }
            prop_assert!(assessment.failed >= assessment.failed_of_hit && assessment.requests >= assessment.failed);
        }
    }
}
