//! Usage in the ledger: the secret of the hashes or its fingerprint, and the sets of each account.
//!
//! The sets live in memory as [`UsageTracker`]s. Those that changed are written as whole blobs in the
//! transaction that counts the rows, so that a row is in its sets exactly if it is counted. Without
//! usage there is neither a set nor a secret in the file.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, params};

use crate::cryptolens::{LogKind, WebApiRow};
use crate::ingest::{LogId, LogUpdate};
use crate::tally::Products;
use crate::tally::label::ProductLabel;
use crate::usage::{
    UsageChanges, UsageCounts, UsageDay, UsageDays, UsageHasher, UsageMember, UsageOptions, UsageSample,
    UsageSecret, UsageSet, UsageSetKey, UsageSubject, UsageTracker, ignored_members,
};

use super::error::{OtherSecret, StoreError};
use super::history::{change, delete, first_time};
use super::store::{Configured, Edit, LogState};

/// The tables.
const TABLES: [&str; 3] = ["usage_secret", "usage_account", "usage_set"];

/// The number that stands for products past the limit.
const OTHER_PRODUCT: i64 = -1;

/// A log that brought nothing for this long is not read: its days end by the clock of this machine. One
/// that is read seals minutes, also if it is quiet.
pub(super) const UNREAD_FOR: Duration = Duration::from_secs(3600);

/// The counts by account, as of one commit. An account is missing until the first poll of its Web API
/// Log is complete.
pub type UsageState = BTreeMap<Arc<str>, Arc<UsageCounts>>;

/// The usage of an open ledger.
#[derive(Debug)]
pub(super) struct UsageStore {
    ignored: Arc<HashSet<UsageMember>>,
    accounts: BTreeMap<Arc<str>, FollowedAccount>,
    committed: Arc<UsageState>,
}

/// The usage of an account.
#[derive(Debug)]
struct FollowedAccount {
    tracker: UsageTracker,
    /// When its log brought something last, or the ledger was opened.
    read: Instant,
}

impl FollowedAccount {
    fn new(tracker: UsageTracker) -> FollowedAccount {
        FollowedAccount { tracker, read: Instant::now() }
    }
}

/// Everything about usage that one transaction writes.
#[derive(Debug)]
pub(super) struct UsageWrite {
    accounts: Vec<(Arc<str>, UsageChanges)>,
    state: Arc<UsageState>,
}

impl UsageWrite {
    /// True if it deletes sets, whose bytes are then still in the write-ahead log.
    pub(super) fn forgets(&self) -> bool {
        self.accounts.iter().any(|(_, changes)| !changes.gone.is_empty())
    }

    /// Writes it.
    pub(super) fn write(&self, edit: &mut Edit<'_>) -> Result<(), StoreError> {
        for (account, changes) in &self.accounts {
            if let Some((origin, today)) = changes.start {
                change(edit, "usage_account", "account = ?1", &[account], |transaction| {
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO usage_account (account, origin, today) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![account, origin, today.number()])
                })?;
            }
            for ((day, product, subject), members) in &changes.sets {
                let (day, product, subject) = (day.number(), product_number(*product), code(*subject));
                let key: [&dyn rusqlite::ToSql; 4] = [account, &day, &product, &subject];
                change(edit, "usage_set", SET, &key, |transaction| {
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO usage_set (account, day, product, subject, members)
                             VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(params![account, day, product, subject, members])
                })?;
            }
            for (day, product, subject) in &changes.gone {
                let (day, product, subject) = (day.number(), product_number(*product), code(*subject));
                delete(edit, "usage_set", SET, &[account, &day, &product, &subject])?;
            }
        }
        Ok(())
    }
}

const SET: &str = "account = ?1 AND day = ?2 AND product = ?3 AND subject = ?4";

const fn product_number(product: ProductLabel) -> i64 {
    match product {
        ProductLabel::Id(id) => id,
        ProductLabel::Other => OTHER_PRODUCT,
    }
}

const SUBJECTS: [UsageSubject; 4] = [
    UsageSubject::ActiveKeys,
    UsageSubject::ActiveMachines,
    UsageSubject::FailingKeys,
    UsageSubject::RefusedKeys,
];

/// The number of a subject in the file.
const fn code(subject: UsageSubject) -> i64 {
    match subject {
        UsageSubject::ActiveKeys => 1,
        UsageSubject::ActiveMachines => 2,
        UsageSubject::FailingKeys => 3,
        UsageSubject::RefusedKeys => 4,
    }
}

/// The subject with this number.
pub(super) fn subject(number: i64) -> Option<UsageSubject> {
    SUBJECTS.into_iter().find(|subject| code(*subject) == number)
}

/// Deletes all sets and the secret. Returns true if there was something to delete.
pub(super) fn forget(edit: &mut Edit<'_>) -> Result<bool, StoreError> {
    let mut any = false;
    for table in TABLES {
        any |= edit
            .transaction
            .query_row(&format!("SELECT EXISTS (SELECT * FROM {table})"), [], |row| row.get::<_, bool>(0))?;
        delete(edit, table, "TRUE", &[])?;
    }
    Ok(any)
}

/// The secret of the ledger: that of the file, else its own, which is made here if there is none.
fn secret<'a>(edit: &mut Edit<'_>, options: &'a UsageOptions) -> Result<&'a UsageSecret, StoreError> {
    let UsageOptions { hasher, secret: of_file, .. } = options;
    let found: Option<(i64, Option<[u8; 16]>)> = edit
        .transaction
        .query_row("SELECT fingerprint, secret FROM usage_secret", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let kept = found.and_then(|(_, bytes)| bytes.map(UsageSecret::from_bytes));
    let wanted = match (of_file, &found, kept) {
        (Some(secret), ..) => secret.clone(),
        (None, Some(_), Some(kept)) => kept,
        // It was hashed with the secret of a file.
        (None, Some(_), None) => return Err(OtherSecret::WithoutFile.into()),
        (None, None, _) => UsageSecret::from_bytes(rand::random()),
    };
    let secret = UsageHasher::secret_or(hasher, wanted);
    let fingerprint = secret.fingerprint().cast_signed();
    match found {
        Some((found, _)) if found != fingerprint => Err(OtherSecret::Another.into()),
        Some(_) => Ok(secret),
        None => {
            let bytes = of_file.is_none().then(|| secret.bytes());
            edit.transaction.execute(
                "INSERT INTO usage_secret (id, fingerprint, secret) VALUES (1, ?1, ?2)",
                params![fingerprint, bytes],
            )?;
            let bytes = bytes.as_ref().map_or(ValueRef::Null, |bytes| ValueRef::Blob(bytes));
            let row = [ValueRef::Integer(1), ValueRef::Integer(fingerprint), bytes];
            edit.replace("usage_secret", None, Some(&row));
            Ok(secret)
        }
    }
}

impl UsageStore {
    /// Reads the sets of a ledger. Those of accounts that are not configured any more are deleted, as
    /// nothing would ever delete them later.
    pub(super) fn open(
        edit: &mut Edit<'_>,
        options: &UsageOptions,
        configured: &Configured,
    ) -> Result<UsageStore, StoreError> {
        let secret = secret(edit, options)?;
        let ignored = ignored_members(&options.ignored_keys, secret);
        let transaction = edit.transaction;
        let mut select = transaction.prepare(
            "SELECT usage_account.account, usage_account.origin, today, coalesce(first_poll_complete, 0)
             FROM usage_account LEFT JOIN log ON log.account = usage_account.account AND log.log = ?1",
        )?;
        let accounts = select
            .query_map([LogKind::WebApi.name()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<rusqlite::Result<Vec<(String, i64, i64, bool)>>>()?;
        let mut store = UsageStore { ignored, accounts: BTreeMap::new(), committed: Arc::default() };
        let mut shown = UsageState::new();
        for (name, origin, today, is_shown) in accounts {
            if !configured.contains_key(&*name) {
                for table in ["usage_account", "usage_set"] {
                    delete(edit, table, "account = ?1", &[&name])?;
                }
                continue;
            }
            let days = UsageDays::restore(origin, UsageDay::from_number(today), sets(edit, &name)?);
            let mut tracker = UsageTracker::new(days, Arc::clone(&store.ignored), true);
            let name: Arc<str> = name.into();
            if is_shown {
                shown.insert(Arc::clone(&name), Arc::new(tracker.counts()));
            }
            store.accounts.insert(name, FollowedAccount::new(tracker));
        }
        store.committed = Arc::new(shown);
        Ok(store)
    }

    /// As it is shown.
    pub(super) fn committed(&self) -> &Arc<UsageState> {
        &self.committed
    }

    /// Who follows the counting of an update. For a log of which nothing was counted before, the sets
    /// are whole from its origin on; else from now on. With `is_in_history`, the history has what was
    /// known at the end of the first poll.
    pub(super) fn observer(
        &mut self,
        log: &LogId,
        state: &LogState,
        update: &LogUpdate,
        is_in_history: bool,
    ) -> Option<&mut UsageTracker> {
        if log.log != LogKind::WebApi {
            return None;
        }
        let ignored = Arc::clone(&self.ignored);
        let FollowedAccount { tracker, read } =
            self.accounts.entry(Arc::clone(&log.account)).or_insert_with(|| {
                let is_first = state.cursor == state.origin.id && !state.first_poll_complete;
                let origin =
                    if is_first { state.origin.mark.max(0) } else { update.read_at.saturating_add(1) };
                let oldest = first_time(&update.rows).unwrap_or(update.read_at).min(update.read_at);
                let days = UsageDays::new(origin, state.sealed_until.unwrap_or(oldest));
                FollowedAccount::new(UsageTracker::new(days, ignored, false))
            });
        *read = Instant::now();
        if !state.first_poll_complete {
            tracker.skip_before(update.read_at);
        } else if is_in_history {
            tracker.follow_for_history(false);
        }
        Some(tracker)
    }

    /// Returns the samples of usage for the history, of an account whose first poll is complete.
    pub(super) fn samples(&mut self, account: &str) -> Vec<UsageSample> {
        let Some(FollowedAccount { tracker, .. }) = self.accounts.get_mut(account) else { return Vec::new() };
        // At the end of the first poll, all complete days that are kept.
        tracker.follow_for_history(true);
        tracker.take_samples()
    }

    /// Takes rows of an account that were counted before usage was turned on. With `known_from`, every
    /// row from that time on was taken. Returns what the history gets by that, if there is one.
    pub(super) fn take_again(
        &mut self,
        account: &str,
        products: &Products,
        rows: &[WebApiRow],
        (read_at, known_from): (i64, Option<i64>),
        has_history: bool,
    ) -> Vec<UsageSample> {
        let Some(FollowedAccount { tracker, .. }) = self.accounts.get_mut(account) else { return Vec::new() };
        if has_history {
            tracker.follow_for_history(false);
        }
        let known: HashSet<i64> = products.iter().map(|(id, _)| id).collect();
        for row in rows {
            let is_known = row.product_id <= 0 || known.contains(&row.product_id);
            let product =
                if is_known { ProductLabel::Id(row.product_id.max(0)) } else { ProductLabel::Other };
            tracker.take(row, product, read_at);
        }
        if let Some(time) = known_from {
            tracker.know_from(time);
        }
        tracker.take_samples()
    }

    /// Forgets the days that are no longer kept at `now` (Unix seconds) of accounts whose log brought
    /// nothing for as long as `unread_for`: nothing seals them. `None` if there is nothing to forget.
    pub(super) fn expire(&mut self, now: i64, unread_for: Duration) -> Option<UsageWrite> {
        let unread = self.accounts.iter_mut().filter(|(_, account)| account.read.elapsed() >= unread_for);
        unread.for_each(|(_, account)| account.tracker.expire(now));
        let of_expired = |(name, account): (&Arc<str>, &FollowedAccount)| {
            account.tracker.has_forgotten().then(|| (Arc::clone(name), self.committed.contains_key(name)))
        };
        let expired: Vec<(Arc<str>, bool)> = self.accounts.iter().filter_map(of_expired).collect();
        let written = self.prepare(expired.iter().map(|(name, is_shown)| (name, *is_shown)));
        written.forgets().then_some(written)
    }

    /// Prepares what a transaction writes for the accounts that it counts rows of; `is_shown` says
    /// whether the first poll of an account's Web API Log is complete.
    pub(super) fn prepare<'a>(&mut self, accounts: impl Iterator<Item = (&'a Arc<str>, bool)>) -> UsageWrite {
        let mut state = Arc::clone(&self.committed);
        let mut written = Vec::new();
        for (account, is_shown) in accounts {
            let Some(FollowedAccount { tracker, .. }) = self.accounts.get_mut(account) else { continue };
            let changes = tracker.take_changes();
            let is_new = !state.contains_key(account);
            if is_shown && (is_new || changes != UsageChanges::default()) {
                Arc::make_mut(&mut state).insert(Arc::clone(account), Arc::new(tracker.counts()));
            }
            written.push((Arc::clone(account), changes));
        }
        UsageWrite { accounts: written, state }
    }

    /// The write was committed.
    pub(super) fn wrote(&mut self, write: &UsageWrite) {
        self.committed = Arc::clone(&write.state);
    }
}

/// The sets of an account.
fn sets(edit: &Edit<'_>, account: &str) -> Result<BTreeMap<UsageSetKey, UsageSet>, StoreError> {
    let mut select = edit
        .transaction
        .prepare("SELECT day, product, subject, members FROM usage_set WHERE account = ?1")?;
    let mut rows = select.query([account])?;
    let mut sets = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (day, product, number): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let product = if product == OTHER_PRODUCT { ProductLabel::Other } else { ProductLabel::Id(product) };
        let members: Vec<u8> = row.get(3)?;
        let set = UsageSet::from_bytes(&members).map_err(|error| StoreError::Damaged(error.to_string()))?;
        // A later version may know more subjects.
        if let Some(subject) = subject(number) {
            sets.insert((UsageDay::from_number(day), product, subject), set);
        }
    }
    Ok(sets)
}

/// A follower of the counting.
pub(super) fn as_observer(tracker: &mut UsageTracker) -> &mut dyn crate::tally::RowObserver {
    tracker
}

#[cfg(test)]
mod tests;
