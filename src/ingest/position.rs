//! Where reading of one log stands: origin, floor, cursor, and the window of counted ids between floor and cursor.
//!
//! Promises: the floor never falls, and every counted id above it is in the window; so an id is counted at most once.

use std::collections::BTreeMap;

use super::seen::SeenIds;

/// The state of one log that is kept in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Rows at or below it never count.
    origin: i64,
    /// Rows at or below it are not asked for again.
    floor: i64,
    /// The clock of the floor, in Unix seconds.
    floor_clock: i64,
    /// The highest id counted.
    cursor: i64,
    /// Of every counted id above the floor: the earlier of its row's time and the local time when it was read, in Unix
    /// seconds.
    window: BTreeMap<i64, i64>,
    /// The clock of the cursor.
    newest_clock: i64,
}

/// The clock before any row.
pub const NEVER: i64 = i64::MIN;

impl Position {
    /// Nothing counted yet.
    pub fn at_origin(origin: i64) -> Position {
        Position::restore(origin, origin, origin, NEVER, &SeenIds::default())
    }

    /// As it was kept. The stamp of each id is not: the watermark takes its place, which is never too early.
    pub fn restore(origin: i64, floor: i64, cursor: i64, watermark: i64, seen: &SeenIds) -> Position {
        let window = seen.iter().map(|id| (id, watermark)).collect();
        Position { origin, floor, floor_clock: NEVER, cursor, window, newest_clock: watermark }
    }

    /// Rows at or below this id never count.
    pub fn origin(&self) -> i64 {
        self.origin
    }

    /// Rows at or below this id are not asked for again.
    pub fn floor(&self) -> i64 {
        self.floor
    }

    /// The clock of the floor, in Unix seconds; [`NEVER`] before any row.
    pub fn floor_clock(&self) -> i64 {
        self.floor_clock
    }

    /// The highest id counted; the origin before the first.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The clock of the cursor, in Unix seconds: it never goes down with rising ids, and no row with a time in the
    /// future can spoil it.
    pub fn newest_clock(&self) -> i64 {
        self.newest_clock
    }

    /// True if a row with this id was counted, as far as the window reaches.
    pub fn is_counted(&self, id: i64) -> bool {
        // Most ids that are asked about are new and the highest so far.
        id <= self.cursor && self.window.contains_key(&id)
    }

    /// Counted ids above the floor, each with its own stamp in Unix seconds.
    pub fn window(&self) -> &BTreeMap<i64, i64> {
        &self.window
    }

    /// PageStatistics a counted row; `stamp` is the earlier of its time and the local time when it was read.
    pub fn count(&mut self, id: i64, stamp: i64) {
        self.window.insert(id, stamp);
        self.cursor = self.cursor.max(id);
        self.newest_clock = self.newest_clock.max(stamp);
    }

    /// Moves the floor to the largest counted id, `highest` at most, whose clock is below `mark`. Tells whether it moved.
    pub fn raise_floor_below(&mut self, mark: i64, highest: i64) -> bool {
        let mut clock = self.floor_clock;
        let mut floor = None;
        for (id, stamp) in self.window.range(..=highest) {
            clock = clock.max(*stamp);
            if clock >= mark {
                break;
            }
            floor = Some(*id);
        }
        floor.is_some_and(|floor| self.raise_floor_to(floor))
    }

    /// Moves the floor to an id, and forgets the window up to it. Tells whether it moved.
    pub fn raise_floor_to(&mut self, floor: i64) -> bool {
        if floor <= self.floor {
            return false;
        }
        let above = self.window.split_off(&floor);
        let forgotten = std::mem::replace(&mut self.window, above);
        self.floor_clock = forgotten.into_values().fold(self.floor_clock, i64::max);
        if let Some(stamp) = self.window.remove(&floor) {
            self.floor_clock = self.floor_clock.max(stamp);
        }
        self.floor = floor;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(rows: &[(i64, i64)]) -> Position {
        let mut position = Position::at_origin(0);
        rows.iter().for_each(|(id, stamp)| position.count(*id, *stamp));
        position
    }

    #[test]
    fn the_clock_is_a_running_maximum() {
        let mut position = at(&[(1, 10), (2, 50), (3, 20), (4, 60)]);
        assert!(!position.raise_floor_below(10, i64::MAX));
        assert!(position.raise_floor_below(50, i64::MAX));
        assert_eq!((position.floor(), position.floor_clock()), (1, 10));
        // Row 3 has a small stamp, but its clock is that of row 2.
        assert!(!position.raise_floor_below(50, i64::MAX));
        assert!(position.raise_floor_below(51, i64::MAX));
        assert_eq!((position.floor(), position.floor_clock(), position.cursor()), (3, 50, 4));
        assert!(position.is_counted(4) && !position.is_counted(3));
    }

    #[test]
    fn the_floor_never_falls() {
        let mut position = at(&[(5, 10), (9, 20)]);
        assert!(position.raise_floor_to(9));
        assert!(!position.raise_floor_to(5));
        assert_eq!((position.floor(), position.floor_clock(), position.window().len()), (9, 20, 0));
        assert_eq!(Position::at_origin(7).origin(), 7);
        position.count(12, 15);
        assert_eq!(position.newest_clock(), 20, "a late stamp doesn't turn the clock back");
    }

    proptest! {
        #[test]
        fn a_restored_position_is_the_same(
            rows in prop::collection::btree_map(1i64..60, 0i64..100, 0..30),
            mark in 0i64..120,
        ) {
            let rows: Vec<_> = rows.into_iter().collect();
            let mut position = at(&rows);
            position.raise_floor_below(mark, i64::MAX);
            let seen: SeenIds = position.window().keys().copied().collect();
            let (cursor, watermark) = (position.cursor(), position.newest_clock());
            let restored = Position::restore(position.origin(), position.floor(), cursor, watermark, &seen);
            prop_assert!(restored.window().keys().eq(position.window().keys()));
            prop_assert_eq!((restored.cursor(), restored.newest_clock()), (cursor, watermark));
            // Brute force over all rows: the floor is the last id of the longest prefix with stamps below the mark.
            let prefix = rows.iter().take_while(|(_, stamp)| *stamp < mark).last();
            prop_assert_eq!(position.floor(), prefix.map_or(0, |(id, _)| *id));
            prop_assert!(position.window().keys().all(|id| *id > position.floor()));
            let newest = rows.iter().map(|(_, stamp)| *stamp).max().unwrap_or(NEVER);
            prop_assert_eq!(position.newest_clock(), newest);
        }
    }
}
