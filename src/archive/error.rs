//! Why a run of the archive failed.

use std::io;
use std::path::{Path, PathBuf};

use crate::cryptolens::ApiError;
use crate::ledger::OpenError;

/// The archive was written with another key or other identities than the settings ask for. Waiting
/// does not help, and going on would write files that cannot be joined with the old ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveMismatch {
    /// Identities are written in another way.
    #[error(
        "{}: this archive was written with --archive.identities={found}, not with {wanted}; keep to {found}, or name another directory with --archive.path",
        .path.display()
    )]
    Identities {
        /// The directory.
        path: PathBuf,
        /// The value in the archive.
        found: String,
        /// The value in the settings.
        wanted: &'static str,
    },
    /// The pseudonyms have another key.
    #[error(
        "{}: the pseudonyms of this archive were made with the key {found}, and {} has the key {wanted}; restore the key file from its backup, or name another directory with --archive.path",
        .path.display(), .key_file.display()
    )]
    Key {
        /// The directory.
        path: PathBuf,
        /// The fingerprint of the archive's key.
        found: String,
        /// The file that was read.
        key_file: PathBuf,
        /// The fingerprint of its key.
        wanted: String,
    },
    /// The key is gone.
    #[error(
        "{}: the pseudonyms of this archive were made with the key {found}, and {} does not exist; restore the key file from its backup, or name another directory with --archive.path",
        .path.display(), .key_file.display()
    )]
    NoKey {
        /// The directory.
        path: PathBuf,
        /// The fingerprint of the archive's key.
        found: String,
        /// The file that is missing.
        key_file: PathBuf,
    },
}

/// Why a run failed. Nothing that is visible in the archive has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Another process holds the lock.
    #[error("{}: another process archives into this directory; give each exporter an --archive.path of its own", .0.display())]
    Locked(PathBuf),
    /// The disk: full, read-only, gone.
    #[error("{}: {error}", .path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// The reason of the operating system.
        error: io::Error,
    },
    /// Another directory has taken the place of the one that was opened.
    #[error("{}: another directory is here now than the one that was opened; it is opened again", .0.display())]
    Replaced(PathBuf),
    /// A setting does not fit the archive.
    #[error(transparent)]
    Mismatch(#[from] ArchiveMismatch),
    /// A file is where a new one belongs, and the archive replaces none.
    #[error("{}: a file is here that this archive did not write; move it away", .0.display())]
    Foreign(PathBuf),
    /// The state beside the files cannot be read.
    #[error("{}: the state of the archive cannot be read: {reason}; restore it from a backup, or delete this one file: the archive then goes on after the last id in the names of its files", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Its fault.
        reason: String,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The API failed, after some tries.
    #[error("{0}")]
    Api(ApiError),
    /// The log ended too early.
    #[error("the api showed no row after id {after}, and rows up to id {until} were counted")]
    Empty {
        /// The last id that was read.
        after: i64,
        /// The id that must be reached.
        until: i64,
        /// True if the API shows no row of the log at all.
        is_all_empty: bool,
    },
    /// Fewer rows than were counted.
    #[error("the api showed {found} rows after id {after} up to id {until}, and {counted} were counted")]
    Missing {
        /// Where the range begins.
        after: i64,
        /// Where it ends.
        until: i64,
        /// Rows that were read.
        found: u64,
        /// Rows that were counted.
        counted: u64,
    },
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ArchiveUnusable(#[from] pub(super) ArchiveError);

impl ArchiveError {
    pub(super) fn disk(path: &Path, error: io::Error) -> ArchiveError {
        ArchiveError::Disk { path: path.to_owned(), error }
    }

    /// The value of the label `reason`.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            ArchiveError::Locked(_) => "locked",
            ArchiveError::Disk { .. } | ArchiveError::Replaced(_) => "disk",
            ArchiveError::Mismatch(_) => "identities",
            ArchiveError::Foreign(_) => "foreign_file",
            ArchiveError::State { .. } => "state",
            ArchiveError::Ledger(_) => "ledger",
            ArchiveError::Api(_) => "api",
            ArchiveError::Empty { .. } => "empty_answer",
            ArchiveError::Missing { .. } => "missing_rows",
        }
    }

    /// True if an operator must act; else it is expected to pass.
    pub(super) const fn needs_operator(&self) -> bool {
        match self {
            ArchiveError::Locked(_)
            | ArchiveError::Disk { .. }
            | ArchiveError::Mismatch(_)
            | ArchiveError::Foreign(_)
            | ArchiveError::State { .. } => true,
            ArchiveError::Replaced(_)
            | ArchiveError::Ledger(_)
            | ArchiveError::Api(_)
            | ArchiveError::Empty { .. }
            | ArchiveError::Missing { .. } => false,
        }
    }

    /// True if it concerns the directory, so that everything read from it is to be read again.
    pub(super) const fn concerns_directory(&self) -> bool {
        matches!(
            self,
            ArchiveError::Locked(_)
                | ArchiveError::Disk { .. }
                | ArchiveError::Replaced(_)
                | ArchiveError::Mismatch(_)
                | ArchiveError::State { .. }
        )
    }
}

/// The reason for which rows are counted that are archived nowhere, although they were counted.
pub(super) const ROWS_GONE: &str = "rows_gone";
