//! Members of sets: license keys and machine codes as keyed hashes.
//!
//! The hash is SipHash-2-4 with a secret of 128 bits, cut to 40 bits. Without the secret nobody can
//! compute the hash of a key; with it, a key that is known can be tested, and none can be listed.
//! With 100,000 members in a set, two of them share a hash in 1 of 220 sets.

use std::borrow::Cow;
use std::fmt;

use ring::digest;
use siphasher::sip::SipHasher24;

/// The bits of a hash that are kept.
const BITS: u32 = 40;
/// The prefix that the vendor puts before the codes of machines with a floating seat.
const FLOATING: &str = "floating:";
/// The longest machine code that the vendor compares, in characters.
const LONGEST_CODE: usize = 256;
/// The least characters of a secret in a file: 128 bits in hexadecimal digits.
const SHORTEST_SECRET: usize = 32;

/// A license key or a machine in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageMember(u64);

impl UsageMember {
    /// The largest value.
    pub(super) const MAX: u64 = (1 << BITS) - 1;

    /// The member with this value; `None` if it has more than 40 bits.
    pub fn new(value: u64) -> Option<UsageMember> {
        (value <= UsageMember::MAX).then_some(UsageMember(value))
    }

    /// The value, of 40 bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The secret of the hashes. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UsageSecret([u8; 16]);

impl fmt::Debug for UsageSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsageSecret(..)")
    }
}

/// The reason why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsageSecretError {
    /// It can be guessed.
    #[error("it is shorter than 32 characters; `openssl rand -hex 16` makes one")]
    TooShort,
}

impl UsageSecret {
    /// The secret with these bytes, as the ledger keeps it.
    pub const fn from_bytes(bytes: [u8; 16]) -> UsageSecret {
        UsageSecret(bytes)
    }

    /// The secret that the text of a file stands for. Blanks around it do not count.
    ///
    /// # Errors
    /// [`UsageSecretError`] if the text is too short to be one.
    pub fn from_text(text: &str) -> Result<UsageSecret, UsageSecretError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.chars().count() < SHORTEST_SECRET {
            return Err(UsageSecretError::TooShort);
        }
        Ok(UsageSecret(half(&digest::digest(&digest::SHA256, text.as_bytes()))))
    }

    /// The bytes, for the ledger that keeps the secret itself.
    pub const fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// A number that is different for another secret, and does not give the secret away.
    pub fn fingerprint(&self) -> u64 {
        let input = [b"cryptolens-exporter usage".as_slice(), &self.0].concat();
        let [a, b, c, d, e, f, g, h, ..] = half(&digest::digest(&digest::SHA256, &input));
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The member that a license key is; `None` for an empty one.
    pub fn license_key(&self, key: &str) -> Option<UsageMember> {
        self.member(b'k', &license_key(key))
    }

    /// The member that a machine is; `None` for an empty code.
    pub fn machine(&self, code: &str) -> Option<UsageMember> {
        // Capitals of the usual code need no text of their own.
        match bare_code(code) {
            code if is_plain(&code) => self.member_of(b'm', code.as_bytes(), true),
            code => self.member(b'm', &capitals(code)),
        }
    }

    fn member(&self, kind: u8, text: &str) -> Option<UsageMember> {
        self.member_of(kind, text.as_bytes(), false)
    }

    /// `kind` keeps a key and a machine with the same text apart.
    fn member_of(&self, kind: u8, text: &[u8], in_capitals: bool) -> Option<UsageMember> {
        if text.is_empty() {
            return None;
        }
        let hasher = SipHasher24::new_with_key(&self.0);
        let mut buffer = [0; 1 + LONGEST_CODE];
        let hash = match buffer.get_mut(..=text.len()) {
            Some([first, rest @ ..]) => {
                *first = kind;
                rest.copy_from_slice(text);
                if in_capitals {
                    rest.make_ascii_uppercase();
                }
                hasher.hash(buffer.get(..=text.len()).unwrap_or_default())
            }
            // Longer than any key is.
            _ => hasher.hash(&[&[kind], text].concat()),
        };
        UsageMember::new(hash >> (u64::BITS - BITS))
    }
}

/// The first 16 bytes of a digest.
fn half(digest: &digest::Digest) -> [u8; 16] {
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// A license key as it is counted: without control characters and blanks around it.
pub fn license_key(key: &str) -> Cow<'_, str> {
    without_control_characters(key)
}

/// A machine code as the vendor compares it: without the prefix of a floating seat, control
/// characters and blanks around it, at most 256 characters, in capitals.
pub fn machine_code(code: &str) -> Cow<'_, str> {
    capitals(bare_code(code))
}

/// A machine code without what does not count, as it is written.
fn bare_code(code: &str) -> Cow<'_, str> {
    let code = code.trim_start();
    let prefix = code.get(..FLOATING.len()).filter(|prefix| prefix.eq_ignore_ascii_case(FLOATING));
    without_control_characters(prefix.map_or(code, |prefix| &code[prefix.len()..]))
}

/// True for a code whose capitals are those of its bytes.
fn is_plain(code: &str) -> bool {
    code.len() <= LONGEST_CODE && code.is_ascii()
}

fn capitals(code: Cow<'_, str>) -> Cow<'_, str> {
    if !is_plain(&code) {
        return Cow::Owned(code.chars().take(LONGEST_CODE).map(capital).collect());
    }
    if code.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Cow::Owned(code.to_ascii_uppercase());
    }
    code
}

fn without_control_characters(text: &str) -> Cow<'_, str> {
    // Bytes are looked at first, as nearly all keys and codes are printable ASCII.
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_printable || !text.contains(char::is_control) {
        return Cow::Borrowed(text.trim());
    }
    let kept: String = text.chars().filter(|character| !character.is_control()).collect();
    Cow::Owned(kept.trim().to_owned())
}

/// The capital of a letter. One character has one capital here, as in the vendor's runtime: `ß`
/// stays.
fn capital(character: char) -> char {
    let mut capitals = character.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) => capital,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use proptest::prelude::*;

    use super::*;

    fn secret(number: u8) -> UsageSecret {
        UsageSecret::from_bytes([number; 16])
    }

    /// The first vectors of the reference implementation of SipHash-2-4, with the key 0, 1, 2, ...
    /// 15.
    #[test]
    fn the_hash_is_siphash_2_4() {
        let key: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        for (length, hash) in
            [(0, 0x726f_db47_dd0e_0e31_u64), (1, 0x74f8_39c5_93dc_67fd), (15, 0xa129_ca61_49be_45e5)]
        {
            let input: Vec<u8> = (0..length).collect();
            let mut hasher = SipHasher24::new_with_key(&key);
            input.iter().for_each(|byte| hasher.write(&[*byte]));
            assert_eq!((hasher.finish(), SipHasher24::new_with_key(&key).hash(&input)), (hash, hash));
        }
    }

    #[test]
    fn members_depend_on_secret_kind_and_text() {
        let one = secret(1);
        assert_eq!(one.license_key("ABC"), one.license_key(" ABC\u{0}\n"));
        assert_ne!(one.license_key("ABC"), one.license_key("ABD"));
        assert_ne!(one.license_key("ABC"), one.machine("ABC"));
        assert_ne!(one.license_key("ABC"), secret(2).license_key("ABC"));
        assert_eq!((one.license_key(" \n"), one.machine("floating: \t")), (None, None));
        assert_eq!(
            (
                UsageMember::new(UsageMember::MAX).map(UsageMember::get),
                UsageMember::new(UsageMember::MAX + 1)
            ),
            (Some(UsageMember::MAX), None)
        );
    }

    #[test]
    fn a_machine_code_is_compared_as_the_vendor_does() {
        for code in
            ["abc-1", "ABC-1", "floating:abc-1", "Floating:ABC-1", " abc-1 ", "floating: a\u{0}bc\u{7}-1\r\n"]
        {
            assert_eq!(machine_code(code), "ABC-1", "{code:?}");
        }
        assert_eq!(machine_code("straße:floating:"), "STRAßE:FLOATING:");
        let long = "x".repeat(300);
        assert_eq!(machine_code(&long), "X".repeat(256));
        assert_eq!(machine_code(&format!("{}y", "é".repeat(256))), "É".repeat(256));
        assert!(matches!(machine_code("ABC-1"), Cow::Borrowed(_)), "the usual code is not copied");
    }

    #[test]
    fn a_secret_in_a_file_has_128_bits_and_is_shown_nowhere() {
        let text = "0123456789abcdef0123456789abcdef";
        let from_file = UsageSecret::from_text(&format!("\u{feff}{text}\r\n")).unwrap();
        assert_eq!(from_file, UsageSecret::from_text(text).unwrap());
        assert_eq!(UsageSecret::from_text(&text[1..]), Err(UsageSecretError::TooShort));
        let other = UsageSecret::from_text(&text.replace('0', "1")).unwrap();
        assert_ne!(from_file.fingerprint(), other.fingerprint());
        assert_eq!(from_file.fingerprint(), UsageSecret::from_bytes(from_file.bytes()).fingerprint());
        let bytes = from_file.bytes();
        assert_ne!(from_file.fingerprint().to_be_bytes().as_slice(), &bytes[..8]);
        assert_eq!(format!("{from_file:?}"), "UsageSecret(..)");
    }

    proptest! {
        /// However it is hashed, a member is the hash of its kind and of its text as it is compared.
        #[test]
        fn a_member_is_the_hash_of_its_kind_and_text(text in "(floating:)?[ -~\u{0}-\u{1f}äßÅé]{0,300}") {
            let secret = secret(1);
            let expected = |kind: u8, text: &str| {
                let mut hasher = SipHasher24::new_with_key(&secret.0);
                hasher.write(&[kind]);
                hasher.write(text.as_bytes());
                (!text.is_empty()).then_some(UsageMember(hasher.finish() >> 24))
            };
            prop_assert_eq!(secret.machine(&text), expected(b'm', &machine_code(&text)));
            prop_assert_eq!(secret.license_key(&text), expected(b'k', &license_key(&text)));
        }

        /// A code that is normalised once more stays as it is, except for a
        /// prefix that appears when control characters are taken out.
        #[test]
        fn a_normalised_code_stays_as_it_is(code in "[ -~\u{0}-\u{1f}äßÅé]{0,300}") {
            let once = machine_code(&code).into_owned();
            prop_assume!(!once.to_ascii_lowercase().starts_with(FLOATING));
            let twice = machine_code(&once);
            prop_assert_eq!(twice.trim_end(), once.trim_end());
            prop_assert!(once.chars().count() <= LONGEST_CODE && !once.contains(char::is_control));
        }
    }
}
