//! Readers of the smallest kind: options, columns, batches. Splits, errors for options and the rest are done here.

use std::ops::RangeInclusive;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    API_VERSION, BatchStream, CancelToken, Check, Discovery, Error, MIN_API_VERSION, ReadContext, ReadPlan,
    ReadRequest, Reader, ReaderPlugin, Result, SourceConfig, Split,
};

/// A reader that reads its source from the start to the end. Export it as `Simple<MyReader>`; implement [`Reader`] itself
/// for splits, pushdown or a cursor.
pub trait SimpleReader: Send + Sync + Sized + 'static {
    /// The plugin's name, as in its entry point.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// As of [`ReaderPlugin`].
    const API_VERSIONS: RangeInclusive<u32> = MIN_API_VERSION..=API_VERSION;
    /// What a job says under `options`. Doc comments are descriptions, `#[serde(default)]` gives a default; an option that
    /// isn't a field is refused.
    type Options: DeserializeOwned + JsonSchema;

    /// A reader of what the job names, which it does not read yet; or a configuration error.
    fn new(options: Self::Options, source: SourceConfig) -> Result<Self>;

    /// The columns of every batch.
    fn schema(&self) -> Result<SchemaRef>;

    /// The rows. Between batches the host looks whether the run was cancelled.
    fn batches(&self, context: &ReadContext) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + 'static>;

    /// Whether the source answers.
    fn check(&self) -> Result<Check> {
        let message = format!("{} has no connection test", Self::NAME);
        Ok(Check { success: true, message, error_code: None, details: Map::new() })
    }

    /// What the source offers.
    fn discover(&self) -> Result<Discovery> {
        Ok(Discovery::default())
    }
}

/// A [`SimpleReader`] as a [`ReaderPlugin`].
pub struct Simple<R>(R);

impl<R: SimpleReader> ReaderPlugin for Simple<R> {
    const NAME: &'static str = R::NAME;
    const VERSION: &'static str = R::VERSION;
    const API_VERSIONS: RangeInclusive<u32> = R::API_VERSIONS;
    const CAPABILITIES: &'static [&'static str] = &[];
    type Reader = Self;

    fn options_schema() -> Value {
        schemars::schema_for!(R::Options).to_value()
    }

    fn from_config(mut config: SourceConfig) -> Result<Self> {
        let given = match config.options.take() {
            Value::Null => Map::new(),
            Value::Object(given) => given,
            other => return Err(Error::configuration(format!("options: {other} is no mapping"))),
        };
        let schema = Self::options_schema();
        let known = schema["properties"].as_object();
        if let Some(name) = given.keys().find(|name| known.is_none_or(|known| !known.contains_key(*name))) {
            let names: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            return Err(Error::configuration(format!("there is no option {name:?}"))
                .hint(format!("options: {}", names.join(", "))));
        }
        let options =
            serde_json::from_value(given.into()).map_err(|error| Error::configuration(format!("options: {error}")))?;
        R::new(options, config).map(Self)
    }
}

impl<R: SimpleReader> Reader for Simple<R> {
    fn plan(&self, _: &ReadRequest, _: &ReadContext) -> Result<ReadPlan> {
        let whole = Split { id: "all".to_owned(), payload: Value::Object(Map::new()), rows: None, bytes: None };
        Ok(ReadPlan { splits: vec![whole], schema: Some(self.0.schema()?), ..ReadPlan::default() })
    }

    fn read(&self, _: &Split, context: &ReadContext) -> Result<Box<dyn BatchStream>> {
        let batches = Box::new(self.0.batches(context)?);
        Ok(Box::new(SimpleStream { schema: self.0.schema()?, batches, cancel: context.cancel.clone() }))
    }

    fn check(&self) -> Result<Check> {
        self.0.check()
    }

    fn discover(&self) -> Result<Discovery> {
        self.0.discover()
    }
}

struct SimpleStream {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    cancel: CancelToken,
}

impl BatchStream for SimpleStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Err(error) = self.cancel.check() {
            return Some(Err(error));
        }
        let batch = self.batches.next()?;
        Some(batch.and_then(|batch| {
            if batch.schema_ref().fields() == self.schema.fields() {
                return Ok(batch);
            }
            Err(Error::plugin(format!("a batch has other columns than schema() told: {}", batch.schema_ref())))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int32Array;
    use arrow_schema::{DataType, Field, Schema};
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::Kind;

    #[derive(Deserialize, JsonSchema)]
    struct Options {
        batches: u8,
        #[serde(default)]
        name: String,
    }

    struct Ones(Options);

    impl SimpleReader for Ones {
        const NAME: &'static str = "ones";
        const VERSION: &'static str = "1";
        type Options = Options;

        fn new(options: Options, _: SourceConfig) -> Result<Self> {
            Ok(Self(options))
        }

        fn schema(&self) -> Result<SchemaRef> {
            Ok(Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)])))
        }

        fn batches(&self, _: &ReadContext) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + 'static> {
            let name = if self.0.name.is_empty() { "n".to_owned() } else { self.0.name.clone() };
            let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int32, false)]));
            Ok((0..self.0.batches)
                .map(move |_| Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(Int32Array::from(vec![1, 1]))])?)))
        }
    }

    fn made(options: Value) -> Result<Simple<Ones>> {
        Simple::from_config(SourceConfig { options, ..SourceConfig::default() })
    }

    fn stream(options: Value, context: &ReadContext) -> Result<Box<dyn BatchStream>> {
        let reader = made(options)?;
        let plan = reader.plan(&ReadRequest::default(), context)?;
        reader.read(&plan.splits[0], context)
    }

    #[test]
    fn every_batch_comes_once() -> Result<()> {
        let mut stream = stream(json!({"batches": 3}), &ReadContext::default())?;
        let mut rows = 0;
        while let Some(batch) = stream.next() {
            rows += batch?.num_rows();
        }
        assert_eq!(rows, 6);
        Ok(())
    }

    #[test]
    fn options_are_held_to_their_struct() {
        for (options, said) in [
            (json!({"batches": 1, "more": 2}), "there is no option \"more\""),
            (json!({}), "missing field `batches`"),
            (json!({"batches": 300}), "300"),
            (json!([]), "no mapping"),
            (Value::Null, "missing field"),
        ] {
            let error = made(options).err().expect("refused");
            assert_eq!(error.kind, Kind::ConfigurationError);
            assert!(error.message.contains(said), "{}", error.message);
        }
        assert_eq!(Simple::<Ones>::options_schema()["properties"]["batches"]["type"], "integer");
    }

    #[test]
    fn a_batch_of_other_columns_and_a_cancelled_read_are_errors() -> Result<()> {
        let context = ReadContext::default();
        let mut other = stream(json!({"batches": 1, "name": "m"}), &context)?;
        let error = other.next().and_then(Result::err).expect("refused");
        assert!(error.message.contains("other columns"));
        let mut stopped = stream(json!({"batches": 1}), &context)?;
        context.cancel.cancel();
        assert_eq!(stopped.next().and_then(Result::err).map(|error| error.kind), Some(Kind::CancelledError));
        Ok(())
    }
}
