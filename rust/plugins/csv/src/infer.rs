//! The type of a column from a sample of its values: the narrowest one whose grammar all of them follow.

use arrow_schema::{DataType, TimeUnit};

use crate::columns::INFERRED_DIGITS;
use crate::values;
use crate::words::Words;

const INTEGER: u8 = 1;
const FLOAT: u8 = 1 << 1;
const BOOLEAN: u8 = 1 << 2;
const DATE: u8 = 1 << 3;
const TIMESTAMP: u8 = 1 << 4;
const ZONED: u8 = 1 << 5;
const ALL: u8 = (1 << 6) - 1;

/// What the values of one column seen so far could all be.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    possible: u8,
    nanoseconds: bool,
    seen: bool,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { possible: ALL, nanoseconds: false, seen: false }
    }
}

impl Candidates {
    /// Takes one value that is not null.
    pub fn add(&mut self, text: &[u8], words: &Words) {
        self.seen = true;
        // What is out of the question is not asked: of most columns all but one or two things soon are.
        let might_be = |kinds: u8| self.possible & kinds != 0;
        let mut found = 0;
        if might_be(INTEGER) && words.number(text.into(), |text| values::signed(text, INFERRED_DIGITS)).is_some() {
            found |= INTEGER;
        }
        if might_be(FLOAT)
            && words.number(text.into(), |text| values::suggests_float(text.text()).then_some(())).is_some()
        {
            found |= FLOAT;
        }
        if might_be(BOOLEAN) && words.truth(text.into()).is_some() {
            found |= BOOLEAN;
        }
        if might_be(DATE) && words.date(text).is_some() {
            found |= DATE;
        }
        if might_be(TIMESTAMP | ZONED)
            && let Some(instant) = words.instant(text)
        {
            found |= if instant.zoned { ZONED } else { TIMESTAMP };
            self.nanoseconds |= instant.digits > 6;
        }
        self.possible &= found;
    }

    /// The type; string where nothing narrower holds all values, or where there were none.
    pub fn data_type(self) -> DataType {
        let unit = if self.nanoseconds { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        let has = |candidate: u8| self.seen && self.possible & candidate != 0;
        if has(INTEGER) {
            DataType::Int64
        } else if has(FLOAT) {
            DataType::Float64
        } else if has(BOOLEAN) {
            DataType::Boolean
        } else if has(DATE) {
            DataType::Date32
        } else if has(TIMESTAMP) {
            DataType::Timestamp(unit, None)
        } else if has(ZONED) {
            DataType::Timestamp(unit, Some("UTC".into()))
        } else {
            DataType::Utf8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CsvOptions;

    fn inferred(texts: &[&str]) -> String {
        let words = Words::new(&CsvOptions::default()).expect("words");
        let mut candidates = Candidates::default();
        for text in texts {
            candidates.add(text.as_bytes(), &words);
        }
        dativo_plugin::type_name(&candidates.data_type()).expect("a flat type")
    }

    #[test]
    fn a_column_gets_the_narrowest_type_that_keeps_every_value() {
        for (texts, wanted) in [
            (&["1", "-2", "0"][..], "int64"),
            (&["1", "007"], "string"),
            (&["1234567890123456789"], "string"),
            (&["1", "2.5", "nan", "-inf", "1e5"], "float64"),
            (&["123456789012345678", "0.5"], "string"),
            (&["1000000000000000000", "0.5"], "string"),
            (&["0.50000000000000000000", "1"], "float64"),
            (&["true", "False", "TRUE"], "bool"),
            (&["true", "1"], "string"),
            (&["2024-02-29"], "date"),
            (&["2024-02-29", "2024-02-29 10:00:00"], "string"),
            (&["2024-02-29T10:00:00", "2024-02-29 10:00:00.123456"], "timestamp[us]"),
            (&["2024-02-29T10:00:00.1234567"], "timestamp[ns]"),
            (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+0200"], "timestamp[us, UTC]"),
            (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00"], "string"),
            (&[], "string"),
        ] {
            assert_eq!(inferred(texts), wanted, "{texts:?}");
        }
    }
}
