//! Shared by black-box tests: the real binary as a process, its pages, and what they should say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod expected;
pub(crate) mod page;
pub(crate) mod receiver;

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cryptolens_simulator::Log;
use page::Page;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// A token that any simulator takes.
pub(crate) const TOKEN: &str = "WyIxIiwi-invented";

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The binary with these arguments, and nothing from the environment that it would listen to.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("cryptolens_") || text.starts_with("otel_") || text.ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `serve` for one account, on a free port.
pub(crate) fn serve(api_url: &str, storage: &Path) -> Command {
    let mut command = serve_with_file(storage);
    command.arg(format!("--api.url={api_url}")).env("CRYPTOLENS_TOKEN", TOKEN);
    command
}

/// `serve` without a token, for what comes from a file.
pub(crate) fn serve_with_file(storage: &Path) -> Command {
    let mut command = command(&["serve"]);
    // A variable, so that a test can give the flag, to which a further one would add.
    command.env("CRYPTOLENS_WEB_LISTEN_ADDRESS", "127.0.0.1:0");
    command.arg(format!("--storage.path={}", storage.display()));
    command
}

/// A process and what it said so far. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    said: [Arc<Mutex<String>>; 2],
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Process {
        let mut child = command.spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let said: [Arc<Mutex<String>>; 2] = Default::default();
        let readers = vec![collect(output, &said[0]), collect(errors, &said[1])];
        Process { child, said, readers }
    }

    /// Standard output so far.
    pub(crate) fn output(&self) -> String {
        self.said[0].lock().unwrap().clone()
    }

    /// Standard error, and so the log, so far.
    pub(crate) fn log(&self) -> String {
        self.said[1].lock().unwrap().clone()
    }

    /// Lines of the log that contain all of these.
    pub(crate) fn lines(&self, parts: &[&str]) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.map(str::to_owned).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The most memory that it ever had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits for its end, and for its last words.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = eventually("the end of the process", async || self.child.try_wait().unwrap()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    /// Ends it with SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().unwrap();
        self.ended().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let mut into = into.lock().unwrap();
            into.push_str(&String::from_utf8_lossy(&line));
            into.push('\n');
        }
    })
}

/// Runs a command to its end: exit code, standard output, standard error.
pub(crate) async fn run(command: Command) -> (Option<i32>, String, String) {
    let mut process = Process::start(command);
    let status = process.ended().await;
    (status.code(), process.output(), process.log())
}

/// An exporter that serves.
pub(crate) struct Exporter {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
}

impl Exporter {
    pub(crate) async fn start(command: Command) -> Exporter {
        Exporter::of(Process::start(command)).await
    }

    /// Waits until a process serves.
    pub(crate) async fn of(mut process: Process) -> Exporter {
        let address = eventually("the address that is served on", async || {
            let ended = process.has_ended();
            let address = process.lines(&["serving"]).iter().find_map(|line| address_in(line));
            assert!(address.is_some() || !ended, "ended before it served:\n{}", process.log());
            address
        })
        .await;
        Exporter { process, address, http: http() }
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.request("GET", path).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        self.http.request(method.parse().unwrap(), url).send().await.unwrap()
    }

    /// Status and text.
    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn scrape(&self) -> Page {
        let (status, text) = self.text("/metrics").await;
        assert_eq!(status, 200, "{text}");
        Page::parse(&text)
    }

    /// Scrapes until a page answers the question.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&Page) -> Option<T>) -> T {
        eventually(what, async || look(&self.scrape().await)).await
    }

    /// The first page that shows a value.
    pub(crate) async fn until_value(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Page {
        let what = format!("{name} {labels:?} {value}");
        self.until(&what, |page| (page.value(name, labels) == Some(value)).then(|| page.clone())).await
    }

    /// Ends it as an operator would. Returns its log.
    pub(crate) async fn terminate(mut self) -> String {
        self.process.signal(Signal::TERM);
        let status = self.process.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.process.log()
    }
}

/// From logfmt or JSON.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("address")?;
    let rest = rest.trim_start_matches(['"', ':', '=']);
    rest.split(['"', ' ', ',']).next()?.parse().ok()
}

/// A client without habits: no proxy, no decompression, no redirects.
pub(crate) fn http() -> reqwest::Client {
    // Fails only if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().no_gzip().timeout(PATIENCE);
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// An ordinary row of a log.
pub(crate) fn row(log: Log, id: i64, time: i64) -> Box<RawValue> {
    let row = match log {
        Log::WebApi => json!({ "id": id, "productId": 3349, "time": time, "state": 2014 }),
        Log::Events => {
            json!({ "id": id, "productId": 3349, "time": time, "eventName": "start", "value": 0 })
        }
        Log::Objects => json!({ "id": id, "created": time, "resourceType": 3, "resourceAction": 2 }),
    };
    to_raw_value(&row).unwrap()
}

/// The family that counts the rows of a log.
pub(crate) fn entries(log: Log) -> &'static str {
    match log {
        Log::WebApi => "cryptolens_web_api_log_entries_total",
        Log::Events => "cryptolens_event_log_entries_total",
        Log::Objects => "cryptolens_object_log_entries_total",
    }
}
