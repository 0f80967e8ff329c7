//! Texts in quotes, without the doubling of the quotes in them.

#[cfg(target_arch = "aarch64")]
use crate::lanes::arm::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::x86::{Avx2, Avx512, Sse2};
use crate::lanes::{Backend, Lanes, Scalar};

/// Bytes of room that [`undouble`] needs behind what it copies.
pub const SLACK: usize = 64;

/// Copies `block[start..end]` to the front of `out` with every second quote left out, and returns how many bytes that
/// makes.
///
/// Panics where the range is not in the block, or `out` has no room for it and [`SLACK`] more.
pub fn undouble(backend: Backend, block: &[u8], (start, end): (usize, usize), quote: u8, out: &mut [u8]) -> usize {
    assert!(start <= end && end <= block.len() && out.len() >= end - start + SLACK, "no room for a text");
    let (text, behind) = (&block[start..end], &block[start..]);
    match backend {
        // SAFETY: the processor was asked for all that is enabled there.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 if backend.is_available() => unsafe { avx512(text, behind, quote, out) },
        // SAFETY: the processor was asked for AVX2, BMI1, POPCNT and PCLMULQDQ.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 if backend.is_available() => unsafe { avx2(text, behind, quote, out) },
        // SAFETY: the processor was asked for POPCNT and PCLMULQDQ.
        #[cfg(target_arch = "x86_64")]
        Backend::Sse2 if backend.is_available() => unsafe { sse2(text, behind, quote, out) },
        // SAFETY: every processor of this architecture has NEON; there is room.
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => unsafe { run::<Neon>(text, behind, quote, out) },
        // SAFETY: plain code; there is room.
        _ => unsafe { run::<Scalar>(text, behind, quote, out) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
fn avx512(text: &[u8], behind: &[u8], quote: u8, out: &mut [u8]) -> usize {
    // SAFETY: this function has the backend's instructions; `undouble` looked for room.
    unsafe { run::<Avx512>(text, behind, quote, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
fn avx2(text: &[u8], behind: &[u8], quote: u8, out: &mut [u8]) -> usize {
    // SAFETY: this function has the backend's instructions; `undouble` looked for room.
    unsafe { run::<Avx2>(text, behind, quote, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt,pclmulqdq")]
fn sse2(text: &[u8], behind: &[u8], quote: u8, out: &mut [u8]) -> usize {
    // SAFETY: this function has the backend's instructions; `undouble` looked for room.
    unsafe { run::<Sse2>(text, behind, quote, out) }
}

/// `behind`: the text and what follows it in its block.
///
/// # Safety
/// The processor has the backend's instructions, and `out` has room for the text and [`SLACK`] more.
#[inline(always)]
unsafe fn run<L: Lanes>(text: &[u8], behind: &[u8], quote: u8, out: &mut [u8]) -> usize {
    let (mut written, mut odd) = (0, 0_u64);
    for at in (0..text.len()).step_by(64) {
        let mut padded = [0; 64];
        let rest = &behind[at..];
        let chunk = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        let present = u64::MAX >> (64 - (text.len() - at).min(64));
        // SAFETY: the caller has the backend's instructions.
        let quotes = unsafe { L::equal(chunk, [quote; 4]) }[0] & present;
        // SAFETY: the caller has the backend's instructions.
        let parity = unsafe { L::prefix_xor(quotes) } ^ odd;
        odd = (parity.cast_signed() >> 63).cast_unsigned();
        let kept = present & !(quotes & !parity);
        // SAFETY: the caller has the backend's instructions; no more was written than the text has before `at`.
        unsafe { L::compress(out.as_mut_ptr().add(written), chunk, kept) };
        written += kept.count_ones() as usize;
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_backend_leaves_out_every_second_quote(
            before in "[a\"]{0,9}", text in "(a|é|\"|\"\"|aaaaaaaaa){0,60}", after in "[a\"]{0,80}",
        ) {
            let block = format!("{before}{text}{after}");
            let mut quotes = 0;
            let wanted: Vec<u8> = text
                .bytes()
                .filter(|byte| {
                    quotes += usize::from(*byte == b'"');
                    *byte != b'"' || quotes % 2 == 1
                })
                .collect();
            for backend in Backend::available() {
                let mut out = vec![7; text.len() + SLACK];
                let range = (before.len(), before.len() + text.len());
                let written = undouble(backend, block.as_bytes(), range, b'"', &mut out);
                prop_assert_eq!(&out[..written], &wanted, "{:?}", backend);
            }
        }
    }
}
