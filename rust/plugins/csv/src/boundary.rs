//! Where one large file can be cut: record starts that are proven, or guessed where a wrong guess does no harm.
//!
//! A guess takes the next newline for the end of a record. If it is inside quotes, then the range before it ends inside
//! quotes as well, which its reader refuses: no wrong guess goes unnoticed.
//!
//! For a proof: as long as every opening quote follows a delimiter, a newline or a closing quote, being inside quotes is
//! the parity of the quotes before. One parallel pass over the quotes alone counts them and checks exactly that, for
//! both parities a piece may begin with; where it does not hold, the file is read as one split.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};

use dativo_plugin::{CancelToken, Error, Result};
use dativo_simd::{Backend, Quotes};

use crate::dialect::{Dialect, is_newline};

/// Bytes read at a time where all are looked at; they stay in the processor's cache.
const READ_BYTES: usize = 256 << 10;
/// Bytes read at a time on the way to the next record, which is near.
const SEARCH_BYTES: usize = 16 << 10;

/// Record starts that the next newline tells, near every multiple of `piece_bytes` in `start..end`, which begins with
/// `start`, itself a record start.
pub fn likely_starts(
    path: &str,
    dialect: &Dialect,
    (start, end): (u64, u64),
    piece_bytes: u64,
    cancel: &CancelToken,
) -> Result<Vec<u64>> {
    let count = (end - start).div_ceil(piece_bytes) as usize;
    // Whether a quote opens or closes can't be known here, so any newline will do.
    let dialect = Dialect { quote: None, ..*dialect };
    starts_near(path, &dialect, (start, end), piece_bytes, &vec![false; count], cancel)
}

/// Proven record starts near every multiple of `piece_bytes` in `start..end`, beginning with `start`, itself a record
/// start. `None` where quotes stand in places that make the parity say nothing.
pub fn record_starts(
    path: &str,
    dialect: &Dialect,
    (start, end): (u64, u64),
    piece_bytes: u64,
    threads: usize,
    cancel: &CancelToken,
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
    if let Some(quote) = dialect.quote {
        let pieces = scan_all(path, dialect, quote, count, &bounds, start, threads, cancel)?;
        let mut open = false;
        for (index, piece) in pieces.iter().enumerate() {
            inside[index] = open;
            if piece.stray[usize::from(open)] {
                return Ok(None);
            }
            open ^= piece.count % 2 == 1;
        }
        let any_quotes = pieces.iter().any(|piece| piece.count > 0);
        if any_quotes && (dialect.escape.is_some() || dialect.comment.is_some()) {
            return Ok(None);
        }
    }
    starts_near(path, dialect, (start, end), piece_bytes, &inside, cancel).map(Some)
}

/// The first record start in each piece; `inside`: whether the piece begins inside quotes.
fn starts_near(
    path: &str,
    dialect: &Dialect,
    (start, end): (u64, u64),
    piece_bytes: u64,
    inside: &[bool],
    cancel: &CancelToken,
) -> Result<Vec<u64>> {
    let mut starts = vec![start];
    for (index, open) in inside.iter().enumerate().skip(1) {
        let from = start + index as u64 * piece_bytes;
        if starts.last().is_some_and(|last| *last >= from) {
            continue;
        }
        match next_record(path, dialect, (from, end), *open, cancel)? {
            Some(at) if at < end => starts.push(at),
            _ => break,
        }
    }
    Ok(starts)
}

#[allow(clippy::too_many_arguments)]
fn scan_all(
    path: &str,
    dialect: &Dialect,
    quote: u8,
    count: usize,
    bounds: &(impl Fn(usize) -> (u64, u64) + Sync),
    start: u64,
    threads: usize,
    cancel: &CancelToken,
) -> Result<Vec<Quotes>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Quotes)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            done.push((index, scan(path, dialect, quote, bounds(index), start, cancel)?));
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

fn open_at(path: &str, at: u64) -> Result<File> {
    let mut file = File::open(path).map_err(|error| Error::io(&error, path))?;
    file.seek(SeekFrom::Start(at)).map_err(|error| Error::io(&error, path))?;
    Ok(file)
}

/// Reads `from..to`, some bytes at a time; `look` gets them and may stop by returning false.
fn each_buffer(
    path: &str,
    (from, to): (u64, u64),
    buffer_bytes: usize,
    cancel: &CancelToken,
    mut look: impl FnMut(&[u8]) -> bool,
) -> Result<()> {
    let mut file = open_at(path, from)?;
    let mut left = to - from;
    let mut buffer = vec![0; buffer_bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
    while left > 0 {
        cancel.check()?;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = file.read(&mut buffer[..wanted]).map_err(|error| Error::io(&error, path))?;
        if got == 0 || !look(&buffer[..got]) {
            break;
        }
        left -= got as u64;
    }
    Ok(())
}

fn scan(
    path: &str,
    dialect: &Dialect,
    quote: u8,
    (from, to): (u64, u64),
    start: u64,
    cancel: &CancelToken,
) -> Result<Quotes> {
    // A record starts at `start`, so what is before it counts as a newline.
    let mut before = b'\n';
    if from > start {
        each_buffer(path, (from - 1, from), READ_BYTES, cancel, |byte| {
            before = byte[0];
            true
        })?;
    }
    let mut piece = Quotes::behind(before, dialect.delimiter, quote);
    each_buffer(path, (from, to), READ_BYTES, cancel, |bytes| {
        piece.add(Backend::best(), bytes, dialect.delimiter, quote);
        true
    })?;
    Ok(piece)
}

/// The first record start behind a newline outside quotes in `from..end`.
fn next_record(
    path: &str,
    dialect: &Dialect,
    (from, end): (u64, u64),
    mut open: bool,
    cancel: &CancelToken,
) -> Result<Option<u64>> {
    let quote = dialect.quote.unwrap_or(b'\n');
    let mut base = from;
    let mut found = None;
    each_buffer(path, (from, end), SEARCH_BYTES, cancel, |bytes| {
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
