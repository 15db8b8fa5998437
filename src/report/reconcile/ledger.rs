//! The ledger's side of a comparison: its counts by day, and the days that it has whole.
//!
//! The ledger is only read, and may be in use. Promises: counts and the newest id are of the time
//! before the log is read, so a row that is counted while the comparison goes on is no difference.

use std::path::PathBuf;

use crate::cryptolens::LogKind;
use crate::ledger::{DAYS_KEPT, DayOutcomes, LedgerDays, LedgerReader};
use crate::report::error::ReportError;
use crate::task;

/// Products past the limit of label sets share one number in the ledger.
const OTHER_PRODUCT: i64 = -1;

/// The counts of the Web API Log of one account.
#[derive(Debug)]
pub(crate) struct LedgerSide {
    pub(super) days: LedgerDays,
    /// Rows above this id are not counted yet.
    pub(super) cursor: i64,
    /// The day of the reading, in days since 1970.
    pub(super) today: i64,
}

impl LedgerSide {
    /// Reads the ledger in a directory.
    pub(crate) async fn read(
        directory: PathBuf,
        account: &str,
        today: i64,
    ) -> Result<LedgerSide, ReportError> {
        let name = account.to_owned();
        let path = directory.clone();
        let found = task::spawn_blocking(move || {
            let reader = LedgerReader::open(&path)?;
            // The newest id first: what is counted in between is then above it.
            let accounts = reader.accounts()?;
            let log = accounts.get(&*name).and_then(|account| account.logs.get(&LogKind::WebApi));
            let cursor = log.map(|log| log.cursor);
            Ok::<_, ReportError>(cursor.zip(reader.days(&name, LogKind::WebApi)?))
        });
        let Some((cursor, days)) = found.await? else {
            return Err(ReportError::NotInLedger { directory, account: account.to_owned() });
        };
        Ok(LedgerSide { days, cursor, today })
    }

    /// The counts of a product on a day, if the ledger has them by themselves.
    pub(super) fn counts(&self, product: i64, day: i64) -> Option<DayOutcomes> {
        let counts = &self.days.counts;
        let has_other = counts.contains_key(&(day, OTHER_PRODUCT));
        counts.get(&(day, product)).copied().or_else(|| (!has_other).then(DayOutcomes::default))
    }

    /// True if every row of the day is counted, where the newest of the log has this id.
    pub(super) fn covers(&self, day: i64, newest_id: Option<i64>) -> bool {
        let first = self.days.complete_from.max(self.today.saturating_sub(DAYS_KEPT));
        day >= first && newest_id.is_none_or(|id| id <= self.cursor)
    }

    /// The products that it has counts of, with their days.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.days.counts.keys().filter(|(_, product)| *product > 0).map(|(day, product)| (*product, *day))
    }
}
