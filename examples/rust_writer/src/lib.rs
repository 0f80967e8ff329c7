//! A writer of tab-separated text, a row a line.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use dativo_plugin::{Error, FileFormat, FileInfo, FileSink, Result, WriteContext};
use serde_json::{Value, json};

/// What stands for no value.
const NULL: &str = "\\N";

/// What a job names. `options.header`: whether the first line has the columns' names.
pub struct Tsv;

impl FileFormat for Tsv {
    const NAME: &'static str = "tsv";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const EXTENSION: &'static str = "tsv";
    type Sink = TsvFile;

    fn options_schema() -> Value {
        json!({"properties": {"header": {"type": "boolean", "default": true}}})
    }

    fn create(path: &Path, schema: SchemaRef, options: &Value, context: WriteContext) -> Result<TsvFile> {
        for field in schema.fields() {
            if !matches!(field.data_type(), DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8) {
                let message = format!("tsv can't write column {}: {}", field.name(), field.data_type());
                return Err(Error::configuration(message).hint("declare it as string in the contract"));
            }
        }
        let mut line = String::new();
        if options["header"].as_bool().unwrap_or(true) {
            for field in schema.fields() {
                put_text(&mut line, field.name());
                line.push('\t');
            }
            end_line(&mut line);
        }
        let mut file = TsvFile {
            path: path.to_owned(),
            out: BufWriter::new(File::create_new(path).map_err(|error| failed(&error, path))?),
            context,
            rows: 0,
            bytes: 0,
        };
        file.put(&line)?;
        Ok(file)
    }
}

/// One file being written.
pub struct TsvFile {
    path: PathBuf,
    out: BufWriter<File>,
    context: WriteContext,
    rows: u64,
    bytes: u64,
}

impl TsvFile {
    fn put(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(|error| failed(&error, &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

impl FileSink for TsvFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.context.cancel.check()?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                put_value(&mut text, column, row);
                text.push('\t');
            }
            end_line(&mut text);
        }
        self.rows += batch.num_rows() as u64;
        self.put(&text)
    }

    fn bytes_written(&self) -> u64 {
        self.bytes
    }

    fn finish(mut self: Box<Self>) -> Result<FileInfo> {
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(|error| failed(&error, &self.path))?;
        let path = self.path.to_string_lossy().into_owned();
        Ok(FileInfo { path, rows: self.rows, bytes: self.bytes, row_groups: 1 })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|error| failed(&error, &self.path))
    }
}

fn failed(error: &std::io::Error, path: &Path) -> Error {
    Error::io(error, &path.to_string_lossy())
}

fn put_value(text: &mut String, column: &dyn Array, row: usize) {
    if column.is_null(row) {
        text.push_str(NULL);
        return;
    }
    // Writing to a String does not fail.
    let _ = match column.data_type() {
        DataType::Int64 => write!(text, "{}", column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => write!(text, "{}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => write!(text, "{}", column.as_boolean().value(row)),
        _ => {
            put_text(text, column.as_string::<i32>().value(row));
            Ok(())
        }
    };
}

fn put_text(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\\' => text.push_str("\\\\"),
            other => text.push(other),
        }
    }
}

/// In place of the tab behind the last value.
fn end_line(text: &mut String) {
    text.pop();
    text.push('\n');
}

#[cfg(feature = "python")]
mod python {
    dativo_plugin_ffi::export_python! {
        module dativo_tsv;
        file_format Sink = crate::Tsv;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, StringArray};
    use arrow_schema::{Field, Schema};

    use super::*;

    #[test]
    fn a_row_is_a_line_whatever_its_texts_hold() -> Result<()> {
        let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("celsius", DataType::Float64, true)];
        let schema = Arc::new(Schema::new(fields));
        let names = StringArray::from(vec![Some("a\tb\nc\\d"), None]);
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![Arc::new(names), Arc::new(Float64Array::from(vec![Some(-1.5), None]))],
        )?;
        let path = std::env::temp_dir().join(format!("dativo-tsv-{}.tsv", std::process::id()));
        let mut sink = Box::new(Tsv::create(&path, schema, &json!({}), WriteContext::default())?);
        sink.write(&batch)?;
        let told = sink.finish()?;
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error, &path))?;
        std::fs::remove_file(&path).map_err(|error| failed(&error, &path))?;
        assert_eq!(text, "name\tcelsius\na\\tb\\nc\\\\d\t-1.5\n\\N\t\\N\n");
        assert_eq!((told.rows, told.bytes), (2, text.len() as u64));
        Ok(())
    }

    #[test]
    fn a_type_that_is_no_text_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("day", DataType::Date32, true)]));
        let refused = Tsv::create(Path::new("nowhere"), schema, &json!({}), WriteContext::default());
        assert!(refused.is_err_and(|error| error.to_string().contains("column day")));
    }
}
