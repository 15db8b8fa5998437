//! Single questions beside the reading of pages: those of the search for a beginning and for the
//! newest id.
//!
//! Promises: a patient question is asked again for as long as the reader's policy allows; any other
//! gives up at the first error, because its owner asks again soon.

use std::time::Duration;

use super::log_reader::{LogReader, Pause, RetryPolicy};
use super::origin::{Extent, Probe, ProbeAnswer};
use super::source::PageSource;
use crate::cryptolens::{ApiError, DecodeFault, Page, PageQuery, Row};

/// Asks the log of a reader.
pub(crate) struct LogProbe<'a, S, R, P> {
    pub(crate) reader: &'a mut LogReader<S, R, P>,
    /// True to try again as the policy says.
    pub(crate) patient: bool,
    /// How long to wait before a log that looks empty is asked again; `None` believes it.
    pub(crate) empty_wait: Option<Duration>,
}

impl<S: PageSource, R: Row, P: RetryPolicy> LogProbe<'_, S, R, P> {
    async fn answer(&mut self, mut query: PageQuery) -> Result<ProbeAnswer, ApiError> {
        let refusable = query.starting_after > 0 && !query.newest_first;
        let mut limit = self.reader.limit().with_most(query.limit);
        loop {
            query.limit = limit.get();
            let check = |page: &Page<R>| match query.newest_first || !descends(page) {
                true => Ok(()),
                false => Err(ApiError::Decode(DecodeFault::Order)),
            };
            match self.reader.ask(query, check).await {
                Ok(page) => return Ok(ProbeAnswer::of(&page, query.starting_after)),
                Err(ApiError::BadRequest { status: None }) if refusable => return Ok(ProbeAnswer::Refused),
                // Without a position the order may be another one. No row has an id below 1.
                Err(ApiError::Decode(DecodeFault::Order)) if query.starting_after == 0 => {
                    query.starting_after = 1;
                }
                Err(error) if self.patient => {
                    limit.failed(&error);
                    self.reader.policy_mut().wait(error, Pause::Growing).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn descends<R: Row>(page: &Page<R>) -> bool {
    page.rows.len() > 1 && page.rows.is_sorted_by(|one, next| one.id() > next.id())
}

impl<S: PageSource, R: Row, P: RetryPolicy> Probe for LogProbe<'_, S, R, P> {
    async fn page_after(&mut self, after: i64, extent: Extent) -> Result<ProbeAnswer, ApiError> {
        self.answer(PageQuery::after(after, extent.limit(R::LOG))).await
    }

    async fn newest(&mut self) -> Result<ProbeAnswer, ApiError> {
        self.answer(PageQuery::before(None, 1)).await
    }

    async fn pause_for_overlap(&mut self) -> Result<bool, ApiError> {
        let Some(wait) = self.empty_wait else { return Ok(false) };
        tokio::time::sleep(wait).await;
        Ok(true)
    }

    fn now(&self) -> i64 {
        self.reader.local_now().unix
    }
}
