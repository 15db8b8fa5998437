//! A row of the Web API Log (vendor page V3/model/WebAPILog), as far as it is counted.

use super::log_kind::LogKind;
use super::row::{Counted, Row, Rows, Slot, find_slot, positive};

/// One request that a vendor's customer made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebApiRow {
    /// Unique in the log.
    pub id: i64,
    /// 0 where the row names no product.
    pub product_id: i64,
    /// Unix seconds.
    pub time: Option<i64>,
    /// The raw state code.
    pub state: Option<i64>,
    /// When the floating lease ends, in Unix seconds.
    pub floating_expires: Option<i64>,
    /// The whole number passed to a data object method.
    pub do_int_value: Option<i64>,
}

impl WebApiRow {
    /// Seconds from the request to the end of its floating lease, above 0.
    pub fn lease_seconds(&self) -> Option<i64> {
        let lease = self.floating_expires?.checked_sub(self.time?)?;
        (lease > 0).then_some(lease)
    }
}

const SLOTS: [(&str, Slot<WebApiRow>); 6] = [
    ("id", Slot::Id),
    ("productId", Slot::Int(|row, value| row.product_id = value.unwrap_or(0))),
    ("time", Slot::Int(|row, value| row.time = positive(value))),
    ("state", Slot::Int(|row, value| row.state = value)),
    ("floatingExpires", Slot::Int(|row, value| row.floating_expires = value)),
    ("doIntValue", Slot::Int(|row, value| row.do_int_value = value)),
];

impl Row for WebApiRow {
    const LOG: LogKind = LogKind::WebApi;

    fn with_id(id: i64) -> Self {
        WebApiRow { id, ..WebApiRow::default() }
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

impl Counted for WebApiRow {
    fn wrap(rows: Vec<Self>) -> Rows {
        Rows::WebApi(rows)
    }
}
