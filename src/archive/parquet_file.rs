//! Writes rows as typed columns into one Parquet file.
//!
//! Promises: the rows stand in the file in the order in which they were given; a file that was not
//! finished has no footer, and no reader takes it for a whole one; at most one row group
//! ([`GROUP_ROWS`], [`GROUP_TEXT_BYTES`]) is held in memory. Columns are buffered as numbers and
//! as bytes beside each other, never as a value of JSON or a row. The module knows neither files
//! nor directories: it writes to anything that takes bytes.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type as SchemaType};

use super::columns::{ArchivedColumn, ArchivedRow, ColumnValue};

/// The most rows of a row group. Readers skip whole groups by their statistics, and read several at
/// a time.
const GROUP_ROWS: usize = 131_072;

/// A row group also ends when its texts have more bytes: with long metadata, the rows above would
/// be gigabytes.
const GROUP_TEXT_BYTES: usize = 32 * 1024 * 1024;

/// Rows that the encoder gets at a time: it wants each text as a value of 32 bytes beside its bytes,
/// which for a whole group would be as much as the texts themselves.
const ENCODED_ROWS: usize = 4096;

/// The definition level of a null and of a value, in a column that is one level deep.
const NULL: i16 = 0;
const VALUE: i16 = 1;

/// The labels of the rows in the footer of a file, so that nobody joins pseudonyms with names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileLabels<'a> {
    /// `masked`, `full` or `none`.
    pub(crate) identities: &'a str,
}

/// A file that grows, with rows of type `R`.
pub(crate) struct ParquetFile<R: 'static, W: Write + Send> {
    writer: SerializedFileWriter<W>,
    buffers: Vec<(&'static ArchivedColumn<R>, ColumnBuffer)>,
    group_rows: usize,
    group_text_bytes: usize,
    /// The rows of all groups.
    rows: u64,
}

/// The values of one column of a row group.
struct ColumnBuffer {
    is_nullable: bool,
    /// Whether each row has a value; empty where the column is never null.
    levels: Vec<i16>,
    values: BufferedValues,
}

/// The values that are not null.
enum BufferedValues {
    Integers(Vec<i64>),
    /// One text after the other, and the bytes of each.
    Texts(Vec<u8>, Vec<usize>),
}

impl<R: ArchivedRow, W: Write + Send> ParquetFile<R, W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of `to`.
    pub(crate) fn new(to: W, labels: FileLabels<'_>) -> io::Result<ParquetFile<R, W>> {
        let schema = schema::<R>().map_err(failed)?;
        let properties = Arc::new(properties::<R>(labels).map_err(failed)?);
        let writer = SerializedFileWriter::new(to, Arc::new(schema), properties).map_err(failed)?;
        let buffers = R::COLUMNS.iter().map(|column| (column, ColumnBuffer::of(column))).collect();
        Ok(ParquetFile { writer, buffers, group_rows: 0, group_text_bytes: 0, rows: 0 })
    }

    /// Takes the next row. Ids have to ascend.
    ///
    /// # Errors
    /// Those of the destination; the file cannot be continued after one.
    pub(crate) fn push(&mut self, row: &R) -> io::Result<()> {
        for (column, buffer) in &mut self.buffers {
            match column.value {
                ColumnValue::Id => buffer.integer(Some(row.id())),
                ColumnValue::Integer(value) => buffer.integer(value(row)),
                // A time beyond the year 294,000 is no time.
                ColumnValue::Time(value) => {
                    buffer.integer(value(row).and_then(|seconds| seconds.checked_mul(1_000_000)));
                }
                ColumnValue::Text(value) => self.group_text_bytes += buffer.text(value(row)),
                ColumnValue::Extra => self.group_text_bytes += buffer.text(row.extra().as_deref()),
            }
        }
        self.group_rows += 1;
        self.rows += 1;
        if self.group_rows >= GROUP_ROWS || self.group_text_bytes >= GROUP_TEXT_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// The number of rows so far.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the last row group and the footer, without which there is no file, and gives back
    /// what was written to.
    ///
    /// # Errors
    /// As [`ParquetFile::push`].
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_group()?;
        self.writer.into_inner().map_err(failed)
    }

    /// The bytes of texts that are held in memory.
    pub(super) const fn buffered_text(&self) -> usize {
        self.group_text_bytes
    }

    /// Writes the rows that are held in memory.
    ///
    /// # Errors
    /// As [`ParquetFile::push`].
    pub(super) fn end_group(&mut self) -> io::Result<()> {
        if self.group_rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for (_, buffer) in &mut self.buffers {
            let column = group.next_column().map_err(failed)?;
            let mut column = column.ok_or_else(|| io::Error::other("the schema has too few columns"))?;
            buffer.write_to(&mut column).map_err(failed)?;
            column.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        (self.group_rows, self.group_text_bytes) = (0, 0);
        Ok(())
    }

    /// Writes the rows that are held in memory, and gives the memory back: no more rows are expected.
    ///
    /// # Errors
    /// As [`ParquetFile::push`].
    pub(super) fn rest(&mut self) -> io::Result<()> {
        self.end_group()?;
        self.buffers.iter_mut().for_each(|(column, buffer)| *buffer = ColumnBuffer::of(column));
        Ok(())
    }
}

impl ColumnBuffer {
    fn of<R>(column: &ArchivedColumn<R>) -> ColumnBuffer {
        let values = match column.value {
            ColumnValue::Id | ColumnValue::Integer(_) | ColumnValue::Time(_) => {
                BufferedValues::Integers(Vec::new())
            }
            ColumnValue::Text(_) | ColumnValue::Extra => BufferedValues::Texts(Vec::new(), Vec::new()),
        };
        let is_nullable = !matches!(column.value, ColumnValue::Id);
        ColumnBuffer { is_nullable, levels: Vec::new(), values }
    }

    fn level(&mut self, is_value: bool) {
        if self.is_nullable {
            self.levels.push(if is_value { VALUE } else { NULL });
        }
    }

    fn integer(&mut self, value: Option<i64>) {
        self.level(value.is_some());
        if let (BufferedValues::Integers(values), Some(value)) = (&mut self.values, value) {
            values.push(value);
        }
    }

    /// Takes a text, and gives its length.
    fn text(&mut self, value: Option<&str>) -> usize {
        self.level(value.is_some());
        if let (BufferedValues::Texts(bytes, lengths), Some(value)) = (&mut self.values, value) {
            bytes.extend_from_slice(value.as_bytes());
            lengths.push(value.len());
        }
        value.map_or(0, str::len)
    }

    /// Writes the values and forgets them; the memory is kept for the next group. Given back each
    /// time, it would lie in pieces between other allocations.
    fn write_to(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.is_nullable.then_some(&self.levels[..]);
        match &mut self.values {
            BufferedValues::Integers(values) => {
                column.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            BufferedValues::Texts(bytes, lengths) => {
                let column = column.typed::<ByteArrayType>();
                let (mut bytes_left, mut lengths_left) = (bytes.as_slice(), lengths.as_slice());
                let mut texts: Vec<ByteArray> = Vec::with_capacity(ENCODED_ROWS);
                for levels in self.levels.chunks(ENCODED_ROWS) {
                    let values = levels.iter().filter(|level| **level == VALUE).count();
                    let of_chunk = lengths_left.split_off(..values).unwrap_or_default();
                    let size = of_chunk.iter().sum();
                    // Each text is a view of the same bytes.
                    let mut shared = Bytes::copy_from_slice(bytes_left.split_off(..size).unwrap_or_default());
                    texts.extend(of_chunk.iter().map(|length| ByteArray::from(shared.split_to(*length))));
                    column.write_batch(&texts, Some(levels), None)?;
                    texts.clear();
                }
                bytes.clear();
                lengths.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

fn schema<R: ArchivedRow>() -> Result<SchemaType, ParquetError> {
    let column = |column: &ArchivedColumn<R>| {
        let (physical, logical) = match column.value {
            ColumnValue::Id | ColumnValue::Integer(_) => (PhysicalType::INT64, None),
            ColumnValue::Time(_) => {
                (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
            }
            ColumnValue::Text(_) | ColumnValue::Extra => {
                (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
            }
        };
        let repetition = match column.value {
            ColumnValue::Id => Repetition::REQUIRED,
            _ => Repetition::OPTIONAL,
        };
        let column = SchemaType::primitive_type_builder(column.name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()?;
        Ok(Arc::new(column))
    };
    let columns = R::COLUMNS.iter().map(column).collect::<Result<Vec<_>, ParquetError>>()?;
    SchemaType::group_type_builder(R::TABLE).with_fields(columns).build()
}

fn properties<R: ArchivedRow>(labels: FileLabels<'_>) -> Result<WriterProperties, ParquetError> {
    let label = |name: &str, value: &str| KeyValue::new(name.to_owned(), value.to_owned());
    let by_id = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(vec![by_id]))
        .set_key_value_metadata(Some(vec![
            label("cryptolens_exporter.version", env!("CARGO_PKG_VERSION")),
            label("cryptolens_exporter.identities", labels.identities),
        ]));
    // These ascend or nearly do: a dictionary would be as long as the column.
    for column in R::COLUMNS {
        if matches!(column.value, ColumnValue::Id | ColumnValue::Time(_)) {
            let path = ColumnPath::from(column.name);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

/// The error of the destination, or of the crate.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::{Field, RowAccessor as _};
    use parquet::schema::printer::print_schema;

    use super::*;
    use crate::archive::{ArchivedEvent, ArchivedObject, ArchivedRequest};

    const LABELS: FileLabels<'static> = FileLabels { identities: "masked" };

    fn file<R: ArchivedRow>(rows: impl IntoIterator<Item = R>) -> SerializedFileReader<Bytes> {
        let mut file = ParquetFile::new(Vec::new(), LABELS).unwrap();
        rows.into_iter().for_each(|row| file.push(&row).unwrap());
        SerializedFileReader::new(Bytes::from(file.finish().unwrap())).unwrap()
    }

    /// A changed column would break every query over old and new files.
    #[test]
    fn the_columns_are_those_of_the_golden_file() {
        let mut schemas = Vec::new();
        for reader in [file::<ArchivedRequest>([]), file::<ArchivedEvent>([]), file::<ArchivedObject>([])] {
            print_schema(&mut schemas, reader.metadata().file_metadata().schema());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/archive-schema.txt");
        expect_test::expect_file![path].assert_eq(&String::from_utf8(schemas).unwrap());
    }

    #[test]
    fn every_value_comes_back_and_every_null_is_one() {
        let full = ArchivedRequest {
            id: 9_007_199_254_740_992,
            product_id: Some(3349),
            key: Some("ÄÖ\n\u{0}".to_owned()),
            ip: Some("10.0.0.0".to_owned()),
            time: Some(1_767_571_200),
            state: Some(2014),
            machine_code: Some("m".to_owned()),
            friendly_name: Some("n".to_owned()),
            floating_expires: Some(i64::MAX),
            do_int_value: Some(i64::MIN),
            do_id: Some(0),
            extra: serde_json::json!({"b": 1, "a": [2]}).as_object().cloned().unwrap(),
        };
        let reader = file([ArchivedRequest::default(), full]);
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let null = |index: usize| matches!(rows[0].get_column_iter().nth(index), Some((_, Field::Null)));
        let nulls: Vec<usize> = (0..rows[0].len()).filter(|index| null(*index)).collect();
        // All but the id, and what a state that is missing means.
        assert_eq!(nulls, [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(rows[0].get_string(3).unwrap(), "unknown");
        assert_eq!(rows[1].get_long(0).unwrap(), 1 << 53);
        assert_eq!(rows[1].get_timestamp_micros(1).unwrap(), 1_767_571_200_000_000);
        assert_eq!(rows[1].get_string(3).unwrap(), "activation");
        assert_eq!(rows[1].get_string(4).unwrap(), "success");
        assert_eq!(rows[1].get_string(6).unwrap(), "ÄÖ\n\u{0}");
        assert!(matches!(rows[1].get_column_iter().nth(10), Some((_, Field::Null))), "no such time");
        assert_eq!(rows[1].get_long(11).unwrap(), i64::MIN);
        assert_eq!(rows[1].get_string(13).unwrap(), r#"{"a":[2],"b":1}"#);
    }

    /// Texts are given to the encoder in pieces, and a file that rests goes on with another group.
    #[test]
    fn texts_and_nulls_of_many_rows_come_back_in_order_also_after_a_rest() {
        let (count, rest) = (3 * ENCODED_ROWS + 7, ENCODED_ROWS + 1);
        let text =
            |index: usize| (!index.is_multiple_of(3)).then(|| format!("{}{index}", "ä".repeat(index % 11)));
        let mut file = ParquetFile::new(Vec::new(), LABELS).unwrap();
        for index in 0..count {
            if index == rest {
                file.rest().unwrap();
                file.rest().unwrap();
            }
            let id = i64::try_from(index).unwrap();
            file.push(&ArchivedObject { id, data: text(index), ..Default::default() }).unwrap();
        }
        let reader = SerializedFileReader::new(Bytes::from(file.finish().unwrap())).unwrap();
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [rest, count - rest].map(|rows| i64::try_from(rows).unwrap()));
        let mut rows = 0;
        for (index, row) in reader.get_row_iter(None).unwrap().map(Result::unwrap).enumerate() {
            assert_eq!(row.get_long(0).unwrap(), i64::try_from(index).unwrap());
            match text(index) {
                Some(text) => assert_eq!(row.get_string(7).unwrap(), &text),
                None => assert!(matches!(row.get_column_iter().nth(7), Some((_, Field::Null)))),
            }
            rows += 1;
        }
        assert_eq!(rows, count);
    }

    #[test]
    fn row_groups_end_by_rows_and_by_bytes() {
        let count = 2 * GROUP_ROWS + 5;
        let row = |index: usize| ArchivedObject { id: i64::try_from(index).unwrap(), ..Default::default() };
        let reader = file((0..count).map(row));
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        let whole = i64::try_from(GROUP_ROWS).unwrap();
        assert_eq!(groups, [whole, whole, 5]);
        let statistics = reader.metadata().row_group(1).column(0).statistics().unwrap();
        assert_eq!(statistics.min_bytes_opt(), Some(&whole.to_le_bytes()[..]));
        for (column, encoding) in [(0, Encoding::DELTA_BINARY_PACKED), (1, Encoding::DELTA_BINARY_PACKED)] {
            let chunk = reader.metadata().row_group(0).column(column);
            assert!(chunk.encodings().any(|used| used == encoding), "column {column}");
            assert!(matches!(chunk.compression(), Compression::ZSTD(_)));
        }

        let long = "x".repeat(GROUP_TEXT_BYTES / 4);
        let row = |id: i64| ArchivedObject { id, data: Some(long.clone()), ..Default::default() };
        let reader = file((0..9).map(row));
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [4, 4, 1]);
    }

    #[test]
    fn the_footer_says_whether_names_are_masked() {
        let reader = file::<ArchivedEvent>([]);
        let labels = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let identities = labels.iter().find(|label| label.key == "cryptolens_exporter.identities").unwrap();
        assert_eq!(identities.value.as_deref(), Some("masked"));
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }

    /// A full disk and a broken file are different errors.
    #[test]
    fn an_error_of_the_destination_keeps_its_kind() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let error = ParquetFile::<ArchivedEvent, _>::new(Full, LABELS)
            .and_then(|mut file| file.push(&ArchivedEvent::default()).map(|()| file))
            .and_then(ParquetFile::finish)
            .err()
            .map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::StorageFull));
    }
}
