//! Columns of flat types, from Arrow arrays to chunks of pages.

mod boolean;
mod bytes;
mod fixed;
mod sources;

use arrow_array::Array;
use arrow_schema::{DataType, TimeUnit};
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use crate::pages::PageOptions;
use crate::pages::bits::{hybrid, width};
use crate::pages::chunk::Chunk;
use crate::pages::codec::Compressor;
use crate::pages::dictionary::Key;

/// Values looked at before a dictionary of all is tried.
const SAMPLE: usize = 1024;

/// How a chunk's values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The first page decides.
    Open,
    /// By a dictionary.
    Dictionary,
    /// As they are.
    Direct,
}

impl Way {
    /// Whether a dictionary is not worth it: the values of the first page are mostly distinct.
    fn is_spoiled(self, entries: usize, values: usize) -> bool {
        self == Self::Open && entries * 2 > values
    }
}

/// What the columns that one thread encodes share.
pub struct Scratch {
    /// Compresses their pages.
    pub compressor: Compressor,
    levels: Vec<u8>,
    page: Vec<u8>,
    other: Vec<u8>,
    indices: Vec<u32>,
    keys: Vec<Key>,
    lengths: Vec<i32>,
}

impl Scratch {
    /// Raises an error for a codec that cannot be had.
    pub fn new(options: &PageOptions) -> Result<Self> {
        Ok(Self {
            compressor: Compressor::new(options.compression, options.adaptive)?,
            levels: Vec::new(),
            page: Vec::new(),
            other: Vec::new(),
            indices: Vec::new(),
            keys: Vec::new(),
            lengths: Vec::new(),
        })
    }

    /// Makes the indices a page of a dictionary that has so many entries.
    fn indices_to_page(&mut self, entries: usize) {
        let width = width(entries as u64 - 1).max(1);
        self.page.clear();
        self.page.push(width as u8);
        hybrid(&mut self.page, &self.indices, width);
    }

    /// Whether that page and half of its dictionary, which later pages use too, are smaller than the values.
    fn indices_pay(&self, dictionary_bytes: usize, direct_bytes: usize) -> bool {
        self.page.len() + dictionary_bytes / 2 < direct_bytes
    }
}

/// One flat column of the row group being written.
pub trait Column: Send {
    /// Adds rows as one or more pages.
    fn write(&mut self, rows: &dyn Array, scratch: &mut Scratch) -> Result<()>;

    /// Bytes held for the chunk so far, its dictionary counted.
    fn bytes(&self) -> usize;

    /// Ends the chunk and starts the next.
    fn finish(&mut self, scratch: &mut Scratch) -> Result<Chunk>;
}

/// The encoder for a type; `None` where the parquet crate's own is used: nested types and rare ones.
pub fn column(data_type: &DataType, descriptor: &ColumnDescPtr, options: PageOptions) -> Option<Box<dyn Column>> {
    use fixed::FixedColumn;
    use sources::{decimal_of_eighteen, decimal_of_nine, same_width, widened};

    macro_rules! fixed {
        ($source:expr) => {
            Box::new(FixedColumn::new(descriptor, options, $source))
        };
    }
    macro_rules! bytes {
        ($source:ident, $text:literal) => {
            Box::new(bytes::BytesColumn::<sources::$source, $text>::new(descriptor, options))
        };
    }
    Some(match data_type {
        DataType::Boolean => Box::new(boolean::BooleanColumn::new(descriptor, options)),
        DataType::Int8 => fixed!(widened::<arrow_array::types::Int8Type, i32>),
        DataType::Int16 => fixed!(widened::<arrow_array::types::Int16Type, i32>),
        DataType::UInt8 => fixed!(widened::<arrow_array::types::UInt8Type, u32>),
        DataType::UInt16 => fixed!(widened::<arrow_array::types::UInt16Type, u32>),
        DataType::Int32 | DataType::Date32 | DataType::Time32(TimeUnit::Millisecond) => fixed!(same_width::<i32>),
        DataType::UInt32 => fixed!(same_width::<u32>),
        DataType::Int64
        | DataType::Time64(_)
        | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _) => {
            fixed!(same_width::<i64>)
        }
        DataType::UInt64 => fixed!(same_width::<u64>),
        DataType::Float32 => fixed!(same_width::<f32>),
        DataType::Float64 => fixed!(same_width::<f64>),
        DataType::Decimal128(1..=9, _) => fixed!(decimal_of_nine),
        DataType::Decimal128(10..=18, _) => fixed!(decimal_of_eighteen),
        DataType::Utf8 => bytes!(Utf8, true),
        DataType::LargeUtf8 => bytes!(LargeUtf8, true),
        DataType::Utf8View => bytes!(Utf8View, true),
        DataType::Binary => bytes!(Binary, false),
        DataType::LargeBinary => bytes!(LargeBinary, false),
        DataType::BinaryView => bytes!(BinaryView, false),
        _ => return None,
    })
}
