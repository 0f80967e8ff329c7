//! Values taken off the front of the input.

/// What is left of the input; where it has ended, zeros follow.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    /// Small ones often, so that dictionaries and runs come about.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            wide @ 250.. => i64::from_le_bytes(std::array::from_fn(|_| self.byte())).rotate_left(u32::from(wide)),
            small => i64::from(small) - 100,
        }
    }

    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 20);
        (0..length).map(|_| char::from(self.byte())).collect()
    }

    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() % 5 > 0).then(|| make(self))
    }
}
