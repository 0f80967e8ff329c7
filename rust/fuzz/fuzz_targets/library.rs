//! Whatever is on the other side of dativo_plugin.h: an answer or a typed error, no panic, and no byte that is not there.
#![no_main]

mod driven;
mod foreign;
mod host;
mod plugins;
mod source;

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::OnceLock;

use dativo_plugin::Simple;
use dativo_plugin_ffi::library;
use libfuzzer_sys::fuzz_target;

use driven::{Answer, FormatTable, ReaderTable, Stream};
use foreign::{Memory, Schema, Type};
use plugins::{Lines, Looked};
use source::Source;

const CONFIGS: [&str; 4] = [
    r#"{"files": ["s3://a/b", "s3://a/c"], "storage": "storage-1", "options": {"seek": 3}}"#,
    r#"{"files": ["https://a/b"], "storage": "storage-1", "options": {"seek": -9223372036854775808, "size": 18446744073709551615}}"#,
    r#"{"files": ["/nowhere"], "storage": null, "options": {}, "credentials": {"key": "secret"}}"#,
    r#"{"options": {"other": 1}, "connection": []}"#,
];
const REQUESTS: [&str; 2] = [
    r#"{"columns": ["line"], "parallelism": 2, "limit": 5, "cursor": {"at": 1}}"#,
    r#"{"parallelism": -1, "widen": {"line": 7}}"#,
];
const SPLITS: [&str; 2] = [r#"{"id": "all", "payload": {}}"#, r#"{"id": 7, "payload": null, "rows": -1}"#];
const OPTIONS: [&str; 2] = [r#"{"a": 1}"#, "null"];
const CONTEXTS: [&str; 2] = [r#"{"parallelism": 1, "memory_bytes": 1000000}"#, r#"{"parallelism": -1}"#];

/// One of the texts, as it is or with something in it changed.
fn text(of: &[&str], source: &mut Source) -> CString {
    let mut bytes = of[usize::from(source.byte()) % of.len()].as_bytes().to_vec();
    for _ in 0..source.byte().saturating_sub(200) / 16 {
        let at = (usize::from(source.byte()) * 7) % (bytes.len() + 1);
        match source.byte() % 3 {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, source.text().bytes()).for_each(drop),
            _ if at < bytes.len() => bytes[at] = source.byte(),
            _ => {}
        }
    }
    bytes.retain(|byte| *byte != 0);
    CString::new(bytes).expect("no NUL")
}

fn drive_reader(source: &mut Source) {
    static TABLE: OnceLock<library::ReaderTable> = OnceLock::new();
    // SAFETY: a host of the header's, which lives as long as the process.
    let table = unsafe {
        let head = library::ReaderTable::get::<Simple<Lines>>(&TABLE, host::choose(source).cast());
        &*head.cast::<ReaderTable>()
    };
    let (config, mut reader, mut answer) = (text(&CONFIGS, source), ptr::null_mut(), Answer::new(table.head.free_text));
    if !answer.of(|answer| unsafe { (table.create)(config.as_ptr(), &raw mut reader, answer) }) {
        return;
    }
    for _ in 0..source.byte() % 6 {
        match source.byte() % 8 {
            0 => drop(answer.of(|answer| unsafe { (table.check)(reader, answer) })),
            1 => drop(answer.of(|answer| unsafe { (table.discover)(reader, answer) })),
            2 if source.byte() % 4 == 0 => unsafe { (table.cancel)(reader) },
            3 | 4 => plan(table, reader, source),
            _ => read(table, reader, source),
        }
    }
    unsafe { (table.close)(reader) };
}

fn plan(table: &ReaderTable, reader: *mut c_void, source: &mut Source) {
    let (mut memory, request) = (Memory::default(), text(&REQUESTS, source));
    let declared = source.maybe(|source| {
        let columns = Type::rows(source);
        memory.schema(&columns, source)
    });
    let mut schema = arrow_schema::ffi::FFI_ArrowSchema::empty(); // it is released as it goes
    let out = (&raw mut schema).cast::<Schema>();
    let declared = declared.unwrap_or(ptr::null_mut());
    Answer::new(table.head.free_text)
        .of(|answer| unsafe { (table.plan)(reader, request.as_ptr(), declared, out, answer) });
}

fn read(table: &ReaderTable, reader: *mut c_void, source: &mut Source) {
    let (split, mut stream) = (text(&SPLITS, source), Stream::empty());
    let mut answer = Answer::new(table.head.free_text);
    if !answer.of(|answer| unsafe { (table.read)(reader, split.as_ptr(), &raw mut stream, answer) }) {
        return;
    }
    stream.look(source);
    answer.of(|answer| unsafe { (table.metrics)(reader, &raw mut stream, answer) });
    stream.release();
}

fn drive_format(source: &mut Source) {
    static TABLE: OnceLock<library::FormatTable> = OnceLock::new();
    // SAFETY: as of `drive_reader`.
    let table = unsafe {
        let head = library::FormatTable::get::<Looked>(&TABLE, host::choose(source).cast());
        &*head.cast::<FormatTable>()
    };
    let (mut memory, columns) = (Memory::default(), Type::rows(source));
    let schema = memory.schema(&columns, source);
    let (options, context) = (text(&OPTIONS, source), text(&CONTEXTS, source));
    let (mut sink, mut answer) = (ptr::null_mut(), Answer::new(table.head.free_text));
    let told = (options.as_ptr(), context.as_ptr());
    if !answer
        .of(|answer| unsafe { (table.create)(c"nowhere".as_ptr(), schema, told.0, told.1, &raw mut sink, answer) })
    {
        return;
    }
    for _ in 0..1 + source.byte() % 4 {
        match source.byte() % 8 {
            0 => drop(answer.of(|answer| unsafe { (table.finish)(sink, answer) })),
            1 if source.byte() % 4 == 0 => unsafe { (table.cancel)(sink) },
            2 => assert!(unsafe { (table.bytes_written)(sink) } >= 0),
            _ => {
                let mut memory = Memory::default();
                let batch = memory.batch(&columns, source);
                let alive = batch.is_alive();
                answer.of(|answer| unsafe { (table.write)(sink, batch, answer) });
                batch.release();
                assert_eq!(memory.released.get(), usize::from(alive), "released by who had it, once");
            }
        }
    }
    unsafe { (table.close)(sink) };
}

fuzz_target!(|input: &[u8]| {
    let mut source = Source(input);
    if source.byte() % 4 == 0 {
        drive_reader(&mut source)
    } else {
        drive_format(&mut source)
    }
    host::nothing_is_left();
});
