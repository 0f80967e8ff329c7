//! Fields to Arrow arrays, a column at a time, each value by the grammar of its column's type.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, GenericByteArray, LargeBinaryArray, LargeStringArray, NullArray,
    PrimitiveArray, StringArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::buffers::{Nulls, Spares, bits};
use crate::dialect::Dialect;
use crate::fields::{Field, Spans, Tokens};
use crate::grammar::{
    Clock, Date, Decimal, Double, Grammar, Moment, Nothing, Separated, Signed, Single, Truth, Unsigned,
};
use crate::options::BinaryFormat;
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
            | T::Decimal128(_, 0..)
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

    pub(crate) fn spans(&self) -> Option<Spans<'_>> {
        self.tokens.spans(self.block, self.width, self.position)
    }

    /// Each row's value, and which rows have none.
    #[inline(always)]
    fn values<G: Grammar>(&self, grammar: &G) -> Parsed<(Vec<G::Value>, Option<NullBuffer>)> {
        let rows = self.rows();
        let mut out: Vec<G::Value> = self.spares.take();
        out.resize(rows, G::Value::default());
        let mut nulls = Nulls::default();
        // Nearly every text of a plain block is a value as it stands: nulls, quotes and spaces are looked for in others.
        let usual_quote = matches!(self.dialect.quote, None | Some(b'"' | b'\''));
        match self.spans().filter(|_| usual_quote && !self.has_null_of(grammar)) {
            Some(mut spans) => {
                for (row, slot) in out.iter_mut().enumerate() {
                    let Some(text) = spans.next_text() else { break };
                    match grammar.parse(text) {
                        Some(value) => *slot = value,
                        None => *slot = self.other(row, &mut nulls, grammar)?,
                    }
                }
            }
            None => {
                for (row, slot) in out.iter_mut().enumerate() {
                    *slot = self.other(row, &mut nulls, grammar)?;
                }
            }
        }
        Ok((out, nulls.finish(rows)))
    }

    /// Whether a word for null means a value as well.
    #[inline(never)]
    fn has_null_of<G: Grammar>(&self, grammar: &G) -> bool {
        self.words.any_null(|null| grammar.parse(null.into()).is_some())
    }

    #[inline(never)]
    fn other<G: Grammar>(&self, row: usize, nulls: &mut Nulls, grammar: &G) -> Parsed<G::Value> {
        let field = self.field(row);
        match self.words.text(self.dialect, self.block, field, &mut Vec::new()) {
            None => {
                nulls.add(row, self.rows());
                Ok(G::Value::default())
            }
            Some(text) => grammar.parse(text.into()).ok_or(Misfit { field, invalid_utf8_at: None }),
        }
    }

    /// The column as an array of a type that [`is_parsed`].
    pub fn parse(&self, data_type: &DataType, declared: bool) -> Parsed<ArrayRef> {
        let digits = if declared { ALL_DIGITS } else { INFERRED_DIGITS };
        Ok(match data_type {
            DataType::Null => {
                self.values(&Nothing)?;
                Arc::new(NullArray::new(self.rows()))
            }
            DataType::Boolean => {
                let (truths, nulls) = self.values(&Truth(self.words))?;
                Arc::new(BooleanArray::new(bits(&truths), nulls))
            }
            DataType::Int8 => self.numbers::<Int8Type>(Signed(digits, PhantomData))?,
            DataType::Int16 => self.numbers::<Int16Type>(Signed(digits, PhantomData))?,
            DataType::Int32 => self.numbers::<Int32Type>(Signed(digits, PhantomData))?,
            DataType::Int64 => self.numbers::<Int64Type>(Signed(digits, PhantomData))?,
            DataType::UInt8 => self.numbers::<UInt8Type>(Unsigned(digits, PhantomData))?,
            DataType::UInt16 => self.numbers::<UInt16Type>(Unsigned(digits, PhantomData))?,
            DataType::UInt32 => self.numbers::<UInt32Type>(Unsigned(digits, PhantomData))?,
            DataType::UInt64 => self.numbers::<UInt64Type>(Unsigned(digits, PhantomData))?,
            DataType::Float32 => self.numbers::<Float32Type>(Single)?,
            DataType::Float64 => self.numbers::<Float64Type>(Double)?,
            DataType::Decimal128(precision, scale) => {
                let array = self.number::<Decimal128Type>(Decimal(*precision, *scale))?;
                Arc::new(array.with_data_type(data_type.clone()))
            }
            DataType::Date32 => Arc::new(self.primitive::<Date32Type>(Date(self.words))?),
            DataType::Time32(TimeUnit::Second) => {
                Arc::new(self.primitive::<Time32SecondType>(Clock::<_, 1>(PhantomData))?)
            }
            DataType::Time32(_) => Arc::new(self.primitive::<Time32MillisecondType>(Clock::<_, 1000>(PhantomData))?),
            DataType::Time64(TimeUnit::Nanosecond) => {
                Arc::new(self.primitive::<Time64NanosecondType>(Clock::<_, 1_000_000_000>(PhantomData))?)
            }
            DataType::Time64(_) => {
                Arc::new(self.primitive::<Time64MicrosecondType>(Clock::<_, 1_000_000>(PhantomData))?)
            }
            DataType::Timestamp(TimeUnit::Second, zone) => self.instants::<TimestampSecondType, 1>(zone)?,
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                self.instants::<TimestampMillisecondType, 1000>(zone)?
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                self.instants::<TimestampMicrosecondType, 1_000_000>(zone)?
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                self.instants::<TimestampNanosecondType, 1_000_000_000>(zone)?
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

    #[inline(always)]
    fn primitive<T: ArrowPrimitiveType>(&self, grammar: impl Grammar<Value = T::Native>) -> Parsed<PrimitiveArray<T>> {
        let (values, nulls) = self.values(&grammar)?;
        Ok(PrimitiveArray::new(values.into(), nulls))
    }

    /// Numbers, with the job's separators or as the grammar writes them.
    #[inline(never)]
    fn number<T: ArrowPrimitiveType>(&self, grammar: impl Grammar<Value = T::Native>) -> Parsed<PrimitiveArray<T>> {
        if self.words.separators.is_none() {
            return self.primitive(grammar);
        }
        self.primitive(Separated(self.words, grammar))
    }

    fn numbers<T: ArrowPrimitiveType>(&self, grammar: impl Grammar<Value = T::Native>) -> Parsed<ArrayRef> {
        Ok(Arc::new(self.number::<T>(grammar)?))
    }

    #[inline(never)]
    fn instants<T: ArrowTimestampType, const PER_SECOND: i64>(&self, zone: &Option<Arc<str>>) -> Parsed<ArrayRef> {
        let array = self.primitive::<T>(Moment::<PER_SECOND>(self.words, zone.is_some()))?;
        Ok(Arc::new(array.with_timezone_opt(zone.clone())))
    }
}
