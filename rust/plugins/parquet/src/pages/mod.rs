//! What the pages of a flat column are made of: packed bits, deltas, dictionaries, compression, statistics.

pub mod bits;
pub mod bounds;
pub mod chunk;
pub mod codec;
pub mod delta;
pub mod dictionary;
mod neighbours;

use parquet::basic::Compression;

/// How pages are made.
#[derive(Clone, Copy, Debug)]
pub struct PageOptions {
    /// Rows, at most.
    pub rows: usize,
    /// Bytes before compression, about at most.
    pub bytes: usize,
    /// Bytes of a dictionary.
    pub dictionary_bytes: usize,
    /// How they are compressed.
    pub compression: Compression,
    /// Whether a codec may do less than its level where that costs little.
    pub adaptive: bool,
    /// Whether the chunk has statistics.
    pub chunk_statistics: bool,
    /// Whether each page has, in the page index.
    pub page_statistics: bool,
}

impl PageOptions {
    /// Whether least and greatest values are wanted at all.
    pub fn statistics(&self) -> bool {
        self.chunk_statistics || self.page_statistics
    }

    /// Rows of each page, for an array whose values take that many bytes.
    pub fn page_rows(&self, rows: usize, bytes: usize) -> usize {
        let pages = rows.div_ceil(self.rows).max(bytes.div_ceil(self.bytes)).clamp(1, rows.max(1));
        rows.div_ceil(pages).max(1)
    }
}
