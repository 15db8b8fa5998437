//! What is in the ledger, read and written. Values are written absolutely, never as increments, so that writing the
//! same state twice is harmless.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::cryptolens::LogKind;
use crate::ingest::{DamagedChunk, LogCheckpoint, Origin, Position, RowsWithoutId, SeenChunk, SeenIds};
use crate::tally::catalogue::Family;
use crate::tally::{AccountTally, Histogram, MAX_BOUNDS, Products, Sink};

/// One log, without its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Where counting began.
    pub origin: Origin,
    /// The highest id counted.
    pub cursor: i64,
    /// Whether any pass was ever complete.
    pub first_poll_complete: bool,
    /// Time of the newest row counted, in Unix seconds.
    pub last_entry: Option<i64>,
    /// End of the last complete pass that was written down, in Unix seconds.
    pub last_poll: Option<i64>,
}

/// One account.
#[derive(Debug, Clone, Default)]
pub struct AccountState {
    /// What it counted.
    pub tally: Arc<AccountTally>,
    /// The products known: those of the ledger and those configured.
    pub products: Arc<Products>,
    /// Its logs.
    pub logs: BTreeMap<LogKind, LogState>,
}

/// How a log moves in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogChange {
    pub(super) floor: i64,
    pub(super) watermark: i64,
    pub(super) counted: Vec<i64>,
    pub(super) without_id: Option<RowsWithoutId>,
    pub(super) state: LogState,
}

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// By SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What was read is not what was written.
    #[error(transparent)]
    Chunk(#[from] DamagedChunk),
    /// A row was handed over twice.
    #[error("a row was to be counted that is counted already")]
    AlreadyCounted,
}

pub(super) type Accounts = BTreeMap<Arc<str>, AccountState>;

/// Reads everything but the windows.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Accounts> {
    let mut accounts = Accounts::new();
    let mut logs = connection.prepare(
        "SELECT account, log, since, mark, origin, cursor, first_poll_complete, last_entry, last_poll FROM log",
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
        };
        account(&mut accounts, row.get(0)?).logs.insert(log, state);
    }

    let mut products = connection.prepare("SELECT account, id, name FROM product ORDER BY account, id")?;
    let mut rows = products.query([])?;
    while let Some(row) = rows.next()? {
        let name: Option<String> = row.get(2)?;
        let products = Arc::make_mut(&mut account(&mut accounts, row.get(0)?).products);
        products.restore(row.get(1)?, name.map(Arc::from));
    }

    let mut unread = 0_u64;
    let mut counters = connection.prepare("SELECT account, family, labels, value FROM counter")?;
    let mut rows = counters.query([])?;
    while let Some(row) = rows.next()? {
        let (family, labels): (String, Vec<String>) = (row.get(1)?, from_json(row.get_ref(2)?.as_str()?));
        let tally = Arc::make_mut(&mut account(&mut accounts, row.get(0)?).tally);
        unread += u64::from(!tally.restore_counter(&family, &labels, unsigned(row.get(3)?)));
    }
    let mut histograms =
        connection.prepare("SELECT account, family, labels, count, sum, buckets FROM histogram")?;
    let mut rows = histograms.query([])?;
    while let Some(row) = rows.next()? {
        let (family, labels): (String, Vec<String>) = (row.get(1)?, from_json(row.get_ref(2)?.as_str()?));
        let stored: Vec<u64> = from_json(row.get_ref(5)?.as_str()?);
        let mut buckets = [0; MAX_BOUNDS];
        buckets.iter_mut().zip(stored).for_each(|(bucket, stored)| *bucket = stored);
        let histogram = Histogram { buckets, count: unsigned(row.get(3)?), sum: row.get(4)? };
        let tally = Arc::make_mut(&mut account(&mut accounts, row.get(0)?).tally);
        unread += u64::from(!tally.restore_histogram(&family, &labels, &histogram));
    }
    if unread > 0 {
        tracing::warn!(
            series = unread,
            "the ledger holds series that this version does not know; they are kept and not shown"
        );
    }
    Ok(accounts)
}

fn account(accounts: &mut Accounts, name: String) -> &mut AccountState {
    accounts.entry(Arc::from(name)).or_default()
}

/// Reads where one log stands, window included; `None` if its origin is not known.
pub(super) fn open_log(
    connection: &Connection,
    account: &str,
    log: LogKind,
) -> Result<Option<LogCheckpoint>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, since, mark, origin, floor, watermark, cursor, first_poll_complete, last_poll, without_id
         FROM log WHERE account = ?1 AND log = ?2",
    )?;
    let found = select
        .query_row(params![account, log.name()], |row| {
            let id: i64 = row.get(0)?;
            let origin = Origin { since: row.get(1)?, mark: row.get(2)?, id: row.get(3)? };
            let (floor, watermark, cursor): (i64, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
            let without_id: Vec<(i64, u64)> = from_json(row.get_ref(9)?.as_str()?);
            Ok((id, origin, floor, watermark, cursor, row.get(7)?, row.get(8)?, without_id))
        })
        .optional()?;
    let Some((id, origin, floor, watermark, cursor, first_poll_complete, last_poll, without_id)) = found
    else {
        return Ok(None);
    };
    let seen = load_seen(connection, id)?;
    let position = Position::restore(origin.id, floor, cursor, watermark, seen);
    let without_id = without_id.into_iter().collect();
    Ok(Some(LogCheckpoint { position, origin, without_id, first_poll_complete, last_poll, epoch: 0 }))
}

/// Writes down where counting of a log begins, unless that is known.
pub(super) fn begin_log(
    transaction: &Transaction<'_>,
    account: &str,
    log: LogKind,
    origin: &Origin,
) -> rusqlite::Result<()> {
    let start = Position::at_origin(origin.id);
    transaction
        .prepare_cached(
            "INSERT INTO log (account, log, since, mark, origin, floor, watermark, cursor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            account,
            log.name(),
            origin.since,
            origin.mark,
            start.origin(),
            start.floor(),
            start.watermark(),
            start.cursor()
        ])?;
    Ok(())
}

/// Moves a log.
pub(super) fn move_log(
    transaction: &Transaction<'_>,
    account: &str,
    log: LogKind,
    change: &LogChange,
) -> Result<(), StoreError> {
    let without_id = change.without_id.as_ref().map(|rows| to_json(&rows.iter().collect::<Vec<_>>()));
    let id: i64 = transaction
        .prepare_cached(
            "UPDATE log SET floor = ?3, watermark = ?4, cursor = ?5, first_poll_complete = ?6, last_entry = ?7, last_poll = ?8,
                 without_id = coalesce(?9, without_id)
             WHERE account = ?1 AND log = ?2 AND floor <= ?3 AND cursor <= ?5 RETURNING id",
        )?
        .query_row(
            params![
                account,
                log.name(),
                change.floor,
                change.watermark,
                change.state.cursor,
                change.state.first_poll_complete,
                change.state.last_entry,
                change.state.last_poll,
                without_id
            ],
            |row| row.get(0),
        )?;
    keep_seen(transaction, id, &change.counted, change.floor)
}

/// Adds ids to the seen ids of a log, and forgets those at or below the floor. An id that is there already is an error:
/// better no commit than one row counted twice.
fn keep_seen(transaction: &Transaction<'_>, log: i64, counted: &[i64], floor: i64) -> Result<(), StoreError> {
    if !counted.is_sorted_by(|one, next| one < next) {
        return Err(StoreError::AlreadyCounted);
    }
    let mut rest = counted;
    while let Some(id) = rest.first().copied() {
        let Some(chunk) = chunk_of(transaction, log, id)? else {
            let above = rest.partition_point(|id| *id <= floor);
            for chunk in SeenChunk::pack(&rest[above..]) {
                insert_chunk(transaction, log, &chunk)?;
            }
            break;
        };
        let next = chunk_after(transaction, log, chunk.first())?;
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
        for (at, new) in chunks.iter().enumerate().filter(|(_, new)| new.last() > floor) {
            if at == 0 && *new == chunk {
                continue;
            }
            insert_chunk(transaction, log, new)?;
        }
        if chunks.first().is_some_and(|new| new.first() != chunk.first()) {
            delete_chunk(transaction, log, &chunk)?;
        }
    }
    transaction
        .prepare_cached("DELETE FROM seen WHERE log = ?1 AND last <= ?2")?
        .execute(params![log, floor])?;
    Ok(())
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

/// Takes the ids that the first version kept one by one, each with its time, into chunks; the watermark is the highest
/// of the times.
pub(super) fn convert_window(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut logs = transaction.prepare("SELECT id FROM log")?;
    for log in logs.query_map([], |row| row.get(0))? {
        let log: i64 = log?;
        let mut window = transaction.prepare_cached("SELECT row FROM window WHERE log = ?1 ORDER BY row")?;
        let ids = window.query_map([log], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        for chunk in SeenChunk::pack(&ids) {
            insert_chunk(transaction, log, &chunk)?;
        }
    }
    transaction.execute(
        "UPDATE log SET watermark =
             max(watermark, coalesce((SELECT max(stamp) FROM window WHERE window.log = log.id), watermark))",
        [],
    )?;
    Ok(())
}

/// Writes a chunk, also over the one that begins with the same id.
pub(super) fn insert_chunk(
    transaction: &Transaction<'_>,
    log: i64,
    chunk: &SeenChunk,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO seen (log, first, last, ids) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![log, chunk.first(), chunk.last(), chunk.bytes()])?;
    Ok(())
}

fn delete_chunk(transaction: &Transaction<'_>, log: i64, chunk: &SeenChunk) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM seen WHERE log = ?1 AND first = ?2")?
        .execute(params![log, chunk.first()])?;
    Ok(())
}

/// Writes down a product with the name that GetProducts gave it.
pub(super) fn keep_product(
    transaction: &Transaction<'_>,
    account: &str,
    id: i64,
    name: Option<&str>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO product (account, id, name) VALUES (?1, ?2, ?3)")?
        .execute(params![account, id, name])?;
    Ok(())
}

/// Writes the label sets of one account.
pub(super) struct SeriesSink<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) account: &'a str,
}

impl Sink for SeriesSink<'_> {
    type Error = rusqlite::Error;

    fn counter(&mut self, family: &'static Family, labels: Vec<String>, value: u64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO counter (account, family, labels, value) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.account, family.name, to_json(&labels), signed(value)])?;
        Ok(())
    }

    fn histogram(
        &mut self,
        family: &'static Family,
        labels: Vec<String>,
        value: &Histogram,
    ) -> rusqlite::Result<()> {
        let buckets: Vec<u64> = value.buckets.iter().take(family.bounds().len()).copied().collect();
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO histogram (account, family, labels, count, sum, buckets) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                self.account,
                family.name,
                to_json(&labels),
                signed(value.count),
                value.sum,
                to_json(&buckets)
            ])?;
        Ok(())
    }
}

/// A number of the ledger's own, beside the accounts.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?.map(unsigned))
}

/// Sets [`meta`].
pub(super) fn set_meta(connection: &Connection, key: &str, value: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, signed(value)])?;
    Ok(())
}

/// SQLite has signed numbers only. No count comes near the end of its range.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A list of texts or numbers always has a JSON form.
fn to_json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

/// What is no list is an empty one, which no family takes back.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap_or_default()
}
