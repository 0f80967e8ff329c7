"""What an Iceberg table's catalog and folder no longer need: replaced snapshots, and the files that only they name."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise

from dativo_plugin_sdk import Commit
from pyarrow.fs import FileSelector
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots

from ._lake_table import ORPHAN_S, archive_of, commits_of

HISTORY = "dativo.history"
"""The table's property that names the file with records of expired snapshots, one a line, the newest first."""

SUMMARY = "dativo.commit"
"""A snapshot's property that holds the record of the commit that made it."""

_METADATA = re.compile(r"/(\d+)-[^/]*\.metadata\.json$")


def expired(table: Table, keep_s: float) -> list[Snapshot]:
    """Snapshots that no branch or tag is at, and that were replaced more than `keep_s` ago."""
    metadata = table.metadata
    heads = {ref.snapshot_id for ref in metadata.refs.values()}
    replaced = {snapshot.snapshot_id: snapshot.timestamp_ms for snapshot in metadata.snapshots}
    for snapshot in metadata.snapshots:
        if (parent := snapshot.parent_snapshot_id) in replaced:
            replaced[parent] = max(replaced[parent], snapshot.timestamp_ms)
    for before, after in pairwise(metadata.snapshot_log):
        if before.snapshot_id in replaced:
            replaced[before.snapshot_id] = max(replaced[before.snapshot_id], after.timestamp_ms)
    until = (time.time() - keep_s) * 1000
    return [s for s in metadata.snapshots if s.snapshot_id not in heads and replaced[s.snapshot_id] <= until]


def expire(load: Callable[[], Table], table: Table, gone: list[Snapshot]) -> None:
    """Forget snapshots, their records moved to the table's history; then remove the files that nobody names any more.

    Raises: CommitFailedException: where somebody changed the table meanwhile; then nothing is removed.
    """
    files = _reached(table, gone)
    archive = _archive(table, gone)
    transaction = table.transaction()
    ExpireSnapshots(transaction).by_ids([snapshot.snapshot_id for snapshot in gone]).commit()
    if archive is not None:
        transaction.set_properties({HISTORY: archive})
    transaction.commit_transaction()
    now = load()
    for path in files - named(now):
        with suppress(FileNotFoundError):
            now.io.delete(path)


def _archive(table: Table, gone: Iterable[Snapshot]) -> str | None:
    """Where the records of snapshots are written, with those of earlier ones; None where they have none."""
    ordered = sorted(gone, key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)
    texts = (s.summary.additional_properties.get(SUMMARY) for s in ordered if s.summary is not None)
    new = [text for text in texts if text is not None]
    if not new:
        return None
    path = f"{table.location().rstrip('/')}/metadata/dativo-history-{uuid.uuid4()}.jsonl"
    with table.io.new_output(path).create() as stream:
        stream.write(archive_of([*new, *archived(table)]))
    return path


def archived(table: Table) -> list[str]:
    """Records of expired snapshots, the newest first."""
    path = table.properties.get(HISTORY)
    if path is None:
        return []
    with table.io.new_input(path).open() as stream:
        return str(stream.read(), "utf-8").splitlines()


def archived_commits(table: Table, job: str, mention: str) -> Iterator[Commit]:
    """A job's commits among them whose records hold a text."""
    where = f"history of {'.'.join(table.name())}"
    return commits_of(archived(table), job, mention, where)


def _reached(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    """Every file that snapshots are made of."""
    found: set[str] = set()
    manifests: dict[str, ManifestFile] = {}
    for snapshot in snapshots:
        manifests.update((manifest.manifest_path, manifest) for manifest in snapshot.manifests(table.io))
        found.add(snapshot.manifest_list)
    for path, manifest in manifests.items():
        found.add(path)
        found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return found


def named(table: Table) -> set[str]:
    """Every file that the table needs."""
    metadata = table.metadata
    found = _reached(table, metadata.snapshots)
    found.update(entry.metadata_file for entry in metadata.metadata_log)
    found.update(item.statistics_path for item in (*metadata.statistics, *metadata.partition_statistics))
    found.update({table.metadata_location, table.properties.get(HISTORY, "")})
    return found


def unnamed(load: Callable[[], Table], keep_s: float) -> list[str]:
    """Files in the table's folder that it does not need: of its own older versions those that are older than `keep_s`, and
    of what a run may yet commit those of ORPHAN_S.
    """
    table = load()
    if not isinstance(table.io, PyArrowFileIO):
        return []
    scheme, netloc, folder = PyArrowFileIO.parse_location(table.location())
    there = table.io.fs_by_scheme(scheme, netloc).get_file_info(FileSelector(folder, recursive=True))
    table = load()  # only then: what was committed meanwhile is named
    plain = {PyArrowFileIO.parse_location(path)[2] for path in named(table) if path}
    current = _METADATA.search(table.metadata_location)
    found = []
    for info in there:
        if not info.is_file or info.path in plain:
            continue
        old = _METADATA.search(info.path)
        superseded = old is not None and current is not None and int(old[1]) < int(current[1])
        if time.time() - info.mtime.timestamp() > (keep_s if superseded else max(keep_s, ORPHAN_S)):
            found.append(f"{scheme}://{info.path}")
    return found
