"""Contracts from inline schemas, files of the standard, and older asset files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dativo_assets.config import JobConfig, load_project
from dativo_assets.contract import Contract, load_contract, verify
from dativo_assets.contract.model import Limit
from dativo_assets.errors import ConfigurationError

ODCS = """\
apiVersion: v3.1.0
kind: DataContract
id: air
name: flights
version: '1.10'
status: active
description: {purpose: Every flight}
schema:
  - name: flights
    properties:
      - {name: day, logicalType: date, primaryKey: true, primaryKeyPosition: 2}
      - {name: id, logicalType: integer, physicalType: bigint, primaryKey: true, primaryKeyPosition: 1, description: The key}
      - name: carrier
        logicalType: string
        physicalType: varchar(2)
        required: true
        classification: restricted
        tags: [pii]
        logicalTypeOptions: {minLength: 2, maxLength: 2, pattern: '^[A-Z0-9]+$'}
      - name: fare
        logicalType: number
        physicalType: NUMBER(10, 2)
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 1000}
        quality:
          - {metric: nullValues, mustBeLessThan: 5, unit: percent}
          - {metric: invalidValues, arguments: {validValues: [1, 2]}, mustBe: 0, severity: warning}
          - {metric: missingValues, arguments: {missingValues: [0, null]}, mustBeLessOrEqualTo: 0, id: fare_there}
          - {type: sql, query: select 1, mustBe: 1, name: odd}
      - {name: tail, logicalType: string, unique: true, logicalTypeOptions: {format: uuid}}
    quality:
      - {metric: rowCount, mustBeBetween: [1, 10]}
      - {metric: duplicateValues, arguments: {properties: [carrier, fare]}, mustBe: 0}
      - {type: text, description: It is nice}
"""


def job(**keys: Any) -> JobConfig:
    return JobConfig.model_validate({"name": "j", "source": {"reader": "csv"}, "target": {"writer": "parquet"}, **keys})


def load(folder: Path, text: str, reference: str = "c.yaml", **keys: Any) -> Contract:
    (folder / "c.yaml").write_text(text)
    found = load_contract(job(contract=reference, **keys), folder)
    assert found is not None
    return found


def line_of(text: str) -> int:
    return ODCS[: ODCS.index(text)].count("\n") + 1


def test_a_job_without_a_contract_has_none(tmp_path: Path) -> None:
    assert load_contract(job(), tmp_path) is None


def test_a_file_of_the_standard_says_columns_keys_and_rules(tmp_path: Path) -> None:
    found = load(tmp_path, ODCS, on_violation="quarantine")
    assert (found.name, found.version, found.description) == ("flights", "1.10", "Every flight")
    assert (found.format, found.file, found.on_violation) == ("odcs", "c.yaml", "quarantine")
    assert found.schema().equals(
        pa.schema(
            [
                ("day", pa.date32()),
                ("id", pa.int64()),
                ("carrier", pa.string()),
                ("fare", pa.decimal128(10, 2)),
                ("tail", pa.string()),
            ]
        )
    )
    assert found.primary_key == ("id", "day")
    assert found.column("id").description == "The key"
    assert found.column("carrier").masked
    rules = {rule.name: rule for rule in found.rules}
    assert list(rules) == [
        "types",
        "carrier_not_null",
        "carrier_pattern",
        "carrier_min_length",
        "carrier_max_length",
        "fare_min",
        "fare_exclusive_max",
        "tail_unique",
        "primary_key",
        "fare_not_null",
        "fare_accepted_values",
        "fare_there",
        "tail_uuid",
        "row_count",
        "carrier_fare_unique",
    ]
    assert rules["fare_not_null"].limit == Limit("<", 5, None, "percent")
    assert rules["fare_accepted_values"].severity == "warn"
    assert (rules["fare_there"].kind, rules["fare_there"].limit) == ("rejected_values", None)
    assert rules["row_count"].limit == Limit("between", 1, 10)
    assert rules["carrier_fare_unique"].columns == ("carrier", "fare")
    assert rules["fare_exclusive_max"].description == "fare < 1000"
    assert rules["primary_key"].description == "PRIMARY KEY (id, day)"
    assert found.notes == (
        f"c.yaml:{line_of('type: sql')}:13: quality rule odd is of type sql, which is not checked here",
        f"c.yaml:{line_of('type: text')}:9: quality rule text is a text for people, which is not checked",
    )
    assert verify(found, tmp_path) == found.notes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("required: true", "requird: true", "unknown key `requird`"),
        ("status:", "statuss:", "unknown key `statuss`"),
        ("apiVersion: v3.1.0", "apiVersion: v2.2.0", "version v2.2.0 of the standard is not read"),
        ("mustBeBetween: [1, 10]", "mustBeBetween: [1]", "takes two numbers"),
        ("mustBeBetween: [1, 10]", "mustBe: many", "must be a number"),
        ("mustBeBetween: [1, 10]", "unit: rows", "exactly one comparison"),
        ("[carrier, fare]", "[carrier, fair]", "`fair`, which is no property"),
        ("logicalType: date", "logicalType: dat", "unknown logicalType `dat`"),
        ("name: tail", "name: id", "`id` is declared twice"),
        ("minLength: 2", "minLength: -2", "0 or more"),
        ("required: true", "required: 1", "must be true or false"),
        ("metric: rowCount", "metric: nullValues", "belongs to a property"),
        ("unit: percent", "unit: pounds", "unknown unit"),
    ],
)
def test_what_is_wrong_in_a_file_has_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ODCS
    with pytest.raises(ConfigurationError, match=message) as raised:
        load(tmp_path, ODCS.replace(old, new, 1))
    assert (raised.value.details["file"], raised.value.details["line"]) == ("c.yaml", line_of(old))


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("'^[A-Z0-9]+$'", "'(?=a)b'", "name: carrier", "lookahead"),
        ("minimum: 0", "minimum: abc", "name: fare", "is no number"),
        ("status: active", "status: 5", "status", "as the Open Data Contract Standard has it"),
    ],
)
def test_verify_finds_what_loading_leaves_out(tmp_path: Path, old: str, new: str, place: str, message: str) -> None:
    found = load(tmp_path, ODCS.replace(old, new))
    with pytest.raises(ConfigurationError, match=message) as raised:
        verify(found, tmp_path)
    assert (raised.value.details["file"], raised.value.details["line"]) == ("c.yaml", line_of(place))


def test_without_the_official_package_a_note_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_data_contract_standard.model", None)
    assert "dativo-assets[odcs]" in verify(load(tmp_path, ODCS), tmp_path)[-1]


@pytest.mark.parametrize(
    ("item", "type_name"),
    [
        ("logicalType: string", "string"),
        ("logicalType: number", "float64"),
        ("logicalType: integer, logicalTypeOptions: {format: i32}", "int32"),
        ("logicalType: timestamp, logicalTypeOptions: {timezone: true}", "timestamp[us, UTC]"),
        ("logicalType: timestamp, physicalType: TIMESTAMP WITH TIME ZONE", "timestamp[us, UTC]"),
        ("logicalType: date, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm'}", "timestamp[us]"),
        ("logicalType: integer, physicalType: int8", "int64"),
        ("logicalType: integer, physicalType: 'NUMBER(38,0)'", "decimal(38,0)"),
        ("logicalType: boolean, physicalType: tinyint(1)", "bool"),
        ("logicalType: string, physicalType: uuid", "string"),
        ("logicalType: timestamp, physicalType: timestamp(6) without time zone", "timestamp[us]"),
        ("physicalType: double precision", "float64"),
        ("physicalType: 'list<int32>'", "list<int32>"),
        ("logicalType: array, items: {logicalType: integer}", "list<int64>"),
        ("logicalType: object, properties: [{name: a, logicalType: date}]", "struct<a: date>"),
    ],
)
def test_types_of_the_standard_are_ours(tmp_path: Path, item: str, type_name: str) -> None:
    text = f"apiVersion: v3.1.0\nkind: DataContract\nschema: [{{name: t, properties: [{{name: x, {item}}}]}}]\n"
    found = load(tmp_path, text)
    assert found.columns[0].type == type_name
    found.schema()


def test_a_type_that_is_not_known_is_told_or_refused(tmp_path: Path) -> None:
    text = "apiVersion: v3.1.0\nkind: DataContract\nschema:\n- {name: t, properties: [{name: x, %s}]}\n"
    found = load(tmp_path, text % "logicalType: string, physicalType: GEOGRAPHY")
    assert "GEOGRAPHY" in found.notes[0]
    with pytest.raises(ConfigurationError, match="GEOGRAPHY"):
        load(tmp_path, text % "physicalType: GEOGRAPHY")
    with pytest.raises(ConfigurationError, match="needs a `logicalType`"):
        load(tmp_path, text % "description: x")


def test_a_newer_version_of_the_standard_may_say_more(tmp_path: Path) -> None:
    found = load(tmp_path, ODCS.replace("v3.1.0", "v3.9.0") + "novelty: 1\n")
    assert "newer" in found.notes[0]


def test_the_table_is_the_only_one_or_the_one_that_is_named(tmp_path: Path) -> None:
    text = "apiVersion: v3.1.0\nkind: DataContract\nname: two\nschema:\n" + "".join(
        f"- {{name: {name}, properties: [{{name: {name}_id, logicalType: integer}}]}}\n" for name in "ajb"
    )
    assert load(tmp_path, text).columns[0].name == "j_id"
    assert load(tmp_path, text, "c.yaml#b").columns[0].name == "b_id"
    with pytest.raises(ConfigurationError, match="no table named `x`; it has a, j, b"):
        load(tmp_path, text, "c.yaml#x")


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_older_asset_file_is_a_contract(tmp_path: Path, wrapped: bool) -> None:
    flat = (
        "name: orders\nversion: 1.10\nsource_type: csv\nobject: orders\nteam: {owner: air}\nschema:\n"
        "- {name: id, type: bigint, required: true}\n- {name: mail, type: string, classification: PII}\n"
        "- {name: at, type: datetime}\n"
    )
    text = "asset:\n" + "".join(f"  {line}\n" for line in flat.splitlines()) if wrapped else flat
    found = load(tmp_path, text)
    assert (found.name, found.version, found.format) == ("orders", "1.10", "asset")
    assert found.schema().types == [pa.int64(), pa.string(), pa.timestamp("us")]
    assert [rule.name for rule in found.rules] == ["types", "id_not_null"]
    assert found.column("mail").masked
    assert verify(found, tmp_path) == ()
    with pytest.raises(ConfigurationError, match="unknown type `strin`") as raised:
        load(tmp_path, text.replace("type: string", "type: strin"))
    assert raised.value.details["line"] == 8 + wrapped


def test_an_inline_schema_says_the_same_and_a_bad_rule_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "j.yaml").write_text(
        "source: {reader: csv}\ntarget: {writer: parquet}\non_violation: warn\nschema:\n"
        "- {name: id, type: int64, primary_key: true}\n"
        "- {name: n, min: 1, tags: {pii: 'yes'}}\n"
    )
    found = load_contract(load_project(tmp_path).jobs["j"], tmp_path)
    assert found is not None
    assert [rule.name for rule in found.rules] == ["types", "n_min", "primary_key"]
    assert (found.on_violation, found.column("n").masked) == ("warn", True)
    with pytest.raises(ConfigurationError, match="rule n_min") as raised:
        verify(found, tmp_path)
    assert (raised.value.details["file"], raised.value.details["line"]) == ("jobs/j.yaml", 6)


@pytest.mark.parametrize("text", ["", "foo: 1", "- a", "kind: DataContract\n", "apiVersion: v3.0.0\nschema: []\n"])
def test_what_is_no_contract_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, text)
    assert raised.value.details["file"] == "c.yaml"


def test_a_missing_file_is_told_at_the_job_s_line(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "j.yaml").write_text("source: {reader: csv}\ntarget: {writer: parquet}\ncontract: gone.yaml\n")
    with pytest.raises(ConfigurationError, match="no contract file gone") as raised:
        load_contract(load_project(tmp_path).jobs["j"], tmp_path)
    assert raised.value.details["line"] == 3


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    assert load(tmp_path, ODCS).version == "1.10"
    assert load(tmp_path, ODCS.replace("1.10", "1.11")).version == "1.11"


def test_loading_a_contract_imports_neither_arrow_nor_the_official_package(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ODCS)
    script = (
        "import sys; from pathlib import Path; from dativo_assets.config import JobConfig\n"
        "from dativo_assets.contract import load_contract\n"
        "keys = {'name': 'j', 'source': {'reader': 'a'}, 'target': {'writer': 'b'}, 'contract': 'c.yaml'}\n"
        "job = JobConfig.model_validate(keys)\n"
        "assert load_contract(job, Path(sys.argv[1])).rules\n"
        "print([name for name in ('pyarrow', 'numpy', 'open_data_contract_standard') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
