//! `check`: validates the configuration, asks each log of each account for one row, and says what
//! works and what to do about what does not.

use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use chrono::Utc;
use comfy_table::{ContentArrangement, Table, presets};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::CommandFailure;
use super::front_door;
use crate::advice;
use crate::archive::{ArchiveProbe, ArchiveUnusable, probe_archive};
use crate::config::{self, Account, FlagValues, Settings, Sources, SystemEnvironment, table, value};
use crate::cryptolens::{
    AggregateQuery, ApiError, Client, CountedRow, Endpoint, LogKind, LogVisitor, PageQuery,
};
use crate::daemon::{self, DaemonError};
use crate::logging;
use crate::outputs::otlp::{self, PushError};
use crate::outputs::remote_write::{self, MissingSetting, ProbeError};
use crate::task::spawn_blocking;

/// Requests under way at a time. The poller has as many with four accounts.
const AT_A_TIME: usize = 16;

/// A person who waits at a terminal for longer sees how far the requests are.
const SILENCE: Duration = Duration::from_secs(2);

/// The results of all requests.
#[derive(Debug)]
struct Findings {
    lines: Vec<CheckLine>,
    /// The result of an empty push, if metrics are pushed.
    push: Option<Result<(), PushError>>,
    /// Whether the archive can be written, if there is one.
    archive: Option<Result<ArchiveProbe, ArchiveUnusable>>,
    /// The targets of the history with the result of an empty request: the settings that they lack.
    history: Vec<(String, Result<Vec<MissingSetting>, ProbeError>)>,
}

#[derive(Debug)]
struct CheckLine {
    account: String,
    endpoint: Endpoint,
    /// False for what counting goes on without.
    needed: bool,
    result: Result<(), ApiError>,
}

impl Findings {
    /// True if all that counting and pushing need works.
    fn all_well(&self) -> bool {
        let can_push = self.push.as_ref().is_none_or(Result::is_ok);
        let has_targets = self.history.iter().all(|(_, probed)| probed.as_ref().is_ok_and(Vec::is_empty));
        let can_archive = self.archive.as_ref().is_none_or(Result::is_ok);
        can_push
            && can_archive
            && has_targets
            && self.lines.iter().all(|line| line.result.is_ok() || !line.needed)
    }

    /// A table for people.
    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["ACCOUNT", "METHOD", "RESULT", "WHAT TO DO"]);
        for line in &self.lines {
            let (result, todo) = match &line.result {
                Ok(()) => ("ok".to_owned(), String::new()),
                Err(error) => (
                    format!("{}: {error}", error.label()),
                    advice::for_serve(error, line.endpoint).to_owned(),
                ),
            };
            table.add_row([line.account.as_str(), line.endpoint.name(), &result, &todo]);
        }
        if let Some(push) = &self.push {
            let (result, todo) = match push {
                Ok(()) => ("ok".to_owned(), ""),
                Err(error) => (error.to_string(), error.advice()),
            };
            table.add_row(["-", "otlp push", &result, todo]);
        }
        if let Some(archive) = &self.archive {
            let result = match archive {
                Ok(ArchiveProbe::Writable) => "ok".to_owned(),
                Ok(ArchiveProbe::InUse) => {
                    "ok; another process, such as serve, archives there now".to_owned()
                }
                Err(error) => error.to_string(),
            };
            table.add_row(["-", "archive", &result, ""]);
        }
        for (target, probed) in &self.history {
            let name = format!("history to {target}");
            let findings = match probed {
                Ok(missing) if missing.is_empty() => vec![("ok".to_owned(), String::new())],
                Ok(missing) => {
                    let rows =
                        missing.iter().map(|missing| (missing.finding.clone(), missing.advice.clone()));
                    rows.collect()
                }
                Err(ProbeError { error, advice }) => vec![(error.to_string(), (*advice).to_owned())],
            };
            for (result, todo) in findings {
                table.add_row(["-", &name, &result, &todo]);
            }
        }
        let mut text = String::new();
        for line in table.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim());
        }
        text
    }
}

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::without_file(flags, &SystemEnvironment);
    let config_only = sources.get(&table::CONFIG_ONLY, value::switch);
    let config_only = sources.finish(config_only)?;
    let settings = config::serve(flags, &SystemEnvironment)?;
    logging::start(settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let _ = front_door(&settings.web)?;
    let mut output = std::io::stdout();
    if config_only {
        let _ = writeln!(output, "the configuration is valid");
        return Ok(());
    }
    let findings = ask_all(&settings).await.map_err(|error| CommandFailure::once(error, settings.log))?;
    let _ = output.write_all(findings.table().as_bytes());
    if findings.all_well() {
        Ok(())
    } else {
        Err(CommandFailure::once("not everything works; see the table", settings.log))
    }
}

/// Sends one request for each log, for the products and for the vendor's own counts of each account,
/// several at a time.
async fn ask_all(settings: &Settings) -> Result<Findings, DaemonError> {
    let clients = daemon::account_clients(settings, &[])?;
    let mut requests: Vec<BoxFuture<'_, CheckLine>> = Vec::new();
    for (account, client) in settings.accounts.iter().zip(clients) {
        for log in &account.logs {
            requests.push(ask_log(account, client.client().clone(), *log).boxed());
        }
        requests.push(ask_products(account, client.client().clone()).boxed());
        requests.push(ask_aggregates(account, client.client().clone()).boxed());
    }
    let push = async {
        match &settings.otlp {
            Some(push) => Some(otlp::probe(push).await),
            None => None,
        }
    };
    let window = settings.history.window;
    let probes = settings
        .history
        .remote_write
        .iter()
        .map(|target| async move { (target.name.clone(), remote_write::probe(target, window).await) });
    let history = stream::iter(probes).buffered(AT_A_TIME).collect();
    let archive = async {
        match settings.archive.clone() {
            Some(archive) => Some(spawn_blocking(move || probe_archive(&archive)).await),
            None => None,
        }
    };
    let (lines, push, archive, history) = tokio::join!(answers(requests), push, archive, history);
    Ok(Findings { lines, push, archive, history })
}

/// The results of the requests, in their order.
async fn answers(requests: Vec<BoxFuture<'_, CheckLine>>) -> Vec<CheckLine> {
    let bar = ProgressBar::with_draw_target(u64::try_from(requests.len()).ok(), ProgressDrawTarget::hidden());
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} asking the api: {pos} of {len} answers, {elapsed}")
    {
        bar.set_style(style);
    }
    let counted = requests.into_iter().map(|request| request.inspect(|_| bar.inc(1)));
    let mut all = pin!(stream::iter(counted).buffered(AT_A_TIME).collect::<Vec<CheckLine>>());
    let lines = match tokio::time::timeout(SILENCE, &mut all).await {
        Ok(lines) => lines,
        Err(_) => {
            // indicatif itself shows nothing where standard error is no terminal.
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            all.await
        }
    };
    bar.finish_and_clear();
    lines
}

async fn ask_log(account: &Account, client: Client, log: LogKind) -> CheckLine {
    let result = log.visit(AskForRow { client }).await;
    CheckLine { account: account.name.to_string(), endpoint: log.endpoint(), needed: true, result }
}

async fn ask_products(account: &Account, client: Client) -> CheckLine {
    let result = client.products().await.map(|_| ());
    CheckLine { account: account.name.to_string(), endpoint: Endpoint::GetProducts, needed: false, result }
}

/// Asks for the counts of today, which `reconcile` needs.
async fn ask_aggregates(account: &Account, client: Client) -> CheckLine {
    let today = Utc::now().date_naive();
    let query = AggregateQuery { start: today, end: today, product_id: None };
    let result = client.daily_aggregates(query, 0).await.map(|_| ());
    let endpoint = Endpoint::GetDailyAggregates;
    CheckLine { account: account.name.to_string(), endpoint, needed: false, result }
}

/// Asks a log for its oldest row.
struct AskForRow {
    client: Client,
}

impl LogVisitor for AskForRow {
    type Output = BoxFuture<'static, Result<(), ApiError>>;

    fn visit<R: CountedRow>(self) -> Self::Output {
        async move { self.client.page::<R>(PageQuery::after(0, 1)).await.map(|_| ()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ArchiveIdentities, ArchiveSettings};

    fn findings(results: [Result<(), ApiError>; 2]) -> Findings {
        let [log, products] = results;
        let line =
            |endpoint, needed, result| CheckLine { account: "default".to_owned(), endpoint, needed, result };
        let lines = vec![
            line(Endpoint::Log(LogKind::Events), true, log),
            line(Endpoint::GetProducts, false, products),
        ];
        Findings { lines, push: None, archive: None, history: Vec::new() }
    }

    #[test]
    fn a_target_that_lacks_a_setting_is_not_well() {
        let probed = |probed| {
            let history = vec![("prometheus:9090".to_owned(), probed)];
            Findings { history, ..findings([Ok(()), Ok(())]) }
        };
        assert!(probed(Ok(Vec::new())).all_well());
        let missing = MissingSetting { finding: "keeps 15d".to_owned(), advice: "set a flag".to_owned() };
        let lacking = probed(Ok(vec![missing]));
        assert!(!lacking.all_well());
        let table = lacking.table();
        assert!(table.contains("history to prometheus:9090  keeps 15d  set a flag"), "{table}");
        let error = crate::outputs::DeliveryError::Timeout;
        let refused = probed(Err(ProbeError { error, advice: "check the receiver" }));
        assert!(!refused.all_well() && refused.table().contains("check the receiver"));
    }

    #[test]
    fn an_archive_that_cannot_be_written_is_not_well() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("volume");
        std::fs::write(&in_the_way, "not mounted").unwrap();
        let probed = |path: std::path::PathBuf| {
            let settings = ArchiveSettings {
                path,
                since: crate::ingest::Since::All,
                interval: Duration::from_secs(86_400),
                delay: Duration::from_secs(3600),
                identities: ArchiveIdentities::None,
                key_file: folder.path().join("archive.key"),
            };
            Findings { archive: Some(probe_archive(&settings)), ..findings([Ok(()), Ok(())]) }
        };
        let usable = probed(folder.path().join("archive"));
        let table = usable.table();
        let line = table.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        assert!(usable.all_well() && line == ["-", "archive", "ok"], "{table}");
        let unusable = probed(in_the_way.join("archive"));
        assert!(!unusable.all_well() && unusable.table().contains("volume"), "{}", unusable.table());
    }

    #[test]
    fn what_counting_needs_decides() {
        assert!(findings([Ok(()), Ok(())]).all_well());
        assert!(findings([Ok(()), Err(ApiError::Denied)]).all_well());
        assert!(!findings([Err(ApiError::Denied), Ok(())]).all_well());
    }

    #[test]
    fn the_table_says_what_to_do() {
        let table = findings([Err(ApiError::Auth), Err(ApiError::Denied)]).table();
        assert!(table.contains("auth: the api refused the token"), "{table}");
        assert!(table.contains("check the token"), "{table}");
        assert!(table.contains("products are then shown by id"), "{table}");
        assert!(!table.contains("--logs"), "{table}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_asked_at_once_within_bounds_and_shown_in_order() {
        let began = tokio::time::Instant::now();
        // The first take longest.
        let request = |number: usize| {
            async move {
                tokio::time::sleep(Duration::from_secs(30 - u64::try_from(number % AT_A_TIME).unwrap()))
                    .await;
                let account = number.to_string();
                CheckLine {
                    account,
                    endpoint: Endpoint::Log(LogKind::Events),
                    needed: true,
                    result: Err(ApiError::Timeout),
                }
            }
            .boxed()
        };
        let lines = answers((0..2 * AT_A_TIME).map(request).collect()).await;
        let order: Vec<usize> = lines.iter().map(|line| line.account.parse().unwrap()).collect();
        assert_eq!(order, (0..2 * AT_A_TIME).collect::<Vec<_>>());
        let took = began.elapsed();
        assert!(took > Duration::from_secs(30) && took <= Duration::from_secs(60), "{took:?}");
    }
}
