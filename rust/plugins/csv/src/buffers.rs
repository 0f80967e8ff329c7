//! Memory of arrays: buffers that are filled again, and which rows have no value.

use std::cell::RefCell;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer};

/// Batches of which the buffers are kept: the one that a consumer looks at while the next is made, and the one before.
const KEPT_BATCHES: usize = 2;

/// The buffers of a column's last arrays, filled again once nobody else has them: memory that was used already costs no
/// page faults.
#[derive(Debug, Default)]
pub struct Spares(RefCell<Vec<Vec<Buffer>>>);

impl Spares {
    /// A vector with anything in it, perhaps with nothing.
    pub fn take<T: ArrowNativeType>(&self) -> Vec<T> {
        for buffers in self.0.borrow_mut().iter_mut() {
            for at in 0..buffers.len() {
                match buffers.swap_remove(at).into_vec() {
                    Ok(found) => return found,
                    Err(buffer) => buffers.push(buffer),
                }
            }
        }
        Vec::new()
    }

    /// Keeps an array's buffers.
    pub fn keep(&self, array: &ArrayRef) {
        let mut kept = self.0.borrow_mut();
        if kept.len() == KEPT_BATCHES {
            kept.remove(0);
        }
        kept.push(array.to_data().buffers().to_vec());
    }
}

/// Which rows have no value; nothing is kept while all have one.
#[derive(Default)]
pub struct Nulls {
    /// A bit for every row, 1 where it has a value.
    valid: Vec<u64>,
}

impl Nulls {
    /// Adds a row of `rows`.
    pub fn add(&mut self, row: usize, rows: usize) {
        if self.valid.is_empty() {
            self.valid.resize(rows.div_ceil(64), u64::MAX);
        }
        self.valid[row / 64] &= !(1 << (row % 64));
    }

    /// As Arrow has them, for `rows` rows.
    pub fn finish(self, rows: usize) -> Option<NullBuffer> {
        let bytes = (!self.valid.is_empty()).then(|| Buffer::from_vec(self.valid))?;
        Some(NullBuffer::new(BooleanBuffer::new(bytes, 0, rows)))
    }
}

/// A bit for each truth value, which is 0 or 1.
pub fn bits(truths: &[u8]) -> BooleanBuffer {
    // Gathers the lowest bit of each of eight bytes.
    let gather = |eight: [u8; 8]| (u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    let (eights, rest) = truths.as_chunks::<8>();
    let mut out: Vec<u8> = eights.iter().copied().map(gather).collect();
    if !rest.is_empty() {
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        out.push(gather(padded));
    }
    BooleanBuffer::new(Buffer::from_vec(out), 0, truths.len())
}
