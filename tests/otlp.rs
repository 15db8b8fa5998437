//! The push of the real binary to receivers that fail: each failure is counted under its name, and
//! costs neither a poll, nor a scrape, nor the end of the process anything; and `check` names the
//! failure and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(unreachable_pub, reason = "shared with other tests")]
mod common;

use std::process::Command;

use common::receiver::{Answer, REJECTED, Receiver};
use common::{Exporter, TOKEN, command, entries, eventually, row, run, serve};
use cryptolens_simulator::{Log, Options, Running, start};
use rustix::process::Signal;
use tempfile::TempDir;

const PUSHES: &str = "cryptolens_exporter_otlp_pushes_total";

/// A simulated account, a receiver, and a directory for the ledger.
struct World {
    running: Running,
    receiver: Receiver,
    folder: TempDir,
    /// The id of the newest row of each log.
    newest: i64,
}

impl World {
    async fn new(answer: Answer) -> World {
        let running = start(Options::empty()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        World { running, receiver: Receiver::start(answer).await, folder, newest: 0 }
    }

    /// Pushes each second. `timeout` is the time that the receiver has for its answer.
    fn serve(&self, timeout: &str) -> Command {
        let mut command = serve(&self.running.url(), self.folder.path());
        command.args(["--since=all", "--poll.interval=1s"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.endpoint());
        command.env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", timeout).env("OTEL_METRIC_EXPORT_TIMEOUT", timeout);
        command
    }

    /// Adds a row to each log, and waits until all of them are counted and shown.
    async fn count_more_rows(&mut self, exporter: &Exporter) {
        self.newest += 1;
        let simulator = &self.running.simulator;
        for log in Log::ALL {
            simulator.append(log, vec![row(log, self.newest, simulator.now())], None);
        }
        let rows = f64::from(i32::try_from(self.newest).unwrap());
        for log in Log::ALL {
            exporter.until("more rows", |page| (page.sum(entries(log), &[]) == rows).then_some(())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_receiver_is_counted_under_its_name_and_delays_no_poll() {
    let mut world = World::new(Answer::Success).await;
    let exporter = Exporter::start(world.serve("700")).await;
    for (answer, result) in [
        (Answer::Success, "ok"),
        (Answer::Cut, "unreachable"),
        (Answer::Status(429), "refused"),
        (Answer::Status(503), "refused"),
        (Answer::Status(400), "refused"),
        (Answer::Hang, "timeout"),
        (Answer::Partial, "partial"),
        (Answer::Success, "ok"),
    ] {
        world.receiver.answer_with(answer);
        let page = exporter.scrape().await;
        let counted = page.value(PUSHES, &[("result", result)]).unwrap();
        // The first of them may have begun under the answer before.
        exporter
            .until(result, |page| {
                (page.value(PUSHES, &[("result", result)]).unwrap() >= counted + 3.0).then_some(())
            })
            .await;
        world.count_more_rows(&exporter).await;
    }
    let page = exporter.scrape().await;
    let partial = page.value(PUSHES, &[("result", "partial")]).unwrap();
    assert_eq!(
        page.value("cryptolens_exporter_otlp_rejected_points_total", &[]),
        Some(partial * REJECTED),
        "points that were rejected are not sent again"
    );
    let log = exporter.terminate().await;
    let of = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(of("metrics are not pushed"), 1, "one line for all failures in a row: {log}");
    assert_eq!(of("metrics are pushed again"), 1, "{log}");
    assert_eq!(of("the receiver rejects some of the metrics"), 1, "{log}");
}

/// The receiver has ten minutes for its answer, far more than anything is waited for here.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_no_poll_no_scrape_and_not_the_end() {
    let mut world = World::new(Answer::Hang).await;
    let mut exporter = Exporter::start(world.serve("600000")).await;
    eventually("a push", async || (world.receiver.requests() > 0).then_some(())).await;
    for _ in 0..3 {
        world.count_more_rows(&exporter).await;
    }
    assert_eq!(world.receiver.requests(), 1, "the next push waits for the end of this one");
    exporter.process.signal(Signal::TERM);
    let status = exporter.process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", exporter.process.log());
}

fn has(table: &str, parts: &[&str]) {
    // The table wraps its cells where it has no room.
    let words = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(words.contains(part), "no {part:?} in\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_why_the_receiver_takes_no_push_and_what_to_do() {
    let running = start(Options::empty()).await.unwrap();
    let receiver = Receiver::start(Answer::Success).await;
    let check = async |endpoint: String| {
        let mut command = command(&["check", &format!("--api.url={}", running.url())]);
        command.arg(format!("--otlp.endpoint={endpoint}")).env("CRYPTOLENS_TOKEN", TOKEN);
        run(command).await
    };
    let (code, table, errors) = check(receiver.endpoint()).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{table}");
    has(&table, &["otlp push ok"]);
    let pushes = receiver.pushes();
    let [push] = &pushes[..] else { panic!("{pushes:?}") };
    assert!(push.body.is_empty() && push.head.starts_with("POST /v1/metrics "), "{push:?}");

    for (status, parts) in [
        (401, ["HTTP 401: the reason", "check the credentials in OTEL_EXPORTER_OTLP_HEADERS"]),
        (404, ["HTTP 404: the reason", "check the path of the endpoint"]),
        (503, ["HTTP 503: the reason", "look at the log of the receiver"]),
    ] {
        receiver.answer_with(Answer::Status(status));
        let (code, table, errors) = check(receiver.endpoint()).await;
        assert_eq!(code, Some(1), "{table}");
        has(&table, &parts);
        assert_eq!(errors, "error: not everything works; see the table\n");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, table, _) = check(format!("http://{closed}")).await;
    assert_eq!(code, Some(1), "{table}");
    has(&table, &["no connection to the receiver: Connection refused", "check the host and port"]);
}
