//! From one text to one valid value, wherever the text came from.
//!
//! Each function takes a [`Found`] and either gives a value that can be used as it is, or a [`Problem`] that says what
//! would be right. Flags, variables and the file share these functions, so they accept the same and complain alike.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use url::Url;

use super::problem::{Origin, Problem, shown};
use super::{BadListenAddress, ForeignLedger, ListenAddress, LogFormat, LogLevel, Since};
use crate::cryptolens::LogKind;
use crate::cryptolens::token::looks_like_a_token;

/// A text that was found, and where. Without `Debug`, as the text may be a token.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Found {
    /// The complaint about this text.
    pub(super) fn bad(&self, expected: impl Into<String>) -> Problem {
        self.bad_as(shown(&self.text), expected)
    }

    /// The complaint about this text when it must not be shown, or better be shown otherwise.
    pub(super) fn bad_as(&self, found: impl Into<String>, expected: impl Into<String>) -> Problem {
        Problem::BadValue { origin: self.origin.clone(), found: found.into(), expected: expected.into() }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `--api.timeout`
pub(super) fn timeout(found: &Found) -> Result<Duration, Problem> {
    duration(found, SECOND, Duration::from_secs(600), "a duration between 1s and 10m, such as 30s")
}

/// `--poll.interval` and its sisters
pub(super) fn interval(found: &Found) -> Result<Duration, Problem> {
    duration(found, SECOND, DAY, "a duration between 1s and 1d, such as 15s")
}

/// `--poll.overlap`
pub(super) fn overlap(found: &Found) -> Result<Duration, Problem> {
    duration(found, Duration::ZERO, DAY, "a duration between 0s and 24h, such as 60s")
}

fn duration(found: &Found, least: Duration, most: Duration, expected: &str) -> Result<Duration, Problem> {
    let duration = humantime::parse_duration(found.text.trim()).map_err(|_| found.bad(expected))?;
    if duration < least || duration > most { Err(found.bad(expected)) } else { Ok(duration) }
}

/// `--since`
pub(super) fn since(found: &Found) -> Result<Since, Problem> {
    // Far more than any log goes back, and far less than what a calendar can't subtract any more.
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
        _ => Err(found.bad(
            "now, all, a duration such as 30d, a date such as 2026-01-31 or a time such as 2026-01-31T08:00:00Z",
        )),
    }
}

/// One name of a log.
fn log(found: &Found) -> Result<LogKind, Problem> {
    LogKind::from_name(found.text.trim()).ok_or_else(|| found.bad("web_api, events or objects"))
}

/// `--logs`, of which the file may give the items one by one. The result is sorted and holds each log once.
pub(super) fn logs(items: &[Found]) -> Result<Vec<LogKind>, Vec<Problem>> {
    let mut logs = BTreeSet::new();
    let mut problems = Vec::new();
    for item in items {
        for name in item.text.split(',') {
            match log(&Found { text: name.to_owned(), origin: item.origin.clone() }) {
                Ok(log) => {
                    logs.insert(log);
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() { Ok(logs.into_iter().collect()) } else { Err(problems) }
}

/// `--api.url`, without a slash at its end (except for a URL without path, which can't be without).
pub(super) fn api_url(found: &Found) -> Result<Url, Problem> {
    const EXPECTED: &str = "an http or https URL, such as https://api.cryptolens.io/api";
    let text = found.text.trim();
    // What follows these may be a password or a token.
    if text.contains('@') {
        return Err(
            found.bad_as("a URL with user name or password (not shown)", format!("{EXPECTED}, without them"))
        );
    }
    if text.contains(['?', '#']) {
        return Err(
            found.bad_as("a URL with a query or fragment (not shown)", format!("{EXPECTED}, without them"))
        );
    }
    if looks_like_a_token(text) {
        return Err(found.bad(EXPECTED));
    }
    let mut url = Url::parse(text).map_err(|_| found.bad(EXPECTED))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(found.bad(EXPECTED));
    }
    // The service answers a doubled slash with an HTML page, so a path is joined with exactly one. One within it is more
    // likely a mistake of a template, such as an empty variable, than the same path.
    let path = url.path().trim_end_matches('/').to_owned();
    if path.contains("//") {
        return Err(found.bad(format!("{EXPECTED}, with single slashes in its path")));
    }
    url.set_path(&path);
    Ok(url)
}

/// `--web.listen-address`
pub(super) fn listen_address(found: &Found) -> Result<ListenAddress, Problem> {
    found.text.parse().map_err(|BadListenAddress| found.bad(ListenAddress::EXPECTED))
}

/// `--web.telemetry-path`
pub(super) fn telemetry_path(found: &Found) -> Result<String, Problem> {
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
    // Whatever else an URL may hold would be escaped, resolved or taken for a pattern on the way.
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

/// `--log.level`
pub(super) fn log_level(found: &Found) -> Result<LogLevel, Problem> {
    match found.text.trim() {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err(found.bad("error, warn, info, debug or trace")),
    }
}

/// `--storage.foreign-ledger`
pub(super) fn foreign_ledger(found: &Found) -> Result<ForeignLedger, Problem> {
    match found.text.trim() {
        "refuse" => Ok(ForeignLedger::Refuse),
        "adopt" => Ok(ForeignLedger::Adopt),
        "set-aside" => Ok(ForeignLedger::SetAside),
        _ => Err(found.bad("refuse, adopt or set-aside")),
    }
}

/// `--log.format`
pub(super) fn log_format(found: &Found) -> Result<LogFormat, Problem> {
    match found.text.trim() {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        _ => Err(found.bad("logfmt or json")),
    }
}

/// A whole number within bounds.
pub(super) fn whole_number<T>(
    found: &Found,
    bounds: impl std::ops::RangeBounds<T>,
    expected: &str,
) -> Result<T, Problem>
where
    T: FromStr + PartialOrd,
{
    let number = found.text.trim().parse().ok();
    number.filter(|number| bounds.contains(number)).ok_or_else(|| found.bad(expected))
}

/// A text that is needed for showing.
pub(super) fn text(found: &Found, expected: &str) -> Result<String, Problem> {
    let text = found.text.trim();
    // It is shown to everybody, so that a token must not slip in.
    if text.is_empty() || looks_like_a_token(text) { Err(found.bad(expected)) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flag(text: &str) -> Found {
        Found { text: text.to_owned(), origin: Origin::Flag("--flag") }
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
            assert_eq!(since(&flag(text)).unwrap(), expected, "{text}");
        }
        for text in
            ["", "0s", "30", "-3d", "yesterday", "2026-02-30", "2026-01-31T08:00:00", "9999999999y", "Now"]
        {
            since(&flag(text)).unwrap_err();
        }
    }

    #[test]
    fn durations_keep_their_bounds() {
        assert_eq!(timeout(&flag("600s")).unwrap(), Duration::from_secs(600));
        assert_eq!(interval(&flag("1d")).unwrap(), DAY);
        assert_eq!(overlap(&flag("0s")).unwrap(), Duration::ZERO);
        timeout(&flag("999ms")).unwrap_err();
        timeout(&flag("601s")).unwrap_err();
        interval(&flag("0s")).unwrap_err();
        interval(&flag("86401s")).unwrap_err();
        overlap(&flag("24h 1s")).unwrap_err();
        overlap(&flag("60")).unwrap_err();
    }

    #[test]
    fn urls_lose_their_last_slash() {
        for (text, expected) in [
            ("https://api.cryptolens.io/api/", "https://api.cryptolens.io/api"),
            ("https://api.cryptolens.io/api//", "https://api.cryptolens.io/api"),
            ("http://localhost:8080/api", "http://localhost:8080/api"),
            ("http://[::1]:1", "http://[::1]:1/"),
        ] {
            assert_eq!(api_url(&flag(text)).unwrap().as_str(), expected);
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
            api_url(&flag(text)).unwrap_err();
        }
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        for text in
            ["https://me:hunter2@host/api", "https://host/api?token=hunter2", "https://host:port/#hunter2"]
        {
            let message = api_url(&flag(text)).unwrap_err().to_string();
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
            assert_eq!(listen_address(&flag(text)).unwrap().to_string(), expected);
        }
        for text in ["", ":", "10460", "localhost", "0.0.0.0", ":+1", ":70000", "example.com:80"] {
            listen_address(&flag(text)).unwrap_err();
        }
    }

    #[test]
    fn telemetry_paths() {
        for text in ["/metrics", "/a/b.c", "/-metrics"] {
            assert_eq!(telemetry_path(&flag(text)).unwrap(), text);
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
            telemetry_path(&flag(text)).unwrap_err();
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
            let _ = (since(&found), timeout(&found), api_url(&found), listen_address(&found), telemetry_path(&found));
            let _ = (logs(std::slice::from_ref(&found)), whole_number::<i64>(&found, 1.., ""));
        }
    }
}
