//! Fields to the arrays that have offsets: strings and bytes.

use arrow_array::builder::GenericBinaryBuilder;
use arrow_array::{GenericBinaryArray, OffsetSizeTrait};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use dativo_simd::{Backend, SLACK, undouble};

use crate::buffers::Nulls;
use crate::columns::{Cells, Misfit, Parsed};
use crate::fields::Field;
use crate::span::Span;

/// Bytes of a text that are copied at once: a copy of a fixed size costs a fraction of one of any size.
const STRIDE: usize = 32;

/// Texts one behind the other.
struct Texts {
    bytes: Vec<u8>,
    length: usize,
}

impl Texts {
    /// `bytes`: what is in them does not matter.
    fn new(mut bytes: Vec<u8>) -> Self {
        bytes.resize(bytes.capacity(), 0);
        Self { bytes, length: 0 }
    }

    /// Room for a text of so many bytes and some more.
    #[inline(always)]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let wanted = self.length + bytes + SLACK.max(2 * STRIDE);
        if wanted > self.bytes.len() {
            self.grow(wanted);
        }
        &mut self.bytes[self.length..]
    }

    #[cold]
    fn grow(&mut self, wanted: usize) {
        self.bytes.reserve(wanted - self.bytes.len());
        self.bytes.resize(self.bytes.capacity(), 0);
    }

    /// Adds a text; of what is behind it more may be taken along.
    #[inline(always)]
    fn add(&mut self, text: Span) {
        let length = text.len();
        let room = self.room(length);
        let bytes = text.ahead::<{ 2 * STRIDE }>().map(|bytes| bytes.as_chunks::<STRIDE>().0);
        match (room.as_chunks_mut::<STRIDE>().0, bytes) {
            ([first, second, ..], Some([front, back])) if length <= 2 * STRIDE => {
                *first = *front;
                if length > STRIDE {
                    *second = *back;
                }
            }
            _ => room[..length].copy_from_slice(text.text()),
        }
        self.length += length;
    }
}

impl Cells<'_> {
    pub(crate) fn texts<O: OffsetSizeTrait>(&self) -> Parsed<(OffsetBuffer<O>, Buffer, Option<NullBuffer>)> {
        let rows = self.rows();
        let mut out = Texts::new(self.spares.take());
        let mut offsets: Vec<O> = self.spares.take();
        offsets.resize(rows + 1, O::default());
        offsets[0] = O::default();
        let mut nulls = Nulls::default();
        let mut scratch = Vec::new();
        let mut other = |row: usize, out: &mut Texts| match self.words.text(
            self.dialect,
            self.block,
            self.field(row),
            &mut scratch,
        ) {
            None => nulls.add(row, rows),
            Some(text) => out.add(text.into()),
        };
        let ends = offsets[1..].iter_mut();
        match self.spans().filter(|_| !self.words.trim) {
            Some(mut spans) => {
                let quote = self.dialect.quote;
                let doubled = quote.filter(|_| self.tokens.doubled_quotes());
                for (row, offset) in ends.enumerate() {
                    let Some(text) = spans.next_text() else { break };
                    if text.len() <= self.words.longest_null {
                        other(row, &mut out);
                    } else {
                        // What begins with a quote ends with one. No branch on that: nothing foretells it.
                        let quoted = quote.is_some_and(|quote| text.starts_with(quote));
                        let inner = text.skip(usize::from(quoted)).cut(usize::from(quoted));
                        match doubled {
                            Some(quote) if quoted => {
                                let room = out.room(inner.len());
                                out.length += undouble(Backend::best(), self.block, inner.range(), quote, room);
                            }
                            _ => out.add(inner),
                        }
                    }
                    *offset = O::usize_as(out.length);
                }
            }
            None => {
                for (row, offset) in ends.enumerate() {
                    other(row, &mut out);
                    *offset = O::usize_as(out.length);
                }
            }
        }
        if O::from_usize(out.length).is_none() {
            return Err(Misfit { field: self.field(0), invalid_utf8_at: None });
        }
        out.bytes.truncate(out.length);
        Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(out.bytes), nulls.finish(rows)))
    }

    /// The bytes that each text stands for.
    pub(crate) fn decoded<O: OffsetSizeTrait>(&self) -> Parsed<GenericBinaryArray<O>> {
        let mut out = GenericBinaryBuilder::with_capacity(self.rows(), 0);
        let mut scratch = Vec::new();
        for field in self.column() {
            match self.words.text(self.dialect, self.block, field, &mut scratch) {
                None => out.append_null(),
                Some(text) => {
                    out.append_value(self.words.binary.decode(text).ok_or(Misfit { field, invalid_utf8_at: None })?);
                }
            }
        }
        Ok(out.finish())
    }

    /// The first field that is no UTF-8.
    pub(crate) fn invalid_utf8(&self) -> Misfit {
        let invalid = |field: Field| std::str::from_utf8(field.text(self.block)).err().map(|error| error.valid_up_to());
        let found = self.column().find_map(|field| Some((field, invalid(field)?)));
        let (field, at) = found.unwrap_or_else(|| (self.field(0), 0));
        Misfit { field, invalid_utf8_at: Some(at) }
    }
}
