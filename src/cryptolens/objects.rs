//! A row of the Object Log (vendor page V3/model/ObjectLog), as far as it is counted. Its `data` is never read: it can
//! hold whole customers.

use super::log_kind::LogKind;
use super::row::{Counted, Row, Rows, Slot, find_slot, positive};

/// One change that a team member made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectRow {
    /// Unique in the log.
    pub id: i64,
    /// Unix seconds.
    pub created: Option<i64>,
    /// The raw code; whether the first is 0 or 1 is not documented.
    pub resource_type: Option<i64>,
    /// The raw code, likewise.
    pub resource_action: Option<i64>,
}

const SLOTS: [(&str, Slot<ObjectRow>); 4] = [
    ("id", Slot::Id),
    ("created", Slot::Int(|row, value| row.created = positive(value))),
    ("resourceType", Slot::Int(|row, value| row.resource_type = value)),
    ("resourceAction", Slot::Int(|row, value| row.resource_action = value)),
];

impl Row for ObjectRow {
    const LOG: LogKind = LogKind::Objects;

    fn with_id(id: i64) -> Self {
        ObjectRow { id, ..ObjectRow::default() }
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
        self.created
    }
}

impl Counted for ObjectRow {
    fn wrap(rows: Vec<Self>) -> Rows {
        Rows::Objects(rows)
    }
}
