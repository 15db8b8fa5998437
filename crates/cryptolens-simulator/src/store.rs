//! A log as the simulator holds it: the generated rows so far, merged with rows that were added.
//!
//! [`LogStore::scan`] reads forwards or backwards from any id and knows when a row is visible. It
//! knows no parameters and no JSON. Generated rows stay in memory, about 60 bytes each.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::value::RawValue;

use crate::random::hash_of;
use crate::row::Row;
use crate::traffic::{Draft, Generator, Plan, SpikeSpan};

/// Rows are added after the highest id up to this one, so that a row with an absurd id leaves room.
const HIGHEST_ORDINARY_ID: i64 = 1 << 62;

/// Ids strictly between `above` and `below`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IdRange {
    pub(crate) above: i64,
    pub(crate) below: i64,
}

impl IdRange {
    pub(crate) const ALL: Self = Self { above: i64::MIN, below: i64::MAX };

    #[cfg(test)]
    fn above(id: i64) -> Self {
        Self { above: id, ..Self::ALL }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// The rows that a reader gets to see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) now: i64,
    /// Rows that were written before are gone.
    oldest: i64,
    /// Rows that were visible before are another log's.
    begins: i64,
    stall: Option<Stall>,
}

/// A log writer that holds rows back and then writes them all, in no order.
#[derive(Debug, Clone, Copy)]
struct Stall {
    since: i64,
    seconds: i64,
}

/// The rows of a burst appear within this many seconds.
const BURST: u64 = 5;

impl Stall {
    /// The time from which on a row is visible.
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
    pub(crate) fn ever(now: i64) -> Self {
        Self { now, oldest: i64::MIN, begins: i64::MIN, stall: None }
    }

    /// Without the rows that were visible before.
    pub(crate) fn beginning(self, begins: i64) -> Self {
        Self { begins, ..self }
    }

    /// With rows kept back since then, and written every so many seconds.
    pub(crate) fn stalling(self, since: i64, seconds: i64) -> Self {
        Self { stall: Some(Stall { since, seconds: seconds.max(1) }), ..self }
    }

    fn shows(self, row: &Row) -> bool {
        let visible_at = self.stall.map_or(row.visible_at, |stall| stall.end(row));
        visible_at <= self.now && row.time >= self.oldest && row.visible_at >= self.begins
    }
}

/// Rows that were added at run time, by id and, as a test may repeat an id, by the order in which
/// they came.
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

/// The generated rows so far, in the order of their ids, which is that of their times.
#[derive(Debug)]
struct Generated {
    generator: Generator,
    rows: Vec<Row>,
    /// Those that were started at run time. They change rows that nobody has seen.
    spikes: Vec<SpikeSpan>,
}

impl Generated {
    fn advance(&mut self, time: i64) {
        let generated = self.rows.len();
        self.generator.advance(time, &mut self.rows);
        for spike in self.spikes.clone() {
            self.lock_out(spike, generated);
        }
    }

    /// Lets a spike change the rows from this position on.
    fn lock_out(&mut self, spike: SpikeSpan, position: usize) {
        let mut changed = self.rows.split_off(position);
        let catalogue = self.generator.catalogue();
        changed.retain_mut(|row| spike.lets_happen(row.time, &mut row.fields, catalogue));
        self.rows.append(&mut changed);
    }

    /// Begins a spike that changes rows from its beginning on.
    fn begin(&mut self, spike: SpikeSpan) {
        let position = self.rows.partition_point(|row| row.time < spike.from);
        self.lock_out(spike, position);
        self.spikes.push(spike);
    }

    fn range(&self, range: IdRange, view: View) -> &[Row] {
        let from = self.rows.partition_point(|row| row.id <= range.above || row.time < view.oldest);
        let to = self.rows.partition_point(|row| row.id < range.below && row.time <= view.now);
        self.rows.get(from..to).unwrap_or_default()
    }

    fn contains(&self, id: i64) -> bool {
        self.rows.binary_search_by_key(&id, |row| row.id).is_ok()
    }
}

#[derive(Debug, Default)]
struct Rows {
    generated: Option<Generated>,
    added: Added,
}

impl Rows {
    fn has_reached(&self, time: i64) -> bool {
        self.generated.as_ref().is_none_or(|generated| generated.generator.has_reached(time))
    }

    fn advance(&mut self, time: i64) {
        if let Some(generated) = &mut self.generated {
            generated.advance(time);
        }
    }

    /// An id for a row of this time, at or above `least`. A second with more rows than it has ids
    /// for borrows from those that follow.
    fn free_id(&mut self, time: i64, least: i64) -> i64 {
        let Some(generated) = &mut self.generated else {
            return self.added.last_id().map_or(1, |id| id + 1);
        };
        let plan = *generated.generator.plan();
        let mut id = plan.first_added_id(time).max(least);
        loop {
            generated.advance(plan.second_of_id(id));
            if !self.added.contains(id) && !generated.contains(id) {
                return id;
            }
            id += 1;
        }
    }

    fn insert_drafts(&mut self, drafts: Vec<Draft>) {
        for draft in drafts {
            let id = self.free_id(draft.time, 0);
            self.added.insert(Row { id, time: draft.time, visible_at: draft.time, fields: draft.fields });
        }
    }
}

#[derive(Debug)]
pub(crate) struct LogStore {
    /// The plan of the generated traffic; `None` for a log that holds added rows only.
    plan: Option<Plan>,
    /// Seconds after which a row is gone; `None` for a log that keeps everything.
    retention: Option<i64>,
    rows: RwLock<Rows>,
}

impl LogStore {
    pub(crate) fn new(generator: Option<Generator>, retention: Option<i64>) -> Self {
        let plan = generator.as_ref().map(|generator| *generator.plan());
        let generated =
            generator.map(|generator| Generated { generator, rows: Vec::new(), spikes: Vec::new() });
        Self { plan, retention, rows: RwLock::new(Rows { generated, added: Added::default() }) }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows, generated up to and including this time at least.
    fn read(&self, time: i64) -> RwLockReadGuard<'_, Rows> {
        let read = || self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let rows = read();
        if rows.has_reached(time) {
            return rows;
        }
        drop(rows);
        self.write().advance(time);
        read()
    }

    /// Whether times rise with ids, as those of generated rows do.
    pub(crate) fn is_generated(&self) -> bool {
        self.plan.is_some()
    }

    /// The rows that a request at this time sees.
    pub(crate) fn view(&self, now: i64) -> View {
        let oldest = self.retention.map_or(i64::MIN, |seconds| now.saturating_sub(seconds));
        View { oldest, ..View::ever(now) }
    }

    /// Adds rows as they are. Returns their number.
    pub(crate) fn append(&self, rows: Vec<Box<RawValue>>, now: i64, visible_at: i64) -> usize {
        let count = rows.len();
        // Parsing a row takes far longer than inserting it, so it happens outside the lock.
        let mut previous_id = self.write().added.last_id().unwrap_or(0);
        let read: Vec<Row> = rows
            .into_iter()
            .map(|raw| {
                let row = Row::appended(raw, previous_id, now, visible_at);
                previous_id = row.id;
                row
            })
            .collect();
        let mut rows = self.write();
        for row in read {
            rows.added.insert(row);
        }
        count
    }

    /// Adds rows that happen at run time; ids are chosen above all that is visible at their time.
    pub(crate) fn insert_drafts(&self, drafts: Vec<Draft>) {
        self.write().insert_drafts(drafts);
    }

    /// Begins a spike with these failures. Both are made while nobody reads, so that they begin
    /// after everything that was seen. Returns the spike and how many failures it has.
    pub(crate) fn begin_spike(&self, make: impl FnOnce() -> (SpikeSpan, Vec<Draft>)) -> (SpikeSpan, usize) {
        let mut rows = self.write();
        let (spike, failures) = make();
        if let Some(generated) = &mut rows.generated {
            generated.begin(spike);
        }
        let count = failures.len();
        rows.insert_drafts(failures);
        (spike, count)
    }

    /// Whether a row with this id is in view.
    pub(crate) fn shows(&self, id: i64, view: View) -> bool {
        let mut found = false;
        let range = IdRange { above: id.saturating_sub(1), below: id.saturating_add(1) };
        self.scan(range, Direction::Ascending, view, |row| {
            found = row.id == id;
            ControlFlow::Break(())
        });
        found
    }

    /// The lowest id in view.
    pub(crate) fn lowest_id(&self, view: View) -> Option<i64> {
        let mut lowest = None;
        self.scan(IdRange::ALL, Direction::Ascending, view, |row| {
            lowest = Some(row.id);
            ControlFlow::Break(())
        });
        lowest
    }

    /// The id at which a log would begin that begins at this time.
    pub(crate) fn first_id_since(&self, time: i64, view: View) -> Option<i64> {
        match &self.plan {
            Some(plan) => Some(plan.first_id_of_second(time)),
            None => self.lowest_id(view.beginning(time)),
        }
    }

    /// Adds a row that is made from its id.
    pub(crate) fn insert_new(&self, time: i64, make: impl FnOnce(i64) -> Row) {
        let mut rows = self.write();
        let least = rows.added.newest_chosen + 1;
        let id = rows.free_id(time, least);
        rows.added.newest_chosen = id;
        rows.added.insert(make(id));
    }

    /// Visits the rows in view, until the visitor has enough.
    pub(crate) fn scan(
        &self,
        range: IdRange,
        direction: Direction,
        view: View,
        mut visit: impl FnMut(&Row) -> ControlFlow<()>,
    ) {
        let rows = self.read(view.now);
        let mut added_rows = rows.added.range(range, direction).peekable();
        let generated_rows =
            rows.generated.as_ref().map_or(&[][..], |generated| generated.range(range, view)).iter();
        let mut generated_rows: Box<dyn Iterator<Item = &Row>> = match direction {
            Direction::Ascending => Box::new(generated_rows),
            Direction::Descending => Box::new(generated_rows.rev()),
        };
        let mut next_generated = generated_rows.next();
        loop {
            let row = match (next_generated, added_rows.peek()) {
                (None, None) => return,
                (Some(row), None) => row,
                (None, Some(row)) => row,
                (Some(generated), Some(added)) => {
                    match in_direction(direction, generated.id.cmp(&added.id)) {
                        Ordering::Less => generated,
                        // An added row replaces a generated one.
                        Ordering::Equal => {
                            next_generated = generated_rows.next();
                            continue;
                        }
                        Ordering::Greater => added,
                    }
                }
            };
            if view.shows(row) && visit(row).is_break() {
                return;
            }
            if next_generated.is_some_and(|generated| std::ptr::eq(generated, row)) {
                next_generated = generated_rows.next();
            } else {
                added_rows.next();
            }
        }
    }
}

fn in_direction(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalogue::Catalogue;
    use crate::log::Log;
    use crate::traffic::DAY;

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
}
