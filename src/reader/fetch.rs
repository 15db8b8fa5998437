//! One request for a page, made by a task of its own, so that it is under way while others are
//! read.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::batch::{Batch, Direction, Disorder, arrange};
use super::clock::{Exchange, TimestampPair};
use super::source::PageSource;
use crate::cryptolens::{ApiError, PageQuery, Row};
use crate::task::join;

/// The last row of a page, as it looks before the page is read. It is a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeekedRow {
    /// Its id.
    pub(crate) id: i64,
    /// Its event time in Unix seconds, if it has one.
    pub(crate) time: Option<i64>,
}

/// A page that was asked for. The request is given up when this is dropped.
pub(super) struct Fetching<R> {
    query: PageQuery,
    last: oneshot::Receiver<PeekedRow>,
    task: AbortOnDropHandle<Fetched<R>>,
}

/// The end of a request.
pub(super) struct Fetched<R> {
    pub(super) result: Result<Batch<R>, ApiError>,
    pub(super) took: Duration,
    pub(super) exchange: Exchange,
    /// The server's clock, in Unix seconds.
    pub(super) server_time: Option<i64>,
}

/// Makes one request, which counts as sent when this is called. `peek` gets the last row of the
/// page before the page is read.
pub(super) fn fetch<R: Row>(
    source: impl PageSource,
    query: PageQuery,
    disorder: Disorder,
    clock: fn() -> TimestampPair,
    peek: impl FnOnce(PeekedRow) + Send,
) -> impl Future<Output = Fetched<R>> + Send {
    let sent = clock();
    async move {
        let began = Instant::now();
        let answered =
            source.peeked_page(query, |row: R| peek(PeekedRow { id: row.id(), time: row.time() })).await;
        let took = began.elapsed();
        let mut exchange = Exchange { sent, received: clock() };
        let mut server_time = None;
        let direction = if query.newest_first { Direction::NewestFirst } else { Direction::OldestFirst };
        let result = answered.and_then(|answered| {
            // A connection that was given up is replaced: the try that was answered counts.
            exchange.sent.monotonic += answered.sent.saturating_duration_since(began);
            server_time = answered.server_time;
            arrange(answered.value, query.limit, direction, disorder)
        });
        Fetched { result, took, exchange, server_time }
    }
}

impl<R: Row> Fetching<R> {
    /// Sends the request.
    pub(super) fn start(
        source: &impl PageSource,
        query: PageQuery,
        disorder: Disorder,
        clock: fn() -> TimestampPair,
    ) -> Fetching<R> {
        let (sender, last) = oneshot::channel();
        let peek = |row: PeekedRow| {
            // The receiver may be gone.
            let _ = sender.send(row);
        };
        let fetched = fetch(source.clone(), query, disorder, clock, peek);
        let task = AbortOnDropHandle::new(tokio::spawn(fetched));
        Fetching { query, last, task }
    }

    /// The question.
    pub(super) const fn query(&self) -> PageQuery {
        self.query
    }

    /// The last row of the page, as soon as its bytes are there; `None` if none was recognised.
    pub(super) async fn last_row(&mut self) -> Option<PeekedRow> {
        (&mut self.last).await.ok()
    }

    /// Waits for the end of the request.
    pub(super) async fn end(self) -> Fetched<R> {
        join(self.task).await
    }
}
