"""The group of verbs, and what becomes of an error that leaves one."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import click

from dativo_assets import __version__

if TYPE_CHECKING:
    from dativo_plugin_sdk import DativoError

VERBS = {
    "init": "Make a small project that runs.",
    "run": "Run jobs, each to one commit.",
    "materialize": "Run jobs through Dagster, so that its UI shows them.",
    "validate": "Find every mistake in the project's files.",
    "check": "Test the connections of jobs.",
    "doctor": "Find what keeps jobs from running well: versions, connections, the daemon, disk.",
    "discover": "List what a job's source offers.",
    "preview": "Show a job's first rows after its contract; nothing is written.",
    "plan": "Show what a run would do; nothing is written.",
    "lineage": "Show where tables and columns come from, and where they go.",
    "plugins": "List installed readers and writers.",
    "migrate": "Rewrite jobs of the earlier package in the keys of today.",
    "plugin": "Make plugins, test, install and lock them.",
    "schema": "Print the JSON Schema of job files, for editors.",
    "maintain": "Join small files of targets, and remove what nobody reads any more.",
    "state": "Show what a job has committed, or set where its next run goes on.",
    "completion": "Print the shell's completion script.",
}
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # as a shell tells it: jobs may be left that did not run

EPILOG = """\b
Examples:
  dativo init shop && cd shop     a project that runs
  dativo validate                 every mistake, with file and line
  dativo run orders               one job
  dativo run --json               all jobs, as a JSON array
  dativo preview orders --rows 5  the first rows, after the contract

JOB is a job's name or the path of its YAML file. The project is --project, else DATIVO_PROJECT, else the nearest
dativo.yaml upwards. Exit codes: 0 all done, 1 some failed, 2 none ran, 130 interrupted."""


class Verbs(click.Group):
    """Lists verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        gc.disable()  # a verb's modules are thousands of objects, none of them garbage
        try:
            command: click.Command = import_module(f"dativo_assets.cli.{name}").command
            gc.freeze()
        finally:
            gc.enable()
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _pipe_broke()  # click would exit with 1, as if some jobs had failed

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in VERBS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else " See `dativo --help`."
            raise click.UsageError(f"there is no command `{name}`.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dativo")
@click.option("--debug", is_flag=True, hidden=True, help="Show tracebacks.")
@click.option("-p", "--project", metavar="DIR", help="The project's folder.")
@click.pass_context
def cli(ctx: click.Context, debug: bool, project: str | None) -> None:
    """A job is a YAML file, and a job is an asset."""
    ctx.obj = {"debug": debug, "project": project}
    if _wants_json():
        from .output import keep_stdout

        keep_stdout()


def entry() -> None:
    """Run the command line and exit with its code; a person never sees a traceback unless --debug asks for it."""
    try:
        code = cli.main(prog_name="dativo", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        code = _misused(error)
    except click.Abort:
        click.echo("dativo: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        code = _pipe_broke()
    except (Exception, SystemExit) as error:
        if "--debug" in sys.argv or "_DATIVO_COMPLETE" in os.environ:
            raise
        code = _told(error)
    leave(code if isinstance(code, int) else 0)


def _pipe_broke() -> int:
    """Who reads us has gone; the interpreter must not complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return EXIT_BROKEN_PIPE


def leave(code: int) -> None:
    """Exit now: a plugin's thread that was left behind must not keep the process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def _told(error: BaseException) -> int:
    from dativo_plugin_sdk import DativoError

    from .output import print_error, print_json

    found = error if isinstance(error, DativoError) else _internal(error)
    if _wants_json():
        with suppress(OSError, DativoError):  # who reads standard output may be gone; standard error still tells
            print_json({"error": found.to_dict()})
    print_error(found)
    return 2


def _misused(error: click.ClickException) -> int:
    """A command line that click refuses."""
    if _wants_json():
        from .output import print_json

        message = error.format_message()
        print_json({"error": {"kind": "UsageError", "error_code": "USAGE_ERROR", "message": message}})
    error.show()
    return 2


def _wants_json() -> bool:
    return "--json" in sys.argv


def _internal(error: BaseException) -> DativoError:
    from dativo_plugin_sdk import DativoError

    from dativo_assets.errors import to_dativo_error

    if isinstance(error, (SystemExit, MemoryError)):
        return to_dativo_error(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return DativoError(
        f"internal error: {text}",
        "INTERNAL_ERROR",
        hint="please report it, with what --debug prints (dativo --debug ...)",
    )
