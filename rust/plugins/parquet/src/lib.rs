//! `rust_parquet`: Arrow record batches to Parquet files.
#![forbid(unsafe_code)]

mod columns;
mod durable;
mod file;
mod group;
mod options;
mod order;
mod pages;
mod schedule;
mod stored;
mod taken;

pub use file::{ParquetFormat, ParquetSink};
pub use options::{Compatibility, Compression, ParquetOptions, Statistics};
pub use order::SortKey;

#[cfg(feature = "python")]
mod python {
    dativo_plugin_ffi::export_python! {
        module _native;
        file_format Sink = crate::ParquetFormat;
    }
}
