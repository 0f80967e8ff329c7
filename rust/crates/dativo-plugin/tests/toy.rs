//! A plugin of the smallest kind, written and tested with cargo alone.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{
    BatchStream, Check, Discovery, Error, Kind, ReadContext, ReadPlan, ReadRequest, Reader, ReaderPlugin, Result,
    SourceConfig, Split, guard,
};
use serde_json::{Map, Value, json};

/// Counts to `options.to`, ten rows a split.
struct Counter {
    to: i64,
}

impl ReaderPlugin for Counter {
    const NAME: &'static str = "counter";
    const VERSION: &'static str = "0.1.0";
    const CAPABILITIES: &'static [&'static str] = &["splits"];
    type Reader = Self;

    fn options_schema() -> Value {
        json!({"properties": {"to": {"type": "integer"}}})
    }

    fn from_config(config: SourceConfig) -> Result<Self> {
        let to = config.options["to"].as_i64().ok_or_else(|| Error::configuration("options.to must be a number"))?;
        Ok(Self { to })
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

impl Reader for Counter {
    fn plan(&self, _: &ReadRequest, _: &ReadContext) -> Result<ReadPlan> {
        let split = |start: i64| Split {
            id: start.to_string(),
            payload: json!({"start": start}),
            rows: Some(10.min(self.to - start) as u64),
            bytes: None,
        };
        let splits = (0..self.to).step_by(10).map(split).collect();
        Ok(ReadPlan { splits, schema: Some(schema()), ..ReadPlan::default() })
    }

    fn read(&self, split: &Split, context: &ReadContext) -> Result<Box<dyn BatchStream>> {
        let start = split.payload["start"].as_i64().ok_or_else(|| Error::plugin("a split without start"))?;
        Ok(Box::new(Numbers { next: start, end: self.to.min(start + 10), context: context.clone() }))
    }

    fn check(&self) -> Result<Check> {
        Ok(Check { success: true, message: "numbers are there".into(), error_code: None, details: Map::new() })
    }

    fn discover(&self) -> Result<Discovery> {
        Ok(Discovery { objects: vec![json!({"name": "numbers"})], metadata: Map::new() })
    }
}

/// Three numbers a batch.
struct Numbers {
    next: i64,
    end: i64,
    context: ReadContext,
}

impl BatchStream for Numbers {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Err(error) = self.context.cancel.check() {
            return Some(Err(error));
        }
        let from = self.next;
        self.next = self.end.min(from + 3);
        let column = Int64Array::from_iter_values(from..self.next);
        (from < self.end).then(|| Ok(RecordBatch::try_new(schema(), vec![Arc::new(column)])?))
    }
}

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
    let error = guard("counter", || -> Result<()> { panic!("lost count at {}", 7) }).unwrap_err();
    assert_eq!((error.kind, error.error_code.as_str()), (Kind::PluginError, "PLUGIN_PANIC"));
    assert_eq!(error.message, "plugin counter panicked: lost count at 7");
    assert_eq!(error.details["plugin"], "counter");
}

#[test]
fn a_bad_option_is_a_configuration_error() {
    let made = Counter::from_config(SourceConfig { options: json!({}), ..SourceConfig::default() });
    assert_eq!(made.err().map(|error| error.kind), Some(Kind::ConfigurationError));
}
