//! A batch through all rules: what lands, and what broke which rule.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::{FilterBuilder, filter_record_batch};
use dativo_plugin::{Error, Result, parse_type};

use crate::keys::UniqueIndex;
use crate::members::members;
use crate::pattern::Pattern;
use crate::range::range;
use crate::spec::{KindSpec, Spec};
use crate::text::{length, texts};
use crate::{Check, Mask, either};

/// A batch after the rules.
pub struct Checked {
    /// The rows that land, in the order of their columns.
    pub good: RecordBatch,
    /// `None` where no rule was broken.
    pub broken: Option<Broken>,
}

/// The rows of a batch that break at least one rule, whether it stops them or not.
pub struct Broken {
    /// As they came.
    pub rows: RecordBatch,
    /// Where each was in the batch.
    pub positions: Vec<u64>,
    /// A rule's index, and which of `rows` break it.
    pub rules: Vec<(usize, BooleanBuffer)>,
}

struct Rule {
    stops: bool,
    test: Test,
}

enum Test {
    Values(Check),
    Key { columns: Vec<usize>, primary: bool, index: UniqueIndex },
}

/// The rules of one run, for all of its threads.
pub struct Checks {
    input: SchemaRef,
    output: SchemaRef,
    order: Option<Vec<usize>>,
    rules: Vec<Rule>,
}

impl Checks {
    /// The rules of a spec, or an error where one of them is beyond what is checked here.
    pub fn new(spec: &Spec) -> Result<Self> {
        let fields = spec.columns.iter().map(|(name, text)| Ok(Field::new(name, parse_type(text)?, true)));
        let input = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let output = Arc::new(input.project(&spec.output)?);
        let rules = spec.rules.iter().map(|rule| Ok(Rule { stops: rule.stops, test: test(&input, &rule.kind)? }));
        let same = spec.output.iter().copied().eq(0..spec.columns.len());
        Ok(Self { rules: rules.collect::<Result<_>>()?, order: (!same).then(|| spec.output.clone()), input, output })
    }

    /// Of the batches that come.
    pub fn input(&self) -> &SchemaRef {
        &self.input
    }

    /// Of the rows that land.
    pub fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Checks one batch. Keys are compared last, among the rows that land, so that a row which another rule stops never
    /// makes a good row a duplicate.
    pub fn check(&self, batch: &RecordBatch) -> Result<Checked> {
        if !batch.schema().fields().iter().map(|field| field.data_type()).eq(self
            .input
            .fields()
            .iter()
            .map(|field| field.data_type()))
        {
            return Err(Error::plugin("a batch does not have the columns that its checks were made for"));
        }
        let mut masks: Vec<Mask> = self.rules.iter().map(|rule| rule.values(batch)).collect();
        let stopped_by = |masks: &[Mask]| {
            let stopping = self.rules.iter().zip(masks).filter(|(rule, _)| rule.stops);
            stopping.fold(None, |all, (_, mask)| either(all, mask.clone()))
        };
        let mut stopped = stopped_by(&masks);
        for (at, rule) in self.rules.iter().enumerate() {
            if let Test::Key { columns, primary, index } = &rule.test {
                masks[at] = repeated(batch, columns, *primary, index, stopped.as_ref());
                if rule.stops {
                    stopped = either(stopped, masks[at].clone());
                }
            }
        }
        // In the schema told beforehand, whatever the batch's own says of nulls.
        let columns = match &self.order {
            None => batch.columns().to_vec(),
            Some(order) => order.iter().map(|column| batch.column(*column).clone()).collect(),
        };
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let good = RecordBatch::try_new_with_options(self.output.clone(), columns, &rows)?;
        let Some(broken) = masks.iter().fold(None, |all, mask| either(all, mask.clone())) else {
            return Ok(Checked { good, broken: None });
        };
        let good = match stopped {
            None => good,
            Some(stopped) => filter_record_batch(&good, &(!&stopped).into())?,
        };
        let filter = FilterBuilder::new(&broken.clone().into()).optimize().build();
        let kept: Vec<usize> = broken.set_indices().collect();
        let rules = masks.iter().enumerate().filter_map(|(at, mask)| {
            let mask = mask.as_ref()?;
            Some((at, kept.iter().map(|row| mask.value(*row)).collect()))
        });
        Ok(Checked {
            good,
            broken: Some(Broken {
                rules: rules.collect(),
                rows: filter.filter_record_batch(batch)?,
                positions: kept.iter().map(|row| *row as u64).collect(),
            }),
        })
    }
}

impl Rule {
    fn values(&self, batch: &RecordBatch) -> Mask {
        match &self.test {
            Test::Values(check) => check(batch),
            Test::Key { .. } => None,
        }
    }
}

fn repeated(
    batch: &RecordBatch,
    columns: &[usize],
    primary: bool,
    index: &UniqueIndex,
    stopped: Option<&BooleanBuffer>,
) -> Mask {
    let missing = columns.iter().filter(|_| primary).fold(None, |all, column| either(all, nulls(batch, *column)));
    let columns: Vec<_> = columns.iter().map(|column| batch.column(*column)).collect();
    either(missing, index.repeated(&columns, stopped))
}

fn nulls(batch: &RecordBatch, column: usize) -> Mask {
    let nulls = batch.column(column).nulls().filter(|nulls| nulls.null_count() > 0)?;
    Some(!nulls.inner())
}

fn test(schema: &Schema, kind: &KindSpec) -> Result<Test> {
    let type_of = |column: usize| -> Result<&DataType> {
        let field = schema.fields().get(column);
        field.map(|field| field.data_type()).ok_or_else(|| Error::plugin(format!("there is no column {column}")))
    };
    Ok(Test::Values(match kind {
        KindSpec::Required { column } => {
            let column = *column;
            type_of(column)?;
            Box::new(move |batch| nulls(batch, column))
        }
        KindSpec::Range { column, low, high, exclusive } => {
            range(*column, type_of(*column)?, low.as_deref(), high.as_deref(), *exclusive)?
        }
        KindSpec::Pattern { column, pattern } => {
            let pattern = Pattern::new(pattern)?;
            texts(*column, type_of(*column)?, move |text| !pattern.is_match(text))?
        }
        KindSpec::Members { column, values, accepted } => members(*column, type_of(*column)?, values, *accepted)?,
        KindSpec::Length { column, least, most } => length(*column, type_of(*column)?, *least, *most)?,
        KindSpec::Key { columns, primary } => {
            let types = columns.iter().map(|column| type_of(*column)).collect::<Result<Vec<_>>>()?;
            let index = UniqueIndex::new(&types)?;
            return Ok(Test::Key { columns: columns.clone(), primary: *primary, index });
        }
    }))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array, StringArray};
    use serde_json::json;

    use super::*;

    fn checks(rules: serde_json::Value) -> Checks {
        let spec = json!({
            "columns": [["id", "int64"], ["name", "string"], ["amount", "float64"]],
            "output": [1, 0, 2],
            "rules": rules,
        });
        Checks::new(&serde_json::from_value(spec).expect("a spec")).expect("checks")
    }

    fn batch() -> RecordBatch {
        let schema = checks(json!([])).input().clone();
        RecordBatch::try_new(
            schema,
            vec![
                Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(2)])),
                Arc::new(StringArray::from(vec![Some("ann"), Some("bob"), Some(""), None])),
                Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None, Some(-1.0)])),
            ],
        )
        .expect("a batch")
    }

    /// Rows that land, positions of those that break a rule, and for each broken rule which of these.
    type Found = (usize, Vec<u64>, Vec<(usize, Vec<bool>)>);

    fn broken(rules: serde_json::Value) -> Found {
        let found = checks(rules).check(&batch()).expect("checked");
        let broken = found.broken.expect("something is broken");
        let rules = broken.rules.iter().map(|(at, mask)| (*at, mask.iter().collect())).collect();
        (found.good.num_rows(), broken.positions, rules)
    }

    #[test]
    fn good_batches_pass_as_they_are_in_the_order_asked_for() {
        let found = checks(json!([{"kind": "length", "column": 1, "most": 3, "stops": true}])).check(&batch());
        let found = found.expect("checked");
        assert!(found.broken.is_none());
        assert_eq!(found.good.schema().field(0).name(), "name");
        assert_eq!(found.good.num_rows(), 4);
    }

    #[test]
    fn what_lands_has_the_schema_told_beforehand() {
        let checks = checks(json!([{"kind": "required", "column": 0, "stops": true}]));
        let strict = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), false);
        let schema = Schema::new(checks.input().fields().iter().map(strict).collect::<Vec<_>>());
        let rows = batch().slice(0, 2);
        let rows = RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec()).expect("no nulls");
        assert_eq!(checks.check(&rows).expect("checked").good.schema(), *checks.output());
    }

    #[test]
    fn nulls_break_nothing_but_required() {
        let range = json!([{"kind": "range", "column": 2, "low": "0", "stops": true}]);
        assert_eq!(broken(range), (2, vec![1, 3], vec![(0, vec![true, true])]));
        let required = json!([{"kind": "required", "column": 2, "stops": true}]);
        assert_eq!(broken(required), (3, vec![2], vec![(0, vec![true])]));
    }

    #[test]
    fn a_rule_that_does_not_stop_lets_the_row_land() {
        let rules = json!([
            {"kind": "members", "column": 1, "values": ["ann"], "accepted": true, "stops": false},
            {"kind": "pattern", "column": 1, "pattern": "^.+$", "stops": true},
        ]);
        assert_eq!(broken(rules), (3, vec![1, 2], vec![(0, vec![true, true]), (1, vec![false, true])]));
    }

    #[test]
    fn a_row_that_another_rule_stops_makes_no_duplicate() {
        let key = json!({"kind": "key", "columns": [0], "primary": false, "stops": true});
        let (_, positions, _) = broken(json!([key]));
        assert_eq!(positions, vec![3]);
        let (_, positions, rules) = broken(json!([
            {"kind": "range", "column": 2, "low": "0", "stops": true}, key,
        ]));
        assert_eq!(positions, vec![1, 3]);
        assert_eq!(rules.len(), 1);
        let primary = json!([{"kind": "key", "columns": [0], "primary": true, "stops": true}]);
        assert_eq!(broken(primary), (2, vec![2, 3], vec![(0, vec![true, true])]));
    }

    #[test]
    fn what_is_beyond_these_checks_is_refused_beforehand() {
        for rule in [
            json!({"kind": "range", "column": 1, "low": "0", "stops": true}),
            json!({"kind": "members", "column": 2, "values": ["1"], "accepted": true, "stops": true}),
            json!({"kind": "pattern", "column": 1, "pattern": "(?i)x", "stops": true}),
            json!({"kind": "required", "column": 9, "stops": true}),
        ] {
            let spec = json!({"columns": [["id", "int64"], ["name", "string"], ["amount", "float64"]], "output": [0], "rules": [rule]});
            assert!(Checks::new(&serde_json::from_value(spec).expect("a spec")).is_err());
        }
    }
}
