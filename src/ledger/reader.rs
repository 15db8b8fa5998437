//! Reads the ledger beside its writer, for outputs that need more than the published state.
//!
//! A reader has a connection of its own that cannot write. It sees whole commits only, never waits
//! for the writer, and keeps it from nothing. It is not for the threads of the runtime: it reads
//! the disk.

use std::cmp::Ordering;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;
use rustix::io::Errno;

use crate::cryptolens::LogKind;

use super::days::{self, LedgerDays};
use super::error::StoreError;
use super::history::{self, HistoryLimit};
use super::schema::{self, Files, OpenError};
use super::store::{self, Accounts, FinalRows};

/// Waits this long for a checkpoint that restarts the write-ahead log.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the ledger that only reads.
#[derive(Debug)]
pub struct LedgerReader {
    connection: Connection,
    files: Files,
}

impl LedgerReader {
    /// Opens the ledger in a directory. Its writer must have opened it before, as only the writer
    /// verifies and migrates it.
    ///
    /// # Errors
    /// [`OpenError::Missing`] if there is none; [`OpenError::Unusable`] if it cannot be read, or the disk does
    /// not answer; [`OpenError::Older`] and [`OpenError::Newer`] if another version wrote it.
    pub fn open(directory: &Path) -> Result<LedgerReader, OpenError> {
        let files = Files::new(directory);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(files.database(), flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "query_only", "ON")?;
            connection.pragma_update(None, "trusted_schema", "OFF")?;
            let schema = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))?;
            Ok((connection, schema))
        };
        // SQLite says that it cannot open the file, and not why. To open it here to see would be wrong:
        // where the writer is in this process, closing it again takes the writer's locks away.
        let path = files.database();
        rustix::fs::access(&path, Access::READ_OK).map_err(|error| match error {
            Errno::NOENT => OpenError::Missing { path },
            _ => unusable(&files, &error),
        })?;
        let (connection, found) = open().map_err(|error: rusqlite::Error| unusable(&files, &error))?;
        let (path, known) = (files.database(), schema::known_schema());
        match found.cmp(&known) {
            Ordering::Less => Err(OpenError::Older { path, found, known }),
            Ordering::Greater => Err(OpenError::Newer { path, found, known }),
            Ordering::Equal => Ok(LedgerReader { connection, files }),
        }
    }

    /// All accounts as of one commit, without the products that are only configured.
    ///
    /// # Errors
    /// As [`LedgerReader::open`].
    pub fn accounts(&self) -> Result<Accounts, OpenError> {
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            store::load(&transaction)
        };
        read().map_err(|error: StoreError| unusable(&self.files, &error))
    }

    /// The rows that `backfill` may supply beside the history of a log; `None` if the ledger has
    /// none, so that anything may be supplied.
    ///
    /// # Errors
    /// As [`LedgerReader::open`].
    pub fn history_limit(&self, account: &str, log: LogKind) -> Result<Option<HistoryLimit>, OpenError> {
        history::limit(&self.connection, account, log).map_err(|error| unusable(&self.files, &error))
    }

    /// The rows of a log by the day in which they happened; `None` if the ledger does not count it.
    ///
    /// # Errors
    /// As [`LedgerReader::open`].
    pub fn days(&self, account: &str, log: LogKind) -> Result<Option<LedgerDays>, OpenError> {
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            days::read(&transaction, account, log)
        };
        read().map_err(|error: rusqlite::Error| unusable(&self.files, &error))
    }

    /// The floor of a log and the number of rows that are final; `None` if the ledger does not
    /// count it.
    ///
    /// # Errors
    /// As [`LedgerReader::open`].
    pub fn final_rows(&self, account: &str, log: LogKind) -> Result<Option<FinalRows>, OpenError> {
        store::final_rows(&self.connection, account, log).map_err(|error| unusable(&self.files, &error))
    }

    /// The identity of the ledger: a UUID that was made with it.
    ///
    /// # Errors
    /// As [`LedgerReader::open`].
    pub fn instance_id(&self) -> Result<String, OpenError> {
        store::instance_id(&self.connection).map_err(|error| unusable(&self.files, &error))
    }
}

fn unusable(files: &Files, error: &dyn std::error::Error) -> OpenError {
    let path = files.database();
    OpenError::Unusable { reason: schema::reason_of(&path, error), path }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::tests::{Version, folder, options};

    #[test]
    fn a_ledger_of_another_version_is_refused_and_says_what_to_do() {
        let folder = folder();
        Version::Fifth.put(folder.path());
        let refused = LedgerReader::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Older { found: 5, .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("ledger.db: the ledger has schema 5, which an earlier version wrote"),
            "{text}"
        );
        assert!(text.contains("start `cryptolens-exporter serve` of this version once"), "{text}");
        let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        drop(connection);
        let refused = LedgerReader::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found: 1000, .. }), "{refused}");
    }

    #[test]
    fn a_reader_cannot_write_and_keeps_nobody_from_writing() {
        let folder = folder();
        let refused = LedgerReader::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Missing { .. }), "{refused}");
        let (ledger, thread) = Ledger::start(options(folder.path())).unwrap();
        let reader = LedgerReader::open(folder.path()).unwrap();
        let published = ledger.view().committed().unwrap();
        assert_eq!(reader.instance_id().unwrap(), *published.instance_id);
        assert!(reader.accounts().unwrap().is_empty());
        assert!(reader.connection.execute("DELETE FROM instance", []).is_err());
        assert!(reader.connection.execute("CREATE TABLE mine (x)", []).is_err());
        drop(ledger);
        thread.join().unwrap();
    }

    /// Without them another program, such as one that makes a backup with an older SQLite, takes itself
    /// for the last user and deletes the write-ahead log.
    #[test]
    fn a_reader_leaves_its_writer_the_locks() {
        let folder = folder();
        let (ledger, thread) = Ledger::start(options(folder.path())).unwrap();
        let inode = std::fs::metadata(folder.path().join("ledger.db")).unwrap().ino();
        let locks = || {
            let all = std::fs::read_to_string("/proc/locks").unwrap();
            all.lines().filter(|line| line.contains(&format!(":{inode} "))).count()
        };
        let before = locks();
        assert!(before > 0, "the writer has one");
        let reader = LedgerReader::open(folder.path()).unwrap();
        assert_eq!(locks(), before, "while it reads");
        drop(reader);
        assert_eq!(locks(), before, "afterwards");
        drop(ledger);
        thread.join().unwrap();
    }
}
