//! The label sets of one family in one account: those that are committed, and those of a delta.
//!
//! A delta is counted against the committed series and applied to them when it is written to the
//! ledger. The committed series are sorted, and kept in chunks that are shared with everybody who
//! reads them: a change copies the chunks that it touches and no others.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cryptolens::LogKind;
use crate::metrics::{BirthTime, Histogram, Point, PointChunk, PointValue};

/// The value that a label set counts.
pub trait SeriesValue: Clone + Default {
    /// Most points of a chunk. A chunk is rendered as a whole when one of its points changes, and
    /// a histogram has 12 times as many lines as a counter.
    const CHUNK: usize;

    /// Adds what `other` counted.
    fn merge(&mut self, other: &Self);

    /// The value in a point; `None` if the point is of another type.
    fn of(value: &PointValue) -> Option<&Self>;

    /// The value as that of a point.
    fn into_point(self) -> PointValue;

    /// Adds to the value in a point, which is of this type.
    fn add_to(&self, value: &mut PointValue);
}

impl SeriesValue for u64 {
    const CHUNK: usize = 96;

    fn merge(&mut self, other: &u64) {
        *self += other;
    }

    fn of(value: &PointValue) -> Option<&u64> {
        if let PointValue::Counter(value) = value { Some(value) } else { None }
    }

    fn into_point(self) -> PointValue {
        PointValue::Counter(self)
    }

    fn add_to(&self, value: &mut PointValue) {
        if let PointValue::Counter(value) = value {
            *value += self;
        }
    }
}

impl SeriesValue for Histogram {
    const CHUNK: usize = 8;

    fn merge(&mut self, other: &Histogram) {
        Histogram::merge(self, other);
    }

    fn of(value: &PointValue) -> Option<&Histogram> {
        if let PointValue::Histogram(value) = value { Some(value) } else { None }
    }

    fn into_point(self) -> PointValue {
        PointValue::Histogram(Arc::new(self))
    }

    fn add_to(&self, value: &mut PointValue) {
        if let PointValue::Histogram(value) = value {
            Histogram::merge(Arc::make_mut(value), self);
        }
    }
}

/// The label set of a point, typed and cheap to compare: its labels, and what follows from them
/// alone.
pub trait SeriesKey: Clone + Eq + Hash + Ord {
    /// The label values in the order of the family, without the account. The ledger keeps them.
    fn labels(&self) -> Vec<Arc<str>>;

    /// The key with these labels; `None` for labels that this version did not write.
    fn from_labels(labels: &[Arc<str>]) -> Option<Self>;

    /// The label set that counts a row when the limit keeps its own one out.
    fn overflow(&self) -> Self {
        self.clone()
    }

    /// True for label sets that a limit does not count: those that are created at 0 in advance, and
    /// those that overflow goes to.
    fn is_exempt(&self) -> bool {
        false
    }

    /// The currency among the labels, `other` not included: currencies have a limit of their own.
    fn currency(&self) -> Option<&Arc<str>> {
        None
    }

    /// The log among the labels, for families that have label sets of several logs.
    fn log(&self) -> Option<LogKind> {
        None
    }

    /// True if the newest row that is counted here is worth finding: that of a failure.
    fn wants_entry_id(&self) -> bool {
        false
    }
}

/// The increment of one label set in a delta.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Addition<V> {
    /// To be added to the value.
    pub value: V,
    /// The highest id of the rows that were counted, where the key wants it.
    pub entry_id: Option<i64>,
}

/// Label sets that are to be added to, with what is to be added.
#[derive(Debug, Clone)]
pub struct SeriesDelta<K, V> {
    sets: HashMap<K, Addition<V>, RandomState>,
    /// New label sets that the limit counts.
    fresh: usize,
    currencies: BTreeSet<Arc<str>>,
}

impl<K, V> Default for SeriesDelta<K, V> {
    fn default() -> Self {
        SeriesDelta { sets: HashMap::default(), fresh: 0, currencies: BTreeSet::new() }
    }
}

impl<K: SeriesKey, V: SeriesValue> SeriesDelta<K, V> {
    /// The increment of one label set.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.sets.get(key).map(|addition| &addition.value)
    }

    /// All label sets with what is added to them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.sets.iter().map(|(key, addition)| (key, &addition.value))
    }

    /// True if there is nothing to add, and no label set to create at 0.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The addition to a label set that has no limit.
    pub fn entry(&mut self, key: K) -> &mut V {
        &mut self.addition(key).value
    }

    /// Adds to a label set that was admitted.
    pub fn add(&mut self, key: K, more: &Addition<V>) {
        let addition = self.addition(key);
        addition.value.merge(&more.value);
        addition.entry_id = addition.entry_id.max(more.entry_id);
    }

    fn addition(&mut self, key: K) -> &mut Addition<V> {
        if let Some(currency) = key.currency()
            && !self.currencies.contains(currency)
        {
            self.currencies.insert(Arc::clone(currency));
        }
        self.sets.entry(key).or_default()
    }

    /// Creates a label set at 0 unless it is committed.
    pub fn create(&mut self, key: K, committed: &Series<K, V>) {
        if committed.get(&key).is_none() {
            self.addition(key);
        }
    }

    /// The addition to count in: that of `key` if it is committed already, exempt, or there is room
    /// for it among `limit` label sets that are not exempt; else that of its overflow. The second
    /// part is true if it overflowed.
    pub fn admit(&mut self, key: K, committed: &Series<K, V>, limit: usize) -> (&mut Addition<V>, bool) {
        if self.sets.contains_key(&key) || key.is_exempt() || committed.find(&key).is_ok() {
            return (self.addition(key), false);
        }
        if committed.limited + self.fresh < limit {
            self.fresh += 1;
            return (self.addition(key), false);
        }
        (self.addition(key.overflow()), true)
    }

    /// The currency if it is known already or there is room for one more; `None` if the limit keeps
    /// it out.
    pub fn admit_currency(&self, currency: &str, committed: &Series<K, V>, limit: usize) -> Option<Arc<str>> {
        if let Some(known) = committed.currencies.get(currency).or_else(|| self.currencies.get(currency)) {
            return Some(Arc::clone(known));
        }
        let fresh = self.currencies.iter().filter(|known| !committed.currencies.contains(*known)).count();
        (committed.currencies.len() + fresh < limit).then(|| Arc::from(currency))
    }
}

#[derive(Debug, Clone)]
struct SeriesChunk<K> {
    keys: Arc<Vec<K>>,
    points: Arc<PointChunk>,
}

/// The committed label sets with their points, sorted by key. A clone shares all of them.
#[derive(Debug, Clone)]
pub struct Series<K, V> {
    chunks: Vec<SeriesChunk<K>>,
    /// Label sets that the limit counts.
    limited: usize,
    currencies: Arc<BTreeSet<Arc<str>>>,
    value: PhantomData<V>,
}

impl<K, V> Default for Series<K, V> {
    fn default() -> Self {
        Series { chunks: Vec::new(), limited: 0, currencies: Arc::default(), value: PhantomData }
    }
}

impl<K: SeriesKey, V: SeriesValue> PartialEq for Series<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.points().eq(other.points())
    }
}

impl<K: SeriesKey, V: SeriesValue> Series<K, V> {
    /// The value of one label set.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.point(key).and_then(|point| V::of(&point.value))
    }

    /// The point of one label set.
    pub fn point(&self, key: &K) -> Option<&Point> {
        let (chunk, index) = self.find(key).ok()?;
        self.chunks.get(chunk)?.points.get(index)
    }

    /// All label sets with their values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| {
            let values = chunk.points.iter().filter_map(|point| V::of(&point.value));
            chunk.keys.iter().zip(values)
        })
    }

    /// All points, sorted by key.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.chunks.iter().flat_map(|chunk| chunk.points.iter())
    }

    /// All label sets with their points, sorted.
    pub fn keyed_points(&self) -> impl Iterator<Item = (&K, &Point)> {
        self.chunks.iter().flat_map(|chunk| chunk.keys.iter().zip(chunk.points.iter()))
    }

    /// All points in shared chunks, sorted by key.
    pub fn chunks(&self) -> impl Iterator<Item = &Arc<PointChunk>> {
        self.chunks.iter().map(|chunk| &chunk.points)
    }

    /// True if there is no label set.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many label sets the limit counts.
    pub fn limited(&self) -> usize {
        self.limited
    }

    /// Chunk and index of a key, or where it belongs.
    fn find(&self, key: &K) -> Result<(usize, usize), (usize, usize)> {
        let after = self.chunks.partition_point(|chunk| chunk.keys.first().is_some_and(|first| first <= key));
        let chunk = after.saturating_sub(1);
        let Some(found) = self.chunks.get(chunk) else { return Err((0, 0)) };
        match found.keys.binary_search(key) {
            Ok(index) => Ok((chunk, index)),
            Err(index) => Err((chunk, index)),
        }
    }

    /// Adds to a label set. One that is new is born at `born`; the birth of another stays.
    fn add(&mut self, key: &K, addition: &Addition<V>, born: BirthTime) {
        match self.find(key) {
            Ok((chunk, index)) => {
                let chunk = self.chunks.get_mut(chunk);
                if let Some(point) = chunk.and_then(|chunk| Arc::make_mut(&mut chunk.points).get_mut(index)) {
                    addition.value.add_to(&mut point.value);
                    point.entry_id = point.entry_id.max(addition.entry_id);
                }
            }
            Err(at) => {
                let point = Point {
                    labels: key.labels().into(),
                    value: addition.value.clone().into_point(),
                    born,
                    entry_id: addition.entry_id,
                };
                self.insert(at, key.clone(), point);
            }
        }
    }

    /// Takes note of a label set that is about to be added.
    fn note(&mut self, key: &K) {
        self.limited += usize::from(!key.is_exempt());
        if let Some(currency) = key.currency()
            && !self.currencies.contains(currency)
        {
            Arc::make_mut(&mut self.currencies).insert(Arc::clone(currency));
        }
    }

    /// Adds, behind all others, a label set that was noted. Chunks are left half full, as they are
    /// after they were split: a commit copies and renders those that it touches.
    fn append(&mut self, key: K, point: Point) {
        let half = V::CHUNK / 2;
        match self.chunks.last_mut().filter(|chunk| chunk.keys.len() < half) {
            Some(chunk) => {
                Arc::make_mut(&mut chunk.keys).push(key);
                Arc::make_mut(&mut chunk.points).push(point);
            }
            None => {
                // Most series have a few label sets.
                let room = if self.chunks.is_empty() { 1 } else { half };
                let (mut keys, mut points) = (Vec::with_capacity(room), Vec::with_capacity(room));
                keys.push(key);
                points.push(point);
                self.chunks.push(SeriesChunk { keys: Arc::new(keys), points: Arc::new(points) });
            }
        }
    }

    fn insert(&mut self, (at, index): (usize, usize), key: K, point: Point) {
        self.note(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.append(key, point);
            return;
        };
        let (keys, points) = (Arc::make_mut(&mut chunk.keys), Arc::make_mut(&mut chunk.points));
        keys.insert(index, key);
        points.insert(index, point);
        if keys.len() > V::CHUNK {
            let half = keys.len() / 2;
            let upper = SeriesChunk {
                keys: Arc::new(keys.split_off(half)),
                points: Arc::new(points.split_off(half)),
            };
            self.chunks.insert(at + 1, upper);
        }
    }

    /// Takes back a point that the ledger kept under these labels, of which it holds the texts; false
    /// if it is of another type.
    pub fn restore(
        &mut self,
        key: K,
        labels: &[Arc<str>],
        value: &PointValue,
        born: BirthTime,
        entry_id: Option<i64>,
    ) -> bool {
        let Some(value) = V::of(value) else { return false };
        let point = || {
            // A whole number that was written by hand may be spelled in another way.
            let own = key.labels();
            let labels = if own == labels { labels.into() } else { own.into() };
            Point { labels, value: value.clone().into_point(), born, entry_id }
        };
        // The ledger gives them nearly sorted, so most belong at the end.
        if self.chunks.last().is_some_and(|chunk| chunk.keys.last().is_some_and(|last| *last < key)) {
            let point = point();
            self.note(&key);
            self.append(key, point);
            return true;
        }
        match self.find(&key) {
            Ok((chunk, index)) => {
                if let Some(chunk) = self.chunks.get_mut(chunk)
                    && let Some(point) = Arc::make_mut(&mut chunk.points).get_mut(index)
                {
                    // Two spellings of the same label set.
                    point.born = point.born.min(born);
                    value.add_to(&mut point.value);
                    point.entry_id = point.entry_id.max(entry_id);
                }
            }
            Err(at) => {
                let point = point();
                self.insert(at, key, point);
            }
        }
        true
    }

    /// Adds a delta. `born` is when a label set that is new was born.
    pub fn apply(&mut self, delta: &SeriesDelta<K, V>, born: impl Fn(&K) -> BirthTime) {
        for (key, addition) in &delta.sets {
            self.add(key, addition, born(key));
        }
    }

    /// The points that a delta changed, once it is applied.
    pub fn changed<'a>(&'a self, delta: &'a SeriesDelta<K, V>) -> impl Iterator<Item = &'a Point> {
        delta.sets.keys().filter_map(|key| self.point(key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl SeriesKey for u32 {
        fn labels(&self) -> Vec<Arc<str>> {
            vec![self.to_string().into()]
        }

        fn from_labels(labels: &[Arc<str>]) -> Option<Self> {
            labels.first()?.parse().ok()
        }

        fn overflow(&self) -> Self {
            0
        }

        fn is_exempt(&self) -> bool {
            *self == 0 || *self >= 100
        }
    }

    fn count(delta: &mut SeriesDelta<u32, u64>, committed: &Series<u32, u64>, key: u32) -> bool {
        let (addition, overflowed) = delta.admit(key, committed, 2);
        addition.value += 1;
        overflowed
    }

    fn born(at: i64) -> impl Fn(&u32) -> BirthTime {
        move |_| BirthTime::at_millis(at)
    }

    #[test]
    fn who_is_in_is_what_is_committed() {
        let mut committed = Series::default();
        let mut first = SeriesDelta::default();
        *first.entry(1) = 10;
        committed.apply(&first, born(5));
        let mut delta = SeriesDelta::default();
        let overflowed: Vec<bool> =
            [1, 2, 3, 100, 101, 2, 3, 1].into_iter().map(|key| count(&mut delta, &committed, key)).collect();
        assert_eq!(overflowed, [false, false, true, false, false, false, true, false]);
        committed.apply(&delta, born(7));
        assert_eq!(committed.get(&1), Some(&12));
        assert_eq!(committed.get(&0), Some(&2), "the rows that were kept out");
        assert_eq!(committed.get(&3), None);
        assert_eq!(committed.limited(), 2);
        let births = [1, 2].map(|key| committed.point(&key).map(|point| point.born.millis()));
        assert_eq!(births, [Some(5), Some(7)], "a birth time stays");

        let mut next = SeriesDelta::default();
        assert!(count(&mut next, &committed, 4), "the limit holds over deltas");
        assert!(!count(&mut next, &committed, 2), "and who is in stays in");
    }

    #[test]
    fn a_change_copies_the_chunks_that_it_touches() {
        let mut committed: Series<u32, u64> = Series::default();
        let mut all = SeriesDelta::default();
        (0..1000).for_each(|key| *all.entry(key) = 1);
        committed.apply(&all, born(1));
        let before: Vec<_> = committed.chunks().cloned().collect();
        let mut one = SeriesDelta::default();
        *one.entry(500) = 1;
        committed.apply(&one, born(2));
        let shared = before.iter().zip(committed.chunks()).filter(|(old, new)| Arc::ptr_eq(old, new)).count();
        assert_eq!((shared, committed.chunks().count()), (before.len() - 1, before.len()));
        assert!(before.len() > 10);
    }

    proptest! {
        /// The committed series are a sorted map, whatever the order of insertion.
        #[test]
        fn series_are_a_sorted_map(deltas in prop::collection::vec(prop::collection::vec((0u32..500, 0u64..9), 0..60), 0..12)) {
            let mut committed: Series<u32, u64> = Series::default();
            let mut model: BTreeMap<u32, (u64, i64)> = BTreeMap::new();
            for (at, sets) in (1..).zip(deltas) {
                let mut delta = SeriesDelta::default();
                for (key, value) in sets {
                    *delta.entry(key) += value;
                    model.entry(key).or_insert((0, at)).0 += value;
                }
                committed.apply(&delta, born(at));
                for (key, _) in delta.iter() {
                    let point = committed.point(key).unwrap();
                    prop_assert!(committed.changed(&delta).any(|changed| changed == point));
                }
            }
            let points: Vec<_> = committed.iter().map(|(key, value)| (*key, *value)).collect();
            let expected: Vec<_> = model.iter().map(|(key, (value, _))| (*key, *value)).collect();
            prop_assert_eq!(points, expected);
            let births: Vec<_> = committed.points().map(|point| point.born.millis()).collect();
            prop_assert_eq!(births, model.values().map(|(_, born)| *born).collect::<Vec<_>>());
            prop_assert_eq!(committed.limited(), model.keys().filter(|key| !key.is_exempt()).count());
            prop_assert!(committed.chunks().all(|chunk| !chunk.is_empty() && chunk.len() <= <u64 as SeriesValue>::CHUNK));
        }

        /// What the ledger kept is a sorted map again, whatever the order of its rows, and shares the
        /// texts that it was given, but for numbers that somebody spelled in another way.
        #[test]
        fn a_series_comes_back_from_the_ledger(
            kept in prop::collection::vec((0u32..300, any::<bool>(), 0u64..9, 1i64..5, prop::option::of(0i64..9)), 0..500),
            is_sorted in any::<bool>(),
        ) {
            let mut kept = kept;
            if is_sorted {
                kept.sort_by_key(|(key, ..)| key.to_string());
            }
            let mut restored: Series<u32, u64> = Series::default();
            let mut model: BTreeMap<u32, (u64, i64, Option<i64>)> = BTreeMap::new();
            for (key, is_odd, value, born, id) in kept {
                let labels: [Arc<str>; 1] = [if is_odd { format!("00{key}") } else { key.to_string() }.into()];
                let is_new = !model.contains_key(&key);
                prop_assert!(restored.restore(key, &labels, &PointValue::Counter(value), BirthTime::at_millis(born), id));
                let all = model.entry(key).or_insert((0, born, id));
                *all = (all.0 + value, all.1.min(born), all.2.max(id));
                let [label] = &*restored.point(&key).unwrap().labels else { panic!("one label") };
                prop_assert_eq!(&**label, key.to_string());
                prop_assert!(is_odd || !is_new || Arc::ptr_eq(label, &labels[0]));
            }
            let of_point = |(key, point): (&u32, &Point)| {
                (*key, (*u64::of(&point.value).unwrap(), point.born.millis(), point.entry_id))
            };
            prop_assert_eq!(restored.keyed_points().map(of_point).collect::<Vec<_>>(), Vec::from_iter(model.clone()));
            prop_assert_eq!(restored.limited(), model.keys().filter(|key| !key.is_exempt()).count());
            prop_assert!(restored.chunks().all(|chunk| !chunk.is_empty() && chunk.len() <= <u64 as SeriesValue>::CHUNK));
            prop_assert!(!restored.restore(0, &["0".into()], &PointValue::Gauge(1), BirthTime::UNKNOWN, None), "of another type");
        }
    }
}
