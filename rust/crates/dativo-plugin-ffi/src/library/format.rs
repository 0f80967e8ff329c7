//! The functions of a file format's table.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_schema::{DataType, SchemaRef};
use dativo_plugin::{CancelToken, Error, FileFormat, FileSink, WriteContext};
use serde_json::Value;

use super::abi::{FORMAT, FormatTable, Head, Host};
use super::host::Lent;
use super::{answered, borrow, give, take, text};
use crate::control::{from_json, to_json};
use crate::describe_file_format;
use crate::form;
use crate::stream::checked_batch;

/// What a host holds as a sink.
struct Handle {
    schema: SchemaRef,
    /// `None` once finished.
    sink: Mutex<Option<Box<dyn FileSink>>>,
    cancel: CancelToken,
}

impl FormatTable {
    /// The table of a plugin, made once.
    ///
    /// # Safety
    /// `host` is what the host gave.
    pub unsafe fn get<F: FileFormat>(table: &'static OnceLock<Self>, host: *const Host) -> *const Head {
        // SAFETY: the caller's promise.
        unsafe { Lent::keep(F::NAME, host) };
        let made = table.get_or_init(|| Self {
            // SAFETY: the caller's promise.
            head: unsafe { Head::of::<Self>(host, FORMAT, F::API_VERSIONS, describe_file_format::<F>()) },
            create: create::<F>,
            close: close::<F>,
            write: write::<F>,
            finish: finish::<F>,
            cancel: Some(cancel),
            bytes_written: Some(bytes_written),
        });
        &raw const made.head
    }
}

unsafe extern "C" fn create<F: FileFormat>(
    path: *const c_char,
    schema: *const FFI_ArrowSchema,
    options: *const c_char,
    context: *const c_char,
    out: *mut *mut c_void,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `path`, `options` and `context` are texts, `schema` lives as long as the call, `out` and
    // `answer` are the host's.
    unsafe {
        answered(F::NAME, answer, || {
            let options: Value = from_json("options", text("options", options)?)?;
            let context: WriteContext = from_json("write context", text("write context", context)?)?;
            let context = WriteContext { log: Lent::of(F::NAME)?.log(), ..context };
            let schema = Arc::new(form::schema(&*schema)?);
            let cancel = context.cancel.clone();
            let sink = F::create(Path::new(text("path", path)?), schema.clone(), &options, context)?;
            give(Handle { schema, sink: Mutex::new(Some(Box::new(sink))), cancel }, out);
            Ok(None)
        })
    }
}

unsafe extern "C" fn close<F: FileFormat>(sink: *mut c_void) {
    // SAFETY: the header's rules: it came from `create`, and this is its end.
    unsafe {
        take::<Handle>(F::NAME, sink, |handle| {
            if let Some(sink) = handle.sink.into_inner().unwrap_or_else(PoisonError::into_inner) {
                // A close has no answer.
                let _ = sink.abort();
            }
        });
    }
}

unsafe extern "C" fn cancel(sink: *mut c_void) {
    // SAFETY: the header's rules: it came from `create`.
    unsafe { borrow::<Handle>(sink) }.cancel.cancel();
}

unsafe extern "C" fn write<F: FileFormat>(
    sink: *mut c_void,
    batch: *mut FFI_ArrowArray,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `sink` came from `create`, `batch` is of the schema given there and may be moved out,
    // `answer` is the host's.
    unsafe {
        answered(F::NAME, answer, || {
            let handle = borrow::<Handle>(sink);
            handle.cancel.check()?;
            let columns = DataType::Struct(handle.schema.fields().clone());
            let data = form::array(FFI_ArrowArray::from_raw(batch), columns)?;
            let batch = RecordBatch::try_new(handle.schema.clone(), checked_batch(data, false)?.columns().to_vec())?;
            let mut sink = handle.sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.as_mut().ok_or_else(finished)?.write(&batch)?;
            Ok(None)
        })
    }
}

unsafe extern "C" fn finish<F: FileFormat>(sink: *mut c_void, answer: *mut *mut c_char) -> i32 {
    // SAFETY: the header's rules: `sink` came from `create`, `answer` is the host's.
    unsafe {
        answered(F::NAME, answer, || {
            let handle = borrow::<Handle>(sink);
            handle.cancel.check()?;
            let sink = handle.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
            to_json(&sink.ok_or_else(finished)?.finish()?).map(Some)
        })
    }
}

unsafe extern "C" fn bytes_written(sink: *mut c_void) -> i64 {
    // SAFETY: the header's rules: it came from `create`.
    let sink = unsafe { borrow::<Handle>(sink) }.sink.lock().unwrap_or_else(PoisonError::into_inner);
    sink.as_ref().map_or(0, |sink| i64::try_from(sink.bytes_written()).unwrap_or(i64::MAX))
}

fn finished() -> Error {
    Error::plugin("this file was finished already")
}
