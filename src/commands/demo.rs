//! `demo`: everything at once, without an account. The simulator runs inside the process, and the
//! real poller, ledger and server run against it over HTTP.
//!
//! It prints the commands that answer what a graph raises, with a license key that exists. Spikes of
//! failures come one at a time, each long enough for the alert rules to fire and to resolve, and say
//! when they begin.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use cryptolens_simulator::{
    InventedTexts, License, Log, Options, Simulator, SimulatorError, SoldProduct, Spike,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::failure::CommandFailure;
use super::front_door;
use crate::archive::{ArchiveIdentities, ArchiveSettings};
use crate::config::{
    self, Account, AccountName, Api, DemoSettings, FlagValues, ReconcileSettings, RestartValues, Settings,
    SystemEnvironment, TokenSource,
};
use crate::cryptolens::{Concurrency, LogKind, Outcome};
use crate::daemon::{self, DaemonError};
use crate::ingest::Since;
use crate::ledger::{Committed, DEMO_WORLD, ForeignLedger, LedgerAddress};
use crate::logging;
use crate::report::options::ExcludedKeys;
use crate::snapshot::Snapshots;
use crate::web::{Entrance, FrontDoor, ListenError};

/// Enough for graphs that live, and a history that is read in seconds.
const REQUESTS_PER_MINUTE: f64 = 15.0;

/// The simulator plans some incidents for each week.
const FORTNIGHT: i64 = 14 * 24 * 3600;

const HISTORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The first failure spike: soon enough for somebody who only has a look, late enough for graphs to
/// show what is usual.
const FIRST_SPIKE: Duration = Duration::from_secs(3 * 60);
/// From the beginning of a spike to that of the next one. The longest window of the alert on spikes
/// is 15 minutes, so that each has resolved half an hour before the next one begins.
const SPIKE_EVERY: Duration = Duration::from_secs(60 * 60);
/// The alert fires within 3 minutes and looks at 15: the graphs show the whole of it.
const SPIKE_MINUTES: u32 = 15;
const FAILURE_SHARE: f64 = 0.6;
/// The directory of the archive, in that of the ledger.
const ARCHIVE: &str = "archive";
/// Soon enough for somebody who has a look. A day is right for a real archive.
const ARCHIVE_EVERY: Duration = Duration::from_secs(2 * 60);
/// A day is read each time, which is some seconds of the simulator.
const RECONCILE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Any token does, as the simulator asks for no certain one.
const TOKEN: &str = "demo";

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// There is no address to serve on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The simulator did not start.
    #[error("simulator: {0}")]
    Simulator(#[from] SimulatorError),
    /// Its address is no URL.
    #[error("simulator: {0}")]
    Url(#[from] url::ParseError),
    /// The directory holds the ledger of an account.
    #[error(
        "{}: this ledger was not written by the demo, whose world would lie beside it in {DEMO_WORLD}; give the demo a --storage.path of its own",
        .0.display()
    )]
    NotOurs(PathBuf),
    /// There is no place for a ledger.
    #[error("cannot use a directory for the ledger: {0}; --storage.path names another one")]
    Directory(io::Error),
    /// The exporter itself failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

/// Seed and start of the simulated logs. They are kept beside a ledger that survives, because its
/// counts are of these logs and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DemoWorld {
    seed: u64,
    /// Unix seconds.
    start: i64,
}

impl DemoWorld {
    fn new(seed: Option<u64>) -> DemoWorld {
        let now = chrono::Utc::now().timestamp();
        let history = i64::try_from(HISTORY.as_secs()).unwrap_or(i64::MAX);
        DemoWorld { seed: seed.unwrap_or_else(rand::random), start: now.saturating_sub(history) }
    }

    /// The world that a directory's ledger belongs to; a new one for a new directory.
    fn of(directory: &Path, seed: Option<u64>) -> io::Result<DemoWorld> {
        let path = directory.join(DEMO_WORLD);
        match std::fs::read(&path) {
            Ok(kept) => Ok(serde_json::from_slice(&kept)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let world = DemoWorld::new(seed);
                std::fs::create_dir_all(directory)?;
                std::fs::write(path, serde_json::to_vec(&world)?)?;
                Ok(world)
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let settings = config::demo(flags, &SystemEnvironment)?;
    logging::start(settings.log);
    let door = front_door(&settings.web)?;
    serve(settings, door).await.map_err(CommandFailure::logged)
}

/// Simulates and serves until the process is asked to end.
async fn serve(demo: DemoSettings, door: Arc<FrontDoor>) -> Result<(), DemoError> {
    let entrance = Entrance::open(&demo.web.listen, door).await?;
    let exporter = page_url(entrance.scheme(), entrance.addresses().first().copied());
    // Removed when dropped.
    let mut temporary = None;
    let (storage_path, world) = match &demo.storage_path {
        Some(path) => {
            // Before a world is put beside it.
            let ledger = path.join("ledger.db");
            if ledger.exists() && !path.join(DEMO_WORLD).exists() {
                return Err(DemoError::NotOurs(ledger));
            }
            (path.clone(), DemoWorld::of(path, demo.seed).map_err(DemoError::Directory)?)
        }
        None => {
            let directory = tempfile::Builder::new()
                .prefix("cryptolens-exporter-demo-")
                .tempdir()
                .map_err(DemoError::Directory)?;
            let path = directory.path().to_owned();
            temporary = Some(directory);
            (path, DemoWorld::new(demo.seed))
        }
    };
    let options = Options {
        start: world.start,
        requests_per_minute: REQUESTS_PER_MINUTE,
        identities: InventedTexts::Lifelike,
        ..Options::new(world.seed)
    };
    let running = cryptolens_simulator::start(options).await?;
    let settings = settings(&demo, &running.url(), storage_path.clone())?;
    let urls = DemoUrls {
        exporter,
        telemetry_path: demo.web.telemetry_path.clone(),
        simulator: page_url("http", Some(running.addr)),
        program: program_name(std::env::args_os().next().as_deref()),
        archive: storage_path.join(ARCHIVE),
        storage: storage_path,
    };
    tracing::info!(url = urls.simulator, seed = world.seed, "simulating");
    let simulator = running.simulator.clone();
    tokio::spawn(spikes(simulator.clone(), urls.clone()));
    let began = Instant::now();
    let result = daemon::run_on(
        entrance,
        settings.clone(),
        || Ok(settings.clone()),
        |_| LedgerAddress::demo(),
        |snapshots| {
            tokio::spawn(print_summary(snapshots, simulator, urls, began));
        },
    )
    .await;
    running.stop().await;
    drop(temporary);
    Ok(result?)
}

fn settings(demo: &DemoSettings, url: &str, storage_path: PathBuf) -> Result<Settings, url::ParseError> {
    let account = Account {
        name: AccountName::default(),
        token: TokenSource::Value(SecretString::from(TOKEN)),
        logs: LogKind::ALL.to_vec(),
        since: Since::All,
        intervals: demo.intervals,
        products: Vec::new(),
        licenses: Vec::new(),
    };
    let overlap = Duration::from_secs(60);
    let archive = ArchiveSettings {
        path: storage_path.join(ARCHIVE),
        since: Since::All,
        interval: ARCHIVE_EVERY,
        delay: overlap,
        identities: ArchiveIdentities::Masked,
        key_file: storage_path.join("archive.key"),
    };
    Ok(Settings {
        api: Api {
            url: Url::parse(url)?,
            timeout: Duration::from_secs(30),
            ca_file: None,
            proxy: None,
            concurrency: Concurrency::DEFAULT,
        },
        accounts: vec![account],
        storage_path,
        foreign_ledger: ForeignLedger::Refuse,
        web: demo.web.clone(),
        overlap,
        states: std::collections::BTreeMap::new(),
        objects_first_code: 0,
        otlp: demo.otlp.clone(),
        history: demo.history.clone(),
        usage: demo.usage.clone(),
        archive: Some(archive),
        reconcile: Some(ReconcileSettings {
            interval: RECONCILE_EVERY,
            excluded_keys: ExcludedKeys::default(),
        }),
        log: demo.log,
        warnings: demo.warnings.clone(),
        restart: RestartValues::default(),
    })
}

/// Where to point a browser on this machine.
fn page_url(scheme: &str, address: Option<SocketAddr>) -> String {
    match address {
        Some(address) if !address.ip().is_unspecified() => format!("{scheme}://{address}"),
        Some(address) => format!("{scheme}://localhost:{}", address.port()),
        None => format!("{scheme}://localhost"),
    }
}

/// Locks customers of one product after the other out, and says so.
async fn spikes(simulator: Simulator, urls: DemoUrls) {
    let mut wait = FIRST_SPIKE;
    for product in simulator.products().into_iter().cycle() {
        tokio::time::sleep(wait).await;
        wait = SPIKE_EVERY;
        let spike =
            Spike { product: Some(product.id), seconds: SPIKE_MINUTES * 60, failure_share: FAILURE_SHARE };
        match simulator.spike(spike) {
            Ok(started) => {
                tracing::info!(
                    product_id = product.id,
                    rows = started.failures,
                    minutes = SPIKE_MINUTES,
                    "simulating a spike of failed activations"
                );
                print(&spike_text(product, &urls));
            }
            Err(error) => tracing::warn!(%error, "no spike could be simulated"),
        }
    }
}

fn spike_text(product: SoldProduct, urls: &DemoUrls) -> String {
    let SoldProduct { id, name } = product;
    format!(
        "\n\
         A spike begins: somebody changed {name}, and for {SPIKE_MINUTES} minutes some of its customers are locked out.\n\
         CryptolensFailureSpike fires within three minutes where a Prometheus has the rules. From then on, this says since\n\
         when, who is hit, what they have in common, and what was changed before:\n\
         \u{20}  {}\n\n",
        urls.command(&format!("report incident --product={id} --identities=customers")),
    )
}

/// Where to look, and what to run.
#[derive(Debug, Clone)]
struct DemoUrls {
    exporter: String,
    telemetry_path: String,
    simulator: String,
    /// As it was called, so that a printed command runs where this one ran.
    program: String,
    archive: PathBuf,
    /// The directory of the ledger.
    storage: PathBuf,
}

impl DemoUrls {
    /// A whole command line that reads the simulator.
    fn command(&self, typed: &str) -> String {
        format!("CRYPTOLENS_TOKEN={TOKEN} {} {typed} --api.url={}/api", self.program, self.simulator)
    }
}

/// The name that the program was called by, as a shell takes it.
fn program_name(called: Option<&OsStr>) -> String {
    let name = called.and_then(OsStr::to_str).unwrap_or("cryptolens-exporter");
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// A closed standard output is no reason to stop serving.
fn print(text: &str) {
    let mut output = io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Prints the counts as soon as the history is counted.
async fn print_summary(snapshots: Weak<Snapshots>, simulator: Simulator, urls: DemoUrls, began: Instant) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Some(snapshots) = snapshots.upgrade() else { return };
        let Some(committed) = snapshots.committed() else { continue };
        if let Some(text) = summary(&committed, &simulator, &urls, began.elapsed()) {
            print(&text);
            return;
        }
    }
}

/// `None` until every log was read to its end.
fn summary(committed: &Committed, simulator: &Simulator, urls: &DemoUrls, took: Duration) -> Option<String> {
    let account = committed.accounts.get(AccountName::default().as_str())?;
    let complete = |log: &LogKind| account.logs.get(log).is_some_and(|log| log.first_poll_complete);
    if !LogKind::ALL.iter().all(complete) {
        return None;
    }
    let tally = &account.tally;
    let requests: u64 = tally.entries.iter().map(|(_, rows)| rows).sum();
    let failed: u64 =
        tally.entries.iter().filter(|(key, _)| key.outcome == Outcome::Failure).map(|(_, rows)| rows).sum();
    let events: u64 = tally.events.iter().map(|(_, rows)| rows).sum();
    let changes: u64 = tally.objects.iter().map(|(_, rows)| rows).sum();
    let served = |log: LogKind| {
        let cursor = account.logs.get(&log).map(|log| log.cursor);
        Log::from_name(log.name()).map_or(0, |log| simulator.truth(log, cursor).rows)
    };
    let served: u64 = LogKind::ALL.into_iter().map(served).sum();
    let counted = requests + events + changes;
    let License { product, key } = simulator.crowded_license();
    let incident = urls.command(&match latest_incident(simulator) {
        Some((product, began)) => {
            format!("report incident --product={product} --at={began} --identities=customers")
        }
        None => "report incident".to_owned(),
    });
    let audit = urls.command(&format!("audit seats --product={product} --key={key} --hours=168"));
    let reconcile = urls.command(&format!("reconcile --storage.path={}", urls.storage.display()));
    let DemoUrls { exporter, telemetry_path, simulator, archive, .. } = urls;
    let archive = archive.display();
    Some(format!(
        "\n\
         Counted {counted} entries of 30 simulated days in {:.1} s; the simulator served {served}.\n\
         \u{20}  {requests} requests, {failed} of them failed; {events} events; {changes} object changes\n\
         \n\
         \u{20}  {exporter}{telemetry_path}   the metrics\n\
         \u{20}  {exporter}/   how each log is doing\n\
         \u{20}  {simulator}/   the simulator, and how to make it misbehave\n\
         \n\
         Ask the same logs, in another terminal:\n\
         \u{20}  {incident}\n\
         \u{20}  {audit}\n\
         What a report, the landing page or an alert suggests runs after\n\
         \u{20}  export CRYPTOLENS_TOKEN={TOKEN} CRYPTOLENS_API_URL={simulator}/api\n\
         \n\
         Are the counts right? They are compared with the log, read again, and with the vendor's own:\n\
         \u{20}  {reconcile}\n\
         \n\
         Every row is archived as Parquet, some five minutes after it is counted:\n\
         \u{20}  duckdb -c \"SELECT date, outcome, count(*) FROM '{archive}/web_api_log/**/*.parquet' GROUP BY ALL ORDER BY ALL\"\n\
         \n\
         Traffic goes on. A spike of failures begins in {} minutes, then every {}, and lasts {SPIKE_MINUTES}. Ctrl-C ends\n\
         the demo.\n\n",
        took.as_secs_f64(),
        FIRST_SPIKE.as_secs() / 60,
        SPIKE_EVERY.as_secs() / 60,
    ))
}

/// The product and the beginning of the latest incident in the history, as `--at` takes it.
fn latest_incident(simulator: &Simulator) -> Option<(i64, String)> {
    let now = simulator.now();
    let planned = simulator.planned_incidents(now.saturating_sub(FORTNIGHT), now);
    let incident = planned.into_iter().rfind(|incident| incident.to < now)?;
    let began = DateTime::from_timestamp(incident.from, 0)?;
    Some((incident.product_id, began.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_ledger_keeps_its_world() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("demo");
        let world = DemoWorld::of(&directory, Some(7)).unwrap();
        assert_eq!(world.seed, 7);
        assert_eq!(DemoWorld::of(&directory, Some(8)).unwrap(), world);
        std::fs::write(directory.join("demo.json"), "{").unwrap();
        assert!(
            DemoWorld::of(&directory, None).is_err(),
            "better no demo than counts of two worlds in one ledger"
        );
    }

    #[test]
    fn a_printed_command_is_one_that_a_shell_takes() {
        let name = |called: &str| program_name(Some(OsStr::new(called)));
        assert_eq!(name("target/release/cryptolens-exporter"), "target/release/cryptolens-exporter");
        assert_eq!(name("/home/it's me/exporter"), r"'/home/it'\''s me/exporter'");
        assert_eq!(program_name(None), "cryptolens-exporter");
    }

    #[test]
    fn each_spike_is_over_before_the_alert_on_the_next_one_looks_back() {
        let longest_window = Duration::from_secs(15 * 60);
        assert!(Duration::from_secs(u64::from(SPIKE_MINUTES) * 60) + longest_window < SPIKE_EVERY);
    }

    #[test]
    fn the_address_to_visit_is_one_that_a_browser_takes() {
        assert_eq!(page_url("http", "0.0.0.0:10460".parse().ok()), "http://localhost:10460");
        assert_eq!(page_url("http", "[::]:1".parse().ok()), "http://localhost:1");
        assert_eq!(page_url("https", "127.0.0.1:9".parse().ok()), "https://127.0.0.1:9");
    }
}
