//! Columns being filled, one value after the other.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray, StringArray, StructArray, new_null_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::text::{Number, Text};
use crate::{NotPlain, Plain};

/// Integers up to here are exact as floats.
const EXACT: i64 = 1 << 53;
/// Digits that a float keeps.
const EXACT_DIGITS: usize = 17;

/// The values of a column so far.
enum Values {
    /// Of a type that no value is read into.
    Nothing(DataType),
    Truths(Vec<bool>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    /// Where texts end, and their bytes.
    Texts(Vec<i32>, Vec<u8>),
    /// The field of the items, where lists end, and the items.
    Lists(FieldRef, Vec<i32>, Box<Column>),
    Structs(Record),
}

/// A column being filled.
pub struct Column {
    values: Values,
    nulls: NullBufferBuilder,
    /// Whether it is a column of the table, in which numbers and truths are taken for texts; not so within values.
    outermost: bool,
}

impl Column {
    fn new(field: &Field, outermost: bool) -> Plain<Self> {
        if !field.is_nullable() {
            return Err(NotPlain);
        }
        let values = match field.data_type() {
            DataType::Boolean => Values::Truths(Vec::new()),
            DataType::Int64 => Values::Integers(Vec::new()),
            DataType::Float64 => Values::Floats(Vec::new()),
            DataType::Utf8 => Values::Texts(vec![0], Vec::new()),
            DataType::List(item) => Values::Lists(item.clone(), vec![0], Box::new(Self::new(item, false)?)),
            DataType::Struct(fields) => Values::Structs(Record::new(fields, false)?),
            other => Values::Nothing(other.clone()),
        };
        Ok(Self { values, nulls: NullBufferBuilder::new(0), outermost })
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Nothing(_) => {}
            Values::Truths(values) => values.push(false),
            Values::Integers(values) => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Texts(ends, _) | Values::Lists(_, ends, _) => ends.push(ends.last().copied().unwrap_or(0)),
            Values::Structs(record) => record.push_null(),
        }
        self.nulls.append_null();
    }

    /// Takes the next value of a text.
    #[inline(always)]
    fn push(&mut self, text: &mut Text) -> Plain<()> {
        let first = text.peek_token();
        if first == b'n' {
            text.word(b"null")?;
            self.push_null();
            return Ok(());
        }
        match &mut self.values {
            Values::Nothing(_) => return Err(NotPlain),
            Values::Truths(values) => {
                text.word(if first == b't' { b"true" } else { b"false" })?;
                values.push(first == b't');
            }
            Values::Integers(values) => values.push(integer(text.number()?)?),
            Values::Floats(values) => values.push(float(text.number()?)?),
            Values::Texts(ends, bytes) => {
                if first == b'"' {
                    text.string(bytes)?;
                } else if self.outermost {
                    written(first, text, bytes)?;
                } else {
                    return Err(NotPlain);
                }
                ends.push(bytes.len() as i32);
            }
            Values::Lists(_, ends, items) => {
                text.expect(b'[')?;
                text.items(b']', |text| items.push_nested(text))?;
                ends.push(items.len() as i32);
            }
            Values::Structs(record) => {
                text.expect(b'{')?;
                record.push(text, |_, _| Err(NotPlain))?;
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The same, where it may come to itself.
    #[inline(never)]
    fn push_nested(&mut self, text: &mut Text) -> Plain<()> {
        self.push(text)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.nulls.len()
    }

    /// The values as an array.
    fn finish(mut self) -> Plain<ArrayRef> {
        let length = self.len();
        let nulls = self.nulls.finish();
        Ok(match self.values {
            Values::Nothing(data_type) => new_null_array(&data_type, length),
            Values::Truths(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Values::Integers(values) => Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls)),
            Values::Floats(values) => Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)),
            Values::Texts(ends, bytes) => {
                let array = StringArray::try_new(offsets(ends), Buffer::from_vec(bytes), nulls);
                Arc::new(array.map_err(|_| NotPlain)?)
            }
            Values::Lists(item, ends, items) => Arc::new(ListArray::new(item, offsets(ends), items.finish()?, nulls)),
            Values::Structs(record) => {
                let fields = record.fields.clone();
                let arrays = record.finish()?;
                match arrays.is_empty() {
                    true => Arc::new(StructArray::new_empty_fields(length, nulls)),
                    false => Arc::new(StructArray::new(fields, arrays, nulls)),
                }
            }
        })
    }
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

#[inline(always)]
fn integer(number: Number) -> Plain<i64> {
    if !number.is_integer {
        return Err(NotPlain);
    }
    let (negative, digits) = match number.text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return std::str::from_utf8(number.text).ok().and_then(|text| text.parse().ok()).ok_or(NotPlain);
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Ok(if negative { -value } else { value })
}

#[inline(always)]
fn float(number: Number) -> Plain<f64> {
    if number.is_integer {
        let value = integer(number)?;
        return if value.unsigned_abs() <= EXACT.unsigned_abs() { Ok(value as f64) } else { Err(NotPlain) };
    }
    if number.text.len() > EXACT_DIGITS && digits_of(number.text) > EXACT_DIGITS {
        return Err(NotPlain);
    }
    fast_float2::parse(number.text).ok().filter(|value: &f64| value.is_finite()).ok_or(NotPlain)
}

/// Digits before the exponent, without the zeros around them.
fn digits_of(text: &[u8]) -> usize {
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let is_kept = |byte: &u8| !matches!(byte, b'-' | b'0');
    let Some(first) = mantissa.iter().position(is_kept) else { return 0 };
    let last = mantissa.iter().rposition(is_kept).unwrap_or(first);
    mantissa[first..=last].iter().filter(|byte| **byte != b'.').count()
}

/// A number or a truth as Python writes it.
fn written(first: u8, text: &mut Text, out: &mut Vec<u8>) -> Plain<()> {
    match first {
        b't' | b'f' => {
            let word: &[u8] = if first == b't' { b"true" } else { b"false" };
            text.word(word)?;
            out.extend_from_slice(word);
        }
        _ => {
            let number = text.number()?;
            if !number.is_integer || number.text == b"-0" {
                return Err(NotPlain);
            }
            out.extend_from_slice(number.text);
        }
    }
    Ok(())
}

/// The columns of a table, or of the structs of one column.
pub struct Record {
    fields: Fields,
    columns: Vec<Column>,
    rows: usize,
}

impl Record {
    /// Columns of these fields. Refuses what no JSON gives plainly.
    pub fn new(fields: &Fields, outermost: bool) -> Plain<Self> {
        let columns = fields.iter().map(|field| Column::new(field, outermost)).collect::<Plain<_>>()?;
        Ok(Self { fields: fields.clone(), columns, rows: 0 })
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
        self.rows += 1;
    }

    /// Takes an object behind its opening brace; `other` takes the value of a key that no column has.
    #[inline(always)]
    pub fn push<'a>(
        &mut self,
        text: &mut Text<'a>,
        mut other: impl FnMut(&mut Text<'a>, &'a [u8]) -> Plain<()>,
    ) -> Plain<()> {
        // Objects mostly have their keys in the same order.
        let mut next = 0;
        let (fields, columns, rows) = (&self.fields, &mut self.columns, self.rows);
        text.items(b'}', |text| {
            let key = text.key()?;
            let is_named = |field: &FieldRef| field.name().as_bytes() == key;
            let place = match fields.get(next) {
                Some(field) if is_named(field) => Some(next),
                _ => fields.iter().position(is_named),
            };
            let Some(place) = place else { return other(text, key) };
            let column = &mut columns[place];
            if column.len() > rows {
                return Err(NotPlain);
            }
            next = place + 1;
            column.push(text)
        })?;
        self.rows += 1;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.push_null();
            }
        }
        Ok(())
    }

    /// The columns as arrays.
    pub fn finish(self) -> Plain<Vec<ArrayRef>> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}
