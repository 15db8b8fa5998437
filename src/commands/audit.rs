//! `audit`: shows who held the seats of a license, or of all licenses of a product.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::documents::document;
use super::failure::CommandFailure;
use super::reading;
use crate::config::setting::{CommandName, Setting};
use crate::config::{FlagValues, SourceLevel, Sources, SystemEnvironment, table, value};
use crate::report::ReportTask;
use crate::report::options::{AuditOptions, ProductSeatsOptions};

const HOUR_SECONDS: u64 = 3600;
/// More bytes than any key has.
const LONGEST_KEY_FILE: u64 = 4096;

/// Flags of the audit of one key, which that of a product has no use for.
const OF_ONE_KEY: &[&Setting] = &[&table::AUDIT_MAX_MACHINES];
/// Flags of the audit of a product, which that of one key has no use for.
const OF_DOCUMENTS: &[&Setting] = &[&table::REPORT_TABLE, &table::REPORT_FAIL_ON, &table::TOP];

/// The license key as it is given.
enum GivenKey {
    Typed(String),
    InFile(PathBuf),
    /// All keys of the product.
    Every,
}

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let mut sources = Sources::with_file(flags, &SystemEnvironment)?;
    let task = task(&mut sources);
    // A variable may be set for another audit.
    let (refused, kind) = match &task {
        Some((ReportTask::ProductSeats(_), _)) => {
            (OF_ONE_KEY, "of a product, or of a period such as --month")
        }
        Some((ReportTask::AuditSeats(_), _)) => (OF_DOCUMENTS, "of one key without a period such as --month"),
        _ => (&[][..], ""),
    };
    let is_typed = |setting: &&&Setting| sources.at(SourceLevel::Flag, setting).is_some();
    if let Some(setting) = refused.iter().find(is_typed) {
        let flag = setting.typed_name();
        return Err(CommandFailure::usage(format_args!("{flag} has no meaning for audit seats {kind}")));
    }
    // Reading the key may wait for standard input, so that everything else is checked before.
    let task = match task {
        Some((task, GivenKey::InFile(file))) if sources.is_sound() => {
            Some(with_key(task, read_license_key(&file)?))
        }
        other => other.map(|(task, _)| task),
    };
    reading::run(sources, task).await
}

fn with_key(task: ReportTask, key: String) -> ReportTask {
    match task {
        ReportTask::AuditSeats(options) => ReportTask::AuditSeats(AuditOptions { key, ..options }),
        ReportTask::ProductSeats(options) => {
            ReportTask::ProductSeats(ProductSeatsOptions { key: Some(key), ..options })
        }
        other => other,
    }
}

/// The audit: of one key as ever, or a document where there is no key, or a period of the calendar.
fn task(sources: &mut Sources<'_>) -> Option<(ReportTask, GivenKey)> {
    let seats = [("seats", ())];
    sources.require(CommandName::Audit, &table::AUDIT_WHAT, |found, setting| {
        value::one_of(found, setting, &seats)
    });
    let product = sources.require(CommandName::Audit, &table::AUDIT_PRODUCT, value::integer);
    let key = given_key(sources);
    let mut beginnings: Vec<&Setting> = reading::CALENDAR.to_vec();
    beginnings.extend([&table::FROM, &table::AUDIT_HOURS]);
    let beginning = reading::beginning(sources, CommandName::Audit, &beginnings);
    let hours: Option<u64> = sources.get(&table::AUDIT_HOURS, value::integer);
    let bounds = reading::bounds(sources, &beginning);
    let lookback = sources.get(&table::AUDIT_LOOKBACK, value::duration);
    let max_machines = sources.get(&table::AUDIT_MAX_MACHINES, value::integer);
    let is_document = matches!(key, Some(GivenKey::Every)) || beginning.calendar.is_some();
    let document = document(sources, CommandName::Audit, "audit seats");
    if is_document {
        let key = key?;
        let options = ProductSeatsOptions {
            product: product?,
            key: match &key {
                GivenKey::Typed(key) => Some(key.clone()),
                GivenKey::InFile(_) | GivenKey::Every => None,
            },
            length: Duration::from_secs(hours? * HOUR_SECONDS),
            bounds: bounds?,
            lookback: lookback?,
            document: document?,
        };
        return Some((ReportTask::ProductSeats(options), key));
    }
    let key = key?;
    let options = AuditOptions {
        product: product?,
        key: match &key {
            GivenKey::Typed(key) => key.clone(),
            GivenKey::InFile(_) | GivenKey::Every => String::new(),
        },
        length: Duration::from_secs(hours? * HOUR_SECONDS),
        bounds: bounds?,
        lookback: lookback?,
        max_machines,
        document: document?,
    };
    Some((ReportTask::AuditSeats(options), key))
}

/// The key; none where it is given badly.
fn given_key(sources: &mut Sources<'_>) -> Option<GivenKey> {
    let keys = [&table::AUDIT_LICENSE_KEY_FILE, &table::AUDIT_KEY];
    match sources.first_of(&keys, (&SourceLevel::ALL, "both say the license key: give one of them")) {
        Some((setting, found)) if setting.flag == table::AUDIT_KEY.flag => {
            sources.noted(value::not_blank(&found, setting)).map(GivenKey::Typed)
        }
        Some((setting, found)) => sources.noted(value::file_path(&found, setting)).map(GivenKey::InFile),
        None => Some(GivenKey::Every),
    }
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
