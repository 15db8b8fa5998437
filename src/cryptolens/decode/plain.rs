//! Reads the pages that the API sends as long as nothing is unusual: rows of whole numbers, plain
//! texts and nulls, without an escape in a text that is kept.
//!
//! Promises: it gives a page only where the scanner of [`super::scan`] gives the same one, and
//! leaves everything else to it: it is a shortcut and decides nothing. It copies nothing but the
//! texts that are kept, and looks at each byte once, eight of them at a time.

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
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
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
        // Most texts are short, and a call of memchr costs as much as some ten bytes.
        let end = match words::quote_or_backslash(self.rest) {
            Some(end) => end,
            None => memchr2(b'"', b'\\', self.rest)?,
        };
        let (text, rest) = self.rest.split_at_checked(end)?;
        if let [b'"', rest @ ..] = rest {
            self.rest = rest;
            return Some(PlainValue::Text(text));
        }
        self.rest = rest;
        self.escaped()
    }

    /// The rest of a text from its first backslash on.
    #[cold]
    fn escaped(&mut self) -> Option<PlainValue<'a>> {
        loop {
            let at = memchr2(b'"', b'\\', self.rest)?;
            let is_quote = self.rest.get(at) == Some(&b'"');
            self.rest = self.rest.get(at + if is_quote { 1 } else { 2 }..)?;
            if is_quote {
                return Some(PlainValue::Escaped);
            }
        }
    }

    #[inline]
    fn value(&mut self) -> Option<PlainValue<'a>> {
        match self.peek()? {
            b'"' => {
                self.rest = self.rest.get(1..)?;
                self.quoted()
            }
            b'n' => {
                self.rest = self.rest.strip_prefix(b"null")?;
                Some(PlainValue::Null)
            }
            _ => self.int().map(PlainValue::Int),
        }
    }

    /// A whole number, or `null`.
    #[inline]
    fn int_or_null(&mut self) -> Option<Option<i64>> {
        match self.rest {
            [b'0'..=b'9', ..] => self.int().map(Some),
            _ => self.value()?.int(),
        }
    }

    /// A whole number of at most 18 digits, as JSON writes it.
    #[inline]
    fn int(&mut self) -> Option<i64> {
        let (is_negative, digits) = match self.rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let (number, length) = words::digits(digits)?;
        let starts_with_zero = digits.first() == Some(&b'0');
        if length == 0 || (starts_with_zero && (length > 1 || is_negative)) {
            return None;
        }
        self.rest = digits.get(length..)?;
        Some(if is_negative { -number } else { number })
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
    #[inline]
    fn skip(&mut self) -> Option<()> {
        let [first, text @ ..] = self.rest else { return None };
        if *first != b'"' {
            return self.skip_bare(*first);
        }
        match words::quote_or_backslash(text) {
            Some(end) if text.get(end) == Some(&b'"') => {
                self.rest = text.get(end + 1..)?;
                Some(())
            }
            _ => self.value().map(drop),
        }
    }

    /// As [`PlainReader::skip`], for what is no text.
    #[inline]
    fn skip_bare(&mut self, first: u8) -> Option<()> {
        if let b'0'..=b'9' = first { self.int().map(drop) } else { self.value().map(drop) }
    }
}
