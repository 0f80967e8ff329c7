//! The order that a job says its rows have: written to the footer only after each row was seen to follow it.

use arrow_array::RecordBatch;
use arrow_cmp::make_comparator;
use arrow_schema::{SchemaRef, SortOptions};
use dativo_plugin::{Error, Result};
use parquet::file::metadata::SortingColumn;
use parquet::schema::types::SchemaDescriptor;
use serde::Deserialize;

/// One column of an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortKey {
    /// The column's name.
    pub column: String,
    /// Large values first.
    #[serde(default)]
    pub descending: bool,
    /// Nulls before all values.
    #[serde(default)]
    pub nulls_first: bool,
}

/// Which leaf columns the file is sorted by, for its footer.
pub fn sorting_columns(keys: &[SortKey], columns: &SchemaDescriptor) -> Result<Option<Vec<SortingColumn>>> {
    let place = |key: &SortKey| {
        let at = columns.columns().iter().position(|column| *column.path().parts() == [key.column.as_str()]);
        let column_idx = at.and_then(|at| i32::try_from(at).ok()).ok_or_else(|| {
            Error::configuration(format!(
                "options of rust_parquet: sorted_by: there is no flat column {:?}",
                key.column
            ))
        })?;
        Ok(SortingColumn { column_idx, descending: key.descending, nulls_first: key.nulls_first })
    };
    let found: Vec<_> = keys.iter().map(place).collect::<Result<_>>()?;
    Ok((!found.is_empty()).then_some(found))
}

/// Sees whether rows come in an order.
pub struct Order {
    keys: Vec<(usize, SortOptions)>,
    names: String,
    last: Option<RecordBatch>,
    rows: u64,
}

impl Order {
    /// The order of some columns.
    pub fn new(keys: &[SortKey], schema: &SchemaRef) -> Result<Self> {
        let position = |key: &SortKey| {
            let at = schema.index_of(&key.column)?;
            Ok((at, SortOptions { descending: key.descending, nulls_first: key.nulls_first }))
        };
        let names: Vec<&str> = keys.iter().map(|key| key.column.as_str()).collect();
        Ok(Self {
            keys: keys.iter().map(position).collect::<Result<_>>()?,
            names: names.join(", "),
            last: None,
            rows: 0,
        })
    }

    /// Whether any order will do.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes the next rows; an error names the first one of the file that comes too late.
    pub fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.keys.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        if let Some(last) = &self.last {
            self.compare(last, batch, [(0, 0)])?;
        }
        self.compare(batch, batch, (1..batch.num_rows()).map(|row| (row - 1, row)))?;
        self.rows += batch.num_rows() as u64;
        self.last = Some(batch.slice(batch.num_rows() - 1, 1));
        Ok(())
    }

    fn compare(
        &self,
        left: &RecordBatch,
        right: &RecordBatch,
        pairs: impl IntoIterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let comparators = self
            .keys
            .iter()
            .map(|(at, options)| make_comparator(left.column(*at), right.column(*at), *options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for (before, row) in pairs {
            let order = comparators.iter().map(|compare| compare(before, row)).find(|order| order.is_ne());
            if order.is_some_and(std::cmp::Ordering::is_gt) {
                let number = self.rows + row as u64 + 1;
                return Err(Error::validation(format!(
                    "row {number} of the file is not in the order of {}",
                    self.names
                ))
                .code("NOT_SORTED")
                .hint("sort the source, or leave target.options.sorted_by out: readers would trust it")
                .at("row", number));
            }
        }
        Ok(())
    }
}
