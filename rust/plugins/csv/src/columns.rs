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
    PrimitiveArray, StringArray,
};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::buffers::{Nulls, Spares, bits};
use crate::dialect::Dialect;
use crate::fields::{Field, Tokens};
use crate::options::BinaryFormat;
use crate::span::Span;
use crate::times;
use crate::values;
use crate::words::Words;

/// Digits of an inferred integer; a declared one may have as many as fit its width.
pub const INFERRED_DIGITS: usize = 18;
const ALL_DIGITS: usize = 20;

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
    /// What the column before was made of.
    pub spares: &'a Spares,
}

/// A value that does not fit its column's type, or that is no UTF-8.
#[derive(Debug)]
pub struct Misfit {
    /// Its field.
    pub field: Field,
    /// Where in the field the text stops being UTF-8, for strings.
    pub invalid_utf8_at: Option<usize>,
}

pub(crate) type Parsed<T> = Result<T, Misfit>;

impl Cells<'_> {
    pub(crate) fn column(&self) -> impl Iterator<Item = Field> {
        (0..self.rows()).map(|row| self.field(row))
    }

    pub(crate) fn rows(&self) -> usize {
        self.tokens.len() / self.width.max(1)
    }

    pub(crate) fn field(&self, row: usize) -> Field {
        let last = self.position + 1 == self.width;
        self.tokens.field(self.dialect, self.block, row * self.width + self.position, last)
    }

    pub(crate) fn spans(&self) -> Option<impl Iterator<Item = Span<'_>>> {
        self.tokens.spans(self.block, self.width, self.position)
    }

    /// Each row's value, and which rows have none.
    ///
    /// parse: understands no text that begins with a quote.
    #[inline(always)]
    fn values<T: ArrowNativeType>(&self, parse: impl Fn(Span) -> Option<T>) -> Parsed<(Vec<T>, Option<NullBuffer>)> {
        let rows = self.rows();
        let mut out: Vec<T> = self.spares.take();
        out.resize(rows, T::default());
        let mut nulls = Nulls::default();
        // Nearly every text of a plain block is a value as it stands: nulls, quotes and spaces are looked for in others.
        let usual_quote = matches!(self.dialect.quote, None | Some(b'"' | b'\''));
        match self.spans().filter(|_| usual_quote && !self.words.any_null(|null| parse(null.into()).is_some())) {
            Some(spans) => {
                for (row, (slot, text)) in out.iter_mut().zip(spans).enumerate() {
                    match parse(text) {
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
        Ok((out, nulls.finish(rows)))
    }

    #[inline(never)]
    fn other<T: Default>(
        &self,
        row: usize,
        slot: &mut T,
        nulls: &mut Nulls,
        parse: impl Fn(Span) -> Option<T>,
    ) -> Parsed<()> {
        let field = self.field(row);
        match self.words.text(self.dialect, self.block, field, &mut Vec::new()) {
            None => {
                *slot = T::default();
                nulls.add(row, self.rows());
            }
            Some(text) => *slot = parse(text.into()).ok_or(Misfit { field, invalid_utf8_at: None })?,
        }
        Ok(())
    }

    /// The column as an array of a type that [`is_parsed`].
    pub fn parse(&self, data_type: &DataType, declared: bool) -> Parsed<ArrayRef> {
        let digits = if declared { ALL_DIGITS } else { INFERRED_DIGITS };
        Ok(match data_type {
            DataType::Null => {
                self.values(|_| None::<u8>)?;
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
            DataType::Float32 => self.numbers::<Float32Type>(|text| {
                let wide = values::float(text, values::SINGLE_DIGITS)?;
                let narrow = wide as f32;
                (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
            })?,
            DataType::Float64 => self.numbers::<Float64Type>(|text| values::float(text, values::DOUBLE_DIGITS))?,
            DataType::Decimal128(precision, scale) => {
                let array = self.number::<Decimal128Type>(|text| values::decimal(text.text(), *precision, *scale))?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            DataType::Date32 => self.primitives::<Date32Type>(|text| self.words.date(text.text()))?,
            DataType::Time32(TimeUnit::Second) => self.primitives::<Time32SecondType>(|text| {
                time_in(text.text(), 1).and_then(|value| value.try_into().ok())
            })?,
            DataType::Time32(_) => self.primitives::<Time32MillisecondType>(|text| {
                time_in(text.text(), 1000).and_then(|value| value.try_into().ok())
            })?,
            DataType::Time64(TimeUnit::Nanosecond) => {
                self.primitives::<Time64NanosecondType>(|text| time_in(text.text(), 1_000_000_000))?
            }
            DataType::Time64(_) => self.primitives::<Time64MicrosecondType>(|text| time_in(text.text(), 1_000_000))?,
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
        let (truths, nulls) = self.values(|text| self.words.truth(text).map(u8::from))?;
        Ok(BooleanArray::new(bits(&truths), nulls))
    }

    #[inline(always)]
    fn primitive<T: ArrowPrimitiveType>(&self, parse: impl Fn(Span) -> Option<T::Native>) -> Parsed<PrimitiveArray<T>> {
        let (values, nulls) = self.values(parse)?;
        Ok(PrimitiveArray::new(values.into(), nulls))
    }

    fn primitives<T: ArrowPrimitiveType>(&self, parse: impl Fn(Span) -> Option<T::Native>) -> Parsed<ArrayRef> {
        Ok(Arc::new(self.primitive::<T>(parse)?))
    }

    /// Numbers, with the job's separators or as the grammar writes them.
    #[inline(always)]
    fn number<T: ArrowPrimitiveType>(&self, parse: impl Fn(Span) -> Option<T::Native>) -> Parsed<PrimitiveArray<T>> {
        if self.words.separators.is_none() {
            return self.primitive(parse);
        }
        let parse: &dyn Fn(Span) -> Option<T::Native> = &parse;
        self.primitive(|text| self.words.number(text, parse))
    }

    fn numbers<T: ArrowPrimitiveType>(&self, parse: impl Fn(Span) -> Option<T::Native>) -> Parsed<ArrayRef> {
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
            if !zoned && let Some(seconds) = times::whole_seconds(text.text()) {
                return seconds.checked_mul(per_second);
            }
            let instant = self.words.instant(text.text())?;
            let fits = instant.zoned == zoned && instant.digits <= digits_of(per_second);
            if fits { instant.in_units(per_second) } else { None }
        })?;
        Ok(array.with_timezone_opt(zone))
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
