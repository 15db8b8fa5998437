//! The HTTP side: metrics, landing page, health.
//!
//! Promises: every answer comes from memory, also while the Web API hangs or the ledger is down; a
//! reader that takes nothing costs the others nothing, and is cut off; no text that came from the
//! Web API is on a page, but names in metrics, escaped by their format.

mod address;
mod landing;
mod pages;
mod stall;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::snapshot::Snapshots;

pub use address::{BadListenAddress, ListenAddress};
use pages::MetricsPages;
pub use stall::{StallListener, StallStream};

/// No script, nothing from elsewhere, styles of the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

struct Site {
    snapshots: Arc<Snapshots>,
    telemetry_path: String,
    was_ready: AtomicBool,
    pages: Arc<MetricsPages>,
}

/// Why there is nothing to serve on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; --web.listen-address takes another one")]
pub struct ListenError {
    address: ListenAddress,
    error: io::Error,
}

/// Connections that wait to be accepted; what the standard library asks for as well.
const BACKLOG: i32 = 1024;

/// Takes the address.
///
/// # Errors
/// It is taken already, or not this machine's.
pub async fn listen(address: ListenAddress) -> Result<TcpListener, ListenError> {
    let listener = match address {
        ListenAddress::Every(port) => every(port, bound),
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

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // The default of the machine (`net.ipv6.bindv6only`) is not asked.
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// All pages.
pub fn router(snapshots: Arc<Snapshots>, telemetry_path: &str) -> Router {
    let site = Site {
        pages: Arc::new(MetricsPages::new(Arc::clone(&snapshots))),
        snapshots,
        telemetry_path: telemetry_path.to_owned(),
        was_ready: AtomicBool::new(false),
    };
    Router::new()
        .route("/", get(landing_page))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .route(telemetry_path, get(metrics))
        .with_state(Arc::new(site))
}

async fn metrics(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    Arc::clone(&site.pages).answer(&headers).await
}

async fn landing_page(State(site): State<Arc<Site>>) -> Response {
    let now = chrono::Utc::now().timestamp();
    let page = landing::page(&site.snapshots, &site.telemetry_path, now);
    let headers =
        [(CONTENT_SECURITY_POLICY, POLICY), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    (headers, Html(page.into_string())).into_response()
}

/// Ready once each log has had its first answer or error; from then on for good, so that nothing is taken out of
/// service for what happens at the other end.
async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.was_ready.load(Ordering::Relaxed) {
        return "ready\n".into_response();
    }
    let targets = site.snapshots.targets();
    let mut waiting = Vec::new();
    for (account, status) in &targets.accounts {
        for (log, status) in &status.logs {
            if !status.view().answered {
                waiting.push(format!("{account}/{log}"));
            }
        }
    }
    if waiting.is_empty() {
        site.was_ready.store(true, Ordering::Relaxed);
        return "ready\n".into_response();
    }
    let text = format!("waiting for a first answer of {}\n", waiting.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
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
        let listener = listen(ListenAddress::Every(0)).await.unwrap();
        let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(heard(listener).await, [true, has_ipv6]);
    }

    #[tokio::test]
    async fn without_ipv6_in_the_kernel_a_port_alone_is_heard_at_ipv4() {
        // What a kernel with ipv6.disable=1 says.
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
