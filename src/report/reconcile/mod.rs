//! `reconcile`: proves that the log agrees with the vendor's own daily counts and with the ledger, or
//! says where and why it does not.
//!
//! The log is read again as a whole for the days that are asked for, and a day before and after
//! them; the vendor's counts are those of GetDailyAggregates, those of the ledger are its days.
//! Promises: every product and day that a side knows is compared; no count is shown that the reading
//! did not complete; the ledger is only read.

mod compare;
mod ledger;
mod settled;
mod show;

use chrono::{Days, NaiveDate, NaiveTime, Utc};
use tokio_util::sync::CancellationToken;

use self::compare::{Circumstances, LogCounts, OtherSides};
use self::show::Reconciliation;
use super::error::ReportError;
use super::options::{IdentityLevel, Presentation, ReconcileFormat, ReconcileOptions, ReportAccess};
use super::output::Output;
use super::record::CountedRequest;
use super::session::ReportSession;
use super::source::{ReadingSummary, WindowReader};
use super::window::Window;
use super::zone::Zone;
use crate::cryptolens::{AggregateQuery, RowFilter};

pub(crate) use ledger::LedgerSide;
pub(crate) use settled::{DayDifference, settled_day};

const DAY: i64 = 86_400;

/// Compares, shows, and fails with exit code 3 where a difference is not explained.
pub(super) async fn reconcile(
    options: &ReconcileOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let now = Utc::now();
    let end = options.to.unwrap_or_else(|| now.date_naive());
    let first = match options.from {
        Some(first) => first,
        // Before the beginning of the calendar there is no day at all.
        None => end.checked_sub_days(Days::new(options.days.into())).unwrap_or(end),
    };
    if first >= end {
        return Err(ReportError::Usage(format!("there is no day from {first} on and before {end}")));
    }
    let presentation = Presentation { output: options.output.clone(), identities: IdentityLevel::Masked };
    let session = ReportSession::new(access, &presentation, stop.clone())?;
    let output = Output::new(presentation.file(), false)?;
    // A day more on both sides shows whether the vendor's day begins at another hour.
    let window = Window { from: midnight(first) - DAY, to: midnight(end) + DAY, zone: Zone::UTC };
    let query = AggregateQuery { start: first, end, product_id: options.product };
    let source = session.source("Web API Log", Some(window), Zone::UTC);
    let ledger = match &options.ledger {
        Some(directory) => {
            let today = now.timestamp().div_euclid(DAY);
            Some(LedgerSide::read(directory.clone(), &session.account, today).await?)
        }
        None => None,
    };
    // Asked first: without the permission nobody waits for the log.
    let vendor = if options.vendor { Some(source.daily_aggregates(query).await?) } else { None };
    let counts = LogCounts::new(options.excluded_keys.clone());
    let (counts, reading) = count_log(&source, window, options.product, counts).await?;
    source.progress.done();
    let settle = i64::try_from(options.settle.as_secs()).unwrap_or(i64::MAX);
    let circumstances = Circumstances {
        first_day: midnight(first) / DAY,
        end_day: midnight(end) / DAY,
        settled_until: now.timestamp().saturating_sub(settle),
        log_begins: reading.oldest.filter(|_| reading.reaches_beginning),
        tolerance: options.tolerance,
    };
    let sides = OtherSides { vendor: vendor.as_deref(), ledger: ledger.as_ref(), product: options.product };
    let compared = compare::compare(&counts, sides, &circumstances);
    let reconciliation = Reconciliation::new(session.account.clone(), (first, end), sides, compared);
    let shown = match options.format {
        ReconcileFormat::Text => reconciliation.text(session.screen),
        ReconcileFormat::Json => super::json(&reconciliation)?,
        ReconcileFormat::Csv => reconciliation.csv()?,
    };
    stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or(ReportError::Interrupted)??;
    match reconciliation.unexplained() {
        0 => Ok(()),
        counts => Err(ReportError::Unexplained { counts }),
    }
}

/// Counts the rows of a window, of one product or all.
async fn count_log(
    source: &WindowReader,
    window: Window,
    product: Option<i64>,
    mut counts: LogCounts,
) -> Result<(LogCounts, ReadingSummary), ReportError> {
    let add = |rows: Vec<CountedRequest>| {
        let wanted = rows.iter().filter(|row| product.is_none_or(|product| product == row.product_id));
        wanted
            .filter(|row| row.time.is_some_and(|time| window.contains(time)))
            .for_each(|row| counts.add(row));
        Ok(())
    };
    let filter = RowFilter { product_id: product, ..RowFilter::default() };
    let after = source.start::<CountedRequest>(&filter, window.from).await?;
    let reading = source.oldest_first(&filter, after, window.to, add).await?;
    Ok((counts, reading))
}

/// The beginning of a day in UTC, in Unix seconds.
fn midnight(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp()
}
