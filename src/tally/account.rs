//! Everything that is counted from the rows of one account: the committed tally, and a delta that
//! is added to it. Both have a field for each counted family of the family table.

use std::sync::Arc;

use crate::cryptolens::LogKind;
use crate::metrics::{BirthTime, Family, Histogram, Point, PointChunk, PointValue};

use super::families::{self, LimitedFamily, Shown, family_table};
use super::keys::{
    AgeKey, DataObjectKey, EntryKey, EventKey, EventValueKey, LeaseKey, NoLabels, ObjectKey, SkipKey,
    StateKey, log_in_advance,
};
use super::products::Products;
use super::series::{Series, SeriesDelta, SeriesKey};

/// Takes the points that a delta changed, one by one.
pub trait PointSink {
    /// Why it took no more.
    type Error;

    /// Takes one point.
    ///
    /// # Errors
    /// The sink's own.
    fn point(&mut self, family: &'static Family, point: &Point) -> Result<(), Self::Error>;
}

/// A counted family of one account, with its points in shared chunks.
#[derive(Debug)]
pub struct CountedFamily<'a> {
    /// Its row in the family table.
    pub family: &'static Family,
    /// When its label sets are shown.
    pub shown: Shown,
    /// The points, sorted.
    pub chunks: Vec<&'a Arc<PointChunk>>,
    /// How many label sets its limit counts, if it has one.
    pub limited: Option<(LimitedFamily, usize)>,
}

macro_rules! define_tally {
    ($(
        $id:ident = $name:literal, $type:ident $(($bounds:expr))?, $labels:expr, $persistence:ident,
        $(counts $field:ident: $key:ty => $value:ty, $shown:expr,
            $(limit $class:ident as $limited:ident,)? $(zero $zero:expr,)?)?
        $help:literal;
    )*) => {
        /// The committed counts of one account. A clone shares all of it.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct AccountTally {
            $($(
                #[doc = concat!("`", $name, "`: ", $help)]
                pub $field: Series<$key, $value>,
            )?)*
        }

        /// The increments that a transaction adds to the tally of one account.
        #[derive(Debug, Clone, Default)]
        pub struct TallyDelta {
            $($(
                #[doc = concat!("To be added to `", $name, "`.")]
                pub $field: SeriesDelta<$key, $value>,
            )?)*
        }

        impl TallyDelta {
            /// True if there is nothing to add.
            pub fn is_empty(&self) -> bool {
                $($(self.$field.is_empty() &&)?)* true
            }

            /// Creates the label sets of a log that are shown at 0, as far as they are not there.
            pub fn create_at_zero(&mut self, log: LogKind, products: &Products, committed: &AccountTally) {
                $($($(
                    let is_of_log = match $shown {
                        Shown::Rows(of) => of == log,
                        Shown::Reading | Shown::Summed => true,
                    };
                    if is_of_log {
                        for key in $zero(log, products) {
                            self.$field.create(key, &committed.$field);
                        }
                    }
                )?)?)*
            }

            /// Hands out each point that this delta changed in `applied`, the tally that it is
            /// applied to.
            ///
            /// # Errors
            /// The sink's, at once.
            pub fn save<S: PointSink>(&self, applied: &AccountTally, sink: &mut S) -> Result<(), S::Error> {
                $($(
                    for point in applied.$field.changed(&self.$field) {
                        sink.point(&families::$id, point)?;
                    }
                )?)*
                Ok(())
            }
        }

        impl AccountTally {
            /// Adds a delta. `born` is when new label sets of a log were born.
            pub fn apply(&mut self, delta: &TallyDelta, born: impl Fn(LogKind) -> BirthTime) {
                $($(
                    self.$field.apply(&delta.$field, |key| {
                        let log = match $shown {
                            Shown::Rows(log) => Some(log),
                            Shown::Reading | Shown::Summed => key.log(),
                        };
                        log.map_or(BirthTime::UNKNOWN, &born)
                    });
                )?)*
            }

            /// Takes back a point that the ledger kept; false if no family of this version has such
            /// a name, labels and type.
            #[must_use]
            pub fn restore(
                &mut self,
                family: &str,
                labels: &[Arc<str>],
                value: &PointValue,
                born: BirthTime,
                entry_id: Option<i64>,
            ) -> bool {
                $($(
                    if family == $name {
                        let Some(key) = <$key>::from_labels(labels) else { return false };
                        return self.$field.restore(key, labels, value, born, entry_id);
                    }
                )?)*
                false
            }

            /// Every counted family, in the order of the table.
            pub fn families(&self) -> Vec<CountedFamily<'_>> {
                let mut all = Vec::new();
                $($({
                    #[allow(unused_mut, unused_assignments)]
                    let mut limited = None;
                    $(limited = Some((LimitedFamily::$limited, self.$field.limited()));)?
                    all.push(CountedFamily {
                        family: &families::$id,
                        shown: $shown,
                        chunks: self.$field.chunks().collect(),
                        limited,
                    });
                })?)*
                all
            }
        }
    };
}

family_table!(define_tally);
