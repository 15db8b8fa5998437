//! The parts that all HTTP clients of this crate share: the TLS provider, the authorities of this
//! machine, the test for addresses of this machine, the wait that a server asks for, and the text of a
//! failure.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

/// How long the authorities of this machine are not read again. Clients that are made together, at
/// the start or at a reload, share them; the next reload reads them anew.
const AUTHORITIES_FRESH: Duration = Duration::from_secs(5);

/// A builder of a client with `ring` for TLS.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// The TLS of clients that ask these URLs, some of which may be proxies, and trust the certificate
/// authorities of this machine.
///
/// A file of authorities takes 4 ms to read, and a process with ten accounts has twenty clients. So
/// they are read once, and not at all where no URL begins with `https`: such a client refuses every
/// certificate.
///
/// # Errors
/// If this machine has no authorities.
pub(crate) fn system_tls<'a>(urls: impl IntoIterator<Item = &'a Url>) -> Result<ClientConfig, rustls::Error> {
    if urls.into_iter().all(|url| url.scheme() != "https") {
        return Ok(http_1(
            ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        ));
    }
    static READ: Mutex<Option<(Instant, ClientConfig)>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, config)) = read.as_ref()
        && at.elapsed() < AUTHORITIES_FRESH
    {
        return Ok(config.clone());
    }
    let verifier = rustls_platform_verifier::Verifier::new(provider())?;
    let config = http_1(
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
    );
    *read = Some((Instant::now(), config.clone()));
    Ok(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// HTTP/1.1 is what these clients speak.
fn http_1(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// True if requests to this URL stay on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// The header `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). A date in the past is no wait.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The innermost cause. The outer ones repeat the URL.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    if innermost == error.to_string() { "the request failed".to_owned() } else { innermost }
}

/// The error of the TLS library, if it is among the causes.
pub(crate) fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// An error and its causes, outermost first. An [`io::Error`] does not name the error inside it as
/// its source, so that one is taken from it.
pub(crate) fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| within(*error))
}

fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(message) => Some(message),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_are_made_together_read_the_authorities_once() {
        let urls = ["https://api.example.com/", "http://127.0.0.1:9/"].map(|url| Url::parse(url).unwrap());
        let [https, http] = &urls;
        let provider = |url: &Url| Arc::clone(system_tls([url]).unwrap().crypto_provider());
        assert!(Arc::ptr_eq(&provider(https), &provider(https)));
        let by_a_proxy = Arc::clone(system_tls([http, https]).unwrap().crypto_provider());
        assert!(Arc::ptr_eq(&by_a_proxy, &provider(https)), "one of the two needs them");
        assert!(!Arc::ptr_eq(&provider(http), &provider(https)), "plain HTTP needs none");
        assert_eq!(system_tls([http]).unwrap().alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        // The two older forms, which a receiver of HTTP has to accept.
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        assert!(wait(&later).is_some_and(|wait| wait > Duration::from_secs(60)));
    }

    #[test]
    fn loopback_is_recognised() {
        let loopback = |text: &str| is_loopback(&Url::parse(text).unwrap());
        assert!(
            loopback("http://localhost/") && loopback("http://127.0.0.9:1/") && loopback("http://[::1]/")
        );
        assert!(!loopback("http://localhost.example.com/") && !loopback("http://10.0.0.1/"));
    }
}
