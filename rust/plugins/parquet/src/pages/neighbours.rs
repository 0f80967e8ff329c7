//! Texts that begin and end like the one before, as zstd's matches: two comparisons a text find them, where zstd looks
//! each place up in a table of what came before.

use dativo_simd::equal;
use dativo_zstd::{BLOCK, Frames, SHORTEST, SLACK, Step};
use parquet::errors::{ParquetError, Result};

/// Bytes that are compared at once. Longer texts are left as they are.
const LANE: usize = 32;

/// Shorter matches cost more than their bytes.
const WORTH: usize = 4;

/// What comes after the text that is being looked at, so that whole lanes can be copied.
const AHEAD: usize = 3 * LANE;

/// Compresses pages of texts, and keeps its buffers between them.
pub struct Neighbours {
    frames: Frames,
    steps: Vec<Step>,
    literals: Vec<u8>,
}

impl Neighbours {
    /// Raises an error where zstd has no memory.
    pub fn new(level: i32) -> Result<Self> {
        let frames = Frames::new(level).map_err(|error| ParquetError::General(format!("compression: {error}")))?;
        Ok(Self { frames, steps: Vec::new(), literals: Vec::new() })
    }

    /// Compresses a page whose end are texts of these lengths, one behind the other. Returns the frame's length; `None`
    /// where it would not be smaller, or where `out` has too little room.
    pub fn compress(&mut self, page: &[u8], lengths: &[i32], out: &mut [u8]) -> Option<usize> {
        self.match_texts(page, lengths)?;
        self.frames.compress(&self.steps, &self.literals, page.len(), out).ok()
    }

    /// Fills the steps and the literals. `None` where a text does not fit a block.
    fn match_texts(&mut self, page: &[u8], lengths: &[i32]) -> Option<()> {
        let texts: usize = lengths.iter().map(|length| *length as usize).sum();
        let mut at = page.len().checked_sub(texts)?;
        if self.literals.len() < page.len() + AHEAD + SLACK {
            self.literals.resize(page.len() + AHEAD + SLACK, 0);
        }
        let literals = &mut self.literals[..];
        let steps = &mut self.steps;
        steps.clear();
        // What comes before the texts, in blocks of its own.
        literals[..at].copy_from_slice(&page[..at]);
        steps.extend((0..at / BLOCK).map(|_| Step::end(BLOCK)));
        let mut room = BLOCK - at % BLOCK;
        // Literals since the last match; where the next one goes; the text before; how much of its end was matched.
        let (mut loose, mut put, mut before, mut open) = (at % BLOCK, at, 0, 0);
        for &length in lengths {
            let length = length as usize;
            if length > room {
                close(steps, loose, open, before, |short| copy(literals, &mut put, &page[at - short..at]));
                (loose, open, room) = (0, 0, BLOCK.checked_sub(length)? + length);
            }
            room -= length;
            if length == 0 || length > LANE || before == 0 || at < LANE || at + AHEAD > page.len() {
                loose += open + length;
                copy(literals, &mut put, &page[at - open..at + length]);
                open = 0;
            } else {
                let text = lane(page, at);
                let start = !u64::from(equal(text, lane(page, at - before)));
                let start = (start | 1 << length).trailing_zeros() as usize;
                let end = !u64::from(equal(text, lane(page, at - length))) << (64 - length);
                let end = (end.leading_zeros() as usize).min(length - start);
                // The end of the text before and the start of this one are as far from what they equal.
                let matched = open + start;
                let is_worth = matched >= WORTH;
                let from = if is_worth {
                    steps.push(Step::new(loose, matched, before));
                    loose = 0;
                    at + start
                } else {
                    at - open
                };
                let rest = at + length - end - from;
                literals[put..put + LANE].copy_from_slice(lane(page, from));
                if rest > LANE {
                    literals[put + LANE..put + 2 * LANE].copy_from_slice(lane(page, from + LANE));
                }
                put += rest;
                loose += rest;
                open = end;
            }
            at += length;
            before = length;
        }
        close(steps, loose, open, before, |short| copy(literals, &mut put, &page[at - short..at]));
        literals[put..put + SLACK].fill(0);
        Some(())
    }
}

/// Ends a block whose last bytes match what is `distance` before, or are literals, where they are too few.
fn close(steps: &mut Vec<Step>, loose: usize, open: usize, distance: usize, literal: impl FnOnce(usize)) {
    if open < SHORTEST {
        literal(open);
        steps.push(Step::end(loose + open));
    } else {
        steps.extend([Step::new(loose, open, distance), Step::end(0)]);
    }
}

fn copy(literals: &mut [u8], put: &mut usize, bytes: &[u8]) {
    literals[*put..*put + bytes.len()].copy_from_slice(bytes);
    *put += bytes.len();
}

#[inline(always)]
fn lane(page: &[u8], at: usize) -> &[u8; LANE] {
    page[at..].first_chunk().expect("a lane of the page")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The texts behind a head, through zstd and back.
    fn round_trip(head: usize, texts: &[Vec<u8>]) -> Option<usize> {
        let mut page: Vec<u8> = (0..head).map(|at| (at % 7) as u8).collect();
        page.extend(texts.concat());
        let lengths: Vec<i32> = texts.iter().map(|text| text.len() as i32).collect();
        let mut out = vec![0; page.len() + 4096];
        let mut neighbours = Neighbours::new(1).expect("zstd");
        neighbours.compress(b"a page before, of another length", &[5, 5], &mut out);
        let packed = neighbours.compress(&page, &lengths, &mut out)?;
        assert_eq!(zstd::bulk::decompress(&out[..packed], page.len()).expect("a whole frame"), page);
        Some(packed)
    }

    fn like_the_one_before() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let part = |most| prop::collection::vec(0u8..2, 0..most);
        let text = (0usize..40, part(12), 0usize..40).prop_map(|(start, middle, end)| {
            let mut text = b"a start that many of the texts have"[..start.min(35)].to_vec();
            text.extend(middle);
            text.extend_from_slice(&b"and an end as well that they have"[33 - end.min(33)..]);
            text
        });
        prop::collection::vec(text, 0..300)
    }

    proptest! {
        #[test]
        fn texts_come_back(head in 0usize..200, texts in like_the_one_before()) {
            round_trip(head, &texts);
        }
    }

    #[test]
    fn many_blocks_and_long_heads_come_back() {
        let texts: Vec<Vec<u8>> = (0..30_000)
            .map(|row| format!("user{}@mail{}.example", 990_000 + row, row * 7919 % 50).into_bytes())
            .collect();
        for head in [0, 1, BLOCK - 10, BLOCK, 3 * BLOCK + 5] {
            let packed = round_trip(head, &texts).expect("smaller");
            assert!(packed < 30_000 * 7 + head / 2, "{packed} bytes");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_others() {
        assert_eq!(round_trip(0, &[vec![b'x'; BLOCK + 1]]), None);
        round_trip(0, &[vec![b'x'; BLOCK], vec![b'x'; BLOCK], Vec::new(), vec![b'y'; 30]]);
        round_trip(0, &[]);
        round_trip(0, &vec![b"the same text".to_vec(); 40_000]).expect("smaller");
    }
}
