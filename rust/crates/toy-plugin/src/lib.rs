//! A reader of the smallest kind: it counts. The same suite drives it natively (tests/) and from Python (tests/native of
//! the project), faults included.
#![forbid(unsafe_code)]

pub mod lines;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{
    BatchStream, Check, Discovery, Error, ReadContext, ReadPlan, ReadRequest, Reader, ReaderPlugin, Result,
    SourceConfig, Split,
};
use serde_json::{Map, Value, json};

/// Counts to `options.to`, ten rows a split. `options.panic_at`: the number at which it panics; `options.pause_ms`: how
/// long it thinks about each batch.
pub struct Counter {
    to: i64,
    panic_at: Option<i64>,
    pause: Duration,
}

impl ReaderPlugin for Counter {
    const NAME: &'static str = "counter";
    const VERSION: &'static str = "0.1.0";
    const CAPABILITIES: &'static [&'static str] = &["splits"];
    type Reader = Self;

    fn options_schema() -> Value {
        let number = json!({"type": "integer"});
        json!({"properties": {"to": number, "panic_at": number, "pause_ms": number}})
    }

    fn from_config(config: SourceConfig) -> Result<Self> {
        let to = config.options["to"].as_i64().ok_or_else(|| Error::configuration("options.to must be a number"))?;
        config.log.debug(format!("counts to {to}, {:?}", config.credentials.get("login")));
        let pause = Duration::from_millis(config.options["pause_ms"].as_u64().unwrap_or(0));
        Ok(Self { to, panic_at: config.options["panic_at"].as_i64(), pause })
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
        Ok(Box::new(Numbers {
            next: start,
            end: self.to.min(start + 10),
            panic_at: self.panic_at,
            pause: self.pause,
            context: context.clone(),
        }))
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
    panic_at: Option<i64>,
    pause: Duration,
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
        std::thread::sleep(self.pause);
        let from = self.next;
        self.next = self.end.min(from + 3);
        if self.panic_at.is_some_and(|at| (from..self.next).contains(&at)) {
            panic!("lost count at {from}");
        }
        let column = Int64Array::from_iter_values(from..self.next);
        (from < self.end).then(|| Ok(RecordBatch::try_new(schema(), vec![Arc::new(column)])?))
    }
}

#[cfg(feature = "library")]
dativo_plugin_ffi::export_library! {
    reader counter = crate::Counter;
    reader lines = dativo_plugin::Simple<crate::lines::Lines>;
}

#[cfg(feature = "python")]
mod python {
    dativo_plugin_ffi::export_python! {
        module toy_plugin;
        reader Reader = crate::Counter;
    }
}
