//! How many connections the web server has, as it counts them itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{ProcessFamily, ProcessSource};
use crate::tally::families;

/// Counts of the web server's connections.
#[derive(Debug, Default)]
pub struct HttpConnections {
    open: AtomicU64,
    rejected: AtomicU64,
}

impl ProcessSource for HttpConnections {
    fn collect(&self) -> Vec<ProcessFamily> {
        let mut open = ProcessFamily::of(&families::HTTP_CONNECTIONS);
        // As many connections never come near 2^53.
        #[allow(clippy::cast_precision_loss)]
        open.gauge(&[], self.open() as f64);
        let mut rejected = ProcessFamily::of(&families::HTTP_CONNECTIONS_REJECTED);
        rejected.counter(&[], self.rejected());
        vec![open, rejected]
    }
}

impl HttpConnections {
    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were refused, or closed to make room for others, because all were taken.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Sets how many are open.
    pub(super) fn set_open(&self, connections: usize) {
        self.open.store(u64::try_from(connections).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts one more that was refused or closed.
    pub(super) fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }
}
