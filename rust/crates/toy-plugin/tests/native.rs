//! A plugin tested with cargo alone.
#![allow(missing_docs, clippy::unwrap_used)]

use arrow_array::Int64Array;
use dativo_plugin::{Error, Kind, ReadContext, ReadRequest, Reader, ReaderPlugin, SourceConfig, Split, guard};
use serde_json::json;
use toy_plugin::Counter;

fn counter(to: i64) -> Counter {
    Counter::from_config(SourceConfig { options: json!({"to": to}), ..SourceConfig::default() }).unwrap()
}

#[test]
fn the_splits_of_a_plan_cover_the_input_once() {
    let (reader, context) = (counter(25), ReadContext::default());
    let plan = reader.plan(&ReadRequest::default(), &context).unwrap();
    let mut found = Vec::new();
    for split in &plan.splits {
        // A split crosses processes as JSON.
        let split: Split = serde_json::from_str(&serde_json::to_string(split).unwrap()).unwrap();
        let mut stream = reader.read(&split, &context).unwrap();
        while let Some(batch) = stream.next() {
            let batch = batch.unwrap();
            let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            found.extend_from_slice(numbers.values());
        }
    }
    assert_eq!(found, (0..25).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_stream_says_so() {
    let (reader, context) = (counter(5), ReadContext::default());
    let plan = reader.plan(&ReadRequest::default(), &context).unwrap();
    let mut stream = reader.read(&plan.splits[0], &context).unwrap();
    context.cancel.cancel();
    assert_eq!(stream.next().unwrap().unwrap_err().kind, Kind::CancelledError);
}

#[test]
fn a_panic_becomes_an_error_that_names_the_plugin() {
    let error = guard("counter", || -> Result<(), Error> { panic!("lost count at {}", 7) }).unwrap_err();
    assert_eq!((error.kind, error.error_code.as_str()), (Kind::PluginError, "PLUGIN_PANIC"));
    assert_eq!(error.message, "plugin counter panicked: lost count at 7");
    assert_eq!(error.details["plugin"], "counter");
}

#[test]
fn a_bad_option_is_a_configuration_error() {
    let made = Counter::from_config(SourceConfig { options: json!({}), ..SourceConfig::default() });
    assert_eq!(made.err().map(|error| error.kind), Some(Kind::ConfigurationError));
}
