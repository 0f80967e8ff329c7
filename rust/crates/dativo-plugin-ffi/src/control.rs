//! Control and errors as JSON.

use dativo_plugin::{Error, Result};

/// A plugin's error as the exception that the Python SDK maps back: its text is one line of JSON.
#[cfg(feature = "python")]
pub fn raise(error: Error) -> pyo3::PyErr {
    pyo3::exceptions::PyRuntimeError::new_err(error.to_text())
}

/// A value from JSON; `what` names it in the error.
pub fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::plugin(format!("{what}: {error}")))
}

/// A value as JSON.
pub fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::plugin(error.to_string()))
}
