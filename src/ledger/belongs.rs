//! Whose ledger it is: the address of the API that it was written for, by account.
//!
//! Promises: counts of the demo, or of another API, are never mixed with those of this one. Nothing
//! of a token, a user name or a query is part of an address. Whether another account's token is
//! used under the same name is not known here: the poller notices a log whose newest id is below
//! the cursor.

use std::fmt;

use url::Url;

/// The address of an API: scheme, host, port and path, without a slash at the end. The demo is one
/// of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerAddress(String);

/// No URL reads like this.
const DEMO: &str = "demo";

impl LedgerAddress {
    /// That of the demo.
    pub fn demo() -> LedgerAddress {
        LedgerAddress(DEMO.to_owned())
    }

    /// That of an API. Spelling makes no difference: letters of the host, a port that is the
    /// scheme's own, a dot after the host, slashes at the end.
    pub fn of(url: &Url) -> LedgerAddress {
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
        let port = url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
        let path = url.path().trim_end_matches('/');
        LedgerAddress(format!("{}://{host}{port}{path}", url.scheme()))
    }

    /// As it was kept.
    pub(super) fn restore(text: String) -> LedgerAddress {
        LedgerAddress(text)
    }

    /// As it is kept.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the demo's.
    pub fn is_demo(&self) -> bool {
        self.0 == DEMO
    }
}

impl fmt::Display for LedgerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_demo() { f.write_str("the demo") } else { write!(f, "the API at {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> LedgerAddress {
        LedgerAddress::of(&Url::parse(url).unwrap())
    }

    #[test]
    fn an_address_is_the_same_however_it_is_spelled() {
        let usual = of("https://api.cryptolens.io/api");
        for same in [
            "https://api.cryptolens.io/api/",
            "https://api.cryptolens.io:443/api//",
            "HTTPS://API.Cryptolens.IO/api",
            "https://api.cryptolens.io./api",
            "https://user:secret@api.cryptolens.io/api?token=secret#part",
        ] {
            assert_eq!(of(same), usual, "{same}");
        }
        assert_eq!(usual.as_str(), "https://api.cryptolens.io:443/api");
        assert_eq!(of("http://[::1]:80").as_str(), "http://[::1]:80");
    }

    #[test]
    fn another_address_is_another_one() {
        let usual = of("https://api.cryptolens.io/api");
        for other in [
            "http://api.cryptolens.io/api",
            "https://api.cryptolens.io:8443/api",
            "https://app.cryptolens.io/api",
            "https://api.cryptolens.io/API",
            "https://api.cryptolens.io",
        ] {
            assert_ne!(of(other), usual, "{other}");
        }
        assert!(LedgerAddress::demo().is_demo() && !usual.is_demo());
        assert_eq!(LedgerAddress::restore("demo".to_owned()), LedgerAddress::demo());
    }
}
