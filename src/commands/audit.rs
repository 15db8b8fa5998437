//! `audit`: shows who held the seats of a license.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::failure::CommandFailure;
use super::reading;
use crate::config::setting::CommandName;
use crate::config::{FlagValues, SourceLevel, Sources, SystemEnvironment, table, value};
use crate::report::ReportTask;
use crate::report::options::AuditOptions;

const HOUR_SECONDS: u64 = 3600;
/// More bytes than any key has.
const LONGEST_KEY_FILE: u64 = 4096;

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let options = options(&mut sources);
    // Reading the key may wait for standard input, so that everything else is checked before.
    let mut options = match options {
        Some((options, key_file)) if sources.is_sound() => {
            let key = key_file.as_deref().map(read_license_key).transpose()?;
            Some(AuditOptions { key: key.unwrap_or(options.key), ..options })
        }
        other => other.map(|(options, _)| options),
    };
    reading::run(sources, options.take().map(ReportTask::AuditSeats)).await
}

/// The options, and the file that holds the key if that is how it is given.
fn options(sources: &mut Sources<'_>) -> Option<(AuditOptions, Option<std::path::PathBuf>)> {
    let seats = [("seats", ())];
    sources.require(CommandName::Audit, &table::AUDIT_WHAT, |found, setting| {
        value::one_of(found, setting, &seats)
    });
    let product = sources.require(CommandName::Audit, &table::AUDIT_PRODUCT, value::integer);
    let keys = [&table::AUDIT_LICENSE_KEY_FILE, &table::AUDIT_KEY];
    let (mut key, mut key_file) = (None, None);
    match sources.first_of(&keys, (&SourceLevel::ALL, "both say the license key: give one of them")) {
        Some((setting, found)) if setting.flag == table::AUDIT_KEY.flag => {
            key = sources.noted(value::not_blank(&found, setting));
        }
        Some((setting, found)) => key_file = sources.noted(value::file_path(&found, setting)),
        None => sources.needs(CommandName::Audit.name(), &table::AUDIT_KEY),
    }
    let beginnings = [&table::FROM, &table::AUDIT_HOURS];
    let (from, _) = reading::beginning(sources, CommandName::Audit, &beginnings);
    let hours: Option<u64> = sources.get(&table::AUDIT_HOURS, value::integer);
    let bounds = reading::bounds(sources, from);
    let lookback = sources.get(&table::AUDIT_LOOKBACK, value::duration);
    let max_machines = sources.get(&table::AUDIT_MAX_MACHINES, value::integer);
    let format = reading::format(sources);
    let presentation = reading::presentation(sources);
    let options = AuditOptions {
        product: product?,
        key: key.unwrap_or_default(),
        length: Duration::from_secs(hours? * HOUR_SECONDS),
        bounds: bounds?,
        lookback: lookback?,
        max_machines,
        format: format?,
        presentation: presentation?,
    };
    Some((options, key_file))
}

/// The license key in a file, or on standard input for `-`.
fn read_license_key(path: &Path) -> Result<String, CommandFailure> {
    let usage =
        |reason: &str| CommandFailure::usage(format!("--license-key-file: {}: {reason}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST_KEY_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_KEY_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| usage(&error.to_string()))?;
    // Editors of Windows put a byte order mark first.
    let key = text.trim_start_matches('\u{feff}').trim();
    match key {
        "" => Err(usage("it holds no license key")),
        key if key.contains(char::is_whitespace) => Err(usage("it holds more than one license key")),
        key => Ok(key.to_owned()),
    }
}
