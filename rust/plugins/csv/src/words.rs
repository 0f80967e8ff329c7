//! What texts mean beyond the grammar of values.

use crate::dialect::Dialect;
use crate::fields::Field;
use crate::options::CsvOptions;

/// What texts mean beyond the grammar: nulls, truths, spaces.
#[derive(Clone, Debug)]
pub struct Words {
    nulls: Vec<Vec<u8>>,
    /// Of the words for null.
    pub(crate) longest_null: usize,
    truths: Vec<Vec<u8>>,
    falsehoods: Vec<Vec<u8>>,
    /// Whether `true` and `false` are among them.
    usual: bool,
    /// Whether spaces around unquoted texts are dropped.
    pub(crate) trim: bool,
}

impl Words {
    /// The words of the options.
    pub fn new(options: &CsvOptions) -> Self {
        let bytes = |texts: &[String]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let nulls = bytes(&options.null_values);
        Self {
            longest_null: nulls.iter().map(Vec::len).max().unwrap_or(0),
            nulls,
            usual: options.true_values.iter().any(|text| text == "true")
                && options.false_values.iter().any(|text| text == "false"),
            truths: bytes(&options.true_values),
            falsehoods: bytes(&options.false_values),
            trim: options.trim,
        }
    }

    /// Whether a word for null is something else as well.
    pub(crate) fn any_null(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        self.nulls.iter().any(|null| is(null))
    }

    /// Whether an unquoted text means null.
    #[inline]
    pub(crate) fn is_null(&self, text: &[u8]) -> bool {
        text.len() <= self.longest_null && self.nulls.iter().any(|null| null == text)
    }

    /// The truth value a text stands for.
    pub fn truth(&self, text: &[u8]) -> Option<bool> {
        if self.usual && (text == b"true" || text == b"false") {
            return Some(text == b"true");
        }
        let one_of = |words: &[Vec<u8>]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        if one_of(&self.truths) {
            return Some(true);
        }
        one_of(&self.falsehoods).then_some(false)
    }

    /// A field's text, `None` for null. `scratch` holds what has to be decoded.
    pub fn text<'a>(
        &self,
        dialect: &Dialect,
        block: &'a [u8],
        field: Field,
        scratch: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        if field.needs_decoding() {
            scratch.clear();
            field.decode(dialect, block, scratch);
            return Some(scratch);
        }
        let mut text = field.text(block);
        if field.is_quoted() {
            return Some(text);
        }
        if self.trim {
            while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
                text = rest;
            }
        }
        (!self.is_null(text)).then_some(text)
    }
}
