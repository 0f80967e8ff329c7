"""dativo state: what a job has committed, and where its next run goes on."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from dativo_plugin_sdk import BaseWriter, Commit, ConfigurationError

from dativo_assets.plan import JobPlan
from dativo_assets.state.change import change, exported, imported, rewound

from .context import calling, config_option, json_option, plan_of, plans_of, project_option, stream_option, whose
from .output import keep_stdout, print_json, print_table, size

EPILOG = """\b
Examples:
  dativo state show orders                 the cursor, and every commit still visible
  dativo state history orders --file F     the run that wrote a file of the table
  dativo state rewind orders --to 3        the next run goes on from where commit 3 ended
  dativo state reset orders                the next run reads everything again
  dativo state export orders > state.json  and `import` to set it elsewhere

A change is a commit of its own, without data: a run that is under way loses to it and leaves nothing."""


@click.group(epilog=EPILOG)
def command() -> None:
    """Show what a job has committed, or set where its next run goes on. The target owns this state; nothing is kept
    elsewhere.
    """


@command.command(epilog="\b\nExamples:\n  dativo state show orders --json")
@click.argument("job", required=False)
@stream_option
@config_option
@json_option
@project_option
def show(job: str | None, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None) -> int:
    """Show the last commit, its cursor, and the commits before it: of each stream, where the job has some."""
    told = []
    for number, plan in enumerate(plans_of(job, project, config, streams)):
        with _opened(plan) as (_, writer):
            last, commits = writer.last_commit(), writer.history()
        if as_json:
            told.append(_state(plan, last, commits))
            continue
        if number:
            click.echo()
        if last is None:
            click.echo(f"{plan.job.name}: nothing is committed yet")
            continue
        click.echo(f"{plan.job.name}: commit {last.seq} of {last.author}")
        click.echo(f"cursor: {json.dumps(last.cursor)}")
        _print_commits(commits)
    if as_json:
        print_json(told[0] if "stream" not in told[0] else told)
    return 0


def _state(plan: JobPlan, last: Commit | None, commits: Sequence[Commit]) -> dict[str, Any]:
    return {
        **whose(plan),
        "seq": last.seq if last else 0,
        "cursor": last.cursor if last else None,
        "last_commit": last.model_dump(mode="json") if last else None,
        "history": [commit.model_dump(mode="json") for commit in commits],
    }


@command.command(
    epilog="\b\nExamples:\n  dativo state history orders --limit 5\n  dativo state history orders --file FILE"
)
@click.argument("job", required=False)
@click.option("--file", metavar="PATH", help="The commit that wrote this file of the table, or of its rejected rows.")
@click.option("--limit", type=click.IntRange(1), help="The newest ones alone.")
@stream_option
@config_option
@json_option
@project_option
def history(
    job: str | None,
    file: str | None,
    limit: int | None,
    streams: tuple[str, ...],
    config: str | None,
    as_json: bool,
    project: str | None,
) -> int:
    """Show who committed what and when: runs, with their rows, cursor and plugins, and changes of the state.

    A run started by Dagster has the id of Dagster's run.
    """
    with _target(job, project, config, streams) as (plan, writer):
        commits = list(writer.history()) if file is None else [_writer_of(writer, file)]
    commits = commits[-limit:] if limit else commits
    if as_json:
        print_json(
            {
                **whose(plan),
                "history": [commit.model_dump(mode="json") for commit in commits],
            }
        )
    elif not commits:
        click.echo(f"{plan.job.name}: nothing is committed yet")
    elif file is not None:
        _print_commit(commits[0])
    else:
        _print_commits(commits)
    return 0


@command.command(epilog="\b\nExamples:\n  dativo state rewind orders --to 3")
@click.argument("job", required=False)
@click.option("--to", "seq", type=click.IntRange(1), required=True, metavar="SEQ", help="The commit to go on from.")
@stream_option
@config_option
@json_option
@project_option
def rewind(
    job: str | None, seq: int, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None
) -> int:
    """Set the cursor back to what it was after commit SEQ. The table's rows stay."""
    with _target(job, project, config, streams) as (plan, writer):
        base, commits = writer.last_commit(), writer.history()
        to = rewound(commits, seq)
        return _set(plan, writer, base, commits, to.cursor, as_json, "rewind", to=seq)


@command.command(epilog="\b\nExamples:\n  dativo state reset orders")
@click.argument("job", required=False)
@stream_option
@config_option
@json_option
@project_option
def reset(job: str | None, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None) -> int:
    """Forget the cursor: the next run reads everything. The table's rows stay."""
    with _target(job, project, config, streams) as (plan, writer):
        base, commits = writer.last_commit(), writer.history()
        return _set(plan, writer, base, commits, None, as_json, "reset")


@command.command(epilog="\b\nExamples:\n  dativo state export orders > orders.state.json")
@click.argument("job", required=False)
@stream_option
@config_option
@json_option
@project_option
def export(job: str | None, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None) -> int:
    """Print the last commit and its cursor as a JSON document that `import` takes."""
    keep_stdout()
    with _target(job, project, config, streams) as (plan, writer):
        last = writer.last_commit()
    if last is None:
        raise ConfigurationError(
            f"{plan.job.name}: nothing is committed yet", hint=f"run it first: dativo run {plan.job.name}"
        )
    print_json(exported(last))
    return 0


@command.command("import", epilog="\b\nExamples:\n  dativo state import orders orders.state.json")
@click.argument("job")
@click.argument("document", metavar="FILE")
@click.option("--force", is_flag=True, help="Also where the table has commits that the document knows nothing of.")
@stream_option
@config_option
@json_option
@project_option
def import_(
    job: str,
    document: str,
    force: bool,
    streams: tuple[str, ...],
    config: str | None,
    as_json: bool,
    project: str | None,
) -> int:
    """Set the cursor to what an exported document says. FILE may be -, what is piped in. The table's rows stay."""
    try:
        text = sys.stdin.read() if document == "-" else Path(document).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"{document} can't be read: {error}", hint="name a document of `state export`"
        ) from None
    with _target(job, project, config, streams) as (plan, writer):
        base, commits = writer.last_commit(), writer.history()
        commit = imported(text, (plan.job.job_name, plan.stream), commits, force=force)
        return _set(plan, writer, base, commits, commit.cursor, as_json, "import", of=commit.run_id, of_seq=commit.seq)


@contextmanager
def _target(
    job: str | None, project: str | None, config: str | None, streams: tuple[str, ...]
) -> Iterator[tuple[JobPlan, BaseWriter]]:
    with _opened(plan_of(job, project, config, streams)) as found:
        yield found


@contextmanager
def _opened(plan: JobPlan) -> Iterator[tuple[JobPlan, BaseWriter]]:
    with calling(plan, "state", plan.writer), closing(plan.open_writer(os.environ)) as writer:
        yield plan, writer


def _set(
    plan: JobPlan,
    writer: BaseWriter,
    base: Commit | None,
    commits: Sequence[Commit],
    cursor: dict[str, Any] | None,
    as_json: bool,
    action: str,
    **facts: Any,
) -> int:
    """Commit the cursor, and say what that means for the table's rows."""
    name = plan.job.name
    before = None if base is None else base.cursor
    done = None
    if before != cursor:
        done = change(
            writer,
            base,
            (plan.job.job_name, plan.stream),
            cursor,
            action,
            by=f"{_user()}@{socket.gethostname()}",
            **facts,
        )
    seq = done.seq if done else base.seq if base else 0
    start = facts.get("to", 0)
    again = sum(commit.rows_written for commit in commits if commit.seq > start and commit.mode != "overwrite")
    if as_json:
        told = {
            **whose(plan),
            "action": action,
            "changed": done is not None,
            "seq": seq,
            "cursor": cursor,
        }
        print_json({**told, "cursor_before": before, "rows_kept": again})
        return 0
    if done is None:
        click.echo(f"{name}: the cursor is that already, and nothing is changed")
        return 0
    click.echo(f"{name}: commit {seq} sets the cursor")
    click.echo(f"cursor: {json.dumps(cursor)}")
    if action != "import" and again:
        effect = {
            "append": f"has them twice then, unless it is `dativo run {name} --full-refresh`",
            "merge": "replaces them by their keys",
            "overwrite": "replaces the table",
        }[plan.job.target.mode]
        rows = "1 row that was" if again == 1 else f"{again:,} rows that were"
        click.echo(f"  {rows} written since stay in the table; a run that reads them again {effect}")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return str(os.getuid())


def _writer_of(writer: BaseWriter, file: str) -> Commit:
    found = writer.commit_of_file(file)
    if found is None:
        raise ConfigurationError(
            f"no commit in sight wrote {file}",
            hint="name a file of the table as it is shown by `dativo run --json`; rows of a database are in no file: "
            "ask `state history` by time",
        )
    return found


def _print_commit(commit: Commit) -> None:
    click.echo(f"commit {commit.seq} of {commit.author}, {commit.committed_at}")
    click.echo(f"  mode {commit.mode}, {commit.rows_written:,} rows written, {commit.rows_rejected:,} rejected")
    click.echo(f"  plugins: {', '.join(f'{side} {name}' for side, name in commit.plugins.items())}")
    click.echo(f"  cursor: {json.dumps(commit.cursor)}")


def _print_commits(commits: Sequence[Commit]) -> None:
    print_table(
        ["seq", "committed at", "mode", "written", "rejected", "size", "by"],
        [
            [
                commit.seq,
                commit.committed_at,
                commit.details.get("state", {}).get("action", commit.mode),
                f"{commit.rows_written:,}",
                f"{commit.rows_rejected:,}",
                size(commit.bytes_written),
                commit.author,
            ]
            for commit in commits
        ],
        right=["seq", "written", "rejected", "size"],
    )
