from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
from dativo_plugin_sdk import AssetDefinition, Commit, DirectoryWriter, TargetConfig, WriteRequest, WriteTask


class _Lines(DirectoryWriter):
    extension = "txt"

    def open_file(self, path: str, schema: pa.Schema) -> _Sink:
        return _Sink(path)


class _Sink:
    def __init__(self, path: str) -> None:
        self._file = Path(path).open("w")  # noqa: SIM115 - closed by finish
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._rows += batch.num_rows
        self._file.write(str(batch.to_pylist()) + "\n")

    def finish(self) -> dict[str, int]:
        self._file.close()
        return {"rows": self._rows}

    def abort(self) -> None:
        self._file.close()


def test_partitions_with_hostile_values_stay_inside_the_table(tmp_path: Path) -> None:
    values = ["a/b", "..", ".", "", None, "ü", "a=b", "x" * 40]
    batch = pa.record_batch({"p": values, "v": list(range(len(values)))})
    writer = _Lines(AssetDefinition(name="t"), TargetConfig(root=str(tmp_path), path="t", writer="lines"))
    writer.open(WriteRequest("j", "r1", 0, partition_by=("p",)))
    split = writer.writer(WriteTask(0, schema=batch.schema))
    split.write(batch)
    writer.commit(split.finish(), Commit(job="j", seq=1, run_id="r1"))
    files = writer.table.files()
    assert len(files) == len(values)
    assert all(Path(file).resolve().is_relative_to((tmp_path / "t" / "1").resolve()) for file in files)
    assert {Path(file).parent.name for file in files} >= {"p=a%2Fb", "p=%2E%2E", "p=__HIVE_DEFAULT_PARTITION__"}
    shutil.rmtree(tmp_path / "t")
