//! The ledger's file: its lock, its schema, its migrations, and which files are not a ledger.
//!
//! Promises: a schema is written in one transaction; a file that is not ours or is corrupt is moved aside, never
//! deleted; a newer schema and a second process are refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::store::{self, StoreError};

/// "clns" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x636c_6e73;

/// Waits this long for somebody who looks at the file by hand.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits this long for another process to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A part of a migration.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Sql(&'static str),
    /// What SQL cannot say.
    Convert(fn(&Transaction<'_>) -> Result<(), StoreError>),
}

/// Each takes the schema from the version of its index to the next. Only ever appended to.
pub(super) const MIGRATIONS: &[&[Step]] = &[
    &[Step::Sql(VERSION_1)],
    &[Step::Sql(VERSION_2), Step::Convert(store::convert_window), Step::Sql("DROP TABLE window")],
];

const VERSION_1: &str = "
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE log (
    id INTEGER NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    log TEXT NOT NULL,
    since TEXT NOT NULL,
    mark INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    floor_clock INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    first_pass_complete INTEGER NOT NULL DEFAULT 0,
    last_entry INTEGER,
    last_pass INTEGER,
    UNIQUE (account, log)
) STRICT;
CREATE TABLE window (
    log INTEGER NOT NULL,
    row INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    PRIMARY KEY (log, row)
) STRICT, WITHOUT ROWID;
CREATE TABLE product (
    account TEXT NOT NULL,
    id INTEGER NOT NULL,
    name TEXT,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (
    account TEXT NOT NULL,
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (account, family, labels)
) STRICT, WITHOUT ROWID;
CREATE TABLE histogram (
    account TEXT NOT NULL,
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    count INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    PRIMARY KEY (account, family, labels)
) STRICT, WITHOUT ROWID;
";

/// Seen ids in chunks, in place of a row for each.
const VERSION_2: &str = "
ALTER TABLE log RENAME COLUMN floor_clock TO watermark;
ALTER TABLE log RENAME COLUMN first_pass_complete TO first_poll_complete;
ALTER TABLE log RENAME COLUMN last_pass TO last_poll;
ALTER TABLE log ADD COLUMN without_id TEXT NOT NULL DEFAULT '[]';
CREATE TABLE seen (
    log INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    ids BLOB NOT NULL,
    PRIMARY KEY (log, first)
) STRICT, WITHOUT ROWID;
";

/// Why the ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{path}: another process uses this ledger; stop it, or give this one a --storage.path of its own"
    )]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{path}: the ledger has schema {found}, and this version knows {known} at most; run a newer version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// Something that may pass: a full, missing or read-only disk.
    #[error("{path}: {reason}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// By the operating system or SQLite.
        reason: String,
    },
    /// Not a ledger, or one that can't be read.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// By SQLite.
        reason: String,
    },
}

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Files {
        Files { directory: directory.to_owned() }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("ledger.db")
    }

    fn lock(&self) -> PathBuf {
        self.directory.join("ledger.lock")
    }

    /// Makes this process the only user, for as long as the file is held.
    pub(super) fn take_lock(&self) -> Result<File, OpenError> {
        let path = self.lock();
        let unusable =
            |error: io::Error| OpenError::Unusable { path: path.clone(), reason: error.to_string() };
        std::fs::create_dir_all(&self.directory).map_err(unusable)?;
        // A file of its own: closing any handle on the database would drop SQLite's own locks on it.
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // One that is just ending is given the time to.
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_TIMEOUT => {
                    std::thread::sleep(LOCK_TIMEOUT / 20);
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: self.database() }),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }

    /// Opens the database with its schema up to date.
    pub(super) fn open(&self, migrations: &[&[Step]]) -> Result<Connection, OpenError> {
        let path = self.database();
        let classify = |error: rusqlite::Error| classify(&path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(classify)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(classify)?;
        migrate(&mut connection, &path, migrations)?;
        make_durable(&connection).map_err(classify)?;
        Ok(connection)
    }

    /// Renames the database with what belongs to it. Returns the new name.
    pub(super) fn move_aside(&self, now: i64) -> Result<PathBuf, OpenError> {
        let from = self.database();
        let free = |number: &u32| !self.aside(now, *number).exists();
        let number = (0..).find(free).unwrap_or_default();
        let to = self.aside(now, number);
        let unusable =
            |error: io::Error| OpenError::Unusable { path: from.clone(), reason: error.to_string() };
        for suffix in ["-wal", "-shm"] {
            match std::fs::rename(with_suffix(&from, suffix), with_suffix(&to, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
                _ => {}
            }
        }
        std::fs::rename(&from, &to).map_err(unusable)?;
        Ok(to)
    }

    fn aside(&self, now: i64, number: u32) -> PathBuf {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        self.directory.join(format!("{ASIDE}{now}{suffix}"))
    }

    /// How many databases were moved aside and are still there.
    pub(super) fn count_aside(&self) -> u64 {
        let is_aside =
            |name: &str| name.starts_with(ASIDE) && !name.ends_with("-wal") && !name.ends_with("-shm");
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let aside = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_aside)).count();
        u64::try_from(aside).unwrap_or(u64::MAX)
    }
}

const ASIDE: &str = "ledger.db.aside-";

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether an error means that the file itself is bad; everything else may pass.
pub(super) fn is_corrupt(error: &StoreError) -> bool {
    match error {
        StoreError::Sqlite(error) => is_corrupt_file(error),
        StoreError::Chunk(_) => true,
        StoreError::AlreadyCounted => false,
    }
}

fn is_corrupt_file(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn classify_store(path: &Path, error: &StoreError) -> OpenError {
    match error {
        StoreError::Sqlite(error) => classify(path, error),
        error => OpenError::Corrupt { path: path.to_owned(), reason: error.to_string() },
    }
}

fn classify(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        _ if is_corrupt_file(error) => OpenError::Corrupt { path, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        _ => OpenError::Unusable { path, reason },
    }
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&[Step]]) -> Result<(), OpenError> {
    let classify = |error: rusqlite::Error| classify(path, &error);
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(classify)?;
    let pragma = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = pragma("application_id").map_err(classify)?;
    let found = u32::try_from(pragma("user_version").map_err(classify)?).unwrap_or(u32::MAX);
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(classify)?;
    let fresh = application == 0 && found == 0 && tables == 0;
    if !fresh && application != APPLICATION_ID {
        let reason = "this SQLite file was not written by cryptolens-exporter".to_owned();
        return Err(OpenError::Corrupt { path: path.to_owned(), reason });
    }
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    for (version, migration) in (0u32..).zip(migrations) {
        if version >= found {
            apply(&transaction, migration).map_err(|error| classify_store(path, &error))?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(classify)?;
    transaction.pragma_update(None, "user_version", known).map_err(classify)?;
    transaction.commit().map_err(classify)?;
    if found > 0 {
        tracing::info!(ledger = %path.display(), from = found, to = known, "ledger schema migrated");
    }
    Ok(())
}

fn apply(transaction: &Transaction<'_>, migration: &[Step]) -> Result<(), StoreError> {
    migration.iter().try_for_each(|step| match step {
        Step::Sql(sql) => Ok(transaction.execute_batch(sql)?),
        Step::Convert(convert) => convert(transaction),
    })
}

/// After a commit returns, it is on the disk.
fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let reason = format!("the file system allows no write-ahead log (journal mode {mode})");
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(reason),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, migrations: &[&[Step]]) -> Result<Connection, OpenError> {
        Files::new(folder).open(migrations)
    }

    #[test]
    fn commits_are_durable_and_the_file_says_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(folder.path(), MIGRATIONS).unwrap();
        let text =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        let number =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("application_id"), i64::from(APPLICATION_ID));
        assert_eq!(number("user_version"), 2);
    }

    #[test]
    fn migrations_are_applied_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let one: &[Step] = &[Step::Sql("CREATE TABLE a (x) ; INSERT INTO a VALUES (1);")];
        let two: &[Step] = &[Step::Sql("ALTER TABLE a ADD COLUMN y DEFAULT 7;")];
        open(folder.path(), &[one]).unwrap();
        for _ in 0..2 {
            let connection = open(folder.path(), &[one, two]).unwrap();
            let row = connection
                .query_row("SELECT count(*), sum(x), sum(y) FROM a", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })
                .unwrap();
            assert_eq!(row, (1, 1, 7));
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_old_schema() {
        let folder = tempfile::tempdir().unwrap();
        let one: &[Step] = &[Step::Sql("CREATE TABLE a (x);")];
        open(folder.path(), &[one]).unwrap();
        let bad: &[Step] = &[Step::Sql("CREATE TABLE b (x); CREATE TABLE a (x);")];
        assert!(matches!(open(folder.path(), &[one, bad]), Err(OpenError::Unusable { .. })));
        let connection = open(folder.path(), &[one]).unwrap();
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let one: &[Step] = &[Step::Sql("CREATE TABLE a (x);")];
        open(folder.path(), &[one, &[Step::Sql("CREATE TABLE b (x);")]]).unwrap();
        let refused = open(folder.path(), &[one]);
        assert!(matches!(refused, Err(OpenError::Newer { found: 2, known: 1, .. })));
    }

    #[test]
    fn what_is_no_ledger_is_told_from_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "").unwrap();
        assert!(open(folder.path(), MIGRATIONS).is_ok(), "an empty file is a ledger that was never written");

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a database, but long enough to be taken for one".repeat(100)).unwrap();
        assert!(matches!(open(folder.path(), MIGRATIONS), Err(OpenError::Corrupt { .. })));

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x);").unwrap();
        assert!(matches!(open(folder.path(), MIGRATIONS), Err(OpenError::Corrupt { .. })));

        let aside = Files::new(folder.path()).move_aside(7).unwrap();
        assert!(aside.exists() && !path.exists());
        assert_eq!(Files::new(folder.path()).count_aside(), 1);
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&folder.path().join("made/on/the/way"));
        let held = files.take_lock().unwrap();
        assert!(matches!(files.take_lock(), Err(OpenError::Locked { .. })));
        drop(held);
        assert!(files.take_lock().is_ok());
    }
}
