"""What of a job's source is a stream, where each lands, and what a person is told who says it wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from dativo_assets.config import JobConfig, load_job, load_project
from dativo_assets.errors import render


def load(root: Path, **files: str) -> dict[str, JobConfig]:
    (root / "jobs").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / f"jobs/{name}.yaml").write_text(text)
    project = load_project(root)
    assert [render(item.error) for item in project.broken] == []
    return dict(project.jobs)


def refused(root: Path, **files: str) -> str:
    (root / "jobs").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / f"jobs/{name}.yaml").write_text(text)
    return "\n".join(render(item.error) for item in load_project(root).broken)


def parts(root: Path, text: str) -> dict[str | None, JobConfig]:
    return {part.stream: part for part in load(root, shop=text)["shop"].parts}


def test_a_job_of_one_table_has_no_streams_however_it_is_written(tmp_path: Path) -> None:
    for source in (
        "tables: orders",
        "tables: [orders]",
        "tables: [{name: orders}]",
        "objects: [orders]",
        "files: [a.csv, b.csv]",
        "files: [{path: a.csv, object: orders}, {path: b.csv, object: orders}, c.csv]",
    ):
        (job,) = load(
            tmp_path, shop=f"source: {{reader: csv, {source}}}\ntarget: {{writer: parquet, path: w}}\n"
        ).values()
        assert job.parts == (job,)
        assert (job.stream, job.job_name, job.target.path) == (None, "shop", "w")


def test_each_stream_has_its_own_keys_over_those_of_the_job(tmp_path: Path) -> None:
    found = parts(
        tmp_path,
        """
source:
  reader: x.py:R
  options: {page: 10, zone: eu}
  incremental: {strategy: updated_at, cursor_field: changed}
  tables:
    - public.orders
    - {name: crm.people, object: customers, cursor_field: seen, keys: [id], options: {page: 5}, contract: c.yaml}
target: {writer: parquet, path: "w/{stream}"}
""",
    )
    assert list(found) == ["orders", "customers"]
    orders, customers = found["orders"], found["customers"]
    assert (orders.name, orders.source.tables, orders.target.path) == ("shop.orders", ("public.orders",), "w/orders")
    assert (orders.target.mode, orders.source.options) == ("append", {"page": 10, "zone": "eu"})
    assert (customers.source.tables, customers.source.objects) == (("crm.people",), ("customers",))
    assert (customers.target.mode, customers.target.keys, customers.contract) == ("merge", ("id",), "c.yaml")
    assert customers.source.options == {"page": 5, "zone": "eu"}
    assert customers.incremental is not None and customers.incremental.cursor_field == "seen"


def test_files_of_one_object_are_one_stream(tmp_path: Path) -> None:
    files = "[{path: a/*.csv, object: a}, {path: b.csv, object: b}, {path: [c.csv, d.csv], object: a}]"
    found = parts(tmp_path, f"source: {{reader: csv, files: {files}}}\ntarget: {{writer: parquet, path: w}}\n")
    assert {name: part.source.files for name, part in found.items()} == {
        "a": ("a/*.csv", "c.csv", "d.csv"),
        "b": ("b.csv",),
    }


@pytest.mark.parametrize(
    ("target", "path", "table"),
    [
        ('path: "w/{name}"', "w/shop/a", None),
        ('path: "s3://b/{stream}/x"', "s3://b/a/x", None),
        ("path: x.duckdb", "x.duckdb", "shop_a"),
        ("path: x.db, table: raw.t", "x.db", "raw.t_a"),
        ('table: "raw.{stream}"', None, "raw.a"),
        ("catalog: lake", None, "shop_a"),
    ],
)
def test_no_two_streams_land_in_one_table(tmp_path: Path, target: str, path: str | None, table: str | None) -> None:
    found = parts(tmp_path, f"source: {{reader: x.py:R, objects: [a, b]}}\ntarget: {{writer: parquet, {target}}}\n")
    assert (found["a"].target.path, found["a"].target.table) == (path, table)


def test_one_table_is_a_stream_where_the_target_says_so(tmp_path: Path) -> None:
    found = parts(tmp_path, 'source: {reader: x.py:R, tables: orders}\ntarget: {writer: parquet, path: "w/{stream}"}\n')
    assert {name: part.target.path for name, part in found.items()} == {"orders": "w/orders"}


@pytest.mark.parametrize(
    ("source", "target", "said", "line"),
    [
        ("tables: [a.t, b.t]", "path: w", "two streams are named `t`", "2:37"),
        ("tables: [t, Order Details]", "path: w", "is no name of a stream", "2:35"),
        ("tables: [t, {name: u, objekt: x}]", "path: w", "did you mean `object`?", "2:45"),
        ("tables: [t, {name: u, object: a/b}]", "path: w", "is no name of a stream", "2:"),
        ("files: [a.csv, {path: b, object: b}, {path: c, object: c}]", "path: w", "and these don't", "2:"),
        ("files: a.csv", 'path: "w/{stream}"', "the source names no stream", "3:"),
        ("tables: [a, b], incremental: {strategy: append}", "path: w", "needs `cursor_field`", "2:"),
        ("tables: [a, {name: b, keys: [id]}]", "path: w, mode: merge", "mode merge needs `keys`", "3:"),
    ],
)
def test_a_mistake_in_a_stream_is_told_at_its_line(
    tmp_path: Path, source: str, target: str, said: str, line: str
) -> None:
    text = f"# a job\nsource: {{reader: csv, {source}}}\ntarget: {{writer: parquet, {target}}}\n"
    told = refused(tmp_path, shop=text)
    assert said in told and f"jobs/shop.yaml:{line}" in told


def test_other_jobs_wait_for_a_job_or_for_one_of_its_streams(tmp_path: Path) -> None:
    shop = "source: {reader: x.py:R, objects: [a, b]}\ntarget: {writer: parquet, path: w}\n"
    one = "depends_on: [shop.a, shop]\nsource: {reader: csv, files: x.csv}\ntarget: {writer: parquet, path: v}\n"
    jobs = load(tmp_path, shop=shop, one=one)
    assert jobs["one"].upstream == ("shop.a", "shop")
    project = load_project(tmp_path)
    assert [part.name for part in project.parts("shop")] == ["shop.a", "shop.b"]
    assert [part.name for part in project.parts("shop.b")] == ["shop.b"]
    assert project.parts("shop.c") == ()
    told = refused(tmp_path, one=one.replace("shop.a", "shop.c"))
    assert "depends_on names no job: `shop.c`" in told and "did you mean `shop.b`?" in told
    assert load_job("shop", project).parts[0].stream == "a"


def test_a_stream_that_waits_for_its_own_job_is_a_circle(tmp_path: Path) -> None:
    shop = "depends_on: [one]\nsource: {reader: x.py:R, objects: [a, b]}\ntarget: {writer: parquet, path: w}\n"
    one = "depends_on: [shop.a]\nsource: {reader: csv, files: x.csv}\ntarget: {writer: parquet, path: v}\n"
    assert "depends_on goes round in a circle" in refused(tmp_path, shop=shop, one=one)
    assert "the job depends on itself" in refused(tmp_path, shop=shop.replace("[one]", "[shop.b]"))


def test_a_stream_that_would_be_the_same_asset_as_a_job_is_refused(tmp_path: Path) -> None:
    shop = "source: {reader: x.py:R, objects: [a, b]}\ntarget: {writer: parquet, path: w}\n"
    other = "group: shop\nsource: {reader: csv, files: x.csv}\ntarget: {writer: parquet, path: v}\n"
    assert "the stream shop.a would be the same asset as one of job a" in refused(tmp_path, shop=shop, a=other)
    named = "name: shop.b\n" + other.replace("group: shop\n", "")
    (tmp_path / "jobs/a.yaml").unlink()
    assert "the stream shop.b would be the same asset as one of job shop.b" in refused(tmp_path, shop=shop, b=named)


def test_the_older_spellings_are_streams_too(tmp_path: Path) -> None:
    head = "tenant_id: acme\n"
    found = parts(
        tmp_path,
        head + "source: {type: postgres, incremental: {strategy: incremental}, tables: ["
        "{name: public.o, object: orders, cursor_field: at}, {name: public.c, object: customers, cursor_field: seen}]}\n"
        "target: {type: minio, file_format: parquet, connection: {minio: {bucket: lake, prefix: raw}}}\n",
    )
    assert {name: (part.source.tables, part.target.path) for name, part in found.items()} == {
        "orders": (("public.o",), "s3://lake/raw/shop/orders"),
        "customers": (("public.c",), "s3://lake/raw/shop/customers"),
    }
    assert [part.incremental and part.incremental.cursor_field for part in found.values()] == ["at", "seen"]
    found = parts(
        tmp_path,
        head + "source: {type: csv, files: [{file: a.csv, object: a, id: f1}, {path: b.csv, object: b, id: f2}]}\n"
        "target: {type: parquet, connection: {}}\n",
    )
    assert {name: part.source.files for name, part in found.items()} == {"a": ("a.csv",), "b": ("b.csv",)}
    found = parts(
        tmp_path,
        head + "source: {custom_reader: 'x.py:R', sheets: [{range: A, object: a, id: s1}, {range: B, object: b}]}\n"
        "target: {type: parquet, connection: {}}\n",
    )
    assert {name: part.source.options for name, part in found.items()} == {
        "a": {"sheets": [{"range": "A", "object": "a", "id": "s1"}]},
        "b": {"sheets": [{"range": "B", "object": "b"}]},
    }
