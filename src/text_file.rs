//! Small text files that people write: tokens, certificates, configuration.
//!
//! Editors and shells leave marks that are not visible: a byte order mark in front, UTF-16 (what
//! PowerShell's `>` wrote for years), carriage returns. A mark at the beginning is dropped here,
//! UTF-16 is refused by name. The caller decides what the text and white space in it mean.

use std::io::{self, Read as _};
use std::path::Path;

/// Tokens, certificates and configurations are far smaller; a device such as `/dev/zero` has no
/// end.
const LARGEST_FILE: u64 = 4 << 20;

/// The character that marks the order of bytes. It has no width and no meaning in UTF-8.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a file as UTF-8 text without its byte order mark.
///
/// # Errors
/// The file cannot be read, is larger than 4 MiB, or is not UTF-8. An error of kind `InvalidData`
/// carries a text that says what the file is instead and never shows its content.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST_FILE) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    decode(bytes)
}

fn decode(bytes: Vec<u8>) -> io::Result<String> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if is_utf16(&bytes) {
        return invalid("it is UTF-16 text; save it as UTF-8");
    }
    let Ok(mut text) = String::from_utf8(bytes) else { return invalid("it is not UTF-8 text") };
    if text.starts_with(BYTE_ORDER_MARK) {
        text.remove(0);
    }
    Ok(text)
}

/// True for a byte order mark of UTF-16, and for ASCII text in UTF-16 without one: every second
/// byte is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    marked
        || matches!(bytes, [0, second, 0, fourth, ..] | [second, 0, fourth, 0, ..] if *second != 0 && *fourth != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_byte_order_mark_is_no_content() {
        assert_eq!(decode("\u{feff}WyIx\r\n".into()).unwrap(), "WyIx\r\n");
        assert_eq!(decode("WyIx".into()).unwrap(), "WyIx");
        assert_eq!(decode("\u{feff}".into()).unwrap(), "");
        assert_eq!(decode(Vec::new()).unwrap(), "");
    }

    #[test]
    fn utf_16_is_refused_by_name_with_and_without_its_mark() {
        for text in ["\u{feff}WyIx\r\n", "WyIx"] {
            for bytes in [utf16(text, u16::to_le_bytes), utf16(text, u16::to_be_bytes)] {
                let error = decode(bytes).unwrap_err();
                assert_eq!(error.to_string(), "it is UTF-16 text; save it as UTF-8");
            }
        }
        assert_eq!(decode(vec![0xff, b'a']).unwrap_err().to_string(), "it is not UTF-8 text");
    }

    #[test]
    fn a_file_without_an_end_has_a_bound() {
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
