//! Requests of one product in a few bytes each.
//!
//! Rows come in the order of their ids, and nearly in that of their times. Some thousands of them at a
//! time are sorted and written as differences: a run, of some six bytes a row. Reading merges the runs,
//! so that any order in which rows came gives the same; the more orderly they came, the fewer runs are
//! unpacked at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use prost::encoding::{decode_varint, encode_varint};

/// Rows of a run: unpacked, those of one take 96 KiB.
const RUN: usize = 4096;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunRow {
    /// Unix seconds.
    pub(super) time: i64,
    pub(super) id: i64,
    /// The number of what names it.
    pub(super) combination: u32,
}

/// An order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// By time, then by id.
    Time,
    Id,
}

impl RowOrder {
    const fn key(self, row: &RunRow) -> (i64, i64) {
        match self {
            RowOrder::Time => (row.time, row.id),
            RowOrder::Id => (row.id, 0),
        }
    }
}

/// Some rows, packed.
#[derive(Debug)]
struct Run {
    /// Three numbers for each row in order of time: how far time and id are from those of the row before,
    /// and the combination.
    bytes: Box<[u8]>,
    rows: usize,
    /// The earliest by time, and the lowest by id.
    first: (i64, i64),
    lowest_id: i64,
}

impl Run {
    fn pack(rows: &mut [RunRow]) -> Option<Run> {
        rows.sort_unstable_by_key(|row| RowOrder::Time.key(row));
        let first = RowOrder::Time.key(rows.first()?);
        let lowest_id = rows.iter().map(|row| row.id).min()?;
        let mut bytes = Vec::with_capacity(8 * rows.len());
        let (mut time, mut id) = (0_i64, 0_i64);
        for row in rows.iter() {
            encode_varint(zigzag(row.time.wrapping_sub(time)), &mut bytes);
            encode_varint(zigzag(row.id.wrapping_sub(id)), &mut bytes);
            encode_varint(u64::from(row.combination), &mut bytes);
            (time, id) = (row.time, row.id);
        }
        Some(Run { bytes: bytes.into_boxed_slice(), rows: rows.len(), first, lowest_id })
    }

    fn unpack(&self) -> Vec<RunRow> {
        let mut bytes = &*self.bytes;
        let mut rows = Vec::with_capacity(self.rows);
        let (mut time, mut id) = (0_i64, 0_i64);
        while let (Ok(later), Ok(further), Ok(combination)) =
            (decode_varint(&mut bytes), decode_varint(&mut bytes), decode_varint(&mut bytes))
        {
            time = time.wrapping_add(from_zigzag(later));
            id = id.wrapping_add(from_zigzag(further));
            rows.push(RunRow { time, id, combination: u32::try_from(combination).unwrap_or(u32::MAX) });
        }
        rows
    }

    const fn least(&self, order: RowOrder) -> (i64, i64) {
        match order {
            RowOrder::Time => self.first,
            RowOrder::Id => (self.lowest_id, 0),
        }
    }
}

/// Small numbers of either sign as small numbers without one (protobuf, `sint64`).
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn from_zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Rows, most of them packed.
#[derive(Debug, Default)]
pub(super) struct RowRuns {
    runs: Vec<Run>,
    /// Those that are not packed yet.
    open: Vec<RunRow>,
    rows: usize,
    last_time: Option<i64>,
}

impl RowRuns {
    pub(super) fn push(&mut self, row: RunRow) {
        self.open.push(row);
        self.rows += 1;
        self.last_time = self.last_time.max(Some(row.time));
        if self.open.len() >= RUN {
            self.pack();
        }
    }

    fn pack(&mut self) {
        self.runs.extend(Run::pack(&mut self.open));
        self.open.clear();
    }

    /// Packs what is left. Rows that come later are not read before it is called again.
    pub(super) fn finish(&mut self) {
        self.pack();
        self.open = Vec::new();
    }

    pub(super) const fn len(&self) -> usize {
        self.rows
    }

    /// The latest time.
    pub(super) const fn last_time(&self) -> Option<i64> {
        self.last_time
    }

    /// The rows of which this is true.
    pub(super) fn kept(&self, is_kept: impl Fn(&RunRow) -> bool) -> RowRuns {
        let mut kept = RowRuns::default();
        // In the order in which they were packed, each run is like those before.
        for run in &self.runs {
            run.unpack().into_iter().filter(&is_kept).for_each(|row| kept.push(row));
        }
        kept.finish();
        kept
    }
}

/// Rows of several [`RowRuns`] in one order.
#[derive(Clone)]
pub(super) struct MergedRows<'a> {
    order: RowOrder,
    /// Those that begin last come first.
    waiting: Vec<&'a Run>,
    /// By the key of their next row.
    under_way: BinaryHeap<Reverse<UnpackedRun>>,
}

/// A run that is being read.
#[derive(Clone)]
struct UnpackedRun {
    /// The key of the next row, and its id: no two rows have one.
    next: ((i64, i64), i64),
    rows: std::vec::IntoIter<RunRow>,
}

impl PartialEq for UnpackedRun {
    fn eq(&self, other: &UnpackedRun) -> bool {
        self.next == other.next
    }
}

impl Eq for UnpackedRun {}

impl PartialOrd for UnpackedRun {
    fn partial_cmp(&self, other: &UnpackedRun) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnpackedRun {
    fn cmp(&self, other: &UnpackedRun) -> std::cmp::Ordering {
        self.next.cmp(&other.next)
    }
}

impl<'a> MergedRows<'a> {
    pub(super) fn new(of: impl Iterator<Item = &'a RowRuns>, order: RowOrder) -> MergedRows<'a> {
        let mut waiting: Vec<&Run> = of.flat_map(|rows| &rows.runs).collect();
        waiting.sort_by_key(|run| Reverse(run.least(order)));
        MergedRows { order, waiting, under_way: BinaryHeap::new() }
    }

    fn begin(&mut self, run: &Run) {
        let mut rows = run.unpack();
        if self.order != RowOrder::Time {
            rows.sort_unstable_by_key(|row| self.order.key(row));
        }
        if let Some(first) = rows.first() {
            let next = (self.order.key(first), first.id);
            self.under_way.push(Reverse(UnpackedRun { next, rows: rows.into_iter() }));
        }
    }
}

impl Iterator for MergedRows<'_> {
    type Item = RunRow;

    fn next(&mut self) -> Option<RunRow> {
        while let Some(run) = self.waiting.last().copied() {
            let is_later =
                self.under_way.peek().is_some_and(|Reverse(first)| first.next.0 < run.least(self.order));
            if is_later {
                break;
            }
            self.waiting.pop();
            self.begin(run);
        }
        let mut first = self.under_way.peek_mut()?;
        let row = first.0.rows.next();
        match first.0.rows.as_slice().first() {
            Some(after) => first.0.next = (self.order.key(after), after.id),
            None => {
                std::collections::binary_heap::PeekMut::pop(first);
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: impl IntoIterator<Item = RunRow>) -> RowRuns {
        let mut runs = RowRuns::default();
        rows.into_iter().for_each(|row| runs.push(row));
        runs.finish();
        runs
    }

    #[test]
    fn a_row_of_an_orderly_log_takes_few_bytes() {
        let rows = (0..20_000).map(|number| RunRow {
            time: 1_700_000_000 + number / 4,
            id: 2_000_000_000 + 40 * number,
            combination: u32::try_from(number % 16_000).unwrap(),
        });
        let runs = of(rows);
        let bytes: usize = runs.runs.iter().map(|run| run.bytes.len()).sum();
        assert!(bytes < 5 * runs.len(), "{bytes}");
        assert_eq!(runs.len(), 20_000);
    }

    #[test]
    fn few_runs_are_unpacked_at_a_time() {
        let rows = (0..100_000).map(|number| RunRow { time: number, id: 5 * number, combination: 0 });
        let runs = of(rows);
        let mut merged = MergedRows::new([&runs].into_iter(), RowOrder::Time);
        while merged.next().is_some() {
            assert!(merged.under_way.len() <= 1);
        }
    }

    proptest! {
        /// Rows of several products, in any order and with any distance, come back in both orders.
        #[test]
        fn rows_come_back_in_order(
            products in proptest::collection::vec(
                proptest::collection::vec((any::<i64>(), any::<i64>(), any::<u32>()), 0..40), 0..4),
            // As if a run were as short as one row, or longer than all of them.
            every in 1_usize..50,
        ) {
            let mut expected = Vec::new();
            let runs: Vec<RowRuns> = products.iter().map(|rows| {
                let mut runs = RowRuns::default();
                for (number, (time, id, combination)) in rows.iter().enumerate() {
                    let row = RunRow { time: *time, id: *id, combination: *combination };
                    expected.push(row);
                    runs.push(row);
                    if number % every == 0 {
                        runs.finish();
                    }
                }
                runs.finish();
                prop_assert_eq!(runs.last_time(), rows.iter().map(|row| row.0).max());
                prop_assert_eq!(runs.len(), rows.len());
                Ok(runs)
            }).collect::<Result<_, TestCaseError>>()?;
            for order in [RowOrder::Time, RowOrder::Id] {
                let found: Vec<RunRow> = MergedRows::new(runs.iter(), order).collect();
                prop_assert!(found.is_sorted_by_key(|row| order.key(row)));
                let sorted = |mut rows: Vec<RunRow>| {
                    rows.sort_by_key(|row| (row.time, row.id, row.combination));
                    rows
                };
                prop_assert_eq!(sorted(found), sorted(expected.clone()));
            }
            for number in [zigzag(i64::MIN), 0, 1, 2, u64::MAX] {
                prop_assert_eq!(zigzag(from_zigzag(number)), number);
            }
        }
    }
}
