//! The audit of the seats of a floating license: who held them, who was refused, and how long the
//! limit was reached.

mod history;
mod model;
mod show;

pub(super) use history::{History, STATES, SeatRow};
pub(super) use model::{Audit, SeatsContext};
pub(super) use show::{csv, html, text};
