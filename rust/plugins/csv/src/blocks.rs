//! A text as blocks of whole records: the tail of one block is carried into the next.

use dativo_plugin::{Error, Kind, Result};

use crate::dialect::{Dialect, is_newline};
use crate::fields::Tokens;
use crate::input::{Text, read_error};
use crate::tokens::{Fault, Limits, tokenize};

/// A longer record is refused: Arrow's string offsets could not address its fields.
const MAX_RECORD_BYTES: usize = i32::MAX as usize;

/// A text being read.
pub struct Blocks {
    text: Text,
    path: String,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold text.
    filled: usize,
    /// Bytes of `buffer` that were handed out.
    used: usize,
    /// Where `buffer` starts in the text.
    offset: u64,
    block_bytes: usize,
    max_record_bytes: usize,
    ended: bool,
    newline_added: bool,
    /// Why there is no more text than there is; raised once that was handed out.
    failure: Option<Error>,
}

impl Blocks {
    /// Blocks of about `block_bytes` of `text`, which starts at `offset` of the file `path`.
    pub fn new(text: Text, path: &str, offset: u64, block_bytes: usize) -> Self {
        Self {
            text,
            path: path.to_owned(),
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            offset,
            block_bytes: block_bytes.max(1),
            max_record_bytes: MAX_RECORD_BYTES,
            ended: false,
            newline_added: false,
            failure: None,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the last block starts in the file's text.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes the unread text at least `wanted` bytes long where as much can be read, and returns it. Text that is
    /// damaged is an error where nothing is left before it.
    pub fn peek(&mut self, wanted: usize) -> Result<&[u8]> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.offset += self.used as u64;
        self.used = 0;
        while self.filled < wanted && !self.ended && self.failure.is_none() {
            if self.buffer.len() < wanted + 1 {
                self.buffer.resize(wanted + 1, 0);
            }
            match self.text.read(&mut self.buffer[self.filled..wanted]) {
                Ok(0) => self.ended = true,
                Ok(got) => self.filled += got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let error = read_error(error, &self.path);
                    let is_placed = error.details.contains_key("byte");
                    let here = self.offset + self.filled as u64;
                    let error = if is_placed { error } else { error.at("byte", here) };
                    // What is damaged is so the next time too. A disk that fails once must not end a sample early.
                    if error.kind != Kind::ValidationError {
                        return Err(error);
                    }
                    self.failure = Some(error);
                }
            }
        }
        if self.filled == 0
            && let Some(error) = self.failure.take()
        {
            return Err(error);
        }
        Ok(&self.buffer[..self.filled])
    }

    /// Leaves out `bytes` of the unread text.
    pub fn skip(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Leaves out `lines` lines, whatever is in them.
    pub fn skip_lines(&mut self, lines: u64) -> Result<()> {
        for _ in 0..lines {
            loop {
                let block_bytes = self.block_bytes;
                let unread = self.peek(block_bytes)?;
                if unread.is_empty() {
                    return Ok(());
                }
                if let Some(at) = memchr::memchr2(b'\n', b'\r', unread) {
                    let carriage = unread[at] == b'\r';
                    self.skip(at + 1);
                    if carriage && self.peek(1)?.first() == Some(&b'\n') {
                        self.skip(1);
                    }
                    break;
                }
                let all = unread.len();
                self.skip(all);
            }
        }
        Ok(())
    }

    /// The next block and its fields, `None` at the end. A fault's offset is in the block that [`Self::current`] gives.
    pub fn next(&mut self, dialect: &Dialect, limits: &Limits, tokens: &mut Tokens) -> Result<Option<Taken>> {
        let mut wanted = self.block_bytes;
        loop {
            if self.peek(wanted)?.is_empty() {
                return Ok(None);
            }
            if self.ended && !self.newline_added && !is_newline(self.buffer[self.filled - 1]) {
                self.buffer.truncate(self.filled);
                self.buffer.push(b'\n');
                self.filled += 1;
            }
            self.newline_added |= self.ended;
            if let Some(bytes) = tokens.take_plain(dialect, &self.buffer[..self.filled], self.ended, limits) {
                self.used = bytes;
                return Ok(Some(Taken::Records(bytes)));
            }
            let bad_before = tokens.bad_rows;
            match tokenize(dialect, &self.buffer[..self.filled], self.ended, limits, tokens) {
                Ok(0) if self.ended => return Ok(None),
                Ok(0) => {
                    tokens.bad_rows = bad_before;
                    if let Some(error) = self.failure.take() {
                        return Err(error);
                    }
                    if self.filled >= self.max_record_bytes {
                        return Ok(Some(Taken::Fault(Fault::LongRecord)));
                    }
                    wanted = self.filled.saturating_mul(2).max(wanted).min(self.max_record_bytes);
                }
                Ok(bytes) => {
                    self.used = bytes;
                    return Ok(Some(Taken::Records(bytes)));
                }
                Err(fault) => return Ok(Some(Taken::Fault(fault))),
            }
        }
    }

    /// The bytes that the last call of `next` looked at.
    pub fn current(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// An error of a kind at a byte of the last block.
    pub fn error_at(&self, message: &str, at: usize) -> Error {
        Error::validation(format!("{}: {message}", self.path))
            .at("file", self.path.as_str())
            .at("byte", self.offset + at as u64)
    }
}

/// What a call of [`Blocks::next`] found.
pub enum Taken {
    /// Whole records in so many bytes.
    Records(usize),
    /// A place that can't be read.
    Fault(Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_be_as_long_as_a_batch_can_hold_and_no_longer() {
        let dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None, comment: None, header: true };
        let limits = Limits { width: Some(2), max_field_bytes: usize::MAX, skip_bad: false, max_rows: usize::MAX };
        for (length, fits) in [(98, true), (99, true), (100, false), (5000, false)] {
            for quote in ["", "\""] {
                let text = format!("a,b\n1,{quote}{}{quote}", "x".repeat(length - 2 - 2 * quote.len()));
                let text = std::io::Cursor::new(format!("{text}\n3,4\n").into_bytes());
                let mut blocks = Blocks { max_record_bytes: 100, ..Blocks::new(Box::new(text), "x.csv", 0, 7) };
                let mut tokens = Tokens::default();
                assert!(matches!(blocks.next(&dialect, &limits, &mut tokens), Ok(Some(Taken::Records(4)))));
                let second = blocks.next(&dialect, &limits, &mut tokens).expect("reads");
                match second {
                    Some(Taken::Records(bytes)) => assert!(fits && bytes == length + 1, "{length}"),
                    Some(Taken::Fault(fault)) => assert!(!fits && fault == Fault::LongRecord, "{length}: {fault:?}"),
                    None => panic!("{length}: nothing"),
                }
                assert_eq!(blocks.offset(), 4);
            }
        }
    }
}
