//! The functions of a reader's table.

use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use dativo_plugin::{CancelToken, Error, ReadContext, ReadRequest, Reader, ReaderPlugin, SourceConfig, Split};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::abi::{Head, Host, READER, ReaderTable};
use super::host::Lent;
use super::{answered, borrow, give, take, text};
use crate::control::{from_json, to_json};
use crate::describe_reader;
use crate::form;
use crate::stream::GuardedStream;

type Counts = Mutex<Map<String, Value>>;

/// What a host holds as a reader.
struct Handle {
    reader: Box<dyn Reader>,
    /// What the last plan was granted; a read in the same process may use as much.
    context: Mutex<ReadContext>,
    cancel: CancelToken,
    /// What streams that are alive count, by where their structs are.
    counts: Mutex<HashMap<usize, Weak<Counts>>>,
}

impl ReaderTable {
    /// The table of a plugin, made once.
    ///
    /// # Safety
    /// `host` is what the host gave.
    pub unsafe fn get<P: ReaderPlugin>(table: &'static OnceLock<Self>, host: *const Host) -> *const Head {
        // SAFETY: the caller's promise.
        unsafe { Lent::keep(P::NAME, host) };
        let made = table.get_or_init(|| Self {
            // SAFETY: the caller's promise.
            head: unsafe { Head::of::<Self>(host, READER, P::API_VERSIONS, describe_reader::<P>()) },
            create: create::<P>,
            close: close::<P>,
            read: read::<P>,
            cancel: Some(cancel),
            plan: Some(plan::<P>),
            check: Some(check::<P>),
            discover: Some(discover::<P>),
            probe: None,
            metrics: Some(metrics::<P>),
        });
        &raw const made.head
    }
}

unsafe extern "C" fn create<P: ReaderPlugin>(
    config: *const c_char,
    out: *mut *mut c_void,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `config` is a text, `out` and `answer` are the host's.
    unsafe {
        answered(P::NAME, answer, || {
            let given: Value = from_json("source config", text("source config", config)?)?;
            let host = Lent::of(P::NAME)?;
            let (storage, log) = (host.storage(given["storage"].as_str()), host.log());
            let known =
                SourceConfig::deserialize(given).map_err(|error| Error::plugin(format!("source config: {error}")))?;
            let reader = Box::new(P::from_config(SourceConfig { storage, log, ..known })?);
            let cancel = CancelToken::new();
            let context = Mutex::new(ReadContext { cancel: cancel.clone(), ..ReadContext::default() });
            give(Handle { reader, context, cancel, counts: Mutex::default() }, out);
            Ok(None)
        })
    }
}

unsafe extern "C" fn close<P: ReaderPlugin>(reader: *mut c_void) {
    // SAFETY: the header's rules: it came from `create`, and this is its end.
    unsafe { take::<Handle>(P::NAME, reader, drop) }
}

unsafe extern "C" fn cancel(reader: *mut c_void) {
    // SAFETY: the header's rules: it came from `create`.
    unsafe { borrow::<Handle>(reader) }.cancel.cancel();
}

unsafe extern "C" fn plan<P: ReaderPlugin>(
    reader: *mut c_void,
    request: *const c_char,
    declared: *const FFI_ArrowSchema,
    schema: *mut FFI_ArrowSchema,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `reader` came from `create`, `request` is a text, `declared` is NULL or a schema that
    // lives as long as the call, `schema` and `answer` are the host's.
    unsafe {
        answered(P::NAME, answer, || {
            let handle = borrow::<Handle>(reader);
            let mut request: ReadRequest = from_json("read request", text("read request", request)?)?;
            request.schema = declared.as_ref().map(|declared| form::schema(declared)).transpose()?.map(Arc::new);
            let context = ReadContext {
                parallelism: request.parallelism.max(1),
                memory_bytes: request.memory_bytes,
                batch_bytes: request.batch_bytes,
                cancel: handle.cancel.clone(),
            };
            *handle.context.lock().unwrap_or_else(PoisonError::into_inner) = context.clone();
            let plan = handle.reader.plan(&request, &context)?;
            if let Some(known) = &plan.schema {
                ptr::write(schema, FFI_ArrowSchema::try_from(known.as_ref())?);
            }
            let told = json!({
                "splits": plan.splits,
                "cursor": plan.cursor,
                "applied": plan.applied,
                "notes": plan.notes,
                "guessed": plan.guessed,
            });
            Ok(Some(told.to_string()))
        })
    }
}

unsafe extern "C" fn read<P: ReaderPlugin>(
    reader: *mut c_void,
    split: *const c_char,
    out: *mut FFI_ArrowArrayStream,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `reader` came from `create`, `split` is a text, `out` and `answer` are the host's.
    unsafe {
        answered(P::NAME, answer, || {
            let handle = borrow::<Handle>(reader);
            let split: Split = from_json("split", text("split", split)?)?;
            let context = handle.context.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let stream = handle.reader.read(&split, &context)?;
            let stream = GuardedStream::new(P::NAME, stream, handle.cancel.clone());
            let mut counts = handle.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.retain(|_, known| known.strong_count() > 0);
            counts.insert(out as usize, Arc::downgrade(&stream.metrics));
            ptr::write(out, FFI_ArrowArrayStream::new(Box::new(stream)));
            Ok(None)
        })
    }
}

unsafe extern "C" fn check<P: ReaderPlugin>(reader: *mut c_void, answer: *mut *mut c_char) -> i32 {
    // SAFETY: the header's rules: `reader` came from `create`, `answer` is the host's.
    unsafe { answered(P::NAME, answer, || Ok(Some(to_json(&borrow::<Handle>(reader).reader.check()?)?))) }
}

unsafe extern "C" fn discover<P: ReaderPlugin>(reader: *mut c_void, answer: *mut *mut c_char) -> i32 {
    // SAFETY: the header's rules: `reader` came from `create`, `answer` is the host's.
    unsafe { answered(P::NAME, answer, || Ok(Some(to_json(&borrow::<Handle>(reader).reader.discover()?)?))) }
}

unsafe extern "C" fn metrics<P: ReaderPlugin>(
    reader: *mut c_void,
    stream: *mut FFI_ArrowArrayStream,
    answer: *mut *mut c_char,
) -> i32 {
    // SAFETY: the header's rules: `reader` came from `create`, `answer` is the host's; `stream` is an address here.
    unsafe {
        answered(P::NAME, answer, || {
            let counts = borrow::<Handle>(reader).counts.lock().unwrap_or_else(PoisonError::into_inner);
            let known = counts.get(&(stream as usize)).and_then(Weak::upgrade);
            known.map(|known| to_json(&*known.lock().unwrap_or_else(PoisonError::into_inner))).transpose()
        })
    }
}
