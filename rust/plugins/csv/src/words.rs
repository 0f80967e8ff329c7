//! What texts mean beyond the grammar of values.

use dativo_plugin::Result;

use crate::dialect::Dialect;
use crate::fields::Field;
use crate::formats::Format;
use crate::options::{BinaryFormat, CsvOptions};
use crate::span::Span;
use crate::times::{self, Instant};

/// What texts mean beyond the grammar: nulls, truths, spaces, forms of dates and numbers.
#[derive(Clone, Debug)]
pub struct Words {
    nulls: Vec<Vec<u8>>,
    /// Of the words for null.
    pub(crate) longest_null: usize,
    truths: Vec<Vec<u8>>,
    falsehoods: Vec<Vec<u8>>,
    /// Whether `true` and `false` are among them.
    usual: bool,
    /// Whether spaces around unquoted texts are dropped.
    pub(crate) trim: bool,
    dates: Vec<Format>,
    instants: Vec<Format>,
    /// Where numbers are not written as the grammar has them.
    pub(crate) separators: Option<Separators>,
    /// How texts stand for bytes.
    pub(crate) binary: BinaryFormat,
}

impl Words {
    /// The words of the options.
    pub fn new(options: &CsvOptions) -> Result<Self> {
        let bytes = |texts: &[String]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let nulls = bytes(&options.null_values);
        let formats = |name: &str, texts: &[String], form: fn(&str, &str) -> Result<Format>| {
            texts.iter().map(|text| form(name, text)).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            longest_null: nulls.iter().map(Vec::len).max().unwrap_or(0),
            nulls,
            usual: options.true_values.iter().any(|text| text == "true")
                && options.false_values.iter().any(|text| text == "false"),
            truths: bytes(&options.true_values),
            falsehoods: bytes(&options.false_values),
            trim: options.trim,
            dates: formats("date_formats", &options.date_formats, Format::of_dates)?,
            instants: formats("timestamp_formats", &options.timestamp_formats, Format::of_times)?,
            separators: Separators::of(options),
            binary: options.binary_format,
        })
    }

    /// The day that a text means, in days since 1970-01-01: as ISO 8601 has it, or in one of the job's forms.
    #[inline(always)]
    pub(crate) fn date(&self, text: &[u8]) -> Option<i32> {
        match times::date(text) {
            None if !self.dates.is_empty() => self.dates.iter().find_map(|format| format.date(text)),
            found => found,
        }
    }

    /// The point in time that a text means: as ISO 8601 has it, or in one of the job's forms.
    pub(crate) fn instant(&self, text: &[u8]) -> Option<Instant> {
        times::instant(text).or_else(|| self.instants.iter().find_map(|format| format.instant(text)))
    }

    /// What `parse` makes of a number, written with the job's separators.
    pub(crate) fn number<'a, T>(&self, text: Span<'a>, parse: impl Fn(Span) -> Option<T>) -> Option<T> {
        match &self.separators {
            None => parse(text),
            Some(separators) => parse(separators.plain(text.text())?.as_slice().into()),
        }
    }

    /// Whether a word for null is something else as well.
    pub(crate) fn any_null(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        self.nulls.iter().any(|null| is(null))
    }

    /// Whether an unquoted text means null.
    #[inline]
    pub(crate) fn is_null(&self, text: &[u8]) -> bool {
        text.len() <= self.longest_null && self.nulls.iter().any(|null| null == text)
    }

    /// The truth value a text stands for.
    #[inline(always)]
    pub fn truth(&self, text: Span) -> Option<bool> {
        if self.usual
            && let Some(word) = text.ahead::<5>()
        {
            // No branch on which of the two it is: nothing foretells that.
            let is_true = (text.len() == 4) & word.starts_with(b"true");
            if is_true | ((text.len() == 5) & (word == b"false")) {
                return Some(is_true);
            }
        }
        self.other_truth(text.text())
    }

    #[inline(never)]
    fn other_truth(&self, text: &[u8]) -> Option<bool> {
        let one_of = |words: &[Vec<u8>]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        if one_of(&self.truths) {
            return Some(true);
        }
        one_of(&self.falsehoods).then_some(false)
    }

    /// A field's text, `None` for null. `scratch` holds what has to be decoded.
    pub fn text<'a>(
        &self,
        dialect: &Dialect,
        block: &'a [u8],
        field: Field,
        scratch: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        if field.needs_decoding() {
            scratch.clear();
            field.decode(dialect, block, scratch);
            return Some(scratch);
        }
        let mut text = field.text(block);
        if field.is_quoted() {
            return Some(text);
        }
        if self.trim {
            while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
                text = rest;
            }
        }
        (!self.is_null(text)).then_some(text)
    }
}

/// What stands between the digits of numbers where it is not a dot alone.
#[derive(Clone, Copy, Debug)]
pub struct Separators {
    decimal: u8,
    thousands: Option<u8>,
}

impl Separators {
    fn of(options: &CsvOptions) -> Option<Self> {
        let decimal = options.decimal_separator as u8;
        let thousands = options.thousands_separator.map(|separator| separator as u8);
        (decimal != b'.' || thousands.is_some()).then_some(Self { decimal, thousands })
    }

    /// A number as the grammar writes it: a dot before its fraction, nothing between thousands.
    fn plain(self, text: &[u8]) -> Option<Vec<u8>> {
        let ends_whole = |byte: &u8| *byte == self.decimal || matches!(byte, b'e' | b'E');
        let (whole, rest) = text.split_at(text.iter().position(ends_whole).unwrap_or(text.len()));
        let unsigned = whole.strip_prefix(b"-").unwrap_or(whole);
        let is_group = |(index, group): (usize, &[u8])| {
            group.iter().all(u8::is_ascii_digit) && (group.len() == 3 || (index == 0 && (1..3).contains(&group.len())))
        };
        let grouped = self.thousands.is_some_and(|separator| unsigned.contains(&separator));
        if grouped && !unsigned.split(|byte| Some(*byte) == self.thousands).enumerate().all(is_group) {
            return None;
        }
        let mut plain: Vec<u8> = whole.iter().copied().filter(|byte| Some(*byte) != self.thousands).collect();
        let has_other_dot = self.decimal != b'.' && (plain.contains(&b'.') || rest.contains(&b'.'));
        plain.extend(rest.iter().map(|byte| if *byte == self.decimal { b'.' } else { *byte }));
        (!has_other_dot).then_some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_stand_where_they_belong_or_there_is_no_number() {
        let german = Separators { decimal: b',', thousands: Some(b'.') };
        for (text, wanted) in [
            ("1.234,50", Some("1234.50")),
            ("-12.345.678", Some("-12345678")),
            ("1234,5", Some("1234.5")),
            ("1,5e3", Some("1.5e3")),
            ("nan", Some("nan")),
            ("1.5", None),
            ("1.2345", None),
            (".123", None),
            ("1234.567", None),
            ("1,234.5", None),
        ] {
            let plain = german.plain(text.as_bytes()).map(|plain| String::from_utf8(plain).expect("ASCII"));
            assert_eq!(plain.as_deref(), wanted, "{text}");
        }
        let french = Separators { decimal: b',', thousands: None };
        assert_eq!(french.plain(b"1.5"), None);
        assert_eq!(french.plain(b"1,5"), Some(b"1.5".to_vec()));
    }
}
