//! The extension module.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use dativo_plugin::{Error, Result, guard, parse_type};
use dativo_plugin_ffi::control::{from_json, raise};
use dativo_plugin_ffi::{ImportedBatch, NativeBatch, NativeSchema};
use pyo3::prelude::*;

use crate::{Broken, Checks, Spec};

const NAME: &str = "dativo-rust-contract";

/// The rules of one run. Raises at construction where one of them is beyond what is checked here.
#[pyclass(frozen, name = "Checks")]
struct PyChecks(Checks);

#[pymethods]
impl PyChecks {
    #[new]
    fn new(spec_json: &str) -> PyResult<Self> {
        guard(NAME, || Checks::new(&from_json::<Spec>("spec", spec_json)?)).map(Self).map_err(raise)
    }

    /// Of the rows that land.
    #[getter]
    fn output_schema(&self) -> NativeSchema {
        NativeSchema(self.0.output().clone())
    }

    /// The rows that land; and, where rules are broken, the rows that break them: `_row`, their positions in the batch, a
    /// column of booleans for each broken rule, named by its index, and then the batch's own columns.
    fn check(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<(NativeBatch, Option<NativeBatch>)> {
        let batch = ImportedBatch::take(batch)?;
        py.detach(|| {
            guard(NAME, || {
                let found = self.0.check(&batch.into_batch()?)?;
                Ok((NativeBatch(found.good), found.broken.map(marked).transpose()?.map(NativeBatch)))
            })
        })
        .map_err(raise)
    }
}

fn marked(broken: Broken) -> Result<RecordBatch> {
    let mut fields = vec![Arc::new(Field::new("_row", DataType::UInt64, false))];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(broken.positions))];
    for (rule, mask) in broken.rules {
        fields.push(Arc::new(Field::new(rule.to_string(), DataType::Boolean, false)));
        columns.push(Arc::new(BooleanArray::from(mask)));
    }
    fields.extend(broken.rows.schema().fields().iter().cloned());
    columns.extend(broken.rows.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::from)
}

/// A schema from `[[name, type name], ...]` in JSON.
#[pyfunction]
fn schema(columns_json: &str) -> PyResult<NativeSchema> {
    guard(NAME, || {
        let columns: Vec<(String, String)> = from_json("columns", columns_json)?;
        let fields = columns.iter().map(|(name, text)| Ok(Field::new(name, parse_type(text)?, true)));
        Ok(NativeSchema(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?))))
    })
    .map_err(raise)
}

/// The one name of a type that may be written in several ways; `None` for a type that is unknown here.
#[pyfunction]
fn type_name(text: &str) -> Option<String> {
    parse_type(text).ok().as_ref().and_then(dativo_plugin::type_name)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyChecks>()?;
    module.add_function(wrap_pyfunction!(schema, module)?)?;
    module.add_function(wrap_pyfunction!(type_name, module)?)
}
