//! Reads CSV files and throws the batches away: `cargo run --release --example read -- FILE...`, for profilers.

use dativo_plugin::{ReadContext, ReadRequest, Reader, ReaderPlugin, Result, SourceConfig};
use dativo_rust_csv::CsvReaderPlugin;

fn main() -> Result<()> {
    let files = std::env::args().skip(1).collect();
    let reader =
        CsvReaderPlugin::from_config(SourceConfig { files, options: serde_json::json!({}), ..Default::default() })?;
    let context = ReadContext::default();
    for split in reader.plan(&ReadRequest { guess: true, ..ReadRequest::default() }, &context)?.splits {
        let mut stream = reader.read(&split, &context)?;
        while let Some(batch) = stream.next() {
            std::hint::black_box(batch?);
        }
    }
    Ok(())
}
