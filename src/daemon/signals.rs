//! The signals to this process: SIGTERM and SIGINT ask it to end, SIGHUP to read its configuration
//! again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The streams of the signals, which hold a signal until somebody asks.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// A signal.
pub(super) enum SignalRequest {
    End,
    Reload,
}

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::End,
            _ = self.interrupt.recv() => SignalRequest::End,
            _ = self.hangup.recv() => SignalRequest::Reload,
        }
    }

    /// Waits for a signal to end. Requests to reload stay for [`Signals::next`].
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ready when the operating system or somebody at the terminal asks the process to end; never ready
/// if the signals cannot be received. A reload is not asked for, and SIGHUP is ignored.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    // Listens from now on, not from the first time that somebody waits: a signal in between would
    // kill the process.
    let signals = Signals::new();
    async move {
        match signals {
            Ok(mut signals) => signals.end().await,
            Err(_) => std::future::pending().await,
        }
    }
}
