//! Single questions to a log beside its polls: those of the search for the origin and for the newest
//! id.
//!
//! Promises: a patient question is asked until it is answered; any other gives up at the first error,
//! because the next poll comes soon.

use std::marker::PhantomData;
use std::time::Duration;

use crate::cryptolens::{ApiError, CountedRow, DecodeFault, PageQuery};

use super::limit::Limit;
use super::origin::{Extent, Probe, ProbeAnswer};
use super::poll::TimestampPair;
use super::requester::Requester;
use super::source::Source;

/// Asks the real log.
pub(super) struct LogProbe<'a, S, R> {
    pub(super) source: &'a S,
    pub(super) requester: &'a mut Requester,
    /// How long to wait before an empty log is believed.
    pub(super) overlap: Duration,
    pub(super) clock: fn() -> TimestampPair,
    /// Whether to ask until there is an answer.
    pub(super) patient: bool,
    pub(super) rows: PhantomData<fn() -> R>,
}

impl<S: Source, R: CountedRow> LogProbe<'_, S, R> {
    async fn ask(&mut self, mut query: PageQuery) -> Result<ProbeAnswer, ApiError> {
        let refusable = query.starting_after > 0 && !query.newest_first;
        let mut limit = Limit::new(query.limit);
        loop {
            query.limit = limit.get();
            let source = self.source.clone();
            let request = async {
                let page = source.page::<R>(query).await?.value;
                let rows = &page.rows;
                let descends = rows.is_sorted_by(|one, next| one.id() > next.id()) && rows.len() > 1;
                if descends && !query.newest_first {
                    return Err(ApiError::Decode(DecodeFault::Order));
                }
                Ok(page)
            };
            match self.requester.once(request).await {
                Ok(page) => return Ok(ProbeAnswer::of(&page, query.starting_after)),
                Err(ApiError::BadRequest { status: None }) if refusable => return Ok(ProbeAnswer::Refused),
                Err(ApiError::Decode(DecodeFault::Order)) if query.starting_after == 0 => {
                    query.starting_after = 1;
                }
                Err(error) if self.patient => {
                    limit.failed(&error);
                    self.requester.wait(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<S: Source, R: CountedRow> Probe for LogProbe<'_, S, R> {
    type Error = ApiError;

    async fn page_after(&mut self, after: i64, extent: Extent) -> Result<ProbeAnswer, ApiError> {
        let limit = extent.limit(R::LOG);
        self.ask(PageQuery::after(after, limit)).await
    }

    async fn newest(&mut self) -> Result<ProbeAnswer, ApiError> {
        self.ask(PageQuery::before(None, 1)).await
    }

    async fn pause_for_overlap(&mut self) -> Result<bool, ApiError> {
        tokio::time::sleep(self.overlap).await;
        Ok(true)
    }

    fn now(&self) -> i64 {
        (self.clock)().unix
    }
}
