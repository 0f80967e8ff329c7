//! A block of lines, or an array, to a record batch.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use crate::columns::Record;
use crate::text::{Keys, Text};
use crate::{NotPlain, Plain};

/// The rows of a block.
pub struct Parsed {
    /// One row for each object.
    pub batch: RecordBatch,
    /// Lines, blank ones included.
    pub lines: usize,
}

/// How lines are read.
pub struct Lines {
    schema: SchemaRef,
    others: bool,
}

impl Lines {
    /// For the columns of a schema. `others`: whether objects may have other keys as well.
    pub fn new(schema: SchemaRef, others: bool) -> Plain<Self> {
        Record::new(schema.fields(), true)?;
        Ok(Self { schema, others })
    }

    /// Parses whole lines, of which the last needs no end.
    pub fn parse(&self, text: &[u8]) -> Plain<Parsed> {
        if i32::try_from(text.len()).is_err() {
            return Err(NotPlain);
        }
        let mut rows = self.rows()?;
        let (mut text, mut lines) = (Text::new(text), 0);
        while !text.is_at_end() {
            if text.peek_token() == b'{' {
                rows.push(&mut text)?;
                text.peek_token();
            }
            text.end_line()?;
            lines += 1;
        }
        Ok(Parsed { batch: self.batch(rows)?, lines })
    }

    /// Parses one array of objects, in one line.
    pub fn parse_array(&self, text: &[u8]) -> Plain<RecordBatch> {
        if i32::try_from(text.len()).is_err() {
            return Err(NotPlain);
        }
        let mut rows = self.rows()?;
        let mut text = Text::new(text);
        text.peek_token();
        text.expect(b'[')?;
        text.items(b']', |text| if text.peek() == b'{' { rows.push(text) } else { Err(NotPlain) })?;
        text.peek_token();
        text.end_line()?;
        if text.is_at_end() { self.batch(rows) } else { Err(NotPlain) }
    }

    fn rows<'a>(&self) -> Plain<Rows<'a>> {
        let record = Record::new(self.schema.fields(), true)?;
        Ok(Rows { record, others: self.others, keys: Keys::default(), scratch: Vec::new() })
    }

    fn batch(&self, rows: Rows) -> Plain<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.record.rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), rows.record.finish()?, &options).map_err(|_| NotPlain)
    }
}

/// The rows of a text so far.
struct Rows<'a> {
    record: Record,
    others: bool,
    keys: Keys<'a>,
    scratch: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// Takes the object at whose opening brace the text is.
    #[inline(always)]
    fn push(&mut self, text: &mut Text<'a>) -> Plain<()> {
        text.advance();
        self.keys.clear();
        self.record.push(text, |text, key| {
            if !self.others {
                return Err(NotPlain);
            }
            self.keys.add(key)?;
            text.skip(0, &mut self.scratch)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int64Type};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn lines(columns: &[(&str, DataType)], others: bool) -> Lines {
        let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        Lines::new(Arc::new(Schema::new(fields)), others).expect("plain columns")
    }

    #[test]
    fn values_are_read_in_any_order_and_what_is_absent_is_null() {
        let items = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let columns = [("i", DataType::Int64), ("f", DataType::Float64), ("t", DataType::Utf8), ("l", items)];
        let text = b"{\"i\": 1, \"f\": -2.5e1, \"t\": \"a\\n\\u00e9\\ud83e\\udd80\", \"l\": [1, null]}\r\n \n\t{ \"l\":[] ,\"f\":3}\n{}";
        let parsed = lines(&columns, false).parse(text).expect("plain");
        let batch = parsed.batch;
        assert_eq!((batch.num_rows(), parsed.lines), (3, 4));
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
        let floats: Vec<_> = batch.column(1).as_primitive::<Float64Type>().iter().collect();
        assert_eq!(floats, [Some(-25.0), Some(3.0), None]);
        assert_eq!(
            batch.column(2).as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some("a\n\u{e9}\u{1F980}"), None, None]
        );
        let lists = batch.column(3).as_list::<i32>();
        assert_eq!((lists.value_length(0), lists.value_length(1), lists.null_count()), (2, 0, 1));
    }

    #[test]
    fn an_array_holds_the_same_objects() {
        let columns = [("i", DataType::Int64), ("t", DataType::Utf8)];
        let reader = lines(&columns, false);
        let batch = reader.parse_array(b" [{\"i\": 1, \"t\": \"a\"}, {} ,{\"t\":null}] \r\n").expect("plain");
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
        assert_eq!(reader.parse_array(b"[]").expect("plain").num_rows(), 0);
        for text in
            ["", "[", "{}", "[{}", "[{},]", "[{}]]", "[{}] {}", "[1]", "[[{}]]", "[{}\n,{}]", "[{}]\n\n", "null"]
        {
            assert!(reader.parse_array(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_not_read() {
        let columns =
            [("i", DataType::Int64), ("f", DataType::Float64), ("t", DataType::Utf8), ("b", DataType::Boolean)];
        for text in [
            "[]",
            "1",
            "{",
            "{}}",
            "{} {}",
            "{\"i\": 1,}",
            "{\"i\": 01}",
            "{\"i\": 1.0}",
            "{\"i\": true}",
            "{\"i\": \"1\"}",
            "{\"i\": 9223372036854775808}",
            "{\"i\": 1, \"i\": 2}",
            "{\"i\" 1}",
            "{i: 1}",
            "{\"f\": NaN}",
            "{\"f\": 1e999}",
            "{\"f\": 0.12345678901234567891}",
            "{\"f\": 9007199254740993}",
            "{\"f\": .5}",
            "{\"f\": 1.}",
            "{\"f\": +1}",
            "{\"t\": \"\\ud800\"}",
            "{\"t\": \"\\x\"}",
            "{\"t\": \"\u{1}\"}",
            "{\"t\": 1.5}",
            "{\"t\": [1]}",
            "{\"t\": \"x}",
            "{\"b\": 1}",
            "{\"b\": nul}",
            "{\"x\": 1}",
            "{}\r{}",
            "{\"\\u0069\": 1}",
            "{\"t\": \"\\",
            "{\"t\": \"\\u00",
        ] {
            assert!(lines(&columns, false).parse(text.as_bytes()).is_err(), "{text}");
        }
        let others = lines(&columns[..1], true);
        assert!(others.parse(b"{\"x\": [{\"y\": 1}, \"z\"], \"i\": 1}").is_ok());
        for text in
            ["{\"x\": {\"y\": 1, \"y\": 2}}", "{\"x\": 1, \"x\": 1}", "{\"x\": tru}", "{\"x\": [1 2]}", "{\"x\": -}"]
        {
            assert!(others.parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{{\"x\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(others.parse(deep.as_bytes()).is_err());
    }
}
