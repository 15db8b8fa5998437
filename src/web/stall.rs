//! Cuts off readers that take nothing: a connection on which a write makes no progress for 30 s is
//! reset.
//!
//! Without this, whoever asks for a page and never reads it keeps the page, its connection and its
//! descriptor for as long as it likes. A slow reader that keeps reading is never cut. The send
//! buffer of each connection is small, so that a reader makes progress that can be seen: with the 4
//! MB that Linux may grow it to, one that reads 10 kB/s would free enough room for the next write
//! only every two minutes.
//!
//! It doesn't know HTTP: a connection on which nothing is to be written is none of its business,
//! however silent.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that the system keeps for a reader. Linux doubles it for its own bookkeeping. 30 s of
/// patience then ask for about 2 kB/s, and a round trip of 100 ms still allows 1 MB/s.
const SEND_BUFFER: usize = 64 * 1024;

/// Accepts connections that are cut off when their reader stalls.
#[derive(Debug)]
pub struct StallListener {
    listener: TcpListener,
    patience: Duration,
}

impl StallListener {
    /// Cuts readers off that take nothing for 30 s.
    #[must_use]
    pub fn new(listener: TcpListener) -> StallListener {
        StallListener { listener, patience: PATIENCE }
    }
}

impl axum::serve::Listener for StallListener {
    type Io = StallStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (StallStream, SocketAddr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        // A system that refuses leaves its own size, with which a slow reader may be cut sooner.
        let _ = sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
        (StallStream { stream, patience: self.patience, deadline: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a bound on how long a write may wait.
#[derive(Debug)]
pub struct StallStream {
    stream: TcpStream,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl StallStream {
    /// The outcome of a write, unless it waits for too long.
    fn watched(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Without this the system would go on offering the rest to a reader that does not want it.
        let _ = self.stream.set_zero_linger();
        tracing::debug!(seconds = patience.as_secs(), "a reader that takes nothing is cut off");
        // The next write fails at once as well.
        deadline.as_mut().reset(Instant::now());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")))
    }
}

impl AsyncRead for StallStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for StallStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watched(cx, written)
    }

    /// Without it, each page would be copied into a buffer of its connection.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    const PAGE: usize = 32 << 20;

    /// A page that tells when nobody holds it any more.
    struct Page(Vec<u8>, mpsc::UnboundedSender<()>);

    impl AsRef<[u8]> for Page {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            let _ = self.1.send(());
        }
    }

    /// Serves large pages; what comes out of the receiver are pages that were let go of.
    async fn served(patience: Duration) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dropped, receiver) = mpsc::unbounded_channel();
        let page = get(async move || Bytes::from_owner(Page(vec![b'x'; PAGE], dropped)));
        let router = Router::new().route("/", page);
        let listener = StallListener { listener, patience };
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, receiver)
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_off_and_its_page_let_go() {
        let (address, mut dropped) = served(Duration::from_millis(300)).await;
        let mut readers = Vec::new();
        for _ in 0..5 {
            readers.push(ask(address).await);
        }
        for _ in 0..5 {
            dropped.recv().await.unwrap();
        }
        for mut reader in readers {
            let mut page = Vec::new();
            // Reset; what the system had sent already may come first.
            let ended = reader.read_to_end(&mut page).await;
            assert!(ended.is_err() && page.len() < PAGE, "{ended:?} after {} bytes", page.len());
        }
    }

    #[tokio::test]
    async fn a_slow_reader_that_keeps_reading_is_not_cut_off() {
        let patience = Duration::from_millis(600);
        let (address, mut dropped) = served(patience).await;
        let mut reader = ask(address).await;
        let (began, mut taken) = (Instant::now(), 0);
        let mut piece = vec![0; 256 << 10];
        // For far longer than the patience, and then the rest at once.
        while began.elapsed() < patience * 4 {
            taken += reader.read(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(taken < PAGE, "it read all of it");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert!(taken + rest.len() > PAGE);
        dropped.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_connection_with_nothing_to_write_is_left_alone() {
        let (address, _dropped) = served(Duration::from_millis(50)).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        silent.write_all(b"GET /none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        silent.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}
