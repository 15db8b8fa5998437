//! The order of a page: what may be sorted, and what must be refused because sorting would jump over rows not seen yet.

use crate::cryptolens::{ApiError, DecodeFault, Page, Row};

/// A page whose rows ascend by id, each id once.
#[derive(Debug, Clone, PartialEq)]
pub struct Arranged<R> {
    /// Strictly ascending by id.
    pub rows: Vec<R>,
    /// Repeated ids that were dropped.
    pub repeated: u64,
    /// For each list element without an id: the id of the row before it, if there is one.
    pub without_id: Vec<Option<i64>>,
    /// How many list elements it had.
    pub listed: usize,
    /// True if these are as many as were asked for: more are likely to follow.
    pub full: bool,
}

/// Drops repeated ids, then sorts a short page in disorder.
///
/// # Errors
/// [`DecodeFault::Order`] for a strictly descending page of two or more rows, and for a full page (one with at least
/// `limit` list elements) in disorder.
pub fn arrange<R: Row>(page: Page<R>, limit: u16) -> Result<Arranged<R>, ApiError> {
    let listed = page.listed();
    let full = listed >= usize::from(limit);
    let Page { mut rows, without_id } = page;
    let ascending = rows.is_sorted_by(|one, next| one.id() < next.id());
    if ascending {
        return Ok(Arranged { rows, repeated: 0, without_id, listed, full });
    }
    let with_id = rows.len();
    let mut seen = std::collections::HashSet::with_capacity(listed);
    rows.retain(|row| seen.insert(row.id()));
    let repeated = u64::try_from(with_id - rows.len()).unwrap_or(u64::MAX);
    if !rows.is_sorted_by(|one, next| one.id() < next.id()) {
        let descending = rows.is_sorted_by(|one, next| one.id() > next.id());
        if full || descending {
            return Err(ApiError::Decode(DecodeFault::Order));
        }
        rows.sort_unstable_by_key(Row::id);
    }
    Ok(Arranged { rows, repeated, without_id, listed, full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::ObjectRow;

    fn arranged(ids: &[i64], without_id: usize, limit: u16) -> Result<(Vec<i64>, u64), &'static str> {
        let rows = ids.iter().map(|id| ObjectRow::with_id(*id)).collect();
        let page = Page { rows, without_id: vec![None; without_id] };
        match arrange(page, limit) {
            Ok(page) => Ok((page.rows.iter().map(Row::id).collect(), page.repeated)),
            Err(error) => Err(error.label()),
        }
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
}
