"""Plugins in shared libraries, driven through one in C that breaks each rule of dativo_plugin.h once."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    CancelledError,
    ConnectionError,
    DativoError,
    PluginError,
    PluginVersionError,
    ReadRequest,
    SchemaMismatchError,
    SourceConfig,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.errors import from_text
from dativo_plugin_sdk.files import FileReader
from dativo_plugin_sdk.library import LibraryReader, abi, host, load_library, open_library

from .libraries import compiled

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(
        Path(__file__).with_name("liar.c"), tmp_path_factory.mktemp("liar") / "liar.so", "-shared", "-fPIC", "-O1"
    )


def loaded(path: Path, symbol: str = "liar", kind: str = "reader") -> Any:
    reference = f"{path.name}:{symbol}"
    return load_library(kind, open_library(str(path), reference), symbol, reference)


def made(path: Path, symbol: str = "liar", **options: Any) -> LibraryReader:
    reader: LibraryReader = loaded(path, symbol)(SourceConfig(reader=symbol, options=options))
    return reader


def rows(path: Path, mode: str, symbol: str = "liar") -> list[dict[str, Any]]:
    reader = made(path, symbol, mode=mode)
    plan = reader.plan(ReadRequest())
    return [row for split in plan.splits for batch in reader.read(split) for row in batch.to_pylist()]


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Any:
    """Whatever a test does, each thing that was made is released once, and nothing is called after its end."""
    yield
    gc.collect()
    if "path" in request.fixturenames:
        library = ctypes.CDLL(str(request.getfixturevalue("path")))
        assert library.left_behind() == 0
        assert library.called_late() == 0


def test_the_structs_are_those_of_the_header(tmp_path: Path) -> None:
    names = {
        "struct ArrowSchema": abi.ArrowSchema,
        "struct ArrowArray": abi.ArrowArray,
        "struct ArrowArrayStream": abi.ArrowArrayStream,
        "dativo_host": abi.Host,
        "dativo_plugin": abi.Head,
        "dativo_reader": abi.ReaderTable,
        "dativo_format": abi.FormatTable,
        "dativo_writer": abi.WriterTable,
    }
    wanted = {}
    for name, table in names.items():
        wanted[f"sizeof({name})"] = abi.size_of(table)
        wanted |= {f"offsetof({name}, {field[0]})": abi.field_offset(table, field[0]) for field in table._fields_}
    constants = ("DATIVO_MAGIC", "DATIVO_API_VERSION", "DATIVO_READER", "DATIVO_FORMAT", "DATIVO_WRITER")
    wanted |= dict(zip(constants, (abi.MAGIC, 1, abi.READER, abi.FORMAT, abi.WRITER), strict=True))
    source = tmp_path / "layout.c"
    prints = "\n".join(f'printf("%zu\\n", (size_t){expression});' for expression in wanted)
    includes = '#include <stddef.h>\n#include <stdio.h>\n#include "dativo_plugin.h"'
    source.write_text(f"{includes}\nint main(void) {{\n{prints}\nreturn 0;\n}}\n")
    found = subprocess.run([compiled(source, tmp_path / "layout")], capture_output=True, text=True, check=True)
    assert dict(zip(wanted, map(int, found.stdout.split()), strict=True)) == wanted


def test_texts_of_an_array_come_out_of_its_json_as_they_went_in(tmp_path: Path) -> None:
    texts = ["", "plain", 'say "hi"\\', "tab\tline\n", "é", "€", "\U0001f600", "]},{[", "\x7f\x01"]
    source = tmp_path / "texts.c"
    source.write_text(
        '#include <stdio.h>\n#include "dativo_json.h"\nint main(int count, char **given) {\n'
        'for (const char *at = json_first(json_member(given[count - 1], "a")); at; at = json_next(at)) {\n'
        'char *text = json_text(at);\nif (text) printf("%s%c", text, 0);\nfree(text);\n}\nreturn 0;\n}\n'
    )
    program = compiled(source, tmp_path / "texts", "-D_GNU_SOURCE")
    for ascii_alone in (True, False):
        given = json.dumps({"b": [1, {}], "a": [*texts[:4], 7, *texts[4:]]}, ensure_ascii=ascii_alone)
        told = subprocess.run([program, given], capture_output=True, text=True, check=True).stdout
        assert told.split("\0")[:-1] == texts


def test_rows_come_as_they_are(path: Path) -> None:
    three = [{"n": 1, "s": "a"}, {"n": 2, "s": "bb"}, {"n": 3, "s": None}]
    assert rows(path, "good") == three * 2
    plugin = loaded(path)
    assert plugin.__version__ == "0.2.0"
    assert plugin.Options(mode="x").mode == "x"


def test_a_stream_without_batches_still_tells_its_columns(path: Path) -> None:
    reader = made(path, mode="empty")
    (batch,) = reader.read(reader.plan(ReadRequest()).splits[0])
    assert batch.num_rows == 0
    assert batch.schema.equals(pa.schema([("n", pa.int64()), ("s", pa.string())]))


def test_a_table_of_an_older_header_has_no_newer_functions(path: Path) -> None:
    older = made(path, "older", mode="good")
    plan = older.plan(ReadRequest())
    assert [split.id for split in plan.splits] == ["all"], "its plan lies beyond its size"
    older.cancel()
    assert made(path, "longer").plan(ReadRequest()).notes == ("planned",)


def test_what_was_counted_is_known_at_the_end(path: Path) -> None:
    reader = made(path)
    stream = reader.read(reader.plan(ReadRequest()).splits[0])
    assert stream.metrics is None
    assert len(list(stream)) == 2
    assert stream.metrics == '{"bad_rows": 4}'


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("absent", "has no symbol absent"),
        ("nothing", "returned NULL instead of a table"),
        ("other_magic", r"gave no table of dativo_plugin\.h"),
        ("small", r"gave a table of 32 bytes; with all that is required it has 56 or more"),
        ("large", r"gave a table of 1,073,741,824 bytes"),
        ("other_kind", "is of kind 9, no reader"),
        ("no_read", "has NULL for read"),
        ("no_about", "says what is no JSON of itself"),
        ("half_about", "says what is no JSON of itself"),
        ("nameless", "has no name in about"),
        ("odd_name", "has no name in about"),
        ("odd_pattern", "its options_schema can't be used"),
        ("odd_option", "its options_schema can't be used"),
        ("odd_required", "its options_schema can't be used"),
        ("odd_default", "its options_schema can't be used: the default of a: Input should be a valid string"),
    ],
)
def test_a_table_that_is_none_is_refused(path: Path, symbol: str, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        loaded(path, symbol)
    assert caught.value.details["plugin"] == f"liar.so:{symbol}"
    assert caught.value.hint


@pytest.mark.parametrize(("symbol", "side"), [("newer", "upgrade dativo-assets"), ("ancient", "upgrade the plugin")])
def test_another_version_says_which_side_to_upgrade(path: Path, symbol: str, side: str) -> None:
    with pytest.raises(PluginVersionError) as caught:
        loaded(path, symbol)
    assert side in str(caught.value.hint)


def test_a_reader_is_no_writer(path: Path) -> None:
    with pytest.raises(PluginError, match="is a reader, no writer"):
        loaded(path, kind="writer")


def altered(path: Path, folder: Path, at: int, value: bytes) -> Path:
    image = bytearray(path.read_bytes())
    image[at : at + len(value)] = value
    changed = folder / "changed.so"
    changed.write_bytes(image)
    return changed


def test_a_file_that_is_no_library_of_this_machine_is_refused(path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    for content in (b"", b"text", b"#!/bin/sh\n" * 20):
        text.write_bytes(content)
        with pytest.raises(PluginError, match="is no shared library"):
            loaded(text)
    with pytest.raises(PluginError, match=r"was built for s390x, 64 bits; this is"):
        loaded(altered(path, tmp_path, 18, (22).to_bytes(2, "little")))
    with pytest.raises(PluginError, match="32 bits"):
        loaded(altered(path, tmp_path, 4, b"\x01"))
    cut = tmp_path / "cut.so"
    cut.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(PluginError, match="was cut: 5,000 bytes are there"):
        loaded(cut)
    needy = tmp_path / "needy.c"
    needy.write_text("extern int nowhere(void);\nint use(void) { return nowhere(); }\n")
    with pytest.raises(PluginError, match=r"can't be loaded: .*nowhere"):
        loaded(compiled(needy, tmp_path / "needy.so", "-shared", "-fPIC", "-Wl,-z,now"))


@pytest.mark.parametrize(
    "mode",
    [
        "length",
        "far_length",
        "long_column",
        "offset",
        "fewer_columns",
        "more_columns",
        "null_child",
        "fewer_buffers",
        "null_buffers",
        "null_buffer",
        "null_count",
        "null_rows",
        "offsets",
        "bytes",
    ],
)
def test_an_array_that_lies_about_itself_is_refused_before_it_is_used(path: Path, mode: str) -> None:
    with pytest.raises(PluginError, match="plugin liar: batch 1 is not what its schema says") as caught:
        rows(path, mode)
    assert caught.value.error_code == "INVALID_BATCH"


def test_a_library_that_vouches_for_its_arrays_is_still_held_to_their_form(path: Path) -> None:
    assert len(rows(path, "good", "trusted")) == 6
    for mode in ("length", "offset", "null_child", "null_buffers", "more_columns"):
        with pytest.raises(PluginError, match="batch 1"):
            rows(path, mode, "trusted")


def test_lies_of_a_library_and_about_arrays_and_schemas_of_every_type_end_no_process() -> None:
    fuzz = [sys.executable, "-X", "faulthandler", "-m", "tests.sdk.fuzz_library", "1"]
    done = subprocess.run(fuzz, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["schema_format", "schema_word", "schema_children"])
def test_a_schema_that_is_none_is_refused(path: Path, mode: str) -> None:
    with pytest.raises(PluginError, match="its schema is broken") as caught:
        rows(path, mode)
    assert caught.value.error_code == "INVALID_SCHEMA"


def test_an_error_half_way_is_the_librarys_own(path: Path) -> None:
    with pytest.raises(ConnectionError, match="the line was cut") as caught:
        rows(path, "fails_halfway")
    error = caught.value
    assert (error.error_code, error.retryable, error.hint) == ("LINE_CUT", True, "wait")
    assert error.details == {"byte": 7, "plugin": "liar.so:liar"}
    with pytest.raises(SchemaMismatchError) as mismatch:
        rows(path, "widen")
    assert (mismatch.value.column, mismatch.value.widen_to) == ("n", "string")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("fails_mutely", "get_next failed: it ended with 5"),
        ("schema_fails", "the line was cut"),
        ("create_nothing", "create succeeded and made nothing"),
        ("create_fails", "create failed: no luck today"),
        ("no_stream", "read succeeded and left no stream"),
        ("read_fails", "read failed and told no reason"),
        ("read_odd", "7"),
        ("plan_nothing", "plan answered nothing"),
        ("plan_words", "plan answered what is no JSON"),
        ("plan_deep", "plan answered what is no JSON"),
        ("plan_list", r"plan answered \[\]"),
        ("plan_other", "plan answered what is no plan: a split's id is None"),
        ("plan_rows", "the rows or bytes of split one are no counts"),
        ("plan_cursor", r"cursor is \[1\], neither an object nor null"),
        ("plan_notes", "notes is no array of texts"),
        ("metrics_odd", "metrics told bad_rows '4'"),
    ],
)
def test_what_a_function_gets_wrong_is_a_typed_error(path: Path, mode: str, message: str) -> None:
    with pytest.raises(DativoError, match=message) as caught:
        rows(path, mode)
    assert caught.value.details["plugin"] == "liar.so:liar"


def test_metadata_that_are_none_are_refused(path: Path) -> None:
    with pytest.raises(PluginError, match="discover answered metadata that are no object"):
        made(path).discover()


def test_a_format_that_leaves_no_file_is_named(path: Path, tmp_path: Path) -> None:
    writer = loaded(path, "fileless", "writer")(AssetDefinition(name="a"), TargetConfig(root=str(tmp_path), path="p"))
    batch = pa.record_batch({"n": [1, 2, 3]})
    writer.open(WriteRequest("job", "run", 0, schema=batch.schema))
    split = writer.writer(WriteTask(0, "data", batch.schema))
    split.write(batch)
    with pytest.raises(PluginError, match="plugin liar: finish succeeded and left no file"):
        split.finish()


def test_a_stream_without_an_end_stops_when_it_is_cancelled(path: Path) -> None:
    reader = made(path, mode="never_ends")
    stream = reader.read(reader.plan(ReadRequest()).splits[0])
    for _ in range(10):
        next(stream)
    thread = threading.Thread(target=reader.cancel)
    thread.start()
    thread.join()
    with pytest.raises(CancelledError):
        next(stream)
    assert list(stream) == []


def test_a_batch_outlives_its_stream_and_reader(path: Path) -> None:
    reader = made(path)
    batch = next(reader.read(reader.plan(ReadRequest()).splits[0]))
    del reader
    gc.collect()
    assert batch.to_pylist()[1] == {"n": 2, "s": "bb"}


def test_hostile_options_arrive_whole(path: Path) -> None:
    for mode in ("\0", "good\0bad", "x" * (10 << 20), '"}, "mode": "create_fails', "\ud83d\ude00"):
        assert len(rows(path, mode)) == 6


def test_what_a_library_asks_for_in_vain_is_an_error_of_its_own_to_free() -> None:
    lent = host.host_for("liar.so:liar", "liar", host.Secrets())
    files = host.Lent(FileReader(SourceConfig(files=("http://127.0.0.1:9/a.txt",))))
    file, size, answer = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_void_p()
    into = ctypes.create_string_buffer(8)

    def told() -> DativoError:
        assert answer.value is not None
        error = from_text(ctypes.string_at(answer.value).decode())
        lent.free_text(None, answer)
        lent.free_text(None, answer)
        answer.value = None
        assert error is not None and not host._answers
        return error

    opened = ctypes.byref(file), ctypes.byref(size), ctypes.byref(answer)
    for storage, uri in ((b"storage-0", b"s3://a/b"), (None, None), (b"\xff", b"s3://a/b")):
        assert lent.open(None, storage, uri, *opened) == 1
        assert "a storage that is none" in told().message
    for uri in (b"/etc/passwd", b"file:///etc/passwd", b"\xff", b""):
        assert lent.open(None, files.name.encode(), uri, *opened) == 1
        assert "is no URI that can be read" in told().message
    for number in (None, 0, 77):
        assert lent.read(None, number, 0, 8, 8, into, ctypes.byref(answer)) == 1
        assert "a file that is not open" in told().message
        lent.close(None, number)


def test_what_a_library_logs_is_in_the_log_without_secrets(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("dativo")
    propagates, logger.propagate = logger.propagate, True
    hidden = {"credentials": {"login": {"user": "hush-user"}}, "connection": {"password": "hush-pass", "host": "shop"}}
    try:
        with caplog.at_level(logging.INFO):
            loaded(path)(SourceConfig(options={"mode": "shout"}, **hidden))
    finally:
        logger.propagate = propagates
    (record,) = [record for record in caplog.records if record.name == "dativo.plugin.liar"]
    assert record.levelname == "WARNING"
    assert '"host": "shop"' in record.getMessage()
    assert "hush" not in record.getMessage()
    assert record.fields == {"plugin": "liar.so:liar"}  # type: ignore[attr-defined]
