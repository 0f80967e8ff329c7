//! Bit packing, little end first, and Parquet's hybrid of packed values and runs.

use arrow_buffer::BooleanBuffer;

/// Values packed at a time: 32 values of any width fill whole bytes.
pub const LANES: usize = 32;

/// Appends an unsigned number, seven bits a byte.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number, zigzag, seven bits a byte.
pub fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bits that a number needs.
pub fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

fn pack_width<const WIDTH: usize>(values: &[u32; LANES], out: &mut [u8]) {
    let mut held = 0u64;
    let mut bits = 0;
    let mut at = 0;
    for &value in values {
        held |= u64::from(value) << bits;
        bits += WIDTH;
        if bits >= 32 {
            out[at..at + 4].copy_from_slice(&(held as u32).to_le_bytes());
            held >>= 32;
            bits -= 32;
            at += 4;
        }
    }
}

/// Appends 32 values of `width` bits, at most 32.
pub fn pack(out: &mut Vec<u8>, values: &[u32; LANES], width: u32) {
    let start = out.len();
    out.resize(start + width as usize * 4, 0);
    let out = &mut out[start..];
    macro_rules! widths {
        ($($width:literal)*) => {
            match width {
                $($width => pack_width::<$width>(values, out),)*
                _ => {}
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

fn pack_wide_width<const WIDTH: usize>(values: &[u64; LANES], out: &mut [u8]) {
    let mut held = 0u128;
    let mut bits = 0;
    let mut at = 0;
    for &value in values {
        held |= u128::from(value) << bits;
        bits += WIDTH;
        if bits >= 64 {
            out[at..at + 8].copy_from_slice(&(held as u64).to_le_bytes());
            held >>= 64;
            bits -= 64;
            at += 8;
        }
    }
    if bits > 0 {
        out[at..].copy_from_slice(&(held as u64).to_le_bytes()[..bits / 8]);
    }
}

/// Appends 32 values of `width` bits, 33 to 64.
pub fn pack_wide(out: &mut Vec<u8>, values: &[u64; LANES], width: u32) {
    let start = out.len();
    out.resize(start + width as usize * 4, 0);
    let out = &mut out[start..];
    macro_rules! widths {
        ($($width:literal)*) => {
            match width {
                $($width => pack_wide_width::<$width>(values, out),)*
                _ => {}
            }
        };
    }
    widths!(33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);
}

/// Appends indices below `1 << width` as runs where 32 in a row are equal, else packed. The last group is filled up.
pub fn hybrid(out: &mut Vec<u8>, indices: &[u32], width: u32) {
    let value_bytes = width.div_ceil(8) as usize;
    let mut at = 0;
    while at < indices.len() {
        let first = indices[at];
        let run = equal_blocks(&indices[at..], first);
        if run > 0 {
            varint(out, (run as u64) << 1);
            out.extend_from_slice(&first.to_le_bytes()[..value_bytes]);
            at += run;
            continue;
        }
        let start = at;
        while at < indices.len() && equal_blocks(&indices[at..], indices[at]) == 0 {
            at = indices.len().min(at + LANES);
        }
        let packed = &indices[start..at];
        varint(out, (packed.len().div_ceil(8) as u64) << 1 | 1);
        let (blocks, rest) = packed.as_chunks::<LANES>();
        for block in blocks {
            pack(out, block, width);
        }
        if !rest.is_empty() {
            let mut block = [0; LANES];
            block[..rest.len()].copy_from_slice(rest);
            let end = out.len() + rest.len().div_ceil(8) * width as usize;
            pack(out, &block, width);
            out.truncate(end);
        }
    }
}

/// How many values from the start are `first`, counted in whole blocks; the last block may be short.
fn equal_blocks(indices: &[u32], first: u32) -> usize {
    let mut found = 0;
    for block in indices.chunks(LANES) {
        if block.iter().fold(0, |seen, index| seen | (index ^ first)) != 0 {
            break;
        }
        found += block.len();
    }
    found
}

/// Appends which values are there as levels of one bit: runs where 64 in a row are alike, else the bits themselves.
pub fn validity(out: &mut Vec<u8>, valid: &BooleanBuffer) {
    let bits = valid.sliced();
    let words = bits.as_slice().chunks(8);
    let mut packed = Vec::new();
    let mut run: Option<(u8, usize)> = None;
    let mut left = valid.len();
    for word in words {
        let here = left.min(64);
        left -= here;
        let alike = |byte: u8| here == 64 && word.iter().all(|found| *found == byte);
        let same = [0x00, 0xff].into_iter().find(|byte| alike(*byte));
        match (&mut run, same) {
            (Some((byte, count)), Some(found)) if *byte == found => *count += 64,
            (_, Some(found)) => {
                flush_run(out, &mut run);
                flush_packed(out, &mut packed);
                run = Some((found, 64));
            }
            (_, None) => {
                flush_run(out, &mut run);
                packed.extend_from_slice(&word[..here.div_ceil(8)]);
                clear_behind(&mut packed, here);
            }
        }
    }
    flush_run(out, &mut run);
    flush_packed(out, &mut packed);
}

/// Clears the bits of the last byte that lie behind a number of bits.
pub fn clear_behind(bytes: &mut [u8], bits: usize) {
    if let (used @ 1.., Some(last)) = (bits % 8, bytes.last_mut()) {
        *last &= (1 << used) - 1;
    }
}

fn flush_run(out: &mut Vec<u8>, run: &mut Option<(u8, usize)>) {
    if let Some((byte, count)) = run.take() {
        varint(out, (count as u64) << 1);
        out.push(byte & 1);
    }
}

fn flush_packed(out: &mut Vec<u8>, packed: &mut Vec<u8>) {
    if !packed.is_empty() {
        varint(out, (packed.len() as u64) << 1 | 1);
        out.append(packed);
    }
}
