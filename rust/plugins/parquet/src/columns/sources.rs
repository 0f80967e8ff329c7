//! Arrow arrays as the values that Parquet stores.

use arrow_array::types::{
    ArrowPrimitiveType, BinaryType, BinaryViewType, Decimal128Type, LargeBinaryType, LargeUtf8Type, StringViewType,
    Utf8Type,
};
use arrow_array::{Array, GenericByteArray, GenericByteViewArray, cast::AsArray};
use arrow_buffer::{ArrowNativeType, ScalarBuffer};

/// The values of an array that holds them in the width Parquet stores.
pub fn same_width<T: ArrowNativeType>(rows: &dyn Array) -> ScalarBuffer<T> {
    let data = rows.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

/// The values of an array of narrower numbers.
pub fn widened<A, T>(rows: &dyn Array) -> ScalarBuffer<T>
where
    A: ArrowPrimitiveType,
    T: ArrowNativeType + From<A::Native>,
{
    rows.as_primitive::<A>().values().iter().map(|value| T::from(*value)).collect()
}

/// The values of decimals of at most 9 digits.
pub fn decimal_of_nine(rows: &dyn Array) -> ScalarBuffer<i32> {
    rows.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as i32).collect()
}

/// The values of decimals of at most 18 digits.
pub fn decimal_of_eighteen(rows: &dyn Array) -> ScalarBuffer<i64> {
    rows.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as i64).collect()
}

/// Arrays of strings of bytes.
pub trait ByteSource: Send {
    /// The array's type.
    type Rows: Array + 'static;

    /// The bytes of one row; of a null, any.
    fn value(rows: &Self::Rows, row: usize) -> &[u8];

    /// The row's bytes and those behind them in memory.
    fn memory(rows: &Self::Rows, row: usize) -> &[u8] {
        Self::value(rows, row)
    }

    /// Bytes of all rows, about.
    fn size(rows: &Self::Rows) -> usize;

    /// All rows' bytes one after the other, where the array holds them so, and their lengths added to `lengths`, where
    /// each of them fits.
    fn joined<'a>(rows: &'a Self::Rows, lengths: &mut Vec<i32>) -> Option<&'a [u8]>;
}

macro_rules! byte_sources {
    ($($name:ident: $kind:ty;)*) => {$(
        pub enum $name {}

        impl ByteSource for $name {
            type Rows = GenericByteArray<$kind>;

            #[inline]
            fn value(rows: &Self::Rows, row: usize) -> &[u8] {
                let offsets = rows.value_offsets();
                &rows.value_data()[offsets[row] as usize..offsets[row + 1] as usize]
            }

            #[inline]
            fn memory(rows: &Self::Rows, row: usize) -> &[u8] {
                &rows.value_data()[rows.value_offsets()[row] as usize..]
            }

            fn size(rows: &Self::Rows) -> usize {
                (rows.value_offsets()[rows.len()] - rows.value_offsets()[0]) as usize
            }

            fn joined<'a>(rows: &'a Self::Rows, lengths: &mut Vec<i32>) -> Option<&'a [u8]> {
                let offsets = rows.value_offsets();
                let all = &rows.value_data()[offsets[0] as usize..offsets[rows.len()] as usize];
                if i32::try_from(all.len()).is_err() {
                    return None;
                }
                lengths.extend(offsets.iter().zip(&offsets[1..]).map(|(start, end)| (end - start) as i32));
                Some(all)
            }
        }
    )*};
}

macro_rules! view_sources {
    ($($name:ident: $kind:ty;)*) => {$(
        pub enum $name {}

        impl ByteSource for $name {
            type Rows = GenericByteViewArray<$kind>;

            #[inline]
            fn value(rows: &Self::Rows, row: usize) -> &[u8] {
                rows.value(row).as_ref()
            }

            fn size(rows: &Self::Rows) -> usize {
                rows.lengths().map(|length| length as usize).sum()
            }

            fn joined<'a>(_: &'a Self::Rows, _: &mut Vec<i32>) -> Option<&'a [u8]> {
                None
            }
        }
    )*};
}

byte_sources! {
    Utf8: Utf8Type;
    LargeUtf8: LargeUtf8Type;
    Binary: BinaryType;
    LargeBinary: LargeBinaryType;
}

view_sources! {
    Utf8View: StringViewType;
    BinaryView: BinaryViewType;
}
