"""Where each column of a job's table comes from: what its reader declares, else the column of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dativo_plugin_sdk import DativoError, Upstream

from dativo_assets.plan import JobPlan

from .sources import Source


@dataclass(frozen=True, order=True)
class ColumnRef:
    """A column of a node: a job by its name, a source by its path joined with `/`."""

    node: str
    column: str

    def __str__(self) -> str:
        return f"{self.node}.{self.column}"


def declared_columns(plan: JobPlan) -> dict[str, str]:
    """{column: type} as far as the contract says; empty without one."""
    return {} if plan.contract is None else {column.name: column.type for column in plan.contract.columns}


def columns_of(
    plan: JobPlan,
    columns: Sequence[str],
    sources: Sequence[Source],
    schemas: Mapping[str, Mapping[str, str]],
) -> dict[str, tuple[ColumnRef, ...]]:
    """{column: the columns it is made from}; what nothing is known of is left out.

    columns: those of the job's table. sources: what the job reads that is no job. schemas: {upstream job: {column: type}}.
    """
    declared = _declared(plan, schemas)
    if declared is not None:
        by_table = {source.table: source.name for source in sources}
        only = sources[0].name if len(sources) == 1 else None
        known = {item.name for item in plan.upstream}
        found = {}
        for column, origins in declared.items():
            refs = {
                ColumnRef(node, origin)
                for table, origin in origins
                if (node := table if table in known else by_table.get(table, only if table == "" else None)) is not None
            }
            if refs:
                found[column] = tuple(sorted(refs))
        return found
    if plan.job.source.query is not None:
        return {}
    by_file = None if plan.job.partitions is None else plan.job.partitions.files
    added = None if by_file is None else by_file.column  # by the run itself
    return {
        column: tuple(ColumnRef(source.name, column) for source in sources)
        for column in columns
        if sources and column != added
    }


def _declared(
    plan: JobPlan, schemas: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Sequence[tuple[str, str]]] | None:
    """What the reader's class says; None where it says nothing, so that columns keep their names."""
    try:
        declare = getattr(plan.reader.load().target, "column_lineage", None)
    except DativoError:
        return None
    if declare is None:
        return None
    upstream = {
        item.name: Upstream(name=item.name, format="", files=(), seq=0, schema_text=dict(schemas.get(item.name, {})))
        for item in plan.upstream
    }
    try:
        found: Mapping[str, Sequence[tuple[str, str]]] = declare(plan.source_as_written(upstream))
        return {
            str(column): [(str(table), str(name)) for table, name in origins] for column, origins in found.items()
        } or None
    except Exception:  # a plugin's own code: lineage is told as far as it is known, and fails nothing
        return None
