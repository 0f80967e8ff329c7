//! 64 bytes at once: which of them equal a byte, and where an odd number of bits came before.

/// Instructions to do it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// 32 bytes an instruction, carry-less multiplication.
    Avx2,
    /// 16 bytes an instruction, carry-less multiplication.
    Sse2,
    /// 16 bytes an instruction.
    Neon,
    /// What every processor has.
    Scalar,
}

impl Backend {
    const ALL: [Self; 4] = [Self::Avx2, Self::Sse2, Self::Neon, Self::Scalar];

    /// Whether this processor can do it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                Self::Sse2.is_available()
                    && std::is_x86_feature_detected!("avx2")
                    && std::is_x86_feature_detected!("bmi1")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => std::is_x86_feature_detected!("pclmulqdq") && std::is_x86_feature_detected!("popcnt"),
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Scalar => true,
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Sse2 => false,
        }
    }

    /// All that this processor can do, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|backend| backend.is_available())
    }

    /// The best that this processor can do.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Backend> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available().next().unwrap_or(Self::Scalar))
    }
}

/// The instructions of one backend.
pub(crate) trait Lanes {
    /// For each needle a bit for every byte that equals it.
    ///
    /// # Safety
    /// The processor must have the backend's instructions.
    unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4];

    /// Each bit as the parity of the bits up to it and with it.
    ///
    /// # Safety
    /// The processor must have the backend's instructions.
    unsafe fn prefix_xor(bits: u64) -> u64;
}

pub(crate) struct Scalar;

impl Lanes for Scalar {
    unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
        needles.map(|needle| {
            let mut mask = 0;
            for (eight, chunk) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let hits = chunk.map(|byte| u8::from(byte == needle));
                // Gathers the lowest bit of each of the eight bytes.
                mask |= (u64::from_le_bytes(hits).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (eight * 8);
            }
            mask
        })
    }

    unsafe fn prefix_xor(bits: u64) -> u64 {
        let mut out = bits;
        for shift in [1, 2, 4, 8, 16, 32] {
            out ^= out << shift;
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn carryless(bits: u64) -> u64 {
        let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn hits(low: __m256i, high: __m256i, needle: u8) -> u64 {
        let needle = _mm256_set1_epi8(needle.cast_signed());
        let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, needle)).cast_unsigned();
        let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, needle)).cast_unsigned();
        u64::from(low) | u64::from(high) << 32
    }

    pub(crate) struct Avx2;

    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
            // No closures here: they would be compiled for a processor without AVX2, and not inlined.
            // SAFETY: the caller has AVX2; both loads are within the 64 bytes and need no alignment.
            unsafe {
                let low = _mm256_loadu_si256(bytes.as_ptr().cast());
                let high = _mm256_loadu_si256(bytes.as_ptr().add(32).cast());
                let [a, b, c, d] = needles;
                [hits(low, high, a), hits(low, high, b), hits(low, high, c), hits(low, high, d)]
            }
        }

        #[inline(always)]
        unsafe fn prefix_xor(bits: u64) -> u64 {
            // SAFETY: the caller has carry-less multiplication.
            unsafe { carryless(bits) }
        }
    }

    pub(crate) struct Sse2;

    impl Lanes for Sse2 {
        #[inline(always)]
        unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
            let mut out = [0; 4];
            for (part, sixteen) in bytes.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: every x86-64 processor has SSE2; the load is of 16 bytes and needs no alignment.
                unsafe {
                    let lane = _mm_loadu_si128(sixteen.as_ptr().cast());
                    for (mask, needle) in out.iter_mut().zip(needles) {
                        let hits = _mm_cmpeq_epi8(lane, _mm_set1_epi8(needle.cast_signed()));
                        *mask |= u64::from(_mm_movemask_epi8(hits).cast_unsigned()) << (part * 16);
                    }
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn prefix_xor(bits: u64) -> u64 {
            // SAFETY: the caller has carry-less multiplication.
            unsafe { carryless(bits) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm {
    use std::arch::aarch64::*;

    use super::{Lanes, Scalar};

    pub(crate) struct Neon;

    impl Lanes for Neon {
        #[inline(always)]
        unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
            // SAFETY: every aarch64 processor has NEON; the four loads are within the 64 bytes.
            unsafe {
                let lanes = vld1q_u8_x4(bytes.as_ptr());
                let weights = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
                needles.map(|needle| {
                    let needle = vdupq_n_u8(needle);
                    let bits = |lane| vandq_u8(vceqq_u8(lane, needle), weights);
                    let low = vpaddq_u8(bits(lanes.0), bits(lanes.1));
                    let high = vpaddq_u8(bits(lanes.2), bits(lanes.3));
                    let both = vpaddq_u8(low, high);
                    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(both, both)))
                })
            }
        }

        #[inline(always)]
        unsafe fn prefix_xor(bits: u64) -> u64 {
            // SAFETY: plain code.
            unsafe { Scalar::prefix_xor(bits) }
        }
    }
}
