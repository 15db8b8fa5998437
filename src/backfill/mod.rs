//! The history of a past time, read from the API once: to a target, or into a file for
//! `promtool tsdb create-blocks-from openmetrics`.
//!
//! Promises:
//! - The same families, stamps and labels as those that `serve` sends; complete minutes only, each
//!   with one sample per label set, however late its rows appeared in the log.
//! - A file is put in place when it is complete. A target gets the oldest samples first, and may
//!   get them again: what it has does not change. So an interrupted run is continued at the minute
//!   that it names, or simply started again.
//! - Memory is bounded: rows are counted in runs, and sorted on disk.
//!
//! It keeps nothing, and knows no configuration. Where a ledger has history of its own, the caller
//! says so, and those rows are left out.

mod spool;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::cryptolens::{
    Client, ClientError, ClientOptions, Concurrency, CountedRow, LogKind, LogVisitor, Product, RowFilter,
    Rows, Token,
};
use crate::history::{
    DropReason, HistoryFamily, HistorySample, HistorySeries, HistoryStart, MINUTE, MOST_SAMPLES,
    MinuteCounts, SampleCounts, minute_of, sealed_stamp,
};
use crate::outputs::{DeliveryError, HistorySender, HistoryTextWriter};
use crate::report::zone::Zone;
use crate::report::{Progress, ReportError, RequestCounter, WindowReader};
use crate::tally::{AccountTally, Limits, Products, RowCounter, RowObserver as _, TallyDelta};

use spool::{SortedSamples, Spool, SpoolOrder};

/// Rows that are counted before their minutes are written to disk.
const RUN_ROWS: usize = 200_000;

/// Rows of a log that belong to the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveHistory {
    /// Rows of this minute and of later ones, in Unix seconds.
    pub from: i64,
    /// Rows with higher ids, whatever their time.
    pub after_id: Option<i64>,
}

/// The API, the logs and the window that are read, and where the history goes.
#[derive(Debug)]
pub struct BackfillOptions {
    /// How the API is reached.
    pub client: ClientOptions,
    /// The most requests under way.
    pub concurrency: Concurrency,
    /// The access token.
    pub token: secrecy::SecretString,
    /// The name of the account.
    pub account: String,
    /// Products that the configuration names.
    pub products: Vec<Product>,
    /// The number by which the Object Log calls the first resource type and action.
    pub first_object_code: i64,
    /// The logs.
    pub logs: Vec<LogKind>,
    /// The first minute, in Unix seconds; `None` for everything that the API has.
    pub from: Option<i64>,
    /// The minute at which to end, itself not included.
    pub to: i64,
    /// The time of this run, by the server's clock, in Unix seconds. Rows from far beyond it are
    /// filed under it.
    pub now: i64,
    /// The part of each log's history that the ledger has or will have.
    pub live: BTreeMap<LogKind, LiveHistory>,
    /// Labels of every sample.
    pub labels: Vec<(String, String)>,
}

/// Where it goes.
#[derive(Debug)]
pub enum BackfillOutput {
    /// A file of OpenMetrics text.
    File(PathBuf),
    /// A target.
    Target(Box<HistorySender>),
}

/// Why there is no backfill, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReportError),
    /// Temporary files cannot be written.
    #[error("cannot sort on disk: {0} (temporary files are in TMPDIR)")]
    Sort(io::Error),
    /// The output cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The target did not take everything.
    #[error("{error}; {advice}{}", go_on(*.reached))]
    Target {
        /// The error of the last try.
        error: DeliveryError,
        /// The advice for the user.
        advice: &'static str,
        /// Everything before this minute was sent.
        reached: Option<i64>,
    },
    /// The user asked to stop.
    #[error("interrupted{}", go_on(*.0))]
    Interrupted(Option<i64>),
}

fn go_on(reached: Option<i64>) -> String {
    reached.map(|minute| format!("; go on with --since={}", rfc3339(minute))).unwrap_or_default()
}

fn rfc3339(time: i64) -> String {
    let time = DateTime::from_timestamp(time, 0).unwrap_or(DateTime::<Utc>::MIN_UTC);
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The outcome of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackfillSummary {
    /// Rows that were counted.
    pub rows: u64,
    /// Rows that are in no minute, because they have no usable time.
    pub rows_without_time: u64,
    /// Samples by what became of them. For a file, all are sent.
    pub samples: SampleCounts,
}

impl BackfillSummary {
    /// Samples that the target refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.samples.dropped.values().sum()
    }

    /// For people, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        let dropped = self.samples.dropped.iter();
        let dropped: Vec<String> =
            dropped.map(|(reason, samples)| format!("{samples} {}", reason_text(*reason))).collect();
        let mut text = format!("{} entries, {} samples", self.rows, self.samples.sent);
        if self.rows_without_time > 0 {
            text = format!("{text}; {} entries without a time are in none", self.rows_without_time);
        }
        if !dropped.is_empty() {
            text = format!("{text}; not sent: {}", dropped.join(", "));
        }
        text
    }
}

const fn reason_text(reason: DropReason) -> &'static str {
    match reason {
        DropReason::TooOld => "too old",
        DropReason::OutOfBounds => "out of bounds",
        DropReason::OutOfOrder => "out of order",
        DropReason::Duplicate => "that the target has with another value",
        DropReason::Refused | DropReason::OutboxFull => "refused",
    }
}

/// The time by the server's clock, in Unix seconds: a machine whose clock is ahead would call
/// minutes complete that have only begun, and one that is behind would leave some out. Where the
/// server gives no time, or no answer (the reading will say why), it is the time of this machine.
///
/// # Errors
/// If the client cannot be set up.
pub async fn server_time(
    client: &ClientOptions,
    token: &secrecy::SecretString,
    log: LogKind,
) -> Result<i64, ClientError> {
    let client = Client::new(client, Token::fixed(token.clone()))?;
    Ok(crate::cryptolens::server_time(&client, log).await)
}

/// Reads the logs and writes their history, or as much as can be kept when `shutdown` is ready
/// first.
///
/// # Errors
/// [`BackfillError`].
pub async fn run(
    options: BackfillOptions,
    output: BackfillOutput,
    shutdown: impl Future<Output = ()>,
) -> Result<BackfillSummary, BackfillError> {
    let stop = CancellationToken::new();
    let mut work = std::pin::pin!(backfill(options, output, stop.clone()));
    tokio::select! {
        done = &mut work => return done,
        () = shutdown => stop.cancel(),
    }
    work.await
}

async fn backfill(
    options: BackfillOptions,
    output: BackfillOutput,
    stop: CancellationToken,
) -> Result<BackfillSummary, BackfillError> {
    let client = Client::new(&options.client, Token::fixed(options.token.clone()))?;
    let order = match &output {
        BackfillOutput::File(_) => SpoolOrder::Series,
        BackfillOutput::Target(_) => SpoolOrder::Time,
    };
    let mut counting = BackfillCounting::new(&options, order);
    for log in &options.logs {
        let progress = Progress::new(log.name(), None, Zone::UTC);
        let reader = WindowReader {
            client: client.clone(),
            concurrency: options.concurrency,
            progress: progress.clone(),
            requests: RequestCounter::default(),
            stop: stop.clone(),
        };
        let live = options.live.get(log).copied();
        let to = live.map_or(options.to, |live| live.from.min(options.to));
        let reading = LogReading { reader, from: options.from, to, live, counting: &mut counting };
        let read = log.visit(reading).await;
        progress.done();
        match read {
            Err(BackfillError::Read(ReportError::Interrupted)) => {
                return Err(BackfillError::Interrupted(None));
            }
            read => read?,
        }
    }
    let mut summary = counting.summary.clone();
    let sorted = crate::task::spawn_blocking(move || counting.spool.sorted()).await;
    let sorted = sorted.map_err(BackfillError::Sort)?;
    match output {
        BackfillOutput::File(path) => {
            let labels = options.labels.clone();
            let written = crate::task::spawn_blocking(move || write_file(&path, labels, sorted)).await;
            summary.samples.sent = written?;
        }
        BackfillOutput::Target(sender) => {
            summary.samples = send(*sender, sorted, &stop).await?;
        }
    }
    Ok(summary)
}

/// Writes a file beside its place, and puts it there when it is complete and on disk.
fn write_file(
    path: &Path,
    labels: Vec<(String, String)>,
    mut sorted: SortedSamples,
) -> Result<u64, BackfillError> {
    let failed = |error| BackfillError::Write { path: path.to_owned(), error };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let mut writer = HistoryTextWriter::new(BufWriter::with_capacity(1 << 16, file), labels);
    let mut samples = 0;
    while let Some(sample) = sorted.next().map_err(BackfillError::Sort)? {
        writer.write(&sample).map_err(failed)?;
        samples += 1;
    }
    let mut file = writer.end().map_err(failed)?;
    file.flush().map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    readable_by_all(file.as_file()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(samples)
}

/// Counts hold nothing personal, and promtool may run as another user.
fn readable_by_all(file: &std::fs::File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

async fn send(
    mut sender: HistorySender,
    mut sorted: SortedSamples,
    stop: &CancellationToken,
) -> Result<SampleCounts, BackfillError> {
    let progress = Progress::new("sending", None, Zone::UTC);
    let mut counts = SampleCounts::default();
    let mut reached = None;
    loop {
        let (chunk, rest) = crate::task::spawn_blocking(move || {
            let mut chunk = Vec::new();
            while let Some(sample) = sorted.next()? {
                chunk.push(sample);
                if chunk.len() >= MOST_SAMPLES {
                    break;
                }
            }
            Ok::<_, io::Error>((chunk, sorted))
        })
        .await
        .map_err(BackfillError::Sort)?;
        sorted = rest;
        let Some(last) = chunk.last().map(|sample| minute_of(sample.stamp.div_euclid(1000))) else { break };
        let samples = chunk.len();
        match stop.run_until_cancelled(sender.send(chunk)).await {
            None => return Err(BackfillError::Interrupted(reached)),
            Some(Ok(sent)) => counts.add(&sent),
            Some(Err(error)) => {
                return Err(BackfillError::Target { advice: sender.advice(&error), error, reached });
            }
        }
        // Of the last minute some samples may not be sent yet.
        reached = Some(last);
        progress.forward(samples, Some(last));
    }
    progress.done();
    Ok(counts)
}

/// Counts the rows of one account by minute.
struct BackfillCounting {
    account: Arc<str>,
    first_object_code: i64,
    committed: AccountTally,
    delta: TallyDelta,
    products: Products,
    new_products: Vec<i64>,
    limits: Limits,
    spool: Spool,
    summary: BackfillSummary,
    now: i64,
}

impl BackfillCounting {
    fn new(options: &BackfillOptions, order: SpoolOrder) -> BackfillCounting {
        let mut products = Products::default();
        products.configure(&options.products);
        BackfillCounting {
            account: Arc::from(options.account.as_str()),
            first_object_code: options.first_object_code,
            committed: AccountTally::default(),
            delta: TallyDelta::default(),
            products,
            new_products: Vec::new(),
            limits: Limits::default(),
            spool: Spool::new(order),
            summary: BackfillSummary::default(),
            now: options.now,
        }
    }

    /// No counts of a log yet. Minutes that were read are added at the end, once.
    fn minutes(&self, log: LogKind) -> MinuteCounts {
        let mut minutes = MinuteCounts::new(Arc::clone(&self.account), log, self.first_object_code);
        minutes.begin(HistoryStart { origin: i64::MIN, whole: true }, i64::MIN);
        minutes.cover_from(i64::MAX);
        minutes
    }

    fn count(&mut self, rows: &Rows, minutes: &mut MinuteCounts) {
        self.summary.rows += u64::try_from(rows.len()).unwrap_or_default();
        let mut counter = RowCounter {
            committed: &self.committed,
            delta: &mut self.delta,
            products: &mut self.products,
            new_products: &mut self.new_products,
            limits: &self.limits,
        };
        counter.count(rows, self.now, &mut [minutes]);
    }

    /// Writes the counts of a run to disk.
    fn spool(&mut self, log: LogKind, mut minutes: MinuteCounts) -> io::Result<()> {
        minutes.seal(log, i64::MAX);
        let (batch, _) = minutes.take_batch(i64::MIN);
        for sample in batch.samples() {
            self.spool.push(sample)?;
        }
        Ok(())
    }

    /// Adds that the minutes between two times were read.
    fn cover(&mut self, log: LogKind, from: i64, to: i64) -> io::Result<()> {
        let series = Arc::new(HistorySeries {
            family: HistoryFamily::Covered,
            account: Arc::clone(&self.account),
            values: Arc::from([Arc::from(log.name())]),
        });
        let mut minute = from;
        while minute < to {
            let (series, stamp) = (Arc::clone(&series), sealed_stamp(minute));
            self.spool.push(HistorySample { series, stamp, value: MINUTE })?;
            minute += MINUTE;
        }
        Ok(())
    }
}

/// Reads one log.
struct LogReading<'a> {
    reader: WindowReader,
    from: Option<i64>,
    to: i64,
    live: Option<LiveHistory>,
    counting: &'a mut BackfillCounting,
}

impl<'a> LogVisitor for LogReading<'a> {
    type Output = BoxFuture<'a, Result<(), BackfillError>>;

    fn visit<R: CountedRow>(self) -> Self::Output {
        self.read::<R>().boxed()
    }
}

impl LogReading<'_> {
    async fn read<R: CountedRow>(self) -> Result<(), BackfillError> {
        let LogReading { reader, from, to, live, counting } = self;
        if from.is_some_and(|from| from >= to) {
            return Ok(());
        }
        let filter = RowFilter::default();
        let after = match from {
            Some(from) => reader.start::<R>(&filter, from).await?,
            None => 0,
        };
        let is_live = |id: i64| live.and_then(|live| live.after_id).is_some_and(|after| id > after);
        let is_wanted = |row: &R| {
            let within = |time: i64| from.is_none_or(|from| from <= time) && time < to;
            row.time().is_some_and(within) && !is_live(row.id())
        };
        let mut minutes = counting.minutes(R::LOG);
        let (mut in_run, mut oldest) = (0, i64::MAX);
        let mut disk = None;
        let read = reader.oldest_first::<R>(&filter, after, WindowReader::end::<R>(to), |mut rows| {
            let without_time = rows.iter().filter(|row| row.time().is_none()).count();
            counting.summary.rows_without_time += u64::try_from(without_time).unwrap_or_default();
            rows.retain(is_wanted);
            oldest = rows.iter().filter_map(R::time).min().unwrap_or(i64::MAX).min(oldest);
            in_run += rows.len();
            counting.count(&R::wrap(rows), &mut minutes);
            if in_run >= RUN_ROWS {
                in_run = 0;
                let run = std::mem::replace(&mut minutes, counting.minutes(R::LOG));
                if let Err(error) = counting.spool(R::LOG, run) {
                    disk = Some(error);
                    return Err(ReportError::Interrupted);
                }
            }
            Ok(())
        });
        let read = read.await;
        if let Some(error) = disk {
            return Err(BackfillError::Sort(error));
        }
        read?;
        counting.spool(R::LOG, minutes).map_err(BackfillError::Sort)?;
        // The log begins with its oldest row, if no other beginning was asked for.
        let from = from.unwrap_or_else(|| minute_of(oldest.min(to)));
        counting.cover(R::LOG, from, to).map_err(BackfillError::Sort)
    }
}
