"""What `partition_by` may say: a column, or a transform of one, in the words and with the results of Iceberg.

region   year(ts)   month(ts)   day(ts)   hour(ts)   bucket(16, id)   truncate(4, code)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, cast
from urllib.parse import quote

from .arrow import pyarrow, type_name
from .errors import ConfigurationError, ValidationError

Transform = Literal["identity", "year", "month", "day", "hour", "bucket", "truncate"]

_CALL = re.compile(r"^\s*(year|years|month|months|day|days|hour|hours|bucket|truncate)\s*\((.*)\)\s*$", re.DOTALL)
_SIZED = re.compile(r"^\s*(\d{1,9})\s*,\s*(.+?)\s*$", re.DOTALL)
_FORMATS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H"}
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Partition:
    """One entry of `partition_by`. width: the buckets of `bucket`, the characters (or step) of `truncate`."""

    column: str
    transform: Transform = "identity"
    width: int | None = None

    @property
    def name(self) -> str:
        """The partition's own name, as Iceberg gives it: `ts_month`, `id_bucket`, `code_trunc`; a plain column's is its own."""
        suffix = {"identity": "", "truncate": "_trunc"}.get(self.transform, f"_{self.transform}")
        return self.column + suffix

    def texts(self, values: Any) -> Any:
        """The partition of each of `values` (an Arrow array of the column) as strings, null where the value is.

        Raises: ValidationError: for a type that the transform has no meaning for.
        """
        pa = pyarrow()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return _TEXTS[self.transform](self, values)

    def _refused(self, kind: Any) -> ValidationError:
        return ValidationError(
            f"partition_by: {self.transform} can't divide column {self.column!r}, which is {type_name(kind)}",
            details={"column": self.column},
            hint="use year, month, day, hour for dates and timestamps; bucket and truncate for whole numbers and text",
        )


def parse_partition(text: str) -> Partition:
    """One entry of `partition_by`. What is no call of a transform names a column.

    Raises: ConfigurationError: for a transform without what it needs.
    """
    found = _CALL.match(text)
    if found is None:
        return Partition(text)
    name, inside = found[1], found[2].strip()
    if name in ("bucket", "truncate"):
        sized = _SIZED.match(inside)
        if sized is None or int(sized[1]) < 1:
            raise ConfigurationError(
                f"partition_by: {text!r} needs a number and a column", hint=f"write {name}(16, column)"
            )
        return Partition(sized[2], cast(Transform, name), int(sized[1]))
    if not inside or "," in inside:
        raise ConfigurationError(f"partition_by: {text!r} needs one column", hint=f"write {name}(column)")
    return Partition(inside, cast(Transform, name.removesuffix("s")))


def parse_partitions(texts: Sequence[str]) -> tuple[Partition, ...]:
    """All of `partition_by`. Raises: ConfigurationError: also for two entries of one name."""
    parsed = tuple(parse_partition(text) for text in texts)
    names = [item.name for item in parsed]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"partition_by divides by {name!r} twice", hint="remove one of them")
    return parsed


def partition_folders(partitions: Sequence[Partition], batch: Any) -> list[tuple[str, Any]]:
    """(folder, rows) for each partition of a record batch, folders in Hive's style: `region=eu/ts_month=2013-01`.

    The columns stay in the rows. Raises: ValidationError: for a column that is not there or can't be divided so.
    """
    pa = pyarrow()
    names = batch.schema.names
    for item in partitions:
        if item.column not in names:
            raise ValidationError(
                f"partition_by names {item.column!r}, which is not a column of the data",
                hint=f"columns are: {', '.join(names)}",
            )
    keys = [f"k{at}" for at in range(len(partitions))]
    table = pa.table([item.texts(batch.column(item.column)) for item in partitions], names=keys)
    table = table.append_column("row", pa.array(range(batch.num_rows), type=pa.int64()))
    groups = table.group_by(keys).aggregate([("row", "list")]).to_pylist()
    if len(groups) == 1:
        return [(_folder(partitions, keys, groups[0]), batch)]
    return [
        (_folder(partitions, keys, group), batch.take(pa.array(group["row_list"], type=pa.int64()))) for group in groups
    ]


def _folder(partitions: Sequence[Partition], keys: Sequence[str], group: dict[str, Any]) -> str:
    parts = zip(partitions, keys, strict=True)
    return "/".join(f"{quote(item.name, safe='')}={_segment(group[key])}" for item, key in parts)


def _segment(value: str | None) -> str:
    if value is None:
        return _NULL
    text = quote(value, safe=" :+")
    return text.replace(".", "%2E") if set(text) <= {"."} else text


# -- transforms --------------------------------------------------------------------------------------------------------


def _identity(partition: Partition, values: Any) -> Any:
    return values.cast(pyarrow().string())


def _time(partition: Partition, values: Any) -> Any:
    import pyarrow.compute as pc

    pa = pyarrow()
    date, timestamp = pa.types.is_date(values.type), pa.types.is_timestamp(values.type)
    if not ((date and partition.transform != "hour") or timestamp):
        raise partition._refused(values.type)
    # A point in time belongs to its day in UTC, whatever zone it is shown in.
    unit = "s" if date else values.type.unit
    return pc.strftime(values.cast(pa.timestamp(unit)), _FORMATS[partition.transform])


def _truncate(partition: Partition, values: Any) -> Any:
    import pyarrow.compute as pc

    pa = pyarrow()
    width, kind = partition.width, values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.utf8_slice_codeunits(values, 0, width).cast(pa.string())
    if not pa.types.is_integer(kind):
        raise partition._refused(kind)
    return _each(values, lambda value: str(value - value % cast(int, width)))


def _bucket(partition: Partition, values: Any) -> Any:
    pa = pyarrow()
    kind, types = values.type, pa.types
    if types.is_integer(kind) or types.is_date32(kind):
        values = (values.cast(pa.int32()) if types.is_date32(kind) else values).cast(pa.int64())
    elif types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
    elif not (types.is_decimal(kind) or _is_bytes(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise partition._refused(kind)
    return _each(values, lambda value: str((murmur3(_hashed(value)) & 0x7FFFFFFF) % cast(int, partition.width)))


def _is_bytes(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _each(values: Any, text: Callable[[Any], str]) -> Any:
    """`text` of each value, worked out once for equal ones."""
    pa = pyarrow()
    encoded = values.dictionary_encode()
    return pa.array([text(value) for value in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _hashed(value: Any) -> bytes:
    """The bytes that Iceberg hashes for a value."""
    if isinstance(value, int):
        return struct.pack("<q", value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Decimal):
        unscaled = int(value.scaleb(-cast(int, value.as_tuple().exponent)))
        return unscaled.to_bytes((unscaled + (unscaled < 0)).bit_length() // 8 + 1, "big", signed=True)
    return bytes(value)


def murmur3(data: bytes) -> int:
    """Murmur3, 32 bits, x86, seed 0: what Iceberg's buckets are made of."""
    mask = 0xFFFFFFFF

    def mixed(block: int) -> int:
        block = block * 0xCC9E2D51 & mask
        return (block << 15 | block >> 17) * 0x1B873593 & mask

    hashed, whole = 0, len(data) & ~3
    for at in range(0, whole, 4):
        hashed ^= mixed(int.from_bytes(data[at : at + 4], "little"))
        hashed = ((hashed << 13 | hashed >> 19) & mask) * 5 + 0xE6546B64 & mask
    hashed ^= mixed(int.from_bytes(data[whole:], "little")) ^ len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & mask
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & mask
    return hashed ^ hashed >> 16


_TEXTS: dict[Transform, Callable[[Partition, Any], Any]] = {
    "identity": _identity,
    "year": _time,
    "month": _time,
    "day": _time,
    "hour": _time,
    "bucket": _bucket,
    "truncate": _truncate,
}
