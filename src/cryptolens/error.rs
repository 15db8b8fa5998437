//! The errors of one request, in the classes that decide the next step.
//!
//! No variant carries text from the answer: an error text may quote the request, and the request
//! holds the token.

use std::time::Duration;

/// The reason why a request gave no page.
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
    /// A failure inside the server, expected to pass.
    #[error("the server failed{}", status_text(*.status))]
    Server {
        /// The HTTP status, if the class follows from it.
        status: Option<u16>,
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
        /// True if an HTML page came with it, as proxies and gateways send them.
        html: bool,
    },
    /// No complete answer within `--api.timeout`.
    #[error("no complete answer in time")]
    Timeout,
    /// No connection was made, or it broke.
    #[error("could not reach the api: {cause}")]
    Transport {
        /// The innermost cause, in the words of the operating system or the TLS library.
        cause: String,
        /// The class of the cause.
        fault: TransportFault,
    },
    /// An answer that is no page.
    #[error("the answer is not a page of the log: {0}")]
    Decode(DecodeFault),
    /// The API, or whatever answered at this address, does not know this request.
    #[error("{}{}", bad_request_text(*.status), status_text(*.status))]
    BadRequest {
        /// The HTTP status, if the class follows from it.
        status: Option<u16>,
    },
    /// An error by the API that no source describes.
    #[error("the api answered with an error that is not documented")]
    Api,
}

/// The reason why an answer is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeFault {
    /// No body: the vendor's license server answers so when the API behind it fails.
    #[error("it is empty")]
    Empty,
    /// An HTML page, from a proxy or a wrong address.
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
    /// Longer than [`super::BODY_CAP`], and arrived whole: never a body that was cut short, an
    /// error, or an HTML page.
    #[error("it is longer than 32 MiB")]
    TooLarge,
}

/// The reason why a connection failed; it decides what an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportFault {
    /// Nothing answers at the address, or the connection broke.
    Connection,
    /// A certificate by an authority that is not trusted.
    UnknownAuthority,
    /// A certificate that is not valid yet, or no longer.
    CertificateTime,
    /// A certificate for another host.
    CertificateName,
    /// The port does not speak TLS.
    NoTls,
    /// The proxy asks for a login.
    ProxyLogin,
    /// The proxy opens no tunnel to the API.
    ProxyRefusal,
}

/// True for a status that sends the client elsewhere.
pub(crate) const fn is_redirect(status: u16) -> bool {
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

/// The next step after a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another try after a growing wait with jitter.
    Backoff,
    /// Another try after the wait that the server asked for, which is not capped here.
    After(Duration),
    /// No try succeeds until somebody changes something; one is made now and then all the same.
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

    /// The next step after this error.
    pub const fn retry(&self) -> Retry {
        match self {
            ApiError::Auth | ApiError::Denied | ApiError::Subscription => Retry::Refused,
            ApiError::RateLimited { retry_after: Some(wait) }
            | ApiError::Server { retry_after: Some(wait), .. } => Retry::After(*wait),
            _ => Retry::Backoff,
        }
    }

    /// True if a smaller page may succeed where this one failed. A page in disorder is not among
    /// them: a page of one row has no order to check, so asking for one would let a wrong order
    /// through.
    pub const fn may_be_size(&self) -> bool {
        match self {
            ApiError::Timeout => true,
            ApiError::Decode(fault) => !matches!(fault, DecodeFault::Order | DecodeFault::Stuck),
            _ => false,
        }
    }

    /// The class of an error message (docs/faq, skills/api-error-messages.md); matched by prefix,
    /// as the final dot varies.
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
    fn disorder_is_not_cured_by_a_smaller_page() {
        assert!(!ApiError::Decode(DecodeFault::Order).may_be_size());
        assert!(ApiError::Decode(DecodeFault::TooLarge).may_be_size());
        assert!(ApiError::Timeout.may_be_size());
        assert!(!ApiError::Auth.may_be_size());
    }
}
