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

/// The rule by which a family admits label sets.
#[derive(Debug)]
pub struct Limit<K> {
    /// How many label sets one account may have, exempt ones not counted.
    pub sets: usize,
    /// Label sets that are always admitted: those exported at 0 in advance, and where overflow goes.
    pub exempt: fn(&K) -> bool,
}

/// Label sets with their values.
#[derive(Debug, Clone)]
pub struct Series<K, V> {
    sets: HashMap<K, V, RandomState>,
}

impl<K, V> Default for Series<K, V> {
    fn default() -> Self {
        Series { sets: HashMap::default() }
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

    /// How many label sets the limit counts.
    pub fn limited(&self, limit: &Limit<K>) -> usize {
        self.sets.keys().filter(|key| !(limit.exempt)(key)).count()
    }

    /// The value of a label set that is admitted without a limit.
    pub fn entry(&mut self, key: K) -> &mut V {
        self.sets.entry(key).or_default()
    }

    /// The value to count in, here in the delta: that of `key` if `committed` or the limit admits it, else that of its
    /// overflow. Tells whether it overflowed.
    pub fn admit(&mut self, key: K, committed: &Series<K, V>, limit: &Limit<K>) -> (&mut V, bool) {
        let known = self.sets.contains_key(&key) || committed.sets.contains_key(&key);
        if known || (limit.exempt)(&key) || self.has_room(committed, limit) {
            (self.entry(key), false)
        } else {
            (self.entry(key.overflow()), true)
        }
    }

    /// Only asked when a label set is seen for the first time, so counting it anew is cheap enough.
    fn has_room(&self, committed: &Series<K, V>, limit: &Limit<K>) -> bool {
        let fresh = self.sets.keys().filter(|key| !committed.sets.contains_key(key) && !(limit.exempt)(key));
        committed.limited(limit) + fresh.count() < limit.sets
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
