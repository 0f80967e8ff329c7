//! Text and binary.

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;

use super::sources::ByteSource;
use super::{Column, SAMPLE, Scratch, Way};
use crate::pages::PageOptions;
use crate::pages::bounds::Bytes;
use crate::pages::chunk::{Chunk, ChunkWriter, DataPage};
use crate::pages::delta::delta;
use crate::pages::dictionary::{BytesDictionary, FIRST, Key, MASKS};

/// A column of byte strings. `TEXT`: of UTF-8.
pub struct BytesColumn<S, const TEXT: bool> {
    chunk: ChunkWriter<Bytes<TEXT>>,
    dictionary: BytesDictionary,
    way: Way,
    valid: Vec<u32>,
    source: std::marker::PhantomData<fn(S)>,
}

/// The values of one page.
struct Page<'a, S: ByteSource> {
    rows: &'a S::Rows,
    nulls: Option<&'a NullBuffer>,
    /// Where there are nulls: the rows that have a value.
    valid: &'a [u32],
}

impl<'a, S: ByteSource> Page<'a, S> {
    /// Values, nulls not counted.
    fn len(&self) -> usize {
        if self.nulls.is_some() { self.valid.len() } else { self.rows.len() }
    }

    #[inline(always)]
    fn row(&self, position: usize) -> usize {
        if self.nulls.is_some() { self.valid[position] as usize } else { position }
    }

    #[inline(always)]
    fn value(&self, position: usize) -> &'a [u8] {
        S::value(self.rows, self.row(position))
    }

    #[inline(always)]
    fn key(&self, position: usize) -> Key {
        let row = self.row(position);
        Key::new(S::value(self.rows, row), S::memory(self.rows, row))
    }

    /// Bytes of the values; null slots may hold some of their own.
    fn bytes(&self) -> usize {
        match self.nulls {
            None => S::size(self.rows),
            Some(_) => (0..self.len()).map(|position| self.value(position).len()).sum(),
        }
    }

    /// The values one after the other, where the array holds them so, and their lengths added to `lengths`.
    fn joined(&self, lengths: &mut Vec<i32>) -> Option<&'a [u8]> {
        if self.nulls.is_some() { None } else { S::joined(self.rows, lengths) }
    }
}

/// The least and the greatest of values that stand one behind the other. Most are told apart by their first bytes.
fn bounds<'a>(values: &'a [u8], lengths: &[i32]) -> Option<(&'a [u8], &'a [u8])> {
    let first = &values[..*lengths.first()? as usize];
    let (mut min, mut max) = (first, first);
    let (mut min_start, mut max_start) = (start(values, first.len()), start(values, first.len()));
    let mut rest = &values[first.len()..];
    for length in &lengths[1..] {
        let found = start(rest, *length as usize);
        let (value, behind) = rest.split_at(*length as usize);
        rest = behind;
        if min_start < found && found < max_start {
            continue;
        }
        if found <= min_start && (found < min_start || value < min) {
            (min_start, min) = (found, value);
        }
        if found >= max_start && (found > max_start || value > max) {
            (max_start, max) = (found, value);
        }
    }
    Some((min, max))
}

/// The first bytes of a value that `values` begin with, as a number that has their order; zeros behind a short one.
#[inline(always)]
fn start(values: &[u8], length: usize) -> u128 {
    let length = length.min(FIRST);
    let first = values.first_chunk().copied().unwrap_or_else(|| {
        let mut first = [0; FIRST];
        first[..length].copy_from_slice(&values[..length]);
        first
    });
    (u128::from_le_bytes(first) & MASKS[length]).swap_bytes()
}

impl<S: ByteSource, const TEXT: bool> BytesColumn<S, TEXT> {
    pub fn new(descriptor: &ColumnDescPtr, options: PageOptions) -> Self {
        Self {
            chunk: ChunkWriter::new(descriptor, options),
            dictionary: BytesDictionary::new(),
            way: Way::Open,
            valid: Vec::new(),
            source: std::marker::PhantomData,
        }
    }

    fn page(&mut self, page: &Page<S>, scratch: &mut Scratch) -> Result<()> {
        let rows = page.rows.len();
        self.chunk.levels(&mut scratch.levels, rows, page.nulls);
        let encoding = self.encode(page, scratch)?;
        let bytes = page.bytes();
        let bounds = match encoding {
            _ if !self.chunk.options().statistics() => None,
            Encoding::RLE_DICTIONARY => self.dictionary.bounds(&scratch.indices),
            _ => bounds(&scratch.page[scratch.page.len() - bytes..], &scratch.lengths),
        };
        let bounds = bounds.map(|(min, max)| (Bytes(min.to_vec()), Bytes(max.to_vec())));
        let page = DataPage {
            rows,
            nulls: rows - page.len(),
            levels: &scratch.levels,
            values: &scratch.page,
            texts: if encoding == Encoding::RLE_DICTIONARY { &[] } else { &scratch.lengths },
            encoding,
            bounds,
            nans: 0,
            bytes: Some(bytes),
        };
        self.chunk.add(page, &mut scratch.compressor)
    }

    /// Encodes into the scratch page.
    fn encode(&mut self, page: &Page<S>, scratch: &mut Scratch) -> Result<Encoding> {
        if self.way != Way::Direct && page.len() > 0 && self.index(page, scratch) {
            scratch.indices_to_page(self.dictionary.len());
            // A length takes a byte, about.
            let direct = S::size(page.rows) + page.len();
            if self.way == Way::Dictionary || scratch.indices_pay(self.dictionary.bytes(), direct) {
                self.way = Way::Dictionary;
                return Ok(Encoding::RLE_DICTIONARY);
            }
            self.dictionary.clear();
            self.way = Way::Direct;
        }
        scratch.page.clear();
        scratch.lengths.clear();
        if let Some(joined) = page.joined(&mut scratch.lengths) {
            delta(&mut scratch.page, &scratch.lengths);
            scratch.page.extend_from_slice(joined);
            return Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        }
        for position in 0..page.len() {
            let length = page.value(position).len();
            scratch.lengths.push(i32::try_from(length).map_err(|_| {
                ParquetError::NYI(format!("a value of {length} bytes: 2 GiB and more do not fit a page"))
            })?);
        }
        delta(&mut scratch.page, &scratch.lengths);
        (0..page.len()).for_each(|position| scratch.page.extend_from_slice(page.value(position)));
        Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY)
    }

    /// Looks the values up in the dictionary; false, and never again in this chunk, when it does not pay.
    fn index(&mut self, page: &Page<S>, scratch: &mut Scratch) -> bool {
        let Scratch { keys, indices, .. } = scratch;
        let known = self.dictionary.len();
        indices.clear();
        for start in (0..page.len()).step_by(SAMPLE) {
            let block = start..page.len().min(start + SAMPLE);
            keys.clear();
            keys.extend(block.clone().map(|position| page.key(position)));
            let dictionary = &mut self.dictionary;
            let looked_up = keys.iter().zip(block).map(|(key, at)| dictionary.index(*key, || page.value(at)));
            indices.extend(looked_up);
            let large = self.dictionary.bytes() > self.chunk.options().dictionary_bytes;
            if large || self.way.is_spoiled(self.dictionary.len(), indices.len()) {
                self.dictionary.truncate(known);
                self.way = Way::Direct;
                return false;
            }
        }
        true
    }
}

impl<S: ByteSource, const TEXT: bool> Column for BytesColumn<S, TEXT> {
    fn write(&mut self, rows: &dyn Array, scratch: &mut Scratch) -> Result<()> {
        let all = rows.as_any().downcast_ref::<S::Rows>();
        let all = all.ok_or_else(|| ParquetError::General(format!("no strings: {}", rows.data_type())))?;
        let stride = self.chunk.options().page_rows(rows.len(), S::size(all));
        for start in (0..rows.len()).step_by(stride) {
            let part = rows.slice(start, stride.min(rows.len() - start));
            let nulls = part.nulls().filter(|nulls| nulls.null_count() > 0);
            let mut valid = std::mem::take(&mut self.valid);
            valid.clear();
            valid.extend(nulls.into_iter().flat_map(NullBuffer::valid_indices).map(|row| row as u32));
            if let Some(rows) = part.as_any().downcast_ref::<S::Rows>() {
                self.page(&Page { rows, nulls, valid: &valid }, scratch)?;
            }
            self.valid = valid;
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
        let chunk = self.chunk.finish(dictionary, &mut scratch.compressor)?;
        self.dictionary.clear();
        self.way = Way::Open;
        Ok(chunk)
    }
}
