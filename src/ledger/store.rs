//! Reads and writes the content of the ledger. Values are written absolutely, never as increments,
//! so that writing the same state twice is harmless.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::cryptolens::{LogKind, Product};
use crate::ingest::{LogCheckpoint, Origin, Position, RowsWithoutId, SeenChunk, SeenIds};
use crate::metrics::{BirthTime, Family, Histogram, MAX_BOUNDS, Point, PointValue};
use crate::tally::{AccountTally, PointSink, Products, TallyDelta, families};

use super::belongs::LedgerAddress;
use super::births;
use super::digest::{Digest, text};
use super::error::StoreError;

/// One log, without its seen ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Where counting began.
    pub origin: Origin,
    /// The birth of all that is counted in its first poll: the instant of the origin, as soon as it
    /// is known.
    pub born: Option<BirthTime>,
    /// The highest id counted.
    pub cursor: i64,
    /// Whether any poll was ever complete.
    pub first_poll_complete: bool,
    /// Time of the newest row counted, in Unix seconds.
    pub last_entry: Option<i64>,
    /// End of the last complete poll that was written down, in Unix seconds.
    pub last_poll: Option<i64>,
    /// Minutes that start before it are sealed, in Unix seconds; `None` if none was ever.
    pub sealed_until: Option<i64>,
}

/// One account.
#[derive(Debug, Clone, Default)]
pub struct AccountState {
    /// Its counts.
    pub tally: Arc<AccountTally>,
    /// The products known: those of the ledger and those configured.
    pub products: Arc<Products>,
    /// Its logs.
    pub logs: BTreeMap<LogKind, LogState>,
}

impl AccountState {
    /// Adds to a delta the label sets that are shown at 0, as far as they are not there: those of
    /// the logs whose first poll is complete.
    pub(super) fn create_at_zero(&self, delta: &mut TallyDelta) {
        for (log, state) in &self.logs {
            if state.first_poll_complete {
                delta.create_at_zero(*log, &self.products, &self.tally);
            }
        }
    }

    /// The label sets that are shown at 0 and are not there.
    pub(super) fn at_zero(&self) -> TallyDelta {
        let mut delta = TallyDelta::default();
        self.create_at_zero(&mut delta);
        delta
    }

    /// The account with a delta applied.
    pub(super) fn with(&self, delta: &TallyDelta, born: impl Fn(LogKind) -> BirthTime) -> AccountState {
        if delta.is_empty() {
            return self.clone();
        }
        let mut tally = (*self.tally).clone();
        tally.apply(delta, born);
        AccountState { tally: Arc::new(tally), ..self.clone() }
    }
}

/// Products by account, as configured.
pub(super) type Configured = BTreeMap<Arc<str>, Vec<Product>>;

/// How a log moves in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogChange {
    pub(super) floor: i64,
    pub(super) watermark: i64,
    pub(super) counted: Vec<i64>,
    pub(super) without_id: Option<RowsWithoutId>,
    pub(super) state: LogState,
}

/// A transaction, with the digest as it will be after it.
pub(super) struct Edit<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) digest: Digest,
}

impl Edit<'_> {
    /// Takes note of a row that is replaced by another, or by none.
    pub(super) fn replace(
        &mut self,
        table: &str,
        old: Option<&[ValueRef<'_>]>,
        new: Option<&[ValueRef<'_>]>,
    ) {
        if let Some(old) = old {
            self.digest.remove(table, old);
        }
        if let Some(new) = new {
            self.digest.add(table, new);
        }
    }
}

/// Accounts by name.
pub type Accounts = BTreeMap<Arc<str>, AccountState>;

/// Reads everything but the windows.
pub(super) fn load(connection: &Connection) -> Result<Accounts, StoreError> {
    let mut accounts = Accounts::new();
    let mut logs = connection.prepare(
        "SELECT account, log, since, mark, origin, cursor, first_poll_complete, last_entry, last_poll, born, sealed_until FROM log",
    )?;
    let mut rows = logs.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let Some(log) = LogKind::from_name(&name) else { continue };
        let state = LogState {
            origin: Origin { since: row.get(2)?, mark: row.get(3)?, id: row.get(4)? },
            cursor: row.get(5)?,
            first_poll_complete: row.get(6)?,
            last_entry: row.get(7)?,
            last_poll: row.get(8)?,
            born: row.get::<_, Option<i64>>(9)?.map(BirthTime::at_millis),
            sealed_until: row.get(10)?,
        };
        account(&mut accounts, text_at(row, 0)?).logs.insert(log, state);
    }

    let mut products = connection.prepare("SELECT account, id, name FROM product ORDER BY account, id")?;
    let mut rows = products.query([])?;
    while let Some(row) = rows.next()? {
        let name: Option<String> = row.get(2)?;
        let products = Arc::make_mut(&mut account(&mut accounts, text_at(row, 0)?).products);
        products.restore(row.get(1)?, name.map(Arc::from));
    }

    let mut unread = 0_u64;
    let mut texts = LabelTexts::default();
    let mut tallies = RestoredTallies { accounts: &mut accounts, open: None };
    let mut counters =
        connection.prepare("SELECT account, family, labels, value, born, entry_id FROM counter")?;
    let mut rows = counters.query([])?;
    while let Some(row) = rows.next()? {
        let labels = texts.read(text_at(row, 2)?);
        let value = PointValue::Counter(unsigned(row, 3)?);
        let restored = tallies.of(text_at(row, 0)?).restore(
            text_at(row, 1)?,
            &labels,
            &value,
            birth(row, 4)?,
            row.get(5)?,
        );
        unread += u64::from(!restored);
    }
    let mut histograms =
        connection.prepare("SELECT account, family, labels, count, sum, buckets, born FROM histogram")?;
    let mut rows = histograms.query([])?;
    while let Some(row) = rows.next()? {
        let labels = texts.read(text_at(row, 2)?);
        let stored: Vec<u64> = from_json(text_at(row, 5)?);
        let mut buckets = [0; MAX_BOUNDS];
        buckets.iter_mut().zip(stored).for_each(|(bucket, stored)| *bucket = stored);
        let histogram = Histogram { buckets, count: unsigned(row, 3)?, sum: row.get(4)? };
        let value = PointValue::Histogram(Arc::new(histogram));
        let restored =
            tallies.of(text_at(row, 0)?).restore(text_at(row, 1)?, &labels, &value, birth(row, 6)?, None);
        unread += u64::from(!restored);
    }
    tallies.close();
    if unread > 0 {
        tracing::warn!(
            series = unread,
            "the ledger holds series that this version does not know; they are kept and not shown"
        );
    }
    Ok(accounts)
}

fn account<'a>(accounts: &'a mut Accounts, name: &str) -> &'a mut AccountState {
    accounts.entry(Arc::from(name)).or_default()
}

/// The tallies of the accounts while they are read. Rows of an account follow one another, so the
/// last tally is kept at hand instead of being looked up some 20,000 times.
struct RestoredTallies<'a> {
    accounts: &'a mut Accounts,
    open: Option<(Arc<str>, AccountTally)>,
}

impl RestoredTallies<'_> {
    fn of(&mut self, name: &str) -> &mut AccountTally {
        if self.open.as_ref().is_none_or(|(open, _)| **open != *name) {
            self.close();
        }
        let accounts = &mut *self.accounts;
        let (_, tally) = self.open.get_or_insert_with(|| {
            let name = Arc::from(name);
            let account: &mut AccountState = accounts.entry(Arc::clone(&name)).or_default();
            (name, Arc::unwrap_or_clone(std::mem::take(&mut account.tally)))
        });
        tally
    }

    fn close(&mut self) {
        if let Some((name, tally)) = self.open.take() {
            self.accounts.entry(name).or_default().tally = Arc::new(tally);
        }
    }
}

/// A cell as a text that is borrowed from the row: opening reads some 20,000 of them.
fn text_at<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// Reads where one log stands, window included; `None` if its origin is not known.
pub(super) fn open_log(
    connection: &Connection,
    account: &str,
    log: LogKind,
    digest: &Digest,
) -> Result<Option<LogCheckpoint>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, since, mark, origin, floor, watermark, cursor, first_poll_complete, last_poll, without_id, sealed_until
         FROM log WHERE account = ?1 AND log = ?2",
    )?;
    let found = select
        .query_row(params![account, log.name()], |row| {
            let id: i64 = row.get(0)?;
            let origin = Origin { since: row.get(1)?, mark: row.get(2)?, id: row.get(3)? };
            let (floor, watermark, cursor): (i64, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
            let without_id: Vec<(i64, u64)> = from_json(&row.get::<_, String>(9)?);
            let kept: (bool, Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?, row.get(10)?);
            Ok((id, origin, floor, watermark, cursor, kept, without_id))
        })
        .optional()?;
    let Some((id, origin, floor, watermark, cursor, kept, without_id)) = found else { return Ok(None) };
    let (first_poll_complete, last_poll, sealed_until) = kept;
    if Digest::scan_log(connection, id)? != digest.of_log(id) {
        return Err(StoreError::Damaged(format!("the digest of log {log} does not fit its content")));
    }
    let seen = load_seen(connection, id)?;
    let position = Position::restore(origin.id, floor, cursor, watermark, seen);
    let without_id = without_id.into_iter().collect();
    Ok(Some(LogCheckpoint {
        position,
        origin,
        without_id,
        first_poll_complete,
        last_poll,
        sealed_until,
        epoch: 0,
    }))
}

/// Writes down where counting of a log begins, unless that is known. Returns the number of a log
/// that is new.
pub(super) fn begin_log(
    edit: &mut Edit<'_>,
    account: &str,
    log: LogKind,
    origin: &Origin,
) -> Result<Option<i64>, StoreError> {
    let start = Position::at_origin(origin.id);
    let id = edit
        .transaction
        .prepare_cached(
            "INSERT INTO log (account, log, since, mark, origin, floor, watermark, cursor, born, days_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING RETURNING id",
        )?
        .query_row(
            params![
                account,
                log.name(),
                origin.since,
                origin.mark,
                start.origin(),
                start.floor(),
                start.watermark(),
                start.cursor(),
                births::of_origin(origin).map(BirthTime::millis),
                first_complete_day(origin)
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = id {
        let new = log_row(edit.transaction, id)?;
        edit.replace("log", None, Some(&cells(&new)));
    }
    Ok(id)
}

/// The first day, since 1970, all of whose rows are counted where counting begins at an origin.
fn first_complete_day(origin: &Origin) -> i64 {
    const DAY_SECONDS: i64 = 86_400;
    origin.mark.max(0).saturating_add(DAY_SECONDS - 1).div_euclid(DAY_SECONDS)
}

/// Moves a log.
pub(super) fn move_log(
    edit: &mut Edit<'_>,
    account: &str,
    log: LogKind,
    change: &LogChange,
) -> Result<(), StoreError> {
    let (id, floor, cursor): (i64, i64, i64) = edit
        .transaction
        .prepare_cached("SELECT id, floor, cursor FROM log WHERE account = ?1 AND log = ?2")?
        .query_row(params![account, log.name()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if change.floor < floor || change.state.cursor < cursor {
        return Err(StoreError::Backwards);
    }
    if change.counted.first().is_some_and(|id| *id <= floor) {
        return Err(StoreError::AlreadyCounted);
    }
    let without_id = change.without_id.as_ref().map(|rows| to_json(&rows.iter().collect::<Vec<_>>()));
    let became_final = count_final(edit.transaction, id, &change.counted, floor, change.floor)?;
    let old = log_row(edit.transaction, id)?;
    edit.transaction
        .prepare_cached(
            "UPDATE log SET floor = ?2, watermark = ?3, cursor = ?4, first_poll_complete = ?5, last_entry = ?6, last_poll = ?7,
                 without_id = coalesce(?8, without_id), born = coalesce(born, ?9), sealed_until = ?10,
                 final_rows = final_rows + ?11
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            change.floor,
            change.watermark,
            change.state.cursor,
            change.state.first_poll_complete,
            change.state.last_entry,
            change.state.last_poll,
            without_id,
            change.state.born.map(BirthTime::millis),
            change.state.sealed_until,
            became_final
        ])?;
    let new = log_row(edit.transaction, id)?;
    edit.replace("log", Some(&cells(&old)), Some(&cells(&new)));
    keep_seen(edit, id, &change.counted, change.floor)
}

/// How many rows become final when the floor rises: those that were counted with an id in (`from`,
/// `to`], before or by the ids in `counted`. Nothing is known of them one by one afterwards.
fn count_final(
    transaction: &Transaction<'_>,
    log: i64,
    counted: &[i64],
    from: i64,
    to: i64,
) -> Result<i64, StoreError> {
    if to <= from {
        return Ok(0);
    }
    let is_final = |id: &i64| *id > from && *id <= to;
    let mut rows = counted.iter().filter(|id| is_final(id)).count();
    let mut select = transaction
        .prepare_cached("SELECT first, last, ids FROM seen WHERE log = ?1 AND first <= ?2 ORDER BY first")?;
    let mut chunks = select.query(params![log, to])?;
    while let Some(chunk) = chunks.next()? {
        let chunk = SeenChunk::decode(chunk.get(0)?, chunk.get(1)?, chunk.get(2)?)?;
        rows += chunk.ids().filter(is_final).count();
    }
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// The floor of a log and the number of its final rows, as of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalRows {
    /// Everything at or below this id is final.
    pub floor: i64,
    /// Rows at or below it that were counted.
    pub rows: u64,
    /// The latest time of a row that was counted, in Unix seconds; rows of the future are left out.
    pub newest_entry: Option<i64>,
    /// When the log was last read to its end, in Unix seconds, if nothing above the floor is counted.
    pub nothing_above_at: Option<i64>,
}

/// The [`FinalRows`] of a log; `None` if the ledger does not count it.
pub(super) fn final_rows(
    connection: &Connection,
    account: &str,
    log: LogKind,
) -> rusqlite::Result<Option<FinalRows>> {
    connection
        .prepare_cached(
            "SELECT floor, final_rows, last_entry, iif(floor >= cursor, last_poll, NULL) FROM log
             WHERE account = ?1 AND log = ?2",
        )?
        .query_row(params![account, log.name()], |row| {
            let (floor, rows) = (row.get(0)?, unsigned(row, 1)?);
            Ok(FinalRows { floor, rows, newest_entry: row.get(2)?, nothing_above_at: row.get(3)? })
        })
        .optional()
}

/// Gives a ledger of an earlier version the number of its final rows: those that were counted,
/// without those above the floor.
pub(super) fn convert_final_rows(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut select = transaction.prepare(
        "SELECT log.id, floor, coalesce(value, 0) FROM log LEFT JOIN counter
             ON counter.account = log.account AND family = 'cryptolens_exporter_rows_counted_total'
             AND labels = '[\"' || log.log || '\"]'",
    )?;
    let logs = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(i64, i64, i64)>>>()?;
    for (log, floor, counted) in logs {
        let seen = load_seen(transaction, log)?.count_above(floor);
        let rows = counted.saturating_sub(i64::try_from(seen).unwrap_or(i64::MAX)).max(0);
        transaction.execute("UPDATE log SET final_rows = ?2 WHERE id = ?1", params![log, rows])?;
    }
    Ok(())
}

/// A row of table `log`, all of it.
fn log_row(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Vec<Value>> {
    let mut select = transaction.prepare_cached("SELECT * FROM log WHERE id = ?1")?;
    let columns = select.column_count();
    select.query_row([id], |row| (0..columns).map(|at| row.get(at)).collect())
}

pub(super) fn cells(row: &[Value]) -> Vec<ValueRef<'_>> {
    row.iter().map(ValueRef::from).collect()
}

/// Adds ids to the seen ids of a log, and forgets those at or below the floor. An id that is there
/// already is an error: better no commit than one row counted twice.
fn keep_seen(edit: &mut Edit<'_>, log: i64, counted: &[i64], floor: i64) -> Result<(), StoreError> {
    if !counted.is_sorted_by(|one, next| one < next) {
        return Err(StoreError::AlreadyCounted);
    }
    let mut rest = counted;
    while let Some(id) = rest.first().copied() {
        let Some(chunk) = chunk_of(edit.transaction, log, id)? else {
            let above = rest.partition_point(|id| *id <= floor);
            for chunk in SeenChunk::pack(rest.get(above..).unwrap_or_default()) {
                replace_chunk(edit, log, None, Some(&chunk))?;
            }
            break;
        };
        let next = chunk_after(edit.transaction, log, chunk.first())?;
        let belongs = next.map_or(rest.len(), |next| rest.partition_point(|id| *id < next));
        let (here, after) = rest.split_at(belongs);
        rest = after;
        let chunks = if id > chunk.last() {
            chunk.clone().append(here)
        } else {
            let (chunks, added) = chunk.merge(here);
            if added < here.len() {
                return Err(StoreError::AlreadyCounted);
            }
            chunks
        };
        if chunks.first() != Some(&chunk) {
            replace_chunk(edit, log, Some(&chunk), None)?;
        }
        for new in chunks.iter().filter(|new| **new != chunk && new.last() > floor) {
            replace_chunk(edit, log, None, Some(new))?;
        }
    }
    let transaction = edit.transaction;
    let mut select =
        transaction.prepare_cached("SELECT first, last, ids FROM seen WHERE log = ?1 AND last <= ?2")?;
    let mut below = Vec::new();
    let mut rows = select.query(params![log, floor])?;
    while let Some(row) = rows.next()? {
        below.push(SeenChunk::decode(row.get(0)?, row.get(1)?, row.get(2)?)?);
    }
    below.iter().try_for_each(|chunk| replace_chunk(edit, log, Some(chunk), None))
}

fn load_seen(connection: &Connection, log: i64) -> Result<SeenIds, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT first, last, ids FROM seen WHERE log = ?1 ORDER BY first")?;
    let mut rows = select.query([log])?;
    let mut seen = SeenIds::default();
    while let Some(row) = rows.next()? {
        seen.push_chunk(SeenChunk::decode(row.get(0)?, row.get(1)?, row.get(2)?)?)?;
    }
    Ok(seen)
}

/// The chunk that an id belongs to: the last one that begins at or before it, else the first.
fn chunk_of(transaction: &Transaction<'_>, log: i64, id: i64) -> Result<Option<SeenChunk>, StoreError> {
    for which in [
        "SELECT first, last, ids FROM seen WHERE log = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        "SELECT first, last, ids FROM seen WHERE log = ?1 AND first > ?2 ORDER BY first LIMIT 1",
    ] {
        let mut select = transaction.prepare_cached(which)?;
        let mut rows = select.query(params![log, id])?;
        if let Some(row) = rows.next()? {
            return Ok(Some(SeenChunk::decode(row.get(0)?, row.get(1)?, row.get(2)?)?));
        }
    }
    Ok(None)
}

/// The first id of the next chunk.
fn chunk_after(transaction: &Transaction<'_>, log: i64, first: i64) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached("SELECT min(first) FROM seen WHERE log = ?1 AND first > ?2")?
        .query_row(params![log, first], |row| row.get(0))
}

/// Writes one chunk in place of another.
fn replace_chunk(
    edit: &mut Edit<'_>,
    log: i64,
    old: Option<&SeenChunk>,
    new: Option<&SeenChunk>,
) -> Result<(), StoreError> {
    let row = |chunk: &SeenChunk| [log, chunk.first(), chunk.last()].map(ValueRef::Integer);
    if let Some(old) = old {
        let deleted = edit
            .transaction
            .prepare_cached("DELETE FROM seen WHERE log = ?1 AND first = ?2")?
            .execute(params![log, old.first()])?;
        if deleted != 1 {
            return Err(rusqlite::Error::QueryReturnedNoRows.into());
        }
        let [log, first, last] = row(old);
        edit.replace("seen", Some(&[log, first, last, ValueRef::Blob(old.bytes())]), None);
    }
    if let Some(new) = new {
        edit.transaction
            .prepare_cached("INSERT INTO seen (log, first, last, ids) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![log, new.first(), new.last(), new.bytes()])?;
        let [log, first, last] = row(new);
        edit.replace("seen", None, Some(&[log, first, last, ValueRef::Blob(new.bytes())]));
    }
    Ok(())
}

/// Takes the ids that the first version kept one by one, each with its time, into chunks; the
/// watermark is the highest of the times. That version had no digest: all that can be seen is
/// whether the numbers are in their order.
pub(super) fn convert_window(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut select = transaction.prepare("SELECT id, origin, floor, cursor FROM log")?;
    let logs = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<Vec<(i64, i64, i64, i64)>>>()?;
    for (log, origin, floor, cursor) in logs {
        let mut window = transaction.prepare_cached("SELECT row FROM window WHERE log = ?1 ORDER BY row")?;
        let ids = window.query_map([log], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let is_inside = |id: &i64| *id > floor && *id <= cursor;
        if origin > floor || floor > cursor || !ids.iter().all(is_inside) {
            return Err(StoreError::Damaged("a position is not between its bounds".to_owned()));
        }
        let mut insert =
            transaction.prepare_cached("INSERT INTO seen (log, first, last, ids) VALUES (?1, ?2, ?3, ?4)")?;
        for chunk in SeenChunk::pack(&ids) {
            insert.execute(params![log, chunk.first(), chunk.last(), chunk.bytes()])?;
        }
    }
    transaction.execute(
        "UPDATE log SET watermark =
             max(watermark, coalesce((SELECT max(stamp) FROM window WHERE window.log = log.id), watermark))",
        [],
    )?;
    Ok(())
}

/// Gives all that a ledger of an earlier version holds the birth of its origin, and the ledger an
/// identity.
pub(super) fn convert_births(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    // Where nothing was read yet, the first row is still to come.
    transaction.execute(
        "UPDATE log SET born = max(mark, 0) * 1000 WHERE mark > 0 OR cursor > origin OR first_poll_complete",
        [],
    )?;
    let mut select = transaction.prepare("SELECT account, log, coalesce(born, 0) FROM log")?;
    let logs = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, birth(row, 2)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, BirthTime)>>>()?;
    let mut origins: BTreeMap<(String, LogKind), BirthTime> = BTreeMap::new();
    for (account, log, born) in logs {
        if let Some(log) = LogKind::from_name(&log) {
            origins.insert((account, log), born);
        }
    }
    let mut texts = LabelTexts::default();
    for table in ["counter", "histogram"] {
        let mut select = transaction.prepare(&format!("SELECT account, family, labels FROM {table}"))?;
        let series = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<Vec<(String, String, String)>>>()?;
        let mut update = transaction.prepare(&format!(
            "UPDATE {table} SET born = ?4 WHERE account = ?1 AND family = ?2 AND labels = ?3"
        ))?;
        for (account, family, labels) in series {
            let log = families::log_of(&family, &texts.read(&labels));
            let born = log.and_then(|log| origins.get(&(account.clone(), log)));
            let born = born.copied().unwrap_or(BirthTime::UNKNOWN);
            update.execute(params![account, family, labels, born.millis()])?;
        }
    }
    transaction.execute("INSERT INTO instance (id) VALUES (?1)", [uuid::Uuid::new_v4().to_string()])?;
    Ok(())
}

/// The identity of the ledger: a UUID that was made with it.
pub(super) fn instance_id(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT id FROM instance", [], |row| row.get(0))
}

/// The addresses that the ledger was written for, by account.
pub(super) fn addresses(connection: &Connection) -> rusqlite::Result<BTreeMap<String, LedgerAddress>> {
    let mut select = connection.prepare("SELECT name, address FROM account")?;
    select.query_map([], |row| Ok((row.get(0)?, LedgerAddress::restore(row.get(1)?))))?.collect()
}

/// Records the address of an account.
pub(super) fn keep_address(
    edit: &mut Edit<'_>,
    account: &str,
    old: Option<&LedgerAddress>,
    new: &LedgerAddress,
) -> rusqlite::Result<()> {
    if old == Some(new) {
        return Ok(());
    }
    edit.transaction
        .prepare_cached("INSERT OR REPLACE INTO account (name, address) VALUES (?1, ?2)")?
        .execute(params![account, new.as_str()])?;
    let old = old.map(|old| [text(account), text(old.as_str())]);
    edit.replace("account", old.as_ref().map(|row| &row[..]), Some(&[text(account), text(new.as_str())]));
    Ok(())
}

/// Writes down a product with the name that GetProducts gave it.
pub(super) fn keep_product(
    edit: &mut Edit<'_>,
    account: &str,
    id: i64,
    name: Option<&str>,
) -> Result<(), StoreError> {
    let old: Option<Option<String>> = edit
        .transaction
        .prepare_cached("SELECT name FROM product WHERE account = ?1 AND id = ?2")?
        .query_row(params![account, id], |row| row.get(0))
        .optional()?;
    edit.transaction
        .prepare_cached("INSERT OR REPLACE INTO product (account, id, name) VALUES (?1, ?2, ?3)")?
        .execute(params![account, id, name])?;
    let row = |name| [text(account), ValueRef::Integer(id), text_or_null(name)];
    let old = old.as_ref().map(|name| row(name.as_deref()));
    edit.replace("product", old.as_ref().map(|row| &row[..]), Some(&row(name)));
    Ok(())
}

fn text_or_null(name: Option<&str>) -> ValueRef<'_> {
    name.map_or(ValueRef::Null, text)
}

/// Writes the points of one account.
pub(super) struct LedgerSink<'a, 'b> {
    pub(super) edit: &'a mut Edit<'b>,
    pub(super) account: &'a str,
}

impl PointSink for LedgerSink<'_, '_> {
    type Error = StoreError;

    fn point(&mut self, family: &'static Family, point: &Point) -> Result<(), StoreError> {
        match &point.value {
            PointValue::Counter(value) => self.counter(family, point, *value),
            PointValue::Histogram(value) => self.histogram(family, point, value),
            // No family that is counted from rows is a gauge.
            PointValue::Gauge(_) => Ok(()),
        }
    }
}

impl LedgerSink<'_, '_> {
    fn counter(&mut self, family: &Family, point: &Point, value: u64) -> Result<(), StoreError> {
        let labels = labels_json(point);
        let transaction = self.edit.transaction;
        let old: Option<(i64, i64, Option<i64>)> = transaction
            .prepare_cached(
                "SELECT value, born, entry_id FROM counter WHERE account = ?1 AND family = ?2 AND labels = ?3",
            )?
            .query_row(params![self.account, family.name, labels], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        // The birth of a label set that is there stays as it is.
        let born = old.map_or(point.born.millis(), |(_, born, _)| born);
        let value = signed(value);
        transaction
            .prepare_cached(
                "INSERT INTO counter (account, family, labels, value, born, entry_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET value = excluded.value, entry_id = excluded.entry_id",
            )?
            .execute(params![self.account, family.name, labels, value, born, point.entry_id])?;
        let key = [text(self.account), text(family.name), text(&labels)];
        let row = |value, born, entry_id: Option<i64>| {
            let entry_id = entry_id.map_or(ValueRef::Null, ValueRef::Integer);
            [key[0], key[1], key[2], ValueRef::Integer(value), ValueRef::Integer(born), entry_id]
        };
        let old = old.map(|(value, born, entry_id)| row(value, born, entry_id));
        let new = row(value, born, point.entry_id);
        self.edit.replace("counter", old.as_ref().map(|row| &row[..]), Some(&new));
        Ok(())
    }

    fn histogram(&mut self, family: &Family, point: &Point, value: &Histogram) -> Result<(), StoreError> {
        let buckets: Vec<u64> = value.buckets.iter().take(family.bounds().len()).copied().collect();
        let (labels, buckets) = (labels_json(point), to_json(&buckets));
        let transaction = self.edit.transaction;
        let old: Option<(i64, i64, String, i64)> = transaction
            .prepare_cached(
                "SELECT count, sum, buckets, born FROM histogram WHERE account = ?1 AND family = ?2 AND labels = ?3",
            )?
            .query_row(params![self.account, family.name, labels], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let born = old.as_ref().map_or(point.born.millis(), |(.., born)| *born);
        let count = signed(value.count);
        transaction
            .prepare_cached(
                "INSERT INTO histogram (account, family, labels, count, sum, buckets, born) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET count = excluded.count, sum = excluded.sum, buckets = excluded.buckets",
            )?
            .execute(params![self.account, family.name, labels, count, value.sum, buckets, born])?;
        let key = [text(self.account), text(family.name), text(&labels)];
        let row = |count, sum, buckets, born| {
            let (count, sum, born) =
                (ValueRef::Integer(count), ValueRef::Integer(sum), ValueRef::Integer(born));
            [key[0], key[1], key[2], count, sum, buckets, born]
        };
        let old = old.as_ref().map(|(count, sum, buckets, born)| row(*count, *sum, text(buckets), *born));
        let new = row(count, value.sum, text(&buckets), born);
        self.edit.replace("histogram", old.as_ref().map(|row| &row[..]), Some(&new));
        Ok(())
    }
}

/// A number of the ledger's own, beside the accounts.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    select.query_row([key], |row| unsigned(row, 0)).optional()
}

/// Sets [`meta`].
pub(super) fn set_meta(edit: &mut Edit<'_>, key: &str, value: u64) -> rusqlite::Result<()> {
    let old = meta(edit.transaction, key)?;
    edit.transaction
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, signed(value)])?;
    let row = |value| [text(key), ValueRef::Integer(signed(value))];
    let old = old.map(row);
    edit.replace("meta", old.as_ref().map(|row| &row[..]), Some(&row(value)));
    Ok(())
}

/// SQLite has signed numbers only. No count comes near the end of its range.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn birth(row: &Row<'_>, column: usize) -> rusqlite::Result<BirthTime> {
    row.get(column).map(BirthTime::at_millis)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A list of texts or numbers always has a JSON form.
fn to_json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

fn labels_json(point: &Point) -> String {
    to_json(&point.labels.iter().map(|label| &**label).collect::<Vec<&str>>())
}

/// The texts of label values that were read so far. Series share them: 20,000 label sets have few
/// products, events and states.
#[derive(Default)]
struct LabelTexts(HashSet<Arc<str>, RandomState>);

/// Labels of the family that has most, without the account.
const MOST_LABELS: usize = 4;

impl LabelTexts {
    /// The label values of a series, from their JSON form. A text that is no list counts as an empty
    /// list, which no family accepts.
    fn read(&mut self, json: &str) -> Vec<Arc<str>> {
        self.read_plain(json)
            .unwrap_or_else(|| from_json::<String>(json).iter().map(|text| self.share(text)).collect())
    }

    /// As the ledger writes a list in which nothing is escaped; `None` for all others.
    fn read_plain(&mut self, json: &str) -> Option<Vec<Arc<str>>> {
        // JSON escapes control characters, too.
        if json.bytes().fold(false, |found, byte| found | matches!(byte, b'\\' | ..b' ')) {
            return None;
        }
        let mut rest = json.strip_prefix("[\"")?;
        let mut labels = Vec::with_capacity(MOST_LABELS);
        loop {
            let (text, behind) = rest.split_at_checked(memchr::memchr(b'"', rest.as_bytes())?)?;
            labels.push(self.share(text));
            match behind.strip_prefix("\",\"") {
                Some(next) => rest = next,
                None => return (behind == "\"]").then_some(labels),
            }
        }
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

/// A text that is no list counts as an empty list.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_survive_their_json_form(labels in prop::collection::vec("[a-c,\\[\\]\"\\\\ é\n\u{1}]{0,6}", 0..5)) {
            let mut texts = LabelTexts::default();
            let read: Vec<String> = texts.read(&to_json(&labels)).iter().map(|text| text.to_string()).collect();
            prop_assert_eq!(read, labels);
        }
    }

    #[test]
    fn a_text_that_is_no_list_has_no_labels() {
        let mut texts = LabelTexts::default();
        for odd in ["", "[", "[\"", "[\"]", "{}", "[1]", "[\"a\", \"b\"", "\"a\"", "[\"a\nb\"]"] {
            assert!(texts.read(odd).is_empty(), "{odd}");
        }
        // As another program would write it.
        assert_eq!(texts.read("[\"a\", \"b\"]"), ["a", "b"].map(Arc::from));
    }

    #[test]
    fn a_day_is_complete_if_counting_began_before_it() {
        let day = |mark| first_complete_day(&Origin { id: 0, mark, since: String::new() });
        assert_eq!([0, 1, 86_400, 86_401].map(day), [0, 1, 1, 2]);
    }
}
