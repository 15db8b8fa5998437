//! The bounds on what is kept of one answer. Together with the cap on its length they bound the
//! memory that any answer can take.

use std::collections::HashSet;

use super::Page;
use crate::cryptolens::row::Row;

/// A longer text (in bytes) is not kept; its row counts all the same.
pub(super) const MAX_TEXT: usize = 1024 * 1024;

/// A value that nests deeper is not kept; its row counts all the same.
pub(super) const MAX_NESTING: usize = 64;

/// The most bytes of the texts of one page: a list is stopped after the row that exceeds it.
const MAX_TEXTS: usize = 8 * 1024 * 1024;

/// A larger body, in bytes, is read without the typed parser, which copies texts with escapes.
pub(super) const MAX_TYPED: usize = 8 * 1024 * 1024;

/// The most products of an account that are kept.
pub(super) const MAX_PRODUCTS: usize = 20_000;

/// Collects the elements of a list, for the typed parser and for the scanner.
///
/// A list is *stopped* at twice the Limit that was asked for, or when its texts exceed
/// [`MAX_TEXTS`]: the elements after that are read and dropped. That loses nothing, because the
/// next request asks after the last row that was kept. It would if a dropped row lay before that
/// one in the order of the list, so such a list is refused.
pub(super) struct Kept<R> {
    page: Page<R>,
    most: usize,
    texts: usize,
    /// The ids kept, once the list is stopped.
    stopped: Option<HashSet<i64>>,
    jumps: bool,
}

impl<R: Row> Kept<R> {
    pub(super) fn new(limit: u16) -> Kept<R> {
        let page = Page { rows: Vec::new(), without_id: Vec::new() };
        Kept { page, most: 2 * usize::from(limit.max(1)), texts: 0, stopped: None, jumps: false }
    }

    /// Takes the next element, whose texts have `texts` bytes.
    pub(super) fn push(&mut self, element: Option<R>, texts: usize) {
        let Page { rows, without_id } = &mut self.page;
        match (&self.stopped, element) {
            (None, Some(row)) => {
                if rows.is_empty() {
                    // Growing would copy the rows of a full page twice.
                    rows.reserve_exact(self.most / 2);
                }
                rows.push(row);
                self.texts = self.texts.saturating_add(texts);
                if rows.len() >= self.most || self.texts > MAX_TEXTS {
                    self.stopped = Some(rows.iter().map(R::id).collect());
                }
            }
            // More of these are no page any more, but the rows among them are still wanted.
            (None, None) if without_id.len() < self.most => without_id.push(rows.last().map(R::id)),
            (Some(ids), Some(row)) if !ids.contains(&row.id()) => {
                if let (Some(first), Some(last)) = (rows.first().map(R::id), rows.last().map(R::id)) {
                    self.jumps |= if first <= last { row.id() < last } else { row.id() > last };
                }
            }
            _ => {}
        }
    }

    /// The page; `None` if a dropped row would be jumped over.
    pub(super) fn page(self) -> Option<Page<R>> {
        (!self.jumps).then_some(self.page)
    }
}
