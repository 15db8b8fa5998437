//! Finds out whether a request was sent on a new connection or on one that was kept alive, and
//! whether an error says that the other side had closed it.
//!
//! A server may close a connection at the moment when a request is sent on it. That is nobody's
//! fault, and the request was not answered. An HTTP library cannot repeat the request by itself,
//! because it does not know that these POST requests only read.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::http;

tokio::task_local! {
    /// Set when a connection was made for the request that is under way in this task.
    static IS_NEW: Arc<AtomicBool>;
}

/// Sends a request, and returns whether it made a new connection. That needs the client's
/// [`NoteNewConnections`].
pub(super) async fn sent<T>(request: impl Future<Output = T>) -> (T, bool) {
    let is_new = Arc::new(AtomicBool::new(false));
    let result = IS_NEW.scope(Arc::clone(&is_new), request).await;
    (result, is_new.load(Ordering::Relaxed))
}

/// Whether the connection was closed by the other side before it answered.
pub(super) fn was_closed(error: &reqwest::Error) -> bool {
    !error.is_timeout() && http::chain(error).any(says_closed)
}

fn says_closed(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    }
    let closed = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::NotConnected,
        // TLS without a good-bye.
        io::ErrorKind::UnexpectedEof,
    ];
    error.downcast_ref::<io::Error>().is_some_and(|error| closed.contains(&error.kind()))
}

/// A layer around a client's connector.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoteNewConnections;

impl<S> Layer<S> for NoteNewConnections {
    type Service = Noting<S>;

    fn layer(&self, connector: S) -> Noting<S> {
        Noting { connector }
    }
}

/// See [`NoteNewConnections`].
#[derive(Debug, Clone)]
pub(super) struct Noting<S> {
    connector: S,
}

impl<S, R> Service<R> for Noting<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.connector.call(target);
        Box::pin(async move {
            let connection = connecting.await?;
            // A connection that is finished in the background, because another one became free
            // first, belongs to no request.
            let _ = IS_NEW.try_with(|is_new| is_new.store(true, Ordering::Relaxed));
            Ok(connection)
        })
    }
}
