//! One split as a stream of record batches.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field as ArrowField, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use dativo_plugin::{BatchStream, Error, Kind, ReadContext, Result, Version, is_remote, parse_type};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ahead::Ahead;
use crate::blocks::{Blocks, Taken};
use crate::buffers::Spares;
use crate::columns::{Cells, Column, Misfit};
use crate::dialect::Dialect;
use crate::fields::Tokens;
use crate::head::Head;
use crate::input::{Input, Text};
use crate::options::BadLines;
use crate::place::{Look, Place};
use crate::tokens::{Fault, Limits};
use crate::values;
use crate::words::Words;

/// A part of fewer bytes is gathered with others into one batch.
const SMALL_BYTES: u64 = 256 << 10;

/// A part of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The file.
    pub path: String,
    /// The first byte, a record start; 0: the file's beginning, header and all.
    pub start: u64,
    /// The byte after the last one; `None`: to the end, of a file whose bytes are not its text.
    pub end: Option<u64>,
    /// What the file was at when the read was planned; `None`: its host keeps to one version.
    #[serde(default)]
    pub version: Option<Version>,
}

/// What a split carries: everything that reading it takes besides the reader's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// How the text is structured.
    pub dialect: Dialect,
    /// The names of all columns in the files, in the order of the first one.
    pub names: Vec<String>,
    /// The columns to read.
    pub columns: Vec<Column>,
    /// What to read, in order.
    pub parts: Vec<Part>,
    /// Rows wanted; `None` for all.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Whether there are threads with nothing else to do.
    #[serde(default)]
    pub idle_threads: bool,
}

/// The Arrow schema of columns.
pub fn schema_of(columns: &[Column]) -> Result<SchemaRef> {
    let fields = columns
        .iter()
        .map(|column| Ok(ArrowField::new(&column.name, parse_type(&column.type_name)?, true)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A file part being read.
struct Open {
    part: Part,
    blocks: Blocks,
    /// Where each column to read stands in this file.
    positions: Vec<usize>,
}

/// The record batches of one split.
pub struct CsvStream {
    input: Input,
    words: Words,
    payload: Payload,
    schema: SchemaRef,
    context: ReadContext,
    block_bytes: usize,
    next_part: usize,
    open: Option<Open>,
    tokens: Tokens,
    /// What came up after rows that were still to be given out.
    pending: Option<Error>,
    /// Rows still wanted.
    left: usize,
    /// Of each column.
    spares: Vec<Spares>,
    failed: bool,
}

impl CsvStream {
    /// The stream of a payload.
    pub fn new(input: Input, payload: Payload, context: ReadContext, block_bytes: usize) -> Result<Self> {
        Ok(Self {
            words: Words::new(&input.options)?,
            schema: schema_of(&payload.columns)?,
            spares: payload.columns.iter().map(|_| Spares::default()).collect(),
            left: payload.limit.map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
            input,
            payload,
            context,
            block_bytes,
            next_part: 0,
            open: None,
            tokens: Tokens::default(),
            pending: None,
            failed: false,
        })
    }

    fn open_part(&self, part: &Part) -> Result<Option<Open>> {
        let path = part.path.as_str();
        let in_order = || self.payload.columns.iter().map(|column| column.position).collect();
        // A small file gets a small buffer; one byte more, so that its end is seen at once.
        let bytes = part.end.and_then(|end| usize::try_from(end - part.start).ok());
        let block_bytes = bytes.map_or(self.block_bytes, |bytes| self.block_bytes.min(bytes.saturating_add(1)));
        if let (1.., Some(end)) = (part.start, part.end) {
            let text = self.input.open_range(path, part.start, end)?;
            let blocks = Blocks::new(text, path, part.start, block_bytes);
            return Ok(Some(Open { part: part.clone(), blocks, positions: in_order() }));
        }
        let (text, mark) = match part.end {
            Some(end) => self.input.open_plain(path, end)?,
            // Not of a remote file: its requests wait for the host, which may be waiting for this stream to be dropped.
            None if self.payload.idle_threads && !is_remote(path) => {
                let (text, mark) = self.input.open(path)?;
                (Box::new(Ahead::new(text).map_err(|error| Error::io(&error, path))?) as Text, mark)
            }
            None => self.input.open(path)?,
        };
        let mut blocks = Blocks::new(text, path, mark, block_bytes);
        blocks.skip_lines(self.input.options.skip_rows)?;
        let mut positions = in_order();
        if self.payload.dialect.header {
            let Some(names) = Head::names(&mut blocks, &self.payload.dialect, &self.input.options)? else {
                return Ok(None);
            };
            if self.input.options.column_names.is_none() && names != self.payload.names {
                positions = self.positions_in(path, &names)?;
            }
        }
        Ok(Some(Open { part: part.clone(), blocks, positions }))
    }

    /// Where the columns stand in a file with another order of columns.
    fn positions_in(&self, path: &str, names: &[String]) -> Result<Vec<usize>> {
        let absent = |of: &[String], among: &[String]| -> Vec<String> {
            of.iter().filter(|name| !among.contains(name)).cloned().collect()
        };
        let missing = absent(&self.payload.names, names);
        let extra = absent(names, &self.payload.names);
        if !missing.is_empty() || !extra.is_empty() || names.len() != self.payload.names.len() {
            let mut what = Vec::new();
            if !missing.is_empty() {
                what.push(format!("lacks the columns {}", missing.join(", ")));
            }
            if !extra.is_empty() {
                what.push(format!("has the extra columns {}", extra.join(", ")));
            }
            return Err(Error::validation(format!("{path}: the header {} of the first file", what.join(" and ")))
                .code("HEADER_MISMATCH")
                .hint("read files of different columns in jobs of their own")
                .at("file", path)
                .at("missing", missing)
                .at("extra", extra));
        }
        let position = |column: &Column| names.iter().position(|name| *name == column.name).unwrap_or(column.position);
        Ok(self.payload.columns.iter().map(position).collect())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let step = self.take_batch();
        match step {
            // What half a record looks like is no news where the file changed.
            Err(error) if error.kind == Kind::ValidationError => Err(self.changed().unwrap_or(error)),
            _ => step,
        }
    }

    fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            self.context.cancel.check()?;
            let Some(open) = self.open.as_mut() else {
                let Some(part) = self.payload.parts.get(self.next_part).cloned() else {
                    return Ok(None);
                };
                self.next_part += 1;
                self.open = self.open_part(&part)?;
                continue;
            };
            let limits = Limits {
                width: Some(self.payload.names.len()),
                max_field_bytes: self.input.options.max_field_bytes,
                skip_bad: self.input.options.bad_lines == BadLines::Skip,
                max_rows: self.left,
            };
            let taken = match open.blocks.next(&self.payload.dialect, &limits, &mut self.tokens) {
                Err(error) => return Err(self.placed(error)),
                Ok(taken) => taken,
            };
            match taken {
                None => {
                    self.changed().map_or(Ok(()), Err)?;
                    self.open = None;
                }
                Some(Taken::Fault(fault)) => return Err(self.explain(fault)),
                Some(Taken::Records(_)) if self.tokens.len() == 0 => {}
                Some(Taken::Records(_)) => {
                    self.tokens.truncate(self.left.saturating_mul(self.payload.names.len()));
                    let batch = self.batch()?;
                    self.left -= batch.num_rows();
                    return Ok(Some(batch));
                }
            }
        }
        Ok(None)
    }

    /// The next batch, or those of several small files together, of about a block: what comes after goes by the batch.
    fn gathered(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < self.block_bytes as u64 {
            match self.next_batch() {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => break,
                Err(error) if batches.is_empty() => return Err(error),
                Err(error) => {
                    self.pending = Some(error);
                    break;
                }
            }
            match self.open.as_ref().and_then(|open| Some(open.part.end? - open.part.start)) {
                Some(size) if size < SMALL_BYTES => bytes += size,
                _ => break,
            }
        }
        Ok(match batches.len() {
            0 | 1 => batches.pop(),
            _ => Some(concat_batches(&self.schema, &batches)?),
        })
    }

    fn batch(&self) -> Result<RecordBatch> {
        let Some(open) = &self.open else { return Err(Error::plugin("no file is open")) };
        let width = self.payload.names.len();
        let mut arrays = Vec::with_capacity(self.payload.columns.len());
        for (index, column) in self.payload.columns.iter().enumerate() {
            let cells = Cells {
                block: open.blocks.current(),
                tokens: &self.tokens,
                width,
                position: open.positions[index],
                dialect: &self.payload.dialect,
                words: &self.words,
                spares: &self.spares[index],
            };
            let parsed = cells.parse(self.schema.field(index).data_type(), column.declared);
            let array = parsed.map_err(|misfit| self.misfit(open, column, &misfit))?;
            self.spares[index].keep(&array);
            arrays.push(array);
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(self.tokens.len() / width.max(1)));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &rows)?)
    }

    fn misfit(&self, open: &Open, column: &Column, misfit: &Misfit) -> Error {
        let block = open.blocks.current();
        let at = misfit.invalid_utf8_at.map_or(misfit.field.opening(), |offset| misfit.field.start() + offset);
        let place = self.locate(open, at);
        if misfit.invalid_utf8_at.is_some() {
            let byte = open.blocks.offset() + at as u64;
            let message = format!("byte {byte}, in column {} of {}, is not valid UTF-8", column.name, place.text);
            return place
                .on(open.blocks.error_at(&message, at))
                .code("INVALID_ENCODING")
                .hint("set options.encoding to the file's encoding")
                .at("column", column.name.as_str());
        }
        let mut scratch = Vec::new();
        let text = self.words.text(&self.payload.dialect, block, misfit.field, &mut scratch).unwrap_or_default();
        let is_float = || self.words.number(text.into(), |text| values::suggests_float(text.text()).then_some(()));
        let widens_to_double = !column.declared && column.type_name == "int64" && is_float().is_some();
        let widen_to = if widens_to_double { "double" } else { "string" };
        let mut shown: String = String::from_utf8_lossy(text).chars().take(64).collect();
        if text.len() > 64 {
            shown.push_str("...");
        }
        let message = format!(
            "{}: {shown:?} in column {} of {} is no {}",
            open.blocks.path(),
            column.name,
            place.text,
            column.type_name
        );
        place
            .on(Error::schema_mismatch(message, &column.name, widen_to).at("file", open.blocks.path()))
            .at("byte", open.blocks.offset() + at as u64)
            .at("type", column.type_name.as_str())
    }

    fn explain(&self, fault: Fault) -> Error {
        let Some(open) = &self.open else { return Error::plugin("no file is open") };
        let columns = self.payload.names.len();
        match fault {
            Fault::Ragged { at, found } => {
                let place = self.locate(open, at);
                let message = format!("{} has {found} fields instead of {columns}", place.text);
                place
                    .on(open.blocks.error_at(&message, at))
                    .code("RAGGED_ROW")
                    .hint("correct the row, or leave such rows out with options.bad_lines: skip")
                    .at("columns", found)
                    .at("expected_columns", columns)
            }
            Fault::OpenQuote { at, field } => {
                let place = self.locate(open, at);
                let column = self.name_of(open, field);
                let message = format!("the quote that opens in column {column} of {} is never closed", place.text);
                place
                    .on(open.blocks.error_at(&message, at))
                    .code("OPEN_QUOTE")
                    .hint("close it, or set options.quote_char: null where quotes are ordinary characters")
                    .at("column", column)
            }
            Fault::LongField { at, field } => {
                let place = self.locate(open, at);
                let column = self.name_of(open, field);
                let limit = self.input.options.max_field_bytes;
                let message = format!("column {column} of {} is longer than {limit} bytes", place.text);
                place
                    .on(open.blocks.error_at(&message, at))
                    .code("FIELD_TOO_LONG")
                    .hint("often a quote left open; if not, raise options.max_field_bytes")
                    .at("column", column)
            }
            Fault::LongRecord => {
                let place = self.locate(open, 0);
                let message = format!("{} is longer than 2 GiB, which is more than a batch can hold", place.text);
                place
                    .on(open.blocks.error_at(&message, 0))
                    .code("RECORD_TOO_LONG")
                    .hint("often a quote left open; if not, split the value")
            }
        }
    }

    /// The name of a column by its place in the open file; its number where that file's order is its own.
    fn name_of(&self, open: &Open, field: usize) -> String {
        let is_there = |(_, position): &(&Column, &usize)| **position == field;
        let found = self.payload.columns.iter().zip(&open.positions).find(is_there);
        found.map_or_else(|| (field + 1).to_string(), |(column, _)| column.name.clone())
    }

    /// What reading raised, with the row and the line where that was.
    fn placed(&self, error: Error) -> Error {
        match &self.open {
            Some(open) if error.kind == Kind::ValidationError => {
                self.locate(open, open.blocks.current().len()).on(error)
            }
            _ => error,
        }
    }

    /// The error that the file at hand is not what was planned, if it isn't. What was added at its end belongs to the next
    /// run, where its bytes are its text.
    fn changed(&self) -> Option<Error> {
        let part = self.payload.parts.get(self.next_part.checked_sub(1)?)?;
        let planned = part.version?;
        match self.input.storage.version(&part.path) {
            Ok(Some(now)) if now == planned || (part.end.is_some() && planned.may_grow_to(now)) => None,
            Ok(None) => None,
            Err(error) => Some(error),
            Ok(Some(_)) => Some(
                Error::new(Kind::TransientError, format!("{} changed while it was read", part.path))
                    .code("FILE_CHANGED")
                    .hint("run again once it is complete")
                    .at("file", part.path.as_str()),
            ),
        }
    }

    /// Row and line of a place in the current block.
    fn locate(&self, open: &Open, at: usize) -> Place {
        let target = open.blocks.offset() + at as u64;
        let look = Look { input: &self.input, dialect: &self.payload.dialect, block_bytes: self.block_bytes };
        look.locate(&open.part, target, &self.context.cancel).unwrap_or_else(|_| Place::unknown())
    }
}

impl BatchStream for CsvStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.failed {
            return None;
        }
        let step = self.gathered();
        self.failed = step.is_err();
        step.transpose()
    }

    fn metrics(&self) -> Map<String, Value> {
        Map::from_iter([("bad_rows".to_owned(), self.tokens.bad_rows.into())])
    }
}
