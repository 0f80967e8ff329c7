//! From a file to its text: the range that is wanted, decompressed, in UTF-8.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use dativo_plugin::{Error, InputFile, Kind, Result, Storage, Version, is_remote};

use crate::charset::{Charset, decoded, marked};
use crate::options::{Compression, CsvOptions};

/// Bytes read at a time where something is between the file and its text.
pub const BUFFER_BYTES: usize = 256 << 10;
/// Bytes at the beginning of a text in which its encoding and dialect are looked for.
pub const DETECTION_BYTES: usize = 64 << 10;

/// Files that one thread looks at, at least.
const MIN_FILES_PER_THREAD: usize = 256;

/// A stream of text.
pub type Text = Box<dyn Read + Send>;

/// What a file is like.
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// What it is at; `None` for a remote one.
    pub version: Option<Version>,
    /// Whether its bytes are its text, so that offsets in one are offsets in the other.
    pub plain: bool,
}

/// How the files of a job are opened, and what they hold.
#[derive(Clone)]
pub struct Input {
    /// The reader's options.
    pub options: Arc<CsvOptions>,
    /// Where files are opened.
    pub storage: Storage,
}

impl Input {
    /// The charset of a file: the one of the options, or the one found where that is left to be found.
    pub fn charset(&self, path: &str) -> Result<Charset> {
        if let Some(given) = Charset::named(&self.options.encoding)? {
            return Ok(given);
        }
        let mut sample = Vec::new();
        let mut text = self.decompressed(path)?.take(DETECTION_BYTES as u64);
        match text.read_to_end(&mut sample).map_err(|error| read_error(error, path)) {
            // What is damaged is reported when it is wanted, with its place.
            Err(error) if error.kind != Kind::ValidationError => Err(error),
            _ => Ok(found(&sample)),
        }
    }

    /// What can be told of each file without a look at its records.
    pub fn look_at(&self, files: &[String], threads: usize) -> Result<Vec<Seen>> {
        let each = files.len().div_ceil(threads.max(1)).max(MIN_FILES_PER_THREAD);
        if each >= files.len() || files.iter().any(|path| is_remote(path)) {
            return files.iter().map(|path| self.look_at_one(path)).collect();
        }
        let parts: Vec<Result<Vec<_>>> = thread::scope(|scope| {
            let look = |part: &'_ [String]| part.iter().map(|path| self.look_at_one(path)).collect();
            let parts: Vec<_> = files.chunks(each).map(|part| scope.spawn(move || look(part))).collect();
            parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn look_at_one(&self, path: &str) -> Result<Seen> {
        let file = self.storage.open(path)?;
        let (size, version) = (file.size(), file.version());
        if self.options.compression.of(path) != Compression::None {
            return Ok(Seen { size, version, plain: false });
        }
        let given = Charset::named(&self.options.encoding)?;
        // A byte order mark wins over the encoding of the options.
        let wanted = size.min(if given.is_some() { 2 } else { DETECTION_BYTES as u64 });
        let mut sample = Vec::with_capacity(wanted as usize);
        file.take(wanted).read_to_end(&mut sample).map_err(|error| read_error(error, path))?;
        let is_utf16 = sample.starts_with(&[0xFF, 0xFE]) || sample.starts_with(&[0xFE, 0xFF]);
        let plain = given.unwrap_or_else(|| found(&sample)) == Charset::Utf8 && !is_utf16;
        Ok(Seen { size, version, plain })
    }

    /// Opens the text of a file from its start, a byte order mark left out. Returns the text and the bytes of the mark.
    pub fn open(&self, path: &str) -> Result<(Text, u64)> {
        let charset = self.charset(path)?;
        decoded(self.decompressed(path)?, charset).map_err(|error| read_error(error, path))
    }

    /// The bytes of a plain file up to `end`, without its byte order mark; and the size of the mark.
    pub fn open_plain(&self, path: &str, end: u64) -> Result<(Text, u64)> {
        let mut start = Vec::new();
        let mut file = self.storage.open(path)?;
        (&mut file).take(3).read_to_end(&mut start).map_err(|error| read_error(error, path))?;
        let mark = if start == [0xEF, 0xBB, 0xBF] { 3 } else { 0 };
        Ok((exactly(file, path, mark, end.max(mark))?, mark))
    }

    /// Opens the bytes `start..end` of a plain file.
    pub fn open_range(&self, path: &str, start: u64, end: u64) -> Result<Text> {
        exactly(self.storage.open(path)?, path, start, end)
    }

    fn decompressed(&self, path: &str) -> Result<Text> {
        let file = self.storage.open(path)?;
        let buffered = |file| BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(match self.options.compression.of(path) {
            Compression::Auto | Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(file))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(file));
                Box::new(decoder.map_err(|error| read_error(error, path))?)
            }
            Compression::Bz2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(file))),
            Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered(file))),
            Compression::Zip => zip_member(path, file)?,
        })
    }
}

/// The charset that the beginning of a text tells.
fn found(sample: &[u8]) -> Charset {
    marked(sample).map_or_else(|| Charset::of(sample), |(charset, _)| charset)
}

/// The bytes `start..end` of an open file, all of which must be there.
fn exactly(file: InputFile, path: &str, start: u64, end: u64) -> Result<Text> {
    let inner = file.range(start, end).map_err(|error| read_error(error, path))?;
    Ok(Box::new(Exactly { inner }))
}

/// The error that reading raised: our own as it is, damaged compression as a validation error, else what the system said.
pub fn read_error(error: io::Error, path: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own.at("file", path),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Error::validation(format!("{path}: the compressed data is truncated or damaged: {error}"))
                    .code("DAMAGED_FILE")
                    .hint("copy the file again, or set options.compression")
                    .at("file", path)
            }
            io::ErrorKind::Other => Error::validation(format!("{path}: {error}")).code("DAMAGED_FILE").at("file", path),
            _ => Error::io(&error, path),
        },
    }
}

/// A part of a file that must be there in full.
struct Exactly {
    inner: io::Take<InputFile>,
}

impl Read for Exactly {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(out)?;
        let left = self.inner.limit();
        if got == 0 && left > 0 && !out.is_empty() {
            let error = Error::new(Kind::TransientError, format!("the file ends {left} bytes before its planned end"))
                .code("FILE_CHANGED")
                .hint("the file shrank while it was read: run again once it is complete");
            return Err(io::Error::other(error));
        }
        Ok(got)
    }
}

fn zip_member(path: &str, mut file: InputFile) -> Result<Text> {
    let damaged = |text: String| Error::validation(format!("{path}: {text}")).code("DAMAGED_FILE").at("file", path);
    let mut archive = zip::ZipArchive::new(&mut file).map_err(|error| damaged(format!("no zip archive: {error}")))?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|error| damaged(error.to_string()))?;
        let name = member.name().map_err(|error| damaged(error.to_string()))?;
        if !member.is_dir() && !name.starts_with("__MACOSX/") {
            members.push((
                member.data_start(),
                member.compressed_size(),
                member.size(),
                member.crc32(),
                member.compression(),
                member.encrypted(),
            ));
        }
    }
    let [(start, compressed, size, crc, method, encrypted)] = members[..] else {
        return Err(damaged(format!("holds {} files; a zip input must hold exactly one", members.len()))
            .hint("unpack it and name the files in source.files"));
    };
    let start = start.ok_or_else(|| damaged("the archive does not say where its file is".to_owned()))?;
    if encrypted {
        return Err(damaged("the file in the archive is encrypted".to_owned()).hint("unpack it"));
    }
    drop(archive);
    file.seek(SeekFrom::Start(start)).map_err(|error| Error::io(&error, path))?;
    let body = BufReader::with_capacity(BUFFER_BYTES, file.take(compressed));
    let text: Text = match method {
        zip::CompressionMethod::Stored => Box::new(body),
        zip::CompressionMethod::Deflated => Box::new(flate2::bufread::DeflateDecoder::new(body)),
        other => return Err(damaged(format!("compression method {other} is not supported")).hint("unpack it")),
    };
    Ok(Box::new(Checked { inner: flate2::CrcReader::new(text), size, crc }))
}

/// A zip member whose size and checksum are compared at its end.
struct Checked {
    inner: flate2::CrcReader<Text>,
    size: u64,
    crc: u32,
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(out)?;
        if got == 0 && !out.is_empty() {
            let crc = self.inner.crc();
            if crc.sum() != self.crc || crc.amount() != self.size as u32 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "size or checksum differ"));
            }
        }
        Ok(got)
    }
}
