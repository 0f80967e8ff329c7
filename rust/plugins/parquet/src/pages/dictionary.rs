//! Distinct values in the order they were first seen: a hash table of positions, open addressing.

use std::hash::{BuildHasher, RandomState};

const FREE: u32 = u32::MAX;

/// Positions by hash; whoever owns it holds the values.
struct Table {
    slots: Vec<u32>,
    hashes: Vec<u64>,
    /// Hashes differ from process to process, so that no input can make them collide.
    seed: u64,
}

impl Table {
    fn new() -> Self {
        Self { slots: vec![FREE; 1024], hashes: Vec::new(), seed: RandomState::new().hash_one(0u8) | 1 }
    }

    /// The position of a value, and whether it is new. same: whether the value at a position is the one.
    #[inline]
    fn position(&mut self, hash: u64, same: impl Fn(usize) -> bool) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let position = self.slots[slot];
            if position == FREE {
                break;
            }
            if same(position as usize) {
                return (position, false);
            }
            slot = (slot + 1) & mask;
        }
        let position = self.hashes.len() as u32;
        self.slots[slot] = position;
        self.hashes.push(hash);
        if self.hashes.len() * 2 > self.slots.len() {
            self.grow();
        }
        (position, true)
    }

    #[cold]
    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(size, FREE);
        for (position, hash) in self.hashes.iter().enumerate() {
            let mut slot = *hash as usize & (size - 1);
            while self.slots[slot] != FREE {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = position as u32;
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.slots.resize(1024, FREE);
        self.hashes.clear();
    }
}

fn mixed(value: u64) -> u64 {
    let spread = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ (spread >> 32)
}

/// Distinct values of fixed width, by their bits.
pub struct FixedDictionary<T> {
    table: Table,
    values: Vec<T>,
    bits: Vec<u64>,
}

impl<T: Copy> FixedDictionary<T> {
    pub fn new() -> Self {
        Self { table: Table::new(), values: Vec::new(), bits: Vec::new() }
    }

    #[inline]
    pub fn index(&mut self, value: T, bits: u64) -> u32 {
        let known = &self.bits;
        let (index, new) = self.table.position(mixed(bits ^ self.table.seed), |position| known[position] == bits);
        if new {
            self.values.push(value);
            self.bits.push(bits);
        }
        index
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Forgets the later entries; no values can be looked up from then on.
    pub fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.values.clear();
        self.bits.clear();
    }
}

/// Distinct strings of bytes.
pub struct BytesDictionary {
    table: Table,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl BytesDictionary {
    pub fn new() -> Self {
        Self { table: Table::new(), data: Vec::new(), ends: Vec::new() }
    }

    #[inline]
    pub fn index(&mut self, value: &[u8]) -> u32 {
        let hash = hash_of(value, self.table.seed);
        let (data, ends) = (&self.data, &self.ends);
        let (index, new) = self.table.position(hash, |position| entry(data, ends, position) == value);
        if new {
            self.data.extend_from_slice(value);
            self.ends.push(self.data.len() as u32);
        }
        index
    }

    pub fn get(&self, position: usize) -> &[u8] {
        entry(&self.data, &self.ends, position)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// What the entries take in a dictionary page.
    pub fn bytes(&self) -> usize {
        self.data.len() + 4 * self.ends.len()
    }

    /// Forgets the later entries; no values can be looked up from then on.
    pub fn truncate(&mut self, length: usize) {
        self.ends.truncate(length);
        self.data.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// The least and the greatest of the entries that some indices name.
    pub fn bounds(&self, indices: &[u32]) -> Option<(&[u8], &[u8])> {
        let mut named = vec![false; self.len()];
        indices.iter().for_each(|index| named[*index as usize] = true);
        let mut entries = (0..self.len()).filter(|position| named[*position]).map(|position| self.get(position));
        let first = entries.next()?;
        Some(entries.fold((first, first), |(min, max), entry| (min.min(entry), max.max(entry))))
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.data.clear();
        self.ends.clear();
    }
}

fn entry<'a>(data: &'a [u8], ends: &[u32], position: usize) -> &'a [u8] {
    let start = if position == 0 { 0 } else { ends[position - 1] as usize };
    &data[start..ends[position] as usize]
}

fn hash_of(value: &[u8], seed: u64) -> u64 {
    let word = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u64::from(u32::from_le_bytes(value[at..at + 4].try_into().unwrap_or_default()));
    let length = value.len();
    let (head, tail) = match length {
        8.. => (word(0), word(length - 8)),
        4.. => (half(0), half(length - 4)),
        1.. => {
            (u64::from(value[0]) | u64::from(value[length / 2]) << 8 | u64::from(value[length - 1]) << 16, 0)
        }
        0 => (0, 0),
    };
    let mut hash = (head ^ seed).wrapping_mul(0xFF51_AFD7_ED55_8CCD)
        ^ (tail.rotate_left(32) ^ length as u64 ^ seed).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    let mut at = 8;
    while at + 8 < length {
        hash = (hash.rotate_left(29) ^ word(at)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
        at += 8;
    }
    hash ^ (hash >> 32)
}
