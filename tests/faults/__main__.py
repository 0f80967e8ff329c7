"""python -m tests.faults [--soak] [--json] [TARGET...]: faults over every target, and a table of what became of the rows."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import suppress
from typing import Any

from .bench import Bench, Tally
from .faults import FAULTS, Engine
from .mutants import MUTANTS
from .report import good, table
from .targets import TARGETS, Target

SHORT = {
    "killed at each step": 36,
    "killed at any instant": 16,
    "disk full": 6,
    "clock jumps": 4,
    "two at once": 12,
    "interleaved": 12,
    "zombie": 8,
    "connection cut": 15,
    "server restarts": 3,
    "store fails": 15,
}
"""Trials a target, shared out to its modes. Of each step every so many are taken."""

SOAK = {
    "killed at each step": 500,
    "killed at any instant": 500,
    "disk full": 200,
    "clock jumps": 100,
    "two at once": 500,
    "interleaved": 250,
    "zombie": 200,
    "connection cut": 150,
    "server restarts": 100,
    "store fails": 150,
}
_MUTANT_TRIALS = 100
_MUTANT_BATCHES = 3


def trials(target: Target, faults: list[str], soak: bool) -> list[dict[str, Any]]:
    """One row of the table a fault."""
    rows = []
    with target.serving() as connections:
        _warm(target, connections)
        engine = Engine(target, connections)
        for fault in faults:
            tally, start = Tally(), time.monotonic()
            many = SOAK[fault] if soak else SHORT[fault]
            for mode in target.modes:
                engine.inflict(fault, mode, tally, math.ceil(many / len(target.modes)))
            if not tally.trials:
                continue
            row = {"target": target.name, "fault": fault, **vars(tally), "seconds": round(time.monotonic() - start, 1)}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    return rows


def found_out(name: str) -> dict[str, Any]:
    """How many trials it took to find a mutant out, and by what; trials is 0 where it was not."""
    mutant, tally = MUTANTS[name], Tally()
    target = TARGETS[mutant.target]()
    with target.serving() as connections, suppress(AssertionError):
        _warm(target, connections)
        if mutant.store:
            assert target.store is not None
            target.store.arm(mutant.store)
        Engine(target, connections, mutant.change, _MUTANT_BATCHES).inflict(
            mutant.fault, mutant.mode, tally, _MUTANT_TRIALS
        )
    seen = {key: value for key, value in vars(tally).items() if key != "trials" and value}
    found = {"mutant": name, "fault": mutant.fault, "killed": not tally.good, "trials": tally.trials, "seen": seen}
    print(json.dumps(found), file=sys.stderr)
    return found


def _warm(target: Target, connections: dict[str, Any]) -> None:
    bench = Bench(target, target.modes[0], Tally(), connections)
    bench.arrive()
    bench.warm()
    bench.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"or a mutant; {', '.join(TARGETS)}")
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--mutants", action="store_true", help="break the protocol on purpose instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.mutants:
        mutants = [found_out(name) for name in options.targets or MUTANTS]
        print(json.dumps(mutants, indent=1))
        return 0 if all(mutant["killed"] for mutant in mutants) else 1
    rows = []
    for name in options.targets or list(TARGETS):
        rows += trials(TARGETS[name](), options.fault or list(FAULTS), options.soak)
    print(json.dumps(rows) if options.json else table(rows))
    return 0 if all(map(good, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
