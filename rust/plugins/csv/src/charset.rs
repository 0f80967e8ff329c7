//! Charsets: which one a text is in, and its way to UTF-8.

use std::io::{self, Read};

use dativo_plugin::{Error, Result};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::input::{BUFFER_BYTES, Text};

/// How bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// As they are.
    Utf8,
    /// Each byte is the character of that number, which the web's "latin1" is not.
    Latin1,
    /// As encoding_rs knows it.
    Other(&'static Encoding),
}

impl Charset {
    /// The charset of a name; `None` for `auto`, which leaves it to be found in the text.
    pub fn named(name: &str) -> Result<Option<Self>> {
        let label = name.to_ascii_lowercase().replace('_', "-");
        match label.as_str() {
            "auto" => return Ok(None),
            "utf-8" | "utf8" | "utf-8-sig" | "ascii" | "us-ascii" => return Ok(Some(Self::Utf8)),
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1" => return Ok(Some(Self::Latin1)),
            "utf-16" | "utf16" | "utf-16-le" | "utf16-le" => return Ok(Some(Self::Other(UTF_16LE))),
            "utf-16-be" | "utf16-be" => return Ok(Some(Self::Other(UTF_16BE))),
            _ => {}
        }
        let web = label.strip_prefix("cp").filter(|rest| rest.starts_with("125")).map(|rest| format!("windows-{rest}"));
        let found = Encoding::for_label(web.as_deref().unwrap_or(&label).as_bytes());
        found.map(|encoding| Some(Self::Other(encoding))).ok_or_else(|| {
            Error::configuration(format!("options of rust_csv: there is no encoding named {name:?}"))
                .hint("for example utf-8, utf-16, latin-1, windows-1252")
        })
    }

    /// The charset that the beginning of a text is in, where it has no byte order mark.
    pub fn of(sample: &[u8]) -> Self {
        // Text in UTF-16 has zeros in every other byte wherever it is ASCII.
        let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
        let (even, odd) = (zeros(0), zeros(1));
        if odd * 4 > sample.len() && even * 16 < sample.len() {
            return Self::Other(UTF_16LE);
        }
        if even * 4 > sample.len() && odd * 16 < sample.len() {
            return Self::Other(UTF_16BE);
        }
        match std::str::from_utf8(sample) {
            Err(error) if error.error_len().is_some() => Self::Other(WINDOWS_1252),
            _ => Self::Utf8,
        }
    }

    /// The name, as the options take it.
    pub fn name(self) -> String {
        match self {
            Self::Utf8 => "utf-8".to_owned(),
            Self::Latin1 => "latin-1".to_owned(),
            Self::Other(encoding) => encoding.name().to_ascii_lowercase(),
        }
    }
}

/// The charset that a byte order mark stands for, and the bytes of the mark.
pub fn marked(start: &[u8]) -> Option<(Charset, usize)> {
    match start {
        [0xEF, 0xBB, 0xBF, ..] => Some((Charset::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Charset::Other(UTF_16LE), 2)),
        [0xFE, 0xFF, ..] => Some((Charset::Other(UTF_16BE), 2)),
        _ => None,
    }
}

/// The text in UTF-8; a byte order mark wins over the charset and is left out.
pub fn decoded(mut raw: Text, charset: Charset) -> io::Result<(Text, u64)> {
    let mut start = [0; 4];
    let mut have = 0;
    while have < start.len() {
        match raw.read(&mut start[have..])? {
            0 => break,
            got => have += got,
        }
    }
    if have == 4 && start == [0xFF, 0xFE, 0, 0] {
        let error = Error::configuration("UTF-32 is not supported").hint("convert the file to UTF-8");
        return Err(io::Error::other(error));
    }
    let (charset, mark) = marked(&start[..have]).unwrap_or((charset, 0));
    let whole = io::Cursor::new(start[mark.min(have)..have].to_vec()).chain(raw);
    let text: Text = match charset {
        Charset::Utf8 => Box::new(whole),
        Charset::Latin1 => Box::new(Latin1 { inner: whole, pending: None }),
        Charset::Other(encoding) => Box::new(Transcoded {
            inner: whole,
            decoder: encoding.new_decoder_without_bom_handling(),
            name: encoding.name(),
            input: vec![0; BUFFER_BYTES],
            filled: 0,
            used: 0,
            consumed: mark as u64,
            ended: false,
            finished: false,
            spill: Vec::new(),
            failure: None,
        }),
    };
    Ok((text, mark as u64))
}

struct Latin1<R> {
    inner: R,
    /// The second byte of a character whose first one filled the reader's buffer.
    pending: Option<u8>,
}

impl<R: Read> Read for Latin1<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Some(byte) = self.pending.take() {
            out[0] = byte;
            return Ok(1);
        }
        let mut input = vec![0; (out.len() / 2).clamp(1, BUFFER_BYTES)];
        let got = self.inner.read(&mut input)?;
        let mut written = 0;
        for &byte in &input[..got] {
            if byte < 0x80 {
                out[written] = byte;
                written += 1;
                continue;
            }
            out[written] = 0xC0 | (byte >> 6);
            let second = 0x80 | (byte & 0x3F);
            match out.get_mut(written + 1) {
                Some(place) => *place = second,
                None => self.pending = Some(second),
            }
            written = (written + 2).min(out.len());
        }
        Ok(written)
    }
}

struct Transcoded<R> {
    inner: R,
    decoder: Decoder,
    name: &'static str,
    input: Vec<u8>,
    filled: usize,
    used: usize,
    consumed: u64,
    ended: bool,
    finished: bool,
    /// Text that did not fit a reader's buffer too small for one character.
    spill: Vec<u8>,
    /// What comes up behind the text that was handed out.
    failure: Option<io::Error>,
}

impl<R: Read> Read for Transcoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // The decoder wants room for a character or two: small reads are served from a spill.
        if !self.spill.is_empty() || out.len() < 16 {
            if self.spill.is_empty() && !out.is_empty() {
                let mut room = vec![0; 64];
                let got = self.decode(&mut room)?;
                room.truncate(got);
                self.spill = room;
            }
            let taken = self.spill.len().min(out.len());
            out[..taken].copy_from_slice(&self.spill[..taken]);
            self.spill.drain(..taken);
            return Ok(taken);
        }
        self.decode(out)
    }
}

impl<R: Read> Transcoded<R> {
    fn decode(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        while !self.finished {
            if self.used == self.filled && !self.ended {
                self.filled = self.inner.read(&mut self.input)?;
                self.used = 0;
                self.ended = self.filled == 0;
            }
            let input = &self.input[self.used..self.filled];
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(input, out, self.ended);
            self.used += read;
            self.consumed += read as u64;
            if let DecoderResult::Malformed(length, beyond) = result {
                let at = self.consumed - u64::from(length) - u64::from(beyond);
                let error = Error::validation(format!("byte {at} is not valid {}", self.name))
                    .code("INVALID_ENCODING")
                    .hint("set options.encoding to the file's encoding")
                    .at("byte", at);
                let error = io::Error::other(error);
                if written == 0 {
                    return Err(error);
                }
                self.failure = Some(error);
                return Ok(written);
            }
            self.finished = self.ended && result == DecoderResult::InputEmpty;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
