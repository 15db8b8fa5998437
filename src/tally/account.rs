//! All that is counted from the rows of one account, in one place: which families there are, and of which keys and
//! values each consists.

use super::catalogue::{self, Family};
use super::histogram::Histogram;
use super::keys::{
    AgeKey, DataObjectKey, EntryKey, EventKey, EventValueKey, NoLabels, ObjectKey, SkipKey, StateKey,
};
use super::limits::LimitedFamily;
use super::series::{Key, Series};
use crate::cryptolens::LogKind;

/// Takes the label sets of an [`AccountTally`], one by one.
pub trait Sink {
    /// Why it took no more.
    type Error;

    /// A counter.
    ///
    /// # Errors
    /// The sink's own.
    fn counter(
        &mut self,
        family: &'static Family,
        labels: Vec<String>,
        value: u64,
    ) -> Result<(), Self::Error>;

    /// A histogram.
    ///
    /// # Errors
    /// The sink's own.
    fn histogram(
        &mut self,
        family: &'static Family,
        labels: Vec<String>,
        value: &Histogram,
    ) -> Result<(), Self::Error>;
}

macro_rules! account_tally {
    (
        counters { $($(#[doc = $counter_doc:literal])* $counter:ident: $counter_key:ty = $counter_family:ident,)* }
        histograms { $($(#[doc = $histogram_doc:literal])* $histogram:ident: $histogram_key:ty = $histogram_family:ident,)* }
    ) => {
        /// What one account has counted; also a part of it, to be merged.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct AccountTally {
            $($(#[doc = $counter_doc])* pub $counter: Series<$counter_key, u64>,)*
            $($(#[doc = $histogram_doc])* pub $histogram: Series<$histogram_key, Histogram>,)*
        }

        impl AccountTally {
            /// Adds a delta.
            pub fn merge(&mut self, delta: &AccountTally) {
                $(self.$counter.merge(&delta.$counter);)*
                $(self.$histogram.merge(&delta.$histogram);)*
            }

            /// True if nothing was counted.
            pub fn is_empty(&self) -> bool {
                $(self.$counter.is_empty() &&)* $(self.$histogram.is_empty() &&)* true
            }

            /// Each label set of this delta, with the value that it has once merged into `committed`.
            ///
            /// # Errors
            /// The sink's, at once.
            pub fn save<S: Sink>(&self, committed: &AccountTally, sink: &mut S) -> Result<(), S::Error> {
                $(for (key, value) in self.$counter.merged(&committed.$counter) {
                    sink.counter(&catalogue::$counter_family, key.labels(), value)?;
                })*
                $(for (key, value) in self.$histogram.merged(&committed.$histogram) {
                    sink.histogram(&catalogue::$histogram_family, key.labels(), &value)?;
                })*
                Ok(())
            }

            /// Takes back a counter that [`AccountTally::save`] gave; false if no family of this version has such a
            /// name and labels.
            #[must_use]
            pub fn restore_counter(&mut self, family: &str, labels: &[String], value: u64) -> bool {
                $(if family == catalogue::$counter_family.name {
                    let Some(key) = <$counter_key>::from_labels(labels) else { return false };
                    *self.$counter.entry(key) += value;
                    return true;
                })*
                false
            }

            /// As [`AccountTally::restore_counter`].
            #[must_use]
            pub fn restore_histogram(&mut self, family: &str, labels: &[String], value: &Histogram) -> bool {
                $(if family == catalogue::$histogram_family.name {
                    let Some(key) = <$histogram_key>::from_labels(labels) else { return false };
                    self.$histogram.entry(key).merge(value);
                    return true;
                })*
                false
            }
        }
    };
}

account_tally! {
    counters {
        /// Rows of the Web API Log.
        entries: EntryKey = WEB_API_ENTRIES,
        /// The same rows by state.
        states: StateKey = WEB_API_STATES,
        /// Rows of the Events Log.
        events: EventKey = EVENT_ENTRIES,
        /// Rows of the Object Log.
        objects: ObjectKey = OBJECT_ENTRIES,
        /// Rows that were not counted.
        skipped: SkipKey = ROWS_SKIPPED,
        /// Ids met twice in one pass.
        duplicate: LogKind = ROWS_DUPLICATE,
        /// Rows that showed up below the cursor.
        late: LogKind = ROWS_LATE,
        /// Rows put under `other`.
        overflow: LimitedFamily = SERIES_OVERFLOW,
    }
    histograms {
        /// Floating leases, in seconds.
        lease: EntryKey = LEASE,
        /// Values passed to data object methods.
        data_object: DataObjectKey = DO_INT,
        /// Ages of rows of the Web API Log when counted, in seconds.
        web_api_age: AgeKey = WEB_API_AGE,
        /// Values of events, in the unit the API gives.
        event_value: EventValueKey = EVENT_VALUE,
        /// Ages of rows of the Events Log when counted, in seconds.
        event_age: NoLabels = EVENT_AGE,
        /// Ages of rows of the Object Log when counted, in seconds.
        object_age: NoLabels = OBJECT_AGE,
    }
}
