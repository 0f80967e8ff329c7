//! Where a plugin opens its input: files of this machine, and by URI what the host opens for it.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bytes of the first request to a remote file: enough for a header and a sample.
const FIRST_BYTES: u64 = 256 << 10;
/// Bytes of later ones, each four times the one before it, at most.
const MAX_BYTES: u64 = 8 << 20;

/// Opens files by URI.
pub trait RemoteFiles: Send + Sync {
    /// The file of a URI, in the version it has at its first opening.
    fn open(&self, uri: &str) -> Result<Box<dyn RemoteFile>>;
}

/// A file that answers range requests.
pub trait RemoteFile: Send {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// The bytes `start..end`; `end..ahead` are wanted next, if that is not empty.
    fn read(&mut self, start: u64, end: u64, ahead: u64) -> Result<Vec<u8>>;
}

/// Where a plugin opens its input.
#[derive(Clone, Default)]
pub struct Storage(Option<Arc<dyn RemoteFiles>>);

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Storage(local, remote)" } else { "Storage(local)" })
    }
}

impl Storage {
    /// Storage that opens URIs as well.
    pub fn with_remote(remote: Arc<dyn RemoteFiles>) -> Self {
        Self(Some(remote))
    }

    /// Opens a file, by absolute path or by URI.
    pub fn open(&self, path: &str) -> Result<InputFile> {
        if is_remote(path) {
            let Some(remote) = &self.0 else {
                return Err(Error::configuration(format!("{path}: this plugin was not given a way to open URIs")));
            };
            return Ok(InputFile::Remote(Ranges::new(remote.open(path)?)));
        }
        let file = File::open(path).map_err(|error| Error::io(&error, path))?;
        let about = file.metadata().map_err(|error| Error::io(&error, path))?;
        if about.is_dir() {
            return Err(Error::io(&io::ErrorKind::IsADirectory.into(), path));
        }
        Ok(InputFile::Local(file, Version::of(&about)))
    }

    /// What a file is at now; `None` for a remote one, which is read in the version that was opened first.
    pub fn version(&self, path: &str) -> Result<Option<Version>> {
        if is_remote(path) {
            return Ok(None);
        }
        let about = fs::metadata(path).map_err(|error| Error::io(&error, path))?;
        Ok(Some(Version::of(&about)))
    }
}

/// Whether a path is a URI of a file that is elsewhere.
pub fn is_remote(path: &str) -> bool {
    !path.starts_with('/') && path.contains("://")
}

/// What changes with the content of a local file: its inode, its size in bytes, and when content and inode last
/// changed, in ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version(u64, u64, i64, i64);

impl Version {
    #[cfg(unix)]
    fn of(about: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        let modified_ns = ns(about.mtime(), about.mtime_nsec());
        Self(about.ino(), about.len(), modified_ns, ns(about.ctime(), about.ctime_nsec()))
    }

    #[cfg(not(unix))]
    fn of(about: &Metadata) -> Self {
        let modified = about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Self(0, about.len(), modified.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0)), 0)
    }

    /// Whether the file may be this one with something added at its end.
    pub fn may_grow_to(self, later: Self) -> bool {
        self.0 == later.0 && self.1 < later.1
    }
}

/// An open file.
pub enum InputFile {
    /// Of this machine, as it was when it was opened.
    Local(File, Version),
    /// By URI.
    Remote(Ranges),
}

impl InputFile {
    /// Its size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        match self {
            Self::Local(_, version) => version.1,
            Self::Remote(ranges) => ranges.end,
        }
    }

    /// What the file was at when it was opened; `None` for a remote one.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Local(_, version) => Some(*version),
            Self::Remote(_) => None,
        }
    }

    /// The bytes `start..end` alone: where they are fewer the file was cut short.
    pub fn range(mut self, start: u64, end: u64) -> io::Result<io::Take<Self>> {
        self.seek(SeekFrom::Start(start))?;
        if let Self::Remote(ranges) = &mut self {
            ranges.end = ranges.end.min(end);
        }
        Ok(self.take(end.saturating_sub(start)))
    }
}

impl Read for InputFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file, _) => file.read(out),
            Self::Remote(ranges) => ranges.read(out),
        }
    }
}

impl Seek for InputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Local(file, _) => file.seek(to),
            Self::Remote(ranges) => ranges.seek(to),
        }
    }
}

/// A remote file as a stream of range requests, which grow as long as it is read in order.
pub struct Ranges {
    file: Box<dyn RemoteFile>,
    position: u64,
    /// Nothing is asked for from here on.
    end: u64,
    block: Vec<u8>,
    block_start: u64,
    next_bytes: u64,
}

impl Ranges {
    fn new(file: Box<dyn RemoteFile>) -> Self {
        let end = file.size();
        Self { file, position: 0, end, block: Vec::new(), block_start: 0, next_bytes: FIRST_BYTES }
    }

    fn block_end(&self) -> u64 {
        self.block_start + self.block.len() as u64
    }
}

impl Read for Ranges {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.end || out.is_empty() {
            return Ok(0);
        }
        if !(self.block_start..self.block_end()).contains(&self.position) {
            let in_order = !self.block.is_empty() && self.position == self.block_end();
            let bytes = if in_order { self.next_bytes } else { FIRST_BYTES };
            self.next_bytes = (bytes * 4).min(MAX_BYTES);
            let end = self.end.min(self.position + bytes);
            let ahead = if in_order { self.end.min(end + self.next_bytes) } else { end };
            self.block = self.file.read(self.position, end, ahead).map_err(io::Error::other)?;
            self.block_start = self.position;
            if self.block.is_empty() {
                return Ok(0);
            }
        }
        let from = (self.position - self.block_start) as usize;
        let bytes = out.len().min(self.block.len() - from);
        out[..bytes].copy_from_slice(&self.block[from..from + bytes]);
        self.position += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for Ranges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(offset) => (self.position, offset),
            SeekFrom::End(offset) => (self.file.size(), offset),
        };
        self.position = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Requests = Arc<Mutex<Vec<(u64, u64, u64)>>>;

    struct Fake(Vec<u8>, Requests);

    impl RemoteFile for Fake {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&mut self, start: u64, end: u64, ahead: u64) -> Result<Vec<u8>> {
            self.1.lock().expect("reads").push((start, end, ahead));
            Ok(self.0[start as usize..end as usize].to_vec())
        }
    }

    fn ranges(bytes: usize) -> (InputFile, Vec<u8>, Requests) {
        let content: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
        let requests = Requests::default();
        let file = Ranges::new(Box::new(Fake(content.clone(), requests.clone())));
        (InputFile::Remote(file), content, requests)
    }

    #[test]
    fn a_file_read_in_order_is_asked_for_in_growing_blocks_with_one_ahead() {
        let (mut file, content, requests) = ranges(20 << 20);
        let mut out = Vec::new();
        file.read_to_end(&mut out).expect("reads");
        assert_eq!(out, content);
        let asked = requests.lock().expect("reads");
        assert_eq!(asked[0], (0, 256 << 10, 256 << 10));
        assert_eq!(asked[1], (256 << 10, 1280 << 10, 5376 << 10));
        for pair in asked.windows(2).skip(1) {
            assert_eq!((pair[0].1, pair[0].2), (pair[1].0, pair[1].1), "what was announced is what is asked for next");
        }
    }

    #[test]
    fn a_range_asks_for_nothing_behind_its_end() {
        let (file, content, requests) = ranges(4 << 20);
        let mut out = Vec::new();
        file.range(1000, 1_000_000).expect("reads").read_to_end(&mut out).expect("reads");
        assert_eq!(out, content[1000..1_000_000]);
        assert!(requests.lock().expect("reads").iter().all(|(_, end, ahead)| *end <= 1_000_000 && *ahead <= 1_000_000));
    }

    #[test]
    fn a_seek_begins_small_again() {
        let (mut file, content, requests) = ranges(4 << 20);
        let mut three = [0; 3];
        file.read_exact(&mut three).expect("reads");
        file.seek(SeekFrom::End(-3)).expect("reads");
        file.read_exact(&mut three).expect("reads");
        assert_eq!(three[..], content[content.len() - 3..]);
        assert_eq!(requests.lock().expect("reads").len(), 2);
    }

    #[test]
    fn a_uri_needs_a_host_that_opens_it() {
        let error = Storage::default().open("s3://bucket/a.csv").err().expect("reads");
        assert_eq!(error.kind, crate::Kind::ConfigurationError);
        assert!(!is_remote("/data/odd://name.csv"));
    }
}
