//! The address to serve on, as `--web.listen-address` names it, and the address at which the same
//! machine asks there.
//!
//! Parsing needs no name service: a host is an IP address or `localhost`. Whether the address is
//! free, or belongs to this machine at all, is for [`super::listen`] to find out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The port that is registered for this exporter.
const PORT: u16 = 10460;

/// Where to listen. Port 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddress {
    /// Every address of the machine, of IPv4 and of IPv6, written as `:PORT`.
    Every(u16),
    /// One address, or with `0.0.0.0` or `[::]` what the operating system takes that for.
    One(SocketAddr),
}

/// A text that is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address and a port, such as :10460 or localhost:10460")]
pub struct BadListenAddress;

impl ListenAddress {
    /// Where a process on the same machine reaches what listens here: an unspecified address is
    /// that of a listener only, so its loopback address stands in for it. A listener on every
    /// address hears `127.0.0.1` too.
    #[must_use]
    pub fn from_here(self) -> SocketAddr {
        match self {
            Self::Every(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Self::One(address) => {
                let ip = match address.ip() {
                    IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                    other => other,
                };
                SocketAddr::new(ip, address.port())
            }
        }
    }

    /// True if both cannot be listened on, because they are the same or one covers the other. Port
    /// 0 is another one each time.
    #[must_use]
    pub fn overlaps(self, other: ListenAddress) -> bool {
        if self.port() != other.port() || self.port() == 0 {
            return false;
        }
        match (self, other) {
            (Self::Every(_), _) | (_, Self::Every(_)) => true,
            (Self::One(one), Self::One(other)) => {
                let same_family = one.is_ipv4() == other.is_ipv4();
                let covers = one.ip().is_unspecified() || other.ip().is_unspecified();
                one == other || same_family && covers
            }
        }
    }

    /// The port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Every(port) => port,
            Self::One(address) => address.port(),
        }
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self::Every(PORT)
    }
}

impl FromStr for ListenAddress {
    type Err = BadListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        // u16 alone would accept a sign.
        let port = |port: &str| {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            port.parse().ok().filter(|_| digits)
        };
        let address = if let Some(rest) = text.strip_prefix("localhost:") {
            port(rest).map(|port| Self::One(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        } else if let Some(rest) = text.strip_prefix(':') {
            port(rest).map(Self::Every)
        } else {
            text.parse().ok().map(Self::One)
        };
        address.ok_or(BadListenAddress)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(port) => write!(f, ":{port}"),
            Self::One(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_every_address_of_both_families() {
        assert_eq!(":10460".parse(), Ok(ListenAddress::Every(10460)));
        assert_eq!(ListenAddress::default().to_string(), ":10460");
    }

    #[test]
    fn an_address_that_another_covers_overlaps_with_it() {
        for (one, other, overlap) in [
            (":1", ":1", true),
            (":1", "127.0.0.1:1", true),
            (":1", "[::1]:1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("127.0.0.1:1", "localhost:1", true),
            (":1", ":2", false),
            ("0.0.0.0:1", "[::]:1", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            (":0", ":0", false),
        ] {
            let (one, other): (ListenAddress, ListenAddress) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((one.overlaps(other), other.overlaps(one)), (overlap, overlap), "{one} {other}");
        }
    }

    #[test]
    fn what_listens_is_asked_at_an_address_that_reaches_it() {
        for (listening, asked) in [
            (":10460", "127.0.0.1:10460"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("localhost:1", "127.0.0.1:1"),
            ("192.0.2.7:1", "192.0.2.7:1"),
            ("[2001:db8::7]:1", "[2001:db8::7]:1"),
        ] {
            let listening: ListenAddress = listening.parse().unwrap();
            assert_eq!(listening.from_here().to_string(), asked);
        }
    }
}
