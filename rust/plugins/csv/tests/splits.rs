//! Where the input is cut makes no difference: splits and blocks of every size, and limits of every number of rows.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Files, Table, read, read_with, reader};
use dativo_plugin::{Error, ReadContext, ReadRequest, Reader};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Where every split and block size must give one and the same table, read as UTF-8 with the default options.
const NASTY: [&str; 22] = [
    "a,b\n1,2\n3,4\n",
    "a,b\r\n1,\"x\r\ny\"\r\n3,4",
    "a,b\r1,2\r3,4\r",
    "a,b\n1,\"x\ny,\"\"z\"\"\n\"\n2,\"\"\n3,\n\n\n4,\"\n\"\n",
    "a,b\n1,5\" pipe\n2,6\" pipe\n3,\"ok\nok\"\n",
    "a,b\n1,\"x\"tail\n2,\"y\"\"\"\n",
    "\u{FEFF}a,b\n1,2\n",
    "\u{FEFF}a,b\r\n",
    "\u{FEFF}a,b",
    "a,b",
    "a,b\n",
    "a,b\n1,2\n\n\n",
    "\n\na,b\n1,2\n",
    "\r\n\na,b\r\n\r\n1,2\r\n\r\n\n3,4\r\n\r\n",
    "a,b\r\r1,2\r\r\n3,\"\r\n\r\"\r",
    "a\n\"\"\nx\n\n\"\n\"\ny",
    "a,b\n\"\"\"\",\"\"\"\"\"\"\n\"\"\"\n\"\"\",1\n",
    "a,b\n\u{E9},\u{20AC}\n\"\u{1F980}\n\",z\n",
    "a;b\n1;\"2,\n3\"\n4;5\n",
    "a\tb\n1\t2\n\t\n",
    "\"a\r\nb\",c\r\n1,\r\n,2\r\n",
    "a,b\n1, \"x\n2, y\"\n",
];

/// Texts whose structure hangs on an option.
const OPTIONAL: [(&str, &str); 10] = [
    ("#x,\"\n#y\na,b\n#\"z\n1,\"#\n#2\"\n#\n\n3,4\n#end", r##"{"comment": "#"}"##),
    ("#\r\na,b\r\n#\r\n1,2\r\n#,,,\r\n", r##"{"comment": "#"}"##),
    ("a,b\n\"#1\",2\n1#,\"\"\"#\n#\"\n", r##"{"comment": "#"}"##),
    ("a,b\n1,\"x\\\"\ny\\\\\"\n2,\"\\\n\\\"\"\n", r#"{"escape_char": "\\"}"#),
    ("a,b\n1,\"x\"\"\\\"\n\"\n2,\\\n3,c\\d\n", r#"{"escape_char": "\\"}"#),
    ("# \" \na,b\n1,\"\\\"#\n# \\\"\"\n# \" \n2,3", r##"{"escape_char": "\\", "comment": "#"}"##),
    ("a,b\n1,\"2\n\"3,4\n", r#"{"quote_char": null}"#),
    ("a,b\n1,'x''\ny'\n2,\"\n", r#"{"quote_char": "'"}"#),
    ("one\r\n\"two\r\na,b\r\n1,2\r\n", r#"{"skip_rows": 2}"#),
    ("1,\"x\ny\"\n\n2,z", r#"{"header": false}"#),
];

/// Texts that can't be read, with the code, the byte, the row and the column of the error.
const BROKEN: [(&str, &str, u64, u64, &str); 6] = [
    ("a,b\n1,2\n3,\"4\n5,6\n", "OPEN_QUOTE", 10, 2, "b"),
    ("a,b\r\n1,\"x\"\r\n\"3,4\r\n5,6\r\n", "OPEN_QUOTE", 12, 2, "a"),
    ("a,b\n1,\"x\ny\"\n\"\"\"\n7,8\n", "OPEN_QUOTE", 12, 2, "a"),
    ("a,b\n\"1\",2\n3,\"", "OPEN_QUOTE", 12, 2, "b"),
    ("a,b\n1,2\n\n3,4,5\n6,\"7\n8\"\n", "RAGGED_ROW", 9, 2, ""),
    ("a,b\n1,\"x\ny\"\n3,a field that is longer than most\n", "FIELD_TOO_LONG", 14, 2, "b"),
];

fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(to_bytes).collect()
}

/// What every split and block size makes of the same bytes.
fn every_size(bytes: &[u8], options: &Value, mut check: impl FnMut(Result<Table, Error>, &str)) {
    let files = Files::new();
    let path = files.add("x.csv", bytes);
    for split_bytes in 1..=bytes.len() as u64 + 1 {
        for block_bytes in [1, 2, 3, 7, 64] {
            let reader = reader(&[&path], options.clone()).unwrap().with_sizes(split_bytes, block_bytes);
            let sizes = format!("{:?}, splits of {split_bytes}, blocks of {block_bytes}", bytes.escape_ascii());
            check(read_with(&reader, &ReadRequest::default()), &sizes);
        }
    }
}

fn every_size_reads_as(wanted: &Table, bytes: &[u8], options: &Value) {
    every_size(bytes, options, |found, sizes| assert_eq!(&found.unwrap(), wanted, "{sizes}"));
}

#[test]
fn every_split_and_block_size_gives_the_same_table_in_every_encoding() {
    let files = Files::new();
    let plain = NASTY.iter().map(|text| (*text, json!({})));
    let optional = OPTIONAL.iter().map(|(text, options)| (*text, serde_json::from_str(options).unwrap()));
    for (text, mut options) in plain.chain(optional) {
        let whole = read(&[&files.add("x.csv", text)], options.clone()).unwrap();
        every_size_reads_as(&whole, text.as_bytes(), &options);
        let text = text.trim_start_matches('\u{FEFF}');
        every_size_reads_as(&whole, &utf16(text, u16::to_le_bytes), &options);
        options["encoding"] = json!("utf-16");
        every_size_reads_as(&whole, &utf16(text, u16::to_be_bytes), &options);
        let latin: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        if let Some(bytes) = latin {
            options["encoding"] = json!("latin-1");
            every_size_reads_as(&whole, &bytes, &options);
        }
    }
}

#[test]
fn every_split_and_block_size_names_the_same_place_of_a_fault() {
    for (text, code, byte, row, column) in BROKEN {
        every_size(text.as_bytes(), &json!({"max_field_bytes": 30}), |found, sizes| {
            let error = found.unwrap_err();
            let detail = |key: &str| error.details.get(key).cloned().unwrap_or_default();
            let column = if column.is_empty() { Value::Null } else { json!(column) };
            let wanted = (code, json!(byte), json!(row), column);
            assert_eq!(
                (error.error_code.as_str(), detail("byte"), detail("row"), detail("column")),
                wanted,
                "{sizes}: {error}"
            );
        });
    }
}

#[test]
fn a_limit_gives_the_first_rows_of_all_files_and_looks_at_no_more() {
    let files = Files::new();
    let first = files.add("1.csv", "a,b\n1,x\n2,\"y\n\"\n\n3,z\n");
    let second = files.add("2.csv", "b,a\nx,4\ny,5\nbad,6,row\nx,no number\n\"open");
    let whole = [["1", "\"x\""], ["2", "\"y\\n\""], ["3", "\"z\""], ["4", "\"x\""], ["5", "\"y\""]];
    for block_bytes in [1, 5, 1 << 20] {
        let options = json!({"infer_rows": 4});
        let reader = reader(&[&first, &second], options).unwrap().with_sizes(1, block_bytes);
        for limit in 0..=5 {
            let request = ReadRequest { limit: Some(limit), ..ReadRequest::default() };
            let context = ReadContext { parallelism: 2, ..ReadContext::default() };
            let plan = reader.plan(&request, &context).unwrap();
            assert!(plan.splits.len() == 1 && plan.applied.contains(&"limit".to_owned()));
            assert_eq!(read_with(&reader, &request).unwrap().rows, whole[..limit as usize], "{limit} of {block_bytes}");
        }
        let request = ReadRequest { limit: Some(6), ..ReadRequest::default() };
        assert_eq!(read_with(&reader, &request).unwrap_err().error_code, "RAGGED_ROW");
    }
}

/// Reads a file of some megabytes whose record `number` is `odd`, in the splits of a plan that may guess.
fn read_guessed(odd: &str, number: usize) -> (bool, Vec<Result<usize, Error>>) {
    let files = Files::new();
    let record = |at: usize| if at == number { odd.to_owned() } else { format!("{at},\"some, text {at}\"\n") };
    let text: String = (0..900_000).map(record).collect();
    let reader = reader(&[&files.add("x.csv", format!("a,b\n{text}"))], json!({})).unwrap();
    let context = ReadContext { parallelism: 2, ..ReadContext::default() };
    let plan = reader.plan(&ReadRequest { guess: true, ..ReadRequest::default() }, &context).unwrap();
    let rows = |split| {
        let mut stream = reader.read(split, &context)?;
        let mut rows = 0;
        while let Some(batch) = stream.next() {
            rows += batch?.num_rows();
        }
        Ok(rows)
    };
    (plan.guessed, plan.splits.iter().map(rows).collect())
}

#[test]
fn a_guess_is_right_or_the_split_before_it_fails() {
    let (guessed, rows) = read_guessed("7,plain\n", 7);
    assert!(guessed && rows.len() > 2, "{} splits", rows.len());
    assert_eq!(rows.into_iter().map(Result::unwrap).sum::<usize>(), 900_000);

    // A value of many lines, wherever a split may begin.
    let (guessed, rows) = read_guessed(&format!("7,\"{}\"\n", "1,\n".repeat(6 << 20)), 450_000);
    assert!(guessed);
    let kinds: Vec<_> =
        rows.iter().filter_map(|rows| rows.as_ref().err()).map(|error| error.error_code.as_str()).collect();
    assert!(kinds.contains(&"OPEN_QUOTE"), "{kinds:?}");

    // Where the sample shows such values, nothing is guessed.
    let (guessed, rows) = read_guessed("7,\"two\nlines\"\n", 7);
    assert!(!guessed);
    assert_eq!(rows.into_iter().map(Result::unwrap).sum::<usize>(), 900_000);
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
