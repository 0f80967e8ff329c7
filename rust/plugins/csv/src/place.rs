//! Where in a file something is, as a person counts: rows and lines.

use dativo_plugin::{CancelToken, Error, Result};

use crate::blocks::{Blocks, Taken};
use crate::dialect::Dialect;
use crate::fields::Tokens;
use crate::input::Input;
use crate::stream::Part;
use crate::tokens::Limits;

/// How a file is read again from its beginning up to a place, to count what comes before it.
pub struct Look<'a> {
    /// How it is opened.
    pub input: &'a Input,
    /// How its text is structured.
    pub dialect: &'a Dialect,
    /// Bytes read at a time.
    pub block_bytes: usize,
}

impl Look<'_> {
    /// Row and line of a byte of the text that `part` is in.
    pub fn locate(&self, part: &Part, target: u64, cancel: &CancelToken) -> Result<Place> {
        let path = part.path.as_str();
        let (text, mark) = match part.end {
            Some(_) => self.input.open_plain(path, self.input.storage.open(path)?.size())?,
            None => self.input.open(path)?,
        };
        let mut blocks = Blocks::new(text, path, mark, self.block_bytes);
        let mut tokens = Tokens::default();
        let limits = Limits { width: None, max_field_bytes: usize::MAX, skip_bad: false, max_rows: usize::MAX };
        blocks.skip_lines(self.input.options.skip_rows)?;
        blocks.peek(1)?;
        let (mut rows, mut lines) = (0, self.input.options.skip_rows);
        loop {
            cancel.check()?;
            // Nothing behind what can't be read: the place is in the record that begins before it.
            let taken = blocks.next(self.dialect, &limits, &mut tokens).unwrap_or_else(|_| {
                tokens = Tokens::default();
                None
            });
            let consumed = match taken {
                Some(Taken::Records(bytes)) => bytes,
                _ => blocks.current().len(),
            };
            let into = usize::try_from(target.saturating_sub(blocks.offset())).unwrap_or(usize::MAX);
            let last = into < consumed || consumed == 0 || !matches!(taken, Some(Taken::Records(_)));
            let seen = &blocks.current()[..into.min(consumed)];
            lines += line_ends(seen, blocks.current().get(seen.len()).copied());
            let starts_by = |row: &usize| tokens.row(*row).first().is_some_and(|field| field.start() <= into + 1);
            rows += (0..tokens.rows()).take_while(starts_by).count() as u64;
            if last {
                // A record that could not be taken apart is not among the rows counted.
                rows += u64::from(!matches!(taken, Some(Taken::Records(_))));
                break;
            }
        }
        let row = rows.saturating_sub(u64::from(self.dialect.header)).max(1);
        Ok(Place { row: Some(row), line: Some(lines + 1), text: format!("row {row} (line {})", lines + 1) })
    }
}

/// Where something is, for a person.
pub struct Place {
    row: Option<u64>,
    line: Option<u64>,
    /// It in words.
    pub text: String,
}

impl Place {
    /// A place that could not be found again.
    pub fn unknown() -> Self {
        Self { row: None, line: None, text: "a row".to_owned() }
    }

    /// An error with the place among its details.
    pub fn on(&self, mut error: Error) -> Error {
        for (key, value) in [("row", self.row), ("line", self.line)] {
            if let Some(value) = value {
                error = error.at(key, value);
            }
        }
        error
    }
}

/// Lines that end in `text`, which `next` follows: at a line feed, or at a carriage return without one.
pub fn line_ends(text: &[u8], next: Option<u8>) -> u64 {
    let ends = |at: &usize| text[*at] == b'\n' || text.get(at + 1).copied().or(next) != Some(b'\n');
    memchr::memchr2_iter(b'\n', b'\r', text).filter(ends).count() as u64
}
