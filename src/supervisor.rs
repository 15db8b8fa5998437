//! Runs the named tasks of the daemon: starts them, notices one that ends, starts those again whose
//! settings changed, and stops them in order.
//!
//! Promises:
//! - The end of an *essential* task (a poller, the web server) that nobody asked for is reported
//!   with the task's name, a panic included; the daemon then stops the process rather than count on
//!   in silence.
//! - An *output* that ends or panics starts again after a wait with backoff and one line at ERROR;
//!   it never stops the process.
//! - A reload stops only the tasks that are gone or whose settings differ, and starts the new ones.
//! - A stop goes through the stages in their order, and waits for each at most as long as the stage
//!   allows. A task that is still there then is aborted.
//!
//! It knows no settings and no task: it is given both by the daemon.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Waits};

/// A part of the shutdown. Stages stop in this order, those before an output so that it shows their
/// last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Tasks that read from the Web API, and the web server.
    Input,
    /// Tasks that push what is committed.
    Output,
}

impl Stage {
    const ORDER: [Stage; 2] = [Stage::Input, Stage::Output];

    /// The longest time that the tasks of the stage may take to stop. Together with the second of
    /// the ledger's writer it stays below the five seconds of SIGTERM.
    const fn limit(self) -> Duration {
        match self {
            Stage::Input => Duration::from_secs(1),
            // A last push and one that marks the series as ended.
            Stage::Output => Duration::from_secs(2),
        }
    }
}

/// The wait before an output starts again.
const RESTART: fn() -> Waits = || Backoff::API.waits();
/// An output that ran for this long had started well: the next wait is short again.
const STABLE: Duration = Duration::from_secs(600);

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts a task, once or as often as it ends.
enum Start {
    Once(Box<dyn FnOnce(CancellationToken) -> TaskFuture + Send>),
    Again(Box<dyn Fn(CancellationToken) -> TaskFuture + Send + Sync>),
}

/// Settings whose type is known to the task only.
trait TaskSettings: Any + Send {
    fn is_same(&self, other: &dyn TaskSettings) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<S: PartialEq + Send + 'static> TaskSettings for S {
    fn is_same(&self, other: &dyn TaskSettings) -> bool {
        other.as_any().downcast_ref::<S>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A task that has not started.
pub struct SupervisedTask {
    name: String,
    stage: Stage,
    settings: Box<dyn TaskSettings>,
    /// Whether the task runs on through every reload.
    permanent: bool,
    start: Start,
}

impl std::fmt::Debug for SupervisedTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisedTask")
            .field("name", &self.name)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl SupervisedTask {
    /// A task without which the process must not go on. `settings` are compared at a reload.
    pub fn essential<S, F, T>(name: impl Into<String>, settings: S, run: F) -> SupervisedTask
    where
        S: PartialEq + Send + 'static,
        F: FnOnce(CancellationToken) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let start: Box<dyn FnOnce(CancellationToken) -> TaskFuture + Send> =
            Box::new(move |shutdown| Box::pin(run(shutdown)));
        SupervisedTask {
            name: name.into(),
            stage: Stage::Input,
            settings: Box::new(settings),
            permanent: false,
            start: Start::Once(start),
        }
    }

    /// The same task, but no reload stops it.
    #[must_use]
    pub fn permanent(self) -> SupervisedTask {
        SupervisedTask { permanent: true, ..self }
    }

    /// An output: a task over these sources that starts again if it ends.
    pub fn output<S, R, F, T>(name: impl Into<String>, settings: S, sources: &R, run: F) -> SupervisedTask
    where
        S: Clone + PartialEq + Send + Sync + 'static,
        R: Clone + Send + Sync + 'static,
        F: Fn(S, R, CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let (own, sources) = (settings.clone(), sources.clone());
        let start: Box<dyn Fn(CancellationToken) -> TaskFuture + Send + Sync> =
            Box::new(move |shutdown| Box::pin(run(own.clone(), sources.clone(), shutdown)));
        SupervisedTask {
            name: name.into(),
            stage: Stage::Output,
            settings: Box::new(settings),
            permanent: false,
            start: Start::Again(start),
        }
    }
}

/// A task that runs.
struct RunningTask {
    stage: Stage,
    settings: Box<dyn TaskSettings>,
    permanent: bool,
    shutdown: CancellationToken,
    abort: AbortHandle,
}

/// The tasks that run.
#[derive(Default)]
pub struct Supervisor {
    tasks: JoinSet<()>,
    running: BTreeMap<String, RunningTask>,
    /// Names of tasks that ended while others were being stopped.
    ended: VecDeque<String>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("running", &self.running.keys()).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Stops the tasks that `wanted` does not have, or has with other settings.
    pub async fn stop_changed(&mut self, wanted: &[SupervisedTask]) {
        let is_same = |name: &str, running: &RunningTask| {
            let wanted = wanted.iter().find(|task| task.name == name);
            wanted.is_some_and(|task| task.settings.is_same(&*running.settings))
        };
        let changed =
            self.running.iter().filter(|(name, running)| !running.permanent && !is_same(name, running));
        let changed: BTreeSet<String> = changed.map(|(name, _)| name.clone()).collect();
        self.stop(&changed).await;
    }

    /// Starts the tasks that do not run yet.
    pub fn start(&mut self, wanted: Vec<SupervisedTask>) {
        for task in wanted {
            let SupervisedTask { name, stage, settings, permanent, start } = task;
            if self.running.contains_key(&name) {
                continue;
            }
            let shutdown = CancellationToken::new();
            let future = match start {
                Start::Once(start) => start(shutdown.clone()),
                Start::Again(start) => Box::pin(keep_running(name.clone(), start, shutdown.clone())),
            };
            let abort = self.tasks.spawn(future);
            self.running.insert(name, RunningTask { stage, settings, permanent, shutdown, abort });
        }
    }

    /// Waits for a task that ends although nobody stopped it, and returns its name.
    pub async fn ended(&mut self) -> String {
        if let Some(name) = self.ended.pop_front() {
            return name;
        }
        loop {
            match self.tasks.join_next_with_id().await {
                Some(joined) => {
                    if let Some(name) = self.remove(&joined) {
                        return name;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all tasks.
    pub async fn stop_all(&mut self) {
        let all: BTreeSet<String> = self.running.keys().cloned().collect();
        self.stop(&all).await;
    }

    async fn stop(&mut self, names: &BTreeSet<String>) {
        for stage in Stage::ORDER {
            let concerns = |name: &String, task: &RunningTask| task.stage == stage && names.contains(name);
            let mut left: BTreeSet<String> = BTreeSet::new();
            for (name, task) in self.running.iter().filter(|(name, task)| concerns(name, task)) {
                task.shutdown.cancel();
                left.insert(name.clone());
            }
            let deadline = Instant::now() + stage.limit();
            while !left.is_empty() {
                match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                    Ok(Some(joined)) => {
                        let Some(name) = self.remove(&joined) else { continue };
                        if !left.remove(&name) {
                            self.ended.push_back(name);
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {
                        for name in std::mem::take(&mut left) {
                            tracing::debug!(task = name, "aborted: it took too long to stop");
                            if let Some(task) = self.running.remove(&name) {
                                task.abort.abort();
                            }
                        }
                    }
                }
            }
        }
    }

    /// Takes a task that ended from the running ones. `None` if it was aborted.
    fn remove(&mut self, joined: &Result<(Id, ()), JoinError>) -> Option<String> {
        let id = match joined {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let name = self.running.iter().find(|(_, task)| task.abort.id() == id)?.0.clone();
        self.running.remove(&name);
        Some(name)
    }
}

/// Starts an output again and again until the shutdown signal.
async fn keep_running(
    name: String,
    start: Box<dyn Fn(CancellationToken) -> TaskFuture + Send + Sync>,
    shutdown: CancellationToken,
) {
    let mut waits = RESTART();
    loop {
        let started = Instant::now();
        // A task of its own, so that a panic ends it alone; dropped, and so aborted, with this one.
        let mut task = JoinSet::new();
        task.spawn(start(shutdown.clone()));
        let joined = task.join_next().await;
        if shutdown.is_cancelled() {
            return;
        }
        if started.elapsed() >= STABLE {
            waits.reset();
        }
        let wait = waits.next_wait();
        let reason = match joined {
            Some(Err(error)) => error.to_string(),
            _ => "it returned".to_owned(),
        };
        tracing::error!(
            task = name,
            reason,
            seconds = wait.as_secs_f64(),
            "an output ended, starting it again"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Events = Arc<Mutex<Vec<String>>>;

    fn note(events: &Events, event: impl Into<String>) {
        events.lock().unwrap().push(event.into());
    }

    fn noted(events: &Events) -> Vec<String> {
        events.lock().unwrap().drain(..).collect()
    }

    /// Runs until the shutdown signal, then takes some time.
    fn patient(name: &'static str, settings: u8, takes: Duration, events: &Events) -> SupervisedTask {
        let events = Arc::clone(events);
        SupervisedTask::essential(name, settings, move |shutdown| async move {
            note(&events, format!("{name} {settings} starts"));
            shutdown.cancelled().await;
            tokio::time::sleep(takes).await;
            note(&events, format!("{name} {settings} stops"));
        })
    }

    /// An output that runs until the shutdown signal.
    fn output(name: &'static str, settings: u8, events: &Events) -> SupervisedTask {
        SupervisedTask::output(name, settings, events, move |settings, events, shutdown| async move {
            note(&events, format!("{name} {settings} starts"));
            shutdown.cancelled().await;
            note(&events, format!("{name} {settings} stops"));
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_or_panics_is_reported_by_its_name() {
        let mut supervisor = Supervisor::default();
        supervisor.start(vec![
            SupervisedTask::essential("patient", (), |_| std::future::pending()),
            SupervisedTask::essential("the poller of events", (), |_| async {}),
        ]);
        assert_eq!(supervisor.ended().await, "the poller of events");
        supervisor.start(vec![SupervisedTask::essential("broken", (), |_| async { panic!("a bug") })]);
        assert_eq!(supervisor.ended().await, "broken");
        let more = tokio::time::timeout(Duration::from_secs(3600), supervisor.ended()).await;
        assert!(more.is_err(), "the patient one runs on");
    }

    #[tokio::test(start_paused = true)]
    async fn an_output_that_ends_starts_again_and_stops_nobody() {
        let events = Events::default();
        let mut supervisor = Supervisor::default();
        supervisor.start(vec![SupervisedTask::output("flaky", (), &events, |(), events, _| async move {
            note(&events, "started");
            assert!(events.lock().unwrap().len() > 3, "a bug");
        })]);
        // The longest wait is a minute, and a wait of an hour leaves room for many starts.
        let ended = tokio::time::timeout(Duration::from_secs(3600), supervisor.ended()).await;
        assert!(ended.is_err());
        let starts = noted(&events).len();
        assert!((60..600).contains(&starts), "{starts} starts in an hour");
        supervisor.stop_all().await;
        assert_eq!(noted(&events).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_touches_only_what_changed() {
        let events = Events::default();
        let short = Duration::ZERO;
        let tasks = |b: u8, otlp: u8| {
            vec![
                patient("a", 1, short, &events),
                patient("b", b, short, &events),
                output("otlp", otlp, &events),
            ]
        };
        let mut supervisor = Supervisor::default();
        supervisor.start(tasks(1, 1));
        supervisor.start(vec![patient("web", 1, short, &events).permanent()]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        noted(&events);

        let wanted = tasks(2, 1);
        supervisor.stop_changed(&wanted).await;
        assert_eq!(noted(&events), ["b 1 stops"]);
        supervisor.start(wanted);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(noted(&events), ["b 2 starts"]);

        let mut wanted = tasks(2, 2);
        wanted.remove(0);
        supervisor.stop_changed(&wanted).await;
        assert_eq!(noted(&events), ["a 1 stops", "otlp 1 stops"]);
        supervisor.start(wanted);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(noted(&events), ["otlp 2 starts"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_during_a_reload_is_not_lost() {
        let events = Events::default();
        let mut supervisor = Supervisor::default();
        supervisor.start(vec![
            patient("slow", 1, Duration::from_millis(500), &events),
            SupervisedTask::essential("short-lived", (), |_| tokio::time::sleep(Duration::from_millis(100))),
        ]);
        let wanted = vec![SupervisedTask::essential("short-lived", (), |_| std::future::pending())];
        supervisor.stop_changed(&wanted).await;
        assert_eq!(supervisor.ended().await, "short-lived");
    }

    #[tokio::test(start_paused = true)]
    async fn outputs_stop_after_the_tasks_that_they_show() {
        let events = Events::default();
        let mut supervisor = Supervisor::default();
        supervisor.start(vec![
            output("otlp", 1, &events),
            patient("poller", 1, Duration::from_millis(900), &events),
            patient("web", 1, Duration::from_millis(100), &events),
        ]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        noted(&events);
        let began = Instant::now();
        supervisor.stop_all().await;
        assert_eq!(noted(&events), ["web 1 stops", "poller 1 stops", "otlp 1 stops"]);
        assert_eq!(began.elapsed(), Duration::from_millis(900));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_aborted_in_time() {
        let events = Events::default();
        let mut supervisor = Supervisor::default();
        supervisor.start(vec![
            patient("stuck", 1, Duration::from_secs(3600), &events),
            SupervisedTask::output("stuck output", (), &events, |(), _, _| std::future::pending()),
        ]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        noted(&events);
        let began = Instant::now();
        supervisor.stop_all().await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert_eq!(noted(&events).len(), 0, "nothing runs on");
    }
}
