//! Files to read, and what reading them gives.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use arrow_array::Array;
use dativo_plugin::{Error, ReadContext, ReadRequest, Reader, ReaderPlugin, SourceConfig, type_name};
use dativo_rust_csv::{CsvReader, CsvReaderPlugin};
use serde_json::Value;
use tempfile::TempDir;

/// A folder of input files.
pub struct Files(pub TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn add(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

pub fn reader(paths: &[&Path], options: Value) -> Result<CsvReader, Error> {
    let files = paths.iter().map(|path| path.display().to_string()).collect();
    CsvReaderPlugin::from_config(SourceConfig { files, options, ..SourceConfig::default() })
}

#[derive(Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<(String, String)>,
    pub rows: Vec<Vec<String>>,
}

pub fn read_with(reader: &CsvReader, request: &ReadRequest) -> Result<Table, Error> {
    let context = ReadContext { parallelism: 2, ..ReadContext::default() };
    let plan = reader.plan(request, &context)?;
    let schema = plan.schema.unwrap();
    let columns =
        schema.fields().iter().map(|field| (field.name().clone(), type_name(field.data_type()).unwrap())).collect();
    let mut rows = Vec::new();
    for split in &plan.splits {
        let mut stream = reader.read(split, &context)?;
        assert_eq!(stream.schema(), schema);
        while let Some(batch) = stream.next() {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                rows.push(batch.columns().iter().map(|column| cell(column, row)).collect());
            }
        }
    }
    Ok(Table { columns, rows })
}

pub fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    let text = format!("{:?}", column.slice(row, 1));
    let body = text.split_once("[\n").unwrap().1;
    body.rsplit_once("\n]").unwrap().0.trim_start().trim_end_matches(',').to_owned()
}

pub fn read(files: &[&Path], options: Value) -> Result<Table, Error> {
    read_with(&reader(files, options)?, &ReadRequest::default())
}

pub fn table(columns: &[(&str, &str)], rows: &[&[&str]]) -> Table {
    Table {
        columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
        rows: rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
    }
}
