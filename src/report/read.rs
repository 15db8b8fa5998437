//! The summary of the reading for a report that reads its log forward, as the report shows it.

use serde::Serialize;

use super::document::{Block, Moment};
use super::log_report::method;
use super::source::{ReadingSummary, SLACK};
use super::text::counted;
use super::window::Window;

#[derive(Debug, Serialize)]
pub(super) struct Read {
    rows: u64,
    pages: u64,
    rows_without_id: u64,
    rows_without_time: u64,
    rows_met_again: u64,
    /// The oldest time met, in the window or shortly before it.
    oldest: Option<Moment>,
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
            oldest: reading.oldest.map(|at| Moment { at, zone: window.zone }),
            window_covered: !reading.reaches_beginning || begins <= window.from.saturating_add(SLACK),
        }
    }

    /// False where the log begins within the window.
    pub(super) const fn is_covered(&self) -> bool {
        self.window_covered
    }

    /// The moment at which the log begins, if that is within the window.
    pub(super) fn begins(&self) -> Option<i64> {
        self.oldest.filter(|_| !self.window_covered).map(|oldest| oldest.at)
    }

    /// The last block of a document.
    pub(super) fn method(
        &self,
        log: &str,
        definitions: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Block {
        method(log, (self.rows, self.pages, self.rows_met_again), self.oldest, definitions)
    }

    /// What a reader needs to know to judge the numbers, in sentences.
    pub(super) fn notes(&self) -> String {
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
        let notes: Vec<String> = shorter.into_iter().chain(odd).collect();
        notes.join(" ")
    }
}
