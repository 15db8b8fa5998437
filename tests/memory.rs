//! The memory of the real binary while an API sends it what no API should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_precision_loss, reason = "megabytes are rounded anyway")]

#[allow(unreachable_pub, reason = "shared with other tests")]
mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use common::{Exporter, Process, TOKEN, eventually, serve};

/// Issue 9, line 12.
const MOST: u64 = 100 * 1000 * 1000;

/// An answer before it is sent: compressed or not.
#[derive(Clone)]
struct Nasty {
    body: Vec<u8>,
    is_gzip: bool,
}

fn plain(body: Vec<u8>) -> Nasty {
    Nasty { body, is_gzip: false }
}

fn gzip(body: &[u8]) -> Nasty {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    Nasty { body: encoder.finish().unwrap(), is_gzip: true }
}

/// A page with these elements.
fn page(list: &[u8]) -> Vec<u8> {
    let mut body = br#"{"logs":["#.to_vec();
    body.extend_from_slice(list);
    body.extend_from_slice(br#"],"result":0,"message":null}"#);
    body
}

fn repeated(part: &str, times: usize) -> Vec<u8> {
    part.repeat(times).into_bytes()
}

/// Just below the cap of 32 MiB.
const FULL: usize = 33 * 1000 * 1000;

/// The answers for each method, in turn. Every answer was tried with every method once, by
/// hand.
fn nasty_answers() -> BTreeMap<&'static str, Vec<Nasty>> {
    let numbered = |rows: usize, more: &str| {
        let rows: Vec<String> = (1..=rows).map(|id| format!(r#"{{"id":{id}{more}}}"#)).collect();
        page(rows.join(",").as_bytes())
    };
    let zeros = page(&[repeated("0,", FULL / 2), b"0".to_vec()].concat());
    let text = |bytes: Vec<u8>| {
        page(&[br#"{"id":1,"eventName":""#.to_vec(), bytes, br#"","time":5}"#.to_vec()].concat())
    };
    let long_texts = format!(r#","eventName":"{}","featureName":"x""#, "\\n".repeat(200_000));
    let products =
        [br#"{"products":["#.to_vec(), repeated("{\"id\":7},", FULL / 9), b"],\"result\":0}".to_vec()];
    BTreeMap::from([
        (
            "GetWebAPILog",
            vec![gzip(&zeros), gzip(&page(&[repeated("[", FULL / 2), repeated("]", FULL / 2)].concat()))],
        ),
        ("GetEvents", vec![gzip(&text(repeated("\\n", FULL / 2))), gzip(&numbered(80, &long_texts))]),
        ("GetObjectLog", vec![plain(zeros), gzip(&numbered(FULL / 20, ""))]),
        ("GetProducts", vec![gzip(&products.concat())]),
    ])
}

/// An API that goes through the answers to a method again and again; how often each was asked.
struct Api {
    url: String,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Api {
    fn start(nasty: BTreeMap<&'static str, Vec<Nasty>>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let (counted, nasty) = (Arc::clone(&asked), Arc::new(nasty));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counted, nasty) = (Arc::clone(&counted), Arc::clone(&nasty));
                std::thread::spawn(move || answer(stream.unwrap(), &nasty, &counted));
            }
        });
        Api { url, asked }
    }

    fn asked(&self, method: &str) -> usize {
        self.asked.lock().unwrap().get(method).copied().unwrap_or(0)
    }
}

fn answer(
    mut stream: TcpStream,
    nasty: &BTreeMap<&'static str, Vec<Nasty>>,
    asked: &Mutex<BTreeMap<String, usize>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if read == 0 || text.contains("token=") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let method = text.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let Some(answers) = nasty.get(method) else { return };
    let nasty = {
        let mut asked = asked.lock().unwrap();
        let number = asked.entry(method.to_owned()).or_default();
        *number += 1;
        &answers[(*number - 1) % answers.len()]
    };
    let encoding = if nasty.is_gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let length = nasty.body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{encoding}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    // Who has read enough may be gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&nasty.body));
}

/// Issue 9, line 12: 32 kB of compressed zeros took 1.58 GB.
#[tokio::test]
async fn no_answer_takes_more_than_100_mb() {
    let answers = nasty_answers();
    let wanted: Vec<(&str, usize)> =
        answers.iter().map(|(method, answers)| (*method, answers.len())).collect();
    let api = Api::start(answers);
    let storage = tempfile::tempdir().unwrap();
    let mut command = serve(&api.url, storage.path());
    command.args(["--poll.interval=1s", "--since=all"]);
    let exporter = Exporter::start(command).await;
    // The last answers are at least on their way; each is read before the next is asked for.
    eventually("each answer", async || {
        let is_through = |(method, answers): &(&str, usize)| api.asked(method) >= *answers;
        wanted.iter().filter(|(method, _)| *method != "GetProducts").all(is_through).then_some(())
    })
    .await;
    assert_eq!(api.asked("GetProducts"), 1);
    let peak = exporter.process.peak_memory();
    println!("{:>6.1} MB", peak as f64 / 1e6);
    assert!(peak < MOST, "{peak} bytes");
}

#[tokio::test]
async fn no_license_key_takes_more_than_100_mb() {
    let in_key = |part: &str| {
        let parts = repeated(part, FULL / part.len());
        gzip(&[br#"{"licenseKey":{"notes":["#.to_vec(), parts, br#"0]},"result":0}"#.to_vec()].concat())
    };
    let keys = vec![in_key("0,"), in_key("{\"a\":1},"), in_key("\"\\n\",")];
    let wanted = keys.len();
    let api = Api::start(BTreeMap::from([("GetKey", keys)]));
    let mut command = common::command(&["audit", "seats", "--product=1", "--key=A"]);
    command.arg(format!("--api.url={}", api.url)).env("CRYPTOLENS_TOKEN", TOKEN);
    let mut process = Process::start(command);
    eventually("each answer", async || {
        assert!(!process.has_ended(), "{}", process.log());
        (api.asked("GetKey") > wanted).then_some(())
    })
    .await;
    let peak = process.peak_memory();
    println!("{:>6.1} MB", peak as f64 / 1e6);
    assert!(peak < MOST, "{peak} bytes");
    process.kill().await;
}
