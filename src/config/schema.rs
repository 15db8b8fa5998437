//! The JSON Schema of the configuration file, written from the settings table.
//!
//! It refuses unknown keys, wrong shapes, and values that a pattern or a bound can refuse. YAML
//! knows numbers where this program knows texts (`2021`, `1.10`), so that a text may be any single
//! value. Draft 7 is what editors support best.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::remote_write::RESERVED_HEADERS;
use super::setting::{Setting, ValueKind};
use super::table::{PRODUCT_ID, SETTINGS};
use crate::cryptolens::LogKind;

/// Numbers and units as `humantime` reads them, any number of times.
const DURATION: &str = r"^\s*(\d+\s*[A-Za-zµ]+\s*)+$";
/// `now`, `all`, a duration, a date, or a time.
const SINCE: &str = r"^\s*(now|all|(\d+\s*[A-Za-zµ]+\s*)+|\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?)\s*$";

/// The schema, pretty-printed.
#[must_use]
pub fn text() -> String {
    let mut root = object_of("");
    if let Value::Object(root) = &mut root {
        root.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        root.insert("title".to_owned(), json!("Configuration of cryptolens-exporter"));
        // Nothing at all is no configuration.
        root.insert("minProperties".to_owned(), json!(1));
    }
    let text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text + "\n"
}

/// The object whose keys begin with `prefix`, which is empty or ends with a dot.
fn object_of(prefix: &str) -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        let Some(rest) = setting.key.strip_prefix(prefix).filter(|rest| !rest.is_empty()) else { continue };
        let Some((name, _)) = rest.split_once('.') else {
            properties.insert(rest.to_owned(), described(setting));
            continue;
        };
        let key = name.trim_end_matches("[]");
        if properties.contains_key(key) {
            continue;
        }
        let below = object_of(&format!("{prefix}{name}."));
        properties
            .insert(key.to_owned(), if name.ends_with("[]") { list_of(below, key) } else { section(below) });
    }
    let mut object = json!({ "type": "object", "additionalProperties": false });
    let required: Vec<&str> = SETTINGS.iter().filter_map(|setting| required_below(setting, prefix)).collect();
    if let Value::Object(object) = &mut object {
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        if prefix == "history.remote_write[]." {
            // Two ways of saying who asks.
            object.insert("not".to_owned(), json!({ "required": ["basic_auth", "authorization"] }));
        }
        if prefix == "history.remote_write[].tls_config." {
            let dependencies = json!({ "cert_file": ["key_file"], "key_file": ["cert_file"] });
            object.insert("dependencies".to_owned(), dependencies);
        }
        if prefix == "accounts[]." {
            // One source of its token, and only one.
            let alternatives = json!([{ "required": ["token_file"] }, { "required": ["token_env"] }]);
            object.insert("oneOf".to_owned(), alternatives);
        }
        if prefix == "accounts[].licenses[]." {
            let alternatives = json!([{ "required": ["key_file"] }, { "required": ["key_env"] }]);
            object.insert("oneOf".to_owned(), alternatives);
        }
        object.insert("properties".to_owned(), Value::Object(properties));
    }
    object
}

/// The key, if a map below the top cannot do without it.
fn required_below(setting: &'static Setting, prefix: &str) -> Option<&'static str> {
    let key = setting.key.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
    let needed = setting.default.shown() == PRODUCT_ID.default.shown();
    (needed && !key.contains('.')).then_some(key)
}

/// A section may be left empty, as is left when all its keys are commented out.
fn section(mut object: Value) -> Value {
    if let Value::Object(object) = &mut object {
        object.insert("type".to_owned(), json!(["object", "null"]));
    }
    object
}

fn list_of(items: Value, key: &str) -> Value {
    let least = usize::from(key == "accounts");
    // Nothing at all is left when all entries are commented out.
    let kind = if key == "remote_write" { json!(["array", "null"]) } else { json!("array") };
    json!({ "type": kind, "minItems": least, "items": items })
}

fn described(setting: &Setting) -> Value {
    let mut schema = of_kind(setting);
    if let Value::Object(schema) = &mut schema {
        let mut description = setting.summary.to_owned();
        if !setting.help.is_empty() {
            description = format!("{description}. {}", setting.help);
        }
        let default = setting.default.shown();
        schema.insert("description".to_owned(), json!(format!("{description} Default: {default}.")));
        if !setting.example.is_empty() && !matches!(setting.kind, ValueKind::Logs | ValueKind::States) {
            schema.insert("examples".to_owned(), json!([setting.example]));
        }
    }
    schema
}

fn of_kind(setting: &Setting) -> Value {
    match setting.kind {
        ValueKind::Text => json!({ "type": ["string", "number", "boolean"], "pattern": r"\S" }),
        // A token where the path of its file belongs is the mistake that matters most.
        ValueKind::Path => json!({ "type": "string", "pattern": r"\S", "not": { "pattern": r"^\s*WyI" } }),
        ValueKind::Url => json!({
            "type": "string",
            "format": "uri",
            "pattern": r"^\s*https?://[^/@?#\s][^@?#\s]*$",
            "not": { "pattern": r"^\s*https?://[^/]+(/[^/]+)*//+[^/]" }
        }),
        ValueKind::UrlWithQuery => json!({
            "type": "string",
            "format": "uri",
            "pattern": r"^\s*https?://[^/@?#\s][^@\s]*$"
        }),
        ValueKind::Address => json!({ "type": "string", "pattern": r"^\s*\S*:\d{1,5}\s*$" }),
        ValueKind::Addresses => {
            let address = json!({ "type": "string", "pattern": r"^\s*\S*:\d{1,5}\s*$" });
            let list = r"^\s*\S*:\d{1,5}\s*(,\s*\S*:\d{1,5}\s*)*$";
            json!({ "anyOf": [
                { "type": "array", "minItems": 1, "items": address },
                { "type": "string", "pattern": list }
            ] })
        }
        ValueKind::UrlPath => json!({
            "type": "string",
            "pattern": r"^\s*(/[A-Za-z0-9._~-]+)+\s*$",
            "not": { "pattern": r"^\s*/-(/|\s*$)" }
        }),
        ValueKind::Duration { least, .. } => json!({
            "type": "string",
            "pattern": DURATION,
            "not": { "pattern": if least > Duration::ZERO { r"^\s*0+\s*[A-Za-z]+\s*$" } else { "^$" } }
        }),
        ValueKind::Since => json!({ "type": "string", "pattern": SINCE }),
        ValueKind::Integer { least, most } => {
            let mut schema =
                json!({ "type": ["integer", "string"], "pattern": r"^\s*\d+\s*$", "minimum": least });
            // Beyond this, JSON numbers are not exact.
            if most < 1 << 53
                && let Value::Object(schema) = &mut schema
            {
                schema.insert("maximum".to_owned(), json!(most));
            }
            schema
        }
        ValueKind::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        ValueKind::Choice(choices) => {
            json!({ "enum": choices.iter().map(|choice| choice.name).collect::<Vec<_>>() })
        }
        ValueKind::Switch => json!({ "type": "boolean" }),
        ValueKind::Logs => {
            let names: Vec<&str> = LogKind::ALL.iter().map(|log| log.name()).collect();
            let name = names.join("|");
            let list = format!(r"^\s*({name})\s*(,\s*({name})\s*)*$");
            json!({ "anyOf": [
                { "type": "array", "minItems": 1, "items": { "enum": names } },
                { "type": "string", "pattern": list }
            ] })
        }
        ValueKind::List => json!({ "type": ["string", "array"] }),
        ValueKind::Pairs => json!({ "anyOf": [
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": { "type": ["string", "number", "boolean"], "pattern": r"^[^,]*[^,\s][^,]*$" }
            },
            { "type": "string", "pattern": r"^\s*[A-Za-z_][A-Za-z0-9_]*\s*=\s*[^,\s]" }
        ] }),
        ValueKind::States => json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "patternProperties": {
                "^[1-8][0-9]{3}$": { "type": ["string", "number", "boolean"], "pattern": r"\S" }
            }
        }),
        ValueKind::Headers => json!({
            "type": ["object", "null"],
            "additionalProperties": { "type": ["string", "number", "boolean"], "pattern": r"\S" },
            "propertyNames": {
                "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
                "not": { "pattern": any_of_in_any_case(&RESERVED_HEADERS) }
            }
        }),
        ValueKind::VariableName => json!({ "type": "string", "pattern": r"^\s*[A-Za-z_][A-Za-z0-9_]*\s*$" }),
        ValueKind::AccountName => {
            json!({ "type": ["string", "number", "boolean"], "pattern": r"^[A-Za-z0-9_.-]{1,100}$" })
        }
    }
}

/// A pattern for one of these names as a whole: a schema has no flag for letter case.
fn any_of_in_any_case(names: &[&str]) -> String {
    let in_any_case = |letter: char| match letter {
        letter if letter.is_ascii_alphabetic() => {
            format!("[{}{letter}]", letter.to_ascii_uppercase())
        }
        letter => letter.to_string(),
    };
    let names: Vec<String> = names.iter().map(|name| name.chars().map(in_any_case).collect()).collect();
    format!("^({})$", names.join("|"))
}
