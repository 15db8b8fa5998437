//! The progress of the archive, by account and log, for the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ingest::LogId;
use crate::metrics::{ProcessFamily, ProcessSource};
use crate::tally::families;

/// The numbers of each log that is archived. Starts with the process.
#[derive(Debug, Default)]
pub struct ArchiveStatus {
    logs: Mutex<BTreeMap<LogId, LogArchiveCounts>>,
    /// The time between two runs in seconds; 0 where nothing is archived.
    interval: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct LogArchiveCounts {
    rows: u64,
    late_rows: u64,
    failures: BTreeMap<&'static str, u64>,
    /// In Unix seconds.
    last_success: Option<i64>,
}

impl ArchiveStatus {
    /// Shows exactly these logs; those that are shown already keep their numbers. Until the archive
    /// of a log is open, `now` (Unix seconds) stands for its last success, so that an alert sees
    /// one that never gets there.
    pub(super) fn expect(&self, logs: &[LogId], interval: Duration, now: i64) {
        self.interval.store(interval.as_secs(), Ordering::Relaxed);
        let mut shown = self.lock();
        shown.retain(|log, _| logs.contains(log));
        for log in logs {
            shown.entry(log.clone()).or_default().last_success.get_or_insert(now);
        }
    }

    pub(super) fn archived(&self, log: &LogId, rows: u64, late_rows: u64) {
        let mut shown = self.lock();
        let counts = shown.entry(log.clone()).or_default();
        counts.rows += rows;
        counts.late_rows += late_rows;
    }

    pub(super) fn succeeded(&self, log: &LogId, at: i64) {
        self.lock().entry(log.clone()).or_default().last_success = Some(at);
    }

    pub(super) fn failed(&self, log: &LogId, reason: &'static str) {
        *self.lock().entry(log.clone()).or_default().failures.entry(reason).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogId, LogArchiveCounts>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessSource for ArchiveStatus {
    fn collect(&self) -> Vec<ProcessFamily> {
        let mut rows = ProcessFamily::of(&families::ARCHIVE_ROWS);
        let mut late = ProcessFamily::of(&families::ARCHIVE_LATE_ROWS);
        let mut failures = ProcessFamily::of(&families::ARCHIVE_FAILURES);
        let mut success = ProcessFamily::of(&families::ARCHIVE_LAST_SUCCESS);
        for (LogId { account, log }, counts) in &*self.lock() {
            let labels = [&**account, log.name()];
            rows.counter(&labels, counts.rows);
            late.counter(&labels, counts.late_rows);
            for (reason, count) in &counts.failures {
                failures.counter(&[account, log.name(), reason], *count);
            }
            if let Some(at) = counts.last_success {
                // No time comes near 2^53.
                #[allow(clippy::cast_precision_loss)]
                success.gauge(&labels, at as f64);
            }
        }
        let mut interval = ProcessFamily::of(&families::ARCHIVE_INTERVAL);
        let seconds = self.interval.load(Ordering::Relaxed);
        if seconds > 0 {
            // It is a week at most.
            #[allow(clippy::cast_precision_loss)]
            interval.gauge(&[], seconds as f64);
        }
        vec![rows, late, failures, success, interval]
    }
}

/// The status that all runs share.
pub(super) type SharedStatus = Arc<ArchiveStatus>;
