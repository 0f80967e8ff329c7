//! Text to fields: one pass over a block, 64 bytes at a time, that finds every field of every complete record.
//!
//! A field that starts with a quote ends at its closing quote; a quote elsewhere is an ordinary character. Text between
//! a closing quote and the delimiter belongs to the field. Inside quotes an escape makes the byte after it ordinary.
//! Blank lines and comment lines are no records.

use crate::dialect::{Dialect, is_newline};
use crate::fields::{Field, MAX_FIELD_BYTES, QUOTED, RAW, Tokens};

/// What a pass accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields in a record; `None`: any number, and rows are told apart.
    pub width: Option<usize>,
    /// A longer field is an error.
    pub max_field_bytes: usize,
    /// Whether rows of another width are left out instead of being an error.
    pub skip_bad: bool,
    /// Stop after this many records. A plain block may have more of them: [`Tokens::truncate`].
    pub max_rows: usize,
}

/// Why a pass stopped. Offsets are in the block.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record starting at `at` has `found` fields.
    Ragged {
        /// Where the record starts.
        at: usize,
        /// How many fields it has.
        found: usize,
    },
    /// The quote at `at` is never closed.
    OpenQuote {
        /// Where the quote is.
        at: usize,
        /// Fields before it in its record.
        field: usize,
    },
    /// The field at `at` is longer than allowed.
    LongField {
        /// Where the field starts.
        at: usize,
        /// Fields before it in its record.
        field: usize,
    },
    /// The record at the block's beginning is longer than any may be.
    LongRecord,
}

/// Where the pass is.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Plain,
    Quoted,
    Comment,
}

/// Finds the fields of all complete records in `block` and returns how many bytes they take. With `at_end` the block
/// must end in a newline (the caller adds one where the file has none) and everything is complete.
pub fn tokenize(
    dialect: &Dialect,
    block: &[u8],
    at_end: bool,
    limits: &Limits,
    tokens: &mut Tokens,
) -> Result<usize, Fault> {
    tokens.indexed = false;
    tokens.fields.clear();
    tokens.row_ends.clear();
    let max_field_bytes = limits.max_field_bytes.min(MAX_FIELD_BYTES);
    let max_fields = limits.width.map_or(usize::MAX, |width| limits.max_rows.saturating_mul(width));
    // Where no quote (or escape) is configured, a newline stands in: it is looked for anyway.
    let quote = dialect.quote.unwrap_or(b'\n');
    let escape = dialect.escape.unwrap_or(b'\n');
    let needles = [dialect.delimiter, b'\n', b'\r', quote, escape];
    let mut state = State::Plain;
    let mut record_start = 0;
    let mut field_start = 0;
    let mut first_field = 0;
    // Of the field at hand: where its quotes closed, whether anything in it is escaped, what is spoken for.
    let mut closed = None;
    let mut escaped = false;
    let mut skip_until = 0;
    let comment = dialect.comment;
    if comment.is_some() && block.first().copied() == comment {
        state = State::Comment;
    }

    for (index, chunk) in block.chunks(64).enumerate() {
        let base = index * 64;
        let mut mask = matches(chunk, needles);
        while mask != 0 {
            let at = base + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let byte = block[at];
            match state {
                State::Plain if byte == dialect.delimiter || is_newline(byte) => {
                    let ends_record = byte != dialect.delimiter;
                    if at - field_start > max_field_bytes {
                        return Err(Fault::LongField { at: field_start, field: tokens.fields.len() - first_field });
                    }
                    let field = match closed.take() {
                        None => Field::new(field_start, at, 0),
                        Some(close) if close + 1 == at && !escaped => Field::new(field_start + 1, close, QUOTED),
                        Some(_) => Field::new(field_start, at, QUOTED | RAW),
                    };
                    escaped = false;
                    tokens.fields.push(field);
                    field_start = at + 1;
                    if !ends_record {
                        continue;
                    }
                    let found = tokens.fields.len() - first_field;
                    if found == 1 && field.length == 0 {
                        tokens.fields.pop();
                    } else if limits.width.is_some_and(|width| width != found) {
                        if !limits.skip_bad {
                            return Err(Fault::Ragged { at: record_start, found });
                        }
                        tokens.fields.truncate(first_field);
                        tokens.bad_rows += 1;
                    } else if limits.width.is_none() {
                        tokens.row_ends.push(tokens.fields.len());
                    }
                    first_field = tokens.fields.len();
                    record_start = at + 1;
                    if first_field >= max_fields || tokens.row_ends.len() >= limits.max_rows {
                        return Ok(record_start);
                    }
                    if comment.is_some() && block.get(record_start).copied() == comment {
                        state = State::Comment;
                    }
                }
                State::Plain => {
                    if byte == quote && at == field_start {
                        state = State::Quoted;
                    }
                }
                State::Quoted if at < skip_until => {}
                State::Quoted if dialect.escape == Some(byte) && byte != quote => {
                    skip_until = at + 2;
                    escaped = true;
                }
                State::Quoted if byte == quote => match block.get(at + 1) {
                    Some(&next) if next == quote => {
                        skip_until = at + 2;
                        escaped = true;
                    }
                    _ => {
                        closed = Some(at);
                        state = State::Plain;
                    }
                },
                State::Quoted => {}
                State::Comment => {
                    if is_newline(byte) {
                        record_start = at + 1;
                        field_start = at + 1;
                        if block.get(record_start).copied() != comment {
                            state = State::Plain;
                        }
                    }
                }
            }
        }
    }

    let field = tokens.fields.len() - first_field;
    tokens.fields.truncate(first_field);
    if state != State::Comment && block.len() - field_start > max_field_bytes {
        return Err(Fault::LongField { at: field_start, field });
    }
    if at_end && state == State::Quoted {
        return Err(Fault::OpenQuote { at: field_start, field });
    }
    Ok(record_start)
}

/// A bit for every byte of the chunk (64 at most) that is one of the needles. Written so that compilers vectorise it.
fn matches(chunk: &[u8], needles: [u8; 5]) -> u64 {
    let mut padded = [0; 64];
    let bytes: &[u8; 64] = match chunk.try_into() {
        Ok(whole) => whole,
        Err(_) => {
            padded[..chunk.len()].copy_from_slice(chunk);
            &padded
        }
    };
    let mut hits = [0_u8; 64];
    let [a, b, c, d, e] = needles;
    for (hit, byte) in hits.iter_mut().zip(bytes) {
        *hit = u8::from(*byte == a)
            | u8::from(*byte == b)
            | u8::from(*byte == c)
            | u8::from(*byte == d)
            | u8::from(*byte == e);
    }
    let mut mask = 0;
    for (index, eight) in hits.as_chunks::<8>().0.iter().enumerate() {
        // Gathers the lowest bit of each of the eight bytes.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (index * 8);
    }
    if chunk.len() < 64 { mask & ((1 << chunk.len()) - 1) } else { mask }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMAS: Dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None, comment: None, header: true };
    const ANY: Limits = Limits { width: None, max_field_bytes: usize::MAX, skip_bad: false, max_rows: usize::MAX };

    fn split(dialect: &Dialect, text: &str) -> Result<Vec<Vec<String>>, Fault> {
        let mut block = text.as_bytes().to_vec();
        if block.last().is_some_and(|last| !is_newline(*last)) {
            block.push(b'\n');
        }
        let mut tokens = Tokens::default();
        assert_eq!(tokenize(dialect, &block, true, &ANY, &mut tokens)?, block.len());
        let text_of = |field: &Field| {
            let mut out = Vec::new();
            if field.needs_decoding() {
                field.decode(dialect, &block, &mut out);
            } else {
                out.extend_from_slice(field.text(&block));
            }
            String::from_utf8(out).expect("UTF-8")
        };
        Ok((0..tokens.rows()).map(|row| tokens.row(row).iter().map(text_of).collect()).collect())
    }

    /// The same rules, a byte at a time.
    fn naive(dialect: &Dialect, text: &str) -> Option<Vec<Vec<String>>> {
        let bytes = text.as_bytes();
        let (mut rows, mut row, mut at) = (Vec::new(), Vec::new(), 0);
        while at < bytes.len() {
            let mut field = Vec::new();
            let mut quoted = false;
            if Some(bytes[at]) == dialect.quote {
                quoted = true;
                at += 1;
                loop {
                    let byte = *bytes.get(at)?;
                    let next = bytes.get(at + 1).copied();
                    if Some(byte) == dialect.quote && next != dialect.quote {
                        at += 1;
                        break;
                    }
                    if Some(byte) == dialect.quote || Some(byte) == dialect.escape {
                        field.push(next?);
                        at += 2;
                    } else {
                        field.push(byte);
                        at += 1;
                    }
                }
            }
            let plain = at;
            while at < bytes.len() && bytes[at] != dialect.delimiter && !is_newline(bytes[at]) {
                at += 1;
            }
            let ends = at >= bytes.len() || is_newline(bytes[at]);
            field.extend_from_slice(&bytes[plain..at]);
            row.push((String::from_utf8(field).expect("UTF-8"), quoted));
            at += 1;
            if ends {
                let blank = row.len() == 1 && row[0].0.is_empty() && !row[0].1;
                let done: Vec<_> = std::mem::take(&mut row).into_iter().map(|(text, _)| text).collect();
                if !blank {
                    rows.push(done);
                }
            } else if at >= bytes.len() {
                row.push((String::new(), false));
                rows.push(std::mem::take(&mut row).into_iter().map(|(text, _)| text).collect());
            }
        }
        Some(rows)
    }

    #[test]
    fn quotes_delimiters_and_newlines_mean_what_they_should() {
        let rows = split(&COMMAS, "a,\"b,\"\"c\"\"\",\"\"\r\n\n\"x\ny\",z\"z,\"q\"t\"\n").expect("well-formed");
        assert_eq!(rows, [["a", "b,\"c\"", ""], ["x\ny", "z\"z", "qt\""]]);
    }

    #[test]
    fn an_open_quote_tells_where_it_opened() {
        assert_eq!(split(&COMMAS, "a,b\n1,\"2\n3,4\n"), Err(Fault::OpenQuote { at: 6, field: 1 }));
    }

    #[test]
    fn comments_and_escapes_are_understood() {
        let dialect = Dialect { comment: Some(b'#'), escape: Some(b'\\'), ..COMMAS };
        let rows = split(&dialect, "#x\"\n#y\na,\"b\\\"c\\\\\",\"d\\n\"\n#\"\n1,2\r3,4,5").expect("well-formed");
        assert_eq!(rows, [vec!["a", "b\"c\\", "dn"], vec!["1", "2"], vec!["3", "4", "5"]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn any_text_splits_as_the_naive_reference_does(text in "[ab,\"\r\n\\\\é]{0,90}", escape in any::<bool>()) {
            let dialect = Dialect { escape: escape.then_some(b'\\'), ..COMMAS };
            match (split(&dialect, &text), naive(&dialect, &text)) {
                (Ok(found), Some(wanted)) => prop_assert_eq!(found, wanted),
                (found, wanted) => prop_assert!(found.is_err() && wanted.is_none(), "{found:?} against {wanted:?}"),
            }
        }

        #[test]
        fn an_indexed_block_has_the_fields_that_tokenizing_finds(
            text in "((a|\"b\"|\"\"|\"a\"\"\"|\"\n\"|é|\"|\r){0,1}(,|,|\n|\r\n)){0,40}x?",
            width in 1_usize..4,
            at_end in any::<bool>(),
        ) {
            let mut block = text.into_bytes();
            if at_end && block.last().is_some_and(|last| !is_newline(*last)) {
                block.push(b'\n');
            }
            let limits = Limits { width: Some(width), ..ANY };
            let (mut indexed, mut tokenized) = (Tokens::default(), Tokens::default());
            if let Some(bytes) = indexed.take_plain(&COMMAS, &block, at_end, &limits) {
                prop_assert_eq!(tokenize(&COMMAS, &block, at_end, &limits, &mut tokenized), Ok(bytes));
                prop_assert_eq!(indexed.len(), tokenized.len());
                for number in 0..indexed.len() {
                    let last = (number + 1) % width == 0;
                    let found = indexed.field(&COMMAS, &block, number, last);
                    prop_assert_eq!(found, tokenized.field(&COMMAS, &block, number, last), "field {}", number);
                }
            }
        }

        #[test]
        fn a_block_cut_anywhere_gives_the_complete_records_before_the_cut(text in "[ab,\"\n]{0,200}", cut in 0_usize..200) {
            let mut block = text.into_bytes();
            block.push(b'\n');
            let cut = cut.min(block.len());
            let (mut whole, mut part) = (Tokens::default(), Tokens::default());
            drop(tokenize(&COMMAS, &block, true, &ANY, &mut whole));
            let consumed = tokenize(&COMMAS, &block[..cut], false, &ANY, &mut part).expect("no fault");
            prop_assert!(consumed <= cut);
            prop_assert!(part.rows() <= whole.rows());
            for row in 0..part.rows() {
                prop_assert_eq!(part.row(row), whole.row(row));
            }
        }
    }
}
