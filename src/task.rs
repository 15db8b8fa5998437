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
    #[cfg(test)]
    if inline::IS_INLINE.get() {
        return inline::run(work).await;
    }
    join(tokio::task::spawn_blocking(work)).await
}

/// Blocking work without threads, for the simulation: one seed is then one order of events.
#[cfg(test)]
pub(crate) mod inline {
    std::thread_local! {
        /// Whether this thread does its blocking work itself.
        pub(crate) static IS_INLINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    /// Does the work where it is waited for. The one who waits may be dropped before and after it.
    pub(super) async fn run<T>(work: impl FnOnce() -> T) -> T {
        tokio::task::yield_now().await;
        let value = work();
        tokio::task::yield_now().await;
        value
    }
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
