"""Instructions that the native reader and writer execute, counted by callgrind: a figure that noise does not reach.

`python -m benchmarks.instructions` prints them beside what is recorded; `--record` records them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("instructions.json")
ROWS = 50_000
TOLERANCE = 0.03
OTHER_COMPILER = 0.15
"""Allowed more where the counts were recorded with another compiler."""

COPY = """
import importlib.util, json, sys
from pathlib import Path

def native(package):
    spec = importlib.util.find_spec(package)
    path = next(str(file) for folder in spec.submodule_search_locations for file in Path(folder).glob("_native*.so"))
    spec = importlib.util.spec_from_file_location(package + "._native", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

source, target = sys.argv[1:]
reader = native("dativo_rust_csv").Reader(json.dumps({"files": [source]}))
plan, schema = reader.plan("{}", None)
sink = native("dativo_rust_parquet").Sink(target, schema, json.dumps({"compression": "snappy"}), "{}")
for split in json.loads(plan)["splits"]:
    sink.write_stream(reader.read(json.dumps(split)))
sink.finish()
"""
"""One thread, the native modules alone: nothing of Dativo's Python is imported."""


def compiler() -> str:
    """The compiler's version; counts of another one differ by a few percent."""
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


def count() -> dict[str, int]:
    """Instructions in the installed reader and in the installed writer while ROWS rows are copied."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "x.csv", Path(folder) / "callgrind.out"
        source.write_text("id,name,kind,amount,active,at\n" + "".join(map(_row, range(ROWS))), encoding="utf-8")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        copy = [sys.executable, "-c", COPY, str(source), f"{folder}/x.parquet"]
        subprocess.run([*valgrind, *copy], check=True, capture_output=True)
        of = _by_library(out.read_text(encoding="utf-8"))
    return {
        name: next(count for library, count in of.items() if f"/dativo_rust_{crate}/" in library)
        for name, crate in (("read", "csv"), ("write", "parquet"))
    }


def _by_library(profile: str) -> dict[str, int]:
    """Instructions of each library's own functions, from callgrind's format."""
    names: dict[str, str] = {}
    found: dict[str, int] = {}
    library, of_a_call = "", False
    for line in profile.splitlines():
        if named := re.match(r"ob=(\(\d+\))(?: (.*))?", line):
            library = names.setdefault(named[1], named[2] or "")
        elif named := re.match(r"cob=(\(\d+\)) (.*)", line):
            names[named[1]] = named[2]
        elif line.startswith("calls="):
            of_a_call = True
        elif cost := re.match(r"[+\-*\d]\S* (\d+)$", line):
            if not of_a_call:
                found[library] = found.get(library, 0) + int(cost[1])
            of_a_call = False
    return found


def _row(row: int) -> str:
    mixed = row * 0x9E3779B97F4A7C15 >> 20 & 0xFFFFFF
    amount = f"{mixed % 100_000 / 100:.2f}" if row % 33 else ""
    at = f"2024-{mixed % 12 + 1:02}-{mixed % 28 + 1:02} {mixed % 24:02}:{mixed % 60:02}:00"
    kind = '"b, quoted"' if mixed % 3 else "a"
    return f"{row},name {mixed:x},{kind},{amount},{'true' if mixed % 2 else 'false'},{at}\n"


def main() -> None:
    """Print the counts beside what is recorded, or record them."""
    counts = count()
    if sys.argv[1:] == ["--record"]:
        RECORDED.write_text(json.dumps({"compiler": compiler(), "rows": ROWS, "counts": counts}, indent=1) + "\n")
    recorded = json.loads(RECORDED.read_text())
    for name, found in counts.items():
        print(f"{name}: {found:,} instructions, {found / recorded['counts'][name]:.3f} of what is recorded")


if __name__ == "__main__":
    main()
