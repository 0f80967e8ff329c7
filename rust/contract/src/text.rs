//! Columns of text, with 32 or 64 bit offsets.

use arrow_array::{Array, GenericStringArray, OffsetSizeTrait, cast::AsArray};
use arrow_schema::DataType;
use dativo_plugin::{Error, Result};

use crate::{Check, Mask, marked};

/// Marks the texts of a column that `breaks` marks.
pub(crate) fn texts(
    column: usize,
    data_type: &DataType,
    breaks: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
) -> Result<Check> {
    match data_type {
        DataType::Utf8 => Ok(Box::new(move |batch| each(batch.column(column).as_string::<i32>(), &breaks))),
        DataType::LargeUtf8 => Ok(Box::new(move |batch| each(batch.column(column).as_string::<i64>(), &breaks))),
        other => Err(Error::configuration(format!("{other} is no text"))),
    }
}

fn each<O: OffsetSizeTrait>(array: &GenericStringArray<O>, breaks: &impl Fn(&[u8]) -> bool) -> Mask {
    let (offsets, bytes) = (array.value_offsets(), array.value_data());
    marked(array.len(), array.nulls(), |row| breaks(&bytes[offsets[row].as_usize()..offsets[row + 1].as_usize()]))
}

/// `least <= characters <= most`. A character has one to four bytes, so that few texts have to be counted.
pub(crate) fn length(column: usize, data_type: &DataType, least: usize, most: usize) -> Result<Check> {
    match data_type {
        DataType::Utf8 => Ok(Box::new(move |batch| lengths(batch.column(column).as_string::<i32>(), least, most))),
        DataType::LargeUtf8 => Ok(Box::new(move |batch| lengths(batch.column(column).as_string::<i64>(), least, most))),
        other => Err(Error::configuration(format!("{other} is no text"))),
    }
}

fn lengths<O: OffsetSizeTrait>(array: &GenericStringArray<O>, least: usize, most: usize) -> Mask {
    // One pass without a branch first, as for bounds on numbers: nearly every text is good by its bytes alone.
    let is_doubtful = |ends: &[O]| {
        let bytes = (ends[1] - ends[0]).as_usize();
        (bytes.div_ceil(4) < least) | (bytes > most)
    };
    if !array.value_offsets().windows(2).fold(false, |any, ends| any | is_doubtful(ends)) {
        return None;
    }
    each(array, &|text| {
        let characters = text.iter().filter(|byte| (**byte as i8) >= -0x40).count();
        characters < least || characters > most
    })
}
