//! What a poller needs from whoever keeps the counts. The ledger is the one that does.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::cryptolens::{LogKind, Product};

use super::batch::{Batch, LogCheckpoint, Origin};

/// One log of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    /// The account's name.
    pub account: Arc<str>,
    /// Which of its logs.
    pub log: LogKind,
}

/// Why something was not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Nothing of it was kept, nor of what was handed over after it: open the log again and go on from there.
    #[error("the ledger could not be written")]
    Failed,
    /// The writer is gone; only a new process can go on.
    #[error("the ledger is closed")]
    Closed,
}

/// A record that was handed over, and is not yet known to be kept.
#[derive(Debug)]
pub struct PendingCommit(pub(crate) oneshot::Receiver<Result<(), CheckpointError>>);

impl PendingCommit {
    /// What became of it, if that is known already.
    pub fn outcome(&mut self) -> Option<Result<(), CheckpointError>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(CheckpointError::Closed)),
        }
    }

    /// Waits until it is kept.
    ///
    /// # Errors
    /// It is not.
    pub async fn done(self) -> Result<(), CheckpointError> {
        self.0.await.unwrap_or(Err(CheckpointError::Closed))
    }
}

/// Keeps positions and counts, durably and together.
pub trait CheckpointStore: Clone + Send + Sync + 'static {
    /// The log as it is kept; `None` if its origin is not known yet. Whatever was handed over under an earlier epoch
    /// is either part of it, or will be refused.
    fn open(
        &self,
        log: &LogId,
    ) -> impl Future<Output = Result<Option<LogCheckpoint>, CheckpointError>> + Send;

    /// Writes down where counting begins. An origin that is known already stays.
    fn begin(
        &self,
        log: &LogId,
        origin: Origin,
    ) -> impl Future<Output = Result<LogCheckpoint, CheckpointError>> + Send;

    /// Hands over one step; returns as soon as there is room for the next. Steps of one log are kept in the order in
    /// which they were handed over; after one fails, the rest of the same epoch fails too.
    fn submit(
        &self,
        log: &LogId,
        epoch: u64,
        record: Batch,
    ) -> impl Future<Output = Result<PendingCommit, CheckpointError>> + Send;

    /// Changes whenever what was kept is gone and counting begins anew: each log has to be opened again, also one that
    /// has nothing to hand over.
    fn generation(&self) -> watch::Receiver<u64>;

    /// Writes down the products that the account has.
    fn products(
        &self,
        account: &Arc<str>,
        products: Vec<Product>,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;
}
