//! Looks at eight bytes at a time, without a branch for each: where a text ends, how long a number
//! is, whether the next bytes are known ones. Knows nothing of JSON beyond that.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Bytes that are looked at by [`quote_or_backslash`] before it gives up, in words.
const WORDS: usize = 4;

/// Eight bytes, the first one lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The high bit of each byte that is 0. Bytes above the lowest such byte may be marked too.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH_BITS
}

/// The index of the lowest byte whose high bit is set.
#[inline]
fn lowest(marks: u64) -> usize {
    usize::try_from(marks.trailing_zeros() / 8).unwrap_or(8)
}

/// Where the first quote or backslash is, if it is near the beginning.
#[inline]
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    for number in 0..WORDS {
        let word = word(bytes, 8 * number)?;
        let marks = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c));
        if marks != 0 {
            return Some(8 * number + lowest(marks));
        }
    }
    None
}

/// The number that the digits at the beginning are, and how many there are; `None` for more than 18
/// digits.
#[inline(always)]
pub(super) fn digits(bytes: &[u8]) -> Option<(i64, usize)> {
    // Many members are 0.
    if let [digit @ b'0'..=b'9', next, ..] = bytes
        && !next.is_ascii_digit()
    {
        return Some((i64::from(*digit - b'0'), 1));
    }
    let Some(first) = word(bytes, 0) else { return few_digits(bytes) };
    let (high, length) = leading_digits(first);
    if length < 8 {
        return Some((high, length));
    }
    let (low, more) = match word(bytes, 8) {
        Some(second) => leading_digits(second),
        None => few_digits(bytes.get(8..)?)?,
    };
    if more < 8 {
        const POWERS: [i64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];
        return Some((high * POWERS.get(more)? + low, 8 + more));
    }
    few_digits(bytes)
}

/// The number of the digits at the beginning of a word, and how many there are.
#[inline]
fn leading_digits(word: u64) -> (i64, usize) {
    let value = word ^ (ONES * 0x30);
    // A digit is below 10 now: adding 0x76 sets the high bit of what is not, but for bytes above
    // 0x7f, whose high bit is set already.
    let others = (value.wrapping_add(ONES * 0x76) | value) & HIGH_BITS;
    let length = if others == 0 { 8 } else { lowest(others) };
    if length == 0 {
        return (0, 0);
    }
    // Zeros in front, and no byte behind the digits.
    let digits = value << (8 * (8 - length));
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (i64::try_from(number).unwrap_or(0), length)
}

/// As [`digits`], byte by byte.
#[cold]
fn few_digits(bytes: &[u8]) -> Option<(i64, usize)> {
    const MOST_DIGITS: usize = 18;
    let mut number = 0_i64;
    for (length, byte) in bytes.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Some((number, length));
        }
        if length == MOST_DIGITS {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some((number, bytes.len()))
}

/// A few bytes that are expected again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownBytes {
    words: [u64; 3],
    masks: [u64; 3],
    length: usize,
}

impl KnownBytes {
    /// The most bytes.
    const MOST: usize = 24;

    /// `None` for more than [`KnownBytes::MOST`] bytes.
    pub(super) fn new(bytes: &[u8]) -> Option<KnownBytes> {
        let (mut padded, mut mask) = ([0; KnownBytes::MOST], [0; KnownBytes::MOST]);
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        mask.get_mut(..bytes.len())?.fill(0xff);
        let three = |bytes: &[u8]| [0, 8, 16].map(|at| word(bytes, at).unwrap_or(0));
        Some(KnownBytes { words: three(&padded), masks: three(&mask), length: bytes.len() })
    }

    /// The bytes behind these; `None` if others are there, or if the end is too near to say.
    #[inline]
    pub(super) fn strip_from<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let next = bytes.first_chunk::<{ KnownBytes::MOST }>()?;
        let [one, two, three] = next.as_chunks::<8>().0 else { return None };
        let [known_one, known_two, known_three] = self.words;
        let [mask_one, mask_two, mask_three] = self.masks;
        let differs =
            |chunk: &[u8; 8], known: u64, mask: u64| (u64::from_le_bytes(*chunk) ^ known) & mask != 0;
        let is_other = differs(one, known_one, mask_one)
            || (self.length > 8 && differs(two, known_two, mask_two))
            || (self.length > 16 && differs(three, known_three, mask_three));
        if is_other { None } else { bytes.get(self.length..) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_numbers_are_exact() {
        assert_eq!(digits(b"12345678,"), Some((12_345_678, 8)));
        assert_eq!(digits(b"123456789012345678}"), Some((123_456_789_012_345_678, 18)));
        assert_eq!(digits(b"1234567890123456789}"), None, "it may be no i64");
        assert_eq!(digits(b"x"), Some((0, 0)));
        assert_eq!(digits(b""), Some((0, 0)));
    }

    proptest! {
        /// The same as byte by byte, wherever the bytes end.
        #[test]
        fn digits_are_those_that_are_there(number in 0..1_000_000_000_000_000_000_u64, zeros in 0..4_usize, rest in "\\PC{0,20}") {
            let text = format!("{}{number}{rest}", "0".repeat(zeros));
            let length = text.bytes().take_while(u8::is_ascii_digit).count();
            let expected = (length <= 18).then(|| (text.get(..length).unwrap().parse().unwrap_or(0), length));
            prop_assert_eq!(digits(text.as_bytes()), expected);
        }

        #[test]
        fn the_first_quote_or_backslash_is_found_or_left_to_others(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), 0x20..0x60_u8], 0..60)) {
            let first = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let found = quote_or_backslash(&bytes);
            prop_assert!(found.is_none() || found == first, "{found:?}, not {first:?}");
            let is_near = first.is_some_and(|first| first / 8 < WORDS && (first / 8 + 1) * 8 <= bytes.len());
            prop_assert_eq!(found.is_some(), is_near);
        }

        #[test]
        fn known_bytes_are_recognised_and_no_others(known in prop::collection::vec(any::<u8>(), 0..30), change in any::<prop::sample::Index>(), rest in prop::collection::vec(any::<u8>(), 24..40)) {
            let Some(bytes) = KnownBytes::new(&known) else {
                prop_assert!(known.len() > KnownBytes::MOST);
                return Ok(());
            };
            let mut text = [known.clone(), rest.clone()].concat();
            prop_assert_eq!(bytes.strip_from(&text), Some(&rest[..]));
            if !known.is_empty() {
                text[change.index(known.len())] ^= 1;
                prop_assert_eq!(bytes.strip_from(&text), None);
            }
        }
    }
}
