//! A digest of the ledger: for the whole file, and for each log, the wrapping sum of a hash of
//! every row.
//!
//! SQLite notices a broken page, but not a digit that became another one, nor a row that vanished.
//! A sum has no order, so a transaction takes away the hashes of the rows that it replaces and adds
//! those of the new ones: a commit costs a few hashes, and opening reads each row once. It says
//! that a file is as it was written; it is no protection against somebody who means to deceive and
//! writes the digest too.
//!
//! Covered are all tables but `digest` itself, the schema, its number, and the application id.
//! Tables and columns are taken from the schema, so that this version can also verify the ledger of
//! a later one.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::error::StoreError;

/// The table of the digests, by log; that of the whole file is at 0.
const WHOLE: i64 = 0;

/// Tables whose rows begin with the number of a log, and belong to its digest too.
const OF_A_LOG: [&str; 2] = ["log", "seen"];

/// The digests of one state of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Digest {
    whole: u128,
    logs: BTreeMap<i64, u128>,
}

impl Digest {
    /// A row was added.
    pub(super) fn add(&mut self, table: &str, row: &[ValueRef<'_>]) {
        let hash = hash(table, row);
        self.change(table, first_number(row), |sum| sum.wrapping_add(hash));
    }

    /// A row was removed.
    pub(super) fn remove(&mut self, table: &str, row: &[ValueRef<'_>]) {
        let hash = hash(table, row);
        self.change(table, first_number(row), |sum| sum.wrapping_sub(hash));
    }

    /// `log` is the first cell of the row if that is a number.
    fn change(&mut self, table: &str, log: Option<i64>, change: impl Fn(u128) -> u128) {
        self.whole = change(self.whole);
        if let Some(log) = log.filter(|_| OF_A_LOG.contains(&table)) {
            let sum = self.logs.entry(log).or_default();
            *sum = change(*sum);
        }
    }

    /// Of one log.
    pub(super) fn of_log(&self, log: i64) -> u128 {
        self.logs.get(&log).copied().unwrap_or_default()
    }

    /// Whether the ledger has digests at all: the first version had none.
    pub(super) fn is_kept(connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'digest'";
        connection.query_row(sql, [], |row| row.get(0))
    }

    /// As it was written.
    pub(super) fn kept(connection: &Connection) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        let mut select = connection.prepare("SELECT log, sum FROM digest")?;
        let mut rows = select.query([])?;
        let mut has_whole = false;
        while let Some(row) = rows.next()? {
            let sum = u128::from_le_bytes(row.get(1)?);
            match row.get(0)? {
                WHOLE => (digest.whole, has_whole) = (sum, true),
                log => {
                    digest.logs.insert(log, sum);
                }
            }
        }
        if has_whole { Ok(digest) } else { Err(StoreError::Damaged("it has no digest".to_owned())) }
    }

    /// Writes what differs from `before`.
    pub(super) fn keep(&self, before: Option<&Digest>, connection: &Connection) -> rusqlite::Result<()> {
        let mut write =
            connection.prepare_cached("INSERT OR REPLACE INTO digest (log, sum) VALUES (?1, ?2)")?;
        if before.map(|before| before.whole) != Some(self.whole) {
            write.execute(params![WHOLE, self.whole.to_le_bytes()])?;
        }
        for (log, sum) in &self.logs {
            if before.and_then(|before| before.logs.get(log)) != Some(sum) {
                write.execute(params![log, sum.to_le_bytes()])?;
            }
        }
        Ok(())
    }

    /// Of all that is in the file now.
    pub(super) fn scan(connection: &Connection) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        for name in ["application_id", "user_version"] {
            let number = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?;
            digest.add("pragma", &[text(name), ValueRef::Integer(number)]);
        }
        digest.scan_rows(
            connection,
            "sqlite_schema",
            "SELECT type, name, tbl_name, sql FROM sqlite_schema",
        )?;
        let mut select = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'digest'",
        )?;
        let tables = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        for table in tables {
            let quoted = table.replace('"', "\"\"");
            digest.scan_rows(connection, &table, &format!("SELECT * FROM \"{quoted}\""))?;
        }
        Ok(digest)
    }

    /// Of the rows of one log.
    pub(super) fn scan_log(connection: &Connection, log: i64) -> Result<u128, StoreError> {
        let mut digest = Digest::default();
        digest.scan_rows(connection, "log", &format!("SELECT * FROM log WHERE id = {log}"))?;
        digest.scan_rows(connection, "seen", &format!("SELECT * FROM seen WHERE log = {log}"))?;
        Ok(digest.of_log(log))
    }

    fn scan_rows(&mut self, connection: &Connection, table: &str, sql: &str) -> Result<(), StoreError> {
        let mut select = connection.prepare(sql)?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        // Opening hashes each row once, some 20,000 of them: neither list nor text is made anew for
        // each.
        let mut hasher = RowHasher::default();
        while let Some(row) = rows.next()? {
            let mut of_log = None;
            let mut hashing = hasher.row(table);
            for at in 0..columns {
                let cell = row.get_ref(at)?;
                if let (0, ValueRef::Integer(log)) = (at, cell) {
                    of_log = Some(log);
                }
                hashing.cell(cell);
            }
            let hash = hashing.end();
            self.change(table, of_log, |sum| sum.wrapping_add(hash));
        }
        Ok(())
    }

    /// Compares the file with what it says of itself, and returns its digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is not as it was written.
    pub(super) fn verify(connection: &Connection) -> Result<Digest, StoreError> {
        let (kept, scanned) = (Digest::kept(connection)?, Digest::scan(connection)?);
        if kept == scanned {
            Ok(scanned)
        } else {
            Err(StoreError::Damaged("its digest does not fit its content".to_owned()))
        }
    }
}

/// A text as a cell.
pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

fn first_number(row: &[ValueRef<'_>]) -> Option<i64> {
    if let Some(ValueRef::Integer(number)) = row.first() { Some(*number) } else { None }
}

fn hash(table: &str, row: &[ValueRef<'_>]) -> u128 {
    let mut hasher = RowHasher::default();
    let mut hashing = hasher.row(table);
    row.iter().for_each(|cell| hashing.cell(*cell));
    hashing.end()
}

/// Hashes rows: the first half of a SHA-256 over table and cells, each with its type and length.
/// Never to be changed: it is kept.
#[derive(Default)]
struct RowHasher {
    /// The bytes of a row that are hashed.
    bytes: Vec<u8>,
}

impl RowHasher {
    fn row(&mut self, table: &str) -> RowHashing<'_> {
        self.bytes.clear();
        let mut hashing = RowHashing { bytes: &mut self.bytes };
        hashing.part(b't', table.as_bytes());
        hashing
    }
}

struct RowHashing<'a> {
    bytes: &'a mut Vec<u8>,
}

impl RowHashing<'_> {
    fn part(&mut self, kind: u8, content: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend(u64::try_from(content.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.bytes.extend(content);
    }

    fn cell(&mut self, cell: ValueRef<'_>) {
        match cell {
            ValueRef::Null => self.part(b'n', &[]),
            ValueRef::Integer(number) => self.part(b'i', &number.to_le_bytes()),
            ValueRef::Real(number) => self.part(b'r', &number.to_bits().to_le_bytes()),
            ValueRef::Text(text) => self.part(b's', text),
            ValueRef::Blob(blob) => self.part(b'b', blob),
        }
    }

    fn end(self) -> u128 {
        let hash = digest(&SHA256, self.bytes);
        hash.as_ref().first_chunk().map_or(0, |half| u128::from_le_bytes(*half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_row_never_changes() {
        let row = [text("default"), ValueRef::Integer(-7), ValueRef::Null, ValueRef::Blob(&[1, 2])];
        assert_eq!(
            hash("counter", &row),
            EXPECTED,
            "a ledger that was written before would be taken for damaged"
        );
    }

    /// By another implementation: Python's hashlib.
    const EXPECTED: u128 = 0x7e87ec5336938810c15c4c382cb4e491;

    #[test]
    fn rows_have_no_order_but_a_place() {
        let (one, other) = ([text("a"), ValueRef::Integer(1)], [text("b"), ValueRef::Integer(2)]);
        let mut digest = Digest::default();
        digest.add("counter", &one);
        digest.add("counter", &other);
        let mut turned = Digest::default();
        turned.add("counter", &other);
        turned.add("counter", &one);
        assert_eq!(digest, turned);
        for (table, row) in [
            ("counter", [text("a"), ValueRef::Integer(2)]),
            ("product", one),
            ("counter", [text("a"), text("1")]),
            ("counter", [text("a1"), ValueRef::Null]),
        ] {
            let mut swapped = digest.clone();
            swapped.remove("counter", &one);
            swapped.add(table, &row);
            assert_ne!(swapped, digest, "{table} {row:?}");
        }
        digest.remove("counter", &other);
        digest.remove("counter", &one);
        assert_eq!(digest, Digest::default());
    }

    #[test]
    fn a_log_has_a_digest_of_its_own() {
        let mut digest = Digest::default();
        digest.add("log", &[ValueRef::Integer(1), text("web_api")]);
        digest.add("seen", &[ValueRef::Integer(2), ValueRef::Integer(1)]);
        digest.add("counter", &[ValueRef::Integer(3)]);
        assert!(digest.of_log(1) != 0 && digest.of_log(2) != 0 && digest.of_log(3) == 0);
    }
}
