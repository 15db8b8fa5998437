//! The store of counts and positions, as a poller sees it. The ledger implements it.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::cryptolens::{LogKind, Product};

use super::update::{LogCheckpoint, LogUpdate, Origin};

/// One log of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    /// The account's name.
    pub account: Arc<str>,
    /// Which of its logs.
    pub log: LogKind,
}

/// The reason why an update was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Neither this update nor any later one was kept: open the log again and continue from there.
    #[error("the ledger could not be written")]
    Failed,
    /// The writer has ended; only a new process can continue.
    #[error("the ledger is closed")]
    Closed,
}

/// An update that was handed over and is not yet known to be kept.
#[derive(Debug)]
pub struct PendingCommit(pub(crate) oneshot::Receiver<Result<(), CheckpointError>>);

impl PendingCommit {
    /// The result, if it is known already.
    pub fn outcome(&mut self) -> Option<Result<(), CheckpointError>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(CheckpointError::Closed)),
        }
    }

    /// Waits until the update is kept.
    ///
    /// # Errors
    /// The update is not kept.
    pub async fn done(self) -> Result<(), CheckpointError> {
        self.0.await.unwrap_or(Err(CheckpointError::Closed))
    }
}

/// Keeps positions and counts, durably and together.
pub trait CheckpointStore: Clone + Send + Sync + 'static {
    /// The log as it is kept; `None` if its origin is not known yet. An update that was handed over
    /// under an earlier epoch is either part of it or will be refused.
    fn open(
        &self,
        log: &LogId,
    ) -> impl Future<Output = Result<Option<LogCheckpoint>, CheckpointError>> + Send;

    /// Stores where counting begins. An origin that is known already stays.
    fn begin(
        &self,
        log: &LogId,
        origin: Origin,
    ) -> impl Future<Output = Result<LogCheckpoint, CheckpointError>> + Send;

    /// Hands over one update; returns as soon as there is room for the next. The updates of one log
    /// are kept in the order in which they were handed over; after one fails, the rest of the same
    /// epoch fails too.
    fn submit(
        &self,
        log: &LogId,
        epoch: u64,
        update: LogUpdate,
    ) -> impl Future<Output = Result<PendingCommit, CheckpointError>> + Send;

    /// Changes whenever the kept counts are gone and counting begins anew: each log must be opened
    /// again, even one that has no update to hand over.
    fn generation(&self) -> watch::Receiver<u64>;

    /// Stores the products of the account.
    fn products(
        &self,
        account: &Arc<str>,
        products: Vec<Product>,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;
}
