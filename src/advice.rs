//! Advice for operators about failed requests. The texts name flags and settings, which
//! [`crate::cryptolens`] does not know.
//!
//! Promises: each text is one clause that fits behind the error; a flag that it names exists.

use crate::cryptolens::{ApiError, DecodeFault, Endpoint, TransportFault, is_redirect};

/// Advice for an error of the exporter, which asks again by itself.
pub const fn for_serve(error: &ApiError, endpoint: Endpoint) -> &'static str {
    match error {
        ApiError::Auth => {
            "check the token, and that the subscription is active; a new token in the token file is picked up by itself"
        }
        ApiError::Denied if matches!(endpoint, Endpoint::GetProducts) => {
            "nothing: products are then shown by id, not by name"
        }
        ApiError::Denied if matches!(endpoint, Endpoint::GetKey) => {
            "give the token the permission for this method, or take the licenses out of the configuration"
        }
        ApiError::Denied if matches!(endpoint, Endpoint::GetDailyAggregates) => {
            "nothing; with the permission Usage Analytics, reconcile can compare with the vendor's own counts"
        }
        ApiError::Denied => {
            "give the token the permission for this method (and no key lock), or drop the log from --logs"
        }
        ApiError::Subscription => "renew the subscription; API access needs an active one",
        ApiError::RateLimited { .. } => "raise --poll.interval if this goes on",
        ApiError::Server { html: true, .. } => {
            "check --api.url and HTTPS_PROXY if this goes on: the answer is an HTML page, perhaps of something else than the api"
        }
        ApiError::Server { .. } => "nothing, unless it goes on: then ask the vendor's support",
        ApiError::Timeout => "raise --api.timeout if this goes on",
        ApiError::Transport { fault, .. } => for_transport(*fault),
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

/// Advice for an error that ends a command, such as a report or an export.
pub const fn for_command(error: &ApiError, endpoint: Endpoint) -> &'static str {
    match error {
        ApiError::Decode(DecodeFault::Empty | DecodeFault::Html) => for_serve(error, endpoint),
        ApiError::Decode(_) => "try again later; if this goes on, report it with the api's answer",
        // The API's own word for a product, key or state that it cannot make sense of.
        ApiError::BadRequest { status: None } => "check product, key and states",
        ApiError::Auth => "check the token, and that the subscription is active",
        ApiError::Denied if matches!(endpoint, Endpoint::GetDailyAggregates) => {
            "give the token the permission Usage Analytics, or compare with what was counted: --against=ledger"
        }
        ApiError::Denied => "give the token the permission for this method, and no key lock",
        ApiError::RateLimited { .. } => "try again later",
        ApiError::Server { html: false, .. } => "try again later; if this goes on, ask the vendor's support",
        // "Could not find the product." and the like.
        ApiError::Api => "check that product and key exist, and that the token may see them",
        _ => for_serve(error, endpoint),
    }
}

const fn for_transport(fault: TransportFault) -> &'static str {
    match fault {
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
        TransportFault::ProxyLogin => "put a user name and password that the proxy takes into HTTPS_PROXY",
        TransportFault::ProxyRefusal => {
            "check HTTPS_PROXY, and that the proxy lets TCP 443 to the api through"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::setting::CommandName;
    use crate::config::table;
    use crate::cryptolens::LogKind;

    const TRANSPORT: [TransportFault; 7] = [
        TransportFault::Connection,
        TransportFault::UnknownAuthority,
        TransportFault::CertificateTime,
        TransportFault::CertificateName,
        TransportFault::NoTls,
        TransportFault::ProxyLogin,
        TransportFault::ProxyRefusal,
    ];

    /// One error of each kind that gets a text of its own.
    fn errors() -> Vec<ApiError> {
        let server = |html| ApiError::Server { status: Some(502), retry_after: None, html };
        let bad_request = |status| ApiError::BadRequest { status };
        let mut errors = vec![
            ApiError::Auth,
            ApiError::Denied,
            ApiError::Subscription,
            ApiError::RateLimited { retry_after: None },
            server(true),
            server(false),
            ApiError::Timeout,
            ApiError::Decode(DecodeFault::Html),
            ApiError::Decode(DecodeFault::Empty),
            ApiError::Decode(DecodeFault::NotJson),
            bad_request(Some(302)),
            bad_request(Some(404)),
            bad_request(None),
            ApiError::Api,
        ];
        let transport = |fault| ApiError::Transport { cause: String::new(), fault };
        errors.extend(TRANSPORT.map(transport));
        errors
    }

    /// The flags that a text names.
    fn flags(text: &str) -> Vec<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
        let flags = words.filter_map(|word| word.strip_prefix("--"));
        flags.map(|flag| flag.trim_end_matches('.').to_owned()).collect()
    }

    #[test]
    fn each_flag_that_is_named_is_one_of_the_command() {
        use CommandName::{Audit, Check, Export, Report, Serve};
        let mut named = BTreeSet::new();
        for error in errors() {
            for endpoint in [LogKind::WebApi.endpoint(), Endpoint::GetProducts, Endpoint::GetKey] {
                for (text, commands) in [
                    (for_serve(&error, endpoint), &[Serve, Check][..]),
                    (for_command(&error, endpoint), &[Report, Audit, Export]),
                ] {
                    for flag in flags(text) {
                        for command in commands {
                            let known = table::of_command(*command).any(|setting| setting.flag == flag);
                            assert!(known, "{} has no --{flag}: {text}", command.name());
                        }
                        named.insert(flag);
                    }
                }
            }
        }
        assert!(named.len() >= 5, "{named:?}");
        let denied = flags(for_command(&ApiError::Denied, Endpoint::GetDailyAggregates));
        assert_eq!(denied, ["against"]);
        assert!(table::of_command(CommandName::Reconcile).any(|setting| setting.flag == denied[0]));
    }

    #[test]
    fn advice_fits_what_went_wrong() {
        let advice = |error: ApiError| for_serve(&error, LogKind::Events.endpoint());
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
        assert!(!for_serve(&ApiError::Denied, Endpoint::GetProducts).contains("--logs"));
    }
}
