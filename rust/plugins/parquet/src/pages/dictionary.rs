//! Distinct values in the order they were first seen: a hash table of positions, open addressing.

use std::hash::{BuildHasher, RandomState};

const FREE: u32 = u32::MAX;
/// Of a new table; small, for a file of a thousand columns has a thousand tables.
const SLOTS: usize = 64;

/// Positions by key; whoever owns it holds the values.
struct Table<K> {
    slots: Vec<(K, u32)>,
    hashes: Vec<u64>,
    /// Hashes differ from process to process, so that no input can make them collide.
    seed: u64,
}

impl<K: Copy + Default + PartialEq> Table<K> {
    fn new() -> Self {
        Self {
            slots: vec![(K::default(), FREE); SLOTS],
            hashes: Vec::new(),
            seed: RandomState::new().hash_one(0u8) | 1,
        }
    }

    /// The position of a value, and whether it is new. same: whether the value at a position with that key is the one.
    #[inline(always)]
    fn position(&mut self, key: K, hash: u64, same: impl Fn(usize) -> bool) -> (u32, bool) {
        let slots = self.slots.as_slice();
        let mask = slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (found, position) = slots[slot & mask];
            if position == FREE {
                return (self.insert(slot, key, hash), true);
            }
            if found == key && same(position as usize) {
                return (position, false);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, slot: usize, key: K, hash: u64) -> u32 {
        let position = self.hashes.len() as u32;
        self.slots[slot] = (key, position);
        self.hashes.push(hash);
        if self.hashes.len() * 2 > self.slots.len() {
            self.grow();
        }
        position
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        let old = std::mem::replace(&mut self.slots, vec![(K::default(), FREE); size]);
        for entry in old.into_iter().filter(|(_, position)| *position != FREE) {
            let mut slot = self.hashes[entry.1 as usize] as usize & (size - 1);
            while self.slots[slot].1 != FREE {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = entry;
        }
    }
}

/// Both halves of a product, folded: every bit of both numbers reaches every bit.
#[inline(always)]
fn mixed(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Distinct values of fixed width, by their bits.
pub struct FixedDictionary<T> {
    table: Table<u64>,
    values: Vec<T>,
}

impl<T: Copy> FixedDictionary<T> {
    pub fn new() -> Self {
        Self { table: Table::new(), values: Vec::new() }
    }

    #[inline(always)]
    pub fn index(&mut self, value: T, bits: u64) -> u32 {
        let hash = mixed(bits ^ self.table.seed, 0x9E37_79B9_7F4A_7C15);
        let (index, new) = self.table.position(bits, hash, |_| true);
        if new {
            self.values.push(value);
        }
        index
    }

    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Forgets the later entries; no values can be looked up from then on.
    pub fn truncate(&mut self, length: usize) {
        self.table = Table::new();
        self.values.truncate(length);
    }

    /// Forgets everything, and gives its memory back.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Bytes from which on a key does not tell values apart.
const KEY_BYTES: usize = 24;
/// Bytes at a string's start that are compared at once.
pub const FIRST: usize = 16;
const LAST: usize = 8;

/// The first and the last bytes of a string, and its length: those of at most 24 bytes differ in it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Key {
    head: u64,
    tail: u64,
    last: u64,
    length: usize,
}

impl Key {
    /// memory: the value's bytes and those behind them, as far as they are known. It spares a branch for each length.
    #[inline(always)]
    pub fn new(value: &[u8], memory: &[u8]) -> Self {
        let length = value.len();
        let end = length.max(FIRST);
        let (Some(first), Some(last)) = (memory.first_chunk(), memory.get(end - LAST..end)) else {
            return Self::of_last(value);
        };
        let first = u128::from_le_bytes(*first) & MASKS[length.min(FIRST)];
        let last = last.try_into().map_or(0, u64::from_le_bytes);
        Self { head: first as u64, tail: (first >> 64) as u64, last: if length > FIRST { last } else { 0 }, length }
    }

    #[cold]
    fn of_last(value: &[u8]) -> Self {
        let mut memory = [0; FIRST];
        memory[..value.len().min(FIRST)].copy_from_slice(&value[..value.len().min(FIRST)]);
        Self::new(value, if value.len() > FIRST { value } else { &memory })
    }
}

/// Which bits of the first bytes, the first one's the lowest, belong to a value of some length.
pub const MASKS: [u128; FIRST + 1] = {
    let mut masks = [u128::MAX; FIRST + 1];
    let mut length = 0;
    while length < FIRST {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Distinct strings of bytes.
pub struct BytesDictionary {
    table: Table<Key>,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl BytesDictionary {
    pub fn new() -> Self {
        Self { table: Table::new(), data: Vec::new(), ends: Vec::new() }
    }

    /// The index of a value, which is asked for where its key does not hold all of it.
    #[inline(always)]
    pub fn index<'a>(&mut self, key: Key, value: impl Fn() -> &'a [u8]) -> u32 {
        let seed = self.table.seed;
        let first = mixed(key.head ^ seed, key.tail ^ 0xC4CE_B9FE_1A85_EC53);
        let mut hash = mixed(first ^ key.length as u64, key.last ^ seed);
        let long = key.length > KEY_BYTES;
        if long {
            hash = hash_rest(hash, &value()[FIRST..key.length - LAST]);
        }
        let (data, ends) = (&self.data, &self.ends);
        let same = |position| !long || entry(data, ends, position) == value();
        let (index, new) = self.table.position(key, hash, same);
        if new {
            self.data.extend_from_slice(value());
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
        self.table = Table::new();
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

    /// Forgets everything, and gives its memory back.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

fn entry<'a>(data: &'a [u8], ends: &[u32], position: usize) -> &'a [u8] {
    let start = if position == 0 { 0 } else { ends[position - 1] as usize };
    &data[start..ends[position] as usize]
}

fn hash_rest(hash: u64, rest: &[u8]) -> u64 {
    let (words, last) = rest.as_chunks::<8>();
    let mut end = [0; 8];
    end[..last.len()].copy_from_slice(last);
    words.iter().chain([&end]).fold(hash, |hash, word| mixed(hash ^ u64::from_le_bytes(*word), 0xFF51_AFD7_ED55_8CCD))
}
