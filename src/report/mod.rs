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
mod identity;
mod output;
mod page;
mod progress;
mod record;
mod setup;
mod source;
mod spreadsheet;
mod text;
mod web_api;
mod window;

use std::time::Duration;

use chrono::Utc;

pub use args::{AuditArgs, ExportArgs, ReportArgs};
pub use error::{PageFault, ReportError};

use args::{Format, Log, OutcomeArg};
use record::RequestRecord;
use setup::Setup;
use window::Window;

use crate::cryptolens::{Filter, Outcome};

/// One of the three commands, as typed.
#[derive(Debug, Clone)]
pub enum Task {
    /// `report`
    Report(ReportArgs),
}

/// Does what was asked, or stops at the first SIGINT.
///
/// # Errors
/// [`ReportError`]; its [`exit_code`](ReportError::exit_code) tells bad usage from what failed.
pub async fn run(task: Task) -> Result<(), ReportError> {
    let work = async {
        match task {
            Task::Report(args) => report(&args).await,
        }
    };
    tokio::select! {
        done = work => done,
        Ok(()) = tokio::signal::ctrl_c() => Err(ReportError::Interrupted),
    }
}

async fn report(args: &ReportArgs) -> Result<(), ReportError> {
    refuse_what_has_no_meaning(args)?;
    let days = Duration::from_secs(u64::from(args.window.days) * 86_400);
    let window = Window::new(&args.window.bounds, args.window.since.unwrap_or(days), Utc::now())?;
    let setup = Setup::new(&args.access, &args.present)?;
    let shown = match args.log {
        Log::WebApi => report_web_api(args, window, &setup).await?,
        Log::Events | Log::Objects => return Err(ReportError::Usage("not yet".to_owned())),
    };
    output::write(args.present.output.as_deref(), shown.as_bytes())
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
    let filter = Filter {
        ending_before: None,
        product_id: args.license.product,
        key: args.license.key.clone(),
        states: args.states.clone(),
    };
    let mut tally = web_api::Tally::new(window, !args.no_comparison, web_api::Wanted { outcome });
    let source = setup.source("the Web API Log", Some(&window), window.zone);
    let needed_from = tally.needed_from();
    let add = |rows: Vec<RequestRecord>| {
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
        top: args.top,
    };
    let report = web_api::Report::new(&tally, &context);
    let heading = setup.heading(&window);
    match args.format.format {
        Format::Text => Ok(web_api::text(&report, &heading, setup.paint)),
        Format::Json => report.json().map_err(|error| ReportError::Draw(error.to_string())),
        Format::Csv => web_api::csv(&report),
        Format::Html => web_api::html(&report, &heading),
        Format::Svg => web_api::svg(&report, args.chart),
    }
}
