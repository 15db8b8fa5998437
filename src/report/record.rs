//! Rows of the three logs with all their members, for those who ask about single customers.
//!
//! The exporter's own row types leave personal data out; these are read by reports, audits and exports only, and what
//! leaves this process passes [`super::identity`] first. An empty text is the same as none.

use serde::{Deserialize, Serialize};

use crate::cryptolens::row::{find_slot, positive};
use crate::cryptolens::{LogKind, Row, Slot};

/// A row of the Web API Log (vendor page V3/model/WebAPILog).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestRecord {
    pub(super) id: i64,
    pub(super) product_id: i64,
    pub(super) key: Option<String>,
    pub(super) ip: Option<String>,
    /// Unix seconds.
    pub(super) time: Option<i64>,
    pub(super) state: Option<i64>,
    pub(super) machine_code: Option<String>,
    pub(super) friendly_name: Option<String>,
    /// Unix seconds; none where the row has no lease.
    pub(super) floating_expires: Option<i64>,
    pub(super) do_int_value: Option<i64>,
    pub(super) do_id: Option<i64>,
}

/// A row of the Web API Log, as far as the report counts it: of millions of rows, what is not counted is not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CountedRequest {
    pub(super) id: i64,
    pub(super) product_id: i64,
    pub(super) key: Option<String>,
    /// Unix seconds.
    pub(super) time: Option<i64>,
    pub(super) state: Option<i64>,
    pub(super) machine_code: Option<String>,
    pub(super) friendly_name: Option<String>,
}

/// A row of the Events Log (vendor page V3/model/EventObject).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventRecord {
    pub(super) id: i64,
    pub(super) product_id: i64,
    pub(super) key: Option<String>,
    pub(super) machine_code: Option<String>,
    pub(super) feature_name: Option<String>,
    pub(super) event_name: Option<String>,
    /// In the unit the API gives.
    pub(super) value: Option<i64>,
    pub(super) currency: Option<String>,
    /// Unix seconds.
    pub(super) time: Option<i64>,
    /// What the app sent, mostly JSON.
    pub(super) metadata: Option<String>,
}

/// A row of the Object Log (vendor page V3/model/ObjectLog).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRecord {
    pub(super) id: i64,
    /// Unix seconds.
    pub(super) created: Option<i64>,
    pub(super) resource_type: Option<i64>,
    pub(super) resource_action: Option<i64>,
    pub(super) affected_object_id: Option<i64>,
    pub(super) object_owner_user_id: Option<i64>,
    pub(super) performed_by_user_id: Option<String>,
    /// JSON: the object when it was made, `{field: [old, new]}` when it was changed.
    pub(super) data: Option<String>,
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

const REQUEST: [(&str, Slot<RequestRecord>); 11] = [
    ("id", Slot::Id),
    ("productId", Slot::Int(|row, value| row.product_id = value.unwrap_or(0))),
    ("key", Slot::Text(|row, value| row.key = given(value))),
    ("ip", Slot::Text(|row, value| row.ip = given(value))),
    ("time", Slot::Int(|row, value| row.time = positive(value))),
    ("state", Slot::Int(|row, value| row.state = value)),
    ("machineCode", Slot::Text(|row, value| row.machine_code = given(value))),
    ("friendlyName", Slot::Text(|row, value| row.friendly_name = given(value))),
    ("floatingExpires", Slot::Int(|row, value| row.floating_expires = positive(value))),
    ("doIntValue", Slot::Int(|row, value| row.do_int_value = value)),
    ("doId", Slot::Int(|row, value| row.do_id = value)),
];

const COUNTED: [(&str, Slot<CountedRequest>); 7] = [
    ("id", Slot::Id),
    ("productId", Slot::Int(|row, value| row.product_id = value.unwrap_or(0))),
    ("key", Slot::Text(|row, value| row.key = given(value))),
    ("time", Slot::Int(|row, value| row.time = positive(value))),
    ("state", Slot::Int(|row, value| row.state = value)),
    ("machineCode", Slot::Text(|row, value| row.machine_code = given(value))),
    ("friendlyName", Slot::Text(|row, value| row.friendly_name = given(value))),
];

const EVENT: [(&str, Slot<EventRecord>); 10] = [
    ("id", Slot::Id),
    ("productId", Slot::Int(|row, value| row.product_id = value.unwrap_or(0))),
    ("key", Slot::Text(|row, value| row.key = given(value))),
    ("machineCode", Slot::Text(|row, value| row.machine_code = given(value))),
    ("featureName", Slot::Text(|row, value| row.feature_name = given(value))),
    ("eventName", Slot::Text(|row, value| row.event_name = given(value))),
    ("value", Slot::Int(|row, value| row.value = value)),
    ("currency", Slot::Text(|row, value| row.currency = given(value))),
    ("time", Slot::Int(|row, value| row.time = positive(value))),
    ("metadata", Slot::Text(|row, value| row.metadata = given(value))),
];

const OBJECT: [(&str, Slot<ObjectRecord>); 8] = [
    ("id", Slot::Id),
    ("created", Slot::Int(|row, value| row.created = positive(value))),
    ("resourceType", Slot::Int(|row, value| row.resource_type = value)),
    ("resourceAction", Slot::Int(|row, value| row.resource_action = value)),
    ("affectedObjectId", Slot::Int(|row, value| row.affected_object_id = value)),
    ("objectOwnerUserId", Slot::Int(|row, value| row.object_owner_user_id = value)),
    ("performedByUserId", Slot::Text(|row, value| row.performed_by_user_id = given(value))),
    ("data", Slot::Text(|row, value| row.data = given(value))),
];

macro_rules! row {
    ($record:ty, $log:expr, $slots:ident, $time:ident) => {
        impl Row for $record {
            const LOG: LogKind = $log;

            fn with_id(id: i64) -> Self {
                Self { id, ..Self::default() }
            }

            fn slot(name: &str) -> Option<Slot<Self>> {
                find_slot(&$slots, name)
            }

            fn id(&self) -> i64 {
                self.id
            }

            fn set_id(&mut self, id: i64) {
                self.id = id;
            }

            fn time(&self) -> Option<i64> {
                self.$time
            }
        }
    };
}

row!(RequestRecord, LogKind::WebApi, REQUEST, time);
row!(CountedRequest, LogKind::WebApi, COUNTED, time);
row!(EventRecord, LogKind::Events, EVENT, time);
row!(ObjectRecord, LogKind::Objects, OBJECT, created);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::decode;

    #[test]
    fn a_row_is_read_with_all_its_members_and_empty_is_none() {
        let body = r#"{"logs":[{"Id":7,"productId":3349,"key":"K","ip":"10.0.0.0","time":5,"state":2014,
            "machineCode":"m","friendlyName":"","floatingExpires":0,"doIntValue":2,"doId":9}],"result":0}"#;
        let expected = RequestRecord {
            id: 7,
            product_id: 3349,
            key: Some("K".to_owned()),
            ip: Some("10.0.0.0".to_owned()),
            time: Some(5),
            state: Some(2014),
            machine_code: Some("m".to_owned()),
            friendly_name: None,
            floating_expires: None,
            do_int_value: Some(2),
            do_id: Some(9),
        };
        assert_eq!(decode::page::<RequestRecord>(body.as_bytes()).unwrap().rows, [expected]);
    }

    /// The vendor page calls `performedByUserId` a text, though it holds a number.
    #[test]
    fn an_object_row_names_who_did_it() {
        let body = r#"{"events":[{"id":1,"performedByUserId":"18","data":"{}"}],"result":0}"#;
        let row = &decode::page::<ObjectRecord>(body.as_bytes()).unwrap().rows[0];
        assert_eq!(row.performed_by_user_id.as_deref(), Some("18"));
        assert_eq!(row.data.as_deref(), Some("{}"));
    }

    /// Issue 9, line 17: `performedByUserId: 42` was shown as unknown, and `data` as an object vanished.
    #[test]
    fn numbers_and_objects_are_no_less_than_texts() {
        let body = r#"{"events":[
            {"id":1,"performedByUserId":42,"data":{"Name": ["Bob", "Alice"]}},
            {"id":2,"performedByUserId":true,"data":[1,2.50]}],"result":0}"#;
        let rows = decode::page::<ObjectRecord>(body.as_bytes()).unwrap().rows;
        assert_eq!(rows[0].performed_by_user_id.as_deref(), Some("42"));
        assert_eq!(rows[0].data.as_deref(), Some(r#"{"Name": ["Bob", "Alice"]}"#));
        assert_eq!(rows[1].performed_by_user_id.as_deref(), Some("true"));
        assert_eq!(rows[1].data.as_deref(), Some("[1,2.50]"));

        let body = r#"{"events":[{"id":1,"key":7,"machineCode":289,"featureName":3,"eventName":false,"metadata":{"order":"A-1"},"currency":null}],"result":0}"#;
        let row = decode::page::<EventRecord>(body.as_bytes()).unwrap().rows.remove(0);
        let texts = [row.key, row.machine_code, row.feature_name, row.event_name, row.metadata, row.currency];
        let expected = [Some("7"), Some("289"), Some("3"), Some("false"), Some(r#"{"order":"A-1"}"#), None];
        assert_eq!(texts.each_ref().map(Option::as_deref), expected);

        let body = r#"{"logs":[{"id":1,"key":7,"ip":1,"machineCode":289,"friendlyName":5.0}],"result":0}"#;
        let row = decode::page::<RequestRecord>(body.as_bytes()).unwrap().rows.remove(0);
        let texts = [row.key, row.ip, row.machine_code, row.friendly_name];
        assert_eq!(texts.each_ref().map(Option::as_deref), [Some("7"), Some("1"), Some("289"), Some("5.0")]);
    }
}
