//! A plugin behind the functions of `dativo_plugin.h`, whose rules hold for every pointer here.

mod abi;
mod format;
mod reader;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use dativo_plugin::{Error, Result, guard};

pub use abi::{FormatTable, Head, Host, ReaderTable};

/// Exports plugins of a library, each under the symbol that a job names after the colon.
///
/// ```ignore
/// dativo_plugin_ffi::export_library! {
///     reader squares = crate::Squares;        // or: file_format lines = crate::Lines;
/// }
/// ```
#[macro_export]
macro_rules! export_library {
    ($(reader $symbol:ident = $plugin:ty;)* $(file_format $sink:ident = $format:ty;)*) => {
        $(
            /// The plugin's table, for a host that speaks `dativo_plugin.h`.
            ///
            /// # Safety
            /// `host` is the host's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $symbol(host: *const $crate::library::Host) -> *const $crate::library::Head {
                static TABLE: ::std::sync::OnceLock<$crate::library::ReaderTable> = ::std::sync::OnceLock::new();
                // SAFETY: the header's rules: `host` is the host's.
                unsafe { $crate::library::ReaderTable::get::<$plugin>(&TABLE, host) }
            }
        )*
        $(
            /// The plugin's table, for a host that speaks `dativo_plugin.h`.
            ///
            /// # Safety
            /// `host` is the host's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $sink(host: *const $crate::library::Host) -> *const $crate::library::Head {
                static TABLE: ::std::sync::OnceLock<$crate::library::FormatTable> = ::std::sync::OnceLock::new();
                // SAFETY: the header's rules: `host` is the host's.
                unsafe { $crate::library::FormatTable::get::<$format>(&TABLE, host) }
            }
        )*
    };
}

const OK: i32 = 0;
const FAILED: i32 = 1;

/// Runs what a function does, and answers with its text or its error.
///
/// # Safety
/// `answer` is where the host wants the answer.
unsafe fn answered(plugin: &str, answer: *mut *mut c_char, work: impl FnOnce() -> Result<Option<String>>) -> i32 {
    let (status, text) = match guard(plugin, work) {
        Ok(text) => (OK, text),
        Err(error) => (FAILED, Some(error.to_text())),
    };
    if let Some(text) = text {
        // JSON holds no NUL.
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { ptr::write(answer, text.into_raw()) };
    }
    status
}

/// Frees what `answered` gave.
unsafe extern "C" fn free_text(text: *mut c_char) {
    // SAFETY: it came from `into_raw`, and the host gives each back once.
    drop(unsafe { CString::from_raw(text) });
}

/// A text that the host lends.
///
/// # Safety
/// It ends with NUL and lives as long as the call.
unsafe fn text<'a>(what: &str, from: *const c_char) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    let found = unsafe { CStr::from_ptr(from) }.to_str();
    found.map_err(|error| Error::plugin(format!("{what}: {error}")))
}

/// What a function of ours made, borrowed.
///
/// # Safety
/// `from` came from `give` with the same type, and was not taken back.
unsafe fn borrow<'a, T>(from: *mut c_void) -> &'a T {
    // SAFETY: the caller's promise.
    unsafe { &*from.cast_const().cast::<T>() }
}

/// Hands something to the host, which gives it back to `take`.
///
/// # Safety
/// `out` is where the host wants it.
unsafe fn give<T>(value: T, out: *mut *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { ptr::write(out, Box::into_raw(Box::new(value)).cast()) };
}

/// Takes back what `give` handed out; a panic of its end stays here.
///
/// # Safety
/// As of `borrow`; it is not used any more.
unsafe fn take<T>(plugin: &str, from: *mut c_void, end: impl FnOnce(T)) {
    // SAFETY: the caller's promise.
    let value = unsafe { Box::from_raw(from.cast::<T>()) };
    // A close has no answer.
    let _ = guard(plugin, move || {
        end(*value);
        Ok(())
    });
}
