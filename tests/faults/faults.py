"""The faults. Each takes an `Engine` and does trials until it has had enough of them."""

from __future__ import annotations

import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from .bench import Bench, Tally, at
from .targets import Target

SEED = 20130101


@dataclass
class Engine:
    """Trials on one target. change: a mutant, applied in every run. batches: how many trials a table takes."""

    target: Target
    connections: dict[str, Any]
    change: Callable[[], None] | None = None
    batches: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    _usual: dict[str, Usual] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batches = self.batches or self.target.batches

    def inflict(self, fault: str, mode: str, tally: Tally, trials: int) -> None:
        """Do trials of one fault, the same ones whatever was done before."""
        FAULTS[fault](replace(self, chance=random.Random(SEED)), mode, tally, trials)

    def usual(self, mode: str, tally: Tally) -> Usual:
        """What a run does that nothing happens to."""
        if mode not in self._usual:
            bench = Bench(self.target, mode, tally, self.connections, self.change)
            bench.arrive()
            first = bench.end(bench.start(bench.new_run(), at(0, "nothing")))
            bench.arrive()
            later = bench.end(bench.start(bench.new_run(), at(0, "nothing")))
            bench.close()
            self._usual[mode] = Usual(first["steps"], later["steps"], later["seconds"])
        return self._usual[mode]

    @contextmanager
    def bench(self, mode: str, tally: Tally, first: bool) -> Iterator[Bench]:
        bench = Bench(self.target, mode, tally, self.connections, self.change)
        try:
            if not first:
                bench.arrive()
                bench.finish(bench.new_run())
            yield bench
            if tally.good:
                bench.inspect()
        finally:
            bench.close()

    def benches(self, mode: str, tally: Tally, trials: int) -> Iterator[Bench]:
        """One bench a trial, a fresh one now and then; every other one begins without a table."""
        done, batches = 0, self.batches
        while done < trials and tally.good:
            with self.bench(mode, tally, first=done // batches % 2 == 0) as bench:
                for _ in range(min(batches, trials - done)):
                    bench.arrive()
                    yield bench
                    tally.trials += 1
                    done += 1
                    if not tally.good:
                        return


@dataclass(frozen=True)
class Usual:
    """first_steps: of a run on an empty target; steps: on a table, and its seconds."""

    first_steps: int
    steps: int
    seconds: float


def _retry(engine: Engine, bench: Bench, run_id: str) -> None:
    """By the same run or another one."""
    bench.finish(run_id if engine.chance.random() < 0.5 else bench.new_run())


def kill_at_each_step(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """SIGKILL before each step of a run, on an empty target and on a table; evenly spread where there are more than trials.
    The last steps, which commit, come first.
    """
    usual = engine.usual(mode, tally)
    for first in (False, True):
        steps = usual.first_steps if first else usual.steps
        share = trials // 4 if first else trials - trials // 4
        stride = max(1.0, steps / share)
        chosen = [1 + int(stride * n + engine.chance.uniform(0, stride - 1)) for n in range(int(steps / stride))]
        todo = (chosen * math.ceil(share / len(chosen)))[:share][::-1]
        batches = 1 if first else engine.batches
        while todo and tally.good:
            with engine.bench(mode, tally, first) as bench:
                for step in todo[:batches]:
                    if not tally.good:
                        break
                    bench.arrive()
                    run_id = bench.new_run()
                    bench.end(bench.start(run_id, at(step, "kill")))
                    _retry(engine, bench, run_id)
                    tally.trials += 1
            todo = todo[batches:]


def kill_at_random(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """SIGKILL at any instant of a run."""
    longest_s = 1.2 * engine.usual(mode, tally).seconds
    for bench in engine.benches(mode, tally, trials):
        run_id = bench.new_run()
        child = bench.start(run_id)
        time.sleep(engine.chance.uniform(0, longest_s))
        os.kill(child.pid, signal.SIGKILL)
        bench.end(child)
        _retry(engine, bench, run_id)


def full_disk(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """No file grows beyond a random size, or a step is refused for want of space."""
    for number, bench in enumerate(engine.benches(mode, tally, trials)):
        size = engine.chance.randrange(1, 40_000)
        step = engine.chance.randrange(1, 60)

        def limit(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        run_id = bench.new_run()
        result = bench.end(bench.start(run_id, limit if number % 2 else at(step, "full")))
        _answered(bench, run_id, result, survives=False)
        _retry(engine, bench, run_id)


def clock_jumps(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """Each run believes in another time, up to thirty years off, and within a run it jumps."""
    for bench in engine.benches(mode, tally, trials):
        run_id = bench.new_run()
        seed = engine.chance.random()
        bench.end(bench.start(run_id, lambda seed=seed: _jumping(random.Random(seed))))  # type: ignore[misc]
        _retry(engine, bench, run_id)


def _jumping(chance: random.Random) -> None:
    from datetime import datetime, tzinfo

    from dativo_assets.state import commit

    real = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real() + chance.uniform(-1e9, 1e9)
    commit.datetime = Jumping  # type: ignore[misc]


def race(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """Two processes run the job at once: one commits what there is, and the other says that it lost, or found nothing."""
    for bench in engine.benches(mode, tally, trials):
        runs = [bench.new_run(), bench.new_run()]
        children = [bench.start(run_id) for run_id in runs]
        results = [bench.end(child) for child in children]
        _judge(bench, runs, results)
        if bench.landed < bench.batches:
            tally.unclean.append(f"nobody won: {results}")
        bench.finish(bench.new_run())


def zombie(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """SIGSTOP before a step, a newer run with newer rows, SIGCONT."""
    step = 1
    for bench in engine.benches(mode, tally, trials):
        old = bench.new_run()
        sleeper = bench.start(old, at(step, "stop"))
        step += engine.chance.randrange(1, 4)
        results = []
        runs = [old]
        if sleeper.stopped():
            bench.arrive()
            runs.append(bench.new_run())
            results.append(bench.end(bench.start(runs[1], _impatient)))
            if results[0]["status"] != "failed":  # else the stopped process holds a lock that readers respect too
                bench.look()
            sleeper.wake()
        else:
            step = 1
        results.insert(0, bench.end(sleeper))
        _judge(bench, runs, results)
        bench.end(bench.start(old, look_first=True))
        bench.finish(bench.new_run())


def interleave(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """Two runs of the same rows: each stops before a step of its own, then one goes on to its end, and then the other.

    The first one's steps are taken in turn, so that with enough trials it stops before each.
    """
    steps = engine.usual(mode, tally).steps
    for number, bench in enumerate(engine.benches(mode, tally, trials)):
        runs = [bench.new_run(), bench.new_run()]
        places = (1 + int(number * max(1.0, steps / trials)) % steps, engine.chance.randint(1, steps))
        children = []
        asleep = []
        for run_id, place in zip(runs, places, strict=True):
            children.append(bench.start(run_id, _impatient_at(place)))
            asleep.append(children[-1].stopped())
        results: list[Any] = [None, None]
        for which in engine.chance.sample((0, 1), 2):
            if asleep[which]:
                children[which].wake()
            results[which] = bench.end(children[which])
        _judge(bench, runs, results)  # nobody has won, where each met a lock that the other held asleep
        bench.finish(bench.new_run())


def cut_line(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """The connection ends at the commit, before it is delivered or before its answer is, or after so many bytes; or it is
    slow. One cut at a commit is survived by the run itself.
    """
    line = engine.target.line
    if line is None:
        return
    engine = replace(engine, connections=engine.target.far)
    for number, bench in enumerate(engine.benches(mode, tally, trials)):
        way = ("before", "after", "bytes", "bytes", "slow")[number % 5]
        run_id = bench.new_run()
        line.arm(way, engine.chance.randrange(20_000))
        result = bench.end(bench.start(run_id))
        if way in ("before", "after") and line.way != "pass":
            tally.unclean.append("no commit came by the line")
        line.arm("pass")
        _answered(bench, run_id, result, survives=way != "bytes")
        _retry(engine, bench, run_id)


def failing_store(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """The store refuses a request by 500 or by 503 with Retry-After, does a commit and says 504, or is slow: a run survives
    each.
    """
    store = engine.target.store
    if store is None:
        return
    for number, bench in enumerate(engine.benches(mode, tally, trials)):
        run_id = bench.new_run()
        store.arm(("500", "504", "503", "504", "slow")[number % 5], engine.chance.randrange(12))
        result = bench.end(bench.start(run_id))
        store.arm("pass")
        _answered(bench, run_id, result, survives=True)
        _retry(engine, bench, run_id)


def restart_server(engine: Engine, mode: str, tally: Tally, trials: int) -> None:
    """The server is killed and started again while a run stands before a step."""
    restart = engine.target.restart
    if restart is None:
        return
    for bench in engine.benches(mode, tally, trials):
        run_id = bench.new_run()
        child = bench.start(run_id, at(engine.chance.randrange(1, 45), "stop"))
        asleep = child.stopped()
        restart()
        if asleep:
            child.wake()
        _answered(bench, run_id, bench.end(child), survives=False)
        _retry(engine, bench, run_id)


def _answered(bench: Bench, run_id: str, result: Any, *, survives: bool) -> None:
    """What a run says is true. survives: and it must have succeeded."""
    if result is None:
        bench.tally.unclean.append("a fault ended the process")
    elif result["status"] == "succeeded":
        bench.believe(run_id, True)
    elif survives:
        bench.tally.unclean.append(f"one fault was too much: {result}")


def _impatient_at(step: int) -> Callable[[], Callable[[], int]]:
    def arm() -> Callable[[], int]:
        _impatient()
        return at(step, "stop")()

    return arm


def _impatient() -> None:
    """Locks that a stopped process holds are not waited for long."""
    from dativo_assets.writers import duckdb, postgres, sqlite

    for module in (duckdb, sqlite):
        module._LOCK_S = 0.2
    postgres._LOCK_S = 0.2


def _judge(bench: Bench, runs: list[str], results: list[Any]) -> None:
    """Whoever was told that it won is in the target, and who was told that it lost is not: `bench` looks next."""
    for run_id, result in zip(runs, results, strict=True):
        if result is None:
            bench.tally.unclean.append(f"{run_id} died")
        elif result["status"] == "failed" and result["code"] not in bench.target.fair:
            bench.tally.unclean.append(f"{run_id} failed: {result}")
        elif result["status"] in ("failed", "succeeded"):
            bench.believe(run_id, result["status"] == "succeeded")


FAULTS: dict[str, Callable[..., None]] = {
    "killed at each step": kill_at_each_step,
    "killed at any instant": kill_at_random,
    "disk full": full_disk,
    "clock jumps": clock_jumps,
    "two at once": race,
    "interleaved": interleave,
    "zombie": zombie,
    "connection cut": cut_line,
    "server restarts": restart_server,
    "store fails": failing_store,
}
