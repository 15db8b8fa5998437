//! Archives all logs at their times, one after the other, until the shutdown.
//!
//! At each multiple of the interval the floor of a log is read from the ledger; a delay later
//! everything up to it is archived. Floors are kept in the state of the archive, so a run that was
//! missed is made up at the start. Promises: a failure concerns one log, is counted and logged by
//! its reason, and is followed by another try; nothing here can stop the counting. After a failure
//! of the directory it is opened again: it may have been mounted in the meantime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::archiver::{FloorSource, LogArchiver};
use super::directory::{ArchiveDirectory, NoObserver};
use super::error::ArchiveError;
use super::journal::{CountedRows, FloorSample};
use super::settings::{ArchiveSettings, Timetable};
use super::status::ArchiveStatus;
use crate::cryptolens::{Client, LogKind};
use crate::ingest::{ApiStatus, LogId};
use crate::ledger::LedgerReader;
use crate::task::spawn_blocking;

/// The wait after a failure; where runs are closer to each other, their distance.
const RETRY_SECONDS: i64 = 600;

/// The longest wait between two looks at the clock, which may be set meanwhile.
const LOOK_SECONDS: i64 = 60;

/// The same failure of a log is logged again after this long.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

/// An account whose logs are archived.
#[derive(Clone)]
pub struct ArchivedAccount {
    /// Its name.
    pub name: Arc<str>,
    /// The client that reads its logs.
    pub client: Client,
    /// The status of its requests.
    pub api: Arc<ApiStatus>,
    /// Its logs.
    pub logs: Vec<LogKind>,
}

impl std::fmt::Debug for ArchivedAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchivedAccount").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Archives logs until the shutdown. The ledger is in `storage`.
pub async fn run_archive(
    settings: ArchiveSettings,
    accounts: Vec<ArchivedAccount>,
    storage: PathBuf,
    status: Arc<ArchiveStatus>,
    shutdown: CancellationToken,
) {
    let mut archive = Archive::new(settings, accounts, LedgerFloors { storage }, status);
    // A range under way at the end of the process is as after a kill: the next start completes or
    // repeats it.
    let work = async {
        loop {
            let now = chrono::Utc::now().timestamp();
            let next = archive.turn(now).await;
            let wait = next.saturating_sub(now).clamp(1, LOOK_SECONDS);
            tokio::time::sleep(Duration::from_secs(wait.unsigned_abs())).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// Reads the floors from the file of the ledger, as they are committed.
#[derive(Debug, Clone)]
pub(super) struct LedgerFloors {
    /// The directory of the ledger.
    pub(super) storage: PathBuf,
}

impl FloorSource for LedgerFloors {
    fn floor(&self, log: &LogId, at: i64) -> Result<Option<FloorSample>, ArchiveError> {
        let reader = LedgerReader::open(&self.storage)?;
        let ledger = reader.instance_id()?;
        let found = reader.final_rows(&log.account, log.log)?;
        Ok(found.map(|found| FloorSample {
            at,
            floor: found.floor,
            counted: CountedRows { ledger, rows: found.rows },
            newest_entry: found.newest_entry,
            nothing_above_at: found.nothing_above_at,
        }))
    }
}

struct Archive<L> {
    settings: ArchiveSettings,
    timetable: Timetable,
    accounts: Vec<ArchivedAccount>,
    ledger: L,
    status: Arc<ArchiveStatus>,
    /// `None` while the directory cannot be used.
    logs: Option<Vec<ScheduledLog<L>>>,
    /// When the directory is opened again, in Unix seconds.
    open_at: i64,
    failing: BTreeMap<LogId, BTreeMap<&'static str, Instant>>,
}

struct ScheduledLog<L> {
    archiver: LogArchiver<Client, L>,
    /// Nothing is done before, in Unix seconds.
    not_before: i64,
}

impl<L: FloorSource> Archive<L> {
    fn new(
        settings: ArchiveSettings,
        accounts: Vec<ArchivedAccount>,
        ledger: L,
        status: Arc<ArchiveStatus>,
    ) -> Archive<L> {
        let timetable = Timetable::new(settings.interval);
        let archive = Archive {
            settings,
            timetable,
            accounts,
            ledger,
            status,
            logs: None,
            open_at: i64::MIN,
            failing: BTreeMap::new(),
        };
        let interval = archive.settings.interval;
        archive.status.expect(&archive.ids(), interval, chrono::Utc::now().timestamp());
        archive
    }

    fn ids(&self) -> Vec<LogId> {
        let of_account = |account: &ArchivedAccount| {
            let name = Arc::clone(&account.name);
            account.logs.clone().into_iter().map(move |log| LogId { account: Arc::clone(&name), log })
        };
        self.accounts.iter().flat_map(of_account).collect()
    }

    fn retry_seconds(&self) -> i64 {
        i64::try_from(self.settings.interval.as_secs()).unwrap_or(i64::MAX).min(RETRY_SECONDS)
    }

    /// Does what is due at a time in Unix seconds, and says when something is due again.
    async fn turn(&mut self, now: i64) -> i64 {
        let mut logs = match self.logs.take() {
            Some(logs) => logs,
            None if now < self.open_at => return self.open_at,
            None => match self.open().await {
                Ok(logs) => logs,
                Err(error) => {
                    self.ids().iter().for_each(|id| self.failed(id, &error));
                    self.open_at = now.saturating_add(LOOK_SECONDS);
                    return self.open_at;
                }
            },
        };
        let slot = self.timetable.last_before(now);
        let mut next = self.timetable.next_after(now);
        let mut is_usable = true;
        for log in &mut logs {
            if now < log.not_before {
                next = next.min(log.not_before);
                continue;
            }
            let id = log.archiver.id.clone();
            match log.archiver.turn(slot, now).await {
                Ok(due) => {
                    next = next.min(due.unwrap_or(i64::MAX));
                    self.succeeded(&id);
                }
                Err(error) => {
                    self.failed(&id, &error);
                    log.archiver.clean_up().await;
                    log.not_before = now.saturating_add(self.retry_seconds());
                    next = next.min(log.not_before);
                    is_usable &= !error.concerns_directory();
                }
            }
        }
        if is_usable {
            self.logs = Some(logs);
        } else {
            self.open_at = now.saturating_add(LOOK_SECONDS);
            next = next.min(self.open_at);
        }
        next
    }

    async fn open(&self) -> Result<Vec<ScheduledLog<L>>, ArchiveError> {
        let settings = self.settings.clone();
        let opened = spawn_blocking(move || ArchiveDirectory::open(&settings, Box::new(NoObserver))).await;
        let directory = Arc::new(opened?);
        let mut logs = Vec::new();
        for account in &self.accounts {
            for log in &account.logs {
                let archiver = LogArchiver {
                    id: LogId { account: Arc::clone(&account.name), log: *log },
                    source: account.client.clone(),
                    api: Arc::clone(&account.api),
                    ledger: self.ledger.clone(),
                    directory: Arc::clone(&directory),
                    since: self.settings.since,
                    delay: i64::try_from(self.settings.delay.as_secs()).unwrap_or(i64::MAX),
                    status: Arc::clone(&self.status),
                    journal: None,
                    #[cfg(test)]
                    flaw: None,
                };
                logs.push(ScheduledLog { archiver, not_before: i64::MIN });
            }
        }
        Ok(logs)
    }

    fn failed(&mut self, id: &LogId, error: &ArchiveError) {
        self.status.failed(id, error.reason());
        let logged_at = self.failing.entry(id.clone()).or_default();
        if logged_at.get(error.reason()).is_some_and(|at| at.elapsed() < LOG_AGAIN) {
            return;
        }
        logged_at.insert(error.reason(), Instant::now());
        let (account, log, reason) = (&id.account, id.log, error.reason());
        if error.needs_operator() {
            tracing::error!(%account, %log, reason, %error, "the archive does not go on; counting does; the api keeps the Web API Log for good, and the others for at least 30 days");
        } else {
            tracing::warn!(%account, %log, reason, %error, "a range was not archived and is read again later");
        }
    }

    fn succeeded(&mut self, id: &LogId) {
        if self.failing.remove(id).is_some() {
            tracing::info!(account = %id.account, log = %id.log, "the archive goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveIdentities;
    use crate::cryptolens::{ClientOptions, Token};
    use crate::ingest::Since;
    use crate::metrics::{ProcessSource as _, ProcessValue};

    /// A log that is not counted yet.
    #[derive(Clone)]
    struct NoFloor;

    impl FloorSource for NoFloor {
        fn floor(&self, _: &LogId, _: i64) -> Result<Option<FloorSample>, ArchiveError> {
            Ok(None)
        }
    }

    fn failures(status: &ArchiveStatus) -> Vec<(Vec<String>, f64)> {
        let families = status.collect();
        let family = families.iter().find(|family| family.name.ends_with("failures_total")).unwrap();
        let point = |point: &crate::metrics::ProcessPoint| match point.value {
            ProcessValue::Counter(value) | ProcessValue::Gauge(value) => {
                (point.labels.iter().map(ToString::to_string).collect(), value)
            }
            _ => panic!("no number"),
        };
        family.points.iter().map(point).collect()
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_tried_again_each_minute() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("volume");
        std::fs::write(&in_the_way, "not mounted").unwrap();
        let settings = ArchiveSettings {
            path: in_the_way.join("archive"),
            since: Since::All,
            interval: Duration::from_secs(86_400),
            delay: Duration::from_secs(3600),
            identities: ArchiveIdentities::None,
            key_file: folder.path().join("archive.key"),
        };
        let options = ClientOptions {
            url: "http://127.0.0.1:1/api".parse().unwrap(),
            timeout: Duration::from_secs(1),
            ca_pem: None,
            proxy: None,
        };
        let account = ArchivedAccount {
            name: "shop".into(),
            client: Client::new(&options, Token::fixed("token".to_owned().into())).unwrap(),
            api: Arc::default(),
            logs: vec![LogKind::WebApi, LogKind::Objects],
        };
        let status = Arc::new(ArchiveStatus::default());
        let mut archive = Archive::new(settings, vec![account], NoFloor, Arc::clone(&status));
        let now = 20_000 * 86_400 + 7;
        assert_eq!(archive.turn(now).await, now + LOOK_SECONDS);
        assert_eq!(archive.turn(now + 1).await, now + LOOK_SECONDS, "not at once");
        let failed = |log: &str| (["shop", log, "disk"].map(str::to_owned).to_vec(), 1.0);
        assert_eq!(failures(&status), [failed("web_api"), failed("objects")]);
        std::fs::remove_file(&in_the_way).unwrap();
        let next = archive.turn(now + LOOK_SECONDS).await;
        assert_eq!(next, 20_001 * 86_400, "the next midnight");
        assert_eq!(failures(&status).len(), 2);
        assert!(in_the_way.join("archive/_state/shop.web_api.json").is_file());
    }
}
