//! Rows of the logs with all their members, for reports, audits and exports.
//!
//! The row types that are counted leave personal data out; these hold it, and whatever of them leaves
//! the process passes [`super::identity`] first.

use serde::{Deserialize, Serialize};

use crate::cryptolens::row::{as_is, given_text, log_row, positive, product};

log_row! {
    /// A row of the Web API Log (vendor page V3/model/WebAPILog).
    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct RequestRecord of WebApi at time {
        product_id: i64 = "productId" as Int by product,
        key: Option<String> = "key" as Text by given_text,
        ip: Option<String> = "ip" as Text by given_text,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        state: Option<i64> = "state" as Int by as_is,
        machine_code: Option<String> = "machineCode" as Text by given_text,
        friendly_name: Option<String> = "friendlyName" as Text by given_text,
        /// Unix seconds; none where the row has no lease.
        floating_expires: Option<i64> = "floatingExpires" as Int by positive,
        do_int_value: Option<i64> = "doIntValue" as Int by as_is,
        do_id: Option<i64> = "doId" as Int by as_is,
    }
}

log_row! {
    /// A row of the Web API Log with the members that the report counts. Of millions of rows, the other
    /// members are not read.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(super) struct CountedRequest of WebApi at time {
        product_id: i64 = "productId" as Int by product,
        key: Option<String> = "key" as Text by given_text,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        state: Option<i64> = "state" as Int by as_is,
        machine_code: Option<String> = "machineCode" as Text by given_text,
        friendly_name: Option<String> = "friendlyName" as Text by given_text,
    }
}

log_row! {
    /// A row of the Web API Log with the members that show who is hit by an incident, and what a summary
    /// counts.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(super) struct SeenRequest of WebApi at time {
        product_id: i64 = "productId" as Int by product,
        key: Option<String> = "key" as Text by given_text,
        ip: Option<String> = "ip" as Text by given_text,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        state: Option<i64> = "state" as Int by as_is,
        machine_code: Option<String> = "machineCode" as Text by given_text,
    }
}

log_row! {
    /// A row of the Web API Log with the members that a failure ratio needs.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(super) struct JudgedRequest of WebApi at time {
        product_id: i64 = "productId" as Int by product,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        state: Option<i64> = "state" as Int by as_is,
    }
}

log_row! {
    /// A row of the Web API Log with the members that show who holds a seat.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(super) struct SeatRequest of WebApi at time {
        key: Option<String> = "key" as Text by given_text,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        state: Option<i64> = "state" as Int by as_is,
        machine_code: Option<String> = "machineCode" as Text by given_text,
        /// Unix seconds; none where the row has no lease.
        floating_expires: Option<i64> = "floatingExpires" as Int by positive,
    }
}

log_row! {
    /// A row of the Events Log (vendor page V3/model/EventObject).
    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct EventRecord of Events at time {
        product_id: i64 = "productId" as Int by product,
        key: Option<String> = "key" as Text by given_text,
        machine_code: Option<String> = "machineCode" as Text by given_text,
        feature_name: Option<String> = "featureName" as Text by given_text,
        event_name: Option<String> = "eventName" as Text by given_text,
        /// In the unit that the API gives.
        value: Option<i64> = "value" as Int by as_is,
        currency: Option<String> = "currency" as Text by given_text,
        /// Unix seconds.
        time: Option<i64> = "time" as Int by positive,
        /// The text that the application sent, mostly JSON.
        metadata: Option<String> = "metadata" as Text by given_text,
    }
}

log_row! {
    /// A row of the Object Log (vendor page V3/model/ObjectLog).
    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ObjectRecord of Objects at created {
        /// Unix seconds.
        created: Option<i64> = "created" as Int by positive,
        resource_type: Option<i64> = "resourceType" as Int by as_is,
        resource_action: Option<i64> = "resourceAction" as Int by as_is,
        affected_object_id: Option<i64> = "affectedObjectId" as Int by as_is,
        object_owner_user_id: Option<i64> = "objectOwnerUserId" as Int by as_is,
        performed_by_user_id: Option<String> = "performedByUserId" as Text by given_text,
        /// JSON: the object when it was made, `{field: [old, new]}` when it was changed.
        data: Option<String> = "data" as Text by given_text,
    }
}

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
