//! 64 bytes at once: which of them equal a byte, and where an odd number of bits came before.

/// Instructions to do it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// 64 bytes an instruction, carry-less multiplication, compression of bytes by a mask.
    Avx512,
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
    const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse2, Self::Neon, Self::Scalar];

    /// Whether this processor can do it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512vbmi2")
                    && std::is_x86_feature_detected!("bmi2")
                    && std::is_x86_feature_detected!("lzcnt")
            }
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
            Self::Avx512 | Self::Avx2 | Self::Sse2 => false,
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

    /// Writes the places of the bits that are set, counted from `base`. Values behind the last of them mean nothing.
    ///
    /// # Safety
    /// The processor must have the backend's instructions, and 64 values must fit at `out`.
    #[inline(always)]
    unsafe fn places(out: *mut u32, base: u32, mut bits: u64) {
        let found = bits.count_ones() as usize;
        // Eight at a time: a loop of as many rounds as there are bits is mispredicted nearly every time.
        let mut at = 0;
        while at < found {
            for step in 0..8 {
                // SAFETY: at most 64 places, for which the caller has room.
                unsafe { out.add(at + step).write(base.wrapping_add(bits.trailing_zeros())) };
                bits &= bits.wrapping_sub(1);
            }
            at += 8;
        }
    }

    /// Writes the bytes that have their bit set, one behind the other. Bytes behind the last of them mean nothing.
    ///
    /// # Safety
    /// The processor must have the backend's instructions, and 64 bytes must fit at `out`.
    #[inline(always)]
    unsafe fn compress(out: *mut u8, bytes: &[u8; 64], mut bits: u64) {
        let mut written = 0;
        while bits != 0 {
            let from = bits.trailing_zeros();
            let run = (!(bits >> from)).trailing_zeros();
            // SAFETY: a run of the 64 bytes, behind at most as many as came before it.
            unsafe { out.add(written).copy_from_nonoverlapping(bytes.as_ptr().add(from as usize), run as usize) };
            written += run as usize;
            bits &= u64::MAX.checked_shl(from + run).unwrap_or(0);
        }
    }
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

    pub(crate) struct Avx512;

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn equal_512(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
        // SAFETY: the load is of the 64 bytes and needs no alignment.
        let lane = unsafe { _mm512_loadu_epi8(bytes.as_ptr().cast()) };
        let [a, b, c, d] = needles.map(u8::cast_signed);
        [
            _mm512_cmpeq_epi8_mask(lane, _mm512_set1_epi8(a)),
            _mm512_cmpeq_epi8_mask(lane, _mm512_set1_epi8(b)),
            _mm512_cmpeq_epi8_mask(lane, _mm512_set1_epi8(c)),
            _mm512_cmpeq_epi8_mask(lane, _mm512_set1_epi8(d)),
        ]
    }

    const COUNTING: [u8; 64] = {
        let mut out = [0; 64];
        let mut at = 0;
        while at < 64 {
            out[at] = at as u8;
            at += 1;
        }
        out
    };

    /// # Safety
    /// 64 values must fit at `out`.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vbmi2,popcnt")]
    unsafe fn places_512(out: *mut u32, base: u32, bits: u64) {
        // SAFETY: the load is of the 64 bytes and needs no alignment.
        let counting = unsafe { _mm512_loadu_epi8(COUNTING.as_ptr().cast()) };
        let places = _mm512_maskz_compress_epi8(bits, counting);
        let base = _mm512_set1_epi32(base.cast_signed());
        // SAFETY: the caller has room for the sixteen values of each of the four parts.
        let put = |part: usize, sixteen: __m128i| unsafe {
            _mm512_storeu_epi32(out.add(part * 16).cast(), _mm512_add_epi32(_mm512_cvtepu8_epi32(sixteen), base));
        };
        put(0, _mm512_castsi512_si128(places));
        let found = bits.count_ones();
        if found > 16 {
            put(1, _mm512_extracti32x4_epi32::<1>(places));
            if found > 32 {
                put(2, _mm512_extracti32x4_epi32::<2>(places));
                put(3, _mm512_extracti32x4_epi32::<3>(places));
            }
        }
    }

    /// # Safety
    /// 64 bytes must fit at `out`.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vbmi2")]
    unsafe fn compress_512(out: *mut u8, bytes: &[u8; 64], bits: u64) {
        // SAFETY: the load is of the 64 bytes, the caller has room for the store; neither needs alignment.
        unsafe {
            let lane = _mm512_loadu_epi8(bytes.as_ptr().cast());
            _mm512_storeu_epi8(out.cast(), _mm512_maskz_compress_epi8(bits, lane));
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn equal(bytes: &[u8; 64], needles: [u8; 4]) -> [u64; 4] {
            // SAFETY: the caller has the instructions.
            unsafe { equal_512(bytes, needles) }
        }

        #[inline(always)]
        unsafe fn prefix_xor(bits: u64) -> u64 {
            // SAFETY: the caller has carry-less multiplication.
            unsafe { carryless(bits) }
        }

        #[inline(always)]
        unsafe fn places(out: *mut u32, base: u32, bits: u64) {
            // SAFETY: the caller has the instructions, and room.
            unsafe { places_512(out, base, bits) }
        }

        #[inline(always)]
        unsafe fn compress(out: *mut u8, bytes: &[u8; 64], bits: u64) {
            // SAFETY: the caller has the instructions, and room.
            unsafe { compress_512(out, bytes, bits) }
        }
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
