//! No panic leaves a plugin: it becomes an error that names it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Result};

/// Runs `call` for the plugin `plugin`; a panic in it becomes a plugin error with the panic's message.
pub fn guard<T>(plugin: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(Error::plugin(format!("plugin {plugin} panicked: {text}"))
            .code("PLUGIN_PANIC")
            .hint(format!("this is a defect of {plugin}: report it with the input that caused it"))
            .at("plugin", plugin))
    })
}
