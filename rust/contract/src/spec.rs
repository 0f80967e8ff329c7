//! What is to be checked, as the Python side says it: JSON with every value in its column's physical form.

use serde::Deserialize;

/// The columns of the batches and the rules about them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name and type name (`dativo_plugin::parse_type`), in the order of the batches.
    pub columns: Vec<(String, String)>,
    /// Indices of the columns that land, in the order in which they do.
    pub output: Vec<usize>,
    /// The rules, in the contract's order.
    pub rules: Vec<RuleSpec>,
}

/// One rule. A row that breaks one that `stops` does not land.
#[derive(Clone, Debug, Deserialize)]
pub struct RuleSpec {
    /// Whether its violations keep a row from landing.
    pub stops: bool,
    /// What it asks.
    #[serde(flatten)]
    pub kind: KindSpec,
}

/// What a rule asks of the values. Numbers are text, so that none is rounded on the way: an integer for whole numbers,
/// decimals (unscaled) and points in time (in the column's unit), a float for floats. Null breaks only `Required` and
/// the primary key.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KindSpec {
    /// No nulls.
    Required {
        /// Index of the column.
        column: usize,
    },
    /// `low <= value <= high`; an `exclusive` bound is not reached itself.
    Range {
        /// Index of the column.
        column: usize,
        /// The lower bound.
        low: Option<String>,
        /// The upper bound.
        high: Option<String>,
        /// Whether the bounds are out of range themselves; for floats alone.
        #[serde(default)]
        exclusive: bool,
    },
    /// A match of the regular expression somewhere in the text.
    Pattern {
        /// Index of the column.
        column: usize,
        /// In RE2's syntax.
        pattern: String,
    },
    /// One of the values, or none of them.
    Members {
        /// Index of the column.
        column: usize,
        /// The values.
        values: Vec<String>,
        /// Whether the values are the good ones.
        accepted: bool,
    },
    /// So many characters of text.
    Length {
        /// Index of the column.
        column: usize,
        /// At least.
        #[serde(default)]
        least: usize,
        /// At most.
        #[serde(default = "no_limit")]
        most: usize,
    },
    /// No two rows that land have the same values in the columns.
    Key {
        /// Indices of the columns.
        columns: Vec<usize>,
        /// Whether a null in it is a violation, rather than a row left out of the comparison.
        primary: bool,
    },
}

fn no_limit() -> usize {
    usize::MAX
}
