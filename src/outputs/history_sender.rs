//! Sends samples of history that no outbox holds, to a target of either kind: for `backfill`.

use crate::history::{HistorySample, SampleCounts};

use super::delivery::{DeliveryError, SampleDelivery, SampleReceiver as _};
use super::otlp::{HistoryPusher, OtlpClientError, OtlpHistorySettings};
use super::remote_write::{RemoteWriteSettings, RemoteWriter};

/// Tries of one request: with growing waits of one second and more, about 15 seconds.
const TRIES: u32 = 5;

/// A target that samples are sent to.
pub struct HistorySender(TargetSender);

enum TargetSender {
    RemoteWrite(Box<SampleDelivery<RemoteWriter>>),
    Otlp(Box<SampleDelivery<HistoryPusher>>),
}

impl std::fmt::Debug for HistorySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistorySender").finish_non_exhaustive()
    }
}

impl HistorySender {
    /// A sender by remote write.
    #[must_use]
    pub fn remote_write(settings: RemoteWriteSettings) -> HistorySender {
        let RemoteWriteSettings { target, labels, window } = settings;
        let writer = RemoteWriter::new(target, labels);
        HistorySender(TargetSender::RemoteWrite(Box::new(SampleDelivery::impatient(writer, window, TRIES))))
    }

    /// A sender to the receiver of the push.
    ///
    /// # Errors
    /// [`OtlpClientError`].
    pub fn otlp(settings: &OtlpHistorySettings) -> Result<HistorySender, OtlpClientError> {
        let pusher = HistoryPusher::new(settings)?;
        Ok(HistorySender(TargetSender::Otlp(Box::new(SampleDelivery::impatient(
            pusher,
            settings.window,
            TRIES,
        )))))
    }

    /// Sends samples, oldest first, and says what became of them.
    ///
    /// # Errors
    /// [`DeliveryError`] if the target takes none after a few tries. Some of the samples may have
    /// been taken.
    pub async fn send(&mut self, samples: Vec<HistorySample>) -> Result<SampleCounts, DeliveryError> {
        let now = chrono::Utc::now().timestamp_millis();
        match &mut self.0 {
            TargetSender::RemoteWrite(delivery) => delivery.deliver_all(samples, now).await,
            TargetSender::Otlp(delivery) => delivery.deliver_all(samples, now).await,
        }
    }

    /// Advice for the operator about an error.
    #[must_use]
    pub fn advice(&self, error: &DeliveryError) -> &'static str {
        match &self.0 {
            TargetSender::RemoteWrite(delivery) => delivery.receiver.advice(error),
            TargetSender::Otlp(delivery) => delivery.receiver.advice(error),
        }
    }
}
