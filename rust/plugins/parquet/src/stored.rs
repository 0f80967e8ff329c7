//! What Arrow types are stored as where Parquet has no such type: seconds as milliseconds, dates of 64 bits as those of 32.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Date64Type, Time32MillisecondType, Time32SecondType};
use arrow_array::types::{TimestampMillisecondType, TimestampSecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use dativo_plugin::{Error, Result};

const DAY_MS: i64 = 86_400_000;
/// A page's size is a number of 31 bits, and it holds more than its values.
const MAX_VALUE_BYTES: usize = i32::MAX as usize - (1 << 20);

/// The schema of the file for batches of `schema`. Raises a configuration error for a column that Parquet cannot hold.
pub fn stored_schema(schema: &SchemaRef) -> Result<SchemaRef> {
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| {
            stored_field(field).map_err(|data_type| {
                Error::configuration(format!("column {}: Parquet cannot hold {data_type}", field.name()))
                    .hint("cast the column to another type in the contract, or leave it out")
                    .at("column", field.name().as_str())
            })
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// The rows of a batch as the file's schema has them.
pub fn stored_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(rows, field)| {
        stored_rows(rows, field.data_type()).map_err(|error| {
            Error::validation(format!("column {}: {error}", field.name()))
                .hint("such a value has no place in a Parquet file: cast the column in the contract")
                .at("column", field.name().as_str())
        })
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)?)
}

/// The field in the file; as an error the type that cannot be in one.
fn stored_field(field: &FieldRef) -> std::result::Result<FieldRef, DataType> {
    let stored = stored_type(field.data_type())?;
    if stored == *field.data_type() {
        return Ok(field.clone());
    }
    Ok(Arc::new(Field::clone(field).with_data_type(stored)))
}

fn stored_type(data_type: &DataType) -> std::result::Result<DataType, DataType> {
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::List(item) => DataType::List(stored_field(item)?),
        DataType::LargeList(item) => DataType::LargeList(stored_field(item)?),
        DataType::ListView(item) => DataType::ListView(stored_field(item)?),
        DataType::LargeListView(item) => DataType::LargeListView(stored_field(item)?),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(stored_field(item)?, *length),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(entries)?, *sorted),
        DataType::Struct(fields) if !fields.is_empty() => {
            DataType::Struct(fields.iter().map(stored_field).collect::<std::result::Result<Fields, _>>()?)
        }
        DataType::Dictionary(keys, values) => DataType::Dictionary(keys.clone(), Box::new(stored_type(values)?)),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(ends.clone(), stored_field(values)?),
        DataType::Struct(_) | DataType::Union(..) | DataType::Interval(IntervalUnit::MonthDayNano) => {
            return Err(data_type.clone());
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale < 0 =>
        {
            return Err(data_type.clone());
        }
        other => other.clone(),
    })
}

fn stored_rows(rows: &ArrayRef, stored: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    if rows.data_type() == stored {
        return Ok(rows.clone());
    }
    let too_large = || ArrowError::ComputeError("a value is out of the range of milliseconds".to_owned());
    Ok(match rows.data_type() {
        DataType::Timestamp(..) => {
            let seconds = rows.as_primitive::<TimestampSecondType>();
            let scaled = seconds
                .try_unary::<_, TimestampMillisecondType, _>(|value| value.checked_mul(1000).ok_or_else(too_large))?;
            Arc::new(scaled.with_data_type(stored.clone()))
        }
        DataType::Time32(_) => {
            let seconds = rows.as_primitive::<Time32SecondType>();
            Arc::new(
                seconds
                    .try_unary::<_, Time32MillisecondType, _>(|value| value.checked_mul(1000).ok_or_else(too_large))?,
            )
        }
        DataType::Date64 => Arc::new(rows.as_primitive::<Date64Type>().try_unary::<_, Date32Type, _>(|value| {
            let day = (value % DAY_MS == 0).then_some(value / DAY_MS).and_then(|day| i32::try_from(day).ok());
            day.ok_or_else(|| ArrowError::ComputeError(format!("{value} ms is no whole day of 32 bits")))
        })?),
        _ => {
            let data = rows.to_data();
            let children =
                data.child_data().iter().zip(children(stored)).map(|(child, stored)| {
                    stored_rows(&make_array(child.clone()), stored).map(|child| child.to_data())
                });
            let children = children.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
            make_array(data.into_builder().data_type(stored.clone()).child_data(children).build()?)
        }
    })
}

/// The types of a nested type's children, in the order in which Arrow keeps their arrays.
fn children(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, values) => vec![values],
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

/// Refuses a value that no page has room for, in a batch that is large enough to hold one.
pub fn check_values(batch: &RecordBatch) -> Result<()> {
    for (field, rows) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let length: Box<dyn Fn(usize) -> usize> = match rows.data_type() {
            DataType::Utf8 => Box::new(|row| rows.as_string::<i32>().value(row).len()),
            DataType::LargeUtf8 => Box::new(|row| rows.as_string::<i64>().value(row).len()),
            DataType::Binary => Box::new(|row| rows.as_binary::<i32>().value(row).len()),
            DataType::LargeBinary => Box::new(|row| rows.as_binary::<i64>().value(row).len()),
            _ => continue,
        };
        if rows.get_array_memory_size() <= MAX_VALUE_BYTES {
            continue;
        }
        let found = (0..rows.len()).map(|row| (row, length(row))).find(|(_, length)| *length > MAX_VALUE_BYTES);
        if let Some((row, length)) = found {
            let name = field.name().as_str();
            let message = format!("column {name}: a value of {length} bytes; Parquet's end at 2 GB");
            return Err(Error::validation(message)
                .code("VALUE_TOO_LARGE")
                .hint("keep such values in files of their own, and their names in the table")
                .at("column", name)
                .at("batch_row", row as u64));
        }
    }
    Ok(())
}
