//! Archives one log: reads the range of ids that became final, and makes it visible as files.
//!
//! A range ends at a floor of the ledger: everything at or below it is final, and can still be read
//! from the API. How it is written, and what a process that ends at any step leaves, is in
//! `directory`. Promises: every row that the API shows when its range is read is in exactly one
//! file; an answer without rows never ends a range, except where the log has shown no row for days
//! and all of them are older than the API keeps them; a range that has fewer rows than were counted
//! is read again, unless the API's retention has removed them, or it shows no more of them for
//! days. The archive knows nothing of how rows are counted: it takes the floor and a number from
//! the ledger.

use std::sync::Arc;
use std::time::Duration;

use super::directory::{ArchiveDirectory, ArchiveStep, escaped};
use super::error::{ArchiveError, ROWS_GONE};
use super::journal::{FloorSample, LogJournal, PreparedRange};
use super::mask::MaskedRow;
use super::range::{RangeWriter, partition};
use super::rows::{ArchivedEvent, ArchivedObject, ArchivedRequest};
use super::status::SharedStatus;
use crate::backoff::{Backoff, Waits};
use crate::cryptolens::{ApiError, DecodeFault, Endpoint, LogKind, PageQuery, Retry, Row};
use crate::ingest::{ApiStatus, LogId, Since};
use crate::reader::origin::{self, Mark};
use crate::reader::{
    Direction, Disorder, Limit, LogProbe, LogReader, PageSource, Pause, ReadAhead, RetryPolicy,
};
use crate::task::{BlockingThread, spawn_blocking};

/// Tries of one request.
const ATTEMPTS: u32 = 8;

/// A log that looks empty is asked again after this long before that is believed.
const EMPTY_WAIT: Duration = Duration::from_secs(30);

/// The API keeps events and changes for at least 30 days, and the Web API Log for good. Younger rows
/// than this have not been removed by that.
const RETENTION_AT_LEAST_SECONDS: i64 = 20 * DAY_SECONDS;

/// Where the API shows none at all, rows that are older than
/// this have been removed.
const RETENTION_AT_MOST_SECONDS: i64 = 32 * DAY_SECONDS;

/// A log that shows no row at all, and whose rows are old enough, is believed to be empty after
/// this long, in seconds: a day before the alert on an archive without success. Until then it may
/// be a replica that shows nothing for a while.
const EMPTY_BELIEVED_AFTER_SECONDS: i64 = 2 * DAY_SECONDS;

const DAY_SECONDS: i64 = 86_400;

/// Fewer rows than were counted are believed after this long, in seconds: two days after the alert
/// on an archive without success, and long before the API removes the rows of the range. A count
/// can be wrong for good: a ledger that was restored from a backup may count rows that it had
/// missed before.
const SHORT_BELIEVED_AFTER_SECONDS: i64 = 5 * DAY_SECONDS;

/// Gives the floor of a log and the number of its rows, as they are committed.
pub(super) trait FloorSource: Clone + Send + Sync + 'static {
    /// As of now, which is `at`; `None` if the log is not counted yet. Reads the disk.
    fn floor(&self, log: &LogId, at: i64) -> Result<Option<FloorSample>, ArchiveError>;
}

/// A wrong rule, which tests must find.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveFlaw {
    /// A range ends at the cursor of the ledger, not at its floor.
    CursorAsBoundary,
    /// An answer without rows ends the range.
    EmptyBelieved,
    /// Files become visible before the state names them.
    RenamedFirst,
    /// The same, with names that have nothing to do with ids.
    RandomNames,
}

#[cfg(test)]
impl ArchiveFlaw {
    /// All of them.
    pub(crate) const ALL: [ArchiveFlaw; 4] = [
        ArchiveFlaw::CursorAsBoundary,
        ArchiveFlaw::EmptyBelieved,
        ArchiveFlaw::RenamedFirst,
        ArchiveFlaw::RandomNames,
    ];
}

/// Archives one log of one account.
pub(super) struct LogArchiver<S, L> {
    pub(super) id: LogId,
    pub(super) source: S,
    pub(super) api: Arc<ApiStatus>,
    pub(super) ledger: L,
    pub(super) directory: Arc<ArchiveDirectory>,
    pub(super) since: Since,
    /// In seconds.
    pub(super) delay: i64,
    pub(super) status: SharedStatus,
    /// As it is in its file; `None` after an error, so that it is read again.
    pub(super) journal: Option<LogJournal>,
    #[cfg(test)]
    pub(super) flaw: Option<ArchiveFlaw>,
}

/// The numbers of rows of a range.
struct RangeCounts {
    rows: u64,
    late: u64,
}

impl<S: PageSource, L: FloorSource> LogArchiver<S, L> {
    fn stem(&self) -> String {
        format!("{}.{}", escaped(&self.id.account), self.id.log.name())
    }

    fn partition(&self) -> String {
        let account = &self.id.account;
        match self.id.log {
            LogKind::WebApi => partition::<ArchivedRequest>(account),
            LogKind::Events => partition::<ArchivedEvent>(account),
            LogKind::Objects => partition::<ArchivedObject>(account),
        }
    }

    async fn write(&self, journal: &LogJournal) -> Result<(), ArchiveError> {
        let (directory, stem, journal) = (Arc::clone(&self.directory), self.stem(), journal.clone());
        spawn_blocking(move || directory.write_journal(&stem, &journal)).await
    }

    /// Reads the state of the log, completes what an earlier process began, and begins the archive
    /// of a log that has none.
    pub(super) async fn open(&mut self, now: i64) -> Result<(), ArchiveError> {
        if self.journal.is_some() {
            return Ok(());
        }
        let (directory, stem) = (Arc::clone(&self.directory), self.stem());
        let journal = match spawn_blocking(move || directory.read_journal(&stem)).await? {
            Some(journal) => journal,
            None => self.begin(now).await?,
        };
        let journal = self.complete(journal).await?;
        let (directory, stem) = (Arc::clone(&self.directory), self.stem());
        spawn_blocking(move || directory.delete_temporaries(&stem)).await?;
        self.status.succeeded(&self.id, journal.succeeded_at);
        self.journal = Some(journal);
        Ok(())
    }

    /// Finds where the archive of the log begins.
    async fn begin(&self, now: i64) -> Result<LogJournal, ArchiveError> {
        let (directory, partition) = (Arc::clone(&self.directory), self.partition());
        let archived = spawn_blocking(move || directory.last_id(&partition)).await?;
        let until = if archived > 0 {
            tracing::warn!(
                account = %self.id.account,
                log = %self.id.log,
                after = archived,
                "the state of the archive is gone, and its files are there: it goes on after the last id in their names"
            );
            archived
        } else {
            self.origin(now).await.map_err(ArchiveError::Api)?
        };
        let journal = LogJournal::begin(until, now);
        self.write(&journal).await?;
        tracing::info!(account = %self.id.account, log = %self.id.log, since = %self.since, after = until, "the archive begins");
        Ok(journal)
    }

    async fn origin(&self, now: i64) -> Result<i64, ApiError> {
        let mark = match self.since {
            Since::All => return Ok(0),
            Since::Now => Mark::Now,
            Since::Ago(ago) => {
                Mark::Time(now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX)))
            }
            Since::At(at) => Mark::Time(at.timestamp()),
        };
        match self.id.log {
            LogKind::WebApi => self.find::<ArchivedRequest>(mark).await,
            LogKind::Events => self.find::<ArchivedEvent>(mark).await,
            LogKind::Objects => self.find::<ArchivedObject>(mark).await,
        }
    }

    async fn find<R: Row>(&self, mark: Mark) -> Result<i64, ApiError> {
        let mut reader = self.reader::<R>();
        let mut probe = LogProbe { reader: &mut reader, patient: true, empty_wait: Some(EMPTY_WAIT) };
        origin::find(&mut probe, R::LOG, mark).await
    }

    fn reader<R: Row>(&self) -> LogReader<S, R, ArchiveTries> {
        let policy = ArchiveTries {
            api: Arc::clone(&self.api),
            endpoint: R::LOG.endpoint(),
            waits: Backoff::API.waits(),
            attempts: 0,
        };
        let limit = Limit::impatient(R::LOG.max_limit(), 1);
        LogReader::new(self.source.clone(), policy, Direction::OldestFirst, Disorder::Refuse, limit)
    }

    /// Keeps the floor of the ledger until it is old enough.
    pub(super) async fn sample(&mut self, now: i64) -> Result<(), ArchiveError> {
        self.open(now).await?;
        let (ledger, id) = (self.ledger.clone(), self.id.clone());
        let sample = spawn_blocking(move || ledger.floor(&id, now)).await?;
        // A log that is not counted yet is looked at again soon.
        let Some(sample) = sample else { return Ok(()) };
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        journal.sampled(sample);
        self.write(&journal).await?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Does what is due: keeps the floor if none was kept since `slot`, the last time for that, and
    /// archives. Returns when the next floor is old enough; all times are in Unix seconds.
    pub(super) async fn turn(&mut self, slot: i64, now: i64) -> Result<Option<i64>, ArchiveError> {
        self.open(now).await?;
        let sampled_at = self.journal.as_ref().and_then(|journal| journal.sampled_at);
        // A time in the future is from before the clock was set back.
        if sampled_at.is_none_or(|at| at < slot || at > now) {
            self.sample(now).await?;
        }
        self.run(now).await?;
        let oldest = self.journal.as_ref().and_then(|journal| journal.floors.first());
        Ok(oldest.map(|sample| sample.at.saturating_add(self.delay)))
    }

    /// Archives everything up to the newest floor that is old enough.
    pub(super) async fn run(&mut self, now: i64) -> Result<(), ArchiveError> {
        self.open(now).await?;
        // Put back only if all went well: after an error the file says what is true.
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        if let Some(sample) = journal.floor_of(now.saturating_sub(self.delay)).cloned() {
            if sample.floor > journal.until {
                let before = journal.clone();
                let archived = match self.id.log {
                    LogKind::WebApi => self.archive::<ArchivedRequest>(journal, &sample, now).await,
                    LogKind::Events => self.archive::<ArchivedEvent>(journal, &sample, now).await,
                    LogKind::Objects => self.archive::<ArchivedObject>(journal, &sample, now).await,
                };
                if let Err(error) = &archived {
                    self.note(before, error, now).await?;
                }
                journal = archived?;
            } else if sample.floor == journal.until {
                journal.counted = Some(sample.counted.clone());
            } else if journal.counted.as_ref().is_some_and(|before| before.ledger == sample.counted.ledger) {
                // A floor never falls: the ledger was restored from a backup, and counts once more.
                journal.counted = None;
            }
            // A ledger that begins anew has to catch up first. It never does where the API has
            // removed all that was archived, and then there is nothing to archive.
            let is_at_the_end = sample.nothing_above_at.is_some_and(|at| sample.at - at < DAY_SECONDS);
            if sample.floor >= journal.until || is_at_the_end {
                journal.succeeded_at = now;
            }
            journal.floors.retain(|other| other.at > sample.at);
            self.write(&journal).await?;
            self.status.succeeded(&self.id, journal.succeeded_at);
        }
        self.journal = Some(journal);
        Ok(())
    }

    /// Keeps since when the API shows too few rows, or none at all.
    async fn note(
        &self,
        mut journal: LogJournal,
        error: &ArchiveError,
        now: i64,
    ) -> Result<(), ArchiveError> {
        let before = (journal.short_since, journal.empty_since);
        // A time in the future is from before the clock was set back.
        let since = |since: Option<i64>| since.filter(|since| *since <= now).or(Some(now));
        match error {
            ArchiveError::Missing { .. } => {
                (journal.short_since, journal.empty_since) = (since(journal.short_since), None);
            }
            ArchiveError::Empty { is_all_empty: true, .. } => {
                journal.empty_since = since(journal.empty_since);
            }
            ArchiveError::Empty { is_all_empty: false, .. } => journal.empty_since = None,
            _ => {}
        }
        if (journal.short_since, journal.empty_since) == before {
            return Ok(());
        }
        self.write(&journal).await
    }

    /// True if the API has shown no row at all for so long, and the newest row is so old, that its
    /// retention has removed every row of the range.
    fn is_emptied(journal: &LogJournal, sample: &FloorSample, now: i64) -> bool {
        let is_past = |at: Option<i64>, seconds| at.is_some_and(|at| now.saturating_sub(at) >= seconds);
        is_past(journal.empty_since, EMPTY_BELIEVED_AFTER_SECONDS)
            && is_past(sample.newest_entry, RETENTION_AT_MOST_SECONDS)
    }

    /// Archives one range.
    async fn archive<R: MaskedRow>(
        &self,
        mut journal: LogJournal,
        sample: &FloorSample,
        now: i64,
    ) -> Result<LogJournal, ArchiveError> {
        let (after, until) = (journal.until, sample.floor);
        let is_emptied = Self::is_emptied(&journal, sample, now);
        let writer = match self.read::<R>(after, until, now).await {
            Err(ArchiveError::Empty { is_all_empty: true, .. }) if is_emptied => self.writer(now),
            read => read?,
        };
        let counts = self.compare::<R>(&journal, sample, writer.rows(), now).await?;
        let files = spawn_blocking(move || writer.finish()).await?;
        #[cfg(test)]
        if matches!(self.flaw, Some(ArchiveFlaw::RenamedFirst | ArchiveFlaw::RandomNames)) {
            self.directory.publish(&files)?;
        }
        let number = files.len();
        journal.prepared = Some(PreparedRange { until, counted: Some(sample.counted.clone()), files });
        self.write(&journal).await?;
        self.directory.reached(ArchiveStep::Prepared)?;
        let journal = self.complete(journal).await?;
        let RangeCounts { rows, late } = counts;
        self.status.archived(&self.id, rows, late);
        tracing::info!(
            account = %self.id.account, log = %self.id.log, after, until, rows, late_rows = late, files = number,
            "archived"
        );
        Ok(journal)
    }

    fn writer<R: MaskedRow>(&self, now: i64) -> RangeWriter<R> {
        let (directory, stem) = (Arc::clone(&self.directory), self.stem());
        let writer = RangeWriter::<R>::new(directory, stem, partition::<R>(&self.id.account), now);
        #[cfg(test)]
        let writer = {
            let mut writer = writer;
            writer.random_names = self.flaw == Some(ArchiveFlaw::RandomNames);
            writer
        };
        writer
    }

    /// Reads the rows of a range into temporary files.
    async fn read<R: MaskedRow>(
        &self,
        after: i64,
        until: i64,
        now: i64,
    ) -> Result<RangeWriter<R>, ArchiveError> {
        let mut writer = self.writer::<R>(now);
        let mut reader = self.reader::<R>();
        let thread = BlockingThread::start("archive");
        // Rows up to `written` are in the files, and rows up to `position` were asked for.
        let (mut position, mut written, mut began_anew) = (after, after, false);
        while position < until {
            let page = match reader.page(position, ReadAhead::NextPage).await {
                Ok(page) => page,
                Err(ApiError::BadRequest { status: None }) if position > 0 && !began_anew => {
                    // The row at the position may be gone.
                    (position, began_anew) = (0, true);
                    continue;
                }
                Err(ApiError::Decode(DecodeFault::TooLarge)) => {
                    // The poller has left that row out, too, and counts it as skipped.
                    position = unreadable_row(&mut reader, position).await.map_err(ArchiveError::Api)?;
                    continue;
                }
                Err(error) => return Err(ArchiveError::Api(error)),
            };
            let Some(last) = page.batch.rows.last().map(Row::id).filter(|last| *last > position) else {
                #[cfg(test)]
                if self.flaw == Some(ArchiveFlaw::EmptyBelieved) {
                    break;
                }
                let shows_nothing = written == after && (position == after || position == 0);
                let is_all_empty = shows_nothing && self.is_all_empty::<R>().await?;
                return Err(ArchiveError::Empty { after: position, until, is_all_empty });
            };
            let mut rows = page.batch.rows;
            rows.retain(|row| row.id() > written && row.id() <= until);
            (position, written) = (last, written.max(last.min(until)));
            writer = thread.run(move || writer.push(rows).map(|()| writer)).await?;
        }
        Ok(writer)
    }

    /// Compares the rows of a range with what the ledger counted.
    async fn compare<R: Row>(
        &self,
        journal: &LogJournal,
        sample: &FloorSample,
        rows: u64,
        now: i64,
    ) -> Result<RangeCounts, ArchiveError> {
        let before = journal.counted.as_ref().filter(|before| before.ledger == sample.counted.ledger);
        // Of the first range, and after a ledger began anew, nothing is known.
        let Some(before) = before else { return Ok(RangeCounts { rows, late: 0 }) };
        let counted = sample.counted.rows.saturating_sub(before.rows);
        if let Some(late) = rows.checked_sub(counted) {
            return Ok(RangeCounts { rows, late });
        }
        #[cfg(test)]
        if self.flaw == Some(ArchiveFlaw::EmptyBelieved) {
            return Ok(RangeCounts { rows, late: 0 });
        }
        let (after, until) = (journal.until, sample.floor);
        let is_believed = journal
            .short_since
            .is_some_and(|since| now.saturating_sub(since) >= SHORT_BELIEVED_AFTER_SECONDS);
        let is_removed = (rows == 0 && Self::is_emptied(journal, sample, now))
            || self.is_removed::<R>(after, now).await.map_err(ArchiveError::Api)?;
        if !is_removed && !is_believed {
            return Err(ArchiveError::Missing { after, until, found: rows, counted });
        }
        self.status.failed(&self.id, ROWS_GONE);
        let (account, log, rows_gone) = (&self.id.account, self.id.log, counted - rows);
        if is_removed {
            tracing::error!(
                %account, %log, after, until, rows = rows_gone,
                "the api has removed rows before they were archived; they are counted, and in no file"
            );
        } else {
            tracing::error!(
                %account, %log, after, until, rows = rows_gone,
                "for days the api has shown fewer rows than were counted; those that it shows are archived, and the others are in no file"
            );
        }
        Ok(RangeCounts { rows, late: 0 })
    }

    /// True if the API shows no row of the log, from wherever one asks.
    async fn is_all_empty<R: Row>(&self) -> Result<bool, ArchiveError> {
        let page = self.reader::<R>().page(0, ReadAhead::Nothing).await.map_err(ArchiveError::Api)?;
        Ok(page.batch.rows.is_empty())
    }

    /// True if the API has removed rows after an id: its oldest row is older than any that it keeps
    /// for certain, and comes after that id.
    async fn is_removed<R: Row>(&self, after: i64, now: i64) -> Result<bool, ApiError> {
        let page = self.reader::<R>().page(0, ReadAhead::Nothing).await?;
        let oldest = page.batch.rows.first();
        let is_old =
            |row: &R| row.time().is_some_and(|time| time < now.saturating_sub(RETENTION_AT_LEAST_SECONDS));
        Ok(oldest.is_some_and(|row| row.id() > after && is_old(row)))
    }

    /// Makes a prepared range visible, if there is one.
    async fn complete(&self, mut journal: LogJournal) -> Result<LogJournal, ArchiveError> {
        let Some(PreparedRange { until, counted, files }) = journal.prepared.take() else {
            return Ok(journal);
        };
        let directory = Arc::clone(&self.directory);
        spawn_blocking(move || directory.publish(&files)).await?;
        (journal.until, journal.counted) = (until, counted);
        (journal.short_since, journal.empty_since) = (None, None);
        self.write(&journal).await?;
        self.directory.reached(ArchiveStep::Completed)?;
        Ok(journal)
    }

    /// Gives the room on the disk back that a run has taken which failed. A range whose files are
    /// whole stays.
    pub(super) async fn clean_up(&mut self) {
        self.journal = None;
        let (directory, stem) = (Arc::clone(&self.directory), self.stem());
        let cleaned = spawn_blocking(move || match directory.read_journal(&stem)? {
            Some(journal) if journal.prepared.is_some() => Ok(()),
            _ => directory.delete_temporaries(&stem),
        });
        // The next run does it otherwise.
        if let Err(error) = cleaned.await {
            tracing::debug!(%error, "cannot delete the temporary files of the archive");
        }
    }
}

/// The id of the row after `position` that is too large to be read.
async fn unreadable_row<S: PageSource, R: Row>(
    reader: &mut LogReader<S, R, ArchiveTries>,
    position: i64,
) -> Result<i64, ApiError> {
    // Asking after `low` fails, and after the row itself it does not.
    let (mut low, mut high, mut step) = (position, None, 1_i64);
    loop {
        let after = match high {
            Some(high) if high - low <= 1 => return Ok(high),
            Some(high) => low + (high - low) / 2,
            None => low.saturating_add(step),
        };
        match reader.ask(PageQuery::after(after, 1), |_| Ok(())).await {
            Ok(_) | Err(ApiError::BadRequest { status: None }) => high = Some(after),
            Err(ApiError::Decode(DecodeFault::TooLarge)) => low = after,
            Err(error) => return Err(error),
        }
        step = step.saturating_mul(2);
    }
}

/// Tries each request a few times. What fails then is tried again with the next run.
struct ArchiveTries {
    api: Arc<ApiStatus>,
    endpoint: Endpoint,
    waits: Waits,
    attempts: u32,
}

impl RetryPolicy for ArchiveTries {
    fn request_begins(&mut self) {}

    fn request_ended(&mut self, took: Duration, error: Option<&ApiError>) {
        self.api.count(self.endpoint, took, error);
        if error.is_none() {
            self.attempts = 0;
            self.waits.reset();
        }
    }

    fn guess_ended(&mut self, _: Duration, _: Option<&ApiError>) {}

    async fn wait(&mut self, error: ApiError, pause: Pause) -> Result<(), ApiError> {
        if pause == Pause::Growing {
            self.attempts += 1;
        }
        let is_final = matches!(error, ApiError::BadRequest { .. } | ApiError::Decode(DecodeFault::TooLarge))
            && pause == Pause::Growing;
        if is_final || self.attempts >= ATTEMPTS {
            return Err(error);
        }
        let wait = match error.retry() {
            Retry::Refused => return Err(error),
            Retry::After(asked) => self.waits.next_wait_of_at_least(asked.min(Backoff::API.max())),
            Retry::Backoff => self.waits.next_wait(),
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
