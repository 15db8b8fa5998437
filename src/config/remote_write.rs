//! The targets that history is written to: one by flag or variable, or the list in the file, where
//! credentials and TLS have the names that Prometheus gives them.
//!
//! Promises: names are unique, every file that a target names could be read and used, and neither a
//! password nor the value of a header is ever shown.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::file::FileTarget;
use super::problem::{Problem, ValueOrigin};
use super::setting::Setting;
use super::sources::{SourceLevel, Sources};
use super::table;
use super::value::{self, SourcedValue};
use crate::cryptolens::token::looks_like_a_token;
use crate::http;
use crate::outputs::PushHeaders;
use crate::outputs::remote_write::{RemoteWriteTarget, TargetCredentials, TargetTls, default_name};

/// Headers that remote write itself or the credentials need.
pub(super) const RESERVED_HEADERS: [&str; 7] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// The targets, in their order; what is wrong is noted, and what is valid but better changed is
/// added to the warnings.
pub(super) fn resolve(sources: &mut Sources<'_>, warnings: &mut Vec<String>) -> Vec<RemoteWriteTarget> {
    let typed = [SourceLevel::Flag, SourceLevel::Variable]
        .into_iter()
        .find_map(|level| sources.at(level, &table::REMOTE_WRITE_URL));
    let mut targets = listed(sources);
    if let Some(found) = typed {
        // The entry of the list with this URL lends it its name and credentials.
        let url = sources.noted(url(&found, &table::REMOTE_WRITE_URL));
        let named = |url: Url| {
            let entry = targets.iter().find(|target| target.url == url).cloned();
            entry.unwrap_or_else(|| with_proxy(RemoteWriteTarget::of(url), sources))
        };
        targets = url.map(named).into_iter().collect();
    }
    for target in &targets {
        let is_remote = target.url.scheme() == "http" && !http::is_loopback(&target.url);
        if is_remote && target.credentials.is_some() {
            warnings.push(format!(
                "history.remote_write: the credentials of {} travel unencrypted, use https://",
                target.name
            ));
        }
        if target.tls.insecure_skip_verify {
            warnings.push(format!(
                "history.remote_write: the certificate of {} is not verified (insecure_skip_verify)",
                target.name
            ));
        }
    }
    targets
}

fn with_proxy(target: RemoteWriteTarget, sources: &Sources<'_>) -> RemoteWriteTarget {
    let proxy = super::proxy::choose(&target.url, sources.environment).proxy;
    RemoteWriteTarget { proxy, ..target }
}

fn listed(sources: &mut Sources<'_>) -> Vec<RemoteWriteTarget> {
    let entries = sources.file.targets.clone();
    let mut targets: Vec<RemoteWriteTarget> = Vec::new();
    let mut lines: Vec<u64> = Vec::new();
    for entry in &entries {
        let Some(target) = target(sources, entry) else { continue };
        let origin = entry.value(&table::TARGET_NAME).map(|found| found.origin.clone());
        let origin = match origin {
            Some(ValueOrigin::File(origin)) => origin,
            _ => entry.origin.clone(),
        };
        let first = targets.iter().position(|other| other.name == target.name);
        if let Some(first_line) = first.and_then(|first| lines.get(first).copied()) {
            sources.problems.push(Problem::Duplicate { origin, value: target.name, first_line });
            continue;
        }
        lines.push(origin.place.line);
        targets.push(target);
    }
    targets
}

/// One entry of the list; `None` if something is wrong with it, which is noted.
fn target(sources: &mut Sources<'_>, entry: &FileTarget) -> Option<RemoteWriteTarget> {
    let sound = sources.problems.len();
    let url = one(sources, entry, &table::TARGET_URL, url);
    let name = one(sources, entry, &table::TARGET_NAME, value::text);
    let timeout = one(sources, entry, &table::TARGET_TIMEOUT, value::duration);
    let headers = headers(sources, entry);
    let credentials = credentials(sources, entry);
    let tls = tls(sources, entry);
    let url = url?;
    let target = RemoteWriteTarget {
        name: name.unwrap_or_else(|| default_name(&url)),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        headers,
        credentials,
        tls,
        ..RemoteWriteTarget::of(url)
    };
    let target = with_proxy(target, sources);
    if sources.problems.len() > sound {
        return None;
    }
    let origin = ValueOrigin::File(entry.origin.clone());
    if target.tls.server_name.is_some() && target.proxy.is_some() {
        sources.problems.push(Problem::BadValue {
            origin,
            found: "tls_config.server_name and a proxy".to_owned(),
            expected: "one of them, or the host of url in NO_PROXY".to_owned(),
        });
        return None;
    }
    let files = target.read_files(|path| sources.environment.read_file(path));
    let valid = files.and_then(|files| target.validate(&files));
    let bad = valid.map_err(|error| Problem::BadFile { origin, path: error.path, reason: error.reason });
    sources.noted(bad).map(|()| target)
}

/// The value of a row in an entry, if it is there and valid.
fn one<T>(
    sources: &mut Sources<'_>,
    entry: &FileTarget,
    setting: &Setting,
    parse: impl FnOnce(&SourcedValue, &Setting) -> Result<T, Problem>,
) -> Option<T> {
    let parsed = parse(entry.value(setting)?, setting);
    sources.noted(parsed)
}

fn path(sources: &mut Sources<'_>, entry: &FileTarget, setting: &Setting) -> Option<PathBuf> {
    sources.path_of(entry.value(setting)?, setting)
}

fn url(found: &SourcedValue, setting: &Setting) -> Result<Url, Problem> {
    // A password may follow.
    if found.text.contains('@') {
        return Err(found.bad_as("a URL with user name or password (not shown)", setting.expected));
    }
    let url = Url::parse(found.text.trim()).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or_else(|| found.bad_as("something else (not shown, as it may be secret)", setting.expected))
}

fn headers(sources: &mut Sources<'_>, entry: &FileTarget) -> PushHeaders {
    let mut headers = PushHeaders::default();
    for (name, value) in &entry.headers {
        let is_reserved =
            RESERVED_HEADERS.iter().any(|reserved| name.text.trim().eq_ignore_ascii_case(reserved));
        let added = if is_reserved {
            let expected = "another header: credentials belong below basic_auth or authorization";
            Err(name.bad(expected))
        } else {
            let bad = || {
                let found = "something else (not shown, as it may be a password)";
                value.bad_as(found, "the name of a header and a text without line breaks")
            };
            let is_text = !value.text.trim().is_empty();
            let inserted = headers.insert(name.text.trim(), value.text.trim()).filter(|()| is_text);
            inserted.ok_or_else(bad)
        };
        sources.noted(added);
    }
    headers
}

fn credentials(sources: &mut Sources<'_>, entry: &FileTarget) -> Option<TargetCredentials> {
    if let (Some(_), Some(second)) = (entry.map("basic_auth"), entry.map("authorization")) {
        sources.problems.push(Problem::BadValue {
            origin: ValueOrigin::File(second.clone()),
            found: "basic_auth and authorization".to_owned(),
            expected: "one of them".to_owned(),
        });
        return None;
    }
    if entry.map("basic_auth").is_some() {
        let username = one(sources, entry, &table::TARGET_USERNAME, |found, setting| {
            let name = value::text(found, setting)?;
            if name.contains(':') { Err(found.bad(setting.expected)) } else { Ok(name) }
        });
        let password_file = path(sources, entry, &table::TARGET_PASSWORD_FILE);
        return Some(TargetCredentials::Basic { username: username?, password_file: password_file? });
    }
    entry.map("authorization")?;
    let scheme = one(sources, entry, &table::TARGET_AUTHORIZATION_TYPE, |found, setting| {
        let scheme = found.text.trim();
        // Credentials in place of the scheme are the mistake to expect.
        let is_word = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_word = is_word && (1..=40).contains(&scheme.len()) && !looks_like_a_token(scheme);
        is_word
            .then(|| scheme.to_owned())
            .ok_or_else(|| found.bad_as("something else (not shown, as it may be secret)", setting.expected))
    });
    let credentials_file = path(sources, entry, &table::TARGET_CREDENTIALS_FILE);
    let scheme = scheme.unwrap_or_else(|| table::TARGET_AUTHORIZATION_TYPE.default.shown().to_owned());
    Some(TargetCredentials::Authorization { scheme, credentials_file: credentials_file? })
}

fn tls(sources: &mut Sources<'_>, entry: &FileTarget) -> TargetTls {
    let ca_file = path(sources, entry, &table::TARGET_CA_FILE);
    let certificate = path(sources, entry, &table::TARGET_CERT_FILE);
    let key = path(sources, entry, &table::TARGET_KEY_FILE);
    let missing = match (&certificate, &key) {
        (Some(_), None) => Some(("key_file", &table::TARGET_KEY_FILE)),
        (None, Some(_)) => Some(("cert_file", &table::TARGET_CERT_FILE)),
        _ => None,
    };
    if let (Some((key, setting)), Some(origin)) = (missing, entry.map("tls_config")) {
        let (origin, expected) = (origin.clone(), setting.expected);
        sources.problems.push(Problem::MissingKey { origin, key, expected });
    }
    let server_name = one(sources, entry, &table::TARGET_SERVER_NAME, |found, setting| {
        let name = value::text(found, setting)?;
        // Only a name of the DNS can be asked for in the handshake.
        let is_name = matches!(url::Host::parse(&name), Ok(url::Host::Domain(_)));
        if is_name { Ok(name) } else { Err(found.bad(setting.expected)) }
    });
    let insecure_skip_verify = one(sources, entry, &table::TARGET_SKIP_VERIFY, value::switch);
    TargetTls {
        ca_file,
        identity: certificate.zip(key),
        server_name,
        insecure_skip_verify: insecure_skip_verify.unwrap_or_default(),
    }
}
