//! The directory of the archive: its lock, its state, and how files in it become visible.
//!
//! ```text
//! DIR/web_api_log/account=NAME/date=2026-01-31/0000000000000000101-0000000000000000205.parquet
//! DIR/_state/lock, archive.json, NAME.web_api.json, NAME.web_api.1.tmp
//! ```
//!
//! Promises: a file is written in `_state`, is on disk as a whole before the state names it, and
//! then gets its name in one step, which replaces nothing; after that it is never touched again.
//! What the state does not name is deleted, and nothing else. At each step the process may end: the
//! next one completes what is named, and no range of ids is written twice. Nothing is written where
//! another directory has taken the place of the one that was opened. The directory knows neither
//! logs nor the API.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::{ArchiveError, ArchiveMismatch, ArchiveUnusable};
use super::journal::{LogJournal, PreparedFile};
use super::key::ArchiveKey;
use super::settings::{ArchiveIdentities, ArchiveSettings};

/// Readers of Hive partitions skip directories whose name begins with an underscore.
const STATE: &str = "_state";

const LOCK: &str = "lock";

/// The longest wait for the end of somebody else who holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The moments between two steps of writing a range, for tests that stop there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchiveStep {
    /// Some rows were written into a temporary file.
    RowsWritten,
    /// All temporary files are on disk.
    FilesWritten,
    /// The state names them.
    Prepared,
    /// A file was renamed.
    Renamed,
    /// All files were renamed, and the directories are on disk.
    Visible,
    /// The state says that the range is archived.
    Completed,
}

/// Looks on; a test's way to make a step fail.
pub(super) trait ArchiveObserver: Send + Sync + 'static {
    fn at(&self, _: ArchiveStep) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody looks on.
pub(super) struct NoObserver;

impl ArchiveObserver for NoObserver {}

/// The properties that all files of an archive share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ArchiveHeader {
    version: u32,
    identities: String,
    /// The fingerprint of the key; `None` if there are no pseudonyms.
    key: Option<String>,
}

const HEADER: &str = "archive.json";
const HEADER_VERSION: u32 = 1;

impl ArchiveHeader {
    fn read(root: &Path) -> Result<Option<ArchiveHeader>, ArchiveError> {
        let path = root.join(STATE).join(HEADER);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(ArchiveError::disk(&path, error)),
        };
        let parsed: Result<ArchiveHeader, _> = serde_json::from_slice(&text);
        match parsed {
            Ok(header) if header.version == HEADER_VERSION => Ok(Some(header)),
            Ok(header) => {
                let reason = format!("it has version {}", header.version);
                Err(ArchiveError::State { path, reason })
            }
            Err(error) => Err(ArchiveError::State { path, reason: error.to_string() }),
        }
    }
}

/// How rows are written without naming anybody.
#[derive(Clone)]
pub(super) enum RowIdentities {
    Keyed(ArchiveKey),
    Full,
    None,
}

impl RowIdentities {
    fn fingerprint(&self) -> Option<String> {
        match self {
            RowIdentities::Keyed(key) => Some(key.fingerprint()),
            RowIdentities::Full | RowIdentities::None => None,
        }
    }
}

/// Compares the settings with an archive that is there.
fn compare(
    settings: &ArchiveSettings,
    header: &ArchiveHeader,
    key: Option<&ArchiveKey>,
) -> Result<(), ArchiveMismatch> {
    let path = settings.path.clone();
    if header.identities != settings.identities.name() {
        let (found, wanted) = (header.identities.clone(), settings.identities.name());
        return Err(ArchiveMismatch::Identities { path, found, wanted });
    }
    let Some(found) = header.key.clone() else { return Ok(()) };
    let key_file = settings.key_file.clone();
    match key.map(ArchiveKey::fingerprint) {
        None => Err(ArchiveMismatch::NoKey { path, found, key_file }),
        Some(wanted) if wanted != found => Err(ArchiveMismatch::Key { path, found, key_file, wanted }),
        Some(_) => Ok(()),
    }
}

/// The key that the settings name, if one is needed and there.
fn read_key(settings: &ArchiveSettings) -> Result<Option<ArchiveKey>, ArchiveError> {
    match settings.identities {
        ArchiveIdentities::Masked => ArchiveKey::read(&settings.key_file)
            .map_err(|error| ArchiveError::disk(&settings.key_file, error)),
        ArchiveIdentities::Full | ArchiveIdentities::None => Ok(None),
    }
}

/// Sees whether the settings fit an archive that is there, as far as it can be read.
///
/// # Errors
/// They do not.
pub fn check_archive(settings: &ArchiveSettings) -> Result<(), ArchiveMismatch> {
    let (Ok(Some(header)), Ok(key)) = (ArchiveHeader::read(&settings.path), read_key(settings)) else {
        // The archiver reports a disk that fails, and tries again.
        return Ok(());
    };
    compare(settings, &header, key.as_ref())
}

/// What is known of an archive that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveProbe {
    /// It can be written, or begun.
    Writable,
    /// The same, and another process archives there now.
    InUse,
}

/// Sees whether an archive can be written with these settings. Nothing of the trial stays.
///
/// # Errors
/// Why it cannot be written.
pub fn probe_archive(settings: &ArchiveSettings) -> Result<ArchiveProbe, ArchiveUnusable> {
    let (header, key) = (ArchiveHeader::read(&settings.path)?, read_key(settings)?);
    if let Some(header) = &header {
        compare(settings, header, key.as_ref()).map_err(ArchiveError::Mismatch)?;
    }
    let state = settings.path.join(STATE);
    // What is missing is made at the start.
    let existing = state.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let tried = tempfile::Builder::new().prefix(".cryptolens-exporter-check-").tempfile_in(existing);
    tried.map_err(|error| ArchiveError::disk(existing, error))?;
    let in_use = File::open(state.join(LOCK)).is_ok_and(|lock| {
        // Free again when it is dropped; a process that starts meanwhile waits for that.
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    });
    Ok(if in_use { ArchiveProbe::InUse } else { ArchiveProbe::Writable })
}

/// An archive that only this process writes.
pub(super) struct ArchiveDirectory {
    root: PathBuf,
    identities: RowIdentities,
    observer: Box<dyn ArchiveObserver>,
    lock: File,
}

impl ArchiveDirectory {
    /// Opens an archive, or begins one.
    pub(super) fn open(
        settings: &ArchiveSettings,
        observer: Box<dyn ArchiveObserver>,
    ) -> Result<ArchiveDirectory, ArchiveError> {
        let root = settings.path.clone();
        let state = root.join(STATE);
        std::fs::create_dir_all(&state).map_err(|error| ArchiveError::disk(&state, error))?;
        sync_directory(&root).map_err(|error| ArchiveError::disk(&root, error))?;
        // Not everybody may read the directory above, and it was mostly not made here.
        let _ = root.parent().map(sync_directory);
        let path = state.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|error| ArchiveError::disk(&path, error))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A task that is ending, as at a reload, gets the time for it.
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_TIMEOUT => {
                    std::thread::sleep(LOCK_TIMEOUT / 20);
                }
                Err(TryLockError::WouldBlock) => return Err(ArchiveError::Locked(root)),
                Err(TryLockError::Error(error)) => return Err(ArchiveError::disk(&path, error)),
            }
        }
        let (header, key) = (ArchiveHeader::read(&root)?, read_key(settings)?);
        if let Some(header) = &header {
            compare(settings, header, key.as_ref())?;
        }
        let identities = match (settings.identities, key) {
            (ArchiveIdentities::Full, _) => RowIdentities::Full,
            (ArchiveIdentities::None, _) => RowIdentities::None,
            (ArchiveIdentities::Masked, Some(key)) => RowIdentities::Keyed(key),
            (ArchiveIdentities::Masked, None) => {
                let path = &settings.key_file;
                let key = ArchiveKey::create(path).map_err(|error| ArchiveError::disk(path, error))?;
                tracing::info!(
                    key_file = %path.display(),
                    fingerprint = key.fingerprint(),
                    "made the key of the pseudonyms in the archive; back it up: without it, rows of later years cannot be joined with those of today"
                );
                RowIdentities::Keyed(key)
            }
        };
        let directory = ArchiveDirectory { root, identities, observer, lock };
        if header.is_none() {
            let header = ArchiveHeader {
                version: HEADER_VERSION,
                identities: settings.identities.name().to_owned(),
                key: directory.identities.fingerprint(),
            };
            directory.write_state(HEADER, &header)?;
        }
        Ok(directory)
    }

    pub(super) const fn identities(&self) -> &RowIdentities {
        &self.identities
    }

    /// A step was reached.
    pub(super) fn reached(&self, step: ArchiveStep) -> Result<(), ArchiveError> {
        self.observer.at(step).map_err(|error| ArchiveError::disk(&self.root, error))
    }

    fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// Sees whether this is still the directory that was opened: a volume may have been mounted
    /// over it, or a backup put in its place, whose state is another one.
    fn is_the_same(&self) -> Result<(), ArchiveError> {
        let path = self.state().join(LOCK);
        let there = std::fs::metadata(&path).map_err(|error| ArchiveError::disk(&path, error))?;
        let opened = self.lock.metadata().map_err(|error| ArchiveError::disk(&path, error))?;
        if (there.dev(), there.ino()) == (opened.dev(), opened.ino()) {
            Ok(())
        } else {
            Err(ArchiveError::Replaced(self.root.clone()))
        }
    }

    /// Waits until the names of temporary files are on disk.
    pub(super) fn sync_state(&self) -> Result<(), ArchiveError> {
        sync_directory(&self.state()).map_err(|error| ArchiveError::disk(&self.state(), error))
    }

    /// The state of a log; `None` if it was never archived here.
    pub(super) fn read_journal(&self, log: &str) -> Result<Option<LogJournal>, ArchiveError> {
        let path = self.state().join(format!("{log}.json"));
        match std::fs::read(&path) {
            Ok(text) => {
                LogJournal::parse(&text).map(Some).map_err(|reason| ArchiveError::State { path, reason })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ArchiveError::disk(&path, error)),
        }
    }

    /// Replaces the state of a log.
    pub(super) fn write_journal(&self, log: &str, journal: &LogJournal) -> Result<(), ArchiveError> {
        self.write_state(&format!("{log}.json"), journal)
    }

    fn write_state(&self, name: &str, value: &impl Serialize) -> Result<(), ArchiveError> {
        self.is_the_same()?;
        let (path, draft) = (self.state().join(name), self.state().join(format!("{name}.new")));
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(value)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            sync_directory(&self.state())
        };
        write().map_err(|error| ArchiveError::disk(&path, error))
    }

    /// Creates a temporary file. `name` comes back in [`PreparedFile::temporary`].
    pub(super) fn create_temporary(&self, name: &str) -> Result<File, ArchiveError> {
        self.is_the_same()?;
        let path = self.state().join(name);
        File::create(&path).map_err(|error| ArchiveError::disk(&path, error))
    }

    /// The error of writing a temporary file.
    pub(super) fn temporary_failed(&self, name: &str, error: io::Error) -> ArchiveError {
        ArchiveError::disk(&self.state().join(name), error)
    }

    /// Deletes the temporary files of a log that no state names.
    pub(super) fn delete_temporaries(&self, log: &str) -> Result<(), ArchiveError> {
        self.is_the_same()?;
        let prefix = format!("{log}.");
        let state = self.state();
        let delete = || {
            for entry in std::fs::read_dir(&state)? {
                let entry = entry?;
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".tmp"));
                if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        delete().map_err(|error| ArchiveError::disk(&state, error))
    }

    /// Gives files that the state names their names. What was renamed before stays as it is.
    pub(super) fn publish(&self, files: &[PreparedFile]) -> Result<(), ArchiveError> {
        self.is_the_same()?;
        let mut directories = BTreeSet::new();
        for PreparedFile { temporary, path } in files {
            let (from, to) = (self.state().join(temporary), self.root.join(path));
            let ancestors = to.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(&self.root));
            directories.extend(ancestors.map(Path::to_owned));
            let is_whole = from.try_exists().map_err(|error| ArchiveError::disk(&from, error))?;
            let is_there = to.try_exists().map_err(|error| ArchiveError::disk(&to, error))?;
            match (is_whole, is_there) {
                (true, true) => return Err(ArchiveError::Foreign(to)),
                (true, false) => {
                    let rename = || {
                        to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                        std::fs::rename(&from, &to)
                    };
                    rename().map_err(|error| ArchiveError::disk(&to, error))?;
                    self.reached(ArchiveStep::Renamed)?;
                }
                // It was renamed before this process started.
                (false, true) => {}
                (false, false) => tracing::warn!(
                    file = %to.display(),
                    "a file of the archive was moved or deleted right after it was written; its rows are not written again"
                ),
            }
        }
        for directory in directories {
            sync_directory(&directory).map_err(|error| ArchiveError::disk(&directory, error))?;
        }
        self.reached(ArchiveStep::Visible)
    }

    /// The highest id in the names of the files below a directory of the archive; 0 if there is
    /// none.
    pub(super) fn last_id(&self, below: &str) -> Result<i64, ArchiveError> {
        let below = self.root.join(below);
        let last_of = |directory: &Path| -> io::Result<i64> {
            let mut last = 0;
            for file in std::fs::read_dir(directory)? {
                let name = file?.file_name();
                last = name.to_str().and_then(last_id_of).unwrap_or(0).max(last);
            }
            Ok(last)
        };
        let scan = || -> io::Result<i64> {
            let mut last = 0;
            for date in std::fs::read_dir(&below)? {
                let date = date?;
                if date.file_type()?.is_dir() {
                    last = last_of(&date.path())?.max(last);
                }
            }
            Ok(last)
        };
        match scan() {
            Err(error) if is_absent(&error) => Ok(0),
            scanned => scanned.map_err(|error| ArchiveError::disk(&below, error)),
        }
    }
}

/// The last id in the name of a file that the archive wrote; `None` for one of somebody else.
fn last_id_of(name: &str) -> Option<i64> {
    let (first, last) = name.strip_suffix(".parquet")?.split_once('-')?;
    let is_id = |text: &str| text.len() == 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id(first) && is_id(last) { last.parse().ok() } else { None }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A name of an account as part of a file name: bytes other than `A-Z a-z 0-9 _ . -` as `%` and two
/// digits of hexadecimal, which is how readers of Hive partitions undo it.
pub(super) fn escaped(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let escape = |byte: u8| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ingest::Since;

    fn settings(folder: &Path, identities: ArchiveIdentities) -> ArchiveSettings {
        ArchiveSettings {
            path: folder.join("archive"),
            since: Since::All,
            interval: Duration::from_secs(86_400),
            delay: Duration::from_secs(3600),
            identities,
            key_file: folder.join("storage/archive.key"),
        }
    }

    fn open(settings: &ArchiveSettings) -> Result<ArchiveDirectory, ArchiveError> {
        ArchiveDirectory::open(settings, Box::new(NoObserver))
    }

    #[test]
    fn another_key_or_mode_is_refused_by_both_names() {
        let folder = tempfile::tempdir().unwrap();
        let masked = settings(folder.path(), ArchiveIdentities::Masked);
        assert_eq!(check_archive(&masked), Ok(()), "there is no archive yet");
        drop(open(&masked).unwrap());
        assert_eq!(check_archive(&masked), Ok(()));
        drop(open(&masked).unwrap());

        let full = settings(folder.path(), ArchiveIdentities::Full);
        let refused = check_archive(&full).unwrap_err().to_string();
        assert!(refused.contains("--archive.identities=masked, not with full"), "{refused}");
        assert_eq!(open(&full).err().unwrap().reason(), "identities");

        let kept = std::fs::read(&masked.key_file).unwrap();
        std::fs::remove_file(&masked.key_file).unwrap();
        assert!(matches!(check_archive(&masked), Err(ArchiveMismatch::NoKey { .. })));
        assert!(open(&masked).is_err() && !masked.key_file.exists(), "no new key for an old archive");
        let other = ArchiveKey::create(&masked.key_file).unwrap();
        let refused = check_archive(&masked).unwrap_err().to_string();
        assert!(refused.contains(&other.fingerprint()) && refused.contains("archive.key"), "{refused}");
        std::fs::write(&masked.key_file, kept).unwrap();
        assert_eq!(check_archive(&masked), Ok(()));
    }

    #[test]
    fn a_second_process_and_a_directory_that_cannot_be_used_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ArchiveIdentities::None);
        let first = open(&settings).unwrap();
        let refused = open(&settings).err().unwrap();
        assert!(matches!(refused, ArchiveError::Locked(_)));
        assert!(refused.to_string().contains("an --archive.path of its own"), "{refused}");
        drop(first);
        assert!(open(&settings).is_ok() && !settings.key_file.exists(), "no key without pseudonyms");

        std::fs::remove_dir_all(&settings.path).unwrap();
        std::fs::write(&settings.path, "a file").unwrap();
        let refused = open(&settings).err().unwrap();
        assert!(matches!(refused, ArchiveError::Disk { .. }), "{refused}");
        assert!(refused.to_string().contains("archive/_state"), "{refused}");
    }

    #[test]
    fn a_probe_finds_what_a_run_would_find_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ArchiveIdentities::Masked);
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(probe_archive(&settings).unwrap(), ArchiveProbe::Writable);
        assert_eq!(count(), 0, "neither a directory nor a key");
        let running = open(&settings).unwrap();
        assert_eq!(probe_archive(&settings).unwrap(), ArchiveProbe::InUse);
        drop(running);
        assert_eq!(probe_archive(&settings).unwrap(), ArchiveProbe::Writable);
        drop(open(&settings).unwrap());
        std::fs::remove_file(&settings.key_file).unwrap();
        let refused = probe_archive(&settings).unwrap_err().to_string();
        assert!(refused.contains("archive.key does not exist"), "{refused}");
        std::fs::remove_dir_all(&settings.path).unwrap();
        std::fs::write(&settings.path, "a file").unwrap();
        let refused = probe_archive(&settings).unwrap_err().to_string();
        assert!(refused.contains("archive"), "{refused}");
    }

    #[test]
    fn files_that_somebody_put_there_are_not_replaced_and_deleted_ones_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ArchiveIdentities::None);
        let directory = open(&settings).unwrap();
        let path = "event_log/account=a/date=2026-01-31/0000000000000000001-0000000000000000009.parquet";
        let prepared = |temporary: &str| {
            let mut file = directory.create_temporary(temporary).unwrap();
            file.write_all(temporary.as_bytes()).unwrap();
            vec![PreparedFile { temporary: temporary.to_owned(), path: path.to_owned() }]
        };
        let files = prepared("a.events.1.tmp");
        let target = settings.path.join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, "theirs").unwrap();
        assert!(matches!(directory.publish(&files), Err(ArchiveError::Foreign(_))));
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        std::fs::remove_file(&target).unwrap();
        directory.publish(&files).unwrap();
        directory.publish(&files).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"a.events.1.tmp");
        assert_eq!(directory.last_id("event_log/account=a").unwrap(), 9);
        // Of a file of somebody else, or every row up to that id would be left out.
        std::fs::write(target.with_file_name("export-20260131.parquet"), "theirs").unwrap();
        assert_eq!(directory.last_id("event_log/account=a").unwrap(), 9);
        assert_eq!(directory.last_id("event_log/account=b").unwrap(), 0);
        // A program that moves files on.
        std::fs::remove_file(&target).unwrap();
        directory.publish(&files).unwrap();
        prepared("a.events.2.tmp");
        prepared("a.events.x.2.tmp");
        directory.delete_temporaries("a.events").unwrap();
        let state = settings.path.join(STATE);
        assert!(!state.join("a.events.2.tmp").exists() && state.join("a.events.x.2.tmp").exists());
    }

    #[test]
    fn a_state_that_cannot_be_read_is_an_error_and_not_a_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ArchiveIdentities::None);
        let directory = open(&settings).unwrap();
        assert_eq!(directory.read_journal("a.events").unwrap(), None);
        let journal = LogJournal::begin(7, 1);
        directory.write_journal("a.events", &journal).unwrap();
        assert_eq!(directory.read_journal("a.events").unwrap(), Some(journal));
        std::fs::write(settings.path.join("_state/a.events.json"), "{").unwrap();
        let refused = directory.read_journal("a.events").unwrap_err();
        assert!(refused.to_string().contains("a.events.json") && refused.reason() == "state", "{refused}");
    }

    #[test]
    fn names_of_accounts_are_fit_for_a_directory() {
        assert_eq!(escaped("shop.EU-1_x"), "shop.EU-1_x");
        assert_eq!(escaped("a/b=c é%"), "a%2Fb%3Dc%20%C3%A9%25");
        assert_eq!(escaped(".."), "..");
    }
}
