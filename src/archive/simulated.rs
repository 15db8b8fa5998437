//! The archive in tests: reads back what was archived, makes steps fail, and runs the real archiver
//! in the simulation, with floors from the file of the simulation's ledger.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::archiver::{ArchiveFlaw, FloorSource, LogArchiver};
use super::directory::{ArchiveDirectory, ArchiveObserver, ArchiveStep};
use super::error::ArchiveError;
use super::journal::FloorSample;
use super::settings::{ArchiveIdentities, ArchiveSettings, Timetable};
use super::task::LedgerFloors;
use crate::ingest::{LogId, Since};
use crate::ledger::LedgerReader;
use crate::reader::PageSource;

/// Fails at the nth step from now.
#[derive(Clone, Default)]
pub(super) struct FailingStep(pub(super) Arc<AtomicI64>);

impl ArchiveObserver for FailingStep {
    fn at(&self, _: ArchiveStep) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

/// All files of an archive but its state.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_file() {
                files.push(entry.path());
            } else if entry.file_name() != "_state" {
                directories.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// How often each id is in the files of an archive. Each file must be whole, its rows must ascend,
/// and its name must be that of its rows, unless the rule is wrong about names. `each` looks at
/// every row and the name of its directory.
pub(super) fn archived_ids(
    root: &Path,
    flaw: Option<ArchiveFlaw>,
    mut each: impl FnMut(&parquet::record::Row, &str) -> Result<(), String>,
) -> Result<BTreeMap<i64, u32>, String> {
    let mut ids = BTreeMap::new();
    for path in files(root) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let date = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let reader = SerializedFileReader::new(File::open(&path).unwrap())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut of_file = Vec::new();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let id = row.get_long(0).unwrap();
            of_file.push(id);
            *ids.entry(id).or_default() += 1;
            each(&row, &date)?;
        }
        let (first, last) = (of_file[0], of_file[of_file.len() - 1]);
        if !of_file.is_sorted() || (flaw.is_none() && name != format!("{first:019}-{last:019}")) {
            return Err(format!("{name} has the rows {first} to {last}"));
        }
    }
    Ok(ids)
}

/// The temporary files of an archive.
pub(super) fn temporaries(root: &Path) -> Vec<PathBuf> {
    let state = std::fs::read_dir(root.join("_state")).into_iter().flatten().flatten();
    let paths = state.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "tmp")).collect()
}

/// The archive of the log of one world. It outlives the processes that write it.
pub(crate) struct SimulatedArchive {
    settings: ArchiveSettings,
    /// The directory of the ledger.
    storage: PathBuf,
    log: LogId,
    random: ChaCha8Rng,
    failing: FailingStep,
    flaw: Option<ArchiveFlaw>,
}

impl SimulatedArchive {
    /// An archive beside the ledger in `storage`, of rows that become visible within `overlap`.
    pub(crate) fn new(
        storage: &Path,
        log: LogId,
        overlap: Duration,
        mut random: ChaCha8Rng,
        flaw: Option<ArchiveFlaw>,
    ) -> SimulatedArchive {
        let settings = ArchiveSettings {
            path: storage.join("archive"),
            since: Since::All,
            interval: Duration::from_secs([60, 300, 600][random.random_range(0..3)]),
            delay: overlap,
            identities: ArchiveIdentities::None,
            key_file: storage.join("archive.key"),
        };
        let storage = storage.to_owned();
        SimulatedArchive { settings, storage, log, random, failing: FailingStep::default(), flaw }
    }

    /// Archives until the process is killed, or ends at a step. Unless it is calm, the disk is full
    /// now and then.
    pub(crate) async fn archive<S: PageSource>(&mut self, source: S, now: fn() -> i64, is_calm: bool) {
        let mut archiver = None;
        loop {
            let fails_at =
                if !is_calm && self.random.random_bool(0.4) { self.random.random_range(1..12) } else { 0 };
            self.failing.0.store(fails_at, Ordering::SeqCst);
            if self.turn(&mut archiver, &source, now()).await.is_err() {
                // A process may end at that step, and a full disk is no end.
                if !is_calm && self.random.random_bool(0.5) {
                    return;
                }
                if let Some(archiver) = &mut archiver {
                    archiver.clean_up().await;
                }
            }
            let most = self.settings.interval.as_secs();
            tokio::time::sleep(Duration::from_secs(self.random.random_range(1..=most))).await;
        }
    }

    async fn turn<S: PageSource>(
        &self,
        archiver: &mut Option<LogArchiver<S, SimulatedFloors>>,
        source: &S,
        now: i64,
    ) -> Result<(), ArchiveError> {
        let archiver = match archiver {
            Some(archiver) => archiver,
            none => {
                let directory = ArchiveDirectory::open(&self.settings, Box::new(self.failing.clone()))?;
                none.insert(LogArchiver {
                    id: self.log.clone(),
                    source: source.clone(),
                    api: Arc::default(),
                    ledger: SimulatedFloors {
                        floors: LedgerFloors { storage: self.storage.clone() },
                        flaw: self.flaw,
                    },
                    directory: Arc::new(directory),
                    since: self.settings.since,
                    delay: i64::try_from(self.settings.delay.as_secs()).unwrap(),
                    status: Arc::default(),
                    journal: None,
                    flaw: self.flaw,
                })
            }
        };
        let slot = Timetable::new(self.settings.interval).last_before(now);
        archiver.turn(slot, now).await.map(drop)
    }

    /// The ids in the archive, each of which is there once; the error is what is wrong. Nothing may
    /// be left of what was not archived.
    pub(crate) fn ids(&self) -> Result<Vec<i64>, String> {
        let archived = archived_ids(&self.settings.path, self.flaw, |_, _| Ok(()))?;
        if let Some((id, times)) = archived.iter().find(|(_, times)| **times > 1) {
            return Err(format!("row {id} is archived {times} times"));
        }
        if let Some(left) = temporaries(&self.settings.path).first() {
            return Err(format!("{} is left", left.display()));
        }
        Ok(archived.into_keys().collect())
    }
}

/// Floors as the archive of `serve` reads them.
#[derive(Clone)]
struct SimulatedFloors {
    floors: LedgerFloors,
    flaw: Option<ArchiveFlaw>,
}

impl FloorSource for SimulatedFloors {
    fn floor(&self, log: &LogId, at: i64) -> Result<Option<FloorSample>, ArchiveError> {
        let found = self.floors.floor(log, at)?;
        if self.flaw != Some(ArchiveFlaw::CursorAsBoundary) {
            return Ok(found);
        }
        let accounts = LedgerReader::open(&self.floors.storage)?.accounts()?;
        let cursor =
            accounts.get(&log.account).and_then(|account| account.logs.get(&log.log)).map(|log| log.cursor);
        Ok(found.zip(cursor).map(|(sample, cursor)| FloorSample { floor: cursor, ..sample }))
    }
}
