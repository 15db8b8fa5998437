//! The settings of usage: whether active keys and machines are counted, and with which secret, and
//! whether floating seats are shown.
//!
//! Promises that neither the secret nor a license key is part of a message or of `Debug` output.

use std::path::{Path, PathBuf};

use super::environment::reason;
use super::problem::Problem;
use super::setting::Setting;
use super::sources::Sources;
use super::{table, value};
use crate::usage::{IgnoredKeys, UsageOptions, UsageSecret};

/// The counting of active keys and machines, and of floating seats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageSettings {
    /// True if keys and machines are counted.
    pub active: bool,
    /// True if floating seats are shown.
    pub seats: bool,
    /// The secret, if a file has it.
    pub secret: Option<UsageSecret>,
    /// Keys that are left out.
    pub ignored_keys: IgnoredKeys,
}

impl UsageSettings {
    /// The options for the ledger and the clients; `None` if keys and machines are not counted.
    #[must_use]
    pub fn options(&self) -> Option<UsageOptions> {
        let UsageSettings { active, secret, ignored_keys, .. } = self;
        active.then(|| UsageOptions {
            hasher: std::sync::Arc::default(),
            secret: secret.clone(),
            ignored_keys: ignored_keys.clone(),
        })
    }
}

/// The settings; `None` if a problem was noted. Files that are named are read also if usage is off.
pub(super) fn resolve(sources: &mut Sources<'_>, active: &Setting) -> Option<UsageSettings> {
    let active = sources.get(active, value::switch);
    let seats = sources.get(&table::USAGE_SEATS, value::switch);
    let secret_file = sources.path(&table::USAGE_SECRET_FILE);
    let ignore_keys_file = sources.path(&table::USAGE_IGNORE_KEYS_FILE);
    let secret = secret_file.map(|path| {
        read(sources, &table::USAGE_SECRET_FILE, path, |text| {
            UsageSecret::from_text(text).map_err(|error| error.to_string())
        })
    });
    let ignored_keys = ignore_keys_file.map(|path| {
        read(sources, &table::USAGE_IGNORE_KEYS_FILE, path, |text| Ok(IgnoredKeys::from_text(text)))
    });
    let secret = match secret {
        Some(secret) => Some(secret?),
        None => None,
    };
    let ignored_keys = match ignored_keys {
        Some(keys) => keys?,
        None => IgnoredKeys::default(),
    };
    Some(UsageSettings { active: active?, seats: seats?, secret, ignored_keys })
}

/// Reads the file that a setting names.
pub(super) fn read<T>(
    sources: &mut Sources<'_>,
    setting: &Setting,
    path: PathBuf,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = |path: &Path| sources.environment.read_file(path).map_err(|error| reason(&error));
    let parsed = text(&path).and_then(|text| parse(&text));
    let origin = sources.sourced(setting)?.origin;
    sources.noted(parsed.map_err(|reason| Problem::BadFile { origin, path, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, FlagValues, SystemEnvironment};

    /// No variables, but the files of this machine.
    struct Files;

    impl Environment for Files {
        fn var(&self, _: &str) -> Option<String> {
            None
        }

        fn read_file(&self, path: &Path) -> std::io::Result<String> {
            SystemEnvironment.read_file(path)
        }
    }

    fn resolved(typed: &[(&Setting, &str)]) -> Result<UsageSettings, String> {
        let mut flags = FlagValues::default();
        for (setting, text) in typed {
            flags.insert(setting, vec![(*text).to_owned()]);
        }
        let mut sources = Sources::without_file(&flags, &Files);
        let settings = resolve(&mut sources, &table::USAGE_ACTIVE);
        sources.finish(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_that_is_missing_or_short_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (on, secret) = ((&table::USAGE_ACTIVE, "true"), &table::USAGE_SECRET_FILE);
        let short = file("short", "hunter2");
        let error = resolved(&[on, (secret, &short)]).unwrap_err();
        assert!(error.contains("shorter than 32 characters") && !error.contains("hunter2"), "{error}");
        let missing = folder.path().join("missing").to_str().unwrap().to_owned();
        for setting in [secret, &table::USAGE_IGNORE_KEYS_FILE] {
            let error = resolved(&[on, (setting, &missing)]).unwrap_err();
            assert!(error.contains(setting.flag) && error.contains("missing"), "{error}");
            let error = resolved(&[on, (setting, folder.path().to_str().unwrap())]).unwrap_err();
            assert!(error.contains("cannot use"), "{error}");
        }
        let off = resolved(&[(secret, &missing)]).unwrap_err();
        assert!(off.contains("usage.secret-file"), "also if it is off: {off}");
        assert!(resolved(&[]).unwrap().options().is_none());
        let long = file("long", "0123456789abcdef0123456789abcdef");
        let keys = file("keys", "# tests\nAAAAA-BBBBB\n");
        let settings = resolved(&[on, (secret, &long), (&table::USAGE_IGNORE_KEYS_FILE, &keys)]).unwrap();
        assert!(settings.secret.is_some() && settings.options().is_some());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("AAAAA") && !shown.contains("0123456789"), "{shown}");
    }
}
