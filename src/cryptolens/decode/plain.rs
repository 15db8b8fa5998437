//! Reads the pages that the API sends as long as nothing is unusual: rows of whole numbers, plain
//! texts and nulls, without an escape in a text that is kept.
//!
//! Promises: it gives a page only where the scanner of [`super::scan`] gives the same one, and
//! leaves everything else to it: it is a shortcut and decides nothing. It copies nothing but the
//! texts that are kept, and looks at each byte once.

use memchr::memchr2;

use super::bounds::{Kept, MAX_TEXT};
use super::{Envelope, RowSoFar, list_rank};
use crate::cryptolens::row::{Row, Slot};

/// Members of a row whose names are remembered. Rows of one page have the same members in the same
/// order, so a name that was looked up once is only compared after that.
const MOST_NAMES: usize = 64;

/// Reads a page; `None` where anything about it is unusual.
pub(super) fn page<R: Row>(body: &[u8], limit: u16) -> Option<Envelope<Kept<R>>> {
    let mut reader = PlainReader { rest: body };
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
struct Names<'a, R> {
    /// Each name as it is written, from the opening quote to the colon.
    known: Vec<(&'a [u8], Option<Slot<R>>)>,
}

/// The rest of a body.
struct PlainReader<'a> {
    rest: &'a [u8],
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

    /// The name of the member of a row at this place: where its value goes.
    #[inline]
    fn slot<R: Row>(&mut self, names: &mut Names<'a, R>, place: usize) -> Option<Option<Slot<R>>> {
        self.peek()?;
        if let Some((known, slot)) = names.known.get(place)
            && let Some(rest) = self.rest.strip_prefix(*known)
        {
            self.rest = rest;
            return Some(*slot);
        }
        let before = self.rest;
        let name = self.name()?;
        let slot = R::slot(std::str::from_utf8(name).ok()?);
        let written = before.get(..before.len() - self.rest.len())?;
        match names.known.get_mut(place) {
            Some(known) => *known = (written, slot),
            None if place < MOST_NAMES => names.known.push((written, slot)),
            None => {}
        }
        Some(slot)
    }

    /// A text whose opening quote is consumed.
    #[inline]
    fn quoted(&mut self) -> Option<PlainValue<'a>> {
        // Most texts are short, and a call of memchr costs as much as some ten bytes.
        let near = self.rest.iter().take(16).position(|byte| matches!(byte, b'"' | b'\\'));
        let end = match near {
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

    /// A whole number of at most 18 digits, as JSON writes it.
    #[inline]
    fn int(&mut self) -> Option<i64> {
        const MOST_DIGITS: usize = 18;
        let (is_negative, digits) = match self.rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut number = 0_i64;
        let mut length = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if length == MOST_DIGITS {
                return None;
            }
            number = number * 10 + i64::from(digit);
            length += 1;
        }
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
        let mut names = Names { known: Vec::new() };
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

    fn row<R: Row>(&mut self, names: &mut Names<'a, R>) -> Option<RowSoFar<R>> {
        let mut row = RowSoFar::new();
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.take(b'}')?;
            return Some(row);
        }
        for place in 0.. {
            let slot = self.slot(names, place)?;
            let value = self.value()?;
            match slot {
                None => {}
                Some(Slot::Int(set)) => set(&mut row.row, value.int()?),
                Some(Slot::Id) => {
                    if let Some(id) = value.int()? {
                        row.set_id(id);
                    }
                }
                Some(Slot::Text(set)) => {
                    let text = value.text()?;
                    row.texts += text.as_ref().map_or(0, String::len);
                    set(&mut row.row, text);
                }
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(row),
                _ => return None,
            }
        }
        None
    }
}
