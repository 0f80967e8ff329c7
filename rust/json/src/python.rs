//! The extension module.

use std::sync::Arc;

use dativo_plugin::{Error, guard};
use dativo_plugin_ffi::control::raise;
use dativo_plugin_ffi::{NativeBatch, NativeRows, schema_of};
use pyo3::prelude::*;

use crate::Lines;

const NAME: &str = "dativo-rust-json";

/// Parses for one schema. Raises at construction where no JSON is plainly of one of its types.
#[pyclass(frozen, name = "Lines")]
struct PyLines(Lines);

#[pymethods]
impl PyLines {
    #[new]
    fn new(schema: &Bound<'_, PyAny>, others: bool) -> PyResult<Self> {
        let schema = Arc::new(schema_of(schema)?);
        let lines = Lines::new(schema, others);
        lines.map(Self).map_err(|_| raise(Error::plugin("a column that must not be null is beyond this parser")))
    }

    /// The rows of whole lines, and how many lines they are; `None` where Python has to look.
    fn parse(&self, py: Python<'_>, text: &[u8]) -> PyResult<Option<(NativeBatch, usize)>> {
        let parsed = py.detach(|| guard(NAME, || Ok(self.0.parse(text).ok()))).map_err(raise)?;
        Ok(parsed.map(|parsed| (NativeBatch(parsed.batch), parsed.lines)))
    }

    /// The rows of an array; `None` where Python has to look.
    fn parse_array(&self, py: Python<'_>, text: &[u8]) -> PyResult<Option<NativeBatch>> {
        let parsed = py.detach(|| guard(NAME, || Ok(self.0.parse_array(text).ok()))).map_err(raise)?;
        Ok(parsed.map(NativeBatch))
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLines>()?;
    module.add_class::<NativeRows>()
}
