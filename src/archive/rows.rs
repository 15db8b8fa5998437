//! The rows of the logs with every member, as they are archived.
//!
//! They hold personal data: whoever writes them replaces what names somebody first.

use crate::cryptolens::row::{as_is, given_text, log_row, positive};

log_row! {
    /// A row of the Web API Log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct ArchivedRequest of WebApi at time {
        product_id: Option<i64> = "productId" as Int by as_is,
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
    others in extra
}

log_row! {
    /// A row of the Events Log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct ArchivedEvent of Events at time {
        product_id: Option<i64> = "productId" as Int by as_is,
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
    others in extra
}

log_row! {
    /// A row of the Object Log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub(crate) struct ArchivedObject of Objects at created {
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
    others in extra
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cryptolens::decode;

    /// The pages below differ in what reads them: the shortcut, and the scanner.
    #[test]
    fn members_that_are_unknown_today_are_kept() {
        let usual =
            r#"{"logs":[{"id":7,"productId":3349,"key":"K","state":2014,"friendlyName":""}],"result":0}"#;
        let row = decode::page::<ArchivedRequest>(usual.as_bytes()).unwrap().rows.remove(0);
        assert_eq!((row.product_id, row.key.as_deref(), row.friendly_name), (Some(3349), Some("K"), None));
        assert!(row.extra.is_empty());

        let newer = r#"{"logs":[{"id":7,"state":2014,"isAnomaly":true,"anomalyProperties":{"groupId":91},"country":"S\u0045","none":null,
            "ratio":0.5},{"ID":8}],"result":0}"#;
        let rows = decode::page::<ArchivedRequest>(newer.as_bytes()).unwrap().rows;
        let expected = serde_json::json!({
            "isAnomaly": true, "anomalyProperties": {"groupId": 91}, "country": "SE", "ratio": 0.5,
        });
        assert_eq!(serde_json::Value::Object(rows[0].extra.clone()), expected);
        assert_eq!((rows[0].state, rows[1].id, rows[1].extra.len()), (Some(2014), 8, 0));
        // The other logs, and a value that is no JSON.
        let events = r#"{"events":[{"id":1,"channel":NaN}],"result":0}"#;
        let row = decode::page::<ArchivedEvent>(events.as_bytes()).unwrap().rows.remove(0);
        assert_eq!(row.extra["channel"], "NaN");
        let objects = r#"{"events":[{"id":1,"created":5,"reason":"x"}],"result":0}"#;
        let row = decode::page::<ArchivedObject>(objects.as_bytes()).unwrap().rows.remove(0);
        assert_eq!((row.created, &row.extra["reason"]), (Some(5), &serde_json::json!("x")));
    }

    #[test]
    fn a_member_that_is_too_large_costs_no_row() {
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        let long = "x".repeat(2 << 20);
        let body = format!(r#"{{"logs":[{{"id":1,"deep":{deep},"long":"{long}","kept":1}}],"result":0}}"#);
        let row = decode::page::<ArchivedRequest>(body.as_bytes()).unwrap().rows.remove(0);
        assert_eq!(serde_json::Value::Object(row.extra), serde_json::json!({"kept": 1}));
    }
}
