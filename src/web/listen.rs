//! Takes the addresses of `--web.listen-address`.
//!
//! An address without a host is one socket for IPv4 and IPv6.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::address::ListenAddress;
use super::config::WebConfigError;
use super::door::FrontDoor;

/// Why there is nothing to serve on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; --web.listen-address takes another one")]
pub struct ListenError {
    address: ListenAddress,
    error: io::Error,
}

/// Addresses that are taken, and what a request has to pass there.
#[derive(Debug)]
pub struct Entrance {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) door: Arc<FrontDoor>,
}

impl Entrance {
    /// Takes all addresses, each with the same door.
    ///
    /// # Errors
    /// An address is taken already, or not this machine's.
    pub async fn open(addresses: &[ListenAddress], door: Arc<FrontDoor>) -> Result<Entrance, ListenError> {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(listen(*address, shares_port(*address, addresses)).await?);
        }
        Ok(Entrance { listeners, door })
    }

    /// The addresses, with the port that was taken for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.door.speaks_tls() { "https" } else { "http" }
    }
}

/// The door that a setting asks for.
///
/// # Errors
/// The web configuration file, a certificate or a key cannot be read or used.
pub fn front_door(config_file: Option<&Path>) -> Result<Arc<FrontDoor>, WebConfigError> {
    config_file.map_or_else(|| Ok(FrontDoor::without_config()), FrontDoor::open)
}

/// True for `[::]` beside an address of IPv4 with the same port, which the socket then has to leave
/// alone.
fn shares_port(address: ListenAddress, addresses: &[ListenAddress]) -> bool {
    let is_ipv4 = |other: &ListenAddress| matches!(other, ListenAddress::One(other) if other.is_ipv4());
    let port = address.port();
    port != 0 && addresses.iter().any(|other| other.port() == port && is_ipv4(other))
}

/// Connections that wait to be accepted; what the standard library asks for as well.
const BACKLOG: i32 = 1024;

/// Takes the address. With `ipv6_only`, `[::]` leaves the addresses of IPv4 alone.
async fn listen(address: ListenAddress, ipv6_only: bool) -> Result<TcpListener, ListenError> {
    let listener = match address {
        ListenAddress::Every(port) => every(port, bound),
        ListenAddress::One(address) if address.is_ipv6() && ipv6_only => bind_ipv6_only(address),
        ListenAddress::One(address) => TcpListener::bind(address).await,
    };
    listener.map_err(|error| ListenError { address, error })
}

/// One socket that hears IPv4 and IPv6, or IPv4 alone where the kernel has no IPv6.
fn every(port: u16, bound: impl Fn(SocketAddr) -> io::Result<Socket>) -> io::Result<TcpListener> {
    let socket =
        bound(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).or_else(|error| match error.kind() {
            // Taken by somebody else: IPv4 alone would be half of what was asked for.
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            // No such family (EAFNOSUPPORT, which has no kind of its own), or no address of it.
            _ => bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        })?;
    TcpListener::from_std(socket.into())
}

fn bind_ipv6_only(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(bound_with(address, true)?.into())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    bound_with(address, false)
}

fn bound_with(address: SocketAddr, ipv6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // The default of the machine (`net.ipv6.bindv6only`) is not asked.
        socket.set_only_v6(ipv6_only)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// Every address of this machine that a listener without an address hears.
    async fn heard(listener: TcpListener) -> Vec<bool> {
        let port = listener.local_addr().unwrap().port();
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let mut heard = Vec::new();
        for ip in loopback {
            heard.push(tokio::net::TcpStream::connect((ip, port)).await.is_ok());
        }
        heard
    }

    #[tokio::test]
    async fn a_port_alone_is_heard_at_every_address_of_both_families() {
        let listener = listen(ListenAddress::Every(0), false).await.unwrap();
        let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(heard(listener).await, [true, has_ipv6]);
    }

    #[tokio::test]
    async fn both_families_can_be_listed_with_one_port() {
        let port =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|text| text.parse().unwrap());
        let entrance = Entrance::open(&both, FrontDoor::without_config()).await.unwrap();
        assert_eq!(entrance.addresses().len(), 2);
        assert!(tokio::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.is_ok());
    }

    #[tokio::test]
    async fn without_ipv6_in_the_kernel_a_port_alone_is_heard_at_ipv4() {
        // The error of a kernel with ipv6.disable=1.
        const EAFNOSUPPORT: i32 = 97;
        let without = |address: SocketAddr| {
            if address.is_ipv6() { Err(io::Error::from_raw_os_error(EAFNOSUPPORT)) } else { bound(address) }
        };
        assert_eq!(heard(every(0, without).unwrap()).await, [true, false]);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_for_ipv6_is_not_served_for_ipv4_alone() {
        let taken = |address: SocketAddr| {
            if address.is_ipv6() { Err(io::ErrorKind::AddrInUse.into()) } else { bound(address) }
        };
        assert_eq!(every(0, taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
