//! The ends of all fields of a block.

#[cfg(target_arch = "aarch64")]
use crate::lanes::arm::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::x86::{Avx2, Avx512, Sse2};
use crate::lanes::{Backend, Lanes, Scalar};

/// The bytes that give a text its structure, beside line feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields; doubled it stands for itself.
    pub quote: Option<u8>,
}

/// Where fields end, in the plain case: each quote opens a field, closes it or is doubled inside it; a carriage return
/// outside quotes comes before a line feed; no line is blank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Positions of delimiters and line feeds outside quotes, up to the last line feed.
    pub ends: Vec<u32>,
    /// Line feeds among them.
    pub records: usize,
    /// Bytes up to the last of them, and with it.
    pub bytes: usize,
    /// Whether a carriage return stands before any of them.
    pub carriage_returns: bool,
    /// Whether a quote is doubled anywhere.
    pub doubled_quotes: bool,
}

impl Index {
    /// Indexes the complete records of a block that begins at one. Returns false where the text is not the plain case, or
    /// too long for positions of 32 bits; the index then says nothing.
    pub fn build(&mut self, backend: Backend, block: &[u8], marks: Marks) -> bool {
        self.ends.clear();
        if u32::try_from(block.len()).is_err() {
            return false;
        }
        // The most that can be found, so that no push has to ask for room. Pages that are never written cost nothing.
        self.ends.reserve(block.len() + 64);
        match backend {
            // SAFETY: the processor was asked for all that is enabled there.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 if backend.is_available() => unsafe { self.build_avx512(block, marks) },
            // SAFETY: the processor was asked for AVX2, BMI1, POPCNT and PCLMULQDQ.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 if backend.is_available() => unsafe { self.build_avx2(block, marks) },
            // SAFETY: the processor was asked for POPCNT and PCLMULQDQ.
            #[cfg(target_arch = "x86_64")]
            Backend::Sse2 if backend.is_available() => unsafe { self.build_sse2(block, marks) },
            // SAFETY: every processor of this architecture has NEON.
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => unsafe { self.run::<Neon>(block, marks) },
            // SAFETY: plain code, and there is room for a position for every byte.
            _ => unsafe { self.run::<Scalar>(block, marks) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    fn build_avx512(&mut self, block: &[u8], marks: Marks) -> bool {
        // SAFETY: this function has the backend's instructions; `build` made room.
        unsafe { self.run::<Avx512>(block, marks) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
    fn build_avx2(&mut self, block: &[u8], marks: Marks) -> bool {
        // SAFETY: this function has the backend's instructions; `build` made room.
        unsafe { self.run::<Avx2>(block, marks) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "popcnt,pclmulqdq")]
    fn build_sse2(&mut self, block: &[u8], marks: Marks) -> bool {
        // SAFETY: this function has the backend's instructions; `build` made room.
        unsafe { self.run::<Sse2>(block, marks) }
    }

    /// # Safety
    /// The processor has the backend's instructions, and `ends` is empty with room for 64 more than the block has bytes.
    #[inline(always)]
    unsafe fn run<L: Lanes>(&mut self, block: &[u8], marks: Marks) -> bool {
        let needles = [marks.delimiter, b'\n', b'\r', marks.quote.unwrap_or(b'\n')];
        let quoting = if marks.quote.is_some() { u64::MAX } else { 0 };
        let out = self.ends.as_mut_ptr();
        let (mut count, mut complete, mut records, mut bytes) = (0, 0, 0, 0);
        // What the last byte of the chunk before was; a block begins behind a line feed, as it were.
        let (mut inside, mut may_open, mut after_feed, mut closed, mut returned) = (0_u64, 1_u64, 1_u64, 0_u64, 0_u64);
        let (mut odd, mut any_return, mut any_doubled) = (0_u64, 0_u64, 0_u64);
        let (chunks, tail) = block.as_chunks::<64>();
        let mut padded = [0; 64];
        padded[..tail.len()].copy_from_slice(tail);
        let last = (!tail.is_empty()).then_some(&padded);
        for (number, chunk) in chunks.iter().chain(last).enumerate() {
            let base = number * 64;
            let present = if block.len() - base >= 64 { u64::MAX } else { (1 << (block.len() - base)) - 1 };
            // SAFETY: the caller has the backend's instructions.
            let [delimiters, feeds, returns, quotes] = unsafe { L::equal(chunk, needles) }.map(|mask| mask & present);
            let quotes = quotes & quoting;
            // SAFETY: the caller has the backend's instructions.
            let quoted = unsafe { L::prefix_xor(quotes) } ^ inside;
            inside = (quoted.cast_signed() >> 63).cast_unsigned();
            let (delimiters, feeds, returns) = (delimiters & !quoted, feeds & !quoted, returns & !quoted);
            let (opening, closing) = (quotes & quoted, quotes & !quoted);

            let behind_closing = closing << 1 | closed;
            let behind_feed = feeds << 1 | after_feed;
            let behind_return = returns << 1 | returned;
            odd |= opening & !((delimiters | feeds | closing) << 1 | may_open);
            odd |= behind_closing & !(delimiters | feeds | returns | quotes) & present;
            odd |= behind_return & !feeds & present;
            odd |= (feeds | returns) & behind_feed;
            any_return |= returns;
            any_doubled |= behind_closing & opening;
            may_open = (delimiters | feeds | closing) >> 63;
            after_feed = feeds >> 63;
            closed = closing >> 63;
            returned = returns >> 63;

            let hits = delimiters | feeds;
            if feeds != 0 {
                let at = 63 - feeds.leading_zeros();
                records += feeds.count_ones() as usize;
                bytes = base + at as usize + 1;
                complete = count + (hits & (u64::MAX >> (63 - at))).count_ones() as usize;
            }
            // SAFETY: the caller has the backend's instructions, and room for 64 more than the bytes so far.
            unsafe { L::places(out.add(count), base as u32, hits) };
            count += hits.count_ones() as usize;
        }
        // SAFETY: `complete` positions were written.
        unsafe { self.ends.set_len(complete) };
        (self.records, self.bytes) = (records, bytes);
        (self.carriage_returns, self.doubled_quotes) = (any_return != 0, any_doubled != 0);
        odd == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMAS: Marks = Marks { delimiter: b',', quote: Some(b'"') };

    /// The same by the letter: byte after byte.
    fn naive(block: &[u8], marks: Marks) -> Option<Index> {
        let (mut found, mut all, mut quoted, mut fresh) = (Index::default(), Vec::new(), false, true);
        let mut line_start = 0;
        let mut at = 0;
        while at < block.len() {
            let byte = block[at];
            if quoted {
                if Some(byte) == marks.quote {
                    match block.get(at + 1) {
                        next if next.copied() == marks.quote => {
                            found.doubled_quotes = true;
                            at += 1;
                        }
                        None => quoted = false,
                        Some(next) if [marks.delimiter, b'\n', b'\r'].contains(next) => quoted = false,
                        Some(_) => return None,
                    }
                }
                fresh = false;
            } else if Some(byte) == marks.quote {
                if !fresh {
                    return None;
                }
                quoted = true;
                fresh = false;
            } else if byte == marks.delimiter || byte == b'\n' {
                if byte == b'\n' && at == line_start {
                    return None;
                }
                all.push(at as u32);
                fresh = true;
                if byte == b'\n' {
                    found.ends.append(&mut all);
                    found.records += 1;
                    found.bytes = at + 1;
                    line_start = at + 1;
                }
            } else if byte == b'\r' {
                if at == line_start || block.get(at + 1).is_some_and(|next| *next != b'\n') {
                    return None;
                }
                found.carriage_returns = true;
                fresh = false;
            } else {
                fresh = false;
            }
            at += 1;
        }
        Some(found)
    }

    fn check(block: &[u8], marks: Marks) {
        let wanted = naive(block, marks);
        for backend in Backend::available() {
            let mut found = Index { ends: vec![7; 3], ..Index::default() };
            let plain = found.build(backend, block, marks);
            assert_eq!(plain.then_some(found), wanted, "{backend:?} {:?}", String::from_utf8_lossy(block));
        }
    }

    #[test]
    fn structure_at_every_offset_of_a_chunk_is_found_by_every_backend() {
        for text in [
            "a,b\n",
            "\"a\",\"\"\n",
            "\"a\"\"b\",c\r\n",
            "\"a\n\r,\",x\n",
            "a\rb\n",
            "a\"b\n",
            "\"a\"b\n",
            "\n",
            "a\n\r\n",
        ] {
            for before in 0..140 {
                let block = format!("{}{text}tail", "x".repeat(before) + if before > 0 { "\n" } else { "" });
                check(block.as_bytes(), COMMAS);
                check(block.as_bytes(), Marks { delimiter: b';', quote: None });
            }
        }
        check(b"", COMMAS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn every_backend_finds_what_a_look_at_each_byte_finds(text in "(a|b|,|\"|\"\"|\n|\r\n|\r|\",\"|é){0,120}", quote in any::<bool>()) {
            check(text.as_bytes(), Marks { delimiter: b',', quote: quote.then_some(b'"') });
        }
    }
}
