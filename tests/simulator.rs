//! The simulator from outside: over HTTP, with the exporter's client where it shall be understood,
//! and with plain requests where the vendor's rules shall be kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryptolens_exporter::cryptolens::token::parse as parse_token;
use cryptolens_exporter::cryptolens::{
    ApiError, Client, ClientOptions, DecodeFault, EventRow, ObjectRow, Page, PageQuery, Row, Token, WebApiRow,
};
use cryptolens_simulator::{
    Batch, CANARIES, Fault, FaultKind, Log, Method, Options, Running, Simulator, Spike, SpikeError, start,
};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

/// A Thursday.
const START: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const TOKEN: &str = "WyIxIiwi-invented";

/// Traffic that begins at [`START`], whenever that was.
fn two_weeks() -> Options {
    Options { start: START, ..Options::new(7) }
}

/// A simulator whose clock stands still two weeks after [`START`], at noon of a Thursday.
async fn running(options: Options) -> Running {
    let running = start(options).await.unwrap();
    running.simulator.freeze(Some(START + 14 * DAY + DAY / 2));
    running
}

fn client_with_timeout(running: &Running, timeout: Duration) -> Client {
    let options = ClientOptions { url: running.url().parse().unwrap(), timeout, ca_pem: None, proxy: None };
    Client::new(&options, Token::fixed(parse_token(TOKEN).unwrap())).unwrap()
}

fn client(running: &Running) -> Client {
    client_with_timeout(running, Duration::from_secs(30))
}

fn query(starting_after: i64, limit: u16) -> PageQuery {
    PageQuery::after(starting_after, limit)
}

async fn read_all<R: Row>(client: &Client) -> Vec<R> {
    let mut rows: Vec<R> = Vec::new();
    loop {
        let after = rows.last().map_or(0, Row::id);
        let page: Page<R> = client.page(query(after, R::LOG.max_limit())).await.unwrap();
        if page.rows.is_empty() {
            return rows;
        }
        rows.extend(page.rows);
    }
}

/// A client without the habits of ours.
fn http() -> reqwest::Client {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The answer to a plain request, as JSON.
async fn post(running: &Running, path: &str, form: &str) -> Value {
    let url = format!("http://{}{path}", running.addr);
    let request = http()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={TOKEN}&{form}"));
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

async fn web_api_log(running: &Running, form: &str) -> Vec<i64> {
    ids(&post(running, "/api/ai/GetWebAPILog", form).await["logs"])
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

async fn control(running: &Running, method: &str, path: &str, body: impl ToString) -> (u16, String) {
    let url = format!("http://{}/simulator/{path}", running.addr);
    let request = http().request(method.parse().unwrap(), url).body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Handmade rows 10, 20 .. of the Web API Log, and nothing else in any log.
async fn with_handmade_rows(count: i64) -> Running {
    let running = running(Options::empty()).await;
    let row = |number: i64| {
        to_raw_value(&json!({ "id": number * 10, "productId": 3349, "time": START + number, "state": 2014 }))
            .unwrap()
    };
    running.simulator.append(Log::WebApi, (1..=count).map(row).collect(), None);
    running
}

#[tokio::test]
async fn the_client_reads_what_the_truth_says() {
    let running = running(two_weeks()).await;
    let client = client(&running);

    let rows: Vec<WebApiRow> = read_all(&client).await;
    let mut states: BTreeMap<(i64, Option<i64>), u64> = BTreeMap::new();
    for row in &rows {
        *states.entry((row.product_id, row.state)).or_default() += 1;
    }
    let truth = running.simulator.truth(Log::WebApi, None);
    assert!(rows.len() > 10_000, "{}", rows.len());
    assert_eq!((rows.len() as u64, rows.last().map(Row::id)), (truth.rows, truth.highest_id));
    assert_eq!(states, truth.states);
    for state in [1010, 2010, 2014, 2015, 2020, 2024, 3010, 6010, 6011, 7010, 8010] {
        assert!(states.keys().any(|(_, seen)| *seen == Some(state)), "{state}");
    }
    assert!(rows.iter().filter(|row| row.state == Some(2014)).all(|row| row.lease_seconds().is_some()));
    assert!(rows.iter().filter(|row| row.state == Some(8010)).all(|row| row.do_int_value > Some(0)));

    let events: Vec<EventRow> = read_all(&client).await;
    let truth = running.simulator.truth(Log::Events, None);
    assert_eq!((events.len() as u64, events.last().map(Row::id)), (truth.rows, truth.highest_id));
    let objects: Vec<ObjectRow> = read_all(&client).await;
    let truth = running.simulator.truth(Log::Objects, None);
    assert!(truth.rows > 100);
    assert_eq!((objects.len() as u64, objects.last().map(Row::id)), (truth.rows, truth.highest_id));

    let products = client.products().await.unwrap();
    assert!(products.iter().any(|product| product.id == 3349 && product.name == "Meridian CAD"));
    let sold: BTreeSet<i64> = products.iter().map(|product| product.id).collect();
    assert!(rows.iter().all(|row| sold.contains(&row.product_id)));
}

#[tokio::test]
async fn truth_over_http_is_the_truth_in_process() {
    let running = running(two_weeks()).await;
    let middle = START + 7 * DAY;
    let at_middle = web_api_log(&running, &format!("Limit=1&Time={{\"gte\":{middle}}}")).await[0];
    let (_, body) = control(&running, "GET", &format!("truth?log=web_api&up_to_id={at_middle}"), "").await;
    let listed: Value = serde_json::from_str(&body).unwrap();
    let truth = running.simulator.truth(Log::WebApi, Some(at_middle));
    assert_eq!(listed["web_api"]["rows"], truth.rows);
    assert_eq!(listed["web_api"]["highest_id"], at_middle);
    let states = listed["web_api"]["states"].as_array().unwrap();
    let total: u64 = states.iter().map(|entry| entry["rows"].as_u64().unwrap()).sum();
    assert_eq!(total, truth.rows);
    let (_, body) = control(&running, "GET", "truth", "").await;
    let names: BTreeSet<String> =
        serde_json::from_str::<BTreeMap<String, Value>>(&body).unwrap().into_keys().collect();
    assert_eq!(names, ["web_api", "events", "objects"].map(str::to_owned).into());
}

#[tokio::test]
async fn history_follows_from_seed_and_start() {
    let lines = |options: Options| {
        let simulator = Simulator::new(options);
        simulator.freeze(Some(START + 3 * DAY));
        Log::ALL.map(|log| simulator.rows_as_lines(log))
    };
    let first = lines(two_weeks());
    assert!(first.iter().all(|log| log.lines().count() > 20));
    assert_eq!(first, lines(two_weeks()));
    assert_ne!(first, lines(Options { seed: 8, ..two_weeks() }));
    assert_ne!(first, lines(Options { start: START + 1, ..two_weeks() }));
}

#[tokio::test]
async fn ids_cross_31_bits_in_a_month() {
    let simulator = Simulator::new(two_weeks());
    simulator.freeze(Some(START + 30 * DAY));
    assert!(simulator.truth(Log::WebApi, None).highest_id > Some(i64::from(i32::MAX)));
    let below = simulator.truth(Log::WebApi, Some(i64::from(i32::MAX)));
    assert!(below.rows > 1000);
}

#[tokio::test]
async fn cursors_and_orders_keep_the_rules() {
    let running = with_handmade_rows(30).await;
    assert_eq!(web_api_log(&running, "").await, (1..=10).map(|number| number * 10).collect::<Vec<_>>());
    assert_eq!(web_api_log(&running, "StartingAfter=30&Limit=2").await, [40, 50]);
    assert_eq!(web_api_log(&running, "EndingBefore=50&Limit=3").await, [40, 30, 20]);
    assert_eq!(web_api_log(&running, "OrderBy=Id+descending&Limit=2").await, [300, 290]);
    assert_eq!(web_api_log(&running, "StartingAfter=300").await, Vec::<i64>::new());
    let absent =
        "ProductId=0&Key=&StartingAfter=0&EndingBefore=0&OrderBy=&MachineCode=&FriendlyName=&Limit=3";
    assert_eq!(web_api_log(&running, absent).await, [10, 20, 30]);
    let refused = post(&running, "/api/ai/GetWebAPILog", "Key=without-product").await;
    assert_eq!(refused, json!({ "result": 1, "message": "The input parameters were incorrect." }));
}

#[tokio::test]
async fn get_and_post_in_any_case_are_one() {
    let running = with_handmade_rows(3).await;
    let posted = post(&running, "/api/ai/GetWebAPILog", "limit=2").await;
    assert_eq!(posted, post(&running, "/API/AI/getwebapilog/", "LIMIT=2").await);
    let url = format!("http://{}/api/ai/getWebApiLog?Token={TOKEN}&Limit=2", running.addr);
    let got = http().get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(posted, serde_json::from_str::<Value>(&got).unwrap());
    for (path, status) in
        [("//api/ai/GetWebAPILog", 502), ("/api/ai/GetNothing", 404), ("/ai/GetWebAPILog", 404)]
    {
        let url = format!("http://{}{path}", running.addr);
        assert_eq!(http().get(url).send().await.unwrap().status(), status, "{path}");
    }
    assert_eq!(running.simulator.requests()["GetWebAPILog"], 3);
    let (_, counted) = control(&running, "GET", "requests", "").await;
    assert_eq!(serde_json::from_str::<Value>(&counted).unwrap(), json!(running.simulator.requests()));
}

#[tokio::test]
async fn a_late_row_shows_up_below_higher_ids_and_stays() {
    let running = running(Options { requests_per_minute: 30.0, late_fraction: 0.05, ..two_weeks() }).await;
    let client = client(&running);
    let now = START + DAY / 2;
    running.simulator.freeze(Some(now));
    let early: Vec<WebApiRow> = read_all(&client).await;
    running.simulator.freeze(Some(now + 30));
    let later: Vec<WebApiRow> = read_all(&client).await;
    let known: BTreeSet<i64> = early.iter().map(Row::id).collect();
    let head = early.last().unwrap().id;
    let shown: BTreeSet<i64> = later.iter().map(Row::id).collect();
    assert!(known.is_subset(&shown));
    assert!(shown.difference(&known).any(|id| *id < head), "no row was late");
    assert!(shown.difference(&known).any(|id| *id > head), "no row was new");
}

#[tokio::test]
async fn live_traffic_appears_as_time_passes_and_stops_when_frozen() {
    let now = chrono::Utc::now().timestamp();
    let running =
        start(Options { start: now - 60, requests_per_minute: 30_000.0, ..Options::new(3) }).await.unwrap();
    running.simulator.freeze(None);
    let before = running.simulator.truth(Log::WebApi, None).rows;
    running.simulator.unfreeze();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let (status, _) = control(&running, "PUT", "clock", json!({ "frozen": true })).await;
    assert_eq!(status, 200);
    let after = running.simulator.truth(Log::WebApi, None).rows;
    assert!(after > before, "{before} rows, then {after}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(running.simulator.truth(Log::WebApi, None).rows, after);
}

#[tokio::test]
async fn handed_in_rows_are_served_as_they_are() {
    let running = running(Options::empty()).await;
    let rows = [
        r#"{"id":7,"state":2014, "time":1767225600,"productId":1}"#,
        r#"{"id":8,"state":null,"time":"soon"}"#,
        "{\n\"state\":2020}",
        "null",
        r#"{"id":8,"state":2020}"#,
        r#"{"id":9007199254740991,"state":1e999}"#,
    ];
    let body = format!(r#"{{"log":"web_api","rows":[{}]}}"#, rows.join(","));
    assert_eq!(control(&running, "POST", "rows", &body).await, (200, r#"{"rows":6}"#.to_owned()));

    let page: Page<WebApiRow> = client(&running).page(query(0, 1000)).await.unwrap();
    assert_eq!(page.rows.iter().map(Row::id).collect::<Vec<_>>(), [7, 8, 8, 9_007_199_254_740_991]);
    assert_eq!(page.without_id.len(), 2);
    let truth = running.simulator.truth(Log::WebApi, None);
    assert_eq!((truth.rows, truth.without_id, truth.repeated), (3, 2, 1));
    let states = BTreeMap::from([((0, None), 2), ((1, Some(2014)), 1)]);
    assert_eq!(truth.states, states);
    let lines = running.simulator.rows_as_lines(Log::WebApi);
    assert_eq!(lines.lines().count(), rows.len());
    assert!(lines.starts_with(r#"{"id":7,"state":2014, "time":1767225600,"productId":1,"visible_at":"#));
}

#[tokio::test]
async fn rows_can_be_handed_in_over_http_and_hidden_for_a_while() {
    let running = running(Options::empty()).await;
    let now = running.simulator.now();
    for (id, visible_at) in [(1, None), (3, None), (2, Some(now + 10))] {
        let body = json!({ "log": "objects", "rows": [{ "id": id }], "visible_at": visible_at });
        assert_eq!(control(&running, "POST", "rows", &body).await, (200, r#"{"rows":1}"#.to_owned()));
    }
    let shown = async || ids(&post(&running, "/api/ai/GetObjectLog", "").await["events"]);
    assert_eq!(shown().await, [1, 3]);
    running.simulator.freeze(Some(now + 10));
    assert_eq!(shown().await, [1, 2, 3]);
    for body in [json!({ "log": "nothing", "rows": [] }), json!({ "log": "objects" }), json!([])] {
        assert_eq!(control(&running, "POST", "rows", &body).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn a_registered_event_is_in_the_log() {
    let running = running(two_weeks()).await;
    let head = running.simulator.truth(Log::Events, None).highest_id.unwrap();
    let form = "ProductId=3349&FeatureName=Checkout&EventName=purchase&Value=2530&Currency=EUR";
    let answer = post(&running, "/api/ai/registerevent/", form).await;
    assert_eq!(answer["result"], 0);
    let page: Page<EventRow> = client(&running).page(query(head, 100)).await.unwrap();
    let [event] = page.rows.as_slice() else { panic!("{page:?}") };
    assert_eq!((event.event_name.as_str(), event.feature_name.as_str()), ("purchase", "Checkout"));
    assert_eq!((event.value, event.currency.as_str()), (Some(2530), "EUR"));
    assert_eq!(event.time, Some(running.simulator.now()));

    running.simulator.set_faults(vec![Fault::new(FaultKind::AccessDenied)]);
    post(&running, "/api/ai/RegisterEvent", form).await;
    running.simulator.set_faults(Vec::new());
    let page: Page<EventRow> = client(&running).page(query(event.id, 100)).await.unwrap();
    assert!(page.rows.is_empty(), "what was denied has not happened");
}

#[tokio::test]
async fn get_key_tells_the_seats_that_the_log_tells() {
    let running = running(two_weeks()).await;
    let now = running.simulator.now();
    // Noon of a working day: some seat is held.
    let rows = post(
        &running,
        "/api/ai/GetWebAPILog",
        "EndingBefore=9223372036854775806&Limit=1000&States=[2014,6011]",
    )
    .await;
    let held =
        rows["logs"].as_array().unwrap().iter().find(|row| row["floatingExpires"].as_i64() > Some(now));
    let held = held.expect("a seat is held at noon");
    let key = held["key"].as_str().unwrap();
    let form = format!("ProductId={}&Key={key}&Metadata=true", held["productId"]);
    let answer = post(&running, "/api/key/GetKey", &form).await;
    assert_eq!(answer["licenseKey"]["key"], key);
    let used = answer["metadata"]["usedFloatingMachines"].as_u64().unwrap();
    let most = answer["licenseKey"]["maxNoOfMachines"].as_u64().unwrap();
    let mut machines = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for row in rows["logs"].as_array().unwrap().iter().filter(|row| row["key"] == key) {
        let machine = row["machineCode"].as_str().unwrap();
        if row["state"] == 6011 {
            gone.insert(machine);
        } else if row["floatingExpires"].as_i64() > Some(now) && !gone.contains(machine) {
            machines.insert(machine);
        }
    }
    assert_eq!(used, machines.len() as u64);
    assert!((1..=most).contains(&used), "{used} of {most}");
    let message = async |form: &str| post(&running, "/api/key/GetKey", form).await["message"].clone();
    assert_eq!(message("ProductId=1&Key=x").await, "Could not find the product.");
    assert_eq!(message("ProductId=3349&Key=x").await, "Could not find the key.");
    assert_eq!(message("ProductId=3349").await, "The input parameters were incorrect.");
}

#[tokio::test]
async fn tokens_are_checked() {
    let page = async |options: Options| {
        let running = running(options).await;
        client(&running).page::<WebApiRow>(query(0, 1)).await.map(|_| ())
    };
    let other = Options { token: Some("another".to_owned()), ..Options::empty() };
    assert_eq!(page(other).await, Err(ApiError::Auth));
    let right = Options { token: Some(TOKEN.to_owned()), ..Options::empty() };
    assert_eq!(page(right).await, Ok(()));
    let denied = Options { denied: vec![Method::GetWebApiLog], ..Options::empty() };
    assert_eq!(page(denied.clone()).await, Err(ApiError::Denied));
    let running = running(denied).await;
    assert!(client(&running).page::<EventRow>(query(0, 1)).await.is_ok());
    assert_eq!(page(Options { key_lock: true, ..Options::empty() }).await, Err(ApiError::Denied));

    let url = format!("http://{}/api/ai/GetEvents", running.addr);
    let answer = http().post(url).body("token=").send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, r#"{"message":"Unable to authenticate.","result":1}"#);
}

#[tokio::test]
async fn a_spike_fails_activations_of_one_product_for_a_while() {
    let running = running(two_weeks()).await;
    let now = running.simulator.now();
    let quiet = running.simulator.truth(Log::WebApi, None);
    let spike = json!({ "product": 4021, "seconds": 300, "failure_share": 0.9 });
    let (status, body) = control(&running, "POST", "spike", &spike).await;
    assert_eq!(status, 200);
    let started: Value = serde_json::from_str(&body).unwrap();
    let failures = started["failures"].as_u64().unwrap();
    assert!(failures > 15, "{failures}");
    assert_eq!((started["product"].as_i64(), started["from"].as_i64()), (Some(4021), Some(now + 1)));
    assert_eq!(running.simulator.truth(Log::WebApi, None), quiet, "nothing has happened yet");
    running.simulator.freeze(Some(now + 301));
    let failed =
        |rows: &BTreeMap<(i64, Option<i64>), u64>| rows.get(&(4021, Some(2020))).copied().unwrap_or(0);
    let after = running.simulator.truth(Log::WebApi, None);
    assert!(failed(&after.states) - failed(&quiet.states) >= failures);

    let rows: Vec<WebApiRow> = read_all(&client(&running)).await;
    assert!(rows.windows(2).all(|pair| pair[0].id < pair[1].id));
    let refused = |spike| running.simulator.spike(spike).unwrap_err();
    let spike = Spike { product: Some(1), seconds: 1, failure_share: 0.5 };
    assert_eq!(refused(spike), SpikeError::UnknownProduct(1));
    assert_eq!(refused(Spike { product: None, seconds: 0, ..spike }), SpikeError::BadLength);
    assert_eq!(refused(Spike { product: None, failure_share: 1.5, ..spike }), SpikeError::BadShare);
}

/// The whole story of a spike that is started at run time: who is locked out, who is not, and the
/// change before it.
#[tokio::test]
async fn a_spike_locks_out_the_expired_licenses_of_its_product() {
    const LENGTH: i64 = 1800;
    let traffic = Options { start: START + 14 * DAY, requests_per_minute: 15.0, ..two_weeks() };
    let running = running(traffic).await;
    let (simulator, now) = (&running.simulator, running.simulator.now());
    let rows = |log: Log| -> Vec<Value> {
        simulator.rows_as_lines(log).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let product = simulator.products()[0].id;
    let is_request_of_it = |row: &&Value| row["productId"] == product;
    let before: Vec<Value> = rows(Log::WebApi);
    let spike = Spike { product: None, seconds: u32::try_from(LENGTH).unwrap(), failure_share: 0.6 };
    let incident = simulator.spike(spike).unwrap().incident;
    assert_eq!((incident.product_id, incident.from, incident.to), (product, now + 1, now + 1 + LENGTH));
    assert_eq!(rows(Log::WebApi), before, "what was visible once stays as it was");
    let changes = |rows: Vec<Value>| -> Vec<(i64, String)> {
        let data = |row: &Value| (row["created"].as_i64().unwrap(), row["data"].as_str().unwrap().to_owned());
        let latest = rows.iter().filter(|row| row["affectedObjectId"] == product).map(data);
        latest.filter(|(time, data)| *time >= now - 300 && data.contains("BlockExpired")).collect()
    };
    let blocked = (incident.changed, r#"{"BlockExpiredLicenses":[false,true]}"#.to_owned());
    assert!((60..180).contains(&(incident.from - incident.changed)));
    assert_eq!(
        changes(rows(Log::Objects)),
        std::slice::from_ref(&blocked),
        "at once, with a time before the spike"
    );

    simulator.freeze(Some(now + 2 * LENGTH));
    let undone = (incident.to, r#"{"BlockExpiredLicenses":[true,false]}"#.to_owned());
    assert_eq!(changes(rows(Log::Objects)), [blocked, undone]);
    let requests = rows(Log::WebApi);
    let outcome = |row: &Value| row["state"].as_i64().unwrap() / 10 % 10;
    let (mut of_expired, mut others) = (BTreeMap::<&str, u64>::new(), 0);
    let is_in = |row: &&Value| (incident.from..incident.to).contains(&row["time"].as_i64().unwrap());
    for row in requests.iter().filter(is_request_of_it).filter(is_in) {
        let key = row["key"].as_str().unwrap();
        if incident.keys.iter().any(|expired| expired == key) {
            assert_ne!(outcome(row), 1, "{row}");
            *of_expired.entry(key).or_default() += u64::from(row["state"] == 2020);
        } else {
            others += u64::from(outcome(row) == 1);
        }
    }
    assert_eq!(of_expired.len(), incident.keys.len());
    assert!(of_expired.values().all(|failures| *failures >= 2), "{of_expired:?}");
    assert!(others >= 2, "{others}");
    // They come back after the spike.
    let is_after = |row: &&Value| row["time"].as_i64().unwrap() > incident.to && outcome(row) == 1;
    let mut back = requests.iter().filter(is_request_of_it).filter(is_after);
    assert!(back.any(|row| incident.keys.iter().any(|key| row["key"] == **key)));
}

#[tokio::test]
async fn whatever_is_personal_carries_a_canary() {
    let running = running(two_weeks()).await;
    let is_canary = |text: &str| CANARIES.iter().any(|canary| text.contains(canary));
    let mut seen = BTreeSet::new();
    for log in Log::ALL {
        for line in running.simulator.rows_as_lines(log).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            for name in ["key", "ip", "machineCode", "friendlyName"] {
                if let Some(text) = row[name].as_str() {
                    assert!(is_canary(text), "{name} {text}");
                    seen.insert(name);
                }
            }
        }
    }
    assert_eq!(seen.len(), 4);
    assert!(is_canary(&running.simulator.rows_as_lines(Log::Objects)));
    let products = post(&running, "/api/product/GetProducts", "").await;
    assert!(
        products["products"]
            .as_array()
            .unwrap()
            .iter()
            .all(|product| is_canary(product["password"].as_str().unwrap()))
    );
}

/// The result of reading a page of thirty handmade rows.
enum Expected {
    Error(&'static str),
    Rows(fn(&[i64]) -> bool),
    /// The page with one more row, of which the client makes this.
    OneMore(fn(&Page<WebApiRow>) -> bool),
    /// The client's tests cover it.
    OwnTest,
}

fn ascending(ids: &[i64]) -> bool {
    ids == (1..=30).map(|number| number * 10).collect::<Vec<_>>()
}

fn shuffled(ids: &[i64]) -> bool {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    ascending(&sorted) && !ids.is_sorted() && !ids.iter().rev().is_sorted()
}

fn repeated(ids: &[i64]) -> bool {
    let mut once = ids.to_vec();
    once.sort_unstable();
    once.dedup();
    ids.len() == 31 && ascending(&once)
}

/// The last row of a page with one row more than usual.
fn added(page: &Page<WebApiRow>) -> Option<&WebApiRow> {
    page.rows.get(30).filter(|row| row.id == 301 && page.rows.len() == 31)
}

fn expected(kind: FaultKind) -> Expected {
    use Expected::{Error, OneMore, OwnTest, Rows};
    use FaultKind::*;
    match kind {
        UnableToAuthenticate => Error("auth"),
        AccessDenied | NotEnoughPermission => Error("denied"),
        NoSubscription => Error("subscription"),
        BadParameters | ShortCursor => Error("bad_request"),
        SomethingWentWrong | MessageOnly | BadGatewayHtml => Error("server_error"),
        RateLimited | RateLimitedDate | RateLimitedBare => Error("rate_limited"),
        ProxyPage | EmptyBody | TruncatedJson | CutBody | OversizedBody | GzipBomb | MissingList
        | NullList => Error("decode"),
        Hang => Error("timeout"),
        Unanswered => Error("transport"),
        GoneCursor | UnknownCursor => Error("bad_request"),
        Redirect | RedirectKeepingMethod => Error("bad_request"),
        Slow | Gzip | OtherListName | PascalCase | EmptyMessage | IgnoredOrder | DateAhead | DateBehind
        | FrozenReplica | LeadingReplica | LoneNewest | StallingWriter => Rows(ascending),
        EmptyList | LaggingReplica | ReplacedLog => Rows(<[i64]>::is_empty),
        CappedPage => Rows(|ids| ids == [10, 20, 30]),
        StaleConnection
        | GzipZeros
        | HighestId
        | OversizedRow
        | DeepRow
        | MalformedControlCharacter
        | MalformedEscape
        | MalformedNotANumber
        | MalformedUtf8 => OwnTest,
        DuplicateAdjacent => Rows(|ids| repeated(ids) && ids.is_sorted()),
        DuplicateApart => Rows(|ids| repeated(ids) && !ids.is_sorted()),
        DescendingPage | NewestFirst => Rows(|ids| ids.iter().rev().is_sorted() && ids.len() == 30),
        ShuffledFullPage | ShuffledShortPage => Rows(shuffled),
        MalformedNullState | MalformedTextState => {
            OneMore(|page| added(page).is_some_and(|row| row.state.is_none() && row.time.is_some()))
        }
        MalformedTextId => OneMore(|page| added(page).is_some_and(|row| row.state == Some(2014))),
        MalformedFractionalId | MalformedMissingId | MalformedNotAnObject => {
            OneMore(|page| page.rows.len() == 30 && page.without_id.len() == 1)
        }
        MalformedMissingFields | MalformedWrongTypes | MalformedHugeNumbers => OneMore(|page| {
            added(page).is_some_and(|row| row.state.is_none() && row.time.is_none() && row.product_id == 0)
        }),
        MalformedNegativeTime => {
            OneMore(|page| added(page).is_some_and(|row| row.time.is_none() && row.state == Some(2014)))
        }
    }
}

#[tokio::test]
async fn each_fault_is_what_the_client_takes_it_for() {
    let has_own_test = |kind: &FaultKind| matches!(expected(*kind), Expected::OwnTest);
    for kind in FaultKind::ALL.iter().copied().filter(|kind| !has_own_test(kind)) {
        let running = with_handmade_rows(30).await;
        let timeout =
            if kind == FaultKind::Hang { Duration::from_millis(300) } else { Duration::from_secs(30) };
        let client = client_with_timeout(&running, timeout);
        let mut fault = Fault::new(kind).endpoint(Method::GetWebApiLog).count(1);
        match kind {
            FaultKind::Slow => fault = fault.value(400),
            FaultKind::CappedPage => fault = fault.value(3),
            _ => {}
        }
        running.simulator.set_faults(vec![fault]);
        let query = match kind {
            FaultKind::ShuffledFullPage => query(0, 30),
            FaultKind::ShortCursor => query(i64::from(i32::MAX) + 1, 1000),
            FaultKind::GoneCursor => query(5, 1000),
            FaultKind::UnknownCursor => query(15, 1000),
            FaultKind::IgnoredOrder => PageQuery { newest_first: true, ..query(0, 1000) },
            _ => query(0, 1000),
        };
        let began = Instant::now();
        let answer: Result<Page<WebApiRow>, ApiError> = client.page(query).await;
        let page_ids = answer.as_ref().map(|page| page.rows.iter().map(Row::id).collect::<Vec<_>>());
        match (expected(kind), &answer) {
            (Expected::Error(label), Err(error)) => assert_eq!(error.label(), label, "{kind:?}: {error}"),
            (Expected::Rows(right), Ok(page)) => {
                assert!(right(&page_ids.unwrap()), "{kind:?}: {page:?}");
            }
            (Expected::OneMore(right), Ok(page)) => {
                assert!(right(page), "{kind:?}: {page:?}");
                let truth = running.simulator.truth(Log::WebApi, None);
                assert_eq!(truth.rows, page.rows.len() as u64, "{kind:?}");
                assert_eq!(truth.without_id, page.without_id.len() as u64, "{kind:?}");
            }
            (_, answer) => panic!("{kind:?}: {answer:?}"),
        }
        assert!(kind != FaultKind::Slow || began.elapsed() >= Duration::from_millis(400));
        assert_eq!(running.simulator.requests()["redirected"], 0, "{kind:?}");
        assert!(running.simulator.faults().is_empty(), "{kind:?} happened once and is over");
        let healthy: Page<WebApiRow> = client.page(self::query(0, 1000)).await.unwrap();
        assert!(healthy.rows.len() >= 30, "{kind:?}");
    }
}

/// Adds ordinary rows of the Web API Log that become visible at once.
fn add_rows(running: &Running, ids: std::ops::RangeInclusive<i64>) {
    let row = |id: i64| {
        to_raw_value(&json!({ "id": id, "productId": 3349, "time": START, "state": 2014 })).unwrap()
    };
    running.simulator.append(Log::WebApi, ids.map(row).collect(), None);
}

/// Lets so many seconds pass for a simulator whose clock stands still.
fn pass(running: &Running, seconds: i64) {
    running.simulator.freeze(Some(running.simulator.now() + seconds));
}

fn set(running: &Running, fault: Fault) {
    running.simulator.set_faults(vec![fault]);
}

/// The ids that are visible with this form.
async fn seen(running: &Running, form: &str) -> Vec<i64> {
    web_api_log(running, &format!("Limit=1000&{form}")).await
}

#[tokio::test]
async fn a_replica_lags_stands_still_or_is_ahead() {
    let running = running(Options::empty()).await;
    add_rows(&running, 1..=3);
    pass(&running, 100);
    add_rows(&running, 4..=6);
    set(&running, Fault::new(FaultKind::LaggingReplica).value(60));
    assert_eq!(seen(&running, "").await, [1, 2, 3]);
    set(&running, Fault::new(FaultKind::LaggingReplica).value(60).every(2));
    let turns =
        [seen(&running, "").await.len(), seen(&running, "").await.len(), seen(&running, "").await.len()];
    assert!(turns == [3, 6, 3] || turns == [6, 3, 6], "{turns:?}");

    set(&running, Fault::new(FaultKind::FrozenReplica));
    pass(&running, 100);
    add_rows(&running, 7..=9);
    assert_eq!(seen(&running, "StartingAfter=4").await, [5, 6]);

    set(&running, Fault::new(FaultKind::LeadingReplica).value(60));
    let soon = Some(running.simulator.now() + 50);
    let row = |id: i64| to_raw_value(&json!({ "id": id, "time": START })).unwrap();
    running.simulator.append(Log::WebApi, (10..=12).map(row).collect(), soon);
    assert_eq!(seen(&running, "StartingAfter=7").await, [8, 9, 10, 11, 12]);
    set(&running, Fault::new(FaultKind::LoneNewest).value(60));
    assert_eq!(seen(&running, "StartingAfter=7").await, [8, 9, 12]);
    assert_eq!(web_api_log(&running, "OrderBy=Id descending&Limit=1").await, [12]);
    assert_eq!(web_api_log(&running, "StartingAfter=7&Limit=2").await, [8, 9]);
    running.simulator.set_faults(Vec::new());
    assert_eq!(seen(&running, "StartingAfter=7").await, [8, 9]);
}

#[tokio::test]
async fn a_writer_that_stalls_shows_rows_in_bursts_and_out_of_order() {
    let running = running(Options::empty()).await;
    add_rows(&running, 1..=2);
    set(&running, Fault::new(FaultKind::StallingWriter).value(600));
    assert_eq!(seen(&running, "").await, [1, 2], "what was there stays");
    for id in 3..=40 {
        pass(&running, 10);
        add_rows(&running, id..=id);
    }
    assert_eq!(seen(&running, "").await, [1, 2]);
    pass(&running, 600 - 380);
    let mut shown = seen(&running, "").await.len();
    let mut out_of_order = false;
    for _ in 0..4 {
        let before = seen(&running, "").await;
        pass(&running, 1);
        let after = seen(&running, "").await;
        let highest = before.last().unwrap();
        out_of_order |= after.iter().any(|id| id < highest && !before.contains(id));
        assert!(after.len() >= shown);
        shown = after.len();
    }
    assert_eq!(shown, 40);
    assert!(out_of_order, "the backlog is not written in order");
}

#[tokio::test]
async fn a_log_can_be_replaced_by_one_whose_ids_start_again() {
    let running = with_handmade_rows(30).await;
    set(&running, Fault::new(FaultKind::ReplacedLog).value(5));
    pass(&running, 10);
    add_rows(&running, 1001..=1004);
    assert_eq!(seen(&running, "").await, [5, 6, 7, 8]);
    assert_eq!(seen(&running, "StartingAfter=6").await, [7, 8]);
    assert_eq!(seen(&running, "EndingBefore=7").await, [6, 5]);
    assert!(seen(&running, "StartingAfter=300").await.is_empty());

    let running = self::running(two_weeks()).await;
    set(&running, Fault::new(FaultKind::ReplacedLog));
    pass(&running, 3600);
    let first = seen(&running, "").await;
    assert!(first.len() > 10 && first[0] < 100_000, "{first:?}");
    assert_eq!(seen(&running, &format!("StartingAfter={}", first[3])).await, first[4..]);
}

#[tokio::test]
async fn a_cursor_can_be_refused_when_its_row_is_gone() {
    let running = with_handmade_rows(30).await;
    let refused = async |cursor: i64| {
        let answer = post(&running, "/api/ai/GetWebAPILog", &format!("StartingAfter={cursor}")).await;
        answer["message"] == "The input parameters were incorrect."
    };
    set(&running, Fault::new(FaultKind::GoneCursor));
    assert_eq!(
        (refused(0).await, refused(9).await, refused(10).await, refused(15).await),
        (false, true, false, false)
    );
    set(&running, Fault::new(FaultKind::UnknownCursor));
    assert_eq!(
        (refused(0).await, refused(9).await, refused(10).await, refused(15).await),
        (false, true, false, true)
    );
}

#[tokio::test]
async fn rows_that_are_no_json_or_too_much_stay_in_the_log() {
    let url = |running: &Running| format!("http://{}/api/ai/GetWebAPILog", running.addr);
    for (kind, value, expected) in [
        (FaultKind::MalformedControlCharacter, None, &b"\"two\nlines\""[..]),
        (FaultKind::MalformedEscape, None, br#""C:\queue""#),
        (FaultKind::MalformedNotANumber, None, b":NaN,"),
        (FaultKind::MalformedUtf8, None, b"\"caf\xe9\""),
        (FaultKind::OversizedRow, Some(2), &[b'x'; 2 << 20]),
        (FaultKind::DeepRow, Some(70), &[b'['; 70]),
        (FaultKind::HighestId, None, br#""id":9223372036854775807,"#),
        (FaultKind::HighestId, Some(1 << 60), br#""id":1152921504606846976,"#),
    ] {
        let running = with_handmade_rows(3).await;
        set(&running, Fault { value, ..Fault::new(kind).count(1) });
        for time in ["first", "again"] {
            let answer =
                http().post(url(&running)).body(format!("token={TOKEN}&Limit=9")).send().await.unwrap();
            let body = answer.bytes().await.unwrap();
            let found = body.windows(expected.len()).filter(|window| *window == expected).count();
            assert_eq!(found, 1, "{kind:?} {time}");
        }
        let truth = running.simulator.truth(Log::WebApi, None);
        assert_eq!((truth.rows, truth.without_id), (4, 0), "{kind:?}: its id can be read");
        add_rows(&running, 900..=900);
        assert_eq!(running.simulator.truth(Log::WebApi, None).rows, 5);
    }
    let running = with_handmade_rows(3).await;
    set(&running, Fault::new(FaultKind::GzipZeros).value(1));
    let packed_too = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let answer = packed_too.post(url(&running)).body(format!("token={TOKEN}")).send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.bytes().await.unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).unwrap();
    assert!(packed.len() < 50_000 && text.starts_with(r#"{"logs":[0,0,0,"#) && text.len() > 1 << 20);
}

#[tokio::test]
async fn a_connection_is_given_up_without_notice() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = with_handmade_rows(1).await;
    set(&running, Fault::new(FaultKind::StaleConnection));
    let body = format!("token={TOKEN}");
    let request = format!(
        "POST /api/ai/GetWebAPILog HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 4096];
        let read = stream.read(&mut first).await.unwrap();
        let head = String::from_utf8_lossy(&first[..read]).to_lowercase();
        assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // The rest of the first answer, and then the end.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "the second is not answered");
    }
    assert_eq!(running.simulator.requests()["GetWebAPILog"], 4);
}

#[tokio::test]
async fn the_server_clock_can_be_wrong() {
    let running = with_handmade_rows(1).await;
    for (kind, expected) in [(FaultKind::DateAhead, 600), (FaultKind::DateBehind, -600)] {
        set(&running, Fault::new(kind).value(600));
        let url = format!("http://{}/api/ai/GetWebAPILog", running.addr);
        let answer = http().post(url).body(format!("token={TOKEN}")).send().await.unwrap();
        let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
        assert_eq!(dates.len(), 1);
        let date = chrono::DateTime::parse_from_rfc2822(dates[0].to_str().unwrap()).unwrap();
        let ahead = date.timestamp() - chrono::Utc::now().timestamp();
        assert!((ahead - expected).abs() <= 5, "{ahead}");
    }
}

#[tokio::test]
async fn a_batch_has_times_and_visibility_of_its_own() {
    let running = running(Options::empty()).await;
    let body =
        json!({ "log": "events", "rows": 50, "time_offset": -432_000, "visible_in": 10, "spread": 20 });
    assert_eq!(control(&running, "POST", "batch", &body).await, (200, r#"{"rows":50}"#.to_owned()));
    assert_eq!(control(&running, "POST", "batch", json!({ "log": "events", "row": 1 })).await.0, 400);
    let events = async || post(&running, "/api/ai/GetEvents", "Limit=100").await["events"].clone();
    assert_eq!(ids(&events().await).len(), 0);
    pass(&running, 20);
    let some = ids(&events().await);
    assert!(!some.is_empty() && some.len() < 50);
    assert!(some.windows(2).any(|pair| pair[1] - pair[0] > 1), "in no order: {some:?}");
    pass(&running, 20);
    let all = events().await;
    assert_eq!(ids(&all), (1..=50).collect::<Vec<_>>());
    assert_eq!(all[0]["time"], running.simulator.now() - 40 - 432_000);
    assert_eq!(
        running.simulator.batch(Log::Objects, &Batch { rows: 3, time_offset: 32_400, ..Batch::default() }),
        3
    );
    let ahead = post(&running, "/api/ai/GetObjectLog", "").await["events"][0]["created"].as_i64();
    assert_eq!(ahead, Some(running.simulator.now() + 32_400));
}

#[tokio::test]
async fn errors_are_recognised_with_every_status() {
    let running = with_handmade_rows(1).await;
    let client = client(&running);
    for (kind, label) in [
        (FaultKind::UnableToAuthenticate, "auth"),
        (FaultKind::AccessDenied, "denied"),
        (FaultKind::NoSubscription, "subscription"),
        (FaultKind::BadParameters, "bad_request"),
        (FaultKind::SomethingWentWrong, "server_error"),
        (FaultKind::MessageOnly, "server_error"),
    ] {
        for status in [200, 400, 401, 403, 500] {
            running.simulator.set_faults(vec![Fault::new(kind).value(status)]);
            let error = client.page::<WebApiRow>(query(0, 1)).await.unwrap_err();
            assert_eq!(error.label(), label, "{kind:?} with {status}");
        }
    }
}

#[tokio::test]
async fn the_wait_that_is_asked_for_arrives() {
    let running = with_handmade_rows(1).await;
    let client = client(&running);
    let wait = async |kind: FaultKind, value: Option<u64>| {
        running.simulator.set_faults(vec![Fault { value, ..Fault::new(kind) }]);
        match client.page::<WebApiRow>(query(0, 1)).await {
            Err(ApiError::RateLimited { retry_after }) => retry_after.map(|wait| wait.as_secs_f64().ceil()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait(FaultKind::RateLimited, Some(120)).await, Some(120.0));
    let date = wait(FaultKind::RateLimitedDate, Some(120)).await.unwrap();
    assert!((119.0..=122.0).contains(&date), "{date}");
    assert_eq!(wait(FaultKind::RateLimitedBare, None).await, None);
}

#[tokio::test]
async fn decoding_faults_tell_what_is_wrong() {
    let running = with_handmade_rows(5).await;
    let client = client(&running);
    for (kind, fault) in [
        (FaultKind::EmptyBody, DecodeFault::Empty),
        (FaultKind::ProxyPage, DecodeFault::Html),
        (FaultKind::TruncatedJson, DecodeFault::NotJson),
        (FaultKind::MissingList, DecodeFault::NoList),
        (FaultKind::NullList, DecodeFault::NoList),
        (FaultKind::OversizedBody, DecodeFault::TooLarge),
        (FaultKind::GzipBomb, DecodeFault::TooLarge),
    ] {
        running.simulator.set_faults(vec![Fault::new(kind)]);
        let error = client.page::<WebApiRow>(query(0, 10)).await.unwrap_err();
        assert_eq!(error, ApiError::Decode(fault), "{kind:?}");
    }
}

#[tokio::test]
async fn faults_are_set_over_http_and_hit_the_same_requests_again() {
    let outcomes = async || {
        let running = with_handmade_rows(3).await;
        let faults = json!([{ "kind": "access_denied", "probability": 0.4, "endpoint": "GetWebAPILog", "value": 403 }]);
        let (status, body) = control(&running, "PUT", "faults", &faults).await;
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, faults));
        let client = client(&running);
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            outcomes.push(client.page::<WebApiRow>(query(0, 10)).await.is_ok());
            assert!(client.page::<ObjectRow>(query(0, 10)).await.is_ok());
        }
        assert_eq!(control(&running, "DELETE", "faults", "").await.0, 204);
        assert_eq!(control(&running, "GET", "faults", "").await.1, "[]");
        for bad in [json!([{ "kind": "nothing" }]), json!([{ "kind": "hang", "probability": 2 }]), json!({})]
        {
            assert_eq!(control(&running, "PUT", "faults", &bad).await.0, 400, "{bad}");
        }
        outcomes
    };
    let first = outcomes().await;
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(first, outcomes().await);
}

#[tokio::test]
async fn a_client_that_follows_redirects_is_noticed() {
    let running = with_handmade_rows(1).await;
    running.simulator.set_faults(vec![Fault::new(FaultKind::RedirectKeepingMethod)]);
    let url = format!("http://{}/api/ai/GetWebAPILog", running.addr);
    http().post(url).body(format!("token={TOKEN}")).send().await.unwrap();
    assert_eq!(running.simulator.requests()["redirected"], 1);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_hanging_answer() {
    let running = with_handmade_rows(1).await;
    running.simulator.set_faults(vec![Fault::new(FaultKind::Hang)]);
    let client = client(&running);
    let hanging = tokio::spawn(async move { client.page::<WebApiRow>(query(0, 1)).await.map(|_| ()) });
    while running.simulator.requests()["GetWebAPILog"] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(Duration::from_secs(3), running.stop()).await.expect("it stops");
    hanging.abort();
}

#[test]
fn the_command_says_where_it_listens_and_ends_when_asked() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"))
        .args(["simulate", "--listen-address=localhost:0", "--requests-per-minute=0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://127.0.0.1:").map(str::to_owned);
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = child.wait().unwrap();
    assert!(address.is_some_and(|port| port.parse::<u16>().is_ok()), "{line:?}");
    assert!(ended.success(), "{ended}");
}
