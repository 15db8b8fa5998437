//! The simulator's own endpoints, for tests and people. No token: whoever reaches the address may
//! use them.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::response::{IntoResponse, Response as AnyResponse};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::log::Log;

use crate::faults::{kinds_help, read_faults};
use crate::{Batch, Simulator, Spike};

const INDEX: &str = "\
A stand-in for the Cryptolens Web API, with invented customers.

  /api/ai/GetWebAPILog, /api/ai/GetEvents, /api/ai/GetObjectLog, /api/ai/RegisterEvent,
  /api/ai/GetDailyAggregates, /api/product/GetProducts, /api/product/GetKeys, /api/key/GetKey,
  /api/customer/GetCustomers
      as at the vendor; any token will do unless --token is given

  GET    /simulator/truth?log=&up_to_id=   what a client should have counted by now
  GET    /simulator/rows?log=              all rows so far, one JSON object per line, with visible_at
  POST   /simulator/rows                   adds rows as they are: {\"log\":\"web_api\",\"rows\":[...],\"visible_at\":null}
  POST   /simulator/batch                  adds ordinary rows with times of their own, which show up in no order:
                                           {\"log\":\"events\",\"rows\":300,\"time_offset\":-432000,\"visible_in\":0,\"spread\":4}
  GET    /simulator/requests               requests so far, by method
  POST   /simulator/spike                  locks the expired licenses of a product out from now on, and changed it before:
                                           {\"product\":3349,\"seconds\":300,\"failure_share\":0.5}
  GET    /simulator/clock                  the simulator's time
  PUT    /simulator/clock                  stops traffic or lets it go on: {\"frozen\":true,\"at\":null}
  GET    /simulator/faults                 what goes wrong
  PUT    /simulator/faults                 [{\"kind\":\"hang\",\"probability\":0.1,\"endpoint\":\"GetEvents\",\"count\":3}];
                                           also value, seconds (how long), every (2: each second request),
                                           after (2: not the first two)
  DELETE /simulator/faults                 nothing goes wrong any more

The kinds of faults, with the meaning of their value and its default:

";

/// How far the clock can be set ahead, in seconds.
const FURTHEST_FUTURE: i64 = 366 * 86_400;

pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/", get(index))
        .route("/simulator", get(index))
        .route("/simulator/truth", get(truth))
        .route("/simulator/rows", get(rows).post(append).layer(DefaultBodyLimit::disable()))
        .route("/simulator/batch", post(batch))
        .route("/simulator/requests", get(requests))
        .route("/simulator/spike", post(spike))
        .route("/simulator/clock", get(clock).put(set_clock))
        .route("/simulator/faults", get(faults).put(set_faults).delete(clear_faults))
}

async fn index() -> String {
    format!("{INDEX}{}\n", kinds_help())
}

/// A request that the simulator refuses, with the reason.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> AnyResponse {
        (StatusCode::BAD_REQUEST, self.0 + "\n").into_response()
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(error.to_string()))
}

fn log_named(name: &str) -> Result<Log, Refused> {
    Log::from_name(name)
        .ok_or_else(|| Refused(format!("no log {name:?}; there are web_api, events, objects")))
}

fn reply(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    ([(CONTENT_TYPE, content_type)], body.into()).into_response()
}

fn json_reply(value: &impl Serialize) -> Response<Body> {
    // These values have no way to fail.
    reply("application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// Work that may take long, off the tasks that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refused("the simulator stumbled".to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TruthQuery {
    log: Option<String>,
    up_to_id: Option<i64>,
}

async fn truth(
    State(simulator): State<Simulator>,
    Query(query): Query<TruthQuery>,
) -> Result<Response<Body>, Refused> {
    let logs = match query.log.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => vec![log_named(name)?],
        None => Log::ALL.to_vec(),
    };
    let truths = blocking(move || {
        let truth = |log: Log| (log.name(), simulator.truth(log, query.up_to_id));
        logs.into_iter().map(truth).collect::<BTreeMap<_, _>>()
    });
    Ok(json_reply(&truths.await?))
}

#[derive(Deserialize)]
struct RowsQuery {
    log: String,
}

async fn rows(
    State(simulator): State<Simulator>,
    Query(query): Query<RowsQuery>,
) -> Result<Response<Body>, Refused> {
    let log = log_named(&query.log)?;
    let lines = blocking(move || simulator.rows_as_lines(log)).await?;
    Ok(reply("application/x-ndjson", lines))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendBody {
    log: String,
    rows: Vec<Box<RawValue>>,
    #[serde(default)]
    visible_at: Option<i64>,
}

async fn append(State(simulator): State<Simulator>, body: Bytes) -> Result<Response<Body>, Refused> {
    let count = blocking(move || {
        let AppendBody { log, rows, visible_at } = read(&body)?;
        Ok(simulator.append(log_named(&log)?, rows, visible_at))
    });
    Ok(json_reply(&json!({ "rows": count.await?? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    log: String,
    rows: u32,
    #[serde(default)]
    time_offset: i64,
    #[serde(default)]
    visible_in: u32,
    #[serde(default)]
    spread: u32,
}

async fn batch(State(simulator): State<Simulator>, body: Bytes) -> Result<Response<Body>, Refused> {
    let BatchBody { log, rows, time_offset, visible_in, spread } = read(&body)?;
    let log = log_named(&log)?;
    let batch = Batch { rows, time_offset, visible_in, spread };
    let count = blocking(move || simulator.batch(log, &batch)).await?;
    Ok(json_reply(&json!({ "rows": count })))
}

async fn requests(State(simulator): State<Simulator>) -> Response<Body> {
    json_reply(&simulator.requests())
}

async fn spike(State(simulator): State<Simulator>, body: Bytes) -> Result<Response<Body>, Refused> {
    let spike: Spike = read(&body)?;
    let started =
        blocking(move || simulator.spike(spike)).await?.map_err(|error| Refused(error.to_string()))?;
    let incident = started.incident;
    Ok(json_reply(&json!({
        "failures": started.failures, "product": incident.product_id, "changed": incident.changed,
        "from": incident.from, "to": incident.to,
    })))
}

async fn clock(State(simulator): State<Simulator>) -> Response<Body> {
    json_reply(&json!({ "now": simulator.now(), "frozen": simulator.is_frozen() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    frozen: bool,
    #[serde(default)]
    at: Option<i64>,
}

async fn set_clock(State(simulator): State<Simulator>, body: Bytes) -> Result<Response<Body>, Refused> {
    let wanted: ClockBody = read(&body)?;
    match (wanted.frozen, wanted.at) {
        // Everything until then is generated and kept in memory.
        (true, Some(at)) if at > chrono::Utc::now().timestamp() + FURTHEST_FUTURE => {
            return Err(Refused("a clock can be set a year ahead at most".to_owned()));
        }
        (true, at) => simulator.freeze(at),
        (false, None) => simulator.unfreeze(),
        (false, Some(_)) => return Err(Refused("a running clock cannot be set".to_owned())),
    }
    Ok(clock(State(simulator)).await)
}

async fn faults(State(simulator): State<Simulator>) -> Response<Body> {
    json_reply(&simulator.faults())
}

async fn set_faults(State(simulator): State<Simulator>, body: Bytes) -> Result<Response<Body>, Refused> {
    let wanted = read_faults(&body).map_err(|error| Refused(error.to_string()))?;
    simulator.set_faults(wanted);
    Ok(faults(State(simulator)).await)
}

async fn clear_faults(State(simulator): State<Simulator>) -> StatusCode {
    simulator.set_faults(Vec::new());
    StatusCode::NO_CONTENT
}
