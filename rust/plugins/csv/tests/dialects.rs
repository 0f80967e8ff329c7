//! How files are written down, said or found: delimiters, quotes, headers, encodings, forms of numbers and dates.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Files, read, read_with, reader, table};
use dativo_plugin::{Kind, ReadContext, ReadRequest, Reader};
use serde_json::json;

#[test]
fn what_is_left_to_be_found_is_found_and_said() {
    let everything =
        json!({"delimiter": "auto", "quote_char": "auto", "escape_char": "auto", "header": "auto", "encoding": "auto"});
    let files = Files::new();
    for (name, bytes, note, wanted) in [
        (
            "plain",
            &b"id,name\n1,a\n2,\"b,c\"\n"[..],
            "2 columns, delimiter ',' (detected), quote '\"' (detected), escape none (detected), header (detected), \
             encoding utf-8 (detected)",
            table(&[("id", "int64"), ("name", "string")], &[&["1", "\"a\""], &["2", "\"b,c\""]]),
        ),
        (
            "single quotes",
            b"id|name\n1|'a|b'\n2|'it''s'\n",
            "2 columns, delimiter '|' (detected), quote '\\'' (detected), escape none (detected), header (detected), \
             encoding utf-8 (detected)",
            table(&[("id", "int64"), ("name", "string")], &[&["1", "\"a|b\""], &["2", "\"it's\""]]),
        ),
        (
            "backslashes",
            b"id\tname\n1\t\"a \\\"b\\\" c\"\n2\t\"d\"\n",
            "2 columns, delimiter tab (detected), quote '\"' (detected), escape '\\\\' (detected), header (detected), \
             encoding utf-8 (detected)",
            table(&[("id", "int64"), ("name", "string")], &[&["1", "\"a \\\"b\\\" c\""], &["2", "\"d\""]]),
        ),
        (
            "no header, old encoding",
            b"1;caf\xE9\n2;\x80\n",
            "2 columns, delimiter ';' (detected), quote '\"' (detected), escape none (detected), no header (detected), \
             encoding windows-1252 (detected)",
            table(&[("column_1", "int64"), ("column_2", "string")], &[&["1", "\"caf\u{e9}\""], &["2", "\"\u{20ac}\""]]),
        ),
        (
            "apostrophes",
            b"id,name\n1,'tis\n2,'twas\n",
            "2 columns, delimiter ',' (detected), quote '\"' (detected), escape none (detected), header (detected), \
             encoding utf-8 (detected)",
            table(&[("id", "int64"), ("name", "string")], &[&["1", "\"'tis\""], &["2", "\"'twas\""]]),
        ),
    ] {
        let path = files.add(name, bytes);
        let plan = reader(&[&path], everything.clone())
            .unwrap()
            .plan(&ReadRequest::default(), &ReadContext::default())
            .unwrap();
        assert_eq!(plan.notes[0], note, "{name}");
        assert_eq!(read(&[&path], everything.clone()).unwrap(), wanted, "{name}");
    }
}

#[test]
fn utf16_without_a_mark_is_found() {
    let files = Files::new();
    for little in [true, false] {
        let bytes: Vec<u8> = "a,b\n1,\u{e9}\n"
            .encode_utf16()
            .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect();
        let found = read(&[&files.add("x.csv", bytes)], json!({"encoding": "auto"})).unwrap();
        assert_eq!(found, table(&[("a", "int64"), ("b", "string")], &[&["1", "\"\u{e9}\""]]));
    }
}

#[test]
fn numbers_are_read_with_the_separators_given() {
    let files = Files::new();
    let path = files.add("x.csv", "a;b;c\n1.234;1,5;1.5\n-2;1.000,25;x\n\"3\";\"2,5\";\n");
    let options = json!({"decimal_separator": ",", "thousands_separator": "."});
    let found = read(&[&path], options.clone()).unwrap();
    assert_eq!(
        found,
        table(
            &[("a", "int64"), ("b", "float64"), ("c", "string")],
            &[&["1234", "1.5", "\"1.5\""], &["-2", "1000.25", "\"x\""], &["3", "2.5", "null"]],
        )
    );
    let exact = ReadRequest {
        widen: [("b".to_owned(), "decimal(10,2)".to_owned())].into(),
        columns: Some(vec!["b".to_owned()]),
        ..ReadRequest::default()
    };
    let decimals = read_with(&reader(&[&path], options).unwrap(), &exact).unwrap();
    assert_eq!(decimals, table(&[("b", "decimal(10, 2)")], &[&["150"], &["100025"], &["250"]]));
}

#[test]
fn dates_and_times_are_read_in_the_forms_given() {
    let files = Files::new();
    let path = files.add(
        "x.csv",
        "day,at,zoned\n31/12/2024,1/2/24 01:05 PM,1 Jan 2024 00:00 +0100\n2025-01-01,2024-01-02T03:04:05,\n",
    );
    let options = json!({
        "date_formats": ["%d/%m/%Y"],
        "timestamp_formats": ["%m/%d/%y %I:%M %p", "%d %b %Y %H:%M %z"],
    });
    let found = read(&[&path], options).unwrap();
    assert_eq!(
        found,
        table(
            &[("day", "date"), ("at", "timestamp[us]"), ("zoned", "timestamp[us, UTC]")],
            &[
                &["2024-12-31", "2024-01-02T13:05:00", "2023-12-31T23:00:00 (Unknown Time Zone 'UTC')"],
                &["2025-01-01", "2024-01-02T03:04:05", "null"],
            ],
        )
    );
    for (option, format) in [("date_formats", "%d/%m"), ("date_formats", "%F %T"), ("timestamp_formats", "%F %Q")] {
        let error = reader(&[&path], json!({option: [format]})).err().unwrap();
        assert_eq!(error.kind, Kind::ConfigurationError, "{format}");
        assert!(error.message.contains(format) && error.message.contains(option), "{}", error.message);
    }
}

#[test]
fn bytes_are_read_from_hexadecimal_or_base64() {
    let files = Files::new();
    let path = files.add("x.csv", "a\n00ff\nAB\n\"\"\n");
    let request = ReadRequest { widen: [("a".to_owned(), "binary".to_owned())].into(), ..ReadRequest::default() };
    let hex = read_with(&reader(&[&path], json!({"binary_format": "hex"})).unwrap(), &request).unwrap();
    assert_eq!(hex.rows, [["[0, 255]"], ["[171]"], ["[]"]]);
    let base64 = files.add("y.csv", "a\nAP8=\n");
    let found = read_with(&reader(&[&base64], json!({"binary_format": "base64"})).unwrap(), &request).unwrap();
    assert_eq!(found.rows, [["[0, 255]"]]);
    let wrong = read_with(&reader(&[&path], json!({"binary_format": "base64"})).unwrap(), &request).unwrap_err();
    assert_eq!(wrong.kind, Kind::SchemaMismatchError);
    assert!(wrong.message.contains("row 2"), "{}", wrong.message);
}
