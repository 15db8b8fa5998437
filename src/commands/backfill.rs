//! `backfill`: the history of a past time, to a target or into a file of OpenMetrics.

use std::collections::BTreeMap;
use std::io::Write as _;

use chrono::Utc;

use super::failure::CommandFailure;
use crate::backfill::{self, BackfillError, BackfillOptions, BackfillOutput, BackfillSummary, LiveHistory};
use crate::config::setting::Setting;
use crate::config::{self, BackfillSettings, FlagValues, SystemEnvironment, table};
use crate::cryptolens::LogKind;
use crate::daemon;
use crate::history::{minute_of, next_whole_minute};
use crate::ingest::Since;
use crate::ledger::LedgerReader;
use crate::outputs::HistorySender;
use crate::outputs::otlp::OtlpHistorySettings;
use crate::outputs::remote_write::RemoteWriteSettings;

/// Rows become visible out of order: a minute is complete so long after its end, in seconds.
const COMPLETE_AFTER: i64 = 60;

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let settings = config::backfill(flags, &SystemEnvironment)?;
    let mut stderr = std::io::stderr();
    for warning in &settings.access.warnings {
        // Nobody reads a closed standard error.
        let _ = writeln!(stderr, "warning: {warning}");
    }
    let live = live_history(&settings)?;
    let output = output(&settings)?;
    let now = match settings.logs.first() {
        Some(log) => {
            let (client, token) = (settings.access.api.client_options(), settings.access.token.initial());
            backfill::server_time(&client, token, *log).await.map_err(CommandFailure::failed)?
        }
        None => Utc::now().timestamp(),
    };
    let options = options(settings, live, now)?;
    let summary = backfill::run(options, output, daemon::shutdown_signal()).await;
    let summary = summary.map_err(failure)?;
    let _ = writeln!(stderr, "{}", summary.text());
    complete(&summary)
}

fn failure(error: BackfillError) -> CommandFailure {
    match &error {
        BackfillError::Read(read) => {
            CommandFailure { code: read.exit_code(), ..CommandFailure::failed(error) }
        }
        _ => CommandFailure::failed(error),
    }
}

/// Fails if a target refused samples: they are missing there, whatever else arrived.
fn complete(summary: &BackfillSummary) -> Result<(), CommandFailure> {
    match summary.refused() {
        0 => Ok(()),
        _ => Err(CommandFailure::failed(
            "the target did not get everything: give it an out-of-order window as long as --history.window, and a \
             --history.window that is as long as the time since --since",
        )),
    }
}

/// The part of each log that the ledger has, so that nothing is in the history twice.
fn live_history(settings: &BackfillSettings) -> Result<BTreeMap<LogKind, LiveHistory>, CommandFailure> {
    let Some(directory) = &settings.storage_path else { return Ok(BTreeMap::new()) };
    let reader = LedgerReader::open(directory).map_err(CommandFailure::failed)?;
    let mut live = BTreeMap::new();
    for log in &settings.logs {
        let limit = reader.history_limit(settings.access.name.as_str(), *log);
        if let Some(limit) = limit.map_err(CommandFailure::failed)? {
            live.insert(*log, LiveHistory { from: limit.before, after_id: limit.last_id });
        }
    }
    if live.is_empty() {
        let flag = table::STORAGE_PATH.typed_name();
        let text = format!(
            "the ledger of {flag} has no history of account {}: end with {}, before serve begins to write some",
            settings.access.name,
            table::BACKFILL_TO.typed_name()
        );
        return if settings.to.is_some() { Ok(live) } else { Err(CommandFailure::usage(text)) };
    }
    Ok(live)
}

fn output(settings: &BackfillSettings) -> Result<BackfillOutput, CommandFailure> {
    if let Some(path) = &settings.output {
        return Ok(BackfillOutput::File(path.clone()));
    }
    let history = &settings.history;
    let (labels, window) = (history.labels.clone(), history.window);
    let sender = match (&history.remote_write[..], settings.otlp.as_ref().filter(|_| history.otlp)) {
        ([target], None) => {
            HistorySender::remote_write(RemoteWriteSettings { target: target.clone(), labels, window })
        }
        ([], Some(push)) => HistorySender::otlp(&OtlpHistorySettings { push: push.clone(), labels, window })
            .map_err(CommandFailure::usage)?,
        _ => {
            let url = named(&table::REMOTE_WRITE_URL);
            let file = named(&table::BACKFILL_OUTPUT);
            let text = format!("backfill writes to one target or one file: choose it with {url} or {file}");
            return Err(CommandFailure::usage(text));
        }
    };
    Ok(BackfillOutput::Target(Box::new(sender)))
}

fn named(setting: &Setting) -> String {
    format!("{} ({})", setting.typed_name(), setting.variable)
}

fn options(
    settings: BackfillSettings,
    live: BTreeMap<LogKind, LiveHistory>,
    now: i64,
) -> Result<BackfillOptions, CommandFailure> {
    let moment = |since: Since| match since {
        Since::Now => Some(now),
        Since::All => None,
        Since::Ago(ago) => Some(now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX))),
        Since::At(at) => Some(at.timestamp()),
    };
    let from = moment(settings.since).map(next_whole_minute);
    let complete = minute_of(now.saturating_sub(COMPLETE_AFTER));
    let to = settings.to.and_then(moment).map_or(complete, |to| minute_of(to).min(complete));
    if from.is_some_and(|from| from >= to) {
        return Err(CommandFailure::usage("there is no complete minute between --since and --to"));
    }
    let BackfillSettings { access, logs, history, .. } = settings;
    Ok(BackfillOptions {
        client: access.api.client_options(),
        concurrency: access.api.concurrency,
        token: access.token.initial().clone(),
        account: access.name.to_string(),
        products: access.products,
        first_object_code: access.objects_first_code,
        logs,
        from,
        to,
        now,
        live,
        labels: history.labels,
    })
}
