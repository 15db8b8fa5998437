//! The ledger without its thread, for the simulation: each request is served where it is made, so
//! that one seed is one order of events. What it does with a request is the writer's own code.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};

use super::store::Configured;
use super::tests::Failing;
use super::writer::{PageRequest, Request, Writer};
use super::{FreshSettings, Ledger, LedgerOptions, LedgerView};
use crate::cryptolens::Product;
use crate::history::{Outbox, OutboxBatch, OutboxPosition, SampleCounts};
use crate::ingest::{
    CheckpointError, CheckpointStore, LogCheckpoint, LogId, LogUpdate, Origin, PendingCommit,
};

/// A writer that is called, not asked.
#[derive(Clone)]
pub(crate) struct InlineLedger {
    writer: Arc<Mutex<Writer<Failing>>>,
    ledger: Ledger,
}

impl InlineLedger {
    /// Opens the ledger.
    pub(crate) fn open_with(options: LedgerOptions, failing: Failing) -> InlineLedger {
        let (writer, ledger) = Ledger::prepare(options, failing).unwrap();
        InlineLedger { writer: Arc::new(Mutex::new(writer)), ledger }
    }

    /// Replaces the products that are known by configuration.
    pub(crate) fn configure(&self, configured: Configured) -> Result<(), CheckpointError> {
        self.ledger.shared.leave(FreshSettings { configured, history: None });
        self.ask(|reply| Request::Configure { reply })
    }

    /// Looks for days of usage that are over in logs that brought nothing for so long.
    pub(crate) fn expire_usage(&self, unread_for: std::time::Duration) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).expire_usage(unread_for);
    }

    /// The committed state.
    pub(crate) fn view(&self) -> LedgerView {
        self.ledger.view()
    }

    fn serve<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CheckpointError>>) -> Request,
    ) -> oneshot::Receiver<Result<T, CheckpointError>> {
        let (reply, answer) = oneshot::channel();
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).serve(request(reply));
        answer
    }

    fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CheckpointError>>) -> Request,
    ) -> Result<T, CheckpointError> {
        self.serve(request).try_recv().unwrap_or(Err(CheckpointError::Closed))
    }
}

impl Outbox for InlineLedger {
    async fn oldest(&self, target: &Arc<str>, at_most: usize) -> Result<OutboxBatch, CheckpointError> {
        let (target, most) = (Arc::clone(target), u64::try_from(at_most).unwrap());
        let chunks = self.ask(|reply| Request::OldestChunks { target, at_most: most, reply })?;
        super::outbox_batch(&chunks, at_most)
    }

    async fn acknowledge(
        &self,
        target: &Arc<str>,
        until: OutboxPosition,
        counts: SampleCounts,
    ) -> Result<(), CheckpointError> {
        let target = Arc::clone(target);
        self.ask(|reply| Request::Acknowledge { target, until, counts, reply })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.ledger.changed()
    }

    fn now_millis(&self) -> i64 {
        self.ledger.now_millis()
    }
}

impl CheckpointStore for InlineLedger {
    async fn open(&self, log: &LogId) -> Result<Option<LogCheckpoint>, CheckpointError> {
        self.ask(|reply| Request::Open { log: log.clone(), reply })
    }

    async fn begin(&self, log: &LogId, origin: Origin) -> Result<LogCheckpoint, CheckpointError> {
        self.ask(|reply| Request::Begin { log: log.clone(), origin, reply })
    }

    async fn submit(
        &self,
        log: &LogId,
        epoch: u64,
        record: LogUpdate,
    ) -> Result<PendingCommit, CheckpointError> {
        // The writer would wait for the page that is to follow.
        let record = LogUpdate { more_follows: false, ..record };
        let log = log.clone();
        Ok(PendingCommit(self.serve(|reply| Request::Page(PageRequest { log, epoch, record, reply }))))
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.ledger.generation()
    }

    async fn products(&self, _: &Arc<str>, _: Vec<Product>) -> Result<(), CheckpointError> {
        Ok(())
    }
}
