"""dativo materialize: jobs as one Dagster run, recorded in the instance that the UI shows."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import click
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED

from .context import Named, config_option, json_option, project_option, select, stream_option
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo materialize orders    one asset
  dativo materialize           all, upstream first, as one run

The instance is DAGSTER_HOME. Where that is not set, it is .dagster in the project's folder; open it with
  DAGSTER_HOME=$PWD/.dagster DATIVO_PROJECT=$PWD dagster dev -m dativo_assets.definitions"""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@stream_option
@click.option("--verbose", is_flag=True, help="Dagster's own log on standard error.")
@config_option
@json_option
@project_option
def command(
    jobs: tuple[str, ...],
    streams: tuple[str, ...],
    verbose: bool,
    config: str | None,
    as_json: bool,
    project: str | None,
) -> int:
    """Run jobs through Dagster, so that its UI shows them. Without JOB: all."""
    selection = select(jobs, project, config, streams)
    root = selection.project.root
    home = _home(root)
    import dagster as dg

    from dativo_assets.assets import build_definitions
    from dativo_assets.assets.build import define_some
    from dativo_assets.assets.execute import digest_tags

    names = list(dict.fromkeys(item.job.job_name for item in selection.jobs if item.job is not None))
    alone = all(item.job is not None for item in selection.jobs)
    definitions = define_some(selection.project, names) if alone else build_definitions(root)
    whole = definitions.resolve_implicit_global_asset_job_def()
    graph = whole.asset_layer.asset_graph
    executable = [key for key in graph.toposorted_asset_keys if key in graph.executable_asset_keys]
    asked = {_key(item, executable): item for item in selection.jobs}
    keys = [key for key in executable if key in asked]
    missing = [item for key, item in asked.items() if key not in keys]
    if missing:
        errors = [item.error for item in missing if item.error is not None]
        raise errors[0] if errors else ConfigurationError(f"{missing[0].name} is no asset of {root}")
    run_id = str(uuid.uuid4())
    with dg.DagsterInstance.get() as instance:
        whole.execute_in_process(
            instance=instance,
            run_id=run_id,
            asset_selection=keys,
            run_config={} if verbose else _QUIET,
            raise_on_error=False,
            tags=digest_tags([selection.project.jobs[name] for name in names]) if alone else None,
        )
        events = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
    steps: dict[str, dict[dg.AssetKey, str]] = {}
    for key in keys:
        step = whole.asset_layer.get_op_output_handle(key).node_handle.name
        steps.setdefault(step, {})[key] = asked[key].name
    told = _outcomes(steps, events)
    if as_json:
        print_json([{"run_id": run_id, **outcome} for outcome in told])
    else:
        columns = ["job", "status", "rows", "rejected", "commit"]
        print_table(columns, [[item.get(name) for name in columns] for item in told], right=columns[2:])
        for outcome in told:
            if outcome["error"]:
                click.echo(f"\n{outcome['job']}: {outcome['error']}", err=True)
        click.echo(f"\nrun {run_id} in {home}")
    failed = [outcome for outcome in told if outcome["status"] in ("failed", "skipped")]
    if not failed:
        return EXIT_ALL_DONE
    return EXIT_SOME_FAILED if len(failed) < len(told) else EXIT_NONE_RAN


def _home(root: Path) -> Path:
    """The instance's folder; made in the project, with telemetry off, where no other is named."""
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given)
    home = root / ".dagster"
    home.mkdir(exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def _key(item: Named, executable: list[Any]) -> Any:
    """The key of a job's asset; None where a broken job has none of its name."""
    from dativo_assets.assets import asset_key

    if item.job is None:
        return next((key for key in executable if key.path[-1] == item.name), None)
    return asset_key(item.job.job_name, item.job.group, item.job.stream)


def _outcomes(steps: dict[str, dict[Any, str]], events: list[Any]) -> list[dict[str, Any]]:
    """One object a job or stream: job, status (materialized, unchanged, failed, skipped), rows, rejected, commit, error."""
    found: dict[str, dict[str, Any]] = {
        job: {"job": job, "status": "skipped", "rows": None, "rejected": None, "commit": None, "error": None}
        for jobs in steps.values()
        for job in jobs.values()
    }
    for event in events:
        jobs, kind = steps.get(event.step_key or "", {}), event.event_type_value
        untold = [found[job] for job in jobs.values() if found[job]["status"] == "skipped"]
        if kind == "STEP_SUCCESS":
            for outcome in untold:
                outcome["status"] = "unchanged"
        elif kind == "ASSET_OBSERVATION" and event.asset_key in jobs:
            found[jobs[event.asset_key]]["status"] = "unchanged"
        elif kind == "STEP_FAILURE":
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else data.error_display_string
            for outcome in untold:
                outcome.update(status="failed", error=said)
        elif kind == "ASSET_MATERIALIZATION" and event.asset_key in jobs:
            metadata = event.step_materialization_data.materialization.metadata
            found[jobs[event.asset_key]].update(
                status="materialized",
                rows=_value(metadata, "rows_written"),
                rejected=_value(metadata, "rows_rejected"),
                commit=_value(metadata, "commit_seq"),
            )
    return list(found.values())


def _value(metadata: Any, name: str) -> Any:
    entry = metadata.get(name)
    return getattr(entry, "value", None)
