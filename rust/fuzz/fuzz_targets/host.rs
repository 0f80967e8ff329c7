//! Hosts of several sizes, whose answers are the input's.

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char, c_void};
use std::ptr;

use crate::source::Source;

#[repr(C)]
struct Host {
    api_version: u32,
    size: u32,
    context: *mut c_void,
    log: Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char)>,
    oldest_api_version: u32,
    open: Option<
        unsafe extern "C" fn(
            *mut c_void,
            *const c_char,
            *const c_char,
            *mut *mut c_void,
            *mut u64,
            *mut *mut c_char,
        ) -> i32,
    >,
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, u64, u64, *mut u8, *mut *mut c_char) -> i32>,
    close: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    free_text: Option<unsafe extern "C" fn(*mut c_void, *mut c_char)>,
}

// SAFETY: constant, without a context.
unsafe impl Sync for Host {}

const FULL: Host = Host {
    api_version: 1,
    size: size_of::<Host>() as u32,
    context: ptr::null_mut(),
    log: Some(log),
    oldest_api_version: 1,
    open: Some(open),
    read: Some(read),
    close: Some(close),
    free_text: Some(free_text),
};

/// Whole; without a log; without files; of the first header, which ended before the files; of a later version.
static HOSTS: [Host; 5] = [
    FULL,
    Host { log: None, ..FULL },
    Host { read: None, ..FULL },
    Host { size: 24, ..FULL },
    Host { api_version: 9, oldest_api_version: 3, size: 4096, ..FULL },
];

thread_local! {
    static ANSWERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ALIVE: Cell<[i64; 2]> = const { Cell::new([0; 2]) };
}

const ERRORS: [&str; 5] = [
    r#"{"dativo_error": {"kind": "ConnectionError", "error_code": "X", "message": "m", "retryable": true, "hint": null, "details": {}}}"#,
    r#"{"dativo_error": {"kind": "Other", "message": 7}}"#,
    r#"{"dativo_error": "#,
    "no JSON",
    "",
];

/// A host that answers with what comes next in the input.
pub fn choose(source: &mut Source) -> *const c_void {
    let host = &HOSTS[usize::from(source.byte()) % HOSTS.len()];
    let count = usize::from(source.byte() % 32);
    ANSWERS.set((0..count).map(|_| source.byte()).collect());
    ptr::from_ref(host).cast()
}

/// Every text that was answered, and every file that was opened, was given back.
pub fn nothing_is_left() {
    assert_eq!(ALIVE.replace([0; 2]), [0; 2], "texts and files");
}

fn next() -> u8 {
    ANSWERS.with_borrow_mut(|answers| answers.pop().unwrap_or(0))
}

fn count(which: usize, step: i64) {
    let mut alive = ALIVE.get();
    alive[which] += step;
    ALIVE.set(alive);
}

/// Zero, or a failure with a reason or without one; sometimes a text with a success.
fn status(answer: *mut *mut c_char) -> i32 {
    let choice = next();
    if choice % 4 == 3 {
        let text = CString::new(ERRORS[usize::from(next()) % ERRORS.len()]).expect("no NUL");
        count(0, 1);
        unsafe { answer.write(text.into_raw()) };
    }
    i32::from(choice > 200)
}

unsafe extern "C" fn log(_: *mut c_void, level: i32, text: *const c_char) {
    assert!((10..=40).contains(&level) && !unsafe { std::ffi::CStr::from_ptr(text) }.is_empty());
}

unsafe extern "C" fn open(
    _: *mut c_void,
    _: *const c_char,
    _: *const c_char,
    file: *mut *mut c_void,
    size: *mut u64,
    answer: *mut *mut c_char,
) -> i32 {
    let status = status(answer);
    if status == 0 {
        count(1, 1);
        let sizes = [0, 1, 300, 300_000, 1 << 40, u64::MAX];
        unsafe {
            file.write(ptr::dangling_mut());
            size.write(sizes[usize::from(next()) % sizes.len()]);
        }
    }
    status
}

unsafe extern "C" fn read(
    _: *mut c_void,
    _: *mut c_void,
    start: u64,
    end: u64,
    ahead: u64,
    bytes: *mut u8,
    answer: *mut *mut c_char,
) -> i32 {
    assert!(start <= end && end <= ahead.max(end));
    unsafe { bytes.write_bytes(next(), (end - start) as usize) };
    status(answer)
}

unsafe extern "C" fn close(_: *mut c_void, _: *mut c_void) {
    count(1, -1);
}

unsafe extern "C" fn free_text(_: *mut c_void, text: *mut c_char) {
    count(0, -1);
    drop(unsafe { CString::from_raw(text) });
}
