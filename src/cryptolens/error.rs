//! Everything that can go wrong with one request, in the classes that the poller decides by.
//!
//! No variant carries text from the answer: an error text may quote what was sent, and what was sent holds the token.

use std::time::Duration;

use super::client::Endpoint;

/// Why a request gave no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The token is wrong, or the subscription lapsed.
    #[error("the api refused the token")]
    Auth,
    /// The token lacks the permission for this method.
    #[error("the token lacks the permission for this method")]
    Denied,
    /// API access needs an active subscription.
    #[error("the account has no active subscription")]
    Subscription,
    /// Too many requests.
    #[error("the api asked for fewer requests")]
    RateLimited {
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
    },
    /// The server's own trouble, expected to pass.
    #[error("the server failed{}", status_text(*.status))]
    Server {
        /// The HTTP status, where that is what told.
        status: Option<u16>,
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
        /// True if a page for people came with it, as proxies and gateways send them.
        html: bool,
    },
    /// No complete answer within `--api.timeout`.
    #[error("no complete answer in time")]
    Timeout,
    /// No connection, or one that broke.
    #[error("could not reach the api: {cause}")]
    Transport {
        /// The innermost cause, by the operating system or the TLS library.
        cause: String,
        /// What that is about.
        fault: TransportFault,
    },
    /// An answer that is no page.
    #[error("the answer is not a page of the log: {0}")]
    Decode(DecodeFault),
    /// The API, or whatever answered at this address, does not know this request.
    #[error("{}{}", bad_request_text(*.status), status_text(*.status))]
    BadRequest {
        /// The HTTP status, where that is what told.
        status: Option<u16>,
    },
    /// An error by the API that no source describes.
    #[error("the api answered with an error that is not documented")]
    Api,
}

/// What is wrong with an answer that is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeFault {
    /// No body: what the vendor's license server gives when the API behind it fails.
    #[error("it is empty")]
    Empty,
    /// A page for people, by a proxy or a wrong address.
    #[error("it is HTML")]
    Html,
    /// Not JSON, or cut short.
    #[error("it is not JSON, or was cut short")]
    NotJson,
    /// JSON that says success and has no list.
    #[error("it has no list of rows")]
    NoList,
    /// Rows that are not oldest first.
    #[error("its rows are not in ascending order")]
    Order,
    /// As many rows as were asked for, and none further than the one that was asked after.
    #[error("it is full, and none of its rows has an id after the one that was asked for")]
    Stuck,
    /// Longer than [`super::BODY_CAP`], and arrived whole: never a body that was cut short, an error, or a page for people.
    #[error("it is longer than 32 MiB")]
    TooLarge,
}

/// What a connection failed over, as far as it decides what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportFault {
    /// Nobody there, or the connection broke.
    Connection,
    /// A certificate by an authority that is not trusted.
    UnknownAuthority,
    /// A certificate that is not valid yet, or no longer.
    CertificateTime,
    /// A certificate for another host.
    CertificateName,
    /// Whatever listens there does not speak TLS.
    NoTls,
    /// The proxy wants to know who asks.
    ProxyLogin,
    /// The proxy opens no tunnel to the API.
    ProxyRefusal,
}

impl TransportFault {
    const fn advice(self) -> &'static str {
        match self {
            TransportFault::Connection => "check --api.url, DNS, proxy and firewall (TCP 443 to the api)",
            TransportFault::UnknownAuthority => {
                "name the authority that signed the certificate with --api.ca-file; a proxy that opens TLS has one of its own"
            }
            TransportFault::CertificateTime => {
                "check this machine's clock, and then the certificate; --api.ca-file only helps against unknown authorities"
            }
            TransportFault::CertificateName => {
                "check the host in --api.url; a proxy that opens TLS needs its authority in --api.ca-file"
            }
            TransportFault::NoTls => {
                "check the scheme and port in --api.url: the port speaks no TLS, as https:// needs it"
            }
            TransportFault::ProxyLogin => {
                "put a user name and password that the proxy takes into HTTPS_PROXY"
            }
            TransportFault::ProxyRefusal => {
                "check HTTPS_PROXY, and that the proxy lets TCP 443 to the api through"
            }
        }
    }
}

const fn is_redirect(status: u16) -> bool {
    matches!(status, 300..=399)
}

const fn bad_request_text(status: Option<u16>) -> &'static str {
    match status {
        Some(status) if is_redirect(status) => "the request was redirected, which is not followed",
        Some(_) => "the request was not understood",
        None => "the api refused the parameters of the request",
    }
}

fn status_text(status: Option<u16>) -> String {
    status.map(|status| format!(" (HTTP {status})")).unwrap_or_default()
}

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Again after a growing, jittered wait.
    Backoff,
    /// Again after the wait that the server asked for, uncapped here.
    After(Duration),
    /// Not before somebody changed something; asked now and then all the same.
    Refused,
}

impl ApiError {
    /// All values of the label `result` but `ok`.
    pub const LABELS: [&'static str; 10] = [
        "auth",
        "denied",
        "subscription",
        "rate_limited",
        "server_error",
        "timeout",
        "transport",
        "decode",
        "bad_request",
        "api_error",
    ];

    /// The value of the label `result`.
    pub const fn label(&self) -> &'static str {
        match self {
            ApiError::Auth => "auth",
            ApiError::Denied => "denied",
            ApiError::Subscription => "subscription",
            ApiError::RateLimited { .. } => "rate_limited",
            ApiError::Server { .. } => "server_error",
            ApiError::Timeout => "timeout",
            ApiError::Transport { .. } => "transport",
            ApiError::Decode(_) => "decode",
            ApiError::BadRequest { .. } => "bad_request",
            ApiError::Api => "api_error",
        }
    }

    /// What an operator can do about it, as one clause, where `endpoint` was asked.
    pub const fn advice(&self, endpoint: Endpoint) -> &'static str {
        match self {
            ApiError::Auth => {
                "check the token, and that the subscription is active; a new token in the token file is picked up by itself"
            }
            ApiError::Denied if matches!(endpoint, Endpoint::GetProducts) => {
                "nothing: products are then shown by id, not by name"
            }
            ApiError::Denied => {
                "give the token the permission for this method (and no key lock), or drop the log from --logs"
            }
            ApiError::Subscription => "renew the subscription; API access needs an active one",
            ApiError::RateLimited { .. } => "raise --poll.interval if this goes on",
            ApiError::Server { html: true, .. } => {
                "check --api.url and HTTPS_PROXY if this goes on: the answer is a page for people, perhaps of something else than the api"
            }
            ApiError::Server { .. } => "nothing, unless it goes on: then ask the vendor's support",
            ApiError::Timeout => "raise --api.timeout if this goes on",
            ApiError::Transport { fault, .. } => fault.advice(),
            ApiError::Decode(DecodeFault::Html) => {
                "check --api.url and HTTPS_PROXY: something else than the api answered"
            }
            ApiError::Decode(DecodeFault::Empty) => {
                "check what stands between here and the api: a license server answers so when the api behind it fails"
            }
            ApiError::Decode(_) => "nothing, unless it goes on: then report it with the api's answer",
            ApiError::BadRequest { status: Some(status) } if is_redirect(*status) => {
                "use https:// and check the host in --api.url: something redirects, which would carry the token elsewhere"
            }
            ApiError::BadRequest { status: Some(_) } => "check --api.url: it ends in /api, without a method",
            ApiError::BadRequest { status: None } => {
                "check that the token has no key lock; if it has none, report this with the version"
            }
            ApiError::Api => {
                "call the method by hand with this token and read the message, which is not logged because it may repeat what was sent"
            }
        }
    }

    /// Whether, and how, to ask again.
    pub const fn retry(&self) -> Retry {
        match self {
            ApiError::Auth | ApiError::Denied | ApiError::Subscription => Retry::Refused,
            ApiError::RateLimited { retry_after: Some(wait) }
            | ApiError::Server { retry_after: Some(wait), .. } => Retry::After(*wait),
            _ => Retry::Backoff,
        }
    }

    /// True if a smaller page may succeed where this one failed. A page in disorder is not among them: a page of one
    /// row has no order to check, so asking for one would let a wrong order through.
    pub const fn may_be_size(&self) -> bool {
        match self {
            ApiError::Timeout => true,
            ApiError::Decode(fault) => !matches!(fault, DecodeFault::Order | DecodeFault::Stuck),
            _ => false,
        }
    }

    /// The class of an error message (docs/faq, skills/api-error-messages.md); matched by prefix, as the final dot varies.
    pub(super) fn from_message(message: &str) -> ApiError {
        const KNOWN: [(&str, ApiError); 6] = [
            ("unable to authenticate", ApiError::Auth),
            ("access denied", ApiError::Denied),
            ("not enough permission", ApiError::Denied),
            ("no active subscription", ApiError::Subscription),
            ("something went wrong", ApiError::Server { status: None, retry_after: None, html: false }),
            ("the input parameters were incorrect", ApiError::BadRequest { status: None }),
        ];
        let message = message.trim_start().to_ascii_lowercase();
        KNOWN
            .into_iter()
            .find(|(prefix, _)| message.starts_with(prefix))
            .map_or(ApiError::Api, |(_, error)| error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_match_by_prefix_in_any_case() {
        let class = |message: &str| ApiError::from_message(message).label();
        assert_eq!(class("Unable to authenticate"), "auth");
        assert_eq!(class("Unable to authenticate."), "auth");
        assert_eq!(class("Access denied."), "denied");
        assert_eq!(class("Not enough permission and/or key not found."), "denied");
        assert_eq!(class("No active subscription found. Please contact support."), "subscription");
        assert_eq!(class("Something went wrong. Please contact support@cryptolens.io"), "server_error");
        assert_eq!(class("The input parameters were incorrect."), "bad_request");
        assert_eq!(class("Could not find the product."), "api_error");
    }

    #[test]
    fn every_error_has_a_declared_label() {
        let errors = [
            ApiError::Auth,
            ApiError::Denied,
            ApiError::Subscription,
            ApiError::RateLimited { retry_after: None },
            ApiError::Server { status: None, retry_after: None, html: false },
            ApiError::Timeout,
            ApiError::Transport { cause: String::new(), fault: TransportFault::Connection },
            ApiError::Decode(DecodeFault::Html),
            ApiError::BadRequest { status: None },
            ApiError::Api,
        ];
        let labels: Vec<_> = errors.iter().map(ApiError::label).collect();
        assert_eq!(labels, ApiError::LABELS);
    }

    #[test]
    fn advice_fits_what_went_wrong() {
        let advice = |error: ApiError| error.advice(Endpoint::GetEvents);
        let transport = |fault| advice(ApiError::Transport { cause: String::new(), fault });
        for fault in [
            TransportFault::UnknownAuthority,
            TransportFault::CertificateTime,
            TransportFault::CertificateName,
        ] {
            let advice = transport(fault);
            assert!(advice.contains("--api.ca-file"), "{advice}");
            assert!(!advice.contains("DNS") && !advice.contains("firewall"), "{advice}");
        }
        assert!(transport(TransportFault::NoTls).contains("speaks no TLS"));
        assert!(transport(TransportFault::ProxyLogin).contains("HTTPS_PROXY"));

        let server = |html| advice(ApiError::Server { status: Some(502), retry_after: None, html });
        assert!(server(true).contains("check --api.url and HTTPS_PROXY"));
        assert!(!server(false).contains("HTTPS_PROXY"));

        let bad_request = |status| advice(ApiError::BadRequest { status });
        assert!(bad_request(Some(404)).contains("it ends in /api"));
        for status in [302, 307] {
            let advice = bad_request(Some(status));
            assert!(advice.contains("redirects") && advice.contains("https://"), "{advice}");
            assert!(!advice.contains("ends in /api"), "{advice}");
        }
        assert!(!bad_request(None).contains("--api.url"), "{}", bad_request(None));
        assert!(!advice(ApiError::Api).contains("cryptolens-exporter check"));

        assert!(advice(ApiError::Denied).contains("--logs"));
        assert!(!ApiError::Denied.advice(Endpoint::GetProducts).contains("--logs"));
    }

    #[test]
    fn disorder_is_not_cured_by_a_smaller_page() {
        assert!(!ApiError::Decode(DecodeFault::Order).may_be_size());
        assert!(ApiError::Decode(DecodeFault::TooLarge).may_be_size());
        assert!(ApiError::Timeout.may_be_size());
        assert!(!ApiError::Auth.may_be_size());
    }
}
