//! What was read to make a report of a log that is read forward, as the report shows it.

use serde::Serialize;

use super::source::Reading;
use super::text::counted;

#[derive(Debug, Serialize)]
pub(super) struct Read {
    rows: u64,
    pages: u64,
    rows_without_id: u64,
    rows_without_time: u64,
    rows_met_again: u64,
}

impl Read {
    pub(super) const fn new(reading: &Reading, without_time: u64) -> Read {
        Read {
            rows: reading.rows,
            pages: reading.pages,
            rows_without_id: reading.without_id,
            rows_without_time: without_time,
            rows_met_again: reading.duplicates,
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        [(self.rows_without_id, "an id"), (self.rows_without_time, "a time")]
            .into_iter()
            .filter(|(rows, _)| *rows > 0)
            .map(|(rows, what)| {
                format!("{} without {what}, and not counted.", counted(rows, "entry was", "entries were"))
            })
            .collect()
    }
}
