//! Where pages come from: the client, seen from the poller.

use crate::cryptolens::{ApiError, Client, Page, PageQuery, Product, Row, Token};

/// An account of the Web API.
pub trait Source: Clone + Send + Sync + 'static {
    /// One page of a log.
    fn page<R: Row>(&self, query: PageQuery) -> impl Future<Output = Result<Page<R>, ApiError>> + Send;

    /// The products of the account.
    fn products(&self) -> impl Future<Output = Result<Vec<Product>, ApiError>> + Send;

    /// The token in use.
    fn token(&self) -> Token;
}

impl Source for Client {
    async fn page<R: Row>(&self, query: PageQuery) -> Result<Page<R>, ApiError> {
        Client::page(self, query).await
    }

    async fn products(&self) -> Result<Vec<Product>, ApiError> {
        Client::products(self).await
    }

    fn token(&self) -> Token {
        Client::token(self).clone()
    }
}
