//! The history in the ledger: minutes that are not sealed, samples that wait for their targets, and how
//! far each target is.
//!
//! The counts live in memory as [`MinuteCounts`] and are written down as one row per log; samples are
//! written in chunks. All of it is prepared first ([`HistoryStore::prepare`]) and then written in the
//! transaction that counts the rows ([`HistoryWrite::write`]). After a write that failed the store is
//! read again from the file, as everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql, Transaction, params};

use crate::cryptolens::{LogKind, Row, Rows};
use crate::history::{
    DropReason, HistoryFamily, HistoryOptions, HistoryStart, LateChanges, MOST_SAMPLES, MinuteCounts,
    OutboxPosition, PackedSamples, SampleCounts, minute_of, next_whole_minute,
};
use crate::ingest::{LogId, LogUpdate};
use crate::tally::RowObserver;
use crate::usage::{UsageSample, UsageSubject};

use super::error::StoreError;
use super::store::{Edit, LogState, cells};

/// The least number of chunks that a full outbox has: the oldest of them is dropped at a time.
const LEAST_CHUNKS: u64 = 10;

/// How many batches of late rows each minute had is kept for this long, or twice the window where that is
/// longer: no target gets samples that old.
const LATE_KEPT: Duration = Duration::from_secs(62 * 24 * 60 * 60);

/// The history of one log, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLogState {
    /// The first minute that is known as a whole, in Unix seconds; `None` before it is decided.
    pub origin: Option<i64>,
    /// Minutes that start before it are sealed, in Unix seconds; `None` before the origin is decided.
    pub sealed_until: Option<i64>,
    /// Rows that have no usable time.
    pub without_time: u64,
}

/// How far a target is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryTargetState {
    /// The samples that it took, and those that were dropped.
    pub counts: SampleCounts,
    /// Samples that wait for it.
    pub pending: u64,
}

/// The history, as of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryState {
    /// By account and log.
    pub logs: BTreeMap<LogId, HistoryLogState>,
    /// By name.
    pub targets: BTreeMap<Arc<str>, HistoryTargetState>,
}

/// The bound of the rows that `backfill` may supply beside the history of a log in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimit {
    /// Only rows of minutes before this one, in Unix seconds.
    pub before: i64,
    /// And of these only rows with at most this id, where the ledger has the history of every row above
    /// it, whatever its time.
    pub last_id: Option<i64>,
}

#[derive(Debug)]
struct LogHistory {
    /// Of the log, in its table.
    number: i64,
    /// True if the ledger has had the history of this log from its first row on.
    whole: bool,
    counts: MinuteCounts,
}

#[derive(Debug, Clone, Default)]
struct Target {
    chunk: i64,
    samples: u64,
    state: HistoryTargetState,
    /// True from the moment when something was dropped until it takes samples again: one outage has one
    /// line in the log.
    overflowing: bool,
}

/// The history of an open ledger.
#[derive(Debug)]
pub(super) struct HistoryStore {
    options: HistoryOptions,
    logs: BTreeMap<LogId, LogHistory>,
    targets: BTreeMap<Arc<str>, Target>,
    /// The chunks of the outbox with their numbers of samples; their numbers have no gap.
    chunks: VecDeque<(i64, u64)>,
    next_chunk: i64,
    /// Samples in the outbox.
    waiting: u64,
    /// As it is committed.
    committed: Arc<HistoryState>,
    /// True if targets took samples since the last commit.
    unsaved: bool,
}

/// Everything about history that one transaction writes.
#[derive(Debug)]
pub(super) struct HistoryWrite {
    logs: Vec<LogWrite>,
    chunks: Vec<(i64, i64, PackedSamples)>,
    /// Chunks below it are not needed any more.
    first_chunk: i64,
    targets: Vec<(Arc<str>, Target)>,
    state: Arc<HistoryState>,
}

#[derive(Debug)]
struct LogWrite {
    number: i64,
    start: Option<HistoryStart>,
    whole: bool,
    without_time: u64,
    open: Vec<u8>,
    late: LateChanges,
}

impl HistoryWrite {
    /// True if it adds samples to the outbox.
    pub(super) fn adds_samples(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Writes it.
    pub(super) fn write(&self, edit: &mut Edit<'_>) -> Result<(), StoreError> {
        for log in &self.logs {
            log.write(edit)?;
        }
        for (chunk, log, packed) in &self.chunks {
            let samples = i64::try_from(packed.count).unwrap_or(i64::MAX);
            edit.transaction
                .prepare_cached(
                    "INSERT INTO history_out (chunk, log, samples, data) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![chunk, log, samples, packed.bytes])?;
            let row = [*chunk, *log, samples].map(ValueRef::Integer);
            let [chunk, log, samples] = row;
            edit.replace("history_out", None, Some(&[chunk, log, samples, ValueRef::Blob(&packed.bytes)]));
        }
        delete(edit, "history_out", "chunk < ?1", &[&self.first_chunk])?;
        for (name, target) in &self.targets {
            keep_target(edit, name, target)?;
        }
        Ok(())
    }
}

impl LogWrite {
    fn write(&self, edit: &mut Edit<'_>) -> Result<(), StoreError> {
        let LogWrite { number, start, whole, without_time, open, .. } = self;
        let origin = start.map(|start| start.origin);
        let without_time = i64::try_from(*without_time).unwrap_or(i64::MAX);
        change(edit, "history_open", "log = ?1", &[number], |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO history_open (log, origin, whole, without_time, cells)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![number, origin, whole, without_time, open])
        })?;
        for (minute, batches) in &self.late.kept {
            change(edit, "history_late", "log = ?1 AND minute = ?2", &[number, minute], |transaction| {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO history_late (log, minute, batches) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![number, minute, batches])
            })?;
        }
        for minute in &self.late.removed {
            delete(edit, "history_late", "log = ?1 AND minute = ?2", &[number, minute])?;
        }
        Ok(())
    }
}

/// Replaces the row of a table that a condition selects, and takes note of it in the digest.
pub(super) fn change(
    edit: &mut Edit<'_>,
    table: &str,
    condition: &str,
    key: &[&dyn ToSql],
    write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
) -> Result<(), StoreError> {
    let old = row(edit.transaction, table, condition, key)?;
    write(edit.transaction)?;
    let new = row(edit.transaction, table, condition, key)?;
    edit.replace(table, old.as_deref().map(cells).as_deref(), new.as_deref().map(cells).as_deref());
    Ok(())
}

fn row(
    transaction: &Transaction<'_>,
    table: &str,
    condition: &str,
    key: &[&dyn ToSql],
) -> rusqlite::Result<Option<Vec<Value>>> {
    let mut select = transaction.prepare_cached(&format!("SELECT * FROM {table} WHERE {condition}"))?;
    let columns = select.column_count();
    select.query_row(key, |row| (0..columns).map(|at| row.get(at)).collect()).optional()
}

/// Deletes rows, and takes note of each in the digest.
pub(super) fn delete(
    edit: &mut Edit<'_>,
    table: &str,
    condition: &str,
    key: &[&dyn ToSql],
) -> Result<(), StoreError> {
    let transaction = edit.transaction;
    let mut select = transaction.prepare_cached(&format!("SELECT * FROM {table} WHERE {condition}"))?;
    let columns = select.column_count();
    let mut rows = select.query(key)?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        let row = (0..columns).map(|at| row.get_ref(at)).collect::<rusqlite::Result<Vec<_>>>()?;
        edit.replace(table, Some(&row), None);
        any = true;
    }
    drop(rows);
    if any {
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE {condition}"))?.execute(key)?;
    }
    Ok(())
}

fn keep_target(edit: &mut Edit<'_>, name: &str, target: &Target) -> Result<(), StoreError> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    change(edit, "history_target", "name = ?1", &[&name], |transaction| {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO history_target (name, chunk, samples, sent) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![name, target.chunk, signed(target.samples), signed(target.state.counts.sent)])
    })?;
    for (reason, samples) in &target.state.counts.dropped {
        let reason = reason.name();
        change(edit, "history_dropped", "target = ?1 AND reason = ?2", &[&name, &reason], |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO history_dropped (target, reason, samples) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![name, reason, signed(*samples)])
        })?;
    }
    Ok(())
}

/// Writes down that the ledger has the history of a log from its first row on.
pub(super) fn begin_log(edit: &mut Edit<'_>, account: &str, log: LogKind) -> Result<(), StoreError> {
    let number: i64 = edit
        .transaction
        .prepare_cached("SELECT id FROM log WHERE account = ?1 AND log = ?2")?
        .query_row(params![account, log.name()], |row| row.get(0))?;
    let write = LogWrite {
        number,
        start: None,
        whole: true,
        without_time: 0,
        open: Vec::new(),
        late: LateChanges::default(),
    };
    write.write(edit)
}

/// Stops the history of a ledger whose settings have no target: nothing waits any more, and what is not
/// sealed is forgotten. If there is a target again, history begins anew.
pub(super) fn pause(edit: &mut Edit<'_>) -> Result<(), StoreError> {
    let mut select = edit.transaction.prepare(
        "SELECT log, without_time FROM history_open WHERE whole OR origin IS NOT NULL OR length(cells) > 0",
    )?;
    let logs = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
    for (log, without_time) in logs {
        change(edit, "history_open", "log = ?1", &[&log], |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO history_open (log, origin, whole, without_time, cells)
                 VALUES (?1, NULL, 0, ?2, x'')",
                params![log, without_time],
            )
        })?;
    }
    for table in ["history_out", "history_target", "history_dropped"] {
        delete(edit, table, "TRUE", &[])?;
    }
    Ok(())
}

/// Reads which rows `backfill` may supply beside the ledger; `None` if the ledger has no history of
/// the log.
pub(super) fn limit(
    connection: &Connection,
    account: &str,
    log: LogKind,
) -> rusqlite::Result<Option<HistoryLimit>> {
    let found: Option<(Option<i64>, bool, i64)> = connection
        .prepare_cached(
            "SELECT history_open.origin, whole, log.origin FROM history_open JOIN log ON log.id = history_open.log
             WHERE account = ?1 AND log.log = ?2",
        )?
        .query_row(params![account, log.name()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(found.and_then(|(origin, whole, first_id)| {
        // Before the first row of a ledger that has the whole history, only the id is known.
        let before = origin.or(whole.then_some(i64::MAX))?;
        Some(HistoryLimit { before, last_id: whole.then_some(first_id) })
    }))
}

/// A chunk of the outbox: its number, its account, and its packed samples.
type StoredChunk = (i64, Arc<str>, Vec<u8>);

/// The chunks of the outbox from a number on, with the accounts that they belong to: enough of them for
/// `at_most` samples.
pub(super) fn chunks_from(
    connection: &Connection,
    chunk: i64,
    at_most: u64,
) -> Result<Vec<StoredChunk>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT chunk, account, samples, data FROM history_out JOIN log ON log.id = history_out.log
         WHERE chunk >= ?1 ORDER BY chunk",
    )?;
    let mut rows = select.query([chunk])?;
    let (mut found, mut samples) = (Vec::new(), 0_u64);
    while samples < at_most
        && let Some(row) = rows.next()?
    {
        let account: String = row.get(1)?;
        samples += row.get::<_, i64>(2).map(u64::try_from)?.unwrap_or_default();
        found.push((row.get(0)?, account.into(), row.get(3)?));
    }
    Ok(found)
}

impl HistoryStore {
    /// Reads the history of a ledger, with the targets of the settings.
    pub(super) fn read(
        transaction: &Transaction<'_>,
        options: &HistoryOptions,
    ) -> Result<HistoryStore, StoreError> {
        let mut select = transaction.prepare(
            "SELECT log.id, account, log.log, sealed_until, history_open.origin, whole, without_time, cells
             FROM log LEFT JOIN history_open ON history_open.log = log.id",
        )?;
        let mut rows = select.query([])?;
        let mut logs = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(2)?;
            let Some(log) = LogKind::from_name(&name) else { continue };
            let (number, account): (i64, Arc<str>) = (row.get(0)?, row.get::<_, String>(1)?.into());
            let mut counts = MinuteCounts::new(Arc::clone(&account), log, options.first_object_code);
            let (sealed_until, origin): (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
            let whole = row.get::<_, Option<bool>>(5)?.unwrap_or_default();
            let without_time = row.get::<_, Option<i64>>(6)?.unwrap_or_default();
            let open: Vec<u8> = row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default();
            let late = transaction
                .prepare_cached("SELECT minute, batches FROM history_late WHERE log = ?1")?
                .query_map([number], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<BTreeMap<i64, i64>>>()?;
            counts
                .restore(&open, late, u64::try_from(without_time).unwrap_or_default())
                .map_err(|error| StoreError::Damaged(error.to_string()))?;
            if let Some(origin) = origin {
                counts.begin(HistoryStart { origin, whole }, sealed_until.unwrap_or(origin));
            }
            logs.insert(LogId { account, log }, LogHistory { number, whole, counts });
        }
        drop(rows);
        drop(select);
        let mut store = HistoryStore {
            options: options.clone(),
            logs,
            targets: BTreeMap::new(),
            chunks: VecDeque::new(),
            next_chunk: 1,
            waiting: 0,
            committed: Arc::default(),
            unsaved: false,
        };
        store.read_outbox(transaction)?;
        store.committed = Arc::new(store.state());
        Ok(store)
    }

    fn read_outbox(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
        let mut select = transaction.prepare("SELECT chunk, samples FROM history_out ORDER BY chunk")?;
        self.chunks = select
            .query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?
            .collect::<rusqlite::Result<_>>()?;
        self.waiting = self.chunks.iter().map(|(_, samples)| samples).sum();
        let mut select = transaction.prepare("SELECT name, chunk, samples, sent FROM history_target")?;
        let kept = select
            .query_map([], |row| {
                let counts = SampleCounts { sent: unsigned(row.get(3)?), ..SampleCounts::default() };
                let state = HistoryTargetState { counts, pending: 0 };
                let (chunk, samples) = (row.get(1)?, unsigned(row.get(2)?));
                Ok((row.get(0)?, Target { chunk, samples, state, overflowing: false }))
            })?
            .collect::<rusqlite::Result<BTreeMap<String, Target>>>()?;
        let after_chunks = self.chunks.back().map_or(1, |(chunk, _)| chunk + 1);
        self.next_chunk = kept.values().map(|target| target.chunk).fold(after_chunks, i64::max);
        let first = self.chunks.front().map_or(self.next_chunk, |(chunk, _)| *chunk);
        for name in self.options.targets.clone() {
            let mut target = kept.get(&*name).cloned().unwrap_or_default();
            if target.chunk < first {
                (target.chunk, target.samples) = (first, 0);
            }
            let mut select = transaction
                .prepare_cached("SELECT reason, samples FROM history_dropped WHERE target = ?1")?;
            let dropped = select
                .query_map([&*name], |row| Ok((row.get::<_, String>(0)?, unsigned(row.get(1)?))))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let known = |(reason, samples): (String, u64)| Some((DropReason::from_name(&reason)?, samples));
            target.state.counts.dropped = dropped.into_iter().filter_map(known).collect();
            let behind = self.chunks.iter().filter(|(chunk, _)| *chunk >= target.chunk);
            let behind: u64 = behind.map(|(_, samples)| samples).sum();
            target.state.pending = behind.saturating_sub(target.samples);
            // It has taken nothing since the oldest samples were dropped, and the outbox is still full.
            let lost_some = target.state.counts.dropped.contains_key(&DropReason::OutboxFull);
            let stands_still = (target.chunk, target.samples) == (first, 0);
            target.overflowing =
                lost_some && stands_still && target.state.pending > self.options.outbox_limit / 2;
            self.targets.insert(name, target);
        }
        self.forget_done();
        Ok(())
    }

    /// Writes down which targets there are, after [`HistoryStore::read`].
    pub(super) fn keep_targets(&self, edit: &mut Edit<'_>) -> Result<(), StoreError> {
        let mut select = edit.transaction.prepare("SELECT name FROM history_target")?;
        let kept = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<String>>>()?;
        for name in kept.iter().filter(|name| !self.targets.contains_key(name.as_str())) {
            delete(edit, "history_target", "name = ?1", &[name])?;
            delete(edit, "history_dropped", "target = ?1", &[name])?;
        }
        for (name, target) in self.targets.iter().filter(|(name, _)| !kept.contains(&***name)) {
            keep_target(edit, name, target)?;
        }
        delete(edit, "history_out", "chunk < ?1", &[&self.first_chunk()])
    }

    /// As it is shown.
    pub(super) fn committed(&self) -> &Arc<HistoryState> {
        &self.committed
    }

    /// Takes note of a log whose beginning was written down by [`begin_log`].
    pub(super) fn begun(&mut self, number: i64, log: &LogId) {
        let counts = || MinuteCounts::new(Arc::clone(&log.account), log.log, self.options.first_object_code);
        self.logs.entry(log.clone()).or_insert_with(|| LogHistory { number, whole: true, counts: counts() });
    }

    /// Who follows the counting of an update. The history of a log begins with an update: for a log
    /// that the ledger has from its first row on, with its origin; else with the next minute.
    pub(super) fn observer(
        &mut self,
        log: &LogId,
        state: &LogState,
        update: &LogUpdate,
    ) -> Option<&mut MinuteCounts> {
        let LogHistory { whole, counts, .. } = self.logs.get_mut(log)?;
        if counts.start().is_none() {
            let origin = if !*whole {
                let next = next_whole_minute(update.read_at.saturating_add(1));
                Some(next.max(state.sealed_until.unwrap_or(next)))
            } else if state.origin.mark > 0 {
                Some(next_whole_minute(state.origin.mark))
            } else {
                let first = first_time(&update.rows).map(|time| time.min(update.read_at));
                first.or(update.poll_end.map(|_| update.read_at)).map(minute_of)
            };
            if let Some(origin) = origin {
                counts.begin(HistoryStart { origin, whole: *whole }, state.sealed_until.unwrap_or(origin));
            }
        }
        let window = i64::try_from(self.options.window.as_secs()).unwrap_or(i64::MAX);
        counts.cover_from(update.read_at.saturating_sub(window));
        Some(counts)
    }

    /// Adds what is known of the days of an account that are over.
    pub(super) fn add_usage(&mut self, account: &Arc<str>, samples: &[UsageSample]) {
        let log = LogId { account: Arc::clone(account), log: LogKind::WebApi };
        let Some(LogHistory { counts, .. }) = self.logs.get_mut(&log) else { return };
        for UsageSample { day, subject, product, window, value, is_late } in samples {
            let family = match (subject, product) {
                (UsageSubject::ActiveKeys, Some(_)) => HistoryFamily::ActiveKeys,
                (UsageSubject::ActiveMachines, Some(_)) => HistoryFamily::ActiveMachines,
                (UsageSubject::ActiveMachines, None) => HistoryFamily::AccountMachines,
                _ => continue,
            };
            let product = product.map(|product| product.to_string().into());
            let values: Vec<Arc<str>> = product.into_iter().chain([window.name().into()]).collect();
            let value = i64::try_from(*value).unwrap_or(i64::MAX);
            counts.add_of_day(family, &values, day.start(), value, *is_late);
        }
    }

    /// Minutes of a log that start before this time are sealed.
    pub(super) fn sealed_until(&self, log: &LogId) -> Option<i64> {
        let counts = &self.logs.get(log)?.counts;
        counts.start().map(|_| counts.sealed_until())
    }

    /// A target took samples, or they were given up: all before a position.
    pub(super) fn acknowledge(&mut self, target: &str, until: OutboxPosition, counts: &SampleCounts) {
        let Some(target) = self.targets.get_mut(target) else { return };
        let position = if until.chunk >= self.next_chunk {
            (self.next_chunk, 0)
        } else {
            let of_chunk = self.chunks.iter().find(|(chunk, _)| *chunk == until.chunk);
            match of_chunk {
                Some((chunk, samples)) if until.samples >= *samples => (chunk + 1, 0),
                _ => (until.chunk, until.samples),
            }
        };
        if position <= (target.chunk, target.samples) {
            return;
        }
        let passed = self.chunks.iter().filter(|(chunk, _)| (target.chunk..position.0).contains(chunk));
        let passed: u64 = passed.map(|(_, samples)| samples).sum();
        let done = (passed + position.1).saturating_sub(target.samples);
        target.state.pending = target.state.pending.saturating_sub(done);
        target.state.counts.add(counts);
        (target.chunk, target.samples) = position;
        target.overflowing = false;
        self.unsaved = true;
    }

    /// True if targets took samples that the file does not know of.
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// The first sample that a target does not have: the number of the chunk, and samples of it to skip.
    pub(super) fn position(&self, target: &str) -> Option<(i64, u64)> {
        self.targets.get(target).map(|target| (target.chunk, target.samples))
    }

    /// Prepares what a transaction writes for the logs that it counts rows of, and for the targets.
    /// `now` is by the server's clock, in Unix seconds.
    pub(super) fn prepare<'a>(&mut self, logs: impl Iterator<Item = &'a LogId>, now: i64) -> HistoryWrite {
        let kept = LATE_KEPT.max(self.options.window.saturating_mul(2));
        let kept_from = now.saturating_sub(i64::try_from(kept.as_secs()).unwrap_or(i64::MAX));
        let most = usize::try_from(self.options.outbox_limit / LEAST_CHUNKS).unwrap_or(MOST_SAMPLES);
        let most = most.clamp(1, MOST_SAMPLES);
        let (mut written, mut chunks) = (Vec::new(), Vec::new());
        for log in logs {
            let Some(LogHistory { number, whole, counts }) = self.logs.get_mut(log) else { continue };
            let (batch, late) = counts.take_batch(kept_from);
            for packed in batch.packed(most) {
                chunks.push((self.next_chunk, *number, packed));
                self.next_chunk += 1;
            }
            written.push(LogWrite {
                number: *number,
                start: counts.start(),
                whole: *whole,
                without_time: counts.without_time(),
                open: counts.open().bytes,
                late,
            });
        }
        for (chunk, _, packed) in &chunks {
            self.chunks.push_back((*chunk, packed.count));
            self.waiting += packed.count;
            self.targets.values_mut().for_each(|target| target.state.pending += packed.count);
        }
        let dropped = self.drop_oldest();
        self.forget_done();
        // A target that is up to date has nothing in its row that a new chunk would change.
        let changed = std::mem::take(&mut self.unsaved) || dropped;
        let targets = if changed { self.targets.clone().into_iter().collect() } else { Vec::new() };
        let first_chunk = self.first_chunk();
        chunks.retain(|(chunk, ..)| *chunk >= first_chunk);
        let state = Arc::new(self.state());
        HistoryWrite { logs: written, chunks, first_chunk, targets, state }
    }

    /// The write was committed.
    pub(super) fn wrote(&mut self, write: &HistoryWrite) {
        self.committed = Arc::clone(&write.state);
    }

    /// Drops the oldest samples while there are more than may wait. The newest chunk stays, whatever the
    /// limit.
    fn drop_oldest(&mut self) -> bool {
        let mut dropped = false;
        while self.waiting > self.options.outbox_limit
            && self.chunks.len() > 1
            && let Some((chunk, samples)) = self.chunks.pop_front()
        {
            self.waiting = self.waiting.saturating_sub(samples);
            for (name, target) in self.targets.iter_mut().filter(|(_, target)| target.chunk <= chunk) {
                let lost =
                    if target.chunk == chunk { samples.saturating_sub(target.samples) } else { samples };
                *target.state.counts.dropped.entry(DropReason::OutboxFull).or_default() += lost;
                target.state.pending = target.state.pending.saturating_sub(lost);
                (target.chunk, target.samples) = (chunk + 1, 0);
                dropped = true;
                if !std::mem::replace(&mut target.overflowing, true) {
                    tracing::error!(
                        receiver = &**name,
                        limit = self.options.outbox_limit,
                        "the outbox of history is full: the oldest samples are dropped and lost for this target until it takes samples again; supply what is missing by backfill"
                    );
                }
            }
        }
        dropped
    }

    /// Takes chunks that every target has off the list.
    fn forget_done(&mut self) {
        let needed = self.targets.values().map(|target| target.chunk).min().unwrap_or(self.next_chunk);
        while let Some((chunk, samples)) = self.chunks.front().copied()
            && chunk < needed
        {
            self.waiting = self.waiting.saturating_sub(samples);
            self.chunks.pop_front();
        }
    }

    fn first_chunk(&self) -> i64 {
        self.chunks.front().map_or(self.next_chunk, |(chunk, _)| *chunk)
    }

    fn state(&self) -> HistoryState {
        let log = |(id, log): (&LogId, &LogHistory)| {
            let start = log.counts.start();
            let state = HistoryLogState {
                origin: start.map(|start| start.origin),
                sealed_until: start.map(|_| log.counts.sealed_until()),
                without_time: log.counts.without_time(),
            };
            (id.clone(), state)
        };
        let target = |(name, target): (&Arc<str>, &Target)| (Arc::clone(name), target.state.clone());
        HistoryState {
            logs: self.logs.iter().map(log).collect(),
            targets: self.targets.iter().map(target).collect(),
        }
    }
}

/// The time of the first row that has one.
pub(super) fn first_time(rows: &Rows) -> Option<i64> {
    match rows {
        Rows::WebApi(rows) => rows.iter().find_map(Row::time),
        Rows::Events(rows) => rows.iter().find_map(Row::time),
        Rows::Objects(rows) => rows.iter().find_map(Row::time),
    }
}

/// A follower of the counting.
pub(super) fn as_observer(counts: &mut MinuteCounts) -> &mut dyn RowObserver {
    counts
}
