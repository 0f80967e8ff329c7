//! JSON text, token by token.

use crate::{NotPlain, Plain};

/// Values in values that are skipped, at most.
const MAX_DEPTH: usize = 64;
/// Keys of a skipped object that are compared with each other, at most.
const MAX_KEYS: usize = 64;
/// Python refuses to make a number of many more digits than these.
const MAX_NUMBER_BYTES: usize = 4000;

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// All of it.
    pub text: &'a [u8],
    /// Whether it has neither a fraction nor an exponent.
    pub is_integer: bool,
}

/// Text being read.
pub struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    /// The text from its beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte; 0, which no JSON has between its tokens, at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Leaves out one byte.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// The next byte that is no space within a line.
    #[inline(always)]
    pub fn peek_token(&mut self) -> u8 {
        while matches!(self.peek(), b' ' | b'\t') {
            self.at += 1;
        }
        self.peek()
    }

    /// Takes this byte.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Plain<()> {
        if self.peek() != byte {
            return Err(NotPlain);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes a line's end, be it of one byte or two, or the text's end.
    #[inline(always)]
    pub fn end_line(&mut self) -> Plain<()> {
        if self.peek() == b'\r' {
            self.at += 1;
            return self.expect(b'\n');
        }
        if self.is_at_end() { Ok(()) } else { self.expect(b'\n') }
    }

    /// Takes a word: `true`, `false`, `null`.
    #[inline(always)]
    pub fn word(&mut self, word: &[u8]) -> Plain<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(NotPlain);
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a key and the colon behind it; keys with escapes in them are not plain.
    #[inline(always)]
    pub fn key(&mut self) -> Plain<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        self.pass_plain();
        let key = &self.bytes[start..self.at];
        self.expect(b'"')?;
        if self.peek_token() != b':' {
            return Err(NotPlain);
        }
        self.at += 1;
        Ok(key)
    }

    /// Takes a string and puts its text behind `out`.
    #[inline(always)]
    pub fn string(&mut self, out: &mut Vec<u8>) -> Plain<()> {
        self.expect(b'"')?;
        loop {
            let start = self.at;
            self.pass_plain();
            out.extend_from_slice(&self.bytes[start..self.at]);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape(out)?,
                _ => return Err(NotPlain),
            }
        }
    }

    /// Passes what stands for itself in a string: goes to the next quote, backslash or control character, or to the end.
    #[inline(always)]
    fn pass_plain(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const HIGHS: u64 = ONES * 0x80;
        let is_zero = |eight: u64| eight.wrapping_sub(ONES) & !eight;
        while let Some(eight) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let eight = u64::from_le_bytes(*eight);
            // A borrow may mark bytes behind the first that is meant, never one before it.
            let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
            let quotes = is_zero(eight ^ (ONES * u64::from(b'"')));
            let marked = (controls | quotes | is_zero(eight ^ (ONES * u64::from(b'\\')))) & HIGHS;
            if marked != 0 {
                self.at += marked.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while !matches!(self.peek(), 0..0x20 | b'"' | b'\\') {
            self.at += 1;
        }
    }

    #[inline(never)]
    fn escape(&mut self, out: &mut Vec<u8>) -> Plain<()> {
        self.at += 1;
        let byte = self.peek();
        self.at += 1;
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let first = self.four_digits()?;
                let code = if (0xD800..0xDC00).contains(&first) {
                    self.word(b"\\u")?;
                    let second = self.four_digits()?.checked_sub(0xDC00).filter(|low| *low < 0x400);
                    0x10000 + ((first - 0xD800) << 10) + second.ok_or(NotPlain)?
                } else {
                    first
                };
                let character = char::from_u32(code).ok_or(NotPlain)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(NotPlain),
        };
        out.push(meant);
        Ok(())
    }

    fn four_digits(&mut self) -> Plain<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + char::from(self.peek()).to_digit(16).ok_or(NotPlain)?;
            self.at += 1;
        }
        Ok(value)
    }

    /// Takes a number.
    #[inline(always)]
    pub fn number(&mut self) -> Plain<Number<'a>> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let (first, whole) = (self.peek(), self.at);
        self.digits()?;
        if first == b'0' && self.at > whole + 1 {
            return Err(NotPlain);
        }
        let mut is_integer = true;
        if self.peek() == b'.' {
            is_integer = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            is_integer = false;
            self.at += 1;
            if matches!(self.peek(), b'-' | b'+') {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.bytes[start..self.at];
        if text.len() > MAX_NUMBER_BYTES { Err(NotPlain) } else { Ok(Number { text, is_integer }) }
    }

    /// Takes one digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Plain<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(NotPlain) } else { Ok(()) }
    }

    /// Takes any value, which must be one that Python takes too.
    pub fn skip(&mut self, depth: usize, scratch: &mut Vec<u8>) -> Plain<()> {
        if depth > MAX_DEPTH {
            return Err(NotPlain);
        }
        match self.peek_token() {
            b'"' => {
                scratch.clear();
                self.string(scratch)
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'[' => {
                self.advance();
                self.items(b']', |text| text.skip(depth + 1, scratch))
            }
            b'{' => {
                self.advance();
                let mut keys = Keys::default();
                self.items(b'}', |text| {
                    keys.add(text.key()?)?;
                    text.skip(depth + 1, scratch)
                })
            }
            _ => self.number().map(drop),
        }
    }

    /// Takes what stands between commas, up to the closing byte and with it.
    #[inline(always)]
    pub fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Plain<()>) -> Plain<()> {
        if self.peek_token() == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek_token();
            item(self)?;
            match self.peek_token() {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(NotPlain),
            }
        }
    }
}

/// The keys of an object that no column is made of.
#[derive(Default)]
pub struct Keys<'a>(Vec<&'a [u8]>);

impl<'a> Keys<'a> {
    /// Notes a key, which must be new.
    pub fn add(&mut self, key: &'a [u8]) -> Plain<()> {
        if self.0.len() >= MAX_KEYS || self.0.contains(&key) {
            return Err(NotPlain);
        }
        self.0.push(key);
        Ok(())
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
