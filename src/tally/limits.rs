//! How many label sets one account may have. Limits bound series, never values: what is kept out is counted under
//! `other`.

use crate::cryptolens::state_code;
use crate::cryptolens::{EventType, Outcome};

use super::catalogue::{self, Family};
use super::keys::{DataObjectKey, EntryKey, EventKey, EventValueKey, StateKey, StateLabel};
use super::label::ProductLabel;
use super::products::Products;

/// A family whose labels come from rows, and which is therefore limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitedFamily {
    /// `cryptolens_web_api_log_entries_total`
    Entries,
    /// `cryptolens_web_api_log_states_total`
    States,
    /// `cryptolens_floating_lease_seconds`
    Lease,
    /// `cryptolens_data_object_int_value`
    DataObject,
    /// `cryptolens_event_log_entries_total`
    Events,
    /// `cryptolens_event_value`
    EventValue,
}

impl LimitedFamily {
    /// All of them.
    pub const ALL: [LimitedFamily; 6] = [
        LimitedFamily::Entries,
        LimitedFamily::States,
        LimitedFamily::Lease,
        LimitedFamily::DataObject,
        LimitedFamily::Events,
        LimitedFamily::EventValue,
    ];

    /// Its entry in the catalogue.
    pub const fn family(self) -> &'static Family {
        match self {
            LimitedFamily::Entries => &catalogue::WEB_API_ENTRIES,
            LimitedFamily::States => &catalogue::WEB_API_STATES,
            LimitedFamily::Lease => &catalogue::LEASE,
            LimitedFamily::DataObject => &catalogue::DO_INT,
            LimitedFamily::Events => &catalogue::EVENT_ENTRIES,
            LimitedFamily::EventValue => &catalogue::EVENT_VALUE,
        }
    }
}

/// The limits of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Label sets of a counter.
    pub sets: usize,
    /// Label sets of a histogram.
    pub histogram_sets: usize,
    /// Products, configured ones not counted.
    pub products: usize,
    /// Currencies.
    pub currencies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sets: 2000, histogram_sets: 300, products: 200, currencies: 20 }
    }
}

impl Limits {
    /// The limit of one family, in label sets.
    pub const fn of(&self, family: LimitedFamily) -> usize {
        match family {
            LimitedFamily::Entries | LimitedFamily::States | LimitedFamily::Events => self.sets,
            LimitedFamily::Lease | LimitedFamily::DataObject | LimitedFamily::EventValue => {
                self.histogram_sets
            }
        }
    }
}

/// Label sets that a limit doesn't count: those shown at 0 in advance, and those that overflow goes to.
pub(super) trait Exempt {
    fn exempt(&self, products: &Products) -> bool;
}

impl Exempt for EntryKey {
    fn exempt(&self, products: &Products) -> bool {
        let in_advance = self.event_type != EventType::Unknown && self.outcome != Outcome::Unknown;
        self.product == ProductLabel::Other || (in_advance && products.is_known(self.product))
    }
}

impl Exempt for StateKey {
    fn exempt(&self, products: &Products) -> bool {
        let in_advance = match self.state {
            StateLabel::Code(code) => state_code::DESCRIBED.iter().any(|(known, _)| *known == code.get()),
            StateLabel::Other => false,
        };
        let is_overflow = self.entry.product == ProductLabel::Other && self.state == StateLabel::Other;
        is_overflow || (in_advance && products.is_known(self.entry.product))
    }
}

impl Exempt for DataObjectKey {
    fn exempt(&self, _: &Products) -> bool {
        self.product == ProductLabel::Other && self.state == StateLabel::Other
    }
}

impl Exempt for EventKey {
    fn exempt(&self, _: &Products) -> bool {
        self.product == ProductLabel::Other && &*self.event == "other" && &*self.feature == "other"
    }
}

impl Exempt for EventValueKey {
    fn exempt(&self, _: &Products) -> bool {
        self.product == ProductLabel::Other && &*self.event == "other"
    }
}

/// Of the lease family, in which no label set is shown in advance.
pub(super) fn lease_exempt(key: &EntryKey) -> bool {
    key.product == ProductLabel::Other
}
