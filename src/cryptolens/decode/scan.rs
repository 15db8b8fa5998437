//! A scanner of JSON that keeps to its skeleton only: brackets, strings, commas and colons.
//!
//! Promises: it never copies the body and needs one bit of memory per open bracket, so that no
//! nesting and no number of members can exhaust memory or stack; the content of a string or of a
//! number never stops it; a body that ends too early is [`Broken::Ended`] and never taken for a
//! complete one. It does not know what the members mean.
//!
//! In valid JSON a closing quote, a closing bracket and a bare word are followed by `,`, `}` or `]`
//! (a name by `:`), and no backslash stands outside of a string. Whatever breaks these rules is
//! [`Broken::Damaged`]: where a quote is missing or one too many, the scanner notices it at the
//! next quote at the latest.

use std::borrow::Cow;

use super::bounds::{MAX_NESTING, MAX_TEXT};

/// The reason why the scanner cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The body ends inside a value: it was cut short.
    Ended,
    /// The skeleton is not that of JSON.
    Damaged,
}

/// One value, as the bytes that it consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Nothing at all, as in `"a":,`.
    Absent,
    /// A number, `true`, `null`, or anything else without quotes and brackets, without blanks
    /// around it.
    Bare(&'a [u8]),
    /// The bytes between the quotes of a string.
    Text(&'a [u8]),
    /// An object or a list with its brackets, and how deep it nests: 1 for one without another in
    /// it.
    Nested(&'a [u8], usize),
}

/// A place in a body.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Scanner<'a> {
        Scanner { body, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn set_position(&mut self, at: usize) {
        self.at = at;
    }

    /// The next byte that is no blank, which is not consumed.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.body.get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
        self.body.get(self.at).copied()
    }

    /// True if nothing but blanks is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Consumes this byte if it is the next one that is no blank.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// In an object whose opening bracket is consumed: the next name, with the value to be read
    /// next; `None` when the closing bracket is consumed.
    pub(super) fn name(&mut self) -> Result<Option<&'a [u8]>, Broken> {
        loop {
            match self.peek().ok_or(Broken::Ended)? {
                b'}' => {
                    self.at += 1;
                    return Ok(None);
                }
                b',' => self.at += 1,
                b'"' => {
                    let name = self.quoted()?;
                    if self.take(b':') {
                        return Ok(Some(name));
                    }
                    self.closed()?;
                }
                b'{' | b'[' | b']' | b':' | b'\\' => return Err(Broken::Damaged),
                _ => {
                    self.bare()?;
                    self.closed()?;
                }
            }
        }
    }

    /// In a list whose opening bracket is consumed: true before an element, false when the closing
    /// bracket is consumed.
    pub(super) fn element(&mut self) -> Result<bool, Broken> {
        loop {
            match self.peek().ok_or(Broken::Ended)? {
                b']' => {
                    self.at += 1;
                    return Ok(false);
                }
                b',' => self.at += 1,
                _ => return Ok(true),
            }
        }
    }

    /// The next value; checks that the bytes behind it end it.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Broken> {
        let value = match self.peek().ok_or(Broken::Ended)? {
            b'"' => Value::Text(self.quoted()?),
            b'{' | b'[' => self.nested()?,
            b',' | b'}' | b']' => Value::Absent,
            b':' | b'\\' => return Err(Broken::Damaged),
            _ => Value::Bare(self.bare()?),
        };
        self.closed()?;
        Ok(value)
    }

    /// Checks that a value ends here; consumes nothing but blanks.
    pub(super) fn closed(&mut self) -> Result<(), Broken> {
        match self.peek().ok_or(Broken::Ended)? {
            b',' | b'}' | b']' => Ok(()),
            _ => Err(Broken::Damaged),
        }
    }

    fn quoted(&mut self) -> Result<&'a [u8], Broken> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.body.get(at..).ok_or(Broken::Ended)?;
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(Broken::Ended)?;
            at += found;
            if self.body.get(at) == Some(&b'"') {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        self.body.get(start..at).ok_or(Broken::Ended)
    }

    fn bare(&mut self) -> Result<&'a [u8], Broken> {
        let rest = self.body.get(self.at..).ok_or(Broken::Ended)?;
        let is_skeleton = |byte: &u8| matches!(byte, b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'\\');
        let length = rest.iter().position(is_skeleton).ok_or(Broken::Ended)?;
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default().trim_ascii())
    }

    /// An object or a list, without recursion.
    fn nested(&mut self) -> Result<Value<'a>, Broken> {
        #[derive(PartialEq)]
        enum Last {
            /// A bracket or a comma: anything may begin.
            Begin,
            /// A name of an object.
            Name,
            Colon,
            /// A value: it must end.
            Value,
        }
        let start = self.at;
        let mut brackets = Brackets::default();
        let (mut deepest, mut last) = (0, Last::Begin);
        loop {
            let byte = self.peek().ok_or(Broken::Ended)?;
            let in_object = brackets.last() == Some(true);
            let may_begin = matches!(last, Last::Begin | Last::Colon);
            match byte {
                b'{' | b'[' => {
                    if !may_begin || (in_object && last != Last::Colon) {
                        return Err(Broken::Damaged);
                    }
                    brackets.push(byte == b'{');
                    deepest = deepest.max(brackets.depth);
                    self.at += 1;
                    last = Last::Begin;
                }
                b'}' | b']' => {
                    if brackets.last() != Some(byte == b'}') {
                        return Err(Broken::Damaged);
                    }
                    brackets.depth -= 1;
                    self.at += 1;
                    last = Last::Value;
                    if brackets.depth == 0 {
                        break;
                    }
                }
                b',' => {
                    self.at += 1;
                    last = Last::Begin;
                }
                b':' if in_object && last == Last::Name => {
                    self.at += 1;
                    last = Last::Colon;
                }
                b':' | b'\\' => return Err(Broken::Damaged),
                _ if !may_begin => return Err(Broken::Damaged),
                b'"' => {
                    self.quoted()?;
                    last = if in_object && last == Last::Begin { Last::Name } else { Last::Value };
                }
                _ => {
                    self.bare()?;
                    last = Last::Value;
                }
            }
        }
        Ok(Value::Nested(self.body.get(start..self.at).unwrap_or_default(), deepest))
    }
}

/// The brackets that are open, one bit each: 32 MiB of them need 4 MiB.
#[derive(Default)]
struct Brackets {
    bits: Vec<u64>,
    depth: usize,
}

impl Brackets {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits = (*bits & !(1 << bit)) | (u64::from(is_object) << bit);
        }
        self.depth += 1;
    }

    /// Whether the innermost open bracket is that of an object.
    fn last(&self) -> Option<bool> {
        let index = self.depth.checked_sub(1)?;
        self.bits.get(index / 64).map(|bits| bits >> (index % 64) & 1 == 1)
    }
}

/// A whole number, also written as text or with an empty fraction.
pub(super) fn int(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Bare(bare) => {
            let text = std::str::from_utf8(bare).ok()?;
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        Value::Text(raw) => text(raw)?.trim().parse().ok(),
        Value::Absent | Value::Nested(..) => None,
    }
}

/// The whole number that a float holds. Above 2^53 a float no longer says which number was meant.
pub(super) fn whole(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
    exact.then_some(number as i64)
}

/// A text; numbers and truth values as they are written, objects and lists as their JSON.
pub(super) fn as_text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(raw) => text(raw),
        Value::Bare(bare) => {
            let is_number = bare.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
            (is_number || bare == b"true" || bare == b"false").then(|| lossy(bare))?
        }
        Value::Nested(raw, depth) => (depth <= MAX_NESTING).then(|| lossy(raw))?,
        Value::Absent => None,
    }
}

/// Any value but null, and its size in bytes. What is no JSON is kept as a text.
pub(super) fn json(value: Value<'_>) -> Option<(serde_json::Value, usize)> {
    let (json, raw) = match value {
        Value::Text(raw) => (serde_json::Value::String(text(raw)?), raw),
        Value::Nested(raw, depth) if depth <= MAX_NESTING && raw.len() <= MAX_TEXT => {
            (json_or_text(raw)?, raw)
        }
        Value::Bare(raw) => (json_or_text(raw)?, raw),
        Value::Absent | Value::Nested(..) => return None,
    };
    (!json.is_null()).then_some((json, raw.len()))
}

fn json_or_text(raw: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(raw).ok().or_else(|| lossy(raw).map(serde_json::Value::String))
}

/// A text that was sent as one.
pub(super) fn only_text(value: Value<'_>) -> Option<String> {
    if let Value::Text(raw) = value { text(raw) } else { None }
}

/// The name of a member. A name that is too long is none that is used here.
pub(super) fn name_text(raw: &[u8]) -> Cow<'_, str> {
    const LONGEST: usize = 256;
    if raw.len() > LONGEST {
        return Cow::Borrowed("");
    }
    match std::str::from_utf8(raw) {
        Ok(name) if !raw.contains(&b'\\') => Cow::Borrowed(name),
        _ => text(raw).map_or(Cow::Borrowed(""), Cow::Owned),
    }
}

/// A text from the bytes between its quotes; `None` above [`MAX_TEXT`]. Broken UTF-8 and half
/// surrogate pairs (.NET cuts texts between UTF-16 units) become U+FFFD; control characters stay,
/// and so does the backslash of an escape that does not exist.
fn text(raw: &[u8]) -> Option<String> {
    if !raw.contains(&b'\\') {
        return lossy(raw);
    }
    let mut text = String::new();
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        push_lossy(&mut text, rest.get(..at)?);
        rest = rest.get(at + 1..)?;
        let (character, length) = escaped(rest);
        text.push(character);
        rest = rest.get(length..)?;
        if text.len() > MAX_TEXT {
            return None;
        }
    }
    push_lossy(&mut text, rest);
    (text.len() <= MAX_TEXT).then_some(text)
}

/// The character of an escape, and the number of bytes that it takes behind the backslash.
fn escaped(rest: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(rest.get(at..at + 4)?).ok()?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    };
    match rest.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'"') => ('"', 1),
        Some(b'\\') => ('\\', 1),
        Some(b'/') => ('/', 1),
        Some(b'u') => match unit(1) {
            None => ('\\', 0),
            Some(high @ 0xd800..=0xdbff) => {
                let low = if rest.get(5..7) == Some(b"\\u") { unit(7) } else { None };
                let units = [high, low.unwrap_or_default()];
                match char::decode_utf16(units).next() {
                    Some(Ok(character)) => (character, 11),
                    _ => (char::REPLACEMENT_CHARACTER, 5),
                }
            }
            Some(unit) => (char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
        },
        _ => ('\\', 0),
    }
}

fn lossy(raw: &[u8]) -> Option<String> {
    if raw.len() > MAX_TEXT {
        return None;
    }
    let text = String::from_utf8_lossy(raw);
    (text.len() <= MAX_TEXT).then(|| text.into_owned())
}

fn push_lossy(text: &mut String, raw: &[u8]) {
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        if text.len() > MAX_TEXT {
            return;
        }
    }
}
