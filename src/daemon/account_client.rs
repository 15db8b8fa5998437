//! The client of one account: requests with its token, the watch on the token's file, and the
//! status of its requests.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, TokenSource};
use crate::cryptolens::{Client, ClientError, ClientOptions, Token};
use crate::ingest::ApiStatus;

/// The client of an account. Clones share everything. Two are equal if they are clones, so a task
/// that has one in its settings restarts when the account gets another.
#[derive(Clone)]
pub struct AccountClient {
    state: Arc<ClientState>,
}

struct ClientState {
    name: Arc<str>,
    options: ClientOptions,
    token: TokenSource,
    client: Client,
    api: Arc<ApiStatus>,
    /// Keeps the token up to date while it is polled; `None` for a fixed token, and once it is
    /// taken.
    token_watch: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl PartialEq for AccountClient {
    fn eq(&self, other: &AccountClient) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

impl AccountClient {
    /// The client of an account, with a status of its own.
    ///
    /// # Errors
    /// [`ClientError`] if no client can be made with these options.
    pub fn new(options: &ClientOptions, account: &Account) -> Result<AccountClient, ClientError> {
        AccountClient::with_status(options, account, Arc::default())
    }

    /// As [`AccountClient::new`], with a status that is shown already.
    pub(super) fn with_status(
        options: &ClientOptions,
        account: &Account,
        api: Arc<ApiStatus>,
    ) -> Result<AccountClient, ClientError> {
        let (token, token_watch): (Token, Option<BoxFuture<'static, ()>>) = match &account.token {
            TokenSource::Value(token) => (Token::fixed(token.clone()), None),
            TokenSource::File { path, initial } => {
                let (token, watch) = Token::file(path.clone(), initial.clone());
                (token, Some(Box::pin(watch)))
            }
        };
        let state = ClientState {
            name: Arc::from(account.name.as_str()),
            options: options.clone(),
            token: account.token.clone(),
            client: Client::new(options, token)?,
            api,
            token_watch: Mutex::new(token_watch),
        };
        Ok(AccountClient { state: Arc::new(state) })
    }

    /// The name of the account.
    pub fn name(&self) -> &Arc<str> {
        &self.state.name
    }

    /// The client that sends the requests.
    pub fn client(&self) -> &Client {
        &self.state.client
    }

    /// The status of the requests.
    pub fn api(&self) -> &Arc<ApiStatus> {
        &self.state.api
    }

    /// Whether a client that is made now would do the same.
    pub(super) fn serves(&self, options: &ClientOptions, account: &Account) -> bool {
        *self.state.name == *account.name.as_str()
            && self.state.options == *options
            && is_same_token(&self.state.token, &account.token)
    }

    /// Whether the token comes from a file.
    pub(super) fn has_token_file(&self) -> bool {
        matches!(self.state.token, TokenSource::File { .. })
    }

    /// Keeps the token up to date until the shutdown.
    pub(super) async fn watch_token(self, shutdown: CancellationToken) {
        let watch = self.state.token_watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = watch => {}
            }
        }
    }
}

/// Whether both come from the same place and are the same now.
fn is_same_token(one: &TokenSource, other: &TokenSource) -> bool {
    let place = |token: &TokenSource| match token {
        TokenSource::Value(_) => None,
        TokenSource::File { path, .. } => Some(path.clone()),
    };
    place(one) == place(other) && one.initial().expose_secret() == other.initial().expose_secret()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{AccountName, Intervals};
    use crate::ingest::Since;

    fn account(token: TokenSource) -> Account {
        Account {
            name: AccountName::default(),
            token,
            logs: Vec::new(),
            since: Since::All,
            intervals: Intervals::default(),
            products: Vec::new(),
            licenses: Vec::new(),
        }
    }

    fn options(seconds: u64) -> ClientOptions {
        ClientOptions {
            url: "http://127.0.0.1:1/api".parse().unwrap(),
            timeout: Duration::from_secs(seconds),
            ca_pem: None,
            proxy: None,
        }
    }

    fn file(path: &str, token: &str) -> TokenSource {
        TokenSource::File { path: path.into(), initial: token.to_owned().into() }
    }

    #[test]
    fn a_client_serves_until_its_token_or_its_options_change() {
        let client = AccountClient::new(&options(30), &account(file("a", "one"))).unwrap();
        assert!(client.serves(&options(30), &account(file("a", "one"))));
        assert!(!client.serves(&options(31), &account(file("a", "one"))));
        assert!(!client.serves(&options(30), &account(file("b", "one"))));
        assert!(!client.serves(&options(30), &account(file("a", "two"))));
        assert!(!client.serves(&options(30), &account(TokenSource::Value("one".to_owned().into()))));
    }

    #[test]
    fn only_clones_are_equal() {
        let client = || AccountClient::new(&options(30), &account(file("a", "one"))).unwrap();
        let one = client();
        assert!(one == one.clone());
        assert!(one != client());
    }
}
