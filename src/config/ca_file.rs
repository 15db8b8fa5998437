//! The file of certificate authorities, which is read once with every certificate that it seems to
//! hold.
//!
//! Promises that no certificate of the file is passed over in silence. The PEM reader takes a line
//! for the beginning of a certificate only if it begins with five dashes, so an indented
//! certificate, one behind a byte order mark or one that follows another without a line break would
//! be missing without a word. It does not know whether a certificate is valid.

use std::fmt;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;

use crate::text_file::BYTE_ORDER_MARK;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Certificate authorities to trust, and the file that they came from.
#[derive(Clone, PartialEq, Eq)]
pub struct CaFile {
    path: PathBuf,
    pem: String,
}

/// Why a text holds no authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CaFileError {
    #[error("it holds no PEM certificate (\"{BEGIN}\")")]
    NoCertificate,
    #[error("it seems to hold {seeming} PEM certificates, of which {readable} can be read; mend the file")]
    Unreadable { seeming: usize, readable: usize },
}

impl CaFile {
    /// Takes the certificates from the text of a file. Text around them is ignored, as are blanks,
    /// byte order marks and carriage returns at the ends of lines.
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<CaFile, CaFileError> {
        let seeming = text.matches(BEGIN).count();
        if seeming == 0 {
            return Err(CaFileError::NoCertificate);
        }
        let blank = |c: char| c.is_whitespace() || c == BYTE_ORDER_MARK;
        let mut pem = String::with_capacity(text.len() + 1);
        for line in text.replace(BEGIN, &format!("\n{BEGIN}")).lines() {
            pem.push_str(line.trim_matches(blank));
            pem.push('\n');
        }
        let readable = CertificateDer::pem_slice_iter(pem.as_bytes()).filter(Result::is_ok).count();
        if readable == seeming {
            Ok(CaFile { path, pem })
        } else {
            Err(CaFileError::Unreadable { seeming, readable })
        }
    }

    /// The certificates.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl fmt::Debug for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str =
        "-----BEGIN CERTIFICATE-----\nQSBmaXh0dXJlLCBub3Qg\nYSBjZXJ0aWZpY2F0ZS4=\n-----END CERTIFICATE-----";

    fn count(text: &str) -> Result<usize, CaFileError> {
        let file = CaFile::parse(PathBuf::from("ca.pem"), text)?;
        Ok(CertificateDer::pem_slice_iter(file.pem().as_bytes()).map(Result::unwrap).count())
    }

    #[test]
    fn no_certificate_is_passed_over_in_silence() {
        let marked = format!("\u{feff}{CERTIFICATE}\n\u{feff}{CERTIFICATE}\n");
        let indented = CERTIFICATE.replace('\n', "\n    ");
        for (text, expected) in [
            (CERTIFICATE.to_owned(), 1),
            (format!("{CERTIFICATE}\n# comment\n{CERTIFICATE}\n"), 2),
            (format!("{CERTIFICATE}{CERTIFICATE}"), 2),
            (marked, 2),
            (format!("{CERTIFICATE}\n{CERTIFICATE}\n").replace('\n', "\r\n"), 2),
            (CERTIFICATE.replace('\n', " \t\n"), 1),
            (format!("authorities: |\n    {indented}\n"), 1),
        ] {
            assert_eq!(count(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_refused() {
        assert_eq!(count("WyIx"), Err(CaFileError::NoCertificate));
        let broken = CERTIFICATE.replace("QSBm", "Q?Bm");
        for text in [
            format!("{CERTIFICATE}\n{broken}\n"),
            format!("{CERTIFICATE}\n{}", CERTIFICATE.replace("-----END CERTIFICATE-----", "")),
        ] {
            assert_eq!(count(&text), Err(CaFileError::Unreadable { seeming: 2, readable: 1 }), "{text}");
        }
    }
}
