//! The structs of `dativo_plugin.h`.

use std::ffi::{CString, c_char, c_void};
use std::ops::RangeInclusive;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;

pub(super) const READER: u32 = 1;
pub(super) const FORMAT: u32 = 2;
const MAGIC: u32 = 0x5654_4144;

/// `dativo_host`: what the host offers.
#[repr(C)]
pub struct Host {
    api_version: u32,
    size: u32,
    context: *mut c_void,
    log: Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char)>,
    oldest_api_version: u32,
}

/// `dativo_plugin`: what every table begins with.
#[repr(C)]
pub struct Head {
    magic: u32,
    api_version: u32,
    size: u32,
    kind: u32,
    about: *const c_char,
    free_text: unsafe extern "C" fn(*mut c_char),
}

// SAFETY: a table is constant once it is made, and so is what it leads to.
unsafe impl Send for Head {}
// SAFETY: as above.
unsafe impl Sync for Head {}

impl Head {
    /// The head of a table of type `T`; its text lives as long as the process. versions: those that it works with.
    ///
    /// # Safety
    /// `host` is what the host gave.
    pub(super) unsafe fn of<T>(host: *const Host, kind: u32, versions: RangeInclusive<u32>, about: String) -> Self {
        // SAFETY: the caller's promise.
        let wanted = unsafe { (*host).api_version };
        Self {
            magic: MAGIC,
            // Where the host takes none of them, it says which side has to be upgraded.
            api_version: wanted.clamp(*versions.start(), *versions.end()),
            size: size_of::<T>() as u32,
            kind,
            // JSON holds no NUL.
            about: CString::new(about).unwrap_or_default().into_raw(),
            free_text: super::free_text,
        }
    }
}

type Answer = *mut *mut c_char;
type Out = *mut *mut c_void;

/// `dativo_reader`.
#[repr(C)]
pub struct ReaderTable {
    pub(super) head: Head,
    pub(super) create: unsafe extern "C" fn(*const c_char, Out, Answer) -> i32,
    pub(super) close: unsafe extern "C" fn(*mut c_void),
    pub(super) read: unsafe extern "C" fn(*mut c_void, *const c_char, *mut FFI_ArrowArrayStream, Answer) -> i32,
    pub(super) cancel: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(super) plan: Option<
        unsafe extern "C" fn(*mut c_void, *const c_char, *const FFI_ArrowSchema, *mut FFI_ArrowSchema, Answer) -> i32,
    >,
    pub(super) check: Option<unsafe extern "C" fn(*mut c_void, Answer) -> i32>,
    pub(super) discover: Option<unsafe extern "C" fn(*mut c_void, Answer) -> i32>,
    pub(super) probe: Option<unsafe extern "C" fn(*mut c_void, *const c_char, Answer) -> i32>,
    pub(super) metrics: Option<unsafe extern "C" fn(*mut c_void, *mut FFI_ArrowArrayStream, Answer) -> i32>,
}

/// `dativo_format`.
#[repr(C)]
pub struct FormatTable {
    pub(super) head: Head,
    pub(super) create:
        unsafe extern "C" fn(*const c_char, *const FFI_ArrowSchema, *const c_char, *const c_char, Out, Answer) -> i32,
    pub(super) close: unsafe extern "C" fn(*mut c_void),
    pub(super) write: unsafe extern "C" fn(*mut c_void, *mut FFI_ArrowArray, Answer) -> i32,
    pub(super) finish: unsafe extern "C" fn(*mut c_void, Answer) -> i32,
    pub(super) cancel: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(super) bytes_written: Option<unsafe extern "C" fn(*mut c_void) -> i64>,
}
