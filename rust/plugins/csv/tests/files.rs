//! Files as they come: compressed, in other encodings, changing, empty, many.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{Files, read, read_with, reader, table};
use dativo_plugin::{Kind, ReadContext, ReadRequest, Reader};
use serde_json::json;

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

/// Writes the file until it can be told that it was.
fn rewrite(files: &Files, name: &str, content: impl AsRef<[u8]>) {
    let changed = || std::fs::metadata(files.0.path().join(name)).unwrap().modified().unwrap();
    let before = changed();
    while changed() == before {
        files.add(name, content.as_ref());
    }
}

#[test]
fn a_file_that_is_another_at_the_end_of_a_split_is_noticed() {
    let files = Files::new();
    let gzip = |text: &str| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap()
    };
    let path = files.add("x.csv", "a,b\n1,2\n");
    let packed = files.add("x.csv.gz", gzip("a,b\n1,2\n"));
    for (path, happens) in [
        (&path, &(|| rewrite(&files, "x.csv", "a,b\n3,4\n")) as &dyn Fn()),
        (&path, &|| rewrite(&files, "x.csv", "a,b\n3,\"\n")),
        (&path, &|| {
            files.add("y.csv", "a,b\n1,2\n3,4\n");
            std::fs::rename(files.0.path().join("y.csv"), files.0.path().join("x.csv")).unwrap();
        }),
        (&packed, &|| rewrite(&files, "x.csv.gz", [gzip("a,b\n1,2\n"), gzip("3,4\n")].concat())),
    ] {
        let reader = reader(&[path], json!({})).unwrap();
        let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
        happens();
        let mut stream = reader.read(&plan.splits[0], &ReadContext::default()).unwrap();
        let error = std::iter::from_fn(|| stream.next()).find_map(Result::err).expect("an error");
        assert_eq!((error.error_code.as_str(), error.retryable), ("FILE_CHANGED", true), "{error}");
    }
}

#[test]
fn what_can_not_be_read_is_placed_by_row_and_line_and_what_is_before_it_is_read() {
    let files = Files::new();
    let mut rows = "1,\"\n\"\n".repeat(20_000).into_bytes();
    rows.extend_from_slice(b"3,\x82\n");
    let path = files.add("sj.csv", [b"a,b\n\n".as_slice(), &rows].concat());
    let reader = reader(&[&path], json!({"encoding": "shift_jis"})).unwrap();
    let plan = reader.plan(&ReadRequest::default(), &ReadContext::default()).unwrap();
    let mut stream = reader.read(&plan.splits[0], &ReadContext::default()).unwrap();
    let mut read = 0;
    let error = loop {
        match stream.next().expect("an error") {
            Ok(batch) => read += batch.num_rows(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.error_code.as_str(), read), ("INVALID_ENCODING", 20_000));
    let details = &error.details;
    assert_eq!((&details["row"], &details["line"]), (&json!(20_001), &json!(40_003)));
    assert_eq!(details["byte"], json!(5 + rows.len() - 2));
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
fn a_huge_field_is_read() {
    let files = Files::new();
    let path = files.add("x.csv", format!("a,b\n1,\"{}\"\n2,y\n", "x\n".repeat(10 << 20)));
    assert_eq!(read(&[&path], json!({})).unwrap().rows.len(), 2);
}

#[test]
fn many_small_files_come_in_few_batches_and_the_rows_before_a_fault_are_given_out() {
    let files = Files::new();
    let mut paths: Vec<PathBuf> = (0..700)
        .map(|number| files.add(&format!("{number:03}.csv"), format!("id,name\n{number},\"a\nb\"\n")))
        .collect();
    let options = json!({"infer_rows": 100});
    let context = ReadContext { parallelism: 2, ..ReadContext::default() };
    let read_all = |paths: &[PathBuf]| {
        let reader = reader(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>(), options.clone()).unwrap();
        let plan = reader.plan(&ReadRequest::default(), &context).unwrap();
        let mut batches = Vec::new();
        for split in &plan.splits {
            let mut stream = reader.read(split, &context).unwrap();
            while let Some(batch) = stream.next() {
                batches.push(batch.map(|batch| batch.num_rows()));
            }
        }
        batches
    };
    let rows: Vec<usize> = read_all(&paths).into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.iter().sum::<usize>(), 700);
    assert!(rows.len() < 10, "{rows:?}");

    paths.push(files.add("zzz.csv", "id,name\n1,a,b\n"));
    let mut batches = read_all(&paths);
    let error = batches.pop().unwrap().unwrap_err();
    assert_eq!(error.error_code, "RAGGED_ROW");
    assert_eq!(batches.into_iter().map(Result::unwrap).sum::<usize>(), 700);
}
