//! Puts the pieces together and keeps them running: ledger, pollers, server, signals.
//!
//! Promises: SIGTERM and SIGINT end it within five seconds; SIGHUP reads token and configuration again and keeps the
//! old ones if the new ones are bad; a task that ends by itself ends the process rather than counting on in silence.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Account, ConfigError, Settings, TokenSource};
use crate::cryptolens::{Client, ClientError, Product, Token};
use crate::ingest::{LogId, PollerSettings, Stopped, follow_log, follow_products};
use crate::ledger::{Ledger, LedgerAddress, LedgerEnd, LedgerOptions, OpenError};
use crate::snapshot::{AccountStatus, Snapshots, Targets};
use crate::tally::Limits;
use crate::web::{self, ListenError};

/// How long pollers, connections and commits under way may each take to end; together they must stay below five seconds,
/// also if the process is told to end in the middle of a reload.
const GRACE: Duration = Duration::from_secs(1);

/// Why the process could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ledger is another's.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The ledger has become another's.
    #[error(transparent)]
    LedgerEnded(#[from] LedgerEnd),
    /// There is no address to serve on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An account can't be reached in principle.
    #[error("account {account}: {error}")]
    Client {
        /// Its name.
        account: String,
        /// Why.
        error: ClientError,
    },
    /// The operating system refuses to tell of signals.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    /// Something that runs for ever did not.
    #[error("{task} ended by itself; restart the exporter, and please report this")]
    Ended {
        /// What it was.
        task: String,
    },
}

/// Signals to this process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Told {
    End,
    Reload,
}

impl Signals {
    fn new() -> Result<Signals, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Signals);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

/// Runs until told to end. `load` reads the settings again.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(
    settings: Settings,
    load: impl Fn() -> Result<Settings, ConfigError>,
) -> Result<(), DaemonError> {
    let listener = web::listen(settings.web.listen).await?;
    run_on(listener, settings, load, LedgerAddress::of, |_| {}).await
}

/// Ready when the operating system or somebody at the terminal asks the process to end; never if that can't be noticed.
pub fn told_to_end() -> impl Future<Output = ()> {
    // Listens from now on, not from the first time that somebody waits: a signal in between would kill the process.
    let signals = Signals::new();
    async move {
        let Ok(mut signals) = signals else { return std::future::pending().await };
        while let Told::Reload = signals.next().await {}
    }
}

/// As [`run`], on an address that is taken already; `whose` names the API at a URL, and `started` is handed what is
/// served.
///
/// # Errors
/// [`DaemonError`].
pub async fn run_on(
    listener: TcpListener,
    mut settings: Settings,
    load: impl Fn() -> Result<Settings, ConfigError>,
    whose: impl Fn(&Url) -> LedgerAddress,
    started: impl FnOnce(Weak<Snapshots>),
) -> Result<(), DaemonError> {
    let mut signals = Signals::new()?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let clients = clients(&settings)?;
    let (ledger, writer) = Ledger::start(LedgerOptions {
        directory: settings.storage_path.clone(),
        address: whose(&settings.api.url),
        foreign: settings.foreign_ledger,
        limits: Limits::default(),
        configured: configured(&settings),
    })?;
    let view = ledger.view();
    let snapshots = Arc::new(Snapshots::new(view.clone(), targets(&settings, &Targets::default())));
    let address = listener.local_addr().map_or_else(|_| settings.web.listen.to_string(), |at| at.to_string());
    tracing::info!(
        address,
        path = settings.web.telemetry_path,
        ledger = %settings.storage_path.join("ledger.db").display(),
        accounts = settings.accounts.len(),
        version = crate::VERSION,
        "serving"
    );

    let closing = CancellationToken::new();
    let router = web::router(Arc::clone(&snapshots), &settings.web.telemetry_path);
    let listener = web::StallListener::new(listener);
    let server = axum::serve(listener, router).with_graceful_shutdown(closing.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());

    started(Arc::downgrade(&snapshots));
    let mut pollers = Pollers::start(&settings, clients, &ledger, &snapshots.targets());
    let result = loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => break Ok(()),
                Told::Reload => {
                    if let Some((fresh, clients)) = reload(&settings, &load, &whose) {
                        pollers.stop().await;
                        let targets = targets(&fresh, &snapshots.targets());
                        // If the ledger is down or held, the writer takes them over as soon as it is up.
                        let _ = tokio::time::timeout(GRACE, ledger.configure(configured(&fresh))).await;
                        snapshots.replace_targets(targets);
                        pollers = Pollers::start(&fresh, clients, &ledger, &snapshots.targets());
                        settings = fresh;
                        tracing::info!(accounts = settings.accounts.len(), "configuration read again");
                    }
                }
            },
            end = view.wait_for_end() => break Err(end.into()),
            task = pollers.ended() => break Err(DaemonError::Ended { task }),
            _ = &mut server => break Err(DaemonError::Ended { task: "the http server".to_owned() }),
        }
    };
    tracing::info!("ending");
    closing.cancel();
    let _ = tokio::time::timeout(GRACE, pollers.stop()).await;
    let abort = server.abort_handle();
    if tokio::time::timeout(GRACE, server).await.is_err() {
        // Somebody keeps a connection open.
        abort.abort();
    }
    drop(ledger);
    let written = tokio::task::spawn_blocking(move || writer.join());
    if tokio::time::timeout(GRACE, written).await.is_err() {
        tracing::warn!("the ledger did not finish in time; what was not committed will be read again");
    }
    // Found at the last look, or what made a poller end.
    view.ended().map_or(result, |end| Err(end.into()))
}

/// New settings, if they are good and can be used.
fn reload(
    settings: &Settings,
    load: &impl Fn() -> Result<Settings, ConfigError>,
    whose: &impl Fn(&Url) -> LedgerAddress,
) -> Option<(Settings, Vec<(Client, Follow)>)> {
    let fresh = match load() {
        Ok(fresh) => fresh,
        Err(error) => {
            tracing::error!(%error, "the new configuration is bad, the old one stays in use");
            return None;
        }
    };
    let (old, new) = (whose(&settings.api.url), whose(&fresh.api.url));
    if new != old {
        tracing::error!(
            "the new configuration is for {new}, and the ledger belongs to {old}; the old configuration stays in use. restart the exporter to change --api.url"
        );
        return None;
    }
    let clients = match clients(&fresh) {
        Ok(clients) => clients,
        Err(error) => {
            tracing::error!(%error, "the new configuration cannot be used, the old one stays in use");
            return None;
        }
    };
    for warning in &fresh.warnings {
        tracing::warn!("{warning}");
    }
    let changed = settings.restart.changed(&fresh.restart);
    if !changed.is_empty() {
        let settings = changed.iter().map(|flag| format!("--{flag}")).collect::<Vec<_>>().join(",");
        tracing::warn!(settings, "the new values of these settings need a restart");
    }
    Some((fresh, clients))
}

/// Keeps the token up to date while it is polled.
pub(crate) type Follow = Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>;

/// One client per account, in their order.
pub(crate) fn clients(settings: &Settings) -> Result<Vec<(Client, Follow)>, DaemonError> {
    let options = settings.api.client_options();
    let client = |account: &Account| {
        let (token, follow): (Token, Follow) = match &account.token {
            TokenSource::Value(token) => (Token::fixed(token.clone()), None),
            TokenSource::File { path, initial } => {
                let (token, follow) = Token::file(path.clone(), initial.clone());
                (token, Some(Box::pin(follow)))
            }
        };
        let client = Client::new(&options, token)
            .map_err(|error| DaemonError::Client { account: account.name.to_string(), error })?;
        Ok((client, follow))
    };
    settings.accounts.iter().map(client).collect()
}

fn configured(settings: &Settings) -> BTreeMap<Arc<str>, Vec<Product>> {
    let products = |account: &Account| (Arc::from(account.name.as_str()), account.products.clone());
    settings.accounts.iter().map(products).collect()
}

/// Accounts and logs that are polled already keep their status.
fn targets(settings: &Settings, old: &Targets) -> Targets {
    let status = |account: &Account| {
        let name: Arc<str> = Arc::from(account.name.as_str());
        let old = old.accounts.get(&name).cloned().unwrap_or_default();
        let logs = account.logs.iter().map(|log| (*log, old.logs.get(log).cloned().unwrap_or_default()));
        (name, AccountStatus { api: old.api, logs: logs.collect() })
    };
    Targets {
        accounts: settings.accounts.iter().map(status).collect(),
        states: settings.states.clone(),
        first_object_code: settings.objects_first_code,
        limits: Limits::default(),
    }
}

/// All tasks that talk to the Web API.
struct Pollers {
    tasks: JoinSet<(String, Stopped)>,
    cancel: CancellationToken,
}

impl Pollers {
    fn start(
        settings: &Settings,
        clients: Vec<(Client, Follow)>,
        ledger: &Ledger,
        targets: &Targets,
    ) -> Pollers {
        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (account, (client, follow)) in settings.accounts.iter().zip(clients) {
            let name: Arc<str> = Arc::from(account.name.as_str());
            let Some(status) = targets.accounts.get(&name) else { continue };
            if let Some(follow) = follow {
                let cancel = cancel.clone();
                let task = format!("the watch on the token file of account {name}");
                tasks.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = follow => {}
                    }
                    (task, Stopped::Cancelled)
                });
            }
            let task = format!("the poller of products of account {name}");
            let products = follow_products(
                Arc::clone(&name),
                client.clone(),
                ledger.clone(),
                Arc::clone(&status.api),
                cancel.clone(),
            );
            tasks.spawn(async move { (task, products.await) });
            for (log, log_status) in &status.logs {
                let log = *log;
                let settings = PollerSettings {
                    id: LogId { account: Arc::clone(&name), log },
                    interval: account.intervals.of(log),
                    overlap: settings.overlap,
                    since: account.since,
                };
                let task = format!("the poller of log {log} of account {name}");
                let poller = follow_log(
                    settings,
                    client.clone(),
                    ledger.clone(),
                    Arc::clone(log_status),
                    Arc::clone(&status.api),
                    cancel.clone(),
                );
                tasks.spawn(async move { (task, poller.await) });
            }
        }
        Pollers { tasks, cancel }
    }

    /// Waits for a task that ends without being told to, and tells which.
    async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok((task, _))) => task,
            Some(Err(error)) => format!("a poller ({error})"),
            // There is at least one account with at least one log.
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pollers() -> Pollers {
        Pollers { tasks: JoinSet::new(), cancel: CancellationToken::new() }
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_noticed_at_once() {
        let mut ended = pollers();
        ended.tasks.spawn(std::future::pending());
        ended.tasks.spawn(async { ("the poller of log events".to_owned(), Stopped::LedgerClosed) });
        assert_eq!(ended.ended().await, "the poller of log events");

        let mut panicked = pollers();
        panicked.tasks.spawn(std::future::pending());
        panicked.tasks.spawn(async { panic!("a bug") });
        assert!(panicked.ended().await.starts_with("a poller ("));
    }
}
