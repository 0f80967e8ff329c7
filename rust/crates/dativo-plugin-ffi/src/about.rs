//! What a plugin says of itself, as JSON.

use std::ops::RangeInclusive;

use dativo_plugin::{FileFormat, ReaderPlugin};
use serde_json::{Value, json};

/// What a reader says of itself. Its batches are made by arrow-rs, which makes no others than valid ones.
pub fn describe_reader<P: ReaderPlugin>() -> String {
    json!({
        "kind": "reader",
        "name": P::NAME,
        "version": P::VERSION,
        "api_version": declared(P::API_VERSIONS),
        "language": "rust",
        "options_schema": P::options_schema(),
        "capabilities": P::CAPABILITIES,
        "validated": true,
    })
    .to_string()
}

/// What a file format says of itself.
pub fn describe_file_format<F: FileFormat>() -> String {
    json!({
        "kind": "file_format",
        "name": F::NAME,
        "version": F::VERSION,
        "api_version": declared(F::API_VERSIONS),
        "language": "rust",
        "extension": F::EXTENSION,
        "options_schema": F::options_schema(),
    })
    .to_string()
}

/// Versions of the plugin API: one, or the oldest and the newest.
fn declared(versions: RangeInclusive<u32>) -> Value {
    let (oldest, newest) = versions.into_inner();
    if oldest == newest { json!(newest) } else { json!([oldest, newest]) }
}
