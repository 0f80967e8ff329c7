//! Fields to Arrow arrays, a column at a time, each value by the grammar of its column's type.

use std::sync::Arc;

use arrow_array::builder::GenericBinaryBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, GenericBinaryArray, GenericByteArray, LargeBinaryArray, LargeStringArray,
    NullArray, OffsetSizeTrait, PrimitiveArray, StringArray,
};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::fields::{Field, Tokens};
use crate::options::BinaryFormat;
use crate::times;
use crate::values;
use crate::words::Words;

/// Digits of an inferred integer; a declared one may have as many as fit its width.
pub const INFERRED_DIGITS: usize = 18;
const ALL_DIGITS: usize = 20;

/// Bytes of a text that are copied at once.
const STRIDE: usize = 32;

/// A column to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where it stands in the first file.
    pub position: usize,
    /// Its type's name.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether the contract or an earlier attempt asked for the type; else it was inferred.
    pub declared: bool,
}

/// Whether columns of this type are parsed here; others are read as strings and left to the contract.
pub fn is_parsed(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Null
            | T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float32
            | T::Float64
            | T::Decimal128(_, _)
            | T::Date32
            | T::Time32(_)
            | T::Time64(_)
            | T::Timestamp(_, _)
            | T::Utf8
            | T::LargeUtf8
            | T::Binary
            | T::LargeBinary
    )
}

/// One column of a block: every `width`-th field.
pub struct Cells<'a> {
    /// The block.
    pub block: &'a [u8],
    /// The fields of all its rows.
    pub tokens: &'a Tokens,
    /// Fields in a row.
    pub width: usize,
    /// Which of them.
    pub position: usize,
    /// How the text is structured.
    pub dialect: &'a Dialect,
    /// What words mean.
    pub words: &'a Words,
}

/// A value that does not fit its column's type, or that is no UTF-8.
#[derive(Debug)]
pub struct Misfit {
    /// Its field.
    pub field: Field,
    /// Where in the field the text stops being UTF-8, for strings.
    pub invalid_utf8_at: Option<usize>,
}

type Parsed<T> = Result<T, Misfit>;

impl Cells<'_> {
    fn column(&self) -> impl Iterator<Item = Field> {
        (0..self.rows()).map(|row| self.field(row))
    }

    fn rows(&self) -> usize {
        self.tokens.len() / self.width.max(1)
    }

    fn field(&self, row: usize) -> Field {
        let last = self.position + 1 == self.width;
        self.tokens.field(self.dialect, self.block, row * self.width + self.position, last)
    }

    fn spans(&self) -> Option<impl Iterator<Item = (usize, usize)>> {
        self.tokens.spans(self.block, self.width, self.position)
    }

    /// Each row's value, and which rows have none.
    ///
    /// parse: understands no text that begins with a quote.
    #[inline(always)]
    fn values<T: Copy + Default>(&self, parse: impl Fn(&[u8]) -> Option<T>) -> Parsed<(Vec<T>, Option<NullBuffer>)> {
        let mut out = vec![T::default(); self.rows()];
        let mut nulls = Nulls::default();
        // Nearly every text of a plain block is a value as it stands: nulls, quotes and spaces are looked for in others.
        let usual_quote = matches!(self.dialect.quote, None | Some(b'"' | b'\''));
        match self.spans().filter(|_| usual_quote && !self.words.any_null(|null| parse(null).is_some())) {
            Some(spans) => {
                for (row, (slot, (start, end))) in out.iter_mut().zip(spans).enumerate() {
                    match parse(&self.block[start..end]) {
                        Some(value) => *slot = value,
                        None => self.other(row, slot, &mut nulls, &parse)?,
                    }
                }
            }
            None => {
                for (row, slot) in out.iter_mut().enumerate() {
                    self.other(row, slot, &mut nulls, &parse)?;
                }
            }
        }
        let nulls = nulls.finish(out.len());
        Ok((out, nulls))
    }

    #[inline(never)]
    fn other<T>(&self, row: usize, slot: &mut T, nulls: &mut Nulls, parse: impl Fn(&[u8]) -> Option<T>) -> Parsed<()> {
        let field = self.field(row);
        match self.words.text(self.dialect, self.block, field, &mut Vec::new()) {
            None => nulls.add(row),
            Some(text) => *slot = parse(text).ok_or(Misfit { field, invalid_utf8_at: None })?,
        }
        Ok(())
    }

    /// The column as an array of a type that [`is_parsed`].
    pub fn parse(&self, data_type: &DataType, declared: bool) -> Parsed<ArrayRef> {
        let digits = if declared { ALL_DIGITS } else { INFERRED_DIGITS };
        Ok(match data_type {
            DataType::Null => {
                self.values(|_| None::<()>)?;
                Arc::new(NullArray::new(self.rows()))
            }
            DataType::Boolean => Arc::new(self.booleans()?),
            DataType::Int8 => self.integers::<Int8Type>(digits)?,
            DataType::Int16 => self.integers::<Int16Type>(digits)?,
            DataType::Int32 => self.integers::<Int32Type>(digits)?,
            DataType::Int64 => self.numbers::<Int64Type>(|text| values::signed(text, digits))?,
            DataType::UInt8 => self.unsigned::<UInt8Type>(digits)?,
            DataType::UInt16 => self.unsigned::<UInt16Type>(digits)?,
            DataType::UInt32 => self.unsigned::<UInt32Type>(digits)?,
            DataType::UInt64 => self.unsigned::<UInt64Type>(digits)?,
            DataType::Float32 => self.numbers::<Float32Type>(values::single)?,
            DataType::Float64 => self.numbers::<Float64Type>(|text| values::float(text, values::DOUBLE_DIGITS))?,
            DataType::Decimal128(precision, scale) => {
                let array = self.number::<Decimal128Type>(|text| values::decimal(text, *precision, *scale))?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            DataType::Date32 => self.primitives::<Date32Type>(|text| self.words.date(text))?,
            DataType::Time32(TimeUnit::Second) => {
                self.primitives::<Time32SecondType>(|text| time_in(text, 1).and_then(|value| value.try_into().ok()))?
            }
            DataType::Time32(_) => self.primitives::<Time32MillisecondType>(|text| {
                time_in(text, 1000).and_then(|value| value.try_into().ok())
            })?,
            DataType::Time64(TimeUnit::Nanosecond) => {
                self.primitives::<Time64NanosecondType>(|text| time_in(text, 1_000_000_000))?
            }
            DataType::Time64(_) => self.primitives::<Time64MicrosecondType>(|text| time_in(text, 1_000_000))?,
            DataType::Timestamp(unit, zone) => {
                let zone = zone.clone();
                match unit {
                    TimeUnit::Second => Arc::new(self.instants::<TimestampSecondType>(1, zone)?),
                    TimeUnit::Millisecond => Arc::new(self.instants::<TimestampMillisecondType>(1000, zone)?),
                    TimeUnit::Microsecond => Arc::new(self.instants::<TimestampMicrosecondType>(1_000_000, zone)?),
                    TimeUnit::Nanosecond => Arc::new(self.instants::<TimestampNanosecondType>(1_000_000_000, zone)?),
                }
            }
            DataType::Binary if self.words.binary != BinaryFormat::Raw => Arc::new(self.decoded::<i32>()?),
            DataType::LargeBinary if self.words.binary != BinaryFormat::Raw => Arc::new(self.decoded::<i64>()?),
            DataType::Binary => {
                let (offsets, bytes, nulls) = self.texts::<i32>()?;
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            DataType::LargeBinary => {
                let (offsets, bytes, nulls) = self.texts::<i64>()?;
                Arc::new(LargeBinaryArray::new(offsets, bytes, nulls))
            }
            DataType::LargeUtf8 => {
                let (offsets, bytes, nulls) = self.texts::<i64>()?;
                let array: Result<LargeStringArray, _> = GenericByteArray::try_new(offsets, bytes, nulls);
                Arc::new(array.map_err(|_| self.invalid_utf8())?)
            }
            _ => {
                let (offsets, bytes, nulls) = self.texts::<i32>()?;
                let array: Result<StringArray, _> = GenericByteArray::try_new(offsets, bytes, nulls);
                Arc::new(array.map_err(|_| self.invalid_utf8())?)
            }
        })
    }

    fn booleans(&self) -> Parsed<BooleanArray> {
        let (truths, nulls) = self.values(|text| self.words.truth(text))?;
        Ok(BooleanArray::new(truths.into(), nulls))
    }

    #[inline(always)]
    fn primitive<T: ArrowPrimitiveType>(
        &self,
        parse: impl Fn(&[u8]) -> Option<T::Native>,
    ) -> Parsed<PrimitiveArray<T>> {
        let (values, nulls) = self.values(parse)?;
        Ok(PrimitiveArray::new(values.into(), nulls))
    }

    fn primitives<T: ArrowPrimitiveType>(&self, parse: impl Fn(&[u8]) -> Option<T::Native>) -> Parsed<ArrayRef> {
        Ok(Arc::new(self.primitive::<T>(parse)?))
    }

    /// Numbers, with the job's separators or as the grammar writes them.
    #[inline(always)]
    fn number<T: ArrowPrimitiveType>(&self, parse: impl Fn(&[u8]) -> Option<T::Native>) -> Parsed<PrimitiveArray<T>> {
        if self.words.separators.is_none() {
            return self.primitive(parse);
        }
        let parse: &dyn Fn(&[u8]) -> Option<T::Native> = &parse;
        self.primitive(|text| self.words.number(text, parse))
    }

    fn numbers<T: ArrowPrimitiveType>(&self, parse: impl Fn(&[u8]) -> Option<T::Native>) -> Parsed<ArrayRef> {
        Ok(Arc::new(self.number::<T>(parse)?))
    }

    fn integers<T: ArrowPrimitiveType>(&self, digits: usize) -> Parsed<ArrayRef>
    where
        T::Native: TryFrom<i64>,
    {
        self.numbers::<T>(|text| T::Native::try_from(values::signed(text, digits)?).ok())
    }

    /// Without a sign, be it that of a zero.
    fn unsigned<T: ArrowPrimitiveType>(&self, digits: usize) -> Parsed<ArrayRef>
    where
        T::Native: TryFrom<u64>,
    {
        self.numbers::<T>(|text| match values::integer(text, digits)? {
            (true, _) => None,
            (false, value) => T::Native::try_from(value).ok(),
        })
    }

    fn instants<T: arrow_array::types::ArrowTimestampType>(
        &self,
        per_second: i64,
        zone: Option<Arc<str>>,
    ) -> Parsed<PrimitiveArray<T>> {
        let zoned = zone.is_some();
        let array = self.primitive::<T>(|text| {
            let instant = self.words.instant(text)?;
            let fits = instant.zoned == zoned && instant.digits <= digits_of(per_second);
            if fits { instant.in_units(per_second) } else { None }
        })?;
        Ok(array.with_timezone_opt(zone))
    }

    fn texts<O: OffsetSizeTrait>(&self) -> Parsed<(OffsetBuffer<O>, Buffer, Option<NullBuffer>)> {
        let mut out = vec![0; self.text_bytes() + STRIDE];
        let mut length = 0;
        let mut offsets = vec![O::default(); self.rows() + 1];
        let mut nulls = Nulls::default();
        let mut scratch = Vec::new();
        let mut other = |row: usize, out: &mut [u8]| {
            match self.words.text(self.dialect, self.block, self.field(row), &mut scratch) {
                None => nulls.add(row),
                Some(text) => {
                    out[..text.len()].copy_from_slice(text);
                    return text.len();
                }
            }
            0
        };
        let ends = offsets[1..].iter_mut();
        match self.spans().filter(|_| !self.words.trim) {
            Some(spans) => {
                for (row, (offset, (start, end))) in ends.zip(spans).enumerate() {
                    let text = &self.block[start..end];
                    if text.len() <= self.words.longest_null || text.first().copied() == self.dialect.quote {
                        length += other(row, &mut out[length..]);
                    } else {
                        put(&mut out[length..], text, &self.block[start..]);
                        length += text.len();
                    }
                    *offset = O::usize_as(length);
                }
            }
            None => {
                for (row, offset) in ends.enumerate() {
                    length += other(row, &mut out[length..]);
                    *offset = O::usize_as(length);
                }
            }
        }
        if O::from_usize(length).is_none() {
            return Err(Misfit { field: self.field(0), invalid_utf8_at: None });
        }
        out.truncate(length);
        Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(out), nulls.finish(self.rows())))
    }

    /// The bytes that each text stands for.
    fn decoded<O: OffsetSizeTrait>(&self) -> Parsed<GenericBinaryArray<O>> {
        let mut out = GenericBinaryBuilder::with_capacity(self.rows(), self.text_bytes());
        let mut scratch = Vec::new();
        for field in self.column() {
            match self.words.text(self.dialect, self.block, field, &mut scratch) {
                None => out.append_null(),
                Some(text) => {
                    out.append_value(self.words.binary.decode(text).ok_or(Misfit { field, invalid_utf8_at: None })?);
                }
            }
        }
        Ok(out.finish())
    }

    /// The bytes of all texts, or a few more.
    fn text_bytes(&self) -> usize {
        match self.spans() {
            Some(spans) => spans.map(|(start, end)| end - start).sum(),
            None => self.column().map(|field| field.text(self.block).len()).sum(),
        }
    }

    /// The first field that is no UTF-8.
    fn invalid_utf8(&self) -> Misfit {
        let invalid = |field: Field| std::str::from_utf8(field.text(self.block)).err().map(|error| error.valid_up_to());
        let found = self.column().find_map(|field| Some((field, invalid(field)?)));
        let (field, at) = found.unwrap_or_else(|| (self.field(0), 0));
        Misfit { field, invalid_utf8_at: Some(at) }
    }
}

/// Which rows have no value; nothing is kept while all have one.
#[derive(Default)]
struct Nulls {
    found: Option<NullBufferBuilder>,
}

impl Nulls {
    /// Adds a row, later than those before.
    fn add(&mut self, row: usize) {
        let found = self.found.get_or_insert_with(|| NullBufferBuilder::new(0));
        found.append_n_non_nulls(row - found.len());
        found.append_null();
    }

    fn finish(self, rows: usize) -> Option<NullBuffer> {
        let mut found = self.found?;
        found.append_n_non_nulls(rows - found.len());
        found.finish()
    }
}

/// Copies a text to the front of `out`. Of short ones more than their own bytes are taken along, where there are as many:
/// a copy of a fixed size costs a fraction of one of any size.
#[inline(always)]
fn put(out: &mut [u8], text: &[u8], block: &[u8]) {
    match (out.first_chunk_mut::<STRIDE>(), block.first_chunk::<STRIDE>()) {
        (Some(out), Some(block)) if text.len() <= STRIDE => *out = *block,
        _ => out[..text.len()].copy_from_slice(text),
    }
}

fn time_in(text: &[u8], per_second: i64) -> Option<i64> {
    let (nanos, digits) = times::time(text)?;
    (digits <= digits_of(per_second)).then_some(nanos / (1_000_000_000 / per_second))
}

/// Digits of a fraction of a second that a unit keeps.
fn digits_of(per_second: i64) -> usize {
    per_second.ilog10() as usize
}
