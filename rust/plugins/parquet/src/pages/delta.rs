//! DELTA_BINARY_PACKED: differences in blocks of 128, each miniblock of 32 as narrow as it can be.

use super::bits::{LANES, pack, pack_wide, varint, width, zigzag};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = BLOCK / LANES;

/// A number whose differences are packed. Differences wrap at the number's own width, as readers undo them.
pub trait Delta: Copy {
    /// The number itself.
    fn wide(self) -> i64;
    /// `self - other`, wrapped to the number's width and read as signed.
    fn minus(self, other: Self) -> i64;
    /// `difference - least`, wrapped to the number's width and read as unsigned.
    fn above(difference: i64, least: i64) -> u64;
}

impl Delta for i64 {
    fn wide(self) -> i64 {
        self
    }

    fn minus(self, other: Self) -> i64 {
        self.wrapping_sub(other)
    }

    fn above(difference: i64, least: i64) -> u64 {
        difference.wrapping_sub(least) as u64
    }
}

impl Delta for i32 {
    fn wide(self) -> i64 {
        i64::from(self)
    }

    fn minus(self, other: Self) -> i64 {
        i64::from(self.wrapping_sub(other))
    }

    fn above(difference: i64, least: i64) -> u64 {
        u64::from((difference as i32).wrapping_sub(least as i32) as u32)
    }
}

macro_rules! delta_of_unsigned {
    ($($unsigned:ty as $signed:ty),*) => {$(
        impl Delta for $unsigned {
            fn wide(self) -> i64 {
                (self as $signed).wide()
            }

            fn minus(self, other: Self) -> i64 {
                (self as $signed).minus(other as $signed)
            }

            fn above(difference: i64, least: i64) -> u64 {
                <$signed>::above(difference, least)
            }
        }
    )*};
}

delta_of_unsigned!(u32 as i32, u64 as i64);

/// Appends numbers and how many there are.
pub fn delta<T: Delta>(out: &mut Vec<u8>, values: &[T]) {
    varint(out, BLOCK as u64);
    varint(out, MINIBLOCKS as u64);
    varint(out, values.len() as u64);
    let Some((first, rest)) = values.split_first() else {
        return zigzag(out, 0);
    };
    zigzag(out, first.wide());
    let mut before = *first;
    let mut differences = [0i64; BLOCK];
    for block in rest.chunks(BLOCK) {
        for (difference, value) in differences.iter_mut().zip(block) {
            *difference = value.minus(before);
            before = *value;
        }
        let least = differences[..block.len()].iter().copied().min().unwrap_or(0);
        differences[block.len()..].fill(least);
        let mut above = [[0u64; LANES]; MINIBLOCKS];
        let mut widths = [0u8; MINIBLOCKS];
        let used = block.len().div_ceil(LANES);
        for ((above, width_of), differences) in
            above.iter_mut().zip(&mut widths).zip(differences.as_chunks::<LANES>().0).take(used)
        {
            let mut seen = 0;
            for (above, difference) in above.iter_mut().zip(differences) {
                *above = T::above(*difference, least);
                seen |= *above;
            }
            *width_of = width(seen) as u8;
        }
        zigzag(out, least);
        out.extend_from_slice(&widths);
        for (above, width) in above.iter().zip(widths).take(used) {
            if width <= 32 {
                pack(out, &above.map(|value| value as u32), u32::from(width));
            } else {
                pack_wide(out, above, u32::from(width));
            }
        }
    }
}
