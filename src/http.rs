//! The parts that all HTTP clients of this crate share: the TLS provider, the test for addresses of
//! this machine, and the text of a failure.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use url::{Host, Url};

/// A builder of a client with `ring` for TLS.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
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
    fn loopback_is_recognised() {
        let loopback = |text: &str| is_loopback(&Url::parse(text).unwrap());
        assert!(
            loopback("http://localhost/") && loopback("http://127.0.0.9:1/") && loopback("http://[::1]/")
        );
        assert!(!loopback("http://localhost.example.com/") && !loopback("http://10.0.0.1/"));
    }
}
