//! Arrow data as Python objects: a schema, a record batch, a stream of them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use dativo_plugin::{BatchStream, CancelToken, Error, Result, guard};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde_json::{Map, Value};

use crate::capsule::{batch_to_capsules, schema_to_capsule, stream_to_capsule};
use crate::control::{raise, to_json};

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

/// A plugin's stream behind the C interface: no panic leaves it, a cancelled one stops, a failed one has ended.
pub(crate) struct GuardedStream {
    plugin: &'static str,
    schema: SchemaRef,
    stream: Option<Box<dyn BatchStream>>,
    metrics: Arc<Mutex<Map<String, Value>>>,
    cancel: CancelToken,
}

impl GuardedStream {
    pub(crate) fn new(plugin: &'static str, stream: Box<dyn BatchStream>, cancel: CancelToken) -> Self {
        Self { plugin, schema: stream.schema(), stream: Some(stream), metrics: Arc::default(), cancel }
    }

    fn step(&mut self) -> Option<Result<RecordBatch>> {
        let stream = self.stream.as_mut()?;
        let step = guard(self.plugin, || {
            self.cancel.check()?;
            let batch = stream.next().transpose()?;
            *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = stream.metrics();
            Ok(batch)
        });
        if !matches!(step, Ok(Some(_))) {
            self.stream = None;
        }
        step.transpose()
    }
}

impl Iterator for GuardedStream {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|step| step.map_err(|error| ArrowError::ExternalError(error.to_text().into())))
    }
}

impl RecordBatchReader for GuardedStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
