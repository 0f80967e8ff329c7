//! Where one large file can be cut: record starts that are proven, or guessed where a wrong guess does no harm.
//!
//! A guess takes the next newline for the end of a record. If it is inside quotes, then the range before it ends inside
//! quotes as well, which its reader refuses: no wrong guess goes unnoticed.
//!
//! For a proof: as long as every opening quote follows a delimiter, a newline or a closing quote, being inside quotes is
//! the parity of the quotes before. One parallel pass over the quotes alone counts them and checks exactly that, for
//! both parities a piece may begin with; where it does not hold, the file is read as one split.

use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};

use dativo_plugin::{CancelToken, Error, InputFile, Result, Storage};
use dativo_simd::{Backend, Quotes};

use crate::dialect::{Dialect, is_newline};
use crate::input::read_error;

/// Bytes read at a time where all are looked at; they stay in the processor's cache.
const READ_BYTES: usize = 256 << 10;
/// Bytes read at a time on the way to the next record, which is near.
const SEARCH_BYTES: usize = 16 << 10;

/// A plain file in which record starts are looked for.
pub struct Search<'a> {
    /// Where it is opened.
    pub storage: &'a Storage,
    /// The file.
    pub path: &'a str,
    /// How its text is structured.
    pub dialect: Dialect,
    /// Ends the search.
    pub cancel: &'a CancelToken,
}

impl Search<'_> {
    /// Record starts that the next newline tells, near every multiple of `piece_bytes` in `start..end`, which begins with
    /// `start`, itself a record start.
    pub fn likely_starts(&self, (start, end): (u64, u64), piece_bytes: u64) -> Result<Vec<u64>> {
        let count = (end - start).div_ceil(piece_bytes) as usize;
        // Whether a quote opens or closes can't be known here, so any newline will do.
        let unquoted = Self { dialect: Dialect { quote: None, ..self.dialect }, ..*self };
        unquoted.starts_near((start, end), piece_bytes, &vec![false; count])
    }

    /// Proven record starts near every multiple of `piece_bytes` in `start..end`, beginning with `start`, itself a record
    /// start. `None` where quotes stand in places that make the parity say nothing.
    pub fn record_starts(
        &self,
        (start, end): (u64, u64),
        piece_bytes: u64,
        threads: usize,
    ) -> Result<Option<Vec<u64>>> {
        let count = (end - start).div_ceil(piece_bytes) as usize;
        if count < 2 {
            return Ok(Some(vec![start]));
        }
        let bounds = |index: usize| {
            let from = start + index as u64 * piece_bytes;
            (from, end.min(from + piece_bytes))
        };
        let mut inside = vec![false; count];
        if let Some(quote) = self.dialect.quote {
            let pieces = self.scan_all(quote, count, &bounds, start, threads)?;
            let mut open = false;
            for (index, piece) in pieces.iter().enumerate() {
                inside[index] = open;
                if piece.stray[usize::from(open)] {
                    return Ok(None);
                }
                open ^= piece.count % 2 == 1;
            }
            let any_quotes = pieces.iter().any(|piece| piece.count > 0);
            if any_quotes && (self.dialect.escape.is_some() || self.dialect.comment.is_some()) {
                return Ok(None);
            }
        }
        self.starts_near((start, end), piece_bytes, &inside).map(Some)
    }

    /// The first record start in each piece; `inside`: whether the piece begins inside quotes.
    fn starts_near(&self, (start, end): (u64, u64), piece_bytes: u64, inside: &[bool]) -> Result<Vec<u64>> {
        let mut starts = vec![start];
        for (index, open) in inside.iter().enumerate().skip(1) {
            let from = start + index as u64 * piece_bytes;
            if starts.last().is_some_and(|last| *last >= from) {
                continue;
            }
            match self.next_record((from, end), *open)? {
                Some(at) if at < end => starts.push(at),
                _ => break,
            }
        }
        Ok(starts)
    }

    fn scan_all(
        &self,
        quote: u8,
        count: usize,
        bounds: &(impl Fn(usize) -> (u64, u64) + Sync),
        start: u64,
        threads: usize,
    ) -> Result<Vec<Quotes>> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Quotes)>> {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(done);
                }
                done.push((index, self.scan(quote, bounds(index), start)?));
            }
        };
        let found = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(work)).collect();
            let mut found = vec![work()];
            found.extend(workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|_| Err(Error::plugin("a thread that looked for record ends panicked")))
            }));
            found
        });
        let mut pieces = vec![Quotes::default(); count];
        for part in found {
            for (index, piece) in part? {
                pieces[index] = piece;
            }
        }
        Ok(pieces)
    }

    fn open_at(&self, at: u64) -> Result<InputFile> {
        let mut file = self.storage.open(self.path)?;
        file.seek(SeekFrom::Start(at)).map_err(|error| read_error(error, self.path))?;
        Ok(file)
    }

    /// Reads `from..to`, some bytes at a time; `look` gets them and may stop by returning false.
    fn each_buffer(
        &self,
        (from, to): (u64, u64),
        buffer_bytes: usize,
        mut look: impl FnMut(&[u8]) -> bool,
    ) -> Result<()> {
        let mut file = self.open_at(from)?;
        let mut left = to - from;
        let mut buffer = vec![0; buffer_bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
        while left > 0 {
            self.cancel.check()?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let got = file.read(&mut buffer[..wanted]).map_err(|error| read_error(error, self.path))?;
            if got == 0 || !look(&buffer[..got]) {
                break;
            }
            left -= got as u64;
        }
        Ok(())
    }

    fn scan(&self, quote: u8, (from, to): (u64, u64), start: u64) -> Result<Quotes> {
        // A record starts at `start`, so what is before it counts as a newline.
        let mut before = b'\n';
        if from > start {
            self.each_buffer((from - 1, from), READ_BYTES, |byte| {
                before = byte[0];
                true
            })?;
        }
        let mut piece = Quotes::behind(before, self.dialect.delimiter, quote);
        self.each_buffer((from, to), READ_BYTES, |bytes| {
            piece.add(Backend::best(), bytes, self.dialect.delimiter, quote);
            true
        })?;
        Ok(piece)
    }

    /// The first record start behind a newline outside quotes in `from..end`.
    fn next_record(&self, (from, end): (u64, u64), mut open: bool) -> Result<Option<u64>> {
        let quote = self.dialect.quote.unwrap_or(b'\n');
        let mut base = from;
        let mut found = None;
        self.each_buffer((from, end), SEARCH_BYTES, |bytes| {
            for at in memchr::memchr3_iter(quote, b'\n', b'\r', bytes) {
                if is_newline(bytes[at]) {
                    if !open {
                        found = Some(base + at as u64 + 1);
                        return false;
                    }
                } else {
                    open = !open;
                }
            }
            base += bytes.len() as u64;
            true
        })?;
        Ok(found)
    }
}
