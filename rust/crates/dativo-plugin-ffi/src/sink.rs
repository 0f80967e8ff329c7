//! The exported class of a file being written.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dativo_plugin::{CancelToken, Error, FileFormat, FileSink, Result, WriteContext, guard};
use pyo3::prelude::*;
use serde_json::Value;

use crate::capsule::{ImportedBatch, ImportedStream, schema_of};
use crate::control::{from_json, raise, to_json};

/// What is behind an exported sink class.
pub struct SinkHandle {
    plugin: &'static str,
    schema: SchemaRef,
    /// `None` once finished or aborted.
    sink: Mutex<Option<Box<dyn FileSink>>>,
    cancel: CancelToken,
}

impl SinkHandle {
    /// Creates a file for batches of a schema. context: a WriteContext in JSON, of which any part may be left out.
    pub fn new<F: FileFormat>(
        py: Python<'_>,
        path: &str,
        schema: &Bound<'_, PyAny>,
        options: &str,
        context: &str,
    ) -> PyResult<Self> {
        let schema = Arc::new(schema_of(schema)?);
        let (sink, cancel) = py
            .detach(|| {
                guard(F::NAME, || {
                    let options: Value = from_json("options", options)?;
                    let context: WriteContext = from_json("write context", context)?;
                    let cancel = context.cancel.clone();
                    Ok((F::create(Path::new(path), schema.clone(), &options, context)?, cancel))
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
        let batch = self.with_schema(batch)?;
        open(sink)?.write(&batch)
    }

    fn with_schema(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec()).map_err(|error| {
            Error::plugin(format!("a batch does not have the schema its file was created with: {error}"))
        })
    }

    /// Adds the rows of an object with `__arrow_c_array__`.
    pub fn write(&self, py: Python<'_>, batch: &Bound<'_, PyAny>) -> PyResult<()> {
        let array = ImportedBatch::take(batch)?;
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

    /// Adds a block of another file, the rows at `places` replaced by those of an object with `__arrow_c_array__`;
    /// returns whether it was done.
    pub fn take_group(
        &self,
        py: Python<'_>,
        source: &str,
        group: usize,
        places: &[usize],
        rows: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let rows = ImportedBatch::take(rows)?;
        self.call(py, move |sink| {
            self.cancel.check()?;
            let rows = self.with_schema(&rows.into_batch()?)?;
            let ascending = places.windows(2).all(|pair| pair[0] < pair[1]);
            if places.len() != rows.num_rows() || !ascending {
                return Err(Error::plugin("take_group needs a row for each place, and places in ascending order"));
            }
            open(sink)?.take_group(Path::new(source), group, places, &rows)
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

fn open(sink: &mut Option<Box<dyn FileSink>>) -> Result<&mut Box<dyn FileSink>> {
    sink.as_mut().ok_or_else(|| Error::plugin("this file was finished or aborted already"))
}
