//! Text and binary.

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use parquet::basic::{Compression, Encoding};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;

use super::sources::ByteSource;
use super::{Column, PageLimits, SAMPLE, Scratch, Way, page_rows};
use crate::pages::bits::{hybrid, width};
use crate::pages::bounds::{Bounds, Bytes};
use crate::pages::chunk::{Chunk, ChunkWriter, DataPage, levels};
use crate::pages::delta::delta;
use crate::pages::dictionary::BytesDictionary;

/// A column of byte strings. `TEXT`: of UTF-8.
pub struct BytesColumn<S, const TEXT: bool> {
    nullable: bool,
    limits: PageLimits,
    chunk: ChunkWriter,
    bounds: Bounds<Bytes<TEXT>>,
    dictionary: BytesDictionary,
    way: Way,
    lengths: Vec<i32>,
    source: std::marker::PhantomData<fn(S)>,
}

/// The rows of one page.
struct Page<'a, S: ByteSource> {
    all: &'a S::Rows,
    nulls: Option<&'a NullBuffer>,
}

impl<'a, S: ByteSource> Page<'a, S> {
    /// Calls with each value that is there.
    #[inline]
    fn each(&self, mut with: impl FnMut(&'a [u8])) {
        match self.nulls {
            None => (0..self.all.len()).for_each(|row| with(S::value(self.all, row))),
            Some(nulls) => nulls.valid_indices().for_each(|row| with(S::value(self.all, row))),
        }
    }

    fn values(&self) -> usize {
        self.all.len() - self.nulls.map_or(0, NullBuffer::null_count)
    }
}

impl<S: ByteSource, const TEXT: bool> BytesColumn<S, TEXT> {
    pub fn new(descriptor: &ColumnDescPtr, compression: Compression, limits: PageLimits) -> Self {
        Self {
            nullable: descriptor.max_def_level() > 0,
            limits,
            chunk: ChunkWriter::new(descriptor.clone(), compression, limits.told),
            bounds: Bounds::new(),
            dictionary: BytesDictionary::new(),
            way: Way::Open,
            lengths: Vec::new(),
            source: std::marker::PhantomData,
        }
    }

    fn page(&mut self, page: &Page<S>, scratch: &mut Scratch) -> Result<()> {
        let rows = page.all.len();
        levels(&mut scratch.levels, self.nullable, rows, page.nulls);
        let encoding = self.encode(page, scratch)?;
        let bounds = match encoding {
            _ if !self.limits.told.any() => None,
            Encoding::RLE_DICTIONARY => self.dictionary.bounds(&scratch.indices),
            _ => bounds(page),
        };
        let bounds = bounds.map(|(min, max)| (Bytes(min.to_vec()), Bytes(max.to_vec())));
        let page = DataPage {
            rows,
            nulls: rows - page.values(),
            levels: &scratch.levels,
            values: &scratch.page,
            encoding,
            bounds: self.bounds.page(bounds, 0),
            nans: None,
        };
        self.chunk.add(page, &mut scratch.compressor)
    }

    /// Encodes into the scratch page.
    fn encode(&mut self, page: &Page<S>, scratch: &mut Scratch) -> Result<Encoding> {
        scratch.page.clear();
        if self.way != Way::Direct && page.values() > 0 && self.index(page, &mut scratch.indices) {
            let width = width(self.dictionary.len() as u64 - 1).max(1);
            scratch.page.push(width as u8);
            hybrid(&mut scratch.page, &scratch.indices, width);
            // Half of the entries' cost: later pages of the chunk use them too. A length takes a byte, about.
            let direct = S::size(page.all) + page.values();
            if self.way == Way::Dictionary || scratch.page.len() + self.dictionary.bytes() / 2 < direct {
                self.way = Way::Dictionary;
                return Ok(Encoding::RLE_DICTIONARY);
            }
            scratch.page.clear();
            self.dictionary.clear();
            self.way = Way::Direct;
        }
        self.lengths.clear();
        let lengths = &mut self.lengths;
        let mut longest = 0;
        page.each(|value| {
            longest = longest.max(value.len());
            lengths.push(value.len() as i32);
        });
        if i32::try_from(longest).is_err() {
            return Err(ParquetError::NYI(format!("a value of {longest} bytes: 2 GiB and more do not fit a page")));
        }
        delta(&mut scratch.page, lengths);
        match S::joined(page.all).filter(|_| page.nulls.is_none()) {
            Some(joined) => scratch.page.extend_from_slice(joined),
            None => page.each(|value| scratch.page.extend_from_slice(value)),
        }
        Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY)
    }

    /// Looks the values up in the dictionary; false, and never again in this chunk, when it does not pay.
    fn index(&mut self, page: &Page<S>, indices: &mut Vec<u32>) -> bool {
        let known = self.dictionary.len();
        let open = self.way == Way::Open;
        indices.clear();
        let mut pays = true;
        let (dictionary, most) = (&mut self.dictionary, self.limits.dictionary_bytes);
        page.each(|value| {
            if pays {
                indices.push(dictionary.index(value));
                pays = dictionary.bytes() <= most
                    && !(open && indices.len() == SAMPLE && dictionary.len() * 2 > indices.len());
            }
        });
        if !pays {
            self.dictionary.truncate(known);
            self.way = Way::Direct;
        }
        pays
    }
}

impl<S: ByteSource, const TEXT: bool> Column for BytesColumn<S, TEXT> {
    fn write(&mut self, rows: &dyn Array, scratch: &mut Scratch) -> Result<()> {
        let all = rows.as_any().downcast_ref::<S::Rows>();
        let all = all.ok_or_else(|| ParquetError::General(format!("no strings: {}", rows.data_type())))?;
        let stride = page_rows(rows.len(), S::size(all), &self.limits);
        for start in (0..rows.len()).step_by(stride) {
            let part = rows.slice(start, stride.min(rows.len() - start));
            let nulls = part.nulls().filter(|nulls| nulls.null_count() > 0);
            if let Some(all) = part.as_any().downcast_ref::<S::Rows>() {
                self.page(&Page { all, nulls }, scratch)?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.chunk.bytes() + self.dictionary.bytes()
    }

    fn finish(&mut self, scratch: &mut Scratch) -> Result<Chunk> {
        scratch.page.clear();
        for position in 0..self.dictionary.len() {
            let entry = self.dictionary.get(position);
            scratch.page.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            scratch.page.extend_from_slice(entry);
        }
        let entries = self.dictionary.len();
        let dictionary = (entries > 0).then_some((scratch.page.as_slice(), entries));
        let (statistics, order) = self.bounds.finish(self.chunk.nulls());
        let chunk = self.chunk.finish(dictionary, statistics, order, &mut scratch.compressor)?;
        self.dictionary.clear();
        self.way = Way::Open;
        Ok(chunk)
    }
}

/// The least and the greatest value of a page. Most values are told apart by their first eight bytes.
fn bounds<'a, S: ByteSource>(page: &Page<'a, S>) -> Option<(&'a [u8], &'a [u8])> {
    let mut found: Option<(u64, &[u8], u64, &[u8])> = None;
    page.each(|value| {
        let start = first_bytes(value);
        match &mut found {
            None => found = Some((start, value, start, value)),
            Some((min_start, min, max_start, max)) => {
                if start < *min_start || (start == *min_start && value < *min) {
                    (*min_start, *min) = (start, value);
                }
                if start > *max_start || (start == *max_start && value > *max) {
                    (*max_start, *max) = (start, value);
                }
            }
        }
    });
    found.map(|(_, min, _, max)| (min, max))
}

/// Eight bytes as a number of the same order; shorter values are filled up with zeros.
fn first_bytes(value: &[u8]) -> u64 {
    match value.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..value.len()].copy_from_slice(value);
            u64::from_be_bytes(bytes)
        }
    }
}
