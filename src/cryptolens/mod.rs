//! The remote API: one client, the rows of its three logs, its state codes and its errors.
//!
//! Promises: an answer in any shape that the vendor's pages, SDKs or users' reports show is read or
//! classified, and no text of it reaches an error; see [`decode`] for what is tolerated. It knows
//! nothing of cursors, counting or retries.

mod client;
mod concurrency;
pub mod decode;
mod endpoint;
mod error;
mod events;
mod identity;
mod log_kind;
mod logs;
pub mod object_name;
mod objects;
mod query;
mod reuse;
pub(crate) mod row;
mod rows;
mod server_clock;
pub mod state_code;
pub mod token;
mod web_api;

pub use client::{Answered, BODY_CAP, Client, ClientError, ClientOptions};
pub use concurrency::Concurrency;
pub use decode::{CustomerCompany, DailyAggregate, LicenseKey, LicenseKeyPage, Page, Product};
pub use endpoint::Endpoint;
pub(crate) use error::is_redirect;
pub use error::{ApiError, DecodeFault, Retry, TransportFault};
pub use events::EventRow;
pub use identity::{HashedKind, IdentityHash, IdentityHasher};
pub use log_kind::{LogKind, TimeSource};
pub use objects::ObjectRow;
pub use query::{AggregateQuery, PageQuery, RowFilter};
pub use row::{Row, Slot};
pub use rows::{CountedRow, LogVisitor, Rows};
pub use server_clock::server_time;
pub use state_code::{EventType, Outcome, StateCode};
pub use token::Token;
pub use web_api::WebApiRow;
