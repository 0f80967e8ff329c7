"""`dativo migrate` writes an older job in the keys of today, and it stays the same job."""

from __future__ import annotations

import pytest

from dativo_assets.config import load_project

from .conftest import Shell

CONNECTOR = """\
name: csv
type: csv
default_engine: {options: {native: {batch_size: 1000, delimiter: ";"}}}
incremental: {strategy: file_modified_time}
"""
JOB = """\
# Who bought what.
tenant_id: acme
source_connector_path: connectors/csv.yaml
retry_config: {max_retries: 4}  # the share is slow
source:
  # two exports a day
  files:
    - {path: "data/a.csv", object: sales}
target:
  type: parquet
  partitioning: [day]
"""
SHOP = """\
from dativo_ingest.plugins import BaseReader, DiscoveryResult

class Shop(BaseReader):
    def discover(self):
        return DiscoveryResult([{"name": "orders", "url": self.source_config.connection["url"]}])
"""


def old_project(shell: Shell) -> None:
    shell.write("connectors/csv.yaml", CONNECTOR)
    shell.write("jobs/sales.yaml", JOB)
    shell.write("data/a.csv", "n;day\n1;mon\n2;tue\n")


def test_the_difference_is_shown_and_nothing_is_written(shell: Shell) -> None:
    old_project(shell)
    said = shell("migrate", "jobs/sales.yaml")
    assert said.code == 0 and "not written" in said.err
    assert "-source_connector_path: connectors/csv.yaml" in said.out and "+  reader: csv" in said.out
    assert "note: `batch_size` is left out" in said.err
    assert (shell.root / "jobs/sales.yaml").read_text() == JOB


def test_the_rewritten_job_keeps_its_comments_and_goes_on_in_the_same_table(shell: Shell) -> None:
    old_project(shell)
    assert shell("run", "sales", "--json").json[0]["rows_written"] == 2
    before = load_project(shell.root).jobs["sales"]
    assert shell("migrate", "--write").code == 0
    text = (shell.root / "jobs/sales.yaml").read_text()
    for comment in ("# Who bought what.", "# the share is slow", "# two exports a day"):
        assert text.count(comment) == 1
    after = load_project(shell.root).jobs["sales"]
    assert after.digest == before.digest and after.notes == ()
    (result,) = shell("run", "sales", "--json").json
    assert result["status"] == "unchanged" and result["seq"] == 1
    assert "has the keys of today" in shell("migrate", "jobs/sales.yaml").out


def test_a_broken_job_is_told_and_left_as_it_is(shell: Shell) -> None:
    shell.write("jobs/bad.yaml", "tenant_id: a\nsource: {type: csv, nonsense: 1}\ntarget: {type: csv}\n")
    said = shell("migrate", "--write")
    assert said.code == 2 and "nonsense" in said.err
    assert "nonsense" in (shell.root / "jobs/bad.yaml").read_text()


@pytest.mark.parametrize("connector", ["shop", "connectors/shop.yaml"])
def test_discover_takes_a_connector_file_or_its_name(shell: Shell, connector: str) -> None:
    shell.write("shop.py", SHOP)
    shell.write("connectors/shop.yaml", "name: shop\ntype: shop.py:Shop\nconnection_template: {url: here}\n")
    said = shell("discover", "--connector", connector, "--json")
    assert (said.code, said.json) == (0, {"objects": [{"name": "orders", "url": "here"}], "metadata": {}})


def test_discover_of_a_connector_that_is_not_there_is_told(shell: Shell) -> None:
    said = shell("discover", "--connector", "stripee")
    assert said.code == 2 and "stripee" in said.err
