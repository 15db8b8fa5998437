//! One request at a time, until it is answered: counts requests, says what is wrong once, waits, and asks again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cryptolens::{ApiError, DecodeFault, Endpoint, Token, TransportFault};

use super::pace::{Pace, Wait};
use super::status::{ApiStatus, LastError, LogStatus, OK};

/// The same trouble is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Asks one endpoint for one account.
pub(super) struct Requester {
    pub(super) account: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) api: Arc<ApiStatus>,
    /// Of the log, where the endpoint is that of one.
    pub(super) log: Option<Arc<LogStatus>>,
    pub(super) token: Token,
    pub(super) pace: Pace,
    /// When each trouble since the last success was told, by label.
    told: BTreeMap<&'static str, Instant>,
    /// False where a refusal needs nobody's attention.
    needed: bool,
}

impl Requester {
    pub(super) fn new(
        account: Arc<str>,
        endpoint: Endpoint,
        api: Arc<ApiStatus>,
        log: Option<Arc<LogStatus>>,
        token: Token,
    ) -> Requester {
        api.expect(endpoint);
        Requester {
            account,
            endpoint,
            api,
            log,
            token,
            pace: Pace::default(),
            told: BTreeMap::new(),
            needed: true,
        }
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

    /// To be called before a request is made that [`Requester::ended`] will be told of: a token that changes from now on
    /// is news.
    pub(super) fn begins(&mut self) {
        self.token.mark_seen();
    }

    /// PageStatistics how a request went.
    pub(super) fn ended(&mut self, took: Duration, error: Option<&ApiError>) {
        tracing::debug!(
            account = %self.account,
            endpoint = self.endpoint.name(),
            result = error.map_or(OK, ApiError::label),
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
        self.api.count(self.endpoint, took, error);
        if let Some(log) = &self.log {
            log.update(|view| {
                view.up = error.is_none();
                view.answered = true;
                view.current_error = error.map(|error| LastError::Api(error.label()));
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
        if !std::mem::take(&mut self.told).is_empty() {
            tracing::info!(account = %self.account, endpoint = self.endpoint.name(), "the api answers again");
        }
    }

    /// Each trouble has a time of its own: two that take turns are no news either.
    fn is_news(&mut self, label: &'static str) -> bool {
        if self.told.get(label).is_some_and(|at| at.elapsed() < TELL_AGAIN) {
            return false;
        }
        self.told.insert(label, Instant::now());
        true
    }

    fn tell(&mut self, error: &ApiError) {
        let label = error.label();
        if !self.is_news(label) {
            return;
        }
        let (account, endpoint, todo) = (&self.account, self.endpoint.name(), error.advice(self.endpoint));
        if !self.needed {
            tracing::info!(%account, endpoint, result = label, %error, todo, "product names are not available");
        } else if needs_operator(error) {
            tracing::error!(%account, endpoint, result = label, %error, todo, "request failed, requester again later");
        } else {
            tracing::warn!(%account, endpoint, result = label, %error, todo, "request failed, requester again");
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
        ApiError::Transport { fault, .. } => match fault {
            TransportFault::UnknownAuthority
            | TransportFault::CertificateTime
            | TransportFault::CertificateName
            | TransportFault::NoTls
            | TransportFault::ProxyLogin => true,
            TransportFault::Connection | TransportFault::ProxyRefusal => false,
        },
        ApiError::RateLimited { .. }
        | ApiError::Server { .. }
        | ApiError::Timeout
        | ApiError::Decode(_)
        | ApiError::Api => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn troubles_that_take_turns_are_told_once_each() {
        let account = Arc::from("default");
        let token = Token::fixed("token".into());
        let mut requester = Requester::new(account, Endpoint::GetEvents, Arc::default(), None, token);
        let told = ["timeout", "transport", "timeout", "transport"].map(|label| requester.is_news(label));
        assert_eq!(told, [true, true, false, false]);
        tokio::time::advance(TELL_AGAIN).await;
        assert!(requester.is_news("timeout") && requester.is_news("transport"));
        requester.ended(Duration::ZERO, None);
        assert!(requester.is_news("timeout"), "after a success it is news again");
    }
}
