//! Exports a plugin written against `dativo-plugin`: [`export_python!`] as a Python extension module.
//!
//! Data crosses as the Arrow C data interface, control as JSON, errors as one line of JSON. Every entry point catches
//! panics, and none holds the GIL while the plugin works.

mod batch;
mod capsule;
pub mod control;
mod export;
mod moment;
mod reader;
mod rows;
mod sink;
mod storage;

pub use batch::{NativeBatch, NativeSchema, NativeStream};
pub use capsule::{ImportedBatch, schema_of};
#[doc(hidden)]
pub use pyo3;
pub use reader::{ReaderHandle, describe_reader};
pub use rows::NativeRows;
pub use sink::{SinkHandle, describe_file_format};
