//! One row of a simulated log: what it holds, what a filter sees of it, and how it looks as JSON.
//!
//! Generated rows are kept as a few numbers and become text only when a page is rendered, so that a long history costs
//! little memory. Appended rows keep the text that they were given, byte for byte. Nothing here knows about HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Log;
use super::catalogue::{Catalogue, Key};
use super::random::hash_of;

/// Stands for "no machine recorded" in [`WebApiFields`].
pub(super) const NO_MACHINE: u32 = u32::MAX;

/// A row in the simulator's memory.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) time: i64,
    /// From when on a request sees the row; later than `time` for a row that the API reveals late.
    pub(super) visible_at: i64,
    pub(super) fields: Fields,
}

#[derive(Debug, Clone)]
pub(super) enum Fields {
    WebApi(WebApiFields),
    Event(Arc<EventFields>),
    Object(Arc<ObjectFields>),
    Appended(Arc<AppendedFields>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct WebApiFields {
    pub(super) state: u16,
    /// Index of the key in the catalogue, which knows the product too.
    pub(super) key: u32,
    pub(super) machine: u32,
    /// Seconds that a floating seat is held; 0 where that does not apply.
    pub(super) lease: u32,
    pub(super) data_object_value: i32,
    pub(super) data_object_id: u32,
}

#[derive(Debug)]
pub(super) struct EventFields {
    pub(super) key: u32,
    pub(super) machine: u32,
    pub(super) feature: &'static str,
    pub(super) event: &'static str,
    pub(super) value: i64,
    pub(super) currency: Option<&'static str>,
    pub(super) metadata: Option<String>,
}

#[derive(Debug)]
pub(super) struct ObjectFields {
    pub(super) resource_type: i64,
    pub(super) resource_action: i64,
    pub(super) affected: i64,
    pub(super) performed_by: i64,
    pub(super) data: String,
}

#[derive(Debug)]
pub(super) struct AppendedFields {
    text: String,
    /// What filters and the truth see; `Null` if the text is not JSON.
    parsed: Value,
}

/// A row that a test adds to a log.
///
/// It is a well-formed row with ordinary values, changed by `fields`; or, if `verbatim` is given, exactly that text,
/// which may be malformed in any way. `id`, `time` and `visible_at` decide where and when it shows up either way.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendedRow {
    /// Position in the log. A row with the same id is replaced.
    pub id: i64,
    /// Time of the row, Unix seconds.
    pub time: i64,
    /// From when on requests see the row; its time if absent.
    #[serde(default)]
    pub visible_at: Option<i64>,
    /// Members to set on the row, by the API's names; `null` is a value.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// The row's whole text.
    #[serde(default, deserialize_with = "raw_text")]
    pub verbatim: Option<String>,
}

fn raw_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Some(raw.get().to_owned()))
}

impl AppendedRow {
    /// An ordinary row, visible from its time on.
    pub fn new(id: i64, time: i64) -> Self {
        Self { id, time, ..Self::default() }
    }

    /// Hides the row until then.
    #[must_use]
    pub fn visible_at(mut self, time: i64) -> Self {
        self.visible_at = Some(time);
        self
    }

    /// Sets one member, by the API's name for it.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Replaces the whole row by this text, which need not be valid.
    #[must_use]
    pub fn verbatim(mut self, text: impl Into<String>) -> Self {
        self.verbatim = Some(text.into());
        self
    }

    pub(super) fn into_row(self, log: Log) -> Row {
        let text = self.verbatim.unwrap_or_else(|| {
            let mut members = ordinary_members(log, self.id, self.time);
            members.extend(self.fields);
            Value::Object(members).to_string()
        });
        Row {
            id: self.id,
            time: self.time,
            visible_at: self.visible_at.unwrap_or(self.time),
            fields: Fields::Appended(Arc::new(AppendedFields {
                parsed: serde_json::from_str(&text).unwrap_or(Value::Null),
                text,
            })),
        }
    }
}

fn ordinary_members(log: Log, id: i64, time: i64) -> Map<String, Value> {
    let row = match log {
        Log::WebApi => json!({
            "id": id, "productId": 3349, "key": "ICVLD-VVSZR-ZTICT-YKGXL", "ip": "81.227.14.0", "time": time,
            "state": 2014, "machineCode": "289jf2afs3", "friendlyName": "alice-laptop",
            "floatingExpires": time + 300, "doIntValue": 0, "doId": 0,
        }),
        Log::Events => json!({
            "id": id, "productId": 3349, "key": "ICVLD-VVSZR-ZTICT-YKGXL", "machineCode": "289jf2afs3",
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
    pub(super) fn render(&self, catalogue: &Catalogue, out: &mut Vec<u8>) {
        match &self.fields {
            Fields::WebApi(fields) => write_json(&self.web_api_view(*fields, catalogue), out),
            Fields::Event(fields) => write_json(&self.event_view(fields, catalogue), out),
            Fields::Object(fields) => write_json(&self.object_view(fields), out),
            Fields::Appended(fields) => out.extend_from_slice(fields.text.as_bytes()),
        }
    }

    pub(super) fn to_json(&self, catalogue: &Catalogue) -> String {
        let mut text = Vec::with_capacity(300);
        self.render(catalogue, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The row's JSON with more members in it; rows that are not objects stay as they are.
    pub(super) fn to_json_with(&self, catalogue: &Catalogue, members: &str) -> String {
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

    /// A whole number of the row, by the API's name; `None` if it is missing or no whole number.
    pub(super) fn integer(&self, name: &str, catalogue: &Catalogue) -> Option<i64> {
        match (&self.fields, name) {
            (Fields::Appended(fields), _) => fields.parsed.get(name).and_then(Value::as_i64),
            (Fields::WebApi(fields), "productId") => Some(catalogue.product_of_key(fields.key).id),
            (Fields::WebApi(fields), "state") => Some(i64::from(fields.state)),
            (Fields::Event(fields), "productId") => Some(catalogue.product_of_key(fields.key).id),
            (Fields::Object(fields), "resourceType") => Some(fields.resource_type),
            (Fields::Object(fields), "resourceAction") => Some(fields.resource_action),
            _ => None,
        }
    }

    /// A text of the row, by the API's name; `None` if it is missing, null or no text.
    pub(super) fn text<'a>(&'a self, name: &str, catalogue: &'a Catalogue) -> Option<Cow<'a, str>> {
        if let Fields::Appended(fields) = &self.fields {
            return fields.parsed.get(name).and_then(Value::as_str).map(Cow::Borrowed);
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

    /// The two members that `AnomalyClassification` adds: about one group of 25 rows in 40 is an anomaly.
    pub(super) fn anomaly_members(&self) -> String {
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
    // Writing plain structs into memory has no way to fail.
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
            "doId", "doIntValue", "floatingExpires", "friendlyName", "id", "ip", "key", "machineCode", "productId",
            "state", "time",
        ];
        assert_eq!(names, documented);
        assert_eq!(value["floatingExpires"], 700);
    }

    #[test]
    fn an_appended_row_takes_fields_or_is_served_verbatim() {
        let changed = AppendedRow::new(1, 50).field("state", Value::Null).into_row(Log::WebApi);
        let value: Value = serde_json::from_str(&changed.to_json(&catalogue())).unwrap();
        assert_eq!((value["id"].as_i64(), &value["state"]), (Some(1), &Value::Null));
        let broken = AppendedRow::new(2, 50).verbatim("{\"id\": 1e2,  oops").into_row(Log::WebApi);
        assert_eq!(broken.to_json(&catalogue()), "{\"id\": 1e2,  oops");
    }

    #[test]
    fn members_are_added_to_objects_only() {
        let row = AppendedRow::new(1, 1).verbatim("{}").into_row(Log::Events);
        assert_eq!(row.to_json_with(&catalogue(), r#""a":1"#), r#"{"a":1}"#);
        let row = AppendedRow::new(1, 1).verbatim("42").into_row(Log::Events);
        assert_eq!(row.to_json_with(&catalogue(), r#""a":1"#), "42");
    }
}
