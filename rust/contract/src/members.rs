//! Accepted and rejected values.

use std::collections::BTreeSet;
use std::str::FromStr;

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, cast::AsArray, downcast_integer, downcast_temporal};
use arrow_schema::DataType;
use dativo_plugin::{Error, Result};
use hashbrown::HashSet;

use crate::text::texts;
use crate::{Check, marked};

/// Up to here, looking at one after the other beats a hash.
const FEW: usize = 16;
/// Bytes of a text that its key holds.
const KEY_BYTES: usize = 16;

/// Marks the rows of a column whose value is none of `values`, or, unless `accepted`, one of them.
pub(crate) fn members(column: usize, data_type: &DataType, values: &[String], accepted: bool) -> Result<Check> {
    macro_rules! whole {
        ($type:ty) => {
            whole::<$type>(column, values, accepted)
        };
    }
    downcast_integer! {
        data_type => (whole),
        DataType::Utf8 | DataType::LargeUtf8 => words(column, data_type, values, accepted),
        DataType::Boolean => booleans(column, values, accepted),
        DataType::Decimal128(_, _) => whole::<Decimal128Type>(column, values, accepted),
        _ => downcast_temporal! {
            data_type => (whole),
            other => Err(Error::configuration(format!("no listed values for {other}"))),
        }
    }
}

fn words(column: usize, data_type: &DataType, values: &[String], accepted: bool) -> Result<Check> {
    let listed: BTreeSet<Box<[u8]>> = values.iter().map(|value| value.as_bytes().into()).collect();
    if listed.len() <= FEW && listed.iter().all(|value| value.len() <= KEY_BYTES) {
        let keys: Vec<_> = listed.iter().map(|value| key(value)).collect();
        return texts(column, data_type, move |text| {
            let key = key(text);
            // No branch on which of them it is: nothing foretells that.
            let differs = |other: &[u64; 3]| (key[0] ^ other[0]) | (key[1] ^ other[1]) | (key[2] ^ other[2]);
            keys.iter().fold(false, |found, listed| found | (differs(listed) == 0)) != accepted
        });
    }
    if listed.len() <= FEW {
        let listed: Vec<_> = listed.into_iter().collect();
        return texts(column, data_type, move |text| listed.iter().any(|value| **value == *text) != accepted);
    }
    let listed: HashSet<Box<[u8]>> = listed.into_iter().collect();
    texts(column, data_type, move |text| listed.contains(text) != accepted)
}

/// A text's length, its first bytes and its last ones, which overlap in a short text: those of at most [`KEY_BYTES`] bytes
/// differ in it.
#[inline(always)]
fn key(text: &[u8]) -> [u64; 3] {
    let length = text.len() as u64;
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return [length, u64::from_le_bytes(*first), u64::from_le_bytes(*last)];
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return [length, u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()];
    }
    [length, text.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte)), 0]
}

fn booleans(column: usize, values: &[String], accepted: bool) -> Result<Check> {
    let listed = [values.iter().any(|value| value == "false"), values.iter().any(|value| value == "true")];
    Ok(Box::new(move |batch| {
        let array = batch.column(column).as_boolean();
        marked(array.len(), array.nulls(), |row| listed[usize::from(array.value(row))] != accepted)
    }))
}

fn whole<T: ArrowPrimitiveType>(column: usize, values: &[String], accepted: bool) -> Result<Check>
where
    T::Native: FromStr + Ord,
{
    let parse = |text: &String| text.parse().map_err(|_| Error::configuration(format!("{text:?} is no value")));
    let listed: BTreeSet<T::Native> = values.iter().map(parse).collect::<Result<_>>()?;
    let listed: Vec<T::Native> = listed.into_iter().collect();
    let is_listed = move |value: &T::Native| {
        if listed.len() <= FEW { listed.contains(value) } else { listed.binary_search(value).is_ok() }
    };
    Ok(Box::new(move |batch| {
        let array: &PrimitiveArray<T> = batch.column(column).as_primitive();
        let values = array.values();
        marked(values.len(), array.nulls(), |row| is_listed(&values[row]) != accepted)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_have_the_same_key_where_they_are_the_same(one in "[ab\\x00]{0,3}|[ab\\x00]{0,16}", other in "[ab\\x00]{0,3}|[ab\\x00]{0,16}") {
            prop_assert_eq!(key(one.as_bytes()) == key(other.as_bytes()), one == other);
        }
    }
}
