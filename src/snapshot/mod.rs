//! The source of every output: an immutable value of the committed counts and of the state of the
//! process, in no format.
//!
//! Promises: the committed part comes from one commit, is there as soon as the ledger could be
//! read, and shares with the part before it every chunk of points that did not change; the process
//! part is of the moment when it is asked for. Nothing here waits for the network or the disk.

mod committed;
mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::cryptolens::LogKind;
use crate::ingest::{ApiStatus, LogStatus};
use crate::ledger::{Committed, LedgerView};
use crate::metrics::{BirthTime, Family, Point, PointChunk, ProcessPart, ProcessRegistry};
use crate::tally::Limits;
use crate::usage::FloatingSeats;

/// The status of one account.
#[derive(Debug, Clone, Default)]
pub struct AccountStatus {
    /// Its requests.
    pub api: Arc<ApiStatus>,
    /// Its logs that are polled.
    pub logs: BTreeMap<LogKind, Arc<LogStatus>>,
    /// Its floating seats, if they are followed.
    pub seats: Option<Arc<FloatingSeats>>,
}

/// The accounts that are polled, and how they are shown. Replaced as a whole when the configuration
/// is read again.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// By name.
    pub accounts: BTreeMap<Arc<str>, AccountStatus>,
    /// Texts for state codes, by configuration.
    pub states: BTreeMap<u16, String>,
    /// The number by which the Object Log calls the first resource type and action.
    pub first_object_code: i64,
    /// The limits of each account.
    pub limits: Limits,
}

/// The points of one account, or of none, in one family.
#[derive(Debug, Clone)]
pub struct PointGroup {
    /// The value of the label `account`, which comes first; `None` in families without it.
    pub account: Option<Arc<str>>,
    /// The points, sorted; no chunk is empty.
    pub chunks: Vec<Arc<PointChunk>>,
}

/// A committed family.
#[derive(Debug, Clone)]
pub struct SnapshotFamily {
    /// Its row in the family table.
    pub family: &'static Family,
    /// Its points by account; none is empty.
    pub groups: Vec<PointGroup>,
}

impl SnapshotFamily {
    /// Every point with the account that it belongs to.
    pub fn points(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &Point)> {
        self.groups.iter().flat_map(|group| {
            let points = group.chunks.iter().flat_map(|chunk| chunk.iter());
            points.map(|point| (group.account.as_ref(), point))
        })
    }

    /// Names and values of the labels of a point.
    pub fn labels<'a>(
        &self,
        account: Option<&'a Arc<str>>,
        point: &'a Point,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let values = account.into_iter().chain(point.labels.iter()).map(|value| &**value);
        self.family.labels.iter().copied().zip(values)
    }
}

/// The families of the ledger, as of one commit.
#[derive(Debug, Default)]
pub struct CommittedPart {
    /// Sorted by name; none is empty.
    pub families: Vec<SnapshotFamily>,
}

/// Everything that an output shows.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The committed part; `None` until the ledger could be read.
    pub committed: Option<Arc<CommittedPart>>,
    /// The part that starts with the process.
    pub process: ProcessPart,
}

/// The last committed part, and what it was made of.
struct LastPart {
    committed: Arc<Committed>,
    targets: Arc<Targets>,
    part: Arc<CommittedPart>,
}

/// Where outputs get their snapshots.
pub struct Snapshots {
    ledger: LedgerView,
    targets: Arc<ArcSwap<Targets>>,
    registry: ProcessRegistry,
    last: Mutex<Option<LastPart>>,
}

impl Snapshots {
    /// Snapshots of a ledger and of this process.
    pub fn new(ledger: LedgerView, targets: Targets) -> Snapshots {
        let targets = Arc::new(ArcSwap::from_pointee(targets));
        let registry = ProcessRegistry::new(BirthTime::at_millis(chrono::Utc::now().timestamp_millis()));
        process::register(&registry, ledger.clone(), Arc::clone(&targets));
        Snapshots { ledger, targets, registry, last: Mutex::new(None) }
    }

    /// The accounts that are polled.
    pub fn targets(&self) -> Arc<Targets> {
        self.targets.load_full()
    }

    /// Replaces the accounts that are polled.
    pub fn replace_targets(&self, targets: Targets) {
        self.targets.store(Arc::new(targets));
    }

    /// Where parts of the process register what they measure of themselves.
    pub fn registry(&self) -> &ProcessRegistry {
        &self.registry
    }

    /// The state of the ledger; `None` until it could be read.
    pub fn committed(&self) -> Option<Arc<Committed>> {
        self.ledger.committed()
    }

    /// Changes with each commit.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Committed>>> {
        self.ledger.subscribe()
    }

    /// The committed part as of the last commit; `None` until the ledger could be read.
    pub fn committed_part(&self) -> Option<Arc<CommittedPart>> {
        let committed = self.ledger.committed()?;
        let targets = self.targets();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref()
            && Arc::ptr_eq(&last.committed, &committed)
            && Arc::ptr_eq(&last.targets, &targets)
        {
            return Some(Arc::clone(&last.part));
        }
        let part = Arc::new(committed::part(&committed, &targets, last.as_ref()));
        *last = Some(LastPart { committed, targets, part: Arc::clone(&part) });
        Some(part)
    }

    /// Everything, as of now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { committed: self.committed_part(), process: self.registry.gather() }
    }
}
