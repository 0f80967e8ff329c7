"""Rows told apart by their content."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk.cursor_values import CursorValues

if TYPE_CHECKING:
    import pyarrow as pa

    from .cursor_part import Met

MAX_ROWS = 10_000
"""Rows whose digests a commit carries, at most."""


def row_keys(batch: pa.RecordBatch, names: Sequence[str]) -> list[bytes]:
    """A 16-byte digest of each row, the same for equal values whatever the layout of the batch or the zone of an instant."""
    columns = [_comparable(batch.column(name)).to_pylist() for name in sorted(names)]
    return [
        hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for row in zip(*columns, strict=True)
    ]


def _comparable(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        if column.type.unit == "ns":  # Python's moments end at microseconds
            return column.cast(pa.int64())
        if column.type.tz is not None:
            return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column


class RejectedRows:
    """Rejected rows that a next run would meet again: those at or after the lower bound of what it reads, and those without
    a value of the cursor. They are set aside once.
    """

    def __init__(self, values: CursorValues, stored: Mapping[str, Any], left_out: Sequence[str]) -> None:
        """stored: what the last commit's cursor carries. left_out: columns that are no part of a row."""
        self._values = values
        self._left_out = frozenset(left_out)
        self._lock = threading.Lock()
        self._before = {bytes.fromhex(digest): (int(count), value) for digest, (count, value) in stored.items()}
        self._left = Counter({digest: count for digest, (count, _) in self._before.items()})
        self._met: dict[bytes, tuple[int, Any]] = {}
        self.dropped = False

    def unseen(self, rows: pa.RecordBatch, low: Any, met: Met) -> tuple[pa.RecordBatch, bool]:
        """Those that no earlier run has set aside; and whether that is so whatever else this run has met. low: the value below
        which the next run will read nothing, as known by now. met: takes notes of them.
        """
        import pyarrow as pa

        names = [name for name in rows.schema.names if name not in self._left_out]
        column = rows.column(self._values.name)
        typed = column.type.equals(self._values.type)
        values = [self._values.store(value) if typed and value.is_valid else None for value in column]
        keep, alone = [], True
        with self._lock:
            for digest, value in zip(row_keys(rows, names), values, strict=True):
                for noted in (self._met, met.rejected):
                    noted[digest] = (noted.get(digest, (0, None))[0] + 1, value)
                new = self._left[digest] <= 0
                if not new:
                    self._left[digest] -= 1
                    met.rejected_taken[digest] += 1
                elif digest in self._left:
                    alone = False
                keep.append(new)
            if len(self._met) > 2 * MAX_ROWS:
                self._met = self._newest(self._met, low)
        return rows if all(keep) else rows.filter(pa.array(keep)), alone

    def restore(self, met: Met) -> None:
        """Take what another run that began with the same commit has met."""
        with self._lock:
            self._left.subtract(met.rejected_taken)
            for digest, (count, value) in met.rejected.items():
                self._met[digest] = (self._met.get(digest, (0, None))[0] + count, value)

    def stored(self, low: Any) -> dict[str, Any]:
        """What the commit carries: {digest: [count, value]}. low: the value below which the next run reads nothing."""
        met = dict(self._met)
        for digest, (count, value) in self._before.items():
            met[digest] = (max(count, met.get(digest, (0, None))[0]), value)
        return {digest.hex(): list(found) for digest, found in sorted(self._newest(met, low).items())}

    def _newest(self, met: Mapping[bytes, tuple[int, Any]], low: Any) -> dict[bytes, tuple[int, Any]]:
        import pyarrow.compute as pc

        kept = []
        for digest, (count, value) in met.items():
            scalar = None if value is None else self._values.parse(value)
            if scalar is None or low is None or pc.greater_equal(scalar, low).as_py():
                kept.append((scalar is None, None if scalar is None else scalar.as_py(), digest, count, value))
        if len(kept) > MAX_ROWS:
            self.dropped = True
            kept.sort(key=lambda item: (item[0], 0 if item[1] is None else item[1]), reverse=True)
        return {digest: (count, value) for _, _, digest, count, value in kept[:MAX_ROWS]}
