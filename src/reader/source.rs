//! Where pages come from: the API client, as the reader sees it.

use std::sync::Arc;

use crate::cryptolens::{Answered, ApiError, Client, Page, PageQuery, Row, RowFilter};

/// Answers questions for the pages of the logs of one account.
pub trait PageSource: Clone + Send + Sync + 'static {
    /// One page of a log.
    fn page<R: Row>(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Answered<Page<R>>, ApiError>> + Send {
        self.peeked_page(query, |_| {})
    }

    /// One page of a log. `peek` gets the last row as soon as the page is there and before it is
    /// read as a whole. That row is a guess.
    fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> impl Future<Output = Result<Answered<Page<R>>, ApiError>> + Send;
}

impl PageSource for Client {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        self.answered_page(query, &RowFilter::default(), peek).await
    }
}

/// A client that asks only for the rows that pass a filter.
#[derive(Clone)]
pub(crate) struct FilteredClient {
    client: Client,
    filter: Arc<RowFilter>,
}

impl FilteredClient {
    /// Asks `client` for the rows that pass `filter`.
    pub(crate) fn new(client: Client, filter: RowFilter) -> FilteredClient {
        FilteredClient { client, filter: Arc::new(filter) }
    }
}

impl PageSource for FilteredClient {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        self.client.answered_page(query, &self.filter, peek).await
    }
}
