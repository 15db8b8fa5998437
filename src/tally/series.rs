//! The label sets of one family in one account: a map from key to value, with a limit on how many there may be.
//!
//! Who is in is decided by what is committed: a delta is counted against the committed series, and merged into it once
//! it is in the ledger.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::histogram::Histogram;

/// What a label set counts.
pub trait Value: Clone + Default {
    /// Adds what `other` counted.
    fn merge(&mut self, other: &Self);
}

impl Value for u64 {
    fn merge(&mut self, other: &u64) {
        *self += other;
    }
}

impl Value for Histogram {
    fn merge(&mut self, other: &Histogram) {
        Histogram::merge(self, other);
    }
}

/// The labels of a key, in the order of its family (without the account).
pub trait Key: Clone + Eq + Hash + Ord {
    /// As they are kept in the ledger.
    fn labels(&self) -> Vec<String>;

    /// The key with these labels; `None` for labels that this version did not write.
    fn from_labels(labels: &[String]) -> Option<Self>;

    /// Where a row goes when the limit keeps its own label set out.
    fn overflow(&self) -> Self;
}

/// Label sets with their values.
#[derive(Debug, Clone)]
pub struct Series<K, V> {
    sets: HashMap<K, V, RandomState>,
    /// Of a delta: the limit is reached, and stays so for as long as this delta lives.
    full: bool,
}

impl<K, V> Default for Series<K, V> {
    fn default() -> Self {
        Series { sets: HashMap::default(), full: false }
    }
}

impl<K: Key, V: Value + PartialEq> PartialEq for Series<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl<K: Key, V: Value> Series<K, V> {
    /// The value of one label set.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.sets.get(key)
    }

    /// All label sets, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.sets.iter()
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The value of a label set that is admitted without a limit.
    pub fn entry(&mut self, key: K) -> &mut V {
        self.sets.entry(key).or_default()
    }

    /// The value to count in, here in the delta: that of `key` if it is committed already, exempt, or there is room
    /// for it among `limit` label sets that are not exempt; else that of its overflow. Tells whether it overflowed.
    pub fn admit(
        &mut self,
        key: K,
        committed: &Series<K, V>,
        limit: usize,
        exempt: impl Fn(&K) -> bool,
    ) -> (&mut V, bool) {
        let known = self.sets.contains_key(&key) || committed.sets.contains_key(&key);
        if known || exempt(&key) || self.has_room(committed, limit, exempt) {
            (self.entry(key), false)
        } else {
            (self.entry(key.overflow()), true)
        }
    }

    /// Only asked when a label set is seen for the first time, so counting them all is cheap enough.
    fn has_room(&mut self, committed: &Series<K, V>, limit: usize, exempt: impl Fn(&K) -> bool) -> bool {
        if !self.full {
            let fresh = self.sets.keys().filter(|key| !committed.sets.contains_key(key));
            self.full = committed.sets.keys().chain(fresh).filter(|key| !exempt(key)).count() >= limit;
        }
        !self.full
    }

    /// Adds a delta.
    pub fn merge(&mut self, delta: &Series<K, V>) {
        for (key, value) in &delta.sets {
            match self.sets.get_mut(key) {
                Some(mine) => mine.merge(value),
                None => {
                    self.sets.insert(key.clone(), value.clone());
                }
            }
        }
    }

    /// Each label set of this delta with the value that it has once merged into `committed`.
    pub fn merged(&self, committed: &Series<K, V>) -> impl Iterator<Item = (&K, V)> {
        self.sets.iter().map(|(key, value)| {
            let mut merged = committed.sets.get(key).cloned().unwrap_or_default();
            merged.merge(value);
            (key, merged)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::LogKind;

    impl Key for u32 {
        fn labels(&self) -> Vec<String> {
            vec![self.to_string()]
        }

        fn from_labels(labels: &[String]) -> Option<Self> {
            labels.first()?.parse().ok()
        }

        fn overflow(&self) -> Self {
            0
        }
    }

    fn count(delta: &mut Series<u32, u64>, committed: &Series<u32, u64>, key: u32) -> bool {
        let (value, overflowed) = delta.admit(key, committed, 2, |key| *key == 0 || *key >= 100);
        *value += 1;
        overflowed
    }

    #[test]
    fn who_is_in_is_what_is_committed() {
        let mut committed = Series::default();
        *committed.entry(1) = 10;
        let mut delta = Series::default();
        let overflowed: Vec<bool> =
            [1, 2, 3, 100, 101, 2, 3, 1].into_iter().map(|key| count(&mut delta, &committed, key)).collect();
        assert_eq!(overflowed, [false, false, true, false, false, false, true, false]);
        committed.merge(&delta);
        assert_eq!(committed.get(&1), Some(&12));
        assert_eq!(committed.get(&0), Some(&2), "what was kept out");
        assert_eq!(committed.get(&3), None);

        let mut next = Series::default();
        assert!(count(&mut next, &committed, 4), "the limit holds over deltas");
        assert!(!count(&mut next, &committed, 2), "and who is in stays in");
    }

    #[test]
    fn merged_values_are_those_after_the_merge() {
        let mut committed: Series<LogKind, u64> = Series::default();
        *committed.entry(LogKind::WebApi) = 5;
        let mut delta = Series::default();
        *delta.entry(LogKind::WebApi) = 2;
        *delta.entry(LogKind::Events) = 1;
        let mut merged: Vec<_> = delta.merged(&committed).map(|(key, value)| (*key, value)).collect();
        merged.sort_unstable();
        assert_eq!(merged, [(LogKind::WebApi, 7), (LogKind::Events, 1)]);
        committed.merge(&delta);
        assert_eq!(merged.len(), committed.iter().count());
        assert!(merged.iter().all(|(key, value)| committed.get(key) == Some(value)));
    }
}
