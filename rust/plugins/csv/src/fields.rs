//! What a pass over a block found: its fields, one by one or as an index of where they end.

use dativo_simd::{Backend, Index, Marks};

use crate::dialect::Dialect;
use crate::span::Span;
use crate::tokens::Limits;

pub(crate) const QUOTED: u32 = 1 << 31;
pub(crate) const RAW: u32 = 1 << 30;
const LENGTH: u32 = RAW - 1;
/// The longest field that a token can describe.
pub const MAX_FIELD_BYTES: usize = LENGTH as usize;

/// A field: where its text is in the block, and whether that text is quoted or needs decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    start: u32,
    pub(crate) length: u32,
}

impl Field {
    pub(crate) fn new(start: usize, end: usize, flags: u32) -> Self {
        Self { start: start as u32, length: (end - start) as u32 | flags }
    }

    /// Where the field starts in the block; for a quoted one perhaps after its quote.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Where the field starts in the block, its quote included.
    pub fn opening(self) -> usize {
        self.start() - usize::from(self.is_quoted() && !self.needs_decoding())
    }

    /// Whether the field was written in quotes: such a text is never null.
    pub fn is_quoted(self) -> bool {
        self.length & QUOTED != 0
    }

    /// Whether the text has escapes in it, or something behind its closing quote.
    pub fn needs_decoding(self) -> bool {
        self.length & RAW != 0
    }

    /// The text as it stands in the block.
    pub fn text(self, block: &[u8]) -> &[u8] {
        &block[self.start as usize..][..(self.length & LENGTH) as usize]
    }

    /// Appends the text without quotes and escapes to `out`; for fields that need decoding.
    pub fn decode(self, dialect: &Dialect, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = self.text(block);
        let Some(quote) = dialect.quote else { return out.extend_from_slice(rest) };
        rest = &rest[1..];
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            let next = tail.first().copied();
            if byte == quote && next != Some(quote) {
                // The closing quote: what follows is taken as it is.
                break;
            }
            if byte == quote || Some(byte) == dialect.escape {
                out.extend(next);
                rest = tail.get(1..).unwrap_or_default();
            } else {
                out.push(byte);
            }
        }
        out.extend_from_slice(rest);
    }
}

/// The end of a field without the carriage return that may stand before a line feed.
#[inline(always)]
fn trimmed(block: &[u8], start: usize, end: usize, returns: bool) -> usize {
    end - usize::from(returns && end > start && block[end - 1] == b'\r')
}

/// The texts of one column of a plain block. No iterator: what a column's loop calls has to be inlined
/// there, and `next` of an adapter around it is not.
pub struct Spans<'a> {
    block: &'a [u8],
    /// Where the fields of all columns end.
    ends: &'a [u32],
    width: usize,
    /// The next text's place among them.
    number: usize,
    /// Whether carriage returns are to be left out.
    returns: bool,
}

impl<'a> Spans<'a> {
    /// The text of the next row.
    #[inline(always)]
    pub fn next_text(&mut self) -> Option<Span<'a>> {
        let end = *self.ends.get(self.number)? as usize;
        let start = if self.number == 0 { 0 } else { self.ends[self.number - 1] as usize + 1 };
        self.number += self.width;
        Some(Span::new(self.block, start, trimmed(self.block, start, end, self.returns)))
    }
}

/// The fields of the records of a block, row after row.
#[derive(Debug, Default)]
pub struct Tokens {
    /// All fields, row after row; empty where the block is indexed.
    pub(crate) fields: Vec<Field>,
    /// Where the fields of a plain block end.
    index: Index,
    pub(crate) indexed: bool,
    /// Where each row ends in `fields`; kept only while the width is unknown.
    pub(crate) row_ends: Vec<usize>,
    /// Rows left out because of their length.
    pub bad_rows: u64,
}

impl Tokens {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        if self.indexed { self.index.ends.len() } else { self.fields.len() }
    }

    /// Leaves out what is behind the first `count` fields.
    pub fn truncate(&mut self, count: usize) {
        if self.indexed {
            self.index.ends.truncate(count);
        } else {
            self.fields.truncate(count);
        }
    }

    /// A column's texts, quotes and all, row by row; for a plain block.
    pub fn spans<'a>(&'a self, block: &'a [u8], width: usize, position: usize) -> Option<Spans<'a>> {
        let returns = self.index.carriage_returns && position + 1 == width;
        let spans = Spans { block, ends: &self.index.ends, width, number: position, returns };
        self.indexed.then_some(spans)
    }

    /// Whether a quoted text of a plain block can have quotes in it.
    pub fn doubled_quotes(&self) -> bool {
        self.index.doubled_quotes
    }

    /// A field, by its number; `last_of_row`: whether a record ends with it.
    #[inline]
    pub fn field(&self, dialect: &Dialect, block: &[u8], number: usize, last_of_row: bool) -> Field {
        if !self.indexed {
            return self.fields[number];
        }
        let start = if number == 0 { 0 } else { self.index.ends[number - 1] as usize + 1 };
        let returns = last_of_row && self.index.carriage_returns;
        let end = trimmed(block, start, self.index.ends[number] as usize, returns);
        if end == start || Some(block[start]) != dialect.quote {
            return Field::new(start, end, 0);
        }
        let inner = &block[start + 1..end - 1];
        if self.index.doubled_quotes && dialect.quote.is_some_and(|quote| memchr::memchr(quote, inner).is_some()) {
            return Field::new(start, end, QUOTED | RAW);
        }
        Field::new(start + 1, end - 1, QUOTED)
    }

    /// Takes a block of plain records of `width` fields apart, as [`tokenize`] would; returns how many bytes they take, or
    /// `None` where it has to do the work.
    pub fn take_plain(&mut self, dialect: &Dialect, block: &[u8], at_end: bool, limits: &Limits) -> Option<usize> {
        let width = limits.width?;
        let ordinary = dialect.escape.is_none() && dialect.comment.is_none();
        if !ordinary || width == 0 || block.len() > limits.max_field_bytes.min(MAX_FIELD_BYTES) {
            return None;
        }
        let marks = Marks { delimiter: dialect.delimiter, quote: dialect.quote };
        let plain = self.index.build(Backend::best(), block, marks);
        let ends = &self.index.ends;
        let complete = self.index.bytes > 0 && (!at_end || self.index.bytes == block.len());
        self.indexed = plain
            && complete
            && ends.len() == self.index.records * width
            && ends.chunks_exact(width).all(|row| block[row[width - 1] as usize] == b'\n');
        self.indexed.then_some(self.index.bytes)
    }

    /// Rows found, while the width is unknown.
    pub fn rows(&self) -> usize {
        self.row_ends.len()
    }

    /// The fields of a row, while the width is unknown.
    pub fn row(&self, row: usize) -> &[Field] {
        let start = if row == 0 { 0 } else { self.row_ends[row - 1] };
        &self.fields[start..self.row_ends[row]]
    }
}
