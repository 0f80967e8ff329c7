//! Where the fields of delimited text end, and quoted ones without their doubled quotes: 64 bytes at a time, with AVX-512,
//! AVX2, SSE2, NEON or plain code, chosen when the program runs. All of them give the same bytes.
//!
//! `unsafe` code stands here, beside the foreign function interfaces, for the processors' own instructions.

mod doubled;
mod equal;
mod index;
mod lanes;
mod quotes;

pub use doubled::{SLACK, undouble};
pub use equal::equal;
pub use index::{Index, Marks};
pub use lanes::Backend;
pub use quotes::Quotes;
