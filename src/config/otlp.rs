//! The settings of the OTLP push: the flag, the standard variables of OpenTelemetry, and the file.
//!
//! A variable for metrics (`OTEL_EXPORTER_OTLP_METRICS_...`) overrides the general one of the same
//! meaning. Without an endpoint, or where the SDK or the exporter of metrics is switched off,
//! nothing else is looked at: variables that a platform sets for every container must not stop this
//! one.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::environment::reason;
use super::problem::{Problem, ValueOrigin};
use super::setting::{DefaultValue, Setting};
use super::sources::Sources;
use super::table::{self, OTLP_PROTOCOL};
use super::value::{self, SourcedValue};
use crate::outputs::PushHeaders;
use crate::outputs::otlp::OtlpSettings;

/// The path that a general endpoint gets appended.
const METRICS_PATH: &str = "v1/metrics";
const SERVICE_NAME: &str = "service.name";
const DEFAULT_SERVICE_NAME: &str = "cryptolens-exporter";

/// The settings of the push; `None` if nothing is pushed, or if a problem was noted. What is valid
/// and still worth a line in the log is added to the warnings.
pub(super) fn resolve(sources: &mut Sources<'_>, warnings: &mut Vec<String>) -> Option<OtlpSettings> {
    let disabled = sources.get(&table::OTEL_SDK_DISABLED, value::switch).unwrap_or_default();
    let exporter = sources.sourced(&table::OTEL_METRICS_EXPORTER);
    let (row, found) =
        sources.first_of(&[&table::OTLP_METRICS_ENDPOINT, &table::OTLP_ENDPOINT], (&[], ""))?;
    if disabled || exporter.is_some_and(|found| found.text.trim().eq_ignore_ascii_case("none")) {
        return None;
    }
    let is_general = row.variable == table::OTLP_ENDPOINT.variable;
    let endpoint = sources.noted(endpoint(&found, row, is_general));
    let protocol = first(sources, [&table::OTLP_METRICS_PROTOCOL, &OTLP_PROTOCOL], protocol);
    let headers = first(sources, [&table::OTLP_METRICS_HEADERS, &table::OTLP_HEADERS], headers);
    let timeout = first(sources, [&table::OTLP_METRICS_TIMEOUT, &table::OTLP_TIMEOUT], duration);
    let gzip =
        first(sources, [&table::OTLP_METRICS_COMPRESSION, &table::OTLP_COMPRESSION], |found, setting| {
            value::one_of(found, setting, &[("gzip", true), ("none", false)])
        });
    let ca = [&table::OTLP_METRICS_CERTIFICATE, &table::OTLP_CERTIFICATE];
    let ca_pem = file(sources, ca);
    let key = [&table::OTLP_METRICS_CLIENT_KEY, &table::OTLP_CLIENT_KEY];
    let certificate = [&table::OTLP_METRICS_CLIENT_CERTIFICATE, &table::OTLP_CLIENT_CERTIFICATE];
    let identity_pem = match (file(sources, certificate), file(sources, key)) {
        (Some(certificate), Some(key)) => Some(SecretString::from(format!("{certificate}\n{key}"))),
        (None, None) => None,
        (Some(_), None) => {
            sources.needs("a client certificate for otlp", &table::OTLP_CLIENT_KEY);
            None
        }
        (None, Some(_)) => {
            sources.needs("a client key for otlp", &table::OTLP_CLIENT_CERTIFICATE);
            None
        }
    };
    let interval = sources.get(&table::OTLP_INTERVAL, duration);
    let push_timeout = sources.get(&table::OTLP_PUSH_TIMEOUT, duration);
    let resource = resource(sources);
    warn_of_preferences(sources, warnings);
    let endpoint = endpoint?;
    protocol?;
    let proxy = super::proxy::choose(&endpoint, sources.environment).proxy;
    let settings = OtlpSettings {
        endpoint,
        headers: headers.unwrap_or_default(),
        timeout: timeout?,
        push_timeout: push_timeout?,
        interval: interval?,
        gzip: gzip?,
        ca_pem: ca_pem.map(String::into_bytes),
        identity_pem,
        proxy,
        resource: resource?,
    };
    let valid = settings.validate().map_err(|error| Problem::BadValue {
        origin: found.origin,
        found: "files that cannot be used".to_owned(),
        expected: error.to_string(),
    });
    sources.noted(valid)?;
    Some(settings)
}

/// The value of the setting for metrics, else of the general one, else the default of the general
/// one.
fn first<T>(
    sources: &mut Sources<'_>,
    settings: [&'static Setting; 2],
    parse: impl FnOnce(&SourcedValue, &Setting) -> Result<T, Problem>,
) -> Option<T> {
    let [_, general] = settings;
    match sources.first_of(&settings, (&[], "")) {
        Some((setting, found)) => sources.noted(parse(&found, setting)),
        None => sources.get(general, parse),
    }
}

/// The text of the file that one of the settings names.
fn file(sources: &mut Sources<'_>, settings: [&'static Setting; 2]) -> Option<String> {
    let (setting, found) = sources.first_of(&settings, (&[], ""))?;
    let path: PathBuf = sources.path_of(&found, setting)?;
    let text = sources.environment.read_file(&path).map_err(|error| Problem::BadFile {
        origin: found.origin,
        path,
        reason: reason(&error),
    });
    sources.noted(text)
}

/// The URL of the push. The path of a general endpoint gets `/v1/metrics` appended.
fn endpoint(found: &SourcedValue, setting: &Setting, is_general: bool) -> Result<Url, Problem> {
    // A password may follow.
    if found.text.contains('@') {
        let expected = format!("{}, without user name and password", setting.expected);
        return Err(found.bad_as("a URL with user name or password (not shown)", expected));
    }
    let url = Url::parse(found.text.trim()).ok();
    let mut url = url
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or_else(|| found.bad(setting.expected))?;
    if is_general {
        let path = format!("{}/{METRICS_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn protocol(found: &SourcedValue, setting: &Setting) -> Result<(), Problem> {
    if found.text.trim() == "http/protobuf" { Ok(()) } else { Err(found.bad(setting.expected)) }
}

/// A number is in milliseconds, as the variables of OpenTelemetry have it.
fn duration(found: &SourcedValue, setting: &Setting) -> Result<Duration, Problem> {
    let text = found.text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !matches!(found.origin, ValueOrigin::File(_)) {
        let milliseconds = SourcedValue { text: format!("{text}ms"), origin: found.origin.clone() };
        return value::duration(&milliseconds, setting).map_err(|_| found.bad(setting.expected));
    }
    value::duration(found, setting)
}

fn headers(found: &SourcedValue, setting: &Setting) -> Result<PushHeaders, Problem> {
    let mut headers = PushHeaders::default();
    let added = pairs(&found.text)
        .map(|pairs| pairs.iter().try_for_each(|(name, value)| headers.insert(name, value)).is_some());
    if added == Some(true) {
        Ok(headers)
    } else {
        Err(found.bad_as("something else (not shown, as it may be a password)", setting.expected))
    }
}

/// `key=value` pairs with commas in between; values are percent-encoded. `None` for anything else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let (name, value) = (name.trim(), percent_decoded(value.trim())?);
        (!name.is_empty()).then(|| (name.to_owned(), value))
    };
    items.map(pair).collect()
}

/// `None` where the bytes are no text. A `%` that begins no code stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// The attributes of the resource. `OTEL_SERVICE_NAME` wins over `service.name` among the
/// attributes.
fn resource(sources: &mut Sources<'_>) -> Option<Vec<(String, String)>> {
    let found = sources.sourced(&table::OTEL_RESOURCE_ATTRIBUTES);
    let attributes = found
        .map(|found| pairs(&found.text).ok_or_else(|| found.bad(table::OTEL_RESOURCE_ATTRIBUTES.expected)));
    let mut attributes = match attributes {
        Some(attributes) => sources.noted(attributes)?,
        None => Vec::new(),
    };
    let name = sources.get(&table::OTEL_SERVICE_NAME, value::not_blank);
    if let Some(name) = name {
        attributes.retain(|(key, _)| key != SERVICE_NAME);
        attributes.insert(0, (SERVICE_NAME.to_owned(), name.trim().to_owned()));
    } else if attributes.iter().all(|(key, _)| key != SERVICE_NAME) {
        attributes.insert(0, (SERVICE_NAME.to_owned(), DEFAULT_SERVICE_NAME.to_owned()));
    }
    Some(attributes)
}

fn warn_of_preferences(sources: &Sources<'_>, warnings: &mut Vec<String>) {
    let differs = |setting: &Setting| {
        let DefaultValue::Is(only) = setting.default else { return None };
        let found = sources.sourced(setting)?;
        (!found.text.trim().eq_ignore_ascii_case(only)).then_some(setting.variable)
    };
    if let Some(variable) = differs(&table::OTLP_TEMPORALITY) {
        warnings.push(format!(
            "{variable} is not followed: sums are cumulative; where a backend wants deltas, put the Collector's \
             cumulativetodelta processor in between"
        ));
    }
    if let Some(variable) = differs(&table::OTLP_HISTOGRAMS) {
        warnings.push(format!("{variable} is not followed: histograms have explicit buckets"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;
    use crate::config::sources::FlagValues;

    fn resolved(
        flag: Option<&str>,
        variables: &[(&'static str, &'static str)],
    ) -> Result<(Option<OtlpSettings>, Vec<String>), String> {
        let mut flags = FlagValues::default();
        if let Some(flag) = flag {
            flags.insert(&table::OTLP_ENDPOINT, vec![flag.to_owned()]);
        }
        let variables = Variables::from(variables);
        let mut sources = Sources::without_file(&flags, &variables);
        let mut warnings = Vec::new();
        let settings = resolve(&mut sources, &mut warnings);
        sources.finish(Some((settings, warnings))).map_err(|error| error.to_string())
    }

    fn endpoint_of(flag: Option<&str>, variables: &[(&'static str, &'static str)]) -> Option<String> {
        resolved(flag, variables).unwrap().0.map(|settings| settings.endpoint.to_string())
    }

    const GENERAL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/otlp/");
    const METRICS: (&str, &str) = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4318/push");

    #[test]
    fn an_endpoint_comes_from_the_flag_then_the_metrics_variable_then_the_general_one() {
        assert_eq!(endpoint_of(None, &[]), None);
        assert_eq!(endpoint_of(None, &[GENERAL]).unwrap(), "http://general:4318/otlp/v1/metrics");
        assert_eq!(endpoint_of(None, &[GENERAL, METRICS]).unwrap(), "http://metrics:4318/push");
        let typed = endpoint_of(Some("http://flag:4318"), &[GENERAL, METRICS]);
        assert_eq!(typed.unwrap(), "http://flag:4318/v1/metrics");
    }

    #[test]
    fn without_an_endpoint_or_switched_off_nothing_else_matters() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(endpoint_of(None, &[grpc]), None);
        assert_eq!(endpoint_of(None, &[GENERAL, grpc, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(endpoint_of(None, &[GENERAL, grpc, ("OTEL_METRICS_EXPORTER", "none")]), None);
        let error = resolved(None, &[GENERAL, grpc]).unwrap_err();
        assert!(error.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && error.contains("http/protobuf"), "{error}");
    }

    #[test]
    fn the_defaults_are_those_of_opentelemetry() {
        let (settings, warnings) = resolved(None, &[GENERAL]).unwrap();
        let settings = settings.unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.push_timeout, Duration::from_secs(30));
        assert_eq!(settings.interval, Duration::from_secs(60));
        assert!(settings.gzip);
        assert_eq!(settings.resource, [(SERVICE_NAME.to_owned(), DEFAULT_SERVICE_NAME.to_owned())]);
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn variables_are_read_as_opentelemetry_writes_them() {
        let (settings, warnings) = resolved(
            None,
            &[
                GENERAL,
                ("OTEL_EXPORTER_OTLP_HEADERS", "ignored=1"),
                ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Basic%20aHVzaA==, x-scope=a"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attribute,deployment=eu%2Cwest"),
                ("OTEL_SERVICE_NAME", "named"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ],
        )
        .unwrap();
        let settings = settings.unwrap();
        let mut headers = PushHeaders::default();
        headers.insert("authorization", "Basic aHVzaA==").unwrap();
        headers.insert("x-scope", "a").unwrap();
        assert_eq!(settings.headers, headers);
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!(settings.interval, Duration::from_secs(5));
        assert!(!settings.gzip);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(settings.resource, [pair("service.name", "named"), pair("deployment", "eu,west")]);
        assert!(warnings.len() == 1 && warnings[0].contains("cumulativetodelta"), "{warnings:?}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_shown() {
        for (variable, text) in [
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://me:hush@collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hush"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "999"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
            ("OTEL_RESOURCE_ATTRIBUTES", "novalue"),
            ("OTEL_SDK_DISABLED", "perhaps"),
        ] {
            let error = resolved(None, &[GENERAL, (variable, text)]).unwrap_err();
            assert!(error.contains(variable) && !error.contains("hush"), "{error}");
        }
    }
}
