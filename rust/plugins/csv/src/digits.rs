//! Eight characters at a time as one number: digits to values in a handful of instructions.

use crate::span::Span;

const ZEROS: u64 = 0x3030_3030_3030_3030;
const DOTS: u64 = 0x2E2E_2E2E_2E2E_2E2E;

/// The last eight characters, all there are of a shorter text, as bytes of one number, the first the lowest, with `0`
/// characters before them.
#[inline(always)]
pub fn eight(text: Span) -> u64 {
    let Some(bytes) = text.last_eight() else { return few(text.text()) };
    let before = 8 * (8 - text.len().min(8)) as u32;
    let own = u64::MAX.checked_shl(before).unwrap_or(0);
    u64::from_le_bytes(*bytes) & own | ZEROS & !own
}

/// Characters at the beginning of a block, with nothing before them that could be loaded.
fn few(text: &[u8]) -> u64 {
    text.iter().fold(ZEROS, |word, byte| word >> 8 | u64::from(*byte) << 56)
}

/// The number that eight digits stand for; `None` where one of them is no digit.
#[inline(always)]
pub fn number(eight: u64) -> Option<u64> {
    let high = 0xF0F0_F0F0_F0F0_F0F0;
    let all_digits = (eight & high) | (eight.wrapping_add(0x0606_0606_0606_0606) & high) >> 4;
    if all_digits != 0x3333_3333_3333_3333 {
        return None;
    }
    let ones = eight & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = ones.wrapping_mul(1 + (10 << 8)) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(1 + (100 << 16)) >> 16 & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(1 + (10_000 << 32)) >> 32)
}

/// Eight characters without the one dot among them, and how many digits stand behind it; `None` where there is no dot.
#[inline(always)]
pub fn without_dot(eight: u64) -> Option<(u64, usize)> {
    let zeros = eight ^ DOTS;
    let dots = zeros.wrapping_sub(0x0101_0101_0101_0101) & !zeros & 0x8080_8080_8080_8080;
    if dots == 0 {
        return None;
    }
    let at = dots.trailing_zeros() / 8;
    let before = eight & ((1 << (8 * at)) - 1);
    // In two steps: of a dot at the end nothing is left behind it.
    let behind = eight & (u64::MAX << (8 * at)) << 8;
    Some((behind | before << 8 | 0x30, 7 - at as usize))
}

/// Year and month of `YYYY-MM-`.
#[inline(always)]
pub fn year_and_month(text: [u8; 8]) -> Option<(u32, u32)> {
    let digits = layout(text, *b"0000-00-")?;
    let of = |at: u32| (digits >> (8 * at)) as u32 & 15;
    Some((of(0) * 1000 + of(1) * 100 + of(2) * 10 + of(3), of(5) * 10 + of(6)))
}

/// Hour, minute and second of `HH:MM:SS`, not looked at further.
#[inline(always)]
pub fn clock(text: [u8; 8]) -> Option<(u32, u32, u32)> {
    let digits = layout(text, *b"00:00:00")?;
    let two = |at: u32| ((digits >> (8 * at)) as u32 & 15) * 10 + ((digits >> (8 * at + 8)) as u32 & 15);
    Some((two(0), two(3), two(6)))
}

/// The digits of a text that has digits where the picture has zeros, and is equal to it elsewhere.
#[inline(always)]
fn layout(text: [u8; 8], picture: [u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(picture);
    let free = u64::from_le_bytes(picture.map(|byte| if byte == b'0' { 0x0F } else { 0 }));
    let six = u64::from_le_bytes(picture.map(|byte| if byte == b'0' { 6 } else { 0 }));
    // First that nothing but digit's bits differ, so that adding six carries into no other byte.
    let fits = digits & !free == 0 && digits.wrapping_add(six) & !free == 0;
    fits.then_some(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn up_to_eight_characters_are_read_as_the_standard_parser_does(text in "[0-9]{1,8}|[0-9a:/ .]{1,8}") {
            prop_assert_eq!(number(eight(text.as_bytes().into())), text.parse().ok());
        }

        #[test]
        fn what_stands_around_a_text_does_not_matter(before in "[0-9a,]{0,9}", text in "[0-9]{0,8}", after in "[0-9a,]{0,9}") {
            let block = format!("{before}{text}{after}");
            let span = Span::new(block.as_bytes(), before.len(), before.len() + text.len());
            prop_assert_eq!(eight(span), eight(text.as_bytes().into()));
        }

        #[test]
        fn a_dot_is_taken_out(before in "[0-9]{0,7}", after in "[0-9]{0,7}") {
            prop_assume!(before.len() + after.len() < 8);
            let text = format!("{before}.{after}");
            let (rest, behind) = without_dot(eight(text.as_bytes().into())).expect("a dot");
            prop_assert_eq!(behind, after.len());
            prop_assert_eq!(number(rest), Some(format!("0{before}{after}").parse().expect("digits")));
        }

        #[test]
        fn clocks_have_digits_and_colons_in_their_places(text in "[0-9:/-]{8}|[0-9]{2}:[0-9]{2}:[0-9]{2}") {
            let found = clock(text.as_bytes().try_into().expect("8 bytes"));
            let part = |at: usize| text.get(at..at + 2).filter(|part| !part.contains('-')).and_then(|part| part.parse().ok());
            let colons = text.as_bytes()[2] == b':' && text.as_bytes()[5] == b':';
            let wanted = (|| Some((part(0)?, part(3)?, part(6)?)))().filter(|_| colons);
            prop_assert_eq!(found, wanted);
        }
    }
}
