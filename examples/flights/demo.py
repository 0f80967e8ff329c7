"""Materializes the whole project in a Dagster instance, shows how it goes, and says what to open next.

The instance is .dagster/ beside this file, the one that `make ui` opens.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import place

HERE = Path(__file__).resolve().parent
HOME = HERE / ".dagster"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
POLL_S = 0.2


@dataclass
class Row:
    """What the table tells of one job."""

    job: str
    state: str = "waiting"
    numbers: dict[str, Any] = field(default_factory=dict)
    passed: int = 0
    broken: int = 0

    def cells(self) -> list[str]:
        if not self.numbers:
            return [self.job, self.state, "", "", "", "", "", ""]
        size_kb = self.numbers["bytes_written"] / 1000
        speed = self.numbers.get("rows_per_s")
        checks = f"{self.passed} passed" + (f", {self.broken} with violations" if self.broken else "")
        return [
            self.job,
            self.state,
            f"{self.numbers['rows_written']:,}",
            f"{self.numbers['rows_rejected']:,}",
            f"{size_kb:,.0f} kB",
            f"{self.numbers['duration_s']:.2f}",
            f"{speed:,.0f}" if speed else "",
            checks,
        ]


class Board:
    """The table on the screen, filled from the run's events as they are stored."""

    def __init__(self, jobs: dict[str, str]) -> None:
        """jobs: {step: job}, in the order of the run."""
        self._jobs = jobs
        self._rows = {job: Row(job) for job in jobs.values()}

    def take(self, event: Any) -> None:
        """One event of the run."""
        job = self._jobs.get(event.step_key or "")
        if job is None:
            return
        row, kind = self._rows[job], event.event_type_value
        if kind == "STEP_START":
            row.state = "running"
        elif kind == "STEP_SUCCESS":
            row.state = "done" if row.numbers else "unchanged"
        elif kind == "STEP_FAILURE":
            row.state = "failed"
        elif kind == "ASSET_MATERIALIZATION":
            metadata = event.step_materialization_data.materialization.metadata
            row.numbers = {name: getattr(value, "value", value) for name, value in metadata.items()}
        elif kind == "ASSET_CHECK_EVALUATION":
            if event.event_specific_data.passed:
                row.passed += 1
            else:
                row.broken += 1

    def table(self) -> Any:
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("job", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("rows", "rejected", "size", "seconds", "rows/s"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("checks")
        for row in self._rows.values():
            table.add_row(*row.cells())
        return table


def materialize(definitions: Any, instance: Any, names: set[str] | None, console: Any) -> bool:
    """Run these jobs (None: all) as one Dagster run, its progress on the console. Returns whether all went well."""
    from rich.live import Live

    job = definitions.resolve_implicit_global_asset_job_def()
    layer = job.asset_layer
    keys = [key for key in layer.asset_graph.toposorted_asset_keys if key in layer.asset_graph.executable_asset_keys]
    keys = [key for key in keys if names is None or key.path[-1] in names]
    steps = {layer.get_op_output_handle(key).node_handle.name: key.path[-1] for key in keys}
    board, run_id = Board(steps), str(uuid.uuid4())
    outcome: list[bool] = []

    def work() -> None:
        result = job.execute_in_process(
            instance=instance, run_id=run_id, asset_selection=keys, run_config=QUIET, raise_on_error=False
        )
        outcome.append(result.success)

    thread = threading.Thread(target=work, daemon=True)
    seen = 0
    with Live(board.table(), console=console, auto_refresh=False) as live:
        thread.start()
        while True:
            alive = thread.is_alive()
            if instance.has_run(run_id):
                events = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
                for event in events[seen:]:
                    board.take(event)
                seen = len(events)
                live.update(board.table(), refresh=True)
            if not alive:
                break
            time.sleep(POLL_S)
    console.print("" if console.is_terminal else "\n")
    return bool(outcome and outcome[0])


def main() -> int:
    start = time.perf_counter()
    place()
    HOME.mkdir(exist_ok=True)
    settings = HOME / "dagster.yaml"
    if not settings.exists():
        settings.write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    os.environ["DAGSTER_HOME"] = str(HOME)

    import dagster as dg
    from rich.console import Console

    from dativo_assets.assets import build_definitions

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    definitions = build_definitions(HERE)
    with dg.DagsterInstance.get() as instance:
        console.print("[bold]Everything[/]: five tables from CSV, three derived from them\n")
        if not materialize(definitions, instance, None, console):
            console.print("[red]failed[/]: make ui shows each job's error")
            return 1
        console.print("[bold]Once more[/], the two incremental jobs: nothing is new, so nothing is read or committed\n")
        materialize(definitions, instance, {"flights", "weather"}, console)
    console.print(f"{time.perf_counter() - start:.0f} s in all. Next:\n")
    console.print("  make ui                            the graph, checks and plots, at http://127.0.0.1:3000")
    console.print("  cd examples/flights                then, with .venv/bin on the path:")
    console.print("  dativo preview delays_by_carrier   each airline's year")
    console.print("  ls warehouse/flights.quarantine    the cancelled flights, with the rule they broke")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
