//! Rows that are Python dicts, to columns.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dativo_plugin::Error;
use dativo_plugin_ffi::control::raise;
use dativo_plugin_ffi::{Moments, NativeBatch, schema_of};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

use crate::{NotPlain, Plain};

/// Integers up to here are exact as floats.
const EXACT: u64 = 1 << 53;

/// Turns rows into the columns of one schema.
#[pyclass(frozen, name = "Rows")]
pub struct PyRows {
    fields: Vec<(Py<PyString>, Field)>,
    moments: Moments,
}

#[pymethods]
impl PyRows {
    #[new]
    fn new(schema: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = schema.py();
        let named = |field: &Arc<Field>| (PyString::intern(py, field.name()).unbind(), field.as_ref().clone());
        let fields = schema_of(schema)?.fields().iter().map(named).collect();
        Ok(Self { fields, moments: Moments::new(py)? })
    }

    /// The columns whose values are all plainly of their type, and the values of each other column, by its name; `None`
    /// for rows that are no dicts or have other keys.
    fn convert<'py>(&self, rows: &Bound<'py, PyList>) -> PyResult<Option<(NativeBatch, Bound<'py, PyDict>)>> {
        let py = rows.py();
        let mut columns: Vec<Column> = self.fields.iter().map(|(_, field)| Column::new(field.data_type())).collect();
        let count = rows.len();
        for (at, row) in rows.iter().enumerate() {
            let Ok(row) = row.cast_exact::<PyDict>() else { return Ok(None) };
            let mut keys = 0;
            for ((name, _), column) in self.fields.iter().zip(&mut columns) {
                let value = row.get_item(name)?;
                keys += usize::from(value.is_some());
                let value = value.filter(|value| !value.is_none());
                if column.push(value.as_ref(), &self.moments).is_err() {
                    column.gather(rows, name, at)?;
                }
            }
            if keys != row.len() || rows.len() != count {
                return Ok(None);
            }
        }
        let (mut fields, mut arrays, others) = (Vec::new(), Vec::new(), PyDict::new(py));
        for ((name, field), column) in self.fields.iter().zip(columns) {
            match column.finish(py)? {
                Finished::Array(array) => {
                    fields.push(field.clone());
                    arrays.push(array);
                }
                Finished::Values(values) => others.set_item(name, values)?,
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
        Ok(Some((NativeBatch(batch.map_err(|error| raise(Error::from(error)))?), others)))
    }
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
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Truths(BooleanBuilder::new()),
            DataType::Int64 => Self::Integers(Int64Builder::new()),
            DataType::Float64 => Self::Floats(Float64Builder::new()),
            DataType::Utf8 => Self::Texts(StringBuilder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Times(TimestampMicrosecondBuilder::new()),
            DataType::Date32 => Self::Days(Date32Builder::new()),
            _ => Self::Gathered(Vec::new()),
        }
    }

    /// Takes the next value, `None` for a null; refuses one that is not plainly of the column's type.
    #[inline(always)]
    fn push(&mut self, value: Option<&Bound<'_, PyAny>>, moments: &Moments) -> Plain<()> {
        match self {
            Self::Truths(values) => values.append_option(value.map(truth).transpose()?),
            Self::Integers(values) => values.append_option(value.map(integer).transpose()?),
            Self::Floats(values) => values.append_option(value.map(float).transpose()?),
            Self::Texts(values) => match value {
                Some(value) => {
                    let text = value.cast_exact::<PyString>().map_err(|_| NotPlain)?.to_str().map_err(|_| NotPlain)?;
                    fits(values.values_slice().len(), text.len())?;
                    values.append_value(text);
                }
                None => values.append_null(),
            },
            Self::Bytes(values) => match value {
                Some(value) => {
                    let bytes = value.cast_exact::<PyBytes>().map_err(|_| NotPlain)?.as_bytes();
                    fits(values.values_slice().len(), bytes.len())?;
                    values.append_value(bytes);
                }
                None => values.append_null(),
            },
            Self::Times(values) => {
                values.append_option(value.map(|value| moments.microseconds(value).ok_or(NotPlain)).transpose()?)
            }
            Self::Days(values) => {
                values.append_option(value.map(|value| moments.days(value).ok_or(NotPlain)).transpose()?)
            }
            Self::Gathered(values) => values.push(value.map(|value| value.clone().unbind())),
        }
        Ok(())
    }

    /// Takes the values of all rows up to this one again, as they are.
    #[cold]
    fn gather(&mut self, rows: &Bound<'_, PyList>, name: &Py<PyString>, last: usize) -> PyResult<()> {
        let value = |row: Bound<'_, PyAny>| {
            let value = row.cast::<PyDict>()?.get_item(name)?;
            Ok(value.filter(|value| !value.is_none()).map(Bound::unbind))
        };
        *self = Self::Gathered(rows.iter().take(last + 1).map(value).collect::<PyResult<_>>()?);
        Ok(())
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
fn fits(so_far: usize, more: usize) -> Plain<()> {
    i32::try_from(so_far + more).map(drop).map_err(|_| NotPlain)
}

#[inline(always)]
fn truth(value: &Bound<'_, PyAny>) -> Plain<bool> {
    value.cast_exact::<PyBool>().map(|value| value.is_true()).map_err(|_| NotPlain)
}

#[inline(always)]
fn integer(value: &Bound<'_, PyAny>) -> Plain<i64> {
    if !value.is_exact_instance_of::<PyInt>() {
        return Err(NotPlain);
    }
    value.extract().map_err(|_| NotPlain)
}

#[inline(always)]
fn float(value: &Bound<'_, PyAny>) -> Plain<f64> {
    if let Ok(value) = value.cast_exact::<PyFloat>() {
        return Ok(value.value());
    }
    let value = integer(value)?;
    if value.unsigned_abs() <= EXACT { Ok(value as f64) } else { Err(NotPlain) }
}
