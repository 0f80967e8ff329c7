//! The Python extension module: classes `Reader` and `Sink` over the traits, made by [`export_python!`].

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use dativo_plugin::{
    API_VERSION, BatchStream, CancelToken, Error, FileFormat, FileSink, ReadContext, ReadRequest, Reader, ReaderPlugin,
    Result, SourceConfig, Split, WriteContext, guard, type_name,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde_json::{Map, Value, json};

use crate::capsule::{
    ImportedArray, ImportedStream, batch_to_capsules, schema_of, schema_to_capsule, stream_to_capsule,
};

/// Makes the extension module of a plugin package.
///
/// ```ignore
/// dativo_plugin_ffi::export_python! {
///     module _native;
///     reader Reader = CsvReaderPlugin;        // or: file_format Sink = ParquetFormat;
/// }
/// ```
#[macro_export]
macro_rules! export_python {
    (module $module:ident; reader $class:ident = $plugin:ty;) => {
        use $crate::pyo3::prelude::*;

        #[pyclass(frozen, crate = "dativo_plugin_ffi::pyo3")]
        struct $class($crate::python::ReaderHandle);

        #[pymethods(crate = "dativo_plugin_ffi::pyo3")]
        impl $class {
            #[new]
            fn new(py: Python<'_>, config_json: &str) -> PyResult<Self> {
                $crate::python::ReaderHandle::new::<$plugin>(py, config_json).map(Self)
            }

            #[staticmethod]
            fn describe() -> String {
                $crate::python::describe_reader::<$plugin>()
            }

            fn check(&self, py: Python<'_>) -> PyResult<String> {
                self.0.check(py)
            }

            fn discover(&self, py: Python<'_>) -> PyResult<String> {
                self.0.discover(py)
            }

            fn plan(
                &self,
                py: Python<'_>,
                request_json: &str,
                schema: Option<Bound<'_, PyAny>>,
            ) -> PyResult<(String, Option<$crate::python::NativeSchema>)> {
                self.0.plan(py, request_json, schema.as_ref())
            }

            fn read(&self, py: Python<'_>, split_json: &str) -> PyResult<$crate::python::NativeStream> {
                self.0.read(py, split_json)
            }

            fn cancel(&self) {
                self.0.cancel();
            }
        }

        #[pymodule(crate = "dativo_plugin_ffi::pyo3")]
        fn $module(module: &Bound<'_, PyModule>) -> PyResult<()> {
            module.add_class::<$class>()
        }
    };
    (module $module:ident; file_format $class:ident = $format:ty;) => {
        use $crate::pyo3::prelude::*;

        #[pyclass(frozen, crate = "dativo_plugin_ffi::pyo3")]
        struct $class($crate::python::SinkHandle);

        #[pymethods(crate = "dativo_plugin_ffi::pyo3")]
        impl $class {
            #[new]
            fn new(py: Python<'_>, path: &str, schema: &Bound<'_, PyAny>, options_json: &str) -> PyResult<Self> {
                $crate::python::SinkHandle::new::<$format>(py, path, schema, options_json).map(Self)
            }

            #[staticmethod]
            fn describe() -> String {
                $crate::python::describe_file_format::<$format>()
            }

            fn write(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
                self.0.write(py, batch)
            }

            fn write_stream(&self, py: Python<'_>, stream: &Bound<'_, PyAny>) -> PyResult<u64> {
                self.0.write_stream(py, stream)
            }

            #[getter]
            fn bytes_written(&self) -> u64 {
                self.0.bytes_written()
            }

            fn finish(&self, py: Python<'_>) -> PyResult<String> {
                self.0.finish(py)
            }

            fn abort(&self, py: Python<'_>) -> PyResult<()> {
                self.0.abort(py)
            }

            fn cancel(&self) {
                self.0.cancel();
            }
        }

        #[pymodule(crate = "dativo_plugin_ffi::pyo3")]
        fn $module(module: &Bound<'_, PyModule>) -> PyResult<()> {
            module.add_class::<$class>()
        }
    };
}

/// A plugin's error as the exception that the Python SDK maps back: its text is one line of JSON.
pub(crate) fn raise(error: Error) -> PyErr {
    PyRuntimeError::new_err(error.to_text())
}

fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::plugin(format!("{what}: {error}")))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::plugin(error.to_string()))
}

/// What a reader class says of itself, as JSON.
pub fn describe_reader<P: ReaderPlugin>() -> String {
    json!({
        "kind": "reader",
        "name": P::NAME,
        "version": P::VERSION,
        "api_version": API_VERSION,
        "language": "rust",
        "options_schema": P::options_schema(),
        "capabilities": P::CAPABILITIES,
    })
    .to_string()
}

/// What a file format's class says of itself, as JSON.
pub fn describe_file_format<F: FileFormat>() -> String {
    json!({
        "kind": "file_format",
        "name": F::NAME,
        "version": F::VERSION,
        "api_version": API_VERSION,
        "language": "rust",
        "extension": F::EXTENSION,
        "options_schema": F::options_schema(),
    })
    .to_string()
}

/// What is behind an exported reader class.
pub struct ReaderHandle {
    plugin: &'static str,
    reader: Box<dyn Reader>,
    /// What the last plan was granted; a read in the same process may use as much.
    context: Mutex<ReadContext>,
    cancel: CancelToken,
}

impl ReaderHandle {
    /// The reader of a SourceConfig in JSON.
    pub fn new<P: ReaderPlugin>(py: Python<'_>, config: &str) -> PyResult<Self> {
        let reader = py
            .detach(|| guard(P::NAME, || P::from_config(from_json::<SourceConfig>("source config", config)?)))
            .map_err(raise)?;
        let cancel = CancelToken::new();
        let context = ReadContext { cancel: cancel.clone(), ..ReadContext::default() };
        Ok(Self { plugin: P::NAME, reader: Box::new(reader), context: Mutex::new(context), cancel })
    }

    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&dyn Reader) -> Result<T> + Send) -> PyResult<T> {
        py.detach(|| guard(self.plugin, || work(self.reader.as_ref()))).map_err(raise)
    }

    /// Whether the source answers, as JSON.
    pub fn check(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, |reader| to_json(&reader.check()?))
    }

    /// What the source offers, as JSON.
    pub fn discover(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, |reader| to_json(&reader.discover()?))
    }

    /// A plan as JSON, and its schema.
    pub fn plan(
        &self,
        py: Python<'_>,
        request: &str,
        schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(String, Option<NativeSchema>)> {
        let target = schema.map(schema_of).transpose()?.map(Arc::new);
        let plan = self.call(py, |reader| {
            let mut request: ReadRequest = from_json("read request", request)?;
            request.schema = target;
            let context = ReadContext {
                parallelism: request.parallelism.max(1),
                memory_bytes: request.memory_bytes,
                batch_bytes: request.batch_bytes,
                cancel: self.cancel.clone(),
            };
            *self.context.lock().unwrap_or_else(PoisonError::into_inner) = context.clone();
            reader.plan(&request, &context)
        })?;
        let text = json!({
            "splits": plan.splits,
            "cursor": plan.cursor,
            "applied": plan.applied,
            "notes": plan.notes,
            "schema_text": plan.schema.as_deref().and_then(schema_text),
        })
        .to_string();
        Ok((text, plan.schema.map(NativeSchema)))
    }

    /// The stream of one split.
    pub fn read(&self, py: Python<'_>, split: &str) -> PyResult<NativeStream> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = self.call(py, |reader| reader.read(&from_json::<Split>("split", split)?, &context))?;
        let stream = GuardedStream {
            plugin: self.plugin,
            schema: stream.schema(),
            stream: Some(stream),
            metrics: Arc::default(),
            cancel: self.cancel.clone(),
        };
        Ok(NativeStream { schema: stream.schema(), metrics: stream.metrics.clone(), stream: Mutex::new(Some(stream)) })
    }

    /// Makes everything this reader started fail fast with a CancelledError.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// {column: type name}, in order; `None` where a type has no name.
fn schema_text(schema: &Schema) -> Option<Map<String, Value>> {
    let names = schema.fields().iter().map(|field| Some((field.name().clone(), type_name(field.data_type())?.into())));
    names.collect()
}

/// Something with `__arrow_c_schema__`.
#[pyclass(frozen, module = "dativo_plugin_ffi")]
pub struct NativeSchema(SchemaRef);

#[pymethods]
impl NativeSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_to_capsule(py, &self.0)
    }
}

/// One record batch, with `__arrow_c_array__`.
#[pyclass(frozen, module = "dativo_plugin_ffi")]
pub struct NativeBatch(RecordBatch);

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

#[pymethods]
impl NativeStream {
    #[getter]
    fn schema(&self) -> NativeSchema {
        NativeSchema(self.schema.clone())
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
struct GuardedStream {
    plugin: &'static str,
    schema: SchemaRef,
    stream: Option<Box<dyn BatchStream>>,
    metrics: Arc<Mutex<Map<String, Value>>>,
    cancel: CancelToken,
}

impl GuardedStream {
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

/// What is behind an exported sink class.
pub struct SinkHandle {
    plugin: &'static str,
    schema: SchemaRef,
    /// `None` once finished or aborted.
    sink: Mutex<Option<Box<dyn FileSink>>>,
    cancel: CancelToken,
}

impl SinkHandle {
    /// Creates a file for batches of a schema.
    pub fn new<F: FileFormat>(py: Python<'_>, path: &str, schema: &Bound<'_, PyAny>, options: &str) -> PyResult<Self> {
        let schema = Arc::new(schema_of(schema)?);
        let cancel = CancelToken::new();
        let context = WriteContext { cancel: cancel.clone(), ..WriteContext::default() };
        let sink = py
            .detach(|| {
                guard(F::NAME, || {
                    let options: Value = from_json("options", options)?;
                    F::create(Path::new(path), schema.clone(), &options, context)
                })
            })
            .map_err(raise)?;
        Ok(Self { plugin: F::NAME, schema, sink: Mutex::new(Some(Box::new(sink))), cancel })
    }

    fn call<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Option<Box<dyn FileSink>>) -> Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| guard(self.plugin, || work(&mut self.sink.lock().unwrap_or_else(PoisonError::into_inner))))
            .map_err(raise)
    }

    fn put(&self, sink: &mut Option<Box<dyn FileSink>>, batch: &RecordBatch) -> Result<()> {
        self.cancel.check()?;
        let sink = sink.as_mut().ok_or_else(|| Error::plugin("this file was finished or aborted already"))?;
        let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec()).map_err(|error| {
            Error::plugin(format!("a batch does not have the schema its file was created with: {error}"))
        })?;
        sink.write(&batch)
    }

    /// Adds the rows of an object with `__arrow_c_array__`.
    pub fn write(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let array = ImportedArray::take(batch)?;
        self.call(py, move |sink| self.put(sink, &array.into_batch()?))
    }

    /// Adds all rows of an object with `__arrow_c_stream__`; returns how many.
    pub fn write_stream(&self, py: Python<'_>, stream: &Bound<'_, PyAny>) -> PyResult<u64> {
        let stream = ImportedStream::take(stream)?;
        self.call(py, move |sink| {
            let mut rows = 0;
            for batch in stream {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                self.put(sink, &batch)?;
            }
            Ok(rows)
        })
    }

    /// Bytes written so far; zero once the file is closed.
    pub fn bytes_written(&self) -> u64 {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.as_ref().map_or(0, |sink| sink.bytes_written())
    }

    /// Completes the file; its FileInfo as JSON.
    pub fn finish(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, |sink| {
            self.cancel.check()?;
            let sink = sink.take().ok_or_else(|| Error::plugin("this file was finished or aborted already"))?;
            to_json(&sink.finish()?)
        })
    }

    /// Removes what there is of the file; a second call does nothing.
    pub fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |sink| sink.take().map_or(Ok(()), |sink| sink.abort()))
    }

    /// Makes the next write fail with a CancelledError.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}
