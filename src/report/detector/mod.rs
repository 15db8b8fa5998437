//! What the reports mean by an incident, its onset, a customer who is hit, and what these customers
//! have in common.
//!
//! Pure functions over counts and over requests without names. Promises: no clock, no log, no
//! identity is known here, so that the same rows give the same answer; every definition stands in
//! one place, and the section "Method and limits" of a report quotes it.

mod common;
mod hit;
mod scan;

pub(super) use common::{Attribute, in_common};
pub(super) use hit::{Assessment, NO_FREE_SEAT, Sighting, assess};
pub(super) use scan::{Departure, MinuteCount, Threshold, departures};
