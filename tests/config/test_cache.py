"""The cache of jobs as they were read: what changed is read again, and nothing that it holds can do harm."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from dativo_assets.config import JobConfig, load, load_project
from dativo_assets.config.cache import DIGEST_CHARACTERS, JobCache, _unpacked

JOB = "source: {reader: csv, files: data/NAME.csv}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dativo.yaml").write_text("defaults:\n  target: {writer: parquet, path: 'w/{name}'}\n")
    (tmp_path / "jobs").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"jobs/{name}.yaml").write_text(JOB.replace("NAME", name))
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed."""
    found: list[str] = []
    read = load.read_job

    def counted(path: Path, *rest: object) -> JobConfig:
        found.append(path.name)
        return read(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "read_job", counted)
    return found


def test_an_edit_of_one_file_parses_one_file(root: Path, parsed: list[str]) -> None:
    first = load_project(root)
    assert sorted(parsed) == ["a.yaml", "b.yaml", "c.yaml"]
    parsed.clear()
    assert load_project(root) == first
    assert parsed == []
    (root / "jobs/b.yaml").write_text(JOB.replace("NAME", "other"))
    assert load_project(root).jobs["b"].source.files == ("data/other.csv",)
    assert parsed == ["b.yaml"]


def test_another_default_parses_every_file(root: Path, parsed: list[str]) -> None:
    load_project(root)
    parsed.clear()
    (root / "dativo.yaml").write_text("defaults:\n  target: {writer: csv, path: 'w/{name}'}\n")
    assert load_project(root).jobs["a"].target.writer == "csv"
    assert len(parsed) == 3


def test_a_key_of_a_known_job_is_found_at_its_line_and_a_default_in_dativo_yaml(root: Path) -> None:
    load_project(root)
    job = load_project(root).jobs["a"]
    assert str(job.location("source", "files")).startswith("jobs/a.yaml:1:")
    assert str(job.location("target", "writer")).startswith("dativo.yaml:2:")


def test_a_job_is_found_by_its_digest_after_its_file_changed(root: Path) -> None:
    digest = load_project(root).jobs["a"].digest[:DIGEST_CHARACTERS]
    (root / "jobs/a.yaml").write_text(JOB.replace("NAME", "other"))
    load_project(root)
    assert JobCache(root).by_digest([digest])[digest].source.files == ("data/a.csv",)


@pytest.mark.parametrize("harm", ["delete", "garbage", "truncate", "entries"])
def test_a_cache_that_is_gone_or_broken_is_made_anew(root: Path, harm: str) -> None:
    expected = load_project(root)
    path = root / ".dativo/cache/jobs.db"
    if harm == "delete":
        shutil.rmtree(root / ".dativo")
    elif harm == "entries":
        with sqlite3.connect(path) as database:
            database.execute("update jobs set value = x'00' || value")
    else:
        path.write_bytes(b"no database" if harm == "garbage" else path.read_bytes()[:1000])
    assert load_project(root) == expected
    load_project(root)  # a broken database is removed by the first, and made by the second
    digests = [job.digest[:DIGEST_CHARACTERS] for job in expected.jobs.values()]
    assert set(JobCache(root).by_digest(digests)) == set(digests)


def test_a_secret_that_is_written_out_is_not_kept(root: Path) -> None:
    text = JOB.replace("NAME", "a").replace("}", ", connection: {password: hunter2}}")
    (root / "jobs/a.yaml").write_text(text)
    assert load_project(root).jobs["a"].source.connection == {"password": "hunter2"}
    assert b"hunter2" not in (root / ".dativo/cache/jobs.db").read_bytes()


def test_an_entry_makes_models_and_nothing_else() -> None:
    import hashlib

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("ran",))

    value = pickle.dumps(Evil())
    assert _unpacked(hashlib.sha256(value).digest() + value) is None


def test_a_folder_that_is_no_project_is_left_as_it_was(root: Path) -> None:
    (root / "dativo.yaml").unlink()
    load_project(root)
    assert not (root / ".dativo").exists()


def _load(root: Path) -> int:
    return len(load_project(root).jobs)


def test_processes_side_by_side_do_not_meet(root: Path) -> None:
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.map(_load, [root] * 6)) == [3] * 6
    digests = [job.digest[:DIGEST_CHARACTERS] for job in load_project(root).jobs.values()]
    assert set(JobCache(root).by_digest(digests)) == set(digests)
