//! The beginning of a file: byte order mark, lines to skip, header.

use dativo_plugin::{Error, Result};

use crate::blocks::{Blocks, Taken};
use crate::dialect::Dialect;
use crate::fields::Tokens;
use crate::options::CsvOptions;
use crate::place::line_ends;
use crate::tokens::{Fault, Limits};

/// The beginning of a file.
pub struct Head;

/// A file that should have a header and has nothing.
pub fn header_error(path: &str) -> Error {
    Error::validation(format!("{path}: empty file, no header"))
        .code("EMPTY_FILE")
        .hint("leave it out of source.files, or give options.column_names")
        .at("file", path)
}

/// Lines that end in the first bytes of the current block.
fn lines_before(blocks: &Blocks, bytes: usize) -> u64 {
    let (before, rest) = blocks.current().split_at(bytes);
    line_ends(before, rest.first().copied())
}

impl Head {
    /// Takes the header off `blocks`; `None` where there is no record at all.
    pub fn names(blocks: &mut Blocks, dialect: &Dialect, options: &CsvOptions) -> Result<Option<Vec<String>>> {
        let mut tokens = Tokens::default();
        let limits = Limits { width: None, max_field_bytes: options.max_field_bytes, skip_bad: false, max_rows: 1 };
        let mut lines = options.skip_rows;
        loop {
            match blocks.next(dialect, &limits, &mut tokens)? {
                None => return Ok(None),
                Some(Taken::Records(bytes)) if tokens.rows() == 0 => lines += lines_before(blocks, bytes),
                Some(Taken::Records(_)) => break,
                Some(Taken::Fault(Fault::OpenQuote { at, .. })) => {
                    return Err(blocks
                        .error_at("a quote in the header is never closed", at)
                        .at("line", lines + lines_before(blocks, at) + 1)
                        .code("OPEN_QUOTE")
                        .hint("close it, or set options.quote_char: null where quotes are ordinary characters"));
                }
                Some(Taken::Fault(fault)) => {
                    let at = if let Fault::LongField { at, .. } = fault { at } else { 0 };
                    return Err(blocks
                        .error_at("a name in the header is too long", at)
                        .at("line", lines + lines_before(blocks, at) + 1)
                        .code("FIELD_TOO_LONG")
                        .hint("is this a text file?"));
                }
            }
        }
        let mut names = Vec::with_capacity(tokens.row(0).len());
        for field in tokens.row(0) {
            let mut name = Vec::new();
            if field.needs_decoding() {
                field.decode(dialect, blocks.current(), &mut name);
            } else {
                name.extend_from_slice(field.text(blocks.current()));
            }
            let name = String::from_utf8(name).map_err(|error| {
                blocks
                    .error_at("the header is not valid UTF-8", field.start() + error.utf8_error().valid_up_to())
                    .code("INVALID_ENCODING")
                    .hint("set options.encoding to the file's encoding")
            })?;
            let trims = options.trim && !field.is_quoted();
            names.push(if trims { name.trim_matches(' ').to_owned() } else { name });
        }
        Ok(Some(names))
    }

    /// Refuses names that Arrow columns cannot have.
    pub fn check_names(path: &str, names: &[String]) -> Result<()> {
        let positions = |wanted: &dyn Fn(usize, &String) -> bool| -> Vec<usize> {
            names.iter().enumerate().filter(|(at, name)| wanted(*at, name)).map(|(at, _)| at + 1).collect()
        };
        let empty = positions(&|_, name| name.is_empty());
        let double = positions(&|at, name| names[..at].contains(name));
        if empty.is_empty() && double.is_empty() {
            return Ok(());
        }
        let (what, columns): (String, Vec<usize>) = if empty.is_empty() {
            let mut twice: Vec<&str> = double.iter().map(|at| names[at - 1].as_str()).collect();
            twice.dedup();
            (format!("the header has these names more than once: {}", twice.join(", ")), double)
        } else {
            let list: Vec<String> = empty.iter().map(ToString::to_string).collect();
            (format!("the header has no name for column {}", list.join(", ")), empty)
        };
        Err(Error::validation(format!("{path}: {what}"))
            .code("BAD_HEADER")
            .hint("name the columns with options.column_names")
            .at("file", path)
            .at("columns", columns))
    }
}
