//! The push against a receiver in this process that answers as a test asks it to.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use prost::Message as _;

use super::message::{ExportMetricsResponse, PartialSuccess};
use super::*;
use crate::metrics::{ProcessSource as _, ProcessValue};
use crate::outputs::PushHeaders;

/// How the receiver answers a request.
#[derive(Clone)]
enum Reply {
    Success,
    Status(u16),
    StatusWithRetryAfter(u16, &'static str),
    Partial { rejected: i64 },
    Redirect,
    Never,
}

/// A request that arrived.
struct Received {
    path: String,
    headers: HeaderMap,
    request: ExportMetricsRequest,
}

impl Received {
    fn metrics(&self) -> Vec<OtlpMetric> {
        metrics_of(Arc::new(self.request.clone()))
    }

    fn points(&self) -> usize {
        self.metrics().iter().map(point_count).sum()
    }

    /// The times of all number points.
    fn times(&self) -> Vec<u64> {
        let points = self.metrics().into_iter().flat_map(number_points);
        points.map(|point| point.time_unix_nano).collect()
    }

    fn ends_series(&self) -> bool {
        let points: Vec<_> = self.metrics().into_iter().flat_map(number_points).collect();
        !points.is_empty() && points.iter().all(|point| point.flags == message::NO_RECORDED_VALUE)
    }
}

fn number_points(metric: OtlpMetric) -> Vec<message::NumberDataPoint> {
    let gauge = metric.gauge.map(|gauge| gauge.data_points);
    gauge.or_else(|| metric.sum.map(|sum| sum.data_points)).unwrap_or_default()
}

#[derive(Default)]
struct ReceiverState {
    /// Replies to come; after them, every request succeeds.
    replies: Mutex<VecDeque<Reply>>,
    received: Mutex<Vec<Received>>,
    /// The requests that are never answered and whose connection is still open.
    hanging: Arc<()>,
}

impl ReceiverState {
    fn hanging(&self) -> usize {
        Arc::strong_count(&self.hanging) - 1
    }
}

struct Receiver {
    state: Arc<ReceiverState>,
    address: SocketAddr,
}

impl Receiver {
    async fn start(replies: &[Reply]) -> Receiver {
        let state = Arc::new(ReceiverState::default());
        state.replies.lock().unwrap().extend(replies.iter().cloned());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { state, address }
    }

    fn settings(&self) -> OtlpSettings {
        settings(&format!("http://{}/v1/metrics", self.address))
    }

    fn received<T>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        look(&self.state.received.lock().unwrap())
    }

    /// Waits until so many requests have come.
    async fn has(&self, requests: usize) {
        let arrived = async {
            while self.received(<[Received]>::len) < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), arrived).await.unwrap();
    }
}

async fn receive(
    State(state): State<Arc<ReceiverState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(method, Method::POST);
    let mut bytes = body.to_vec();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        bytes.clear();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut bytes).unwrap();
    }
    let request = ExportMetricsRequest::decode(&*bytes).unwrap();
    state.received.lock().unwrap().push(Received { path: uri.path().to_owned(), headers, request });
    let reply = state.replies.lock().unwrap().pop_front().unwrap_or(Reply::Success);
    let status = |status| StatusCode::from_u16(status).unwrap();
    match reply {
        Reply::Success => ().into_response(),
        Reply::Status(code) => (status(code), "the reason").into_response(),
        Reply::StatusWithRetryAfter(code, wait) => (status(code), [("retry-after", wait)]).into_response(),
        Reply::Partial { rejected } => {
            let message = "too old".to_owned();
            let partial = PartialSuccess { rejected_data_points: rejected, error_message: message };
            let response = ExportMetricsResponse { partial_success: Some(partial) };
            response.encode_to_vec().into_response()
        }
        Reply::Redirect => (status(307), [("location", "/elsewhere")]).into_response(),
        Reply::Never => {
            let _hanging = Arc::clone(&state.hanging);
            std::future::pending().await
        }
    }
}

fn settings(endpoint: &str) -> OtlpSettings {
    OtlpSettings {
        endpoint: endpoint.parse().unwrap(),
        headers: PushHeaders::default(),
        timeout: Duration::from_secs(30),
        push_timeout: Duration::from_secs(30),
        interval: Duration::from_secs(3600),
        gzip: true,
        ca_pem: None,
        identity_pem: None,
        proxy: None,
        resource: vec![("service.name".to_owned(), "cryptolens-exporter".to_owned())],
    }
}

fn sources() -> OtlpSources {
    OtlpSources {
        snapshot: Arc::new(encode::tests::snapshot),
        metrics: Arc::default(),
        instance_id: Arc::new(|| Some(Arc::from("an-id"))),
    }
}

fn pusher(settings: OtlpSettings) -> Pusher {
    let client = OtlpClient::new(&settings).unwrap();
    Pusher::new(settings, sources(), client, Arc::from("an-id"))
}

/// The counters of pushes by result: ok, partial, refused, unreachable, timeout.
fn results(pusher: &Pusher) -> [f64; 5] {
    let families = pusher.sources.metrics.collect();
    let value = |place: usize| match families[0].points[place].value {
        ProcessValue::Counter(value) => value,
        _ => panic!("no counter"),
    };
    [0, 1, 2, 3, 4].map(value)
}

#[tokio::test]
async fn a_push_has_every_point_at_one_time_and_says_who_sends_it() {
    let receiver = Receiver::start(&[]).await;
    let mut settings = receiver.settings();
    settings.headers.insert("x-api-key", "hush").unwrap();
    let mut pusher = pusher(settings);
    assert_eq!(pusher.push(PointContent::Values).await, Ok(Pushed::default()));
    assert_eq!(pusher.push(PointContent::Values).await, Ok(Pushed::default()));
    receiver.received(|received| {
        let [first, second] = received else { panic!("{} requests", received.len()) };
        assert_eq!(first.path, "/v1/metrics");
        assert_eq!(first.headers["content-type"], "application/x-protobuf");
        assert_eq!(first.headers["content-encoding"], "gzip");
        assert_eq!(first.headers["x-api-key"], "hush");
        let resource = first.request.resource_metrics[0].resource.clone().unwrap();
        let expected =
            [KeyValue::new("service.name", "cryptolens-exporter"), KeyValue::new(INSTANCE_ID, "an-id")];
        assert_eq!(resource.attributes, expected);
        assert_eq!(first.points(), 6);
        let (first, second) = (first.times(), second.times());
        assert!(first.iter().all(|time| *time == first[0]));
        assert!(second[0] > first[0]);
    });
    assert_eq!(results(&pusher), [2.0, 0.0, 0.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_body_without_compression_is_the_same() {
    let receiver = Receiver::start(&[]).await;
    let mut pusher = pusher(OtlpSettings { gzip: false, ..receiver.settings() });
    pusher.push(PointContent::Values).await.unwrap();
    receiver.received(|received| {
        assert!(!received[0].headers.contains_key("content-encoding"));
        assert_eq!(received[0].points(), 6);
    });
}

#[tokio::test]
async fn a_configured_instance_id_replaces_that_of_the_ledger() {
    let receiver = Receiver::start(&[]).await;
    let mut settings = receiver.settings();
    settings.resource.push((INSTANCE_ID.to_owned(), "mine".to_owned()));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(settings, sources(), shutdown.clone()));
    receiver.has(1).await;
    shutdown.cancel();
    task.await.unwrap();
    receiver.received(|received| {
        let resource = received[0].request.resource_metrics[0].resource.clone().unwrap();
        let ids: Vec<_> = resource.attributes.iter().filter(|a| a.key == INSTANCE_ID).collect();
        assert_eq!(ids, [&KeyValue::new(INSTANCE_ID, "mine")]);
    });
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_and_loses_no_point() {
    let receiver = Receiver::start(&[Reply::Status(413), Reply::Status(413)]).await;
    let mut pusher = pusher(receiver.settings());
    assert_eq!(pusher.push(PointContent::Values).await, Ok(Pushed::default()));
    let sizes = |receiver: &Receiver| {
        receiver.received(|received| received.iter().map(Received::points).collect::<Vec<_>>())
    };
    assert_eq!(sizes(&receiver), [6, 3, 2, 1, 2, 1]);
    receiver.state.received.lock().unwrap().clear();
    pusher.push(PointContent::Values).await.unwrap();
    assert_eq!(sizes(&receiver), [2, 2, 2], "the receiver need not refuse again");
    assert_eq!(results(&pusher)[0], 2.0);
}

#[tokio::test]
async fn a_point_that_is_too_large_is_refused_for_good() {
    let receiver = Receiver::start(&vec![Reply::Status(413); 100]).await;
    let mut pusher = pusher(receiver.settings());
    assert_eq!(pusher.push(PointContent::Values).await, Err(PushError::TooLarge));
    assert_eq!(results(&pusher), [0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[tokio::test]
async fn rejected_points_are_counted_and_not_sent_again() {
    let receiver = Receiver::start(&[Reply::Partial { rejected: 4 }]).await;
    let mut pusher = pusher(receiver.settings());
    let pushed = pusher.push(PointContent::Values).await;
    assert_eq!(pushed, Ok(Pushed { rejected: 4, message: "too old".to_owned() }));
    assert_eq!(results(&pusher), [0.0, 1.0, 0.0, 0.0, 0.0]);
    let families = pusher.sources.metrics.collect();
    assert_eq!(families[1].points[0].value, ProcessValue::Counter(2.0));
    assert_eq!(families[2].points[0].value, ProcessValue::Counter(4.0));
    assert_eq!(receiver.received(<[Received]>::len), 1);
}

#[tokio::test]
async fn each_failure_has_its_own_error() {
    let replies = [Reply::Status(400), Reply::StatusWithRetryAfter(429, "7"), Reply::Redirect, Reply::Never];
    let receiver = Receiver::start(&replies).await;
    let mut pusher = pusher(OtlpSettings { timeout: Duration::from_millis(200), ..receiver.settings() });
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.push(pusher.push(PointContent::Values).await.unwrap_err());
    }
    let reason = "the reason".to_owned();
    assert_eq!(errors[0], PushError::Refused { status: 400, message: reason, retry_after: None });
    assert_eq!(errors[1].retry(), Some(Some(Duration::from_secs(7))));
    assert!(matches!(errors[2], PushError::Refused { status: 307, .. }), "{:?}", errors[2]);
    assert_eq!(errors[3], PushError::Timeout);
    assert!(receiver.received(|received| received.iter().all(|request| request.path == "/v1/metrics")));
    assert_eq!(results(&pusher), [0.0, 0.0, 3.0, 0.0, 1.0]);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = settings(&format!("http://{}/v1/metrics", listener.local_addr().unwrap()));
    drop(listener);
    let error = pusher(nobody.clone()).push(PointContent::Values).await.unwrap_err();
    assert!(matches!(error, PushError::Unreachable(_)), "{error:?}");
    assert_eq!(error.retry(), Some(None));
    assert!(probe(&nobody).await.is_err());
}

#[tokio::test]
async fn a_probe_is_an_empty_push() {
    let receiver = Receiver::start(&[Reply::Success, Reply::Status(401), Reply::Status(404)]).await;
    assert_eq!(probe(&receiver.settings()).await, Ok(()));
    receiver.received(|received| assert_eq!(received[0].request, ExportMetricsRequest::default()));
    let unauthorized = probe(&receiver.settings()).await.unwrap_err();
    assert!(unauthorized.advice().contains("credentials"));
    let missing = probe(&receiver.settings()).await.unwrap_err();
    assert!(missing.advice().contains("/v1/metrics"));
}

#[tokio::test]
async fn a_refusal_that_may_pass_is_tried_again_with_a_new_time() {
    let replies = [Reply::StatusWithRetryAfter(503, "0"), Reply::StatusWithRetryAfter(429, "0")];
    let receiver = Receiver::start(&replies).await;
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(receiver.settings(), sources(), shutdown.clone()));
    // The regular pushes are an hour apart.
    receiver.has(3).await;
    receiver.received(|received| {
        let times: Vec<u64> = received.iter().map(|request| request.times()[0]).collect();
        assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    });
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_stop_pushes_once_more_and_then_ends_the_series() {
    let receiver = Receiver::start(&[]).await;
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(receiver.settings(), sources(), shutdown.clone()));
    receiver.has(1).await;
    shutdown.cancel();
    task.await.unwrap();
    receiver.received(|received| {
        let ends: Vec<bool> = received.iter().map(Received::ends_series).collect();
        assert_eq!(ends, [false, false, true]);
        assert!(received[2].times()[0] > received[1].times()[0]);
        assert_eq!(received[2].points(), received[1].points());
    });
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_keep_the_process() {
    let receiver = Receiver::start(&vec![Reply::Never; 10]).await;
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(receiver.settings(), sources(), shutdown.clone()));
    receiver.has(1).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
}

/// A push that failed frees its memory before the next one begins: the values, and the connection
/// with the body in it.
#[tokio::test]
async fn pushes_to_a_receiver_that_hangs_do_not_add_up_in_memory() {
    let receiver = Receiver::start(&vec![Reply::Never; 20]).await;
    let committed = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&committed);
    let snapshot = move || {
        let snapshot = encode::tests::snapshot();
        taken.lock().unwrap().extend(snapshot.committed.as_ref().map(Arc::downgrade));
        snapshot
    };
    let settings = OtlpSettings { timeout: Duration::from_millis(50), ..receiver.settings() };
    let client = OtlpClient::new(&settings).unwrap();
    let sources = OtlpSources { snapshot: Arc::new(snapshot), ..sources() };
    let mut pusher = Pusher::new(settings, sources, client, Arc::from("an-id"));
    for _ in 0..20 {
        assert_eq!(pusher.push(PointContent::Values).await, Err(PushError::Timeout));
        let kept = committed.lock().unwrap().iter().filter(|values| values.strong_count() > 0).count();
        assert_eq!(kept, 0, "values are kept after a push");
    }
    assert_eq!(committed.lock().unwrap().len(), 20);
    let closed = async {
        while receiver.state.hanging() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("a connection stays open");
    assert_eq!(results(&pusher)[4], 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_asked_but_never_longer_than_the_next_push() {
    let mut waits = Backoff::API.waits();
    let (now, minute) = (Instant::now(), Duration::from_secs(60));
    let regular = now + minute;
    let refused = |status, retry_after: Option<u64>| {
        let retry_after = retry_after.map(Duration::from_secs);
        Err(PushError::Refused { status, message: String::new(), retry_after })
    };
    let mut next = |pushed: &Result<Pushed, PushError>| next_push(pushed, &mut waits, now, regular) - now;
    assert_eq!(next(&Ok(Pushed::default())), minute);
    assert_eq!(next(&refused(429, Some(30))), Duration::from_secs(30));
    assert_eq!(next(&refused(503, Some(600))), minute);
    assert!(next(&Err(PushError::Unreachable("broken".to_owned()))) < minute);
    for status in [400, 401, 404, 500, 501] {
        assert_eq!(next(&refused(status, Some(1))), minute, "{status}");
    }
    assert_eq!(next(&Err(PushError::Timeout)), minute);
}
