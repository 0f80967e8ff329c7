"""A reader and a writer in Python."""

from __future__ import annotations

_COMMON = {
    ".gitignore": "warehouse/\ndist/\n__pycache__/\n.venv/\n",
    ".github/workflows/test.yml": """\
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix: {python: ["3.10", "3.13"]}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "$${{ matrix.python }}"}
      - run: pip install . --group dev
      - run: pytest
""",
    "example/dativo.yaml": """\
jobs: jobs/*.yaml
defaults:
  target: {writer: parquet, path: "warehouse/{name}"}
""",
}

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "$dist"
version = "0.1.0"
description = "A KIND for Dativo"
readme = "README.md"
requires-python = ">=3.10"
keywords = ["dativo-plugin", "dativo-api-1"]
dependencies = ["dativo-plugin-sdk"]

[dependency-groups]
dev = ["dativo-assets", "pyarrow", "pytest"]

[project.entry-points."dativo.KINDs"]
$module = "$module:$Class"

[tool.hatch.build.targets.wheel]
only-include = ["$module.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

_README = """\
# $dist

A KIND for [Dativo](https://pypi.org/project/dativo-assets/). Install it beside Dativo, and any job may say `KIND: $module`.

    pip install . --group dev
    pytest                                        the conformance suite, and the example job
    dativo run --project example example          the example alone
    dativo plugin test $module.py:$ClassWITH --report CONFORMANCE.md

To publish: raise `version` in pyproject.toml, `python -m build`, `twine upload dist/*`. The keyword `dativo-plugin` lets
others find it.
"""


def _package(kind: str, given: dict[str, str], extra: str) -> dict[str, str]:
    def named(text: str) -> str:
        return text.replace("KIND", kind).replace("WITH", extra)

    return {"pyproject.toml": named(_PYPROJECT), "README.md": named(_README), **_COMMON, **given}


READER = _package(
    "reader",
    {
        "$module.py": '''\
"""Numbers and their squares: replace them by what your source holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dativo_plugin_sdk import BaseReader, ConnectionTestResult, DiscoveryResult, Options
from pydantic import Field


class ${Class}Options(Options):
    rows: int = Field(1000, ge=0, description="how many numbers there are")


class $Class(BaseReader):
    __version__ = "0.1.0"
    Options = ${Class}Options

    def extract(self, state_manager: Any = None) -> Iterator[Any]:
        for start in range(0, self.options.rows, 250):
            self.raise_if_cancelled()
            numbers = range(start, min(self.options.rows, start + 250))
            yield [{"n": n, "square": n * n} for n in numbers]

    def check_connection(self) -> ConnectionTestResult:
        return ConnectionTestResult(True, "numbers are there")

    def discover(self) -> DiscoveryResult:
        return DiscoveryResult([{"name": "numbers", "rows": self.options.rows}])
''',
        "tests/test_$module.py": """\
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dativo_plugin_sdk.testing import ReaderConformance

from $module import $Class

EXAMPLE = Path(__file__).resolve().parents[1] / "example"


class Test$Class(ReaderConformance):
    reader = $Class
    options = {"rows": 600}
    expected_rows = 600


def test_the_example_job_runs() -> None:
    dativo = Path(sys.executable).with_name("dativo")
    done = subprocess.run([dativo, "run", "--project", EXAMPLE, "example"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1,000 rows" in done.stdout
""",
        "example/jobs/example.yaml": """\
source:
  reader: "../$module.py:$Class"
  options: {rows: 1000}
target: {mode: overwrite}
schema:
  - {name: n, type: int64, primary_key: true}
  - {name: square, type: int64, required: true, min: 0}
""",
    },
    "",
)

WRITER = _package(
    "writer",
    {
        "$module.py": '''\
"""Rows as lines of JSON: replace them by your format. Files under `output_base` become visible together, in one commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import BaseWriter, Options
from pydantic import Field


class ${Class}Options(Options):
    prefix: str = Field("part", pattern=r"^[a-z]{1,20}$$", description="what files begin with")


class $Class(BaseWriter):
    __version__ = "0.1.0"
    Options = ${Class}Options
    needs_path = True

    def write_batch(self, records: list[dict[str, Any]], file_counter: int) -> list[dict[str, Any]]:
        path = Path(self.output_base) / f"{self.options.prefix}-{file_counter:09d}.jsonl"
        path.write_text("".join(json.dumps(row, default=str) + "\\n" for row in records), encoding="utf-8")
        return [{"path": str(path), "size_bytes": path.stat().st_size, "record_count": len(records)}]
''',
        "tests/test_$module.py": """\
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dativo_plugin_sdk.testing import WriterConformance

from $module import $Class

EXAMPLE = Path(__file__).resolve().parents[1] / "example"


class Test$Class(WriterConformance):
    writer = $Class

    def read_back(self, writer: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for path in writer.table.files() for line in Path(path).read_text().splitlines()]


def test_the_example_job_runs() -> None:
    dativo = Path(sys.executable).with_name("dativo")
    done = subprocess.run([dativo, "run", "--project", EXAMPLE, "example"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 rows" in done.stdout
""",
        "example/jobs/example.yaml": """\
source: {reader: csv, files: [data/cities.csv]}
target: {writer: "../$module.py:$Class", path: warehouse/cities, mode: overwrite}
""",
        "example/data/cities.csv": "city,people\nLagos,15388000\nLima,10092000\nOslo,709037\n",
    },
    " --kind writer",
)
