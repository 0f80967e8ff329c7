"""Where rows and columns come from: what jobs read, the project's graph, column lineage. Nothing here runs a job."""

from . import render
from .columns import ColumnRef, columns_of, declared_columns
from .graph import Graph, Node, project_graph
from .sources import Source, plugin_kinds, project_sources

__all__ = [
    "ColumnRef",
    "Graph",
    "Node",
    "Source",
    "columns_of",
    "declared_columns",
    "plugin_kinds",
    "project_graph",
    "project_sources",
    "render",
]
