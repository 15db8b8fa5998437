//! The file of `--web.config.file`, in the format of Prometheus exporter-toolkit.
//!
//! A file that the toolkit takes means the same here. Unknown keys, unknown names and values that
//! are not valid are errors that name the file, line, column and key. An error never quotes the
//! file, as it holds keys and password hashes.
//!
//! This module reads text only; [`super::tls`] and [`super::auth`] make something of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::Deserialize;
use serde_saphyr::{DuplicateKeyPolicy, Error, ExternalMessageSource, Location, Spanned};

use super::auth::PasswordHash;

/// The headers that may be set, and their values if only some are allowed; as in the toolkit.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// A web configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct WebConfigError {
    file: PathBuf,
    /// Line and column, from 1.
    place: Option<(u64, u64)>,
    key: Option<String>,
    problem: String,
}

impl fmt::Display for WebConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Where a value is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPlace {
    file: PathBuf,
    place: Option<(u64, u64)>,
    key: String,
}

impl KeyPlace {
    /// The complaint about the value.
    pub(super) fn bad(&self, problem: impl Into<String>) -> WebConfigError {
        let KeyPlace { file, place, key } = self.clone();
        WebConfigError { file, place, key: Some(key), problem: problem.into() }
    }
}

impl fmt::Display for KeyPlace {
    /// The beginning of a warning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.place.map(|(line, _)| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.file.display(), self.key)
    }
}

/// A text of the file, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: KeyPlace,
}

/// A certificate or a key: in the file itself, or the path of its own file.
#[derive(Clone)]
pub(super) enum Pem {
    /// The text.
    Inline(SecretString),
    /// A path that is relative to the process, not to the file.
    File(PathBuf),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Inline(_) => f.write_str("inline"),
            Pem::File(path) => path.fmt(f),
        }
    }
}

/// Who has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// Nobody.
    None,
    /// Nobody, but a certificate that is shown has to be good.
    IfGiven,
    /// Everybody.
    Required,
}

/// A version of TLS that can be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

/// `tls_server_config`
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) certificate: Placed<Pem>,
    pub(super) key: Placed<Pem>,
    pub(super) client_ca: Option<Placed<Pem>>,
    pub(super) client_auth: Placed<ClientAuth>,
    /// Empty for anyone whose certificate is good.
    pub(super) client_allowed_sans: Vec<String>,
    pub(super) min_version: TlsVersion,
    pub(super) max_version: Placed<TlsVersion>,
    /// Names, in Go's spelling; none for all.
    pub(super) cipher_suites: Vec<Placed<String>>,
    /// Names, in Go's spelling; none for all.
    pub(super) curve_preferences: Vec<Placed<String>>,
}

/// `rate_limit`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimit {
    /// Between two requests; more than zero.
    pub(super) interval: Duration,
    /// Requests at once.
    pub(super) burst: u32,
}

/// The content of the file.
#[derive(Debug, Clone)]
pub(super) struct WebConfig {
    pub(super) tls: Option<TlsSettings>,
    pub(super) http2: bool,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) users: BTreeMap<String, PasswordHash>,
    pub(super) rate_limit: Option<RateLimit>,
    /// The file says nothing at all.
    pub(super) is_empty: bool,
    /// Valid settings whose effect may surprise.
    pub(super) warnings: Vec<String>,
}

type OptionalText = Option<Spanned<String>>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileSections {
    tls_server_config: Option<TlsSection>,
    http_server_config: Option<HttpSection>,
    basic_auth_users: Option<BTreeMap<String, Spanned<Option<String>>>>,
    rate_limit: Option<RateLimitSection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TlsSection {
    cert: OptionalText,
    key: OptionalText,
    client_ca: OptionalText,
    cert_file: OptionalText,
    key_file: OptionalText,
    client_auth_type: OptionalText,
    client_ca_file: OptionalText,
    client_allowed_sans: Option<Vec<String>>,
    min_version: OptionalText,
    max_version: OptionalText,
    cipher_suites: Option<Vec<Spanned<String>>>,
    curve_preferences: Option<Vec<Spanned<String>>>,
    /// Without effect in the toolkit as well: the server chooses.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HttpSection {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, Spanned<Option<String>>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RateLimitSection {
    interval: OptionalText,
    burst: Option<Spanned<i64>>,
}

impl WebConfig {
    /// Reads the text of a file. Paths in it are relative to the file.
    pub(super) fn parse(file: &Path, text: &str) -> Result<WebConfig, WebConfigError> {
        let options = serde_saphyr::options! {
            // A snippet of the source may hold a key or a hash.
            with_snippet: false,
            duplicate_keys: DuplicateKeyPolicy::Error,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        };
        let only_comments =
            text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---");
        let sections: Option<FileSections> = if only_comments {
            None
        } else {
            serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(file, text, &error))?
        };
        let is_empty = sections.is_none();
        let FileSections { tls_server_config, http_server_config, basic_auth_users, rate_limit } =
            sections.unwrap_or_default();
        let http = http_server_config.unwrap_or_default();
        let http2 = http.http2.unwrap_or(true);
        let reader = SectionReader { file, warnings: Vec::new() };
        reader.config(tls_server_config, http2, http.headers, basic_auth_users, rate_limit, is_empty)
    }
}

/// Turns sections into settings, and collects warnings.
struct SectionReader<'a> {
    file: &'a Path,
    warnings: Vec<String>,
}

impl SectionReader<'_> {
    fn config(
        mut self,
        tls: Option<TlsSection>,
        http2: bool,
        headers: Option<BTreeMap<String, Spanned<Option<String>>>>,
        users: Option<BTreeMap<String, Spanned<Option<String>>>>,
        rate_limit: Option<RateLimitSection>,
        is_empty: bool,
    ) -> Result<WebConfig, WebConfigError> {
        let tls = tls.map(|section| self.tls(section)).transpose()?.flatten();
        let headers = self.headers(headers.unwrap_or_default())?;
        let users = self.users(users.unwrap_or_default())?;
        let rate_limit = rate_limit.map(|section| self.rate_limit(&section)).transpose()?.flatten();
        Ok(WebConfig { tls, http2, headers, users, rate_limit, is_empty, warnings: self.warnings })
    }

    fn place(&self, key: impl Into<String>, location: Location) -> KeyPlace {
        KeyPlace { file: self.file.to_owned(), place: known(location), key: key.into() }
    }

    fn placed<T>(&self, key: &str, value: Spanned<T>) -> Placed<T> {
        Placed { place: self.place(key, value.defined), value: value.value }
    }

    /// A text that is there and not empty. The toolkit takes an empty one for none.
    fn text(&self, key: &str, text: OptionalText) -> Option<Placed<String>> {
        let text = text.filter(|text| !text.value.is_empty())?;
        Some(self.placed(&format!("tls_server_config.{key}"), text))
    }

    /// The file wins over the inline text if both are given, as in the toolkit.
    fn pem(
        &self,
        file_key: &str,
        path: OptionalText,
        inline_key: &str,
        text: OptionalText,
    ) -> Option<Placed<Pem>> {
        if let Some(Placed { value, place }) = self.text(file_key, path) {
            let folder = self.file.parent().unwrap_or(Path::new(""));
            return Some(Placed { value: Pem::File(folder.join(value)), place });
        }
        let Placed { value, place } = self.text(inline_key, text)?;
        Some(Placed { value: Pem::Inline(value.into()), place })
    }

    /// `None` if the section says nothing, which means plain HTTP.
    fn tls(&mut self, section: TlsSection) -> Result<Option<TlsSettings>, WebConfigError> {
        let client_auth = self.text("client_auth_type", section.client_auth_type);
        let certificate = self.pem("cert_file", section.cert_file, "cert", section.cert);
        let key = self.pem("key_file", section.key_file, "key", section.key);
        let client_ca = self.pem("client_ca_file", section.client_ca_file, "client_ca", section.client_ca);
        if certificate.is_none() && key.is_none() && client_ca.is_none() && client_auth.is_none() {
            return Ok(None);
        }
        let whole = self.place("tls_server_config", Location::UNKNOWN);
        let certificate = certificate.ok_or_else(|| whole.bad("missing one of cert or cert_file"))?;
        let key = key.ok_or_else(|| whole.bad("missing one of key or key_file"))?;
        let client_auth = match client_auth {
            Some(name) => self.client_auth(&name)?,
            None => Placed {
                value: ClientAuth::None,
                place: self.place("tls_server_config.client_auth_type", Location::UNKNOWN),
            },
        };
        let client_allowed_sans = section.client_allowed_sans.unwrap_or_default();
        match (client_auth.value, &client_ca) {
            (ClientAuth::None, Some(ca)) => {
                return Err(ca.place.bad(
                    "it has no effect without client_auth_type; set RequireAndVerifyClientCert, or remove it",
                ));
            }
            (ClientAuth::Required, None) => {
                return Err(client_auth.place.bad(
                    "RequireAndVerifyClientCert needs client_ca_file or client_ca; authorities of the system are not used",
                ));
            }
            (ClientAuth::IfGiven, None) => self.warnings.push(format!(
                "{}: without client_ca_file or client_ca, no client is asked for a certificate",
                client_auth.place
            )),
            _ => {}
        }
        if client_auth.value == ClientAuth::None && !client_allowed_sans.is_empty() {
            self.warnings.push(format!(
                "{}: tls_server_config.client_allowed_sans has no effect without client_auth_type RequireAndVerifyClientCert",
                self.file.display()
            ));
        }
        let min = self.text("min_version", section.min_version);
        let min_version = min.map(|name| self.min_version(&name)).transpose()?.unwrap_or(TlsVersion::Tls12);
        let max_version = match self.text("max_version", section.max_version) {
            Some(name) => max_version(name)?,
            None => Placed {
                value: TlsVersion::Tls13,
                place: self.place("tls_server_config.max_version", Location::UNKNOWN),
            },
        };
        if min_version > max_version.value {
            return Err(max_version.place.bad("it is below min_version, so that no client could connect"));
        }
        let names = |key: &str, names: Option<Vec<Spanned<String>>>| {
            let names = names.unwrap_or_default().into_iter();
            names.map(|name| self.placed(&format!("tls_server_config.{key}"), name)).collect()
        };
        let cipher_suites = names("cipher_suites", section.cipher_suites);
        let curve_preferences = names("curve_preferences", section.curve_preferences);
        Ok(Some(TlsSettings {
            certificate,
            key,
            client_ca,
            client_auth,
            client_allowed_sans,
            min_version,
            max_version,
            cipher_suites,
            curve_preferences,
        }))
    }

    fn client_auth(&self, name: &Placed<String>) -> Result<Placed<ClientAuth>, WebConfigError> {
        let value = match name.value.as_str() {
            "NoClientCert" => ClientAuth::None,
            "VerifyClientCertIfGiven" => ClientAuth::IfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::Required,
            other @ ("RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert") => {
                return Err(name.place.bad(format!(
                    "{other} is not supported, because it accepts any certificate without verifying it; use RequireAndVerifyClientCert"
                )));
            }
            _ => {
                return Err(name.place.bad(
                    "unknown name; expected NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
                ));
            }
        };
        Ok(Placed { value, place: name.place.clone() })
    }

    fn min_version(&mut self, name: &Placed<String>) -> Result<TlsVersion, WebConfigError> {
        match name.value.as_str() {
            old @ ("TLS10" | "TLS11") => {
                self.warnings.push(format!("{}: {old} is not supported; TLS12 is used instead", name.place));
                Ok(TlsVersion::Tls12)
            }
            "TLS12" => Ok(TlsVersion::Tls12),
            "TLS13" => Ok(TlsVersion::Tls13),
            _ => Err(name.place.bad("unknown version; expected TLS12 or TLS13")),
        }
    }

    fn headers(
        &self,
        headers: BTreeMap<String, Spanned<Option<String>>>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, WebConfigError> {
        let mut result = Vec::new();
        for (name, value) in headers {
            let place = self.place(format!("http_server_config.headers.{}", shown(&name)), value.defined);
            let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
                let names = HEADERS.map(|(name, _)| name).join(", ");
                return Err(place.bad(format!("this header cannot be configured; expected one of {names}")));
            };
            let value = value.value.unwrap_or_default();
            if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
                return Err(place.bad(format!("expected {}", allowed.join(" or "))));
            }
            let bad = |_| place.bad("it is no valid value of a header");
            let name = HeaderName::from_str(&name).map_err(|_| place.bad("it is no name of a header"))?;
            result.push((name, HeaderValue::from_str(&value).map_err(bad)?));
        }
        Ok(result)
    }

    fn users(
        &mut self,
        users: BTreeMap<String, Spanned<Option<String>>>,
    ) -> Result<BTreeMap<String, PasswordHash>, WebConfigError> {
        let mut result = BTreeMap::new();
        for (name, hash) in users {
            let place = self.place(format!("basic_auth_users.{}", shown(&name)), hash.defined);
            let hash = PasswordHash::parse(&hash.value.unwrap_or_default()).ok_or_else(|| {
                place.bad("expected a bcrypt hash, such as the output of htpasswd -nBC 10 \"\"")
            })?;
            if hash.is_slow() {
                self.warnings.push(format!(
                    "{place}: the cost of the hash is {}, so that a password takes seconds to check; 10 to 12 is usual",
                    hash.cost()
                ));
            }
            result.insert(name, hash);
        }
        Ok(result)
    }

    fn rate_limit(&mut self, section: &RateLimitSection) -> Result<Option<RateLimit>, WebConfigError> {
        let interval = match &section.interval {
            None => Duration::ZERO,
            Some(text) => go_duration(&text.value).ok_or_else(|| {
                let place = self.place("rate_limit.interval", text.defined);
                place.bad("expected a duration, such as 1s or 500ms")
            })?,
        };
        let burst = match &section.burst {
            None => 0,
            Some(burst) => u32::try_from(burst.value).map_err(|_| {
                let place = self.place("rate_limit.burst", burst.defined);
                place.bad("expected a number of requests")
            })?,
        };
        if interval.is_zero() {
            return Ok(None);
        }
        if burst == 0 {
            self.warnings.push(format!(
                "{}: rate_limit.burst is 0, so that every request is answered 429",
                self.file.display()
            ));
        }
        Ok(Some(RateLimit { interval, burst }))
    }
}

fn max_version(name: Placed<String>) -> Result<Placed<TlsVersion>, WebConfigError> {
    let value = match name.value.as_str() {
        "TLS12" => TlsVersion::Tls12,
        "TLS13" => TlsVersion::Tls13,
        old @ ("TLS10" | "TLS11") => {
            let problem =
                format!("{old} is not supported, so that no client could connect; expected TLS12 or TLS13");
            return Err(name.place.bad(problem));
        }
        _ => return Err(name.place.bad("unknown version; expected TLS12 or TLS13")),
    };
    Ok(Placed { value, place: name.place })
}

/// A file that cannot be read.
pub(super) fn unreadable(file: &Path, problem: impl fmt::Display) -> WebConfigError {
    WebConfigError { file: file.to_owned(), place: None, key: None, problem: problem.to_string() }
}

/// A name as a message may show it: short, and on one line.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    let more = if short.len() < name.len() { "..." } else { "" };
    format!("{}{more}", short.escape_debug())
}

fn known(location: Location) -> Option<(u64, u64)> {
    (location.line() > 0).then(|| (location.line(), location.column()))
}

/// Every key that the file may have; an error can name it without showing anything else.
const KEYS: [&str; 23] = [
    "tls_server_config",
    "http_server_config",
    "basic_auth_users",
    "rate_limit",
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "curve_preferences",
    "prefer_server_cipher_suites",
    "http2",
    "headers",
    "interval",
    "burst",
    "X-Frame-Options",
    "X-XSS-Protection",
];

/// The complaint of the YAML reader, in words that quote nothing but keys.
fn syntax(file: &Path, text: &str, error: &Error) -> WebConfigError {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let place = error.location().and_then(known);
    let line_of = |(line, _): (u64, u64)| text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?);
    let key_of = |line: &str| {
        let key = line.trim().trim_start_matches("- ").split(':').next()?.trim_matches(['"', '\'', ' ']);
        KEYS.contains(&key).then(|| key.to_owned())
    };
    let mut key = place.and_then(line_of).and_then(key_of);
    let problem = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            key = None;
            format!("unknown key {}; expected one of {}", shown(field), expected.join(", "))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {} is given twice in one map", shown(key))
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice in one map".to_owned(),
        Error::MultipleDocuments { .. } => "expected one YAML document".to_owned(),
        Error::ExternalMessage { source, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(scan) => format!("not valid YAML: {}", scan.kind()),
            _ => "not valid YAML".to_owned(),
        },
        Error::InvalidScalar { ty, .. } => format!("expected a value of type {ty}"),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            format!("expected {}", shown(expected))
        }
        Error::Unexpected { expected, .. } => format!("expected {expected}"),
        _ => "expected a map of sections, as in the documentation of exporter-toolkit".to_owned(),
    };
    WebConfigError { file: file.to_owned(), place, key, problem }
}

/// A duration in Go's notation, such as `1.5s` or `1m30s`, or a number of nanoseconds.
fn go_duration(text: &str) -> Option<Duration> {
    let nanoseconds = |number: f64, unit: f64| {
        let value = number * unit;
        (value.is_finite() && (0.0..9.2e18).contains(&value)).then_some(value)
    };
    if let Ok(number) = text.parse::<u64>() {
        return Some(Duration::from_nanos(number));
    }
    let mut total = 0.0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += nanoseconds(number, unit)?;
        rest = next;
    }
    Some(Duration::from_nanos(nanoseconds(total, 1.0)? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu";

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(Path::new("/etc/web.yml"), text).map_err(|error| error.to_string())
    }

    fn complaint(text: &str) -> String {
        let complaint = parse(text).err().unwrap();
        assert!(!complaint.contains("secret"), "{complaint}");
        complaint
    }

    #[test]
    fn a_file_that_says_nothing_leaves_all_open() {
        for text in ["", "# nothing\n", "---\n", "tls_server_config:\n", "tls_server_config: {}\n", "{}"] {
            let config = parse(text).unwrap();
            assert!(config.tls.is_none() && config.http2 && config.users.is_empty(), "{text}");
            assert_eq!(config.is_empty, !text.contains('{') && !text.contains("tls"), "{text}");
        }
    }

    #[test]
    fn every_key_of_the_toolkit_is_taken() {
        let text = format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: /keys/server.key\n  client_ca_file: ca.pem\n  \
             client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [one, 10.0.0.1]\n  min_version: TLS12\n  \
             max_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n  \
             prefer_server_cipher_suites: false\n\
             http_server_config:\n  http2: no\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: 1\n    \
             Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-Content-Type-Options: nosniff\n    \
             Content-Security-Policy: \"default-src 'self'\"\n\
             basic_auth_users:\n  alice: {HASH}\n  bob: '{HASH}'\nrate_limit:\n  interval: 1.5s\n  burst: 3\n"
        );
        let config = parse(&text).unwrap();
        let tls = config.tls.unwrap();
        assert!(matches!(&tls.certificate.value, Pem::File(path) if path == Path::new("/etc/server.crt")));
        assert!(matches!(&tls.key.value, Pem::File(path) if path == Path::new("/keys/server.key")));
        assert_eq!((tls.client_auth.value, tls.client_allowed_sans.len()), (ClientAuth::Required, 2));
        assert_eq!((config.http2, config.headers.len(), config.users.len()), (false, 5, 2));
        let limit = RateLimit { interval: Duration::from_millis(1500), burst: 3 };
        assert_eq!((config.rate_limit, config.warnings), (Some(limit), Vec::new()));
    }

    #[test]
    fn a_mistake_is_named_with_file_line_and_key() {
        let tls = |more: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n  {more}\n");
        for (text, parts) in [
            (tls("cert_filse: secret"), ["/etc/web.yml:4:", "unknown key cert_filse", "expected one of"]),
            ("oops: 1".to_owned(), ["/etc/web.yml:1:", "unknown key oops", "tls_server_config"]),
            (tls("min_version: TLS9secret"), ["/etc/web.yml:4:", "min_version", "TLS12 or TLS13"]),
            (tls("max_version: TLS11"), ["/etc/web.yml:4:", "max_version", "TLS11 is not supported"]),
            (
                tls("min_version: TLS13\n  max_version: TLS12"),
                ["web.yml:5:", "max_version", "below min_version"],
            ),
            (tls("client_auth_type: secret"), ["/etc/web.yml:4:", "client_auth_type", "unknown name"]),
            (
                tls("client_auth_type: RequestClientCert"),
                ["web.yml:4:", "client_auth_type", "RequestClientCert is not"],
            ),
            (
                tls("client_auth_type: RequireAnyClientCert"),
                ["web.yml:4:", "client_auth_type", "RequireAnyClientCert is"],
            ),
            (
                tls("client_auth_type: RequireAndVerifyClientCert"),
                ["web.yml:4:", "client_auth_type", "needs client_ca_file"],
            ),
            (tls("client_ca_file: ca"), ["/etc/web.yml:4:", "client_ca_file", "no effect"]),
            (tls("key_file: b"), ["/etc/web.yml:4:", "key_file", "given twice"]),
            (
                "tls_server_config: {cert_file: a}".to_owned(),
                ["web.yml", "tls_server_config", "missing one of key or key_file"],
            ),
            (
                "tls_server_config: {key: secret}".to_owned(),
                ["web.yml", "tls_server_config", "missing one of cert or cert_file"],
            ),
            (
                "basic_auth_users:\n  alice: secret".to_owned(),
                ["web.yml:2:", "basic_auth_users.alice", "bcrypt"],
            ),
            ("basic_auth_users: secret".to_owned(), ["web.yml:1:", "basic_auth_users", "expected"]),
            (
                "http_server_config:\n  headers:\n    Server: x".to_owned(),
                ["web.yml:3:", "headers.Server", "cannot be"],
            ),
            (
                "http_server_config:\n  headers:\n    X-Frame-Options: x".to_owned(),
                ["web.yml:3:", "X-Frame-Options", "sameorigin"],
            ),
            ("http_server_config:\n  http2: secret".to_owned(), ["web.yml:2:", "http2", "expected"]),
            ("rate_limit:\n  interval: often".to_owned(), ["web.yml:2:", "rate_limit.interval", "duration"]),
            ("rate_limit:\n  burst: -1".to_owned(), ["web.yml:2:", "rate_limit.burst", "number"]),
            ("\"rate".to_owned(), ["/etc/web.yml:", "not valid YAML", ""]),
            ("secret".to_owned(), ["/etc/web.yml", "expected", ""]),
        ] {
            let complaint = complaint(&text);
            for part in parts {
                assert!(complaint.contains(part), "no {part:?} in {complaint:?} for\n{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_done_as_asked_is_a_warning() {
        let tls = |more: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n  {more}\n");
        for (text, part) in [
            (tls("min_version: TLS11"), "web.yml:4: tls_server_config.min_version: TLS11 is not supported"),
            (tls("client_auth_type: VerifyClientCertIfGiven"), "no client is asked"),
            (tls("client_allowed_sans: [one]"), "client_allowed_sans has no effect"),
            ("rate_limit: {interval: 1s}".to_owned(), "answered 429"),
            (format!("basic_auth_users: {{a: {}}}", HASH.replace("$10$", "$18$")), "cost of the hash is 18"),
        ] {
            let warnings = parse(&text).unwrap().warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(part), "no {part:?} in {warnings:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in
            [("0", Some(0)), ("1s", Some(1_000_000_000)), ("1m30s", Some(90_000_000_000)), ("5", Some(5))]
        {
            assert_eq!(go_duration(text).map(|duration| duration.as_nanos()), nanoseconds, "{text}");
        }
        assert_eq!(go_duration("1.5ms"), Some(Duration::from_micros(1500)));
        for text in ["", "s", "1", "1x", "-1s", "1 s", "1.2.3s", "inf", "1e400s"]
            .into_iter()
            .filter(|text| *text != "1")
        {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
