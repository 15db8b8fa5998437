//! The rows of one page, in order. A page in disorder may be sorted, or must be refused because
//! sorting would jump over rows that were not seen yet.

use std::collections::HashSet;

use super::clock::Exchange;
use super::strands::BEGINNING;
use crate::cryptolens::{ApiError, DecodeFault, Page, PageQuery, Row};

/// Which way a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By rising ids.
    OldestFirst,
    /// By falling ids, which not every log documents.
    NewestFirst,
}

impl Direction {
    /// The question for the page behind `position`: the id that the last page ended with, or 0
    /// before the first.
    pub(super) fn query(self, position: i64, limit: u16) -> PageQuery {
        match self {
            Direction::OldestFirst => PageQuery::after(position, limit),
            Direction::NewestFirst => PageQuery::before((position != 0).then_some(position), limit),
        }
    }

    /// An id as a number that rises in this direction; 0 is the position before the first row.
    pub(super) const fn place(self, id: i64) -> i64 {
        match (self, id) {
            (Direction::OldestFirst, id) => id,
            (Direction::NewestFirst, 0) => BEGINNING,
            (Direction::NewestFirst, id) => id.saturating_neg(),
        }
    }

    /// The id or position of a [`Direction::place`].
    pub(super) const fn position_at(self, place: i64) -> i64 {
        match self {
            Direction::OldestFirst => place,
            Direction::NewestFirst if place == BEGINNING => 0,
            Direction::NewestFirst => place.saturating_neg(),
        }
    }

    /// True if an id lies behind `position`.
    pub(crate) const fn is_beyond(self, id: i64, position: i64) -> bool {
        match self {
            Direction::OldestFirst => id > position,
            Direction::NewestFirst => position == 0 || id < position,
        }
    }

    fn is_in_order<R: Row>(self, rows: &[R]) -> bool {
        match self {
            Direction::OldestFirst => rows.is_sorted_by(|one, next| one.id() < next.id()),
            Direction::NewestFirst => rows.is_sorted_by(|one, next| one.id() > next.id()),
        }
    }

    const fn reversed(self) -> Direction {
        match self {
            Direction::OldestFirst => Direction::NewestFirst,
            Direction::NewestFirst => Direction::OldestFirst,
        }
    }
}

/// The treatment of a page in disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disorder {
    /// Sort a short page, and refuse a full or reversed one: for those who read a log again and
    /// again.
    SortShort,
    /// Refuse it: for those who read a log once and must not leave a row out.
    Refuse,
}

/// The rows of one log on one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<R> {
    /// In strict order of ids, by the direction of reading.
    pub rows: Vec<R>,
    /// Repeated ids that were dropped.
    pub repeated: u64,
    /// For each list element without an id: the id of the row before it, if there is one.
    pub without_id: Vec<Option<i64>>,
    /// The number of list elements on the page.
    pub listed: usize,
    /// True if these are as many as were asked for: more are likely to follow.
    pub full: bool,
}

/// A page that was read, and when.
#[derive(Debug)]
pub(crate) struct ReadPage<R> {
    /// Its rows, in order.
    pub(crate) batch: Batch<R>,
    /// By the server's clock, as far as it is known.
    pub(crate) exchange: Exchange,
    /// The position that it was asked after: at or before the one that is wanted.
    pub(crate) asked: i64,
    /// True if it was asked for before the reading came to its position. It may begin with rows
    /// that were handed over before, and a short one is no sign of the end of the log.
    pub(crate) is_guess: bool,
}

/// Drops repeated ids, then checks the order of a page that was asked for with `limit` rows.
///
/// # Errors
/// [`DecodeFault::Order`] for a page in disorder, unless `disorder` allows to sort it: that is
/// never so for a full page (at least `limit` list elements), nor for two or more rows in reverse
/// order.
pub fn arrange<R: Row>(
    page: Page<R>,
    limit: u16,
    direction: Direction,
    disorder: Disorder,
) -> Result<Batch<R>, ApiError> {
    let listed = page.listed();
    let full = listed >= usize::from(limit);
    let Page { mut rows, without_id } = page;
    if direction.is_in_order(&rows) {
        return Ok(Batch { rows, repeated: 0, without_id, listed, full });
    }
    let with_id = rows.len();
    let mut seen = HashSet::with_capacity(listed);
    rows.retain(|row| seen.insert(row.id()));
    let repeated = u64::try_from(with_id - rows.len()).unwrap_or(u64::MAX);
    if !direction.is_in_order(&rows) {
        let reversed = direction.reversed().is_in_order(&rows);
        if full || reversed || disorder == Disorder::Refuse {
            return Err(ApiError::Decode(DecodeFault::Order));
        }
        rows.sort_unstable_by_key(Row::id);
        if direction == Direction::NewestFirst {
            rows.reverse();
        }
    }
    Ok(Batch { rows, repeated, without_id, listed, full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::ObjectRow;

    fn arranged_by(
        (direction, disorder): (Direction, Disorder),
        ids: &[i64],
        without_id: usize,
        limit: u16,
    ) -> Result<(Vec<i64>, u64), &'static str> {
        let rows = ids.iter().map(|id| ObjectRow::with_id(*id)).collect();
        let page = Page { rows, without_id: vec![None; without_id] };
        match arrange(page, limit, direction, disorder) {
            Ok(batch) => Ok((batch.rows.iter().map(Row::id).collect(), batch.repeated)),
            Err(error) => Err(error.label()),
        }
    }

    fn arranged(ids: &[i64], without_id: usize, limit: u16) -> Result<(Vec<i64>, u64), &'static str> {
        arranged_by((Direction::OldestFirst, Disorder::SortShort), ids, without_id, limit)
    }

    #[test]
    fn a_page_in_order_is_left_alone() {
        assert_eq!(arranged(&[], 0, 3), Ok((vec![], 0)));
        assert_eq!(arranged(&[1, 2, 9], 0, 3), Ok((vec![1, 2, 9], 0)));
    }

    #[test]
    fn repeated_ids_are_dropped_before_the_order_is_judged() {
        assert_eq!(arranged(&[1, 2, 2, 1, 3], 0, 5), Ok((vec![1, 2, 3], 2)));
        assert_eq!(arranged(&[7, 7], 0, 2), Ok((vec![7], 1)), "one row has no order");
    }

    #[test]
    fn a_short_page_in_disorder_is_sorted() {
        assert_eq!(arranged(&[2, 1, 3], 0, 4), Ok((vec![1, 2, 3], 0)));
    }

    #[test]
    fn what_could_hide_rows_is_refused() {
        assert_eq!(arranged(&[2, 1, 3], 0, 3), Err("decode"), "full");
        assert_eq!(arranged(&[2, 1, 3], 1, 4), Err("decode"), "full, counting what has no id");
        assert_eq!(arranged(&[2, 1], 0, 9), Err("decode"), "descending");
        assert_eq!(arranged(&[3, 2, 2, 1], 0, 9), Err("decode"), "descending with a repeated id");
    }

    #[test]
    fn a_page_that_is_read_newest_first_falls() {
        let sorting = (Direction::NewestFirst, Disorder::SortShort);
        assert_eq!(arranged_by(sorting, &[9, 7, 7, 5], 0, 4), Ok((vec![9, 7, 5], 1)));
        assert_eq!(arranged_by(sorting, &[7, 9, 5], 0, 4), Ok((vec![9, 7, 5], 0)));
        assert_eq!(arranged_by(sorting, &[5, 7], 0, 4), Err("decode"), "ascending");
    }

    #[test]
    fn who_must_not_leave_a_row_out_gets_no_page_in_disorder() {
        for direction in [Direction::OldestFirst, Direction::NewestFirst] {
            let refusing = (direction, Disorder::Refuse);
            assert_eq!(arranged_by(refusing, &[2, 1, 3], 0, 9), Err("decode"));
        }
    }
}
