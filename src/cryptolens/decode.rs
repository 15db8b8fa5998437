//! From the bytes of an answer to rows: tolerant of everything that is not documented, and never losing a row that has
//! an id.
//!
//! Promises: member names match in any letter case; a member that is null, absent or of a wrong type is `None`; a row is
//! skipped only if no whole number can be read as its id; a list that is not there is an error and never an empty page.
//! It knows neither HTTP nor cursors.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{ApiError, DecodeFault};
use super::row::{Row, Slot};

/// One page of a log, in the order in which it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<R> {
    /// The rows that have an id.
    pub rows: Vec<R>,
    /// For each list element without an id that could be read: the id of the row before it, if there is one.
    pub without_id: Vec<Option<i64>>,
}

impl<R> Page<R> {
    /// How many elements the list had.
    pub fn listed(&self) -> usize {
        self.rows.len() + self.without_id.len()
    }
}

/// A product, by GetProducts. Its password is never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Unique in the account.
    pub id: i64,
    /// As the vendor named it; empty where not given.
    pub name: String,
}

/// Reads a page of the log that `R` is a row of.
///
/// # Errors
/// The kind of error that the body itself tells of (its message, or a shape that is no page); the HTTP status is the
/// caller's to weigh.
pub fn page<R: Row>(body: &[u8]) -> Result<Page<R>, BodyError> {
    let body = trimmed(body)?;
    // The typed reading can fail on one odd value (a number out of range, half a surrogate pair); then each row is
    // read for itself.
    let typed = |text| read_envelope(text, list_rank, &|| Lenient(RowObject::<R>(PhantomData)));
    let decoded = match std::str::from_utf8(body).map(typed) {
        Ok(Ok(envelope)) => envelope.into_list()?,
        _ => {
            let text = String::from_utf8_lossy(body);
            let envelope = read_envelope(&text, list_rank, &|| PhantomData::<&RawValue>)
                .map_err(|_| BodyError::Fault(DecodeFault::NotJson))?;
            envelope.into_list()?.into_iter().map(row_by_row).collect()
        }
    };
    let mut page = Page { rows: Vec::with_capacity(decoded.len()), without_id: Vec::new() };
    for element in decoded {
        match element {
            Some(row) => page.rows.push(row),
            None => page.without_id.push(page.rows.last().map(R::id)),
        }
    }
    Ok(page)
}

/// What looks like the last row of a page, by its last object. A guess: a text or a member of a row may hold braces too.
pub fn last_row<R: Row>(body: &[u8]) -> Option<R> {
    let start = body.iter().rposition(|byte| *byte == b'{')?;
    let mut deserializer = serde_json::Deserializer::from_slice(body.get(start..)?);
    Lenient(RowObject::<R>(PhantomData)).deserialize(&mut deserializer).ok().flatten()
}

/// Reads the answer of GetProducts; products without an id are left out.
///
/// # Errors
/// As [`page`].
pub fn products(body: &[u8]) -> Result<Vec<Product>, BodyError> {
    let text = String::from_utf8_lossy(trimmed(body)?);
    let rank = |name: &str| name.eq_ignore_ascii_case("products").then_some(0);
    let envelope = read_envelope(&text, rank, &|| PhantomData::<&RawValue>)
        .map_err(|_| BodyError::Fault(DecodeFault::NotJson))?;
    let read = |raw: &RawValue| {
        let mut product = Product { id: 0, name: String::new() };
        for (name, value) in members(raw) {
            if name.eq_ignore_ascii_case("id") {
                product.id = lenient_int(value).unwrap_or(0);
            } else if name.eq_ignore_ascii_case("name") {
                product.name = lenient_text(value).unwrap_or_default();
            }
        }
        (product.id > 0).then_some(product)
    };
    Ok(envelope.into_list()?.into_iter().filter_map(read).collect())
}

/// Reads `maxNoOfMachines` from the answer of GetKey.
///
/// # Errors
/// As [`page`]; also where the answer has no such number.
pub fn max_machines(body: &[u8]) -> Result<i64, BodyError> {
    let text = String::from_utf8_lossy(trimmed(body)?);
    let answer: &RawValue =
        serde_json::from_str(&text).map_err(|_| BodyError::Fault(DecodeFault::NotJson))?;
    let mut envelope = Envelope { list: None, result: None, message: None };
    for (name, value) in members(answer) {
        if name.eq_ignore_ascii_case("licenseKey") {
            envelope.list = Some((0, members(value)));
        } else if name.eq_ignore_ascii_case("result") {
            envelope.result = lenient_int(value);
        } else if name.eq_ignore_ascii_case("message") {
            envelope.message = lenient_text(value);
        }
    }
    let license = envelope.into_list()?;
    let is_number = |name: &str| name.eq_ignore_ascii_case("maxNoOfMachines");
    let number = license.iter().find(|(name, _)| is_number(name)).and_then(|(_, value)| lenient_int(value));
    number.ok_or(BodyError::Fault(DecodeFault::NoList))
}

/// Why a body is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The body says itself what went wrong.
    Told(ApiError),
    /// The body is not of the API's shape.
    Fault(DecodeFault),
}

fn trimmed(body: &[u8]) -> Result<&[u8], BodyError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    match body.first() {
        None => Err(BodyError::Fault(DecodeFault::Empty)),
        Some(b'<') => Err(BodyError::Fault(DecodeFault::Html)),
        Some(_) => Ok(body),
    }
}

/// `logs` is what every SDK reads; the vendor's pages say `events` for all three; `objects` is a guess worth taking.
fn list_rank(name: &str) -> Option<u8> {
    ["logs", "events", "objects"]
        .iter()
        .position(|known| name.eq_ignore_ascii_case(known))
        .and_then(|rank| u8::try_from(rank).ok())
}

struct Envelope<T> {
    list: Option<(u8, Vec<T>)>,
    result: Option<i64>,
    message: Option<String>,
}

impl<T> Envelope<T> {
    /// A list counts only if the answer doesn't say that it failed; no list at all is never an empty page.
    fn into_list(self) -> Result<Vec<T>, BodyError> {
        let told = self.message.as_deref().filter(|message| !message.is_empty());
        match (self.result, told, self.list) {
            (Some(0), _, Some((_, list))) | (None, None, Some((_, list))) => Ok(list),
            (Some(0), _, None) | (None, None, None) => Err(BodyError::Fault(DecodeFault::NoList)),
            (Some(_), told, _) => Err(BodyError::Told(told.map_or(ApiError::Api, ApiError::from_message))),
            // Only a message: "in rare cases", a server error (vendor page V3/llms.txt).
            (None, Some(message), _) => Err(BodyError::Told(match ApiError::from_message(message) {
                ApiError::Api => ApiError::Server { status: None, retry_after: None, html: false },
                known => known,
            })),
        }
    }
}

fn read_envelope<'de, S>(
    body: &'de str,
    rank: impl Fn(&str) -> Option<u8>,
    element: &dyn Fn() -> S,
) -> Result<Envelope<S::Value>, serde_json::Error>
where
    S: DeserializeSeed<'de>,
{
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let envelope = EnvelopeSeed { rank, element }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(envelope)
}

struct EnvelopeSeed<'a, F, S> {
    rank: F,
    element: &'a dyn Fn() -> S,
}

impl<'de, F, S> DeserializeSeed<'de> for EnvelopeSeed<'_, F, S>
where
    F: Fn(&str) -> Option<u8>,
    S: DeserializeSeed<'de>,
{
    type Value = Envelope<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F, S> Visitor<'de> for EnvelopeSeed<'_, F, S>
where
    F: Fn(&str) -> Option<u8>,
    S: DeserializeSeed<'de>,
{
    type Value = Envelope<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list and a result")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        enum Member {
            List(u8),
            Result,
            Message,
            Other,
        }
        let mut envelope = Envelope { list: None, result: None, message: None };
        while let Some(member) = map.next_key_seed(NameSeed(|name: &str| {
            if name.eq_ignore_ascii_case("result") {
                Member::Result
            } else if name.eq_ignore_ascii_case("message") {
                Member::Message
            } else {
                (self.rank)(name).map_or(Member::Other, Member::List)
            }
        }))? {
            match member {
                Member::List(rank) => {
                    let list = map.next_value_seed(Lenient(List(self.element)))?;
                    let better = envelope.list.as_ref().is_none_or(|(best, _)| rank < *best);
                    if let (Some(list), true) = (list, better) {
                        envelope.list = Some((rank, list));
                    }
                }
                Member::Result => envelope.result = map.next_value_seed(Lenient(Int))?,
                Member::Message => envelope.message = map.next_value_seed(Lenient(Text))?,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// A member name, turned into what it stands for without being copied.
struct NameSeed<F>(F);

impl<'de, F: FnOnce(&str) -> T, T> DeserializeSeed<'de> for NameSeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<F: FnOnce(&str) -> T, T> Visitor<'_> for NameSeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// What one kind of JSON value means at one place; every other kind means `None` there and is read past.
trait Meaning<'de>: Sized {
    type Value;

    fn int(self, _: i64) -> Option<Self::Value> {
        None
    }

    fn text(self, _: &str) -> Option<Self::Value> {
        None
    }

    fn list<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Self::Value>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Self::Value>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Reads any JSON value by its [`Meaning`]: a wrong type is never an error.
struct Lenient<M>(M);

impl<'de, M: Meaning<'de>> DeserializeSeed<'de> for Lenient<M> {
    type Value = Option<M::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, M: Meaning<'de>> Visitor<'de> for Lenient<M> {
    type Value = Option<M::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).ok().and_then(|number| self.0.int(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        // Above 2^53 a float no longer says which whole number was meant.
        let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        #[allow(clippy::cast_possible_truncation)]
        Ok(if exact { self.0.int(number as i64) } else { None })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        self.0.list(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.object(map)
    }
}

/// A whole number, also written as text or with an empty fraction.
struct Int;

impl Meaning<'_> for Int {
    type Value = i64;

    fn int(self, number: i64) -> Option<i64> {
        Some(number)
    }

    fn text(self, text: &str) -> Option<i64> {
        text.trim().parse().ok()
    }
}

struct Text;

impl Meaning<'_> for Text {
    type Value = String;

    fn text(self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

struct List<'a, S>(&'a dyn Fn() -> S);

impl<'de, S: DeserializeSeed<'de>> Meaning<'de> for List<'_, S> {
    type Value = Vec<S::Value>;

    fn list<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Self::Value>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element_seed((self.0)())? {
            list.push(element);
        }
        Ok(Some(list))
    }
}

/// A row, if it has an id.
struct RowObject<R>(PhantomData<R>);

impl<'de, R: Row> Meaning<'de> for RowObject<R> {
    type Value = R;

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<R>, A::Error> {
        let mut row = R::with_id(0);
        let mut has_id = false;
        while let Some(slot) = map.next_key_seed(NameSeed(R::slot))? {
            match slot {
                Some(Slot::Int(set)) => set(&mut row, map.next_value_seed(Lenient(Int))?),
                Some(Slot::Text(set)) => set(&mut row, map.next_value_seed(Lenient(Text))?),
                Some(Slot::Id) => {
                    if let Some(id) = map.next_value_seed(Lenient(Int))? {
                        row.set_id(id);
                        has_id = true;
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(has_id.then_some(row))
    }
}

/// Reads one row whose page could not be read as a whole.
fn row_by_row<R: Row>(raw: &RawValue) -> Option<R> {
    let mut row = R::with_id(0);
    let mut has_id = false;
    for (name, value) in members(raw) {
        match R::slot(&name) {
            Some(Slot::Int(set)) => set(&mut row, lenient_int(value)),
            Some(Slot::Text(set)) => set(&mut row, lenient_text(value)),
            Some(Slot::Id) => {
                if let Some(id) = lenient_int(value) {
                    row.set_id(id);
                    has_id = true;
                }
            }
            None => {}
        }
    }
    has_id.then_some(row)
}

/// The members of an object; none if it is no object.
fn members(raw: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            // A name that can't be read (half a surrogate pair) is no name that we know.
            while let Some(name) = map.next_key::<&RawValue>()? {
                let name = lenient_text(name).map_or(Cow::Borrowed(""), Cow::Owned);
                members.push((name, map.next_value()?));
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(Members).unwrap_or_default()
}

fn lenient_int(raw: &RawValue) -> Option<i64> {
    Lenient(Int).deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok().flatten()
}

fn lenient_text(raw: &RawValue) -> Option<String> {
    let read = |json: &str| Lenient(Text).deserialize(&mut serde_json::Deserializer::from_str(json));
    read(raw.get()).or_else(|_| read(&without_lone_surrogates(raw.get()))).ok().flatten()
}

/// .NET cuts texts between UTF-16 units, which can leave half a pair behind: `\ud83d` alone becomes `\ufffd`.
fn without_lone_surrogates(json: &str) -> String {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::with_capacity(json.len());
    let mut rest = 0;
    while let Some(found) = json[rest..].find('\\') {
        let at = rest + found;
        mended.push_str(&json[rest..at]);
        let (text, length) = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&json[at..at + 12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
            // Any other escape: its backslash and the character after it.
            _ => {
                let length = 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8);
                (&json[at..at + length], length)
            }
        };
        mended.push_str(text);
        rest = at + length;
    }
    mended.push_str(&json[rest..]);
    mended
}

#[cfg(test)]
mod tests;
