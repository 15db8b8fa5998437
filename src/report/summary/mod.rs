//! `report summary`: how was it, better or worse than before, which incidents, was the objective met,
//! and whom to call?
//!
//! [`tally`] counts while the rows stream past, `day_scan` finds the incidents, and `build` makes the
//! document. This file reads: the time itself and the one that it is compared with, then the requests
//! of each incident once more, and what explains products and keys.

mod build;
mod day_scan;
mod tally;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::compared::{ComparedTime, ReportedTime, compared, reported_time};
use super::detector::{Assessment, assess};
use super::error::ReportError;
use super::lookup::Lookup;
use super::options::{FailOn, ReportAccess, SummaryOptions};
use super::record::SeenRequest;
use super::render::Style;
use super::session::ReportSession;
use super::source::{ReadingSummary, SLACK, WindowReader};
use super::trail::Trail;
use super::window::Window;
use crate::cryptolens::{LogKind, RowFilter};
use crate::text::fit;
use build::Summary;
use day_scan::FoundInterval;
use tally::{CountedTime, SummaryCount, SummaryTally};

/// The most incidents whose requests are read once more, those with most failures.
const MOST_LOOKED_AT: usize = 100;

/// An incident of the period.
struct SummarizedIncident {
    found: FoundInterval,
    /// None where there are too many to look at each.
    detail: Option<IncidentDetail>,
}

/// The details of an incident, from its requests.
struct IncidentDetail {
    assessment: Assessment,
    /// The most frequent state among the failures.
    state: Option<u16>,
}

impl SummarizedIncident {
    /// Unix seconds.
    fn begin(&self) -> i64 {
        let onset = self.detail.as_ref().and_then(|detail| detail.assessment.onset);
        onset.map_or(self.found.from, |onset| onset.time)
    }

    fn seconds(&self) -> i64 {
        (self.found.to - self.begin()).max(1)
    }

    fn failed(&self) -> u64 {
        self.detail.as_ref().map_or(self.found.count.failed, |detail| detail.assessment.failed)
    }

    fn requests(&self) -> u64 {
        self.detail.as_ref().map_or(self.found.count.all, |detail| detail.assessment.requests)
    }
}

/// Everything that the document is made of.
struct SummaryMaterial {
    time: ReportedTime,
    compared: Option<ComparedTime>,
    /// False where the log does not reach back to the beginning of what it is compared with.
    is_covered: bool,
    count: SummaryCount,
    reading: ReadingSummary,
    /// In the order of time.
    incidents: Vec<SummarizedIncident>,
    lookup: Lookup,
}

/// Writes the report.
pub(super) async fn summary(
    options: &SummaryOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let shown = &options.document;
    if shown.fail_on.contains(&FailOn::Objective) && options.objective.is_none() {
        return Err(ReportError::Usage(
            "--fail-on=objective needs --objective, the percentage of requests that shall succeed".to_owned(),
        ));
    }
    let session = ReportSession::new(access, &shown.presentation, stop.clone())?;
    let now = session.now(LogKind::WebApi).await;
    let time = reported_time(&options.bounds, options.length, now)?;
    let output = super::DocumentOutput::new(shown, session.identities.is_full())?;
    let source = session.source("Web API Log", Some(time.window), time.window.zone);
    let material = read(options, &session, &source, (time, now)).await;
    source.progress.done();
    let material = material?;
    let summary = Summary { material: &material, session: &session, options };
    let document = summary.document();
    let style = Style { screen: session.screen, top: shown.top, table: shown.table.as_deref() };
    output.write(&document, style, &stop).await?;
    let Some(condition) = summary.failed_condition() else { return Ok(()) };
    // A product may be called anything, and this goes to a terminal.
    let headline = fit(&document.headline, usize::MAX).into_owned();
    Err(ReportError::FailOn { condition: condition.name(), headline })
}

async fn read(
    options: &SummaryOptions,
    session: &ReportSession,
    source: &WindowReader,
    (time, now): (ReportedTime, DateTime<Utc>),
) -> Result<SummaryMaterial, ReportError> {
    let compared = compared(&options.compare, &time, now.timestamp())?;
    let filter = RowFilter { product_id: options.product, ..RowFilter::default() };
    let window = time.window;
    let mut tally = SummaryTally::new(window, compared.as_ref().map(|compared| compared.window));
    let (mut reading, mut is_covered) = (ReadingSummary::default(), false);
    match compared.as_ref().map(|compared| compared.window) {
        // One reading for both.
        Some(before) if before.to == window.from => {
            let both = Window { from: before.from, ..window };
            let times = [CountedTime::Before, CountedTime::Now];
            reading = read_into(&mut tally, source, &filter, (both, &times)).await?;
            is_covered = covers(&reading, before);
        }
        before => {
            if let Some(before) = before {
                let read = read_into(&mut tally, source, &filter, (before, &[CountedTime::Before])).await?;
                is_covered = covers(&read, before);
                reading = read;
            }
            let read = read_into(&mut tally, source, &filter, (window, &[CountedTime::Now])).await?;
            reading = together(reading, read);
        }
    }
    let time = ReportedTime { log_begins: reading.log_begins(&window), ..time };
    let count = tally.finish();
    let mut lookup = Lookup::default();
    lookup.products(source, session).await?;
    if let Some(product) = options.product.filter(|_| reading.rows == 0)
        && lookup.knows_product(product) == Some(false)
    {
        return Err(ReportError::Usage(format!(
            "--product: {product} is known neither to the log of this time nor to GetProducts"
        )));
    }
    let incidents = look_at(&count, source, options.product).await?;
    look_up_refused(&count, source, &mut lookup).await?;
    lookup.companies(source, session.identities.level()).await?;
    Ok(SummaryMaterial { time, compared, is_covered, count, reading, incidents, lookup })
}

/// Reads the rows of a time, oldest first, from an hour before it on.
async fn read_into(
    tally: &mut SummaryTally,
    source: &WindowReader,
    filter: &RowFilter,
    (window, times): (Window, &[CountedTime]),
) -> Result<ReadingSummary, ReportError> {
    tally.begin_reading();
    let start = source.start::<SeenRequest>(filter, window.from).await?;
    let add = |rows: Vec<SeenRequest>| {
        tally.add_page(&rows, times);
        Ok(())
    };
    source.oldest_first(filter, start, window.to, add).await
}

/// True unless the log begins after a time does.
fn covers(reading: &ReadingSummary, window: Window) -> bool {
    let oldest = reading.oldest.unwrap_or(i64::MAX);
    !reading.reaches_beginning || oldest <= window.from.saturating_add(SLACK)
}

/// The sum of two readings; where the later one began.
fn together(one: ReadingSummary, other: ReadingSummary) -> ReadingSummary {
    ReadingSummary {
        rows: one.rows + other.rows,
        pages: one.pages + other.pages,
        without_id: one.without_id + other.without_id,
        duplicates: one.duplicates + other.duplicates,
        ..other
    }
}

/// Reads the requests of each incident once more, from the ids that were seen shortly before it: who is
/// hit is only known once it is known where an incident begins and ends.
async fn look_at(
    count: &SummaryCount,
    source: &WindowReader,
    product: Option<i64>,
) -> Result<Vec<SummarizedIncident>, ReportError> {
    let mut by_failures: Vec<usize> = (0..count.scanned.found.len()).collect();
    let failed = |index: &usize| count.scanned.found.get(*index).map_or(0, |found| found.count.failed);
    by_failures.sort_by_key(|index| (std::cmp::Reverse(failed(index)), *index));
    by_failures.truncate(MOST_LOOKED_AT);
    let mut incidents = Vec::new();
    for (index, found) in count.scanned.found.iter().enumerate() {
        let detail = match count.tally.id_before(found.from) {
            Some(after) if by_failures.contains(&index) => {
                let filter = RowFilter { product_id: found.product.or(product), ..RowFilter::default() };
                Some(detail(*found, source, &filter, (after, count.tally.window)).await?)
            }
            _ => None,
        };
        incidents.push(SummarizedIncident { found: *found, detail });
    }
    incidents.sort_by_key(|incident| (incident.begin(), incident.found.product));
    Ok(incidents)
}

async fn detail(
    found: FoundInterval,
    source: &WindowReader,
    filter: &RowFilter,
    (after, window): (i64, Window),
) -> Result<IncidentDetail, ReportError> {
    let mut trail = Trail::new(Window { from: found.from, to: found.to, zone: window.zone });
    let add = |rows: Vec<SeenRequest>| {
        rows.into_iter().for_each(|row| trail.add(row));
        Ok(())
    };
    source.oldest_first(filter, after, found.to, add).await?;
    trail.finish();
    let assessment = assess(trail.rows().iter(), found.from, found.to);
    let begin = assessment.onset.map_or(found.from, |onset| onset.time);
    let mut states = std::collections::BTreeMap::<u16, u64>::new();
    for row in trail.rows().iter().filter(|row| row.has_failed() && row.time >= begin) {
        *states.entry(row.state).or_default() += 1;
    }
    let state = states.into_iter().max_by_key(|(state, rows)| (*rows, std::cmp::Reverse(*state)));
    Ok(IncidentDetail { assessment, state: state.map(|(state, _)| state) })
}

/// Asks for the licenses of the keys that were refused a seat most often.
async fn look_up_refused(
    count: &SummaryCount,
    source: &WindowReader,
    lookup: &mut Lookup,
) -> Result<(), ReportError> {
    let mut by_product: std::collections::BTreeMap<i64, Vec<(u64, &str)>> = std::collections::BTreeMap::new();
    for ((product, key), refused) in &count.tally.refused {
        by_product.entry(*product).or_default().push((refused.times, key));
    }
    let mut products: Vec<(i64, Vec<(u64, &str)>)> = by_product.into_iter().collect();
    let times = |keys: &[(u64, &str)]| keys.iter().map(|(times, _)| times).sum::<u64>();
    products.sort_by_key(|(product, keys)| (std::cmp::Reverse(times(keys)), *product));
    for (product, mut keys) in products {
        keys.sort_by_key(|(times, key)| (std::cmp::Reverse(*times), *key));
        let keys: Vec<&str> = keys.into_iter().map(|(_, key)| key).filter(|key| !key.is_empty()).collect();
        if product > 0 && !keys.is_empty() {
            lookup.licenses(source, product, &keys).await?;
        }
    }
    Ok(())
}
