//! Whole reads: plan, splits, streams, through the public traits alone.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use common::{Files, read, read_with, reader, table};
use dativo_plugin::{CancelToken, Kind, ReadContext, ReadRequest, Reader};
use serde_json::json;

#[test]
fn memory_is_filled_again_only_when_nobody_looks_at_it() {
    let files = Files::new();
    let row = |number: usize| match number % 3 {
        0 => format!("{number},{number}.5,\"a \"\"{number}\"\"\",true\n"),
        1 => format!(",,,\n{number},,,false\n"),
        _ => format!("-{number},0.25,{},\n", "long ".repeat(number % 50)),
    };
    let text: String = (0..3000).map(row).collect();
    let path = files.add("x.csv", format!("i,f,t,b\n{text}"));
    let reader = reader(&[&path], json!({})).unwrap().with_sizes(u64::MAX, 700);
    let context = ReadContext::default();
    let plan = reader.plan(&ReadRequest::default(), &context).unwrap();
    let mut wanted = Vec::new();
    // Every batch kept, none, and one now and then.
    for keep in [|_: usize| true, |_: usize| false, |number: usize| number % 3 == 1] {
        let mut stream = reader.read(&plan.splits[0], &context).unwrap();
        let (mut kept, mut all) = (Vec::new(), Vec::new());
        while let Some(batch) = stream.next() {
            let batch = batch.unwrap();
            all.push(format!("{batch:?}"));
            kept.extend(keep(all.len()).then_some((all.len() - 1, batch)));
        }
        assert!(all.len() > 50, "{} batches", all.len());
        for (number, batch) in kept {
            assert_eq!(format!("{batch:?}"), all[number]);
        }
        if wanted.is_empty() {
            wanted = all;
        } else {
            assert!(all == wanted);
        }
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
