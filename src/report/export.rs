//! The entries of a log, one by one, oldest first: NDJSON with the API's own names, or CSV.
//!
//! Promises: a file is put in place when it is complete. Until then it grows beside as
//! `FILE.partial`; an export that was cut off leaves it there. `--resume` goes on from it, or from
//! the file itself, and never takes a file for whole that is not: the archive is first copied to
//! `FILE.copying`, which becomes `FILE.partial` when it is on disk, and a `FILE.partial` that lacks
//! what the file in place has is not gone on with. What it goes on with is read again from the
//! entries of its last hour, because a log may show rows late: those that it lacks are appended,
//! none is doubled.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::error::ReportError;
use super::identity::{Identities, IdentityKind};
use super::options::EntryFormat;
use super::output::{self, Output};
use super::record::{EventRecord, ObjectRecord, RequestRecord};
use super::source::WindowReader;
use super::spreadsheet::{Cell, maybe_number, number, write_row};
use super::window::Window;
use crate::cryptolens::{Row, RowFilter};

/// Entries of at least this time, in seconds, and at least so many of the highest ids are read
/// again by `--resume`.
const READ_AGAIN_SECONDS: i64 = 3600;
const READ_AGAIN_ENTRIES: usize = 1000;

/// A row that can be exported.
pub(super) trait Exported: Row + Serialize {
    /// Names of the columns, in the order of the members.
    const COLUMNS: &'static [&'static str];

    /// Replaces what names a customer.
    fn mask(&mut self, identities: &Identities);

    /// The row as cells of a spreadsheet, in the order of the columns.
    fn cells(self) -> Vec<Cell>;
}

/// Replaces a text that names somebody.
fn mask(text: &mut Option<String>, kind: IdentityKind, identities: &Identities) {
    identities.replace(kind, text);
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
        mask(&mut self.key, IdentityKind::Key, identities);
        mask(&mut self.ip, IdentityKind::Address, identities);
        mask(&mut self.machine_code, IdentityKind::Machine, identities);
        mask(&mut self.friendly_name, IdentityKind::Name, identities);
    }

    fn cells(self) -> Vec<Cell> {
        vec![
            number(self.id),
            number(self.product_id),
            self.key.into(),
            self.ip.into(),
            maybe_number(self.time),
            maybe_number(self.state),
            self.machine_code.into(),
            self.friendly_name.into(),
            maybe_number(self.floating_expires),
            maybe_number(self.do_int_value),
            maybe_number(self.do_id),
        ]
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
        mask(&mut self.key, IdentityKind::Key, identities);
        mask(&mut self.machine_code, IdentityKind::Machine, identities);
        self.metadata = self.metadata.as_deref().map(|metadata| identities.json_text(metadata));
    }

    fn cells(self) -> Vec<Cell> {
        vec![
            number(self.id),
            number(self.product_id),
            self.key.into(),
            self.machine_code.into(),
            self.feature_name.into(),
            self.event_name.into(),
            maybe_number(self.value),
            self.currency.into(),
            maybe_number(self.time),
            self.metadata.into(),
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

    fn cells(self) -> Vec<Cell> {
        vec![
            number(self.id),
            maybe_number(self.created),
            maybe_number(self.resource_type),
            maybe_number(self.resource_action),
            maybe_number(self.affected_object_id),
            maybe_number(self.object_owner_user_id),
            self.performed_by_user_id.into(),
            self.data.into(),
        ]
    }
}

/// An export: which rows, in which form.
pub(super) struct Order<'a> {
    pub(super) filter: RowFilter,
    /// None for everything. Entries without a time belong to everything only.
    pub(super) window: Option<Window>,
    pub(super) identities: &'a Identities,
    pub(super) output: &'a Output,
    pub(super) resume: bool,
    pub(super) stop: &'a CancellationToken,
}

/// Exports the rows of type `R`, and tells how many there are.
pub(super) async fn export<R: Exported>(
    source: &WindowReader,
    order: &Order<'_>,
    format: EntryFormat,
) -> Result<u64, ReportError> {
    let output = order.output;
    let Some(path) = output.file() else {
        if order.resume {
            return Err(ReportError::Usage("--resume needs a regular file that --output names".to_owned()));
        }
        let opened = order.stop.run_until_cancelled(output.stream()).await;
        let stream = opened.ok_or(ReportError::Interrupted)??;
        let mut sheet = Sheet::<_>::new(BufWriter::new(stream), format, true);
        match copy::<R, _>(source, order, &Resumed::default(), &mut sheet).await {
            Ok(()) => output.streamed(sheet.flush()),
            Err(ReportError::Write { error, .. }) => output.streamed(Err(error)),
            Err(error) => Err(error),
        }?;
        return Ok(sheet.rows);
    };
    let failed = |error| output.failed(error);
    let unfinished = Unfinished::open::<R>(path, format, order.resume, output.is_private())?;
    let file = BufWriter::with_capacity(1 << 16, unfinished.file.try_clone().map_err(failed)?);
    let mut sheet = Sheet::new(file, format, unfinished.is_empty);
    let copied = copy::<R, _>(source, order, &unfinished.resumed, &mut sheet).await;
    // The entries before an error are whole, and worth keeping for `--resume`.
    let flushed = sheet.flush().map_err(failed);
    copied.and(flushed).map_err(|error| unfinished.cut_off(error))?;
    unfinished.complete(path, output.is_private()).map_err(failed)?;
    Ok(sheet.rows)
}

async fn copy<R: Exported, W: Write>(
    source: &WindowReader,
    order: &Order<'_>,
    resumed: &Resumed,
    sheet: &mut Sheet<W>,
) -> Result<(), ReportError> {
    let window = order.window;
    let after = match (resumed.after, window) {
        (Some(after), _) => after,
        (None, Some(window)) => source.start::<R>(&order.filter, window.from).await?,
        (None, None) => 0,
    };
    let wanted = |row: &R| {
        if resumed.ids.contains(&row.id()) {
            return false;
        }
        let Some(window) = window else { return true };
        // A resumed export keeps its beginning: one counted back from now has moved since, and
        // would leave a gap. Rows that are read again belong to it if they are not older than its
        // oldest.
        let begin = match resumed.highest {
            None => window.from,
            Some(highest) if row.id() > highest => i64::MIN,
            Some(_) => resumed.oldest.unwrap_or(i64::MIN),
        };
        row.time().is_some_and(|time| begin <= time && time < window.to)
    };
    let failed = |error| order.output.failed(error);
    sheet.begin(R::COLUMNS).map_err(failed)?;
    let newest = window.map_or(i64::MAX, |window| WindowReader::end::<R>(window.to));
    let write_page = |rows: Vec<R>| {
        for mut row in rows.into_iter().filter(wanted) {
            if matches!(order.identities, Identities::Masked(_)) {
                row.mask(order.identities);
            }
            sheet.write(row).map_err(failed)?;
        }
        Ok(())
    };
    source.oldest_first(&order.filter, after, newest, write_page).await.map(drop)
}

/// Writes rows in one of the formats.
struct Sheet<W: Write> {
    writer: W,
    format: EntryFormat,
    is_empty: bool,
    /// Written so far.
    rows: u64,
}

impl<W: Write> Sheet<W> {
    const fn new(writer: W, format: EntryFormat, is_empty: bool) -> Sheet<W> {
        Sheet { writer, format, is_empty, rows: 0 }
    }

    /// The header, where there is none yet.
    fn begin(&mut self, columns: &[&str]) -> io::Result<()> {
        if self.is_empty && self.format == EntryFormat::Csv {
            writeln!(self.writer, "{}", columns.join(","))?;
        }
        self.is_empty = false;
        Ok(())
    }

    fn write<R: Exported>(&mut self, row: R) -> io::Result<()> {
        self.rows += 1;
        match self.format {
            EntryFormat::Ndjson => {
                serde_json::to_writer(&mut self.writer, &row)?;
                self.writer.write_all(b"\n")
            }
            EntryFormat::Csv => write_row(&mut self.writer, row.cells()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The content of a file that an export resumes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resumed {
    /// The id to read on after.
    after: Option<i64>,
    highest: Option<i64>,
    /// The oldest time of an entry.
    oldest: Option<i64>,
    /// Every id above `after`.
    ids: HashSet<i64>,
}

/// The file beside, until it is complete.
struct Unfinished {
    file: File,
    path: PathBuf,
    is_empty: bool,
    resumed: Resumed,
}

impl Unfinished {
    fn open<R: Exported>(
        target: &Path,
        format: EntryFormat,
        resume: bool,
        private: bool,
    ) -> Result<Unfinished, ReportError> {
        let path = beside(target, ".partial");
        let file = match resume {
            true => Unfinished::gone_on_with::<R>(target, &path, format, private)?,
            false => locked(&path, private)?,
        };
        let end = if resume { last_whole::<R>(&path, format, true)? } else { 0 };
        let failed = |error| output::failed(&path, error);
        file.set_len(end).map_err(failed)?;
        io::Seek::seek(&mut &file, io::SeekFrom::End(0)).map_err(failed)?;
        let resumed = Resumed::of::<R>(&path, format)?;
        Ok(Unfinished { file, path, is_empty: end == 0, resumed })
    }

    /// The unfinished file, which holds all that is in place.
    fn gone_on_with<R: Exported>(
        target: &Path,
        path: &Path,
        format: EntryFormat,
        private: bool,
    ) -> Result<File, ReportError> {
        if !target.exists() {
            return locked(path, private);
        }
        let length = last_whole::<R>(target, format, false)?;
        if path.exists() {
            let file = locked(path, private)?;
            if begins_like(path, target, length).map_err(|error| output::failed(path, error))? {
                return Ok(file);
            }
        }
        let copying = beside(target, ".copying");
        let file = locked(&copying, private)?;
        let copied = File::open(target).and_then(|whole| {
            file.set_len(0)?;
            io::copy(&mut whole.take(length), &mut &file)?;
            file.sync_all()?;
            std::fs::rename(&copying, path)
        });
        copied.map_err(|error| output::failed(&copying, error))?;
        Ok(file)
    }

    /// Tells that there is something to go on with, or takes it away if there is not.
    fn cut_off(&self, error: ReportError) -> ReportError {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            let _ = std::fs::remove_file(&self.path);
            return error;
        }
        ReportError::CutOff { path: self.path.clone(), error: Box::new(error) }
    }

    fn complete(&self, target: &Path, private: bool) -> io::Result<()> {
        self.file.sync_all()?;
        output::put_in_place(&self.path, target, private)
    }
}

pub(super) fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

/// A file that no other export writes. Its lock goes with the process, and stays with the file when
/// that is renamed.
pub(super) fn locked(path: &Path, private: bool) -> Result<File, ReportError> {
    let failed = |error| output::failed(path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(failed(io::Error::other("another export is writing it")));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    if private {
        output::make_private(&file).map_err(failed)?;
    }
    Ok(file)
}

/// True if the first `length` bytes of both files are the same.
fn begins_like(path: &Path, other: &Path, length: u64) -> io::Result<bool> {
    let mut one = BufReader::with_capacity(1 << 16, File::open(path)?.take(length));
    let mut two = BufReader::with_capacity(1 << 16, File::open(other)?.take(length));
    loop {
        let (left, right) = (one.fill_buf()?, two.fill_buf()?);
        let both = left.len().min(right.len());
        if left.get(..both) != right.get(..both) {
            return Ok(false);
        }
        if both == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(both);
        two.consume(both);
    }
}

impl Resumed {
    /// Reads a file whose entries are all whole. It is read three times rather than kept in memory.
    fn of<R: Exported>(path: &Path, format: EntryFormat) -> Result<Resumed, ReportError> {
        let (mut highest, mut oldest, mut newest) = (None, None, None);
        let mut top = BTreeSet::new();
        let now = chrono::Utc::now().timestamp();
        each_entry::<R>(path, format, |entry| {
            let Some(id) = entry.id else { return };
            highest = highest.max(Some(id));
            top.insert(id);
            if top.len() > READ_AGAIN_ENTRIES {
                top.pop_first();
            }
            let Some(time) = entry.time else { return };
            oldest = Some(oldest.map_or(time, |oldest: i64| oldest.min(time)));
            // A time in the future says nothing.
            newest = newest.max(Some(time).filter(|time| *time <= now));
        })?;
        let mut after = top.first().copied();
        each_entry::<R>(path, format, |entry| {
            if let (Some(id), Some(time), Some(newest)) = (entry.id, entry.time, newest)
                && time >= newest - READ_AGAIN_SECONDS
            {
                after = Some(after.map_or(id, |after| after.min(id)));
            }
        })?;
        let mut ids = HashSet::new();
        each_entry::<R>(path, format, |entry| ids.extend(entry.id.filter(|id| Some(*id) >= after)))?;
        Ok(Resumed { after, highest, oldest, ids })
    }
}

/// An entry of a file, or the header of CSV.
struct FileEntry<'a> {
    /// Where it ends.
    end: u64,
    bytes: &'a [u8],
    is_header: bool,
    id: Option<i64>,
    time: Option<i64>,
}

/// The members that `--resume` looks at.
#[derive(Deserialize)]
struct EntryMembers {
    id: i64,
    #[serde(alias = "created")]
    time: Option<i64>,
}

/// Hands over the entries that have an end; what stands after the last line feed is a part of one.
fn each_entry<R: Exported>(
    path: &Path,
    format: EntryFormat,
    mut each: impl FnMut(&FileEntry<'_>),
) -> Result<(), ReportError> {
    let failed = |error: io::Error| ReportError::Resume { path: path.to_owned(), reason: error.to_string() };
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let time_column = R::COLUMNS.iter().position(|name| *name == "time" || *name == "created");
    let (mut end, mut bytes, mut is_header) = (0, Vec::new(), format == EntryFormat::Csv);
    loop {
        bytes.clear();
        // A line feed between quotation marks belongs to a text of CSV.
        loop {
            let begins = bytes.len();
            file.read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.len() == begins || bytes.last() != Some(&b'\n') {
                return Ok(());
            }
            if format == EntryFormat::Ndjson || bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
                break;
            }
        }
        end += u64::try_from(bytes.len()).unwrap_or(0);
        let (id, time) = match format {
            EntryFormat::Ndjson => {
                let known: Option<EntryMembers> = serde_json::from_slice(&bytes).ok();
                (known.as_ref().map(|known| known.id), known.and_then(|known| known.time))
            }
            EntryFormat::Csv => {
                let cells = cells(&bytes);
                let number = |column: usize| cells.as_ref()?.get(column)?.parse().ok();
                (number(0), time_column.and_then(number))
            }
        };
        each(&FileEntry { end, bytes: &bytes, is_header, id, time });
        is_header = false;
    }
}

fn cells(line: &[u8]) -> Option<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).ok()?.then_some(record)
}

/// Where the last whole entry ends. A file that was cut off is kept up to the first thing that is
/// no entry; of a file in place, everything must be one.
fn last_whole<R: Exported>(path: &Path, format: EntryFormat, cut_off: bool) -> Result<u64, ReportError> {
    let (mut end, mut is_sound, mut entries) = (0, true, 0_u64);
    each_entry::<R>(path, format, |entry| {
        let is_whole =
            if entry.is_header { is_header::<R>(entry.bytes) } else { is_entry::<R>(entry, format) };
        is_sound &= is_whole;
        if is_sound {
            end = entry.end;
            entries += u64::from(!entry.is_header);
        }
    })?;
    let length = std::fs::metadata(path).map(|metadata| metadata.len());
    let length = length.map_err(|error| output::failed(path, error))?;
    // A header alone begins anew.
    let kept = if entries == 0 { 0 } else { end };
    if (cut_off && (kept > 0 || length == 0 || is_beginning::<R>(path, format))) || end == length {
        return Ok(kept);
    }
    let reason = "it is no export of this log in this format; name another file".to_owned();
    Err(ReportError::Resume { path: path.to_owned(), reason })
}

/// True for a file that could be the torn beginning of an export: it breaks off within its header
/// or its first entry.
fn is_beginning<R: Exported>(path: &Path, format: EntryFormat) -> bool {
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1 << 10).read_to_end(&mut begin));
    let first = match format {
        EntryFormat::Ndjson => "{\"id\":".to_owned(),
        EntryFormat::Csv => R::COLUMNS.join(","),
    };
    let both = first.len().min(begin.len());
    read.is_ok() && begin.get(..both) == first.as_bytes().get(..both)
}

fn is_header<R: Exported>(line: &[u8]) -> bool {
    cells(line).is_some_and(|header| header.iter().eq(R::COLUMNS.iter().copied()))
}

fn is_entry<R: Exported>(entry: &FileEntry<'_>, format: EntryFormat) -> bool {
    entry.id.is_some()
        && match format {
            EntryFormat::Csv => cells(entry.bytes).is_some_and(|cells| cells.len() == R::COLUMNS.len()),
            EntryFormat::Ndjson => has_columns::<R>(entry.bytes),
        }
}

/// True for an exported row, and no other JSON: the columns distinguish the members.
fn has_columns<R: Exported>(line: &[u8]) -> bool {
    let members: Option<std::collections::BTreeMap<String, &RawValue>> = serde_json::from_slice(line).ok();
    members.is_some_and(|members| {
        members.len() == R::COLUMNS.len() && R::COLUMNS.iter().all(|name| members.contains_key(*name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(content: &[u8], format: EntryFormat, cut_off: bool) -> Option<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        last_whole::<ObjectRecord>(file.path(), format, cut_off).ok()
    }

    fn row(id: i64, created: i64) -> ObjectRecord {
        let data = Some("a,\"b\"\nc\n".to_owned());
        ObjectRecord { id, created: Some(created), data, ..ObjectRecord::default() }
    }

    fn exported(format: EntryFormat, rows: impl IntoIterator<Item = ObjectRecord>) -> String {
        let mut sheet = Sheet::new(Vec::new(), format, true);
        sheet.begin(ObjectRecord::COLUMNS).unwrap();
        rows.into_iter().for_each(|row| sheet.write(row).unwrap());
        String::from_utf8(sheet.writer).unwrap()
    }

    const FORMATS: [EntryFormat; 2] = [EntryFormat::Ndjson, EntryFormat::Csv];

    /// Wherever an export is cut off, going on gives each entry once.
    #[test]
    fn a_file_cut_off_anywhere_is_gone_on_with_after_a_whole_entry() {
        for format in FORMATS {
            let whole = exported(format, [row(7, 1), row(8, 1)]);
            let header = if format == EntryFormat::Csv { whole.find('\n').unwrap() + 1 } else { 0 };
            let first = header + (whole.len() - header) / 2;
            for length in 0..=whole.len() {
                let kept = end(&whole.as_bytes()[..length], format, true).unwrap();
                let expected = if length == whole.len() {
                    whole.len()
                } else if length >= first {
                    first
                } else {
                    0
                };
                assert_eq!(kept, u64::try_from(expected).unwrap(), "{format:?} cut at {length}");
                // The file in place is whole, or it is not resumed at all.
                let complete = end(&whole.as_bytes()[..length], format, false);
                let sound = [0, header, first, whole.len()].contains(&length);
                assert_eq!(complete.is_some(), sound, "{format:?} cut at {length}");
            }
            // Zeros behind the last block that was written, as a power cut leaves them.
            let mut torn = whole.clone().into_bytes();
            torn.extend([0; 4096]);
            assert_eq!(end(&torn, format, true), Some(u64::try_from(whole.len()).unwrap()));
            assert_eq!(end(&torn, format, false), None);
        }
    }

    #[test]
    fn another_file_is_not_gone_on_with() {
        for (content, format) in [
            ("id,time\n1,2\n", EntryFormat::Csv),
            ("{\"id\":1}\n", EntryFormat::Ndjson),
            ("hello\nworld\n", EntryFormat::Ndjson),
        ] {
            assert_eq!(end(content.as_bytes(), format, false), None, "{content}");
        }
        assert_eq!(end(b"", EntryFormat::Csv, false), Some(0));
    }

    #[test]
    fn the_last_hour_of_the_file_is_read_again_and_its_highest_id_is_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // A row that was shown late stands at the end; one is from the future.
        let mut rows: Vec<_> = (1..=5000).map(|id| row(id * 2, 10_000 + id)).collect();
        rows.push(row(9_000_001, i64::MAX));
        rows.push(row(7_001, 13_000));
        for format in FORMATS {
            std::fs::write(file.path(), exported(format, rows.clone())).unwrap();
            let resumed = Resumed::of::<ObjectRecord>(file.path(), format).unwrap();
            assert_eq!((resumed.highest, resumed.oldest), (Some(9_000_001), Some(10_001)));
            // The newest time is 15,000: the hour begins with row 1,400.
            assert_eq!(resumed.after, Some(2_800));
            assert_eq!(resumed.ids.len(), 3_601 + 2);
            assert!(resumed.ids.contains(&2_800) && resumed.ids.contains(&7_001));
        }
    }

    /// Copying an archive was interrupted, and the torso was taken for the whole: 3,000,000 entries
    /// became 344,730.
    #[test]
    fn a_copy_of_the_archive_that_was_interrupted_anywhere_never_counts_as_whole() {
        for format in FORMATS {
            let directory = tempfile::tempdir().unwrap();
            let target = directory.path().join("archive");
            let whole = exported(format, (1..40).map(|id| row(id, 1)));
            let more = exported(format, (1..50).map(|id| row(id, 1)));
            for torso in (0..whole.len()).step_by(7).chain([whole.len()]) {
                for suffix in [".copying", ".partial"] {
                    std::fs::write(&target, &whole).unwrap();
                    std::fs::write(beside(&target, suffix), &whole[..torso]).unwrap();
                    let unfinished = Unfinished::open::<ObjectRecord>(&target, format, true, false).unwrap();
                    assert_eq!(unfinished.resumed.highest, Some(39), "{suffix} of {torso} bytes");
                    assert_eq!(std::fs::read_to_string(&unfinished.path).unwrap(), whole);
                    std::fs::remove_file(&unfinished.path).unwrap();
                    let _ = std::fs::remove_file(beside(&target, ".copying"));
                }
            }
            // Entries that were added after the copy are kept.
            std::fs::write(beside(&target, ".partial"), &more[..more.len() - 1]).unwrap();
            let unfinished = Unfinished::open::<ObjectRecord>(&target, format, true, false).unwrap();
            assert_eq!(unfinished.resumed.highest, Some(48), "{format:?}");
        }
    }
}
