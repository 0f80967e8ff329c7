//! The grammar of values: what text is an integer, a float, a decimal. Nothing here loses a digit in silence.

use crate::digits::{eight, number, without_dot};
use crate::span::Span;

/// An integer: `-?(0|[1-9][0-9]*)`, as sign and magnitude; at most `max_digits` digits and 64 bits.
#[inline(always)]
pub fn integer<'a>(text: impl Into<Span<'a>>, max_digits: usize) -> Option<(bool, u64)> {
    let (negative, digits) = unsigned(text.into());
    let count = digits.len();
    if count.wrapping_sub(1) >= max_digits.min(20) || (count > 1 && digits.starts_with(b'0')) {
        return None;
    }
    if count <= 8 {
        return Some((negative, number(eight(digits))?));
    }
    if count <= 16 {
        return Some((negative, number(eight(digits.cut(8)))? * 100_000_000 + number(eight(digits))?));
    }
    Some((negative, long_integer(digits.text())?))
}

/// Whether there is a minus, and what follows it.
#[inline(always)]
fn unsigned(text: Span) -> (bool, Span) {
    let negative = text.starts_with(b'-');
    (negative, text.skip(usize::from(negative)))
}

#[cold]
fn long_integer(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A signed integer of up to 64 bits.
#[inline(always)]
pub fn signed<'a>(text: impl Into<Span<'a>>, max_digits: usize) -> Option<i64> {
    match integer(text, max_digits)? {
        (false, value) => i64::try_from(value).ok(),
        (true, value) => 0_i64.checked_sub_unsigned(value),
    }
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
const EXACT_MANTISSA: u64 = 1 << 53;
/// Digits that a `u64` holds, whichever they are.
const MANTISSA_DIGITS: usize = 19;

/// Significant digits that a float64 keeps apart; zeros before and behind them are none.
pub const DOUBLE_DIGITS: usize = 17;
/// Significant digits that a float32 keeps apart.
const SINGLE_DIGITS: usize = 9;

/// A float: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?` with at most `max_digits` significant digits and a
/// magnitude that float64 has, or `nan`, `inf`, `infinity` in any case.
#[inline(always)]
pub fn float<'a>(text: impl Into<Span<'a>>, max_digits: usize) -> Option<f64> {
    let text = text.into();
    let (negative, body) = unsigned(text);
    if let Some(value) = short_float(body, max_digits) {
        return Some(if negative { -value } else { value });
    }
    any_float(text.text(), negative, body.text(), max_digits)
}

#[inline(never)]
fn any_float(text: &[u8], negative: bool, body: &[u8], max_digits: usize) -> Option<f64> {
    let mut mantissa = 0_u64;
    // From the first that is no zero: all digits, and those up to the last that is no zero.
    let (mut digits, mut significant) = (0_usize, 0_usize);
    let mut fraction = 0_usize;
    let mut at = 0;
    while let Some(digit) = body.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        digits += usize::from(digits > 0 || digit > 0);
        if digit > 0 {
            significant = digits;
        }
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    if at == 0 {
        return special(negative, body);
    }
    if body[0] == b'0' && at > 1 {
        return None;
    }
    if body.get(at) == Some(&b'.') {
        at += 1;
        let first = at;
        while let Some(digit) = body.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            digits += usize::from(digits > 0 || digit > 0);
            if digit > 0 {
                significant = digits;
            }
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        fraction = at - first;
        if fraction == 0 {
            return None;
        }
    }
    if significant > max_digits {
        return None;
    }
    if at == body.len() && digits <= MANTISSA_DIGITS && mantissa <= EXACT_MANTISSA && fraction < POWERS.len() {
        let value = mantissa as f64 / POWERS[fraction];
        return Some(if negative { -value } else { value });
    }
    if at < body.len() {
        let exponent = body[at..].strip_prefix(b"e").or_else(|| body[at..].strip_prefix(b"E"))?;
        let digits = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    let value: f64 = fast_float2::parse(text).ok()?;
    let lost = value.is_infinite() || (value == 0.0 && significant > 0);
    (!lost).then_some(value)
}

/// Whether a column may be floats on the strength of this text: one, but no digits alone that are too many for an
/// integer, for those are identifiers, be they zeros at the end.
pub fn suggests_float(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let identifies = digits.len() > DOUBLE_DIGITS && digits.iter().all(u8::is_ascii_digit);
    !identifies && float(text, DOUBLE_DIGITS).is_some()
}

/// A float32, by the same grammar: at most nine significant digits and a magnitude that float32 has.
pub fn single<'a>(text: impl Into<Span<'a>>) -> Option<f32> {
    let text = text.into();
    let wide = float(text, SINGLE_DIGITS)?;
    // Not by way of the float64, which would round twice: "437236101e-43".
    let narrow: f32 = fast_float2::parse(text.text()).ok()?;
    let lost = (narrow.is_infinite() && wide.is_finite()) || (narrow == 0.0 && wide != 0.0);
    (!lost).then_some(narrow)
}

/// A float of at most sixteen characters that has its dot, if any, among the last eight; `None` leaves the rest of the
/// grammar to others.
#[inline(always)]
fn short_float(body: Span, max_digits: usize) -> Option<f64> {
    let length = body.len();
    if length > 16 || length == 0 {
        return None;
    }
    let last = eight(body);
    let (digits, whole, behind) = match without_dot(last) {
        None => (last, length, 0),
        Some((_, 0)) => return None,
        Some((digits, behind)) => (digits, length - 1 - behind, behind),
    };
    if whole == 0 || (whole > 1 && body.starts_with(b'0')) {
        return None;
    }
    let mut mantissa = number(digits)?;
    if length > 8 {
        if length > max_digits {
            return None;
        }
        // Fewer than 16 digits where there is a dot: below 2^53, and the power is exact as well.
        let unit = if behind == 0 { 100_000_000 } else { 10_000_000 };
        mantissa += number(eight(body.cut(8)))? * unit;
    }
    Some(mantissa.cast_signed() as f64 / POWERS[behind])
}

fn special(negative: bool, body: &[u8]) -> Option<f64> {
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    (!negative && body.eq_ignore_ascii_case(b"nan")).then_some(f64::NAN)
}

/// A decimal of a precision and scale: `-?(0|[1-9][0-9]*)(\.[0-9]+)?` of which only zeros may fall off.
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, body) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let point = memchr::memchr(b'.', body);
    let (whole, fraction) = match point {
        Some(at) if at + 1 < body.len() => (&body[..at], &body[at + 1..]),
        Some(_) => return None,
        None => (body, &body[..0]),
    };
    if whole.is_empty() || (whole[0] == b'0' && whole.len() > 1) {
        return None;
    }
    let (kept, dropped) = fraction.split_at(fraction.len().min(scale));
    if dropped.iter().any(|byte| *byte != b'0') {
        return None;
    }
    let mut value = 0_i128;
    for byte in whole.iter().chain(kept) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let padding = u32::try_from(scale - kept.len()).ok()?;
    value = value.checked_mul(10_i128.checked_pow(padding)?)?;
    let fits = value < 10_i128.checked_pow(u32::from(precision))?;
    fits.then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_keep_every_digit_or_are_none() {
        assert_eq!(signed(b"-12", 18), Some(-12));
        assert_eq!(signed(b"9223372036854775807", 20), Some(i64::MAX));
        assert_eq!(signed(b"-9223372036854775808", 20), Some(i64::MIN));
        assert_eq!(integer(b"18446744073709551615", 20), Some((false, u64::MAX)));
        for text in ["", "-", "007", "+1", " 1", "1 ", "1.0", "1234567890123456789", "--1", "0x1", "1e3"] {
            assert_eq!(signed(text.as_bytes(), 18), None, "{text:?}");
        }
        for text in ["9223372036854775808", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(signed(text.as_bytes(), 20), None, "{text:?}");
        }
    }

    #[test]
    fn floats_follow_the_grammar() {
        for (text, value) in
            [("0", 0.0), ("-1.50", -1.5), ("1e3", 1000.0), ("2.5E-3", 0.0025), ("-inf", f64::NEG_INFINITY)]
        {
            assert_eq!(float(text.as_bytes(), 17), Some(value), "{text}");
        }
        assert!(float(b"NaN", 17).is_some_and(f64::is_nan));
        assert_eq!(float(b"-0.0", 17).map(f64::to_bits), Some((-0.0_f64).to_bits()));
        for text in [
            "",
            ".5",
            "5.",
            "01.5",
            "+1",
            "1e",
            "1e+",
            "1e999",
            "1e-999",
            "0.123456789012345678",
            "1,5",
            "-nan",
            "1_0",
            "in",
        ] {
            assert_eq!(float(text.as_bytes(), 17), None, "{text:?}");
        }
    }

    #[test]
    fn decimals_drop_nothing_but_zeros() {
        assert_eq!(decimal(b"-12.3", 5, 2), Some(-1230));
        assert_eq!(decimal(b"1.500", 5, 2), Some(150));
        assert_eq!(decimal(b"999.99", 5, 2), Some(99_999));
        for text in ["1.005", "1000", "", "-", "1.", ".5", "00.5", "1e2"] {
            assert_eq!(decimal(text.as_bytes(), 5, 2), None, "{text:?}");
        }
    }

    #[test]
    fn a_float32_is_rounded_once_and_lost_in_no_silence() {
        for text in [
            "437236101e-43",
            "874472202e-43",
            "0.1",
            "-16777217",
            "3.40282347e38",
            "1e-45",
            "-0.0",
            "inf",
            "1000000000",
            "-12345678900000.000000000000",
            "0.50000000000",
        ] {
            let wanted: f32 = text.parse().expect("a float");
            assert_eq!(single(text.as_bytes()).map(f32::to_bits), Some(wanted.to_bits()), "{text}");
        }
        for text in ["1e39", "-3.5e38", "1e-60", "1.23456789012", "1000000001"] {
            assert_eq!(single(text.as_bytes()), None, "{text}");
        }
        assert!(single(b"NaN").is_some_and(f32::is_nan));
    }

    proptest! {
        #[test]
        fn every_float_that_rust_prints_reads_back_to_the_last_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = format!("{value:e}");
            prop_assert_eq!(float(text.as_bytes(), 17).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn zeros_at_the_end_take_no_digit_away(text in "-?[1-9][0-9]{0,16}", zeros in 0_usize..40) {
            for padded in [format!("{text}{:0<zeros$}", ""), format!("{text}.0{:0<zeros$}", "")] {
                let wanted: f64 = padded.parse().expect("a float");
                prop_assert_eq!(float(padded.as_bytes(), 17).map(f64::to_bits), Some(wanted.to_bits()), "{}", padded);
            }
        }

        #[test]
        fn short_decimals_equal_the_standard_parser(text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,7})?|[1-9][0-9]{0,15}") {
            let wanted: f64 = text.parse().expect("a float");
            prop_assert_eq!(float(text.as_bytes(), 17).map(f64::to_bits), Some(wanted.to_bits()));
        }
    }
}
