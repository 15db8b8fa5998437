//! The simulator on a socket: routes, start and end.
//!
//! | path | |
//! |---|---|
//! | `/api/...` | the Web API: GET and POST, in any letter case, with or without a slash at the end |
//! | `/simulator/...` | the simulator's own controls: see `control` |

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method as HttpMethod, Response, StatusCode};
use axum::response::IntoResponse as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::answer::{self, Outgoing, REDIRECT_TARGET};
use crate::connection::{self, Connection};
use crate::faults;
use crate::method::Method;
use crate::options::Options;
use crate::query::Parameters;
use crate::{Simulator, control, wire};

/// The longest body of a request to the API, in bytes.
const LONGEST_REQUEST: usize = 1024 * 1024;
/// How long answers under way may take once the simulator has to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Why the simulator could not run.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The address cannot be printed, because standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Ended(String),
}

/// A simulator on a socket. Ends when it is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its controls and its truth.
    pub simulator: Simulator,
    server: JoinHandle<io::Result<()>>,
    stop: DropGuard,
}

impl Running {
    /// The base URL to give to a client, as `http://127.0.0.1:10461/api`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api", self.addr)
    }

    /// Ends the simulator and waits shortly for answers under way.
    pub async fn stop(self) {
        let Running { server, stop, .. } = self;
        drop(stop);
        let abort = server.abort_handle();
        // A client that keeps its connection open shall not keep the simulator up.
        if tokio::time::timeout(GRACE, server).await.is_err() {
            abort.abort();
        }
    }
}

/// Starts a simulator on a free port of this machine, for clients in the same process.
///
/// # Errors
/// [`SimulatorError::Listen`].
pub async fn start(options: Options) -> Result<Running, SimulatorError> {
    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options).await
}

/// Serves until `shutdown` is ready. Says on the first line of standard output where it listens.
///
/// # Errors
/// [`SimulatorError`].
pub async fn run(
    address: SocketAddr,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SimulatorError> {
    let mut running = listen(address, options).await?;
    let mut output = io::stdout();
    writeln!(output, "listening on http://{}", running.addr)
        .and_then(|()| output.flush())
        .map_err(SimulatorError::Output)?;
    tokio::select! {
        () = shutdown => {
            running.stop().await;
            Ok(())
        }
        ended = &mut running.server => Err(SimulatorError::Ended(match ended {
            Ok(Ok(())) => "without a reason".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })),
    }
}

async fn listen(address: SocketAddr, options: Options) -> Result<Running, SimulatorError> {
    let failed = |error| SimulatorError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let simulator = Simulator::new(options);
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let listener = connection::Listener(listener);
    let router = simulator.router().into_make_service_with_connect_info::<Connection>();
    let server =
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    Ok(Running { addr, simulator, server, stop: stop.drop_guard() })
}

pub(crate) fn router(simulator: Simulator) -> Router {
    control::routes().fallback(api).with_state(simulator)
}

async fn api(State(simulator): State<Simulator>, request: Request) -> Result<Response<Body>, Infallible> {
    let connection = request.extensions().get::<ConnectInfo<Connection>>().map(|info| info.0.clone());
    let reused = connection.as_ref().is_some_and(Connection::begin_request);
    match received(&simulator, request, reused).await {
        Ok(outgoing) => Ok(wire::send(outgoing, connection.as_ref()).await),
        Err(refused) => Ok(refused.into_response()),
    }
}

async fn received(simulator: &Simulator, request: Request, reused: bool) -> Result<Outgoing, StatusCode> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path == REDIRECT_TARGET {
        simulator.shared.requests.count_redirected();
        return Ok(Outgoing::not_found());
    }
    if path.starts_with("//") {
        // The vendor's answer to a client that joined base and path with two slashes
        // (cryptolens-nodejs issue 21).
        return Ok(Outgoing::bad_gateway());
    }
    let Some(method) = Method::at_path(path) else { return Ok(Outgoing::not_found()) };
    if !matches!(parts.method, HttpMethod::GET | HttpMethod::POST) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let body = to_bytes(body, LONGEST_REQUEST).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let mut parameters = Parameters::default();
    parameters.read(parts.uri.query().unwrap_or_default().as_bytes());
    parameters.read(&body);
    simulator.shared.requests.count(method, &parameters);
    let number = simulator.shared.faults.number(method);
    let shared = simulator.shared.clone();
    // The rows may have to be generated first, which takes longer than a task may keep others
    // waiting.
    let answered = tokio::task::spawn_blocking(move || {
        let now = shared.clock.now();
        let reply = answer::reply(&shared, method, &parameters, now);
        faults::answer_of(&shared, reply, number, reused, now)
    });
    Ok(answered.await.unwrap_or_else(|_| Outgoing::something_went_wrong()))
}
