"""A graph, or what a job or a column of it is made from, as text, JSON values and Mermaid."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .columns import ColumnRef
from .graph import Graph

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class View:
    """A part of a graph. focus: a node or a column; None for all of it. up, down: which ways are followed from it."""

    graph: Graph
    focus: str | ColumnRef | None = None
    up: bool = True
    down: bool = True

    def nodes(self) -> list[str]:
        """The nodes of the part, upstream first."""
        if self.focus is None:
            return list(self.graph.nodes)
        if isinstance(self.focus, ColumnRef):
            kept = {ref.node for ref in self.columns_reached()}
        else:
            kept = self._reached(self.focus, self.graph.upstream, self.graph.downstream)
        return [name for name in self.graph.nodes if name in kept]

    def edges(self) -> list[tuple[str, str]]:
        if isinstance(self.focus, ColumnRef):
            return list(dict.fromkeys((origin.node, to.node) for origin, to in self.column_edges()))
        kept = set(self.nodes())
        return [(origin, to) for origin, to in self.graph.edges if origin in kept and to in kept]

    def columns_reached(self) -> set[ColumnRef]:
        assert isinstance(self.focus, ColumnRef)
        return self._reached(self.focus, self.graph.columns, self.graph.column_downstream)

    def column_edges(self) -> list[tuple[ColumnRef, ColumnRef]]:
        """(from, to) of each column that another is made from, within the part."""
        if isinstance(self.focus, ColumnRef):
            reached = self.columns_reached()
        else:
            kept = set(self.nodes())
            reached = {ref for to, origins in self.graph.columns.items() for ref in (to, *origins) if ref.node in kept}
        pairs = ((origin, to) for to, origins in self.graph.columns.items() for origin in origins)
        return [(origin, to) for origin, to in pairs if origin in reached and to in reached]

    def _reached(self, start: K, upstream: Mapping[K, tuple[K, ...]], downstream: Mapping[K, tuple[K, ...]]) -> set[K]:
        found = {start}
        for followed, wanted in ((upstream, self.up), (downstream, self.down)):
            waiting = [start] if wanted else []
            seen = {start}
            while waiting:
                for near in followed.get(waiting.pop(), ()):
                    if near not in seen:
                        seen.add(near)
                        waiting.append(near)
            found |= seen
        return found


def text(view: View) -> str:
    """Trees: of the whole project from its sources down; of a job or a column what it is made from and what is made from it."""
    graph = view.graph
    if view.focus is None:
        roots = [name for name in graph.nodes if not graph.upstream.get(name)]
        return "\n".join(_trees(roots, lambda name: graph.downstream.get(name, ())))
    if isinstance(view.focus, ColumnRef):
        upstream, downstream = _column_ways(graph)
        return "\n".join(_two_ways(view, view.focus, upstream, downstream))
    return "\n".join(
        _two_ways(view, view.focus, lambda n: graph.upstream.get(n, ()), lambda n: graph.downstream.get(n, ()))
    )


def as_json(view: View) -> dict[str, Any]:
    """JSON values: nodes, edges, columns."""
    return {
        "nodes": [
            {
                "name": node.name,
                "kind": node.kind,
                "group": node.group,
                "description": node.description,
                "columns": dict(node.columns),
            }
            for node in (view.graph.nodes[name] for name in view.nodes())
        ],
        "edges": [{"from": origin, "to": to} for origin, to in view.edges()],
        "columns": [
            {"from": {"node": a.node, "column": a.column}, "to": {"node": b.node, "column": b.column}}
            for a, b in view.column_edges()
        ],
        "notes": list(view.graph.notes),
    }


def mermaid(view: View) -> str:
    """A flowchart that Markdown pages draw: a node each, or a column each where a column was asked for."""
    lines = ["flowchart LR"]
    if isinstance(view.focus, ColumnRef):
        pairs: Sequence[tuple[Hashable, Hashable]] = view.column_edges()
        names: Sequence[Hashable] = sorted(view.columns_reached())
    else:
        pairs, names = view.edges(), view.nodes()
    ids = {name: f"n{index}" for index, name in enumerate(names)}
    for name, key in ids.items():
        node = view.graph.nodes.get(name.node if isinstance(name, ColumnRef) else str(name))
        opening, closing = ("[(", ")]") if node is not None and node.kind != "job" else ("[", "]")
        lines.append(f'    {key}{opening}"{_quoted(str(name))}"{closing}')
    lines += [f"    {ids[origin]} --> {ids[to]}" for origin, to in pairs]
    return "\n".join(lines)


def _quoted(label: str) -> str:
    return (
        label.replace("&", "&amp;")
        .replace('"', "&quot;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("#", "&#35;")
    )


Near = Callable[[K], Iterable[K]]


def _column_ways(graph: Graph) -> tuple[Near[ColumnRef], Near[ColumnRef]]:
    return (lambda ref: graph.columns.get(ref, ())), (lambda ref: graph.column_downstream.get(ref, ()))


def _two_ways(view: View, focus: K, upstream: Near[K], downstream: Near[K]) -> Iterator[str]:
    yield str(focus)
    for wanted, title, near in ((view.up, "made from", upstream), (view.down, "goes into", downstream)):
        if wanted:
            branches = list(near(focus))
            yield f"{title}{'' if branches else ' nothing known' if title == 'made from' else ' nothing'}"
            yield from _branches(branches, near, "", {focus})


def _trees(roots: Iterable[K], near: Near[K]) -> Iterator[str]:
    seen: set[K] = set()
    for root in roots:
        yield str(root)
        yield from _branches(list(near(root)), near, "", seen)


def _branches(items: list[K], near: Near[K], indent: str, seen: set[K]) -> Iterator[str]:
    """Each item below the last, its own branches the first time it comes."""
    for index, item in enumerate(items):
        last = index == len(items) - 1
        below = list(near(item))
        again = item in seen and bool(below)
        yield f"{indent}{'└─ ' if last else '├─ '}{item}{' ...' if again else ''}"
        if not again:
            seen.add(item)
            yield from _branches(below, near, indent + ("   " if last else "│  "), seen)
