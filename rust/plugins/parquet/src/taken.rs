//! Row groups of another file, some of their rows replaced: a column that no row of it changes is copied as it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{ArrowError, Field, Fields, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::SchemaDescriptor;

use crate::group::{Encoded, RowGroup};

/// The file that row groups are taken from.
pub struct Source {
    path: PathBuf,
    file: Arc<File>,
    metadata: ArrowReaderMetadata,
}

/// A chunk of that file.
pub struct TakenChunk {
    file: Arc<File>,
    closed: ColumnCloseResult,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let options = ArrowReaderOptions::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_encoding_stats_as_mask(false);
        let metadata = ArrowReaderMetadata::load(&file, options)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), metadata })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows of a group.
    pub fn rows(&self, group: usize) -> usize {
        self.of(group).num_rows() as usize
    }

    /// Whether a group's rows are those of a schema, and all that the file has for them can be copied.
    pub fn fits(&self, group: usize, schema: &SchemaRef) -> bool {
        let groups = self.metadata.metadata().row_groups();
        let plain =
            |group: &RowGroupMetaData| group.columns().iter().all(|chunk| chunk.bloom_filter_offset().is_none());
        groups.get(group).is_some_and(plain) && same_rows(self.metadata.schema().fields(), schema.fields())
    }

    /// Whether its columns are stored in the same way.
    pub fn has_columns(&self, wanted: &SchemaDescriptor) -> bool {
        self.metadata.parquet_schema().columns() == wanted.columns()
    }

    /// The columns of a group, the rows at `places` replaced.
    pub fn group(
        &self,
        group: usize,
        places: &[usize],
        rows: &RecordBatch,
        encoders: &mut RowGroup,
    ) -> Result<Vec<Encoded>> {
        if places.last().is_some_and(|place| *place >= self.rows(group)) {
            return Err(ParquetError::General(format!("row group {group} has fewer rows than a place says")));
        }
        let places_there: UInt64Array = places.iter().map(|place| *place as u64).collect();
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (position, new) in rows.columns().iter().enumerate() {
            if !places.is_empty() {
                let old = self.column(group, position)?;
                if take(&old, &places_there, None)?.as_ref() != new.as_ref() {
                    columns.push(encoders.whole(position, &replaced(&old, places, new)?)?);
                    continue;
                }
            }
            columns.push(Encoded::Taken(self.chunks(group, position)));
        }
        Ok(columns)
    }

    fn of(&self, group: usize) -> &RowGroupMetaData {
        self.metadata.metadata().row_group(group)
    }

    /// A column's rows in a group.
    fn column(&self, group: usize, position: usize) -> Result<ArrayRef> {
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::roots(self.metadata.parquet_schema(), [position]))
            .with_batch_size(self.rows(group))
            .build()?;
        let parts: Vec<ArrayRef> =
            reader.map(|batch| batch.map(|batch| batch.column(0).clone())).collect::<std::result::Result<_, _>>()?;
        Ok(match parts.as_slice() {
            [whole] => whole.clone(),
            parts => concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
        })
    }

    /// The chunks of a column, as they are.
    fn chunks(&self, group: usize, position: usize) -> Vec<TakenChunk> {
        let index = self.metadata.metadata().page_index_for_row_group(group);
        let schema = self.metadata.parquet_schema();
        let leaves = (0..schema.num_columns()).filter(|leaf| schema.get_column_root_idx(*leaf) == position);
        let chunk = |leaf: usize| {
            let metadata = self.of(group).column(leaf).clone();
            let closed = ColumnCloseResult {
                bytes_written: metadata.compressed_size() as u64,
                rows_written: self.rows(group) as u64,
                metadata,
                bloom_filter: None,
                column_index: index.column_index(leaf).cloned(),
                offset_index: index.offset_index(leaf).cloned(),
            };
            TakenChunk { file: self.file.clone(), closed }
        };
        leaves.map(chunk).collect()
    }
}

impl TakenChunk {
    /// Copies the pages into the file.
    pub fn append_to<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        group.append_column(&*self.file, self.closed)
    }
}

/// Whether fields are the same but for what is noted beside them.
fn same_rows(there: &Fields, here: &Fields) -> bool {
    let same = |there: &Field, here: &Field| {
        (there.name(), there.data_type(), there.is_nullable()) == (here.name(), here.data_type(), here.is_nullable())
    };
    there.len() == here.len() && there.iter().zip(here).all(|(there, here)| same(there, here))
}

fn replaced(old: &ArrayRef, places: &[usize], new: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    let mut from: Vec<(usize, usize)> = (0..old.len()).map(|row| (0, row)).collect();
    for (row, place) in places.iter().enumerate() {
        from[*place] = (1, row);
    }
    interleave(&[old.as_ref(), new.as_ref()], &from)
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
    use arrow_select::concat::concat_batches;
    use dativo_plugin::{FileFormat, FileSink, WriteContext};
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::file::{ParquetFormat, ParquetSink};

    const ROWS: usize = 3000;
    const GROUP: usize = 1000;

    /// Rows numbered from `first`; `turn` changes all but their ids and names.
    fn table(first: usize, rows: usize, turn: usize) -> RecordBatch {
        let numbers = || first..first + rows;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers().map(|i| i as i64)));
        let names: ArrayRef =
            Arc::new(StringArray::from_iter(numbers().map(|i| (i % 5 > 0).then(|| format!("name {i}")))));
        let kinds: ArrayRef =
            Arc::new(StringArray::from_iter_values(numbers().map(|i| ["a", "b", "long"][(i + turn) % 3])));
        let amounts: ArrayRef =
            Arc::new(Float64Array::from_iter(numbers().map(|i| (i % 7 > 0).then_some((i * 31 + turn) as f64 / 8.0))));
        let flags: ArrayRef = Arc::new(BooleanArray::from_iter(numbers().map(|i| Some((i + turn).is_multiple_of(2)))));
        let mut lists = ListBuilder::new(Int64Builder::new());
        for i in numbers() {
            lists.append_value((0..i % 4).map(|item| Some((item + turn) as i64)));
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let columns =
            [("id", ids), ("name", names), ("kind", kinds), ("amount", amounts), ("flag", flags), ("list", lists)];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, rows)| (name, rows, true))).expect("rows")
    }

    fn sink(path: &Path, more: &Value) -> Box<ParquetSink> {
        let mut options = json!({"row_group_rows": GROUP, "page_rows": 200});
        options.as_object_mut().expect("options").extend(more.as_object().expect("options").clone());
        let schema = table(0, 1, 0).schema();
        Box::new(ParquetFormat::create(path, schema, &options, WriteContext::default()).expect("a sink"))
    }

    fn read(path: &Path) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("Parquet");
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
        concat_batches(&schema, &batches).expect("one batch").with_schema(table(0, 1, 0).schema()).expect("the schema")
    }

    fn chunk_sizes(path: &Path, group: usize) -> Vec<i64> {
        let source = Source::open(path).expect("a file");
        source.of(group).columns().iter().map(|chunk| chunk.compressed_size()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rows_are_replaced_where_they_are(
            places in btree_set(0..GROUP, 1..40),
            take in vec(any::<bool>(), ROWS / GROUP),
            turn in 0..3_usize,
            legacy in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let (old, new) = (folder.path().join("old.parquet"), folder.path().join("new.parquet"));
            let options = if legacy { json!({"compatibility": "legacy"}) } else { json!({}) };
            let mut first = sink(&old, &options);
            first.write(&table(0, ROWS, 0)).expect("written");
            first.finish().expect("finished");
            let mut second = sink(&new, &options);
            second.write(&table(ROWS, 10, 0)).expect("written");
            let mut wanted = vec![table(ROWS, 10, 0)];
            let places: Vec<usize> = places.into_iter().collect();
            for (group, replaces) in take.iter().enumerate() {
                let places = if *replaces { places.as_slice() } else { &[] };
                let rows: Vec<_> = places.iter().map(|place| table(group * GROUP + place, 1, turn)).collect();
                let schema = table(0, 1, 0).schema();
                let rows = concat_batches(&schema, &rows).expect("rows");
                prop_assert!(second.take_group(&old, group, places, &rows).expect("taken"));
                for place in 0..GROUP {
                    wanted.push(table(group * GROUP + place, 1, if places.contains(&place) { turn } else { 0 }));
                }
            }
            second.write(&table(ROWS + 10, 5, 0)).expect("written");
            wanted.push(table(ROWS + 10, 5, 0));
            let info = second.finish().expect("finished");
            prop_assert_eq!(info.rows as usize, ROWS + 15);
            prop_assert_eq!(read(&new), concat_batches(&table(0, 1, 0).schema(), &wanted).expect("one batch"));
            for group in 0..take.len() {
                let (before, after) = (chunk_sizes(&old, group), chunk_sizes(&new, group + 1));
                prop_assert_eq!(&before[..2], &after[..2], "columns that stay");
                let source = Source::open(&new).expect("a file");
                let index = source.metadata.metadata().page_index_for_row_group(group + 1);
                prop_assert_eq!(index.offset_index(0).map(|pages| pages.page_locations().len()), Some(GROUP / 200));
                prop_assert!(index.column_index(0).is_some());
            }
        }
    }

    #[test]
    fn a_group_of_another_schema_or_order_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = folder.path().join("old.parquet");
        let mut first = sink(&old, &json!({"bloom_filter": true, "compatibility": "legacy"}));
        first.write(&table(0, 10, 0)).expect("written");
        first.finish().expect("finished");
        let none = table(0, 0, 0);
        let mut blooming = sink(&folder.path().join("new.parquet"), &json!({}));
        assert!(!blooming.take_group(&old, 0, &[], &none).expect("an answer"));
        assert!(!blooming.take_group(&old, 9, &[], &none).expect("an answer"));
        let other = table(0, 10, 0).project(&[0, 1]).expect("two columns");
        let path = folder.path().join("other.parquet");
        let made = ParquetFormat::create(&path, other.schema(), &json!({}), WriteContext::default());
        let mut narrow = made.expect("a sink");
        assert!(!narrow.take_group(&old, 0, &[], &other.slice(0, 0)).expect("an answer"));
        let error = blooming.take_group(&folder.path().join("none"), 0, &[], &none).expect_err("no such file");
        assert!(error.to_string().contains("none"), "{error}");
    }
}
