//! Exports a plugin written against `dativo-plugin`: [`export_python!`] as a Python extension module.
//!
//! Data crosses as the Arrow C data interface, control as JSON, errors as one line of JSON. Every entry point catches
//! panics, and none holds the GIL while the plugin works.

mod capsule;
pub mod python;

#[doc(hidden)]
pub use pyo3;
