//! One POST of protobuf to a receiver: the HTTP client that all pushes share, and the answer as it
//! came.
//!
//! It follows no redirect, retries nothing, reads the beginning of an answer only, and knows no
//! protocol: the caller says what a status means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::http;
use crate::text::fit;

/// The media type of a body in protobuf.
pub(super) const PROTOBUF: &str = "application/x-protobuf";
/// The longest answer that is read, in bytes. A receiver answers with a sentence at most.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The longest text of a receiver that is shown, in characters.
const LONGEST_MESSAGE: usize = 200;
/// The cause where the answer is no message of TLS, such as one in plain HTTP.
pub(super) const NO_TLS: &str = "the port speaks no TLS";
/// The shortest word of a header that is taken out of a receiver's answers, in bytes. Shorter ones,
/// such as a scheme or the name of a tenant, are no credentials, and are parts of ordinary words.
const SHORTEST_CREDENTIAL: usize = 8;

/// The headers of each request. `Debug` shows their names only.
#[derive(Clone, Default, PartialEq)]
pub struct PushHeaders(HeaderMap);

impl std::fmt::Debug for PushHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl PushHeaders {
    /// Adds a header; a later one replaces an earlier one of the same name. `None` if the name or
    /// the value is not one of HTTP.
    pub fn insert(&mut self, name: &str, value: &str) -> Option<()> {
        let name = HeaderName::try_from(name).ok()?;
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        self.0.insert(name, value);
        Some(())
    }

    /// True if there is a header of this name, in any letter case.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// For the HTTP client.
    pub(super) fn to_map(&self) -> HeaderMap {
        self.0.clone()
    }
}

/// How a receiver is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct PushOptions {
    /// Headers of each request, such as credentials.
    pub(super) headers: HeaderMap,
    /// The only certificate authorities to trust, as PEM; `None` for those of the system.
    pub(super) ca_pem: Option<Vec<u8>>,
    /// The certificate of this client and its key, as PEM.
    pub(super) identity_pem: Option<SecretString>,
    /// The proxy to ask through.
    pub(super) proxy: Option<Url>,
    /// The name that the certificate of the receiver must have, if it is not that of the URL.
    pub(super) server_name: Option<String>,
    /// Whether any certificate will do.
    pub(super) insecure_skip_verify: bool,
}

/// The reason why no client can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushClientError {
    /// The file with certificate authorities has none.
    #[error("it has no certificate in PEM form")]
    CaFile,
    /// The certificate and the key of the client are not usable.
    #[error("they are no certificate and key in PEM form")]
    Identity,
    /// The HTTP client cannot be set up.
    #[error("cannot set up the client: {0}")]
    Setup(String),
}

/// The reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection failed or broke.
    Unreachable(String),
    /// There was no answer in time.
    Timeout,
}

/// The answer of a receiver, whatever its status.
#[derive(Debug)]
pub(super) struct PushAnswer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// Its beginning, up to 64 KiB.
    pub(super) body: Vec<u8>,
    credentials: Arc<[SecretString]>,
}

/// Sends requests to one receiver.
#[derive(Debug)]
pub(super) struct PushClient {
    http: reqwest::Client,
    endpoint: Url,
    /// The `Host` of each request, where the URL does not say it.
    host: Option<HeaderValue>,
    /// Words of the headers, which a receiver may repeat and nobody else may see.
    credentials: Arc<[SecretString]>,
}

impl PushClient {
    pub(super) fn new(endpoint: &Url, options: PushOptions) -> Result<PushClient, PushClientError> {
        let setup = |error: reqwest::Error| PushClientError::Setup(http::cause(&error));
        let mut builder = http::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .default_headers(options.headers.clone())
            .user_agent(concat!("cryptolens-exporter/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(setup)?);
        }
        if let Some(pem) = &options.ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| PushClientError::CaFile)?;
            if roots.is_empty() {
                return Err(PushClientError::CaFile);
            }
            builder = builder.tls_certs_only(roots);
        }
        if let Some(pem) = &options.identity_pem {
            let identity = reqwest::Identity::from_pem(pem.expose_secret().as_bytes());
            builder = builder.identity(identity.map_err(|_| PushClientError::Identity)?);
        }
        if options.ca_pem.is_none() && options.identity_pem.is_none() && !options.insecure_skip_verify {
            let system = http::system_tls(options.proxy.iter().chain([endpoint]));
            builder = builder.tls_backend_preconfigured(
                system.map_err(|error| PushClientError::Setup(error.to_string()))?,
            );
        }
        if options.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let (mut endpoint, mut host) = (endpoint.clone(), None);
        if let Some(name) = options.server_name.filter(|_| endpoint.scheme() == "https") {
            if options.proxy.is_some() {
                let reason = "a server name of its own cannot be combined with a proxy";
                return Err(PushClientError::Setup(reason.to_owned()));
            }
            // The TLS library takes the name from the URL, for the handshake and for the
            // certificate. So the URL gets that name, which is looked up as the host that it stood
            // for.
            let real = RealHost::of(&endpoint);
            host = real.as_ref().and_then(|real| HeaderValue::try_from(&real.header).ok());
            let renamed = endpoint.set_host(Some(&name)).is_ok();
            let Some(real) = real.filter(|_| renamed) else {
                return Err(PushClientError::Setup(format!("{name} is no name of a server")));
            };
            builder = builder.dns_resolver(real);
        }
        let http = builder.build().map_err(setup)?;
        let credentials = credentials(&options.headers);
        Ok(PushClient { http, endpoint, host, credentials })
    }

    /// Sends one request, which takes `most` at most, body and answer included.
    pub(super) async fn post(
        &self,
        headers: &[(HeaderName, &'static str)],
        body: Vec<u8>,
        most: Duration,
    ) -> Result<PushAnswer, NoAnswer> {
        let mut post = self.http.post(self.endpoint.clone()).header(CONTENT_TYPE, PROTOBUF);
        for (name, value) in headers {
            post = post.header(name, *value);
        }
        self.exchange(post.body(body), most).await
    }

    /// Asks for a page of the same server.
    pub(super) async fn get(&self, path: &str, most: Duration) -> Result<PushAnswer, NoAnswer> {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.set_query(None);
        self.exchange(self.http.get(url), most).await
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        most: Duration,
    ) -> Result<PushAnswer, NoAnswer> {
        let request = match &self.host {
            Some(host) => request.header(HOST, host),
            None => request,
        };
        let exchange = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let (body, credentials) = (start_of_body(response).await?, Arc::clone(&self.credentials));
            Ok(PushAnswer { status, headers, body, credentials })
        };
        match tokio::time::timeout(most, exchange).await {
            Err(_) => Err(NoAnswer::Timeout),
            Ok(Err(error)) => Err(failed(&error)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }
}

impl PushAnswer {
    /// True for a body in protobuf.
    pub(super) fn is_protobuf(&self) -> bool {
        self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF)
    }

    /// The body as text without the credentials of the request, unless it is a page for browsers.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        if text.trim_start().starts_with('<') { String::new() } else { self.without_credentials(&text) }
    }

    /// A text of the receiver without the credentials of the request: some receivers repeat them in
    /// an error.
    pub(super) fn without_credentials(&self, text: &str) -> String {
        self.credentials.iter().fold(text.to_owned(), |text, credential| {
            text.replace(credential.expose_secret(), "<credential>")
        })
    }

    /// The wait that the receiver asks for: `Retry-After`, in seconds or as a date.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        http::retry_after(&self.headers)
    }
}

/// The words of all values that are long enough. In `Bearer abc`, one of them is the secret.
fn credentials(headers: &HeaderMap) -> Arc<[SecretString]> {
    let words = headers.values().filter_map(|value| value.to_str().ok()).flat_map(str::split_whitespace);
    words.filter(|word| word.len() >= SHORTEST_CREDENTIAL).map(SecretString::from).collect()
}

/// A text of a receiver as it may be shown: short, and on one line.
pub(super) fn shown_message(text: &str) -> String {
    fit(text.trim(), LONGEST_MESSAGE).into_owned()
}

async fn start_of_body(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            body.truncate(LONGEST_ANSWER);
            break;
        }
    }
    Ok(body)
}

fn failed(error: &reqwest::Error) -> NoAnswer {
    match http::tls_error(error) {
        _ if error.is_timeout() => NoAnswer::Timeout,
        Some(rustls::Error::InvalidMessage(_)) => NoAnswer::Unreachable(NO_TLS.to_owned()),
        _ => NoAnswer::Unreachable(http::cause(error)),
    }
}

/// The host of a URL, whatever name is asked for.
struct RealHost {
    host: String,
    port: u16,
    /// As the header `Host` has it.
    header: String,
}

impl RealHost {
    fn of(url: &Url) -> Option<RealHost> {
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let name = url.host_str()?;
        let header = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        Some(RealHost { host, port: url.port_or_known_default()?, header })
    }
}

impl Resolve for RealHost {
    fn resolve(&self, _: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_credentials() {
        let mut headers = PushHeaders::default();
        headers.insert("Authorization", "Bearer hush").unwrap();
        assert!(headers.insert("bad name", "x").is_none());
        assert!(headers.insert("name", "bad\nvalue").is_none());
        assert!(headers.has("AUTHORIZATION") && !headers.has("other"));
        assert_eq!(format!("{headers:?}"), r#"["authorization"]"#);
    }

    #[test]
    fn the_real_host_is_that_of_the_url() {
        let real = |url: &str| {
            let real = RealHost::of(&Url::parse(url).unwrap()).unwrap();
            (real.host, real.port, real.header)
        };
        let expected = |host: &str, port, header: &str| (host.to_owned(), port, header.to_owned());
        assert_eq!(real("https://db/write"), expected("db", 443, "db"));
        assert_eq!(real("https://[::1]:9/"), expected("::1", 9, "[::1]:9"));
    }
}
