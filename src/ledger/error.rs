//! Why something in the ledger could not be read or written. Whether an error means that the file
//! is damaged, or may pass, is for `schema` to say.

use crate::ingest::DamagedChunk;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// By SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The content differs from what was written.
    #[error(transparent)]
    Chunk(#[from] DamagedChunk),
    /// As before, by the digest or SQLite's own check.
    #[error("{0}")]
    Damaged(String),
    /// A row was handed over twice.
    #[error("a row was to be counted that is counted already")]
    AlreadyCounted,
    /// A floor or a cursor was to fall.
    #[error("a log was to be moved back")]
    Backwards,
    /// The sets of usage have the hashes of another secret.
    #[error(transparent)]
    Secret(#[from] OtherSecret),
    /// A process that started later has taken the ledger over.
    #[error("another process has taken the ledger over")]
    TakenOver,
}

/// The sets of usage have the hashes of another secret than that of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtherSecret {
    /// A file names another one, or the ledger has one of its own.
    #[error("it was written with another secret than that of --usage.secret-file")]
    Another,
    /// It was that of a file.
    #[error("it was written with the secret of a file, and --usage.secret-file names none")]
    WithoutFile,
}
