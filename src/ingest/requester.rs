//! Requests to one endpoint for one account: it counts them, logs failures that last, and waits
//! before the next.
//!
//! Promises: a failure that an operator must correct is logged at once, any other one when it has
//! lasted a minute, and the same one again after an hour at the earliest. Shorter failures are in
//! the metrics, and in the log at debug level: 5 % of failing requests must not fill a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::advice;
use crate::backoff::{Backoff, Waits};
use crate::cryptolens::{ApiError, DecodeFault, Endpoint, Retry, Token, TransportFault};

use crate::reader::{Pause, RetryPolicy};

use super::status::{ApiStatus, LastError, LogStatus, OK};

/// A failure that may pass by itself is logged once it has lasted this long.
const LOG_AFTER: Duration = Duration::from_secs(60);

/// The same error is logged again after this long.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

/// The longest wait that a server may ask for (`Retry-After`): its answer may be wrong.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(15 * 60);

/// A refusal lasts until somebody changes something, so it is asked about seldom.
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// Asks one endpoint for one account.
pub(super) struct Requester {
    account: Arc<str>,
    endpoint: Endpoint,
    api: Arc<ApiStatus>,
    /// The status of the log, if the endpoint reads one.
    log: Option<Arc<LogStatus>>,
    pub(super) token: Token,
    pub(super) waits: Waits,
    failing: Option<FailureStreak>,
    /// False where a refusal needs no attention.
    needed: bool,
}

/// The failures since the last success.
#[derive(Debug)]
struct FailureStreak {
    since: Instant,
    requests: u64,
    /// When each error was logged, by label: two errors that take turns are not logged each time.
    logged_at: BTreeMap<&'static str, Instant>,
}

impl Requester {
    /// Nothing has failed yet.
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
            waits: Backoff::API.waits(),
            failing: None,
            needed: true,
        }
    }

    /// Marks the endpoint as optional: counting continues without it.
    pub(super) fn optional(&mut self) {
        self.needed = false;
    }

    /// Makes one request and records its end.
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

    /// Must be called before a request whose end is handed to [`Requester::ended`]: a token that
    /// changes from now on ends a wait.
    pub(super) fn begins(&mut self) {
        self.token.mark_seen();
    }

    /// Records the end of a request, and what it says about the endpoint.
    pub(super) fn ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.record(took, error);
        if let Some(log) = &self.log {
            log.update(|view| {
                view.up = error.is_none();
                view.answered = true;
                view.current_error = error.map(|error| LastError::Api(error.label()));
            });
        }
        match error {
            None => self.succeeded(),
            Some(error) => self.failed(error),
        }
    }

    /// Records the end of a request in the metrics only.
    fn record(&self, took: Duration, error: Option<&ApiError>) {
        tracing::debug!(
            account = %self.account,
            method = self.endpoint.name(),
            result = error.map_or(OK, ApiError::label),
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
        self.api.count(self.endpoint, took, error);
    }

    /// Waits as long as the error asks for.
    pub(super) async fn wait_after(&mut self, error: &ApiError) {
        match error.retry() {
            Retry::Backoff => {
                let wait = self.waits.next_wait();
                self.wait_for_another_attempt(wait).await;
            }
            // The server asked for this wait, and no reload shortens it.
            Retry::After(asked) => {
                let asked = asked.min(LONGEST_ASKED_FOR);
                tokio::time::sleep(self.waits.next_wait_of_at_least(asked)).await;
            }
            Retry::Refused => self.wait_for_another_attempt(REFUSED).await,
        }
    }

    /// Waits this long, or until the token changes or the configuration is read again.
    async fn wait_for_another_attempt(&mut self, longest: Duration) {
        tokio::select! {
            () = tokio::time::sleep(longest) => {}
            () = self.token.changed() => {}
        }
    }

    /// True if no answer is expected soon.
    pub(super) fn is_stuck(&self, error: &ApiError) -> bool {
        let lasts = self.failing.as_ref().is_some_and(|failing| failing.since.elapsed() >= LOG_AFTER);
        lasts || matches!(error.retry(), Retry::Refused)
    }

    fn succeeded(&mut self) {
        self.waits.reset();
        let Some(FailureStreak { since, requests, logged_at }) = self.failing.take() else { return };
        let (account, method) = (&self.account, self.endpoint.name());
        let seconds = since.elapsed().as_secs();
        if logged_at.is_empty() {
            tracing::debug!(%account, method, seconds, failed_requests = requests, "the api answers again");
        } else {
            tracing::info!(%account, method, seconds, failed_requests = requests, "the api answers again");
        }
    }

    fn failed(&mut self, error: &ApiError) {
        if !self.is_news(error) {
            return;
        }
        let (account, method, label) = (&self.account, self.endpoint.name(), error.label());
        let todo = advice::for_serve(error, self.endpoint);
        if !self.needed {
            tracing::info!(%account, method, result = label, %error, todo, "product names are not available");
        } else if needs_operator(error) {
            tracing::error!(%account, method, result = label, %error, todo, "request failed, asking again later");
        } else {
            tracing::warn!(%account, method, result = label, %error, todo, "request failed, asking again");
        }
    }

    /// True if the failure is due to be logged.
    fn is_news(&mut self, error: &ApiError) -> bool {
        let begin = || FailureStreak { since: Instant::now(), requests: 0, logged_at: BTreeMap::new() };
        let failing = self.failing.get_or_insert_with(begin);
        failing.requests += 1;
        let at_once = matches!(error.retry(), Retry::Refused) || cannot_pass(error);
        let logged = failing.logged_at.get(error.label()).is_some_and(|at| at.elapsed() < LOG_AGAIN);
        let due = !logged && (at_once || failing.since.elapsed() >= LOG_AFTER);
        if due {
            failing.logged_at.insert(error.label(), Instant::now());
        }
        due
    }
}

/// Tries for ever.
impl RetryPolicy for Requester {
    fn request_begins(&mut self) {
        self.begins();
    }

    fn request_ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.ended(took, error);
    }

    fn guess_ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.record(took, error);
    }

    async fn wait(&mut self, error: ApiError, pause: Pause) -> Result<(), ApiError> {
        match pause {
            Pause::Growing => self.wait_after(&error).await,
            Pause::Short => {
                self.waits.reset();
                tokio::time::sleep(self.waits.next_wait()).await;
            }
        }
        Ok(())
    }
}

/// True if an operator must act.
fn needs_operator(error: &ApiError) -> bool {
    let refused = matches!(error.retry(), Retry::Refused);
    let misled = matches!(error, ApiError::BadRequest { .. } | ApiError::Decode(DecodeFault::Html));
    refused || misled || cannot_pass(error)
}

/// True for errors that no unreliable network causes: a certificate, or the way to the API, is
/// wrong.
fn cannot_pass(error: &ApiError) -> bool {
    let ApiError::Transport { fault, .. } = error else { return false };
    match fault {
        TransportFault::UnknownAuthority
        | TransportFault::CertificateTime
        | TransportFault::CertificateName
        | TransportFault::NoTls
        | TransportFault::ProxyLogin => true,
        TransportFault::Connection | TransportFault::ProxyRefusal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::LogKind;

    fn requester() -> Requester {
        let token = Token::fixed("token".to_owned().into());
        Requester::new(Arc::from("default"), LogKind::Events.endpoint(), Arc::default(), None, token)
    }

    fn connection() -> ApiError {
        ApiError::Transport { cause: "refused".to_owned(), fault: TransportFault::Connection }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_shorter_than_a_minute_is_not_logged() {
        let mut requester = requester();
        for _ in 0..50 {
            assert!(!requester.is_news(&ApiError::Timeout));
            tokio::time::advance(LOG_AFTER - Duration::from_secs(1)).await;
            assert!(!requester.is_news(&connection()));
            requester.succeeded();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_operator_must_mend_is_logged_at_once() {
        for error in [ApiError::Auth, ApiError::Denied, ApiError::Subscription] {
            assert!(requester().is_news(&error), "{error}");
        }
        assert!(!requester().is_news(&ApiError::Api));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_by_itself_is_logged_once_it_has_lasted_a_minute() {
        let bad_request = ApiError::BadRequest { status: Some(404) };
        for error in [connection(), bad_request, ApiError::Decode(DecodeFault::Html)] {
            let mut requester = requester();
            assert!(!requester.is_news(&error), "{error}");
            tokio::time::advance(LOG_AFTER).await;
            assert!(requester.is_news(&error), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_decides_how_long_to_wait() {
        async fn waited(requester: &mut Requester, error: &ApiError) -> Duration {
            let began = Instant::now();
            requester.wait_after(error).await;
            began.elapsed()
        }
        let mut requester = requester();
        let asked = |seconds| ApiError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(waited(&mut requester, &asked(120)).await.as_secs(), 120);
        assert_eq!(waited(&mut requester, &asked(86_400)).await.as_secs(), 900);
        assert_eq!(waited(&mut requester, &ApiError::Auth).await.as_secs(), 300);
        assert_eq!(waited(&mut requester, &ApiError::Denied).await.as_secs(), 300);
        let wait = waited(&mut requester, &ApiError::Decode(DecodeFault::Empty)).await;
        // Sleep has a resolution of one millisecond.
        assert!(wait <= Backoff::API.max() + Duration::from_millis(1), "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_last_and_take_turns_are_logged_once_an_hour_each() {
        let mut requester = requester();
        assert!(!requester.is_news(&ApiError::Timeout));
        tokio::time::advance(LOG_AFTER).await;
        let errors = [ApiError::Timeout, connection(), ApiError::Timeout, connection()];
        assert_eq!(errors.each_ref().map(|error| requester.is_news(error)), [true, true, false, false]);
        tokio::time::advance(LOG_AGAIN).await;
        assert!(requester.is_news(&ApiError::Timeout) && requester.is_news(&connection()));
        assert_eq!(requester.failing.as_ref().map(|failing| failing.requests), Some(7));
    }
}
