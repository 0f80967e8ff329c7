//! Arrow data as Python objects: a schema, a record batch, a stream of them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dativo_plugin::Error;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde_json::{Map, Value};

use crate::capsule::{batch_to_capsules, schema_to_capsule, stream_to_capsule};
use crate::control::{raise, to_json};
use crate::stream::GuardedStream;

/// Something with `__arrow_c_schema__`.
#[pyclass(frozen, module = "dativo_plugin_ffi")]
pub struct NativeSchema(pub SchemaRef);

#[pymethods]
impl NativeSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_to_capsule(py, &self.0)
    }
}

/// One record batch made by arrow-rs, with `__arrow_c_array__`.
#[pyclass(frozen, module = "dativo_plugin_ffi")]
pub struct NativeBatch(pub RecordBatch);

#[pymethods]
impl NativeBatch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Bytes of its buffers.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.get_array_memory_size()
    }

    /// Its offsets and texts are valid: arrow-rs makes no others.
    #[getter]
    fn validated(&self) -> bool {
        true
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // The protocol lets a producer ignore the wish for another schema.
        drop(requested_schema);
        batch_to_capsules(py, &self.0)
    }
}

/// Something with `__arrow_c_stream__`, good for one pass; or an iterator of its batches, for who has no Arrow library.
#[pyclass(frozen, module = "dativo_plugin_ffi")]
pub struct NativeStream {
    schema: SchemaRef,
    metrics: Arc<Mutex<Map<String, Value>>>,
    stream: Mutex<Option<GuardedStream>>,
}

impl NativeStream {
    pub(crate) fn new(stream: GuardedStream) -> Self {
        Self { schema: stream.schema.clone(), metrics: stream.metrics.clone(), stream: Mutex::new(Some(stream)) }
    }
}

#[pymethods]
impl NativeStream {
    #[getter]
    fn schema(&self) -> NativeSchema {
        NativeSchema(self.schema.clone())
    }

    /// Offsets and texts of its batches are valid: arrow-rs makes no others.
    #[getter]
    fn validated(&self) -> bool {
        true
    }

    /// What the plugin counted so far, as a JSON object; complete once the stream was read to its end.
    #[getter]
    fn metrics(&self) -> PyResult<String> {
        to_json(&*self.metrics.lock().unwrap_or_else(PoisonError::into_inner)).map_err(raise)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<NativeBatch>> {
        let step = py.detach(|| {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.as_mut().and_then(GuardedStream::step).transpose()
        });
        step.map(|batch| batch.map(NativeBatch)).map_err(raise)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The protocol lets a producer ignore the wish for another schema.
        drop(requested_schema);
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stream = stream.ok_or_else(|| raise(Error::plugin("this stream was consumed already")))?;
        stream_to_capsule(py, Box::new(stream))
    }
}
