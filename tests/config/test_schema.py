"""The JSON Schema that editors read."""

from __future__ import annotations

from typing import Any

from dativo_assets.config.schema import json_schema

_CSV = {
    "$defs": {"Quote": {"type": "string"}},
    "type": "object",
    "properties": {"delimiter": {"type": "string"}, "quote": {"$ref": "#/$defs/Quote"}},
    "additionalProperties": False,
}


def test_every_key_of_a_job_has_a_description_and_unknown_ones_are_wrong() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    for model in (schema, *schema["$defs"].values()):
        for name, part in model["properties"].items():
            assert part.get("description"), name
    assert {"schema", "timeout", "freshness", "trigger"} <= set(schema["properties"])
    assert "timeout_s" not in schema["properties"]


def test_the_options_of_a_plugin_hold_where_it_is_named() -> None:
    schema = json_schema({"reader": {"csv": _CSV}})
    (rule,) = schema["$defs"]["Source"]["allOf"]
    assert rule["if"] == {"properties": {"reader": {"const": "csv"}}, "required": ["reader"]}
    name = rule["then"]["properties"]["options"]["$ref"].removeprefix("#/$defs/")
    options: dict[str, Any] = schema["$defs"][name]
    assert options["properties"]["quote"]["$ref"] == f"#/$defs/{name}/$defs/Quote"


def test_the_defaults_of_a_project_take_the_keys_of_a_job_but_its_name() -> None:
    schema = json_schema({"writer": {"csv": _CSV}}, of="project")
    defaults = schema["$defs"]["Defaults"]
    assert "target" in defaults["properties"] and "name" not in defaults["properties"]
    assert schema["properties"]["defaults"]["$ref"] == "#/$defs/Defaults"
    assert "writer.csv" in schema["$defs"]
