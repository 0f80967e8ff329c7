//! Whole reads: plan, splits, streams, through the public traits alone.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use dativo_plugin::{
    CancelToken, Error, Kind, ReadContext, ReadRequest, Reader, ReaderPlugin, SourceConfig, type_name,
};
use dativo_rust_csv::{CsvReader, CsvReaderPlugin};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of input files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn reader(paths: &[&Path], options: Value) -> Result<CsvReader, Error> {
    let files = paths.iter().map(|path| path.display().to_string()).collect();
    CsvReaderPlugin::from_config(SourceConfig { files, options, ..SourceConfig::default() })
}

#[derive(Debug, PartialEq)]
struct Table {
    columns: Vec<(String, String)>,
    rows: Vec<Vec<String>>,
}

fn read_with(reader: &CsvReader, request: &ReadRequest) -> Result<Table, Error> {
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

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    let text = format!("{:?}", column.slice(row, 1));
    let body = text.split_once("[\n").unwrap().1;
    body.rsplit_once("\n]").unwrap().0.trim_start().trim_end_matches(',').to_owned()
}

fn read(files: &[&Path], options: Value) -> Result<Table, Error> {
    read_with(&reader(files, options)?, &ReadRequest::default())
}

fn table(columns: &[(&str, &str)], rows: &[&[&str]]) -> Table {
    Table {
        columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
        rows: rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
    }
}

/// Where every split and block size must give one and the same table.
const NASTY: [&[u8]; 16] = [
    b"a,b\n1,2\n3,4\n",
    b"a,b\r\n1,\"x\r\ny\"\r\n3,4",
    b"a,b\r1,2\r3,4\r",
    b"a,b\n1,\"x\ny,\"\"z\"\"\n\"\n2,\"\"\n3,\n\n\n4,\"\n\"\n",
    b"a,b\n1,5\" pipe\n2,6\" pipe\n3,\"ok\nok\"\n",
    b"a,b\n1,\"x\"tail\n2,\"y\"\"\"\n",
    b"\xEF\xBB\xBFa,b\n1,2\n",
    b"a,b",
    b"a,b\n",
    b"a,b\n1,2\n\n\n",
    b"\n\na,b\n1,2\n",
    b"a\n\"\"\nx\n\n\"\n\"\ny",
    b"a,b\n\"\"\"\",\"\"\"\"\"\"\n\"\"\"\n\"\"\",1\n",
    b"a,b\n\xC3\xA9,\xE2\x82\xAC\n\"\xF0\x9F\xA6\x80\n\",z\n",
    b"a;b\n1;\"2,\n3\"\n4;5\n",
    b"a\tb\n1\t2\n\t\n",
];

#[test]
fn every_split_and_block_size_gives_the_same_table() {
    let files = Files::new();
    for (number, bytes) in NASTY.iter().enumerate() {
        let path = files.add(&format!("{number}.csv"), bytes);
        let whole = read(&[&path], json!({})).unwrap();
        for split_bytes in 1..=bytes.len() as u64 + 1 {
            for block_bytes in [1, 2, 3, 7, 64] {
                let reader = reader(&[&path], json!({})).unwrap().with_sizes(split_bytes, block_bytes);
                let found = read_with(&reader, &ReadRequest::default()).unwrap();
                assert_eq!(found, whole, "file {number}, splits of {split_bytes}, blocks of {block_bytes}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_well_formed_table_reads_back_whatever_the_sizes(
        rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r é]{0,6}", 2), 0..20),
        split_bytes in 1_u64..40,
        block_bytes in 1_usize..40,
    ) {
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let mut text = "x,y\n".to_owned();
        for row in &rows {
            text += &row.iter().map(quoted).collect::<Vec<_>>().join(",");
            text.push('\n');
        }
        let files = Files::new();
        let path = files.add("x.csv", text);
        let reader = reader(&[&path], json!({"infer_types": false})).unwrap().with_sizes(split_bytes, block_bytes);
        let found = read_with(&reader, &ReadRequest::default()).unwrap();
        let wanted: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|text| format!("{text:?}")).collect()).collect();
        prop_assert_eq!(found.rows, wanted);
    }
}

#[test]
fn types_are_inferred_and_nulls_are_unquoted_texts() {
    let files = Files::new();
    let path = files.add(
        "x.csv",
        "i,f,b,d,t,z,s,n\n1,1.5,true,2024-01-02,2024-01-02 03:04:05,2024-01-02T03:04:05+01:00,007,NA\n,,,,,,\"\",\n",
    );
    let found = read(&[&path], json!({"null_values": ["", "NA"]})).unwrap();
    let columns: Vec<&str> = found.columns.iter().map(|(_, kind)| kind.as_str()).collect();
    let wanted = ["int64", "float64", "bool", "date", "timestamp[us]", "timestamp[us, UTC]", "string", "string"];
    assert_eq!(columns, wanted);
    assert_eq!(found.rows[0][5], "2024-01-02T02:04:05 (Unknown Time Zone 'UTC')");
    assert_eq!(found.rows[0][6..], ["\"007\"", "null"]);
    assert_eq!(found.rows[1], ["null", "null", "null", "null", "null", "null", "\"\"", "null"]);
}

#[test]
fn a_late_value_names_the_column_and_the_type_that_would_do() {
    let files = Files::new();
    let mut text = "a,b\n".to_owned();
    text.extend((0..50).map(|number| format!("{number},{number}\n")));
    let float = files.add("float.csv", format!("{text}2.5,1\n"));
    let error = read(&[&float], json!({"infer_rows": 10})).unwrap_err();
    assert_eq!(error.kind, Kind::SchemaMismatchError);
    assert_eq!(error.details["column"], "a");
    assert_eq!(error.details["widen_to"], "double");
    assert_eq!((&error.details["row"], &error.details["line"]), (&json!(51), &json!(52)));

    let mut request = ReadRequest::default();
    request.widen.insert("a".to_owned(), "double".to_owned());
    let found = read_with(&reader(&[&float], json!({"infer_rows": 10})).unwrap(), &request).unwrap();
    assert_eq!(found.columns[0].1, "float64");
    assert_eq!(found.rows.len(), 51);

    let word = files.add("word.csv", format!("{text}x,1\n"));
    let error = read(&[&word], json!({"infer_rows": 10})).unwrap_err();
    assert_eq!(error.details["widen_to"], "string");
}

#[test]
fn a_place_in_a_later_split_is_told_by_row_and_line_of_the_file() {
    let files = Files::new();
    let mut text = "a,b\n".to_owned();
    text.extend((0..200).map(|number| format!("{number},\"x\ny\"\n")));
    text += "200,z,3\n";
    let path = files.add("x.csv", &text);
    for split_bytes in [50, 1 << 20] {
        let reader = reader(&[&path], json!({})).unwrap().with_sizes(split_bytes, 64);
        let error = read_with(&reader, &ReadRequest::default()).unwrap_err();
        assert_eq!(error.error_code, "RAGGED_ROW");
        assert_eq!((&error.details["row"], &error.details["line"]), (&json!(201), &json!(402)));
        assert_eq!(error.details["byte"], text.len() - 8);
        assert_eq!((&error.details["columns"], &error.details["expected_columns"]), (&json!(3), &json!(2)));
    }
}

#[test]
fn a_schema_is_followed_without_losing_a_digit() {
    let files = Files::new();
    let path = files.add("x.csv", "n,amount,at,flag,extra\n12,1.50,2024-01-02T00:00:00Z,no,9\n");
    let schema = |n: DataType| {
        Some(Arc::new(Schema::new(vec![
            Field::new("n", n, false),
            Field::new("amount", DataType::Decimal128(5, 2), true),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
            Field::new("flag", DataType::Boolean, true),
            Field::new("absent", DataType::Int64, true),
        ])))
    };
    let options = json!({"true_values": ["yes"], "false_values": ["no"]});
    let request = ReadRequest { schema: schema(DataType::Int8), ..ReadRequest::default() };
    let found = read_with(&reader(&[&path], options.clone()).unwrap(), &request).unwrap();
    let kinds: Vec<&str> = found.columns.iter().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["int8", "decimal(5, 2)", "timestamp[ms, UTC]", "bool", "int64"]);
    assert_eq!(found.rows, [["12", "150", "2024-01-02T00:00:00 (Unknown Time Zone 'UTC')", "false", "9"]]);

    let path = files.add("y.csv", "n,amount,at,flag,extra\n300,1.50,2024-01-02T00:00:00Z,no,9\n");
    let error = read_with(&reader(&[&path], options).unwrap(), &request).unwrap_err();
    assert_eq!((error.kind, &error.details["widen_to"]), (Kind::SchemaMismatchError, &json!("string")));
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let files = Files::new();
    let path = files.add("x.csv", "a,b,c\n1,2,3\n");
    let request = ReadRequest { columns: Some(vec!["c".into(), "a".into()]), ..ReadRequest::default() };
    let found = read_with(&reader(&[&path], json!({})).unwrap(), &request).unwrap();
    assert_eq!(found, table(&[("c", "int64"), ("a", "int64")], &[&["3", "1"]]));
    let request = ReadRequest { columns: Some(vec!["d".into()]), ..ReadRequest::default() };
    assert!(read_with(&reader(&[&path], json!({})).unwrap(), &request).is_err());
    let request = ReadRequest { columns: Some(vec![]), ..ReadRequest::default() };
    assert_eq!(read_with(&reader(&[&path], json!({})).unwrap(), &request).unwrap().rows, [Vec::<String>::new()]);
}

#[test]
fn files_of_another_column_order_are_read_by_name_and_others_refused() {
    let files = Files::new();
    let first = files.add("1.csv", "a,b\n1,x\n");
    let second = files.add("2.csv", "b,a\ny,2\n");
    let found = read(&[&first, &second], json!({})).unwrap();
    assert_eq!(found, table(&[("a", "int64"), ("b", "string")], &[&["1", "\"x\""], &["2", "\"y\""]]));
    let third = files.add("3.csv", "a,c\n1,2\n");
    let error = read(&[&first, &third], json!({})).unwrap_err();
    assert_eq!((&error.details["missing"], &error.details["extra"]), (&json!(["b"]), &json!(["c"])));
}

#[test]
fn files_with_little_in_them() {
    let files = Files::new();
    let empty = files.add("empty.csv", "");
    let error = read(&[&empty], json!({})).unwrap_err();
    assert_eq!((error.kind, error.error_code.as_str()), (Kind::ValidationError, "EMPTY_FILE"));
    let header = files.add("header.csv", "a,b\n");
    let nothing = table(&[("a", "string"), ("b", "string")], &[]);
    assert_eq!(read(&[&header], json!({})).unwrap(), nothing);
    assert_eq!(read(&[&empty, &header], json!({})).unwrap(), nothing);
    assert_eq!(read(&[&empty], json!({"column_names": ["a", "b"]})).unwrap(), nothing);
    let rows = files.add("rows.csv", "1,x\n2,y\n");
    let found = read(&[&rows], json!({"header": false})).unwrap();
    assert_eq!(found.columns[0], ("column_1".to_owned(), "int64".to_owned()));
    assert_eq!(found.rows.len(), 2);
}

#[test]
fn bad_headers_name_their_columns() {
    let files = Files::new();
    let double = files.add("double.csv", "a,b,a\n1,2,3\n");
    let error = read(&[&double], json!({})).unwrap_err();
    assert!(error.message.contains("more than once: a"), "{error}");
    assert_eq!(error.details["columns"], json!([3]));
    let empty = files.add("empty.csv", "a,,c\n1,2,3\n");
    assert_eq!(read(&[&empty], json!({})).unwrap_err().details["columns"], json!([2]));
    assert!(read(&[&double], json!({"column_names": ["a", "b", "c"]})).is_ok());
}

#[test]
fn bad_rows_stop_the_read_or_are_counted() {
    let files = Files::new();
    let path = files.add("x.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n");
    assert_eq!(read(&[&path], json!({})).unwrap_err().details["line"], 3);
    let reader = reader(&[&path], json!({"bad_lines": "skip"})).unwrap().with_sizes(1 << 20, 4);
    let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
    let mut stream = reader.read(&plan.splits[0], &ReadContext::default()).unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next() {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!((rows, &stream.metrics()["bad_rows"]), (2, &json!(2)));
}

#[test]
fn text_that_cannot_be_read_is_named_by_byte_row_and_line() {
    let files = Files::new();
    let open = files.add("open.csv", "a,b\n1,2\n3,\"4\n5,6\n");
    let error = read(&[&open], json!({})).unwrap_err();
    assert_eq!(error.error_code, "OPEN_QUOTE");
    assert_eq!(
        (&error.details["byte"], &error.details["row"], &error.details["line"]),
        (&json!(10), &json!(2), &json!(3))
    );
    let invalid = files.add("invalid.csv", b"a,b\n1,x\n2,\xFF\n");
    let error = read(&[&invalid], json!({})).unwrap_err();
    assert_eq!((error.error_code.as_str(), &error.details["byte"]), ("INVALID_ENCODING", &json!(10)));
    let long = files.add("long.csv", format!("a,b\n1,{}\n", "x".repeat(100)));
    let error = read(&[&long], json!({"max_field_bytes": 50})).unwrap_err();
    assert_eq!((error.error_code.as_str(), &error.details["row"]), ("FIELD_TOO_LONG", &json!(1)));
}

#[test]
fn a_huge_field_is_read() {
    let files = Files::new();
    let path = files.add("x.csv", format!("a,b\n1,\"{}\"\n2,y\n", "x\n".repeat(10 << 20)));
    assert_eq!(read(&[&path], json!({})).unwrap().rows.len(), 2);
}

#[test]
fn every_compression_reads_as_the_plain_file() {
    let text = (0..5000).map(|number| format!("{number},name {number}\n")).collect::<String>();
    let text = format!("id,name\n{text}");
    let files = Files::new();
    let plain = read(&[&files.add("x.csv", &text)], json!({})).unwrap();
    let gzip = |text: &str| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap()
    };
    let (left, right) = text.split_at(text.len() / 2);
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(text.as_bytes()).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(text.as_bytes()).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_directory("folder/", zip::write::SimpleFileOptions::default()).unwrap();
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("folder/x.csv", stored).unwrap();
    zip.write_all(text.as_bytes()).unwrap();
    let inputs = [
        ("x.csv.gz", [gzip(left), gzip(right)].concat()),
        ("x.csv.zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ("x.csv.bz2", bz2.finish().unwrap()),
        ("x.csv.xz", xz.finish().unwrap()),
        ("x.csv.zip", zip.finish().unwrap().into_inner()),
    ];
    for (name, bytes) in inputs {
        assert_eq!(read(&[&files.add(name, &bytes)], json!({})).unwrap(), plain, "{name}");
        let path = files.add(name, &bytes[..bytes.len() / 2]);
        let error = read(&[&path], json!({})).unwrap_err();
        assert_eq!((error.kind, error.error_code.as_str()), (Kind::ValidationError, "DAMAGED_FILE"), "{name}: {error}");
    }
}

#[test]
fn encodings_become_utf8() {
    let files = Files::new();
    let wanted = read(&[&files.add("utf8.csv", "a,b\né,€\n")], json!({})).unwrap();
    let utf16 = |little: bool| -> Vec<u8> {
        "\u{FEFF}a,b\né,€\n"
            .encode_utf16()
            .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect()
    };
    assert_eq!(read(&[&files.add("le.csv", utf16(true))], json!({})).unwrap(), wanted);
    assert_eq!(read(&[&files.add("be.csv", utf16(false))], json!({"encoding": "utf-16"})).unwrap(), wanted);
    let windows = files.add("w.csv", b"a,b\n\xE9,\x80\n");
    for name in ["windows-1252", "cp1252"] {
        assert_eq!(read(&[&windows], json!({"encoding": name})).unwrap(), wanted);
    }
    let latin = read(&[&windows], json!({"encoding": "latin-1"})).unwrap();
    assert_eq!(latin.rows, [["\"é\"", "\"\\u{80}\""]]);
    let broken = files.add("sj.csv", b"a,b\n1,\x82\n");
    let error = read(&[&broken], json!({"encoding": "shift_jis"})).unwrap_err();
    assert_eq!((error.error_code.as_str(), &error.details["byte"]), ("INVALID_ENCODING", &json!(6)));
    assert!(reader(&[&windows], json!({"encoding": "klingon"})).is_err());
}

#[test]
fn what_is_no_readable_file_is_said() {
    let files = Files::new();
    let missing = files.0.path().join("missing.csv");
    assert_eq!(read(&[&missing], json!({})).unwrap_err().error_code, "FILE_NOT_FOUND");
    assert_eq!(read(&[files.0.path()], json!({})).unwrap_err().error_code, "IS_A_DIRECTORY");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_noticed() {
    let files = Files::new();
    let path = files.add("x.csv", "a,b\n1,2\n3,4\n");
    let reader = reader(&[&path], json!({})).unwrap();
    let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
    files.add("x.csv", "a,b\n1,2\n");
    let mut stream = reader.read(&plan.splits[0], &ReadContext::default()).unwrap();
    assert_eq!(stream.next().unwrap().unwrap_err().error_code, "FILE_CHANGED");
}

#[test]
fn rows_appended_after_the_plan_belong_to_the_next_run() {
    let files = Files::new();
    let path = files.add("x.csv", "a\n1\n");
    let reader = reader(&[&path], json!({})).unwrap();
    let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
    files.add("x.csv", "a\n1\n2\n");
    let mut stream = reader.read(&plan.splits[0], &ReadContext::default()).unwrap();
    assert_eq!(stream.next().unwrap().unwrap().num_rows(), 1);
    assert!(stream.next().is_none());
}

#[test]
fn many_small_files_share_splits() {
    let files = Files::new();
    let paths: Vec<PathBuf> = (0..300).map(|n| files.add(&format!("{n:03}.csv"), format!("a\n{n}\n"))).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let reader = reader(&paths, json!({})).unwrap();
    let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
    assert!(plan.splits.len() < 10, "{} splits", plan.splits.len());
    let found = read_with(&reader, &ReadRequest::default()).unwrap();
    assert_eq!(found.rows, (0..300).map(|n| vec![n.to_string()]).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_read_stops() {
    let files = Files::new();
    let path = files.add("x.csv", "a\n1\n2\n");
    let reader = reader(&[&path], json!({})).unwrap().with_sizes(1 << 20, 3);
    let context = ReadContext { cancel: CancelToken::new(), ..ReadContext::default() };
    let plan = reader.plan(&ReadRequest::default(), &context).unwrap();
    let mut stream = reader.read(&plan.splits[0], &context).unwrap();
    assert!(stream.next().unwrap().is_ok());
    context.cancel.cancel();
    assert_eq!(stream.next().unwrap().unwrap_err().kind, Kind::CancelledError);
    assert!(stream.next().is_none());
}

#[test]
fn unknown_options_are_refused() {
    let files = Files::new();
    let path = files.add("x.csv", "a\n1\n");
    for options in [json!({"delimeter": ","}), json!({"delimiter": "ab"}), json!({"quote_char": "é"})] {
        assert_eq!(reader(&[&path], options).err().map(|error| error.kind), Some(Kind::ConfigurationError));
    }
}
