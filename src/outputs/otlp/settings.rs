//! The settings of the push, checked as a whole.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::outputs::PushHeaders;

/// Where and how metrics are pushed.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// The URL that pushes are sent to, path included.
    pub endpoint: Url,
    /// Headers of each request, such as credentials.
    pub headers: PushHeaders,
    /// The longest time of one request.
    pub timeout: Duration,
    /// The longest time of one push, which may take several requests.
    pub push_timeout: Duration,
    /// The time from one push to the next.
    pub interval: Duration,
    /// Whether bodies are compressed with gzip.
    pub gzip: bool,
    /// The only certificate authorities to trust, as PEM; `None` for those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// The certificate of this client and its key, as PEM.
    pub identity_pem: Option<SecretString>,
    /// The proxy to ask through.
    pub proxy: Option<Url>,
    /// Attributes of the resource, `service.name` included; without `service.instance.id`, that of
    /// the ledger is taken.
    pub resource: Vec<(String, String)>,
}

impl PartialEq for OtlpSettings {
    fn eq(&self, other: &OtlpSettings) -> bool {
        let public = |of: &OtlpSettings| {
            (of.endpoint.clone(), of.timeout, of.push_timeout, of.interval, of.gzip, of.proxy.clone())
        };
        let secret = |of: &OtlpSettings| of.identity_pem.as_ref().map(|pem| pem.expose_secret().to_owned());
        public(self) == public(other)
            && self.headers == other.headers
            && self.ca_pem == other.ca_pem
            && secret(self) == secret(other)
            && self.resource == other.resource
    }
}
