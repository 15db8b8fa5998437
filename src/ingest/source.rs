//! Where pages come from: the client, seen from the poller.

use crate::cryptolens::{Answered, ApiError, Client, Page, PageQuery, Product, Row, RowFilter, Token};

/// An account of the Web API.
pub trait Source: Clone + Send + Sync + 'static {
    /// One page of a log.
    fn page<R: Row>(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Answered<Page<R>>, ApiError>> + Send {
        self.peeked_page(query, |_| {})
    }

    /// As [`Source::page`]; `peek` gets what looks like the last row as soon as the page is there, before it is read as
    /// a whole. What was peeked may be wrong.
    fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> impl Future<Output = Result<Answered<Page<R>>, ApiError>> + Send;

    /// The products of the account.
    fn products(&self) -> impl Future<Output = Result<Vec<Product>, ApiError>> + Send;

    /// The token in use.
    fn token(&self) -> Token;
}

impl Source for Client {
    async fn peeked_page<R: Row>(
        &self,
        query: PageQuery,
        peek: impl FnOnce(R) + Send,
    ) -> Result<Answered<Page<R>>, ApiError> {
        Client::answered_page(self, query, &RowFilter::default(), peek).await
    }

    async fn products(&self) -> Result<Vec<Product>, ApiError> {
        Client::products(self).await
    }

    fn token(&self) -> Token {
        Client::token(self).clone()
    }
}
