//! The configuration file: which keys exist, and where.
//!
//! Reads the tree of [`super::yaml`] into texts that remember their line. It knows keys and shapes (one value, list,
//! map) but not which values are valid: that is [`super::value`]'s, for flags and variables too. It collects all
//! problems instead of ending at the first.

use std::path::Path;
use std::sync::Arc;

use super::problem::{FileOrigin, Origin, Place, Problem};
use super::value::Found;
use super::yaml::{self, Key, Node, Value};
use crate::cryptolens::token::redact;

const TOP: &[&str] =
    &["accounts", "api", "log", "logs", "objects", "poll", "since", "states", "storage", "web"];
const API: &[&str] = &["ca_file", "timeout", "token_file", "url"];
const POLL: &[&str] = &["interval", "interval_events", "interval_objects", "overlap"];
const STORAGE: &[&str] = &["foreign_ledger", "path"];
const WEB: &[&str] = &["listen_address", "telemetry_path"];
const LOG: &[&str] = &["format", "level"];
const OBJECTS: &[&str] = &["first_code"];
const ACCOUNT: &[&str] = &["logs", "name", "products", "since", "token_env", "token_file"];
const PRODUCT: &[&str] = &["id", "name"];

/// Every map with fixed keys, for telling where a misplaced key belongs.
const MAPS: [(&str, &[&str]); 8] = [
    ("api", API),
    ("poll", POLL),
    ("storage", STORAGE),
    ("web", WEB),
    ("log", LOG),
    ("objects", OBJECTS),
    ("", TOP),
    ("accounts[]", ACCOUNT),
];

/// Keys by which people mean the token itself, without separators.
const TOKEN_KEYS: [&str; 6] = ["token", "accesstoken", "apitoken", "authtoken", "tokenvalue", "apikey"];

/// What the file says, unvalidated.
#[derive(Default)]
pub(super) struct FileSettings {
    pub(super) url: Option<Found>,
    pub(super) timeout: Option<Found>,
    pub(super) token_file: Option<Found>,
    pub(super) ca_file: Option<Found>,
    pub(super) since: Option<Found>,
    pub(super) logs: Option<Vec<Found>>,
    pub(super) interval: Option<Found>,
    pub(super) interval_events: Option<Found>,
    pub(super) interval_objects: Option<Found>,
    pub(super) overlap: Option<Found>,
    pub(super) storage_path: Option<Found>,
    pub(super) foreign_ledger: Option<Found>,
    pub(super) listen_address: Option<Found>,
    pub(super) telemetry_path: Option<Found>,
    pub(super) log_level: Option<Found>,
    pub(super) log_format: Option<Found>,
    pub(super) first_code: Option<Found>,
    /// Code and its text.
    pub(super) states: Vec<(Found, Found)>,
    /// None without the key; never empty.
    pub(super) accounts: Option<Vec<FileAccount>>,
}

/// One entry of `accounts`.
pub(super) struct FileAccount {
    pub(super) origin: FileOrigin,
    pub(super) name: Option<Found>,
    pub(super) token_file: Option<Found>,
    pub(super) token_env: Option<Found>,
    pub(super) logs: Option<Vec<Found>>,
    pub(super) since: Option<Found>,
    pub(super) products: Vec<FileProduct>,
}

/// One entry of `products`.
pub(super) struct FileProduct {
    pub(super) id: Found,
    pub(super) name: Found,
}

/// Reads the text of the file. What is returned beside problems is incomplete.
pub(super) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> FileSettings {
    let file: Arc<str> = path.to_string_lossy().into();
    let place = |line, column| Place { file: Arc::clone(&file), line, column };
    // A byte order mark is no content; some editors leave one behind.
    let root = match yaml::parse(text.trim_start_matches('\u{feff}')) {
        Ok(root) => root,
        Err(error) => {
            problems.push(Problem::Syntax { place: place(error.line, error.column), reason: error.reason });
            return FileSettings::default();
        }
    };
    let mut reader = Reader { file: Arc::clone(&file), problems };
    match root.value {
        Value::Map(_) => settings(&mut reader, &root),
        Value::Nothing => {
            let reason = "the file has no settings; expected at least one, or no --config.file".to_owned();
            problems.push(Problem::Syntax { place: place(0, 0), reason });
            FileSettings::default()
        }
        other => {
            let reason = format!("found {}, expected a map of settings such as \"since: 30d\"", other.kind());
            problems.push(Problem::Syntax { place: place(root.line, root.column), reason });
            FileSettings::default()
        }
    }
}

fn settings(reader: &mut Reader<'_>, root: &Node) -> FileSettings {
    let top = reader.fields(root, "", TOP);
    let api = reader.section(&top, "api", API);
    let poll = reader.section(&top, "poll", POLL);
    let storage = reader.section(&top, "storage", STORAGE);
    let web = reader.section(&top, "web", WEB);
    let log = reader.section(&top, "log", LOG);
    let objects = reader.section(&top, "objects", OBJECTS);
    FileSettings {
        url: reader.single(&api, "url"),
        timeout: reader.single(&api, "timeout"),
        token_file: reader.single(&api, "token_file"),
        ca_file: reader.single(&api, "ca_file"),
        since: reader.single(&top, "since"),
        logs: reader.names(&top, "logs"),
        interval: reader.single(&poll, "interval"),
        interval_events: reader.single(&poll, "interval_events"),
        interval_objects: reader.single(&poll, "interval_objects"),
        overlap: reader.single(&poll, "overlap"),
        storage_path: reader.single(&storage, "path"),
        foreign_ledger: reader.single(&storage, "foreign_ledger"),
        listen_address: reader.single(&web, "listen_address"),
        telemetry_path: reader.single(&web, "telemetry_path"),
        log_level: reader.single(&log, "level"),
        log_format: reader.single(&log, "format"),
        first_code: reader.single(&objects, "first_code"),
        states: states(reader, &top),
        accounts: accounts(reader, &top),
    }
}

fn states(reader: &mut Reader<'_>, top: &Fields<'_>) -> Vec<(Found, Found)> {
    let Some(node) = top.get("states") else {
        return Vec::new();
    };
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Nothing => return Vec::new(),
        other => {
            reader.bad_shape(
                node,
                "states",
                other.kind(),
                "a map of codes and texts, such as \"2021: license expired\"",
            );
            return Vec::new();
        }
    };
    let mut states = Vec::new();
    for (key, value) in entries {
        let path = format!("states.{}", shown_key(&key.text));
        let code = Found {
            text: key.text.clone(),
            origin: reader.origin(key.line, key.column, "states".to_owned()),
        };
        if let Some(text) = reader.scalar(value, &path, "a text") {
            states.push((code, text));
        }
    }
    states
}

fn accounts(reader: &mut Reader<'_>, top: &Fields<'_>) -> Option<Vec<FileAccount>> {
    const EXPECTED: &str = "a list of accounts, such as \"- name: shop\"";
    let node = top.get("accounts")?;
    let items = match &node.value {
        Value::List(items) if items.is_empty() => {
            reader.bad_shape(node, "accounts", "an empty list", "at least one account, or no such key");
            return None;
        }
        Value::List(items) => items,
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

fn account(reader: &mut Reader<'_>, node: &Node, path: &str) -> FileAccount {
    let fields = reader.fields(node, path, ACCOUNT);
    let name = reader.single(&fields, "name");
    if matches!(node.value, Value::Map(_)) && fields.get("name").is_none() {
        reader.missing(node, path, "name", "a name of letters, digits, and _ . -");
    }
    FileAccount {
        origin: reader.file_origin(node.line, node.column, path.to_owned()),
        name,
        token_file: reader.single(&fields, "token_file"),
        token_env: reader.single(&fields, "token_env"),
        logs: reader.names(&fields, "logs"),
        since: reader.single(&fields, "since"),
        products: products(reader, &fields),
    }
}

fn products(reader: &mut Reader<'_>, account: &Fields<'_>) -> Vec<FileProduct> {
    let Some(node) = account.get("products") else {
        return Vec::new();
    };
    let path = account.path_of("products");
    let items = match &node.value {
        Value::List(items) => items,
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
        let fields = reader.fields(item, &item_path, PRODUCT);
        let id = reader.single(&fields, "id");
        let name = reader.single(&fields, "name");
        if matches!(item.value, Value::Map(_)) {
            if fields.get("id").is_none() {
                reader.missing(
                    item,
                    &item_path,
                    "id",
                    "the number that the service gave the product, such as 3349",
                );
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
struct Fields<'a> {
    path: String,
    entries: Vec<(&'a Key, &'a Node)>,
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| *node)
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// Takes the tree apart, and notes what doesn't fit.
struct Reader<'p> {
    file: Arc<str>,
    problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    fn file_origin(&self, line: u64, column: u64, key: String) -> FileOrigin {
        FileOrigin { place: Place { file: Arc::clone(&self.file), line, column }, key }
    }

    fn origin(&self, line: u64, column: u64, key: String) -> Origin {
        Origin::File(self.file_origin(line, column, key))
    }

    fn bad_shape(&mut self, node: &Node, path: &str, found: &str, expected: &str) {
        self.problems.push(Problem::BadValue {
            origin: self.origin(node.line, node.column, path.to_owned()),
            found: found.to_owned(),
            expected: expected.to_owned(),
        });
    }

    fn missing(&mut self, node: &Node, path: &str, key: &'static str, expected: &'static str) {
        let origin = self.file_origin(node.line, node.column, path.to_owned());
        self.problems.push(Problem::MissingKey { origin, key, expected });
    }

    /// A map below the top; nothing at all counts as a map without keys, as is left when all keys are commented out.
    fn section<'a>(&mut self, top: &Fields<'a>, key: &str, allowed: &'static [&'static str]) -> Fields<'a> {
        match top.get(key) {
            Some(node) if !matches!(node.value, Value::Nothing) => self.fields(node, key, allowed),
            _ => Fields { path: key.to_owned(), entries: Vec::new() },
        }
    }

    /// The keys of a map, of which all must be allowed ones.
    fn fields<'a>(&mut self, node: &'a Node, path: &str, allowed: &'static [&'static str]) -> Fields<'a> {
        let mut entries = Vec::new();
        if let Value::Map(all) = &node.value {
            for (key, value) in all {
                if allowed.contains(&key.text.as_str()) {
                    entries.push((key, value));
                } else {
                    self.unknown(key, path, allowed);
                }
            }
        } else {
            let expected = format!("a map with the keys {}", allowed.join(", "));
            self.bad_shape(node, path, node.value.kind(), &expected);
        }
        Fields { path: path.to_owned(), entries }
    }

    fn unknown(&mut self, key: &Key, path: &str, allowed: &'static [&'static str]) {
        let origin = self.file_origin(key.line, key.column, join(path, shown_key(&key.text)));
        let bare: String = key.text.chars().filter(char::is_ascii_alphanumeric).collect();
        self.problems.push(if TOKEN_KEYS.contains(&bare.to_ascii_lowercase().as_str()) {
            Problem::TokenInFile { origin }
        } else {
            Problem::UnknownKey { origin, hint: hint(&key.text, path, allowed), allowed: allowed.to_vec() }
        });
    }

    /// A key that wants one value.
    fn single(&mut self, fields: &Fields<'_>, key: &str) -> Option<Found> {
        let node = fields.get(key)?;
        self.scalar(node, &fields.path_of(key), "a single value")
    }

    fn scalar(&mut self, node: &Node, path: &str, expected: &str) -> Option<Found> {
        if let Value::Scalar(text) = &node.value {
            let origin = self.origin(node.line, node.column, path.to_owned());
            return Some(Found { text: text.clone(), origin });
        }
        self.bad_shape(node, path, node.value.kind(), expected);
        None
    }

    /// A key that wants a list of names; one text with commas, as in a flag, will do as well.
    fn names(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<Found>> {
        const EXPECTED: &str = "a list of logs, such as [web_api, events]";
        let node = fields.get(key)?;
        let path = fields.path_of(key);
        match &node.value {
            Value::Scalar(_) => self.scalar(node, &path, EXPECTED).map(|found| vec![found]),
            Value::List(items) if items.is_empty() => {
                self.bad_shape(node, &path, "an empty list", "at least one of web_api, events, objects");
                None
            }
            Value::List(items) => {
                let names = items.iter().enumerate();
                Some(
                    names
                        .filter_map(|(index, item)| {
                            self.scalar(item, &format!("{path}[{index}]"), "a name of a log")
                        })
                        .collect(),
                )
            }
            other => {
                self.bad_shape(node, &path, other.kind(), EXPECTED);
                None
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key as a message may show it: as it is if it looks like a key at all. Any other may be a token that slipped in.
fn shown_key(key: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !key.is_empty() && key.len() <= 40 && key.bytes().all(plain) && redact(key) == key {
        key
    } else {
        "(not shown, as it is no name)"
    }
}

/// What was probably meant by an unknown key.
fn hint(key: &str, path: &str, allowed: &[&'static str]) -> Option<String> {
    let meant = snake_case(key);
    let mean = |known: &str| Some(format!("did you mean {}?", join(path, known)));
    // `api.url: x` instead of `api: {url: x}`.
    for (section, keys) in MAPS.iter().filter(|_| path.is_empty()) {
        if let Some(known) = keys.iter().find(|known| meant == format!("{section}.{known}")) {
            return Some(format!("write {known} below {section}"));
        }
    }
    if let Some(known) = allowed.iter().find(|known| **known == meant) {
        return mean(known);
    }
    let closest = allowed.iter().map(|known| (distance(&meant, known), known)).min();
    if let Some((edits, known)) = closest
        && edits <= 2
        && edits < known.len()
    {
        return mean(known);
    }
    let (section, known) =
        MAPS.iter().filter(|(section, _)| *section != path).find_map(|(section, keys)| {
            keys.iter().find(|known| **known == meant).map(|known| (section, known))
        })?;
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

/// Levenshtein distance; keys are short, so one row at a time will do.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, from_char) in from.chars().enumerate() {
        let mut next = vec![index + 1];
        for ((to_char, above), diagonal) in to.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = diagonal + usize::from(*to_char != from_char);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "abc", 3),
            ("url", "url", 0),
            ("ulr", "url", 2),
            ("timeuot", "timeout", 2),
            ("lgos", "logs", 2),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn hints() {
        for (key, path, allowed, expected) in [
            ("api.url", "", TOP, Some("write url below api")),
            ("listenAddress", "web", WEB, Some("did you mean web.listen_address?")),
            ("products", "", TOP, Some("products belongs below accounts[]")),
            ("since", "api", API, Some("since belongs to the top of the file")),
            ("acounts", "", TOP, Some("did you mean accounts?")),
            ("colour", "", TOP, None),
        ] {
            assert_eq!(hint(key, path, allowed).as_deref(), expected, "{key}");
        }
    }
}
