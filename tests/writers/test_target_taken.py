"""Two jobs at one table: a directory is one job's, a lake's or a database's table has a sequence of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import AssetDefinition, BaseWriter, Commit, ConfigurationError, TargetConfig, WriteRequest
from dativo_plugin_sdk.models import WriteTask

from dativo_assets.writers.csv import CsvWriter
from dativo_assets.writers.jsonl import JsonlWriter
from dativo_assets.writers.parquet import ParquetWriter

ROWS = pa.table({"id": [1]})


def deliver(writer: BaseWriter) -> Commit:
    job = writer.target_config.job
    last = writer.last_commit()
    seq = 1 if last is None else last.seq + 1
    writer.open(WriteRequest(job, f"{job}-{seq}", seq - 1))
    split = writer.writer(WriteTask(0, schema=ROWS.schema))
    split.write(ROWS.to_batches()[0])
    done = writer.commit(split.finish(), Commit(job=job, seq=seq, run_id=f"{job}-{seq}", cursor={"value": seq}))
    writer.close()
    return done


@pytest.fixture(params=[ParquetWriter, CsvWriter, JsonlWriter, "s3"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    connection = request.getfixturevalue("bucket") if request.param == "s3" else {}
    path = f"s3://lake/{tmp_path.name}/t" if connection else "t"
    plugin = ParquetWriter if connection else request.param

    def writer(job: str, **options: Any) -> BaseWriter:
        config = TargetConfig(job=job, root=str(tmp_path), path=path, connection=connection, options=options)
        found: BaseWriter = plugin.at(AssetDefinition(name=job), config)
        return found

    return writer


def test_a_directory_of_another_job_is_refused_and_the_error_names_it(made: Any) -> None:
    deliver(made("first"))
    with pytest.raises(ConfigurationError, match="is the table of job first, and second would go on") as caught:
        deliver(made("second"))
    assert (caught.value.error_code, caught.value.details["job"]) == ("TARGET_TAKEN", "first")
    assert "adopt: first" in str(caught.value.hint)
    assert deliver(made("first")).seq == 2


def test_a_job_with_a_new_name_adopts_its_table_and_its_cursor(made: Any) -> None:
    deliver(made("old"))
    last = made("new", adopt="old").last_commit()
    assert last is not None and last.cursor == {"value": 1}
    assert deliver(made("new", adopt="old")).seq == 2
    assert deliver(made("new")).seq == 3
    with pytest.raises(ConfigurationError, match="is the table of job new"):
        deliver(made("old"))
