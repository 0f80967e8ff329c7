"""What a batch costs that crosses into or out of a plugin in native code: `python -m benchmarks --only boundary`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import AssetDefinition, ReadRequest, SourceConfig, TargetConfig, WriteRequest
from dativo_plugin_sdk.library import header_folder, load_library, open_library

from . import bars, report

BATCHES = 20_000
LIMIT_US = 20
_BATCH = pa.record_batch({name: pa.array(range(64), pa.int64()) for name in "abcdefgh"})


def section(folder: Path, rounds: int) -> tuple[str, list[bars.Bar]]:
    """The table, and what is judged. Measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.crossing", str(folder), str(rounds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    costs = {way: statistics.median(times) for way, times in found.items()}
    table = report.table(["way", "processor time"], [[way, f"{cost:.1f} µs"] for way, cost in costs.items()])
    judged = [bars.at_most_us(f"a batch {way}", LIMIT_US, cost) for way, cost in costs.items()]
    return f"## A batch across the boundary of a plugin, 8 columns\n\n{table}\n", judged


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Microseconds a batch of eight columns, of the process's own time, by the way it goes."""
    source, library = Path(__file__).with_suffix(".c"), folder / "crossing.so"
    command = ["cc", "-std=c11", "-O2", "-shared", "-fPIC", f"-I{header_folder()}", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    ways = {"out of a shared library": _out_of(library), "into a shared library": _into(library, folder)}
    if (wheel := _out_of_wheel(folder)) is not None:
        ways["out of a wheel"] = wheel
    found: dict[str, list[float]] = {label: [] for label in ways}
    for number in range(rounds + 1):
        for label, way in ways.items():
            start = time.process_time()
            way()
            if number:  # the first warms the caches
                found[label].append((time.process_time() - start) / BATCHES * 1e6)
    return found


def _out_of(library: Path) -> Callable[[], Any]:
    plugin = load_library("reader", open_library(str(library), "batches"), "batches", "batches")
    reader = plugin(SourceConfig(options={"batches": BATCHES}))
    (split,) = reader.plan(ReadRequest()).splits

    def read() -> None:
        for _ in reader.read(split):
            pass

    return read


def _into(library: Path, folder: Path) -> Callable[[], Any]:
    plugin = load_library("writer", open_library(str(library), "nowhere"), "nowhere", "nowhere")
    writer = plugin(AssetDefinition(name="t"), TargetConfig(root=str(folder), path="crossing"))
    writer.open(WriteRequest("t", "run", 0, schema=_BATCH.schema))
    sink = writer.open_file(str(folder / "nowhere.none"), _BATCH.schema)

    def write() -> None:
        for _ in range(BATCHES):
            sink.write(_BATCH)

    return write


def _out_of_wheel(folder: Path) -> Callable[[], Any] | None:
    """A batch of rust_csv, made before; None where that isn't installed."""
    try:
        from dativo_rust_csv._native import Reader
    except ImportError:
        return None
    (folder / "a.csv").write_text("a,b,c,d,e,f,g,h\n" + "1,2,3,4,5,6,7,8\n" * 64)
    reader = Reader(json.dumps({"files": [str(folder / "a.csv")], "options": {}}))
    plan, _ = reader.plan("{}", None)
    batch = next(iter(reader.read(json.dumps(json.loads(plan)["splits"][0]))))

    def take() -> None:
        for _ in range(BATCHES):
            pa.record_batch(batch)

    return take


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
