//! Decodes the bytes of an answer into rows. It tolerates everything that is not documented and
//! never loses a row that has an id.
//!
//! Promises: member names match in any letter case; a member that is null, absent or of a wrong
//! type is `None`; a row is skipped only if no whole number up to 2^53 can be read as its id, even
//! where the row is not JSON; a list that is not there is an error and never an empty page; a body
//! that was cut short is an error, never a shorter page; the memory for one answer is bounded,
//! whatever it holds. This module knows neither HTTP nor cursors.
//!
//! A page without anything unusual is read by `plain`, which is about three times as fast as the
//! typed parser of serde. That one reads the others. If it fails, or the body is larger than a few MiB,
//! the page is read by the scanner of `scan`, which takes what is not JSON (`\q`, NaN, control
//! characters, broken UTF-8, a missing quote) and copies nothing. All three give the same page
//! wherever they give one.

mod aggregates;
mod bounds;
mod licenses;
mod plain;
mod scan;
mod words;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::bounds::{Kept, MAX_PRODUCTS, MAX_TEXT, MAX_TYPED};
use self::scan::{Broken, Scanner};
use super::error::{ApiError, DecodeFault};
use super::identity::{HashedKind, IdentityHasher};
use super::row::{Row, Slot};

pub use self::aggregates::{DailyAggregate, daily_aggregates};
pub use self::licenses::{
    CustomerCompany, LicenseKey, LicenseKeyPage, customers, license_keys, one_license_key,
};

/// The highest value that is accepted as an id. Programs that hold numbers as floats cannot tell a
/// higher one from its neighbours, and a row with one would put the cursor beyond every other row.
const MAX_ID: i64 = 1 << 53;

/// One page of a log, in the order in which it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<R> {
    /// The rows that have an id. Of a list longer than twice the requested Limit, only the first
    /// rows.
    pub rows: Vec<R>,
    /// For each list element without an id that could be read: the id of the row before it, if
    /// there is one.
    pub without_id: Vec<Option<i64>>,
}

impl<R> Page<R> {
    /// The number of list elements that were taken.
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

const NOT_JSON: BodyError = BodyError::Fault(DecodeFault::NotJson);

/// Reads a page of the log that `R` is a row of, which was asked for with the largest Limit.
///
/// # Errors
/// As [`page_within`].
pub fn page<R: Row>(body: &[u8]) -> Result<Page<R>, BodyError> {
    page_within(body, R::LOG.max_limit())
}

/// Reads a page that was requested with this Limit, of the log that `R` is a row of. Of a list
/// longer than twice the Limit only the first rows are kept: the next request asks after the last
/// of them.
///
/// # Errors
/// The error that the body itself reports (by its message, or by a shape that is no page). The
/// caller weighs the HTTP status.
pub fn page_within<R: Row>(body: &[u8], limit: u16) -> Result<Page<R>, BodyError> {
    page_with_hashes(body, limit, None)
}

/// As [`page_within`]; identities get their hashes from `hasher`.
///
/// # Errors
/// As [`page_within`].
pub fn page_with_hashes<R: Row>(
    body: &[u8],
    limit: u16,
    hasher: Option<&dyn IdentityHasher>,
) -> Result<Page<R>, BodyError> {
    let body = trimmed(body)?;
    // The typed parser knows no hasher. The scanner gives the same page.
    let typed = || if hasher.is_none() { typed_if_small(body, limit) } else { None };
    let envelope = match plain::page(body, limit, hasher).or_else(typed) {
        Some(envelope) => envelope,
        None => scanned_page(body, limit, hasher)?,
    };
    envelope.into_list()?.page().ok_or(BodyError::Fault(DecodeFault::Order))
}

/// Reads the last object of a page as its last row. This is a guess: a text or a member of a row
/// may hold braces too.
pub fn last_row<R: Row>(body: &[u8]) -> Option<R> {
    /// Longer than any usual row; the last brace of an odd body may be its first byte.
    const LONGEST: usize = 64 * 1024;
    let start = body.iter().rposition(|byte| *byte == b'{')?;
    let tail = body.get(start..).filter(|tail| tail.len() <= LONGEST)?;
    let mut deserializer = serde_json::Deserializer::from_slice(tail);
    let (row, _) = Lenient(RowObject::<R>(PhantomData)).deserialize(&mut deserializer).ok()??;
    Some(row)
}

/// Reads the answer of GetProducts; products without an id are left out.
///
/// # Errors
/// As [`page_within`].
pub fn products(body: &[u8]) -> Result<Vec<Product>, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let mut texts = 0;
    let mut read = |scanner: &mut Scanner<'_>| -> Result<Vec<Product>, Broken> {
        let mut list = Vec::new();
        while scanner.element()? {
            let product = product(scanner)?;
            if let Some(product) = product.filter(|_| list.len() < MAX_PRODUCTS && texts < MAX_TYPED) {
                texts += product.name.len();
                list.push(product);
            }
        }
        Ok(list)
    };
    let envelope = scanned(&mut scanner, |name, scanner, envelope| {
        let is_list = name.eq_ignore_ascii_case("products") && scanner.take(b'[');
        if is_list {
            envelope.take_list(0, Some(read(scanner)?));
        }
        Ok(is_list)
    });
    envelope.map_err(|_| NOT_JSON)?.into_list()
}

fn product(scanner: &mut Scanner<'_>) -> Result<Option<Product>, Broken> {
    if !scanner.take(b'{') {
        return scanner.value().map(|_| None);
    }
    let mut product = Product { id: 0, name: String::new() };
    while let Some(name) = scanner.name()? {
        let (name, value) = (scan::name_text(name), scanner.value()?);
        if name.eq_ignore_ascii_case("id") {
            product.id = scan::int(value).unwrap_or(0);
        } else if name.eq_ignore_ascii_case("name") {
            product.name = scan::as_text(value).unwrap_or_default();
        }
    }
    scanner.closed()?;
    Ok((1..=MAX_ID).contains(&product.id).then_some(product))
}

/// Reads `maxNoOfMachines` from the answer of GetKey.
///
/// # Errors
/// As [`page_within`]; also where the answer has no such number.
pub fn max_machines(body: &[u8]) -> Result<i64, BodyError> {
    let mut scanner = Scanner::new(trimmed(body)?);
    let read = |scanner: &mut Scanner<'_>| -> Result<Option<i64>, Broken> {
        let mut number = None;
        while let Some(name) = scanner.name()? {
            let value = scanner.value()?;
            if scan::name_text(name).eq_ignore_ascii_case("maxNoOfMachines") {
                number = scan::int(value);
            }
        }
        Ok(number)
    };
    let envelope = scanned(&mut scanner, |name, scanner, envelope| {
        let is_key = name.eq_ignore_ascii_case("licenseKey") && scanner.take(b'{');
        if is_key {
            envelope.take_list(0, Some(read(scanner)?));
        }
        Ok(is_key)
    });
    envelope.map_err(|_| NOT_JSON)?.into_list()?.ok_or(BodyError::Fault(DecodeFault::NoList))
}

/// True if the beginning of an answer that is too long to be kept shows a page of a log: it opens a
/// list of rows and reports no error before that.
pub(super) fn opens_a_list(beginning: &[u8]) -> bool {
    let Ok(beginning) = trimmed(beginning) else { return false };
    let mut scanner = Scanner::new(beginning);
    if !scanner.take(b'{') {
        return false;
    }
    while let Ok(Some(name)) = scanner.name() {
        let name = scan::name_text(name);
        if list_rank(&name).is_some() && scanner.take(b'[') {
            return true;
        }
        match scanner.value() {
            Ok(value) if name.eq_ignore_ascii_case("result") && scan::int(value) != Some(0) => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Checks piece by piece, without keeping a body of any length, whether it is one whole object: all
/// brackets and texts that it opens are closed at its end. A body that was cut short never is.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    has_begun: bool,
    is_broken: bool,
}

impl Skeleton {
    /// Takes the next piece.
    pub(super) fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.in_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' => {
                    self.is_broken |= self.depth == 0 && self.has_begun;
                    self.has_begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => match self.depth.checked_sub(1) {
                    Some(depth) => self.depth = depth,
                    None => self.is_broken = true,
                },
                // The byte order mark.
                0xef | 0xbb | 0xbf if !self.has_begun => {}
                _ if byte.is_ascii_whitespace() => {}
                _ => {
                    self.is_broken |= self.depth == 0;
                    self.in_text = *byte == b'"';
                }
            }
        }
    }

    /// True if the pieces so far are one whole object.
    pub(super) fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0 && !self.in_text && !self.is_broken
    }
}

/// The reason why a body is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The body itself reports an error.
    Reported(ApiError),
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

/// The names of the list, best first: every SDK reads `logs`; the vendor's pages say `events` for
/// all logs; `objects` is a likely guess.
fn list_rank(name: &str) -> Option<u8> {
    ["logs", "events", "objects"]
        .iter()
        .position(|known| name.eq_ignore_ascii_case(known))
        .and_then(|rank| u8::try_from(rank).ok())
}

/// The parts of an answer that matter; `T` is the decoded list.
struct Envelope<T> {
    list: Option<(u8, T)>,
    result: Option<i64>,
    message: Option<String>,
}

impl<T> Envelope<T> {
    const EMPTY: Envelope<T> = Envelope { list: None, result: None, message: None };

    /// Of several lists the one whose name ranks best counts, and of equal ranks the first.
    fn take_list(&mut self, rank: u8, list: Option<T>) {
        let is_better = self.list.as_ref().is_none_or(|(best, _)| rank < *best);
        if let (Some(list), true) = (list, is_better) {
            self.list = Some((rank, list));
        }
    }

    /// A list counts only if the answer does not report a failure. An answer without a list is
    /// never an empty page.
    fn into_list(self) -> Result<T, BodyError> {
        let message = self.message.as_deref().filter(|message| !message.is_empty());
        match (self.result, message, self.list) {
            (Some(0), _, Some((_, list))) | (None, None, Some((_, list))) => Ok(list),
            (Some(0), _, None) | (None, None, None) => Err(BodyError::Fault(DecodeFault::NoList)),
            (Some(_), message, _) => {
                Err(BodyError::Reported(message.map_or(ApiError::Api, ApiError::from_message)))
            }
            // A message alone is, "in rare cases", a server error (vendor page V3/llms.txt).
            (None, Some(message), _) => Err(BodyError::Reported(match ApiError::from_message(message) {
                ApiError::Api => ApiError::Server { status: None, retry_after: None, html: false },
                known => known,
            })),
        }
    }
}

/// Reads the members of an answer by the scanner; `list` reads the value of a member if it is the
/// list, and consumes nothing otherwise.
fn scanned<'a, T>(
    scanner: &mut Scanner<'a>,
    mut list: impl FnMut(&str, &mut Scanner<'a>, &mut Envelope<T>) -> Result<bool, Broken>,
) -> Result<Envelope<T>, Broken> {
    let mut envelope = Envelope::EMPTY;
    if !scanner.take(b'{') {
        return Err(Broken::Damaged);
    }
    while let Some(name) = scanner.name()? {
        let name = scan::name_text(name);
        if list(&name, scanner, &mut envelope)? {
            scanner.closed()?;
            continue;
        }
        let value = scanner.value()?;
        if name.eq_ignore_ascii_case("result") {
            envelope.result = scan::int(value);
        } else if name.eq_ignore_ascii_case("message") {
            envelope.message = scan::only_text(value);
        }
    }
    if scanner.is_at_end() { Ok(envelope) } else { Err(Broken::Damaged) }
}

/// Reads a page by the scanner.
fn scanned_page<R: Row>(
    body: &[u8],
    limit: u16,
    hasher: Option<&dyn IdentityHasher>,
) -> Result<Envelope<Kept<R>>, BodyError> {
    let mut scanner = Scanner::new(body);
    let mut repair = Repair { body, to_look_at: body.len().saturating_mul(8), is_used: false };
    let envelope = scanned(&mut scanner, |name, scanner, envelope| {
        let Some(rank) = list_rank(name).filter(|_| scanner.peek() == Some(b'[')) else { return Ok(false) };
        let list = scanned_rows(scanner, limit, hasher, &mut repair)?;
        if repair.is_used {
            // After a repair, only a result behind the list shows that the answer is whole.
            envelope.result = None;
        }
        envelope.take_list(rank, Some(list));
        Ok(true)
    });
    match envelope {
        Ok(envelope) if !repair.is_used || envelope.result.is_some() => Ok(envelope),
        _ => Err(NOT_JSON),
    }
}

fn scanned_rows<R: Row>(
    scanner: &mut Scanner<'_>,
    limit: u16,
    hasher: Option<&dyn IdentityHasher>,
    repair: &mut Repair<'_>,
) -> Result<Kept<R>, Broken> {
    let mut kept = Kept::new(limit);
    scanner.take(b'[');
    while scanner.element()? {
        let start = scanner.position();
        let mut row = RowSoFar::new();
        match row.read(scanner, hasher) {
            Ok(()) => {}
            Err(Broken::Ended) => return Err(Broken::Ended),
            Err(Broken::Damaged) => {
                let end = repair.end_of_damaged::<R>(scanner, start)?;
                if !row.has_id
                    && let Some(id) = repair.body.get(start..end).and_then(only_id)
                {
                    row.set_id(id);
                }
                scanner.set_position(end);
            }
        }
        let texts = row.texts;
        kept.push(row.finish(), texts);
    }
    Ok(kept)
}

/// A row with the members that were read so far.
struct RowSoFar<R> {
    row: R,
    has_id: bool,
    /// The size of its texts, in bytes.
    texts: usize,
}

impl<R: Row> RowSoFar<R> {
    fn new() -> RowSoFar<R> {
        RowSoFar { row: R::with_id(0), has_id: false, texts: 0 }
    }

    fn set_id(&mut self, id: i64) {
        if id <= MAX_ID {
            self.row.set_id(id);
            self.has_id = true;
        }
    }

    fn finish(self) -> Option<R> {
        self.has_id.then_some(self.row)
    }

    /// Reads one element of the list, whether it is a row or not.
    fn read(&mut self, scanner: &mut Scanner<'_>, hasher: Option<&dyn IdentityHasher>) -> Result<(), Broken> {
        let hash = |kind, value| hasher.and_then(|hasher| hasher.hash(kind, &scan::as_text(value)?));
        match scanner.peek() {
            Some(b'{') => scanner.take(b'{'),
            Some(b'}') => return Err(Broken::Damaged),
            _ => return scanner.value().map(drop),
        };
        while let Some(name) = scanner.name()? {
            let value = scanner.value()?;
            let name = scan::name_text(name);
            match R::slot(&name) {
                Some(Slot::Int(set)) => set(&mut self.row, scan::int(value)),
                Some(Slot::Text(set)) => {
                    let text = scan::as_text(value);
                    self.texts += text.as_ref().map_or(0, String::len);
                    set(&mut self.row, text);
                }
                Some(Slot::LicenseKey(set)) => set(&mut self.row, hash(HashedKind::LicenseKey, value)),
                Some(Slot::Machine(set)) => set(&mut self.row, hash(HashedKind::Machine, value)),
                Some(Slot::Id) => {
                    if let Some(id) = scan::int(value) {
                        self.set_id(id);
                    }
                }
                None if R::KEEPS_OTHERS && !name.is_empty() => {
                    if let Some((value, size)) = scan::json(value) {
                        self.texts += name.len() + size;
                        self.row.keep_other(&name, value);
                    }
                }
                None => {}
            }
        }
        scanner.closed()
    }
}

/// Finds where a row ends whose skeleton is damaged: a quote that is missing or one too many (an
/// application that does not escape what its users type), a bracket too few.
///
/// The row ends where the next element with an id begins, or where the list ends and a whole answer
/// follows. Everything after it must be read to the very end of the answer, and a `result` of 0
/// must stand there. The brackets then show that no part of the damaged row was taken for the end,
/// and that no other row was taken for a part of it. Where this fails, the page is refused: with a
/// Limit of 1 the damaged row is alone, and the others are read without it.
struct Repair<'a> {
    body: &'a [u8],
    /// The number of bytes that may still be looked at, so that an odd body costs no more than a
    /// few times its length.
    to_look_at: usize,
    is_used: bool,
}

impl Repair<'_> {
    fn end_of_damaged<R: Row>(&mut self, scanner: &Scanner<'_>, start: usize) -> Result<usize, Broken> {
        self.is_used = true;
        let mut at = start;
        loop {
            at += 1;
            let rest = self.body.get(at..).ok_or(Broken::Damaged)?;
            let next = rest.iter().position(|byte| matches!(byte, b'{' | b']')).ok_or(Broken::Damaged)?;
            at += next;
            let mut probe = scanner.clone();
            probe.set_position(at);
            let is_end = if probe.take(b']') {
                is_rest_of_answer(&mut probe)
            } else if self.follows_comma(at) {
                let mut row = RowSoFar::<R>::new();
                row.read(&mut probe, None).is_ok() && row.has_id
            } else {
                false
            };
            if is_end {
                return Ok(at);
            }
            let looked_at = next + 1 + probe.position().saturating_sub(at);
            self.to_look_at = self.to_look_at.checked_sub(looked_at).ok_or(Broken::Damaged)?;
        }
    }

    fn follows_comma(&self, at: usize) -> bool {
        const BLANKS: usize = 64;
        let before = self.body.get(at.saturating_sub(BLANKS)..at).unwrap_or_default();
        before.trim_ascii_end().last() == Some(&b',')
    }
}

/// True if the rest of an answer behind its list is complete and reports a success.
fn is_rest_of_answer(scanner: &mut Scanner<'_>) -> bool {
    let mut is_success = false;
    loop {
        match scanner.name() {
            Ok(Some(name)) => match scanner.value() {
                Ok(value) if scan::name_text(name).eq_ignore_ascii_case("result") => {
                    is_success = scan::int(value) == Some(0);
                }
                Ok(_) => {}
                Err(_) => return false,
            },
            Ok(None) => return is_success && scanner.is_at_end(),
            Err(_) => return false,
        }
    }
}

/// The id of a damaged row, if exactly one member in it looks like one.
fn only_id(damaged: &[u8]) -> Option<i64> {
    let mut ids = damaged.windows(4).enumerate().filter_map(|(at, name)| {
        if !name.eq_ignore_ascii_case(b"\"id\"") {
            return None;
        }
        let value = damaged.get(at + 4..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = value.get(digits).is_some_and(|byte| matches!(byte, b',' | b'}' | b'"' | b' '));
        std::str::from_utf8(value.get(..digits).filter(|_| ends)?).ok()?.parse().ok()
    });
    let id = ids.next()?;
    ids.next().is_none().then_some(id)
}

/// Reads a page by the typed parser, if the body is small enough for it and it can.
fn typed_if_small<R: Row>(body: &[u8], limit: u16) -> Option<Envelope<Kept<R>>> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_TYPED)?;
    typed_page(text, limit).ok()
}

/// Reads a page by the typed parser.
fn typed_page<R: Row>(body: &str, limit: u16) -> Result<Envelope<Kept<R>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let envelope = EnvelopeSeed::<R> { limit, row: PhantomData }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(envelope)
}

struct EnvelopeSeed<R> {
    limit: u16,
    row: PhantomData<R>,
}

impl<'de, R: Row> DeserializeSeed<'de> for EnvelopeSeed<R> {
    type Value = Envelope<Kept<R>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: Row> Visitor<'de> for EnvelopeSeed<R> {
    type Value = Envelope<Kept<R>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list and a result")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        enum EnvelopeMember {
            List(u8),
            Result,
            Message,
            Other,
        }
        let mut envelope = Envelope::EMPTY;
        while let Some(member) = map.next_key_seed(NameSeed(|name: &str| {
            if name.eq_ignore_ascii_case("result") {
                EnvelopeMember::Result
            } else if name.eq_ignore_ascii_case("message") {
                EnvelopeMember::Message
            } else {
                list_rank(name).map_or(EnvelopeMember::Other, EnvelopeMember::List)
            }
        }))? {
            match member {
                EnvelopeMember::List(rank) => {
                    let list = map.next_value_seed(Lenient(List::<R>(self.limit, PhantomData)))?;
                    envelope.take_list(rank, list);
                }
                EnvelopeMember::Result => envelope.result = map.next_value_seed(Lenient(Int))?,
                EnvelopeMember::Message => envelope.message = map.next_value_seed(Lenient(OnlyText))?,
                EnvelopeMember::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// Turns a member name into its meaning without copying it.
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

/// The meaning of one kind of JSON value at one place. Every other kind means `None` there and is
/// skipped.
trait Meaning<'de>: Sized {
    type Value;

    /// True where floats, lists and objects are kept as they are written, which only the scanner
    /// can do.
    const AS_WRITTEN: bool = false;

    fn int(self, _: i64) -> Option<Self::Value> {
        None
    }

    /// A whole number that is no `i64`.
    fn large(self, _: u64) -> Option<Self::Value> {
        None
    }

    fn truth(self, _: bool) -> Option<Self::Value> {
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

impl<'de, M: Meaning<'de>> Lenient<M> {
    /// Ends the typed parsing where only the scanner can continue.
    fn for_the_scanner<E: serde::de::Error>() -> Result<(), E> {
        if M::AS_WRITTEN { Err(E::custom("only the scanner reads this as it is written")) } else { Ok(()) }
    }
}

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

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(self.0.truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(number) {
            Ok(number) => self.0.int(number),
            Err(_) => self.0.large(number),
        })
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Self::for_the_scanner()?;
        Ok(scan::whole(number).and_then(|number| self.0.int(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Self::for_the_scanner()?;
        self.0.list(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Self::for_the_scanner()?;
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
        if text.len() <= MAX_TEXT { text.trim().parse().ok() } else { None }
    }
}

/// A text; numbers and truth values as they are written, objects and lists as their JSON.
struct Text;

impl Meaning<'_> for Text {
    type Value = String;

    const AS_WRITTEN: bool = true;

    fn int(self, number: i64) -> Option<String> {
        Some(number.to_string())
    }

    fn large(self, number: u64) -> Option<String> {
        Some(number.to_string())
    }

    fn truth(self, truth: bool) -> Option<String> {
        Some(truth.to_string())
    }

    fn text(self, text: &str) -> Option<String> {
        (text.len() <= MAX_TEXT).then(|| text.to_owned())
    }
}

/// A text that was sent as one.
struct OnlyText;

impl Meaning<'_> for OnlyText {
    type Value = String;

    fn text(self, text: &str) -> Option<String> {
        (text.len() <= MAX_TEXT).then(|| text.to_owned())
    }
}

struct List<R>(u16, PhantomData<R>);

impl<'de, R: Row> Meaning<'de> for List<R> {
    type Value = Kept<R>;

    fn list<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Kept<R>>, A::Error> {
        let mut kept = Kept::new(self.0);
        while let Some(element) = seq.next_element_seed(Lenient(RowObject::<R>(PhantomData)))? {
            let (row, texts) = element.map_or((None, 0), |(row, texts)| (Some(row), texts));
            kept.push(row, texts);
        }
        Ok(Some(kept))
    }
}

/// A row, if it has an id, and the size of its texts in bytes.
struct RowObject<R>(PhantomData<R>);

impl<'de, R: Row> Meaning<'de> for RowObject<R> {
    type Value = (R, usize);

    fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<(R, usize)>, A::Error> {
        let mut so_far = RowSoFar::<R>::new();
        while let Some(slot) = map.next_key_seed(NameSeed(R::slot))? {
            match slot {
                Some(Slot::Int(set)) => set(&mut so_far.row, map.next_value_seed(Lenient(Int))?),
                Some(Slot::Text(set)) => {
                    let text = map.next_value_seed(Lenient(Text))?;
                    so_far.texts += text.as_ref().map_or(0, String::len);
                    set(&mut so_far.row, text);
                }
                Some(Slot::Id) => {
                    if let Some(id) = map.next_value_seed(Lenient(Int))? {
                        so_far.set_id(id);
                    }
                }
                None if R::KEEPS_OTHERS => {
                    return Err(serde::de::Error::custom("only the scanner keeps members without a slot"));
                }
                // With a hasher, the scanner reads the page.
                Some(Slot::LicenseKey(_) | Slot::Machine(_)) | None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let texts = so_far.texts;
        Ok(so_far.finish().map(|row| (row, texts)))
    }
}

#[cfg(test)]
mod tests;
