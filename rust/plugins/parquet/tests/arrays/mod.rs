//! Arrays of every type, in shapes that make each encoding: what lies in null slots is never zero.

use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};

/// How values follow each other.
pub const SHAPES: [&str; 6] = ["constant", "ascending", "few", "runs", "many", "extreme"];

/// Which rows have no value.
pub const HOLES: [&str; 6] = ["none", "all", "every third", "first half", "blocks", "last"];

/// A number for each row, by shape; `extreme` reaches all 64 bits.
fn seeds(shape: &str, rows: usize) -> Vec<u64> {
    let scattered = |row: usize| (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (row as u64) << 13;
    let seed = |row: usize| match shape {
        "constant" => 7,
        "ascending" => row as u64 * 3,
        "few" => scattered(row) % 11,
        "runs" => (row / 150) as u64 % 5,
        "many" => scattered(row) % 100_000,
        _ => scattered(row),
    };
    (0..rows).map(seed).collect()
}

fn holes(pattern: &str, rows: usize) -> Option<NullBuffer> {
    let valid = |row: usize| match pattern {
        "all" => false,
        "every third" => !row.is_multiple_of(3),
        "first half" => row >= rows / 2,
        "blocks" => (row / 64).is_multiple_of(2),
        _ => row + 1 != rows,
    };
    (pattern != "none").then(|| NullBuffer::new(BooleanBuffer::collect_bool(rows, valid)))
}

fn text(seed: u64) -> String {
    match seed % 7 {
        0 => String::new(),
        1 => format!("é{seed}"),
        2 => format!("{seed:016}"),
        3 => format!("a common start of some length {seed}"),
        4 => format!("{seed:024}"),
        5 => "long ".repeat((seed % 50) as usize),
        _ => format!("v{}", seed % 10),
    }
}

/// Every type with its name. offset: rows cut off at the start, so that buffers do not begin at byte 0.
pub fn arrays(shape: &str, pattern: &str, rows: usize, offset: usize) -> Vec<(String, ArrayRef)> {
    let all = rows + offset;
    let seeds = seeds(shape, all);
    let nulls = holes(pattern, all);
    let mut out: Vec<(String, ArrayRef)> = Vec::new();
    macro_rules! primitive {
        ($($kind:ident: $value:expr;)*) => {$({
            #[allow(clippy::redundant_closure_call)]
            let values: Vec<<$kind as ArrowPrimitiveType>::Native> = seeds.iter().map(|seed| $value(*seed)).collect();
            out.push((stringify!($kind).into(), Arc::new(PrimitiveArray::<$kind>::new(values.into(), nulls.clone()))));
        })*};
    }
    primitive! {
        Int8Type: |seed| seed as i8;
        Int16Type: |seed| seed as i16;
        Int32Type: |seed| seed as i32;
        Int64Type: |seed| seed as i64;
        UInt8Type: |seed| seed as u8;
        UInt16Type: |seed| seed as u16;
        UInt32Type: |seed| seed as u32;
        UInt64Type: |seed| seed;
        Float16Type: half;
        Float32Type: |seed| float(seed) as f32;
        Float64Type: float;
        Date32Type: |seed| seed as i32;
        Date64Type: |seed| (seed as i64 % 1_000_000) * 86_400_000;
        Time32SecondType: |seed| (seed % 86_400) as i32;
        Time32MillisecondType: |seed| (seed % 86_400_000) as i32;
        Time64MicrosecondType: |seed| (seed % 86_400_000_000) as i64;
        Time64NanosecondType: |seed| (seed % 86_400_000_000_000) as i64;
        TimestampSecondType: |seed| seed as i64 % 1_000_000_000;
        TimestampMillisecondType: |seed| seed as i64;
        TimestampMicrosecondType: |seed| seed as i64;
        TimestampNanosecondType: |seed| seed as i64;
        DurationMicrosecondType: |seed| seed as i64;
    }
    let utc = PrimitiveArray::<TimestampMicrosecondType>::new(
        seeds.iter().map(|seed| *seed as i64).collect::<Vec<_>>().into(),
        nulls.clone(),
    );
    out.push(("utc".into(), Arc::new(utc.with_timezone("+00:00"))));
    for (precision, modulus) in [(5, 100_000), (9, 1_000_000_000), (18, 10i128.pow(18)), (38, 10i128.pow(30))] {
        let values: Vec<i128> = seeds.iter().map(|seed| i128::from(*seed as i64) % modulus).collect();
        let array = Decimal128Array::new(values.into(), nulls.clone()).with_precision_and_scale(precision, 2);
        out.push((format!("decimal{precision}"), Arc::new(array.expect("decimals"))));
    }
    let bits = BooleanBuffer::collect_bool(all, |row| seeds[row] % 2 == 1);
    out.push(("boolean".into(), Arc::new(BooleanArray::new(bits, nulls.clone()))));

    let texts: Vec<String> = seeds.iter().map(|seed| text(*seed)).collect();
    let strings = masked(&StringArray::from_iter_values(&texts), nulls.as_ref());
    let large = masked(&LargeStringArray::from_iter_values(&texts), nulls.as_ref());
    let blobs = masked(&BinaryArray::from_iter_values(texts.iter().map(|text| flipped(text))), nulls.as_ref());
    let large_blobs =
        masked(&LargeBinaryArray::from_iter_values(texts.iter().map(|text| flipped(text))), nulls.as_ref());
    let views = masked(&StringViewArray::from_iter_values(&texts), nulls.as_ref());
    let blob_views = masked(&BinaryViewArray::from_iter_values(texts.iter().map(|text| flipped(text))), nulls.as_ref());
    for (name, array) in [
        ("text", strings),
        ("large_text", large),
        ("binary", blobs),
        ("large_binary", large_blobs),
        ("text_view", views),
        ("binary_view", blob_views),
    ] {
        out.push((name.into(), array));
    }
    out.into_iter().map(|(name, array)| (name, array.slice(offset, rows))).collect()
}

/// The array with some of its values declared null; their bytes stay.
fn masked(array: &dyn Array, nulls: Option<&NullBuffer>) -> ArrayRef {
    let data = array.to_data().into_builder().nulls(nulls.cloned()).build().expect("a masked array");
    make_array(data)
}

fn flipped(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| !byte).collect()
}

fn float(seed: u64) -> f64 {
    match seed % 13 {
        0 => -0.0,
        1 => 0.0,
        2 => f64::NAN,
        3 => f64::INFINITY,
        4 => f64::NEG_INFINITY,
        5 => -f64::NAN,
        _ => (seed % 1_000_003) as f64 / 100.0 * if seed.is_multiple_of(2) { 1.0 } else { -1.0 },
    }
}

fn half(seed: u64) -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::usize_as((seed % 1000) as usize)
}
