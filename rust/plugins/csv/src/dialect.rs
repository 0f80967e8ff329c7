//! What gives a file its structure, and how the unsaid is found.

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use crate::fields::Tokens;
use crate::infer::Candidates;
use crate::options::CsvOptions;
use crate::tokens::{Limits, tokenize};
use crate::words::Words;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records looked at to find a delimiter.
const DETECTION_ROWS: usize = 100;

/// What gives a file its structure.
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
    /// Whether the first record holds the column names.
    pub header: bool,
}

/// Whether a byte ends a record outside quotes. The two of a CRLF end two, the second one blank, and blank lines are no
/// records: so a block may be cut between them.
pub fn is_newline(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

impl Dialect {
    /// The dialect of the options; what they leave open is found in `sample`, the beginning of the text or the `whole` of
    /// it, its last line ended.
    pub fn detect(options: &CsvOptions, sample: &[u8], whole: bool) -> Self {
        let quotes: &[Option<u8>] = match options.quote_char.given() {
            Some(_) => &[options.quote_char.character()],
            None => &[Some(b'"'), Some(b'\'')],
        };
        let delimiters: &[u8] = match options.delimiter.character() {
            Some(delimiter) => &[delimiter],
            None => &DELIMITERS,
        };
        let comment = options.comment.map(|character| character as u8);
        let mut candidates = Vec::new();
        for &quote in quotes {
            for &delimiter in delimiters {
                let escape = match options.escape_char.given() {
                    Some(_) => options.escape_char.character(),
                    None => quote.and_then(|quote| found_escape(sample, delimiter, quote)),
                };
                candidates.push(Self { delimiter, quote, escape, comment, header: true });
            }
        }
        let mut dialect = candidates[0];
        if candidates.len() > 1 {
            let mut most = dialect.fit(sample, whole);
            for candidate in &candidates[1..] {
                let fit = candidate.fit(sample, whole);
                if fit > most {
                    (dialect, most) = (*candidate, fit);
                }
            }
        }
        dialect.header = options.header.given().unwrap_or_else(|| dialect.has_header(options, sample, whole));
        dialect
    }

    /// How well the sample's records fit: how many have as many fields as the first one, how many fields that is, and how
    /// many of all are quoted.
    fn fit(&self, sample: &[u8], whole: bool) -> (usize, usize, usize) {
        if self.quote == Some(self.delimiter) || self.comment == Some(self.delimiter) {
            return (0, 0, 0);
        }
        let tokens = self.records(sample, whole);
        let widths: Vec<usize> = (0..tokens.rows()).map(|row| tokens.row(row).len()).collect();
        let quoted = tokens.fields.iter().filter(|field| field.is_quoted()).count();
        match widths.first() {
            Some(&first) if first > 1 => (widths.iter().filter(|width| **width == first).count(), first, quoted),
            _ => (0, 0, quoted),
        }
    }

    fn records(&self, sample: &[u8], whole: bool) -> Tokens {
        let mut tokens = Tokens::default();
        let limits = Limits { width: None, max_field_bytes: usize::MAX, skip_bad: false, max_rows: DETECTION_ROWS };
        // A sample may stop inside quotes; the records before that count.
        drop(tokenize(self, sample, whole, &limits, &mut tokens));
        tokens
    }

    /// Whether the first record can only be names: all there, all different, none a number, a truth or a time.
    fn has_header(&self, options: &CsvOptions, sample: &[u8], whole: bool) -> bool {
        let Ok(words) = Words::new(options) else { return true };
        let tokens = self.records(sample, whole);
        if tokens.rows() == 0 {
            return true;
        }
        let mut names: Vec<Vec<u8>> = Vec::new();
        for field in tokens.row(0) {
            let mut scratch = Vec::new();
            let Some(text) = words.text(self, sample, *field, &mut scratch) else { return false };
            let mut candidates = Candidates::default();
            candidates.add(text, &words);
            if text.is_empty() || candidates.data_type() != DataType::Utf8 || names.iter().any(|name| name == text) {
                return false;
            }
            names.push(text.to_vec());
        }
        true
    }
}

/// A backslash, where it stands before quotes inside fields more often than quotes are doubled there.
fn found_escape(sample: &[u8], delimiter: u8, quote: u8) -> Option<u8> {
    let within = |byte: u8| byte != delimiter && byte != quote && !is_newline(byte);
    let (mut escaped, mut doubled) = (0, 0);
    for bytes in sample.windows(4) {
        match bytes {
            [_, b'\\', second, after] if *second == quote && within(*after) => escaped += 1,
            [before, first, second, after]
                if [*first, *second] == [quote; 2] && within(*before) && *before != b'\\' && within(*after) =>
            {
                doubled += 1;
            }
            _ => {}
        }
    }
    (escaped > doubled).then_some(b'\\')
}
