//! The report on the Web API Log: how many requests succeed and fail, of which kind, when, and whose.

mod html;
mod model;
mod table;
mod tally;
mod text;

pub(super) use html::{html, svg};
pub(super) use model::{ShownFilter, WebApiContext, WebApiReport};
pub(super) use table::csv;
pub(super) use tally::WebApiTally;
pub(super) use text::text;
