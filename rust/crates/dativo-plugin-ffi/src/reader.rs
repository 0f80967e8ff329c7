//! The exported reader class.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::Schema;
use dativo_plugin::{
    CancelToken, ReadContext, ReadRequest, Reader, ReaderPlugin, Result, SourceConfig, Split, guard, type_name,
};
use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::batch::{NativeSchema, NativeStream};
use crate::capsule::schema_of;
use crate::control::{from_json, raise, to_json};
use crate::log::log_of;
use crate::storage::storage_of;
use crate::stream::GuardedStream;

/// What is behind an exported reader class.
pub struct ReaderHandle {
    plugin: &'static str,
    reader: Box<dyn Reader>,
    /// What the last plan was granted; a read in the same process may use as much.
    context: Mutex<ReadContext>,
    cancel: CancelToken,
}

impl ReaderHandle {
    /// The reader of a SourceConfig in JSON; `files` opens what it names by URI.
    pub fn new<P: ReaderPlugin>(py: Python<'_>, config: &str, files: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        let storage = storage_of(files);
        let make = || {
            let known: SourceConfig = from_json("source config", config)?;
            let log = log_of(P::NAME, &known);
            P::from_config(SourceConfig { storage, log, ..known })
        };
        let reader = py.detach(|| guard(P::NAME, make)).map_err(raise)?;
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
            "guessed": plan.guessed,
            "schema_text": plan.schema.as_deref().and_then(schema_text),
        })
        .to_string();
        Ok((text, plan.schema.map(NativeSchema)))
    }

    /// The stream of one split.
    pub fn read(&self, py: Python<'_>, split: &str) -> PyResult<NativeStream> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = self.call(py, |reader| reader.read(&from_json::<Split>("split", split)?, &context))?;
        Ok(NativeStream::new(GuardedStream::new(self.plugin, stream, self.cancel.clone())))
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
