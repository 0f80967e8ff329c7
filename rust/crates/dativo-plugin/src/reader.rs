//! Readers: a plan of splits first, then one stream of record batches a split.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{API_VERSION, CancelToken, MIN_API_VERSION, Result, Storage};

/// What a reader is constructed with. Keys that this version does not know are kept out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SourceConfig {
    /// The job's name.
    pub job: String,
    /// The project's root, absolute.
    pub root: String,
    /// Files to read: absolute paths or URIs, globs already expanded.
    pub files: Vec<String>,
    /// Where they are opened.
    #[serde(skip)]
    pub storage: Storage,
    /// Tables to read, for sources that have tables.
    pub tables: Vec<String>,
    /// Objects to read, for sources that have objects.
    pub objects: Vec<String>,
    /// A query, for sources that have a language.
    pub query: Option<String>,
    /// Connection parameters; may hold secrets.
    pub connection: Map<String, Value>,
    /// Credentials; secrets.
    pub credentials: Map<String, Value>,
    /// The plugin's own options.
    pub options: Value,
}

/// What the pipeline asks of [`Reader::plan`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ReadRequest {
    /// Names of the columns wanted, in order; `None` for all.
    pub columns: Option<Vec<String>>,
    /// Columns the contract declares, to be emitted in these types wherever every value fits.
    #[serde(skip)]
    pub schema: Option<SchemaRef>,
    /// Types found necessary by an earlier attempt ([`crate::parse_type`] names); they win over everything else.
    pub widen: BTreeMap<String, String>,
    /// What the last commit holds.
    pub cursor: Option<Value>,
    /// Threads granted.
    pub parallelism: usize,
    /// Budget for what is in flight.
    pub memory_bytes: usize,
    /// Aim for one batch.
    pub batch_bytes: usize,
    /// Rows wanted; `None` for all.
    pub limit: Option<u64>,
    /// Whether splits may begin where records probably do; if one does not, the split before it must fail.
    pub guess: bool,
}

impl Default for ReadRequest {
    fn default() -> Self {
        Self {
            columns: None,
            schema: None,
            widen: BTreeMap::new(),
            cursor: None,
            parallelism: 1,
            memory_bytes: 64 << 20,
            batch_bytes: 4 << 20,
            limit: None,
            guess: false,
        }
    }
}

/// A part of the input that one worker reads on its own, perhaps in another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Split {
    /// Unique in its plan.
    pub id: String,
    /// Everything [`Reader::read`] needs to know, understood by the reader alone.
    pub payload: Value,
    /// Rows in it, where known.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Bytes of input in it, where known.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// What a reader will read, its upper bound pinned.
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    /// The parts, in the order of the input.
    pub splits: Vec<Split>,
    /// The schema of every split, where it is known beforehand.
    pub schema: Option<SchemaRef>,
    /// What to commit with the data; `None` leaves it to the pipeline.
    pub cursor: Option<Value>,
    /// Which of `columns`, `schema`, `cursor` and `limit` the reader does itself.
    pub applied: Vec<String>,
    /// What the reader chose by itself, for a person.
    pub notes: Vec<String>,
    /// Whether splits begin where records probably do: a read that fails is then done again without a guess.
    pub guessed: bool,
}

/// What a read may use.
#[derive(Clone, Debug)]
pub struct ReadContext {
    /// Threads granted to this split.
    pub parallelism: usize,
    /// Budget for what is in flight in this split.
    pub memory_bytes: usize,
    /// Aim for one batch.
    pub batch_bytes: usize,
    /// Raised when the run is asked to stop.
    pub cancel: CancelToken,
}

impl Default for ReadContext {
    fn default() -> Self {
        let request = ReadRequest::default();
        Self {
            parallelism: request.parallelism,
            memory_bytes: request.memory_bytes,
            batch_bytes: request.batch_bytes,
            cancel: CancelToken::new(),
        }
    }
}

/// Record batches of one schema, one after the other. After an error or the end there is nothing more.
pub trait BatchStream: Send {
    /// The schema of every batch.
    fn schema(&self) -> SchemaRef;

    /// The next batch, `None` at the end.
    fn next(&mut self) -> Option<Result<RecordBatch>>;

    /// Counts so far that a person may want to see, such as rows left out.
    fn metrics(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// Whether a source answers.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// It does.
    pub success: bool,
    /// For a person.
    pub message: String,
    /// A code in capitals where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// More, for a machine.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// What a source offers: JSON objects with at least `name`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Discovery {
    /// One object each, usually with `type`, `columns`, `rows` and `bytes`.
    pub objects: Vec<Value>,
    /// About the source as a whole.
    pub metadata: Map<String, Value>,
}

/// A configured source. Every method may be called from any thread.
pub trait Reader: Send + Sync {
    /// Decides what to read, without reading all of it, and pins the upper bound.
    fn plan(&self, request: &ReadRequest, context: &ReadContext) -> Result<ReadPlan>;

    /// Reads one split of a plan; the plan may have been made in another process.
    fn read(&self, split: &Split, context: &ReadContext) -> Result<Box<dyn BatchStream>>;

    /// Whether the source answers.
    fn check(&self) -> Result<Check>;

    /// What the source offers.
    fn discover(&self) -> Result<Discovery>;
}

/// How a reader is made: the type that an export macro names.
pub trait ReaderPlugin {
    /// The plugin's name, as in its entry point.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// The versions of the plugin API that it works with; an installation that has none of them says who has to upgrade.
    const API_VERSIONS: RangeInclusive<u32> = MIN_API_VERSION..=API_VERSION;
    /// The optional things it does: `columns`, `schema`, `splits`, ...
    const CAPABILITIES: &'static [&'static str];
    /// The reader it makes.
    type Reader: Reader + 'static;

    /// A JSON Schema of [`SourceConfig::options`].
    fn options_schema() -> Value;

    /// A reader, or a configuration error.
    fn from_config(config: SourceConfig) -> Result<Self::Reader>;
}
