//! One log as the simulator holds it: generated rows, made when needed, merged with rows added at run time.
//!
//! Reading goes through [`LogStore::scan`], forwards or backwards from any id, and touches only the blocks between
//! that id and the point where the reader has enough. It knows when a row is visible; it knows no parameters and no
//! JSON.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use serde_json::value::RawValue;

use super::random::hash_of;
use super::row::Row;
use super::traffic::{Draft, Generator};

/// Rows of generated blocks that stay in memory, per log.
const CACHED_ROWS: usize = 200_000;

/// Rows are added after the highest id up to this one, so that a row with an absurd id leaves room.
const HIGHEST_ORDINARY_ID: i64 = 1 << 62;

/// Ids strictly between `above` and `below`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct IdRange {
    pub(super) above: i64,
    pub(super) below: i64,
}

impl IdRange {
    pub(super) const ALL: Self = Self { above: i64::MIN, below: i64::MAX };

    #[cfg(test)]
    fn above(id: i64) -> Self {
        Self { above: id, ..Self::ALL }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// Which rows a reader gets to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) now: i64,
    /// Rows that were written before are gone.
    oldest: i64,
    /// Rows that were visible before are another log's.
    begins: i64,
    stall: Option<Stall>,
}

/// A log writer that keeps rows back and then writes them all, in no order.
#[derive(Debug, Clone, Copy)]
struct Stall {
    since: i64,
    seconds: i64,
}

/// A burst takes up to this many seconds more than none.
const BURST: u64 = 5;

impl Stall {
    /// When a row shows up that would have been visible at this time.
    fn end(self, row: &Row) -> i64 {
        if row.visible_at <= self.since {
            return row.visible_at;
        }
        let waited = (row.visible_at - self.since) % self.seconds;
        let disorder = i64::try_from(hash_of(&[row.id.unsigned_abs()]) % BURST).unwrap_or_default();
        row.visible_at.saturating_sub(waited).saturating_add(self.seconds).saturating_add(disorder)
    }
}

impl View {
    /// Everything that has been visible so far, even if it is gone now.
    pub(super) fn ever(now: i64) -> Self {
        Self { now, oldest: i64::MIN, begins: i64::MIN, stall: None }
    }

    /// Without the rows that were visible before.
    pub(super) fn beginning(self, begins: i64) -> Self {
        Self { begins, ..self }
    }

    /// With rows kept back since then, and written every so many seconds.
    pub(super) fn stalling(self, since: i64, seconds: i64) -> Self {
        Self { stall: Some(Stall { since, seconds: seconds.max(1) }), ..self }
    }

    fn shows(self, row: &Row) -> bool {
        let visible_at = self.stall.map_or(row.visible_at, |stall| stall.end(row));
        visible_at <= self.now && row.time >= self.oldest && row.visible_at >= self.begins
    }
}

/// Rows added at run time, by id and, as handmade logs may repeat an id, by the order in which they came.
#[derive(Debug, Default)]
struct Added {
    rows: BTreeMap<(i64, u64), Row>,
    count: u64,
    /// The id that was chosen last for a row that happened at the time of its adding.
    newest_chosen: i64,
}

impl Added {
    fn insert(&mut self, row: Row) {
        self.rows.insert((row.id, self.count), row);
        self.count += 1;
    }

    /// The last id after which others can come.
    fn last_id(&self) -> Option<i64> {
        self.rows.range(..=(HIGHEST_ORDINARY_ID, u64::MAX)).next_back().map(|((id, _), _)| *id)
    }

    fn contains(&self, id: i64) -> bool {
        self.rows.range((id, 0)..=(id, u64::MAX)).next().is_some()
    }

    fn range(&self, range: IdRange, direction: Direction) -> Box<dyn Iterator<Item = &Row> + '_> {
        // A BTreeMap panics at an inverted range.
        if range.above >= range.below {
            return Box::new(std::iter::empty());
        }
        let above = Bound::Excluded((range.above, u64::MAX));
        let below =
            if range.below == i64::MAX { Bound::Unbounded } else { Bound::Excluded((range.below, 0)) };
        let rows = self.rows.range((above, below)).map(|(_, row)| row);
        match direction {
            Direction::Ascending => Box::new(rows),
            Direction::Descending => Box::new(rows.rev()),
        }
    }
}

#[derive(Debug)]
pub(super) struct LogStore {
    generator: Option<Generator>,
    /// Seconds after which a row is gone; `None` for a log that keeps everything.
    retention: Option<i64>,
    added: RwLock<Added>,
    cache: Mutex<BlockCache>,
}

impl LogStore {
    pub(super) fn new(generator: Option<Generator>, retention: Option<i64>) -> Self {
        Self { generator, retention, added: RwLock::default(), cache: Mutex::default() }
    }

    /// Whether ids may be taken for a substitute of times: true for generated rows, not for those of a test.
    pub(super) fn is_generated(&self) -> bool {
        self.generator.is_some()
    }

    /// What a request at this time sees.
    pub(super) fn view(&self, now: i64) -> View {
        let oldest = self.retention.map_or(i64::MIN, |seconds| now.saturating_sub(seconds));
        View { oldest, ..View::ever(now) }
    }

    /// Adds rows as they were handed in; returns how many.
    pub(super) fn append(&self, rows: Vec<Box<RawValue>>, now: i64, visible_at: i64) -> usize {
        let count = rows.len();
        // Reading a row costs far more than inserting it: readers shall not wait for it.
        let mut previous_id = self.write().last_id().unwrap_or(0);
        let read: Vec<Row> = rows
            .into_iter()
            .map(|raw| {
                let row = Row::appended(raw, previous_id, now, visible_at);
                previous_id = row.id;
                row
            })
            .collect();
        let mut added = self.write();
        for row in read {
            added.insert(row);
        }
        count
    }

    fn write(&self) -> RwLockWriteGuard<'_, Added> {
        self.added.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds rows that happen at run time; ids are chosen above all that is visible at their time.
    pub(super) fn insert_drafts(&self, drafts: Vec<Draft>) {
        let mut added = self.write();
        for draft in drafts {
            let id = self.free_id(draft.time, 0, &added);
            added.insert(Row { id, time: draft.time, visible_at: draft.time, fields: draft.fields });
        }
    }

    /// Adds a row whose id was chosen elsewhere.
    pub(super) fn insert(&self, row: Row) {
        self.write().insert(row);
    }

    /// Whether a row with this id is in view.
    pub(super) fn shows(&self, id: i64, view: View) -> bool {
        let mut found = false;
        let range = IdRange { above: id.saturating_sub(1), below: id.saturating_add(1) };
        self.scan(range, Direction::Ascending, view, |row| {
            found = row.id == id;
            ControlFlow::Break(())
        });
        found
    }

    /// The lowest id in view.
    pub(super) fn lowest_id(&self, view: View) -> Option<i64> {
        let mut lowest = None;
        self.scan(IdRange::ALL, Direction::Ascending, view, |row| {
            lowest = Some(row.id);
            ControlFlow::Break(())
        });
        lowest
    }

    /// The id at which a log would begin that begins at this time.
    pub(super) fn first_id_since(&self, time: i64, view: View) -> Option<i64> {
        match &self.generator {
            Some(generator) => Some(generator.geometry().first_id_of_second(time)),
            None => self.lowest_id(view.beginning(time)),
        }
    }

    /// Adds a row that is made from its id.
    pub(super) fn insert_new(&self, time: i64, make: impl FnOnce(i64) -> Row) {
        let mut added = self.write();
        let id = self.free_id(time, added.newest_chosen + 1, &added);
        added.newest_chosen = id;
        added.insert(make(id));
    }

    /// An id for a row of this time, at or above `least`. A second with more rows than it has ids for borrows from
    /// those that follow.
    fn free_id(&self, time: i64, least: i64, added: &Added) -> i64 {
        match &self.generator {
            None => added.last_id().map_or(1, |id| id + 1),
            Some(generator) => {
                let mut id = generator.geometry().first_added_id(time).max(least);
                while added.contains(id) || self.is_generated_id(id) {
                    id += 1;
                }
                id
            }
        }
    }

    fn is_generated_id(&self, id: i64) -> bool {
        self.generator.as_ref().is_some_and(|generator| {
            let block = self.block(generator, generator.geometry().block_of_id(id));
            block.binary_search_by_key(&id, |row| row.id).is_ok()
        })
    }

    /// Visits the rows in view, until the visitor has enough.
    pub(super) fn scan(
        &self,
        range: IdRange,
        direction: Direction,
        view: View,
        mut visit: impl FnMut(&Row) -> ControlFlow<()>,
    ) {
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        let mut added_rows = added.range(range, direction).peekable();
        let mut generated_rows = GeneratedRows::new(self, range, direction, view).peekable();
        loop {
            let next = match (generated_rows.peek(), added_rows.peek()) {
                (None, None) => return,
                (Some(_), None) => generated_rows.next(),
                (None, Some(_)) => added_rows.next().cloned(),
                (Some(generated), Some(added)) => {
                    match in_direction(direction, generated.id.cmp(&added.id)) {
                        Ordering::Less => generated_rows.next(),
                        // An appended row replaces a generated one.
                        Ordering::Equal => {
                            generated_rows.next();
                            continue;
                        }
                        Ordering::Greater => added_rows.next().cloned(),
                    }
                }
            };
            if let Some(row) = next
                && view.shows(&row)
                && visit(&row).is_break()
            {
                return;
            }
        }
    }

    fn block(&self, generator: &Generator, index: i64) -> Arc<[Row]> {
        if let Some(block) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(index) {
            return block;
        }
        let block: Arc<[Row]> = generator.block(index).into();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(index, Arc::clone(&block));
        block
    }
}

fn in_direction(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}

/// Walks over generated blocks, one in memory at a time.
struct GeneratedRows<'a> {
    store: &'a LogStore,
    range: IdRange,
    direction: Direction,
    /// Blocks still to be read, both ends included; empty if the first is above the last.
    first_block: i64,
    last_block: i64,
    block: Arc<[Row]>,
    /// Rows of `block` still to be given.
    from: usize,
    to: usize,
}

impl<'a> GeneratedRows<'a> {
    fn new(store: &'a LogStore, range: IdRange, direction: Direction, view: View) -> Self {
        let (mut first_block, mut last_block) = (0, -1);
        if let Some(generator) = &store.generator {
            let geometry = generator.geometry();
            let oldest = geometry.start.max(view.oldest);
            // Before the first id and after now there is nothing, however far away the bounds are.
            let above = range.above.max(geometry.first_id - 1);
            first_block = geometry.block_of_time(oldest).max(geometry.block_of_id(above.saturating_add(1)));
            last_block =
                geometry.block_of_time(view.now).min(geometry.block_of_id(range.below.saturating_sub(1)));
        }
        Self { store, range, direction, first_block, last_block, block: Arc::new([]), from: 0, to: 0 }
    }

    /// Loads the next block; false if there is none.
    fn advance(&mut self) -> bool {
        let Some(generator) = self.store.generator.as_ref().filter(|_| self.first_block <= self.last_block)
        else {
            return false;
        };
        let index = match self.direction {
            Direction::Ascending => {
                self.first_block += 1;
                self.first_block - 1
            }
            Direction::Descending => {
                self.last_block -= 1;
                self.last_block + 1
            }
        };
        self.block = self.store.block(generator, index);
        self.from = self.block.partition_point(|row| row.id <= self.range.above);
        self.to = self.block.partition_point(|row| row.id < self.range.below).max(self.from);
        true
    }
}

impl Iterator for GeneratedRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.from >= self.to {
            if !self.advance() {
                return None;
            }
        }
        let position = match self.direction {
            Direction::Ascending => {
                self.from += 1;
                self.from - 1
            }
            Direction::Descending => {
                self.to -= 1;
                self.to
            }
        };
        self.block.get(position).cloned()
    }
}

/// The blocks used last, bounded by their number of rows.
#[derive(Debug, Default)]
struct BlockCache {
    blocks: HashMap<i64, (Arc<[Row]>, u64)>,
    rows: usize,
    clock: u64,
}

impl BlockCache {
    fn get(&mut self, index: i64) -> Option<Arc<[Row]>> {
        self.clock += 1;
        let (block, used) = self.blocks.get_mut(&index)?;
        *used = self.clock;
        Some(Arc::clone(block))
    }

    fn put(&mut self, index: i64, block: Arc<[Row]>) {
        self.clock += 1;
        // An empty block weighs something too.
        self.rows += block.len() + 1;
        if let Some((replaced, _)) = self.blocks.insert(index, (block, self.clock)) {
            self.rows -= replaced.len() + 1;
        }
        while self.rows > CACHED_ROWS && self.blocks.len() > 1 {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(index, _)| *index);
            if let Some((removed, _)) = oldest.and_then(|index| self.blocks.remove(&index)) {
                self.rows -= removed.len() + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Catalogue;
    use super::super::traffic::{DAY, Plan};
    use super::*;
    use crate::Log;

    const START: i64 = 1_767_571_200;

    fn generated(retention: Option<i64>) -> LogStore {
        let plan = Plan {
            seed: 1,
            start: START,
            first_id: 5_000_000_000,
            rows_per_minute: 12.0,
            late_fraction: 0.05,
            late_max: 60,
        };
        let catalogue = Arc::new(Catalogue::new(1, 12.0));
        LogStore::new(Some(Generator::new(Log::WebApi, plan, catalogue)), retention)
    }

    fn ids(store: &LogStore, range: IdRange, direction: Direction, now: i64) -> Vec<i64> {
        let mut ids = Vec::new();
        store.scan(range, direction, store.view(now), |row| {
            ids.push(row.id);
            ControlFlow::Continue(())
        });
        ids
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn both_directions_see_the_same_rows() {
        let store = generated(None);
        let up = ids(&store, IdRange::ALL, Direction::Ascending, START + DAY);
        let mut down = ids(&store, IdRange::ALL, Direction::Descending, START + DAY);
        down.reverse();
        assert!(up.len() > 10_000);
        assert_eq!(up, down);
    }

    #[test]
    fn a_range_cuts_exactly_and_excludes_its_ends() {
        let store = generated(None);
        let all = ids(&store, IdRange::ALL, Direction::Ascending, START + DAY);
        for (low, high) in [(0, 5), (10, 900), (700, 9000)] {
            let range = IdRange { above: all[low], below: all[high] };
            assert_eq!(ids(&store, range, Direction::Ascending, START + DAY), all[low + 1..high]);
        }
        assert!(ids(&store, IdRange { above: 9, below: 3 }, Direction::Ascending, START + DAY).is_empty());
        assert!(ids(&store, IdRange::above(i64::MAX), Direction::Ascending, START + DAY).is_empty());
    }

    #[test]
    fn a_row_shows_up_when_it_is_visible_even_below_a_higher_id() {
        let store = LogStore::new(None, None);
        store.append(vec![raw(r#"{"id":1}"#)], 10, 10);
        store.append(vec![raw(r#"{"id":3}"#)], 10, 30);
        store.append(vec![raw(r#"{"id":2}"#)], 10, 40);
        assert_eq!(ids(&store, IdRange::ALL, Direction::Ascending, 9), Vec::<i64>::new());
        assert_eq!(ids(&store, IdRange::ALL, Direction::Ascending, 30), [1, 3]);
        assert_eq!(ids(&store, IdRange::ALL, Direction::Ascending, 40), [1, 2, 3]);
    }

    #[test]
    fn handed_in_rows_keep_their_order_and_their_repetitions() {
        let store = LogStore::new(None, None);
        let rows = [r#"{"id":5}"#, r#"{"id":null}"#, r#"{"id":7}"#, r#"{"id":5}"#, r#"{"id":6}"#];
        assert_eq!(store.append(rows.into_iter().map(raw).collect(), 10, 10), 5);
        assert_eq!(ids(&store, IdRange::ALL, Direction::Ascending, 10), [5, 5, 5, 6, 7]);
        assert_eq!(ids(&store, IdRange::above(5), Direction::Ascending, 10), [6, 7]);
    }

    #[test]
    fn a_handed_in_row_replaces_a_generated_one() {
        let store = generated(None);
        let noon = START + 12 * 3600;
        let before = ids(&store, IdRange::ALL, Direction::Ascending, noon);
        store.append(vec![raw(&format!(r#"{{"id":{}}}"#, before[100]))], noon, noon);
        assert_eq!(ids(&store, IdRange::ALL, Direction::Ascending, noon), before);
    }

    #[test]
    fn late_rows_of_generated_traffic_fill_gaps_later() {
        let store = generated(None);
        let noon = START + 12 * 3600;
        let early = ids(&store, IdRange::ALL, Direction::Ascending, noon);
        let later = ids(&store, IdRange::ALL, Direction::Ascending, noon + 60);
        let filled = later.iter().filter(|id| **id < early[early.len() - 1] && !early.contains(id)).count();
        assert!(filled > 0);
        assert!(early.iter().all(|id| later.contains(id)));
    }

    #[test]
    fn retention_makes_old_rows_vanish() {
        let keeps = generated(None);
        let forgets = generated(Some(2 * DAY));
        let now = START + 3 * DAY;
        let kept = ids(&keeps, IdRange::ALL, Direction::Ascending, now);
        let left = ids(&forgets, IdRange::ALL, Direction::Ascending, now);
        assert!(left.len() < kept.len());
        assert_eq!(left, kept[kept.len() - left.len()..]);
    }

    #[test]
    fn added_rows_get_ids_above_everything_visible() {
        let store = generated(None);
        let now = START + 12 * 3600;
        let head = ids(&store, IdRange::ALL, Direction::Descending, now)[0];
        for _ in 0..50 {
            store.insert_new(now, |id| Row::appended(raw(&format!(r#"{{"id":{id}}}"#)), 0, now, now));
        }
        let added = ids(&store, IdRange::above(head), Direction::Ascending, now);
        assert_eq!(added.len(), 50);
    }

    #[test]
    fn the_cache_stays_bounded() {
        let mut cache = BlockCache::default();
        let row = Row::appended(raw("1"), 1, 1, 1);
        for index in 0..10 {
            cache.put(index, vec![row.clone(); CACHED_ROWS / 4].into());
        }
        assert!(cache.rows <= CACHED_ROWS);
        assert!(cache.get(9).is_some() && cache.get(0).is_none());
    }
}
