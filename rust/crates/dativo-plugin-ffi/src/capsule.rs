//! The Arrow PyCapsule protocol, both ways. The only unsafe code of the wheels.

use std::ffi::CStr;
use std::ptr::NonNull;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi};
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{Array, RecordBatch, RecordBatchReader, StructArray};
use arrow_schema::{ArrowError, DataType, Schema};
use dativo_plugin::Result;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::checked::validate;
use crate::form;
use crate::stream::checked_batch;

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// A schema as a capsule.
pub(crate) fn schema_to_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let exported = FFI_ArrowSchema::try_from(schema).map_err(|error| crate::control::raise(error.into()))?;
    PyCapsule::new_with_value(py, exported, SCHEMA)
}

/// A stream as a capsule; its consumer calls it without the GIL.
pub(crate) fn stream_to_capsule(
    py: Python<'_>,
    stream: Box<dyn RecordBatchReader + Send>,
) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(stream), STREAM)
}

/// A record batch as the two capsules of `__arrow_c_array__`.
pub(crate) fn batch_to_capsules<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let data = StructArray::from(batch.clone()).into_data();
    let (array, schema) = to_ffi(&data).map_err(|error| crate::control::raise(error.into()))?;
    Ok((PyCapsule::new_with_value(py, schema, SCHEMA)?, PyCapsule::new_with_value(py, array, ARRAY)?))
}

/// The schema of an object with `__arrow_c_schema__`.
pub fn schema_of(object: &Bound<'_, PyAny>) -> PyResult<Schema> {
    let capsule = object.call_method0("__arrow_c_schema__")?;
    let pointer = pointer::<FFI_ArrowSchema>(&capsule, SCHEMA)?;
    // SAFETY: the capsule has the name that the protocol reserves for an ArrowSchema, it is alive, and the schema is
    // only borrowed here: the capsule's destructor releases it.
    unsafe { form::schema(pointer.as_ref()) }.map_err(crate::control::raise)
}

/// A record batch on its way in: moved out of its capsules, not looked at yet.
pub struct ImportedBatch {
    array: FFI_ArrowArray,
    schema: FFI_ArrowSchema,
    validated: bool,
}

impl ImportedBatch {
    /// Takes the batch of an object with `__arrow_c_array__`. One whose attribute `validated` is true was made by code
    /// that vouches for its offsets and texts, as [`crate::NativeBatch`] does: it is not looked at a second time.
    pub fn take(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let validated = is_validated(object)?;
        let pair = object.call_method0(intern!(object.py(), "__arrow_c_array__"))?;
        let pair = pair.cast::<PyTuple>()?;
        let (schema, array) = (pair.get_item(0)?, pair.get_item(1)?);
        let schema = pointer::<FFI_ArrowSchema>(&schema, SCHEMA)?;
        let array = pointer::<FFI_ArrowArray>(&array, ARRAY)?;
        // SAFETY: both capsules have the names that the protocol reserves for these structs and are alive; from_raw
        // moves the content out and marks what stays behind as released, so that the destructors leave it alone.
        unsafe {
            Ok(Self {
                array: FFI_ArrowArray::from_raw(array.as_ptr()),
                schema: FFI_ArrowSchema::from_raw(schema.as_ptr()),
                validated,
            })
        }
    }

    /// The record batch, after looking at every offset, every null count and every text that nobody vouches for.
    pub fn into_batch(self) -> Result<RecordBatch> {
        // SAFETY: array and schema came together from one `__arrow_c_array__`, whose contract is that they describe
        // each other and that the buffers live until release.
        let data = unsafe {
            let columns = form::schema(&self.schema)?;
            form::array(self.array, DataType::Struct(columns.fields))
        }?;
        checked_batch(data, self.validated)
    }
}

/// A stream on its way in, its batches looked at as those of [`ImportedBatch`] are.
pub(crate) struct ImportedStream {
    batches: RecordBatchStreamReader,
    validated: bool,
}

// SAFETY: the C stream interface allows its callbacks from any thread as long as the calls do not overlap; the reader
// is owned, so they cannot.
unsafe impl Send for ImportedStream {}

impl ImportedStream {
    /// Takes the stream of an object with `__arrow_c_stream__`.
    pub(crate) fn take(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let validated = is_validated(object)?;
        let capsule = object.call_method0("__arrow_c_stream__")?;
        let pointer = pointer::<FFI_ArrowArrayStream>(&capsule, STREAM)?;
        // SAFETY: the capsule has the name that the protocol reserves for an ArrowArrayStream and is alive; from_raw
        // moves the content out and marks what stays behind as released.
        let batches = unsafe { RecordBatchStreamReader::from_raw(pointer.as_ptr()) };
        batches.map(|batches| Self { batches, validated }).map_err(|error| crate::control::raise(error.into()))
    }
}

impl Iterator for ImportedStream {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(batch.and_then(|batch| {
            if !self.validated {
                batch.columns().iter().try_for_each(|column| validate(&column.to_data()))?;
            }
            Ok(batch)
        }))
    }
}

/// Whether the code that made an object vouches for its offsets and texts.
fn is_validated(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    match object.getattr_opt(intern!(object.py(), "validated"))? {
        Some(value) => value.is_truthy(),
        None => Ok(false),
    }
}

fn pointer<T>(object: &Bound<'_, PyAny>, name: &CStr) -> PyResult<NonNull<T>> {
    Ok(object.cast::<PyCapsule>()?.pointer_checked(Some(name))?.cast())
}
