//! A contract's rules on Arrow record batches: what breaks none of them passes at the speed of memory.
//!
//! It knows the common rules on flat columns and refuses everything else when it is made, so that the Python checks,
//! which know all of it, do the whole work there. What is reported of a broken rule is the Python side's business too:
//! it gets the few rows that break something, and which.
#![forbid(unsafe_code)]

mod checks;
mod keys;
mod members;
mod pattern;
#[cfg(feature = "python")]
mod python;
mod range;
mod spec;
mod text;

pub use checks::{Broken, Checked, Checks};
pub use keys::UniqueIndex;
pub use pattern::Pattern;
pub use spec::{KindSpec, RuleSpec, Spec};

/// The standard set, with a quicker hash.
type HashSet<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;

/// Rows that break a rule are marked; `None` where none does.
type Mask = Option<arrow_buffer::BooleanBuffer>;

/// A test of one column of a batch.
type Check = Box<dyn Fn(&arrow_array::RecordBatch) -> Mask + Send + Sync>;

/// The rows of `rows` where `breaks` says yes, nulls left out.
fn marked(rows: usize, nulls: Option<&arrow_buffer::NullBuffer>, breaks: impl Fn(usize) -> bool) -> Mask {
    let found = match nulls {
        None => arrow_buffer::BooleanBuffer::collect_bool(rows, &breaks),
        Some(nulls) => arrow_buffer::BooleanBuffer::collect_bool(rows, |row| nulls.is_valid(row) && breaks(row)),
    };
    (found.count_set_bits() > 0).then_some(found)
}

fn either(left: Mask, right: Mask) -> Mask {
    match (left, right) {
        (Some(left), Some(right)) => Some(&left | &right),
        (left, right) => left.or(right),
    }
}
