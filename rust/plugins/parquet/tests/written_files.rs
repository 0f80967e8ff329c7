//! Files written here, read back with the parquet crate's reader and measured by its own writer.

#![allow(clippy::unwrap_used)]

mod arrays;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrays::{HOLES, SHAPES, arrays};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, TimestampMillisecondType, TimestampSecondType,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use arrow_select::concat::concat_batches;
use dativo_plugin::{FileFormat, FileSink, WriteContext};
use dativo_rust_parquet::ParquetFormat;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use serde_json::{Value, json};

fn batch(columns: &[(String, ArrayRef)]) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn write(path: &Path, options: &Value, context: WriteContext, batches: &[RecordBatch]) {
    let sink = ParquetFormat::create(path, batches[0].schema(), options, context).unwrap();
    let mut sink = Box::new(sink);
    batches.iter().for_each(|batch| sink.write(batch).unwrap());
    let info = sink.finish().unwrap();
    assert_eq!(info.rows as usize, batches.iter().map(RecordBatch::num_rows).sum::<usize>());
    assert_eq!(info.bytes, path.metadata().unwrap().len());
}

fn open(path: &Path) -> ParquetRecordBatchReaderBuilder<File> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path).unwrap(), options).unwrap()
}

fn read(path: &Path, selection: Option<RowSelection>) -> RecordBatch {
    let builder = open(path);
    let schema = builder.schema().clone();
    let builder = builder.with_batch_size(1 << 16);
    let builder = match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    };
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(|batch| batch.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn assert_same(found: &RecordBatch, wanted: &RecordBatch, case: &str) {
    assert_eq!(found.num_rows(), wanted.num_rows(), "{case}");
    for (position, field) in wanted.schema().fields().iter().enumerate() {
        assert_eq!(found.column(position), &stored(wanted.column(position)), "{case}: {field}");
    }
}

/// A column as Parquet has it: without seconds, and without dates of 64 bits.
fn stored(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Date64 => {
            Arc::new(array.as_primitive::<Date64Type>().unary::<_, Date32Type>(|ms| (ms / 86_400_000) as i32))
        }
        DataType::Time32(TimeUnit::Second) => {
            Arc::new(array.as_primitive::<Time32SecondType>().unary::<_, Time32MillisecondType>(|s| s * 1000))
        }
        DataType::Timestamp(TimeUnit::Second, zone) => {
            let scaled = array.as_primitive::<TimestampSecondType>().unary::<_, TimestampMillisecondType>(|s| s * 1000);
            Arc::new(scaled.with_timezone_opt(zone.clone()))
        }
        _ => array.clone(),
    }
}

#[test]
fn every_type_shape_and_null_pattern_reads_back_equal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for shape in SHAPES {
        for holes in HOLES {
            for (rows, offset) in [(1, 0), (2, 5), (33, 0), (129, 3), (2000, 1), (5001, 0)] {
                let case = format!("{shape}, nulls {holes}, {rows} rows from {offset}");
                let wanted = batch(&arrays(shape, holes, rows, offset));
                let options = json!({"compression": "snappy", "page_rows": 1000, "row_group_rows": 3500});
                write(&path, &options, WriteContext::default(), std::slice::from_ref(&wanted));
                assert_same(&read(&path, None), &wanted, &case);
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}

#[test]
fn rows_are_found_by_the_page_index() {
    let folder = tempfile::tempdir().unwrap();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.parquet"));
        let wanted = batch(&arrays(shape, "every third", 5000, 0));
        write(&path, &json!({"page_rows": 300}), WriteContext::default(), std::slice::from_ref(&wanted));
        let selection = vec![
            RowSelector::skip(299),
            RowSelector::select(2),
            RowSelector::skip(3000),
            RowSelector::select(1000),
            RowSelector::skip(699),
        ];
        let parts = [wanted.slice(299, 2), wanted.slice(3301, 1000)];
        let wanted = concat_batches(&wanted.schema(), &parts).unwrap();
        assert_same(&read(&path, Some(selection.into())), &wanted, shape);
    }
}

#[test]
fn small_batches_threads_and_codecs_make_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = batch(&arrays("few", "every third", 20_000, 0));
    let pieces: Vec<RecordBatch> =
        (0..wanted.num_rows()).step_by(700).map(|start| wanted.slice(start, 700.min(20_000 - start))).collect();
    for codec in ["none", "snappy", "zstd", "lz4_raw", "gzip"] {
        for parallelism in [1, 3] {
            let path = folder.path().join(format!("{codec}{parallelism}.parquet"));
            let context = WriteContext { parallelism, ..WriteContext::default() };
            write(&path, &json!({"compression": codec}), context, &pieces);
            assert_same(&read(&path, None), &wanted, codec);
            let pages = metadata(&path).page_index_for_row_group(0).offset_index(0).unwrap().page_locations().len();
            assert!(pages <= 20_000 / 4096 + 1, "{pages} pages of 29 batches: small ones are joined");
        }
    }
}

#[test]
fn a_dictionary_that_grows_too_large_ends_in_other_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let few = batch(&arrays("few", "none", 10_000, 0));
    let many = batch(&arrays("many", "every third", 10_000, 0));
    let options = json!({"dictionary_bytes": 2000, "page_rows": 2500});
    write(&path, &options, WriteContext::default(), &[few.clone(), many.clone()]);
    assert_same(&read(&path, None), &concat_batches(&few.schema(), &[few.clone(), many]).unwrap(), "overflow");
}

/// What the crate's own writer says of the same rows.
fn write_with_crate(path: &Path, rows: &RecordBatch, page_rows: usize) {
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

fn metadata(path: &Path) -> Arc<ParquetMetaData> {
    open(path).metadata().clone()
}

/// Types that the crate encodes in both files, cutting pages at other rows.
const CRATE_WRITES: [&str; 6] =
    ["Float16Type", "Date64Type", "Time32SecondType", "TimestampSecondType", "DurationMicrosecondType", "decimal38"];

#[test]
fn statistics_and_page_index_are_those_of_the_crate() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (shape, holes)) in SHAPES.into_iter().flat_map(|shape| HOLES.map(|holes| (shape, holes))).enumerate() {
        let mut columns = arrays(shape, holes, 4000, 0);
        columns.retain(|(name, _)| !CRATE_WRITES.contains(&name.as_str()));
        let rows = batch(&columns);
        let (ours, theirs) = (folder.path().join(format!("{number}a")), folder.path().join(format!("{number}b")));
        write(&ours, &json!({"page_rows": 1000}), WriteContext::default(), std::slice::from_ref(&rows));
        write_with_crate(&theirs, &rows, 1000);
        let (ours, theirs) = (metadata(&ours), metadata(&theirs));
        assert_eq!(ours.file_metadata().schema_descr(), theirs.file_metadata().schema_descr());
        for (position, field) in rows.schema().fields().iter().enumerate() {
            let case = format!("{shape}, nulls {holes}: {field}");
            let (our_chunk, their_chunk) = (ours.row_group(0).column(position), theirs.row_group(0).column(position));
            assert_eq!(our_chunk.statistics(), their_chunk.statistics(), "{case}");
            assert_eq!(our_chunk.num_values(), their_chunk.num_values(), "{case}");
            let (our_pages, their_pages) = (ours.page_index_for_row_group(0), theirs.page_index_for_row_group(0));
            assert_eq!(our_pages.column_index(position), their_pages.column_index(position), "{case}");
            let first_rows = |pages: &RowGroupPageIndex| -> Vec<i64> {
                let pages = pages.offset_index(position).unwrap().page_locations();
                pages.iter().map(|page| page.first_row_index).collect()
            };
            assert_eq!(first_rows(&our_pages), first_rows(&their_pages), "{case}");
        }
    }
}

#[test]
fn columns_that_must_have_values_have_no_levels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let columns = arrays("many", "none", 3000, 2);
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), false)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let wanted = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    write(&path, &json!({}), WriteContext::default(), std::slice::from_ref(&wanted));
    assert_same(&read(&path, None), &wanted, "required");
}

#[test]
fn nested_columns_beside_flat_ones_and_many_row_groups() {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::{DictionaryArray, Int64Array, StructArray, types::Int32Type};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let mut lists = ListBuilder::new(Int64Builder::new());
    (0..5000).for_each(|row| lists.append_option((row % 7 > 0).then(|| (0..row % 4).map(Some))));
    let lists: ArrayRef = Arc::new(lists.finish());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5000));
    let names: DictionaryArray<Int32Type> = (0..5000).map(|row| ["a", "b", "c"][row % 3]).collect();
    let (inner, field) = (ids.clone(), Arc::new(Field::new("inner", DataType::Int64, true)));
    let pairs: ArrayRef = Arc::new(StructArray::from(vec![(field.clone(), inner.clone()), (field, inner)]));
    let columns = [("lists", lists), ("ids", ids), ("pairs", pairs), ("names", Arc::new(names) as ArrayRef)];
    let wanted = batch(&columns.map(|(name, array)| (name.to_owned(), array)));
    for parallelism in [1, 2, 7] {
        let context = WriteContext { parallelism, ..WriteContext::default() };
        write(&path, &json!({"row_group_rows": 1100}), context, std::slice::from_ref(&wanted));
        assert_same(&read(&path, None), &wanted, "nested");
        assert_eq!(metadata(&path).num_row_groups(), 5);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn without_statistics_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let rows = batch(&arrays("few", "every third", 3000, 0));
    for (level, chunk, page) in [("none", false, false), ("chunk", true, false), ("page", true, true)] {
        let path = folder.path().join(level);
        write(&path, &json!({"statistics": level}), WriteContext::default(), std::slice::from_ref(&rows));
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let column = reader.metadata().row_group(0).column(0).clone();
        assert_eq!(column.statistics().is_some(), chunk, "{level}");
        assert_eq!(column.column_index_offset().is_some(), page, "{level}");
    }
}
