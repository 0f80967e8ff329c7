//! A reader of cube numbers, as small as a reader gets.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{ReadContext, Result, SimpleReader, SourceConfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a job says under `options`.
#[derive(Deserialize, JsonSchema)]
pub struct CubeOptions {
    /// How many cubes there are.
    #[serde(default = "hundred")]
    to: u32,
}

fn hundred() -> u32 {
    100
}

/// The first cubes.
pub struct Cubes(CubeOptions);

impl SimpleReader for Cubes {
    const NAME: &'static str = "cubes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Options = CubeOptions;

    fn new(options: CubeOptions, _: SourceConfig) -> Result<Self> {
        Ok(Self(options))
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(Schema::new(vec![Field::new("cube", DataType::Int64, false)])))
    }

    fn batches(&self, _: &ReadContext) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + 'static> {
        let (to, schema) = (i64::from(self.0.to), self.schema()?);
        Ok((0..to).step_by(1000).map(move |from| {
            let cubes = Int64Array::from_iter_values((from..to.min(from + 1000)).map(|n| n * n * n));
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(cubes)])?)
        }))
    }
}
