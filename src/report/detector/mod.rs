//! Defines an incident, its onset, a customer who is hit, and what these customers have in common,
//! for all reports.
//!
//! Pure functions over counts and over requests without names. Promises: no clock, no log, no
//! identity is known here, so that the same rows give the same answer; every definition stands in
//! one place, and the section "Method and limits" of a report quotes it.

mod alone;
mod common;
mod hit;
mod minute;
mod refusal;
mod scan;
mod usual;
mod verdict;

#[cfg(test)]
pub(super) use alone::SourceKind;
pub(super) use alone::{FailureSource, LoneSource, NamedSource, SourcedFailures, SourcesOfFailures};
pub(super) use common::{Attribute, in_common};
pub(super) use hit::{Assessment, NO_FREE_SEAT, Sighting, assess};
pub(super) use minute::MinuteCount;
pub(super) use refusal::{RefusalTracker, SeatDenial, SeatRefusal};
pub(super) use scan::{Departure, ScannedPeriod, Threshold, departures};
pub(super) use usual::UsualTimes;
pub(super) use verdict::{Calmness, HIGH_RATIO, calmness};
