//! `report`: answers a question, or counts once what is in a log.

use std::time::Duration;

use super::documents::document;
use super::failure::CommandFailure;
use super::reading::{self, Beginning};
use crate::config::setting::{CommandName, Setting};
use crate::config::{FlagValues, SourceLevel, Sources, SystemEnvironment, table, value};
use crate::cryptolens::Outcome;
use crate::report::calendar::{CalendarChoice, CalendarUnit};
use crate::report::options::{
    ChangesOptions, Chart, CompareWith, CustomerOptions, DocumentOptions, IncidentOptions, LicenseFilter,
    ReportOptions, ReportedLog, SummaryOptions, TimeBounds,
};
use crate::report::{self, ReportTask};

const DAY_SECONDS: u64 = 86_400;
/// How far back an incident is looked for.
const INCIDENT_LENGTH: Duration = Duration::from_secs(2 * 3600);
/// How far back the requests of a customer are looked at.
const CUSTOMER_LENGTH: Duration = Duration::from_secs(7 * DAY_SECONDS);
/// How long a summary is that only has an end.
const SUMMARY_LENGTH: Duration = Duration::from_secs(30 * DAY_SECONDS);
/// How far back changes are looked at.
const CHANGES_LENGTH: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// A report by the argument that names it.
#[derive(Debug, Clone, Copy)]
enum NamedReport {
    Log(ReportedLog),
    Incident,
    Customer,
    Summary,
    Changes,
}

impl NamedReport {
    const fn name(self) -> &'static str {
        match self {
            NamedReport::Log(log) => log.name(),
            NamedReport::Incident => "incident",
            NamedReport::Customer => "customer",
            NamedReport::Summary => "summary",
            NamedReport::Changes => "changes",
        }
    }

    /// Flags of other reports, which this one has no use for.
    const fn refused(self) -> &'static [&'static [&'static Setting]] {
        match self {
            NamedReport::Log(_) => &[AT, FAIL_ON, OF_SUMMARY, OF_CHANGES, &[&table::REPORT_TABLE]],
            NamedReport::Incident => &[OF_LOGS, OF_SUMMARY, OF_CHANGES],
            NamedReport::Customer => &[OF_LOGS, AT, FAIL_ON, OF_SUMMARY, OF_CHANGES, &[&table::KEY]],
            NamedReport::Summary => &[OF_LOGS, AT, OF_CHANGES, &[&table::KEY]],
            NamedReport::Changes => &[OF_LOGS, AT, FAIL_ON, OF_SUMMARY, &[&table::PRODUCT, &table::KEY]],
        }
    }
}

/// Flags that only some reports have.
const OF_LOGS: &[&Setting] =
    &[&table::REPORT_DAYS, &table::STATES, &table::OUTCOME, &table::NO_COMPARISON, &table::CHART];
const AT: &[&Setting] = &[&table::REPORT_AT];
const FAIL_ON: &[&Setting] = &[&table::REPORT_FAIL_ON];
const OF_SUMMARY: &[&Setting] = &[&table::REPORT_COMPARE, &table::REPORT_OBJECTIVE];
const OF_CHANGES: &[&Setting] = &[&table::REPORT_RESOURCE, &table::REPORT_USER];
pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let report = sources.get(&table::REPORT_LOG, |found, setting| {
        let logs = [ReportedLog::WebApi, ReportedLog::Events, ReportedLog::Objects];
        let documents =
            [NamedReport::Incident, NamedReport::Customer, NamedReport::Summary, NamedReport::Changes];
        let reports = logs.map(NamedReport::Log).into_iter().chain(documents);
        let reports: Vec<(&str, NamedReport)> = reports.map(|report| (report.name(), report)).collect();
        value::one_of(found, setting, &reports)
    });
    let (name, refused) = report.map_or(("", &[][..]), |report| (report.name(), report.refused()));
    // A variable may be set for another report.
    let is_typed = |setting: &Setting| sources.at(SourceLevel::Flag, setting).is_some();
    if let Some(setting) = refused.iter().copied().flatten().find(|setting| is_typed(setting)) {
        let flag = setting.typed_name();
        return Err(CommandFailure::usage(format_args!("{flag} has no meaning for the {name} report")));
    }
    if is_typed(&table::REPORT_AT) && is_typed(&table::TO) {
        return Err(CommandFailure::usage(
            "--to has no meaning with --at, which looks at both sides of a moment",
        ));
    }
    let customer_key = sources.at(SourceLevel::Flag, &table::REPORT_CUSTOMER);
    match (report, &customer_key) {
        (Some(NamedReport::Customer), None) => {
            return Err(CommandFailure::usage("the customer report needs a KEY: report customer KEY"));
        }
        (Some(kind), Some(_)) if !matches!(kind, NamedReport::Customer) => {
            return Err(CommandFailure::usage(format_args!("a KEY has no meaning for the {name} report")));
        }
        _ => {}
    }
    let task = match report {
        Some(NamedReport::Changes) => changes(&mut sources).map(ReportTask::Changes),
        Some(NamedReport::Summary) => summary(&mut sources).map(ReportTask::Summary),
        Some(NamedReport::Customer) => {
            customer(&mut sources, customer_key.map(|found| found.text).unwrap_or_default())
                .map(ReportTask::Customer)
        }
        Some(NamedReport::Incident) => incident(&mut sources).map(ReportTask::Incident),
        Some(NamedReport::Log(log)) => of_log(&mut sources, log).map(ReportTask::Report),
        None => None,
    };
    reading::run(sources, task).await
}

fn incident(sources: &mut Sources<'_>) -> Option<IncidentOptions> {
    // A variable with a moment does not count where a flag says the end of the time.
    let is_ended = sources.at(SourceLevel::Flag, &table::TO).is_some();
    let mut beginnings: Vec<&Setting> = vec![&table::REPORT_AT, &table::FROM];
    beginnings.extend(typed_calendar(sources));
    let begun =
        sources.beginning(CommandName::Report, beginnings.get(usize::from(is_ended)..).unwrap_or(&[]));
    let mut at =
        begun.filter(|(setting, _)| setting.flag == table::REPORT_AT.flag).map(|(_, found)| found.text);
    let (beginning, length) = if at.is_some() {
        // How far it reaches to both sides of the moment.
        let reach =
            sources.sourced(&table::REPORT_SINCE).map(|found| value::duration(&found, &table::REPORT_SINCE));
        let length = reach.map_or(Some(INCIDENT_LENGTH), |reach| sources.noted(reach));
        (Beginning::default(), length)
    } else {
        time(sources, INCIDENT_LENGTH)
    };
    let bounds = reading::bounds(sources, &beginning);
    if at.is_some() {
        at = checked_at(sources, bounds.as_ref()?);
        at.as_ref()?;
    }
    let product = sources.get(&table::PRODUCT, value::integer);
    let key = sources.get(&table::KEY, value::not_blank);
    let license = LicenseFilter { product, key };
    let document = document(sources, CommandName::Report, "report incident");
    Some(IncidentOptions { at, length: length?, bounds: bounds?, license, document: document? })
}

fn customer(sources: &mut Sources<'_>, key: String) -> Option<CustomerOptions> {
    let (beginning, length) = time(sources, CUSTOMER_LENGTH);
    let bounds = reading::bounds(sources, &beginning);
    let product = sources.get(&table::PRODUCT, value::integer);
    let document = document(sources, CommandName::Report, "report customer KEY");
    Some(CustomerOptions { key, product, length: length?, bounds: bounds?, document: document? })
}

fn changes(sources: &mut Sources<'_>) -> Option<ChangesOptions> {
    let (beginning, length) = time(sources, CHANGES_LENGTH);
    let bounds = reading::bounds(sources, &beginning);
    let resource = resource(sources);
    let user = sources.get(&table::REPORT_USER, value::not_blank);
    let document = document(sources, CommandName::Report, "report changes");
    Some(ChangesOptions {
        resource: resource.map(str::to_owned),
        user,
        length: length?,
        bounds: bounds?,
        document: document?,
    })
}

fn summary(sources: &mut Sources<'_>) -> Option<SummaryOptions> {
    let mut beginnings: Vec<&Setting> = reading::CALENDAR.to_vec();
    beginnings.extend([&table::FROM, &table::REPORT_SINCE]);
    let mut beginning = reading::beginning(sources, CommandName::Report, &beginnings);
    let is_given = beginnings.iter().chain(&[&table::TO]).any(|setting| sources.sourced(setting).is_some());
    if !is_given {
        beginning.calendar = Some(CalendarChoice::Last(CalendarUnit::Month));
    }
    let length = beginning.length.unwrap_or(SUMMARY_LENGTH);
    let bounds = reading::bounds(sources, &beginning);
    let product = sources.get(&table::PRODUCT, value::integer);
    let compare = bounds.as_ref().and_then(|bounds| compare(sources, bounds));
    let objective = sources.get(&table::REPORT_OBJECTIVE, value::number);
    let document = document(sources, CommandName::Report, "report summary");
    Some(SummaryOptions {
        product,
        length,
        bounds: bounds?,
        compare: compare?,
        objective,
        document: document?,
    })
}

/// The time of `--compare`.
fn compare(sources: &mut Sources<'_>, bounds: &TimeBounds) -> Option<CompareWith> {
    if sources.sourced(&table::REPORT_COMPARE).is_none() {
        return Some(CompareWith::Previous);
    }
    sources.get(&table::REPORT_COMPARE, |found, setting| match found.text.trim() {
        "previous" => Ok(CompareWith::Previous),
        "year" => Ok(CompareWith::Year),
        "none" => Ok(CompareWith::Nothing),
        text => {
            let range = text.split_once("..").filter(|(from, to)| {
                [from, to].into_iter().all(|moment| report::is_moment(moment, bounds.timezone))
            });
            let (from, to) = range.ok_or_else(|| found.bad(setting.expected))?;
            Ok(CompareWith::Range(from.to_owned(), to.to_owned()))
        }
    })
}

/// Where the time of a document begins, and how long it is where nothing else says it.
fn time(sources: &mut Sources<'_>, usual: Duration) -> (Beginning, Option<Duration>) {
    let mut beginnings: Vec<&Setting> = vec![&table::FROM, &table::REPORT_SINCE];
    beginnings.extend(typed_calendar(sources));
    let beginning = reading::beginning(sources, CommandName::Report, &beginnings);
    let length = beginning.length.or(Some(usual));
    (beginning, length)
}

/// The periods of the calendar that were typed: a variable with one is meant for the summary.
fn typed_calendar(sources: &Sources<'_>) -> impl Iterator<Item = &'static Setting> {
    let is_typed = |setting: &&Setting| sources.at(SourceLevel::Flag, setting).is_some();
    reading::CALENDAR.into_iter().filter(is_typed).collect::<Vec<_>>().into_iter()
}

/// The moment of `--at`, in the time zone of the bounds.
fn checked_at(sources: &mut Sources<'_>, bounds: &TimeBounds) -> Option<String> {
    sources.get(&table::REPORT_AT, |found, setting| {
        let is_moment = report::is_moment(&found.text, bounds.timezone);
        if is_moment { Ok(found.text.clone()) } else { Err(found.bad(setting.expected)) }
    })
}

/// The kind of object of `--resource`.
fn resource(sources: &mut Sources<'_>) -> Option<&'static str> {
    let kinds = ["customer", "issued_license", "license_key", "license_issuance", "product", "data_object"];
    sources.get(&table::REPORT_RESOURCE, |found, setting| {
        value::one_of(found, setting, &kinds.map(|kind| (kind, kind)))
    })
}

/// Looks at the settings of the other reports: a variable with a mistake is no less one where this
/// report does not use it.
fn check_settings_of_documents(sources: &mut Sources<'_>, bounds: Option<&TimeBounds>) {
    if let Some(bounds) = bounds {
        checked_at(sources, bounds);
        compare(sources, bounds);
    }
    sources.get(&table::REPORT_OBJECTIVE, value::number);
    for setting in reading::CALENDAR {
        sources.get(setting, reading::calendar);
    }
    resource(sources);
    sources.get(&table::REPORT_USER, value::not_blank);
}

fn of_log(sources: &mut Sources<'_>, log: ReportedLog) -> Option<ReportOptions> {
    let mut beginnings: Vec<&Setting> = vec![&table::FROM, &table::REPORT_SINCE, &table::REPORT_DAYS];
    beginnings.extend(typed_calendar(sources));
    let beginning = reading::beginning(sources, CommandName::Report, &beginnings);
    let days: Option<u64> = sources.get(&table::REPORT_DAYS, value::integer);
    let length = beginning.length.or_else(|| Some(Duration::from_secs(days? * DAY_SECONDS)));
    let bounds = reading::bounds(sources, &beginning);
    let license = reading::license(sources, CommandName::Report);
    let states = sources.get(&table::STATES, |found, setting| {
        let states: Vec<u16> = value::list(found, setting)?;
        if states.iter().all(|state| (1000..=8999).contains(state)) {
            Ok(states)
        } else {
            Err(found.bad(setting.expected))
        }
    });
    let outcome = sources.get(&table::OUTCOME, |found, setting| {
        let outcomes =
            [("success", Outcome::Success), ("failure", Outcome::Failure), ("unknown", Outcome::Unknown)];
        value::one_of(found, setting, &outcomes)
    });
    let no_comparison = sources.get(&table::NO_COMPARISON, value::switch);
    let chart = sources.get(&table::CHART, |found, setting| {
        value::one_of(found, setting, &[("outcome", Chart::Outcome), ("daily", Chart::Daily)])
    });
    let top = sources.get(&table::TOP, value::integer::<u32>);
    let document = document(sources, CommandName::Report, &format!("report {}", log.name()));
    check_settings_of_documents(sources, bounds.as_ref());
    let document = DocumentOptions { top: usize::try_from(top?).ok()?, ..document? };
    Some(ReportOptions {
        log,
        length: length?,
        bounds: bounds?,
        license,
        states: states.unwrap_or_default(),
        outcome,
        compare: !no_comparison?,
        chart: chart?,
        document,
    })
}
