"""A run as an OpenLineage event: job, datasets, schema, column lineage, counts, checks, error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
    sql_job,
)

from dativo_assets import __version__
from dativo_assets.config import plain
from dativo_assets.pipeline import RunResult
from dativo_assets.plan import JobPlan

from .columns import columns_of, declared_columns
from .sources import Source, plugin_kinds, project_sources

PRODUCER = "https://pypi.org/project/dativo-assets"


@dataclass
class Facts:
    """What is known of a run's datasets. Names follow OpenLineage's conventions: `file` and a path, `s3://bucket` and a key."""

    namespace: str
    plan: JobPlan
    environment: Mapping[str, str]
    sources: list[Source] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        derived = frozenset({plan.job.name} if plan.job.source.query and plan.upstream else ())
        self.sources = project_sources([plan.job], derived)

    def source(self, source: Source) -> tuple[str, str]:
        """(namespace, name) of a source."""
        files = plain(self.plan.job.source.files)
        pattern = next((text for text in files if source.what.startswith("files ")), None)
        if pattern is None or len(files) > 1 or pattern == "-" or "${" in pattern:
            return self.namespace, source.name
        return _place(pattern, self.plan.root)

    def target(self, plan: JobPlan) -> tuple[str, str]:
        """(namespace, name) of a job's table."""
        config = plan.target_config(self.environment)
        kind = plugin_kinds(config.writer)[0]
        if config.table is not None:
            dsn = urlsplit(str(config.connection.get("dsn", "")))
            if kind == "postgres" and dsn.hostname:
                table = config.table if "." in config.table else f"public.{config.table}"
                return f"postgres://{dsn.hostname}:{dsn.port or 5432}", f"{dsn.path.strip('/')}.{table}"
            if config.path is not None:
                return f"{kind}://{_place(config.path, plan.root)[1]}", config.table
            return f"{kind}://{config.catalog or self.namespace}", config.table
        return _place(config.path, plan.root) if config.path is not None else (self.namespace, plan.job.name)

    def inputs(self) -> dict[str, tuple[str, str]]:
        """{node: (namespace, name)} of what the run reads."""
        found = {source.name: self.source(source) for source in self.sources}
        return found | {item.name: self.target(item.plan) for item in self.plan.upstream}


def event(kind: str, run_id: str, at: str, facts: Facts, result: RunResult | None) -> RunEvent:
    """kind: START, COMPLETE, FAIL or ABORT. at: ISO 8601. result: None at the start."""
    run: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version=__version__, name="dativo")
    }
    if result is not None and result.error is not None:
        run["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=f"{result.error.message} [{result.error.error_code}]", programmingLanguage="python"
        )
    return RunEvent(
        eventType=RunState[kind],
        eventTime=at,
        producer=PRODUCER,
        run=Run(run_id, run),
        job=Job(facts.namespace, facts.plan.job.name, _job_facets(facts.plan)),
        inputs=_inputs(facts),
        outputs=[_output(facts, result)],
    )


def _job_facets(plan: JobPlan) -> dict[str, Any]:
    found: dict[str, Any] = {
        "jobType": job_type_job.JobTypeJobFacet(processingType="BATCH", integration="DATIVO", jobType="JOB")
    }
    if plan.job.source.query is not None:
        query = plan.source_as_written({}).query
        found["sql"] = sql_job.SQLJobFacet(query=query or "", dialect="duckdb")
    return found


def _inputs(facts: Facts) -> list[InputDataset]:
    schemas = {item.name: declared_columns(item.plan) for item in facts.plan.upstream}
    found = []
    for node, (namespace, name) in facts.inputs().items():
        columns = schemas.get(node)
        found.append(InputDataset(namespace, name, facets={"schema": _schema(columns)} if columns else {}))
    return found


def _output(facts: Facts, result: RunResult | None) -> OutputDataset:
    namespace, name = facts.target(facts.plan)
    if result is None or result.commit is None:
        return OutputDataset(namespace, name)
    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(result.commit.seq))
    }
    schema = result.schema_text or dict(result.commit.schema_text)
    if schema:
        facets["schema"] = _schema(schema)
    lineage = _column_lineage(facts, schema)
    if lineage:
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(fields=lineage)
    if result.checks:
        facets["dataQualityAssertions"] = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[
                data_quality_assertions_dataset.Assertion(
                    assertion=check.description,
                    success=check.passed,
                    column=check.columns[0] if len(check.columns) == 1 else None,
                    severity=check.severity,
                    name=check.name,
                )
                for check in result.checks
            ]
        )
    written = result.status == "succeeded"
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=result.rows_written if written else 0,
        size=result.bytes_written if written else 0,
        fileCount=len(result.files) if written else 0,
    )
    return OutputDataset(namespace, name, outputFacets={"outputStatistics": statistics}, facets=facets)


def _column_lineage(facts: Facts, schema: Mapping[str, str]) -> dict[str, column_lineage_dataset.Fields]:
    inputs = facts.inputs()
    schemas = {item.name: declared_columns(item.plan) for item in facts.plan.upstream}
    found = columns_of(facts.plan, tuple(schema), facts.sources, schemas)
    return {
        column: column_lineage_dataset.Fields(
            inputFields=[
                column_lineage_dataset.InputField(*inputs[ref.node], ref.column) for ref in refs if ref.node in inputs
            ]
        )
        for column, refs in found.items()
    }


def _schema(columns: Mapping[str, str]) -> schema_dataset.SchemaDatasetFacet:
    fields = [schema_dataset.SchemaDatasetFacetFields(name=name, type=text) for name, text in columns.items()]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _place(path: str, root: Path) -> tuple[str, str]:
    """A path or URI as (namespace, name); no user or password of it."""
    if "://" not in path:
        return "file", str(root / path)
    url = urlsplit(path)
    host = (url.hostname or "") + (f":{url.port}" if url.port else "")
    return f"{url.scheme}://{host}", url.path.lstrip("/")
