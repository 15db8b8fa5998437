//! Reports, audits and exports: one command each, an answer, and nothing left running.
//!
//! They read the logs through [`crate::cryptolens`], as the poller does, but whole windows of them
//! and with the members that name customers. Promises:
//! - An answer is made of every row of its window, or there is none: whatever fails on the way ends
//!   in an error, and a file that was there stays as it was.
//! - Keys, machines, addresses and names of people are shown as pseudonyms unless
//!   `--identities=full` is given.
//! - Nothing but the answer goes to standard output.
//!
//! They count for themselves: an answer needs no exporter that ran before. Only `reconcile` looks into
//! the ledger, to compare what it finds there.
//!
//! `options` is what shall be shown, `session` one run, `window` and `calendar` which time is meant,
//! `compared` what it is compared with, `source` the reading, `record` the rows, `identity` the
//! pseudonyms; each report has a folder or file of its own and builds a `document`, which `render` writes
//! in each format. `log_report` is what the reports share whose JSON and CSV are older than documents.

pub mod calendar;
mod changes;
mod columnar;
mod compared;
mod count;
mod customer;
mod detector;
mod document;
mod error;
mod events;
mod export;
mod incident;
mod log_report;
mod lookup;
mod objects;
pub mod options;
mod output;
mod progress;
mod read;
mod reconcile;
mod record;
mod render;
mod request_chart;
mod seats;
mod session;
mod source;
mod spreadsheet;
mod summary;
mod text;
mod trail;
mod web_api;
mod window;
pub mod zone;

use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

pub use error::{PageFault, ReportError};
pub(crate) use progress::Progress;
pub(crate) use reconcile::{DayDifference, LedgerSide, settled_day};
pub(crate) use source::{RequestCounter, WindowReader};
pub use window::is_moment;

use document::Document;
use options::{
    AuditOptions, ChangesOptions, Chart, CustomerOptions, DocumentOptions, ExportFormat, ExportOptions,
    IdentityLevel, IncidentOptions, LicenseFilter, ProductSeatsOptions, ReconcileOptions, ReportAccess,
    ReportFormat, ReportOptions, ReportedLog, SummaryOptions,
};
use output::Output;
use record::{CountedRequest, EventRecord, ObjectRecord, RequestRecord};
use render::{Style, json};
use session::{Begun, ReportSession};
use source::ReadingSummary;
use window::Window;

use crate::archive::{ArchivedEvent, ArchivedObject, ArchivedRequest};
use crate::cryptolens::{LogKind, Outcome, Row, RowFilter};
use crate::identity;

/// One answer that is asked for.
#[derive(Debug, Clone)]
pub enum ReportTask {
    /// `report incident`
    Incident(IncidentOptions),
    /// `report changes`
    Changes(ChangesOptions),
    /// `report customer`
    Customer(CustomerOptions),
    /// `report summary`
    Summary(SummaryOptions),
    /// `report`
    Report(ReportOptions),
    /// `audit seats` of one key
    AuditSeats(AuditOptions),
    /// `audit seats` of a product
    ProductSeats(ProductSeatsOptions),
    /// `export`
    Export(ExportOptions),
    /// `reconcile`
    Reconcile(ReconcileOptions),
}

/// Does the task, or as much of it as can be kept when `shutdown` is ready first.
///
/// # Errors
/// [`ReportError`]; its [`exit_code`](ReportError::exit_code) separates bad usage from failures.
pub async fn run(
    task: ReportTask,
    access: ReportAccess,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ReportError> {
    let stop = CancellationToken::new();
    let mut work = pin!(async {
        match &task {
            ReportTask::Incident(options) => incident::incident(options, access, stop.clone()).await,
            ReportTask::Customer(options) => customer::customer(options, access, stop.clone()).await,
            ReportTask::Summary(options) => summary::summary(options, access, stop.clone()).await,
            ReportTask::ProductSeats(options) => seats::product_seats(options, access, stop.clone()).await,
            ReportTask::Changes(options) => changes::report_changes(options, access, stop.clone()).await,
            ReportTask::Report(options) => report(options, access, stop.clone()).await,
            ReportTask::AuditSeats(options) => audit_seats(options, access, stop.clone()).await,
            ReportTask::Export(options) => export_log(options, access, stop.clone()).await,
            ReportTask::Reconcile(options) => reconcile::reconcile(options, access, stop.clone()).await,
        }
    });
    tokio::select! {
        done = &mut work => return done,
        () = shutdown => stop.cancel(),
    }
    work.await
}

async fn report(
    options: &ReportOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    refuse_what_has_no_meaning(options)?;
    let presentation = &options.document.presentation;
    let session = ReportSession::new(access, presentation, stop.clone())?;
    let output = Output::new(presentation.file(), session.identities.is_full())?;
    let shown = match options.log {
        ReportedLog::WebApi => report_web_api(options, &session).await?,
        ReportedLog::Events => report_events(options, &session).await?,
        ReportedLog::Objects => report_objects(options, &session).await?,
    };
    stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or(ReportError::Interrupted)?
}

/// Flags that another report has.
fn refuse_what_has_no_meaning(options: &ReportOptions) -> Result<(), ReportError> {
    let web_api = options.log == ReportedLog::WebApi;
    let document = &options.document;
    let refused = [
        ("--states", !options.states.is_empty() && !web_api),
        ("--outcome", options.outcome.is_some() && !web_api),
        ("--format=svg", document.format == ReportFormat::Svg && !web_api),
        ("--identities=customers", document.presentation.identities == IdentityLevel::Customers),
        ("--product", options.license.product.is_some() && options.log == ReportedLog::Objects),
    ];
    match refused.into_iter().find(|(_, refused)| *refused) {
        Some((flag, _)) => {
            Err(ReportError::Usage(format!("{flag} has no meaning for the {} report", options.log.name())))
        }
        None => Ok(()),
    }
}

async fn report_web_api(options: &ReportOptions, session: &ReportSession) -> Result<String, ReportError> {
    let filter = RowFilter { states: options.states.clone(), ..license_filter(&options.license) };
    let outcome = options.outcome;
    let tally = |window| web_api::WebApiTally::new(window, options.compare, outcome);
    let oldest = |window| tally(window).needed_from();
    let bounds = (&options.bounds, options.length);
    let Begun { time, source, newest } =
        session.begin_newest_first::<CountedRequest>("Web API Log", bounds, &filter, oldest).await?;
    let mut tally = tally(time.window);
    let add = |rows: Vec<CountedRequest>| {
        rows.iter().for_each(|row| tally.add(row));
        None
    };
    let reading = source.newest_first(newest, oldest(time.window), add).await?;
    source.progress.done();
    let context = web_api::WebApiContext {
        account: session.account.clone(),
        filter: web_api::ShownFilter {
            product_id: options.license.product,
            key: options
                .license
                .key
                .as_deref()
                .map(|key| session.identities.show(identity::IdentityKind::Key, key)),
            states: options.states.clone(),
            outcome: outcome.map(Outcome::name),
        },
        identities: &session.identities,
        reading,
        described: &session.states,
        products: &session.products,
        top: options.document.top,
    };
    let report = web_api::WebApiReport::new(&tally, &context);
    log_report::shown(&report, &time, session, (&options.document, options.chart))
}

async fn report_events(options: &ReportOptions, session: &ReportSession) -> Result<String, ReportError> {
    let time = session.time(LogKind::Events, &options.bounds, options.length).await?;
    let mut tally = events::EventsTally::new(time.window);
    let add = |rows: Vec<EventRecord>| {
        rows.into_iter().for_each(|row| tally.add(row));
        Ok(())
    };
    let filter = license_filter(&options.license);
    let reading = read_forward(session, "Events Log", &filter, &time.window, add).await?;
    let report = events::EventsReport::new(tally, &reading, session.account.clone());
    log_report::shown(&report, &time, session, (&options.document, options.chart))
}

async fn report_objects(options: &ReportOptions, session: &ReportSession) -> Result<String, ReportError> {
    let time = session.time(LogKind::Objects, &options.bounds, options.length).await?;
    let mut reader = objects::Reader::new(time.window, &session.identities, session.objects_first_code);
    let add = |rows: Vec<ObjectRecord>| {
        rows.iter().for_each(|row| reader.add(row));
        Ok(())
    };
    let reading = read_forward(session, "Object Log", &RowFilter::default(), &time.window, add).await?;
    let report = reader.report(&reading, session.account.clone());
    log_report::shown(&report, &time, session, (&options.document, options.chart))
}

/// Refuses the level that shows companies: a report without customers has none to show.
fn refuse_companies(identities: IdentityLevel) -> Result<(), ReportError> {
    match identities {
        IdentityLevel::Customers => Err(ReportError::Usage(
            "--identities=customers has no meaning here; masked and full have".to_owned(),
        )),
        IdentityLevel::Masked | IdentityLevel::Full => Ok(()),
    }
}

/// Where a document goes: one file or stream, or a directory of CSV files.
struct DocumentOutput<'a> {
    options: &'a DocumentOptions,
    /// None for a directory.
    output: Option<Output>,
    private: bool,
}

impl<'a> DocumentOutput<'a> {
    /// Fails where [`DocumentOutput::write`] would.
    fn new(options: &'a DocumentOptions, private: bool) -> Result<DocumentOutput<'a>, ReportError> {
        if options.format == ReportFormat::Svg {
            return Err(ReportError::Usage(
                "--format=svg has no meaning for this report; --format=html has its charts".to_owned(),
            ));
        }
        if options.table.is_some() && options.format != ReportFormat::Csv {
            return Err(ReportError::Usage("--table has no meaning without --format=csv".to_owned()));
        }
        let path = options.presentation.file();
        let is_directory =
            path.is_some_and(|path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/"));
        if let Some(path) = path.filter(|_| is_directory && options.format == ReportFormat::Csv) {
            std::fs::create_dir_all(path).map_err(|error| output::failed(path, error))?;
            return Ok(DocumentOutput { options, output: None, private });
        }
        let output = Output::new(path, private)?;
        Ok(DocumentOutput { options, output: Some(output), private })
    }

    async fn write(
        &self,
        document: &Document,
        style: Style<'_>,
        stop: &CancellationToken,
    ) -> Result<(), ReportError> {
        let interrupted = || ReportError::Interrupted;
        if let Some(output) = &self.output {
            let shown = render::render(document, self.options.format, style)?;
            return stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or_else(interrupted)?;
        }
        let Some(directory) = self.options.presentation.file() else { return Ok(()) };
        for file in render::all_tables(document)? {
            let output = Output::new(Some(&directory.join(&file.name)), self.private)?;
            stop.run_until_cancelled(output.write(file.content.as_bytes()))
                .await
                .ok_or_else(interrupted)??;
        }
        Ok(())
    }
}

/// Reads the rows of a window from a log that can't be read backwards.
async fn read_forward<R: Row>(
    session: &ReportSession,
    log: &str,
    filter: &RowFilter,
    window: &Window,
    add: impl FnMut(Vec<R>) -> Result<(), ReportError>,
) -> Result<ReadingSummary, ReportError> {
    let source = session.source(log, Some(*window), window.zone);
    let start = source.start::<R>(filter, window.from).await?;
    let reading = source.oldest_first(filter, start, WindowReader::end::<R>(window.to), add).await?;
    source.progress.done();
    Ok(reading)
}

fn license_filter(license: &LicenseFilter) -> RowFilter {
    RowFilter { product_id: license.product, key: license.key.clone(), ..RowFilter::default() }
}

async fn audit_seats(
    options: &AuditOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    let presentation = &options.document.presentation;
    if options.document.format == ReportFormat::Svg {
        return Err(ReportError::Usage(
            "--format=svg has no meaning for an audit; html has the chart".to_owned(),
        ));
    }
    refuse_companies(presentation.identities)?;
    let key = &options.key;
    let session = ReportSession::new(access, presentation, stop.clone())?;
    let output = Output::new(presentation.file(), session.identities.is_full())?;
    let filter = RowFilter {
        product_id: Some(options.product),
        key: Some(key.clone()),
        states: seats::STATES.to_vec(),
    };
    let lookback = i64::try_from(options.lookback.as_secs()).unwrap_or(i64::MAX);
    let mut time = session.time(LogKind::WebApi, &options.bounds, options.length).await?;
    let source = session.source("seats", Some(time.window), time.window.zone);
    let (limit, limit_source) = match options.max_machines {
        Some(seats) => (u64::from(seats), "--max-machines"),
        None => {
            let seats = source.seats(options.product, key).await?;
            (u64::try_from(seats).unwrap_or(0), "GetKey")
        }
    };
    let window = &mut time.window;
    let (mut rows, mut without_time, mut longest_lease) = (Vec::new(), 0, None);
    let add = |page: Vec<RequestRecord>| {
        without_time += page.iter().filter(|row| row.time.is_none()).map(|_| 1).sum::<u64>();
        let found = rows.len();
        rows.extend(page.iter().filter_map(seats::SeatRow::new));
        let longest = rows.iter().skip(found).filter_map(seats::SeatRow::lease_seconds).max();
        longest_lease = longest_lease.max(longest);
        longest_lease.map(|lease| window.from.saturating_sub(lease))
    };
    let oldest = window.from.saturating_sub(lookback);
    let newest = source.begin_newest_first::<RequestRecord>(&filter, oldest).await?;
    let reading = source.newest_first(newest, oldest, add).await?;
    source.progress.done();
    let newest = rows.iter().map(seats::SeatRow::time).max();
    if options.bounds.to.is_none() {
        // Rows of a server whose clock is ahead of this one are not to be lost.
        window.to = window.to.max(newest.map_or(i64::MIN, |time| time.saturating_add(1)));
    }
    let context = seats::SeatsContext {
        account: session.account.clone(),
        product_id: options.product,
        key,
        limit_source,
        identities: &session.identities,
        reading,
        oldest: rows.iter().map(seats::SeatRow::time).min(),
        longest_lease,
        without_time,
    };
    // The API's word for no limit.
    let history = seats::History::new(rows, (limit > 0).then_some(limit), *window);
    let audit = seats::Audit::new(&history, &context);
    let shown = log_report::shown(&audit, &time, &session, (&options.document, Chart::Daily))?;
    stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or(ReportError::Interrupted)?
}

async fn export_log(
    options: &ExportOptions,
    access: ReportAccess,
    stop: CancellationToken,
) -> Result<(), ReportError> {
    columnar::refuse_what_has_no_meaning(options)?;
    if options.log == ReportedLog::Objects && options.license.product.is_some() {
        return Err(ReportError::Usage("--product has no meaning for the objects log".to_owned()));
    }
    refuse_companies(options.presentation.identities)?;
    let bounds = &options.bounds;
    let bounded = options.since.is_some() || bounds.from.is_some() || bounds.to.is_some();
    // With --to alone, from the beginning of all logs.
    let length = options.since.unwrap_or(Duration::from_secs(1 << 40));
    let session = ReportSession::new(access, &options.presentation, stop.clone())?;
    let window = match (bounded, bounds.to.is_some()) {
        (false, _) => None,
        (true, true) => Some(Window::new(bounds, length, Utc::now())?),
        (true, false) => Some(Window::new(bounds, length, session.now(options.log.kind()).await)?),
    };
    let output = Output::new(options.presentation.file(), session.identities.is_full())?;
    let source = session.source(options.log.name(), window, bounds.timezone);
    let order = export::Order {
        filter: license_filter(&options.license),
        window,
        identities: &session.identities,
        output: &output,
        stop: &stop,
        resume: options.resume,
    };
    let exported = match (options.format, options.log) {
        (ExportFormat::Text(format), ReportedLog::WebApi) => {
            export::export::<RequestRecord>(&source, &order, format).await
        }
        (ExportFormat::Text(format), ReportedLog::Events) => {
            export::export::<EventRecord>(&source, &order, format).await
        }
        (ExportFormat::Text(format), ReportedLog::Objects) => {
            export::export::<ObjectRecord>(&source, &order, format).await
        }
        (ExportFormat::Parquet, ReportedLog::WebApi) => {
            columnar::export::<ArchivedRequest>(&source, &order).await
        }
        (ExportFormat::Parquet, ReportedLog::Events) => {
            columnar::export::<ArchivedEvent>(&source, &order).await
        }
        (ExportFormat::Parquet, ReportedLog::Objects) => {
            columnar::export::<ArchivedObject>(&source, &order).await
        }
    };
    source.progress.done();
    if exported? == 0 && !options.resume {
        // Not among the entries, where a program would take it for one.
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "the {} log holds no entry that was asked for", options.log.name());
    }
    Ok(())
}
