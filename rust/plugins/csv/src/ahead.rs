//! A text that is made on a thread of its own, some blocks ahead of who reads it: for compressed files, of which the
//! parsing can't be shared out.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::input::Text;

/// Bytes made at a time.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks made before one of them is wanted.
const BLOCKS_AHEAD: usize = 4;

/// The reading end. What is read ends with an empty block; without one the thread has died.
pub struct Ahead {
    blocks: Option<Receiver<io::Result<Vec<u8>>>>,
    used: SyncSender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    block: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Ahead {
    /// Starts to read.
    pub fn new(text: Text) -> io::Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
        // As many as there are blocks under way, so that giving one back never waits.
        let (used, spare) = sync_channel(BLOCKS_AHEAD + 2);
        let thread = Builder::new().name("rust_csv ahead".to_owned()).spawn(move || produce(text, &sender, &spare))?;
        Ok(Self { blocks: Some(blocks), used, thread: Some(thread), block: Vec::new(), taken: 0, ended: false })
    }

    fn next_block(&mut self) -> io::Result<()> {
        let next = self.blocks.as_ref().and_then(|blocks| blocks.recv().ok());
        let next = next.unwrap_or_else(|| Err(io::Error::other("the thread that decompresses has died")));
        // Whatever follows an error is no text.
        self.ended = !matches!(&next, Ok(block) if !block.is_empty());
        // The thread may have ended: then nobody needs it.
        drop(self.used.try_send(std::mem::replace(&mut self.block, next?)));
        self.taken = 0;
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let left = &self.block[self.taken..];
        let bytes = left.len().min(out.len());
        out[..bytes].copy_from_slice(&left[..bytes]);
        self.taken += bytes;
        Ok(bytes)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // The thread ends when it can't hand on its block.
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads to the end, an error or the loss of interest.
fn produce(mut text: Text, blocks: &SyncSender<io::Result<Vec<u8>>>, spare: &Receiver<Vec<u8>>) {
    loop {
        let mut block = spare.try_recv().unwrap_or_default();
        block.resize(BLOCK_BYTES, 0);
        let made = fill(&mut text, &mut block).map(|bytes| {
            block.truncate(bytes);
            block
        });
        let last = !matches!(&made, Ok(block) if !block.is_empty());
        if blocks.send(made).is_err() || last {
            return;
        }
    }
}

/// Fills the block as far as there is text.
fn fill(text: &mut Text, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match text.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes, in reads of a thousand, and then an error or a panic.
    struct Source {
        left: usize,
        end: fn() -> io::Result<usize>,
    }

    impl Read for Source {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let bytes = out.len().min(self.left).min(1000);
            for slot in &mut out[..bytes] {
                *slot = (self.left % 251) as u8;
                self.left -= 1;
            }
            if bytes == 0 { (self.end)() } else { Ok(bytes) }
        }
    }

    fn ahead(left: usize, end: fn() -> io::Result<usize>) -> Ahead {
        Ahead::new(Box::new(Source { left, end })).expect("a thread")
    }

    #[test]
    fn every_byte_arrives_in_order() {
        for length in [0, 1, BLOCK_BYTES, 10 * BLOCK_BYTES + 1] {
            let (mut wanted, mut found) = (Vec::new(), Vec::new());
            Source { left: length, end: || Ok(0) }.read_to_end(&mut wanted).expect("reads");
            ahead(length, || Ok(0)).read_to_end(&mut found).expect("reads");
            assert!(found == wanted, "{length} bytes");
        }
    }

    #[test]
    fn a_failure_is_an_error_and_never_an_end() {
        let failures: [fn() -> io::Result<usize>; 2] =
            [|| Err(io::ErrorKind::InvalidData.into()), || panic!("a decoder's mistake")];
        for failure in failures {
            assert!(ahead(3 * BLOCK_BYTES, failure).read_to_end(&mut Vec::new()).is_err());
        }
    }

    #[test]
    fn who_stops_reading_does_not_wait_for_the_rest() {
        let mut endless = ahead(usize::MAX, || Ok(0));
        endless.read_exact(&mut [0; 10]).expect("reads");
    }
}
