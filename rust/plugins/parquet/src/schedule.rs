//! Where row groups are encoded: on the caller's thread as the rows come, or by threads of their own, a group each.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedFileWriter;

use crate::durable::DurableFile;
use crate::group::{Encoded, RowGroup, append};

/// The file, its footer not yet written.
pub type Output = SerializedFileWriter<BufWriter<DurableFile>>;

/// The row groups of a file.
pub trait Schedule: Send {
    /// Rows in the group that is being filled.
    fn rows(&self) -> usize;

    /// Bytes held for it.
    fn bytes(&self) -> usize;

    /// Bytes of the groups before it.
    fn written(&self) -> usize;

    /// Adds rows to it. bytes: what they take in memory.
    fn add(&mut self, batch: RecordBatch, bytes: usize) -> Result<()>;

    /// Ends it and starts the next.
    fn end(&mut self) -> Result<()>;

    /// The encoders and the file, where no other thread has them.
    fn alone(&mut self) -> Option<(&mut RowGroup, &mut Output)> {
        None
    }

    /// Completes the file with the groups that were ended.
    fn finish(&mut self) -> Result<Finished>;
}

/// A file that is on the disk.
pub struct Finished {
    pub bytes: u64,
    pub row_groups: usize,
}

fn close(file: &mut Output) -> Result<Finished> {
    let row_groups = file.finish()?.num_row_groups();
    let buffer = file.inner_mut();
    buffer.flush()?;
    Ok(Finished { bytes: buffer.get_mut().sync()?, row_groups })
}

/// Encodes on the caller's thread.
pub struct Inline {
    group: RowGroup,
    file: Output,
}

impl Inline {
    pub fn new(file: Output, group: RowGroup) -> Self {
        Self { group, file }
    }
}

impl Schedule for Inline {
    fn rows(&self) -> usize {
        self.group.rows()
    }

    fn bytes(&self) -> usize {
        self.group.bytes()
    }

    fn written(&self) -> usize {
        self.file.bytes_written()
    }

    fn add(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        self.group.add(batch, bytes)
    }

    fn end(&mut self) -> Result<()> {
        append(&mut self.file, self.group.finish()?)
    }

    fn alone(&mut self) -> Option<(&mut RowGroup, &mut Output)> {
        Some((&mut self.group, &mut self.file))
    }

    fn finish(&mut self) -> Result<Finished> {
        close(&mut self.file)
    }
}

/// The rows of one group, by its number.
type Task = (usize, Vec<(RecordBatch, usize)>);

/// Encodes whole groups, one a thread; no thread waits for another's columns.
pub struct Threads {
    /// `None` once there is nothing more to do.
    tasks: Option<SyncSender<Task>>,
    threads: Vec<JoinHandle<()>>,
    written: Arc<Mutex<Written>>,
    next: usize,
    batches: Vec<(RecordBatch, usize)>,
    rows: usize,
    bytes: usize,
}

/// What the threads have made.
struct Written {
    file: Output,
    next: usize,
    /// Groups that were ready before an earlier one was.
    early: BTreeMap<usize, Vec<Encoded>>,
    failure: Option<ParquetError>,
}

impl Threads {
    /// groups: one a thread.
    pub fn new(file: Output, groups: Vec<RowGroup>) -> Result<Self> {
        // Without room: a group waits here, not behind a thread that is busy.
        let (tasks, queue) = sync_channel(0);
        let queue = Arc::new(Mutex::new(queue));
        let written = Arc::new(Mutex::new(Written { file, next: 0, early: BTreeMap::new(), failure: None }));
        let start = |group: RowGroup| {
            let (queue, written) = (Arc::clone(&queue), Arc::clone(&written));
            let builder = std::thread::Builder::new().name("row groups".into());
            builder.spawn(move || work(group, &queue, &written)).map_err(ParquetError::from)
        };
        let threads = groups.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Self { tasks: Some(tasks), threads, written, next: 0, batches: Vec::new(), rows: 0, bytes: 0 })
    }

    fn join(&mut self) -> Result<()> {
        self.tasks = None;
        let panics: Vec<_> = self.threads.drain(..).filter_map(|thread| thread.join().err()).collect();
        match panics.into_iter().next() {
            Some(panic) => std::panic::resume_unwind(panic),
            None => lock(&self.written).failure.take().map_or(Ok(()), Err),
        }
    }
}

impl Schedule for Threads {
    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn written(&self) -> usize {
        lock(&self.written).file.bytes_written()
    }

    fn add(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.batches.push((batch, bytes));
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let task = (self.next, std::mem::take(&mut self.batches));
        (self.next, self.rows, self.bytes) = (self.next + 1, 0, 0);
        let sent = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        if sent && lock(&self.written).failure.is_none() { Ok(()) } else { self.join() }
    }

    fn finish(&mut self) -> Result<Finished> {
        self.join()?;
        let mut written = lock(&self.written);
        if written.next < self.next {
            return Err(ParquetError::General("a row group before the end could not be written".into()));
        }
        close(&mut written.file)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.tasks = None;
        // The file was given up: what its threads say no longer matters.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn work(mut group: RowGroup, queue: &Mutex<Receiver<Task>>, written: &Mutex<Written>) {
    let next = || lock(queue).recv();
    while let Ok((number, batches)) = next() {
        let encoded = batches.into_iter().try_for_each(|(batch, bytes)| group.add(batch, bytes));
        let done = encoded.and_then(|()| group.finish());
        let mut written = lock(written);
        if let Err(failure) = done.and_then(|columns| written.add(number, columns)) {
            written.failure.get_or_insert(failure);
            return;
        }
    }
}

impl Written {
    fn add(&mut self, number: usize, columns: Vec<Encoded>) -> Result<()> {
        self.early.insert(number, columns);
        while let Some(columns) = self.early.remove(&self.next) {
            append(&mut self.file, columns)?;
            self.next += 1;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow_array::{ArrayRef, Int64Array};
    use parquet::arrow::ArrowSchemaConverter;

    use super::*;
    use crate::options::ParquetOptions;

    #[test]
    fn a_file_that_cannot_be_written_fails_at_the_next_group_and_is_never_completed() {
        let place = tempfile::NamedTempFile::new().expect("a file");
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..5000).map(|id| id * id)));
        let rows = RecordBatch::try_from_iter([("id", ids)]).expect("rows");
        let schema = ArrowSchemaConverter::new().convert(&rows.schema()).expect("a schema").root_schema_ptr();
        let unwritable = DurableFile::new(File::open(place.path()).expect("the file, to be read only"));
        let file = BufWriter::with_capacity(16, unwritable);
        let file = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
        let pages = ParquetOptions::default().page_options().expect("options");
        let group = || RowGroup::new(&file, &rows.schema(), pages, true, 1 << 20).expect("a group");
        let groups = vec![group(), group()];
        let mut threads = Threads::new(file, groups).expect("threads");
        let failure = (0..1000).find_map(|_| threads.add(rows.clone(), 40_000).and_then(|()| threads.end()).err());
        assert!(matches!(failure, Some(ParquetError::External(_))), "{failure:?}");
        assert!(threads.finish().is_err());
    }
}
