//! A receiver of OTLP pushes that answers as a test asks it to, and keeps what it was sent. It
//! reads HTTP by itself, because it has to break connections where no server does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The points that [`Answer::Partial`] rejects.
pub(crate) const REJECTED: f64 = 3.0;

/// The answer to each push from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Status(u16),
    /// This status, and the header with the credential as the reason.
    Echo(u16),
    /// HTTP 200 with `partial_success`.
    Partial,
    /// No answer, on a connection that stays open.
    Hang,
    /// The connection is closed after a part of the body.
    Cut,
}

/// A push that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedPush {
    /// Request line and headers.
    pub(crate) head: String,
    /// The body without compression.
    pub(crate) body: Vec<u8>,
}

impl ReceivedPush {
    /// True if the text is a part of the body, as a label or a name is.
    pub(crate) fn contains(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<ReceiverState>>,
}

struct ReceiverState {
    answer: Answer,
    requests: usize,
    pushes: Vec<ReceivedPush>,
}

impl Receiver {
    pub(crate) async fn start(answer: Answer) -> Receiver {
        let state = ReceiverState { answer, requests: 0, pushes: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in between is not the receiver's mistake.
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Receiver { address, state }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answer_with(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// The requests that began so far, also those that were cut or never answered.
    pub(crate) fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    pub(crate) fn pushes(&self) -> Vec<ReceivedPush> {
        self.state.lock().unwrap().pushes.clone()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<ReceiverState>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let lower = head.to_ascii_lowercase();
        let header = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = header("content-length:").unwrap().parse().unwrap();
        let answer = {
            let mut state = state.lock().unwrap();
            state.requests += 1;
            state.answer
        };
        let mut body = vec![0; if answer == Answer::Cut { length / 2 } else { length }];
        stream.read_exact(&mut body).await?;
        if header("content-encoding:") == Some("gzip") && answer != Answer::Cut {
            let packed = std::mem::take(&mut body);
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut body)?;
        }
        // Tag 1 holds a message with the number of points in tag 1 and the reason in tag 2.
        let partial = [&[0x0a, 11, 0x08, 3, 0x12, 7][..], b"too old"].concat();
        let (status, answered) = match answer {
            Answer::Success => (200, Vec::new()),
            Answer::Status(status) => (status, b"the reason".to_vec()),
            Answer::Echo(status) => {
                let line = head.lines().find(|line| line.starts_with("authorization:"));
                (status, line.unwrap_or_default().as_bytes().to_vec())
            }
            Answer::Partial => (200, partial),
            Answer::Hang => std::future::pending().await,
            Answer::Cut => return Ok(()),
        };
        state.lock().unwrap().pushes.push(ReceivedPush { head, body });
        let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n", answered.len());
        stream.write_all(&[head.as_bytes(), &answered].concat()).await?;
    }
}
