//! Tasks that belong to the one that waits for them: their panic is its panic, and they end with it.

use tokio::task::JoinError;

/// Waits for such a task. A runtime that goes down takes both along, so nothing comes back then.
pub(crate) async fn joined<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Works where it keeps no other task of the runtime waiting.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_comes_through() {
        assert_eq!(aside(|| 7).await, 7);
        let panicked = tokio::spawn(aside(|| panic!("a bug"))).await.unwrap_err();
        assert_eq!(panicked.into_panic().downcast_ref(), Some(&"a bug"));
    }
}
