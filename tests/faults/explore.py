"""An explicit-state model checker for real code.

A process is ordinary code in a greenlet. Whatever it does with something shared goes through `Schedule.step`, which gives
control back, so that every order of the steps of all processes can be had, and at each step every outcome. A process
depends on nothing but what its steps returned, so a state is the shared state and what each process has seen; one that
was reached before is not explored again. Schedules are replayed from the beginning, as real code can't be copied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

Choice = tuple[str, str]
"""(process, outcome of its next step)."""
CRASH = "crash"


class Violation(AssertionError):
    """An invariant is broken; the message has the schedule."""


@dataclass
class Process:
    """One process and where it stands. seen: what its steps returned so far. at: its next step. offers: its outcomes."""

    name: str
    body: Callable[[], Hashable]
    seen: list[Hashable] = field(default_factory=list)
    at: str = ""
    offers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    result: Hashable = None
    alive: bool = True
    ended: bool = False
    run: greenlet | None = None


class World(ABC):
    """What is explored; made anew for each schedule. budget: how often an outcome may still be had; others always may."""

    def __init__(self, **budget: int) -> None:
        self.budget = budget

    @abstractmethod
    def processes(self, schedule: Schedule) -> Mapping[str, Callable[[], Hashable]]:
        """What runs."""

    def events(self) -> Mapping[str, Callable[[], Any]]:
        """What may happen by itself now: {what: how}."""
        return {}

    def seen(self, value: Any) -> Hashable:
        """What a process can know of what a step returned."""
        return repr(value)

    @abstractmethod
    def state(self) -> Hashable:
        """What is shared."""

    @abstractmethod
    def check(self, processes: Mapping[str, Process]) -> None:
        """Assert what holds in every state."""


@dataclass(frozen=True)
class Explored:
    """states: distinct ones. schedules: runs from the beginning to an end."""

    states: int
    transitions: int
    schedules: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.transitions:,} transitions, {self.schedules:,} schedules"


class Schedule:
    """One run of a world, driven choice by choice."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[Choice] = []
        self.story: list[str] = []
        self._hub = getcurrent()
        self._closed = False
        bodies = world.processes(self)
        self.all = {name: Process(name, body) for name, body in bodies.items()}
        self._of: dict[greenlet, Process] = {}
        for process in self.all.values():
            process.run = greenlet(self._life(process))
            self._of[process.run] = process
            process.run.switch()

    def _life(self, process: Process) -> Callable[[], None]:
        def live() -> None:
            try:
                process.result = process.body()
                process.alive = False
            except GreenletExit:
                pass
            process.ended = True

        return live

    def current(self) -> Process:
        """The process whose code calls."""
        return self._of[getcurrent()]

    def step(self, what: str, offers: Mapping[str, Callable[[], Any]]) -> Any:
        """Give control back; once `what` is chosen, do the chosen one of `offers`: {outcome: what happens}."""
        process = self.current()
        if self._closed:
            raise GreenletExit
        process.at, process.offers = what, offers
        outcome = self._hub.switch()
        try:
            value = offers[outcome]()
        except Exception as error:
            process.seen.append((outcome, type(error).__name__, str(error)))
            raise
        process.seen.append((outcome, self.world.seen(value)))
        return value

    def choices(self) -> list[Choice]:
        """What can happen next."""
        steps = [
            (name, outcome)
            for name, process in self.all.items()
            if not process.ended
            for outcome in (*process.offers, CRASH)
            if self.world.budget.get(outcome, 1)
        ]
        return steps + [("", event) for event in self.world.events()]

    def make(self, choice: Choice) -> None:
        """Let one thing happen."""
        name, outcome = choice
        self.made.append(choice)
        self.story.append(f"{name}: {self.all[name].at}: {outcome}" if name in self.all else outcome)
        if name not in self.all:
            self.world.events()[outcome]()
            return
        process = self.all[name]
        assert process.run is not None
        if outcome in self.world.budget:
            self.world.budget[outcome] -= 1
        if outcome == CRASH:
            process.alive, process.ended = False, True
        else:
            process.run.switch(outcome)

    def key(self) -> Hashable:
        return (
            self.world.state(),
            tuple(self.world.budget.items()),
            tuple((p.alive, p.result) if p.ended else tuple(p.seen) for p in self.all.values()),
        )

    def close(self) -> None:
        """End what is left."""
        self._closed = True
        for process in self.all.values():
            if process.run is not None and not process.run.dead:
                process.run.throw()


def explore(make: Callable[[], World]) -> Explored:
    """Every state that can be reached. Raises: Violation: with the schedule that leads to it."""
    seen: set[Hashable] = set()
    todo: list[Sequence[Choice]] = [()]
    transitions = schedules = 0
    while todo:
        schedule = Schedule(make())
        try:
            for choice in todo.pop():
                schedule.make(choice)
            while True:
                key = hash(schedule.key())
                if key in seen:
                    break
                seen.add(key)
                try:
                    schedule.world.check(schedule.all)
                except AssertionError as error:
                    raise Violation(f"{error}\n" + "\n".join(schedule.story)) from error
                choices = schedule.choices()
                transitions += len(choices)
                if not choices:
                    schedules += 1
                    break
                todo.extend([*schedule.made, choice] for choice in choices[1:])
                schedule.make(choices[0])
        finally:
            schedule.close()
    return Explored(len(seen), transitions, schedules)
