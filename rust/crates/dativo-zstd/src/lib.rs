//! Zstandard frames of matches that were found elsewhere: who knows how the data is built finds them sooner.
//!
//! `unsafe` code stands here because libzstd's function for it has no safe wrapper in the `zstd` crate.

use std::ptr::NonNull;

use zstd::zstd_safe::zstd_sys as sys;

/// Bytes of data that a block holds at most.
pub const BLOCK: usize = 128 << 10;

/// Bytes that have to follow the literals in their buffer.
pub const SLACK: usize = 8;

/// The shortest match that a frame can tell.
pub const SHORTEST: usize = 3;

/// What a frame begins with takes at most this; libzstd does not look whether it fits.
const HEADER: usize = 18;

/// What libzstd keeps two bytes for; one step of a block may take more.
const LONGEST: u32 = u16::MAX as u32;

/// So many literals, then a copy of `matched` bytes from `distance` bytes before. A step without a match ends its block.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Step(sys::ZSTD_Sequence);

impl Step {
    /// A match and the literals before it.
    #[inline]
    pub fn new(literals: usize, matched: usize, distance: usize) -> Self {
        let [lit, matched, offset] = [literals, matched, distance].map(|number| number as u32);
        Self(sys::ZSTD_Sequence { offset, litLength: lit, matchLength: matched, rep: 0 })
    }

    /// The end of a block, behind its last literals.
    #[inline]
    pub fn end(literals: usize) -> Self {
        Self::new(literals, 0, 0)
    }

    fn is_end(self) -> bool {
        self.0.matchLength == 0 && self.0.offset == 0
    }
}

/// Makes frames, and keeps its tables between them.
pub struct Frames(NonNull<sys::ZSTD_CCtx>);

// SAFETY: libzstd's contexts belong to no thread; this one has one owner, and is used through `&mut` alone.
unsafe impl Send for Frames {}

impl Frames {
    /// level: zstd's own, 1 or more; it says how thoroughly what is left of the data is coded. Raises a text.
    pub fn new(level: i32) -> Result<Self, &'static str> {
        // SAFETY: takes nothing; null where there is no memory.
        let made = Self(NonNull::new(unsafe { sys::ZSTD_createCCtx() }).ok_or("no memory for a zstd context")?);
        for (parameter, value) in [
            (sys::ZSTD_cParameter::ZSTD_c_compressionLevel, level),
            (sys::ZSTD_cParameter::ZSTD_c_minMatch, SHORTEST as i32),
            // Steps end their blocks themselves.
            (
                sys::ZSTD_cParameter::ZSTD_c_experimentalParam11,
                sys::ZSTD_SequenceFormat_e::ZSTD_sf_explicitBlockDelimiters as i32,
            ),
            // A distance is not looked up among those before: 3 ns a step.
            (sys::ZSTD_cParameter::ZSTD_c_experimentalParam19, sys::ZSTD_ParamSwitch_e::ZSTD_ps_disable as i32),
        ] {
            // SAFETY: the context is there; parameters are checked by libzstd.
            check(unsafe { sys::ZSTD_CCtx_setParameter(made.0.as_ptr(), parameter, value) })?;
        }
        Ok(made)
    }

    /// Compresses `bytes` bytes of data, told as steps and as the literals between their matches, into `out`.
    ///
    /// literals: those of all steps, and [`SLACK`] bytes more. Returns the frame's length. Raises a text where the steps
    /// make no frame, `out` is too small, or a block would not get smaller. That every distance leads to data is for the
    /// caller to know: a frame with a wrong one can be made, but not read.
    pub fn compress(
        &mut self,
        steps: &[Step],
        literals: &[u8],
        bytes: usize,
        out: &mut [u8],
    ) -> Result<usize, &'static str> {
        let used = used_literals(steps, bytes)?;
        if literals.len() < used + SLACK {
            return Err("fewer literals than the steps use");
        }
        if out.len() < HEADER {
            return Err("no room for a frame");
        }
        // SAFETY: `Step` is laid out as libzstd's struct; steps, literals and room are slices that outlive the call, and
        // were found to be what the function does not check: a frame's header fits, no match is too short, no second
        // length of a block takes more than two bytes, each block and their sum are as long as told, and the last step ends its block.
        check(unsafe {
            sys::ZSTD_compressSequencesAndLiterals(
                self.0.as_ptr(),
                out.as_mut_ptr().cast(),
                out.len(),
                steps.as_ptr().cast(),
                steps.len(),
                literals.as_ptr().cast(),
                used,
                literals.len(),
                bytes,
            )
        })
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { sys::ZSTD_freeCCtx(self.0.as_ptr()) };
    }
}

/// How many literals the steps of a frame of `bytes` bytes use.
fn used_literals(steps: &[Step], bytes: usize) -> Result<usize, &'static str> {
    let (mut used, mut sum) = (0, 0);
    for block in steps.split_inclusive(|step| step.is_end()) {
        let Some((end, matches)) = block.split_last() else { continue };
        let (mut long, mut shortest, mut nearest) = (0, LONGEST, LONGEST);
        let (mut literals, mut matched) = (u64::from(end.0.litLength), 0);
        for Step(step) in matches {
            long += u32::from(step.litLength > LONGEST) + u32::from(step.matchLength > LONGEST);
            shortest = shortest.min(step.matchLength);
            nearest = nearest.min(step.offset);
            literals += u64::from(step.litLength);
            matched += u64::from(step.matchLength);
        }
        if !end.is_end() {
            return Err("the last block has no end");
        }
        if shortest < SHORTEST as u32 || nearest == 0 {
            return Err("a match is too short or leads nowhere");
        }
        if long > 1 || literals + matched > BLOCK as u64 {
            return Err("a step or a block is too long");
        }
        used += literals as usize;
        sum += (literals + matched) as usize;
    }
    if sum == bytes && !steps.is_empty() { Ok(used) } else { Err("the steps are not as long as the data") }
}

fn check(code: usize) -> Result<usize, &'static str> {
    // SAFETY: both functions take any number; names are texts that live as long as the program.
    unsafe {
        if sys::ZSTD_isError(code) == 0 {
            return Ok(code);
        }
        std::ffi::CStr::from_ptr(sys::ZSTD_getErrorName(code)).to_str().or(Err("libzstd failed"))
    }
    .and_then(Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(steps: &[Step], literals: &[u8], bytes: usize) -> Result<Vec<u8>, &'static str> {
        let mut out = vec![0; bytes + 4096];
        let length = Frames::new(1)?.compress(steps, literals, bytes, &mut out)?;
        out.truncate(length);
        Ok(out)
    }

    #[test]
    fn a_frame_is_read_back() {
        let text = b"abcdefgh, abcdefgh, abcdefgh!".repeat(20);
        let mut literals = text[..30].to_vec();
        literals.extend([0; SLACK]);
        let steps = [Step::new(29, text.len() - 30, 29), Step::end(1)];
        literals[29] = b'!';
        let packed = frame(&steps, &literals, text.len()).expect("a frame");
        assert_eq!(zstd::bulk::decompress(&packed, text.len()).expect("a whole frame"), text);
    }

    #[test]
    fn steps_that_make_no_frame_are_refused() {
        let literals = vec![7; 300_000];
        for (steps, bytes) in [
            (vec![], 0),
            (vec![Step::new(10, 10, 5)], 20),
            (vec![Step::new(10, 2, 5), Step::end(0)], 12),
            (vec![Step::new(10, 10, 0), Step::end(0)], 20),
            (vec![Step::new(10, 10, 5), Step::end(0)], 21),
            (vec![Step::new(65_536, 65_536, 5), Step::end(0)], BLOCK),
            (vec![Step::end(BLOCK + 1)], BLOCK + 1),
            (vec![Step::new(usize::MAX, usize::MAX, 1), Step::end(0)], 20),
        ] {
            assert!(frame(&steps, &literals, bytes).is_err(), "{steps:?}");
        }
        assert!(frame(&[Step::new(10, 10, 5), Step::end(0)], &literals[..10], 20).is_err());
        assert!(Frames::new(1).expect("frames").compress(&[Step::end(100)], &literals, 100, &mut [0; 4]).is_err());
    }

    proptest! {
        #[test]
        fn any_steps_make_a_frame_or_an_error(
            steps in prop::collection::vec((0usize..70_000, 0usize..70_000, 0usize..40), 0..40), bytes in 0usize..300_000
        ) {
            let steps: Vec<Step> = steps.into_iter().map(|(lit, matched, distance)| Step::new(lit, matched, distance)).collect();
            let sum: usize = steps.iter().map(|step| (step.0.litLength + step.0.matchLength) as usize).sum();
            let literals = vec![7; 3_000_000];
            let _ = frame(&steps, &literals, bytes);
            let _ = frame(&steps, &literals, sum);
        }
    }
}
