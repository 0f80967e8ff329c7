//! What the host of a library offers: its log, and files by URI.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use dativo_plugin::{Error, Log, RemoteFile, RemoteFiles, Result, Storage};

use super::abi::Host;

/// The host of each plugin of this library, by the plugin's name.
static HOSTS: Mutex<BTreeMap<&'static str, Lent>> = Mutex::new(BTreeMap::new());

/// A host. It lives as long as the process.
#[derive(Clone, Copy)]
pub(super) struct Lent(*const Host);

// SAFETY: the header's rules: a host is constant, and any thread may call its functions.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// Keeps the host of a plugin.
    ///
    /// # Safety
    /// `host` is what the host gave.
    pub(super) unsafe fn keep(plugin: &'static str, host: *const Host) {
        let mut hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(plugin, Self(host));
    }

    /// The host that asked for a plugin's table.
    pub(super) fn of(plugin: &str) -> Result<Self> {
        let hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
        let found = hosts.get(plugin).copied();
        found.ok_or_else(|| Error::plugin(format!("{plugin} has no host: its entry was not called")))
    }

    /// Whether the host is as long as this struct up to the end of the field at `offset`, a pointer.
    fn has(self, offset: usize) -> bool {
        // SAFETY: a host begins with its version and size, and lives as long as the process.
        let size = unsafe { (*self.0).size } as usize;
        offset + size_of::<*const c_void>() <= size
    }

    /// The run's log.
    pub(super) fn log(self) -> Log {
        // SAFETY: a field that is there from the first version on.
        let (context, log) = unsafe { ((*self.0).context as usize, (*self.0).log) };
        log.map_or_else(Log::default, |log| {
            Log::to(move |level, text| {
                let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
                // SAFETY: the header's rules: any thread may call, with a text of ours.
                unsafe { log(context as *mut c_void, level as i32, text.as_ptr()) };
            })
        })
    }

    /// Where files by URI come from. storage: how the host knows it; `None` where it has none.
    pub(super) fn storage(self, storage: Option<&str>) -> Storage {
        let lends = self.has(offset_of!(Host, free_text));
        // SAFETY: the host is long enough.
        let calls = lends.then(|| unsafe { (*self.0).files() }).flatten();
        match (calls, storage.map(CString::new)) {
            (Some(calls), Some(Ok(storage))) => Storage::with_remote(Arc::new(Files { calls, storage })),
            _ => Storage::default(),
        }
    }
}

/// The host's functions for files.
#[derive(Clone, Copy)]
pub(super) struct FileCalls {
    pub(super) context: *mut c_void,
    pub(super) open:
        unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, *mut *mut c_void, *mut u64, Answer) -> i32,
    pub(super) read: unsafe extern "C" fn(*mut c_void, *mut c_void, u64, u64, u64, *mut u8, Answer) -> i32,
    pub(super) close: unsafe extern "C" fn(*mut c_void, *mut c_void),
    pub(super) free_text: unsafe extern "C" fn(*mut c_void, *mut c_char),
}

type Answer = *mut *mut c_char;

// SAFETY: as of `Lent`.
unsafe impl Send for FileCalls {}
// SAFETY: as above.
unsafe impl Sync for FileCalls {}

impl FileCalls {
    /// Runs a call that may fail; its error is the host's.
    fn checked(self, call: impl FnOnce(Answer) -> i32) -> Result<()> {
        let mut answer = ptr::null_mut();
        let status = call(&raw mut answer);
        let text = (!answer.is_null()).then(|| {
            // SAFETY: the header's rules: an answer is a text, ours until it is given back.
            unsafe {
                let text = CStr::from_ptr(answer).to_string_lossy().into_owned();
                (self.free_text)(self.context, answer);
                text
            }
        });
        if status == super::OK {
            return Ok(());
        }
        let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| "the host told no reason".to_owned());
        Err(Error::from_text(&text).unwrap_or_else(|| Error::plugin(text)))
    }
}

/// Files that the host opens.
struct Files {
    calls: FileCalls,
    storage: CString,
}

/// One of them.
struct File {
    calls: FileCalls,
    file: *mut c_void,
    size: u64,
}

// SAFETY: the header's rules: one thread at a time may use a file, whichever it is.
unsafe impl Send for File {}

impl RemoteFiles for Files {
    fn open(&self, uri: &str) -> Result<Box<dyn RemoteFile>> {
        let name = CString::new(uri).map_err(|_| Error::configuration("a URI holds a NUL"))?;
        let (calls, mut file, mut size) = (self.calls, ptr::null_mut(), 0);
        // SAFETY: the header's rules: texts are ours, and so is where the answers go.
        calls.checked(|answer| unsafe {
            (calls.open)(calls.context, self.storage.as_ptr(), name.as_ptr(), &raw mut file, &raw mut size, answer)
        })?;
        Ok(Box::new(File { calls, file, size }))
    }
}

impl RemoteFile for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, start: u64, end: u64, ahead: u64) -> Result<Vec<u8>> {
        let too_long = || Error::plugin(format!("{start} to {end} is no range to read"));
        let length = end.checked_sub(start).and_then(|length| usize::try_from(length).ok()).ok_or_else(too_long)?;
        let mut bytes = vec![0; length];
        let calls = self.calls;
        // SAFETY: the header's rules: the host fills in `end - start` bytes, or fails.
        calls.checked(|answer| unsafe {
            (calls.read)(calls.context, self.file, start, end, ahead, bytes.as_mut_ptr(), answer)
        })?;
        Ok(bytes)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the header's rules: `open` made it, and this is its end.
        unsafe { (self.calls.close)(self.calls.context, self.file) };
    }
}
