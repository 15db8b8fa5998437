//! Rows by the day in which they happened, for 40 days: what `reconcile` compares with the log itself.
//!
//! Promises: a row is in the table of days exactly if it was counted, as both are written in one
//! transaction; a commit writes the cells that it changes, and nothing else. Left out are rows without
//! a time, of more than a day ahead, and older than is kept. Rows of logs without an outcome are all
//! `unknown`.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::cryptolens::{LogKind, Outcome, Rows, state_code};
use crate::tally::Products;

use super::digest::text;
use super::error::StoreError;
use super::history::delete;
use super::store::Edit;

/// How many days are kept before today: the vendor keeps events and changes for at least 30.
pub const DAYS_KEPT: i64 = 40;

const DAY_SECONDS: i64 = 86_400;

/// The number that stands for products past the limit.
pub(super) const OTHER_PRODUCT: i64 = -1;

/// The rows of one product on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DayOutcomes {
    /// Successful requests.
    pub success: u64,
    /// Failed requests.
    pub failure: u64,
    /// Requests without a known outcome, and all rows of logs that have none.
    pub unknown: u64,
}

impl DayOutcomes {
    fn add(&mut self, other: DayOutcomes) {
        self.success += other.success;
        self.failure += other.failure;
        self.unknown += other.unknown;
    }

    fn of(outcome: Outcome) -> DayOutcomes {
        let mut one = DayOutcomes::default();
        match outcome {
            Outcome::Success => one.success = 1,
            Outcome::Failure => one.failure = 1,
            Outcome::Unknown => one.unknown = 1,
        }
        one
    }
}

/// The counts by day of one log, as of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerDays {
    /// The first day of which the ledger has every row, in days since 1970.
    pub complete_from: i64,
    /// By day (since 1970) and product; 0 for rows without a product, -1 for products past the limit.
    pub counts: BTreeMap<(i64, i64), DayOutcomes>,
}

/// Numbers that a transaction adds to the days of one account.
#[derive(Debug, Default)]
pub(super) struct DayChanges(BTreeMap<(LogKind, i64, i64), DayOutcomes>);

impl DayChanges {
    /// Adds rows that were read at `read_at` (Unix seconds). `products` are those known after the rows
    /// were counted.
    pub(super) fn count(&mut self, rows: &Rows, read_at: i64, products: &Products) {
        let kept = first_kept(read_at)..=day_of(read_at.saturating_add(DAY_SECONDS));
        let mut page: BTreeMap<(i64, i64), DayOutcomes> = BTreeMap::new();
        let mut add = |time: Option<i64>, product: i64, outcome: Outcome| {
            if let Some(day) = time.map(day_of).filter(|day| kept.contains(day)) {
                page.entry((day, product)).or_default().add(DayOutcomes::of(outcome));
            }
        };
        match rows {
            Rows::WebApi(rows) => {
                rows.iter().for_each(|row| add(row.time, row.product_id, state_code::classify(row.state).1));
            }
            Rows::Events(rows) => {
                rows.iter().for_each(|row| add(row.time, row.product_id, Outcome::Unknown));
            }
            Rows::Objects(rows) => rows.iter().for_each(|row| add(row.created, 0, Outcome::Unknown)),
        }
        for ((day, product), counts) in page {
            let product = match product {
                ..=0 => 0,
                id if products.contains(id) => id,
                _ => OTHER_PRODUCT,
            };
            self.0.entry((rows.log(), day, product)).or_default().add(counts);
        }
    }

    /// Writes them.
    pub(super) fn write(&self, edit: &mut Edit<'_>, account: &str) -> Result<(), StoreError> {
        for ((log, day, product), added) in &self.0 {
            let old = edit
                .transaction
                .prepare_cached(
                    "SELECT success, failure, unknown FROM day
                     WHERE account = ?1 AND log = ?2 AND day = ?3 AND product = ?4",
                )?
                .query_row(params![account, log.name(), day, product], |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?])
                })
                .optional()?;
            let before: [i64; 3] = old.unwrap_or_default();
            let added = [added.success, added.failure, added.unknown];
            let mut after = before;
            for (after, added) in after.iter_mut().zip(added) {
                *after = after.saturating_add(i64::try_from(added).unwrap_or(i64::MAX));
            }
            let [success, failure, unknown] = after;
            edit.transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO day (account, log, day, product, success, failure, unknown)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![account, log.name(), day, product, success, failure, unknown])?;
            let row = |[success, failure, unknown]: [i64; 3]| {
                let [day, product, success, failure, unknown] =
                    [*day, *product, success, failure, unknown].map(ValueRef::Integer);
                [text(account), text(log.name()), day, product, success, failure, unknown]
            };
            let old = old.map(row);
            edit.replace("day", old.as_ref().map(|row| &row[..]), Some(&row(after)));
        }
        Ok(())
    }
}

/// Deletes days that are no longer kept at a time in Unix seconds.
pub(super) fn forget(edit: &mut Edit<'_>, now: i64) -> Result<(), StoreError> {
    delete(edit, "day", "day < ?1", &[&first_kept(now)])
}

/// The day of a time in Unix seconds, since 1970.
pub(super) const fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY_SECONDS)
}

fn first_kept(now: i64) -> i64 {
    day_of(now).saturating_sub(DAYS_KEPT)
}

/// The days of one log; `None` if the ledger does not count it.
pub(super) fn read(
    connection: &Connection,
    account: &str,
    log: LogKind,
) -> rusqlite::Result<Option<LedgerDays>> {
    let complete_from: Option<i64> = connection
        .prepare_cached("SELECT days_from FROM log WHERE account = ?1 AND log = ?2")?
        .query_row(params![account, log.name()], |row| row.get(0))
        .optional()?;
    let Some(complete_from) = complete_from else { return Ok(None) };
    let mut select = connection.prepare_cached(
        "SELECT day, product, success, failure, unknown FROM day WHERE account = ?1 AND log = ?2",
    )?;
    let counts = select
        .query_map(params![account, log.name()], |row| {
            let number = |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
            let counts = DayOutcomes { success: number(2)?, failure: number(3)?, unknown: number(4)? };
            Ok(((row.get(0)?, row.get(1)?), counts))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(LedgerDays { complete_from, counts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::WebApiRow;

    #[test]
    fn rows_without_a_day_are_left_out_and_products_past_the_limit_share_one() {
        const NOW: i64 = 100 * DAY_SECONDS + 5;
        let row = |time: Option<i64>, product_id, state| WebApiRow {
            time,
            product_id,
            state,
            ..Default::default()
        };
        let rows = vec![
            row(None, 7, Some(2014)),
            row(Some(NOW), 7, Some(2014)),
            row(Some(NOW), 7, Some(2021)),
            row(Some(NOW), 7, None),
            row(Some(NOW + DAY_SECONDS), 7, Some(2014)),
            row(Some(NOW + 2 * DAY_SECONDS), 7, Some(2014)),
            row(Some(60 * DAY_SECONDS), 0, Some(2014)),
            row(Some(60 * DAY_SECONDS - 1), 0, Some(2014)),
            row(Some(NOW), 8, Some(2014)),
            row(Some(NOW), 9, Some(2014)),
        ];
        let mut products = Products::default();
        products.admit(7, None, 1);
        let mut changes = DayChanges::default();
        changes.count(&Rows::WebApi(rows), NOW, &products);
        let found: Vec<_> = changes.0.iter().map(|((_, day, product), n)| (*day, *product, *n)).collect();
        let counts = |success, failure, unknown| DayOutcomes { success, failure, unknown };
        assert_eq!(
            found,
            [
                (60, 0, counts(1, 0, 0)),
                (100, OTHER_PRODUCT, counts(2, 0, 0)),
                (100, 7, counts(1, 1, 1)),
                (101, 7, counts(1, 0, 0)),
            ]
        );
    }
}
