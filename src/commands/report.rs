//! `report`: answers once what is in a log.

use std::time::Duration;

use super::failure::CommandFailure;
use super::reading;
use crate::config::setting::CommandName;
use crate::config::{FlagValues, Sources, SystemEnvironment, table, value};
use crate::cryptolens::Outcome;
use crate::report::ReportTask;
use crate::report::options::{Chart, ReportOptions};

const DAY_SECONDS: u64 = 86_400;

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let options = options(&mut sources);
    reading::run(sources, options.map(ReportTask::Report)).await
}

fn options(sources: &mut Sources<'_>) -> Option<ReportOptions> {
    let log = reading::log(sources, &table::REPORT_LOG);
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
    Some(ReportOptions {
        log: log?,
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
