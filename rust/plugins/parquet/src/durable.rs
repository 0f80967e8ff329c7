//! A file whose bytes go to the disk while more are being made, so that little is left to wait for at the end.

use std::fs::File;
use std::io::{Error, Result, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Bytes written before the disk is asked to take them.
const SYNC_BYTES: usize = 8 << 20;

/// A file that is written in order.
pub struct DurableFile {
    file: Arc<File>,
    unsynced: usize,
    syncing: Option<JoinHandle<Result<()>>>,
}

impl DurableFile {
    pub fn new(file: File) -> Self {
        Self { file: Arc::new(file), unsynced: 0, syncing: None }
    }

    /// Waits until all bytes are on the disk; how many there are.
    pub fn sync(&mut self) -> Result<u64> {
        self.finish_syncing()?;
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }

    fn finish_syncing(&mut self) -> Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::other("the thread that syncs the file panicked")),
            None => Ok(()),
        }
    }
}

impl Write for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= SYNC_BYTES && self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.finish_syncing()?;
            self.unsynced = 0;
            let file = Arc::clone(&self.file);
            // Without a thread to be had, `sync` does all of it at the end.
            self.syncing = std::thread::Builder::new().name("sync".into()).spawn(move || file.sync_data()).ok();
        }
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        // Nobody waits for this file any more: what the disk says of it is of no use.
        drop(self.finish_syncing());
    }
}
