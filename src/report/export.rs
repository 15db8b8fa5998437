//! The entries of a log, one by one, oldest first: NDJSON with the API's own names, or CSV.
//!
//! Promises: a file is put in place when it is complete. Until then it grows beside as `FILE.partial`; an export that was
//! cut off leaves it there, and `--resume` goes on after its last whole entry, so that no entry is doubled or left out. The
//! same flag on a complete file appends what the log got since.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::args::ExportFormat;
use super::error::ReportError;
use super::identity::{Identities, Kind};
use super::output;
use super::record::{EventRecord, ObjectRecord, RequestRecord};
use super::source::Source;
use super::spreadsheet::harmless;
use super::window::Window;
use crate::cryptolens::{Filter, Row};

/// A row that can be exported.
pub(super) trait Exported: Row + Serialize {
    /// Names of the columns, in the order of the members.
    const COLUMNS: &'static [&'static str];

    /// Replaces what names a customer.
    fn mask(&mut self, identities: &Identities);

    /// The texts of the row, which can be anything.
    fn texts(&mut self) -> Vec<&mut Option<String>>;
}

fn mask(text: &mut Option<String>, kind: Kind, identities: &Identities) {
    if let Some(text) = text {
        *text = identities.show(kind, text);
    }
}

impl Exported for RequestRecord {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "productId",
        "key",
        "ip",
        "time",
        "state",
        "machineCode",
        "friendlyName",
        "floatingExpires",
        "doIntValue",
        "doId",
    ];

    fn mask(&mut self, identities: &Identities) {
        mask(&mut self.key, Kind::Key, identities);
        mask(&mut self.ip, Kind::Address, identities);
        mask(&mut self.machine_code, Kind::Machine, identities);
        mask(&mut self.friendly_name, Kind::Name, identities);
    }

    fn texts(&mut self) -> Vec<&mut Option<String>> {
        vec![&mut self.key, &mut self.ip, &mut self.machine_code, &mut self.friendly_name]
    }
}

impl Exported for EventRecord {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "productId",
        "key",
        "machineCode",
        "featureName",
        "eventName",
        "value",
        "currency",
        "time",
        "metadata",
    ];

    fn mask(&mut self, identities: &Identities) {
        mask(&mut self.key, Kind::Key, identities);
        mask(&mut self.machine_code, Kind::Machine, identities);
        self.metadata = self.metadata.as_deref().map(|metadata| identities.json_text(metadata));
    }

    fn texts(&mut self) -> Vec<&mut Option<String>> {
        vec![
            &mut self.key,
            &mut self.machine_code,
            &mut self.feature_name,
            &mut self.event_name,
            &mut self.currency,
            &mut self.metadata,
        ]
    }
}

impl Exported for ObjectRecord {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created",
        "resourceType",
        "resourceAction",
        "affectedObjectId",
        "objectOwnerUserId",
        "performedByUserId",
        "data",
    ];

    fn mask(&mut self, identities: &Identities) {
        self.performed_by_user_id = self.performed_by_user_id.as_deref().map(|user| identities.user(user));
        self.data = self.data.as_deref().map(|data| identities.json_text(data));
    }

    fn texts(&mut self) -> Vec<&mut Option<String>> {
        vec![&mut self.performed_by_user_id, &mut self.data]
    }
}

/// What to export, and how.
pub(super) struct Order<'a> {
    pub(super) filter: Filter,
    /// None for everything. Entries without a time belong to everything only.
    pub(super) window: Option<Window>,
    pub(super) format: ExportFormat,
    pub(super) identities: &'a Identities,
    /// None for standard output.
    pub(super) path: Option<&'a Path>,
    pub(super) resume: bool,
}

/// Exports the rows of type `R`, and tells how many there are.
pub(super) async fn export<R: Exported>(source: &Source, order: &Order<'_>) -> Result<u64, ReportError> {
    let Some(path) = order.path else {
        if order.resume {
            return Err(ReportError::Usage("--resume needs the file that --output names".to_owned()));
        }
        let mut sheet = Sheet::<_>::new(BufWriter::new(io::stdout().lock()), order.format, true);
        match copy::<R, _>(source, order, None, &mut sheet).await {
            Ok(()) => output::written_to_stdout(sheet.flush()),
            Err(ReportError::Write { error, .. }) => output::written_to_stdout(Err(error)),
            Err(error) => Err(error),
        }?;
        return Ok(sheet.rows);
    };
    let failed = |error| output::failed(path, error);
    let path = output::target(path).map_err(failed)?;
    let unfinished = Unfinished::open::<R>(&path, order.format, order.resume)?;
    let file = BufWriter::with_capacity(1 << 16, unfinished.file.try_clone().map_err(failed)?);
    let mut sheet = Sheet::new(file, order.format, unfinished.is_empty);
    let copied = copy::<R, _>(source, order, unfinished.last_id, &mut sheet).await;
    // What came before an error is whole entries, and worth keeping for `--resume`.
    let flushed = sheet.flush().map_err(failed);
    copied.and(flushed).map_err(|error| unfinished.cut_off(error))?;
    unfinished.complete(&path).map_err(failed)?;
    Ok(sheet.rows)
}

async fn copy<R: Exported, W: Write>(
    source: &Source,
    order: &Order<'_>,
    last_id: Option<i64>,
    sheet: &mut Sheet<W>,
) -> Result<(), ReportError> {
    let window = order.window;
    let after = match (last_id, window) {
        (Some(last_id), _) => last_id,
        (None, Some(window)) => source.start::<R>(&order.filter, window.from).await?,
        (None, None) => 0,
    };
    // What is gone on with has its beginning: one counted back from now has moved since, and would leave a gap.
    let begin = window.filter(|_| last_id.is_none()).map_or(i64::MIN, |window| window.from);
    let wanted = |row: &R| match window {
        None => true,
        Some(window) => row.time().is_some_and(|time| begin <= time && time < window.to),
    };
    let failed = |error| ReportError::Write { path: order.path.map(Path::to_owned), error };
    sheet.begin(R::COLUMNS).map_err(failed)?;
    let newest = window.map_or(i64::MAX, |window| window.to);
    let write_page = |rows: Vec<R>| {
        for mut row in rows.into_iter().filter(wanted) {
            if matches!(order.identities, Identities::Masked(_)) {
                row.mask(order.identities);
            }
            sheet.write(&mut row).map_err(failed)?;
        }
        Ok(())
    };
    source.oldest_first(&order.filter, after, newest, write_page).await.map(drop)
}

/// Writes rows in one of the formats.
struct Sheet<W: Write> {
    writer: W,
    format: ExportFormat,
    is_empty: bool,
    /// Written so far.
    rows: u64,
}

impl<W: Write> Sheet<W> {
    const fn new(writer: W, format: ExportFormat, is_empty: bool) -> Sheet<W> {
        Sheet { writer, format, is_empty, rows: 0 }
    }

    /// The header, where there is none yet.
    fn begin(&mut self, columns: &[&str]) -> io::Result<()> {
        if self.is_empty && self.format == ExportFormat::Csv {
            writeln!(self.writer, "{}", columns.join(","))?;
        }
        self.is_empty = false;
        Ok(())
    }

    fn write<R: Exported>(&mut self, row: &mut R) -> io::Result<()> {
        self.rows += 1;
        match self.format {
            ExportFormat::Ndjson => serde_json::to_writer(&mut self.writer, row)?,
            ExportFormat::Csv => {
                for text in row.texts().into_iter().flatten() {
                    *text = harmless(text).into_owned();
                }
                let mut line = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
                line.serialize(row)?;
                let line = line.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
                return self.writer.write_all(&line);
            }
        }
        self.writer.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The file beside, until it is complete.
struct Unfinished {
    file: File,
    path: PathBuf,
    is_empty: bool,
    /// The last entry that it holds.
    last_id: Option<i64>,
}

impl Unfinished {
    fn open<R: Exported>(
        target: &Path,
        format: ExportFormat,
        resume: bool,
    ) -> Result<Unfinished, ReportError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let path = target.with_file_name(name);
        let failed = |error| output::failed(&path, error);
        let left_over = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(io::Error::other("another export is writing it")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let end = match (resume, left_over, target.exists()) {
            (true, true, _) => last_whole::<R>(&path, format, true)?,
            (true, false, true) => {
                let end = last_whole::<R>(target, format, false);
                let copied = end.and_then(|end| {
                    let mut whole = File::open(target).map_err(failed)?;
                    io::copy(&mut whole, &mut &file).map_err(failed)?;
                    Ok(end)
                });
                // What is in place is not to be taken for an export that was cut off.
                copied.inspect_err(|_| drop(std::fs::remove_file(&path)))?
            }
            _ => End { length: 0, last_id: None },
        };
        file.set_len(end.length).map_err(failed)?;
        io::Seek::seek(&mut &file, io::SeekFrom::End(0)).map_err(failed)?;
        Ok(Unfinished { file, path, is_empty: end.length == 0, last_id: end.last_id })
    }

    /// Tells that there is something to go on with, or takes it away if there is not.
    fn cut_off(&self, error: ReportError) -> ReportError {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            let _ = std::fs::remove_file(&self.path);
            return error;
        }
        ReportError::CutOff { path: self.path.clone(), error: Box::new(error) }
    }

    fn complete(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, target)
    }
}

/// Where the entries that can be kept end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    length: u64,
    last_id: Option<i64>,
}

/// Looks for the last entry. Of a file that was cut off, the very last is dropped: it may be a part of one.
fn last_whole<R: Exported>(path: &Path, format: ExportFormat, cut_off: bool) -> Result<End, ReportError> {
    let bad = |reason: String| ReportError::Resume { path: path.to_owned(), reason };
    let unreadable = |error: &dyn std::fmt::Display| bad(error.to_string());
    let other = || bad("it is no export of this log in this format; name another file".to_owned());
    let file = BufReader::new(File::open(path).map_err(|error| unreadable(&error))?);
    // The end of each of the last two entries, and of what stands before the first.
    let mut ends = [End { length: 0, last_id: None }, End { length: 0, last_id: None }];
    let mut push = |length, last_id| {
        ends.rotate_left(1);
        ends[1] = End { length, last_id };
    };
    match format {
        ExportFormat::Ndjson => {
            let mut length = 0;
            for line in io::BufRead::split(file, b'\n') {
                let line = line.map_err(|error| unreadable(&error))?;
                length += u64::try_from(line.len()).unwrap_or(0) + 1;
                push(length, id_of_line::<R>(&line));
            }
        }
        ExportFormat::Csv => {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
            let mut record = csv::ByteRecord::new();
            let mut next = || match reader.read_byte_record(&mut record) {
                Ok(true) => Ok(Some((reader.position().byte(), record.clone()))),
                Ok(false) => Ok(None),
                Err(error) => Err(unreadable(&error)),
            };
            let header = next()?;
            let is_ours = header
                .as_ref()
                .is_none_or(|(_, header)| header.iter().eq(R::COLUMNS.iter().map(|name| name.as_bytes())));
            let mut entries = 0;
            while let Some((length, record)) = next()? {
                if entries == 0 {
                    // What stands before the first entry.
                    push(header.as_ref().map_or(0, |(length, _)| *length), Some(0));
                }
                entries += 1;
                let id = record.get(0).and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
                push(length, id);
            }
            if entries == 0 {
                // Nothing but a header, and that may be a part of one: it begins anew.
                return if is_ours || cut_off { Ok(End { length: 0, last_id: None }) } else { Err(other()) };
            }
            if !is_ours {
                return Err(other());
            }
        }
    }
    let [before, last] = ends;
    let end = if cut_off { before } else { last };
    let on_disk = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if end.length > on_disk || (end.length > 0 && end.last_id.is_none()) {
        return Err(other());
    }
    Ok(End { last_id: end.last_id.filter(|id| *id != 0), ..end })
}

/// The id of an exported row, and of no other JSON: the members are told apart by the columns.
fn id_of_line<R: Exported>(line: &[u8]) -> Option<i64> {
    let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_slice(line).ok()?;
    let same = members.len() == R::COLUMNS.len() && R::COLUMNS.iter().all(|name| members.contains_key(*name));
    same.then(|| members.get("id")?.get().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(content: &str, format: ExportFormat, cut_off: bool) -> Option<End> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        last_whole::<ObjectRecord>(file.path(), format, cut_off).ok()
    }

    fn exported(format: ExportFormat) -> String {
        let mut sheet = Sheet::new(Vec::new(), format, true);
        sheet.begin(ObjectRecord::COLUMNS).unwrap();
        for id in [7, 8] {
            let data = Some("a,\"b\"\nc".to_owned());
            sheet.write(&mut ObjectRecord { id, data, ..ObjectRecord::default() }).unwrap();
        }
        String::from_utf8(sheet.writer).unwrap()
    }

    /// Wherever an export is cut off, going on gives each entry once.
    #[test]
    fn a_file_cut_off_anywhere_is_gone_on_with_after_a_whole_entry() {
        for format in [ExportFormat::Ndjson, ExportFormat::Csv] {
            let whole = exported(format);
            let header = if format == ExportFormat::Csv { whole.find('\n').unwrap() + 1 } else { 0 };
            let second = header + (whole.len() - header) / 2;
            for length in 0..=whole.len() {
                let end = end(&whole[..length], format, true).unwrap();
                let kept = usize::try_from(end.length).unwrap();
                assert!(kept <= length, "{format:?} cut at {length}");
                let expected = if kept == second { Some(7) } else { None };
                assert_eq!(end.last_id, expected, "{format:?} cut at {length} keeps {kept}");
                assert!([0, header, second].contains(&kept), "{format:?} cut at {length} keeps {kept}");
            }
            let complete = end(&whole, format, false).unwrap();
            assert_eq!(complete, End { length: u64::try_from(whole.len()).unwrap(), last_id: Some(8) });
        }
    }

    #[test]
    fn another_file_is_not_gone_on_with() {
        for (content, format) in [
            ("id,time\n1,2\n", ExportFormat::Csv),
            ("{\"id\":1}\n", ExportFormat::Ndjson),
            ("hello\nworld\n", ExportFormat::Ndjson),
        ] {
            assert_eq!(end(content, format, false), None, "{content}");
        }
        assert_eq!(end("", ExportFormat::Csv, false), Some(End { length: 0, last_id: None }));
    }
}
