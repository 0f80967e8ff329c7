//! A row group being written: its columns, each with the encoder its type has.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use crate::columns::{Column, Scratch, column};
use crate::pages::PageOptions;

/// The columns of a file, in the row group that is being filled.
pub struct RowGroup {
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<(FieldRef, Encoder)>,
    rows: usize,
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
    ) -> Result<Self> {
        let descriptor = file.schema_descr();
        let mut leaves = (0..descriptor.num_columns()).peekable();
        let mut columns = Vec::new();
        for (position, field) in schema.fields().iter().enumerate() {
            let first = leaves.peek().copied();
            while leaves.next_if(|leaf| descriptor.get_column_root_idx(*leaf) == position).is_some() {}
            let encoder = first.filter(|_| own);
            let encoder = encoder.and_then(|leaf| column(field.data_type(), &descriptor.column(leaf), options));
            columns.push((field.clone(), encoder.map_or(Encoder::Leaves(Vec::new()), Encoder::Own)));
        }
        let factory = ArrowRowGroupWriterFactory::new(file, schema.clone());
        let mut group = Self { factory, columns, rows: 0 };
        group.start_leaves(0, file)?;
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
        self.columns.iter().map(|(_, encoder)| bytes(encoder)).sum()
    }

    /// Adds rows, with a thread for each scratch.
    pub fn write(&mut self, batch: &RecordBatch, scratches: &mut [Scratch]) -> Result<()> {
        self.rows += batch.num_rows();
        let mut work = self.columns.iter_mut().zip(batch.columns());
        if let [scratch] = scratches {
            return work.try_for_each(|((field, encoder), rows)| encoder.write(field, rows, scratch));
        }
        let work = Mutex::new(work);
        let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
        let worker = |scratch: &mut Scratch| {
            while let Some(((field, encoder), rows)) = next() {
                encoder.write(field, rows, scratch)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = scratches.iter_mut().map(|scratch| scope.spawn(|| worker(scratch))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Ends the group and starts the next.
    pub fn flush<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>, scratch: &mut Scratch) -> Result<()> {
        let mut group = file.next_row_group()?;
        for (_, encoder) in &mut self.columns {
            match encoder {
                Encoder::Own(column) => column.finish(scratch)?.append_to(&mut group)?,
                Encoder::Leaves(writers) => {
                    for writer in writers.drain(..) {
                        writer.close()?.append_to_row_group(&mut group)?;
                    }
                }
            }
        }
        group.close()?;
        self.rows = 0;
        self.start_leaves(file.flushed_row_groups().len(), file)
    }

    /// Makes the crate's writers for a row group.
    fn start_leaves<W: Write + Send>(&mut self, group: usize, file: &SerializedFileWriter<W>) -> Result<()> {
        if self.columns.iter().all(|(_, encoder)| matches!(encoder, Encoder::Own(_))) {
            return Ok(());
        }
        for (leaf, writer) in self.factory.create_column_writers(group)?.into_iter().enumerate() {
            if let (_, Encoder::Leaves(writers)) = &mut self.columns[file.schema_descr().get_column_root_idx(leaf)] {
                writers.push(writer);
            }
        }
        Ok(())
    }
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
}
