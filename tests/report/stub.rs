//! The least that a report needs of the Web API: the three logs with cursors and filters, GetKey, and faults on demand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "test-token";

type Params = HashMap<String, String>;

/// What the stub holds, and what it does wrong.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) requests: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) objects: Vec<Value>,
    pub(crate) max_machines: i64,
    /// Answers to give instead of the right one, by the number of the request, from 1.
    pub(crate) faults: HashMap<usize, (u16, &'static str)>,
    /// Also for every request from this one on.
    pub(crate) fails_from: Option<usize>,
    /// Never answers from this request on.
    pub(crate) hangs_from: Option<usize>,
    /// Ignores the order that is asked for.
    pub(crate) disorder: bool,
    /// Never gives more rows than this.
    pub(crate) page: Option<usize>,
    pub(crate) asked: Mutex<Vec<(String, Params)>>,
}

/// A stub that serves until it is dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    pub(crate) logs: Arc<Logs>,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    pub(crate) fn start(logs: Logs) -> Stub {
        let logs = Arc::new(logs);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let log = |name: &'static str| {
            post(move |State(logs): State<Arc<Logs>>, Form(params): Form<Params>| async move {
                let answer = answer(&logs, name, params);
                if logs.hangs_from.is_some_and(|from| logs.asked.lock().unwrap().len() >= from) {
                    std::future::pending::<()>().await;
                }
                answer
            })
        };
        let router = Router::new()
            .route("/api/ai/GetWebAPILog", log("GetWebAPILog"))
            .route("/api/ai/GetEvents", log("GetEvents"))
            .route("/api/ai/GetObjectLog", log("GetObjectLog"))
            .route("/api/key/GetKey", log("GetKey"))
            .with_state(logs.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Stub { url, logs, _runtime: runtime }
    }

    pub(crate) fn requests(&self) -> usize {
        self.logs.asked.lock().unwrap().len()
    }
}

fn answer(logs: &Logs, method: &str, params: Params) -> Response {
    let number = {
        let mut asked = logs.asked.lock().unwrap();
        asked.push((method.to_owned(), params.clone()));
        asked.len()
    };
    let failing = logs.fails_from.filter(|from| number >= *from).map(|_| (503, "down"));
    if let Some((status, body)) = logs.faults.get(&number).copied().or(failing) {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    if params.get("token").map(String::as_str) != Some(TOKEN) {
        return json_answer(&json!({"result": 1, "message": "Unable to authenticate."}));
    }
    if method == "GetKey" {
        return json_answer(
            &json!({"licenseKey": {"maxNoOfMachines": logs.max_machines}, "result": 0, "message": ""}),
        );
    }
    let (rows, list, most) = match method {
        "GetWebAPILog" => (&logs.requests, "logs", 1000),
        "GetEvents" => (&logs.events, "events", 100),
        _ => (&logs.objects, "events", 100),
    };
    let number =
        |name: &str| params.get(name).and_then(|text| text.parse::<i64>().ok()).filter(|id| *id != 0);
    let limit = number("Limit").map_or(10, |limit| usize::try_from(limit).unwrap()).min(most);
    let limit = logs.page.map_or(limit, |page| page.min(limit));
    let (after, before) = (number("StartingAfter"), number("EndingBefore"));
    let states: Option<Vec<i64>> = params.get("States").map(|text| serde_json::from_str(text).unwrap());
    let wanted = |row: &&Value| {
        let id = row["id"].as_i64().unwrap();
        after.is_none_or(|after| id > after)
            && before.is_none_or(|before| id < before)
            && number("ProductId").is_none_or(|product| row["productId"] == product)
            && params.get("Key").is_none_or(|key| row["key"] == key.as_str())
            && states.as_ref().is_none_or(|states| states.iter().any(|state| row["state"] == *state))
    };
    let descending = params.get("OrderBy").map(String::as_str) == Some("Id descending") || before.is_some();
    let mut page: Vec<&Value> = rows.iter().filter(wanted).collect();
    if descending && !logs.disorder {
        page.reverse();
    }
    page.truncate(limit);
    json_answer(&json!({list: page, "result": 0, "message": null}))
}

fn json_answer(value: &Value) -> Response {
    value.to_string().into_response()
}
