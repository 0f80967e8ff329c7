"""The import table of the design as an import-linter contract: `a -> b c` lets `a` import b, c, and what those may."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

ROOT = "dativo_assets"
SDK = {"dativo_plugin_sdk": "sdk", "dativo_ingest": "ingest"}


class ImportTable(Contract):
    """`table`: one row a package; `only`: `name: packages` that alone may import the external package `name`."""

    type_name = "import_table"

    table = fields.ListField(subfield=fields.StringField())
    only = fields.ListField(subfield=fields.StringField(), required=False, default=())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        allowed = _closure(_rows(self.table, "->"))
        external = _rows(self.only or (), ":")
        broken: list[str] = []
        for module in sorted(graph.modules):
            here = _row_of(module)
            if here is None:
                continue
            if here not in allowed:
                broken.append(f"{module}: no row in the import table")
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                there = _row_of(imported)
                outside = imported.partition(".")[0]
                if there is not None and there != here and there not in allowed[here]:
                    broken.append(_line(graph, module, imported, f"{here} may not import {there}"))
                elif outside in external and here not in external[outside]:
                    broken.append(_line(graph, module, imported, f"{here} may not import {outside}"))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(line)


def _rows(lines: object, separator: str) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = {}
    for line in lines:  # type: ignore[attr-defined]
        names, _, targets = line.partition(separator)
        for name in names.split():
            rows[name] = set(targets.split())
    return rows


def _closure(rows: dict[str, set[str]]) -> dict[str, set[str]]:
    closed: dict[str, set[str]] = {}

    def reach(name: str) -> set[str]:
        if name not in closed:
            closed[name] = set(rows[name])
            for target in rows[name]:
                closed[name] |= reach(target)
        return closed[name]

    for name in rows:
        reach(name)
    return closed


def _row_of(module: str) -> str | None:
    """The row's name; None for what is not ours and for the bare root, which holds the version alone."""
    root, _, rest = module.partition(".")
    if root in SDK:
        return SDK[root]
    return rest.partition(".")[0] or None if root == ROOT else None


def _line(graph: ImportGraph, importer: str, imported: str, rule: str) -> str:
    details = graph.get_import_details(importer=importer, imported=imported)
    lines = ", ".join(f"l.{each['line_number']}" for each in details)
    return f"{importer} -> {imported} ({lines}): {rule}"
