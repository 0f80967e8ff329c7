//! A plugin's stream, guarded, and what is looked at before a batch from outside is used.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader, StructArray};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, SchemaRef};
use dativo_plugin::{BatchStream, CancelToken, Error, Result, guard};
use serde_json::{Map, Value};

use crate::checked::validate;

/// A plugin's stream behind the C interface: no panic leaves it, a cancelled one stops, a failed one has ended.
pub(crate) struct GuardedStream {
    plugin: &'static str,
    pub(crate) schema: SchemaRef,
    stream: Option<Box<dyn BatchStream>>,
    pub(crate) metrics: Arc<Mutex<Map<String, Value>>>,
    cancel: CancelToken,
}

impl GuardedStream {
    pub(crate) fn new(plugin: &'static str, stream: Box<dyn BatchStream>, cancel: CancelToken) -> Self {
        Self { plugin, schema: stream.schema(), stream: Some(stream), metrics: Arc::default(), cancel }
    }

    pub(crate) fn step(&mut self) -> Option<Result<RecordBatch>> {
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

/// The record batch of a struct array that [`crate::form::array`] gave, after looking at every offset, every null count and
/// every text unless somebody vouches for them.
pub(crate) fn checked_batch(mut data: ArrayData, validated: bool) -> Result<RecordBatch> {
    data.align_buffers();
    if !validated {
        validate(&data)?;
    }
    if data.null_count() > 0 {
        return Err(Error::plugin("a record batch cannot have null rows"));
    }
    Ok(RecordBatch::from(StructArray::from(data)))
}
