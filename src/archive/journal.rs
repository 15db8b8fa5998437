//! How far the archive of one log is: a small file of JSON beside the archive, written before and
//! after files become visible.

use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u32 = 1;

/// Samples of the floor that are kept at most. They are at least a 64th of the delay apart.
pub(super) const MOST_FLOORS: usize = 80;

/// The state of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogJournal {
    version: u32,
    /// Every row up to this id that was there is archived.
    pub(super) until: i64,
    /// The rows that the ledger had counted up to `until`; `None` if it did not say.
    pub(super) counted: Option<CountedRows>,
    /// Floors that wait until they are old enough, oldest first.
    pub(super) floors: Vec<FloorSample>,
    /// When the newest of them was taken, in Unix seconds.
    pub(super) sampled_at: Option<i64>,
    /// A range whose files are whole, and not all visible yet.
    pub(super) prepared: Option<PreparedRange>,
    /// The last run that succeeded, or the beginning of the archive; in Unix seconds.
    pub(super) succeeded_at: i64,
    /// Since when the API has shown fewer rows of the next range than were counted, in Unix
    /// seconds.
    #[serde(default)]
    pub(super) short_since: Option<i64>,
    /// Since when the API has shown no row at all, while the next range should have some; in Unix
    /// seconds.
    #[serde(default)]
    pub(super) empty_since: Option<i64>,
}

/// How many rows a ledger has counted up to an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CountedRows {
    /// The identity of the ledger.
    pub(super) ledger: String,
    pub(super) rows: u64,
}

/// The floor of a log at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FloorSample {
    /// In Unix seconds.
    pub(super) at: i64,
    pub(super) floor: i64,
    pub(super) counted: CountedRows,
    /// The latest time of a row that was counted, in Unix seconds.
    #[serde(default)]
    pub(super) newest_entry: Option<i64>,
    /// When the ledger last saw that nothing is above the floor, in Unix seconds.
    #[serde(default)]
    pub(super) nothing_above_at: Option<i64>,
}

/// A range that is about to become visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreparedRange {
    pub(super) until: i64,
    pub(super) counted: Option<CountedRows>,
    pub(super) files: Vec<PreparedFile>,
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreparedFile {
    /// Its name in the directory of the state.
    pub(super) temporary: String,
    /// Its path below the directory of the archive.
    pub(super) path: String,
}

impl LogJournal {
    /// An archive that begins after an id.
    pub(super) const fn begin(until: i64, now: i64) -> LogJournal {
        LogJournal {
            version: VERSION,
            until,
            counted: None,
            floors: Vec::new(),
            sampled_at: None,
            prepared: None,
            succeeded_at: now,
            short_since: None,
            empty_since: None,
        }
    }

    /// Reads it from its file.
    pub(super) fn parse(text: &[u8]) -> Result<LogJournal, String> {
        let journal: LogJournal = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match journal.version {
            VERSION => Ok(journal),
            other => Err(format!("it has version {other}, and this exporter knows {VERSION}")),
        }
    }

    /// The newest floor that was taken at or before a time.
    pub(super) fn floor_of(&self, at_most: i64) -> Option<&FloorSample> {
        self.floors.iter().rev().find(|sample| sample.at <= at_most)
    }

    /// Adds a floor that was just read.
    pub(super) fn sampled(&mut self, sample: FloorSample) {
        self.sampled_at = Some(sample.at);
        // After a clock was set back, older samples would wait for ever.
        self.floors.retain(|earlier| earlier.at < sample.at);
        if self.floors.len() >= MOST_FLOORS {
            self.floors.pop();
        }
        self.floors.push(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, floor: i64) -> FloorSample {
        let counted = CountedRows { ledger: "one".to_owned(), rows: 5 };
        FloorSample { at, floor, counted, newest_entry: None, nothing_above_at: None }
    }

    #[test]
    fn a_journal_comes_back_and_another_version_is_refused() {
        let mut journal = LogJournal::begin(7, 100);
        journal.sampled(sample(3, 9));
        journal.prepared = Some(PreparedRange {
            until: 9,
            counted: None,
            files: vec![PreparedFile { temporary: "t".to_owned(), path: "p".to_owned() }],
        });
        let text = serde_json::to_vec(&journal).unwrap();
        assert_eq!(LogJournal::parse(&text), Ok(journal.clone()));
        journal.version = 2;
        let error = LogJournal::parse(&serde_json::to_vec(&journal).unwrap()).unwrap_err();
        assert_eq!(error, "it has version 2, and this exporter knows 1");
        assert!(LogJournal::parse(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn the_newest_floor_that_is_old_enough_is_taken() {
        let mut journal = LogJournal::begin(0, 0);
        (1..=3).for_each(|at| journal.sampled(sample(at * 10, at)));
        assert_eq!(journal.floor_of(9), None);
        assert_eq!(journal.floor_of(29).unwrap().floor, 2);
        journal.sampled(sample(20, 7));
        assert_eq!(journal.floors.iter().map(|sample| sample.at).collect::<Vec<_>>(), [10, 20]);
        (100..300).for_each(|at| journal.sampled(sample(at, at)));
        assert_eq!(
            (journal.floors.len(), journal.floors[0].at, journal.sampled_at),
            (MOST_FLOORS, 10, Some(299))
        );
    }
}
