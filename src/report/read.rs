//! The summary of the reading for a report that reads its log forward, as the report shows it.

use serde::Serialize;

use super::source::{ReadingSummary, SLACK};
use super::text::counted;
use super::window::{Window, rfc3339};

#[derive(Debug, Serialize)]
pub(super) struct Read {
    rows: u64,
    pages: u64,
    rows_without_id: u64,
    rows_without_time: u64,
    rows_met_again: u64,
    /// The oldest time met, in the window or shortly before it.
    oldest: Option<String>,
    /// False where the log has nothing as old as the window: these logs keep their entries for 30
    /// days at least, and may forget older ones.
    window_covered: bool,
}

impl Read {
    pub(super) fn new(reading: &ReadingSummary, without_time: u64, window: &Window) -> Read {
        let begins = reading.oldest.unwrap_or(i64::MAX);
        Read {
            rows: reading.rows,
            pages: reading.pages,
            rows_without_id: reading.without_id,
            rows_without_time: without_time,
            rows_met_again: reading.duplicates,
            oldest: reading.oldest.map(|time| rfc3339(time, window.zone)),
            window_covered: !reading.from_beginning || begins <= window.from.saturating_add(SLACK),
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let shorter = self.oldest.as_ref().filter(|_| !self.window_covered).map(|oldest| {
            format!(
                "There is nothing older than {oldest}: the log covers a part of this time. It keeps its entries for 30 \
                 days at least."
            )
        });
        let odd = [(self.rows_without_id, "an id"), (self.rows_without_time, "a time")]
            .into_iter()
            .filter(|(rows, _)| *rows > 0)
            .map(|(rows, what)| {
                format!("{} without {what}, and not counted.", counted(rows, "entry was", "entries were"))
            });
        shorter.into_iter().chain(odd).collect()
    }
}
