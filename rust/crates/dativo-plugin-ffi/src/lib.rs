//! Exports a plugin written against `dativo-plugin`: [`export_python!`] as a Python extension module, with the feature
//! `python`; [`export_library!`] as a shared library behind `include/dativo_plugin.h`, which needs no Python.
//!
//! Data crosses as the Arrow C data interface, control as JSON, errors as one line of JSON. Every entry point catches
//! panics, and none holds the GIL while the plugin works.

mod about;
#[cfg(feature = "python")]
mod batch;
#[cfg(feature = "python")]
mod capsule;
mod checked;
pub mod control;
#[cfg(feature = "python")]
mod export;
mod form;
pub mod library;
#[cfg(feature = "python")]
mod log;
#[cfg(feature = "python")]
mod moment;
#[cfg(feature = "python")]
mod reader;
#[cfg(feature = "python")]
mod rows;
#[cfg(feature = "python")]
mod sink;
#[cfg(feature = "python")]
mod storage;
mod stream;

pub use about::{describe_file_format, describe_reader};
#[cfg(feature = "python")]
pub use batch::{NativeBatch, NativeSchema, NativeStream};
#[cfg(feature = "python")]
pub use capsule::{ImportedBatch, schema_of};
#[cfg(feature = "python")]
#[doc(hidden)]
pub use pyo3;
#[cfg(feature = "python")]
pub use reader::ReaderHandle;
#[cfg(feature = "python")]
pub use rows::NativeRows;
#[cfg(feature = "python")]
pub use sink::SinkHandle;
