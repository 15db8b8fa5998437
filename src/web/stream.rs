//! The stream of one connection, cut off when its client takes too long.
//!
//! - A read fails when the connection's [`Activity`] says that its time is over: no complete
//!   request header, or no further request.
//! - A write that makes no progress for 30 s fails, and the connection is reset. Without this, a
//!   client that asks for a page and never reads it keeps the page, its connection and its
//!   descriptor for as long as it likes. A slow reader that keeps reading is never cut off. The
//!   send buffer of each connection is small, so that progress can be seen: with the 4 MB that
//!   Linux may grow it to, a client that reads 10 kB/s would free enough room for the next write
//!   only every two minutes.
//!
//! It lies below TLS, so that its limits cover the handshake, and it does not know HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// Bytes that the system keeps for a reader. Linux doubles it for its own bookkeeping. A write
/// timeout of 30 s then asks for about 2 kB/s, and a round trip of 100 ms still allows 1 MB/s.
const SEND_BUFFER: usize = 64 * 1024;

/// A client that vanished without a word (a machine that lost its network) is noticed after
/// 60 s + 3 * 15 s, also while a request is answered.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(3);

/// A connection with limits on how long its client may take.
#[derive(Debug)]
pub(super) struct GuardedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// Set while a read waits.
    read_timer: Option<Pin<Box<Sleep>>>,
    /// Set while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl GuardedStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> GuardedStream {
        // A system that refuses leaves its own size, with which a slow reader may be cut sooner.
        let _ = sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
        // A system that refuses these is slower, or notices a lost client later.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
        GuardedStream { stream, activity, read_timer: None, write_timer: None }
    }

    /// A look at the first byte, which stays to be read; `None` if the client closes without one.
    pub(super) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut first = [0];
        std::future::poll_fn(|cx| {
            let mut first = ReadBuf::new(&mut first);
            if let Poll::Ready(peeked) = self.stream.poll_peek(cx, &mut first) {
                return Poll::Ready(peeked.map(|bytes| bytes > 0));
            }
            self.read_deadline(cx).map(Err)
        })
        .await
        .map(|there| there.then_some(first[0]))
    }

    /// An error once the time for reading is over.
    fn read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.activity.deadline(cx.waker()) else {
            self.read_timer = None;
            return Poll::Pending;
        };
        let timer = self.read_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        std::task::ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client asks for nothing"))
    }

    /// The outcome of a write, unless it waits for too long.
    fn watched(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            self.write_timer = None;
            if let Ok(bytes) = result {
                self.activity.has_written(bytes);
            }
            return Poll::Ready(result);
        }
        self.activity.write_waits();
        let limit = self.activity.timeouts().write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        std::task::ready!(timer.as_mut().poll(cx));
        // Without this the system would go on offering the rest to a reader that does not want it.
        let _ = self.stream.set_zero_linger();
        tracing::debug!(seconds = limit.as_secs(), "a reader that takes nothing is cut off");
        // The next write fails at once as well.
        timer.as_mut().reset(Instant::now());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.activity.has_read();
        }
        // Also after bytes: a client that sends one now and then makes no progress.
        match self.read_deadline(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for GuardedStream {
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
