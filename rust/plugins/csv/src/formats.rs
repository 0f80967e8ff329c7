//! Dates and times in a form that the job gives: strftime directives, each one read strictly.

use dativo_plugin::{Error, Result};

use crate::times::{self, Instant};

const MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];
/// Short years below this one are of the 21st century, as POSIX has it.
const FIRST_OF_20TH: u32 = 69;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Literal(u8),
    Year,
    ShortYear,
    Month,
    MonthName,
    ShortMonthName,
    Day,
    Hour,
    HalfDayHour,
    Minute,
    Second,
    Fraction,
    HalfDay,
    Zone,
}

impl Part {
    fn named(directive: u8) -> Option<&'static [Self]> {
        Some(match directive {
            b'Y' => &[Self::Year],
            b'y' => &[Self::ShortYear],
            b'm' => &[Self::Month],
            b'B' => &[Self::MonthName],
            b'b' => &[Self::ShortMonthName],
            b'd' => &[Self::Day],
            b'H' => &[Self::Hour],
            b'I' => &[Self::HalfDayHour],
            b'M' => &[Self::Minute],
            b'S' => &[Self::Second],
            b'f' => &[Self::Fraction],
            b'p' => &[Self::HalfDay],
            b'z' => &[Self::Zone],
            b'%' => &[Self::Literal(b'%')],
            b'F' => &[Self::Year, Self::Literal(b'-'), Self::Month, Self::Literal(b'-'), Self::Day],
            b'T' => &[Self::Hour, Self::Literal(b':'), Self::Minute, Self::Literal(b':'), Self::Second],
            _ => return None,
        })
    }

    fn is_number(self) -> bool {
        use Part as P;
        matches!(
            self,
            P::Year | P::ShortYear | P::Month | P::Day | P::Hour | P::HalfDayHour | P::Minute | P::Second | P::Fraction
        )
    }

    fn is_of_a_day(self) -> bool {
        use Part as P;
        matches!(self, P::Literal(_) | P::Year | P::ShortYear | P::Month | P::MonthName | P::ShortMonthName | P::Day)
    }
}

/// One form of dates or times.
#[derive(Clone, Debug)]
pub struct Format {
    parts: Vec<Part>,
}

/// What has been read of a text so far.
#[derive(Default)]
struct Read {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    digits: usize,
    east_s: Option<i64>,
}

impl Format {
    /// The form of dates that an option spells; `name` is the option's.
    pub fn of_dates(name: &str, text: &str) -> Result<Self> {
        let format = Self::of_times(name, text)?;
        if format.parts.iter().all(|part| part.is_of_a_day()) {
            return Ok(format);
        }
        Err(Error::configuration(format!("options.{name}: {text:?} has a time, dates have none"))
            .hint("give it in options.timestamp_formats and make the column a timestamp"))
    }

    /// The form of points in time that an option spells; without a time of day it means midnight.
    pub fn of_times(name: &str, text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Err(Error::configuration(format!("options.{name}: {text:?} {what}"))
                .hint("directives are %Y %y %m %b %B %d %H %I %M %S %f %p %z %F %T %%"))
        };
        let mut parts = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                parts.push(Part::Literal(byte));
                continue;
            }
            let directive = bytes.next();
            match directive.and_then(Part::named) {
                Some(named) => parts.extend(named),
                None => return wrong(format!("has the unknown directive %{}", char::from(directive.unwrap_or(b' ')))),
            }
        }
        if let Some(Part::Literal(b'"' | b'\'')) = parts.first() {
            return wrong("begins with a quote, which belongs to the field".to_owned());
        }
        let count = |one_of: &[Part]| parts.iter().filter(|part| one_of.contains(part)).count();
        for (what, one_of) in [
            ("a year", &[Part::Year, Part::ShortYear][..]),
            ("a month", &[Part::Month, Part::MonthName, Part::ShortMonthName]),
            ("a day", &[Part::Day]),
        ] {
            if count(one_of) != 1 {
                return wrong(format!("must have {what} once"));
            }
        }
        for part in [Part::Minute, Part::Second, Part::Fraction, Part::Zone, Part::HalfDay] {
            if count(&[part]) > 1 {
                return wrong("has a directive twice".to_owned());
            }
        }
        if count(&[Part::Hour, Part::HalfDayHour]) > 1 || count(&[Part::HalfDayHour]) != count(&[Part::HalfDay]) {
            return wrong("must have %H, or %I with %p".to_owned());
        }
        Ok(Self { parts })
    }

    /// The day that a text means, in days since 1970-01-01.
    pub fn date(&self, text: &[u8]) -> Option<i32> {
        let read = self.read(text)?;
        times::day(read.year, read.month, read.day)
    }

    /// The point in time that a text means.
    pub fn instant(&self, text: &[u8]) -> Option<Instant> {
        let read = self.read(text)?;
        let days = times::day(read.year, read.month, read.day)?;
        let hour = match read.afternoon {
            None => read.hour,
            Some(afternoon) => (1..=12).contains(&read.hour).then_some(read.hour % 12 + 12 * u32::from(afternoon))?,
        };
        if hour > 23 || read.minute > 59 || read.second > 59 {
            return None;
        }
        let clock = i64::from(hour * 3600 + read.minute * 60 + read.second);
        Some(Instant {
            seconds: i64::from(days) * 86_400 + clock - read.east_s.unwrap_or(0),
            nanos: i64::from(read.nanos),
            digits: read.digits,
            zoned: read.east_s.is_some(),
        })
    }

    fn read(&self, text: &[u8]) -> Option<Read> {
        let mut read = Read::default();
        let mut left = text;
        for (index, part) in self.parts.iter().enumerate() {
            // One digit may do, unless more digits follow at once.
            let least = if self.parts.get(index + 1).is_some_and(|next| next.is_number()) { 2 } else { 1 };
            match part {
                Part::Literal(byte) => left = left.strip_prefix(&[*byte])?,
                Part::Year => (read.year, _) = number(&mut left, 4, 4)?,
                Part::ShortYear => {
                    let (year, _) = number(&mut left, 2, 2)?;
                    read.year = if year < FIRST_OF_20TH { 2000 + year } else { 1900 + year };
                }
                Part::Month => (read.month, _) = number(&mut left, least, 2)?,
                Part::MonthName => read.month = month(&mut left, |name| name.len())?,
                Part::ShortMonthName => read.month = month(&mut left, |_| 3)?,
                Part::Day => (read.day, _) = number(&mut left, least, 2)?,
                Part::Hour | Part::HalfDayHour => (read.hour, _) = number(&mut left, least, 2)?,
                Part::Minute => (read.minute, _) = number(&mut left, 2, 2)?,
                Part::Second => (read.second, _) = number(&mut left, 2, 2)?,
                Part::Fraction => {
                    let (value, digits) = number(&mut left, 1, 9)?;
                    read.nanos = value * 10_u32.pow(9 - digits as u32);
                    read.digits = digits;
                }
                Part::HalfDay => {
                    let (word, rest) = left.split_first_chunk::<2>()?;
                    read.afternoon = Some(match word.to_ascii_lowercase().as_slice() {
                        b"am" => false,
                        b"pm" => true,
                        _ => return None,
                    });
                    left = rest;
                }
                Part::Zone => {
                    let (east_s, rest) = [1, 6, 5].into_iter().find_map(|length| {
                        let (zone, rest) = left.split_at_checked(length)?;
                        Some((times::zone(zone)?, rest))
                    })?;
                    (read.east_s, left) = (Some(east_s), rest);
                }
            }
        }
        left.is_empty().then_some(read)
    }
}

/// A number of `least..=most` digits off the front, and how many it had.
fn number(left: &mut &[u8], least: usize, most: usize) -> Option<(u32, usize)> {
    let digits = left.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let (text, rest) = left.split_at(digits);
    *left = rest;
    let value = text.iter().fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
    (digits >= least).then_some((value, digits))
}

/// The number of a month whose English name, or the start of it, is at the front.
fn month(left: &mut &[u8], letters: impl Fn(&[u8]) -> usize) -> Option<u32> {
    for (number, name) in (1..).zip(MONTHS) {
        if let Some((word, rest)) = left.split_at_checked(letters(name))
            && word.eq_ignore_ascii_case(&name[..word.len()])
        {
            *left = rest;
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(format: &str, text: &str) -> Option<i64> {
        Format::of_times("timestamp_formats", format).expect("a format").instant(text.as_bytes())?.in_units(1)
    }

    #[test]
    fn forms_are_read_strictly() {
        for (format, text, wanted) in [
            ("%d/%m/%Y", "02/01/1970", Some(86_400)),
            ("%d/%m/%Y", "2/1/1970", Some(86_400)),
            ("%d/%m/%Y", "2/1/70", None),
            ("%d/%m/%Y", "31/02/2020", None),
            ("%d/%m/%Y", "02/01/1970 ", None),
            ("%m/%d/%y %I:%M %p", "1/2/70 12:30 am", Some(86_400 + 1800)),
            ("%m/%d/%y %I:%M %p", "1/2/70 13:30 PM", None),
            ("%Y%m%d%H%M%S", "19700102000001", Some(86_401)),
            ("%Y%m%d", "197012", None),
            ("%d %B %Y", "2 JANUARY 1970", Some(86_400)),
            ("%d-%b-%Y", "02-jan-1970", Some(86_400)),
            ("%d-%b-%Y", "02-xyz-1970", None),
            ("%FT%T%z", "1970-01-01T02:00:00+02:00", Some(0)),
            ("%FT%T%z", "1970-01-01T02:00:00Z", Some(7200)),
            ("%F %H%%", "1970-01-01 01%", Some(3600)),
            ("%F %H:%M", "1970-01-01 24:00", None),
        ] {
            assert_eq!(seconds(format, text), wanted, "{format} of {text}");
        }
        let fraction = Format::of_times("x", "%F %T,%f").expect("a format").instant(b"1970-01-01 00:00:00,25");
        assert_eq!(fraction.map(|found| (found.nanos, found.digits)), Some((250_000_000, 2)));
    }

    #[test]
    fn forms_that_say_too_little_or_too_much_are_refused() {
        for format in ["%Y-%m", "%d/%m/%Y/%y", "%F %I:%M", "%F %H %I %p", "%F %q", "%F %", "%F %M %M", "'%F", ""] {
            assert!(Format::of_times("timestamp_formats", format).is_err(), "{format}");
        }
        assert!(Format::of_dates("date_formats", "%F %T").is_err());
    }
}
