//! One Parquet file: rows in, row groups out, memory bounded by rows and by bytes.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dativo_plugin::{CancelToken, Error, FileFormat, FileInfo, FileSink, Result, WriteContext};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use serde_json::Value;

use crate::options::ParquetOptions;

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
        let properties = options.properties()?;
        let shown = path.display().to_string();
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| Error::io(&error, &shown))?;
        let opened = ArrowWriter::try_new(file, schema, Some(properties));
        let writer = match opened {
            Ok(writer) => writer,
            Err(error) => {
                // The file is empty and nobody knows of it yet; a failure to remove it must not hide the reason.
                drop(std::fs::remove_file(path));
                return Err(from_parquet(error, &shown));
            }
        };
        Ok(ParquetSink {
            path: path.to_owned(),
            writer,
            rows: 0,
            group_bytes: options.row_group_bytes.min(context.memory_bytes),
            cancel: context.cancel,
        })
    }
}

/// A Parquet file being written.
pub struct ParquetSink {
    path: PathBuf,
    writer: ArrowWriter<File>,
    rows: u64,
    group_bytes: usize,
    cancel: CancelToken,
}

impl ParquetSink {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

impl FileSink for ParquetSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        // A batch may be far larger than a row group's share of memory: hand it over in slices.
        let slice_rows = (batch.num_rows() * (self.group_bytes / 4).max(1))
            .checked_div(batch.get_array_memory_size())
            .unwrap_or(batch.num_rows())
            .clamp(1, batch.num_rows().max(1));
        let mut start = 0;
        while start < batch.num_rows() {
            self.cancel.check()?;
            let rows = slice_rows.min(batch.num_rows() - start);
            self.writer.write(&batch.slice(start, rows)).map_err(|error| from_parquet(error, &self.shown()))?;
            start += rows;
            self.rows += rows as u64;
            if self.writer.memory_size() >= self.group_bytes {
                self.writer.flush().map_err(|error| from_parquet(error, &self.shown()))?;
            }
        }
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    fn finish(mut self: Box<Self>) -> Result<FileInfo> {
        let path = self.shown();
        let footer = self.writer.finish().map_err(|error| from_parquet(error, &path))?;
        let file = self.writer.inner();
        file.sync_all().map_err(|error| Error::io(&error, &path))?;
        let bytes = file.metadata().map_err(|error| Error::io(&error, &path))?.len();
        Ok(FileInfo { path, rows: self.rows, bytes, row_groups: footer.num_row_groups() as u64 })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&error, &self.shown())),
            _ => Ok(()),
        }
    }
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
        let (by_bytes, found) = write(json!({"row_group_bytes": 1 << 16}), &[batch(100_000)]);
        assert!(by_bytes.row_groups > 5, "{} row groups", by_bytes.row_groups);
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
