//! One row of a simulated log: its members, the values that filters compare, and its JSON.
//!
//! Generated rows are kept as a few numbers and become text only when a page is rendered, so that a
//! long history costs little memory. Appended rows keep their text byte for byte. The module knows
//! no HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::catalogue::{Catalogue, Key, NO_MACHINE};
use crate::log::Log;
use crate::random::hash_of;

/// A row in the simulator's memory.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) time: i64,
    /// The time from which requests see the row. It is after `time` for a row that the API shows
    /// late.
    pub(crate) visible_at: i64,
    pub(crate) fields: Fields,
}

#[derive(Debug, Clone)]
pub(crate) enum Fields {
    WebApi(WebApiFields),
    Event(Arc<EventFields>),
    Object(Arc<ObjectFields>),
    Appended(Arc<AppendedFields>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WebApiFields {
    pub(crate) state: u16,
    /// The index of the key in the catalogue, which also names the product.
    pub(crate) key: u32,
    pub(crate) machine: u32,
    /// The seconds for which a floating seat is held; 0 for a row that takes none.
    pub(crate) lease: u32,
    pub(crate) data_object_value: i32,
    pub(crate) data_object_id: u32,
}

#[derive(Debug)]
pub(crate) struct EventFields {
    pub(crate) key: u32,
    pub(crate) machine: u32,
    pub(crate) feature: &'static str,
    pub(crate) event: &'static str,
    pub(crate) value: i64,
    pub(crate) currency: Option<&'static str>,
    pub(crate) metadata: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ObjectFields {
    pub(crate) resource_type: i64,
    pub(crate) resource_action: i64,
    pub(crate) affected: i64,
    pub(crate) performed_by: i64,
    pub(crate) data: String,
}

/// A row that was added: its text, and the members that filters and the expected counts need.
#[derive(Debug)]
pub(crate) struct AppendedFields {
    /// JSON, or the bytes that a broken server sends in place of it.
    raw: Box<[u8]>,
    has_id: bool,
    product_id: Option<i64>,
    state: Option<i64>,
    seat: Option<SeatMembers>,
}

/// The part of an added row about a floating seat.
#[derive(Debug, Clone)]
pub(crate) struct SeatMembers {
    pub(crate) product_id: i64,
    pub(crate) state: i64,
    pub(crate) key: String,
    pub(crate) machine: String,
    /// The end of the lease; `None` where there is none.
    pub(crate) expires: Option<i64>,
}

impl SeatMembers {
    fn of(members: &Members) -> Option<SeatMembers> {
        Some(SeatMembers {
            product_id: members.product_id?,
            state: members.state.filter(|state| matches!(state, 2014 | 2015 | 6011))?,
            key: members.key.clone()?,
            machine: members.machine_code.clone()?,
            expires: members.floating_expires,
        })
    }
}

impl Row {
    /// A row that is served exactly as given. Without a readable id it comes after `previous_id`;
    /// without a readable time it counts as written at `now`.
    pub(crate) fn appended(raw: Box<RawValue>, previous_id: i64, now: i64, visible_at: i64) -> Row {
        let raw: Box<str> = raw.into();
        let members = Members::read(&raw);
        Row {
            id: members.id.unwrap_or(previous_id),
            time: members.time.or(members.created).unwrap_or(now),
            visible_at,
            fields: Fields::Appended(Arc::new(AppendedFields {
                has_id: members.id.is_some(),
                product_id: members.product_id,
                state: members.state,
                seat: SeatMembers::of(&members),
                raw: raw.into(),
            })),
        }
    }

    /// A row with this id and time that is visible at once.
    pub(crate) fn of_json(value: &Value, id: i64, now: i64) -> Row {
        // A JSON value always has a text.
        Row::appended(to_raw_value(value).unwrap_or_default(), id, now, now)
    }

    /// The same row, served with other bytes in place of its JSON.
    pub(crate) fn disguised(mut self, bytes: Vec<u8>) -> Row {
        if let Fields::Appended(fields) = &self.fields {
            let seat = fields.seat.clone();
            self.fields = Fields::Appended(Arc::new(AppendedFields { raw: bytes.into(), seat, ..**fields }));
        }
        self
    }

    /// The same row with another id.
    pub(crate) fn with_id(mut self, id: i64) -> Row {
        self.id = id;
        if let Fields::Appended(fields) = &self.fields
            && let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(&fields.raw)
            && members.contains_key("id")
        {
            members.insert("id".to_owned(), id.into());
            return self.disguised(Value::Object(members).to_string().into_bytes());
        }
        self
    }
}

/// The members of an added row that paging and the expected counts need.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Members {
    #[serde(deserialize_with = "whole_number")]
    id: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    time: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    created: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    product_id: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    state: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    floating_expires: Option<i64>,
    #[serde(deserialize_with = "text")]
    key: Option<String>,
    #[serde(deserialize_with = "text")]
    machine_code: Option<String>,
}

impl Members {
    fn read(text: &str) -> Members {
        serde_json::from_str(text).unwrap_or_else(|_| {
            // A number beyond a double, or a member that occurs twice. The members are read one by
            // one, and the last one counts.
            let raw: Raw = serde_json::from_str(text).unwrap_or_default();
            let number = |name: &str| {
                raw.get(name).and_then(|value| as_whole(&serde_json::from_str(value.get()).ok()?))
            };
            Members {
                id: number("id"),
                time: number("time"),
                created: number("created"),
                product_id: number("productId"),
                state: number("state"),
                ..Members::default()
            }
        })
    }
}

type Raw = std::collections::HashMap<String, Box<RawValue>>;

fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(as_whole(&Value::deserialize(deserializer)?))
}

/// A whole number, also if it is written as text or with a fraction of zeros.
/// The text of a member; `None` for anything else.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

fn as_whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            // Up to 2^53 a double holds each whole number exactly.
            (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A well-formed row that a test adds.
pub(crate) fn ordinary_row(log: Log, id: i64, now: i64) -> Row {
    Row::of_json(&Value::Object(ordinary_members(log, id, now)), id, now)
}

/// The members of a well-formed row with ordinary values.
pub(crate) fn ordinary_members(log: Log, id: i64, time: i64) -> Map<String, Value> {
    let row = match log {
        Log::WebApi => json!({
            "id": id, "productId": 3349, "key": "CNARY-VVSZR-ZTICT-YKGXL", "ip": "198.18.14.0", "time": time,
            "state": 2014, "machineCode": "canary-289jf2afs3", "friendlyName": "CANARY-alice-laptop",
            "floatingExpires": time + 300, "doIntValue": 0, "doId": 0,
        }),
        Log::Events => json!({
            "id": id, "productId": 3349, "key": "CNARY-VVSZR-ZTICT-YKGXL", "machineCode": "canary-289jf2afs3",
            "featureName": "YearReportGenerator", "eventName": "start", "value": 0, "currency": null,
            "time": time, "metadata": null,
        }),
        Log::Objects => json!({
            "id": id, "created": time, "resourceType": 3, "resourceAction": 2, "affectedObjectId": 24966,
            "objectOwnerUserId": 18, "performedByUserId": "18", "data": "{\"MaxNoOfMachines\":[5,10]}",
        }),
    };
    match row {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebApiView<'a> {
    id: i64,
    product_id: i64,
    key: &'a str,
    ip: String,
    time: i64,
    state: u16,
    machine_code: Option<String>,
    friendly_name: Option<String>,
    floating_expires: i64,
    do_int_value: i32,
    do_id: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventView<'a> {
    id: i64,
    product_id: i64,
    key: &'a str,
    machine_code: Option<String>,
    feature_name: &'a str,
    event_name: &'a str,
    value: i64,
    currency: Option<&'a str>,
    time: i64,
    metadata: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectView<'a> {
    id: i64,
    created: i64,
    resource_type: i64,
    resource_action: i64,
    affected_object_id: i64,
    object_owner_user_id: i64,
    performed_by_user_id: String,
    data: &'a str,
}

impl Row {
    /// Appends the row's JSON.
    pub(crate) fn render(&self, catalogue: &Catalogue, out: &mut Vec<u8>) {
        match &self.fields {
            Fields::WebApi(fields) => write_json(&self.web_api_view(*fields, catalogue), out),
            Fields::Event(fields) => write_json(&self.event_view(fields, catalogue), out),
            Fields::Object(fields) => write_json(&self.object_view(fields), out),
            Fields::Appended(fields) => out.extend_from_slice(&fields.raw),
        }
    }

    pub(crate) fn to_json(&self, catalogue: &Catalogue) -> String {
        let mut text = Vec::with_capacity(300);
        self.render(catalogue, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The row's JSON with more members. A row that is no JSON object stays as it is.
    pub(crate) fn to_json_with(&self, catalogue: &Catalogue, members: &str) -> String {
        let mut text = self.to_json(catalogue);
        if text.trim_end().ends_with('}') && text.trim_start().starts_with('{') {
            let end = text.trim_end().len() - 1;
            let separator = if text[1..end].trim().is_empty() { "" } else { "," };
            text.truncate(end);
            text.push_str(separator);
            text.push_str(members);
            text.push('}');
        }
        text
    }

    fn web_api_view<'a>(&self, fields: WebApiFields, catalogue: &'a Catalogue) -> WebApiView<'a> {
        let key = catalogue.key(fields.key);
        WebApiView {
            id: self.id,
            product_id: catalogue.product_of(key).id,
            key: &key.text,
            ip: catalogue.masked_ip(fields.key, fields.machine),
            time: self.time,
            state: fields.state,
            machine_code: catalogue.machine_code(fields.machine),
            friendly_name: catalogue.friendly_name(fields.machine),
            floating_expires: if fields.lease == 0 { 0 } else { self.time + i64::from(fields.lease) },
            do_int_value: fields.data_object_value,
            do_id: fields.data_object_id,
        }
    }

    fn event_view<'a>(&self, fields: &'a EventFields, catalogue: &'a Catalogue) -> EventView<'a> {
        let key = catalogue.key(fields.key);
        EventView {
            id: self.id,
            product_id: catalogue.product_of(key).id,
            key: &key.text,
            machine_code: catalogue.machine_code(fields.machine),
            feature_name: fields.feature,
            event_name: fields.event,
            value: fields.value,
            currency: fields.currency,
            time: self.time,
            metadata: fields.metadata.as_deref(),
        }
    }

    fn object_view<'a>(&self, fields: &'a ObjectFields) -> ObjectView<'a> {
        ObjectView {
            id: self.id,
            created: self.time,
            resource_type: fields.resource_type,
            resource_action: fields.resource_action,
            affected_object_id: fields.affected,
            object_owner_user_id: 18,
            performed_by_user_id: fields.performed_by.to_string(),
            data: &fields.data,
        }
    }

    /// True if a client can read the row's id.
    pub(crate) fn has_id(&self) -> bool {
        match &self.fields {
            Fields::Appended(fields) => fields.has_id,
            _ => true,
        }
    }

    pub(crate) fn product_id(&self, catalogue: &Catalogue) -> Option<i64> {
        match &self.fields {
            Fields::WebApi(fields) => Some(catalogue.product_of_key(fields.key).id),
            Fields::Event(fields) => Some(catalogue.product_of_key(fields.key).id),
            Fields::Object(_) => None,
            Fields::Appended(fields) => fields.product_id,
        }
    }

    /// The part of an added row about a floating seat.
    pub(crate) fn added_seat(&self) -> Option<&SeatMembers> {
        match &self.fields {
            Fields::Appended(fields) => fields.seat.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> Option<i64> {
        match &self.fields {
            Fields::WebApi(fields) => Some(i64::from(fields.state)),
            Fields::Event(_) | Fields::Object(_) => None,
            Fields::Appended(fields) => fields.state,
        }
    }

    /// The text of a member with this name of the API; `None` if it is missing, null or no text.
    pub(crate) fn text<'a>(&'a self, name: &str, catalogue: &'a Catalogue) -> Option<Cow<'a, str>> {
        if let Fields::Appended(fields) = &self.fields {
            let members: Raw = serde_json::from_slice(&fields.raw).ok()?;
            return serde_json::from_str(members.get(name)?.get()).ok().map(Cow::Owned);
        }
        match name {
            "key" => self.catalogue_key(catalogue).map(|key| Cow::Borrowed(key.text.as_str())),
            "machineCode" => catalogue.machine_code(self.machine()).map(Cow::Owned),
            "friendlyName" => catalogue.friendly_name(self.machine()).map(Cow::Owned),
            _ => match (&self.fields, name) {
                (Fields::Event(fields), "featureName") => Some(Cow::Borrowed(fields.feature)),
                (Fields::Event(fields), "eventName") => Some(Cow::Borrowed(fields.event)),
                (Fields::Event(fields), "metadata") => fields.metadata.as_deref().map(Cow::Borrowed),
                _ => None,
            },
        }
    }

    fn catalogue_key<'a>(&self, catalogue: &'a Catalogue) -> Option<&'a Key> {
        match &self.fields {
            Fields::WebApi(fields) => Some(catalogue.key(fields.key)),
            Fields::Event(fields) => Some(catalogue.key(fields.key)),
            _ => None,
        }
    }

    fn machine(&self) -> u32 {
        match &self.fields {
            Fields::WebApi(fields) => fields.machine,
            Fields::Event(fields) => fields.machine,
            _ => NO_MACHINE,
        }
    }

    /// The two members that `AnomalyClassification` adds. About one group of 25 rows in 40 is an
    /// anomaly.
    pub(crate) fn anomaly_members(&self) -> String {
        let group = self.id.div_euclid(25);
        if hash_of(&[group as u64]).is_multiple_of(40) {
            let (first, last) = (group * 25, group * 25 + 24);
            format!(
                r#""isAnomaly":true,"anomalyProperties":{{"groupId":{group},"startingAt":{first},"endingAt":{last}}}"#
            )
        } else {
            r#""isAnomaly":false,"anomalyProperties":null"#.to_owned()
        }
    }
}

fn write_json(view: &impl Serialize, out: &mut Vec<u8>) {
    // Writing plain structs into memory does not fail.
    let written = serde_json::to_writer(out, view);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::new(1, 12.0)
    }

    #[test]
    fn a_generated_row_has_the_documented_members() {
        let fields = WebApiFields {
            state: 2014,
            key: 0,
            machine: 0,
            lease: 600,
            data_object_value: 0,
            data_object_id: 0,
        };
        let row = Row { id: 7, time: 100, visible_at: 100, fields: Fields::WebApi(fields) };
        let value: Value = serde_json::from_str(&row.to_json(&catalogue())).unwrap();
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "doId",
            "doIntValue",
            "floatingExpires",
            "friendlyName",
            "id",
            "ip",
            "key",
            "machineCode",
            "productId",
            "state",
            "time",
        ];
        assert_eq!(names, documented);
        assert_eq!(value["floatingExpires"], 700);
    }

    fn appended(text: &str) -> Row {
        Row::appended(RawValue::from_string(text.to_owned()).unwrap(), 41, 90, 100)
    }

    #[test]
    fn an_appended_row_is_served_as_it_is() {
        let text = r#"{"id": 7.0,  "state":"2014","productId":null,"time":1e999}"#;
        let row = appended(text);
        assert_eq!(row.to_json(&catalogue()), text);
        assert_eq!((row.id, row.time, row.visible_at), (7, 90, 100));
        assert_eq!((row.has_id(), row.state(), row.product_id(&catalogue())), (true, Some(2014), None));
    }

    #[test]
    fn a_row_without_a_readable_id_stands_after_the_one_before() {
        for text in ["null", "42", "{}", r#"{"id":null}"#, r#"{"id":7.5}"#, r#"{"id":1e30}"#, r#"{"id":[1]}"#]
        {
            let row = appended(text);
            assert_eq!((row.id, row.has_id()), (41, false), "{text}");
        }
    }

    #[test]
    fn members_are_added_to_objects_only() {
        assert_eq!(appended("{}").to_json_with(&catalogue(), r#""a":1"#), r#"{"a":1}"#);
        assert_eq!(appended("42").to_json_with(&catalogue(), r#""a":1"#), "42");
    }
}
