"""dativo run: each job to one commit, upstream first."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dativo_plugin_sdk import CancelledError, ConfigurationError, DativoError

from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED, to_dativo_error
from dativo_assets.pipeline import CancelToken, RunResult, RunSettings, run, run_all
from dativo_assets.pipeline.result import Status
from dativo_assets.plan import JobPlan, bind, upstream_jobs

from .app import EXIT_INTERRUPTED
from .context import Named, Selection, config_option, json_option, project_option, project_root, select, stream_option
from .known import recall, remember
from .output import print_error, print_json, size
from .progress import watching
from .secrets import MANAGERS, secrets_of
from .tracing import tracing
from .witness import witnessed

if TYPE_CHECKING:
    from dativo_plugin_sdk.partition_rows import PartitionSelection

    from dativo_assets.lineage.events import Events

_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}

EPILOG = """\b
Examples:
  dativo run                          all jobs, upstream first
  dativo run orders customers         two of them
  dativo run jobs/orders.yaml --json  a JSON array, one object a job
  dativo run orders --full-refresh    forget the cursor, replace the table
  dativo run orders --partition 2024-01-01..2024-01-31
  dativo run shop --stream customers  one of the tables that a job loads
  dativo run orders --profile run.json

A run ends in one commit or leaves nothing. Ctrl-C stops within a second; a second Ctrl-C at once."""


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@stream_option
@click.option("--partition", metavar="A..B", help="These partitions alone, in place of what the table has of them.")
@click.option("--full-refresh", is_flag=True, help="Forget the cursor and replace the table.")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads a job. Default: the processors.")
@click.option("--memory", metavar="SIZE", help="Budget for rows in flight, such as 256MB. Default: 128MB.")
@click.option("--locked", is_flag=True, help="Only with plugins that are as dativo.lock has them.")
@click.option("--no-retry", is_flag=True, help="One attempt alone.")
@click.option("--profile", metavar="FILE", help="Write where the time went; opens in ui.perfetto.dev and speedscope.")
@click.option("--log-format", type=click.Choice(["console", "json"]), help="Log to standard error.")
@click.option("--job-dir", metavar="DIR", hidden=True, help="All jobs of a folder.")
@click.option("--secrets-dir", metavar="DIR", hidden=True, help="Files whose names are those of variables.")
@click.option("--secret-manager", type=click.Choice(MANAGERS), hidden=True, help="Where variables are looked up.")
@click.option("--tenant-id", metavar="ID", hidden=True, help="Only jobs of this tenant.")
@config_option
@json_option
@project_option
def command(
    jobs: tuple[str, ...],
    streams: tuple[str, ...],
    partition: str | None,
    full_refresh: bool,
    workers: int | None,
    memory: str | None,
    locked: bool,
    no_retry: bool,
    profile: str | None,
    log_format: str | None,
    job_dir: str | None,
    secrets_dir: str | None,
    secret_manager: str | None,
    tenant_id: str | None,
    config: str | None,
    as_json: bool,
    project: str | None,
) -> int:
    """Run jobs, each to one commit. Without JOB: all of the project."""
    if log_format is not None:
        from dativo_assets.pipeline.logs import configure

        configure(log_format)  # type: ignore[arg-type]
    if job_dir is not None:
        jobs = (*jobs, *_in_folder(Path(job_dir)))
    environment = {**secrets_of(secret_manager, secrets_dir, tenant_id), **os.environ}
    jobs = (*jobs, config) if config else jobs
    began_ns = time.time_ns()
    try:
        known = None if streams or partition or locked else recall(jobs, project_root(jobs, project))
        selection = known or select(jobs, project, streams=streams, locked=locked or None)
    except DativoError as error:
        if not (as_json and jobs):
            raise
        print_json([RunResult(name, "", "failed", error=error).to_dict() for name in jobs])
        print_error(error)
        return EXIT_NONE_RAN
    if partition is not None and full_refresh:
        raise click.UsageError("--partition and --full-refresh exclude each other")
    token = CancelToken()
    options: dict[str, Any] = {
        "cancel": token,
        "full_refresh": full_refresh,
        "retries": not no_retry,
        "environment": environment,
    }
    if workers is not None:
        options["workers"] = workers
    if memory is not None:
        options["memory_bytes"] = _bytes(memory)
    names = [named for named in selection.jobs if tenant_id is None or _tenant(named) == tenant_id]
    if not names:
        raise ConfigurationError(
            f"no job here is of tenant `{tenant_id}`", hint="a job names its own: `tenant_id: ...` in its YAML file"
        )
    results: list[RunResult] = []
    with (
        witnessed() as begin,
        _signals(token),
        watching(on_terminal=not as_json, logs=log_format is not None) as watch,
        _events(selection, environment) as events,
        tracing(profile) as trace,
    ):
        settings = RunSettings(**options, on_progress=watch.tell, trace=trace)
        for result in _results(selection, names, settings, partition, begin, events):
            results.append(result)
            if selection.project.config.metrics is not None:
                from dativo_assets.prometheus import record

                record(selection.project, result)
            watch.done(result.name)
            if not as_json:
                watch.print(lambda result=result: _report(result, selection))  # type: ignore[misc]
    if known is None and not (streams or partition or locked):
        remember(jobs, selection, began_ns)
    if as_json:
        print_json([result.to_dict() for result in results])
        for result in results:
            if result.error is not None:
                print_error(result.error)
    return _exit_code(results, token)


def _results(
    selection: Selection,
    names: list[Named],
    settings: RunSettings,
    partition: str | None,
    begin: Callable[[str], None],
    events: Events | None,
) -> Iterator[RunResult]:
    failed: set[str] = set()
    done: set[str] = set()
    for named in names:
        if named.name in done:
            continue
        # Streams of a job wait for the same jobs, so all are ready where the first is.
        family = [other for other in names if _are_streams(named, other)] or [named]
        done.update(other.name for other in family)
        begin(named.name if len(family) == 1 else ", ".join(other.name for other in family))
        try:
            turns = _turns(family, partition)
            if partition is None and _is_by_file(named):
                turns, unchanged = _new_files(selection, named, failed, settings)
                if unchanged is not None:
                    yield unchanged
        except DativoError as error:
            failed.update(other.name for other in family)
            yield from (_unrun(other, error, "failed") for other in family)
            continue
        for number, turn in enumerate(turns):
            for result in _some(selection, family, failed, replace(settings, partition=turn), events):
                if not result.ok:
                    failed.add(result.name)
                    _say_how_to_go_on(result.error, turns, number)
                yield result
            if not failed.isdisjoint(other.name for other in family) and not _is_by_file(named):
                break


def _turns(family: Sequence[Named], partition: str | None) -> Sequence[PartitionSelection | None]:
    """What each run of a job or its streams, which are divided alike, loads; None for all of it."""
    job = family[0].job
    if partition is None or job is None:
        return [None]
    from dativo_assets.config.partition_keys import in_turn

    return in_turn(job, partition)


def _is_by_file(named: Named) -> bool:
    return named.job is not None and named.job.is_by_file


def _new_files(
    selection: Selection, named: Named, failed: set[str], settings: RunSettings
) -> tuple[Sequence[PartitionSelection], RunResult | None]:
    """A turn for each new file; where there is none, what comes of that. Raises: DativoError."""
    from dativo_assets.config.partition_keys import of_file
    from dativo_assets.pipeline.one_file import new_files

    plan = _plan(selection, named, failed)
    if settings.full_refresh:
        raise ConfigurationError(
            f"{plan.job.name} is loaded a file at a time: there is no full refresh of it",
            hint="load a file again: --partition FILE; forget which are loaded: dativo state reset",
        )
    commit, files = new_files(plan, settings.environment)
    nothing = RunResult(plan.job.job_name, "", "unchanged", commit=commit)
    return [of_file(plan.job, file) for file in files], None if files else nothing


def _say_how_to_go_on(error: DativoError | None, turns: Sequence[PartitionSelection | None], number: int) -> None:
    here, last = turns[number], turns[-1]
    if error is None or here is None or last is None or len(turns) == 1 or here.file is not None:
        return
    rest = "..".join(dict.fromkeys((here.keys.partition("..")[0], last.keys.rpartition("..")[2])))
    hint = f"{number} of {len(turns)} runs are done: go on with --partition '{rest}'"
    error.hint = f"{error.hint}; {hint}" if error.hint else hint


def _are_streams(one: Named, other: Named) -> bool:
    jobs = (one.job, other.job)
    return all(job is not None and job.stream for job in jobs) and len({job.job_name for job in jobs if job}) == 1


@contextmanager
def _events(selection: Selection, environment: Mapping[str, str]) -> Iterator[Events | None]:
    if selection.project.config.openlineage is None:
        yield None
        return
    from dativo_assets.lineage.events import telling

    with telling(selection.project, environment) as events:
        yield events


def _some(
    selection: Selection,
    family: list[Named],
    failed: set[str],
    settings: RunSettings,
    events: Events | None,
) -> Iterator[RunResult]:
    """The results of one job, or of its streams."""
    plans = []
    for named in family:
        try:
            settings.cancel.check()
            plans.append(_plan(selection, named, failed))
        except DativoError as error:
            status = "cancelled" if isinstance(error, CancelledError) else "failed"
            yield _unrun(named, error, status)  # type: ignore[arg-type]
        except Exception as error:
            yield _unrun(named, to_dativo_error(error, job=named.name), "failed")

    def told(plan: JobPlan, settings: RunSettings, run_id: str) -> RunResult:
        return (
            run(plan, settings, run_id)
            if events is None
            else events.around(plan, run_id, lambda: run(plan, settings, run_id))
        )

    if len(plans) == 1:
        yield told(plans[0], settings, uuid.uuid4().hex)
    elif plans:
        yield from run_all(plans, settings, go=told)


def _plan(selection: Selection, named: Named, failed: set[str]) -> JobPlan:
    if named.job is None:
        assert named.error is not None
        raise named.error
    upstream = upstream_jobs(named.job, selection.project, selection.registry)
    parts = [part.name for name in upstream for part in selection.project.parts(name)]
    if broken := [name for name in (*upstream, *parts) if name in failed]:
        raise ConfigurationError(
            f"skipped: upstream {', '.join(dict.fromkeys(broken))} failed",
            "UPSTREAM_FAILED",
            {"job": named.name},
            hint="mend it and run again",
        )
    return bind(named.job, selection.project, selection.registry)


def _unrun(named: Named, error: DativoError, status: Status) -> RunResult:
    if named.job is None:
        return RunResult(named.name, "", status, error=error)
    return RunResult(named.job.job_name, "", status, named.job.stream, error=error)


def _report(result: RunResult, selection: Selection) -> None:
    """One job's outcome: a line, its notes and broken rules, its error."""
    name = result.name if result.partitions is None else f"{result.name} {result.partitions}"
    if result.error is not None:
        click.echo(f"{name}: {result.status}")
        if result.status == "cancelled":
            return
        _checks(result)
        print_error(result.error)
        return
    if result.status == "unchanged":
        seq = result.commit.seq if result.commit else 0
        click.echo(f"{result.name}: nothing is new since commit {seq}")
        return
    rejected = f", {result.rows_rejected:,} rejected" if result.rows_rejected else ""
    rows = "1 row" if result.rows_written == 1 else f"{result.rows_written:,} rows"
    speed = f", {result.rows_read / result.seconds:,.0f} rows/s" if result.rows_read and result.seconds > 0 else ""
    seq = result.commit.seq if result.commit else 0
    click.echo(f"{name}: {rows}{rejected}, {size(result.bytes_written)} in {result.seconds:.2f} s{speed}, commit {seq}")
    for note in (*result.notes, *result.schema_changes):
        click.echo(f"  {note}")
    _checks(result)
    if result.commit and result.commit.quarantine:
        folder = os.path.dirname(result.commit.quarantine[0])
        click.echo(f"  rejected rows are in {_relative(folder, selection.project.root)}")


def _checks(result: RunResult) -> None:
    for check in result.checks:
        if check.violations:
            rows = "row" if check.violations == 1 else "rows"
            click.echo(f"  {check.violations:,} {rows} broke {check.name}: {check.description}")


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root) if Path(path).is_relative_to(root) else path


def _exit_code(results: list[RunResult], token: CancelToken) -> int:
    if token.cancelled:
        return EXIT_INTERRUPTED
    if all(result.ok for result in results):
        return EXIT_ALL_DONE
    return EXIT_SOME_FAILED if any(result.ok for result in results) else EXIT_NONE_RAN


def _in_folder(folder: Path) -> list[str]:
    """The job files of a folder. Raises: ConfigurationError: when there is none."""
    found = [str(path) for path in sorted(folder.glob("*")) if path.suffix in (".yaml", ".yml")]
    if not found:
        raise ConfigurationError(f"there is no job file in {folder}", hint="--job-dir names a folder of YAML files")
    return found


def _tenant(named: Named) -> object:
    return None if named.job is None else named.job.metadata.get("tenant_id")


def _bytes(text: str) -> int:
    number = text.rstrip("BbKkMmGgIi").strip()
    unit = text[len(number) :].strip().lower().replace("i", "")
    try:
        return max(1 << 20, int(float(number) * _UNITS[unit]))
    except (KeyError, ValueError):
        raise click.BadParameter(f"{text!r} is no size; write 256MB or 1GB", param_hint="--memory") from None


@contextmanager
def _signals(token: CancelToken) -> Iterator[None]:
    """The first SIGINT or SIGTERM cancels, the second ends the process."""

    def handle(number: int, frame: object) -> None:
        if token.cancelled:
            os._exit(EXIT_INTERRUPTED)
        token.cancel()
        click.echo("dativo: stopping; a job that has not committed leaves nothing visible", err=True)

    before: list[tuple[int, Callable[..., Any] | int | None]] = [
        (number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
