"""dativo lineage: the graph, a job, a column; as text, JSON and Mermaid."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlglot")


@pytest.fixture
def chain(shell):
    """orders -> daily (a query) -> report (a query), and a plugin that renames."""
    shell.write("data/orders.csv", "id,day,amount\n1,2024-01-01,5\n")
    shell.write(
        "jobs/orders.yaml",
        """
        source: {reader: csv, files: [data/orders.csv]}
        target: {writer: parquet, path: w/orders}
        schema: [{name: id, type: int64}, {name: day, type: date}, {name: amount, type: double}]
        """,
    )
    shell.write(
        "jobs/daily.yaml",
        """
        source:
          reader: sql
          query: |
            WITH o AS (SELECT * FROM orders)
            SELECT day, sum(amount) AS revenue, count(*) AS n FROM o GROUP BY day
        target: {writer: parquet, path: w/daily, mode: overwrite}
        schema: [{name: day, type: date}, {name: revenue, type: double}, {name: n, type: int64}]
        """,
    )
    shell.write(
        "jobs/report.yaml",
        """
        depends_on: [their/asset]
        source: {reader: sql, query: "SELECT max(revenue) AS best FROM daily"}
        target: {writer: parquet, path: w/report, mode: overwrite}
        """,
    )
    shell.write(
        "plugins/shop.py",
        """
        from dativo_plugin_sdk import BaseReader

        class Shop(BaseReader):
            @classmethod
            def column_lineage(cls, source):
                return {"full_name": [("people", "first"), ("people", "last")], "town": [("places", "name")]}

            def extract(self, state_manager=None):
                yield [{"full_name": "A B", "town": "C"}]
        """,
    )
    shell.write(
        "jobs/customers.yaml",
        """
        source: {reader: "plugins/shop.py:Shop", tables: [people, places]}
        target: {writer: parquet, path: w/customers}
        """,
    )
    return shell


def test_the_project_is_a_tree_from_its_sources_down(chain) -> None:
    said = chain("lineage")
    assert said.code == 0
    assert "source/csv/data/orders.csv\n└─ orders\n   └─ daily\n      └─ report" in said.out
    assert "their/asset\n└─ report" in said.out
    assert "report: its columns are known after its first run" in said.err


def test_a_column_is_followed_through_queries_in_both_ways(chain) -> None:
    said = chain("lineage", "orders.amount")
    assert said.out.splitlines() == [
        "orders.amount",
        "made from",
        "└─ source/csv/data/orders.csv.amount",
        "goes into",
        "└─ daily.revenue",
        "   └─ report.best",
    ]
    assert "goes into" not in chain("lineage", "orders.amount", "--upstream").out
    assert "made from" not in chain("lineage", "orders.amount", "--downstream").out


def test_json_holds_nodes_edges_and_columns(chain) -> None:
    found = chain("lineage", "--format", "json").json
    assert {node["name"]: node["kind"] for node in found["nodes"]}["their/asset"] == "external"
    assert {"from": "daily", "to": "report"} in found["edges"]
    column = {"from": {"node": "daily", "column": "revenue"}, "to": {"node": "report", "column": "best"}}
    assert column in found["columns"]
    assert not [pair for pair in found["columns"] if pair["to"] == {"node": "daily", "column": "n"}]


def test_a_plugin_says_where_its_columns_come_from_stream_by_stream(chain) -> None:
    said = chain("lineage", "customers.people.full_name", "--upstream")
    assert said.out.splitlines()[2:] == ["├─ source/python/people.first", "└─ source/python/people.last"]
    assert "└─ source/python/places.name" in chain("lineage", "customers.places.town", "--upstream").out
    assert chain("lineage", "customers.people.town").code == 2


def test_mermaid_escapes_what_would_end_a_label(chain) -> None:
    chain.write(
        "jobs/odd.yaml",
        """
        source: {reader: csv, files: ['data/a"]<b>.csv']}
        target: {writer: parquet, path: w/odd}
        """,
    )
    said = chain("lineage", "odd", "--format", "mermaid")
    assert said.out.startswith("flowchart LR\n")
    assert '[("source/csv/data/a&quot;_&lt;b&gt;.csv")]' in said.out
    assert "n0 --> n1" in said.out


def test_an_unknown_name_names_the_nearest(chain) -> None:
    said = chain("lineage", "orders.amuont")
    assert said.code == 2
    assert "did you mean `orders.amount`?" in said.err


def test_columns_of_a_table_without_contract_are_those_of_its_last_commit(chain) -> None:
    chain("run", "orders", "daily", "report")
    assert "└─ daily.revenue" in chain("lineage", "report.best").out
    assert "report: its columns" not in chain("lineage").err


def test_a_target_that_does_not_answer_leaves_columns_unknown_and_shows_no_secret(chain) -> None:
    chain.write(
        "jobs/far.yaml",
        """
        source: {reader: csv, files: [data/orders.csv]}
        target: {writer: postgres, connection: {dsn: "postgresql://u:hunter2@127.0.0.1:1/x"}, table: t}
        """,
    )
    said = chain("lineage", "far")
    assert said.code == 0
    assert "far: its columns are not known" in said.err
    assert "hunter2" not in said.err + said.out
