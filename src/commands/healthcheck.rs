//! `healthcheck`: asks a running exporter whether it is ready; for containers without a shell.

mod client;

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::failure::CommandFailure;
use crate::config::{FlagValues, Sources, SystemEnvironment, table, value};
use crate::web::{DoorSign, ListenAddress};
use crate::{http, text_file};
use client::{HealthcheckClientError, ShownCertificate, TrustedServer};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the exporter is not ready.
#[derive(Debug, thiserror::Error)]
enum HealthcheckError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Client(#[from] HealthcheckClientError),
    /// Nobody answered.
    #[error("{url} does not answer: {cause}")]
    Silent {
        /// The URL that was asked.
        url: Url,
        /// The reason.
        cause: String,
    },
    /// It answers that it is not ready.
    #[error("{url} answers {status}: {text}{}", login_hint(.status))]
    Said {
        /// The URL that was asked.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        text: String,
    },
}

fn login_hint(status: &u16) -> &'static str {
    if *status == 401 { "; see --username and --password-file" } else { "" }
}

/// The URL that is asked, and the way to ask it.
struct HealthcheckSettings {
    url: Url,
    trusted: TrustedServer,
    shown: Option<ShownCertificate>,
    login: Option<(String, SecretString)>,
}

pub(super) async fn run(flags: &FlagValues) -> Result<(), CommandFailure> {
    let settings = settings(flags)?;
    ask(settings).await.map_err(CommandFailure::failed)
}

fn settings(flags: &FlagValues) -> Result<HealthcheckSettings, CommandFailure> {
    let mut sources = Sources::without_file(flags, &SystemEnvironment);
    let config_file = sources.path(&table::WEB_CONFIG_FILE);
    let password_file = sources.path(&table::HEALTHCHECK_PASSWORD_FILE);
    let username = sources.get(&table::HEALTHCHECK_USERNAME, value::not_blank);
    let ca_file = sources.path(&table::HEALTHCHECK_CA_FILE);
    let certificate_file = sources.path(&table::HEALTHCHECK_CERT_FILE);
    let key_file = sources.path(&table::HEALTHCHECK_KEY_FILE);
    if username.is_some() != password_file.is_some() {
        let (given, missing) = (&table::HEALTHCHECK_USERNAME, &table::HEALTHCHECK_PASSWORD_FILE);
        let (given, missing) = if username.is_some() { (given, missing) } else { (missing, given) };
        sources.needs(&given.typed_name(), missing);
    }
    if certificate_file.is_some() != key_file.is_some() {
        let (given, missing) = (&table::HEALTHCHECK_CERT_FILE, &table::HEALTHCHECK_KEY_FILE);
        let (given, missing) = if certificate_file.is_some() { (given, missing) } else { (missing, given) };
        sources.needs(&given.typed_name(), missing);
    }
    let addresses = sources.listen_addresses(&table::HEALTHCHECK_LISTEN_ADDRESS);
    let address = addresses.and_then(|addresses| addresses.first().copied());
    let place = sources.get(&table::HEALTHCHECK_URL, value::not_blank);
    let (address, place) = sources.finish(address.zip(place))?;

    let sign = config_file.map(|file| DoorSign::read(&file)).transpose();
    let sign = sign.map_err(|error| CommandFailure::usage(format_args!("--web.config.file: {error}")))?;
    let certificate = sign.and_then(|sign| sign.certificate);
    let secure = certificate.is_some() || ca_file.is_some();
    let url = url(&place, address, secure).ok_or_else(|| {
        CommandFailure::usage(format_args!("--url: expected {}", table::HEALTHCHECK_URL.expected))
    })?;
    let trusted = match (ca_file, certificate) {
        (Some(file), _) => {
            TrustedServer::ByAuthorities(read(&table::HEALTHCHECK_CA_FILE.typed_name(), &file)?)
        }
        (None, Some(certificate)) => TrustedServer::Exactly(certificate),
        (None, None) => TrustedServer::BySystem,
    };
    let shown = match (certificate_file, key_file) {
        (Some(certificate), Some(key)) => Some(ShownCertificate {
            certificate: read(&table::HEALTHCHECK_CERT_FILE.typed_name(), &certificate)?,
            key: read(&table::HEALTHCHECK_KEY_FILE.typed_name(), &key)?,
        }),
        _ => None,
    };
    let login = match (username, password_file) {
        (Some(name), Some(file)) => {
            let password = read(&table::HEALTHCHECK_PASSWORD_FILE.typed_name(), &file)?;
            Some((name, SecretString::from(password.trim())))
        }
        _ => None,
    };
    Ok(HealthcheckSettings { url, trusted, shown, login })
}

fn read(flag: &str, file: &Path) -> Result<String, CommandFailure> {
    text_file::read(file).map_err(|error| {
        CommandFailure::usage(format_args!("{flag}: cannot read {}: {error}", file.display()))
    })
}

/// Asks once, within three seconds, past any proxy.
async fn ask(settings: HealthcheckSettings) -> Result<(), HealthcheckError> {
    let HealthcheckSettings { url, trusted, shown, login } = settings;
    let silent = |error: reqwest::Error| {
        let in_time = format!("no complete answer within {} s", TIMEOUT.as_secs());
        let cause = if error.is_timeout() { in_time } else { http::cause(&error) };
        HealthcheckError::Silent { url: url.clone(), cause }
    };
    let client = client::client(&url, trusted, shown.as_ref(), TIMEOUT)?;
    let mut request = client.get(url.clone());
    if let Some((name, password)) = &login {
        request = request.basic_auth(name, Some(password.expose_secret()));
    }
    let answer = request.send().await.map_err(silent)?;
    let status = answer.status();
    let text = answer.text().await.map_err(silent)?;
    if status.is_success() {
        return Ok(());
    }
    Err(HealthcheckError::Said { status: status.as_u16(), text: text.trim().to_owned(), url })
}

/// The URL that is meant: a path is one of the server on this machine.
fn url(place: &str, address: ListenAddress, secure: bool) -> Option<Url> {
    if place.starts_with('/') {
        let scheme = if secure { "https" } else { "http" };
        return Url::parse(&format!("{scheme}://{}{place}", address.from_here())).ok();
    }
    Url::parse(place).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_exporter_listens() {
        for (place, listening, secure, asked) in [
            ("/-/ready", ":10460", false, Some("http://127.0.0.1:10460/-/ready")),
            ("/-/ready", "[::]:9000", false, Some("http://[::1]:9000/-/ready")),
            ("/-/healthy", "localhost:80", false, Some("http://127.0.0.1/-/healthy")),
            ("/-/ready", ":10460", true, Some("https://127.0.0.1:10460/-/ready")),
            ("http://other.example:1/x", ":10460", true, Some("http://other.example:1/x")),
            ("ftp://other.example/", ":10460", false, None),
            ("ready", ":10460", false, None),
        ] {
            let url = url(place, listening.parse().unwrap(), secure);
            assert_eq!(url.as_ref().map(Url::as_str), asked, "{place}");
        }
    }
}
