//! Bounds on numbers and points in time.

use std::str::FromStr;

use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, cast::AsArray};
use arrow_schema::{DataType, TimeUnit};
use dativo_plugin::{Error, Result};

use crate::{Check, marked};

/// `low <= value <= high` for the column `column` of type `data_type`.
pub(crate) fn range(
    column: usize,
    data_type: &DataType,
    low: Option<&str>,
    high: Option<&str>,
    exclusive: bool,
) -> Result<Check> {
    use DataType::*;
    match data_type {
        Int8 => whole::<Int8Type>(column, low, high),
        Int16 => whole::<Int16Type>(column, low, high),
        Int32 => whole::<Int32Type>(column, low, high),
        Int64 => whole::<Int64Type>(column, low, high),
        UInt8 => whole::<UInt8Type>(column, low, high),
        UInt16 => whole::<UInt16Type>(column, low, high),
        UInt32 => whole::<UInt32Type>(column, low, high),
        UInt64 => whole::<UInt64Type>(column, low, high),
        Decimal128(_, _) => whole::<Decimal128Type>(column, low, high),
        Date32 => whole::<Date32Type>(column, low, high),
        Time32(TimeUnit::Second) => whole::<Time32SecondType>(column, low, high),
        Time32(_) => whole::<Time32MillisecondType>(column, low, high),
        Time64(TimeUnit::Microsecond) => whole::<Time64MicrosecondType>(column, low, high),
        Time64(_) => whole::<Time64NanosecondType>(column, low, high),
        Timestamp(TimeUnit::Second, _) => whole::<TimestampSecondType>(column, low, high),
        Timestamp(TimeUnit::Millisecond, _) => whole::<TimestampMillisecondType>(column, low, high),
        Timestamp(TimeUnit::Microsecond, _) => whole::<TimestampMicrosecondType>(column, low, high),
        Timestamp(TimeUnit::Nanosecond, _) => whole::<TimestampNanosecondType>(column, low, high),
        Float32 => float::<Float32Type>(column, low, high, exclusive),
        Float64 => float::<Float64Type>(column, low, high, exclusive),
        other => Err(Error::configuration(format!("no bounds for {other}"))),
    }
}

fn whole<T: ArrowPrimitiveType>(column: usize, low: Option<&str>, high: Option<&str>) -> Result<Check>
where
    T::Native: FromStr + PartialOrd,
{
    let (low, high) = (parsed::<T::Native>(low)?, parsed::<T::Native>(high)?);
    Ok(match (low, high) {
        (Some(low), Some(high)) => compare::<T>(column, move |value| (value < low) | (value > high)),
        (Some(low), None) => compare::<T>(column, move |value| value < low),
        (None, Some(high)) => compare::<T>(column, move |value| value > high),
        (None, None) => Box::new(|_| None),
    })
}

/// NaN is in no range.
fn float<T: ArrowPrimitiveType>(column: usize, low: Option<&str>, high: Option<&str>, exclusive: bool) -> Result<Check>
where
    T::Native: FromStr + PartialOrd,
{
    let (low, high) = (parsed::<T::Native>(low)?, parsed::<T::Native>(high)?);
    let above = move |value: T::Native| low.is_none_or(|low| if exclusive { value > low } else { value >= low });
    let below = move |value: T::Native| high.is_none_or(|high| if exclusive { value < high } else { value <= high });
    Ok(compare::<T>(column, move |value| !(above(value) & below(value))))
}

fn parsed<T: FromStr>(text: Option<&str>) -> Result<Option<T>> {
    let parse =
        |text: &str| text.parse().map_err(|_| Error::configuration(format!("{text:?} is no value of its type")));
    text.map(parse).transpose()
}

fn compare<T: ArrowPrimitiveType>(
    column: usize,
    breaks: impl Fn(T::Native) -> bool + Copy + Send + Sync + 'static,
) -> Check {
    Box::new(move |batch| {
        let array: &PrimitiveArray<T> = batch.column(column).as_primitive();
        let values = array.values();
        // One pass without a branch first: nearly every batch breaks nothing. The slots of nulls hold anything.
        if !values.iter().fold(false, |any, value| any | breaks(*value)) {
            return None;
        }
        marked(values.len(), array.nulls(), |row| breaks(values[row]))
    })
}
