//! The ledger's file: its lock, its schema, its migrations, and which files are not a ledger.
//!
//! Promises: a migration is one transaction, and keeps a copy of the old file beside it. No value
//! of a file is used before SQLite's own check and the digest have passed. A file that is not a
//! ledger, is damaged or is set aside is moved, never deleted. A newer schema, a second process and
//! the ledger of another API are refused.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::Access;

use crate::history::HistoryOptions;
use crate::metrics::BirthTime;
use crate::usage::UsageOptions;

use super::Committed;
use super::belongs::LedgerAddress;
use super::digest::Digest;
use super::error::{OtherSecret, StoreError};
use super::foreign::ForeignLedger;
use super::history::{self, HistoryStore};
use super::store::{self, Accounts, Configured, Edit, LedgerSink};
use super::usage::{self, UsageStore};

/// "clns" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x636c_6e73;

/// The longest wait for a reader that holds the file, such as a person with the SQLite shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the end of another process that holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A part of a migration.
#[derive(Clone, Copy)]
pub(super) enum MigrationStep {
    Sql(&'static str),
    /// A step that SQL cannot express.
    Convert(fn(&Transaction<'_>) -> Result<(), StoreError>),
}

/// Each migration takes the schema from the version of its index to the next one. Released ones
/// never change.
pub(super) const MIGRATIONS: &[&[MigrationStep]] = &[
    &[MigrationStep::Sql(VERSION_1)],
    &[
        MigrationStep::Sql(VERSION_2),
        MigrationStep::Convert(store::convert_window),
        MigrationStep::Sql("DROP TABLE window"),
    ],
    &[MigrationStep::Sql(VERSION_3), MigrationStep::Convert(store::convert_births)],
    &[MigrationStep::Sql(VERSION_4)],
    &[MigrationStep::Sql(VERSION_5)],
    &[MigrationStep::Sql(VERSION_6), MigrationStep::Convert(store::convert_final_rows)],
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

/// Seen ids in chunks in place of one row for each, the owner of the ledger, and the digest.
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
CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY,
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE digest (
    log INTEGER NOT NULL PRIMARY KEY,
    sum BLOB NOT NULL
) STRICT;
";

/// Birth times, the newest row of failure counters, and the identity of the ledger.
const VERSION_3: &str = "
ALTER TABLE log ADD COLUMN born INTEGER;
ALTER TABLE counter ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counter ADD COLUMN entry_id INTEGER;
ALTER TABLE histogram ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
CREATE TABLE instance (
    id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
";

/// History by minute; and the number of rows that were counted, which are in exactly one label set
/// each of the first family of their log.
const VERSION_4: &str = "
ALTER TABLE log ADD COLUMN sealed_until INTEGER;
CREATE TABLE history_open (
    log INTEGER NOT NULL PRIMARY KEY,
    origin INTEGER,
    whole INTEGER NOT NULL,
    without_time INTEGER NOT NULL,
    cells BLOB NOT NULL
) STRICT;
CREATE TABLE history_late (
    log INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    PRIMARY KEY (log, minute)
) STRICT, WITHOUT ROWID;
CREATE TABLE history_out (
    chunk INTEGER NOT NULL PRIMARY KEY,
    log INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE history_target (
    name TEXT NOT NULL PRIMARY KEY,
    chunk INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    sent INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE history_dropped (
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    samples INTEGER NOT NULL,
    PRIMARY KEY (target, reason)
) STRICT, WITHOUT ROWID;
INSERT OR REPLACE INTO counter (account, family, labels, value, born)
SELECT log.account, 'cryptolens_exporter_rows_counted_total', '[\"' || log.log || '\"]',
       coalesce(sum(value), 0), coalesce(log.born, 0)
FROM log LEFT JOIN counter
    ON counter.account = log.account AND family = 'cryptolens_' || CASE log.log
        WHEN 'web_api' THEN 'web_api' WHEN 'events' THEN 'event' WHEN 'objects' THEN 'object'
    END || '_log_entries_total'
GROUP BY log.id;
";

/// Sets of license keys and machines by day. All tables are empty as long as usage is off.
const VERSION_5: &str = "
CREATE TABLE usage_secret (
    id INTEGER NOT NULL PRIMARY KEY,
    fingerprint INTEGER NOT NULL,
    secret BLOB
) STRICT;
CREATE TABLE usage_account (
    account TEXT NOT NULL PRIMARY KEY,
    origin INTEGER NOT NULL,
    today INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_set (
    account TEXT NOT NULL,
    day INTEGER NOT NULL,
    product INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    members BLOB NOT NULL,
    PRIMARY KEY (account, day, product, subject)
) STRICT, WITHOUT ROWID;
";

/// Rows by day, and the number of rows at or below the floor. Days are complete from the one on
/// that no row was counted of before, with an hour between this machine's clock and the server's.
const VERSION_6: &str = "
ALTER TABLE log ADD COLUMN final_rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN days_from INTEGER NOT NULL DEFAULT 0;
CREATE TABLE day (
    account TEXT NOT NULL,
    log TEXT NOT NULL,
    day INTEGER NOT NULL,
    product INTEGER NOT NULL,
    success INTEGER NOT NULL,
    failure INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    PRIMARY KEY (account, log, day, product)
) STRICT, WITHOUT ROWID;
UPDATE log SET days_from =
    max((max(mark, 0) + 86399) / 86400, iif(watermark > 0, (watermark + 3600) / 86400 + 1, 0));
";

/// The last version of the schema that had no birth times.
const WITHOUT_BIRTHS: u32 = 2;

/// The first version of the schema, which had neither a digest nor the API that it belongs to.
const FIRST: u32 = 1;

/// The reason why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error(
        "{path}: another process uses this ledger; stop it, or give this one a --storage.path of its own"
    )]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// A later version wrote the ledger.
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
    /// An earlier version wrote the ledger, and only its writer migrates it.
    #[error(
        "{path}: the ledger has schema {found}, which an earlier version wrote, and this version reads {known}; start `cryptolens-exporter serve` of this version once with the same --storage.path: it migrates the ledger and keeps a copy of the old one"
    )]
    Older {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The one that is read here.
        known: u32,
    },
    /// There is no ledger, where one is only read.
    #[error(
        "{path}: there is no ledger; `cryptolens-exporter serve` makes it in the directory of its --storage.path"
    )]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The ledger belongs to another API, or to the demo.
    #[error("{path}: this ledger belongs to {found}, not to {expected}; {}", advice(found, expected))]
    Foreign {
        /// The ledger.
        path: PathBuf,
        /// The owner in the file.
        found: LedgerAddress,
        /// The owner that this process works for.
        expected: LedgerAddress,
    },
    /// Its sets of usage have the hashes of another secret.
    #[error(
        "{path}: {reason}; name the file with the secret that it was written with, or start once with --usage.active=false, which deletes the sets of usage and nothing else"
    )]
    Secret {
        /// The ledger.
        path: PathBuf,
        /// Which secret it was written with.
        reason: OtherSecret,
    },
    /// A failure that may pass, such as that of a full, missing or read-only disk.
    #[error("{path}: {reason}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// The reason of the operating system or SQLite.
        reason: String,
    },
    /// The file is no ledger, or cannot be read.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// The reason of SQLite.
        reason: String,
    },
}

/// Decides about a ledger that belongs to another address or to the demo.
fn advice(found: &LedgerAddress, expected: &LedgerAddress) -> &'static str {
    match (found.is_demo(), expected.is_demo()) {
        (_, true) => "give the demo a --storage.path of its own",
        (true, false) => {
            "give this account a --storage.path of its own, or start once with --storage.foreign-ledger=set-aside to move the demo's ledger aside and begin a new one"
        }
        (false, false) => {
            "if it is the same account at a new address, start once with --storage.foreign-ledger=adopt; else give this account a --storage.path of its own, or start once with --storage.foreign-ledger=set-aside to begin a new ledger"
        }
    }
}

/// What went wrong with a file, without its path, which rusqlite adds where SQLite cannot open it.
pub(super) fn reason_of(path: &Path, error: &dyn std::error::Error) -> String {
    let reason = error.to_string();
    reason.strip_suffix(&format!(": {}", path.display())).map(str::to_owned).unwrap_or(reason)
}

/// The schema that this version reads.
pub(super) fn known_schema() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The owner that opens a ledger, and the decision about a ledger of another owner.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) address: LedgerAddress,
    pub(super) foreign: ForeignLedger,
}

/// The options of an opening.
pub(super) struct Opening<'a> {
    pub(super) migrations: &'a [&'a [MigrationStep]],
    pub(super) claim: &'a Claim,
    pub(super) configured: &'a Configured,
    /// The options of history; `None` if there is no target.
    pub(super) history: Option<&'a HistoryOptions>,
    /// The options of usage; `None` if it is off.
    pub(super) usage: Option<&'a UsageOptions>,
    /// The lowest value that the number of moved files may have afterwards.
    pub(super) resets: u64,
    /// The time of the opening.
    pub(super) moment: BirthTime,
}

/// A ledger that is open, verified and owned.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) accounts: Accounts,
    pub(super) resets: u64,
    pub(super) instance_id: Arc<str>,
    pub(super) digest: Digest,
    /// `None` if there is no target.
    pub(super) history: Option<HistoryStore>,
    /// `None` if it is off.
    pub(super) usage: Option<UsageStore>,
    /// The time up to which days that are no longer kept were deleted, in Unix seconds.
    pub(super) days_forgotten: i64,
    /// True if sets of usage were deleted, whose bytes are still in the write-ahead log.
    pub(super) forgot: bool,
    /// A random number of this opening. A process that finds another one in the file has lost the
    /// ledger to a later process.
    pub(super) owner: u64,
    /// Changes with each commit of another connection.
    pub(super) data_version: i64,
}

/// The keys of the table `meta`.
pub(super) const RESETS: &str = "resets";
pub(super) const OWNER: &str = "owner";

/// The paths of the ledger's files.
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
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(unusable)?;
        // The lock is on a separate file, because closing any handle on the database drops SQLite's
        // own locks on it.
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // A process that is ending gets the time for it.
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_TIMEOUT => {
                    std::thread::sleep(LOCK_TIMEOUT / 20);
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: self.database() }),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }

    /// Opens the database, verifies it, migrates its schema, and records this process as its owner.
    /// All that is returned comes from that one transaction, so it is right as long as no other
    /// process takes the ledger over.
    ///
    /// `read` gets the state that was read, also if the disk is full and nothing can be written.
    pub(super) fn open(
        &self,
        opening: &Opening<'_>,
        opened: impl Fn(&Connection) -> rusqlite::Result<()>,
        read: &mut Option<Committed>,
    ) -> Result<Opened, OpenError> {
        let path = self.database();
        let found = self.open_verified(opening, opened, read);
        found.map_err(|error| match error {
            OpenRefusal::Open(error) => error,
            OpenRefusal::Store(error) => self.classify(&path, &error),
        })
    }

    fn open_verified(
        &self,
        opening: &Opening<'_>,
        opened: impl Fn(&Connection) -> rusqlite::Result<()>,
        read: &mut Option<Committed>,
    ) -> Result<Opened, OpenRefusal> {
        let Opening { migrations, claim, configured, history, usage, resets, moment } = *opening;
        let path = self.database();
        let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        create_private(&path);
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Deleted sets of usage must be gone from the file, also if usage is off now.
        let deletes: i64 = connection.pragma_query_value(None, "secure_delete", |row| row.get(0))?;
        connection.pragma_update(None, "secure_delete", true)?;
        opened(&connection)?;
        let before = self.version(&connection)?;
        // A file of the first version has no digest. With one, its number is damaged, which the
        // digest shows below.
        if before > 0 && before < known && (before > FIRST || !Digest::is_kept(&connection)?) {
            check_integrity(&connection)?;
            if before > FIRST {
                Digest::verify(&connection)?;
            }
            // A ledger that is refused needs no copy.
            refuse_foreign(&path, claim, self.addresses(&connection, before)?.values())?;
            self.copy_before_migration(&connection, before)?;
        }

        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = self.version(&transaction)?;
        // Checking and loading read the whole file, so they do it side by side. No one else can
        // write meanwhile, so that both see the same, and what is loaded from a file that is not
        // whole is dropped. Both checks share a thread: of a ledger without a backlog of history they
        // take as long as loading, and on two cores a third thread would only keep loading waiting.
        // Loading takes memory, which a thread that ends would leave scattered.
        let (digest, loaded) = std::thread::scope(|scope| {
            let checking = scope.spawn(|| check_beside(&path, found));
            let loaded = if found == known { store::load(&transaction).ok() } else { None };
            let digest = match checking.join().ok().flatten() {
                Some(digest) => digest,
                // This connection says why, or checks where no other one can be had.
                None => check(&transaction, found)?,
            };
            Ok::<_, StoreError>((digest, loaded))
        })?;
        if found > known {
            return Err(OpenError::Newer { path, found, known }.into());
        }
        let addresses = self.addresses(&transaction, found)?;
        refuse_foreign(&path, claim, addresses.values())?;
        for (version, migration) in (0u32..).zip(migrations) {
            if version >= found {
                apply(&transaction, migration)?;
            }
        }
        let mut edit = Edit { transaction: &transaction, digest: Digest::default() };
        match &digest {
            Some(digest) if found == known => edit.digest = digest.clone(),
            _ => {
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", known)?;
                edit.digest = Digest::scan(&transaction)?;
            }
        }
        let kept = store::addresses(&transaction)?;
        let all = kept.keys().map(String::as_str).chain(configured.keys().map(|name| &**name));
        for account in all.collect::<std::collections::BTreeSet<_>>() {
            store::keep_address(&mut edit, account, kept.get(account), &claim.address)?;
        }
        // Nothing above changes what is loaded, but for a migration.
        let loaded = match loaded {
            Some(accounts) => accounts,
            None => store::load(&transaction)?,
        };
        let instance_id: Arc<str> = store::instance_id(&transaction)?.into();
        // A new file has no number yet. It may be new because another one was moved aside right
        // before the process ended.
        let before = store::meta(&transaction, RESETS)?.unwrap_or_else(|| self.count_aside());
        let resets = before.max(resets);
        let history = history.map(|options| HistoryStore::read(&transaction, options)).transpose()?;
        *read = Some(Committed {
            accounts: loaded.clone(),
            resets,
            instance_id: Arc::clone(&instance_id),
            history: history.as_ref().map(|history| Arc::clone(history.committed())),
            usage: None,
        });
        let mut accounts = loaded;
        for (account, products) in configured {
            let state = accounts.entry(Arc::clone(account)).or_default();
            Arc::make_mut(&mut state.products).configure(products);
        }
        let owner = rand::random_range(1..=u64::from(u32::MAX));
        let written = (|| {
            // The label sets at 0 of products that were configured, and of families that were
            // added, since the file was written.
            for (account, state) in &mut accounts {
                let delta = state.at_zero();
                *state = state.with(&delta, |log| {
                    // Versions without birth times showed them at 0 without a row, as long as they
                    // counted.
                    let origin = state.logs.get(&log).and_then(|log| log.born);
                    origin.filter(|_| found <= WITHOUT_BIRTHS).unwrap_or(moment)
                });
                delta.save(&state.tally, &mut LedgerSink { edit: &mut edit, account })?;
            }
            store::set_meta(&mut edit, RESETS, resets)?;
            store::set_meta(&mut edit, OWNER, owner)?;
            match &history {
                Some(history) => history.keep_targets(&mut edit)?,
                None => history::pause(&mut edit)?,
            }
            let (usage, forgot) = match usage {
                Some(options) => (Some(UsageStore::open(&mut edit, options, configured)?), false),
                None => (None, usage::forget(&mut edit)?),
            };
            edit.digest.keep(digest.as_ref().filter(|_| found == known), &transaction)?;
            Ok::<_, StoreError>((usage, forgot))
        })();
        let Edit { digest, .. } = edit;
        #[cfg(test)]
        tests::abort_if_asked();
        let (usage, forgot) = written?;
        transaction.commit()?;
        make_durable(&connection)?;
        if usage.is_none() {
            connection.pragma_update(None, "secure_delete", deletes)?;
        }
        let data_version = data_version(&connection)?;
        if found > 0 && found < known {
            tracing::info!(
                ledger = %path.display(),
                from = found,
                to = known,
                copy = %self.copy_of(found).display(),
                "ledger schema migrated; the copy of the old file stays until the next start"
            );
        } else {
            (FIRST..known).for_each(|version| self.remove_copy_of(version));
        }
        *read = None;
        Ok(Opened {
            connection,
            accounts,
            resets,
            instance_id,
            digest,
            history,
            usage,
            days_forgotten: i64::MIN,
            forgot,
            owner,
            data_version,
        })
    }

    /// The version of the schema; 0 for a file that was never written.
    fn version(&self, connection: &Connection) -> Result<u32, StoreError> {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if application == 0 && version == 0 && tables == 0 {
            return Ok(0);
        }
        if application != APPLICATION_ID {
            return Err(StoreError::Damaged("it was not written by cryptolens-exporter".to_owned()));
        }
        let version = u32::try_from(version).ok().filter(|version| *version > 0);
        version.ok_or_else(|| StoreError::Damaged("it has no schema number".to_owned()))
    }

    /// The owner of the ledger. The first version did not record it, but the demo keeps the
    /// parameters of its simulation beside its ledger.
    fn addresses(
        &self,
        connection: &Connection,
        version: u32,
    ) -> Result<BTreeMap<String, LedgerAddress>, StoreError> {
        match version {
            0 => Ok(BTreeMap::new()),
            FIRST if self.directory.join(DEMO_WORLD).exists() => {
                Ok(BTreeMap::from([(String::new(), LedgerAddress::demo())]))
            }
            FIRST => Ok(BTreeMap::new()),
            _ => Ok(store::addresses(connection)?),
        }
    }

    /// The copy of a ledger of an earlier version.
    fn copy_of(&self, version: u32) -> PathBuf {
        self.directory.join(format!("ledger.db.v{version}"))
    }

    /// Copies a ledger of an earlier version, with all that is in its write-ahead log.
    fn copy_before_migration(&self, connection: &Connection, version: u32) -> Result<(), OpenRefusal> {
        let (copy, draft) = (self.copy_of(version), self.directory.join("ledger.db.copy.new"));
        copy_database(connection, &draft)?;
        std::fs::rename(&draft, &copy)
            .map_err(|error| OpenError::Unusable { path: copy, reason: error.to_string() })?;
        Ok(())
    }

    fn remove_copy_of(&self, version: u32) {
        let copy = self.copy_of(version);
        match std::fs::remove_file(&copy) {
            Ok(()) => {
                tracing::info!(path = %copy.display(), "removed the copy from before the schema was migrated")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %copy.display(), %error, "cannot remove the copy from before the schema was migrated")
            }
        }
    }

    /// Writes the database again, from a connection to a file that was deleted.
    pub(super) fn write_again(&self, connection: &Connection) -> Result<(), OpenError> {
        let (path, draft) = (self.database(), self.directory.join("ledger.db.new"));
        let unusable =
            |error: io::Error| OpenError::Unusable { path: path.clone(), reason: error.to_string() };
        copy_database(connection, &draft).map_err(|error| self.classify(&path, &error))?;
        // SQLite would replay the write-ahead log of the deleted file into the new one.
        for suffix in ["-wal", "-shm"] {
            match std::fs::remove_file(with_suffix(&path, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
                _ => {}
            }
        }
        std::fs::rename(&draft, &path).map_err(unusable)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(unusable)
    }

    /// The files that are there now.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        let database = self.database();
        Ok(Identity { database: inode(&database)?, log: inode(&with_suffix(&database, "-wal")).ok() })
    }

    /// Removes the write-ahead log of a database that was replaced by another file: SQLite would
    /// replay it into that one.
    pub(super) fn remove_log_of(&self, replaced: Option<Identity>) {
        let log = with_suffix(&self.database(), "-wal");
        let is_its = replaced
            .and_then(|replaced| replaced.log)
            .is_some_and(|of| inode(&log).is_ok_and(|log| log == of));
        if is_its {
            // The next start notices a file that could not be removed.
            let _ = std::fs::remove_file(log);
            let _ = std::fs::remove_file(with_suffix(&self.database(), "-shm"));
        }
    }

    /// True if a lock is on the file that is in the directory.
    pub(super) fn is_lock(&self, lock: &File) -> bool {
        let held = lock.metadata().map(|held| (held.dev(), held.ino()));
        matches!((held, inode(&self.lock())), (Ok(held), Ok(there)) if held == there)
    }

    /// Tells a damaged file from a disk that fails and from a process that holds the file.
    fn classify(&self, path: &Path, error: &StoreError) -> OpenError {
        let (path, reason) = (path.to_owned(), reason_of(path, error));
        if let StoreError::Secret(reason) = error {
            return OpenError::Secret { path, reason: *reason };
        }
        let StoreError::Sqlite(sqlite) = error else { return OpenError::Corrupt { path, reason } };
        match sqlite.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
            // SQLite also reports a file with a damaged header as one that cannot be written.
            Some(ErrorCode::ReadOnly) if self.can_write() => OpenError::Corrupt { path, reason },
            Some(_) if may_pass(error) => OpenError::Unusable { path, reason },
            // The SQL is right, so the schema of the file is wrong.
            Some(_) => OpenError::Corrupt { path, reason },
            None if is_damage(error) => OpenError::Corrupt { path, reason },
            None => OpenError::Unusable { path, reason },
        }
    }

    fn can_write(&self) -> bool {
        rustix::fs::access(self.database(), Access::WRITE_OK).is_ok()
            && tempfile::tempfile_in(&self.directory).is_ok()
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

    /// The number of databases that were moved aside and are still there.
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

/// The file in which the demo keeps the parameters of its simulation.
pub(crate) const DEMO_WORLD: &str = "demo.json";

/// The identity of files, by device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) database: (u64, u64),
    /// The write-ahead log.
    pub(super) log: Option<(u64, u64)>,
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// The reason why a file was not opened: a decision, or an error whose cause is not known yet.
enum OpenRefusal {
    Open(OpenError),
    Store(StoreError),
}

impl From<OpenError> for OpenRefusal {
    fn from(error: OpenError) -> OpenRefusal {
        OpenRefusal::Open(error)
    }
}

impl<E: Into<StoreError>> From<E> for OpenRefusal {
    fn from(error: E) -> OpenRefusal {
        OpenRefusal::Store(error.into())
    }
}

/// True if an error of an open ledger means that its file is damaged. All other errors may pass.
/// The answer holds only if no other process wrote the file.
pub(super) fn is_damage(error: &StoreError) -> bool {
    use rusqlite::Error;
    match error {
        StoreError::Chunk(_) | StoreError::Damaged(_) => true,
        StoreError::AlreadyCounted
        | StoreError::Backwards
        | StoreError::TakenOver
        | StoreError::Secret(_) => false,
        StoreError::Sqlite(error) => match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::InvalidColumnIndex(_)
            | Error::InvalidColumnName(_)
            | Error::Utf8Error(..)
            | Error::QueryReturnedNoRows
            | Error::QueryReturnedMoreThanOneRow => true,
            error => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ConstraintViolation
                        | ErrorCode::TypeMismatch
                )
            ),
        },
    }
}

/// True if an error may come from a disk that does not answer, or from a process that holds the
/// file.
pub(super) fn may_pass(error: &StoreError) -> bool {
    let StoreError::Sqlite(error) = error else { return false };
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
        )
    )
}

fn refuse_foreign<'a>(
    path: &Path,
    claim: &Claim,
    mut addresses: impl Iterator<Item = &'a LedgerAddress>,
) -> Result<(), OpenError> {
    let is_foreign = |address: &&LedgerAddress| {
        let is_adopted =
            claim.foreign == ForeignLedger::Adopt && !address.is_demo() && !claim.address.is_demo();
        **address != claim.address && !is_adopted
    };
    match addresses.find(is_foreign) {
        None => Ok(()),
        Some(found) => Err(OpenError::Foreign {
            path: path.to_owned(),
            found: found.clone(),
            expected: claim.address.clone(),
        }),
    }
}

fn check_integrity(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(found)) }
}

/// The digest of a file that is whole, by the number of its schema; none for an empty file, and for
/// one of the first version, which had none.
fn check(connection: &Connection, found: u32) -> Result<Option<Digest>, StoreError> {
    check_integrity(connection)?;
    match found {
        0 => Ok(None),
        FIRST if !Digest::is_kept(connection)? => Ok(None),
        _ => Digest::verify(connection).map(Some),
    }
}

/// As [`check`], over a connection of its own, of a file that another one has locked against changes;
/// `None` if the file is not whole, or if that cannot be said.
fn check_beside(path: &Path, found: u32) -> Option<Option<Digest>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    connection.pragma_update(None, "cache_size", CHECK_CACHE_PAGES).ok()?;
    check(&connection, found).ok()
}

/// Pages of 4 KiB. The default of 500 would keep pages in memory that are looked at once.
const CHECK_CACHE_PAGES: i64 = 64;

/// See [`Opened::data_version`].
pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// Creates a file that only its owner can read, if there is none: the ledger may hold the secret by which
/// keys and machines are hashed. SQLite gives its other files the same permissions. Where that fails,
/// opening says why.
fn create_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// Copies a database into a new file.
fn copy_database(from: &Connection, to: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        // The rest of a copy that was interrupted.
        let _ = std::fs::remove_file(with_suffix(to, suffix));
    }
    create_private(to);
    let mut copy = Connection::open(to)?;
    Backup::new(from, &mut copy)?.run_to_completion(PAGES_A_STEP, Duration::ZERO, None)?;
    Ok(())
}

/// Far more pages than a ledger has, so that the copy is one step: the only connection that writes
/// waits for it.
const PAGES_A_STEP: i32 = 1 << 20;

fn apply(transaction: &Transaction<'_>, migration: &[MigrationStep]) -> Result<(), StoreError> {
    migration.iter().try_for_each(|step| match step {
        MigrationStep::Sql(sql) => Ok(transaction.execute_batch(sql)?),
        MigrationStep::Convert(convert) => convert(transaction),
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
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    // A commit with history uses some 30 statements. Fewer than that kept (16 without this) would
    // be prepared again for nearly every row, as the one that is used next is the one dropped last.
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

/// Prepared statements that the connection keeps.
const STATEMENTS_KEPT: usize = 128;

#[cfg(test)]
pub(super) use tests::abort_before_commit;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    static ABORT: AtomicBool = AtomicBool::new(false);

    /// Lets this process abort at the commit of an opening.
    pub(in crate::ledger) fn abort_before_commit() {
        ABORT.store(true, Ordering::SeqCst);
    }

    pub(super) fn abort_if_asked() {
        if ABORT.load(Ordering::SeqCst) {
            std::process::abort();
        }
    }

    fn claim(foreign: ForeignLedger) -> Claim {
        Claim { address: LedgerAddress::of(&"https://api.example.com".parse().unwrap()), foreign }
    }

    fn open_with(folder: &Path, migrations: &[&[MigrationStep]]) -> Result<Opened, OpenError> {
        let configured = Configured::from([(Arc::from("default"), Vec::new())]);
        let claim = claim(ForeignLedger::Refuse);
        let moment = BirthTime::at_seconds(1);
        let opening = Opening {
            migrations,
            claim: &claim,
            configured: &configured,
            history: None,
            usage: None,
            resets: 0,
            moment,
        };
        Files::new(folder).open(&opening, |_| Ok(()), &mut None)
    }

    fn open(folder: &Path) -> Result<Opened, OpenError> {
        open_with(folder, MIGRATIONS)
    }

    /// Updates the digest to the changed file.
    fn sign(connection: &Connection) {
        Digest::scan(connection).unwrap().keep(None, connection).unwrap();
    }

    #[test]
    fn commits_are_durable_and_the_file_says_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(folder.path()).unwrap().connection;
        let text =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        let number =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("application_id"), i64::from(APPLICATION_ID));
        assert_eq!(number("user_version"), 6);
        let kept = store::addresses(&connection).unwrap();
        assert_eq!(kept, BTreeMap::from([("default".to_owned(), claim(ForeignLedger::Refuse).address)]));
    }

    const LATER: &[MigrationStep] = &[MigrationStep::Sql("ALTER TABLE product ADD COLUMN later INTEGER")];

    #[test]
    fn migrations_are_applied_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        for _ in 0..2 {
            let later = [MIGRATIONS, &[LATER]].concat();
            let connection = open_with(folder.path(), &later).unwrap().connection;
            connection.execute("INSERT OR IGNORE INTO product VALUES ('a', 1, 'b', 7)", []).unwrap();
            sign(&connection);
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_old_schema() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        let bad: &[MigrationStep] = &[MigrationStep::Sql("CREATE TABLE b (x); CREATE TABLE log (x);")];
        assert!(open_with(folder.path(), &[MIGRATIONS, &[bad]].concat()).is_err());
        let connection = open(folder.path()).unwrap().connection;
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'b'";
        assert_eq!(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }

    #[test]
    fn a_newer_schema_is_refused_if_it_is_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        open_with(folder.path(), &[MIGRATIONS, &[LATER]].concat()).unwrap();
        let refused = open(folder.path());
        assert!(matches!(refused, Err(OpenError::Newer { found: 7, known: 6, .. })));
        let message = refused.err().unwrap().to_string();
        assert!(
            message.contains("the ledger has schema 7") && message.contains("run a newer version"),
            "{message}"
        );

        let folder = tempfile::tempdir().unwrap();
        let connection = open(folder.path()).unwrap().connection;
        connection.pragma_update(None, "user_version", 7).unwrap();
        drop(connection);
        assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })), "a damaged number");
    }

    #[test]
    fn only_the_owner_can_read_a_new_database_and_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("ledger.db"), folder.path().join("copy.db"));
        create_private(&path);
        let connection = Connection::open(&path).unwrap();
        make_durable(&connection).unwrap();
        connection.execute_batch("CREATE TABLE theirs (x);").unwrap();
        copy_database(&connection, &copy).unwrap();
        for file in [path.clone(), with_suffix(&path, "-wal"), with_suffix(&path, "-shm"), copy] {
            assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn what_is_no_ledger_is_told_from_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "").unwrap();
        assert!(open(folder.path()).is_ok(), "an empty file is a ledger that was never written");

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a database, but long enough to be taken for one".repeat(100)).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })));

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x);").unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })));

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
