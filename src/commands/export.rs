//! `export`: writes the entries of a log.

use super::failure::CommandFailure;
use super::reading;
use crate::config::setting::CommandName;
use crate::config::{FlagValues, Sources, SystemEnvironment, table, value};
use crate::report::ReportTask;
use crate::report::options::{EntryFormat, ExportFormat, ExportOptions};

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let options = options(&mut sources);
    reading::run(sources, options.map(ReportTask::Export)).await
}

fn options(sources: &mut Sources<'_>) -> Option<ExportOptions> {
    if sources.sourced(&table::EXPORT_LOG).is_none() {
        sources.needs(CommandName::Export.name(), &table::EXPORT_LOG);
    }
    let log = reading::log(sources, &table::EXPORT_LOG);
    let beginnings = [&table::FROM, &table::EXPORT_SINCE];
    let beginning = reading::beginning(sources, CommandName::Export, &beginnings);
    let bounds = reading::bounds(sources, &beginning);
    let license = reading::license(sources, CommandName::Export);
    let formats = [
        ("ndjson", ExportFormat::Text(EntryFormat::Ndjson)),
        ("csv", ExportFormat::Text(EntryFormat::Csv)),
        ("parquet", ExportFormat::Parquet),
    ];
    let format = sources.get(&table::EXPORT_FORMAT, |found, setting| value::one_of(found, setting, &formats));
    let resume = sources.get(&table::EXPORT_RESUME, value::switch);
    let presentation = reading::presentation(sources);
    Some(ExportOptions {
        log: log?,
        since: beginning.length,
        bounds: bounds?,
        license,
        format: format?,
        resume: resume?,
        presentation: presentation?,
    })
}
