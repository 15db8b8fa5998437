//! Reads the pages that the API sends as long as nothing is unusual: rows of whole numbers, plain
//! texts and nulls, without an escape in a text that is kept.
//!
//! Promises: it gives a page only where the scanner of [`super::scan`] gives the same one, and
//! leaves everything else to it: it is a shortcut and decides nothing. It copies nothing but the
//! texts that are kept, and looks at eight bytes at a time.

use memchr::memchr2;

use super::bounds::{Kept, MAX_TEXT};
use super::words::{self, KnownBytes};
use super::{Envelope, RowSoFar, list_rank};
use crate::cryptolens::identity::{HashedKind, IdentityHash, IdentityHasher};
use crate::cryptolens::row::{Row, Slot};

/// Members of a row whose names are remembered. Rows of one page have the same members in the same
/// order, so a name that was looked up once is only compared after that.
const MOST_NAMES: usize = 64;

/// Reads a page; `None` where anything about it is unusual.
pub(super) fn page<R: Row>(
    body: &[u8],
    limit: u16,
    hasher: Option<&dyn IdentityHasher>,
) -> Option<Envelope<Kept<R>>> {
    let mut reader = PlainReader { rest: body, hasher };
    let mut envelope = Envelope::EMPTY;
    reader.take(b'{')?;
    loop {
        let name = std::str::from_utf8(reader.name()?).ok()?;
        let rank = list_rank(name);
        if let (Some(rank), Some(b'[')) = (rank, reader.peek()) {
            envelope.take_list(rank, Some(reader.rows(limit)?));
        } else {
            let value = reader.value()?;
            if name.eq_ignore_ascii_case("result") {
                envelope.result = value.int()?;
            } else if name.eq_ignore_ascii_case("message") {
                envelope.message = value.text()?;
            }
        }
        match reader.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    reader.peek().is_none().then_some(envelope)
}

/// A value that is not unusual.
enum PlainValue<'a> {
    Null,
    Int(i64),
    /// The bytes between the quotes, without a backslash.
    Text(&'a [u8]),
    /// A text with escapes, which nothing here resolves.
    Escaped,
}

impl PlainValue<'_> {
    /// The number, or that there is none; `None` where that cannot be said here.
    fn int(&self) -> Option<Option<i64>> {
        match self {
            PlainValue::Int(number) => Some(Some(*number)),
            PlainValue::Null => Some(None),
            PlainValue::Text(_) | PlainValue::Escaped => None,
        }
    }

    /// The text, or that there is none; `None` where that cannot be said here.
    fn text(&self) -> Option<Option<String>> {
        match self {
            PlainValue::Text(raw) if raw.len() <= MAX_TEXT => {
                std::str::from_utf8(raw).ok().map(|text| Some(text.to_owned()))
            }
            PlainValue::Null => Some(None),
            _ => None,
        }
    }
}

/// The names of the members that rows had at each place, and where their values go.
struct Names<R> {
    /// Each name as it is written, from the byte behind the value before to the byte before the
    /// value.
    known: Vec<(KnownBytes, Option<Slot<R>>)>,
}

/// The meaning of one place of a row.
enum Member<R> {
    /// A member that the row type keeps.
    Kept(Slot<R>),
    /// Another member.
    Skipped,
    /// The end of the row.
    End,
}

/// The rest of a body.
struct PlainReader<'a> {
    rest: &'a [u8],
    /// Without one, identities are skipped.
    hasher: Option<&'a dyn IdentityHasher>,
}

impl<'a> PlainReader<'a> {
    /// The next byte that is no blank, which is not consumed.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.rest = without_blanks(self.rest);
        self.rest.first().copied()
    }

    /// Consumes the next byte that is no blank.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.rest = self.rest.get(1..)?;
        Some(byte)
    }

    /// Consumes this byte, which must be the next one that is no blank.
    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// The name of a member, and the colon behind it.
    #[inline]
    fn name(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let PlainValue::Text(name) = self.quoted()? else { return None };
        self.take(b':')?;
        Some(name)
    }

    /// The name of the member of a row at this place, with the comma before it; or the end of the
    /// row.
    #[inline]
    fn member<R: Row>(&mut self, names: &mut Names<R>, place: usize) -> Option<Member<R>> {
        if let Some((known, slot)) = names.known.get(place)
            && let Some(rest) = known.strip_from(self.rest)
        {
            self.rest = rest;
            return Some(slot.map_or(Member::Skipped, Member::Kept));
        }
        self.other_member(names, place)
    }

    /// As [`PlainReader::member`], where the name is not the one that was there on the row before.
    fn other_member<R: Row>(&mut self, names: &mut Names<R>, place: usize) -> Option<Member<R>> {
        let before = self.rest;
        match self.peek()? {
            b'}' => {
                self.take(b'}')?;
                return Some(Member::End);
            }
            b',' if place > 0 => self.take(b',')?,
            _ if place > 0 => return None,
            _ => {}
        }
        let name = self.name()?;
        let slot = R::slot(std::str::from_utf8(name).ok()?);
        let slot = slot.filter(|slot| self.hasher.is_some() || !slot.is_identity());
        let written = before.get(..before.len() - self.rest.len())?;
        if let Some(written) = KnownBytes::new(written) {
            match names.known.get_mut(place) {
                Some(known) => *known = (written, slot),
                None if place < MOST_NAMES => names.known.push((written, slot)),
                None => {}
            }
        }
        Some(slot.map_or(Member::Skipped, Member::Kept))
    }

    /// A text whose opening quote is consumed.
    #[inline]
    fn quoted(&mut self) -> Option<PlainValue<'a>> {
        let (value, rest) = quoted(self.rest)?;
        self.rest = rest;
        Some(value)
    }

    /// A value.
    #[inline]
    fn value(&mut self) -> Option<PlainValue<'a>> {
        let (value, rest) = value(without_blanks(self.rest))?;
        self.rest = rest;
        Some(value)
    }

    /// A whole number, or `null`.
    #[inline(always)]
    fn int_or_null(&mut self) -> Option<Option<i64>> {
        if let Some((number, rest)) = positive(self.rest) {
            self.rest = rest;
            return Some(Some(number));
        }
        let (value, rest) = other_value(self.rest)?;
        self.rest = rest;
        value.int()
    }

    /// A list of rows.
    fn rows<R: Row>(&mut self, limit: u16) -> Option<Kept<R>> {
        let mut kept = Kept::new(limit);
        let mut names = Names { known: Vec::with_capacity(MOST_NAMES) };
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.take(b']')?;
            return Some(kept);
        }
        loop {
            let row = self.row(&mut names)?;
            let texts = row.texts;
            kept.push(row.finish(), texts);
            match self.next()? {
                b',' => {}
                b']' => return Some(kept),
                _ => return None,
            }
        }
    }

    #[inline]
    fn row<R: Row>(&mut self, names: &mut Names<R>) -> Option<RowSoFar<R>> {
        let mut row = RowSoFar::new();
        self.take(b'{')?;
        for place in 0.. {
            match self.member(names, place)? {
                Member::End => return Some(row),
                Member::Skipped if R::KEEPS_OTHERS => return None,
                Member::Skipped => self.skip()?,
                Member::Kept(Slot::Int(set)) => set(&mut row.row, self.int_or_null()?),
                Member::Kept(Slot::Id) => {
                    if let Some(id) = self.int_or_null()? {
                        row.set_id(id);
                    }
                }
                Member::Kept(Slot::LicenseKey(set)) => {
                    set(&mut row.row, self.identity(HashedKind::LicenseKey)?);
                }
                Member::Kept(Slot::Machine(set)) => {
                    set(&mut row.row, self.identity(HashedKind::Machine)?);
                }
                Member::Kept(Slot::Text(set)) => {
                    let text = self.value()?.text()?;
                    row.texts += text.as_ref().map_or(0, String::len);
                    set(&mut row.row, text);
                }
            }
        }
        None
    }

    /// The hash of a text, or that there is none.
    #[inline]
    fn identity(&mut self, kind: HashedKind) -> Option<Option<IdentityHash>> {
        match self.value()? {
            PlainValue::Text(raw) if raw.len() <= MAX_TEXT => {
                let text = std::str::from_utf8(raw).ok()?;
                Some(self.hasher.and_then(|hasher| hasher.hash(kind, text)))
            }
            PlainValue::Null => Some(None),
            _ => None,
        }
    }

    /// A value that is not kept.
    #[inline(always)]
    fn skip(&mut self) -> Option<()> {
        self.rest = match self.rest {
            [b'"', text @ ..] => match words::quote_or_backslash(text) {
                Some(end) if text.get(end) == Some(&b'"') => text.get(end + 1..)?,
                near => cut(text, near)?.1,
            },
            [b'n', b'u', b'l', b'l', rest @ ..] => rest,
            bare => match positive(bare) {
                Some((_, rest)) => rest,
                None => other_value(bare)?.1,
            },
        };
        Some(())
    }
}

// What follows takes and gives the rest of the body as a value: the address of a reader that is
// handed to a function keeps its place in the body in memory, where each step waits for the one before.

/// A text whose opening quote is consumed, and what is behind it.
#[inline]
fn quoted(rest: &[u8]) -> Option<(PlainValue<'_>, &[u8])> {
    // Most texts are short, and a call of memchr costs as much as some ten bytes.
    cut(rest, words::quote_or_backslash(rest))
}

/// As [`quoted`], where the first quote or backslash is known if it is near.
#[inline]
fn cut(rest: &[u8], near: Option<usize>) -> Option<(PlainValue<'_>, &[u8])> {
    let end = match near {
        Some(end) => end,
        None => memchr2(b'"', b'\\', rest)?,
    };
    let (text, rest) = rest.split_at_checked(end)?;
    match rest {
        [b'"', rest @ ..] => Some((PlainValue::Text(text), rest)),
        rest => Some((PlainValue::Escaped, escaped(rest)?)),
    }
}

/// What is behind a text, from its first backslash on.
#[cold]
fn escaped(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        let is_quote = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if is_quote { 1 } else { 2 }..)?;
        if is_quote {
            return Some(rest);
        }
    }
}

/// A value, and what is behind it.
#[inline]
fn value(rest: &[u8]) -> Option<(PlainValue<'_>, &[u8])> {
    match rest {
        [b'"', text @ ..] => quoted(text),
        [b'n', b'u', b'l', b'l', rest @ ..] => Some((PlainValue::Null, rest)),
        [b'-', digits @ ..] => {
            let (number, rest) = positive(digits)?;
            (number != 0).then_some((PlainValue::Int(-number), rest))
        }
        digits => positive(digits).map(|(number, rest)| (PlainValue::Int(number), rest)),
    }
}

/// As [`value`], where blanks may stand before it.
#[cold]
fn other_value(rest: &[u8]) -> Option<(PlainValue<'_>, &[u8])> {
    value(without_blanks(rest))
}

/// From the first byte on that is no blank.
#[inline]
fn without_blanks(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

/// A whole number of at most 18 digits without a sign, as JSON writes it, and what is behind it.
#[inline(always)]
fn positive(rest: &[u8]) -> Option<(i64, &[u8])> {
    let (number, length) = words::digits(rest)?;
    // 0 is the only number that may begin with it.
    if length == 0 || (length > 1 && rest.first() == Some(&b'0')) {
        return None;
    }
    Some((number, rest.get(length..)?))
}
