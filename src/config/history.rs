//! The settings of the history: where it goes, and what every sample carries.

use std::sync::Arc;
use std::time::Duration;

use super::problem::Problem;
use super::setting::Setting;
use super::sources::Sources;
use super::table;
use super::value::{self, SourcedValue};
use crate::cryptolens::token::looks_like_a_token;
use crate::outputs::otlp::OTLP_TARGET;
use crate::outputs::remote_write::RemoteWriteTarget;
use crate::tally::families::HISTORY_FAMILIES;

/// The value of the label `job` where none is given.
const DEFAULT_JOB: &str = "cryptolens-exporter";
/// The value of the label `instance` where none is given and the host has no name.
const DEFAULT_INSTANCE: &str = "localhost";

/// Where history goes, and how. Without a target there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct HistorySettings {
    /// The targets of remote write; their names are unique, and none is that of OTLP.
    pub remote_write: Vec<RemoteWriteTarget>,
    /// Whether history goes to the receiver of the push, too.
    pub otlp: bool,
    /// How old a sample may be when it is sent.
    pub window: Duration,
    /// Labels of every sample, sorted by name: `instance`, `job` and what else is configured. No
    /// family has a label of these names.
    pub labels: Vec<(String, String)>,
    /// True if `instance` was configured, rather than taken from the name of the host.
    pub has_own_instance: bool,
    /// The most samples that wait for a target.
    pub outbox_limit: u64,
}

impl HistorySettings {
    /// The names of all targets.
    #[must_use]
    pub fn target_names(&self) -> Vec<Arc<str>> {
        let remote_write = self.remote_write.iter().map(|target| Arc::from(target.name.as_str()));
        remote_write.chain(self.otlp.then(|| Arc::from(OTLP_TARGET))).collect()
    }
}

/// The settings; `None` if a problem was noted. What is valid but better changed is added to the
/// warnings.
pub(super) fn resolve(
    sources: &mut Sources<'_>,
    has_push: bool,
    warnings: &mut Vec<String>,
) -> Option<HistorySettings> {
    let outbox_limit = sources.get(&table::HISTORY_OUTBOX_LIMIT, value::integer);
    let history = resolve_without_outbox(sources, has_push, warnings)?;
    Some(HistorySettings { outbox_limit: outbox_limit?, ..history })
}

/// The same for a command that keeps nothing.
pub(super) fn resolve_without_outbox(
    sources: &mut Sources<'_>,
    has_push: bool,
    warnings: &mut Vec<String>,
) -> Option<HistorySettings> {
    let remote_write = super::remote_write::resolve(sources, warnings);
    let otlp = sources.get(&table::HISTORY_OTLP, value::switch);
    if otlp == Some(true) && !has_push && sources.is_sound() {
        sources.needs("--history.otlp", &table::OTLP_ENDPOINT);
    }
    let window = sources.get(&table::HISTORY_WINDOW, value::duration);
    let labels = labels(sources);
    let (labels, has_own_instance) = labels?;
    Some(HistorySettings {
        remote_write,
        otlp: otlp?,
        window: window?,
        labels,
        has_own_instance,
        outbox_limit: 0,
    })
}

/// The labels of every sample, and whether `instance` is among those that are configured.
pub(super) fn labels(sources: &mut Sources<'_>) -> Option<(Vec<(String, String)>, bool)> {
    let given = match sources.sourced(&table::HISTORY_LABELS) {
        Some(found) => {
            let given = parse(&found, &table::HISTORY_LABELS);
            sources.noted(given)?
        }
        None => Vec::new(),
    };
    let has_own_instance = given.iter().any(|(name, _)| name == "instance");
    let host = sources.environment.host_name().unwrap_or_else(|| DEFAULT_INSTANCE.to_owned());
    let mut labels = vec![("instance".to_owned(), host), ("job".to_owned(), DEFAULT_JOB.to_owned())];
    for (name, value) in given {
        labels.retain(|(known, _)| *known != name);
        labels.push((name, value));
    }
    labels.sort();
    Some((labels, has_own_instance))
}

fn parse(found: &SourcedValue, setting: &Setting) -> Result<Vec<(String, String)>, Problem> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for pair in found.text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| found.bad(setting.expected))?;
        let (name, value) = (name.trim(), value.trim());
        if !is_label_name(name) || value.is_empty() || looks_like_a_token(value) {
            return Err(found.bad(setting.expected));
        }
        if HISTORY_FAMILIES.iter().any(|family| family.labels.contains(&name)) {
            return Err(found.bad(format!("no label that a family of history has, as it has {name}")));
        }
        labels.retain(|(known, _)| known != name);
        labels.push((name.to_owned(), value.to_owned()));
    }
    if labels.is_empty() { Err(found.bad(setting.expected)) } else { Ok(labels) }
}

/// A name of a label that is not reserved by Prometheus.
fn is_label_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain
        && !name.is_empty()
        && !name.starts_with("__")
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FlagValues, Variables};

    fn resolved(typed: &[&str]) -> Result<(Vec<(String, String)>, bool), String> {
        let mut flags = FlagValues::default();
        if !typed.is_empty() {
            flags.insert(&table::HISTORY_LABELS, typed.iter().map(|text| (*text).to_owned()).collect());
        }
        let variables = Variables::default();
        let mut sources = Sources::without_file(&flags, &variables);
        let labels = labels(&mut sources);
        sources.finish(labels).map_err(|error| error.to_string())
    }

    fn text(labels: &[(String, String)]) -> String {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn labels_are_merged_over_the_defaults_by_name() {
        let (labels, has_own_instance) = resolved(&[]).unwrap();
        assert_eq!(text(&labels), "instance=localhost,job=cryptolens-exporter");
        assert!(!has_own_instance);
        let (labels, has_own_instance) = resolved(&["cluster=eu, instance=pod-1", "job=a/b"]).unwrap();
        assert_eq!(text(&labels), "cluster=eu,instance=pod-1,job=a/b");
        assert!(has_own_instance);
    }

    #[test]
    fn labels_that_clash_or_are_none_are_refused() {
        for (typed, part) in [
            ("account=x", "as it has account"),
            ("currency=EUR", "as it has currency"),
            ("log=x", "as it has log"),
            ("__name__=x", "expected"),
            ("1a=x", "expected"),
            ("a", "expected"),
            ("a=", "expected"),
            (" ", "expected"),
        ] {
            let error = resolved(&[typed]).unwrap_err();
            assert!(error.contains(part), "{typed}: {error}");
        }
    }
}
