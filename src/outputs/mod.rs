//! The outputs: encoders of a snapshot, and tasks that hand it to somebody.
//!
//! An encoder knows its format and the types of [`crate::metrics`] and [`crate::snapshot`], and nothing
//! of the ledger, the logs or HTTP.

mod gzip;
mod page;
pub mod text;

pub use page::{ExpositionFormat, FamilyHead, RenderedPage, Renderer};
