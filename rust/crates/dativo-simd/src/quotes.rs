//! The quotes of a text that is read from somewhere in its middle.

#[cfg(target_arch = "aarch64")]
use crate::lanes::arm::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::x86::{Avx2, Avx512, Sse2};
use crate::lanes::{Backend, Lanes, Scalar};

/// How many quotes there are, and which of them stand where none can open a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotes {
    /// Quotes so far.
    pub count: u64,
    /// Whether a quote follows neither delimiter, newline nor quote: of the 1st, 3rd, ... and of the others.
    pub stray: [bool; 2],
    /// 1 where the byte before the next one is a delimiter, a newline or a quote.
    may_follow: u64,
}

impl Quotes {
    /// None so far, behind a byte.
    pub fn behind(before: u8, delimiter: u8, quote: u8) -> Self {
        Self { may_follow: u64::from([delimiter, b'\n', b'\r', quote].contains(&before)), ..Self::default() }
    }

    /// Adds those of the bytes that follow.
    pub fn add(&mut self, backend: Backend, bytes: &[u8], delimiter: u8, quote: u8) {
        let needles = [delimiter, b'\n', b'\r', quote];
        match backend {
            // SAFETY: the processor was asked for all that is enabled there.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 if backend.is_available() => unsafe { self.add_avx512(bytes, needles) },
            // SAFETY: the processor was asked for AVX2, BMI1, POPCNT and PCLMULQDQ.
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 if backend.is_available() => unsafe { self.add_avx2(bytes, needles) },
            // SAFETY: the processor was asked for POPCNT and PCLMULQDQ.
            #[cfg(target_arch = "x86_64")]
            Backend::Sse2 if backend.is_available() => unsafe { self.add_sse2(bytes, needles) },
            // SAFETY: every processor of this architecture has NEON.
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => unsafe { self.run::<Neon>(bytes, needles) },
            // SAFETY: plain code.
            _ => unsafe { self.run::<Scalar>(bytes, needles) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    fn add_avx512(&mut self, bytes: &[u8], needles: [u8; 4]) {
        // SAFETY: this function has the backend's instructions.
        unsafe { self.run::<Avx512>(bytes, needles) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
    fn add_avx2(&mut self, bytes: &[u8], needles: [u8; 4]) {
        // SAFETY: this function has the backend's instructions.
        unsafe { self.run::<Avx2>(bytes, needles) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "popcnt,pclmulqdq")]
    fn add_sse2(&mut self, bytes: &[u8], needles: [u8; 4]) {
        // SAFETY: this function has the backend's instructions.
        unsafe { self.run::<Sse2>(bytes, needles) }
    }

    /// # Safety
    /// The processor has the backend's instructions.
    #[inline(always)]
    unsafe fn run<L: Lanes>(&mut self, bytes: &[u8], needles: [u8; 4]) {
        let mut odd = if self.count % 2 == 1 { u64::MAX } else { 0 };
        let (mut stray_odd, mut stray_even) = (0, 0);
        let (chunks, tail) = bytes.as_chunks::<64>();
        let mut padded = [0; 64];
        padded[..tail.len()].copy_from_slice(tail);
        let last = (!tail.is_empty()).then_some(&padded);
        for (number, chunk) in chunks.iter().chain(last).enumerate() {
            let length = (bytes.len() - number * 64).min(64);
            let present = u64::MAX >> (64 - length);
            // SAFETY: the caller has the backend's instructions.
            let [delimiters, feeds, returns, quotes] = unsafe { L::equal(chunk, needles) }.map(|mask| mask & present);
            let allowing = delimiters | feeds | returns | quotes;
            let stray = quotes & !(allowing << 1 | self.may_follow);
            self.may_follow = allowing >> (length - 1) & 1;
            // SAFETY: the caller has the backend's instructions.
            let parity = unsafe { L::prefix_xor(quotes) } ^ odd;
            stray_odd |= stray & parity;
            stray_even |= stray & !parity;
            odd = (parity.cast_signed() >> 63).cast_unsigned();
            self.count += u64::from(quotes.count_ones());
        }
        self.stray[0] |= stray_odd != 0;
        self.stray[1] |= stray_even != 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte after byte.
    fn naive(before: u8, text: &[u8]) -> (u64, [bool; 2]) {
        let (mut count, mut stray, mut before) = (0, [false; 2], before);
        for byte in text {
            if *byte == b'"' {
                stray[usize::from(count % 2 == 1)] |= !b",\n\r\"".contains(&before);
                count += 1;
            }
            before = *byte;
        }
        (count, stray)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_backend_finds_them_wherever_the_text_is_cut(
            before in "[a,\n\"]", text in "(a|,|\"|\n|\r|aaaaaaaa){0,150}", cut in 0..200_usize,
        ) {
            let (before, text) = (before.as_bytes()[0], text.as_bytes());
            let cut = cut.min(text.len());
            for backend in Backend::available() {
                let mut found = Quotes::behind(before, b',', b'"');
                found.add(backend, &text[..cut], b',', b'"');
                found.add(backend, &text[cut..], b',', b'"');
                prop_assert_eq!((found.count, found.stray), naive(before, text), "{:?}", backend);
            }
        }
    }
}
