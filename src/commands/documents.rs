//! The common part of the reports that are documents: how they are shown, what ends them with exit
//! code 3, and the command line that they repeat.

use super::reading;
use crate::config::setting::{CommandName, Setting};
use crate::config::{SourceLevel, Sources, table, value};
use crate::report::options::{DocumentOptions, FailOn};

/// Rows of a table that people read.
const USUAL_TOP: usize = 20;
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

/// How a report that is a document is shown. `name` is the command as it is typed, without flags.
pub(super) fn document(
    sources: &mut Sources<'_>,
    command: CommandName,
    name: &str,
) -> Option<DocumentOptions> {
    let format = reading::format(sources);
    let table = sources.get(&table::REPORT_TABLE, value::not_blank);
    let top = match sources.sourced(&table::TOP) {
        Some(_) => sources.get(&table::TOP, value::integer::<u32>).and_then(|top| usize::try_from(top).ok()),
        None => Some(USUAL_TOP),
    };
    let fail_on = fail_on(sources);
    let presentation = reading::presentation(sources);
    let access_flags = typed(sources, OF_ACCESS);
    // A key may be typed as it is, and is not for every reader.
    let private = [table::KEY.flag, table::AUDIT_LICENSE_KEY_FILE.flag, table::OUTPUT.flag];
    let of_this: Vec<&Setting> = table::of_command(command)
        .filter(|setting| !setting.flag.is_empty() && !private.contains(&setting.flag))
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

/// The conditions of `--fail-on`; none where it is not given.
pub(super) fn fail_on(sources: &mut Sources<'_>) -> Option<Vec<FailOn>> {
    if sources.sourced(&table::REPORT_FAIL_ON).is_none() {
        return Some(Vec::new());
    }
    let known = [FailOn::Incident, FailOn::Objective, FailOn::Refusals];
    sources.get(&table::REPORT_FAIL_ON, |found, setting| {
        let names: Vec<String> = value::list(found, setting)?;
        let condition = |name: &String| {
            let condition = known.into_iter().find(|condition| condition.name() == name);
            condition.ok_or_else(|| found.bad(setting.expected))
        };
        names.iter().map(condition).collect()
    })
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
