"""One job over one target, whose every row has an id: what is visible is compared with what may be."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind

from .children import At, Child, ask, warm
from .targets import FOLDER, Row, Target

FILE_ROWS = 50
FILES = 2
UPDATED = 10


@dataclass
class Tally:
    """What became of the trials of one fault. partial: neither all nor nothing of a run was visible.

    unclean: leftovers, counts that don't add up, answers that aren't true and errors of the wrong kind.
    """

    trials: int = 0
    lost: int = 0
    doubled: int = 0
    phantom: int = 0
    partial: int = 0
    unclean: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.phantom or self.partial or self.unclean)


class Bench:
    """A project with one job. A batch is what arrives at the source between two runs.

    landed: how many batches are known to be visible. told: {run: whether it said that it committed}, until that is compared
    with the target. change: done in every child before it runs.
    """

    def __init__(
        self,
        target: Target,
        mode: str,
        tally: Tally,
        connections: dict[str, Any],
        change: Callable[[], None] | None = None,
    ) -> None:
        self.target, self.mode, self.tally, self.change = target, mode, tally, change
        self.root = Path(tempfile.mkdtemp(prefix="dativo-faults-", dir=FOLDER))
        self.table = f"t{self.root.name[-8:].lower()}"
        self.batches = self.landed = self._runs = 0
        self.told: dict[str, bool] = {}
        self._arrived: dict[str, int] = {}
        connections = {
            name: {**given, **({"password": "${PASSWORD}"} if "password" in given else {})}
            for name, given in connections.items()
        }
        self._environment = {"PASSWORD": "hush-hush"}
        (self.root / "dativo.yaml").write_text(json.dumps({"jobs": "jobs/*.yaml", "connections": connections}))
        (self.root / "data").mkdir()
        (self.root / "jobs").mkdir()
        source: dict[str, Any] = {"reader": "csv", "files": ["data/*.csv"]}
        into: dict[str, Any] = {"mode": mode}
        if mode == "append":
            source["incremental"] = {"strategy": "file"}
        if mode == "merge":
            source["incremental"] = {"strategy": "updated_at", "cursor_field": "v"}
            into["keys"] = ["id"]
        if mode == "partitions":
            into = {"mode": "overwrite", "partition_by": ["v"], "options": {"overwrite": "partitions"}}
        job = {
            "source": source,
            "target": {**target.yaml(self.table), **into},
            "schema": [{"name": "id", "type": "int64", "required": True}, {"name": "v", "type": "int64"}],
            "on_violation": "quarantine",
        }
        (self.root / "jobs" / "job.yaml").write_text(json.dumps(job))
        project = load_project(self.root)
        assert not project.broken, project.broken
        self.plan = bind(project.jobs["job"], project)

    def close(self) -> None:
        if self.target.drops:
            ask(lambda: self.target.drop(self.table))
        shutil.rmtree(self.root, ignore_errors=True)

    # -- the source ------------------------------------------------------------------------------------------------

    def arrive(self) -> None:
        """One more batch: new rows, for a merge also newer ones of the batch before, and one bad row a file.

        Where partitions are replaced each batch is one, and the one before comes again.
        """
        for file in range(FILES):
            rows = self._file(self.batches, file)
            lines = "".join(f"{key},{v}\n" for key, v in rows)
            (self.root / "data" / f"{self.batches:04d}-{file}.csv").write_text(f"id,v\n{lines},{self.batches}\n")
        self.batches += 1

    def _file(self, batch: int, file: int) -> list[Row]:
        first = (batch * FILES + file) * FILE_ROWS
        rows = [(n, batch) for n in range(first, first + FILE_ROWS)]
        if self.mode == "merge" and batch:
            before = ((batch - 1) * FILES + file) * FILE_ROWS
            rows += [(n, batch) for n in range(before, before + UPDATED)]
        return rows

    def expected(self, batches: int) -> dict[int, int]:
        """{id: v} where that many batches landed."""
        return {key: v for batch in range(batches) for file in range(FILES) for key, v in self._file(batch, file)}

    # -- runs ------------------------------------------------------------------------------------------------------

    def new_run(self) -> str:
        self._runs += 1
        return f"run{self._runs}"

    def warm(self) -> None:
        """Have the modules that a run and a look need."""
        self.plan.open_writer(self._environment).close()
        self.plan.open_reader(self._environment).close()

        def body() -> None:
            self._run(self.new_run())
            self._inspect()
            self._rows()

        warm(body)

    def start(
        self,
        run_id: str,
        before: Callable[[], Any] | None = None,
        *,
        look_first: bool = False,
        then: Callable[[], Any] | None = None,
    ) -> Child:
        """One run in a child. before: done there first; what it returns tells the steps. look_first: see what is visible, and
        which of the runs that were told something are committed, before all else. then: done after it.

        Its result: {status, code, error, steps, unbalanced, seconds, found, committed, then}.
        """

        self._arrived[run_id] = self.batches

        def body() -> dict[str, Any]:
            found = self._rows() if look_first else None
            committed = self._committed(self.told) if look_first else {}
            if self.change is not None:
                self.change()
            steps = None if before is None else before()
            result = self._run(run_id)
            counted = result.rows_written + result.rows_rejected
            return {
                "status": result.status,
                "code": None if result.error is None else result.error.error_code,
                "error": "" if result.error is None else str(result.error),
                "steps": steps and steps(),
                "unbalanced": result.status == "succeeded" and result.rows_read != counted,
                "seconds": result.seconds,
                "found": found,
                "committed": committed,
                "then": then and then(),
            }

        return Child(body)

    def end(self, child: Child) -> Any:
        """A run's result, whose counts must add up; None where it was killed. What it found must be what runs were told."""
        result = child.result()
        if result is None:
            return None
        if result["unbalanced"]:
            self.tally.unclean.append("counts of a run that succeeded don't add up")
        if result["found"] is not None:
            self._compare(result["found"], self.landed)
            for run_id, told in self.told.items():
                if result["committed"][run_id] != told:
                    self.tally.unclean.append(f"{run_id} was told otherwise than {told}")
            self.told = {}
        return result

    def believe(self, run_id: str, committed: bool) -> None:
        """A run said that it committed what had arrived when it began, or nothing: true or not, which the next look tells."""
        self.told[run_id] = committed
        if committed:
            self.landed = max(self.landed, self._arrived[run_id])

    def finish(self, run_id: str, then: Callable[[], Any] | None = None) -> Any:
        """Look, and run until it is done: then everything that has arrived must be visible. Returns: what `then` did."""
        child = self.start(run_id, look_first=True, then=lambda: (self._rows(), then and then()))
        result = self.end(child)
        if result is None or result["status"] not in ("succeeded", "unchanged"):
            self.tally.unclean.append(f"a run after the fault: {result and result['error']}")
            return None
        rows, done = result["then"]
        self._compare(rows, self.batches)
        self.landed = self.batches
        if self.mode == "partitions":
            for path in (self.root / "data").iterdir():
                if int(path.name[:4]) < self.landed - 1:
                    path.unlink()
        return done

    def inspect(self) -> None:
        """One more run, after which there are no leftovers, and the records of all add up."""
        self.arrive()
        seen = self.finish(self.new_run(), self._inspect)
        if seen is None:
            return
        if seen["left"]:
            self.tally.unclean.append(f"left over: {seen['left']}")
        if seen["unbalanced"]:
            self.tally.unclean.append(f"counts of {seen['unbalanced']} don't add up")
        if self.mode in ("append", "merge") and seen["rejected"] != self.batches * FILES:
            self.tally.unclean.append(f"{seen['rejected']} rejected rows, not {self.batches * FILES}")

    def look(self) -> None:
        """Count what is wrong with what is visible."""
        self._compare(ask(self._rows), self.landed)

    # -- in a child ------------------------------------------------------------------------------------------------

    def _run(self, run_id: str) -> RunResult:
        return run(self.plan, RunSettings(workers=2, retries=False, environment=self._environment), run_id)

    def _rows(self) -> list[Row]:
        return self.target.rows(self.root, self.table)

    def _committed(self, runs: Mapping[str, bool]) -> dict[str, bool]:
        """Which runs' commits are in the target."""
        if not runs:
            return {}
        writer = self.plan.open_writer(self._environment)
        try:
            return {run_id: writer.commit_of(run_id) is not None for run_id in runs}
        finally:
            writer.close()

    def _inspect(self) -> dict[str, Any]:
        writer = self.plan.open_writer(self._environment)
        history = writer.history()
        writer.close()
        return {
            "unbalanced": [c.seq for c in history if c.rows_read != c.rows_written + c.rows_rejected],
            "rejected": self.target.rejected(self.root, self.table),
            "left": self.target.leftovers(self.root, self.table),
        }

    def _compare(self, rows: list[Row], least: int) -> None:
        """Count what is wrong with rows. least: how many batches they must have."""
        visible = [(key, v) for key, v in rows]
        for landed in range(self.batches, least - 1, -1):
            if len(visible) == len(expected := self.expected(landed)) and dict(visible) == expected:
                return
        counts = Counter(row[0] for row in visible)
        floor, most = self.expected(least), self.expected(self.batches)
        self.tally.doubled += sum(count - 1 for count in counts.values())
        self.tally.lost += len(floor.keys() - counts.keys())
        self.tally.phantom += len(counts.keys() - most.keys())
        self.tally.partial += 1


def at(step: int, what: str) -> Callable[[], Callable[[], int]]:
    return At(step, what).arm
