//! The files of one range of ids while they grow: one for each day, and another after a million
//! rows.
//!
//! Rows come by rising ids, and nearly by rising times: mostly one file is open, at midnight two.
//! Where applications give the times, rows of several days take turns; so a few files are open at a
//! time, and together they hold no more texts in memory than one of them may.

use std::fs::File;
use std::sync::Arc;

use chrono::DateTime;

use super::columns::ArchivedRow;
use super::directory::{ArchiveDirectory, ArchiveStep, RowIdentities};
use super::error::ArchiveError;
use super::journal::PreparedFile;
use super::mask::MaskedRow;
use super::parquet_file::{FileLabels, ParquetFile};
use crate::identity::Identities;

/// The most rows of a file.
const MOST_ROWS: u64 = 1_000_000;

/// The most files that are open at a time.
const MOST_OPEN: usize = 4;

/// A file that got none of so many rows holds nothing in memory: its day is over. A late row of
/// that day begins another row group.
const IDLE_ROWS: u64 = 32_768;

/// The most bytes of texts that all open files hold in memory.
const MOST_BUFFERED: usize = 32 * 1024 * 1024;

const DAY_SECONDS: i64 = 86_400;

/// Writes the rows of one range into temporary files.
pub(super) struct RangeWriter<R: 'static> {
    directory: Arc<ArchiveDirectory>,
    hiding: Hiding,
    /// The beginning of the names of its temporary files.
    stem: String,
    /// The directory of the account, below that of the archive.
    partition: String,
    /// When the rows are read, in Unix seconds.
    read_at: i64,
    /// The one that got a row last is the last.
    open: Vec<OpenFile<R>>,
    finished: Vec<PreparedFile>,
    temporaries: u32,
    rows: u64,
    #[cfg(test)]
    pub(super) random_names: bool,
}

enum Hiding {
    Show,
    Mask(Identities),
    Strip,
}

struct OpenFile<R: 'static> {
    /// The day of its rows, since 1970.
    day: i64,
    first: i64,
    last: i64,
    /// How many rows the range had when this file got one last.
    reached: u64,
    temporary: String,
    columns: ParquetFile<R, File>,
}

impl<R: MaskedRow> RangeWriter<R> {
    pub(super) fn new(
        directory: Arc<ArchiveDirectory>,
        stem: String,
        partition: String,
        read_at: i64,
    ) -> RangeWriter<R> {
        let hiding = match directory.identities() {
            RowIdentities::Keyed(key) => Hiding::Mask(key.identities()),
            RowIdentities::Full => Hiding::Show,
            RowIdentities::None => Hiding::Strip,
        };
        RangeWriter {
            directory,
            hiding,
            stem,
            partition,
            read_at,
            open: Vec::new(),
            finished: Vec::new(),
            temporaries: 0,
            rows: 0,
            #[cfg(test)]
            random_names: false,
        }
    }

    /// The rows so far.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes rows, by rising ids.
    pub(super) fn push(&mut self, rows: Vec<R>) -> Result<(), ArchiveError> {
        for mut row in rows {
            match &self.hiding {
                Hiding::Show => {}
                Hiding::Mask(identities) => row.mask(identities),
                Hiding::Strip => row.strip(),
            }
            self.push_row(&row)?;
        }
        self.directory.reached(ArchiveStep::RowsWritten)
    }

    fn push_row(&mut self, row: &R) -> Result<(), ArchiveError> {
        let day = self.day_of(row.time());
        let mut file = match self.open.iter().position(|file| file.day == day) {
            Some(at) => self.open.remove(at),
            None => {
                if self.open.len() >= MOST_OPEN {
                    let oldest = self.open.remove(0);
                    self.finish_file(oldest)?;
                }
                self.create(day, row.id())?
            }
        };
        let failed = |name: &str, error| self.directory.temporary_failed(name, error);
        file.columns.push(row).map_err(|error| failed(&file.temporary, error))?;
        file.last = row.id();
        self.rows += 1;
        file.reached = self.rows;
        for idle in self.open.iter_mut().filter(|other| self.rows == other.reached + IDLE_ROWS) {
            idle.columns.rest().map_err(|error| failed(&idle.temporary, error))?;
        }
        if file.columns.rows() >= MOST_ROWS {
            return self.finish_file(file);
        }
        let others: usize = self.open.iter().map(|file| file.columns.buffered_text()).sum();
        if others > 0 && others + file.columns.buffered_text() > MOST_BUFFERED {
            self.open.push(file);
            return self.end_groups();
        }
        self.open.push(file);
        Ok(())
    }

    /// The day of a row: that of its time, or of archiving where it has no time that can be right.
    fn day_of(&self, time: Option<i64>) -> i64 {
        let latest = self.read_at.saturating_add(DAY_SECONDS);
        time.filter(|time| *time <= latest).unwrap_or(self.read_at).div_euclid(DAY_SECONDS)
    }

    fn create(&mut self, day: i64, first: i64) -> Result<OpenFile<R>, ArchiveError> {
        self.temporaries += 1;
        let temporary = format!("{}.{}.tmp", self.stem, self.temporaries);
        let file = self.directory.create_temporary(&temporary)?;
        let labels = FileLabels { identities: self.hiding.name() };
        let columns = ParquetFile::new(file, labels)
            .map_err(|error| self.directory.temporary_failed(&temporary, error))?;
        Ok(OpenFile { day, first, last: first, reached: self.rows, temporary, columns })
    }

    /// Writes what all open files hold in memory.
    fn end_groups(&mut self) -> Result<(), ArchiveError> {
        for file in &mut self.open {
            file.columns
                .end_group()
                .map_err(|error| self.directory.temporary_failed(&file.temporary, error))?;
        }
        Ok(())
    }

    fn finish_file(&mut self, file: OpenFile<R>) -> Result<(), ArchiveError> {
        let OpenFile { day, first, last, reached: _, temporary, columns } = file;
        let finish = || columns.finish()?.sync_all();
        finish().map_err(|error| self.directory.temporary_failed(&temporary, error))?;
        let date = DateTime::from_timestamp(day.saturating_mul(DAY_SECONDS), 0).unwrap_or_default();
        #[cfg(test)]
        let (first, last) =
            if self.random_names { (rand::random_range(1..i64::MAX / 2), last) } else { (first, last) };
        let path =
            format!("{}/date={}/{first:019}-{last:019}.parquet", self.partition, date.format("%Y-%m-%d"));
        self.finished.push(PreparedFile { temporary, path });
        Ok(())
    }

    /// Completes the files, and names them: they are on disk then, and not visible yet.
    pub(super) fn finish(mut self) -> Result<Vec<PreparedFile>, ArchiveError> {
        for file in std::mem::take(&mut self.open) {
            self.finish_file(file)?;
        }
        // Before the state names them, or a loss of power could leave names of files that are not
        // there.
        self.directory.sync_state()?;
        self.directory.reached(ArchiveStep::FilesWritten)?;
        Ok(self.finished)
    }
}

impl Hiding {
    const fn name(&self) -> &'static str {
        match self {
            Hiding::Show => "full",
            Hiding::Mask(_) => "masked",
            Hiding::Strip => "none",
        }
    }
}

/// The directory of an account's rows of type `R`, below that of the archive.
pub(super) fn partition<R: ArchivedRow>(account: &str) -> String {
    format!("{}/account={}", R::TABLE, super::directory::escaped(account))
}
