//! `rust_csv`: delimited text to Arrow record batches.
//!
//! A plan looks at the beginning of the input and at places spread over it, chooses dialect and types, and cuts large
//! files at proven record ends. A split is read block by block: structure first, then a column at a time.
#![forbid(unsafe_code)]

mod ahead;
mod blocks;
mod boundary;
mod buffers;
mod charset;
mod columns;
mod dialect;
mod digits;
mod fields;
mod formats;
mod grammar;
mod head;
mod infer;
mod input;
mod options;
mod place;
mod plan;
mod reader;
mod span;
mod stream;
mod texts;
mod times;
mod tokens;
mod values;
mod words;

pub use options::{Auto, BadLines, BinaryFormat, Compression, CsvOptions, Setting};
pub use reader::{CsvReader, CsvReaderPlugin};

#[cfg(feature = "python")]
mod python {
    dativo_plugin_ffi::export_python! {
        module _native;
        reader Reader = crate::CsvReaderPlugin;
    }
}
