//! The characters that give a file its structure, and how the unsaid ones are found.

use serde::{Deserialize, Serialize};

use crate::fields::Tokens;
use crate::options::CsvOptions;
use crate::tokens::{Limits, tokenize};

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records looked at to find a delimiter.
const DETECTION_ROWS: usize = 100;

/// The characters that give a file its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields.
    pub quote: Option<u8>,
    /// Before a quote inside quotes; doubling works too.
    pub escape: Option<u8>,
    /// At the start of a line that is no record.
    pub comment: Option<u8>,
}

/// Whether a byte ends a record outside quotes. The two of a CRLF end two, the second one blank, and blank lines are no
/// records: so a block may be cut between them.
pub fn is_newline(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

impl Dialect {
    /// The dialect of the options; what they leave open is detected in `sample`, the beginning of the text.
    pub fn detect(options: &CsvOptions, sample: &[u8]) -> Self {
        let byte = |character: Option<char>| character.map(|character| character as u8);
        let mut dialect = Self {
            delimiter: b',',
            quote: byte(options.quote_char),
            escape: byte(options.escape_char),
            comment: byte(options.comment),
        };
        dialect.delimiter = byte(options.delimiter).unwrap_or_else(|| dialect.best_delimiter(sample));
        dialect
    }

    /// The candidate that splits the most records into as many fields as the first one; more fields win a tie.
    fn best_delimiter(self, sample: &[u8]) -> u8 {
        let score = |delimiter: u8| -> (usize, usize) {
            if Some(delimiter) == self.quote || Some(delimiter) == self.comment {
                return (0, 0);
            }
            let mut tokens = Tokens::default();
            let limits = Limits { width: None, max_field_bytes: usize::MAX, skip_bad: false, max_rows: DETECTION_ROWS };
            // A sample may stop inside quotes; the records before that count.
            drop(tokenize(&Self { delimiter, ..self }, sample, false, &limits, &mut tokens));
            let widths: Vec<usize> = (0..tokens.rows()).map(|row| tokens.row(row).len()).collect();
            match widths.first() {
                Some(&first) if first > 1 => (widths.iter().filter(|width| **width == first).count(), first),
                _ => (0, 0),
            }
        };
        let mut best = (b',', score(b','));
        for delimiter in DELIMITERS.into_iter().skip(1) {
            let found = score(delimiter);
            if found > best.1 {
                best = (delimiter, found);
            }
        }
        best.0
    }
}
