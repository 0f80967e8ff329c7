//! The host's way to files by URI: a Python object with `open(uri)`, which returns one with `size` and
//! `read(start, end, ahead)`.

use std::sync::Arc;

use dativo_plugin::{Error, RemoteFile, RemoteFiles, Result, Storage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

struct PythonFiles(Py<PyAny>);

struct PythonFile {
    object: Py<PyAny>,
    size: u64,
}

/// Storage that opens URIs through a Python object, where there is one.
pub fn storage_of(files: Option<Bound<'_, PyAny>>) -> Storage {
    files.map_or_else(Storage::default, |files| Storage::with_remote(Arc::new(PythonFiles(files.unbind()))))
}

fn error_of(py: Python<'_>, error: &PyErr) -> Error {
    let text = error.value(py).to_string();
    Error::from_text(&text).unwrap_or_else(|| Error::plugin(text))
}

impl RemoteFiles for PythonFiles {
    fn open(&self, uri: &str) -> Result<Box<dyn RemoteFile>> {
        Python::attach(|py| {
            let open = || {
                let object = self.0.bind(py).call_method1("open", (uri,))?;
                let size = object.getattr("size")?.extract()?;
                Ok(PythonFile { object: object.unbind(), size })
            };
            let file = open().map_err(|error: PyErr| error_of(py, &error))?;
            Ok(Box::new(file) as Box<dyn RemoteFile>)
        })
    }
}

impl RemoteFile for PythonFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, start: u64, end: u64, ahead: u64) -> Result<Vec<u8>> {
        Python::attach(|py| {
            let read = || {
                let bytes = self.object.bind(py).call_method1("read", (start, end, ahead))?;
                Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
            };
            read().map_err(|error: PyErr| error_of(py, &error))
        })
    }
}
