//! Tries a target for `check`: whether it takes requests, and which of its settings history needs
//! and it does not have, as far as it tells.

use std::time::Duration;

use serde::Deserialize;

use super::client::{RemoteWriter, advice};
use super::target::RemoteWriteTarget;
use crate::outputs::delivery::{DeliveryError, shown_duration};
use crate::outputs::push_client::{NoAnswer, PushAnswer};

/// The end of the path of Prometheus' receiver. Its other pages are beside it.
const WRITE_PATH: &str = "/api/v1/write";
/// The retention of Prometheus where nothing is set.
const DEFAULT_RETENTION: Duration = Duration::from_secs(15 * 86_400);

/// Why a target does not take requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ProbeError {
    /// The error.
    pub error: DeliveryError,
    /// Advice for the user.
    pub advice: &'static str,
}

/// A setting of a receiver that history needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSetting {
    /// The problem, in a few words.
    pub finding: String,
    /// The setting that solves it.
    pub advice: String,
}

/// The answer of Prometheus about its configuration or flags.
#[derive(Deserialize)]
struct StatusAnswer<T> {
    data: T,
}

#[derive(Deserialize)]
struct ConfigurationText {
    yaml: String,
}

#[derive(Deserialize)]
struct ReceiverFlags {
    #[serde(rename = "storage.tsdb.retention.time")]
    retention: Option<String>,
}

/// Sends an empty request, which stores nothing, and looks for settings that keep the receiver from
/// taking samples that are as old as `window`.
///
/// # Errors
/// [`ProbeError`] if the receiver does not take requests.
pub async fn probe(target: &RemoteWriteTarget, window: Duration) -> Result<Vec<MissingSetting>, ProbeError> {
    let mut writer = RemoteWriter::new(target.clone(), Vec::new());
    let sent = writer.send_empty().await;
    sent.map_err(|error| ProbeError { advice: advice(&error), error })?;
    let Some(base) = target.url.path().strip_suffix(WRITE_PATH) else { return Ok(Vec::new()) };
    let mut missing = Vec::new();
    if let Some(ConfigurationText { yaml }) = status(&mut writer, base, "config").await {
        missing.extend(missing_window(&yaml, window));
        let flags: Option<ReceiverFlags> = status(&mut writer, base, "flags").await;
        missing.extend(flags.and_then(|flags| short_retention(&yaml, flags.retention.as_deref(), window)));
    }
    Ok(missing)
}

/// Reads a page about the receiver; `None` where it has none, or may not be asked.
async fn status<T: for<'a> Deserialize<'a>>(writer: &mut RemoteWriter, base: &str, page: &str) -> Option<T> {
    let timeout = writer.client().target().timeout;
    let client = writer.client().current().await.ok()?;
    let answer: Result<PushAnswer, NoAnswer> =
        client.get(&format!("{base}/api/v1/status/{page}"), timeout).await;
    let answer = answer.ok().filter(|answer| answer.status.is_success())?;
    let answer: StatusAnswer<T> = serde_json::from_slice(&answer.body).ok()?;
    Some(answer.data)
}

/// The value of a key, wherever it is in the file. Prometheus writes its configuration itself, a
/// key on each line.
fn value_of<'a>(yaml: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.trim().strip_prefix(key)?.strip_prefix(':');
    yaml.lines().find_map(value).map(str::trim)
}

fn missing_window(yaml: &str, wanted: Duration) -> Option<MissingSetting> {
    const KEY: &str = "out_of_order_time_window";
    let found = value_of(yaml, KEY);
    let duration = found.and_then(|found| humantime::parse_duration(found).ok()).unwrap_or_default();
    if duration >= wanted {
        return None;
    }
    let wanted = shown_duration(wanted);
    let finding = match found.filter(|_| !duration.is_zero()) {
        Some(found) => format!("takes samples of the last {found} only"),
        None => "takes samples of about the last hour only".to_owned(),
    };
    let advice = format!("set storage.tsdb.{KEY} to {wanted} in the configuration file of Prometheus");
    Some(MissingSetting { finding, advice })
}

fn short_retention(yaml: &str, flag: Option<&str>, wanted: Duration) -> Option<MissingSetting> {
    let parse = |text: &str| humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    // Newer versions have it in the file, too, below `retention`.
    let in_file = value_of(yaml, "time").and_then(parse);
    let retention = flag.and_then(parse).or(in_file).unwrap_or(DEFAULT_RETENTION);
    if retention >= wanted {
        return None;
    }
    Some(MissingSetting {
        finding: format!("keeps samples for {} only", shown_duration(retention)),
        advice: format!(
            "start Prometheus with --storage.tsdb.retention.time={} or more",
            shown_duration(wanted)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Duration = Duration::from_secs(31 * 86_400);

    #[test]
    fn a_window_that_is_missing_or_too_short_is_named() {
        for (yaml, finding) in [
            ("global:\n  scrape_interval: 15s\n", Some("takes samples of about the last hour only")),
            (
                "storage:\n  tsdb:\n    out_of_order_time_window: 0s\n",
                Some("takes samples of about the last hour only"),
            ),
            (
                "storage:\n  tsdb:\n    out_of_order_time_window: 30m\n",
                Some("takes samples of the last 30m only"),
            ),
            ("storage:\n  tsdb:\n    out_of_order_time_window: 31d\n", None),
            ("storage:\n  tsdb:\n    out_of_order_time_window: 4w3d\n", None),
        ] {
            let found = missing_window(yaml, MONTH);
            assert_eq!(found.as_ref().map(|missing| missing.finding.as_str()), finding, "{yaml}");
        }
        let advice = missing_window("", MONTH).unwrap().advice;
        assert_eq!(
            advice,
            "set storage.tsdb.out_of_order_time_window to 31d in the configuration file of Prometheus"
        );
    }

    #[test]
    fn a_retention_that_is_too_short_is_named() {
        let finding = |yaml, flag| short_retention(yaml, flag, MONTH).map(|missing| missing.finding);
        assert_eq!(finding("", Some("0s")), Some("keeps samples for 15d only".to_owned()));
        assert_eq!(finding("", None), Some("keeps samples for 15d only".to_owned()));
        assert_eq!(finding("", Some("90d")), None);
        assert_eq!(finding("storage:\n  tsdb:\n    retention:\n      time: 1y\n", Some("0s")), None);
        let advice = short_retention("", None, MONTH).unwrap().advice;
        assert_eq!(advice, "start Prometheus with --storage.tsdb.retention.time=31d or more");
    }
}
