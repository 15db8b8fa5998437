//! `reconcile`: compares the log with the vendor's own daily counts and with the ledger.

use std::path::PathBuf;

use super::failure::CommandFailure;
use super::reading;
use crate::config::{FlagValues, Sources, SystemEnvironment, table, value};
use crate::report::ReportTask;
use crate::report::options::{ExcludedKeys, ReconcileFormat, ReconcileOptions};
use crate::text_file;

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let options = options(&mut sources);
    reading::run(sources, options.map(ReportTask::Reconcile)).await
}

fn options(sources: &mut Sources<'_>) -> Option<ReconcileOptions> {
    let days = sources.get(&table::RECONCILE_DAYS, value::integer);
    let from = sources.get(&table::RECONCILE_FROM, value::parsed);
    let to = sources.get(&table::RECONCILE_TO, value::parsed);
    let product = sources.get(&table::PRODUCT, value::integer);
    let (vendor, ledger) = sides(sources)?;
    let settle = sources.get(&table::RECONCILE_SETTLE, value::duration);
    let tolerance = sources.get(&table::RECONCILE_TOLERANCE, value::number);
    let excluded_keys = sources.get(&table::RECONCILE_EXCLUDE_KEYS_FILE, |found, setting| {
        let path = value::file_path(found, setting)?;
        match text_file::read(&path) {
            Ok(text) => Ok(ExcludedKeys::from_text(&text)),
            Err(error) => Err(found.bad(format!("a file that can be read ({error})"))),
        }
    });
    let formats =
        [("text", ReconcileFormat::Text), ("json", ReconcileFormat::Json), ("csv", ReconcileFormat::Csv)];
    let format =
        sources.get(&table::RECONCILE_FORMAT, |found, setting| value::one_of(found, setting, &formats));
    let output = sources.get(&table::OUTPUT, value::file_path);
    Some(ReconcileOptions {
        days: days?,
        from,
        to,
        product,
        vendor,
        ledger,
        settle: settle?,
        tolerance: tolerance?,
        excluded_keys: excluded_keys.unwrap_or_default(),
        format: format?,
        output,
    })
}

/// Resolves the sides to compare with: whether the vendor, and the directory of which ledger.
/// `None` if a problem was noted.
fn sides(sources: &mut Sources<'_>) -> Option<(bool, Option<PathBuf>)> {
    // The row of `serve` has the key in the file too; its default is no ledger that somebody named.
    let has_ledger = sources.sourced(&table::STORAGE_PATH).is_some();
    let directory = if has_ledger { Some(sources.path(&table::STORAGE_PATH)?) } else { None };
    if sources.sourced(&table::RECONCILE_AGAINST).is_none() {
        return Some((true, directory));
    }
    let named: Vec<String> = sources.get(&table::RECONCILE_AGAINST, |found, setting| {
        let named: Vec<String> = value::list(found, setting)?;
        let is_side = |name: &String| name == "vendor" || name == "ledger";
        if named.iter().all(is_side) { Ok(named) } else { Err(found.bad(setting.expected())) }
    })?;
    let is_named = |side: &str| named.iter().any(|name| name == side);
    if is_named("ledger") && directory.is_none() {
        sources.needs("reconcile --against=ledger", &table::RECONCILE_STORAGE_PATH);
    }
    Some((is_named("vendor"), directory.filter(|_| is_named("ledger"))))
}
