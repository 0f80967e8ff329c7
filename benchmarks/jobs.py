"""Dativo's side: a project made for the run, one job for each way of doing the task."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from .data import Dataset
from .measure import Command

NATIVE = importlib.util.find_spec("dativo_rust_csv") is not None
_RULES = {
    "id": "required: true, min: 1",
    "name": "required: true, max_length: 64",
    "email": 'required: true, pattern: "@"',
    "category": 'required: true, accepted_values: [books, garden, "home, kitchen", music, sports, toys]',
    "quantity": "required: true, min: 0, max: 99",
    "active": "required: true",
    "created_at": "required: true",
}


class Project:
    """A folder with dativo.yaml and jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.rmtree(root, ignore_errors=True)
        (root / "jobs").mkdir(parents=True)
        (root / "dativo.yaml").write_text("name: benchmarks\n")

    def job(
        self,
        name: str,
        source: Dataset,
        *,
        native: bool,
        codec: str = "zstd",
        contract: bool = False,
        isolation: str = "none",
    ) -> Path:
        """Write a job that turns CSV into a Parquet table. Returns the table's folder.

        contract: declare every column's type, seven as required, and five more rules. isolation: of its reader.
        """
        reader, writer = ("rust_csv", "rust_parquet") if native else ("csv", "parquet")
        lines = [
            f"source: {{reader: {reader}, files: ['{source.glob}'], isolation: {isolation}}}",
            f"target: {{writer: {writer}, path: warehouse/{name}, mode: overwrite, options: {{compression: {codec}}}}}",
        ]
        if contract:
            lines.append("schema:")
            for column, kind in source.types.items():
                rules = f", {_RULES[column]}" if column in _RULES else ""
                lines.append(f'  - {{name: {column}, type: "{kind}"{rules}}}')
        (self.root / "jobs" / f"{name}.yaml").write_text("\n".join(lines) + "\n")
        return self.root / "warehouse" / name

    def run(self, label: str, name: str) -> Command:
        """`dativo run` of that job, on a table that is not there yet."""
        table = self.root / "warehouse" / name

        def clear() -> None:
            shutil.rmtree(self.root / "warehouse", ignore_errors=True)

        environment = {"DATIVO_PROJECT": str(self.root)}
        return Command(label, [str(executable()), "run", name], clear, table, environment)


def executable() -> Path:
    """The `dativo` of this environment."""
    return Path(sys.executable).with_name("dativo")
