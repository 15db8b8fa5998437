//! The settings of the comparison that `serve` makes with the vendor's own counts.
//!
//! Promises that no license key is part of a message or of `Debug` output.

use std::time::Duration;

use super::sources::Sources;
use super::usage::read;
use super::{table, value};
use crate::report::options::ExcludedKeys;

/// How often `serve` compares, and what the vendor leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileSettings {
    /// The time between two comparisons; 1 h to 7 d.
    pub interval: Duration,
    /// Keys that the vendor leaves out.
    pub excluded_keys: ExcludedKeys,
}

/// The settings; the outer `None` if a problem was noted, the inner one if nothing is compared. A file
/// that is named is read in any case.
pub(super) fn resolve(sources: &mut Sources<'_>) -> Option<Option<ReconcileSettings>> {
    let setting = &table::RECONCILE_KEYS_FILE;
    let excluded_keys = match sources.path(setting) {
        Some(path) => read(sources, setting, path, |text| Ok(ExcludedKeys::from_text(text)))?,
        None => ExcludedKeys::default(),
    };
    let interval = match sources.sourced(&table::RECONCILE_INTERVAL) {
        Some(_) => sources.get(&table::RECONCILE_INTERVAL, value::duration)?,
        None => return Some(None),
    };
    Some(Some(ReconcileSettings { interval, excluded_keys }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Setting;
    use crate::config::{FlagValues, SystemEnvironment};

    fn resolved(typed: &[(&Setting, &str)]) -> Result<Option<ReconcileSettings>, String> {
        let mut flags = FlagValues::default();
        for (setting, text) in typed {
            flags.insert(setting, vec![(*text).to_owned()]);
        }
        let mut sources = Sources::without_file(&flags, &SystemEnvironment);
        let settings = resolve(&mut sources);
        sources.finish(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_off_without_an_interval_and_names_a_file_that_is_missing() {
        let (interval, file) = (&table::RECONCILE_INTERVAL, &table::RECONCILE_KEYS_FILE);
        assert_eq!(resolved(&[]), Ok(None));
        let on = resolved(&[(interval, "1d")]).unwrap().unwrap();
        assert_eq!((on.interval, on.excluded_keys), (Duration::from_secs(86_400), ExcludedKeys::default()));
        for short in ["59m", "0s", "often"] {
            assert!(resolved(&[(interval, short)]).unwrap_err().contains("--reconcile.interval"), "{short}");
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = resolved(&[(file, missing.to_str().unwrap())]).unwrap_err();
        assert!(error.contains("reconcile.exclude-keys-file") && error.contains("missing"), "{error}");
        let path = folder.path().join("keys");
        std::fs::write(&path, "AAAAA-BBBBB\n").unwrap();
        let on = resolved(&[(interval, "7d"), (file, path.to_str().unwrap())]).unwrap().unwrap();
        assert!(on.excluded_keys.contains("AAAAA-BBBBB") && !format!("{on:?}").contains("AAAAA"));
    }
}
