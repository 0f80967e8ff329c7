//! Any bytes are a table or an error, and the same one whatever the sizes of splits and blocks.
#![no_main]

use arrow_array::RecordBatch;
use dativo_plugin::{ReadContext, ReadRequest, Reader, ReaderPlugin, Result, SourceConfig};
use dativo_rust_csv::{CsvReader, CsvReaderPlugin};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn options(choice: u8) -> Value {
    let bit = |number: u8| choice & (1 << number) != 0;
    json!({
        "delimiter": if bit(0) { "auto" } else { "," },
        "quote_char": if bit(1) { "auto" } else { "\"" },
        "escape_char": if bit(2) { Some("\\") } else { None },
        "comment": if bit(3) { Some("#") } else { None },
        "header": !bit(4),
        "trim": bit(5),
        "bad_lines": if bit(6) { "skip" } else { "error" },
        "encoding": if bit(7) { "auto" } else { "utf-8" },
        "date_formats": ["%d/%m/%Y"],
        "thousands_separator": if bit(5) { Some("'") } else { None },
        "max_field_bytes": 4096,
    })
}

fn rows(reader: &CsvReader) -> Result<Vec<String>> {
    let context = ReadContext { parallelism: 1, ..ReadContext::default() };
    let plan = reader.plan(&ReadRequest::default(), &context)?;
    let mut rows = Vec::new();
    for split in &plan.splits {
        let mut stream = reader.read(split, &context)?;
        while let Some(batch) = stream.next() {
            let batch: RecordBatch = batch?;
            rows.extend((0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())));
        }
    }
    Ok(rows)
}

fuzz_target!(|input: &[u8]| {
    let [choice, split_bytes, block_bytes, text @ ..] = input else { return };
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let reader = || {
        let files = vec![file.path().display().to_string()];
        CsvReaderPlugin::from_config(SourceConfig { files, options: options(*choice), ..SourceConfig::default() })
            .expect("options")
    };
    let whole = rows(&reader());
    let parts = rows(&reader().with_sizes(u64::from(*split_bytes), usize::from(*block_bytes)));
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => assert_eq!(whole, parts),
        (Err(whole), Err(parts)) => assert_eq!(whole.kind, parts.kind, "{whole} and {parts}"),
        // A sample of other places may infer other types, which a later value then does not fit.
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => {
            assert_eq!(error.kind, dativo_plugin::Kind::SchemaMismatchError, "{error}");
        }
    }
});
