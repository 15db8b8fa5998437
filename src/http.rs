//! What every HTTP client of this crate shares: the TLS provider, and how a failure is told.

use std::error::Error;
use std::io;

/// A client to be set up, with `ring` for TLS.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// The innermost cause. The outer ones repeat the URL.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    if innermost == error.to_string() { "the request failed".to_owned() } else { innermost }
}

/// What the TLS library said, if it was that.
pub(crate) fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// An error and its causes, outermost first. One within an [`io::Error`] is no source of it, but of its message.
fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| within(*error))
}

fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(message) => Some(message),
        None => error.source(),
    }
}
