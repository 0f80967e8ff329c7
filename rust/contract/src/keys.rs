//! Which rows repeat a key that came before: over a whole run, from several threads.
//!
//! A key of one fixed-width column is held as its own 64 bits; keys that arrive sorted are held as runs, and one without
//! a gap as its two ends. Any other key is held as a 128-bit hash seeded anew in each process: among a billion keys, the
//! chance that two differ and collide is below 1 in 10^20.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, cast::AsArray, downcast_integer, downcast_temporal};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::DataType;
use dativo_plugin::{Error, Result};
use twox_hash::XxHash3_128;

use crate::{HashSet, Mask};

const SHARDS: usize = 32;

/// The keys seen so far.
pub struct UniqueIndex {
    narrow: bool,
    seed: u64,
    runs: Mutex<Runs>,
    words: Vec<Mutex<HashSet<u64>>>,
    hashes: Vec<Mutex<HashSet<u128>>>,
}

impl UniqueIndex {
    /// An index of keys over columns of these types.
    pub fn new(types: &[&DataType]) -> Result<Self> {
        if let Some(other) = types.iter().find(|data_type| !is_narrow(data_type) && !is_wide(data_type)) {
            return Err(Error::configuration(format!("no key over {other}")));
        }
        let narrow = types.len() == 1 && is_narrow(types[0]);
        let shards = |wanted: bool| if wanted { SHARDS } else { 0 };
        Ok(Self {
            narrow,
            seed: RandomState::new().hash_one(0),
            runs: Mutex::default(),
            words: (0..shards(narrow)).map(|_| Mutex::default()).collect(),
            hashes: (0..shards(!narrow)).map(|_| Mutex::default()).collect(),
        })
    }

    /// The rows whose key came before, in this batch or an earlier one. Rows with a null in the key, and those of `skip`,
    /// are left out, and are not remembered.
    pub fn repeated(&self, columns: &[&ArrayRef], skip: Option<&BooleanBuffer>) -> Mask {
        let rows = columns.first().map_or(0, |column| column.len());
        let used =
            |row: usize| columns.iter().all(|column| column.is_valid(row)) && skip.is_none_or(|skip| !skip.value(row));
        let all = skip.is_none() && columns.iter().all(|column| column.null_count() == 0);
        let used: Vec<u32> = (0..rows as u32).filter(|row| all || used(*row as usize)).collect();
        let again = if self.narrow {
            let words = words(columns[0]);
            let keys: Vec<u64> = if all { words } else { used.iter().map(|row| words[*row as usize]).collect() };
            self.add_words(&keys)
        } else {
            add(&self.hashes, &self.hash(columns, &used), |hash| *hash as usize, |_| false)
        };
        if again.is_empty() {
            return None;
        }
        let mut marks = BooleanBufferBuilder::new(rows);
        marks.append_n(rows, false);
        for at in again {
            marks.set_bit(used[at] as usize, true);
        }
        Some(marks.finish())
    }

    fn add_words(&self, keys: &[u64]) -> Vec<usize> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() || (!runs.closed && runs.insert(keys)) {
            return Vec::new();
        }
        // From here on the runs stay as they are, so that what is in them needs no lock to be known.
        runs.closed = true;
        let held: Vec<bool> =
            if runs.parts.is_empty() { Vec::new() } else { keys.iter().map(|key| runs.contains(*key)).collect() };
        drop(runs);
        add(&self.words, keys, |key| spread(*key), |at| held.get(at).copied().unwrap_or(false))
    }

    fn hash(&self, columns: &[&ArrayRef], rows: &[u32]) -> Vec<u128> {
        let parts: Vec<Part<'_>> = columns.iter().map(|column| Part::of(column)).collect();
        let mut bytes = Vec::new();
        let hash = |row: &u32| {
            bytes.clear();
            for part in &parts {
                part.append(*row as usize, &mut bytes);
            }
            XxHash3_128::oneshot_with_seed(self.seed, &bytes)
        };
        rows.iter().map(hash).collect()
    }
}

/// Remembers keys, shard by shard so that threads seldom wait for each other; the positions of those known before, in
/// order.
fn add<K: Copy + Eq + std::hash::Hash>(
    shards: &[Mutex<HashSet<K>>],
    keys: &[K],
    place: impl Fn(&K) -> usize,
    known: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut by_shard: Vec<Vec<u32>> = vec![Vec::with_capacity(keys.len() / shards.len() * 2); shards.len()];
    for (at, key) in keys.iter().enumerate() {
        by_shard[place(key) % shards.len()].push(at as u32);
    }
    let mut again = Vec::new();
    for (shard, positions) in shards.iter().zip(by_shard) {
        let mut held = shard.lock().unwrap_or_else(PoisonError::into_inner);
        for at in positions {
            if known(at as usize) || !held.insert(keys[at as usize]) {
                again.push(at as usize);
            }
        }
    }
    again.sort_unstable();
    again
}

fn spread(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
}

/// Disjoint sorted runs of keys, by their first key. Keys are compared as signed numbers.
#[derive(Default)]
struct Runs {
    closed: bool,
    parts: BTreeMap<i64, Run>,
}

struct Run {
    end: i64,
    /// `None` for every number up to the end.
    keys: Option<Vec<i64>>,
}

impl Runs {
    /// Takes strictly increasing keys, unless they reach into another run.
    fn insert(&mut self, keys: &[u64]) -> bool {
        let (first, last) = (keys[0] as i64, keys[keys.len() - 1] as i64);
        if !keys.windows(2).all(|pair| (pair[0] as i64) < (pair[1] as i64)) {
            return false;
        }
        let before = self.parts.range(..=first).next_back().map(|(start, run)| (*start, run.end, run.keys.is_none()));
        let after = self.parts.range(first..).next().map(|(start, run)| (*start, run.end, run.keys.is_none()));
        if before.is_some_and(|(_, end, _)| end >= first) || after.is_some_and(|(start, _, _)| start <= last) {
            return false;
        }
        if last.wrapping_sub(first) as u64 != keys.len() as u64 - 1 {
            let keys = keys.iter().map(|key| *key as i64).collect();
            self.parts.insert(first, Run { end: last, keys: Some(keys) });
            return true;
        }
        let mut run = (first, last);
        if let Some((start, end, true)) = before
            && end + 1 == first
        {
            run.0 = start;
        }
        if let Some((start, end, true)) = after
            && last + 1 == start
        {
            self.parts.remove(&start);
            run.1 = end;
        }
        self.parts.insert(run.0, Run { end: run.1, keys: None });
        true
    }

    fn contains(&self, key: u64) -> bool {
        let key = key as i64;
        let Some((_, run)) = self.parts.range(..=key).next_back() else { return false };
        key <= run.end && run.keys.as_ref().is_none_or(|keys| keys.binary_search(&key).is_ok())
    }
}

fn is_narrow(data_type: &DataType) -> bool {
    use DataType::*;
    data_type.is_integer()
        || matches!(data_type, Boolean | Float32 | Float64 | Date32 | Time32(_) | Time64(_) | Timestamp(_, _))
}

fn is_wide(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Decimal128(_, _))
}

/// A narrow column as 64 bits a value, equal exactly where the values are.
fn words(array: &ArrayRef) -> Vec<u64> {
    macro_rules! plain {
        ($type:ty) => {
            array.as_primitive::<$type>().values().iter().map(|value| *value as i64 as u64).collect()
        };
    }
    downcast_integer! {
        array.data_type() => (plain),
        DataType::Boolean => array.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Float32 => {
            array.as_primitive::<Float32Type>().values().iter().map(|value| float_word(f64::from(*value))).collect()
        }
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().values().iter().map(|value| float_word(*value)).collect()
        }
        _ => downcast_temporal! {
            array.data_type() => (plain),
            _ => Vec::new()
        }
    }
}

/// -0.0 equals 0.0, and every NaN the other.
fn float_word(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// A column of a key that is hashed.
enum Part<'a> {
    Words(Vec<u64>),
    Text(&'a arrow_array::StringArray),
    LargeText(&'a arrow_array::LargeStringArray),
    Decimal(&'a arrow_array::Decimal128Array),
}

impl<'a> Part<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::LargeUtf8 => Self::LargeText(column.as_string()),
            DataType::Decimal128(_, _) => Self::Decimal(column.as_primitive()),
            _ => Self::Words(words(column)),
        }
    }

    fn append(&self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Words(words) => bytes.extend(words[row].to_le_bytes()),
            Self::Text(array) => append_text(array.value(row), bytes),
            Self::LargeText(array) => append_text(array.value(row), bytes),
            Self::Decimal(array) => bytes.extend(array.value(row).to_le_bytes()),
        }
    }
}

/// With its length, so that no two keys of several texts have the same bytes.
fn append_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet as StandardSet;
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn positions(mask: &Mask) -> Vec<usize> {
        mask.as_ref().map_or_else(Vec::new, |mask| mask.set_indices().collect())
    }

    #[test]
    fn sorted_keys_cost_no_memory_and_are_compared_all_the_same() {
        let index = UniqueIndex::new(&[&DataType::Int64]).expect("an index");
        let batch = |keys: std::ops::Range<i64>| -> ArrayRef { Arc::new(Int64Array::from_iter_values(keys)) };
        for start in [0, 200, 100, 300] {
            assert_eq!(index.repeated(&[&batch(start..start + 100)], None), None);
        }
        assert_eq!(index.runs.lock().expect("a lock").parts.len(), 1);
        assert_eq!(positions(&index.repeated(&[&batch(390..410)], None)), (0..10).collect::<Vec<_>>());
        assert_eq!(positions(&index.repeated(&[&batch(405..412)], None)), (0..5).collect::<Vec<_>>());
    }

    #[test]
    fn the_ends_of_the_numbers_make_no_run_wrap() {
        let index = UniqueIndex::new(&[&DataType::Int64]).expect("an index");
        for keys in [vec![i64::MIN, i64::MAX], vec![0]] {
            let keys: ArrayRef = Arc::new(Int64Array::from(keys));
            index.repeated(&[&keys], None);
        }
        let again: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 5, i64::MIN, 0]));
        assert_eq!(positions(&index.repeated(&[&again], None)), vec![0, 2, 3]);
    }

    #[test]
    fn zeros_are_equal_and_so_are_all_nans() {
        let index = UniqueIndex::new(&[&DataType::Float64]).expect("an index");
        let keys: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
        assert_eq!(positions(&index.repeated(&[&keys], None)), vec![1, 3]);
    }

    #[test]
    fn texts_of_a_key_do_not_run_into_each_other() {
        let index = UniqueIndex::new(&[&DataType::Utf8, &DataType::Utf8]).expect("an index");
        let left: ArrayRef = Arc::new(StringArray::from(vec!["ab", "a", "ab"]));
        let right: ArrayRef = Arc::new(StringArray::from(vec!["c", "bc", "c"]));
        assert_eq!(positions(&index.repeated(&[&left, &right], None)), vec![2]);
    }

    proptest! {
        #[test]
        fn any_order_of_batches_finds_what_a_set_finds(
            batches in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, -20i64..20), 0..12), 0..12),
            sorted in any::<bool>(),
        ) {
            let index = UniqueIndex::new(&[&DataType::Int64]).expect("an index");
            let mut seen = StandardSet::new();
            for mut keys in batches {
                if sorted {
                    keys.sort_unstable();
                }
                let wanted: Vec<usize> =
                    (0..keys.len()).filter(|at| keys[*at].is_some_and(|key| !seen.insert(key))).collect();
                let column: ArrayRef = Arc::new(Int64Array::from(keys));
                prop_assert_eq!(positions(&index.repeated(&[&column], None)), wanted);
            }
        }
    }
}
