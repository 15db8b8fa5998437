//! The common part of `report`, `audit` and `export`: the settings of a window, a license and an
//! output, and the access to one account.

use std::io::Write as _;
use std::time::Duration;

use super::failure::CommandFailure;
use crate::config::setting::{CommandName, Setting};
use crate::config::value::SourcedValue;
use crate::config::{AccountAccess, Problem, SourceLevel, Sources, table, value};
use crate::daemon;
use crate::report::calendar::{CalendarChoice, CalendarUnit};
use crate::report::options::{
    IdentityLevel, LicenseFilter, Presentation, ReportAccess, ReportFormat, ReportedLog, TimeBounds,
};
use crate::report::{self, ReportTask};

/// Does the task, which is `None` where one of its settings is bad.
pub(super) async fn run(mut sources: Sources<'_>, task: Option<ReportTask>) -> Result<(), CommandFailure> {
    let access = sources.account_access();
    let (task, access) = sources.finish(task.zip(access))?;
    let mut stderr = std::io::stderr().lock();
    for warning in &access.warnings {
        // Nobody reads a closed standard error.
        let _ = writeln!(stderr, "warning: {warning}");
    }
    drop(stderr);
    let result = report::run(task, report_access(access), daemon::shutdown_signal()).await;
    result.map_err(|error| CommandFailure { code: error.exit_code(), ..CommandFailure::failed(error) })
}

fn report_access(access: AccountAccess) -> ReportAccess {
    ReportAccess {
        client: access.api.client_options(),
        token: access.token.initial().clone(),
        account: access.name.to_string(),
        products: access.products,
        states: access.states,
        objects_first_code: access.objects_first_code,
        concurrency: access.api.concurrency,
    }
}

/// The log that is named.
pub(super) fn log(sources: &mut Sources<'_>, setting: &Setting) -> Option<ReportedLog> {
    let logs = [ReportedLog::WebApi, ReportedLog::Events, ReportedLog::Objects];
    sources.get(setting, |found, setting| value::one_of(found, setting, &logs.map(|log| (log.name(), log))))
}

/// The settings that name a period of the calendar.
pub(super) const CALENDAR: [&Setting; 4] =
    [&table::REPORT_DAY, &table::REPORT_WEEK, &table::REPORT_MONTH, &table::REPORT_YEAR];

/// Where the time of a report begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning {
    /// At this moment.
    pub(super) from: Option<String>,
    /// So long before its end.
    pub(super) length: Option<Duration>,
    /// With this period, which also says the end.
    pub(super) calendar: Option<CalendarChoice>,
}

/// Where the time begins. Nothing where a number of days or hours says it, or no setting at all.
pub(super) fn beginning(
    sources: &mut Sources<'_>,
    command: CommandName,
    settings: &[&'static Setting],
) -> Beginning {
    let nowhere = Beginning::default();
    let Some((setting, found)) = sources.beginning(command, settings) else { return nowhere };
    if setting.flag == table::FROM.flag {
        Beginning { from: Some(found.text), ..nowhere }
    } else if setting.flag == table::REPORT_SINCE.flag {
        let length = value::duration(&found, setting);
        Beginning { length: sources.noted(length), ..nowhere }
    } else if CALENDAR.iter().any(|calendar| calendar.flag == setting.flag) {
        let is_typed = sources.at(SourceLevel::Flag, setting).is_some();
        if !is_typed && sources.at(SourceLevel::Flag, &table::TO).is_some() {
            // A flag wins over a variable.
            return nowhere;
        }
        let reason = "a period of the calendar has its own end";
        sources.first_of(&[setting, &table::TO], (&[SourceLevel::Flag], reason));
        let calendar = calendar(&found, setting);
        Beginning { calendar: sources.noted(calendar), ..nowhere }
    } else {
        nowhere
    }
}

/// A period of the calendar.
pub(super) fn calendar(found: &SourcedValue, setting: &Setting) -> Result<CalendarChoice, Problem> {
    let units = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year];
    let unit = units.into_iter().find(|unit| unit.name() == setting.flag);
    let choice = unit.and_then(|unit| CalendarChoice::parse(unit, &found.text));
    choice.ok_or_else(|| found.bad(setting.expected))
}

/// From when to when.
pub(super) fn bounds(sources: &mut Sources<'_>, beginning: &Beginning) -> Option<TimeBounds> {
    let Beginning { from, calendar, .. } = beginning.clone();
    let timezone = sources.get(&table::TIMEZONE, value::parsed)?;
    // Here it is known still who gave them.
    let found = from.is_some().then(|| sources.sourced(&table::FROM)).flatten();
    for (setting, found) in [(&table::FROM, found), (&table::TO, sources.sourced(&table::TO))] {
        let bad = found.filter(|found| !report::is_moment(&found.text, timezone));
        let checked = bad.map_or(Ok(()), |found| Err(found.bad(setting.expected)));
        sources.noted(checked)?;
    }
    let to = sources.sourced(&table::TO).map(|found| found.text);
    Some(TimeBounds { calendar, from, to, timezone })
}

/// Entries of one product or license only. A key is unique within a product.
pub(super) fn license(sources: &mut Sources<'_>, command: CommandName) -> LicenseFilter {
    let product = sources.get(&table::PRODUCT, value::integer);
    let key = sources.get(&table::KEY, value::not_blank);
    if key.is_some() && sources.sourced(&table::PRODUCT).is_none() {
        sources.needs(&format!("--key of {}", command.name()), &table::PRODUCT);
    }
    LicenseFilter { product, key }
}

/// How a report or an audit is shown.
pub(super) fn format(sources: &mut Sources<'_>) -> Option<ReportFormat> {
    let formats = [
        ("text", ReportFormat::Text),
        ("json", ReportFormat::Json),
        ("csv", ReportFormat::Csv),
        ("html", ReportFormat::Html),
        ("svg", ReportFormat::Svg),
        ("markdown", ReportFormat::Markdown),
    ];
    sources.get(&table::REPORT_FORMAT, |found, setting| value::one_of(found, setting, &formats))
}

/// Who is shown, and where it goes.
pub(super) fn presentation(sources: &mut Sources<'_>) -> Option<Presentation> {
    let output = sources.get(&table::OUTPUT, value::file_path);
    let levels = [
        ("masked", IdentityLevel::Masked),
        ("customers", IdentityLevel::Customers),
        ("full", IdentityLevel::Full),
    ];
    let identities = sources.get(&table::IDENTITIES, |found, setting| value::one_of(found, setting, &levels));
    Some(Presentation { output, identities: identities? })
}
