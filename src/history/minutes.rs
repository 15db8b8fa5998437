//! Counts by minute and series.
//!
//! Rows of a log mostly come in the order of time, so the minute at hand is a table by the number
//! of the series, and a count is an addition to it. Other minutes are sorted lists, which take the
//! least memory. The module knows neither what a series is nor which minutes are sealed.

use std::collections::BTreeMap;

/// The number of a series with what it counted.
pub(super) type Cell = (usize, i64);

/// A list is merged when it has this many times the cells that it had after the last time: going to
/// and fro between minutes appends to their lists.
const GROWTH: usize = 2;
/// A list with fewer cells is left alone.
const LEAST_TO_MERGE: usize = 64;

/// The cells of one minute.
#[derive(Debug, Clone, Default)]
struct CellList {
    cells: Vec<Cell>,
    /// How many are at the front that are sorted by series, each once.
    merged: usize,
}

impl CellList {
    fn append(&mut self, cells: impl ExactSizeIterator<Item = Cell>) {
        let first = self.cells.is_empty();
        self.cells.reserve_exact(cells.len());
        self.cells.extend(cells);
        if first {
            self.merged = self.cells.len();
        } else if self.cells.len() > LEAST_TO_MERGE && self.cells.len() > self.merged * GROWTH {
            self.merge();
        }
    }

    fn merge(&mut self) {
        if self.merged == self.cells.len() {
            return;
        }
        // The parts are sorted, which a stable sort makes use of.
        self.cells.sort_by_key(|(series, _)| *series);
        self.cells.dedup_by(|(series, value), (kept, sum)| {
            let same = series == kept;
            if same {
                *sum = sum.saturating_add(*value);
            }
            same
        });
        self.merged = self.cells.len();
    }
}

/// The counts of all minutes that are not handed out.
#[derive(Debug, Clone, Default)]
pub(super) struct CountsByMinute {
    /// The minute that the table is of, in Unix seconds.
    at_hand: i64,
    /// The counts of the minute at hand by the number of the series.
    table: Vec<i64>,
    /// The numbers in the table that are not 0.
    touched: Vec<usize>,
    lists: BTreeMap<i64, CellList>,
}

impl CountsByMinute {
    /// Adds a value above 0 to a series in a minute (Unix seconds).
    pub(super) fn add(&mut self, minute: i64, series: usize, value: i64) {
        if minute != self.at_hand {
            self.put_away();
            self.at_hand = minute;
        }
        if series >= self.table.len() {
            self.table.resize(series + 1, 0);
        }
        if let Some(cell) = self.table.get_mut(series) {
            if *cell == 0 {
                self.touched.push(series);
            }
            *cell = cell.saturating_add(value);
        }
    }

    /// The minutes in their order, each with its cells sorted by series.
    pub(super) fn iter(&mut self) -> impl Iterator<Item = (i64, &[Cell])> {
        self.put_away();
        self.lists.iter_mut().map(|(minute, list)| {
            list.merge();
            (*minute, list.cells.as_slice())
        })
    }

    /// Takes the minutes before `until` (Unix seconds), in their order, each with its cells sorted
    /// by series.
    pub(super) fn take_before(&mut self, until: i64) -> impl Iterator<Item = (i64, Vec<Cell>)> {
        self.put_away();
        let kept = self.lists.split_off(&until);
        std::mem::replace(&mut self.lists, kept).into_iter().map(|(minute, mut list)| {
            list.merge();
            (minute, list.cells)
        })
    }

    /// Moves the counts of the minute at hand to its list.
    fn put_away(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        self.touched.sort_unstable();
        let table = &mut self.table;
        let cells = self
            .touched
            .drain(..)
            .map(|series| (series, table.get_mut(series).map(std::mem::take).unwrap_or_default()));
        self.lists.entry(self.at_hand).or_default().append(cells);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However minutes follow each other and whenever some are taken: the sums are those of a
        /// map.
        #[test]
        fn counts_are_those_of_a_map(
            counts in prop::collection::vec((0..6_i64, 0..40_usize, 1..5_i64), 0..600),
            take_each in 1..300_usize,
        ) {
            let mut counted = CountsByMinute::default();
            let (mut expected, mut taken) = (BTreeMap::new(), BTreeMap::new());
            let mut collect = |minute: i64, cells: &[Cell]| {
                assert!(cells.is_sorted_by(|one, other| one.0 < other.0), "{cells:?}");
                for (series, value) in cells {
                    *taken.entry((minute, *series)).or_insert(0) += value;
                }
            };
            for (step, (minute, series, value)) in counts.into_iter().enumerate() {
                counted.add(minute * 60, series, value);
                *expected.entry((minute * 60, series)).or_insert(0) += value;
                if step % take_each == 0 {
                    counted.take_before(minute * 60).for_each(|(minute, cells)| collect(minute, &cells));
                }
            }
            let left: Vec<(i64, Vec<Cell>)> =
                counted.iter().map(|(minute, cells)| (minute, cells.to_vec())).collect();
            let all: Vec<(i64, Vec<Cell>)> = counted.take_before(i64::MAX).collect();
            prop_assert_eq!(&left, &all, "looking takes nothing");
            all.iter().for_each(|(minute, cells)| collect(*minute, cells));
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(counted.iter().count(), 0);
        }
    }

    #[test]
    fn going_to_and_fro_between_minutes_keeps_no_more_than_twice_the_cells() {
        let mut counted = CountsByMinute::default();
        for step in 0..100_000 {
            counted.add(step % 2 * 60, usize::try_from(step % 50).unwrap(), 1);
        }
        let kept: usize = counted.lists.values().map(|list| list.cells.capacity()).sum();
        assert!(kept <= 2 * (GROWTH * LEAST_TO_MERGE + 50) * GROWTH, "{kept}");
        let sum: i64 = counted.take_before(120).flat_map(|(_, cells)| cells).map(|(_, value)| value).sum();
        assert_eq!(sum, 100_000);
    }
}
