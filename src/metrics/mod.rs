//! The ground of everything that is measured: what a metric family is, the points of its label
//! sets, histograms, and the registry of the values that start with the process.
//!
//! It imports nothing of the rest of the crate. Points of the ledger are whole numbers with a birth
//! time; points of the process may be fractions, and are born with it.

mod family;
mod histogram;
mod point;
mod process;

pub use family::{Family, FamilyType, Persistence};
pub use histogram::{Durations, Histogram, MAX_BOUNDS};
pub use point::{BirthTime, Point, PointChunk, PointValue};
pub use process::{ProcessFamily, ProcessPart, ProcessPoint, ProcessRegistry, ProcessSource, ProcessValue};
