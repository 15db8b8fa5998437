//! Why something in the ledger could not be read or written. Whether an error means that the file is
//! damaged, or may pass, is for `schema` to say.

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
    /// A process that started later has taken the ledger over.
    #[error("another process has taken the ledger over")]
    TakenOver,
}
