//! YAML text as a tree in which everything knows its line, and keys are still text.
//!
//! The settings could be deserialized into structs directly; a tree in between lets [`super::file`]
//! report all mistakes of a file at once, in its own words, and never quote the file. It does not
//! know which keys exist. The tree has no `Debug`, as a mistaken file may hold a token.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource, Location, NonFiniteFloatPolicy, Spanned};

/// A value and where it is.
pub(super) struct YamlNode {
    pub(super) value: YamlValue,
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value by its shape. Numbers and booleans stay text: their meaning depends on the key.
pub(super) enum YamlValue {
    Nothing,
    Scalar(String),
    List(Vec<YamlNode>),
    Map(Vec<(YamlKey, YamlNode)>),
}

/// A key of a map and where it is.
pub(super) struct YamlKey {
    pub(super) text: String,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl YamlValue {
    /// The name of the shape, for a message that does not show the value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// The text is not YAML, or not of a kind that a configuration can be.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) reason: String,
}

/// Reads one YAML document. An empty one is [`YamlValue::Nothing`].
pub(super) fn parse(text: &str) -> Result<YamlNode, SyntaxError> {
    let options = serde_saphyr::options! {
        // A snippet of the source may hold a token.
        with_snippet: false,
        // Enough for any configuration; the default takes seconds over aliases of aliases of
        // aliases.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    let spanned: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_error(&error))?;
    Ok(node(spanned, text))
}

/// The tree as the deserializer hands it out, before numbers and booleans are put back to their
/// text.
enum Raw {
    Nothing,
    Text(String),
    /// A number or boolean: `0x10`, `1.10` or `no` have to be looked up in the source.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(spanned: Spanned<Raw>, source: &str) -> YamlNode {
    // Where it is written, rather than where an alias uses it, is where a mistake can be mended.
    let location = spanned.defined;
    let value = match spanned.value {
        Raw::Nothing => YamlValue::Nothing,
        Raw::Text(text) => YamlValue::Scalar(text),
        Raw::Typed(text) => {
            YamlValue::Scalar(written(location, source).map_or(text, |text| text.trim().to_owned()))
        }
        Raw::List(items) => YamlValue::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => YamlValue::Map(
            entries.into_iter().map(|(key, value)| (key_of(key), node(value, source))).collect(),
        ),
    };
    YamlNode { value, line: location.line(), column: location.column() }
}

fn key_of(key: Spanned<String>) -> YamlKey {
    YamlKey { text: key.value, line: key.defined.line(), column: key.defined.column() }
}

/// The text of a scalar in the source.
fn written(location: Location, source: &str) -> Option<&str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn syntax_error(error: &Error) -> SyntaxError {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let location = error.location().unwrap_or(Location::UNKNOWN);
    // Only reasons whose text holds nothing of the file are shown in the words of the YAML reader.
    let reason = match error {
        Error::ExternalMessage { source, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(scan) => match scan.kind() {
                ErrorKind::TabNotAllowed
                | ErrorKind::TabInBlockIndentation
                | ErrorKind::TabInIndentation
                | ErrorKind::TabInPlainScalar
                | ErrorKind::TabAtBlockScalarStart => {
                    "not valid YAML: a tab where YAML wants spaces; indent with spaces".to_owned()
                }
                kind => format!("not valid YAML: {kind}"),
            },
            _ => "not valid YAML".to_owned(),
        },
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("key {} is given twice in one map", super::problem::shown(key))
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice in one map".to_owned(),
        Error::MultipleDocuments { .. } => {
            "more than one YAML document; expected one, without \"---\" in between".to_owned()
        }
        Error::UnknownAnchor { .. } => {
            "not valid YAML: an alias (*name) without its anchor (&name)".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "too many or too deeply nested values for a configuration".to_owned()
        }
        Error::Eof { .. } => {
            return SyntaxError { line: 0, column: 0, reason: "the file is empty".to_owned() };
        }
        _ => "not valid YAML for a configuration: expected maps with text keys, lists and plain values"
            .to_owned(),
    };
    SyntaxError { line: location.line(), column: location.column(), reason }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn scalar(text: &str) -> String {
        let YamlValue::Scalar(text) = parse(text).ok().unwrap().value else { panic!("no scalar") };
        text
    }

    #[test]
    fn scalars_stay_as_written() {
        for text in
            ["007", "0x10", "1.10", "no", "1e3", ".inf", "2026-01-31", "30d", "12345678901234567890123"]
        {
            assert_eq!(scalar(text), text);
            assert_eq!(scalar(&format!("\"{text}\"")), text);
        }
    }

    #[test]
    fn aliases_and_nesting_have_an_end() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(bomb, "a{level}: &a{level} [{below}]").unwrap();
        }
        let error = parse(&bomb).err().unwrap();
        assert_eq!(error.reason, "too many or too deeply nested values for a configuration");
        parse(&"[".repeat(100_000)).err().unwrap();
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-:a{}\\[\\], \"'|>&*!?#%@\n\t0]{0,40}") {
            let _ = parse(&text);
        }
    }
}
