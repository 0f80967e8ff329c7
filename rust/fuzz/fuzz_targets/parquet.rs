//! Any columns are read back equal by the parquet crate, whatever the sizes of pages, row groups and batches.
#![no_main]

mod source;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use dativo_plugin::{FileFormat, FileSink, WriteContext};
use dativo_rust_parquet::ParquetFormat;
use libfuzzer_sys::fuzz_target;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use source::Source;

fn column(source: &mut Source, kind: u8, rows: usize) -> ArrayRef {
    macro_rules! of {
        ($array:ty, $make:expr) => {
            Arc::new((0..rows).map(|_| source.maybe($make)).collect::<$array>())
        };
    }
    match kind % 9 {
        0 => of!(Int64Array, Source::number),
        1 => of!(Int8Array, |source| source.number() as i8),
        2 => of!(UInt32Array, |source| source.number() as u32),
        3 => of!(Float64Array, |source| f64::from_bits(source.number() as u64)),
        4 => of!(BooleanArray, |source| source.byte() > 100),
        5 => of!(Date32Array, |source| source.number() as i32),
        6 => of!(TimestampNanosecondArray, Source::number),
        7 => of!(StringArray, Source::text),
        _ => Arc::new(BinaryArray::from_iter((0..rows).map(|_| source.maybe(|source| source.text().into_bytes())))),
    }
}

fn read(path: &Path, rows: usize) -> Vec<RecordBatch> {
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("Parquet");
    file.with_batch_size(rows.max(1)).build().expect("a reader").map(|batch| batch.expect("a batch")).collect()
}

fuzz_target!(|input: &[u8]| {
    let [codec, page_rows, group_rows, dictionary_bytes, batch_rows, kind, other, values @ ..] = input else { return };
    let rows = values.len().min(3000);
    let mut source = Source(values);
    let columns = [("a", column(&mut source, *kind, rows)), ("b", column(&mut source, *other, rows))];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).expect("a batch");
    let codec = ["snappy", "zstd", "lz4_raw", "gzip", "none"][usize::from(codec % 5)];
    let options = json!({
        "compression": codec,
        "page_rows": 1 + usize::from(*page_rows),
        "row_group_rows": 1 + 8 * usize::from(*group_rows),
        "dictionary_bytes": 16 * usize::from(*dictionary_bytes),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.parquet");
    let sink = ParquetFormat::create(&path, batch.schema(), &options, WriteContext::default());
    let mut sink = Box::new(sink.expect("a sink"));
    let step = 1 + 4 * usize::from(*batch_rows);
    for start in (0..rows).step_by(step) {
        sink.write(&batch.slice(start, step.min(rows - start))).expect("written");
    }
    sink.finish().expect("finished");
    let found = read(&path, rows);
    let found = if rows == 0 { vec![batch.slice(0, 0)] } else { found };
    assert_eq!(format!("{found:?}"), format!("{:?}", [batch]));
});
