//! Where reading of one log stands: origin, floor, cursor, and the counted ids between the two.
//!
//! Promises: the floor never falls, and every counted id above it is in `seen`; so an id is counted
//! at most once. It does not know when the floor may move: that is [`super::finality`] and
//! [`super::poll`].

use super::seen::SeenIds;

/// The state of one log that is kept in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Rows at or below it never count.
    origin: i64,
    /// Rows at or below it are not asked for again.
    floor: i64,
    /// The highest id counted.
    cursor: i64,
    /// The running maximum of event time, in Unix seconds.
    watermark: i64,
    /// Every counted id above the floor.
    seen: SeenIds,
}

/// The watermark before any row.
pub const NEVER: i64 = i64::MIN;

impl Position {
    /// Nothing counted yet.
    pub fn at_origin(origin: i64) -> Position {
        Position::restore(origin, origin, origin, NEVER, SeenIds::default())
    }

    /// As it was kept.
    pub fn restore(origin: i64, floor: i64, cursor: i64, watermark: i64, mut seen: SeenIds) -> Position {
        seen.forget_through(floor);
        Position { origin, floor, cursor, watermark, seen }
    }

    /// Rows at or below this id never count.
    pub fn origin(&self) -> i64 {
        self.origin
    }

    /// Rows at or below this id are not asked for again.
    pub fn floor(&self) -> i64 {
        self.floor
    }

    /// The highest id counted; the origin before the first.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The running maximum, over counted rows, of the earlier of a row's time and the local time
    /// when it was read, in Unix seconds: one row with a time in the future cannot spoil it.
    /// [`NEVER`] before any row.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// The counted ids above the floor.
    pub fn seen(&self) -> &SeenIds {
        &self.seen
    }

    /// True if a row with this id was counted, or never will be.
    pub fn is_settled(&self, id: i64) -> bool {
        id <= self.floor || self.seen.contains(id)
    }

    /// For each of `ids`, which ascend, whether it is above the floor and not counted yet.
    pub fn unseen(&self, ids: &[i64]) -> Vec<bool> {
        let mut unseen = self.seen.unseen(ids);
        for (unseen, id) in unseen.iter_mut().zip(ids) {
            *unseen &= *id > self.floor;
        }
        unseen
    }

    /// Notes counted rows: their ids, which ascend, are above the floor and were not counted
    /// before; `event_time` is the greatest of the times that [`Position::watermark`] takes the
    /// maximum of.
    pub fn count(&mut self, ids: &[i64], event_time: i64) {
        let Some(last) = ids.last() else { return };
        self.seen.insert_sorted(ids);
        self.cursor = self.cursor.max(*last);
        self.watermark = self.watermark.max(event_time);
    }

    /// Moves the floor to an id, unless it is there already, and forgets the counted ids up to it.
    pub fn raise_floor_to(&mut self, floor: i64) {
        if floor > self.floor {
            self.floor = floor;
            self.seen.forget_through(floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_never_falls_and_takes_the_counted_ids_with_it() {
        let mut position = Position::at_origin(3);
        position.count(&[5, 9], 20);
        assert_eq!(position.unseen(&[2, 5, 7, 9, 11]), [false, false, true, false, true]);
        position.raise_floor_to(7);
        position.raise_floor_to(5);
        assert_eq!((position.floor(), position.cursor(), position.seen().len()), (7, 9, 1));
        assert!(position.is_settled(6) && position.is_settled(9) && !position.is_settled(8));
        assert_eq!(position.unseen(&[6, 8]), [false, true]);
    }

    #[test]
    fn the_watermark_never_goes_back() {
        let mut position = Position::at_origin(0);
        assert_eq!(position.watermark(), NEVER);
        position.count(&[4], 20);
        position.count(&[2], 15);
        position.count(&[], 99);
        assert_eq!((position.watermark(), position.cursor()), (20, 4));
    }

    #[test]
    fn a_restored_position_keeps_no_id_below_its_floor() {
        let mut seen = SeenIds::default();
        seen.insert_sorted(&[5, 8, 12]);
        let position = Position::restore(1, 8, 12, 50, seen);
        assert_eq!(position.seen().iter().collect::<Vec<_>>(), [12]);
    }
}
