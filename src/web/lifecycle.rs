//! `POST /-/reload`: asks the process to read its configuration again, and waits for the outcome.
//!
//! It does what SIGHUP does. The answer names no detail, as a reason may name paths: those are in
//! the log.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for a reload under way; further ones wait for their turn.
const QUEUE: usize = 1;

/// Whether the new configuration is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is.
    Applied,
    /// It cannot be used, and the old one stays in use.
    Refused,
}

/// The end of the web server.
#[derive(Debug, Clone)]
pub struct ReloadRequester(mpsc::Sender<oneshot::Sender<ReloadOutcome>>);

/// The end of the one that reloads.
#[derive(Debug)]
pub struct ReloadRequests(mpsc::Receiver<oneshot::Sender<ReloadOutcome>>);

/// A request that waits for its outcome.
#[derive(Debug)]
pub struct PendingReload(oneshot::Sender<ReloadOutcome>);

/// Both ends.
#[must_use]
pub fn reload_channel() -> (ReloadRequester, ReloadRequests) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (ReloadRequester(sender), ReloadRequests(receiver))
}

impl ReloadRequests {
    /// The next request; never if nobody can ask.
    pub async fn next(&mut self) -> PendingReload {
        match self.0.recv().await {
            Some(answer) => PendingReload(answer),
            None => std::future::pending().await,
        }
    }
}

impl PendingReload {
    /// Answers the request.
    pub fn answer(self, outcome: ReloadOutcome) {
        // A client that is gone needs no answer.
        let _ = self.0.send(outcome);
    }
}

/// The answer to `POST /-/reload`.
pub(super) async fn reload(requester: Option<&ReloadRequester>) -> Response {
    let Some(ReloadRequester(requests)) = requester else {
        let text = "the lifecycle API is not enabled, see --web.enable-lifecycle\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    let (answer, outcome) = oneshot::channel();
    let outcome = match requests.send(answer).await {
        Ok(()) => outcome.await.ok(),
        Err(_) => None,
    };
    match outcome {
        Some(ReloadOutcome::Applied) => "the configuration was read again\n".into_response(),
        Some(ReloadOutcome::Refused) => {
            let text = "the new configuration cannot be used, and the old one stays in use; see the log\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the exporter is ending\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reload_is_answered_with_its_outcome() {
        assert_eq!(reload(None).await.status(), 403);
        for (outcome, status) in [(ReloadOutcome::Applied, 200), (ReloadOutcome::Refused, 500)] {
            let (requester, mut requests) = reload_channel();
            let reloading = async {
                requests.next().await.answer(outcome);
            };
            let (response, ()) = tokio::join!(reload(Some(&requester)), reloading);
            assert_eq!(response.status(), status);
        }
        let (requester, requests) = reload_channel();
        drop(requests);
        assert_eq!(reload(Some(&requester)).await.status(), 503);
    }
}
