"""What a run tells of where its rows came from: column lineage, and observations of its sources."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from dativo_assets.config import JobConfig, plain
from dativo_assets.errors import DativoError
from dativo_assets.lineage import ColumnRef, Source, columns_of, declared_columns
from dativo_assets.pipeline import RunResult
from dativo_assets.plan import JobPlan

from .sources import source_key

_MAX_FILES_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Origins:
    """Where one job's rows come from. keys: of the project's jobs. sources: those the job reads."""

    keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)
    sources: Sequence[Source] = ()

    def columns(self, plan: JobPlan, result: RunResult, environment: Mapping[str, str]) -> dg.TableColumnLineage | None:
        """The column lineage of what the run wrote; None where nothing is known of it."""
        schemas = {item.name: declared_columns(item.plan) for item in plan.upstream}
        for item in plan.upstream:
            if not schemas[item.name]:
                try:
                    schemas[item.name] = dict(item.snapshot(environment).schema_text)
                except DativoError:
                    continue  # it was dropped since the run read it
        found = columns_of(plan, tuple(result.schema_text), self.sources, schemas)
        deps = {column: [self._dep(ref) for ref in refs] for column, refs in found.items()}
        return dg.TableColumnLineage(deps) if deps else None

    def _dep(self, ref: ColumnRef) -> dg.TableColumnDep:
        key = self.keys.get(ref.node)
        return dg.TableColumnDep(dg.AssetKey(ref.node.split("/")) if key is None else key, ref.column)

    def observations(self, plan: JobPlan, result: RunResult) -> Iterator[dg.AssetObservation]:
        """Each source as the run met it: its rows where all of it was read, when its files last changed."""
        for source in self.sources:
            metadata: dict[str, Any] = {"job": plan.job.name}
            if len(self.sources) == 1:
                whole = plan.job.incremental is None and result.partitions is None
                if whole and result.status == "succeeded":
                    metadata["dagster/row_count"] = result.rows_read
                metadata["rows_read"] = result.rows_read
            changed = _last_change(plan.job, plan.root) if len(self.sources) == 1 else None
            if changed is not None:
                metadata["dagster/last_updated_timestamp"] = dg.MetadataValue.timestamp(changed)
            yield dg.AssetObservation(source_key(source), description=f"Read by {plan.job.name}", metadata=metadata)


def _last_change(job: JobConfig, root: Path) -> datetime.datetime | None:
    """When the newest of the job's local files was written; None for other sources, or too many files."""
    newest = 0.0
    for pattern in plain(job.source.files):
        if "://" in pattern or "${" in pattern or pattern == "-":
            return None
        try:
            for count, path in enumerate(root.glob(pattern) if not Path(pattern).is_absolute() else [Path(pattern)]):
                if count >= _MAX_FILES_LOOKED_AT:
                    return None
                newest = max(newest, path.stat().st_mtime)
        except (OSError, ValueError, NotImplementedError):
            return None
    return datetime.datetime.fromtimestamp(newest, datetime.timezone.utc) if newest else None
