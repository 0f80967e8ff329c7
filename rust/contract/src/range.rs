//! Bounds on numbers and points in time.

use std::str::FromStr;

use arrow_array::types::{Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, cast::AsArray, downcast_integer, downcast_temporal};
use arrow_schema::DataType;
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
    macro_rules! whole {
        ($type:ty) => {
            whole::<$type>(column, low, high)
        };
    }
    downcast_integer! {
        data_type => (whole),
        DataType::Decimal128(_, _) => whole::<Decimal128Type>(column, low, high),
        DataType::Float32 => float::<Float32Type>(column, low, high, exclusive),
        DataType::Float64 => float::<Float64Type>(column, low, high, exclusive),
        _ => downcast_temporal! {
            data_type => (whole),
            other => Err(Error::configuration(format!("no bounds for {other}"))),
        }
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
