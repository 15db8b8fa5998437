//! The series of history and their samples.

use std::sync::Arc;

use crate::metrics::Family;
use crate::tally::families;

/// A family of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HistoryFamily {
    /// Rows of the Web API Log.
    WebApiEntries,
    /// Rows of the Web API Log by state code.
    WebApiStates,
    /// Rows of the Events Log.
    EventEntries,
    /// Values of events.
    EventValue,
    /// Rows of the Object Log.
    ObjectEntries,
    /// Minutes that were read.
    Covered,
    /// Distinct license keys of a day.
    ActiveKeys,
    /// Distinct machines of a day.
    ActiveMachines,
    /// Distinct machines of the whole account of a day.
    AccountMachines,
}

impl HistoryFamily {
    /// All of them.
    pub const ALL: [HistoryFamily; 9] = [
        HistoryFamily::WebApiEntries,
        HistoryFamily::WebApiStates,
        HistoryFamily::EventEntries,
        HistoryFamily::EventValue,
        HistoryFamily::ObjectEntries,
        HistoryFamily::Covered,
        HistoryFamily::ActiveKeys,
        HistoryFamily::ActiveMachines,
        HistoryFamily::AccountMachines,
    ];

    /// Its name, labels and help text.
    pub const fn family(self) -> &'static Family {
        match self {
            HistoryFamily::WebApiEntries => &families::HISTORY_WEB_API_ENTRIES,
            HistoryFamily::WebApiStates => &families::HISTORY_WEB_API_STATES,
            HistoryFamily::EventEntries => &families::HISTORY_EVENT_ENTRIES,
            HistoryFamily::EventValue => &families::HISTORY_EVENT_VALUE,
            HistoryFamily::ObjectEntries => &families::HISTORY_OBJECT_ENTRIES,
            HistoryFamily::Covered => &families::HISTORY_COVERED,
            HistoryFamily::ActiveKeys => &families::HISTORY_ACTIVE_KEYS,
            HistoryFamily::ActiveMachines => &families::HISTORY_ACTIVE_MACHINES,
            HistoryFamily::AccountMachines => &families::HISTORY_ACCOUNT_MACHINES,
        }
    }

    /// Its number in the ledger. Never to be changed or used again: it is kept.
    pub(super) const fn number(self) -> u32 {
        match self {
            HistoryFamily::WebApiEntries => 1,
            HistoryFamily::WebApiStates => 2,
            HistoryFamily::EventEntries => 3,
            HistoryFamily::EventValue => 4,
            HistoryFamily::ObjectEntries => 5,
            HistoryFamily::Covered => 6,
            HistoryFamily::ActiveKeys => 7,
            HistoryFamily::ActiveMachines => 8,
            HistoryFamily::AccountMachines => 9,
        }
    }

    /// The family with a number.
    pub(super) fn of_number(number: u32) -> Option<HistoryFamily> {
        HistoryFamily::ALL.into_iter().find(|family| family.number() == number)
    }
}

/// One series of history, without the labels that are the same for all of them (`job`, `instance`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistorySeries {
    /// Its family.
    pub family: HistoryFamily,
    /// The name of the account.
    pub account: Arc<str>,
    /// The values of the other labels, in the order of the family.
    pub values: Arc<[Arc<str>]>,
}

impl HistorySeries {
    /// The name of the metric.
    pub fn name(&self) -> &'static str {
        self.family.family().name
    }

    /// Names and values of the labels, in the order of the family, which is not that of the alphabet.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = std::iter::once(&self.account).chain(self.values.iter()).map(|value| &**value);
        self.family.family().labels.iter().copied().zip(values)
    }
}

/// One sample. Its value is final: nothing else is ever sent for this series at this stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorySample {
    /// The series; samples of the same batch share it.
    pub series: Arc<HistorySeries>,
    /// The time, in Unix milliseconds: in the minute in which the rows happened.
    pub stamp: i64,
    /// The number to add for that minute.
    pub value: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_number_of_its_own_and_the_labels_of_its_sister() {
        for family in HistoryFamily::ALL {
            assert_eq!(HistoryFamily::of_number(family.number()), Some(family));
            let listed = families::HISTORY_FAMILIES.iter().filter(|row| row.name == family.family().name);
            assert_eq!(listed.count(), 1, "{}", family.family().name);
            let sister = family.family().name.replace("cryptolens_history_", "cryptolens_");
            let is_sister = |row: &&Family| row.name == sister || row.name == format!("{sister}_total");
            let sister = families::FAMILIES.iter().find(is_sister);
            let labels = sister.map_or(&["account", "log"][..], |sister| sister.labels);
            assert_eq!(family.family().labels, labels, "{}", family.family().name);
        }
        assert_eq!(HistoryFamily::of_number(0), None);
    }

    #[test]
    fn a_series_names_its_labels() {
        let series = HistorySeries {
            family: HistoryFamily::Covered,
            account: "default".into(),
            values: Arc::from([Arc::from("events")]),
        };
        let labels: Vec<_> = series.labels().collect();
        assert_eq!(labels, [("account", "default"), ("log", "events")]);
        assert_eq!(series.name(), "cryptolens_history_covered_seconds");
    }
}
