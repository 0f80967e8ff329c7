//! Numbers of 4 and 8 bytes.

use arrow_array::Array;
use arrow_buffer::{ArrowNativeType, NullBuffer, ScalarBuffer, ToByteSlice};
use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::{Column, SAMPLE, Scratch, Way};
use crate::pages::PageOptions;
use crate::pages::bounds::Ordered;
use crate::pages::chunk::{Chunk, ChunkWriter, DataPage};
use crate::pages::delta::delta;
use crate::pages::dictionary::FixedDictionary;

/// A number as a column stores it.
pub trait Number: ArrowNativeType + Ordered + Default {
    /// What its values are without a dictionary.
    const DIRECT: Encoding;

    /// The number's bits: those of different numbers differ, NaNs and zeros included.
    fn bits(self) -> u64;

    /// Appends values as `DIRECT` has them.
    fn encode(out: &mut Vec<u8>, values: &[Self]);

    /// Least, greatest, and how many are NaN; NaNs are no bounds.
    fn bounds(values: &[Self]) -> (Option<(Self, Self)>, u64);
}

macro_rules! integers {
    ($($number:ty),*) => {$(
        impl Number for $number {
            const DIRECT: Encoding = Encoding::DELTA_BINARY_PACKED;

            fn bits(self) -> u64 {
                self as u64
            }

            fn encode(out: &mut Vec<u8>, values: &[Self]) {
                delta(out, values);
            }

            fn bounds(values: &[Self]) -> (Option<(Self, Self)>, u64) {
                let Some(first) = values.first() else {
                    return (None, 0);
                };
                let (min, max) = values.iter().fold((*first, *first), |(min, max), v| (min.min(*v), max.max(*v)));
                (Some((min, max)), 0)
            }
        }
    )*};
}

macro_rules! floats {
    ($($number:ty as $signed:ty),*) => {$(
        impl Number for $number {
            const DIRECT: Encoding = Encoding::PLAIN;

            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }

            fn encode(out: &mut Vec<u8>, values: &[Self]) {
                out.extend_from_slice(values.to_byte_slice());
            }

            fn bounds(values: &[Self]) -> (Option<(Self, Self)>, u64) {
                // The total order of IEEE 754 as an order of integers; NaNs lie outside the infinities.
                let key = |value: Self| {
                    let bits = value.to_bits() as $signed;
                    bits ^ (((bits >> (<$signed>::BITS - 1)) as $signed) & <$signed>::MAX)
                };
                let value = |key: $signed| {
                    Self::from_bits((key ^ ((key >> (<$signed>::BITS - 1)) & <$signed>::MAX)) as _)
                };
                let (mut min, mut max, mut nans) = (<$signed>::MAX, <$signed>::MIN, 0u64);
                for number in values {
                    let (key, nan) = (key(*number), number.is_nan());
                    nans += u64::from(nan);
                    min = min.min(if nan { <$signed>::MAX } else { key });
                    max = max.max(if nan { <$signed>::MIN } else { key });
                }
                ((nans < values.len() as u64).then(|| (value(min), value(max))), nans)
            }
        }
    )*};
}

integers!(i32, u32, i64, u64);
floats!(f32 as i32, f64 as i64);

/// A column of numbers.
pub struct FixedColumn<T: Number> {
    source: fn(&dyn Array) -> ScalarBuffer<T>,
    chunk: ChunkWriter<T>,
    dictionary: FixedDictionary<T>,
    way: Way,
    dense: Vec<T>,
}

impl<T: Number> FixedColumn<T> {
    /// source: the values of an array, null slots included.
    pub fn new(descriptor: &ColumnDescPtr, options: PageOptions, source: fn(&dyn Array) -> ScalarBuffer<T>) -> Self {
        Self {
            source,
            chunk: ChunkWriter::new(descriptor, options),
            dictionary: FixedDictionary::new(),
            way: Way::Open,
            dense: Vec::new(),
        }
    }

    fn page(&mut self, values: &[T], rows: usize, nulls: Option<&NullBuffer>, scratch: &mut Scratch) -> Result<()> {
        self.chunk.levels(&mut scratch.levels, rows, nulls);
        let encoding = self.encode(values, scratch);
        let (bounds, nans) = if self.chunk.options().statistics() { T::bounds(values) } else { (None, 0) };
        let page = DataPage {
            rows,
            nulls: rows - values.len(),
            levels: &scratch.levels,
            values: &scratch.page,
            texts: &[],
            encoding,
            bounds,
            nans,
            bytes: None,
        };
        self.chunk.add(page, &mut scratch.compressor)
    }

    /// Encodes into the scratch page.
    fn encode(&mut self, values: &[T], scratch: &mut Scratch) -> Encoding {
        if self.way != Way::Direct && !values.is_empty() && self.index(values, &mut scratch.indices) {
            scratch.indices_to_page(self.dictionary.values().len());
            if self.way == Way::Dictionary {
                return Encoding::RLE_DICTIONARY;
            }
            scratch.other.clear();
            T::encode(&mut scratch.other, values);
            if scratch.indices_pay(size_of_val(self.dictionary.values()), scratch.other.len()) {
                self.way = Way::Dictionary;
                return Encoding::RLE_DICTIONARY;
            }
            std::mem::swap(&mut scratch.page, &mut scratch.other);
            self.dictionary.clear();
            self.way = Way::Direct;
            return T::DIRECT;
        }
        scratch.page.clear();
        T::encode(&mut scratch.page, values);
        T::DIRECT
    }

    /// Looks the values up in the dictionary; false, and never again in this chunk, when it does not pay.
    fn index(&mut self, values: &[T], indices: &mut Vec<u32>) -> bool {
        let known = self.dictionary.values().len();
        let most = self.chunk.options().dictionary_bytes / size_of::<T>();
        indices.clear();
        for block in values.chunks(SAMPLE) {
            indices.extend(block.iter().map(|value| self.dictionary.index(*value, value.bits())));
            let found = self.dictionary.values().len();
            if found > most || self.way.is_spoiled(found, indices.len()) {
                self.dictionary.truncate(known);
                self.way = Way::Direct;
                return false;
            }
        }
        true
    }
}

impl<T: Number> Column for FixedColumn<T> {
    fn write(&mut self, rows: &dyn Array, scratch: &mut Scratch) -> Result<()> {
        let all = (self.source)(rows);
        let stride = self.chunk.options().page_rows(rows.len(), size_of_val(&all[..]));
        let nulls = rows.nulls().filter(|nulls| nulls.null_count() > 0);
        for start in (0..rows.len()).step_by(stride) {
            let count = stride.min(rows.len() - start);
            let slots = &all[start..start + count];
            match nulls.map(|nulls| nulls.slice(start, count)) {
                None => self.page(slots, count, None, scratch)?,
                Some(nulls) => {
                    let mut dense = std::mem::take(&mut self.dense);
                    compact(slots, &nulls, &mut dense);
                    self.page(&dense, count, Some(&nulls), scratch)?;
                    self.dense = dense;
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.chunk.bytes() + size_of_val(self.dictionary.values())
    }

    fn finish(&mut self, scratch: &mut Scratch) -> Result<Chunk> {
        let entries = self.dictionary.values();
        let dictionary = (!entries.is_empty()).then(|| (entries.to_byte_slice(), entries.len()));
        let chunk = self.chunk.finish(dictionary, &mut scratch.compressor)?;
        self.dictionary.clear();
        self.way = Way::Open;
        Ok(chunk)
    }
}

/// The values that are there.
fn compact<T: Copy + Default>(slots: &[T], nulls: &NullBuffer, dense: &mut Vec<T>) {
    dense.clear();
    dense.resize(slots.len(), T::default());
    let mut count = 0;
    for (slot, valid) in slots.iter().zip(nulls.inner()) {
        dense[count] = *slot;
        count += usize::from(valid);
    }
    dense.truncate(count);
}
