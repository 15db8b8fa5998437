//! The audit of the seats of floating licenses: who held them, who was refused, and how long the
//! limit was reached.
//!
//! `history`, `model` and `show` are the audit of one key, whose JSON is version 1; `product`,
//! `replay` and `build` the one of all keys of a product; `chart` draws the seats of one key for both.

mod build;
mod chart;
mod history;
mod model;
mod product;
mod replay;
mod show;

pub(super) use history::{History, STATES, SeatRow};
pub(super) use model::{Audit, SeatsContext};
pub(super) use product::product_seats;
