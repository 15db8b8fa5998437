//! The key of the pseudonyms in the archive: a file of its own, because an access token is replaced
//! now and then, and pseudonyms of years are joined with each other.
//!
//! Promises: the key is never part of a message or of `Debug` output; a file that was only begun is
//! not taken for a key.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::digest::{SHA256, digest};

use crate::identity::Identities;
use crate::text_file;

/// The fewest characters of a key: 32 digits of hexadecimal have 128 bits.
const LEAST_CHARACTERS: usize = 32;

/// The key of the pseudonyms.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ArchiveKey(String);

impl fmt::Debug for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArchiveKey")
    }
}

impl ArchiveKey {
    /// Reads a key; `None` if there is no such file.
    pub(super) fn read(path: &Path) -> io::Result<Option<ArchiveKey>> {
        let text = match text_file::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = text.trim();
        if key.len() < LEAST_CHARACTERS {
            let reason = format!("the key of the archive is shorter than {LEAST_CHARACTERS} characters");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Some(ArchiveKey(key.to_owned())))
    }

    /// Makes a key of 32 random bytes, which only the owner of the file can read.
    pub(super) fn create(path: &Path) -> io::Result<ArchiveKey> {
        let bytes: [u8; 32] = rand::random();
        let key = hexadecimal(&bytes);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        // A draft that was left behind may have other permissions.
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{key}")?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()?;
        Ok(ArchiveKey(key))
    }

    /// Distinguishes keys, and tells nothing about this one.
    pub(super) fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, format!("cryptolens-exporter archive key {}", self.0).as_bytes());
        hexadecimal(hash.as_ref().get(..8).unwrap_or_default())
    }

    /// Pseudonyms by this key.
    pub(super) fn identities(&self) -> Identities {
        Identities::by_key(self.0.as_bytes())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/archive.key");
        assert_eq!(ArchiveKey::read(&path).unwrap(), None);
        let key = ArchiveKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(ArchiveKey::read(&path).unwrap(), Some(key.clone()));
        assert_eq!(key.0.len(), 64);
        let other = ArchiveKey::create(&folder.path().join("other")).unwrap();
        assert_ne!(key.fingerprint(), other.fingerprint());
        assert_eq!(format!("{key:?}"), "ArchiveKey");
        assert!(!key.0.contains(&key.fingerprint()));
    }

    #[test]
    fn a_short_key_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.key");
        std::fs::write(&path, "hunter2\n").unwrap();
        let error = ArchiveKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("shorter than 32 characters") && !error.contains("hunter2"), "{error}");
    }
}
