//! The outputs: encoders of a snapshot, and tasks that hand it to somebody.
//!
//! An encoder knows its format and the types of [`crate::metrics`] and [`crate::snapshot`], and
//! nothing of the ledger, the logs or HTTP.

mod delivery;
mod gzip;
mod history_sender;
mod history_text;
pub mod openmetrics;
pub mod otlp;
mod page;
pub mod protobuf;
mod push_client;
pub mod remote_write;
pub mod text;

#[cfg(test)]
mod tests;

pub use delivery::{AnswerVerdict, DeliveryError, HistoryDeliveries};
pub use history_sender::HistorySender;
pub use history_text::HistoryTextWriter;
pub use page::{ExpositionFormat, FamilyHead, RenderedPage, Renderer};
pub use push_client::{PushClientError, PushHeaders};
