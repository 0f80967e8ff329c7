"""What is wrong between jobs: two with one name, a dependency on nothing, a cycle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dativo_assets.errors import ConfigurationError

from .models import JobConfig
from .problems import problem
from .words import nearest


def find_faults(jobs: Sequence[JobConfig], broken: set[str]) -> dict[int, list[ConfigurationError]]:
    """The errors of each job that has any, by its index.

    broken: names of jobs that could not be read; to depend on one of them is no fault of its own.
    """
    faults: dict[int, list[ConfigurationError]] = defaultdict(list)
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, job in enumerate(jobs):
        by_name[job.name].append(index)
    _find_doubles(jobs, by_name, faults)
    owner = {part.name: job.name for job in jobs for part in job.parts if part.stream is not None}
    if owner:
        _find_same_keys(jobs, faults)
    known = by_name.keys() | broken | owner.keys()
    for index, job in enumerate(jobs):
        for position, name in enumerate(job.depends_on):
            if name in job.upstream and name not in known:
                faults[index].append(_unknown(job, position, name, known))
    upstream = {
        job.name: [owner.get(name, name) for name in job.upstream if name in by_name or name in owner] for job in jobs
    }
    for cycle in _cycles(upstream):
        for position, name in enumerate(cycle):
            ring = " -> ".join([*cycle[position:], *cycle[:position], name])
            for index in by_name[name]:
                faults[index].append(
                    problem(
                        f"depends_on goes round in a circle: {ring}",
                        jobs[index].origin,
                        "depends_on",
                        hint="remove one of these dependencies",
                        job=name,
                    )
                )
    return faults


def _find_doubles(
    jobs: Sequence[JobConfig], by_name: dict[str, list[int]], faults: dict[int, list[ConfigurationError]]
) -> None:
    for name, indexes in by_name.items():
        for index in indexes if len(indexes) > 1 else ():
            others = ", ".join(str(jobs[other].location("name")) for other in indexes if other != index)
            faults[index].append(
                problem(
                    f"two jobs are named `{name}`: the other is at {others}",
                    jobs[index].origin,
                    "name",
                    hint="rename one of them",
                    job=name,
                )
            )


def _find_same_keys(jobs: Sequence[JobConfig], faults: dict[int, list[ConfigurationError]]) -> None:
    """Streams that have the name, or the place in the catalog, of a job or of another one's stream."""
    seen: dict[tuple[str, ...], JobConfig] = {}
    for index, job in sorted(enumerate(jobs), key=lambda item: item[1].parts != (item[1],)):
        for part in job.parts:
            path = (*(job.group.split("/") if job.group != "default" else ()), part.job_name, part.stream or "")
            for key in ((part.name,), tuple(filter(None, path))):
                other = seen.setdefault(key, job)
                if other is not job and part.stream is not None:
                    faults[index].append(
                        problem(
                            f"the stream {part.name} would be the same asset as one of job {other.name}",
                            job.origin,
                            "name",
                            hint="rename the job, or give the stream another `object`",
                            job=job.name,
                        )
                    )
                    break


def _unknown(job: JobConfig, position: int, name: str, known: set[str]) -> ConfigurationError:
    guess = nearest(name, known - {job.name})
    hint = f"did you mean `{guess}`? " if guess else ""
    place = ("depends_on", position) if job.origin.raw("depends_on", position) is not None else ("depends_on",)
    return problem(
        f"depends_on names no job: `{name}`",
        job.origin,
        *place,
        hint=f"{hint}an asset of another code location is written external:{name}",
        job=job.name,
        key=False,
    )


def _cycles(edges: dict[str, list[str]]) -> list[list[str]]:
    """A cycle for each group of jobs that wait for each other (Tarjan's components, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    groups: list[set[str]] = []
    for start in edges:
        if start in order:
            continue
        work = [(start, iter(edges[start]))]
        order[start] = low[start] = len(order)
        path.append(start)
        on_path.add(start)
        while work:
            node, rest = work[-1]
            for following in rest:
                if following not in order:
                    order[following] = low[following] = len(order)
                    path.append(following)
                    on_path.add(following)
                    work.append((following, iter(edges[following])))
                    break
                if following in on_path:
                    low[node] = min(low[node], order[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    group = set(path[path.index(node) :])
                    del path[path.index(node) :]
                    on_path -= group
                    if len(group) > 1:
                        groups.append(group)
    return [_walk(group, edges) for group in groups]


def _walk(group: set[str], edges: dict[str, list[str]]) -> list[str]:
    """The jobs of a group in the order of its shortest circle through the first of them, then every other member."""
    first = min(group)
    previous: dict[str, str] = {}
    pending = [first]
    for node in pending:
        for following in edges[node]:
            if following == first:
                ring = [node]
                while ring[-1] != first:
                    ring.append(previous[ring[-1]])
                return ring[::-1]
            if following in group and following not in previous:
                previous[following] = node
                pending.append(following)
    return [first]
