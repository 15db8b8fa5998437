//! Remote write against a receiver in this process with prepared answers, and an outbox in memory.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use prost::Message as _;
use tokio::sync::watch;
use url::Url;

use super::message::WriteRequest;
use super::*;
use crate::history::{
    DropReason, HistoryFamily, HistorySample, HistorySeries, OutboxBatch, OutboxPosition, SampleCounts,
};
use crate::ingest::CheckpointError;
use crate::metrics::ProcessSource as _;

/// The stamp and value of a sample by its labels: what a database holds.
type Stored = BTreeMap<(Vec<(String, String)>, i64), f64>;

/// How the receiver answers a request.
#[derive(Clone)]
enum Reply {
    Status(u16, &'static str),
    RetryAfter(u16, &'static str),
    Never,
}

#[derive(Default)]
struct ReceiverState {
    /// Replies to come; after them, every request is stored.
    replies: Mutex<VecDeque<Reply>>,
    /// Stamps that it refuses, with the answer.
    refused: Mutex<BTreeMap<i64, Reply>>,
    /// The most samples of a request.
    most: Mutex<Option<usize>>,
    /// The header `Authorization` that it asks for.
    credentials: Mutex<Option<&'static str>>,
    stored: Mutex<Stored>,
    bodies: Mutex<Vec<(HeaderMap, Bytes)>>,
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

    fn target(&self) -> RemoteWriteTarget {
        RemoteWriteTarget::of(Url::parse(&format!("http://{}/api/v1/write", self.address)).unwrap())
    }

    fn requests(&self) -> usize {
        self.state.bodies.lock().unwrap().len()
    }
}

async fn receive(
    State(state): State<Arc<ReceiverState>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path() != "/api/v1/write" {
        return StatusCode::NOT_FOUND.into_response();
    }
    state.bodies.lock().unwrap().push((headers.clone(), body.clone()));
    let wanted = *state.credentials.lock().unwrap();
    if wanted.is_some_and(|wanted| headers.get("authorization").is_none_or(|found| found != wanted)) {
        return (StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    }
    let next = state.replies.lock().unwrap().pop_front();
    if let Some(reply) = next {
        return answer(reply).await;
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let request = WriteRequest::decode(&*bytes).unwrap();
    let samples: usize = request.timeseries.iter().map(|series| series.samples.len()).sum();
    if state.most.lock().unwrap().is_some_and(|most| samples > most) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let refused = state.refused.lock().unwrap().clone();
    let mut stored = state.stored.lock().unwrap().clone();
    for series in request.timeseries {
        let labels: Vec<_> = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
        for sample in series.samples {
            if let Some(reply) = refused.get(&sample.timestamp) {
                // As Prometheus 2: nothing of the request is stored.
                return answer(reply.clone()).await;
            }
            stored.entry((labels.clone(), sample.timestamp)).or_insert(sample.value);
        }
    }
    *state.stored.lock().unwrap() = stored;
    StatusCode::NO_CONTENT.into_response()
}

async fn answer(reply: Reply) -> Response {
    let status = |status| StatusCode::from_u16(status).unwrap();
    match reply {
        Reply::Status(code, text) => (status(code), text).into_response(),
        Reply::RetryAfter(code, wait) => (status(code), [("retry-after", wait)]).into_response(),
        Reply::Never => std::future::pending().await,
    }
}

/// Samples of one target, in memory.
#[derive(Clone)]
struct MemoryOutbox {
    state: Arc<Mutex<MemoryState>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct MemoryState {
    samples: Vec<HistorySample>,
    done: u64,
    counts: SampleCounts,
}

impl MemoryOutbox {
    fn of(samples: Vec<HistorySample>) -> MemoryOutbox {
        let state = MemoryState { samples, ..MemoryState::default() };
        MemoryOutbox { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0) }
    }

    fn add(&self, samples: Vec<HistorySample>) {
        self.state.lock().unwrap().samples.extend(samples);
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn counts(&self) -> SampleCounts {
        self.state.lock().unwrap().counts.clone()
    }

    async fn is_empty(&self) {
        let empty = async {
            loop {
                let is_empty = {
                    let state = self.state.lock().unwrap();
                    state.done == u64::try_from(state.samples.len()).unwrap()
                };
                if is_empty {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(300), empty).await.unwrap();
    }
}

impl Outbox for MemoryOutbox {
    async fn oldest(&self, _: &Arc<str>, at_most: usize) -> Result<OutboxBatch, CheckpointError> {
        let state = self.state.lock().unwrap();
        let done = usize::try_from(state.done).unwrap();
        let mut batch = OutboxBatch::empty();
        let position = OutboxPosition { generation: 0, chunk: 0, samples: state.done };
        batch.push(position, state.samples.iter().skip(done).take(at_most).cloned());
        Ok(batch)
    }

    async fn acknowledge(
        &self,
        _: &Arc<str>,
        until: OutboxPosition,
        counts: SampleCounts,
    ) -> Result<(), CheckpointError> {
        let mut state = self.state.lock().unwrap();
        assert!(until.samples > state.done);
        state.done = until.samples;
        state.counts.add(&counts);
        Ok(())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn now_millis(&self) -> i64 {
        chrono::Utc::now().timestamp_millis()
    }
}

const WINDOW: Duration = Duration::from_secs(31 * 86_400);

/// One sample a minute, up to now, of one series.
fn minutes(count: i64) -> Vec<HistorySample> {
    let series = Arc::new(HistorySeries {
        family: HistoryFamily::Covered,
        account: "default".into(),
        values: Arc::from([Arc::from("events")]),
    });
    let now = chrono::Utc::now().timestamp_millis();
    let stamp = |minute: i64| now - (count - minute) * 60_000;
    (0..count)
        .map(|minute| HistorySample { series: Arc::clone(&series), stamp: stamp(minute), value: minute + 1 })
        .collect()
}

fn settings(target: RemoteWriteTarget) -> RemoteWriteSettings {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = vec![label("job", "cryptolens-exporter"), label("instance", "pod-0")];
    RemoteWriteSettings { target, labels, window: WINDOW }
}

/// A task that ends with the test.
struct Running {
    shutdown: CancellationToken,
    deliveries: Arc<HistoryDeliveries>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn start(settings: RemoteWriteSettings, outbox: &MemoryOutbox) -> Running {
    let (shutdown, deliveries) = (CancellationToken::new(), Arc::default());
    tokio::spawn(run(settings, (outbox.clone(), Arc::clone(&deliveries)), shutdown.clone()));
    Running { shutdown, deliveries }
}

fn stamps(receiver: &Receiver) -> Vec<i64> {
    let stored = receiver.state.stored.lock().unwrap();
    stored.keys().map(|(_, stamp)| *stamp).collect()
}

#[tokio::test]
async fn everything_arrives_once_oldest_first_with_the_headers_of_the_protocol() {
    let receiver = Receiver::start(&[]).await;
    let samples = minutes(12_001);
    let outbox = MemoryOutbox::of(samples.clone());
    let running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    assert_eq!(outbox.counts(), SampleCounts { sent: 12_001, ..SampleCounts::default() });
    assert_eq!(receiver.requests(), 3);
    let expected: Vec<i64> = samples.iter().map(|sample| sample.stamp).collect();
    assert_eq!(stamps(&receiver), expected);
    let (headers, _) = receiver.state.bodies.lock().unwrap()[0].clone();
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers["user-agent"].to_str().unwrap().starts_with("cryptolens-exporter/"));
    assert_eq!(running.deliveries.collect().len(), 1, "the time of the last success");

    outbox.add(minutes(1));
    outbox.is_empty().await;
    assert_eq!(receiver.requests(), 4, "what is new is sent when it is there");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_until_it_does_byte_by_byte_the_same() {
    let receiver = Receiver::start(&[
        Reply::Status(500, "out of memory"),
        Reply::RetryAfter(429, "7"),
        Reply::Status(502, "<html>bad gateway</html>"),
        Reply::Status(503, ""),
        Reply::Status(504, ""),
    ])
    .await;
    let outbox = MemoryOutbox::of(minutes(10));
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    assert_eq!(outbox.counts(), SampleCounts { sent: 10, ..SampleCounts::default() });
    let bodies = receiver.state.bodies.lock().unwrap().clone();
    assert_eq!(bodies.len(), 6);
    assert!(bodies.iter().all(|(_, body)| *body == bodies[0].1));
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_and_asked_again() {
    let receiver = Receiver::start(&[Reply::Never]).await;
    let outbox = MemoryOutbox::of(minutes(10));
    let target = RemoteWriteTarget { timeout: Duration::from_millis(50), ..receiver.target() };
    let _running = start(settings(target), &outbox);
    outbox.is_empty().await;
    assert_eq!((outbox.counts().sent, receiver.requests()), (10, 2));
}

#[tokio::test]
async fn samples_that_are_refused_for_good_are_found_by_halving_and_counted_by_reason() {
    let receiver = Receiver::start(&[]).await;
    let samples = minutes(100);
    {
        let mut refused = receiver.state.refused.lock().unwrap();
        // As Prometheus 2 answers some of them.
        refused.insert(samples[3].stamp, Reply::Status(500, "too old sample"));
        refused.insert(samples[50].stamp, Reply::Status(400, "out of order sample"));
        refused.insert(samples[51].stamp, Reply::Status(400, "duplicate sample for timestamp"));
        refused.insert(samples[98].stamp, Reply::Status(400, "out of bounds"));
        refused.insert(samples[99].stamp, Reply::Status(422, "label value too long"));
    }
    let outbox = MemoryOutbox::of(samples);
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    let dropped = [
        DropReason::TooOld,
        DropReason::OutOfOrder,
        DropReason::Duplicate,
        DropReason::OutOfBounds,
        DropReason::Refused,
    ];
    let dropped = dropped.into_iter().map(|reason| (reason, 1)).collect();
    assert_eq!(outbox.counts(), SampleCounts { sent: 95, dropped });
    assert_eq!(stamps(&receiver).len(), 95);
}

#[tokio::test]
async fn a_receiver_that_wants_smaller_requests_gets_them() {
    let receiver = Receiver::start(&[]).await;
    *receiver.state.most.lock().unwrap() = Some(30);
    let outbox = MemoryOutbox::of(minutes(200));
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    assert_eq!(outbox.counts(), SampleCounts { sent: 200, ..SampleCounts::default() });
    // Of 200, 100, 50 and 25 samples the last are few enough; then they grow to 30, and 31 are too
    // many.
    assert!(receiver.requests() <= 3 + 6 + 1 + 4, "{}", receiver.requests());
}

#[tokio::test]
async fn requests_grow_again_when_the_receiver_takes_more() {
    let receiver = Receiver::start(&[]).await;
    *receiver.state.most.lock().unwrap() = Some(30);
    let outbox = MemoryOutbox::of(minutes(200));
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    *receiver.state.most.lock().unwrap() = None;
    let mut later = minutes(8_200);
    outbox.add(later.split_off(200));
    outbox.is_empty().await;
    let samples = |body: &Bytes| {
        let bytes = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let request = WriteRequest::decode(&*bytes).unwrap();
        request.timeseries.iter().map(|series| series.samples.len()).sum::<usize>()
    };
    let largest = receiver.state.bodies.lock().unwrap()[20..].iter().map(|(_, body)| samples(body)).max();
    assert!(largest > Some(300), "{largest:?}");
}

#[tokio::test]
async fn a_sample_that_alone_is_too_large_is_dropped() {
    let receiver = Receiver::start(&[]).await;
    *receiver.state.most.lock().unwrap() = Some(0);
    let outbox = MemoryOutbox::of(minutes(2));
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    let dropped = BTreeMap::from([(DropReason::Refused, 2)]);
    assert_eq!(outbox.counts(), SampleCounts { sent: 0, dropped });
}

#[tokio::test]
async fn what_is_older_than_the_window_is_not_sent() {
    let receiver = Receiver::start(&[]).await;
    let outbox = MemoryOutbox::of(minutes(100));
    // In the middle of a minute, so that time that passes changes nothing.
    let window = Duration::from_secs(10 * 60 + 30);
    let _running = start(RemoteWriteSettings { window, ..settings(receiver.target()) }, &outbox);
    outbox.is_empty().await;
    let dropped = BTreeMap::from([(DropReason::TooOld, 90)]);
    assert_eq!(outbox.counts(), SampleCounts { sent: 10, dropped });
    assert_eq!(stamps(&receiver).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_lose_nothing_and_a_new_password_is_taken_from_its_file() {
    let receiver = Receiver::start(&[]).await;
    *receiver.state.credentials.lock().unwrap() = Some("Basic bWU6bmV3");
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "old\n").unwrap();
    let credentials =
        Some(TargetCredentials::Basic { username: "me".to_owned(), password_file: password_file.clone() });
    let outbox = MemoryOutbox::of(minutes(10));
    let _running = start(settings(RemoteWriteTarget { credentials, ..receiver.target() }), &outbox);
    while receiver.requests() < 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(outbox.counts(), SampleCounts::default());
    std::fs::write(&password_file, "new\n").unwrap();
    outbox.is_empty().await;
    assert_eq!(outbox.counts(), SampleCounts { sent: 10, ..SampleCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_switched_off_loses_nothing() {
    let receiver = Receiver::start(&[Reply::Status(404, "not enabled"), Reply::Status(405, "")]).await;
    let outbox = MemoryOutbox::of(minutes(10));
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    assert_eq!(outbox.counts(), SampleCounts { sent: 10, ..SampleCounts::default() });
    assert_eq!(receiver.requests(), 3);
}

#[tokio::test]
async fn everything_sent_twice_changes_nothing() {
    let receiver = Receiver::start(&[]).await;
    let samples = minutes(6_000);
    for _ in 0..2 {
        let outbox = MemoryOutbox::of(samples.clone());
        let _running = start(settings(receiver.target()), &outbox);
        outbox.is_empty().await;
    }
    let bodies = receiver.state.bodies.lock().unwrap().clone();
    assert!(bodies.len() == 4 && bodies[0].1 == bodies[2].1 && bodies[1].1 == bodies[3].1);
    assert_eq!(stamps(&receiver).len(), 6_000);
}

#[tokio::test]
async fn requests_stay_below_a_megabyte() {
    let receiver = Receiver::start(&[]).await;
    let now = chrono::Utc::now().timestamp_millis();
    let sample = |number: i64| HistorySample {
        series: Arc::new(HistorySeries {
            family: HistoryFamily::EventEntries,
            account: "default".into(),
            values: Arc::from([
                Arc::from(number.to_string()),
                Arc::from("é".repeat(100)),
                Arc::from("ü".repeat(100)),
            ]),
        }),
        stamp: now,
        value: 1,
    };
    let outbox = MemoryOutbox::of((0..5_000).map(sample).collect());
    let _running = start(settings(receiver.target()), &outbox);
    outbox.is_empty().await;
    let lengths: Vec<usize> = {
        let bodies = receiver.state.bodies.lock().unwrap();
        bodies.iter().map(|(_, body)| snap::raw::decompress_len(body).unwrap()).collect()
    };
    assert!(lengths.len() > 2 && lengths.iter().all(|length| *length <= 1_000_000), "{lengths:?}");
    assert!(lengths[0] > 700_000, "{lengths:?}");
}

#[tokio::test]
async fn a_probe_says_what_is_the_matter() {
    let receiver = Receiver::start(&[Reply::Status(404, "404 page not found")]).await;
    let error = probe(&receiver.target(), WINDOW).await.unwrap_err();
    assert!(error.advice.contains("--web.enable-remote-write-receiver"), "{error:?}");
    assert_eq!(probe(&receiver.target(), WINDOW).await, Ok(Vec::new()), "it says nothing of its settings");
    *receiver.state.credentials.lock().unwrap() = Some("another");
    let error = probe(&receiver.target(), WINDOW).await.unwrap_err();
    assert!(error.advice.contains("basic_auth"), "{error:?}");
    let nobody = RemoteWriteTarget::of(Url::parse("http://127.0.0.1:1/api/v1/write").unwrap());
    let error = probe(&nobody, WINDOW).await.unwrap_err();
    assert!(error.advice.contains("host and port"), "{error:?}");
}
