//! Waiting for a task that another one started: a panic of the task continues in the one that
//! waits. The module knows nothing of what the tasks do.

use tokio::task::JoinError;

/// Waits for a task, and continues its panic here. A task is cancelled only when the runtime shuts
/// down, which drops the waiting one too, so this never returns then.
pub(crate) async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs work that takes more than some 500 microseconds on a thread for blocking work, so that no
/// other task of the runtime waits.
pub(crate) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(tokio::task::spawn_blocking(work)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_comes_through() {
        assert_eq!(spawn_blocking(|| 7).await, 7);
        let panicked = tokio::spawn(spawn_blocking(|| panic!("a bug"))).await.unwrap_err();
        assert_eq!(panicked.into_panic().downcast_ref(), Some(&"a bug"));
    }
}
