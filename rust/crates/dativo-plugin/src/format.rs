//! File formats: a sink writes one file at a path it is given. Where that path is and when it becomes visible is
//! the business of the delivery, not of the format.

use std::ops::RangeInclusive;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{API_VERSION, CancelToken, MIN_API_VERSION, Result};

/// What a write may use.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct WriteContext {
    /// Threads granted to this file.
    pub parallelism: usize,
    /// Budget for rows that are encoded or waiting to be.
    pub memory_bytes: usize,
    /// Raised when the run is asked to stop.
    #[serde(skip)]
    pub cancel: CancelToken,
}

impl Default for WriteContext {
    fn default() -> Self {
        Self { parallelism: 1, memory_bytes: 64 << 20, cancel: CancelToken::new() }
    }
}

/// A finished file.
#[derive(Clone, Debug, Serialize)]
pub struct FileInfo {
    /// Where it is.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Row groups (or blocks) in it.
    pub row_groups: u64,
}

/// One file being written.
pub trait FileSink: Send {
    /// Adds rows. The batch has the schema the file was created with.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Adds a block of another file of this format, in Parquet a row group, some of its rows replaced; values that stay
    /// need not be decoded. places: of the replaced rows in the block, ascending. rows: one for each, of the schema the
    /// file was created with. Returns whether it was done; where it can't be, the caller reads the rows and writes them.
    fn take_group(&mut self, source: &Path, group: usize, places: &[usize], rows: &RecordBatch) -> Result<bool> {
        let _ = (source, group, places, rows);
        Ok(false)
    }

    /// Bytes written so far, counting what is encoded and not yet on disk.
    fn bytes_written(&self) -> u64;

    /// Completes the file and makes it durable.
    fn finish(self: Box<Self>) -> Result<FileInfo>;

    /// Gives the file up and removes what there is of it.
    fn abort(self: Box<Self>) -> Result<()>;
}

/// How files of one format are made: the type that an export macro names.
pub trait FileFormat {
    /// The plugin's name, as in its entry point.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// The versions of the plugin API that it works with; an installation that has none of them says who has to upgrade.
    const API_VERSIONS: RangeInclusive<u32> = MIN_API_VERSION..=API_VERSION;
    /// Of the files, without the dot.
    const EXTENSION: &'static str;
    /// The sink it makes.
    type Sink: FileSink + 'static;

    /// A JSON Schema of the options.
    fn options_schema() -> Value;

    /// Creates the file, which must not exist.
    fn create(path: &Path, schema: SchemaRef, options: &Value, context: WriteContext) -> Result<Self::Sink>;
}
