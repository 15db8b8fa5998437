//! One request at a time, until it is answered: counts requests, says what is wrong once, waits, and asks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cryptolens::{ApiError, DecodeFault, Endpoint, Token};

use super::pace::{Pace, Wait};
use super::status::{ApiStatus, LogStatus, Trouble};

/// The same trouble is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Asks one endpoint for one account.
pub(super) struct Asking {
    pub(super) account: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) api: Arc<ApiStatus>,
    /// Of the log, where the endpoint is that of one.
    pub(super) log: Option<Arc<LogStatus>>,
    pub(super) token: Token,
    pub(super) pace: Pace,
    told: Option<(&'static str, Instant)>,
    /// False where a refusal needs nobody's attention.
    needed: bool,
}

impl Asking {
    pub(super) fn new(
        account: Arc<str>,
        endpoint: Endpoint,
        api: Arc<ApiStatus>,
        log: Option<Arc<LogStatus>>,
        token: Token,
    ) -> Asking {
        api.expect(endpoint);
        Asking { account, endpoint, api, log, token, pace: Pace::default(), told: None, needed: true }
    }

    /// Counting goes on without this endpoint.
    pub(super) fn optional(&mut self) {
        self.needed = false;
    }

    /// Makes one request, and notes how it went.
    pub(super) async fn once<T>(
        &mut self,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.begins();
        let began = Instant::now();
        let result = request.await;
        self.ended(began.elapsed(), result.as_ref().err());
        result
    }

    /// To be called before a request is made that [`Asking::ended`] will be told of: a token that changes from now on
    /// is news.
    pub(super) fn begins(&mut self) {
        self.token.mark_seen();
    }

    /// Notes how a request went.
    pub(super) fn ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.api.count(self.endpoint, took, error);
        if let Some(log) = &self.log {
            log.update(|view| {
                view.up = error.is_none();
                view.spoke = true;
                view.trouble = error.map(|error| Trouble::Api(error.label()));
            });
        }
        match error {
            None => self.well(),
            Some(error) => self.tell(error),
        }
    }

    /// Waits as the error asks for.
    pub(super) async fn wait(&mut self, error: &ApiError) {
        match self.pace.after(error) {
            Wait::For(wait) => tokio::time::sleep(wait).await,
            Wait::ForToken(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.token.changed() => {}
                }
            }
        }
    }

    fn well(&mut self) {
        self.pace.reset();
        if self.told.take().is_some() {
            tracing::info!(account = %self.account, endpoint = self.endpoint.name(), "the api answers again");
        }
    }

    fn tell(&mut self, error: &ApiError) {
        let label = error.label();
        if self.told.is_some_and(|(told, at)| told == label && at.elapsed() < TELL_AGAIN) {
            return;
        }
        self.told = Some((label, Instant::now()));
        let (account, endpoint, todo) = (&self.account, self.endpoint.name(), error.advice(self.endpoint));
        if !self.needed {
            tracing::info!(%account, endpoint, result = label, %error, todo, "product names are not available");
        } else if needs_operator(error) {
            tracing::error!(%account, endpoint, result = label, %error, todo, "request failed, asking again later");
        } else {
            tracing::warn!(%account, endpoint, result = label, %error, todo, "request failed, asking again");
        }
    }
}

/// What doesn't pass by itself.
fn needs_operator(error: &ApiError) -> bool {
    match error {
        ApiError::Auth
        | ApiError::Denied
        | ApiError::Subscription
        | ApiError::BadRequest { .. }
        | ApiError::Decode(DecodeFault::Html) => true,
        ApiError::RateLimited { .. }
        | ApiError::Server { .. }
        | ApiError::Timeout
        | ApiError::Transport { .. }
        | ApiError::Decode(_)
        | ApiError::Api => false,
    }
}
