//! The settings of the archive: whether rows are archived, where, and how identities are written.

use std::path::Path;
use std::time::Duration;

use super::sources::Sources;
use super::{table, value};
use crate::archive::{ArchiveIdentities, ArchiveSettings};

/// The key of the pseudonyms, where no setting names a file.
const KEY_FILE: &str = "archive.key";

/// The settings: `None` if a problem was noted, `Some(None)` if nothing is archived. All of them are
/// checked, also if no directory is named.
pub(super) fn resolve(
    sources: &mut Sources<'_>,
    storage_path: Option<&Path>,
    overlap: Option<Duration>,
) -> Option<Option<ArchiveSettings>> {
    let path = sources.path(&table::ARCHIVE_PATH);
    let since = sources.get(&table::ARCHIVE_SINCE, value::since);
    let interval = sources.get(&table::ARCHIVE_INTERVAL, value::duration);
    let delay = sources.get(&table::ARCHIVE_DELAY, value::duration);
    let identities = sources.get(&table::ARCHIVE_IDENTITIES, |found, setting| {
        let levels = [ArchiveIdentities::Masked, ArchiveIdentities::Full, ArchiveIdentities::None];
        value::one_of(found, setting, &levels.map(|level| (level.name(), level)))
    });
    let key_file = sources.path(&table::ARCHIVE_KEY_FILE);
    let (since, interval, mut delay, identities) = (since?, interval?, delay?, identities?);
    let (storage_path, overlap) = (storage_path?, overlap?);
    if delay < overlap {
        // Rows may become visible for as long as the overlap says.
        if let Some(found) = sources.sourced(&table::ARCHIVE_DELAY) {
            let expected = format!("at least --poll.overlap, {}", humantime::format_duration(overlap));
            sources.noted::<()>(Err(found.bad(expected)))?;
        }
        delay = overlap;
    }
    let key_file = key_file.unwrap_or_else(|| storage_path.join(KEY_FILE));
    Some(path.map(|path| ArchiveSettings { path, since, interval, delay, identities, key_file }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Setting;
    use crate::config::{FlagValues, Variables};

    fn resolved(typed: &[(&Setting, &str)], overlap: u64) -> Result<Option<ArchiveSettings>, String> {
        let mut flags = FlagValues::default();
        for (setting, text) in typed {
            flags.insert(setting, vec![(*text).to_owned()]);
        }
        let variables = Variables::default();
        let mut sources = Sources::without_file(&flags, &variables);
        let overlap = Duration::from_secs(overlap);
        let settings = resolve(&mut sources, Some(Path::new("/storage")), Some(overlap));
        sources.finish(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_archived_without_a_directory_and_what_is_wrong_is_said() {
        assert_eq!(resolved(&[], 60), Ok(None));
        let path = (&table::ARCHIVE_PATH, "/archive");
        let settings = resolved(&[path], 60).unwrap().unwrap();
        assert_eq!((settings.interval.as_secs(), settings.delay.as_secs()), (86_400, 3600));
        assert_eq!(settings.identities, ArchiveIdentities::Masked);
        assert_eq!(settings.key_file, Path::new("/storage/archive.key"));
        let settings = resolved(&[path], 7200).unwrap().unwrap();
        assert_eq!(settings.delay.as_secs(), 7200, "the default follows a longer overlap");
        let error = resolved(&[path, (&table::ARCHIVE_DELAY, "1m")], 120).unwrap_err();
        assert!(
            error.contains("--archive.delay") && error.contains("at least --poll.overlap, 2m"),
            "{error}"
        );
        for (setting, text) in [
            (&table::ARCHIVE_INTERVAL, "30s"),
            (&table::ARCHIVE_INTERVAL, "8d"),
            (&table::ARCHIVE_IDENTITIES, "customers"),
            (&table::ARCHIVE_SINCE, "yesterday"),
        ] {
            let error = resolved(&[(setting, text)], 60).unwrap_err();
            assert!(error.contains(setting.flag), "{error}");
        }
    }
}
