//! Writes history to a time-series database by Prometheus remote write 1.0: protobuf and snappy
//! over HTTP.
//!
//! Version 2.0 is not used: a receiver that does not know it answers 204 and stores nothing. How
//! samples are delivered, and what becomes of those that are refused, is for `outputs::delivery`.
//! This module knows no configuration file, and nothing of where the samples come from.

mod client;
mod message;
mod probe;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::delivery::{self, HistoryDeliveries};
use crate::history::Outbox;

pub(super) use client::RemoteWriter;
pub use probe::{MissingSetting, ProbeError, probe};
pub use target::{BadTargetFile, RemoteWriteTarget, TargetCredentials, TargetFiles, TargetTls, default_name};

/// The settings of the task for one target.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWriteSettings {
    /// Where to write.
    pub target: RemoteWriteTarget,
    /// Labels of every sample, `job` and `instance` among them.
    pub labels: Vec<(String, String)>,
    /// How old a sample may be when it is sent.
    pub window: Duration,
}

/// Writes what waits in the outbox until the shutdown.
pub async fn run<O: Outbox>(
    settings: RemoteWriteSettings,
    (outbox, deliveries): (O, Arc<HistoryDeliveries>),
    shutdown: CancellationToken,
) {
    let RemoteWriteSettings { target, labels, window } = settings;
    delivery::deliver(RemoteWriter::new(target, labels), outbox, window, deliveries, shutdown).await;
}
