//! From one text to one valid value, wherever the text came from.
//!
//! Each function takes a [`SourcedValue`] and the row of its setting, and gives a value that can be
//! used as it is, or a [`Problem`] that says which values are right. Flags, variables, the file and
//! the defaults share these functions, so they accept the same and complain alike.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use url::Url;

use super::problem::{Problem, ValueOrigin, shown};
use super::setting::{Setting, ValueKind};
use super::table;
use crate::cryptolens::LogKind;
use crate::cryptolens::token::looks_like_a_token;
use crate::ingest::Since;
use crate::web::{BadListenAddress, ListenAddress};

/// A text and where it comes from. Without `Debug`, as the text may be a token.
#[derive(Clone)]
pub struct SourcedValue {
    /// The text.
    pub text: String,
    /// Who gave it.
    pub origin: ValueOrigin,
}

impl SourcedValue {
    /// The complaint about this text.
    pub fn bad(&self, expected: impl Into<String>) -> Problem {
        self.bad_as(shown(&self.text), expected)
    }

    /// The complaint about this text when it must not be shown, or better be shown otherwise.
    pub(super) fn bad_as(&self, found: impl Into<String>, expected: impl Into<String>) -> Problem {
        Problem::BadValue { origin: self.origin.clone(), found: found.into(), expected: expected.into() }
    }
}

/// A duration within the bounds of the row.
pub fn duration(found: &SourcedValue, setting: &Setting) -> Result<Duration, Problem> {
    let bad = || found.bad(setting.expected());
    let ValueKind::Duration { least, most } = setting.kind else { return Err(bad()) };
    let duration = humantime::parse_duration(found.text.trim()).map_err(|_| bad())?;
    if duration < least || duration > most { Err(bad()) } else { Ok(duration) }
}

/// A whole number within the bounds of the row.
pub fn integer<T>(found: &SourcedValue, setting: &Setting) -> Result<T, Problem>
where
    T: FromStr + Copy + TryInto<i128>,
{
    let bad = || found.bad(setting.expected());
    let ValueKind::Integer { least, most } = setting.kind else { return Err(bad()) };
    let number: T = found.text.trim().parse().map_err(|_| bad())?;
    let in_bounds =
        number.try_into().is_ok_and(|wide| (i128::from(least)..=i128::from(most)).contains(&wide));
    if in_bounds { Ok(number) } else { Err(bad()) }
}

/// A number within the bounds of the row.
pub fn number(found: &SourcedValue, setting: &Setting) -> Result<f64, Problem> {
    let bad = || found.bad(setting.expected());
    let ValueKind::Number { least, most } = setting.kind else { return Err(bad()) };
    let number: f64 = found.text.trim().parse().map_err(|_| bad())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(bad()) }
}

/// True or false, in the words that people write for it.
pub fn switch(found: &SourcedValue, setting: &Setting) -> Result<bool, Problem> {
    match found.text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(found.bad(setting.expected())),
    }
}

/// One of the names of the row, as what it stands for.
pub fn one_of<T: Copy>(found: &SourcedValue, setting: &Setting, values: &[(&str, T)]) -> Result<T, Problem> {
    let text = found.text.trim();
    let value = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    value.ok_or_else(|| found.bad(setting.expected()))
}

/// The value that a type reads from a text.
pub fn parsed<T: FromStr>(found: &SourcedValue, setting: &Setting) -> Result<T, Problem> {
    found.text.trim().parse().map_err(|_| found.bad(setting.expected()))
}

/// The items of a list, with commas in between.
pub fn list<T: FromStr>(found: &SourcedValue, setting: &Setting) -> Result<Vec<T>, Problem> {
    let item = |text: &str| text.trim().parse().map_err(|_| found.bad(setting.expected()));
    found.text.split(',').map(item).collect()
}

/// A text that is shown to everybody, so that a token must not slip in.
pub fn text(found: &SourcedValue, setting: &Setting) -> Result<String, Problem> {
    visible_text(found, setting.expected)
}

/// The same, for a text that is one of many in a setting.
pub(super) fn visible_text(found: &SourcedValue, expected: &str) -> Result<String, Problem> {
    let text = found.text.trim();
    if text.is_empty() || looks_like_a_token(text) { Err(found.bad(expected)) } else { Ok(text.to_owned()) }
}

/// A text with more than white space in it, unchanged.
pub fn not_blank(found: &SourcedValue, setting: &Setting) -> Result<String, Problem> {
    if found.text.trim().is_empty() { Err(found.bad(setting.expected)) } else { Ok(found.text.clone()) }
}

/// The path of a file that is used as it is typed.
pub fn file_path(found: &SourcedValue, setting: &Setting) -> Result<PathBuf, Problem> {
    if found.text.is_empty() {
        Err(found.bad(setting.expected))
    } else {
        Ok(Path::new(&found.text).to_owned())
    }
}

/// `--since`
pub(super) fn since(found: &SourcedValue, setting: &Setting) -> Result<Since, Problem> {
    // Far more than any log goes back, and far less than a calendar can subtract.
    const LONGEST_AGO: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    let text = found.text.trim();
    match text {
        "now" => return Ok(Since::Now),
        "all" => return Ok(Since::All),
        _ => {}
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(Since::At(date.and_time(NaiveTime::MIN).and_utc()));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::At(time.with_timezone(&Utc)));
    }
    match humantime::parse_duration(text) {
        Ok(ago) if !ago.is_zero() && ago <= LONGEST_AGO => Ok(Since::Ago(ago)),
        _ => Err(found.bad(setting.expected)),
    }
}

/// One name of a log.
fn log(found: &SourcedValue) -> Result<LogKind, Problem> {
    LogKind::from_name(found.text.trim()).ok_or_else(|| found.bad(table::LOGS.expected))
}

/// `--logs`, of which the file may give the items one by one. The result is sorted and holds each
/// log once.
pub(super) fn logs(items: &[SourcedValue]) -> Result<Vec<LogKind>, Vec<Problem>> {
    let mut logs = BTreeSet::new();
    let mut problems = Vec::new();
    for item in items {
        for name in item.text.split(',') {
            match log(&SourcedValue { text: name.to_owned(), origin: item.origin.clone() }) {
                Ok(log) => {
                    logs.insert(log);
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() { Ok(logs.into_iter().collect()) } else { Err(problems) }
}

/// `--api.url`, without a slash at its end (except for a URL without path, which always has one).
pub(super) fn api_url(found: &SourcedValue, setting: &Setting) -> Result<Url, Problem> {
    let expected = setting.expected;
    let text = found.text.trim();
    // The text that follows these may be a password or a token.
    if text.contains('@') {
        return Err(
            found.bad_as("a URL with user name or password (not shown)", format!("{expected}, without them"))
        );
    }
    if text.contains(['?', '#']) {
        return Err(
            found.bad_as("a URL with a query or fragment (not shown)", format!("{expected}, without them"))
        );
    }
    if looks_like_a_token(text) {
        return Err(found.bad(expected));
    }
    let mut url = Url::parse(text).map_err(|_| found.bad(expected))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(found.bad(expected));
    }
    // The service answers a doubled slash with an HTML page, so a path is joined with exactly one.
    // One within it is more likely a mistake of a template, such as an empty variable, than the
    // same path.
    let path = url.path().trim_end_matches('/').to_owned();
    if path.contains("//") {
        return Err(found.bad(format!("{expected}, with single slashes in its path")));
    }
    url.set_path(&path);
    Ok(url)
}

/// `--web.listen-address`
pub fn listen_address(found: &SourcedValue, setting: &Setting) -> Result<ListenAddress, Problem> {
    found.text.parse().map_err(|BadListenAddress| found.bad(setting.expected))
}

/// `--web.telemetry-path`
pub(super) fn telemetry_path(found: &SourcedValue, _: &Setting) -> Result<String, Problem> {
    let path = found.text.trim();
    let Some(segments) = path.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Err(found.bad("a path that begins with / and is longer than it, such as /metrics"));
    };
    if segments == "-" || segments.starts_with("-/") {
        return Err(found
            .bad("a path such as /metrics; /-/healthy, /-/ready and what else begins with /-/ are taken"));
    }
    if looks_like_a_token(path) {
        return Err(found.bad("a path such as /metrics"));
    }
    // Other characters of a URL would be escaped, resolved or read as a pattern on the way.
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    if segments.split('/').all(plain) {
        Ok(path.to_owned())
    } else {
        Err(found.bad("a path of letters, digits, and - _ . ~ between single slashes, such as /metrics"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn flag(text: &str) -> SourcedValue {
        SourcedValue { text: text.to_owned(), origin: ValueOrigin::Flag("--flag".to_owned()) }
    }

    #[test]
    fn since_in_all_its_forms() {
        let at = |text: &str| Since::At(text.parse().unwrap());
        for (text, expected) in [
            ("now", Since::Now),
            ("all", Since::All),
            ("30d", Since::Ago(30 * DAY)),
            ("1h 30m", Since::Ago(Duration::from_secs(5400))),
            ("2026-01-31", at("2026-01-31T00:00:00Z")),
            ("2026-01-31T08:00:00+02:00", at("2026-01-31T06:00:00Z")),
        ] {
            assert_eq!(since(&flag(text), &table::SINCE).unwrap(), expected, "{text}");
        }
        for text in
            ["", "0s", "30", "-3d", "yesterday", "2026-02-30", "2026-01-31T08:00:00", "9999999999y", "Now"]
        {
            since(&flag(text), &table::SINCE).unwrap_err();
        }
    }

    #[test]
    fn durations_keep_their_bounds() {
        assert_eq!(duration(&flag("600s"), &table::API_TIMEOUT).unwrap(), Duration::from_secs(600));
        assert_eq!(duration(&flag("1d"), &table::POLL_INTERVAL).unwrap(), DAY);
        assert_eq!(duration(&flag("0s"), &table::POLL_OVERLAP).unwrap(), Duration::ZERO);
        duration(&flag("999ms"), &table::API_TIMEOUT).unwrap_err();
        duration(&flag("601s"), &table::API_TIMEOUT).unwrap_err();
        duration(&flag("0s"), &table::POLL_INTERVAL).unwrap_err();
        duration(&flag("86401s"), &table::POLL_INTERVAL).unwrap_err();
        duration(&flag("24h 1s"), &table::POLL_OVERLAP).unwrap_err();
        duration(&flag("60"), &table::POLL_OVERLAP).unwrap_err();
    }

    #[test]
    fn urls_lose_their_last_slash() {
        for (text, expected) in [
            ("https://api.cryptolens.io/api/", "https://api.cryptolens.io/api"),
            ("https://api.cryptolens.io/api//", "https://api.cryptolens.io/api"),
            ("http://localhost:8080/api", "http://localhost:8080/api"),
            ("http://[::1]:1", "http://[::1]:1/"),
        ] {
            assert_eq!(api_url(&flag(text), &table::API_URL).unwrap().as_str(), expected);
        }
        for text in [
            "",
            "api.cryptolens.io/api",
            "ftp://x/api",
            "https://",
            "https://a:b@c/api",
            "https://c/api?token=x",
            "https://c//api",
            "https://c/a//api",
            "file:///etc",
        ] {
            api_url(&flag(text), &table::API_URL).unwrap_err();
        }
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        for text in
            ["https://me:hunter2@host/api", "https://host/api?token=hunter2", "https://host:port/#hunter2"]
        {
            let message = api_url(&flag(text), &table::API_URL).unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn listen_addresses_as_in_prometheus() {
        for (text, expected) in [
            ("0.0.0.0:10460", "0.0.0.0:10460"),
            (":10460", ":10460"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::]:0", "[::]:0"),
        ] {
            assert_eq!(listen_address(&flag(text), &table::LISTEN_ADDRESS).unwrap().to_string(), expected);
        }
        for text in ["", ":", "10460", "localhost", "0.0.0.0", ":+1", ":70000", "example.com:80"] {
            listen_address(&flag(text), &table::LISTEN_ADDRESS).unwrap_err();
        }
    }

    #[test]
    fn telemetry_paths() {
        for text in ["/metrics", "/a/b.c", "/-metrics"] {
            assert_eq!(telemetry_path(&flag(text), &table::TELEMETRY_PATH).unwrap(), text);
        }
        for text in [
            "",
            "/",
            "metrics",
            "//",
            "/a/",
            "/-/healthy",
            "/-/ready",
            "/-",
            "/{x}",
            "/a b",
            "/../a",
            "/:a",
            "/*a",
            "/a?b",
        ] {
            telemetry_path(&flag(text), &table::TELEMETRY_PATH).unwrap_err();
        }
    }

    #[test]
    fn logs_are_sorted_and_unique() {
        assert_eq!(logs(&[flag("objects, web_api,objects")]).unwrap(), [LogKind::WebApi, LogKind::Objects]);
        assert_eq!(logs(&[flag("web,event")]).unwrap_err().len(), 2);
        logs(&[flag("")]).unwrap_err();
    }

    proptest! {
        #[test]
        fn nothing_makes_a_value_panic(text in "\\PC*") {
            let found = flag(&text);
            for setting in table::SETTINGS {
                let _ = (since(&found, setting), duration(&found, setting), api_url(&found, setting));
                let _ = (listen_address(&found, setting), telemetry_path(&found, setting));
                let _ = (integer::<i64>(&found, setting), number(&found, setting), switch(&found, setting));
            }
            let _ = logs(std::slice::from_ref(&found));
        }
    }
}
