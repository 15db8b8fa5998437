//! The HTTP side: metrics, landing page, health.
//!
//! Promises: every answer comes from memory, also while the Web API hangs or the ledger is down; a
//! reader that takes nothing costs the others nothing, and is cut off; no text that came from the
//! Web API is on a page, but names in metrics, escaped by their format.

mod activity;
mod address;
mod auth;
mod config;
mod connections;
mod door;
mod http_connections;
mod landing;
mod lifecycle;
mod listen;
mod pages;
mod server;
mod stream;
mod throttle;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::snapshot::Snapshots;

pub use activity::Timeouts;
pub use address::{BadListenAddress, ListenAddress};
pub use config::WebConfigError;
pub use door::{DoorSign, FrontDoor};
pub use http_connections::HttpConnections;
pub use lifecycle::{PendingReload, ReloadOutcome, ReloadRequester, ReloadRequests, reload_channel};
pub use listen::{Entrance, ListenError, front_door};
use pages::MetricsPages;
pub use server::{ServerOptions, serve};

/// No script, nothing from elsewhere, styles of the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

struct Site {
    snapshots: Arc<Snapshots>,
    telemetry_path: String,
    reload: Option<ReloadRequester>,
    was_ready: AtomicBool,
    pages: Arc<MetricsPages>,
}

/// All pages.
///
/// With a requester, `POST /-/reload` reloads. With `openmetrics_created`, pages in OpenMetrics
/// text have `_created` lines.
pub fn router(
    snapshots: Arc<Snapshots>,
    telemetry_path: &str,
    openmetrics_created: bool,
    reload: Option<ReloadRequester>,
) -> Router {
    let site = Site {
        reload,
        pages: Arc::new(MetricsPages::new(Arc::clone(&snapshots), openmetrics_created)),
        snapshots,
        telemetry_path: telemetry_path.to_owned(),
        was_ready: AtomicBool::new(false),
    };
    Router::new()
        .route("/", get(landing_page))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload_settings))
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

async fn reload_settings(State(site): State<Arc<Site>>) -> Response {
    lifecycle::reload(site.reload.as_ref()).await
}

/// Ready once each log has had its first answer or error; from then on for good, so that nothing is
/// taken out of service for what happens at the other end.
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
