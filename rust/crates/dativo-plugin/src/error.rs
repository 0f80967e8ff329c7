//! The error tree of the Python SDK, as one struct: it crosses every boundary as one line of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Shorthand for results with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// The class an error has in the Python SDK (`dativo_plugin_sdk.errors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A job, a project or a plugin's options are wrong; a person has to edit them.
    ConfigurationError,
    /// A source or target can't be reached.
    ConnectionError,
    /// A source or target was reached and refused the credentials.
    AuthenticationError,
    /// Data does not fit what was declared or promised.
    ValidationError,
    /// A value does not fit the type its column was given.
    SchemaMismatchError,
    /// Something outside failed in a way that passes by itself.
    TransientError,
    /// A source asked for fewer requests.
    RateLimitError,
    /// A plugin broke its side of the interface.
    PluginError,
    /// The run was asked to stop.
    CancelledError,
}

impl Kind {
    fn default_code(self) -> &'static str {
        match self {
            Kind::ConfigurationError => "CONFIGURATION_ERROR",
            Kind::ConnectionError => "CONNECTION_ERROR",
            Kind::AuthenticationError => "AUTHENTICATION_ERROR",
            Kind::ValidationError => "VALIDATION_ERROR",
            Kind::SchemaMismatchError => "SCHEMA_MISMATCH",
            Kind::TransientError => "TRANSIENT_ERROR",
            Kind::RateLimitError => "RATE_LIMIT_ERROR",
            Kind::PluginError => "PLUGIN_ERROR",
            Kind::CancelledError => "CANCELLED",
        }
    }

    fn default_retryable(self) -> bool {
        matches!(self, Kind::ConnectionError | Kind::TransientError | Kind::RateLimitError)
    }
}

/// What failed, where, whether to try again, and what a person does next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// The class in the Python SDK.
    pub kind: Kind,
    /// A stable code in capitals.
    pub error_code: String,
    /// One sentence, no secret in it.
    pub message: String,
    /// Whether the same call may succeed later without a change by a person.
    pub retryable: bool,
    /// What a person does next.
    pub hint: Option<String>,
    /// Where: `file`, `byte`, `row`, `line`, `column`, ...
    pub details: Box<Map<String, Value>>,
}

impl Error {
    /// An error of a kind, with the kind's own code and retryability.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            error_code: kind.default_code().to_owned(),
            message: message.into(),
            retryable: kind.default_retryable(),
            hint: None,
            details: Box::default(),
        }
    }

    /// The options or the job are wrong.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Kind::ConfigurationError, message)
    }

    /// The data is not what it should be.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(Kind::ValidationError, message)
    }

    /// The plugin broke its side of the interface.
    pub fn plugin(message: impl Into<String>) -> Self {
        Self::new(Kind::PluginError, message)
    }

    /// The run was asked to stop.
    pub fn cancelled() -> Self {
        Self::new(Kind::CancelledError, "the run was cancelled")
    }

    /// A value of `column` does not fit its type; reading it as `widen_to` would work.
    pub fn schema_mismatch(message: impl Into<String>, column: &str, widen_to: &str) -> Self {
        Self::new(Kind::SchemaMismatchError, message).at("column", column).at("widen_to", widen_to)
    }

    /// What the operating system said about `path`.
    pub fn io(error: &std::io::Error, path: &str) -> Self {
        use std::io::ErrorKind;
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return own.clone(); // a remote file's
        }
        let (kind, code, retryable, hint) = match error.kind() {
            ErrorKind::NotFound => (Kind::ConnectionError, "FILE_NOT_FOUND", false, "check the path"),
            ErrorKind::PermissionDenied => {
                (Kind::AuthenticationError, "PERMISSION_DENIED", false, "grant the running user access to it")
            }
            ErrorKind::IsADirectory => (Kind::ConfigurationError, "IS_A_DIRECTORY", false, "name files, or a glob"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                (Kind::ConnectionError, "DISK_FULL", false, "free some space")
            }
            _ => (Kind::TransientError, "IO_ERROR", true, "look at the disk or mount it lives on"),
        };
        let mut out = Self::new(kind, format!("{path}: {error}")).code(code).hint(hint).at("file", path);
        out.retryable = retryable;
        out
    }

    /// The same error with another code.
    pub fn code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.error_code);
        self
    }

    /// The same error with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with a detail, unless it has one of that name already.
    pub fn at(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.entry(key).or_insert_with(|| value.into());
        self
    }

    /// The error inside a text made by `to_text` here or by the Python SDK; anything may stand around it.
    pub fn from_text(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            dativo_error: Error,
        }
        let line = &text[text.find("{\"dativo_error\":")?..];
        let first = serde_json::Deserializer::from_str(line).into_iter::<Line>().next()?;
        first.ok().map(|line| line.dativo_error)
    }

    /// One line of JSON, as `dativo_plugin_sdk.errors.from_text` finds it inside any text.
    pub fn to_text(&self) -> String {
        let inner = serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned());
        format!("{{\"dativo_error\":{inner}}}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        match error {
            arrow_schema::ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Self::plugin(other.to_string()),
            },
            other => Self::plugin(format!("Arrow: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_the_python_side_looks_for() {
        let text = Error::schema_mismatch("x", "a", "double").to_text();
        assert!(text.starts_with("{\"dativo_error\":"));
        let value: Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(value["dativo_error"]["kind"], "SchemaMismatchError");
        assert_eq!(value["dativo_error"]["details"]["widen_to"], "double");
        assert_eq!(value["dativo_error"]["retryable"], false);
        assert_eq!(value["dativo_error"]["hint"], Value::Null);
        assert_eq!(
            Error::from_text(&format!("RuntimeError: {text} (more)")),
            Some(Error::schema_mismatch("x", "a", "double"))
        );
        assert_eq!(Error::from_text("something else"), None);
    }
}
