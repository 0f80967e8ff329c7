//! Rows that are Python dicts, to columns.

use std::ptr;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dativo_plugin::Error;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use pyo3::{Borrowed, ffi};

use crate::batch::NativeBatch;
use crate::capsule::schema_of;
use crate::control::raise;
use crate::moment::Moments;

/// Integers up to here are exact as floats.
const EXACT: u64 = 1 << 53;

/// Turns rows into the columns of one schema.
#[pyclass(frozen, name = "Rows", module = "dativo_plugin_ffi")]
pub struct NativeRows {
    fields: Vec<Field>,
    moments: Moments,
}

#[pymethods]
impl NativeRows {
    #[new]
    fn new(schema: &Bound<'_, PyAny>) -> PyResult<Self> {
        let fields = schema_of(schema)?.fields().iter().map(|field| field.as_ref().clone()).collect();
        Ok(Self { fields, moments: Moments::new(schema.py())? })
    }

    /// The columns whose values are all plainly of their type, and the values of each other column, by its name; `None`
    /// for rows that are no dicts or have other keys.
    fn convert<'py>(&self, rows: &Bound<'py, PyList>) -> PyResult<Option<(NativeBatch, Bound<'py, PyDict>)>> {
        let py = rows.py();
        let mut columns: Vec<Column> =
            self.fields.iter().map(|field| Column::new(field.data_type(), rows.len())).collect();
        // The keys of a batch mostly are the same objects, in the same order.
        let mut keys: Vec<Option<Bound<'_, PyAny>>> = vec![None; columns.len()];
        let mut count = 0;
        for row in rows {
            let Ok(row) = row.cast_into_exact::<PyDict>() else { return Ok(None) };
            let mut next = 0;
            let mut take = |key: Borrowed<'_, 'py, PyAny>, value: Borrowed<'_, 'py, PyAny>| {
                let place = match keys.get(next) {
                    Some(Some(known)) if key.is(known) => next,
                    _ => {
                        let place = self.place(&key)?;
                        keys[place] = Some(key.to_owned());
                        place
                    }
                };
                next = place + 1;
                let column = &mut columns[place];
                column.push(&value, &self.moments).or_else(|| column.gather(rows, self.fields[place].name(), count))
            };
            // SAFETY: keys are compared as the texts that they are, values are of exactly the types that are read, or kept.
            // What fails may raise, upon which Python may collect garbage and run anything: then both are looked up again.
            if unsafe { items(&row, &mut take) }.is_none() {
                return Ok(None);
            }
            count += 1;
            if row.len() < columns.len() {
                for column in columns.iter_mut().filter(|column| column.len() < count) {
                    column.push_null();
                }
            }
        }
        let (mut fields, mut arrays, others) = (Vec::new(), Vec::new(), PyDict::new(py));
        for (field, column) in self.fields.iter().zip(columns) {
            match column.finish(py)? {
                Finished::Array(array) => {
                    fields.push(field.clone());
                    arrays.push(array);
                }
                Finished::Values(values) => others.set_item(field.name(), values)?,
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
        Ok(Some((NativeBatch(batch.map_err(|error| raise(Error::from(error)))?), others)))
    }
}

impl NativeRows {
    /// The column that a key names.
    fn place(&self, key: &Bound<'_, PyAny>) -> Option<usize> {
        let key = key.cast_exact::<PyString>().ok()?.to_str().ok()?;
        self.fields.iter().position(|field| field.name() == key)
    }
}

/// Calls with each key and value, in which no share is taken: counting them up and down would take longer than to read them.
///
/// # Safety
/// `take` looks at neither after it has run code that may change the dict.
unsafe fn items<'py>(
    dict: &Bound<'py, PyDict>,
    take: &mut impl FnMut(Borrowed<'_, 'py, PyAny>, Borrowed<'_, 'py, PyAny>) -> Option<()>,
) -> Option<()> {
    let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: the dict is alive and the thread is attached; the pointers are of this frame.
    while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut key, &mut value) } != 0 {
        // SAFETY: both point to objects that the dict holds for as long as they are looked at, as the caller promises.
        let (key, value) = unsafe { (Borrowed::from_ptr(dict.py(), key), Borrowed::from_ptr(dict.py(), value)) };
        take(key, value)?;
    }
    Some(())
}

/// The values of a column so far.
enum Column {
    Truths(BooleanBuilder),
    Integers(Int64Builder),
    Floats(Float64Builder),
    Texts(StringBuilder),
    Bytes(BinaryBuilder),
    Times(TimestampMicrosecondBuilder),
    Days(Date32Builder),
    /// As they are, for Python to look at.
    Gathered(Vec<Option<Py<PyAny>>>),
}

enum Finished<'py> {
    Array(ArrayRef),
    Values(Bound<'py, PyList>),
}

impl Column {
    fn new(data_type: &DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Truths(BooleanBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Integers(Int64Builder::with_capacity(rows)),
            DataType::Float64 => Self::Floats(Float64Builder::with_capacity(rows)),
            DataType::Utf8 => Self::Texts(StringBuilder::with_capacity(rows, 16 * rows)),
            DataType::Binary => Self::Bytes(BinaryBuilder::with_capacity(rows, 0)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Self::Times(TimestampMicrosecondBuilder::with_capacity(rows))
            }
            DataType::Date32 => Self::Days(Date32Builder::with_capacity(rows)),
            _ => Self::Gathered(Vec::with_capacity(rows)),
        }
    }

    /// Takes the next value; refuses one that is not plainly of the column's type.
    #[inline(always)]
    fn push(&mut self, value: &Bound<'_, PyAny>, moments: &Moments) -> Option<()> {
        if value.is_none() {
            self.push_null();
            return Some(());
        }
        match self {
            Self::Truths(values) => values.append_value(truth(value)?),
            Self::Integers(values) => values.append_value(integer(value)?),
            Self::Floats(values) => values.append_value(float(value)?),
            Self::Texts(values) => {
                let text = value.cast_exact::<PyString>().ok()?.to_str().ok()?;
                fits(values.values_slice().len(), text.len())?;
                values.append_value(text);
            }
            Self::Bytes(values) => {
                let bytes = value.cast_exact::<PyBytes>().ok()?.as_bytes();
                fits(values.values_slice().len(), bytes.len())?;
                values.append_value(bytes);
            }
            Self::Times(values) => values.append_value(moments.microseconds(value)?),
            Self::Days(values) => values.append_value(moments.days(value)?),
            Self::Gathered(values) => values.push(Some(value.clone().unbind())),
        }
        Some(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Truths(values) => values.append_null(),
            Self::Integers(values) => values.append_null(),
            Self::Floats(values) => values.append_null(),
            Self::Texts(values) => values.append_null(),
            Self::Bytes(values) => values.append_null(),
            Self::Times(values) => values.append_null(),
            Self::Days(values) => values.append_null(),
            Self::Gathered(values) => values.push(None),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Truths(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::Times(values) => values.len(),
            Self::Days(values) => values.len(),
            Self::Gathered(values) => values.len(),
        }
    }

    /// Takes the values of the rows up to this one again, as they are.
    #[cold]
    fn gather(&mut self, rows: &Bound<'_, PyList>, name: &str, last: usize) -> Option<()> {
        let value = |row: Bound<'_, PyAny>| {
            let value = row.cast::<PyDict>().ok()?.get_item(name).ok()?;
            Some(value.filter(|value| !value.is_none()).map(Bound::unbind))
        };
        *self = Self::Gathered(rows.iter().take(last + 1).map(value).collect::<Option<_>>()?);
        Some(())
    }

    fn finish(self, py: Python<'_>) -> PyResult<Finished<'_>> {
        Ok(Finished::Array(match self {
            Self::Truths(mut values) => Arc::new(values.finish()),
            Self::Integers(mut values) => Arc::new(values.finish()),
            Self::Floats(mut values) => Arc::new(values.finish()),
            Self::Texts(mut values) => Arc::new(values.finish()),
            Self::Bytes(mut values) => Arc::new(values.finish()),
            Self::Times(mut values) => Arc::new(values.finish()),
            Self::Days(mut values) => Arc::new(values.finish()),
            Self::Gathered(values) => return Ok(Finished::Values(PyList::new(py, values)?)),
        }))
    }
}

/// Offsets have 32 bits.
fn fits(so_far: usize, more: usize) -> Option<()> {
    i32::try_from(so_far + more).ok().map(drop)
}

#[inline(always)]
fn truth(value: &Bound<'_, PyAny>) -> Option<bool> {
    value.cast_exact::<PyBool>().ok().map(|value| value.is_true())
}

#[inline(always)]
fn integer(value: &Bound<'_, PyAny>) -> Option<i64> {
    if value.is_exact_instance_of::<PyInt>() { value.extract().ok() } else { None }
}

#[inline(always)]
fn float(value: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(value) = value.cast_exact::<PyFloat>() {
        return Some(value.value());
    }
    integer(value).filter(|value| value.unsigned_abs() <= EXACT).map(|value| value as f64)
}
