//! A reader of square numbers, a thousand a split.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{
    BatchStream, Check, Discovery, Error, ReadContext, ReadPlan, ReadRequest, Reader, ReaderPlugin, Result,
    SourceConfig, Split,
};
use serde_json::{Map, Value, json};

const SPLIT_ROWS: i64 = 1000;

/// What a job names: `options.to` squares are read.
pub struct Squares {
    to: i64,
}

impl ReaderPlugin for Squares {
    const NAME: &'static str = "squares";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: &'static [&'static str] = &["splits"];
    type Reader = Self;

    fn options_schema() -> Value {
        json!({"properties": {"to": {"type": "integer", "minimum": 0}}, "required": ["to"]})
    }

    fn from_config(config: SourceConfig) -> Result<Self> {
        let to = config.options["to"].as_i64().filter(|to| *to >= 0);
        to.map(|to| Self { to }).ok_or_else(|| Error::configuration("options.to must be a number from 0 up"))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("square", DataType::Int64, false),
    ]))
}

impl Reader for Squares {
    fn plan(&self, _: &ReadRequest, _: &ReadContext) -> Result<ReadPlan> {
        let split = |start: i64| Split {
            id: format!("from {start}"),
            payload: json!({"start": start}),
            rows: Some(SPLIT_ROWS.min(self.to - start) as u64),
            bytes: None,
        };
        let splits = (0..self.to).step_by(SPLIT_ROWS as usize).map(split).collect();
        Ok(ReadPlan { splits, schema: Some(schema()), ..ReadPlan::default() })
    }

    fn read(&self, split: &Split, context: &ReadContext) -> Result<Box<dyn BatchStream>> {
        let start = split.payload["start"].as_i64().ok_or_else(|| Error::plugin("a split without start"))?;
        Ok(Box::new(Stream { next: start, end: self.to.min(start + SPLIT_ROWS), context: context.clone() }))
    }

    fn check(&self) -> Result<Check> {
        Ok(Check { success: true, message: "numbers are there".into(), error_code: None, details: Map::new() })
    }

    fn discover(&self) -> Result<Discovery> {
        Ok(Discovery { objects: vec![json!({"name": "squares", "rows": self.to})], metadata: Map::new() })
    }
}

struct Stream {
    next: i64,
    end: i64,
    context: ReadContext,
}

impl BatchStream for Stream {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Err(error) = self.context.cancel.check() {
            return Some(Err(error));
        }
        let from = self.next;
        self.next = self.end.min(from + 250);
        let numbers = Int64Array::from_iter_values(from..self.next);
        let squares = Int64Array::from_iter_values((from..self.next).map(|n| n * n));
        (from < self.end).then(|| Ok(RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(squares)])?))
    }
}

#[cfg(feature = "python")]
mod python {
    dativo_plugin_ffi::export_python! {
        module dativo_squares;
        reader Reader = crate::Squares;
    }
}

#[cfg(feature = "library")]
dativo_plugin_ffi::export_library! {
    reader squares = crate::Squares;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_holds_its_own_squares() -> Result<()> {
        let reader = Squares { to: 2_500 };
        let plan = reader.plan(&ReadRequest::default(), &ReadContext::default())?;
        assert_eq!(plan.splits.len(), 3);
        let mut stream = reader.read(&plan.splits[2], &ReadContext::default())?;
        let mut rows = 0;
        while let Some(batch) = stream.next() {
            rows += batch?.num_rows();
        }
        assert_eq!(rows, 500);
        Ok(())
    }
}
