//! Which rows of a log, or which of the daily counts, a request asks for.

use chrono::NaiveDate;

/// The page of a log that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// Rows with a higher id only; 0 asks from the beginning.
    pub starting_after: i64,
    /// Rows with a lower id only.
    pub ending_before: Option<i64>,
    /// At most this many rows.
    pub limit: u16,
    /// The newest first (`OrderBy=Id descending`); see
    /// [`LogKind::can_be_read_newest_first`](super::LogKind::can_be_read_newest_first).
    pub newest_first: bool,
}

impl PageQuery {
    /// The rows with an id above `id`, oldest first; 0 asks from the beginning.
    pub const fn after(id: i64, limit: u16) -> PageQuery {
        PageQuery { starting_after: id, ending_before: None, limit, newest_first: false }
    }

    /// The rows with an id below `id`, newest first; `None` asks from the end.
    pub const fn before(id: Option<i64>, limit: u16) -> PageQuery {
        PageQuery { starting_after: 0, ending_before: id, limit, newest_first: true }
    }

    pub(super) fn write(&self, form: &mut Vec<(&'static str, String)>) {
        form.push(("Limit", self.limit.to_string()));
        if self.starting_after != 0 {
            form.push(("StartingAfter", self.starting_after.to_string()));
        }
        form.extend(self.ending_before.map(|id| ("EndingBefore", id.to_string())));
        if self.newest_first {
            form.push(("OrderBy", "Id descending".to_owned()));
        }
    }
}

/// Which of the vendor's daily counts a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregateQuery {
    /// The first day.
    pub start: NaiveDate,
    /// The last day. Whether it belongs to the answer is not documented: the caller looks.
    pub end: NaiveDate,
    /// Counts of this product only.
    pub product_id: Option<i64>,
}

impl AggregateQuery {
    /// The largest page.
    const LIMIT: u16 = 1000;

    pub(super) fn form(&self, after: i64) -> Vec<(&'static str, String)> {
        let mut form = vec![
            ("Limit", AggregateQuery::LIMIT.to_string()),
            ("Start", self.start.to_string()),
            ("End", self.end.to_string()),
        ];
        if after != 0 {
            form.push(("StartingAfter", after.to_string()));
        }
        form.extend(self.product_id.map(|id| ("ProductId", id.to_string())));
        form
    }
}

/// Which rows of a log are wanted at all; the default wants all. Only the Web API Log documents
/// every member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Rows of this product.
    pub product_id: Option<i64>,
    /// Rows of this license key, which needs the product.
    pub key: Option<String>,
    /// Rows with one of these states; an empty list means all.
    pub states: Vec<u16>,
}

impl RowFilter {
    pub(super) fn write(&self, form: &mut Vec<(&'static str, String)>) {
        form.extend(self.product_id.map(|id| ("ProductId", id.to_string())));
        form.extend(self.key.clone().map(|key| ("Key", key)));
        if !self.states.is_empty() {
            let states: Vec<String> = self.states.iter().map(u16::to_string).collect();
            form.push(("States", format!("[{}]", states.join(","))));
        }
    }
}
