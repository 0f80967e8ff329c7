//! Accepted and rejected values.

use std::collections::BTreeSet;
use std::str::FromStr;

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, cast::AsArray, downcast_integer, downcast_temporal};
use arrow_schema::DataType;
use dativo_plugin::{Error, Result};

use crate::text::texts;
use crate::{Check, HashSet, marked};

/// Up to here, looking at one after the other beats a hash.
const FEW: usize = 16;
/// Bytes of a text that its key holds.
const KEY_BYTES: usize = 16;
/// Of a table of keys; a power of two.
const PLACES: usize = 64;
/// No text is so long.
const NO_KEY: [u64; 3] = [u64::MAX; 3];

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
    if listed.iter().all(|value| value.len() <= KEY_BYTES)
        && let Some(table) = Table::new(listed.iter().map(|value| key(value)))
    {
        return texts(column, data_type, move |text| table.holds(&key(text)) != accepted);
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

/// Keys, each in a place of its own: one look tells whether a key is among them, and no branch hangs on which it is.
struct Table {
    factor: u64,
    places: Box<[[u64; 3]; PLACES]>,
}

impl Table {
    /// `None` for keys that find no places of their own, as many do not.
    fn new(keys: impl Iterator<Item = [u64; 3]> + Clone) -> Option<Self> {
        // Odd numbers whose bits follow no pattern.
        let factors = (1..=1000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        factors.into_iter().find_map(|factor| {
            let mut places = Box::new([NO_KEY; PLACES]);
            for key in keys.clone() {
                let place = &mut places[place(factor, &key)];
                if *place != NO_KEY {
                    return None;
                }
                *place = key;
            }
            Some(Self { factor, places })
        })
    }

    #[inline(always)]
    fn holds(&self, key: &[u64; 3]) -> bool {
        let found = &self.places[place(self.factor, key)];
        (key[0] ^ found[0]) | (key[1] ^ found[1]) | (key[2] ^ found[2]) == 0
    }
}

#[inline(always)]
fn place(factor: u64, key: &[u64; 3]) -> usize {
    let mixed = (key[0] ^ key[1] ^ key[2].rotate_left(32)).wrapping_mul(factor);
    (mixed >> (u64::BITS - PLACES.ilog2())) as usize
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
