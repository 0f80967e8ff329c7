//! Booleans: a bit each.

use arrow_array::{Array, cast::AsArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::{Column, Scratch};
use crate::pages::PageOptions;
use crate::pages::bits::clear_behind;
use crate::pages::chunk::{Chunk, ChunkWriter, DataPage};

/// A column of booleans.
pub struct BooleanColumn {
    chunk: ChunkWriter<bool>,
}

impl BooleanColumn {
    pub fn new(descriptor: &ColumnDescPtr, options: PageOptions) -> Self {
        Self { chunk: ChunkWriter::new(descriptor, options) }
    }
}

impl Column for BooleanColumn {
    fn write(&mut self, rows: &dyn Array, scratch: &mut Scratch) -> Result<()> {
        let stride = self.chunk.options().page_rows(rows.len(), rows.len().div_ceil(8));
        for start in (0..rows.len()).step_by(stride) {
            let page = rows.slice(start, stride.min(rows.len() - start));
            let nulls = page.nulls().filter(|nulls| nulls.null_count() > 0);
            self.chunk.levels(&mut scratch.levels, page.len(), nulls);
            let slots = page.as_boolean().values();
            let values = match nulls {
                None => slots.clone(),
                Some(nulls) => {
                    let mut there = BooleanBufferBuilder::new(page.len());
                    nulls.valid_indices().for_each(|row| there.append(slots.value(row)));
                    there.finish()
                }
            };
            plain(&mut scratch.page, &values);
            let trues = values.count_set_bits();
            let bounds = (!values.is_empty()).then(|| (trues == values.len(), trues > 0));
            let page = DataPage {
                rows: page.len(),
                nulls: page.len() - values.len(),
                levels: &scratch.levels,
                values: &scratch.page,
                texts: &[],
                encoding: Encoding::PLAIN,
                bounds,
                nans: 0,
                bytes: None,
            };
            self.chunk.add(page, &mut scratch.compressor)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.chunk.bytes()
    }

    fn finish(&mut self, scratch: &mut Scratch) -> Result<Chunk> {
        self.chunk.finish(None, &mut scratch.compressor)
    }
}

fn plain(out: &mut Vec<u8>, values: &BooleanBuffer) {
    out.clear();
    out.extend_from_slice(&values.sliced().as_slice()[..values.len().div_ceil(8)]);
    clear_behind(out, values.len());
}
