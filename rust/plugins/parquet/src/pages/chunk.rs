//! The pages of one column chunk, as the file will hold them.

use std::io::{Chain, Cursor, Read, Write};

use arrow_buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::PageOptions;
use super::bits::{validity, varint};
use super::bounds::{Bounds, Ordered};
use super::codec::{Compressor, Effort};

/// Chunks of a column that share a look at what compression is worth.
const EFFORT_CHUNKS: usize = 4;

/// One page's values, encoded and not yet compressed.
pub struct DataPage<'a, V> {
    /// Rows, nulls among them.
    pub rows: usize,
    /// Rows without a value.
    pub nulls: usize,
    /// Definition levels, without their length.
    pub levels: &'a [u8],
    /// The values.
    pub values: &'a [u8],
    /// The lengths of texts that end the values, one behind the other.
    pub texts: &'a [i32],
    /// How they are encoded.
    pub encoding: Encoding,
    /// Least and greatest, where there are any.
    pub bounds: Option<(V, V)>,
    /// How many are NaN.
    pub nans: u64,
    /// For strings of bytes: how many bytes the values have.
    pub bytes: Option<usize>,
}

/// A chunk being written.
pub struct ChunkWriter<V> {
    descriptor: ColumnDescPtr,
    options: PageOptions,
    bounds: Bounds<V>,
    pages: TrackedWrite<Vec<u8>>,
    offsets: OffsetIndexBuilder,
    index: ColumnIndexBuilder,
    encodings: Vec<PageEncodingStats>,
    uncompressed: usize,
    rows: usize,
    nulls: usize,
    bytes: Option<i64>,
    effort: Effort,
    /// Chunks before this one.
    chunks: usize,
}

/// A finished chunk: what the row group's writer needs to take it over.
pub struct Chunk {
    pages: Pages,
    closed: ColumnCloseResult,
}

impl<V: Ordered> ChunkWriter<V> {
    pub fn new(descriptor: &ColumnDescPtr, options: PageOptions) -> Self {
        let index = ColumnIndexBuilder::new(descriptor.physical_type());
        Self {
            descriptor: descriptor.clone(),
            options,
            bounds: Bounds::new(),
            pages: TrackedWrite::new(Vec::new()),
            offsets: OffsetIndexBuilder::new(),
            index,
            encodings: Vec::new(),
            uncompressed: 0,
            rows: 0,
            nulls: 0,
            bytes: None,
            effort: Effort::Open,
            chunks: 0,
        }
    }

    /// Bytes of the pages so far.
    pub fn bytes(&self) -> usize {
        self.pages.bytes_written()
    }

    /// How pages are made.
    pub fn options(&self) -> &PageOptions {
        &self.options
    }

    /// Which rows have a value, as definition levels without their length; none where every row has to have one.
    pub fn levels(&self, out: &mut Vec<u8>, rows: usize, nulls: Option<&NullBuffer>) {
        out.clear();
        match nulls {
            _ if !self.nullable() => {}
            Some(nulls) => validity(out, nulls.inner()),
            None => {
                varint(out, (rows as u64) << 1);
                out.push(1);
            }
        }
    }

    pub fn add(&mut self, page: DataPage<V>, compressor: &mut Compressor) -> Result<()> {
        let offset = self.pages.bytes_written();
        let pages = &mut self.pages;
        let written =
            compressor.page(page.levels, page.values, page.texts, &mut self.effort, |buf, is_compressed| {
                let shape = Page::DataPageV2 {
                    buf,
                    num_values: page.rows as u32,
                    encoding: page.encoding,
                    num_nulls: page.nulls as u32,
                    num_rows: page.rows as u32,
                    def_levels_byte_len: page.levels.len() as u32,
                    rep_levels_byte_len: 0,
                    is_compressed,
                    statistics: None,
                };
                let plain_length = page.levels.len() + page.values.len();
                SerializedPageWriter::new(pages).write_page(CompressedPage::new(shape, plain_length))
            })?;
        self.uncompressed += written.uncompressed_size;
        self.offsets.append_offset_and_size(offset as i64, written.compressed_size as i32);
        self.offsets.append_row_count(page.rows as i64);
        let bytes = page.bytes.map(|bytes| bytes as i64);
        self.offsets.append_unencoded_byte_array_data_bytes(bytes);
        self.bytes = bytes.map(|bytes| bytes + self.bytes.unwrap_or(0));
        self.rows += page.rows;
        self.nulls += page.nulls;
        self.count(PageType::DATA_PAGE_V2, page.encoding);
        self.index.append_histograms(&None, &self.levels_seen(page.rows, page.nulls));
        let nans = V::HAS_NANS.then_some(page.nans as i64);
        match self.bounds.page(page.bounds, page.nans) {
            Some((min, max)) => self.index.append(false, min, max, page.nulls as i64, nans),
            None if page.nulls == page.rows => {
                self.index.append(true, Vec::new(), Vec::new(), page.nulls as i64, nans);
            }
            None => self.index.to_invalid(),
        }
        Ok(())
    }

    /// Ends the chunk. dictionary: the entries, plain, and how many. Starts anew.
    pub fn finish(&mut self, dictionary: Option<(&[u8], usize)>, compressor: &mut Compressor) -> Result<Chunk> {
        let chunks = self.chunks + 1;
        let effort = if chunks.is_multiple_of(EFFORT_CHUNKS) { Effort::Open } else { self.effort };
        let fresh = Self { effort, chunks, ..Self::new(&self.descriptor, self.options) };
        let mut done = std::mem::replace(self, fresh);
        let mut entries = TrackedWrite::new(Vec::new());
        if let Some((plain, count)) = dictionary {
            // A dictionary page cannot say that it is not compressed: the codec has to be used whatever it gains.
            let written = compressor.always(plain, |buf| {
                let page =
                    Page::DictionaryPage { buf, num_values: count as u32, encoding: Encoding::PLAIN, is_sorted: false };
                SerializedPageWriter::new(&mut entries).write_page(CompressedPage::new(page, plain.len()))
            })?;
            done.uncompressed += written.uncompressed_size;
            done.count(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        }
        let levels_seen = done.levels_seen(done.rows, done.nulls);
        let (statistics, order) = done.bounds.finish(done.nulls as u64);
        let (entries, data) = (entries.into_inner()?, done.pages.into_inner()?);
        let mut encodings: Vec<Encoding> = done.encodings.iter().map(|stats| stats.encoding).collect();
        encodings.push(Encoding::RLE);
        let mut metadata = ColumnChunkMetaData::builder(done.descriptor)
            .set_compression(done.options.compression)
            .set_encodings(encodings)
            .set_page_encoding_stats(done.encodings)
            .set_total_compressed_size((entries.len() + data.len()) as i64)
            .set_total_uncompressed_size(done.uncompressed as i64)
            .set_num_values(done.rows as i64)
            .set_definition_level_histogram(levels_seen)
            .set_unencoded_byte_array_data_bytes(done.bytes)
            .set_data_page_offset(0);
        if done.options.chunk_statistics {
            metadata = metadata.set_statistics(statistics);
        }
        done.index.set_boundary_order(order);
        let indexed = done.options.page_statistics && done.index.valid();
        let closed = ColumnCloseResult {
            bytes_written: (entries.len() + data.len()) as u64,
            rows_written: done.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: indexed.then(|| done.index.build()).transpose()?,
            offset_index: Some(done.offsets.build()),
        }
        .update_dictionary_location(entries.len())?;
        Ok(Chunk { pages: Pages { entries: entries.into(), data: data.into() }, closed })
    }

    fn nullable(&self) -> bool {
        self.descriptor.max_def_level() > 0
    }

    /// How many rows have each definition level.
    fn levels_seen(&self, rows: usize, nulls: usize) -> Option<LevelHistogram> {
        self.nullable().then(|| LevelHistogram::from(vec![nulls as i64, (rows - nulls) as i64]))
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        let known = self.encodings.iter_mut().find(|stats| stats.page_type == page_type && stats.encoding == encoding);
        match known {
            Some(stats) => stats.count += 1,
            None => self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }
}

impl Chunk {
    /// Hands the pages over to the file.
    pub fn append_to<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        group.append_column(&self.pages, self.closed)
    }
}

/// A chunk's bytes: the dictionary's page, then those of the data.
struct Pages {
    entries: Bytes,
    data: Bytes,
}

impl Length for Pages {
    fn len(&self) -> u64 {
        (self.entries.len() + self.data.len()) as u64
    }
}

impl ChunkReader for Pages {
    type T = Chain<Cursor<Bytes>, Cursor<Bytes>>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let split = (start as usize).min(self.entries.len());
        let rest = (start as usize - split).min(self.data.len());
        Ok(Cursor::new(self.entries.slice(split..)).chain(Cursor::new(self.data.slice(rest..))))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut out = Vec::with_capacity(length);
        self.get_read(start)?.take(length as u64).read_to_end(&mut out)?;
        Ok(out.into())
    }
}
