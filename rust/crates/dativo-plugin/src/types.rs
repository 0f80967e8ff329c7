//! Type names as the Python SDK writes them: `int64`, `float64`, `timestamp[us, UTC]`, `decimal(10, 2)`.

use arrow_schema::{DataType, TimeUnit};

use crate::{Error, Result};

/// The name of a flat type; `None` for nested and exotic ones.
pub fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Null => "null",
        DataType::Boolean => "bool",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float32 => "float32",
        DataType::Float64 => "float64",
        DataType::Utf8 => "string",
        DataType::LargeUtf8 => "large_string",
        DataType::Binary => "binary",
        DataType::LargeBinary => "large_binary",
        DataType::Date32 => "date",
        DataType::Time32(unit) | DataType::Time64(unit) => return Some(format!("time[{}]", unit_name(*unit))),
        DataType::Timestamp(unit, None) => return Some(format!("timestamp[{}]", unit_name(*unit))),
        DataType::Timestamp(unit, Some(zone)) => return Some(format!("timestamp[{}, {zone}]", unit_name(*unit))),
        DataType::Decimal128(precision, scale) => return Some(format!("decimal({precision}, {scale})")),
        _ => return None,
    };
    Some(name.to_owned())
}

/// The type a name stands for. Arrow's own spellings (`date32[day]`, `timestamp[us, tz=UTC]`) are understood too.
pub fn parse_type(name: &str) -> Result<DataType> {
    let text = name.trim().to_ascii_lowercase();
    let plain = match text.as_str() {
        "null" => Some(DataType::Null),
        "bool" | "boolean" => Some(DataType::Boolean),
        "int8" | "tinyint" => Some(DataType::Int8),
        "int16" | "smallint" => Some(DataType::Int16),
        "int32" => Some(DataType::Int32),
        "int64" | "int" | "integer" | "long" | "bigint" => Some(DataType::Int64),
        "uint8" => Some(DataType::UInt8),
        "uint16" => Some(DataType::UInt16),
        "uint32" => Some(DataType::UInt32),
        "uint64" => Some(DataType::UInt64),
        "float32" | "real" => Some(DataType::Float32),
        "float64" | "double" | "float" | "number" => Some(DataType::Float64),
        "string" | "str" | "text" | "varchar" | "utf8" => Some(DataType::Utf8),
        "large_string" | "large_utf8" => Some(DataType::LargeUtf8),
        "binary" | "bytes" => Some(DataType::Binary),
        "large_binary" => Some(DataType::LargeBinary),
        "date" | "date32" | "date32[day]" => Some(DataType::Date32),
        "decimal" => Some(DataType::Decimal128(38, 9)),
        "timestamp" | "datetime" => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        "time" => Some(DataType::Time64(TimeUnit::Microsecond)),
        _ => None,
    };
    plain.or_else(|| parse_parametric(name.trim())).ok_or_else(|| {
        Error::configuration(format!("there is no type named {name:?}"))
            .hint("for example int64, double, string, bool, date, timestamp[us], decimal(10, 2)")
    })
}

fn parse_parametric(text: &str) -> Option<DataType> {
    let open = text.find(['[', '('])?;
    let inner = text[open + 1..].strip_suffix([']', ')'])?;
    let mut parts = inner.split(',').map(str::trim);
    let first = parts.next()?;
    let second = parts.next();
    match text[..open].trim().to_ascii_lowercase().as_str() {
        "timestamp" | "datetime" => {
            let zone = second.map(|zone| zone.strip_prefix("tz=").unwrap_or(zone).into());
            Some(DataType::Timestamp(parse_unit(first)?, zone))
        }
        "time" | "time32" | "time64" => match parse_unit(first)? {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Some(DataType::Time32(unit)),
            unit => Some(DataType::Time64(unit)),
        },
        "decimal" | "decimal128" | "numeric" => {
            let precision: u8 = first.parse().ok()?;
            let scale: i8 = second.unwrap_or("0").parse().ok()?;
            let fits = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
            fits.then_some(DataType::Decimal128(precision, scale))
        }
        _ => None,
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn parse_unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_type() {
        for name in [
            "bool",
            "int8",
            "uint64",
            "float32",
            "float64",
            "string",
            "binary",
            "date",
            "time[ms]",
            "time[us]",
            "timestamp[us]",
            "timestamp[ns, UTC]",
            "timestamp[s, Europe/Berlin]",
            "decimal(38, 10)",
            "large_string",
        ] {
            let data_type = parse_type(name).expect(name);
            assert_eq!(type_name(&data_type).as_deref(), Some(name));
        }
    }

    #[test]
    fn arrows_own_spellings_are_understood() {
        assert_eq!(parse_type("date32[day]").ok(), Some(DataType::Date32));
        assert_eq!(parse_type("decimal128(10, 2)").ok(), Some(DataType::Decimal128(10, 2)));
        assert_eq!(
            parse_type("timestamp[us, tz=UTC]").ok(),
            Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        );
        assert!(parse_type("decimal(50, 2)").is_err());
        assert!(parse_type("sandwich").is_err());
    }
}
