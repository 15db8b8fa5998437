//! Reports, audits and exports: one command each, an answer, and nothing left running.
//!
//! They read the logs through [`crate::cryptolens`], as the poller does, but whole windows of them and with the members
//! that name customers. Promises:
//! - An answer is made of every row of its window, or there is none: whatever fails on the way ends in an error, and a file
//!   that was there stays as it was.
//! - Keys, machines, addresses and names of people are shown as pseudonyms unless `--identities=full` is given.
//! - Nothing but the answer goes to standard output.
//!
//! They know nothing of the ledger, and count for themselves: an answer needs no exporter that ran before.
//!
//! `args` is what was typed, `window` which time is meant, `source` the reading, `record` the rows, `identity` the
//! pseudonyms; each report has a folder or file of its own; `text`, `spreadsheet`, `chart`, `page` and `output` are what
//! they share to show themselves.

pub mod args;
mod chart;
mod count;
mod error;
mod events;
mod export;
mod identity;
mod objects;
mod output;
mod page;
mod progress;
mod read;
mod record;
mod seats;
mod setup;
mod source;
mod spreadsheet;
mod text;
mod web_api;
mod window;
mod zone;

use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub use args::{AuditArgs, ExportArgs, ReportArgs};
pub use error::{PageFault, ReportError};

use args::{Audited, Format, LicenseArgs, Log, OutcomeArg};
use output::Output;
use record::{CountedRequest, EventRecord, ObjectRecord, RequestRecord};
use setup::Setup;
use source::{Reading, Source};
use window::Window;

use crate::cryptolens::{Outcome, Row, RowFilter};

/// One of the three commands, as typed.
#[derive(Debug, Clone)]
pub enum Task {
    /// `report`
    Report(ReportArgs),
    /// `audit`
    Audit(AuditArgs),
    /// `export`
    Export(ExportArgs),
}

/// Does what was asked, or as much of it as can be kept when `told_to_end` comes first.
///
/// # Errors
/// [`ReportError`]; its [`exit_code`](ReportError::exit_code) tells bad usage from what failed.
pub async fn run(task: Task, told_to_end: impl Future<Output = ()>) -> Result<(), ReportError> {
    let stop = CancellationToken::new();
    let mut work = pin!(async {
        match &task {
            Task::Report(args) => report(args, stop.clone()).await,
            Task::Audit(args) => match args.what {
                Audited::Seats => audit_seats(args, stop.clone()).await,
            },
            Task::Export(args) => export_log(args, stop.clone()).await,
        }
    });
    tokio::select! {
        done = &mut work => return done,
        () = told_to_end => stop.cancel(),
    }
    work.await
}

async fn report(args: &ReportArgs, stop: CancellationToken) -> Result<(), ReportError> {
    refuse_what_has_no_meaning(args)?;
    let days = Duration::from_secs(u64::from(args.window.days) * 86_400);
    let window = Window::new(&args.window.bounds, args.window.since.unwrap_or(days), Utc::now())?;
    let setup = Setup::new(&args.access, &args.present, stop.clone())?;
    let output = Output::new(args.present.file(), setup.identities.is_full())?;
    let shown = match args.log {
        Log::WebApi => report_web_api(args, window, &setup).await?,
        Log::Events => report_events(args, window, &setup).await?,
        Log::Objects => report_objects(args, window, &setup).await?,
    };
    stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or(ReportError::Interrupted)?
}

/// Flags that another report has.
fn refuse_what_has_no_meaning(args: &ReportArgs) -> Result<(), ReportError> {
    let web_api = args.log == Log::WebApi;
    let refused = [
        ("--states", !args.states.is_empty() && !web_api),
        ("--outcome", args.outcome.is_some() && !web_api),
        ("--format=svg", args.format.format == Format::Svg && !web_api),
        ("--product", args.license.product.is_some() && args.log == Log::Objects),
    ];
    match refused.into_iter().find(|(_, refused)| *refused) {
        Some((flag, _)) => {
            Err(ReportError::Usage(format!("{flag} has no meaning for the {} report", args.log.name())))
        }
        None => Ok(()),
    }
}

async fn report_web_api(args: &ReportArgs, window: Window, setup: &Setup) -> Result<String, ReportError> {
    let outcome = args.outcome.map(|outcome| match outcome {
        OutcomeArg::Success => Outcome::Success,
        OutcomeArg::Failure => Outcome::Failure,
        OutcomeArg::Unknown => Outcome::Unknown,
    });
    let filter = RowFilter { states: args.states.clone(), ..license_filter(&args.license) };
    let mut tally = web_api::Tally::new(window, !args.no_comparison, outcome);
    let needed_from = tally.needed_from();
    let needed = Window { from: needed_from, ..window };
    let source = setup.source("Web API Log", Some(needed), window.zone);
    let add = |rows: Vec<CountedRequest>| {
        rows.iter().for_each(|row| tally.add(row));
        None
    };
    let reading = source.newest_first(&filter, needed_from, add).await?;
    source.progress.done();
    let context = web_api::Context {
        account: setup.account.clone(),
        filter: web_api::ShownFilter {
            product_id: args.license.product,
            key: args.license.key.as_deref().map(|key| setup.identities.show(identity::Kind::Key, key)),
            states: args.states.clone(),
            outcome: outcome.map(Outcome::name),
        },
        identities: &setup.identities,
        reading,
        described: &setup.states,
        products: &setup.products,
        top: args.top,
    };
    let report = web_api::Report::new(&tally, &context);
    let heading = setup.heading(&window);
    match args.format.format {
        Format::Text => Ok(web_api::text(&report, &heading, setup.screen)),
        Format::Json => json(&report),
        Format::Csv => web_api::csv(&report),
        Format::Html => web_api::html(&report, &heading),
        Format::Svg => web_api::svg(&report, args.chart),
    }
}

async fn report_events(args: &ReportArgs, window: Window, setup: &Setup) -> Result<String, ReportError> {
    let mut tally = events::Tally::new(window);
    let add = |rows: Vec<EventRecord>| {
        rows.into_iter().for_each(|row| tally.add(row));
        Ok(())
    };
    let filter = license_filter(&args.license);
    let reading = read_forward(setup, "Events Log", &filter, &window, add).await?;
    let report = events::Report::new(tally, &reading, setup.account.clone());
    let heading = setup.heading(&window);
    match args.format.format {
        Format::Json => json(&report),
        Format::Csv => report.csv(),
        Format::Html => report.html(&heading),
        Format::Text | Format::Svg => Ok(report.text(&heading, setup.screen)),
    }
}

async fn report_objects(args: &ReportArgs, window: Window, setup: &Setup) -> Result<String, ReportError> {
    let mut reader = objects::Reader::new(window, &setup.identities, setup.objects_first_code);
    let add = |rows: Vec<ObjectRecord>| {
        rows.iter().for_each(|row| reader.add(row));
        Ok(())
    };
    let reading = read_forward(setup, "Object Log", &RowFilter::default(), &window, add).await?;
    let report = reader.report(&reading, setup.account.clone());
    let heading = setup.heading(&window);
    match args.format.format {
        Format::Json => json(&report),
        Format::Csv => report.csv(),
        Format::Html => report.html(&heading),
        Format::Text | Format::Svg => Ok(report.text(&heading, setup.screen, args.top)),
    }
}

/// Reads the rows of a window from a log that can't be read backwards.
async fn read_forward<R: Row>(
    setup: &Setup,
    log: &str,
    filter: &RowFilter,
    window: &Window,
    add: impl FnMut(Vec<R>) -> Result<(), ReportError>,
) -> Result<Reading, ReportError> {
    let source = setup.source(log, Some(*window), window.zone);
    let start = source.start::<R>(filter, window.from).await?;
    let reading = source.oldest_first(filter, start, Source::end::<R>(window.to), add).await?;
    source.progress.done();
    Ok(reading)
}

fn license_filter(license: &LicenseArgs) -> RowFilter {
    RowFilter { product_id: license.product, key: license.key.clone(), ..RowFilter::default() }
}

fn json(report: &impl serde::Serialize) -> Result<String, ReportError> {
    let json = serde_json::to_string_pretty(report).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(json + "\n")
}

async fn audit_seats(args: &AuditArgs, stop: CancellationToken) -> Result<(), ReportError> {
    if args.format.format == Format::Svg {
        return Err(ReportError::Usage(
            "--format=svg has no meaning for an audit; html has the chart".to_owned(),
        ));
    }
    let key = args.license_key()?;
    let length = Duration::from_secs(u64::from(args.hours) * 3600);
    let local_window = Window::new(&args.bounds, length, Utc::now())?;
    let setup = Setup::new(&args.access, &args.present, stop.clone())?;
    let output = Output::new(args.present.file(), setup.identities.is_full())?;
    let source = setup.source("seats", Some(local_window), local_window.zone);
    let (limit, limit_source, mut window) = match args.max_machines {
        Some(seats) => (u64::from(seats), "--max-machines", local_window),
        None => {
            let seats = source.seats(args.product, &key).await?;
            // Leases are ended by the server's clock, so its now is the one that counts.
            let now =
                seats.server_time.and_then(|time| DateTime::from_timestamp(time, 0)).unwrap_or_else(Utc::now);
            let limit = u64::try_from(seats.max_machines).unwrap_or(0);
            (limit, "GetKey", Window::new(&args.bounds, length, now)?)
        }
    };
    let filter =
        RowFilter { product_id: Some(args.product), key: Some(key.clone()), states: seats::STATES.to_vec() };
    let (mut rows, mut without_time, mut longest_lease) = (Vec::new(), 0, None);
    let lookback = i64::try_from(args.lookback.as_secs()).unwrap_or(i64::MAX);
    let add = |page: Vec<RequestRecord>| {
        without_time += page.iter().filter(|row| row.time.is_none()).map(|_| 1).sum::<u64>();
        let found = rows.len();
        rows.extend(page.iter().filter_map(seats::SeatRow::new));
        let longest = rows.iter().skip(found).filter_map(seats::SeatRow::lease_seconds).max();
        longest_lease = longest_lease.max(longest);
        longest_lease.map(|lease| window.from.saturating_sub(lease))
    };
    let reading = source.newest_first(&filter, window.from.saturating_sub(lookback), add).await?;
    source.progress.done();
    let newest = rows.iter().map(seats::SeatRow::time).max();
    if args.bounds.to.is_none() {
        // Rows of a server whose clock is ahead of this one are not to be lost.
        window.to = window.to.max(newest.map_or(i64::MIN, |time| time.saturating_add(1)));
    }
    let context = seats::Context {
        account: setup.account.clone(),
        product_id: args.product,
        key: &key,
        limit_source,
        identities: &setup.identities,
        reading,
        oldest: rows.iter().map(seats::SeatRow::time).min(),
        longest_lease,
        without_time,
    };
    // The API's word for no limit.
    let history = seats::History::new(rows, (limit > 0).then_some(limit), window);
    let audit = seats::Audit::new(&history, &context);
    let heading = setup.heading(&window);
    let shown = match args.format.format {
        Format::Json => json(&audit)?,
        Format::Csv => seats::csv(&audit)?,
        Format::Html => seats::html(&audit, &window, &heading)?,
        Format::Text | Format::Svg => seats::text(&audit, &heading, setup.screen),
    };
    stop.run_until_cancelled(output.write(shown.as_bytes())).await.ok_or(ReportError::Interrupted)?
}

async fn export_log(args: &ExportArgs, stop: CancellationToken) -> Result<(), ReportError> {
    if args.log == Log::Objects && args.license.product.is_some() {
        return Err(ReportError::Usage("--product has no meaning for the objects log".to_owned()));
    }
    let bounds = &args.bounds;
    let bounded = args.since.is_some() || bounds.from.is_some() || bounds.to.is_some();
    // With --to alone, from the beginning of all logs.
    let length = args.since.unwrap_or(Duration::from_secs(1 << 40));
    let window = bounded.then(|| Window::new(bounds, length, Utc::now())).transpose()?;
    let setup = Setup::new(&args.access, &args.present, stop.clone())?;
    let output = Output::new(args.present.file(), setup.identities.is_full())?;
    let source = setup.source(args.log.name(), window, bounds.timezone);
    let order = export::Order {
        filter: license_filter(&args.license),
        window,
        format: args.format,
        identities: &setup.identities,
        output: &output,
        stop: &stop,
        resume: args.resume,
    };
    let exported = match args.log {
        Log::WebApi => export::export::<RequestRecord>(&source, &order).await,
        Log::Events => export::export::<EventRecord>(&source, &order).await,
        Log::Objects => export::export::<ObjectRecord>(&source, &order).await,
    };
    source.progress.done();
    if exported? == 0 && !args.resume {
        // Not among the entries, where a program would take it for one.
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "the {} log holds no entry that was asked for", args.log.name());
    }
    Ok(())
}
