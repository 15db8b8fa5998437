//! Puts the pieces together and keeps them running: the ledger, and the tasks that read, serve and
//! push, under a supervisor.
//!
//! Promises: SIGTERM and SIGINT end the process within five seconds. SIGHUP reads token and
//! configuration again and keeps the old ones if the new ones are bad; only tasks whose settings changed
//! start again. A poller or the web server that ends unasked ends the process with its name, rather than
//! count on in silence; an output that ends starts again.

mod account_client;
mod reconciler;
mod signals;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::archive::{
    ArchiveMismatch, ArchiveSettings, ArchiveStatus, ArchivedAccount, check_archive, run_archive,
};
use crate::config::{Account, ConfigError, HistorySettings, Settings};
use crate::cryptolens::{ClientError, IdentityHasher, LogKind, Product};
use crate::history::HistoryOptions;
use crate::ingest::{
    LogId, LogStatus, PollerSettings, SeatKeeper, SeatsSettings, follow_log, follow_products, follow_seats,
    read_earlier_rows,
};
use crate::ledger::{Ledger, LedgerAddress, LedgerEnd, LedgerOptions, OpenError};
use crate::outputs::HistoryDeliveries;
use crate::outputs::otlp::{self, OtlpHistorySettings, OtlpMetrics, OtlpSettings, OtlpSources};
use crate::outputs::remote_write::{self, RemoteWriteSettings, RemoteWriteTarget};
use crate::snapshot::{AccountStatus, Snapshots, Targets};
use crate::supervisor::{SupervisedTask, Supervisor};
use crate::tally::Limits;
use crate::usage::{FloatingSeats, UsageHasher, longest_lease};
use crate::web::{self, Entrance, FrontDoor, ListenError, ReloadOutcome, ReloadRequester};

pub use account_client::AccountClient;
use reconciler::{ReconcileDifferences, ReconcilerSettings};
pub use signals::shutdown_signal;
use signals::{SignalRequest, Signals};

/// The longest time that the ledger may take to configure accounts, and to commit what is under way at
/// the end. Together with the limits of the supervisor's stages it stays below five seconds.
const GRACE: Duration = Duration::from_secs(1);

/// How often a follower of floating seats looks whether the ledger is open.
const LEDGER_LOOK_EVERY: Duration = Duration::from_millis(200);

/// The reason why the process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ledger cannot be opened, or belongs to something else.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The ledger was taken over or replaced.
    #[error(transparent)]
    LedgerEnded(#[from] LedgerEnd),
    /// The archive was written with another key or other identities.
    #[error(transparent)]
    Archive(#[from] ArchiveMismatch),
    /// The address cannot be served on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No client can be made for an account.
    #[error("account {account}: {error}")]
    Client {
        /// The name of the account.
        account: String,
        /// The reason.
        error: ClientError,
    },
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    /// A task ended that nobody had stopped.
    #[error("{task} ended by itself; restart the exporter, and please report this")]
    Ended {
        /// The name of the task.
        task: String,
    },
}

/// Runs until a signal asks it to end. Requests have to pass `door`, `load` reads the settings again.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(
    settings: Settings,
    door: Arc<FrontDoor>,
    load: impl Fn() -> Result<Settings, ConfigError>,
) -> Result<(), DaemonError> {
    let entrance = Entrance::open(&settings.web.listen, door).await?;
    run_on(entrance, settings, load, LedgerAddress::of, |_| {}).await
}

/// As [`run`], on addresses that are taken already. `whose` names the API at a URL, and `started`
/// receives what is served.
///
/// # Errors
/// [`DaemonError`].
pub async fn run_on(
    entrance: Entrance,
    mut settings: Settings,
    load: impl Fn() -> Result<Settings, ConfigError>,
    whose: impl Fn(&Url) -> LedgerAddress,
    started: impl FnOnce(Weak<Snapshots>),
) -> Result<(), DaemonError> {
    let mut signals = Signals::new().map_err(DaemonError::Signals)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(archive) = &settings.archive {
        check_archive(archive)?;
    }
    let mut clients = account_clients(&settings, &[])?;
    // Needs a restart to change.
    let usage = settings.usage.options();
    let shows_seats = settings.usage.seats;
    // The secret of the ledger where it counts keys and machines, so that each is hashed once.
    let hasher = match &usage {
        Some(usage) => Some(Arc::clone(&usage.hasher)),
        None => shows_seats.then(|| Arc::new(UsageHasher::of_process())),
    };
    let seats_hasher = hasher.clone().filter(|_| shows_seats);
    let (ledger, writer) = Ledger::start(LedgerOptions {
        directory: settings.storage_path.clone(),
        address: whose(&settings.api.url),
        foreign: settings.foreign_ledger,
        limits: Limits::default(),
        configured: configured(&settings),
        history: history_options(&settings),
        usage: usage.clone(),
    })?;
    let view = ledger.view();
    let targets = targets(&settings, &clients, &Targets::default(), seats_hasher.as_ref());
    let snapshots = Arc::new(Snapshots::new(view.clone(), targets));
    let address = entrance.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    tracing::info!(
        address,
        scheme = entrance.scheme(),
        path = settings.web.telemetry_path,
        ledger = %settings.storage_path.join("ledger.db").display(),
        accounts = settings.accounts.len(),
        version = crate::VERSION,
        "serving"
    );

    let sources = otlp_sources(&snapshots);
    let deliveries = Arc::new(HistoryDeliveries::default());
    snapshots.registry().register(Arc::clone(&deliveries) as _);
    let archive = Arc::new(ArchiveStatus::default());
    snapshots.registry().register(Arc::clone(&archive) as _);
    let differences = Arc::new(ReconcileDifferences::default());
    snapshots.registry().register(Arc::clone(&differences) as _);
    let mut supervisor = Supervisor::default();
    let (requester, mut reloads) = web::reload_channel();
    let requester = settings.web.enable_lifecycle.then_some(requester);
    supervisor.start(vec![web_server(entrance, &settings, &snapshots, requester)]);
    started(Arc::downgrade(&snapshots));
    let sources = TaskSources {
        ledger: ledger.clone(),
        otlp: sources,
        deliveries,
        archive,
        differences,
        hasher,
        has_sets: usage.is_some(),
    };
    supervisor.start(tasks(&settings, &clients, &snapshots.targets(), &sources));
    let result = loop {
        let asked_over_http = tokio::select! {
            request = signals.next() => match request {
                SignalRequest::End => break Ok(()),
                SignalRequest::Reload => None,
            },
            asked = reloads.next() => Some(asked),
            end = view.wait_for_end() => break Err(end.into()),
            task = supervisor.ended() => break Err(DaemonError::Ended { task }),
        };
        let mut outcome = ReloadOutcome::Refused;
        if let Some((fresh, fresh_clients)) = reload(&settings, &clients, &load, &whose) {
            let applied = async {
                let old = snapshots.targets();
                let targets = self::targets(&fresh, &fresh_clients, &old, seats_hasher.as_ref());
                let wanted = tasks(&fresh, &fresh_clients, &targets, &sources);
                supervisor.stop_changed(&wanted).await;
                // If the ledger is down or held, its writer configures it as soon as it is up.
                let _ = tokio::time::timeout(
                    GRACE,
                    ledger.configure(configured(&fresh), history_options(&fresh)),
                )
                .await;
                snapshots.replace_targets(targets);
                supervisor.start(wanted);
            };
            tokio::select! {
                () = signals.end() => break Ok(()),
                () = applied => {}
            }
            (settings, clients) = (fresh, fresh_clients);
            // Tasks whose settings are the same run on. Those that wait after a refusal or a failure
            // make their next attempt now: that is why an operator asks for a reload.
            clients.iter().for_each(|client| client.client().token().try_again());
            tracing::info!(accounts = settings.accounts.len(), "configuration read again");
            outcome = ReloadOutcome::Applied;
        }
        if let Some(asked) = asked_over_http {
            asked.answer(outcome);
        }
    };
    tracing::info!("ending");
    supervisor.stop_all().await;
    drop((ledger, sources));
    let written = tokio::task::spawn_blocking(move || writer.join());
    if tokio::time::timeout(GRACE, written).await.is_err() {
        tracing::warn!("the ledger did not finish in time; what was not committed will be read again");
    }
    // Found at the last look, or the reason why a poller ended.
    view.ended().map_or(result, |end| Err(end.into()))
}

/// New settings, if they are valid and can be used.
fn reload(
    settings: &Settings,
    clients: &[AccountClient],
    load: &impl Fn() -> Result<Settings, ConfigError>,
    whose: &impl Fn(&Url) -> LedgerAddress,
) -> Option<(Settings, Vec<AccountClient>)> {
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
    let clients = match account_clients(&fresh, clients) {
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

/// A client for each account, in their order: that of `current` where it serves.
pub(crate) fn account_clients(
    settings: &Settings,
    current: &[AccountClient],
) -> Result<Vec<AccountClient>, DaemonError> {
    let options = settings.api.client_options();
    let client = |account: &Account| {
        let current = current.iter().find(|client| **client.name() == *account.name.as_str());
        if let Some(client) = current.filter(|client| client.serves(&options, account)) {
            return Ok(client.clone());
        }
        let api = current.map(|client| Arc::clone(client.api())).unwrap_or_default();
        AccountClient::with_status(&options, account, api)
            .map_err(|error| DaemonError::Client { account: account.name.to_string(), error })
    };
    settings.accounts.iter().map(client).collect()
}

fn configured(settings: &Settings) -> BTreeMap<Arc<str>, Vec<Product>> {
    let products = |account: &Account| (Arc::from(account.name.as_str()), account.products.clone());
    settings.accounts.iter().map(products).collect()
}

/// Logs that are shown already keep their status, and accounts their floating seats. These are followed
/// if there is a hasher for them.
fn targets(
    settings: &Settings,
    clients: &[AccountClient],
    old: &Targets,
    seats_hasher: Option<&Arc<UsageHasher>>,
) -> Targets {
    let status = |(account, client): (&Account, &AccountClient)| {
        let name = Arc::clone(client.name());
        let old = old.accounts.get(&name).cloned().unwrap_or_default();
        let logs = account.logs.iter().map(|log| (*log, old.logs.get(log).cloned().unwrap_or_default()));
        let seats = seats_hasher.filter(|_| account.logs.contains(&LogKind::WebApi)).map(|hasher| {
            let new = || Arc::new(FloatingSeats::new(Arc::clone(&name), Arc::clone(hasher) as _));
            let seats = old.seats.clone().unwrap_or_else(new);
            seats.configure(account.licenses.clone(), account.intervals.web_api);
            seats
        });
        (name, AccountStatus { api: Arc::clone(client.api()), logs: logs.collect(), seats })
    };
    Targets {
        accounts: settings.accounts.iter().zip(clients).map(status).collect(),
        states: settings.states.clone(),
        first_object_code: settings.objects_first_code,
        limits: Limits::default(),
    }
}

/// The shared parts that tasks work with, beside their settings.
struct TaskSources {
    ledger: Ledger,
    otlp: OtlpSources,
    deliveries: Arc<HistoryDeliveries>,
    archive: Arc<ArchiveStatus>,
    differences: Arc<ReconcileDifferences>,
    /// For the rows of the Web API Log, if usage is on, or floating seats are shown.
    hasher: Option<Arc<UsageHasher>>,
    /// True if the ledger keeps sets of keys and machines.
    has_sets: bool,
}

/// The tasks that these settings ask for, but for the web server. An output is one line here.
fn tasks(
    settings: &Settings,
    clients: &[AccountClient],
    targets: &Targets,
    sources: &TaskSources,
) -> Vec<SupervisedTask> {
    let TaskSources { ledger, otlp: otlp_sources, deliveries, archive, differences, hasher, has_sets } =
        sources;
    let mut tasks = Vec::new();
    let has_history = history_options(settings).is_some();
    for (account, client) in settings.accounts.iter().zip(clients) {
        let name = client.name();
        let Some(status) = targets.accounts.get(name) else { continue };
        if client.has_token_file() {
            let watch = client.clone();
            let task = format!("the watch on the token file of account {name}");
            tasks.push(SupervisedTask::essential(task, client.clone(), |shutdown| {
                watch.watch_token(shutdown)
            }));
        }
        tasks.push(products_poller(client.clone(), ledger.clone()));
        if let (Some(seats), Some(hasher)) = (&status.seats, hasher) {
            let settings = SeatsSettings {
                account: Arc::clone(name),
                overlap: settings.overlap,
                licenses: account.licenses.clone(),
            };
            let (seats, hasher) = (Arc::clone(seats), Arc::clone(hasher));
            tasks.push(seats_follower(settings, seats, client.clone(), hasher, ledger.clone()));
        }
        let of_sets = hasher.as_ref().filter(|_| *has_sets);
        if let (Some(hasher), Some(log_status)) = (of_sets, status.logs.get(&LogKind::WebApi)) {
            let (hasher, status) = (Arc::clone(hasher), Arc::clone(log_status));
            tasks.push(earlier_rows_reader(client.clone(), hasher, ledger.clone(), status));
        }
        if let Some(reconcile) = &settings.reconcile {
            let own = ReconcilerSettings {
                account: Arc::clone(name),
                settings: reconcile.clone(),
                storage_path: settings.storage_path.clone(),
            };
            tasks.push(reconciler(own, client, differences));
        }
        for (log, log_status) in &status.logs {
            let poller = PollerSettings {
                id: LogId { account: Arc::clone(name), log: *log },
                interval: account.intervals.of(*log),
                overlap: settings.overlap,
                since: account.since,
                concurrency: settings.api.concurrency,
            };
            let is_web_api = *log == LogKind::WebApi;
            let rows = RowUses {
                hasher: hasher.clone().filter(|_| is_web_api).map(|hasher| hasher as Arc<dyn IdentityHasher>),
                seats: status.seats.clone().filter(|_| is_web_api).map(|seats| seats as Arc<dyn SeatKeeper>),
            };
            let (ledger, log_status) = (ledger.clone(), Arc::clone(log_status));
            tasks.push(log_poller(poller, has_history, client.clone(), rows, ledger, log_status));
        }
    }
    let push =
        |push: &OtlpSettings| SupervisedTask::output("the otlp push", push.clone(), otlp_sources, otlp::run);
    tasks.extend(settings.otlp.as_ref().map(push));
    tasks.extend(history_senders(settings, ledger, deliveries));
    tasks.extend(settings.archive.as_ref().map(|own| archiver(own, settings, clients, archive)));
    tasks
}

/// The task that archives all logs.
fn archiver(
    archive: &ArchiveSettings,
    settings: &Settings,
    clients: &[AccountClient],
    status: &Arc<ArchiveStatus>,
) -> SupervisedTask {
    let logs = settings.accounts.iter().zip(clients);
    let logs: Vec<(AccountClient, Vec<LogKind>)> =
        logs.map(|(account, client)| (client.clone(), account.logs.clone())).collect();
    let own = (archive.clone(), settings.storage_path.clone(), logs);
    SupervisedTask::output("the archive", own, status, |(archive, storage, logs), status, shutdown| {
        let account = |(client, logs): (AccountClient, Vec<LogKind>)| ArchivedAccount {
            name: Arc::clone(client.name()),
            client: client.client().clone(),
            api: Arc::clone(client.api()),
            logs,
        };
        run_archive(archive, logs.into_iter().map(account).collect(), storage, status, shutdown)
    })
}

/// A task for each target of the history.
fn history_senders(
    settings: &Settings,
    ledger: &Ledger,
    deliveries: &Arc<HistoryDeliveries>,
) -> Vec<SupervisedTask> {
    let HistorySettings { remote_write, otlp, window, labels, .. } = &settings.history;
    let sources = (ledger.clone(), Arc::clone(deliveries));
    let sender = |target: &RemoteWriteTarget| {
        let name = format!("the history to {}", target.name);
        let own = RemoteWriteSettings { target: target.clone(), labels: labels.clone(), window: *window };
        SupervisedTask::output(name, own, &sources, remote_write::run)
    };
    let mut senders: Vec<SupervisedTask> = remote_write.iter().map(sender).collect();
    if let Some(push) = settings.otlp.as_ref().filter(|_| *otlp) {
        let own = OtlpHistorySettings { push: push.clone(), labels: labels.clone(), window: *window };
        senders.push(SupervisedTask::output("the history by otlp", own, &sources, otlp::run_history));
    }
    senders
}

/// The options under which the ledger keeps history for its targets; `None` without a target.
fn history_options(settings: &Settings) -> Option<HistoryOptions> {
    let history = &settings.history;
    let targets = history.target_names();
    (!targets.is_empty()).then_some(HistoryOptions {
        targets,
        window: history.window,
        outbox_limit: history.outbox_limit,
        first_object_code: settings.objects_first_code,
    })
}

fn otlp_sources(snapshots: &Arc<Snapshots>) -> OtlpSources {
    let metrics = Arc::new(OtlpMetrics::default());
    snapshots.registry().register(Arc::clone(&metrics) as _);
    let (values, identity) = (Arc::clone(snapshots), Arc::clone(snapshots));
    OtlpSources {
        snapshot: Arc::new(move || values.snapshot()),
        metrics,
        instance_id: Arc::new(move || Some(Arc::clone(&identity.committed()?.instance_id))),
    }
}

fn web_server(
    entrance: Entrance,
    settings: &Settings,
    snapshots: &Arc<Snapshots>,
    reload: Option<ReloadRequester>,
) -> SupervisedTask {
    let router = web::router(
        Arc::clone(snapshots),
        &settings.web.telemetry_path,
        settings.web.openmetrics_created,
        reload,
    );
    let counts = Arc::new(web::HttpConnections::default());
    snapshots.registry().register(Arc::clone(&counts) as _);
    let options = web::ServerOptions {
        max_connections: settings.web.max_connections,
        accounts: settings.accounts.len(),
        timeouts: web::Timeouts::default(),
        counts,
    };
    let serve = |shutdown: CancellationToken| web::serve(entrance, router, options, shutdown);
    SupervisedTask::essential("the http server", (), serve).permanent()
}

fn products_poller(client: AccountClient, ledger: Ledger) -> SupervisedTask {
    let task = format!("the poller of products of account {}", client.name());
    SupervisedTask::essential(task, client.clone(), |shutdown| async move {
        let (name, api) = (Arc::clone(client.name()), Arc::clone(client.api()));
        follow_products(name, client.client().clone(), ledger, api, shutdown).await;
    })
}

/// The uses of a log's rows beside counting.
struct RowUses {
    hasher: Option<Arc<dyn IdentityHasher>>,
    seats: Option<Arc<dyn SeatKeeper>>,
}

/// Begins when the ledger is open: it has the secret of the hashes, and knows how long leases are.
fn seats_follower(
    settings: SeatsSettings,
    seats: Arc<FloatingSeats>,
    client: AccountClient,
    hasher: Arc<UsageHasher>,
    ledger: Ledger,
) -> SupervisedTask {
    let task = format!("the follower of floating seats of account {}", settings.account);
    let key = (settings.clone(), client.clone());
    SupervisedTask::essential(task, key, move |shutdown| async move {
        let known = async {
            loop {
                let committed = ledger.view().committed().filter(|_| hasher.secret().is_some());
                if let Some(committed) = committed {
                    let account = committed.accounts.get(&settings.account);
                    break account.map_or(0, |account| longest_lease(&account.tally));
                }
                tokio::time::sleep(LEDGER_LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            seconds = known => seats.expect_lease(seconds),
        }
        let api = Arc::clone(client.api());
        let source = client.client().clone().with_hasher(Some(hasher as _));
        follow_seats(settings, source, seats, api, shutdown).await;
    })
}

/// Gives usage that was turned on later the days that the log still has. For a ledger that keeps no sets
/// it would look for ever for what is wanted.
fn earlier_rows_reader(
    client: AccountClient,
    hasher: Arc<UsageHasher>,
    ledger: Ledger,
    status: Arc<LogStatus>,
) -> SupervisedTask {
    let task = format!("the reader of earlier entries of account {}", client.name());
    SupervisedTask::essential(task, client.clone(), move |shutdown| async move {
        let (name, api) = (Arc::clone(client.name()), Arc::clone(client.api()));
        let source = client.client().clone().with_hasher(Some(hasher as _));
        let token = source.token().clone();
        read_earlier_rows(name, (source, token), ledger, api, status, shutdown).await;
    })
}

/// Compares with the vendor's own counts and with the ledger.
fn reconciler(
    own: ReconcilerSettings,
    client: &AccountClient,
    differences: &Arc<ReconcileDifferences>,
) -> SupervisedTask {
    let task = format!("the comparison of account {} with the log", own.account);
    let own = (own, client.clone());
    SupervisedTask::output(task, own, differences, |(own, client), differences, shutdown| {
        let requests = (client.client().clone(), Arc::clone(client.api()));
        reconciler::compare_settled_days(own, requests, differences, shutdown)
    })
}

/// A poller learns whether there is history when it opens its log, so it starts again if that changes.
fn log_poller(
    settings: PollerSettings,
    has_history: bool,
    client: AccountClient,
    RowUses { hasher, seats }: RowUses,
    ledger: Ledger,
    status: Arc<LogStatus>,
) -> SupervisedTask {
    let LogId { account, log } = settings.id.clone();
    let task = format!("the poller of log {log} of account {account}");
    let key = (settings.clone(), has_history, client.clone());
    SupervisedTask::essential(task, key, move |shutdown| async move {
        let api = Arc::clone(client.api());
        let source = client.client().clone().with_hasher(hasher);
        follow_log(settings, source, ledger, status, api, seats, shutdown).await;
    })
}
