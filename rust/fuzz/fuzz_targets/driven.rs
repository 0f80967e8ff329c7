//! The tables of dativo_plugin.h as a host calls them, written down from the header.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use dativo_plugin::Error;

use crate::foreign::{Array, Schema};
use crate::source::Source;

type Text = *const c_char;
type Out = *mut *mut c_void;
type AnswerOut = *mut *mut c_char;

#[repr(C)]
pub struct Head {
    numbers: [u32; 4],
    about: Text,
    pub free_text: unsafe extern "C" fn(*mut c_char),
}

#[repr(C)]
pub struct ReaderTable {
    pub head: Head,
    pub create: unsafe extern "C" fn(Text, Out, AnswerOut) -> i32,
    pub close: unsafe extern "C" fn(*mut c_void),
    pub read: unsafe extern "C" fn(*mut c_void, Text, *mut Stream, AnswerOut) -> i32,
    pub cancel: unsafe extern "C" fn(*mut c_void),
    pub plan: unsafe extern "C" fn(*mut c_void, Text, *const Schema, *mut Schema, AnswerOut) -> i32,
    pub check: unsafe extern "C" fn(*mut c_void, AnswerOut) -> i32,
    pub discover: unsafe extern "C" fn(*mut c_void, AnswerOut) -> i32,
    probe: *const c_void,
    pub metrics: unsafe extern "C" fn(*mut c_void, *mut Stream, AnswerOut) -> i32,
}

#[repr(C)]
pub struct FormatTable {
    pub head: Head,
    pub create: unsafe extern "C" fn(Text, *const Schema, Text, Text, Out, AnswerOut) -> i32,
    pub close: unsafe extern "C" fn(*mut c_void),
    pub write: unsafe extern "C" fn(*mut c_void, *mut Array, AnswerOut) -> i32,
    pub finish: unsafe extern "C" fn(*mut c_void, AnswerOut) -> i32,
    pub cancel: unsafe extern "C" fn(*mut c_void),
    pub bytes_written: unsafe extern "C" fn(*mut c_void) -> i64,
}

/// Where answers go.
pub struct Answer(unsafe extern "C" fn(*mut c_char));

impl Answer {
    pub fn new(free_text: unsafe extern "C" fn(*mut c_char)) -> Self {
        Self(free_text)
    }

    /// Whether a call succeeded. A failed one has to tell an error of ours, a good one nothing or JSON.
    pub fn of(&mut self, call: impl FnOnce(AnswerOut) -> i32) -> bool {
        let mut answer = ptr::null_mut();
        let status = call(&raw mut answer);
        let text = (!answer.is_null()).then(|| unsafe { CStr::from_ptr(answer) }.to_str().expect("UTF-8").to_owned());
        if !answer.is_null() {
            unsafe { (self.0)(answer) };
        }
        match text {
            Some(text) if status == 0 => drop(serde_json::from_str::<serde_json::Value>(&text).expect("JSON")),
            None if status == 0 => {}
            other => is_typed(other.as_deref()),
        }
        status == 0
    }
}

fn is_typed(text: Option<&str>) {
    let error = text.and_then(Error::from_text).unwrap_or_else(|| panic!("no error of ours: {text:?}"));
    assert!(!error.message.is_empty() && error.error_code != "PLUGIN_PANIC", "{error:?}");
}

#[repr(C)]
pub struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut FFI_ArrowSchema) -> i32>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut FFI_ArrowArray) -> i32>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> Text>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

impl Stream {
    pub fn empty() -> Self {
        Self { get_schema: None, get_next: None, get_last_error: None, release: None, private_data: ptr::null_mut() }
    }

    /// Takes the schema and some batches, or all, in no good order.
    pub fn look(&mut self, source: &mut Source) {
        for _ in 0..source.byte() % 6 {
            let at = ptr::from_mut(self);
            let status = if source.byte() % 3 == 0 {
                let mut schema = FFI_ArrowSchema::empty();
                unsafe { self.get_schema.expect("a function")(at, &raw mut schema) }
            } else {
                let mut array = FFI_ArrowArray::empty();
                unsafe { self.get_next.expect("a function")(at, &raw mut array) }
            };
            if status != 0 {
                let said = unsafe { self.get_last_error.expect("a function")(at) };
                is_typed(unsafe { said.as_ref().map(|said| CStr::from_ptr(said).to_str().expect("UTF-8")) });
                return;
            }
        }
    }

    pub fn release(&mut self) {
        let at = ptr::from_mut(self);
        unsafe { self.release.expect("a function")(at) };
        assert!(self.release.is_none(), "it is marked as released");
    }
}
