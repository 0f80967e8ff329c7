//! Where two pieces of text are the same.

/// A bit for every byte that is the same in both, the first byte's the lowest.
#[inline(always)]
pub fn equal(one: &[u8; 32], other: &[u8; 32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;

        // SAFETY: every x86-64 processor has SSE2; the four loads are within their 32 bytes and need no alignment.
        unsafe {
            let half = |at: usize| {
                let left = _mm_loadu_si128(one.as_ptr().add(at).cast());
                let right = _mm_loadu_si128(other.as_ptr().add(at).cast());
                _mm_movemask_epi8(_mm_cmpeq_epi8(left, right)).cast_unsigned()
            };
            half(0) | half(16) << 16
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::aarch64::*;

        // SAFETY: every aarch64 processor has NEON; the loads are of the 32 bytes.
        unsafe {
            let (left, right) = (vld1q_u8_x2(one.as_ptr()), vld1q_u8_x2(other.as_ptr()));
            let weights = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            let low = vandq_u8(vceqq_u8(left.0, right.0), weights);
            let high = vandq_u8(vceqq_u8(left.1, right.1), weights);
            let pairs = vpaddq_u8(low, high);
            let fours = vpaddq_u8(pairs, pairs);
            vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vpaddq_u8(fours, fours)))
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    plain(one, other)
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn plain(one: &[u8; 32], other: &[u8; 32]) -> u32 {
    one.iter().zip(other).rev().fold(0, |bits, (left, right)| bits << 1 | u32::from(left == right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_byte_by_byte(one in prop::array::uniform32(0u8..3), other in prop::array::uniform32(0u8..3)) {
            prop_assert_eq!(equal(&one, &other), plain(&one, &other));
        }
    }
}
