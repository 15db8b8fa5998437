//! `export --format=parquet`: the entries of a log as typed columns in one file.
//!
//! Promises: the file is put in place when it is complete, and whatever ends the export before that
//! leaves nothing, because a Parquet file has its table of contents at its end and cannot grow. The
//! columns are those of the archive, with pseudonyms as in the other formats.

use std::fs::File;

use super::error::ReportError;
use super::export::{self, Order, mask};
use super::identity::{Identities, IdentityKind};
use super::options::{ExportFormat, ExportOptions};
use super::output;
use super::source::WindowReader;
use crate::archive::{ArchivedEvent, ArchivedObject, ArchivedRequest, ArchivedRow, FileLabels, ParquetFile};

/// A row that can be shown with pseudonyms.
pub(super) trait MaskedRow: ArchivedRow {
    /// Replaces what names a customer.
    fn mask(&mut self, identities: &Identities);
}

impl MaskedRow for ArchivedRequest {
    fn mask(&mut self, identities: &Identities) {
        mask(&mut self.key, IdentityKind::Key, identities);
        mask(&mut self.ip, IdentityKind::Address, identities);
        mask(&mut self.machine_code, IdentityKind::Machine, identities);
        mask(&mut self.friendly_name, IdentityKind::Name, identities);
        identities.other_members(&mut self.extra);
    }
}

impl MaskedRow for ArchivedEvent {
    fn mask(&mut self, identities: &Identities) {
        mask(&mut self.key, IdentityKind::Key, identities);
        mask(&mut self.machine_code, IdentityKind::Machine, identities);
        self.metadata = self.metadata.as_deref().map(|metadata| identities.json_text(metadata));
        identities.other_members(&mut self.extra);
    }
}

impl MaskedRow for ArchivedObject {
    fn mask(&mut self, identities: &Identities) {
        self.performed_by_user_id = self.performed_by_user_id.as_deref().map(|user| identities.user(user));
        self.data = self.data.as_deref().map(|data| identities.json_text(data));
        identities.other_members(&mut self.extra);
    }
}

/// Flags that the other formats have.
pub(super) fn refuse_what_has_no_meaning(options: &ExportOptions) -> Result<(), ReportError> {
    let refused = if options.format != ExportFormat::Parquet {
        return Ok(());
    } else if options.resume {
        "--resume has no meaning for --format=parquet: a Parquet file cannot be continued"
    } else if options.presentation.file().is_none() {
        "--format=parquet needs a regular file that --output names"
    } else {
        return Ok(());
    };
    Err(ReportError::Usage(refused.to_owned()))
}

/// Exports the rows of type `R`, and tells how many there are.
pub(super) async fn export<R: MaskedRow>(
    source: &WindowReader,
    order: &Order<'_>,
) -> Result<u64, ReportError> {
    let Some(target) = order.output.file() else {
        return Err(ReportError::Usage(
            "--format=parquet needs a regular file that --output names".to_owned(),
        ));
    };
    let is_private = order.output.is_private();
    // The lock lives as long as the file is open.
    let path = export::beside(target, ".partial");
    let file = export::locked(&path, is_private)?;
    let rows = match write::<R>(source, order, &file).await {
        Ok(rows) => rows,
        Err(error) => {
            // What is not whole cannot be read.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    let placed = file.sync_all().and_then(|()| output::put_in_place(&path, target, is_private));
    placed.map(|()| rows).map_err(|error| order.output.failed(error))
}

async fn write<R: MaskedRow>(
    source: &WindowReader,
    order: &Order<'_>,
    file: &File,
) -> Result<u64, ReportError> {
    let failed = |error| order.output.failed(error);
    file.set_len(0).map_err(failed)?;
    let labels = FileLabels { identities: order.identities.name() };
    let mut columns = ParquetFile::<R, _>::new(file, labels).map_err(failed)?;
    let (after, newest) = match order.window {
        Some(window) => {
            (source.start::<R>(&order.filter, window.from).await?, WindowReader::end::<R>(window.to))
        }
        None => (0, i64::MAX),
    };
    let is_wanted =
        |row: &R| order.window.is_none_or(|window| row.time().is_some_and(|time| window.contains(time)));
    let write_page = |rows: Vec<R>| {
        for mut row in rows.into_iter().filter(is_wanted) {
            row.mask(order.identities);
            columns.push(&row).map_err(failed)?;
        }
        Ok(())
    };
    source.oldest_first(&order.filter, after, newest, write_page).await?;
    let rows = columns.rows();
    columns.finish().map_err(failed)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use serde_json::json;

    #[test]
    fn members_that_are_unknown_today_name_nobody() {
        let identities = Identities::masked(&SecretString::from("token"));
        let extra = json!({
            "mail": "alice@example.com", "born": "1990-01-31", "isAnomaly": true, "groups": 3,
            "owner": {"alice@example.com": "Bob", "Id": 7}, "seen": ["Bob"],
        });
        let mut row = ArchivedRequest { extra: extra.as_object().cloned().unwrap(), ..Default::default() };
        let before = row.clone();
        row.mask(&Identities::Full);
        assert_eq!(row, before);
        row.mask(&identities);
        let shown = row.extra().unwrap();
        for secret in ["alice", "1990", "Bob"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert_eq!((&row.extra["isAnomaly"], &row.extra["groups"]), (&json!(true), &json!(3)));
        assert_eq!(row.extra["owner"]["Id"], 7);
    }
}
