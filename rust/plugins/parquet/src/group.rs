//! A row group being written: its columns, each with the encoder its type has.

use std::io::Write;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

use crate::columns::{Column, Scratch, column};
use crate::pages::PageOptions;
use crate::pages::chunk::Chunk;
use crate::taken::TakenChunk;

/// Rows that are encoded at a time, at least: pages of fewer cost more than they hold.
const STRIDE_ROWS: usize = 4096;

/// The columns of a file, in the row group that is being filled.
pub struct RowGroup {
    factory: ArrowRowGroupWriterFactory,
    descriptor: SchemaDescriptor,
    schema: SchemaRef,
    columns: Vec<(FieldRef, Encoder)>,
    scratch: Scratch,
    rows: usize,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    /// Bytes of rows that may wait for others to make a page with.
    stride_bytes: usize,
}

/// A finished column of a row group.
pub enum Encoded {
    /// Ours.
    Own(Box<Chunk>),
    /// The parquet crate's, a chunk a leaf.
    Leaves(Vec<ArrowColumnChunk>),
    /// Those of another file, a chunk a leaf.
    Taken(Vec<TakenChunk>),
}

enum Encoder {
    /// Ours.
    Own(Box<dyn Column>),
    /// The parquet crate's, a writer a leaf.
    Leaves(Vec<ArrowColumnWriter>),
}

impl RowGroup {
    /// own: whether flat columns get our encoders; the parquet crate's have bloom filters and pages of version 1.
    pub fn new<W: Write + Send>(
        file: &SerializedFileWriter<W>,
        schema: &SchemaRef,
        options: PageOptions,
        own: bool,
        stride_bytes: usize,
    ) -> Result<Self> {
        let descriptor = file.schema_descr().clone();
        let mut leaves = (0..descriptor.num_columns()).peekable();
        let mut columns = Vec::new();
        for (position, field) in schema.fields().iter().enumerate() {
            let first = leaves.peek().copied();
            while leaves.next_if(|leaf| descriptor.get_column_root_idx(*leaf) == position).is_some() {}
            let encoder = first.filter(|_| own);
            let encoder = encoder.and_then(|leaf| column(field.data_type(), &descriptor.column(leaf), options));
            columns.push((field.clone(), encoder.map_or(Encoder::Leaves(Vec::new()), Encoder::Own)));
        }
        let mut group = Self {
            factory: ArrowRowGroupWriterFactory::new(file, schema.clone()),
            descriptor,
            schema: schema.clone(),
            columns,
            scratch: Scratch::new(&options)?,
            rows: 0,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            stride_bytes,
        };
        group.start_leaves()?;
        Ok(group)
    }

    /// Rows in the group so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held for the group so far.
    pub fn bytes(&self) -> usize {
        let bytes = |encoder: &Encoder| match encoder {
            Encoder::Own(column) => column.bytes(),
            Encoder::Leaves(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
        };
        self.waiting_bytes + self.columns.iter().map(|(_, encoder)| bytes(encoder)).sum::<usize>()
    }

    /// Adds rows. bytes: what they take in memory.
    pub fn add(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        self.rows += batch.num_rows();
        self.waiting_rows += batch.num_rows();
        self.waiting_bytes += bytes;
        self.waiting.push(batch);
        if self.waiting_rows >= STRIDE_ROWS || self.waiting_bytes >= self.stride_bytes {
            self.encode()?;
        }
        Ok(())
    }

    /// Ends the group and starts the next.
    pub fn finish(&mut self) -> Result<Vec<Encoded>> {
        self.encode()?;
        let encoders = self.columns.iter_mut();
        let done = encoders.map(|(_, encoder)| encoder.finish(&mut self.scratch)).collect::<Result<_>>()?;
        self.rows = 0;
        self.start_leaves()?;
        Ok(done)
    }

    /// Encodes all rows of one column, for a group that has no other rows. No group is being filled.
    pub fn whole(&mut self, position: usize, rows: &ArrayRef) -> Result<Encoded> {
        let (field, encoder) = &mut self.columns[position];
        encoder.write(field, rows, &mut self.scratch)?;
        let done = encoder.finish(&mut self.scratch)?;
        if matches!(done, Encoded::Leaves(_)) {
            self.start_leaves()?;
        }
        Ok(done)
    }

    fn encode(&mut self) -> Result<()> {
        let batch = match self.waiting.as_slice() {
            [] => return Ok(()),
            [batch] => batch.clone(),
            batches => concat_batches(&self.schema, batches)?,
        };
        self.waiting.clear();
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        let mut columns = self.columns.iter_mut().zip(batch.columns());
        columns.try_for_each(|((field, encoder), rows)| encoder.write(field, rows, &mut self.scratch))
    }

    /// Makes the crate's writers for a row group. Its number matters to encrypted files alone.
    fn start_leaves(&mut self) -> Result<()> {
        if self.columns.iter().all(|(_, encoder)| matches!(encoder, Encoder::Own(_))) {
            return Ok(());
        }
        for (_, encoder) in &mut self.columns {
            if let Encoder::Leaves(writers) = encoder {
                writers.clear();
            }
        }
        for (leaf, writer) in self.factory.create_column_writers(0)?.into_iter().enumerate() {
            if let (_, Encoder::Leaves(writers)) = &mut self.columns[self.descriptor.get_column_root_idx(leaf)] {
                writers.push(writer);
            }
        }
        Ok(())
    }
}

/// Appends a row group to the file.
pub fn append<W: Write + Send>(file: &mut SerializedFileWriter<W>, columns: Vec<Encoded>) -> Result<()> {
    let mut group = file.next_row_group()?;
    for column in columns {
        match column {
            Encoded::Own(chunk) => chunk.append_to(&mut group)?,
            Encoded::Leaves(chunks) => {
                chunks.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
            }
            Encoded::Taken(chunks) => chunks.into_iter().try_for_each(|chunk| chunk.append_to(&mut group))?,
        }
    }
    group.close()?;
    Ok(())
}

impl Encoder {
    fn write(&mut self, field: &FieldRef, rows: &ArrayRef, scratch: &mut Scratch) -> Result<()> {
        match self {
            Self::Own(column) => column.write(rows, scratch),
            Self::Leaves(writers) => {
                compute_leaves(field, rows)?.iter().zip(writers).try_for_each(|(leaf, writer)| writer.write(leaf))
            }
        }
    }

    /// Ends the chunk; the parquet crate's writers are used up by it.
    fn finish(&mut self, scratch: &mut Scratch) -> Result<Encoded> {
        Ok(match self {
            Self::Own(column) => Encoded::Own(Box::new(column.finish(scratch)?)),
            Self::Leaves(writers) => {
                Encoded::Leaves(writers.drain(..).map(ArrowColumnWriter::close).collect::<Result<_>>()?)
            }
        })
    }
}
