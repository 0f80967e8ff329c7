"""One job over one target, whose every row has an id: what is visible is compared with what may be."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import JobPlan, bind

from .children import At, Child, ask, warm
from .targets import Row, Target

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

    landed: how many batches are known to be visible. change: done in every child before it runs.
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
        self.root = Path(tempfile.mkdtemp(prefix="dativo-faults-"))
        self.table = f"t{self.root.name[-8:].lower()}"
        self.batches = self.landed = self._runs = 0
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

    def plan(self) -> JobPlan:
        project = load_project(self.root)
        assert not project.broken, project.broken
        return bind(project.jobs["job"], project)

    def new_run(self) -> str:
        self._runs += 1
        return f"run{self._runs}"

    def warm(self) -> None:
        """Have the modules that a run and a look need."""
        plan = self.plan()
        plan.open_writer(self._environment)

        def body() -> None:
            run(self.plan(), RunSettings(workers=2, retries=False, environment=self._environment))
            self._inspect()
            self.target.rows(self.root, self.table)

        warm(body)

    def start(
        self, run_id: str, before: Callable[[], Any] | None = None, *, read_first: bool = False, then_read: bool = False
    ) -> Child:
        """One run in a child. before: done there first; what it returns tells the steps. Its result: {status, code, error,
        steps, unbalanced, found, rows}; found and rows: what was visible before and after it.
        """

        def body() -> dict[str, Any]:
            found = self.target.rows(self.root, self.table) if read_first else None
            if self.change is not None:
                self.change()
            steps = None if before is None else before()
            settings = RunSettings(workers=2, retries=False, environment=self._environment)
            result = run(self.plan(), settings, run_id)
            code = None if result.error is None else result.error.error_code
            text = "" if result.error is None else str(result.error)
            rows = self.target.rows(self.root, self.table) if then_read else None
            counted = result.rows_written + result.rows_rejected
            return {
                "status": result.status,
                "code": code,
                "error": text,
                "steps": steps and steps(),
                "unbalanced": result.status == "succeeded" and result.rows_read != counted,
                "found": found,
                "rows": rows,
            }

        return Child(body)

    def end(self, child: Child) -> Any:
        """A run's result, whose counts must add up; None where it was killed."""
        result = child.result()
        if result is not None and result["unbalanced"]:
            self.tally.unclean.append("counts of a run that succeeded don't add up")
        return result

    def finish(self, run_id: str) -> None:
        """Look, and run until it is done: then everything that has arrived must be visible."""
        result = self.end(self.start(run_id, read_first=True, then_read=True))
        if result is None or result["status"] not in ("succeeded", "unchanged"):
            self.tally.unclean.append(f"a run after the fault: {result and result['error']}")
            return
        self._compare(result["found"], self.landed)
        self._compare(result["rows"], self.batches)
        self.landed = self.batches
        if self.mode == "partitions":
            for path in (self.root / "data").iterdir():
                if int(path.name[:4]) < self.landed - 1:
                    path.unlink()

    def inspect(self) -> None:
        """One more run, after which there are no leftovers, and the records of all add up."""
        self.arrive()
        self.finish(self.new_run())
        seen = ask(self._inspect)
        if seen["left"]:
            self.tally.unclean.append(f"left over: {seen['left']}")
        if seen["unbalanced"]:
            self.tally.unclean.append(f"counts of {seen['unbalanced']} don't add up")
        if self.mode in ("append", "merge") and seen["rejected"] != self.batches * FILES:
            self.tally.unclean.append(f"{seen['rejected']} rejected rows, not {self.batches * FILES}")

    def _inspect(self) -> dict[str, Any]:
        writer = self.plan().open_writer(self._environment)
        history = writer.history()
        writer.close()
        return {
            "unbalanced": [c.seq for c in history if c.rows_read != c.rows_written + c.rows_rejected],
            "rejected": self.target.rejected(self.root, self.table),
            "left": self.target.leftovers(self.root, self.table),
        }

    def committed(self, run_id: str) -> bool:
        """Whether a run's commit is in the target."""

        def body() -> bool:
            writer = self.plan().open_writer(self._environment)
            try:
                return writer.commit_of(run_id) is not None
            finally:
                writer.close()

        return bool(ask(body))

    def look(self, least: int | None = None) -> int:
        """Count what is wrong with what is visible. least: how many batches must be. Returns: how many are."""
        least = self.landed if least is None else least
        return self._compare(ask(lambda: self.target.rows(self.root, self.table)), least)

    def _compare(self, rows: list[Row], least: int) -> int:
        visible = [(key, v) for key, v in rows]
        for landed in range(self.batches, least - 1, -1):
            if len(visible) == len(expected := self.expected(landed)) and dict(visible) == expected:
                return landed
        counts = Counter(row[0] for row in visible)
        floor, most = self.expected(least), self.expected(self.batches)
        self.tally.doubled += sum(count - 1 for count in counts.values())
        self.tally.lost += len(floor.keys() - counts.keys())
        self.tally.phantom += len(counts.keys() - most.keys())
        self.tally.partial += 1
        return least


def at(step: int, what: str) -> Callable[[], Callable[[], int]]:
    return At(step, what).arm
