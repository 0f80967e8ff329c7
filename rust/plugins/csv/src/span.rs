//! A field's text together with what stands around it: its bytes can be taken a fixed number at a time.

/// A text in its block.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    block: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> From<&'a [u8]> for Span<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self { block: text, start: 0, end: text.len() }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Span<'a> {
    fn from(text: &'a [u8; N]) -> Self {
        text.as_slice().into()
    }
}

impl<'a> Span<'a> {
    /// The bytes `start..end` of a block, where they must be.
    #[inline(always)]
    pub fn new(block: &'a [u8], start: usize, end: usize) -> Self {
        // Asked for once, and not by every look at them that follows.
        assert!(start <= end && end <= block.len());
        Self { block, start, end }
    }

    /// The text alone.
    #[inline(always)]
    pub fn text(self) -> &'a [u8] {
        &self.block[self.start..self.end]
    }

    /// Where it is in its block.
    #[inline(always)]
    pub fn range(self) -> (usize, usize) {
        (self.start, self.end)
    }

    /// How many bytes it has.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether its first byte is this one.
    #[inline(always)]
    pub fn starts_with(self, byte: u8) -> bool {
        self.len() > 0 && self.block.get(self.start) == Some(&byte)
    }

    /// Without its first bytes, of which there are as many.
    #[inline(always)]
    pub fn skip(self, bytes: usize) -> Self {
        Self { start: self.start + bytes, ..self }
    }

    /// Without its last bytes, of which there are as many.
    #[inline(always)]
    pub fn cut(self, bytes: usize) -> Self {
        Self { end: self.end - bytes, ..self }
    }

    /// Its first bytes and those behind it, where the block has as many.
    #[inline(always)]
    pub fn ahead<const N: usize>(self) -> Option<&'a [u8; N]> {
        self.block.get(self.start..)?.first_chunk()
    }

    /// The last eight bytes up to its end, be they its own or not, where the block has as many.
    #[inline(always)]
    pub fn last_eight(self) -> Option<&'a [u8; 8]> {
        self.block.get(..self.end)?.last_chunk()
    }
}
