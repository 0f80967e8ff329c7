//! One Parquet file: rows in, row groups out, memory bounded by rows and by bytes.

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, SchemaRef};
use dativo_plugin::{CancelToken, Error, FileFormat, FileInfo, FileSink, Result, WriteContext};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use serde_json::Value;

use crate::durable::DurableFile;
use crate::group::{RowGroup, append};
use crate::options::ParquetOptions;
use crate::order::Order;
use crate::schedule::{Inline, Schedule, Threads};
use crate::stored::{check_values, stored_batch, stored_schema};
use crate::taken::Source;

/// Bytes handed to the operating system at a time.
const WRITE_BYTES: usize = 1 << 20;

/// The Parquet file format.
pub struct ParquetFormat;

impl FileFormat for ParquetFormat {
    const NAME: &'static str = "rust_parquet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const EXTENSION: &'static str = "parquet";
    type Sink = ParquetSink;

    fn options_schema() -> Value {
        ParquetOptions::json_schema()
    }

    fn create(path: &Path, schema: SchemaRef, options: &Value, context: WriteContext) -> Result<ParquetSink> {
        let options = ParquetOptions::from_json(options)?;
        let shown = path.display().to_string();
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| Error::io(&error, &shown))?;
        ParquetSink::new(path, file, schema, &options, context).inspect_err(|_| {
            // The file is empty and nobody knows of it yet; a failure to remove it must not hide the reason.
            drop(std::fs::remove_file(path));
        })
    }
}

/// A Parquet file being written.
pub struct ParquetSink {
    path: PathBuf,
    /// Of the file, which may differ from that of the batches.
    schema: SchemaRef,
    groups: Box<dyn Schedule>,
    order: Order,
    /// The file that row groups were last taken from.
    source: Option<Source>,
    rows: u64,
    group_rows: usize,
    group_bytes: usize,
    cancel: CancelToken,
}

impl ParquetSink {
    fn new(
        path: &Path,
        file: File,
        schema: SchemaRef,
        options: &ParquetOptions,
        context: WriteContext,
    ) -> Result<Self> {
        let shown = path.display().to_string();
        let schema = stored_schema(&schema)?;
        let converted = ArrowSchemaConverter::new().convert(&schema);
        let columns = converted.map_err(|error| from_parquet(error, &shown))?;
        let mut properties = options.properties(&columns)?;
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let pages = options.page_options()?;
        let order = Order::new(&options.sorted_by, &schema)?;
        let threads = context.parallelism.max(1);
        // Of several threads each holds the rows of a group, and those of the next one wait.
        let share = if threads == 1 { context.memory_bytes } else { context.memory_bytes / (threads + 1) };
        let group_bytes = options.row_group_bytes.min(share).max(1);
        let create = || -> std::result::Result<Box<dyn Schedule>, ParquetError> {
            let file = BufWriter::with_capacity(WRITE_BYTES, DurableFile::new(file));
            let file = SerializedFileWriter::new(file, columns.root_schema_ptr(), Arc::new(properties))?;
            let group = || RowGroup::new(&file, &schema, pages, options.own_encoders(), group_bytes / 4);
            if threads == 1 {
                let group = group()?;
                return Ok(Box::new(Inline::new(file, group)));
            }
            let groups = (0..threads).map(|_| group()).collect::<std::result::Result<_, _>>()?;
            Ok(Box::new(Threads::new(file, groups)?))
        };
        let groups = create().map_err(|error| from_parquet(error, &shown))?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            groups,
            order,
            source: None,
            rows: 0,
            group_rows: options.row_group_rows,
            group_bytes,
            cancel: context.cancel,
        })
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Adds rows to the groups, in slices: a batch may be far larger than a row group's share of memory.
    fn add(&mut self, batch: &RecordBatch) -> std::result::Result<(), ParquetError> {
        let bytes = held_bytes(batch);
        let most = (self.group_bytes / 4).max(1);
        let slice_rows = (batch.num_rows() * most).checked_div(bytes).unwrap_or(usize::MAX).max(1);
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = slice_rows.min(batch.num_rows() - start).min(self.group_rows);
            if self.groups.rows() + rows > self.group_rows {
                self.groups.end()?;
            }
            self.groups.add(batch.slice(start, rows), bytes * rows / batch.num_rows())?;
            if self.groups.bytes() >= self.group_bytes {
                self.groups.end()?;
            }
            start += rows;
        }
        Ok(())
    }
}

impl FileSink for ParquetSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.cancel.check()?;
        let batch = stored_batch(batch, &self.schema)?;
        self.order.check(&batch)?;
        self.rows += batch.num_rows() as u64;
        check_values(&batch)?;
        self.add(&batch).map_err(|error| from_parquet(error, &self.shown()))
    }

    fn take_group(&mut self, source: &Path, group: usize, places: &[usize], rows: &RecordBatch) -> Result<bool> {
        self.cancel.check()?;
        let there = source.display().to_string();
        let here = self.shown();
        let source = match self.source.take().filter(|known| known.path() == source) {
            Some(known) => known,
            None => Source::open(source).map_err(|error| from_parquet(error, &there))?,
        };
        let source = self.source.insert(source);
        if !self.order.is_empty() || !source.fits(group, &self.schema) {
            return Ok(false);
        }
        let rows = stored_batch(rows, &self.schema)?;
        check_values(&rows)?;
        if self.groups.rows() > 0 {
            self.groups.end().map_err(|error| from_parquet(error, &here))?;
        }
        let Some((encoders, file)) = self.groups.alone().filter(|(_, file)| source.has_columns(file.schema_descr()))
        else {
            return Ok(false);
        };
        let columns = source.group(group, places, &rows, encoders).map_err(|error| from_parquet(error, &there))?;
        append(file, columns).map_err(|error| from_parquet(error, &here))?;
        self.rows += source.rows(group) as u64;
        Ok(true)
    }

    fn bytes_written(&self) -> u64 {
        (self.groups.written() + self.groups.bytes()) as u64
    }

    fn finish(mut self: Box<Self>) -> Result<FileInfo> {
        let end = if self.groups.rows() > 0 { self.groups.end() } else { Ok(()) };
        let path = self.shown();
        let done = end.and_then(|()| self.groups.finish()).map_err(|error| from_parquet(error, &path))?;
        Ok(FileInfo { path, rows: self.rows, bytes: done.bytes, row_groups: done.row_groups as u64 })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&error, &self.shown())),
            _ => Ok(()),
        }
    }
}

/// Bytes of a batch's own rows: its buffers may be those of a larger table.
fn held_bytes(batch: &RecordBatch) -> usize {
    let bytes = |rows: &ArrayRef| match rows.data_type() {
        DataType::Utf8View => rows.as_string_view().total_buffer_bytes_used() + 16 * rows.len(),
        DataType::BinaryView => rows.as_binary_view().total_buffer_bytes_used() + 16 * rows.len(),
        _ => rows.to_data().get_slice_memory_size().unwrap_or_else(|_| rows.get_array_memory_size()),
    };
    batch.columns().iter().map(bytes).sum()
}

/// The parquet crate's error as ours: what the operating system said keeps its meaning.
fn from_parquet(error: ParquetError, path: &str) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => Error::io(&io, path),
            Err(other) => Error::plugin(format!("{path}: {other}")).at("file", path),
        },
        ParquetError::NYI(what) => Error::configuration(format!("Parquet cannot hold this: {what}"))
            .hint("cast the column to another type in the contract")
            .at("file", path),
        other => Error::plugin(format!("{path}: {other}")).at("file", path),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let names: ArrayRef = Arc::new(StringArray::from_iter((0..rows).map(|i| (i % 7 > 0).then(|| format!("n{i}")))));
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).expect("a batch")
    }

    fn write(options: Value, batches: &[RecordBatch]) -> (FileInfo, Vec<RecordBatch>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let schema = batches[0].schema();
        let sink = ParquetFormat::create(&path, schema, &options, WriteContext::default());
        let mut sink = Box::new(sink.expect("a sink"));
        for batch in batches {
            sink.write(batch).expect("written");
        }
        let info = sink.finish().expect("finished");
        let file = File::open(&path).expect("the file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let found = reader.with_batch_size(1 << 20).build().expect("a reader").collect::<std::result::Result<_, _>>();
        (info, found.expect("batches"))
    }

    #[test]
    fn an_order_is_written_where_the_rows_have_it() {
        let rows = batch(50_000);
        let options = json!({"sorted_by": [{"column": "id"}], "row_group_rows": 20_000});
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let sink = ParquetFormat::create(&path, rows.schema(), &options, WriteContext::default());
        let mut sink = Box::new(sink.expect("a sink"));
        sink.write(&rows.slice(0, 30_000)).expect("written");
        sink.write(&rows.slice(30_000, 20_000)).expect("written");
        let late = sink.write(&rows.slice(7, 1)).expect_err("a row that comes too late");
        assert_eq!((late.error_code.as_str(), late.details["row"].as_u64()), ("NOT_SORTED", Some(50_001)));
        sink.finish().expect("finished");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("a file")).expect("Parquet");
        for group in reader.metadata().row_groups() {
            let sorting = group.sorting_columns().expect("an order");
            assert_eq!((sorting[0].column_idx, sorting[0].descending), (0, false));
        }
        for keys in [json!([{"column": "x"}]), json!([{"column": "id", "descending": true}])] {
            let path = folder.path().join("y.parquet");
            let sink =
                ParquetFormat::create(&path, rows.schema(), &json!({"sorted_by": keys}), WriteContext::default());
            assert!(sink.and_then(|mut sink| sink.write(&rows)).is_err(), "{keys}");
        }
    }

    #[test]
    fn every_codec_and_compatibility_reads_back_equal() {
        let rows = batch(10_000);
        for compression in ["zstd", "snappy", "lz4_raw", "gzip", "none"] {
            for compatibility in ["modern", "legacy"] {
                let options = json!({"compression": compression, "compatibility": compatibility});
                let (info, found) = write(options, std::slice::from_ref(&rows));
                assert_eq!(info.rows, 10_000);
                assert_eq!(found, vec![rows.clone()]);
            }
        }
    }

    #[test]
    fn row_groups_are_bounded_by_rows_and_by_bytes() {
        let (by_rows, _) = write(json!({"row_group_rows": 1000}), &[batch(3500)]);
        assert_eq!(by_rows.row_groups, 4);
        let limit = 1 << 16;
        let (by_bytes, found) = write(json!({"row_group_bytes": limit}), &[batch(100_000)]);
        assert!(by_bytes.row_groups > 1, "{} row groups", by_bytes.row_groups);
        assert!(by_bytes.bytes / by_bytes.row_groups < limit * 3 / 2, "{by_bytes:?}");
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
    }

    #[test]
    fn no_rows_make_a_valid_file() {
        let (info, found) = write(json!({}), &[batch(0)]);
        assert_eq!((info.rows, info.row_groups, found.len()), (0, 0, 0));
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = ParquetOptions::from_json(&json!({"compresion": "zstd"})).expect_err("refused");
        assert_eq!(error.kind, dativo_plugin::Kind::ConfigurationError);
    }

    #[test]
    fn an_existing_file_is_never_overwritten_and_abort_removes_only_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let make = || ParquetFormat::create(&path, batch(1).schema(), &json!({}), WriteContext::default());
        let first = make().expect("a sink");
        assert!(make().is_err());
        Box::new(first).abort().expect("aborted");
        assert!(!path.exists());
    }

    #[test]
    fn a_cancelled_write_stops() {
        let folder = tempfile::tempdir().expect("a folder");
        let context = WriteContext::default();
        let cancel = context.cancel.clone();
        let path = folder.path().join("x.parquet");
        let mut sink = ParquetFormat::create(&path, batch(1).schema(), &json!({}), context).expect("a sink");
        cancel.cancel();
        assert_eq!(sink.write(&batch(1)).expect_err("cancelled").kind, dativo_plugin::Kind::CancelledError);
    }
}
