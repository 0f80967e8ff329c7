//! The grammar of dates, times of day and points in time. Nothing here loses a digit in silence.

use crate::digits::{clock, year_and_month};

#[inline(always)]
fn two(text: [u8; 2]) -> Option<u32> {
    let (tens, ones) = (text[0].wrapping_sub(b'0'), text[1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

/// `YYYY-MM-DD`, a day that exists, as days since 1970-01-01.
#[inline(always)]
pub fn date(text: &[u8]) -> Option<i32> {
    let (begin, rest) = text.split_first_chunk::<8>()?;
    let (year, month) = year_and_month(*begin)?;
    day(year, month, two(rest.try_into().ok()?)?)
}

/// A day of the calendar as days since 1970-01-01.
#[inline(always)]
pub fn day(year: u32, month: u32, day: u32) -> Option<i32> {
    let near = year.wrapping_sub(NEAR.start);
    let (before, days) = if near < NEAR.end - NEAR.start && month < 16 {
        NEAR_MONTHS[(near * 16 + month) as usize]
    } else {
        any_month(year, month)?
    };
    (day.wrapping_sub(1) < u32::from(days)).then_some(before + day as i32)
}

/// The years of which every month is known beforehand.
const NEAR: std::ops::Range<u32> = 1900..2156;
/// Of each of their months, sixteen a year, what [`any_month`] says.
static NEAR_MONTHS: [(i32, u8); 16 * (NEAR.end - NEAR.start) as usize] = {
    let mut out = [(0, 0); 16 * (NEAR.end - NEAR.start) as usize];
    let mut at = 0;
    while at < out.len() {
        if let Some(month) = any_month(NEAR.start + at as u32 / 16, at as u32 % 16) {
            out[at] = month;
        }
        at += 1;
    }
    out
};

/// The day before a month, in days since 1970-01-01, and how many days the month has.
const fn any_month(year: u32, month: u32) -> Option<(i32, u8)> {
    if month == 0 || month > 12 || year == 0 {
        return None;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Years that begin in March put the leap day last.
    let years = year - (month <= 2) as u32;
    let before = years * 365 + years / 4 - years / 100 + years / 400 + DAYS_SINCE_MARCH[month as usize];
    Some((before as i32 - 719_469, DAYS_IN_MONTH[month as usize] + (leap && month == 2) as u8))
}

const DAYS_IN_MONTH: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAYS_SINCE_MARCH: [u32; 13] = [0, 306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275];

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
        if self.nanos == 0 {
            return self.seconds.checked_mul(per_second);
        }
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
#[inline(always)]
pub fn instant(text: &[u8]) -> Option<Instant> {
    match whole_seconds(text) {
        Some(seconds) => Some(Instant { seconds, nanos: 0, digits: 0, zoned: false }),
        None => any_instant(text),
    }
}

#[inline(never)]
fn any_instant(text: &[u8]) -> Option<Instant> {
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
pub fn zone(text: &[u8]) -> Option<i64> {
    let (hours, minutes) = match text.len() {
        1 => return (text[0] == b'Z').then_some(0),
        5 => (two([text[1], text[2]])?, two([text[3], text[4]])?),
        6 if text[3] == b':' => (two([text[1], text[2]])?, two([text[4], text[5]])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || !matches!(text[0], b'+' | b'-') {
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
            let wanted = any_instant(text.as_bytes()).filter(|_| text.len() == 19).and_then(|found| found.in_units(1));
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
}
