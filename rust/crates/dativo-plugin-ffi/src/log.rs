//! Python's logging as a plugin's log.

use dativo_plugin::{Log, SourceConfig};
use pyo3::prelude::*;
use serde_json::{Map, Value};

const SECRET_NAMES: [&str; 6] = ["pass", "secret", "token", "key", "dsn", "credential"];
const SHORTEST_SECRET: usize = 4;

/// The logger `dativo.plugin.NAME`. What of a source may be secret shows as `***`.
pub(crate) fn log_of(plugin: &'static str, source: &SourceConfig) -> Log {
    let mut secrets = Vec::new();
    collect(&source.credentials, false, &mut secrets);
    collect(&source.connection, true, &mut secrets);
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // A secret may hold another one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    Log::to(move |level, text| {
        let said = secrets.iter().fold(text.to_owned(), |said, secret| said.replace(secret, "***"));
        Python::attach(|py| {
            let write = || {
                let logger = py.import("logging")?.call_method1("getLogger", (format!("dativo.plugin.{plugin}"),))?;
                logger.call_method1("log", (level as i32, "%s", said))
            };
            // A line that can't be written is no reason to end a run.
            let _: PyResult<_> = write();
        });
    })
}

/// The texts in a mapping. by_name: those whose key sounds like a secret's.
fn collect(given: &Map<String, Value>, by_name: bool, into: &mut Vec<String>) {
    for (key, value) in given {
        let key = key.to_lowercase();
        if !by_name || SECRET_NAMES.iter().any(|name| key.contains(name)) {
            texts(value, into);
        }
    }
}

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(items) => items.values().for_each(|item| texts(item, into)),
        _ => {}
    }
}
