//! Fields to Arrow arrays, a column at a time, each value by the grammar of its column's type.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, GenericByteArray, LargeBinaryArray, LargeStringArray, NullArray,
    OffsetSizeTrait, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::fields::{Field, Tokens, span};
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
        let last = self.position + 1 == self.width;
        let numbers = (self.position..self.tokens.len()).step_by(self.width.max(1));
        numbers.map(move |number| self.tokens.field(self.dialect, self.block, number, last))
    }

    fn rows(&self) -> usize {
        self.tokens.len() / self.width.max(1)
    }

    #[inline(always)]
    fn each(&self, mut take: impl FnMut(Option<&[u8]>) -> bool) -> Parsed<()> {
        self.each_in_place(|text, _| take(text))
    }

    /// Calls with each text, and with the block from that text on where it stands there.
    #[inline(always)]
    fn each_in_place(&self, mut take: impl FnMut(Option<&[u8]>, &[u8]) -> bool) -> Parsed<()> {
        let mut scratch = Vec::new();
        let Some((ends, returns)) = self.tokens.plain_ends() else {
            for field in self.column() {
                if !take(self.words.text(self.dialect, self.block, field, &mut scratch), &[]) {
                    return Err(Misfit { field, invalid_utf8_at: None });
                }
            }
            return Ok(());
        };
        // The same without a detour over fields where a text stands as it is, which is nearly everywhere.
        let last = self.position + 1 == self.width;
        let simple = !(self.words.trim || (last && returns));
        for number in (self.position..ends.len()).step_by(self.width.max(1)) {
            let (start, end) = span(ends, number);
            let text = &self.block[start..end];
            let field = || self.tokens.field(self.dialect, self.block, number, last);
            let taken = if simple && text.first().copied() != self.dialect.quote {
                take((!self.words.is_null(text)).then_some(text), &self.block[start..])
            } else {
                take(self.words.text(self.dialect, self.block, field(), &mut scratch), &[])
            };
            if !taken {
                return Err(Misfit { field: field(), invalid_utf8_at: None });
            }
        }
        Ok(())
    }

    /// The column as an array of a type that [`is_parsed`].
    pub fn parse(&self, data_type: &DataType, declared: bool) -> Parsed<ArrayRef> {
        let digits = if declared { ALL_DIGITS } else { INFERRED_DIGITS };
        Ok(match data_type {
            DataType::Null => {
                self.each(|text| text.is_none())?;
                Arc::new(NullArray::new(self.rows()))
            }
            DataType::Boolean => Arc::new(self.booleans()?),
            DataType::Int8 => self.integers::<Int8Type>(digits)?,
            DataType::Int16 => self.integers::<Int16Type>(digits)?,
            DataType::Int32 => self.integers::<Int32Type>(digits)?,
            DataType::Int64 => self.primitives::<Int64Type>(|text| values::signed(text, digits))?,
            DataType::UInt8 => self.unsigned::<UInt8Type>(digits)?,
            DataType::UInt16 => self.unsigned::<UInt16Type>(digits)?,
            DataType::UInt32 => self.unsigned::<UInt32Type>(digits)?,
            DataType::UInt64 => self.unsigned::<UInt64Type>(digits)?,
            DataType::Float32 => self.primitives::<Float32Type>(|text| {
                let wide = values::float(text, values::SINGLE_DIGITS)?;
                let narrow = wide as f32;
                (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
            })?,
            DataType::Float64 => self.primitives::<Float64Type>(|text| values::float(text, values::DOUBLE_DIGITS))?,
            DataType::Decimal128(precision, scale) => {
                let array = self.primitive::<Decimal128Type>(|text| values::decimal(text, *precision, *scale))?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            DataType::Date32 => self.primitives::<Date32Type>(values::date)?,
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
        let mut bits = BooleanBufferBuilder::new(self.rows());
        let mut nulls = NullBufferBuilder::new(self.rows());
        self.each(|text| {
            let truth = match text {
                None => {
                    nulls.append_null();
                    false
                }
                Some(text) => {
                    nulls.append_non_null();
                    match self.words.truth(text) {
                        Some(truth) => truth,
                        None => return false,
                    }
                }
            };
            bits.append(truth);
            true
        })?;
        Ok(BooleanArray::new(bits.finish(), nulls.finish()))
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        parse: impl Fn(&[u8]) -> Option<T::Native>,
    ) -> Parsed<PrimitiveArray<T>> {
        let mut out: Vec<T::Native> = Vec::with_capacity(self.rows());
        let mut nulls = NullBufferBuilder::new(self.rows());
        self.each(|text| {
            let value = match text {
                None => {
                    nulls.append_null();
                    T::Native::default()
                }
                Some(text) => match parse(text) {
                    Some(value) => {
                        nulls.append_non_null();
                        value
                    }
                    None => return false,
                },
            };
            out.push(value);
            true
        })?;
        Ok(PrimitiveArray::new(ScalarBuffer::from(out), nulls.finish()))
    }

    fn primitives<T: ArrowPrimitiveType>(&self, parse: impl Fn(&[u8]) -> Option<T::Native>) -> Parsed<ArrayRef> {
        Ok(Arc::new(self.primitive::<T>(parse)?))
    }

    fn integers<T: ArrowPrimitiveType>(&self, digits: usize) -> Parsed<ArrayRef>
    where
        T::Native: TryFrom<i64>,
    {
        self.primitives::<T>(|text| T::Native::try_from(values::signed(text, digits)?).ok())
    }

    /// Without a sign, be it that of a zero.
    fn unsigned<T: ArrowPrimitiveType>(&self, digits: usize) -> Parsed<ArrayRef>
    where
        T::Native: TryFrom<u64>,
    {
        self.primitives::<T>(|text| match values::integer(text, digits)? {
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
            let instant = values::instant(text)?;
            let fits = instant.zoned == zoned && instant.digits <= digits_of(per_second);
            if fits { instant.in_units(per_second) } else { None }
        })?;
        Ok(array.with_timezone_opt(zone))
    }

    fn texts<O: OffsetSizeTrait>(&self) -> Parsed<(OffsetBuffer<O>, Buffer, Option<NullBuffer>)> {
        let mut out = vec![0; self.text_bytes() + STRIDE];
        let mut length = 0;
        let mut offsets: Vec<O> = Vec::with_capacity(self.rows() + 1);
        let mut nulls = NullBufferBuilder::new(self.rows());
        offsets.push(O::default());
        self.each_in_place(|text, block| {
            match text {
                None => nulls.append_null(),
                Some(text) => {
                    nulls.append_non_null();
                    put(&mut out[length..], text, block);
                    length += text.len();
                }
            }
            match O::from_usize(length) {
                Some(offset) => offsets.push(offset),
                None => return false,
            }
            true
        })?;
        out.truncate(length);
        Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(out), nulls.finish()))
    }

    /// The bytes of all texts, or a few more.
    fn text_bytes(&self) -> usize {
        let Some((ends, _)) = self.tokens.plain_ends() else {
            return self.column().map(|field| field.text(self.block).len()).sum();
        };
        let bytes = |number| {
            let (start, end) = span(ends, number);
            end - start
        };
        (self.position..ends.len()).step_by(self.width.max(1)).map(bytes).sum()
    }

    /// The first field that is no UTF-8.
    fn invalid_utf8(&self) -> Misfit {
        let invalid = |field: Field| std::str::from_utf8(field.text(self.block)).err().map(|error| error.valid_up_to());
        let found = self.column().find_map(|field| Some((field, invalid(field)?)));
        let first = || self.tokens.field(self.dialect, self.block, self.position, self.position + 1 == self.width);
        let (field, at) = found.unwrap_or_else(|| (first(), 0));
        Misfit { field, invalid_utf8_at: Some(at) }
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
    let (nanos, digits) = values::time(text)?;
    (digits <= digits_of(per_second)).then_some(nanos / (1_000_000_000 / per_second))
}

/// Digits of a fraction of a second that a unit keeps.
fn digits_of(per_second: i64) -> usize {
    per_second.ilog10() as usize
}
