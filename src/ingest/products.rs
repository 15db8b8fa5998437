//! One task per account that asks for the names of its products every few hours. Counting does not
//! depend on it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cryptolens::{ApiError, Endpoint};

use super::checkpoint::{CheckpointError, CheckpointStore};
use super::poller::Stopped;
use super::requester::Requester;
use super::source::Source;
use super::status::ApiStatus;

/// Products are seldom added, and a row makes a new one known by itself.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Asks until it is stopped, or until the ledger is gone.
pub async fn follow_products<S: Source, B: CheckpointStore>(
    account: Arc<str>,
    source: S,
    book: B,
    api: Arc<ApiStatus>,
    cancel: CancellationToken,
) -> Stopped {
    let mut requester =
        Requester::new(Arc::clone(&account), Endpoint::GetProducts, api, None, source.token());
    requester.optional();
    let work = async {
        loop {
            let wait = match requester.once(source.products()).await {
                Ok(products) => {
                    match book.products(&account, products).await {
                        Ok(()) => {}
                        Err(CheckpointError::Closed) => return Stopped::LedgerClosed,
                        Err(CheckpointError::Failed) => {
                            tokio::time::sleep(requester.waits.next_wait()).await;
                            continue;
                        }
                    }
                    EVERY
                }
                // A token without this permission is as good as any for counting.
                Err(ApiError::Denied) => EVERY,
                Err(error) => {
                    requester.wait_after(&error).await;
                    continue;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = requester.token.changed() => {}
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => Stopped::Cancelled,
        stopped = work => stopped,
    }
}
