//! The report on the Web API Log: how many requests succeed and fail, of which kind, when, and
//! whose.

mod build;
mod model;
mod table;
mod tally;

pub(super) use model::{ShownFilter, WebApiContext, WebApiReport};
pub(super) use tally::WebApiTally;
