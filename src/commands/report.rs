//! `report`: answers a question, or counts once what is in a log.

use std::time::Duration;

use super::failure::CommandFailure;
use super::reading;
use crate::config::setting::{CommandName, Setting};
use crate::config::{FlagValues, SourceLevel, Sources, SystemEnvironment, table, value};
use crate::cryptolens::Outcome;
use crate::report::options::{
    ChangesOptions, Chart, CustomerOptions, DocumentOptions, FailOn, IncidentOptions, LicenseFilter,
    ReportOptions, ReportedLog, TimeBounds,
};
use crate::report::{self, ReportTask};

const DAY_SECONDS: u64 = 86_400;
/// How far back an incident is looked for.
const INCIDENT_LENGTH: Duration = Duration::from_secs(2 * 3600);
/// How far back the requests of a customer are looked at.
const CUSTOMER_LENGTH: Duration = Duration::from_secs(7 * DAY_SECONDS);
/// How far back changes are looked at.
const CHANGES_LENGTH: Duration = Duration::from_secs(30 * DAY_SECONDS);
/// Rows of a table that people read.
const USUAL_TOP: usize = 20;

/// A report by the argument that names it.
#[derive(Debug, Clone, Copy)]
enum NamedReport {
    Log(ReportedLog),
    Incident,
    Customer,
    Changes,
}

impl NamedReport {
    const fn name(self) -> &'static str {
        match self {
            NamedReport::Log(log) => log.name(),
            NamedReport::Incident => "incident",
            NamedReport::Customer => "customer",
            NamedReport::Changes => "changes",
        }
    }

    /// Flags of other reports, which this one has no use for.
    const fn refused(self) -> &'static [&'static [&'static Setting]] {
        match self {
            NamedReport::Log(_) => &[OF_INCIDENT, OF_CHANGES, &[&table::REPORT_TABLE]],
            NamedReport::Incident => &[OF_LOGS, OF_CHANGES],
            NamedReport::Customer => &[OF_LOGS, OF_INCIDENT, OF_CHANGES, &[&table::KEY]],
            NamedReport::Changes => &[OF_LOGS, OF_INCIDENT, &[&table::PRODUCT, &table::KEY]],
        }
    }
}

/// Flags that only some reports have.
const OF_LOGS: &[&Setting] =
    &[&table::REPORT_DAYS, &table::STATES, &table::OUTCOME, &table::NO_COMPARISON, &table::CHART];
const OF_INCIDENT: &[&Setting] = &[&table::REPORT_AT, &table::REPORT_FAIL_ON];
const OF_CHANGES: &[&Setting] = &[&table::REPORT_RESOURCE, &table::REPORT_USER];
/// Flags that another command needs to reach the same account.
const OF_ACCESS: &[&Setting] = &[
    &table::CONFIG_FILE,
    &table::ACCOUNT,
    &table::API_URL,
    &table::API_TOKEN_FILE,
    &table::API_CA_FILE,
    &table::TIMEZONE,
    &table::IDENTITIES,
];

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let report = sources.get(&table::REPORT_LOG, |found, setting| {
        let logs = [ReportedLog::WebApi, ReportedLog::Events, ReportedLog::Objects];
        let documents = [NamedReport::Incident, NamedReport::Customer, NamedReport::Changes];
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
        (Some(NamedReport::Log(_) | NamedReport::Incident | NamedReport::Changes), Some(_)) => {
            return Err(CommandFailure::usage(format_args!("a KEY has no meaning for the {name} report")));
        }
        _ => {}
    }
    let task = match report {
        Some(NamedReport::Changes) => changes(&mut sources).map(ReportTask::Changes),
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
    let beginnings = [&table::REPORT_AT, &table::FROM];
    let begun = sources.beginning(CommandName::Report, if is_ended { &beginnings[1..] } else { &beginnings });
    let mut at =
        begun.filter(|(setting, _)| setting.flag == table::REPORT_AT.flag).map(|(_, found)| found.text);
    let (from, length) = if at.is_some() {
        // How far it reaches to both sides of the moment.
        let reach =
            sources.sourced(&table::REPORT_SINCE).map(|found| value::duration(&found, &table::REPORT_SINCE));
        (None, reach.map_or(Some(INCIDENT_LENGTH), |reach| sources.noted(reach)))
    } else {
        time(sources, INCIDENT_LENGTH)
    };
    let bounds = reading::bounds(sources, from);
    if at.is_some() {
        at = checked_at(sources, bounds.as_ref()?);
        at.as_ref()?;
    }
    let product = sources.get(&table::PRODUCT, value::integer);
    let key = sources.get(&table::KEY, value::not_blank);
    let license = LicenseFilter { product, key };
    let document = document(sources, "report incident");
    Some(IncidentOptions { at, length: length?, bounds: bounds?, license, document: document? })
}

fn customer(sources: &mut Sources<'_>, key: String) -> Option<CustomerOptions> {
    let (from, length) = time(sources, CUSTOMER_LENGTH);
    let bounds = reading::bounds(sources, from);
    let product = sources.get(&table::PRODUCT, value::integer);
    let document = document(sources, "report customer KEY");
    Some(CustomerOptions { key, product, length: length?, bounds: bounds?, document: document? })
}

fn changes(sources: &mut Sources<'_>) -> Option<ChangesOptions> {
    let (from, length) = time(sources, CHANGES_LENGTH);
    let bounds = reading::bounds(sources, from);
    let resource = resource(sources);
    let user = sources.get(&table::REPORT_USER, value::not_blank);
    let document = document(sources, "report changes");
    Some(ChangesOptions {
        resource: resource.map(str::to_owned),
        user,
        length: length?,
        bounds: bounds?,
        document: document?,
    })
}

/// Where the time of a document begins: a moment, or a length before its end.
fn time(sources: &mut Sources<'_>, usual: Duration) -> (Option<String>, Option<Duration>) {
    let beginnings = [&table::FROM, &table::REPORT_SINCE];
    let (from, length) = reading::beginning(sources, CommandName::Report, &beginnings);
    (from, length.or(Some(usual)))
}

/// How a report that is a document is shown.
fn document(sources: &mut Sources<'_>, name: &str) -> Option<DocumentOptions> {
    let format = reading::format(sources);
    let table = sources.get(&table::REPORT_TABLE, value::not_blank);
    let top = match sources.sourced(&table::TOP) {
        Some(_) => sources.get(&table::TOP, value::integer::<u32>).and_then(|top| usize::try_from(top).ok()),
        None => Some(USUAL_TOP),
    };
    let fail_on = fail_on(sources);
    let presentation = reading::presentation(sources);
    let access_flags = typed(sources, OF_ACCESS);
    let of_this: Vec<&Setting> = table::of_command(CommandName::Report)
        // A key may be typed as it is, and is not for every reader.
        .filter(|setting| {
            !setting.flag.is_empty() && ![table::KEY.flag, table::OUTPUT.flag].contains(&setting.flag)
        })
        .collect();
    let command = format!("cryptolens-exporter {name}{}", typed(sources, &of_this));
    Some(DocumentOptions {
        format: format?,
        table,
        top: top?,
        fail_on: fail_on?,
        presentation: presentation?,
        command,
        access_flags,
    })
}

/// The moment of `--at`, in the time zone of the bounds.
fn checked_at(sources: &mut Sources<'_>, bounds: &TimeBounds) -> Option<String> {
    sources.get(&table::REPORT_AT, |found, setting| {
        let is_moment = report::is_moment(&found.text, bounds.timezone);
        if is_moment { Ok(found.text.clone()) } else { Err(found.bad(setting.expected)) }
    })
}

/// The conditions of `--fail-on`; none where it is not given.
fn fail_on(sources: &mut Sources<'_>) -> Option<Vec<FailOn>> {
    if sources.sourced(&table::REPORT_FAIL_ON).is_none() {
        return Some(Vec::new());
    }
    sources.get(&table::REPORT_FAIL_ON, |found, setting| {
        let names: Vec<String> = value::list(found, setting)?;
        let conditions = names.iter().map(|name| match name.as_str() {
            "incident" => Ok(FailOn::Incident),
            _ => Err(found.bad(setting.expected)),
        });
        conditions.collect()
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
    }
    fail_on(sources);
    resource(sources);
    for setting in [&table::REPORT_TABLE, &table::REPORT_USER] {
        sources.get(setting, value::not_blank);
    }
}

/// The flags that were typed, each with a blank before it.
fn typed(sources: &Sources<'_>, settings: &[&Setting]) -> String {
    let flag = |setting: &&Setting| {
        let found = sources.at(SourceLevel::Flag, setting)?;
        Some(format!(" {}={}", setting.typed_name(), quoted(&found.text)))
    };
    settings.iter().filter_map(flag).collect()
}

/// A value as a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn of_log(sources: &mut Sources<'_>, log: ReportedLog) -> Option<ReportOptions> {
    let beginnings = [&table::FROM, &table::REPORT_SINCE, &table::REPORT_DAYS];
    let (from, length) = reading::beginning(sources, CommandName::Report, &beginnings);
    let days: Option<u64> = sources.get(&table::REPORT_DAYS, value::integer);
    let length = length.or_else(|| Some(Duration::from_secs(days? * DAY_SECONDS)));
    let bounds = reading::bounds(sources, from);
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
    let format = reading::format(sources);
    let chart = sources.get(&table::CHART, |found, setting| {
        value::one_of(found, setting, &[("outcome", Chart::Outcome), ("daily", Chart::Daily)])
    });
    let top = sources.get(&table::TOP, value::integer::<u32>);
    let presentation = reading::presentation(sources);
    check_settings_of_documents(sources, bounds.as_ref());
    Some(ReportOptions {
        log,
        length: length?,
        bounds: bounds?,
        license,
        states: states.unwrap_or_default(),
        outcome,
        compare: !no_comparison?,
        format: format?,
        chart: chart?,
        top: usize::try_from(top?).ok()?,
        presentation: presentation?,
    })
}
