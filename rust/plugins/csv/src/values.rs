//! The grammar of values: what text is an integer, a float, a date. Nothing here loses a digit in silence.

use crate::digits::{clock, eight, number, without_dot, year_and_month};

/// An integer: `-?(0|[1-9][0-9]*)`, as sign and magnitude; at most `max_digits` digits and 64 bits.
#[inline(always)]
pub fn integer(text: &[u8], max_digits: usize) -> Option<(bool, u64)> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > max_digits.min(20) || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    if digits.len() <= 8 {
        return Some((negative, number(eight(digits))?));
    }
    if digits.len() <= 16 {
        let (first, last) = digits.split_at(digits.len() - 8);
        return Some((negative, number(eight(first))? * 100_000_000 + number(eight(last))?));
    }
    Some((negative, long_integer(digits)?))
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
pub fn signed(text: &[u8], max_digits: usize) -> Option<i64> {
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

/// Significant digits that a float64 keeps apart.
pub const DOUBLE_DIGITS: usize = 17;
/// Significant digits that a float32 keeps apart.
pub const SINGLE_DIGITS: usize = 9;

/// A float: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?` with at most `max_digits` significant digits and a
/// magnitude that float64 has, or `nan`, `inf`, `infinity` in any case.
#[inline(always)]
pub fn float(text: &[u8], max_digits: usize) -> Option<f64> {
    let (negative, body) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if let Some(value) = short_float(body) {
        return Some(if negative { -value } else { value });
    }
    any_float(text, negative, body, max_digits)
}

#[inline(never)]
fn any_float(text: &[u8], negative: bool, body: &[u8], max_digits: usize) -> Option<f64> {
    let mut mantissa = 0_u64;
    let mut significant = 0_usize;
    let mut fraction = 0_usize;
    let mut at = 0;
    while let Some(digit) = body.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        significant += usize::from(significant > 0 || digit > 0);
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
            significant += usize::from(significant > 0 || digit > 0);
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
    if at == body.len() && mantissa <= EXACT_MANTISSA && fraction < POWERS.len() {
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

/// A float of at most seven digits and a dot, or eight digits; `None` leaves the rest of the grammar to others.
#[inline(always)]
fn short_float(body: &[u8]) -> Option<f64> {
    if body.len() > 8 || body.is_empty() {
        return None;
    }
    let text = eight(body);
    let (digits, whole, behind) = match without_dot(text) {
        None => (text, body.len(), 0),
        Some((_, 0)) => return None,
        Some((digits, behind)) => (digits, body.len() - 1 - behind, behind),
    };
    let no_leading_zero = body[0] != b'0' || whole == 1;
    if whole == 0 || !no_leading_zero {
        return None;
    }
    Some(number(digits)? as f64 / POWERS[behind])
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

#[inline(always)]
fn two(text: [u8; 2]) -> Option<u32> {
    let (tens, ones) = (text[0].wrapping_sub(b'0'), text[1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

/// `YYYY-MM-DD`, a day that exists, as days since 1970-01-01.
#[inline(always)]
pub fn date(text: &[u8]) -> Option<i32> {
    let (begin, day) = text.split_first_chunk::<8>()?;
    let (year, month) = year_and_month(*begin)?;
    let day = two(day.try_into().ok()?)?;
    let within = day.wrapping_sub(1) < 28 && month.wrapping_sub(1) < 12 && year > 0;
    if !within && !is_last_of_month(year, month, day) {
        return None;
    }
    // Years that begin in March put the leap day last.
    let years = year - u32::from(month <= 2);
    let days = years * 365 + years / 4 - years / 100 + years / 400 + DAYS_SINCE_MARCH[month as usize & 15] + day;
    Some(days as i32 - 719_469)
}

/// Whether this is one of the days that not every month has.
fn is_last_of_month(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = DAYS_IN_MONTH[month as usize & 15] + u32::from(leap && month == 2);
    month <= 12 && year > 0 && (29..=days_in_month).contains(&day)
}

// By month; tables, because what month comes next cannot be foreseen.
const DAYS_IN_MONTH: [u32; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
const DAYS_SINCE_MARCH: [u32; 16] = [0, 306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 0, 0, 0];

/// A time of day in nanoseconds and how many digits its fraction has: `HH:MM:SS(.f{1,9})?`.
#[inline]
pub fn time(text: &[u8]) -> Option<(i64, usize)> {
    let (begin, rest) = text.split_first_chunk::<8>()?;
    let (hour, minute, second) = clock(*begin)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    let Some(fraction) = rest.strip_prefix(b".") else {
        return rest.is_empty().then_some((seconds * 1_000_000_000, 0));
    };
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let mut nanos = 0_i64;
    for index in 0..9 {
        let digit = fraction.get(index).map_or(0, |byte| byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        nanos = nanos * 10 + i64::from(digit);
    }
    Some((seconds * 1_000_000_000 + nanos, fraction.len()))
}

/// A point in time as text says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Seconds since 1970-01-01T00:00:00, in UTC where a zone is given.
    pub seconds: i64,
    /// Nanoseconds after that.
    pub nanos: i64,
    /// Digits of the fraction.
    pub digits: usize,
    /// Whether a zone is given.
    pub zoned: bool,
}

impl Instant {
    /// This instant in units of `per_second`, `None` where that loses a digit or does not fit.
    pub fn in_units(self, per_second: i64) -> Option<i64> {
        let nanos_per_unit = 1_000_000_000 / per_second;
        if self.nanos % nanos_per_unit != 0 {
            return None;
        }
        let value = i128::from(self.seconds) * i128::from(per_second) + i128::from(self.nanos / nanos_per_unit);
        i64::try_from(value).ok()
    }
}

/// `YYYY-MM-DD[T ]HH:MM:SS` and nothing else, as seconds since 1970-01-01T00:00:00: most instants there are.
#[inline(always)]
pub fn whole_seconds(text: &[u8]) -> Option<i64> {
    let text: &[u8; 19] = text.try_into().ok()?;
    let (day, rest) = text.split_at(10);
    let (separator, rest) = rest.split_first()?;
    let (hour, minute, second) = clock(rest.try_into().ok()?)?;
    let days = date(day)?;
    let fits = matches!(separator, b' ' | b'T') && hour < 24 && minute < 60 && second < 60;
    fits.then_some(i64::from(days) * 86_400 + i64::from(hour * 3600 + minute * 60 + second))
}

/// `YYYY-MM-DD[T ]HH:MM:SS(.f{1,9})?(Z|[+-]HH:?MM)?`.
#[inline]
pub fn instant(text: &[u8]) -> Option<Instant> {
    if text.len() < 19 || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    let days = date(&text[..10])?;
    let (clock, offset) = if text.len() == 19 { (&text[11..], None) } else { zoned(text)? };
    let (nanos_of_day, digits) = time(clock)?;
    Some(Instant {
        seconds: i64::from(days) * 86_400 + nanos_of_day / 1_000_000_000 - offset.unwrap_or(0),
        nanos: nanos_of_day % 1_000_000_000,
        digits,
        zoned: offset.is_some(),
    })
}

/// The clock of an instant, and the seconds of its zone where it has one.
fn zoned(text: &[u8]) -> Option<(&[u8], Option<i64>)> {
    Some(match memchr::memchr3(b'Z', b'+', b'-', &text[19..]).map(|at| at + 19) {
        None => (&text[11..], None),
        Some(at) => (&text[11..at], Some(zone(&text[at..])?)),
    })
}

/// Seconds east of Greenwich.
fn zone(text: &[u8]) -> Option<i64> {
    let (hours, minutes) = match text.len() {
        1 => return (text[0] == b'Z').then_some(0),
        5 => (two([text[1], text[2]])?, two([text[3], text[4]])?),
        6 if text[3] == b':' => (two([text[1], text[2]])?, two([text[4], text[5]])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || text[0] == b'Z' {
        return None;
    }
    let seconds = i64::from(hours * 3600 + minutes * 60);
    Some(if text[0] == b'-' { -seconds } else { seconds })
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
    fn dates_exist_in_the_calendar() {
        assert_eq!(date(b"1970-01-01"), Some(0));
        assert_eq!(date(b"2000-02-29"), Some(11_016));
        assert_eq!(date(b"0001-01-01"), Some(-719_162));
        for text in ["1900-02-29", "2023-13-01", "2023-00-10", "2023-04-31", "0000-01-01", "2023-1-01", "2023/01/01"] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_seconds_are_instants_without_more(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9]|[0-9TZ: +-]{18,20}",
        ) {
            let wanted = instant(text.as_bytes()).filter(|_| text.len() == 19).and_then(|found| found.in_units(1));
            prop_assert_eq!(whole_seconds(text.as_bytes()), wanted);
        }
    }

    #[test]
    fn instants_carry_fraction_and_zone() {
        let plain = instant(b"1970-01-02 00:00:01.5").expect("an instant");
        assert_eq!((plain.in_units(1000), plain.zoned, plain.digits), (Some(86_401_500), false, 1));
        assert_eq!(plain.in_units(1), None);
        let zoned = instant(b"1970-01-01T02:00:00+02:00").expect("an instant");
        assert_eq!((zoned.in_units(1), zoned.zoned), (Some(0), true));
        assert_eq!(instant(b"1970-01-01T00:00:00-0130").and_then(|i| i.in_units(1)), Some(5400));
        for text in [
            "2020-01-01",
            "2020-01-01 24:00:00",
            "2020-01-01 00:00:00.",
            "2020-01-01 00:00:00 UTC",
            "2020-01-01 00:00:00Zx",
        ] {
            assert_eq!(instant(text.as_bytes()), None, "{text}");
        }
        assert_eq!(instant(b"9999-01-01 00:00:00").expect("an instant").in_units(1_000_000_000), None);
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
        fn short_decimals_equal_the_standard_parser(text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,7})?") {
            let wanted: f64 = text.parse().expect("a float");
            prop_assert_eq!(float(text.as_bytes(), 17).map(f64::to_bits), Some(wanted.to_bits()));
        }
    }
}
