//! The configuration file: which keys exist, and where.
//!
//! Reads the tree of [`super::yaml`] into texts that remember their line. The keys are those of the
//! settings table; this module knows shapes (one value, list, map), and not which values are valid:
//! [`super::value`] does, for flags and variables too. All problems are collected. Keys and shapes
//! are checked in the whole file, whichever command reads it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::problem::{FileOrigin, FilePosition, Problem, ValueOrigin};
use super::setting::{Setting, ValueKind};
use super::table::{self, SETTINGS};
use super::value::SourcedValue;
use super::yaml::{self, YamlKey, YamlNode, YamlValue};
use crate::cryptolens::token::redact;

/// The names that an account may have.
const NAME_EXPECTED: &str = "a name of letters, digits, and _ . -";

/// Keys by which people mean the token itself, without separators.
const TOKEN_KEYS: [&str; 6] = ["token", "accesstoken", "apitoken", "authtoken", "tokenvalue", "apikey"];

/// The values of the file, with known keys and right shapes, and otherwise unchecked.
#[derive(Default)]
pub(super) struct FileValues {
    /// By the key of the table, such as `api.url`. One value each, except for lists of logs.
    values: BTreeMap<&'static str, Vec<SourcedValue>>,
    /// Code and its text.
    pub(super) states: Vec<(SourcedValue, SourcedValue)>,
    /// None without the key; never empty.
    pub(super) accounts: Option<Vec<FileAccount>>,
    /// The entries of `history.remote_write`.
    pub(super) targets: Vec<FileTarget>,
}

impl FileValues {
    /// The value of a key that has one.
    pub(super) fn single(&self, key: &str) -> Option<&SourcedValue> {
        self.values.get(key).and_then(|values| values.first())
    }

    /// The values of a key that has a list.
    pub(super) fn list(&self, key: &str) -> Option<&[SourcedValue]> {
        self.values.get(key).map(Vec::as_slice)
    }
}

/// One entry of `history.remote_write`.
#[derive(Clone)]
pub(super) struct FileTarget {
    pub(super) origin: FileOrigin,
    /// By the key of the table, such as `history.remote_write[].url`.
    values: BTreeMap<&'static str, SourcedValue>,
    /// Name and value.
    pub(super) headers: Vec<(SourcedValue, SourcedValue)>,
    /// The maps below that have keys, with where they are.
    maps: BTreeMap<&'static str, FileOrigin>,
}

impl FileTarget {
    /// The value of a row of the table.
    pub(super) fn value(&self, setting: &Setting) -> Option<&SourcedValue> {
        self.values.get(setting.key)
    }

    /// The place of a map below, such as `basic_auth`; none if it is absent or empty.
    pub(super) fn map(&self, key: &str) -> Option<&FileOrigin> {
        self.maps.get(key)
    }
}

/// One entry of `accounts`.
#[derive(Clone)]
pub(super) struct FileAccount {
    pub(super) origin: FileOrigin,
    pub(super) name: Option<SourcedValue>,
    pub(super) token_file: Option<SourcedValue>,
    pub(super) token_env: Option<SourcedValue>,
    pub(super) logs: Option<Vec<SourcedValue>>,
    pub(super) since: Option<SourcedValue>,
    pub(super) products: Vec<FileProduct>,
    pub(super) licenses: Vec<FileLicense>,
}

/// One entry of `products`.
#[derive(Clone)]
pub(super) struct FileProduct {
    pub(super) id: SourcedValue,
    pub(super) name: SourcedValue,
}

/// One entry of `licenses`.
#[derive(Clone)]
pub(super) struct FileLicense {
    pub(super) origin: FileOrigin,
    pub(super) name: Option<SourcedValue>,
    pub(super) product_id: Option<SourcedValue>,
    pub(super) key_file: Option<SourcedValue>,
    pub(super) key_env: Option<SourcedValue>,
}

/// The keys directly below a map of the file, by the table: `""` is the top, `accounts[]` an
/// account. Sorted, each once.
fn keys_below(map: &str) -> Vec<&'static str> {
    let below = |key: &'static str| match map {
        "" => Some(key),
        _ => key.strip_prefix(map)?.strip_prefix('.'),
    };
    let keys =
        SETTINGS.iter().filter(|setting| !setting.key.is_empty()).filter_map(|setting| below(setting.key));
    let mut keys: Vec<&str> = keys.filter_map(|rest| rest.split(['.', '[']).next()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The maps below the top, with the keys of each, in the order of the table.
fn sections() -> Vec<&'static str> {
    let mut sections = Vec::new();
    for setting in SETTINGS {
        if let Some((section, _)) = setting.key.split_once('.')
            && !section.ends_with(']')
            && !sections.contains(&section)
        {
            sections.push(section);
        }
    }
    sections
}

/// Reads the text of the file. The result beside problems is incomplete.
pub(super) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> FileValues {
    let file: Arc<str> = path.to_string_lossy().into();
    let place = |line, column| FilePosition { file: Arc::clone(&file), line, column };
    // A byte order mark is no content; some editors leave one behind.
    let root = match yaml::parse(text.trim_start_matches('\u{feff}')) {
        Ok(root) => root,
        Err(error) => {
            problems.push(Problem::Syntax { place: place(error.line, error.column), reason: error.reason });
            return FileValues::default();
        }
    };
    let mut reader = FileReader { file: Arc::clone(&file), problems };
    match root.value {
        YamlValue::Map(_) => values(&mut reader, &root),
        YamlValue::Nothing => {
            let reason = "the file has no settings; expected at least one, or no --config.file".to_owned();
            problems.push(Problem::Syntax { place: place(0, 0), reason });
            FileValues::default()
        }
        other => {
            let reason = format!("found {}, expected a map of settings such as \"since: 30d\"", other.kind());
            problems.push(Problem::Syntax { place: place(root.line, root.column), reason });
            FileValues::default()
        }
    }
}

fn values(reader: &mut FileReader<'_>, root: &YamlNode) -> FileValues {
    let top = reader.fields(root, "");
    let sections: Vec<FileFields<'_>> =
        sections().into_iter().map(|section| reader.section(&top, section)).collect();
    let mut values = BTreeMap::new();
    for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty() && !setting.key.contains('[')) {
        let (fields, key) = match setting.key.split_once('.') {
            Some((section, key)) => (sections.iter().find(|fields| fields.path == section), key),
            None => (Some(&top), setting.key),
        };
        let Some(fields) = fields else { continue };
        let found = match setting.kind {
            ValueKind::States => None,
            ValueKind::Logs => reader.items(fields, key, &LOG_NAMES),
            ValueKind::Addresses => reader.items(fields, key, &ADDRESSES),
            ValueKind::Pairs => reader.pairs(fields, key, setting).map(|found| vec![found]),
            _ => reader.single(fields, key).map(|found| vec![found]),
        };
        if let Some(found) = found {
            values.insert(setting.key, found);
        }
    }
    let history = sections.iter().find(|fields| fields.path == HISTORY);
    let targets = history.map(|history| targets(reader, history)).unwrap_or_default();
    FileValues { values, states: states(reader, &top), accounts: accounts(reader, &top), targets }
}

/// The section with the list of targets, and the map that the table has for one of them.
const HISTORY: &str = "history";
const TARGET: &str = "history.remote_write[]";
/// The maps of a target.
const TARGET_MAPS: [&str; 3] = ["basic_auth", "authorization", "tls_config"];

fn targets(reader: &mut FileReader<'_>, history: &FileFields<'_>) -> Vec<FileTarget> {
    const EXPECTED: &str = "a list of targets, such as \"- url: http://prometheus:9090/api/v1/write\"";
    let Some(node) = history.get("remote_write") else { return Vec::new() };
    let path = history.path_of("remote_write");
    match &node.value {
        YamlValue::Nothing => Vec::new(),
        YamlValue::List(items) => {
            let items = items.iter().enumerate();
            items.map(|(index, item)| target(reader, item, &format!("{path}[{index}]"))).collect()
        }
        other => {
            reader.bad_shape(node, &path, other.kind(), EXPECTED);
            Vec::new()
        }
    }
}

fn target(reader: &mut FileReader<'_>, node: &YamlNode, path: &str) -> FileTarget {
    let fields = reader.fields_as(node, path, TARGET);
    if matches!(node.value, YamlValue::Map(_)) && fields.get("url").is_none() {
        reader.missing(node, path, "url", table::TARGET_URL.expected);
    }
    let mut maps = BTreeMap::new();
    let mut below = Vec::new();
    for key in TARGET_MAPS {
        let map = fields.get(key).filter(|map| !matches!(map.value, YamlValue::Nothing));
        let Some(map) = map else { continue };
        let map_path = fields.path_of(key);
        maps.insert(key, reader.file_origin(map.line, map.column, map_path.clone()));
        let inner = reader.fields_as(map, &map_path, &format!("{TARGET}.{key}"));
        for (needed, expected) in needed_below(key) {
            if matches!(map.value, YamlValue::Map(_)) && inner.get(needed).is_none() {
                reader.missing(map, &map_path, needed, expected);
            }
        }
        below.push((key, inner));
    }
    let mut values = BTreeMap::new();
    let rows = SETTINGS.iter().filter(|row| !matches!(row.kind, ValueKind::Headers));
    for row in rows {
        let Some(key) = row.key.strip_prefix(TARGET).and_then(|key| key.strip_prefix('.')) else { continue };
        let (fields, key) = match key.split_once('.') {
            Some((map, key)) => (below.iter().find(|(known, _)| *known == map).map(|(_, inner)| inner), key),
            None => (Some(&fields), key),
        };
        if let Some(found) = fields.and_then(|fields| reader.single(fields, key)) {
            values.insert(row.key, found);
        }
    }
    let headers = headers(reader, &fields);
    FileTarget { origin: reader.file_origin(node.line, node.column, path.to_owned()), values, headers, maps }
}

/// The keys that a map of a target cannot do without.
fn needed_below(map: &str) -> Vec<(&'static str, &'static str)> {
    let rows = SETTINGS.iter().filter(|row| row.default.shown() == table::TARGET_URL.default.shown());
    let keys = rows.filter_map(|row| {
        let key = row.key.strip_prefix(TARGET)?.strip_prefix('.')?.strip_prefix(map)?.strip_prefix('.')?;
        Some((key, row.expected))
    });
    keys.collect()
}

fn headers(reader: &mut FileReader<'_>, target: &FileFields<'_>) -> Vec<(SourcedValue, SourcedValue)> {
    let Some(node) = target.get("headers") else { return Vec::new() };
    let path = target.path_of("headers");
    let entries = match &node.value {
        YamlValue::Map(entries) => entries,
        YamlValue::Nothing => return Vec::new(),
        other => {
            reader.bad_shape(node, &path, other.kind(), table::TARGET_HEADERS.expected);
            return Vec::new();
        }
    };
    let mut headers = Vec::new();
    for (key, value) in entries {
        let origin = reader.origin(key.line, key.column, path.clone());
        let name = SourcedValue { text: key.text.clone(), origin };
        if let Some(value) = reader.scalar(value, &format!("{path}.{}", shown_key(&key.text)), "a text") {
            headers.push((name, value));
        }
    }
    headers
}

fn states(reader: &mut FileReader<'_>, top: &FileFields<'_>) -> Vec<(SourcedValue, SourcedValue)> {
    let Some(node) = top.get("states") else {
        return Vec::new();
    };
    let entries = match &node.value {
        YamlValue::Map(entries) => entries,
        YamlValue::Nothing => return Vec::new(),
        other => {
            reader.bad_shape(node, "states", other.kind(), table::STATE_TEXTS.expected);
            return Vec::new();
        }
    };
    let mut states = Vec::new();
    for (key, value) in entries {
        let path = format!("states.{}", shown_key(&key.text));
        let code = SourcedValue {
            text: key.text.clone(),
            origin: reader.origin(key.line, key.column, "states".to_owned()),
        };
        if let Some(text) = reader.scalar(value, &path, "a text") {
            states.push((code, text));
        }
    }
    states
}

fn accounts(reader: &mut FileReader<'_>, top: &FileFields<'_>) -> Option<Vec<FileAccount>> {
    const EXPECTED: &str = "a list of accounts, such as \"- name: shop\"";
    let node = top.get("accounts")?;
    let items = match &node.value {
        YamlValue::List(items) if items.is_empty() => {
            reader.bad_shape(node, "accounts", "an empty list", "at least one account, or no such key");
            return None;
        }
        YamlValue::List(items) => items,
        other => {
            reader.bad_shape(node, "accounts", other.kind(), EXPECTED);
            return None;
        }
    };
    Some(
        items
            .iter()
            .enumerate()
            .map(|(index, item)| account(reader, item, &format!("accounts[{index}]")))
            .collect(),
    )
}

fn account(reader: &mut FileReader<'_>, node: &YamlNode, path: &str) -> FileAccount {
    let fields = reader.fields_as(node, path, "accounts[]");
    let name = reader.single(&fields, "name");
    if matches!(node.value, YamlValue::Map(_)) && fields.get("name").is_none() {
        reader.missing(node, path, "name", NAME_EXPECTED);
    }
    FileAccount {
        origin: reader.file_origin(node.line, node.column, path.to_owned()),
        name,
        token_file: reader.single(&fields, "token_file"),
        token_env: reader.single(&fields, "token_env"),
        logs: reader.items(&fields, "logs", &LOG_NAMES),
        since: reader.single(&fields, "since"),
        products: products(reader, &fields),
        licenses: licenses(reader, &fields),
    }
}

fn licenses(reader: &mut FileReader<'_>, account: &FileFields<'_>) -> Vec<FileLicense> {
    const EXPECTED: &str =
        "a list of licenses, such as \"- {name: big-customer, product_id: 3349, key_file: key}\"";
    let Some(node) = account.get("licenses") else { return Vec::new() };
    let path = account.path_of("licenses");
    let YamlValue::List(items) = &node.value else {
        reader.bad_shape(node, &path, node.value.kind(), EXPECTED);
        return Vec::new();
    };
    let license = |(index, item): (usize, &YamlNode)| {
        let item_path = format!("{path}[{index}]");
        let fields = reader.fields_as(item, &item_path, "accounts[].licenses[]");
        if !matches!(item.value, YamlValue::Map(_)) {
            return None;
        }
        for (key, setting) in [("name", &table::LICENSE_NAME), ("product_id", &table::LICENSE_PRODUCT_ID)] {
            if fields.get(key).is_none() {
                reader.missing(item, &item_path, key, setting.expected);
            }
        }
        Some(FileLicense {
            name: reader.single(&fields, "name"),
            product_id: reader.single(&fields, "product_id"),
            key_file: reader.single(&fields, "key_file"),
            key_env: reader.single(&fields, "key_env"),
            origin: reader.file_origin(item.line, item.column, item_path),
        })
    };
    items.iter().enumerate().filter_map(license).collect()
}

fn products(reader: &mut FileReader<'_>, account: &FileFields<'_>) -> Vec<FileProduct> {
    let Some(node) = account.get("products") else {
        return Vec::new();
    };
    let path = account.path_of("products");
    let items = match &node.value {
        YamlValue::List(items) => items,
        other => {
            reader.bad_shape(
                node,
                &path,
                other.kind(),
                "a list of products, such as \"- {id: 3349, name: My App}\"",
            );
            return Vec::new();
        }
    };
    let mut products = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let item_path = format!("{path}[{index}]");
        let fields = reader.fields_as(item, &item_path, "accounts[].products[]");
        let id = reader.single(&fields, "id");
        let name = reader.single(&fields, "name");
        if matches!(item.value, YamlValue::Map(_)) {
            if fields.get("id").is_none() {
                reader.missing(item, &item_path, "id", table::PRODUCT_ID.expected);
            }
            if fields.get("name").is_none() {
                reader.missing(item, &item_path, "name", "a text");
            }
        }
        if let (Some(id), Some(name)) = (id, name) {
            products.push(FileProduct { id, name });
        }
    }
    products
}

/// The known keys of one map.
struct FileFields<'a> {
    path: String,
    entries: Vec<(&'a YamlKey, &'a YamlNode)>,
}

impl<'a> FileFields<'a> {
    fn get(&self, key: &str) -> Option<&'a YamlNode> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| *node)
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// Takes the tree apart, and notes keys and shapes that do not fit.
struct FileReader<'p> {
    file: Arc<str>,
    problems: &'p mut Vec<Problem>,
}

impl FileReader<'_> {
    fn file_origin(&self, line: u64, column: u64, key: String) -> FileOrigin {
        FileOrigin { place: FilePosition { file: Arc::clone(&self.file), line, column }, key }
    }

    fn origin(&self, line: u64, column: u64, key: String) -> ValueOrigin {
        ValueOrigin::File(self.file_origin(line, column, key))
    }

    fn bad_shape(&mut self, node: &YamlNode, path: &str, found: &str, expected: &str) {
        self.problems.push(Problem::BadValue {
            origin: self.origin(node.line, node.column, path.to_owned()),
            found: found.to_owned(),
            expected: expected.to_owned(),
        });
    }

    fn missing(&mut self, node: &YamlNode, path: &str, key: &'static str, expected: &'static str) {
        let origin = self.file_origin(node.line, node.column, path.to_owned());
        self.problems.push(Problem::MissingKey { origin, key, expected });
    }

    /// A map below the top. Nothing at all counts as a map without keys, as is left when all keys
    /// are commented out.
    fn section<'a>(&mut self, top: &FileFields<'a>, key: &str) -> FileFields<'a> {
        match top.get(key) {
            Some(node) if !matches!(node.value, YamlValue::Nothing) => self.fields(node, key),
            _ => FileFields { path: key.to_owned(), entries: Vec::new() },
        }
    }

    /// The keys of a map, of which the table must have all.
    fn fields<'a>(&mut self, node: &'a YamlNode, path: &str) -> FileFields<'a> {
        self.fields_as(node, path, path)
    }

    /// The same for a map in a list, which the table has as `map`.
    fn fields_as<'a>(&mut self, node: &'a YamlNode, path: &str, map: &str) -> FileFields<'a> {
        let allowed = keys_below(map);
        let mut entries = Vec::new();
        if let YamlValue::Map(all) = &node.value {
            for (key, value) in all {
                if allowed.contains(&key.text.as_str()) {
                    entries.push((key, value));
                } else {
                    self.unknown(key, path, &allowed);
                }
            }
        } else {
            let expected = format!("a map with the keys {}", allowed.join(", "));
            self.bad_shape(node, path, node.value.kind(), &expected);
        }
        FileFields { path: path.to_owned(), entries }
    }

    fn unknown(&mut self, key: &YamlKey, path: &str, allowed: &[&'static str]) {
        let origin = self.file_origin(key.line, key.column, join(path, shown_key(&key.text)));
        let bare: String = key.text.chars().filter(char::is_ascii_alphanumeric).collect();
        self.problems.push(if TOKEN_KEYS.contains(&bare.to_ascii_lowercase().as_str()) {
            Problem::TokenInFile { origin }
        } else {
            Problem::UnknownKey { origin, hint: hint(&key.text, path, allowed), allowed: allowed.to_vec() }
        });
    }

    /// A key that takes one value.
    fn single(&mut self, fields: &FileFields<'_>, key: &str) -> Option<SourcedValue> {
        let node = fields.get(key)?;
        self.scalar(node, &fields.path_of(key), "a single value")
    }

    fn scalar(&mut self, node: &YamlNode, path: &str, expected: &str) -> Option<SourcedValue> {
        if let YamlValue::Scalar(text) = &node.value {
            let origin = self.origin(node.line, node.column, path.to_owned());
            return Some(SourcedValue { text: text.clone(), origin });
        }
        self.bad_shape(node, path, node.value.kind(), expected);
        None
    }

    /// A key that takes a map of texts, or one text with pairs, as a flag does.
    fn pairs(&mut self, fields: &FileFields<'_>, key: &str, setting: &Setting) -> Option<SourcedValue> {
        let node = fields.get(key)?;
        let path = fields.path_of(key);
        let YamlValue::Map(entries) = &node.value else { return self.scalar(node, &path, setting.expected) };
        let mut pairs = Vec::new();
        for (name, value) in entries {
            let value_path = format!("{path}.{}", shown_key(&name.text));
            let value = self.scalar(value, &value_path, "a text")?;
            if value.text.contains(',') {
                self.bad_shape(node, &value_path, "a text with a comma", "a text without a comma");
                return None;
            }
            pairs.push(format!("{}={}", name.text, value.text));
        }
        Some(SourcedValue { text: pairs.join(","), origin: self.origin(node.line, node.column, path) })
    }

    /// A key that takes a list, or one text with commas, as a flag does.
    fn items(&mut self, fields: &FileFields<'_>, key: &str, texts: &ListTexts) -> Option<Vec<SourcedValue>> {
        let node = fields.get(key)?;
        let path = fields.path_of(key);
        match &node.value {
            YamlValue::Scalar(_) => self.scalar(node, &path, texts.list).map(|found| vec![found]),
            YamlValue::List(items) if items.is_empty() => {
                self.bad_shape(node, &path, "an empty list", texts.not_empty);
                None
            }
            YamlValue::List(items) => {
                let names = items.iter().enumerate();
                Some(
                    names
                        .filter_map(|(index, item)| {
                            self.scalar(item, &format!("{path}[{index}]"), texts.item)
                        })
                        .collect(),
                )
            }
            other => {
                self.bad_shape(node, &path, other.kind(), texts.list);
                None
            }
        }
    }
}

/// The form that a list must have, for messages.
struct ListTexts {
    list: &'static str,
    not_empty: &'static str,
    item: &'static str,
}

const LOG_NAMES: ListTexts = ListTexts {
    list: "a list of logs, such as [web_api, events]",
    not_empty: "at least one of web_api, events, objects",
    item: "a name of a log",
};

const ADDRESSES: ListTexts = ListTexts {
    list: "an address such as :10460, or a list of them",
    not_empty: "at least one address, such as :10460",
    item: "an address, such as :10460",
};

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key as a message may show it: only one that looks like a key, as any other text may be a
/// token.
fn shown_key(key: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !key.is_empty() && key.len() <= 40 && key.bytes().all(plain) && redact(key) == key {
        key
    } else {
        "(not shown, as it is no name)"
    }
}

/// The key that was probably meant by an unknown one.
fn hint(key: &str, path: &str, allowed: &[&'static str]) -> Option<String> {
    let meant = snake_case(key);
    let mean = |known: &str| Some(format!("did you mean {}?", join(path, known)));
    let mut maps: Vec<(&str, Vec<&str>)> = Vec::new();
    let targets = TARGET_MAPS.map(|map| format!("{TARGET}.{map}"));
    let lists = ["", "accounts[]", TARGET].into_iter().chain(targets.iter().map(String::as_str));
    for map in sections().into_iter().chain(lists) {
        maps.push((map, keys_below(map)));
    }
    // `api.url: x` instead of `api: {url: x}`.
    for (section, keys) in maps.iter().filter(|_| path.is_empty()) {
        if let Some(known) = keys.iter().find(|known| meant == format!("{section}.{known}")) {
            return Some(format!("write {known} below {section}"));
        }
    }
    if let Some(known) = allowed.iter().find(|known| **known == meant) {
        return mean(known);
    }
    let closest = allowed.iter().map(|known| (strsim::levenshtein(&meant, known), known)).min();
    if let Some((edits, known)) = closest
        && edits <= 2
        && edits < known.len()
    {
        return mean(known);
    }
    let elsewhere = maps.iter().filter(|(section, _)| *section != path);
    let (section, known) = elsewhere
        .filter_map(|(section, keys)| {
            keys.iter().find(|known| **known == meant).map(|known| (section, known))
        })
        // The same name may stand in a section too: most often the whole account is meant.
        .min_by_key(|(section, _)| !section.is_empty())?;
    Some(if section.is_empty() {
        format!("{known} belongs to the top of the file")
    } else {
        format!("{known} belongs below {section}")
    })
}

/// `listenAddress` and `listen-address` as `listen_address`.
fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    let mut after_lower = false;
    for character in key.chars() {
        if character.is_ascii_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        snake.push(if character == '-' { '_' } else { character.to_ascii_lowercase() });
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        for (key, path, expected) in [
            ("api.url", "", Some("write url below api")),
            ("listenAddress", "web", Some("did you mean web.listen_address?")),
            ("products", "", Some("products belongs below accounts[]")),
            ("since", "api", Some("since belongs to the top of the file")),
            ("acounts", "", Some("did you mean accounts?")),
            ("ulr", "api", Some("did you mean api.url?")),
            ("colour", "", None),
        ] {
            assert_eq!(hint(key, path, &keys_below(path)).as_deref(), expected, "{key}");
        }
    }
}
