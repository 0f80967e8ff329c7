//! What the pages of a flat column are made of: packed bits, deltas, dictionaries, compression, statistics.

pub mod bits;
pub mod bounds;
pub mod chunk;
pub mod codec;
pub mod delta;
pub mod dictionary;
