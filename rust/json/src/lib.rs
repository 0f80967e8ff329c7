//! Lines of JSON objects to Arrow record batches, where every value is plainly of its column's type.
//!
//! Whatever is not plain (a value of another type, a key without a column, a number that a float would change, a fault) is
//! left to the Python reader for the whole block: there is one set of rules, and this is the part of it that is fast.
#![forbid(unsafe_code)]

mod columns;
mod lines;
#[cfg(feature = "python")]
mod python;
mod text;

pub use lines::{Lines, Parsed};

/// Something that the Python reader has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPlain;

type Plain<T> = Result<T, NotPlain>;
