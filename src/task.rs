//! Waiting for a task that another one started: a panic of the task continues in the one that
//! waits. The module knows nothing of what the tasks do.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio::task::JoinError;

/// Waits for a task, and continues its panic here. A task is cancelled only when the runtime shuts
/// down, which drops the waiting one too, so this never returns then.
pub(crate) async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
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

/// A thread for blocking work that goes on for long, a piece at a time.
///
/// The allocator keeps what a thread frees for that thread. Work that takes much memory and gives it
/// back, each time on another thread, holds it several times: an archive of 10 million rows took 154
/// MB on threads that changed, and 92 MB where all of them shared one heap.
pub(crate) struct BlockingThread {
    /// None if no thread could be had; any thread does it then.
    jobs: Option<mpsc::Sender<Job>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl BlockingThread {
    /// Starts it. It ends once this is dropped and its work is done.
    pub(crate) fn start(name: &str) -> BlockingThread {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || queue.into_iter().for_each(|job| job()));
        BlockingThread { jobs: started.is_ok().then_some(jobs) }
    }

    /// Does a piece of work there, and waits for it.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        #[cfg(test)]
        if inline::IS_INLINE.get() {
            return inline::run(work).await;
        }
        let Some(jobs) = &self.jobs else { return spawn_blocking(work).await };
        let (done, result) = oneshot::channel();
        let job = move || {
            // Nobody waits any more if the one who did was dropped.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        };
        // The thread lasts as long as the sender, whatever its jobs do.
        let _ = jobs.send(Box::new(job));
        match result.await {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => std::future::pending().await,
        }
    }
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

    #[tokio::test]
    async fn a_thread_does_all_its_work_and_survives_a_panic() {
        let thread = std::sync::Arc::new(BlockingThread::start("work"));
        let id = || std::thread::current().id();
        let first = thread.run(id).await;
        assert_ne!(first, id());
        let shared = std::sync::Arc::clone(&thread);
        let panicked = tokio::spawn(async move { shared.run(|| panic!("a bug")).await }).await.unwrap_err();
        assert_eq!(panicked.into_panic().downcast_ref(), Some(&"a bug"));
        assert_eq!(thread.run(id).await, first);
    }
}
