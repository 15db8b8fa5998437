//! An account of the Web API, as the pollers see it.

use crate::cryptolens::{ApiError, Client, Product, Token};
use crate::reader::PageSource;

/// Gives the pages of the logs, the products and the token of one account.
pub trait Source: PageSource {
    /// The products of the account.
    fn products(&self) -> impl Future<Output = Result<Vec<Product>, ApiError>> + Send;

    /// The token in use.
    fn token(&self) -> Token;
}

impl Source for Client {
    async fn products(&self) -> Result<Vec<Product>, ApiError> {
        Client::products(self).await
    }

    fn token(&self) -> Token {
        Client::token(self).clone()
    }
}
