//! A row of the Events Log (vendor page V3/model/EventObject), as far as it is counted.

use super::log_kind::LogKind;
use super::row::{Counted, Row, Rows, Slot, find_slot, positive};

/// One event that an application registered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventRow {
    /// Unique in the log.
    pub id: i64,
    /// 0 where the row names no product.
    pub product_id: i64,
    /// Unix seconds.
    pub time: Option<i64>,
    /// What happened; empty where not given.
    pub event_name: String,
    /// Which feature it happened to; empty where not given.
    pub feature_name: String,
    /// In the unit the API gives: the vendor's pages contradict each other on whether that is the minor unit.
    pub value: Option<i64>,
    /// As registered; empty where not given.
    pub currency: String,
}

const SLOTS: [(&str, Slot<EventRow>); 7] = [
    ("id", Slot::Id),
    ("productId", Slot::Int(|row, value| row.product_id = value.unwrap_or(0))),
    ("time", Slot::Int(|row, value| row.time = positive(value))),
    ("eventName", Slot::Text(|row, value| row.event_name = beginning(value))),
    ("featureName", Slot::Text(|row, value| row.feature_name = beginning(value))),
    ("value", Slot::Int(|row, value| row.value = value)),
    ("currency", Slot::Text(|row, value| row.currency = beginning(value))),
];

/// As much of a text as a label can need, several times over. Pages may wait to be counted, and a text can have 1 MiB.
fn beginning(text: Option<String>) -> String {
    const CHARACTERS: usize = 1000;
    let text = text.unwrap_or_default();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

impl Row for EventRow {
    const LOG: LogKind = LogKind::Events;

    fn with_id(id: i64) -> Self {
        EventRow { id, ..EventRow::default() }
    }

    fn slot(name: &str) -> Option<Slot<Self>> {
        find_slot(&SLOTS, name)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn set_id(&mut self, id: i64) {
        self.id = id;
    }

    fn time(&self) -> Option<i64> {
        self.time
    }
}

impl Counted for EventRow {
    fn wrap(rows: Vec<Self>) -> Rows {
        Rows::Events(rows)
    }
}
