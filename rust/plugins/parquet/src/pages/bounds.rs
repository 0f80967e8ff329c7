//! Least and greatest values of pages and of their chunk, in the order that Parquet gives each type.

use std::cmp::Ordering;

use parquet::basic::BoundaryOrder;
use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Bytes of a bound that are kept: of longer ones, a shorter bound that still holds.
const BOUND_BYTES: usize = 64;

/// A value that has an order.
pub trait Ordered: Clone + Send {
    /// Whether a value can be NaN.
    const HAS_NANS: bool = false;

    /// As Parquet orders the column's type.
    fn order(&self, other: &Self) -> Ordering;
    /// As the page index holds it.
    fn plain(&self) -> Vec<u8>;
    /// The chunk's statistics. nans: how many there are, of floats and if there are any values.
    fn statistics(bounds: Option<(Self, Self)>, nulls: u64, nans: Option<u64>) -> Statistics;
    /// The bounds as they are written: shorter ones around them where they are long.
    fn outer(min: &Self, max: &Self) -> (Vec<u8>, Vec<u8>) {
        (min.plain(), max.plain())
    }
}

macro_rules! ordered {
    ($($value:ty: $kind:ident as $stored:ty, signed $signed:literal, floats $floats:literal, $order:expr;)*) => {$(
        impl Ordered for $value {
            const HAS_NANS: bool = $floats;

            fn order(&self, other: &Self) -> Ordering {
                $order(self, other)
            }

            fn plain(&self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn statistics(bounds: Option<(Self, Self)>, nulls: u64, nans: Option<u64>) -> Statistics {
                let (min, max) = bounds.map_or((None, None), |(min, max)| (Some(min as $stored), Some(max as $stored)));
                Statistics::$kind(
                    ValueStatistics::new(min, max, None, Some(nulls), false)
                        .with_nan_count(nans)
                        .with_backwards_compatible_min_max($signed),
                )
            }
        }
    )*};
}

ordered! {
    i32: Int32 as i32, signed true, floats false, Ord::cmp;
    u32: Int32 as i32, signed false, floats false, Ord::cmp;
    i64: Int64 as i64, signed true, floats false, Ord::cmp;
    u64: Int64 as i64, signed false, floats false, Ord::cmp;
    f32: Float as f32, signed true, floats true, f32::total_cmp;
    f64: Double as f64, signed true, floats true, f64::total_cmp;
}

impl Ordered for bool {
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    fn plain(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64, _: Option<u64>) -> Statistics {
        let (min, max) = bounds.unzip();
        Statistics::boolean(min, max, None, Some(nulls), false)
    }
}

/// A string of bytes. `TEXT`: UTF-8, of which a shortened bound stays UTF-8.
#[derive(Clone)]
pub struct Bytes<const TEXT: bool>(pub Vec<u8>);

impl<const TEXT: bool> Ordered for Bytes<TEXT> {
    fn order(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }

    fn plain(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64, _: Option<u64>) -> Statistics {
        let exact = |short: &[u8], long: &Self| short.len() == long.0.len() && short == long.0;
        let outer = bounds.as_ref().map(|(min, max)| Self::outer(min, max));
        let (exact_min, exact_max) = match (&outer, &bounds) {
            (Some((short_min, short_max)), Some((min, max))) => (exact(short_min, min), exact(short_max, max)),
            _ => (true, true),
        };
        let (min, max) = outer.unzip();
        Statistics::ByteArray(
            ValueStatistics::new(min.map(ByteArray::from), max.map(ByteArray::from), None, Some(nulls), false)
                .with_backwards_compatible_min_max(false)
                .with_min_is_exact(exact_min)
                .with_max_is_exact(exact_max),
        )
    }

    fn outer(min: &Self, max: &Self) -> (Vec<u8>, Vec<u8>) {
        (below::<TEXT>(&min.0), above::<TEXT>(&max.0).unwrap_or_else(|| max.0.clone()))
    }
}

fn cut<const TEXT: bool>(value: &[u8]) -> &[u8] {
    let mut end = value.len().min(BOUND_BYTES);
    while TEXT && end < value.len() && end > 0 && value[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &value[..end]
}

/// A short value that is not above this one.
fn below<const TEXT: bool>(value: &[u8]) -> Vec<u8> {
    cut::<TEXT>(value).to_vec()
}

/// A short value that is not below this one, where there is one.
fn above<const TEXT: bool>(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() <= BOUND_BYTES {
        return Some(value.to_vec());
    }
    let short = cut::<TEXT>(value);
    if !TEXT {
        let last = short.iter().rposition(|byte| *byte < u8::MAX)?;
        let mut out = short[..=last].to_vec();
        out[last] += 1;
        return Some(out);
    }
    let text = std::str::from_utf8(short).ok()?;
    text.char_indices().rev().find_map(|(at, found)| {
        let next = char::from_u32(found as u32 + 1).filter(|next| next.len_utf8() == found.len_utf8())?;
        let mut out = text[..at].to_owned();
        out.push(next);
        Some(out.into_bytes())
    })
}

/// What the pages of one chunk hold.
pub struct Bounds<V> {
    chunk: Option<(V, V)>,
    last: Option<(V, V)>,
    ascending: bool,
    descending: bool,
    nans: Option<u64>,
}

impl<V: Ordered> Bounds<V> {
    pub fn new() -> Self {
        Self { chunk: None, last: None, ascending: true, descending: true, nans: None }
    }

    /// Adds a page; what the page index says of it.
    pub fn page(&mut self, bounds: Option<(V, V)>, nans: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        if V::HAS_NANS && (bounds.is_some() || nans > 0) {
            self.nans = Some(nans + self.nans.unwrap_or(0));
        }
        let (min, max) = bounds?;
        if let Some((last_min, last_max)) = &self.last {
            let (by_min, by_max) = (last_min.order(&min), last_max.order(&max));
            self.ascending &= by_min != Ordering::Greater && by_max != Ordering::Greater;
            self.descending &= by_min != Ordering::Less && by_max != Ordering::Less;
        }
        let outer = V::outer(&min, &max);
        match &mut self.chunk {
            None => self.chunk = Some((min.clone(), max.clone())),
            Some((least, greatest)) => {
                if min.order(least) == Ordering::Less {
                    *least = min.clone();
                }
                if max.order(greatest) == Ordering::Greater {
                    *greatest = max.clone();
                }
            }
        }
        self.last = Some((min, max));
        Some(outer)
    }

    /// The chunk's statistics and how its pages follow each other.
    pub fn finish(self, nulls: u64) -> (Statistics, BoundaryOrder) {
        let order = match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (_, true) => BoundaryOrder::DESCENDING,
            _ => BoundaryOrder::UNORDERED,
        };
        (V::statistics(self.chunk, nulls, self.nans), order)
    }
}
