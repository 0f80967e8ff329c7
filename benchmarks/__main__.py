"""`python -m benchmarks`: every table, each line against the fastest peer in the same run."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import truediv
from pathlib import Path

from . import bars, data, peers, plot, report
from .dagster_many import ManyJobs
from .data import Dataset
from .jobs import NATIVE, Project, executable
from .measure import Command, Measured, median, paired, ratio
from .merge import SPREADS, MergeTask

DOCS = Path(__file__).resolve().parents[1] / "docs"
DATIVO = "Dativo"
_PYTHON = "Dativo, Python plugins"
_MERGE_PEER = "DuckDB MERGE INTO, its own file"
_CODECS = ("snappy", "zstd")


@dataclass
class Bench:
    """What every section needs, and what it leaves beside its tables. drawn: the tools of the plot. bars: those judged."""

    project: Project
    folder: Path
    rows: int
    rounds: int
    drawn: list[plot.Tool] = field(default_factory=list)
    bars: list[bars.Bar] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the seed (default 10,000,000)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each table (default 5)")
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows, 3 rounds, docs/benchmarks.md left alone")
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="this table alone, docs/benchmarks.md left alone"
    )
    options = parser.parse_args(argv)
    rows, rounds = (1_000_000, 3) if options.quick else (options.rows, options.rounds)

    machine = report.machine(["dativo-assets", *peers.packages()])
    print(machine, end="\n\n", flush=True)
    parts = []
    with tempfile.TemporaryDirectory(prefix="dativo-bench-") as folder:
        bench = Bench(Project(Path(folder) / "project"), Path(folder), rows, rounds)
        for name in options.only or SECTIONS:
            for part in SECTIONS[name](bench):
                print(part, flush=True)
                parts.append(part)
        if bench.bars:
            parts.insert(0, bars.table(bench.bars))
            print(parts[0])
        if not (options.quick or options.only):
            (DOCS / "benchmarks.md").write_text(_document(machine, rows, rounds, parts))
            (DOCS / "images" / "benchmarks.svg").write_text(plot.draw(bench.drawn))
            print("written: docs/benchmarks.md")
    return 0


def startup(bench: Bench) -> list[str]:
    """What a person waits for before anything happens."""
    tiny = bench.folder / "one.csv"
    tiny.write_text("id,name\n1,one\n")
    bench.project.job("one", Dataset("one", 1, (tiny,), str(tiny), {}), native=NATIVE)
    base = "python -c pass"
    runs = paired(
        [
            Command(base, [sys.executable, "-c", "pass"]),
            Command("dativo --help", [str(executable()), "--help"]),
            bench.project.run("dativo run, one row", "one"),
        ],
        max(bench.rounds, 5),
    )
    rows = [
        [label, _wall(found), f"{median(found, 'wall_s') - median(runs[base], 'wall_s'):+.2f} s", limit, _peak(found)]
        for (label, found), limit in zip(runs.items(), ("", "+0.20 s", "+0.50 s"), strict=True)
    ]
    head = ["command", "wall", f"more than `{base}`", "at most", "peak memory"]
    return ["## Start\n", report.table(head, rows) + "\n"]


def dagster(bench: Bench) -> list[str]:
    """A project of many jobs in Dagster, against as many assets by hand."""
    many = ManyJobs(bench.folder, 1_000 if bench.rows <= 1_000_000 else 10_000, bench.rounds)
    parts = [many.location(), many.runs(), many.ticks(), many.overhead()]
    bench.bars.extend(many.bars)
    return [f"## {many.many:,} jobs in Dagster\n", *parts]


def copy(bench: Bench) -> list[str]:
    """CSV to Parquet beside the fast ones."""
    out = [
        "## CSV to Parquet\n",
        "Whole processes, and the size of what they wrote. Python: Dativo with its `csv` and `parquet`.\n",
    ]
    seed = data.seed(bench.rows)
    leads = []
    for source in (seed, data.lineitem(bench.rows / 10_000_000)):
        for codec in _CODECS:
            drawn = source is seed and codec == "zstd"
            runs = _copies(bench, source, codec, python=drawn)
            if drawn:
                bench.drawn = [
                    plot.Tool(label, median(found, "wall_s"), median(found, "peak_bytes"))
                    for label, found in runs.items()
                ]
            out.append(f"### {_title(source)}, {codec}\n")
            out.append(_against_peers(runs, size=True))
            work = f"dativo run, {_name(source)} {codec}"
            leads.append(_lead(runs))
            bench.bars.append(bars.at_least(work, 2.2, leads[-1]))
            bench.bars.append(bars.at_most(f"{work}: file against the smallest peer's", 1.0, _size_ratio(runs)))
            bench.bars.append(bars.at_most_bytes(f"{work}: peak memory", 150e6, median(runs[DATIVO], "peak_bytes")))
    bench.bars.append(bars.average("dativo run, the four on average", 2.5, leads))
    return out


def _copies(
    bench: Bench, source: Dataset, codec: str, tools: Mapping[str, str] = peers.FAST, *, python: bool = False
) -> dict[str, list[Measured]]:
    """python: Dativo's Python plugins too, beside its native ones."""
    bench.project.job("native", source, native=NATIVE, codec=codec)
    commands = [bench.project.run(DATIVO, "native")]
    if NATIVE and python:
        bench.project.job("plain", source, native=False, codec=codec)
        commands.append(bench.project.run(_PYTHON, "plain"))
    commands.extend(peers.copy(label, tool, source, bench.folder, codec) for label, tool in tools.items())
    return paired(commands, bench.rounds)


def read(bench: Bench) -> list[str]:
    """CSV to Arrow."""
    out = ["## Read only: CSV to Arrow in Python\n", "The reader by itself, imports left out.\n"]
    for source in (data.seed(bench.rows), data.lineitem(bench.rows / 10_000_000)):
        tools = {DATIVO: "dativo", **peers.FAST}
        runs = paired([peers.read(label, tool, source) for label, tool in tools.items()], bench.rounds)
        out.extend([f"### {_title(source)}\n", _against_peers(runs)])
        bench.bars.append(bars.at_least(f"read only, {_name(source)}", 2.5, _lead(runs)))
    return out


def write(bench: Bench) -> list[str]:
    """Arrow to Parquet."""
    out = ["## Write only: Arrow in Python to Parquet\n", "The writer by itself, imports and loading left out.\n"]
    for source in (data.seed(bench.rows), data.lineitem(bench.rows / 10_000_000)):
        arrow = bench.folder / f"{source.name}.arrow"
        _ipc(bench, source, arrow)
        for codec in _CODECS:
            tools = {DATIVO: "dativo", **peers.FAST}
            commands = [peers.write(label, tool, arrow, bench.folder, codec) for label, tool in tools.items()]
            runs = paired(commands, bench.rounds)
            out.extend([f"### {_title(source)}, {codec}\n", _against_peers(runs, size=True)])
            work = f"write only, {_name(source)} {codec}"
            bench.bars.append(bars.at_least(work, 1.3 if codec == "snappy" else 2.0, _lead(runs)))
            bench.bars.append(bars.at_least(f"{work}, against pyarrow", 3.5, ratio(runs["pyarrow"], runs[DATIVO])))
            bench.bars.append(bars.at_most(f"{work}: file against the smallest peer's", 1.0, _size_ratio(runs)))
        arrow.unlink()
    return out


def _ipc(bench: Bench, source: Dataset, arrow: Path) -> None:
    """The rows as Dativo's reader gives them, for all tools alike."""
    bench.project.job("ipc", source, native=NATIVE)
    subprocess.run([str(executable()), "run", "ipc"], cwd=bench.project.root, check=True, capture_output=True)
    code = (
        "import sys, pyarrow as pa, pyarrow.dataset as ds\n"
        "rows = ds.dataset(sys.argv[1], format='parquet')\n"
        "with pa.ipc.new_file(sys.argv[2], rows.schema) as out:\n"
        "    for batch in rows.to_batches(batch_size=16384): out.write_batch(batch)\n"
    )
    table = (bench.project.root / "warehouse" / "ipc").resolve()
    subprocess.run([sys.executable, "-c", code, str(table), str(arrow)], check=True)


def shapes(bench: Bench) -> list[str]:
    """Other inputs than one large file of a few columns."""
    tenth = bench.rows // 10
    out = ["## Other shapes, zstd\n"]
    small = data.small_files(max(100, tenth // 100), 100)
    for source in (
        data.narrow(2 * bench.rows),
        data.wide(max(1_000, bench.rows // 400)),
        data.quoted(bench.rows // 4),
        data.gzipped(bench.rows // 4),
        small,
    ):
        runs = _copies(bench, source, "zstd")
        out.extend([f"### {_title(source)}\n", _against_peers(runs)])
        if source is small:
            bench.bars.append(bars.at_least(f"dativo run, {len(small.files):,} files of 100 rows", 2.0, _lead(runs)))
    return out


def memory(bench: Bench) -> list[str]:
    """Peak memory must not grow with the input."""
    lines = []
    peaks = []
    sizes = (bench.rows // 10, bench.rows, 5 * bench.rows)
    for rows in sizes:
        source = data.seed(rows)
        bench.project.job(f"rows_{rows}", source, native=NATIVE)
        found = paired([bench.project.run("run", f"rows_{rows}")], bench.rounds)["run"]
        peaks.append(median(found, "peak_bytes"))
        lines.append([f"{rows:,}", report.megabytes(source.bytes), _wall(found), _peak(found)])
        if rows == sizes[-1]:
            source.remove()
    spread = f"{sizes[-1]:,} rows"
    bench.bars.append(bars.at_most_bytes(f"dativo run, {spread}: peak memory", 150e6, peaks[-1]))
    growth = peaks[-1] - peaks[0]
    bench.bars.append(bars.at_most_bytes(f"dativo run, {spread}: more memory than at {sizes[0]:,}", 20e6, growth))
    return [
        "## Memory of `dativo run`, whole process\n",
        report.table(["rows", "input", "wall", "peak memory"], lines) + "\n",
    ]


def contract(bench: Bench) -> list[str]:
    """What checking costs."""
    source = data.seed(bench.rows)
    lines = []
    for native in (True, False) if NATIVE else (False,):
        plugins = "rust_csv and rust_parquet" if native else "csv and parquet (Python)"
        bench.project.job("without", source, native=native)
        bench.project.job("with", source, native=native, contract=True)
        runs = paired([bench.project.run("without", "without"), bench.project.run("with", "with")], bench.rounds)
        more = ratio(runs["with"], runs["without"])
        if native:
            bench.bars.append(bars.at_most("dativo run with a contract's rules, against none", 1.15, more))
        lines.append([plugins, _wall(runs["without"]), _wall(runs["with"]), report.times(more), _peak(runs["with"])])
    head = ["plugins", "no contract", "8 types, 7 required, 5 rules", "ratio", "peak memory"]
    return ["## Contract\n", report.table(head, lines) + "\n"]


def boundary(bench: Bench) -> list[str]:
    """What crossing costs a batch."""
    command = [sys.executable, "-m", "benchmarks.crossing", str(bench.folder), str(bench.rounds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    costs = {way: statistics.median(times) for way, times in found.items()}
    bench.bars += [bars.at_most_us(f"a batch {way}", 20, cost) for way, cost in costs.items()]
    lines = [[way, f"{cost:.1f} µs"] for way, cost in costs.items()]
    return [
        "## A batch across the boundary of a plugin, 8 columns\n",
        report.table(["way", "processor time"], lines) + "\n",
    ]


def isolation(bench: Bench) -> list[str]:
    """What a process of its own costs a reader."""
    out = ["## The reader in a process of its own\n"]
    for source in (data.seed(bench.rows), data.lineitem(bench.rows / 10_000_000)):
        modes = ("none", "process")
        for mode in modes:
            bench.project.job(mode, source, native=NATIVE, isolation=mode)
        runs = paired([bench.project.run(f"isolation: {mode}", mode) for mode in modes], bench.rounds)
        apart, within = (runs[f"isolation: {mode}"] for mode in reversed(modes))
        lines = [
            [label, _wall(found), f"{source.rows / median(found, 'wall_s'):,.0f}", _cpu(found), _peak(found)]
            for label, found in runs.items()
        ]
        head = ["reader", "wall", "rows a second", "CPU of both", "peak memory of the larger"]
        share = 1 / ratio(apart, within)
        out.append(f"### {_title(source)}\n\n{report.table(head, lines)}\n")
        bench.bars.append(bars.at_least(f"isolation: process, {_name(source)}, rows/s of in-process", 0.8, share))
    return out


def merge(bench: Bench) -> list[str]:
    """Changed rows into a large table."""
    changed = bench.rows // 100
    out = [
        f"## Merge: {changed:,} changed rows into {bench.rows:,}\n",
        "From the first look at the table to the end of the commit, imports left out. At most twice DuckDB's time.\n",
    ]
    for spread in SPREADS:
        task = MergeTask(bench.project, bench.folder, bench.rows, changed, spread)
        runs = paired(task.commands(DATIVO, _MERGE_PEER), bench.rounds)
        out.extend([f"### {spread.capitalize()}\n", _against_peers(runs, size=True)])
        bench.bars.append(bars.at_most(f"merge, {spread}, against DuckDB", 2.0, ratio(runs[DATIVO], runs[_MERGE_PEER])))
        bench.bars.append(
            bars.at_most_bytes(f"merge, {spread}: peak memory", 150e6, median(runs[DATIVO], "peak_bytes"))
        )
        task.remove()
    return out


def commits(bench: Bench) -> list[str]:
    """What a table's past costs its next commit."""
    command = [sys.executable, "-m", "benchmarks.commits", str(bench.folder), str(10 * bench.rounds)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, list[float]] = json.loads(told)
    first = next(iter(found.values()))
    lines = []
    for size, times in found.items():
        growth = statistics.median(map(truediv, times, first))
        lines.append([f"{int(size):,}", report.milliseconds(statistics.median(times)), report.times(growth)])
    bench.bars.append(bars.at_most("the 10,000th commit, against the first", 1.2, growth))
    return [
        "## One more commit\n",
        "From opening the writer to the end of its commit of three rows, as the table's n-th. At most 50 ms and x 1.20.\n",
        report.table(["n", "wall", "of the first's"], lines) + "\n",
    ]


def rows(bench: Bench) -> list[str]:
    """What a plugin yields as dicts, or answers as JSON."""
    source = data.seed(bench.rows // 10)
    details = [str(source.files[0]), json.dumps(source.types), str(bench.folder), str(bench.rounds)]
    command = [sys.executable, "-m", "benchmarks.rows", *details]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    kinds = {
        "Dicts": (2.0, "to record batches of the contract's types"),
        "JSON symbols": (3.0, "from a library with the older symbols, which answers them as JSON text"),
    }
    out = [f"## Rows of a plugin\n\n{source.rows:,} rows of the seed's 8 columns, in batches of 10,000.\n"]
    for (kind, (limit, what)), found in zip(kinds.items(), told, strict=True):
        multiples = {label: statistics.median(map(truediv, times, found[DATIVO])) for label, times in found.items()}
        (peer,) = (label for label in found if label != DATIVO)
        bench.bars.append(bars.at_least(f"{kind.lower()} to Arrow, against {peer}", limit, multiples[peer]))
        lines = [
            [label, f"{source.rows / statistics.median(times):,.0f}", report.times(multiples[label])]
            for label, times in found.items()
        ]
        out.append(f"### {kind}, {what}\n\n{report.table(['way', 'rows a second', 'of time'], lines)}\n")
    return out


def scale(bench: Bench) -> list[str]:
    """Slower ways to do the same, on a tenth of the rows."""
    runs = _copies(bench, data.seed(bench.rows // 10), "zstd", peers.FOR_SCALE)
    return [f"## For scale: {bench.rows // 10:,} rows of the seed, zstd\n", _against_peers(runs, size=True)]


SECTIONS: dict[str, Callable[[Bench], list[str]]] = {
    "startup": startup,
    "copy": copy,
    "read": read,
    "write": write,
    "shapes": shapes,
    "memory": memory,
    "contract": contract,
    "boundary": boundary,
    "isolation": isolation,
    "merge": merge,
    "commits": commits,
    "rows": rows,
    "scale": scale,
    "dagster": dagster,
}


def _title(source: Dataset) -> str:
    files = f", {len(source.files):,} files" if len(source.files) > 1 else ""
    return f"{_name(source)}: {source.rows:,} rows x {len(source.types):,} columns{files}, {report.megabytes(source.bytes)}"


def _against_peers(runs: Mapping[str, Sequence[Measured]], *, size: bool = False) -> str:
    """A line a tool, its time as a multiple of Dativo's in the same round; the last column says how many times as fast as
    the fastest peer Dativo was."""
    base = runs[DATIVO]
    lines = [
        [
            label,
            _wall(found),
            report.times(ratio(found, base)),
            _cpu(found),
            _peak(found),
            *([report.megabytes(median(found, "size_bytes"))] if size else []),
        ]
        for label, found in runs.items()
    ]
    head = ["tool", "wall", "of Dativo's", "CPU", "peak memory", *(["file"] if size else [])]
    return (
        report.table(head, lines)
        + f"\n\nThe fastest other tool of each round took {report.times(_lead(runs))} as long.\n"
    )


def _others(runs: Mapping[str, Sequence[Measured]]) -> list[Sequence[Measured]]:
    return [found for label, found in runs.items() if label not in (DATIVO, _PYTHON)]


def _lead(runs: Mapping[str, Sequence[Measured]]) -> float:
    """How many times as long as Dativo the fastest other tool of each round took."""
    base, others = runs[DATIVO], _others(runs)
    return statistics.median(
        min(found[number].wall_s for found in others) / base[number].wall_s for number in range(len(base))
    )


def _size_ratio(runs: Mapping[str, Sequence[Measured]]) -> float:
    """Dativo's file as a multiple of the smallest other one."""
    return median(runs[DATIVO], "size_bytes") / min(median(found, "size_bytes") for found in _others(runs))


def _name(source: Dataset) -> str:
    return source.name.partition("-")[0]


def _wall(found: Sequence[Measured]) -> str:
    return report.seconds(median(found, "wall_s"))


def _cpu(found: Sequence[Measured]) -> str:
    return report.seconds(median(found, "cpu_s"))


def _peak(found: Sequence[Measured]) -> str:
    return report.megabytes(median(found, "peak_bytes"))


def _document(machine: str, rows: int, rounds: int, parts: Sequence[str]) -> str:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    intro = (
        f"# Benchmarks\n\nMade by `make bench` on {today}: {rows:,} rows of the seed, {rounds} counted rounds after one that "
        "warms the caches. In a round every\ncommand runs once, in turn, so a ratio compares runs that shared the machine's "
        "mood. Figures are medians; memory is the whole\nprocess's peak, as the kernel tells it. Peers are told the column "
        "types; Dativo infers them, but in the contract's table.\nzstd is at level 1 everywhere.\n\n"
        f"{machine}\n\n![Time and peak memory](images/benchmarks.svg)\n"
    )
    return intro + "\n" + "\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
